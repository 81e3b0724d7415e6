"""The course of training by steps of some length: stopping, divergence, history."""

from dataclasses import dataclass, field

import numpy as np

from skfm._kernels.losses import POISSON
from skfm._utils.warnings import warn

MAX_RESTARTS = 6
USUAL_RESTARTS = 4  # where the learning rate is found
NO_PROGRESS = "no progress"
LITTLE_LEFT = 10  # one part in so many; targets have a loss of about 1 without a model
HEAVY = 100  # times the median weight: such rows may decide alone
LARGE_COUNT = 1000
NEWTON = 8  # epochs from one such step to the next, so that fits of any length are alike
EARLY_STEPS = 100  # what optimizers remember of so few steps may all be from going astray


@dataclass
class History:
    loss_curve: list = field(default_factory=list)
    converged: bool = False
    stopped: bool = False  # by who listened
    n_before_saddle: float = np.inf  # epochs before the first saddle point that was left
    cancelled: bool = False  # by the user's callback
    best_epoch: int = 0  # by the validation score; 0 is none
    searched: tuple | None = None  # what a search for penalties has found


def advice(problem, *others):
    """A sentence for who reads that training diverged: what may be the reason in these rows."""
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
    """Above it training has gone astray. A little room: random factors are not zero."""
    return 1.1 * baseline + 0.01


def least_progress(tol, objective):
    """By how much the objective must fall to go on: by less where little of it is left.

    As on classes that can be told apart: there the loss may still fall to a tenth.
    """
    return tol * np.clip(LITTLE_LEFT * objective, 0.0, 1.0)


class _Course:
    """What is known of a training run: where it was best, and whether it goes astray.

    An epoch's loss counts for the parameters before it. In several batches it is the mean on the
    way to the next ones, mostly better than the first and worse than the last; so what to keep
    at the end is measured once more.
    """

    def __init__(self, trainer, baseline, tol, patience):
        self.trainer = trainer
        self.tol = tol
        self.patience = patience
        self.limit = loss_limit(baseline)
        self.before = trainer.parameters()  # those before the next epoch
        self.best_parameters = self.before
        self.best = np.inf
        self.epoch = self.best_epoch = 0  # the number of epochs before the parameters
        self.may_rest = True  # or else the objective will change
        self.bad = 0  # epochs in a row with a loss above the limit
        self.still = 0  # epochs in a row without progress
        self.restarts = 0
        self.reached = np.inf  # by Newton steps
        self.may_gain = False  # by a further one
        self.n_before_saddle = np.inf

    def after_epoch(self, loss, shrinkage):
        """Take note of an epoch; returns whether training has converged."""
        objective = loss + shrinkage
        self.bad = self.bad + 1 if loss > self.limit else 0
        is_finite = np.isfinite(objective)
        if not is_finite or self.bad >= self.patience:
            self._restart(is_finite)
            return False
        self.still = 0 if self._is_progress(objective) else self.still + 1
        if objective < self.best and not self.bad:
            self._keep(objective)
        self.epoch += 1
        self.before = self.trainer.parameters()
        may_rest = self.may_rest and not self.may_gain
        if self.still < self.patience or self.bad or not may_rest:
            return False
        if objective > self.best + 10 * self.tol:  # not at rest, but beyond the minimum?
            if self._is_worse():
                n_steps = self.best_epoch * self.trainer.n_batches
                self._step_back(forget=n_steps < EARLY_STEPS)
            else:
                self._keep(objective)
                self.still = 0
            return False
        return not self.leaves_saddle()

    def _is_progress(self, objective):
        return objective < self.best - least_progress(self.tol, objective)

    def adapt_to_new_objective(self):
        """The objective is another from here on."""
        if self.bad:  # or what has gone astray would be the best
            self._step_back(forget=True)
        self.best, self.best_parameters, self.best_epoch = np.inf, self.before, self.epoch
        self.reached = np.inf
        self.bad = self.still = 0

    def leaves_saddle(self):
        """Go on where training rests at a saddle point; returns whether it did."""
        if not self.trainer.leave_saddle():
            return False
        self.n_before_saddle = min(self.n_before_saddle, self.epoch)
        self.before = self.trainer.parameters()
        self.still = 0
        return True

    def take_newton_step(self):
        reached = self.trainer.take_newton_step()
        self.may_gain = reached < self.reached - least_progress(self.tol, reached)
        self.reached = min(reached, self.reached)
        self.before = self.trainer.parameters()

    def _keep(self, objective):
        self.best, self.best_parameters, self.best_epoch = objective, self.before, self.epoch

    def _is_worse(self):
        """Whether the parameters are worse than the best, both being measured.

        The mean loss on an epoch's way, with the penalty at its start, may be less than any
        parameters have.
        """
        _, objective = self.trainer.measure()
        _, best = self.trainer.measure_at(self.best_parameters)
        return objective > best + 10 * self.tol

    def finish(self):
        """The parameters to keep: the last ones, unless those called best are better."""
        loss, objective = self.trainer.measure()
        kept = self.trainer.parameters()
        if not objective <= self.best or not loss <= self.limit:
            best_loss, best_objective = self.trainer.measure_at(self.best_parameters)
            if not objective <= best_objective:
                is_usual = self.trainer.finds_rate and self._is_usual(np.isfinite(loss))
                if not loss <= self.limit and not is_usual:
                    self._warn("The last epochs diverged; better parameters are kept.")
                kept, loss = self.best_parameters, best_loss
                if self.best_epoch == 0:  # for who goes on from there
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
        if not self._is_usual(is_finite):
            rate = self.trainer.learning_rate
            self._warn(f"Training diverged; it starts again with learning_rate={rate:.3g}.")

    def _is_usual(self, is_finite):
        """That first steps are too long is no news, least of all if nobody chose their length."""
        return self.restarts <= (USUAL_RESTARTS if self.trainer.finds_rate else is_finite)

    def _step_back(self, *, forget):
        """On from the best parameters with smaller steps."""
        self.trainer.slow_down()
        self.trainer.set_parameters(self.best_parameters, forget=forget)
        self.before = self.best_parameters
        self.bad = self.still = 0

    def _give_up(self):
        raise ValueError(
            f"Training diverged, at last with learning_rate={self.trainer.learning_rate:.3g}. "
            + self.trainer.remedy
        )

    def _warn(self, message):
        warn(f"{message} {self.trainer.remedy}", RuntimeWarning)


