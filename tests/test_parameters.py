"""Numbers as parameters: of NumPy's small types as good as of Python's, and huge ones."""

import numbers
import re
import warnings
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from builders import quietly
from numpy.testing import assert_array_equal
from scipy import sparse

from skfm import (
    BayesianFMClassifier,
    BayesianFMRegressor,
    FMClassifier,
    FMRecommender,
    FMRegressor,
    MFRecommender,
)
from skfm._utils import validation
from skfm._utils.messages import shown
from skfm._utils.parameters import (
    AUTO,
    BETWEEN_0_AND_1,
    BOOLEAN,
    N_JOBS,
    NON_NEGATIVE,
    POSITIVE,
    check_parameter,
    check_parameters,
)
from skfm.datasets import make_fm_classification, make_fm_regression
from skfm.metrics import ndcg_at_k, precision_at_k, recall_at_k
from skfm.model_selection import EntryKFold, leave_last_out, split_entries, split_users
from skfm.preprocessing import EventEncoder, TableEncoder, UserItemEncoder

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 3))
Y = X[:, 0] + X[:, 1] * X[:, 2]
ITEMS = RNG.integers(4, size=30)
RATINGS = np.ceil(5 * RNG.random((12, 6))) * (RNG.random((12, 6)) < 0.7)
LOG = np.stack([ITEMS, ITEMS[::-1], np.arange(30)], axis=1)
RANKED = np.tile(np.arange(6), (12, 1))


def fitted(estimator, *data, ask, **parameters):
    def call(**changed):
        options = {"n_components": 2, "max_iter": 3, "random_state": 0, **parameters, **changed}
        return getattr(quietly(estimator(**options).fit, *data), ask)(data[0])

    return call


def of_fm(estimator, y, **parameters):
    return fitted(estimator, X, y, ask="predict", **parameters)


def make_log(**parameters):
    blocks = ["user", "time", "user_time", "last", "ratings"]
    return EventEncoder(blocks, time=2, **parameters).fit_transform(LOG, Y)


