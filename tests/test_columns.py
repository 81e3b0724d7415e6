"""Columns one after the other: kernels, colors and threads against their slow twins."""

import numpy as np
import pytest
import reference
from builders import CODES, SHAPES, copy_record, make_X, make_y, random_parameters, settings_for
from helpers import from_python, size
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from skfm._kernels import losses, normal_equations, quadratic_bounds
from skfm._kernels.coloring import COLORS, color_columns, color_consecutive_columns
from skfm._kernels.coordinate_descent import BLOCK_SIZE, sum_rows, update_columns
from skfm._kernels.normal_equations import DAMPING, OVERRELAXATION
from skfm._kernels.structs import Model, Prior, RowState, SparseColumns
from skfm._solvers.fm import coordinate_descent
from skfm._solvers.fm import sweeps as passes
from skfm._solvers.fm.interactions import all_pairs
from skfm._solvers.fm.parameters import Parameters
from skfm._solvers.fm.penalties import Penalties
from skfm._solvers.fm.problem import make_problem
from skfm._solvers.fm.relation_blocks import stack_blocks
from skfm._solvers.fm.sweeps import PADDING, Sweeper, find_colors

PAIRS = None
solve = from_python(normal_equations.solve)
COUNTS = 300, 0, 1, 7, 8, 129, 40, 128  # rows of each column; all that is near a chunk's end
N_ROWS, N_COLUMNS, N_GROUPS = 300, len(COUNTS), 3
ALL_KINDS = [
    *((kind, 1) for kind in CODES if kind != "softmax"),
    ("softmax", 3),
    ("softmax", 4),
    ("squared_hinge", 3),
]
NOTHING = np.empty((0, 0))


# Columns


def dense(rng, unit):
    """A dense array whose columns have so many entries, in random rows."""
    X = np.zeros((N_ROWS, N_COLUMNS))
    for j, count in enumerate(COUNTS):
        values = np.ones(count) if unit else rng.normal(size=count)
        X[rng.choice(N_ROWS, count, replace=False), j] = values
    return X


def columns_of(X, order, dtype, unit=False):
    csc = sparse.csc_matrix(X)
    return SparseColumns(
        np.asarray(order, dtype=np.uint32),
        csc.indptr.astype(np.int64),
        csc.indices.astype(np.uint32),
        np.empty(0, dtype) if unit else csc.data.astype(dtype),
    )


