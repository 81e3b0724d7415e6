"""Synchronous mini-batches: each step adds up the gradients of a mini-batch of every partition.

The rows stay in their partitions, which may be in other processes. The parameters and the state of
the update rule stay here. In each step, every partition receives the parameters of the features
of its next mini-batch, and returns the gradients of its loss by them. Their sum, in the order of
the partitions, is that of one large mini-batch, from which the update rule takes its step.

What partitions compute is a pure function of their rows and of what they receive, so results do
not depend on where that happens, or how often.
"""

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
from skfm._utils.memory import plain
from skfm._utils.partitions import Cluster


@dataclass
class PartitionedRows:
    """Rows as the solver sees them, in partitions: each is a `streamed.Block`.

    It has the sizes of a `streamed.RowsInPieces`, whose pieces are the partitions; but no process
    reads all of them.
    """

    cluster: Cluster
    parts: list
    n_features: int
    dtype: np.dtype
    piece_rows: np.ndarray
    piece_entries: np.ndarray

    def measure(self):
        """See `streamed.InOrder.measure`."""
        share = min(1.0, SAMPLE_ENTRIES / max(int(self.piece_entries.sum()), 1))
        each = [(number,) for number in range(len(self.parts))]
        measured = self.cluster.run(_measure, self.parts, share, each=each)
        sums, weights, samples = zip(*measured, strict=True)
        return _add(sums), float(sum(weights)), join_sample(samples, self.dtype)

    def measure_centered(self, center):
        """See `streamed.InOrder.measure_centered`."""
        measured = self.cluster.run(_measure_centered, self.parts, center)
        sums, n_entries = zip(*measured, strict=True)
        return _add(sums), np.sum(n_entries, axis=0)


def _add(sums):
    """The sums over all partitions, in their order."""
    return ColumnSums(*(np.sum(column, axis=0) for column in zip(*sums, strict=True)))


def _measure(block, number, share):
    sums = measure_columns(block.X, block.weight, np.zeros(block.X.shape[1]))
    n_rows, weight = block.X.shape[0], block.weight
    total_weight = weight.sum(dtype=np.float64) if weight.size else float(n_rows)
    rng = np.random.default_rng([0, number])
    return sums, total_weight, sample_of_block(block, rng, share)


