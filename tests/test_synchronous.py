"""Synchronous mini-batches of partitions, in one process: the cluster is a list of partitions."""

import copy
import pickle
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import reference
from builders import (
    CODES,
    MINIBATCH_SOLVERS,
    make_X,
    make_y,
    quietly,
    random_parameters,
    settings_for,
)
from helpers import in_full
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.metrics import log_loss, mean_squared_error
from test_fit_stream import FIELDS, labels_of, make_clicks

from skfm import FMClassifier, FMRegressor
from skfm._fm import partitioned_rows
from skfm._solvers.fm import streamed
from skfm._solvers.fm.interactions import all_pairs
from skfm._solvers.fm.minibatch import make_trainer
from skfm._solvers.fm.optimizer import Optimizer
from skfm._solvers.fm.parameters import Parameters
from skfm._solvers.fm.penalties import Penalties
from skfm._solvers.fm.streamed import Block, make_streamed_problem
from skfm._solvers.fm.synchronous import (
    Gradients,
    Partition,
    PartitionedRows,
    Work,
    add_gradients,
)
from skfm._solvers.partitions import Partitions, States, add, fold
from skfm._utils import checkpoint

ALPHA, ALPHA_LINEAR, FLOOR, RATE = 0.3, 0.5, 0.8, 0.02
LASSO = 0.3, 0.2
KINDS = [("squared_error", 1), ("log_loss", 1), ("softmax", 3)]
MORE_KINDS = [("huber", 1), ("poisson", 1), ("squared_hinge", 3)]
UNEVEN = [0, 11, 11, 14, 30]  # the second partition is empty


class Elsewhere(Partitions):
    """Partitions whose functions see copies, run in any order, and some of them twice."""

    def __init__(self, parts, seed=0):
        super().__init__(parts)
        self.rng = np.random.default_rng(seed)

    def map(self, function, *shared):
        return call_elsewhere(self.rng, function, [(part,) for part in self.parts], shared)

    def sum(self, function, *shared, add=add):
        return fold(self.map(function, *shared).__getitem__, add, 0, len(self))

    def convert(self, function, *shared):
        return Elsewhere(self.map(function, *shared), self.rng.integers(100))

    def states(self):
        states = StatesElsewhere(self.parts)
        states.rng = self.rng
        return states


class StatesElsewhere(States):
    def map(self, function, *shared):
        pairs = list(zip(self.parts, self.values, strict=True))
        return call_elsewhere(self.rng, function, pairs, shared)

    def sum(self, function, *shared, add=add):
        return fold(self.map(function, *shared).__getitem__, add, 0, len(self.parts))


def call_elsewhere(rng, function, arguments, shared):
    results = [None] * len(arguments)
    for number in rng.permutation(len(arguments)):
        for _ in range(rng.integers(1, 3)):
            own, common = copy.deepcopy((arguments[number], shared))
            results[number] = function(*own, *common)
    return results


def cut(bounds, *arrays):
    """Partitions of rows."""
    return [
        tuple(None if array is None else array[a:b] for array in arrays)
        for a, b in pairwise(bounds)
    ]


def fit(model, X, y, weight=None, *, bounds, place=Partitions, checkpoint=None):
    return fit_parts(model, place(cut(bounds, X, y, weight)), checkpoint)


def fit_parts(model, parts, checkpoint=None):
    def load():
        return partitioned_rows.Partitions(parts, model)

    return quietly(model._fit_partitions, load, checkpoint)


def assert_same(a, b):
    for name, value in vars(a).items():
        if isinstance(value, (np.ndarray, float, list, int)) and name.endswith("_"):
            assert_array_equal(value, getattr(b, name), err_msg=name)


# --- the solver --------------------------------------------------------------------------------


def rows_of_steps(trainer, seed):
    """The rows of each step of an epoch, numbered through all partitions."""
    steps = [[] for _ in range(trainer.n_batches)]
    first = 0
    for partition in trainer._states.values:
        for step, (number, batch) in partition._schedule(seed).items():
            rows, _ = partition.planner.rows(number)
            start = partition.planner.window(number).rows.start
            steps[step].append(first + rows[start[batch] : start[batch + 1]])
        first += partition.problem.n_rows
    return [np.concatenate(rows) for rows in steps if rows]


