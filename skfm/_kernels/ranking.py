"""Training on pairs of a chosen item and one drawn: planned mini-batches, as in minibatch.py.

A row is a context, and the item chosen in it. Its score for an item is that of an FM on the
features of both. What a context and an item make of it by themselves is computed once; of
both together it is the product of the context's sums by class and the item's layers (see
interactions.py). Features of contexts and items are different ones, in one state.

A batch goes through six steps, in each of which rows, items or features are independent, so that
threads can share them: gather the contexts' parameters; compute the contexts; draw an item for
each row, compare; plan the distinct items that were met; sum up what their rows want of them, and
gather their parameters; update all features.
"""

import math

import numpy as np

from skfm._kernels._jit import jit, jit_inline
from skfm._kernels.features import MIX
from skfm._kernels.interactions import enter
from skfm._kernels.losses import LOG_LOSS, scalar_loss
from skfm._kernels.minibatch import ROW_COST, _boundary, backward, finish, forward, gather
from skfm._kernels.plan import plan_batches

BPR, WARP, LOGISTIC = range(3)
N_STEPS, N_FORWARD_STEPS = 6, 3

N_TRIES = 4  # draws of all items, before one of the free ones
BITS = 16  # for each item seen, at least: one in so many unseen items falls on the bit of one
_HALF = np.uint64(32)


@jit_inline
def random_bits(number):
    """Bits without a pattern, of a number (Steele, Lea, Flood 2014: SplitMix64)."""
    h = number
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


@jit_inline
def find_bit(item, n_words):
    """The word and the bit on which an item falls among a power of two of words."""
    place = np.uint64(item) * MIX >> np.uint64(32)
    return np.int64(place >> np.uint64(6)) & (n_words - 1), place & np.uint64(63)


@jit
def mark_seen(seen):
    """Set the bits of the items that owners have seen."""
    for owner in range(seen.total.size):
        first = seen.bit_ptr[owner]
        n_words = seen.bit_ptr[owner + 1] - first
        for m in range(seen.ptr[owner], seen.ptr[owner + 1]):
            word, bit = find_bit(seen.item[m], n_words)
            seen.bits[first + word] |= np.uint64(1) << bit


@jit_inline
def draw_unseen(random, begin, seen_item, seen_bits, first, last, first_word, n_words):
    """An item that its owner has not seen, each with its share; -1 if a few draws found none.

    There are less than 2^32 shares. What the owner has seen is at ``first:last`` and, as bits,
    in words from ``first_word`` on. Most items drawn have not been seen, which the bit says at
    once.
    """
    n_items = begin.size - 1
    n_shares = begin[n_items]
    for _ in range(N_TRIES):
        item = np.int64(((random >> _HALF) * np.uint64(n_shares)) >> _HALF)
        if n_shares > n_items:
            item = _find_share(begin, item)
        word, bit = find_bit(item, n_words)
        if seen_bits[first_word + word] >> bit & np.uint64(1) == 0:
            return item
        m = _count_below(seen_item, first, last, item)
        if m == last or seen_item[m] != item:
            return item
        random = random_bits(random)
    return np.int64(-1)


@jit
def draw_free(bits, begin, seen, owner):
    """The same in one draw of those that are free, jumping over the shares of seen items; -1 if
    there are none."""
    n_free = seen.total[owner]
    if n_free <= 0:
        return np.int64(-1)
    share = np.int64(((bits >> _HALF) * np.uint64(n_free)) >> _HALF)
    first = seen.ptr[owner]
    m = _count_below(seen.free, first, seen.ptr[owner + 1], share + 1)
    if m > first:
        share += begin[np.int64(seen.item[m - 1]) + 1] - seen.free[m - 1]
    return share if begin[begin.size - 1] == begin.size - 1 else _find_share(begin, share)


@jit_inline
def _find_share(begin, share):
    """The item with a share."""
    return _count_below(begin, 1, begin.size, share + 1) - 1


@jit_inline
def _count_below(values, low, high, limit):
    """The first place in ``low:high`` of sorted values that is not below the limit."""
    while low < high:
        middle = (low + high) // 2
        if values[middle] < limit:
            low = middle + 1
        else:
            high = middle
    return low


