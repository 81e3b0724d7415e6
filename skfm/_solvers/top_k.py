"""The best items of many rows, a block of rows at a time, in several threads."""

from typing import NamedTuple

import numpy as np

from skfm._kernels.top_k import TILE, best_columns, best_scores
from skfm._utils.memory import read_only
from skfm._utils.threads import share

BLOCK = 128  # rows for which the items' table is read once
SCORES = 1 << 22  # scores that a thread holds at a time
THREAD_WORK = 10_000_000  # products below which a second thread costs more than it brings


class Tiles(NamedTuple):
    """A table of columns to choose from, transposed and cut into tiles as the kernel takes it."""

    values: np.ndarray  # (n_tiles, width, TILE), zeros where there are no columns
    n_columns: int


def make_tiles(table):
    """Tiles of a table (n_columns, width), whose width is a multiple of 4."""
    n_columns, width = table.shape
    values = np.zeros((-(-n_columns // TILE), width, TILE), table.dtype)
    n_whole = n_columns // TILE
    whole = table[: n_whole * TILE].reshape(n_whole, TILE, width)
    values[:n_whole] = whole.transpose(0, 2, 1)
    rest = table[n_whole * TILE :]
    if rest.size:
        values[n_whole, :, : len(rest)] = rest.T
    return Tiles(values, n_columns)


def best(rows, tiles, n_best, hidden, n_threads):
    """The ``n_best`` columns with the largest products, best first, and these products.

    ``rows`` is a table as wide as the columns in ``tiles``; ``hidden`` is a pair
    (indptr, indices) of the columns to leave out for each row, sorted. Missing places are -1 with
    -inf.
    """
    n, width = rows.shape
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
            tiles.values,
            tiles.n_columns,
            indptr,
            indices,
            items,
            scores,
        )

    n_products = n * tiles.n_columns * width
    share(work, -(-n // BLOCK), min(n_threads, n_products // THREAD_WORK + 1))
    return items, scores


def best_scored(score, shape, n_best, hidden, n_threads):
    """The same for scores that ``score(first, last)`` computes for some rows, a new array.

    ``shape`` is that of the scores of all rows, which are never stored at the same time.
    """
    n, n_columns = shape
    size = rows_at_a_time(n_columns)
    indptr, indices = hidden
    indptr, indices = read_only(indptr.astype(np.int64, copy=False)), read_only(indices)
    blocks = [None] * -(-n // size)

    def work(number):
        first, last = number * size, min(n, (number + 1) * size)
        scores = score(first, last)
        items = np.empty((last - first, n_best), np.int64)
        best = np.empty((last - first, n_best), scores.dtype)
        best_scores(scores, indptr[first : last + 1], indices, items, best)
        blocks[number] = items, best

    share(work, len(blocks), n_threads)
    items, best = zip(*blocks, strict=True)
    return np.concatenate(items), np.concatenate(best)


def rows_at_a_time(n_columns):
    """For how many rows the scores of all columns are computed together."""
    return max(1, min(BLOCK, SCORES // n_columns))
