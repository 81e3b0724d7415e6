"""Products of some features: pairs of fields, higher degrees, and who has linear weights."""

import pickle
from dataclasses import replace
from functools import cache
from itertools import combinations, pairwise

import numpy as np
import pytest
import reference
from builders import (
    CODES,
    KEY,
    LIMIT,
    MINIBATCH_SOLVERS,
    NARROW,
    RATES,
    assert_same,
    draw_from_prior,
    expected_of,
    make_X,
    make_y,
    p_value,
    parameters_of,
    quietly,
    random_parameters,
    raw,
    settings_for,
    too_slow,
)
from helpers import JIT, from_python, in_full, size
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse, stats
from sklearn.base import clone
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV

from skfm import BayesianFMClassifier, BayesianFMRegressor, FMClassifier, FMRegressor
from skfm._fm import outputs, posterior
from skfm._kernels import interactions as kernels
from skfm._kernels import losses, structs
from skfm._kernels.interactions import predict_general
from skfm._kernels.predict import predict
from skfm._solvers.fm import coordinate_descent, gibbs, minibatch, relation_blocks, trainer
from skfm._solvers.fm import sweeps as passes
from skfm._solvers.fm.interactions import Interactions, all_pairs
from skfm._solvers.fm.parameters import Parameters
from skfm._solvers.fm.penalties import Penalties
from skfm._solvers.fm.problem import make_problem

add_feature, differentiate_output, update_layers = map(
    from_python, (kernels.add_feature, kernels.differentiate_output, kernels.update_layers)
)
SOLVERS = ["adagrad", "als", *in_full(*MINIBATCH_SOLVERS[1:])]  # each compiles for itself
BAYESIAN = [BayesianFMRegressor, BayesianFMClassifier]
FIELDS = np.repeat(["a", "b", "c"], 2)  # of six columns
TERMS = {
    "all pairs of one field": {"interactions": [("b", "b")]},
    "two fields": {"interactions": [("b", "a")]},
    "and within one": {"interactions": [("a", "a"), ("a", "b"), ("c", "b")]},
    "two fields of a class": {"interactions": [("a", "b"), ["c", "a"]]},
    "no pairs": {"interactions": []},
    "two fields, one linear": {"interactions": [("a", "b")], "fit_linear": ["b"]},
    "all pairs, some linear": {"fit_linear": ["a", "c"]},
    "within a field, none linear": {"interactions": [("c", "c"), ("a", "b")], "fit_linear": False},
    "degree 3": {"degree": 3},
    "degree 3 alone": {"degree": 3, "fit_lower": False},
    "degree 3, one linear": {"degree": 3, "fit_linear": ["b"]},
    "degree 4 alone, none linear": {"degree": 4, "fit_lower": False, "fit_linear": False},
    "degree 5": {"degree": 5},
}


def terms_of(model):
    """What the parameters ask for, as the reference takes it: allowed pairs, degrees, linear."""
    fields = np.asarray(model.feature_fields)
    allowed = np.ones((fields.size, fields.size), dtype=bool)
    if model.interactions is not None:
        pairs = {frozenset(pair) for pair in model.interactions}
        allowed = np.array([[frozenset((a, b)) in pairs for b in fields] for a in fields])
    degrees = range(2, model.degree + 1) if model.fit_lower else [model.degree]
    linear = model.fit_linear
    has_linear = np.full(fields.size, linear) if isinstance(linear, bool) else None
    if has_linear is None:
        has_linear = np.array([field in linear for field in fields])
    return allowed, np.repeat(degrees, model.n_components), has_linear


def make(n_classes=0, n_rows=None, *, terms="degree 3", dtype=np.float64, seed=0):
    """Rows of six numbers, some of them 0, and targets of a planted model with these terms."""
    rng = np.random.default_rng(seed)
    n_rows = n_rows or size(120, 40)
    X = rng.normal(size=(n_rows, 6)) * (rng.random((n_rows, 6)) < 0.9)
    X[3] = 0
    X[4, 1:] = 0
    allowed, degrees, has_linear = terms_of(FMRegressor(2, feature_fields=FIELDS, **TERMS[terms]))
    Z = np.stack(
        [
            reference.product_output(
                *(0.0, rng.normal(size=6) / 3 * has_linear, rng.normal(size=(degrees.size, 6))),
                *(X, allowed, degrees),
            )
            for _ in range(n_classes if n_classes > 2 else 1)
        ],
        axis=1,
    )
    Z = (Z - Z.mean(axis=0)) / Z.std(axis=0)
    if n_classes == 0:
        y = 5 + 2 * (Z[:, 0] + rng.normal(size=n_rows) / 3)
    elif n_classes == 2:
        y = (3 * Z[:, 0] + rng.logistic(size=n_rows) / 2 > 0).astype(int)
    else:
        y = (3 * Z + rng.gumbel(size=Z.shape) / 2).argmax(axis=1)
    return X.astype(dtype), y.astype(dtype if n_classes == 0 else int)


def model_for(n_classes, **parameters):
    parameters = {"random_state": 0, "feature_fields": FIELDS, **parameters}
    return FMClassifier(**parameters) if n_classes else FMRegressor(**parameters)


def twin(model, X):
    """The raw outputs that a fitted model should have, (n_rows, n_outputs)."""
    allowed, degrees, _ = terms_of(model)
    outputs = [
        reference.product_output(*own, X, allowed, degrees)
        for own in zip(*parameters_of(model), strict=True)
    ]
    return np.stack(outputs, axis=1)


def standardize(y, weight=None):
    """Targets of mean 0 and variance 1, their mean before and their unit."""
    mean = np.average(y, weights=weight)
    unit = np.sqrt(np.average((y - mean) ** 2, weights=weight))
    return (y - mean) / unit, mean, unit


def as_reference(model, X, y, weight=None):
    """Fitted parameters, and the data that the objective is stated for."""
    intercept, coef, components = parameters_of(model)
    terms, kind = terms_of(model), "log_loss" if intercept.size == 1 else "softmax"
    if isinstance(model, FMRegressor):
        y, mean, unit = standardize(y, weight)
        intercept, coef = (intercept - mean) / unit, coef / unit
        components, kind = components / unit ** (1 / terms[1][:, None]), "squared_error"
    data = X, y, weight, kind, model.alpha, model.alpha_linear, *terms
    return (intercept, coef, components), data


def objective(model, X, y, weight=None):
    """What the docstrings say is minimized, at the fitted parameters."""
    parameters, data = as_reference(model, X, y, weight)
    return reference.product_objective(parameters, *data)[0]


# The twin itself


def random_masks(seed):
    """Symmetric tables of allowed pairs."""
    allowed = np.random.default_rng(seed).random((6, 6)) < 0.5
    return allowed | allowed.T


def test_twins_agree_on_all_pairs():
    rng = np.random.default_rng(0)
    X = make_X(rng, 10, 6)
    intercept, coef, components = (part[0] for part in random_parameters(rng, 1, 3, 6))
    all_of_them = np.ones((6, 6), bool), np.full(3, 2)
    found = reference.product_output(intercept, coef, components, X, *all_of_them)
    assert_allclose(found, reference.predict(intercept, coef, components, X))
    parameters = random_parameters(rng, 2, 3, 6)
    y = rng.integers(2, size=10)
    data = X, y, rng.uniform(0.5, 2, size=10), "softmax", 0.3, 0.7
    total, slopes = reference.product_objective(parameters, *data, *all_of_them, np.ones(6, bool))
    assert_allclose(total, reference.objective(parameters, *data))
    for one, other in zip(slopes, reference.gradient(parameters, *data), strict=True):
        assert_allclose(one, other, atol=1e-12)


@pytest.mark.parametrize("degrees", [(2, 2), (3,), (2, 3, 3, 4)])
def test_the_objective_is_that_of_the_outputs_and_has_its_slopes(degrees):
    rng = np.random.default_rng(0)
    X, y = make_X(rng, 10, 6), rng.normal(size=10)
    allowed, degrees, has_linear = random_masks(1), np.array(degrees), np.arange(6) % 3 > 0
    intercept, coef, components = random_parameters(rng, 1, degrees.size, 6)
    coef = coef * has_linear
    data = X, y, None, "squared_error", 0.3, 0.7, allowed, degrees, has_linear
    Z = reference.product_output(intercept[0], coef[0], components[0], X, allowed, degrees)
    squares = (components[0] ** 2).sum(axis=0)
    penalty = 0.7 * (coef**2).sum() + 0.3 * np.sqrt((X != 0).sum(axis=0)) @ squares
    vector = reference.flatten((intercept, coef, components))

    def value(vector):
        parameters = reference.unflatten(vector, 1, degrees.size, 6)
        return reference.product_objective(parameters, *data)

    total, slopes = value(vector)
    assert_allclose(total, ((Z - y) ** 2 / 2).sum() + penalty / 2)
    steps = 1e-5 * np.eye(vector.size)
    numeric = [(value(vector + s)[0] - value(vector - s)[0]) / 2e-5 for s in steps]
    assert_allclose(reference.flatten(slopes), numeric, rtol=1e-6, atol=1e-6)


