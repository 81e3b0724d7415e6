"""Inputs of negative sampling: the items' probabilities, and the items that each user has seen."""

import numpy as np

from skfm._kernels.negative_sampling import BITS, EXTRA_WORDS, mark_seen
from skfm._kernels.structs import Seen

SHARES = 1 << 30  # of all items together, if negatives are sampled by popularity


def cumulative_shares(popularity, exponent):
    """Cumulative numbers of shares, which are proportional to the items' probabilities.

    Each item has one share, plus shares in proportion to ``popularity ** exponent`` unless the
    exponent is 0.
    """
    shares = np.ones(popularity.size, np.int64)
    if exponent:
        wanted = popularity.astype(np.float64) ** exponent
        shares += np.floor(wanted / wanted.sum() * SHARES).astype(np.int64)
    return np.append(0, np.cumsum(shares))


def index_seen(seen, begin):
    """Index a matrix (n_users, n_items) of seen items (CSR, canonical) for the kernels.

    ``begin`` are the cumulative shares of `cumulative_shares`.
    """
    ptr = seen.indptr.astype(np.int64)
    item = seen.indices.astype(np.int64)
    taken = np.append(0, np.cumsum(begin[item + 1] - begin[item]))
    before = taken[:-1] - np.repeat(taken[ptr[:-1]], np.diff(ptr))
    n_items = begin.size - 1
    words = _next_power_of_two(np.maximum(-(-np.diff(ptr) * BITS // 64), 1))
    enough = _next_power_of_two(-(-n_items // 64))
    words[words * EXTRA_WORDS >= enough] = enough
    indexed = Seen(
        ptr,
        item,
        free=begin[item] - before,
        total=begin[-1] - np.diff(taken[ptr]),
        bit_ptr=np.append(0, np.cumsum(words)),
        bits=np.zeros(words.sum(), np.uint64),
    )
    mark_seen(indexed, n_items)
    return indexed


def _next_power_of_two(n):
    """The smallest power of two that is at least ``n``."""
    return 2 ** np.ceil(np.log2(n)).astype(np.int64)
