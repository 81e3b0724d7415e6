"""Negative sampling: items that a user has not chosen, drawn with given probabilities.

Each item has an integer number of shares, and its probability is proportional to it. An item is
drawn by inverse transform sampling: a random share is looked up in the cumulative numbers of
shares, ``begin``. Whether a user has seen an item is known from a bit array, as in a Bloom filter
with one hash function: a bit of 0 says that the item has not been seen.
"""

import numpy as np

from skfm._kernels._jit import jit, jit_inline, jit_inner
from skfm._kernels.splitmix64 import GAMMA, splitmix64

N_TRIES = 4  # draws among all items, before one among the unseen items only
BITS = 16  # for each seen item, at least: an unseen one shares a set bit in at most 1 of 16 cases
# A user may have this many times as many words, if each item then has a bit to itself.
EXTRA_WORDS = 4
_HALF = np.uint64(32)


@jit_inline
def find_bit(item, n_words, n_items):
    """The word and the bit of an item; ``n_words`` is a power of two.

    If there are enough bits, each item has a bit to itself; otherwise, items are hashed.
    """
    place = np.uint64(item)
    if n_words * 64 < n_items:
        place = place * GAMMA >> np.uint64(32)
    return np.int64(place >> np.uint64(6)) & (n_words - 1), place & np.uint64(63)


@jit
def mark_seen(seen, n_items):
    """Set the bits of the items that users have seen."""
    for user in range(seen.total.size):
        first = seen.bit_ptr[user]
        n_words = seen.bit_ptr[user + 1] - first
        for m in range(seen.ptr[user], seen.ptr[user + 1]):
            word, bit = find_bit(seen.item[m], n_words, n_items)
            seen.bits[first + word] |= np.uint64(1) << bit


@jit_inline
def draw_any(random, begin):
    """Draw an item. There are fewer than 2^32 shares."""
    n_items = begin.size - 1
    n_shares = begin[n_items]
    item = np.int64(((random >> _HALF) * np.uint64(n_shares)) >> _HALF)
    return item if n_shares == n_items else _find_share(begin, item)


@jit_inline
def draw_unseen(random, begin, seen_item, seen_bits, first, last, first_word, n_words):
    """Draw an item that the user has not seen, by rejection; -1 after N_TRIES draws of seen ones.

    The user's seen items are ``seen_item[first:last]``, and their bits are in the words from
    ``first_word`` on. For most unseen items, the bit suffices.
    """
    n_items = begin.size - 1
    for _ in range(N_TRIES):
        item = draw_any(random, begin)
        word, bit = find_bit(item, n_words, n_items)
        if seen_bits[first_word + word] >> bit & np.uint64(1) == 0:
            return item
        if n_words * 64 < n_items:
            m = _count_below(seen_item, first, last, item)
            if m == last or seen_item[m] != item:
                return item
        random = splitmix64(random)
    return np.int64(-1)


@jit_inner
def draw_free(bits, begin, seen, user):
    """Draw an unseen item without rejection, by skipping the shares of seen items; -1 if there is
    none."""
    n_free = seen.total[user]
    if n_free <= 0:
        return np.int64(-1)
    share = np.int64(((bits >> _HALF) * np.uint64(n_free)) >> _HALF)
    first = seen.ptr[user]
    m = _count_below(seen.free, first, seen.ptr[user + 1], share + 1)
    if m > first:
        share += begin[np.int64(seen.item[m - 1]) + 1] - seen.free[m - 1]
    return share if begin[begin.size - 1] == begin.size - 1 else _find_share(begin, share)


@jit_inline
def _find_share(begin, share):
    """The item that a share belongs to."""
    return _count_below(begin, np.int64(1), begin.size, share + 1) - 1


@jit_inline
def _count_below(values, low, high, limit):
    """The first position in ``low:high`` of sorted values that is not below the limit."""
    while low < high:
        middle = (low + high) // 2
        if values[middle] < limit:
            low = middle + 1
        else:
            high = middle
    return low
