"""Penalties of linear weights and factors, in the units of X and of the scaled features."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

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
        return bool(np.any(self.factor_lasso) or np.any(self.linear_lasso))

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


def penalty_terms(linear, factors, root, inverse_scale, given):
    """The four penalty terms of scaled parameters: of L2 penalties of linear weights and of
    factors, then of lasso penalties.

    A penalty that is a number, or is estimated during training, is left out as a factor.
    Parameters are those of all outputs, and the values of ``given`` those of these features.
    """
    ridge, factor_ridge, lasso, factor_lasso = given.by_name
    squares = np.square(factors, dtype=np.float64).sum(axis=2)

    def total(sizes, value, scale):
        if value is None:
            return sizes.sum()
        sizes = sizes * scale
        return (sizes if np.ndim(value) == 0 else sizes * value).sum()

    terms = np.zeros(4)
    terms[0] = total(np.square(linear, dtype=np.float64), ridge, inverse_scale**2) / 2
    terms[1] = total(squares * root, factor_ridge, inverse_scale**2) / 2
    if given.has_lasso:
        terms[2] = total(np.abs(linear), lasso, inverse_scale)
        terms[3] = total(np.sqrt(squares) * root, factor_lasso, inverse_scale)
    return terms


def scaled_penalties(given, start, used, root, inverse_scale, dtype):
    """Penalties of scaled parameters (n_used, 4): ridge of linear weights and factors, then lasso.

    ``start`` contains the initial values of L2 penalties that are not given. Penalties of factors
    are multiplied by ``root``, the square root of the features' weights.
    """

    def ridge(value, start):
        return start if value is None else of_used(value, used) * inverse_scale**2

    penalty = np.empty((used.size, 4))
    with np.errstate(over="ignore"):
        penalty[:, 0] = ridge(given.linear, start.linear)
        penalty[:, 1] = ridge(given.factors, start.factors) * root
        penalty[:, 2] = of_used(given.linear_lasso, used) * inverse_scale
        penalty[:, 3] = of_used(given.factor_lasso, used) * inverse_scale * root
    # Larger penalties have the same effect, parameters of 0, but their squares overflow.
    return np.minimum(penalty, largest_squared(dtype))


def of_used(value, used):
    """The values of the used features; a number, or None, applies to all features."""
    return value if np.ndim(value) == 0 else np.asarray(value)[used]
