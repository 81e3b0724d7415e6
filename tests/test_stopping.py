"""After each epoch: early stopping and the callback; penalties by group."""

import copy
import warnings

import numpy as np
import pytest
import reference
from helpers import JIT, size
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring, make_scorer, mean_absolute_error, roc_auc_score
from sklearn.model_selection import GridSearchCV

from skfm import FMClassifier, FMRegressor
from skfm.datasets import make_fm_regression

pytestmark = pytest.mark.filterwarnings("ignore")
SOLVERS = ["adagrad", "adam", "ftrl", "sgd"]
LOSSES = ["squared_error", "absolute_error", "huber", "quantile", "poisson"]
CLASSIFICATION = [("log_loss", 2), ("log_loss", 3), ("squared_hinge", 2), ("squared_hinge", 3)]


def make(loss="squared_error", n_classes=0, n_rows=900):
    X, y = make_fm_regression(n_rows, n_fields=4, n_levels=30, noise=1.0, random_state=0)
    if loss == "poisson":
        y = np.random.default_rng(0).poisson(np.exp(np.clip(y, None, 2))).astype(float)
    if n_classes:
        y = np.digitize(y, [0.0] if n_classes == 2 else [-1.0, 1.0])
    return X, y


def split(X, y):
    cut = 2 * len(y) // 3
    return (X[:cut], y[:cut]), {"X_val": X[cut:], "y_val": y[cut:]}


def model_for(n_classes=0, **parameters):
    parameters = {"random_state": 0, "alpha": 0.01, "max_iter": size(60, 5), **parameters}
    if n_classes:
        return FMClassifier(**parameters)
    return FMRegressor(
        epsilon=reference.HUBER_EPSILON, quantile=reference.QUANTILE, **parameters
    )


def assert_same(model, other):
    assert_array_equal(model.intercept_, other.intercept_)
    assert_array_equal(model.coef_, other.coef_)
    assert_array_equal(model.components_, other.components_)


# Early stopping


@pytest.mark.parametrize("loss, n_classes", [(loss, 0) for loss in LOSSES] + CLASSIFICATION)
@pytest.mark.parametrize("solver", SOLVERS)
def test_the_best_epoch_is_kept(solver, loss, n_classes):
    X, y = make(loss, n_classes)
    train, validation = split(X, y)
    model = model_for(n_classes, loss=loss, solver=solver).fit(*train, **validation)
    scores = model.validation_scores_
    assert len(scores) == model.n_iter_ == len(model.loss_curve_)
    X_val, y_val = validation.values()
    kind = "softmax" if loss == "log_loss" and n_classes > 2 else loss
    if n_classes:
        raw = model.decision_function(X_val)
    else:
        raw = model.predict(X_val)
        if loss == "poisson":
            raw = np.log(raw)
        else:
            shift, unit = train[1].mean(), train[1].std()
            raw, y_val = (raw - shift) / unit, (y_val - shift) / unit
    by_hand = -reference.losses(kind, raw.reshape(len(y_val), -1), y_val).mean()
    assert_allclose(max(scores), by_hand, rtol=1e-9)


def test_the_best_epoch_is_that_of_a_shorter_fit():
    train, validation = split(*make())
    model = model_for(tol=1e-3).fit(*train, **validation)
    best = int(np.argmax(model.validation_scores_)) + 1
    assert best <= model.n_iter_ - model.n_iter_no_change < 60
    shorter = model_for(max_iter=best, tol=0).fit(*train)
    assert_same(model, shorter)
    model.fit(*train)
    assert not hasattr(model, "validation_scores_")


@pytest.mark.parametrize(
    "n_classes, scoring",
    [
        (0, "r2"),
        (0, None),
        (0, make_scorer(mean_absolute_error, greater_is_better=False)),
        (2, "roc_auc"),
        (2, "neg_log_loss"),
        (3, "accuracy"),
        (2, lambda model, X, y: roc_auc_score(y, model.decision_function(X))),
    ],
)
def test_scorers(n_classes, scoring):
    X, y = make(n_classes=n_classes)
    train, validation = split(X, y)
    model = model_for(n_classes, scoring=scoring).fit(*train, **validation)
    score = check_scoring(model, scoring=scoring)(model, *validation.values())
    assert_allclose(score, max(model.validation_scores_))
    with_nan = model_for(scoring=lambda *ignored: np.nan)
    with pytest.raises(ValueError, match=r"scoring=.*NaN"):
        with_nan.fit(*train, **validation)


