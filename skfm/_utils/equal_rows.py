"""Equal rows as one row of their weights, in an order that does not depend on theirs.

A chain of draws turns the least difference of rounding into another chain. With rows merged and
sorted, a row of weight 2 and two rows are the same computation, and so are rows in any order.
"""

import numpy as np

from skfm._kernels.features import hash_rows
from skfm._utils.memory import read_only


def merge_rows(X, y, weight):
    """Canonical CSR rows, their targets and weights, sorted and merged.

    Rows come by their first column, so that rows of equal first columns are close in memory.
    """
    y = y + np.zeros((), y.dtype)  # -0 and 0 are equal
    keys = keys_of(X)
    order = np.lexsort((weight, y, keys, first_columns(X)))
    is_new = np.ones(order.size, dtype=bool)
    is_new[1:] = ~_are_equal(X, y, order[:-1], order[1:], keys)
    starts = np.flatnonzero(is_new)
    kept = order[starts]
    return X[kept], y[kept], np.add.reduceat(weight[order], starts)


def first_columns(X):
    """Each row's first column, -1 for rows without entries."""
    length = np.diff(X.indptr)
    first = np.full(X.shape[0], -1, dtype=np.int64)
    first[length > 0] = X.indices[X.indptr[:-1][length > 0]]
    return first


def keys_of(X, columns=None):
    """A number that rows share if they are equal (in these columns), and hardly ever else."""
    columns = np.ones(X.shape[1], bool) if columns is None else columns
    return row_hashes(X.indptr.astype(np.int64), X.indices, X.data, columns)


def row_hashes(indptr, indices, data, columns):
    """The same of rows as three arrays."""
    hashes = np.empty(indptr.size - 1, np.uint64)
    bits = read_only(data).view(f"u{data.itemsize}")
    hash_rows(indptr, read_only(indices), bits, columns, hashes)
    return hashes


def _are_equal(X, y, before, after, keys):
    """Whether rows ``before[i]`` and ``after[i]`` and their targets are equal."""
    equal = (keys[before] == keys[after]) & (y[before] == y[after])
    length = np.diff(X.indptr)
    equal &= length[before] == length[after]
    places = np.flatnonzero(equal)
    if places.size:  # the keys say so; make sure
        differs = X[before[places]] != X[after[places]]
        equal[places] = np.diff(differs.tocsr().indptr) == 0
    return equal
