"""After each epoch: the validation score, early stopping, the callback."""

import numbers
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from skfm._fm.fitted import without_checks_of
from skfm._fm.outputs import centered_outputs
from skfm._fm.rows import Rows
from skfm._fm.streamed_rows import StreamedRows
from skfm._solvers.fm.parameters import Parameters
from skfm._solvers.training import NO_PROGRESS
from skfm._utils.threads import n_threads


def stops_early(early_stopping, X_val, y_val, sample_weight_val):
    """Whether to validate after each epoch, on rows that are given or set aside."""
    if (X_val is None) != (y_val is None):
        given, missing = ("X_val", "y_val") if y_val is None else ("y_val", "X_val")
        raise ValueError(f"{given} was passed without {missing}; pass both.")
    if X_val is None and sample_weight_val is not None:
        raise ValueError("sample_weight_val was passed without X_val and y_val.")
    if X_val is not None and early_stopping is False:
        raise ValueError(
            "X_val and y_val require early stopping; set early_stopping=True or 'auto'."
        )
    return early_stopping is True or X_val is not None


def split(rows, fraction, *, stratify, seed):
    """Rows for training, and a fraction or number of rows for validation."""
    from sklearn.model_selection import train_test_split

    fraction = int(fraction) if isinstance(fraction, numbers.Integral) else float(fraction)
    by = rows.y if stratify else None
    try:
        parts = train_test_split(*rows, test_size=fraction, stratify=by, random_state=seed)
    except ValueError as error:
        raise ValueError(
            f"early_stopping cannot hold out validation_fraction={fraction} of {rows.X.shape[0]} "
            f"rows ({error}). Pass X_val and y_val, or set early_stopping=False."
        ) from error
    return Rows(*parts[::2]), Rows(*parts[1::2])


def check_scoring(estimator):
    """The estimator's scorer; None if that is the loss."""
    if isinstance(estimator.scoring, str) and estimator.scoring == "loss":
        return None
    if not (estimator.scoring is None or isinstance(estimator.scoring, str)) and not callable(
        estimator.scoring
    ):
        raise TypeError(
            "scoring must be 'loss', the name of a scorer, a scorer or None; got "
            f"{estimator.scoring!r}."
        )
    from sklearn.metrics import check_scoring  # takes a while to import

    return check_scoring(estimator, scoring=estimator.scoring)


class Score(NamedTuple):
    """The estimator's present score on validation rows."""

    scoring: str | Callable | None  # as given
    compute: Callable[[], float]


def make_score(estimator, transform, rows):
    """The score on validation rows, which are checked already.

    `StreamedRows` can only be scored by the loss.
    """
    if isinstance(rows, StreamedRows):
        for target, _ in rows.targets.parts():
            _in_units(transform, target)  # an error comes before training
        return Score("loss", partial(_minus_loss, estimator, transform, rows.blocks))
    target = estimator._to_numbers(rows.y, "y_val")
    scorer = check_scoring(estimator)
    if scorer is None:
        weight = estimator._make_weight(rows.y, rows.weight)
        _in_units(transform, target)  # an error comes before training
        blocks = [(rows.X, target, weight)]
        return Score("loss", partial(_minus_loss, estimator, transform, lambda: blocks))
    weights = {} if (rows.weight == 1).all() else {"sample_weight": rows.weight}

    def compute():
        with without_checks_of(rows.X, estimator):
            try:
                return scorer(estimator, rows.X, rows.y, **weights)
            except TypeError as error:
                if not weights:
                    raise
                raise TypeError(
                    f"scoring={estimator.scoring!r} must accept sample_weight, because the rows "
                    f"have weights ({error})."
                ) from error

    return Score(estimator.scoring, compute)


