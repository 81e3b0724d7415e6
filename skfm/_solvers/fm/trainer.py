"""One training run by mini-batches: epochs, Newton steps, and steps away from saddle points."""

from contextlib import closing
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np

from skfm._kernels.barrier import NOBODY
from skfm._kernels.features import penalty
from skfm._kernels.structs import Rule
from skfm._solvers.fm import saddle_points
from skfm._solvers.fm.batches import Planner
from skfm._solvers.fm.dense_columns import DenseColumns
from skfm._solvers.fm.empirical_bayes import weighted_curvatures
from skfm._solvers.fm.problem import Problem
from skfm._solvers.fm.scratch import make_scratch
from skfm._utils.memory import plain
from skfm._utils.threads import Barrier, run_together

ROWS_A_THREAD = 32  # of a batch, at least: with fewer, threads wait longer than they compute


class BatchSteps(Protocol):
    """The interface between a `Trainer` and the kernels that train on its batches."""

    loss: NamedTuple  # a class of _kernels/losses.py
    n_steps: int  # of a batch
    n_forward_steps: int  # the first of them, in which the losses of its rows are computed
    has_row_losses: bool  # whether the loss of a row depends on its output alone
    remedy: str  # what to do if training diverges

    def begin_epoch(self, rng):
        """Prepare an epoch of training."""

    def end_epoch(self, loss):
        """Finish an epoch of this mean loss."""

    def snapshot(self):
        """What epochs change besides the optimizer's state; ``restore`` takes it."""

    def restore(self, snapshot):
        """Restore that."""

    def begin_measurement(self):
        """Prepare a computation of losses without training."""

    def adapt_penalty(self, penalty):
        """The penalty to report with the loss."""

    def arguments(self, number):
        """The kernel's arguments for a window besides those of `minibatch.run_steps`."""

    def run(self, *arguments):
        """Call the kernel."""


class Observed(NamedTuple):
    """Rows in memory that stand for all rows where more than the mean loss is needed.

    They are all rows, or a sample of them if the rows are read from files.
    """

    problem: Problem
    planner: Planner


class Outputs(NamedTuple):
    """Results of the present parameters for the observed rows."""

    raw: np.ndarray  # (n_outputs, n_rows)
    slope: np.ndarray  # (n_outputs, n_rows), derivatives of the weighted losses by raw outputs
    objective: float


