"""Training on planned mini-batches: forward pass, losses, backward pass, update.

Threads share a batch: each step splits the batch's rows (forward pass and losses) or its features
(the other steps) into parts that are independent of each other. Each sum over a row or a feature
is computed by one thread in a fixed order, so the number of threads does not change it.

Indices are unsigned, because Numba then omits its check for negative ones. The innermost loops run
over the components of one entry, or of four, because LLVM vectorizes such loops.
"""

import numpy as np

from skfm._kernels._jit import jit, jit_inline, jit_inner
from skfm._kernels.barrier import meet
from skfm._kernels.field_interactions import (
    make_layers,
    make_layers_of_block,
    move_pairs,
    multiplies_layers,
    place_of_sums,
    rows_together,
    self_square,
    subtract_self,
    whole_blocks,
)
from skfm._kernels.interactions import add_feature, differentiate_output
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

# Cost of a row or a feature besides its entries, in entries: it balances the work of threads, and
# changes no result. A batch's later features are rarer, so their parameters are often not cached.
ROW_COST = np.int64(1)
GATHER_COST = np.int64(1000)
UPDATE_COST = np.int64(8)

FEATURE_CHUNK = 256  # features updated by one call of an update rule
NEAR_BYTES = 1 << 20  # of a processor's own cache, the second one
LINE = 64  # bytes of a cache line

ONE, TWO, THREE, FOUR = (np.uintp(n) for n in (1, 2, 3, 4))


@jit_inline
def entries_before(ptr, first, i):
    """The number of entries of the items ``first:i`` of a batch.

    ``ptr`` says where an item's entries begin, modulo the range of its type.
    """
    return np.uintp((np.int64(ptr[i]) - np.int64(ptr[first])) & np.int64(np.iinfo(ptr.dtype).max))