def _minus_loss(estimator, transform, blocks):
    """Minus the mean loss of all blocks of rows: X, numbers and weights."""
    model = *estimator._centered_parameters(), estimator._interactions
    loss, total_weight = 0.0, 0.0
    for X, y, weight in blocks():
        raw = centered_outputs(X, *model, n_threads(estimator.n_jobs))
        loss += transform.total_loss(raw, _in_units(transform, y), weight)
        total_weight += weight.sum(dtype=np.float64)
    # Parameters may be so large that outputs overflow, where training diverges.
    return -np.inf if np.isnan(loss) else -loss / total_weight


def _in_units(transform, y):
    """Targets of validation rows in the units of the solver."""
    with np.errstate(over="ignore"):
        target = transform.apply(y)
    if not np.isfinite(target).all():
        raise ValueError(
            "The values of y_val are far too large compared with those of y; scale both in the "
            "same way."
        )
    return target


class Listener:
    """Keeps the parameters with the best score, and says when to stop.

    ``show(parameters)`` gives the estimator these parameters of the solver. ``score`` is a `Score`
    or None. ``callback(epoch, loss)``, or None, says whether to stop; epochs of earlier calls,
    ``n_before``, count for it. ``tasks`` are the `FitTasks` of scikit-learn's callbacks.
    """

    def __init__(self, *, show, score, callback, tasks, n_before, tol, n_iter_no_change):
        self.show = show
        self.score = score
        self.callback = callback
        self.tasks = tasks
        self.n_before = n_before
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.best = None
        self.best_epoch = 0  # the number of epochs before the parameters kept, if these are best
        self.cancelled = False  # by the callback
        self.scores = []
        self.n_without_progress = 0  # epochs in a row
        self.least_patience = 0  # epochs, whatever n_iter_no_change is

    STATE = ("best_epoch", "cancelled", "scores", "n_without_progress")

    def snapshot(self):
        best = None if self.best is None else tuple(self.best)
        return {"best": best, "state": {name: getattr(self, name) for name in self.STATE}}

    def restore(self, snapshot):
        vars(self).update(snapshot["state"])
        best = snapshot["best"]
        self.best = None if best is None else Parameters(*best)

    def begin(self):
        self.tasks.begin_epoch()

    def __call__(self, epoch, loss, parameters):
        """Whether training is to stop: True for a callback, NO_PROGRESS for the score."""
        has_stalled, show = False, None
        if np.isfinite(loss) and all(np.isfinite(part).all() for part in parameters):
            show = partial(self.show, parameters)
            has_stalled = self._evaluate(epoch, loss, parameters)
        else:
            self.scores.append(-np.inf)  # it diverged: nothing to show, and it starts again
        if self.tasks.end_epoch(show):
            self.cancelled = True
        return self.cancelled or (NO_PROGRESS if has_stalled else False)

    def _evaluate(self, epoch, loss, parameters):
        """Call the callback; returns whether the score has stalled."""
        if self.score is None and self.callback is None:
            return False
        self.show(parameters)
        has_stalled = self.score is not None and self._has_stalled(parameters)
        if self.callback is not None and self.callback(self.n_before + epoch, loss):
            self.cancelled = True
        return has_stalled

    def _has_stalled(self, parameters):
        score = float(self.score.compute())
        if np.isnan(score):
            raise ValueError(
                f"scoring={self.score.scoring!r} returned NaN on the validation rows."
            )
        best = max(self.scores, default=-np.inf)
        self.scores.append(score)
        is_progress = score > best + self.tol
        self.n_without_progress = 0 if is_progress else self.n_without_progress + 1
        if score > best:
            self.best, self.best_epoch = parameters, len(self.scores)
        if self.n_without_progress < max(self.n_iter_no_change, self.least_patience):
            return False
        self.n_without_progress = 0  # counts from zero if training continues
        return True

    def choose(self, parameters):
        """The parameters with the best score, unless those that training would keep are better.

        These are where training diverged and returned to its start.
        """
        if self.best is None:
            return parameters
        self.show(parameters)
        if self.score.compute() > max(self.scores):
            self.best, self.best_epoch = parameters, 0
        return self.best
