"""The parameters of a factorization machine."""

from typing import NamedTuple

import numpy as np


class Parameters(NamedTuple):
    """Of all features of X, or of those that a training problem has."""

    intercept: np.ndarray  # (n_outputs,), always float64
    linear: np.ndarray  # (n_outputs, n_features)
    factors: np.ndarray  # (n_outputs, n_features, n_components)
