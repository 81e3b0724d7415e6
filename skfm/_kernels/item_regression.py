"""Regression of many outputs at once on sparse features, by coordinate descent."""

import math

import numpy as np

from skfm._kernels._jit import jit

N_DEVIATIONS = 4.0  # standard deviations above its mean to which the noise is raised


@jit(allocates=True)
def regress(ptr, row, value, size, shrinkage, residual, slopes):
    """Update each feature's ``slopes`` (n_features, n_outputs) in turn, and the ``residual``.

    ``ptr``, ``row`` and ``value`` are the features' columns (CSC), ``size`` their squared lengths.
    The slopes become the least-squares estimates given the other features, times ``shrinkage``.
    """
    n_outputs = slopes.shape[1]
    step = np.empty(n_outputs)
    for j in range(slopes.shape[0]):
        step[:] = 0
        for e in range(np.uintp(ptr[j]), np.uintp(ptr[j + 1])):
            r = np.uintp(row[e])
            for f in range(n_outputs):
                step[f] += value[e] * residual[r, f]
        for f in range(n_outputs):
            step[f] = shrinkage[j] * (slopes[j, f] + step[f] / size[j]) - slopes[j, f]
            slopes[j, f] += step[f]
        for e in range(np.uintp(ptr[j]), np.uintp(ptr[j + 1])):
            r = np.uintp(row[e])
            for f in range(n_outputs):
                residual[r, f] -= value[e] * step[f]


@jit(allocates=True)
def regress_marginal_likelihood(ptr, row, value, residual, slopes, shrinkage, n_sweeps):
    """The same, with ``shrinkage`` estimated for each feature by itself: for few outputs, which do
    not suffice to compare features as adaptive_shrinkage.py does.

    This is sparse Bayesian learning (Tipping, Faul 2003). Given the other features, the
    least-squares estimates ``q`` of a feature have the variance ``s / h`` in each output, where
    ``h`` is the sum of the feature's squared values and ``s`` the noise variance. Under a normal
    prior on the slopes, the marginal likelihood is largest for the prior variance ``|q|^2 /
    n_outputs - s / h``, or 0 if this is negative. The posterior means of the slopes are
    ``shrinkage`` times ``q``.

    The estimate of ``s`` is conservative in three ways. It divides the sum of squared residuals by
    the number of rows less the fitted degrees of freedom, so that more features than rows do no
    harm. It is at least the mean square of the rows with the feature before the feature is fitted,
    so that the effect of a single row is not attributed to its feature. And it is raised by
    N_DEVIATIONS, because many features may be useless: for those, ``|q|^2 h / (n_outputs s)`` has
    the mean 1 and the standard deviation ``sqrt(2 / n_outputs)``.
    """
    n_rows, n_outputs = residual.shape
    gradient = np.empty(n_outputs)
    n_free = n_rows - shrinkage.sum()
    raised = 1 + N_DEVIATIONS * math.sqrt(2 / max(n_outputs, 1))
    for _ in range(n_sweeps):
        total = 0.0
        for r in range(n_rows):
            for f in range(n_outputs):
                total += residual[r, f] * residual[r, f]
        for j in range(slopes.shape[0]):
            size, local_squares = 0.0, 0.0
            gradient[:] = 0
            for e in range(np.uintp(ptr[j]), np.uintp(ptr[j + 1])):
                x, r = value[e], np.uintp(row[e])
                size += x * x
                square = 0.0
                for f in range(n_outputs):
                    before = residual[r, f] + x * slopes[j, f]
                    square += before * before
                    gradient[f] += x * residual[r, f]
                local_squares += x * x * square
            if size == 0:
                continue
            square = 0.0
            for f in range(n_outputs):
                q = slopes[j, f] + gradient[f] / size
                square += q * q
            noise = raised * max(
                max(total, 0.0) / max(n_free + shrinkage[j], 1.0), local_squares / size
            )
            factor = 0.0
            if square * size > noise:
                factor = 1 - noise / (square * size)
            n_free += shrinkage[j] - factor
            shrinkage[j] = factor
            for f in range(n_outputs):
                step = factor * (slopes[j, f] + gradient[f] / size) - slopes[j, f]
                total += step * (step * size - 2 * gradient[f])
                slopes[j, f] += step
                gradient[f] = step
            for e in range(np.uintp(ptr[j]), np.uintp(ptr[j + 1])):
                x, r = value[e], np.uintp(row[e])
                for f in range(n_outputs):
                    residual[r, f] -= x * gradient[f]
