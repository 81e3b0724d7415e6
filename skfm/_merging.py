"""Equal rows as one row of their weights, in an order that does not depend on theirs.

A chain of draws turns the least difference of rounding into another chain. With rows merged and
sorted, a row of weight 2 and two rows are the same computation, and so are rows in any order.
"""

import numpy as np

CHUNK = 1 << 20  # entries


def merge_rows(X, y, weight):
    """Canonical CSR rows, their targets and weights, sorted and merged.

    Rows come by their first column, so that rows of equal first columns are close in memory.
    """
    y = y + np.zeros((), y.dtype)  # -0 and 0 are equal
    keys = _keys(X, y.astype(np.float64))
    order = np.lexsort((weight, keys, first_columns(X)))
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


def _keys(X, y):
    """A number for each row and target that equal ones share and different ones hardly ever do."""
    keys = _mix(y.view(np.uint64).copy())
    height = max(1, CHUNK * X.shape[0] // max(1, X.nnz))
    for start in range(0, X.shape[0], height):
        stop = min(X.shape[0], start + height)
        part = slice(X.indptr[start], X.indptr[stop])
        entries = X.data[part].astype(np.float64).view(np.uint64)
        entries = _mix(_mix(entries) + X.indices[part].astype(np.uint64))
        sums = np.append(np.zeros(1, np.uint64), np.cumsum(entries, dtype=np.uint64))
        pointers = X.indptr[start : stop + 1] - X.indptr[start]
        keys[start:stop] += sums[pointers[1:]] - sums[pointers[:-1]]
    return keys


def _mix(bits):
    """Spread what tells numbers apart over all 64 bits (the finalizer of MurmurHash3)."""
    bits = bits ^ (bits >> np.uint64(33))
    bits = bits * np.uint64(0xFF51AFD7ED558CCD)
    bits = bits ^ (bits >> np.uint64(33))
    bits = bits * np.uint64(0xC4CEB9FE1A85EC53)
    return bits ^ (bits >> np.uint64(33))


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
