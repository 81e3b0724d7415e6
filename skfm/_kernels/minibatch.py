"""Training on planned mini-batches: gather, forward, differentiate, backward with update.

Every function works on one part of a batch (``part`` of ``n_parts``), so that threads can
share it: rows are independent in the forward phase, features in the other two. A row's and a
feature's sums always run in the same order, whoever computes them.

Ids are unsigned, which spares Numba's check for negative indices, and the innermost loops run
over the components of one or of four entries at a time, which LLVM turns into vector code.
"""


import numpy as np

from skfm._kernels._jit import jit
from skfm._kernels.interactions import derive, enter, join
from skfm._kernels.losses import row_loss, scalar_loss
from skfm._kernels.records import Block
from skfm._kernels.updates import move, move_intercept

# What a row or a feature costs besides its entries, in entries; only the balance of threads
# depends on it. Later features of a batch are rarer, and so further away in memory.
ROW_COST = 1
GATHER_COST = 1000
UPDATE_COST = 8

BLOCK = 256  # features updated together


@jit
def _boundary(ptr, start, stop, cost, part, n_parts):
    """Where part ``part`` of ``start:stop`` begins, for parts of equal work.

    Item i's work is that of its entries, ``ptr[i]:ptr[i + 1]``, and that of ``cost`` more.
    """
    if part == 0 or part == n_parts:
        return start if part == 0 else stop
    base = np.int64(ptr[start]) + cost * start
    goal = base + (np.int64(ptr[stop]) + cost * stop - base) * part // n_parts
    low, high = start, stop
    while low < high:
        middle = (low + high) // 2
        if np.int64(ptr[middle]) + cost * middle < goal:
            low = middle + 1
        else:
            high = middle
    return low


@jit
def gather(window, batch, state, output, penalties, interactions, scratch, part, n_parts):
    """Copy the batch's parameters of one output, and their memory, side by side."""
    f0, f1 = window.feature_start[batch], window.feature_start[batch + 1]
    features = window.features
    linear, factors = state.linear[output], state.factors[output]
    local_linear, local_penalty = scratch.linear, scratch.penalty
    self_product = scratch.self_product
    n_features, n_slots, n_components = factors.shape
    far = factors.reshape(n_features, n_slots * n_components)
    near = scratch.factors.reshape(scratch.factors.shape[0], n_slots * n_components)
    first = _boundary(window.column_ptr, f0, f1, GATHER_COST, part, n_parts) - f0
    last = _boundary(window.column_ptr, f0, f1, GATHER_COST, part + 1, n_parts) - f0
    # Two loops: the first is so short that many of its cache misses are under way at once.
    for i in range(np.uintp(first), np.uintp(last)):
        j = np.uintp(features[np.uintp(f0) + i])
        for f in range(far.shape[1]):
            near[i, f] = far[j, f]
    for slot in range(linear.shape[1]):
        for i in range(np.uintp(first), np.uintp(last)):
            local_linear[i, slot] = linear[np.uintp(features[np.uintp(f0) + i]), slot]
    for kind in range(2 if penalties.shape[1] == 2 else 4):
        for i in range(np.uintp(first), np.uintp(last)):
            local_penalty[i, kind] = penalties[np.uintp(features[np.uintp(f0) + i]), kind]
    for i in range(np.uintp(first), np.uintp(last)):
        product = factors.dtype.type(0)
        for f in range(n_components):
            product += near[i, f] * near[i, f]
        self_product[i] = product
    if interactions is not None and interactions.partners.size > 0:
        for i in range(np.uintp(first), np.uintp(last)):
            c = interactions.feature_class[np.uintp(features[np.uintp(f0) + i])]
            scratch.layer[i] = np.uintp(c) * np.uintp(n_components)
            if not interactions.partners[c, c]:
                self_product[i] = 0


