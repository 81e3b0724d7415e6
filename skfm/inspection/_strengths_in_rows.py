"""How strongly features, and fields of features, interact in some rows.

The strength of an interaction is the root mean square of what it contributes to the outputs of
the rows; of several outputs, of the norm of the contributions.
"""

import numpy as np
from scipy import sparse

from skfm._utils.sparse_entries import rows_of
from skfm.inspection._strengths import keep_strongest, weights_of

FEATURES_TOGETHER = 256  # whose pairs with all others are found at a time
NUMBERS_TOGETHER = 1 << 21  # of vectors that are multiplied at a time


def mean_square_products(rows, features):
    """The mean of ``(x_i x_j)^2`` over CSR rows for some features, as an array."""
    squares = rows[:, features].power(2)
    return (squares.T @ squares).toarray() / rows.shape[0]


def strongest_pairs_in(rows, factors, n):
    """The ``n`` strongest pairs of features (n, 2), strongest first.

    Returns the pairs and for each the root mean square of the product of its features. Pairs of
    strength 0 are left out.
    """
    norms = np.sqrt(np.einsum("opf,opf->p", factors.vectors, factors.vectors, dtype=np.float64))
    used = np.flatnonzero(np.bincount(rows.indices, minlength=norms.size) * norms)
    squares = rows[:, used].power(2)
    by_feature = squares.T.tocsr()
    best, strength, least = np.zeros((0, 2), np.intp), np.zeros(0), 0.0
    for start in range(0, used.size, FEATURES_TOGETHER):
        together = (by_feature[start : start + FEATURES_TOGETHER] @ squares).tocoo()
        pairs = used[np.column_stack([together.row + start, together.col])]
        first, second = pairs.T
        sizes = np.sqrt(together.data / rows.shape[0])
        may_be = (first < second) & (norms[first] * norms[second] * sizes > least)
        may_be &= factors.partners[factors.group[first], factors.group[second]]
        pairs, sizes = pairs[may_be], sizes[may_be]
        strengths = _norms_of_weights(factors.vectors, pairs) * sizes
        above = strengths > least
        best, strength = keep_strongest(
            np.concatenate([best, pairs[above]]), np.concatenate([strength, strengths[above]]), n
        )
        least = strength[-1] if strength.size == n else least
    norms_of_best = _norms_of_weights(factors.vectors, best)
    return best, strength / norms_of_best


def _norms_of_weights(vectors, pairs):
    """Norms of the weights of pairs over the outputs, some pairs at a time."""
    n_outputs, _, width = vectors.shape
    step = max(1, NUMBERS_TOGETHER // (n_outputs * width))
    norms = np.empty(len(pairs))
    for start in range(0, len(pairs), step):
        first, second = pairs[start : start + step].T
        weights = weights_of(vectors, first, second)
        norms[start : start + step] = np.linalg.norm(weights, axis=1)
    return norms


def strengths_of_fields_in(rows, factors, places, n_fields):
    """Strengths (n_fields, n_fields) of the interactions of fields.

    ``places`` is the field of each feature, as a number.
    """
    n_groups, width = len(factors.partners), factors.vectors.shape[2]
    kind = places * n_groups + factors.group  # features of a kind have the same partners
    kinds, kind = np.unique(kind, return_inverse=True)
    interact = factors.partners[np.ix_(kinds % n_groups, kinds % n_groups)]
    of_kind = kinds // n_groups
    total = np.zeros((n_fields, n_fields))
    height = max(1, NUMBERS_TOGETHER // (kinds.size * max(width, kinds.size)))
    for start in range(0, rows.shape[0], height):
        block = rows[start : start + height]
        for vectors in factors.vectors:
            products = _products_of_kinds(block, vectors, kind, kinds.size) * interact
            by_field = np.zeros((block.shape[0], n_fields, n_fields))
            np.add.at(by_field, (slice(None), of_kind[:, None], of_kind), products)
            total += (by_field**2).sum(axis=0)
    strengths = np.sqrt(total / rows.shape[0])
    # Within a field, each pair was counted twice.
    strengths[np.diag_indices(n_fields)] /= 2
    return strengths


def _products_of_kinds(rows, vectors, kind, n_kinds):
    """For each row, what pairs of features of two kinds contribute, (n_rows, n_kinds, n_kinds).

    Pairs of features of the same kind count twice.
    """
    n_rows, of_entry = rows.shape[0], rows_of(rows)
    place = of_entry * n_kinds + kind[rows.indices]
    columns, column = np.unique(rows.indices, return_inverse=True)
    vectors = vectors[columns].astype(np.float64)
    by_kind = sparse.csr_matrix((rows.data, (place, column)), (n_rows * n_kinds, columns.size))
    sums = (by_kind @ vectors).reshape(n_rows, n_kinds, -1)
    products = sums @ sums.transpose(0, 2, 1)
    itself = rows.data**2 * np.einsum("pf,pf->p", vectors, vectors)[column]
    own = np.bincount(place, itself, n_rows * n_kinds).reshape(n_rows, n_kinds)
    is_alone = np.bincount(place, minlength=n_rows * n_kinds).reshape(n_rows, n_kinds) < 2
    places = np.arange(n_kinds)
    # Where a kind has one feature, rounding would be left.
    products[:, places, places] = np.where(is_alone, 0, products[:, places, places] - own)
    return products
