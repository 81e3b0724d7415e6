"""After each epoch: early stopping and the callback; penalties by group."""

import copy
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import reference
from builders import GIVEN, LOSSES, MINIBATCH_SOLVERS, RATES
from helpers import JIT, size
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.optimize import minimize
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import (
    check_scoring,
    log_loss,
    make_scorer,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
)
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skfm import FMClassifier, FMRegressor
from skfm._solvers.fm import minibatch
from skfm._solvers.fm.coordinate_descent import _Descent
from skfm._solvers.fm.minibatch import Trainer
from skfm._utils import validation as checks
from skfm.datasets import make_fm_regression

pytestmark = pytest.mark.filterwarnings("ignore")


def make(loss="squared_error", n_classes=0, n_rows=None):
    n_rows = n_rows or size(900, 300)
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
    parameters = {
        "random_state": 0,
        "alpha": 0.01,
        "alpha_linear": 5.0,
        "max_iter": size(60, 5),
        **parameters,
    }
    if n_classes:
        return FMClassifier(**parameters)
    return FMRegressor(epsilon=reference.HUBER_EPSILON, quantile=reference.QUANTILE, **parameters)


def assert_same(model, other):
    assert_array_equal(model.intercept_, other.intercept_)
    assert_array_equal(model.coef_, other.coef_)
    assert_array_equal(model.components_, other.components_)


# Early stopping


@pytest.mark.around(solver="adagrad", loss="squared_error")
@pytest.mark.parametrize("loss, n_classes", LOSSES)
@pytest.mark.parametrize("solver", MINIBATCH_SOLVERS)
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
    assert best <= model.n_iter_ - model.n_iter_no_change < 60 or not JIT
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
    with pytest.raises(ValueError, match="X_val and y_val require early stopping"):
        FMClassifier(early_stopping=False).fit(*train, **validation)
    with pytest.raises(ValueError, match="validation_fraction"):
        FMClassifier(early_stopping=True).fit(X[:4], [0, 0, 0, 1])


def count_calls(monkeypatch, place, name):
    """A list that grows by each call of a function or method."""
    calls, function = [], getattr(place, name)

    def counted(*arguments, **options):
        calls.append(arguments)
        return function(*arguments, **options)

    monkeypatch.setattr(place, name, counted)
    return calls


@pytest.mark.parametrize("scoring", ["loss", "r2"])
def test_validation_rows_are_checked_once(scoring, monkeypatch):
    X, y = make()
    train, validation = split(pd.DataFrame(X.toarray()).add_prefix("x"), y)
    checked = count_calls(monkeypatch, checks, "validate_data")
    for max_iter in (2, 5):
        model = model_for(scoring=scoring, max_iter=max_iter, tol=0.0)
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(*train, **validation)
        assert len(model.validation_scores_) == max_iter
        assert len(checked) == 2
        checked.clear()
    model.predict(validation["X_val"])
    assert len(checked) == 1 and "_checked_rows" not in vars(model)


@pytest.mark.parametrize("solver", ["adagrad", "als"])
def test_a_listener_costs_no_copy_of_the_parameters(solver, monkeypatch):
    """Training copies them once an epoch, to return to them; a listener gets that copy."""
    X, y = make()
    train, validation = split(X, y)
    owner, name = (_Descent, "parameters") if solver == "als" else (Trainer, "parameters")
    copies = count_calls(monkeypatch, owner, name)

    def copies_an_epoch(**options):
        numbers = []
        for max_iter in (2, 5):
            copies.clear()
            model = model_for(solver=solver, max_iter=max_iter, tol=0.0, **options)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                model.fit(*train, **(validation if "callback" not in options else {}))
            numbers.append(len(copies))
        return (numbers[1] - numbers[0]) / 3

    assert copies_an_epoch(early_stopping=True) == 1
    assert copies_an_epoch(callback=lambda *told: None) == 1


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


