"""How FMRegressor and FMClassifier behave, from the checks to the predictions."""

import pickle
import sys
import tracemalloc
import warnings
from datetime import date

import numpy as np
import pandas as pd
import pytest
import reference
from builders import GIVEN, assert_same, parameters_of, quietly, raw
from helpers import JIT, in_full, run_code, size
from joblib import Parallel, delayed
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.feature_extraction import FeatureHasher
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skfm import (
    BayesianFMClassifier,
    BayesianFMRegressor,
    FMClassifier,
    FMRecommender,
    FMRegressor,
    MFRecommender,
)
from skfm._solvers.fm import batches, minibatch
from skfm._solvers.fm.batches import Planner
from skfm._utils.progress import Progress
from skfm.datasets import make_fm_regression

KINDS = ["squared_error", "log_loss", "softmax"]

# So many epochs, whatever happens.
EPOCHS = {"max_iter": 30, "n_iter_no_change": 30}

# Long training on little data: as near to the optimum as the solver goes.
LONG = {"learning_rate": 0.3, "max_iter": size(5000, 300), "tol": 0.0, "n_iter_no_change": 500}


# Data


def make_X(layout, n_rows, seed=0):
    """Dense numbers, or four one-hot encoded fields, as a dense array."""
    rng = np.random.default_rng(seed)
    if layout == "dense":
        return rng.normal(size=(n_rows, 6))
    levels = 3
    columns = rng.integers(levels, size=(n_rows, 4)) + np.arange(4) * levels
    X = np.zeros((n_rows, 4 * levels))
    np.put_along_axis(X, columns, 1, axis=1)
    return X


def make_y(X, kind, seed=1):
    """Targets of a planted model with two components: numbers, two or three classes."""
    rng = np.random.default_rng(seed)
    n_outputs = 3 if kind == "softmax" else 1
    shape = n_outputs, 2, X.shape[1]
    planted = np.zeros(n_outputs), rng.normal(size=shape[::2]) / 2, rng.normal(size=shape) * 0.7
    raw = reference.raw_output(planted, X)
    raw -= raw.mean(axis=0)
    if kind == "squared_error":
        return raw[:, 0] + rng.normal(size=X.shape[0]) / 3
    if kind == "log_loss":
        return (raw[:, 0] + 0.5 + rng.logistic(size=X.shape[0]) / 2 > 0).astype(int)
    return (raw + rng.gumbel(size=raw.shape) / 2).argmax(axis=1)


def make(kind, layout="dense", n_rows=200):
    X = make_X(layout, n_rows)
    return X, make_y(X, kind)


def model_for(kind, **parameters):
    parameters = {"random_state": 0, **parameters}
    return FMRegressor(**parameters) if kind == "squared_error" else FMClassifier(**parameters)


def assert_close(one, other, **tolerance):
    for name in ("intercept_", "coef_", "components_"):
        assert_allclose(getattr(one, name), getattr(other, name), **tolerance)


# Optimum


def standardized(model, y, weight):
    """Parameters and target in the unit the objective is stated in."""
    parameters = parameters_of(model)
    if not isinstance(model, FMRegressor):
        return parameters, y
    shift = np.average(y, weights=weight)
    unit = np.sqrt(np.average((y - shift) ** 2, weights=weight))
    intercept, coef, components = parameters
    parameters = (intercept - shift) / unit, coef / unit, components / np.sqrt(unit)
    return parameters, (y - shift) / unit


@pytest.mark.parametrize("weighted", [True, *in_full(False)])
@pytest.mark.parametrize("layout", ["onehot", *in_full("dense")])
@pytest.mark.parametrize("kind", KINDS)
def test_fit_reaches_the_optimum(kind, layout, weighted):
    """Long training ends within 1 % of what L-BFGS finds."""
    X, y = make(kind, layout, n_rows=size(200, 50))
    weight = np.random.default_rng(2).uniform(0, 3, len(y)) if weighted else None
    model = model_for(kind, n_components=3, alpha=0.1, alpha_linear=0.5, **LONG)
    model.fit(X, y, sample_weight=weight)
    parameters, target = standardized(model, y, weight)
    data = X, target, weight, kind, model.alpha, model.alpha_linear
    fitted = reference.objective(parameters, *data)
    best = reference.best_objective(parameters, data, n_starts=size(4, 1))
    assert fitted <= (1.01 if JIT else 1.1) * best
    nothing = [np.zeros_like(array) for array in parameters]
    assert best < 0.9 * reference.objective(nothing, *data)  # there was something to find


@pytest.mark.parametrize("kind", KINDS)
def test_loss_curve_is_the_objective(kind):
    """On one batch, each entry is the objective before the epoch, for each unit of weight."""
    X, y = make(kind)
    weight = np.random.default_rng(2).uniform(0.5, 3, len(y))
    model = model_for(kind, max_iter=4, **GIVEN)
    model.fit(X, y, sample_weight=weight)
    assert len(model.loss_curve_) == 4
    curve = []
    for epochs in (1, 2, 3):
        shorter = clone(model).set_params(max_iter=epochs).fit(X, y, sample_weight=weight)
        parameters, target = standardized(shorter, y, weight)
        data = X, target, weight, kind, model.alpha, model.alpha_linear
        curve.append(reference.objective(parameters, *data) / weight.sum())
    assert_allclose(model.loss_curve_[1:], curve, rtol=1e-9)


def unscaled(n_rows=400, seed=0):
    """A column of the size of a million, two around 100, one of size 1, and the clean columns."""
    rng = np.random.default_rng(seed)
    Z = rng.normal(size=(n_rows, 4))
    return Z * [1e6, 1, 1, 1] + [0, 100, 100, 0], Z


@pytest.mark.parametrize("seed", range(3))
def test_unscaled_regression_beats_the_mean(seed):
    X, Z = unscaled(seed=seed)
    y = 50 + 3 * Z[:, 0] + Z[:, 1] + Z[:, 0] * Z[:, 3]
    assert FMRegressor(random_state=seed).fit(X, y).score(X, y) > 0.3


@pytest.mark.parametrize("seed", range(3))
def test_unscaled_classification_beats_the_base_rate(seed):
    X, Z = unscaled(seed=seed)
    y = 3 * Z[:, 0] + Z[:, 1] + Z[:, 0] * Z[:, 3] > 1
    probability = FMClassifier(random_state=seed).fit(X, y).predict_proba(X)
    base = log_loss(y, np.tile([1 - y.mean(), y.mean()], (len(y), 1)))
    assert log_loss(y, probability) < 0.8 * base


@pytest.mark.parametrize("shift, scale", [(100, 1), (0, 1e6), (1e6, 1e6), (0, 1e-6)])
@pytest.mark.parametrize("kind", ["squared_error", "log_loss"])
def test_all_columns_unscaled_is_never_worse_than_the_intercept(kind, shift, scale):
    X, y = make(kind)
    model = quietly(model_for(kind).fit, X * scale + shift, y)
    if kind == "squared_error":
        least = 0.1 if scale == 1e6 and shift == 0 else -1e-5
        assert model.score(X * scale + shift, y) > least
    else:
        base = log_loss(y, np.tile([1 - y.mean(), y.mean()], (len(y), 1)))
        share = 0.95 if scale == 1e6 and shift == 0 else 1 + 1e-5
        assert log_loss(y, model.predict_proba(X * scale + shift)) < share * base


def test_columns_too_small_to_be_squared_count_for_nothing():
    X, y = make("squared_error", n_rows=50)
    model = quietly(FMRegressor(max_iter=5).fit, X * 1e-200, y)
    assert np.isfinite(model.predict(X * 1e-200)).all()


@pytest.mark.parametrize("solver", ["adagrad", "als"])
def test_columns_too_large_to_be_squared(solver):
    X, y = make("squared_error", n_rows=50)
    X[:, 1] *= 1e200
    refused(FMRegressor(solver=solver), X, y, None, "Column 1 of X .*scale X")


@pytest.mark.parametrize("layout", ["dense", "onehot"])
def test_mean_probability_is_the_base_rate(layout):
    X, y = make("log_loss", layout, n_rows=size(500, 60))
    parameters = {"max_iter": size(3000, 200), "tol": 0.0}
    probability = model_for("log_loss", **parameters).fit(X, y).predict_proba(X)
    assert_allclose(probability[:, 1].mean(), y.mean(), rtol=0.01)
    defaults = FMClassifier(random_state=0).fit(X, y).predict_proba(X)
    assert_allclose(defaults[:, 1].mean(), y.mean(), rtol=0.01)


