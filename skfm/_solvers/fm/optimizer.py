"""The optimizer: parameters, the state of their update rule, and the learning rate."""

from dataclasses import replace

import numpy as np

from skfm._kernels.update_rules import FTRL
from skfm._solvers.fm.optimizer_state import (
    UPDATES,
    OptimizerMemory,
    accumulated,
    averages_gradients,
    get_parameters,
    make_state,
    parameters_in,
    restore,
    set_parameters,
    summarize,
    sums_squares,
)

# Rules without sums of squared gradients divide their learning rate by sqrt(1 + epoch / this).
DECAY_EPOCHS = 10
SMALLER_STEPS = 4  # what the learning rate is divided by after training diverged


class Optimizer:
    """The parameters of a problem, updated by an update rule.

    Parameters
    ----------
    problem : Problem
    start : Parameters or None
        Scaled parameters of the used features; None for those of the state in ``memory``.
    settings : Settings
    memory : OptimizerMemory, optional
        What a previous run has returned.
    count : ndarray of shape (n_used,), optional
        For each feature, the weight of the rows on which ``memory`` is based. By default, that of
        the rows before those of the problem.
    """

    def __init__(self, problem, start, settings, memory=None, count=None):
        self.problem = problem
        self.update = UPDATES[settings.solver]
        self.settings = settings
        self.n_components = problem.interactions.n_components
        memory = memory or OptimizerMemory(None, 0, 1.0)
        count = problem.count_before if count is None else count
        if memory.state is None:
            self.state = make_state(start, self.update)
            if memory.intercept is not None:
                self.state.intercept[:, 1:] = memory.intercept[:, 1:]
                self.state.field_pairs[:, 1:] = memory.field_pairs[:, 1:]
                restore(accumulated(self.state, self.update), memory.summary, self.update, count)
            if self.update is FTRL and count.any():
                self._restore_ftrl(count)
        else:
            self.state = memory.state
            if start is not None:
                set_parameters(self.state, start, forget=False)
        self.n_epochs = memory.n_epochs
        self.learning_rate = settings.learning_rate * memory.rate_factor
        self._current_rate = settings.learning_rate

    @property
    def rule(self):
        """The settings of the update rule, as a class of _kernels/update_rules.py."""
        known = {
            "learning_rate": float(self._current_rate),
            "initial_accumulator": float(self.settings.initial_accumulator),
            "n_components": self.n_components,
        }
        return self.update(**{name: known[name] for name in self.update._fields})

    def begin_epoch(self, share):
        """Set the learning rate of an epoch on a ``share`` of all rows seen so far."""
        self._schedule()
        self.n_epochs += share

    def slow_down(self):
        self.learning_rate /= SMALLER_STEPS
        self._schedule()

    def _schedule(self):
        self._current_rate = self.learning_rate
        if not sums_squares(self.update):
            self._current_rate /= np.sqrt(1 + self.n_epochs / DECAY_EPOCHS)

    def snapshot(self):
        return {
            "state": tuple(self.state),
            "n_epochs": self.n_epochs,
            "learning_rate": self.learning_rate,
            "current_rate": self._current_rate,
        }

    def restore(self, snapshot):
        for array, values in zip(self.state, snapshot["state"], strict=True):
            array[...] = values
        self.n_epochs = snapshot["n_epochs"]
        self.learning_rate = snapshot["learning_rate"]
        self._current_rate = snapshot["current_rate"]

    def parameters(self):
        return get_parameters(self.state, self.n_components)

    def has(self, parameters):
        """Whether these are the present parameters."""
        present = parameters_in(self.state, self.n_components)
        return all(map(np.array_equal, parameters, present))

    def set_parameters(self, parameters, *, forget):
        set_parameters(self.state, parameters, forget=forget)
        if self.update is FTRL and not forget:  # accumulated gradients must match the parameters
            self._restore_ftrl(self.state.linear[0, :, 3].astype(np.float64))

    def adapt_to_new_objective(self):
        """Adapt the state to other penalties.

        FTRL's accumulated gradients are recomputed to balance them. Adam's steps, whose length is
        limited, start again with the full learning rate.
        """
        if averages_gradients(self.update):
            self.n_epochs = 0
        self.set_parameters(self.parameters(), forget=False)

    def _restore_ftrl(self, count):
        """Set FTRL's state to that at a minimum: the weight of the rows, and z, which balances
        the penalties."""
        problem, state = self.problem, self.state
        share = count[:, None] * problem.penalty_share.astype(np.float64)
        ridge, lasso = share[:, :2], share[:, 2:] if problem.has_lasso else 0 * share
        state.linear[:, :, 3] = count
        weights = state.linear[:, :, 0]
        state.linear[:, :, 1] = -(ridge[:, 0] * weights + lasso[:, 0] * np.sign(weights))
        vectors = state.factors[:, :, 0]
        length = np.sqrt(np.square(vectors, dtype=float).sum(axis=2, keepdims=True))
        stretch = ridge[:, 1, None] + lasso[:, 1, None] / np.where(length > 0, length, np.inf)
        state.factors[:, :, 1] = -stretch * vectors

    def memory(self):
        """The state and learning rate with which training can continue."""
        rate_factor = self.learning_rate / self.settings.learning_rate
        return OptimizerMemory(self.state, self.n_epochs, rate_factor)

    def summary(self):
        """The memory with means over all features instead of the state.

        With these, the first steps of further training are shorter than those of a cold start.
        """
        return replace(
            self.memory(),
            state=None,
            intercept=self.state.intercept.copy(),
            field_pairs=self.state.field_pairs.copy(),
            summary=summarize(
                accumulated(self.state, self.update), self.update, self.problem.count
            ),
        )
