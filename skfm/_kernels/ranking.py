"""Training on pairs of a chosen and a sampled item, in planned mini-batches as in minibatch.py.

A row is a context and the item chosen in it. The score of an item is the output of a factorization
machine on the features of the context and of the item. It is the sum of a term of the context, a
term of the item, and the dot product of the context's sums by interaction group and the item's
layers (see interactions.py). One `State` holds the parameters of the features of contexts and
those of items.

A batch takes six steps. In each, rows, items or features are independent, so that threads can
share
them:

1. gather the parameters of the contexts' features;
2. compute the contexts' sums and layers;
3. sample negative items, and compute losses and their derivatives;
4. plan a batch whose rows are the distinct items of the batch;
5. sum the gradients of each item over the rows, and gather the parameters of the items' features;
6. update the parameters of all features.
"""

import math

import numpy as np

from skfm._kernels import minibatch
from skfm._kernels._jit import jit, jit_inline, jit_inner
from skfm._kernels.barrier import meet
from skfm._kernels.batches import plan_batches
from skfm._kernels.interactions import add_feature
from skfm._kernels.losses import log_loss
from skfm._kernels.minibatch import ROW_COST, share
from skfm._kernels.negative_sampling import draw_any, draw_free, draw_unseen, find_bit
from skfm._kernels.splitmix64 import GAMMA, splitmix64
from skfm._kernels.structs import (
    BatchItems,
    Comparison,
    ItemBatch,
    Items,
    Local,
    PairScratch,
    PlanScratch,
    Positives,
    RowScratch,
    ScaledRows,
    Scratch,
    Seen,
    State,
    Window,
    WindowColumns,
    WindowRows,
)

BPR, WARP, LOGISTIC = range(3)
N_STEPS, N_FORWARD_STEPS = 6, 3
# How many steps of minibatch.py with one output precede each of these points.
GATHERED, COMPUTED, DIFFERENTIATED, UPDATED = (np.int64(n) for n in (1, 2, 3, 6))

ROWS_TOGETHER = 64  # rows that are processed together, so that their cache misses overlap


@jit_inline
def item_layers(items, i, linear, factors, interactions, p, layers):
    """Write an item's layers; returns its output without a context. ``p`` is scratch space."""
    output = factors.dtype.type(0)
    if items.output.size > 0:
        output = items.output[i]
        for d in range(layers.shape[0]):
            for f in range(layers.shape[1]):
                layers[d, f] = items.layers[i, d, f]
    else:
        for d in range(layers.shape[0]):
            for f in range(layers.shape[1]):
                layers[d, f] = 0
    for e in range(np.uintp(items.indptr[i]), np.uintp(items.indptr[i + 1])):
        j, x = np.uintp(items.feature[e]), items.value[e]
        output += x * linear[j, 0]
        if interactions is None:
            for f in range(p.size):
                product = x * factors[j, 0, f]
                output += product * layers[0, f]
                layers[0, f] += product
        else:
            for f in range(p.size):
                p[f] = x * factors[j, 0, f]
            output += add_feature(interactions, j, p, layers)
    return output


