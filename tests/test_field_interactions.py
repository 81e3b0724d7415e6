"""Field-weighted, field-matrixed and field-aware models, trained by gradient steps."""

import pickle
from functools import cache

import numpy as np
import pytest
import reference
from builders import (
    CODES,
    LOSSES,
    MINIBATCH_SOLVERS,
    RATES,
    SHAPES,
    quietly,
    raw,
    settings_for,
)
from helpers import JIT, in_full, size
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from skfm import FMClassifier, FMRegressor
from skfm._fm import outputs
from skfm._kernels.field_interactions import BLOCK_ROWS
from skfm._solvers.fm import batches, trainer
from skfm._solvers.fm.empirical_bayes import PenaltySearch
from skfm._solvers.fm.interactions import Interactions
from skfm._solvers.fm.penalties import Penalties, PenaltiesToFind
from skfm._solvers.fm.problem import make_problem

KINDS = ["weighted", "matrixed", "aware"]
NAMES = np.array(["shop", "user", "item"])  # in an order of their own
FIELDS = np.repeat(NAMES, [3, 4, 3])
MASKS = {
    "all": {},
    "some": {"interactions": [("item", "user"), ("shop", "shop"), ("user", "shop")]},
    "one linear": {"interactions": [("item", "user")], "fit_linear": ["user"]},
}
GIVEN = {"alpha": 0.3, "alpha_linear": 0.5}

each_kind = pytest.mark.parametrize("kind", KINDS)


def make(n_classes=0, n_rows=None, *, seed=0, dtype=np.float64):
    """Rows of a table of three columns, one of them with several categories in a row, and targets
    with interactions that differ between fields."""
    rng = np.random.default_rng(seed)
    n_rows = n_rows or size(120, 40)
    X = np.zeros((n_rows, FIELDS.size))
    for first, n in ((0, 3), (3, 4), (7, 3)):
        X[np.arange(n_rows), first + rng.integers(n, size=n_rows)] = 1
    X[np.arange(n_rows), 3 + rng.integers(4, size=n_rows)] += 0.5
    X[:, 7:] *= rng.uniform(0.5, 1.5, size=(n_rows, 1))
    X[3] = 0
    user, item, shop = (rng.normal(size=n) for n in (4, 3, 3))
    z = (X[:, 3:7] @ user) * (X[:, 7:] @ item) - (X[:, :3] @ shop) * (X[:, 7:] @ item[::-1])
    z = (z - z.mean()) / z.std()
    if n_classes == 0:
        y = 5 + 2 * (z + rng.normal(size=n_rows) / 3)
    elif n_classes == 2:
        y = (3 * z + rng.logistic(size=n_rows) / 2 > 0).astype(int)
    else:
        y = np.digitize(3 * z + rng.gumbel(size=n_rows) / 2, [-1, 1])
    return X.astype(dtype), y.astype(dtype if n_classes == 0 else int)


def model_for(kind, n_classes=0, **parameters):
    parameters = {
        "n_components": 2,
        "field_interactions": kind,
        "feature_fields": FIELDS,
        "random_state": 0,
        **parameters,
    }
    if n_classes:
        return FMClassifier(**parameters)
    return FMRegressor(epsilon=SHAPES["huber"], quantile=SHAPES["quantile"], **parameters)


def numbered_fields(model):
    """The number of each feature's field, and which fields interact."""
    labels, fields = np.unique(model.feature_fields, return_inverse=True)
    allowed = np.ones((labels.size, labels.size), dtype=bool)
    if model.interactions is not None:
        pairs = {frozenset(pair) for pair in model.interactions}
        allowed = np.array([[frozenset((a, b)) in pairs for b in labels] for a in labels])
    return fields, allowed


def parameters_of(model):
    """Fitted attributes with an axis for outputs."""
    kind, components = model.field_interactions, model.components_
    between = {"weighted": "field_weights_", "matrixed": "field_matrices_"}.get(kind)
    between = None if between is None else np.asarray(getattr(model, between))
    if components.ndim == (3 if kind == "aware" else 2):
        components, between = components[None], None if between is None else between[None]
    intercept = np.atleast_1d(np.asarray(model.intercept_, dtype=np.float64))
    return intercept, np.atleast_2d(model.coef_), components, between


def twin(model, X):
    """The raw outputs that a fitted model should have, (n_rows, n_outputs)."""
    intercept, coef, components, between = parameters_of(model)
    return np.stack(
        [
            reference.field_output(
                *(model.field_interactions, intercept[c], coef[c], components[c]),
                *(None if between is None else between[c], X, *numbered_fields(model)),
            )
            for c in range(intercept.size)
        ],
        axis=1,
    )


