"""Bayesian factorization machines: what they predict, how sure they are, and what they promise."""

import pickle
import re
import warnings

import numpy as np
import pandas as pd
import pytest
from helpers import JIT, size
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse, stats
from sklearn.base import clone, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skfm import BayesianFMClassifier, BayesianFMRegressor
from skfm._fm import posterior
from skfm._solvers.fm import diagnostics, gibbs, sweeps
from skfm._solvers.fm import level_noise as solver_noise
from skfm._solvers.fm.gibbs import REFRESH, Chain
from skfm.datasets import make_fm_regression

MODELS = [BayesianFMRegressor, BayesianFMClassifier]
N_BURN_IN = size(10, 3)
SHORT = {"n_components": 2, "max_iter": size(40, 8), "n_burn_in": N_BURN_IN, "random_state": 0}


def make(kind=BayesianFMRegressor, n_rows=None, *, layout="one_hot", noise=0.5, seed=0):
    """Rows of a model, with numbers or labels."""
    X, y = make_fm_regression(
        n_rows or size(400, 40),
        n_fields=3,
        n_levels=size(8, 4),
        n_components=2,
        noise=noise,
        kind=layout,
        random_state=seed,
    )
    return X, y if kind is BayesianFMRegressor else np.where(y > 0.2, "yes", "no")


def rows_and_outputs(n_rows, seed=0, **options):
    """Rows and their true outputs, of standard deviation 1."""
    options = {"n_fields": 3, "n_levels": 10, "n_components": 2, "skew": 0.5, **options}
    return make_fm_regression(n_rows, noise=0.0, random_state=seed, **options)


def outputs(model, X):
    """Everything that is predicted of rows."""
    if is_classifier(model):
        return model.predict_proba(X)
    return np.stack(model.predict(X, return_std=True), axis=1)


def assert_same(model, other, X):
    assert_array_equal(outputs(model, X), outputs(other, X))
    assert model.loss_curve_ == other.loss_curve_


def assert_refused(model, X, y, match, error=ValueError, **options):
    """An error, and all is as before."""
    before = pickle.dumps(model)
    with pytest.raises(error, match=match):
        model.fit(X, y, **options)
    assert pickle.dumps(model) == before


# What is learned


@pytest.mark.parametrize("kind", MODELS)
def test_unscaled_columns_are_learned_from(kind):
    rng = np.random.default_rng(2)
    Z = rng.normal(size=(size(300, 120), 4))
    y = Z[:, 0] + Z[:, 1] * Z[:, 2] + 0.3 * rng.normal(size=len(Z))
    X = Z * [1e6, 1, 1, 10] + [0, 100, 100, 120]
    if kind is BayesianFMClassifier:
        y = y > 0
    half = len(y) // 2
    model = kind(2, max_iter=size(100, 30), random_state=0).fit(X[:half], y[:half])
    if kind is BayesianFMRegressor:
        assert model.score(X[half:], y[half:]) > (0.85 if JIT else 0.3)
    else:
        share = y[:half].mean()
        base = log_loss(y[half:], np.full(len(y) - half, share))
        assert log_loss(y[half:], model.predict_proba(X[half:])) < (0.6 if JIT else 0.9) * base


@pytest.mark.skipif(not JIT, reason="enough rows and iterations take many minutes")
def test_a_planted_model_is_recovered():
    X, f = rows_and_outputs(5000)
    y = f + np.random.default_rng(1).normal(size=f.size) / 2
    model = BayesianFMRegressor(4, random_state=0).fit(X[:3000], y[:3000])
    assert np.sqrt(np.mean((model.predict(X[3000:]) - f[3000:]) ** 2)) < 0.15
    assert_allclose(model.alpha_, 4, rtol=0.1)


def test_intervals_cover_what_they_should():
    """Of all simulations together; one by itself may be unlucky."""
    inside = []
    for seed in range(size(6, 4)):
        n = size(400, 80)
        options = {"n_levels": 8} if JIT else {"n_levels": 3, "n_fields": 2, "n_components": 1}
        X, f = rows_and_outputs(n + size(2000, 300), seed, **options)
        y = 3 + 5 * (f + np.random.default_rng(seed).normal(size=f.size))
        model = BayesianFMRegressor(2, max_iter=size(200, 40), n_burn_in=10, random_state=seed)
        mean, std = model.fit(X[:n], y[:n]).predict(X[n:], return_std=True)
        inside.append(np.abs(y[n:] - mean) < 1.645 * std)
    assert 0.87 < np.mean(inside) < 0.93


@pytest.mark.skipif(not JIT, reason="enough rows and iterations take many minutes")
def test_probabilities_are_as_frequent_as_they_say():
    n = 4000
    X, f = rows_and_outputs(n + 10_000)
    y = f + np.random.default_rng(0).normal(size=f.size) > 0
    model = BayesianFMClassifier(2, random_state=0)
    predicted, true = model.fit(X[:n], y[:n]).predict_proba(X[n:])[:, 1], stats.norm.cdf(f[n:])
    for part in np.array_split(np.argsort(predicted), 10):
        assert abs(predicted[part].mean() - true[part].mean()) < 0.02


@pytest.mark.parametrize("fit_intercept", [False, True])
def test_noise_and_first_losses(fit_intercept):
    X, y = make(n_rows=size(400, 60))
    y = 100 * y + 30
    model = BayesianFMRegressor(**SHORT, init_scale=0, fit_intercept=fit_intercept).fit(X, y)
    assert_allclose(model.loss_curve_[0], y.var() if fit_intercept else np.mean(y**2))
    if JIT:
        assert_allclose(model.alpha_, 1 / 50**2, rtol=0.2)
    model = BayesianFMClassifier(**SHORT, init_scale=0, fit_intercept=fit_intercept)
    labels = y > 50
    share = labels.mean() if fit_intercept else 0.5
    entropy = log_loss(labels, np.full(len(y), share))
    assert_allclose(model.fit(X, labels).loss_curve_[0], entropy)
    assert model.loss_curve_[-1] < entropy


