"""Learning from a stream, chunk by chunk."""

import copy
import pickle
import warnings
from functools import cache
from itertools import pairwise

import joblib
import numpy as np
import pandas as pd
import pytest
from builders import LOSSES, assert_same, make_dense, model_for, quietly, raw
from builders import SOLVERS as ALL_SOLVERS
from helpers import JIT, size
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import log_loss

from skfm import FMClassifier, FMRegressor
from skfm._solvers.fm import minibatch
from skfm._solvers.fm.interactions import all_pairs
from skfm._solvers.fm.penalties import Penalties
from skfm._solvers.fm.problem import make_problem
from skfm.datasets import make_fm_classification, make_fm_regression

SOLVERS = [solver for solver in ALL_SOLVERS if solver != "als"]  # which takes all rows at once
KINDS = [("squared_error", 0), ("log_loss", 2), ("log_loss", 3)]

needs_jit = pytest.mark.skipif(not JIT, reason="needs many rows")


def make(n_classes, n_rows, **options):
    """One-hot rows and targets: numbers, or labels of so many classes."""
    options = {"n_levels": 20, "random_state": 0, **options}
    if n_classes:
        return make_fm_classification(n_rows, n_classes=n_classes, **options)
    return make_fm_regression(n_rows, **options)


def learn(model, X, y, weight=None):
    """One call of `partial_fit`; all classes are in y, or known."""
    if isinstance(model, FMRegressor):
        return quietly(model.partial_fit, X, y, weight)
    classes = None if hasattr(model, "classes_") else np.unique(y)
    return quietly(model.partial_fit, X, y, classes, weight)


def chunks(X, y, n_rows):
    return [(X[i : i + n_rows], y[i : i + n_rows]) for i in range(0, len(y), n_rows)]


def learn_chunks(model, X, y, n_rows, passes=1):
    for _ in range(passes):
        for chunk in chunks(X, y, n_rows):
            learn(model, *chunk)
    return model


def copy_of(model):
    return pickle.loads(pickle.dumps(model))


def mean_loss(model, X, y):
    """Half the squared error in units of y's variance, or the log loss."""
    if isinstance(model, FMRegressor):
        return (1 - model.score(X, y)) / 2
    return log_loss(y, model.predict_proba(X), labels=model.classes_)


def fit_epochs(model, X, y, weight=None, *, epochs):
    """So many epochs of fit, whatever happens."""
    model.set_params(max_iter=epochs, n_iter_no_change=epochs, tol=0)
    return quietly(model.fit, X, y, weight)


# One call and several