def as_reference(model, X, y, weight=None):
    """Fitted parameters in the units of the objective, and the data that it is stated for."""
    intercept, coef, components, between = parameters_of(model)
    fields, allowed = numbered_fields(model)
    kind, n = model.field_interactions, components.shape[-2]
    pairs = reference.plain_pairs(kind, intercept.size, len(allowed), n)
    if between is not None:
        upper = np.triu_indices(len(allowed), 1)
        given = between[:, *upper].reshape(pairs.shape)
        pairs = np.where(allowed[upper][:, None], given, pairs)
    loss = model.loss
    if isinstance(model, FMClassifier):
        loss = "softmax" if loss == "log_loss" and intercept.size > 1 else loss
    elif loss != "poisson":
        mean = np.average(y, weights=weight)
        unit = np.sqrt(np.average((y - mean) ** 2, weights=weight))
        y, intercept, coef = (y - mean) / unit, (intercept - mean) / unit, coef / unit
        components = components / np.sqrt(unit)
    penalties = model.alpha, model.alpha_linear
    data = X, y, weight, loss, *penalties, kind, fields, allowed, model.alpha_fields
    return (intercept, coef, components, pairs), data


def objective(model, X, y, weight=None):
    """What the docstrings say is minimized, at the fitted parameters."""
    parameters, data = as_reference(model, X, y, weight)
    return reference.field_objective(parameters, *data)[0]


def assert_same(one, other):
    for first, second in zip(parameters_of(one), parameters_of(other), strict=True):
        if first is not None:
            assert_array_equal(first, second)


# Predictions and attributes


@pytest.mark.around(solver="adagrad", mask="some", n_classes=0)
@pytest.mark.parametrize("n_classes", [0, 2, 3])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("solver", MINIBATCH_SOLVERS)
@each_kind
def test_predictions_are_those_of_the_twin(kind, solver, mask, n_classes):
    X, y = make(n_classes, size(60, 25))
    model = model_for(kind, n_classes, solver=solver, alpha=0.1, max_iter=8, **MASKS[mask])
    quietly(model.fit, X, y)
    assert model.components_.any()
    expected = twin(model, X)
    assert_allclose(raw(model, X), expected, rtol=1e-9, atol=1e-9)
    assert_allclose(raw(model, sparse.csr_array(X)), expected, rtol=1e-9, atol=1e-9)
    unseen = model.predict(np.zeros((1, X.shape[1])))
    assert unseen == model.predict(X[3:4])


@pytest.mark.parametrize("n_classes", [0, 3])
@each_kind
def test_attributes_are_as_documented(kind, n_classes):
    X, y = make(n_classes)
    model = quietly(model_for(kind, n_classes, max_iter=5, **MASKS["some"]).fit, X, y)
    outputs = (3,) if n_classes else ()
    assert_array_equal(model.fields_, np.sort(NAMES))  # item, shop, user
    aware = (3,) if kind == "aware" else ()
    assert model.components_.shape == (*outputs, *aware, 2, X.shape[1])
    assert hasattr(model, "field_weights_") == (kind == "weighted")
    assert hasattr(model, "field_matrices_") == (kind == "matrixed")
    between = parameters_of(model)[3]
    if kind == "weighted":
        between = between[..., None, None]
    if kind != "aware":
        assert model.__getattribute__(
            f"field_{'weights' if kind == 'weighted' else 'matrices'}_"
        ).shape == (*outputs, 3, 3, *((2, 2) if kind == "matrixed" else ()))
        assert_array_equal(between, np.moveaxis(between, (1, 2, 3, 4), (2, 1, 4, 3)))
        assert not between[:, 0, 0].any() and not between[:, 0, 1].any()
        assert_array_equal(between[0, 1, 1], np.eye(between.shape[-1]))
        assert between[:, 0, 2].all() and (between[:, 0, 2] != np.eye(between.shape[-1])).any()
    model.set_params(field_interactions="plain")
    quietly(model.fit, X, y)
    assert not any(name.startswith("field") for name in vars(model) if name.endswith("_"))


def test_assigned_weights_change_predictions():
    X, y = make()
    model = quietly(model_for("weighted", max_iter=5).fit, X, y)
    weights = model.field_weights_.copy()
    weights[0, 2] = weights[2, 0] = 7.0
    before = model.predict(X)
    model.field_weights_ = weights.tolist()
    assert (model.predict(X) != before).any()
    assert_allclose(raw(model, X), twin(model, X), rtol=1e-9)
    model.field_weights_ = weights
    model.field_weights_[1, 2] = model.field_weights_[2, 1] = -1.0  # in place
    assert_allclose(raw(model, X), twin(model, X), rtol=1e-9)


def test_assigned_matrices_and_vectors_change_predictions():
    X, y = make(3)
    model = quietly(model_for("matrixed", 3, max_iter=5).fit, X, y)
    matrices = model.field_matrices_.copy()
    matrices[1, 0, 2] = [[1, 2], [3, 4]]
    matrices[1, 2, 0] = matrices[1, 0, 2].T
    model.field_matrices_ = matrices
    assert_allclose(raw(model, X), twin(model, X), rtol=1e-9)
    model = quietly(model_for("aware", 3, max_iter=5).fit, X, y)
    model.components_ = np.random.default_rng(0).normal(size=model.components_.shape)
    assert_allclose(raw(model, X), twin(model, X), rtol=1e-9)


