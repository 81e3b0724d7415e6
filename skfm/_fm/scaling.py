"""Parameters in the units of X and y, and in those of the solver."""

import numpy as np

from skfm._solvers.fm.parameters import Parameters
from skfm._utils.memory import aligned_zeros
from skfm._utils.warnings import warn

MUCH_LOST = 0.03  # of the standard deviation of y, or of log-odds


def random_start(problem, transform, init_scale, rng):
    """The solver's parameters of a first fit: the intercept alone, and random factors."""
    n_outputs, dtype = transform.intercept.size, problem.data.dtype
    linear = np.zeros((n_outputs, problem.n_used), dtype=dtype)
    factors = problem.random_factors(n_outputs, problem.n_used, init_scale, rng)
    return Parameters(transform.intercept, linear, factors)


def to_solver(fitted, random, problem, transform, fit_intercept, known=()):
    """Fitted parameters of all features in the units of the solver.

    Features without factors yet get those of ``random``, as they could not leave zero by
    themselves; but not the features at the places ``known``, whose factors were fitted to be 0.
    """
    dtype, scale = problem.data.dtype, problem.scale.astype(np.float64)
    degrees, has_linear = problem.interactions.degrees, problem.interactions.has_linear
    factors = fitted.factors[:, problem.used]
    linear = fitted.linear[:, problem.used]
    intercept, linear = problem.to_centered(fitted.intercept, linear, factors)
    if fit_intercept:
        intercept = (intercept - transform.shift) / transform.unit
    else:
        intercept = np.zeros_like(random.intercept)
    linear = linear * (scale / transform.unit) * has_linear[problem.used]
    factors = factors * scale[:, None] / transform.unit ** (1 / degrees)
    is_new = ~factors.any(axis=2, keepdims=True)
    is_new[:, np.asarray(known, dtype=int)] = False
    factors = np.where(is_new, random.factors, factors)
    return Parameters(intercept, linear.astype(dtype), factors.astype(dtype))


def with_new_features(parameters, places, problem, init_scale, rng):
    """The solver's parameters with random factors of all features but those at these places."""
    factors = parameters.factors
    is_new = np.ones(problem.n_used, dtype=bool)
    is_new[places] = False
    n_outputs, n_new = factors.shape[0], np.count_nonzero(is_new)
    factors[:, is_new] = problem.random_factors(n_outputs, n_new, init_scale, rng)
    return parameters


def from_solver(parameters, problem, transform):
    """The solver's parameters in the units of X and y; features never seen get zeros.

    The factors are stored feature by feature, as prediction reads them.
    """
    dtype = parameters.factors.dtype
    with np.errstate(over="ignore", invalid="ignore"):  # the result is checked instead
        linear = parameters.linear * (transform.unit / problem.scale)
        factors = parameters.factors * transform.unit ** (1 / problem.interactions.degrees)
        factors = factors / problem.scale[:, None]
        intercept = parameters.intercept * transform.unit + transform.shift
        intercept, linear = problem.from_centered(intercept, linear, factors)
        linear, factors = linear.astype(dtype), factors.astype(dtype)
        parts = linear, factors, intercept.astype(dtype)
    if not all(np.isfinite(part).all() for part in parts):
        raise ValueError(
            f"y is too large, or a column of X too small, for parameters in {dtype}; scale "
            f"them{_or_float64(dtype)}."
        )
    n_outputs, _, n_components = factors.shape
    n_features = problem.position.size
    coef = np.zeros((n_outputs, n_features), dtype=dtype)
    coef[:, problem.used] = linear
    table = aligned_zeros((n_outputs, n_features, n_components), dtype)
    table[:, problem.used] = factors
    return Parameters(intercept, coef, table)


def warn_if_rounded(parameters, problem, unit):
    """Warn if predictions lose much to rounding, as columns are far from zero for their spread.

    The solver centers such columns. But fitted parameters multiply the values of X, so that large
    terms cancel: their size in a row of means, times the precision, is what is lost.
    """
    far = np.flatnonzero(problem.center)
    if not far.size:
        return
    features, center = problem.used[far], problem.center[far].astype(np.float64)
    linear = parameters.linear[:, features] / unit * center
    factors = parameters.factors[:, features] * center[:, None]
    factors = factors / unit ** (1 / problem.interactions.degrees)
    squares = np.square(factors.sum(axis=1)) + np.square(factors).sum(axis=1)
    size = np.abs(linear).sum(axis=1) + squares.sum(axis=1) / 2
    dtype = problem.data.dtype
    if size.max() * np.finfo(dtype).eps > MUCH_LOST:
        terms = np.abs(linear).max(axis=0) + np.square(factors).sum(axis=2).max(axis=0)
        warn(
            f"Predictions in {dtype} are inaccurate: columns of X are too far from zero for their "
            f"spread, most of all column {features[terms.argmax()]} (counted from 0). Center "
            f"them, for example with sklearn.preprocessing.StandardScaler"
            f"{_or_float64(dtype)}.",
            UserWarning,
        )


def _or_float64(dtype):
    return "" if dtype == np.float64 else ", or pass X in float64"