@jit
def forward(window, batch, state, output, interactions, scratch, part, n_parts):
    """Raw output of each row; keeps its layers for the backward phase."""
    if interactions is not None and interactions.partners.size == 0:
        _forward_general(window, batch, state, output, interactions, scratch, part, n_parts)
        return
    r0, r1 = window.row_start[batch], window.row_start[batch + 1]
    row_ptr, local, values = window.row_ptr, window.local, window.row_values
    linear, factors, product = scratch.linear, scratch.factors, scratch.self_product
    sums = scratch.sums[output]
    raw = scratch.output[output]
    intercept = sums.dtype.type(state.intercept[output, 0])
    zero, half, one = sums.dtype.type(0), sums.dtype.type(0.5), sums.dtype.type(1)
    n_sums, width = sums.shape[1], factors.shape[2]
    unit = values.size == 0
    layer, base = scratch.layer, np.uintp(0)
    if interactions is not None:
        room = np.empty((interactions.n_layers, width), sums.dtype)
    first = _boundary(row_ptr, r0, r1, ROW_COST, part, n_parts) - r0
    last = _boundary(row_ptr, r0, r1, ROW_COST, part + 1, n_parts) - r0
    for r in range(np.uintp(first), np.uintp(last)):
        e = np.uintp(row_ptr[np.uintp(r0) + r])
        end = np.uintp(row_ptr[np.uintp(r0) + r + np.uintp(1)])
        z = zero
        for f in range(n_sums):
            sums[r, f] = zero
        while e < end:
            a = np.uintp(local[e])
            xa = one if unit else values[e]
            z += xa * (linear[a, 0] - half * xa * product[a])
            together = e + np.uintp(4) <= end
            if interactions is not None:
                base = np.uintp(layer[a])
                for t in range(e + np.uintp(1), min(e + np.uintp(4), end)):
                    together = together and layer[np.uintp(local[t])] == base
            if together:
                b = np.uintp(local[e + np.uintp(1)])
                c = np.uintp(local[e + np.uintp(2)])
                d = np.uintp(local[e + np.uintp(3)])
                xb = one if unit else values[e + np.uintp(1)]
                xc = one if unit else values[e + np.uintp(2)]
                xd = one if unit else values[e + np.uintp(3)]
                z += xb * (linear[b, 0] - half * xb * product[b])
                z += xc * (linear[c, 0] - half * xc * product[c])
                z += xd * (linear[d, 0] - half * xd * product[d])
                for f in range(width):
                    sums[r, base + f] += (
                        xa * factors[a, 0, f]
                        + xb * factors[b, 0, f]
                        + xc * factors[c, 0, f]
                        + xd * factors[d, 0, f]
                    )
                e += np.uintp(4)
            else:
                for f in range(width):
                    sums[r, base + f] += xa * factors[a, 0, f]
                e += np.uintp(1)
        square = zero
        if interactions is not None:
            layers = sums[r].reshape(interactions.n_layers, width)
            square = join(interactions.partners, layers, room)
        else:
            for f in range(width):
                square += sums[r, f] * sums[r, f]
        raw[r] = intercept + z + half * square


@jit
def _forward_general(window, batch, state, output, interactions, scratch, part, n_parts):
    """The same for products of more features."""
    r0, r1 = window.row_start[batch], window.row_start[batch + 1]
    f0 = np.uintp(window.feature_start[batch])
    row_ptr, local, values = window.row_ptr, window.local, window.row_values
    linear, factors = scratch.linear, scratch.factors
    width = factors.shape[2]
    n_layers = interactions.n_layers
    sums = scratch.sums[output].reshape(scratch.sums.shape[1], n_layers, width)
    intercept = sums.dtype.type(state.intercept[output, 0])
    p = np.empty(width, sums.dtype)
    first = _boundary(row_ptr, r0, r1, ROW_COST, part, n_parts) - r0
    last = _boundary(row_ptr, r0, r1, ROW_COST, part + 1, n_parts) - r0
    for r in range(np.uintp(first), np.uintp(last)):
        layers = sums[r]
        layers[:] = 0
        z = intercept
        i = np.uintp(r0) + r
        for e in range(np.uintp(row_ptr[i]), np.uintp(row_ptr[i + np.uintp(1)])):
            a = np.uintp(local[e])
            j = np.uintp(window.features[f0 + a])
            x = sums.dtype.type(1) if values.size == 0 else values[e]
            for f in range(width):
                p[f] = x * factors[a, 0, f]
            z += x * linear[a, 0] + enter(interactions, j, p, layers)
        scratch.output[output, r] = z


