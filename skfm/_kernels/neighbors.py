"""The nearest neighbors of rows, and scores as products of sparse rows and a table."""

from typing import NamedTuple

import numpy as np

from skfm._kernels._jit import jit, jit_inner

PRODUCT, COSINE, JACCARD, OVERLAP = range(4)  # similarities, from the product of two rows


class Rows(NamedTuple):
    """Rows of a matrix in CSR form."""

    indptr: np.ndarray  # (n_rows + 1,)
    indices: np.ndarray  # (n_entries,)
    data: np.ndarray  # (n_entries,)


class Similarity(NamedTuple):
    """What similarities are made of, besides the products."""

    kind: int
    shrinkage: np.floating  # added to the denominator
    size: np.ndarray  # (n_rows,), lengths of the rows, or their numbers of entries
    other_size: np.ndarray  # (n_columns,), the same of the rows that they are compared with
    exclude_same: bool  # whether row i is not its own neighbor i


@jit(allocates=True)
def nearest(first, last, rows, transposed, similarity, ptr, neighbors, values, counts):
    """Write the nearest neighbors of rows ``first:last``, in no particular order.

    The others are the columns of ``transposed``. Row ``r`` has room for its neighbors from
    ``ptr[r]`` to ``ptr[r + 1]``, and their number becomes ``counts[r]``. Only others with a
    positive similarity are neighbors; of equal ones, the first are preferred.
    """
    n_others = similarity.other_size.size
    products = np.zeros(n_others, values.dtype)
    touched = np.empty(n_others, np.int64)
    is_touched = np.zeros(n_others, np.bool_)
    for r in range(first, last):
        n_touched = 0
        for p in range(rows.indptr[r], rows.indptr[r + 1]):
            term, value = rows.indices[p], rows.data[p]
            for q in range(transposed.indptr[term], transposed.indptr[term + 1]):
                other = transposed.indices[q]
                if not is_touched[other]:
                    is_touched[other] = True
                    touched[n_touched] = other
                    n_touched += 1
                products[other] += value * transposed.data[q]
        start, room, n = ptr[r], ptr[r + 1] - ptr[r], 0
        for t in range(n_touched):
            other = touched[t]
            product = products[other]
            products[other] = 0
            is_touched[other] = False
            if similarity.exclude_same and other == r:
                continue
            value = _similarity(similarity, product, r, other)
            if value <= 0:
                continue
            if n < room:
                sift_up(neighbors, values, start, n, other, value)
                n += 1
            elif is_better(value, other, values[start], neighbors[start]):
                sift_down(neighbors, values, start, n, other, value)
        counts[r] = n


@jit_inner
def _similarity(similarity, product, row, other):
    kind = similarity.kind
    if kind == PRODUCT:
        return product
    size, other_size = similarity.size[row], similarity.other_size[other]
    if kind == COSINE:
        denominator = size * other_size
    elif kind == JACCARD:
        denominator = size + other_size - product
    else:
        denominator = min(size, other_size)
    return product / (denominator + similarity.shrinkage)


@jit_inner
def is_better(value, neighbor, other_value, other_neighbor):
    return value > other_value or (value == other_value and neighbor < other_neighbor)


@jit_inner
def sift_up(neighbors, values, start, n, neighbor, value):
    """Insert a neighbor into a heap of ``n``, whose worst is at ``start``."""
    place = n
    while place > 0:
        parent = (place - 1) // 2
        if not is_better(values[start + parent], neighbors[start + parent], value, neighbor):
            break
        values[start + place] = values[start + parent]
        neighbors[start + place] = neighbors[start + parent]
        place = parent
    values[start + place], neighbors[start + place] = value, neighbor


@jit_inner
def sift_down(neighbors, values, start, n, neighbor, value):
    """Replace the worst of a heap of ``n``."""
    place = 0
    while 2 * place + 1 < n:
        child = 2 * place + 1
        other = child + 1
        if other < n and is_better(
            values[start + child],
            neighbors[start + child],
            values[start + other],
            neighbors[start + other],
        ):
            child = other
        if not is_better(value, neighbor, values[start + child], neighbors[start + child]):
            break
        values[start + place] = values[start + child]
        neighbors[start + place] = neighbors[start + child]
        place = child
    values[start + place], neighbors[start + place] = value, neighbor


@jit
def add_sparse(first, last, rows, table, scores):
    """Add to ``scores`` the products of rows ``first:last`` and a sparse table."""
    for r in range(first, last):
        for p in range(rows.indptr[r], rows.indptr[r + 1]):
            item, value = rows.indices[p], rows.data[p]
            for q in range(table.indptr[item], table.indptr[item + 1]):
                scores[r - first, table.indices[q]] += value * table.data[q]


@jit
def add_dense(first, last, rows, table, scores):
    """The same for a dense table."""
    n_columns = np.uintp(table.shape[1])
    for r in range(first, last):
        s = np.uintp(r - first)
        for p in range(rows.indptr[r], rows.indptr[r + 1]):
            item, value = np.uintp(rows.indices[p]), rows.data[p]
            for j in range(n_columns):
                scores[s, j] += value * table[item, j]
