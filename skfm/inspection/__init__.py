"""Explanations of predictions, interactions of fitted models, and plots of both."""

from skfm.inspection._explain import explain
from skfm.inspection._explanation import Explanation
from skfm.inspection._factor_map import FactorMapDisplay
from skfm.inspection._interaction_display import InteractionDisplay
from skfm.inspection._interactions import similar_features, top_interactions
from skfm.inspection._intervals import IntervalDisplay
from skfm.inspection._loss_curve import LossCurveDisplay

__all__ = [
    "Explanation",
    "FactorMapDisplay",
    "InteractionDisplay",
    "IntervalDisplay",
    "LossCurveDisplay",
    "explain",
    "similar_features",
    "top_interactions",
]
