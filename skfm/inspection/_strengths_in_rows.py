"""How strongly features, and fields of features, interact in some rows.

The strength of an interaction is the root mean square of what it contributes to the outputs of
the rows; of several outputs, of the norm of the contributions.
"""

from itertools import combinations_with_replacement

import numpy as np
from scipy import sparse

from skfm._utils.sparse_entries import rows_of
from skfm.inspection._strengths import ROUNDING, keep_strongest, members_of, norms_of

FEATURES_TOGETHER = 256  # whose pairs with all others are found at a time
NUMBERS_TOGETHER = 1 << 21  # of vectors that are multiplied at a time


def mean_square_products(rows, features):
    """The mean of ``(x_i x_j)^2`` over CSR rows for some features, as an array."""
    squares = rows[:, features].power(2)
    return (squares.T @ squares).toarray() / rows.shape[0]


def strongest_pairs_in(rows, products, n):
    """The ``n`` strongest pairs of features (n, 2), strongest first.

    Returns the pairs and for each the root mean square of the product of its features. Pairs of
    strength 0 are left out.
    """
    norms, other_norms = _largest_norms(products, np.unique(rows.indices))
    used = np.flatnonzero(norms + other_norms)
    squares = rows[:, used].power(2)
    by_feature = squares.T.tocsr()
    best, strength, least = np.zeros((0, 2), np.intp), np.zeros(0), 0.0
    for start in range(0, used.size, FEATURES_TOGETHER):
        together = (by_feature[start : start + FEATURES_TOGETHER] @ squares).tocoo()
        pairs = used[np.column_stack([together.row + start, together.col])]
        first, second = pairs.T
        sizes = np.sqrt(together.data / rows.shape[0])
        may_be = (first < second) & (norms[first] * other_norms[second] * sizes > least)
        may_be &= products.interact(first, second)
        pairs, sizes = pairs[may_be], sizes[may_be]
        strengths = _norms_of_weights(products, pairs) * sizes
        above = strengths > least
        best, strength = keep_strongest(
            np.concatenate([best, pairs[above]]), np.concatenate([strength, strengths[above]]), n
        )
        least = strength[-1] if strength.size == n else least
    norms_of_best = _norms_of_weights(products, best)
    return best, strength / norms_of_best


def _largest_norms(products, features):
    """For each feature of the model, bounds of its vectors toward any group, and of its own ones.

    They are 0 for all but the given features.
    """
    largest = np.zeros((2, products.group.size))
    for place, vectors in enumerate((products.toward, products.own)):
        for d in products.different_partners:
            norms = norms_of(vectors, features, d)
            largest[place, features] = np.maximum(largest[place, features], norms)
    return largest * (1 + ROUNDING)


def _norms_of_weights(products, pairs):
    """Norms of the weights of pairs over the outputs, some pairs at a time."""
    step = max(1, NUMBERS_TOGETHER // products.n_numbers)
    norms = np.empty(len(pairs))
    for start in range(0, len(pairs), step):
        weights = products.weights(pairs[start : start + step])
        norms[start : start + step] = np.linalg.norm(weights, axis=0)
    return norms


def strengths_of_fields_in(rows, products, places, n_fields):
    """Strengths (n_fields, n_fields) of the interactions of fields.

    ``places`` is the field of each feature, as a number.
    """
    n_groups = len(products.partners)
    kinds, kind = np.unique(places * n_groups + products.group, return_inverse=True)
    of_kind = kinds // n_groups
    total = np.zeros((n_fields, n_fields))
    n_numbers = max(products.n_numbers, products.n_outputs * kinds.size)
    height = max(1, NUMBERS_TOGETHER // (kinds.size * n_numbers))
    for start in range(0, rows.shape[0], height):
        block = rows[start : start + height]
        for of_output in _products_of_kinds(block, products, kind, kinds % n_groups):
            by_field = np.zeros((block.shape[0], n_fields, n_fields))
            np.add.at(by_field, (slice(None), of_kind[:, None], of_kind), of_output)
            total += (by_field**2).sum(axis=0)
    strengths = np.sqrt(total / rows.shape[0])
    # Within a field, each pair was counted twice.
    strengths[np.diag_indices(n_fields)] /= 2
    return strengths


def _products_of_kinds(rows, products, kind, group_of_kind):
    """What pairs of features of two kinds contribute, (n_outputs, n_rows, n_kinds, n_kinds).

    Features of a kind are of one interaction group. Pairs of features of the same kind count
    twice.
    """
    n_rows, n_kinds = rows.shape[0], group_of_kind.size
    result = np.zeros((products.n_outputs, n_rows, n_kinds, n_kinds))
    of_entry = rows_of(rows)
    entries = members_of(products.group[rows.indices])
    kinds = members_of(group_of_kind)

    def sums(vectors, c, d):
        """Sums by kind of the vectors of features of group ``c`` for group ``d``."""
        chosen, own = entries[c], kinds[c]
        columns, column = np.unique(rows.indices[chosen], return_inverse=True)
        place = np.searchsorted(own, kind[rows.indices[chosen]]) + of_entry[chosen] * own.size
        shape = n_rows * own.size, columns.size
        by_kind = sparse.csr_matrix((rows.data[chosen], (place, column)), shape)
        found = [by_kind @ one for one in vectors(columns, d, np.float64)]
        return np.reshape(found, (len(found), n_rows, own.size, -1))

    for c, d in combinations_with_replacement(sorted(entries), 2):
        if products.partners[c, d]:
            both = sums(products.toward, c, d) @ np.swapaxes(sums(products.own, d, c), 2, 3)
            result[:, :, kinds[c][:, None], kinds[d]] = both
            result[:, :, kinds[d][:, None], kinds[c]] = np.swapaxes(both, 2, 3)
    place = of_entry * n_kinds + kind[rows.indices]
    is_alone = np.bincount(place, minlength=n_rows * n_kinds).reshape(n_rows, n_kinds) < 2
    diagonal = np.arange(n_kinds)
    for output, itself in enumerate(_products_with_themselves(rows, products)):
        own = np.bincount(place, itself, n_rows * n_kinds).reshape(n_rows, n_kinds)
        within = result[output][:, diagonal, diagonal]
        # Where a kind has one feature, rounding would be left.
        result[output][:, diagonal, diagonal] = np.where(is_alone, 0, within - own)
    return result


def _products_with_themselves(rows, products):
    """What each entry would contribute as a pair with itself, (n_outputs, n_entries)."""
    columns, column = np.unique(rows.indices, return_inverse=True)
    own = products.own(columns, products.group[columns], np.float64)
    squares = np.einsum("opf,opf->op", own, own) * products.interact(columns, columns)
    return squares[:, column] * rows.data**2