@pytest.mark.around(solver="adagrad", n_classes=0)
@pytest.mark.parametrize("batch_size", ["auto", 200])
@pytest.mark.parametrize("n_classes", [0, 2, 3])
@pytest.mark.parametrize("solver", MINIBATCH_SOLVERS)
def test_a_stop_is_that_of_a_shorter_fit_for_every_solver(
    solver, n_classes, batch_size, monkeypatch
):
    """With short steps, so that the objective falls all the time, and without leaving saddle
    points, where the longer fit would go on otherwise than the shorter one."""
    monkeypatch.setattr(Trainer, "leave_saddle", lambda self: False)
    train, validation = split(*make(n_classes=n_classes))
    rate = {"adagrad": 0.1, "adam": 0.02, "ftrl": 0.02, "sgd": 0.02}[solver]
    options = {
        "solver": solver, "learning_rate": rate, "batch_size": batch_size, "n_iter_no_change": 3
    }  # fmt: skip
    model = model_for(n_classes, tol=0.002, max_iter=size(200, 5), **options)
    model.fit(*train, **validation)
    best = int(np.argmax(model.validation_scores_)) + 1
    assert best <= model.n_iter_ < 200
    assert_same(model, model_for(n_classes, max_iter=best, tol=0, **options).fit(*train))