def run_epochs(trainer, baseline, settings, progress, listen=None, search=None):
    """Train until the objective rests; returns the parameters to keep and the history.

    ``trainer`` has ``penalty()`` and ``epoch()`` (its mean loss), ``measure()`` and
    ``measure_at(parameters)`` (loss and objective, changing nothing), ``parameters()``,
    ``set_parameters(parameters, forget=)``, ``learning_rate``, ``slow_down()``, ``n_batches`` of
    an epoch, ``take_newton_step()``, which returns the objective it has reached or infinity,
    ``leave_saddle()``, which lowers the objective or returns False, and ``remedy``, a sentence for
    who reads that it diverged.
    ``settings`` has ``max_iter``, ``tol`` and ``n_iter_no_change``.

    Where the loss is not finite or stays far above the baseline, training starts again from the
    best parameters measured, with smaller steps. There is a warning if the loss is not finite, or
    from the second time on, and if ``trainer.finds_rate`` from the fifth time on; there is none
    where training comes to rest above the best parameters and goes back to them. ``finds_rate``
    says that nobody has set the learning rate.

    ``listen(epoch, objective, parameters)``, if given, is called after each epoch; if it returns
    True, training stops, and if it returns NO_PROGRESS, unless there is a way down.

    ``search``, if given, may change the objective before each epoch, as a `PenaltySearch` does;
    then ``trainer.adapt_to_new_objective()`` is called.
    As long as changes follow, training does not come to rest.
    """
    course = _Course(trainer, baseline, settings.tol, settings.n_iter_no_change)
    history = History()
    with progress.until_end(history):
        for number in range(1, settings.max_iter + 1):
            has_changed = search is not None and search.before(number, trainer)
            if has_changed:
                trainer.adapt_to_new_objective()
                course.adapt_to_new_objective()
            if has_changed or number % NEWTON == 0:
                course.take_newton_step()
            if search is not None:
                course.may_rest = not search.is_open(number)
            shrinkage = trainer.penalty()
            loss = trainer.epoch()
            history.loss_curve.append(loss + shrinkage)
            progress.epoch(number, loss + shrinkage)
            history.converged = course.after_epoch(loss, shrinkage)
            if listen is not None:
                stop = listen(number, loss + shrinkage, course.before)
                if stop == NO_PROGRESS and not history.converged:
                    stop = course.may_rest and not course.leaves_saddle()
                history.stopped = bool(stop)
            if history.converged or history.stopped:
                break
    history.n_before_saddle = course.n_before_saddle
    return course.finish(), history


def run_sweeps(
    sweep, settings, progress, check, *, patience=1, parameters=None, listen=None, search=None
):
    """Repeat what lowers the objective by itself, until it rests; returns the history.

    ``sweep()`` returns the objective after it, and ``check(objective)`` raises an error if that
    is not finite. Training stops when a ``patience`` of sweeps in a row have not lowered it by
    more than ``tol``, and as `run_epochs` says of ``listen``. ``search(number)``, if given, is
    called before each sweep, may change the objective, and returns whether it will do so again.
    """
    history = History()
    best, still = np.inf, 0
    with progress.until_end(history):
        for number in range(1, settings.max_iter + 1):
            may_rest = search is None or not search(number)
            objective = sweep()
            history.loss_curve.append(objective)
            progress.epoch(number, objective)
            check(objective)
            fell = objective < best - least_progress(settings.tol, objective)
            still = 0 if fell else still + 1
            still *= may_rest
            best = min(best, objective) if may_rest else np.inf
            history.converged = still >= patience and settings.tol > 0
            if listen is not None:
                stop = listen(number, objective, parameters())
                history.stopped = bool(stop) and (may_rest or stop != NO_PROGRESS)
            if history.converged or history.stopped:
                break
    return history