@pytest.mark.parametrize(
    "kind, name, shape",
    [
        *(("weighted", "field_weights_", s) for s in [(), (3,), (2, 2), (3, 4), (3, 3, 3), (9,)]),
        *(("weighted", "field_weights_", s) for s in [(2, 3, 3), (4, 4)]),
        *(("matrixed", "field_matrices_", s) for s in [(3, 3), (3, 3, 2), (3, 3, 3, 3)]),
        *(("matrixed", "field_matrices_", s) for s in [(2, 2, 2, 2), (2, 3, 3, 2, 2), (3, 3, 4)]),
        *(("aware", "components_", s) for s in [(2, 10), (2, 3, 10), (6, 10), (3, 2, 9)]),
    ],
)
def test_assigned_attributes_of_other_shapes_are_refused(kind, name, shape):
    X, y = make()
    model = quietly(model_for(kind, max_iter=1).fit, X, y)
    setattr(model, name, np.ones(shape))
    with pytest.raises(ValueError, match=rf"shapes of the fitted attributes.*{name}.*fit returns"):
        model.predict(X)


@pytest.mark.parametrize("where", [(0, 1), (1, 1), (0, 2)], ids=["side", "within", "no partners"])
@pytest.mark.parametrize("kind", ["weighted", "matrixed"])
def test_assigned_parameters_of_no_model_are_refused(kind, where):
    X, y = make()
    pairs = [("item", "shop"), ("shop", "shop"), ("user", "user")]
    model = quietly(model_for(kind, max_iter=1, interactions=pairs).fit, X, y)
    name = {"weighted": "field_weights_", "matrixed": "field_matrices_"}[kind]
    whole = getattr(model, name)
    whole[where] = 7.0
    if where == (0, 2):
        whole[where[::-1]] = 7.0
    with pytest.raises(ValueError, match=rf"{name} is not that of a model.*\[b, a\]"):
        model.predict(X)
    delattr(model, name)
    with pytest.raises(AttributeError, match=name):
        model.predict(X)


@pytest.mark.parametrize("n_components", [0, 1])
@pytest.mark.parametrize("fields", ["one", "own"])
@each_kind
def test_the_smallest_models(kind, fields, n_components):
    """One field, in which features interact as in the plain model; one feature; no factors."""
    X, y = make()
    options = {"n_components": n_components, "max_iter": 5, "random_state": 0}
    plain = quietly(FMRegressor(**options).fit, X, y)
    if fields == "one":
        one = FMRegressor(field_interactions=kind, feature_fields=["a"] * X.shape[1], **options)
        assert_allclose(quietly(one.fit, X, y).predict(X), plain.predict(X), rtol=1e-7)
    else:
        own = quietly(FMRegressor(field_interactions=kind, **options).fit, X, y)
        assert_array_equal(own.fields_, np.arange(X.shape[1]))
        if not n_components:
            assert_allclose(own.predict(X), plain.predict(X), rtol=1e-7)
    lone = quietly(FMRegressor(field_interactions=kind, **options).fit, X[:, :1], y)
    assert_allclose(lone.predict(X[:, :1]), lone.intercept_ + X[:, 0] * lone.coef_[0])
    assert pickle.loads(pickle.dumps(lone)).predict(X[:1, :1]) == lone.predict(X[:1, :1])


# The optimum

LONG = {"max_iter": size(1500, 60), "tol": 0.0, "n_iter_no_change": 1500, "init_scale": 0.3}


def rows_for(loss, n_classes, weighted):
    X, y = make(n_classes)
    if loss == "poisson":
        y = np.round(np.exp((y - 5) / 2))
    weight = np.random.default_rng(1).uniform(0.5, 2, len(y)) if weighted else None
    return X, y, weight


SLACK = 1.02 if JIT else 1.5  # after this number of epochs; with four times as many, below 1.002
# The learning rate of SGD decays, which takes long for small gradients; FTRL does for the hinge.
LONGER = {("sgd", loss): 10 for loss in ("log_loss", "squared_hinge", "quantile")}
LONGER["ftrl", "squared_hinge"] = 2


# The twins of these losses take seconds: a loop over rows, and many iterations.
SLOW = [("squared_hinge", 2), ("squared_hinge", 3), ("absolute_error", 0), ("quantile", 0)]
SLOW_TWINS_IN_FULL = [
    pytest.param(*case, marks=pytest.mark.full) if case in SLOW else case for case in LOSSES
]


def total_weight(y, weight):
    return len(y) if weight is None else weight.sum()


@cache
def least_objective(kind, loss, n_classes, mask, weighted):
    """As L-BFGS finds it from a random start, without any fit."""
    X, y, weight = rows_for(loss, n_classes, weighted)
    model = model_for(kind, n_classes, loss=loss, max_iter=1, **GIVEN, **MASKS[mask])
    model.set_params(alpha_fields=1 / total_weight(y, weight))
    parameters, data = as_reference(quietly(model.fit, X, y, weight), X, y, weight)
    return reference.best_field_objective(parameters, data, n_starts=1)


