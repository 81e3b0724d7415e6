"""Forks, threads, fresh processes, and folders in which nothing can be cached."""

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from builders import SOLVERS, quietly
from helpers import JIT, in_full, run_code, run_python, size
from numpy.testing import assert_array_equal
from scipy import sparse

import skfm
from skfm import BayesianFMClassifier, BayesianFMRegressor, FMClassifier, FMRegressor
from skfm._solvers import columns

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
from skfm._solvers import columns

columns.THREAD_WORK = 1  # so that threads have something to share
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
@pytest.mark.parametrize("solver", ["adagrad", *in_full("adam", "als", "ftrl", "sgd", "bayes")])
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
    monkeypatch.setattr(columns, "THREAD_WORK", 1)
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


STATS = """
import json, warnings
import numpy as np
from skfm import FMRegressor
from skfm._kernels.decision import decide
from skfm._kernels.minibatch import run_steps

warnings.simplefilter("ignore")
X = np.random.default_rng(0).normal(size=(50, 3))
FMRegressor(max_iter=3).fit(X, X[:, 0]).predict(X)
kernels = {"run_steps": run_steps, "decide": decide}
stats = {name: kernel.stats for name, kernel in kernels.items()}
print(json.dumps({
    name: [sum(stat.cache_hits.values()), sum(stat.cache_misses.values())]
    for name, stat in stats.items()
}))
"""


@pytest.mark.skipif(not JIT, reason="without the JIT nothing is compiled")
def test_another_process_finds_the_kernels_of_this_one():
    X, y = make(50)
    quietly(FMRegressor(max_iter=3).fit, X, y).predict(X)
    for hits, misses in json.loads(run_code(STATS)).values():
        assert hits == 1 and misses == 0


@pytest.mark.full
def test_second_process_finds_the_compiled_kernels(tmp_path):
    options = {"NUMBA_CACHE_DIR": tmp_path, "NUMBA_DISABLE_JIT": None}
    first, second = (json.loads(run_code(STATS, **options)) for _ in range(2))
    for name in ("run_steps", "decide"):
        assert first[name] == [0, 1]
        assert second[name] == [1, 0]


@pytest.mark.full
def test_parallel_fit_finds_the_compiled_kernels(tmp_path):
    code = STATS.replace("max_iter=3", "max_iter=3, n_jobs=2")
    options = {"NUMBA_CACHE_DIR": tmp_path, "NUMBA_DISABLE_JIT": None}
    first, second = (json.loads(run_code(code, **options)) for _ in range(2))
    assert first["run_steps"] == [0, 1]
    assert second["run_steps"] == [1, 0]


USE_ONE_KERNEL = """
import warnings
with warnings.catch_warnings():
    warnings.simplefilter("error")
    import skfm
import numpy as np
from skfm._kernels.features import values_are_scales
one, first = np.ones(1), np.zeros(1, int)
assert values_are_scales(first, one, first, one)
print(skfm.__file__)
"""
USE = """
import warnings
with warnings.catch_warnings():
    warnings.simplefilter("error")
    import skfm
import numpy as np
X = np.random.default_rng(0).normal(size=(50, 3))
for n_jobs in (None, 2):
    warnings.simplefilter("ignore")
    model = skfm.FMRegressor(max_iter=3, n_jobs=n_jobs).fit(X, X[:, 0])
    assert np.isfinite(model.predict(X)).all()
print(skfm.__file__)
"""


@pytest.mark.parametrize("code", [USE_ONE_KERNEL, *in_full(USE)], ids=["one kernel", "a fit"])
@pytest.mark.parametrize("cache", ["unset", *in_full("a plain file", "below a plain file")])
def test_works_where_nothing_can_be_cached(cache, code, tmp_path):
    """A plain file stands wherever a folder would have to be: that stops root as well."""
    package = Path(skfm.__file__).parent
    copy = tmp_path / "skfm"
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in (copy, *filter(Path.is_dir, copy.rglob("*"))):
        (folder / "__pycache__").write_text("in the way")
    home = tmp_path / "home"
    home.write_text("in the way")
    caches = {"unset": None, "a plain file": home, "below a plain file": home / "cache"}
    done = run_python(
        "-c",
        code,
        PYTHONPATH=tmp_path,
        NUMBA_CACHE_DIR=caches[cache],
        HOME=home,
        USERPROFILE=home,
        LOCALAPPDATA=home,
        XDG_CACHE_HOME=home / "cache",
        PYTHONDONTWRITEBYTECODE=1,
        PYTHONSAFEPATH=1,
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).parent == copy
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "skfm"]


@pytest.mark.skipif(not JIT, reason="without the JIT nothing would be compiled anyway")
def test_importing_compiles_nothing():
    code = """
import skfm
from numba.core.dispatcher import Dispatcher
from skfm._kernels import classes, columns, decision, features, losses, majorise, minibatch
from skfm._kernels import plan, updates
kernels = [
    value
    for module in (
        classes, columns, decision, features, losses, majorise, minibatch, plan, updates
    )
    for value in vars(module).values()
    if isinstance(value, Dispatcher)
]
assert len(kernels) > 10
assert not any(kernel.signatures for kernel in kernels)
"""
    run_code(code)
