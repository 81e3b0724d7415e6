"""Search spaces for the parameters of estimators."""

from typing import Any

from scipy.stats import loguniform, uniform
from sklearn.base import BaseEstimator

from skfm._fm.bayesian_classifier import BayesianFMClassifier
from skfm._fm.bayesian_regressor import BayesianFMRegressor
from skfm._fm.classifier import FMClassifier
from skfm._fm.regressor import FMRegressor
from skfm._recommenders.fm import FMRecommender
from skfm._recommenders.mf import MFRecommender
from skfm._solvers.fm.minibatch import RATES
from skfm._utils.typing import Estimator
from skfm.baselines import (
    EASERecommender,
    ItemKNNRecommender,
    PopularityRecommender,
    RP3betaRecommender,
    SLIMRecommender,
    UserKNNRecommender,
)

FM_SIZES = [2, 4, 8, 16, 32, 64]
NEIGHBORS = [20, 50, 100, 200, 500]
RECOMMENDER_SIZES = [16, 32, 64, 128, 256]


def _around(value, factor):
    return loguniform(value / factor, value * factor)


def _of_fm(estimator):
    space = {
        "alpha": loguniform(0.1, 30),
        "n_components": FM_SIZES,
        "alpha_linear": loguniform(0.3, 100),
    }
    if estimator.solver in RATES:
        space["learning_rate"] = _around(RATES[estimator.solver], 4)
    if estimator.solver == "ftrl":
        space |= {"alpha_l1": loguniform(0.01, 10), "alpha_l21": loguniform(0.01, 10)}
    return space


def _of_bayesian(estimator):
    return {"n_components": FM_SIZES}


def _of_matrix(estimator):
    if estimator.feedback == "implicit":
        return {
            "alpha": loguniform(0.003, 1),
            "unobserved_weight": loguniform(0.001, 1),
            "n_components": RECOMMENDER_SIZES,
            "nu": uniform(0.5, 0.5),
        }
    space = {"alpha": loguniform(0.1, 10), "n_components": RECOMMENDER_SIZES}
    space["nu"] = uniform(0, 1)
    if estimator.fit_bias:
        space["alpha_bias"] = loguniform(0.3, 30)
    if estimator.solver == "sgd":
        space["learning_rate"] = loguniform(0.025, 0.4)
    return space


def _of_ranking(estimator):
    return {
        "alpha": loguniform(0.03, 10),
        "n_components": RECOMMENDER_SIZES,
        "alpha_linear": loguniform(1, 100),
        "learning_rate": _around(RATES["adagrad"], 4),
    }


def _of_popularity(estimator):
    return {"statistic": ["count", "sum"]}


def _of_neighbors(estimator):
    space = {"n_neighbors": NEIGHBORS, "metric": ["cosine", "tfidf", "bm25", "jaccard"]}
    return space | {"shrinkage": [0.0, 10.0, 100.0]}


def _of_ease(estimator):
    return {"alpha": loguniform(10, 10_000)}


def _of_slim(estimator):
    return {"alpha": loguniform(1, 1000), "alpha_l1": loguniform(0.1, 30)}


def _of_random_walk(estimator):
    return {"beta": uniform(0.2, 0.4), "alpha": uniform(0.4, 0.6), "n_neighbors": NEIGHBORS}


SPACES = (
    ((FMRegressor, FMClassifier), _of_fm),
    ((BayesianFMRegressor, BayesianFMClassifier), _of_bayesian),
    ((MFRecommender,), _of_matrix),
    ((FMRecommender,), _of_ranking),
    ((PopularityRecommender,), _of_popularity),
    ((ItemKNNRecommender, UserKNNRecommender), _of_neighbors),
    ((EASERecommender,), _of_ease),
    ((SLIMRecommender,), _of_slim),
    ((RP3betaRecommender,), _of_random_walk),
)


def search_space(estimator: Estimator) -> dict[str, Any]:
    """Distributions of the parameters that are worth tuning, the most important ones first.

    The result can be used as `param_distributions` of
    :class:`~sklearn.model_selection.RandomizedSearchCV` and
    :class:`~sklearn.model_selection.HalvingRandomSearchCV`.

    Parameters
    ----------
    estimator : estimator
        Estimator of skfm, or one that contains such estimators, for example a
        :class:`~sklearn.pipeline.Pipeline`.

    Returns
    -------
    space : dict
        Maps names of parameters to distributions of :mod:`scipy.stats` or lists of values. The
        parameters of a nested estimator have prefixed names, such as ``"fmclassifier__alpha"``.
        Only parameters that matter for the current solver, loss and feedback of the estimator are
        included.

    Raises
    ------
    TypeError
        If `estimator` does not contain an estimator of skfm.

    See Also
    --------
    skfm.metrics.make_ranking_scorer : Scorers for recommenders.
    split_entries : Splits for the evaluation of recommenders.

    Notes
    -----
    With a small budget, search over the first two or three parameters only:
    ``dict(list(space.items())[:2])``. The dict may be modified.

    `max_iter` is not included, so that it can be the `resource` of
    :class:`~sklearn.model_selection.HalvingRandomSearchCV`.

    For Optuna, ``low, high = space["alpha"].support()`` are the bounds of
    ``trial.suggest_float("alpha", low, high, log=True)``, and lists are the choices of
    ``trial.suggest_categorical``. All distributions are log-uniform, except for exponents such as
    `nu`, which have a uniform distribution.

    Examples
    --------
    >>> from sklearn.model_selection import RandomizedSearchCV
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skfm import FMRegressor
    >>> from skfm.model_selection import search_space
    >>> space = search_space(FMRegressor())
    >>> list(space)
    ['alpha', 'n_components', 'alpha_linear', 'learning_rate']

    In a pipeline:

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> pairs = rng.integers(10, size=(200, 2))
    >>> ratings = np.abs(pairs[:, 0] - pairs[:, 1])
    >>> model = make_pipeline(
    ...     OneHotEncoder(handle_unknown="ignore"), FMRegressor(max_iter=20, random_state=0)
    ... )
    >>> space = search_space(model)
    >>> list(space)[0]
    'fmregressor__alpha'
    >>> search = RandomizedSearchCV(model, space, n_iter=3, cv=3, random_state=0)
    >>> sorted(search.fit(pairs, ratings).best_params_)[:2]
    ['fmregressor__alpha', 'fmregressor__alpha_linear']
    """
    parts = {"": estimator}
    if isinstance(estimator, BaseEstimator):
        nested = estimator.get_params(deep=True)
        parts |= {f"{name}__": part for name, part in nested.items()}
    space = {
        prefix + name: values
        for prefix, part in parts.items()
        for name, values in _space_of(part).items()
    }
    if not space:
        raise TypeError(
            "estimator must be an estimator of skfm, such as FMRegressor(), or contain one, for "
            f"example in a pipeline; got {estimator!r}."
        )
    return space


def _space_of(estimator):
    """The space of an estimator of skfm; of anything else it is empty."""
    return next((make(estimator) for kinds, make in SPACES if isinstance(estimator, kinds)), {})
