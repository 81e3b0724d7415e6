"""Training on planned mini-batches: gather parameters, forward, derivatives, backward with update.

Every step works on one part of a batch, so that threads can share it: rows are independent in
the forward step and for derivatives, features in the others. The sums of a row or a feature are
always computed in the same order, by whichever thread.

Ids are unsigned, which spares Numba's check for negative indices, and the innermost loops run
over the components of one or of four entries at a time, which LLVM turns into vector code.
"""

import numpy as np

from skfm._kernels._jit import jit, jit_inner
from skfm._kernels.barrier import meet
from skfm._kernels.interactions import derive, enter, join
from skfm._kernels.losses import find_row_loss
from skfm._kernels.structs import (
    FeatureSums,
    Local,
    RowScratch,
    Scratch,
    State,
    Window,
    WindowColumns,
    WindowRows,
)
from skfm._kernels.update_rules import move, move_intercept

# What a row or a feature costs besides its entries, in entries; only the balance of threads
# depends on it. Later features of a batch are rarer, and so further away in memory.
ROW_COST = np.int64(1)
GATHER_COST = np.int64(1000)
UPDATE_COST = np.int64(8)

FEATURE_CHUNK = 256  # features updated by one call of an update rule

ONE, TWO, THREE, FOUR = (np.uintp(n) for n in (1, 2, 3, 4))


