"""Each kernel against its slow twin, with the JIT and, in a fresh process, without it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import reference
from builders import (
    CODES,
    MINIBATCH_SOLVERS,
    REGRESSION,
    SHAPES,
    copy_record,
    make_X,
    make_y,
    random_parameters,
)
from helpers import JIT, from_python, in_full, run_python, size
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from skfm._kernels import losses
from skfm._kernels import minibatch as kernels
from skfm._kernels.barrier import NOBODY
from skfm._kernels.features import penalty
from skfm._kernels.predict import predict
from skfm._kernels.structs import FeatureSums, Local, RowScratch, Rule, Scratch
from skfm._solvers.fm import batches as plan
from skfm._solvers.fm import problem as problem_module
from skfm._solvers.fm.batches import Planner, auto_batch_size
from skfm._solvers.fm.interactions import all_pairs
from skfm._solvers.fm.optimizer_state import UPDATES, get_parameters, make_state
from skfm._solvers.fm.parameters import Parameters
from skfm._solvers.fm.penalties import Penalties
from skfm._solvers.fm.problem import make_problem
from skfm._utils.memory import plain

PAIRS = None
KINDS = [("squared_error", 1), ("log_loss", 1), ("softmax", 3)]
MORE_KINDS = [(kind, 1) for kind in REGRESSION if kind != "squared_error"]
MORE_KINDS += [("squared_hinge", 1), ("squared_hinge", 3)]
LASSO = (2.0, 0.2)  # of |w_j| and of ||v_j||
EXAMPLES = settings(max_examples=size(100, 25), deadline=None)
ALPHA, ALPHA_LINEAR = 0.3, 0.7
FLOOR = 0.5

scalar_loss, softmax_loss = map(from_python, (losses.scalar_loss, losses.softmax_loss))


# Problems


def as_problem(X, y, weight, kind, dtype=np.float64, lasso=(0.0, 0.0)):
    weight = np.empty(0, dtype) if weight is None else weight.astype(dtype)
    X = sparse.csr_matrix(X.astype(dtype))
    penalties = Penalties(
        linear=ALPHA_LINEAR, factors=ALPHA, linear_lasso=lasso[0], factor_lasso=lasso[1]
    )
    return make_problem(X, np.asarray(y), weight, CODES[kind], penalties, all_pairs(X.shape[1], 3))


def planner_for(problem, batch_size, **options):
    return Planner(problem, batch_size, np.random.RandomState(3), **options)


def rows_of_batches(problem, batch_size):
    """The row numbers of each batch that ``planner_for`` plans, told by a target that counts."""
    counted = replace(problem, target=np.arange(problem.n_rows, dtype=np.float64))
    planner = planner_for(counted, batch_size)
    return [
        window.rows.target[window.rows.start[b] : window.rows.start[b + 1]].astype(int)
        for window in map(planner.window, range(planner.n_windows))
        for b in range(window.rows.start.size - 1)
    ]


def state_of(problem, parameters, rule="adagrad"):
    """The kernels' state at parameters in the reference's shapes, of scaled features."""
    intercept, coef, components = parameters
    dtype = problem.data.dtype
    factors = np.swapaxes(components[:, :, problem.used], 1, 2)
    linear = coef[:, problem.used].astype(dtype)
    start = Parameters(intercept, linear, factors.astype(dtype))
    return make_state(start, UPDATES[rule])


def make_scratch(state, n_rows, n_pairs, fill=0, n_penalties=2, n_parts=1):
    n_outputs, _, n_slots, width = state.factors.shape
    dtype = state.factors.dtype
    n_together = n_parts * kernels.FEATURE_CHUNK

    def full(*shape):
        return np.full(shape, fill, dtype=dtype)

    return Scratch(
        Local(
            linear=full(n_pairs, state.linear.shape[2]),
            factors=full(n_pairs, n_slots, width),
            penalty=full(n_pairs, n_penalties),
            self_product=full(n_pairs),
            layer=np.zeros(n_pairs, np.uint32),
        ),
        RowScratch(
            sums=full(n_outputs, n_rows, width),
            output=full(n_outputs, n_rows),
            gradient=full(n_outputs, n_rows),
            losses=np.full(n_rows, fill, dtype=np.float64),
            group_sums=full(n_parts, width),
            pair_slopes=full(0, 0),
        ),
        FeatureSums(full(n_together), full(n_together), full(n_together), full(n_together, width)),
    )


def rule_for(
    kind,
    learning_rate=0.1,
    floor=FLOOR,
    fit_intercept=True,
    fit_linear=True,
    update="adagrad",
    n_components=0,
    n_outputs=1,
):
    known = {
        "learning_rate": learning_rate,
        "initial_accumulator": floor,
        "n_components": n_components,
    }
    rule = UPDATES[update]
    return Rule(
        loss=losses.make_loss(CODES[kind], SHAPES.get(kind, 0.0), n_outputs),
        update=rule(**{name: known[name] for name in rule._fields}),
        fit_intercept=fit_intercept,
        fit_linear=fit_linear,
    )


def run_steps(window, order, first, last, state, share, rule, scratch, part=0, n_parts=1):
    """Some steps of training with all pairs of features."""
    window, state, scratch = plain(window), plain(state), plain(scratch)
    return kernels.run_steps(
        order, first, last, part, n_parts, NOBODY, window, state, share, PAIRS, rule, scratch
    )


def run_all(window, order, state, share, rule, scratch):
    """Every step of training by one thread."""
    steps = 4 * state.intercept.shape[0] + 2
    return run_steps(window, order, 0, steps, state, share, rule, scratch)


def train_epoch(problem, planner, state, rule):
    """All windows in turn, each with its batches in order; returns the sum of the losses."""
    n_penalties = problem.penalty_share.shape[1]
    scratch = make_scratch(state, planner.batch_size, planner.max_pairs, n_penalties=n_penalties)
    total = 0.0
    for number in range(planner.n_windows):
        window = planner.window(number)
        order = np.arange(window.rows.start.size - 1)
        total += run_all(window, order, state, problem.penalty_share, rule, scratch)
    return total


# Planning


@st.composite
def sparse_rows(draw):
    """A dense array with few distinct values, zeros among them."""
    n_rows = draw(st.integers(1, 12))
    n_features = draw(st.integers(1, 8))
    unit = draw(st.booleans())
    value = st.sampled_from([0.0, 1.0] if unit else [0.0, 0.0, 1.0, -2.0, 0.5, 3.0])
    flat = draw(st.lists(value, min_size=n_rows * n_features, max_size=n_rows * n_features))
    return np.array(flat).reshape(n_rows, n_features)


def entries_by_row(window, batch):
    """The (row, feature, value) triples of a batch as its row order holds them."""
    r0, r1 = window.rows.start[batch], window.rows.start[batch + 1]
    f0 = window.columns.start[batch]
    return [
        (
            r - r0,
            int(window.columns.feature[f0 + int(window.rows.local[e])]),
            float(window.rows.value[e]) if window.rows.value.size else 1.0,
        )
        for r in range(r0, r1)
        for e in range(window.rows.ptr[r], window.rows.ptr[r + 1])
    ]


def entries_by_column(window, batch):
    f0, f1 = window.columns.start[batch], window.columns.start[batch + 1]
    return [
        (
            int(window.columns.row[e]),
            int(window.columns.feature[f]),
            float(window.columns.value[e]) if window.columns.value.size else 1.0,
        )
        for f in range(f0, f1)
        for e in range(window.columns.ptr[f], window.columns.ptr[f + 1])
    ]


@EXAMPLES
@given(sparse_rows(), st.integers(1, 14), st.booleans(), st.integers(1, 40))
def test_plan_holds_every_entry_once_in_both_orders(X, batch_size, weighted, window_entries):
    weight = np.arange(1.0, X.shape[0] + 1) if weighted else None
    problem = as_problem(X, np.arange(X.shape[0]), weight, "squared_error")
    scaled = X / reference.feature_scale(X, weight)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "WINDOW_ENTRIES", window_entries)
        planner = planner_for(problem, batch_size)
        seen = []
        for window in map(planner.window, range(planner.n_windows)):
            for batch in range(window.rows.start.size - 1):
                r0, r1 = window.rows.start[batch], window.rows.start[batch + 1]
                assert 1 <= r1 - r0 <= batch_size
                rows = window.rows.target[r0:r1].astype(int)
                assert_array_equal(window.rows.weight[r0:r1], rows + 1.0 if weighted else [])
                seen.extend(rows)
                dense = scaled[rows][:, problem.used]
                expected = [(r, j, dense[r, j]) for r, j in zip(*dense.nonzero(), strict=True)]
                by_row, by_column = entries_by_row(window, batch), entries_by_column(window, batch)
                for found in by_row, by_column:
                    assert_allclose(sorted(found), sorted(expected), rtol=1e-12)
                assert [r for r, *_ in by_row] == sorted(r for r, *_ in by_row)
                f0, f1 = window.columns.start[batch], window.columns.start[batch + 1]
                features = window.columns.feature[f0:f1]
                assert np.unique(features).size == features.size  # pairs are distinct
                assert f1 - f0 <= planner.max_pairs
                # A feature's rows go up, so that its sums have one order.
                for f in range(f0, f1):
                    part = window.columns.row[window.columns.ptr[f] : window.columns.ptr[f + 1]]
                    assert (np.diff(part.astype(int)) > 0).all()
    assert sorted(seen) == list(range(X.shape[0]))


def test_rows_are_shuffled_only_when_there_are_several_batches():
    X = make_X(np.random.default_rng(0), 40, 5)
    problem = as_problem(X, np.zeros(40), None, "squared_error")
    assert_array_equal(np.concatenate(rows_of_batches(problem, 40)), np.arange(40))
    shuffled = np.concatenate(rows_of_batches(problem, 10))
    assert not np.array_equal(shuffled, np.arange(40))
    assert_array_equal(np.sort(shuffled), np.arange(40))


@pytest.mark.parametrize("batch_size", [50, 5000, 70_000])
@pytest.mark.parametrize("values", ["unit", "general"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_plan_is_at_most_twice_the_input(dtype, values, batch_size):
    """Rows of ten fields; wide ids too, with batches beyond 65536 rows."""
    n_rows, n_fields, n_levels = size(80_000, 300), 10, 40
    rng = np.random.default_rng(0)
    columns = rng.integers(n_levels, size=(n_rows, n_fields)) + np.arange(n_fields) * n_levels
    data = np.ones(columns.size) if values == "unit" else rng.uniform(1, 2, columns.size)
    X = sparse.csr_matrix(
        (data.astype(dtype), columns.ravel(), np.arange(n_rows + 1) * n_fields),
        shape=(n_rows, n_fields * n_levels),
    )
    target, weight = np.zeros(n_rows), np.empty(0, dtype)
    penalties = Penalties(linear=1.0, factors=0.1)
    problem = make_problem(
        X, target, weight, CODES["log_loss"], penalties, all_pairs(X.shape[1], 3)
    )
    assert problem.unit_values == (values == "unit")
    planner = planner_for(problem, batch_size)
    windows = map(planner.window, range(planner.n_windows))
    arrays = [array for window in windows for part in window for array in part]
    csr_bytes = 8 * problem.indptr.size + problem.indices.nbytes + problem.data.nbytes
    assert planner.nbytes <= 2 * csr_bytes  # what is kept
    if values == "unit" or batch_size > 1000:  # all of it
        assert sum(array.nbytes for array in arrays) <= 2 * csr_bytes


def test_plan_omits_values_where_each_column_has_one_value():
    X = np.array([[2.0, 0.0, -3.0], [2.0, 5.0, 0.0]])
    for problem, unit in [
        (as_problem(np.abs(X), [0, 1], None, "log_loss"), True),
        (as_problem(X * [[1], [2]], [0, 1], None, "log_loss"), False),
    ]:
        window = planner_for(problem, 2).window(0)
        assert problem.unit_values == unit
        assert (window.rows.value.size == 0) == (window.columns.value.size == 0) == unit


def test_auto_batch_size_takes_small_data_at_once():
    numbers = 1, 1000, 10**5, 10**6, 10**8
    sizes = [auto_batch_size(n, UPDATES["adagrad"]) for n in numbers]
    assert sizes == sorted(sizes) and sizes[0] >= 1000
    sizes = [auto_batch_size(n, UPDATES["sgd"]) for n in numbers]
    assert sizes[1] >= 1000 and sizes[-1] < 1000


# Training


@pytest.mark.pairwise
@pytest.mark.parametrize("batch_size", [7, 1000])
@pytest.mark.parametrize("values", ["unit", "general"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_components", [0, 1, 3, 8, 10])
@pytest.mark.parametrize("kind, n_outputs", KINDS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_training_matches_the_twin(
    dtype, kind, n_outputs, n_components, weighted, values, batch_size
):
    rng = np.random.default_rng(n_components)
    n_rows, n_features = 30, 9
    X, y = make_X(rng, n_rows, n_features, values), make_y(rng, kind, n_outputs, n_rows)
    weight = rng.uniform(0.1, 3, size=n_rows) if weighted else None
    problem = as_problem(X, y, weight, kind, dtype)
    batches = rows_of_batches(problem, batch_size)
    parameters = random_parameters(rng, n_outputs, n_components, n_features)
    state = state_of(problem, parameters)
    memory = None
    planner, rule = planner_for(problem, batch_size), rule_for(kind, n_outputs=n_outputs)
    tolerance = {"rtol": 1e-9, "atol": 1e-10}
    if dtype == np.float32:
        tolerance = {"rtol": 1e-3, "atol": 1e-4}
    for _ in range(size(3, 2)):
        expected_loss = 0.0
        parameters, memory, expected_loss = reference.epoch(
            "adagrad", parameters, memory, batches, X, y, weight, kind, ALPHA, ALPHA_LINEAR,
            rule.update.learning_rate, FLOOR,
        )  # fmt: skip
        loss = train_epoch(problem, planner, state, rule)
        assert_allclose(loss, expected_loss, **tolerance)
    intercept, linear, factors, _ = get_parameters(state, n_components)
    assert linear.dtype == factors.dtype == dtype
    used = problem.used
    assert used.size == n_features - 1  # the empty column
    assert_allclose(intercept, parameters[0], **tolerance)
    assert_allclose(linear, parameters[1][:, used], **tolerance)
    assert_allclose(np.swapaxes(factors, 1, 2), parameters[2][:, :, used], **tolerance)
    assert_allclose(state.linear[:, :, 1], memory[1]["squares"][:, used], **tolerance)
    assert not state.factors[..., n_components:].any()  # the padding stays zero


def assert_matches_the_twin(
    update, kind, n_outputs, dtype, *, weighted=True, batch_size=7, n_components=3, **options
):
    """A few epochs by the kernels and by the twin, from the same start."""
    rng = np.random.default_rng(0)
    n_rows, n_features = 30, 9
    X, y = make_X(rng, n_rows, n_features), make_y(rng, kind, n_outputs, n_rows)
    weight = rng.uniform(0.1, 3, size=n_rows) if weighted else None
    lasso = options.pop("lasso", (0.0, 0.0))
    problem = as_problem(X, y, weight, kind, dtype, lasso)
    parameters = random_parameters(rng, n_outputs, n_components, n_features)
    state, memory = state_of(problem, parameters, update), None
    planner = planner_for(problem, batch_size)
    rule = rule_for(kind, update=update, n_components=n_components, n_outputs=n_outputs, **options)
    batches = rows_of_batches(problem, batch_size)
    tolerance = {"rtol": 1e-9, "atol": 1e-10}
    if dtype == np.float32:
        tolerance = {"rtol": 2e-3, "atol": 2e-4}
    for _ in range(size(3, 2)):
        parameters, memory, expected = reference.epoch(
            update, parameters, memory, batches, X, y, weight, kind, ALPHA, ALPHA_LINEAR,
            options["learning_rate"], FLOOR, rule.fit_intercept, rule.fit_linear, lasso,
        )  # fmt: skip
        assert_allclose(train_epoch(problem, planner, state, rule), expected, **tolerance)
    intercept, linear, factors, _ = get_parameters(state, n_components)
    assert_allclose(intercept, parameters[0], **tolerance)
    assert_allclose(linear, parameters[1][:, problem.used], **tolerance)
    assert_allclose(np.swapaxes(factors, 1, 2), parameters[2][:, :, problem.used], **tolerance)
    assert not state.factors[:, :, 0, n_components:].any()  # the padding stays zero
    return linear, factors


@pytest.mark.parametrize("kind, n_outputs", MORE_KINDS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_training_on_other_losses_matches_the_twin(dtype, kind, n_outputs):
    assert_matches_the_twin("adagrad", kind, n_outputs, dtype, learning_rate=0.05)


@pytest.mark.around(update="sgd", kind="squared_error")
@pytest.mark.pairwise
@pytest.mark.parametrize("options", [{}, {"fit_linear": False}, {"fit_intercept": False}])
@pytest.mark.parametrize("weighted, batch_size", [(True, 7), (False, 1000)])
@pytest.mark.parametrize("n_components", [0, 3, 10])
@pytest.mark.parametrize("kind, n_outputs", KINDS)
@pytest.mark.parametrize("update", MINIBATCH_SOLVERS[1:])
@pytest.mark.parametrize("dtype", [np.float64, *in_full(np.float32)])
def test_other_update_rules_match_the_twin(
    dtype, update, kind, n_outputs, n_components, weighted, batch_size, options
):
    assert_matches_the_twin(
        *(update, kind, n_outputs, dtype),
        weighted=weighted,
        batch_size=batch_size,
        n_components=n_components,
        learning_rate=0.02,
        **options,
    )


@pytest.mark.parametrize("dtype", [np.float64, *in_full(np.float32)])
@pytest.mark.parametrize("kind, n_outputs", KINDS)
def test_ftrl_with_lasso_matches_the_twin(kind, n_outputs, dtype):
    linear, factors = assert_matches_the_twin(
        "ftrl", kind, n_outputs, dtype, lasso=LASSO, learning_rate=0.3
    )
    assert (linear == 0).any() and (linear != 0).any()
    shrunk = (factors == 0).all(axis=2)
    assert not shrunk.all() and ((factors != 0).all(axis=2) | shrunk).all()


@pytest.mark.parametrize("fit_intercept, fit_linear", [(False, True), (True, False)])
@pytest.mark.parametrize("kind, n_outputs", KINDS)
def test_parts_that_are_not_fitted_stay(kind, n_outputs, fit_intercept, fit_linear):
    rng = np.random.default_rng(0)
    X, y = make_X(rng, 30, 9), make_y(rng, kind, n_outputs, 30)
    problem = as_problem(X, y, None, kind)
    start = random_parameters(rng, n_outputs, 2, 9)
    state = state_of(problem, start)
    rule = rule_for(kind, fit_intercept=fit_intercept, fit_linear=fit_linear, n_outputs=n_outputs)
    train_epoch(problem, planner_for(problem, 8), state, rule)
    expected, _, _ = reference.epoch(
        "adagrad", start, None, rows_of_batches(problem, 8), X, y, None, kind, ALPHA,
        ALPHA_LINEAR, rule.update.learning_rate, FLOOR, fit_intercept, fit_linear,
    )  # fmt: skip
    intercept, linear, factors, _ = get_parameters(state, 2)
    assert_allclose(factors, np.swapaxes(expected[2], 1, 2)[:, problem.used], rtol=1e-9)
    assert_allclose(linear, expected[1][:, problem.used], rtol=1e-9)
    assert_allclose(intercept, expected[0], rtol=1e-9)
    if not fit_intercept:
        assert_array_equal(intercept, start[0])
    if not fit_linear:
        assert_array_equal(linear, start[1][:, problem.used])


@pytest.mark.parametrize("kind, n_outputs", KINDS)
def test_measuring_gives_the_loss_and_changes_nothing(kind, n_outputs):
    rng = np.random.default_rng(0)
    X, y = make_X(rng, 30, 9), make_y(rng, kind, n_outputs, 30)
    weight = rng.uniform(0.1, 3, size=30)
    problem = as_problem(X, y, weight, kind)
    parameters = random_parameters(rng, n_outputs, 3, 9)
    state = state_of(problem, parameters)
    before = copy_record(state)
    planner = planner_for(problem, 7)
    scratch = make_scratch(state, planner.batch_size, planner.max_pairs)
    loss, window, rule = 0.0, planner.window(0), rule_for(kind, n_outputs=n_outputs)
    for batch in range(window.rows.start.size - 1):
        order, steps = np.array([batch]), 2 * n_outputs + 1
        run_steps(window, order, 0, steps, state, problem.penalty_share, rule, scratch)
        n_rows = window.rows.start[batch + 1] - window.rows.start[batch]
        loss += scratch.rows.losses[:n_rows].sum()
    scaled = X / reference.feature_scale(X, weight)
    raw = reference.raw_output(parameters, scaled)
    assert_allclose(loss, weight @ reference.losses(kind, raw, y))
    for one, other in zip(before, state, strict=True):
        assert_array_equal(one, other)


# Parts of a batch


def phases(window, batch, state, share, rule, scratch, n_parts, order):
    """One batch by ``n_parts`` parts, step after step; returns its loss."""
    loss = 0.0
    one = np.array([batch])
    for step in range(4 * state.intercept.shape[0] + 2):
        for part in order(range(n_parts)):
            steps = step, step + 1
            loss += run_steps(window, one, *steps, state, share, rule, scratch, part, n_parts)
    return loss


@pytest.mark.pairwise
@pytest.mark.parametrize("order", [list, lambda parts: list(parts)[::-1]])
@pytest.mark.parametrize("n_parts", [1, 2, 3, 5, 64])
@pytest.mark.parametrize("kind, n_outputs", KINDS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_any_number_of_parts_gives_the_same_bits(dtype, kind, n_outputs, n_parts, order):
    rng = np.random.default_rng(0)
    n_rows = size(200, 40)
    X, y = make_X(rng, n_rows, 23), make_y(rng, kind, n_outputs, n_rows)
    problem = as_problem(X, y, rng.uniform(0.1, 3, size=n_rows), kind, dtype)
    serial = state_of(problem, random_parameters(rng, n_outputs, 10, 23))
    shared = copy_record(serial)
    planner, rule = planner_for(problem, 48), rule_for(kind, n_outputs=n_outputs)
    scratch = make_scratch(serial, planner.batch_size, planner.max_pairs, n_parts=n_parts)
    window = planner.window(0)
    batches = rng.permutation(window.rows.start.size - 1)
    share = problem.penalty_share
    expected = run_all(window, batches, serial, share, rule, scratch)
    loss = 0.0
    for batch in batches:
        loss += phases(window, batch, shared, share, rule, scratch, n_parts, order)
    assert loss == expected
    for one, other in zip(serial, shared, strict=True):
        assert_array_equal(one, other)


@pytest.mark.parametrize("n_parts", [1, 2, 3, 5, 64])
@pytest.mark.parametrize("kind, n_outputs", KINDS)
def test_parts_cover_everything_exactly_once(kind, n_outputs, n_parts):
    rng = np.random.default_rng(0)
    X, y = make_X(rng, 40, 23), make_y(rng, kind, n_outputs, 40)
    problem = as_problem(X, y, None, kind)
    state = state_of(problem, random_parameters(rng, n_outputs, 4, 23))
    planner, rule = planner_for(problem, 16), rule_for(kind, n_outputs=n_outputs)
    window, share = planner.window(0), problem.penalty_share
    n_batch_rows, n_pairs = planner.batch_size, planner.max_pairs
    for batch in range(window.rows.start.size - 1):
        rows = window.rows.start[batch + 1] - window.rows.start[batch]
        f0, f1 = window.columns.start[batch], window.columns.start[batch + 1]
        pairs, features = f1 - f0, window.columns.feature[f0:f1]
        one, n = np.array([batch]), 2 * n_outputs

        def run(first, last, state, scratch, part=0, n_parts=1, *, one=one, window=window):
            run_steps(window, one, first, last, state, share, rule, scratch, part, n_parts)

        ready = make_scratch(state, n_batch_rows, n_pairs, n_parts=n_parts)
        run(0, n, state, ready)
        run(0, 1, state, ready)
        gathered, computed = np.zeros(n_pairs, int), np.zeros(n_batch_rows, int)
        differentiated, updated = np.zeros(n_batch_rows, int), np.zeros(problem.n_used, int)
        for part in range(n_parts):
            empty = make_scratch(state, n_batch_rows, n_pairs, np.nan)
            run(0, 1, state, empty, part, n_parts)
            written = ~np.isnan(empty.local.self_product)
            for array in empty.local[:3]:
                filled = ~np.isnan(array.reshape(n_pairs, -1))
                assert_array_equal(filled.any(axis=1), written)
                assert_array_equal(filled.all(axis=1), written)
            gathered += written
            some = copy_record(ready)
            some.rows.output[...] = some.rows.sums[...] = np.nan
            run(1, 2, state, some, part, n_parts)
            computed += ~np.isnan(some.rows.output[0])
            some = copy_record(ready)
            some.rows.losses[...] = np.nan
            run(n, n + 1, state, some, part, n_parts)
            differentiated += ~np.isnan(some.rows.losses)
            whole, moved = copy_record(ready), copy_record(state)
            run(n, n + 1, state, whole)
            run(n + 3, n + 4, moved, whole, part, n_parts)
            updated += moved.linear[0, :, 1] != 0
        assert_array_equal(gathered, np.arange(n_pairs) < pairs)
        assert_array_equal(computed, np.arange(n_batch_rows) < rows)
        assert_array_equal(differentiated, np.arange(n_batch_rows) < rows)
        assert_array_equal(updated, np.isin(np.arange(problem.n_used), features))


# Windows


@pytest.mark.parametrize("kind, n_outputs", KINDS)
def test_windows_planned_anew_train_to_the_same_bits(kind, n_outputs, monkeypatch):
    rng = np.random.default_rng(0)
    X, y = make_X(rng, 90, 9), make_y(rng, kind, n_outputs, 90)
    problem = as_problem(X, y, None, kind)
    start = random_parameters(rng, n_outputs, 3, 9)
    results = []
    for window_entries, options in [
        (plan.WINDOW_ENTRIES, {}),
        (60, {}),
        (60, {"kept_bytes": 0}),
        (1, {"kept_bytes": 0}),
        (60, {"kept_bytes": 3000}),
    ]:
        monkeypatch.setattr(plan, "WINDOW_ENTRIES", window_entries)
        planner = planner_for(problem, 8, **options)
        assert (planner.n_windows == 1) == (window_entries > 1000)
        state = state_of(problem, start)
        rule = rule_for(kind, n_outputs=n_outputs)
        total = [train_epoch(problem, planner, state, rule) for _ in range(3)]
        if "kept_bytes" in options:
            assert planner.nbytes <= options["kept_bytes"]
            assert options["kept_bytes"] == 0 or planner.nbytes > 0
        results.append((total, state))
    for total, state in results[1:]:
        assert_allclose(total, results[0][0], rtol=1e-12)  # sums of other partial sums
        for one, other in zip(state, results[0][1], strict=True):
            assert_array_equal(one, other)


def test_kept_windows_are_not_planned_again():
    problem = as_problem(make_X(np.random.default_rng(0), 30, 9), np.zeros(30), None, "log_loss")
    kept, anew = planner_for(problem, 8), planner_for(problem, 8, kept_bytes=0)
    assert kept.window(0) is kept.window(0)
    assert anew.window(0) is not anew.window(0)
    for part, other_part in zip(kept.window(0), anew.window(0), strict=True):
        for one, other in zip(part, other_part, strict=True):
            assert_array_equal(one, other)


# Prediction, penalty, features


@st.composite
def models(draw):
    """Random parameters and rows; few numbers from hypothesis, the rest from a seed."""
    n_outputs, n_components = draw(st.integers(1, 3)), draw(st.integers(0, 9))
    n_rows, n_features = draw(st.integers(1, 6)), draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    parameters = random_parameters(rng, n_outputs, n_components, n_features)
    filled = rng.random((n_rows, n_features)) < draw(st.sampled_from([0.0, 0.3, 1.0]))
    return parameters, filled * rng.normal(size=filled.shape)


@EXAMPLES
@given(models(), st.sampled_from(["d", "f"]), st.sampled_from([np.int32, np.int64]))
def test_decide_matches_a_loop_over_pairs(model, dtype, index_dtype):
    parameters, X = model
    intercept, coef, components = parameters
    rows = sparse.csr_matrix(X)
    output = np.full((X.shape[0] + 2, len(intercept)), np.nan, dtype=dtype)
    for start, stop in [(0, X.shape[0] // 2), (X.shape[0] // 2, X.shape[0])]:
        predict(
            rows.indptr.astype(np.int64),
            rows.indices.astype(index_dtype),
            rows.data.astype(dtype),
            intercept,
            coef.astype(dtype),
            np.ascontiguousarray(np.swapaxes(components, 1, 2)).astype(dtype),
            start,
            stop,
            output,
        )
    by_pairs = [reference.predict(*one, X) for one in zip(*parameters, strict=True)]
    tolerance = 1e-10 if dtype == "d" else 2e-4
    assert_allclose(output[: X.shape[0]], np.transpose(by_pairs), rtol=tolerance, atol=tolerance)
    assert np.isnan(output[X.shape[0] :]).all()  # rows not asked for are not written


@pytest.mark.parametrize("n_components", [0, 1, 5])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_penalty(dtype, n_components):
    rng = np.random.default_rng(0)
    linear = rng.normal(size=(7, 2)).astype(dtype)
    factors = rng.normal(size=(7, 2, n_components)).astype(dtype)
    r, s = rng.random(7), rng.random(7)
    expected = (r * linear[:, 0] ** 2).sum() / 2 + (s[:, None] * factors[:, 0] ** 2).sum() / 2
    assert_allclose(penalty(linear, factors, r, s), expected, rtol=1e-6)


@EXAMPLES
@given(sparse_rows(), st.booleans(), st.sampled_from([np.float64, np.float32]))
def test_problem_measures_the_features(X, weighted, dtype):
    weight = np.linspace(0.5, 2, X.shape[0]) if weighted else None
    problem = as_problem(X, np.zeros(X.shape[0]), weight, "squared_error", dtype)
    w = reference.ones_if_none(weight, X)
    used = np.flatnonzero((X != 0).any(axis=0))
    assert_array_equal(problem.used, used)
    assert_array_equal(problem.position[used], np.arange(used.size))
    scale = reference.feature_scale(X, weight)[used]
    penalties = [
        np.full(used.size, ALPHA_LINEAR) / scale**2,
        reference.factor_penalties(X, w, ALPHA)[used] / scale**2,
    ]
    n = reference.feature_weight(X, w)[used]
    assert_allclose(problem.scale, scale, rtol=1e-6)
    assert_allclose(problem.linear_penalty, penalties[0], rtol=1e-6)
    assert_allclose(problem.factor_penalty, penalties[1], rtol=1e-6)
    assert_allclose(problem.penalty_share.T, penalties / n, rtol=1e-6)
    assert_allclose(problem.mean_row_length, n.sum() / w.sum(), rtol=1e-6)
    assert_allclose(problem.total_weight, w.sum(), rtol=1e-6)


@pytest.mark.parametrize("chunk", [2, 100])
def test_whether_all_scaled_values_are_1(chunk, monkeypatch):
    monkeypatch.setattr(problem_module, "CHUNK", chunk)
    X = np.array([[2.0, 0.0, -3.0], [2.0, 5.0, 0.0], [0.0, 5.0, 0.0]])
    assert as_problem(np.abs(X), [0, 1, 1], None, "log_loss").unit_values
    for place in [(0, 0), (1, 1), (2, 1)]:
        other = np.abs(X)
        other[place] *= -1
        assert not as_problem(other, [0, 1, 1], None, "log_loss").unit_values


@pytest.mark.parametrize("kind, n_outputs", KINDS)
@pytest.mark.parametrize("weighted", [False, True])
def test_problem_states_the_objective(kind, n_outputs, weighted):
    """The problem's scale and penalties, on scaled parameters, are the reference's objective."""
    rng = np.random.default_rng(0)
    X, y = make_X(rng, 30, 9), make_y(rng, kind, n_outputs, 30)
    weight = rng.uniform(0.1, 3, size=30) if weighted else None
    problem = as_problem(X, y, weight, kind)
    parameters = random_parameters(rng, n_outputs, 3, 9)
    scale = reference.feature_scale(X, weight)
    scaled = parameters[0], parameters[1] * scale, parameters[2] * scale
    state = state_of(problem, scaled)
    total = sum(
        penalty(linear, factors, problem.linear_penalty, problem.factor_penalty)
        for linear, factors in zip(state.linear, state.factors, strict=True)
    )
    raw = reference.raw_output(parameters, X)
    unpenalized = reference.ones_if_none(weight, X) @ reference.losses(kind, raw, y)
    used_only = [p if p.ndim == 1 else p * (np.abs(X).sum(axis=0) > 0) for p in parameters]
    expected = reference.objective(used_only, X, y, weight, kind, ALPHA, ALPHA_LINEAR)
    assert_allclose(total + unpenalized, expected)


# Losses and update rule

EXTREMES = np.array([-1000.0, -745.0, -40.0, -1.0, -1e-9, 0.0, 1e-9, 1.0, 40.0, 745.0, 1000.0])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    "kind, targets",
    [
        *((kind, [-3.0, 2.5]) for kind in REGRESSION if kind != "poisson"),
        ("poisson", [0.0, 0.5, 3.0]),
        ("log_loss", [0, 1]),
        ("squared_hinge", [0, 1]),
    ],
)
def test_scalar_loss(kind, targets, dtype):
    def scalar(z, target):
        return scalar_loss(CODES[kind], SHAPES.get(kind, 0.0), z, target)

    tolerance = 1e-12 if dtype == np.float64 else 1e-5
    for target in targets:
        for z in EXTREMES.astype(dtype):
            value, slope = scalar(z, dtype(target))
            assert np.isfinite(value) and np.isfinite(slope)
            z = float(z)
            assert_allclose(value, reference.loss(kind, z, target), rtol=tolerance, atol=1e-17)
            expected = reference.loss_gradient(kind, np.array([[z]]), [target])[0, 0]
            assert_allclose(slope, expected, rtol=tolerance, atol=tolerance)
            above, below = scalar(z + 1e-5, target), scalar(z - 1e-5, target)
            assert_allclose(slope, (above[0] - below[0]) / 2e-5, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_softmax_loss(dtype):
    cases = [[0, 0, 0], [1000, -1000, 0], [-1000, -1000, -1000], [1000, 1000, 999], [-0.3, 2, 0.5]]
    output = np.array(cases, dtype=dtype).T.copy()
    for row in range(output.shape[1]):
        for target in range(3):
            gradient = np.full_like(output, np.nan)
            value = softmax_loss(output, row, target, gradient)
            z = output[:, row].astype(float)
            tolerance = 1e-12 if dtype == np.float64 else 1e-4  # of 1000
            assert_allclose(value, reference.loss("softmax", z, target), atol=tolerance)
            expected = reference.loss_gradient("softmax", z[None], [target])[0]
            assert_allclose(gradient[:, row], expected, rtol=1e-5, atol=1e-7)
            assert np.isnan(np.delete(gradient, row, axis=1)).all()
            for c in range(3):
                numeric = 0.0
                for h in (1e-5, -1e-5):
                    moved = output.astype(float)
                    moved[c, row] += h
                    unused = np.empty_like(moved)
                    numeric += softmax_loss(moved, row, target, unused) / (2 * h)
                assert_allclose(gradient[c, row], numeric, rtol=1e-4, atol=1e-4)


def test_softmax_of_two_classes_is_log_loss():
    for z in EXTREMES:
        for target in (0, 1):
            output, gradient = np.array([[0.0], [z]]), np.empty((2, 1))
            value = softmax_loss(output, 0, target, gradient)
            expected, slope = scalar_loss(losses.LOG_LOSS, 0.0, z, float(target))
            assert_allclose(value, expected, rtol=1e-9, atol=1e-12)
            assert_allclose(gradient[:, 0], [-slope, slope], atol=1e-12)


def test_a_loss_that_is_not_finite_shows():
    """Divergence must be seen: NaN and infinity keep their meaning in compiled code."""
    for kind in ("squared_error", "log_loss"):
        value, slope = scalar_loss(CODES[kind], 0.0, np.nan, 1.0)
        assert np.isnan(value) and np.isnan(slope)
    assert scalar_loss(losses.SQUARED_ERROR, 0.0, np.inf, 1.0)[0] == np.inf
    gradient = np.empty((3, 1))
    assert np.isnan(softmax_loss(np.array([[1.0], [np.nan], [0.0]]), 0, 1, gradient))


@pytest.mark.full
@pytest.mark.skipif(not JIT, reason="this is the run without the JIT")
@pytest.mark.skipif(
    np.__version__.startswith("1."),
    reason="NumPy 1 makes a float of an unsigned id plus an int, which compiled kernels do not",
)
@pytest.mark.parametrize(
    "name", ["test_kernels", "test_ranking_kernels", "test_field_kernels", "test_shrinkage"]
)
def test_everything_again_without_the_jit(name):
    file = Path(__file__).with_name(f"{name}.py")
    done = run_python(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "", "-n", "0", str(file)),
        NUMBA_DISABLE_JIT=1,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
