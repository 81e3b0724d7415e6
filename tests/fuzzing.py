"""Inputs for `test_fuzz.py`, drawn at random: tables, logs, parameters, and calls with them.

An input is an estimator and the calls that are made of it. Arguments that can come in several
forms are a `Form`: what they hold, and how a call is to get it.
"""

import copy
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

import numpy as np
import pandas as pd
from builders import REGRESSION, SOLVERS
from scipy import sparse

from skfm import (
    BayesianFMClassifier,
    BayesianFMRegressor,
    FMClassifier,
    FMRecommender,
    FMRegressor,
    MFRecommender,
    baselines,
)
from skfm._fm.target_transform import CLASSIFICATION
from skfm.preprocessing import EventEncoder, TableEncoder, UserItemEncoder
from skfm.recipes import make_recipe

ODD = [  # as a value of anything
    *(None, True, False, 0, 1, -1, 0.5, -0.5, 1e-300, 1e300, 2**70, 1j),
    *(np.nan, np.inf, -np.inf, np.float32(0.1), np.int8(3), np.array(2.0), int, len),
    *("", "x", b"x", (), [], {}, {1}, [1], ["a"], [[1, 2]], [None], ("a", "b"), {"a": 1}),
    *(np.empty(0), np.arange(3), np.array(["a", "b"]), np.ones((2, 2)), sparse.eye_array(3)),
    *(pd.Series([1, 2]), pd.DataFrame({"a": [1.0]}), range(3), np.datetime64("2020-01-01")),
]
SOUND = {"max_iter", "callback"}  # never odd: one takes for ever, the other is the user's code


class Dice:
    """Draws, of which some are what nobody should pass."""

    def __init__(self, *seed):
        self.rng = np.random.default_rng(seed)
        self.oddness = self.pick(0, 0, 0.01, 0.05)

    def chance(self, probability):
        return self.rng.random() < probability

    def pick(self, *values):
        return values[self.rng.integers(len(values))]

    def size(self, low, high):
        return int(self.rng.integers(low, high + 1))

    def value(self, *good):
        return self.pick(*ODD) if self.chance(self.oddness) else self.pick(*good)

    def values(self, domain, share=0.3):
        """Some parameters of a domain: their names, and the values that are good."""
        return {
            name: self.pick(*good) if name in SOUND else self.value(*good)
            for name, good in domain.items()
            if self.chance(share)
        }


# Forms of what is passed


@dataclass
class Form:
    """Something, and a function that makes of it what a call gets."""

    content: object
    shape: object
    plain: object  # the simplest function that makes the same

    def make(self, plain=False):
        return (self.plain if plain else self.shape)(copy.deepcopy(self.content))


def make(argument, plain=False):
    """What a call gets for an argument: it never sees what another call has got."""
    return argument.make(plain) if isinstance(argument, Form) else copy.deepcopy(argument)


def read_only(values):
    values.flags.writeable = False
    return values


def stored(values):
    """CSR that also stores the zeros."""
    n_rows, n_columns = values.shape
    indices = np.tile(np.arange(n_columns), n_rows)
    indptr = n_columns * np.arange(n_rows + 1)
    return sparse.csr_matrix((values.ravel(), indices, indptr), values.shape)


def repeated(values):
    """COO in which each entry occurs twice, the second time as a zero."""
    X = sparse.coo_array(values)
    data, rows, columns = (
        np.concatenate([part, other])
        for part, other in ((X.data, 0 * X.data), (X.row, X.row), (X.col, X.col))
    )
    return sparse.coo_array((data, (rows, columns)), X.shape)


def backwards(values):
    """CSR whose columns descend in each row."""
    X = sparse.csr_array(values[:, ::-1])
    return sparse.csr_array((X.data, values.shape[1] - 1 - X.indices, X.indptr), X.shape)


def wide(values):
    X = sparse.csr_matrix(values)
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    return X


def read_only_sparse(values):
    X = sparse.csr_matrix(values)
    for part in (X.data, X.indices, X.indptr):
        part.flags.writeable = False
    return X


def plain_table(values):
    return sparse.csr_matrix(values.astype(np.float32 if values.dtype == "f4" else np.float64))


