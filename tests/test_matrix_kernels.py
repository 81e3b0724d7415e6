"""Matrix factorization: kernels and solvers against slow twins, with the JIT and without it."""

import warnings
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import reference
from helpers import JIT, run_python, size
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import optimize, sparse

from skfm import MFRecommender
from skfm._kernels import mf_sgd as kernels
from skfm._kernels import ridge
from skfm._kernels import top_k as top_kernels
from skfm._kernels.structs import Entries, Ridge
from skfm._solvers import top_k
from skfm._solvers.mf import als, principal_axes, sgd
from skfm._solvers.mf.problem import ITEM, USER, VECTOR_BYTES, Model
from skfm._utils import sparse_entries
from skfm._utils.progress import Progress

EXAMPLES = settings(max_examples=size(100, 25), deadline=None)
KINDS = {  # the options of a model
    "biases": {},
    "no biases": {"has_bias": False},
    "implicit": {"is_implicit": True},
    "stored only": {"is_implicit": True, "unobserved_weight": 0.0},
}
EXPLICIT, IMPLICIT = list(KINDS)[:2], list(KINDS)[2:]
EPS = np.finfo(np.float64).eps


# Problems


def make_model(kind, n_components=3, **options):
    values = {
        "is_implicit": False,
        "has_bias": kind == "biases",
        "alpha": 0.5,
        "alpha_bias": 0.7,
        "nu": 0.5,
        "unobserved_weight": 0.3,
    }
    return Model(n_components=n_components, **{**values, **KINDS[kind], **options})