def _measure_centered(block, center):
    sums = measure_columns(block.X, block.weight, center)
    return sums, np.bincount(block.X.indices, minlength=center.size)


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

    features: np.ndarray  # (n,), distinct
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

    def __init__(self, block, problem, work, number):
        self.work, self.number = work, number
        self.problem = problem.with_rows(block)
        n_rows = self.problem.n_rows
        batch_size = max(1, -(-n_rows // work.n_batches))
        rng = np.random.RandomState(number)
        self.planner = Planner(self.problem, batch_size, rng) if n_rows else None
        self._last_window = None, None
        self._last_schedule = None, None

    def features(self, seed, step):
        """The features of the mini-batch of a step; None if there is no mini-batch."""
        place = self._schedule(seed).get(step)
        if place is None:
            return None
        columns = self._window(place[0]).columns
        return columns.feature[columns.start[place[1]] : columns.start[place[1] + 1]]

    def gradients(self, parameters, seed, step):
        """The `Gradients` of a step; ``parameters`` are those of its features, in their order."""
        number, batch = self._schedule(seed)[step]
        window = single_batch(self._window(number), batch)
        features = self.features(seed, step)
        state, losses = self._compute(window, features, parameters, self.work.n_steps)
        weight = window.rows.weight
        return Gradients(
            features,
            state.intercept[:, 1],
            state.linear[:, :, 1],
            state.factors[:, :, 1, : parameters.factors.shape[2]],
            state.field_pairs[:, 1],
            state.linear[0, :, 2],
            float(weight.sum(dtype=np.float64)) if weight.size else float(losses.size),
            float(losses.sum()),
        )

    def total_loss(self, parameters):
        """The sum of the losses of all rows; ``parameters`` are those of all features."""
        if self.planner is None:
            return 0.0
        total = 0.0
        for planned in self.planner.in_order():
            columns = planned.window.columns
            for batch in range(planned.n_batches):
                features = columns.feature[columns.start[batch] : columns.start[batch + 1]]
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
        rng = np.random.RandomState([seed, self.number])
        places = [
            (number, batch)
            for number in rng.permutation(self.planner.n_windows).tolist()
            for batch in rng.permutation(self.planner.n_batches_of(number)).tolist()
        ]
        offset = int(rng.randint(len(places)))
        n_steps = self.work.n_batches
        steps = ((turn * n_steps + offset) // len(places) for turn in range(len(places)))
        return dict(zip(steps, places, strict=True))


def _next_features(partition, seed, step):
    return partition.features(seed, step)


def _take_step(partition, parameters, seed, step):
    """The gradients of a step, and the features of the next one."""
    gradients = None
    if parameters is not None:
        gradients = partition.gradients(Parameters(*parameters), seed, step)
    return gradients, partition.features(seed, step + 1)


def _total_loss(partition, parameters):
    return partition.total_loss(Parameters(*parameters))


def of_features(parameters, features):
    """The parameters of some features."""
    return parameters._replace(
        linear=parameters.linear[:, features], factors=parameters.factors[:, features]
    )


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
        rows = problem.rows
        self._cluster = rows.cluster
        each = [(number,) for number in range(len(rows.parts))]
        columns = problem.without_rows()
        self._parts = self._cluster.transform(_plan, rows.parts, columns, work, each=each)

    def epoch(self):
        """Take the steps of an epoch; returns the mean of the losses before their updates."""
        self.optimizer.begin_epoch(self.problem.total_weight / self.problem.seen_weight)
        seed, total = int(self.rng.randint(2**31 - 1)), 0.0
        needed = self._cluster.run(_next_features, self._parts, seed, 0)
        for step in range(self.n_batches):
            present = parameters_in(self.optimizer.state, self.optimizer.n_components)
            each = [
                (None if features is None else tuple(of_features(present, features)),)
                for features in needed
            ]
            results = self._cluster.run(_take_step, self._parts, seed, step, each=each)
            given = [gradients for gradients, _ in results if gradients is not None]
            needed = [features for _, features in results]
            if given:
                total += self._move(add_gradients(given, self.problem.n_used))
        return total / self.problem.total_weight

    def measure(self, planner=None):
        if planner is not None:
            return super().measure(planner)
        parameters = tuple(self.parameters())
        total = sum(self._cluster.run(_total_loss, self._parts, parameters))
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
                gradients.linear[c].astype(dtype),
                np.zeros(n, dtype),  # the factors' gradients are complete
                gradients.feature_weight.astype(dtype),
                total,
            )
            unused = np.zeros(0, dtype), np.zeros(0, np.uint32)
            local = linear[features], factors[features], penalty, *unused
            move_features(rule, features, sums, local, linear, factors)
        move_shared(
            rule,
            plain(state),
            gradients.intercept,
            gradients.field_pairs.astype(dtype),
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


def _plan(block, number, columns, work):
    return Partition(block, columns, work, number)


def add_gradients(given, n_used):
    """The sum of `Gradients`, one after the other in float64, of the features of all of them."""
    place = np.zeros(n_used, np.intp)
    occurs = np.zeros(n_used, bool)
    for part in given:
        occurs[part.features] = True
    features = np.flatnonzero(occurs)
    place[features] = np.arange(features.size)
    first = given[0]
    n_outputs, _, n_components = first.factors.shape
    intercept = np.zeros(n_outputs)
    linear = np.zeros((n_outputs, features.size))
    factors = np.zeros((n_outputs, features.size, n_components))
    field_pairs, feature_weight = np.zeros(first.field_pairs.shape), np.zeros(features.size)
    weight = loss = 0.0
    for part in given:
        places = place[part.features]
        intercept += part.intercept
        linear[:, places] += part.linear
        factors[:, places] += part.factors
        field_pairs += part.field_pairs
        feature_weight[places] += part.feature_weight
        weight += part.weight
        loss += part.loss
    features = features.astype(first.features.dtype)
    return Gradients(
        features, intercept, linear, factors, field_pairs, feature_weight, weight, loss
    )
