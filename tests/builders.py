"""What several test files build: problems, models, fitted models, and what they compare."""

import warnings

import numpy as np
import pytest
import reference
from helpers import JIT
from numpy.testing import assert_array_equal
from scipy import stats
from scipy.special import binom

from skfm import FMClassifier, FMRegressor
from skfm._fm import target_transform as targets
from skfm._kernels import losses
from skfm._solvers.fm.gibbs import Draw
from skfm._solvers.fm.minibatch import Settings
from skfm._solvers.fm.optimizer_state import UPDATES
from skfm._solvers.fm.priors import Hyperprior
from skfm._utils.fingerprint import digest
from skfm._utils.plain_state import to_plain

MINIBATCH_SOLVERS = list(UPDATES)
SOLVERS = sorted([*MINIBATCH_SOLVERS, "als"])
REGRESSION = list(targets.REGRESSION)
CLASSIFICATION = [(loss, n_classes) for loss in targets.CLASSIFICATION for n_classes in (2, 3)]
LOSSES = [(loss, 0) for loss in REGRESSION] + CLASSIFICATION

RATES = {"als": "auto", "adagrad": 0.3, "adam": 0.02, "ftrl": 0.3, "sgd": 0.03}


# Problems of the kernels

CODES = targets.REGRESSION | targets.CLASSIFICATION | {"softmax": losses.SOFTMAX}
SHAPES = {"huber": reference.HUBER_EPSILON, "quantile": reference.QUANTILE}


