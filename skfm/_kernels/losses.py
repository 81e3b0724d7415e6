"""Losses of a row as integer codes: value and derivative with respect to the raw output."""

import math

from skfm._kernels._jit import jit

SQUARED_ERROR = 0
LOG_LOSS = 1
SOFTMAX = 2


@jit
def scalar_loss(loss, z, target):
    """Value and derivative of a loss of one output; ``target`` is 0 or 1 for LOG_LOSS."""
    if loss == SQUARED_ERROR:
        residual = z - target
        return residual * residual / 2, residual
    # Everything from exp(-|z|), which cannot overflow.
    t = math.exp(-abs(z))
    value = math.log1p(t) + max(z, z * 0) - target * z
    probability = (1 if z > 0 else t) / (1 + t)
    return value, probability - target


@jit
def softmax_loss(output, row, target, gradient):
    """Cross entropy of one row; writes its derivatives into ``gradient[:, row]``.

    ``output`` and ``gradient`` have shape (n_outputs, n_rows), ``target`` is the class's index.
    """
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
