"""Quadratic upper bounds of losses, which turn the minimization of any loss into least squares.

This is majorization-minimization (Hunter, Lange 2004): a parabola touches the loss at the present
raw output and lies above it elsewhere, so a step that lowers the parabola lowers the loss.
"""

import math

import numpy as np

from skfm._kernels._jit import jit, jit_inner
from skfm._kernels.losses import (
    ABSOLUTE_ERROR,
    HUBER,
    LARGEST_LOG,
    LOG_LOSS,
    POISSON,
    QUANTILE,
    SOFTMAX,
    SQUARED_HINGE,
    scalar_loss,
)

LEAST_ERROR = 1e-3  # of absolute errors: the curvatures of smaller ones are limited to that


@jit
def quadratic_upper_bounds(loss, parameter, boost, output, raw, target, weight, error, root):
    """Bound each row's loss by a parabola that touches it at the present raw output.

    ``error`` becomes the parabola's slope at the present output, divided by its curvature, and
    ``root``, unless it is empty, the square root of its weighted curvature. ``raw`` has the shape
    (n_outputs, n_rows); the bound is a function of one output while the others are fixed.

    The bounds hold everywhere, except that of POISSON. Curvatures are multiplied by ``boost``,
    which makes steps shorter.
    """
    n_outputs = raw.shape[0]
    zero = raw.dtype.type(0)
    for i in range(np.uintp(target.size)):
        z = raw[output, i]
        y = target[i]
        code = loss
        if n_outputs > 1:
            y = zero + (y == output)
            if loss == SOFTMAX:  # the log loss of this output against log-sum-exp of the others
                z -= _log_sum_of_others(raw, output, i)
                code = LOG_LOSS
        _, slope = scalar_loss(code, parameter, z, y)
        curvature = _curvature(code, parameter, z, y) * boost
        error[i] = slope / curvature
        if root.size > 0:
            w = weight[i] if weight.size > 0 else zero + 1
            root[i] = math.sqrt(w * curvature)


@jit_inner
def _log_sum_of_others(raw, output, i):
    largest = raw.dtype.type(-np.inf)
    for c in range(raw.shape[0]):
        if c != output:
            largest = max(largest, raw[c, i])
    total = raw.dtype.type(0)
    for c in range(raw.shape[0]):
        if c != output:
            total += math.exp(raw[c, i] - largest)
    return largest + math.log(total)


@jit_inner
def _curvature(loss, parameter, z, y):
    one = z * 0 + 1
    if loss == LOG_LOSS:
        # The flattest bound, which touches the loss at z and -z (Jaakkola, Jordan 2000).
        if abs(z) < 1e-2:
            return one / 4 - z * z / 48
        return math.tanh(z / 2) / (2 * z)
    if loss == SQUARED_HINGE:
        return 2 * one
    if loss == HUBER:
        return one * min(1.0, parameter / max(abs(z - y), 1e-30))
    if loss == ABSOLUTE_ERROR:
        return 1 / max(abs(z - y), LEAST_ERROR * one)
    if loss == QUANTILE:
        return 1 / (2 * max(abs(z - y), LEAST_ERROR * one))
    if loss == POISSON:
        mean = math.exp(min(z, LARGEST_LOG * one))
        if y > 0 and abs(mean - y) > 1e-3 * y:
            # The parabola with the same minimum as the loss, but not an upper bound everywhere.
            return (mean - y) / (z - math.log(y)) if z < LARGEST_LOG else mean
        return max(mean, 1e-30 * one)
    return one
