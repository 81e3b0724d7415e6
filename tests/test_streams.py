"""partial_fit: what a chunk teaches, what is kept, what is refused."""

import copy
import pickle
import warnings

import numpy as np
import pytest
from builders import MINIBATCH_SOLVERS
from helpers import JIT, size
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone

from skfm import FMClassifier, FMRegressor
from skfm._solvers.fm import minibatch, streams
from skfm.datasets import make_fm_classification, make_fm_regression

pytestmark = pytest.mark.filterwarnings("ignore")
KINDS = ["numbers", "two classes", "three classes"]


def make(kind, n_rows=600, seed=0):
    X, y = make_fm_regression(n_rows, n_fields=4, n_levels=30, random_state=seed)
    if kind == "numbers":
        return X, y
    return X, np.digitize(y, [0.0] if kind == "two classes" else [-1.0, 1.0])


def model_for(kind, **parameters):
    make_model = FMRegressor if kind == "numbers" else FMClassifier
    return make_model(**{"random_state": 0, "n_components": 3, **parameters})


def learn(model, X, y, **options):
    if isinstance(model, FMClassifier):
        options.setdefault("classes", np.unique(y))
    return model.partial_fit(X, y, **options)


def parameters_of(model):
    return np.atleast_1d(model.intercept_), model.coef_, model.components_


def assert_same(model, other):
    for one, two in zip(parameters_of(model), parameters_of(other), strict=True):
        assert_array_equal(one, two)


# One call


@pytest.mark.around(solver="adagrad", dtype=np.float64)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n_rows", [300, size(2500, 300)])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("solver", MINIBATCH_SOLVERS)
def test_first_call_is_one_epoch(solver, kind, n_rows, dtype):
    X, y = make(kind, n_rows)
    X = X.astype(dtype)
    weight = np.random.default_rng(0).integers(3, size=len(y)).astype(float)
    for options in ({}, {"sample_weight": weight}):
        once = model_for(kind, solver=solver, max_iter=1).fit(X, y, **options)
        streamed = learn(model_for(kind, solver=solver), X, y, **options)
        assert_same(streamed, once)
        assert streamed.coef_.dtype == dtype
        assert streamed.loss_curve_ == once.loss_curve_
    dense = learn(model_for(kind, solver=solver), X.toarray(), y)
    assert_same(dense, learn(model_for(kind, solver=solver), X, y))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("solver", ["adagrad", "adam", "sgd"])
def test_same_chunk_again_is_another_epoch(solver, kind):
    X, y = make(kind)
    fitted = model_for(kind, solver=solver, max_iter=4).fit(X, y)
    streamed = model_for(kind, solver=solver)
    for _ in range(4):
        learn(streamed, X, y)
    assert streamed.loss_curve_ == fitted.loss_curve_
    assert streamed.n_iter_ == 4


@pytest.mark.parametrize("solver", MINIBATCH_SOLVERS)
def test_number_of_threads_does_not_matter(solver):
    X, y = make("numbers", size(4000, 300))
    models = [FMRegressor(solver=solver, n_jobs=n, random_state=0) for n in (None, 2)]
    for model in models:
        cut = 3 * len(y) // 8
        for part in (slice(0, cut), slice(cut, None)):
            model.partial_fit(X[part], y[part])
    assert_same(*models)


# Streams


@pytest.mark.full
@pytest.mark.skipif(not JIT, reason="takes too long without the JIT")
@pytest.mark.parametrize("solver", MINIBATCH_SOLVERS)
@pytest.mark.parametrize("kind", ["numbers", "two classes"])
def test_a_pass_over_chunks_is_about_an_epoch(solver, kind):
    maker = make_fm_regression if kind == "numbers" else make_fm_classification
    X, y = maker(60_000, n_fields=5, n_levels=200, random_state=0)
    cut = 50_000
    streamed = model_for(kind, solver=solver, n_components=8)
    once = model_for(kind, solver=solver, n_components=8, max_iter=1).fit(X[:cut], y[:cut])
    for n_passes in (1, 9):
        for _ in range(n_passes):
            for start in range(0, cut, 5000):
                rows = slice(start, start + 5000)
                learn(streamed, X[rows], y[rows])
        if n_passes == 1:
            assert streamed.score(X[cut:], y[cut:]) > once.score(X[cut:], y[cut:]) - 0.05
    ten = clone(once).set_params(max_iter=10).fit(X[:cut], y[:cut])
    assert streamed.score(X[cut:], y[cut:]) > ten.score(X[cut:], y[cut:]) - 0.02