def assert_matches_the_twin(
    update, kind, n_outputs, bounds, dtype=np.float64, lasso=(0.0, 0.0), weighted=True, **options
):
    rng = np.random.default_rng(0)
    X, y = make_X(rng, 30, 9), make_y(rng, kind, n_outputs, 30)
    weight = rng.uniform(0.1, 3, size=30) if weighted else None
    given = np.ones(30) if weight is None else weight
    blocks = [
        Block(sparse.csr_matrix(x.astype(dtype)), t.astype(dtype), w.astype(dtype))
        for x, t, w in cut(bounds, X, np.asarray(y), given if weighted else given[:0])
    ]
    sizes = np.diff(bounds)
    entries = np.array([block.X.nnz for block in blocks])
    rows = PartitionedRows(Partitions(blocks), 9, np.dtype(dtype), sizes, entries)
    penalties = Penalties(
        linear=ALPHA_LINEAR, factors=ALPHA, linear_lasso=lasso[0], factor_lasso=lasso[1]
    )
    problem, sample = make_streamed_problem(rows, CODES[kind], penalties, all_pairs(9, 3))
    settings = replace(
        settings_for(kind, 1, **options),
        solver=update, learning_rate=RATE, initial_accumulator=FLOOR, batch_size=8,
    )  # fmt: skip
    parameters = random_parameters(rng, n_outputs, 3, 9)
    start = Parameters(
        parameters[0],
        parameters[1][:, problem.used].astype(dtype),
        np.swapaxes(parameters[2][:, :, problem.used], 1, 2).astype(dtype),
    )
    optimizer = Optimizer(problem, start, settings)
    trainer = make_trainer(problem, optimizer, settings, np.random.RandomState(3), sample)
    memory, tolerance = None, {"rtol": 1e-9, "atol": 1e-10}
    if dtype == np.float32:
        tolerance = {"rtol": 2e-3, "atol": 2e-4}
    for number in range(2):
        seed = copy.deepcopy(trainer.rng).randint(2**31 - 1)
        batches = rows_of_steps(trainer, seed)
        assert_array_equal(np.sort(np.concatenate(batches)), np.arange(30))
        rate = RATE / np.sqrt(1 + number / 10) if update in ("adam", "sgd") else RATE
        parameters, memory, expected = reference.epoch(
            update, parameters, memory, batches, X, y, weight, kind, ALPHA, ALPHA_LINEAR, rate,
            FLOOR, settings.fit_intercept, settings.fit_linear, lasso,
        )  # fmt: skip
        assert_allclose(trainer.epoch() * problem.total_weight, expected, **tolerance)
    found = trainer.parameters()
    assert_allclose(found.intercept, parameters[0], **tolerance)
    assert_allclose(found.linear, parameters[1][:, problem.used], **tolerance)
    factors = np.swapaxes(found.factors, 1, 2)
    assert_allclose(factors, parameters[2][:, :, problem.used], **tolerance)
    loss, objective = trainer.measure()
    scaled = X / reference.feature_scale(X, given)
    total = given @ reference.losses(kind, reference.raw_output(parameters, scaled), y)
    assert_allclose(loss * problem.total_weight, total, **tolerance)
    assert objective > loss


@pytest.mark.around(update="adagrad", kind="squared_error", bounds=UNEVEN)
@pytest.mark.parametrize("bounds", [UNEVEN, [0, 30], [0, 10, 20, 30], list(range(0, 31, 2))])
@pytest.mark.parametrize("kind, n_outputs", KINDS)
@pytest.mark.parametrize("update", MINIBATCH_SOLVERS)
def test_a_step_is_that_of_a_large_mini_batch(update, kind, n_outputs, bounds):
    assert_matches_the_twin(update, kind, n_outputs, bounds)


@pytest.mark.parametrize("kind, n_outputs", MORE_KINDS)
def test_other_losses_match_the_twin(kind, n_outputs):
    assert_matches_the_twin("adagrad", kind, n_outputs, UNEVEN)


