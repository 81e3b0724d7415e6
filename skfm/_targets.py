"""Targets as the solver sees them: numbers of a known size, and where the intercept starts."""

from dataclasses import dataclass

import numpy as np

from skfm._kernels import losses

REGRESSION = {
    "squared_error": losses.SQUARED_ERROR,
    "absolute_error": losses.ABSOLUTE_ERROR,
    "huber": losses.HUBER,
    "quantile": losses.QUANTILE,
    "poisson": losses.POISSON,
}
CLASSIFICATION = {"log_loss": losses.LOG_LOSS, "squared_hinge": losses.SQUARED_HINGE}


@dataclass
class Link:
    """How the solver's target relates to the user's: ``raw = solver's * unit + shift``."""

    loss: int
    shape: float  # of the loss: Huber's epsilon, the quantile
    intercept: np.ndarray  # (n_outputs,), where the solver's intercept starts
    baseline: float  # mean loss of that intercept alone
    unit: float = 1.0
    shift: float = 0.0


def of_numbers(y, weight, loss, shape, fit_intercept):
    """Target and link of a regression.

    Targets are standardised, so that penalties mean the same whatever their unit; counts are not,
    for which the raw output is the logarithm of the mean.
    """
    y = np.asarray(y, dtype=np.float64)
    code = REGRESSION[loss]
    if loss == "poisson":
        start = np.log(max(np.average(y, weights=weight), np.finfo(np.float64).tiny))
        link = Link(code, shape, np.array([start if fit_intercept else 0.0]), 0.0)
        target = y
    else:
        largest = np.abs(y).max() or 1.0  # divided out first, so that no square overflows
        y = y / largest
        shift = float(np.average(y, weights=weight)) if fit_intercept else 0.0
        unit = float(np.sqrt(np.average((y - shift) ** 2, weights=weight)))
        unit = max(unit, np.finfo(np.float64).eps)  # of a constant target, rounding is left
        target = (y - shift) / unit
        start = 0.0
        if fit_intercept and loss != "squared_error":
            start = weighted_quantile(target, weight, shape if loss == "quantile" else 0.5)
        link = Link(code, shape, np.array([start]), 0.0, unit * largest, shift * largest)
    total = losses.constant_loss(code, shape, link.intercept[0], target, weight)
    link.baseline = total / weight.sum(dtype=np.float64)
    return target, link


def of_classes(labels, weight, n_classes, loss, fit_intercept):
    """The link of a classification, ``labels`` being 0, 1, ...

    Two classes are one output, more are as many: by softmax for the log loss, else each against
    the rest. The intercept starts where it is best alone.
    """
    rate = np.bincount(labels, weights=weight) / weight.sum(dtype=np.float64)
    if not fit_intercept:
        rate = np.full(n_classes, 1 / n_classes)
    if loss == "log_loss":
        baseline = float(-np.bincount(labels, weights=weight) @ np.log(rate) / weight.sum())
        if n_classes == 2:
            return Link(losses.LOG_LOSS, 0.0, np.log(rate[1:] / rate[0]), baseline)
        start = np.log(rate) if fit_intercept else np.zeros(n_classes)
        return Link(losses.SOFTMAX, 0.0, start, baseline)
    positive = rate[1:] if n_classes == 2 else rate
    start = 2 * positive - 1 if fit_intercept else np.zeros(positive.size)
    seen = np.bincount(labels, weights=weight) / weight.sum(dtype=np.float64)
    seen = seen[1:] if n_classes == 2 else seen
    baseline = float((seen * (1 - start) ** 2 + (1 - seen) * (1 + start) ** 2).sum())
    return Link(losses.SQUARED_HINGE, 0.0, start, baseline)


def weighted_quantile(values, weight, share):
    """The least value with at least that share of the weight at or below it."""
    order = np.argsort(values)
    total = np.cumsum(weight[order], dtype=np.float64)
    return float(values[order][np.searchsorted(total, share * total[-1])])
