"""The state of the optimizers, and what is kept of it for further training."""

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

UPDATES = {"adagrad": AdaGrad, "adam": Adam, "ftrl": FTRL, "sgd": SGD}
RECOVERY = 4 ** (1 / 8)  # of the learning rate, where training goes on after it diverged
GROWTH = 10.0  # see `Guard`
LONGEST = 0.1  # as AdaGrad's steps are at most
MUCH = 4.0  # times as many rows
VECTOR_BYTES = 32  # rows of factors are padded with zeros to whole vectors of this size


@dataclass
class Memory(Versioned):
    """What further training needs from a run: its state, and how far it has come."""

    state: State | None  # None if that was not kept
    n_epochs: float  # passes over the rows seen so far
    slowness: float  # what divergence has made of the learning rate
    intercept: np.ndarray | None = None  # without a state: the slots of the intercept,
    summary: tuple = ()  # and what `summarise` made of the others

    def copy(self):
        state = self.state
        if state is not None:
            state = State(*(_aligned_copy(array) for array in state))
        return replace(self, state=state)

    def spread(self, places, n_used):
        """The same for more features; ``places`` are those of the ones before among them."""
        if self.state is None:
            return self

        def larger(array):
            shape = (array.shape[0], n_used, *array.shape[2:])
            spread = aligned_zeros(shape, array.dtype)
            spread[:, places] = array
            return spread

        intercept, linear, factors = self.state
        state = State(intercept.copy(), larger(linear), larger(factors))
        return Memory(state, self.n_epochs, self.slowness)

    def of_one_epoch(self, update):
        """What a fit begins with that starts from the parameters of this one, or None.

        The rows may differ, so this is not the whole memory. Without any of it, the first steps
        would be as long as those of a cold start, however good the parameters are.
        """
        if self.intercept is None:
            return None
        intercept = self.intercept.copy()
        if update is Adam:  # as after one step of a slope like all others, without a direction
            squares = ADAM_CONSTANTS[1]
            intercept[:, 1:] *= 0, squares, 0
            linear, factors, steps = self.summary
            summary = squares * linear, squares * factors, 0 * steps
        else:
            intercept[:, 1:] /= max(self.n_epochs, 1)
            summary = tuple(mean / max(self.n_epochs, 1) for mean in self.summary)
        return Memory(None, 0, self.recovered(), intercept, summary)

    def recovered(self):
        """The slowness a little later: what some rows have made smaller is not so for good."""
        return min(1.0, self.slowness * RECOVERY)


def remembered(state, update):
    """What a rule knows of the slopes it has met, features last: sums, or levels of Adam's."""
    linear, factors = state.linear, np.moveaxis(state.factors, 1, 3)
    if update is AdaGrad:
        return linear[:, :, 1], factors[:, 1]
    if update is FTRL:
        return linear[:, :, 2], linear[:, :, 4]
    if update is Adam:
        return linear[:, :, 2], factors[:, 2], linear[:, :, 3]
    return ()


def summarise(remembered, update, count):
    """Means over features: of sums for each row's weight, else of the levels."""
    weight = max(count.sum(), np.finfo(np.float64).tiny)
    if update is Adam:
        return tuple(array @ count / weight for array in remembered)
    return tuple(array.sum(axis=-1, dtype=np.float64) / weight for array in remembered)


def recall(remembered, summary, update, count):
    """The other way round, for features that rows of the weight ``count`` had."""
    if update is Adam:
        count = count > 0
    for array, mean in zip(remembered, summary, strict=True):
        if mean.ndim > 1:  # of factors, whose padding is that of their type
            n = min(mean.shape[1], array.shape[1])
            array[:, :n] = np.multiply.outer(mean[:, :n], count)
        else:
            array[...] = np.multiply.outer(mean, count)


class Guard:
    """Keeps single rows of a stream from changing for good what many have taught.

    One outlier has slopes a thousand times as large as others. Rules take them for the usual
    ones, and steps are too short ever after. So sums of squares grow by a chunk at most GROWTH
    times as fast as they have grown so far, and Adam's levels GROWTH times in all. Plain steps
    remember nothing, but follow any slope: no parameter moves further than LONGEST a batch.
    All that goes for features of which MUCH more is known than what the chunk says.
    """

    def __init__(self, state, update):
        self.state, self.update = state, update
        self.before = [np.copy(array) for array in self._watched()]

    def _watched(self):
        """What is bounded, features last, the intercept's last of all."""
        intercept, linear, factors = self.state
        if self.update is SGD:
            return linear[:, :, 0], np.moveaxis(factors[:, :, 0], 1, 2), intercept[:, 0, None]
        slot = 1 if self.update is AdaGrad else 2
        return *remembered(self.state, self.update)[:2], intercept[:, slot, None]

    def _means(self):
        """Adam's means of slopes, which have no length but that of the levels."""
        intercept, linear, factors = self.state
        return linear[:, :, 1], np.moveaxis(factors[:, :, 1], 1, 2), intercept[:, 1, None]

    def restrain(self, problem, n_batches):
        """After a chunk."""
        of_rows = problem.total_weight
        counts = problem.chunk_count(), problem.count_before
        for_all = np.array([of_rows]), np.array([problem.seen_weight - of_rows])
        watched, means = self._watched(), self._means() if self.update is Adam else ()
        for part, (count, known) in enumerate((counts, counts, for_all)):
            now, before = watched[part], self.before[part]
            if self.update is SGD:
                low, high = before - LONGEST * n_batches, before + LONGEST * n_batches
            else:
                growth = 1 + GROWTH * count / np.maximum(known, 1)
                low, high = 0, before * (GROWTH if self.update is Adam else growth)
            beyond = ((now < low) | (now > high)) & (known > MUCH * np.maximum(count, 1))
            now[beyond] = np.clip(now, low, high)[beyond]
            if self.update is Adam:
                means[part][beyond] = 0


def _aligned_copy(array):
    copy = aligned_zeros(array.shape, array.dtype)
    copy[...] = array
    return copy


def make_state(parameters, update):
    """The state that starts at the given scaled parameters; see ``records.State`` for shapes."""
    factors = parameters[2]
    n_outputs, n_used, n_components = factors.shape
    vector = VECTOR_BYTES // factors.itemsize
    width = -(-n_components // vector) * vector
    state = State(
        intercept=np.zeros((n_outputs, LINEAR_SLOTS[update])),
        linear=aligned_zeros((n_outputs, n_used, LINEAR_SLOTS[update]), factors.dtype),
        factors=aligned_zeros((n_outputs, n_used, FACTOR_SLOTS[update], width), factors.dtype),
    )
    set_parameters(state, parameters, forget=True)
    return state


def set_parameters(state, parameters, *, forget):
    """Put parameters into a state; the optimizer's memory of them stays or is emptied."""
    if forget:
        for array in state:
            array[...] = 0
    intercept, linear, factors = parameters
    state.intercept[:, 0] = intercept
    state.linear[:, :, 0] = linear
    state.factors[:, :, 0, : factors.shape[2]] = factors


def get_parameters(state, n_components):
    return Parameters(
        state.intercept[:, 0].copy(),
        state.linear[:, :, 0].copy(),
        state.factors[:, :, 0, :n_components].copy(),
    )
