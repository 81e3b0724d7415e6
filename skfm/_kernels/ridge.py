"""Many small ridge regressions, one for each row of a sparse matrix, by conjugate gradients."""

import numpy as np

from skfm._kernels._jit import jit, jit_inner

LINE = 64  # bytes of a cache line
PREFETCHED_ENTRIES = 512  # entries whose rows of the design matrix are prefetched together


@jit(allocates=True)
def solve_rows(
    first, last, entries, design, ridge, strength, n_steps, precision, solution, objective
):
    """Improve the solutions of rows ``first:last`` by at most ``n_steps`` steps each.

    The problem of row u is to minimize ``1/2 sum_e w_e (t_e - h_e . x)^2 + 1/2 sum_f d_f x_f^2``
    over the free coordinates of ``x``, where ``h_e`` is the row of ``design`` for the column of
    entry e, and ``d = ridge.fixed + strength[u] * ridge.scaled``. ``entries.values`` holds targets
    of weight 1, or confidences, which are weights of target 1 (Hu, Koren, Volinsky 2008). The
    solution of a row without entries is 0.

    Conjugate gradients start from ``solution[u]``, are preconditioned by the diagonal, and stop
    early when the squared residual has fallen to ``precision`` times its first value (Takacs,
    Pilaszy, Tikk 2011). Each step lowers the objective, whose value is written into
    ``objective[u]``: NaN if values were too large to compute with. A row's result depends on no
    other row.

    The return value has no meaning; see `_prefetch`.
    """
    indptr, indices, values, is_confidence = entries
    fixed, scaled, free = ridge
    width = design.shape[1]
    zero, one, half = design.dtype.type(0), design.dtype.type(1), design.dtype.type(0.5)
    least = design.dtype.type(np.finfo(design.dtype).tiny / np.finfo(design.dtype).eps)
    point = np.empty(width, design.dtype)
    penalty = np.empty(width, design.dtype)
    inverse = np.empty(width, design.dtype)  # of the diagonal; 0 for fixed coordinates
    residual = np.empty(width, design.dtype)
    direction = np.empty(width, design.dtype)
    change = np.empty(width, design.dtype)
    prefetched = zero
    next_entry = np.uintp(indptr[first])
    for u in range(np.uintp(first), np.uintp(last)):
        start, end = np.uintp(indptr[u]), np.uintp(indptr[u + np.uintp(1)])
        if start == end:
            for f in range(width):
                solution[u, f] *= one - free[f]
            objective[u] = 0
            continue
        if next_entry < end:
            stop = max(end, min(next_entry + np.uintp(PREFETCHED_ENTRIES), np.uintp(indptr[last])))
            prefetched = max(prefetched, _prefetch(indices, next_entry, stop, design))
            next_entry = stop
        for f in range(width):
            penalty[f] = fixed[f] + strength[u] * scaled[f]
            inverse[f] = penalty[f]
            point[f] = solution[u, f]
            residual[f] = -penalty[f] * point[f]
        _add_squares(indices, values, start, end, is_confidence, design, inverse)
        for f in range(width):
            inverse[f] = free[f] / inverse[f]
        squares = _add_gradient(
            indices, values, start, end, is_confidence, one, design, point, residual
        )
        shrinkage, product = zero, zero
        for f in range(width):
            shrinkage += free[f] * penalty[f] * point[f] * point[f]
            direction[f] = inverse[f] * residual[f]
            product += residual[f] * direction[f]
        value = half * (squares + shrinkage)
        value += zero * product  # an overflow makes it NaN
        enough = max(precision * product, least)
        for _ in range(n_steps):
            if not product > enough:
                break
            for f in range(width):
                change[f] = -penalty[f] * direction[f]
            _add_gradient(
                indices, values, start, end, is_confidence, zero, design, direction, change
            )
            curvature = zero
            for f in range(width):
                curvature -= direction[f] * change[f]
            value += zero * curvature  # an overflow makes it NaN
            if not curvature > zero:  # the residual is a rounding error
                break
            step = product / curvature
            value -= half * step * product
            last_product = product
            product = zero
            for f in range(width):
                point[f] += step * direction[f]
                residual[f] += step * change[f]
                product += inverse[f] * residual[f] * residual[f]
            momentum = product / last_product
            for f in range(width):
                direction[f] = inverse[f] * residual[f] + momentum * direction[f]
        for f in range(width):
            solution[u, f] = point[f]
        objective[u] = value
    return prefetched


@jit(allocates=True)
def add_squares(first, last, entries, design, total):
    """Add to ``total[u]`` what the entries of row u add to the diagonal of its normal equations.

    Rows whose entries are distributed over several tables need such sums, and `add_gradients`.
    """
    indptr, indices, values, is_confidence = entries
    width = design.shape[1]
    row = np.empty(width, design.dtype)
    for u in range(np.uintp(first), np.uintp(last)):
        for f in range(width):
            row[f] = total[u, f]
        start, end = np.uintp(indptr[u]), np.uintp(indptr[u + np.uintp(1)])
        _add_squares(indices, values, start, end, is_confidence, design, row)
        for f in range(width):
            total[u, f] = row[f]


