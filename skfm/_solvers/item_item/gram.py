"""Gram matrices: products of all pairs of columns of a sparse matrix."""

import numpy as np

from skfm._solvers.item_item.scores import score_blocks
from skfm._solvers.top_k import rows_at_a_time
from skfm._utils.threads import share


def dense_gram(X, n_threads):
    """``X.T @ X`` as an array, computed block by block without another of that size."""
    n_columns = X.shape[1]
    gram = np.empty((n_columns, n_columns), X.dtype)
    score, size = score_blocks(X.T.tocsr(), X), rows_at_a_time(n_columns)

    def work(number):
        rows = slice(number * size, min(n_columns, (number + 1) * size))
        gram[rows] = score(rows.start, rows.stop)

    share(work, -(-n_columns // size), n_threads)
    return gram