def test_penalties_are_divided_by_all_rows_seen():
    """Once in each chunk, the column has a weight nearly free in the end."""
    rng = np.random.default_rng(0)
    model = FMRegressor(0, random_state=0, alpha_linear=5.0, learning_rate=0.5)
    for _ in range(200):
        X = np.zeros((50, 2))
        X[0, 0], X[1:, 1] = 1, 1
        model.partial_fit(X, 3 * X[:, 0] + rng.normal(size=50))
    assert model.predict([[1, 0]])[0] - model.predict([[0, 1]])[0] > 2


def test_memory_is_kept_and_pickled(tmp_path):
    X, y = make("numbers", 900)
    parts = [(X[i : i + 300], y[i : i + 300]) for i in (0, 300, 600)]
    for solver in MINIBATCH_SOLVERS:
        model = FMRegressor(solver=solver, random_state=0).partial_fit(*parts[0])
        model.partial_fit(*parts[1])
        again = pickle.loads(pickle.dumps(model))
        model.partial_fit(*parts[2])
        assert_same(again.partial_fit(*parts[2]), model)
        if solver != "sgd":
            forgetful = FMRegressor(solver=solver, random_state=0).partial_fit(*parts[0])
            forgetful.partial_fit(*parts[1])
            forgetful = pickle.loads(pickle.dumps(forgetful))
            forgetful._stream.memory.state = None
            forgetful.partial_fit(*parts[2])
            assert (forgetful.coef_ != model.coef_).any()


@pytest.mark.parametrize("solver", MINIBATCH_SOLVERS)
def test_after_fit(solver):
    X, y = make("numbers", size(5000, 400))
    model = FMRegressor(solver=solver, random_state=0, max_iter=size(50, 5)).fit(X, y)
    score = model.score(X, y)
    loaded = pickle.loads(pickle.dumps(model))
    for n_rows in (1, 10, 300):
        model.partial_fit(X[:n_rows], y[:n_rows])
        loaded.partial_fit(X[:n_rows], y[:n_rows])
        assert_same(loaded, model)
        assert model.score(X, y) > score - 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_columns_that_come_later_learn_and_others_stay(kind):
    X, y = make(kind, 800)
    X = X.toarray()
    first, second = X[:400].copy(), X[400:].copy()
    first[:, :30], second[:, 30:60] = 0, 0
    model = learn(model_for(kind), first, y[:400])
    before = copy.deepcopy(model)
    assert not model.coef_[..., :30].any()
    learn(model, second, y[400:])
    assert (model.coef_[..., :30] != 0).any() and (model.components_[..., :30] != 0).any()
    assert_allclose(model.coef_[..., 30:60], before.coef_[..., 30:60], rtol=1e-12)
    assert_allclose(model.components_[..., 30:60], before.components_[..., 30:60], rtol=1e-12)


def by_formula(model, X):
    pairs = np.triu(model.components_.T @ model.components_, k=1)
    return model.intercept_ + X @ model.coef_ + ((X @ pairs) * X).sum(axis=1)


@pytest.mark.full
@pytest.mark.parametrize("gap", ["none", "zeros", "missing"])
def test_columns_far_from_zero(gap):
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(1000, 4))
    y = Z[:, 0] + Z[:, 1] * Z[:, 2]
    X = Z + np.array([100, 0, 0, 1000])
    model = FMRegressor(random_state=0, learning_rate=0.3)
    for _ in range(size(60, 3)):
        model.partial_fit(X[:500], y[:500])
    later = X[500:].copy()
    if gap != "none":
        later[::50, 0] = 0
    rows = sparse.csr_matrix(later)
    if gap == "zeros":
        columns, starts = np.tile(np.arange(4), 500), np.arange(0, 2001, 4)
        rows = sparse.csr_matrix((later.ravel(), columns, starts))
    model.partial_fit(rows, y[500:])
    assert_allclose(model.predict(later), by_formula(model, later), atol=1e-6)
    assert np.isfinite(model.predict(later)).all()
    if gap == "none":
        assert size(model.score(later, y[500:]), 1) > 0.8


def test_sparse_gaps_equal_dense_zeros():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3)) + np.array([100, 0, 0])
    y = X[:, 1]
    later = X[200:].copy()
    later[::7, 0] = 0
    models = []
    for rows in (later, sparse.csr_matrix(later)):
        model = FMRegressor(random_state=0).partial_fit(X[:200], y[:200])
        models.append(model.partial_fit(rows, y[200:]))
    assert_same(*models)


