"""Columns with entries in most rows: their linear weights are looked at together."""

import numpy as np
import pytest
from builders import CODES, MINIBATCH_SOLVERS, quietly, settings_for
from helpers import size
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss, root_mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from skfm import FMClassifier, FMRegressor
from skfm._solvers.fm.dense_columns import DenseColumns
from skfm._solvers.fm.interactions import all_pairs
from skfm._solvers.fm.penalties import Penalties
from skfm._solvers.fm.problem import make_problem

AUTO = {"alpha": "auto", "alpha_linear": "auto"}


def make(n_rows=40, seed=0, weight=None, **settings):
    """Columns 0 and 2 are dense, 1 and 3 are not; as a problem and as an array."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 4))
    X[:, 2] += 3 * X[:, 0]
    X[rng.random(n_rows) < 0.8, 1] = 0
    X[rng.random(n_rows) < 0.6, 3] = 0
    problem = make_problem(
        *(sparse.csr_matrix(X), rng.normal(size=n_rows)),
        *(np.empty(0) if weight is None else weight, CODES["squared_error"]),
        Penalties(linear=2.0, factors=1.0),
        all_pairs(4, 2),
    )
    return problem, DenseColumns(problem, settings_for("squared_error", 1, **settings))


def test_those_with_entries_in_most_rows(monkeypatch):
    assert_array_equal(make()[1].columns, [0, 2])
    assert_array_equal(make(fit_linear=False)[1].columns, [])
    weight = np.where(make()[0].scaled_rows().toarray()[:, 3] != 0, 1, 1e-3)
    assert_array_equal(make(weight=weight)[1].columns, [0, 2, 3])
    monkeypatch.setattr("skfm._solvers.fm.dense_columns.MAX_COLUMNS", 1)
    assert_array_equal(make()[1].columns, [])


@pytest.mark.parametrize("fit_intercept", [False, True])
def test_a_step_ends_at_the_minimum_of_a_parabola(fit_intercept, monkeypatch):
    monkeypatch.setattr("skfm._solvers.fm.dense_columns.CHUNK", 7)
    problem, dense = make(fit_intercept=fit_intercept)
    rng = np.random.default_rng(1)
    rows = problem.scaled_rows().toarray()[:, [0, 2]]
    rows = np.column_stack([rows, np.full(40, fit_intercept)])
    curvature, slope = rng.uniform(size=(2, 40)), rng.normal(size=(2, 40))
    linear = rng.normal(size=(2, 4))
    intercepts, steps = dense.newton_steps(curvature, slope, linear)
    assert_array_equal(steps[:, [1, 3]], 0)
    penalty = np.append(problem.linear_penalty[[0, 2]], 0)
    for output in range(2):
        step = np.append(steps[output, [0, 2]], intercepts[output])
        moved = np.append(linear[output, [0, 2]], 0) + step
        change = slope[output] + curvature[output] * (rows @ step)
        assert_allclose(rows.T @ change + penalty * moved, 0, atol=1e-7)
        assert fit_intercept == (step[-1] != 0)


def test_variances_are_those_of_the_weights_together():
    problem, dense = make()
    curvature = np.random.default_rng(1).uniform(size=(1, 40))
    information = dense.information(curvature)
    rows = np.column_stack([problem.scaled_rows().toarray()[:, [0, 2]], np.ones(40)])
    expected = np.linalg.inv((rows.T * curvature[0]) @ rows + np.diag([0.5, 2.0, 0.0]))
    found = dense.variances(information[0], np.array([0.5, 2.0]))
    assert_allclose(found, expected.diagonal()[:2], rtol=1e-7)
    half = dense.information(curvature, np.arange(0, 40, 2))
    assert_allclose(half, 2 * dense.information(curvature * (np.arange(40) % 2 == 0)))


@pytest.mark.parametrize("solver", MINIBATCH_SOLVERS)
def test_correlated_columns_do_not_hold_up_training(solver):
    """With hardly any products, the fit is ridge regression, which has a solution."""
    rng = np.random.default_rng(0)
    n_rows = size(300, 60)
    X = rng.normal(size=(n_rows, 3)) @ rng.normal(size=(3, 12))
    X += 0.03 * rng.normal(size=X.shape)
    X = StandardScaler().fit_transform(X)
    y = X @ rng.normal(size=12) + 0.1 * rng.normal(size=n_rows)
    model = FMRegressor(0, alpha_linear=1.0, solver=solver, random_state=0)
    quietly(model.fit, X, y)
    difference = model.predict(X) - Ridge().fit(X, y).predict(X)
    assert np.abs(difference).max() < 0.02 * y.std()


@pytest.mark.parametrize("load", [load_breast_cancer, load_diabetes, load_iris])
def test_measurements_are_as_well_told_as_by_linear_models(load):
    X, y = load(return_X_y=True)
    is_classes = load is not load_diabetes
    X, X_test, y, y_test = train_test_split(
        X, y, random_state=0, stratify=y if is_classes else None
    )
    scaler = StandardScaler().fit(X)
    X, X_test = scaler.transform(X), scaler.transform(X_test)
    model = (FMClassifier if is_classes else FMRegressor)(random_state=0, **AUTO)
    quietly(model.fit, X, y)
    linear = (LogisticRegression() if is_classes else Ridge()).fit(X, y)
    if is_classes:
        error, known = (log_loss(y_test, m.predict_proba(X_test)) for m in (model, linear))
    else:
        predicted = (m.predict(X_test) for m in (model, linear))
        error, known = (root_mean_squared_error(y_test, values) for values in predicted)
    assert error < 1.01 * known


def test_classes_that_can_be_told_apart_keep_some_penalty():
    """However often the penalties are updated: what is left says that more is in the data."""
    X, y = load_iris(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    model = quietly(FMClassifier(random_state=0, **AUTO).fit, X[y < 2], y[y < 2])
    assert model.alpha_linear_.min() > 1e-3
    assert 1e-4 < 1 - model.predict_proba(X[y < 2]).max(axis=1).mean() < 0.1