def make_ratings(model, n_users=20, n_items=15, density=0.4, seed=0):
    """Ratings of variance 1 or confidences from a planted model, and a mask of the stored ones.

    One row and one column are empty; one rating that is stored is 0.
    """
    rng = np.random.default_rng(seed)
    stored = rng.random((n_users, n_items)) < density
    stored[n_users // 2], stored[:, n_items // 2] = False, False
    X = rng.normal(size=(n_users, 2)) @ rng.normal(size=(2, n_items))
    X += 0.3 * rng.normal(size=X.shape)
    if model.is_implicit:
        return stored * np.exp(np.clip(X, -1.5, 1.5)), stored
    X = stored * (X - X[stored].mean()) / X[stored].std()
    X[tuple(np.argwhere(stored)[3])] = 0
    return X, stored


def as_csr(X, stored, dtype=np.float64):
    """The stored entries, including zeros."""
    indptr = np.append(0, stored.sum(axis=1).cumsum())
    return sparse.csr_matrix((X[stored].astype(dtype), stored.nonzero()[1], indptr), X.shape)


def oracle_data(model, X, stored):
    """What the reference's objective takes beside the parameters."""
    unobserved = model.unobserved_weight if model.is_implicit else None
    return X, stored, model.alpha, model.alpha_bias, model.nu, unobserved


def start_items(model, n_items, dtype=np.float64, scale=0.1, seed=1):
    items = model.table(n_items, ITEM, dtype)
    shape = model.factors(items).shape
    model.factors(items)[...] = scale * np.random.default_rng(seed).normal(size=shape)
    return items


def parameters_of(model, tables):
    """Tables of users and items as the reference's parameters."""
    users, items = (table.astype(np.float64) for table in tables)
    biases = np.zeros(len(users)), np.zeros(len(items))
    if model.has_bias:
        biases = model.bias(users, USER), model.bias(items, ITEM)
    return model.factors(users), model.factors(items), *biases


def options(**changes):
    values = {
        "learning_rate": 0.1,
        "max_iter": 5,
        "tol": 0.0,
        "n_threads": 1,
        "verbose": False,
        "n_iter_no_change": 5,
    }
    return SimpleNamespace(**{**values, **changes})


def train_als(model, csr, items, **changes):
    chosen = options(**changes)
    return als.train(model, csr, items.copy(), chosen, Progress(chosen, csr.nnz, "entries"))


def train_sgd(model, csr, items, seed=0, **changes):
    chosen, rng = options(**changes), np.random.RandomState(seed)
    return sgd.train(model, csr, items.copy(), chosen, rng, Progress(chosen, csr.nnz, "entries"))


def turned(model, items):
    """Items of the same scores for some users, their factors being orthogonal."""
    items = items.copy()
    principal_axes.rotate(items, principal_axes.principal_axes(model, items, 1)[1], 1)
    return items


def fold_in(model, csr, items, n_threads=1):
    squares = (model.factors(items).astype(np.float64) ** 2).sum(axis=0)
    return als.fold_in(model, csr, items, squares, n_threads)


def best_objective(model, X, stored, start):
    """The least objective that L-BFGS finds, from some parameters on; without biases, if none."""
    data = oracle_data(model, X, stored)
    fitted = 4 if model.has_bias else 2
    ends = np.cumsum([array.size for array in start[:fitted]])[:-1]

    def value_and_gradient(vector):
        parts = np.split(vector, ends)
        parts = [part.reshape(a.shape) for part, a in zip(parts, start, strict=False)]
        value, slopes = reference.mf_slopes((*parts, *start[fitted:]), *data)
        return value, reference.flatten(slopes[:fitted])

    limits = {"maxiter": 5000, "maxfun": 10**5, "ftol": 1e-14, "gtol": 1e-9}
    first = reference.flatten(start[:fitted])
    return optimize.minimize(
        value_and_gradient, first, jac=True, method="L-BFGS-B", options=limits
    ).fun


# Ridge regressions of rows


def make_rows(rng, filled, width, is_confidence, dtype, held=()):
    """Random regressions; ``filled`` (n_rows, n_columns) says where entries are."""
    n_rows, n_columns = filled.shape
    indptr = np.append(0, filled.sum(axis=1).cumsum())
    indices = filled.nonzero()[1].astype(np.int32)
    values = rng.normal(size=indices.size)
    if is_confidence:
        values = 0.1 + values**2
    free = np.ones(width)
    free[list(held)] = 0
    return SimpleNamespace(
        entries=Entries(indptr, indices, values.astype(dtype), is_confidence),
        design=rng.normal(size=(n_columns, width)).astype(dtype),
        ridge=Ridge(
            rng.uniform(0.1, 1, size=width).astype(dtype),
            rng.uniform(0, 1, size=width).astype(dtype),
            free.astype(dtype),
        ),
        strength=rng.uniform(0.1, 2, size=n_rows).astype(dtype),
        start=rng.normal(size=(n_rows, width)).astype(dtype),
    )


def solve(rows, n_steps, precision=0.0, first=0, last=None):
    """Solutions and objectives; rows that are not asked for keep their start and have NaN."""
    last = len(rows.start) if last is None else last
    solution, objective = rows.start.copy(), np.full(len(rows.start), np.nan)
    precision = rows.start.dtype.type(precision)
    ridge.solve_rows(
        first, last, rows.entries, rows.design, rows.ridge, rows.strength, n_steps, precision,
        solution, objective,
    )  # fmt: skip
    return solution, objective


def regression_of(rows, u):
    """A row's regression as the reference takes it."""
    one = slice(*rows.entries.indptr[u : u + 2])
    values = rows.entries.values[one].astype(np.float64)
    ones = np.ones(values.size)
    target, weight = (ones, values) if rows.entries.is_confidence else (values, ones)
    fixed, scaled, free = (array.astype(np.float64) for array in rows.ridge)
    design = rows.design[rows.entries.indices[one]].astype(np.float64)
    return design, target, weight, fixed + rows.strength[u] * scaled, free


def assert_solved(rows, solution, objective, tolerance):
    for u, start in enumerate(rows.start):
        if rows.entries.indptr[u] == rows.entries.indptr[u + 1]:
            assert_array_equal(solution[u], np.where(rows.ridge.free, 0, start))
            assert objective[u] == 0
            continue
        data = regression_of(rows, u)
        assert_allclose(solution[u], reference.ridge_solution(start, *data), **tolerance)
        value = reference.ridge_objective(solution[u].astype(np.float64), *data)
        assert_allclose(objective[u], value, **tolerance)
        assert_array_equal(solution[u][data[-1] == 0], start[data[-1] == 0])


TIGHT, LOOSE = {"rtol": 1e-8, "atol": 1e-9}, {"rtol": 1e-3, "atol": 1e-3}


@st.composite
def row_problems(draw, dtype=np.float64):
    """Which entries there are from hypothesis, with empty rows and single ones; numbers drawn."""
    n_rows, n_columns = draw(st.integers(1, 6)), draw(st.integers(1, 9))
    filled = np.zeros((n_rows, n_columns), dtype=bool)
    for row in filled:
        row[draw(st.lists(st.integers(0, n_columns - 1)))] = True
    width = draw(st.integers(1, 9))
    held = draw(st.lists(st.integers(0, width - 1), max_size=2))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return make_rows(rng, filled, width, draw(st.booleans()), dtype, held)


@EXAMPLES
@given(row_problems())
def test_rows_are_solved_as_dense_ones(rows):
    solution, objective = solve(rows, 60, 10 * EPS**2)
    assert_solved(rows, solution, objective, TIGHT)


@EXAMPLES
@given(row_problems(np.float32))
def test_rows_are_solved_in_float32(rows):
    solution, objective = solve(rows, 60, 1e-13)
    assert solution.dtype == np.float32
    assert_solved(rows, solution, objective, LOOSE)


@pytest.mark.parametrize("is_confidence", [False, True])
@pytest.mark.parametrize("dtype, tolerance", [(np.float64, TIGHT), (np.float32, LOOSE)])
def test_rows_longer_than_what_is_fetched_ahead(dtype, tolerance, is_confidence):
    """Long rows first, last and between, short and empty ones beside them."""
    rng = np.random.default_rng(0)
    n = [
        0,
        ridge.PREFETCHED_ENTRIES + 37,
        1,
        0,
        3,
        ridge.PREFETCHED_ENTRIES,
        2 * ridge.PREFETCHED_ENTRIES + 1,
        5,
        ridge.PREFETCHED_ENTRIES - 1,
        0,
    ]
    filled = np.zeros((len(n), 2 * ridge.PREFETCHED_ENTRIES + 2), dtype=bool)
    for row, n_entries in zip(filled, n, strict=True):
        row[rng.permutation(row.size)[:n_entries]] = True
    rows = make_rows(rng, filled, 4, is_confidence, dtype, held=[1])
    solution, objective = solve(rows, 12)
    if dtype == np.float32:
        tolerance = {"rtol": 1e-3, "atol": 2e-2}  # objectives of thousands of entries
    assert_solved(rows, solution, objective, tolerance)


@EXAMPLES
@given(row_problems())
def test_each_step_lowers_the_objective(rows):
    last = np.full(len(rows.start), np.inf)
    for n_steps in range(5):
        solution, objective = solve(rows, n_steps)
        for u in np.flatnonzero(np.diff(rows.entries.indptr)):
            value = reference.ridge_objective(solution[u], *regression_of(rows, u))
            assert_allclose(objective[u], value, rtol=1e-9, atol=1e-12)
            least = reference.ridge_solution(rows.start[u], *regression_of(rows, u))
            least = reference.ridge_objective(least, *regression_of(rows, u))
            assert value < last[u] or value <= least * (1 + 1e-12) + 1e-14
            last[u] = value


@EXAMPLES
@given(row_problems(), st.integers(0, 9), st.integers(0, 9))
def test_a_row_depends_on_no_other(rows, some, other):
    n_rows = len(rows.start)
    solution, objective = solve(rows, 3)
    first, last = sorted([some % (n_rows + 1), other % (n_rows + 1)])
    part, of_part = solve(rows, 3, first=first, last=last)
    asked = (first <= np.arange(n_rows)) & (np.arange(n_rows) < last)
    assert_array_equal(part, np.where(asked[:, None], solution, rows.start))
    assert_array_equal(of_part, np.where(asked, objective, np.nan))
    indptr, indices, values, is_confidence = rows.entries
    order = np.random.default_rng(some).permutation(np.repeat(np.arange(n_rows), 2))
    places = np.concatenate([np.arange(*indptr[u : u + 2]) for u in order])
    moved = SimpleNamespace(
        entries=Entries(
            np.append(0, np.diff(indptr)[order].cumsum()),
            indices[places],
            values[places],
            is_confidence,
        ),
        design=rows.design,
        ridge=rows.ridge,
        strength=rows.strength[order],
        start=rows.start[order],
    )
    again, of_again = solve(moved, 3)
    assert_array_equal(again, solution[order])
    assert_array_equal(of_again, objective[order])


def test_the_diagonal_is_the_preconditioner():
    """One step is enough where there is nothing else, however different its elements are."""
    rng = np.random.default_rng(0)
    rows = make_rows(rng, np.ones((4, 9), dtype=bool), 9, False, np.float64)
    rows.design[:] = np.diag(rng.permutation(np.geomspace(1e-3, 1e3, 9)))
    rows.ridge.fixed[:] = rng.permutation(np.geomspace(1e-3, 1e3, 9))
    rows.ridge.scaled[:] = 0
    assert_solved(rows, *solve(rows, 1), {"rtol": 1e-9, "atol": 1e-9})


def test_solving_rows_changes_nothing_else():
    """Also where the entries are in memory that cannot be written."""
    rng = np.random.default_rng(0)
    rows = make_rows(rng, rng.random((7, 9)) < 0.5, 4, False, np.float64)
    expected = solve(rows, 3)
    inputs = [*rows.entries[:3], rows.design, *rows.ridge, rows.strength]
    before = [array.copy() for array in inputs]
    for array in rows.entries[:3]:
        array.flags.writeable = False
    for one, other in zip(solve(rows, 3), expected, strict=True):
        assert_array_equal(one, other)
    for one, other in zip(inputs, before, strict=True):
        assert_array_equal(one, other)


def test_a_row_that_is_solved_already_stays():
    rng = np.random.default_rng(0)
    rows = make_rows(rng, rng.random((7, 9)) < 0.5, 4, True, np.float64)
    solution, objective = solve(rows, 60, 10 * EPS**2)
    rows.start = solution
    again, of_again = solve(rows, 60)
    assert_allclose(again, solution, rtol=1e-12, atol=1e-14)
    assert_allclose(of_again, objective, rtol=1e-12)


@EXAMPLES
@given(row_problems())
def test_rows_stop_at_the_precision_asked_for(rows):
    n_entries = np.diff(rows.entries.indptr)
    solution, _ = solve(rows, 9, 1.0)
    assert_array_equal(solution[n_entries > 0], rows.start[n_entries > 0])
    solution, _ = solve(rows, 60, 1e-3)
    for u in np.flatnonzero(n_entries):
        design, target, weight, penalty, free = regression_of(rows, u)
        squares = []
        for x in rows.start[u], solution[u]:
            residual = design.T @ (weight * (target - design @ x)) - penalty * x
            diagonal = penalty + weight @ design**2
            squares.append((free * residual**2 / diagonal).sum())
        assert squares[1] <= 1e-3 * squares[0] * (1 + 1e-9)


def test_what_is_not_finite_shows_in_the_objective():
    rng = np.random.default_rng(0)
    rows = make_rows(rng, np.ones((2, 5), dtype=bool), 4, False, np.float64)
    rows.entries.values[2] = np.nan
    solution, objective = solve(rows, 3)
    assert_array_equal(np.isnan(objective), [True, False])
    assert np.isfinite(solution[1]).all()


# Tables and axes


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n_components", [1, 3, 8])
@pytest.mark.parametrize("kind", KINDS)
def test_tables_hold_scores_as_products(kind, n_components, dtype):
    model = make_model(kind, n_components)
    rng = np.random.default_rng(0)
    users, items = model.table(4, USER, dtype), model.table(3, ITEM, dtype)
    assert users.shape[1] * users.itemsize % VECTOR_BYTES == 0
    assert users.dtype == items.dtype == dtype
    for table, side in (users, USER), (items, ITEM):
        model.factors(table)[...] = rng.normal(size=(len(table), n_components))
        if model.has_bias:
            model.bias(table, side)[...] = rng.normal(size=len(table))
        ridge = model.ridge(side, np.ones(n_components), dtype)
        assert ridge.free.sum() == n_components + model.has_bias
        assert (ridge.fixed + ridge.scaled > 0).all()
    parameters = parameters_of(model, (users, items))
    scores = [[reference.mf_score(parameters, u, i) for i in range(3)] for u in range(4)]
    assert_allclose(users @ items.T, scores, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-12), (np.float32, 1e-5)])
