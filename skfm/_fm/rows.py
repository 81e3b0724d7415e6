"""Checked training rows: X, targets and weights, which go together."""

from typing import NamedTuple

import numpy as np
from scipy import sparse

from skfm._fm.target_transform import Targets
from skfm._utils.equal_rows import first_columns
from skfm._utils.validation import check_weight_of_steps


class Rows(NamedTuple):
    X: sparse.csr_matrix  # canonical
    y: np.ndarray  # labels as given, or numbers
    weight: np.ndarray  # of the dtype of X

    @property
    def n_features(self):
        return self.X.shape[1]

    @property
    def targets(self):
        """Those of rows of numbers."""
        return Targets.in_memory(self.y, self.weight)

    def for_solver(self, solver):
        """Rows in the order that suits the solver, with weights that it can compute with.

        The weights are empty where each is 1.
        """
        X, y, weight = self
        if solver == "als":  # it looks up rows by column: those of a column are stored together
            first = first_columns(X)
            if (first[1:] < first[:-1]).any():
                order = np.argsort(first, kind="stable")
                X, y, weight = X[order], y[order], weight[order]
        else:
            check_weight_of_steps(weight)
        return Rows(X, y, without_ones(weight).astype(X.dtype, copy=False))


def data_of_fit(rows, held_out):
    """The values that identify the rows of a fit, by the names of its arguments."""
    data = dict(zip(("X", "y", "sample_weight"), rows, strict=True))
    names = "X_val", "y_val", "sample_weight_val"
    return data | dict(zip(names, held_out or (None, None, None), strict=True))


def without_ones(weight):
    """The weights as the solvers take them: none where each is 1."""
    return weight[:0] if (weight == 1).all() else weight