def test_far_rows_are_less_certain():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(size(200, 40), 3))
    y = X[:, 0] - X[:, 1] * X[:, 2] + rng.normal(size=len(X))
    model = BayesianFMRegressor(**SHORT).fit(X, y)
    x = np.array([0.5, -0.5, 1.0])
    std = model.predict(np.outer([1, 5, 50], x), return_std=True)[1]
    assert std[0] < 1.5 and std[1] > 1.3 * std[0] and std[2] > 5 * std[1]
    # Probabilities are on the way from what few rows said of a row to 1/2.
    few = BayesianFMClassifier(**SHORT).fit(X[:10], y[:10] > 0)
    many = BayesianFMClassifier(**SHORT).fit(np.tile(X[:10], (20, 1)), np.tile(y[:10] > 0, 20))
    margin = [abs(model.predict_proba(X[:10])[:, 1] - 0.5).mean() for model in (few, many)]
    assert margin[0] < margin[1]


# Features that did not occur


def with_unseen(kind=BayesianFMRegressor):
    """Rows, targets, and new rows; two columns in the middle and two at the end do not occur."""
    X, y = make(kind)
    empty = sparse.csr_matrix((X.shape[0], 2))
    X = sparse.hstack([X[:, :4], empty, X[:, 4:], empty], format="csr")
    new = X[:12].toarray()
    new[0:4, 5] = 1
    new[2:7, -1] = [1, -0.5, 2, 1, 1]
    new[3:6, 4] = 3
    return X, y, new


@pytest.mark.parametrize("kind", MODELS)
def test_rows_with_unseen_features_do_not_depend_on_others(kind, monkeypatch):
    X, y, new = with_unseen(kind)
    model = kind(**SHORT).fit(X, y)
    together = outputs(model, new)
    alone = np.concatenate([outputs(model, new[[i]]) for i in range(len(new))])
    assert_array_equal(alone, together)
    order = np.random.default_rng(0).permutation(len(new))
    assert_array_equal(outputs(model, new[order]), together[order])
    assert_array_equal(outputs(pickle.loads(pickle.dumps(model)), new), together)
    monkeypatch.setattr(posterior, "BLOCK_BYTES", 1)
    for n_jobs in (2, 3):
        assert_array_equal(outputs(model.set_params(n_jobs=n_jobs), new), together)
    assert (together[:7] != outputs(model, X[:7])).any(axis=1).all()
    assert_array_equal(together[7:], outputs(model, X[7:12]))


def test_unseen_features_have_the_mean_of_their_group():
    """Without an intercept it shows: all levels of a field are about 5, those of another -1."""
    rng = np.random.default_rng(0)
    levels = np.stack([rng.integers(12, size=240), rng.integers(12, size=240)], axis=1)
    effect = np.stack([rng.normal(5, 0.5, size=12), rng.normal(-1, 0.5, size=12)])
    y = effect[0, levels[:, 0]] + effect[1, levels[:, 1]] + 0.3 * rng.normal(size=240)
    X = np.zeros((240, 28))  # two of each field do not occur
    X[np.arange(240), levels[:, 0]] = X[np.arange(240), 14 + levels[:, 1]] = 1
    model = BayesianFMRegressor(
        0,
        max_iter=size(200, 100),
        feature_groups=np.repeat(["a", "b"], 14),
        fit_intercept=False,
        random_state=0,
    ).fit(X, y)
    rows = np.zeros((5, 28))
    rows[[0, 0, 1, 1, 2, 2, 3, 4], [0, 14, 12, 14, 0, 26, 12, 26]] = 1
    mean, std = model.predict(rows, return_std=True)
    assert_allclose(mean[1], effect[0].mean() + effect[1, 0], atol=0.5)
    assert_allclose(mean[2], effect[0, 0] + effect[1].mean(), atol=0.5)
    # Of both groups alone the sum is known, but not how they share it.
    assert_allclose(mean[3] + mean[4], 4, atol=1)
    assert (std[1:3] > 2 * std[0]).all()  # of the group, not only of its mean


def test_probabilities_are_means_over_draws():
    """Of a large number in a column that did not occur, draws are certain, but do not agree."""
    X, y, _ = with_unseen(BayesianFMClassifier)
    model = BayesianFMClassifier(**SHORT).fit(X, y)
    rows = np.zeros((2, X.shape[1]))
    rows[:, -1] = [1e4, -1e4]
    probability = model.predict_proba(rows)[:, 1]
    assert_allclose(probability.sum(), 1, atol=0.01)
    assert 0.1 < probability[0] < 0.9