@pytest.mark.parametrize("n_classes", [0, 2])
def test_rows_are_set_aside(n_classes):
    X, y = make(n_classes=n_classes, n_rows=300)
    rows = []
    model = model_for(
        n_classes,
        early_stopping=True,
        validation_fraction=60,
        scoring=lambda model, X, y: rows.append((X.shape[0], np.mean(y))) or 0.0,
    )
    model.fit(X, y)
    assert {n for n, _ in rows} == {60}
    if n_classes:
        assert abs(rows[0][1] - y.mean()) < 0.01  # of each class its share
    one, two = (
        model_for(n_classes, early_stopping=True, n_jobs=n_jobs).fit(X, y) for n_jobs in (1, 2)
    )
    assert_same(one, two)
    other = model_for(n_classes, early_stopping=True, random_state=1).fit(X, y)
    assert other.validation_scores_ != one.validation_scores_


def test_weights_of_validation_rows():
    train, validation = split(*make())
    X_val, y_val = validation.values()
    half = np.arange(len(y_val)) % 2
    weighted = model_for().fit(*train, **validation, sample_weight_val=half)
    fewer = model_for().fit(*train, X_val=X_val[half == 1], y_val=y_val[half == 1])
    assert weighted.validation_scores_ == fewer.validation_scores_
    plain = model_for().fit(*train, **validation)
    assert weighted.validation_scores_ != plain.validation_scores_


def test_what_is_wrong_with_validation_rows():
    X, y = make(n_classes=2)
    train, validation = split(X, y)
    X_val, y_val = validation.values()
    model = FMClassifier()
    for options, message in (
        ({"X_val": X_val}, "X_val was passed without y_val"),
        ({"y_val": y_val}, "y_val was passed without X_val"),
        ({"sample_weight_val": np.ones(3)}, "sample_weight_val was passed without"),
        ({"X_val": X_val[:, :5], "y_val": y_val}, "features"),
        ({"X_val": X_val, "y_val": y_val[1:]}, "inconsistent"),
        ({"X_val": X_val, "y_val": y_val + 7}, "y_val has the label"),
        ({"X_val": X_val * np.nan, "y_val": y_val}, "NaN"),
        ({**validation, "sample_weight_val": -np.ones(len(y_val))}, "negative"),
    ):
        with pytest.raises(ValueError, match=message):
            model.fit(*train, **options)
        assert not hasattr(model, "classes_")
    with pytest.raises(ValueError, match="X_val and y_val are for early stopping"):
        FMClassifier(early_stopping=False).fit(*train, **validation)
    with pytest.raises(ValueError, match="validation_fraction"):
        FMClassifier(early_stopping=True).fit(X[:4], [0, 0, 0, 1])


def test_no_convergence_warning_where_validation_stopped():
    train, validation = split(*make())
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        model = model_for(tol=1e-2, max_iter=50).fit(*train, **validation)
    assert model.n_iter_ < 50


def test_in_a_grid_search():
    X, y = make()
    search = GridSearchCV(model_for(early_stopping=True), {"alpha": [0.01, 1.0]}, cv=3)
    assert np.isfinite(search.fit(X, y).cv_results_["mean_test_score"]).all()


# Callback


def test_callback_sees_each_epoch():
    X, y = make()
    seen = []

    def note(model, epoch, loss):
        seen.append((epoch, loss, model.score(X, y)))

    model = model_for(callback=note, max_iter=5).fit(X, y)
    assert [epoch for epoch, *_ in seen] == [1, 2, 3, 4, 5]
    assert [loss for _, loss, _ in seen] == model.loss_curve_
    assert model.score(X, y) == max(score for *_, score in seen)
    assert clone(model).callback is not None


@pytest.mark.parametrize("answer, n_iter", [(True, 3), (None, 8), (False, 8)])
def test_callback_stops(answer, n_iter):
    X, y = make()
    model = model_for(callback=lambda m, epoch, loss: answer if epoch == 3 else None, max_iter=8)
    assert model.fit(X, y).n_iter_ == n_iter
    assert_same(model, model_for(max_iter=n_iter).fit(X, y))
    train, validation = split(X, y)
    assert model.fit(*train, **validation).n_iter_ <= n_iter


def test_a_callback_that_fails_leaves_the_model_from_before():
    X, y = make()
    model = model_for(max_iter=3).fit(X, y)
    untouched = copy.deepcopy(model)

    def fail(model, epoch, loss):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        model.set_params(callback=fail).fit(X[:50], y[:50])
    assert_same(model, untouched)


# Groups


def grouped(n_rows=150, n_features=6):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, n_features))
    X /= np.sqrt((X**2).mean(axis=0))
    y = X[:, 0] + X[:, 3] + X[:, 0] * X[:, 3] + X[:, 1] * X[:, 4] + rng.normal(size=n_rows)
    return X, (y - y.mean()) / y.std(), np.array(["a", "a", "a", "b", "b", "b"])