def test_a_product_by_hand():
    """Of 2, 3 and 5, all with factors 1: pairs, three at once, and one pair that is left out."""
    X, ones = [[2.0, 3.0, 5.0]], np.ones((1, 3))
    everyone = np.ones((3, 3), bool)
    assert reference.product_output(1, np.zeros(3), ones, X, everyone, [2]) == [1 + 31]
    assert reference.product_output(0, np.ones(3), ones, X, everyone, [3]) == [10 + 30]
    but_one = everyone.copy()
    but_one[0, 1] = but_one[1, 0] = False
    assert reference.product_output(0, np.zeros(3), ones, X, but_one, [2]) == [25]


# Kernels

N_FEATURES = 9  # in three classes, which are in no order
CLASSES = np.array([0, 2, 1, 1, 0, 2, 0, 1, 2], dtype=np.uint8)
TABLES = {
    "nothing": [[0]],
    "two classes": [[0, 1], [1, 0]],
    "and within one": [[1, 1], [1, 0]],
    "within both": [[1, 0], [0, 1]],
    "all, in two classes": [[1, 1], [1, 1]],
    "one without partners": [[0, 1, 0], [1, 1, 0], [0, 0, 0]],
    "three": [[0, 1, 1], [1, 1, 0], [1, 0, 0]],
}
DEGREES = {
    "degree 2": (2, 2, 2),
    "degree 3": (2, 2, 3, 3),
    "degree 3 alone": (3, 3),
    "degree 4": (2, 3, 4),
    "degree 4 alone": (4, 4),
    "degree 5": (2, 3, 4, 5),
    "degree 5 alone": (5, 5, 5),
    "unequal numbers, and a gap": (2, 3, 3, 3, 5),
}


def by_hand(name, n_components=3):
    """A kernel's record for one of these names, and the twin's allowed pairs and degrees."""
    if name in TABLES:
        partners = np.array(TABLES[name], dtype=bool)
        interaction_group = np.minimum(CLASSES, len(partners) - 1)
        begin = np.zeros(len(partners) + 1, np.int64)
        record = structs.Interactions(
            len(partners), interaction_group, partners, begin, np.ones(N_FEATURES, bool)
        )
        return record, partners[interaction_group][:, interaction_group], np.full(n_components, 2)
    degrees = np.array(DEGREES[name])
    n_layers = degrees.max() - 1
    begin = np.array([(degrees < degree).sum() for degree in range(2, n_layers + 3)])
    record = structs.Interactions(
        n_layers, CLASSES * 0, np.zeros((0, 0), bool), begin, np.ones(N_FEATURES, bool)
    )
    return record, np.ones((N_FEATURES, N_FEATURES), bool), degrees


def products_of(P, allowed, degrees):
    """The products of a row whose features have these vectors ``p``, one below the other."""
    nothing = 0.0, np.zeros(len(P)), P.astype(np.float64).T, np.ones((1, len(P)))
    return reference.product_output(*nothing, allowed, degrees)[0]


def layers_of(record, P, order=range(N_FEATURES)):
    """A row's layers and products after its features have entered in this order."""
    layers, total = np.zeros((record.n_layers, P.shape[1]), P.dtype), P.dtype.type(0)
    for j in order:
        total += P.dtype.type(add_feature(record, j, P[j], layers))
    return layers, total


def vectors(degrees, dtype):
    rng = np.random.default_rng(0)
    return rng.normal(size=(N_FEATURES, degrees.size)).astype(dtype)


def tolerance_of(dtype):
    return {"rtol": 1e-10, "atol": 1e-10} if dtype == np.float64 else {"rtol": 1e-3, "atol": 1e-3}


each_kind = pytest.mark.parametrize("name", [*TABLES, *DEGREES])
each_type = pytest.mark.parametrize("dtype", [np.float64, np.float32])


@each_kind
@each_type
def test_features_enter_in_any_order(dtype, name):
    record, allowed, degrees = by_hand(name)
    P = vectors(degrees, dtype)
    layers, total = layers_of(record, P)
    assert_allclose(total, products_of(P, allowed, degrees), **tolerance_of(dtype))
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(N_FEATURES)
        other_layers, other = layers_of(record, P, order)
        assert_allclose(other, total, **tolerance_of(dtype))
        assert_allclose(other_layers, layers, **tolerance_of(dtype))
        some = order[:4]
        P_of_some = np.where(np.isin(np.arange(N_FEATURES), some)[:, None], P, 0)
        _, few = layers_of(record, P, some)
        assert_allclose(few, products_of(P_of_some, allowed, degrees), **tolerance_of(dtype))


@each_kind
@each_type
def test_slopes_are_the_differences(dtype, name):
    """The products are linear in each ``p``: differences are exact, whatever the step."""
    record, allowed, degrees = by_hand(name)
    P = vectors(degrees, dtype)
    layers, _ = layers_of(record, P)
    before = products_of(P, allowed, degrees)
    for j in range(N_FEATURES):
        expected = np.empty(degrees.size)
        for f in range(degrees.size):
            moved = P.astype(np.float64)
            moved[j, f] += 2
            expected[f] = (products_of(moved, allowed, degrees) - before) / 2
        slope = np.full(degrees.size, np.nan, dtype)
        differentiate_output(record, j, P[j], dtype(1), layers, 0, degrees.size, slope)
        assert_allclose(slope, expected, **tolerance_of(dtype))
        # Of some coordinates alone, and of layers that have been multiplied.
        for first, last in combinations(range(degrees.size + 1), 2):
            part = np.full(degrees.size, np.nan, dtype)
            differentiate_output(record, j, P[j], dtype(-3), dtype(-3) * layers, first, last, part)
            asked = slice(first, last)
            assert_allclose(part[asked], -3 * expected[asked], **tolerance_of(dtype))
            assert np.isnan(np.delete(part, np.arange(first, last))).all()


@each_kind
@each_type
def test_layers_move_as_if_features_entered_anew(dtype, name):
    record, _, degrees = by_hand(name)
    P = vectors(degrees, dtype)
    step = np.random.default_rng(1).normal(size=degrees.size).astype(dtype)
    for j in range(N_FEATURES):
        for first, last in combinations(range(degrees.size + 1), 2):
            layers, _ = layers_of(record, P)
            room = np.full(degrees.size, np.nan, dtype)
            before = P[j].copy()
            update_layers(record, j, P[j], step, layers, first, last, room)
            assert_array_equal(P[j], before)
            moved = P.copy()
            moved[j, first:last] += step[first:last]
            assert_allclose(layers, layers_of(record, moved)[0], **tolerance_of(dtype))


def decide_rows(X, parameters, record, index_type, bounds=None):
    """Raw outputs of rows, computed by the kernel; NaN where it was not asked."""
    intercept, coef, components = parameters
    X = sparse.csr_matrix(X)
    start, stop = bounds or (0, X.shape[0])
    factors = np.ascontiguousarray(np.swapaxes(components, 1, 2)).astype(X.dtype)
    output = np.full((X.shape[0], intercept.size), np.nan, X.dtype)
    rows = X.indptr.astype(np.int64), X.indices.astype(index_type), X.data
    parameters = intercept, coef.astype(X.dtype), factors
    if record is None:
        predict(*rows, *parameters, start, stop, output)
    else:
        predict_general(*rows, parameters, record, start, stop, output)
    return output


@pytest.mark.pairwise
@pytest.mark.parametrize("index_type", [np.int32, np.int64])
@pytest.mark.parametrize("n_outputs", [1, 3])
@each_kind
@each_type
def test_decisions_match_the_twin(dtype, name, n_outputs, index_type):
    record, allowed, degrees = by_hand(name)
    rng = np.random.default_rng(0)
    X = make_X(rng, 12, N_FEATURES).astype(dtype)
    assert not X[6].any()
    parameters = random_parameters(rng, n_outputs, degrees.size, N_FEATURES)
    output = decide_rows(X, parameters, record, index_type)
    expected = [
        reference.product_output(*own, X, allowed, degrees)
        for own in zip(*parameters, strict=True)
    ]
    assert_allclose(output, np.transpose(expected), **tolerance_of(dtype))
    some = decide_rows(X, parameters, record, index_type, (4, 9))
    assert_array_equal(np.isnan(some[:, 0]), ~np.isin(np.arange(12), np.arange(4, 9)))
    assert_array_equal(some[4:9], output[4:9])


@pytest.mark.parametrize("name", TABLES)
def test_decisions_without_components(name):
    record, _, _ = by_hand(name, 0)
    rng = np.random.default_rng(0)
    X = make_X(rng, 12, N_FEATURES)
    parameters = random_parameters(rng, 2, 0, N_FEATURES)
    output = decide_rows(X, parameters, record, np.int32)
    assert_allclose(output, parameters[0] + X @ parameters[1].T, rtol=1e-12)


