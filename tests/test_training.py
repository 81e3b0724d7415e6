"""What training keeps, how it starts, and what it subtracts: cases that were once wrong."""

import threading
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from skfm import FMClassifier, FMRegressor
from skfm._solvers import minibatch, plan, team
from skfm.datasets import make_fm_classification, make_fm_regression


def dense(n_rows=300, seed=0):
    rng = np.random.default_rng(seed)
    Z = rng.normal(size=(n_rows, 6))
    return Z, Z[:, 0] + Z[:, 1] * Z[:, 2] + 0.1 * rng.normal(size=n_rows)


# Columns far from zero


@pytest.mark.parametrize("shift", [100, -1e4, 1e6])
def test_columns_far_from_zero_are_learned_like_centered_ones(shift):
    Z, y = dense()
    near = FMRegressor(random_state=0).fit(Z - Z.mean(axis=0), y)
    far = FMRegressor(random_state=0).fit(Z + shift, y)
    assert far.score(Z + shift, y) > 0.95
    assert_allclose(far.predict(Z + shift), near.predict(Z - Z.mean(axis=0)), atol=0.05)
    labels = y > 0
    model = FMClassifier(random_state=0).fit(Z + shift, labels)
    assert model.score(Z + shift, labels) > 0.8


def test_some_columns_far_from_zero():
    Z, y = dense()
    X = Z * [1e6, 1, 1, 1, 1, 1] + [0, 100, 100, 0, 1e5, 0]
    model = FMRegressor(random_state=0).fit(X, y)
    assert model.score(X, y) > 0.95
    pairs = np.triu(model.components_.T @ model.components_, k=1)
    by_hand = model.intercept_ + X @ model.coef_ + ((X @ pairs) * X).sum(axis=1)
    assert_allclose(model.predict(X), by_hand, atol=1e-6)
    assert_array_equal(model.predict(sparse.csr_matrix(X)), model.predict(X))


def test_nothing_is_centered_where_that_needs_a_term_that_is_switched_off():
    Z, y = dense()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        no_linear = FMRegressor(fit_linear=False, random_state=0).fit(Z + 10, y)
        no_intercept = FMRegressor(fit_intercept=False, random_state=0).fit(Z + 10, y)
    assert not no_linear.coef_.any()
    assert no_intercept.intercept_ == 0


def test_constant_column_and_warm_start_far_from_zero():
    Z, y = dense()
    X = np.column_stack([Z + 100, np.full(len(Z), 7.0)])
    model = FMRegressor(random_state=0, warm_start=True).fit(X, y)
    before = model.score(X, y)
    assert before > 0.95
    assert model.fit(X, y).score(X, y) > before - 1e-2  # of a lower objective


# Warm start


def test_warm_start_keeps_float32():
    X, y = make_fm_regression(300, dtype=np.float32, random_state=0)
    model = FMRegressor(warm_start=True, max_iter=3, random_state=0).fit(X, y).fit(X, y)
    assert model.components_.dtype == model.coef_.dtype == model.predict(X).dtype == np.float32
    model = FMRegressor(warm_start=True, max_iter=3, random_state=0)
    model.fit(X.astype(np.float64), y).fit(X, y)
    assert model.components_.dtype == np.float32


def test_warm_start_obeys_switched_off_terms():
    X, y = make_fm_regression(300, random_state=0, mean=3)
    model = FMRegressor(warm_start=True, max_iter=5, random_state=0).fit(X, y)
    model.set_params(fit_intercept=False, fit_linear=False).fit(X, y)
    assert model.intercept_ == 0
    assert not model.coef_.any()


def test_warm_start_on_a_moved_target():
    X, y = make_fm_regression(300, random_state=0)
    model = FMRegressor(warm_start=True, random_state=0).fit(X, y)
    model.fit(X, y + 5)
    assert_allclose(model.predict(X).mean(), y.mean() + 5, atol=0.3)


