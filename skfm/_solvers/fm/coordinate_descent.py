"""Block coordinate descent (alternating least squares) on quadratic upper bounds of the loss.

The parameters of each feature in turn move to their optimum given all other parameters.
"""

import numpy as np

from skfm._kernels import losses
from skfm._kernels.quadratic_bounds import quadratic_upper_bounds
from skfm._kernels.structs import Prior
from skfm._solvers.fm.empirical_bayes import PenaltySearch
from skfm._solvers.fm.field_weights import FieldWeights
from skfm._solvers.fm.parameters import Parameters
from skfm._solvers.fm.penalties import FIND_NONE
from skfm._solvers.fm.sweeps import Sweeper
from skfm._solvers.training import advice, loss_limit, run_sweeps
from skfm._utils.checkpoint import NO_CHECKPOINT
from skfm._utils.progress import Progress

MAX_TRIES = 20  # of shorter steps
ROUNDING = 1e-6  # relative increase of the objective that counts as a rounding error


class _Descent:
    """The parameters, the outputs of the rows, and sweeps that lower the objective."""

    def __init__(self, problem, start, settings):
        self.problem = problem
        self.settings = settings
        self.sweeper = Sweeper(problem, settings.n_threads)
        self.intercept = start.intercept.copy()
        n_outputs, _, n_components = start.factors.shape
        field_pairs = np.broadcast_to(start.field_pairs, (n_outputs, *start.field_pairs.shape[1:]))
        self.models = [
            self.sweeper.model(*parameters)
            for parameters in zip(start.linear, start.factors, field_pairs, strict=True)
        ]
        self.field_weights = FieldWeights(self.sweeper)
        dtype = start.factors.dtype
        self.prior = Prior(
            np.zeros(problem.n_used, np.uint32),
            problem.linear_penalty,
            problem.factor_penalty,
            np.ones((1, n_components + 1)),
            np.zeros((1, n_components + 1)),
        )
        is_plain = problem.loss == losses.SQUARED_ERROR and not problem.weight.size
        self.rows = self.sweeper.rows(self.models[0], not is_plain)
        self.raw = np.zeros((n_outputs, problem.n_rows), dtype)
        ones = np.ones(problem.n_rows, dtype)
        self.loss_weight = problem.weight if problem.weight.size else ones
        self.loss = losses.make_loss(problem.loss, settings.loss_parameter, n_outputs)
        self.boost = 1.0
        self.reached = self.parameters()  # a copy
        self.measure()

    def parameters(self):
        n_components = self.models[0].n_components
        return Parameters(
            self.intercept.copy(),
            np.stack([model.linear for model in self.models]),
            np.stack([model.factors[:, :n_components] for model in self.models]),
            np.stack([model.field_pairs for model in self.models]),
        )

    def _sum_rows(self, output):
        model, intercept = self.models[output], self.intercept[output]
        self.sweeper.sum_rows(model, intercept, self.rows.sums, self.raw[output])

    def mean_loss(self):
        total = losses.total_loss(self.loss, self.raw, self.problem.target, self.loss_weight)
        return total / self.problem.total_weight

    def measure(self):
        """Compute sums, outputs and the objective (per unit of weight) from the parameters.

        A sweep updates sums and outputs incrementally, and its rounding errors may exceed its
        progress.
        """
        problem = self.problem
        for output in range(len(self.models)):
            self._sum_rows(output)
        total = self.mean_loss() * problem.total_weight
        for model in self.models:
            total += np.square(model.linear, dtype=np.float64) @ problem.linear_penalty / 2
            squares = np.einsum("jf,jf->j", model.factors, model.factors, dtype=np.float64)
            total += squares @ problem.factor_penalty / 2
            pairs = model.field_pairs[None]
            total += problem.interactions.penalty(pairs, problem.total_weight)
        self.objective = float(total / problem.total_weight)

    def snapshot(self):
        """What sweeps change; the state of the rows is a function of the parameters."""
        return {
            "parameters": tuple(self.parameters()),
            "boost": self.boost,
            "has_weights": self.rows.root.size > 0,
        }

    def restore(self, snapshot):
        self._set(Parameters(*snapshot["parameters"]))
        self.reached = self.parameters()
        self.boost = snapshot["boost"]
        if snapshot["has_weights"]:
            self._weigh()

    def outputs(self):
        return self.raw

    def sweep(self):
        """Update all parameters once; returns the objective, computed from them.

        If the objective rises, the sweep is repeated with larger curvatures of the bounds, which
        make shorter steps; later sweeps reduce the curvatures again. The objective can rise if the
        bounds do not hold everywhere (Poisson), or if rounding errors are large.
        """
        before = self.objective
        for _ in range(MAX_TRIES):
            with np.errstate(over="ignore", invalid="ignore"):  # the objective tells
                for output in range(len(self.models)):
                    self._sweep_output(output)
                self.measure()
            if self.objective <= before + ROUNDING * abs(before):
                self.reached = self.parameters()
                break
            self._set(self.reached)
            self.boost *= 4
            self._weigh()
        else:  # the objective cannot be lowered any further
            self.boost = 1.0
        self.boost = max(1.0, self.boost / 2)
        return self.objective

    def _weigh(self):
        """Make space for the rows' weights: curvatures differ from 1."""
        if not self.rows.root.size:
            self.rows = self.rows._replace(root=np.ones_like(self.rows.error))

    def _set(self, parameters):
        self.intercept[:] = parameters.intercept
        for output, model in enumerate(self.models):
            model.linear[:] = parameters.linear[output]
            model.factors[:, : model.n_components] = parameters.factors[output]
            model.field_pairs[:] = parameters.field_pairs[output]
        self.measure()

    def _sweep_output(self, output):
        problem, settings, rows, raw = self.problem, self.settings, self.rows, self.raw[output]
        if len(self.models) > 1:  # the sums are those of another output
            self._sum_rows(output)
        quadratic_upper_bounds(
            problem.loss,
            settings.loss_parameter,
            self.boost,
            output,
            self.raw,
            problem.target,
            problem.weight,
            rows.error,
            rows.root,
        )
        goal = raw - rows.error
        if settings.fit_intercept:
            self.intercept[output] += shift(rows)
        nothing = np.empty((0, 0))
        fit_linear = settings.fit_linear
        self.sweeper.sweep(rows, self.models[output], self.prior, 1.0, nothing, fit_linear)
        self.field_weights.update(self.models[output], rows)
        np.add(goal, rows.error, out=raw)


