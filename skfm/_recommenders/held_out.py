"""Events to judge recommendations by: whose they are, and the rankings that they ask for."""

from typing import NamedTuple

import numpy as np
from scipy import sparse

from skfm._recommenders.item_features import read_choices
from skfm._utils import validation
from skfm._utils.equal_rows import keys_of
from skfm._utils.ids import distinct, find_missing, read_ids, simplify


def users_of_events(known, X, groups):
    """A number for each event of X, which those of the same user share.

    ``groups`` are ids of the users; None takes the users that ``known`` finds. An event whose
    user is missing there, or unknown to fit, has a number of its own: nothing says that two of
    them belong together, and if they did not, together they would be a user who likes everything.
    """
    if groups is None:
        users = known.find(X, "pass the user ids as groups")
    else:
        ids = read_ids(groups, "group")
        if ids.size != X.shape[0]:
            raise ValueError(
                f"groups must contain the user of each of the {X.shape[0]} rows of X; got "
                f"{ids.size}."
            )
        users = np.full(ids.size, -1)
        there = ~find_missing(ids)
        users[there] = distinct(simplify(ids[there]), "group")[1]
    alone = users < 0
    users[alone] = users.max(initial=-1) + 1 + np.arange(np.count_nonzero(alone))
    return users


class HeldOut(NamedTuple):
    """Rankings to judge: one for each user and each distinct row of X of theirs."""

    relevant: sparse.csr_matrix  # (n_rankings, n_items), weights of the items chosen
    ranking: np.ndarray  # (n_events,)
    first: np.ndarray  # (n_rankings,), the first event of each


def held_out_rankings(X, catalogue, y, sample_weight, users):
    """The rankings that events ask for, in the order of their first events.

    Items that the catalogue does not have follow those that it has: they cannot be found.
    """
    if y is None:
        raise ValueError("y is None; pass the chosen items.")
    weight = validation.check_sample_weight(sample_weight, X.shape[0], np.float64)
    y = read_ids(validation.check_column(read_choices(y), "y"), "item")
    if y.size != X.shape[0]:
        raise ValueError(
            f"y must contain an item for each of the {X.shape[0]} rows; got {y.size}."
        )
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
    relevant = sparse.csr_matrix((weight, (rows, items)), shape=(first.size, n_items))
    relevant.sum_duplicates()
    return HeldOut(relevant, rows, first)


def combine_rows(matrix, groups, n_groups):
    """One row for each group of rows: the sum of its rows."""
    places = groups, np.arange(groups.size)
    members = sparse.csr_matrix((np.ones(groups.size, bool), places), (n_groups, groups.size))
    return members @ matrix