@pytest.mark.parametrize("kind", ["biases", "implicit"])
@pytest.mark.parametrize("n_rows, n_components", [(1, 1), (2, 5), (30, 5), (size(9000, 600), 8)])
def test_principal_axes(n_rows, n_components, kind, dtype, tolerance, monkeypatch):
    monkeypatch.setattr(principal_axes, "CHUNK", size(4096, 256))
    monkeypatch.setattr(principal_axes, "THREAD_WORK", 1)
    model = make_model(kind, n_components)
    rng = np.random.default_rng(0)
    table = model.table(n_rows, ITEM, dtype)
    table[:, : model.n_held] = rng.normal(size=(n_rows, model.n_held))
    model.factors(table)[...] = (
        rng.normal(size=(n_rows, n_components)) * np.geomspace(1, 9, n_components)
    ) @ rng.normal(size=(n_components, n_components))
    before = table.copy()
    squares, rotation = principal_axes.principal_axes(model, table, 1)
    assert rotation.dtype == dtype and squares.dtype == np.float64
    assert_allclose(rotation.T @ rotation, np.eye(len(rotation)), atol=tolerance)
    assert (squares >= 0).all() and (np.diff(squares) <= 0).all()
    principal_axes.rotate(table, rotation, 1)
    assert_array_equal(table[:, : model.n_held], before[:, : model.n_held])
    assert_allclose(table, before.astype(np.float64) @ rotation, rtol=1e-5, atol=1e-4)
    turned = model.factors(table).astype(np.float64)
    assert_allclose(turned.T @ turned, np.diag(squares), atol=9 * tolerance * squares[0])
    for n_threads in (2, 3):
        again = before.copy()
        assert_array_equal(principal_axes.principal_axes(model, again, n_threads)[1], rotation)
        principal_axes.rotate(again, rotation, n_threads)
        assert_array_equal(again, table)


def test_principal_axes_of_nothing_and_of_too_much():
    model = make_model("implicit", 3)
    table = model.table(4, ITEM, np.float64)
    squares, rotation = principal_axes.principal_axes(model, table, 1)
    assert_array_equal(squares, np.zeros(3))
    assert_allclose(rotation.T @ rotation, np.eye(len(rotation)))
    model.factors(table)[...] = 1e200
    with np.errstate(over="ignore"), pytest.raises(ValueError, match="diverged"):
        principal_axes.principal_axes(model, table, 1)


# Alternating least squares


def half_steps(model, csr, items, n_iter):
    """The tables, changed in place between turns, and the objective after each half-step."""
    sides = [als.rows_of(model, matrix, 1) for matrix in (csr, csr.T.tocsr())]
    tables = [model.table(csr.shape[0], USER, csr.dtype), items]
    yield tables, None
    for _ in range(n_iter):
        for side in (USER, ITEM):
            yield tables, als._half_step(model, sides, tables, side)


def trained_tables(model, csr, items, n_iter):
    *_, (tables, _) = half_steps(model, csr, items, n_iter)
    return tables


