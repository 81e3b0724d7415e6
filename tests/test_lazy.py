"""Estimators refuse Dask collections instead of computing them; Dask itself is not needed."""

import numpy as np
import pytest
from sklearn.base import clone

import skfm
from skfm.preprocessing import EventEncoder, TableEncoder, UserItemEncoder
from skfm.streams import Rows


class Collection:
    """What looks like a Dask collection."""

    shape = (4, 2)

    def __dask_graph__(self):
        return {}

    def __array__(self, *arguments, **options):
        raise AssertionError("computed")


X, Y = np.array([[1.0, 0], [0, 1], [1, 1], [2, 1]]), np.array([0, 1, 0, 1])
ESTIMATORS = [
    skfm.FMRegressor(max_iter=1),
    skfm.FMClassifier(max_iter=1),
    skfm.BayesianFMRegressor(max_iter=3, n_burn_in=1),
    skfm.BayesianFMClassifier(max_iter=3, n_burn_in=1),
    skfm.MFRecommender(1, max_iter=1),
]
LAZY = pytest.raises(TypeError, match=r"is a Dask collection .*skfm\.dask")


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda model: type(model).__name__)
def test_estimators(estimator):
    model = clone(estimator)
    with LAZY:
        model.fit(Collection(), Y)
    assert vars(model) == vars(clone(estimator))
    is_recommender = isinstance(model, skfm.MFRecommender)
    if not is_recommender:
        with LAZY:
            model.fit(X, Collection())
        with LAZY:
            model.fit(X, Y, sample_weight=Collection())
    model.fit(X, Y)
    for name in ("recommend", "transform", "score") if is_recommender else ("predict",):
        with LAZY:
            getattr(model, name)(Collection())


def test_recommenders_of_contexts():
    with LAZY:
        skfm.FMRecommender(max_iter=1).fit(Collection(), Y)
    with LAZY:
        skfm.FMRecommender(max_iter=1).fit(X, Collection())


@pytest.mark.parametrize("encoder", [UserItemEncoder(), EventEncoder(), TableEncoder()])
def test_encoders(encoder):
    with LAZY:
        encoder.fit(Collection())


def test_streams():
    with LAZY:
        Rows(Collection())
