"""Training by mini-batches, for regression and classification."""

from dataclasses import dataclass

import numpy as np

from skfm._kernels import minibatch as kernels
from skfm._kernels.losses import ABSOLUTE_ERROR, QUANTILE, make_loss
from skfm._solvers.fm.batches import Planner, make_planner
from skfm._solvers.fm.empirical_bayes import PenaltySearch
from skfm._solvers.fm.optimizer import Optimizer
from skfm._solvers.fm.optimizer_state import UPDATES
from skfm._solvers.fm.penalties import FIND_NONE
from skfm._solvers.fm.streamed import make_streamed_batches
from skfm._solvers.fm.synchronous import PartitionedRows, SynchronousTrainer
from skfm._solvers.fm.trainer import Observed, Trainer
from skfm._solvers.training import advice, loss_limit, run_epochs
from skfm._utils.checkpoint import NO_CHECKPOINT
from skfm._utils.progress import Progress

# Learning rates, chosen by benchmarks/default_neighbours.py.
RATES = {"adagrad": 0.1, "adam": 0.02, "ftrl": 0.2, "sgd": 0.05}
CLASSIFIER_RATES = RATES | {"adagrad": 0.15}
LEAST_PATIENCE = 20  # batches: with small data, five epochs are only five steps
LINEAR = ABSOLUTE_ERROR, QUANTILE  # losses that are linear in small errors
LINEAR_ROOM = 0.1  # of these losses, for random factors whose outputs cost 0.01 if squared


@dataclass
class Settings:
    """Settings of training, from the estimators' parameters."""

    solver: str
    loss_parameter: float  # of HUBER and QUANTILE
    learning_rate: float
    initial_accumulator: float
    batch_size: int | str
    max_iter: int
    tol: float
    n_iter_no_change: int
    fit_intercept: bool
    fit_linear: bool
    n_threads: int
    verbose: bool
    finds_rate: bool = False  # whether the learning rate is a default
    max_draws: int = 1  # of negatives, for WARP


class RowSteps:
    """The `trainer.BatchSteps` of regression and classification, where each row has a loss."""

    has_row_losses = True

    def __init__(self, problem, loss_parameter, n_outputs):
        self.loss = make_loss(problem.loss, loss_parameter, n_outputs)
        self.n_steps = 4 * n_outputs + 2
        self.n_forward_steps = 2 * n_outputs + 1
        self.problem = problem

    @property
    def remedy(self):
        return advice(self.problem, "lower learning_rate or init_scale")

    def begin_epoch(self, rng):
        pass

    def end_epoch(self, loss):
        pass

    def snapshot(self):
        return None

    def restore(self, snapshot):
        pass

    def begin_measurement(self):
        pass

    def adapt_penalty(self, penalty):
        return penalty

    def arguments(self, number):
        return ()

    def run(self, *arguments):
        return kernels.run_steps(*arguments)


def make_trainer(problem, optimizer, settings, rng, sample=None):
    """A trainer for regression or classification.

    If the rows are not in memory, ``problem`` is a `StreamedProblem`, and ``sample`` the problem
    of a sample of them.
    """
    make = Trainer
    if sample is None:
        planner = make_planner(problem, settings, rng)
        observed = Observed(problem, planner)
    else:
        planner = make_streamed_batches(problem, settings)
        if isinstance(problem.rows, PartitionedRows):
            make = SynchronousTrainer
        order = np.random.RandomState(0)  # of no effect on results
        observed = Observed(sample, Planner(sample, planner.batch_size, order))
    n_outputs = optimizer.state.factors.shape[0]
    steps = RowSteps(observed.problem, settings.loss_parameter, n_outputs)
    return make(problem, optimizer, planner, steps, settings, rng, observed)


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
    sample=None,
    checkpoint=NO_CHECKPOINT,
):
    """Minimize the objective from ``start``; returns parameters, history and memory.

    ``start`` are the scaled `Parameters` of the used features, and ``baseline`` is the mean loss
    of the intercept alone. ``is_fitted`` says whether the parameters come from an earlier fit,
    whose memory may be given; ``keeps_state`` says whether the returned memory is the optimizer's
    state or a summary.

    ``listener``, if given, is called as `run_epochs` says, and may choose other parameters.
    ``sample`` is the problem of a sample of the rows, if ``problem`` is a `StreamedProblem`.
    ``finds`` says which penalties are to be found, continuing from what earlier fits have
    ``searched``; they are those of the problem at the end. ``checkpoint`` is that of `run_epochs`.
    """
    if memory is not None:
        memory = memory.of_one_epoch(UPDATES[settings.solver])
    count = None if memory is None else problem.count
    optimizer = Optimizer(problem, start, settings, memory, count)
    del start  # no longer needed, and perhaps large
    trainer = make_trainer(problem, optimizer, settings, rng, sample)
    if is_fitted:  # on data that has changed, the start may be worse than the intercept
        loss, _ = trainer.measure()
        if settings.fit_intercept and loss > loss_limit(baseline):
            trainer.move_intercept()
            loss, _ = trainer.measure()
        baseline = max(baseline, loss)
    elif problem.loss in LINEAR:
        baseline += LINEAR_ROOM
    if listener is not None:
        listener.least_patience = -(-LEAST_PATIENCE // trainer.n_batches)
    progress = Progress(settings, problem.n_rows, "rows")
    observed = trainer.observed.problem
    search = PenaltySearch(observed, settings, finds, trainer.n_batches, searched)
    parameters, history = run_epochs(
        trainer, baseline, settings, progress, listener, search, checkpoint
    )
    history.searched = search.searched(len(history.loss_curve))
    if listener is not None:
        parameters = listener.choose(parameters)
    if not optimizer.has(parameters):
        trainer.set_parameters(parameters, forget=False)
    return parameters, history, optimizer.memory() if keeps_state else optimizer.summary()
