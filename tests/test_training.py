"""What training keeps, how it starts, what it subtracts, and what it says."""

import io
import multiprocessing
import pickle
import threading
import warnings
import weakref
from types import SimpleNamespace

import joblib
import numpy as np
import pytest
from builders import GIVEN, MINIBATCH_SOLVERS, quietly
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler

from skfm import BayesianFMRegressor, FMClassifier, FMRecommender, FMRegressor, MFRecommender
from skfm._fm import base
from skfm._solvers import training
from skfm._solvers.fm import batches, minibatch
from skfm._solvers.training import History
from skfm._utils import progress, threads
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


def in_float32(shift):
    """Rows in float32 that are far from zero, and their exact values in float64."""
    Z, _ = dense()
    X = (Z + shift).astype(np.float32)
    exact = X.astype(np.float64)
    Z = exact - exact.mean(axis=0)
    return X, exact, Z[:, 0] + Z[:, 1] * Z[:, 2]


@pytest.mark.parametrize("solver", ["adagrad", "als"])
@pytest.mark.parametrize("shift", [10, -1e4])
def test_far_from_zero_float32_is_as_accurate_as_float64(solver, shift):
    X, exact, y = in_float32(shift)
    options = {"solver": solver, "tol": 1e-3, "random_state": 0}
    score = FMRegressor(4, **options).fit(exact, y).score(exact, y)
    model = FMRegressor(4, warm_start=True, **options).fit(X, y)
    assert model.predict(X).dtype == np.float32
    assert_allclose(model.score(X, y), score, atol=1e-4)
    model = pickle.loads(pickle.dumps(model))
    assert_allclose(model.score(X, y), score, atol=1e-4)
    model.fit(X[::2], y[::2])  # with other means, from where it has stopped
    assert_allclose(model.score(X, y), score, atol=1e-3)
    loss = model.loss_curve_[0]
    assert loss < 0.01
    early = FMRegressor(4, early_stopping=True, **options).fit(X, y)
    assert_allclose(max(early.validation_scores_), 0, atol=1e-3)


def test_a_stream_far_from_zero_in_float32():
    X, _, y = in_float32(1e4)
    model = FMRegressor(4, random_state=0).fit(X, y)
    score = model.score(X, y)
    for _ in range(3):
        model.partial_fit(X[:150], y[:150])
    assert model.score(X, y) > score - 1e-3


def test_a_column_far_from_zero_that_a_warm_start_does_not_see():
    """Its center is moved to zero, where it contributes nothing, before it is dropped."""
    losses = []
    for X in in_float32(100)[:2]:
        y = in_float32(100)[2]
        model = FMRegressor(4, random_state=0, warm_start=True, max_iter=1, solver="adagrad")
        quietly(model.fit, X, y)
        X = X.copy()
        X[:, 5] = 0
        quietly(model.fit, X, y)
        assert model.coef_[5] == 0
        losses.append(model.loss_curve_[0])
    assert_allclose(*losses, rtol=1e-3)


def test_the_parameters_of_centered_columns_are_those_of_the_last_fit():
    X, _, y = in_float32(1e4)
    near = X - X.mean(axis=0)
    model = FMRegressor(4, random_state=0)
    assert_array_equal(
        model.fit(X, y).fit(near, y).predict(near),
        FMRegressor(4, random_state=0).fit(near, y).predict(near),
    )


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


@pytest.mark.parametrize("solver", MINIBATCH_SOLVERS)
def test_warm_start_in_another_precision(solver):
    X, y = make_fm_regression(300, random_state=0)
    model = FMRegressor(3, solver=solver, warm_start=True, max_iter=3, random_state=0).fit(X, y)
    assert np.isfinite(model.fit(X.astype(np.float32), y).predict(X)).all()
    assert np.isfinite(model.fit(X, y).predict(X)).all()


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
    monkeypatch.setattr(batches, "WINDOW_ENTRIES", 512)
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


# The loop over epochs, with given losses