@pytest.mark.parametrize("solver", SOLVERS)
def test_equal_penalties_are_one(solver):
    X, y, groups = grouped()
    plain = FMRegressor(solver=solver, random_state=0).fit(X, y)
    for alpha, linear in (
        ({"a": 1.2, "b": 1.2}, [5.0, 5.0]),
        (np.array([1.2, 1.2]), {"b": 5.0, "a": 5.0}),
    ):
        model = FMRegressor(
            solver=solver, alpha=alpha, alpha_linear=linear, feature_groups=groups, random_state=0
        )
        assert_same(model.fit(X, y), plain)


def test_a_huge_penalty_holds_its_group():
    X, y, groups = grouped()
    model = FMRegressor(
        alpha=[1e4, 0.1], alpha_linear={"a": 0.1, "b": 1e5}, feature_groups=groups, random_state=0
    ).fit(X, y)
    assert abs(model.components_[:, :3]).max() < 1e-2 < abs(model.components_[:, 3:]).max()
    assert abs(model.coef_[3:]).max() < 1e-2 < abs(model.coef_[:3]).max()
    sparse_model = FMRegressor(
        solver="ftrl", alpha_l1={"a": 1e4, "b": 0.0}, feature_groups=groups, random_state=0
    ).fit(X, y)
    assert_array_equal(sparse_model.coef_ == 0, groups == "a")


@pytest.mark.parametrize("kind", ["squared_error", "log_loss"])
def test_groups_reach_the_optimum(kind):
    X, y, groups = grouped()
    linear = np.where(groups == "a", 0.3, 3.0)
    ridge = np.where(groups == "a", 1.0, 0.1) * np.sqrt(len(y))
    target = y if kind == "squared_error" else (y > 0).astype(int)
    make_model = FMRegressor if kind == "squared_error" else FMClassifier
    model = make_model(
        2,
        alpha={"a": 1.0, "b": 0.1},
        alpha_linear=[0.3, 3.0],
        feature_groups=groups,
        learning_rate=0.3,
        max_iter=size(3000, 100),
        tol=0,
        n_iter_no_change=500,
        random_state=0,
    ).fit(X, target)

    def objective(parameters):
        _, coef, components = parameters
        total = reference.losses(kind, reference.raw_output(parameters, X), target).sum()
        squares = (components**2).sum(axis=(0, 1))
        return total + (linear * coef**2 + ridge * squares).sum() / 2

    start = (
        np.atleast_1d(model.intercept_), np.atleast_2d(model.coef_), model.components_[None]
    )
    shape = start[2].shape
    starts = [reference.flatten(start), np.random.default_rng(0).normal(size=1 + 6 + 12) / 2]

    def of_vector(vector):
        return objective(reference.unflatten(vector, *shape))

    best = min(minimize(of_vector, vector, method="L-BFGS-B").fun for vector in starts)
    assert objective(start) <= (1.01 if JIT else 1.3) * best


def test_groups_in_a_grid_search_and_a_stream():
    X, y, groups = grouped()
    model = FMRegressor(feature_groups=groups, random_state=0)
    grid = {"alpha": [{"a": 1.0, "b": 0.1}, 1.0, [0.1, 1.0]]}
    assert GridSearchCV(model, grid, cv=2).fit(X, y).best_params_["alpha"] in grid["alpha"]
    model.set_params(alpha_linear=[1e4, 0.1], n_components=0)
    for _ in range(size(20, 3)):
        for start in (0, 75):
            model.partial_fit(X[start : start + 75], y[start : start + 75])
    assert abs(model.coef_[:3]).max() < 1e-2 < abs(model.coef_[3:]).max()


@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"alpha": {"a": 1.0}}, "alpha has no value for group 'b'"),
        ({"alpha": {"a": 1.0, "b": 1.0, "c": 1.0}}, "alpha has a value for 'c'"),
        ({"alpha_linear": [1.0, 2.0, 3.0]}, "alpha_linear has 3 values.*2 groups"),
        ({"alpha": [1.0, 2.0], "feature_groups": None}, "feature_groups"),
        ({"alpha": [1.0, -2.0]}, "alpha"),
        ({"alpha": [1.0, np.nan]}, "alpha"),
        ({"feature_groups": ["a", "b"]}, "feature_groups must hold one label a feature"),
        ({"alpha_l1": [1.0, 0.0]}, "alpha_l1 needs solver='ftrl'"),
    ],
)
def test_what_is_wrong_with_groups(parameters, message):
    X, y, groups = grouped()
    model = FMRegressor(**{"feature_groups": groups, **parameters})
    with pytest.raises((ValueError, TypeError), match=message):
        model.fit(X, y)