@pytest.mark.around(kind="weighted", solver="adagrad", loss="squared_error", mask="all")
@pytest.mark.parametrize("mask, weighted", [("all", False), ("some", True)])
@pytest.mark.parametrize("loss, n_classes", SLOW_TWINS_IN_FULL)
@pytest.mark.parametrize("solver", MINIBATCH_SOLVERS)
@each_kind
def test_fit_reaches_the_optimum(kind, solver, loss, n_classes, mask, weighted):
    """The objective is not convex: L-BFGS hardly improves the fit, and finds nothing much better
    from another start."""
    X, y, weight = rows_for(loss, n_classes, weighted)
    model = model_for(kind, n_classes, loss=loss, solver=solver, learning_rate=RATES[solver])
    n = total_weight(y, weight)
    model.set_params(**GIVEN, **LONG, **MASKS[mask], alpha_fields=1 / n)
    model.set_params(max_iter=LONG["max_iter"] * LONGER.get((solver, loss), 1))
    quietly(model.fit, X, y, weight)
    parameters, data = as_reference(model, X, y, weight)
    found = reference.field_objective(parameters, *data)[0]
    assert_allclose(model.loss_curve_[-1], found / n, rtol=0.02)
    assert found <= SLACK * reference.best_field_objective(parameters, data, n_starts=0)
    assert found <= (SLACK + 0.02) * least_objective(kind, loss, n_classes, mask, weighted)


@pytest.mark.around(solver="adagrad", n_classes=0)
@pytest.mark.parametrize("n_classes", [0, 3])
@pytest.mark.parametrize("solver", MINIBATCH_SOLVERS)
@pytest.mark.parametrize("kind", ["weighted", "matrixed"])
def test_they_start_as_the_plain_model(kind, solver, n_classes):
    """The first batch moves all other parameters as in the plain model, and then those of pairs.
    With these back at their start, predictions and the objective are those of the plain model."""
    X, y = make(n_classes)
    options = {"solver": solver, "max_iter": 1, "learning_rate": 0.01, **GIVEN}
    plain = quietly(model_for("plain", n_classes, **options).fit, X, y)
    model = quietly(model_for(kind, n_classes, **options).fit, X, y)
    for one, other in zip(parameters_of(model)[:3], parameters_of(plain)[:3], strict=True):
        assert_allclose(one, other, rtol=1e-9, atol=1e-12)
    assert_allclose(model.loss_curve_, plain.loss_curve_)
    assert abs(raw(model, X) - raw(plain, X)).max() > 1e-9
    name = "field_weights_" if kind == "weighted" else "field_matrices_"
    of_pair = np.ones(()) if kind == "weighted" else np.eye(2)
    start = np.broadcast_to(of_pair, getattr(model, name).shape)
    assert abs(getattr(model, name) - start).max() < 0.02
    setattr(model, name, start)
    assert_allclose(raw(model, X), raw(plain, X), rtol=1e-9)
    assert_allclose(objective(model, X, y), objective(plain, X, y), rtol=1e-9)


# Results that must not change


@pytest.fixture
def busy_threads(monkeypatch):
    """Threads share even little work."""
    monkeypatch.setattr(trainer, "ROWS_A_THREAD", 1)
    monkeypatch.setattr(outputs, "ROWS_PER_THREAD", 10)


@pytest.mark.around(solver="adagrad", n_classes=0)
@pytest.mark.parametrize("n_classes", [0, 2, 3])
@pytest.mark.parametrize("solver", MINIBATCH_SOLVERS)
@each_kind
def test_any_number_of_threads_gives_the_same_bits(kind, solver, n_classes, busy_threads):
    X, y = make(n_classes)
    model = model_for(kind, n_classes, solver=solver, batch_size=16, max_iter=5, **MASKS["some"])
    fits = [quietly(clone(model).set_params(n_jobs=n).fit, X, y) for n in (1, 2, 3)]
    for other in fits[1:]:
        assert_same(other, fits[0])
        assert_array_equal(raw(other, X), raw(fits[0], X))


@pytest.mark.parametrize("n_classes", [0, *in_full(3)])
@each_kind
def test_threads_share_batches_of_several_blocks_of_rows(kind, n_classes, busy_threads):
    """The last block of a batch, and the last batch, have fewer rows than the others."""
    X, y = make(n_classes, 90)
    batch_size = 2 * BLOCK_ROWS + 3
    assert len(y) > batch_size and len(y) % batch_size % BLOCK_ROWS
    model = model_for(kind, n_classes, batch_size=batch_size, max_iter=3)
    fits = [quietly(clone(model).set_params(n_jobs=n).fit, X, y) for n in (1, 2, 3)]
    for other in fits[1:]:
        assert_same(other, fits[0])


@pytest.mark.full
def test_pointers_of_planned_batches_count_modulo_their_range(monkeypatch):
    """The entries of a window are more than the range of the pointers, those of a batch fewer."""
    X, y = make(0, size(30_000, 300))
    model = model_for("weighted", max_iter=2, batch_size=size(1000, 50), n_jobs=2)
    fits = []
    for pointers in (np.uint16, np.uint32):

        class Planner(batches.Planner):
            def __init__(self, *arguments, pointers=pointers, **options):
                super().__init__(*arguments, **options)
                self.pointers = pointers

        monkeypatch.setattr(batches, "Planner", Planner)
        fits.append(quietly(clone(model).fit, X, y))
    assert_same(*fits)
    assert_array_equal(raw(fits[0], X), raw(fits[1], X))