def test_mean_probabilities_of_three_classes_are_the_base_rates():
    X, y = make("softmax", n_rows=size(500, 60))
    probability = model_for("softmax").fit(X, y).predict_proba(X)
    assert_allclose(probability.mean(axis=0), np.bincount(y) / len(y), rtol=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_without_components_it_is_the_linear_model(kind):
    X, y = make(kind, n_rows=size(200, 50))
    alpha = 5.0
    settings = {**LONG, "max_iter": size(20_000, 2000)}
    model = model_for(kind, n_components=0, alpha_linear=alpha, **settings).fit(X, y)
    assert model.components_.shape[-2:] == (0, X.shape[1])
    if kind == "squared_error":
        linear = Ridge(alpha=alpha).fit(X, y)
    else:
        linear = LogisticRegression(C=1 / alpha, tol=1e-10, max_iter=10_000).fit(X, y)
    tolerance = {"rtol": 1e-3, "atol": 1e-4} if JIT else {"rtol": 0.1, "atol": 0.05}
    assert_allclose(model.coef_, linear.coef_, **tolerance)
    predict = "predict" if kind == "squared_error" else "predict_proba"
    assert_allclose(getattr(model, predict)(X), getattr(linear, predict)(X), **tolerance)


def test_planted_interactions_are_recovered():
    """V_i . V_j, which do not depend on how the factors are rotated."""
    rng = np.random.default_rng(0)
    n_features = 8
    X = rng.normal(size=(size(1000, 200), n_features))
    coef, components = rng.normal(size=n_features), rng.normal(size=(2, n_features))
    y = reference.raw_output((np.array([2.0]), coef[None], components[None]), X)[:, 0]
    y += rng.normal(size=len(y)) * 0.01
    model = model_for("squared_error", n_components=3, alpha=1e-6, alpha_linear=1e-6, **LONG)
    model.fit(X, y)
    pairs = np.triu_indices(n_features, 1)
    planted = (components.T @ components)[pairs]
    found = (model.components_.T @ model.components_)[pairs]
    assert_allclose(found, planted, atol=size(0.05, 0.5))
    assert_allclose(model.coef_, coef, atol=size(0.05, 0.5))
    assert_allclose(model.intercept_, 2, atol=size(0.05, 0.5))


def test_target_unit_does_not_matter():
    X, y = make("squared_error")
    one = FMRegressor(random_state=0).fit(X, y)
    other = FMRegressor(random_state=0).fit(X, 1000 * y + 5)
    assert_allclose(other.predict(X), 1000 * one.predict(X) + 5, rtol=1e-6, atol=1e-4)
    assert_allclose(other.loss_curve_, one.loss_curve_, rtol=1e-6)


@pytest.mark.parametrize("factor", [2.0**-30, 2.0**30])
def test_column_unit_does_not_matter_without_penalty(factor):
    """Columns are scaled inside; here by powers of two, which round nothing."""
    X, y = make("squared_error")
    scale = np.array([factor, 1, 1, factor, 1, 1])
    settings = {"alpha": 0.0, "alpha_linear": 0.0, "random_state": 0}
    one = FMRegressor(**settings).fit(X, y)
    other = FMRegressor(**settings).fit(X * scale, y)
    assert_allclose(other.predict(X * scale), one.predict(X), rtol=1e-9)
    assert_allclose(other.coef_ * scale, one.coef_, rtol=1e-9)
    assert_allclose(other.components_ * scale, one.components_, rtol=1e-9)


def test_constant_target():
    X, _ = make("squared_error")
    for constant in (0.0, 0.1, -1e9):
        model = FMRegressor(random_state=0).fit(X, np.full(len(X), constant))
        assert_allclose(model.predict(X), constant, atol=0.1)


@pytest.mark.parametrize("solver", ["adagrad", "ftrl"])
@pytest.mark.parametrize("loss", ["squared_error", "absolute_error"])
@pytest.mark.parametrize("degree", [2, 3])
def test_short_training_on_targets_that_hardly_vary(solver, loss, degree):
    """Random factors cost more than a constant does, which is no divergence."""
    X = make_X("dense", 100)
    settings = {"loss": loss, "solver": solver, "degree": degree, "max_iter": 3}
    for n_other in (0, 1):
        y = np.full(100, 2.0)
        y[:n_other] = 3.0
        model = quietly(FMRegressor(2, random_state=0, **settings).fit, X, y)
        assert_allclose(model.predict(X), 2.0, atol=0.5 * n_other + 1e-9)


def test_one_row():
    model = FMRegressor(random_state=0).fit([[1.0, 2.0]], [3.0])
    assert_allclose(model.predict([[1.0, 2.0]]), 3.0, atol=0.2)


# Attributes and predictions


@pytest.mark.parametrize("n_components", [0, 1, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_attributes_reproduce_the_output(kind, n_components):
    X, y = make(kind, n_rows=60)
    y = 100 + 20 * y if kind == "squared_error" else y
    model = model_for(kind, n_components=n_components, alpha=0.01, **EPOCHS).fit(X, y)
    shapes = {
        "squared_error": ((), (6,), (n_components, 6)),
        "log_loss": ((1,), (1, 6), (n_components, 6)),
        "softmax": ((3,), (3, 6), (3, n_components, 6)),
    }
    assert np.shape(model.intercept_) == shapes[kind][0]
    assert model.coef_.shape == shapes[kind][1]
    assert model.components_.shape == shapes[kind][2]
    by_pairs = [reference.predict(*one, X) for one in zip(*parameters_of(model), strict=True)]
    assert_allclose(raw(model, X), np.transpose(by_pairs), rtol=1e-10, atol=1e-10)
    assert model.n_features_in_ == 6
    assert model.n_iter_ == len(model.loss_curve_) == 30
    assert np.isfinite(model.loss_curve_).all()
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    if n_components:
        assert np.abs(model.components_).max() > 0.01


@pytest.mark.parametrize("kind", ["log_loss", "softmax"])
def test_probabilities(kind):
    X, y = make(kind)
    model = model_for(kind).fit(X, y)
    scores, probability = model.decision_function(X), model.predict_proba(X)
    n_classes = 2 if kind == "log_loss" else 3
    assert_array_equal(model.classes_, np.arange(n_classes))
    assert probability.shape == (len(y), n_classes)
    assert scores.shape == ((len(y),) if n_classes == 2 else (len(y), n_classes))
    logits = np.stack([np.zeros(len(y)), scores], axis=1) if n_classes == 2 else scores
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert_allclose(probability, expected, rtol=1e-9)
    assert_allclose(model.predict_log_proba(X), np.log(expected), rtol=1e-9)
    assert_array_equal(model.predict(X), expected.argmax(axis=1))
    assert model.score(X, y) > np.bincount(y).max() / len(y)


@pytest.mark.parametrize("kind", ["log_loss", "softmax"])
def test_log_probabilities_are_exact_where_probabilities_round_to_zero(kind):
    X, y = make(kind)
    model = model_for(kind, n_components=0).fit(X, y)
    far = X[:5] * 1e6
    with np.errstate(all="raise", under="ignore"):
        logarithm = model.predict_log_proba(far)
        probability = model.predict_proba(far)
    assert np.isfinite(logarithm).all() and logarithm.min() < -1e4
    assert_allclose(probability.sum(axis=1), 1)


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["no", "yes"]),
        np.array(["no", "yes"], dtype=object),
        np.array([False, True]),
        np.array([-1, 1]),
        np.array([-3, 7]),
        np.array([2.0, 5.0]),
        np.array(["a", "b", "c"]),
        np.array([10, 20, 30], dtype=np.int8),
    ],
)
def test_labels_of_any_type(labels):
    kind = "log_loss" if len(labels) == 2 else "softmax"
    X, y = make(kind)
    numbers = model_for(kind).fit(X, y)
    named = model_for(kind).fit(X, labels[y])
    assert_array_equal(named.classes_, labels)
    assert_same(named, numbers)
    assert_array_equal(named.predict(X), labels[numbers.predict(X)])
    assert named.predict(X).dtype == labels.dtype
    assert named.score(X, labels[y]) == numbers.score(X, y)
    if labels.dtype != object:
        series = model_for(kind).fit(pd.DataFrame(X), pd.Series(labels[y]))
        assert_same(series, numbers)


def test_two_classes_are_symmetric():
    X, y = make("log_loss")
    settings = {"n_components": 0, "max_iter": 50}
    one = model_for("log_loss", **settings).fit(X, y)
    other = model_for("log_loss", **settings).fit(X, 1 - y)
    assert_allclose(one.decision_function(X), -other.decision_function(X), rtol=1e-9)