def shift(rows, noise=0.0, precision=1.0):
    """Move the intercept so that the weighted mean of the errors is 0; returns by how much.

    With noise, it is sampled from its distribution under errors of the given precision.
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
    checkpoint=NO_CHECKPOINT,
):
    """Minimize the objective from ``start``; returns parameters and history.

    The arguments are those of `minibatch.train`.
    """
    descent = _Descent(problem, start, settings)
    wider = ["pass X in float64"] if problem.data.dtype == np.float32 else []
    remedy = advice(problem, "lower init_scale", *wider)

    def check(objective):
        if not np.isfinite(objective):
            raise ValueError(f"Training diverged: the objective is not finite. {remedy}")

    check(descent.objective)
    progress = Progress(settings, problem.n_rows, "rows")
    search = PenaltySearch(problem, settings, finds, 1, searched, by_sweeps=True)

    def search_on(number):
        if search.update_before(number, descent):
            descent.measure()
        return search.has_updates_after(number)

    history = run_sweeps(
        descent.sweep,
        settings,
        progress,
        check,
        patience=settings.n_iter_no_change,
        parameters=lambda: descent.reached,
        listen=listener,
        search=search_on,
        checkpoint=checkpoint,
        parts={"search": search, "descent": descent},
    )
    history.searched = search.searched(len(history.loss_curve))
    if not is_fitted and descent.mean_loss() > loss_limit(baseline):
        raise ValueError(
            f"Training ended with a larger loss than that of the intercept alone. {remedy}"
        )
    parameters = descent.parameters()
    return parameters if listener is None else listener.choose(parameters), history