@jit
def differentiate(window, batch, rule, scratch, part, n_parts):
    """Weighted loss and derivatives of each row; scales the row's sums by the derivatives."""
    r0, r1 = window.row_start[batch], window.row_start[batch + 1]
    raw, gradient, sums, losses = scratch.output, scratch.gradient, scratch.sums, scratch.losses
    target, row_weight = window.target, window.weight
    n_outputs, _, width = sums.shape
    weighted = row_weight.size > 0
    first = _boundary(window.row_ptr, r0, r1, ROW_COST, part, n_parts) - r0
    last = _boundary(window.row_ptr, r0, r1, ROW_COST, part + 1, n_parts) - r0
    for r in range(np.uintp(first), np.uintp(last)):
        i = np.uintp(r0) + r
        weight = row_weight[i] if weighted else gradient.dtype.type(1)
        if n_outputs == 1:  # without the call of row_loss: a tenth of a step
            value, gradient[0, r] = scalar_loss(rule.loss, rule.shape, raw[0, r], target[i])
            losses[r] = weight * value
        else:
            losses[r] = weight * row_loss(rule.loss, rule.shape, raw, r, target[i], gradient)
        for c in range(n_outputs):
            g = weight * gradient[c, r]
            gradient[c, r] = g
            for f in range(width):
                sums[c, r, f] *= g


@jit
def backward(window, batch, state, output, interactions, rule, scratch, part, n_parts):
    """Sum each feature's gradient over its rows, and update. A block of features at a time: few
    enough that their sums stay at hand, and enough that calling the update costs nothing."""
    f0, f1 = window.feature_start[batch], window.feature_start[batch + 1]
    linear, factors = state.linear[output], state.factors[output]
    gradient, sums = scratch.gradient[output], scratch.sums[output]
    dtype, width = sums.dtype, scratch.factors.shape[2]
    block = Block(
        np.empty(BLOCK, dtype),
        np.empty(BLOCK, dtype),
        np.empty(BLOCK, dtype),
        np.empty((BLOCK, width), dtype),
    )
    first = _boundary(window.column_ptr, f0, f1, UPDATE_COST, part, n_parts)
    last = _boundary(window.column_ptr, f0, f1, UPDATE_COST, part + 1, n_parts)
    while first < last:
        end = min(first + BLOCK, last)
        if interactions is None or interactions.partners.size > 0:
            _sum_gradients(window, batch, first, end, interactions, gradient, sums, block)
        else:
            near = scratch.factors[first - f0 : end - f0, 0]
            _sum_general(window, batch, first, near, interactions, gradient, sums, block)
        move(block, first - f0, window.features[first:end], rule, scratch, linear, factors)
        first = end


@jit
def _sum_gradients(window, batch, first, last, interactions, gradient, sums, block):
    r0 = window.row_start[batch]
    column_ptr, entry_row, values = window.column_ptr, window.entry_row, window.column_values
    weight, total = window.weight, block.total
    zero, one = sums.dtype.type(0), sums.dtype.type(1)
    width = total.shape[1]
    unit = values.size == 0
    base = np.uintp(0)
    for i in range(np.uintp(last - first)):
        if interactions is not None:
            j = np.uintp(window.features[np.uintp(first) + i])
            own = interactions.feature_class[j]
            base = np.uintp(own) * np.uintp(width)
        e = np.uintp(column_ptr[np.uintp(first) + i])
        end = np.uintp(column_ptr[np.uintp(first) + i + np.uintp(1)])
        occurrences = sums.dtype.type(end - e)
        if weight.size > 0:
            occurrences = zero
            for t in range(e, end):
                occurrences += weight[np.uintp(r0) + np.uintp(entry_row[t])]
        slope = zero
        curve = zero
        for f in range(width):
            total[i, f] = zero
        while e < end:
            a = np.uintp(entry_row[e])
            xa = one if unit else values[e]
            ga = xa * gradient[a]
            slope += ga
            curve += xa * ga
            if e + np.uintp(4) <= end:
                b = np.uintp(entry_row[e + np.uintp(1)])
                c = np.uintp(entry_row[e + np.uintp(2)])
                d = np.uintp(entry_row[e + np.uintp(3)])
                xb = one if unit else values[e + np.uintp(1)]
                xc = one if unit else values[e + np.uintp(2)]
                xd = one if unit else values[e + np.uintp(3)]
                gb, gc, gd = xb * gradient[b], xc * gradient[c], xd * gradient[d]
                slope += gb + gc + gd
                curve += xb * gb + xc * gc + xd * gd
                for f in range(width):
                    total[i, f] += (
                        xa * sums[a, base + f]
                        + xb * sums[b, base + f]
                        + xc * sums[c, base + f]
                        + xd * sums[d, base + f]
                    )
                e += np.uintp(4)
            else:
                for f in range(width):
                    total[i, f] += xa * sums[a, base + f]
                e += np.uintp(1)
        if interactions is not None:
            slope = slope if interactions.has_linear[j] else zero
            curve = curve if interactions.partners[own, own] else zero
        block.slope[i] = slope
        block.curve[i] = curve
        block.weight[i] = occurrences


