"""Training on a stream, one chunk of rows at a time."""

from dataclasses import replace

import numpy as np

from skfm._kernels.update_rules import LINEAR_SLOTS
from skfm._solvers.fm.batches import batch_size_for
from skfm._solvers.fm.minibatch import make_trainer
from skfm._solvers.fm.optimizer import SMALLER_STEPS, Optimizer
from skfm._solvers.fm.optimizer_state import (
    accumulated,
    averages_gradients,
    factor_slot,
    intercept_slot,
    linear_slot,
)
from skfm._solvers.training import MAX_RESTARTS, History, loss_limit

FAR_LOSS = 1e6  # times the baseline: targets a thousand times as large as previous ones
GROWTH = 10.0  # see `Guard`
LONGEST = 0.1  # change of a parameter in each batch of SGD, at most
MUCH = 4.0  # times the weight in the chunk; see `Guard`


def train_chunk(problem, start, settings, rng, baseline, memory, listener=None):
    """Train for one epoch on further rows of a stream; returns the same as `minibatch.train`.

    Chunks differ, so an increase of the loss is accepted. If the loss becomes far too large,
    training on the chunk is repeated from its start with smaller steps.
    """
    if settings.batch_size == "auto":  # a small chunk of a long stream is not small data
        n_rows = problem.n_rows
        n_so_far = n_rows + round(problem.seen_weight - problem.total_weight)
        batch_size = min(batch_size_for(problem, settings, n) for n in (n_rows, n_so_far))
        settings = replace(settings, batch_size=batch_size)
    for _ in range(MAX_RESTARTS + 1):
        optimizer = Optimizer(problem, start, settings, memory.copy())
        trainer = make_trainer(problem, optimizer, settings, rng)
        guard = Guard(optimizer.state, optimizer.update)
        before, _ = trainer.measure()
        if not before <= FAR_LOSS * max(baseline, 1.0):
            raise ValueError(
                "The rows of this chunk are too large for the model: its mean loss on them is "
                f"{before:.3g}; that of a constant was {baseline:.3g}. Check X, y and "
                "sample_weight for values that are much larger than in previous chunks."
            )
        shrinkage = trainer.penalty()
        objective = trainer.epoch() + shrinkage
        after, objective_after = trainer.measure()
        is_finite = np.isfinite(objective_after) and all(
            np.isfinite(array).all() for array in optimizer.state
        )
        if is_finite and after <= loss_limit(max(baseline, before)):
            guard.restrain(problem, trainer.n_batches)
            if listener is not None:
                listener(1, objective, trainer.parameters())
            left = optimizer.memory()
            left = replace(left, rate_factor=left.recovered())
            return trainer.parameters(), History([objective]), left
        memory = replace(memory, rate_factor=memory.rate_factor / SMALLER_STEPS)
    rate = trainer.learning_rate
    raise ValueError(
        f"Training on this chunk diverged, at last with learning_rate={rate:.3g}. "
        + trainer.remedy
    )


class Guard:
    """Limits the lasting effect of single rows of a stream.

    The gradients of an outlier may be a thousand times as large as those of other rows. Their
    squares would make all further steps too short. In each chunk, sums of squares therefore grow
    at most GROWTH times as fast as before, and Adam's second moments by at most the factor GROWTH.
    SGD keeps no sums, but its steps are proportional to the gradients: its parameters change by at
    most LONGEST per batch. These limits apply to features whose weight in previous chunks is more
    than MUCH times their weight in this one.
    """

    def __init__(self, state, update):
        self.state, self.update = state, update
        self.has_squares = "squares" in LINEAR_SLOTS[update]
        self.before = [np.copy(array) for array in self._watched()]

    def _watched(self):
        """The limited arrays: linear weights, factors, intercept. Features are the last axis."""
        if not self.has_squares:
            return self._slots("weight", "factor")
        squares = accumulated(self.state, self.update)[:2]
        return *squares, intercept_slot(self.state, self.update, "squares")

    def _slots(self, name, factor_name):
        return (
            linear_slot(self.state, self.update, name),
            factor_slot(self.state, self.update, factor_name),
            intercept_slot(self.state, self.update, name),
        )

    def restrain(self, problem, n_batches):
        """Apply the limits after a chunk."""
        of_rows = problem.total_weight
        counts = problem.chunk_count(), problem.count_before
        for_all = np.array([of_rows]), np.array([problem.seen_weight - of_rows])
        watched, averages = self._watched(), averages_gradients(self.update)
        # First moments are only meaningful relative to the second ones.
        means = self._slots("mean", "mean") if "mean" in LINEAR_SLOTS[self.update] else ()
        for part, (count, known) in enumerate((counts, counts, for_all)):
            now, before = watched[part], self.before[part]
            if not self.has_squares:
                low, high = before - LONGEST * n_batches, before + LONGEST * n_batches
            else:
                growth = 1 + GROWTH * count / np.maximum(known, 1)
                low, high = 0, before * (GROWTH if averages else growth)
            beyond = ((now < low) | (now > high)) & (known > MUCH * np.maximum(count, 1))
            now[beyond] = np.clip(now, low, high)[beyond]
            if means:
                means[part][beyond] = 0
