"""Kernels of interactions with parameters of pairs of fields, against their slow twins."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import reference
from builders import CODES, MINIBATCH_SOLVERS, make_y, settings_for
from helpers import size
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from skfm._solvers.fm import trainer as trainer_module
from skfm._solvers.fm.interactions import Interactions, compute_outputs
from skfm._solvers.fm.minibatch import make_trainer
from skfm._solvers.fm.optimizer import Optimizer
from skfm._solvers.fm.parameters import Parameters
from skfm._solvers.fm.penalties import Penalties
from skfm._solvers.fm.problem import make_problem

KINDS = ["weighted", "matrixed", "aware"]
FIELDS = np.array([0, 2, 1, 1, 0, 2, 0, 1, 3, 2], dtype=np.uint8)  # of ten columns, in no order
TABLES = {  # which of the four fields interact
    "all": np.ones((4, 4), bool),
    "no field with itself": ~np.eye(4, dtype=bool),
    "some": np.array([[1, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], bool),
    "none": np.zeros((4, 4), bool),
}
LOSSES = [("squared_error", 1), ("log_loss", 1), ("softmax", 3), ("poisson", 1)]

each_kind = pytest.mark.parametrize("kind", KINDS)
each_table = pytest.mark.parametrize("table", TABLES)
each_type = pytest.mark.parametrize("dtype", [np.float64, np.float32])


def make_rows(rng, n_rows, values="general"):
    """Rows with several entries of a field, none of another, and one without entries."""
    filled = rng.random((n_rows, FIELDS.size)) < 0.4
    filled[n_rows // 2] = False
    filled[0] = True
    if values == "unit":
        return filled.astype(float)
    return filled * rng.uniform(0.5, 2, filled.shape) * rng.choice([-1, 1], filled.shape)


def make_interactions(kind, table, n_components):
    allowed = TABLES[table]
    n_copies = len(allowed) if kind == "aware" else 1
    return Interactions(
        np.full(n_components * n_copies, 2),
        FIELDS,
        allowed,
        np.ones(FIELDS.size, bool),
        FIELDS,
        kind,
        np.arange(len(allowed)),
        alpha_fields=1e-3,
    )


def random_model(rng, kind, n_outputs, n_components, n_fields=4):
    """Parameters in the shapes of the reference, at a distance from the plain model."""
    shape = n_outputs, n_components, FIELDS.size
    shape = (n_outputs, n_fields, *shape[1:]) if kind == "aware" else shape
    pairs = reference.plain_pairs(kind, n_outputs, n_fields, n_components)
    return (
        rng.normal(size=n_outputs) / 3,
        rng.normal(size=(n_outputs, FIELDS.size)) / 3,
        rng.normal(size=shape) / 3,
        pairs + rng.normal(size=pairs.shape) / 2,
    )


def as_parameters(model, kind, dtype):
    """The solver's parameters: features before components, partner fields next to each other."""
    intercept, coef, components, pairs = model
    factors = np.moveaxis(components, -1, 1)
    factors = factors.reshape(*factors.shape[:2], -1)
    if kind == "aware":
        pairs = np.zeros((len(pairs), 0, 0))
    arrays = (np.ascontiguousarray(array, dtype) for array in (coef, factors, pairs))
    return Parameters(intercept, *arrays)


def as_model(parameters, kind, n_components, n_fields=4):
    """The inverse, in float64."""
    intercept, linear, factors, pairs = parameters
    n_copies = n_fields if kind == "aware" else 1
    components = factors.reshape(*factors.shape[:2], n_copies, n_components)
    components = np.moveaxis(components, 1, -1).astype(float)
    if kind != "aware":
        components = components[:, 0]
    return intercept, linear.astype(float), components, pairs.astype(float)


def slow_outputs(model, X, kind, table, n_components):
    intercept, coef, components, pairs = model
    outputs = []
    for c in range(len(intercept)):
        between = None
        if kind in ("weighted", "matrixed"):
            n = n_components if kind == "matrixed" else 1
            between = reference.between_fields(kind, pairs[c], 4, n)
        if kind == "weighted":
            between = between[:, :, 0, 0]
        own = kind, intercept[c], coef[c], components[c], between
        outputs.append(reference.field_output(*own, X, FIELDS, TABLES[table]))
    return np.stack(outputs, axis=1)