def test_warm_start_gives_new_features_factors():
    X, y = make_fm_regression(2000, n_fields=2, n_levels=10, linear_scale=0, random_state=0)
    first = sparse.hstack([X, sparse.csr_matrix(X.shape)]).tocsr()
    second = sparse.hstack([sparse.csr_matrix(X.shape), X]).tocsr()
    cold = FMRegressor(random_state=0).fit(second, y)
    warm = FMRegressor(random_state=0, warm_start=True).fit(first, y).fit(second, y)
    assert warm.score(second, y) > cold.score(second, y) - 0.05


# What is kept at the end


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("max_iter", [1, 2])
def test_few_rough_epochs_are_no_error(batch_size, max_iter):
    X = sparse.random(50, 200, density=0.5, random_state=0, format="csr")
    y = np.arange(50.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        model = FMRegressor(batch_size=batch_size, max_iter=max_iter, random_state=0).fit(X, y)
    assert model.score(X, y) > -0.2


def test_what_is_kept_is_measured_on_all_windows(monkeypatch):
    """With many windows, the last parameters are kept unless others are better on all rows."""
    monkeypatch.setattr(plan, "WINDOW_ENTRIES", 512)
    measured = []
    measure = minibatch.Trainer.measure
    monkeypatch.setattr(
        minibatch.Trainer,
        "measure",
        lambda self: (measured.append((self, measure(self))), measured[-1][1])[1],
    )
    X, y = make_fm_classification(3000, n_levels=10, random_state=0)
    model = FMClassifier(random_state=0, batch_size=64, max_iter=20).fit(X, y)
    trainer, (loss, objective) = measured[0]
    assert trainer.planner.n_windows > 5
    probability = model.predict_proba(X)[np.arange(len(y)), y]
    assert_allclose(loss, -np.log(probability).mean(), rtol=1e-6)
    assert len(measured) == 1 or objective > min(model.loss_curve_)


# Input


def test_numbers_as_strings_are_no_regression_target():
    X, y = make_fm_regression(20, random_state=0)
    for target in (y.astype(str), y.astype(str).astype(object)):
        with pytest.raises(ValueError, match=r"y must hold numbers.*astype\(float\)"):
            FMRegressor().fit(X, target)


@pytest.mark.parametrize("index", [10**6, -1])
def test_damaged_sparse_matrix(index):
    X, y = make_fm_regression(20, random_state=0)
    model = FMRegressor(max_iter=1).fit(X, y)
    X.indices[3] = index
    for use in (lambda: model.fit(X, y), lambda: model.predict(X)):
        with pytest.raises(ValueError, match="X is a damaged sparse matrix"):
            use()


def test_weights_out_of_range():
    X, y = make_fm_classification(50, random_state=0, dtype=np.float32)
    with pytest.raises(ValueError, match="class_weight gives weights"):
        FMClassifier(class_weight={0: 1e-60, 1: 1e-60}).fit(X, y)
    with pytest.raises(ValueError, match="sample_weight is too large"):
        FMClassifier().fit(X.astype(np.float64), y, sample_weight=np.full(50, 1e308))


def test_target_beyond_float32():
    X, y = make_fm_regression(50, random_state=0, dtype=np.float32)
    with pytest.raises(ValueError, match="float64"):
        FMRegressor(max_iter=3).fit(X, y.astype(np.float64) * 1e40)


# Threads


def test_no_thread_is_left_when_one_cannot_start(monkeypatch):
    start, started = threading.Thread.start, []

    def fail_at_second(self):
        if started:
            raise RuntimeError("can't start new thread")
        started.append(self)
        start(self)

    monkeypatch.setattr(threading.Thread, "start", fail_at_second)
    with pytest.raises(RuntimeError, match="start new thread"):
        team.run_together(lambda part, wait: wait(), 3)
    started[0].join(timeout=10)
    assert not started[0].is_alive()


def test_a_column_too_small_to_matter_leaves_the_callers_arrays_alone():
    X = sparse.csr_matrix(np.random.default_rng(0).normal(size=(50, 4)) * [1, 1e-200, 1, 1])
    before = X.copy()
    model = FMRegressor(max_iter=5, random_state=0).fit(X, np.arange(50.0))
    assert model.coef_[1] == 0
    for name in ("data", "indices", "indptr"):
        assert_array_equal(getattr(X, name), getattr(before, name))
