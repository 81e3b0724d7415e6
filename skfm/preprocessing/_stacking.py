"""Sparse tables, and the matrix that concatenates rows of several tables."""

import numpy as np
from scipy import sparse

from skfm._utils.sparse import index_type


def as_bags(matrix, power=0.5):
    """The same entries with the values 1 / n ** power in a row of n entries."""
    n = np.diff(matrix.indptr)
    values = np.repeat(1 / np.maximum(n, 1) ** power, n)
    return sparse.csr_matrix((values, matrix.indices, matrix.indptr), matrix.shape)


def one_hot(indices, n_columns):
    indptr = np.arange(indices.size + 1)
    return sparse.csr_matrix((np.ones(indices.size), indices, indptr), (indices.size, n_columns))


def side_by_side(blocks, log, dtype):
    """The matrix of a log in canonical form: for each row, what its blocks look up.

    The tables are stacked into one, so that the matrix is a single selection of rows.
    """
    tables, rows, n_rows = [], [], 1
    for block in blocks:
        table, places = block.look_up(log)
        tables.append(_without_zeros(table, dtype))
        rows.append(np.where(places < 0, 0, places + n_rows))  # row 0 is empty
        n_rows += table.shape[0]
    rows = np.column_stack(rows)
    stacked = stack(tables, rows)
    del table, tables  # they may be as large as the matrix
    gathered = stacked[rows.ravel()]
    indptr = gathered.indptr[:: rows.shape[1]].copy()
    shape = rows.shape[0], stacked.shape[1]
    matrix = sparse.csr_matrix((gathered.data, gathered.indices, indptr), shape)
    matrix.has_canonical_format = True
    return matrix


def stack(tables, rows):
    """An empty row and all rows of the tables, each table with separate columns.

    The indices are large enough for a selection of ``rows``.
    """
    lengths = np.concatenate([[0], *(np.diff(table.indptr) for table in tables)])
    n_columns = sum(table.shape[1] for table in tables)
    index = index_type(lengths[rows].sum(), lengths.sum(), n_columns)
    indices = np.concatenate([table.indices.astype(index, copy=False) for table in tables])
    firsts = np.cumsum([0] + [table.shape[1] for table in tables[:-1]], dtype=index)
    indices += np.repeat(firsts, [table.nnz for table in tables])
    data = np.concatenate([table.data for table in tables])
    indptr = np.append(0, np.cumsum(lengths)).astype(index)
    stacked = sparse.csr_matrix((data, indices, indptr), (lengths.size, n_columns))
    # The constructor would use int32 if it suffices for the matrix itself.
    stacked.indices, stacked.indptr = indices, indptr
    return stacked


def _without_zeros(table, dtype):
    with np.errstate(over="ignore"):
        table = table.astype(dtype, copy=False)
    if not np.isfinite(table.data).all():
        raise ValueError(
            f"A rating or an attribute is too large for {np.dtype(dtype).name}; scale the "
            f"values{', or set dtype=np.float64' if dtype == np.float32 else ''}."
        )
    if not table.data.all():
        table = table.copy()
        table.eliminate_zeros()
    return table
