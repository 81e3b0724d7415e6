"""``solver="als"`` from the estimators' side: what falls, what stays, what it can bear."""

import pickle
import warnings

import numpy as np
import pytest
import reference
from builders import GIVEN, LOSSES, as_reference, assert_same, parameters_of, quietly, raw
from builders import model_for as model_of
from helpers import needs_jit, size
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge
from sklearn.metrics import log_loss

from skfm import FMClassifier, FMRegressor
from skfm._kernels.quadratic_bounds import LEAST_ERROR
from skfm._solvers.fm import coordinate_descent
from skfm._solvers.fm import sweeps as columns
from skfm.datasets import make_fm_regression

ROBUST = ["absolute_error", "quantile"]
SMOOTH = [(loss, n_classes) for loss, n_classes in LOSSES if loss not in ROBUST]
LAYOUTS = ["dense", "onehot"]


def make(loss="squared_error", n_classes=0, layout="dense", n_rows=None, seed=0):
    """Targets of a planted model: of six numbers, or of three one-hot encoded fields."""
    n_rows = n_rows or size(250, 60)
    rng = np.random.default_rng(seed)
    if layout == "dense":
        X = rng.normal(size=(n_rows, 6))
    else:
        X = np.zeros((n_rows, 24))
        np.put_along_axis(X, rng.integers(8, size=(n_rows, 3)) + 8 * np.arange(3), 1, axis=1)
    shape = max(1, n_classes), 2, X.shape[1]
    planted = np.zeros(shape[0]), rng.normal(size=shape[::2]) / 2, rng.normal(size=shape) * 0.6
    raw = reference.raw_output(planted, X)
    if loss == "poisson":
        return X, rng.poisson(np.exp(np.clip(raw[:, 0], None, 3))).astype(float)
    if n_classes == 0:
        return X, 5 + 2 * (raw[:, 0] + rng.normal(size=n_rows) / 3)
    if n_classes == 2:
        return X, (raw[:, 0] + rng.logistic(size=n_rows) / 2 > 0).astype(int)
    return X, (raw + rng.gumbel(size=raw.shape) / 2).argmax(axis=1)


def model_for(loss="squared_error", n_classes=0, **parameters):
    return model_of(loss, n_classes, **{"solver": "als", "tol": 0.0, **GIVEN, **parameters})


def mean_objective(model, X, y, weight=None):
    """The objective of the fitted parameters, for each unit of weight, by the twin."""
    parameters, target, kind = as_reference(model, y)
    data = X, target, weight, kind, model.alpha, model.alpha_linear
    return reference.objective(parameters, *data) / reference.ones_if_none(weight, X).sum()


def assert_never_rises(curve, relative=1e-9, absolute=0.0):
    curve = np.array(curve)
    assert np.isfinite(curve).all()
    assert (np.diff(curve) <= relative * abs(curve[:-1]) + absolute).all()


def is_finite(model, X):
    outputs = model.predict(X), raw(model, X), *parameters_of(model)
    return all(np.isfinite(output).all() for output in outputs)


# The objective


@pytest.mark.pairwise
@pytest.mark.parametrize("n_components", [0, 3])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("loss, n_classes", SMOOTH)
def test_the_objective_never_rises(loss, n_classes, layout, weighted, n_components):
    X, y = make(loss, n_classes, layout)
    weight = np.random.default_rng(1).uniform(0.2, 3, size=len(y)) if weighted else None
    model = model_for(loss, n_classes, n_components=n_components, max_iter=size(60, 5))
    model.fit(X, y, weight)
    assert len(model.loss_curve_) == model.n_iter_ == model.max_iter
    assert_never_rises(model.loss_curve_)
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    if not weighted:
        assert_allclose(model.loss_curve_[-1], mean_objective(model, X, y), rtol=1e-9)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("loss", ROBUST)
def test_the_objective_of_absolute_errors_falls_but_for_their_smoothing(loss, layout):
    X, y = make(loss, layout=layout)
    model = model_for(loss, n_components=3, max_iter=size(60, 5)).fit(X, y)
    assert_never_rises(model.loss_curve_, absolute=2 * LEAST_ERROR)
    assert model.loss_curve_[-1] < 0.9 * model.loss_curve_[0]
    assert_allclose(model.loss_curve_[-1], mean_objective(model, X, y), rtol=1e-9)


