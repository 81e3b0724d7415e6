"""Coordinate descent of field-weighted and field-aware models: kernels, optima, threads."""

import pickle
from itertools import combinations

import numpy as np
import pytest
import reference
from builders import LOSSES, model_for, quietly, raw
from helpers import size
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from skfm import FMClassifier, FMRegressor
from skfm._fm import field_parameters
from skfm._kernels import field_weights as kernels
from skfm._kernels import losses
from skfm._solvers.fm import coordinate_descent, field_weights
from skfm._solvers.fm import sweeps as passes
from skfm._solvers.fm.field_weights import FieldWeights
from skfm._solvers.fm.interactions import Interactions
from skfm._solvers.fm.penalties import Penalties
from skfm._solvers.fm.problem import make_problem
from skfm._solvers.fm.relation_blocks import find_relation_blocks

FIELDS = np.array([0, 1, 2, 0, 1, 2, 2])  # of seven columns, in no order
ALL, SOME = np.ones((3, 3), bool), np.array([[0, 1, 1], [1, 1, 0], [1, 0, 0]], bool)
MASKS = {"all": None, "some": [(0, 1), (1, 1), (2, 0)]}
GIVEN = {"alpha": 0.3, "alpha_linear": 0.5}
KINDS = ["weighted", "aware"]

each_kind = pytest.mark.parametrize("kind", KINDS)
each_type = pytest.mark.parametrize("dtype", [np.float64, np.float32])


def make_rows(rng, n_rows):
    """Rows with several entries of a field, and with none of another."""
    filled = rng.random((n_rows, FIELDS.size)) < 0.5
    return filled * rng.uniform(0.5, 1.5, filled.shape) * rng.choice([-1, 1], filled.shape)


def make(loss="squared_error", n_classes=0, weighted=True, n_rows=None, seed=0):
    """Rows, targets with interactions that differ between pairs of fields, and weights.

    Numbers are standardized, so that the solver's units are those of the targets.
    """
    rng = np.random.default_rng(seed)
    X = make_rows(rng, n_rows or size(80, 20))
    weight = rng.integers(1, 4, len(X)) if weighted else None
    n_outputs = n_classes if n_classes > 2 else 1
    signs = np.array([[1, -1, 0], [-1, 1, 1], [0, 1, 1]])[np.ix_(FIELDS, FIELDS)]
    products = signs * rng.normal(size=(n_outputs, FIELDS.size, FIELDS.size))
    output = np.einsum("ri,cij,rj->rc", X, products, X) / 2
    noise = rng.gumbel(size=output.shape)
    if n_classes == 0 and loss == "poisson":
        y = rng.poisson(np.exp(np.clip(output[:, 0], -2, 2)))
    elif n_classes == 0:
        y = output[:, 0] + noise[:, 0] / 2
        y -= np.average(y, weights=weight)
        y /= np.sqrt(np.average(y**2, weights=weight))
    else:
        y = (output + noise).argmax(axis=1) if n_classes > 2 else output[:, 0] + noise[:, 0] > 0
    return X, np.asarray(y, dtype=int if n_classes else float), weight


def fit(kind, X, y, weight=None, *, loss="squared_error", n_classes=0, **parameters):
    parameters = {"solver": "als", "n_components": 2, "early_stopping": False, **parameters}
    parameters = {"feature_fields": FIELDS, "field_interactions": kind, **parameters}
    return quietly(model_for(loss, n_classes, **parameters).fit, X, y, weight)


def problem_for(rng, dtype, mask=ALL, weighted=False, n_rows=20):
    X = make_rows(rng, n_rows).astype(dtype)
    X[:, 1] += 20  # a column that is centered
    interactions = Interactions(
        np.full(2, 2),
        FIELDS.astype(np.uint8),
        mask,
        np.ones(FIELDS.size, bool),
        FIELDS,
        "weighted",
        np.arange(3),
    )
    weight = rng.uniform(0.5, 2, n_rows if weighted else 0).astype(dtype)
    return make_problem(
        sparse.csr_matrix(X),
        rng.normal(size=n_rows),
        weight,
        losses.SQUARED_ERROR,
        Penalties(linear=0.0, factors=0.0),
        interactions,
        may_center=True,
    )


def state_of(rng, problem, n_threads=1):
    """A sweeper, a random model, and the state of the rows, whose errors are random."""
    sweeper, dtype = passes.Sweeper(problem, n_threads), problem.data.dtype
    n = problem.n_used
    random = rng.normal(size=n), rng.normal(size=(n, 2)), rng.normal(size=(3, 1))
    model = sweeper.model(*(values.astype(dtype) for values in random))
    rows = sweeper.rows(model, problem.weight.size > 0)
    rows.error[:] = rng.normal(size=problem.n_rows)
    rows.root[:] = np.sqrt(problem.weight)
    return sweeper, model, rows