@jit(allocates=True)
def add_gradients(first, last, entries, design, goal, points, total, squares):
    """Add to ``total[u]`` the descent direction of row u's entries at ``points[u]``, and to
    ``squares[u]`` their weighted squared residuals.

    The targets are multiplied by ``goal``: with 0, the result is minus the product of the normal
    equations and the point.
    """
    indptr, indices, values, is_confidence = entries
    width = design.shape[1]
    row, point = np.empty(width, design.dtype), np.empty(width, design.dtype)
    for u in range(np.uintp(first), np.uintp(last)):
        for f in range(width):
            row[f], point[f] = total[u, f], points[u, f]
        start, end = np.uintp(indptr[u]), np.uintp(indptr[u + np.uintp(1)])
        squares[u] += _add_gradient(
            indices, values, start, end, is_confidence, goal, design, point, row
        )
        for f in range(width):
            total[u, f] = row[f]


@jit_inner
def _prefetch(indices, start, stop, design):
    """Prefetch the rows of the design matrix for some entries.

    The loop is so short that many cache misses overlap. The caller must use the result: otherwise,
    the compiler removes the loop.
    """
    prefetched = design.dtype.type(0)
    n_lines = (design.shape[1] * design.itemsize + LINE - 1) // LINE
    step = LINE // design.itemsize
    for e in range(start, stop):
        row = np.uintp(indices[e])
        for line in range(n_lines):
            prefetched = max(prefetched, design[row, line * step])
    return prefetched


@jit_inner
def _add_squares(indices, values, start, end, is_confidence, design, out):
    """Add ``sum_e w_e h_e^2`` to ``out``. Four entries at a time."""
    width = design.shape[1]
    one = design.dtype.type(1)
    e = start
    while e < end:
        a = np.uintp(indices[e])
        wa = values[e] if is_confidence else one
        if e + np.uintp(4) <= end:
            b, c, d = (
                np.uintp(indices[e + np.uintp(1)]),
                np.uintp(indices[e + np.uintp(2)]),
                np.uintp(indices[e + np.uintp(3)]),
            )
            wb, wc, wd = one, one, one
            if is_confidence:
                wb, wc, wd = (
                    values[e + np.uintp(1)],
                    values[e + np.uintp(2)],
                    values[e + np.uintp(3)],
                )
            for f in range(width):
                out[f] += (
                    wa * design[a, f] * design[a, f]
                    + wb * design[b, f] * design[b, f]
                    + wc * design[c, f] * design[c, f]
                    + wd * design[d, f] * design[d, f]
                )
            e += np.uintp(4)
        else:
            for f in range(width):
                out[f] += wa * design[a, f] * design[a, f]
            e += np.uintp(1)


@jit_inner
def _add_gradient(indices, values, start, end, is_confidence, goal, design, point, out):
    """Add ``sum_e w_e r_e h_e`` to ``out``, ``r_e = goal * t_e - h_e . point``.

    Returns ``sum_e w_e r_e^2``. Four entries at a time.
    """
    width = design.shape[1]
    zero = design.dtype.type(0)
    squares = zero
    e = start
    while e < end:
        a = np.uintp(indices[e])
        va = values[e]
        ra = zero
        if e + np.uintp(4) <= end:
            b, vb = np.uintp(indices[e + np.uintp(1)]), values[e + np.uintp(1)]
            c, vc = np.uintp(indices[e + np.uintp(2)]), values[e + np.uintp(2)]
            d, vd = np.uintp(indices[e + np.uintp(3)]), values[e + np.uintp(3)]
            rb, rc, rd = zero, zero, zero
            for f in range(width):
                ra -= design[a, f] * point[f]
                rb -= design[b, f] * point[f]
                rc -= design[c, f] * point[f]
                rd -= design[d, f] * point[f]
            if is_confidence:
                ra, rb, rc, rd = ra + goal, rb + goal, rc + goal, rd + goal
                squares += va * ra * ra + vb * rb * rb + vc * rc * rc + vd * rd * rd
                ra, rb, rc, rd = va * ra, vb * rb, vc * rc, vd * rd
            else:
                ra, rb, rc, rd = ra + goal * va, rb + goal * vb, rc + goal * vc, rd + goal * vd
                squares += ra * ra + rb * rb + rc * rc + rd * rd
            for f in range(width):
                out[f] += (
                    ra * design[a, f] + rb * design[b, f] + rc * design[c, f] + rd * design[d, f]
                )
            e += np.uintp(4)
        else:
            for f in range(width):
                ra -= design[a, f] * point[f]
            if is_confidence:
                ra += goal
                squares += va * ra * ra
                ra *= va
            else:
                ra += goal * va
                squares += ra * ra
            for f in range(width):
                out[f] += ra * design[a, f]
            e += np.uintp(1)
    return squares