DENSE = [
    *(np.asarray, np.asfortranarray, read_only, pd.DataFrame),
    lambda values: np.repeat(values, 2, axis=1)[:, ::2],
    lambda values: values[::-1].copy()[::-1],
]
LOOSE = [  # their numbers lose the type
    np.ndarray.tolist,
    lambda values: values.astype(object),
    lambda values: values.astype(np.longdouble),
    lambda values: [tuple(row) for row in values.tolist()],
]
SPARSE = [
    getattr(sparse, f"{name}_{kind}")
    for name in ("csr", "csc", "coo", "bsr", "lil", "dok", "dia")
    for kind in ("matrix", "array")
] + [repeated, backwards, wide, read_only_sparse]
LARGE, FLOATS = 1e250, [np.float64, np.float64, np.float32]


def draw_table(dice, n_rows, n_columns, *, is_explicit=False):
    """Rows of numbers, of some kind, type and form; without stored zeros if ``is_explicit``."""
    rng, shape = dice.rng, (n_rows, n_columns)
    kind = dice.pick("binary", "counts", "numbers", "numbers", "scales")
    values = rng.random(shape) < dice.pick(0.1, 0.5, 1)
    if kind == "counts":
        values = values * rng.integers(1, 6, shape)
    elif kind != "binary":
        values = values * (rng.normal(size=shape) + dice.pick(0, 0, 10))
    if kind == "scales":
        values = values * 10.0 ** rng.integers(-9, 9, n_columns)
    types = list(FLOATS)
    types += [np.int64, np.int32, np.int8, np.uint16] if kind in ("binary", "counts") else []
    types += [bool] if kind == "binary" else []
    values = values.astype(dice.pick(*types))
    if is_explicit and dice.chance(0.7):
        values = np.abs(values)
    if n_rows and n_columns:
        values[rng.integers(n_rows)] *= dice.pick(False, True)
        values[:, rng.integers(n_columns)] *= dice.pick(False, True)
    if dice.chance(dice.oddness):
        values = spoil_values(dice, values)
    if dice.chance(dice.oddness):
        return dice.pick(*BROKEN)(values)
    form = dice.pick(*DENSE, *SPARSE, *([] if is_explicit else [stored]))
    if values.dtype in (np.float64, np.int64) and dice.chance(0.2):
        form = dice.pick(*LOOSE)
    return Form(values, form, plain_table)


def spoil_values(dice, values):
    """Values or columns that are invalid."""
    change = dice.pick("value", "value", "fewer", "more", "no rows", "no columns", "one row")
    if change == "value":
        values = values.astype(dice.pick(*FLOATS))
        with np.errstate(over="ignore"):
            if values.size:
                values[dice.rng.integers(len(values)), -1] = dice.pick(
                    np.nan, np.inf, -np.inf, 1e-320, 1e30, 1e155, LARGE, -LARGE
                )
        return values
    if change == "more":
        return np.concatenate([values, values[:, :1]], axis=1)
    return {
        "fewer": values[:, :-1],
        "no rows": values[:0],
        "no columns": values[:, :0],
        "one row": values[:1],
    }[change]


def damaged(values):
    X = sparse.csr_matrix(np.ones(values.shape))
    if X.nnz:
        X.indices[-1] = 99
    return X


BROKEN = [  # forms of X that are none
    lambda values: values.ravel(),
    lambda values: values[None],
    lambda values: values.astype(str),
    lambda values: values + 1j,
    lambda values: sparse.csr_array(values + 1j),
    lambda values: sparse.coo_array(values.ravel()),
    lambda values: [*values.tolist(), [1.0]],
    lambda values: np.where(values == 0, None, values.astype(object)),
    lambda values: np.where(values == 0, "x", values.astype(object)),
    lambda values: values.astype("datetime64[s]") if values.dtype == "i8" else values > 0,
    lambda values: np.asmatrix(values),
    lambda values: pd.DataFrame(values.astype(str)),
    lambda values: pd.DataFrame(values).astype("category"),
    lambda values: {"a": values},
    lambda values: range(len(values)),
    lambda values: "text",
    lambda values: None,
    lambda values: 3.0,
    damaged,
]


