"""Block coordinate descent and Gibbs sampling, one feature (a column) at a time.

A factorization machine is multilinear: its output is linear in the linear weight w and the factors
v of a single feature. A step (dw, dv) changes a row's output by ``x dw + <h, dv>``, where ``h = x
(s - x v)`` and ``s`` is the row's sum of ``x v`` over all features. So the optimum of (w, v) given
all other parameters is a ridge regression on (x, h), and their conditional distribution is the
posterior of a Bayesian linear regression (Rendle 2012). Both are computed for a block of
coordinates at a time. This ``h`` is the one where all pairs interact; interactions.py has the
others.
"""

import numpy as np

from skfm._kernels._jit import jit, jit_inner
from skfm._kernels.field_interactions import (
    change_layers,
    contribution_to_layer,
    make_layers,
    self_square,
)
from skfm._kernels.interactions import add_feature, differentiate_output, update_layers
from skfm._kernels.normal_equations import DAMPING, assemble, solve

BLOCK_SIZE = 16  # factors solved together; larger blocks need fewer sweeps and more arithmetic
CHUNK = 128  # rows of the design matrix that are copied at a time: they fit into the L1 cache
LINE = 64  # bytes of a cache line

ONE, TWO, THREE, FOUR, EIGHT = (np.uintp(n) for n in (1, 2, 3, 4, 8))


@jit(allocates=True)
def update_columns(
    first, last, columns, rows, model, interactions, prior, precision, noise, fit_linear
):
    """Update the columns ``order[first:last]`` one after the other, and the rows' sums and errors.

    The linear weight and the factors ``theta`` of a column become the minimum of ``precision / 2
    sum_i (root_i error_i)^2 + 1/2 sum_c q_c (theta_c - mean_c)^2``, where ``q`` and the means are
    those of `structs.Prior`. With standard normal ``noise`` (n_columns, n_components + 1), they
    are sampled instead, from the density proportional to the exponential of minus this objective.

    Several threads may update columns that share no row. The return value has no meaning, but
    keeps the compiler from removing the code that computes it: see `_prefetch`.
    """
    n_components = model.n_components
    dtype = rows.sums.dtype
    size = min(BLOCK_SIZE, n_components) + 1
    design = np.zeros((size + 5, CHUNK), dtype)
    gram = np.zeros((size + 1, size + 5))
    step = np.zeros(size + 3)
    padded_step = np.zeros(size + 3, dtype)
    contribution = np.zeros(model.factors.shape[1], dtype)
    # Not for samples: their priors regularize, and a damped diagonal would bias their variance.
    rounding = 0.0 if noise.size > 0 else DAMPING * np.finfo(dtype).eps
    prefetched = dtype.type(0)
    for k in range(first, last):
        j = np.uintp(columns.order[k])
        start = np.int64(0)  # always of the same type: otherwise, callees are compiled twice
        with_linear = fit_linear
        if interactions is not None:
            with_linear = fit_linear and interactions.has_linear[j]
        while start < n_components or with_linear:
            stop = min(start + BLOCK_SIZE, n_components)
            span = start, stop, with_linear
            v, layer = model.factors[j], np.uintp(0)
            if interactions is not None and interactions.partners.size > 0:
                c = np.uintp(interactions.interaction_group[j])
                layer = c * np.uintp(v.size)
                contribution_to_layer(interactions.kind, interactions.partners, c, v, contribution)
                v = contribution
            found = compute_gram(columns, rows, v, layer, interactions, j, span, design, gram)
            prefetched = max(prefetched, found)
            assemble(model, prior, precision, rounding, j, start, stop, with_linear, gram, step)
            n = np.int64(stop - start + with_linear)
            solve(gram, step, n, noise, j, start, with_linear)
            linear_step = dtype.type(step[n - 1] if with_linear else 0)
            for c in range(padded_step.size):
                padded_step[c] = step[c] if c < stop - start else 0
            if interactions is None:
                _move(columns, rows, model, j, start, stop, padded_step, linear_step)
            elif interactions.partners.size > 0:
                _move_pairs(
                    interactions,
                    contribution,
                    columns,
                    rows,
                    model,
                    j,
                    start,
                    stop,
                    padded_step,
                    linear_step,
                )
            else:
                _move_general(
                    interactions, columns, rows, model, j, start, stop, padded_step, linear_step
                )
            start = stop
            with_linear = False
    return prefetched


