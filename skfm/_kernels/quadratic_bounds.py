"""Quadratic upper bounds of losses: what least squares can minimise."""

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

LEAST_ERROR = 1e-3  # smaller absolute errors are bounded as this one: curvatures stay finite


@jit
def quadratic_upper_bounds(loss, parameter, boost, output, raw, target, weight, error, root):
    """Bound each row's loss by a parabola that touches it at the present raw output.

    Writes its slope there, divided by its curvature, into ``error``, and the square root of the
    weighted curvature into ``root``, unless that is empty. Of several outputs, (n_outputs,
    n_rows), one is bounded while the others stay fixed.

    The parabolas lie above the loss everywhere, except those of POISSON: a step that lowers them
    lowers the loss. Curvatures are multiplied by ``boost``, which makes steps shorter.
    """
    n_outputs = raw.shape[0]
    zero = raw.dtype.type(0)
    for i in range(np.uintp(target.size)):
        z = raw[output, i]
        y = target[i]
        code = loss
        if n_outputs > 1:
            y = zero + (y == output)
            if loss == SOFTMAX:  # the log loss of this output against all others together
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
        # Jaakkola and Jordan: the flattest parabola above that touches the loss at z and -z.
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
            # The parabola with the same minimum: between the curvatures here and there.
            return (mean - y) / (z - math.log(y)) if z < LARGEST_LOG else mean
        return max(mean, 1e-30 * one)
    return one