BROKEN_COLUMNS = [
    lambda values: values[None],
    lambda values: values[:, None, None],
    lambda values: [*values.tolist(), [1.0]],
    lambda values: [None, *values.tolist()[1:]],
    lambda values: ["x", *values.tolist()[1:]],
    lambda values: [1, *values.tolist()[1:]],
    lambda values: [0.5, *values.tolist()[1:]],
    lambda values: [(1, 2)] * len(values),
    lambda values: np.full(len(values), 1j),
    lambda values: np.full(len(values), np.datetime64("2020-01-01")),
    lambda values: sparse.coo_array(np.ones((len(values), 1))),
    lambda values: {"a": values},
    lambda values: "text",
    lambda values: None,
    lambda values: 3.0,
]


def draw_column(dice, values, plain=np.asarray):
    """A column: targets, labels, items."""
    if dice.chance(dice.oddness):
        values = dice.pick(values[:-1], np.append(values, values[:1]), values[:0], values[:, None])
    if dice.chance(dice.oddness):
        return dice.pick(*BROKEN_COLUMNS)(values)
    forms = [np.asarray, np.asarray, np.ndarray.tolist, read_only]
    if values.ndim == 1:
        forms += [pd.Series, pd.Index, lambda values: np.repeat(values, 2)[::2]]
    return Form(values, dice.pick(*forms), plain)


def draw_numbers(dice, n, kind):
    rng = dice.rng
    values = rng.poisson(2.0, n).astype(float) if kind == "counts" else rng.normal(size=n)
    values = values * dice.pick(1, 1, 1, 100) + dice.pick(0, 0, 3)
    if dice.chance(dice.oddness):
        values = values * dice.pick(0.0, -1.0, 1e-300, 1e30, 1e155, 1e300)
    if n and dice.chance(dice.oddness):
        values[0] = dice.pick(np.nan, np.inf, -np.inf, 1e200)
    if dice.chance(0.3) and (values % 1 == 0).all() and (values < 1e9).all():
        values = values.astype(int)
    return draw_column(dice, values)


def draw_labels(dice, n, names):
    if dice.chance(dice.oddness):
        names = dice.pick(names[:1], np.array([7, 8, 9]), np.array([0.5, 1.5]))
    return draw_column(dice, names[dice.rng.integers(len(names), size=n)])


def draw_weight(dice, n):
    rng = dice.rng
    weights = [None, None, rng.random(n), rng.integers(3, size=n), np.ones(n), 2.0]
    weight = dice.value(*weights)
    if dice.chance(dice.oddness):
        weight = dice.pick(-np.ones(n), np.zeros(n), np.ones(n + 1), np.full(n, 1e200), ["a"] * n)
    if isinstance(weight, np.ndarray) and weight.ndim == 1:
        return draw_column(dice, weight)
    return weight


# Calls


@dataclass
class Call:
    """A method and its arguments. Only what `learns` may change the estimator."""

    method: str
    arguments: dict = field(default_factory=dict)

    @property
    def learns(self):
        return self.method in ("fit", "fit_transform", "partial_fit", "add_items", "set_params")


@dataclass
class Input:
    """An estimator, as a function that makes it, and calls."""

    estimator: object
    parameters: dict
    calls: list

    def make(self):
        return self.estimator(**copy.deepcopy(self.parameters))


def stop(estimator, epoch, loss):
    return epoch > 2


