"""How strongly features, and fields of features, interact, by their weights alone.

The strength of a pair of features is the norm of its weights, which are as many as there are
outputs. Tables of all pairs are never made: pairs are found in blocks, and sums of squared weights
between fields come from products of vectors.
"""

from itertools import combinations_with_replacement

import numpy as np

BLOCK = 512  # features whose pairs are computed at a time
ROUNDING = 1e-6  # of norms, relative


def strongest_pairs(products, n):
    """The ``n`` strongest pairs of different features that interact, (n, 2), strongest first.

    The strength of a pair is at most the product of the norms of its vectors. So for each pair of
    interaction groups, blocks of long vectors come first, and where that bound falls below the
    strengths found, the search ends. Pairs of strength 0 are left out.
    """
    best, strength = np.zeros((0, 2), np.intp), np.zeros(0)
    least = 0.0  # what a pair must exceed to be among the best
    members = members_of(products.group)
    for c, d in combinations_with_replacement(sorted(members), 2):
        if not products.partners[c, d]:
            continue
        firsts = seconds = _blocks_by_norm(products.toward, members[c], d)
        if c != d:
            seconds = _blocks_by_norm(products.own, members[d], c)
        for number, (first, norm) in enumerate(firsts):
            for second, other_norm in seconds[number if c == d else 0 :]:
                if norm * other_norm * (1 + ROUNDING) <= least:
                    break
                found, sizes = _pairs_above(products, first, second, least)
                best, strength = keep_strongest(
                    np.concatenate([best, found]), np.concatenate([strength, sizes]), n
                )
                least = strength[-1] if strength.size == n else least
    return best


def keep_strongest(pairs, strengths, n):
    """The ``n`` strongest of some pairs, strongest first, and their strengths."""
    chosen = np.lexsort((*pairs.T[::-1], -strengths))[:n]
    return pairs[chosen], strengths[chosen]


def members_of(numbers):
    """The places of each number that occurs, by number."""
    order = np.argsort(numbers, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1)
    return {int(numbers[part[0]]): part for part in parts if part.size}


def norms_of(vectors, features, partner):
    """Norms of vectors of features; ``vectors`` is `Products.toward` or `Products.own`."""
    norms = np.zeros(features.size)
    for start in range(0, features.size, BLOCK):
        some = vectors(features[start : start + BLOCK], partner)
        squares = np.einsum("opf,opf->p", some, some, dtype=np.float64)
        norms[start : start + BLOCK] = np.sqrt(squares)
    return norms


def _blocks_by_norm(vectors, features, partner):
    """Blocks of features in descending order of their norms, each with its largest norm."""
    norms = norms_of(vectors, features, partner)
    order = np.argsort(-norms, kind="stable")
    starts = range(0, order.size, BLOCK)
    return [(features[order[start : start + BLOCK]], norms[order[start]]) for start in starts]


def _pairs_above(products, first, second, least):
    """The pairs of features of two blocks whose strengths exceed ``least``, and these.

    The features of each block are of one interaction group. Both blocks may be the same one.
    """
    group = products.group
    vectors = products.toward(first, group[second[0]]), products.own(second, group[first[0]])
    products_of_outputs = (one @ other.T for one, other in zip(*vectors, strict=True))
    strengths = np.sqrt(sum(weights.astype(np.float64) ** 2 for weights in products_of_outputs))
    if first[0] == second[0]:
        strengths = np.triu(strengths, 1)
    rows, columns = np.nonzero(strengths > least)
    pairs = np.sort(np.column_stack([first[rows], second[columns]]), axis=1)
    return pairs, strengths[rows, columns]


def strengths_of_fields(products, places, n_fields):
    """Root mean squares (n_fields, n_fields) of the weights of the pairs of two fields.

    ``places`` is the field of each feature, as a number.
    """
    members = []
    for field in range(n_fields):
        own = np.flatnonzero(places == field)
        parts = members_of(products.group[own])
        members.append({group: own[part] for group, part in parts.items()})
    strengths = np.zeros((n_fields, n_fields))
    for a, b in combinations_with_replacement(range(n_fields), 2):
        total, n_pairs = _sum_between_fields(products, members[a], members[b], a == b)
        strengths[a, b] = strengths[b, a] = np.sqrt(max(total, 0) / max(n_pairs, 1))
    return strengths


def _sum_between_fields(products, first, second, is_same):
    """The sum of squared weights of all pairs of features of two fields, and their number.

    ``first`` and ``second`` are the features of each interaction group.
    """
    total, sizes = 0.0, [sum(map(len, side.values())) for side in (first, second)]
    for c, some in first.items():
        for d, others in second.items():
            if products.partners[c, d]:
                vectors = products.toward(some, d), products.own(others, c)
                total += sum(map(_sum_of_squares, *vectors))
    if not is_same:
        return total, sizes[0] * sizes[1]
    for c, some in first.items():
        if products.partners[c, c]:
            own = products.own(some, c)
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