def products_of(problem, model):
    """What the weights of the pairs of fields are multiplied by, (n_rows, n_pairs)."""
    X = problem.scaled_rows().toarray()
    factors = model.factors[:, : model.n_components].astype(np.float64)
    field = FIELDS[problem.used]
    sums = [X[:, field == c] @ factors[field == c] for c in range(3)]
    return np.stack([(sums[a] * sums[b]).sum(axis=1) for a, b in combinations(range(3), 2)], 1)


# The update of the weights


@each_type
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_rows", [1, 20, size(300, 30)])
def test_sums_of_products_match_the_twin(dtype, weighted, n_rows):
    rng = np.random.default_rng(0)
    problem = problem_for(rng, dtype, weighted=weighted, n_rows=n_rows)
    sweeper, model, rows = state_of(rng, problem)
    pairs = np.array([[1, 2], [0, 1]])
    design = products_of(problem, model)[:, [2, 0]]
    error = rows.error.astype(np.float64)
    weight = problem.weight if weighted else np.ones(n_rows)
    gram, first = np.full((2, 3), np.nan), n_rows // 3
    terms = sweeper.source, model, sweeper.interactions, rows, pairs
    kernels.gather_products(first, n_rows, *terms, gram)
    part = np.column_stack([design, error])[first:] * np.sqrt(weight[first:, None])
    exact = {"rtol": 1e-9} if dtype == np.float64 else {"rtol": 2e-4, "atol": 1e-3}
    expected = part.T @ part
    assert_allclose(gram[0], expected[0], **exact)
    assert_allclose(gram[1, 1:], expected[1, 1:], **exact)

    step = np.array([0.3, -0.7])
    kernels.add_step(first, n_rows, *terms, step)
    error[first:] += design[first:] @ step
    exact = {"rtol": 1e-9} if dtype == np.float64 else {"rtol": 2e-4, "atol": 1e-3}
    assert_allclose(rows.error, error, **exact)


def ridge_step(design, error, weight, distance, precision=1.0, penalty=1.0):
    A = precision * design.T @ (weight[:, None] * design) + penalty * np.eye(design.shape[1])
    return A, np.linalg.solve(A, -precision * design.T @ (weight * error) - penalty * distance)


@each_type
@pytest.mark.parametrize("weighted", [False, True])
def test_the_weights_solve_a_ridge_regression(dtype, weighted):
    rng = np.random.default_rng(1)
    problem = problem_for(rng, dtype, weighted=weighted)
    sweeper, model, rows = state_of(rng, problem)
    design, before = products_of(problem, model), model.field_pairs[:, 0].astype(np.float64)
    error = rows.error.astype(np.float64)
    weight = problem.weight if weighted else np.ones(problem.n_rows)
    _, step = ridge_step(design, error, weight, before - 1)
    FieldWeights(sweeper).update(model, rows)
    exact = {"rtol": 1e-9} if dtype == np.float64 else {"rtol": 1e-3, "atol": 1e-4}
    assert_allclose(model.field_pairs[:, 0], before + step, **exact)
    exact = {"rtol": 1e-9, "atol": 1e-12} if dtype == np.float64 else {"atol": 3e-3}
    assert_allclose(rows.error, error + design @ step, **exact)


def test_weights_in_blocks_come_to_the_same_optimum(monkeypatch):
    rng = np.random.default_rng(2)
    problem = problem_for(rng, np.float64)
    sweeper, model, rows = state_of(rng, problem)
    before, error = model.field_pairs[:, 0].copy(), rows.error.copy()
    design = products_of(problem, model)
    _, step = ridge_step(design, error, np.ones(len(error)), before - 1)
    monkeypatch.setattr(field_weights, "BLOCK_SIZE", 2)
    blocks = FieldWeights(sweeper)
    assert [places.tolist() for places in blocks.blocks] == [[0, 1], [2]]
    for _ in range(200):
        blocks.update(model, rows)
    assert_allclose(model.field_pairs[:, 0], before + step, rtol=1e-6)
    assert_allclose(rows.error, error + design @ step, atol=1e-6)


