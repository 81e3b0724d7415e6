"""Update rules: how a gradient moves a parameter."""

import math

from skfm._kernels._jit import jit


@jit
def adagrad(value, gradient, memory, learning_rate, floor):
    """AdaGrad (Duchi, Hazan, Singer 2011): returns the new value and the new sum of squares.

    ``floor`` is what the sum of squared gradients starts at: with a small one the first step
    is the full learning rate whatever the gradient, with a large one it is a gradient step.
    """
    memory += gradient * gradient
    return value - learning_rate * gradient / math.sqrt(floor + memory), memory