def test_it_stops_when_the_score_rests():
    """After so many epochs none of which was better than all before by tol.

    Epochs of one or two batches say little: there are at least 20 batches without progress.
    """
    train, validation = split(*make())
    n_rows = len(train[1])
    for tol, patience, n_batches in ((0.0, 2, 10), (0.01, 2, 10), (0.01, 4, 10), (0.0, 2, 1)):
        batch_size = -(-n_rows // n_batches)
        model = model_for(tol=tol, n_iter_no_change=patience, batch_size=batch_size)
        model.fit(*train, **validation)
        patience = max(patience, 20 // n_batches)
        scores = model.validation_scores_
        still, best = 0, -np.inf
        for epoch, score in enumerate(scores, start=1):
            still = 0 if score > best + tol else still + 1
            best = max(best, score)
            assert still < patience or epoch == model.n_iter_
        assert still == patience or not JIT


def test_scores_are_there_only_with_early_stopping():
    X, y = make()
    train, validation = split(X, y)
    model = model_for(max_iter=3)
    assert not hasattr(model.fit(*train), "validation_scores_")
    assert len(model.fit(*train, **validation).validation_scores_) == 3
    assert not hasattr(model.fit(*train), "validation_scores_")
    model.set_params(early_stopping=True).fit(X, y)
    assert len(model.validation_scores_) == 3
    model.set_params(early_stopping=False).fit(X, y)
    assert not hasattr(model, "validation_scores_")


def each_row_a_column(n_rows, n_classes=0):
    """Rows with a column of their own: it gets a weight if the row is trained on."""
    rng = np.random.default_rng(0)
    y = rng.integers(n_classes, size=n_rows) if n_classes else rng.normal(size=n_rows)
    return sparse.identity(n_rows, format="csr"), y


@pytest.mark.parametrize("fraction, n_held_out", [(0.1, 20), (0.5, 100), (7, 7), (150, 150)])
def test_rows_set_aside_are_not_trained_on(fraction, n_held_out):
    X, y = each_row_a_column(200)

    def held_out(seed, **options):
        aside = {"early_stopping": True, "validation_fraction": fraction, "refit": False}
        model = FMRegressor(2, max_iter=2, random_state=seed, **aside)
        return model.fit(X, y, **options).coef_ == 0

    assert held_out(0).sum() == n_held_out
    assert_array_equal(held_out(0), held_out(0))
    assert (held_out(0) != held_out(1)).any()
    # Rows of weight 0 are neither.
    weight = (np.arange(200) > 0).astype(float)
    expected = n_held_out if isinstance(fraction, int) else np.ceil(fraction * 199)
    assert held_out(0, sample_weight=weight).sum() == expected + 1


def test_of_each_class_its_share_is_set_aside():
    X, y = each_row_a_column(300, n_classes=3)
    y[:30], y[30:] = 2, y[30:] % 2
    labels = np.array(["a", "b", "c"])[y]
    options = {"early_stopping": True, "validation_fraction": 0.2, "refit": False}
    model = FMClassifier(2, max_iter=2, random_state=0, **options).fit(X, labels)
    aside = y[(model.coef_ == 0).all(axis=0)]
    assert_allclose(np.bincount(aside), 0.2 * np.bincount(y), atol=1)


@pytest.mark.parametrize(
    "model, labels",
    [
        (FMClassifier(early_stopping=True), [0, 0, 0, 0, 0, 1]),
        (FMClassifier(early_stopping=True, validation_fraction=1), [0, 0, 0, 1, 1, 1]),
        (FMRegressor(early_stopping=True, validation_fraction=6), [1, 2, 3, 4, 5, 6]),
        (FMRegressor(early_stopping=True), [1]),
    ],
)
def test_too_few_rows_to_set_some_aside(model, labels):
    with pytest.raises(ValueError, match="early_stopping cannot hold out validation_fraction"):
        model.fit(np.eye(len(labels)), labels)
    assert not hasattr(model, "n_features_in_")


# The refit


def test_a_refit_trains_on_the_rows_set_aside():
    X, y = each_row_a_column(200)
    model = FMRegressor(2, early_stopping=True, max_iter=2, random_state=0)
    assert (model.fit(X, y).coef_ != 0).all()


@pytest.mark.around(solver="adagrad", n_classes=0)
@pytest.mark.parametrize("n_classes", [0, 2, 3])
@pytest.mark.parametrize("solver", [*MINIBATCH_SOLVERS, "als"])
def test_a_refit_is_a_fit_with_the_best_number_of_epochs(solver, n_classes, monkeypatch):
    # Where a saddle point was left before, there is no second fit.
    monkeypatch.setattr(minibatch.Trainer, "leave_saddle", lambda self: False)
    X, y = make(n_classes=n_classes)
    weight = np.random.default_rng(0).uniform(0, 2, len(y))
    options = {"solver": solver, "tol": 1e-3}
    model = model_for(n_classes, early_stopping=True, **options).fit(X, y, weight)
    best = int(np.argmax(model.validation_scores_)) + 1
    plain = model_for(n_classes, **options | {"max_iter": best}).fit(X, y, weight)
    assert_same(model, plain)
    assert_same(model.fit(X, y, weight), plain)
    first = model_for(n_classes, early_stopping=True, refit=False, **options).fit(X, y, weight)
    assert first.validation_scores_ == model.validation_scores_
    assert first.loss_curve_ == model.loss_curve_ and first.n_iter_ == model.n_iter_
    assert not np.array_equal(first.coef_, plain.coef_)


def test_further_rows_go_on_from_a_refit():
    X, y = make()
    model = model_for(early_stopping=True).fit(X, y)
    best = int(np.argmax(model.validation_scores_)) + 1
    plain = model_for(max_iter=best).fit(X, y)
    model.set_params(early_stopping=False)
    assert_same(model.partial_fit(X[:50], y[:50]), plain.partial_fit(X[:50], y[:50]))


def test_no_refit_where_nothing_is_missing_or_the_next_fit_starts_from_here():
    X, y = make()
    train, validation = split(X, y)
    for fit, options in (
        (lambda model: model.fit(*train, **validation), {}),
        (lambda model: model.fit(X, y), {"early_stopping": True, "warm_start": True}),
    ):
        calls = []
        model = model_for(callback=lambda *call, calls=calls: calls.append(call[1]), **options)
        fit(model)
        assert calls == list(range(1, model.n_iter_ + 1))


def test_a_callback_hears_the_refit_and_may_stop_it():
    X, y = make()
    heard = []
    options = {"early_stopping": True, "tol": 1e-3}
    model = model_for(callback=lambda *call: heard.append(call[1]), **options).fit(X, y)
    best = int(np.argmax(model.validation_scores_)) + 1
    assert heard == list(range(1, model.n_iter_ + best + 1))
    first = model_for(refit=False, **options).fit(X, y)
    for last in (model.n_iter_, model.n_iter_ + 1):  # before the refit, and in it
        stopped = model_for(callback=lambda *call, last=last: call[1] == last, **options)
        assert_same(stopped.fit(X, y), first)
        assert stopped.validation_scores_ == first.validation_scores_


@pytest.mark.parametrize("n_classes", [0, 2])
def test_scores_are_weighted(n_classes):
    X, y = make(n_classes=n_classes)
    train, validation = split(X, y)
    X_val, y_val = validation.values()
    weight = np.random.default_rng(0).uniform(0, 3, len(y_val))
    for scoring in ("loss", None, "neg_log_loss" if n_classes else "r2"):
        model = model_for(n_classes, scoring=scoring)
        model.fit(*train, **validation, sample_weight_val=weight)
        if scoring is None:
            by_hand = model.score(X_val, y_val, sample_weight=weight)
        elif n_classes:
            by_hand = -log_loss(y_val, model.predict_proba(X_val), sample_weight=weight)
        elif scoring == "loss":
            squares = ((model.predict(X_val) - y_val) / train[1].std()) ** 2
            by_hand = -np.average(squares, weights=weight) / 2
        else:
            by_hand = r2_score(y_val, model.predict(X_val), sample_weight=weight)
        assert_allclose(by_hand, max(model.validation_scores_))


@pytest.mark.around(solver="adagrad", dtype=np.float64)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("solver", MINIBATCH_SOLVERS)
def test_number_of_threads_does_not_matter_with_early_stopping(solver, dtype):
    X, y = make(n_rows=size(4000, 200))
    (X, y), validation = split(X.astype(dtype), y)
    models = [
        model_for(solver=solver, n_jobs=n_jobs, max_iter=6).fit(X, y, **validation)
        for n_jobs in (1, 2, 3)
    ]
    for other in models[1:]:
        assert_same(other, models[0])
        assert other.validation_scores_ == models[0].validation_scores_


def test_bad_validation_rows_leave_a_fitted_model_alone():
    X, y = make()
    train, validation = split(X, y)
    X_val, y_val = validation.values()
    model = model_for(max_iter=3).fit(*train, **validation)
    before = pickle.dumps(model)
    bad_y, bad_X = y_val.copy(), X_val.copy()
    bad_y[3] = bad_X.data[3] = np.inf
    ones = np.ones(len(y_val))
    for options, message in (
        ({"X_val": bad_X, "y_val": y_val}, "infinity"),
        ({"X_val": X_val, "y_val": bad_y}, "infinity"),
        ({"X_val": X_val, "y_val": y_val.astype(str)}, "numbers"),
        ({"X_val": X_val[:0], "y_val": y_val[:0]}, "0 sample"),
        ({**validation, "sample_weight_val": ones[1:]}, "sample_weight"),
        ({**validation, "sample_weight_val": 0 * ones}, "zero"),
        ({**validation, "sample_weight_val": np.nan * ones}, "NaN"),
        ({"X_val": X_val, "y_val": y_val, "sample_weight": -train[1]}, "negative"),
    ):
        with pytest.raises(ValueError, match=message):
            model.fit(*train, **options)
        assert pickle.dumps(model) == before
    with pytest.raises(ValueError, match="y_val must contain counts"):
        model_for(loss="poisson").fit(train[0], abs(train[1]), X_val=X_val, y_val=y_val)


@pytest.mark.parametrize("max_iter", [8, 40])
@pytest.mark.parametrize("learning_rate", [10.0, 1e3, 1e4])
@pytest.mark.parametrize("solver", MINIBATCH_SOLVERS)
def test_divergence_does_not_end_far_off(solver, learning_rate, max_iter):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 6)), rng.normal(size=300)
    model = FMRegressor(
        solver=solver,
        learning_rate=learning_rate,
        early_stopping=True,
        max_iter=max_iter,
        random_state=0,
    )
    try:
        model.fit(X, y)
    except ValueError as error:
        assert "diverged" in str(error)
        return
    scores = np.array(model.validation_scores_)
    assert len(scores) == model.n_iter_ and not np.isnan(scores).any()
    assert model.score(X, y) > -1


