"""Targets as the solver sees them: numbers of a known size, and where the intercept starts."""

from dataclasses import dataclass

import numpy as np

from skfm._kernels import losses
from skfm._utils.pickling import Versioned

REGRESSION = {
    "squared_error": losses.SQUARED_ERROR,
    "absolute_error": losses.ABSOLUTE_ERROR,
    "huber": losses.HUBER,
    "quantile": losses.QUANTILE,
    "poisson": losses.POISSON,
}
CLASSIFICATION = {"log_loss": losses.LOG_LOSS, "squared_hinge": losses.SQUARED_HINGE}

LARGEST_COUNT = 1e12  # less than where the Poisson loss is an exponential no more


@dataclass
class TargetTransform(Versioned):
    """The solver's target from the user's, which is ``solver's * unit + shift``; and its loss."""

    loss: int
    loss_parameter: float  # epsilon of the Huber loss, the quantile
    intercept: np.ndarray  # (n_outputs,), where the solver's intercept starts
    baseline: float  # mean loss of that intercept alone
    unit: float = 1.0
    shift: float = 0.0
    is_constant: bool = False  # all targets were the same: the unit means nothing

    def apply(self, y):
        """Numbers, or labels 0, 1, ..., as the solver sees them."""
        return (np.asarray(y, dtype=np.float64) - self.shift) / self.unit

    def check_size(self, dtype):
        """Refuse targets so small that predictions in ``dtype`` would be 0."""
        if max(self.unit, abs(self.shift)) < np.finfo(dtype).tiny:
            raise ValueError(
                f"y is too small for predictions in {np.dtype(dtype)}; scale y, or pass X in "
                "float64."
            )

    def total_loss(self, raw, target, weight):
        """Total loss of raw outputs of shape (n_rows, n_outputs)."""
        output = np.ascontiguousarray(((raw - self.shift) / self.unit).T, dtype=np.float64)
        loss = losses.make_loss(self.loss, self.loss_parameter, output.shape[0])
        return losses.total_loss(loss, output, target, weight)


class Targets:
    """Targets and weights in one or several parts.

    Parameters
    ----------
    parts : callable
        Returns an iterator over pairs of arrays: numbers or labels 0, 1, ..., and weights.
    sample : callable
        Returns such a pair for all rows or, where these are too many, for a random sample.
    """

    def __init__(self, parts, sample):
        self.parts = parts
        self.sample = sample

    @classmethod
    def in_memory(cls, y, weight):
        return cls(lambda: iter([(y, weight)]), lambda: (y, weight))

    def each(self, function):
        """The results of ``function(y, weight)`` for the parts."""
        return [function(y, weight) for y, weight in self.parts()]

    def total(self, function=None):
        """The weighted sum of a function of the targets, or the weight."""
        if function is None:
            return sum(self.each(lambda _, weight: weight.sum(dtype=np.float64)))
        return sum(self.each(lambda y, weight: np.multiply(function(y), weight).sum()))

    def mean(self, function):
        return self.total(function) / self.total()


def of_numbers(targets, loss, loss_parameter, fit_intercept, more_will_come):
    """The transform of a regression.

    Targets are standardized, so that penalties mean the same whatever their unit; counts are not,
    for which the raw output is the logarithm of the mean.
    """
    code = REGRESSION[loss]
    start, unit, shift, is_constant, largest = 0.0, 1.0, 0.0, False, 1.0
    if loss == "poisson":
        if fit_intercept:
            # Where no row counts anything yet, half a count.
            total = max(targets.total(lambda y: y), 0.5 if more_will_come else 0.0)
            start = np.log(total / targets.total())
    else:
        # Divided out first, so that no square overflows.
        largest = max(targets.each(lambda y, _: np.abs(y).max(initial=0.0))) or 1.0
        if fit_intercept:
            shift = float(targets.mean(lambda y: y / largest))
        unit = float(np.sqrt(targets.mean(lambda y: (y / largest - shift) ** 2)))
        is_constant = unit < 8 * np.finfo(np.float64).eps
        if is_constant:  # rounding is left
            unit = 1.0 if more_will_come else np.finfo(np.float64).eps
        if fit_intercept and loss != "squared_error":
            share = loss_parameter if loss == "quantile" else 0.5
            y, weight = targets.sample()
            start = weighted_quantile((y / largest - shift) / unit, weight, share)
        unit, shift = unit * largest, shift * largest
    transform = TargetTransform(
        code, loss_parameter, np.array([start]), 0.0, unit, shift, is_constant
    )
    constant = code, loss_parameter, float(start)
    losses_of_parts = targets.each(
        lambda y, weight: losses.constant_loss(
            *constant, transform.apply(y), weight.astype(np.float64)
        )
    )
    transform.baseline = sum(losses_of_parts) / targets.total()
    return transform


def of_classes(targets, n_classes, loss, fit_intercept):
    """The transform of a classification, whose targets are labels 0, 1, ...

    Two classes are one output, more are as many: by softmax for the log loss, else each against
    the rest. The intercept starts where it is best alone; a class that these rows lack counts as
    one of them.
    """
    seen = sum(targets.each(lambda labels, w: np.bincount(labels, w, minlength=n_classes)))
    rate = seen if fit_intercept else np.ones(n_classes)
    if not rate.all():
        rate = np.where(rate > 0, rate, np.mean(targets.sample()[1]))
    rate, seen = rate / rate.sum(), seen / seen.sum()
    if loss == "log_loss":
        baseline = float(-seen @ np.log(rate))
        if n_classes == 2:
            return TargetTransform(losses.LOG_LOSS, 0.0, np.log(rate[1:] / rate[0]), baseline)
        start = np.log(rate) if fit_intercept else np.zeros(n_classes)
        return TargetTransform(losses.SOFTMAX, 0.0, start, baseline)
    if n_classes == 2:
        rate, seen = rate[1:], seen[1:]
    start = 2 * rate - 1 if fit_intercept else np.zeros(rate.size)
    baseline = float((seen * (1 - start) ** 2 + (1 - seen) * (1 + start) ** 2).sum())
    return TargetTransform(losses.SQUARED_HINGE, 0.0, start, baseline)


def weighted_quantile(values, weight, share):
    """The least value with at least that share of the weight at or below it."""
    order = np.argsort(values)
    total = np.cumsum(weight[order], dtype=np.float64)
    return float(values[order][np.searchsorted(total, share * total[-1])])