@pytest.mark.parametrize("layout", ["dense", "onehot"])
@pytest.mark.parametrize("kind", KINDS)
def test_float32_stays_float32(kind, layout):
    X, y = make(kind, layout)
    double = model_for(kind, **EPOCHS).fit(X, y)
    single = model_for(kind, **EPOCHS).fit(X.astype(np.float32), y)
    assert double.coef_.dtype == double.components_.dtype == raw(double, X).dtype == np.float64
    assert single.coef_.dtype == single.components_.dtype == np.float32
    for rows in (X.astype(np.float32), X):
        assert raw(single, rows).dtype == np.float32
    if kind != "squared_error":
        assert single.predict_proba(X).dtype == single.predict_log_proba(X).dtype == np.float32
    assert_close(single, double, rtol=1e-2, atol=1e-3)
    assert_allclose(raw(single, X), raw(double, X), rtol=1e-2, atol=1e-2)
    assert_allclose(single.loss_curve_, double.loss_curve_, rtol=1e-4)


def test_integers_and_booleans_are_numbers():
    X, y = make("squared_error", "onehot")
    expected = FMRegressor(random_state=0).fit(X, y)
    for dtype in (bool, np.uint8, np.int64, object):
        assert_same(FMRegressor(random_state=0).fit(X.astype(dtype), y), expected)


# Formats of X


def with_duplicates(X):
    """CSR with unsorted entries, each split into two, and with explicit zeros."""
    coo = sparse.coo_matrix(X)
    zeros = np.argwhere(X == 0)[:7]
    rows = np.concatenate([coo.row, coo.row, zeros[:, 0]])
    columns = np.concatenate([coo.col, coo.col, zeros[:, 1]])
    # Halves sum to the value exactly.
    data = np.concatenate([coo.data / 2, coo.data / 2, np.zeros(len(zeros))])
    order = np.lexsort((np.random.default_rng(0).random(len(rows)), rows))
    indptr = np.append(0, np.cumsum(np.bincount(rows, minlength=X.shape[0])))
    return sparse.csr_matrix((data[order], columns[order], indptr), shape=X.shape)


def with_zeros(X):
    matrix = sparse.csr_matrix(np.where(X == 0, 7.0, X))
    matrix.data[matrix.data == 7.0] = 0
    return matrix


def with_long_indices(X):
    matrix = sparse.csr_matrix(X)
    matrix.indices, matrix.indptr = matrix.indices.astype(np.int64), matrix.indptr.astype(np.int64)
    return matrix


def read_only(X):
    """Writeable nowhere, dense or sparse."""
    for array in (X.data, X.indices, X.indptr) if sparse.issparse(X) else (X,):
        array.flags.writeable = False
    return X


FORMATS = {
    "csr_matrix": sparse.csr_matrix,
    "csr_array": sparse.csr_array,
    "csc_matrix": sparse.csc_matrix,
    "csc_array": sparse.csc_array,
    "coo_matrix": sparse.coo_matrix,
    "coo_array": sparse.coo_array,
    "lil_matrix": sparse.lil_matrix,
    "dok_matrix": sparse.dok_matrix,
    "frame": pd.DataFrame,
    "list": np.ndarray.tolist,
    "fortran": np.asfortranarray,
    "strided": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    "reversed": lambda X: X[::-1].copy()[::-1],
    "int64 indices": with_long_indices,
    "read-only dense": lambda X: read_only(X.copy()),
    "read-only sparse": lambda X: read_only(sparse.csr_matrix(X)),
    "read-only duplicates": lambda X: read_only(with_duplicates(X)),
    "duplicates": with_duplicates,
    "explicit zeros": with_zeros,
}


def sparse_data(kind="squared_error", n_rows=80):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, 7)) * (rng.random((n_rows, 7)) < 0.5)
    X[3] = 0
    X[:, 2] = 0
    return X, make_y(X, kind)


def snapshot(X):
    """The contents of X as bytes, in the order they have in memory."""
    if isinstance(X, np.ndarray | list | pd.DataFrame):
        return pickle.dumps(X)
    if X.format in ("csr", "csc"):
        return X.data.tobytes(), X.indices.tobytes(), X.indptr.tobytes()
    if X.format == "coo":
        return X.data.tobytes(), X.row.tobytes(), X.col.tobytes()
    return X.toarray().tobytes()


@pytest.mark.parametrize("form", FORMATS)
def test_format_of_X_does_not_matter(form):
    X, y = sparse_data()
    expected = FMRegressor(random_state=0).fit(X, y)
    converted = FORMATS[form](X)
    before = snapshot(converted)
    target = read_only(y.copy())
    model = FMRegressor(random_state=0).fit(
        converted, target, sample_weight=read_only(np.ones(len(y)))
    )
    assert_same(model, expected)
    assert_array_equal(model.predict(converted), expected.predict(X))
    assert snapshot(converted) == before  # nothing of the caller's was changed


def test_predicting_changes_nothing_of_the_callers():
    X, y = sparse_data()
    model = FMRegressor(random_state=0).fit(X, y)
    for convert in FORMATS.values():
        rows = convert(X)
        before = snapshot(rows)
        assert_array_equal(model.predict(rows), model.predict(X))
        assert snapshot(rows) == before


def test_feature_names():
    X, y = make("squared_error")
    frame = pd.DataFrame(X, columns=list("abcdef"))
    model = FMRegressor(random_state=0).fit(frame, y)
    assert_array_equal(model.feature_names_in_, list("abcdef"))
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[list("fedcba")])
    assert not hasattr(FMRegressor().fit(X, y), "feature_names_in_")


@pytest.mark.parametrize("kind", KINDS)
def test_rows_without_entries_predict_the_intercept(kind):
    X, y = sparse_data(kind)
    model = model_for(kind).fit(X, y)
    empty = sparse.csr_matrix((3, X.shape[1]))
    assert_allclose(raw(model, empty), np.tile(model.intercept_, (3, 1)))


@pytest.mark.parametrize("kind", KINDS)
def test_features_never_seen_contribute_nothing(kind):
    X, y = sparse_data(kind)
    model = model_for(kind).fit(X, y)
    assert not model.coef_[..., 2].any() and not model.components_[..., 2].any()
    changed = X.copy()
    changed[:, 2] = np.random.default_rng(0).normal(size=len(X)) * 100
    assert_allclose(raw(model, changed), raw(model, X), rtol=1e-12, atol=1e-14)
    weight = (X[:, 5] == 0).astype(float)  # seen in rows of weight zero only
    model = model_for(kind).fit(X, y, sample_weight=weight)
    assert not model.coef_[..., 5].any() and not model.components_[..., 5].any()


@pytest.mark.parametrize("kind", ["squared_error", "log_loss"])
def test_no_entries_at_all(kind):
    _, y = make(kind, n_rows=50)
    model = model_for(kind).fit(sparse.csr_matrix((50, 3)), y)
    if kind == "squared_error":
        assert_allclose(model.predict(np.ones((2, 3))), y.mean(), atol=1e-6)
    else:
        assert_allclose(model.predict_proba(np.ones((2, 3)))[:, 1], y.mean(), atol=1e-6)


