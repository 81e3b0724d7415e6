"""Synchronous mini-batches: each step adds up the gradients of a mini-batch of every partition.

The rows stay in their partitions, which may be in other processes. The parameters and the state of
the update rule stay here. In each step, the partitions receive the parameters of the features of
their next mini-batches, and compute the gradients of their losses by these. The sum, by a fixed
tree, is the gradient of one large mini-batch, from which the update rule takes its step.

What partitions compute is a pure function of their rows and of what they receive, so results do
not depend on where that happens, or how often.
"""

import zlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from skfm._kernels.barrier import NOBODY
from skfm._kernels.minibatch import run_steps
from skfm._kernels.structs import Rule
from skfm._kernels.synchronous import move_features, move_shared
from skfm._kernels.update_rules import GradientsOnly
from skfm._solvers.fm.batches import Planner, single_batch
from skfm._solvers.fm.column_scaling import ColumnSums, measure_columns
from skfm._solvers.fm.optimizer_state import make_state, parameters_in
from skfm._solvers.fm.parameters import Parameters
from skfm._solvers.fm.scratch import make_scratch
from skfm._solvers.fm.streamed import SAMPLE_ENTRIES, join_sample, sample_of_block
from skfm._solvers.fm.trainer import Trainer
from skfm._solvers.partitions import Partitions
from skfm._utils.memory import plain


@dataclass
class PartitionedRows:
    """Rows as the solver sees them, in partitions: each is a `streamed.Block`.

    It has the sizes of a `streamed.RowsInPieces`, whose pieces are the partitions; but no process
    reads all of them.
    """

    parts: Partitions
    n_features: int
    dtype: np.dtype
    piece_rows: np.ndarray
    piece_entries: np.ndarray

    def measure(self):
        """See `streamed.RowsInPieces`."""
        share = min(1.0, SAMPLE_ENTRIES / max(int(self.piece_entries.sum()), 1))
        sums, total_weight, samples = self.parts.sum(_measure, share)
        return ColumnSums(*sums), float(total_weight), join_sample(samples, self.dtype)

    def measure_centered(self, center):
        """See `streamed.RowsInPieces`."""
        sums, n_entries = self.parts.sum(_measure_centered, center)
        return ColumnSums(*sums), n_entries


def seed_of(array):
    """A seed for the random numbers of a partition, from what it contains."""
    return zlib.crc32(np.ascontiguousarray(array))


def _measure(block, share):
    sums = measure_columns(block.X, block.weight, np.zeros(block.X.shape[1]))
    weight = block.weight
    total_weight = weight.sum(dtype=np.float64) if weight.size else float(block.X.shape[0])
    rng = np.random.default_rng([0, seed_of(block.target)])
    return tuple(sums), total_weight, [sample_of_block(block, rng, share)]


def _measure_centered(block, center):
    sums = measure_columns(block.X, block.weight, center)
    return tuple(sums), np.bincount(block.X.indices, minlength=center.size)


# What partitions do


class Work(NamedTuple):
    """What all partitions need to know to compute gradients."""

    loss: NamedTuple  # a class of _kernels/losses.py
    n_steps: int  # of the kernel, for a mini-batch
    n_forward_steps: int
    fit_intercept: bool
    fit_linear: bool
    n_batches: int  # steps of an epoch


class Gradients(NamedTuple):
    """Gradients of the loss of a mini-batch, by the parameters of the features that it has."""

    features: np.ndarray  # (n,), ascending
    intercept: np.ndarray  # (n_outputs,)
    linear: np.ndarray  # (n_outputs, n)
    factors: np.ndarray  # (n_outputs, n, n_components)
    field_pairs: np.ndarray  # (n_outputs, n_pairs, n), including the penalty
    feature_weight: np.ndarray  # (n,), of the rows with each feature
    weight: float  # of all rows
    loss: float


