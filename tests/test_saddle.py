"""Training does not end at a saddle point: where factors are near zero, so are gradients."""

import warnings

import numpy as np
import pytest
from builders import CODES, GIVEN, SOLVERS
from helpers import in_full, size
from numpy.testing import assert_allclose
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

from skfm import FMClassifier, FMRegressor
from skfm._solvers.fm import saddle_points
from skfm._solvers.fm.interactions import Interactions, all_pairs
from skfm._solvers.fm.penalties import Penalties
from skfm._solvers.fm.problem import make_problem


def make_product(n_rows, layout, seed):
    """Classes by a product of two of 20 columns: no column says anything by itself."""
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 2, (2 * n_rows, 20))
    y = X[:, 0] ^ X[:, 1]
    if layout == "onehot":
        X = np.hstack([X, 1 - X])
    return X[:n_rows].astype(float), y[:n_rows], X[n_rows:].astype(float), y[n_rows:]


@pytest.mark.around(solver="adagrad", layout="binary", options={})
@pytest.mark.parametrize("options", [{}, {"early_stopping": True}], ids=["", "early stopping"])
@pytest.mark.parametrize("layout", ["binary", "onehot"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_product_is_found(solver, layout, options):
    for seed in range(3 if in_full() else 1):
        X, y, X_test, y_test = make_product(size(1000, 300), layout, seed)
        model = FMClassifier(solver=solver, random_state=seed, **options)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(X, y)
        assert model.score(X_test, y_test) > size(0.9, 0.6)


@pytest.mark.around(solver="adagrad", fit_lower=True)
@pytest.mark.parametrize("fit_lower", [False, True])
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_product_of_three_is_found(solver, fit_lower):
    for seed in (0, 4, *range(5, 10 if in_full() else 5)):
        rng = np.random.default_rng(seed)
        X = rng.choice([-1.0, 1.0], size=(600, 6))
        y = X[:, 0] * X[:, 1] * X[:, 2] + 0.1 * rng.normal(size=600)
        model = FMRegressor(solver=solver, degree=3, fit_lower=fit_lower, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(X[:300], y[:300])
        assert model.score(X[300:], y[300:]) > 0.9


@pytest.mark.parametrize("n_rows", [600, 2000])
@pytest.mark.parametrize("solver", SOLVERS)
def test_one_epoch_after_the_other_learns_as_well(solver, n_rows):
    """Also where each first step is too long, and training goes back to where it started."""
    n_rows = size(n_rows, 100)
    rng = np.random.default_rng(0)
    X = rng.integers(0, 2, (2 * n_rows, 20)).astype(float)
    y = X[:, 0] * X[:, 1]
    model = FMRegressor(size(8, 2), solver=solver, max_iter=1, warm_start=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        for _ in range(size(60, 20)):
            model.fit(X[:n_rows], y[:n_rows])
    assert model.score(X[n_rows:], y[n_rows:]) > size(0.6, 0.1)


def as_problem(X, interactions, alpha=1.0, dtype=np.float64, weight=()):
    rows = sparse.csr_matrix(X.astype(dtype))
    y = np.zeros(len(X))
    weight, penalties = np.array(weight, dtype), Penalties(linear=1.0, factors=alpha)
    return make_problem(rows, y, weight, CODES["squared_error"], penalties, interactions)


def slow_curvature(X, slope, allowed, penalty):
    """Second derivatives of ``sum_i g_i sum_{j<k} x_ij x_ik u_j u_k + sum_j s_j u_j^2 / 2``."""
    H = np.diag(penalty.astype(float))
    for x, g in zip(X, slope, strict=True):
        for j in range(len(x)):
            for k in range(len(x)):
                if j != k and allowed[j, k]:
                    H[j, k] += g * x[j] * x[k]
    return H


@pytest.mark.parametrize("fields", [False, True])
def test_curvature_is_that_of_the_formula(fields):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 6)) * (rng.random((30, 6)) < 0.7)
    interactions = all_pairs(6, 2)
    if fields:
        partners = np.array([[False, True, True], [True, True, False], [True, False, False]])
        own = np.array([0, 0, 1, 1, 2, 2], np.uint8)
        interactions = Interactions(np.full(2, 2), own, partners, np.ones(6, bool), own)
        allowed = partners[own][:, own]
    else:
        allowed = np.ones((6, 6), bool)
    problem = as_problem(X, interactions)
    slope = rng.normal(size=30)
    operator = saddle_points._curvature(problem, slice(None), slope)
    expected = slow_curvature(X / problem.scale, slope, allowed, problem.factor_penalty)
    assert_allclose(operator @ np.eye(6), expected, rtol=1e-9, atol=1e-12)
    values, vectors = np.linalg.eigh(expected)
    assert values[0] < 0
    ((output, steps),) = saddle_points.descent_directions(problem, slope[None])
    assert output == 0
    assert_allclose(abs(steps[0] @ vectors[:, 0]), np.linalg.norm(steps[0]), rtol=0.01)
    lengths = np.linalg.norm(steps, axis=1)
    assert_allclose(lengths / lengths[0], 2.0 ** np.arange(6))


def test_steps_for_weighted_rows_are_those_for_repeated_ones():
    rng = np.random.default_rng(0)
    X, slope, weight = rng.normal(size=(30, 6)), rng.normal(size=30), rng.integers(1, 9, 30)
    weighted = as_problem(X, all_pairs(6, 2), weight=weight)
    repeated = as_problem(np.repeat(X, weight, axis=0), all_pairs(6, 2))
    ((_, steps),) = saddle_points.descent_directions(weighted, (weight * slope)[None])
    ((_, expected),) = saddle_points.descent_directions(repeated, np.repeat(slope, weight)[None])
    assert_allclose(np.abs(steps), np.abs(expected), rtol=1e-6)


def test_there_is_no_way_down_from_a_minimum():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 6))
    slope = rng.normal(size=(1, 30))
    assert list(saddle_points.descent_directions(as_problem(X, all_pairs(6, 2)), slope))
    assert not list(
        saddle_points.descent_directions(as_problem(X, all_pairs(6, 2), alpha=1e6), slope)
    )
    assert not list(saddle_points.descent_directions(as_problem(X[:, :1], all_pairs(1, 2)), slope))


