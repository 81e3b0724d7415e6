"""Pairs of a row of X and an item whose scores are to be explained."""

from typing import NamedTuple

import numpy as np

from skfm._recommenders.catalogue import read_pairs


class Pairs(NamedTuple):
    """Pairs, -1 standing for what is unknown."""

    row: np.ndarray  # (n_pairs,)
    item: np.ndarray  # (n_pairs,), positions
    shown: np.ndarray  # (n_pairs,), the items as users know them


def pairs_to_explain(request, n_rows, catalogue):
    """The pairs that the arguments ``items`` and ``rows`` ask for."""
    rows, items = request.rows, request.items
    if items is None:
        raise ValueError(
            "A recommender scores pairs of a row and an item; pass the items to explain in items, "
            "such as those that recommend returns."
        )
    if isinstance(items, (str, bytes)) or not hasattr(items, "__len__"):
        raise TypeError(f"items must be a list or an array of items; got {items!r}.")
    is_table, n_given = _is_table(items), len(items)
    if is_table and rows is not None:
        raise ValueError("items has several items for each row of X; leave rows out.")
    if rows is None and n_given != n_rows:
        raise ValueError(
            f"items must have an item, or several, for each of the {n_rows} rows of X, or one for "
            f"each element of rows; it has {n_given}."
        )
    if is_table:
        rows = np.repeat(np.arange(n_rows), [len(row) for row in items])
        items = _flat(items)
    rows = np.arange(n_rows) if rows is None else rows
    row, item = read_pairs(rows, items, n_rows, catalogue)
    if is_table:  # places that recommend has left empty
        row, item = row[item >= 0], item[item >= 0]
    return Pairs(row, item, catalogue.show(item))


def _is_table(items):
    if isinstance(items, np.ndarray):
        return items.ndim == 2
    return isinstance(items, list) and any(isinstance(row, (list, np.ndarray)) for row in items)


def _flat(items):
    if isinstance(items, np.ndarray):
        return items.ravel()
    return [item for row in items for item in row]