class Partition:
    """The rows of a partition, planned: mini-batches in an order that depends on a seed alone.

    An epoch of all partitions takes the same number of steps. A partition with fewer mini-batches
    spreads them over these steps.
    """

    def __init__(self, block, columns, work):
        self._given = block, columns, work
        self.work, self.seed = work, seed_of(block.target)
        self.problem = columns.with_rows(block)
        n_rows = self.problem.n_rows
        batch_size = max(1, -(-n_rows // work.n_batches))
        rng = np.random.RandomState(self.seed)
        self.planner = Planner(self.problem, batch_size, rng) if n_rows else None
        self._last_window = None, None
        self._last_schedule = None, None

    def __getstate__(self):
        return self._given  # the plans take more room, and are soon made again

    def __setstate__(self, given):
        self.__init__(*given)

    @property
    def nbytes(self):
        """The memory that it needs, roughly: the rows, and twice as much for plans."""
        X = self.problem
        return 3 * (X.indptr.nbytes + X.indices.nbytes + X.data.nbytes) + X.target.nbytes

    def __sizeof__(self):
        return self.nbytes

    def features(self, seed, step):
        """The distinct features of the mini-batch of a step; none without a mini-batch."""
        place = self._schedule(seed).get(step)
        if place is None:
            return np.zeros(0, np.uint32)
        return _features_of(self._window(place[0]), place[1])

    def gradients(self, features, parameters, seed, step):
        """The `Gradients` of a step, or None if there is no mini-batch.

        ``parameters`` are those of ``features``, which contain all that the mini-batch needs.
        """
        place = self._schedule(seed).get(step)
        if place is None:
            return None
        window = self._window(place[0])
        own = _features_of(window, place[1])
        needed = of_features(parameters, np.searchsorted(features, own))
        window = single_batch(window, place[1])
        state, losses = self._compute(window, own, needed, self.work.n_steps)
        order, weight = np.argsort(own), window.rows.weight
        return Gradients(
            own[order],
            state.intercept[:, 1],
            state.linear[:, order, 1],
            state.factors[:, order, 1, : parameters.factors.shape[2]],
            state.field_pairs[:, 1],
            state.linear[0, order, 2],
            float(weight.sum(dtype=np.float64)) if weight.size else float(losses.size),
            float(losses.sum()),
        )

    def total_loss(self, parameters):
        """The sum of the losses of all rows; ``parameters`` are those of all features."""
        if self.planner is None:
            return 0.0
        total = 0.0
        for planned in self.planner.in_order():
            for batch in range(planned.n_batches):
                features = _features_of(planned.window, batch)
                window = single_batch(planned.window, batch)
                needed = of_features(parameters, features)
                n_steps = self.work.n_forward_steps
                total += self._compute(window, features, needed, n_steps)[1].sum()
        return float(total)

    def _compute(self, window, features, parameters, n_steps):
        """The state with the gradients, and the losses of the rows."""
        problem, work = self.problem, self.work
        state = make_state(parameters, GradientsOnly)
        interactions = problem.interactions
        n_rows = window.rows.target.size
        scratch = make_scratch(
            state,
            interactions.n_layers,
            2,
            n_rows=n_rows,
            n_pairs=max(features.size, 1),
            n_threads=1,
            keeps_sums=interactions.has_field_pairs,
        )
        run_steps(
            np.array([0]),
            0,
            n_steps,
            0,
            1,
            NOBODY,
            plain(window),
            plain(state),
            np.zeros((features.size, 2), problem.data.dtype),  # the gradients have no penalty
            interactions.record(problem.used[features], problem.seen_weight),
            Rule(work.loss, GradientsOnly(), work.fit_intercept, work.fit_linear),
            plain(scratch),
        )
        return state, scratch.rows.losses[:n_rows]

    def _window(self, number):
        """A planned window: batches of the same one follow each other."""
        if self._last_window[0] != number:
            self._last_window = number, self.planner.window(number)
        return self._last_window[1]

    def _schedule(self, seed):
        """The window and the batch of each step that has one, by the number of the step."""
        if self._last_schedule[0] != seed:
            self._last_schedule = seed, self._draw_schedule(seed)
        return self._last_schedule[1]

    def _draw_schedule(self, seed):
        if self.planner is None:
            return {}
        rng = np.random.RandomState([seed, self.seed])
        places = [
            (number, batch)
            for number in rng.permutation(self.planner.n_windows).tolist()
            for batch in rng.permutation(self.planner.n_batches_of(number)).tolist()
        ]
        offset = int(rng.randint(len(places)))
        n_steps = self.work.n_batches
        steps = ((turn * n_steps + offset) // len(places) for turn in range(len(places)))
        return dict(zip(steps, places, strict=True))


def _features_of(window, batch):
    columns = window.columns
    return columns.feature[columns.start[batch] : columns.start[batch + 1]]


def of_features(parameters, features):
    """The parameters of some features."""
    return parameters._replace(
        linear=parameters.linear[:, features], factors=parameters.factors[:, features]
    )


def _plan(block, _, columns, work):
    return Partition(block, columns, work)


def _first_features(_, partition, seed):
    return np.sort(partition.features(seed, 0))


def _take_step(_, partition, features, parameters, seed, step):
    """The gradients of a step, and the features of the next one."""
    gradients = partition.gradients(features, Parameters(*parameters), seed, step)
    return gradients, np.sort(partition.features(seed, step + 1))


def _add_results(first, second):
    return add_gradients(first[0], second[0]), np.union1d(first[1], second[1])


def add_gradients(first, second):
    """The sum of `Gradients`, of the features of either; None is nothing."""
    if first is None or second is None:
        return first or second
    features = np.union1d(first.features, second.features)
    total = [features]
    for name in Gradients._fields[1:]:
        a, b = getattr(first, name), getattr(second, name)
        axis = _AXIS_OF_FEATURES.get(name)
        if axis is None:
            total.append(a + b)
            continue
        shape = (*a.shape[:axis], features.size, *a.shape[axis + 1 :])
        both = np.zeros(shape, a.dtype)
        for part, values in (first, a), (second, b):
            places = np.searchsorted(features, part.features)
            both[(slice(None),) * axis + (places,)] += values
        total.append(both)
    return Gradients(*total)


_AXIS_OF_FEATURES = {"linear": 1, "factors": 1, "feature_weight": 0}


def _total_loss(_, partition, parameters):
    return partition.total_loss(Parameters(*parameters))


# What happens here


class SynchronousTrainer(Trainer):
    """One training run on synchronous mini-batches of the partitions of a `StreamedProblem`."""

    def __init__(self, problem, optimizer, planner, steps, settings, rng, observed):
        super().__init__(problem, optimizer, planner, steps, settings, rng, observed)
        work = Work(
            steps.loss,
            steps.n_steps,
            steps.n_forward_steps,
            settings.fit_intercept,
            settings.fit_linear,
            planner.n_batches,
        )
        self._states = problem.rows.parts.states()
        self._states.advance(_plan, problem.without_rows(), work)

    def epoch(self):
        """Take the steps of an epoch; returns the mean of the losses before their updates."""
        self.optimizer.begin_epoch(self.problem.total_weight / self.problem.seen_weight)
        seed, total = int(self.rng.randint(2**31 - 1)), 0.0
        features = self._states.sum(_first_features, seed, add=np.union1d)
        for step in range(self.n_batches):
            present = parameters_in(self.optimizer.state, self.optimizer.n_components)
            given = features, tuple(of_features(present, features)), seed, step
            gradients, features = self._states.sum(_take_step, *given, add=_add_results)
            if gradients is not None:
                total += self._move(gradients)
        return total / self.problem.total_weight

    def measure(self, planner=None):
        if planner is not None:
            return super().measure(planner)
        parameters = tuple(self.parameters())
        total = self._states.sum(_total_loss, parameters)
        loss = total / self.problem.total_weight
        return loss, loss + self.penalty()

    def _move(self, gradients):
        """Take a step from the gradients of all partitions; returns the sum of their losses."""
        state, problem, settings = self.optimizer.state, self.problem, self.settings
        rule = Rule(
            self.steps.loss, self.optimizer.rule, settings.fit_intercept, settings.fit_linear
        )
        features, dtype = gradients.features, state.factors.dtype
        penalty = problem.penalty_share[features]
        n, width = features.size, state.factors.shape[3]
        for c, (linear, factors) in enumerate(zip(state.linear, state.factors, strict=True)):
            total = np.zeros((n, width), dtype)
            total[:, : gradients.factors.shape[2]] = gradients.factors[c]
            sums = (
                gradients.linear[c],
                np.zeros(n, dtype),  # the factors' gradients are complete
                gradients.feature_weight,
                total,
            )
            unused = np.zeros(0, dtype), np.zeros(0, np.uint32)
            local = linear[features], factors[features], penalty, *unused
            move_features(rule, features, sums, local, linear, factors)
        move_shared(
            rule,
            plain(state),
            gradients.intercept,
            gradients.field_pairs,
            self._pairs_of_partners(),
            gradients.weight,
        )
        return gradients.loss

    def _pairs_of_partners(self):
        """The numbers of the pairs of fields that have parameters."""
        interactions = self.problem.interactions
        if not interactions.has_field_pairs:
            return np.zeros(0, np.intp)
        partners = interactions.partners
        return np.flatnonzero(partners[np.triu_indices(len(partners), 1)])
