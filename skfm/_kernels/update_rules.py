"""Update rules: how a gradient moves a parameter.

A rule is a record of its settings, whose type chooses the functions that are compiled.

A feature's linear weight and factors are moved together, after each batch that has the feature,
by the gradient of the loss, summed over the batch, and by a share of the penalty. ``weight`` is
the batch's weight with the feature; ``share[i]`` holds the penalties for each unit of it: ridge
of the linear weight, ridge of the factors, lasso of the linear weight, group lasso of the factors.

What a rule remembers of a parameter is in the slots after the parameter's own:

========  =====================================  ==============================
rule      linear                                 factors
========  =====================================  ==============================
AdaGrad   sum of squares                         sums of squares
SGD
Adam      mean, mean of squares, steps           means, means of squares
FTRL      pull, sum of squares, weight; mean     pulls
          sum of squares of the factors
========  =====================================  ==============================
"""

import math
from typing import NamedTuple

import numpy as np

from skfm._kernels._jit import jit_dispatch, jit_inner

# 1 - beta_1, 1 - beta_2 and epsilon.
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


# The slots of a linear weight, which are also those of the intercept, and of a factor: first the
# parameter itself. Four other names mean something to the solvers. "squares" are of gradients
# ("factor_squares", if the factors of a feature share one slot): sums, or moving averages if the
# rule has "n_steps". "mean" is a moving average of gradients.
LINEAR_SLOTS = {
    AdaGrad: ("weight", "squares"),
    SGD: ("weight",),
    Adam: ("weight", "mean", "squares", "n_steps"),
    FTRL: ("weight", "z", "squares", "weight_seen", "factor_squares"),
}
FACTOR_SLOTS = {
    AdaGrad: ("factor", "squares"),
    SGD: ("factor",),
    Adam: ("factor", "mean", "squares"),
    FTRL: ("factor", "z"),
}


@jit_inner
def adagrad(value, slope, squares, rate, initial):
    """The new value and the new sum of squares."""
    squares += slope * slope
    return value - rate * slope / math.sqrt(initial + squares), squares


@jit_inner
def adam(value, slope, mean, square, rate, constants):
    """The new value and the new means; ``rate`` corrects their bias.

    ``constants`` are `ADAM_CONSTANTS`, in the type of the rest.
    """
    decay, square_decay, tiny = constants
    mean += (slope - mean) * decay
    square += (slope * slope - square) * square_decay
    return value - rate * mean / (math.sqrt(square) + tiny), mean, square


@jit_inner
def ftrl(value, slope, pull, squares, rate, initial, ridge, lasso):
    """The new value, pull and sum of squares.

    ``ridge`` and ``lasso`` are the penalties for all of the feature's occurrences so far; the pull
    is what their slope and the value have not settled yet, so it starts at 0 wherever the value
    does.
    """
    squares += slope * slope
    stiffness = math.sqrt(initial + squares) / rate
    aim = stiffness * value - pull - slope
    value = _shrunk(abs(aim), lasso) / (stiffness + ridge)
    if aim < 0:
        value = -value
    return value, stiffness * value - aim, squares


@jit_dispatch
def move_intercept(update, slots, slope, weight):
    """Update ``slots``, the intercept's, in place; it has no penalty."""
    raise NotImplementedError