@pytest.mark.parametrize("nu", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("kind", KINDS)
def test_the_objective_falls_at_every_half_step(kind, nu):
    """With more components than a half-step makes steps."""
    model = make_model(kind, n_components=8, nu=nu)
    X, stored = make_ratings(model)
    csr, n_iter = as_csr(X, stored), 6
    last, curve = np.inf, []
    for tables, objective in half_steps(model, csr, start_items(model, X.shape[1]), n_iter):
        expected = reference.mf_objective(
            parameters_of(model, tables), *oracle_data(model, X, stored)
        )
        if objective is not None:
            assert_allclose(objective, expected, rtol=1e-12)
        assert expected <= last * (1 + 1e-12)
        last = expected
        curve.append(expected / csr.nnz)
    items, history = train_als(model, csr, start_items(model, X.shape[1]), max_iter=n_iter)
    assert_allclose(history.loss_curve, curve[2::2], rtol=1e-12)
    assert_array_equal(items, tables[ITEM])
    assert not history.converged


@pytest.mark.parametrize("kind", KINDS)
def test_a_half_step_without_steps_changes_no_score(kind, monkeypatch):
    """What is turned for implicit feedback is turned on both sides."""
    model = make_model(kind, n_components=5)
    X, stored = make_ratings(model)
    csr = as_csr(X, stored)
    steps = half_steps(model, csr, start_items(model, X.shape[1]), 3)
    for _ in range(5):
        tables, _ = next(steps)
    before = [table.copy() for table in tables]
    monkeypatch.setattr(als, "N_STEPS", 0)
    data = oracle_data(model, X, stored)
    expected = reference.mf_objective(parameters_of(model, before), *data)
    for side, (_, objective) in zip((USER, ITEM), steps, strict=True):
        assert_allclose(objective, expected, rtol=1e-12)
        assert_allclose(tables[USER] @ tables[ITEM].T, before[USER] @ before[ITEM].T, atol=1e-12)
        if side == USER:
            assert np.allclose(before[ITEM], tables[ITEM]) == (not model.is_implicit)


@pytest.mark.parametrize("kind", KINDS)
def test_training_in_float32_is_near(kind):
    model = make_model(kind)
    X, stored = make_ratings(model)
    results = [
        train_als(model, as_csr(X, stored, dtype), start_items(model, X.shape[1], dtype))
        for dtype in (np.float64, np.float32)
    ]
    assert results[1][0].dtype == np.float32
    assert_allclose(results[1][1].loss_curve, results[0][1].loss_curve, rtol=1e-4)
    assert_allclose(results[1][0] @ results[1][0].T, results[0][0] @ results[0][0].T, atol=5e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_what_has_no_entries_is_zero(kind):
    model = make_model(kind)
    X, stored = make_ratings(model)
    tables = trained_tables(model, as_csr(X, stored), start_items(model, X.shape[1]), 2)
    for table, side, empty in (tables[0], USER, 10), (tables[1], ITEM, 7):
        assert not model.factors(table)[empty].any()
        if model.has_bias:
            assert model.bias(table, side)[empty] == 0
            assert (table[:, side] == 1).all()
        assert not table[:, model.n_held + model.n_components :].any()  # the padding


@pytest.mark.parametrize("kind", KINDS)
def test_als_reaches_an_optimum(kind):
    model = make_model(kind, n_components=2, alpha=1.0)
    X, stored = make_ratings(model, 14, 11, density=0.6)
    data = oracle_data(model, X, stored)
    n_iter = size(500, 150)
    tables = trained_tables(model, as_csr(X, stored), start_items(model, 11), n_iter)
    parameters = parameters_of(model, tables)
    value, slopes = reference.mf_slopes(parameters, *data)
    n_fitted = 4 if model.has_bias else 2
    slope = np.abs(reference.flatten(slopes[:n_fitted])).max()
    assert slope < size(1e-6, 1e-3) * np.sqrt(value)
    nothing = reference.mf_objective([0 * array for array in parameters], *data)
    assert value < 0.9 * nothing
    assert value - best_objective(model, X, stored, parameters) < 1e-6 * value


@pytest.mark.parametrize("nu", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("kind", KINDS)
def test_als_is_as_good_as_another_way(kind, nu):
    """L-BFGS on the twin's objective, from the same start."""
    alpha = {0.0: 1.5, 0.5: 0.5, 1.0: 0.15}[nu]
    model = make_model(kind, nu=nu, alpha=alpha)
    X, stored = make_ratings(model, 30, 18)
    csr, items = as_csr(X, stored), start_items(model, 18)
    zeros = model.table(30, USER, np.float64)
    expected = best_objective(model, X, stored, parameters_of(model, (zeros, items)))
    _, history = train_als(model, csr, items, max_iter=100, tol=1e-5)
    assert_allclose(history.loss_curve[-1] * csr.nnz, expected, rtol=0.01)


def test_als_converges_by_tol():
    model = make_model("biases")
    X, stored = make_ratings(model)
    csr, items = as_csr(X, stored), start_items(model, X.shape[1])
    _, history = train_als(model, csr, items, max_iter=200, tol=1e-3)
    falls = -np.diff(history.loss_curve)
    assert history.converged and len(history.loss_curve) < 200
    assert falls[-1] <= 1e-3 and (falls[:-1] > 1e-3).all()


def test_als_says_when_the_objective_is_not_finite():
    model = make_model("implicit")
    X, stored = make_ratings(model)
    with np.errstate(all="ignore"), pytest.raises(ValueError, match=r"alpha.*float64"):
        csr = as_csr(np.minimum(X * 1e38, 3e38), stored, np.float32)
        train_als(model, csr, start_items(model, 15, np.float32))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kind", KINDS)
def test_any_number_of_threads_gives_the_same_bits_in_als(kind, dtype, monkeypatch):
    monkeypatch.setattr(als, "CHUNK_WORK", 20)
    monkeypatch.setattr(als, "THREAD_WORK", 1)
    model = make_model(kind)
    X, stored = make_ratings(model, 40, 15)
    csr, start = as_csr(X, stored, dtype), start_items(model, 15, dtype)
    rows = als.rows_of(model, csr, 5)
    assert rows.n_threads == 5 and rows.bounds.size > 5
    results = []
    for n_threads in (1, 2, 3, 5):
        items, history = train_als(model, csr, start, n_threads=n_threads, max_iter=3)
        users = fold_in(model, csr, turned(model, items), n_threads)
        results.append((items, history.loss_curve, users))
    monkeypatch.undo()  # one chunk
    items, history = train_als(model, csr, start, max_iter=3)
    users = fold_in(model, csr, turned(model, items))
    for result in results:
        assert_array_equal(result[0], items)
        assert_array_equal(result[1], history.loss_curve)
        assert_array_equal(result[2], users)


# Fold-in


def dense_fold_in(model, X, stored, items):
    """The users one by one: a ridge regression on all entries that count."""
    n_items, n_components = X.shape[1], model.n_components
    biases = model.bias(items, ITEM) if model.has_bias else np.zeros(n_items)
    design = np.column_stack([np.ones(n_items), model.factors(items)]).astype(np.float64)
    unobserved = model.unobserved_weight if model.is_implicit else 0
    strengths = reference.mf_strength(stored, model.alpha, model.nu, unobserved)
    free = np.append(model.has_bias, np.ones(n_components))
    users = model.table(X.shape[0], USER, items.dtype)
    for u in np.flatnonzero(stored.any(axis=1)):
        penalty = np.append(model.alpha_bias, np.full(n_components, strengths[u]))
        if model.is_implicit:  # each entry pulls toward 0, a stored one toward 1 as well
            rows = np.concatenate([design, design])
            target = np.repeat([0.0, 1.0], n_items)
            weight = np.append(np.full(n_items, model.unobserved_weight), stored[u] * X[u])
        else:
            rows, target, weight = design, X[u] - biases, stored[u].astype(float)
        start = np.zeros(n_components + 1)
        x = reference.ridge_solution(start, rows, target, weight, penalty, free)
        model.factors(users)[u] = x[1:]
        if model.has_bias:
            model.bias(users, USER)[u] = x[0]
    return users


@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-9), (np.float32, 1e-3)])
@pytest.mark.parametrize("n_components", [1, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_fold_in_solves_each_row(kind, n_components, dtype, tolerance):
    model = make_model(kind, n_components)
    X, stored = make_ratings(model)
    stored[3], stored[3, 4] = False, True  # a single entry
    X = X * stored
    items = turned(model, start_items(model, X.shape[1], dtype, scale=1.0))
    if model.has_bias:
        model.bias(items, ITEM)[...] = np.random.default_rng(2).normal(size=X.shape[1])
    csr = as_csr(X, stored, dtype)
    users = fold_in(model, csr, items)
    expected = dense_fold_in(model, X, stored, items)
    assert users.dtype == dtype
    assert_allclose(users, expected, rtol=tolerance, atol=tolerance)
    assert not model.factors(users)[10].any()  # a row without entries
    order = np.random.default_rng(0).permutation(len(X))
    assert_array_equal(fold_in(model, csr[order], items), users[order])


@pytest.mark.parametrize("kind", KINDS)
def test_fold_in_continues_training(kind):
    """At the optimum the rows that were trained are those that fold-in finds."""
    model = make_model(kind, n_components=2, alpha=1.0)
    X, stored = make_ratings(model, 14, 11, density=0.6)
    csr = as_csr(X, stored)
    users, items = trained_tables(model, csr, start_items(model, 11), size(500, 150))
    principal_axes.rotate(users, principal_axes.principal_axes(model, items, 1)[1], 1)
    found = fold_in(model, csr, turned(model, items))
    assert_allclose(found, users, atol=size(1e-4, 1e-3))


# The grid of stochastic gradient descent


def make_trainer(kind="biases", n_parts=1, dtype=np.float64, seed=0, shape=(20, 15), **changes):
    """A trainer on a grid, and what it was made from."""
    model = make_model(kind, **changes)
    X, stored = make_ratings(model, *shape)
    csr = as_csr(X, stored, dtype)
    tables = [start_items(model, n, dtype, scale=0.5, seed=n) for n in shape]
    with pytest.MonkeyPatch.context() as patch:
        if n_parts > 1:
            patch.setattr(sgd, "SMALL", 1)
            patch.setattr(sgd, "N_PARTS", n_parts)
        trainer = sgd._Trainer(model, csr, tables, options(), np.random.RandomState(seed))
    assert trainer.n_parts == n_parts
    return trainer, csr, stored


def original_entries(trainer, first=0, last=None):
    """(user, item, target) of the grid's entries, in its order."""
    rows, columns, targets = (array[first:last] for array in trainer.grid)
    users, items = (part.order for part in trainer.sides)
    return [*zip(users[rows].tolist(), items[columns].tolist(), targets.tolist(), strict=True)]


def entries_of(csr):
    coo = csr.tocoo()
    return [*zip(coo.row.tolist(), coo.col.tolist(), coo.data.tolist(), strict=True)]


@pytest.mark.parametrize("n_parts", [1, 2, 4, 7, 15])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_blocks_hold_each_entry_once(dtype, n_parts):
    trainer, csr, _ = make_trainer(n_parts=n_parts, dtype=dtype)
    assert sorted(original_entries(trainer)) == sorted(entries_of(csr))
    assert original_entries(trainer) != entries_of(csr)  # they are shuffled
    assert trainer.block_start[-1] == csr.nnz
    for part in trainer.sides:
        assert_array_equal(np.sort(part.order), np.arange(part.order.size))
        assert_array_equal(part.order[part.place], np.arange(part.order.size))
        assert np.ptp(np.bincount(part.part, minlength=n_parts)) <= 1
        assert_array_equal(part.count[part.place], np.diff((csr, csr.T.tocsr())[part.side].indptr))
    for block in range(n_parts**2):
        for u, i, _ in original_entries(trainer, *trainer.block_start[block : block + 2]):
            assert trainer.sides[USER].part[u] == block // n_parts
            assert trainer.sides[ITEM].part[i] == block % n_parts


@pytest.mark.parametrize("n_parts", [2, 4, 7])
def test_blocks_of_a_diagonal_share_nothing(n_parts):
    trainer, csr, _ = make_trainer(n_parts=n_parts)
    n_seen = 0
    for shift in range(n_parts):
        rows, columns = [], []
        for row in range(n_parts):
            block = row * n_parts + (row + shift) % n_parts
            entries = original_entries(trainer, *trainer.block_start[block : block + 2])
            rows.extend({u for u, _, _ in entries})
            columns.extend({i for _, i, _ in entries})
            n_seen += len(entries)
        assert len(set(rows)) == len(rows) and len(set(columns)) == len(columns)
    assert n_seen == csr.nnz


def test_a_grid_has_no_more_parts_than_rows_or_columns(monkeypatch):
    monkeypatch.setattr(sgd, "BLOCK_BYTES", 1)
    trainer, csr, _ = make_trainer(n_parts=3, shape=(20, 3))
    assert trainer.n_parts == 3
    assert sorted(original_entries(trainer)) == sorted(entries_of(csr))


def shuffled(block_start, seeds, n_entries):
    """Places of the entries before the shuffle, in the order after it."""
    grid = tuple(np.arange(n_entries, dtype=t) for t in (np.uint32, np.uint32, np.float64))
    kernels.shuffle_blocks(np.array(block_start), np.array(seeds, np.uint64), grid)
    for array in grid[1:]:
        assert_array_equal(array, grid[0])  # an entry stays in one piece
    return grid[0].astype(int)


def test_a_block_is_shuffled_by_its_seed_alone():
    seeds = [5, 2**62 + 9, 5, 77]
    start = [0, 9, 9, 18, 30]
    places = shuffled(start, seeds, 30)
    for first, last in pairwise(start):
        assert_array_equal(np.sort(places[first:last]), np.arange(first, last))
    assert_array_equal(places[9:18], places[:9] + 9)  # of equal seeds
    alone = shuffled([0, 12], [77], 12)
    assert_array_equal(alone + 18, places[18:])
    assert not np.array_equal(alone, shuffled([0, 12], [78 + 1], 12))


def test_shuffles_are_even():
    """Of many blocks of three, each order comes about equally often; each place in longer ones."""
    n = size(6000, 600)
    seeds = np.random.RandomState(0).randint(1, 2**63 - 1, size=n, dtype=np.int64)
    places = shuffled(np.arange(n + 1) * 3, seeds, 3 * n).reshape(n, 3) % 3
    _, count = np.unique(places, axis=0, return_counts=True)
    assert count.size == 6
    assert_allclose(count, n / 6, atol=5 * np.sqrt(n / 6))
    n = size(4000, 200)
    seeds = np.random.RandomState(1).randint(1, 2**63 - 1, size=n, dtype=np.int64)
    places = shuffled(np.arange(n + 1) * 20, seeds, 20 * n).reshape(n, 20) % 20
    for place in (0, 7, 19):
        assert_allclose(places[:, place].mean(), 9.5, atol=5 * 5.8 / np.sqrt(n))


def test_the_grid_depends_on_the_seed():
    grids = [original_entries(make_trainer(n_parts=4, seed=seed)[0]) for seed in (0, 0, 1)]
    assert grids[0] == grids[1] != grids[2]


# Stochastic gradient descent


def sgd_state(trainer):
    """Parameters and memory in the order of the matrix, as the reference holds them."""
    parameters, memory = [[None] * 4 for _ in range(2)]
    for part in trainer.sides:
        factors, bias = part.get()
        scalars = part.state.scalars[part.place]
        parameters[part.side], parameters[2 + part.side] = factors[part.place], bias[part.place]
        memory[part.side] = scalars[:, kernels.SQUARES].copy()
        memory[2 + part.side] = scalars[:, kernels.BIAS_SQUARES].copy()
    return tuple(np.array(array) for array in parameters), memory


def entries_in_order_of_epoch(trainer):
    """What the next epoch goes through: diagonal after diagonal."""
    rng = np.random.RandomState()
    rng.set_state(trainer.rng.get_state())
    n = trainer.n_parts
    return [
        entry
        for shift in rng.permutation(n)
        for row in range(n)
        for entry in original_entries(
            trainer, *trainer.block_start[row * n + (row + shift) % n :][:2]
        )
    ]


@pytest.mark.pairwise
@pytest.mark.parametrize("n_parts", [1, 4])
@pytest.mark.parametrize("nu", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("n_components", [1, 8, 11])
@pytest.mark.parametrize("kind", EXPLICIT)
@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-10), (np.float32, 1e-3)])
def test_epochs_match_the_twin(dtype, tolerance, kind, n_components, nu, n_parts):
    trainer, csr, stored = make_trainer(kind, n_parts, dtype, n_components=n_components, nu=nu)
    model = trainer.model
    constants = stored, model.alpha, model.alpha_bias, model.nu, trainer.learning_rate
    parameters, memory = sgd_state(trainer)
    width = trainer.model.n_components
    assert not parameters[0][~stored.any(axis=1)].any()
    assert not parameters[1][~stored.any(axis=0)].any()
    for _ in range(2):
        parameters, memory, total = reference.mf_sgd_epoch(
            parameters, memory, entries_in_order_of_epoch(trainer), *constants, width,
            fit_bias=model.has_bias,
        )  # fmt: skip
        loss = trainer.epoch()
        assert_allclose(loss, total / (2 * csr.nnz), rtol=tolerance)
        for one, other in zip(sgd_state(trainer), (parameters, memory), strict=True):
            for found, expected in zip(one, other, strict=True):
                assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
    for part in trainer.sides:
        assert part.state.factors.dtype == dtype
        assert not part.state.factors[:, n_components:].any()  # the padding stays zero


