"""Block coordinate descent and Gibbs sampling, one feature (a column) at a time.

The model is linear in the linear weight and the factors of a single feature: with ``h = x (s - x
v)``, where ``s`` is a row's sum of ``x v`` over all its features, the output moves by ``x dw + <h,
dv>``. So their optimum, or their distribution given all other parameters, is that of a ridge
regression, solved here for a block of coordinates at a time. (This ``h`` is that of a model with
all pairs; interactions.py has those of others.)
"""

import numpy as np

from skfm._kernels._jit import jit, jit_inner
from skfm._kernels.interactions import (
    add_feature,
    differentiate_output,
    make_layers,
    update_layers,
)
from skfm._kernels.normal_equations import DAMPING, pose, solve

BLOCK_SIZE = 16  # factors solved together; larger blocks need fewer sweeps and more arithmetic
CHUNK = 128  # rows whose values are copied side by side into the fastest cache
LINE = 64  # bytes of a cache line

ONE, TWO, THREE, FOUR, EIGHT = (np.uintp(n) for n in (1, 2, 3, 4, 8))


@jit(allocates=True)
def update_columns(
    first, last, columns, rows, model, interactions, prior, precision, noise, fit_linear
):
    """Solve the columns ``order[first:last]`` one after the other; rows' sums and errors follow.

    A column's linear weight and factors ``theta`` are set to where they minimise ``precision / 2
    sum_i (root_i error_i)^2 + 1/2 sum_c q_c (theta_c - mean_c)^2``; see `structs.Prior` for
    ``q`` and the means. With ``noise`` (n_columns, 1 + n_components), standard normal numbers,
    they are drawn from the distribution whose density is the exponential of minus that.

    Columns that share no row may be solved at the same time. The number returned has no meaning,
    but keeps the compiler from dropping what computes it: see `_touch`.
    """
    n_components = model.n_components
    dtype = rows.sums.dtype
    size = min(BLOCK_SIZE, n_components) + 1
    near = np.zeros((size + 5, CHUNK), dtype)
    gram = np.zeros((size + 1, size + 5))
    step = np.zeros(size + 3)
    moved = np.zeros(size + 3, dtype)
    own = np.zeros(model.factors.shape[1], dtype)
    # Draws have priors instead, and would be too narrow.
    rounding = 0.0 if noise.size > 0 else DAMPING * np.finfo(dtype).eps
    touched = dtype.type(0)
    for k in range(first, last):
        j = np.uintp(columns.order[k])
        start = np.int64(0)  # of one type throughout: else what is called is compiled twice
        with_linear = fit_linear
        if interactions is not None:
            with_linear = fit_linear and interactions.has_linear[j]
        while start < n_components or with_linear:
            stop = min(start + BLOCK_SIZE, n_components)
            span = start, stop, with_linear
            v, layer = model.factors[j], np.uintp(0)
            if interactions is not None and interactions.partners.size > 0:
                layer = _own_layer(interactions, j, v, own)
                v = own
            found = add_up(columns, rows, v, layer, interactions, j, span, near, gram)
            touched = max(touched, found)
            pose(model, prior, precision, rounding, j, start, stop, with_linear, gram, step)
            n = np.int64(stop - start + with_linear)
            solve(gram, step, n, noise, j, start, with_linear)
            linear_step = dtype.type(step[n - 1] if with_linear else 0)
            for c in range(moved.size):
                moved[c] = step[c] if c < stop - start else 0
            if interactions is None:
                _move(columns, rows, model, j, start, stop, moved, linear_step)
            elif interactions.partners.size > 0:
                _move_pairs(
                    interactions, own, columns, rows, model, j, start, stop, moved, linear_step
                )
            else:
                _move_general(
                    interactions, columns, rows, model, j, start, stop, moved, linear_step
                )
            start = stop
            with_linear = False
    return touched


@jit_inner
def add_up(columns, rows, v, layer, interactions, j, span, near, gram):
    """Products of coordinates, ``gram[a, b]`` for ``a <= b``, summed over the column's rows: of
    the factors ``start:stop``, the linear weight and last the error.

    ``v`` are the factors as they are in the rows' sums, which begin at ``layer``.
    """
    start, stop, with_linear = span
    n_factors = np.uintp(stop - start)
    n = n_factors + np.uintp(with_linear)
    for a in range(n):
        for b in range(a, n + FOUR):
            gram[a, b] = 0
    e, end = np.uintp(columns.ptr[j]), np.uintp(columns.ptr[j + ONE])
    touched = near[0, 0] * 0
    while e < end:
        m = min(np.uintp(CHUNK), end - e)
        touched = max(touched, _touch(columns.row, e, e + m, rows, layer + np.uintp(start)))
        filled = (m + np.uintp(7)) // EIGHT * EIGHT
        part = np.uintp(start), n_factors, n, e, m, filled
        if interactions is None or interactions.partners.size > 0:
            _gather(columns, rows, v, layer, part, near)
        else:
            _gather_general(columns, rows, v, interactions, j, part, near)
        for a in range(n):
            b = a
            while b < n + ONE:
                p = near[0, 0] * 0
                q, r, s = p, p, p
                for t in range(filled):
                    x = near[a, t]
                    p += x * near[b, t]
                    q += x * near[b + ONE, t]
                    r += x * near[b + TWO, t]
                    s += x * near[b + THREE, t]
                gram[a, b] += p
                gram[a, b + ONE] += q
                gram[a, b + TWO] += r
                gram[a, b + THREE] += s
                b += FOUR
        e += m
    return touched


