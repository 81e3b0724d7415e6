"""Penalties of linear weights and factors, in the units of X and of the scaled features."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from skfm._utils.memory import largest_squared


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


class PenaltiesToFind(NamedTuple):
    """Which L2 penalties are estimated during training."""

    linear: bool = False
    factors: bool = False


FIND_NONE = PenaltiesToFind()


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
    """The values of the used features; a number applies to all features."""
    return value if np.ndim(value) == 0 else np.asarray(value)[used]
