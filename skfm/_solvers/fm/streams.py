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
    get_parameters,
    intercept_slot,
    linear_slot,
    pair_slot,
)
from skfm._solvers.training import MAX_RESTARTS, History, loss_limit

FAR_LOSS = 1e6  # times the baseline: targets a thousand times as large as previous ones
GROWTH = 10.0  # see `Guard`
LONGEST = 0.1  # change of a parameter in each batch of SGD, at most
MUCH = 4.0  # times the weight in the chunk; see `Guard`


def train_chunk(problem, start, settings, rng, baseline, memory, listener=None):
    """Train for one epoch on further rows of a stream; returns the same as `minibatch.train`.

    ``start`` is None if the state in ``memory``, which is not changed, has the parameters to start
    from.

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
        guard = Guard(optimizer, memory.state)
        trainer = make_trainer(problem, optimizer, settings, rng)
        shrinkage = trainer.penalty()
        loss = trainer.epoch()
        is_finite = all(np.isfinite(array).all() for array in optimizer.state)
        if _has_learned(trainer, loss, start, memory, baseline) and is_finite:
            guard.restrain(problem, trainer.n_batches)
            if listener is not None:
                listener(1, loss + shrinkage, trainer.parameters())
            left = optimizer.memory()
            left = replace(left, rate_factor=left.recovered())
            return trainer.parameters(), History([loss + shrinkage]), left
        memory = replace(memory, rate_factor=memory.rate_factor / SMALLER_STEPS)
    rate = trainer.learning_rate
    raise ValueError(
        f"Training on this chunk diverged, at last with learning_rate={rate:.3g}. "
        + trainer.remedy
    )


def _has_learned(trainer, loss, start, memory, baseline):
    """Whether an epoch, in which rows had this mean ``loss`` before their steps, has not diverged.

    It usually suffices to look at the batch trained last again. All rows are measured, with the
    parameters before and after the epoch, only if one of these losses is suspicious.
    """
    before, after = loss, trainer.measure_last()
    limit = loss_limit(baseline)
    if trainer.n_batches > 1 and not (before <= limit and after <= limit):
        after, _ = trainer.measure()
        start = start or get_parameters(memory.state, trainer.optimizer.n_components)
        before, _ = trainer.measure_at(start)
    if not before <= FAR_LOSS * max(baseline, 1.0):
        raise ValueError(
            "The rows of this chunk are too large for the model: its mean loss on them is "
            f"{before:.3g}; that of a constant was {baseline:.3g}. Check X, y and "
            "sample_weight for values that are much larger than in previous chunks."
        )
    return after <= loss_limit(max(baseline, before))


class Guard:
    """Limits the lasting effect of single rows of a stream.

    The gradients of an outlier may be a thousand times as large as those of other rows. Their
    squares would make all further steps too short. In each chunk, sums of squares therefore grow
    at most GROWTH times as fast as before, and Adam's second moments by at most the factor GROWTH.
    SGD keeps no sums, but its steps are proportional to the gradients: its parameters change by at
    most LONGEST per batch. These limits apply to features whose weight in previous chunks is more
    than MUCH times their weight in this one.

    ``before`` is the optimizer's state before the chunk, or None for a copy of its present one.
    """

    def __init__(self, optimizer, before=None):
        self.state, self.update = optimizer.state, optimizer.update
        self.has_squares = "squares" in LINEAR_SLOTS[self.update]
        before = before or type(self.state)(*(array.copy() for array in self.state))
        self.before = self._watched(before)

    def _watched(self, state):
        """The limited arrays (n_outputs, n_used, ...) of linear weights and factors; then what
        all rows share (n_outputs, 1, ...), intercepts and parameters of pairs of fields."""
        if not self.has_squares:
            return self._slots(state, "weight", "factor")
        linear, factors = accumulated(state, self.update)[:2]
        if factors.ndim > 2:
            factors = np.moveaxis(factors, -1, 1)
        return linear, factors, *self._shared_slots(state, "squares")

    def _slots(self, state, name, factor_name):
        return (
            linear_slot(state, self.update, name),
            np.moveaxis(factor_slot(state, self.update, factor_name), -1, 1),
            *self._shared_slots(state, name),
        )

    def _shared_slots(self, state, name):
        pairs = pair_slot(state, self.update, name)
        return intercept_slot(state, self.update, name), pairs[:, None]

    def restrain(self, problem, n_batches):
        """Apply the limits after a chunk."""
        of_rows = problem.total_weight
        counts = _count_in_chunk(problem), problem.count_before
        for_all = np.array([of_rows]), np.array([problem.seen_weight - of_rows])
        watched, averages = self._watched(self.state), averages_gradients(self.update)
        # First moments are only meaningful relative to the second ones.
        has_means = "mean" in LINEAR_SLOTS[self.update]
        means = self._slots(self.state, "mean", "mean") if has_means else ()
        limits = [
            (count, known, np.flatnonzero(known > MUCH * np.maximum(count, 1)))
            for count, known in (counts, for_all)
        ]
        for part, (count, known, limited) in enumerate(limits[i] for i in (0, 0, 1, 1)):
            if not limited.size or not watched[part].size:
                continue
            now, before = watched[part][:, limited], self.before[part][:, limited]
            if not self.has_squares:
                low, high = before - LONGEST * n_batches, before + LONGEST * n_batches
            elif averages:
                low, high = None, before * GROWTH
            else:
                growth = 1 + GROWTH * count[limited] / np.maximum(known[limited], 1)
                shape = -1, *(1,) * (now.ndim - 2)
                low, high = None, before * growth.astype(before.dtype).reshape(shape)
            beyond = now > high if low is None else (now < low) | (now > high)
            if not beyond.any():
                continue
            watched[part][:, limited] = np.where(beyond, np.clip(now, low, high), now)
            if means:
                means[part][:, limited] = np.where(beyond, 0, means[part][:, limited])


def _count_in_chunk(problem):
    """The weight of the rows of the chunk with each feature."""
    count = problem.count - problem.count_before
    return count if count.any() else problem.chunk_count()  # of a chunk that was seen before