def test_early_stopping_with_warm_start():
    train, validation = split(*make())
    X_val, y_val = validation.values()
    model = model_for(max_iter=3, warm_start=True).fit(*train, **validation)
    first = max(model.validation_scores_)
    model.set_params(max_iter=size(30, 5)).fit(*train, **validation)
    assert max(model.validation_scores_) > first
    squares = ((model.predict(X_val) - y_val) / train[1].std()) ** 2
    assert_allclose(max(model.validation_scores_), -squares.mean() / 2)


def test_in_a_pipeline():
    """The steps before transform X_val, too."""
    rng = np.random.default_rng(0)
    table, y = rng.integers(8, size=(900, 2)).astype(str), rng.normal(size=900)
    (X, y), validation = split(table, y)
    with config_context(enable_metadata_routing=True):
        model = model_for().set_fit_request(X_val=True, y_val=True)
        pipeline = make_pipeline(OneHotEncoder(), model, transform_input=["X_val"])
        pipeline.fit(X, y, **validation)
    encoder = OneHotEncoder().fit(X)
    validation["X_val"] = encoder.transform(validation["X_val"])
    direct = model_for().fit(encoder.transform(X), y, **validation)
    assert_same(pipeline[-1], direct)
    assert pipeline[-1].validation_scores_ == direct.validation_scores_


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


