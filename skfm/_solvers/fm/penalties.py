"""Penalties of linear weights and factors, in the units of X and of the scaled features."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from skfm._kernels.features import weighted_squares
from skfm._utils.memory import largest_squared
from skfm._utils.plain_state import register_tuple


@dataclass(kw_only=True)
class Penalties:
    """L2 penalties and (group) lasso penalties: numbers, or arrays with one value per feature.

    An L2 penalty of None is estimated during training; see empirical_bayes.py.
    """

    linear: float | np.ndarray | None
    factors: float | np.ndarray | None
    linear_lasso: float | np.ndarray = 0.0
    factor_lasso: float | np.ndarray = 0.0

    @property
    def has_lasso(self):
        given = self.linear_lasso, self.factor_lasso
        return any(value.any() if np.ndim(value) else value > 0 for value in given)

    @property
    def are_given(self):
        """Whether none of the penalties is estimated during training."""
        return self.linear is not None and self.factors is not None

    @property
    def by_name(self):
        """The four penalties, in the order of the columns of `scaled_penalties`."""
        return self.linear, self.factors, self.linear_lasso, self.factor_lasso

    def of(self, columns):
        """The penalties of some columns."""
        if all(np.ndim(value) == 0 for value in self.by_name):
            return self
        return replace(
            self,
            linear=of_used(self.linear, columns),
            factors=of_used(self.factors, columns),
            linear_lasso=of_used(self.linear_lasso, columns),
            factor_lasso=of_used(self.factor_lasso, columns),
        )


@register_tuple
class PenaltiesToFind(NamedTuple):
    """Which L2 penalties are estimated during training."""

    linear: bool = False
    factors: bool = False


FIND_NONE = PenaltiesToFind()


class Elsewhere(NamedTuple):
    """The features of a stream that a problem leaves out, since its rows have none of them.

    They count for the objective, and change nothing else.
    """

    n_features: int = 0
    terms: np.ndarray = np.zeros(4)  # the sum of their `penalty_terms`

    def penalty(self, given, start):
        """Their part of the penalty term of the objective; ``start`` as in `scaled_penalties`."""
        if not self.n_features:
            return 0.0
        start = start.linear, start.factors, 0.0, 0.0
        return sum(
            term * (first if value is None else value if np.ndim(value) == 0 else 1.0)
            for term, value, first in zip(self.terms, given.by_name, start, strict=True)
        )


NOWHERE = Elsewhere()


@register_tuple
class Terms(NamedTuple):
    """The sum of the `penalty_terms` of all features of a stream."""

    kinds: tuple  # of the penalties: how they enter the terms
    total: np.ndarray


def penalty_terms(columns, linear, factors, root, inverse_scale, given):
    """The four penalty terms of the scaled parameters of some columns: of L2 penalties of linear
    weights and of factors, then of lasso penalties.

    A penalty that is a number, or is estimated during training, is left out as a factor.
    ``linear`` and ``factors`` are those of a `structs.State` of all columns; the others have a
    value for each of these columns.
    """
    ridge, factor_ridge, lasso, factor_lasso = given.by_name

    def weights(value, scale):
        if value is None:
            return np.ones(columns.size)
        return scale if np.ndim(value) == 0 else scale * value

    squared = inverse_scale**2
    of_linear, of_factors = weights(ridge, squared), weights(factor_ridge, squared) * root
    terms = np.zeros(4)
    for output in zip(linear, factors, strict=True):
        terms[:2] += weighted_squares(columns, *output, of_linear, of_factors)
    if given.has_lasso:
        size = np.abs(linear[:, columns, 0])
        length = np.sqrt(np.square(factors[:, columns, 0], dtype=np.float64).sum(axis=2))
        terms[2] = (size @ weights(lasso, inverse_scale)).sum()
        terms[3] = (length @ (weights(factor_lasso, inverse_scale) * root)).sum()
    return terms


def scaled_penalties(given, start, used, root, inverse_scale, dtype):
    """Penalties of scaled parameters (n_used, 4): ridge of linear weights and factors, then lasso.

    ``start`` contains the initial values of L2 penalties that are not given. Penalties of factors
    are multiplied by ``root``, the square root of the features' weights.
    """

    def ridge(value, start):
        return start if value is None else of_used(value, used) * inverse_scale**2

    penalty = np.zeros((used.size, 4))
    with np.errstate(over="ignore"):
        penalty[:, 0] = ridge(given.linear, start.linear)
        penalty[:, 1] = ridge(given.factors, start.factors) * root
        if given.has_lasso:
            penalty[:, 2] = of_used(given.linear_lasso, used) * inverse_scale
            penalty[:, 3] = of_used(given.factor_lasso, used) * inverse_scale * root
    # Larger penalties have the same effect, parameters of 0, but their squares overflow.
    return np.minimum(penalty, largest_squared(dtype), out=penalty)


def of_used(value, used):
    """The values of the used features; a number, or None, applies to all features."""
    return value if np.ndim(value) == 0 else np.asarray(value)[used]
