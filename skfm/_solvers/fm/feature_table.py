"""What a stream keeps of each column of X: how it is scaled, and the state of its parameters."""

from threading import RLock
from typing import NamedTuple

import numpy as np

from skfm._kernels.structs import State
from skfm._solvers.fm.column_scaling import Scaling
from skfm._utils.memory import aligned_zeros


class Entries(NamedTuple):
    """The values of some columns of a `FeatureTable`."""

    columns: np.ndarray
    count: np.ndarray  # weight of the rows with a feature
    scale: np.ndarray
    linear: np.ndarray  # as in `structs.State`, of these columns
    factors: np.ndarray


class FeatureTable:
    """The values of all columns, which are read and replaced for some at a time.

    No column is centered. What belongs to no column is not here, such as the intercepts.
    ``lock`` is for those who change or read values while other threads may change them.
    """

    def __init__(self, scaling, state, n_features):
        def of_all(array):
            return aligned_zeros((array.shape[0], n_features, *array.shape[2:]), array.dtype)

        self.lock = RLock()
        self.is_used = np.zeros(n_features, dtype=bool)
        self.count = np.zeros(n_features)
        self.scale = np.ones(n_features, dtype=scaling.scale.dtype)
        self.linear, self.factors = of_all(state.linear), of_all(state.factors)
        self.put(Entries(scaling.used, scaling.count, scaling.scale, state.linear, state.factors))

    @property
    def n_features(self):
        return self.is_used.size

    @property
    def dtype(self):
        return self.linear.dtype

    def put(self, entries):
        """Replace the values of some columns, which count as used from now on."""
        columns, count, scale, linear, factors = entries
        self.count[columns], self.scale[columns] = count, scale
        self.linear[:, columns], self.factors[:, columns] = linear, factors
        self.is_used[columns] = True

    def known(self, columns):
        """The places of the columns that were used before, among some columns."""
        return np.flatnonzero(self.is_used[columns])

    def scaling(self, columns, known, seen_weight):
        """The `Scaling` of the used columns among some, which are numbered from 0."""
        used = columns[known]
        scale = self.scale[used]
        return Scaling(known, self.count[used], np.zeros_like(scale), scale, seen_weight)

    def state(self, columns, intercept, field_pairs):
        """The optimizer's state of some columns, with zeros for those that were not used."""

        def part(array):
            out = aligned_zeros((array.shape[0], columns.size, *array.shape[2:]), array.dtype)
            return array.take(columns, axis=1, out=out, mode="clip")

        return State(intercept.copy(), part(self.linear), part(self.factors), field_pairs.copy())