def loudly(calls):
    """A callback that notes its calls and uses the model."""

    def callback(model, epoch, loss):
        raw = model.decision_function if isinstance(model, FMClassifier) else model.predict
        calls.append((epoch, loss, raw(calls_X)))

    calls_X = make(n_rows=20)[0]
    return callback


@pytest.mark.parametrize("n_classes", [0, 3])
@pytest.mark.parametrize("solver", MINIBATCH_SOLVERS)
def test_a_callback_does_not_change_the_training(solver, n_classes):
    X, y = make(n_classes=n_classes)
    calls = []
    options = {"solver": solver, "max_iter": 6, "batch_size": 200}
    loud = model_for(n_classes, callback=loudly(calls), **options).fit(X, y)
    quiet = model_for(n_classes, **options).fit(X, y)
    assert_same(loud, quiet)
    assert loud.loss_curve_ == quiet.loss_curve_ == [loss for _, loss, _ in calls]
    assert [epoch for epoch, *_ in calls] == [1, 2, 3, 4, 5, 6]
    outputs = [output for *_, output in calls]
    assert all(np.isfinite(output).all() for output in outputs)
    assert not np.array_equal(outputs[0], outputs[-1])


def test_callback_with_early_stopping_warm_start_and_streams():
    X, y = make()
    train, validation = split(X, y)
    calls = []
    model = model_for(callback=loudly(calls), max_iter=4, warm_start=True)
    model.fit(*train, **validation)
    assert [loss for _, loss, _ in calls] == model.loss_curve_
    model.fit(*train)
    assert [loss for _, loss, _ in calls[4:]] == model.loss_curve_
    assert [epoch for epoch, *_ in calls] == 2 * [1, 2, 3, 4]
    model.partial_fit(*train)
    assert calls[-1][:2] == (5, model.loss_curve_[-1])