@pytest.mark.parametrize("options", [{"fit_linear": False}, {"fit_intercept": False}])
@pytest.mark.parametrize("update", ["adagrad", *in_full("adam", "ftrl", "sgd")])
def test_parts_that_are_not_fitted_stay(update, options):
    assert_matches_the_twin(update, "squared_error", 1, UNEVEN, weighted=False, **options)


@pytest.mark.full
@pytest.mark.parametrize("update", MINIBATCH_SOLVERS)
def test_float32_matches_the_twin(update):
    assert_matches_the_twin(update, "log_loss", 1, UNEVEN, np.float32)


@pytest.mark.full
def test_ftrl_with_lasso_matches_the_twin():
    assert_matches_the_twin("ftrl", "squared_error", 1, UNEVEN, lasso=LASSO)


def make_partition(n_rows, n_batches):
    X, raw = make_clicks(max(n_rows, 1), dtype=np.float64)
    block = Block(X[:n_rows], raw[:n_rows], raw[:0])
    rows = PartitionedRows(
        Partitions([Block(X, raw, raw[:0])]), X.shape[1], X.dtype,
        np.array([X.shape[0]]), np.array([X.nnz]),
    )  # fmt: skip
    penalties = Penalties(linear=1.0, factors=1.0, linear_lasso=0.0, factor_lasso=0.0)
    interactions = all_pairs(X.shape[1], 2)
    problem, _ = make_streamed_problem(rows, CODES["squared_error"], penalties, interactions)
    work = Work(None, 6, 3, True, True, n_batches)
    return Partition(block, problem, work)


@pytest.mark.parametrize("n_rows", [0, 1, 7, 60, 99, 100, 101, 150, 1000])
def test_each_row_is_in_one_step_of_an_epoch(n_rows):
    partition = make_partition(n_rows, 100)
    schedule = partition._schedule(5)
    assert len(set(schedule.values())) == len(schedule)
    assert all(0 <= step < 100 for step in schedule)
    assert len(schedule) == (partition.planner.n_batches if n_rows else 0)
    assert len(schedule) >= min(n_rows, 100) * 0.45  # no needlessly large mini-batches
    if len(schedule) > 1:  # spread over the whole epoch
        gaps = np.diff(sorted(schedule))
        assert gaps.max() - gaps.min() <= 1
        assert schedule != partition._draw_schedule(6)
    assert partition.features(5, 100).size == 0
    again = pickle.loads(pickle.dumps(partition))
    assert again._schedule(5) == schedule


def test_gradients_are_added_by_feature():
    def part(features, values):
        values = np.array(values, dtype=np.float32)
        return dict(
            features=np.array(features, dtype=np.uint32),
            intercept=values[:1],
            linear=values[None],
            factors=values[None, :, None],
            field_pairs=np.zeros((1, 0, 0)),
            feature_weight=values,
            weight=float(len(values)),
            loss=1.0,
        )

    first, second = Gradients(**part([1, 5], [2, 1])), Gradients(**part([0, 5], [4, 8]))
    total = add_gradients(first, second)
    assert add_gradients(None, first) is add_gradients(first, None) is first
    assert add_gradients(None, None) is None
    assert total.features.tolist() == [0, 1, 5]
    assert total.features.dtype == np.uint32
    assert total.linear.tolist() == [[4, 2, 9]]
    assert total.factors[0, :, 0].tolist() == [4, 2, 9]
    assert (total.weight, total.loss) == (4.0, 2.0)


# --- estimators --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bounds", [[0, 100, 100, 101, 400], *in_full([0, 400], np.linspace(0, 400, 17).astype(int))]
)
def test_the_bits_do_not_depend_on_where_tasks_run(bounds):
    X, raw = make_clicks(400)
    y = labels_of(raw, np.random.default_rng(0))
    options = {"max_iter": 3, "random_state": 0, "batch_size": 64}
    here = fit(FMClassifier(3, **options), X, y, bounds=bounds)
    for seed in range(2):
        there = FMClassifier(3, **options)
        assert_same(here, fit(there, X, y, bounds=bounds, place=partial(Elsewhere, seed=seed)))


