"""Training loops: convergence, divergence, history."""

from dataclasses import dataclass, field

import numpy as np

from skfm._kernels.losses import POISSON
from skfm._utils.checkpoint import NO_CHECKPOINT
from skfm._utils.warnings import warn

MAX_RESTARTS = 6
SILENT_RESTARTS = 4  # without a warning, if the learning rate is a default
NO_PROGRESS = "no progress"
# Below 1 / RELATIVE_BELOW of the loss of a constant, which is about 1, ``tol`` is relative.
RELATIVE_BELOW = 10
HEAVY = 100  # times the median weight: single rows with such weights may dominate
LARGE_COUNT = 1000
NEWTON_INTERVAL = 8  # epochs between Newton steps, whatever max_iter is
EARLY_STEPS = 100  # after fewer steps, the optimizer's state may come from divergence alone


@dataclass
class History:
    loss_curve: list = field(default_factory=list)
    converged: bool = False
    stopped: bool = False  # by ``listen``
    n_before_saddle: float = np.inf  # epochs before training first left a saddle point
    cancelled: bool = False  # by the user's callback
    best_epoch: int = 0  # by the validation score; 0 is none
    searched: tuple | None = None  # the state of the search for penalties

    def remaining(self, max_iter):
        """The numbers of the epochs that are left, until training ends."""
        while not self.has_ended(max_iter):
            yield len(self.loss_curve) + 1

    def has_ended(self, max_iter):
        return self.converged or self.stopped or len(self.loss_curve) >= max_iter

    def snapshot(self):
        return {
            "loss_curve": self.loss_curve,
            "converged": self.converged,
            "stopped": self.stopped,
        }

    def restore(self, snapshot):
        vars(self).update(snapshot)


def advice(problem, *others):
    """A sentence for messages about divergence: probable causes in these rows, and remedies."""
    causes = ["scale the columns of X (for example with sklearn.preprocessing.MaxAbsScaler)"]
    if problem.loss == POISSON and problem.target.max() > LARGE_COUNT:
        causes.append("divide y by a constant")
    weight = problem.weight
    if weight.size and weight.max() > HEAVY * np.median(weight[weight > 0]):
        causes.append("look for numbers in sample_weight that are far too large")
    *causes, last = causes + list(others)
    causes = ", ".join(causes)
    return f"{causes[0].upper()}{causes[1:]}, or {last}."


def loss_limit(baseline):
    """Training with a larger loss diverges. It allows for random factors, which are not zero."""
    return 1.1 * baseline + 0.01


def least_progress(tol, objective):
    """The decrease of the objective that counts as progress.

    It is ``tol``, but relative to small objectives, as those of separable classes, which may still
    fall to a tenth.
    """
    return tol * np.clip(RELATIVE_BELOW * objective, 0.0, 1.0)


