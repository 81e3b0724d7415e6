"""How strongly features, and fields of features, interact, by their weights alone.

The strength of a pair of features is the norm of its weights, which are as many as there are
outputs. Tables of all pairs are never made: pairs are found in blocks, and sums of squared weights
between fields come from products of vectors.
"""

from itertools import combinations_with_replacement

import numpy as np

BLOCK = 512  # features whose pairs are computed at a time
ROUNDING = 1e-6  # of norms, relative


def weights_of(vectors, first, second):
    """Weights (n_pairs, n_outputs) of some pairs."""
    return np.einsum("opf,opf->po", vectors[:, first], vectors[:, second], dtype=np.float64)


def strongest_pairs(factors, n):
    """The ``n`` strongest pairs of different features that interact, (n, 2), strongest first.

    The strength of a pair is at most the product of the norms of its vectors. So blocks of long
    vectors come first, and where that bound falls below the strengths found, the search ends.
    Pairs of strength 0 are left out.
    """
    norms = np.sqrt(np.einsum("opf,opf->p", factors.vectors, factors.vectors, dtype=np.float64))
    order = np.argsort(-norms, kind="stable")
    blocks = [order[start : start + BLOCK] for start in range(0, order.size, BLOCK)]
    best, strength = np.zeros((0, 2), np.intp), np.zeros(0)
    least = 0.0  # what a pair must exceed to be among the best
    for number, first in enumerate(blocks):
        for second in blocks[number:]:
            if norms[first[0]] * norms[second[0]] * (1 + ROUNDING) <= least:
                break
            found, sizes = _pairs_above(factors, first, second, least)
            best, strength = keep_strongest(
                np.concatenate([best, found]), np.concatenate([strength, sizes]), n
            )
            least = strength[-1] if strength.size == n else least
    return best


def keep_strongest(pairs, strengths, n):
    """The ``n`` strongest of some pairs, strongest first, and their strengths."""
    chosen = np.lexsort((*pairs.T[::-1], -strengths))[:n]
    return pairs[chosen], strengths[chosen]


def _pairs_above(factors, first, second, least):
    """The pairs of features of two blocks whose strengths exceed ``least``, and these."""
    vectors = factors.vectors
    squares = sum((one[first] @ one[second].T).astype(np.float64) ** 2 for one in vectors)
    interact = factors.partners[np.ix_(factors.group[first], factors.group[second])]
    strengths = np.sqrt(squares) * interact
    if first is second:
        strengths = np.triu(strengths, 1)
    rows, columns = np.nonzero(strengths > least)
    pairs = np.sort(np.column_stack([first[rows], second[columns]]), axis=1)
    return pairs, strengths[rows, columns]


def strengths_of_fields(factors, places, n_fields):
    """Root mean squares (n_fields, n_fields) of the weights of the pairs of two fields.

    ``places`` is the field of each feature, as a number.
    """
    groups = np.arange(len(factors.partners))
    members = [
        [np.flatnonzero((places == field) & (factors.group == group)) for group in groups]
        for field in range(n_fields)
    ]
    strengths = np.zeros((n_fields, n_fields))
    for a, b in combinations_with_replacement(range(n_fields), 2):
        total, n_pairs = _sum_between_fields(factors, members[a], members[b], a == b)
        strengths[a, b] = strengths[b, a] = np.sqrt(max(total, 0) / max(n_pairs, 1))
    return strengths


def _sum_between_fields(factors, first, second, is_same):
    """The sum of squared weights of all pairs of features of two fields, and their number."""
    total, sizes = 0.0, [sum(map(len, side)) for side in (first, second)]
    for c, d in np.argwhere(factors.partners):
        total += sum(_sum_of_squares(one[first[c]], one[second[d]]) for one in factors.vectors)
    if not is_same:
        return total, sizes[0] * sizes[1]
    for c in np.flatnonzero(factors.partners.diagonal()):
        own = factors.vectors[:, first[c]]
        total -= (np.einsum("opf,opf->op", own, own, dtype=np.float64) ** 2).sum()
    return total / 2, sizes[0] * (sizes[0] - 1) // 2


def _sum_of_squares(first, second):
    """The sum of the squares of all products of two tables of vectors, in float64: most of it may
    be products of vectors with themselves, which are subtracted."""
    (n, width), m = first.shape, len(second)
    first, second = first.astype(np.float64), second.astype(np.float64)
    if n * m <= width * (n + m):
        blocks = (first[start : start + BLOCK] for start in range(0, n, BLOCK))
        return sum(float(np.square(block @ second.T).sum()) for block in blocks)
    return float(((first.T @ first) * (second.T @ second)).sum())