def model_of(coef, components, dtype):
    n_components, n = components.shape
    factors = np.zeros((n, -(-n_components // PADDING) * PADDING), dtype)
    factors[:, :n_components] = components.T
    return Model(coef.astype(dtype), factors, n_components, np.zeros((0, 0), dtype))


def rows_of(X, model, error, weight, dtype):
    root = np.empty(0) if weight is None else np.sqrt(weight)
    return RowState((X @ model.factors).astype(dtype), error.astype(dtype), root.astype(dtype))


def make(n_components, dtype, *, unit=False, weighted=False, seed=0):
    """Rows, a model, targets and priors in several groups, for the kernel and for the twin."""
    rng = np.random.default_rng(seed)
    X = dense(rng, unit)
    weight = rng.uniform(0.1, 3, size=N_ROWS) if weighted else None
    intercept, coef, components = (
        part[0] for part in random_parameters(rng, 1, n_components, N_COLUMNS)
    )
    target = rng.normal(size=N_ROWS)
    error = reference.raw_output_of(intercept, coef, components, X) - target
    model = model_of(coef, components, dtype)
    rows = rows_of(X, model, error, weight, dtype)
    shape = N_GROUPS, n_components + 1
    prior = Prior(
        rng.integers(N_GROUPS, size=N_COLUMNS).astype(np.uint32),
        rng.uniform(0.5, 2, size=N_COLUMNS),
        rng.uniform(0.5, 2, size=N_COLUMNS),
        rng.uniform(0.5, 3, size=shape),
        rng.normal(size=shape),
    )
    return X, weight, (intercept, coef, components), target, model, rows, prior


def prior_of_each_column(prior):
    """Precision and mean of each column's parameters, as the twin has them."""
    precision = prior.precision[prior.group]
    precision[:, :-1] *= prior.factor_scale[:, None]
    precision[:, -1] *= prior.linear_scale
    return precision, prior.mean[prior.group]


def assert_consistent(X, model, rows, intercept, target, **tolerance):
    """Sums and errors are those of the parameters, and the padding is still 0."""
    linear, factors, n_components, _ = model
    assert not factors[:, n_components:].any() and not rows.sums[:, n_components:].any()
    assert_allclose(rows.sums, X @ factors.astype(float), **tolerance)
    raw = reference.raw_output_of(intercept, linear, factors[:, :n_components].T, X)
    assert_allclose(rows.error, raw - target, **tolerance)


def tolerance_of(dtype):
    if dtype == np.float64:
        return {"rtol": 1e-9, "atol": 1e-9}
    return {"rtol": 2e-3, "atol": 2e-3}


@pytest.mark.pairwise
@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("fit_linear", [True, False])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize("n_components", [0, 1, 3, 4, 8, 17, 33])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_sweep_matches_the_twin(dtype, n_components, unit, weighted, fit_linear, noisy):
    X, weight, parameters, target, model, rows, prior = make(
        n_components, dtype, unit=unit, weighted=weighted
    )
    rng = np.random.default_rng(1)
    order = rng.permutation(N_COLUMNS)
    noise = rng.normal(size=(N_COLUMNS, n_components + 1)) if noisy else None
    root = rows.root.copy()
    update_columns(
        *(0, N_COLUMNS, columns_of(X, order, dtype, unit), rows, model, PAIRS, prior, 1.7),
        *(NOTHING if noise is None else noise, fit_linear),
    )
    _, coef, components = reference.column_sweep(
        *(parameters, X, target, weight, order, 1.7, *prior_of_each_column(prior), BLOCK_SIZE),
        *(noise, OVERRELAXATION, fit_linear),
        damping=0 if noise is not None else DAMPING * np.finfo(dtype).eps,
    )
    tolerance = tolerance_of(dtype)
    assert_allclose(model.linear, coef, **tolerance)
    assert_allclose(model.factors[:, :n_components].T, components, **tolerance)
    assert_consistent(X, model, rows, parameters[0], target, **tolerance)
    assert_array_equal(rows.root, root)
    if not fit_linear:
        assert_array_equal(model.linear, parameters[1].astype(dtype))


@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-9), (np.float32, 3e-3)])
def test_sums_and_errors_follow_the_parameters_for_many_sweeps(dtype, tolerance):
    X, _, parameters, target, model, rows, prior = make(5, dtype, weighted=True)
    columns = columns_of(X, range(N_COLUMNS), dtype)
    for _ in range(size(50, 5)):
        update_columns(0, N_COLUMNS, columns, rows, model, PAIRS, prior, 1.0, NOTHING, True)
    assert_consistent(X, model, rows, parameters[0], target, rtol=tolerance, atol=tolerance)


def test_only_the_columns_asked_for_are_updated():
    X, _, parameters, target, model, rows, prior = make(3, np.float64)
    order = np.random.default_rng(2).permutation(N_COLUMNS)
    before = copy_model(model)
    update_columns(
        2, 5, columns_of(X, order, np.float64), rows, model, PAIRS, prior, 1.0, NOTHING, True
    )
    updated = np.isin(np.arange(N_COLUMNS), order[2:5])
    assert_array_equal(model.linear != before.linear, updated)
    assert_array_equal((model.factors != before.factors).any(axis=1), updated)
    assert_consistent(X, model, rows, parameters[0], target, rtol=1e-12, atol=1e-12)


def copy_model(model):
    return model._replace(linear=model.linear.copy(), factors=model.factors.copy())


