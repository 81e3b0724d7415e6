"""Block coordinate descent: each feature's parameters at their best, given all others."""

import numpy as np

from skfm._kernels import losses
from skfm._kernels.quadratic_bounds import majorise
from skfm._kernels.structs import Prior
from skfm._solvers.fm.empirical_bayes import PenaltySearch
from skfm._solvers.fm.parameters import Parameters
from skfm._solvers.fm.penalties import FIND_NONE
from skfm._solvers.fm.sweeps import Sweeper
from skfm._solvers.training import advice, loss_limit, run_sweeps
from skfm._utils.progress import Progress

MAX_TRIES = 20  # of shorter steps
ROOM = 1e-6  # relative rise of the objective that counts as rounding


class _Descent:
    """The parameters, what rows have of them, and sweeps that lower the objective."""

    def __init__(self, problem, start, settings):
        self.problem = problem
        self.settings = settings
        self.sweeper = Sweeper(problem, settings.n_threads)
        self.intercept = start.intercept.copy()
        self.machines = [
            self.sweeper.machine(linear, factors)
            for linear, factors in zip(start.linear, start.factors, strict=True)
        ]
        n_outputs, _, n_components = start.factors.shape
        dtype = start.factors.dtype
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
        self.loss = losses.make_loss(problem.loss, settings.loss_shape, n_outputs)
        self.boost = 1.0
        self.reached = self.parameters()  # a copy
        self.measure()

    def parameters(self):
        n_components = self.machines[0].n_components
        return Parameters(
            self.intercept.copy(),
            np.stack([machine.linear for machine in self.machines]),
            np.stack([machine.factors[:, :n_components] for machine in self.machines]),
        )

    def _sum_rows(self, output):
        machine, intercept = self.machines[output], self.intercept[output]
        self.sweeper.sum_rows(machine, intercept, self.rows.sums, self.raw[output])

    def mean_loss(self):
        total = losses.total_loss(self.loss, self.raw, self.problem.target, self.loss_weight)
        return total / self.problem.total_weight

    def measure(self):
        """Compute sums, outputs and the objective, for each unit of weight, from the parameters.

        A sweep keeps them up, but for rounding, which may be all that it seems to gain.
        """
        problem = self.problem
        for output in range(len(self.machines)):
            self._sum_rows(output)
        total = self.mean_loss() * problem.total_weight
        for linear, factors, _ in self.machines:
            total += np.square(linear, dtype=np.float64) @ problem.linear_penalty / 2
            squares = np.einsum("jf,jf->j", factors, factors, dtype=np.float64)
            total += squares @ problem.factor_penalty / 2
        self.objective = float(total / problem.total_weight)

    def outputs(self):
        return self.raw

    def sweep(self):
        """Update all parameters once; returns the objective, computed again from them.

        Where that rises, the sweep is done again with steeper parabolas, which make shorter steps,
        and those after it begin halfway back. It happens where parabolas do not lie above the
        loss (Poisson), and where rounding is large.
        """
        before = self.objective
        for _ in range(MAX_TRIES):
            with np.errstate(over="ignore", invalid="ignore"):  # the objective tells
                for output in range(len(self.machines)):
                    self._sweep_output(output)
                self.measure()
            if self.objective <= before + ROOM * abs(before):
                self.reached = self.parameters()
                break
            self._set(self.reached)
            self.boost *= 4
            self._weigh()
        else:  # it cannot be lowered in this way
            self.boost = 1.0
        self.boost = max(1.0, self.boost / 2)
        return self.objective

    def _weigh(self):
        """Have rows bear weights: curvatures differ from 1."""
        if not self.rows.root.size:
            self.rows = self.rows._replace(root=np.ones_like(self.rows.error))

    def _set(self, parameters):
        self.intercept[:] = parameters.intercept
        tables = parameters.linear, parameters.factors
        for machine, linear, factors in zip(self.machines, *tables, strict=True):
            machine.linear[:] = linear
            machine.factors[:, : machine.n_components] = factors
        self.measure()

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


def train(
    problem,
    start,
    settings,
    baseline,
    *,
    is_fitted,
    listener=None,
    finds=FIND_NONE,
    searched=None,
):
    """Minimise the objective from ``start``, as `minibatch.train` does without steps or batches.

    Returns the parameters and the history.
    """
    descent = _Descent(problem, start, settings)
    wider = ["pass X in float64"] if problem.data.dtype == np.float32 else []
    cure = advice(problem, "lower init_scale", *wider)

    def check(objective):
        if not np.isfinite(objective):
            raise ValueError(f"Training diverged: values are too large to compute with. {cure}")

    check(descent.objective)
    progress = Progress(settings, problem.n_rows, "rows")
    search = PenaltySearch(problem, settings, finds, 1, searched, by_sweeps=True)

    def search_on(number):
        if search.before(number, descent):
            descent.measure()
        return search.is_open(number)

    options = {"patience": settings.n_iter_no_change, "parameters": lambda: descent.reached}
    options |= {"listen": listener, "search": search_on}
    history = run_sweeps(descent.sweep, settings, progress, check, **options)
    history.searched = search.searched(len(history.loss_curve))
    if not is_fitted and descent.mean_loss() > loss_limit(baseline):
        raise ValueError(f"Training ended above the loss of the intercept alone. {cure}")
    parameters = descent.parameters()
    return parameters if listener is None else listener.choose(parameters), history