@pytest.mark.parametrize("kind", EXPLICIT)
def test_measuring_gives_the_objective_and_changes_nothing(kind):
    trainer, csr, stored = make_trainer(kind, n_parts=4)
    trainer.epoch()
    before, _ = sgd_state(trainer)
    loss, objective = trainer.measure()
    X = np.zeros(stored.shape)
    X[stored] = csr.data
    assert_allclose(loss * csr.nnz, reference.mf_loss(before, X, stored), rtol=1e-12)
    expected = reference.mf_objective(before, *oracle_data(trainer.model, X, stored))
    assert_allclose(objective * csr.nnz, expected, rtol=1e-12)
    for one, other in zip(sgd_state(trainer)[0], before, strict=True):
        assert_array_equal(one, other)


def test_parameters_of_sgd_can_be_set_again():
    trainer, _, _ = make_trainer(n_parts=4)
    trainer.epoch()
    (before, memory), kept = sgd_state(trainer), trainer.parameters()
    trainer.epoch()
    trainer.set_parameters(kept, forget=False)
    later, further = sgd_state(trainer)
    for one, other in zip(later, before, strict=True):
        assert_array_equal(one, other)
    assert (further[0] >= memory[0]).all() and (further[0] > memory[0]).any()
    trainer.set_parameters(kept, forget=True)
    for array in sgd_state(trainer)[1]:
        assert_array_equal(array, np.ones(array.size))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("block_bytes", [1 << 21, 300])
