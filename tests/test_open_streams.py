"""Streams whose state is kept by column: the same results, at the cost of a chunk's columns."""

import copy
import pickle
import sys
import threading

import joblib
import numpy as np
import pytest
from builders import SOLVERS as ALL_SOLVERS
from builders import assert_same, model_for, quietly, raw
from helpers import size
from numpy.testing import assert_allclose, assert_array_equal

from skfm import FMClassifier, FMRegressor
from skfm._fm import partial_fit
from skfm._fm.open_stream import OpenStream
from skfm._fm.rows import Rows
from skfm._fm.stream import Stream, digest_of_chunk
from skfm._kernels import features as kernels
from skfm._solvers.fm.feature_table import FeatureTable
from skfm._solvers.fm.trainer import Trainer
from skfm._utils.sparse import compact
from skfm.datasets import make_fm_classification, make_fm_regression

SOLVERS = [solver for solver in ALL_SOLVERS if solver != "als"]


def make(n_classes=0, n_rows=600, **options):
    options = {"n_fields": 4, "n_levels": 30, "random_state": 0, **options}
    if n_classes:
        return make_fm_classification(n_rows, n_classes=n_classes, **options)
    return make_fm_regression(n_rows, **options)


def chunks(X, y, sizes=(200, 1, 60, 3, 200, 1, 135)):
    """Chunks of these sizes, and one of them again."""
    bounds = np.cumsum((0, *sizes))
    parts = [slice(*bounds[i : i + 2]) for i in range(len(sizes))]
    return [(X[part], y[part]) for part in [*parts, parts[2]]]


def learn(model, X, y, weight=None):
    if isinstance(model, FMRegressor):
        return quietly(model.partial_fit, X, y, weight)
    return quietly(model.partial_fit, X, y, getattr(model, "classes_", np.unique(y)), weight)


def learn_all(model, parts):
    for part in parts:
        learn(model, *part)
    return model


def opened(n_classes=0, n_chunks=3, **options):
    """A model with an open stream, and the rest of its chunks."""
    X, y = make(n_classes)
    model = model_for("log_loss" if n_classes else "squared_error", n_classes, **options)
    parts = chunks(X, y)
    learn_all(model, parts[:n_chunks])
    assert isinstance(vars(model)["_stream"], OpenStream)
    return model, parts[n_chunks:]


def copy_of(model):
    return pickle.loads(pickle.dumps(model))


# The same as with all columns


def fields(X):
    return np.arange(X.shape[1]) * 4 // X.shape[1]


CASES = {
    "plain": {},
    "given": {"alpha": 0.3, "alpha_linear": 0.1},
    "degree 3": {"degree": 3},
    "without linear": {"fit_linear": False},
    "linear in one field": {"fit_linear": [1], "fields": True},
    "pairs of fields": {"interactions": [(0, 1), (2, 3), (0, 0)], "fields": True},
    "weighted": {"field_interactions": "weighted", "fields": True},
    "matrixed": {"field_interactions": "matrixed", "fields": True, "alpha_fields": 0.1},
    "aware": {"field_interactions": "aware", "fields": True},
    "groups": {"alpha": [0.1, 0.5, 1.0, 2.0], "groups": True},
}


def assert_same_with_all_columns(model, parts, monkeypatch):
    twin = copy.deepcopy(model)
    learn_all(model, parts)
    with monkeypatch.context() as patch:
        patch.setattr(Stream, "can_open", False)
        learn_all(twin, parts)
    assert isinstance(model._stream, OpenStream) and isinstance(twin._stream, Stream)
    assert_same(model, twin)
    assert_allclose(model.loss_curve_, twin.loss_curve_, rtol=1e-12)
    assert_allclose(model.alpha_, twin.alpha_, rtol=1e-12)
    assert_allclose(model.alpha_linear_, twin.alpha_linear_, rtol=1e-12)
    one, other = model._stream, twin._stream
    for name in ("used", "count", "center", "scale", "seen_weight"):
        assert_array_equal(getattr(one.scaling, name), getattr(other.scaling, name))
    for array, other_array in zip(one.memory.state, other.memory.state, strict=True):
        assert_array_equal(array, other_array)