@jit_inner
def compute_gram(columns, rows, v, layer, interactions, j, span, design, gram):
    """Compute the upper triangle of the Gram matrix of a column's ridge regression.

    Its coordinates are those of the factors ``start:stop``, of the linear weight if
    ``with_linear``, and last the error: ``gram[a, b]`` is the sum of their products over the
    column's rows. ``v`` are the column's factors as the rows' layers contain them, and ``layer``
    is where the layer begins in a row's sums. ``design`` is scratch space for the design matrix of
    some rows, one row of ``design`` for each coordinate.
    """
    start, stop, with_linear = span
    n_factors = np.uintp(stop - start)
    n = n_factors + np.uintp(with_linear)
    for a in range(n):
        for b in range(a, n + FOUR):
            gram[a, b] = 0
    e, end = np.uintp(columns.ptr[j]), np.uintp(columns.ptr[j + ONE])
    prefetched = design[0, 0] * 0
    while e < end:
        m = min(np.uintp(CHUNK), end - e)
        prefetched = max(
            prefetched, _prefetch(columns.row, e, e + m, rows, layer + np.uintp(start))
        )
        filled = (m + np.uintp(7)) // EIGHT * EIGHT
        part = np.uintp(start), n_factors, n, e, m, filled
        if interactions is None or interactions.partners.size > 0:
            _gather(columns, rows, v, layer, part, design)
        else:
            _gather_general(columns, rows, v, interactions, j, part, design)
        for a in range(n):
            b = a
            while b < n + ONE:
                p = design[0, 0] * 0
                q, r, s = p, p, p
                for t in range(filled):
                    x = design[a, t]
                    p += x * design[b, t]
                    q += x * design[b + ONE, t]
                    r += x * design[b + TWO, t]
                    s += x * design[b + THREE, t]
                gram[a, b] += p
                gram[a, b + ONE] += q
                gram[a, b + TWO] += r
                gram[a, b + THREE] += s
                b += FOUR
        e += m
    return prefetched


@jit_inner
def _prefetch(row, start, stop, rows, first):
    """Prefetch the sums and errors of some rows, in loops so short that many cache misses overlap.

    The caller must use the result: otherwise, the compiler removes the loops.
    """
    sums, error = rows.sums, rows.error
    prefetched = sums.dtype.type(0)
    line = LINE // sums.itemsize
    for f in range(
        first, min(first + np.uintp(BLOCK_SIZE), np.uintp(sums.shape[1])), np.uintp(line)
    ):
        for e in range(start, stop):
            prefetched = max(prefetched, sums[np.uintp(row[e]), np.uintp(f)])
    for e in range(start, stop):
        prefetched = max(prefetched, error[np.uintp(row[e])])
    return prefetched