def test_a_callback_that_stops_leaves_the_best_epoch_of_early_stopping():
    train, validation = split(*make())
    X_val, y_val = validation.values()
    model = model_for(callback=lambda model, epoch, loss: epoch == 2, tol=0)
    model.fit(*train, **validation)
    assert model.n_iter_ == len(model.validation_scores_) == 2
    squares = ((model.predict(X_val) - y_val) / train[1].std()) ** 2
    assert_allclose(max(model.validation_scores_), -squares.mean() / 2)


def test_stopped_by_a_callback_is_no_lack_of_convergence():
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        model_for(callback=lambda *_: np.True_, max_iter=2).fit(*make())


class Interruption(BaseException):
    """As KeyboardInterrupt is, no Exception."""


@pytest.mark.parametrize("name", ["callback", "scoring"])
@pytest.mark.parametrize("is_fitted", [False, True])
def test_an_interruption_leaves_the_model_from_before(is_fitted, name):
    X, y = make()
    train, validation = split(X, y)
    model = model_for(max_iter=3)
    if is_fitted:
        model.fit(X, y)
    calls = []

    def interrupt(model, *_):
        calls.append(model.coef_.copy())
        if len(calls) == 2:
            raise Interruption
        return 0.0

    model.set_params(**{name: interrupt})
    before = dict(vars(model))
    with pytest.raises(Interruption):
        model.fit(*train, **validation)
    assert len(calls) == 2
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[key] is value for key, value in before.items())


def a_callback(model, epoch, loss):
    return epoch == 2


def test_callbacks_are_cloned_and_pickled():
    model = model_for(callback=a_callback, early_stopping=True)
    assert clone(model).callback is a_callback
    X, y = make(n_rows=100)
    stored = pickle.loads(pickle.dumps(model.fit(X, y)))
    assert stored.callback is a_callback and stored.n_iter_ == 2
    assert stored.validation_scores_ == model.validation_scores_
    search = GridSearchCV(model, {"alpha": [0.1, 1.0]}, cv=2).fit(X, y)
    assert search.best_estimator_.n_iter_ == 2


# Groups


def grouped(n_rows=150, n_features=6):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, n_features))
    X /= np.sqrt((X**2).mean(axis=0))
    y = X[:, 0] + X[:, 3] + X[:, 0] * X[:, 3] + X[:, 1] * X[:, 4] + rng.normal(size=n_rows)
    return X, (y - y.mean()) / y.std(), np.array(["a", "a", "a", "b", "b", "b"])


@pytest.mark.parametrize("solver", MINIBATCH_SOLVERS)
def test_equal_penalties_are_one(solver):
    X, y, groups = grouped()
    plain = FMRegressor(solver=solver, random_state=0, **GIVEN).fit(X, y)
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


@pytest.mark.around(solver="adagrad", kind="squared_error")
@pytest.mark.parametrize("kind", ["squared_error", "log_loss"])
@pytest.mark.parametrize("solver, rate", [(solver, RATES[solver]) for solver in MINIBATCH_SOLVERS])
def test_groups_reach_the_optimum(solver, rate, kind):
    X, y, groups = grouped()
    linear, ridge = np.where(groups == "a", 0.3, 3.0), np.where(groups == "a", 1.0, 0.1)
    target = y if kind == "squared_error" else (y > 0).astype(int)
    make_model = FMRegressor if kind == "squared_error" else FMClassifier
    model = make_model(
        2,
        alpha={"a": 1.0, "b": 0.1},
        alpha_linear=[0.3, 3.0],
        feature_groups=groups,
        solver=solver,
        learning_rate=rate,
        max_iter=size(3000, 100),
        tol=0,
        n_iter_no_change=500,
        random_state=0,
    ).fit(X, target)

    def objective(parameters):
        free = reference.objective(parameters, X, target, None, kind, ridge, 0.0)
        return free + (linear * parameters[1] ** 2).sum() / 2

    def value_and_slope(vector):
        parameters = reference.unflatten(vector, *shape)
        slope = reference.gradient(parameters, X, target, None, kind, ridge, linear)
        return objective(parameters), reference.flatten(slope)

    fitted = (
        np.atleast_1d(model.intercept_), np.atleast_2d(model.coef_), model.components_[None]
    )  # fmt: skip
    shape = fitted[2].shape
    starts = reference.flatten(fitted), np.random.default_rng(0).normal(size=1 + 6 + 12) / 2
    best = min(
        minimize(value_and_slope, start, jac=True, method="L-BFGS-B").fun for start in starts
    )
    assert objective(fitted) <= (1.01 if JIT else 1.3) * best


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
        ({"feature_groups": ["a", "b"]}, "feature_groups must contain one label for each feature"),
        ({"alpha_l1": [1.0, 0.0]}, "alpha_l1 requires solver='ftrl'"),
    ],
)
def test_what_is_wrong_with_groups(parameters, message):
    X, y, groups = grouped()
    model = FMRegressor(**{"feature_groups": groups, **parameters})
    with pytest.raises((ValueError, TypeError), match=message):
        model.fit(X, y)