SHARED = {
    "n_components": (0, 1, 2, 5),
    "init_scale": (0, 0.05, 1.0, 100.0),
    "fit_intercept": (True, False),
    "fit_linear": (True, False),
    "degree": (2, 2, 3),
    "fit_lower": (True, False),
    "warm_start": (True, False),
    "max_iter": (1, 2, 5),
    "n_jobs": (None, -1),
    "verbose": (0, 1, True),
}
FM = SHARED | {
    "solver": SOLVERS,
    "alpha": (0, 0.1, 10.0, 1e6),
    "alpha_linear": (0, 0.1, 10.0, 1e6),
    "learning_rate": ("auto", 0.01, 1.0, 100.0),
    "initial_accumulator": (1e-3, 1.0, 10.0),
    "batch_size": ("auto", 1, 7, 64),
    "tol": (0, 1e-4, 10.0),
    "n_iter_no_change": (1, 2, 5),
    "early_stopping": (False, True, "auto"),
    "validation_fraction": (0.1, 0.5, 3),
    "scoring": ("loss", None),
    "refit": (True, False),
    "callback": (None, stop),
}
FIELD_INTERACTIONS = ("plain", "weighted", "matrixed", "aware")
LASSO = {"alpha_l1": (0, 0.1), "alpha_l21": (0, 0.1)}
REGRESSOR = FM | {
    "loss": REGRESSION,
    "epsilon": (0.1, 1.0),
    "quantile": (0.1, 0.5),
}
CLASSIFIER = FM | {
    "loss": tuple(CLASSIFICATION),
    "class_weight": (None, "balanced", {0: 2.0, 1: 0.5}),
}
BAYES = SHARED | {"max_iter": (2, 5), "n_burn_in": (0, 1), "max_memory": (256, 1e-3)}
MATRIX = {
    "n_components": ("auto", 1, 2, 5),
    "feedback": ("explicit", "implicit"),
    "solver": ("auto", "als", "sgd"),
    "alpha": ("auto", 0.1, 10.0),
    "alpha_bias": (0.1, 3.0),
    "nu": ("auto", 0, 1.0),
    "unobserved_weight": ("auto", 0, 0.1, 1.0),
    "fit_bias": (True, False),
    "learning_rate": (0.01, 0.1, 10.0),
    "init_scale": (0.1, 10.0),
    "max_iter": (1, 2, 5),
    "tol": (0, 1e-4, 10.0),
    "n_jobs": (None, -1),
    "verbose": (0, 1),
}
RANKING = {name: SHARED[name] for name in ("n_components", "init_scale", "max_iter", "n_jobs")} | {
    "loss": ("warp", "bpr", "logistic"),
    "fit_linear": (True, False, ["item"], ["context", "item"]),
    "interactions": (None, [("context", "item")], [("a", "item"), ("b", "item_features")]),
    "negatives": ("uniform", "popularity", 0.5),
    "item_identity": (("item",), (), ("item", "again")),
    "user_fields": (None, ["a"], ["context"]),
    "max_draws": (1, 10),
    "alpha": ("auto", 0, 0.1, 1e6),
    "alpha_linear": ("auto", 0, 10.0),
    "learning_rate": ("auto", 0.01, 1.0, 100.0),
    "initial_accumulator": (1e-3, 1.0),
    "batch_size": ("auto", 1, 7, 64),
    "tol": (0, 1e-4, 10.0),
    "n_iter_no_change": (1, 2, 5),
    "verbose": (0, 1),
}


def draw_fields(dice, n_columns, share=0.4):
    """Fields and groups of columns, and what names them."""
    labels = np.array(list("ab" * n_columns))[:n_columns]
    values = {}
    if dice.chance(share):
        labels = dice.rng.permutation(labels)
        values["feature_fields"] = dice.value(labels, labels.tolist(), labels.astype(object))
    if dice.chance(share):
        values["feature_groups"] = dice.value(labels, labels.tolist(), np.arange(n_columns) % 3)
    if "feature_fields" in values and n_columns > 1:
        pairs = [("a", "b")], [("a", "a")], [], [["b", "a"], ["b", "b"]]
        values |= dice.values({"interactions": pairs, "fit_linear": (["a"], [])}, 0.5)
    return values