@pytest.mark.parametrize("name", ["all, in two classes", "degree 2"])
@each_type
def test_all_pairs_by_other_ways_decide_as_the_plain_model(dtype, name):
    record, _, degrees = by_hand(name)
    rng = np.random.default_rng(0)
    X = make_X(rng, 20, N_FEATURES).astype(dtype)
    parameters = random_parameters(rng, 2, degrees.size, N_FEATURES)
    plain = decide_rows(X, parameters, None, np.int32)
    assert_allclose(decide_rows(X, parameters, record, np.int32), plain, **tolerance_of(dtype))


@pytest.mark.full  # other types, for which kernels are compiled again
def test_more_classes_than_a_byte_can_number():
    """A chain of 300 fields, each the partner of the next: no two have the same partners."""
    n = 300
    pairs = list(pairwise(range(n)))
    rng = np.random.default_rng(0)
    places = rng.integers(n - 1, size=n)
    X = np.zeros((n, n))
    X[np.arange(n), places] = X[np.arange(n), places + 1] = 1
    X[np.arange(n), rng.integers(n, size=n)] = 1
    model = model_for(
        *(0,), n_components=2, feature_fields=np.arange(n), interactions=pairs, max_iter=2
    )
    quietly(model.fit, X, rng.normal(size=n))
    assert model.components_.any()
    assert_allclose(raw(model, X), twin(model, X), rtol=1e-10)


# All pairs, said in other ways: training

IN_TWO_CLASSES = Interactions(
    np.full(3, 2),
    (np.arange(N_FEATURES) % 2).astype(np.uint8),
    np.ones((2, 2), bool),
    np.ones(N_FEATURES, bool),
    np.zeros(N_FEATURES, np.uint8),
)
TWO_WAYS = [all_pairs(N_FEATURES, 3), IN_TWO_CLASSES]


def two_problems(kind, n_outputs, dtype=np.float64):
    """The same problem as a plain model and in two groups, and where its training starts."""
    rng = np.random.default_rng(0)
    n_rows = size(60, 20)
    X, y = make_X(rng, n_rows, N_FEATURES).astype(dtype), make_y(rng, kind, n_outputs, n_rows)
    weight = rng.uniform(0.5, 2, size=n_rows).astype(dtype)
    penalties = Penalties(linear=0.7, factors=0.3)
    problems = [
        make_problem(sparse.csr_matrix(X), y, weight, CODES[kind], penalties, interactions)
        for interactions in TWO_WAYS
    ]
    n_used = problems[0].n_used
    intercept, coef, components = random_parameters(rng, n_outputs, 3, n_used)
    factors = np.swapaxes(components, 1, 2)
    start = Parameters(intercept, coef.astype(dtype), factors.astype(dtype))
    assert problems[0].interactions.record(problems[0].used) is None
    assert problems[1].interactions.record(problems[1].used).partners.size == 4
    return problems, start


@pytest.mark.around(solver="adagrad", kind="squared_error")
@pytest.mark.parametrize("kind, n_outputs", [("squared_error", 1), ("softmax", 3)])
@pytest.mark.parametrize("solver", SOLVERS)
def test_two_classes_of_all_pairs_train_as_the_plain_model(solver, kind, n_outputs):
    problems, start = two_problems(kind, n_outputs)
    settings = replace(
        settings_for(kind, size(30, 5)), solver=solver, learning_rate=0.05, batch_size=16
    )
    results = []
    for problem in problems:
        if solver == "als":
            found = coordinate_descent.train(problem, start, settings, np.inf, is_fitted=True)
        else:
            rng = np.random.RandomState(0)
            options = {"is_fitted": True, "keeps_state": False}
            found = minibatch.train(problem, start, settings, rng, np.inf, **options)
        results.append((*found[0], found[1].loss_curve))
    assert results[0][-1][-1] < 0.9 * results[0][-1][0]
    for one, other in zip(*results, strict=True):
        assert_allclose(one, other, rtol=1e-7, atol=1e-9)