@jit_inner
def _own_layer(interactions, j, v, own):
    """Write into ``own`` what a column's factors add to the layer of its own interaction group.

    Returns where this layer begins in a row.
    """
    c = interactions.interaction_group[j]
    is_partner = interactions.partners[c, c]
    for f in range(v.size):
        own[f] = v[f] if is_partner else v[f] * 0
    return np.uintp(c) * np.uintp(v.size)


@jit_inner
def _touch(row, start, stop, rows, first):
    """Prefetch what is known of some rows, in loops so short that many cache misses overlap.

    The result must be used: otherwise the compiler drops the loops.
    """
    sums, error = rows.sums, rows.error
    touched = sums.dtype.type(0)
    line = LINE // sums.itemsize
    for f in range(
        first, min(first + np.uintp(BLOCK_SIZE), np.uintp(sums.shape[1])), np.uintp(line)
    ):
        for e in range(start, stop):
            touched = max(touched, sums[np.uintp(row[e]), np.uintp(f)])
    for e in range(start, stop):
        touched = max(touched, error[np.uintp(row[e])])
    return touched


@jit_inner
def _gather(columns, rows, v, layer, part, near):
    """Bring the entries ``e:e + m`` of a column together, each coordinate's values side by side
    and filled up with zeros: factors, ``x``, and at ``n`` the error, all times the rows' roots.

    Four rows and four factors at a time: of a simple loop the compiler makes something slower.
    """
    row, value = columns.row, columns.value
    sums, error, root = rows.sums, rows.error, rows.root
    start, n_factors, n, e, m, filled = part
    zero, one = sums.dtype.type(0), sums.dtype.type(1)
    unit, weighted = value.size == 0, root.size > 0
    last = e + m - ONE
    for t in range(np.uintp(0), filled, FOUR):
        ea = min(e + t, last)
        eb, ec, ed = min(e + t + ONE, last), min(e + t + TWO, last), min(e + t + THREE, last)
        a, b, c, d = np.uintp(row[ea]), np.uintp(row[eb]), np.uintp(row[ec]), np.uintp(row[ed])
        xa, xb, xc, xd = one, one, one, one
        if not unit:
            xa, xb, xc, xd = value[ea], value[eb], value[ec], value[ed]
        ra, rb, rc, rd = one, one, one, one
        if weighted:
            ra, rb, rc, rd = root[a], root[b], root[c], root[d]
        if t + THREE >= m:  # beyond the last row
            ra = ra if t < m else zero
            rb = rb if t + ONE < m else zero
            rc = rc if t + TWO < m else zero
            rd = zero
        ka, kb, kc, kd = ra * xa, rb * xb, rc * xc, rd * xd
        for f in range(np.uintp(0), n_factors, FOUR):
            g = start + f
            p, q, r, s = v[g], v[g + ONE], v[g + TWO], v[g + THREE]
            g += layer
            pa, qa = ka * (sums[a, g] - xa * p), ka * (sums[a, g + ONE] - xa * q)
            pb, qb = kb * (sums[b, g] - xb * p), kb * (sums[b, g + ONE] - xb * q)
            pc, qc = kc * (sums[c, g] - xc * p), kc * (sums[c, g + ONE] - xc * q)
            pd, qd = kd * (sums[d, g] - xd * p), kd * (sums[d, g + ONE] - xd * q)
            ra_, sa = ka * (sums[a, g + TWO] - xa * r), ka * (sums[a, g + THREE] - xa * s)
            rb_, sb = kb * (sums[b, g + TWO] - xb * r), kb * (sums[b, g + THREE] - xb * s)
            rc_, sc = kc * (sums[c, g + TWO] - xc * r), kc * (sums[c, g + THREE] - xc * s)
            rd_, sd = kd * (sums[d, g + TWO] - xd * r), kd * (sums[d, g + THREE] - xd * s)
            near[f, t], near[f, t + ONE] = pa, pb
            near[f, t + TWO], near[f, t + THREE] = pc, pd
            near[f + ONE, t], near[f + ONE, t + ONE] = qa, qb
            near[f + ONE, t + TWO], near[f + ONE, t + THREE] = qc, qd
            near[f + TWO, t], near[f + TWO, t + ONE] = ra_, rb_
            near[f + TWO, t + TWO], near[f + TWO, t + THREE] = rc_, rd_
            near[f + THREE, t], near[f + THREE, t + ONE] = sa, sb
            near[f + THREE, t + TWO], near[f + THREE, t + THREE] = sc, sd
        # The linear weight's values, unless the errors take their place.
        near[n_factors, t], near[n_factors, t + ONE] = ka, kb
        near[n_factors, t + TWO], near[n_factors, t + THREE] = kc, kd
        near[n, t], near[n, t + ONE] = ra * error[a], rb * error[b]
        near[n, t + TWO], near[n, t + THREE] = rc * error[c], rd * error[d]


