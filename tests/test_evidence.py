"""Penalties that are found during a fit, by empirical Bayes."""

import warnings

import numpy as np
import pytest
from builders import CODES, REGRESSION, SOLVERS, quietly, settings_for
from helpers import in_full, size
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import OneHotEncoder

from skfm import FMClassifier, FMRegressor
from skfm._fm.target_transform import CLASSIFICATION
from skfm._kernels.losses import make_loss, total_loss
from skfm._solvers.fm.empirical_bayes import PenaltySearch, curvatures
from skfm._solvers.fm.interactions import Interactions, all_pairs
from skfm._solvers.fm.parameters import NO_PAIRS
from skfm._solvers.fm.penalties import Penalties, PenaltiesToFind
from skfm._solvers.fm.problem import make_problem

AUTO = {"alpha": "auto", "alpha_linear": "auto", "random_state": 0}


def make_clicks(n_rows, strength, seed=0, n_levels=(60, 40)):
    """One-hot users and items, and classes from linear terms and products of that strength."""
    rng = np.random.default_rng(seed)
    ids = np.column_stack([rng.integers(n, size=n_rows) for n in n_levels])
    raw = sum(rng.normal(size=n)[ids[:, field]] for field, n in enumerate(n_levels)) / 2
    one, other = (rng.normal(size=(n, 2))[ids[:, field]] for field, n in enumerate(n_levels))
    raw = raw + strength * (one * other).sum(axis=1)
    y = (rng.random(n_rows) < 1 / (1 + np.exp(-raw))).astype(int)
    return OneHotEncoder().fit_transform(ids).tocsr(), y


def make_small(kind="squared_error", n_rows=60, seed=0):
    rng = np.random.default_rng(seed)
    X = np.hstack([np.eye(5)[rng.integers(5, size=n_rows)], rng.normal(size=(n_rows, 3))])
    f = X[:, 5] + X[:, 0] * X[:, 6] + 0.3 * rng.normal(size=n_rows)
    if kind in CLASSIFICATION:
        return X, f > 0
    return X, np.round(np.exp(f)) if kind == "poisson" else f


def slow_information(X, factors, curvature, variances, allowed):
    """Sums over rows and pairs of features, one by one."""
    information, partner_penalty = np.zeros(factors.shape), np.zeros(factors.shape)
    for x, c in zip(X, curvature, strict=True):
        for j in range(len(factors)):
            partners = [k for k in range(len(factors)) if k != j and allowed[j, k]]
            slope = x[j] * sum((x[k] * factors[k] for k in partners), np.zeros(factors.shape[1]))
            information[j] += c * slope**2
            for k in partners:
                partner_penalty[j] += c * x[j] ** 2 * x[k] ** 2 * variances[k]
    return information, (X**2).T @ curvature, partner_penalty


@pytest.mark.parametrize("values", ["ones", "numbers"])
@pytest.mark.parametrize("fields", [False, True])
def test_information_is_that_of_the_formula(fields, values, monkeypatch):
    monkeypatch.setattr("skfm._solvers.fm.empirical_bayes.CHUNK", 7)
    rng = np.random.default_rng(0)
    X = sparse.random(20, 8, density=0.5, random_state=0, format="csr")
    X.data[:] = 1 if values == "ones" else rng.normal(size=X.nnz)
    field = np.array([0, 0, 0, 1, 1, 2, 2, 2])
    partners = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], dtype=bool)
    interactions, allowed = all_pairs(8, 2), np.ones((8, 8), dtype=bool)
    if fields:
        allowed = partners[np.ix_(field, field)]
        interactions = Interactions(
            np.full(2, 2), field.astype(np.uint8), partners, np.ones(8, bool), field
        )
    problem = make_problem(
        *(X, np.zeros(20), np.empty(0), CODES["squared_error"]),
        Penalties(linear=None, factors=None),
        interactions,
    )
    to_find = PenaltiesToFind(linear=True, factors=True)
    search = PenaltySearch(problem, settings_for("squared_error", 1), to_find, 1)
    factors, variances = rng.normal(size=(1, 8, 2)), rng.uniform(size=(1, 8, 2))
    curvature = rng.uniform(size=(1, 20))
    information, of_partners = search._factor_information(
        search._rows(), factors, NO_PAIRS, np.arange(2), curvature, variances
    )
    found = information, search._linear_information(curvature), of_partners
    rows = X.toarray() / problem.scale
    expected = slow_information(rows, factors[0], curvature[0], variances[0], allowed)
    for one, other in zip(found, expected, strict=True):
        assert_allclose(one[0], other, atol=1e-12)


