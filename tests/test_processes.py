"""Forks and threads."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from builders import MINIBATCH_SOLVERS, SOLVERS
from helpers import in_full, needs_jit, run_code, size
from numpy.testing import assert_array_equal
from scipy import sparse

from skfm import BayesianFMClassifier, BayesianFMRegressor, FMClassifier, FMRegressor
from skfm._solvers.fm import sweeps

SETTINGS = {"batch_size": 100, "max_iter": 5, "random_state": 0}
BAYES = {"max_iter": 5, "n_burn_in": 1, "random_state": 0}


def make(n_rows, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 5))
    return X, X[:, 0] + X[:, 1] * X[:, 2]


FORK = """
import multiprocessing, sys, warnings
import numpy as np
from skfm import BayesianFMClassifier, BayesianFMRegressor, FMClassifier, FMRegressor
from skfm._solvers.fm import sweeps

sweeps.THREAD_WORK = 1  # so that threads have something to share
warnings.simplefilter("ignore")
rng = np.random.default_rng(0)
X = rng.normal(size=(size, 5))
y = X[:, 0] + X[:, 1] * X[:, 2]
settings = dict(n_jobs=2, max_iter=5, random_state=0)
if solver == "bayes":
    settings["n_burn_in"] = 1
    regressor, classifier = BayesianFMRegressor(**settings), BayesianFMClassifier(**settings)
else:
    settings.update(solver=solver, batch_size=100)
    regressor, classifier = FMRegressor(**settings), FMClassifier(**settings)
if solver in ("als", "bayes"):  # threads share columns that are in no common row
    X = (np.arange(20) == rng.integers(20, size=(size, 1))) * X[:, :1]
many = np.tile(X, (repeat, 1))


def fit_and_predict():
    outputs = [regressor.fit(X, y).predict(many)]
    outputs.append(classifier.fit(X, y > 0).predict_proba(many))
    return outputs


def child(connection):
    connection.send(fit_and_predict())


expected = fit_and_predict()
context = multiprocessing.get_context("fork")
receiver, sender = context.Pipe(duplex=False)
process = context.Process(target=child, args=(sender,), daemon=True)
process.start()
if not receiver.poll(limit):
    process.kill()
    sys.exit("the child hangs")
for one, other in zip(receiver.recv(), expected):
    np.testing.assert_array_equal(one, other)
process.join(limit)
assert process.exitcode == 0
for one, other in zip(fit_and_predict(), expected):  # the parent goes on as well
    np.testing.assert_array_equal(one, other)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
@pytest.mark.parametrize("solver", ["adagrad", *in_full(*SOLVERS[1:], "bayes")])
def test_fork_after_a_parallel_fit(solver):
    sizes = f"size, repeat, limit = {size(1500, 200)}, {size(20, 1)}, 60\nsolver = {solver!r}\n"
    run_code(sizes + FORK, timeout=200)


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_concurrent_predictions(n_jobs):
    X, y = make(300)
    many = sparse.csr_matrix(np.tile(X, (size(100, 1), 1)))
    models = [
        FMRegressor(n_jobs=n_jobs, **SETTINGS).fit(X, y),
        FMClassifier(n_jobs=n_jobs, **SETTINGS).fit(X, y > 0),
        FMClassifier(n_jobs=n_jobs, **SETTINGS).fit(X, np.digitize(y, [-1, 1])),
        BayesianFMRegressor(n_jobs=n_jobs, **BAYES).fit(X, y),
        BayesianFMClassifier(n_jobs=n_jobs, **BAYES).fit(X, y > 0),
    ]
    expected = [model.predict(many) for model in models]
    with ThreadPoolExecutor(4) as pool:
        rounds = [[pool.submit(model.predict, many) for model in models] for _ in range(5)]
    for futures in rounds:
        for future, prediction in zip(futures, expected, strict=True):
            assert_array_equal(future.result(), prediction)


@pytest.mark.around(solver="adagrad", n_jobs=2)
@pytest.mark.parametrize("n_jobs", [None, 2])
@pytest.mark.parametrize("solver", SOLVERS)
def test_concurrent_fits(solver, n_jobs):
    X, y = make(size(1500, 200))

    def fit(seed):
        model = FMRegressor(solver=solver, n_jobs=n_jobs, **{**SETTINGS, "random_state": seed})
        return model.fit(X, y)

    expected = [fit(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        fitted = list(pool.map(fit, range(4)))
    for one, other in zip(fitted, expected, strict=True):
        assert_array_equal(one.components_, other.components_)
        assert_array_equal(one.coef_, other.coef_)


@pytest.mark.parametrize("n_jobs", [None, 2])
@pytest.mark.parametrize("kind", [BayesianFMRegressor, BayesianFMClassifier])
def test_concurrent_chains(kind, n_jobs, monkeypatch):
    monkeypatch.setattr(sweeps, "THREAD_WORK", 1)
    X, y = make(size(1500, 100))
    X = (np.arange(20) == np.random.default_rng(0).integers(20, size=(len(y), 1))) * X[:, :1]

    def fit(seed):
        model = kind(2, n_jobs=n_jobs, **{**BAYES, "random_state": seed})
        return model.fit(X, y if kind is BayesianFMRegressor else y > 0)

    expected = [fit(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        fitted = list(pool.map(fit, range(4)))
    for one, other in zip(fitted, expected, strict=True):
        assert one.loss_curve_ == other.loss_curve_
        assert_array_equal(one.predict(X), other.predict(X))


FREED = """
import warnings
import numpy as np
from numba.core.runtime import rtsys
import skfm

warnings.simplefilter("ignore")
rng = np.random.default_rng(0)
X = (rng.random((60, 6)) < 0.6).astype(float)
y, fields = rng.normal(size=60), ["a", "a", "b", "b", "c", "c"]
masks = {"feature_fields": fields, "interactions": [("a", "b"), ("c", "c")]}
short = {"max_iter": 2, "random_state": 0}
models = [
    skfm.FMRegressor(solver=solver, **terms, **short)
    for solver in SOLVERS
    for terms in ({}, masks, {"degree": 3})
]
models += RECOMMENDERS
for model in models:
    target = rng.integers(6, size=60) if isinstance(model, skfm.FMRecommender) else y
    model.fit(abs(X) if "MF" in str(model) else X, target)
    if hasattr(model, "recommend"):
        model.recommend(X, 2)
    else:
        model.predict(X)
    model = None
stats = rtsys.get_allocation_stats()
print(stats.alloc - stats.free, stats.mi_alloc - stats.mi_free)
"""


def assert_all_is_freed(solvers, recommenders):
    code = FREED.replace("SOLVERS", repr(solvers)).replace("RECOMMENDERS", recommenders)
    allocated, handed_out = map(int, run_code(code, NUMBA_NRT_STATS=1).split())
    assert (allocated, handed_out) == (0, 0)


@needs_jit
def test_kernels_free_what_they_allocate():
    """Most do not count references to arrays, so none may return one."""
    assert_all_is_freed(["als"], "[]")


@needs_jit
@pytest.mark.full
def test_all_kernels_free_what_they_allocate():
    recommenders = """[
        skfm.MFRecommender(2, **short),
        skfm.MFRecommender(2, solver="sgd", **short),
        skfm.FMRecommender(2, **short),
        skfm.BayesianFMRegressor(2, max_iter=3, n_burn_in=1, random_state=0, **masks),
    ]"""
    assert_all_is_freed(MINIBATCH_SOLVERS, recommenders)