@jit_inner
def share(ptr, start, stop, cost, part, n_parts):
    """The bounds of part ``part`` of ``start:stop``, cut into ``n_parts`` parts of equal work.

    The work of an item is its number of entries plus ``cost``.
    """
    first, last = start, stop
    total = np.int64(entries_before(ptr, start, stop)) + cost * (stop - start)
    for side in range(2):
        number = part + side
        if 0 < number < n_parts:
            goal = total * number // n_parts
            low, high = start, stop
            while low < high:
                middle = (low + high) // 2
                work = np.int64(entries_before(ptr, start, middle)) + cost * (middle - start)
                if work < goal:
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
    """Run the steps ``first:last`` of training on a window's batches, in the given order.

    ``window``, ``state`` and ``scratch`` are the structs of these names as plain tuples.

    For n outputs, a batch takes 4 n + 2 steps:

    - 2 n steps of the forward pass: for each output, gather the parameters of the batch's features
      into `Local`, and compute the rows' raw outputs;
    - one step that computes losses and their derivatives;
    - one step that updates the intercepts, and the parameters of pairs of fields;
    - 2 n steps of the backward pass: for each output, gather the parameters again, unless there is
      one output, then sum the gradients and update the parameters.

    The call processes part ``part`` of ``n_parts`` of the batch's rows or features. The parts wait
    for each other at ``barrier``, unless that is `barrier.NOBODY`. Returns the sum of the losses
    if the call includes part 0 of the step that updates the intercepts, else 0.

    One thread and several threads run this same function, since only the same machine code gives
    the same bits. It is one long function because Numba optimizes each callee once more in each of
    its callers, which would lengthen compilation.
    """
    state = State(*state)
    window, scratch = Window(*window), Scratch(*scratch)
    rows, columns = WindowRows(*window.rows), WindowColumns(*window.columns)
    local, row_scratch = Local(*scratch.local), RowScratch(*scratch.rows)
    feature_sums = FeatureSums(*scratch.feature_sums)
    row_ptr, entry_feature, row_value, weight = rows.ptr, rows.local, rows.value, rows.weight
    feature, column_ptr = columns.feature, columns.ptr
    entry_row, value = columns.row, columns.value
    local_factors, local_linear, penalty = local.factors, local.linear, local.penalty
    self_product, layer = local.self_product, local.layer
    raw, gradient, losses = row_scratch.output, row_scratch.gradient, row_scratch.losses
    n_outputs, _, n_slots, width = state.factors.shape
    n_forward = 2 * n_outputs
    total = feature_sums.total
    kind = total.dtype.type
    zero, half, one = kind(0), kind(0.5), kind(1)
    row_is_unit, column_is_unit, weighted = row_value.size == 0, value.size == 0, weight.size > 0
    base, multiplies = np.uintp(0), True
    if interactions is not None:
        partners, interaction_group = interactions.partners, interactions.interaction_group
        n_layers, fields = interactions.n_layers, interactions.kind
        multiplies, block_rows = multiplies_layers(fields), rows_together(fields)
        max_rows = row_scratch.losses.size  # for each output, up to the end of its last block
        max_rows = (max_rows + block_rows - 1) // block_rows * block_rows
    loss = 0.0
    for batch in order:
        r0, f0 = rows.start[batch], columns.start[batch]
        r1, f1 = rows.start[batch + 1], columns.start[batch + 1]
        e0 = np.uintp(row_ptr[r0])
        for step in range(first, last):
            is_forward = step < n_forward
            output = (step if is_forward else step - n_forward - 2) // 2 % n_outputs
            # No wait where a part needs results of its own alone: the derivatives need the outputs
            # of the same rows, and nothing needs the intercepts before the next batch.
            if barrier.size > 0 and not (
                step == n_forward
                or step == n_forward + 2
                or (step == n_forward + 3 and n_outputs == 1)
            ):
                if not meet(barrier, part, n_parts):
                    return loss

            if step == n_forward + 1:  # update the intercept and the parameters of pairs
                if part == 0:
                    loss += _finish(r0, r1, weight, state.intercept, rule, gradient, losses)
                if interactions is not None and partners.size > 0:
                    total_weight = _total_weight(r0, r1, weight)
                    for c in range(n_outputs):
                        a = c * max_rows * n_layers
                        move_pairs(
                            fields,
                            rule.update,
                            partners,
                            part,
                            n_parts,
                            row_scratch.group_sums[a : a + max_rows * n_layers],
                            gradient[c, : r1 - r0],
                            total_weight,
                            row_scratch.pair_slopes,
                            state.field_pairs[c],
                        )

            elif step == n_forward:  # losses and derivatives; multiply the rows' sums by these
                a, b = share(row_ptr, r0, r1, ROW_COST, part, n_parts)
                if interactions is not None:
                    a, b = whole_blocks(fields, a, r0, r1), whole_blocks(fields, b, r0, r1)
                for i in range(np.uintp(a), np.uintp(b)):
                    r = i - np.uintp(r0)
                    row_weight = weight[i] if weighted else one
                    row_loss = find_row_loss(rule.loss, raw, r, rows.target[i], gradient)
                    losses[r] = row_weight * row_loss
                    for c in range(n_outputs):
                        g = row_weight * gradient[c, r]
                        gradient[c, r] = g
                        if multiplies:
                            for f in range(row_scratch.sums.shape[2]):
                                row_scratch.sums[c, r, f] *= g

            elif step % 2 == 0:  # gather: the scratch space holds the parameters of one output
                if not is_forward and n_outputs == 1:
                    continue
                linear, factors = state.linear[output], state.factors[output]
                a, b = share(column_ptr, f0, f1, GATHER_COST, part, n_parts)
                # Several loops instead of one: the processor then overlaps the cache misses of
                # many iterations.
                flat_factors = factors.reshape(factors.shape[0], n_slots * width)
                flat_local = local_factors.reshape(local_factors.shape[0], n_slots * width)
                for i in range(np.uintp(a), np.uintp(b)):
                    n, j = i - np.uintp(f0), np.uintp(feature[i])
                    for f in range(n_slots * width):
                        flat_local[n, f] = flat_factors[j, f]
                for slot in range(linear.shape[1]):
                    for i in range(np.uintp(a), np.uintp(b)):
                        local_linear[i - np.uintp(f0), slot] = linear[np.uintp(feature[i]), slot]
                for side in range(penalties.shape[1]):
                    for i in range(np.uintp(a), np.uintp(b)):
                        penalty[i - np.uintp(f0), side] = penalties[np.uintp(feature[i]), side]
                for n in range(np.uintp(a - f0), np.uintp(b - f0)):
                    square = zero
                    for f in range(width):
                        square += local_factors[n, 0, f] * local_factors[n, 0, f]
                    self_product[n] = square
                if interactions is not None and partners.size > 0:
                    for i in range(np.uintp(a), np.uintp(b)):
                        n, c = i - np.uintp(f0), interaction_group[np.uintp(feature[i])]
                        layer[n] = np.uintp(c) * np.uintp(width)
                        self_product[n] = self_square(
                            fields, partners, c, local_factors[n, 0], self_product[n]
                        )

            elif is_forward:  # raw outputs; the rows' layers are kept for the backward pass
                a, b = share(row_ptr, r0, r1, ROW_COST, part, n_parts)
                if interactions is not None:
                    a, b = whole_blocks(fields, a, r0, r1), whole_blocks(fields, b, r0, r1)
                sums = row_scratch.sums[output]
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
                        n = np.uintp(entry_feature[e])
                        x = one if row_is_unit else row_value[e]
                        z += x * (local_linear[n, 0] - half * x * self_product[n])
                        together = e + FOUR <= end
                        if interactions is not None:
                            base = np.uintp(layer[n])
                            for t in range(ONE, FOUR):  # the last one first: it differs most
                                if together:
                                    other = np.uintp(entry_feature[e + FOUR - t])
                                    together = layer[other] == base
                        if together:
                            n2, n3, n4 = (
                                np.uintp(entry_feature[e + ONE]),
                                np.uintp(entry_feature[e + TWO]),
                                np.uintp(entry_feature[e + THREE]),
                            )
                            x2 = one if row_is_unit else row_value[e + ONE]
                            x3 = one if row_is_unit else row_value[e + TWO]
                            x4 = one if row_is_unit else row_value[e + THREE]
                            z += x2 * (local_linear[n2, 0] - half * x2 * self_product[n2])
                            z += x3 * (local_linear[n3, 0] - half * x3 * self_product[n3])
                            z += x4 * (local_linear[n4, 0] - half * x4 * self_product[n4])
                            for f in range(width):
                                sums[r, base + f] += (
                                    x * local_factors[n, 0, f]
                                    + x2 * local_factors[n2, 0, f]
                                    + x3 * local_factors[n3, 0, f]
                                    + x4 * local_factors[n4, 0, f]
                                )
                            e += FOUR
                        else:
                            for f in range(width):
                                sums[r, base + f] += x * local_factors[n, 0, f]
                            e += ONE
                    square = zero
                    if interactions is not None and block_rows > 1:
                        raw[output, r] = intercept + z
                        n_done = r % np.uintp(block_rows) + ONE
                        if n_done == block_rows or i + ONE == b:
                            first_row = np.int64(r + ONE - n_done)
                            place = (output * max_rows + first_row) * n_layers
                            make_layers_of_block(
                                fields,
                                partners,
                                state.field_pairs[output, 0],
                                sums[first_row : np.int64(r) + 1],
                                row_scratch.group_sums[place : place + block_rows * n_layers],
                                raw[output, first_row : np.int64(r) + 1],
                            )
                        continue
                    if interactions is not None:
                        place = place_of_sums(fields, part, output * max_rows + np.int64(r))
                        square = make_layers(
                            fields,
                            partners,
                            state.field_pairs[output, 0],
                            sums[r].reshape(n_layers, width),
                            row_scratch.group_sums[place * n_layers : (place + 1) * n_layers],
                        )
                    else:
                        for f in range(width):
                            square += sums[r, f] * sums[r, f]
                    raw[output, r] = intercept + z + half * square

            else:  # sum each feature's gradient over its rows, then update the feature
                # In chunks: few enough features that their sums stay in the cache, and enough that
                # the calls of the update rule cost nothing.
                a, b = share(column_ptr, f0, f1, UPDATE_COST, part, n_parts)
                linear, factors = state.linear[output], state.factors[output]
                sums, slopes = row_scratch.sums[output], gradient[output]
                # Layers that the cache does not hold are prefetched, chunk by chunk, in a loop so
                # short that many cache misses overlap.
                is_far = sums.size * sums.itemsize > NEAR_BYTES
                line = np.uintp(LINE // sums.itemsize)
                touched = zero
                chunk_start = np.int64(part * FEATURE_CHUNK)
                while a < b:
                    c = min(a + FEATURE_CHUNK, b)
                    features = feature, a, c, f0, chunk_start
                    if interactions is not None and partners.size == 0:
                        _sum_general(
                            columns,
                            features,
                            r0,
                            e0,
                            weight,
                            interactions,
                            local_factors,
                            slopes,
                            sums,
                            feature_sums,
                        )
                    else:
                        if is_far:
                            for i in range(np.uintp(a), np.uintp(c)):
                                if interactions is not None:
                                    j = np.uintp(feature[i])
                                    base = np.uintp(interaction_group[j]) * np.uintp(width)
                                e = e0 + entries_before(column_ptr, f0, i)
                                end = e0 + entries_before(column_ptr, f0, i + ONE)
                                for t in range(e, end):
                                    r = np.uintp(entry_row[t])
                                    for f in range(np.uintp(0), np.uintp(width), line):
                                        touched = max(touched, sums[r, base + f])
                            feature_sums.curve[chunk_start] = touched  # keeps the loop alive
                        for i in range(np.uintp(a), np.uintp(c)):
                            n = np.uintp(chunk_start) + i - np.uintp(a)
                            if interactions is not None:
                                j = np.uintp(feature[i])
                                group = interaction_group[j]
                                base = np.uintp(group) * np.uintp(width)
                            e = e0 + entries_before(column_ptr, f0, i)
                            end = e0 + entries_before(column_ptr, f0, i + ONE)
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
                                h = x if multiplies else g
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
                                    h2 = x2 if multiplies else g2
                                    h3 = x3 if multiplies else g3
                                    h4 = x4 if multiplies else g4
                                    for f in range(width):
                                        total[n, f] += (
                                            h * sums[r, base + f]
                                            + h2 * sums[r2, base + f]
                                            + h3 * sums[r3, base + f]
                                            + h4 * sums[r4, base + f]
                                        )
                                    e += FOUR
                                else:
                                    for f in range(width):
                                        total[n, f] += h * sums[r, base + f]
                                    e += ONE
                            if interactions is not None:
                                slope = slope if interactions.has_linear[j] else zero
                                curve = subtract_self(
                                    fields,
                                    partners,
                                    group,
                                    curve,
                                    local_factors[i - np.uintp(f0), 0],
                                    total[n],
                                )
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
    """Update the intercepts; returns the batch's loss. One thread does it, in a fixed order."""
    n_rows = r1 - r0
    if rule.fit_intercept:
        weight = _total_weight(r0, r1, row_weight)
        for c in range(intercept.shape[0]):
            slope = 0.0
            for r in range(n_rows):
                slope += gradient[c, r]
            move_intercept(rule.update, intercept[c], slope, weight)
    loss = 0.0
    for r in range(n_rows):
        loss += losses[r]
    return loss


@jit_inner
def _total_weight(r0, r1, row_weight):
    weight = float(r1 - r0)
    if row_weight.size > 0:
        weight = 0.0
        for r in range(r0, r1):
            weight += row_weight[r]
    return weight


@jit_inner(allocates=True)
def _forward_general(
    rows, r0, first, last, feature, f0, intercept, interactions, local, sums, raw
):
    """Compute the raw outputs of rows ``first:last`` where degrees are higher than 2."""
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
            z += x * linear[a, 0] + add_feature(interactions, j, p, layers)
        raw[r] = z


@jit_inner(allocates=True)
def _sum_general(
    columns, features, r0, e0, weight, interactions, factors, gradient, sums, feature_sums
):
    """Sum the gradients of features (see `update_rules.move`) where degrees are higher than 2."""
    feature, first, last, f0, base = features
    value, total = columns.value, feature_sums.total
    zero, one = sums.dtype.type(0), sums.dtype.type(1)
    width = total.shape[1]
    p, slopes = np.empty(width, sums.dtype), np.empty(width, sums.dtype)
    for n in range(last - first):
        i, b, local_factors = first + n, base + n, factors[first - f0 + n, 0]
        j = np.uintp(feature[i])
        occurrences, slope = zero, zero
        for f in range(width):
            total[b, f] = zero
        e = e0 + entries_before(columns.ptr, f0, i)
        end = e0 + entries_before(columns.ptr, f0, i + 1)
        for t in range(e, end):
            r = np.uintp(columns.row[t])
            x = one if value.size == 0 else value[t]
            occurrences += weight[np.uintp(r0) + r] if weight.size > 0 else one
            slope += x * gradient[r]
            for f in range(width):
                p[f] = x * local_factors[f]
            layers = sums[r].reshape(interactions.n_layers, width)
            differentiate_output(interactions, j, p, gradient[r], layers, 0, width, slopes)
            for f in range(width):
                total[b, f] += x * slopes[f]
        feature_sums.slope[b] = slope if interactions.has_linear[j] else zero
        feature_sums.curve[b] = zero  # the layers are without products of a feature with itself
        feature_sums.weight[b] = occurrences