def test_two_classes_of_all_pairs_are_sampled_as_the_plain_model():
    problems, (_, coef, factors, _) = two_problems("squared_error", 1)
    theta = np.column_stack([factors[0], coef[0]])
    draws = []
    for problem in problems:
        flat = np.ones((1, 4))
        start = gibbs.Draw(0.3, theta, 1.0, 0 * flat, flat, flat[0])
        settings = gibbs.Settings(max_iter=1)
        group = np.zeros(problem.n_used, int)
        chain = gibbs.Chain(problem, group, start, 0, settings, KEY)
        for _ in range(5):
            chain.step()
        draws.append(vars(chain.draw()))
    assert abs(draws[0]["theta"] - theta).min() > 1e-6
    for name, value in draws[0].items():
        assert_allclose(draws[1][name], value, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_list_of_everything_is_the_plain_model(solver):
    X, y = make()
    pairs = [("a", "a"), ("b", "a"), ("a", "c"), ("b", "b"), ("b", "c"), ("c", "c")]
    plain = model_for(0, solver=solver, max_iter=10, feature_fields=None)
    listed = clone(plain).set_params(
        interactions=pairs, fit_linear=["c", "a", "b"], feature_fields=FIELDS
    )
    assert_same(quietly(listed.fit, X, y), quietly(plain.fit, X, y))


# Predictions


@pytest.mark.around(solver="adagrad", terms="two fields")
@pytest.mark.parametrize("n_classes", [0, 2, 3])
@pytest.mark.parametrize("terms", TERMS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_predictions_are_those_of_the_twin(solver, terms, n_classes):
    X, y = make(n_classes, size(60, 25), terms=terms)
    model = model_for(
        n_classes, n_components=2, solver=solver, alpha=0.1, max_iter=8, **TERMS[terms]
    )
    quietly(model.fit, X, y)
    assert model.components_.any()
    assert model.components_.shape[-2] == 2 * len(set(terms_of(model)[1]))
    expected = twin(model, X)
    assert_allclose(raw(model, X), expected, rtol=1e-9, atol=1e-9)
    assert_allclose(raw(model, sparse.csr_matrix(X)), expected, rtol=1e-9, atol=1e-9)
    coef = np.atleast_2d(model.coef_)
    has_linear = terms_of(model)[2]
    assert not coef[:, ~has_linear].any() and coef[:, has_linear].all()
    if not TERMS[terms].get("interactions", True):  # there are none
        assert_allclose(expected, model.intercept_ + X @ coef.T)


@pytest.mark.parametrize("kind", BAYESIAN)
@pytest.mark.parametrize("terms", TERMS)
def test_bayesian_predictions_are_means_of_twins(terms, kind):
    """One twin for each draw, in the units of the solver."""
    X, y = make(2 if kind is BayesianFMClassifier else 0, size(60, 20), terms=terms)
    X[:, 2] += 100
    model = kind(
        *(2,), max_iter=6, n_burn_in=3, feature_fields=FIELDS, random_state=0, **TERMS[terms]
    )
    model.fit(X, y)
    allowed, degrees, has_linear = terms_of(model)
    scaling, samples = model._chain_state.scaling, model._samples
    assert_array_equal(scaling.used, np.arange(6))
    Z = (X - scaling.center) / scaling.scale
    assert not samples.linear[:, ~has_linear].any() and samples.linear[:, has_linear].all()
    outputs = [
        reference.product_output(intercept, linear, factors.T, Z, allowed, degrees)
        for intercept, linear, factors in zip(
            samples.intercept, samples.linear, samples.factors, strict=True
        )
    ]
    assert len(outputs) == 3
    if kind is BayesianFMRegressor:
        expected = np.mean(outputs, axis=0) * y.std() + y.mean()
        assert_allclose(model.predict(X), expected, rtol=1e-4, atol=1e-3)
    else:
        expected = stats.norm.cdf(outputs).mean(axis=0)
        assert_allclose(model.predict_proba(X)[:, 1], expected, atol=1e-4)


@pytest.mark.around(solver="adagrad", terms="two fields, one linear")
@pytest.mark.parametrize("terms", ["and within one", "two fields, one linear", "degree 3"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_while_it_is_trained_a_model_predicts_with_its_own_products(solver, terms):
    X, y = make()
    seen = []

    def look(model, epoch, loss):
        assert_allclose(raw(model, X), twin(model, X), rtol=1e-9, atol=1e-9)
        seen.append(epoch)

    model = model_for(0, solver=solver, max_iter=3, n_components=2, **TERMS[terms])
    quietly(model.set_params(callback=look).fit, X[20:], y[20:], X_val=X[:20], y_val=y[:20])
    assert seen == [1, 2, 3]


# Optimum

ALPHAS = {"alpha": 0.3, "alpha_linear": 0.5}
LONG = {"max_iter": size(2000, 60), "tol": 0.0, "n_iter_no_change": 500}
SLACK = 1.01 if JIT else 1.5


def fit_long(solver, terms, n_classes, weighted, seed=0, **options):
    X, y = make(n_classes, terms=terms, seed=seed)
    weight = np.random.default_rng(1).uniform(0.5, 2, len(y)) if weighted else None
    model = model_for(n_classes, n_components=2, solver=solver, learning_rate=RATES[solver])
    model.set_params(**ALPHAS, **LONG, **TERMS[terms], **options)
    if solver == "als":
        model.set_params(max_iter=size(300, 30))
    return quietly(model.fit, X, y, weight), X, y, weight


@cache
def least_objective_of_pairs(terms, n_classes, weighted):
    """With pairs and without, as L-BFGS finds it."""
    X, y = make(n_classes, terms=terms)
    weight = np.random.default_rng(1).uniform(0.5, 2, len(y)) if weighted else None
    model = model_for(n_classes, n_components=2, max_iter=1, **ALPHAS, **TERMS[terms])
    parameters, data = as_reference(quietly(model.fit, X, y, weight), X, y, weight)
    nothing = [0 * array for array in parameters]  # where factors stay, as there is no slope
    without = reference.best_product_objective(nothing, data, n_starts=0)
    return reference.best_product_objective(parameters, data), without


@pytest.mark.around(solver="adagrad", terms="two fields")
@pytest.mark.parametrize(
    "terms, n_classes, weighted",
    [
        ("two fields", 0, False),
        ("two fields", 3, False),
        ("and within one", 0, True),
        ("and within one", 2, False),
        ("two fields, one linear", 0, False),
        ("two fields, one linear", 2, True),
    ],
)
@pytest.mark.parametrize("solver", SOLVERS)
def test_fit_reaches_the_optimum_of_some_pairs(solver, terms, n_classes, weighted):
    model, X, y, weight = fit_long(solver, terms, n_classes, weighted)
    best, without = least_objective_of_pairs(terms, n_classes, weighted)
    assert best < 0.9 * without
    assert objective(model, X, y, weight) <= SLACK * best


@pytest.mark.parametrize(
    "terms, n_classes, weighted",
    [
        ("degree 3", 0, False),
        ("degree 3", 2, True),
        ("degree 3 alone", 0, True),
        ("degree 3 alone", 3, False),
    ],
)
@pytest.mark.parametrize("solver", SOLVERS)
def test_fit_reaches_an_optimum_of_higher_degrees(solver, terms, n_classes, weighted):
    """There are many: that of the fit is one, and it makes use of the products of three."""
    options = {"seed": 1, "init_scale": 0.3}
    if solver == "sgd":  # leaves a plateau slowly
        options["learning_rate"] = 0.5
    model, X, y, weight = fit_long(solver, terms, n_classes, weighted, **options)
    parameters, data = as_reference(model, X, y, weight)
    fitted = reference.product_objective(parameters, *data)[0]
    assert fitted <= SLACK * reference.best_product_objective(parameters, data, n_starts=0)
    components = parameters[2] * (terms_of(model)[1] < 3)[:, None]
    without = reference.best_product_objective((*parameters[:2], components), data, n_starts=0)
    assert fitted < 0.95 * without


@pytest.mark.parametrize("n_classes", [0, 2, 3])
@pytest.mark.parametrize("terms", TERMS)
def test_als_lowers_the_objective_with_every_pass(terms, n_classes, monkeypatch):
    """And no pass is done again because it did not."""
    monkeypatch.setattr(coordinate_descent._Descent, "_weigh", None)
    X, y = make(n_classes, terms=terms)
    weight = np.random.default_rng(1).uniform(0.5, 2, len(y))
    model = model_for(n_classes, n_components=2, solver="als", tol=0, **ALPHAS)
    model.set_params(max_iter=size(30, 4), n_iter_no_change=100, **TERMS[terms])
    quietly(model.fit, X, y, weight)
    assert (np.diff(model.loss_curve_) <= 1e-12).all()
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    expected = objective(model, X, y, weight) / weight.sum()
    assert_allclose(model.loss_curve_[-1], expected, rtol=1e-9)


@pytest.mark.parametrize("n_classes", [0, 2, 3])
@pytest.mark.parametrize("terms", [None, "two fields", "and within one", "some linear"])
def test_als_lowers_the_objective_with_parts_that_repeat(terms, n_classes, monkeypatch):
    """Fields of which rows have equal parts are updated together: see test_relations.py."""
    monkeypatch.setattr(relation_blocks, "LEAST_GAIN", 0)
    monkeypatch.setattr(coordinate_descent._Descent, "_weigh", None)
    found = []

    def noting(problem):
        found.append(relation_blocks.find_relation_blocks(problem))
        return found[-1]

    monkeypatch.setattr(passes, "find_relation_blocks", noting)
    rng = np.random.default_rng(0)
    users = rng.integers(5, size=60)
    bags = rng.normal(size=(5, 6)) * (rng.random((5, 6)) < 0.9)
    X = np.hstack([np.eye(5)[users], np.eye(4)[rng.integers(4, size=60)], bags[users]])
    y = X @ rng.normal(size=15) + X[:, 5] * X[:, 9] + rng.normal(size=60)
    if n_classes:
        y = np.digitize(y, np.quantile(y, np.arange(1, n_classes) / n_classes))
    options = {
        None: {},
        "two fields": {"interactions": [("a", "c")]},
        "and within one": {"interactions": [("a", "b"), ("c", "c"), ("b", "c")]},
        "some linear": {"fit_linear": ["a", "b"]},
    }[terms]
    fields = np.repeat(["a", "b", "c"], [5, 4, 6])
    model = model_for(n_classes, n_components=2, solver="als", tol=0, **ALPHAS, **options)
    model.set_params(feature_fields=fields, max_iter=size(20, 4), n_iter_no_change=100)
    quietly(model.fit, X, y)
    assert [len(relation) for relation, _ in found] == [1]
    assert (np.diff(model.loss_curve_) <= 1e-12).all()
    assert_allclose(model.loss_curve_[-1], objective(model, X, y) / 60, rtol=1e-9)
    assert_allclose(raw(model, X), twin(model, X), rtol=1e-9, atol=1e-9)


# Results that must not change


def make_one_hot(n_rows=None, n_levels=12, dtype=np.float64, seed=0):
    """Rows of a user, an item and a number of one of two kinds, with the fields, and targets."""
    rng = np.random.default_rng(seed)
    n_rows = n_rows or size(400, 120)
    users, items = rng.integers(n_levels, size=(2, n_rows))
    numbers = np.eye(2)[rng.integers(2, size=n_rows)] * rng.normal(size=(n_rows, 1))
    X = np.hstack([np.eye(n_levels)[users], np.eye(n_levels)[items], numbers]).astype(dtype)
    fields = np.repeat(["user", "item", "number"], [n_levels, n_levels, 2])
    planted = rng.normal(size=(2, n_levels))
    y = planted[0, users] * planted[1, items] + numbers.sum(axis=1)
    y = y + 0.3 * rng.normal(size=n_rows)
    return sparse.csr_matrix(X), y.astype(dtype), fields


ONE_HOT = {
    "two fields": {"interactions": [("user", "item")], "fit_linear": ["user", "number"]},
    "within": {"interactions": [("user", "item"), ("number", "number"), ("number", "item")]},
    "all pairs, some linear": {"fit_linear": ["item"]},
    "degree 3": {"degree": 3},
    "degree 3 alone": {"degree": 3, "fit_lower": False, "fit_linear": ["user"]},
}
each_one_hot = pytest.mark.parametrize("terms", ONE_HOT)


@pytest.fixture
def busy_threads(monkeypatch):
    """Threads share even little work. Returns the numbers of threads that did."""
    monkeypatch.setattr(passes, "THREAD_WORK", 1)
    monkeypatch.setattr(gibbs, "PROBIT_CHUNK", 16)
    monkeypatch.setattr(posterior, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(outputs, "ROWS_PER_THREAD", 10)
    numbers = []
    for module in (passes, trainer, outputs):
        run = module.run_together

        def counting(work, n_threads, *place, run=run):
            numbers.append(n_threads)
            run(work, n_threads, *place)

        monkeypatch.setattr(module, "run_together", counting)
    return numbers


def everything(model, X):
    """All that is predicted."""
    if hasattr(model, "predict_proba"):
        return model.predict_proba(X)
    return model.predict(X)


@pytest.mark.around(solver="adagrad", terms="two fields", dtype=np.float64)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("labels", [False, True])
@each_one_hot
@pytest.mark.parametrize("solver", [*SOLVERS, "gibbs"])
def test_number_of_threads_does_not_matter(solver, terms, labels, dtype, busy_threads):
    X, y, fields = make_one_hot(dtype=dtype)
    y = y > y.mean() if labels else y
    options = {"feature_fields": fields, "random_state": 0, **ONE_HOT[terms]}
    if solver == "gibbs":
        kind = BAYESIAN[labels]
        options.update(max_iter=5, n_burn_in=1)
    else:
        kind = FMClassifier if labels else FMRegressor
        options.update(solver=solver, max_iter=3)
    results = []
    for n_jobs in (1, 2, 3):
        busy_threads.clear()
        model = quietly(kind(3, n_jobs=n_jobs, **options).fit, X, y)
        results.append([everything(model, X), np.array(model.loss_curve_)])
        if solver != "gibbs":
            results[-1] += [model.coef_, model.components_, model.intercept_]
        assert max(busy_threads) == n_jobs
    for other in results[1:]:
        for one, another in zip(results[0], other, strict=True):
            assert_array_equal(one, another)


@pytest.mark.around(solver="adagrad", terms="two fields")
@each_one_hot
@pytest.mark.parametrize("solver", [*SOLVERS, "gibbs"])
def test_float32_comes_out_where_it_goes_in(solver, terms):
    X, y, fields = make_one_hot()
    options = {"feature_fields": fields, "random_state": 0, **ONE_HOT[terms]}
    if solver == "gibbs":
        model = BayesianFMRegressor(2, max_iter=5, n_burn_in=1, **options)
    else:
        model = FMRegressor(2, solver=solver, max_iter=5, **options)
    short = clone(model)
    quietly(short.fit, X.astype(np.float32), y)
    quietly(model.fit, X, y)
    assert model.predict(X).dtype == np.float64
    assert short.predict(X).dtype == short.predict(X.astype(np.float32)).dtype == np.float32
    assert_allclose(short.predict(X), model.predict(X), atol=2e-3)
    if solver != "gibbs":
        assert short.coef_.dtype == short.components_.dtype == np.float32


@pytest.mark.parametrize("labels", [False, True])
@each_one_hot
@pytest.mark.parametrize("solver", ["adagrad", "als", "gibbs"])
def test_weights_are_repetitions(solver, terms, labels):
    X, y, fields = make_one_hot(size(200, 60))
    y = y > y.mean() if labels else y
    weight = np.random.default_rng(0).integers(0, 4, size=len(y))
    repeated = np.repeat(np.arange(len(y)), weight)
    options = {"feature_fields": fields, "random_state": 0, **ONE_HOT[terms]}
    if solver == "gibbs":
        model = BAYESIAN[labels](2, max_iter=6, n_burn_in=1, **options)
    else:
        model = (FMClassifier if labels else FMRegressor)(2, solver=solver, max_iter=6, **options)
    weighted = everything(quietly(clone(model).fit, X, y, weight), X)
    assert_allclose(weighted, everything(quietly(model.fit, X[repeated], y[repeated]), X), 1e-5)


@pytest.mark.around(solver="adagrad", terms="two fields")
@each_one_hot
@pytest.mark.parametrize("solver", [*SOLVERS, "gibbs"])
def test_models_are_copied_by_pickle(solver, terms):
    X, y, fields = make_one_hot()
    options = {"feature_fields": fields, "random_state": 0, **ONE_HOT[terms]}
    if solver == "gibbs":
        model = BayesianFMRegressor(2, max_iter=5, n_burn_in=1, **options)
    else:
        model = FMRegressor(2, solver=solver, max_iter=5, **options)
    quietly(model.fit, X, y)
    expected = model.predict(X)
    restored = pickle.loads(pickle.dumps(model))
    assert_array_equal(restored.predict(X), expected)
    # Both go on in the same way.
    for one in (model, restored):
        quietly(one.set_params(warm_start=True).fit, X, y)
    assert_array_equal(restored.predict(X), model.predict(X))
    assert restored.loss_curve_ == model.loss_curve_
    unfitted = clone(model)
    assert unfitted.get_params().keys() == model.get_params().keys()
    for name, value in unfitted.get_params().items():
        assert_array_equal(value, model.get_params()[name])


def test_what_is_the_same_for_all_features_takes_no_room_in_a_pickle():
    for interactions in (all_pairs(10**5, 3), IN_TWO_CLASSES):
        state = pickle.dumps(interactions)
        assert len(state) < 2000
        restored = pickle.loads(state)
        for name, array in vars(interactions).items():
            assert_array_equal(getattr(restored, name), array)
            assert np.asarray(getattr(restored, name)).dtype == np.asarray(array).dtype


# To go on


@pytest.mark.around(solver="adagrad", terms="two fields")
@pytest.mark.parametrize("shift", [0, 100])
@pytest.mark.parametrize("terms", TERMS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_warm_start_begins_where_the_last_fit_ended(solver, terms, shift):
    """Also in other units: of y, and of columns that are centered."""
    X, y = make(terms=terms)
    X, y = X + shift * np.array([1, 0, 1, 0, 0, 0]), 1e4 * y
    model = model_for(0, n_components=2, solver=solver, max_iter=10, **TERMS[terms])
    quietly(model.set_params(alpha=0.1, alpha_linear=5.0, init_scale=0.3).fit, X, y)
    before, f = objective(model, X, y), model.predict(X)
    assert_allclose(f, twin(model, X)[:, 0], rtol=1e-6)
    model.set_params(warm_start=True, max_iter=1, learning_rate=1e-9)
    quietly(model.fit, X, y)
    if solver == "als":
        assert objective(model, X, y) < (1 + 1e-9) * before or shift
        assert model.loss_curve_[0] * len(y) < 1.01 * before or shift
    else:
        assert_allclose(model.predict(X), f, atol=1e-4 * y.std())


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_warm_start_may_have_other_products(solver):
    """Parameters of what is no longer there are gone, or do nothing."""
    X, y = make(terms="and within one")
    X[:, [0, 5]] += 100
    model = model_for(0, n_components=2, solver=solver, max_iter=5, warm_start=True, alpha=0.1)
    for terms in ("and within one", "two fields, one linear", "all pairs, some linear"):
        model.set_params(interactions=None, fit_linear=True).set_params(**TERMS[terms])
        quietly(model.fit, X, y)
        assert not model.coef_[~terms_of(model)[2]].any()
        assert_allclose(model.predict(X), twin(model, X)[:, 0], rtol=1e-8)


@pytest.mark.parametrize("kind", BAYESIAN)
def test_a_chain_may_go_on_with_other_products(kind):
    """Draws of the other model are dropped."""
    X, y = make(2 if kind is BayesianFMClassifier else 0, terms="and within one")
    model = kind(2, max_iter=8, n_burn_in=2, feature_fields=FIELDS, warm_start=True)
    model.set_params(random_state=0, **TERMS["and within one"]).fit(X, y)
    assert model.fit(X, y).n_draws_ == 14 and model.n_iter_ == 16
    others = [
        {"interactions": [("a", "b")]},
        {"interactions": [], "fit_linear": ["a"]},
        {"feature_fields": FIELDS[::-1]},
    ]
    for other in others:
        model.set_params(**other).fit(X, y)
        assert model.n_draws_ == 6 and model.n_iter_ == 8
    # Now the last two columns have linear weights, and nothing else counts.
    predict = model.predict if kind is BayesianFMRegressor else model.predict_proba
    assert_array_equal(predict(X * [0, 0, 0, 0, 1, 1]), predict(X))
    assert (predict(X * [0, 0, 0, 0, 1, 0]) != predict(X)).any()


@pytest.mark.parametrize("kind", BAYESIAN)
@each_one_hot
def test_a_chain_goes_on(terms, kind):
    X, y, fields = make_one_hot()
    y = y > y.mean() if kind is BayesianFMClassifier else y
    options = {"feature_fields": fields, "random_state": 0, **ONE_HOT[terms]}
    whole = kind(2, max_iter=30, n_burn_in=5, **options).fit(X, y)
    parts = kind(2, max_iter=10, n_burn_in=5, **options, warm_start=True)
    for _ in range(3):
        parts.fit(X, y)
    assert parts.n_iter_ == whole.n_iter_ == 30
    assert_allclose(everything(parts, X), everything(whole, X), rtol=1e-5, atol=1e-5)


def chunks_of(X, y, n_chunks=3):
    return [(X[start::n_chunks], y[start::n_chunks]) for start in range(n_chunks)]


@pytest.mark.around(solver="adagrad", terms="two fields")
@each_one_hot
@pytest.mark.parametrize("solver", [solver for solver in SOLVERS if solver != "als"])
def test_chunks(solver, terms):
    """The first is an epoch; a pickled model goes on; many passes end near what fit finds."""
    X, y, fields = make_one_hot()
    model = FMRegressor(
        *(2,), solver=solver, feature_fields=fields, random_state=0, **ONE_HOT[terms]
    )
    chunks = chunks_of(X, y)
    fitted = quietly(clone(model).set_params(max_iter=1).fit, *chunks[0])
    assert_same(model.partial_fit(*chunks[0]), fitted)
    restored = pickle.loads(pickle.dumps(model))
    assert_same(restored.partial_fit(*chunks[1]), model.partial_fit(*chunks[1]))
    has_linear = terms_of(model)[2]
    assert not model.coef_[~has_linear].any() and model.coef_[has_linear].all()
    X_some = X[:30].toarray()
    assert_allclose(model.predict(X_some), twin(model, X_some)[:, 0], rtol=1e-8, atol=1e-8)
    options = {"alpha": 0.05, "init_scale": 0.2}
    options["max_iter"] = size(1000, 2)
    best = quietly(clone(model).set_params(**options, tol=1e-6).fit, X, y)
    stream = clone(model).set_params(**options)
    for _ in range(size(60 if solver == "adam" else 30, 1)):
        for chunk in chunks:
            stream.partial_fit(*chunk)
    if JIT:
        assert stream.score(X, y) > best.score(X, y) - 0.1


@pytest.mark.parametrize(
    "name, value",
    [
        ("interactions", None),
        ("interactions", []),
        ("interactions", [("user", "item"), ("item", "item")]),
        ("degree", 3),
        ("fit_lower", False),
        ("fit_linear", ["user", "item"]),
        ("fit_linear", True),
    ],
)
def test_what_must_not_change_between_chunks(name, value):
    X, y, fields = make_one_hot()
    model = FMRegressor(
        *(2,), feature_fields=fields, interactions=[("user", "item")], fit_linear=["user"]
    )
    for start in (model.partial_fit, clone(model).set_params(max_iter=2).fit):
        started = quietly(start, X[:100], y[:100])
        other = pickle.loads(pickle.dumps(started))
        before = started.get_params()[name]
        started.set_params(**{name: value})
        with pytest.raises(ValueError, match=rf"\b{name}=.*now .*start again"):
            started.partial_fit(X[100:], y[100:])
        started.set_params(**{name: before}).partial_fit(X[100:], y[100:])
        assert_same(started, other.partial_fit(X[100:], y[100:]))


def test_columns_that_come_with_later_chunks_have_their_fields():
    X, y, fields = make_one_hot()
    seen = X[:, :4].getnnz(axis=1) > 0
    model = FMRegressor(
        2, feature_fields=fields, interactions=[("user", "item")], fit_linear=["item"], alpha=0.1
    )
    model.partial_fit(X[seen], y[seen])
    assert not model.components_[:, 4:12].any()
    for _ in range(20):
        model.partial_fit(X[~seen], y[~seen])
    assert model.components_[:, :24].any(axis=0).all()
    assert not model.coef_[fields != "item"].any() and model.coef_[fields == "item"].all()
    dense = X[:40].toarray()
    assert_allclose(model.predict(dense), twin(model, dense)[:, 0], rtol=1e-8)


# What is learned

LEARNERS = {
    "als": FMRegressor(4, solver="als", alpha=0.01, random_state=0),
    "adagrad": FMRegressor(4, alpha=0.01, learning_rate=0.3, random_state=0),
    "gibbs": BayesianFMRegressor(4, random_state=0),
}
each_learner = pytest.mark.parametrize("name", LEARNERS)
needs_jit = pytest.mark.skipif(not JIT, reason="needs many rows and passes")


@needs_jit
@each_learner
def test_only_the_pairs_of_the_list_are_learned(name):
    """Half of the variance is a product of a and b, half one of a and c."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 6))
    y = X[:, 0] * X[:, 2] + X[:, 1] * X[:, 4] + 0.1 * rng.normal(size=600)
    scores = {}
    for pairs in ([("a", "b"), ("c", "a")], [("b", "a")], [("a", "c")], [("b", "c"), ("a", "a")]):
        model = clone(LEARNERS[name]).set_params(feature_fields=FIELDS, interactions=pairs)
        scores[str(pairs)] = quietly(model.fit, X[:400], y[:400]).score(X[400:], y[400:])
    both, one, other, neither = scores.values()
    assert both > 0.95 and neither < 0.1
    assert 0.2 < one < 0.8 and 0.2 < other < 0.8 and one + other > 0.8


@needs_jit
@each_learner
def test_products_of_three_fields_are_learned(name):
    """A tensor of rank 2, some entries of which were never seen. Pairs cannot express it."""
    rng = np.random.default_rng(0)
    n_levels, n_train = 10, 600
    order = rng.permutation(n_levels**3)
    levels = np.stack(np.unravel_index(order, 3 * (n_levels,)))
    planted = rng.normal(size=(3, n_levels, 2))
    a, b, c = (table[own] for table, own in zip(planted, levels, strict=True))
    y = (a * b * c).sum(axis=1)
    X = sparse.csr_matrix(np.hstack([np.eye(n_levels)[own] for own in levels]))
    scores = {}
    for degree, fit_lower in [(3, False), (3, True), (2, True)]:
        model = clone(LEARNERS[name]).set_params(
            *(), degree=degree, fit_lower=fit_lower, fit_linear=False, fit_intercept=False
        )
        quietly(model.fit, X[:n_train], y[:n_train])
        predicted = model.predict(X[n_train:])
        scores[degree, fit_lower] = r2_score(y[n_train:], predicted)
    assert scores[3, False] > 0.95
    assert scores[3, True] > 0.6
    assert scores[2, True] < 0.3


@pytest.mark.around(solver="adagrad", terms="two fields")
@pytest.mark.parametrize("far", [False, True])
@pytest.mark.parametrize("terms", TERMS)
@pytest.mark.parametrize("solver", [*SOLVERS, "gibbs"])
def test_unscaled_data_beats_the_intercept(solver, terms, far):
    """By far, unless columns are far from zero and not centered."""
    X, y = make(n_rows=size(300, 60), terms=terms)
    X = X * [1e3, 1, 1e3, 1, 10, 1] + far * np.array([1e5, 0, 0, 100, 0, 100])
    y = 1e4 * y
    options = {"feature_fields": FIELDS, "random_state": 0, **TERMS[terms]}
    if solver == "gibbs":
        model = BayesianFMRegressor(3, max_iter=size(60, 20), n_burn_in=10, **options)
    else:
        model = FMRegressor(3, solver=solver, alpha=0.1, init_scale=0.3, **options)
    score = quietly(model.fit, X, y).score(X, y)
    is_centered = "degree" not in TERMS[terms] and "fit_linear" not in TERMS[terms]
    assert score > (0.5 if is_centered or not far else 0)


@pytest.mark.around(solver="adagrad", terms="two fields")
@pytest.mark.parametrize(
    "terms", ["all pairs of one field", "two fields", "and within one", "two fields of a class"]
)
@pytest.mark.parametrize("solver", [*SOLVERS, "gibbs"])
def test_where_columns_are_makes_no_difference(solver, terms):
    """A column that is far from zero is centered, and pairs with it bring linear terms."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 6))
    X -= X.mean(axis=0)
    y = X[:, 0] + X[:, 1] * X[:, 2] - X[:, 3] * X[:, 4] + rng.normal(size=60) / 3
    far = X + np.array([100, 100, 0, 50, 0, 0])
    options = {"feature_fields": FIELDS, "random_state": 0, **TERMS[terms]}
    if solver == "gibbs":
        model = BayesianFMRegressor(2, max_iter=12, n_burn_in=2, **options)
    else:
        model = FMRegressor(2, solver=solver, max_iter=12, alpha=0.1, init_scale=0.5, **options)
    expected = quietly(clone(model).fit, X, y).predict(X)
    found = quietly(model.fit, far, y).predict(far)
    assert_allclose(found, expected, atol=1e-3 if solver == "gibbs" else 1e-6)
    if solver != "gibbs":
        assert_allclose(found, twin(model, far)[:, 0], rtol=1e-6)


@pytest.mark.parametrize("solver", [*SOLVERS, "gibbs"])
@pytest.mark.parametrize("fit_lower", [False, True])
def test_a_degree_beyond_the_length_of_rows_gives_no_products(fit_lower, solver):
    """Of some rows, of all, and of more than there are columns."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4))
    X[np.arange(60), rng.integers(4, size=60)] = 0
    y = X[:, 0] - X[:, 1] + rng.normal(size=60) / 3
    for degree in (3, 4, 10):
        options = {"degree": degree, "fit_lower": fit_lower, "random_state": 0}
        if solver == "gibbs":
            model = BayesianFMRegressor(2, max_iter=8, n_burn_in=2, **options)
        else:
            model = FMRegressor(2, solver=solver, max_iter=5, **options)
        linear = clone(model).set_params(n_components=0, degree=2, fit_lower=True)
        quietly(model.fit, X, y)
        assert np.isfinite(model.predict(X)).all()
        if solver == "gibbs":
            assert (model.predict(X) != 0).all()
            continue
        model.set_params(feature_fields=np.zeros(4))
        assert_allclose(model.predict(X), twin(model, X)[:, 0], rtol=1e-10)
        if degree > 3 and not fit_lower:
            plain = model.intercept_ + X @ model.coef_
            assert_allclose(model.predict(X), plain, rtol=1e-12)
            quietly(linear.fit, X, y)
            assert_allclose(model.coef_, linear.coef_, rtol=1e-9)


@pytest.mark.parametrize("solver", [*SOLVERS, "gibbs"])
def test_no_pairs_are_a_linear_model(solver):
    X, y = make(terms="two fields")
    options = {"random_state": 0, "feature_fields": FIELDS}
    if solver == "gibbs":
        model = BayesianFMRegressor(2, max_iter=30, n_burn_in=5, **options)
    else:
        model = FMRegressor(2, solver=solver, max_iter=30, **options)
    without = quietly(clone(model).set_params(interactions=[]).fit, X, y)
    linear = quietly(clone(model).set_params(n_components=0).fit, X, y)
    zero, some = np.zeros((1, 6)), np.eye(6)
    alone = without.predict(some) - without.predict(zero)
    assert_allclose(without.predict(X), without.predict(zero) + X @ alone, rtol=1e-5, atol=1e-5)
    if solver != "gibbs":
        assert_allclose(without.coef_, linear.coef_, rtol=1e-2)


@needs_jit
def test_a_grid_of_interactions_is_searched():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 6))
    y = X[:, 0] * X[:, 2] + rng.normal(size=300) / 2
    grid = {"interactions": [None, [], [("b", "c")], [("a", "b")]]}
    model = model_for(0, solver="als", n_components=2, alpha=0.1)
    search = quietly(GridSearchCV(model, grid, cv=3).fit, X, y)
    assert search.best_params_ == {"interactions": [("a", "b")]}
    scores = search.cv_results_["mean_test_score"]
    assert scores[0] > 0.5 and scores[1] < 0.1 and scores[2] < 0.1 and scores[3] > 0.6


# The sampler, against its prior: see test_gibbs.py

PLACES = np.repeat([0, 1, 2], [3, 3, 2])  # fields of levels, of levels, and of signs
DESIGNS = {
    "some pairs": (
        Interactions(
            np.full(2, 2),
            PLACES.astype(np.uint8),
            np.array([[0, 1, 0], [1, 0, 1], [0, 1, 1]], bool),
            PLACES != 1,
            PLACES * 0,
        ),
        np.repeat([0, 1], [6, 2]),  # half of the first group have linear weights
    ),
    "two fields": (
        Interactions(
            np.full(2, 2),
            PLACES.astype(np.uint8),
            np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]], bool),
            PLACES == 2,
            PLACES * 0,
        ),
        np.repeat([0, 1, 0], [3, 3, 2]),  # of the second, none
    ),
    "degree 3": (
        Interactions(
            np.array([2, 3]), PLACES.astype(np.uint8) * 0, np.ones((1, 1), bool), PLACES != 0,
            PLACES * 0,
        ),
        np.repeat([0, 1], [6, 2]),
    ),
}  # fmt: skip


def set_weights(theta, interactions):
    """Sets of features that are multiplied, and what their products are multiplied by."""
    allowed = interactions.partners[interactions.interaction_group][
        :, interactions.interaction_group
    ]
    for degree in np.unique(interactions.degrees):
        sets = reference.product_sets(degree, allowed)
        own = np.flatnonzero(interactions.degrees == degree)
        yield sets, theta[sets][:, :, own].prod(axis=1).sum(axis=1)


def output(theta, X, interactions):
    parts = [X[:, sets].prod(axis=2) @ w for sets, w in set_weights(theta, interactions)]
    return X @ theta[:, -1] + sum(parts)


def numbers_of(draw, X, interactions, group):
    """What the data may tell of a draw: nothing that depends on the factors' order and signs."""
    theta = np.asarray(draw.theta, dtype=float)
    known = np.unique(group[interactions.has_linear])
    numbers = [
        [draw.noise_precision],
        theta[interactions.has_linear, -1],
        draw.group_mean[known, -1],
        draw.group_precision[known, -1],
        output(theta, X, interactions),
        *(w for _, w in set_weights(theta, interactions)),
    ]
    for degree in np.unique(interactions.degrees):
        own = np.flatnonzero(interactions.degrees == degree)
        numbers.append((draw.group_mean[:, own] ** 2).sum(axis=1))
        numbers.append(draw.group_precision[:, own].prod(axis=1))
        numbers.append([draw.common_precision[own].prod()])
    return np.concatenate(numbers)


def rows_for(rng):
    """Few rows in which every column occurs."""
    levels = [np.eye(3)[rng.permutation(np.resize(np.arange(3), 14))] for _ in range(2)]
    return np.hstack([*levels, rng.choice([-1.0, 1.0], size=(14, 2))])


NEW_ROWS = np.array([[1, 0, 0, 1, 1, 0, 1, 0], [1.5, 0, 1, 0, 0, 2, -1, 1]])


def ranks_of(design, kind, n_worlds, n_draws=3, *, labels=False, burn_in=60, thin=40):
    """Ranks (n_worlds, n_numbers) of the true numbers among draws of a chain."""
    interactions, group = DESIGNS[design]
    ranks = []
    for world in range(n_worlds):
        rng = np.random.default_rng(world)
        X = rows_for(rng)
        degrees = interactions.degrees
        truth = draw_from_prior(rng, group, NARROW, expected_of(X, group, degrees), degrees)
        truth.theta[:, -1] *= interactions.has_linear
        f, signs = output(truth.theta, X, interactions), None
        if labels:
            truth.noise_precision = 1.0
        y = f + rng.normal(size=f.size) / np.sqrt(truth.noise_precision)
        if labels:
            signs = np.where(y > 0, 1.0, -1.0)
        problem = make_problem(
            *(sparse.csr_matrix(X), y if signs is None else signs, np.empty(0)),
            losses.SQUARED_ERROR if signs is None else losses.LOG_LOSS,
            Penalties(linear=0.0, factors=0.0),
            interactions,
        )
        start = gibbs.first_draw(problem, group, 2, 1.0, 0.0, np.random.RandomState(world))
        settings = gibbs.Settings(
            *(1, False), fit_linear=interactions.fit_linear, hyperprior=replace(NARROW)
        )
        key = rng.integers(2**63, size=2, dtype=np.uint64)
        chain = kind(problem, group, start, 0, settings, key, signs)
        draws = []
        for number in range(1, burn_in + n_draws * thin + 1):
            chain.step()
            if number > burn_in and (number - burn_in) % thin == 0:
                draws.append(numbers_of(chain.draw(), NEW_ROWS, interactions, group))
        ranks.append((np.array(draws) < numbers_of(truth, NEW_ROWS, interactions, group)).sum(0))
    return np.array(ranks)[:, int(labels) :]  # of labels there is no noise to be found


@too_slow
@pytest.mark.parametrize(
    "design, labels",
    [
        ("some pairs", False),
        pytest.param("two fields", True, marks=pytest.mark.full),
        pytest.param("degree 3", False, marks=pytest.mark.full),
    ],
)
@pytest.mark.parametrize("n_worlds", [50, *in_full(120)])
def test_true_values_have_uniform_ranks(design, labels, n_worlds):
    assert p_value(ranks_of(design, gibbs.Chain, n_worlds, labels=labels)) > LIMIT


class CountsAll(gibbs.Chain):
    """Takes linear weights that there are not for known ones of size 0."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.exists[:] = 1
        self.group_size = self._sum_groups(self.exists)


class NoPairs(gibbs.Chain):
    """Multiplies nothing."""

    def __init__(self, problem, *arguments):
        interactions = replace(problem.interactions, partners=np.zeros((3, 3), bool))
        super().__init__(replace(problem, interactions=interactions), *arguments)


@pytest.mark.full
@too_slow
@pytest.mark.parametrize("wrong, n_worlds", [(CountsAll, 250), (NoPairs, 60)])
def test_a_wrong_sampler_is_found_out(wrong, n_worlds):
    """After few iterations: it need not arrive."""
    ranks = ranks_of("some pairs", wrong, n_worlds, burn_in=30, thin=15)
    assert p_value(ranks) < LIMIT


# Features that did not occur


@pytest.fixture(params=BAYESIAN)
def with_unseen(request):
    """A model, and its predictions of a user and an item with one feature more, named by the
    field, seen or not. Columns: 6 users, 6 items, 2 of a field that takes part in nothing, 2 of
    one that has linear weights alone. The last of each field was not seen."""
    rng = np.random.default_rng(0)
    n_rows = size(150, 40)
    sizes = {"user": 6, "item": 6, "idle": 2, "linear": 2}
    parts = [np.eye(n)[rng.integers(n - 1, size=n_rows)] for n in sizes.values()]
    parts[2] *= rng.normal(size=(n_rows, 1))
    X = np.hstack(parts)
    y = X @ rng.normal(size=16) + parts[3][:, 0] + rng.normal(size=n_rows) / 3
    names = np.repeat(list(sizes), list(sizes.values()))
    model = request.param(
        2,
        max_iter=size(60, 12),
        n_burn_in=5,
        feature_fields=names,
        feature_groups=names,
        interactions=[("user", "item")],
        fit_linear=["user", "linear"],
        random_state=0,
    )
    if request.param is BayesianFMClassifier:
        y = y > np.median(y)
    model.fit(X, y)

    def predict(**values):
        row = np.zeros((1, 16))
        for name, (place, value) in values.items():
            row[0, np.flatnonzero(names == name)[place]] = value
        if request.param is BayesianFMClassifier:
            return model.predict_proba(row)[0, 1:]
        return np.concatenate(model.predict(row, return_std=True))

    return predict


@pytest.mark.parametrize("place", [0, -1])
def test_features_that_take_part_in_nothing_change_nothing(with_unseen, place):
    expected = with_unseen(user=(1, 1), item=(2, 1))
    for value in (1, -3, 1e6):
        found = with_unseen(user=(1, 1), item=(2, 1), idle=(place, value))
        assert_array_equal(found, expected)


@pytest.mark.parametrize("place", [0, -1])
def test_features_without_linear_weights_and_partners_in_the_row_change_nothing(
    with_unseen, place
):
    assert_array_equal(with_unseen(item=(place, 5)), with_unseen())
    both = with_unseen(linear=(0, 1), item=(place, 5))
    assert_array_equal(both, with_unseen(linear=(0, 1)))
    assert (with_unseen(user=(1, 1), item=(place, 5)) != with_unseen(user=(1, 1))).any()


def test_a_linear_weight_that_was_not_seen_moves_predictions(with_unseen):
    """By what its group has, the same beside anything."""
    empty, alone = with_unseen(), with_unseen(linear=(-1, 1))
    assert (alone != empty).all()
    if empty.size == 2:  # numbers: means move in parallel, and are less certain
        both = with_unseen(linear=(-1, 1), idle=(0, 1), item=(0, 1))
        assert_allclose(both, alone)
        assert alone[1] > empty[1]


# Fields that X carries


def carrying(X, layout=sparse.csr_matrix, **labels):
    X = layout(X)
    for name, values in labels.items():
        setattr(X, name, np.asarray(values))
    return X


@pytest.mark.around(solver="adagrad", layout=sparse.csr_matrix)
@pytest.mark.parametrize("layout", [sparse.csr_matrix, sparse.csr_array, sparse.csc_matrix])
@pytest.mark.parametrize("solver", [*SOLVERS, "gibbs"])
def test_fields_and_groups_that_x_carries_are_those_of_the_parameters(solver, layout):
    X, y = make()
    groups = FIELDS[::-1]
    options = {"interactions": [("a", "b")], "fit_linear": ["c"], "random_state": 0}
    if solver == "gibbs":
        model = BayesianFMRegressor(2, max_iter=6, n_burn_in=2, **options)
    else:
        penalties = {"alpha": [0.1, 1.0, 3.0], "alpha_linear": {"a": 3, "b": 9, "c": 1}}
        model = FMRegressor(2, solver=solver, max_iter=6, **penalties, **options)
    labels = {"feature_fields": FIELDS, "feature_groups": groups}
    told = quietly(clone(model).set_params(**labels).fit, X, y).predict(X)
    carried = quietly(clone(model).fit, carrying(X, layout, **labels), y)
    assert_array_equal(carried.predict(X), told)
    assert carried.feature_fields is None and carried.feature_groups is None
    # Parameters win, one by one.
    other = {"feature_fields": np.roll(FIELDS, 1), "feature_groups": np.roll(groups, 1)}
    X_of_others = carrying(X, layout, **other)
    won = quietly(clone(model).set_params(**labels).fit, X_of_others, y).predict(X)
    assert_array_equal(won, told)
    lost = quietly(clone(model).fit, X_of_others, y).predict(X)
    assert (lost != told).any()
    half = carrying(X, layout, **{**other, "feature_groups": groups})
    won = quietly(clone(model).set_params(feature_fields=FIELDS).fit, half, y).predict(X)
    assert_array_equal(won, told)


@pytest.mark.parametrize("kind", [FMRegressor, FMClassifier, *BAYESIAN])
def test_a_slice_has_lost_its_fields(kind):
    X, y = make(2 if "Classifier" in kind.__name__ else 0)
    X = carrying(X, feature_fields=FIELDS)
    model = kind(2, max_iter=25, interactions=[("a", "b")], fit_linear=["a"], random_state=0)
    quietly(model.fit, X, y)
    expected, before = model.predict(X), dict(vars(model))
    assert_array_equal(model.predict(X[:7]), expected[:7])  # it is no matter there
    message = "interactions refers to fields; assign the features to fields with feature_fields"
    with pytest.raises(ValueError, match=message):
        model.fit(X[:50], y[:50])
    assert vars(model) == before
    assert_array_equal(model.predict(X), expected)


def test_chunks_after_the_first_need_not_carry_fields():
    X, y = make()
    model = FMRegressor(2, interactions=[("a", "b")], fit_linear=["a"], random_state=0)
    told = clone(model).set_params(feature_fields=FIELDS)
    model.partial_fit(carrying(X[:50], feature_fields=FIELDS), y[:50])
    model.partial_fit(X[50:], y[50:])
    assert_same(model, told.partial_fit(X[:50], y[:50]).partial_fit(X[50:], y[50:]))


# What is refused

REFUSED = [
    ({"interactions": [("a", "x")]}, ValueError, "Unknown field 'x' in interactions; .*'a', 'b'"),
    ({"interactions": [("a", None)]}, ValueError, "Unknown field None in interactions; known"),
    ({"interactions": [("a", 1)]}, ValueError, "Unknown field 1 in interactions; known"),
    ({"interactions": ["ab"]}, ValueError, "interactions must contain pairs.*'ab'"),
    ({"interactions": ("a", "b")}, ValueError, "interactions must contain pairs.*'a'"),
    ({"interactions": [("a", "b", "c")]}, ValueError, "interactions must contain pairs.*'c'"),
    ({"interactions": [("a",)]}, ValueError, "interactions must contain pairs"),
    ({"interactions": [{"a"}]}, ValueError, "interactions must contain pairs"),
    ({"interactions": [3]}, ValueError, "interactions must contain pairs"),
    ({"interactions": {"a": "b"}}, TypeError, "interactions must be a list of pairs"),
    ({"interactions": "ab"}, TypeError, "interactions must be a list of pairs"),
    ({"interactions": 3}, TypeError, "interactions must be a list of pairs"),
    (
        {"interactions": [("a", "b")], "feature_fields": None},
        ValueError,
        "interactions refers to fields; assign the features to fields with feature_fields",
    ),
    ({"interactions": [("a", "b")], "degree": 3}, ValueError, "degree=3.*interactions=None"),
    *(({"degree": d}, (ValueError, TypeError), r"\bdegree\b") for d in (1, 0, -2, 11, 2.5, True)),
    ({"fit_lower": "yes"}, (ValueError, TypeError), "fit_lower"),
    ({"fit_linear": "user"}, TypeError, "fit_linear must be.*'user'"),
    ({"fit_linear": None}, TypeError, "fit_linear must be.*None"),
    ({"fit_linear": 1}, TypeError, "fit_linear must be"),
    ({"fit_linear": ["a", "x"]}, ValueError, "Unknown field 'x' in fit_linear; known"),
    (
        {"fit_linear": ["a"], "feature_fields": None},
        ValueError,
        "fit_linear refers to fields; assign the features to fields with feature_fields",
    ),
    ({"feature_fields": ["a"] * 5}, ValueError, r"feature_fields.*\(6,\).*\(5,\)"),
    ({"feature_fields": ["a"] * 7}, ValueError, r"feature_fields.*\(6,\).*\(7,\)"),
    ({"feature_fields": "aabbcc"}, ValueError, "feature_fields"),
    ({"feature_fields": [1, 1, 2, 2, 3, np.nan]}, ValueError, "feature_fields contains NaN"),
    ({"feature_fields": ["a", "a", "b", "b", 3, None]}, ValueError, "feature_fields.*None"),
    ({"feature_fields": 3}, ValueError, "feature_fields"),
]


KINDS = [FMRegressor, BayesianFMClassifier, *in_full(FMClassifier, BayesianFMRegressor)]


@pytest.mark.parametrize("parameters, error, match", REFUSED)
@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_is_refused_and_changes_nothing(kind, parameters, error, match):
    X, y = make(2 if "Classifier" in kind.__name__ else 0)
    model = kind(2, max_iter=22, feature_fields=FIELDS, interactions=[("a", "b")], random_state=0)
    if "interactions" not in parameters:
        model.set_params(interactions=None)
    unfitted = clone(model).set_params(**parameters)
    before = dict(vars(unfitted))
    with pytest.raises(error, match=match):
        unfitted.fit(X, y)
    assert vars(unfitted).keys() == before.keys()
    quietly(model.fit, X, y)
    expected = model.predict(X)
    model.set_params(**parameters)
    before = dict(vars(model))
    with pytest.raises(error, match=match):
        model.fit(X, y)
    assert vars(model).keys() == before.keys()
    for name, value in before.items():
        assert vars(model)[name] is value
    assert_array_equal(model.predict(X), expected)


def test_labels_may_be_numbers():
    X, y = make()
    options = {"n_components": 2, "max_iter": 5}
    letters = model_for(0, interactions=[("a", "b")], fit_linear=["c"], **options)
    for kind in (int, float, np.int32):
        numbers = model_for(
            *(0,),
            feature_fields=np.repeat([3, 7, 11], 2).astype(kind),
            interactions=[(3, kind(7))],
            fit_linear=[11],
            **options,
        )
        assert_same(quietly(numbers.fit, X, y), quietly(letters.fit, X, y))