def make_X(rng, n_rows, n_features, values="general"):
    """A dense array with many zeros, one empty row and one empty column."""
    filled = rng.random((n_rows, n_features)) < 0.5
    filled[n_rows // 2] = False
    filled[:, n_features // 2] = False
    if values == "unit":
        return filled.astype(float)
    return filled * rng.uniform(0.5, 2, size=filled.shape) * rng.choice([-1, 1], filled.shape)


def make_y(rng, kind, n_outputs, n_rows):
    if kind == "poisson":
        return rng.poisson(1.0, size=n_rows).astype(float)
    if kind in ("log_loss", "softmax", "squared_hinge"):
        return rng.integers(max(2, n_outputs), size=n_rows)
    return rng.normal(size=n_rows)


def random_parameters(rng, n_outputs, n_components, n_features):
    return (
        rng.normal(size=n_outputs) / 3,
        rng.normal(size=(n_outputs, n_features)) / 3,
        rng.normal(size=(n_outputs, n_components, n_features)) / 3,
    )


def copy_record(record):
    """A copy of a record of arrays and such records."""
    return type(record)(
        *(copy_record(part) if isinstance(part, tuple) else part.copy() for part in record)
    )


def settings_for(kind, max_iter, **options):
    """Of a descent of so many sweeps."""
    return Settings(
        solver="als",
        loss_parameter=SHAPES.get(kind, 0.0),
        learning_rate=None,
        initial_accumulator=1.0,
        batch_size="auto",
        max_iter=max_iter,
        tol=0.0,
        n_iter_no_change=max_iter,
        **{"fit_intercept": True, "fit_linear": True, "n_threads": 1, "verbose": False, **options},
    )


# Fitted models


def make_dense(loss, n_classes, n_rows=150, seed=0):
    """Targets of a planted model of six scaled columns."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 6))
    n_outputs = n_classes if n_classes > 2 else 1
    planted = (
        np.zeros(n_outputs),
        rng.normal(size=(n_outputs, 6)) / 2,
        rng.normal(size=(n_outputs, 2, 6)) * 0.6,
    )
    raw = reference.raw_output(planted, X)
    if loss == "poisson":
        return X, rng.poisson(np.exp(np.clip(raw[:, 0] / 2, None, 3))).astype(float)
    if n_classes == 0:
        return X, 5 + 2 * (raw[:, 0] + rng.normal(size=n_rows) / 3)
    if n_classes == 2:
        return X, (raw[:, 0] + rng.logistic(size=n_rows) / 2 > 0).astype(int)
    return X, (raw + rng.gumbel(size=raw.shape) / 2).argmax(axis=1)


# Where the objective has to stay what it is; with "auto" it changes during a fit.
GIVEN = {"alpha": 1.2, "alpha_linear": 5.0}


def model_for(loss, n_classes, **parameters):
    parameters = {"loss": loss, "random_state": 0, **parameters}
    if n_classes:
        return FMClassifier(**parameters)
    return FMRegressor(epsilon=reference.HUBER_EPSILON, quantile=reference.QUANTILE, **parameters)


def quietly(function, *arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*arguments, **options)


def raw(model, X):
    """The raw outputs, (n_rows, n_outputs)."""
    output = model.predict(X) if isinstance(model, FMRegressor) else model.decision_function(X)
    return output.reshape(output.shape[0], -1)


def parameters_of(model):
    """Fitted parameters in the shapes of the reference."""
    components = model.components_
    return (
        np.atleast_1d(np.asarray(model.intercept_, dtype=np.float64)),
        np.atleast_2d(model.coef_),
        components if components.ndim == 3 else components[None],
    )


def as_reference(model, y):
    """Fitted parameters, target and name of the loss, as the objective is stated."""
    components = model.components_
    parameters = (
        np.atleast_1d(np.asarray(model.intercept_, dtype=float)),
        np.atleast_2d(model.coef_),
        components if components.ndim == 3 else components[None],
    )
    kind = model.loss
    if isinstance(model, FMClassifier):
        if kind == "log_loss" and len(model.classes_) > 2:
            kind = "softmax"
        return parameters, y, kind
    if kind == "poisson":
        return parameters, y, kind
    shift, unit = y.mean(), y.std()
    intercept, coef, factors = parameters
    parameters = (intercept - shift) / unit, coef / unit, factors / np.sqrt(unit)
    return parameters, (y - shift) / unit, kind


def assert_same(one, other):
    """Two fitted models have the same parameters, bit by bit."""
    for name in ("intercept_", "coef_", "components_"):
        first, second = np.asarray(getattr(one, name)), np.asarray(getattr(other, name))
        assert first.dtype == second.dtype
        assert first.shape == second.shape
        assert_array_equal(first, second)


def assert_same_values(one, other):
    """Values are equal to the last bit, and have the same types."""
    one, other = to_plain(one), to_plain(other)
    if isinstance(one, np.ndarray):
        assert isinstance(other, np.ndarray) and one.dtype == other.dtype
        assert one.shape == other.shape
        assert_array_equal(one, other)
        if one.dtype.kind == "O":
            assert list(map(type, one.ravel())) == list(map(type, other.ravel()))
        return
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert list(one) == list(other)
        one, other = list(one.values()), list(other.values())
    if isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for part, other_part in zip(one, other, strict=True):
            assert_same_values(part, other_part)
    else:
        assert one == other or one != one  # NaN


# Chains of draws, and their calibration

KEY = np.array([3, 5], dtype=np.uint64)
# Tails that are tame.
NARROW = Hyperprior(
    shape=10.0, rate=10.0, mean_count=1.0, common=10.0, degrees_of_freedom=np.array([8.0, 64.0])
)
LIMIT = 1e-4  # of the p-value of all tests together
too_slow = pytest.mark.skipif(not JIT, reason="ten thousand iterations take many minutes")


def expected_of(X, group, degrees):
    """The precision of each group's parameters at which outputs have a variance of 1 from each
    degree, and from the linear weights, if rows are as long as the mean."""
    entries = [(X[:, group == g] != 0).sum(axis=1).mean() for g in range(group.max() + 1)]
    crowd = np.maximum(entries, 1)
    length, n_groups = crowd[np.array(entries) > 0].sum(), np.count_nonzero(entries)
    n_products = [binom(length, d) * np.sum(np.equal(degrees, d)) for d in degrees]
    each = [n ** (1 / d) for n, d in zip(n_products, degrees, strict=True)]
    return np.outer(crowd * n_groups / length, [*each, length])


def draw_from_prior(rng, group, prior, expected, degrees):
    shape = expected.shape
    common = rng.gamma(prior.common / 2, 2 / prior.common, size=shape[1])
    kinds, kind = np.unique([*degrees, 1], return_inverse=True)
    freedom = rng.choice(prior.degrees_of_freedom, size=kinds.size)[kind]
    precision = rng.gamma(freedom / 2, 2 / freedom, size=shape) * common * expected
    mean = rng.normal(size=shape) / np.sqrt(prior.mean_count * precision)
    theta = mean[group] + rng.normal(size=(group.size, shape[1])) / np.sqrt(precision[group])
    noise_precision = rng.gamma(prior.shape / 2, 2 / prior.rate)
    return Draw(0.0, theta, noise_precision, mean, precision, common)


def p_value(ranks, n_draws=3):
    """Of all numbers together, by Bonferroni."""
    counts = [np.bincount(column, minlength=n_draws + 1) for column in ranks.T]
    return len(counts) * min(stats.chisquare(count).pvalue for count in counts)


def assert_same_fit(one, other):
    """The same bits in everything that two estimators keep."""
    # In the order of names: a callback sees some attributes before others.
    state, other_state = (dict(sorted(model.__getstate__().items())) for model in (one, other))
    assert_same_values(state, other_state)
    for name, value in state.items():  # -0.0 is not 0.0
        assert digest(value) == digest(other_state[name]), name
