"""Cells of sparse matrices: ranks within rows, and the two parts that hiding some leaves."""

import numpy as np

from skfm._kernels.splitmix64 import mix


def n_cells_by_row(cells):
    return np.diff(cells.indptr).astype(np.int64)


def rows_of(cells):
    """Row of each cell."""
    return np.repeat(np.arange(cells.shape[0]), np.diff(cells.indptr))


def ranks(cells, key):
    """Rank of each cell within its row by ``key``, from 0; equal ones from left to right."""
    places = np.empty(cells.nnz, dtype=np.int64)
    rows = rows_of(cells)
    places[np.lexsort((key, rows))] = np.arange(cells.nnz) - cells.indptr[rows]
    return places


def parts(cells, hidden):
    """Two matrices: the cells that are not hidden, and those that are."""
    return _part(cells, ~hidden), _part(cells, hidden)


def _part(cells, chosen):
    before = np.append(0, np.cumsum(chosen))
    indptr = before[cells.indptr].astype(cells.indptr.dtype)
    return type(cells)((cells.data[chosen], cells.indices[chosen], indptr), shape=cells.shape)


def hide_by_hash(cells, share):
    """Hide a share of each row's cells, at least one if it has two, never all.

    Which ones depends on nothing but the row's own columns: not on its place, on other rows, on
    a seed. So whoever judges a model by them always judges by the same.
    """
    mixed = mix(cells.indices.astype(np.uint64) + np.uint64(1))
    filled = np.flatnonzero(np.diff(cells.indptr))
    of_row = np.zeros(cells.shape[0], np.uint64)
    if filled.size:
        of_row[filled] = np.add.reduceat(mixed, cells.indptr[filled])
    key = mix(mixed ^ np.repeat(of_row, np.diff(cells.indptr)))
    n = n_cells_by_row(cells)
    n_hidden = np.minimum(np.maximum(np.rint(share * n), 1), n - 1)
    return parts(cells, ranks(cells, key) < np.repeat(n_hidden, n))
