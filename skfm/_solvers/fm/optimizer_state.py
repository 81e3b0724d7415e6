"""The state of the optimizers, and the part of it that is kept for further training."""

from dataclasses import dataclass, replace

import numpy as np

from skfm._kernels.structs import State
from skfm._kernels.update_rules import (
    ADAM_CONSTANTS,
    FACTOR_SLOTS,
    FTRL,
    LINEAR_SLOTS,
    SGD,
    AdaGrad,
    Adam,
)
from skfm._solvers.fm.parameters import Parameters
from skfm._utils.memory import aligned_zeros
from skfm._utils.pickling import Versioned
from skfm._utils.plain_state import register_tuple

UPDATES = {"adagrad": AdaGrad, "adam": Adam, "ftrl": FTRL, "sgd": SGD}
RECOVERY = 4 ** (1 / 8)  # by which the learning rate recovers in each call after a divergence
VECTOR_BYTES = 32  # rows of factors are padded with zeros to whole vectors of this size
register_tuple(State)


@dataclass
class OptimizerMemory(Versioned):
    """What a run keeps for further training: the optimizer's state and its learning rate."""

    state: State | None  # None if it was not kept
    n_epochs: float  # passes over the rows seen so far
    rate_factor: float  # of the learning rate, less than 1 after training diverged
    intercept: np.ndarray | None = None  # if there is no state: the slots of the intercept,
    field_pairs: np.ndarray | None = None  # those of parameters of pairs of fields,
    summary: tuple = ()  # and the result of `summarize` for the other slots

    def copy(self):
        state = self.state
        if state is not None:
            state = State(*(_aligned_copy(array) for array in state))
        return replace(self, state=state)

    def spread(self, places, n_used):
        """Extend the state to more features; ``places`` are the positions of the previous ones."""
        if self.state is None:
            return self

        def larger(array):
            shape = (array.shape[0], n_used, *array.shape[2:])
            spread = aligned_zeros(shape, array.dtype)
            spread[:, places] = array
            return spread

        state = self.state
        state = State(
            state.intercept.copy(),
            larger(state.linear),
            larger(state.factors),
            state.field_pairs.copy(),
        )
        return OptimizerMemory(state, self.n_epochs, self.rate_factor)

    def of_one_epoch(self, update):
        """The memory for a fit that starts from the parameters of this one, or None.

        Since the rows may differ, the memory is that after a single epoch. Without it, the first
        steps would be as long as those of a cold start, however good the parameters are.
        """
        if self.intercept is None:
            return None
        intercept, field_pairs = self.intercept.copy(), self.field_pairs.copy()
        if averages_gradients(update):  # as after one step, with typical squares and momentum 0
            squares = ADAM_CONSTANTS[1]
            for place, name in enumerate(LINEAR_SLOTS[update][1:], 1):
                intercept[:, place] *= squares if name == "squares" else 0
                field_pairs[:, place] *= squares if name == "squares" else 0
            linear, factors, steps = self.summary
            summary = squares * linear, squares * factors, 0 * steps
        else:
            intercept[:, 1:] /= max(self.n_epochs, 1)
            field_pairs[:, 1:] /= max(self.n_epochs, 1)
            summary = tuple(mean / max(self.n_epochs, 1) for mean in self.summary)
        return OptimizerMemory(None, 0, self.recovered(), intercept, field_pairs, summary)

    def recovered(self):
        """The rate factor for the next rows: after a divergence, it recovers gradually."""
        return min(1.0, self.rate_factor * RECOVERY)


def averages_gradients(update):
    """Whether a rule keeps moving averages, whose bias is corrected by the number of steps."""
    return "n_steps" in LINEAR_SLOTS[update]


def sums_squares(update):
    """Whether a rule keeps sums of squared gradients, by which its steps become shorter."""
    return "squares" in LINEAR_SLOTS[update] and not averages_gradients(update)


