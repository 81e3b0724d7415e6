"""Every solver on every loss: the optimum, unscaled data, sparsity, threads."""

from types import SimpleNamespace

import numpy as np
import pytest
import reference
from builders import (
    LOSSES,
    MINIBATCH_SOLVERS,
    RATES,
    SOLVERS,
    as_reference,
    make_dense,
    model_for,
    quietly,
)
from helpers import JIT, size
from numpy.testing import assert_array_equal
from scipy import sparse

from skfm import FMClassifier, FMRegressor
from skfm._solvers.fm.optimizer import Optimizer
from skfm._solvers.fm.parameters import Parameters


@pytest.mark.around(solver="adagrad", loss="squared_error")
@pytest.mark.parametrize("loss, n_classes", LOSSES)
@pytest.mark.parametrize("solver", SOLVERS)
def test_fit_reaches_the_optimum(solver, loss, n_classes):
    """Long training on scaled data ends within 1 % of what L-BFGS finds."""
    X, y = make_dense(loss, n_classes, n_rows=size(150, 40))
    model = model_for(
        *(loss, n_classes),
        n_components=3,
        solver=solver,
        alpha=0.3,
        alpha_linear=0.5,
        learning_rate=RATES[solver],
        max_iter=size(3000, 300),
        tol=0.0,
        n_iter_no_change=500,
    )
    quietly(model.fit, X, y)
    parameters, target, kind = as_reference(model, y)
    data = X, target, None, kind, model.alpha, model.alpha_linear
    fitted = reference.objective(parameters, *data)
    best = reference.best_objective(parameters, data, n_starts=1)
    assert fitted <= (1.01 if JIT else 1.1) * best
    nothing = [np.zeros_like(array) for array in parameters]
    assert best < 0.9 * reference.objective(nothing, *data)  # there was something to find


def mean_loss(model, X, y):
    """Mean loss of a model and of the best constant, as scikit-learn would see them."""
    _, target, kind = as_reference(model, y)
    raw = model.predict(X) if isinstance(model, FMRegressor) else model.decision_function(X)
    if kind == "poisson":
        raw = np.log(raw)
    elif isinstance(model, FMRegressor):
        raw = (raw - y.mean()) / y.std()
    raw = raw.reshape(len(y), -1)
    constants = np.linspace(-3, 3, 121)
    if raw.shape[1] > 1:
        rates = np.bincount(y) / len(y)
        start = np.log(rates) if kind == "softmax" else 2 * rates - 1
        constant = reference.losses(kind, np.tile(start, (len(y), 1)), y).mean()
    else:
        constant = min(
            reference.losses(kind, np.full((len(y), 1), c), target).mean() for c in constants
        )
    return reference.losses(kind, raw, target).mean(), constant


@pytest.mark.around(solver="adagrad", loss="squared_error")
@pytest.mark.parametrize("loss, n_classes", LOSSES)
@pytest.mark.parametrize("solver", SOLVERS)
def test_unscaled_data_beats_the_intercept(solver, loss, n_classes):
    """A column of the size of a million, two around 100."""
    X, y = make_dense(loss, n_classes, n_rows=size(400, 60))
    X = X * [1e6, 1, 1, 1, 1, 1] + [0, 100, 100, 0, 0, 0]
    model = quietly(model_for(loss, n_classes, solver=solver, alpha=0.5).fit, X, y)
    fitted, constant = mean_loss(model, X, y)
    assert fitted < constant


@pytest.mark.around(solver="adagrad", loss="squared_error")
@pytest.mark.parametrize("loss, n_classes", LOSSES)
@pytest.mark.parametrize("solver", SOLVERS)
def test_number_of_threads_does_not_matter(solver, loss, n_classes):
    X, y = make_dense(loss, n_classes, n_rows=size(3000, 200))
    models = [
        quietly(model_for(loss, n_classes, solver=solver, max_iter=4, n_jobs=n_jobs).fit, X, y)
        for n_jobs in (1, 2, 3)
    ]
    for other in models[1:]:
        assert_array_equal(other.coef_, models[0].coef_)
        assert_array_equal(other.components_, models[0].components_)


# FTRL


@pytest.mark.parametrize("solver", MINIBATCH_SOLVERS)
def test_learning_rate_decays_unless_sums_of_squares_shorten_the_steps(solver):
    start = Parameters(np.zeros(1), np.zeros((1, 3)), np.zeros((1, 3, 2)))
    settings = SimpleNamespace(solver=solver, learning_rate=0.5, initial_accumulator=1.0)
    problem = SimpleNamespace(interactions=SimpleNamespace(n_components=2))
    optimizer = Optimizer(problem, start, settings, count=np.zeros(3))
    rates = []
    for _ in range(31):
        optimizer.begin_epoch(1.0)
        rates.append(optimizer.rule.learning_rate)
    decays = solver in ("adam", "sgd")
    assert rates[0] == 0.5
    assert rates[10] == pytest.approx(0.5 / np.sqrt(2) if decays else 0.5)
    assert rates[30] == pytest.approx(0.25 if decays else 0.5)