@pytest.mark.parametrize("n_components", [0, 3, 17])
def test_a_column_is_left_where_the_objective_is_flat(n_components):
    """The twin says how to solve; this says what for: slopes by differences, in the last block."""
    X, weight, parameters, target, model, rows, prior = make(
        n_components, np.float64, weighted=True
    )
    columns = columns_of(X, range(N_COLUMNS), np.float64)
    j = 5
    update_columns(j, j + 1, columns, rows, model, PAIRS, prior, 1.7, NOTHING, True)
    precision, mean = prior_of_each_column(prior)

    def objective(theta):
        components = model.factors[:, :n_components].T.copy()
        coef = model.linear.copy()
        components[:, j], coef[j] = theta[:-1], theta[-1]
        error = reference.raw_output_of(parameters[0], coef, components, X) - target
        return 1.7 * weight @ error**2 / 2 + precision[j] @ (theta - mean[j]) ** 2 / 2

    theta = np.append(model.factors[j, :n_components], model.linear[j])
    first = BLOCK_SIZE * ((n_components - 1) // BLOCK_SIZE) if n_components else 0
    for c in range(first, n_components + (first == 0)):
        step = np.zeros(theta.size)
        step[c] = 1e-5
        slope = (objective(theta + step) - objective(theta - step)) / 2e-5
        assert abs(slope) < 1e-5 * objective(theta)
        assert objective(theta + 1000 * step) > objective(theta) < objective(theta - 1000 * step)


def test_repeated_draws_have_the_mean_and_covariance_of_the_ridge_regression():
    X, _, _, _, model, rows, prior = make(2, np.float64)
    j, n_draws = 3, size(20_000, 2_000)
    columns = columns_of(X, range(N_COLUMNS), np.float64)
    precision, mean = prior_of_each_column(prior)
    x = X[:, j]
    factors = model.factors[:, :2]
    H = np.column_stack([x[:, None] * (X @ factors - np.outer(x, factors[j])), x])
    rest = H @ np.append(factors[j], model.linear[j]) - rows.error
    A = 0.7 * H.T @ H + np.diag(precision[j])
    solution = np.linalg.solve(A, 0.7 * H.T @ rest + precision[j] * mean[j])
    rng = np.random.default_rng(3)
    draws = np.empty((n_draws, 3))
    for draw in draws:
        noise = rng.normal(size=(N_COLUMNS, 3))
        update_columns(j, j + 1, columns, rows, model, PAIRS, prior, 0.7, noise, True)
        draw[:] = *model.factors[j, :2], model.linear[j]
    covariance = np.linalg.inv(A)
    spread = np.sqrt(np.diag(covariance))
    assert (abs(draws.mean(axis=0) - solution) < 4 * spread / np.sqrt(n_draws)).all()
    scaled = np.cov(draws.T) / np.outer(spread, spread)
    assert_allclose(scaled, covariance / np.outer(spread, spread), atol=6 / np.sqrt(n_draws))
    # Overrelaxed: a draw lies on the other side of the mean than the one before it.
    away = draws - solution
    correlation = (away[1:] * away[:-1]).mean(axis=0) / spread**2
    assert_allclose(correlation, -OVERRELAXATION, atol=6 / np.sqrt(n_draws))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_draws_are_as_wide_as_the_prior_where_the_rows_say_nothing(dtype):
    """Of a column that meets one other alone, rows know one direction of the factors only."""
    n_rows, n_draws = 40, size(20_000, 2_000)
    X = np.ones((n_rows, 2))
    other = np.array([12.0, 9.0, 15.0])
    components = np.column_stack([np.zeros(3), other])
    model = model_of(np.zeros(2), components, dtype)
    rows = rows_of(X, model, np.zeros(n_rows), None, dtype)
    flat = np.ones((1, 4))
    prior = Prior(np.zeros(2, np.uint32), np.ones(2), np.ones(2), flat, 0 * flat)
    columns = columns_of(X, [0, 1], dtype, unit=True)
    rng = np.random.default_rng(0)
    draws = np.empty((n_draws, 3))
    for draw in draws:
        noise = rng.normal(size=(2, 4))
        update_columns(0, 1, columns, rows, model, PAIRS, prior, 1.0, noise, False)
        draw[:] = model.factors[0, :3]
    covariance = np.linalg.inv(n_rows * np.outer(other, other) + np.eye(3))
    assert_allclose(np.cov(draws.T), covariance, atol=6 / np.sqrt(n_draws))


# Collinear coordinates


def normal_equations(H, rest):
    """Room as the kernel has it, with something behind that must not matter."""
    n = H.shape[1]
    matrix, step = np.full((n + 1, n + 5), np.nan), np.full(n + 3, np.nan)
    matrix[:n, :n] = np.triu(H.T @ H)
    step[:n] = H.T @ rest
    return matrix, step


@pytest.mark.parametrize("noisy", [False, True])
def test_coordinates_that_others_determine_stay_where_they_are(noisy):
    rng = np.random.default_rng(0)
    free, rest = rng.normal(size=(20, 3)), rng.normal(size=20)
    a, b, c = free.T
    H = np.column_stack([a, a, b, 2 * a - b, 0 * a, c, c])
    noise = rng.normal(size=(3, H.shape[1])) if noisy else NOTHING
    matrix, step = normal_equations(H, rest)
    solve(matrix, step, H.shape[1], noise, 2, 0, True)
    step = step[: H.shape[1]]
    assert_array_equal(step != 0, [True, False, True, False, False, True, False])
    if noisy:
        assert np.isfinite(step).all()
    else:
        least_squares = np.linalg.lstsq(free, rest, rcond=None)[0]
        assert_allclose(step[[0, 2, 5]], least_squares, rtol=1e-9)


def test_no_coordinate_moves_where_nothing_is_known():
    matrix, step = normal_equations(np.zeros((4, 3)), np.zeros(4))
    solve(matrix, step, 3, np.ones((1, 3)), 0, 0, True)
    assert_array_equal(step[:3], 0)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_without_penalty_factors_that_say_the_same_stay_of_their_size(dtype):
    """Columns of ones meet one other alone: all eight coordinates are multiples of each other."""
    rng = np.random.default_rng(0)
    n, n_components = 40, 8
    X = np.ones((n, 2))
    target = rng.normal(size=n)
    parameters = random_parameters(rng, 1, n_components, 2)
    intercept, coef, components = (part[0] for part in parameters)
    model = model_of(coef, components, dtype)
    error = reference.raw_output_of(intercept, coef, components, X) - target
    rows = rows_of(X, model, error, None, dtype)
    nothing = np.zeros((1, n_components + 1))
    prior = Prior(np.zeros(2, np.uint32), np.zeros(2), np.zeros(2), nothing + 1, nothing)
    columns = columns_of(X, [0, 1], dtype, unit=True)
    for _ in range(20):
        update_columns(0, 2, columns, rows, model, PAIRS, prior, 1.0, NOTHING, True)
    assert np.isfinite(model.factors).all() and abs(model.factors).max() < 1e3
    tolerance = 1e-12 if dtype == np.float64 else 1e-5
    assert_allclose(rows.error, target.mean() - target, atol=tolerance)


# Rows


@pytest.mark.parametrize("n_components", [0, 1, 6])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_sums_and_raw_outputs_of_rows(dtype, n_components):
    """Of scaled columns, one of them centered, one never seen, and a row without entries."""
    rng = np.random.default_rng(0)
    X = make_X(rng, 30, 9) * rng.uniform(0.1, 10, size=9)
    X[:, 3] = 100 + rng.normal(size=30)
    problem = problem_of(X, np.zeros(30), None, "squared_error", dtype, may_center=True)
    assert np.count_nonzero(problem.center) == 1 and problem.n_used == 8
    parameters = random_parameters(rng, 1, n_components, problem.n_used)
    intercept, coef, components = (part[0] for part in parameters)
    model = model_of(coef, components, dtype)
    scaled = (X[:, problem.used] - problem.center) / problem.scale
    sums = np.full((30, model.factors.shape[1]), np.nan, dtype)
    raw = np.full(30, np.nan, dtype)
    source = Sweeper(problem, 1).source
    blocks = stack_blocks([], np.ones((1, 1), bool), model.factors.shape[1], 30, dtype)
    sum_rows(5, 20, source, blocks, model, PAIRS, dtype(intercept), sums, raw)
    asked = slice(5, 20)
    assert_array_equal(np.isnan(raw), ~np.isin(np.arange(30), np.arange(5, 20)))
    tolerance = {"rtol": 1e-10, "atol": 1e-10} if dtype == np.float64 else {"atol": 1e-4}
    assert_allclose(sums[asked, :n_components], (scaled @ components.T)[asked], **tolerance)
    assert not sums[asked, n_components:].any()
    assert_allclose(raw[asked], reference.raw_output(parameters, scaled)[asked, 0], **tolerance)


# Parabolas


def touch(kind, raw, y, weight, output, boost=1.0, *, with_root=True):
    """Errors and roots for raw outputs of shape (n_outputs, n_rows)."""
    error = np.full(len(y), np.nan, raw.dtype)
    root = np.full(len(y) if with_root else 0, np.nan, raw.dtype)
    target = np.asarray(y, dtype=np.float64)
    shape = SHAPES.get(kind, 0.0)
    quadratic_bounds.quadratic_upper_bounds(
        CODES[kind], shape, boost, output, raw, target, weight, error, root
    )
    return error, root


GRID = np.unique(np.r_[np.linspace(-8, 8, 65), [-60, -30, 29, 60, -1e-3, 1e-3, 4e-4, 1e-9, 5e-3]])


def rows_to_touch(kind, n_outputs):
    """Raw outputs and targets: every number of a grid in turn for each target."""
    targets = {
        "poisson": [0.0, 0.5, 3.0, 20.0],
        "log_loss": [0, 1],
        "softmax": range(n_outputs),
        "squared_hinge": range(max(2, n_outputs)),
    }.get(kind, [-3.0, 0.0, 2.5])
    y = np.repeat(np.array(targets, dtype=float), GRID.size)
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(n_outputs, y.size)) * 3
    for output in range(n_outputs):
        raw[output, output::n_outputs] = np.tile(GRID, len(targets))[output::n_outputs]
    return raw, y