# More about groups


@pytest.mark.around(solver="adagrad", n_classes=0)
@pytest.mark.parametrize("n_classes", [0, 2, 3])
@pytest.mark.parametrize("solver", MINIBATCH_SOLVERS)
def test_one_huge_penalty_leaves_all_else_free(solver, n_classes):
    X, y, groups = grouped()
    if n_classes:
        y = np.digitize(y, [0.0] if n_classes == 2 else [-0.5, 0.5])
    a = groups == "a"

    def fit(**penalties):
        model = model_for(
            n_classes,
            solver=solver,
            learning_rate={"sgd": 0.003, "adam": 0.02}.get(solver, 0.1),
            feature_groups=groups,
            max_iter=size(200, 20),
            tol=0,
            **{"alpha": 0.1, "alpha_linear": 0.1, **penalties},
        ).fit(X, y)
        both = model.coef_, model.components_
        return [abs(array).reshape(-1, 6).max(axis=0) for array in both]

    coef, factors = fit(alpha_linear={"a": 3e3, "b": 0.1})
    assert coef[a].max() < 0.05 < coef[~a].max()
    assert factors[a].max() > 0.05
    coef, factors = fit(alpha={"a": 250.0, "b": 0.1})
    assert factors[a].max() < 0.03
    assert coef[a].max() > 0.05 and coef[~a].max() > 0.05


@pytest.mark.parametrize("n_classes", [0, 3])
def test_groups_of_penalties_of_length(n_classes):
    X, y, groups = grouped()
    if n_classes:
        y = np.digitize(y, [-0.5, 0.5])
    a = groups == "a"
    options = {"solver": "ftrl", "feature_groups": groups}
    model = model_for(n_classes, alpha_l1=[1e4, 0.0], **options).fit(X, y)
    assert_array_equal((model.coef_ == 0).reshape(-1, 6).all(axis=0), a)
    assert (model.components_ != 0).any(axis=-2).all()
    model = model_for(n_classes, alpha_l21={"a": 0.0, "b": 1e4}, **options).fit(X, y)
    assert_array_equal((model.components_ == 0).reshape(-1, 6).all(axis=0), ~a)
    assert (model.coef_ != 0).all()
    equal = model_for(n_classes, alpha_l1=[2.0, 2.0], alpha_l21=[0.1, 0.1], **options).fit(X, y)
    plain = model_for(n_classes, alpha_l1=2.0, alpha_l21=0.1, solver="ftrl").fit(X, y)
    assert_same(equal, plain)