@pytest.mark.parametrize("loss", ROBUST)
def test_absolute_errors_that_can_vanish_do_but_for_their_smoothing(loss):
    X, _ = make()
    y = X[:, 0] - X[:, 1]
    options = {"alpha": 1e-6, "alpha_linear": 1e-6, "n_components": size(2, 0), "max_iter": 100}
    model = model_for(loss, **options).fit(X, y)
    assert model.loss_curve_[-1] < LEAST_ERROR
    assert_allclose(model.predict(X), y, atol=5 * LEAST_ERROR * y.std())


@pytest.mark.parametrize("parameters, n_classes", [({}, 0), ({"loss": "poisson"}, 0), ({}, 3)])
def test_the_objective_falls_from_a_start_far_off(parameters, n_classes):
    X, y = make(parameters.get("loss", "log_loss" if n_classes else ""), n_classes)
    loss = parameters.get("loss", "log_loss" if n_classes else "squared_error")
    model = model_for(loss, n_classes, init_scale=2.0, max_iter=60).fit(X, y)
    assert_never_rises(model.loss_curve_, relative=coordinate_descent.ROUNDING)
    assert model.loss_curve_[-1] < model.loss_curve_[0]


def watch(monkeypatch):
    """The boosts before and after each sweep, and its number of tries."""
    seen, tries = [], []
    sweep, set_back = coordinate_descent._Descent.sweep, coordinate_descent._Descent._set

    def watched(self):
        before, n = self.boost, len(tries)
        objective = sweep(self)
        seen.append((before, self.boost, len(tries) - n))
        return objective

    def counted(self, parameters):
        tries.append(1)
        set_back(self, parameters)

    monkeypatch.setattr(coordinate_descent._Descent, "sweep", watched)
    monkeypatch.setattr(coordinate_descent._Descent, "_set", counted)
    return seen


@pytest.mark.parametrize("case", ["start far off", "counts of all sizes"])
def test_poisson_sweeps_that_go_too_far_are_done_again(case, monkeypatch):
    seen = watch(monkeypatch)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(size(200, 60), 6))
    raw = X[:, 0] + X[:, 1] * X[:, 2] + rng.normal(size=len(X)) / 3
    if case == "start far off":
        y, parameters = rng.poisson(np.exp(raw)).astype(float), {"init_scale": 2.0}
    else:
        y, parameters = np.round(np.exp(8 * raw)), {"alpha": 0.01, "alpha_linear": 0.01}
    model = model_for("poisson", n_components=8, max_iter=60, **parameters).fit(X, y)
    assert_never_rises(model.loss_curve_, relative=coordinate_descent.ROUNDING)
    assert is_finite(model, X)
    again = [(before, after, n) for before, after, n in seen if n]
    assert 0 < len(again) < len(seen)
    for before, after, n in seen:  # steeper, and then step by step back
        assert before < after < before * 4**n if n else 1 <= after < before or after == 1
    assert model.loss_curve_[-1] < 0.1 * model.loss_curve_[0]