def tolerance_of(dtype):
    return {"rtol": 1e-9, "atol": 1e-9} if dtype == np.float64 else {"rtol": 2e-3, "atol": 2e-3}


# The twins themselves


@pytest.mark.parametrize("table", ["all", "some"])
@pytest.mark.parametrize("loss, n_outputs", [("squared_error", 1), ("softmax", 3)])
@pytest.mark.parametrize("kind", ["plain", *KINDS])
def test_the_objective_is_that_of_the_outputs_and_has_its_gradient(kind, loss, n_outputs, table):
    rng = np.random.default_rng(0)
    X, weight, y = make_rows(rng, 12), rng.uniform(0.5, 2, 12), make_y(rng, loss, n_outputs, 12)
    model = random_model(rng, kind, n_outputs, 2)
    data = X, y, weight, loss, 0.3, 0.7, kind, FIELDS, TABLES[table]
    total, slopes = reference.field_objective(model, *data)
    Z = slow_outputs(model, X, kind, table, 2)
    counts = [TABLES[table][a, b] for a, b in combinations(range(4), 2)]
    distance = model[3] - reference.plain_pairs(kind, n_outputs, 4, 2)
    expected = weight @ reference.losses(loss, Z, y)
    expected += 0.7 / 2 * (model[1] ** 2).sum()
    expected += 0.3 / 2 * (np.sqrt(weight @ (X != 0)) * model[2] ** 2).sum()
    expected += 1e-3 * weight.sum() * (np.array(counts)[:, None] * distance**2).sum() / 2
    assert_allclose(total, expected)
    vector = reference.flatten(model)

    def value(vector):
        return reference.field_objective(reference.unflatten_like(vector, model), *data)[0]

    chosen = rng.permutation(vector.size)[:40]
    steps = 1e-5 * np.eye(vector.size)[chosen]
    numeric = [(value(vector + s) - value(vector - s)) / 2e-5 for s in steps]
    assert_allclose(reference.flatten(slopes)[chosen], numeric, rtol=1e-6, atol=1e-6)


def test_the_twins_of_the_plain_model_agree():
    rng = np.random.default_rng(0)
    X, y = make_rows(rng, 12), rng.normal(size=12)
    *model, pairs = random_model(rng, "plain", 1, 3)
    found = slow_outputs((*model, pairs), X, "plain", "all", 3)
    assert_allclose(found, reference.raw_output(model, X))
    data = X, y, None, "squared_error", 0.3, 0.7
    total, slopes = reference.field_objective(
        (*model, pairs), *data, "plain", FIELDS, TABLES["all"]
    )
    assert_allclose(total, reference.objective(model, *data))
    for one, other in zip(slopes, reference.gradient(model, *data), strict=False):
        assert_allclose(one, other, atol=1e-12)


# Predictions


@pytest.mark.pairwise
@pytest.mark.parametrize("index_type", [np.int32, np.int64])
@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("n_components", [0, 1, 3, 4, 9])
@each_table
@each_kind
@each_type
def test_outputs_match_the_twin(dtype, kind, table, n_components, n_outputs, index_type):
    rng = np.random.default_rng(0)
    X = make_rows(rng, 12).astype(dtype)
    model = random_model(rng, kind, n_outputs, n_components)
    rows = sparse.csr_matrix(X)
    rows = rows.indptr.astype(np.int64), rows.indices.astype(index_type), rows.data
    record = make_interactions(kind, table, n_components).record()
    parameters = as_parameters(model, kind, dtype)
    output = np.full((12, n_outputs), np.nan, dtype)
    compute_outputs(rows, parameters, record, 0, 12, output)
    expected = slow_outputs(model, X, kind, table, n_components)
    assert_allclose(output, expected, **tolerance_of(dtype))
    some = np.full((12, n_outputs), np.nan, dtype)
    compute_outputs(rows, parameters, record, 4, 9, some)
    assert_array_equal(np.isnan(some[:, 0]), ~np.isin(np.arange(12), np.arange(4, 9)))
    assert_array_equal(some[4:9], output[4:9])