def test_pairs_that_do_not_interact_have_no_weight_to_be_found():
    rng = np.random.default_rng(3)
    problem = problem_for(rng, np.float64, mask=SOME)
    sweeper, model, rows = state_of(rng, problem)
    before, error = model.field_pairs[:, 0].copy(), rows.error.copy()
    design = products_of(problem, model)[:, :2]
    _, step = ridge_step(design, error, np.ones(len(error)), before[:2] - 1)
    FieldWeights(sweeper).update(model, rows)
    assert_allclose(model.field_pairs[:, 0], before + np.append(step, 0), rtol=1e-9)


def test_samples_of_the_weights_have_their_normal_distribution():
    """Overrelaxed, around the solution and on the other side of it."""
    rng = np.random.default_rng(4)
    problem = problem_for(rng, np.float64, weighted=True)
    sweeper, model, rows = state_of(rng, problem)
    weights, error = model.field_pairs[:, 0], rows.error.copy()
    design, precision = products_of(problem, model), 0.3
    A, step = ridge_step(design, error, problem.weight, weights - 1, precision)
    mean, update, draws = weights + step, FieldWeights(sweeper).update, []
    for _ in range(size(4000, 300)):
        update(model, rows, precision, rng.standard_normal((1, 3)))
        draws.append(weights.copy())
    assert_allclose(rows.error, error + design @ (weights - mean + step), atol=1e-9)
    unit = (np.array(draws) - mean) @ np.linalg.cholesky(A)  # independent and of variance 1
    few = size(0.05, 0.25)
    assert_allclose(unit.mean(axis=0), 0, atol=few)
    assert_allclose(np.cov(unit.T), np.eye(3), atol=3 * few)
    lagged = (unit[1:] * unit[:-1]).mean(axis=0)
    assert_allclose(lagged, -0.5, atol=2 * few)


@each_type
def test_threads_change_no_bit_of_the_weights(dtype, monkeypatch):
    monkeypatch.setattr(field_weights, "LEAST_ROWS", 3)
    results = []
    for n_threads in (1, 2, 3):
        rng = np.random.default_rng(5)
        sweeper, model, rows = state_of(rng, problem_for(rng, dtype, weighted=True))
        sweeper.n_threads = n_threads
        FieldWeights(sweeper).update(model, rows)
        results.append([model.field_pairs, rows.error])
    for others in results[1:]:
        for first, other in zip(results[0], others, strict=True):
            assert_array_equal(first, other)


# Whole fits


def parameters_of(model):
    """Of a fitted model, as `reference.field_objective` takes them."""
    is_aware = model.field_interactions == "aware"
    components = np.asarray(model.components_, float)
    components = components if components.ndim == 3 + is_aware else components[None]
    intercept = np.atleast_1d(model.intercept_).astype(float)
    coef = np.atleast_2d(model.coef_).astype(float)
    pairs = np.ones((intercept.size, 3, 0))
    if not is_aware:
        pairs = field_parameters.read(model, intercept.size, model._interactions, np.float64)
    return intercept, coef, components, pairs


def terms_of(model, X, y, weight):
    """The other arguments of `reference.field_objective`."""
    loss, n_outputs = model.loss, np.size(model.intercept_)
    loss = "softmax" if loss == "log_loss" and n_outputs > 1 else loss
    weight = None if weight is None else weight.astype(float)
    allowed = model._interactions.partners
    kind = model.field_interactions
    penalties = model.alpha, model.alpha_linear
    return X, y, weight, loss, *penalties, kind, FIELDS, allowed, model.alpha_fields


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("loss, n_classes", [("squared_error", 0), ("log_loss", 3)])
@each_kind
def test_predictions_are_those_of_the_double_loop(kind, loss, n_classes, mask):
    X, y, _ = make(loss, n_classes)
    options = {"interactions": MASKS[mask], "max_iter": 3}
    model = fit(kind, X, y, loss=loss, n_classes=n_classes, **options)
    intercept, coef, components, pairs = parameters_of(model)
    for c, output in enumerate(raw(model, X).T):
        between = field_parameters.between_fields(pairs, model._interactions) if pairs.size else []
        between = np.reshape(between[c], (3, 3)) if pairs.size else None
        own = intercept[c], coef[c], components[c], between
        allowed = model._interactions.partners
        assert_allclose(output, reference.field_output(kind, *own, X, FIELDS, allowed), atol=1e-10)


FIRST = [("squared_error", 0), ("log_loss", 2)]
OTHERS = [each for each in LOSSES if each not in FIRST]
ROUGH = ("absolute_error", "quantile")  # L-BFGS finds no optimum, and als smooths them


