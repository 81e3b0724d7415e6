"""SLIM: an elastic net of each item on all others."""

import numpy as np
from scipy import sparse

from skfm._kernels.elastic_net import regress_items
from skfm._kernels.neighbors import PRODUCT
from skfm._solvers.item_item.neighbors import find_neighbors, kernel_rows, similarity_of
from skfm._utils.threads import share

BLOCK = 16  # items whose weights are dense at the same time


def slim(X, alpha, alpha_l1, positive, max_iter, tol, n_threads):
    """CSR of weights of items by items, and the number of sweeps for each item.

    The number is negative for items whose weights have not converged.
    """
    n_items, kind = X.shape[1], X.dtype.type
    sizes = np.ones(n_items, X.dtype)
    similarity = similarity_of(PRODUCT, sizes, sizes)
    gram = find_neighbors(X.T.tocsr(), X, similarity, n_items, n_threads)
    diagonal = gram.diagonal()
    entries, penalties = kernel_rows(gram), (kind(alpha), kind(alpha_l1))
    n_iter = np.zeros(n_items, np.int64)
    blocks = [None] * -(-n_items // BLOCK)

    def work(number):
        first, last = number * BLOCK, min(n_items, (number + 1) * BLOCK)
        weights = np.empty((last - first, n_items), X.dtype)
        regress_items(
            first, last, entries, diagonal, penalties, positive, (max_iter, tol), weights, n_iter
        )
        blocks[number] = sparse.csr_matrix(weights)

    share(work, len(blocks), n_threads)
    return sparse.vstack(blocks, format="csr").T.tocsr(), n_iter
