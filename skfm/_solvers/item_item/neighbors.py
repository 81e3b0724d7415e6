"""The nearest neighbors of the rows of sparse matrices, in several threads."""

import numpy as np
from scipy import sparse

from skfm._kernels.neighbors import Rows, Similarity, nearest
from skfm._utils.memory import read_only
from skfm._utils.threads import share

BLOCK = 64  # rows that a thread takes at a time


def kernel_rows(csr):
    """A CSR matrix as kernels read it; `nearest` and scores are compiled for one kind of array."""
    indptr = csr.indptr.astype(np.int64, copy=False)
    return Rows(read_only(indptr), read_only(csr.indices), read_only(csr.data))


def find_neighbors(rows, transposed, similarity, n_neighbors, n_threads):
    """CSR of the similarities of each row and its nearest neighbors.

    ``rows`` are compared with the columns of ``transposed``, both CSR. No more is stored than the
    neighbors; a thread needs memory for one value for each column.
    """
    n_rows, n_others = rows.shape[0], transposed.shape[1]
    room = np.minimum(_largest_counts(rows, transposed), min(n_neighbors, n_others))
    ptr = np.append(0, np.cumsum(room))
    neighbors = np.empty(ptr[-1], np.int64)
    values = np.empty(ptr[-1], rows.dtype)
    counts = np.empty(n_rows, np.int64)
    left, right = kernel_rows(rows), kernel_rows(transposed)

    def work(number):
        first, last = number * BLOCK, min(n_rows, (number + 1) * BLOCK)
        nearest(first, last, left, right, similarity, ptr, neighbors, values, counts)

    share(work, -(-n_rows // BLOCK), n_threads)
    is_used = np.arange(ptr[-1]) - np.repeat(ptr[:-1], room) < np.repeat(counts, room)
    indptr = np.append(0, np.cumsum(counts))
    found = sparse.csr_matrix(
        (values[is_used], neighbors[is_used], indptr), shape=(n_rows, n_others)
    )
    found.sort_indices()
    return found


def _largest_counts(rows, transposed):
    """A bound of how many columns share an entry with each row."""
    lengths = np.append(0, np.cumsum(np.diff(transposed.indptr)[rows.indices]))
    return lengths[rows.indptr[1:]] - lengths[rows.indptr[:-1]]


def similarity_of(kind, sizes, other_sizes, *, shrinkage=0.0, exclude_same=False):
    """The record that the kernel reads, with sizes in the type of the products."""
    return Similarity(kind, sizes.dtype.type(shrinkage), sizes, other_sizes, exclude_same)