@pytest.mark.around(solver="adagrad", n_classes=0, case="plain")
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("n_classes", [0, 2, 3])
@pytest.mark.parametrize("solver", SOLVERS)
def test_the_same_bits_as_with_all_columns(solver, n_classes, case, monkeypatch):
    X, y = make(n_classes, n_rows=600)
    options = dict(CASES[case])
    if options.pop("fields", False):
        options["feature_fields"] = fields(X)
    if options.pop("groups", False):
        options["feature_groups"] = fields(X)
    loss = "log_loss" if n_classes else "squared_error"
    model = model_for(loss, n_classes, solver=solver, n_components=3, **options)
    assert_same_with_all_columns(model, chunks(X, y), monkeypatch)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_same_with_lasso_weights_and_values(dtype, monkeypatch):
    X, y = make(dtype=dtype)
    X.data *= np.random.default_rng(0).uniform(0.5, 2, X.nnz).astype(dtype)
    weight = np.random.default_rng(1).uniform(0, 3, len(y))
    parts = [(*part, weight[: len(part[1])]) for part in chunks(X, y)]
    options = {"alpha": 0.3, "alpha_linear": 0.1, "alpha_l1": 0.2, "alpha_l21": 0.05}
    model = model_for("huber", 0, solver="ftrl", **options)
    assert_same_with_all_columns(model, parts, monkeypatch)


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_same_after_a_fit(solver, monkeypatch):
    """With penalties that the fit has found."""
    X, y = make()
    model = model_for("squared_error", 0, solver=solver, max_iter=10)
    quietly(model.fit, X[:200, :], y[:200])
    assert_same_with_all_columns(model, chunks(X, y)[1:], monkeypatch)


def test_penalties_may_change_between_calls(monkeypatch):
    X, y = make()
    for parameters in ({"alpha": 0.5}, {"alpha": "auto", "alpha_linear": 2.0}):
        model = learn_all(FMRegressor(random_state=0), chunks(X, y)[:3])
        model.set_params(**parameters)
        twin = copy_of(model)
        learn(model, X[300:310], y[300:310])
        with monkeypatch.context() as patch:
            patch.setattr(Stream, "can_open", False)
            learn(twin, X[300:310], y[300:310])
        assert_same(model, twin)
        assert_allclose(model.loss_curve_, twin.loss_curve_, rtol=1e-12)


def test_centered_columns_are_computed_with_all_columns():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3)) + np.array([100, 0, 0])
    model = FMRegressor(random_state=0)
    for start in range(0, 60, 20):
        learn(model, X[start : start + 20], X[start : start + 20, 1])
        assert isinstance(model._stream, Stream)


def test_rows_without_entries():
    model, _ = opened()
    coef = model.coef_.copy()
    X, y = make()
    learn(model, 0 * X[:2], y[:2])
    assert_array_equal(model.coef_, coef)
    assert model.n_iter_ == len(model.loss_curve_) == 4


# What is measured


def test_losses_are_measured_again_only_if_they_are_suspicious(monkeypatch):
    X, y = make(n_rows=size(3000, 300))
    model = FMRegressor(random_state=0, batch_size=50)
    n = len(y) // 3
    learn(model, X[:n], y[:n])
    calls, measure = [], Trainer.measure

    def count(self, planner=None):
        calls.append(1)
        return measure(self, planner)

    monkeypatch.setattr(Trainer, "measure", count)
    learn(model, X[n : 2 * n], y[n : 2 * n])
    assert not calls
    learn(model, X[2 * n :], 30 * y[2 * n :])
    assert calls


# Reading between calls


@pytest.mark.parametrize("n_classes", [0, 2, 3])
def test_predictions_are_the_same_before_and_after_attributes_are_read(n_classes):
    model, _ = opened(n_classes)
    X, _ = make(n_classes)
    few = [raw(model, X[i : i + 1]) for i in range(300, 330)]
    assert model._stream.public is None
    assert_array_equal(np.concatenate(few), raw(model, X[300:330]))
    assert model.coef_ is model.coef_
    assert_array_equal(np.concatenate(few), raw(model, X[300:330]))
    assert_same(copy_of(model), model)


