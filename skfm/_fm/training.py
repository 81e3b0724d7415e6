"""Training runs: what is minimized, by which solver, and what comes out."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from skfm._fm.early_stopping import Listener
from skfm._fm.target_transform import TargetTransform
from skfm._solvers.fm import coordinate_descent, minibatch, streams
from skfm._solvers.fm.optimizer_state import OptimizerMemory
from skfm._solvers.fm.parameters import Parameters
from skfm._solvers.fm.penalties import Penalties
from skfm._solvers.fm.problem import Problem, make_problem
from skfm._solvers.fm.streamed import make_streamed_problem
from skfm._solvers.training import History
from skfm._utils.checkpoint import NO_CHECKPOINT
from skfm._utils.validation import check_weight_of_steps


@dataclass
class Run:
    """A training problem, and how it is solved."""

    problem: Problem
    penalties: Penalties  # in the units of X; None where they are to be found
    transform: TargetTransform
    settings: minibatch.Settings
    rng: np.random.RandomState
    listener: Listener | None = None
    start: Parameters | None = None  # the solver's, until the solver takes them
    sample: Problem | None = None  # of a sample of the rows, if these are not in memory

    @property
    def observed(self):
        """The problem of rows in memory: all rows, or a sample of them."""
        return self.problem if self.sample is None else self.sample

    def take_start(self):
        """The parameters to start from, which nobody else keeps: they may be large."""
        start, self.start = self.start, None
        return start


class Result(NamedTuple):
    parameters: Parameters  # the solver's
    history: History
    memory: OptimizerMemory | None  # of the optimizer; "als" has none


def state_problem(rows, transform, penalties, interactions, settings, **of_stream):
    """The training problem for rows of numbers; for the others see `make_problem`."""
    transform.check_size(rows.X.dtype)
    X, y, weight = rows.for_solver(settings.solver)
    return make_problem(
        X,
        transform.apply(y),
        weight,
        transform.loss,
        penalties,
        interactions,
        may_center=settings.fit_intercept,
        is_cumulative=settings.solver == "ftrl",
        **of_stream,
    )


def state_streamed_problem(rows, transform, penalties, interactions, settings):
    """The training problem for rows of numbers in files, and that of a sample of them."""
    transform.check_size(rows.dtype)
    problem, sample = make_streamed_problem(
        rows.for_solver(transform),
        transform.loss,
        penalties,
        interactions,
        may_center=settings.fit_intercept,
        is_cumulative=settings.solver == "ftrl",
    )
    check_weight_of_steps(np.array([problem.total_weight], rows.dtype))
    return problem, sample


def train(run, to_find, warm_start=None, *, keeps_state=False, checkpoint=NO_CHECKPOINT):
    """Train until convergence, or for ``max_iter`` epochs.

    ``warm_start`` is given if a fit has left the parameters to start from.
    ``keeps_state`` says whether to keep the optimizer's memory whole instead of a summary.
    ``checkpoint`` is that of `run_epochs`.
    """
    is_fitted = warm_start is not None
    searched = warm_start.searched if is_fitted else None
    problem, settings, baseline = run.problem, run.settings, run.transform.baseline
    if run.transform.is_constant and not keeps_state:
        baseline = 1.0  # the unit of the solver is as small as rounding errors
    # Without **: until such a call returns, Python keeps all its arguments, also the start.
    if settings.solver == "als":
        result = coordinate_descent.train(
            problem,
            run.take_start(),
            settings,
            baseline,
            is_fitted=is_fitted,
            listener=run.listener,
            finds=to_find,
            searched=searched,
            checkpoint=checkpoint,
        )
        return Result(*result, memory=None)
    result = minibatch.train(
        problem,
        run.take_start(),
        settings,
        run.rng,
        baseline,
        is_fitted=is_fitted,
        keeps_state=keeps_state,
        memory=warm_start.memory if is_fitted else None,
        listener=run.listener,
        finds=to_find,
        searched=searched,
        sample=run.sample,
        checkpoint=checkpoint,
    )
    return Result(*result)


def train_on_chunk(run, start, memory):
    """One epoch on a further chunk of a stream."""
    problem, settings, baseline = run.problem, run.settings, run.transform.baseline
    return Result(
        *streams.train_chunk(problem, start, settings, run.rng, baseline, memory, run.listener)
    )