def draw_fm(dice, estimator, domain, target, questions):
    """Fits of rows and targets, then questions about other rows; and again."""
    n_columns = dice.size(1, 7)
    parameters = {"max_iter": dice.pick(2, 3), "random_state": dice.pick(0, 1)}
    if "n_burn_in" in domain:
        parameters["n_burn_in"] = 1
    parameters |= dice.values(domain) | draw_fields(dice, n_columns)
    if "alpha" in domain:
        parameters |= dice.values({"field_interactions": FIELD_INTERACTIONS}, 0.3)
    if "interactions" in parameters or "field_interactions" in parameters:
        parameters.pop("degree", None)
    solver = parameters.get("solver")
    if (isinstance(solver, str) and solver == "ftrl") or dice.chance(dice.oddness):
        parameters |= dice.values(LASSO if "alpha" in domain else {})
    if "feature_groups" in parameters and "alpha" in domain and dice.chance(0.5):
        parameters["alpha"] = dice.value({"a": 1.0, "b": 2.0}, [1.0, 0.0], {0: 1, 1: 1, 2: 0})
    calls = []

    def rows():
        n = dice.pick(1, 2, 12, 30, 30, 30, 70)
        X = draw_table(dice, n, n_columns)
        return n, {"X": X}, {"y": target(dice, n), "sample_weight": draw_weight(dice, n)}

    for _ in range(dice.size(1, 3)):
        _, X, others = rows()
        learn = ("fit", "fit", "partial_fit") if "solver" in domain else ("fit",)
        calls.append(Call(dice.pick(*learn), X | others))
        if calls[-1].method == "fit" and "alpha" in domain and dice.chance(0.1):
            _, X, others = rows()
            names = {"X": "X_val", "y": "y_val", "sample_weight": "sample_weight_val"}
            calls[-1].arguments |= {names[name]: part for name, part in (X | others).items()}
        if calls[-1].method == "partial_fit" and "class_weight" in domain and dice.chance(0.8):
            labels = dice.value(target.keywords["names"], target.keywords["names"].tolist())
            calls[-1].arguments["classes"] = labels
        _, X, others = rows()
        calls += [Call(question, dict(X)) for question in questions]
        if "return_std" in questions:
            calls[-1] = Call("predict", X | {"return_std": dice.value(True, False)})
        calls.append(Call("score", X | others))
        if dice.chance(0.2):
            calls.append(Call("set_params", dice.values(domain, 0.1)))
    return Input(estimator, parameters, calls)


def draw_regressor(dice, estimator=FMRegressor, domain=REGRESSOR, questions=("predict",)):
    kind = dice.pick("numbers", "numbers", "counts")
    target = partial(draw_numbers, kind=kind)
    return draw_fm(dice, estimator, domain, target, questions)


def draw_classifier(dice, estimator=FMClassifier, domain=CLASSIFIER, n_classes=(2, 3)):
    questions = ["predict", "predict_proba"]
    if estimator is FMClassifier:
        questions += ["decision_function", "predict_log_proba"]
    names = dice.pick(np.arange(3), np.array(list("xyz")), np.array([-1, 1, 2]))
    names = dice.pick(np.array([False, True]), *3 * [names[: dice.pick(*n_classes)]])
    target = partial(draw_labels, names=names)
    return draw_fm(dice, estimator, domain, target, questions)


def draw_bayesian_regressor(dice):
    domain = BAYES | {"noise_by_level": (True, False)}
    return draw_regressor(dice, BayesianFMRegressor, domain, ("predict", "return_std"))


def draw_bayesian_classifier(dice):
    return draw_classifier(dice, BayesianFMClassifier, BAYES, (2,))


def draw_served(dice, X, items, n_rows, n_items):
    """Questions to a recommender whose items have these names."""
    some = dice.rng.permutation(items)[: dice.size(1, n_items)]
    mask = dice.rng.random(n_items) < 0.6
    entries = sparse.random_array((n_rows, n_items), density=0.3, rng=dice.rng, format="csr")
    answer = {
        "n_items": (1, 2, n_items, 100),
        "exclude_seen": (True, False),
        "candidates": (None, some, some.tolist(), mask),
        "exclude": (None, some[:1], some[:1].tolist(), entries, entries.tocoo()),
        "output": ("default", "pandas"),
        "user_ids": (None, [f"u{row}" for row in range(n_rows)]),
    }
    pairs = {
        "rows": dice.value(dice.rng.integers(-1, n_rows, 4), [0, 0, 0, 0]),
        "items": dice.value(np.resize(some, 4), np.resize(some, 4).tolist()),
    }
    near = {"items": dice.value(some, some.tolist()), "n_items": dice.value(1, 3, 100)}
    peers = {"rows": (None, [0]), "n_users": (1, 3, 100), "output": ("default", "pandas")}
    return [
        Call("recommend", {"X": X} | dice.values(answer)),
        Call("predict_pairs", {"X": X} | pairs),
        Call("similar_items", near),
        Call("similar_users", {"X": X} | dice.values(peers)),
        Call("user_vectors", {"X": X}),
        Call("item_vectors"),
    ]