FUNCTIONS = {
    "FMRegressor": of_fm(FMRegressor, Y),
    "FMRegressor, stops": of_fm(FMRegressor, Y, early_stopping=True),
    "FMRegressor, huber": of_fm(FMRegressor, Y, loss="huber"),
    "FMRegressor, ftrl": of_fm(FMRegressor, Y, solver="ftrl"),
    "FMRegressor, als": of_fm(FMRegressor, Y, solver="als"),
    "FMClassifier": of_fm(FMClassifier, ITEMS),
    "BayesianFMRegressor": of_fm(BayesianFMRegressor, Y, n_burn_in=1),
    "BayesianFMClassifier": of_fm(BayesianFMClassifier, Y > 0, n_burn_in=1),
    "MFRecommender": fitted(MFRecommender, RATINGS, ask="transform"),
    "MFRecommender, implicit": fitted(
        MFRecommender, RATINGS, ask="transform", feedback="implicit"
    ),
    "FMRecommender": of_fm(FMRecommender, ITEMS),
    "EventEncoder": make_log,
    "make_fm_regression": lambda **p: make_fm_regression(**{"random_state": 0, **p})[1],
    "make_fm_classification": lambda **p: make_fm_classification(**{"random_state": 0, **p})[1],
    "split_entries": lambda **p: split_entries(RATINGS, random_state=0, **p)[0],
    "split_users": lambda **p: split_users(RATINGS, random_state=0, **p)[0],
    "leave_last_out": lambda **p: leave_last_out(RATINGS, RATINGS, **p)[0],
    "EntryKFold": lambda **p: next(EntryKFold(random_state=0, **p).split(RATINGS))[0],
    "ndcg_at_k": lambda **p: ndcg_at_k(RATINGS, RANKED, **p),
    "recall_at_k": lambda **p: recall_at_k(RATINGS, RANKED, **p),
    "precision_at_k": lambda **p: precision_at_k(RATINGS, RANKED, **p),
}
INTEGERS = [
    ("FMRegressor", {"n_components": 100, "batch_size": 100, "n_iter_no_change": 3}),
    ("FMRegressor, stops", {"validation_fraction": 10}),
    ("FMRegressor, als", {"n_components": 3, "degree": 3, "n_jobs": 2}),
    ("FMClassifier", {"n_components": 3, "batch_size": 4}),
    ("BayesianFMRegressor", {"n_components": 3, "max_memory": 3, "n_burn_in": 2}),
    ("BayesianFMClassifier", {"max_memory": 100}),
    ("MFRecommender", {"n_components": 100, "alpha": 2, "nu": 1}),
    ("FMRecommender", {"n_components": 3, "batch_size": 4, "max_draws": 100, "negatives": 1}),
    ("EventEncoder", {"n_bins": 127, "n_last": 3, "n_folds": 3}),
    ("make_fm_regression", {"n_samples": 100, "n_fields": 3, "n_levels": 100, "noise": 1}),
    ("make_fm_classification", {"n_samples": 100, "n_classes": 3, "n_levels": 100}),
    ("split_entries", {"test_size": 2}),
    ("split_users", {"test_size": 2, "hidden_size": 2}),
    ("leave_last_out", {"n_entries": 2}),
    ("EntryKFold", {"n_splits": 3}),
    ("ndcg_at_k", {"k": 2}),
    ("recall_at_k", {"k": 2}),
    ("precision_at_k", {"k": 2}),
]
FLOATS = [
    ("FMRegressor", {"alpha": 2, "alpha_linear": 2, "learning_rate": 0.5, "init_scale": 0.5}),
    ("FMRegressor, stops", {"validation_fraction": 0.5, "tol": 0.25}),
    ("FMRegressor, huber", {"epsilon": 2}),
    ("FMRegressor, ftrl", {"alpha_l1": 0.5, "alpha_l21": 0.5}),
    ("BayesianFMRegressor", {"max_memory": 100, "init_scale": 0.5}),
    ("MFRecommender", {"alpha": 2, "alpha_bias": 2, "nu": 1, "init_scale": 0.5, "tol": 0.25}),
    ("MFRecommender, implicit", {"unobserved_weight": 0.5}),
    ("FMRecommender", {"alpha": 2, "negatives": 0.5, "init_scale": 0.5}),
    ("make_fm_regression", {"skew": 2, "linear_scale": 2, "mean": 3, "noise": 0.5}),
    ("make_fm_classification", {"signal": 0.5, "base_rate": 0.25}),
    ("split_entries", {"test_size": 0.5}),
]


def as_array(answer):
    return answer.toarray() if hasattr(answer, "toarray") else np.asarray(answer)


def assert_alike(function, plain, other):
    call = FUNCTIONS[function]
    assert_array_equal(as_array(call(**other)), as_array(call(**plain)))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.uint64])
@pytest.mark.parametrize(("function", "parameters"), INTEGERS)
def test_integers_of_numpy(function, parameters, dtype):
    assert_alike(function, parameters, {n: dtype(v) for n, v in parameters.items()})


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.longdouble, Fraction])
@pytest.mark.parametrize(("function", "parameters"), FLOATS)
def test_floats_of_numpy(function, parameters, dtype):
    assert_alike(function, parameters, {n: dtype(v) for n, v in parameters.items()})


@pytest.mark.parametrize("value", [2**31, 2**63, 10**30, 10**400, np.uint64(2**64 - 1)])
@pytest.mark.parametrize(
    ("function", "name"),
    [
        *((f, "n_components") for f in FUNCTIONS if "FM" in f or "MF" in f or "make" in f),
        ("EventEncoder", "n_bins"),
        ("make_fm_regression", "n_levels"),
    ],
)
def test_numbers_far_too_large(function, name, value):
    with pytest.raises(ValueError, match=name):
        FUNCTIONS[function](**{name: value})