@pytest.mark.parametrize("mask, weighted", [("all", False), ("some", True)])
@pytest.mark.parametrize(
    "loss, n_classes", [*FIRST, *(pytest.param(*each, marks=pytest.mark.full) for each in OTHERS)]
)
@each_kind
def test_fit_reaches_the_optimum(kind, loss, n_classes, mask, weighted):
    X, y, weight = make(loss, n_classes, weighted)
    options = {"loss": loss, "n_classes": n_classes, "interactions": MASKS[mask], **GIVEN}
    # At the kinks of rough losses, descent by coordinates is slow, and there are many local
    # optima.
    n_sweeps, n_starts, tol = (5000, 12, 0.0) if loss in ROUGH else (500, 2, 1e-9)
    options |= {"max_iter": size(n_sweeps, 10), "tol": tol, "init_scale": 0.5}
    starts = range(size(n_starts, 1))
    fits = [fit(kind, X, y, weight, random_state=seed, **options) for seed in starts]
    model = min(fits, key=lambda model: model.loss_curve_[-1])
    parameters, data = parameters_of(model), terms_of(model, X, y, weight)
    reached = reference.field_objective(parameters, *data)[0]
    tolerance = 5e-3 if loss in ROUGH else 1e-4
    total_weight = len(X) if weight is None else weight.sum()
    assert_allclose(reached / total_weight, model.loss_curve_[-1], rtol=tolerance)
    if size(True, False):
        best = reference.best_field_objective(parameters, data, 0 if loss in ROUGH else 2)
        assert reached <= best * (1 + tolerance)


@pytest.mark.parametrize("loss, n_classes", [*FIRST, ("log_loss", 3), ("poisson", 0)])
@pytest.mark.parametrize("block_size", [64, 2])
def test_the_objective_never_rises(loss, n_classes, block_size, monkeypatch):
    monkeypatch.setattr(field_weights, "BLOCK_SIZE", block_size)
    X, y, weight = make(loss, n_classes)
    for kind in KINDS:
        model = fit(kind, X, y, weight, loss=loss, n_classes=n_classes, max_iter=15, **GIVEN)
        assert (np.diff(model.loss_curve_) <= 1e-9).all()
    assert (model.loss_curve_[0] - model.loss_curve_[-1]) > 0.01


def test_larger_weights_of_pairs_are_penalized():
    """At the optimum, what the rows gain by a change of weights is what the penalty costs."""
    X, y, _ = make(weighted=False)
    model = fit("weighted", X, y, max_iter=size(500, 10), tol=1e-9, **GIVEN)
    _, slopes = reference.field_objective(parameters_of(model), *terms_of(model, X, y, None))
    weights = model.field_weights_[np.triu_indices(3, 1)]
    assert np.abs(weights - 1).max() > 0.1
    assert np.abs(slopes[3]).max() < size(1e-3, 0.5)


# Threads, types, weights, and further fits


def make_one_hot(n_rows, dtype=np.float64, seed=0):
    """One level of each of three fields in a row."""
    rng = np.random.default_rng(seed)
    levels = [rng.integers(5, size=n_rows) for _ in range(3)]
    X = np.hstack([np.eye(5)[level] for level in levels]).astype(dtype)
    a, b, c = (rng.normal(size=5)[level] for level in levels)
    output = a * b + b * c - a * c
    return sparse.csr_matrix(X), output + rng.normal(size=n_rows) / 2, np.repeat([0, 1, 2], 5)


@pytest.mark.parametrize("n_classes", [0, 3])
@each_type
@each_kind
def test_number_of_threads_does_not_matter(kind, dtype, n_classes, monkeypatch):
    monkeypatch.setattr(passes, "THREAD_WORK", 1)
    monkeypatch.setattr(field_weights, "LEAST_ROWS", 16)
    X, y, fields = make_one_hot(size(300, 40), dtype)
    loss = "log_loss" if n_classes else "squared_error"
    y = np.digitize(y, [-0.5, 0.5]) if n_classes else y
    options = {"loss": loss, "n_classes": n_classes, "feature_fields": fields, "max_iter": 3}
    one, two = (fit(kind, X, y, n_jobs=n_jobs, **options) for n_jobs in (1, 3))
    assert one.components_.dtype == dtype
    for name in ("intercept_", "coef_", "components_", "field_weights_"):
        assert_array_equal(*(getattr(model, name, 0) for model in (one, two)))
    assert_array_equal(raw(one, X), raw(two, X))


@each_kind
def test_float32_stays_float32_and_is_as_good(kind):
    X, y, fields = make_one_hot(size(300, 40))
    options = {"feature_fields": fields, "max_iter": 20, **GIVEN}
    short, long = (fit(kind, X.astype(t), y, **options) for t in (np.float32, np.float64))
    assert short.predict(X.astype(np.float32)).dtype == np.float32
    if kind == "weighted":
        assert short.field_weights_.dtype == np.float32
    assert_allclose(short.loss_curve_[-1], long.loss_curve_[-1], rtol=1e-3)


