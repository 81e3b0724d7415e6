"""Parameters in the units of X and y, and in those of the solver."""

from typing import NamedTuple

import numpy as np

from skfm._solvers.fm.interactions import Interactions
from skfm._solvers.fm.parameters import Parameters
from skfm._utils.memory import aligned_zeros

FEATURES_TOGETHER = 1 << 14  # whose factors are converted at a time: float64 takes room


class Columns(NamedTuple):
    """What `from_solver` needs to know of a problem: its features, of which none is centered."""

    used: np.ndarray
    scale: np.ndarray
    center: np.ndarray
    n_features: int
    interactions: Interactions


def random_start(problem, transform, init_scale, rng):
    """The solver's parameters of a first fit: the intercept alone, and random factors."""
    n_outputs, dtype = transform.intercept.size, problem.data.dtype
    linear = np.zeros((n_outputs, problem.n_used), dtype=dtype)
    factors = problem.random_factors(n_outputs, problem.n_used, init_scale, rng)
    field_pairs = problem.interactions.first_field_pairs(n_outputs).astype(dtype)
    return Parameters(transform.intercept, linear, factors, field_pairs)


def to_solver(center, fitted, random, problem, transform, fit_intercept, known=()):
    """Fitted parameters of all features in the units of the solver.

    They are those of the columns of X minus ``center``, which is None if it is zero. Features
    without factors yet get those of ``random``, as they could not leave zero by themselves; but
    not the features at the places ``known``, whose factors were fitted to be 0.
    """
    dtype, scale = problem.data.dtype, problem.scale.astype(np.float64)
    degrees, has_linear = problem.interactions.degrees, problem.interactions.has_linear
    factors = fitted.factors[:, problem.used]
    if center is None:
        linear = fitted.linear[:, problem.used]
        intercept, linear = problem.to_centered(
            fitted.intercept, linear, factors, fitted.field_pairs
        )
    else:
        shift = -center.astype(np.float64)
        shift[problem.used] += problem.center
        moved = _move_center(fitted, shift, problem.interactions)
        intercept, linear = moved.intercept, moved.linear[:, problem.used]
    if fit_intercept:
        intercept = (intercept - transform.shift) / transform.unit
    else:
        intercept = np.zeros_like(random.intercept)
    linear = linear * (scale / transform.unit) * has_linear[problem.used]
    factors = factors * scale[:, None] / transform.unit ** (1 / degrees)
    is_new = ~factors.any(axis=2, keepdims=True)
    is_new[:, np.asarray(known, dtype=int)] = False
    factors = np.where(is_new, random.factors, factors)
    field_pairs = fitted.field_pairs.astype(dtype)
    return Parameters(intercept, linear.astype(dtype), factors.astype(dtype), field_pairs)


def _move_center(parameters, shift, interactions):
    """Parameters of all features minus ``shift``, in float64, given those of the features."""
    factors = parameters.factors.astype(np.float64)
    change = interactions.linear_shift(slice(None), shift, factors, parameters.field_pairs)
    linear = parameters.linear + change
    intercept = parameters.intercept + linear @ shift - change @ shift / 2
    return Parameters(intercept, linear, factors, parameters.field_pairs)


def start_new_features(parameters, places, problem, init_scale, rng):
    """Set random factors of all features but those at these places, in place."""
    factors = parameters.factors
    is_new = np.ones(problem.n_used, dtype=bool)
    is_new[places] = False
    n_outputs, n_new = factors.shape[0], np.count_nonzero(is_new)
    if n_new:
        factors[:, is_new] = problem.random_factors(n_outputs, n_new, init_scale, rng)


def from_solver(parameters, problem, transform):
    """The solver's parameters in the units of X and y; features never seen get zeros.

    ``problem`` is a `Problem` or `Columns`.
    The factors are stored feature by feature, as prediction reads them. Also returns the center,
    and the intercept and the linear weights of the columns minus this center, as a tuple, or None
    if no column is centered.
    """
    dtype = parameters.factors.dtype
    with np.errstate(over="ignore", invalid="ignore"):  # the result is checked instead
        linear = parameters.linear * (transform.unit / problem.scale)
        intercept = parameters.intercept * transform.unit + transform.shift
        centered = None
        if problem.center.any():
            center = _of_all(problem, problem.center)
            centered = center, intercept, _of_all(problem, linear.astype(dtype))
            whole = _factors_in_units(parameters.factors, slice(None), problem, transform)
            intercept, linear = problem.from_centered(
                intercept, linear, whole, parameters.field_pairs
            )
        linear = linear.astype(dtype)
        n_outputs, n_used, n_components = parameters.factors.shape
        factors = aligned_zeros((n_outputs, problem.n_features, n_components), dtype)
        for first in range(0, n_used, FEATURES_TOGETHER):
            part = slice(first, first + FEATURES_TOGETHER)
            factors[:, problem.used[part]] = _factors_in_units(
                parameters.factors, part, problem, transform
            )
        parts = linear, factors, intercept.astype(dtype), parameters.field_pairs, *(centered or ())
    if not all(np.isfinite(part).all() for part in parts):
        raise ValueError(
            f"y is too large, or a column of X too small, for parameters in {dtype}; scale "
            f"them{_or_float64(dtype)}."
        )
    fitted = Parameters(intercept, _of_all(problem, linear), factors, parameters.field_pairs)
    return fitted, centered


def check_in_units(parameters, problem, transform):
    """Raise the error of `from_solver`, without the conversion if no number can be too large."""
    largest = max((np.abs(part).max(initial=0.0) for part in parameters), default=0.0)
    largest *= max(transform.unit, 1.0) / min(problem.scale.min(initial=1.0), 1.0)
    if not largest + abs(transform.shift) < np.finfo(parameters.factors.dtype).max / 2:
        from_solver(parameters, problem, transform)


def _factors_in_units(factors, part, problem, transform):
    """Factors of a part of the used features in the units of X and y."""
    in_y = factors[:, part] * transform.unit ** (1 / problem.interactions.degrees)
    return in_y / problem.scale[part, None]


def _of_all(problem, values):
    """Values of the used features, along the last axis, and zeros for all others."""
    whole = np.zeros((*values.shape[:-1], problem.n_features), dtype=values.dtype)
    whole[..., problem.used] = values
    return whole


def _or_float64(dtype):
    return "" if dtype == np.float64 else ", or pass X in float64"