@pytest.mark.parametrize("kind, n_outputs", ALL_KINDS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_parabolas_have_the_slope_and_curvature_of_the_twin(dtype, kind, n_outputs):
    raw, y = rows_to_touch(kind, n_outputs)
    raw = raw.astype(dtype)
    Z = raw.T.astype(float)
    weight = np.random.default_rng(1).uniform(0.2, 3, size=y.size).astype(dtype)
    tolerance = 1e-9 if dtype == np.float64 else 2e-3
    for output in range(n_outputs):
        slope, curvature = reference.parabolas(kind, Z, y, output)
        for weights in weight, weight[:0]:
            error, root = touch(kind, raw, y, weights, output)
            w = weights if weights.size else 1.0
            assert_allclose(root**2, w * curvature, rtol=tolerance)
            assert_allclose(error * root**2 / w, slope, rtol=tolerance, atol=tolerance)
        unweighted, _ = touch(kind, raw, y, weight, output, with_root=False)
        assert_array_equal(unweighted, error)


@pytest.mark.parametrize(
    "kind, n_outputs", [(kind, n) for kind, n in ALL_KINDS if kind != "poisson"]
)
def test_parabolas_touch_the_loss_and_lie_above_it(kind, n_outputs):
    raw, y = rows_to_touch(kind, n_outputs)
    for output in range(n_outputs):
        error, root = touch(kind, raw, y, np.empty(0), output)
        loss = reference.losses(kind, raw.T, y)
        for move in np.r_[np.linspace(-20, 20, 81), -1e-3, 1e-3, -2e-3, 2e-3]:
            moved = raw.copy()
            moved[output] += move
            parabola = loss + root**2 * (error * move + move**2 / 2)
            tolerance = 1e-9 * (1 + abs(parabola))
            if kind in ("absolute_error", "quantile"):  # where they are smoothed, a little below
                is_near = abs(raw[output] - y) < quadratic_bounds.LEAST_ERROR
                tolerance += is_near * 2 * quadratic_bounds.LEAST_ERROR
                assert is_near.any() and not is_near.all()
            assert (reference.losses(kind, moved.T, y) <= parabola + tolerance).all()


def test_the_parabola_of_a_poisson_loss_has_the_minimum_of_the_loss():
    raw, y = rows_to_touch("poisson", 1)
    error, root = touch("poisson", raw, y, np.empty(0), 0)
    counted = (y > 0) & (raw[0] < losses.LARGEST_LOG)
    assert_allclose((raw[0] - error)[counted], np.log(y[counted]), atol=2e-3)
    assert (root > 0).all() and np.isfinite(error).all()
    steeper, root_of_steeper = touch("poisson", raw, y, np.empty(0), 0, boost=16.0)
    assert_allclose(root_of_steeper, 4 * root)
    assert_allclose(steeper, error / 16)


@pytest.mark.parametrize("kind, n_outputs", ALL_KINDS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_parabolas_are_finite_however_large_the_output(dtype, kind, n_outputs):
    extremes = [0.0, 1e-30, 1.0, 30.0, 90.0, 750.0, 1e5, 1e15]
    raw = np.tile(np.array(extremes + [-z for z in extremes], dtype), (n_outputs, 2))
    raw[1:] *= -1
    y = np.repeat([0.0, 1.0], raw.shape[1] // 2)
    for output in range(n_outputs):
        error, root = touch(kind, raw, y, np.empty(0, dtype), output)
        assert np.isfinite(error).all() and np.isfinite(root).all() and (root > 0).all()


def csr_of(problem):
    return problem.indptr, problem.indices, problem.position


# Descent: all of it


def test_centered_columns_have_an_entry_in_each_row():
    """Also in rows of hardly any weight: else they would be elsewhere when they are served."""
    rng = np.random.default_rng(0)
    X, weight = 100 + rng.normal(size=(30, 2)), np.full(30, 1e12)
    X[0, 0], weight[0] = 0, 1
    problem = problem_of(X, np.zeros(30), weight, "squared_error", np.float64, may_center=True)
    assert problem.center[0] == 0 and problem.center[1] != 0


def problem_of(X, y, weight, kind, dtype, **options):
    weight = np.empty(0, dtype) if weight is None else weight.astype(dtype)
    rows = sparse.csr_matrix(X.astype(dtype))
    penalties, pairs = Penalties(linear=0.7, factors=0.3), all_pairs(X.shape[1], 3)
    return make_problem(rows, np.asarray(y), weight, CODES[kind], penalties, pairs, **options)


@pytest.mark.pairwise
@pytest.mark.parametrize("options", [{}, {"fit_linear": False}, {"fit_intercept": False}])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_components", [0, 3])
@pytest.mark.parametrize("kind, n_outputs", ALL_KINDS)
def test_a_descent_matches_the_twin(kind, n_outputs, n_components, weighted, options):
    rng = np.random.default_rng(0)
    X, y = make_X(rng, 40, 9), make_y(rng, kind, n_outputs, 40)
    weight = rng.uniform(0.1, 3, size=40) if weighted else None
    problem = problem_of(X, y, weight, kind, np.float64)
    scaled = X[:, problem.used] / problem.scale
    parameters = random_parameters(rng, n_outputs, n_components, problem.n_used)
    intercept, linear, factors = parameters
    start = Parameters(intercept, linear, np.swapaxes(factors, 1, 2))
    order = Sweeper(problem, 1).columns.order
    n_sweeps = 9
    descent = coordinate_descent._Descent(problem, start, settings_for(kind, n_sweeps, **options))
    found, curve = [descent.sweep() for _ in range(n_sweeps)], []
    assert descent.boost == 1  # no sweep was done again
    for _ in range(n_sweeps):
        parameters, total = reference.descent_sweep(
            *(parameters, scaled, y, weight, kind, order),
            *(problem.linear_penalty, problem.factor_penalty, BLOCK_SIZE),
            **options,
        )
        curve.append(total / problem.total_weight)
    assert_allclose(found, curve, rtol=1e-8)
    expected = *parameters[:2], np.swapaxes(parameters[2], 1, 2)
    for one, other in zip(descent.parameters()[:3], expected, strict=True):
        assert_allclose(one, other, rtol=1e-6, atol=1e-7)


# Classes


def random_rows(n_rows, n_columns, share, seed=0):
    return (np.random.default_rng(seed).random((n_rows, n_columns)) < share).astype(float)


def one_hot(n_rows, n_fields, n_levels, seed=0):
    rng = np.random.default_rng(seed)
    places = rng.integers(n_levels, size=(n_rows, n_fields)) + np.arange(n_fields) * n_levels
    X = np.zeros((n_rows, n_fields * n_levels))
    np.put_along_axis(X, places, 1, axis=1)
    return X


MATRICES = {
    "one-hot": lambda: one_hot(60, 4, 7),
    "one-hot, columns shuffled": lambda: one_hot(60, 4, 7)[
        :, np.random.default_rng(1).permutation(28)
    ],
    "one-hot and multi-hot": lambda: np.hstack([one_hot(60, 2, 7), random_rows(60, 20, 0.2)]),
    "one-hot and numbers": lambda: np.hstack([one_hot(60, 2, 7), random_rows(60, 3, 1.0)]),
    "sparse": lambda: random_rows(80, 60, 0.03),
    "less sparse": lambda: random_rows(60, 40, 0.3),
    "dense": lambda: random_rows(10, 12, 1.0),
    "more colors than bits": lambda: random_rows(5, COLORS + 11, 1.0),
    "many more": lambda: random_rows(12, 3 * COLORS, 0.9),
    "more, and sparse": lambda: np.hstack(
        [random_rows(40, COLORS + 5, 0.95), random_rows(40, 80, 0.1, seed=1)]
    ),
    "nothing": lambda: np.zeros((3, 4)),
    "one": lambda: np.ones((1, 1)),
}


@pytest.mark.parametrize("name", MATRICES)
def test_blocks_and_colors_match_the_twins(name):
    X = MATRICES[name]()
    rows, columns = sparse.csr_matrix(X), columns_of(X, [], np.float64)
    n = X.shape[1]
    position, blocks = np.arange(n, dtype=np.uint32), np.full(n, -7)
    before = np.zeros(n, dtype=np.int64)
    indptr = rows.indptr.astype(np.int64)
    n_blocks = color_consecutive_columns(indptr, rows.indices, position, before, blocks)
    assert_array_equal(blocks, reference.column_blocks(X))
    assert n_blocks == blocks.max() + 1
    colors, first, left = np.full(n, -1), 0, [n]
    while left[-1]:
        mask = np.zeros(X.shape[0], dtype=np.uint64)
        left.append(color_columns(columns.ptr, columns.row, first, mask, colors))
        first += COLORS
        assert left[-1] == np.count_nonzero(colors < 0) < left[-2]
    assert_array_equal(colors, reference.column_colors(X))
    assert (len(left) > 2) == (colors.max() >= COLORS)


def classes_of(X):
    problem = problem_of(X, np.zeros(X.shape[0]), None, "squared_error", np.float64)
    sweeper = Sweeper(problem, 1)
    classes = find_colors(*csr_of(problem), sweeper.columns)
    assert_array_equal(np.unique(classes), np.arange(sweeper.n_colors))
    order = sweeper.columns.order
    assert_array_equal(np.sort(order), np.arange(problem.n_used))
    assert (np.diff(classes[order]) >= 0).all()
    return classes, X[:, problem.used]


@pytest.mark.parametrize("name", [name for name in MATRICES if name != "nothing"])
def test_no_two_columns_of_a_class_share_a_row(name):
    X = MATRICES[name]()
    if len(X) > 5:
        X[3], X[:, 5] = 0, 0
    classes, used = classes_of(X)
    for c in range(classes.max() + 1):
        assert ((used[:, classes == c] != 0).sum(axis=1) <= 1).all()
    fewest = (used != 0).sum(axis=1).max()
    assert fewest <= classes.max() + 1 <= reference.column_blocks(used).max() + 1


def test_a_problem_without_entries_has_no_classes():
    classes, _ = classes_of(np.zeros((3, 4)))
    assert classes.size == 0


@pytest.mark.parametrize("n_fields, n_levels", [(1, 5), (2, 30), (6, 4), (70, 2)])
def test_one_hot_fields_are_a_class_each(n_fields, n_levels):
    X = one_hot(80, n_fields, n_levels)
    used = X.any(axis=0)
    classes, _ = classes_of(X)
    assert_array_equal(classes, np.repeat(np.arange(n_fields), n_levels)[used])
    numbers = np.random.default_rng(0).normal(size=(80, 2))
    classes, _ = classes_of(np.hstack([numbers, X]))
    expected = np.repeat(np.arange(n_fields), n_levels)[used] + 2
    assert_array_equal(classes, np.append([0, 1], expected))


def test_shuffled_one_hot_columns_need_few_classes():
    """Cut as they stand they would need many; colors find nearly the fields."""
    X = MATRICES["one-hot, columns shuffled"]()
    classes, used = classes_of(X)
    assert 4 <= classes.max() + 1 <= 8 < reference.column_blocks(used).max() + 1


# Threads


@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("values", ["unit", "general", "mixed"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_any_number_of_threads_gives_the_same_bits(dtype, values, noisy, monkeypatch):
    monkeypatch.setattr(passes, "THREAD_WORK", 60)
    rng = np.random.default_rng(0)
    n_rows = size(1500, 150)
    X = one_hot(n_rows, 3, 25)
    if values != "unit":
        X *= rng.uniform(0.5, 2, size=X.shape)
    if values == "mixed":  # dense columns between, which no two threads can share
        X = np.hstack([rng.normal(size=(n_rows, 2)), X, rng.normal(size=(n_rows, 1))])
    y, weight = rng.normal(size=n_rows), rng.uniform(0.5, 2, size=n_rows)
    problem = problem_of(X, y, weight, "squared_error", dtype)
    assert problem.unit_values == (values == "unit")
    start = random_parameters(rng, 1, 5, problem.n_used)
    n_columns = problem.n_used
    prior = Prior(
        rng.integers(2, size=n_columns).astype(np.uint32),
        np.ones(n_columns),
        np.ones(n_columns),
        np.ones((2, 6)),
        np.zeros((2, 6)),
    )
    noises = rng.normal(size=(3, n_columns, 6))
    results = []
    for n_threads in (1, 2, 3):
        sweeper = Sweeper(problem, n_threads)
        assert sweeper.n_threads == n_threads
        shared = [bounds for bounds in sweeper.stretches if len(bounds) > 2]
        assert len(shared) == (3 if n_threads > 1 else 0)
        assert all(len(bounds) == n_threads + 1 for bounds in shared)
        model = sweeper.model(start[1][0].astype(dtype), start[2][0].T.astype(dtype))
        rows = sweeper.rows(model, True)
        rows.root[:] = np.sqrt(weight)
        raw = np.zeros(n_rows, dtype)
        sweeper.sum_rows(model, 0.3, rows.sums, raw)
        rows.error[:] = raw - y
        for noise in noises:
            sweeper.sweep(rows, model, prior, 1.0, noise if noisy else NOTHING, True)
        sweeper.sum_rows(model, 0.3, rows.sums, raw)
        results.append((model.linear, model.factors, rows.error, rows.sums, raw))
    for other in results[1:]:
        for one, another in zip(results[0], other, strict=True):
            assert_array_equal(one, another)


@pytest.mark.parametrize("n_threads", [1, 2, 3, 5, 64])
@pytest.mark.parametrize("name", [name for name in MATRICES if name != "nothing"])
def test_stretches_cover_every_column_once_and_share_only_classes(name, n_threads, monkeypatch):
    monkeypatch.setattr(passes, "THREAD_WORK", 20)
    X = MATRICES[name]()
    problem = problem_of(X, np.zeros(X.shape[0]), None, "squared_error", np.float64)
    sweeper = Sweeper(problem, n_threads)
    classes = find_colors(*csr_of(problem), sweeper.columns)[sweeper.columns.order]
    end = 0
    for bounds in sweeper.stretches:
        assert bounds[0] == end and bounds == sorted(bounds)
        end = bounds[-1]
        assert len(bounds) - 1 <= sweeper.n_threads <= n_threads
        if len(bounds) > 2:
            assert np.unique(classes[bounds[0] : end]).size == 1
    assert end == problem.n_used


def test_a_small_class_is_not_worth_a_second_thread():
    problem = problem_of(one_hot(50, 2, 5), np.zeros(50), None, "squared_error", np.float64)
    sweeper = Sweeper(problem, 8)
    assert sweeper.n_threads == 1 and sweeper.stretches == [[0, problem.n_used]]


def test_columns_are_scaled_and_the_callers_parameters_are_copied():
    rng = np.random.default_rng(0)
    X = make_X(rng, 30, 9) * rng.uniform(0.1, 10, size=9)
    problem = problem_of(X, np.zeros(30), None, "squared_error", np.float32)
    sweeper = Sweeper(problem, 1)
    order, ptr, row, value = sweeper.columns
    built = sparse.csc_matrix((value, row, ptr), shape=(30, problem.n_used))
    assert value.dtype == np.float32
    assert_allclose(built.toarray(), X[:, problem.used] / problem.scale, rtol=1e-5)
    linear, factors = np.ones(8, np.float32), np.ones((8, 3), np.float32)
    model = sweeper.model(linear, factors)
    model.linear[:] = model.factors[:] = 7
    assert (linear == 1).all() and (factors == 1).all()
    assert model.factors.shape == (8, PADDING)
    assert copy_record(sweeper.columns).order.size == order.size == 8
