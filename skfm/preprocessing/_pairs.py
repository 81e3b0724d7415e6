"""Pairs of users and items, and what the events of each amount to."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from skfm._utils.sparse import index_type


@dataclass
class Entries:
    """Events, or pairs with what several events amount to; arrays of shape (n_entries,)."""

    keys: Any  # int64; equal for events of the same pair
    values: Any = None  # float64; None for ones
    times: Any = None
    counts: Any = None  # int64; None if each entry is one event

    def count(self):
        return np.ones(self.keys.size, np.int64) if self.counts is None else self.counts


def combine(parts, how):
    """One entry for each pair, in the order of the keys.

    The first parts may be combined before the others come: the result is the same, bit for bit,
    because sums are computed from left to right.

    Parameters
    ----------
    parts : list of Entries
        In the order of the log. Their arrays are taken, so that they need not be kept.
    how : {"sum", "last"}
        What becomes of the values of a pair. The last one is that of the latest time or, if there
        are no times or they are equal, the one that comes last.
    """
    sizes = [part.keys.size for part in parts]
    keys = _take(parts, "keys")
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    new = np.ones(keys.size + 1, dtype=bool)
    new[1:-1] = keys[1:] != keys[:-1]
    last = np.flatnonzero(new[1:])
    has_repeated = last.size < order.size
    times = _take(parts, "times")
    if times is not None and has_repeated:
        shared = np.flatnonzero(~(new[:-1] & new[1:]))
        found = order[shared]
        order[shared] = found[np.lexsort((times[found], keys[shared]))]
    keys = keys[last] if has_repeated else keys
    counts = _counts(parts, sizes, order, last)
    latest = order[last] if has_repeated else order
    del last
    times = None if times is None else times[latest]
    values = _take(parts, "values")
    if values is not None and (how == "last" or not has_repeated):
        values = values[latest]
    elif values is not None:
        values = np.bincount(np.cumsum(new[:-1]) - 1, values[order])
    return Entries(keys, values, times, counts)


def _counts(parts, sizes, order, last):
    """The number of events of each pair, None if it is 1 for all."""
    if all(part.counts is None for part in parts):
        return np.diff(last, prepend=-1) if last.size < order.size else None
    for part, size in zip(parts, sizes, strict=True):
        part.counts = np.ones(size, np.int64) if part.counts is None else part.counts
    return np.add.reduceat(_take(parts, "counts")[order], np.append(0, last[:-1] + 1))


def _take(parts, name):
    """An attribute of all parts, which lose it."""
    arrays = [getattr(part, name) for part in parts]
    for part in parts:
        setattr(part, name, None)
    if arrays[0] is None:
        return None
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def as_dtype(values, dtype):
    """Values of a matrix in its dtype, which must be finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        values = values.astype(dtype, copy=False)
    if not np.isfinite(values).all():
        raise ValueError(
            f"A value, or the sum of a user's values for an item, is too large for "
            f"{np.dtype(dtype).name}; scale the values"
            f"{', or set dtype=np.float64' if dtype == np.float32 else ''}."
        )
    return values


def as_csr(rows, columns, values, shape):
    """The matrix of entries in the order of their rows."""
    indptr = np.append(0, np.cumsum(np.bincount(rows, minlength=shape[0])))
    index = index_type(values.size, shape[1])
    return sparse.csr_matrix((values, columns.astype(index), indptr.astype(index)), shape)