@jit_dispatch
def move(update, features, feature_sums, local, linear, factors, fit_linear):
    """Update the parameters of some of a batch's features.

    ``features`` is (feature, first, last, start, base): they are ``feature[first:last]`` in
    ``linear`` and ``factors``. In ``local``, which begins with feature ``start``, and in
    ``feature_sums``, from ``base`` on, they are consecutive.
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
    near, near_linear, penalty = local.factors, local.linear, local.penalty
    total = feature_sums.total
    for n in range(np.uintp(last - first)):
        i, j, b = np.uintp(first - start) + n, np.uintp(feature[first + n]), np.uintp(base) + n
        weight = feature_sums.weight[b]
        if fit_linear:
            w = near_linear[i, 0]
            slope = feature_sums.slope[b] + weight * penalty[i, 0] * w
            linear[j, 0], linear[j, 1] = adagrad(w, slope, near_linear[i, 1], rate, initial)
        shrink = weight * penalty[i, 1] - feature_sums.curve[b]
        for f in range(factors.shape[2]):
            v = near[i, 0, f]
            slope = total[b, f] + shrink * v
            factors[j, 0, f], factors[j, 1, f] = adagrad(v, slope, near[i, 1, f], rate, initial)


@move_intercept.register(SGD)
def _sgd_intercept(update, slots, slope, weight):
    slots[0] -= update.learning_rate / _crowd(weight) * slope


@move.register(SGD)
def _move_sgd(update, features, feature_sums, local, linear, factors, fit_linear):
    """The loss takes a step, then the penalty an implicit one: no stiffness makes that diverge."""
    feature, first, last, start, base = features
    kind = factors.dtype.type
    near, near_linear, penalty = local.factors, local.linear, local.penalty
    total = feature_sums.total
    for n in range(np.uintp(last - first)):
        i, j, b = np.uintp(first - start) + n, np.uintp(feature[first + n]), np.uintp(base) + n
        weight = feature_sums.weight[b]
        rate = kind(update.learning_rate) / _crowd(weight)
        if fit_linear:
            w = near_linear[i, 0]
            moved = w - rate * feature_sums.slope[b]
            linear[j, 0] = moved / (kind(1) + rate * weight * penalty[i, 0])
        shrinkage = kind(1) / (kind(1) + rate * weight * penalty[i, 1])
        curve = feature_sums.curve[b]
        for f in range(factors.shape[2]):
            v = near[i, 0, f]
            factors[j, 0, f] = shrinkage * (v - rate * (total[b, f] - curve * v))


@move_intercept.register(Adam)
def _adam_intercept(update, slots, slope, weight):
    slots[3] += 1
    rate = update.learning_rate * _adam_factor(slots[3])
    slots[0], slots[1], slots[2] = adam(slots[0], slope, slots[1], slots[2], rate, ADAM_CONSTANTS)


@move.register(Adam)
def _move_adam(update, features, feature_sums, local, linear, factors, fit_linear):
    """Lazy Adam: moments and the number of steps change only in batches that have the feature."""
    feature, first, last, start, base = features
    kind = factors.dtype.type
    constants = (kind(ADAM_CONSTANTS[0]), kind(ADAM_CONSTANTS[1]), kind(ADAM_CONSTANTS[2]))
    near, near_linear, penalty = local.factors, local.linear, local.penalty
    total = feature_sums.total
    for n in range(np.uintp(last - first)):
        i, j, b = np.uintp(first - start) + n, np.uintp(feature[first + n]), np.uintp(base) + n
        weight = feature_sums.weight[b]
        n_steps = near_linear[i, 3] + kind(1)
        linear[j, 3] = n_steps
        rate = kind(update.learning_rate * _adam_factor(n_steps))
        if fit_linear:
            w = near_linear[i, 0]
            slope = feature_sums.slope[b] + weight * penalty[i, 0] * w
            linear[j, 0], linear[j, 1], linear[j, 2] = adam(
                w, slope, near_linear[i, 1], near_linear[i, 2], rate, constants
            )
        shrink = weight * penalty[i, 1] - feature_sums.curve[b]
        for f in range(factors.shape[2]):
            v = near[i, 0, f]
            slope = total[b, f] + shrink * v
            factors[j, 0, f], factors[j, 1, f], factors[j, 2, f] = adam(
                v, slope, near[i, 1, f], near[i, 2, f], rate, constants
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
    """All factors of a feature share one sum of squares, the mean of theirs, and one lasso."""
    feature, first, last, start, base = features
    kind = factors.dtype.type
    zero = kind(0)
    rate, initial = kind(update.learning_rate), kind(update.initial_accumulator)
    n_components = kind(max(update.n_components, 1))
    near, near_linear, penalty = local.factors, local.linear, local.penalty
    has_lasso = penalty.shape[1] > 2
    aim = feature_sums.total
    for n in range(np.uintp(last - first)):
        i, j, b = np.uintp(first - start) + n, np.uintp(feature[first + n]), np.uintp(base) + n
        weight = near_linear[i, 3] + feature_sums.weight[b]
        linear[j, 3] = weight
        if fit_linear:
            linear[j, 0], linear[j, 1], linear[j, 2] = ftrl(
                near_linear[i, 0],
                feature_sums.slope[b],
                near_linear[i, 1],
                near_linear[i, 2],
                rate,
                initial,
                weight * penalty[i, 0],
                weight * penalty[i, 2] if has_lasso else zero,
            )
        curve = feature_sums.curve[b]
        squares = zero
        for f in range(factors.shape[2]):
            slope = aim[b, f] - curve * near[i, 0, f]
            squares += slope * slope
        squares = near_linear[i, 4] + squares / n_components
        linear[j, 4] = squares
        stiffness = math.sqrt(initial + squares) / rate
        length = zero
        for f in range(factors.shape[2]):
            goal = (stiffness + curve) * near[i, 0, f] - near[i, 1, f] - aim[b, f]
            aim[b, f] = goal
            length += goal * goal
        length = math.sqrt(length)
        lasso = weight * penalty[i, 3] if has_lasso else zero
        scale = zero
        if length > 0:
            scale = _shrunk(length, lasso) / (length * (stiffness + weight * penalty[i, 1]))
        for f in range(factors.shape[2]):
            goal = aim[b, f]
            factors[j, 0, f] = scale * goal
            factors[j, 1, f] = stiffness * scale * goal - goal


@jit_inner
def _shrunk(length, by):
    return max(length - by, length * 0)


@jit_inner
def _crowd(weight):
    """What a summed gradient is divided by in SGD: rows of one batch say much the same."""
    return math.sqrt(max(weight, weight * 0 + 1))


@jit_inner
def _adam_factor(n_steps):
    """Corrects both means for having started at 0."""
    rest, square_rest = 1 - ADAM_CONSTANTS[0], 1 - ADAM_CONSTANTS[1]
    return math.sqrt(1 - square_rest**n_steps) / (1 - rest**n_steps)
