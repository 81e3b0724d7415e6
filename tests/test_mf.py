"""How MFRecommender behaves, from the checks to the recommendations."""

import os
import pickle
import re
import runpy
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import reference
from builders import quietly
from helpers import JIT, in_full, needs_jit, run_code, size
from hypothesis import given, settings
from hypothesis import strategies as st
from joblib import Parallel, delayed
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import r2_score
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler

from skfm import FMRegressor, MFRecommender
from skfm._solvers import top_k
from skfm._solvers.mf import als, sgd
from skfm._utils import sparse_entries
from skfm.metrics import make_ranking_scorer, ndcg_at_k
from skfm.model_selection import split_entries
from skfm.preprocessing import UserItemEncoder

SETTINGS = {
    "als": {},
    "sgd": {"solver": "sgd"},
    "als, no bias": {"fit_bias": False},
    "sgd, no bias": {"solver": "sgd", "fit_bias": False},
    "implicit": {"feedback": "implicit"},
}
KINDS = list(SETTINGS)
EXPLICIT = [kind for kind in KINDS if kind != "implicit"]
BIASED = ["als", "sgd"]
SERVED = ["als", "als, no bias", "implicit"]  # to whom the solver does not matter any more

EMPTY_USER, EMPTY_ITEM = 3, 4
EXAMPLES = Path(__file__).parents[1] / "examples"


# Data


def make(n_users=30, n_items=20, density=0.3, dtype=np.float64, seed=0):
    """Ratings or counts 1, 2, ..., 5; one user and one item have none."""
    rng = np.random.default_rng(seed)
    stored = rng.random((n_users, n_items)) < density
    stored[EMPTY_USER], stored[:, EMPTY_ITEM] = False, False
    tendency = rng.normal(size=(n_users, 2)) @ rng.normal(size=(2, n_items))
    ratings = np.clip(np.rint(3 + tendency + rng.normal(size=stored.shape) / 2), 1, 5)
    return sparse.csr_matrix(stored * ratings, dtype=dtype)