def draw_matrix(dice):
    """Fits of users x items."""
    n_items = dice.size(1, 7)
    parameters = {"max_iter": dice.pick(2, 3), "random_state": 0} | dice.values(MATRIX)
    is_explicit = parameters.get("feedback", "explicit") == "explicit"
    parameters.setdefault("n_components", 2)
    calls = []
    for _ in range(dice.size(1, 2)):
        X = draw_table(dice, dice.pick(1, 5, 12, 40), n_items, is_explicit=is_explicit)
        calls.append(Call(dice.pick("fit", "fit_transform"), {"X": X}))
        n = dice.pick(1, 2, 10)
        X = draw_table(dice, n, n_items, is_explicit=is_explicit)
        calls += [Call("transform", {"X": X}), Call("score", {"X": X})]
        calls += draw_served(dice, X, np.arange(n_items), n, n_items)
        back = dice.rng.normal(size=(3, dice.size(1, 3)))
        calls.append(Call("inverse_transform", {"X": dice.value(back)}))
    return Input(MFRecommender, parameters, calls)


BASELINE = {
    "statistic": ("count", "sum"),
    "n_neighbors": (1, 3, 100),
    "metric": ("cosine", "tfidf", "bm25", "jaccard", "overlap"),
    "shrinkage": (0, 2.5, 1e6),
    "k1": (0, 1.2),
    "b": (0, 0.5, 1),
    "alpha": (0.1, 1.0, 1e6),
    "beta": (0, 0.5, 2.0),
    "max_items": (3, 100),
    "alpha_l1": (0, 0.1, 10.0),
    "positive": (True, False),
    "max_iter": (1, 5, 100),
    "tol": (1e-6, 0.1),
    "n_jobs": (None, -1),
}


def draw_baseline(dice):
    """Fits of users x items, without factors."""
    estimator = getattr(baselines, dice.pick(*baselines.__all__))
    known = estimator().get_params()
    domain = {name: values for name, values in BASELINE.items() if name in known}
    n_items = dice.size(1, 7)
    calls = []
    for _ in range(dice.size(1, 2)):
        X = draw_table(dice, dice.pick(1, 5, 12, 200), n_items, is_explicit=dice.chance(0.5))
        calls.append(Call("fit", {"X": X}))
        n = dice.pick(1, 2, 10)
        X = draw_table(dice, n, n_items, is_explicit=dice.chance(0.5))
        served = [Call("score", {"X": X}), *draw_served(dice, X, np.arange(n_items), n, n_items)]
        calls += [call for call in served if hasattr(estimator, call.method)]
    return Input(estimator, dice.values(domain), calls)


def draw_ranking(dice):
    """Events: contexts and chosen items, which may have features."""
    n_columns, n_items = dice.size(1, 6), dice.size(2, 6)
    names = dice.pick(np.arange(n_items), np.array([f"item {i}" for i in range(n_items)]))
    parameters = {"n_components": 2, "max_iter": dice.pick(2, 3), "random_state": 0}
    parameters |= dice.values(RANKING, 0.2)
    fields = draw_fields(dice, n_columns, 0.3)
    parameters |= {name: fields[name] for name in fields if name == "feature_fields"}
    n_features = dice.size(1, 4)
    if dice.chance(0.6):
        features = dice.rng.normal(size=(n_items, n_features)).round(1)
        form = dice.pick(np.asarray, np.ndarray.tolist, sparse.csr_array, sparse.coo_matrix)
        parameters["item_features"] = dice.value(form(features))
        if dice.chance(0.3):
            parameters["item_features"] = pd.DataFrame(features, index=names)
        elif names.dtype.kind != "i" or dice.chance(0.2):
            parameters["item_ids"] = dice.value(names, names.tolist())
        if dice.chance(0.2):
            parameters["item_fields"] = dice.value(["item_features"] * n_features)

    def events(n):
        chosen = draw_column(dice, names[dice.rng.integers(n_items, size=n)])
        X = draw_table(dice, n, n_columns)
        return {"X": X}, {"y": chosen, "sample_weight": draw_weight(dice, n)}

    calls = []
    for _ in range(dice.size(1, 2)):
        X, others = events(dice.pick(2, 12, 40))
        calls.append(Call("fit", X | others))
        n = dice.pick(1, 4, 10)
        X, others = events(n)
        calls += [Call("predict", X), *draw_served(dice, X["X"], names, n, n_items)]
        groups = {"groups": dice.value(None, np.arange(n) % 3, ["a"] * n)}
        calls += [Call("score", X | others | groups), Call("rank_held_out", X | others | groups)]
        more = dice.rng.normal(size=(2, n_features)).round(1)
        calls.append(
            Call("add_items", {"item_features": dice.value(more), "item_ids": ["new", "newer"]})
        )
        calls.append(Call("recommend", X | {"n_items": 3}))
    return Input(FMRecommender, parameters, calls)