def test_large_counts_in_float32_do_not_stop_it(monkeypatch):
    """Where rounding is all that is left, sweeps may be tried again, but not all and not often."""
    seen = watch(monkeypatch)
    X, y = make("poisson", seed=4)
    options = {"alpha": 0.01, "alpha_linear": 0.01, "max_iter": size(60, 9)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = model_for("poisson", **options).fit(X.astype(np.float32), 1000 * y)
    assert sum(n for _, _, n in seen) < len(seen)
    wide = model_for("poisson", **options).fit(X, 1000 * y)
    assert_allclose(model.loss_curve_[-1], wide.loss_curve_[-1], rtol=size(1e-3, 0.02))


def test_a_sweep_that_never_lowers_the_objective_changes_nothing(monkeypatch):
    X, y = make("poisson")
    model = model_for("poisson", max_iter=3).fit(X, y)
    sweep, calls = coordinate_descent._Descent._sweep_output, []

    def worse_after_three_sweeps(self, output):
        sweep(self, output)
        calls.append(1)
        if len(calls) > 3:
            self.intercept += 10

    monkeypatch.setattr(coordinate_descent._Descent, "_sweep_output", worse_after_three_sweeps)
    other = clone(model).set_params(max_iter=5).fit(X, y)
    assert len(calls) == 3 + 2 * coordinate_descent.MAX_TRIES
    assert_same(other, model)
    assert_allclose(other.loss_curve_[2:], model.loss_curve_[2], rtol=1e-12)


@needs_jit
@pytest.mark.parametrize("loss, n_classes", [("squared_error", 0), ("log_loss", 2)])
def test_fewer_sweeps_than_adagrad_has_epochs(loss, n_classes):
    X, y = make_fm_regression(size(2000, 300), n_fields=4, n_levels=20, random_state=0)
    y = (y > np.median(y)).astype(int) if n_classes else y
    options = {"max_iter": size(100, 30), "n_iter_no_change": 100}
    epochs = model_for(loss, n_classes, solver="adagrad", learning_rate=0.3, **options)
    sweeps = model_for(loss, n_classes, **options)
    goal = 1.001 * min(quietly(epochs.fit, X, y).loss_curve_)
    curve = np.array(quietly(sweeps.fit, X, y).loss_curve_)
    needed = 1 + np.argmax(np.array(epochs.loss_curve_) <= goal)
    assert curve[-1] <= goal
    assert 1 + np.argmax(curve <= goal) < needed / 2


def test_it_stops_when_the_objective_rests():
    X, y = make()
    model = model_for(tol=1e-4, n_iter_no_change=3, max_iter=200)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(X, y)
    assert model.n_iter_ < 100
    curve = np.array(model.loss_curve_)
    still = [objective >= best - 1e-4 for objective, best in zip(
        curve[1:], np.minimum.accumulate(curve)[:-1], strict=True
    )]  # fmt: skip
    assert all(still[-3:]) and not still[-4]
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        model.set_params(max_iter=2).fit(X, y)
    assert model.n_iter_ == 2


# Threads and types


@pytest.mark.around(loss="squared_error", dtype=np.float64)
@pytest.mark.parametrize("loss, n_classes", LOSSES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_number_of_threads_does_not_matter_where_they_share(dtype, loss, n_classes, monkeypatch):
    monkeypatch.setattr(columns, "THREAD_WORK", 50)
    share, n_shared = columns.Sweeper._share, []

    def counted(self, *arguments):
        share(self, *arguments)
        n_shared.append(sum(len(bounds) > 2 for bounds in self.stretches))

    monkeypatch.setattr(columns.Sweeper, "_share", counted)
    X, y = make(loss, n_classes, "onehot", n_rows=size(1000, 150))
    X = sparse.csr_matrix(X.astype(dtype))
    models = [
        model_for(loss, n_classes, max_iter=size(12, 2), n_jobs=n_jobs).fit(X, y)
        for n_jobs in (1, 2, 3)
    ]
    assert n_shared == [0, 3, 3]
    for other in models[1:]:
        assert_same(other, models[0])
        assert other.loss_curve_ == models[0].loss_curve_


@pytest.mark.parametrize("loss, n_classes", LOSSES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_float32_stays_float32(layout, loss, n_classes):
    X, y = make(loss, n_classes, layout)
    options = {"max_iter": size(20, 3), "n_components": 3}
    wide = model_for(loss, n_classes, **options).fit(X, y)
    model = model_for(loss, n_classes, **options).fit(X.astype(np.float32), y)
    assert model.coef_.dtype == model.components_.dtype == np.float32
    assert raw(model, X.astype(np.float32)).dtype == np.float32
    assert wide.coef_.dtype == raw(wide, X).dtype == np.float64
    assert_allclose(model.loss_curve_[-1], wide.loss_curve_[-1], rtol=0.02)
    assert_never_rises(model.loss_curve_, relative=1e-4, absolute=2 * LEAST_ERROR)


def test_format_of_X_does_not_matter():
    X, y = make(layout="onehot")
    dense = model_for(max_iter=3).fit(X, y)
    for form in sparse.csr_matrix, sparse.csc_matrix, sparse.coo_array:
        assert_same(model_for(max_iter=3).fit(form(X), y), dense)


# Ridge regression


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_without_components_it_is_ridge_regression(layout, fit_intercept, weighted):
    X, y = make(layout=layout)
    weight = np.random.default_rng(1).uniform(0.2, 3, size=len(y)) if weighted else None
    options = {"alpha_linear": 20.0, "fit_intercept": fit_intercept}
    model = model_for(n_components=0, max_iter=size(300, 150), **options).fit(X, y, weight)
    # Standardised targets: the penalty means the same, as both terms are divided by the variance.
    ridge = Ridge(alpha=20.0, fit_intercept=fit_intercept).fit(X, y, weight)
    assert_allclose(model.coef_, ridge.coef_, rtol=1e-6, atol=1e-6)
    assert_allclose(model.intercept_, ridge.intercept_, rtol=1e-6, atol=1e-6)
    assert model.components_.shape == (0, X.shape[1])


@pytest.mark.parametrize("loss, n_classes", LOSSES)
def test_parts_that_are_not_fitted_are_zero(loss, n_classes):
    X, y = make(loss, n_classes)
    options = {"max_iter": size(20, 3), "n_components": 2}
    model = model_for(loss, n_classes, fit_linear=False, **options).fit(X, y)
    assert not model.coef_.any() and model.components_.any() and np.all(model.intercept_)
    model = model_for(loss, n_classes, fit_intercept=False, **options).fit(X, y)
    assert not np.any(model.intercept_) and model.components_.any() and model.coef_.any()
    nothing = model_for(loss, n_classes, fit_linear=False, n_components=0, max_iter=3).fit(X, y)
    assert not nothing.coef_.any()
    assert np.ptp(raw(nothing, X), axis=0).max() == 0


# Penalties


def with_duplicates(layout):
    X, _ = make(layout=layout)
    return np.hstack([X, X[:, :3], np.ones((len(X), 1))])


@pytest.mark.pairwise
@pytest.mark.parametrize("n_rows", [None, 9])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("loss, n_classes", LOSSES)
def test_without_penalties_duplicate_columns_do_no_harm(loss, n_classes, layout, n_rows):
    X, y = with_duplicates(layout)[:n_rows], make(loss, n_classes, layout)[1][:n_rows]
    y[:3] = 0, 1, 2 if n_classes != 2 else 0
    model = model_for(loss, n_classes, alpha=0.0, alpha_linear=0.0, max_iter=size(60, 5))
    model.fit(X, y)
    assert is_finite(model, X)
    assert_keeps_what_was_reached(model)


def assert_keeps_what_was_reached(model):
    """Rounding may cost something, but not much."""
    curve = model.loss_curve_
    smoothing = 2 * LEAST_ERROR if model.loss in ROBUST else 0
    assert curve[-1] <= 1.02 * min(curve) + 1e-4 + smoothing


@pytest.mark.pairwise
@pytest.mark.parametrize("n_columns", [2, 6])
@pytest.mark.parametrize("n_rows", [20, 250])
@pytest.mark.parametrize("loss, n_classes", LOSSES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_without_penalties_it_does_not_go_astray(dtype, loss, n_classes, n_rows, n_columns):
    for seed in range(size(3, 1)):
        X, y = make(loss, n_classes, n_rows=n_rows, seed=seed)
        model = model_for(loss, n_classes, alpha=0.0, alpha_linear=0.0, max_iter=size(100, 3))
        model.fit(X[:, :n_columns].astype(dtype), y)
        assert_keeps_what_was_reached(model)


@pytest.mark.pairwise
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("factor", [1e-6, 1e-3, 1e3, 1e5, 1e7])
@pytest.mark.parametrize("loss, n_classes", LOSSES)
def test_columns_that_are_not_scaled_do_not_go_astray(loss, n_classes, factor, dtype):
    """With the default penalties, which mean the less the larger the columns are."""
    for seed in range(size(4, 1)):
        X, y = make(loss, n_classes, seed=seed)
        X = (X[:, :2] * factor).astype(dtype)
        model = quietly(model_for(loss, n_classes, tol=1e-4, max_iter=size(100, 3)).fit, X, y)
        assert is_finite(model, X)
        assert_keeps_what_was_reached(model)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", ["alpha", "alpha_linear"])
def test_one_penalty_alone_may_be_zero_or_huge(name, dtype):
    X, y = make()
    X = X.astype(dtype)
    for value in 0.0, 1e-300, 1e30, 1e300:
        model = model_for(max_iter=size(30, 5), **{name: value}).fit(X, y)
        assert is_finite(model, X)
        assert model.score(X, y) > 0.2
        part = model.components_ if name == "alpha" else model.coef_
        assert (abs(part).max() < 1e-10) == (value > 1)


def test_only_ftrl_takes_penalties_of_length():
    X, y = make()
    for name in "alpha_l1", "alpha_l21":
        with pytest.raises(ValueError, match=f"{name} requires solver='ftrl'"):
            model_for(**{name: 1.0}).fit(X, y)


def test_groups_of_penalties_are_those_of_a_ridge_regression():
    X, y = make()
    groups, linear = ["a", "a", "b", "b", "c", "c"], {"a": 0.1, "b": 30.0, "c": 4.0}
    model = model_for(
        n_components=0, alpha_linear=linear, feature_groups=groups, max_iter=size(300, 100)
    ).fit(X, y)
    ridge = np.diag([linear[label] for label in groups])
    centered = X - X.mean(axis=0)
    solution = np.linalg.solve(centered.T @ centered + ridge, centered.T @ (y - y.mean()))
    assert_allclose(model.coef_, solution, rtol=1e-6)


def test_groups_of_penalties_of_factors():
    X, y = make()
    groups = np.repeat(["a", "b"], 3)
    options = {"max_iter": size(200, 40), "n_components": 2, "alpha_linear": [0.5, 2.0]}
    model = model_for(alpha={"a": 1e6, "b": 0.1}, feature_groups=groups, **options).fit(X, y)
    assert abs(model.components_[:, :3]).max() < 1e-3 < abs(model.components_[:, 3:]).max()
    model = model_for(alpha={"a": 1.0, "b": 0.1}, feature_groups=groups, **options).fit(X, y)
    parameters, target, kind = as_reference(model, y)
    alpha, linear = np.repeat([1.0, 0.1], 3), np.repeat([0.5, 2.0], 3)
    slopes = reference.gradient(parameters, X, target, None, kind, alpha, linear)
    size_of_slopes = max(abs(part).max() for part in slopes)
    assert size_of_slopes < size(1e-5, 1e-2) * len(y)
    plain = model_for(alpha=1.0, **{**options, "alpha_linear": 2.0}).fit(X, y)
    equal = model_for(alpha=[1.0, 1.0], feature_groups=groups, **options)
    assert_same(equal.set_params(alpha_linear={"a": 2.0, "b": 2.0}).fit(X, y), plain)


# Rows and columns


@pytest.mark.parametrize("loss, n_classes", LOSSES)
def test_columns_never_seen_get_zeros_and_constant_ones_are_fine(loss, n_classes):
    X, y = make(loss, n_classes)
    X[:, 2], X[:, 4] = 0, 3
    weight = np.ones(len(y))
    weight[:2] = 0
    X = np.column_stack([X, np.arange(len(y)) < 2])  # seen in rows of weight zero alone
    model = model_for(loss, n_classes, max_iter=size(30, 3)).fit(X, y, weight)
    for j in 2, 6:
        assert not model.coef_[..., j].any() and not model.components_[..., j].any()
    assert is_finite(model, X)
    constant = np.full((len(y), 1), 1.0)
    model = model_for(loss, n_classes, max_iter=3).fit(constant, y)
    assert is_finite(model, X[:, :1]) and np.ptp(raw(model, constant), axis=0).max() == 0


@pytest.mark.parametrize("loss, n_classes", [("squared_error", 0), ("log_loss", 2)])
def test_no_entries_at_all(loss, n_classes):
    _, y = make(loss, n_classes)
    X = sparse.csr_matrix((len(y), 3))
    model = model_for(loss, n_classes, max_iter=3).fit(X, y)
    if n_classes:
        assert_allclose(model.predict_proba(np.ones((1, 3)))[:, 1], y.mean(), rtol=1e-6)
    else:
        assert_allclose(model.predict(np.ones((1, 3))), y.mean(), rtol=1e-6)


def test_one_row_and_equal_targets():
    model = model_for(max_iter=5).fit([[1.0, 2.0]], [3.0])
    assert_allclose(model.predict([[1.0, 2.0]]), 3.0)
    X, _ = make()
    assert_allclose(model_for(max_iter=5).fit(X, np.full(len(X), 7.0)).predict(X), 7.0)


@pytest.mark.parametrize("loss, n_classes", LOSSES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_weight_is_repetition(layout, loss, n_classes):
    X, y = make(loss, n_classes, layout, n_rows=80)
    times = np.arange(len(y)) % 3
    options = {"max_iter": size(15, 3), "n_components": 3}
    weighted = model_for(loss, n_classes, **options).fit(X, y, times)
    repeated = model_for(loss, n_classes, **options)
    repeated.fit(np.repeat(X, times, axis=0), np.repeat(y, times))
    assert_allclose(weighted.loss_curve_, repeated.loss_curve_, rtol=1e-6)
    assert_allclose(raw(weighted, X), raw(repeated, X), rtol=1e-5, atol=1e-5)


# Going on, and stopping


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("loss, n_classes", LOSSES)
def test_warm_start_continues(loss, n_classes, layout):
    X, y = make(loss, n_classes, layout)
    whole = model_for(loss, n_classes, max_iter=8).fit(X, y)
    parts = model_for(loss, n_classes, max_iter=4, warm_start=True).fit(X, y)
    curve = list(parts.loss_curve_)
    assert curve == whole.loss_curve_[:4]
    objective = mean_objective(parts, X, y)
    parts.fit(X, y)
    assert parts.loss_curve_[0] < objective
    assert_allclose(curve + parts.loss_curve_, whole.loss_curve_, rtol=1e-6)
    assert_allclose(raw(parts, X), raw(whole, X), rtol=1e-4, atol=1e-4)


def test_it_goes_on_from_another_solver_and_the_other_way_round():
    X, y = make()
    model = model_for(solver="adagrad", max_iter=10, warm_start=True).fit(X, y)
    before = mean_objective(model, X, y)
    model.set_params(solver="als").fit(X, y)
    assert model.loss_curve_[0] < before
    before = mean_objective(model, X, y)
    model.set_params(solver="adagrad", max_iter=1).fit(X, y)
    assert_allclose(model.loss_curve_[0], before, rtol=1e-9)


@pytest.mark.parametrize("loss, n_classes", LOSSES)
def test_early_stopping_keeps_the_best_sweep(loss, n_classes):
    X, y = make(loss, n_classes, "onehot", n_rows=size(400, 100))
    cut = 3 * len(y) // 4
    train, held_out = (X[:cut], y[:cut]), (X[cut:], y[cut:])
    options = {"alpha": 0.01, "alpha_linear": 0.01, "n_components": 4}
    model = model_for(loss, n_classes, n_iter_no_change=3, max_iter=size(60, 8), **options)
    model.fit(*train, X_val=held_out[0], y_val=held_out[1])
    scores = model.validation_scores_
    assert len(scores) == model.n_iter_ == len(model.loss_curve_)
    assert model.n_iter_ < 60 or loss in ROBUST
    best = int(np.argmax(scores)) + 1
    shorter = model_for(loss, n_classes, max_iter=best, **options).fit(*train)
    assert_same(model, shorter)


def test_rows_are_set_aside_for_early_stopping():
    X, y = make()
    model = model_for(early_stopping=True, max_iter=size(60, 8), tol=1e-4).fit(X, y)
    assert len(model.validation_scores_) == model.n_iter_
    assert not hasattr(model_for(max_iter=2).fit(X, y), "validation_scores_")


def test_a_callback_sees_each_sweep_and_stops():
    X, y = make()
    heard = []

    def callback(model, number, objective):
        heard.append((number, objective, model.predict(X)))
        return number == 4

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = model_for(callback=callback, max_iter=50).fit(X, y)
    assert model.n_iter_ == 4 and [number for number, *_ in heard] == [1, 2, 3, 4]
    assert [objective for _, objective, _ in heard] == model.loss_curve_
    assert_same(model, model_for(max_iter=4).fit(X, y))
    for number, _, predicted in heard:
        assert_array_equal(predicted, model_for(max_iter=number).fit(X, y).predict(X))


def test_verbose_writes_progress_to_stderr(capfd):
    X, y = make()
    model_for(max_iter=3, verbose=1).fit(X, y)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "3/3" in captured.err and "rows/s" in captured.err and "loss" in captured.err
    model_for(max_iter=3).fit(X, y)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("make_model", [FMRegressor, FMClassifier])
def test_there_is_no_partial_fit(make_model):
    model = make_model(solver="als")
    assert not hasattr(model, "partial_fit") and hasattr(make_model(), "partial_fit")
    with pytest.raises(AttributeError) as caught:
        model.partial_fit  # noqa: B018
    message = f"{caught.value} {caught.value.__cause__}"
    assert "solver='als'" in message and "partial_fit" in message and "'adagrad'" in message


def test_partial_fit_with_another_solver_does_not_go_on_from_it():
    X, y = make()
    model = model_for(max_iter=2).fit(X, y).set_params(solver="adagrad")
    with pytest.raises(ValueError, match=r"solver='als' \(now 'adagrad'\).*fit"):
        model.partial_fit(X, y)


# Numbers too large


@pytest.mark.parametrize("loss", ["log_loss", "squared_hinge"])
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_separable_classes_do_not_overflow(dtype, n_classes, loss):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4)).astype(dtype)
    y = np.digitize(X[:, 0], [0.0] if n_classes == 2 else [-0.5, 0.5])
    model = model_for(loss, n_classes, n_components=0, alpha_linear=0.0, max_iter=size(300, 30))
    model.fit(X, y)
    assert is_finite(model, X)
    assert_never_rises(model.loss_curve_, relative=1e-4)
    if n_classes == 2:
        assert model.score(X, y) == 1 and model.loss_curve_[-1] < size(0.02, 0.1)
    if loss == "log_loss":
        assert np.isfinite(log_loss(y, model.predict_proba(X)))


HUGE = [(np.float64, 1e150), (np.float64, 1e300), (np.float32, 1e20), (np.float32, 1e37)]


@pytest.mark.pairwise
@pytest.mark.parametrize("where", ["y", "one y", "X", "a column", "one value"])
@pytest.mark.parametrize("dtype, factor", HUGE)
@pytest.mark.parametrize("loss, n_classes", LOSSES)
def test_huge_numbers_end_well_or_in_an_error(loss, n_classes, dtype, factor, where):
    X, y = make(loss, n_classes)
    if "y" in where.split():
        if n_classes:
            pytest.skip("labels have no size")
        y[slice(None) if where == "y" else 5] *= factor
    elif where == "one value":
        X[3, 2] = factor
    else:
        X[:, slice(None) if where == "X" else 2] *= factor
    X = X.astype(dtype)
    model = model_for(loss, n_classes, tol=1e-4, max_iter=size(20, 3))
    try:
        quietly(model.fit, X, y)
    except ValueError as error:
        if loss == "poisson" and "y" in where.split():
            assert "divide y by a constant" in str(error)
        else:
            assert "scale" in str(error).lower()
            assert "float64" in str(error) or "too large to be squared" in str(error)
        assert not hasattr(model, "coef_")
        return
    assert all(np.isfinite(part).all() for part in parameters_of(model))
    assert is_finite(model, X)


@pytest.mark.pairwise
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("init_scale", [100.0, 1e6, 1e100])
@pytest.mark.parametrize("loss, n_classes", LOSSES)
def test_absurd_init_scale_never_ends_silently_far_off(loss, n_classes, init_scale, dtype):
    """Either an error or a warning says so, or the model is not far worse than the intercept."""
    X, y = make(loss, n_classes)
    X = X.astype(dtype)
    model = model_for(loss, n_classes, init_scale=init_scale, tol=1e-4, max_iter=size(100, 5))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model.fit(X, y)
    except (ValueError, UserWarning, RuntimeWarning):
        return
    nothing = quietly(model_for(loss, n_classes, n_components=0, fit_linear=False).fit, X, y)
    assert model.loss_curve_[-1] < 1.1 * nothing.loss_curve_[-1] + 0.01


def test_an_objective_that_is_not_finite_is_an_error(monkeypatch):
    X, y = make()
    model = model_for(max_iter=3).fit(X, y)
    before = clone(model).fit(X, y)
    monkeypatch.setattr(coordinate_descent._Descent, "mean_loss", lambda self: np.nan)
    with pytest.raises(ValueError, match=r"diverged.*Scale the columns of X"):
        model.fit(X, y)
    assert_same(model, before)


# With the rest of scikit-learn


@pytest.mark.parametrize("loss, n_classes", LOSSES)
def test_pickle_and_clone(loss, n_classes):
    X, y = make(loss, n_classes)
    model = model_for(loss, n_classes, max_iter=3, warm_start=True).fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    assert_same(again, model)
    assert_array_equal(again.predict(X), model.predict(X))
    fresh = clone(model)
    assert fresh.get_params() == model.get_params() and not hasattr(fresh, "coef_")
    assert_same(fresh.fit(X, y), model)
    assert_same(again.fit(X, y), model.fit(X, y))  # both go on


def test_random_state():
    X, y = make()
    one, other = (model_for(max_iter=2, random_state=seed).fit(X, y) for seed in (0, 1))
    assert (one.components_ != other.components_).all()
    assert_same(one, model_for(max_iter=2).fit(X, y))