@pytest.mark.full
@pytest.mark.parametrize("bounds", [[0, 40_000], [0, 7000, 7000, 40_000], 16])
def test_the_loss_is_that_of_one_machine(bounds):
    X, raw = make_clicks(60_000)
    y = labels_of(raw, np.random.default_rng(0))
    if bounds == 16:
        bounds = np.linspace(0, 40_000, 17).astype(int)
    train, held_out = slice(0, 40_000), slice(40_000, None)
    options = {"max_iter": 15, "tol": 0, "alpha": 1.0, "batch_size": 512, "random_state": 0}
    one = quietly(FMClassifier(4, **options).fit, X[train], y[train])
    many = fit(FMClassifier(4, **options), X[train], y[train], bounds=bounds)
    losses = [log_loss(y[held_out], m.predict_proba(X[held_out])) for m in (one, many)]
    assert_allclose(*losses, rtol=0.002)


@pytest.mark.full
@pytest.mark.parametrize(
    "options",
    [
        {"degree": 3},
        {"field_interactions": "weighted", "feature_fields": FIELDS},
        {"field_interactions": "matrixed", "feature_fields": FIELDS},
        {"field_interactions": "aware", "feature_fields": FIELDS},
        {"interactions": [("a", "b")], "feature_fields": np.where(FIELDS < 3, "a", "b")},
        {"alpha": "auto", "alpha_linear": "auto"},
        {"loss": "huber"},
        {"loss": "quantile"},
        {"solver": "adam"},
        {"solver": "ftrl", "alpha": 0.5},
        {"solver": "sgd"},
        {"dense": True},
    ],
    ids=lambda options: "-".join(map(str, next(iter(options.items())))),
)
def test_all_models_reach_the_objective_of_one_machine(options):
    options = dict(options)
    X, raw = make_clicks(5000, dtype=np.float64, n_dense=3 * options.pop("dense", False))
    rng = np.random.default_rng(0)
    y, weight = raw + rng.normal(size=5000) / 2, rng.random(5000) + 0.2
    options = {"max_iter": 25, "tol": 0, "batch_size": 256, "random_state": 0} | options
    one = quietly(FMRegressor(3, **options).fit, X, y, weight)
    many = fit(FMRegressor(3, **options), X, y, weight, bounds=[0, 500, 500, 2000, 5000])
    assert_allclose(many.loss_curve_[-1], one.loss_curve_[-1], rtol=0.03)
    errors = [mean_squared_error(y, m.predict(X), sample_weight=weight) for m in (one, many)]
    assert_allclose(*errors, rtol=0.05)


@pytest.mark.parametrize("loss", ["log_loss", "squared_hinge"])
def test_labels_weights_and_class_weights(loss):
    X, raw = make_clicks(3000, dtype=np.float64)
    y = np.array(["low", "middle", "high"])[np.digitize(raw, [-1, 1])]
    weight = np.random.default_rng(0).random(3000) * 2
    weight[:400] = 0
    options = {"loss": loss, "class_weight": "balanced", "max_iter": 12, "random_state": 0}
    options |= {"batch_size": 256, "tol": 0}
    one = quietly(FMClassifier(3, **options).fit, X, y, weight)
    bounds = [0, 300, 900, 900, 3000]  # all weights of the first partition are 0
    many = fit(FMClassifier(3, **options), X, y, weight, bounds=bounds)
    assert many.classes_.tolist() == ["high", "low", "middle"]
    assert_allclose(many.loss_curve_[0], one.loss_curve_[0], rtol=0.05)
    assert_allclose(many.loss_curve_[-1], one.loss_curve_[-1], rtol=0.05)
    assert many.score(X, y) > 0.6


def test_a_small_sample_of_the_rows_is_enough(monkeypatch):
    monkeypatch.setattr(streamed, "SAMPLE_ENTRIES", 5000)
    X, raw = make_clicks(4000, n_dense=2)
    options = {"max_iter": 10, "random_state": 0, "alpha": "auto", "batch_size": 256}
    one = quietly(FMRegressor(3, **options).fit, X, raw)
    many = fit(FMRegressor(3, **options), X, raw, bounds=[0, 1000, 1500, 4000])
    assert_allclose(many.loss_curve_[-1], one.loss_curve_[-1], rtol=0.2)