class Trainer:
    """One training run on planned batches; `run_epochs` documents its methods.

    Parameters
    ----------
    problem : Problem
    optimizer : Optimizer
        The parameters, their update rule and the learning rate.
    planner : Planner or StreamedBatches
        The batches.
    steps : BatchSteps
        How batches are computed.
    settings : Settings
    rng : RandomState
    observed : Observed, optional
        By default, the rows of the problem.
    """

    def __init__(self, problem, optimizer, planner, steps, settings, rng, observed=None):
        self.problem = problem
        self.observed = observed or Observed(problem, planner)
        self.optimizer = optimizer
        self.planner = planner
        self.steps = steps
        self.settings = settings
        self.rng = rng
        self.finds_rate = settings.finds_rate
        self.interactions = problem.interactions.record(problem.used, problem.seen_weight)
        self._last = None  # the batch trained last, as a window and its number there
        self.n_threads = count_threads(settings.n_threads, planner.batch_size)
        self._make_room(planner.max_pairs)

    def _make_room(self, n_pairs):
        """Scratch space for batches of so many distinct features."""
        problem = self.problem
        self.scratch = make_scratch(
            self.optimizer.state,
            problem.interactions.n_layers,
            problem.penalty_share.shape[1],
            n_rows=self.planner.batch_size,
            n_pairs=n_pairs,
            n_threads=self.n_threads,
            keeps_sums=problem.interactions.has_field_pairs,
        )

    @property
    def remedy(self):
        return self.steps.remedy

    @property
    def n_batches(self):
        return self.planner.n_batches

    @property
    def learning_rate(self):
        return self.optimizer.learning_rate

    def snapshot(self):
        """What epochs change."""
        return {
            "optimizer": self.optimizer.snapshot(),
            "steps": self.steps.snapshot(),
            "random_state": self.rng.get_state(legacy=False),
        }

    def restore(self, snapshot):
        self.optimizer.restore(snapshot["optimizer"])
        self.steps.restore(snapshot["steps"])
        self.rng.set_state(snapshot["random_state"])

    def slow_down(self):
        self.optimizer.slow_down()

    def adapt_to_new_objective(self):
        self.optimizer.adapt_to_new_objective()

    def parameters(self):
        return self.optimizer.parameters()

    def set_parameters(self, parameters, *, forget):
        self.optimizer.set_parameters(parameters, forget=forget)

    def measure_at(self, parameters, planner=None):
        """`measure` for other parameters; restores the state."""
        state = self.optimizer.state
        kept = [array.copy() for array in state]
        self.set_parameters(parameters, forget=False)
        measured = self.measure(planner)
        for array, values in zip(state, kept, strict=True):
            array[...] = values
        return measured

    def penalty(self):
        """The penalty term of the objective, for each unit of weight."""
        problem, state = self.problem, self.optimizer.state
        total = sum(
            penalty(linear, factors, problem.linear_penalty, problem.factor_penalty)
            for linear, factors in zip(state.linear, state.factors, strict=True)
        )
        total += problem.interactions.penalty(state.field_pairs[:, 0], problem.seen_weight)
        if problem.has_lasso:
            lengths = np.sqrt(np.square(state.factors[:, :, 0], dtype=float).sum(axis=2))
            total += (np.abs(state.linear[:, :, 0]) @ problem.linear_lasso).sum()
            total += (lengths @ problem.factor_lasso).sum()
        total += problem.penalty_elsewhere
        return self.steps.adapt_penalty(total / problem.seen_weight)

    def epoch(self):
        """Train on every row once; returns the mean of the rows' losses before their updates."""
        self.steps.begin_epoch(self.rng)
        self.optimizer.begin_epoch(self.problem.total_weight / self.problem.seen_weight)
        total = 0.0
        with closing(self.planner.epoch(self.rng)) as windows:
            for planned in windows:
                arguments = self._arguments(planned)
                order = self.rng.permutation(planned.n_batches)
                total += self._run(order, self.steps.n_steps, arguments)
                self._last = planned, order[-1]
        loss = total / self.problem.total_weight
        self.steps.end_epoch(loss)
        return loss

    def _arguments(self, planned):
        """The kernel's arguments for a window, from the barrier on."""
        number, window, _ = planned
        n_pairs = planned.max_pairs
        if n_pairs > self.scratch.local.penalty.shape[0]:  # more than before, in a stream
            self._make_room(n_pairs)
        settings = self.settings
        rule = Rule(
            self.steps.loss, self.optimizer.rule, settings.fit_intercept, settings.fit_linear
        )
        return (
            plain(window),
            plain(self.optimizer.state),
            self.problem.penalty_share,
            self.interactions,
            rule,
            plain(self.scratch),
            *self.steps.arguments(number),
        )

    def _run(self, order, n_steps, arguments):
        """Run some batches of a window, each shared by all threads.

        Which thread computes the sums of a row or a feature does not change them.
        """
        n_threads, run = self.n_threads, self.steps.run
        if n_threads == 1:
            return run(order, 0, n_steps, 0, 1, NOBODY, *arguments)
        losses = np.empty(n_threads)

        def work(part, barrier):
            losses[part] = run(order, 0, n_steps, part, n_threads, barrier, *arguments)

        run_together(work, n_threads, Barrier)
        return losses[0]

    def measure(self, planner=None):
        """Mean loss and objective of the present parameters; changes nothing.

        They are those of the rows of a planner, or of all rows.
        """
        problem = self.problem if planner is None else planner.problem
        total = 0.0
        for rows in self._each_batch(planner or self.planner):
            total += self.scratch.rows.losses[: rows.size].sum()
        loss = total / problem.total_weight
        return loss, loss + self.penalty()

    def measure_last(self):
        """Mean loss of the batch that the last epoch has trained last, with the present
        parameters; changes nothing."""
        self.steps.begin_measurement()
        planned, batch = self._last
        rows = self._compute(planned, self._arguments(planned), batch)
        weight = self.problem.weight[rows].sum() if self.problem.weight.size else rows.size
        return self.scratch.rows.losses[: rows.size].sum() / weight

    def outputs(self):
        """Raw outputs of the present parameters (n_outputs, n_observed); changes nothing."""
        return self._compute_outputs().raw

    def _each_batch(self, planner):
        """Compute each batch; yields its rows while the scratch space holds their results."""
        self.steps.begin_measurement()
        with closing(planner.in_order()) as windows:
            for planned in windows:
                arguments = self._arguments(planned)
                for batch in range(planned.n_batches):
                    yield self._compute(planned, arguments, batch)

    def _compute(self, planned, arguments, batch):
        """Compute a batch of a window; returns its rows."""
        n_steps, start = self.steps.n_forward_steps, planned.window.rows.start
        self.steps.run(np.array([batch]), 0, n_steps, 0, 1, NOBODY, *arguments)
        return planned.rows[start[batch] : start[batch + 1]]

    def leave_saddle(self):
        """Leave the saddle point near zero factors, if there is a direction of descent.

        Returns whether there was one, and the objective is lower.
        """
        if not self.steps.has_row_losses:
            return False
        parameters = self.parameters()
        if (
            saddle_points.factor_size(self.problem, parameters.factors)
            > saddle_points.MAX_FACTOR_SIZE
        ):
            return False
        before = self._compute_outputs()
        least = before.objective
        for output, steps in saddle_points.descent_directions(self.observed.problem, before.slope):
            for step in steps:
                moved = self._with_component(parameters, output, step)
                _, objective = self.measure_at(moved, self.observed.planner)
                if not objective < least - self.settings.tol:
                    break
                best, least = moved, objective
        if least == before.objective:
            return False
        self.set_parameters(best, forget=False)
        return True

    @cached_property
    def dense(self):
        return DenseColumns(self.observed.problem, self.settings)

    def take_newton_step(self):
        """Take a Newton step of the intercepts and the linear weights of dense columns.

        Returns the objective after it, or infinity if there are no dense columns.
        """
        if not self.steps.has_row_losses or not self.dense.columns.size:
            return np.inf
        before = self._compute_outputs()
        step, linear_step = self.dense.newton_steps(
            self._curvature(before), before.slope, self.parameters().linear
        )
        return self._step(step, linear_step, before.objective)

    def move_intercept(self):
        """Take a Newton step of the intercept alone, if it lowers the objective."""
        before = self._compute_outputs()
        total = np.maximum(self._curvature(before).sum(axis=1), np.finfo(np.float64).tiny)
        self._step(-before.slope.sum(axis=1) / total, 0.0, before.objective)

    def _curvature(self, outputs):
        problem, loss_parameter = self.observed.problem, self.settings.loss_parameter
        return weighted_curvatures(problem, loss_parameter, outputs.raw)[0]

    def _step(self, step, linear_step, start):
        """Take a step of intercepts and linear weights, halved until it lowers the objective.

        Returns the objective after it, which is ``start`` if not even a quarter lowers it.
        """
        before = self.parameters()
        for share in (1.0, 0.5, 0.25):
            moved = before._replace(
                intercept=before.intercept + share * step,
                linear=before.linear + share * linear_step,
            )
            _, objective = self.measure_at(moved, self.observed.planner)
            if objective < start:
                self.set_parameters(moved, forget=False)
                return objective
        return start

    def _compute_outputs(self):
        problem, planner = self.observed
        raw = np.empty((self.scratch.rows.output.shape[0], problem.n_rows))
        slope, total = np.empty(raw.shape), 0.0
        for rows in self._each_batch(planner):
            raw[:, rows] = self.scratch.rows.output[:, : rows.size]
            slope[:, rows] = self.scratch.rows.gradient[:, : rows.size]
            total += self.scratch.rows.losses[: rows.size].sum()
        return Outputs(raw, slope, total / problem.total_weight + self.penalty())

    def _with_component(self, parameters, output, component):
        """The parameters with the smallest component for pairs replaced by another one."""
        factors = parameters.factors.copy()
        components = self.problem.interactions.components_of_pairs()
        sizes = np.square(factors[output][:, components], dtype=np.float64).sum(axis=(0, 2))
        factors[output][:, components[sizes.argmin()]] = component[:, None]
        return parameters._replace(factors=factors)


def count_threads(n_threads, batch_size):
    """The number of threads that share a batch."""
    return max(1, min(n_threads, batch_size // ROWS_A_THREAD))