def test_any_number_of_threads_gives_the_same_bits_in_sgd(block_bytes, dtype, monkeypatch):
    monkeypatch.setattr(sgd, "SMALL", 1)
    monkeypatch.setattr(sgd, "BLOCK_BYTES", block_bytes)
    model = make_model("biases")
    X, stored = make_ratings(model, 60, 25)
    csr, start = as_csr(X, stored, dtype), start_items(model, 25, dtype)
    results = [
        train_sgd(model, csr, start, n_threads=n_threads, max_iter=4) for n_threads in (1, 2, 3, 5)
    ]
    for items, history in results[1:]:
        assert_array_equal(items, results[0][0])
        assert history.loss_curve == results[0][1].loss_curve
    assert results[0][0].dtype == dtype


@pytest.mark.skipif(not JIT, reason="some hundred epochs")
@pytest.mark.parametrize("n_parts", [1, 4])
@pytest.mark.parametrize("kind", EXPLICIT)
def test_sgd_comes_near_the_optimum(kind, n_parts, monkeypatch):
    if n_parts > 1:
        monkeypatch.setattr(sgd, "SMALL", 1)
    model = make_model(kind)
    X, stored = make_ratings(model, 30, 18)
    csr, items = as_csr(X, stored), start_items(model, 18)
    first = start_items(model, 30, seed=5)
    expected = best_objective(model, X, stored, parameters_of(model, (first, items)))
    items, history = train_sgd(
        model, csr, items, max_iter=2000, tol=1e-7, learning_rate=0.03, n_iter_no_change=20
    )
    users = fold_in(model, csr, items)
    found = reference.mf_objective(
        parameters_of(model, (users, items)), *oracle_data(model, X, stored)
    )
    assert_allclose(found, expected, rtol=0.01)
    assert_allclose(history.loss_curve[-1] * csr.nnz, expected, rtol=0.02)


