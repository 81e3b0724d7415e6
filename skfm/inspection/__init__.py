"""Explanations of predictions, interactions of fitted models, and plots of both."""

from skfm.inspection._explain import explain
from skfm.inspection._explanation import Explanation

__all__ = ["Explanation", "explain"]
