"""Explanations of predictions, interactions of fitted models, and plots of both."""

from skfm.inspection._explain import explain
from skfm.inspection._explanation import Explanation
from skfm.inspection._interactions import similar_features, top_interactions

__all__ = ["Explanation", "explain", "similar_features", "top_interactions"]
