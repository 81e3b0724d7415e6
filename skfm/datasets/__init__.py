"""Data to try factorization machines on: MovieLens-100k, and data drawn from a planted model."""

from skfm.datasets._generators import make_fm_classification, make_fm_regression
from skfm.datasets._movielens import fetch_movielens_100k

__all__ = ["fetch_movielens_100k", "make_fm_classification", "make_fm_regression"]