class _Losses:
    """A trainer whose losses are given, and whose parameters are the number of epochs."""

    remedy = "Do something else."
    n_batches = 1000
    finds_rate = False
    saddles = 0  # that can be left

    def take_newton_step(self):
        return np.inf

    def adapt_to_new_objective(self):
        pass

    def leave_saddle(self):
        self.saddles -= 1
        return self.saddles >= 0

    def __init__(self, losses, measured=0.0):
        self.losses = list(losses)
        self.learning_rate = 1.0
        self.state = 0
        self.measured = measured  # one loss, or one for each number of epochs
        self.forgotten = 0

    def parameters(self):
        return self.state

    def set_parameters(self, parameters, *, forget):
        self.state = parameters
        self.forgotten += forget

    def slow_down(self):
        self.learning_rate /= 4

    def penalty(self):
        return 0.0

    def epoch(self):
        self.state += 1
        return self.losses.pop(0)

    def measure(self):
        return self.measure_at(self.state)

    def measure_at(self, parameters):
        measured = self.measured if np.isscalar(self.measured) else self.measured[parameters]
        return measured, measured


def run_losses(losses, measured=0.0, search=None, **changes):
    trainer = _Losses(losses, measured)
    values = {"tol": 0.0, "n_iter_no_change": 5, "verbose": False, **changes}
    chosen = SimpleNamespace(max_iter=len(losses), **values)
    shown = progress.Progress(chosen, 1, "rows")
    return trainer, *training.run_epochs(trainer, 1.0, chosen, shown, search=search)


def test_one_loss_that_is_not_finite_starts_training_again():
    with pytest.warns(RuntimeWarning, match="starts again with learning_rate=0.25"):
        trainer, kept, history = run_losses([0.9, 0.5, np.nan, 0.8, 0.4])
    # The loss of 0.5 was measured after the first epoch; two epochs follow.
    assert kept == 1 + 2 and trainer.forgotten == 1
    assert_array_equal(history.loss_curve, [0.9, 0.5, np.nan, 0.8, 0.4])


def test_training_gives_up_after_some_restarts():
    n = training.MAX_RESTARTS
    with pytest.warns(RuntimeWarning) as record, pytest.raises(ValueError, match="something else"):
        run_losses([np.inf] * (n + 1))
    assert len(record) == n


def test_training_stops_when_the_objective_rests():
    _, kept, history = run_losses([0.9, 0.5, 0.5, 0.5, 0.5], n_iter_no_change=2, tol=0.01)
    assert history.converged and len(history.loss_curve) == 4 == kept


def test_training_goes_on_where_a_saddle_point_is_left(monkeypatch):
    monkeypatch.setattr(_Losses, "saddles", 1)
    losses = [0.9, 0.5, 0.5, 0.5, 0.1, 0.1, 0.1, 0.1]
    _, kept, history = run_losses(losses, n_iter_no_change=2, tol=0.01)
    assert history.converged and len(history.loss_curve) == 7 == kept


def test_another_objective_does_not_begin_where_training_has_gone_astray():
    """Of the old one, parameters after one epoch were the best; the third went astray."""
    search = SimpleNamespace(
        update_before=lambda epoch, _: epoch == 4, has_updates_after=lambda epoch: epoch < 4
    )
    losses = [0.9, 0.5, 9.0, 0.6, 0.5]
    trainer, kept, _ = run_losses(losses, search=search, n_iter_no_change=3, tol=0.0)
    assert trainer.forgotten == 1 and trainer.learning_rate == 0.25
    assert kept == 1 + 2


def test_a_first_step_that_is_too_long_is_no_divergence(recwarn):
    trainer, _, history = run_losses([0.9, 9.0, 9.0, 0.8, 0.4, 0.1], n_iter_no_change=2)
    assert trainer.forgotten == 1 and trainer.learning_rate == 0.25
    assert len(history.loss_curve) == 6 and not recwarn.list
    with pytest.warns(RuntimeWarning, match="starts again with learning_rate=0.0625"):
        run_losses([0.9, 9.0, 9.0, 9.0, 9.0, 0.1], n_iter_no_change=2)


