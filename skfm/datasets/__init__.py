"""Data: MovieLens-100k, data drawn from a planted model, files in the format of libffm."""

from skfm.datasets._generators import make_fm_classification, make_fm_regression
from skfm.datasets._libffm import dump_libffm, load_libffm
from skfm.datasets._movielens import fetch_movielens_100k

__all__ = [
    "dump_libffm",
    "fetch_movielens_100k",
    "load_libffm",
    "make_fm_classification",
    "make_fm_regression",
]