@pytest.mark.parametrize("solver", SOLVERS)
def test_factors_that_are_nearly_zero_are_said(solver):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4))
    y = X @ rng.normal(size=4) + rng.normal(size=200)
    with pytest.warns(UserWarning, match=r"the model is linear. Lower alpha \(now 50\) to learn"):
        FMRegressor(solver=solver, alpha=50.0, random_state=0).fit(X, y)
    for options in ({"n_components": 0}, {"alpha": 0.0}):
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            warnings.simplefilter("ignore", RuntimeWarning)
            FMRegressor(solver=solver, random_state=0, **options).fit(X, y + 3 * X[:, 0] * X[:, 1])


@pytest.mark.parametrize("n_columns, share", [(20, 0.9), (400, 0.9), (400, 0.5)])
@pytest.mark.parametrize("n_rows", [60, 1000])
@pytest.mark.parametrize("solver", ["adagrad", "adam"])
def test_long_rows_of_zeros_and_ones_do_not_diverge(solver, n_rows, n_columns, share):
    rng = np.random.default_rng(0)
    X = (rng.random((n_rows, n_columns)) < share).astype(float)
    y = X[:, 0] * X[:, 1] + X @ rng.normal(size=n_columns) + rng.normal(size=n_rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("error", RuntimeWarning)
        FMRegressor(solver=solver, random_state=0, max_iter=60).fit(X, y)
        FMClassifier(solver=solver, random_state=0, max_iter=60).fit(X, y > np.median(y))


def test_the_warning_names_the_penalties():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4))
    y = X @ rng.normal(size=4) + rng.normal(size=200)
    groups = {"feature_groups": [*"aabb"], "alpha": {"a": 50.0, "b": 60.0}}
    for options, words in (
        ({"alpha": 0.0, "alpha_l21": 50.0}, r"Lower alpha_l21 \(now 50\) to"),
        ({"alpha": 2.0, "alpha_l21": 50.0}, r"Lower alpha \(now 2\) and alpha_l21 \(now 50\)"),
        ({"alpha": 0.0, "alpha_l21": np.float64(400 / 9)}, r"Lower alpha_l21 \(now 44.44\) to"),
        (groups, "Lower alpha to"),  # a long list would say nothing
    ):
        with pytest.warns(UserWarning, match=words):
            FMRegressor(**{**GIVEN, **options}, solver="ftrl", max_iter=1000).fit(X, y)


def test_factors_that_no_penalty_has_made_small():
    """Those are small because training has not ended, or as there is nothing to multiply."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 2, (100, 5)).astype(float)
    levels = np.eye(5)[rng.integers(0, 5, 100)]
    y = rng.normal(size=100)
    model = FMRegressor(1, init_scale=1e-3, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        for other in (RuntimeWarning, ConvergenceWarning):
            warnings.simplefilter("ignore", other)
        model.partial_fit(X, y)
        model.fit(levels, y)
        model.fit(X, np.ones(100))
        for limits in ({"max_iter": 2}, {"callback": lambda model, epoch, loss: epoch == 2}):
            FMRegressor(1, init_scale=1e-3, random_state=0, **limits).fit(X, y)


@pytest.mark.parametrize("solver", SOLVERS)
def test_there_is_no_way_down_where_all_is_flat(solver):
    """The target is constant and nothing is penalized: the second derivative is 0."""
    X = np.eye(6)[np.arange(12) % 6] + np.eye(6)[np.arange(12) // 2]
    model = FMRegressor(2, alpha=0, alpha_linear=5, solver=solver, init_scale=0, max_iter=5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, np.ones(12))
    assert_allclose(model.predict(X), 1)


@pytest.mark.parametrize(
    "dtype, size",
    [(np.float64, 10.0**n) for n in (-2, -4, -30, -78, -100, -150)]
    + [(np.float32, 10.0**n) for n in (-2, -8, -10, -14)],
)
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_small_column_stops_no_solver(solver, dtype, size):
    rng = np.random.default_rng(0)
    level, x = rng.integers(5, size=400), rng.normal(size=400)
    y = level + x + 0.1 * rng.normal(size=400)
    X = np.column_stack([np.eye(5)[level], size * x]).astype(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("error", RuntimeWarning)
        assert FMRegressor(solver=solver, random_state=0).fit(X, y).score(X, y) > 0.6
