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

from skfm._kernels._jit import jit

ADAGRAD, SGD, ADAM, FTRL = range(4)
LINEAR_SLOTS = {ADAGRAD: 2, SGD: 1, ADAM: 4, FTRL: 5}
FACTOR_SLOTS = {ADAGRAD: 2, SGD: 1, ADAM: 3, FTRL: 2}

# Adam's
DECAY = 0.9
SQUARE_DECAY = 0.999
TINY = 1e-8


@jit
def step_scalar(rule, local, i, out, j, slope, weight, ridge, lasso):
    """Move one parameter: ``local[i]`` are its slots before, ``out[j]`` those after.

    AdaGrad (Duchi, Hazan, Singer 2011): ``rule.floor`` is what the sum of squared gradients
    starts at: with a small one the first step is the full learning rate whatever the gradient,
    with a large one it is a gradient step. Adam (Kingma, Ba 2015) with moments that rest while a
    feature does not occur. FTRL-proximal (McMahan et al. 2013): the penalty counts as often as
    the feature has occurred; the pull is what the penalty's slope and the parameter have not
    settled yet, so it starts at 0 wherever the parameter does.
    """
    kind = out.dtype.type
    rate, floor, one = kind(rule.learning_rate), kind(rule.floor), kind(1)
    value = local[i, 0]
    if rule.update == FTRL:
        squares = local[i, 2] + slope * slope
        total = local[i, 3] + weight
        stiffness = math.sqrt(floor + squares) / rate
        goal = stiffness * value - local[i, 1] - slope
        value = _shrunk(abs(goal), total * lasso) / (stiffness + total * ridge)
        if goal < 0:
            value = -value
        out[j, 0] = value
        out[j, 1] = stiffness * value - goal
        out[j, 2] = squares
        out[j, 3] = total
        return
    slope += weight * ridge * value
    if rule.update == ADAGRAD:
        squares = local[i, 1] + slope * slope
        out[j, 0] = value - rate * slope / math.sqrt(floor + squares)
        out[j, 1] = squares
    elif rule.update == SGD:
        out[j, 0] = value - rate * slope / _crowd(weight)
    else:
        decay, square_decay = kind(DECAY), kind(SQUARE_DECAY)
        mean = decay * local[i, 1] + (one - decay) * slope
        square = square_decay * local[i, 2] + (one - square_decay) * slope * slope
        n_steps = local[i, 3] + one
        out[j, 0] = value - rate * kind(_adam_factor(n_steps)) * mean / (
            math.sqrt(square) + kind(TINY)
        )
        out[j, 1] = mean
        out[j, 2] = square
        out[j, 3] = n_steps


@jit
def step_factors(
    rule, local, local_linear, i, out, out_linear, j, total, curve, weight, ridge, group
):
    """Move a feature's factors, likewise; after its linear weight.

    ``total - curve * v`` is the gradient of the loss.
    """
    kind = out.dtype.type
    rate, floor, one = kind(rule.learning_rate), kind(rule.floor), kind(1)
    width = out.shape[2]
    if rule.update == FTRL:
        squares = kind(0)
        for f in range(width):
            slope = total[f] - curve * local[i, 0, f]
            squares += slope * slope
        squares = local_linear[i, 4] + squares / kind(max(rule.n_components, 1))
        amount = local_linear[i, 3] + weight
        out_linear[j, 3], out_linear[j, 4] = amount, squares
        stiffness = math.sqrt(floor + squares) / rate
        length = kind(0)
        for f in range(width):
            v = local[i, 0, f]
            goal = (stiffness + curve) * v - local[i, 1, f] - total[f]
            total[f] = goal
            length += goal * goal
        length = math.sqrt(length)
        scale = kind(0)
        if length > 0:
            scale = _shrunk(length, amount * group) / (length * (stiffness + amount * ridge))
        for f in range(width):
            goal = total[f]
            out[j, 0, f] = scale * goal
            out[j, 1, f] = stiffness * scale * goal - goal
        return
    shrink = weight * ridge - curve
    if rule.update == ADAGRAD:
        for f in range(width):
            v = local[i, 0, f]
            slope = total[f] + shrink * v
            squares = local[i, 1, f] + slope * slope
            out[j, 0, f] = v - rate * slope / math.sqrt(floor + squares)
            out[j, 1, f] = squares
    elif rule.update == SGD:
        rate /= _crowd(weight)
        for f in range(width):
            v = local[i, 0, f]
            out[j, 0, f] = v - rate * (total[f] + shrink * v)
    else:
        decay, square_decay = kind(DECAY), kind(SQUARE_DECAY)
        n_steps = local_linear[i, 3] + one
        out_linear[j, 3] = n_steps
        rate *= kind(_adam_factor(n_steps))
        for f in range(width):
            v = local[i, 0, f]
            slope = total[f] + shrink * v
            mean = decay * local[i, 1, f] + (one - decay) * slope
            square = square_decay * local[i, 2, f] + (one - square_decay) * slope * slope
            out[j, 0, f] = v - rate * mean / (math.sqrt(square) + kind(TINY))
            out[j, 1, f] = mean
            out[j, 2, f] = square


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
    return math.sqrt(1 - SQUARE_DECAY**n_steps) / (1 - DECAY**n_steps)