@pytest.mark.parametrize("n_classes", [0, *in_full(3)])
@each_kind
def test_float32_is_near_float64(kind, n_classes):
    X, y = make(n_classes)
    model = model_for(kind, n_classes, max_iter=size(30, 5), **GIVEN)
    double = quietly(clone(model).fit, X, y)
    single = quietly(clone(model).fit, X.astype(np.float32), y)
    assert_allclose(raw(single, X), raw(double, X), rtol=1e-3, atol=1e-3)
    for part in parameters_of(single)[1:]:
        assert part is None or part.dtype == np.float32
    assert raw(single, X.astype(np.float32)).dtype == np.float32


@pytest.mark.around(solver="adagrad", n_classes=0)
@pytest.mark.parametrize("n_classes", [0, 3])
@pytest.mark.parametrize("solver", MINIBATCH_SOLVERS)
@each_kind
def test_a_weight_repeats_a_row(kind, solver, n_classes):
    X, y = make(n_classes)
    weight = np.random.default_rng(0).integers(0, 4, size=len(y))
    weight[:3] = 1
    model = model_for(kind, n_classes, solver=solver, max_iter=10)
    weighted = quietly(clone(model).fit, X, y, weight)
    repeated = quietly(clone(model).fit, np.repeat(X, weight, axis=0), np.repeat(y, weight))
    assert_allclose(raw(weighted, X), raw(repeated, X), rtol=1e-6, atol=1e-7)


@each_kind
def test_columns_may_have_any_unit(kind):
    X, y = make()
    units = 10.0 ** np.random.default_rng(0).integers(-4, 5, size=X.shape[1])
    model = model_for(kind, max_iter=30)
    one, other = (quietly(clone(model).fit, Z, y) for Z in (X, X * units))
    assert_allclose(raw(other, X * units), raw(one, X), rtol=1e-6, atol=1e-7)