@pytest.mark.around(solver="adagrad", n_classes=0, dtype=np.float64)
@pytest.mark.pairwise
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("several_batches", [False, True])
@pytest.mark.parametrize("loss, n_classes", KINDS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_first_call_is_one_epoch_of_fit(solver, loss, n_classes, several_batches, dtype):
    X, y = make(n_classes, size(1500, 80) if several_batches else size(300, 80), dtype=dtype)
    batch_size = "auto" if JIT or not several_batches else 16
    weight = np.random.default_rng(0).uniform(0.1, 3, len(y)) * (np.arange(len(y)) % 7 > 0)
    options = {"solver": solver, "batch_size": batch_size}
    for rows, weights in ((X, None), (X, weight), (X.toarray(), weight)):
        streamed = learn(model_for(loss, n_classes, **options), rows, y, weights)
        fitted = quietly(model_for(loss, n_classes, max_iter=1, **options).fit, rows, y, weights)
        assert_same(streamed, fitted)
        assert_array_equal(raw(streamed, X), raw(fitted, X))
        assert raw(streamed, X).dtype == dtype
        assert streamed.n_iter_ == fitted.n_iter_ == 1
        assert streamed.loss_curve_ == fitted.loss_curve_
        assert streamed.n_features_in_ == X.shape[1]


@pytest.mark.around(solver="adagrad", loss="squared_error")
@pytest.mark.parametrize("loss, n_classes", LOSSES)
@pytest.mark.parametrize("solver", SOLVERS)
def test_first_call_is_one_epoch_of_fit_for_every_loss(solver, loss, n_classes):
    X, y = make_dense(loss, n_classes)
    streamed = learn(model_for(loss, n_classes, solver=solver), X, y)
    fitted = model_for(loss, n_classes, solver=solver, max_iter=1)
    assert_same(streamed, quietly(fitted.fit, X, y))


# Steps short enough for the objective to fall all the time.
SHORT = {"adagrad": 0.05, "adam": 0.02, "ftrl": 0.03, "sgd": 0.01}


@pytest.mark.around(solver="adagrad", n_classes=0, dtype=np.float64)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("loss, n_classes", KINDS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_the_same_chunk_again_is_another_epoch(solver, loss, n_classes, dtype):
    """It is recognized in every format, and its rows are not counted again."""
    X, y = make(n_classes, size(300, 40), dtype=dtype)
    weight = np.random.default_rng(0).uniform(0.1, 3, len(y))
    options = {"solver": solver, "learning_rate": SHORT[solver]}
    for weights, n_calls in ((None, 2), (None, 6), (weight, 6)):
        streamed = model_for(loss, n_classes, **options)
        for call in range(n_calls):
            learn(streamed, X.toarray() if call % 2 else X, y, weights)
        fitted = model_for(loss, n_classes, **options)
        fit_epochs(fitted, X, y, weights, epochs=n_calls)
        assert (np.diff(fitted.loss_curve_) < 0).all()
        assert_same(streamed, fitted)
        assert streamed.loss_curve_ == fitted.loss_curve_
        assert streamed.n_iter_ == n_calls


@needs_jit
@pytest.mark.parametrize("n_rows", [100, 300, 1000])
@pytest.mark.parametrize("solver", SOLVERS)
def test_repeated_calls_do_not_get_stuck(solver, n_rows):
    """Also where the objective rises at times."""
    X, y = make(0, n_rows, random_state=1)
    streamed = FMRegressor(solver=solver, random_state=0)
    for _ in range(60):
        learn(streamed, X, y)
    fitted = fit_epochs(FMRegressor(solver=solver, random_state=0), X, y, epochs=60)
    assert streamed.score(X, y) > fitted.score(X, y) - 0.03


def test_other_rows_other_targets_and_other_weights_are_new():
    X, y = make(0, 100)
    model = FMRegressor(random_state=0)
    for data, seen in (
        ((X, y), 100),
        ((X, y, np.ones(100)), 100),
        ((X, -y), 200),
        ((X, y, np.full(100, 2.0)), 400),
        ((2 * X, y), 500),
        ((X, -y), 500),
        ((X[::-1], y[::-1]), 600),
    ):
        learn(model, *data)
        assert model._stream.scaling.seen_weight == seen


@pytest.mark.around(solver="adagrad", n_classes=0)
@pytest.mark.parametrize("loss, n_classes", KINDS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_number_of_threads_does_not_matter(solver, loss, n_classes):
    X, y = make(n_classes, size(3000, 200))
    one, *others = [
        learn_chunks(model_for(loss, n_classes, solver=solver, n_jobs=n_jobs), X, y, len(y) // 2)
        for n_jobs in (1, 2, 3)
    ]
    for other in others:
        assert_same(other, one)


# Streams


def long_stream(solver, n_classes):
    """A model, 8000 rows to train on and 2000 held-out ones."""
    X, y = make(n_classes, 10_000, n_levels=50)
    model = model_for("log_loss" if n_classes else "squared_error", n_classes, solver=solver)
    if solver == "sgd":  # "auto" would be all of a small first chunk
        model.set_params(batch_size=128)
    return model, (X[:8000], y[:8000]), (X[8000:], y[8000:])


@cache
def held_out_loss_of_fit(solver, n_classes, epochs):
    model, train, held_out = long_stream(solver, n_classes)
    return mean_loss(fit_epochs(model, *train, epochs=epochs), *held_out)


@pytest.mark.around(solver="adagrad", n_classes=0)
@pytest.mark.pairwise
@needs_jit
@pytest.mark.parametrize("n_rows", [500, 2000])
@pytest.mark.parametrize("n_classes", [0, 2])
@pytest.mark.parametrize("solver", SOLVERS)
def test_passes_over_chunks_are_like_epochs(solver, n_classes, n_rows):
    """Held-out rows are predicted about as well, after one pass and after ten."""
    model, train, held_out = long_stream(solver, n_classes)
    base = 0.5 if n_classes == 0 else np.log(2)  # of the intercept alone, about
    for passes, epochs, tolerance in ((1, 1, 0.08), (9, 10, 0.02)):
        learn_chunks(model, *train, n_rows, passes)
        reached = held_out_loss_of_fit(solver, n_classes, epochs)
        assert reached < 0.95 * base
        assert mean_loss(model, *held_out) < reached + tolerance * base


@cache
def clicks():
    """Levels that are mostly rare, and rows that are held out."""
    X, y = make(2, 44_000, n_fields=3, n_levels=1000)
    return (X[:40_000], y[:40_000]), (X[40_000:], y[40_000:])


def gain_of_one_pass(model, n_rows):
    """Of log loss on held-out rows, beside knowing no feature: these are as many of each class."""
    train, held_out = clicks()
    return np.log(2) - mean_loss(learn_chunks(model, *train, n_rows), *held_out)


@needs_jit
@pytest.mark.parametrize("n_rows", [1000, 20_000])
def test_one_pass_learns_most_of_what_there_is(n_rows):
    """A stream is seen once: first steps are long enough, also for features of few rows."""
    model = FMClassifier(random_state=0)
    train, held_out = clicks()
    fitted = fit_epochs(clone(model), *train, epochs=5)
    gain = np.log(2) - mean_loss(fitted, *held_out)
    assert gain > 0.1
    assert gain_of_one_pass(model, n_rows) > 0.9 * gain


@needs_jit
def test_small_chunks_of_much_data_are_no_small_data():
    """Plain steps lose much in large batches, be they whole chunks."""
    small, large = (
        gain_of_one_pass(FMClassifier(solver="sgd", random_state=0), n_rows)
        for n_rows in (1000, 20_000)
    )
    assert small > 0.9 * large


@pytest.mark.around(solver="adagrad", loss="squared_error")
@pytest.mark.parametrize("loss, n_classes", LOSSES)
@pytest.mark.parametrize("solver", SOLVERS)
def test_every_loss_learns_from_chunks(solver, loss, n_classes):
    left = []
    for seed in range(size(3, 1)):  # single large counts make single streams rough
        X, y = make_dense(loss, n_classes, n_rows=size(1600, 200), seed=seed)
        model = model_for(loss, n_classes, solver=solver)
        learn_chunks(model, X, y, len(y) // 4, passes=size(5, 3))
        left.append(np.mean(model.loss_curve_[-4:]) / model.loss_curve_[0])
        assert np.isfinite(raw(model, X)).all()
    assert np.median(left) < 0.9 or not JIT


def test_chunks_of_one_row():
    X, y = make(0, size(300, 150), n_levels=4, skew=0)
    model = learn_chunks(FMRegressor(random_state=0), X, y, 1)
    assert model.n_iter_ == len(y)
    assert model.score(X, y) > (0.4 if JIT else 0.2)
    labels = y > 0
    model = FMClassifier(random_state=0)
    for row, label in chunks(X, labels, 1):
        model.partial_fit(row, label, [False, True])
    assert model.score(X, labels) > (0.7 if JIT else 0.6)


def test_chunks_of_one_row_of_numbers_stay_finite():
    X, y = make_dense("squared_error", 0, n_rows=size(150, 40))
    model = learn_chunks(FMRegressor(random_state=0), X, y, 1)
    assert np.isfinite(model.predict(X)).all()


# Units


def loss_by_formula(model, X, y, shift, unit):
    """Mean squared error over 2, of targets in this unit, from the public attributes."""
    pairs = np.triu(model.components_.T @ model.components_, k=1)
    output = model.intercept_ + X @ model.coef_ + ((X @ pairs) * X).sum(axis=1)
    assert_allclose(model.predict(X), output, rtol=1e-6, atol=1e-6 * unit)
    return np.mean(((output - y) / unit) ** 2) / 2


def test_the_unit_of_y_is_that_of_the_first_chunk():
    """The loss of a call in one batch is that of the model before it."""
    X, y = make_dense("squared_error", 0)
    model = learn(FMRegressor(alpha=0, alpha_linear=0, random_state=0), X, y)
    expected = loss_by_formula(model, X, 10 * y + 100, y.mean(), y.std())
    learn(model, X, 10 * y + 100)
    assert_allclose(model.loss_curve_[1], expected)


@pytest.mark.parametrize("how", ["fit", "partial_fit"])
@pytest.mark.parametrize("constant", [0.0, 5.0])
def test_targets_may_be_constant_at_first(constant, how):
    X, y = make_dense("squared_error", 0, n_rows=600)
    y = constant + (y - y.mean()) / y.std()
    model = FMRegressor(random_state=0)
    getattr(model, how)(X[:50], np.full(50, constant))
    learn_chunks(model, X, y, 200, passes=size(40, 10))
    assert model.score(X, y) > (0.8 if JIT else 0.3)


def far_chunks():
    """Chunks of columns around 100, the later ones with zeros and missing entries there."""
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(600, 5))
    y = Z[:, 0] + Z[:, 1] * Z[:, 2] + rng.normal(size=600) / 10
    X = Z + np.array([100, 100, 0, 100, 100])
    holes = X.copy()
    holes[::5, 0] = holes[1::7, 4] = 0
    kept = sparse.coo_matrix(np.ones_like(X))
    explicit = sparse.csr_matrix((holes[kept.row, kept.col], (kept.row, kept.col)))
    assert (explicit.data == 0).any()
    return [
        ("complete", X, X, y),
        ("missing", sparse.csr_matrix(holes), holes, y),
        ("explicit", explicit, holes, y),
        ("no column at all", sparse.csr_matrix(X * [0, 0, 1, 1, 1]), X * [0, 0, 1, 1, 1], y),
        ("empty rows", sparse.csr_matrix(X.shape), 0 * X, y),
    ]


@pytest.mark.parametrize("how", ["fit", "partial_fit"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_columns_far_from_zero_with_zeros_later(solver, how):
    """What training computes of such rows is what the public attributes give."""
    (_, X, _, y), *later = far_chunks()
    rate = 1e-5 if solver == "sgd" else "auto"  # -100 is a hundred standard deviations
    options = {"alpha": 0, "alpha_linear": 0, "learning_rate": rate, "tol": 0, "batch_size": 600}
    for name, chunk, filled, target in later:
        model = FMRegressor(solver=solver, max_iter=size(50, 15), random_state=0, **options)
        quietly(getattr(model, how), X, y)
        expected = loss_by_formula(model, filled, target, y.mean(), y.std())
        learn(model, chunk, target)
        assert_allclose(model.loss_curve_[-1], expected, rtol=1e-6, err_msg=name)
        loss_by_formula(model, X, y, y.mean(), y.std())


@needs_jit
@pytest.mark.parametrize("solver", [name for name in SOLVERS if name != "sgd"])
def test_columns_far_from_zero_are_learned(solver):
    """Not by plain steps, which zeros a hundred standard deviations away throw far off."""
    (_, X, _, y), (_, holes, _, _), *_ = far_chunks()
    model = learn_chunks(FMRegressor(solver=solver, random_state=0), X, y, 300, passes=60)
    assert model.score(X, y) > 0.95
    learn(model, holes[:20], y[:20])
    learn_chunks(model, X, y, 300, passes=20)
    assert model.score(X, y) > 0.85


# Columns


@pytest.mark.parametrize("how", ["fit", "partial_fit"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_columns_that_come_later_are_learned(solver, how):
    X, y = make(0, size(2000, 200), n_fields=2, n_levels=6)
    none = sparse.csr_matrix(X.shape)
    first, second = sparse.hstack([X, none]).tocsr(), sparse.hstack([none, X]).tocsr()
    model = FMRegressor(solver=solver, random_state=0)
    quietly(getattr(model, how), first, y)
    assert not model.coef_[X.shape[1] :].any() and not model.components_[:, X.shape[1] :].any()
    before = model.score(second, y)
    learn_chunks(model, second, y, len(y) // 4, passes=size(10, 5))
    assert model.score(second, y) > (0.75 if JIT else before + 0.1)


def absent_columns(chunk):
    return np.asarray((chunk != 0).sum(axis=0)).ravel() == 0


@pytest.mark.around(solver="adagrad", n_classes=0)
@pytest.mark.parametrize("how", ["fit", "partial_fit"])
@pytest.mark.parametrize("loss, n_classes", KINDS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_absent_columns_keep_their_parameters(solver, loss, n_classes, how):
    """To the last bit, but after fit, which is scaled back: to rounding."""
    X, y = make(n_classes, size(1500, 200))
    model = model_for(loss, n_classes, solver=solver, max_iter=size(100, 10))
    chunk = X[:15]
    absent = absent_columns(chunk)
    assert 10 < absent.sum() < absent.size - 10
    if how == "fit":
        quietly(model.fit, X, y)
    else:
        learn(model, X, y)
    coef, components = model.coef_, model.components_
    learn(model, chunk, y[:15])
    rtol = 1e-12 if how == "fit" else 0
    assert_allclose(model.coef_[..., absent], coef[..., absent], rtol=rtol)
    assert_allclose(model.components_[..., absent], components[..., absent], rtol=rtol)
    assert not np.array_equal(model.coef_, coef)


@pytest.mark.parametrize("how", ["fit", "partial_fit"])
def test_absent_columns_without_factors_get_none(how):
    X, y = make(0, size(1500, 200))
    model = FMRegressor(solver="ftrl", alpha_l21=5.0, random_state=0)
    for _ in range(3):
        quietly(getattr(model, how), X, y)
    chunk = X[:15]
    zero = absent_columns(chunk) & (model.components_ == 0).all(axis=0)
    assert zero.sum() > 10
    learn(model, chunk, y[:15])
    assert not model.components_[:, zero].any()


# Penalties


def with_rare_column(n_chunks, n_rows):
    """One-hot rows, and a column that occurs once in each chunk and raises y by 3."""
    X, y = make(0, n_chunks * n_rows, n_levels=5, n_components=0, noise=0.3)
    rare = (np.arange(len(y)) % n_rows == 0).astype(float)
    return sparse.hstack([X, rare[:, None]]).tocsr(), y + 3 * rare


@needs_jit
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_rare_column_bears_its_penalty_once(solver):
    X, y = with_rare_column(12, 100)
    options = {"n_components": 0, "solver": solver, "random_state": 0, "alpha_linear": 5.0}
    streamed = learn_chunks(FMRegressor(**options), X, y, 100, passes=25)
    fitted = fit_epochs(FMRegressor(**options), X, y, epochs=300)
    # As often as there are chunks:
    wrong = fit_epochs(FMRegressor(**{**options, "alpha_linear": 12 * 5.0}), X, y, epochs=300)
    gap = fitted.coef_[-1] - wrong.coef_[-1]
    assert gap > 0.5
    assert abs(streamed.coef_[-1] - fitted.coef_[-1]) < 0.1 * gap


def share_borne(X, n_rows, **penalties):
    """What the rows of each column bear of its penalties in one pass over chunks."""
    borne, earlier = 0, None
    for start in range(0, X.shape[0], n_rows):
        chunk = X[start : start + n_rows]
        data = chunk, np.zeros(n_rows), np.ones(0), 0, Penalties(**penalties)
        problem = make_problem(*data, all_pairs(X.shape[1], 0), earlier=earlier)
        earlier = problem.scaling()
        shares = np.zeros((X.shape[1], problem.penalty_share.shape[1]))
        shares[problem.used] = problem.penalty_share
        borne = borne + shares * np.bincount(chunk.indices, minlength=X.shape[1])[:, None]
    return borne


@pytest.mark.parametrize("n_rows", [1, 10, 100])
def test_one_pass_bears_the_penalty_of_factors_once(n_rows):
    X, _ = make(0, 200, n_levels=5)
    borne = share_borne(X, n_rows, factors=1.2, linear=0.0)
    n = np.bincount(X.indices, minlength=X.shape[1])
    assert_allclose(borne[:, 1], 1.2 * np.sqrt(n))


def test_penalties_may_change_on_the_way():
    X, y = make(0, 200)
    model = learn(FMRegressor(random_state=0), X, y)
    other = copy_of(model).set_params(alpha_linear=1e6)
    for _ in range(30):
        learn(model, X, y)
        learn(other, X, y)
    assert abs(other.coef_).max() < 0.1 * abs(model.coef_).max()


# The optimizer's memory


def without_memory(model):
    other = copy_of(model)
    other._stream.memory.state = None
    return other


@pytest.mark.parametrize("solver, slot", [("adagrad", 1), ("adam", 3), ("ftrl", 2)])
def test_memory_goes_from_call_to_call(solver, slot):
    """What is summed up grows, and a model that has forgotten it goes elsewhere."""
    X, y = make(0, size(600, 150))
    model = FMRegressor(solver=solver, random_state=0)
    sums = []
    for chunk in chunks(X, y, len(y) // 3):
        learn(model, *chunk)
        sums.append(model._stream.memory.state.linear[0, :, slot])
    for before, after in pairwise(sums):
        assert after.sum() > before.sum() and after.max() > before.max()
    other = without_memory(model)
    learn(model, *chunk)
    learn(other, *chunk)
    assert abs(other.coef_ - model.coef_).max() > 1e-3


def through_pickle(model, folder):
    return pickle.loads(pickle.dumps(model))


def through_joblib(model, folder):
    joblib.dump(model, folder / "model.joblib")
    loaded = joblib.load(folder / "model.joblib", mmap_mode="r")
    assert isinstance(loaded.components_, np.memmap)
    return loaded


@pytest.mark.around(solver="adagrad", n_classes=0)
@pytest.mark.pairwise
@pytest.mark.parametrize("through", [through_pickle, through_joblib])
@pytest.mark.parametrize("how", ["fit", "partial_fit"])
@pytest.mark.parametrize("loss, n_classes", KINDS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_going_on_after_storing_gives_the_same_bits(
    solver, loss, n_classes, how, through, tmp_path
):
    X, y = make(n_classes, size(1800, 270))
    first, *rest = chunks(X, y, len(y) // 3)
    first = first[0].multiply(np.arange(X.shape[1]) % 3 > 0).tocsr(), first[1]  # some come later
    model = model_for(loss, n_classes, solver=solver, max_iter=5)
    quietly(model.fit, *first) if how == "fit" else learn(model, *first)
    stored = through(model, tmp_path)
    assert_same(stored, model)
    for chunk in rest + rest:
        learn(model, *chunk)
        learn(stored, *chunk)
        assert_same(stored, model)
    assert stored.loss_curve_ == model.loss_curve_


def test_storing_does_not_change_a_model_mapped_from_disk(tmp_path):
    X, y = make(0, 200)
    model = through_joblib(learn(FMRegressor(random_state=0), X, y), tmp_path)
    learn(model, X, y)
    again = joblib.load(tmp_path / "model.joblib")
    assert again.n_iter_ == 1
    assert_same(again, learn(FMRegressor(random_state=0), X, y))


def test_a_model_of_fit_alone_carries_no_memory():
    X, y = make(0, 1000, n_levels=500)
    fitted = quietly(FMRegressor(32, max_iter=3, random_state=0).fit, X, y)
    streamed = learn(FMRegressor(32, random_state=0), X, y)
    parameters = fitted.coef_.nbytes + fitted.components_.nbytes
    assert len(pickle.dumps(fitted)) < 1.5 * parameters
    assert len(pickle.dumps(streamed)) > 2 * parameters
    learn(fitted, X, y)
    assert len(pickle.dumps(fitted)) > 2 * parameters
    quietly(fitted.fit, X, y)
    assert len(pickle.dumps(fitted)) < 1.5 * parameters


@pytest.mark.parametrize("kind", ["None", "RandomState"])
def test_without_a_seed_going_on_does_not_depend_on_others(kind):
    """Whoever draws from the same generator in between changes nothing."""
    X, y = make(0, size(4000, 200))
    first, second = chunks(X, y, len(y) // 2)
    rng = np.random.RandomState(0) if kind == "RandomState" else None
    model = FMRegressor(random_state=rng, batch_size=size("auto", 20))
    learn(model, *first)
    stored = copy_of(model)
    (rng or np.random).random_sample(3)
    assert_same(learn(model, *second), learn(stored, *second))


@pytest.mark.parametrize("loss, n_classes", KINDS)
def test_random_state(loss, n_classes):
    X, y = make(n_classes, 200)

    def run(random_state):
        return learn_chunks(model_for(loss, n_classes, random_state=random_state), X, y, 100)

    assert_same(run(np.random.RandomState(7)), run(np.random.RandomState(7)))
    assert_same(run(np.random.RandomState(7)), run(7))
    for one, other in ((run(7), run(8)), (run(None), run(None))):
        assert not np.array_equal(one.components_, other.components_)


# After fit


@needs_jit
@pytest.mark.parametrize("n_classes", [0, 2])
@pytest.mark.parametrize("solver", SOLVERS)
def test_more_rows_after_fit_improve_the_model(solver, n_classes):
    X, y = make(n_classes, 12_000, n_levels=50)
    model = model_for("log_loss" if n_classes else "squared_error", n_classes, solver=solver)
    quietly(model.fit, X[:2000], y[:2000])
    before = mean_loss(model, X[10_000:], y[10_000:])
    n_iter = model.n_iter_
    learn_chunks(model, X[2000:10_000], y[2000:10_000], 2000)
    gain = 0.002 if solver == "adam" else 0.004  # in eight steps, none of which is a first one
    assert mean_loss(model, X[10_000:], y[10_000:]) < before - gain
    assert model.n_iter_ == len(model.loss_curve_) == n_iter + 4


@needs_jit
@pytest.mark.parametrize("n_fields", [2, 4])
@pytest.mark.parametrize("alpha", [0.1, 1.2])
@pytest.mark.parametrize("solver", SOLVERS)
def test_fresh_rows_do_not_make_a_good_fit_worse(solver, alpha, n_fields):
    """The optimizer goes on where it was, also with the intercept."""
    X, y = make_fm_regression(7000, n_fields=n_fields, n_levels=20, random_state=0)
    model = FMRegressor(solver=solver, alpha=alpha, random_state=0)
    quietly(model.fit, X[:4000], y[:4000])
    before = mean_loss(model, X[5000:], y[5000:])
    for start in range(4000, 5000, 500):
        learn(model, X[start : start + 500], y[start : start + 500])
    assert mean_loss(model, X[5000:], y[5000:]) < 1.05 * before


@pytest.mark.parametrize("n_classes", [0, 2])
@pytest.mark.parametrize("solver", SOLVERS)
def test_rows_may_come_after_a_fit_without_entries(solver, n_classes):
    X, y = make(n_classes, 100)
    model = model_for("log_loss" if n_classes else "squared_error", n_classes, solver=solver)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model.fit(0 * X, y)
    learn(model, X, y)
    assert np.isfinite(mean_loss(model, X, y))


@needs_jit
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_fit_of_many_epochs_may_be_many_fits_of_one(solver):
    X, y = make_fm_regression(3000, n_levels=20, random_state=0)
    train, test = (X[:2000], y[:2000]), (X[2000:], y[2000:])
    whole = quietly(FMRegressor(solver=solver, random_state=0).fit, *train)
    model = FMRegressor(solver=solver, random_state=0, warm_start=True, max_iter=1)
    for _ in range(80):
        quietly(model.fit, *train)
    # Sums of ftrl belong to penalties, which change between fits.
    ratio = 1.3
    assert mean_loss(model, *test) < ratio * mean_loss(whole, *test)


@cache
def stored_fit(solver, n_classes):
    """A fit on the 8000 rows, pickled."""
    model, train, _ = long_stream(solver, n_classes)
    return pickle.dumps(quietly(model.fit, *train))


@pytest.mark.around(solver="adagrad", n_classes=0)
@pytest.mark.pairwise
@needs_jit
@pytest.mark.parametrize("n_rows", [1, 5, 20])
@pytest.mark.parametrize("n_classes", [0, 2])
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_tiny_chunk_does_not_destroy_a_fit(solver, n_classes, n_rows):
    """The worst of some chunks, and many one after the other."""
    model = pickle.loads(stored_fit(solver, n_classes))
    _, _, (X, y) = long_stream(solver, n_classes)
    held_out = X[800:], y[800:]
    before = mean_loss(model, *held_out)
    some = chunks(X[:800], y[:800], n_rows)[:40]
    worst = max(mean_loss(learn(copy_of(model), *chunk), *held_out) for chunk in some[:10])
    assert worst < before + 0.02
    for chunk in some:
        learn(model, *chunk)
    assert mean_loss(model, *held_out) < before + 0.02


# What is refused leaves no trace


def good_chunks(n_classes):
    X, y = make(n_classes, 90, n_levels=6)
    return chunks(X, y, 30)


def states(loss, n_classes):
    """A model never fitted, one after fit, and one after partial_fit."""
    first, _, _ = good_chunks(n_classes)
    model = model_for(loss, n_classes)
    yield model
    yield quietly(copy_of(model).set_params(max_iter=3).fit, *first)
    yield learn(copy_of(model), *first)


def assert_refused(model, call, match, error=ValueError, **parameters):
    """The call raises, changes nothing, and good calls go on as if it had not been."""
    n_classes = 0 if isinstance(model, FMRegressor) else 3
    usual = {name: model.get_params()[name] for name in parameters}
    twin = copy_of(model)
    model.set_params(**parameters)
    before, content = dict(vars(model)), pickle.dumps(model)
    with pytest.raises(error, match=match):
        quietly(call, model)
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[name] is value for name, value in before.items())
    assert pickle.dumps(model) == content
    model.set_params(**usual)
    for chunk in good_chunks(n_classes):
        assert_same(learn(model, *chunk), learn(twin, *chunk))


def passing(*arguments, **options):
    return lambda model: model.partial_fit(*arguments, **options)


def learning(chunk):
    return lambda model: learn(model, *chunk)


def broken(array, value):
    array = array.astype(float)
    array[3] = value
    return array


def bad_data(X, y):
    """Chunks nobody can learn from, and what the error says."""
    ones = np.ones(len(y))
    damaged = X.copy()
    damaged.data[2] = np.nan
    yield (damaged, y), "NaN"
    damaged = X.toarray()
    damaged[1, 1] = np.inf
    yield (damaged, y), "infinity"
    yield (X[:, :-1], y), "features"
    yield (X, y[:-1]), "inconsistent"
    yield (X[:0], y[:0]), "0 sample"
    yield (X, y, broken(ones, np.nan)), "sample_weight contains NaN or inf"
    yield (X, y, broken(ones, np.inf)), "sample_weight contains NaN or inf"
    yield (X, y, broken(ones, -1)), "sample_weight contains negative"
    yield (X, y, 0 * ones), "sample_weight is zero"
    yield (X, y, ones[:-1]), "sample_weight"


@pytest.mark.parametrize("case", range(10))
@pytest.mark.parametrize("loss, n_classes", [("squared_error", 0), ("log_loss", 3)])
def test_bad_data_is_refused(loss, n_classes, case):
    _, (X, y), _ = good_chunks(n_classes)
    data, match = list(bad_data(X, y))[case]
    for model in states(loss, n_classes):
        if match == "features" and not hasattr(model, "n_features_in_"):
            continue  # any number will do
        options = {} if n_classes == 0 else {"classes": range(3)}
        if len(data) > 2:
            options["sample_weight"] = data[2]
        assert_refused(model, passing(*data[:2], **options), match)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_targets_that_are_not_finite_are_refused(bad):
    _, (X, y), _ = good_chunks(0)
    for model in states("squared_error", 0):
        assert_refused(model, passing(X, broken(y, bad)), "NaN|infinity")


@pytest.mark.parametrize(
    "parameters, match",
    [
        ({"early_stopping": True}, "partial_fit does not support early stopping"),
        ({"alpha": -1}, "alpha"),
        ({"alpha_l1": 1.0}, "alpha_l1 requires solver='ftrl'"),
    ],
)
@pytest.mark.parametrize("loss, n_classes", [("squared_error", 0), ("log_loss", 3)])
def test_bad_parameters_are_refused(loss, n_classes, parameters, match):
    _, chunk, _ = good_chunks(n_classes)
    for model in states(loss, n_classes):
        assert_refused(model, learning(chunk), match, **parameters)


@pytest.mark.parametrize(
    "parameters",
    [
        {"solver": "adam"},
        {"n_components": 4},
        {"loss": "other"},
        {"fit_intercept": False},
        {"fit_linear": False},
    ],
    ids=lambda parameters: next(iter(parameters)),
)
@pytest.mark.parametrize("loss, n_classes", [("squared_error", 0), ("log_loss", 3)])
def test_what_is_settled_cannot_change(loss, n_classes, parameters):
    if "loss" in parameters:
        parameters = {"loss": "squared_hinge" if n_classes else "huber"}
    ((name, value),) = parameters.items()
    message = rf"^partial_fit cannot change parameters .*{name}=.* \(now {value!r}\).*Call fit, or"
    _, *fitted = states(loss, n_classes)
    _, chunk, _ = good_chunks(n_classes)
    for model in fitted:
        assert_refused(model, learning(chunk), message, **parameters)


@pytest.mark.parametrize("parameters", [{"quantile": 0.9}, {"epsilon": 0.1}])
def test_the_shape_of_a_loss_does_not_change_unnoticed(parameters):
    """It is refused, or it has an effect."""
    X, y = make(0, 200)
    loss = "quantile" if "quantile" in parameters else "huber"
    model = FMRegressor(loss=loss, random_state=0)
    model.set_params(**{name: 0.5 for name in parameters})
    learn(model, X, y)
    other = copy_of(model).set_params(**parameters)
    learn(model, X, y)
    try:
        learn(other, X, y)
    except ValueError:
        return
    assert not np.array_equal(other.coef_, model.coef_)


def test_other_names_of_columns_are_refused():
    table = pd.DataFrame({"a": [0.0, 1, 2], "b": [1.0, 0, 1]})
    model = FMRegressor(random_state=0).partial_fit(table, [1, 2, 3])
    with pytest.raises(ValueError, match="feature names"):
        model.partial_fit(table.rename(columns={"a": "c"}), [1, 2, 3])
    assert model.n_iter_ == 1
    assert list(model.feature_names_in_) == ["a", "b"]


class Interruption(BaseException):
    """As KeyboardInterrupt is, no Exception."""


@pytest.mark.parametrize("error", [Interruption, RuntimeError])
@pytest.mark.parametrize("loss, n_classes", [("squared_error", 0), ("log_loss", 3)])
def test_an_interrupted_call_changes_nothing(loss, n_classes, error, monkeypatch):
    _, chunk, _ = good_chunks(n_classes)

    def stop(*arguments, **options):
        raise error("stopped")

    for model in states(loss, n_classes):
        for names in (["_arguments"], ["measure", "measure_last"], ["parameters"]):

            def call(model, names=names):
                with monkeypatch.context() as patch:
                    for name in names:
                        patch.setattr(minibatch.Trainer, name, stop)
                    learn(model, *chunk)

            assert_refused(model, call, "stopped", error)

        def call_with_callback(model):
            model.callback = stop
            try:
                learn(model, *chunk)
            finally:
                model.callback = None

        assert_refused(model, call_with_callback, "stopped", error)


def test_an_interruption_in_the_middle_of_an_epoch_changes_nothing(monkeypatch):
    first, second, _ = good_chunks(0)
    model = learn(FMRegressor(batch_size=7, random_state=0), *first)
    runs = []
    run = minibatch.kernels.run_steps

    def run_a_while(order, *arguments):
        run(order[:2], *arguments)
        runs.append(1)
        raise Interruption("stopped")

    def call(model):
        with monkeypatch.context() as patch:
            patch.setattr(minibatch.Trainer, "measure_last", lambda self: 1.0)
            patch.setattr(minibatch.kernels, "run_steps", run_a_while)
            learn(model, *second)

    assert_refused(model, call, "stopped", Interruption)
    assert runs


# Classes


@pytest.mark.parametrize("n_classes", [2, 3])
def test_classes_are_needed_in_the_first_call(n_classes):
    (X, y), *_ = good_chunks(n_classes)
    model = FMClassifier(random_state=0)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        model.partial_fit(X, y)
    with pytest.raises(NotFittedError):
        model.predict(X)
    for classes in ([1], [], [1, 1]):
        with pytest.raises(ValueError, match="at least two labels"):
            model.partial_fit(X, y, classes)
    model.partial_fit(X, y, np.arange(n_classes)[::-1])
    assert_array_equal(model.classes_, np.arange(n_classes))
    model.partial_fit(X, y)
    model.partial_fit(X, y, classes=range(n_classes))
    assert model.n_iter_ == 3


@pytest.mark.parametrize("classes", [[0, 1], [0, 1, 2, 3], [1, 2, 3], ["0", "1", "2"]])
def test_other_classes_later_are_refused(classes):
    _, (X, y), _ = good_chunks(3)
    _, *fitted = states("log_loss", 3)
    for model in fitted:
        assert_refused(model, passing(X, y, classes), "the same as before")


@pytest.mark.parametrize("label", [3, -1, "1", "other", 0.5])
def test_labels_that_are_no_class_are_refused(label):
    _, (X, y), _ = good_chunks(3)
    wrong = y.astype(object) if isinstance(label, str) else y.astype(type(label))
    wrong[4] = label
    if isinstance(label, str):
        wrong = wrong.astype(str)
    for model in states("log_loss", 3):
        match = "Unknown label type" if label == 0.5 else "y has the label"
        assert_refused(model, passing(X, wrong, range(3)), match)


@pytest.mark.around(solver="adagrad", n_classes=2, loss="log_loss")
@pytest.mark.parametrize("loss", ["log_loss", "squared_hinge"])
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("solver", SOLVERS)
def test_the_first_chunk_may_lack_classes(solver, n_classes, loss):
    X, y = make(n_classes, size(2000, 300), n_levels=6)
    model = FMClassifier(loss=loss, solver=solver, learning_rate=0.1, random_state=0)
    only = y == 1
    model.partial_fit(X[only][:20], y[only][:20], classes=range(n_classes))
    assert (model.predict(X) == 1).mean() > 0.9
    assert np.isfinite(raw(model, X)).all()
    learn_chunks(model, X, y, len(y) // 4, passes=size(5, 3))
    if JIT:
        assert set(model.predict(X)) == set(range(n_classes))
        assert model.score(X, y) > np.bincount(y).max() / len(y) + 0.1


def test_string_labels():
    X, y = make(3, 200)
    names = np.array(["fair", "good", "bad"])[y]
    model, twin = FMClassifier(random_state=0), FMClassifier(random_state=0)
    order = np.argsort(np.argsort(["fair", "good", "bad"]))
    for rows in (slice(0, 100), slice(100, 200)):
        model.partial_fit(X[rows], names[rows], classes=["fair", "good", "bad"])
        twin.partial_fit(X[rows], order[y[rows]], classes=[0, 1, 2])
    assert_array_equal(model.classes_, ["bad", "fair", "good"])
    assert_same(model, twin)
    assert set(model.predict(X)) <= set(names)


def test_class_weight_is_a_weight():
    X, y = make(2, 200)
    weighted = FMClassifier(class_weight={0: 1.0, 1: 5.0}, random_state=0)
    by_row = FMClassifier(random_state=0)
    for rows in (slice(0, 100), np.flatnonzero(y == 1)):
        weighted.partial_fit(X[rows], y[rows], [0, 1])
        by_row.partial_fit(X[rows], y[rows], [0, 1], np.where(y[rows] == 1, 5.0, 1.0))
    assert_same(weighted, by_row)


def test_balanced_classes_are_refused():
    _, (X, y), _ = good_chunks(3)
    for model in states("log_loss", 3):
        call = passing(X, y, range(3))
        assert_refused(model, call, "requires all rows at once", class_weight="balanced")


# Chunks that go astray


def with_one_huge(value, where, dtype):
    X, y = make_dense("squared_error", 0, n_rows=60, seed=1)
    X, y = X.astype(dtype), y.astype(dtype)
    (y if where == "y" else X[:, 1])[3] = value
    return X, y


def good_dense(dtype):
    X, y = make_dense("squared_error", 0, n_rows=120)
    return X.astype(dtype), y.astype(dtype)


HUGE = [
    *((np.float64, value) for value in (1e6, 1e18, 1e60, 1e150, 1e250)),
    *((np.float32, value) for value in (1e6, 1e12, 1e20, 1e30)),
]


@pytest.mark.around(solver="adagrad", dtype=np.float64)
@pytest.mark.parametrize("where", ["X", "y"])
@pytest.mark.parametrize("dtype, value", HUGE)
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_huge_number_is_refused_or_learned(solver, dtype, value, where):
    """Refused, it leaves no trace; learned, no NaN, and chunks as before are learned after it."""
    X, y = good_dense(dtype)
    model = learn_chunks(FMRegressor(solver=solver, random_state=0), X, y, 60)
    before = pickle.dumps(model)
    try:
        learn(model, *with_one_huge(value, where, dtype))
    except ValueError as error:
        assert "diverged" in str(error) or "too large" in str(error)
        assert pickle.dumps(model) == before
        return
    for _ in range(3):
        for array in (model.intercept_, model.coef_, model.components_, model.predict(X)):
            assert np.isfinite(array).all()
        for array in model._stream.memory.state:
            assert np.isfinite(array).all()
        learn(model, X, y)


# Callback


def test_callback_is_called_once_a_call():
    X, y = make(0, 100)
    calls = []

    def callback(estimator, epoch, loss):
        calls.append((epoch, loss, estimator.predict(X)))

    model = FMRegressor(callback=callback, random_state=0, max_iter=3)
    for call in range(1, 4):
        model.partial_fit(X, y)
        assert model.n_iter_ == len(calls) == call
        assert_array_equal(calls[-1][2], model.predict(X))
    assert [epoch for epoch, *_ in calls] == [1, 2, 3]
    assert [loss for _, loss, _ in calls] == model.loss_curve_
    quietly(model.fit, X, y)
    model.partial_fit(X, -y)
    assert [epoch for epoch, *_ in calls] == [1, 2, 3, 1, 2, 3, 4]
    assert [loss for _, loss, _ in calls[3:]] == model.loss_curve_


def test_fit_starts_anew():
    X, y = make(0, 200)
    model = learn_chunks(FMRegressor(max_iter=3, random_state=0), X, y, 100)
    expected = quietly(FMRegressor(max_iter=3, random_state=0).fit, X, -y)
    assert_same(quietly(model.fit, X, -y), expected)
    assert model.n_iter_ == 3
    assert_same(learn(clone(model), X, y), learn(FMRegressor(random_state=0), X, y))


def test_no_warning_in_a_usual_stream():
    X, y = make(0, 300)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = FMRegressor(random_state=0)
        for chunk in chunks(X, y, 100):
            model.partial_fit(*chunk)


@pytest.mark.parametrize("classes", [[[1], [1, 2]], [None, 1]], ids=repr)
def test_classes_of_several_kinds(classes):
    with pytest.raises((TypeError, ValueError), match=r"^classes must be a list of labels"):
        FMClassifier().partial_fit(np.eye(2), [0, 1], classes=classes)


def test_labels_of_another_kind_than_the_classes():
    model = FMClassifier().partial_fit(np.eye(2), [0, 1], classes=[0, 1])
    with pytest.raises(ValueError, match=r"^y has labels of another type than the classes"):
        model.partial_fit(np.eye(2), np.array(["2020-01-01", "2020-01-02"], "M8[D]"))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_copies_are_trained_apart(copied):
    X, y = make_dense("squared_error", 1, 60)
    start = FMRegressor(2, random_state=0).partial_fit(X[:20], y[:20])
    alone = clone(start).partial_fit(X[:20], y[:20])
    other = copied(start).partial_fit(X[20:40], y[20:40])
    for model in (start, alone):
        model.partial_fit(X[20:40], y[20:40])
    assert_same(start, alone)
    assert_same(other, alone)