def test_what_was_read_does_not_change_with_the_next_call():
    model, rest = opened()
    coef, components, losses = model.coef_, model.components_, model.loss_curve_
    kept = coef.copy(), components.copy(), list(losses)
    learn_all(model, rest)
    assert_array_equal(coef, kept[0])
    assert_array_equal(components, kept[1])
    assert losses == kept[2]
    assert not np.array_equal(model.coef_, coef)


@pytest.mark.parametrize("in_place", [False, True])
def test_changes_of_attributes_hold_until_the_next_call(in_place):
    model, rest = opened()
    twin = copy_of(model)
    X, _ = make()
    if in_place:
        model.coef_[:] = 0
    else:
        model.coef_ = np.zeros_like(model.coef_)
    assert not np.array_equal(model.predict(X[:1]), twin.predict(X[:1]))
    assert_array_equal(copy_of(model).coef_, 0 * twin.coef_)
    assert_same(learn(model, *rest[0]), learn(twin, *rest[0]))


def test_an_open_stream_has_no_other_attributes_than_a_fit():
    model, _ = opened()
    fitted = quietly(FMRegressor(max_iter=2, random_state=0).fit, *make())
    names = {name for name in vars(fitted) if name.endswith("_")}
    assert names <= set(dir(copy_of(model)))
    for name in names:
        assert type(getattr(model, name)) is type(getattr(fitted, name)), name
    assert not hasattr(model, "field_weights_")
    assert not hasattr(model, "other_")


# Copies


def test_attributes_can_be_hashed():
    model, rest = opened()
    before = joblib.hash(vars(model))
    assert joblib.hash(vars(model)) == before
    learn(model, *rest[0])
    assert joblib.hash(vars(model)) != before


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, copy_of])
@pytest.mark.parametrize("solver", SOLVERS)
def test_copies_are_independent(copied, solver):
    model, rest = opened(solver=solver)
    content = pickle.dumps(model)
    other = copied(model)
    learn_all(other, rest)
    assert pickle.dumps(model) == content
    learn_all(model, rest)
    assert_same(model, other)
    assert model.loss_curve_ == other.loss_curve_


def test_pickles_say_the_same_whether_attributes_were_read_or_not():
    model, _ = opened()
    content = pickle.dumps(model)
    model.predict(make()[0])
    assert model._stream.public is not None
    assert len(pickle.dumps(model)) == len(content)
    assert_same(pickle.loads(content), model)


# Calls that fail


class Interruption(BaseException):
    """As KeyboardInterrupt is, no Exception."""


def interrupted_at(model, chunk, number):
    """Learn from a chunk, but for an interruption at the line of this number; whether there was
    one."""
    files = "partial_fit.py", "open_stream.py", "feature_table.py", "streams.py"
    count = 0

    def trace_lines(frame, event, argument):
        nonlocal count
        if event == "line":
            count += 1
            if count == number:
                raise Interruption
        return trace_lines

    def trace(frame, event, argument):
        is_ours = frame.f_code.co_filename.endswith(files) and "skfm" in frame.f_code.co_filename
        return trace_lines if is_ours else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        learn(model, *chunk)
    except Interruption:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.parametrize("step", [11, pytest.param(1, marks=pytest.mark.full)])
def test_an_interruption_at_any_line_leaves_no_trace(step):
    (model, rest), (twin, _) = opened(n_chunks=4), opened(n_chunks=4)
    number = 1
    while interrupted_at(model, rest[0], number):
        if number % (20 * step) == 1:
            assert_same(model, twin)
            assert model.loss_curve_ == twin.loss_curve_
        number += step
    assert number > 5 * step
    learn(twin, *rest[0])
    for chunk in rest[1:]:
        assert_same(learn(model, *chunk), learn(twin, *chunk))
    assert model.loss_curve_ == twin.loss_curve_


def test_an_interruption_while_changes_are_written(monkeypatch):
    """They are written again."""
    (model, rest), (twin, _) = opened(), opened()
    put = FeatureTable.put

    with monkeypatch.context() as patch:
        patch.setattr(FeatureTable, "put", lambda self, entries: half_put(put, self, entries))
        with pytest.raises(Interruption):
            learn(model, *rest[0])
    learn_all(model, rest)
    learn_all(twin, rest)
    assert_same(model, twin)
    assert model.loss_curve_ == twin.loss_curve_


