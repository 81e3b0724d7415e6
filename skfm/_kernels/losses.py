"""Losses of a row as integer codes: value and derivative with respect to the raw output."""

import math
from typing import NamedTuple

import numpy as np

from skfm._kernels._jit import jit, jit_dispatch, jit_inner

SQUARED_ERROR = 0
LOG_LOSS = 1
SOFTMAX = 2
ABSOLUTE_ERROR = 3
HUBER = 4
QUANTILE = 5
POISSON = 6
SQUARED_HINGE = 7

LARGEST_LOG = 30.0  # beyond it, the exponential of the Poisson loss continues linearly


@jit_inner
def scalar_loss(loss, parameter, z, target):
    """Value and derivative of a loss of one output.

    ``target`` is 0 or 1 for LOG_LOSS and SQUARED_HINGE; ``parameter`` is the epsilon of HUBER or
    the quantile of QUANTILE. POISSON is half the deviance, where ``z`` is the logarithm of the
    mean.
    """
    zero = z * 0
    if loss == SQUARED_ERROR:
        residual = z - target
        return residual * residual / 2, residual
    if loss == LOG_LOSS:
        return log_loss(z, target)
    if loss == SQUARED_HINGE:
        sign = 2 * target - 1
        gap = max(1 - sign * z, zero)
        return gap * gap, -2 * sign * gap
    if loss == POISSON:
        mean = math.exp(min(z, zero + LARGEST_LOG))
        value = mean * (1 + max(z - LARGEST_LOG, zero)) - target
        if target > 0:
            value -= target * (z - math.log(target))
        return value, mean - target
    return _robust_loss(loss, parameter, z - target)


@jit_inner
def log_loss(z, target):
    # All terms are computed from exp(-|z|), which cannot overflow.
    t = math.exp(-abs(z))
    value = math.log1p(t) + max(z, z * 0) - target * z
    probability = (1 if z > 0 else t) / (1 + t)
    return value, probability - target


@jit_inner
def _robust_loss(loss, parameter, residual):
    zero = residual * 0
    if loss == ABSOLUTE_ERROR:
        return abs(residual), zero + (residual > 0) - (residual < 0)
    if loss == QUANTILE:
        slope = zero + (1 - parameter) * (residual > 0) - parameter * (residual < 0)
        return slope * residual, slope
    if loss == HUBER and abs(residual) > parameter:
        value = parameter * (abs(residual) - parameter / 2)
        return value, zero + parameter * ((residual > 0) * 2 - 1)
    return residual * residual / 2, residual


class Loss(NamedTuple):
    """The loss of one output."""

    code: int
    parameter: float


class OneVsRest(NamedTuple):
    """The sum of the losses of several outputs, one for each class against the others."""

    code: int
    parameter: float


class Softmax(NamedTuple):
    """The log loss of several outputs together."""


def make_loss(code, parameter, n_outputs):
    """The named tuple whose type determines what `find_row_loss` computes."""
    if n_outputs == 1:
        return Loss(code, float(parameter))
    return Softmax() if code == SOFTMAX else OneVsRest(code, float(parameter))


@jit_dispatch(forceinline=True)
def find_row_loss(loss, output, row, target, gradient):
    """The loss of one row; writes its derivatives into ``gradient[:, row]``.

    ``output`` and ``gradient`` have the shape (n_outputs, n_rows). If there are several outputs,
    ``target`` is the index of the class.
    """
    raise NotImplementedError


@find_row_loss.register(Loss)
def _loss_of_one(loss, output, row, target, gradient):
    value, gradient[0, row] = scalar_loss(loss.code, loss.parameter, output[0, row], target)
    return value


@find_row_loss.register(OneVsRest)
def _loss_of_each(loss, output, row, target, gradient):
    total = target * 0
    for c in range(output.shape[0]):
        is_class = target * 0 + (target == c)
        value, gradient[c, row] = scalar_loss(loss.code, loss.parameter, output[c, row], is_class)
        total += value
    return total


@find_row_loss.register(Softmax)
def _softmax_loss(loss, output, row, target, gradient):
    return softmax_loss(output, row, target, gradient)


@jit(allocates=True)
def total_loss(loss, output, target, weight):
    """Weighted sum of the losses of raw outputs of shape (n_outputs, n_rows)."""
    total = 0.0
    gradient = np.empty_like(output)
    for r in range(np.uintp(target.size)):
        total += weight[r] * find_row_loss(loss, output, r, target[r], gradient)
    return total


@jit
def constant_loss(loss, parameter, output, target, weight):
    """Weighted sum of the losses if every row has the same output."""
    total = 0.0
    for r in range(target.size):
        value, _ = scalar_loss(loss, parameter, output, target[r])
        total += weight[r] * value
    return total


@jit_inner
def softmax_loss(output, row, target, gradient):
    n_outputs = output.shape[0]
    largest = output[0, row]
    for c in range(1, n_outputs):
        largest = max(largest, output[c, row])
    total = 0.0
    for c in range(n_outputs):
        t = math.exp(output[c, row] - largest)
        gradient[c, row] = t
        total += t
    for c in range(n_outputs):
        gradient[c, row] /= total
    label = int(target)
    gradient[label, row] -= 1
    return math.log(total) + largest - output[label, row]