@jit_inner
def share(ptr, start, stop, cost, part, n_parts):
    """Where part ``part`` of ``start:stop`` begins and ends, for parts of equal work.

    Item i's work is that of its entries, ``ptr[i]:ptr[i + 1]``, and that of ``cost`` more.
    """
    first, last = start, stop
    base = np.int64(ptr[start]) + cost * start
    total = np.int64(ptr[stop]) + cost * stop - base
    for side in range(2):
        number = part + side
        if 0 < number < n_parts:
            goal = base + total * number // n_parts
            low, high = start, stop
            while low < high:
                middle = (low + high) // 2
                if np.int64(ptr[middle]) + cost * middle < goal:
                    low = middle + 1
                else:
                    high = middle
            if side == 0:
                first = low
            else:
                last = low
    return first, last


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
):
    """Take a window's batches, in the given order, through the steps ``first:last`` of training.

    ``window``, ``state`` and ``scratch`` are the records of these names as plain tuples.

    Of a batch of n outputs, the steps below 2 n gather the parameters of each output and compute
    the rows' raw outputs. Then there is a step that computes losses and derivatives, and one that
    updates the intercept. In the last 2 n steps, parameters are gathered again for each output, if
    there are several, and updated.

    ``part`` of ``n_parts`` says which rows or features are processed; the parts wait for each
    other at ``barrier`` (`barrier.NOBODY`: they do not wait). Returns the sum of the losses if
    that includes part 0 of the step that updates the intercept.

    One function for all, for a single thread as for several that share a batch: the same machine
    code gives the same bits. It is long because Numba optimises a function again within each of
    its callers.
    """
    state = State(*state)
    window, scratch = Window(*window), Scratch(*scratch)
    rows, columns = WindowRows(*window.rows), WindowColumns(*window.columns)
    local, room = Local(*scratch.local), RowScratch(*scratch.rows)
    feature_sums = FeatureSums(*scratch.feature_sums)
    row_ptr, place, row_value, weight = rows.ptr, rows.local, rows.value, rows.weight
    feature, column_ptr = columns.feature, columns.ptr
    entry_row, value = columns.row, columns.value
    near, near_linear, penalty = local.factors, local.linear, local.penalty
    product, layer = local.self_product, local.layer
    raw, gradient, losses = room.output, room.gradient, room.losses
    n_outputs, _, n_slots, width = state.factors.shape
    n_forward = 2 * n_outputs
    total = feature_sums.total
    kind = total.dtype.type
    zero, half, one = kind(0), kind(0.5), kind(1)
    row_is_unit, column_is_unit, weighted = row_value.size == 0, value.size == 0, weight.size > 0
    base = np.uintp(0)
    if interactions is not None:
        partners, interaction_group = interactions.partners, interactions.interaction_group
        n_layers = interactions.n_layers
        layers_room = room.room[part * n_layers : (part + 1) * n_layers]
    loss = 0.0
    for batch in order:
        r0, f0 = rows.start[batch], columns.start[batch]
        r1, f1 = rows.start[batch + 1], columns.start[batch + 1]
        for step in range(first, last):
            is_forward = step < n_forward
            output = (step if is_forward else step - n_forward - 2) // 2 % n_outputs
            # The same parts compute the rows' outputs and derivatives, and other parts do not need
            # the intercept's update or the parameters of a single output gathered again: no wait.
            if barrier.size > 0 and not (
                step == n_forward
                or step == n_forward + 2
                or (step == n_forward + 3 and n_outputs == 1)
            ):
                if not meet(barrier, part, n_parts):
                    return loss

            if step == n_forward + 1:  # update the intercept
                if part == 0:
                    loss += _finish(r0, r1, weight, state.intercept, rule, gradient, losses)

            elif step == n_forward:  # losses, derivatives, and sums times these
                a, b = share(row_ptr, r0, r1, ROW_COST, part, n_parts)
                for i in range(np.uintp(a), np.uintp(b)):
                    r = i - np.uintp(r0)
                    row_weight = weight[i] if weighted else one
                    row_loss = find_row_loss(rule.loss, raw, r, rows.target[i], gradient)
                    losses[r] = row_weight * row_loss
                    for c in range(n_outputs):
                        g = row_weight * gradient[c, r]
                        gradient[c, r] = g
                        for f in range(room.sums.shape[2]):
                            room.sums[c, r, f] *= g

            elif step % 2 == 0:  # gather; the scratch holds the parameters of one output at a time
                if not is_forward and n_outputs == 1:
                    continue
                linear, factors = state.linear[output], state.factors[output]
                a, b = share(column_ptr, f0, f1, GATHER_COST, part, n_parts)
                # Several loops: the first is so short that many of its cache misses are under
                # way at once.
                far = factors.reshape(factors.shape[0], n_slots * width)
                flat = near.reshape(near.shape[0], n_slots * width)
                for i in range(np.uintp(a), np.uintp(b)):
                    n, j = i - np.uintp(f0), np.uintp(feature[i])
                    for f in range(n_slots * width):
                        flat[n, f] = far[j, f]
                for slot in range(linear.shape[1]):
                    for i in range(np.uintp(a), np.uintp(b)):
                        near_linear[i - np.uintp(f0), slot] = linear[np.uintp(feature[i]), slot]
                for side in range(penalties.shape[1]):
                    for i in range(np.uintp(a), np.uintp(b)):
                        penalty[i - np.uintp(f0), side] = penalties[np.uintp(feature[i]), side]
                for n in range(np.uintp(a - f0), np.uintp(b - f0)):
                    square = zero
                    for f in range(width):
                        square += near[n, 0, f] * near[n, 0, f]
                    product[n] = square
                if interactions is not None and partners.size > 0:
                    for i in range(np.uintp(a), np.uintp(b)):
                        n, c = i - np.uintp(f0), interaction_group[np.uintp(feature[i])]
                        layer[n] = np.uintp(c) * np.uintp(width)
                        if not partners[c, c]:
                            product[n] = zero

            elif is_forward:  # raw outputs, and the rows' layers for later
                a, b = share(row_ptr, r0, r1, ROW_COST, part, n_parts)
                sums = room.sums[output]
                intercept = kind(state.intercept[output, 0])
                if interactions is not None and partners.size == 0:
                    _forward_general(
                        rows,
                        r0,
                        a,
                        b,
                        feature,
                        f0,
                        intercept,
                        interactions,
                        local,
                        sums,
                        raw[output],
                    )
                    continue
                for i in range(np.uintp(a), np.uintp(b)):
                    r = i - np.uintp(r0)
                    e, end = np.uintp(row_ptr[i]), np.uintp(row_ptr[i + ONE])
                    z = zero
                    for f in range(sums.shape[1]):
                        sums[r, f] = zero
                    while e < end:
                        n = np.uintp(place[e])
                        x = one if row_is_unit else row_value[e]
                        z += x * (near_linear[n, 0] - half * x * product[n])
                        together = e + FOUR <= end
                        if interactions is not None:
                            base = np.uintp(layer[n])
                            for t in range(e + ONE, min(e + FOUR, end)):
                                together = together and layer[np.uintp(place[t])] == base
                        if together:
                            n2, n3, n4 = (
                                np.uintp(place[e + ONE]),
                                np.uintp(place[e + TWO]),
                                np.uintp(place[e + THREE]),
                            )
                            x2 = one if row_is_unit else row_value[e + ONE]
                            x3 = one if row_is_unit else row_value[e + TWO]
                            x4 = one if row_is_unit else row_value[e + THREE]
                            z += x2 * (near_linear[n2, 0] - half * x2 * product[n2])
                            z += x3 * (near_linear[n3, 0] - half * x3 * product[n3])
                            z += x4 * (near_linear[n4, 0] - half * x4 * product[n4])
                            for f in range(width):
                                sums[r, base + f] += (
                                    x * near[n, 0, f]
                                    + x2 * near[n2, 0, f]
                                    + x3 * near[n3, 0, f]
                                    + x4 * near[n4, 0, f]
                                )
                            e += FOUR
                        else:
                            for f in range(width):
                                sums[r, base + f] += x * near[n, 0, f]
                            e += ONE
                    square = zero
                    if interactions is not None:
                        square = join(partners, sums[r].reshape(n_layers, width), layers_room)
                    else:
                        for f in range(width):
                            square += sums[r, f] * sums[r, f]
                    raw[output, r] = intercept + z + half * square

            else:  # sum each feature's gradient over its rows, and update
                # A chunk of features at a time: so few that their sums stay in the cache, and so
                # many that calling the update rule costs nothing.
                a, b = share(column_ptr, f0, f1, UPDATE_COST, part, n_parts)
                linear, factors = state.linear[output], state.factors[output]
                sums, slopes = room.sums[output], gradient[output]
                chunk_start = np.int64(part * FEATURE_CHUNK)
                while a < b:
                    c = min(a + FEATURE_CHUNK, b)
                    features = feature, a, c, f0, chunk_start
                    if interactions is not None and partners.size == 0:
                        _sum_general(
                            columns,
                            features,
                            r0,
                            weight,
                            interactions,
                            near,
                            slopes,
                            sums,
                            feature_sums,
                        )
                    else:
                        for i in range(np.uintp(a), np.uintp(c)):
                            n = np.uintp(chunk_start) + i - np.uintp(a)
                            if interactions is not None:
                                j = np.uintp(feature[i])
                                own = interaction_group[j]
                                base = np.uintp(own) * np.uintp(width)
                            e, end = np.uintp(column_ptr[i]), np.uintp(column_ptr[i + ONE])
                            occurrences = kind(end - e)
                            if weighted:
                                occurrences = zero
                                for t in range(e, end):
                                    occurrences += weight[np.uintp(r0) + np.uintp(entry_row[t])]
                            slope = zero
                            curve = zero
                            for f in range(width):
                                total[n, f] = zero
                            while e < end:
                                r = np.uintp(entry_row[e])
                                x = one if column_is_unit else value[e]
                                g = x * slopes[r]
                                slope += g
                                curve += x * g
                                if e + FOUR <= end:
                                    r2, r3, r4 = (
                                        np.uintp(entry_row[e + ONE]),
                                        np.uintp(entry_row[e + TWO]),
                                        np.uintp(entry_row[e + THREE]),
                                    )
                                    x2 = one if column_is_unit else value[e + ONE]
                                    x3 = one if column_is_unit else value[e + TWO]
                                    x4 = one if column_is_unit else value[e + THREE]
                                    g2, g3, g4 = x2 * slopes[r2], x3 * slopes[r3], x4 * slopes[r4]
                                    slope += g2 + g3 + g4
                                    curve += x2 * g2 + x3 * g3 + x4 * g4
                                    for f in range(width):
                                        total[n, f] += (
                                            x * sums[r, base + f]
                                            + x2 * sums[r2, base + f]
                                            + x3 * sums[r3, base + f]
                                            + x4 * sums[r4, base + f]
                                        )
                                    e += FOUR
                                else:
                                    for f in range(width):
                                        total[n, f] += x * sums[r, base + f]
                                    e += ONE
                            if interactions is not None:
                                slope = slope if interactions.has_linear[j] else zero
                                curve = curve if partners[own, own] else zero
                            feature_sums.slope[n] = slope
                            feature_sums.curve[n] = curve
                            feature_sums.weight[n] = occurrences
                    move(
                        rule.update,
                        features,
                        feature_sums,
                        local,
                        linear,
                        factors,
                        rule.fit_linear,
                    )
                    a = c
    return loss


