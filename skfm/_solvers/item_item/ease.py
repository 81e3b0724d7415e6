"""EASE: a ridge regression of each item on all others, in closed form."""

import numpy as np
from scipy.linalg import get_lapack_funcs

from skfm._solvers.item_item.gram import dense_gram


def ease(X, alpha, n_threads):
    """Weights of items by items, whose diagonal is 0; None if the Gram matrix is not definite.

    Gram matrix, Cholesky factor, inverse and weights take the same memory, one after the other.
    """
    table = dense_gram(X, n_threads)
    table.flat[:: len(table) + 1] += table.dtype.type(alpha)
    if not np.isfinite(table).all():
        return table
    factorize, invert = get_lapack_funcs(("potrf", "potri"), (table,))
    # LAPACK works column by column, so its lower triangle is the upper one here.
    _, failed = factorize(table.T, lower=True, overwrite_a=True, clean=False)
    if failed:
        return None
    invert(table.T, lower=True, overwrite_c=True)
    diagonal = table.diagonal().copy()
    for item in range(len(table)):
        table[item + 1 :, item] = table[item, item + 1 :]
    table /= -diagonal
    table.flat[:: len(table) + 1] = 0
    return table
