"""What estimators are told of the columns of X: fields, groups, and which of them interact."""

from typing import NamedTuple

from numpy.typing import ArrayLike

from skfm._fm.interactions import check_interactions, given_or_carried
from skfm._solvers.fm.interactions import Interactions
from skfm._utils.callbacks import CallbackSupport
from skfm._utils.estimator import PrintableEstimator, VersionedEstimator


class Features(NamedTuple):
    """What is known of the columns of X."""

    interactions: Interactions
    groups: ArrayLike | None  # labels as given


class EstimatorOfFeatures(CallbackSupport, VersionedEstimator, PrintableEstimator):
    """Base of all factorization machines: sparse input, and labels of its columns."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _labels_of_features(self, X):
        """Fields and groups of the columns of X; None where there are none."""
        fields = given_or_carried(self.feature_fields, X, "feature_fields")
        groups = given_or_carried(self.feature_groups, X, "feature_groups")
        return fields, groups

    def _check_interactions(self, fields, n_features):
        return check_interactions(
            fields,
            n_features,
            n_components=self.n_components,
            degree=self.degree,
            fit_lower=self.fit_lower,
            interactions=self.interactions,
            fit_linear=self.fit_linear,
            field_interactions=self.field_interactions,
            alpha_fields=self.alpha_fields,
        )
