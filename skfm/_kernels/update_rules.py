"""Update rules: how a gradient moves a parameter.

A rule is a named tuple of its settings. Its type determines which functions are compiled.

Each batch updates the linear weights and the factors of its features by the gradient of the loss,
summed over the batch, plus a share of the penalty's gradient. ``weight`` is the total weight of
the batch's rows with the feature. The columns of ``penalty`` hold the penalties for each unit of
this weight: ridge of the linear weight, ridge of the factors, lasso of the linear weight, group
lasso of the factors.

The state that a rule keeps for a parameter is in the slots after the parameter itself:

========  =================================================  ==================================
rule      linear                                             factors
========  =================================================  ==================================
AdaGrad   sum of squared gradients                           sums of squared gradients
SGD
Adam      first and second moment, number of steps           first and second moments
FTRL      z, sum of squared gradients, weight of the rows    z
          seen; for the factors: one sum of squared
          gradients, the mean over the components
========  =================================================  ==================================

FTRL's z is the one of McMahan et al. 2013 plus a multiple of the parameter; see `ftrl`.
"""

import math
from typing import NamedTuple

import numpy as np

from skfm._kernels._jit import jit_dispatch, jit_inner

# 1 - beta_1, 1 - beta_2 and epsilon of Kingma, Ba 2015.
ADAM_CONSTANTS = (0.1, 0.001, 1e-8)


class AdaGrad(NamedTuple):
    """Duchi, Hazan, Singer 2011.

    The sum of squared gradients starts at ``initial_accumulator``. With a small one, the first
    step is the full learning rate whatever the gradient is; with a large one, a gradient step.
    """

    learning_rate: float
    initial_accumulator: float


class SGD(NamedTuple):
    learning_rate: float


class Adam(NamedTuple):
    """Kingma, Ba 2015."""

    learning_rate: float


class FTRL(NamedTuple):
    """FTRL-proximal (McMahan et al. 2013)."""

    learning_rate: float
    initial_accumulator: float
    n_components: int  # without padding


class GradientsOnly(NamedTuple):
    """No update: the slots receive the gradients of the batch.

    Those of several batches are added up and moved by another rule later; see synchronous.py. They
    contain no penalty, except that of parameters of pairs of fields.
    """


# The slots of a linear weight, which are also those of the intercept, and of a factor: first the
# parameter itself. Four other names mean something to the solvers. "squares" are of gradients
# ("factor_squares", if the factors of a feature share one slot): sums, or moving averages if the
# rule has "n_steps". "mean" is a moving average of gradients.
LINEAR_SLOTS = {
    AdaGrad: ("weight", "squares"),
    SGD: ("weight",),
    Adam: ("weight", "mean", "squares", "n_steps"),
    FTRL: ("weight", "z", "squares", "weight_seen", "factor_squares"),
    GradientsOnly: ("weight", "slope", "weight_of_rows"),
}
FACTOR_SLOTS = {
    AdaGrad: ("factor", "squares"),
    SGD: ("factor",),
    Adam: ("factor", "mean", "squares"),
    FTRL: ("factor", "z"),
    GradientsOnly: ("factor", "slope"),
}


@jit_inner
def adagrad(value, slope, squares, rate, initial):
    """The new value and the new sum of squares."""
    squares += slope * slope
    return value - rate * slope / math.sqrt(initial + squares), squares


@jit_inner
def adam(value, slope, mean, square, rate, constants):
    """The new value and the new moments; ``rate`` includes their bias correction.

    ``constants`` are `ADAM_CONSTANTS`, in the dtype of the other arguments.
    """
    decay, square_decay, tiny = constants
    mean += (slope - mean) * decay
    square += (slope * slope - square) * square_decay
    return value - rate * mean / (math.sqrt(square) + tiny), mean, square


@jit_inner
def ftrl(value, slope, z, squares, rate, initial, ridge, lasso):
    """The new value, the new z and the new sum of squares.

    The new value minimizes the sum of all linearized losses so far, proximal terms around all
    values so far and the penalty ``lasso |value| + ridge / 2 value^2``, which is that of all rows
    with the feature so far. ``z`` is McMahan's z plus ``stiffness * value``: 0 at the start,
    whatever the initial value is, and later minus the penalty's gradient where the value is not 0.
    """
    squares += slope * slope
    stiffness = math.sqrt(initial + squares) / rate
    target = stiffness * value - z - slope
    value = _soft_threshold(abs(target), lasso) / (stiffness + ridge)
    if target < 0:
        value = -value
    return value, stiffness * value - target, squares