@jit_inner(allocates=True)
def _gather_general(columns, rows, v, interactions, j, part, near):
    """As `_gather`, for products of more than two features; one row at a time."""
    value, root = columns.value, rows.root
    start, n_factors, n, e, m, filled = part
    stop = start + n_factors
    width = v.size
    one = v.dtype.type(1)
    layers = rows.sums.reshape(rows.sums.shape[0], interactions.n_layers, width)
    p, slopes = np.empty(width, v.dtype), np.empty(width, v.dtype)
    for t in range(m):
        i = np.uintp(columns.row[e + t])
        x = one if value.size == 0 else value[e + t]
        k = root[i] if root.size > 0 else one
        for f in range(start, stop):
            p[f] = x * v[f]
        differentiate_output(interactions, j, p, one, layers[i], start, stop, slopes)
        for f in range(n_factors):
            near[f, t] = k * x * slopes[start + f]
        near[n_factors, t] = k * x
        near[n, t] = k * rows.error[i]
    for a in range(n + ONE):
        for t in range(m, filled):
            near[a, t] = 0


@jit_inner
def _move(columns, rows, model, j, start, stop, step, linear_step):
    """Move a column's parameters, its rows' sums and their errors.

    Four factors at a time; the steps are filled up with zeros.
    """
    row, value = columns.row, columns.value
    sums, error = rows.sums, rows.error
    v = model.factors[j]
    n_factors = np.uintp(stop - start)
    first = np.uintp(start)
    unit = value.size == 0
    for e in range(np.uintp(columns.ptr[j]), np.uintp(columns.ptr[j + ONE])):
        i = np.uintp(row[e])
        x = sums.dtype.type(1) if unit else value[e]
        change = linear_step
        for f in range(np.uintp(0), n_factors, FOUR):
            g = first + f
            p, q, r, s = step[f], step[f + ONE], step[f + TWO], step[f + THREE]
            a, b, c, d = sums[i, g], sums[i, g + ONE], sums[i, g + TWO], sums[i, g + THREE]
            va, vb, vc, vd = v[g], v[g + ONE], v[g + TWO], v[g + THREE]
            change += (a - x * va) * p + (b - x * vb) * q + (c - x * vc) * r + (d - x * vd) * s
            a, b, c, d = a + x * p, b + x * q, c + x * r, d + x * s
            sums[i, g], sums[i, g + ONE], sums[i, g + TWO], sums[i, g + THREE] = a, b, c, d
        error[i] += x * change
    for f in range(n_factors):
        v[first + f] += step[f]
    model.linear[j] += linear_step


@jit_inner
def _move_pairs(interactions, own, columns, rows, model, j, start, stop, step, linear_step):
    """As `_move`, for features with interaction groups; see `_own_layer`."""
    row, value = columns.row, columns.value
    sums, error = rows.sums, rows.error
    v = model.factors[j]
    width = np.uintp(v.size)
    first, n_factors = np.uintp(start), np.uintp(stop - start)
    c = interactions.interaction_group[j]
    partners = interactions.partners[c]
    base = np.uintp(c) * width + first
    for e in range(np.uintp(columns.ptr[j]), np.uintp(columns.ptr[j + ONE])):
        i = np.uintp(row[e])
        x = sums.dtype.type(1) if value.size == 0 else value[e]
        change = linear_step
        for f in range(n_factors):
            change += (sums[i, base + f] - x * own[first + f]) * step[f]
        error[i] += x * change
    for d in range(np.uintp(partners.size)):
        if partners[d]:
            base = d * width + first
            for e in range(np.uintp(columns.ptr[j]), np.uintp(columns.ptr[j + ONE])):
                i = np.uintp(row[e])
                x = sums.dtype.type(1) if value.size == 0 else value[e]
                for f in range(n_factors):
                    sums[i, base + f] += x * step[f]
    for f in range(n_factors):
        v[first + f] += step[f]
    model.linear[j] += linear_step