def half_put(put, table, entries):
    half = entries.columns.size // 2
    columns, count, scale, linear, factors = entries
    part = columns[:half], count[:half], scale[:half], linear[:, :half], factors[:, :half]
    put(table, type(entries)(*part))
    raise Interruption


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_call_that_diverges_leaves_no_trace(solver):
    model, rest = opened(solver=solver)
    content = pickle.dumps(model)
    X, y = rest[1]
    with pytest.raises(ValueError, match="too large"):
        learn(model, X, 1e200 * y)
    assert pickle.dumps(model) == content


def test_a_callback_sees_the_model_after_the_chunk():
    model, rest = opened()
    seen = []

    def look(estimator, epoch, loss):
        seen.append((estimator.coef_, estimator.predict(rest[1][0])))

    model.callback = look
    learn(model, *rest[1])
    assert_array_equal(seen[0][0], model.coef_)
    assert_array_equal(seen[0][1], model.predict(rest[1][0]))


# Threads


def test_predictions_and_reads_in_other_threads():
    model, rest = opened()
    twin = learn_all(copy_of(model), 3 * rest)
    X, _ = make()
    errors, ends = [], threading.Event()

    def look():
        try:
            while not ends.is_set():
                assert np.isfinite(model.predict(X[:1])).all()
                assert np.isfinite(model.predict(X)).all()
                assert model.coef_.shape == twin.coef_.shape
                pickle.dumps(model)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        learn_all(model, 3 * rest)
    finally:
        ends.set()
        for thread in threads:
            thread.join()
    assert not errors
    assert_same(model, twin)
    assert model.loss_curve_ == twin.loss_curve_


# Parts


def test_compact():
    X, _ = make(n_rows=50, n_levels=200)
    for rows in (X[:0], X[:1], X[:5], X):
        columns, kept = compact(rows)
        assert_array_equal(columns, np.unique(rows.indices))
        assert_array_equal(kept.toarray(), rows.toarray()[:, columns])
        assert kept.indices.dtype == rows.indices.dtype


def test_weighted_squares():
    rng = np.random.default_rng(0)
    linear, factors = rng.normal(size=(9, 2)), rng.normal(size=(9, 2, 4))
    columns, a, b = np.array([1, 4, 8]), rng.uniform(size=3), rng.uniform(size=3)
    sums = kernels.weighted_squares(columns, linear, factors, a, b)
    squares = (factors[columns, 0] ** 2).sum(axis=1)
    assert_allclose(sums, (a @ linear[columns, 0] ** 2 / 2, b @ squares / 2))


def test_digests_tell_chunks_apart():
    X, y = make(n_rows=40)
    weight = np.ones(len(y))
    digests = {digest_of_chunk(Rows(X, y, weight))}
    assert digest_of_chunk(Rows(X.copy(), y.copy(), weight.copy())) in digests
    for place in (0, 7, 39):
        for changed in range(3):
            rows = [X.copy(), y.copy(), weight.copy()]
            (rows[0].data if changed == 0 else rows[changed])[place] += 1
            digests.add(digest_of_chunk(Rows(*rows)))
    for n in range(10, 40):
        digests.add(digest_of_chunk(Rows(0 * X[:n], 0 * y[:n], 0 * weight[:n])))
    assert len(digests) == 1 + 9 + 30
    assert digest_of_chunk(Rows(X[:9], y[:9], weight[:9])) is None


def test_words_in_another_order_have_another_hash():
    words = np.arange(1, 12, dtype=np.uint64)
    with np.errstate(over="ignore"):
        hashes = [int(kernels.hash_words(words, np.uint64(0)))]
        for i in range(10):
            other = words.copy()
            other[[i, i + 1]] = other[[i + 1, i]]
            hashes.append(int(kernels.hash_words(other, np.uint64(0))))
    assert len(set(hashes)) == 11


def test_what_is_computed_when_read_is_what_a_fit_stores():
    fitted = quietly(FMClassifier(max_iter=2, random_state=0).fit, *make(2))
    assert set(partial_fit.SHOWN) >= {
        name for name in vars(fitted) if name.startswith(("coef", "intercept", "comp", "loss_c"))
    }