@jit_inner
def _finish(r0, r1, row_weight, intercept, rule, gradient, losses):
    """Update the intercept; returns the batch's loss. One thread's work, in a fixed order."""
    n_rows = r1 - r0
    if rule.fit_intercept:
        weight = float(n_rows)
        if row_weight.size > 0:
            weight = 0.0
            for r in range(r0, r1):
                weight += row_weight[r]
        for c in range(intercept.shape[0]):
            slope = 0.0
            for r in range(n_rows):
                slope += gradient[c, r]
            move_intercept(rule.update, intercept[c], slope, weight)
    loss = 0.0
    for r in range(n_rows):
        loss += losses[r]
    return loss


@jit_inner(allocates=True)
def _forward_general(
    rows, r0, first, last, feature, f0, intercept, interactions, local, sums, raw
):
    """Raw outputs of the rows ``first:last`` where degrees are higher than 2."""
    linear, factors = local.linear, local.factors
    width = factors.shape[2]
    p = np.empty(width, sums.dtype)
    for i in range(np.uintp(first), np.uintp(last)):
        r = i - np.uintp(r0)
        layers = sums[r].reshape(interactions.n_layers, width)
        layers[:] = 0
        z = intercept
        for e in range(np.uintp(rows.ptr[i]), np.uintp(rows.ptr[i + ONE])):
            a = np.uintp(rows.local[e])
            j = np.uintp(feature[np.uintp(f0) + a])
            x = sums.dtype.type(1) if rows.value.size == 0 else rows.value[e]
            for f in range(width):
                p[f] = x * factors[a, 0, f]
            z += x * linear[a, 0] + enter(interactions, j, p, layers)
        raw[r] = z


