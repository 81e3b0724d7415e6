"""Penalties in the units of X: given ones, and those that a fit has found."""

import numbers
from typing import NamedTuple

import numpy as np

from skfm._fm.feature_groups import check_penalty
from skfm._solvers.fm.penalties import Penalties
from skfm._solvers.fm.saddle_points import NEGLIGIBLE, factor_size
from skfm._utils.validation import is_option
from skfm._utils.warnings import warn


class FoundPenalties(NamedTuple):
    """Penalties that an earlier fit has found for each feature; None for those that it has not."""

    linear: np.ndarray | None = None
    factors: np.ndarray | None = None


def check_penalties(alpha, alpha_linear, alpha_l1, alpha_l21, *, groups, found, solver):
    """Penalties from the parameters of these names; the ``found`` ones where those are "auto".

    ``groups`` are the groups of features as `check_groups` returns them.
    """

    def given_or(found, value, name):
        return found if is_option(value, "auto") else check_penalty(value, name, groups)

    penalties = Penalties(
        factors=given_or(found.factors, alpha, "alpha"),
        linear=given_or(found.linear, alpha_linear, "alpha_linear"),
        factor_lasso=check_penalty(alpha_l21, "alpha_l21", groups),
        linear_lasso=check_penalty(alpha_l1, "alpha_l1", groups),
    )
    if penalties.has_lasso and solver != "ftrl":
        name = "alpha_l1" if np.any(penalties.linear_lasso) else "alpha_l21"
        raise ValueError(
            f"{name} requires solver='ftrl'; the other solvers cannot set weights to exactly 0."
        )
    return penalties


def with_unseen(values):
    """Penalties that were found, and their median for features that did not occur."""
    known = values[values > 0]
    return np.where(values > 0, values, np.median(known) if known.size else 0.0)


def linear_penalties(problem):
    """Penalties of the linear weights in the units of X, 0 for features that do not occur."""
    return _of_all_features(problem.linear_penalty, problem)


def factor_penalties(problem):
    """The same for the factors, as the parameter `alpha` has them: for one row of a feature."""
    return _of_all_features(problem.factor_penalty / np.sqrt(problem.count), problem)


def _of_all_features(penalty, problem):
    values = np.zeros(problem.position.size)
    values[problem.used] = penalty * np.square(problem.scale, dtype=np.float64)
    return values


def warn_if_linear(problem, factors, baseline, alpha, alpha_l21):
    """Warn if the penalties have shrunk the factors of a converged fit to nearly zero.

    Before convergence, factors are small because their initial values are. Penalties are not the
    reason if there are none, if no row has two features, or if the intercept explains the target
    (``baseline``).
    """
    penalties = {
        "alpha": (alpha, problem.factor_penalty),
        "alpha_l21": (alpha_l21, problem.factor_lasso),
    }
    to_blame = {
        name: value
        for name, (value, penalty) in penalties.items()
        if penalty.any() and not is_option(value, "auto")
    }
    has_products = np.diff(problem.indptr).max() > 1 and problem.interactions.n_components
    if not (to_blame and has_products and baseline):
        return
    if factor_size(problem, factors) < NEGLIGIBLE:
        given = " and ".join(
            f"{name} (now {float(value):.4g})" if isinstance(value, numbers.Number) else name
            for name, value in to_blame.items()
        )
        warn(
            "The factors are nearly zero, so interactions have no effect and the model is "
            f"linear. Lower {given} to learn interactions; if a linear model is intended, "
            "n_components=0 trains it faster.",
            UserWarning,
        )