@pytest.mark.parametrize("unit", [1e6, 1.0, 1e-6])
@pytest.mark.parametrize("solver", ["als", "sgd"])
def test_ratings_of_any_size_are_learned(solver, unit):
    """Those that training saw, and better than the mean those that it did not."""
    X, stored = make_ratings(make_model("biases"), 60, 30, density=0.7)
    unseen = stored & (np.random.default_rng(5).random(stored.shape) < 0.2)
    full, X = (X + 9) * unit, as_csr((X + 9) * unit, stored & ~unseen)
    fitted = MFRecommender(4, solver=solver, max_iter=size(100, 20), random_state=0).fit(X)
    for chosen, most in (stored & ~unseen, 0.5), (unseen, 0.8):
        predicted = fitted.predict_pairs(X, *chosen.nonzero())
        error = np.mean((predicted - full[chosen]) ** 2)
        assert error < most * np.mean((fitted.mean_ - full[chosen]) ** 2)
    assert_allclose(fitted.mean_, X.data.mean())
    assert_allclose(fitted.scale_, X.data.std())


# Divergence


@pytest.mark.parametrize("n_components", [3, 8])
def test_sgd_that_diverges_starts_again(n_components):
    model = make_model("biases", n_components=n_components)
    X, stored = make_ratings(model)
    csr, items = as_csr(X, stored), start_items(model, 15)
    with np.errstate(all="ignore"), pytest.warns(RuntimeWarning, match="learning_rate="):
        items, _ = train_sgd(model, csr, items, learning_rate=50.0, max_iter=60)
    assert np.isfinite(items).all()
    users = fold_in(model, csr, items)
    found = reference.mf_objective(
        parameters_of(model, (users, items)), *oracle_data(model, X, stored)
    )
    assert found < (csr.data**2).sum() / 2


def test_sgd_that_cannot_be_saved_names_the_cure():
    X, stored = make_ratings(make_model("biases"))
    fitted = MFRecommender(3, solver="sgd", learning_rate=1e12, random_state=0)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        with pytest.raises(ValueError, match="Lower learning_rate or alpha, or use solver='als'"):
            fitted.fit(as_csr(X, stored))
    assert not hasattr(fitted, "components_")


@pytest.mark.parametrize("n_components", [3, 8])
def test_the_warning_is_at_the_line_that_called_fit(n_components):
    X, stored = make_ratings(make_model("biases"))
    fitted = MFRecommender(
        n_components, solver="sgd", learning_rate=50.0, max_iter=30, random_state=0
    )
    with np.errstate(all="ignore"), pytest.warns(RuntimeWarning, match="starts again") as record:
        fitted.fit(as_csr(X, stored))
    ours = [warning for warning in record if "diverged" in str(warning.message)]
    assert ours and {warning.filename for warning in ours} == {__file__}
    assert np.isfinite(fitted.components_).all()


# The best columns


def hidden_pair(hidden, dtype=np.int32):
    indptr = np.append(0, hidden.sum(axis=1).cumsum())
    return indptr, hidden.nonzero()[1].astype(dtype)


def small_tables(rng, n_rows, n_columns, width, dtype, integers=True):
    """Tables of small integers, whose products are exact and often equal."""
    tables = []
    for n in (n_rows, n_columns):
        table = rng.integers(-2, 3, size=(n, width)) if integers else rng.normal(size=(n, width))
        tables.append(table.astype(dtype))
    return tables


@st.composite
def rankings(draw):
    n_rows, n_columns = draw(st.integers(1, 9)), draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    tables = small_tables(rng, n_rows, n_columns, draw(st.sampled_from([4, 8, 12])), dtype)
    hidden = rng.random((n_rows, n_columns)) < draw(st.sampled_from([0.0, 0.3, 0.95, 1.0]))
    return *tables, draw(st.integers(1, 45)), hidden


@EXAMPLES
@given(rankings(), st.sampled_from([1, 8, 33, 40]), st.sampled_from([1, 3, 100]))
def test_best_columns_are_those_of_a_stable_sort(ranking, tile, block):
    rows, columns, n_best, hidden = ranking
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(top_k, "TILE", tile)
        patch.setattr(top_k, "BLOCK", block)
        items, scores = top_k.best(rows, top_k.make_tiles(columns), n_best, hidden_pair(hidden), 1)
    expected = reference.best_columns(rows, columns, n_best, hidden)
    assert_array_equal(items, expected[0])
    assert_array_equal(scores, expected[1])
    assert items.dtype == np.int64 and scores.dtype == rows.dtype


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_columns", [1, 255, 256, 257, size(1000, 300)])
@pytest.mark.parametrize("n_rows", [1, 6])
def test_best_columns_of_whole_tiles(n_rows, n_columns, dtype):
    """Tiles as they are used, scores of all signs, a quarter hidden."""
    assert top_kernels.TILE == top_k.TILE == 256
    rng = np.random.default_rng(n_columns)
    for integers in (True, False):
        rows, columns = small_tables(rng, n_rows, n_columns, 4, dtype, integers)
        tiles = top_k.make_tiles(columns)
        hidden = rng.random((n_rows, n_columns)) < 0.25
        for n_best in (1, 7, 70, 200):
            pair = hidden_pair(hidden, np.int64)
            items, scores = top_k.best(rows, tiles, n_best, pair, 1)
            expected = reference.best_columns(rows, columns, n_best, hidden)
            assert_array_equal(items, expected[0])
            rtol = 1e-4 if dtype == np.float32 else 1e-12
            assert_allclose(scores, expected[1], rtol=rtol, atol=rtol / 100)