@pytest.mark.parametrize("loss", ["log_loss", "softmax", "poisson", "squared_error"])
def test_curvatures_are_second_derivatives(loss):
    n_outputs = 3 if loss == "softmax" else 1
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(n_outputs, 1))
    target = np.ones(1)

    class OneRow:
        weight = np.empty(0)

    problem = OneRow()
    problem.loss, problem.target = CODES[loss], target
    record, step = make_loss(problem.loss, 0.0, n_outputs), 1e-4

    def value(output, shift):
        moved = raw.copy()
        moved[output] += shift
        return total_loss(record, moved, target, np.ones(1))

    found, _ = curvatures(problem, 0.0, raw)
    for output in range(n_outputs):
        second = value(output, step) - 2 * value(output, 0) + value(output, -step)
        assert_allclose(found[output, 0], second / step**2, rtol=1e-4)


def test_a_sample_of_many_rows_will_do(monkeypatch):
    """Rows with very many entries are not all looked at."""
    X, y = make_clicks(size(6000, 300), 1.0)
    whole = FMClassifier(**AUTO).fit(X, y)
    looked = []
    look = PenaltySearch._factor_information

    def noting(search, *arguments):
        looked.append(search.sample.size)
        return look(search, *arguments)

    monkeypatch.setattr(PenaltySearch, "_factor_information", noting)
    monkeypatch.setattr("skfm._solvers.fm.empirical_bayes.MOST_ENTRIES", X.nnz // 4)
    some = FMClassifier(**AUTO).fit(X, y)
    assert set(looked) == {len(y) // 4}
    assert_allclose(some.alpha_linear_.mean(), whole.alpha_linear_.mean(), rtol=size(0.05, 0.5))
    assert_allclose(some.alpha_.mean(), whole.alpha_.mean(), rtol=size(0.1, 0.5))


@pytest.mark.parametrize("solver", ["adagrad", "als"])
def test_components_may_be_looked_at_in_parts(solver, monkeypatch):
    X, y = make_clicks(size(3000, 200), 1.0)
    fits = []
    for n_together in (1, 100):
        monkeypatch.setattr("skfm._solvers.fm.empirical_bayes.COMPONENTS", n_together)
        fits.append(FMClassifier(5, **AUTO, solver=solver).fit(X, y))
    for name in ("alpha_", "alpha_linear_"):
        one, other = (getattr(model, name) for model in fits)
        assert_allclose(one, other, rtol=1e-4)


@pytest.mark.parametrize("loss, few, many", [("squared_error", 21, 9), ("log_loss", 11, 4)])
def test_many_batches_need_fewer_epochs_before_the_first_update(loss, few, many):
    problem = make_problem(
        *(sparse.eye(5, format="csr"), np.ones(5), np.empty(0), CODES[loss]),
        *(Penalties(linear=None, factors=None), all_pairs(5, 2)),
    )
    settings = settings_for(loss, 1)
    to_find = PenaltiesToFind(linear=True, factors=True)
    first = {n: PenaltySearch(problem, settings, to_find, n).due[0] for n in (1, 50, 200)}
    assert first == {1: 61, 50: few, 200: many}


@pytest.mark.parametrize("strength", [0.0, 1.0])
@pytest.mark.parametrize("solver", SOLVERS)
def test_it_is_near_the_better_of_weak_and_strong_penalties(solver, strength):
    """Where products say nothing, they are all but gone; where they say much, they are found."""
    n_rows = size(6000, 100)
    X, y = make_clicks(2 * n_rows, strength)
    train, test = (X[:n_rows], y[:n_rows]), (X[n_rows:], y[n_rows:])
    found = quietly(FMClassifier(solver=solver, **AUTO).fit, *train)
    error = log_loss(test[1], found.predict_proba(test[0]))
    linear = LogisticRegression().fit(*train)
    error_linear = log_loss(test[1], linear.predict_proba(test[0]))
    assert error < size(0.9 if strength else 1.01, 1.3) * error_linear
    errors = []
    for alpha in (0.3, 3.0):
        given = FMClassifier(solver=solver, alpha=alpha, alpha_linear=2.0, random_state=0)
        errors.append(log_loss(test[1], quietly(given.fit, *train).predict_proba(test[0])))
    assert error < size(1.02, 1.3) * min(errors)


@pytest.mark.parametrize("terms", ["all pairs", "degree 3", "fields"])
@pytest.mark.pairwise
@pytest.mark.parametrize("kind", [*REGRESSION, *CLASSIFICATION])
@pytest.mark.parametrize("solver", SOLVERS)
def test_every_model_finds_penalties(solver, kind, terms):
    X, y = make_small(kind)
    fields = ["id"] * 5 + ["a", "b", "c"]
    between = {"feature_fields": fields, "interactions": [("id", "a"), ("id", "b")]}
    terms = {"all pairs": {}, "degree 3": {"degree": 3}, "fields": between}[terms]
    model = (FMClassifier if kind in CLASSIFICATION else FMRegressor)(
        2, loss=kind, solver=solver, max_iter=size(60, 40), **AUTO, **terms
    )
    quietly(model.fit, X, y)
    for penalties in (model.alpha_, model.alpha_linear_):
        assert penalties.shape == (8,) and (penalties > 0).all()
        assert np.isfinite(penalties).all()
    assert np.ptp(model.alpha_) > 0


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("options", [{"n_components": 0}, {"fit_linear": False}])
def test_what_is_not_there_has_no_penalty_to_be_found(options, solver):
    X, y = make_small()
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        model = FMRegressor(solver=solver, **options, **AUTO)
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y)
    assert model.score(X, y) > size(0.1, -1)


@pytest.mark.parametrize("kind", ["numbers", "classes"])
def test_features_of_few_rows_explain_no_others(kind):
    """Twenty times as many features as rows, of any size: known rows say little of new ones."""
    n_rows = size(1000, 60)
    X = sparse.random(2 * n_rows, 20 * n_rows, density=0.001, random_state=0, format="csr")
    rng = np.random.default_rng(0)
    if kind == "numbers":
        model, y = FMRegressor(**AUTO), rng.normal(size=2 * n_rows)
        base = 1.0
    else:
        model, y = FMClassifier(**AUTO), rng.integers(2, size=2 * n_rows)
        base = np.log(2)
    quietly(model.fit, X[:n_rows], y[:n_rows])
    if kind == "numbers":
        error = np.sqrt(np.mean((model.predict(X[n_rows:]) - y[n_rows:]) ** 2))
    else:
        error = log_loss(y[n_rows:], model.predict_proba(X[n_rows:]))
    assert error < size(1.05, 2) * base


def test_they_are_in_the_units_of_X():
    """A column in other units has the same predictions; its penalties are in those units."""
    X, y = make_small()
    units = np.array([1, 1, 1, 1, 1, 1e3, 1, 1e-3])
    model, other = (FMRegressor(**AUTO).fit(Z, y) for Z in (X, X * units))
    assert_allclose(model.predict(X), other.predict(X * units), rtol=1e-6)
    assert_allclose(model.alpha_ * units**2, other.alpha_, rtol=1e-6)
    assert_allclose(model.alpha_linear_ * units**2, other.alpha_linear_, rtol=1e-6)


def test_a_fit_with_what_was_found_has_that_objective():
    """Each feature a group of its own."""
    X, y = make_small(n_rows=size(200, 40))
    found = quietly(
        FMRegressor(2, solver="als", tol=1e-9, max_iter=size(300, 60), **AUTO).fit, X, y
    )
    options = {"solver": "als", "tol": 1e-9, "max_iter": size(300, 60)}
    given = FMRegressor(2, alpha=found.alpha_, alpha_linear=found.alpha_linear_, **options)
    given.set_params(random_state=0, feature_groups=list(range(8)))
    quietly(given.fit, X, y)
    assert_allclose(found.loss_curve_[-1], given.loss_curve_[-1], rtol=size(1e-3, 1e-2))


def test_given_ones_are_as_they_are():
    X, y = make_small()
    model = FMRegressor(alpha=0.3, alpha_linear="auto", random_state=0).fit(X, y)
    assert model.alpha_ == 0.3 and model.alpha_linear_.shape == (8,)
    model = FMRegressor(alpha_linear=5.0, random_state=0).fit(X, y)
    assert model.alpha_linear_ == 5.0 and model.alpha_.shape == (8,)
    with pytest.raises(TypeError, match="alpha must be a number"):
        FMRegressor(alpha="none").fit(X, y)


@pytest.mark.parametrize("solver", SOLVERS)
def test_threads_do_not_matter_and_weights_are_repetition(solver):
    X, y = make_clicks(size(1500, 60), 1.0)
    models = [FMClassifier(solver=solver, n_jobs=n, **AUTO) for n in (1, 2)]
    one, other = (quietly(model.fit, X, y) for model in models)
    assert_array_equal(one.alpha_, other.alpha_)
    assert_array_equal(one.components_, other.components_)
    X, y = X[: size(200, 40)], y[: size(200, 40)]
    weight = np.random.default_rng(0).integers(0, 4, size=y.size)
    times = np.repeat(np.arange(y.size), weight)
    weighted = quietly(FMClassifier(solver=solver, **AUTO).fit, X, y, weight)
    repeated = quietly(FMClassifier(solver=solver, **AUTO).fit, X[times], y[times])
    assert_allclose(weighted.alpha_, repeated.alpha_, rtol=1e-6)
    assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), rtol=1e-5)