@pytest.mark.parametrize("n_classes", [0, 2, 3])
@each_kind
def test_weight_is_repetition(kind, n_classes):
    loss = "log_loss" if n_classes else "squared_error"
    X, y, weight = make(loss, n_classes)
    options = {"loss": loss, "n_classes": n_classes, "max_iter": 5}
    weighted = fit(kind, X, y, weight, **options)
    repeated = fit(kind, np.repeat(X, weight, axis=0), np.repeat(y, weight), **options)
    assert_allclose(raw(weighted, X), raw(repeated, X), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("n_classes", [0, 3])
@each_kind
def test_a_warm_start_continues_in_a_copy_as_well(kind, n_classes):
    loss = "log_loss" if n_classes else "squared_error"
    X, y, weight = make(loss, n_classes)
    options = {"loss": loss, "n_classes": n_classes, "tol": 0.0, **GIVEN}
    whole = fit(kind, X, y, weight, max_iter=8, **options)
    half = fit(kind, X, y, weight, max_iter=4, warm_start=True, **options)
    copied = pickle.loads(pickle.dumps(half))
    for model in (half, copied):
        assert_allclose(model.loss_curve_, whole.loss_curve_[:4])
        quietly(model.fit, X, y, weight)
        assert_allclose(model.loss_curve_, whole.loss_curve_[4:], rtol=1e-6)
        assert_allclose(raw(model, X), raw(whole, X), rtol=1e-5, atol=1e-7)


@each_kind
def test_penalties_are_found(kind):
    X, y, fields = make_one_hot(size(600, 60))
    options = {"feature_fields": fields, "n_components": 1, "max_iter": size(40, 12)}
    model, plain = (fit(each, X, y, **options) for each in (kind, "plain"))
    assert (model.alpha_ > 0).all()
    if size(True, False):
        assert np.mean((model.predict(X) - y) ** 2) < 0.95 * np.mean((plain.predict(X) - y) ** 2)


@pytest.mark.parametrize("kind", ["plain", *KINDS])
def test_only_plain_interactions_have_relation_blocks(kind):
    """Fields whose entries repeat in many rows."""
    rng = np.random.default_rng(0)
    block = rng.normal(size=(3, 12))
    X = np.hstack([np.eye(30)[rng.integers(30, size=300)], block[rng.integers(3, size=300)]])
    fields = np.repeat([0, 1], [30, 12])
    n_copies = 2 if kind == "aware" else 1
    interactions = Interactions(
        np.full(2 * n_copies, 2),
        fields.astype(np.uint8),
        np.ones((2, 2), bool),
        np.ones(fields.size, bool),
        fields,
        kind,
        np.arange(2),
    )
    terms = np.zeros(300), np.empty(0), losses.SQUARED_ERROR, Penalties(linear=0.0, factors=0.0)
    problem = make_problem(sparse.csr_matrix(X), *terms, interactions)
    found, rows = find_relation_blocks(problem)
    assert len(found) == (kind == "plain")
    assert (rows.indices.size == X.astype(bool).sum()) == (kind != "plain")


@pytest.mark.parametrize("make_model", [FMRegressor, FMClassifier])
def test_matrices_are_refused(make_model):
    model = make_model(solver="als", field_interactions="matrixed")
    with pytest.raises(ValueError, match=r"solver='als' cannot fit .*'matrixed'.*'adagrad', or"):
        model.fit(np.eye(4), [0, 1, 0, 1])
    assert not hasattr(model, "coef_")


@each_kind
def test_sweeps_that_go_too_far_restore_the_weights(kind, monkeypatch):
    """A sweep that raises the objective leaves nothing behind."""
    X, y, _ = make(weighted=False)
    sweep = passes.Sweeper.sweep

    def worse(self, rows, model, *others):
        sweep(self, rows, model, *others)
        model.factors[:] = 100

    monkeypatch.setattr(coordinate_descent, "MAX_TRIES", 2)
    good = fit(kind, X, y, max_iter=3, tol=0.0, **GIVEN)
    before = pickle.loads(pickle.dumps(good))
    monkeypatch.setattr(passes.Sweeper, "sweep", worse)
    quietly(good.set_params(warm_start=True, max_iter=1).fit, X, y)
    assert_allclose(good.components_, before.components_)
    assert_allclose(raw(good, X), raw(before, X))