@each_table
@each_kind
def test_layers_are_the_gradients_by_the_sums(kind, table):
    """The layers of NumPy: the outputs are half the products of sums and layers, which are linear
    in the sums."""
    rng = np.random.default_rng(0)
    interactions = make_interactions(kind, table, 3)
    n = interactions.n_components
    pairs = as_parameters(random_model(rng, kind, 1, 3), kind, np.float64).field_pairs[0]
    sums, other = rng.normal(size=(2, 5, 4, n))

    def products(sums):
        return np.einsum("ndf,ndf->n", sums, interactions.layers(sums, pairs)) / 2

    layers = interactions.layers(sums, pairs)
    expected = (products(sums + other) - products(sums - other)) / 2
    assert_allclose(np.einsum("ndf,ndf->n", other, layers), expected, atol=1e-12)
    factors = rng.normal(size=(FIELDS.size, n))
    X = make_rows(rng, 5)
    sums = np.stack([X[:, FIELDS == c] @ factors[FIELDS == c] for c in range(4)], axis=1)
    own = interactions.self_interactions(np.arange(FIELDS.size)) * factors**2
    found = products(sums) - X**2 @ own.sum(axis=1) / 2
    model = as_model(
        Parameters(np.zeros(1), np.zeros((1, 10)), factors[None], pairs[None]), kind, 3
    )
    assert_allclose(found, slow_outputs(model, X, kind, table, 3)[:, 0], atol=1e-12)


# Training


def make_training(
    kind, loss, n_outputs, *, table="all", n_components=3, values="general", weighted=False,
    dtype=np.float64, n_rows=30, alpha=0.0, has_linear=None, **settings,
):  # fmt: skip
    """A trainer of a problem, the reference's data for the scaled columns, and its start."""
    rng = np.random.default_rng(0)
    X, y = make_rows(rng, n_rows, values).astype(dtype), make_y(rng, loss, n_outputs, n_rows)
    weight = rng.uniform(0.5, 2, n_rows).astype(dtype) if weighted else np.empty(0, dtype)
    interactions = make_interactions(kind, table, n_components)
    if has_linear is not None:
        interactions = replace(interactions, has_linear=has_linear)
    penalties = Penalties(linear=alpha, factors=alpha)
    problem = make_problem(
        sparse.csr_matrix(X), np.asarray(y), weight, CODES[loss], penalties, interactions
    )
    model = random_model(rng, kind, n_outputs, n_components)
    stays = ~np.array([TABLES[table][pair] for pair in combinations(range(4), 2)])
    model[3][:, stays] = reference.plain_pairs(kind, n_outputs, 4, n_components)[:, stays]
    if has_linear is not None:
        model[1][:, ~has_linear] = 0
    options = {"solver": "sgd", "learning_rate": 1.0, "batch_size": n_rows, **settings}
    settings = replace(settings_for(loss, 1), **options)
    start = as_parameters(model, kind, dtype)
    optimizer = Optimizer(problem, start, settings)
    trainer = make_trainer(problem, optimizer, settings, np.random.RandomState(0))
    scaled = X.astype(float) / problem.scale
    weight = weight.astype(float) if weighted else None
    data = scaled, y, weight, loss, alpha, alpha, kind, FIELDS, TABLES[table]
    return trainer, data, model


@pytest.mark.around(
    loss="squared_error", table="all", n_components=3, values="general", weighted=False,
    dtype=np.float64,
)  # fmt: skip
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("values", ["general", "unit"])
@pytest.mark.parametrize("n_components", [*range(1, 10)])
@each_table
@pytest.mark.parametrize("loss, n_outputs", LOSSES)
@each_kind
@each_type
def test_a_batch_moves_along_the_gradient(
    dtype, kind, loss, n_outputs, table, n_components, values, weighted
):
    """SGD without penalties moves each parameter by its gradient, divided by the square root of
    the weight of its rows. Pairs of fields always have a penalty, and occur in all rows."""
    trainer, data, model = make_training(
        kind, loss, n_outputs, table=table, n_components=n_components, values=values,
        weighted=weighted, dtype=dtype,
    )  # fmt: skip
    expected = trainer.measure()[1]
    n = trainer.problem.total_weight
    total, slopes = reference.field_objective(model, *data)
    assert_allclose(expected, total / n, rtol=1e-9 if dtype == np.float64 else 1e-3)
    trainer.epoch()
    moved = as_model(trainer.parameters(), kind, n_components)
    weight = np.ones(30) if data[2] is None else data[2]
    of_features = np.sqrt(np.maximum(weight @ (data[0] != 0), 1))
    divisors = np.sqrt(n), of_features, of_features, np.sqrt(n)
    for before, after, slope, divisor in zip(model, moved, slopes, divisors, strict=True):
        if after.size:
            assert_allclose((before - after) * divisor, slope, **tolerance_of(dtype))


