"""Warnings that point at the line of the user's that led here."""

import warnings

from sklearn.exceptions import ConvergenceWarning

from skfm._kernels._stacklevel import level_of_user


def warn(message, category):
    """Warn at the innermost line outside this package, scikit-learn and joblib."""
    warnings.warn(message, category, stacklevel=level_of_user())


def warn_not_converged(max_iter, tol, what):
    """Say that training has ended too early; ``what`` are its iterations."""
    warn(
        f"max_iter={max_iter} {what} were not enough: the objective was still improving by more "
        f"than tol={tol}; raise max_iter or tol.",
        ConvergenceWarning,
    )
