"""Compile all kernels in advance, for example for container images and tests."""

import warnings
from collections.abc import Iterable

import numpy as np
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

from skfm._fm.bayesian_classifier import BayesianFMClassifier
from skfm._fm.bayesian_regressor import BayesianFMRegressor
from skfm._fm.classifier import FMClassifier
from skfm._fm.regressor import FMRegressor
from skfm._recommenders.fm import FMRecommender
from skfm._recommenders.mf import MFRecommender
from skfm._solvers.fm.optimizer_state import UPDATES
from skfm._utils.parameters import FLOAT_TYPES
from skfm._utils.typing import FloatDType

SOLVERS = *UPDATES, "als"
N_ROWS, N_FEATURES, N_ITEMS = 40, 8, 6


def compile_all(
    dtypes: FloatDType | Iterable[FloatDType] = ("float64", "float32"),
) -> None:
    """Compile the kernels of all estimators, and keep them on disk.

    Otherwise, kernels are compiled when they are first needed, once per installation. Call this
    function to avoid the wait, for example when building a container image or before tests. It
    fits small models with each estimator and solver. Later processes load the compiled kernels,
    even from a folder that they cannot write to. Rarely used kernels are still compiled on first
    use: `interactions` and `field_interactions`, higher degrees, the squared hinge loss for
    multiclass problems, and mini-batches with more than 65,536 features or rows. See
    :doc:`/reproducibility`, "Compiling in advance".

    Parameters
    ----------
    dtypes : tuple of {"float64", "float32"}, default=("float64", "float32")
        Data types of X to compile for.

    See Also
    --------
    FMRegressor, FMClassifier, BayesianFMRegressor, BayesianFMClassifier, MFRecommender, \
    FMRecommender : The estimators that it compiles for.

    Examples
    --------
    >>> import skfm
    >>> skfm.compile_all(dtypes=["float32"])  # doctest: +SKIP
    """
    if isinstance(dtypes, (str, type, np.dtype)):
        dtypes = (dtypes,)
    precisions = [np.dtype(dtype) for dtype in dtypes]
    for dtype in precisions:
        if dtype not in FLOAT_TYPES:
            raise ValueError(
                f"dtypes must contain only 'float64' and 'float32'; got {dtype.name!r}."
            )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # after so few iterations
        for dtype in precisions:
            for use in _uses(dtype):
                use()


def _uses(dtype):
    """Functions that fit, and serve, one kind of model each."""
    rng = np.random.default_rng(0)
    X = sparse.random(N_ROWS, N_FEATURES, 0.5, format="csr", dtype=dtype, random_state=0)
    y, positive = rng.normal(size=N_ROWS), rng.integers(2, size=N_ROWS)
    classes, items = rng.integers(3, size=N_ROWS), rng.integers(N_ITEMS, size=N_ROWS)
    short = {"max_iter": 2, "random_state": 0}
    chain = {"max_iter": 3, "n_burn_in": 1, "random_state": 0}

    for solver in SOLVERS:
        yield lambda s=solver: FMRegressor(solver=s, **short).fit(X, y).predict(X)
        yield lambda s=solver: FMClassifier(solver=s, **short).fit(X, positive).predict_proba(X)
        yield lambda s=solver: FMClassifier(solver=s, **short).fit(X, classes).predict_proba(X)
    yield lambda: BayesianFMRegressor(**chain).fit(X, y).predict(X, return_std=True)
    yield lambda: BayesianFMClassifier(**chain).fit(X, positive).predict_proba(X)
    yield lambda: FMRegressor(early_stopping=True, **short).fit(X, y)

    def encode():
        from skfm.preprocessing import TableEncoder

        table = np.array([["a", 1.5]], dtype=object)
        TableEncoder(numbers="number", dtype=dtype).fit(table).transform(table)
        TableEncoder(strings="hashed", dtype=dtype).fit(table).transform(table)

    yield encode

    ratings = abs(X)
    for settings in ({}, {"solver": "sgd"}, {"feedback": "implicit"}):

        def factorize(settings=settings):
            model = MFRecommender(2, **settings, **short).fit(ratings)
            model.recommend(ratings, 2)
            model.similar_items([0], 2)

        yield factorize

    def find_neighbors():
        from skfm.baselines import EASERecommender, ItemKNNRecommender, SLIMRecommender

        for kind in (EASERecommender, ItemKNNRecommender, SLIMRecommender):
            kind().fit(ratings).recommend(ratings, 2)

    yield find_neighbors
    for features in (None, sparse.csr_matrix(rng.normal(size=(N_ITEMS, 2)).astype(dtype))):

        def rank(features=features):
            model = FMRecommender(2, item_features=features, **short).fit(X, items)
            model.recommend(X, 2)
            model.similar_items([0], 2)

        yield rank