class _Monitor:
    """Monitors a training run: the best parameters, convergence and divergence.

    The loss of an epoch is attributed to the parameters before it. It is the mean over the
    batches, whose parameters change: mostly better than before the epoch and worse than after it.
    So the parameters to keep are measured once more at the end.
    """

    COUNTERS = (
        *("best", "epoch", "best_epoch", "may_converge", "n_above_limit", "n_without_progress"),
        *("restarts", "newton_objective", "may_improve", "n_before_saddle"),
    )

    def __init__(self, trainer, baseline, tol, patience):
        self.trainer = trainer
        self.tol = tol
        self.patience = patience
        self.limit = loss_limit(baseline)
        self.before = trainer.parameters()  # those before the next epoch
        self.best_parameters = self.before
        self.best = np.inf
        self.epoch = self.best_epoch = 0  # the number of epochs before the parameters
        self.may_converge = True  # False if the objective will change
        self.n_above_limit = 0  # epochs in a row with a loss above the limit
        self.n_without_progress = 0  # epochs in a row without progress
        self.restarts = 0
        self.newton_objective = np.inf  # the least one after Newton steps
        self.may_improve = False  # by a further Newton step
        self.n_before_saddle = np.inf

    def snapshot(self):
        counters = {name: getattr(self, name) for name in self.COUNTERS}
        return {"counters": counters, "best_parameters": tuple(self.best_parameters)}

    def restore(self, snapshot):
        """Restore the state after an epoch; the trainer's is restored already."""
        vars(self).update(snapshot["counters"])
        self.best_parameters = type(self.before)(*snapshot["best_parameters"])
        self.before = self.trainer.parameters()

    def after_epoch(self, loss, shrinkage):
        """Take note of an epoch; returns whether training has converged."""
        objective = loss + shrinkage
        self.n_above_limit = self.n_above_limit + 1 if loss > self.limit else 0
        is_finite = np.isfinite(objective)
        if not is_finite or self.n_above_limit >= self.patience:
            self._restart(is_finite)
            return False
        is_progress = self._is_progress(objective)
        self.n_without_progress = 0 if is_progress else self.n_without_progress + 1
        if objective < self.best and not self.n_above_limit:
            self._keep(objective)
        self.epoch += 1
        self.before = None  # first, so that there are never three copies
        self.before = self.trainer.parameters()
        may_converge = self.may_converge and not self.may_improve
        if self.n_without_progress < self.patience or self.n_above_limit or not may_converge:
            return False
        if objective > self.best + 10 * self.tol:  # or has the optimizer overshot?
            if self._is_worse():
                n_steps = self.best_epoch * self.trainer.n_batches
                self._step_back(forget=n_steps < EARLY_STEPS)
            else:
                self._keep(objective)
                self.n_without_progress = 0
            return False
        return not self.leave_saddle()

    def _is_progress(self, objective):
        return objective < self.best - least_progress(self.tol, objective)

    def adapt_to_new_objective(self):
        """Start over with a new objective, from the present parameters."""
        if self.n_above_limit:  # otherwise, diverged parameters would become the best ones
            self._step_back(forget=True)
        self.best, self.best_parameters, self.best_epoch = np.inf, self.before, self.epoch
        self.newton_objective = np.inf
        self.n_above_limit = self.n_without_progress = 0

    def leave_saddle(self):
        """Leave a saddle point, if training has converged to one; returns whether it did."""
        if not self.trainer.leave_saddle():
            return False
        self.n_before_saddle = min(self.n_before_saddle, self.epoch)
        self.before = self.trainer.parameters()
        self.n_without_progress = 0
        return True

    def take_newton_step(self):
        reached = self.trainer.take_newton_step()
        self.may_improve = reached < self.newton_objective - least_progress(self.tol, reached)
        self.newton_objective = min(reached, self.newton_objective)
        self.before = self.trainer.parameters()

    def _keep(self, objective):
        self.best, self.best_parameters, self.best_epoch = objective, self.before, self.epoch

    def _is_worse(self):
        """Whether the parameters are worse than the best ones, by measuring both.

        The mean loss of an epoch plus the penalty before it may be less than the objective of any
        parameters.
        """
        _, objective = self.trainer.measure()
        _, best = self.trainer.measure_at(self.best_parameters)
        return objective > best + 10 * self.tol

    def finish(self):
        """The parameters to keep: the last ones, unless the best ones are better."""
        self.before = None
        loss, objective = self.trainer.measure()
        kept = self.trainer.parameters()
        if not objective <= self.best or not loss <= self.limit:
            best_loss, best_objective = self.trainer.measure_at(self.best_parameters)
            if not objective <= best_objective:
                is_silent = self.trainer.finds_rate and self._is_silent(np.isfinite(loss))
                if not loss <= self.limit and not is_silent:
                    self._warn("The last epochs diverged; better parameters are kept.")
                kept, loss = self.best_parameters, best_loss
                if self.best_epoch == 0:  # for later training from there
                    self.trainer.slow_down()
        if not loss <= self.limit:
            self._give_up()
        return kept

    def _restart(self, is_finite):
        """Start again with smaller steps."""
        if self.restarts == MAX_RESTARTS:
            self._give_up()
        self.restarts += 1
        self._step_back(forget=True)
        if not self._is_silent(is_finite):
            rate = self.trainer.learning_rate
            self._warn(f"Training diverged; it starts again with learning_rate={rate:.3g}.")

    def _is_silent(self, is_finite):
        """Whether a restart needs no warning: the first ones, in particular of a default rate."""
        return self.restarts <= (SILENT_RESTARTS if self.trainer.finds_rate else is_finite)

    def _step_back(self, *, forget):
        """Continue from the best parameters with smaller steps."""
        self.trainer.slow_down()
        self.trainer.set_parameters(self.best_parameters, forget=forget)
        self.before = self.best_parameters
        self.n_above_limit = self.n_without_progress = 0

    def _give_up(self):
        raise ValueError(
            f"Training diverged, at last with learning_rate={self.trainer.learning_rate:.3g}. "
            + self.trainer.remedy
        )

    def _warn(self, message):
        warn(f"{message} {self.trainer.remedy}", RuntimeWarning)


