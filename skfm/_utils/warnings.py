"""Warnings that point at the line of the user's that led here."""

import warnings

from skfm._kernels._stacklevel import level_of_user


def warn(message, category):
    """Warn at the innermost line outside this package, scikit-learn and joblib."""
    warnings.warn(message, category, stacklevel=level_of_user())