def test_streams_go_on_with_what_a_fit_has_found():
    half = size(500, 60)
    X, y = make_clicks(2 * half, 1.0)
    model = FMClassifier(**AUTO).fit(X[:half], y[:half])
    seen = X[:half].getnnz(axis=0) > 0
    before = model.alpha_[seen]
    model.partial_fit(X[half:], y[half:])
    assert_allclose(model.alpha_[seen], before, rtol=1e-6)
    begins = FMClassifier(**AUTO).partial_fit(X[:half], y[:half], [0, 1])
    short = quietly(FMClassifier(max_iter=1, **AUTO).fit, X[:half], y[:half])
    assert_allclose(begins.alpha_, short.alpha_)
    assert_allclose(begins.predict_proba(X), short.predict_proba(X))


def test_warm_starts_go_on_with_what_was_found():
    X, y = make_clicks(size(1000, 100), 1.0)
    model = FMClassifier(warm_start=True, **AUTO).fit(X, y)
    before, penalties = model.loss_curve_[-1], model.alpha_
    model.set_params(max_iter=1)
    quietly(model.fit, X, y)
    assert_allclose(model.alpha_, penalties)
    assert model.loss_curve_[-1] < before + 1e-3


def test_early_stopping_waits_for_them():
    X, y = make_clicks(size(2000, 100), 1.0)
    model = FMClassifier(early_stopping=True, n_iter_no_change=1, **AUTO).fit(X, y)
    assert model.n_iter_ >= 26 == 10 + 2 * 8
    assert len(model.validation_scores_) == model.n_iter_


@pytest.mark.parametrize("n_outputs", [2, *in_full(3)])
def test_several_classes(n_outputs):
    X, y = make_clicks(size(1500, 150), 1.0)
    labels = y + (X[:, 0].toarray()[:, 0] > 0) * (n_outputs > 1)
    model = quietly(FMClassifier(**AUTO).fit, X, labels)
    assert model.alpha_.shape == (X.shape[1],)
    assert model.score(X, labels) > size(0.6, 0.4)


@pytest.mark.parametrize("factor", [1e-30, 1e-300])
def test_classes_of_rows_of_hardly_any_weight(factor):
    X, y = make_small("log_loss")
    model = quietly(FMClassifier(2, max_iter=3, **AUTO).fit, X, y, np.full(60, factor))
    assert np.isfinite(model.predict_proba(X)).all()
