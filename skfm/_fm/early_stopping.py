"""After each epoch: the validation score, early stopping, the callback."""

import numpy as np

from skfm._solvers.training import NO_PROGRESS


def split(X, y, weight, fraction, stratify, seed):
    """Rows for training and for validation, both with X, y and weights."""
    from sklearn.model_selection import train_test_split

    try:
        parts = train_test_split(
            X, y, weight, test_size=fraction, stratify=y if stratify else None, random_state=seed
        )
    except ValueError as error:
        raise ValueError(
            f"early_stopping cannot set aside validation_fraction={fraction} of {X.shape[0]} rows "
            f"({error}). Pass X_val and y_val, or set early_stopping=False."
        ) from error
    return parts[::2], parts[1::2]


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


def make_score(estimator, link, X, y, weight):
    """A function of no arguments: the estimator's present score on validation rows."""
    target = estimator._to_numbers(y, "y_val")
    scorer = check_scoring(estimator)
    if scorer is None:
        with np.errstate(over="ignore"):
            target, weight = link.target(target), estimator._make_weight(y, weight)
        if not np.isfinite(target).all():
            raise ValueError(
                "y_val has values that are far too large beside those of y; scale both alike."
            )

        def minus_loss():  # not finite where training goes astray
            raw = estimator._outputs(X, estimator._parameters())
            return -link.mean_loss(raw, target, weight)

        return minus_loss
    if (weight == 1).all():
        return lambda: scorer(estimator, X, y)

    def weighted():
        try:
            return scorer(estimator, X, y, sample_weight=weight)
        except TypeError as error:
            raise TypeError(
                f"scoring={estimator.scoring!r} must take sample_weight, as rows have weights "
                f"({error})."
            ) from error

    return weighted


class Listener:
    """Keeps the parameters with the best score, and says when to stop.

    ``show(parameters)`` makes the estimator one with these parameters; ``score`` may be None.
    """

    def __init__(self, estimator, show, score, n_epochs):
        self.estimator = estimator
        self.show = show
        self.score = score
        self.n_epochs = n_epochs  # those of earlier calls
        self.best = None
        self.best_epoch = 0  # the number of epochs before the parameters kept, if these are best
        self.cancelled = False  # by the callback
        self.scores = []
        self.still = 0
        self.least_patience = 0  # epochs, whatever n_iter_no_change is

    def __call__(self, epoch, loss, parameters):
        """Whether training is to stop: as somebody wants it to, or as there is NO_PROGRESS."""
        if not (np.isfinite(loss) and all(np.isfinite(part).all() for part in parameters)):
            self.scores.append(-np.inf)  # it diverged: nothing to show, and it starts again
            return False
        self.show(parameters)
        rests = self.score is not None and self._rests(parameters)
        callback = self.estimator.callback
        if callback is not None and callback(self.estimator, self.n_epochs + epoch, loss):
            self.cancelled = True
            return True
        return NO_PROGRESS if rests else False

    def _rests(self, parameters):
        score = float(self.score())
        if np.isnan(score) and self.estimator.scoring == "loss":
            score = -np.inf  # parameters so large that outputs overflow: training goes astray
        if np.isnan(score):
            raise ValueError(
                f"scoring={self.estimator.scoring!r} gave NaN on the validation rows."
            )
        best = max(self.scores, default=-np.inf)
        self.scores.append(score)
        self.still = 0 if score > best + self.estimator.tol else self.still + 1
        if score > best:
            self.best, self.best_epoch = parameters, len(self.scores)
        if self.still < max(self.estimator.n_iter_no_change, self.least_patience):
            return False
        self.still = 0  # counts from zero if training goes on
        return True

    def choose(self, parameters):
        """The best of those heard, unless these, which training would keep, are better still.

        They are where training went astray and returned to its start.
        """
        if self.best is None:
            return parameters
        self.show(parameters)
        if self.score() > max(self.scores):
            self.best, self.best_epoch = parameters, 0
        return self.best
