"""Which rows belong to the same user, and what each user has chosen."""

import numpy as np
from scipy import sparse

from skfm._utils import validation
from skfm._utils.equal_rows import keys_of
from skfm._utils.messages import shown
from skfm._utils.pickling import Versioned
from skfm._utils.plain_state import to_plain
from skfm._utils.sorted_search import find_sorted


def user_columns(user_fields, fields):
    """Which columns tell users apart: those of the parameter `user_fields`, or all if None."""
    if user_fields is None:
        return np.ones(len(fields), bool)
    user_fields = validation.check_list(user_fields, "user_fields", "a list of fields")
    fields = np.asarray(fields, dtype=object)
    chosen = np.zeros(len(fields), bool)
    for name in user_fields:
        found = fields == name
        if not found.any():
            known = ", ".join(map(repr, dict.fromkeys(fields.tolist())))
            raise ValueError(f"Unknown field {shown(name)} in user_fields; known fields: {known}.")
        chosen |= found
    return chosen


class Users(Versioned):
    """The users of the rows of a fit, and which items they have chosen.

    A row without an entry in the columns that tell users apart is a user of its own.
    """

    def __init__(self, X, chosen, n_items, columns):
        self._columns, self._dtype = columns, X.dtype
        values = X.data[columns[X.indices]]
        with np.errstate(over="ignore"):
            self._is_short = bool((values.astype(np.float32) == values).all())
        keys = keys_of(X, columns)
        anonymous = ~self._have_entries(X)
        self._keys, user = np.unique(keys[~anonymous], return_inverse=True)
        self.of_row = np.empty(X.shape[0], np.int64)
        self.of_row[~anonymous] = user
        n_anonymous = np.count_nonzero(anonymous)
        self.of_row[anonymous] = self._keys.size + np.arange(n_anonymous)
        entries = np.ones(chosen.size, bool), (self.of_row, chosen)
        shape = self._keys.size + n_anonymous, n_items
        self.seen = sparse.csr_matrix(entries, shape=shape)

    def __getstate__(self):
        state = super().__getstate__()
        state.pop("of_row", None)  # only a fit needs it
        state["seen"] = to_plain(self.seen[: self._keys.size])
        return state

    def _have_entries(self, X):
        places = np.append(0, np.cumsum(self._columns[X.indices]))
        return np.diff(places[X.indptr]) > 0

    def find(self, X, remedy):
        """Positions of the users of new rows, -1 for those that fit has not seen.

        ``remedy`` is the argument with which nobody needs to know.
        """
        if X.dtype.itemsize < self._dtype.itemsize and not self._is_short:
            raise ValueError(
                f"X has the type {X.dtype}, but the X of fit has values in {self._dtype} that "
                f"{X.dtype} rounds, so the users of its rows cannot be identified. Pass X in "
                f"{self._dtype}, or {remedy}."
            )
        X = X.astype(self._dtype, copy=False)
        if self._keys.size == 0:
            return np.full(X.shape[0], -1)
        places = find_sorted(self._keys, keys_of(X, self._columns))
        return np.where(self._have_entries(X), places, -1)

    def seen_by(self, X, n_items):
        """What the users of new rows have chosen in fit: a pattern of X's rows by items."""
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