@jit_inline
def represent(items, i, linear, factors, interactions, p, layers):
    """Write an item's layers; returns its output without a context. ``p`` is room to work in."""
    own = factors.dtype.type(0)
    if items.output.size > 0:
        own = items.output[i]
        for d in range(layers.shape[0]):
            for f in range(layers.shape[1]):
                layers[d, f] = items.layers[i, d, f]
    else:
        for d in range(layers.shape[0]):
            for f in range(layers.shape[1]):
                layers[d, f] = 0
    for e in range(np.uintp(items.indptr[i]), np.uintp(items.indptr[i + 1])):
        j, x = np.uintp(items.feature[e]), items.value[e]
        own += x * linear[j, 0]
        if interactions is None:
            for f in range(p.size):
                product = x * factors[j, 0, f]
                own += product * layers[0, f]
                layers[0, f] += product
        else:
            for f in range(p.size):
                p[f] = x * factors[j, 0, f]
            own += enter(interactions, j, p, layers)
    return own


@jit_inline
def score_single(items, i, linear, factors, interactions, context, layers, r):
    """The score of an item with one feature in context ``r``, without writing its layers."""
    width = factors.shape[2]
    e = np.uintp(items.indptr[i])
    j = np.uintp(items.feature[e])
    c, base = np.uintp(0), np.uintp(0)
    if interactions is not None:
        c = np.uintp(interactions.feature_class[j])
        base = c * np.uintp(width)
    score = linear[j, 0]
    for f in range(width):
        score += factors[j, 0, f] * layers[r, base + f]
    if items.output.size > 0:
        for f in range(width):
            score += factors[j, 0, f] * items.layers[i, c, f]
    score *= items.value[e]
    if items.output.size > 0:
        score += items.output[i]
        for d in range(items.layers.shape[1]):
            base = np.uintp(d) * np.uintp(width)
            for f in range(width):
                score += context[r, base + f] * items.layers[i, d, f]
    return score


@jit
def keep_contexts(window, batch, interactions, scratch, draws, part, n_parts):
    """Keep the layers of a batch's contexts; with classes, also the sums by class."""
    r0, r1 = window.row_start[batch], window.row_start[batch + 1]
    sums, context, layers = scratch.sums[0], draws.context, draws.layers
    unit = window.row_values.size == 0
    first = _boundary(window.row_ptr, r0, r1, ROW_COST, part, n_parts) - r0
    last = _boundary(window.row_ptr, r0, r1, ROW_COST, part + 1, n_parts) - r0
    for r in range(np.uintp(first), np.uintp(last)):
        for f in range(sums.shape[1]):
            layers[r, f] = sums[r, f]
        if interactions is not None:
            for f in range(context.shape[1]):
                context[r, f] = 0
            i = np.uintp(r0) + r
            for e in range(np.uintp(window.row_ptr[i]), np.uintp(window.row_ptr[i + np.uintp(1)])):
                a = np.uintp(window.local[e])
                x = sums.dtype.type(1) if unit else window.row_values[e]
                base = np.uintp(scratch.layer[a])
                for f in range(np.uintp(scratch.factors.shape[2])):
                    context[r, base + f] += x * scratch.factors[a, 0, f]