@jit_inner(allocates=True)
def _sum_general(
    columns, features, r0, weight, interactions, factors, gradient, sums, feature_sums
):
    """Gradients of some features (see `update_rules.move`) where degrees are higher than 2."""
    feature, first, last, start, base = features
    value, total = columns.value, feature_sums.total
    zero, one = sums.dtype.type(0), sums.dtype.type(1)
    width = total.shape[1]
    p, slopes = np.empty(width, sums.dtype), np.empty(width, sums.dtype)
    for n in range(last - first):
        i, b, near = first + n, base + n, factors[first - start + n, 0]
        j = np.uintp(feature[i])
        occurrences, slope = zero, zero
        for f in range(width):
            total[b, f] = zero
        for e in range(np.uintp(columns.ptr[i]), np.uintp(columns.ptr[i + 1])):
            r = np.uintp(columns.row[e])
            x = one if value.size == 0 else value[e]
            occurrences += weight[np.uintp(r0) + r] if weight.size > 0 else one
            slope += x * gradient[r]
            for f in range(width):
                p[f] = x * near[f]
            layers = sums[r].reshape(interactions.n_layers, width)
            derive(interactions, j, p, gradient[r], layers, 0, width, slopes)
            for f in range(width):
                total[b, f] += x * slopes[f]
        feature_sums.slope[b] = slope if interactions.has_linear[j] else zero
        feature_sums.curve[b] = zero  # what a feature has with itself is left out already
        feature_sums.weight[b] = occurrences