@each_kind
def test_linear_weights_of_some_fields_alone(kind):
    has_linear = FIELDS % 2 == 0
    trainer, data, model = make_training(kind, "squared_error", 1, has_linear=has_linear)
    _, slopes = reference.field_objective(model, *data)
    trainer.epoch()
    divisor = np.sqrt((data[0] != 0).sum(axis=0))
    moved = (model[1] - trainer.parameters().linear) * divisor
    assert_allclose(moved, slopes[1] * has_linear, rtol=1e-9, atol=1e-9)


@pytest.mark.around(solver="adagrad", loss="squared_error")
@pytest.mark.parametrize("loss, n_outputs", LOSSES[:3])
@pytest.mark.parametrize("solver", MINIBATCH_SOLVERS)
@pytest.mark.parametrize("kind", ["weighted", "matrixed"])
def test_parameters_of_pairs_follow_the_update_rule(kind, solver, loss, n_outputs):
    """Each is updated as an intercept is; here from the twin's gradients."""
    rate = 0.1
    trainer, data, model = make_training(
        kind, loss, n_outputs, solver=solver, learning_rate=rate, alpha=0.3
    )
    memory, pairs = {}, model[3].ravel()
    weight, nothing = np.full(pairs.size, trainer.problem.total_weight), np.zeros(pairs.size)
    for _ in range(3):
        now = as_model(trainer.parameters(), kind, 3)
        slope = reference.field_objective(now, *data)[1][3].ravel()
        trainer.optimizer.n_epochs = 0  # the learning rate does not decay here
        trainer.epoch()
        pairs = reference._MOVES[solver](pairs, slope, weight, nothing, nothing, memory, rate, 1.0)
        found = trainer.parameters().field_pairs.ravel()
        assert_allclose(found, pairs, rtol=1e-8, atol=1e-9)


@pytest.mark.around(loss="squared_error", dtype=np.float64)
@pytest.mark.parametrize("loss, n_outputs", LOSSES[:3])
@each_kind
@each_type
def test_any_number_of_threads_gives_the_same_bits(dtype, kind, loss, n_outputs, monkeypatch):
    monkeypatch.setattr(trainer_module, "ROWS_A_THREAD", 1)
    found = []
    for n_threads in (1, 2, 3):
        trainer, _, _ = make_training(
            kind, loss, n_outputs, table="some", dtype=dtype, solver="adagrad",
            learning_rate=0.1, batch_size=8, alpha=0.1, n_threads=n_threads, weighted=True,
        )  # fmt: skip
        assert trainer.n_threads == n_threads
        losses = [trainer.epoch() for _ in range(size(4, 2))]
        found.append((*trainer.parameters(), losses))
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            assert_array_equal(one, two)


@each_kind
def test_padding_stays_zero(kind):
    trainer, _, _ = make_training(kind, "squared_error", 1, n_components=3, solver="adagrad")
    trainer.epoch()
    factors = trainer.optimizer.state.factors
    n = trainer.problem.interactions.n_components
    assert factors.shape[3] % 4 == 0 and factors[:, :, 0, :n].all()
    assert not factors[..., n:].any()


@each_kind
def test_pairs_that_do_not_interact_keep_their_start(kind):
    trainer, _, model = make_training(kind, "squared_error", 1, table="some", solver="adagrad")
    trainer.epoch()
    if kind == "aware":  # vectors for other fields have no gradient
        before, after = model[2], as_model(trainer.parameters(), kind, 3)[2]
        stays = ~TABLES["some"][:, FIELDS][None, :, None] & np.ones(before.shape, bool)
    else:
        before, after = model[3], trainer.parameters().field_pairs
        counts = [TABLES["some"][a, b] for a, b in combinations(range(4), 2)]
        stays = ~np.array(counts)[None, :, None] & np.ones(before.shape, bool)
    assert_array_equal(after[stays], before[stays])
    moves = after[~stays] != before[~stays]
    assert moves.mean() > 0.9  # not the vector for its own field of a feature that is alone there