@jit
def _sum_general(window, batch, first, near, interactions, gradient, sums, block):
    """The same for products of more features, ``near`` being the factors of those from ``first``
    on."""
    r0 = np.uintp(window.row_start[batch])
    column_ptr, entry_row, values = window.column_ptr, window.entry_row, window.column_values
    weight, total = window.weight, block.total
    zero, one = sums.dtype.type(0), sums.dtype.type(1)
    width = near.shape[1]
    layers = sums.reshape(sums.shape[0], interactions.n_layers, width)
    p, slopes = np.empty(width, sums.dtype), np.empty(width, sums.dtype)
    for i in range(near.shape[0]):
        j = np.uintp(window.features[first + i])
        occurrences, slope = zero, zero
        for f in range(width):
            total[i, f] = zero
        for e in range(np.uintp(column_ptr[first + i]), np.uintp(column_ptr[first + i + 1])):
            r = np.uintp(entry_row[e])
            x = one if values.size == 0 else values[e]
            occurrences += weight[r0 + r] if weight.size > 0 else one
            slope += x * gradient[r]
            for f in range(width):
                p[f] = x * near[i, f]
            derive(interactions, j, p, gradient[r], layers[r], 0, width, slopes)
            for f in range(width):
                total[i, f] += x * slopes[f]
        block.slope[i] = slope if interactions.has_linear[j] else zero
        block.curve[i] = zero  # what a feature has with itself is left out already
        block.weight[i] = occurrences


@jit
def finish(window, batch, state, rule, scratch):
    """Update the intercept; returns the batch's loss. One thread's work, in a fixed order."""
    n_rows = window.row_start[batch + 1] - window.row_start[batch]
    intercept = state.intercept
    if rule.fit_intercept:
        weight = float(n_rows)
        if window.weight.size > 0:
            weight = 0.0
            for r in range(n_rows):
                weight += window.weight[window.row_start[batch] + r]
        for c in range(intercept.shape[0]):
            slope = 0.0
            for r in range(n_rows):
                slope += scratch.gradient[c, r]
            move_intercept(rule, intercept[c], slope, weight)
    loss = 0.0
    for r in range(n_rows):
        loss += scratch.losses[r]
    return loss


@jit
def run_steps(
    window, order, first, last, state, penalties, interactions, rule, scratch, part, n_parts
):
    """Take a window's batches, in the given order, through the steps ``first:last`` of training.

    A batch of n outputs has 4 n steps: for each output gather and forward, then for each gather
    and backward. Returns the sum of the losses where that includes part 0 of the backward steps.

    One function for all, called with every step by a single thread and with one step at a time
    by threads that share a batch: the same machine code gives the same bits.
    """
    n_outputs = state.intercept.shape[0]
    loss = 0.0
    for batch in order:
        for step in range(first, last):
            is_forward = step < 2 * n_outputs
            output = step // 2 % n_outputs
            if step % 2 == 0:
                # The scratch holds the parameters of one output at a time.
                if is_forward or n_outputs > 1:
                    arguments = interactions, scratch, part, n_parts
                    gather(window, batch, state, output, penalties, *arguments)
            elif is_forward:
                forward(window, batch, state, output, interactions, scratch, part, n_parts)
                if output == n_outputs - 1:
                    differentiate(window, batch, rule, scratch, part, n_parts)
            else:
                if output == 0 and part == 0:
                    loss += finish(window, batch, state, rule, scratch)
                backward(
                    window, batch, state, output, interactions, rule, scratch, part, n_parts
                )
    return loss