@each_kind
def test_columns_far_from_zero_are_centered(kind):
    """Predictions are those of the same columns near zero, where also the pairs of fields tell."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4))
    y = X[:, 0] * X[:, 1] - X[:, 2] * X[:, 3] + rng.normal(size=200) / 10
    model = model_for(kind, feature_fields=["a", "b", "b", "c"], max_iter=size(100, 20), **GIVEN)
    near = quietly(clone(model).fit, X - X.mean(axis=0), y)
    far_X = X + np.array([1000, 0, 0, -3000])
    far = quietly(clone(model).fit, far_X, y)
    assert far._centered is not None
    assert_allclose(raw(far, far_X), raw(near, X - X.mean(axis=0)), rtol=0.02, atol=0.05)
    # The attributes are parameters of the columns as they are.
    assert_allclose(raw(far, far_X), twin(far, far_X), rtol=1e-5, atol=1e-4)
    again = pickle.loads(pickle.dumps(far))
    assert_array_equal(raw(again, far_X), raw(far, far_X))
    far.set_params(warm_start=True, max_iter=1)
    before = far.loss_curve_[-1]
    assert quietly(far.fit, far_X, y).loss_curve_[0] < 1.1 * before + 0.01


# Streams, warm starts, early stopping


@pytest.mark.around(solver="adagrad", n_classes=0)
@pytest.mark.parametrize("n_classes", [0, 3])
@pytest.mark.parametrize("solver", MINIBATCH_SOLVERS)
@each_kind
def test_one_chunk_is_one_epoch(kind, solver, n_classes):
    X, y = make(n_classes)
    model = model_for(kind, n_classes, solver=solver, max_iter=1)
    fitted = quietly(clone(model).fit, X, y)
    classes = {"classes": [0, 1, 2]} if n_classes else {}
    chunk = clone(model).partial_fit(X, y, **classes)
    assert_same(chunk, fitted)
    assert_allclose(chunk.loss_curve_, fitted.loss_curve_)


@pytest.mark.parametrize("learn", ["fit", "partial_fit"])
@each_kind
def test_batches_of_many_fields_are_small(kind, learn, monkeypatch):
    """The layers of a row of a field-aware model have n_fields**2 * n_components numbers."""
    n_rows, sizes = size(1200, 200), []
    make_scratch = trainer.make_scratch

    def noting(*arguments, n_rows, **options):
        sizes.append(n_rows)
        return make_scratch(*arguments, n_rows=n_rows, **options)

    monkeypatch.setattr(trainer, "make_scratch", noting)
    X = sparse.random(n_rows, 60, density=0.1, random_state=0, format="csr")
    y = np.random.default_rng(0).normal(size=n_rows)
    for solver in ("adagrad", "sgd"):
        model = FMRegressor(4, field_interactions=kind, solver=solver, max_iter=1)
        quietly(getattr(model, learn), X, y)
    if kind == "aware":
        assert set(sizes) == {64}
    else:
        assert 64 < min(sizes) <= max(sizes) <= 1024


@pytest.mark.around(solver="adagrad")
@pytest.mark.parametrize("solver", MINIBATCH_SOLVERS)
@each_kind
def test_streams_learn_and_meet_new_features(kind, solver):
    n = size(100, 30)
    X, y = make(n_rows=12 * n)
    X[:n, 3] = 0  # occurs from the second chunk on
    model = model_for(kind, solver=solver)
    model.partial_fit(X[:n], y[:n])
    assert not model.components_[..., 3].any()
    first = model.score(X[-n:], y[-n:])
    for begin in range(n, 11 * n, n):
        model.partial_fit(X[begin : begin + n], y[begin : begin + n])
    assert model.components_[..., 3].any()
    assert model.score(X[-n:], y[-n:]) > first + size(0.05, -1)
    assert_allclose(raw(model, X[:20]), twin(model, X[:20]), rtol=1e-9, atol=1e-9)
    with pytest.raises(ValueError, match=rf"field_interactions='{kind}' \(now 'plain'\)"):
        model.set_params(field_interactions="plain").partial_fit(X[:n], y[:n])


@pytest.mark.parametrize("learn", ["fit", "partial_fit"])
@pytest.mark.parametrize("kind", ["weighted", "matrixed"])
def test_alpha_fields_keeps_the_model_near_the_plain_one(kind, learn):
    """A stream uses the present value, as it does for other penalties."""
    X, y = make()
    model = model_for(kind, max_iter=size(30, 10), **GIVEN)
    distances = []
    for alpha_fields in (0.0, 1e-2, 1e2):
        one = clone(model).set_params(alpha_fields=alpha_fields)
        if learn == "fit":
            quietly(one.fit, X, y)
        else:
            one.set_params(alpha_fields=0.0).partial_fit(X, y)
            for _ in range(size(30, 10)):
                one.set_params(alpha_fields=alpha_fields).partial_fit(X, y)
        distances.append(np.square(parameters_of(one)[3] - start_of(one)).sum())
    assert distances[0] > 1.01 * distances[1] > 1.01 * distances[2]
    assert distances[2] < size(0.1, 0.5) * distances[0]


def start_of(model):
    """The weights or matrices with which the model is the plain one."""
    shown = parameters_of(model)[3]
    if model.field_interactions == "weighted":
        return np.ones(shown.shape)
    return np.broadcast_to(np.eye(shown.shape[-1]), shown.shape)


@pytest.mark.parametrize("solver", MINIBATCH_SOLVERS)
@pytest.mark.parametrize("kind", ["weighted", *in_full("matrixed")])
def test_an_outlier_does_not_stop_the_parameters_of_pairs(kind, solver):
    """Its gradients are those of a thousand rows; the sums of their squares are limited."""
    n = size(100, 30)
    X, y = make(n_rows=14 * n)
    model = model_for(kind, solver=solver)
    for begin in range(0, 6 * n, n):
        model.partial_fit(X[begin : begin + n], y[begin : begin + n])
    spoiled = clone(model)
    vars(spoiled).update(vars(pickle.loads(pickle.dumps(model))))
    outlier = X[6 * n : 6 * n + 20].copy()
    targets = y[6 * n : 6 * n + 20].copy()
    targets[0] += 300 * y.std()
    spoiled.partial_fit(outlier, targets)
    movement = []
    for stream in (model, spoiled):
        before = parameters_of(stream)[3].copy()
        for begin in range(7 * n, 14 * n, n):
            stream.partial_fit(X[begin : begin + n], y[begin : begin + n])
        movement.append(abs(parameters_of(stream)[3] - before).max())
    assert movement[1] > 0.5 * movement[0] > 0


@pytest.mark.around(solver="adagrad")
@pytest.mark.parametrize("solver", MINIBATCH_SOLVERS)
@each_kind
def test_warm_starts_continue(kind, solver):
    X, y = make()
    model = model_for(kind, solver=solver, max_iter=size(60, 10), warm_start=True, **GIVEN)
    model.set_params(**MASKS["some"])
    quietly(model.fit, X, y)
    before, n_epochs = model.loss_curve_[-1], model.n_iter_
    quietly(model.set_params(max_iter=5).fit, X, y)
    assert model.n_iter_ <= 5 < n_epochs
    assert model.loss_curve_[0] < before + size(0.02, 0.2)
    assert_allclose(raw(model, X), twin(model, X), rtol=1e-9, atol=1e-9)
    # With more interactions, whose weights start at 1.
    quietly(model.set_params(interactions=None, max_iter=1).fit, X, y)
    if kind == "weighted":
        assert_allclose(model.field_weights_[0, 1], 1, atol=0.3)


@pytest.mark.parametrize(
    "change, match",
    [
        ({"field_interactions": "plain"}, "field_interactions from '(weig|matr|aw).*' to 'plain'"),
        ({"feature_fields": np.repeat(["a", "b", "c"], [3, 4, 3])}, "the same fields as before"),
        (
            {"feature_fields": np.repeat([*NAMES, "new"], [3, 4, 2, 1])},
            "the same fields as before",
        ),
        ({"n_components": 3}, r"n_components\) as before: got \(1, 10, 3\).*has \(1, 10, 2\)"),
    ],
)
@each_kind
def test_warm_starts_of_other_models_are_refused(kind, change, match):
    X, y = make()
    model = quietly(model_for(kind, max_iter=1, warm_start=True).fit, X, y)
    expected = model.predict(X)
    with pytest.raises(ValueError, match=match):
        model.set_params(**change).fit(X, y)
    assert_array_equal(model.predict(X), expected)


@pytest.mark.parametrize("n_classes", [0, *in_full(3)])
@each_kind
def test_early_stopping_refits_and_calls_back(kind, n_classes):
    X, y = make(n_classes, size(200, 60))
    seen = []

    def look(model, epoch, loss):
        assert_allclose(raw(model, X), twin(model, X), rtol=1e-9, atol=1e-9)
        seen.append(epoch)

    model = model_for(kind, n_classes, early_stopping=True, n_iter_no_change=2, max_iter=8)
    quietly(model.set_params(callback=look, **GIVEN).fit, X[:60], y[:60])
    assert seen == list(range(1, len(seen) + 1)) and len(seen) > model.n_iter_
    best = int(np.argmin(model.validation_scores_)) + 1
    alone = clone(model).set_params(early_stopping=False, max_iter=best, callback=None)
    quietly(alone.fit, X[:60], y[:60])
    if len(seen) == model.n_iter_ + best:  # the second fit has all rows
        assert_allclose(raw(model, X), raw(alone, X), rtol=1e-9, atol=1e-9)


# Penalties found by empirical Bayes


@pytest.mark.parametrize("values", ["ones", "numbers"])
@pytest.mark.parametrize("mask", ["all", "some"])
@each_kind
def test_information_is_that_of_the_formula(kind, mask, values, monkeypatch):
    """Of each factor: the sum of its output's squared derivatives, over rows and pairs."""
    monkeypatch.setattr("skfm._solvers.fm.empirical_bayes.CHUNK", 7)
    monkeypatch.setattr("skfm._solvers.fm.empirical_bayes.COMPONENTS", 1)
    rng = np.random.default_rng(0)
    X = sparse.random(20, 8, density=0.5, random_state=0, format="csr")
    X.data[:] = 1 if values == "ones" else rng.normal(size=X.nnz)
    fields = np.array([0, 2, 0, 1, 1, 2, 2, 0], dtype=np.uint8)
    allowed = np.ones((3, 3), bool)
    if mask == "some":
        allowed = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], dtype=bool)
    n, n_copies = 2, 3 if kind == "aware" else 1
    interactions = Interactions(
        *(np.full(n * n_copies, 2), fields, allowed, np.ones(8, bool), fields, kind, np.arange(3))
    )
    penalties = Penalties(linear=None, factors=None)
    to_find = PenaltiesToFind(linear=True, factors=True)
    problem = make_problem(
        X, np.zeros(20), np.empty(0), CODES["squared_error"], penalties, interactions
    )
    search = PenaltySearch(problem, settings_for("squared_error", 1), to_find, 1)
    factors, variances = (
        rng.normal(size=(1, 8, n * n_copies)),
        rng.uniform(size=(1, 8, n * n_copies)),
    )
    pairs = interactions.first_field_pairs(1)
    pairs = pairs + rng.normal(size=pairs.shape)
    curvature = rng.uniform(size=(1, 20))
    information, of_partners = np.zeros((2, *factors.shape))
    for chosen in search._components_together():
        terms = factors[:, :, chosen], pairs, chosen, curvature, variances[:, :, chosen]
        found = search._factor_information(search._rows(), *terms)
        information[:, :, chosen], of_partners[:, :, chosen] = found
    rows = X.toarray() / problem.scale
    expected = slow_field_information(
        kind, rows, factors[0], pairs[0], curvature[0], variances[0], fields, allowed
    )
    assert_allclose(information[0], expected[0], atol=1e-12)
    assert_allclose(of_partners[0], expected[1], atol=1e-12)


