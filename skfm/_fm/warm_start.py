"""What a warm start takes from the fit before."""

from typing import NamedTuple

import numpy as np

from skfm._fm.penalties import FoundPenalties
from skfm._solvers.fm.empirical_bayes import Searched
from skfm._solvers.fm.interactions import Interactions
from skfm._solvers.fm.optimizer_state import OptimizerMemory
from skfm._solvers.fm.parameters import Parameters


class WarmStart(NamedTuple):
    center: np.ndarray | None  # of the columns of X; None if it is zero
    parameters: Parameters  # in the units of X minus the center, and of y
    loss: str
    found: FoundPenalties
    searched: Searched | None  # None if penalties were never searched
    memory: OptimizerMemory | None  # None if the optimizer was another one
    interactions: Interactions

    def check(self, shape, loss, interactions):
        """Raise an error if that shape (n_outputs, n_features), that loss or those interactions
        need a new start."""
        kind, known = interactions.kind, self.interactions
        if kind != known.kind:
            raise ValueError(
                f"warm_start cannot change field_interactions from {known.kind!r} to {kind!r}. "
                "Set warm_start=False to start again."
            )
        before = *self.parameters.factors.shape[:2], known.n_components_per_field
        shape = *shape, interactions.n_components_per_field
        if before != shape:
            raise ValueError(
                "warm_start requires the same (n_outputs, n_features, n_components) as before: "
                f"got {shape}, but the fitted model has {before}. Set warm_start=False to start "
                "again."
            )
        if kind != "plain" and not np.array_equal(interactions.labels, known.labels):
            raise ValueError(
                "warm_start requires the same fields as before, since pairs of fields have "
                "parameters of their own. Set feature_fields as in the previous fit, or "
                "warm_start=False to start again."
            )
        if (loss == "poisson") != (self.loss == "poisson"):
            raise ValueError(
                f"warm_start cannot change loss from {self.loss!r} to {loss!r}: only one of them "
                "models the logarithm of the target. Set warm_start=False to start again."
            )