@jit_inline
def differentiate(kind, dtype, score, other, constant, n_free, n_tried):
    """The loss of two scores and its slopes by them; ``n_free`` is 0 if there is no other.

    ``constant`` is what the context adds to both, which only LOGISTIC does not take out.
    """
    zero, one = dtype.type(0), dtype.type(1)
    if kind == LOGISTIC:
        loss, slope = scalar_loss(LOG_LOSS, zero, score + constant, one)
        if n_free == 0:
            return loss, slope, zero
        other_loss, other_slope = scalar_loss(LOG_LOSS, zero, other + constant, zero)
        return loss + other_loss, slope, other_slope
    if n_free == 0:
        return zero, zero, zero
    if kind == BPR:
        loss, slope = scalar_loss(LOG_LOSS, zero, score - other, one)
        return loss, slope, -slope
    # The hinge is cut where the loss would rise while ranks get better: slopes ignore that the
    # weight falls for it. Without the hinge, nothing would fall before scores differ by 1.
    rank, lowest = dtype.type(max(n_free // n_tried, 1)), dtype.type(n_free)
    weight = math.log1p(rank) / math.log1p(lowest)
    return weight * min(one, one + other - score), -weight, weight


@jit
def compare(
    window, batch, events, seed, items, seen, state, interactions, rule, scratch, draws, part,
    n_parts,
):
    """Draw an item for each row; losses, their slopes, and what the contexts get of them.

    A row's gradient by the factors of its context's features is written over its sums, as
    `minibatch.backward` reads it. Of WARP, ``rule.shape`` is the largest number of draws.
    """
    r0, r1 = window.row_start[batch], window.row_start[batch + 1]
    linear, factors = state.linear[0], state.factors[0]
    sums, raw, gradient = scratch.sums[0], scratch.output[0], scratch.gradient[0]
    dtype, n_items, width = sums.dtype, items.indptr.size - 1, factors.shape[2]
    zero, one = dtype.type(0), dtype.type(1)
    n_layers = sums.shape[1] // width
    p = np.empty(width, dtype)
    good, bad = np.empty((n_layers, width), dtype), np.empty((n_layers, width), dtype)
    good_flat, bad_flat = good.reshape(-1), bad.reshape(-1)
    indptr, begin, seen_item, seen_bits = items.indptr, items.begin, seen.item, seen.bits
    context, layers = draws.context, draws.layers
    n_draws = np.int64(rule.shape) if rule.loss == WARP else 1
    first = _boundary(window.row_ptr, r0, r1, ROW_COST, part, n_parts) - r0
    last = _boundary(window.row_ptr, r0, r1, ROW_COST, part + 1, n_parts) - r0
    for r in range(first, last):
        i = r0 + r
        owner = events.owner[i]
        known, known_end = seen.ptr[owner], seen.ptr[owner + 1]
        first_word = seen.bit_ptr[owner]
        n_words = seen.bit_ptr[owner + 1] - first_word
        score = represent(items, events.item[i], linear, factors, interactions, p, good)
        for f in range(good_flat.size):
            score += context[r, f] * good_flat[f]
        key = random_bits(seed + np.uint64(events.first + i + 1) * MIX)
        negative, other, n_tried, is_single = np.int64(-1), zero, 0, True
        while n_tried < n_draws:
            n_tried += 1
            random = random_bits(key + np.uint64(n_tried) * MIX)
            j = draw_unseen(
                random, begin, seen_item, seen_bits, known, known_end, first_word, n_words
            )
            if j < 0:
                # Anew, for the first draws have said that the item of these bits was seen.
                j = draw_free(random_bits(~random), begin, seen, owner)
                if j < 0:
                    break
            is_single = indptr[j + 1] - indptr[j] == 1
            if is_single:
                other = score_single(items, j, linear, factors, interactions, context, layers, r)
            else:
                other = represent(items, j, linear, factors, interactions, p, bad)
                for f in range(bad_flat.size):
                    other += context[r, f] * bad_flat[f]
            if rule.loss != WARP or other > score - one:
                negative = j
                break
        n_free = n_items - (known_end - known) if negative >= 0 else 0
        loss, slope, other_slope = differentiate(
            rule.loss, dtype, score, other, raw[r], n_free, n_tried
        )
        weight = window.weight[i] if window.weight.size > 0 else one
        slope *= weight
        other_slope *= weight
        draws.negative[r] = negative
        draws.slope[0, r], draws.slope[1, r] = slope, other_slope
        scratch.losses[r] = weight * loss
        both = slope + other_slope
        gradient[r] = both
        for f in range(good_flat.size):
            sums[r, f] = slope * good_flat[f] + both * layers[r, f]
        if negative >= 0:
            if is_single:  # else they are there
                represent(items, negative, linear, factors, interactions, p, bad)
            for f in range(good_flat.size):
                sums[r, f] += other_slope * bad_flat[f]


@jit
def plan_items(window, batch, events, items, item_window, draws):
    """Find the distinct items that a batch's rows met, and index them by row and by feature.

    The items become rows of a batch of their own, of the weight of the rows that chose them:
    so penalties are charged for what is chosen, however often it is drawn.
    """
    r0 = window.row_start[batch]
    n_rows = window.row_start[batch + 1] - r0
    place, item, ptr, count = draws.place, draws.item, draws.ptr, draws.count
    n = 0
    for r in range(n_rows):
        for side in range(2):
            i = np.int64(events.item[r0 + r]) if side == 0 else draws.negative[r]
            if i < 0:
                continue
            if place[i] < 0:
                place[i] = n
                item[n] = i
                count[n] = 0
                item_window.weight[n] = 0
                n += 1
            count[place[i]] += 1
    ptr[0] = 0
    for number in range(n):
        ptr[number + 1] = ptr[number] + count[number]
        count[number] = ptr[number]
    for r in range(n_rows):
        weight = window.weight[r0 + r] if window.weight.size > 0 else 1
        for side in range(2):
            i = np.int64(events.item[r0 + r]) if side == 0 else draws.negative[r]
            if i < 0:
                continue
            number = place[i]
            draws.row[count[number]] = r
            draws.row_slope[count[number]] = draws.slope[side, r]
            count[number] += 1
            if side == 0:
                item_window.weight[number] += weight
    for number in range(n):
        place[item[number]] = -1
    item_window.row_start[1] = n
    # The values are scaled already, and features known by their places: nothing to renumber.
    n_features = plan_batches(
        items.indptr,
        items.feature,
        items.value,
        items.place,
        items.center,
        items.inverse_scale,
        item[:n],
        max(n, 1),
        draws.number,
        draws.entry,
        count,
        item_window.feature_start,
        item_window.features,
        item_window.column_ptr,
        draws.row_ptr,
        draws.local,
        draws.row_value,
        item_window.entry_row,
        item_window.column_values,
    )
    for number in range(n_features):
        draws.number[np.uintp(item_window.features[number])] = -1


@jit
def sum_items(state, items, interactions, item_scratch, draws, n_items, part, n_parts):
    """What a batch's rows want of each of its items: their gradient by its features' factors.

    As in `compare`, it is written where `minibatch.backward` reads it.
    """
    linear, factors = state.linear[0], state.factors[0]
    sums, gradient = item_scratch.sums[0], item_scratch.gradient[0]
    dtype, width = sums.dtype, factors.shape[2]
    p = np.empty(width, dtype)
    own = np.empty((sums.shape[1] // width, width), dtype)
    own_flat = own.reshape(-1)
    first = _boundary(draws.ptr, 0, n_items, ROW_COST, part, n_parts)
    last = _boundary(draws.ptr, 0, n_items, ROW_COST, part + 1, n_parts)
    for number in range(first, last):
        represent(items, draws.item[number], linear, factors, interactions, p, own)
        total = dtype.type(0)
        for f in range(own_flat.size):
            sums[number, f] = 0
        for m in range(np.uintp(draws.ptr[number]), np.uintp(draws.ptr[number + 1])):
            r, slope = np.uintp(draws.row[m]), draws.row_slope[m]
            total += slope
            for f in range(own_flat.size):
                sums[number, f] += slope * draws.layers[r, f]
        for f in range(own_flat.size):
            sums[number, f] += total * own_flat[f]
        gradient[number] = total


@jit
def run_steps(
    window,
    events,
    order,
    first,
    last,
    seed,
    items,
    seen,
    state,
    penalties,
    interactions,
    rule,
    scratch,
    item_window,
    item_scratch,
    draws,
    part,
    n_parts,
):
    """Take a window's batches, in the given order, through the steps ``first:last`` of training.

    Returns the sum of the losses where that includes part 0 of the last step. As in minibatch.py,
    one function for all, so that any number of threads runs the same machine code.
    """
    loss = 0.0
    for batch in order:
        for step in range(first, last):
            if step == 0:
                arguments = interactions, scratch, part, n_parts
                gather(window, batch, state, 0, penalties, *arguments)
            elif step == 1:
                forward(window, batch, state, 0, interactions, scratch, part, n_parts)
                keep_contexts(window, batch, interactions, scratch, draws, part, n_parts)
            elif step == 2:
                compare(
                    window,
                    batch,
                    events,
                    seed,
                    items,
                    seen,
                    state,
                    interactions,
                    rule,
                    scratch,
                    draws,
                    part,
                    n_parts,
                )
            elif step == 3:
                if part == 0:
                    plan_items(window, batch, events, items, item_window, draws)
            elif step == 4:
                n_items = item_window.row_start[1]
                sum_items(state, items, interactions, item_scratch, draws, n_items, part, n_parts)
                arguments = interactions, item_scratch, part, n_parts
                gather(item_window, 0, state, 0, penalties, *arguments)
            else:
                if part == 0:
                    loss += finish(window, batch, state, rule, scratch)
                backward(window, batch, state, 0, interactions, rule, scratch, part, n_parts)
                arguments = interactions, rule, item_scratch, part, n_parts
                backward(item_window, 0, state, 0, *arguments)
    return loss