def test_training_starts_again_from_no_parameters_with_a_loss_above_the_limit():
    """Neither from those of the first epochs, whose losses are too large but decrease."""
    trainer, kept, _ = run_losses([9.0, 8.0, 7.0, 0.8, 0.4], n_iter_no_change=3)
    assert trainer.forgotten == 1 and trainer.learning_rate == 0.25
    assert kept == 0 + 2


def test_who_goes_back_to_the_start_goes_on_with_shorter_steps():
    trainer, kept, _ = run_losses([0.9], measured=0.95)
    assert kept == 1 and trainer.learning_rate == 1
    trainer, kept, _ = run_losses([0.9], measured=[0.9, 0.95])
    assert kept == 0 and trainer.learning_rate == 0.25


def test_what_is_left_of_the_objective_bounds_its_progress():
    """On separable classes a tenth of the loss is far from the end."""
    assert training.least_progress(1e-4, 0.5) == training.least_progress(1e-4, 0.1) == 1e-4
    assert training.least_progress(1e-4, 0.01) == pytest.approx(1e-5)
    losses = [0.05, 0.044, 0.038, 0.032, 0.026, 0.02]
    _, _, history = run_losses(losses, n_iter_no_change=2, tol=0.01)
    assert not history.converged
    _, _, history = run_losses(np.add(losses, 0.5), n_iter_no_change=2, tol=0.01)
    assert history.converged


@pytest.mark.parametrize("n_batches", [1, 1000])
def test_what_is_remembered_of_early_steps_is_forgotten(n_batches, monkeypatch):
    """If they led away from where training began, and it goes back there."""
    monkeypatch.setattr(_Losses, "n_batches", n_batches)
    monkeypatch.setattr(training._Monitor, "_is_worse", lambda self: True)
    trainer, _, _ = run_losses([0.9, 0.8, 1.0, 1.0, 0.5], n_iter_no_change=2)
    assert trainer.learning_rate == 0.25 and trainer.forgotten == (n_batches == 1)


# Input


def test_numbers_as_strings_are_no_regression_target():
    X, y = make_fm_regression(20, random_state=0)
    for target in (y.astype(str), y.astype(str).astype(object)):
        with pytest.raises(ValueError, match=r"y must contain numbers.*astype\(float\)"):
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


@pytest.mark.parametrize("weight", ["a", None, [1.0]], ids=str)
def test_class_weights_that_are_no_numbers(weight):
    X, y = make_fm_classification(50, random_state=0)
    with pytest.raises(ValueError, match=r"class_weight must give .*; got .* for the class 0"):
        FMClassifier(class_weight={0: weight}).fit(X, y)


def test_target_beyond_float32():
    X, y = make_fm_regression(50, random_state=0, dtype=np.float32)
    with pytest.raises(ValueError, match="float64"):
        FMRegressor(max_iter=3).fit(X, y.astype(np.float64) * 1e40)


@pytest.mark.parametrize("solver", ["als", "sgd"])
def test_training_that_diverged_names_what_is_large(solver):
    """Rows that outweigh all others, and counts in millions, beside the columns of X."""
    X, y = dense(60)
    weight = np.ones(60)
    weight[0] = 1e6
    counts = np.round(np.exp(15 + y))
    for loss, target, weights, named in (
        ("squared_error", y, None, []),
        ("squared_error", y, weight, ["sample_weight"]),
        ("poisson", counts, None, ["divide y by a constant"]),
    ):
        model = FMRegressor(solver=solver, loss=loss, init_scale=1e15, random_state=0, **GIVEN)
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(ValueError, match=r"^Training .*Scale the columns of X") as caught:
                model.fit(X, target, sample_weight=weights)
        for name in ("sample_weight", "divide y by a constant"):
            assert (name in str(caught.value)) == (name in named)


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
        threads.run_together(lambda part, wait: wait(), 3)
    started[0].join(timeout=10)
    assert not started[0].is_alive()