@pytest.mark.parametrize("n_components", [0, 2])
def test_linear_weights_that_are_not_fitted_are_0_for_unseen_features_too(n_components):
    X, y, _ = with_unseen()
    model = BayesianFMRegressor(**{**SHORT, "n_components": n_components}, fit_linear=False)
    model.fit(X, y)
    rows = np.zeros((2, X.shape[1]))
    rows[1, -1] = 1  # alone in its row: there are no pairs
    none, alone = outputs(model, rows)
    assert_allclose(alone, none, rtol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_a_group_that_did_not_occur_leaves_predictions_where_they_are(seed):
    """Nothing is known of it but that it is as likely to raise as to lower them."""
    X, y, _ = with_unseen()
    groups = np.repeat(["seen", "unseen"], [X.shape[1] - 1, 1])
    model = BayesianFMRegressor(**{**SHORT, "random_state": seed}, feature_groups=groups)
    model.fit(X, y)
    rows = np.zeros((2, X.shape[1]))
    rows[1, -1] = 1
    without, with_it = model.predict(rows)
    assert abs(with_it - without) < y.std()


# Whether the chain has arrived


@pytest.mark.parametrize("kind", MODELS)
def test_diagnostics_are_of_the_iterations_after_the_burn_in(kind):
    X, y = make(kind)
    model = kind(**SHORT, warm_start=True).fit(X, y)
    names = {"loss", "intercept", "coef", "components"}
    names |= {"noise_precision"} if kind is BayesianFMRegressor else set()
    for _ in range(2):
        losses = model.loss_curve_[N_BURN_IN:]
        for found, function in (
            (model.r_hat_, diagnostics.split_r_hat),
            (model.effective_sample_size_, diagnostics.effective_sample_size),
        ):
            assert set(found) == names
            assert found["loss"] == function(losses)
            assert np.isfinite([*found.values()]).all()
        model.fit(X, y)  # the chain goes on
    assert len(losses) == 2 * SHORT["max_iter"] - N_BURN_IN
    short = kind(**{**SHORT, "max_iter": N_BURN_IN + 3}).fit(X, y)
    assert short.r_hat_ == short.effective_sample_size_ == {}


@pytest.mark.parametrize("kind", MODELS)
def test_a_chain_that_has_not_arrived_warns(kind, monkeypatch):
    X, y = make(kind)
    step, losses = Chain.step, iter(np.linspace(2, 1, 100))
    model = kind(n_components=2, max_iter=40, n_burn_in=10, warm_start=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        model.fit(X, y)
        monkeypatch.setattr(Chain, "step", lambda chain: step(chain) * 0 + next(losses))
        before = pickle.dumps(model)
        with pytest.raises(ConvergenceWarning, match=r"max_iter=40.*still decreasing.*n_burn_in"):
            model.fit(X, y)
        assert pickle.dumps(model) == before
    with pytest.warns(ConvergenceWarning, match="still decreasing") as caught:
        model.fit(X, y)
    files = [warning.filename for warning in caught if warning.category is ConvergenceWarning]
    assert files == [__file__]


# Noise that differs


def noisy_rows(n_rows=None, n_levels=(6, 5), seed=0):
    """One-hot rows with two columns that do not occur; every second level of the first field is
    four times as noisy."""
    rng = np.random.default_rng(seed)
    n_rows = n_rows or size(400, 60)
    levels = np.stack([rng.integers(n, size=n_rows) for n in n_levels], axis=1)
    X = np.hstack([np.eye(n + 1)[own] for n, own in zip(n_levels, levels.T, strict=True)])
    noise = np.where(levels[:, 0] % 2, 2.0, 0.5)
    return X, X @ rng.normal(size=X.shape[1]) + noise * rng.normal(size=n_rows), noise


FIELDS = np.repeat(["a", "b"], [7, 6])


@pytest.fixture
def few_levels(monkeypatch):
    """The noise differs between few levels, too."""
    monkeypatch.setattr(solver_noise, "LEAST_LEVELS", 5)


@pytest.mark.skipif(not JIT, reason="enough rows and iterations take long")
def test_standard_deviations_are_those_of_levels(few_levels):
    X, y, noise = noisy_rows(1000)
    model = BayesianFMRegressor(2, max_iter=100, feature_groups=FIELDS, random_state=0)
    std = model.fit(X, y).predict(X, return_std=True)[1]
    assert_allclose(std, noise, rtol=0.25)
    even = model.set_params(noise_by_level=False).fit(X, y).predict(X, return_std=True)[1]
    assert_allclose(even, np.sqrt(np.mean(noise**2)), rtol=0.15)
    # A new level of the first field may be of either kind.
    model.set_params(noise_by_level=True).fit(X, y)
    new = np.zeros((2, 13))
    new[:, 6], new[:, 7] = [1, 0], 1
    with_new, without = model._samples.noise_variance(
        model._rows(new), model._chain_state.group, 1
    )
    law = 1 / (1 - 2 / model._samples.freedom[:, 0])
    assert_allclose(with_new / without, law.mean(), rtol=0.2)


@pytest.mark.skipif(not JIT, reason="enough rows and iterations take long")
def test_rows_of_noisy_levels_count_for_less(few_levels):
    """What is true is known better where it is told by the levels without noise."""
    errors = []
    for noise_by_level in (False, True):
        options = {"max_iter": 60, "feature_groups": FIELDS, "noise_by_level": noise_by_level}
        total = 0
        for seed in range(6):
            rng = np.random.default_rng(seed)
            X, _, noise = noisy_rows(150, seed=seed)
            f = X @ rng.normal(size=13)
            y = f + noise**2 * rng.normal(size=f.size)
            model = BayesianFMRegressor(0, random_state=0, **options).fit(X, y)
            total += np.mean((model.predict(X) - f) ** 2)
        errors.append(total)
    assert errors[1] < 0.8 * errors[0]


def test_few_levels_have_the_same_noise():
    X, y, _ = noisy_rows()
    models = [
        BayesianFMRegressor(**SHORT, feature_groups=FIELDS, noise_by_level=value).fit(X, y)
        for value in (True, False)
    ]
    assert_same(*models, X)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_noise_by_level_keeps_all_promises(dtype, few_levels, busy_threads):
    """Threads, order, weights, pickles, parts of the rows, and chains that go on."""
    X, y, _ = noisy_rows(size(200, 40))
    X = X.astype(dtype)
    new = X.copy()
    new[:5, 6] = new[5:8, 12] = 1  # do not occur in training
    weight = np.random.default_rng(0).integers(0, 4, size=len(y))
    options = {"n_components": 2, "n_burn_in": 4, "random_state": 0, "feature_groups": FIELDS}
    n = 2 * REFRESH
    expected = BayesianFMRegressor(**options, max_iter=n).fit(X, y, weight)
    assert np.isfinite(expected._samples.freedom).all()
    predicted = outputs(expected, new)
    assert predicted.dtype == dtype and np.ptp(predicted[:, 1]) > 0
    again, order = (
        np.repeat(np.arange(len(y)), weight),
        np.random.default_rng(1).permutation(len(y)),
    )
    for model in (
        BayesianFMRegressor(**options, max_iter=n, n_jobs=3).fit(X, y, weight),
        BayesianFMRegressor(**options, max_iter=n).fit(X[again], y[again]),
        BayesianFMRegressor(**options, max_iter=n).fit(X[order], y[order], weight[order]),
        pickle.loads(pickle.dumps(expected)),
    ):
        assert_same(model, expected, new)
    assert_array_equal(
        np.concatenate([outputs(expected, new[[i]]) for i in range(9)]), predicted[:9]
    )
    half = BayesianFMRegressor(**options, max_iter=REFRESH, warm_start=True).fit(X, y, weight)
    assert_same(pickle.loads(pickle.dumps(half)).fit(X, y, weight), expected, new)
    # On other rows the precisions are where they were; with equal noise, all rows are others.
    half.fit(X[3:], y[3:])
    assert half.n_draws_ == REFRESH - 4 and np.isfinite(outputs(half, new)).all()
    half.set_params(noise_by_level=False).fit(X[3:], y[3:])
    assert half.n_draws_ == REFRESH - 4 and half._samples.level_precision.size == 0
    assert np.isfinite(outputs(half.set_params(noise_by_level=True).fit(X, y), new)).all()


def test_noise_by_level_keeps_to_the_memory_too(few_levels):
    X, y, _ = noisy_rows()
    full = BayesianFMRegressor(**SHORT, feature_groups=FIELDS).fit(X, y)
    few = clone(full).set_params(max_memory=4 * full._samples.bytes_a_draw / 2**20).fit(X, y)
    assert few.n_draws_ <= 4
    stride = -(-full.n_draws_ // few.n_draws_)
    stride = 1 << (stride - 1).bit_length()
    for name in ("level_precision", "freedom"):
        assert_array_equal(getattr(few._samples, name), getattr(full._samples, name)[::stride])


# Results that must not change


@pytest.fixture
def busy_threads(monkeypatch):
    """Threads share even little work."""
    monkeypatch.setattr(sweeps, "THREAD_WORK", 1)
    monkeypatch.setattr(gibbs, "PROBIT_CHUNK", 16)
    monkeypatch.setattr(posterior, "BLOCK_BYTES", 1000)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", MODELS)
def test_number_of_threads_does_not_matter(kind, dtype, busy_threads):
    X, y = make(kind)
    X = X.astype(dtype)
    models = [kind(**SHORT, n_jobs=n_jobs).fit(X, y) for n_jobs in (1, 2, 3, -1)]
    for model in models[1:]:
        assert_same(model, models[0], X)


@pytest.mark.parametrize("layout", ["one_hot", "dense"])
@pytest.mark.parametrize("kind", MODELS)
def test_order_of_rows_does_not_matter(kind, layout):
    X, y = make(kind, layout=layout)
    weight = np.random.default_rng(1).integers(1, 4, size=len(y)) / 2
    expected = kind(**SHORT).fit(X, y, weight)
    for seed in range(2):
        order = np.random.default_rng(seed).permutation(len(y))
        model = kind(**SHORT).fit(X[order], y[order], weight[order])
        assert_same(model, expected, X)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", MODELS)
def test_weights_are_repetitions(kind, dtype):
    X, y = make(kind)
    X = X.astype(dtype)
    weight = np.random.default_rng(0).integers(0, 4, size=len(y))
    weight[:2] = 30, 0
    again = np.repeat(np.arange(len(y)), weight)
    expected = kind(**SHORT).fit(X[again], y[again])
    assert_same(kind(**SHORT).fit(X, y, weight), expected, X)
    assert_same(kind(**SHORT).fit(X[weight > 0], y[weight > 0], weight[weight > 0]), expected, X)
    plain = kind(**SHORT).fit(X, y)
    assert (outputs(plain, X) != outputs(expected, X)).any()


@pytest.mark.parametrize("kind", MODELS)
def test_rows_of_weight_0_do_not_matter(kind):
    X, y = make(kind)
    more, weight = make(kind, 50, seed=1)[0], np.ones(len(y))
    label = 1e9 if kind is BayesianFMRegressor else "other"
    whole = sparse.vstack([more, X])
    target = np.concatenate([np.full(50, label), y])
    weight = np.concatenate([np.zeros(50), weight])
    model = kind(**SHORT).fit(whole, target, weight)
    assert_same(model, kind(**SHORT).fit(X, y), X)
    assert kind is BayesianFMRegressor or model.classes_.tolist() == ["no", "yes"]


def test_negative_zeros_are_zeros():
    X, y = make()
    y[:20] = 0
    other = np.where(np.arange(len(y)) % 2 & (y == 0), -0.0, y)
    models = [
        BayesianFMRegressor(**SHORT, fit_intercept=False).fit(X, target) for target in (y, other)
    ]
    assert_same(*models, X)


@pytest.mark.parametrize("kind", MODELS)
def test_float32_comes_out_where_it_goes_in(kind):
    X, y = make(kind)
    narrow, wide = (kind(**SHORT).fit(X.astype(dtype), y) for dtype in (np.float32, np.float64))
    assert outputs(narrow, X.astype(np.float32)).dtype == np.float32
    assert outputs(wide, X).dtype == np.float64
    assert_allclose(narrow.loss_curve_[0], wide.loss_curve_[0], rtol=1e-4)


@pytest.mark.parametrize("kind", MODELS)
def test_a_mean_is_the_same_with_and_without_a_standard_deviation(kind):
    X, y = make(kind)
    model = kind(**SHORT).fit(X, y)
    if kind is BayesianFMRegressor:
        mean, std = model.predict(X, return_std=True)
        assert_array_equal(mean, model.predict(X))
        assert (std >= np.sqrt(1 / model.alpha_) * 0.9).all()
        with pytest.raises(TypeError, match="return_std"):
            model.predict(X, return_std="yes")
    else:
        probability = model.predict_proba(X)
        assert_allclose(probability.sum(axis=1), 1)
        assert_array_equal(model.predict(X), model.classes_[(probability[:, 1] > 0.5).astype(int)])
        assert model.score(X, y) > 0.6


@pytest.mark.parametrize("kind", MODELS)
def test_models_are_copied_by_pickle(kind):
    X, y = make(kind)
    model = kind(**SHORT, warm_start=True).fit(X, y)
    copy = pickle.loads(pickle.dumps(model))
    assert_same(copy, model, X)
    assert_same(copy.fit(X, y), model.fit(X, y), X)


@pytest.mark.parametrize("kind", MODELS)
def test_all_formats_are_the_same(kind):
    X, y = make(kind)
    wide = X.tocsr(copy=True)
    wide.indices, wide.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    zeros = X.tolil()
    zeros[0, 0] = 7
    zeros = zeros.tocsr()
    zeros[0, 0] = X[0, 0]  # a stored zero, perhaps
    doubled = sparse.coo_matrix(
        (np.repeat(X.data / 2, 2), (np.repeat(X.tocoo().row, 2), np.repeat(X.indices, 2))), X.shape
    )
    expected = kind(**SHORT).fit(X.toarray(), y)
    formats = [X, X.tocsc(), X.tocoo(), wide, zeros, doubled, sparse.csr_array(X), X.tolil()]
    for other in formats:
        model = kind(**SHORT).fit(other, y)
        assert_same(model, expected, X)
        assert_array_equal(outputs(model, other), outputs(model, X.toarray()))


@pytest.mark.parametrize("kind", MODELS)
def test_random_state(kind):
    X, y = make(kind)
    model = kind(**SHORT).fit(X, y)
    instance = {**SHORT, "random_state": np.random.RandomState(0)}
    assert_same(kind(**instance).fit(X, y), model, X)
    assert_same(clone(model).fit(X, y), model, X)
    other = kind(**{**SHORT, "random_state": 1}).fit(X, y)
    assert (outputs(other, X) != outputs(model, X)).any()


# Warm start


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", MODELS)
def test_a_chain_goes_on_on_the_same_rows(kind, dtype):
    X, y = make(kind)
    X = X.astype(dtype)
    options = {"n_components": 2, "n_burn_in": 4, "random_state": 0}
    long = kind(**options, max_iter=REFRESH + 12).fit(X, y)
    model = kind(**options, max_iter=REFRESH, warm_start=True).fit(X, y)
    first = model.loss_curve_
    assert model.n_iter_ == REFRESH and model.n_draws_ == REFRESH - 4
    order = np.random.default_rng(0).permutation(len(y))  # they are the same rows
    model.set_params(max_iter=12, random_state=1).fit(X[order], y[order])
    assert model.n_iter_ == len(model.loss_curve_) == REFRESH + 12 == long.n_iter_
    assert model.n_draws_ == long.n_draws_ == REFRESH + 8
    assert model.loss_curve_[:REFRESH] == first
    assert_same(model, long, X)


@pytest.mark.parametrize("kind", MODELS)
def test_a_chain_goes_on_from_anywhere_nearly_as_if_nothing_had_happened(kind):
    X, y = make(kind)
    options = {"n_components": 2, "n_burn_in": 4, "random_state": 0}
    long = kind(**options, max_iter=21).fit(X, y)
    model = kind(**options, max_iter=7, warm_start=True).fit(X, y).fit(X, y).fit(X, y)
    assert model.n_iter_ == 21 and model.n_draws_ == long.n_draws_ == 17
    assert_allclose(model.loss_curve_, long.loss_curve_, rtol=1e-5)
    assert_allclose(outputs(model, X), outputs(long, X), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", MODELS)
def test_on_other_rows_the_draws_before_are_gone(kind):
    X, y = make(kind, noise=0.1)
    short = SHORT | {"max_iter": size(40, 30)}  # long enough for both chains to arrive
    model = kind(**short, warm_start=True).fit(X, y)
    fresh = kind(**short).fit(X[1:], y[1:])
    model.fit(X[1:], y[1:])
    assert model.n_draws_ == short["max_iter"] - N_BURN_IN
    assert len(model.loss_curve_) == model.n_iter_
    assert model.loss_curve_[0] < 0.9 * fresh.loss_curve_[0]  # it starts where it was
    assert (outputs(model, X) != outputs(fresh, X)).any()
    assert_allclose(np.mean(model.loss_curve_[-3:]), np.mean(fresh.loss_curve_[-3:]), rtol=0.3)
    # Other weights are other rows, too; without a warm start, training starts again.
    again = model.fit(X[1:], y[1:], np.full(len(y) - 1, 2.0))
    assert again.n_draws_ == short["max_iter"] - N_BURN_IN
    assert_same(model.set_params(warm_start=False).fit(X[1:], y[1:]), fresh, X)


@pytest.mark.parametrize("kind", MODELS)
def test_columns_that_come_and_go_between_warm_starts(kind):
    X, y, new = with_unseen(kind)
    model = kind(**SHORT, warm_start=True).fit(X, y)
    wider = X.tolil()
    wider[:10, 4] = wider[5:15, -1] = 1
    wider[:, 0] = 0
    outputs(model.fit(wider.tocsr(), y), new)
    assert np.isfinite(outputs(model.fit(X, y), new)).all()


@pytest.mark.parametrize("kind", MODELS)
def test_what_must_not_change_between_warm_starts(kind):
    X, y = make(kind)
    model = kind(**SHORT, warm_start=True).fit(X, y)
    assert_refused(model.set_params(n_components=3), X, y, "warm_start.*n_components")
    model.set_params(n_components=2)
    assert_refused(model, X[:, :-1], y, "warm_start.*n_features")
    groups = np.arange(X.shape[1]) % 2
    assert_refused(model.set_params(feature_groups=groups), X, y, "warm_start.*number of groups")
    model.set_params(feature_groups=None)
    if kind is BayesianFMClassifier:
        assert_refused(model, X, y == "yes", "warm_start.*classes")
    assert_same(model.fit(X, y), kind(**SHORT, warm_start=True).fit(X, y).fit(X, y), X)


@pytest.mark.parametrize("term", ["fit_intercept", "fit_linear"])
@pytest.mark.parametrize("kind", MODELS)
def test_a_term_that_is_switched_off_between_warm_starts_is_gone(kind, term):
    """Or the change is refused; but draws with the term and without must not mix."""
    X, y = make(kind, layout="dense")
    X = X + 10  # columns are centered only if both are fitted
    if kind is BayesianFMRegressor:
        y = y + 3
    model = kind(**SHORT, warm_start=True).fit(X, y).set_params(**{term: False})
    try:
        model.fit(X, y)
    except ValueError as error:
        assert term in str(error)
        return
    origin = outputs(model, np.zeros((1, 3)))[0, 0]
    if term == "fit_intercept":
        assert origin == (0 if kind is BayesianFMRegressor else 0.5)
    else:  # a single number in a row makes no pairs
        assert_allclose(outputs(model, 10 * np.eye(3))[:, 0], origin, rtol=1e-5, atol=1e-5)


# Memory


@pytest.mark.parametrize("kind", MODELS)
def test_few_draws_are_kept_in_little_memory(kind):
    X, y = make(kind)
    options = {**SHORT, "max_iter": size(100, 20)}
    n_draws = options["max_iter"] - N_BURN_IN
    full = kind(**options).fit(X, y)
    assert full.n_draws_ == n_draws
    n_bytes = len(pickle.dumps(full._samples)) / n_draws
    for n_fitting in (3, 10, n_draws - 1):
        few = kind(**options, max_memory=n_fitting * n_bytes / 2**20).fit(X, y)
        assert n_fitting / 2 - 1 < few.n_draws_ <= n_fitting + 1
        stride = -(-n_draws // few.n_draws_)
        stride = 1 << (stride - 1).bit_length()
        kept = few._samples
        assert_array_equal(kept.factors, full._samples.factors[::stride])
        assert_array_equal(kept.noise_precision, full._samples.noise_precision[::stride])
        assert few.loss_curve_ == full.loss_curve_
        if n_fitting >= 10 and JIT:
            error = np.abs(outputs(few, X)[:, 0] - outputs(full, X)[:, 0])
            assert error.mean() < 0.1
    # A limit that is too small for two draws counts as a limit of two.
    assert 1 <= kind(**options, max_memory=1e-12).fit(X, y).n_draws_ <= 2


def test_memory_bounds_warm_starts_too():
    X, y = make()
    bounded = BayesianFMRegressor(**SHORT, max_memory=0.02, warm_start=True)
    whole = BayesianFMRegressor(**SHORT, warm_start=True)
    for n in range(1, 5):
        bounded.fit(X, y)
        whole.fit(X, y)
        n_whole = n * SHORT["max_iter"] - N_BURN_IN
        assert whole.n_draws_ == n_whole
        stride = next(s for s in (1, 2, 4, 8, 16) if bounded.n_draws_ == -(-n_whole // s))
        for name in ("factors", "intercept"):
            kept, every = (getattr(model._samples, name) for model in (bounded, whole))
            assert_array_equal(kept, every[::stride])
        assert bounded._samples.factors.nbytes < 0.02 * 2**20
    assert stride > 1 or not JIT


def test_less_memory_is_kept_to_in_a_warm_start():
    X, y = make()
    model = BayesianFMRegressor(**SHORT, warm_start=True).fit(X, y)
    model.set_params(max_memory=1e-9).fit(X, y)
    assert model.n_draws_ <= 2


# Unusual data


UNUSUAL = {
    "no_components": {"n_components": 0},
    "no_linear": {"fit_linear": False},
    "no_intercept": {"fit_intercept": False},
    "nothing": {"n_components": 0, "fit_linear": False, "fit_intercept": False},
    "intercept_alone": {"n_components": 0, "fit_linear": False},
    "many_components": {"n_components": 19},
    "one_group_a_feature": {"feature_groups": np.arange(4)},
    "no_burn_in": {"n_burn_in": 0},
    "one_draw": {"max_iter": 1, "n_burn_in": 0},
    "numpy_numbers": {"n_components": np.int64(2), "init_scale": np.float32(0.1), "n_jobs": -9},
}


@pytest.mark.parametrize("name", UNUSUAL)
@pytest.mark.parametrize("kind", MODELS)
def test_unusual_parameters_and_columns(kind, name):
    """Columns of zeros and of one value, far and near, beside others."""
    rng = np.random.default_rng(0)
    X = np.column_stack([np.zeros(30), np.full(30, 7.0), rng.normal(size=(30, 2))])
    y = X[:, 2] + 5
    parameters = {**SHORT, **UNUSUAL[name]}
    model = kind(**parameters).fit(X, y if kind is BayesianFMRegressor else y > 5)
    predicted = outputs(model, np.vstack([X, -X, np.eye(4)]))
    assert np.isfinite(predicted).all()
    assert model.n_iter_ == parameters["max_iter"]
    assert model.n_draws_ == parameters["max_iter"] - parameters["n_burn_in"]
    if name == "nothing":
        assert (predicted[:60, 0] == (0 if kind is BayesianFMRegressor else 0.5)).all()
    if name == "intercept_alone":
        assert np.ptp(predicted[:60, 0]) == 0
        if kind is BayesianFMRegressor:
            assert_allclose(predicted[0, 0], y.mean(), atol=0.5)


@pytest.mark.parametrize("layout", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize("kind", MODELS)
def test_rows_of_zeros_alone(kind, layout):
    X = layout(np.zeros((20, 3)))
    y = np.arange(20.0) if kind is BayesianFMRegressor else np.arange(20) < 15
    model = kind(**SHORT).fit(X, y)
    first = outputs(model, X)[:, 0]
    assert np.ptp(first) == 0
    if JIT:
        assert_allclose(first[0], 9.5 if kind is BayesianFMRegressor else 0.25, atol=2)
    assert np.isfinite(outputs(model, np.eye(3))).all()


def test_one_row():
    model = BayesianFMRegressor(**SHORT).fit([[1.0, 2.0]], [3.0])
    assert_allclose(model.predict([[1, 2], [2, 1], [0, 0]]), 3)
    assert np.isfinite(model.alpha_)
    model = BayesianFMClassifier(**SHORT).fit([[1.0, 2.0], [2.0, 1.0]], [3, 4])
    assert np.isfinite(model.predict_proba([[1, 2], [0, 0]])).all()


@pytest.mark.parametrize("value", [0.0, 7.0, -1e-9, 1e12])
def test_constant_targets(value):
    X, _ = make()
    model = BayesianFMRegressor(**SHORT).fit(X, np.full(X.shape[0], value))
    mean, std = model.predict(X, return_std=True)
    assert_allclose(mean, value, rtol=1e-9, atol=1e-12)
    assert (std >= 0).all() and std.max() <= 1e-6 * max(abs(value), 1e-6)
    assert np.isfinite(model.alpha_)


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_classes_that_a_column_separates(unit):
    X = unit * np.repeat([-1.0, 1.0], size(500, 50))[:, None]
    model = BayesianFMClassifier(**{**SHORT, "max_iter": size(300, 30)}).fit(X, X[:, 0] > 0)
    probability = model.predict_proba(X * [[1.0]])[:, 1]
    assert (probability[X[:, 0] > 0] > 0.95).all() and (probability[X[:, 0] < 0] < 0.05).all()
    assert np.isfinite(model.loss_curve_).all() and model.loss_curve_[-1] > 0
    far = model.predict_proba(unit * np.array([[-1e4], [1e4]]))
    assert_array_equal(far, [[1, 0], [0, 1]])


HUGE = {
    "X": [1e-300, 1e-200, 1e30, 1e150, 1e200, 1e300],
    "y": [1e-300, 1e-200, 1e-30, 1e30, 1e150, 1e200, 1e300],
    "sample_weight": [1e-300, 1e-30, 1e30, 1e300],
    "init_scale": [0, 1e-300, 1e3, 1e200],
}


@pytest.mark.pairwise
@pytest.mark.parametrize(
    "where, scale", [(where, scale) for where, scales in HUGE.items() for scale in scales]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", MODELS)
def test_huge_and_tiny_values_are_learned_from_or_refused(kind, dtype, where, scale):
    rng = np.random.default_rng(0)
    X, weight = rng.normal(size=(30, 3)), np.ones(30)
    y = X[:, 0] + rng.normal(size=30)
    if kind is BayesianFMClassifier:
        y = y > 0
    model = kind(**SHORT).fit(X, y)
    scales = {"X": 1.0, "y": 1.0, "sample_weight": 1.0, where: scale}
    if (where == "y" and kind is BayesianFMClassifier) or (where, dtype) == ("X", np.float32):
        scale = scales[where] = np.clip(scale, 1e-30, 1e30)
    if kind is BayesianFMRegressor:
        y = y * scales["y"]
    X = (X * scales["X"]).astype(dtype)
    if where == "init_scale":
        model.set_params(init_scale=scale)
    before = pickle.dumps(model)
    with np.errstate(all="ignore"):
        try:
            model.fit(X, y, weight * scales["sample_weight"])
        except ValueError as error:
            assert re.search(rf"\b{where}\b", str(error))
            assert pickle.dumps(model) == before
        else:
            predicted = outputs(model, X)
            assert not np.isnan(predicted).any()
            assert not np.isnan(model.loss_curve_).any()
            if dtype == np.float64:  # of others, y is cut off
                assert np.isfinite(predicted).all()


@pytest.mark.parametrize("scale", [1e10, 1e20, 1e40, 1e200])
@pytest.mark.parametrize("kind", MODELS)
def test_huge_rows_are_not_predicted_as_nan(kind, scale):
    X, y = make(kind, layout="dense")
    model = kind(**SHORT).fit(X, y)
    rows = [[scale, 1, 1], [1, scale, -scale], [0, 0, scale]]
    if scale > 1e100:  # squares overflow
        with pytest.raises(ValueError, match="too large for predictions"):
            model.predict(rows)
    else:
        assert np.isfinite(outputs(model, rows)).all()


@pytest.mark.parametrize("kind", MODELS)
def test_huge_rows_do_not_change_the_predictions_of_others(kind):
    X, y = make(kind, layout="dense")
    model = kind(**SHORT).fit(X, y)
    together = outputs(model, np.vstack([X, [1e30, 1, 1]]))
    assert_array_equal(together[:-1], outputs(model, X))


# Errors


def fail_after(n_calls, method, error):
    calls = []

    def wrapped(*arguments):
        calls.append(None)
        if len(calls) > n_calls:
            raise error
        return method(*arguments)

    return wrapped


@pytest.mark.parametrize("warm_start", [False, True])
@pytest.mark.parametrize("n_calls", [0, 5])
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("kind", MODELS)
def test_an_interrupted_fit_leaves_the_model_as_it_was(
    kind, error, n_calls, warm_start, monkeypatch
):
    X, y = make(kind)
    model, new = kind(**SHORT, warm_start=warm_start).fit(X, y), kind(**SHORT)
    before, expected = pickle.dumps(model), outputs(model, X)
    with monkeypatch.context() as patch:
        patch.setattr(Chain, "step", fail_after(n_calls, Chain.step, error))
        for rows in (X, X[5:]):
            with pytest.raises(error):
                model.fit(rows, y[-rows.shape[0] :])
        with pytest.raises(error):
            new.fit(X, y)
    assert pickle.dumps(model) == before
    assert_array_equal(outputs(model, X), expected)
    assert vars(new) == vars(kind(**SHORT))
    assert_same(model.fit(X, y), pickle.loads(before).fit(X, y), X)


@pytest.mark.parametrize("kind", MODELS)
def test_what_is_wrong_with_data(kind):
    X, y = make(kind)
    bad, n = X.toarray(), len(y)
    bad[3, 1] = np.nan
    model = kind(**SHORT).fit(X, y)
    assert_refused(model, bad, y, "NaN")
    assert_refused(model, X, y[1:], "inconsistent")
    assert_refused(model, X, None, "requires y")
    assert_refused(model, X, y, "sample_weight", sample_weight=np.ones(3))
    assert_refused(model, X, y, "negative", sample_weight=-np.ones(n))
    assert_refused(model, X, y, "zero", sample_weight=np.zeros(n))
    assert_refused(model, X, y, "sample_weight contains NaN", sample_weight=np.full(n, np.inf))
    with pytest.raises(ValueError, match="features"):
        model.predict(X[:, 1:])
    if kind is BayesianFMRegressor:
        assert_refused(model, X, np.full(n, "a"), "numbers")
        assert_refused(model, X, np.where(np.arange(n) == 3, np.inf, y), "infinity")
    else:
        assert_refused(model, X, np.arange(n) % 3, "OneVsRestClassifier")
        assert_refused(model, X, np.full(n, "a"), "two classes.*'a'")
        only = (y == "yes").astype(float)
        assert_refused(model, X, y, "two classes.*positive weight", sample_weight=only)
        assert_refused(model, X, np.linspace(0, 1, n), "continuous")


BAD_PARAMETERS = {
    "n_components": [-1, 1.5, "8", None, True, np.nan],
    "max_iter": [0, -1, 10.5, None, "many", True],
    "n_burn_in": [-1, 0.5, None, "few", 10**6, SHORT["max_iter"]],
    "init_scale": [-1.0, None, "0.1", np.nan, np.inf],
    "degree": [1, 0, 2.5, "2", None, True, 11, np.nan],
    "fit_lower": ["no", None, 0],
    "interactions": ["ab", 3, [("a", "b")], {"a": "b"}],
    "field_interactions": ["matrixed", "field", None, True],
    "feature_fields": [[0], "ab", [0, np.nan, 1], [[0, 1, 2]], 3, [0, "a", None]],
    "feature_groups": [[0], "ab", [0, np.nan, 1], [[0, 1, 2]], 3, [0, "a", None]],
    "fit_intercept": ["yes", None, 1],
    "fit_linear": ["no", None, 0],
    "noise_by_level": ["yes", None, 1],
    "max_memory": [0, -1.0, None, "256", np.nan, np.inf],
    "warm_start": ["yes", None, 1],
    "random_state": ["seed", -1, 1.5],
    "n_jobs": [0, 1.5, "all", True],
    "verbose": [-1, 0.5, "loud", None],
}


@pytest.mark.parametrize(
    "kind, name",
    [(kind, name) for kind in MODELS for name in BAD_PARAMETERS if name in vars(kind())],
)
def test_bad_parameters(kind, name):
    X, y = make(kind, 30, layout="dense")
    fitted = kind(**SHORT).fit(X, y)
    match = "[Ss]eed" if name == "random_state" else rf"\b{name}\b"  # scikit-learn's own words
    for value in BAD_PARAMETERS[name]:
        new = kind(**{**SHORT, name: value})
        with pytest.raises((ValueError, TypeError), match=match):
            new.fit(X, y)
        assert not hasattr(new, "n_features_in_")
        fitted.set_params(**{name: value})
        before = set(vars(fitted))
        with pytest.raises((ValueError, TypeError), match=match):
            fitted.fit(X, y)
        assert set(vars(fitted)) == before


@pytest.mark.parametrize("kind", MODELS)
def test_every_parameter_is_checked(kind):
    """A new parameter must get its line above."""
    of_one = {"noise_by_level"} if kind is BayesianFMClassifier else set()
    assert set(kind().get_params()) == set(BAD_PARAMETERS) - of_one


# In company


def test_more_than_two_classes():
    X, y = make()
    labels = np.array(["low", "middle", "high"])[np.digitize(y, [-0.5, 0.5])]
    with pytest.raises(ValueError, match="OneVsRestClassifier"):
        BayesianFMClassifier(**SHORT).fit(X, labels)
    model = OneVsRestClassifier(BayesianFMClassifier(**SHORT)).fit(X, labels)
    assert model.score(X, labels) > (0.6 if JIT else 0.4)
    assert_allclose(model.predict_proba(X).sum(axis=1), 1)


@pytest.mark.parametrize("kind", MODELS)
def test_grid_search(kind):
    X, y = make(kind)
    search = GridSearchCV(kind(**SHORT), {"n_components": [0, 2]}, cv=3).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    if JIT:
        assert search.best_params_ == {"n_components": 2}


@pytest.mark.parametrize("kind", MODELS)
def test_a_pipeline_meets_new_categories(kind):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"user": rng.integers(5, size=60), "item": rng.choice([*"abc"], 60)})
    y = (table["user"] > 2) + 0.1 * rng.normal(size=60)
    if kind is BayesianFMClassifier:
        y = y > 0.5
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), kind(**SHORT)).fit(table, y)
    assert model.score(table, y) > 0.5
    new = pd.DataFrame({"user": [99, 1], "item": ["z", "a"]})
    assert np.isfinite(outputs(model[-1], model[0].transform(new))).all()


@pytest.mark.parametrize("kind", MODELS)
def test_names_of_features(kind):
    X, y = make(kind, 40, layout="dense")
    table = pd.DataFrame(X, columns=["a", "b", "c"])
    model = kind(**SHORT).fit(table, y)
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    with pytest.raises(ValueError, match="feature names"):
        model.predict(table[["b", "a", "c"]])
    with pytest.warns(UserWarning, match="feature names"):
        assert_array_equal(model.predict(X), model.predict(table))
    assert not hasattr(model.fit(X, y), "feature_names_in_")


@pytest.mark.parametrize("n_jobs", [None, 2])
@pytest.mark.parametrize("kind", MODELS)
def test_verbose_writes_progress_to_stderr(kind, n_jobs, capfd):
    X, y = make(kind, 30)
    options = {"max_iter": 3, "n_burn_in": 1, "n_jobs": n_jobs}
    kind(**options, verbose=1).fit(X, y)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "3/3" in captured.err and "rows/s" in captured.err and "loss" in captured.err
    kind(**options).fit(X, y)
    assert capfd.readouterr() == ("", "")
