"""Scores: products of sparse rows and a table with a column for each item."""

import numpy as np
from scipy import sparse

from skfm._kernels.neighbors import add_dense, add_sparse
from skfm._solvers.item_item.neighbors import kernel_rows
from skfm._utils.memory import read_only


def score_blocks(rows, table):
    """A function of ``first`` and ``last`` that returns the scores of these rows, a new array.

    ``rows`` is CSR, and ``table`` CSR or an array. The scores of a row depend on no other row.
    """
    left, n_columns, dtype = kernel_rows(rows), table.shape[1], table.dtype
    if sparse.issparse(table):
        add, right = add_sparse, kernel_rows(table)
    else:
        add, right = add_dense, read_only(table)

    def score(first, last):
        scores = np.zeros((last - first, n_columns), dtype)
        add(first, last, left, right, scores)
        return scores

    return score


def scores_of_pairs(rows, table, row, item, block):
    """Scores of pairs of a row and an item, ``block`` rows at a time; 0 for the item -1."""
    score = score_blocks(rows, table)
    order = np.argsort(row, kind="stable")
    found = np.zeros(row.size, table.dtype)
    for first in range(0, rows.shape[0], block):
        last = min(rows.shape[0], first + block)
        start, stop = np.searchsorted(row[order], [first, last])
        pairs = order[start:stop]
        pairs = pairs[item[pairs] >= 0]
        found[pairs] = score(first, last)[row[pairs] - first, item[pairs]]
    return found