# Logs


KINDS = [  # of users, items, values, times, a column of context and one of attributes
    (lambda n: n, lambda n: f"u{n}", lambda n: n / 2, lambda n: (n, "x")),
    (lambda n: n, lambda n: f"i{n}"),
    (lambda n: n + 1, lambda n: n / 2, lambda n: 1),
    (lambda n: n, lambda n: n / 4, lambda n: datetime(2020, 1, 1 + n)),
    (lambda n: n % 2, lambda n: f"c{n}"),
    (lambda n: n / 3, lambda n: "xyz"[n % 3], lambda n: ("p", "q")[: 1 + n % 2]),
]


def draw_logs(dice, *sizes, n_columns=6):
    """Logs with columns of the same kinds."""
    kinds = [dice.pick(*choice) for choice in KINDS[:n_columns]]
    return [draw_log(dice, n, kinds) for n in sizes]


def draw_log(dice, n, kinds):
    codes = dice.rng.integers(5, size=(n, len(kinds))).tolist()
    rows = [tuple(kind(code) for kind, code in zip(kinds, row, strict=True)) for row in codes]
    if dice.chance(dice.oddness):
        place, row = dice.size(0, len(kinds) - 1), list(rows[0])
        row[place] = dice.pick(None, np.nan, np.inf, "", "x", -1, 1e300, [1], (1, 2), 2**70)
        rows[dice.size(0, n - 1)] = tuple(row)
    if dice.chance(dice.oddness):
        bad = rows[:0], [row[:1] for row in rows], [*rows, (1,)], None, "log", 7, {"a": rows}
        return dice.pick(*bad)
    names = [f"x{number}" for number in range(len(kinds))]
    forms = [list, list, lambda rows: [list(row) for row in rows]]
    if not any(isinstance(value, (list, tuple)) for row in rows for value in row):
        forms += [partial(pd.DataFrame, columns=names), partial(np.array, dtype=object)]
    return Form(rows, dice.pick(*forms), list)


def draw_user_item_encoder(dice):
    n_columns = dice.size(2, 4)
    domain = {
        "user": ("auto", 0),
        "item": ("auto", 1),
        "value": ("auto", None, 2),
        "time": ("auto", None, 3),
        "duplicates": ("auto", "sum", "last", "mean"),
        "handle_unknown": ("error", "ignore"),
        "dtype": (np.float64, np.float32),
    }
    calls = []
    for _ in range(dice.size(1, 2)):
        log, other = draw_logs(dice, dice.pick(1, 5, 20), 5, n_columns=n_columns)
        calls.append(Call(dice.pick("fit", "fit_transform"), {"X": log}))
        other = dice.pick(log, other)
        for method in ("transform", "transform_new_users", "transform_time"):
            calls.append(Call(method, {"X": other}))
        ids = dice.value([0, 1], ["u0"], np.array([0.5]), ["u1", None])
        calls += [Call("encode_users", {"ids": ids}), Call("encode_items", {"ids": ids})]
        calls.append(Call("inverse_transform", {"matrix": dice.value(np.eye(3), np.ones((5, 4)))}))
    return Input(UserItemEncoder, dice.values(domain, 0.2), calls)


BLOCKS = ["user", "item", "history", "raters", "ratings", "previous", "last", "time", "user_time"]
BLOCKS += ["context", "attributes", ("again", "item"), ("late", "time")]


