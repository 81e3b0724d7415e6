"""Rows that belong to the same user: what this user has chosen, in fit and in rows to judge."""

import numpy as np
from scipy import sparse

from skfm._recommenders.item_features import read_choices
from skfm._utils import validation as door
from skfm._utils.equal_rows import keys_of
from skfm._utils.ids import distinct, find_missing, read_ids, simplify
from skfm._utils.pickling import Versioned


def chosen_columns(model, fields):
    """Which columns tell owners apart."""
    if model.user_fields is None:
        return np.ones(len(fields), bool)
    user_fields = door.check_list(model.user_fields, "user_fields", "a list of fields")
    fields = np.asarray(fields, dtype=object)
    chosen = np.zeros(len(fields), bool)
    for name in user_fields:
        found = fields == name
        if not found.any():
            known = ", ".join(map(repr, dict.fromkeys(fields.tolist())))
            raise ValueError(f"user_fields names {name!r}, which is no field of X: {known}.")
        chosen |= found
    return chosen


class Owners(Versioned):
    """The owners of the rows of a fit, and which items they have chosen.

    A row without an entry in the columns that tell owners apart is an owner of its own.
    """

    def __init__(self, X, chosen, n_items, columns):
        self._columns, self._dtype = columns, X.dtype
        values = X.data[columns[X.indices]]
        with np.errstate(over="ignore"):
            self._is_short = bool((values.astype(np.float32) == values).all())
        keys = keys_of(X, columns)
        anonymous = ~self._have_entries(X)
        self._keys, owner = np.unique(keys[~anonymous], return_inverse=True)
        self.of_row = np.empty(X.shape[0], np.int64)
        self.of_row[~anonymous] = owner
        n_anonymous = np.count_nonzero(anonymous)
        self.of_row[anonymous] = self._keys.size + np.arange(n_anonymous)
        cells = np.ones(chosen.size, bool), (self.of_row, chosen)
        shape = self._keys.size + n_anonymous, n_items
        self.seen = sparse.csr_matrix(cells, shape=shape)

    def __getstate__(self):
        state = super().__getstate__()
        state.pop("of_row", None)  # only a fit needs it
        state["seen"] = self.seen[: self._keys.size]
        return state

    def _have_entries(self, X):
        places = np.append(0, np.cumsum(self._columns[X.indices]))
        return np.diff(places[X.indptr]) > 0

    def find(self, X, remedy):
        """Positions of the owners of new rows, -1 for those that fit has not seen.

        ``remedy`` is the argument with which the caller need not know.
        """
        if X.dtype.itemsize < self._dtype.itemsize and not self._is_short:
            raise ValueError(
                f"X is {X.dtype}, but fit had {self._dtype}, with values that {X.dtype} rounds: "
                f"whose rows are whose cannot be told. Pass X in {self._dtype}, or {remedy}."
            )
        X = X.astype(self._dtype, copy=False)
        if self._keys.size == 0:
            return np.full(X.shape[0], -1)
        places = np.searchsorted(self._keys, keys := keys_of(X, self._columns))
        places[places == self._keys.size] = 0
        known = self._have_entries(X) & (self._keys[places] == keys)
        return np.where(known, places, -1)

    def seen_by(self, X, n_items):
        """What the owners of new rows have chosen in fit: cells of X's rows by items."""
        places = self.find(X, "exclude_seen=False")
        known = places >= 0
        length = np.zeros(places.size, np.int64)
        length[known] = np.diff(self.seen.indptr)[places[known]]
        indptr = np.append(0, np.cumsum(length))
        source = np.repeat(self.seen.indptr[places], length)
        source += np.arange(indptr[-1]) - np.repeat(indptr[:-1], length)
        indices = self.seen.indices[source]
        return sparse.csr_matrix(
            (np.ones(indices.size, bool), indices, indptr), shape=(X.shape[0], n_items)
        )


def users_of(owners, X, groups):
    """A number for each event of X, which those of the same user share.

    ``groups`` are ids of the users; None takes the owners of fit. An event whose user is missing
    there, or unknown to fit, has a number of its own: nothing says that two of them belong
    together, and if they did not, together they would be a user who likes everything.
    """
    if groups is None:
        users = owners.find(X, "pass ids of the users as groups")
    else:
        ids = read_ids(groups, "group")
        if ids.size != X.shape[0]:
            raise ValueError(
                f"groups must hold the user of each of the {X.shape[0]} rows of X; got {ids.size}."
            )
        users = np.full(ids.size, -1)
        there = ~find_missing(ids)
        users[there] = distinct(simplify(ids[there]), "group")[1]
    alone = users < 0
    users[alone] = users.max(initial=-1) + 1 + np.arange(np.count_nonzero(alone))
    return users


def hide_chosen(X, catalogue, y, sample_weight, users):
    """Events to judge: cells of rankings by items, the ranking of each event, and the first event
    of each.

    There is a ranking for each user and each distinct row of X of theirs. Items that the catalogue
    does not have follow those that it has: they cannot be found.
    """
    if y is None:
        raise ValueError("y is None: pass the items that were chosen.")
    weight = door.check_sample_weight(sample_weight, X.shape[0], np.float64)
    y = read_ids(door.check_column(read_choices(y), "y"), "item")
    if y.size != X.shape[0]:
        raise ValueError(f"y must hold an item for each of the {X.shape[0]} rows; got {y.size}.")
    items = catalogue.find(y, expected=True)
    unknown = items < 0
    n_items = catalogue.n_items
    if unknown.any():
        others, places = distinct(y[unknown], "item")
        items = items.copy()
        items[unknown] = n_items + places
        n_items += len(others)
    _, row = np.unique(keys_of(X), return_inverse=True)
    pairs = users * X.shape[0] + row
    _, first, rows = np.unique(pairs, return_index=True, return_inverse=True)
    order = np.argsort(first)  # as they come
    rows, first = np.argsort(order)[rows], first[order]
    cells = sparse.csr_matrix((weight, (rows, items)), shape=(first.size, n_items))
    cells.sum_duplicates()
    return cells, rows, first


def unite(cells, groups, n_groups):
    """A row for each group of rows: their cells together."""
    places = groups, np.arange(groups.size)
    members = sparse.csr_matrix((np.ones(groups.size, bool), places), (n_groups, groups.size))
    return members @ cells