@jit_dispatch
def move_intercept(update, slots, slope, weight):
    """Update ``slots``, the intercept's, in place; it has no penalty."""
    raise NotImplementedError


@jit_dispatch
def move(update, features, feature_sums, local, linear, factors, fit_linear):
    """Update the parameters of some of a batch's features.

    ``features`` is (feature, first, last, start, base). The features to update are
    ``feature[first:last]`` in ``linear`` and ``factors``. They are consecutive in ``local``, whose
    first feature is ``feature[start]``, and in ``feature_sums``, from row ``base`` on.
    """
    raise NotImplementedError


@move_intercept.register(AdaGrad)
def _adagrad_intercept(update, slots, slope, weight):
    slots[0], slots[1] = adagrad(
        slots[0], slope, slots[1], update.learning_rate, update.initial_accumulator
    )


@move.register(AdaGrad)
def _move_adagrad(update, features, feature_sums, local, linear, factors, fit_linear):
    feature, first, last, start, base = features
    kind = factors.dtype.type
    rate, initial = kind(update.learning_rate), kind(update.initial_accumulator)
    local_factors, local_linear, penalty = local.factors, local.linear, local.penalty
    total = feature_sums.total
    for n in range(np.uintp(last - first)):
        i, j, b = np.uintp(first - start) + n, np.uintp(feature[first + n]), np.uintp(base) + n
        weight = feature_sums.weight[b]
        if fit_linear:
            w = local_linear[i, 0]
            slope = feature_sums.slope[b] + weight * penalty[i, 0] * w
            linear[j, 0], linear[j, 1] = adagrad(w, slope, local_linear[i, 1], rate, initial)
        shrink = weight * penalty[i, 1] - feature_sums.curve[b]
        for f in range(factors.shape[2]):
            v = local_factors[i, 0, f]
            slope = total[b, f] + shrink * v
            factors[j, 0, f], factors[j, 1, f] = adagrad(
                v, slope, local_factors[i, 1, f], rate, initial
            )


@move_intercept.register(SGD)
def _sgd_intercept(update, slots, slope, weight):
    slots[0] -= update.learning_rate / _gradient_divisor(weight) * slope


@move.register(SGD)
def _move_sgd(update, features, feature_sums, local, linear, factors, fit_linear):
    """A gradient step of the loss, then a proximal step of the penalty, which is stable however
    large the penalty is."""
    feature, first, last, start, base = features
    kind = factors.dtype.type
    local_factors, local_linear, penalty = local.factors, local.linear, local.penalty
    total = feature_sums.total
    for n in range(np.uintp(last - first)):
        i, j, b = np.uintp(first - start) + n, np.uintp(feature[first + n]), np.uintp(base) + n
        weight = feature_sums.weight[b]
        rate = kind(update.learning_rate) / _gradient_divisor(weight)
        if fit_linear:
            w = local_linear[i, 0]
            moved = w - rate * feature_sums.slope[b]
            linear[j, 0] = moved / (kind(1) + rate * weight * penalty[i, 0])
        shrinkage = kind(1) / (kind(1) + rate * weight * penalty[i, 1])
        curve = feature_sums.curve[b]
        for f in range(factors.shape[2]):
            v = local_factors[i, 0, f]
            factors[j, 0, f] = shrinkage * (v - rate * (total[b, f] - curve * v))


@move_intercept.register(Adam)
def _adam_intercept(update, slots, slope, weight):
    slots[3] += 1
    rate = update.learning_rate * _bias_correction(slots[3])
    slots[0], slots[1], slots[2] = adam(slots[0], slope, slots[1], slots[2], rate, ADAM_CONSTANTS)


@move.register(Adam)
def _move_adam(update, features, feature_sums, local, linear, factors, fit_linear):
    """Lazily updated moments: they and the number of steps change only in batches with the
    feature."""
    feature, first, last, start, base = features
    kind = factors.dtype.type
    constants = (kind(ADAM_CONSTANTS[0]), kind(ADAM_CONSTANTS[1]), kind(ADAM_CONSTANTS[2]))
    local_factors, local_linear, penalty = local.factors, local.linear, local.penalty
    total = feature_sums.total
    for n in range(np.uintp(last - first)):
        i, j, b = np.uintp(first - start) + n, np.uintp(feature[first + n]), np.uintp(base) + n
        weight = feature_sums.weight[b]
        n_steps = local_linear[i, 3] + kind(1)
        linear[j, 3] = n_steps
        rate = kind(update.learning_rate * _bias_correction(n_steps))
        if fit_linear:
            w = local_linear[i, 0]
            slope = feature_sums.slope[b] + weight * penalty[i, 0] * w
            linear[j, 0], linear[j, 1], linear[j, 2] = adam(
                w, slope, local_linear[i, 1], local_linear[i, 2], rate, constants
            )
        shrink = weight * penalty[i, 1] - feature_sums.curve[b]
        for f in range(factors.shape[2]):
            v = local_factors[i, 0, f]
            slope = total[b, f] + shrink * v
            factors[j, 0, f], factors[j, 1, f], factors[j, 2, f] = adam(
                v, slope, local_factors[i, 1, f], local_factors[i, 2, f], rate, constants
            )


