"""Update rules as integer codes: how a gradient moves a parameter.

A feature's linear weight and factors are moved together, after each batch that has the feature,
by the gradient of the loss, summed over the batch, and by a share of the penalty. ``weight`` is
the batch's weight with the feature; ``share[i]`` holds the penalties for each unit of it: ridge
of the linear weight, ridge of the factors, lasso of the linear weight, group lasso of the factors.

What a rule remembers of a parameter is in the slots after the parameter's own:

========  =====================================  ==============================
rule      linear                                 factors
========  =====================================  ==============================
ADAGRAD   sum of squares                         sums of squares
SGD
ADAM      mean, mean of squares, steps           means, means of squares
FTRL      pull, sum of squares, weight; mean     pulls
          sum of squares of the factors
========  =====================================  ==============================
"""

import math

import numpy as np

from skfm._kernels._jit import jit

ADAGRAD, SGD, ADAM, FTRL = range(4)
LINEAR_SLOTS = {ADAGRAD: 2, SGD: 1, ADAM: 4, FTRL: 5}
FACTOR_SLOTS = {ADAGRAD: 2, SGD: 1, ADAM: 3, FTRL: 2}

# The share of a new gradient in the means, that of its square, and what a root has added.
ADAM_CONSTANTS = (0.1, 0.001, 1e-8)


@jit
def adagrad(value, slope, squares, rate, floor):
    """AdaGrad (Duchi, Hazan, Singer 2011): the new value and the new sum of squares.

    ``floor`` is what the sum of squared gradients starts at: with a small one the first step
    is the full learning rate whatever the gradient, with a large one it is a gradient step.
    """
    squares += slope * slope
    return value - rate * slope / math.sqrt(floor + squares), squares


@jit
def adam(value, slope, mean, square, rate, constants):
    """Adam (Kingma, Ba 2015): the new value and the new means; ``rate`` corrects their bias.

    ``constants`` are `ADAM_CONSTANTS`, in the type of the rest.
    """
    decay, square_decay, tiny = constants
    mean += (slope - mean) * decay
    square += (slope * slope - square) * square_decay
    return value - rate * mean / (math.sqrt(square) + tiny), mean, square


@jit
def ftrl(value, slope, pull, squares, rate, floor, ridge, lasso):
    """FTRL-proximal (McMahan et al. 2013): the new value, pull and sum of squares.

    ``ridge`` and ``lasso`` are the penalties for all of the feature's occurrences so far; the pull
    is what their slope and the value have not settled yet, so it starts at 0 wherever the value
    does.
    """
    squares += slope * slope
    stiffness = math.sqrt(floor + squares) / rate
    aim = stiffness * value - pull - slope
    value = _shrunk(abs(aim), lasso) / (stiffness + ridge)
    if aim < 0:
        value = -value
    return value, stiffness * value - aim, squares


@jit
def move_intercept(rule, slots, slope, weight):
    """Update ``slots``, the intercept's, in place; it has no penalty."""
    if rule.update == ADAGRAD:
        slots[0], slots[1] = adagrad(slots[0], slope, slots[1], rule.learning_rate, rule.floor)
    elif rule.update == SGD:
        slots[0] -= rule.learning_rate / _crowd(weight) * slope
    elif rule.update == ADAM:
        slots[3] += 1
        rate = rule.learning_rate * _adam_factor(slots[3])
        slots[0], slots[1], slots[2] = adam(
            slots[0], slope, slots[1], slots[2], rate, ADAM_CONSTANTS
        )
    else:
        slots[0], slots[1], slots[2] = ftrl(
            slots[0], slope, slots[1], slots[2], rule.learning_rate, rule.floor, 0.0, 0.0
        )


@jit
def move(block, first, features, rule, scratch, linear, factors):
    """Update the parameters of a block's features.

    The block's gradients belong to the local features from ``first`` on, which are those called
    ``features`` in ``linear`` and ``factors``.
    """
    if rule.update == ADAGRAD:
        _move_adagrad(block, first, features, rule, scratch, linear, factors)
    elif rule.update == SGD:
        _move_sgd(block, first, features, rule, scratch, linear, factors)
    elif rule.update == ADAM:
        _move_adam(block, first, features, rule, scratch, linear, factors)
    else:
        _move_ftrl(block, first, features, rule, scratch, linear, factors)


@jit
def _move_adagrad(block, first, features, rule, scratch, linear, factors):
    kind = factors.dtype.type
    rate, floor = kind(rule.learning_rate), kind(rule.floor)
    near, near_linear, penalty = scratch.factors, scratch.linear, scratch.penalty
    total = block.total
    for b in range(np.uintp(features.size)):
        i, j = np.uintp(first) + b, np.uintp(features[b])
        weight = block.weight[b]
        if rule.fit_linear:
            w = near_linear[i, 0]
            slope = block.slope[b] + weight * penalty[i, 0] * w
            linear[j, 0], linear[j, 1] = adagrad(w, slope, near_linear[i, 1], rate, floor)
        shrink = weight * penalty[i, 1] - block.curve[b]
        for f in range(factors.shape[2]):
            v = near[i, 0, f]
            slope = total[b, f] + shrink * v
            factors[j, 0, f], factors[j, 1, f] = adagrad(v, slope, near[i, 1, f], rate, floor)


