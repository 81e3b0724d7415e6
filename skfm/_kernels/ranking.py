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

from skfm._kernels import minibatch
from skfm._kernels._jit import jit, jit_inline, jit_inner
from skfm._kernels.barrier import meet
from skfm._kernels.batches import plan_batches
from skfm._kernels.interactions import enter
from skfm._kernels.losses import log_loss
from skfm._kernels.minibatch import ROW_COST, share
from skfm._kernels.negative_sampling import draw_any, draw_free, draw_unseen, find_bit
from skfm._kernels.splitmix64 import GAMMA, splitmix64
from skfm._kernels.structs import (
    Events,
    Items,
    Local,
    Meetings,
    Pairs,
    RowScratch,
    Seen,
    State,
    WindowColumns,
    WindowRows,
)

BPR, WARP, LOGISTIC = range(3)
N_STEPS, N_FORWARD_STEPS = 6, 3
# Steps of minibatch.py that have been taken when ..., of one output.
GATHERED, COMPUTED, DIFFERENTIATED, UPDATED = (np.int64(n) for n in (1, 2, 3, 6))

TOGETHER = 64  # rows that take a turn


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


@jit_inner
def keep_contexts(rows, r0, first, last, interactions, local, all_sums, pairs):
    """Keep the layers of the contexts ``first:last``; with classes, also the sums by class."""
    sums, context, layers = all_sums[0], pairs.context, pairs.layers
    unit = rows.value.size == 0
    for r in range(np.uintp(first - r0), np.uintp(last - r0)):
        for f in range(sums.shape[1]):
            layers[r, f] = sums[r, f]
        if interactions is not None:
            for f in range(context.shape[1]):
                context[r, f] = 0
            i = np.uintp(r0) + r
            for e in range(np.uintp(rows.ptr[i]), np.uintp(rows.ptr[i + np.uintp(1)])):
                a = np.uintp(rows.local[e])
                x = sums.dtype.type(1) if unit else rows.value[e]
                base = np.uintp(local.layer[a])
                for f in range(np.uintp(local.factors.shape[2])):
                    context[r, base + f] += x * local.factors[a, 0, f]


