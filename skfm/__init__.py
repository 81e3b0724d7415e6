"""Factorization machines and matrix factorization for scikit-learn."""

from skfm._compile_all import compile_all
from skfm._fm.bayesian_classifier import BayesianFMClassifier
from skfm._fm.bayesian_regressor import BayesianFMRegressor
from skfm._fm.classifier import FMClassifier
from skfm._fm.regressor import FMRegressor
from skfm._recommenders.fm import FMRecommender
from skfm._recommenders.mf import MFRecommender
from skfm._recommenders.pipelines import recommend
from skfm._show_versions import show_versions
from skfm._version import __version__ as __version__

__all__ = [
    "BayesianFMClassifier",
    "BayesianFMRegressor",
    "FMClassifier",
    "FMRecommender",
    "FMRegressor",
    "MFRecommender",
    "compile_all",
    "recommend",
    "show_versions",
]