@jit
def _move_sgd(block, first, features, rule, scratch, linear, factors):
    """The loss takes a step, then the penalty an implicit one: no stiffness makes that diverge."""
    kind = factors.dtype.type
    near, near_linear, penalty = scratch.factors, scratch.linear, scratch.penalty
    total = block.total
    for b in range(np.uintp(features.size)):
        i, j = np.uintp(first) + b, np.uintp(features[b])
        weight = block.weight[b]
        rate = kind(rule.learning_rate) / _crowd(weight)
        if rule.fit_linear:
            w = near_linear[i, 0]
            moved = w - rate * block.slope[b]
            linear[j, 0] = moved / (kind(1) + rate * weight * penalty[i, 0])
        shrinkage = kind(1) / (kind(1) + rate * weight * penalty[i, 1])
        curve = block.curve[b]
        for f in range(factors.shape[2]):
            v = near[i, 0, f]
            factors[j, 0, f] = shrinkage * (v - rate * (total[b, f] - curve * v))


@jit
def _move_adam(block, first, features, rule, scratch, linear, factors):
    """Moments rest, and steps are not counted, while a feature does not occur."""
    kind = factors.dtype.type
    constants = (kind(ADAM_CONSTANTS[0]), kind(ADAM_CONSTANTS[1]), kind(ADAM_CONSTANTS[2]))
    near, near_linear, penalty = scratch.factors, scratch.linear, scratch.penalty
    total = block.total
    for b in range(np.uintp(features.size)):
        i, j = np.uintp(first) + b, np.uintp(features[b])
        weight = block.weight[b]
        n_steps = near_linear[i, 3] + kind(1)
        linear[j, 3] = n_steps
        rate = kind(rule.learning_rate * _adam_factor(n_steps))
        if rule.fit_linear:
            w = near_linear[i, 0]
            slope = block.slope[b] + weight * penalty[i, 0] * w
            linear[j, 0], linear[j, 1], linear[j, 2] = adam(
                w, slope, near_linear[i, 1], near_linear[i, 2], rate, constants
            )
        shrink = weight * penalty[i, 1] - block.curve[b]
        for f in range(factors.shape[2]):
            v = near[i, 0, f]
            slope = total[b, f] + shrink * v
            factors[j, 0, f], factors[j, 1, f], factors[j, 2, f] = adam(
                v, slope, near[i, 1, f], near[i, 2, f], rate, constants
            )


@jit
def _move_ftrl(block, first, features, rule, scratch, linear, factors):
    """All factors of a feature share one sum of squares, the mean of theirs, and one lasso."""
    kind = factors.dtype.type
    zero = kind(0)
    rate, floor = kind(rule.learning_rate), kind(rule.floor)
    n_components = kind(max(rule.n_components, 1))
    near, near_linear, penalty = scratch.factors, scratch.linear, scratch.penalty
    has_lasso = penalty.shape[1] > 2
    aim = block.total
    for b in range(np.uintp(features.size)):
        i, j = np.uintp(first) + b, np.uintp(features[b])
        weight = near_linear[i, 3] + block.weight[b]
        linear[j, 3] = weight
        if rule.fit_linear:
            linear[j, 0], linear[j, 1], linear[j, 2] = ftrl(
                near_linear[i, 0],
                block.slope[b],
                near_linear[i, 1],
                near_linear[i, 2],
                rate,
                floor,
                weight * penalty[i, 0],
                weight * penalty[i, 2] if has_lasso else zero,
            )
        curve = block.curve[b]
        squares = zero
        for f in range(factors.shape[2]):
            slope = aim[b, f] - curve * near[i, 0, f]
            squares += slope * slope
        squares = near_linear[i, 4] + squares / n_components
        linear[j, 4] = squares
        stiffness = math.sqrt(floor + squares) / rate
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


@jit
def _shrunk(length, by):
    return max(length - by, length * 0)


@jit
def _crowd(weight):
    """What a summed gradient is divided by in SGD: rows of one batch say much the same."""
    return math.sqrt(max(weight, weight * 0 + 1))


@jit
def _adam_factor(n_steps):
    """Corrects both means for having started at 0."""
    rest, square_rest = 1 - ADAM_CONSTANTS[0], 1 - ADAM_CONSTANTS[1]
    return math.sqrt(1 - square_rest**n_steps) / (1 - rest**n_steps)
