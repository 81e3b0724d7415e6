"""Epochs of planned mini-batches: order, stopping, divergence, history."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from skfm._kernels import minibatch as kernels
from skfm._kernels.barrier import NOBODY
from skfm._kernels.features import penalty
from skfm._kernels.losses import make_loss
from skfm._kernels.structs import Block, Local, RowScratch, Rule, Scratch
from skfm._kernels.update_rules import FTRL, SGD, Adam
from skfm._solvers.fm import optimizer_state, saddle_points
from skfm._solvers.fm.batches import Planner, auto_batch_size
from skfm._solvers.fm.dense_columns import DenseColumns
from skfm._solvers.fm.empirical_bayes import PenaltySearch, weighted_curvatures
from skfm._solvers.fm.optimizer_state import UPDATES, Memory
from skfm._solvers.fm.penalties import FIND_NONE
from skfm._solvers.training import MAX_RESTARTS, History, advice, loss_limit, run_epochs
from skfm._utils.memory import aligned_zeros, plain
from skfm._utils.progress import Progress
from skfm._utils.threads import Barrier, run_together

# Lengths of the first steps, chosen by benchmarks/default_neighbours.py.
RATES = {"adagrad": 0.1, "adam": 0.02, "ftrl": 0.2, "sgd": 0.05}
RATES_OF_CLASSES = RATES | {"adagrad": 0.15}
# Steps that do not shorten by themselves are divided by the root of 1 + epoch / this.
SLOWING = {Adam: 10, SGD: 10}
ROWS_A_THREAD = 32
LEAST_PATIENCE = 20  # batches: of small data, five epochs are five steps, and say little
FAR_LOSS = 1e6  # times the baseline's: a target a thousand times as large as those before


@dataclass
class Settings:
    """What the estimators' parameters say about training."""

    solver: str
    loss_shape: float
    learning_rate: float
    floor: float
    batch_size: int | str
    max_iter: int
    tol: float
    n_iter_no_change: int
    fit_intercept: bool
    fit_linear: bool
    n_threads: int
    verbose: bool
    finds_rate: bool = False  # whether nobody has set the learning rate


