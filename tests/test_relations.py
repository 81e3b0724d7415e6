"""Parts of rows that repeat: updated together, they end where they would one row at a time."""

import numpy as np
import pytest
from builders import GIVEN
from helpers import size
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from skfm import BayesianFMClassifier, BayesianFMRegressor, FMClassifier, FMRegressor
from skfm._kernels import losses
from skfm._kernels.structs import Prior
from skfm._solvers.fm import relation_blocks
from skfm._solvers.fm import sweeps as passes
from skfm._solvers.fm.interactions import Interactions
from skfm._solvers.fm.penalties import Penalties
from skfm._solvers.fm.problem import make_problem
from skfm._solvers.fm.sweeps import Sweeper

N_USERS, N_ITEMS, N_RATERS = 9, 12, 7
FIELDS = np.repeat([0, 1, 2, 3], [N_USERS, N_ITEMS, N_ITEMS, N_RATERS])
MASKS = {
    "all": np.ones((1, 1), bool),
    "SVD++": np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], bool),
    "within": np.array([[0, 1, 1], [1, 0, 1], [1, 1, 1]], bool),
}


def make(dtype=np.float64, seed=0, n_rows=None):
    """Rows of a user, an item, what the user has seen and who has seen the item."""
    rng = np.random.default_rng(seed)
    n_rows = n_rows or size(400, 60)
    users, items = rng.integers(N_USERS, size=n_rows), rng.integers(N_ITEMS, size=n_rows)
    seen = (rng.random((N_USERS, N_ITEMS)) < 0.7) * rng.uniform(0.2, 1, (N_USERS, N_ITEMS))
    raters = (rng.random((N_ITEMS, N_RATERS)) < 0.8) * rng.uniform(-1, 1, (N_ITEMS, N_RATERS))
    seen[0] = 0  # nothing
    parts = np.eye(N_USERS)[users], np.eye(N_ITEMS)[items], seen[users], raters[items]
    X = np.hstack(parts).astype(dtype)
    return X, rng.normal(size=n_rows) + X @ rng.normal(size=X.shape[1])


def problem_for(X, y, weight, mask, n_components, no_linear=()):
    """With a class for users, one for items and raters, and one for what was seen."""
    classes = np.zeros(FIELDS.size, np.uint8)
    if mask != "all":
        classes = np.array([0, 1, 2, 1], np.uint8)[FIELDS]
    interactions = Interactions(
        np.full(n_components, 2), classes, MASKS[mask], ~np.isin(FIELDS, no_linear), FIELDS
    )
    weight = np.empty(0, X.dtype) if weight is None else weight.astype(X.dtype)
    penalties = Penalties(linear=0.5, factors=0.5)
    arguments = y, weight, losses.SQUARED_ERROR, penalties, interactions
    return make_problem(sparse.csr_matrix(X), *arguments)


def sweep(problem, n_threads, noise, fit_linear, monkeypatch, gain, n_sweeps=3):
    """Sweeps from the same start; returns parameters, sums, errors and raw outputs."""
    monkeypatch.setattr(relation_blocks, "LEAST_GAIN", gain)
    rng = np.random.default_rng(5)
    n, n_components = problem.n_used, problem.interactions.n_components
    dtype = problem.data.dtype
    sweeper = Sweeper(problem, n_threads)
    if gain == np.inf:  # the order that relations have: last, one field after the other
        assert not sweeper.relation_blocks
        order = np.arange(n, dtype=np.uint32)
        sweeper.columns = sweeper.columns._replace(order=order)
    else:
        assert len(sweeper.relation_blocks) == 2
    linear = rng.normal(size=n) * problem.interactions.has_linear[problem.used]
    factors = rng.normal(size=(n, n_components))
    model = sweeper.model(linear.astype(dtype), factors.astype(dtype))
    rows = sweeper.rows(model, problem.weight.size > 0)
    rows.root[:] = np.sqrt(problem.weight)
    raw = np.zeros(problem.n_rows, dtype)
    sweeper.sum_rows(model, 0.3, rows.sums, raw)
    rows.error[:] = raw - problem.target
    prior = Prior(
        (np.arange(n) % 2).astype(np.uint32),
        np.linspace(0.5, 1.5, n),
        np.linspace(1.5, 0.5, n),
        rng.uniform(0.5, 2, (2, n_components + 1)),
        rng.normal(size=(2, n_components + 1)),
    )
    for number in range(n_sweeps):
        draws = np.empty((0, 0))
        if noise:
            draws = np.random.default_rng(number).normal(size=(n, n_components + 1))
        sweeper.sweep(rows, model, prior, 1.7, draws, fit_linear)
    followed = rows.sums.copy(), rows.error.copy()
    sweeper.sum_rows(model, 0.3, rows.sums, raw)
    return model.linear, model.factors, raw, *followed, rows.sums, raw - problem.target