@jit_inline
def differentiate(kind, dtype, score, other, constant, n_free, n_tried):
    """The loss of two scores and its slopes by them; ``n_free`` is 0 if there is no other.

    ``constant`` is what the context adds to both, which only LOGISTIC does not take out.
    """
    zero, one = dtype.type(0), dtype.type(1)
    if kind == LOGISTIC:
        loss, slope = log_loss(score + constant, one)
        if n_free == 0:
            return loss, slope, zero
        other_loss, other_slope = log_loss(other + constant, zero)
        return loss + other_loss, slope, other_slope
    if n_free == 0:
        return zero, zero, zero
    if kind == BPR:
        loss, slope = log_loss(score - other, one)
        return loss, slope, -slope
    # The hinge is cut where the loss would rise while ranks get better: slopes ignore that the
    # weight falls for it. Without the hinge, nothing would fall before scores differ by 1.
    rank, lowest = dtype.type(max(n_free // n_tried, 1)), dtype.type(n_free)
    weight = math.log1p(rank) / math.log1p(lowest)
    return weight * min(one, one + other - score), -weight, weight


@jit_inner(allocates=True)
def compare(
    r0,
    first,
    last,
    weights,
    events,
    seed,
    items,
    seen,
    state,
    interactions,
    kind,
    max_draws,
    scratch,
    pairs,
):
    """Draw an item for each of the rows ``first:last``; losses, their slopes, and what the
    contexts get of them.

    A row's gradient by the factors of its context's features is written over its sums, as
    `minibatch.run_steps` reads it. Of WARP, there are at most ``max_draws``.

    Some rows take a turn together: they draw in rounds, until all have found an item or may draw
    no more. Before anything is computed, a loop that does little else reads some of all that will
    be needed; so the processor waits for many answers of the memory at once. (All is in one
    function because Numba counts the references of each array that it hands to another one, which
    takes longer than a score.)
    """
    linear, factors = state.linear[0], state.factors[0]
    sums, raw, gradient = scratch.sums[0], scratch.output[0], scratch.gradient[0]
    chosen, owners = events.item, events.owner
    indptr, feature, value, begin = items.indptr, items.feature, items.value, items.begin
    output, explained = items.output, items.layers
    seen_ptr, seen_item, seen_bits, bit_ptr = seen.ptr, seen.item, seen.bits, seen.bit_ptr
    negatives, slopes, losses = pairs.negative, pairs.slope, scratch.losses
    context, wanted = pairs.context, pairs.layers
    dtype, n_items, width = sums.dtype, indptr.size - 1, np.uintp(factors.shape[2])
    at_end = width - np.uintp(1)
    zero, one = dtype.type(0), dtype.type(1)
    p = np.empty(width, dtype)
    layers = np.empty((sums.shape[1] // max(p.size, 1), p.size), dtype)
    flat = layers.reshape(-1)
    row, item = np.empty(TOGETHER, np.int64), np.empty(TOGETHER, np.int64)
    word, bit = np.empty(TOGETHER, np.int64), np.empty(TOGETHER, np.uint64)
    key = np.empty(TOGETHER, np.uint64)
    score, other = np.empty(TOGETHER, dtype), np.empty(TOGETHER, dtype)
    n_draws = max_draws if kind == WARP else 1
    first, last = first - r0, last - r0
    for start in range(first, last, TOGETHER):
        n = min(TOGETHER, last - start)
        for a in range(n):
            i = chosen[r0 + start + a]
            if indptr[i] < indptr[i + 1] and width > 0:
                j = np.uintp(feature[indptr[i]])
                other[a] = factors[j, 0, 0] + factors[j, 0, at_end]
        for a in range(n):  # scores of the items chosen, whose layers go where the sums were
            r = start + a
            i = np.int64(chosen[r0 + r])
            own = represent(items, i, linear, factors, interactions, p, layers)
            for f in range(flat.size):
                own += context[r, f] * flat[f]
                sums[r, f] = flat[f]
            row[a], score[a] = r, own
            key[a] = splitmix64(seed + np.uint64(events.first + r0 + r + 1) * GAMMA)
        n_tried = 0
        while n > 0:
            n_tried += 1
            for a in range(n):  # an item for each, and where it says whether it has been seen
                owner = owners[r0 + row[a]]
                item[a] = draw_any(splitmix64(key[a] + np.uint64(n_tried) * GAMMA), begin)
                first_word = bit_ptr[owner]
                place, bit[a] = find_bit(item[a], bit_ptr[owner + 1] - first_word, n_items)
                word[a] = first_word + place
            for a in range(n):
                bit[a] = seen_bits[word[a]] >> bit[a] & np.uint64(1)
                i = item[a]
                if indptr[i] < indptr[i + 1] and width > 0:
                    j = np.uintp(feature[indptr[i]])
                    other[a] = factors[j, 0, 0] + factors[j, 0, at_end]
                if output.size > 0 and width > 0:
                    other[a] += explained[i, 0, 0] + explained[i, 0, at_end]
            for a in range(n):
                if bit[a] != 0:  # perhaps the item has been seen
                    owner = owners[r0 + row[a]]
                    random = splitmix64(key[a] + np.uint64(n_tried) * GAMMA)
                    item[a] = draw_unseen(
                        random,
                        begin,
                        seen_item,
                        seen_bits,
                        seen_ptr[owner],
                        seen_ptr[owner + 1],
                        bit_ptr[owner],
                        bit_ptr[owner + 1] - bit_ptr[owner],
                    )
                    if item[a] < 0:
                        # Anew, for the first draws have said that the item of these bits was seen.
                        item[a] = draw_free(splitmix64(~random), begin, seen, owner)
            for a in range(n):  # scores of the items drawn
                i, r = item[a], np.uintp(row[a])
                total = zero
                if i < 0:
                    pass
                elif indptr[i + 1] - indptr[i] == 1:  # without writing its layers
                    e = np.uintp(indptr[i])
                    j = np.uintp(feature[e])
                    c = np.uintp(0)
                    if interactions is not None:
                        c = np.uintp(interactions.feature_class[j])
                    total += linear[j, 0]
                    for f in range(width):
                        total += factors[j, 0, f] * wanted[r, c * width + f]
                    if output.size > 0:
                        for f in range(width):
                            total += factors[j, 0, f] * explained[i, c, f]
                    total *= value[e]
                    if output.size > 0:
                        total += output[i]
                        for d in range(np.uintp(explained.shape[1])):
                            for f in range(width):
                                total += context[r, d * width + f] * explained[i, d, f]
                else:
                    total += represent(items, i, linear, factors, interactions, p, layers)
                    for f in range(flat.size):
                        total += context[r, f] * flat[f]
                other[a] = total
            n_left = 0
            for a in range(n):  # who has found one, or has to stop looking, is settled
                r, i = row[a], item[a]
                is_far = kind == WARP and other[a] <= score[a] - one  # NaN is not
                is_found = i >= 0 and not is_far
                if i >= 0 and not is_found and n_tried < n_draws:
                    row[n_left], score[n_left], key[n_left] = r, score[a], key[a]
                    n_left += 1
                else:
                    n_free = 0
                    if is_found:
                        owner = owners[r0 + r]
                        n_free = n_items - (seen_ptr[owner + 1] - seen_ptr[owner])
                        represent(items, i, linear, factors, interactions, p, layers)
                    loss, slope, other_slope = differentiate(
                        kind, dtype, score[a], other[a], raw[r], n_free, n_tried
                    )
                    weight = weights[r0 + r] if weights.size > 0 else one
                    slope *= weight
                    other_slope *= weight
                    both = slope + other_slope
                    negatives[r] = i if is_found else -1
                    slopes[0, r], slopes[1, r] = slope, other_slope
                    losses[r], gradient[r] = weight * loss, both
                    for f in range(flat.size):
                        sums[r, f] = slope * sums[r, f] + both * wanted[r, f]
                    if is_found:
                        for f in range(flat.size):
                            sums[r, f] += other_slope * flat[f]
            n = n_left


@jit_inner
def plan_items(r0, r1, weights, chosen, pairs, items, item_rows, columns, meetings):
    """Find the distinct items that a batch's rows met, and index them by row and by feature.

    The items become rows of a batch of their own, of the weight of the rows that chose them:
    so penalties are charged for what is chosen, however often it is drawn.
    """
    n_rows = r1 - r0
    place, item, ptr, count = meetings.place, meetings.item, meetings.ptr, meetings.count
    negative, slope = pairs.negative, pairs.slope
    n = np.int64(0)
    for r in range(n_rows):
        for side in range(2):
            i = np.int64(chosen[r0 + r]) if side == 0 else negative[r]
            if i < 0:
                continue
            if place[i] < 0:
                place[i] = n
                item[n] = i
                count[n] = 0
                item_rows.weight[n] = 0
                n += 1
            count[place[i]] += 1
    ptr[0] = 0
    for number in range(n):
        ptr[number + 1] = ptr[number] + count[number]
        count[number] = ptr[number]
    for r in range(n_rows):
        weight = weights[r0 + r] if weights.size > 0 else 1
        for side in range(2):
            i = np.int64(chosen[r0 + r]) if side == 0 else negative[r]
            if i < 0:
                continue
            number = place[i]
            meetings.row[count[number]] = r
            meetings.slope[count[number]] = slope[side, r]
            count[number] += 1
            if side == 0:
                item_rows.weight[number] += weight
    for number in range(n):
        place[item[number]] = -1
    item_rows.start[1] = n
    # The values are scaled already, and features known by their places: nothing to renumber.
    n_features = plan_batches(
        items.indptr,
        items.feature,
        items.value,
        meetings.feature_place,
        meetings.center,
        meetings.inverse_scale,
        item[:n],
        max(n, 1),
        meetings.number,
        meetings.entry,
        count,
        columns.start,
        columns.feature,
        columns.ptr,
        item_rows.ptr,
        item_rows.local,
        item_rows.value,
        columns.row,
        columns.value,
    )
    for number in range(n_features):
        meetings.number[np.uintp(columns.feature[number])] = -1


@jit_inner(allocates=True)
def sum_items(first, last, state, items, interactions, layers, meetings, scratch):
    """What a batch's rows want of its items ``first:last``: their gradient by the items' features'
    factors.

    As in `compare`, it is written where `minibatch.run_steps` reads it.
    """
    linear, factors = state.linear[0], state.factors[0]
    sums, gradient = scratch.sums[0], scratch.gradient[0]
    dtype, width = sums.dtype, factors.shape[2]
    p = np.empty(width, dtype)
    own = np.empty((sums.shape[1] // max(width, 1), width), dtype)
    own_flat = own.reshape(-1)
    for number in range(first, last):
        represent(items, np.int64(meetings.item[number]), linear, factors, interactions, p, own)
        total = dtype.type(0)
        for f in range(own_flat.size):
            sums[number, f] = 0
        for m in range(np.uintp(meetings.ptr[number]), np.uintp(meetings.ptr[number + 1])):
            r, slope = np.uintp(meetings.row[m]), meetings.slope[m]
            total += slope
            for f in range(own_flat.size):
                sums[number, f] += slope * layers[r, f]
        for f in range(own_flat.size):
            sums[number, f] += total * own_flat[f]
        gradient[number] = total


@jit
def run_steps(
    order,
    first,
    last,
    part,
    n_parts,
    barrier,
    window,
    events,
    seed,
    items,
    seen,
    state,
    penalties,
    interactions,
    rule,
    kind,
    max_draws,
    scratch,
    item_window,
    item_scratch,
    pairs,
    meetings,
):
    """Take a window's batches, in the given order, through the steps ``first:last`` of training.

    All records are plain tuples, but for ``interactions`` and ``rule``.

    Returns the sum of the losses where that includes part 0 of the last step. As in minibatch.py,
    one function for all, so that any number of threads runs the same machine code.
    """
    rows, local, room = WindowRows(*window[0]), Local(*scratch[0]), RowScratch(*scratch[1])
    item_rows, item_columns = WindowRows(*item_window[0]), WindowColumns(*item_window[1])
    item_room = RowScratch(*item_scratch[1])
    events, items, seen = Events(*events), Items(*items), Seen(*seen)
    pairs, meetings, machine = Pairs(*pairs), Meetings(*meetings), State(*state)
    weight = rows.weight
    zero = np.int64(0)
    loss = 0.0
    for position in range(order.size):
        batch = order[position]
        r0, r1 = rows.start[batch], rows.start[batch + 1]
        for step in range(first, last):
            # The steps of minibatch.py to take with the contexts' features, and with the items'.
            begin, end, item_begin, item_end = zero, zero, zero, zero
            if barrier.size > 0 and not meet(barrier, part, n_parts):
                return loss
            if step == 0:
                end = GATHERED
            elif step == 1:
                begin, end = GATHERED, COMPUTED
            elif step == 2:
                a, b = share(rows.ptr, r0, r1, ROW_COST, part, n_parts)
                compare(
                    r0,
                    a,
                    b,
                    weight,
                    events,
                    seed,
                    items,
                    seen,
                    machine,
                    interactions,
                    kind,
                    max_draws,
                    room,
                    pairs,
                )
            elif step == 3:
                if part == 0:
                    plan_items(
                        r0,
                        r1,
                        weight,
                        events.item,
                        pairs,
                        items,
                        item_rows,
                        item_columns,
                        meetings,
                    )
            elif step == 4:
                a, b = share(meetings.ptr, zero, item_rows.start[1], ROW_COST, part, n_parts)
                sum_items(a, b, machine, items, interactions, pairs.layers, meetings, item_room)
                item_end = GATHERED
            else:
                begin, end = DIFFERENTIATED, UPDATED
                item_begin, item_end = DIFFERENTIATED + 1, UPDATED
            if begin < end:
                loss += minibatch.run_steps(
                    order[position : position + 1],
                    begin,
                    end,
                    part,
                    n_parts,
                    barrier[:0],
                    window,
                    state,
                    penalties,
                    interactions,
                    rule,
                    scratch,
                )
            if step == 1:
                a, b = share(rows.ptr, r0, r1, ROW_COST, part, n_parts)
                keep_contexts(rows, r0, a, b, interactions, local, room.sums, pairs)
            if item_begin < item_end:
                minibatch.run_steps(
                    meetings.batch,
                    item_begin,
                    item_end,
                    part,
                    n_parts,
                    barrier[:0],
                    item_window,
                    state,
                    penalties,
                    interactions,
                    rule,
                    item_scratch,
                )
    return loss
