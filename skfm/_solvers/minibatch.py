"""Epochs of planned mini-batches: order, stopping, divergence, history."""

import warnings
from dataclasses import dataclass, field

import numpy as np

from skfm._kernels import minibatch as kernels
from skfm._kernels.features import penalty
from skfm._kernels.records import Rule, Scratch, State
from skfm._solvers.memory import aligned_zeros
from skfm._solvers.plan import Planner, auto_batch_size
from skfm._solvers.progress import Progress
from skfm._solvers.team import run_together

N_SLOTS = 2  # the parameter and AdaGrad's sum of squared gradients
VECTOR_BYTES = 32  # rows of factors are padded with zeros to whole vectors of this size
MAX_RESTARTS = 6
ROWS_A_THREAD = 32


@dataclass
class Settings:
    """What the estimators' parameters say about training."""

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


@dataclass
class History:
    loss_curve: list = field(default_factory=list)
    converged: bool = False


def make_state(intercept, linear, factors):
    """The state that starts at the given scaled parameters; see ``records.State`` for shapes."""
    n_outputs, n_used, n_components = factors.shape
    vector = VECTOR_BYTES // factors.itemsize
    width = -(-n_components // vector) * vector
    state = State(
        intercept=np.zeros((n_outputs, N_SLOTS)),
        linear=aligned_zeros((n_outputs, n_used, N_SLOTS), factors.dtype),
        factors=aligned_zeros((n_outputs, n_used, N_SLOTS, width), factors.dtype),
    )
    _set_parameters(state, (intercept, linear, factors), forget=True)
    return state


def _set_parameters(state, parameters, *, forget):
    """Put parameters into a state; the optimizer's memory of them stays or is emptied."""
    if forget:
        for array in state:
            array[...] = 0
    intercept, linear, factors = parameters
    state.intercept[:, 0] = intercept
    state.linear[:, :, 0] = linear
    state.factors[:, :, 0, : factors.shape[2]] = factors


def get_parameters(state, n_components):
    return (
        state.intercept[:, 0].copy(),
        state.linear[:, :, 0].copy(),
        state.factors[:, :, 0, :n_components].copy(),
    )


class _Trainer:
    """One training run: the plan, the state and the work space."""

    def __init__(self, problem, state, settings, rng):
        self.problem = problem
        self.state = state
        self.settings = settings
        self.rng = rng
        batch_size = settings.batch_size
        if batch_size == "auto":
            batch_size = auto_batch_size(problem.n_rows)
        self.planner = Planner(problem, batch_size, rng)
        # Threads that get less than this wait longer than they work.
        self.n_threads = max(1, min(settings.n_threads, self.planner.batch_size // ROWS_A_THREAD))
        self.rule = Rule(
            problem.loss,
            settings.learning_rate,
            settings.floor,
            settings.fit_intercept,
            settings.fit_linear,
        )
        n_outputs, _, n_slots, width = state.factors.shape
        self.n_outputs = n_outputs
        n_rows, n_pairs = self.planner.batch_size, self.planner.max_pairs
        dtype = state.factors.dtype
        self.scratch = Scratch(
            linear=np.zeros((n_pairs, n_slots), dtype),
            factors=aligned_zeros((n_pairs, n_slots, width), dtype),
            penalty=np.zeros((n_pairs, 2), dtype),
            self_product=np.zeros(n_pairs, dtype),
            sums=aligned_zeros((n_outputs, n_rows, width), dtype),
            output=np.zeros((n_outputs, n_rows), dtype),
            gradient=np.zeros((n_outputs, n_rows), dtype),
            losses=np.zeros(n_rows),
        )

    def penalty(self):
        """The penalty term of the objective, for each unit of weight."""
        problem, state = self.problem, self.state
        total = sum(
            penalty(linear, factors, problem.linear_penalty, problem.factor_penalty)
            for linear, factors in zip(state.linear, state.factors, strict=True)
        )
        return total / problem.total_weight

    def epoch(self):
        """Train on every row once; returns the mean loss, each row's before its update."""
        total = 0.0
        for number in self.rng.permutation(self.planner.n_windows):
            window = self.planner.window(number)
            order = self.rng.permutation(window.row_start.size - 1)
            if self.n_threads == 1:
                total += self._run(window, order, 0, 4 * self.n_outputs, 0, 1)
            else:
                total += self._run_together(window, order)
        return total / self.problem.total_weight

    def _run(self, window, order, first, last, part, n_parts):
        return kernels.run_steps(
            window,
            order,
            first,
            last,
            self.state,
            self.problem.penalty_share,
            self.rule,
            self.scratch,
            part,
            n_parts,
        )

    def _run_together(self, window, order):
        """The same steps, each batch shared by several threads that wait after each step.

        Who computes a row's or a feature's sums does not change them.
        """
        steps = list(range(4 * self.n_outputs))
        if self.n_outputs == 1:
            steps.remove(2)  # nothing to gather again
        n_threads = self.n_threads
        losses = []

        def work(part, wait):
            for position in range(order.size):
                batch_of_one = order[position : position + 1]
                total = 0.0
                for step in steps:
                    total += self._run(window, batch_of_one, step, step + 1, part, n_threads)
                    wait()
                if part == 0:
                    losses.append(total)

        run_together(work, n_threads)
        total = 0.0
        for loss in losses:  # not sum(), which may compensate: the kernel does not
            total += loss
        return total

    def measure(self):
        """Mean loss and objective of the present parameters; changes nothing."""
        total = 0.0
        for number in range(self.planner.n_windows):
            window = self.planner.window(number)
            for batch in range(window.row_start.size - 1):
                self._run(window, np.array([batch]), 0, 2 * self.n_outputs, 0, 1)
                n_rows = window.row_start[batch + 1] - window.row_start[batch]
                total += self.scratch.losses[:n_rows].sum()
        loss = total / self.problem.total_weight
        return loss, loss + self.penalty()


class _Training:
    """What training knows of its course: where it was best, and whether it goes astray.

    An epoch's loss counts for the parameters before it. In several batches it is the mean on the
    way to the next ones, mostly better than the first and worse than the last; so what to keep
    at the end is measured once more.
    """

    def __init__(self, trainer, n_components, baseline, is_fitted):
        self.trainer = trainer
        self.n_components = n_components
        self.settings = trainer.settings
        if is_fitted:  # on data that has changed, the start may be worse than the intercept
            baseline = max(baseline, trainer.measure()[0])
        self.limit = 1.1 * baseline + 0.01  # a little room: random factors are not zero
        self.before = get_parameters(trainer.state, n_components)  # those before this epoch
        self.best_parameters = self.before
        self.best = np.inf
        self.bad = 0  # epochs in a row with a loss above the limit
        self.still = 0  # epochs in a row without progress
        self.restarts = 0

    def after_epoch(self, loss, shrinkage):
        """Take note of an epoch; returns whether training has converged."""
        objective = loss + shrinkage
        patience = self.settings.n_iter_no_change
        self.bad = self.bad + 1 if loss > self.limit else 0
        if not np.isfinite(objective) or self.bad >= patience:
            self._restart()
            return False
        self.still = 0 if objective < self.best - self.settings.tol else self.still + 1
        if objective < self.best and not self.bad:
            self.best, self.best_parameters = objective, self.before
        self.before = get_parameters(self.trainer.state, self.n_components)
        if self.still < patience or self.bad:
            return False
        if objective > self.best + 10 * self.settings.tol:
            self._step_back(forget=False)  # not at rest, but beyond the minimum
            return False
        return True

    def finish(self):
        """The parameters to keep: the last ones, unless those called best are better."""
        state = self.trainer.state
        loss, objective = self.trainer.measure()
        kept = get_parameters(state, self.n_components)
        if not objective <= self.best or not loss <= self.limit:
            _set_parameters(state, self.best_parameters, forget=False)
            best_loss, best_objective = self.trainer.measure()
            if not objective <= best_objective:
                if not loss <= self.limit:
                    _warn("The last epochs diverged; better parameters are kept.", 6)
                kept, loss = self.best_parameters, best_loss
        if not loss <= self.limit:
            self._give_up()
        return kept

    def _restart(self):
        if self.restarts == MAX_RESTARTS:
            self._give_up()
        self.restarts += 1
        self._step_back(forget=True)
        rate = self.trainer.rule.learning_rate
        _warn(f"Training diverged; it starts again with learning_rate={rate:.3g}.", 7)

    def _step_back(self, *, forget):
        """On from the best parameters with smaller steps."""
        rule = self.trainer.rule
        self.trainer.rule = rule._replace(learning_rate=rule.learning_rate / 4)
        _set_parameters(self.trainer.state, self.best_parameters, forget=forget)
        self.before = self.best_parameters
        self.bad = self.still = 0

    def _give_up(self):
        raise ValueError(
            "Training diverged, at last with learning_rate="
            f"{self.trainer.rule.learning_rate:.3g}. Scale the columns of X (for example with "
            "sklearn.preprocessing.MaxAbsScaler), or lower learning_rate or init_scale."
        )


def _warn(message, level):
    """Warn at the line that called ``fit``, ``level`` calls above."""
    cure = "Scaling the columns of X or a smaller learning_rate avoids this."
    warnings.warn(f"{message} {cure}", RuntimeWarning, stacklevel=level)


def train(problem, state, n_components, settings, rng, baseline, is_fitted):
    """Minimise the objective from ``state``; returns the parameters and the history.

    ``baseline`` is the mean loss of the intercept alone, and ``is_fitted`` says whether the
    state comes from an earlier fit. Where the loss is not finite or stays far above the
    baseline, training starts again from the best parameters measured, with a quarter of the
    step; so it does, without a warning, where it comes to rest above them.
    """
    trainer = _Trainer(problem, state, settings, rng)
    training = _Training(trainer, n_components, baseline, is_fitted)
    progress = Progress(settings.max_iter, problem.n_rows, settings.verbose)
    history = History()
    try:
        for number in range(1, settings.max_iter + 1):
            shrinkage = trainer.penalty()
            loss = trainer.epoch()
            history.loss_curve.append(loss + shrinkage)
            progress.epoch(number, loss + shrinkage)
            history.converged = training.after_epoch(loss, shrinkage)
            if history.converged:
                break
    finally:
        progress.close()
    return training.finish(), history