def run_epochs(
    trainer,
    baseline,
    settings,
    progress,
    listen=None,
    search=None,
    checkpoint=NO_CHECKPOINT,
):
    """Train until the objective converges; returns the parameters to keep and the history.

    ``trainer`` has ``penalty()`` and ``epoch()`` (its mean loss), ``measure()`` and
    ``measure_at(parameters)`` (loss and objective, changing nothing), ``parameters()``,
    ``set_parameters(parameters, forget=)``, ``learning_rate``, ``slow_down()``, ``n_batches`` of
    an epoch, ``take_newton_step()``, which returns the objective it has reached or infinity,
    ``leave_saddle()``, which lowers the objective or returns False, and ``remedy``, a sentence for
    messages about divergence.
    ``settings`` has ``max_iter``, ``tol`` and ``n_iter_no_change``.

    Where the loss is not finite or stays far above the baseline, training starts again from the
    best parameters measured, with smaller steps. There is a warning if the loss is not finite, or
    from the second time on, and if ``trainer.finds_rate`` from the fifth time on. There is none if
    training converges above the objective of the best parameters and returns to these.
    ``finds_rate`` says that the learning rate is a default.

    ``listen``, if given, hears of each epoch: ``listen.begin()`` is called before it, and
    ``listen(epoch, objective, parameters)`` after it. Training stops if the latter returns True,
    or if it returns NO_PROGRESS and the parameters are not at a saddle point.

    ``search``, if given, may change the objective before each epoch, as a `PenaltySearch` does;
    then ``trainer.adapt_to_new_objective()`` is called. Training does not converge before the last
    change.

    If there is a ``checkpoint``, training continues from it, and it is written after each epoch.
    Then ``trainer``, ``listen`` and ``search`` have snapshots.
    """
    monitor = _Monitor(trainer, baseline, settings.tol, settings.n_iter_no_change)
    history = History()
    parts = {"history": history, "trainer": trainer, "monitor": monitor}
    parts |= _given(listener=listen, search=search)
    checkpoint.restore(parts)
    progress.continue_after(len(history.loss_curve))
    with progress.until_end(history):
        for number in history.remaining(settings.max_iter):
            has_changed = search is not None and search.update_before(number, trainer)
            if has_changed:
                trainer.adapt_to_new_objective()
                monitor.adapt_to_new_objective()
            if has_changed or number % NEWTON_INTERVAL == 0:
                monitor.take_newton_step()
            if search is not None:
                monitor.may_converge = not search.has_updates_after(number)
            if listen is not None:
                listen.begin()
            shrinkage = trainer.penalty()
            loss = trainer.epoch()
            history.loss_curve.append(float(loss + shrinkage))
            progress.epoch(number, loss + shrinkage)
            history.converged = monitor.after_epoch(loss, shrinkage)
            if listen is not None:
                stop = listen(number, loss + shrinkage, monitor.before)
                if stop == NO_PROGRESS and not history.converged:
                    stop = monitor.may_converge and not monitor.leave_saddle()
                history.stopped = bool(stop)
            checkpoint.save(parts, has_ended=history.has_ended(settings.max_iter))
    history.n_before_saddle = monitor.n_before_saddle
    return monitor.finish(), history


def _given(**parts):
    return {name: part for name, part in parts.items() if part is not None}


@dataclass
class _Stalling:
    """Whether the objective of sweeps still falls."""

    best: float = np.inf
    n_without_progress: int = 0  # sweeps in a row

    def snapshot(self):
        return dict(vars(self))

    def restore(self, snapshot):
        vars(self).update(snapshot)

    def after_sweep(self, objective, tol, may_converge):
        """Take note of a sweep; returns how many in a row have brought no progress."""
        fell = objective < self.best - least_progress(tol, objective)
        self.n_without_progress = 0 if fell else self.n_without_progress + 1
        self.n_without_progress *= may_converge
        self.best = min(self.best, objective) if may_converge else np.inf
        return self.n_without_progress


def run_sweeps(
    sweep,
    settings,
    progress,
    check,
    *,
    patience=1,
    parameters=None,
    listen=None,
    search=None,
    checkpoint=NO_CHECKPOINT,
    parts=None,
):
    """Repeat sweeps, which lower the objective, until it converges; returns the history.

    ``sweep()`` returns the objective after it, and ``check(objective)`` raises an error if that
    is not finite. Training stops when ``patience`` sweeps in a row have not lowered the objective
    by more than ``tol``, or when ``listen`` says so, as in `run_epochs`. ``search(number)``, if
    given, is called before each sweep, may change the objective, and returns whether it will do so
    again. The ``checkpoint`` is that of `run_epochs`; ``parts`` are the objects by name that the
    sweeps and the search change.
    """
    history, stalling = History(), _Stalling()
    parts = {"history": history, "stalling": stalling} | (parts or {}) | _given(listen=listen)
    checkpoint.restore(parts)
    progress.continue_after(len(history.loss_curve))
    with progress.until_end(history):
        for number in history.remaining(settings.max_iter):
            may_converge = search is None or not search(number)
            if listen is not None:
                listen.begin()
            objective = sweep()
            history.loss_curve.append(objective)
            progress.epoch(number, objective)
            check(objective)
            n_stalled = stalling.after_sweep(objective, settings.tol, may_converge)
            history.converged = n_stalled >= patience and settings.tol > 0
            if listen is not None:
                stop = listen(number, objective, parameters())
                history.stopped = bool(stop) and (may_converge or stop != NO_PROGRESS)
            checkpoint.save(parts, has_ended=history.has_ended(settings.max_iter))
    return history