def planted(n_users=150, n_items=40, rank=3, noise=0.3, density=0.5, seed=0):
    """Ratings of planted vectors and biases, with noise."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(n_users, rank)) @ rng.normal(size=(rank, n_items)) / np.sqrt(rank)
    scores += (rng.normal(size=(n_users, 1)) + rng.normal(size=n_items)) / 2
    scores += noise * rng.normal(size=scores.shape)
    rows, columns = np.nonzero(rng.random(scores.shape) < density)
    return sparse.csr_matrix((scores[rows, columns], (rows, columns)), shape=scores.shape)


def planted_choices(n_users=200, n_items=40, rank=3, n_chosen=8, seed=0):
    """What users of planted vectors choose: the best items, with some luck."""
    rng = np.random.default_rng(seed)
    scores = 5 * rng.normal(size=(n_users, rank)) @ rng.normal(size=(rank, n_items))
    scores += rng.gumbel(size=scores.shape)
    chosen = np.zeros_like(scores)
    np.put_along_axis(chosen, np.argsort(-scores, axis=1)[:, :n_chosen], 1, axis=1)
    return sparse.csr_matrix(chosen)


def model_for(kind, n_components=3, **parameters):
    parameters = {"random_state": 0, **SETTINGS[kind], **parameters}
    return MFRecommender(n_components, **parameters)


def all_pairs(shape):
    rows, items = np.indices(shape).reshape(2, -1)
    return rows, items


def dense_scores(model, X):
    return model.inverse_transform(model.transform(X))


FITTED = ["components_", "item_bias_", "mean_", "scale_", "n_iter_", "loss_curve_"]


def assert_same(one, other):
    """Two fitted models are the same, bit by bit."""
    for name in FITTED:
        first, second = np.asarray(getattr(one, name)), np.asarray(getattr(other, name))
        assert first.dtype == second.dtype
        assert_array_equal(first, second)


def outputs(model, X):
    """Everything that a model says of X."""
    rows, items = all_pairs(X.shape)
    return [
        model.transform(X),
        model.predict_pairs(X, rows, items),
        *model.recommend(X, 5),
        *model.similar_items([0, 1, EMPTY_ITEM], 3),
        model.score(X),
    ]


def assert_same_outputs(one, other):
    for first, second in zip(one, other, strict=True):
        assert_array_equal(first, second)


# What is learned


def inside(model, X):
    """Parameters in the units of the objective, users as transformed, and what it is about."""
    explicit = model.feedback == "explicit"
    unit = model.scale_
    users = model.transform(X)
    bias = users[:, -1] if explicit and model.fit_bias else np.zeros(len(users))
    parameters = (
        users[:, : model.n_components] / np.sqrt(unit),
        model.components_.T / np.sqrt(unit),
        bias / unit,
        model.item_bias_ / unit,
    )
    stored = X.toarray() != 0
    values = np.where(stored, (X.toarray() - model.mean_) / unit, 0)
    weight = None if explicit else model.unobserved_weight_
    return parameters, (values, stored, model.alpha, model.alpha_bias, model.nu, weight)


@pytest.mark.parametrize(
    "kind, nu", [*((kind, 0.5) for kind in KINDS), ("als", 0.0), ("implicit", 1.0)]
)
def test_fit_reaches_the_optimum(kind, nu):
    """Long training ends where L-BFGS finds hardly anything better, from there or elsewhere."""
    X = make(12, 8, 0.5)
    rate = {"learning_rate": 0.3} if "sgd" in kind else {}
    settings = {"n_components": 2, "alpha": 0.3, "alpha_bias": 0.7, "nu": nu, "tol": 0.0}
    model = quietly(model_for(kind, **settings, max_iter=1000, **rate).fit, X)
    parameters, problem = inside(model, X)
    held = not model.fit_bias or kind == "implicit"
    shapes = [array.shape for array in parameters]
    ends = np.cumsum([array.size for array in parameters])

    def cut(vector):
        return np.split(vector, ends[:-1])

    def value_and_slope(vector):
        parts = [part.reshape(shape) for part, shape in zip(cut(vector), shapes, strict=True)]
        if held:
            parts[2:] = [np.zeros_like(part) for part in parts[2:]]
        value, slopes = reference.mf_slopes(parts, *problem)
        if held:
            slopes = [*slopes[:2], *(np.zeros_like(part) for part in slopes[2:])]
        return value, np.concatenate([slope.ravel() for slope in slopes])

    fitted = np.concatenate([array.ravel() for array in parameters])
    rng = np.random.default_rng(0)
    starts = [fitted] + [rng.normal(size=fitted.size) / 2 for _ in range(2)]
    options = {"jac": True, "method": "L-BFGS-B", "options": {"maxiter": 400}}
    best = min(minimize(value_and_slope, start, **options).fun for start in starts)
    objective = reference.mf_objective(parameters, *problem)
    assert objective <= 1.01 * best
    assert_allclose(model.loss_curve_[-1], objective / X.nnz, rtol=0.02)


@pytest.mark.parametrize("kind", SERVED)
def test_als_never_goes_up(kind):
    X = make()
    model = quietly(model_for(kind, alpha=0.1, nu=0.5, max_iter=30, tol=0).fit, X)
    curve = model.loss_curve_
    assert len(curve) == model.n_iter_ == 30
    assert (np.diff(curve) <= 1e-12 * np.abs(curve[:-1])).all()
    assert curve[-1] < 0.9 * curve[0]
    parameters, problem = inside(model, X)
    assert_allclose(curve[-1] * X.nnz, reference.mf_objective(parameters, *problem), rtol=1e-3)


@needs_jit
def test_als_and_sgd_agree():
    X = planted(size(150, 30))
    one, other = (model_for(kind, tol=1e-6, max_iter=1000).fit(X) for kind in BIASED)
    assert_allclose(dense_scores(one, X), dense_scores(other, X), atol=0.05)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kind", KINDS)
def test_transform_solves_a_ridge_regression(kind, dtype):
    """Each row by itself, here by a dense solver."""
    X = make(dtype=dtype)
    settings = {"alpha": 0.3, "alpha_bias": 0.7, "nu": 0.5, "unobserved_weight": 0.2}
    model = quietly(model_for(kind, **settings).fit, X)
    users = model.transform(X)
    has_bias = kind in BIASED
    unit = model.scale_
    items = model.components_.T.astype(float) / np.sqrt(unit)
    design = np.column_stack([items, np.ones(len(items))]) if has_bias else items
    for row, found in zip(X.toarray().astype(float), users, strict=True):
        stored = row != 0
        n = stored.sum()
        if kind == "implicit":
            weight = row + 0.2
            target = np.where(stored, row / weight, 0)
            n = n + 0.2 * len(row)
        else:
            weight = stored.astype(float)
            target = (row - model.mean_ - model.item_bias_) / unit
        penalty = np.full(design.shape[1], 0.3 * max(n, 1) ** 0.5)
        if has_bias:
            penalty[-1] = 0.7
        data = design, target, weight, penalty, np.ones(len(penalty))
        expected = reference.ridge_solution(np.zeros(len(penalty)), *data) * np.sqrt(unit)
        if has_bias:
            expected[-1] *= np.sqrt(unit)
        if not stored.any():
            expected[:] = 0
        tolerance = 1e-8 if dtype == np.float64 else 1e-4
        assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_components_are_orthogonal_and_sorted(kind):
    components = model_for(kind, 4).fit(make()).components_
    products = components @ components.T
    lengths = np.diag(products)
    assert_allclose(products, np.diag(lengths), atol=1e-10 * lengths[0])
    assert (np.diff(lengths) <= 1e-12 * lengths[0]).all()


@pytest.mark.parametrize("kind", EXPLICIT)
def test_unit_of_the_ratings_does_not_matter(kind):
    X = make()
    moved = X.copy()
    shift = 7 if kind in BIASED else 0
    moved.data = X.data * 1024 + shift
    one, other = model_for(kind).fit(X), model_for(kind).fit(moved)
    assert_allclose(other.loss_curve_, one.loss_curve_, rtol=1e-6)
    expected = dense_scores(one, X) * 1024 + shift
    assert_allclose(dense_scores(other, moved), expected, rtol=1e-6, atol=1e-4)
    assert_array_equal(other.recommend(moved, 5)[0], one.recommend(X, 5)[0])


@pytest.mark.parametrize("kind", EXPLICIT)
def test_two_groups_that_rate_against_each_other(kind):
    """Of three ratings withheld, the high one comes first."""
    X = np.kron([[5.0, 1.0], [1.0, 5.0]], np.ones((6, 5)))
    known = sparse.lil_matrix(X)
    for user, items in ((0, [2, 7, 8]), (6, [0, 1, 9])):
        known[user, items] = 0
    model = model_for(kind, 2, alpha=0.1).fit(known)
    items, scores = model.recommend(known.tocsr()[[0, 6]], 3)
    assert_array_equal(items[:, 0], [2, 9])
    assert_allclose(scores[:, 0], 5, atol=0.7)
    assert_allclose(scores[:, 1:], 1, atol=0.9)


def test_two_groups_that_buy_different_things():
    X = np.kron(np.eye(2), np.ones((6, 5)))
    X[0, 2] = X[7, 9] = 0
    model = model_for("implicit", 2).fit(X)
    items, scores = model.recommend(X, 5)
    assert items[0, 0] == 2 and items[7, 0] == 9
    assert set(items[0, 1:]) < set(range(5, 10))
    assert scores[0, 0] > 10 * scores[0, 1]
    someone = np.eye(10)[[6]]  # who is new, and bought one thing
    assert_array_equal(np.sort(model.recommend(someone, 4)[0][0]), [5, 7, 8, 9])


UNITS = [(1, 0), (1e6, 0), (1e6, 1e6), (1e-6, 0), (1, 1e6)]


@needs_jit
@pytest.mark.parametrize("scale, shift", UNITS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kind", BIASED)
def test_planted_ratings_are_found(kind, dtype, scale, shift):
    X = planted(noise=0.1)
    X.data = X.data * scale + shift
    known, hidden = split_entries(X.astype(dtype), random_state=0)
    places = hidden.nonzero()
    model = model_for(kind, alpha=0.1).fit(known)
    biases = model_for("als", 1, alpha=1e6).fit(known)
    truth = hidden.data.astype(float)
    assert 0.1 < r2_score(truth, biases.predict_pairs(known, *places)) < 0.6
    assert r2_score(truth, model.predict_pairs(known, *places)) > 0.9


@needs_jit
@pytest.mark.parametrize("kind", BIASED)
def test_search_finds_the_planted_rank(kind):
    search = GridSearchCV(model_for(kind, alpha=0.1), {"n_components": [1, 2, 3, 5, 8]}, cv=3)
    search.fit(planted(size(150, 90), noise=0.5))
    assert search.best_params_ == {"n_components": 3}
    assert search.best_score_ > 0.7


@needs_jit
def test_search_finds_enough_components_for_planted_choices():
    search = GridSearchCV(model_for("implicit"), {"n_components": [1, 2, 4, 8]}, cv=3)
    search.fit(planted_choices())
    scores = search.cv_results_["mean_test_score"]
    assert search.best_params_["n_components"] >= 4
    assert scores[0] + 0.3 < scores[1] + 0.1 < scores[2]


def test_confidences_are_weights():
    """The higher one is, the nearer the score comes to 1."""
    X = make()
    model = model_for("implicit").fit(X)
    firmer = X[:1].copy()
    chosen = firmer.indices[0]
    firmer[0, chosen] *= 100
    before, after = (model.predict_pairs(row, [0], [chosen])[0] for row in (X[:1], firmer))
    assert abs(after - 1) < abs(before - 1)


def test_unit_of_the_confidences_does_not_matter():
    """If all weights grow alike."""
    X = make()
    one = model_for("implicit", nu=0, alpha=0.3, unobserved_weight=0.1, tol=1e-4).fit(X)
    other = model_for("implicit", nu=0, alpha=2.4, unobserved_weight=0.8, tol=8e-4).fit(8 * X)
    assert_allclose(dense_scores(other, 8 * X), dense_scores(one, X), rtol=1e-9)


def with_empty_rows_and_columns(X):
    """The same entries, every other row and column being empty."""
    entries = X.tocoo()
    shape = tuple(2 * size for size in X.shape)
    return sparse.csr_matrix((entries.data, (2 * entries.row, 2 * entries.col)), shape=shape)


def auto_penalty(X, factor=1):
    """Of confidences of 1, the unobserved weight being this many times that of "auto"."""
    n_users, n_items = (np.count_nonzero(X.sum(axis=axis)) for axis in (1, 0))
    noise = (X.nnz / n_users) ** -0.5 + (X.nnz / n_items) ** -0.5
    bound, penalty = 0.5 / (1 + 4 * factor), noise * min(0.16, 2.9 / n_items**0.4) / (1 + factor)
    return min(bound, penalty)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("unit", [1, 1e-3, 1e6])
def test_auto_is_of_the_shape_and_of_the_mean_confidence(unit, dtype):
    """Of confidences of 1; else of their mean. Users and items without entries do not count."""
    X = make(dtype=dtype)
    used = np.diff(X.indptr) > 0
    expected = 4 * unit * X.sum() / (used.sum() * (np.diff(X.tocsc().indptr) > 0).sum())
    mean = unit * X.sum() / X.nnz
    for entries in (X, with_empty_rows_and_columns(X)):
        model = MFRecommender(2, feedback="implicit", max_iter=1).fit(entries * dtype(unit))
        assert_allclose(model.unobserved_weight_, expected, rtol=1e-5)
        alpha = auto_penalty(X.astype(bool)) * 5 * mean / (1 + 4 * mean)
        assert_allclose(model.alpha_, alpha, rtol=1e-5)


@pytest.mark.parametrize("value", [5e-324, 1e-300])
def test_auto_of_tiny_confidences(value):
    X = sparse.csr_matrix(np.eye(3) * value)
    model = quietly(MFRecommender(1, feedback="implicit", random_state=0).fit, X)
    assert model.unobserved_weight_ > 0
    assert np.isfinite(dense_scores(model, X)).all()


@pytest.mark.parametrize("shape", [(300, 100), (50, 2000)])
def test_auto_penalty_is_smaller_the_more_unobserved_entries_weigh(shape):
    X = make(*shape, density=0.5).astype(bool).astype(float)
    balanced = MFRecommender(2, feedback="implicit", max_iter=1).fit(X).unobserved_weight_
    for factor in (0, 0.5, 1, 8, 1e9):
        weight = factor * balanced
        model = MFRecommender(2, feedback="implicit", unobserved_weight=weight, max_iter=1).fit(X)
        assert model.unobserved_weight_ == weight
        assert_allclose(model.alpha_, auto_penalty(X, factor))
    fixed = MFRecommender(2, feedback="implicit", alpha=0.7, max_iter=1).fit(X)
    assert fixed.alpha_ == 0.7
    assert fixed.unobserved_weight_ == balanced


def test_auto_finds_something_where_users_and_items_have_one_entry_each():
    for n in (2, 30):
        X = sparse.csr_matrix(np.eye(n))
        for weight in ("auto", 0, 100):
            model = MFRecommender(feedback="implicit", unobserved_weight=weight, random_state=0)
            assert np.diag(dense_scores(quietly(model.fit, X), X)).min() > 0


@pytest.mark.parametrize("n_items", [5000, 5001])
def test_auto_has_more_components_for_large_catalogues(n_items):
    items = np.arange(n_items)
    X = sparse.csr_matrix((np.ones(n_items), (items % 300, items)), shape=(300, 6000))
    model = MFRecommender(feedback="implicit", max_iter=1, random_state=0).fit(X)
    assert model.components_.shape[0] == (128 if n_items == 5000 else 256)


def test_defaults_rank_alike_whatever_the_unit_of_the_confidences():
    visible, hidden = split_entries(planted_choices(200, 100, rank=4), random_state=0)
    found = [
        ndcg_at_k(hidden, model.recommend(unit * visible, 10)[0], k=10)
        for unit in (1e-4, 1, 1e4)
        for model in [MFRecommender(feedback="implicit", random_state=0).fit(unit * visible)]
    ]
    assert min(found) > 0.94 * max(found)


def test_auto_is_the_same_as_the_numbers_it_stands_for():
    X = make()
    auto = MFRecommender(feedback="implicit", random_state=0).fit(X)
    numbers = {"alpha": auto.alpha_, "nu": 1.0, "unobserved_weight": auto.unobserved_weight_}
    given = MFRecommender(20, feedback="implicit", random_state=0, **numbers).fit(X)
    assert_same(auto, given)
    explicit = MFRecommender(random_state=0).fit(X)
    assert_same(explicit, MFRecommender(32, alpha=1.2, nu=0.5, random_state=0).fit(X))
    assert (explicit.alpha_, explicit.unobserved_weight_) == (1.2, 0.0)


@pytest.mark.parametrize("n_items", [40, 300], ids=["dense", "sparse"])
def test_defaults_rank_well_at_any_density(n_items):
    """Nearly as well as the best of some settings."""
    visible, hidden = split_entries(planted_choices(200, n_items, rank=4), random_state=0)

    def ndcg(n_components=16, **parameters):
        model = MFRecommender(n_components, feedback="implicit", random_state=0, **parameters)
        return ndcg_at_k(hidden, model.fit(visible).recommend(visible, 10)[0], k=10)

    settings = [
        {"alpha": alpha, "unobserved_weight": weight, "nu": 1}
        for alpha in (0.03, 0.1)
        for weight in (0.02, 0.1, 0.5)
    ]
    assert ndcg("auto") > 0.93 * max(ndcg(**setting) for setting in settings)


def test_unobserved_weight_pulls_towards_nothing():
    X = make()
    scores = [
        dense_scores(model_for("implicit", unobserved_weight=weight).fit(X), X).mean()
        for weight in (0, 0.1, 1, 10)
    ]
    assert (np.diff(scores) < 0).all()


# The same model as a factorization fm


def one_hot(rows, items, n_users, n_items):
    users, columns = np.eye(n_users)[rows], np.eye(n_items)[items]
    return sparse.csr_matrix(np.hstack([users, columns]))


@pytest.mark.parametrize("kind", BIASED)
def test_scores_are_those_of_a_model_with_the_same_parameters(kind):
    X = make()
    model = model_for(kind).fit(X)
    users = model.transform(X)
    rows, items = all_pairs(X.shape)
    pairs = one_hot(rows, items, *X.shape)
    fm = FMRegressor(3, max_iter=1).fit(pairs, np.ones(len(rows)))
    fm.intercept_ = model.mean_
    fm.coef_ = np.concatenate([users[:, 3], model.item_bias_])
    fm.components_ = np.concatenate([users[:, :3].T, model.components_], axis=1)
    assert_allclose(model.predict_pairs(X, rows, items), fm.predict(pairs), rtol=1e-9)


@pytest.mark.parametrize("kind", BIASED)
def test_fourth_of_four_ratings_as_by_a_model(kind):
    """The second user gives less and the first item gets less, so it is below all others."""
    X = sparse.csr_matrix([[2.0, 4.0], [0.0, 1.0]])
    pairs = one_hot([0, 0, 1], [0, 1, 1], 2, 2)
    settings = {"alpha": 1.2, "tol": 1e-7, "max_iter": size(3000, 500), "random_state": 0}
    fm = FMRegressor(1, alpha_linear=0.01, **settings).fit(pairs, X.data)
    rows, items = [0, 0, 1, 1], [0, 1, 1, 0]
    expected = fm.predict(one_hot(rows, items, 2, 2))
    model = MFRecommender(1, alpha_bias=0.01, **SETTINGS[kind], **settings).fit(X)
    assert_allclose(model.predict_pairs(X, rows, items), expected, atol=0.05)
    assert_allclose(expected[3], -0.9, atol=0.1)
    assert_allclose(
        MFRecommender(1, alpha_bias=0.01).fit(X).predict_pairs(X, [1], [0]), -0.9, atol=0.1
    )


# Identities


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kind", KINDS)
def test_fit_transform_is_fit_and_transform(kind, dtype):
    X = make(dtype=dtype)
    model = model_for(kind)
    users = model.fit_transform(X)
    assert_array_equal(users, model.transform(X))
    assert_array_equal(users, model_for(kind).fit(X).transform(X))
    assert users.shape == (30, 4 if kind in BIASED else 3)
    assert users.dtype == model.components_.dtype == model.item_bias_.dtype == dtype
    assert model.components_.shape == (3, 20) and model.item_bias_.shape == (20,)
    for scores in (dense_scores(model, X), model.recommend(X, 2)[1], model.item_vectors()):
        assert scores.dtype == dtype


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kind", KINDS)
def test_all_ways_to_a_score_agree(kind, dtype):
    X = make(dtype=dtype)
    model = model_for(kind).fit(X)
    users = model.transform(X)
    rows, items = all_pairs(X.shape)
    tolerance = {"rtol": 1e-9, "atol": 1e-9} if dtype == np.float64 else {"atol": 1e-4}
    expected = model.mean_ + users[:, :3] @ model.components_ + model.item_bias_
    if kind in BIASED:
        expected = expected + users[:, 3:]
    else:
        assert model.mean_ == 0 and not model.item_bias_.any()
    assert_allclose(model.inverse_transform(users), expected, **tolerance)
    pairs = model.predict_pairs(X, rows, items)
    assert pairs.dtype == dtype
    assert_allclose(pairs.reshape(X.shape), expected, **tolerance)
    query, index = model.user_vectors(X), model.item_vectors()
    assert query.dtype == index.dtype == dtype
    assert query.shape[1] == index.shape[1] == (5 if kind in BIASED else 3)
    assert_allclose(query @ index.T, expected, **tolerance)
    best, scores = model.recommend(X, 20, exclude_seen=False)
    assert_allclose(scores, np.take_along_axis(expected, best, axis=1), **tolerance)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kind", KINDS)
def test_one_row_is_served_like_one_of_many(kind, dtype):
    """Bit by bit, whoever else is there, in the fit or not."""
    X = make(dtype=dtype)
    model = model_for(kind).fit(X[:20])
    users = model.transform(X)
    items, scores = model.recommend(X, 5)
    for u in (0, EMPTY_USER, 19, 25, 29):
        assert_array_equal(model.transform(X[u]), users[[u]])
        one, score = model.recommend(X[u], 5)
        assert_array_equal(one[0], items[u])
        assert_array_equal(score[0], scores[u])
        pairs = model.predict_pairs(X, [u] * 20, np.arange(20))
        assert_array_equal(model.predict_pairs(X[u], [0] * 20, np.arange(20)), pairs)
    order = np.random.default_rng(0).permutation(30)
    assert_array_equal(model.transform(X[order]), users[order])


@pytest.mark.parametrize("kind", KINDS)
def test_new_user_with_known_tastes_is_served_like_the_known_one(kind):
    X = make()
    model = model_for(kind).fit(X)
    twin = sparse.vstack([X[7], X[7]]).tocsr()
    assert_array_equal(model.transform(twin), model.transform(X)[[7, 7]])


# Kinds of input

TO_SPARSE = {
    "csr matrix": sparse.csr_matrix,
    "csr array": sparse.csr_array,
    "csc matrix": sparse.csc_matrix,
    "csc array": sparse.csc_array,
    "coo matrix": sparse.coo_matrix,
    "coo array": sparse.coo_array,
    "lil matrix": sparse.lil_matrix,
    "dense": sparse.csr_matrix.toarray,
    "list": lambda X: X.toarray().tolist(),
    "integers": lambda X: X.astype(np.int64),
    "small integers": lambda X: X.astype(np.int8).toarray(),
    "Fortran": lambda X: np.asfortranarray(X.toarray()),
}


def with_long_indices(X):
    X = X.copy()
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    return X


def unsorted(X):
    X = X.copy()
    for start, stop in zip(X.indptr[:-1], X.indptr[1:], strict=True):
        X.indices[start:stop] = X.indices[start:stop][::-1].copy()
        X.data[start:stop] = X.data[start:stop][::-1].copy()
    X.has_sorted_indices = False
    return X


def in_pieces(X):
    """Each entry as two entries, a quarter and three of them, in no order."""
    coo = X.tocoo()
    order = np.random.default_rng(0).permutation(2 * X.nnz)
    rows, columns = np.tile(coo.row, 2)[order], np.tile(coo.col, 2)[order]
    return sparse.coo_matrix(
        (np.concatenate([coo.data / 4, coo.data * 3 / 4])[order], (rows, columns)), shape=X.shape
    )


def csr_in_pieces(X):
    indices, data = np.repeat(X.indices, 2), np.repeat(X.data, 2)
    data[::2] /= 4
    data[1::2] *= 3 / 4
    return sparse.csr_matrix((data, indices, 2 * X.indptr), shape=X.shape)


def read_only(X):
    X = X.copy()
    for array in (X.data, X.indices, X.indptr):
        array.setflags(write=False)
    return X


def read_only_dense(X):
    X = X.toarray()
    X.setflags(write=False)
    return X


TO_SPARSE |= {
    "long indices": with_long_indices,
    "unsorted": unsorted,
    "in pieces": in_pieces,
    "csr in pieces": csr_in_pieces,
    "read only": read_only,
    "read only, dense": read_only_dense,
}


@pytest.mark.parametrize("form", TO_SPARSE)
@pytest.mark.parametrize("kind", ["als", "sgd", "implicit"])
def test_form_of_the_matrix_does_not_matter(kind, form):
    X = make()
    model = model_for(kind).fit(X)
    given = TO_SPARSE[form](X)
    assert_same(model_for(kind).fit(given), model)
    rows, items = [5, 0, 5], [1, 2, 1]
    assert_array_equal(model.transform(given), model.transform(X))
    assert_array_equal(
        model.predict_pairs(given, rows, items), model.predict_pairs(X, rows, items)
    )
    for one, other in zip(model.recommend(given, 5), model.recommend(X, 5), strict=True):
        assert_array_equal(one, other)
    assert model.score(given) == model.score(X)


def arrays_of(X):
    if not sparse.issparse(X):
        return [X]
    if X.format == "coo":
        return [X.data, X.row, X.col]
    return [X.data, X.indices, X.indptr]


def with_zeros(X):
    """Some entries of X hold 0."""
    X = X.copy()
    X.data[::7] = 0
    return X


@pytest.mark.parametrize(
    "form", ["csr", "csc", "coo", "unsorted", "in pieces", "dense", "float32"]
)
@pytest.mark.parametrize("kind", ["als", "sgd", "als, no bias", "implicit"])
def test_arrays_of_the_caller_stay_as_they_are(kind, form):
    X = with_zeros(make())
    if form == "dense":
        X = X.toarray()
    elif form == "float32":
        X = X.astype(np.float32)
    elif form in ("csr", "csc", "coo"):
        X = X.asformat(form)
    else:
        X = {"unsorted": unsorted, "in pieces": csr_in_pieces}[form](X)
    exclude = unsorted(make(seed=1))
    rows, items, candidates = np.array([2, 0, 2]), np.array([1, 5, 1]), np.array([9, 3, 5, 3])
    arrays = [*arrays_of(X), *arrays_of(exclude), rows, items, candidates]
    copies = [array.copy() for array in arrays]
    model = model_for(kind).fit(X)
    users = model.transform(X)
    kept = users.copy()
    model.inverse_transform(users)
    model.predict_pairs(X, rows, items)
    model.recommend(X, 2, exclude=exclude, candidates=candidates)
    model.recommend(X, 2, exclude=items)
    model.similar_items(items)
    model.score(X)
    assert_array_equal(users, kept)
    for array, copy in zip(arrays, copies, strict=True):
        assert_array_equal(array, copy)


@pytest.mark.parametrize("kind", BIASED)
def test_stored_zero_is_a_rating(kind):
    """Ratings from 0 to 4 are ratings from 1 to 5, less one."""
    X = make()
    lower = X.copy()
    lower.data = X.data - 1
    assert (lower.data == 0).any()
    one, other = model_for(kind).fit(X), model_for(kind).fit(lower)
    assert_allclose(dense_scores(other, lower), dense_scores(one, X) - 1, rtol=1e-6, atol=1e-6)
    items, _ = other.recommend(lower, 19)
    for u, row in enumerate(items):
        assert not set(row) & set(lower.indices[lower.indptr[u] : lower.indptr[u + 1]])


def test_stored_zero_is_no_confidence():
    X = with_zeros(make())
    without = X.copy()
    without.eliminate_zeros()
    one, other = model_for("implicit").fit(X), model_for("implicit").fit(without)
    assert_same(one, other)
    assert_same_outputs(outputs(one, X), outputs(other, without))
    user = int(np.flatnonzero(np.diff(X.indptr))[0])
    assert X.indices[0] in one.recommend(X[user], 20)[0]


def test_true_is_a_confidence_of_one():
    X = make()
    X.data[:] = 1
    expected = model_for("implicit").fit(X)
    for flags in (X.astype(bool), X.astype(bool).toarray()):
        assert_same(model_for("implicit").fit(flags), expected)


def test_fit_decides_the_precision():
    X = make()
    for fitted, served in ((np.float64, np.float32), (np.float32, np.float64)):
        model = model_for("als").fit(X.astype(fitted))
        assert model.transform(X.astype(served)).dtype == fitted
        assert_array_equal(model.transform(X.astype(served)), model.transform(X.astype(fitted)))


@pytest.mark.parametrize("kind", KINDS)
def test_both_precisions_agree(kind):
    X = make()
    one, other = model_for(kind).fit(X), model_for(kind).fit(X.astype(np.float32))
    assert_allclose(dense_scores(one, X), dense_scores(other, X), atol=1e-2)


# DataFrames

NAMES = [f"item {9 * k % 20:02}" for k in range(20)]  # not sorted


def make_frame(**options):
    X = make(**options)
    return pd.DataFrame(X.toarray(), columns=NAMES, index=[f"user {u}" for u in range(30)])


@pytest.mark.parametrize("kind", SERVED)
def test_items_have_names(kind):
    frame = make_frame()
    named, model = model_for(kind).fit(frame), model_for(kind).fit(make())
    assert_same(named, model)
    assert_array_equal(named.feature_names_in_, NAMES)
    X = frame.to_numpy()
    items, scores = named.recommend(frame, 12)
    positions, expected = model.recommend(X, 12)
    assert items.dtype == object
    assert_array_equal(scores, expected)
    assert any(position < 0 for position in positions.ravel())
    for name, position in zip(items.ravel(), positions.ravel(), strict=True):
        assert name == (NAMES[position] if position >= 0 else None)

    asked = [3, 0, 17]
    for ids in ([NAMES[i] for i in asked], np.array(NAMES)[asked], pd.Index(NAMES)[asked], asked):
        similar, cosines = named.similar_items(ids, 4)
        expected, same = model.similar_items(asked, 4)
        assert_array_equal(similar, np.array(NAMES, object)[expected])
        assert_array_equal(cosines, same)
        assert_array_equal(
            named.predict_pairs(frame, [5, 5, 0], ids), model.predict_pairs(X, [5, 5, 0], asked)
        )
        for argument in ("candidates", "exclude"):
            found = named.recommend(frame, 2, exclude_seen=False, **{argument: ids})[0]
            expected = model.recommend(X, 2, exclude_seen=False, **{argument: asked})[0]
            assert_array_equal(found, np.array(NAMES, object)[expected])


def test_unknown_names():
    frame = make_frame()
    model = model_for("als").fit(frame)
    for ids in (["item 03", "brazil"], ["zzz"], [""], ["item 3"]):
        unknown = ids[-1]
        for argument in ("candidates", "exclude"):
            with pytest.raises(ValueError, match=f"{argument} contains items .*'{unknown}'"):
                model.recommend(frame, 1, **{argument: ids})
        with pytest.raises(ValueError, match=f"items contains items .*'{unknown}'"):
            model.similar_items(ids, 2)
        with pytest.raises(ValueError, match=f"items contains items .*'{unknown}'"):
            model.predict_pairs(frame, [0] * len(ids), ids)


def test_columns_in_another_order_are_refused():
    frame = make_frame()
    model = model_for("als").fit(frame)
    for method in (model.transform, model.recommend, model.score):
        with pytest.raises(ValueError, match="same order"):
            method(frame[NAMES[::-1]])


def test_numbers_as_names_are_no_names():
    frame = make_frame().set_axis(range(100, 120), axis=1)
    model = model_for("als").fit(frame)
    assert not hasattr(model, "feature_names_in_")
    assert model.recommend(frame, 2)[0].dtype == np.int64


def test_sparse_frame():
    X = make()
    frame = pd.DataFrame.sparse.from_spmatrix(X, columns=NAMES)
    model = model_for("implicit").fit(frame)
    assert_same(model, model_for("implicit").fit(X))
    assert isinstance(model.recommend(frame, 1)[0][0, 0], str)


@pytest.mark.parametrize("kind", SERVED)
def test_frames_of_pandas_out(kind):
    frame = make_frame()
    plain = model_for(kind).fit(frame)
    n = plain.transform(frame).shape[1]
    names = [f"mfrecommender{k}" for k in range(n)]
    assert_array_equal(plain.get_feature_names_out(), names)
    model = model_for(kind).set_output(transform="pandas")
    for users in (model.fit_transform(frame), model.transform(frame)):
        assert isinstance(users, pd.DataFrame)
        assert_array_equal(users.columns, names)
        assert_array_equal(users.index, frame.index)
        assert_array_equal(users.to_numpy(), plain.transform(frame))
    assert_array_equal(model.inverse_transform(users), dense_scores(plain, frame))
    assert_array_equal(model.recommend(frame, 2)[1], plain.recommend(frame, 2)[1])
    assert_array_equal(
        model.predict_pairs(frame, [0, 1], [2, 3]), plain.predict_pairs(frame, [0, 1], [2, 3])
    )
    assert model.score(frame) == plain.score(frame)


# Recommendations


def best_by_sorting(scores, left_out, n_items):
    """Items and scores as `recommend` gives them, by sorting all scores."""
    scores = np.where(left_out, -np.inf, scores)
    items = np.argsort(-scores, axis=1, kind="stable")[:, :n_items]
    scores = np.take_along_axis(scores, items, axis=1)
    return np.where(scores > -np.inf, items, -1), scores


OPTIONS = {
    "all": {},
    "seen too": {"exclude_seen": False},
    "some": {"candidates": [17, 2, 9, 3, 11, 0]},
    "some, twice": {"candidates": [3, 9, 9, 2, 3, 14, 0, 18]},
    "some, seen too": {"candidates": np.arange(1, 12, 2), "exclude_seen": False},
    "but some": {"exclude": [5, 0, 5, 19, 8]},
    "but some, seen too": {"exclude": np.array([5, 19], np.uint8), "exclude_seen": False},
    "but entries": {"exclude": "entries"},
    "but entries, seen too": {"exclude": "entries", "exclude_seen": False},
    "some, but entries": {"exclude": "entries", "candidates": [19, 1, 2, 3, 5, 8]},
    "some, but some": {"exclude": [1, 3, 4], "candidates": range(12)},
}
TO_FORM = {
    "csr": sparse.csr_matrix,
    "array": sparse.csr_array,
    "coo": sparse.coo_matrix,
    "unsorted": unsorted,
    "in pieces": csr_in_pieces,
    "zeros": with_zeros,
    "dense": sparse.csr_matrix.toarray,
    "read only": read_only,
}


def left_out_by(X, options):
    stored = X.toarray() != 0
    left_out = stored.copy() if options.get("exclude_seen", True) else np.zeros_like(stored)
    if "candidates" in options:
        others = np.setdiff1d(np.arange(X.shape[1]), options["candidates"])
        left_out[:, others] = True
    exclude = options.get("exclude")
    if sparse.issparse(exclude):
        left_out |= exclude.toarray() != 0
    elif exclude is not None:
        left_out[:, exclude] = True
    return left_out


@pytest.mark.parametrize("case", OPTIONS)
@pytest.mark.parametrize("kind", SERVED)
def test_recommend_as_by_sorting(kind, case):
    X = make(density=0.4)
    model = model_for(kind).fit(X)
    options = dict(OPTIONS[case])
    if isinstance(options.get("exclude"), str):
        options["exclude"] = make(density=0.3, seed=1)
    for n_items in (1, 4, 6):
        left_out = left_out_by(X, options)
        items, scores = model.recommend(X, n_items, **options)
        expected, theirs = best_by_sorting(dense_scores(model, X), left_out, n_items)
        assert items.dtype == np.int64 and items.shape == scores.shape == (30, n_items)
        assert_allclose(scores, theirs, rtol=1e-9)
        assert_array_equal(items[:, : theirs.shape[1]], expected)
    if case == "some, but entries":
        assert (items == -1).any() and (items >= 0).any()


@pytest.mark.parametrize("form", TO_FORM)
def test_form_of_the_excluded_entries_does_not_matter(form):
    X, entries = make(), make(seed=1)
    model = model_for("als").fit(X)
    for options in ({}, {"exclude_seen": False}, {"candidates": [7, 1, 2, 12, 4]}):
        given, expected = (
            model.recommend(X, 5, exclude=exclude, **options)
            for exclude in (TO_FORM[form](entries), entries)
        )
        assert_same_outputs(given, expected)


@pytest.mark.parametrize("kind", SERVED)
def test_recommend_many_items_to_many_users(kind):
    """More than the kernel takes at a time, of both."""
    X = make(top_k.BLOCK + 70, 2 * 256 + 30, density=0.05)
    model = quietly(model_for(kind, 5, max_iter=3).fit, X)
    scores = dense_scores(model, X)
    for n_items, options in ((10, {}), (size(400, 40), {"exclude": np.arange(100)})):
        expected, theirs = best_by_sorting(scores, left_out_by(X, options), n_items)
        items, found = model.recommend(X, n_items, **options)
        assert_allclose(found, theirs, rtol=1e-8, atol=1e-10)
        # Items without entries have equal scores: their order shows in the kernel alone.
        assert_allclose(np.take_along_axis(scores, items, axis=1), theirs, rtol=1e-8, atol=1e-10)
        assert (items == expected).mean() > 0.999


@pytest.mark.parametrize("kind", KINDS)
def test_where_too_few_items_are_left(kind):
    X = sparse.csr_matrix(np.tril(np.ones((5, 5))) * [[1, 2, 3, 4, 5]])
    model = model_for(kind, 1).fit(X)
    items, scores = model.recommend(X, 5)
    for u in range(5):
        n_left = 4 - u
        assert_array_equal(np.sort(items[u, :n_left]), np.arange(u + 1, 5))
        assert (items[u, n_left:] == -1).all()
        assert np.isfinite(scores[u, :n_left]).all()
        assert (scores[u, n_left:] == -np.inf).all()
    frame = pd.DataFrame(X.toarray(), columns=list("abcde"))
    items, _ = model_for(kind, 1).fit(frame).recommend(frame, 5)
    assert list(items[4]) == [None] * 5
    assert items[3, 0] == "e" and list(items[3, 1:]) == [None] * 4


def test_of_equal_scores_the_first_column_wins():
    X = make()
    X = sparse.hstack([X[:, :5], sparse.csr_matrix((30, 6)), X[:, 5:]]).tocsr()
    twins = list(range(4, 11))  # without entries: all of the same score
    for kind in KINDS:
        model = model_for(kind).fit(X)
        items, scores = model.recommend(X, 26, exclude_seen=False)
        for row, values in zip(items, scores, strict=True):
            places = np.flatnonzero(np.isin(row, twins))
            assert len(set(values[places])) == 1
            assert_array_equal(row[places], twins)
        assert_array_equal(model.recommend(X, 3, candidates=twins[::-1])[0][0], [4, 5, 6])


@pytest.mark.parametrize("n_items", [21, 1000, np.int64(21)])
def test_more_items_than_there_are(n_items):
    X = make()
    model = model_for("als").fit(X)
    for options in ({}, {"exclude_seen": False}, {"exclude": X}):
        expected = model.recommend(X, 20, **options)
        assert_same_outputs(model.recommend(X, n_items, **options), expected)
    assert_same_outputs(model.similar_items([0], n_items), model.similar_items([0], 20))
    assert_same_outputs(model.similar_users(X, [0], n_items + 10), model.similar_users(X, [0], 30))


def test_n_items_counts_what_there_is_to_choose_from():
    X = make()
    model = model_for("als").fit(X)
    for n_left, options in (
        (2, {"candidates": [3, 1, 3]}),
        (17, {"exclude": [1, 2, 3, 3]}),
        (1, {"candidates": [3, 1], "exclude": [1]}),
    ):
        expected = model.recommend(X, n_left, **options)
        assert expected[0].shape == (30, n_left)
        assert_same_outputs(model.recommend(X, n_left + 1, **options), expected)
    for options in ({"candidates": []}, {"candidates": [1], "exclude": [1]}):
        with pytest.raises(ValueError, match="No items are left to choose from"):
            model.recommend(X, 1, **options)
    assert_same_outputs(model.recommend(X, 3, exclude=[]), model.recommend(X, 3))


def test_masks_of_items():
    X = make(20, 20)
    model = model_for("als").fit(X)
    mask = np.arange(20) % 3 > 0
    expected = model.recommend(X, 3, candidates=np.flatnonzero(mask))
    assert_same_outputs(model.recommend(X, 3, candidates=mask), expected)
    assert_same_outputs(model.recommend(X, 3, exclude=~mask), expected)
    with pytest.raises(TypeError, match=r"candidates .* a mask of the 20 items; got a mask of 19"):
        model.recommend(X, 3, candidates=mask[:-1])


WRONG_ITEMS = [
    (ValueError, [20], "between 0 and 19"),
    (ValueError, [0, -1], "between 0 and 19"),
    (ValueError, 3, "one-dimensional"),
    (TypeError, [1.0], "integers"),
    (TypeError, ["a"], "integers, got <U1. Encode names first, with encode_users or encode_items"),
    (TypeError, [True, False], "integers"),
    (TypeError, [None], "integers"),
]


@pytest.mark.parametrize("error, ids, message", WRONG_ITEMS)
def test_what_is_no_list_of_items(error, ids, message):
    X = make(20, 20)
    model = model_for("als").fit(X)
    for argument in ("candidates", "exclude"):
        with pytest.raises(error, match=f"{argument} must .*{message}"):
            model.recommend(X, 1, **{argument: ids})
    with pytest.raises(error, match=f"items must .*{message}"):
        model.similar_items(ids, 1)
    with pytest.raises(error, match=f"rows must .*{message}"):
        model.similar_users(X, ids)
    if ids in ([0, -1], [None]):
        return  # unknown, see test_unknown_users_and_items
    with pytest.raises(error, match=f"items must .*{message}"):
        model.predict_pairs(X, np.zeros(np.size(ids), int), ids)
    with pytest.raises(error, match=f"rows must .*{message}"):
        model.predict_pairs(X, ids, np.zeros(np.size(ids), int))


@pytest.mark.parametrize("argument", ["candidates", "exclude"])
def test_what_is_unknown_is_to_be_left_out(argument):
    X = make()
    model = model_for("als").fit(X)
    with pytest.raises(ValueError, match=f"{argument} must be .* Leave out -1"):
        model.recommend(X, 1, **{argument: [3, -1]})


def test_sets_of_items():
    X = make()
    model = model_for("als").fit(X)
    for argument in ("candidates", "exclude"):
        expected = model.recommend(X, 2, **{argument: [9, 3, 5]})
        for items in ({3, 5, 9}, frozenset([3, 5, 9]), dict.fromkeys([3, 5, 9]).keys()):
            assert_same_outputs(model.recommend(X, 2, **{argument: items}), expected)
        with pytest.raises(TypeError, match=rf"{argument} must be .*Pass list\({argument}\)"):
            model.recommend(X, 2, **{argument: iter([3, 5, 9])})


def test_arguments_of_recommend():
    X = make()
    model = model_for("als").fit(X)
    for n_items in (0, -1):
        with pytest.raises(ValueError, match="n_items"):
            model.recommend(X, n_items)
    for n_items in (1.0, True, "2", None):
        with pytest.raises(TypeError, match="n_items"):
            model.recommend(X, n_items)
    for exclude_seen in (1, "no", None):
        with pytest.raises(TypeError, match="exclude_seen"):
            model.recommend(X, 1, exclude_seen=exclude_seen)
    for exclude in (X[:5], X[:, :5], X.T):
        with pytest.raises(ValueError, match="exclude must be a list of items, or have a row"):
            model.recommend(X, 1, exclude=exclude)
    with pytest.raises(ValueError, match="candidates must be one-dimensional"):
        model.recommend(X, 1, candidates=[[1, 2]])


def test_excluded_entries_may_be_stored_zeros():
    X = make()
    model = model_for("als").fit(X)
    zeros = sparse.csr_matrix((np.zeros(30), (np.arange(30), np.full(30, 7))), shape=X.shape)
    items, _ = model.recommend(X, 20, exclude=zeros, exclude_seen=False)
    assert not (items == 7).any() and (items[:, -1] == -1).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kind", SERVED)
def test_similar_items_as_by_dense_cosines(kind, dtype):
    model = model_for(kind).fit(make(dtype=dtype))
    cosines = cosine_similarity(model.components_.T)
    asked = np.array([5, EMPTY_ITEM, 0, 5, 19])
    for n_items in (1, 6, 20):
        items, found = model.similar_items(asked, n_items)
        itself = asked[:, None] == np.arange(20)
        expected, scores = best_by_sorting(cosines[asked], itself, n_items)
        assert found.dtype == dtype
        assert_allclose(found, scores, atol=1e-5 if dtype == np.float32 else 1e-10)
        assert_array_equal(items[[0, 2, 3, 4]], expected[[0, 2, 3, 4]])
        others = np.delete(np.arange(20), EMPTY_ITEM)
        assert_array_equal(items[1], np.append(others, -1)[:n_items])
        assert (found[1][items[1] >= 0] == 0).all()
    items, found = model.similar_items([])
    assert items.shape == found.shape == (0, 10)


def test_similarity_knows_no_bias():
    """Items are alike by who likes them, however high they are rated."""
    X = np.kron([[4.0, 2.0], [2.0, 4.0]], np.ones((8, 4)))
    X[:, ::2] += 3
    model = model_for("als", 1, alpha=0.1, alpha_bias=0.1).fit(X)
    items, cosines = model.similar_items([0, 7], 3)
    assert_array_equal(np.sort(items), [[1, 2, 3], [4, 5, 6]])
    assert (cosines > 0.99).all() and (cosines <= 1 + 1e-9).all()


@pytest.mark.parametrize("kind", KINDS)
def test_pairs(kind):
    X = make()
    model = model_for(kind).fit(X)
    scores = dense_scores(model, X)
    rng = np.random.default_rng(0)
    rows, items = rng.integers(30, size=200), rng.integers(20, size=200)
    assert_allclose(model.predict_pairs(X, rows, items), scores[rows, items], rtol=1e-9)
    assert_array_equal(
        model.predict_pairs(X, np.append(rows, rows), np.append(items, items)),
        np.tile(model.predict_pairs(X, rows, items), 2),
    )
    assert model.predict_pairs(X, [], []).shape == (0,)
    small = rows.astype(np.uint8), items.astype(np.int16)
    assert_array_equal(model.predict_pairs(X, *small), model.predict_pairs(X, rows, items))
    for length in (0, 1, 199):
        with pytest.raises(ValueError, match="rows and items must have the same length; got"):
            model.predict_pairs(X, rows[:length], items)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kind", KINDS)
def test_unknown_users_and_items(kind, dtype):
    """They count as those without entries."""
    X = make(dtype=dtype)
    model = model_for(kind).fit(X)
    rows, items = np.array([0, 0, -1, -1, 7, 29]), np.array([5, -1, 19, -1, -1, -1])
    known = np.where(rows < 0, EMPTY_USER, rows), np.where(items < 0, EMPTY_ITEM, items)
    expected = model.predict_pairs(X, *known)
    assert_array_equal(model.predict_pairs(X, rows, items), expected)
    assert expected.dtype == dtype and np.isfinite(expected).all()
    assert model.predict_pairs(X, [-1], [-1]) == np.asarray(model.mean_, dtype)
    small = rows.astype(np.int8), items.astype(np.int16)
    assert_array_equal(model.predict_pairs(X, *small), expected)
    names = [None if item < 0 else item for item in items.tolist()]
    assert_array_equal(model.predict_pairs(X, rows, names), expected)
    for wrong in ([-2], [20]):
        with pytest.raises(ValueError, match="items must be between 0 and 19"):
            model.predict_pairs(X, [0], wrong)
    for wrong in ([-2], [30]):
        with pytest.raises(ValueError, match="rows must be between 0 and 29"):
            model.predict_pairs(X, wrong, [-1])


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_unknown_items_among_names(missing):
    frame = make_frame()
    model = model_for("als").fit(frame)
    expected = model.predict_pairs(frame, [0, 0, 1], [2, -1, 19])
    ids = [NAMES[2], missing, NAMES[19]]
    for items in (ids, np.array(ids, object), pd.Series(ids)):
        assert_array_equal(model.predict_pairs(frame, [0, 0, 1], items), expected)
    items, _ = model.recommend(frame, 20)  # its padding, too
    assert None in items[0]
    assert np.isfinite(model.predict_pairs(frame, np.zeros(20, int), items[0])).all()


def test_pairs_of_an_encoder_that_ignores_what_it_does_not_know():
    log = [("ann", "a", 5.0), ("ann", "b", 1.0), ("bob", "a", 4.0), ("bob", "c", 2.0)]
    encoder = UserItemEncoder(handle_unknown="ignore")
    X = encoder.fit_transform(log)
    model = model_for("als", 1).fit(X)
    rows = encoder.encode_users(["ann", "zoe", "bob"])
    ann, zoe, bob = model.predict_pairs(X, rows, encoder.encode_items(["z", "a", "c"]))
    biases = np.array([model.transform(X)[0, -1], model.item_bias_[0]])
    assert_allclose([ann, zoe], model.mean_ + biases)
    assert bob == model.predict_pairs(X, [1], [2])


# Frames


def by_hand(names, asked, items, scores):
    """The rows of a long frame, from what is returned as arrays."""
    rows = [
        (user, item, score, rank)
        for user, best, values in zip(asked, items, scores, strict=True)
        for rank, (item, score) in enumerate(zip(best, values, strict=True), start=1)
        if item is not None and not (isinstance(item, np.integer) and item < 0)
    ]
    return pd.DataFrame(rows, columns=names)


@pytest.mark.parametrize("n_items", [1, 19])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_recommend_as_a_frame(dtype, n_items):
    X = make(dtype=dtype)
    model = model_for("als").fit(X)
    items, scores = model.recommend(X, n_items)
    frame = model.recommend(X, n_items, output="pandas")
    expected = by_hand(["user", "item", "score", "rank"], range(30), items, scores)
    pd.testing.assert_frame_equal(frame, expected.astype({"score": dtype}))
    assert (frame["item"] >= 0).all() and frame["item"].dtype == np.int64
    assert len(frame) == (items >= 0).sum()


def test_names_in_a_frame():
    """Those that are given, else the index, and the columns that were there in fit."""
    X, table = make(), make_frame()
    model, named = model_for("als").fit(X), model_for("als").fit(table)
    users = [f"user {u}" for u in range(30)]
    names = {"user_ids": users, "item_ids": NAMES}
    frame = model.recommend(X, 3, output="pandas", **names)
    assert frame["user"].tolist() == list(np.repeat(users, 3))
    pd.testing.assert_frame_equal(named.recommend(table, 3, output="pandas"), frame)
    numbers = {"user_ids": np.arange(30) * 10, "item_ids": np.arange(20) * 100}
    frame = model.recommend(X, 3, output="pandas", **numbers)
    best, _ = model.recommend(X, 3)
    assert_array_equal(frame["user"], np.repeat(np.arange(30) * 10, 3))
    assert_array_equal(frame["item"], best.ravel() * 100)


def test_item_ids_name_items_everywhere():
    X = make()
    model = model_for("als").fit(X)
    ids = np.arange(20) * 10 - 10  # -10, 0, 10: no positions
    items, scores = model.recommend(X, 20)
    shown, same = model.recommend(X, 20, item_ids=ids)
    assert_array_equal(same, scores)
    for best, positions in zip(shown, items, strict=True):
        assert list(best) == [None if i < 0 else ids[i] for i in positions]
    for argument in ("candidates", "exclude"):
        found, _ = model.recommend(X, 2, item_ids=ids, **{argument: [-10, 0, 70, 80, 90]})
        expected, _ = model.recommend(X, 2, **{argument: [0, 1, 8, 9, 10]})
        assert_array_equal(found, np.where(expected < 0, None, ids[expected]))
    similar, _ = model.similar_items([-10, 30], 3, item_ids=ids)
    assert_array_equal(similar, ids[model.similar_items([0, 4], 3)[0]])
    for wrong, message in (
        (ids[:3], "item_ids must contain one id for each of the 20 items"),
        ([1] * 20, "items occur more than once in item_ids"),
    ):
        with pytest.raises(ValueError, match=message):
            model.recommend(X, 1, item_ids=wrong)
    with pytest.raises(ValueError, match="does not know: \\[5\\]"):
        model.recommend(X, 1, item_ids=ids, candidates=[5])


def test_similar_as_frames():
    X = make()
    model = model_for("als").fit(X)
    ids = np.array([f"item {i}" for i in range(20)], object)
    frame = model.similar_items(ids[[5, 0]], 20, output="pandas", item_ids=ids)
    similar, cosines = model.similar_items([5, 0], 20)
    names = "item", "similar_item", "similarity", "rank"
    shown = np.where(similar < 0, None, ids[similar])
    pd.testing.assert_frame_equal(frame, by_hand(names, ids[[5, 0]], shown, cosines))
    users = np.arange(30) + 100
    similar, cosines = model.similar_users(X, [2, 7], 4)
    frame = model.similar_users(X, [2, 7], 4, output="pandas", user_ids=users)
    names = "user", "similar_user", "similarity", "rank"
    pd.testing.assert_frame_equal(frame, by_hand(names, [102, 107], similar + 100, cosines))
    assert_array_equal(model.similar_users(X, [2, 7], 4, user_ids=users)[0], similar + 100)


def test_other_packages_of_frames(monkeypatch):
    X = make()
    model = model_for("als").fit(X)
    kinds = {kind: type(kind, (dict,), {}) for kind in ("DataFrame", "LazyFrame", "Series")}
    monkeypatch.setitem(sys.modules, "polars", SimpleNamespace(**kinds))
    columns = model.recommend(X, 3, output="polars")
    expected = model.recommend(X, 3, output="pandas")
    assert list(columns) == list(expected.columns)
    for name, column in columns.items():
        assert_array_equal(column, expected[name])
    monkeypatch.setitem(sys.modules, "polars", None)
    for answer in (model.recommend, model.similar_users):
        with pytest.raises(ImportError, match="output='polars' requires the package polars"):
            answer(X, output="polars")
        with pytest.raises(ValueError, match="output must be one of 'default', 'pandas'"):
            answer(X, output="arrow")


def test_frames_of_polars():
    polars = pytest.importorskip("polars")
    X = make()
    model = model_for("als").fit(X)
    names = {"user_ids": list("abc"), "item_ids": [f"item {i}" for i in range(20)]}
    frame = model.recommend(X[:3], 2, output="polars", **names)
    assert isinstance(frame, polars.DataFrame)
    expected = model.recommend(X[:3], 2, output="pandas", **names)
    assert frame.to_dict(as_series=False) == expected.to_dict(orient="list")
    with pytest.raises(TypeError, match=r"'polars' needs names of one type .*; convert"):
        model.recommend(X[:2], 2, output="polars", user_ids=["a", 1])


def test_user_ids_belong_to_rows():
    X = make()
    model = model_for("als").fit(X)
    with pytest.raises(
        ValueError, match="user_ids must contain one id for each of the 30 rows of X; got 3"
    ):
        model.recommend(X, output="pandas", user_ids=[1, 2, 3])
    with pytest.raises(
        ValueError, match="user_ids must contain one id for each of the 30 rows of X; got 3"
    ):
        model.similar_users(X, user_ids=[1, 2, 3])
    with pytest.raises(ValueError, match="user_ids requires a DataFrame as output; set output="):
        model.recommend(X, user_ids=range(30))


# Similar users


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kind", SERVED)
def test_similar_users_as_by_dense_cosines(kind, dtype):
    X = make(dtype=dtype)
    model = model_for(kind).fit(X)
    asked = np.array([5, 0, 5, 29])
    cosines = cosine_similarity(model.transform(X)[:, :3])
    for n_users in (1, 6, 30):
        users, found = model.similar_users(X, asked, n_users)
        itself = asked[:, None] == np.arange(30)
        expected, scores = best_by_sorting(cosines[asked], itself, n_users)
        assert found.dtype == dtype
        assert_allclose(found, scores, atol=1e-5 if dtype == np.float32 else 1e-10)
        assert_array_equal(users, expected)
    everyone = model.similar_users(X, n_users=6)
    assert_same_outputs(model.similar_users(X, np.arange(30), 6), everyone)
    assert (model.similar_users(X, [EMPTY_USER], 5)[1] == 0).all()
    with pytest.raises(ValueError, match="n_users"):
        model.similar_users(X, [0], 0)
    with pytest.raises(NotFittedError):
        model_for(kind).similar_users(X)


def test_pairs_a_block_at_a_time(monkeypatch):
    X = make()
    model = model_for("als").fit(X)
    rows, items = all_pairs(X.shape)
    expected = model.predict_pairs(X, rows, items)
    monkeypatch.setattr("skfm._recommenders.vectors.PAIRS", 7)
    assert_array_equal(model.predict_pairs(X, rows, items), expected)


# Scores


@pytest.mark.parametrize("kind", KINDS)
def test_score_is_of_entries_that_the_fold_in_does_not_see(kind):
    X = make(density=0.5)
    model = model_for(kind).fit(X)
    visible, hidden = sparse_entries.hide_by_hash(X, 0.2)
    assert 0.1 * X.nnz < hidden.nnz < 0.3 * X.nnz
    if kind == "implicit":
        ranked, _ = model.recommend(visible, 10)
        assert_allclose(model.score(X), ndcg_at_k(hidden, ranked, 10))
    else:
        predicted = model.predict_pairs(visible, *hidden.nonzero())
        assert_allclose(model.score(X), r2_score(hidden.data, predicted))


@pytest.mark.parametrize("kind", KINDS)
def test_score_depends_on_the_model_and_the_entries_alone(kind):
    X = make(density=0.5)
    model = model_for(kind).fit(X)
    score = model.score(X)
    for seed in (None, 5, 5):
        assert model.set_params(random_state=seed).score(X) == score
    order = np.random.default_rng(0).permutation(30)
    assert_allclose(model.score(X[order]), score)
    assert model.score(X, y=np.ones(30)) == score
    with_others = np.vstack([X.toarray(), np.zeros((7, 20)), np.eye(20)])
    assert_allclose(model.score(with_others), score)  # they have nothing to hide
    if kind == "implicit":
        n_judged = [(np.diff(part.indptr) > 1).sum() for part in (X[:11], X[11:])]
        batches = [model.score(X[:11]), model.score(X[11:])]
        assert_allclose(np.average(batches, weights=n_judged), score)


def test_score_of_a_perfect_and_of_a_poor_model():
    X = planted(rank=1, noise=0)
    assert model_for("als", 1, alpha=1e-3, alpha_bias=1e-3).fit(X).score(X) > 0.95
    assert model_for("als", 1, alpha=1e6, alpha_bias=1e9).fit(X).score(X) < 0.05


def test_score_needs_two_entries():
    model = model_for("als").fit(make())
    for X in (sparse.identity(20, format="csr"), sparse.csr_matrix((3, 20)), np.eye(20)[:2]):
        with pytest.raises(ValueError, match="two entries"):
            model.score(X)
    assert np.isfinite(model_for("implicit", 1).fit(np.ones((3, 2))).score(np.ones((3, 2))))


# scikit-learn


@pytest.mark.parametrize("kind", KINDS)
def test_cross_validation(kind):
    X = planted_choices() if kind == "implicit" else planted()
    scores = cross_val_score(model_for(kind, 4), X, cv=3)
    assert (scores > 0.4).all()


@pytest.mark.parametrize("kind", ["als", "implicit"])
def test_search_by_ranking(kind):
    X = planted_choices() if kind == "implicit" else planted(noise=0.1)
    known, hidden = split_entries(X, random_state=0)
    scorer = make_ranking_scorer("ndcg", k=5)
    search = GridSearchCV(model_for(kind), {"n_components": [1, 4]}, scoring=scorer, cv=2)
    search.fit(known, hidden)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_params_ == {"n_components": 4}
    assert_allclose(
        scorer(search, known, hidden),
        ndcg_at_k(hidden, search.best_estimator_.recommend(known, 5)[0], 5),
    )


def test_cross_validation_by_ranking():
    known, hidden = split_entries(planted_choices(), random_state=0)
    scorer = make_ranking_scorer("recall", k=5)
    hidden = hidden.toarray()  # scikit-learn takes no sparse y here
    scores = cross_val_score(model_for("implicit", 4), known, hidden, scoring=scorer, cv=3)
    assert (scores > 2 * 5 / 34).all()  # twice what chance would find


def test_search_by_ranking_with_names():
    names = [f"i{k}" for k in range(40)]
    known, hidden = split_entries(planted_choices(), random_state=0)
    plain = make_ranking_scorer("recall", k=5)(model_for("implicit").fit(known), known, hidden)
    frames = [pd.DataFrame(part.toarray(), columns=names) for part in (known, hidden)]
    model = model_for("implicit").fit(frames[0])
    assert make_ranking_scorer("recall", k=5)(model, *frames) == plain


@pytest.mark.parametrize("step, kind", [(MaxAbsScaler(), "als"), (TfidfTransformer(), "implicit")])
def test_pipeline(step, kind):
    X = make()
    pipe = make_pipeline(clone(step), model_for(kind))
    scaled = clone(step).fit_transform(X)
    model = model_for(kind).fit(scaled)
    assert_array_equal(pipe.fit_transform(X), model.transform(scaled))
    assert_array_equal(pipe.fit(X).transform(X), model.transform(scaled))
    assert pipe.score(X) == model.score(scaled)
    assert_same(clone(pipe).fit(X)[-1], model)
    known, hidden = split_entries(X, random_state=0)
    scorer = make_ranking_scorer("recall", k=3)
    search = GridSearchCV(pipe, {"mfrecommender__alpha": [0.1, 1.0]}, scoring=scorer, cv=2)
    assert 0 <= search.fit(known, hidden).best_score_ <= 1


def test_vectors_of_users_as_features():
    rng = np.random.default_rng(0)
    group = rng.integers(2, size=150)
    likes = np.where(group[:, None] == np.repeat([0, 1], 15), 0.3, 0.1)
    X = sparse.csr_matrix(rng.random(likes.shape) < likes, dtype=float)
    pipe = make_pipeline(model_for("implicit"), LogisticRegression()).fit(X[:100], group[:100])
    assert pipe.score(X[100:], group[100:]) > 0.8


def test_part_of_a_column_transformer():
    frame = make_frame().assign(age=1.0)
    columns = ColumnTransformer([("taste", model_for("als"), NAMES)], remainder="passthrough")
    columns.set_output(transform="pandas").fit(frame)
    names = [*(f"taste__mfrecommender{k}" for k in range(4)), "remainder__age"]
    assert_array_equal(columns.get_feature_names_out(), names)
    assert_array_equal(columns.transform(frame).columns, names)


@pytest.mark.parametrize("kind", KINDS)
def test_clone_and_pickle(kind):
    X = make()
    model = model_for(kind).fit(X)
    assert_same(clone(model).fit(X), model)
    with pytest.raises(NotFittedError):
        clone(model).transform(X)
    again = pickle.loads(pickle.dumps(model))
    assert_same(again, model)
    assert_same_outputs(outputs(again, X), outputs(model, X))
    assert again.get_params() == model.get_params()


@pytest.mark.parametrize("kind", SERVED)
@pytest.mark.parametrize("exclude_seen", [False, True])
def test_few_items_are_excluded_for_one_row_as_for_many(kind, exclude_seen):
    """For few rows they are hidden; for many, the others make a table of their own."""
    X = make(40, 20)
    model = quietly(model_for(kind).fit, X)
    exclude = [2, 3, 11]
    items, scores = model.recommend(X, 20, exclude=exclude, exclude_seen=exclude_seen)
    assert items.shape == (40, 17) and not np.isin(items, exclude).any()
    for row in range(40):
        alone = model.recommend(X[row : row + 1], 20, exclude=exclude, exclude_seen=exclude_seen)
        assert_same_outputs(alone, (items[row : row + 1], scores[row : row + 1]))


@pytest.mark.parametrize("kind", SERVED)
def test_tables_of_items_are_prepared_once(kind, monkeypatch):
    """By fit and by unpickling, not by predictions; pickles do not hold them."""
    X = make(40, 20)
    model = quietly(model_for(kind).fit, X)
    again = pickle.loads(pickle.dumps(model))
    assert "_item_table" not in model.__getstate__()
    expected = [model.recommend(X, 5), model.recommend(X[:1], 5)]
    monkeypatch.setattr("skfm._recommenders.vectors.make_tiles", None)
    for answering in (model, again):
        for rows, found in zip((X, X[:1]), expected, strict=True):
            assert_same_outputs(answering.recommend(rows, 5), found)


@pytest.mark.parametrize("kind", SERVED)
def test_tables_for_similar_items_are_prepared_once(kind, monkeypatch):
    """By the first call after a fit or unpickling; pickles do not hold them."""
    X = make(40, 20)
    model = quietly(model_for(kind).fit, X)
    size = len(pickle.dumps(model))
    expected = model.similar_items([3, 0], 5)
    assert len(pickle.dumps(model)) == size
    again = pickle.loads(pickle.dumps(model))
    assert_same_outputs(again.similar_items([3, 0], 5), expected)
    monkeypatch.setattr("skfm._recommenders.vectors.make_tiles", None)
    for answering in (model, again):
        assert_same_outputs(answering.similar_items([3, 0], 5), expected)
    monkeypatch.undo()
    other = make(40, 20, seed=1)
    refitted, fresh = (quietly(each.fit, other) for each in (model, model_for(kind)))
    assert_same_outputs(refitted.similar_items([3, 0], 5), fresh.similar_items([3, 0], 5))


@pytest.mark.parametrize("kind", ["als", "sgd", "implicit"])
def test_pickle_holds_no_users(kind):
    sizes = [
        len(pickle.dumps(quietly(model_for(kind, max_iter=2).fit, make(n_users, 20))))
        for n_users in (100, size(3000, 300))
    ]
    assert max(sizes) < 5000
    assert abs(sizes[1] - sizes[0]) < 50


def test_other_processes():
    X = make()
    model = model_for("implicit").fit(X)
    here = model.recommend(X, 5)
    for there in Parallel(n_jobs=2)(delayed(model.recommend)(part, 5) for part in (X, X)):
        assert_same_outputs(there, here)


@pytest.mark.parametrize("kind", KINDS)
def test_random_state(kind):
    X = make()
    assert_same(model_for(kind).fit(X), model_for(kind).fit(X))
    one = model_for(kind, random_state=np.random.RandomState(0)).fit(X)
    assert_same(one, model_for(kind).fit(X))
    other = model_for(kind, random_state=1).fit(X)
    assert not np.array_equal(one.components_, other.components_)
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    model_for(kind).fit(X)
    assert_array_equal(np.random.get_state()[1], before)


@pytest.mark.parametrize("kind", KINDS)
def test_refit_forgets(kind):
    X, other = make(), make(20, 15, seed=1)
    model = model_for(kind).fit(make_frame())
    assert_same(model.fit(other), model_for(kind).fit(other))
    assert not hasattr(model, "feature_names_in_")
    assert model.n_features_in_ == 15
    with pytest.raises(ValueError, match="20 features"):
        model.transform(X)


def test_parameters_after_a_fit_count_for_the_next_one():
    X = make()
    model = model_for("als").fit(X)
    expected = outputs(model, X)
    model.set_params(n_components=9, feedback="implicit", alpha=99.0, fit_bias=False)
    assert_same_outputs(outputs(model, X), expected)


def test_verbose(capsys):
    X = make()
    for kind in KINDS:
        quiet = quietly(model_for(kind, max_iter=3, tol=0).fit, X)
        assert capsys.readouterr() == ("", "")
        loud = quietly(model_for(kind, max_iter=3, tol=0, verbose=1).fit, X)
        printed = capsys.readouterr()
        assert printed.out == "" and "3/3" in printed.err and "entries/s" in printed.err
        assert_same(quiet, loud)


# Little data, empty rows and columns, extreme values


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kind", KINDS)
def test_users_and_items_without_entries(kind, dtype):
    X = make(dtype=dtype)
    model = model_for(kind).fit(X)
    users = model.transform(X)
    assert not users[EMPTY_USER].any()
    assert not model.components_[:, EMPTY_ITEM].any()
    assert model.item_bias_[EMPTY_ITEM] == 0
    scores = dense_scores(model, X)
    assert np.isfinite(scores).all()
    assert_allclose(scores[EMPTY_USER], model.mean_ + model.item_bias_, rtol=1e-6)
    bias = users[:, 3] if kind in BIASED else 0
    assert_allclose(scores[:, EMPTY_ITEM], model.mean_ + bias, rtol=1e-6)
    nobody = sparse.csr_matrix((2, 20), dtype=dtype)
    assert_array_equal(model.transform(nobody), np.zeros((2, users.shape[1])))
    items, found = model.recommend(nobody, 20)
    assert_array_equal(items, model.recommend(X[EMPTY_USER], 20)[0][[0, 0]])
    assert np.isfinite(found).all()
    assert np.isfinite(model.predict_pairs(X, *all_pairs(X.shape))).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "X",
    [[[3.0]], [[3.0, 1.0, 2.0]], [[3.0], [1.0], [2.0]], [[0.0, 3.0], [0.0, 0.0]]],
    ids=["one entry", "one user", "one item", "one entry of four"],
)
def test_hardly_any_data(X, kind, dtype):
    X = np.array(X, dtype=dtype)
    model = quietly(model_for(kind).fit, X)
    n_items = X.shape[1]
    scores = dense_scores(model, X)
    assert np.isfinite(scores).all()
    assert np.isfinite(model.recommend(X, n_items, exclude_seen=False)[1]).all()
    assert np.isfinite(model.predict_pairs(X, *all_pairs(X.shape))).all()
    items, cosines = model.similar_items([0], n_items)
    assert items[0, -1] == -1 and not np.isnan(cosines).any()
    if kind in BIASED and (X != 0).sum() == 1:
        assert_allclose(scores, 3, atol=0.01)


@pytest.mark.parametrize("value", [3.0, 0.1, -1e9, 1e300, 1e-300])
@pytest.mark.parametrize("kind", EXPLICIT)
def test_constant_ratings(kind, value):
    X = make()
    X.data[:] = value
    model = model_for(kind, alpha=1e-3).fit(X)
    scores = dense_scores(model, X)[X.nonzero()]
    tolerance = 0.01 if kind in BIASED else 0.3
    assert_allclose(scores, value, rtol=tolerance)


@pytest.mark.parametrize("kind", EXPLICIT)
def test_ratings_that_are_all_zero(kind):
    X = make()
    X.data[:] = 0
    model = model_for(kind).fit(X)
    assert_allclose(dense_scores(model, X), 0, atol=0.05)


@pytest.mark.parametrize(
    "dtype, scale",
    [(np.float64, 1e300), (np.float64, 1e-300), (np.float32, 1e37), (np.float32, 1e-37)],
)
@pytest.mark.parametrize("kind", EXPLICIT)
def test_huge_and_tiny_ratings(kind, dtype, scale):
    X = make()
    expected = dense_scores(model_for(kind).fit(X), X)
    X = (X * scale).astype(dtype)
    model = model_for(kind).fit(X)
    assert_allclose(dense_scores(model, X) / dtype(scale), expected, rtol=0.01, atol=0.01)
    rows, items = all_pairs(X.shape)
    pairs = model.predict_pairs(X, rows, items).reshape(X.shape)
    assert_allclose(pairs / dtype(scale), expected, rtol=0.01, atol=0.01)
    assert not np.isnan(model.recommend(X, 10)[1]).any()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("power", [-0.9, -0.5, 0.1, 0.25])
def test_huge_and_tiny_confidences(power, dtype):
    X = make(dtype=dtype)
    X.data *= np.finfo(dtype).max ** dtype(power)
    model = model_for("implicit", alpha=0.01, unobserved_weight=0.1)
    scores = dense_scores(quietly(model.fit, X), X)
    assert_allclose(scores[X.nonzero()], 1 if power > 0 else 0, atol=0.05)
    assert np.isfinite(scores).all()
    assert np.isfinite(dense_scores(quietly(model_for("implicit").fit, X), X)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_rows_far_from_those_of_the_fit(kind):
    model = model_for(kind).fit(make())
    for value in (1e-300, 1e-9, 1e9, 1e100, 1e300):
        X = np.zeros((2, 20))
        X[0, [2, 5]], X[1] = value, np.linspace(1, value, 20)
        if value == 1e300:  # refused, or served if rounding was kind
            try:
                assert np.isfinite(model.transform(X)).all()
            except ValueError as error:
                assert "too large" in str(error)
            continue
        assert np.isfinite(model.transform(X)).all()
        assert not np.isnan(model.recommend(X, 5)[1]).any()
        assert np.isfinite(model.predict_pairs(X, [0, 1], [3, 4])).all()


@pytest.mark.parametrize("kind", KINDS)
def test_more_components_than_data(kind):
    X = make(6, 5)
    model = model_for(kind, 40).fit(X)
    assert model.components_.shape == (40, 5)
    assert np.isfinite(dense_scores(model, X)).all()


# What is refused


def test_nothing_to_learn_from():
    for kind in EXPLICIT:
        for X in (np.zeros((4, 3)), sparse.csr_matrix((4, 3))):
            with pytest.raises(ValueError, match=r"no stored entries.* rating"):
                model_for(kind).fit(X)
    zeros = make()
    zeros.data[:] = 0
    for X in (np.zeros((4, 3)), sparse.csr_matrix((4, 3)), zeros):
        with pytest.raises(ValueError, match=r"no stored entries.* positive value"):
            model_for("implicit").fit(X)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", KINDS)
def test_nan_and_infinity(kind, value):
    X = make()
    model = model_for(kind).fit(X)
    broken = X.copy()
    broken.data[3] = value
    for wrong_X in (broken, broken.toarray(), broken.astype(np.float32)):
        for method in (clone(model).fit, model.transform, model.recommend, model.score):
            with pytest.raises(ValueError, match=r"NaN|infinity"):
                method(wrong_X)
        with pytest.raises(ValueError, match=r"NaN|infinity"):
            model.predict_pairs(wrong_X, [0], [0])
    users = model.transform(X)
    users[0, 0] = value
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        model.inverse_transform(users)


def test_negative_confidences():
    X = make()
    model = model_for("implicit").fit(X)
    wrong = X.copy()
    wrong.data[3] = -1
    for wrong_X in (wrong, wrong.toarray()):
        for method in (clone(model).fit, model.transform, model.recommend, model.score):
            with pytest.raises(ValueError, match=r"Negative values.*implicit"):
                method(wrong_X)
    model_for("als").fit(wrong)  # ratings may be


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_that_do_not_fit(kind):
    X = make()
    model = model_for(kind).fit(X)
    for method in (model.transform, model.recommend, model.score, model.user_vectors):
        for wrong_X in (X[:, :19], np.ones((3, 21))):
            with pytest.raises(ValueError, match="features"):
                method(wrong_X)
        with pytest.raises(ValueError, match=r"2D|1D|dim"):
            method(np.ones(20))
        with pytest.raises(ValueError, match="0 sample"):
            method(X[:0])
    users = model.transform(X)
    for wrong_X in (users[:, 1:], np.ones((2, 20))):
        with pytest.raises(ValueError, match="columns, but transform returns"):
            model.inverse_transform(wrong_X)
    with pytest.raises(ValueError, match="0 feature"):
        clone(model).fit(np.ones((3, 0)))


def test_damaged_matrix():
    X = make()
    model = model_for("als").fit(X)
    for index in (25, -2):
        broken = X.copy()
        broken.indices[-1] = index
        for method in (clone(model).fit, model.transform, model.recommend):
            with pytest.raises(ValueError, match="damaged"):
                method(broken)


def test_not_fitted():
    X = make()
    model = MFRecommender()
    for call in (
        lambda: model.transform(X),
        lambda: model.inverse_transform(np.ones((3, 33))),
        lambda: model.user_vectors(X),
        lambda: model.item_vectors(),
        lambda: model.predict_pairs(X, [0], [0]),
        lambda: model.recommend(X),
        lambda: model.similar_items([0]),
        lambda: model.score(X),
        lambda: model.get_feature_names_out(),
    ):
        with pytest.raises(NotFittedError):
            call()


BAD = {
    "n_components": [0, -1, 2.0, "3", None, True, np.nan],
    "feedback": ["both", None, True, 1],
    "solver": ["lbfgs", None, True, 1],
    "alpha": [0, -1.0, "low", None, True, np.nan, np.inf, [1.0]],
    "alpha_bias": [0, -1.0, "auto", None, True, np.nan, np.inf],
    "nu": [-0.5, "low", None, True, np.nan, np.inf],
    "unobserved_weight": [-0.1, "low", None, True, np.nan, np.inf],
    "fit_bias": [0, 1, "yes", None],
    "learning_rate": [0, -1.0, "auto", None, True, np.nan, np.inf],
    "init_scale": [0, -1.0, "auto", None, True, np.nan, np.inf],
    "max_iter": [0, -1, 2.0, None, True],
    "tol": [-1e-9, "auto", None, True, np.nan, np.inf],
    "n_jobs": [0, 1.5, "all", True],
    "verbose": [-1, 0.5, "yes", None],
}


@pytest.mark.parametrize("name, value", [(name, v) for name, vs in BAD.items() for v in vs])
def test_bad_parameters(name, value):
    model = model_for("als").set_params(**{name: value})
    with pytest.raises((ValueError, TypeError), match=rf"^{name}\b"):
        model.fit(make())
    assert not hasattr(model, "n_features_in_")


def test_bad_random_state():
    for seed in ("zero", -1, 1.5):
        with pytest.raises(ValueError, match=r"[Ss]eed"):
            model_for("als", random_state=seed).fit(make())


def test_sgd_knows_no_implicit_feedback():
    with pytest.raises(ValueError, match=r"solver='sgd'.*solver='als'"):
        MFRecommender(feedback="implicit", solver="sgd").fit(make())


def test_parameters_that_may_be_numbers_of_numpy():
    X = make()
    expected = MFRecommender(3, alpha=0.5, max_iter=9, random_state=0, n_jobs=1).fit(X)
    model = MFRecommender(
        np.int64(3),
        alpha=np.float64(0.5),
        max_iter=np.int32(9),
        fit_bias=np.True_,
        random_state=np.int64(0),
        n_jobs=np.int64(1),
    )
    assert_same(model.fit(X), expected)


# Failures, interrupts, warnings


def interrupt_after(n_calls, function, failure):
    """The function, until it has been called so often."""
    calls = iter(range(n_calls))

    def wrapped(*arguments):
        if next(calls, None) is None:
            raise failure
        return function(*arguments)

    return wrapped


@pytest.mark.parametrize("n_calls", [0, 3])
@pytest.mark.parametrize("failure", [KeyboardInterrupt, MemoryError, ValueError])
@pytest.mark.parametrize("kind", ["als", "sgd", "implicit"])
def test_failed_fit_leaves_the_model_as_it_was(kind, failure, n_calls, monkeypatch):
    frame, other = make_frame(), make(20, 15, seed=1)
    model, new = model_for(kind).fit(frame), model_for(kind)
    before, expected = dict(vars(model)), outputs(model, frame)
    where, name = (sgd.kernels, "run_blocks") if kind == "sgd" else (als, "solve_rows")
    for estimator in (model, new):
        with monkeypatch.context() as patch:
            patch.setattr(where, name, interrupt_after(n_calls, getattr(where, name), failure))
            with pytest.raises(failure):
                estimator.fit(other)
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[key] is value for key, value in before.items())
    assert_same_outputs(outputs(model, frame), expected)
    assert vars(new) == vars(model_for(kind))
    with pytest.raises(NotFittedError):
        new.transform(other)
    assert_same(model.fit(other), new.fit(other))


@pytest.mark.parametrize("X", [np.zeros((3, 3)), np.full((3, 3), np.nan), "nothing"])
def test_refused_data_leave_the_model_as_it_was(X):
    frame = make_frame()
    model = model_for("als").fit(frame)
    before, expected = dict(vars(model)), outputs(model, frame)
    with pytest.raises(ValueError):
        model.fit(X)
    with pytest.raises(ValueError, match="alpha"):
        model.set_params(alpha=-1).fit(make(5, 5))
    model.set_params(alpha="auto")
    assert all(vars(model)[key] is value for key, value in before.items() if key != "alpha")
    assert_same_outputs(outputs(model, frame), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_warns_when_max_iter_comes_first(kind):
    X = make()
    with pytest.warns(ConvergenceWarning, match=r"max_iter=2 .*tol=") as caught:
        model = model_for(kind, max_iter=2, tol=1e-12).fit(X)
    assert [warning.filename for warning in caught] == [__file__]
    assert model.n_iter_ == len(model.loss_curve_) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = model_for(kind, tol=1e-2).fit(X)
        model.transform(X)
        model.recommend(X, 5)
    assert 1 < model.n_iter_ == len(model.loss_curve_) < 100


@pytest.mark.parametrize("fit_bias", [True, False])
@pytest.mark.parametrize("rate", [1.0, 10.0, 1e10, 1e300])
@pytest.mark.parametrize("n_components", [3, 8])
def test_divergence_ends_well_or_in_an_error(n_components, rate, fit_bias):
    X = planted()
    model = MFRecommender(
        n_components, solver="sgd", learning_rate=rate, fit_bias=fit_bias, random_state=0
    )
    try:
        quietly(model.fit, X)
    except ValueError as error:
        assert "learning_rate" in str(error)
        assert not hasattr(model, "components_")
    else:
        scores = dense_scores(model, X)
        assert np.isfinite(scores).all()
        assert r2_score(X.data, scores[X.nonzero()]) > 0


def test_divergence_warns_at_the_caller():
    X = planted()
    with pytest.warns(RuntimeWarning, match="starts again with learning_rate=0.25") as caught:
        MFRecommender(8, solver="sgd", learning_rate=1, random_state=0, max_iter=500).fit(X)
    (warning,) = (w for w in caught if "starts again" in str(w.message))
    assert warning.filename == __file__


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    "extreme",
    [
        {"alpha": 1e-300},
        {"alpha": 1e-30},
        {"alpha": 1e38},
        {"alpha": 1e300},
        {"alpha_bias": 1e-300},
        {"alpha_bias": 1e300},
        {"nu": 1000},
        {"unobserved_weight": 0},
        {"unobserved_weight": 1e-300},
        {"unobserved_weight": 1e300},
        {"init_scale": 1e-300},
        {"init_scale": 1e30},
        {"init_scale": 1e300},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["als", "sgd", "implicit"])
def test_extreme_parameters(kind, extreme, dtype):
    """They are obeyed, or refused, without NaN."""
    X = make(dtype=dtype)
    model = model_for(kind, **extreme)
    try:
        quietly(model.fit, X)
    except ValueError:
        assert not hasattr(model, "components_")
    else:
        assert np.isfinite(model.loss_curve_).all()
        assert np.isfinite(model.transform(X)).all()
        assert np.isfinite(dense_scores(model, X)).all()


# Threads and processes


@pytest.fixture
def eager_threads(monkeypatch):
    """Threads for little data; returns the numbers of them that were used."""
    used = []
    for module in (als, sgd, top_k):
        together = module.share

        def noted(work, n_chunks, n_threads, together=together):
            used.append(n_threads)
            return together(work, n_chunks, n_threads)

        monkeypatch.setattr(module, "share", noted)
    monkeypatch.setattr(als, "CHUNK_WORK", 50)
    monkeypatch.setattr(als, "THREAD_WORK", 1)
    monkeypatch.setattr(sgd, "SMALL", 0)
    monkeypatch.setattr(top_k, "BLOCK", 8)
    monkeypatch.setattr(top_k, "THREAD_WORK", 1)
    return used


@pytest.mark.around(kind="als", dtype=np.float64)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kind", KINDS)
def test_number_of_threads_does_not_matter(kind, dtype, eager_threads):
    X = make(size(300, 40), size(50, 30), dtype=dtype)
    one = model_for(kind, tol=1e-6).fit(X)
    expected = outputs(one, X)
    assert set(eager_threads) == {1}
    for n_jobs in (2, 3, -1):
        eager_threads.clear()
        model = model_for(kind, tol=1e-6, n_jobs=n_jobs).fit(X)
        if n_jobs > 0:
            assert set(eager_threads) == {n_jobs}
        eager_threads.clear()
        assert_same(model, one)
        assert_same_outputs(outputs(model, X), expected)
        if n_jobs > 0:
            assert n_jobs in eager_threads


def test_threads_do_not_matter_without_changed_limits():
    """Enough data for two threads in a fold-in and a half-step."""
    X = make(400, 300, density=0.75 if JIT else 0.1)
    assert X.nnz > 2 * als.THREAD_WORK or not JIT
    one, other = (
        quietly(model_for("implicit", 8, max_iter=3, n_jobs=n_jobs).fit, X) for n_jobs in (1, 2)
    )
    assert_same(one, other)
    assert_array_equal(one.transform(X), other.transform(X))


def test_failure_in_a_thread_reaches_the_caller(eager_threads, monkeypatch):
    X = make(100, 50)
    monkeypatch.setattr(als, "solve_rows", interrupt_after(7, als.solve_rows, KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        model_for("als", n_jobs=2).fit(X)
    assert 2 in eager_threads


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_one_model_in_many_threads(n_jobs, eager_threads):
    X = make(60, 40)
    models = [model_for(kind, n_jobs=n_jobs).fit(X) for kind in SERVED]
    expected = [outputs(model, X) for model in models]
    with ThreadPoolExecutor(4) as pool:
        rounds = [[pool.submit(outputs, model, X) for model in models] for _ in range(4)]
        fits = [pool.submit(model_for("sgd", n_jobs=n_jobs).fit, X) for _ in range(3)]
    for futures in rounds:
        for future, output in zip(futures, expected, strict=True):
            assert_same_outputs(future.result(), output)
    for future in fits:
        assert_same(future.result(), fits[0].result())


FORK = """
import multiprocessing, sys, warnings
import numpy as np
from skfm import MFRecommender
from skfm._solvers import top_k
from skfm._solvers.mf import als, sgd

