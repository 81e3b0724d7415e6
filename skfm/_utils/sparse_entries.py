"""Entries of CSR matrices: counts and ranks within rows, and splits into two matrices."""

import numpy as np

from skfm._kernels.splitmix64 import mix


def n_entries_by_row(X):
    return np.diff(X.indptr).astype(np.int64)


def rows_of(X):
    """Row of each entry."""
    return np.repeat(np.arange(X.shape[0]), np.diff(X.indptr))


def ranks_within_rows(X, key):
    """Rank of each entry within its row by ``key``, from 0; ties are ranked from left to right."""
    places = np.empty(X.nnz, dtype=np.int64)
    rows = rows_of(X)
    places[np.lexsort((key, rows))] = np.arange(X.nnz) - X.indptr[rows]
    return places


def divide_entries(X, hidden):
    """Two matrices: one with the visible entries, and one with the hidden ones."""
    return _select(X, ~hidden), _select(X, hidden)


def _select(X, chosen):
    before = np.append(0, np.cumsum(chosen))
    indptr = before[X.indptr].astype(X.indptr.dtype)
    return type(X)((X.data[chosen], X.indices[chosen], indptr), shape=X.shape)


def hide_by_hash(X, share):
    """Hide a fraction of the entries of each row: at least one of two, and never all.

    The choice depends only on the columns of the row, not on its position, on other rows or on a
    seed. So all models are evaluated on the same entries.
    """
    mixed = mix(X.indices.astype(np.uint64) + np.uint64(1))
    filled = np.flatnonzero(np.diff(X.indptr))
    of_row = np.zeros(X.shape[0], np.uint64)
    if filled.size:
        of_row[filled] = np.add.reduceat(mixed, X.indptr[filled])
    key = mix(mixed ^ np.repeat(of_row, np.diff(X.indptr)))
    n = n_entries_by_row(X)
    n_hidden = np.minimum(np.maximum(np.rint(share * n), 1), n - 1)
    return divide_entries(X, ranks_within_rows(X, key) < np.repeat(n_hidden, n))