@move_intercept.register(FTRL)
def _ftrl_intercept(update, slots, slope, weight):
    slots[0], slots[1], slots[2] = ftrl(
        slots[0],
        slope,
        slots[1],
        slots[2],
        update.learning_rate,
        update.initial_accumulator,
        0.0,
        0.0,
    )


@move.register(FTRL)
def _move_ftrl(update, features, feature_sums, local, linear, factors, fit_linear):
    """The factors of a feature share one sum of squared gradients, the mean over its components,
    and a group lasso."""
    feature, first, last, start, base = features
    kind = factors.dtype.type
    zero = kind(0)
    rate, initial = kind(update.learning_rate), kind(update.initial_accumulator)
    n_components = kind(max(update.n_components, 1))
    local_factors, local_linear, penalty = local.factors, local.linear, local.penalty
    has_lasso = penalty.shape[1] > 2
    target = feature_sums.total
    for n in range(np.uintp(last - first)):
        i, j, b = np.uintp(first - start) + n, np.uintp(feature[first + n]), np.uintp(base) + n
        weight = local_linear[i, 3] + feature_sums.weight[b]
        linear[j, 3] = weight
        if fit_linear:
            linear[j, 0], linear[j, 1], linear[j, 2] = ftrl(
                local_linear[i, 0],
                feature_sums.slope[b],
                local_linear[i, 1],
                local_linear[i, 2],
                rate,
                initial,
                weight * penalty[i, 0],
                weight * penalty[i, 2] if has_lasso else zero,
            )
        curve = feature_sums.curve[b]
        squares = zero
        for f in range(factors.shape[2]):
            slope = target[b, f] - curve * local_factors[i, 0, f]
            squares += slope * slope
        squares = local_linear[i, 4] + squares / n_components
        linear[j, 4] = squares
        stiffness = math.sqrt(initial + squares) / rate
        length = zero
        for f in range(factors.shape[2]):
            goal = (
                (stiffness + curve) * local_factors[i, 0, f]
                - local_factors[i, 1, f]
                - target[b, f]
            )
            target[b, f] = goal
            length += goal * goal
        length = math.sqrt(length)
        lasso = weight * penalty[i, 3] if has_lasso else zero
        scale = zero
        if length > 0:
            scale = _soft_threshold(length, lasso) / (
                length * (stiffness + weight * penalty[i, 1])
            )
        for f in range(factors.shape[2]):
            goal = target[b, f]
            factors[j, 0, f] = scale * goal
            factors[j, 1, f] = stiffness * scale * goal - goal


@move_intercept.register(GradientsOnly)
def _keep_intercept_gradient(update, slots, slope, weight):
    slots[1], slots[2] = slope, weight


@move.register(GradientsOnly)
def _keep_gradients(update, features, feature_sums, local, linear, factors, fit_linear):
    feature, first, last, start, base = features
    total, local_factors = feature_sums.total, local.factors
    for n in range(np.uintp(last - first)):
        i, j, b = np.uintp(first - start) + n, np.uintp(feature[first + n]), np.uintp(base) + n
        linear[j, 1], linear[j, 2] = feature_sums.slope[b], feature_sums.weight[b]
        curve = feature_sums.curve[b]
        for f in range(factors.shape[2]):
            factors[j, 1, f] = total[b, f] - curve * local_factors[i, 0, f]


@jit_inner
def _soft_threshold(length, by):
    return max(length - by, length * 0)


@jit_inner
def _gradient_divisor(weight):
    """The divisor of summed gradients in SGD, the square root of the weight: the rows of a batch
    are correlated, so the step grows more slowly than their number."""
    return math.sqrt(max(weight, weight * 0 + 1))


@jit_inner
def _bias_correction(n_steps):
    """The factor of the learning rate that corrects the bias of both moments (Kingma, Ba 2015)."""
    beta_1, beta_2 = 1 - ADAM_CONSTANTS[0], 1 - ADAM_CONSTANTS[1]
    return math.sqrt(1 - beta_2**n_steps) / (1 - beta_1**n_steps)