warnings.simplefilter("ignore")
als.CHUNK_WORK, als.THREAD_WORK, sgd.SMALL, top_k.BLOCK, top_k.THREAD_WORK = 50, 1, 0, 8, 1
X = np.random.default_rng(0).poisson(0.5, size=(100, 40)).astype(float)
settings = [{}, {"solver": "sgd"}, {"feedback": "implicit"}]


def fit_and_recommend():
    models = [MFRecommender(3, max_iter=5, n_jobs=2, random_state=0, **s) for s in settings]
    return [output for model in models for output in model.fit(X).recommend(X, 5)]


def child(connection):
    connection.send(fit_and_recommend())


expected = fit_and_recommend()
context = multiprocessing.get_context("fork")
receiver, sender = context.Pipe(duplex=False)
process = context.Process(target=child, args=(sender,), daemon=True)
process.start()
if not receiver.poll(60):
    process.kill()
    sys.exit("the child hangs")
for one, other in zip(receiver.recv(), expected):
    np.testing.assert_array_equal(one, other)
process.join(60)
assert process.exitcode == 0
for one, other in zip(fit_and_recommend(), expected):  # the parent goes on as well
    np.testing.assert_array_equal(one, other)
"""


@pytest.mark.full
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_fork_after_a_parallel_fit():
    run_code(FORK, timeout=200)


# From a log to recommendations


TASTES = [
    ("ann", "abcd", "wx"),
    ("bob", "abce", "xy"),
    ("cat", "acde", "yz"),
    ("dan", "wxyz", "ab"),
    ("eve", "vwxz", "bc"),
    ("fay", "vwxy", "de"),
]


@pytest.mark.parametrize("kind", ["als", "implicit"])
def test_from_a_log_to_names(kind):
    events = []
    for user, likes, others in TASTES:
        events += [(user, item, 5.0) for item in likes]
        if kind == "als":
            events += [(user, item, 1.0) for item in others]
    log = pd.DataFrame(events, columns=["user", "item", "value"]).sample(frac=1, random_state=0)
    encoder = UserItemEncoder()
    X = encoder.fit_transform(log)
    settings = {"als": {"alpha": 0.1}, "implicit": {}}[kind]
    model = model_for(kind, 2, **settings).fit(X)
    rows = encoder.encode_users(["ann", "fay"])
    items, _ = model.recommend(X[rows], 1)
    assert_array_equal(encoder.item_ids_[items], [["e"], ["z"]])
    rows, columns = encoder.encode_users(log.user), encoder.encode_items(log.item)
    predicted = model.predict_pairs(X, rows, columns)
    if kind == "als":
        assert r2_score(log.value, predicted) > 0.8
    new, users = encoder.transform_new_users([("gus", "a", 5.0), ("hal", "w", 5.0)])
    items, _ = model.recommend(new, 2)
    found = dict(zip(users, encoder.item_ids_[items].tolist(), strict=True))
    assert set(found["gus"]) <= set("bcde") and set(found["hal"]) <= set("vxyz")
    similar, _ = model.similar_items(encoder.encode_items(["a"]), 3)
    assert set(encoder.item_ids_[similar[0]]) <= set("bcde")


# Matrices that were probably meant otherwise


def said_of(X, **parameters):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        MFRecommender(1, max_iter=2, random_state=0, **parameters).fit(X)
    caught = [w for w in caught if w.category is UserWarning]
    assert all(warning.filename == __file__ for warning in caught)
    return [str(warning.message) for warning in caught]


def make_events(n_events, first_id, seed=0):
    """Columns of users, items, ratings and times; no pair twice."""
    rng = np.random.default_rng(seed)
    n_users = max(2, n_events // 5)
    pairs = rng.choice(n_users * 30, n_events, replace=False)
    times = 880_000_000 + rng.integers(10**7, size=n_events)
    ids = np.column_stack([pairs // 30, pairs % 30]) + first_id
    return np.column_stack([ids, rng.integers(1, 6, n_events), times])


@pytest.mark.parametrize("feedback", ["explicit", "implicit"])
@pytest.mark.parametrize("value", [1.0, 4.0, 1e-3, 0.1])
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix, sparse.coo_array])
def test_ratings_that_are_all_equal_are_warned_of(form, value, feedback):
    X = form((np.random.default_rng(0).random((20, 30)) < 0.3) * value)
    for dtype in (np.float64, np.float32):
        said = said_of(X.astype(dtype), feedback=feedback)
        assert len(said) == (feedback == "explicit")
        if said:
            assert re.search(r"All \d+ ratings in X are equal .* feedback='implicit'", said[0])
    if value == 1:
        assert len(said_of(X.astype(int) + form(np.zeros((20, 30), int)))) == 1
        assert len(said_of(X.astype(bool))) == 1


def test_ratings_that_are_not_all_equal_are_not_warned_of():
    likes = sparse.csr_matrix(([1.0, 0, 1], ([0, 1, 2], [1, 0, 5])))  # a zero that is stored
    for X in (likes, [[1.0, 0], [0, 2.0]], sparse.csr_matrix([[0, 3.0]])):
        assert said_of(X) == []


@pytest.mark.parametrize("first_id", [0, 1, 1000])
@pytest.mark.parametrize("n_events", [6, 60, 3000])
@pytest.mark.parametrize("form", [np.array, pd.DataFrame, sparse.csr_matrix, np.float32])
@pytest.mark.parametrize("n_columns", [2, 3, 4])
def test_logs_in_the_place_of_a_matrix_are_warned_of(form, n_events, first_id, n_columns):
    X = form(make_events(n_events, first_id)[:, :n_columns])
    for feedback in ("explicit", "implicit"):
        said = said_of(X, feedback=feedback)
        if n_events > 6 or (n_columns == 3 and first_id):
            (message,) = said
            assert f"{X.shape}, looks like a log" in message and "UserItemEncoder" in message


def test_logs_are_known_by_the_names_of_their_columns():
    log = pd.DataFrame(make_events(6, 0), columns=["user_id", "movie_id", "rating", "timestamp"])
    assert "looks like a log" in said_of(log.assign(age=7))[0]
    assert said_of(log.rename(columns={"user_id": "home", "movie_id": "shop"})) == []
    words = ["customer", "song", *(f"word{number}" for number in range(40))]
    counts = pd.DataFrame(np.random.default_rng(0).integers(0, 3, (30, 42)), columns=words)
    assert said_of(counts) == []  # the vocabulary of some texts


@pytest.mark.parametrize("n_columns", [2, 3, 4, 5])
@pytest.mark.parametrize("n_rows", [3, 60, 500])
@pytest.mark.parametrize("density", [0.4, 1])
def test_small_matrices_are_not_taken_for_logs(n_rows, n_columns, density):
    rng = np.random.default_rng(0)
    filled = rng.random((n_rows, n_columns)) < density
    ratings = rng.integers(1, 6, size=filled.shape)
    for X in (filled * ratings, filled * (ratings + rng.random(filled.shape)), filled * -ratings):
        assert said_of(X) == []


@pytest.mark.parametrize("form", ["coo", "csr", "csc"])
def test_ratings_that_are_added_up_are_warned_of(form):
    entries = [5.0, 4, 3, 0, 2], ([0, 0, 1, 1, 1], [0, 0, 1, 1, 0])
    X = sparse.coo_array(entries, shape=(2, 2))
    if form != "coo":  # converted, it would have added them up itself
        major, minor = (X.row, X.col) if form == "csr" else (X.col, X.row)
        order = np.argsort(major, kind="stable")
        indptr = np.append(0, np.cumsum(np.bincount(major, minlength=2)))
        kind = {"csr": sparse.csr_array, "csc": sparse.csc_array}[form]
        X = kind((X.data[order], minor[order], indptr), shape=(2, 2))
    (message,) = said_of(X)
    assert "2 of the 5 values in X are duplicate entries" in message
    assert "UserItemEncoder" in message
    assert said_of(X, feedback="implicit") == []
    X = X.copy()
    X.sum_duplicates()
    assert said_of(X) == []


# Whatever comes


@st.composite
def matrices(draw, largest):
    shape = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    entries = st.tuples(st.integers(0, shape[0] - 1), st.integers(0, shape[1] - 1))
    places = draw(st.lists(entries, min_size=1, max_size=20))
    value = st.one_of(
        st.sampled_from([0.0, 1.0, 2.0, -1.0, largest, -largest, 1 / largest]),
        st.floats(-largest, largest, width=32),
    )
    values = draw(st.lists(value, min_size=len(places), max_size=len(places)))
    dtype = draw(st.sampled_from([np.float64, np.float32]))
    return sparse.coo_matrix((values, tuple(np.transpose(places))), shape=shape, dtype=dtype)


def assert_no_nan(model, X):
    rows, items = all_pairs(X.shape)
    try:
        assert np.isfinite(model.transform(X)).all()
    except ValueError as error:  # said, rather than answered wrongly
        assert "too large" in str(error)
        return
    assert np.isfinite(dense_scores(model, X)).all()
    assert np.isfinite(model.predict_pairs(X, rows, items)).all()
    for exclude_seen in (True, False):
        items, scores = model.recommend(X, X.shape[1], exclude_seen=exclude_seen)
        assert not np.isnan(scores).any()
        assert_array_equal(np.isfinite(scores), items >= 0)
        assert (scores[:, 1:] <= scores[:, :-1]).all()
    assert np.isfinite(model.similar_items([0], 1)[1]).all() or X.shape[1] == 1


@pytest.mark.parametrize(
    "kind", ["als", "sgd", "implicit", *in_full("als, no bias", "sgd, no bias")]
)
@settings(max_examples=size(60, 10), deadline=None, derandomize=True)
@given(data=st.data())
def test_nothing_becomes_nan(kind, data):
    X = data.draw(matrices(1000.0))
    if kind == "implicit":
        X.data = np.abs(X.data)
    parameters = {
        "n_components": data.draw(st.integers(1, 5)),
        "alpha": data.draw(st.sampled_from([1e-3, 0.3, 30.0])),
        "nu": data.draw(st.sampled_from([0.0, 0.5, 1.0])),
        "max_iter": 20,
    }
    summed = X.tocsr()
    model = model_for(kind, **parameters)
    if kind == "implicit" and not summed.data.any():
        with pytest.raises(ValueError, match="no stored entries"):
            model.fit(X)
        return
    quietly(model.fit, X)
    assert_no_nan(model, X)
    other = data.draw(matrices(1000.0)).tocsr()
    other.resize(other.shape[0], X.shape[1])
    assert_no_nan(model, abs(other))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=size(40, 10), deadline=None, derandomize=True)
@given(data=st.data())
def test_extreme_values_are_learned_from_or_refused(kind, data):
    X = data.draw(matrices(float(np.float32(1e37))))
    if kind == "implicit":
        X.data = np.abs(X.data)
    model = model_for(kind, max_iter=20)
    try:
        quietly(model.fit, X)
    except ValueError:
        assert not hasattr(model, "components_")
    else:
        quietly(assert_no_nan, model, X)


# The example


def test_example_of_an_index_of_nearest_neighbours(capsys):
    pytest.importorskip("faiss")
    runpy.run_path(str(EXAMPLES / "nearest_neighbours.py"), run_name="__main__")
    share = re.search(r"finds (\d+\.\d)%", capsys.readouterr().out)
    assert float(share[1]) > 95


# Cases that were once wrong


def test_sgd_does_not_step_back_from_what_never_was():
    """An epoch's mean loss with the penalty at its start was below any parameters'."""
    X = planted(3000, 300, density=0.2)
    one = MFRecommender(solver="sgd", random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one.fit(X)
    assert one.score(X) > MFRecommender(random_state=0).fit(X).score(X) - 0.005


def test_sgd_rests_with_a_large_rate():
    X = planted(200, 60)
    one = quietly(MFRecommender(8, solver="sgd", learning_rate=0.25, random_state=0).fit, X)
    assert one.n_iter_ < 100
    assert one.score(X) > 0.8


def test_small_alpha_reaches_no_higher_objective():
    X, _ = split_entries(planted(noise=0.0), random_state=0)
    ends = [MFRecommender(3, alpha=a, random_state=0).fit(X).loss_curve_[-1] for a in (1e-2, 1e-4)]
    assert ends[1] <= ends[0]


@pytest.mark.parametrize("dtype, scale", [(np.float64, 1e160), (np.float32, 1e20)])
def test_score_of_huge_ratings(dtype, scale):
    X = (make() * scale).astype(dtype)
    assert np.isfinite(quietly(MFRecommender(3, random_state=0).fit(X).score, X))


@pytest.mark.parametrize("dtype, scale", [(np.float64, 1e110), (np.float32, 1e15)])
def test_huge_confidences_are_learned_from_or_refused(dtype, scale):
    X = (make() * scale).astype(dtype)
    try:
        model = quietly(model_for("implicit", alpha=0.01, unobserved_weight=0.1).fit, X)
    except ValueError:
        return
    np.testing.assert_allclose(dense_scores(model, X)[X.nonzero()], 1, atol=0.1)


@pytest.mark.parametrize("dtype, scale", [(np.float64, 1e160), (np.float32, 1e25)])
def test_huge_row_is_served_or_refused(dtype, scale):
    model = MFRecommender(3, random_state=0).fit(make(dtype=dtype))
    row = np.zeros((1, 20), dtype)
    row[0, :8] = scale
    try:
        users = model.transform(row)
    except ValueError:
        return
    assert users.any()


@pytest.mark.parametrize("ids", [[None], [1.0], [True], [b"item 00"]], ids=str)
def test_names_of_another_type(ids):
    model = MFRecommender(3, random_state=0).fit(make_frame())
    with pytest.raises((ValueError, TypeError), match="candidates"):
        model.recommend(make_frame(), 1, candidates=ids)


@pytest.mark.parametrize("index", [25, -3])
def test_damaged_exclude(index):
    X = make()
    broken = make(seed=1)
    broken.indices[-1] = index
    model = MFRecommender(3, random_state=0).fit(X)
    with pytest.raises(ValueError, match="exclude"):
        model.recommend(X, 3, exclude=broken)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("solver", ["als", "sgd"])
def test_ratings_at_the_limits_of_numbers(solver, dtype):
    limits = np.finfo(dtype)
    for X in np.full((2, 2), limits.max), np.array([[1, 2], [1, 1]]) * limits.smallest_subnormal:
        with pytest.raises(ValueError, match="too large or too small"):
            MFRecommender(2, solver=solver).fit(X.astype(dtype))


def test_exclude_frame_in_another_order():
    frame = make_frame()
    model = MFRecommender(3, random_state=0).fit(frame)
    with pytest.raises(ValueError):
        model.recommend(frame, 2, exclude=frame.iloc[:, ::-1])


def test_n_jobs_zero_after_fit():
    model = MFRecommender(3, random_state=0).fit(make()).set_params(n_jobs=0)
    with pytest.raises(ValueError, match="n_jobs"):
        model.transform(make())
