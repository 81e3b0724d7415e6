"""Epochs of planned mini-batches: order, stopping, divergence, history."""

import warnings
from dataclasses import dataclass, field

import numpy as np

from skfm._kernels import minibatch as kernels
from skfm._kernels.features import penalty
from skfm._kernels.records import Rule, Scratch, State
from skfm._solvers.plan import Planner, auto_batch_size
from skfm._solvers.progress import Progress
from skfm._solvers.team import run_together

N_SLOTS = 2  # the parameter and AdaGrad's sum of squared gradients
VECTOR_BYTES = 32  # rows of factors are padded with zeros to whole vectors of this size
MAX_RESTARTS = 6


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


def _aligned_zeros(shape, dtype):
    """Zeros that start at a cache line, so that a feature's factors cover as few as can be."""
    size = int(np.prod(shape))
    itemsize = np.dtype(dtype).itemsize
    raw = np.zeros(size + 64 // itemsize, dtype=dtype)
    offset = -raw.ctypes.data % 64 // itemsize
    return raw[offset : offset + size].reshape(shape)


def make_state(intercept, linear, factors):
    """The state that starts at the given scaled parameters; see ``records.State`` for shapes."""
    n_outputs, n_used, n_components = factors.shape
    vector = VECTOR_BYTES // factors.itemsize
    width = -(-n_components // vector) * vector
    state = State(
        intercept=np.zeros((n_outputs, N_SLOTS)),
        linear=_aligned_zeros((n_outputs, n_used, N_SLOTS), factors.dtype),
        factors=_aligned_zeros((n_outputs, n_used, N_SLOTS, width), factors.dtype),
    )
    _set_parameters(state, (intercept, linear, factors))
    return state


def _set_parameters(state, parameters):
    """Put parameters into a state and forget what the optimizer remembered."""
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
            factors=_aligned_zeros((n_pairs, n_slots, width), dtype),
            penalty=np.zeros((n_pairs, 2), dtype),
            self_product=np.zeros(n_pairs, dtype),
            sums=_aligned_zeros((n_outputs, n_rows, width), dtype),
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
            if self.settings.n_threads == 1:
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
        n_threads = self.settings.n_threads
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
        """Mean loss of the present parameters over the first window; changes nothing."""
        window = self.planner.window(0)
        total = 0.0
        for batch in range(window.row_start.size - 1):
            self._run(window, np.array([batch]), 0, 2 * self.n_outputs, 0, 1)
            n_rows = window.row_start[batch + 1] - window.row_start[batch]
            total += self.scratch.losses[:n_rows].sum()
        weight = window.weight.sum() if window.weight.size else window.target.size
        return total / weight


def train(problem, state, n_components, settings, rng, baseline, is_fitted=False):
    """Minimise the objective from ``state``; returns the parameters and the history.

    ``baseline`` is the mean loss of the intercept alone. Where the loss is not finite or stays
    far above it, training starts again from the last parameters whose loss was measured and
    found good, with a quarter of the step. A start that ``is_fitted`` may be worse than that,
    its data having changed since.
    """
    trainer = _Trainer(problem, state, settings, rng)
    progress = Progress(settings.max_iter, problem.n_rows, settings.verbose)
    history = History()
    good = candidate = get_parameters(state, n_components)
    restarts = bad = still = 0
    best = np.inf
    if is_fitted:
        baseline = max(baseline, trainer.measure())
    limit = 1.1 * baseline + 0.01  # a little room: random factors are not zero

    def restart():
        nonlocal restarts, bad, still, best, candidate
        if restarts == MAX_RESTARTS:
            raise ValueError(
                f"Training diverged {MAX_RESTARTS + 1} times, at last with learning_rate="
                f"{trainer.rule.learning_rate:.3g}. Scale the columns of X (for example with "
                "sklearn.preprocessing.MaxAbsScaler), or lower learning_rate or init_scale."
            )
        restarts += 1
        bad = still = 0
        best = np.inf
        smaller = trainer.rule.learning_rate / 4
        warnings.warn(
            f"Training diverged; it starts again with learning_rate={smaller:.3g}. Scaling "
            "the columns of X or a smaller learning_rate avoids this.",
            RuntimeWarning,
            stacklevel=4,
        )
        trainer.rule = trainer.rule._replace(learning_rate=smaller)
        _set_parameters(state, good)
        candidate = good

    try:
        for number in range(1, settings.max_iter + 1):
            shrinkage = trainer.penalty()
            loss = trainer.epoch()
            objective = loss + shrinkage
            history.loss_curve.append(objective)
            progress.epoch(number, objective)
            if not np.isfinite(objective):
                restart()
                continue
            if loss > limit:
                bad += 1
                if bad >= settings.n_iter_no_change:
                    restart()
                    continue
            else:
                bad = 0
                good = candidate
            candidate = get_parameters(state, n_components)
            if objective > best - settings.tol:
                still += 1
            else:
                still = 0
            best = min(best, objective)
            if still >= settings.n_iter_no_change:
                history.converged = True
                break
        # The last update has not been measured yet.
        if not trainer.measure() <= max(limit, best):
            warnings.warn(
                "The last epoch diverged; the parameters from before it are kept. Scaling the "
                "columns of X or a smaller learning_rate avoids this.",
                RuntimeWarning,
                stacklevel=3,
            )
            _set_parameters(state, good)
    finally:
        progress.close()
    return get_parameters(state, n_components), history