def test_the_result_is_an_ordinary_estimator():
    X, raw = make_clicks(600)
    model = fit(FMRegressor(3, max_iter=3, random_state=0), X, raw, bounds=[0, 200, 600])
    again = pickle.loads(pickle.dumps(model))
    assert_array_equal(again.predict(X), model.predict(X))
    again.partial_fit(X, raw)
    assert again.n_iter_ == model.n_iter_ + 1
    model.set_params(warm_start=True)
    before = model.loss_curve_[-1]
    fit(model, X, raw, bounds=[0, 200, 600])
    assert model.loss_curve_[0] < before


def test_names_and_fields_come_from_the_partitions():
    import pandas as pd

    X = pd.DataFrame(np.random.default_rng(0).random((40, 3)), columns=["a", "b", "c"])
    y = X["a"].to_numpy()
    model = fit(FMRegressor(2, max_iter=2), X, y, bounds=[0, 10, 10, 40])
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    model.predict(X)


def test_a_callback_stops_and_sees_a_fitted_model():
    X, raw = make_clicks(600)
    seen = []

    def callback(model, epoch, loss):
        seen.append(model.predict(X[:1]).item())
        return epoch == 2

    model = FMRegressor(3, max_iter=9, random_state=0, callback=callback)
    fit(model, X, raw, bounds=[0, 200, 600], place=Elsewhere)
    assert model.n_iter_ == len(set(seen)) == 2


def test_a_fit_continues_from_its_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "TRAINING_PER_WRITING", 0)  # written after each epoch
    X, raw = make_clicks(600)
    bounds, options = [0, 200, 600], {"max_iter": 5, "random_state": 0, "batch_size": 64}
    whole = fit(FMRegressor(3, **options), X, raw, bounds=bounds)

    def fail(model, epoch, loss):
        if epoch == 3:
            raise KeyboardInterrupt

    model = FMRegressor(3, callback=fail, **options)
    path = tmp_path / "checkpoint"
    with pytest.raises(KeyboardInterrupt):
        fit(model, X, raw, bounds=bounds, checkpoint=path)
    assert not hasattr(model, "coef_")
    epochs = []
    model = FMRegressor(3, callback=lambda _, epoch, loss: epochs.append(epoch), **options)
    assert_same(whole, fit(model, X, raw, bounds=bounds, checkpoint=path))
    assert epochs[-1] == 5 and len(epochs) < 5
    other = FMRegressor(3, **options)
    with pytest.raises(ValueError, match="checkpoint of another fit: rows differs"):
        fit(other, X, raw, bounds=[0, 300, 600], checkpoint=path)


X_SMALL = np.random.default_rng(0).random((8, 2))


@pytest.mark.parametrize(
    "options, parts, message",
    [
        ({"solver": "als"}, [(X_SMALL, np.ones(8), None)], "als' requires all rows"),
        ({"early_stopping": True}, [(X_SMALL, np.ones(8), None)], "early_stopping=True is not"),
        ({}, [(X_SMALL[:0], np.ones(0), None)], "no row of positive weight in any"),
        ({}, [(X_SMALL, np.ones(8), np.zeros(8))], "no row of positive weight in any"),
        ({}, [(X_SMALL, np.ones(8), None), (X_SMALL[:, :1], np.ones(8), None)], "Partition 1 has"),
        ({}, [(X_SMALL, np.array(list("abababab")), None)], "y must contain numbers"),
        ({"loss": "poisson"}, [(X_SMALL, np.zeros(8), None)], "at least one positive count"),
    ],
)
def test_bad_input_leaves_the_estimator_unfitted(options, parts, message):
    model = FMRegressor(2, **options)
    before = dict(vars(model))
    with pytest.raises(ValueError, match=message):
        fit_parts(model, Partitions(parts))
    assert vars(model) == before