def test_the_unit_of_y_is_that_of_the_first_chunk():
    X, y = make("numbers")
    model = FMRegressor(random_state=0).partial_fit(X, y)
    transform = model._stream.target_transform
    model.partial_fit(X, 1000 * y)
    assert model._stream.target_transform == transform
    assert np.isfinite(model.predict(X)).all()


def test_a_first_chunk_with_constant_targets():
    X, y = make("numbers", 800)
    model = FMRegressor(random_state=0).partial_fit(X[:100], np.full(100, 5.0))
    for _ in range(size(60, 3)):
        model.partial_fit(X[100:], y[100:] + 5)
    assert size(model.score(X, y + 5), 1) > 0.5


def test_single_rows():
    X, y = make("numbers", 300)
    model = FMRegressor(random_state=0)
    for row in range(40):
        model.partial_fit(X[row], y[row : row + 1])
    assert np.isfinite(model.predict(X)).all() and model.n_iter_ == 40


@pytest.mark.full
@pytest.mark.parametrize(
    "loss", ["absolute_error", "huber", "quantile", "poisson", "log_loss", "squared_hinge"]
)
def test_every_loss_learns(loss):
    X, y = make("numbers", 900)
    if loss == "poisson":
        y = np.random.default_rng(0).poisson(np.exp(np.clip(y, None, 2))).astype(float)
    if loss in ("log_loss", "squared_hinge"):
        model, y = FMClassifier(loss=loss, random_state=0), (y > 0).astype(int)
    else:
        model = FMRegressor(loss=loss, random_state=0)
    for _ in range(size(20, 3)):
        for start in (0, 300, 600):
            learn(model, X[start : start + 300], y[start : start + 300])
    curve = model.loss_curve_
    assert np.mean(curve[-3:]) < np.mean(curve[:3])


# Classes


def test_classes():
    X, y = make("three classes")
    names = np.array(["a", "b", "c"])[y]
    model = FMClassifier(random_state=0)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        model.partial_fit(X, names)
    for bad, message in ((["a"], "at least two"), (["a", "b"], "'c'.*not among the classes")):
        with pytest.raises(ValueError, match=message):
            model.partial_fit(X, names, classes=bad)
    assert not hasattr(model, "classes_")
    some = names != "c"
    model.partial_fit(X[some], names[some], classes=["c", "a", "b"])
    assert_array_equal(model.classes_, ["a", "b", "c"])
    assert np.isfinite(model.predict_proba(X)).all()
    with pytest.raises(ValueError, match="classes must be the same"):
        model.partial_fit(X, names, classes=["a", "b"])
    for _ in range(size(60, 3)):
        model.partial_fit(X, names)
    assert model.score(X, names) > size(0.8, 0.0)
    with pytest.raises(ValueError, match="requires all rows at once"):
        FMClassifier(class_weight="balanced").partial_fit(X, y, classes=[0, 1, 2])
    weighted = FMClassifier(class_weight={0: 5.0, 1: 1.0, 2: 1.0}, random_state=0)
    weighted.partial_fit(X, y, classes=[0, 1, 2])
    plain = FMClassifier(random_state=0).partial_fit(X, y, classes=[0, 1, 2])
    assert (weighted.predict(X) == 0).sum() >= (plain.predict(X) == 0).sum()
    assert (weighted.coef_ != plain.coef_).any()


# What is refused


def with_nan(X):
    X = X.toarray()
    X[0, 0] = np.nan
    return X


@pytest.mark.parametrize(
    "change, X_of, y_of, message",
    [
        ({}, with_nan, None, "NaN"),
        ({}, None, lambda y: np.where(y > 0, np.inf, y), "infinity"),
        ({}, lambda X: X[:, :50], None, "features"),
        ({}, None, lambda y: y[:-1], "inconsistent"),
        ({"solver": "adam"}, None, None, "adagrad"),
        ({"n_components": 4}, None, None, "n_components"),
        ({"loss": "huber"}, None, None, "huber"),
        ({"early_stopping": True}, None, None, "early_stopping"),
        ({"alpha": -1}, None, None, "alpha"),
    ],
)
def test_a_refused_call_leaves_no_trace(change, X_of, y_of, message):
    X, y = make("numbers")
    model = model_for("numbers").partial_fit(X, y)
    untouched = copy.deepcopy(model)
    settings = model.get_params()
    model.set_params(**change)
    with pytest.raises((ValueError, TypeError), match=message):
        model.partial_fit(X_of(X) if X_of else X, y_of(y) if y_of else y)
    model.set_params(**settings)
    assert_same(model, untouched)
    assert_same(model.partial_fit(X[:300], y[:300]), untouched.partial_fit(X[:300], y[:300]))


class Interrupted(BaseException):
    """Stands for KeyboardInterrupt."""


