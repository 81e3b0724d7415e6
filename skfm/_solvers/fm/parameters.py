"""The parameters of a factorization machine."""

from typing import NamedTuple

import numpy as np

from skfm._utils.memory import read_only

NO_PAIRS = read_only(np.zeros((1, 0, 0)))


class Parameters(NamedTuple):
    """Of all features of X, or of those that a training problem has."""

    intercept: np.ndarray  # (n_outputs,), always float64
    linear: np.ndarray  # (n_outputs, n_features)
    factors: np.ndarray  # (n_outputs, n_features, n_components)
    # (n_outputs, n_pairs, n), of pairs of fields; see _kernels/field_interactions.py.
    field_pairs: np.ndarray = NO_PAIRS