@jit_inner
def keep_contexts(rows, r0, first, last, interactions, local, all_sums, pairs):
    """Write layers and sums by interaction group of the contexts ``first:last`` into ``pairs``."""
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
    """The loss of a pair and its derivatives by the scores of the positive and the negative item.

    ``constant`` is the context's term of both scores, which matters to LOGISTIC only. The user has
    not seen ``n_free`` items, of which ``n_tried`` were sampled; there is no negative item if
    ``n_free`` is 0.
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
    # WARP (Weston, Bengio, Usunier 2011): the rank is estimated from the number of draws. The
    # hinge loss is at most 1, since the derivatives ignore that the weight falls with the rank:
    # otherwise the reported loss could rise while ranks improve.
    rank, lowest = dtype.type(max(n_free // n_tried, 1)), dtype.type(n_free)
    weight = math.log1p(rank) / math.log1p(lowest)
    return weight * min(one, one + other - score), -weight, weight


@jit_inner(allocates=True)
def compare(
    r0,
    first,
    last,
    weights,
    positives,
    comparison,
    items,
    seen,
    state,
    interactions,
    scratch,
    pairs,
):
    """Sample a negative item for each of the rows ``first:last``; write losses and derivatives.

    The gradient of a row by the factors of its context's features replaces the row's sums, where
    `minibatch.run_steps` reads it.

    ROWS_TOGETHER rows sample in rounds, until each has found an item or reached ``max_draws``.
    Short loops prefetch data before it is needed, so that many cache misses overlap. (This is one
    function because Numba counts the references of each array that is passed to another function,
    which takes longer than computing a score.)
    """
    kind, max_draws, seed = comparison
    linear, factors = state.linear[0], state.factors[0]
    sums, raw, gradient = scratch.sums[0], scratch.output[0], scratch.gradient[0]
    chosen, users = positives.item, positives.user
    indptr, feature, value, begin = items.indptr, items.feature, items.value, items.begin
    output, item_sums = items.output, items.layers
    seen_ptr, seen_item, seen_bits, bit_ptr = seen.ptr, seen.item, seen.bits, seen.bit_ptr
    negatives, slopes, losses = pairs.negative, pairs.slope, scratch.losses
    context_sums, context_layers = pairs.context, pairs.layers
    dtype, n_items, width = sums.dtype, indptr.size - 1, np.uintp(factors.shape[2])
    at_end = width - np.uintp(1)
    zero, one = dtype.type(0), dtype.type(1)
    p = np.empty(width, dtype)
    layers = np.empty((sums.shape[1] // max(p.size, 1), p.size), dtype)
    flat = layers.reshape(-1)
    row, item = np.empty(ROWS_TOGETHER, np.int64), np.empty(ROWS_TOGETHER, np.int64)
    word, bit = np.empty(ROWS_TOGETHER, np.int64), np.empty(ROWS_TOGETHER, np.uint64)
    key = np.empty(ROWS_TOGETHER, np.uint64)
    positive_score, negative_score = np.empty(ROWS_TOGETHER, dtype), np.empty(ROWS_TOGETHER, dtype)
    n_draws = max_draws if kind == WARP else 1
    first, last = first - r0, last - r0
    for start in range(first, last, ROWS_TOGETHER):
        n = min(ROWS_TOGETHER, last - start)
        for a in range(n):
            i = chosen[r0 + start + a]
            if indptr[i] < indptr[i + 1] and width > 0:
                j = np.uintp(feature[indptr[i]])
                negative_score[a] = factors[j, 0, 0] + factors[j, 0, at_end]
        for a in range(n):  # scores of the positive items; their layers replace the rows' sums
            r = start + a
            i = np.int64(chosen[r0 + r])
            total = item_layers(items, i, linear, factors, interactions, p, layers)
            for f in range(flat.size):
                total += context_sums[r, f] * flat[f]
                sums[r, f] = flat[f]
            row[a], positive_score[a] = r, total
            key[a] = splitmix64(seed + np.uint64(positives.first + r0 + r + 1) * GAMMA)
        n_tried = 0
        while n > 0:
            n_tried += 1
            for a in range(n):  # sample an item for each row, and locate its bit among the seen
                user = users[r0 + row[a]]
                item[a] = draw_any(splitmix64(key[a] + np.uint64(n_tried) * GAMMA), begin)
                first_word = bit_ptr[user]
                place, bit[a] = find_bit(item[a], bit_ptr[user + 1] - first_word, n_items)
                word[a] = first_word + place
            for a in range(n):
                bit[a] = seen_bits[word[a]] >> bit[a] & np.uint64(1)
                i = item[a]
                if indptr[i] < indptr[i + 1] and width > 0:
                    j = np.uintp(feature[indptr[i]])
                    negative_score[a] = factors[j, 0, 0] + factors[j, 0, at_end]
                if output.size > 0 and width > 0:
                    negative_score[a] += item_sums[i, 0, 0] + item_sums[i, 0, at_end]
            for a in range(n):
                if bit[a] != 0:  # the item may have been seen
                    user = users[r0 + row[a]]
                    random = splitmix64(key[a] + np.uint64(n_tried) * GAMMA)
                    item[a] = draw_unseen(
                        random,
                        begin,
                        seen_item,
                        seen_bits,
                        seen_ptr[user],
                        seen_ptr[user + 1],
                        bit_ptr[user],
                        bit_ptr[user + 1] - bit_ptr[user],
                    )
                    if item[a] < 0:
                        # Inverted bits, since draw_unseen has rejected the items of these.
                        item[a] = draw_free(splitmix64(~random), begin, seen, user)
            for a in range(n):  # scores of the sampled items
                i, r = item[a], np.uintp(row[a])
                total = zero
                if i < 0:
                    pass
                elif indptr[i + 1] - indptr[i] == 1:  # one feature: no need to write layers
                    e = np.uintp(indptr[i])
                    j = np.uintp(feature[e])
                    c = np.uintp(0)
                    if interactions is not None:
                        c = np.uintp(interactions.interaction_group[j])
                    total += linear[j, 0]
                    for f in range(width):
                        total += factors[j, 0, f] * context_layers[r, c * width + f]
                    if output.size > 0:
                        for f in range(width):
                            total += factors[j, 0, f] * item_sums[i, c, f]
                    total *= value[e]
                    if output.size > 0:
                        total += output[i]
                        for d in range(np.uintp(item_sums.shape[1])):
                            for f in range(width):
                                total += context_sums[r, d * width + f] * item_sums[i, d, f]
                else:
                    total += item_layers(items, i, linear, factors, interactions, p, layers)
                    for f in range(flat.size):
                        total += context_sums[r, f] * flat[f]
                negative_score[a] = total
            n_left = 0
            for a in range(n):  # a row is done if it has a negative item or no draws left
                r, i = row[a], item[a]
                # A comparison with NaN is false.
                has_margin = kind == WARP and negative_score[a] <= positive_score[a] - one
                is_found = i >= 0 and not has_margin
                if i >= 0 and not is_found and n_tried < n_draws:
                    row[n_left], positive_score[n_left], key[n_left] = r, positive_score[a], key[a]
                    n_left += 1
                else:
                    n_free = 0
                    if is_found:
                        user = users[r0 + r]
                        n_free = n_items - (seen_ptr[user + 1] - seen_ptr[user])
                        item_layers(items, i, linear, factors, interactions, p, layers)
                    loss, positive_slope, negative_slope = differentiate(
                        kind, dtype, positive_score[a], negative_score[a], raw[r], n_free, n_tried
                    )
                    weight = weights[r0 + r] if weights.size > 0 else one
                    positive_slope *= weight
                    negative_slope *= weight
                    both = positive_slope + negative_slope
                    negatives[r] = i if is_found else -1
                    slopes[0, r], slopes[1, r] = positive_slope, negative_slope
                    losses[r], gradient[r] = weight * loss, both
                    for f in range(flat.size):
                        sums[r, f] = positive_slope * sums[r, f] + both * context_layers[r, f]
                    if is_found:
                        for f in range(flat.size):
                            sums[r, f] += negative_slope * flat[f]
            n = n_left


@jit_inner
def plan_items(r0, r1, weights, chosen, pairs, features, plan, item_rows, columns, batch_items):
    """Plan a batch whose rows are the distinct items of a batch, chosen or sampled.

    The weight of an item is that of the rows in which it was chosen, so that penalties do not
    depend on how often it is sampled.
    """
    n_rows = r1 - r0
    place, item, ptr, count = batch_items.place, batch_items.item, batch_items.ptr, plan.count
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
            batch_items.row[count[number]] = r
            batch_items.slope[count[number]] = slope[side, r]
            count[number] += 1
            if side == 0:
                item_rows.weight[number] += weight
    for number in range(n):
        place[item[number]] = -1
    item_rows.start[1] = n
    n_features = plan_batches(features, item[:n], max(n, 1), plan, item_rows, columns)
    for number in range(n_features):
        plan.first_seen[np.uintp(columns.feature[number])] = -1


@jit_inner(allocates=True)
def sum_items(first, last, state, items, interactions, context_layers, batch_items, scratch):
    """Sum the gradients of items ``first:last``, by their features' factors, over a batch's rows.

    As in `compare`, they are written where `minibatch.run_steps` reads them.
    """
    linear, factors = state.linear[0], state.factors[0]
    sums, gradient = scratch.sums[0], scratch.gradient[0]
    dtype, width = sums.dtype, factors.shape[2]
    p = np.empty(width, dtype)
    layers = np.empty((sums.shape[1] // max(width, 1), width), dtype)
    flat = layers.reshape(-1)
    for number in range(first, last):
        item_layers(
            items, np.int64(batch_items.item[number]), linear, factors, interactions, p, layers
        )
        total = dtype.type(0)
        for f in range(flat.size):
            sums[number, f] = 0
        for m in range(np.uintp(batch_items.ptr[number]), np.uintp(batch_items.ptr[number + 1])):
            r, slope = np.uintp(batch_items.row[m]), batch_items.slope[m]
            total += slope
            for f in range(flat.size):
                sums[number, f] += slope * context_layers[r, f]
        for f in range(flat.size):
            sums[number, f] += total * flat[f]
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
    state,
    penalties,
    interactions,
    rule,
    scratch,
    comparison,
    positives,
    items,
    seen,
    pairs,
    item_batch,
):
    """Run the steps ``first:last`` of training on a window's batches, in the given order.

    The arguments up to ``scratch`` are those of `minibatch.run_steps`. The others are structs as
    plain tuples: `Comparison`, `Positives`, `Items`, `Seen`, `PairScratch` and `ItemBatch`.

    Returns the sum of the losses if the call includes part 0 of the last step, else 0. As in
    minibatch.py, any number of threads runs this one function.
    """
    rows, context_scratch = WindowRows(*Window(*window).rows), Scratch(*scratch)
    local, row_scratch = Local(*context_scratch.local), RowScratch(*context_scratch.rows)
    comparison, positives = Comparison(*comparison), Positives(*positives)
    items, seen, pairs, model = Items(*items), Seen(*seen), PairScratch(*pairs), State(*state)
    item_batch = ItemBatch(*item_batch)
    item_window, batch_items = Window(*item_batch.window), BatchItems(*item_batch.items)
    item_rows, item_columns = WindowRows(*item_window.rows), WindowColumns(*item_window.columns)
    item_row_scratch = RowScratch(*Scratch(*item_batch.scratch).rows)
    item_features, item_plan = ScaledRows(*item_batch.features), PlanScratch(*item_batch.plan)
    weight = rows.weight
    zero = np.int64(0)
    loss = 0.0
    for position in range(order.size):
        batch = order[position]
        r0, r1 = rows.start[batch], rows.start[batch + 1]
        for step in range(first, last):
            # The steps of minibatch.py for the batch of contexts, and for the batch of items.
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
                    positives,
                    comparison,
                    items,
                    seen,
                    model,
                    interactions,
                    row_scratch,
                    pairs,
                )
            elif step == 3:
                if part == 0:
                    plan_items(
                        r0,
                        r1,
                        weight,
                        positives.item,
                        pairs,
                        item_features,
                        item_plan,
                        item_rows,
                        item_columns,
                        batch_items,
                    )
            elif step == 4:
                a, b = share(batch_items.ptr, zero, item_rows.start[1], ROW_COST, part, n_parts)
                sum_items(
                    a, b, model, items, interactions, pairs.layers, batch_items, item_row_scratch
                )
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
                keep_contexts(rows, r0, a, b, interactions, local, row_scratch.sums, pairs)
            if item_begin < item_end:
                minibatch.run_steps(
                    batch_items.batch,
                    item_begin,
                    item_end,
                    part,
                    n_parts,
                    barrier[:0],
                    item_batch.window,
                    state,
                    penalties,
                    interactions,
                    rule,
                    item_batch.scratch,
                )
    return loss