@pytest.mark.parametrize(
    "labels, alpha",
    [
        ([1, 1, 1, 0, 0, 0], {1: 0.5, 0: 3.0}),
        ([1, 1, 1, 0, 0, 0], [3.0, 0.5]),
        ([True, True, True, False, False, False], {True: 0.5, False: 3.0}),
        ([0.5, 0.5, 0.5, -0.5, -0.5, -0.5], (3.0, 0.5)),
        (np.array(["a", "a", "a", "b", "b", "b"], dtype=object), {"b": 3.0, "a": 0.5}),
        (("x", "x", "x", "y", "y", "y"), np.array([0.5, 3.0])),
        ([0, 1, 2, 3, 4, 5], [0.5, 0.5, 0.5, 3, 3, 3]),
    ],
)
def test_kinds_of_labels(labels, alpha):
    X, y, groups = grouped()
    expected = FMRegressor(alpha=[0.5, 3.0], feature_groups=groups, random_state=0, max_iter=5)
    model = FMRegressor(alpha=alpha, feature_groups=labels, random_state=0, max_iter=5)
    assert_same(model.fit(X, y), expected.fit(X, y))
    assert_same(clone(model).fit(X, y), model)
    assert "FMRegressor" in repr(model)


def test_groups_without_penalties_of_their_own_change_nothing():
    X, y, groups = grouped()
    options = {"random_state": 0, "max_iter": 5, **GIVEN}
    plain = FMRegressor(**options).fit(X, y)
    one = FMRegressor(**options, feature_groups=groups).fit(X, y)
    assert_same(one, plain)
    same = FMRegressor(**{**options, "alpha": [1.2]}, feature_groups=6 * ["all"])
    assert_same(same.fit(X, y), plain)


def test_equal_penalties_are_one_in_a_stream():
    X, y, groups = grouped()
    plain = FMRegressor(random_state=0, **GIVEN)
    model = clone(plain).set_params(alpha={"a": 1.2, "b": 1.2}, feature_groups=groups)
    other = clone(plain).set_params(alpha={"a": 1.2, "b": 50.0}, feature_groups=groups)
    for start in (0, 50, 100, 0):
        for each in (plain, model, other):
            each.partial_fit(X[start : start + 50], y[start : start + 50])
    assert_same(model, plain)
    assert (other.components_ != plain.components_).any()


@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"alpha": "ab"}, "alpha"),
        ({"alpha": ["1", "2"]}, "each value of alpha"),
        ({"alpha": [True, 1.0]}, "each value of alpha"),
        ({"alpha": {"a": None, "b": 1.0}}, "each value of alpha"),
        ({"alpha_linear": [np.inf, 1.0]}, "each value of alpha_linear"),
        ({"alpha_linear": [[1.0, 2.0]]}, "alpha_linear"),
        ({"alpha_linear": []}, "alpha_linear has 0 values"),
        ({"alpha_l21": {"a": 0.0, "b": 1.0}}, "alpha_l21 requires solver='ftrl'"),
        ({"solver": "ftrl", "alpha_l1": {"a": 1.0}}, "alpha_l1 has no value for group 'b'"),
        ({"feature_groups": [0, 0, 0, 1, 1, np.nan]}, "feature_groups contains NaN"),
        ({"feature_groups": [0, 0, 0, 1, "a", None]}, "feature_groups"),
        ({"feature_groups": 7 * ["a"]}, "feature_groups must contain one label for each feature"),
    ],
)
@pytest.mark.parametrize("way", ["fit", "partial_fit"])
def test_more_that_is_wrong_with_groups(way, parameters, message):
    X, y, groups = grouped()
    solver = parameters.get("solver", "adagrad")
    model = FMRegressor(solver=solver, feature_groups=groups, random_state=0).partial_fit(X, y)
    usual, untouched = model.get_params(), copy.deepcopy(model)
    model.set_params(**parameters)
    with pytest.raises((ValueError, TypeError), match=message):
        getattr(model, way)(X, y)
    model.set_params(**usual)
    assert_same(model.partial_fit(X, -y), untouched.partial_fit(X, -y))


def test_validation_targets_beyond_all_others():
    X, y = np.eye(4), np.arange(4.0)
    with pytest.raises(ValueError, match=r"^The values of y_val are far too large"):
        FMRegressor(2, max_iter=2).fit(X, y * 1e-200, X_val=X, y_val=y * 1e200)