def slow_field_information(kind, X, factors, pairs, curvature, variances, fields, allowed):
    """Sums over rows and pairs of features, one by one."""
    n = 2
    between = reference.between_fields(kind, pairs, 3, n) if kind != "aware" else None
    information, of_partners = np.zeros(factors.shape), np.zeros(factors.shape)
    for x, c in zip(X, curvature, strict=True):
        for j in range(len(factors)):
            slope, variance = np.zeros(factors.shape[1]), np.zeros(factors.shape[1])
            for k in range(len(factors)):
                a, b = fields[j], fields[k]
                if k == j or not allowed[a, b]:
                    continue
                if kind == "aware":  # v_j[b] meets v_k[a]
                    own, other = slice(n * b, n * b + n), slice(n * a, n * a + n)
                    slope[own] += x[j] * x[k] * factors[k, other]
                    variance[own] += (x[j] * x[k]) ** 2 * variances[k, other]
                else:
                    slope += x[j] * x[k] * (between[a, b] @ factors[k])
                    variance += (x[j] * x[k]) ** 2 * (between[a, b] ** 2 @ variances[k])
            information[j] += c * slope**2
            of_partners[j] += c * variance
    return information, of_partners


@pytest.mark.around(solver="adagrad", n_classes=0)
@pytest.mark.parametrize("n_classes", [0, 2, 3])
@pytest.mark.parametrize("solver", MINIBATCH_SOLVERS)
@each_kind
def test_penalties_are_found(kind, solver, n_classes):
    X, y = make(n_classes)
    model = model_for(kind, n_classes, solver=solver, alpha="auto", alpha_linear="auto")
    if solver == "sgd":  # its default takes thousands of epochs of a single batch
        model.set_params(learning_rate=0.3)
    quietly(model.set_params(max_iter=size(150, 40)).fit, X, y)
    for penalties in (model.alpha_, model.alpha_linear_):
        assert penalties.shape == (X.shape[1],)
        assert (penalties > 0).all() and np.isfinite(penalties).all()
    linear = clone(model).set_params(n_components=0)
    quietly(linear.fit, X, y)
    assert model.score(X, y) > linear.score(X, y) + size(0.02, -1)


