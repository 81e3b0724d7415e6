"""Block coordinate descent: each feature's parameters at their best, given all others."""

import numpy as np

from skfm._kernels import losses
from skfm._kernels.majorise import majorise
from skfm._kernels.records import Prior
from skfm._solvers.columns import Sweeper
from skfm._solvers.progress import Progress
from skfm._solvers.training import run_sweeps

REFRESH = 8  # sweeps after which sums and outputs are computed anew, for less rounding
MAX_TRIES = 20  # of shorter steps
ROOM = 1e-6  # relative rise of the objective that counts as rounding


class _Descent:
    """The parameters, what rows have of them, and sweeps that lower the objective."""

    def __init__(self, problem, start, settings):
        self.problem = problem
        self.settings = settings
        self.sweeper = Sweeper(problem, settings.n_threads)
        intercept, linear, factors = start
        self.intercept = intercept.copy()
        self.machines = [
            self.sweeper.machine(*own) for own in zip(linear, factors, strict=True)
        ]
        n_outputs, _, n_components = factors.shape
        dtype = factors.dtype
        self.prior = Prior(
            np.zeros(problem.n_used, np.uint32),
            problem.linear_penalty,
            problem.factor_penalty,
            np.ones((1, n_components + 1)),
            np.zeros((1, n_components + 1)),
        )
        is_plain = problem.loss == losses.SQUARED_ERROR and not problem.weight.size
        self.rows = self.sweeper.rows(self.machines[0], not is_plain)
        self.raw = np.zeros((n_outputs, problem.n_rows), dtype)
        ones = np.ones(problem.n_rows, dtype)
        self.loss_weight = problem.weight if problem.weight.size else ones
        self.n_sweeps = 0
        self.boost = 1.0
        self._refresh()
        self.objective = self._measure()

    def parameters(self):
        n_components = self.machines[0].n_components
        return (
            self.intercept.copy(),
            np.stack([machine.linear for machine in self.machines]),
            np.stack([machine.factors[:, :n_components] for machine in self.machines]),
        )

    def _refresh(self):
        for output in range(len(self.machines)):
            self._sum_rows(output)

    def _sum_rows(self, output):
        machine, intercept = self.machines[output], self.intercept[output]
        self.sweeper.sum_rows(machine, intercept, self.rows.sums, self.raw[output])

    def _measure(self):
        """The objective, for each unit of weight."""
        problem = self.problem
        arguments = self.raw, problem.target, self.loss_weight
        total = losses.total_loss(problem.loss, self.settings.loss_shape, *arguments)
        for linear, factors, _ in self.machines:
            total += np.square(linear, dtype=np.float64) @ problem.linear_penalty / 2
            squares = np.einsum("jf,jf->j", factors, factors, dtype=np.float64)
            total += squares @ problem.factor_penalty / 2
        return float(total / problem.total_weight)

    def sweep(self):
        """Update all parameters once; returns the objective.

        Where the parabolas do not lie above the loss (Poisson), a sweep may go too far. Then it
        is done again with steeper ones, and those after it begin halfway back.
        """
        before, kept = self.objective, None
        self.n_sweeps += 1
        if self.problem.loss == losses.POISSON:
            kept = self.parameters()
        for _ in range(MAX_TRIES):
            for output in range(len(self.machines)):
                self._sweep_output(output)
            if self.n_sweeps % REFRESH == 0:
                self._refresh()
            self.objective = self._measure()
            if kept is None or self.objective <= before + ROOM * abs(before):
                break
            self._set(kept)
            self.objective = before
            self.boost *= 4
        self.boost = max(1.0, self.boost / 2)
        return self.objective

    def _set(self, parameters):
        intercept, linear, factors = parameters
        self.intercept[:] = intercept
        for machine, own_linear, own_factors in zip(self.machines, linear, factors, strict=True):
            machine.linear[:] = own_linear
            machine.factors[:, : machine.n_components] = own_factors
        self._refresh()

    def _sweep_output(self, output):
        problem, settings, rows, raw = self.problem, self.settings, self.rows, self.raw[output]
        if len(self.machines) > 1:  # the sums are those of another output
            self._sum_rows(output)
        arguments = self.raw, problem.target, problem.weight, rows.error, rows.root
        majorise(problem.loss, settings.loss_shape, self.boost, output, *arguments)
        goal = raw - rows.error
        if settings.fit_intercept:
            self.intercept[output] += shift(rows)
        nothing = np.empty((0, 0))
        fit_linear = settings.fit_linear
        self.sweeper.sweep(rows, self.machines[output], self.prior, 1.0, nothing, fit_linear)
        np.add(goal, rows.error, out=raw)


def shift(rows, noise=0.0, precision=1.0):
    """Move the intercept to where the errors' weighted mean is 0; returns by how much.

    With noise, it is drawn from its distribution under errors of that precision.
    """
    error = rows.error
    if rows.root.size:
        weight = np.square(rows.root, dtype=np.float64)
        total = weight.sum()
        step = -(weight * error).sum() / total
    else:
        total = error.size
        step = -error.sum(dtype=np.float64) / total
    step += noise / np.sqrt(precision * total)
    error += error.dtype.type(step)
    return step


def train(problem, start, settings, listener=None):
    """Minimise the objective from ``start``, as `minibatch.train` does without steps or batches.

    Returns the parameters and the history.
    """
    descent = _Descent(problem, start, settings)

    def check(objective):
        if not np.isfinite(objective):
            raise ValueError(
                "Training diverged: values are too large to compute with. Scale the columns of X "
                "(for example with sklearn.preprocessing.MaxAbsScaler), or pass X in float64."
            )

    check(descent.objective)
    progress = Progress(settings, problem.n_rows, "rows")
    options = {"patience": settings.n_iter_no_change, "parameters": descent.parameters}
    history = run_sweeps(descent.sweep, settings, progress, check, listen=listener, **options)
    parameters = descent.parameters()
    return parameters if listener is None else listener.choose(parameters), history
