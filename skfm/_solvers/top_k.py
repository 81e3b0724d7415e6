"""The best items of many rows, a block of rows at a time, in several threads."""

import numpy as np

from skfm._kernels.top_k import TILE, best_columns
from skfm._utils.memory import read_only
from skfm._utils.threads import share

BLOCK = 128  # rows for which the items' table is read once
THREAD_WORK = 10_000_000  # products below which a second thread costs more than it brings


def best(rows, columns, n_best, hidden, n_threads):
    """The ``n_best`` columns with the largest products, best first, and these products.

    ``rows`` and ``columns`` are tables of one width, a multiple of 4; ``hidden`` is a pair
    (indptr, indices) of the columns to leave out for each row, sorted. Missing places are -1 with
    -inf.
    """
    n, width = rows.shape
    n_tiles = -(-columns.shape[0] // TILE)
    padded = np.zeros((n_tiles * TILE, width), columns.dtype)
    padded[: columns.shape[0]] = columns
    tiles = np.ascontiguousarray(padded.reshape(n_tiles, TILE, width).transpose(0, 2, 1))
    items = np.empty((n, n_best), np.int64)
    scores = np.empty((n, n_best), rows.dtype)
    indptr, indices = hidden
    indptr, indices = read_only(indptr.astype(np.int64, copy=False)), read_only(indices)

    def work(number):
        first = number * BLOCK
        best_columns(
            first,
            min(n, first + BLOCK),
            rows,
            tiles,
            columns.shape[0],
            indptr,
            indices,
            items,
            scores,
        )

    n_products = n * columns.shape[0] * width
    share(work, -(-n // BLOCK), min(n_threads, n_products // THREAD_WORK + 1))
    return items, scores