def test_n_jobs_follows_joblib(monkeypatch):
    assert [threads.n_threads(n) for n in (None, 1, 5, np.int64(3))] == [1, 1, 5, 3]
    assert threads.n_threads(-1) == joblib.cpu_count()
    assert threads.n_threads(-10_000) == 1
    with joblib.parallel_config(n_jobs=3):
        assert [threads.n_threads(n) for n in (None, 2)] == [3, 2]
    with joblib.parallel_config(backend="sequential"):
        assert [threads.n_threads(n) for n in (None, 2, -1)] == [1, 1, 1]
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    assert threads.n_threads(-1) == 1


@pytest.mark.parametrize("n_jobs", [0, 1.5, "all"])
def test_n_jobs_that_make_no_sense(n_jobs):
    with pytest.raises(ValueError, match="n_jobs must be None, a positive number or -1"):
        threads.n_threads(n_jobs)


def test_threads_in_a_process_that_cannot_have_children(monkeypatch):
    """joblib would warn, and use one, as it could not start processes."""
    monkeypatch.setattr(multiprocessing.current_process(), "_config", {"daemon": True})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [threads.n_threads(n) for n in (None, 1, 2)] == [1, 1, 2]


def test_a_column_too_small_to_matter_leaves_the_callers_arrays_alone():
    X = sparse.csr_matrix(np.random.default_rng(0).normal(size=(50, 4)) * [1, 1e-200, 1, 1])
    before = X.copy()
    model = FMRegressor(max_iter=5, random_state=0).fit(X, np.arange(50.0))
    assert model.coef_[1] == 0
    for name in ("data", "indices", "indptr"):
        assert_array_equal(getattr(X, name), getattr(before, name))


# What is said: progress, warnings


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=100.0, compiling=7.0)
    timer = SimpleNamespace(perf_counter=lambda: clock.now)
    monkeypatch.setattr(progress, "time", timer)
    monkeypatch.setattr(progress, "compiling_time", lambda: clock.compiling)
    return clock


def show(stream, clock, monkeypatch, n_epochs=300, history=None, compiling=0.0):
    """What is written of so many epochs of a second, the first of which compiles."""
    monkeypatch.setattr("sys.stderr", stream)
    settings = SimpleNamespace(max_iter=n_epochs, verbose=True)
    shown = progress.Progress(settings, 1000, "rows")
    with shown.until_end(history or History()):
        for number in range(1, n_epochs + 1):
            if number == 1:
                clock.now, clock.compiling = clock.now + compiling, clock.compiling + compiling
            clock.now += 1
            shown.epoch(number, 1 / number)
    return stream.getvalue()


def test_a_file_gets_one_line_per_interval(clock, monkeypatch):
    lines = show(io.StringIO(), clock, monkeypatch).splitlines()
    assert len(lines) == 300 / progress.INTERVAL + 1
    assert lines[0] == "Epoch 10/300: loss 0.1, 1,000 rows/s"
    assert lines[-1] == "Epoch 300/300: loss 0.00333333, 1,000 rows/s, max_iter reached"
    assert len(show(io.StringIO(), clock, monkeypatch, 5).splitlines()) == 1


@pytest.mark.parametrize("width", [80, 48, 20])
def test_a_terminal_has_one_line_that_is_replaced(width, clock, monkeypatch):
    monkeypatch.setattr(progress, "_columns", lambda stream: width)
    written = show(Terminal(), clock, monkeypatch)
    assert written.count("\n") == 1 and written.rstrip(" \n").endswith("max_iter reached")
    first, *drawn = written.split("\r")
    assert first == "" and len(drawn) == 301
    assert all(len(line) == width - 1 for line in drawn[:-1])  # covers the one before
    assert ("[#" in drawn[150]) == (width == 80)


def test_rows_per_second_exclude_compiling(clock, monkeypatch):
    first, last = show(io.StringIO(), clock, monkeypatch, 5, compiling=30.0).splitlines()
    assert first == "Epoch 1/5: loss 1, 1,000 rows/s"
    assert last == "Epoch 5/5: loss 0.2, 1,000 rows/s, max_iter reached"