def draw_event_encoder(dice):
    blocks = [BLOCKS[i] for i in dice.rng.permutation(len(BLOCKS))[: dice.size(1, 5)]]
    parameters = {"blocks": dice.value(blocks, tuple(blocks)), "time": dice.value(3)}
    parameters |= {
        name: dice.value([place])
        for name, place in (("context", 4), ("attributes", 5))
        if name in blocks
    }
    domain = {"n_last": (1, 5), "n_bins": (1, 3), "n_folds": (2, 3), "user": (0,), "item": (1,)}
    domain["dtype"] = (np.float64, np.float32)
    calls = []
    for _ in range(dice.size(1, 2)):
        n = dice.pick(1, 5, 20)
        (log, other), y = draw_logs(dice, n, 4), draw_numbers(dice, n, "counts")
        calls.append(Call(dice.pick("fit", "fit_transform"), {"X": log, "y": y}))
        calls += [Call("transform", {"X": log}), Call("transform", {"X": other})]
        calls.append(Call("get_feature_names_out"))
    return Input(EventEncoder, parameters | dice.values(domain, 0.2), calls)


KINDS_OF_COLUMNS = ["category", "hashed", "number", "quantile_bins", "log_bins", "bag", "date"]
KINDS_OF_COLUMNS += ["bins_and_value", "hashed_bag", "drop", ["category", "hashed"]]


def draw_table_encoder(dice):
    columns = {number: dice.pick(*KINDS_OF_COLUMNS) for number in range(dice.size(0, 2))}
    parameters = {"columns": dice.value(columns), "crossed": dice.value([("x0", "x1")], ())}
    domain = {
        "strings": ("category", "hashed"),
        "numbers": ("number", "quantile_bins", "log_bins", "bins_and_value", "category"),
        "min_frequency": (None, 2, 0.5),
        "max_categories": (None, 1, 3),
        "n_features": (2, 9),
        "total_n_features": (None, 30),
        "n_bins": (2, 4),
        "sparse_output": (True, False),
        "dtype": (np.float64, np.float32),
    }
    calls = []
    for _ in range(dice.size(1, 2)):
        log, other = draw_logs(dice, dice.pick(1, 5, 20, 80), 5)
        calls.append(Call(dice.pick("fit", "fit_transform", "partial_fit"), {"X": log}))
        calls += [Call("transform", {"X": log}), Call("transform", {"X": other})]
        calls += [Call("get_feature_names_out"), Call("hash_collisions", {"X": other})]
    return Input(TableEncoder, parameters | dice.values(domain, 0.2), calls)


RECIPES = ["mf", "svd++", "knn", "knn++", "attributes", "timesvd", "timesvd++"]
RECIPES += ["timesvd++ flipped", "pitf", "fpmc", "parafac"]


def draw_recipe(dice):
    n, name = dice.pick(6, 20), dice.pick(*RECIPES)
    estimator = dice.pick(FMRegressor, FMClassifier, BayesianFMRegressor, FMRecommender)
    short = {"n_components": 2, "max_iter": 3, "random_state": 0}
    short |= {"n_burn_in": 1} if estimator is BayesianFMRegressor else {}
    columns = {"user": 0, "item": 1, "time": 3, "context": [4], "attributes": [5]}
    columns |= {name: dice.value(value) for name, value in columns.items()}
    log, other = draw_logs(dice, n, 4)
    if estimator is FMRecommender and isinstance(log, Form):
        y = [row[4 if name == "pitf" else 1] for row in log.content]
    elif estimator is FMClassifier:
        y = draw_labels(dice, n, np.array(list("xy")))
    else:
        y = draw_numbers(dice, n, "numbers")
    calls = [Call("fit", {"X": log, "y": y}), Call("predict", {"X": log})]
    calls.append(Call("predict", {"X": other}))
    if estimator is FMRecommender:
        calls.append(Call("score", {"X": log, "y": y}))
    make = partial(make_named_recipe, name, estimator, short)
    return Input(make, columns, calls)


def make_named_recipe(name, estimator, parameters, **columns):
    return make_recipe(name, estimator(**parameters), **columns)


FAMILIES = {
    "FMRegressor": draw_regressor,
    "FMClassifier": draw_classifier,
    "BayesianFMRegressor": draw_bayesian_regressor,
    "BayesianFMClassifier": draw_bayesian_classifier,
    "MFRecommender": draw_matrix,
    "FMRecommender": draw_ranking,
    "UserItemEncoder": draw_user_item_encoder,
    "EventEncoder": draw_event_encoder,
    "make_recipe": draw_recipe,
    "TableEncoder": draw_table_encoder,
    "baselines": draw_baseline,
}


def draw(family, seed):
    return FAMILIES[family](Dice(list(FAMILIES).index(family), seed))