def intercept_slot(state, update, name):
    """The named slot of the intercepts, (n_outputs, 1)."""
    return state.intercept[:, LINEAR_SLOTS[update].index(name), None]


def linear_slot(state, update, name):
    """The named slot of the linear weights, (n_outputs, n_used)."""
    return state.linear[:, :, LINEAR_SLOTS[update].index(name)]


def factor_slot(state, update, name):
    """The named slot of the factors, (n_outputs, n_components with padding, n_used)."""
    return np.moveaxis(state.factors[:, :, FACTOR_SLOTS[update].index(name)], 1, 2)


def accumulated(state, update):
    """The accumulated squared gradients of linear weights and of factors.

    These are sums, or moving averages followed by the number of steps. Features are the last axis.
    """
    if "squares" not in LINEAR_SLOTS[update]:
        return ()
    linear = linear_slot(state, update, "squares")
    if "squares" in FACTOR_SLOTS[update]:
        factors = factor_slot(state, update, "squares")
    else:
        factors = linear_slot(state, update, "factor_squares")
    if averages_gradients(update):
        return linear, factors, linear_slot(state, update, "n_steps")
    return linear, factors


def summarize(accumulated, update, count):
    """Means over features, of sums per unit of weight or of moving averages."""
    weight = max(count.sum(), np.finfo(np.float64).tiny)
    if averages_gradients(update):
        return tuple(array @ count / weight for array in accumulated)
    return tuple(array.sum(axis=-1, dtype=np.float64) / weight for array in accumulated)


def restore(accumulated, summary, update, count):
    """Approximately invert `summarize`: ``count`` is the weight of the rows of each feature."""
    if averages_gradients(update):
        count = count > 0
    for array, mean in zip(accumulated, summary, strict=True):
        if mean.ndim > 1:  # of factors, whose padding depends on their dtype
            n = min(mean.shape[1], array.shape[1])
            array[:, :n] = np.multiply.outer(mean[:, :n], count)
        else:
            array[...] = np.multiply.outer(mean, count)


def _aligned_copy(array):
    copy = aligned_zeros(array.shape, array.dtype)
    copy[...] = array
    return copy


def make_state(parameters, update):
    """The initial state for the given scaled parameters; see `structs.State` for shapes."""
    factors = parameters.factors
    n_outputs, n_used, n_components = factors.shape
    vector = VECTOR_BYTES // factors.itemsize
    width = -(-n_components // vector) * vector
    state = State(
        intercept=np.zeros((n_outputs, len(LINEAR_SLOTS[update]))),
        linear=aligned_zeros((n_outputs, n_used, len(LINEAR_SLOTS[update])), factors.dtype),
        factors=aligned_zeros(
            (n_outputs, n_used, len(FACTOR_SLOTS[update]), width), factors.dtype
        ),
        field_pairs=np.zeros(
            (n_outputs, len(LINEAR_SLOTS[update]), *parameters.field_pairs.shape[1:]),
            factors.dtype,
        ),
    )
    set_parameters(state, parameters, forget=True)
    return state


def set_parameters(state, parameters, *, forget):
    """Set the parameters of a state; ``forget`` sets the other slots to 0."""
    if forget:
        for array in state:
            array[...] = 0
    state.intercept[:, 0] = parameters.intercept
    state.linear[:, :, 0] = parameters.linear
    state.factors[:, :, 0, : parameters.factors.shape[2]] = parameters.factors
    state.field_pairs[:, 0] = parameters.field_pairs


def parameters_in(state, n_components):
    """Views of the parameters of a state."""
    return Parameters(
        state.intercept[:, 0],
        state.linear[:, :, 0],
        state.factors[:, :, 0, :n_components],
        state.field_pairs[:, 0],
    )


def get_parameters(state, n_components):
    """Copies of the parameters of a state."""
    return Parameters(*(part.copy() for part in parameters_in(state, n_components)))
