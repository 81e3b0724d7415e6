"""Sparse matrices as they come in: damage that compiled code would not survive."""

import copy

import numpy as np
from scipy import sparse
from sklearn import get_config

from skfm._kernels.features import look_up, mark_columns
from skfm._utils.lazy import refuse_lazy
from skfm._utils.memory import read_only

LARGEST_INT32 = np.iinfo(np.int32).max
FEW = 16  # times as many columns as entries: it is quicker to sort the entries
REMEDY = "Load it again, or build it again from its rows, columns and values."


def check_sparse(X, name="X"):
    """X as it is if it is dense; a sparse matrix whose indices can be trusted.

    Compiled code, SciPy's as much as ours, reads where `indptr` and `indices` point to, and
    SciPy looks at little of them when a matrix is made and at nothing when its arrays are
    replaced later. So this comes before anything else is done with a sparse matrix. It takes one
    pass over the indices. What comes out has indices of one signed type and no more entries than
    `indptr` says. Arrays are shared with X, which is not changed. Of blocks it is a copy in CSR,
    without the zeros that fill them: nobody can say whether these are stored.
    """
    refuse_lazy(X, name)
    if not sparse.issparse(X) or X.ndim != 2:
        return X
    if X.format == "coo":
        return _check_coordinates(X, name)
    if X.format not in ("csr", "csc", "bsr"):  # lists, a dictionary, diagonals: no such arrays
        if X.format == "lil" and list(map(len, X.rows)) != list(map(len, X.data)):
            raise _damaged(name, "a row has different numbers of columns and values")
        try:
            X = X.tocsr()
        except (IndexError, TypeError, ValueError) as error:
            raise _damaged(name, f"SciPy cannot convert it ({error})") from error
    X = _check_compressed(X, name)
    if X.format == "bsr":
        X = X.tocsr()
        X.eliminate_zeros()
    return X


def sum_duplicates(X):
    """CSR in order of rows and columns, each entry once: X itself if it is so, else a copy."""
    if not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    return X


def in_configured_interface(X):
    """The result X; if it is sparse, of the interface that scikit-learn is configured to return.

    The setting exists since scikit-learn 1.9. An array shares its memory with the matrix.
    """
    if not sparse.issparse(X) or get_config().get("sparse_interface") != "sparray":
        return X
    array = sparse.csr_array(X)
    array.has_canonical_format = X.has_canonical_format
    return array


def compact(X):
    """The columns in which CSR rows have entries, and the rows with these columns alone."""
    n_columns = X.shape[1]
    if X.nnz < n_columns // FEW:
        columns, indices = np.unique(X.indices, return_inverse=True)
        indices = indices.astype(X.indices.dtype, copy=False)
    else:
        occurs, place = np.zeros(n_columns, dtype=bool), np.empty(n_columns, X.indices.dtype)
        mark_columns(read_only(X.indices), occurs)
        columns = np.flatnonzero(occurs)
        place[columns] = np.arange(columns.size)
        indices = np.empty_like(X.indices)
        look_up(read_only(X.indices), place, indices)
    has_order = X.has_canonical_format
    X = type(X)((X.data, indices, X.indptr), shape=(X.shape[0], columns.size))
    X.has_canonical_format = has_order
    return columns, X


def _check_compressed(X, name):
    indptr, indices, data = X.indptr, X.indices, X.data
    blocks = X.blocksize if X.format == "bsr" else (1, 1)
    n_rows, n_columns = (n // size for n, size in zip(X.shape, blocks, strict=True))
    if X.format == "csc":
        n_rows, n_columns = n_columns, n_rows
    axes = ("column", "row") if X.format == "csc" else ("row", "column")
    _check_type(indptr, "indptr", name)
    _check_type(indices, "indices", name)
    if indptr.size != n_rows + 1:
        raise _damaged(name, f"indptr has {indptr.size} elements for {n_rows} {axes[0]}s")
    if indptr[0] != 0 or (indptr[1:] < indptr[:-1]).any():
        raise _damaged(name, "indptr does not start at 0, or decreases")
    n_entries = int(indptr[-1])
    if n_entries > min(indices.size, len(data)):
        raise _damaged(
            name,
            f"indptr ends at {n_entries}, but there are {indices.size} indices and {len(data)} "
            "values",
        )
    _check_range(indices[:n_entries], n_columns, axes[1], name)
    types = {indptr.dtype, indices.dtype}
    if len(types) == 1 and types <= {np.dtype(np.int32), np.dtype(np.int64)}:
        if n_entries == indices.size == len(data):
            return X
    index = index_type(n_entries, *X.shape)
    X = copy.copy(X)  # nobody knows what a class of the user's needs to make another
    X.data, X.indices = data[:n_entries], indices[:n_entries].astype(index)
    X.indptr = indptr.astype(index)
    return X


def _check_coordinates(X, name):
    row, column, data = X.row, X.col, X.data
    if not row.size == column.size == data.size:
        raise _damaged(
            name, f"it has {row.size} rows, {column.size} columns and {data.size} values"
        )
    for places, n, axis in ((row, X.shape[0], "row"), (column, X.shape[1], "column")):
        _check_type(places, f"{axis} indices", name)
        _check_range(places, n, axis, name)
    if row.dtype == column.dtype and row.dtype.kind == "i":
        return X
    index = index_type(data.size, *X.shape)
    return type(X)((data, (row.astype(index), column.astype(index))), shape=X.shape)


def _check_type(array, called, name):
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise _damaged(
            name,
            f"its {called} must be a one-dimensional array of integers, not of {array.dtype}",
        )


def _check_range(indices, n, axis, name):
    # Read as unsigned, negative numbers are large ones: one pass instead of two.
    unsigned = indices.view(indices.dtype.str.replace("i", "u"))  # in its order of bytes
    if indices.size and unsigned.max() >= n:
        raise _damaged(
            name,
            f"it has {n} {axis}s, but its indices run from {indices.min()} to {indices.max()}",
        )


def index_type(*sizes):
    """The type of indices, int32 if it is large enough for shape and number of entries."""
    return np.int32 if max(sizes) <= LARGEST_INT32 else np.int64


def _damaged(name, reason):
    return ValueError(f"{name} is a damaged sparse matrix: {reason}. {REMEDY}")