HASHED = """
import os
os.environ["NUMPY_MADVISE_HUGEPAGE"] = "0"  # pages of 2 MB are touched as soon as small ones
import resource
import numpy as np
from scipy import sparse
from skfm import FMRegressor

rng = np.random.default_rng(0)
n_rows, n_features = 300, 10_000_000
columns = rng.choice(n_features, size=50, replace=False)[rng.integers(50, size=(n_rows, 4))]
X = sparse.csr_matrix(
    (np.ones(columns.size), columns.ravel(), np.arange(n_rows + 1) * 4),
    shape=(n_rows, n_features),
)
y = rng.normal(size=n_rows)
settings = dict(n_components=8, max_iter=5, random_state=0)
narrow = FMRegressor(**settings).fit(X[:, np.unique(columns)], y)
narrow.predict(X[:, np.unique(columns)])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
wide = FMRegressor(**settings).fit(X, y)
assert wide.coef_.shape == (n_features,) and wide.components_.shape == (8, n_features)
np.testing.assert_array_equal(wide.coef_[np.unique(columns)], narrow.coef_)
np.testing.assert_array_equal(wide.predict(X), narrow.predict(X[:, np.unique(columns)]))
wide.predict(X[:1])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.full
def test_ten_million_hashed_columns():
    """Of which 50 are used: the same as those 50, and memory follows what is used."""
    pytest.importorskip("resource", reason="peak memory is measured with the resource module")
    grown = float(run_code(HASHED)) * (1 if sys.platform == "darwin" else 1024)
    # components_ alone has 640 MB, of which untouched pages cost nothing.
    assert grown < 400e6


# Weights


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize("kind", KINDS)
def test_weight_zero_is_absence(kind, form):
    X, y = make(kind)
    weight = np.random.default_rng(0).integers(3, size=len(y)).astype(float)
    X[weight == 0] *= 1e3
    kept = weight > 0
    one = model_for(kind).fit(form(X), y, sample_weight=weight)
    other = model_for(kind).fit(form(X[kept]), y[kept], sample_weight=weight[kept])
    assert_same(one, other)
    assert one.loss_curve_ == other.loss_curve_


def test_a_class_of_weight_zero_is_absent():
    X, y = make("softmax")
    model = model_for("softmax").fit(X, y, sample_weight=(y != 1).astype(float))
    assert_array_equal(model.classes_, [0, 2])
    assert_same(model, model_for("softmax").fit(X[y != 1], y[y != 1]))


@pytest.mark.parametrize("layout", ["dense", "onehot"])
@pytest.mark.parametrize("kind", KINDS)
def test_weight_is_repetition(kind, layout):
    X, y = make(kind, layout)
    times = np.random.default_rng(0).integers(4, size=len(y))
    one = model_for(kind, **EPOCHS).fit(X, y, sample_weight=times)
    again = np.repeat(X, times, axis=0), np.repeat(y, times)
    other = model_for(kind, **EPOCHS).fit(*again)
    assert_close(one, other, rtol=1e-7, atol=1e-10)
    assert_allclose(one.loss_curve_, other.loss_curve_, rtol=1e-9)


def test_one_weight_for_all_rows():
    X, y = make("squared_error")
    one = FMRegressor(random_state=0).fit(X, y, sample_weight=2.0)
    assert_same(one, FMRegressor(random_state=0).fit(X, y, sample_weight=np.full(len(y), 2)))
    unweighted = FMRegressor(random_state=0).fit(X, y)
    assert_same(unweighted, FMRegressor(random_state=0).fit(X, y, sample_weight=1))
    assert np.abs(one.coef_ - unweighted.coef_).max() > 0


@pytest.mark.parametrize("kind", ["log_loss", "softmax"])
def test_class_weight(kind):
    X, y = make(kind)
    keep = (y != 0) | (np.arange(len(y)) % 4 == 0)  # unbalanced
    X, y = X[keep], y[keep]
    given = {0: 3.0, 1: 0.5}
    by_class = model_for(kind, class_weight=given).fit(X, y)
    by_row = model_for(kind).fit(X, y, sample_weight=[given.get(label, 1.0) for label in y])
    assert_same(by_class, by_row)
    both = model_for(kind, class_weight=given).fit(X, y, sample_weight=np.full(len(y), 2.0))
    assert_same(
        both, model_for(kind).fit(X, y, sample_weight=[2 * given.get(label, 1) for label in y])
    )


@pytest.mark.parametrize("kind", ["log_loss", "softmax"])
def test_balanced_classes(kind):
    X, y = make(kind)
    keep = (y != 0) | (np.arange(len(y)) % 4 == 0)
    X, y = X[keep], y[keep]
    by_class = model_for(kind, class_weight="balanced").fit(X, y)
    count = np.bincount(y)
    factors = 1 / (count * np.mean(1 / count))  # the harmonic mean, divided by the count
    assert_allclose(factors[y].sum(), factors[y].sum() ** 2 / np.square(factors[y]).sum())
    assert_same(by_class, model_for(kind).fit(X, y, sample_weight=factors[y]))
    # A row of weight 2 is two rows of its class.
    times = np.random.default_rng(0).integers(4, size=len(y))
    weighted = model_for(kind, class_weight="balanced", **EPOCHS).fit(X, y, sample_weight=times)
    again = np.repeat(X, times, axis=0), np.repeat(y, times)
    repeated = model_for(kind, class_weight="balanced", **EPOCHS).fit(*again)
    assert_close(weighted, repeated, rtol=1e-7, atol=1e-10)


@pytest.mark.skipif(not JIT, reason="needs many rows")
def test_balancing_rare_classes_does_not_weaken_the_penalties():
    """One row in a hundred is positive; with weights of mean 1 the model learns their noise."""
    scores = []
    for seed in range(3):
        X, raw = make_fm_regression(
            12_000, n_fields=3, n_levels=60, n_components=0, noise=0.0, random_state=seed
        )
        y = raw / raw.std() + np.random.default_rng(seed).logistic(size=len(raw))
        y = (y > np.quantile(y, 0.99)).astype(int)
        train, test = slice(6000), slice(6000, None)
        mean_of_one = dict(enumerate(6000 / (2 * np.bincount(y[train]))))
        for class_weight in (None, "balanced", mean_of_one):
            model = FMClassifier(class_weight=class_weight, random_state=0)
            quietly(model.fit, X[train], y[train])
            scores.append(roc_auc_score(y[test], model.decision_function(X[test])))
    plain, balanced, too_heavy = np.mean(np.reshape(scores, (3, 3)), axis=0)
    assert balanced > plain - 0.005
    assert balanced > too_heavy + 0.01


def test_scores_with_balanced_classes_that_validation_rows_lack():
    X, y = make("softmax")
    few = y[:40] != 2
    model = model_for("softmax", class_weight="balanced", max_iter=3)
    model.fit(X, y, X_val=X[:40][few], y_val=y[:40][few])
    assert np.isfinite(model.validation_scores_).all()


def test_class_weight_by_label_name():
    X, y = make("log_loss")
    names = np.array(["no", "yes"])[y]
    one = model_for("log_loss", class_weight={"no": 3.0, "yes": 1.0}).fit(X, names)
    assert_same(one, model_for("log_loss", class_weight={0: 3.0, 1: 1.0}).fit(X, y))


# Threads, randomness, stopping


def large(kind, layout="dense"):
    return make(kind, layout, n_rows=size(1500, 60))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("layout", ["dense", "onehot"])
@pytest.mark.parametrize("kind", KINDS)
def test_number_of_threads_does_not_matter(kind, layout, dtype):
    X, y = large(kind, layout)
    X = X.astype(dtype)
    settings = {"batch_size": size(200, 20), "max_iter": 5, "n_components": 5}
    serial = model_for(kind, **settings).fit(X, y)
    for n_jobs in (1, 2, 3, -1):
        model = model_for(kind, n_jobs=n_jobs, **settings).fit(X, y)
        assert_same(model, serial)
        assert model.loss_curve_ == serial.loss_curve_
        assert_array_equal(raw(model, X), raw(serial, X))


@pytest.mark.parametrize("kind", KINDS)
def test_number_of_threads_does_not_matter_in_prediction(kind):
    """Enough rows for every thread to get some."""
    X, y = make(kind)
    model = model_for(kind, max_iter=5).fit(X, y)
    many = sparse.csr_matrix(np.tile(X, (size(200, 2), 1)))
    serial = raw(model, many)
    for n_jobs in (2, 3):
        assert_array_equal(raw(model.set_params(n_jobs=n_jobs), many), serial)
    assert_array_equal(raw(model, many[:1]), serial[:1])  # nor do the other rows


@pytest.mark.parametrize("kind", KINDS)
def test_memory_for_the_plan_does_not_matter(kind, monkeypatch):
    X, y = large(kind)
    settings = {"batch_size": size(200, 20), "max_iter": 4}
    expected = model_for(kind, **settings).fit(X, y)

    def stingy(*arguments):
        return Planner(*arguments, kept_bytes=0)

    monkeypatch.setattr(batches, "Planner", stingy)
    assert_same(model_for(kind, **settings).fit(X, y), expected)


def test_random_state():
    X, y = large("squared_error")
    settings = {"batch_size": size(200, 20), "max_iter": 5}
    fits = [
        FMRegressor(random_state=seed, **settings).fit(X, y)
        for seed in (0, 0, np.random.RandomState(0), 1, None, None)
    ]
    assert_same(fits[0], fits[1])
    assert_same(fits[0], fits[2])
    for one, other in [(0, 3), (3, 4), (4, 5)]:
        assert np.abs(fits[one].components_ - fits[other].components_).max() > 0
    state = np.random.RandomState(0)
    model = FMRegressor(random_state=state, **settings)
    first = model.fit(X, y).components_
    assert np.abs(model.fit(X, y).components_ - first).max() > 0


def test_global_random_state_is_left_alone():
    X, y = make("squared_error")
    np.random.seed(0)
    expected = np.random.rand()
    np.random.seed(0)
    FMRegressor(random_state=0).fit(X, y)
    assert np.random.rand() == expected


def test_stops_when_the_objective_stops_improving():
    X, y = make("squared_error")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = model_for("squared_error", max_iter=10_000, tol=1e-3, **GIVEN).fit(X, y)
    assert model.n_iter_ < 5000
    patient = clone(model).set_params(tol=1e-6).fit(X, y)
    assert patient.n_iter_ > model.n_iter_
    assert_allclose(patient.loss_curve_[: model.n_iter_], model.loss_curve_)


@pytest.mark.parametrize("kind", KINDS)
def test_warns_when_max_iter_ends_first(kind):
    X, y = make(kind)
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        model = model_for(kind, max_iter=2).fit(X, y)
    assert model.n_iter_ == 2


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_verbose_writes_progress_to_stderr(n_jobs, capfd):
    X, y = make("squared_error")
    FMRegressor(max_iter=3, verbose=1, n_jobs=n_jobs).fit(X, y)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "3/3" in captured.err and "rows/s" in captured.err and "loss" in captured.err
    FMRegressor(max_iter=3, n_jobs=n_jobs).fit(X, y)
    assert capfd.readouterr() == ("", "")


# Warm start


@pytest.mark.parametrize("kind", KINDS)
def test_warm_start_continues(kind):
    X, y = make(kind)
    y = 100 + 20 * y if kind == "squared_error" else y
    cold = model_for(kind, **GIVEN, **EPOCHS).fit(X, y)
    warm = clone(cold).set_params(warm_start=True).fit(X, y)
    assert_same(warm, cold)
    parameters, target = standardized(cold, y, None)
    data = X, target, None, kind, warm.alpha, warm.alpha_linear
    objective = reference.objective(parameters, *data)
    warm.fit(X, y)
    assert warm.n_iter_ == len(warm.loss_curve_) == 30
    # The first entry is the objective of the parameters it started from: those of before.
    assert_allclose(warm.loss_curve_[0], objective / len(y), rtol=1e-9)
    parameters, _ = standardized(warm, y, None)
    assert reference.objective(parameters, *data) < objective
    cold.fit(X, y)
    assert cold.loss_curve_[0] > warm.loss_curve_[0]  # without warm_start, training starts again


@pytest.mark.parametrize("layout", ["dense", "onehot"])
@pytest.mark.parametrize("kind", KINDS)
def test_warm_start_does_not_undo_what_was_reached(kind, layout):
    """Another fit on the same data, with the defaults, ends where the first did or lower."""
    X, y = make(kind, layout)
    model = model_for(kind, warm_start=True, **GIVEN).fit(X, y)

    def objective():
        parameters, target = standardized(model, y, None)
        return reference.objective(
            parameters, X, target, None, kind, model.alpha, model.alpha_linear
        )

    before = objective()
    for _ in range(3):
        assert objective() < 1.01 * before
        model.fit(X, y)


def test_warm_start_on_other_data_of_the_same_shape():
    """Features that the new data have not are forgotten, new ones start at zero weight."""
    X, y = sparse_data()
    model = FMRegressor(warm_start=True, max_iter=5, random_state=0).fit(X, y)
    other = X.copy()
    other[:, 2], other[:, 4] = X[:, 4], 0
    model.fit(other, y)
    assert np.isfinite(model.coef_).all()
    assert model.coef_[4] == 0 and model.coef_[2] != 0


def test_warm_start_needs_the_same_shapes():
    X, y = make("softmax")
    model = FMClassifier(warm_start=True, max_iter=5, n_components=3).fit(X, y)
    with pytest.raises(ValueError, match=r"warm_start.*\(3, 5, 3\).*\(3, 6, 3\).*=False"):
        model.fit(X[:, :5], y)
    with pytest.raises(ValueError, match=r"warm_start.*\(3, 6, 4\)"):
        model.set_params(n_components=4).fit(X, y)
    model.set_params(n_components=3)
    for labels in (y + 1, y % 2):
        with pytest.raises(ValueError, match=r"warm_start.*classes.*warm_start=False"):
            model.fit(X, labels)
    assert model.n_features_in_ == 6
    assert_array_equal(model.classes_, [0, 1, 2])
    model.fit(X, y)


@pytest.mark.parametrize("loss", ["poisson", "squared_error"])
def test_predictions_follow_the_loss_of_the_fit(loss):
    X, y = make("log_loss", n_rows=50)
    settings = {"n_components": 1, "max_iter": 3, "random_state": 0}
    model = quietly(FMRegressor(loss=loss, **settings).fit, X, y)
    expected = model.predict(X)
    other = "huber" if loss == "poisson" else "poisson"
    model.set_params(loss=other)
    assert_array_equal(model.predict(X), expected)
    assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), expected)
    refitted = quietly(clone(model).fit, X, y)
    assert_array_equal(quietly(model.fit, X, y).predict(X), refitted.predict(X))


def test_probabilities_follow_the_loss_of_the_fit():
    X, y = make("log_loss", n_rows=50)
    settings = {"n_components": 1, "max_iter": 3, "random_state": 0}
    model = quietly(FMClassifier(**settings).fit, X, y)
    expected = model.predict_proba(X)
    assert_array_equal(model.set_params(loss="squared_hinge").predict_proba(X), expected)
    quietly(model.fit, X, y).set_params(loss="log_loss")
    assert not hasattr(model, "predict_proba") and not hasattr(model, "predict_log_proba")
    scorer = {"scoring": "neg_log_loss", "early_stopping": True}
    assert hasattr(quietly(model.set_params(**scorer).fit, X, y), "predict_proba")


def test_refit_without_warm_start_forgets():
    X, y = make("softmax")
    frame = pd.DataFrame(X, columns=list("abcdef"))
    model = FMClassifier(random_state=0, max_iter=5).fit(frame, y)
    model.fit(X[:, :4], y % 2)
    fresh = FMClassifier(random_state=0, max_iter=5).fit(X[:, :4], y % 2)
    assert_same(model, fresh)
    assert sorted(vars(model)) == sorted(vars(fresh))


# Parts that can be left out


@pytest.mark.parametrize("kind", KINDS)
def test_without_intercept(kind):
    X, y = make(kind)
    model = model_for(kind, fit_intercept=False).fit(X, y)
    assert not np.any(model.intercept_)
    assert_allclose(raw(model, np.zeros((2, 6))), 0)


def test_without_intercept_it_is_ridge_without_intercept():
    X, y = make("squared_error")
    settings = {**LONG, "max_iter": size(20_000, 2000)}
    model = FMRegressor(0, alpha_linear=5.0, fit_intercept=False, **settings).fit(X, y + 3)
    ridge = Ridge(alpha=5.0, fit_intercept=False).fit(X, y + 3)
    assert_allclose(model.coef_, ridge.coef_, rtol=1e-3, atol=size(1e-4, 0.05))


@pytest.mark.parametrize("kind", KINDS)
def test_without_linear_weights(kind):
    X, y = make(kind)
    model = model_for(kind, fit_linear=False).fit(X, y)
    assert not model.coef_.any()
    assert model.components_.any()


# Divergence


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "setting", [{"learning_rate": 1e6}, {"learning_rate": 1e30}, {"init_scale": 1e200}]
)
def test_divergence_ends_well_or_in_an_error(kind, setting):
    X, y = make(kind)
    model = model_for(kind, max_iter=60, **setting)
    try:
        with pytest.warns(RuntimeWarning, match="diverged.*learning_rate"):
            model.fit(X, y)
    except ValueError as error:
        assert "diverged" in str(error) and "Scal" in str(error)
        assert not hasattr(model, "coef_")
    else:
        assert np.isfinite(raw(model, X)).all()
        if kind == "squared_error":
            assert model.score(X, y) > -0.5
        else:
            base = np.log(len(model.classes_))
            assert log_loss(y, model.predict_proba(X)) < base + 0.5


@pytest.mark.parametrize("init_scale", [100.0, 1e6])
def test_absurd_init_scale_never_ends_silently_far_off(init_scale):
    X, y = make("squared_error")
    model = FMRegressor(init_scale=init_scale, random_state=0)
    try:
        quietly(model.fit, X, y)
    except ValueError as error:
        assert "init_scale" in str(error)
    else:
        assert model.score(X, y) > -0.5


def test_a_few_bad_epochs_are_recovered_from(monkeypatch):
    """One epoch with an infinite loss: training goes on from before, with a smaller step."""
    X, y = make("squared_error")
    epoch, calls = minibatch.Trainer.epoch, []

    def once_infinite(self):
        calls.append(self.optimizer.rule.learning_rate)
        if len(calls) == 10:
            self.optimizer.state.factors[...] = np.nan
        return epoch(self)

    monkeypatch.setattr(minibatch.Trainer, "epoch", once_infinite)
    with pytest.warns(RuntimeWarning, match="diverged"):
        model = FMRegressor(learning_rate=0.1, random_state=0).fit(X, y)
    assert calls[0] == calls[9] == 4 * calls[10]
    monkeypatch.undo()
    untroubled = FMRegressor(random_state=0).fit(X, y)
    assert model.score(X, y) > untroubled.score(X, y) - 0.1


def test_diverging_for_every_step_is_an_error(monkeypatch):
    X, y = make("squared_error")
    monkeypatch.setattr(minibatch.Trainer, "epoch", lambda self: np.nan)
    with (
        pytest.raises(ValueError, match=r"diverged.*learning_rate.*[Ss]cal"),
        pytest.warns(RuntimeWarning, match="diverged"),
    ):
        FMRegressor().fit(X, y)


# With the rest of scikit-learn


@pytest.mark.parametrize("kind", KINDS)
def test_pickle(kind):
    X, y = make(kind)
    wide = sparse.hstack([X, sparse.csr_matrix((len(y), 20_000))]).tocsr()
    model = model_for(kind, max_iter=5).fit(wide, y)
    dumped = pickle.dumps(model)
    size_of_parameters = sum(array.nbytes for array in parameters_of(model))
    assert len(dumped) < size_of_parameters + 10_000  # no optimizer's memory, no plan
    again = pickle.loads(dumped)
    assert_same(again, model)
    assert_array_equal(raw(again, wide), raw(model, wide))
    assert_array_equal(again.predict(wide), model.predict(wide))
    assert_same(again.fit(wide, y), model)


@pytest.mark.parametrize("pickled", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_one_row_is_predicted_without_copying_the_parameters(kind, pickled):
    X, y = make(kind)
    wide = sparse.hstack([X, sparse.csr_matrix((len(y), 50_000))]).tocsr()
    model = model_for(kind, max_iter=2).fit(wide, y)
    if pickled:
        model = pickle.loads(pickle.dumps(model))
    row = wide[:1]
    model.predict(row)
    tracemalloc.start()
    model.predict(row)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < model.components_.nbytes / 4


@pytest.mark.parametrize("kind", KINDS)
def test_clone(kind):
    X, y = make(kind)
    model = model_for(kind, n_components=3, max_iter=5, alpha=0.07).fit(X, y)
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    with pytest.raises(NotFittedError):
        copy.predict(X)
    assert_same(copy.fit(X, y), model)


@pytest.mark.parametrize("model", [FMRegressor(), FMClassifier()])
def test_constructor(model):
    assert type(model)(3).n_components == 3
    with pytest.raises(TypeError):
        type(model)(3, model.loss)
    expected = type(model).__init__.__kwdefaults__
    assert {k: v for k, v in model.get_params().items() if k != "n_components"} == expected
    type(model)(n_components=-1, alpha="wrong")  # nothing is checked before fit


def test_grid_search_and_cross_validation():
    X, y = make("squared_error", "onehot")
    pipeline = make_pipeline(StandardScaler(with_mean=False), FMRegressor(max_iter=20))
    grid = {"fmregressor__n_components": [0, 2], "fmregressor__alpha": [0.01, 10.0]}
    search = GridSearchCV(pipeline, grid, cv=3).fit(X, y)
    assert search.best_params_["fmregressor__n_components"] == 2
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    scores = cross_val_score(FMClassifier(max_iter=20), X, y > 0, scoring="neg_log_loss", cv=3)
    assert scores.shape == (3,) and np.isfinite(scores).all()


def test_three_classes_of_iris():
    model = make_pipeline(StandardScaler(), FMClassifier(random_state=0))
    assert cross_val_score(model, *load_iris(return_X_y=True), cv=3).mean() > 0.85


def test_column_transformer():
    rng = np.random.default_rng(0)
    n_rows = 300
    frame = pd.DataFrame(
        {
            "user": rng.choice(list("abcdef"), n_rows),
            "item": pd.Categorical(rng.choice(["x", "y", "z"], n_rows)),
            "age": rng.uniform(10, 80, n_rows),
        }
    )
    y = (frame["user"] < "c") * (frame["item"] == "x") * 3.0 + frame["age"] / 20
    columns = ColumnTransformer(
        [
            ("ids", OneHotEncoder(handle_unknown="ignore"), ["user", "item"]),
            ("numbers", StandardScaler(), ["age"]),
        ],
        sparse_threshold=1.0,
    )
    model = make_pipeline(columns, FMRegressor(alpha=0.05, alpha_linear=0.1, random_state=0))
    assert model.fit(frame, y).score(frame, y) > 0.8
    unknown = frame[:2].assign(user="nobody", item="nothing")
    assert np.isfinite(model.predict(unknown)).all()


def test_feature_hasher():
    rows = [{"user": f"u{i % 7}", "item": f"i{i % 5}", "hour": i % 24} for i in range(200)]
    y = np.array([(i % 7 < 3) == (i % 5 < 2) for i in range(200)])
    pipeline = make_pipeline(
        FeatureHasher(2**18, alternate_sign=False),
        FMClassifier(alpha=0.01, alpha_linear=0.1, learning_rate=0.3, random_state=0),
    )
    assert pipeline.fit(rows, y).score(rows, y) > 0.9


@pytest.mark.parametrize("kind", ["log_loss", "softmax"])
def test_calibrated_classifier(kind):
    X, y = make(kind)
    model = CalibratedClassifierCV(model_for(kind, max_iter=20), cv=3).fit(X, y)
    assert_allclose(model.predict_proba(X).sum(axis=1), 1)
    assert model.score(X, y) > np.bincount(y).max() / len(y)


@pytest.mark.parametrize("kind", ["squared_error", "log_loss"])
def test_sample_weight_is_routed(kind):
    X, y = make(kind)
    weight = np.random.default_rng(0).uniform(0, 3, len(y))
    with config_context(enable_metadata_routing=True):
        model = model_for(kind, max_iter=20).set_fit_request(sample_weight=True)
        model.set_score_request(sample_weight=True)
        search = GridSearchCV(model, {"n_components": [2]}, cv=3).fit(X, y, sample_weight=weight)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipeline = make_pipeline(scaler, clone(model)).fit(X, y, sample_weight=weight)
    direct = model_for(kind, max_iter=20, n_components=2).fit(X, y, sample_weight=weight)
    assert_same(search.best_estimator_, direct)
    unweighted = model_for(kind, max_iter=20, n_components=2).fit(X, y)
    assert np.abs(unweighted.coef_ - direct.coef_).max() > 1e-6
    scaled = StandardScaler().fit_transform(X)
    direct = model_for(kind, max_iter=20).fit(scaled, y, sample_weight=weight)
    assert_same(pipeline[-1], direct)


@pytest.mark.parametrize("n_jobs", [2, *in_full(None)])
def test_joblib_process_pool(n_jobs):
    X, y = make("squared_error")
    models = [FMRegressor(k, max_iter=10, n_jobs=n_jobs, random_state=0) for k in (0, 2, 3)]
    fitted = Parallel(n_jobs=2, backend="loky")(delayed(model.fit)(X, y) for model in models)
    for model, expected in zip(fitted, [clone(model).fit(X, y) for model in models], strict=True):
        assert_same(model, expected)
    found = Parallel(n_jobs=2, backend="loky")(delayed(model.predict)(X) for model in fitted)
    for prediction, model in zip(found, fitted, strict=True):
        assert_array_equal(prediction, model.predict(X))


# Bad input


def refused(model, X, y, weight, match, error=ValueError):
    """The fit raises the error, and leaves the model as it was, fitted before or not."""
    good = make("softmax" if isinstance(model, FMClassifier) else "squared_error")
    with pytest.raises(error, match=match):
        clone(model).fit(X, y, sample_weight=weight)
    unfitted = clone(model)
    assert_untouched(unfitted, error, X, y, weight)
    valid = clone(type(model)()).set_params(max_iter=3, random_state=0)
    fitted = valid.fit(*good)
    fitted.set_params(**model.get_params())
    assert_untouched(fitted, error, X, y, weight)
    assert raw(fitted, good[0]).shape[0] == len(good[1])


def assert_untouched(model, error, X, y, weight):
    before = dict(vars(model))
    with pytest.raises(error):
        model.fit(X, y, sample_weight=weight)
    assert vars(model).keys() == before.keys()
    for name, value in before.items():
        assert vars(model)[name] is value, name


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", KINDS)
def test_X_that_is_not_finite(kind, bad, form):
    X, y = make(kind)
    X[5, 2] = bad
    match = "X contains NaN" if np.isnan(bad) else "X contains infinity"
    refused(model_for(kind), form(X), y, None, match)
    model = model_for(kind, max_iter=2).fit(*make(kind))
    with pytest.raises(ValueError, match=match):
        model.predict(form(X))


EVERY_ESTIMATOR = [
    FMRegressor,
    FMClassifier,
    BayesianFMRegressor,
    BayesianFMClassifier,
    FMRecommender,
    MFRecommender,
]
RAW = {
    "frame": lambda users: pd.DataFrame({"user": users, "n": [1.0, 2, 3, 4]}),
    "categories": lambda users: pd.DataFrame({"user": pd.Categorical(users)}),
    "strings": lambda users: pd.DataFrame({"user": pd.array(users, dtype="string")}),
    "list": lambda users: [[1.0, user] for user in users],
    "array": lambda users: np.array(users)[:, None],
    "objects": lambda users: np.array(users, dtype=object)[:, None],
}


def fit_and_transform_refuse(estimator, X, error, *parts):
    """Both errors have all these parts."""
    model = estimator(2, random_state=0)
    y = [0, 1, 0, 1]
    fitted = quietly(clone(model).fit, np.eye(4)[:, : np.shape(X)[1]], y)
    serve = fitted.transform if estimator is MFRecommender else fitted.predict
    for call in (lambda: model.fit(X, y), lambda: serve(np.asarray(X))):
        with pytest.raises(error) as caught:
            call()
        for part in parts:
            assert part in str(caught.value)
        assert "HistGradientBoosting" not in str(caught.value)


@pytest.mark.parametrize("form", RAW)
@pytest.mark.parametrize("estimator", EVERY_ESTIMATOR)
def test_strings_are_to_be_encoded(estimator, form):
    encoder = "UserItemEncoder" if estimator is MFRecommender else "EventEncoder"
    X = RAW[form](["u337", "u1", "u2", "u337"])
    fit_and_transform_refuse(estimator, X, ValueError, "'u337'", "OneHotEncoder", encoder)


@pytest.mark.parametrize("estimator", EVERY_ESTIMATOR)
def test_dates_are_to_be_encoded(estimator):
    X = [[date(2020, 1, 1), 1.0]] * 4
    fit_and_transform_refuse(estimator, X, TypeError, "datetime.date", "OneHotEncoder")


@pytest.mark.parametrize("estimator", EVERY_ESTIMATOR)
def test_missing_values_are_to_be_filled(estimator):
    remedies = "fillna(0)", "UserItemEncoder"
    if estimator is not MFRecommender:
        remedies = "SimpleImputer", "OneHotEncoder"
    frame = pd.DataFrame({"n": pd.array([1, None, 2, 3], dtype="Int64")})
    for X in (frame, frame.to_numpy(float), [[1.0, 2], [None, 1], [1, 1], [2, 2]]):
        fit_and_transform_refuse(estimator, X, ValueError, "X contains NaN", *remedies)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_y_that_is_not_finite(bad):
    X, y = make("squared_error")
    y[5] = bad
    refused(FMRegressor(), X, y, None, "y contains (NaN|infinity)")
    labels = np.where(y > 0, 1.0, 0.0)
    labels[5] = bad
    refused(FMClassifier(), X, labels, None, "y contains (NaN|infinity)")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", [np.complex64, np.complex128, object])
@pytest.mark.parametrize("model", [FMRegressor(), FMClassifier()])
def test_complex_numbers_are_refused_without_a_warning(model, dtype):
    X, y = make("log_loss")
    numbers = (y + 1j).astype(dtype)
    for form in (numbers, numbers.tolist()):
        with pytest.raises(ValueError, match=r"[Cc]omplex|label type"):
            clone(model).fit(X, form)
        with pytest.raises(ValueError, match=r"sample_weight .*[Cc]omplex"):
            clone(model).fit(X, y, sample_weight=form)


@pytest.mark.parametrize("factor", [1e200, 1e307])
def test_y_too_large_for_its_variance(factor):
    """Either it works, or the error names y and what to do."""
    X, y = make("squared_error")
    try:
        model = quietly(FMRegressor(max_iter=20, random_state=0).fit, X, y * factor)
    except ValueError as error:
        assert "y" in str(error).split() and "scale" in str(error).lower()
    else:
        assert np.isfinite(model.predict(X)).all()
        assert np.isfinite(model.intercept_)


@pytest.mark.parametrize("model", [FMRegressor(), FMClassifier()])
@pytest.mark.parametrize(
    "change, match",
    [
        ({0: np.nan}, "sample_weight.*NaN.*(drop|replace)"),
        ({0: np.inf}, "sample_weight.*infinity.*(drop|replace)"),
        ({0: -1.0}, "sample_weight.*negative.*at least 0"),
        (dict.fromkeys(range(200), 0.0), "sample_weight.*zero"),
    ],
)
def test_bad_sample_weight(model, change, match):
    X, y = make("log_loss")
    weight = np.ones(len(y))
    for row, value in change.items():
        weight[row] = value
    refused(model, X, y, weight, match)
    refused(model, X.astype(np.float32), y, weight, match)


@pytest.mark.parametrize("model", [FMRegressor(), FMClassifier()])
@pytest.mark.parametrize(
    "weight", [np.ones(199), np.ones(201), np.ones((200, 1)), np.ones((200, 2))]
)
def test_sample_weight_of_a_wrong_shape(model, weight):
    X, y = make("log_loss")
    refused(model, X, y, weight, "sample_weight")


@pytest.mark.parametrize("model", [FMRegressor(), FMClassifier()])
def test_sample_weight_that_is_no_number(model):
    X, y = make("log_loss")
    refused(model, X, y, np.full(200, "heavy"), "sample_weight")


@pytest.mark.parametrize("model", [FMRegressor(), FMClassifier()])
def test_lengths_that_do_not_fit(model):
    X, y = make("log_loss")
    refused(model, X, y[:-1], None, "inconsistent numbers of samples.*200.*199")
    refused(model, X, None, None, "requires y to be passed, but the target y is None")
    refused(model, X, np.stack([y, y], axis=1), None, "y should be a 1d array")


@pytest.mark.parametrize("model", [FMRegressor(), FMClassifier()])
def test_wrong_number_of_features(model):
    X, y = make("log_loss")
    fitted = clone(model).set_params(max_iter=2).fit(X, y)
    for width in (X[:, :5], np.hstack([X, X])):
        with pytest.raises(ValueError, match=r"X has \d+ features, but FM\w+ is expecting 6"):
            fitted.predict(width)
    with pytest.raises(NotFittedError):
        clone(model).predict(X)


@pytest.mark.parametrize(
    "convert",
    [
        list,
        np.array,
        lambda names: np.array(names, dtype=object),
        pd.Series,
        lambda names: pd.Series(names, dtype="category"),
        lambda names: pd.Series(names, dtype=object),
    ],
    ids=["list", "array", "object array", "series", "categorical series", "object series"],
)
def test_strings_are_no_regression_target(convert):
    X, _ = make("squared_error")
    names = ["good", "bad"] * 100
    refused(FMRegressor(), X, convert(names), None, r"\by\b.*(number|string).*use a classifier")


@pytest.mark.parametrize("estimator", [FMRegressor, BayesianFMRegressor])
def test_a_regression_target_of_objects(estimator):
    X, y = make("squared_error", n_rows=20)
    values = [None, *y[1:].tolist()]
    for given in (values, np.array(values, dtype=object), pd.Series(values, dtype=object)):
        with pytest.raises(ValueError, match="y contains NaN"):
            estimator().fit(X, given)
    with pytest.raises(ValueError, match=r"y must contain numbers.*too large"):
        estimator().fit(X, [10**400, *y[1:]])
    settings = {"n_components": 1, "max_iter": 3, "random_state": 0}
    if estimator is BayesianFMRegressor:
        settings["n_burn_in"] = 1
    plain = quietly(estimator(**settings).fit, X, y).predict(X)
    objects = quietly(estimator(**settings).fit, X, y.astype(object)).predict(X)
    assert_array_equal(objects, plain)


@pytest.mark.parametrize("dtype", ["datetime64[D]", "timedelta64[s]"])
@pytest.mark.parametrize("model", [FMRegressor(), FMClassifier(), BayesianFMRegressor()])
def test_dates_are_no_numbers(model, dtype):
    X, y = make("log_loss", n_rows=20)
    dates = np.arange(40).reshape(20, 2).astype(dtype)
    for form in (dates, pd.DataFrame(dates.astype("M8[s]" if "date" in dtype else dtype))):
        with pytest.raises(TypeError, match=r"X has values that are not numbers.*OneHotEncoder"):
            model.fit(form, y)
    if not isinstance(model, FMClassifier):
        with pytest.raises(ValueError, match=r"y must contain numbers.*astype"):
            model.fit(X, dates[:, 0])


def test_integers_too_large_for_floats():
    refused(FMRegressor(), [[10**400], [1]], [1, 2], None, "X has values that are not numbers")


def test_numbers_are_no_labels():
    X, y = make("squared_error")
    refused(FMClassifier(), X, y, None, "Unknown label type")


def test_one_class():
    X, y = make("log_loss")
    refused(FMClassifier(), X, np.ones(len(y)), None, "class")
    refused(FMClassifier(), X, y, y.astype(float), "class.*weight|weight.*class")


@pytest.mark.parametrize("class_weight", ["wrong", {0: 0.0}, {0: -1.0}, {0: np.nan}, 3])
def test_bad_class_weight(class_weight):
    X, y = make("log_loss")
    refused(FMClassifier(class_weight=class_weight), X, y, None, "class_weight", Exception)


BAD_PARAMETERS = {
    "n_components": [-1, 1.5, "8", None, True, np.nan],
    "loss": ["hinge", None, 3, "log"],
    "solver": ["lbfgs", None, ["adagrad"]],
    "alpha": [-1e-9, "1", None, np.nan, np.inf, True, [0.1]],
    "alpha_linear": [-1e-9, "1", None, np.nan, np.inf],
    "alpha_l1": [-1e-9, "1", None, np.nan, np.inf, True],
    "alpha_l21": [-1e-9, "1", None, np.nan, np.inf, True],
    "epsilon": [0, -1.0, None, np.nan, "1"],
    "quantile": [0, 1, 1.5, None, np.nan],
    "learning_rate": [0, 0.0, -0.1, "fast", None, np.nan, np.inf],
    "batch_size": [0, -5, 1.5, "all", None, True],
    "max_iter": [0, -1, 10.5, None, "many"],
    "tol": [-1e-9, None, "0", np.nan, np.inf],
    "n_iter_no_change": [0, -1, 2.5, None],
    "early_stopping": [None, 1, "yes"],
    "validation_fraction": [0, 0.0, 1.0, -0.5, "0.1", None, np.nan],
    "scoring": ["losses", 3, ["r2"]],
    "refit": ["yes", None, 1],
    "callback": ["print", 3],
    "degree": [1, 0, 2.5, "2", None, True, 11, np.nan],
    "fit_lower": ["no", None, 0],
    "interactions": ["ab", 3, [("a", "b")], {"a": "b"}],
    "field_interactions": ["x", None, 2, True, ["aware"]],
    "alpha_fields": [-1.0, "x", None, np.nan, [1.0]],
    "feature_fields": [[0], "ab", [0, np.nan, 1], [[0, 1, 2]], 3, [0, "a", None]],
    "feature_groups": [[0], "ab", [0, np.nan, 1], [[0, 1, 2]], 3, [0, "a", None]],
    "init_scale": [-1.0, None, "0.1", np.nan, np.inf],
    "fit_intercept": ["yes", None, 1],
    "fit_linear": ["no", None, 0],
    "warm_start": ["yes", None, 1],
    "n_jobs": [0, 1.5, "all", True],
    "verbose": [-1, 0.5, "loud", None],
    "random_state": ["seed", -1, 1.5],
}


@pytest.mark.parametrize("model", [FMRegressor(), FMClassifier()])
@pytest.mark.parametrize("name", BAD_PARAMETERS)
def test_bad_parameter(model, name):
    X, y = make("log_loss", n_rows=30)
    if name not in model.get_params():
        return
    for value in BAD_PARAMETERS[name]:
        bad = clone(model).set_params(**{name: value})
        match = "[Ss]eed" if name == "random_state" else rf"\b{name}\b"  # scikit-learn's own words
        with pytest.raises((ValueError, TypeError), match=match):
            bad.fit(X, y)
        assert_untouched(bad, (ValueError, TypeError), X, y, None)


@pytest.mark.parametrize("model", [FMRegressor(), FMClassifier()])
def test_every_parameter_is_checked(model):
    """A new parameter must get its line above."""
    own = {"class_weight", "initial_accumulator"}
    assert set(model.get_params()) - own <= set(BAD_PARAMETERS)


@pytest.mark.parametrize(
    "parameters",
    [
        {"n_components": np.int64(3), "alpha": np.float32(0.1), "max_iter": np.int32(2)},
        {"alpha": 0, "alpha_linear": 0, "tol": 0, "init_scale": 0},
        {"batch_size": 10**9, "n_jobs": -1, "verbose": False, "fit_intercept": np.True_},
        {"batch_size": 1, "n_jobs": -10_000},
        {"n_components": 50, "learning_rate": 1},
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_unusual_but_good_parameters(kind, parameters):
    X, y = make(kind, n_rows=30)
    model = model_for(kind, **{"max_iter": 3, **parameters}).fit(X, y)
    assert np.isfinite(raw(model, X)).all()


class Stop(BaseException):
    """Stands for KeyboardInterrupt, which pytest would take for the user's."""