@pytest.mark.parametrize(
    ("function", "name"),
    [
        ("FMRegressor", "alpha"),
        ("FMRegressor", "learning_rate"),
        ("FMRegressor, huber", "epsilon"),
        ("BayesianFMRegressor", "max_memory"),
        ("MFRecommender", "alpha_bias"),
        ("FMRecommender", "init_scale"),
        ("make_fm_regression", "noise"),
    ],
)
def test_integers_that_are_no_floats(function, name):
    with pytest.raises(ValueError, match=f"{name} is too large"):
        FUNCTIONS[function](**{name: 10**400})


@pytest.mark.parametrize("value", [2**62, 2**63, 10**30])
@pytest.mark.parametrize(
    ("function", "name", "enough"),
    [
        ("FMRegressor", "batch_size", 30),
        ("FMRegressor", "n_iter_no_change", 100),
        ("FMRegressor", "n_jobs", 4),
        ("BayesianFMRegressor", "max_memory", 256),
        ("FMRecommender", "batch_size", 30),
        ("EventEncoder", "n_last", 30),
        ("EventEncoder", "n_folds", 30),
        ("split_entries", "test_size", 6),
        ("leave_last_out", "n_entries", 6),
        ("ndcg_at_k", "k", 6),
        ("recall_at_k", "k", 6),
    ],
)
def test_more_than_there_is(function, name, enough, value):
    assert_alike(function, {name: enough}, {name: value})


@pytest.mark.parametrize(
    "parameters", [{"nu": 1e308}, {"alpha": 1e308}, {"unobserved_weight": 1e308}], ids=str
)
def test_penalties_of_a_factorization_that_are_no_numbers(parameters):
    with pytest.raises(ValueError, match=r"alpha=.*nu=.*Lower them"):
        FUNCTIONS["MFRecommender, implicit"](**parameters)


@pytest.mark.parametrize("ids", [[], (), np.array([]), np.array([], dtype=object)], ids=repr)
@pytest.mark.parametrize("features", [None, np.eye(3)], ids=["", "features"])
def test_no_item_ids(ids, features):
    with pytest.raises(ValueError, match="item_ids is empty"):
        FMRecommender(2, item_ids=ids, item_features=features).fit(X, ITEMS)


def test_checked_numbers_are_pythons():
    for value in (3, np.int8(3), np.uint64(3)):
        assert type(validation.check_number(value, "n", numbers.Integral)) is int
    for value in (0.5, np.float16(0.5), Fraction(1, 2), 3):
        assert type(validation.check_number(value, "x", numbers.Real)) is float


@pytest.mark.parametrize(
    "value, text",
    [
        (np.float64(1.5), "1.5"),
        (np.float32(0.5), "0.5"),
        (np.int8(3), "3"),
        (np.bool_(True), "True"),
        (np.str_("a"), "'a'"),
        ([np.float64(1.5), (np.int64(2), "b")], "[1.5, (2, 'b')]"),
        ({np.str_("a"): np.float64(0.1)}, "{'a': 0.1}"),
        (np.timedelta64(1, "s"), "np.timedelta64(1,'s')"),
        (None, "None"),
    ],
)
def test_numbers_of_numpy_are_plain_in_messages(value, text):
    assert shown(value) == text


def test_a_wrong_number_of_numpy_is_plain_in_the_message():
    with pytest.raises(ValueError, match=r"alpha must be .*; got -1\.5\."):
        MFRecommender(2, alpha=np.float64(-1.5)).fit(RATINGS)


# Checked in code: together with another parameter or with the data.
OTHERS = {
    *("alpha", "alpha_linear", "alpha_l1", "alpha_l21", "class_weight", "scoring", "random_state"),
    *("interactions", "fit_linear", "feature_fields", "feature_groups", "user_fields"),
    *("item_features", "item_ids", "item_fields", "item_identity"),
    *("blocks", "user", "item", "value", "time", "columns"),
}
ESTIMATORS = [
    *(FMRegressor, FMClassifier, BayesianFMRegressor, BayesianFMClassifier),
    *(MFRecommender, FMRecommender, EventEncoder, TableEncoder, UserItemEncoder),
]