@jit_inner
def _gather(columns, rows, v, layer, part, design):
    """Write the weighted design matrix of a column's entries ``e:e + m``.

    Its rows are the coordinates ``h`` of the factors, then ``x``, then in row ``n`` the errors,
    all multiplied by the square roots of the weights and padded with zeros. The loops take four
    entries and four factors at a time, which compiles to faster code than a plain loop.
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
            design[f, t], design[f, t + ONE] = pa, pb
            design[f, t + TWO], design[f, t + THREE] = pc, pd
            design[f + ONE, t], design[f + ONE, t + ONE] = qa, qb
            design[f + ONE, t + TWO], design[f + ONE, t + THREE] = qc, qd
            design[f + TWO, t], design[f + TWO, t + ONE] = ra_, rb_
            design[f + TWO, t + TWO], design[f + TWO, t + THREE] = rc_, rd_
            design[f + THREE, t], design[f + THREE, t + ONE] = sa, sb
            design[f + THREE, t + TWO], design[f + THREE, t + THREE] = sc, sd
        # The coordinate of the linear weight; without that, the errors overwrite it.
        design[n_factors, t], design[n_factors, t + ONE] = ka, kb
        design[n_factors, t + TWO], design[n_factors, t + THREE] = kc, kd
        design[n, t], design[n, t + ONE] = ra * error[a], rb * error[b]
        design[n, t + TWO], design[n, t + THREE] = rc * error[c], rd * error[d]


@jit_inner(allocates=True)
def _gather_general(columns, rows, v, interactions, j, part, design):
    """As `_gather`, for degrees higher than 2; one row at a time."""
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
            design[f, t] = k * x * slopes[start + f]
        design[n_factors, t] = k * x
        design[n, t] = k * rows.error[i]
    for a in range(n + ONE):
        for t in range(m, filled):
            design[a, t] = 0


@jit_inner
def _move(columns, rows, model, j, start, stop, step, linear_step):
    """Add a step to a column's parameters, and update the sums and errors of its rows.

    The loops take four factors at a time; ``step`` is padded with zeros.
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
def _move_pairs(
    interactions, contribution, columns, rows, model, j, start, stop, step, linear_step
):
    """As `_move`, for interaction groups; see `contribution_to_layer`."""
    row, value = columns.row, columns.value
    sums, error = rows.sums, rows.error
    v = model.factors[j]
    width = np.uintp(v.size)
    first, n_factors = np.uintp(start), np.uintp(stop - start)
    c = np.uintp(interactions.interaction_group[j])
    base = c * width + first
    for e in range(np.uintp(columns.ptr[j]), np.uintp(columns.ptr[j + ONE])):
        i = np.uintp(row[e])
        x = sums.dtype.type(1) if value.size == 0 else value[e]
        change = linear_step
        for f in range(n_factors):
            change += (sums[i, base + f] - x * contribution[first + f]) * step[f]
        error[i] += x * change
    change_layers(
        interactions.kind, interactions.partners, c, j, columns, sums, model, first, stop, step
    )
    for f in range(n_factors):
        v[first + f] += step[f]
    model.linear[j] += linear_step


@jit_inner(allocates=True)
def _move_general(interactions, columns, rows, model, j, start, stop, step, linear_step):
    """As `_move`, for degrees higher than 2."""
    value = columns.value
    v = model.factors[j]
    width = v.size
    one = v.dtype.type(1)
    layers = rows.sums.reshape(rows.sums.shape[0], interactions.n_layers, width)
    p, slopes, change_of_p = (
        np.empty(width, v.dtype),
        np.empty(width, v.dtype),
        np.empty(width, v.dtype),
    )
    for e in range(np.uintp(columns.ptr[j]), np.uintp(columns.ptr[j + ONE])):
        i = np.uintp(columns.row[e])
        x = one if value.size == 0 else value[e]
        for f in range(start, stop):
            p[f] = x * v[f]
            change_of_p[f] = x * step[f - start]
        differentiate_output(interactions, j, p, one, layers[i], start, stop, slopes)
        change = x * linear_step
        for f in range(start, stop):
            change += change_of_p[f] * slopes[f]
        update_layers(interactions, j, p, change_of_p, layers[i], start, stop, slopes)
        rows.error[i] += change
    for f in range(start, stop):
        v[f] += step[f - start]
    model.linear[j] += linear_step


@jit
def sum_rows(first, last, source, blocks, model, interactions, intercept, sums, raw):
    """Compute layers and raw outputs of rows ``first:last``.

    If all pairs interact, the only layer is ``sum_j x_j v_j``. ``source`` is a `ScaledRows`. The
    sums of the relation blocks must be up to date; see relation_blocks.py.
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
    p, group_sums = (
        np.empty(width, sums.dtype),
        np.empty((interactions.n_layers, width), sums.dtype),
    )
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
                    p[f] = x * factors[j, f]
                    layers[c, f] += p[f]
                    square += p[f] * p[f]
                z -= half * self_square(interactions.kind, partners, c, p, square)
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
            pairs = model.field_pairs
            z += half * make_layers(interactions.kind, partners, pairs, layers, group_sums)
        raw[i] = z