def test_ftrl_with_l1_reaches_the_optimum_of_a_proximal_oracle():
    """The linear model: proximal gradient steps are the judge."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 10))
    X /= np.sqrt((X**2).mean(axis=0))
    y = X[:, 0] - X[:, 1] / 2 + rng.normal(size=120) / 2
    model = FMRegressor(
        0,
        solver="ftrl",
        alpha_l1=15.0,
        alpha_linear=2.0,
        learning_rate=0.5,
        max_iter=size(4000, 200),
        tol=0,
        n_iter_no_change=1000,
        fit_intercept=False,
        random_state=0,
    )
    quietly(model.fit, X, y)
    unit = np.sqrt((y**2).mean())
    target, w = y / unit, np.zeros(10)
    step = 1 / (np.linalg.norm(X, 2) ** 2 + 2)
    for _ in range(2000):
        w = w - step * (X.T @ (X @ w - target) + 2 * w)
        w = np.sign(w) * np.maximum(np.abs(w) - 15 * step, 0)

    def objective(w):
        return ((X @ w - target) ** 2).sum() / 2 + w @ w + 15 * np.abs(w).sum()

    assert objective(model.coef_ / unit) <= (1.01 if JIT else 1.1) * objective(w)
    assert_array_equal(model.coef_ != 0, w != 0)
    assert 0 < np.count_nonzero(w) < 10


def test_ftrl_without_penalties_of_length_is_no_sparser_than_the_others():
    X, y = make_dense("squared_error", 0)
    model = quietly(FMRegressor(solver="ftrl", random_state=0).fit, X, y)
    assert (model.coef_ != 0).all() and (model.components_ != 0).all()


def test_ftrl_shrinks_the_factors_of_whole_features():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 8))
    y = 2 * X[:, 0] * X[:, 1] + rng.normal(size=500) / 3
    model = quietly(FMRegressor(solver="ftrl", alpha_l21=0.5, random_state=0).fit, X, y)
    shrunk = (model.components_ == 0).all(axis=0)
    assert_array_equal(shrunk, np.arange(8) >= 2)
    assert model.score(X, y) > 0.5


@pytest.mark.parametrize("name", ["alpha_l1", "alpha_l21"])
def test_only_ftrl_takes_penalties_of_length(name):
    X, y = make_dense("squared_error", 0)
    with pytest.raises(ValueError, match=f"{name} requires solver='ftrl'"):
        FMRegressor(**{name: 1.0}).fit(X, y)


# Losses


def test_quantiles_are_where_they_should_be():
    rng = np.random.default_rng(0)
    X = sparse.csr_matrix(np.eye(4)[rng.integers(4, size=4000)])
    y = X @ np.arange(4) + rng.exponential(size=4000)
    for quantile in (0.1, 0.5, 0.9):
        model = quietly(
            FMRegressor(2, loss="quantile", quantile=quantile, random_state=0).fit, X, y
        )
        assert abs((y <= model.predict(X)).mean() - quantile) < 0.03
    median = quietly(FMRegressor(2, loss="absolute_error", random_state=0).fit, X, y)
    assert abs((y <= median.predict(X)).mean() - 0.5) < 0.03


def test_outliers_matter_less_with_huber_and_absolute_error():
    X, y = make_dense("squared_error", 0, n_rows=300)
    broken = y.copy()
    broken[::20] += 100
    errors = {
        loss: np.median(
            abs(quietly(FMRegressor(loss=loss, epsilon=0.1, random_state=0).fit, X, broken)
            .predict(X) - y)
        )
        for loss in ("squared_error", "huber", "absolute_error")
    }  # fmt: skip
    assert errors["huber"] < 0.7 * errors["squared_error"]
    assert errors["absolute_error"] < 0.7 * errors["squared_error"]


def test_poisson_predicts_means():
    X, y = make_dense("poisson", 0, n_rows=400)
    model = quietly(FMRegressor(loss="poisson", random_state=0).fit, X, y)
    predicted = model.predict(X)
    assert (predicted > 0).all()
    assert abs(predicted.mean() / y.mean() - 1) < 0.05
    assert model.__sklearn_tags__().target_tags.positive_only
    for bad in (-y, 0 * y, 1e15 * y):
        with pytest.raises(ValueError, match="loss='poisson'"):
            FMRegressor(loss="poisson").fit(X, bad)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_squared_hinge_has_no_probabilities(n_classes):
    X, y = make_dense("squared_hinge", n_classes, n_rows=300)
    model = quietly(FMClassifier(loss="squared_hinge", random_state=0).fit, X, y)
    assert model.score(X, y) > 0.7
    assert not hasattr(model, "predict_proba") and not hasattr(model, "predict_log_proba")
    assert hasattr(FMClassifier(), "predict_proba")
    shape = (300,) if n_classes == 2 else (300, 3)
    assert model.decision_function(X).shape == shape