class Trainer:
    """One training run: the plan, the state and the work space."""

    kernels = kernels

    def __init__(self, problem, start, settings, rng, memory=None, count=None):
        """``count`` is the weight of the rows that ``memory`` knows of, by feature."""
        update = UPDATES[settings.solver]
        self.problem = problem
        self.update = update
        self.interactions = problem.interactions.record(problem.used)
        memory = memory or Memory(None, 0, 1.0)
        count = problem.count_before if count is None else count
        if memory.state is None:
            self.state = optimizer_state.make_state(start, update)
            if memory.intercept is not None:
                self.state.intercept[:, 1:] = memory.intercept[:, 1:]
                remembered = optimizer_state.remembered(self.state, update)
                optimizer_state.recall(remembered, memory.summary, update, count)
            if update is FTRL and count.any():
                self._recall_ftrl(count)
        else:
            self.state = memory.state
            optimizer_state.set_parameters(self.state, start, forget=False)
        self.n_outputs = self.state.factors.shape[0]
        self.n_components = start[2].shape[2]
        self.settings = settings
        self.finds_rate = settings.finds_rate
        self.rng = rng
        batch_size = settings.batch_size
        if batch_size == "auto":
            batch_size = auto_batch_size(problem.n_rows, update)
        self.planner = Planner(problem, batch_size, rng)
        # Threads that get less than this wait longer than they work.
        self.n_threads = max(1, min(settings.n_threads, self.planner.batch_size // ROWS_A_THREAD))
        self.rule = Rule(
            self._loss_record(),
            self._update_record(settings.learning_rate),
            settings.fit_intercept,
            settings.fit_linear,
        )
        self.n_epochs = memory.n_epochs
        self.learning_rate = settings.learning_rate * memory.slowness
        self.scratch = self._make_scratch(self.planner.batch_size, self.planner.max_pairs)

    def _make_scratch(self, n_rows, n_pairs):
        n_outputs, _, n_slots, width = self.state.factors.shape
        n_layers = self.problem.interactions.n_layers
        dtype = self.state.factors.dtype
        n_together = self.n_threads * kernels.BLOCK
        return Scratch(
            Local(
                linear=np.zeros((n_pairs, self.state.linear.shape[2]), dtype),
                factors=aligned_zeros((n_pairs, n_slots, width), dtype),
                penalty=np.zeros((n_pairs, self.problem.penalty_share.shape[1]), dtype),
                self_product=np.zeros(n_pairs, dtype),
                layer=np.zeros(n_pairs, np.uint32),
            ),
            RowScratch(
                sums=aligned_zeros((n_outputs, n_rows, n_layers * width), dtype),
                output=np.zeros((n_outputs, n_rows), dtype),
                gradient=np.zeros((n_outputs, n_rows), dtype),
                losses=np.zeros(n_rows),
                room=np.zeros((self.n_threads * n_layers, width), dtype),
            ),
            Block(
                slope=np.zeros(n_together, dtype),
                curve=np.zeros(n_together, dtype),
                weight=np.zeros(n_together, dtype),
                total=aligned_zeros((n_together, width), dtype),
            ),
        )

    def _loss_record(self):
        return make_loss(self.problem.loss, self.settings.loss_shape, self.n_outputs)

    def _update_record(self, learning_rate):
        """What the kernels take of the update rule."""
        known = {
            "learning_rate": float(learning_rate),
            "floor": float(self.settings.floor),
            "n_components": self.n_components,
        }
        return self.update(**{name: known[name] for name in self.update._fields})

    def _recall_ftrl(self, count):
        """What FTRL remembers of parameters at rest: rows seen, pulls that balance penalties."""
        problem, (_, linear, factors) = self.problem, self.state
        share = count[:, None] * problem.penalty_share.astype(np.float64)
        ridge, lasso = share[:, :2], share[:, 2:] if problem.has_lasso else 0 * share
        linear[:, :, 3] = count
        weights = linear[:, :, 0]
        linear[:, :, 1] = -(ridge[:, 0] * weights + lasso[:, 0] * np.sign(weights))
        vectors = factors[:, :, 0]
        length = np.sqrt(np.square(vectors, dtype=float).sum(axis=2, keepdims=True))
        stretch = ridge[:, 1, None] + lasso[:, 1, None] / np.where(length > 0, length, np.inf)
        factors[:, :, 1] = -stretch * vectors

    def memory(self):
        slowness = self.learning_rate / self.settings.learning_rate
        return Memory(self.state, self.n_epochs, slowness)

    def summary(self):
        """The memory without its state: means over all features instead.

        Enough for who goes on not to take the long steps of a beginner.
        """
        remembered = optimizer_state.remembered(self.state, self.update)
        return replace(
            self.memory(),
            state=None,
            intercept=self.state.intercept.copy(),
            summary=optimizer_state.summarise(remembered, self.update, self.problem.count),
        )

    def begin_anew(self):
        """The objective is another: FTRL's pulls balance other penalties, and Adam's steps, which
        have a largest length, are long again."""
        if self.update is Adam:
            self.n_epochs = 0
        self.set_parameters(self.parameters(), forget=False)

    @property
    def cure(self):
        return advice(self.problem, "lower learning_rate or init_scale")

    def slow_down(self):
        self._set_rate(self.learning_rate / 4)

    def _set_rate(self, rate):
        self.learning_rate = rate
        slowing = SLOWING.get(self.update)
        if slowing is not None:
            rate /= np.sqrt(1 + self.n_epochs / slowing)
        self.rule = self.rule._replace(update=self._update_record(rate))

    def parameters(self):
        return optimizer_state.get_parameters(self.state, self.n_components)

    def set_parameters(self, parameters, *, forget):
        optimizer_state.set_parameters(self.state, parameters, forget=forget)
        if self.update is FTRL and not forget:  # its pulls belong to its parameters
            self._recall_ftrl(self.state.linear[0, :, 3].astype(np.float64))

    def measure_at(self, parameters):
        """`measure` for other parameters; the state stays."""
        kept = [array.copy() for array in self.state]
        self.set_parameters(parameters, forget=False)
        measured = self.measure()
        for array, values in zip(self.state, kept, strict=True):
            array[...] = values
        return measured

    def penalty(self):
        """The penalty term of the objective, for each unit of weight."""
        problem, state = self.problem, self.state
        total = sum(
            penalty(linear, factors, problem.linear_penalty, problem.factor_penalty)
            for linear, factors in zip(state.linear, state.factors, strict=True)
        )
        if problem.has_lasso:
            lengths = np.sqrt(np.square(state.factors[:, :, 0], dtype=float).sum(axis=2))
            total += (np.abs(state.linear[:, :, 0]) @ problem.linear_lasso).sum()
            total += (lengths @ problem.factor_lasso).sum()
        return total / problem.seen_weight

    def epoch(self):
        """Train on every row once; returns the mean loss, each row's before its update."""
        self._set_rate(self.learning_rate)
        self.n_epochs += self.problem.total_weight / self.problem.seen_weight
        total = 0.0
        for number in self.rng.permutation(self.planner.n_windows):
            row_start, arguments = self._window(number)
            order = self.rng.permutation(row_start.size - 1)
            total += self._run(order, self.n_steps, arguments)
        return total / self.problem.total_weight

    @property
    def n_batches(self):
        return self.planner.n_batches

    @property
    def n_steps(self):
        """Steps of a batch; in the first ones the losses of its rows are computed."""
        return 4 * self.n_outputs + 2

    @property
    def n_forward_steps(self):
        return 2 * self.n_outputs + 1

    def _window(self, number):
        """Where the batches of a window begin, and what the kernel takes after their order."""
        window = self.planner.window(number)
        return window.rows.start, (plain(window), *self._arguments())

    def _arguments(self):
        """What the kernel takes besides a window."""
        return (
            plain(self.state),
            self.problem.penalty_share,
            self.interactions,
            self.rule,
            plain(self.scratch),
        )

    def _run(self, order, n_steps, arguments):
        """Some batches of a window, each shared by all threads.

        Who computes a row's or a feature's sums does not change them.
        """
        n_threads, run_steps = self.n_threads, self.kernels.run_steps
        if n_threads == 1:
            return run_steps(order, 0, n_steps, 0, 1, NOBODY, *arguments)
        losses = np.empty(n_threads)

        def work(part, barrier):
            losses[part] = run_steps(order, 0, n_steps, part, n_threads, barrier, *arguments)

        run_together(work, n_threads, Barrier)
        return losses[0]

    def measure(self):
        """Mean loss and objective of the present parameters; changes nothing."""
        losses = self.scratch.rows.losses
        total = sum(losses[: rows.size].sum() for rows in self._each_batch())
        loss = total / self.problem.total_weight
        return loss, loss + self.penalty()

    def outputs(self):
        """Raw outputs of the present parameters (n_outputs, n_rows); changes nothing."""
        return self._slopes()[0]

    def _each_batch(self):
        """Compute batch after batch; yields its rows while the scratch has what is theirs."""
        for number in range(self.planner.n_windows):
            row_start, arguments = self._window(number)
            rows, _ = self.planner.rows(number)
            for batch in range(row_start.size - 1):
                one = np.array([batch])
                self.kernels.run_steps(one, 0, self.n_forward_steps, 0, 1, NOBODY, *arguments)
                yield rows[row_start[batch] : row_start[batch + 1]]

    def leave_saddle(self):
        """Give factors that are nearly zero a start, if there is a way down.

        Returns whether there was one. Then the objective is lower than it was.
        """
        parameters = self.parameters()
        if saddle_points.strength(self.problem, parameters[2]) > saddle_points.WEAK:
            return False
        _, slope, start = self._slopes()
        least = start
        for output, steps in saddle_points.ways_down(self.problem, slope):
            for step in steps:
                moved = self._with_component(parameters, output, step)
                _, objective = self.measure_at(moved)
                if not objective < least - self.settings.tol:
                    break
                best, least = moved, objective
        if least == start:
            return False
        self.set_parameters(best, forget=False)
        return True

    @cached_property
    def dense(self):
        return DenseColumns(self.problem, self.settings)

    def take_newton_step(self):
        """Move intercepts and linear weights of dense columns towards the least of the objective.

        Returns the objective then, infinity where there is nothing to move.
        """
        if not self.dense.columns.size:
            return np.inf
        raw, slope, start = self._slopes()
        curvature, _ = weighted_curvatures(self.problem, self.settings.loss_shape, raw)
        return self._step(*self.dense.newton_steps(curvature, slope, self.parameters()[1]), start)

    def move_intercept(self):
        """A Newton step of the intercept alone, if that lowers the objective."""
        raw, slope, start = self._slopes()
        curvature, _ = weighted_curvatures(self.problem, self.settings.loss_shape, raw)
        total = np.maximum(curvature.sum(axis=1), np.finfo(np.float64).tiny)
        self._step(-slope.sum(axis=1) / total, 0.0, start)

    def _step(self, step, linear_step, start):
        """Move intercepts and linear weights, less far or not at all where the objective is more
        than at the start; returns the objective then."""
        intercept, linear, factors = self.parameters()
        for share in (1.0, 0.5, 0.25):
            moved = intercept + share * step, linear + share * linear_step, factors
            _, objective = self.measure_at(moved)
            if objective < start:
                self.set_parameters(moved, forget=False)
                return objective
        return start

    def _slopes(self):
        """Raw outputs, derivatives of the loss by them (n_outputs, n_rows), and the objective."""
        raw = np.empty((self.n_outputs, self.problem.n_rows))
        slope, total = np.empty(raw.shape), 0.0
        for rows in self._each_batch():
            raw[:, rows] = self.scratch.rows.output[:, : rows.size]
            slope[:, rows] = self.scratch.rows.gradient[:, : rows.size]
            total += self.scratch.rows.losses[: rows.size].sum()
        return raw, slope, total / self.problem.total_weight + self.penalty()

    def _with_component(self, parameters, output, component):
        """The parameters with another component in the place of the weakest for pairs."""
        intercept, linear, factors = parameters
        factors = factors.copy()
        pairs = np.flatnonzero(self.problem.interactions.degrees == 2)
        sizes = np.square(factors[output][:, pairs], dtype=np.float64).sum(axis=0)
        factors[output, :, pairs[sizes.argmin()]] = component
        return intercept, linear, factors


def train(
    problem,
    start,
    settings,
    rng,
    baseline,
    *,
    is_fitted,
    keeps_state,
    memory=None,
    listener=None,
    finds=FIND_NONE,
    searched=None,
):
    """Minimise the objective from ``start``; returns parameters, history and memory.

    ``start`` are scaled parameters: intercept (n_outputs,), linear (n_outputs, n_used) and factors
    (n_outputs, n_used, n_components). ``baseline`` is the mean loss of the intercept alone, and
    ``is_fitted`` says whether they come from an earlier fit, whose memory may be given, and
    ``keeps_state`` whether the memory that is returned is whole or a summary.

    ``listener``, if given, is called as `run_epochs` says, and may choose other parameters.
    ``finds`` says which penalties are to be found, continuing from what earlier fits have
    ``searched``; they are those of the problem at the end.
    """
    if memory is not None:
        memory = memory.of_one_epoch(UPDATES[settings.solver])
    count = None if memory is None else problem.count
    trainer = Trainer(problem, start, settings, rng, memory, count)
    if is_fitted:  # on data that has changed, the start may be worse than the intercept
        if settings.fit_intercept and trainer.measure()[0] > loss_limit(baseline):
            trainer.move_intercept()
        baseline = max(baseline, trainer.measure()[0])
    if listener is not None:
        listener.least_patience = -(-LEAST_PATIENCE // trainer.n_batches)
    progress = Progress(settings, problem.n_rows, "rows")
    search = PenaltySearch(problem, settings, finds, trainer.n_batches, searched)
    parameters, history = run_epochs(trainer, baseline, settings, progress, listener, search)
    history.searched = search.searched(len(history.loss_curve))
    if listener is not None:
        parameters = listener.choose(parameters)
    if not all(map(np.array_equal, parameters, trainer.parameters())):
        trainer.set_parameters(parameters, forget=False)
    return parameters, history, trainer.memory() if keeps_state else trainer.summary()


def train_chunk(problem, start, settings, rng, baseline, memory, listener=None):
    """One epoch on further rows of a stream; the same as `train` returns.

    Chunks differ, so what is worse on this one is kept, unless it is far beyond all measure: then
    the chunk is tried again from where it began, with smaller steps.
    """
    if settings.batch_size == "auto":  # small chunks of much data are no small data
        update, n_rows = UPDATES[settings.solver], problem.n_rows
        n_so_far = n_rows + round(problem.seen_weight - problem.total_weight)
        batch_size = min(auto_batch_size(n, update) for n in (n_rows, n_so_far))
        settings = replace(settings, batch_size=batch_size)
    for _ in range(MAX_RESTARTS + 1):
        trainer = Trainer(problem, start, settings, rng, memory.copy())
        guard = optimizer_state.Guard(trainer.state, trainer.update)
        before = trainer.measure()[0]
        if not before <= FAR_LOSS * max(baseline, 1.0):
            raise ValueError(
                f"Rows of this chunk are too large for the model: its mean loss on them is "
                f"{before:.3g}, that of a constant was {baseline:.3g}. Check X, y and "
                "sample_weight for numbers far larger than those before."
            )
        shrinkage = trainer.penalty()
        objective = trainer.epoch() + shrinkage
        after, objective_after = trainer.measure()
        is_finite = np.isfinite(objective_after) and all(
            np.isfinite(array).all() for array in trainer.state
        )
        if is_finite and after <= loss_limit(max(baseline, before)):
            guard.restrain(problem, trainer.n_batches)
            if listener is not None:
                listener(1, objective, trainer.parameters())
            left = trainer.memory()
            left = replace(left, slowness=left.recovered())
            return trainer.parameters(), History([objective]), left
        memory = replace(memory, slowness=memory.slowness / 4)
    rate = trainer.learning_rate
    raise ValueError(
        f"Training on this chunk diverged, at last with learning_rate={rate:.3g}. " + trainer.cure
    )