def interrupt(*_):
    raise KeyboardInterrupt


ENDINGS = {
    "converged": FMRegressor(solver="als", alpha=10.0),
    "converged ": MFRecommender(feedback="implicit"),
    "stopped early": FMRegressor(callback=lambda *_: True),
    "stopped early ": FMRegressor(early_stopping=True, scoring=lambda *_: 0.0, tol=0),
    "stopped early  ": FMRegressor(solver="als", callback=lambda *_: True),
    "max_iter reached": FMRegressor(tol=0, max_iter=2),
    "max_iter reached ": MFRecommender(tol=0, max_iter=2),
    "max_iter reached  ": FMRecommender(max_iter=2),
    "max_iter reached   ": BayesianFMRegressor(max_iter=3, n_burn_in=1),
    "interrupted": FMRegressor(callback=interrupt),
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("ending", ENDINGS)
def test_progress_says_how_training_ended(ending, capfd, monkeypatch):
    monkeypatch.setattr(progress, "INTERVAL", np.inf)
    rng = np.random.default_rng(0)
    X, y = np.abs(rng.normal(size=(60, 4))), rng.integers(5, size=60)
    model = ENDINGS[ending].set_params(n_components=2, random_state=0, verbose=1)
    try:
        model.fit(X, y)
    except KeyboardInterrupt:
        assert ending == "interrupted"
    said = capfd.readouterr().err
    assert said.endswith(f", {ending.strip()}\n") and said.count("Epoch") == 1


@pytest.mark.parametrize("estimator", [FMRegressor(), FMRecommender(), MFRecommender()])
def test_warnings_point_at_the_users_line(estimator):
    rng = np.random.default_rng(0)
    X, y = np.abs(rng.normal(size=(40, 4))), rng.integers(5, size=40)
    model = estimator.set_params(n_components=1, max_iter=1, tol=1e-9, random_state=0)
    uses = [
        lambda: model.fit(X, y),
        lambda: make_pipeline(MaxAbsScaler(), model).fit(X, y),
        lambda: GridSearchCV(make_pipeline(MaxAbsScaler(), model), {}, cv=2).fit(X, y),
        lambda: cross_val_score(model, X, y, cv=2),
    ]
    if isinstance(model, FMRegressor):
        uses += [lambda: MultiOutputRegressor(model).fit(X, np.column_stack([y, y]))]
    if isinstance(model, MFRecommender):
        frames = make_pipeline(MaxAbsScaler(), model).set_output(transform="pandas")
        uses += [
            lambda: model.fit_transform(X),
            lambda: frames.fit_transform(X),
            lambda: ColumnTransformer([("some", model, [0, 1, 2])]).fit_transform(X),
        ]
    for use in uses:
        with pytest.warns(ConvergenceWarning) as caught:
            use()
        line = use.__code__.co_firstlineno
        ours = [w for w in caught if w.category is ConvergenceWarning]
        assert {(w.filename, w.lineno) for w in ours} == {(__file__, line)}


# Memory


@pytest.mark.parametrize("estimator", [FMRegressor, FMClassifier])
def test_the_start_is_freed_before_the_first_epoch(estimator, monkeypatch):
    """The factors to start from are as large as those that are trained."""
    make_start, run_epochs, starts, kept = base.random_start, minibatch.run_epochs, [], []

    def noting_start(*arguments):
        start = make_start(*arguments)
        starts.append(weakref.ref(start.factors))
        return start

    def noting_kept(*arguments):
        kept.append(starts[-1]() is not None)
        return run_epochs(*arguments)

    monkeypatch.setattr(base, "random_start", noting_start)
    monkeypatch.setattr(minibatch, "run_epochs", noting_kept)
    X, y = dense()
    quietly(estimator(max_iter=2, random_state=0).fit, X, y > 0)
    assert kept == [False]
