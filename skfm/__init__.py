"""Factorization machines and matrix factorization in scikit-learn's shape."""

from skfm._compile_all import compile_all
from skfm._pipelines import recommend
from skfm._version import __version__ as __version__
from skfm.bayes import BayesianFMClassifier, BayesianFMRegressor
from skfm.fm import FMClassifier, FMRegressor
from skfm.mf import MFRecommender
from skfm.ranking import FMRecommender

__all__ = [
    "BayesianFMClassifier",
    "BayesianFMRegressor",
    "FMClassifier",
    "FMRecommender",
    "FMRegressor",
    "MFRecommender",
    "compile_all",
    "recommend",
]