def test_negative_scores_are_ranked():
    rows, columns = np.ones((1, 4)), -np.ones((3, 4)) * [[3], [1], [2]]
    hidden = hidden_pair(np.zeros((1, 3), bool))
    items, scores = top_k.best(rows, top_k.make_tiles(columns), 5, hidden, 1)
    assert_array_equal(items, [[1, 2, 0, -1, -1]])
    assert_array_equal(scores, [[-4, -8, -12, -np.inf, -np.inf]])


@pytest.mark.parametrize("n_rows, n_columns", [(0, 5), (3, 0)])
def test_best_of_nothing(n_rows, n_columns):
    hidden = hidden_pair(np.zeros((n_rows, n_columns), bool))
    tiles = top_k.make_tiles(np.ones((n_columns, 4)))
    items, scores = top_k.best(np.ones((n_rows, 4)), tiles, 2, hidden, 2)
    assert_array_equal(items, np.full((n_rows, 2), -1))
    assert_array_equal(scores, np.full((n_rows, 2), -np.inf))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_best_of_a_row_depend_on_no_other_row(dtype):
    rng = np.random.default_rng(0)
    n_rows = size(23, 7)
    rows, columns = small_tables(rng, n_rows, 300, 8, dtype, integers=False)
    hidden = rng.random((n_rows, 300)) < 0.25
    tiles = top_k.make_tiles(columns)
    items, scores = top_k.best(rows, tiles, 5, hidden_pair(hidden), 1)
    for chosen in [rng.permutation(n_rows), np.arange(2, 5), *np.arange(n_rows)[:, None]]:
        one, its_scores = top_k.best(rows[chosen], tiles, 5, hidden_pair(hidden[chosen]), 1)
        assert_array_equal(one, items[chosen])
        assert_array_equal(its_scores, scores[chosen])


def test_any_number_of_threads_finds_the_same(monkeypatch):
    monkeypatch.setattr(top_k, "THREAD_WORK", 1)
    rng = np.random.default_rng(0)
    n_rows = size(90, 23)
    rows, columns = small_tables(rng, n_rows, 60, 8, np.float32, integers=False)
    hidden = hidden_pair(rng.random((n_rows, 60)) < 0.25)
    monkeypatch.setattr(top_k, "TILE", 32)
    tiles = top_k.make_tiles(columns)
    expected = top_k.best(rows, tiles, 5, hidden, 1)
    for block in (1, 4, 7):
        monkeypatch.setattr(top_k, "BLOCK", block)
        for n_threads in (1, 2, 3, 5):
            found = top_k.best(rows, tiles, 5, hidden, n_threads)
            for one, other in zip(found, expected, strict=True):
                assert_array_equal(one, other)


# Hidden entries


def random_entries(rng, n_rows, n_columns, density=0.3):
    entries = sparse.random(n_rows, n_columns, density, format="csr", random_state=rng)
    entries.sort_indices()
    return entries


def hidden_columns(entries, share=0.2):
    """The columns that are hidden in each row."""
    _, hidden = sparse_entries.hide_by_hash(entries, share)
    return [row.tolist() for row in np.split(hidden.indices, hidden.indptr[1:-1])]


@EXAMPLES
@given(st.integers(0, 9), st.integers(1, 30), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_hiding_takes_entries_apart(n_rows, n_columns, seed, share):
    entries = random_entries(np.random.RandomState(seed), n_rows, n_columns)
    visible, hidden = sparse_entries.hide_by_hash(entries, share)
    assert visible.nnz + hidden.nnz == entries.nnz
    assert visible.shape == hidden.shape == entries.shape
    assert_array_equal((visible + hidden).toarray(), entries.toarray())
    n = np.diff(entries.indptr)
    expected = [min(max(1, round(share * k)), k - 1) if k else 0 for k in n.tolist()]
    assert_array_equal(np.diff(hidden.indptr), expected)
    for part in visible, hidden:
        assert part.dtype == entries.dtype and part.has_sorted_indices


def test_hiding_depends_on_a_row_s_own_columns_alone():
    rng = np.random.RandomState(0)
    entries = random_entries(rng, 60, 40)
    before = hidden_columns(entries)
    order = rng.permutation(60)
    assert hidden_columns(entries[order]) == [before[r] for r in order]
    assert hidden_columns(entries[7:20]) == before[7:20]
    assert (
        hidden_columns(sparse.vstack([random_entries(rng, 9, 40), entries], "csr"))[9:] == before
    )
    other = entries.copy()
    other.data[:] = rng.normal(size=other.nnz)
    assert hidden_columns(other) == before
    other.indices, other.indptr = other.indices.astype(np.int64), other.indptr.astype(np.int64)
    assert hidden_columns(other) == before
    wider = sparse.csr_matrix((entries.data, entries.indices, entries.indptr), shape=(60, 90))
    assert hidden_columns(wider) == before
    assert hidden_columns(sparse.csr_array(entries)) == before


def test_equal_rows_hide_equal_columns_and_others_do_not():
    pattern = np.tile(np.arange(40) < 20, (9, 1))
    pattern[1:, 20:] = np.eye(8, 20, dtype=bool)
    pattern[8] = pattern[0]
    hidden = hidden_columns(sparse.csr_matrix(pattern.astype(float)))
    assert hidden[0] == hidden[8]
    assert len({tuple(columns) for columns in hidden}) > 5


def test_hiding_prefers_no_column():
    n_rows, n_columns = 4000, 30
    entries = random_entries(np.random.RandomState(0), n_rows, n_columns, 0.5)
    _, hidden = sparse_entries.hide_by_hash(entries, 0.2)
    count = np.bincount(entries.indices, minlength=n_columns)
    rate = np.bincount(hidden.indices, minlength=n_columns) / count
    assert_allclose(rate, hidden.nnz / entries.nnz, atol=5 * np.sqrt(0.16 / count.min()))
    # Nor a pair of columns.
    n_hidden = np.diff(hidden.indptr)
    expected = (n_hidden * (n_hidden - 1)).sum() / n_columns / (n_columns - 1)
    pattern = (hidden.toarray() != 0).astype(float)
    pairs = (pattern.T @ pattern)[~np.eye(n_columns, dtype=bool)]
    assert_allclose(pairs, expected, atol=6 * np.sqrt(expected))


@pytest.mark.full
@pytest.mark.skipif(not JIT, reason="this is the run without the JIT")
@pytest.mark.skipif(
    np.__version__.startswith("1."),
    reason="NumPy 1 makes a float of an unsigned id plus an int, which compiled kernels do not",
)
def test_everything_again_without_the_jit():
    done = run_python(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "", "-n", "0", __file__),
        NUMBA_DISABLE_JIT=1,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
