"""RP3beta: random walks of three steps over users and items."""

import numpy as np
from scipy import sparse

from skfm._kernels.neighbors import PRODUCT
from skfm._solvers.item_item.neighbors import find_neighbors, similarity_of


def rp3beta(X, alpha, beta, n_neighbors, n_threads):
    """CSR of weights of items by items, of at most ``n_neighbors`` in each column.

    A walk goes from an item to one of its users, and from there to one of their items, with
    probabilities that are proportional to the entries, and then raised to the power ``alpha``. The
    weights are products of two probabilities, summed over the users, and divided by the popularity
    of the last item to the power ``beta``.
    """
    popularity = np.asarray(X.sum(axis=0, dtype=np.float64)).ravel()
    factor = np.where(popularity > 0, popularity, 1) ** -beta
    to_users = _powers(_probabilities(X.T.tocsr()), alpha)
    to_items = _powers(_probabilities(X), alpha)
    to_items.data *= factor[to_items.indices]
    # The walks that end at an item, backwards.
    backwards = to_items.T.tocsr().astype(X.dtype), to_users.T.tocsr().astype(X.dtype)
    sizes = np.ones(X.shape[1], X.dtype)
    similarity = similarity_of(PRODUCT, sizes, sizes, exclude_same=True)
    return find_neighbors(*backwards, similarity, n_neighbors, n_threads).T.tocsr()


def _probabilities(rows):
    """Rows divided by their sums, in float64."""
    total = np.asarray(rows.sum(axis=1, dtype=np.float64)).ravel()
    data = rows.data / np.repeat(total, np.diff(rows.indptr))
    return sparse.csr_matrix((data, rows.indices, rows.indptr), shape=rows.shape)


def _powers(rows, exponent):
    rows.data **= exponent
    return rows