# Saddle points


@pytest.mark.around(solver="adagrad")
@pytest.mark.parametrize("solver", MINIBATCH_SOLVERS)
@each_kind
def test_training_leaves_the_saddle_point_near_zero(kind, solver):
    """Of four fields, only two interact; the linear weights say nothing."""
    rng = np.random.default_rng(0)
    n = size(600, 100)
    ids = rng.integers(2, size=(n, 4))
    X = np.hstack([np.eye(2)[ids[:, field]] for field in range(4)])
    y = (ids[:, 0] ^ ids[:, 1]) + 0.1 * rng.normal(size=n)
    model = model_for(kind, solver=solver, feature_fields=np.repeat(np.arange(4), 2))
    model.set_params(init_scale=1e-6, max_iter=size(200, 60), **GIVEN)
    quietly(model.fit, X, y)
    assert model.score(X, y) > size(0.8, 0.3)


# What is refused, and what carries fields

REFUSED = [
    ({"field_interactions": "x"}, "field_interactions must be one of 'plain'"),
    ({"field_interactions": None}, "field_interactions must be one of 'plain'"),
    ({"degree": 3}, "field_interactions='.*' describes pairs of fields, but degree=3"),
    ({"feature_fields": FIELDS[1:]}, r"feature_fields.*\(10,\).*\(9,\)"),
    ({"feature_fields": [1.0] * 9 + [np.nan]}, "feature_fields contains NaN or None"),
    ({"interactions": [("shop", "x")]}, "Unknown field 'x' in interactions; known fields: 'item'"),
    ({"fit_linear": ["x"]}, "Unknown field 'x' in fit_linear"),
]


@pytest.mark.parametrize("parameters, match", REFUSED)
@each_kind
def test_what_cannot_be_is_refused_and_changes_nothing(kind, parameters, match):
    X, y = make()
    model = model_for(kind, max_iter=1).set_params(**parameters)
    with pytest.raises((ValueError, TypeError), match=match):
        model.fit(X, y)
    assert not [name for name in vars(model) if name.endswith("_")]


@each_kind
def test_many_columns_need_fields(kind):
    X = sparse.eye_array(101, format="csr")
    model = FMRegressor(field_interactions=kind, max_iter=1)
    with pytest.raises(ValueError, match=f"{kind}.*assign the 101 features.*feature_fields"):
        model.fit(X, np.arange(101.0))
    model.set_params(feature_fields=np.arange(101) // 50)
    assert quietly(model.fit, X, np.arange(101.0)).fields_.tolist() == [0, 1, 2]
    model = FMRegressor(field_interactions=kind, max_iter=1)
    assert quietly(model.fit, X[:, :100], np.arange(101.0)).fields_.size == 100


@each_kind
def test_fields_that_x_carries_are_those_of_the_parameter(kind):
    X, y = make()
    model = model_for(kind, max_iter=5)
    told = quietly(clone(model).fit, X, y)
    carrying = sparse.csr_matrix(X)
    carrying.feature_fields = FIELDS
    carried = quietly(clone(model).set_params(feature_fields=None).fit, carrying, y)
    assert carried.feature_fields is None
    assert_array_equal(carried.predict(X), told.predict(X))
    assert_array_equal(carried.fields_, told.fields_)


def test_fields_may_have_labels_of_any_type():
    X, y = make()
    by_name = quietly(model_for("weighted", max_iter=3).fit, X, y)
    for names in ([1, 2, 0], [1.5, 2.5, 0.5], np.array([3, "user", 2.5], dtype=object)):
        fields = np.repeat(np.asarray(names), [3, 4, 3])
        other = quietly(model_for("weighted", max_iter=3, feature_fields=fields).fit, X, y)
        order = [other.fields_.tolist().index(label) for label in np.asarray(names)[[2, 0, 1]]]
        expected = by_name.field_weights_[[0, 1, 2]][:, [0, 1, 2]]
        assert_allclose(other.field_weights_[np.ix_(order, order)], expected, rtol=1e-6)


# With scikit-learn


def test_a_search_compares_the_kinds():
    X, y = make(2)
    grid = {"field_interactions": ["plain", *KINDS]}
    search = GridSearchCV(model_for("plain", 2, max_iter=5), grid, cv=2, error_score="raise")
    quietly(search.fit, X, y)
    assert len(set(search.cv_results_["mean_test_score"].round(6))) > 1
    assert search.best_estimator_.field_interactions in grid["field_interactions"]


@pytest.mark.parametrize("n_classes", [0, *in_full(3)])
@each_kind
def test_copies_predict_and_continue_the_same(kind, n_classes):
    X, y = make(n_classes)
    model = quietly(model_for(kind, n_classes, max_iter=3).fit, X, y)
    assert clone(model).get_params()["field_interactions"] == kind
    copy = pickle.loads(pickle.dumps(model))
    assert_array_equal(copy.fields_, model.fields_)
    for one in (model, copy):
        one.partial_fit(X[:30], y[:30])
    assert_same(copy, model)
    assert_array_equal(raw(copy, X), raw(model, X))