@jit_inner(allocates=True)
def _move_general(interactions, columns, rows, model, j, start, stop, step, linear_step):
    """As `_move`, for products of more than two features."""
    value = columns.value
    v = model.factors[j]
    width = v.size
    one = v.dtype.type(1)
    layers = rows.sums.reshape(rows.sums.shape[0], interactions.n_layers, width)
    p, slopes, moved = np.empty(width, v.dtype), np.empty(width, v.dtype), np.empty(width, v.dtype)
    for e in range(np.uintp(columns.ptr[j]), np.uintp(columns.ptr[j + ONE])):
        i = np.uintp(columns.row[e])
        x = one if value.size == 0 else value[e]
        for f in range(start, stop):
            p[f] = x * v[f]
            moved[f] = x * step[f - start]
        differentiate_output(interactions, j, p, one, layers[i], start, stop, slopes)
        change = x * linear_step
        for f in range(start, stop):
            change += moved[f] * slopes[f]
        update_layers(interactions, j, p, moved, layers[i], start, stop, slopes)
        rows.error[i] += change
    for f in range(start, stop):
        v[f] += step[f - start]
    model.linear[j] += linear_step


@jit
def sum_rows(first, last, source, blocks, model, interactions, intercept, sums, raw):
    """Compute layers and raw outputs of rows ``first:last``.

    If all pairs count, there is one layer, ``sum_j x_j v_j``. ``source`` is a `ScaledRows`. The
    relation blocks must have been summed before; see relation_blocks.py.
    """
    if interactions is not None:
        _sum_layers(first, last, source, blocks, model, interactions, intercept, sums, raw)
        return
    indptr, indices, data, position, center, inverse_scale = source
    linear, factors = model.linear, model.factors
    width = factors.shape[1]
    zero, half = sums.dtype.type(0), sums.dtype.type(0.5)
    for i in range(np.uintp(first), np.uintp(last)):
        z = zero
        square = zero
        for f in range(width):
            sums[i, f] = zero
        for e in range(np.uintp(indptr[i]), np.uintp(indptr[i + ONE])):
            j = np.uintp(position[np.uintp(indices[e])])
            x = (data[e] - center[j]) * inverse_scale[j]
            z += x * linear[j]
            for f in range(width):
                xv = x * factors[j, f]
                sums[i, f] += xv
                square -= xv * xv
        if blocks.layer.size > 0:
            z += _add_blocks(blocks, i, sums)
        for f in range(width):
            square += sums[i, f] * sums[i, f]
        raw[i] = intercept + z + half * square


@jit_inner
def _add_blocks(blocks, i, sums):
    z = sums.dtype.type(0)
    for k in range(blocks.layer.size):
        b, base = np.uintp(blocks.of_row[k, i]), np.uintp(blocks.layer[k])
        z += blocks.constant[b]
        for f in range(blocks.sums.shape[1]):
            sums[i, base + f] += blocks.sums[b, f]
    return z


@jit_inner(allocates=True)
def _sum_layers(first, last, source, blocks, model, interactions, intercept, sums, raw):
    indptr, indices, data, position, center, inverse_scale = source
    linear, factors = model.linear, model.factors
    width = factors.shape[1]
    partners, interaction_group = interactions.partners, interactions.interaction_group
    all_layers = sums.reshape(sums.shape[0], interactions.n_layers, width)
    p, room = np.empty(width, sums.dtype), np.empty((interactions.n_layers, width), sums.dtype)
    half = sums.dtype.type(0.5)
    for i in range(np.uintp(first), np.uintp(last)):
        layers = all_layers[i]
        layers[:] = 0
        z = intercept
        for e in range(np.uintp(indptr[i]), np.uintp(indptr[i + ONE])):
            j = np.uintp(position[np.uintp(indices[e])])
            x = (data[e] - center[j]) * inverse_scale[j]
            z += x * linear[j]
            if partners.size > 0:
                c = np.uintp(interaction_group[j])
                square = z * 0
                for f in range(width):
                    xv = x * factors[j, f]
                    layers[c, f] += xv
                    square += xv * xv
                if partners[c, c]:
                    z -= half * square
            else:
                for f in range(width):
                    p[f] = x * factors[j, f]
                z += add_feature(interactions, j, p, layers)
        for k in range(blocks.layer.size):
            b, c = np.uintp(blocks.of_row[k, i]), np.uintp(blocks.layer[k]) // np.uintp(width)
            z += blocks.constant[b]
            for f in range(width):
                layers[c, f] += blocks.sums[b, f]
        if partners.size > 0:
            z += half * make_layers(partners, layers, room)
        raw[i] = z
