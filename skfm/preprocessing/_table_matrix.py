"""The CSR matrix of a table, from the entries of its fields."""

import numpy as np
from scipy import sparse

from skfm._kernels.table_encoding import place_entries
from skfm._utils.memory import read_only
from skfm._utils.sparse import index_type


def side_by_side(parts, widths, n_rows, dtype):
    """A matrix in canonical form. ``parts`` is emptied, so that memory is freed early."""
    counts = np.zeros(n_rows, np.int32)
    for part in parts:
        counts += np.diff(part.indptr) if sparse.issparse(part) else part.columns >= 0
    n_columns = sum(widths)
    n_entries = int(counts.sum(dtype=np.int64))
    index = index_type(n_entries, n_columns)
    indptr = np.zeros(n_rows + 1, index)
    np.cumsum(counts, out=indptr[1:])
    del counts
    position = indptr[:-1].copy()
    indices, data = np.empty(n_entries, index), np.empty(n_entries, dtype)
    first = 0
    parts.reverse()
    for width in widths:
        part = parts.pop()
        if sparse.issparse(part):
            _place_rows(part, first, position, indices, data)
        else:
            columns = read_only(part.columns)
            values = read_only(part.values.astype(dtype, copy=False))
            place_entries(columns, values, first, position, indices, data)
        first += width
    matrix = sparse.csr_matrix((data, indices, indptr), (n_rows, n_columns))
    matrix.has_canonical_format = True
    return matrix


def _place_rows(part, first, position, indices, data):
    """Append the entries of the rows of a CSR matrix to those of another."""
    n = np.diff(part.indptr)
    places = np.repeat(position - part.indptr[:-1], n) + np.arange(part.nnz)
    indices[places] = first + part.indices
    data[places] = part.data
    position += n.astype(position.dtype)
