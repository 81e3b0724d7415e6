"""Normal equations of a block of parameters: assembled, then solved or sampled from."""

import math

import numpy as np

from skfm._kernels._jit import jit_inner

# The correlation of a sample with the previous one is minus this number: with 0, sums of
# correlated parameters mix more slowly.
OVERRELAXATION = 0.5
DAMPING = 1000  # relative increase of the diagonal, in machine epsilons
LEAST_PIVOT = 1e-13  # relative to the diagonal; smaller pivots are rounding errors


@jit_inner
def assemble(model, prior, precision, rounding, j, start, stop, with_linear, gram, step):
    """Turn a Gram matrix into the normal equations of the next step: ``gram . x = step``.

    The diagonal is increased by ``rounding``, relatively: without penalties, the step is then
    short instead of arbitrary in directions that the rows do not determine.
    """
    n = stop - start + with_linear
    g = np.uintp(prior.group[j])
    for a in range(n):
        if start + a < stop:
            c = start + a
            theta, scale = model.factors[j, c], prior.factor_scale[j]
        else:
            c = model.n_components
            theta, scale = model.linear[j], prior.linear_scale[j]
        strength = scale * prior.precision[g, c]
        step[a] = strength * (prior.mean[g, c] - theta) - precision * gram[a, n]
        for b in range(a, n):
            gram[a, b] *= precision
        gram[a, a] += strength + rounding * gram[a, a]


@jit_inner
def solve(matrix, step, n, noise, j, start, with_linear):
    """Solve ``matrix x = step`` in place, by a Cholesky decomposition in the upper triangle.

    With noise, the result is a sample from the normal distribution with mean ``x`` and the inverse
    of the matrix as covariance. The sample is overrelaxed: negatively correlated with the previous
    one, which is the point 0 (Adler 1981). Linearly dependent coordinates do not move.
    """
    for a in range(n):
        diagonal = matrix[a, a]
        for b in range(a, n):
            s = matrix[a, b]
            for c in range(a):
                s -= matrix[c, a] * matrix[c, b]
            matrix[a, b] = s
        pivot = matrix[a, a]
        if pivot > LEAST_PIVOT * diagonal:
            inverse = 1 / math.sqrt(pivot)
            value = step[a]
            for c in range(a):
                value -= matrix[c, a] * step[c]
            step[a] = value * inverse
            matrix[a, a] = inverse
            for b in range(a + 1, n):
                matrix[a, b] *= inverse
        else:
            for b in range(a, n):
                matrix[a, b] = 0
            step[a] = 0
    for a in range(n - 1, -1, -1):
        value = step[a]
        if noise.size > 0:
            is_linear = with_linear and a == n - 1
            z = noise[j, noise.shape[1] - 1 if is_linear else start + a]
            value = (1 + OVERRELAXATION) * value + math.sqrt(1 - OVERRELAXATION**2) * z
        for b in range(a + 1, n):
            value -= matrix[a, b] * step[b]
        step[a] = value * matrix[a, a]