def test_an_interrupted_call_leaves_no_trace(monkeypatch):
    X, y = make("numbers", size(3000, 300))
    model = model_for("numbers").partial_fit(X[:200], y[:200])
    untouched = copy.deepcopy(model)
    epoch = minibatch.Trainer.epoch

    def interrupted(trainer):
        epoch(trainer)
        raise Interrupted

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(minibatch.Trainer, "epoch", interrupted)
        model.partial_fit(X[200:], y[200:])
    assert_same(model, untouched)
    assert_same(model.partial_fit(X[200:], y[200:]), untouched.partial_fit(X[200:], y[200:]))


@pytest.mark.parametrize("solver", MINIBATCH_SOLVERS)
def test_a_monstrous_chunk_never_leaves_nan(solver):
    X, y = make("numbers")
    model = model_for("numbers", solver=solver).partial_fit(X, y)
    for factor, target in ((1e150, 1.0), (1.0, 1e150), (1e6, 1e6)):
        try:
            model.partial_fit(X[:50] * factor, y[:50] * target)
        except ValueError:
            pass
        assert all(np.isfinite(array).all() for array in parameters_of(model))
    assert np.isfinite(model.partial_fit(X, y).predict(X)).all()


@pytest.mark.parametrize("random_state", [None, np.random.RandomState(0)])
def test_unseeded(random_state):
    X, y = make("numbers")
    model = FMRegressor(random_state=random_state).partial_fit(X[:300], y[:300])
    again = pickle.loads(pickle.dumps(model))
    assert_same(again.partial_fit(X, y), model.partial_fit(X, y))


def test_callback_counts_calls():
    X, y = make("numbers")
    seen = []
    model = FMRegressor(random_state=0, callback=lambda *a: seen.append(a[1:]))
    for start in (0, 200, 400):
        model.partial_fit(X[start : start + 200], y[start : start + 200])
    assert [epoch for epoch, _ in seen] == [1, 2, 3]
    assert [loss for _, loss in seen] == model.loss_curve_


# Outliers


def error_of_stream(model, outlier, in_target, n_before=20, n_after=60):
    """The root mean square error of what a stream has taught that may have an outlier."""
    rng = np.random.default_rng(0)
    weights, n = rng.normal(size=5), 100

    def draw(n):
        return np.c_[np.eye(3)[rng.integers(3, size=n)], rng.normal(size=(n, 2))]

    X_test = draw(1000)
    for chunk in range(n_before + n_after):
        X = draw(n)
        y = X @ weights + 0.5 * rng.normal(size=n)
        if chunk == n_before and in_target:
            y[0] = outlier
        elif chunk == n_before:
            X[0, -1] = outlier
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            try:
                model.partial_fit(X, y)
            except ValueError:  # too far off: the chunk is refused
                assert chunk == n_before
    return np.sqrt(np.mean((model.predict(X_test) - X_test @ weights) ** 2))


@pytest.mark.skipif(not JIT, reason="needs many rows")
@pytest.mark.parametrize("outlier, in_target", [(1e3, False), (1e5, False), (1e4, True)])
@pytest.mark.parametrize("solver", MINIBATCH_SOLVERS)
def test_an_outlier_is_forgotten(solver, outlier, in_target):
    model = FMRegressor(4, solver=solver, random_state=0)
    clean = error_of_stream(clone(model), 0.5, in_target)
    assert error_of_stream(clone(model), outlier, in_target) < 1.5 * clean


@pytest.mark.parametrize("solver", MINIBATCH_SOLVERS)
def test_usual_chunks_teach_as_much_as_without_a_guard(solver, monkeypatch):
    X, y = make_fm_regression(4000, n_levels=10, random_state=0)

    def score(model):
        for start in range(0, 3000, 100):
            model.partial_fit(X[start : start + 100], y[start : start + 100])
        return model.score(X[3000:], y[3000:])

    model = FMRegressor(4, solver=solver, random_state=0)
    guarded = score(clone(model))
    monkeypatch.setattr(streams.Guard, "restrain", lambda *arguments: None)
    assert guarded > score(clone(model)) - 0.005


def test_the_learning_rate_recovers_after_a_chunk_that_diverged():
    rng = np.random.default_rng(0)
    model = FMRegressor(0, solver="sgd", random_state=0)

    def learn(factor):
        X = rng.normal(size=(50, 3))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            model.partial_fit(factor * X, X.sum(axis=1))
        return model._stream.memory.rate_factor

    assert learn(1) == 1
    assert learn(30) < 1
    assert [learn(1) for _ in range(40)][-1] == 1