@pytest.mark.pairwise
@pytest.mark.parametrize("interrupt", [Stop, KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("n_jobs", [None, 2])
@pytest.mark.parametrize("warm_start", [False, True])
@pytest.mark.parametrize("fitted", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_interrupted_fit_restores_the_model(
    kind, fitted, warm_start, n_jobs, interrupt, monkeypatch
):
    X, y = make(kind)
    model = model_for(kind, max_iter=5, warm_start=warm_start, n_jobs=n_jobs)
    if fitted:
        model.fit(pd.DataFrame(X, columns=list("abcdef")), y)
        expected = raw(model, X)
        parameters = [array.copy() for array in parameters_of(model)]
    before = dict(vars(model))

    def interrupted(self, number, loss):
        if number == 3:
            raise interrupt

    monkeypatch.setattr(Progress, "epoch", interrupted)
    other = X if warm_start else X[:, :4]
    with pytest.raises(interrupt):
        model.fit(other, y)
    assert vars(model).keys() == before.keys()
    for name, value in before.items():
        assert vars(model)[name] is value, name
    monkeypatch.undo()
    if fitted:
        assert model.n_features_in_ == 6
        assert_array_equal(raw(model, X), expected)
        for one, kept in zip(parameters_of(model), parameters, strict=True):
            assert_array_equal(one, kept)
    else:
        with pytest.raises(NotFittedError):
            model.predict(X)
    model.fit(X, y)


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_failure_within_a_batch_is_raised(n_jobs, monkeypatch):
    """Also from another thread's part of a batch, and without waiting for ever."""
    X, y = make("squared_error")

    def fail(*arguments):
        raise Stop

    name = "run_steps"
    monkeypatch.setattr(minibatch.kernels, name, fail)
    model = FMRegressor(n_jobs=n_jobs)
    with pytest.raises(Stop):
        model.fit(X, y)
    assert not hasattr(model, "n_features_in_")


@pytest.mark.parametrize(
    ("estimator", "X", "y", "message"),
    [
        (FMRegressor, [[1.0], [1.0, 2.0]], [1, 2], "rows have equal lengths"),
        (FMClassifier, [[1.0], [2.0]], [[1], [1, 2]], "one value for each row"),
        (FMRegressor, [[1.0], [2.0]], [[1], [1, 2]], "^y must contain one number for each row"),
        (FMRegressor, pd.DataFrame(index=range(2)), [1, 2], "^X has no columns"),
    ],
)
def test_tables_that_are_none(estimator, X, y, message):
    with pytest.raises(ValueError, match=message):
        estimator().fit(X, y)
