"""Weights of pairs of fields in field-weighted models, as coefficients of a ridge regression.

Given the factors, a row's output is linear in these weights: the coefficient of ``r_cd`` is
``<S_c, S_d>``, where ``S_c`` is the sum of ``x v`` over the features of field c. So the optimum of
all weights, or of a block of them, is a ridge regression on these products.
"""

import numpy as np

from skfm._kernels._jit import jit, jit_inner
from skfm._kernels.normal_equations import solve

CHUNK = 128  # rows of the design matrix at a time: they fit into the L2 cache


@jit(allocates=True)
def gather_products(first, last, source, model, interactions, rows, pairs, gram):
    """Write the Gram matrix of rows ``first:last`` for some pairs of fields.

    ``pairs`` (n, 2) are the fields of each pair. ``gram`` (n, n + 1) gets the weighted sums of the
    products of the coefficients of pairs a and b in ``gram[a, b]``, for ``a <= b``, and of those
    of a and the errors in ``gram[a, n]``.
    """
    n, dtype = pairs.shape[0], rows.sums.dtype
    design = np.zeros((n + 1, CHUNK), dtype)
    sums = np.empty((interactions.n_layers, model.factors.shape[1]), dtype)
    gram[:] = 0
    for start in range(first, last, CHUNK):
        m = min(CHUNK, last - start)
        for t in range(m):
            i = np.uintp(start + t)
            _sum_by_field(i, source, model, interactions, sums)
            root = rows.root[i] if rows.root.size > 0 else sums.dtype.type(1)
            for p in range(n):
                design[p, t] = root * _product(sums, pairs, p)
            design[n, t] = root * rows.error[i]
        for a in range(n):
            for b in range(a, n + 1):
                total = dtype.type(0)
                for t in range(m):
                    total += design[a, t] * design[b, t]
                gram[a, b] += total


@jit(allocates=True)
def add_step(first, last, source, model, interactions, rows, pairs, step):
    """Update the errors of rows ``first:last`` for a ``step`` of the weights of some pairs."""
    sums = np.empty((interactions.n_layers, model.factors.shape[1]), rows.sums.dtype)
    for i in range(np.uintp(first), np.uintp(last)):
        _sum_by_field(i, source, model, interactions, sums)
        for p in range(np.uintp(pairs.shape[0])):
            rows.error[i] += sums.dtype.type(step[p]) * _product(sums, pairs, p)


@jit_inner
def _sum_by_field(i, source, model, interactions, sums):
    """Write a row's sums of ``x v`` over the features of each field."""
    sums[:] = 0
    for e in range(np.uintp(source.indptr[i]), np.uintp(source.indptr[i + np.uintp(1)])):
        j = np.uintp(source.position[np.uintp(source.indices[e])])
        x = (source.data[e] - source.center[j]) * source.inverse_scale[j]
        c = np.uintp(interactions.interaction_group[j])
        for f in range(sums.shape[1]):
            sums[c, f] += x * model.factors[j, f]


@jit_inner
def _product(sums, pairs, p):
    product = sums.dtype.type(0)
    c, d = np.uintp(pairs[p, 0]), np.uintp(pairs[p, 1])
    for f in range(sums.shape[1]):
        product += sums[c, f] * sums[d, f]
    return product


@jit
def solve_step(gram, precision, prior_precision, distance, noise, step):
    """Turn a Gram matrix of `gather_products` into the step of the weights.

    They move to the minimum of ``precision / 2`` times the sum of the weighted squared errors plus
    ``prior_precision / 2`` times the sum of their squared distances from the mean of their prior,
    ``distance`` (n,) before the step. With standard normal ``noise`` (1, n), the step leads to a
    sample; see `normal_equations.solve`.
    """
    n = step.size
    for a in range(n):
        step[a] = -prior_precision * distance[a] - precision * gram[a, n]
        for b in range(a, n):
            gram[a, b] *= precision
        gram[a, a] += prior_precision
    solve(gram, step, n, noise, 0, 0, False)