class Something:
    def __repr__(self):
        return "something"


VALUES = [Something(), 1j, b"auto", {}, -7.5, "?", float("nan")]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_parameter_has_constraints(estimator):
    parameters = estimator().get_params()
    assert parameters.keys() >= estimator._constraints.keys()
    assert parameters.keys() - estimator._constraints.keys() <= OTHERS
    check_parameters(parameters, estimator._constraints)


@pytest.mark.parametrize("value", VALUES, ids=repr)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_values_that_meet_no_constraint(estimator, value):
    for name, allowed in estimator._constraints.items():
        if name == "callback":
            continue  # any function will do
        with pytest.raises((TypeError, ValueError), match=f"^{name} must be .*; got "):
            check_parameter(value, name, *allowed)


@pytest.mark.parametrize(
    ("allowed", "value", "message"),
    [
        ([AUTO, POSITIVE], 0, "x must be 'auto' or a number in (0, inf); got 0."),
        ([AUTO, POSITIVE], float("inf"), "x must be 'auto' or a number in (0, inf); got inf."),
        ([NON_NEGATIVE], -1, "x must be a number in [0, inf); got -1."),
        ([BETWEEN_0_AND_1], 1, "x must be a number in (0, 1); got 1."),
        ([AUTO, BOOLEAN], 1, "x must be 'auto' or True or False; got 1."),
        (
            N_JOBS,
            0,
            "x must be None or an integer in [1, inf) or an integer in (-inf, -1]; got 0.",
        ),
    ],
)
def test_messages_of_constraints(allowed, value, message):
    with pytest.raises((TypeError, ValueError), match=f"^{re.escape(message)}$"):
        check_parameter(value, "x", *allowed)


TABLES = [sparse.eye_array(2).todia(), np.ones((2, 2, 2)), pd.DataFrame({"a": [1.0]})]


@pytest.mark.parametrize("value", TABLES, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize(
    ("function", "name"),
    [
        ("FMRegressor", "loss"),
        ("FMRegressor", "solver"),
        ("FMRegressor", "batch_size"),
        ("FMRegressor", "early_stopping"),
        ("FMClassifier", "loss"),
        ("MFRecommender", "feedback"),
        ("FMRecommender", "batch_size"),
        ("FMRecommender", "user_fields"),
        ("FMRecommender", "item_identity"),
        ("EventEncoder.fit", "blocks"),
        ("EventEncoder.fit", "context"),
        ("EventEncoder.fit", "dtype"),
    ],
)
def test_tables_as_parameters(function, name, value):
    """Neither == nor iteration says of tables what it says of names and lists."""
    call = FUNCTIONS.get(function, lambda **parameters: EventEncoder(**parameters).fit(LOG))
    with pytest.raises((TypeError, ValueError), match=f"^{name} must be"):
        with warnings.catch_warnings():
            warnings.simplefilter("error", sparse.SparseEfficiencyWarning)
            call(**{name: value})


@pytest.mark.parametrize("value", TABLES[:2], ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("name", ["fit_linear", "interactions"])
def test_tables_as_lists_of_fields(name, value):
    with pytest.raises(TypeError, match=f"^{name} must be"):
        FUNCTIONS["FMRegressor"](feature_fields=list("aab"), **{name: value})


@pytest.mark.parametrize("estimator", [FMRegressor, FMClassifier])
def test_methods_of_estimators_whose_parameters_are_tables(estimator):
    """What is there depends on parameters that nobody has checked yet."""
    model = estimator(solver=TABLES[0], loss=TABLES[2])
    assert hasattr(model, "partial_fit") and not hasattr(model, "predict_proba")