@pytest.mark.pairwise
@pytest.mark.parametrize("noise", [False, True])
@pytest.mark.parametrize("fit_linear, no_linear", [(True, ()), (True, (2,)), (False, ())])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize(
    "dtype, n_components, n_sweeps, tolerance",
    [
        (np.float64, 0, 3, 1e-9),
        (np.float64, 1, 3, 1e-9),
        (np.float64, 4, 3, 1e-8),
        (np.float64, 16, 1, 1e-6),  # sweeps multiply rounding where factors fit few columns
        (np.float32, 1, 3, 1e-3),
        (np.float32, 4, 1, 1e-3),
    ],
)
def test_as_one_row_at_a_time(
    dtype,
    n_components,
    n_sweeps,
    tolerance,
    mask,
    weighted,
    fit_linear,
    no_linear,
    noise,
    monkeypatch,
):
    X, y = make(dtype)
    weight = np.random.default_rng(1).uniform(0.5, 2, len(y)) if weighted else None
    problem = problem_for(X, y, weight, mask, n_components, no_linear)
    single = sweep(problem, 1, noise, fit_linear, monkeypatch, np.inf, n_sweeps)
    together = sweep(problem, 1, noise, fit_linear, monkeypatch, 0, n_sweeps)
    for one, other in zip(single, together, strict=True):
        assert_allclose(other, one, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("noise", [False, True])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("n_components", [3, 19, 35])
def test_sums_and_errors_follow_the_parameters(n_components, mask, noise, monkeypatch):
    """Also where not all factors are solved together."""
    problem = problem_for(*make(), None, mask, n_components)
    *_, sums, error, new_sums, new_error = sweep(problem, 1, noise, True, monkeypatch, 0)
    assert_allclose(sums, new_sums, rtol=1e-9, atol=1e-9)
    assert_allclose(error, new_error, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_threads_give_the_same_bits(dtype, mask, monkeypatch):
    monkeypatch.setattr(passes, "THREAD_WORK", 20)
    X, y = make(dtype)
    problem = problem_for(X, y, None, mask, 5)
    results = [sweep(problem, n, True, True, monkeypatch, 0) for n in (1, 2, 3)]
    for other in results[1:]:
        for one, another in zip(results[0], other, strict=True):
            assert_array_equal(one, another)


def test_only_long_parts_that_repeat_are_set_aside():
    X, y = make(n_rows=400)
    problem = problem_for(X, y, None, "all", 2)
    found, rows = relation_blocks.find_relation_blocks(problem)
    assert [relation.n_blocks for relation in found] == [N_USERS, N_ITEMS]
    users = X[:, :N_USERS].argmax(axis=1)
    for relation, field in zip(found, (2, 3), strict=True):
        assert_array_equal(np.unique(FIELDS[problem.used[relation.columns.order]]), field)
        restored = np.zeros(X.shape)
        scaled = relation.matrix.toarray()[relation.of_row]
        restored[:, problem.used] = scaled * problem.scale
        assert_allclose(restored, X * (FIELDS == field), atol=1e-15)
    assert found[0].of_row[users == 0].max() == found[0].of_row[users == 0].min()
    left = sparse.csr_matrix((rows[2], rows[1], rows[0]), X.shape).toarray()
    assert_array_equal(left, X * (FIELDS < 2))
    # Of rows that all differ, nothing.
    different = X * np.random.default_rng(0).uniform(0.5, 1, (400, 1))
    assert relation_blocks.find_relation_blocks(problem_for(different, y, None, "all", 2))[0] == []
    # Nor without fields.
    problem.interactions.field = np.zeros(FIELDS.size, int)
    assert relation_blocks.find_relation_blocks(problem)[0] == []


@pytest.mark.parametrize(
    "model",
    [
        FMRegressor(3, solver="als", max_iter=10, tol=0, **GIVEN),
        FMClassifier(3, solver="als", max_iter=10, tol=0, **GIVEN),
        BayesianFMRegressor(3, max_iter=10, n_burn_in=2),
        BayesianFMClassifier(3, max_iter=10, n_burn_in=2),
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_estimators_use_them(model, monkeypatch):
    X, y = make()
    if hasattr(model, "predict_proba"):
        y = y > 0
    seen = []
    find = relation_blocks.find_relation_blocks

    def noting(problem):
        found = find(problem)
        seen.append(len(found[0]))
        return found

    monkeypatch.setattr(passes, "find_relation_blocks", noting)
    monkeypatch.setattr(relation_blocks, "LEAST_GAIN", 0)
    model.set_params(feature_fields=FIELDS, random_state=0)
    one = model.set_params(n_jobs=1).fit(X, y).predict(X)
    assert_array_equal(model.set_params(n_jobs=2).fit(X, y).predict(X), one)
    assert set(seen) == {2}
    if hasattr(model, "solver"):
        assert (np.diff(model.loss_curve_) <= 1e-12).all()
