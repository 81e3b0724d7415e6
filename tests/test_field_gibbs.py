"""Gibbs sampling of field-weighted and field-aware models: calibration, predictions, chains."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import reference
from builders import LIMIT, NARROW, draw_from_prior, p_value, quietly, too_slow
from helpers import in_full, size
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.special import ndtr
from sklearn.base import clone

from skfm import BayesianFMClassifier, BayesianFMRegressor
from skfm._fm import posterior
from skfm._kernels import losses
from skfm._solvers.fm import field_weights, gibbs
from skfm._solvers.fm import sweeps as passes
from skfm._solvers.fm.interactions import Interactions
from skfm._solvers.fm.penalties import Penalties
from skfm._solvers.fm.priors import expected_precision
from skfm._solvers.fm.problem import make_problem

KINDS = ["weighted", "aware"]
FIELDS = np.repeat([0, 1, 2], [3, 3, 2])  # of levels, of levels, and of signs
GROUP = np.repeat([0, 1], [6, 2])
ALL = np.ones((3, 3), bool)
PAIRS = np.triu_indices(3, 1)
MODELS = [BayesianFMRegressor, BayesianFMClassifier]

each_kind = pytest.mark.parametrize("kind", KINDS)
each_model = pytest.mark.parametrize("make_model", MODELS)


def interactions_of(kind, n_components=1, partners=ALL):
    n_copies = len(partners) if kind == "aware" else 1
    return Interactions(
        np.full(n_components * n_copies, 2),
        FIELDS.astype(np.uint8),
        partners,
        np.ones(FIELDS.size, bool),
        FIELDS,
        kind,
        np.arange(len(partners)),
    )


def rows_for(rng):
    """Few rows in which every column occurs; two entries of the last field."""
    levels = [np.eye(3)[rng.permutation(np.resize(np.arange(3), 14))] for _ in range(2)]
    return np.hstack([*levels, rng.choice([-1.0, 1.0], size=(14, 2))])


def problem_of(X, y, interactions, loss=losses.SQUARED_ERROR, weight=()):
    penalties = Penalties(linear=0.0, factors=0.0)
    rows = sparse.csr_matrix(X), np.asarray(y, float), np.asarray(weight, float)
    return make_problem(*rows, loss, penalties, interactions)


# Calibration: see test_gibbs.py

NEW_ROWS = np.array([[1, 0, 0, 1, 1, 0, 1, 0], [1.5, 0, 1, 0, 0, 2, -1, 1]])


def products_of(draw, interactions):
    """What each product of two features is multiplied by, (n_features, n_features)."""
    theta = np.asarray(draw.theta, dtype=float)[:, :-1]
    n_fields = len(interactions.partners)
    if interactions.kind == "aware":
        vectors = theta.reshape(len(theta), n_fields, -1)
        return np.einsum("ijf,jif->ij", vectors[:, FIELDS], vectors[:, FIELDS])
    weights = np.ones((n_fields, n_fields))
    weights[PAIRS] = np.asarray(draw.field_pairs, dtype=float)[:, 0]
    weights.T[PAIRS] = weights[PAIRS]
    return weights[np.ix_(FIELDS, FIELDS)] * (theta @ theta.T)


def output(draw, X, interactions):
    products = products_of(draw, interactions)
    np.fill_diagonal(products, 0)
    return X @ np.asarray(draw.theta, float)[:, -1] + ((X @ products) * X).sum(axis=1) / 2


def numbers_of(draw, X, interactions):
    """What the data may tell of a draw: nothing that depends on the factors' order and signs."""
    products = products_of(draw, interactions)
    coefficients = draw.group_precision[:, :-1]
    return np.concatenate(
        [
            [draw.noise_precision],
            np.asarray(draw.theta, float)[:, -1],
            draw.group_mean[:, -1],
            draw.group_precision[:, -1],
            output(draw, X, interactions),
            products[np.triu_indices(len(products), 1)],
            np.abs(np.asarray(draw.field_pairs, float)).ravel(),
            coefficients.prod(axis=1),
            [draw.common_precision[:-1].prod()],
        ]
    )


def ranks_of(kind, chain_kind, n_worlds, n_draws=3, *, labels=False, burn_in=60, thin=40):
    """Ranks (n_worlds, n_numbers) of the true numbers among draws of a chain."""
    interactions = interactions_of(kind, 2 if kind == "weighted" else 1)
    degrees = interactions.degrees
    ranks = []
    for world in range(n_worlds):
        rng = np.random.default_rng(world)
        X = rows_for(rng)
        # The precisions that are expected are another test's concern.
        expected = expected_precision(problem_of(X, X[:, 0], interactions), GROUP, 2)
        truth = draw_from_prior(rng, GROUP, NARROW, expected, degrees)
        n_weights = 3 if kind == "weighted" else 0
        truth.field_pairs = 1 + rng.normal(size=(n_weights, min(n_weights, 1)))
        f, signs, loss = output(truth, X, interactions), None, losses.SQUARED_ERROR
        if labels:
            truth.noise_precision = 1.0
        y = f + rng.normal(size=f.size) / np.sqrt(truth.noise_precision)
        if labels:
            y = signs = np.where(y > 0, 1.0, -1.0)
            loss = losses.LOG_LOSS
        problem = problem_of(X, y, interactions, loss)
        start = gibbs.first_draw(problem, GROUP, 2, 1.0, 0.0, np.random.RandomState(world))
        settings = gibbs.Settings(1, False, hyperprior=replace(NARROW))
        key = rng.integers(2**63, size=2, dtype=np.uint64)
        chain = chain_kind(problem, GROUP, start, 0, settings, key, signs)
        draws = []
        for number in range(1, burn_in + n_draws * thin + 1):
            chain.step()
            if number > burn_in and (number - burn_in) % thin == 0:
                draws.append(numbers_of(chain.draw(), NEW_ROWS, interactions))
        ranks.append((np.array(draws) < numbers_of(truth, NEW_ROWS, interactions)).sum(0))
    return np.array(ranks)[:, int(labels) :]  # of labels there is no noise to be found


@too_slow
@pytest.mark.parametrize("labels", [False, *in_full(True)])
@pytest.mark.parametrize("n_worlds", [50, *in_full(150)])
@pytest.mark.parametrize("kind", ["weighted", *in_full("aware")])
def test_true_values_have_uniform_ranks(kind, n_worlds, labels):
    assert p_value(ranks_of(kind, gibbs.Chain, n_worlds, labels=labels)) > LIMIT


class FixedWeights(gibbs.Chain):
    """Never draws the weights of pairs."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.field_weights.n_weights = 0


class NoisyWeights(gibbs.Chain):
    """Draws the weights with too much noise."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        update = self.field_weights.update
        self.field_weights.update = lambda model, rows, precision, noise: update(
            model, rows, precision, 2.5 * noise
        )


@pytest.mark.full
@too_slow
@pytest.mark.parametrize("wrong", [FixedWeights, NoisyWeights])
def test_a_wrong_sampler_is_found_out(wrong):
    assert p_value(ranks_of("weighted", wrong, 100)) < LIMIT


# Priors and starts


@pytest.mark.parametrize("kind", ["plain", *KINDS])
def test_outputs_have_the_variance_that_is_expected(kind):
    """1 from the products and 1 from the linear weights, whatever the kind."""
    rng = np.random.default_rng(0)
    X = np.hstack([np.eye(3)[rng.integers(3, size=200)] for _ in range(2)])
    X = np.hstack([X, np.eye(2)[rng.integers(2, size=200)]])
    interactions = interactions_of(kind, 2)
    expected = expected_precision(problem_of(X, X[:, 0], interactions), FIELDS, 3)[FIELDS]
    n = size(4000, 400)
    theta = rng.normal(size=(n, 8, expected.shape[1])) / np.sqrt(expected)
    pairs = 1 + rng.normal(size=(n, 3, 1))
    draws = [
        gibbs.Draw(0.0, values, 1.0, None, None, None, field_pairs=weights)
        for values, weights in zip(theta, pairs if kind == "weighted" else 0 * pairs, strict=True)
    ]
    if kind == "plain":
        for draw in draws:
            draw.field_pairs = np.ones((3, 1))
    outputs = np.array([output(draw, X[:5], interactions) for draw in draws])
    assert_allclose(outputs.var(axis=0).mean(), 2.0, rtol=size(0.1, 0.4))


def test_weights_start_at_one_and_are_held_at_first():
    rng = np.random.default_rng(0)
    X = rows_for(rng)
    problem = problem_of(X, rng.normal(size=14), interactions_of("weighted", 2))
    start = gibbs.first_draw(problem, GROUP, 2, 0.1, 0.0, np.random.RandomState(0))
    assert_array_equal(start.field_pairs, np.ones((3, 1)))
    chain = gibbs.Chain(problem, GROUP, start, 0, gibbs.Settings(1), np.zeros(2, np.uint64))
    for _ in range(gibbs.N_HELD):
        chain.step()
        assert_array_equal(chain.draw().field_pairs, start.field_pairs)
    chain.step()
    assert (chain.draw().field_pairs != start.field_pairs).all()
    assert "field_weights" in chain.scalars()


@pytest.mark.parametrize("labels", [False, True])
@each_kind
def test_outputs_and_errors_follow_the_parameters(kind, labels):
    rng = np.random.default_rng(1)
    X, interactions = rows_for(rng), interactions_of(kind, 2)
    y = rng.choice([-1.0, 1.0], size=14)
    loss = losses.LOG_LOSS if labels else losses.SQUARED_ERROR
    problem = problem_of(X, y, interactions, loss)
    start = gibbs.first_draw(problem, GROUP, 2, 1.0, 0.0, np.random.RandomState(0))
    key, signs = np.array([1, 2], np.uint64), y if labels else None
    chain = gibbs.Chain(problem, GROUP, start, 0, gibbs.Settings(1), key, signs)
    for _ in range(gibbs.N_HELD + 4):
        chain.step()
        expected = output(chain.draw(), X, interactions) + chain.draw().intercept
        assert_allclose(chain.rows.error + chain.goal, expected, rtol=1e-9, atol=1e-9)


def test_only_rows_with_several_entries_of_a_field_have_interactions_within():
    rng = np.random.default_rng(0)
    X = rows_for(rng)
    for rows, expected in ((X, True), (X[:, :7], False)):
        own = replace(interactions_of("weighted"), interaction_group=FIELDS[: rows.shape[1]])
        own = replace(own, has_linear=own.has_linear[: rows.shape[1]])
        problem = problem_of(rows, rng.normal(size=14), own)
        assert field_weights.FieldWeights(passes.Sweeper(problem, 1)).has_within == expected


@too_slow
@pytest.mark.parametrize("has_within", [True, False])
def test_weights_and_factors_exchange_their_scale(has_within, monkeypatch):
    """The density of the scale, computed on a grid; without steps that leave the ridge."""
    rng = np.random.default_rng(0)
    n = 8 if has_within else 7
    X, interactions = rows_for(rng)[:, :n], interactions_of("weighted", 2)
    own = {"interaction_group": FIELDS[:n].astype(np.uint8), "field": FIELDS[:n]}
    interactions = replace(interactions, has_linear=np.ones(n, bool), **own)
    y, group = rng.normal(size=14), GROUP[:n]
    problem = problem_of(X, y, interactions)
    start = gibbs.first_draw(problem, group, 2, 2.0, 0.0, np.random.RandomState(0))
    start.field_pairs = rng.normal(size=(3, 1)) + 1
    settings = gibbs.Settings(1, False, hyperprior=replace(NARROW))
    chain = gibbs.Chain(problem, group, start, 0, settings, np.zeros(2, np.uint64))
    products = products_of(start, interactions) if has_within else None
    raw, common, scales = chain.raw.copy(), chain.common_precision[:2].copy(), []
    for _ in range(3000):
        chain._exchange_scale(rng)
        scales.append(chain.model.field_pairs[0, 0] / start.field_pairs[0, 0])
    theta = chain.draw().theta
    assert_allclose(theta[:, :2], start.theta[:, :2] / np.sqrt(scales[-1]))
    assert_allclose(chain.common_precision[:2], common * scales[-1])
    within = np.zeros(14)
    if has_within:
        within = X[:, 6] * X[:, 7] * products[6, 7]  # the only field with two entries in a row
    assert_allclose(chain.rows.error + y, raw + (1 / scales[-1] - 1) * within, atol=1e-9)

    grid = np.linspace(-6, 6, 1500)
    log_p = 3 * grid - ((np.exp(grid)[:, None] * start.field_pairs[:, 0] - 1) ** 2).sum(axis=1) / 2
    ratio = common[:, None] * np.exp(grid)
    log_p += NARROW.common / 2 * (2 * grid - ratio.sum(axis=0))
    outputs = raw + np.expm1(-grid)[:, None] * within
    log_p -= ((y - outputs) ** 2).sum(axis=1) / 2
    cdf = np.cumsum(np.exp(log_p - log_p.max()))
    found = np.searchsorted(np.sort(np.log(scales)), grid) / len(scales)
    assert np.abs(found - cdf / cdf[-1]).max() < 0.08


# Estimators


def make(make_model, n_rows=None, dtype=np.float64, seed=0):
    """One-hot rows whose interactions differ between pairs of fields; the fields of features."""
    rng = np.random.default_rng(seed)
    levels = [rng.integers(4, size=n_rows or size(200, 30)) for _ in range(3)]
    X = np.hstack([np.eye(4)[level] for level in levels]).astype(dtype)
    a, b, c = (2 * rng.normal(size=4)[level] for level in levels)
    y = a * b + b * c - a * c + rng.normal(size=a.size) / 2
    y = np.where(y > 0, "yes", "no") if make_model is BayesianFMClassifier else y
    return sparse.csr_matrix(X), y, np.repeat(["a", "b", "c"], 4)


def model_for(make_model, kind, fields, **parameters):
    short = {"n_components": 2, "max_iter": size(30, 9), "n_burn_in": 6, "random_state": 0}
    fields = {"field_interactions": kind, "feature_fields": fields}
    return make_model(**{**short, **fields, **parameters})


def decide(model, X):
    if isinstance(model, BayesianFMClassifier):
        return model.predict_proba(X)[:, 1]
    return model.predict(X)


def twin(model, X):
    """Predictions of a fitted model, as the mean of its samples' double loops."""
    samples, state = model._samples, model._chain_state
    X = X.toarray() / state.scaling.scale
    interactions, outputs = state.interactions, []
    fields, n_fields = interactions.interaction_group, len(interactions.partners)
    for k in range(samples.n_kept):
        components, between = samples.factors[k].astype(float), None
        if interactions.kind == "aware":
            components = components.reshape(len(components), n_fields, -1)
        elif interactions.kind == "weighted":
            between = np.ones((n_fields, n_fields))
            between[PAIRS] = between.T[PAIRS] = samples.field_pairs[k, :, 0]
        own = samples.linear[k], np.moveaxis(components, 0, -1), between
        terms = X, fields, interactions.partners
        outputs.append(
            reference.field_output(interactions.kind, samples.intercept[k], *own, *terms)
        )
    if isinstance(model, BayesianFMClassifier):
        return ndtr(outputs).mean(axis=0)
    transform = model._target_transform
    return np.mean(outputs, axis=0) * transform.unit + transform.shift


@pytest.mark.parametrize("pairs", [None, [("a", "b"), ("c", "c")]])
@each_model
@each_kind
def test_predictions_are_means_of_double_loops(kind, make_model, pairs):
    X, y, fields = make(make_model)
    model = model_for(make_model, kind, fields, interactions=pairs).fit(X, y)
    few = sparse.vstack([X[:6], sparse.csr_matrix(X[:4].toarray() + X[4:8].toarray() / 2)])
    few = few.tocsr()
    assert_array_equal(model.fields_, ["a", "b", "c"])
    assert_allclose(decide(model, few), twin(model, few), rtol=1e-4, atol=1e-5)


@each_model
@each_kind
def test_pairs_of_fields_that_interact_differently_are_learned(kind, make_model):
    X, y, fields = make(make_model, size(1500, 30))
    n_train = size(1000, 20)
    options = {"n_components": 1, "max_iter": size(80, 9), "n_burn_in": size(20, 6)}
    own, plain = (
        model_for(make_model, k, fields, **options).fit(X[:n_train], y[:n_train])
        for k in (kind, "plain")
    )
    if size(True, False):
        assert own.score(X[n_train:], y[n_train:]) > plain.score(X[n_train:], y[n_train:]) + 0.02
        assert own.score(X[n_train:], y[n_train:]) > 0.9


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@each_model
@each_kind
def test_number_of_threads_does_not_matter(kind, make_model, dtype, monkeypatch):
    monkeypatch.setattr(passes, "THREAD_WORK", 1)
    monkeypatch.setattr(field_weights, "LEAST_ROWS", 8)
    X, y, fields = make(make_model, dtype=dtype)
    one, two = (model_for(make_model, kind, fields, n_jobs=n).fit(X, y) for n in (1, 3))
    assert one.loss_curve_ == two.loss_curve_
    for name in posterior.ARRAYS:
        assert_array_equal(getattr(one._samples, name), getattr(two._samples, name))
    assert decide(one, X).dtype == dtype
    assert_array_equal(decide(one, X), decide(two, X))


@each_model
@each_kind
def test_weight_is_repetition(kind, make_model):
    X, y, fields = make(make_model)
    weight = np.random.default_rng(0).integers(0, 3, size=len(y))
    weighted = model_for(make_model, kind, fields).fit(X, y, weight)
    repeated = np.repeat(np.arange(len(y)), weight)
    repeated = model_for(make_model, kind, fields).fit(X[repeated], y[repeated])
    assert_array_equal(decide(weighted, X), decide(repeated, X))


@each_model
@each_kind
def test_a_warm_start_continues_the_chain_in_a_copy_as_well(kind, make_model):
    X, y, fields = make(make_model)
    whole = model_for(make_model, kind, fields, max_iter=16).fit(X, y)
    half = model_for(make_model, kind, fields, max_iter=8, warm_start=True).fit(X, y)
    copied = pickle.loads(pickle.dumps(half))
    assert_array_equal(decide(copied, X), decide(half, X))
    for model in (half, copied):
        model.fit(X, y)
        assert_allclose(model.loss_curve_, whole.loss_curve_, rtol=1e-6)
        assert_allclose(decide(model, X), decide(whole, X), rtol=1e-5)
        assert model.n_draws_ == whole.n_draws_


@each_model
def test_a_warm_start_on_other_rows_keeps_the_weights(make_model, monkeypatch):
    X, y, fields = make(make_model)
    model = model_for(make_model, "weighted", fields, warm_start=True).fit(X[:100], y[:100])
    kept, starts = model._chain_state.draw.field_pairs, []
    run = gibbs.Chain.__init__

    def note(self, problem, group, draw, *others):
        starts.append(draw.field_pairs)
        run(self, problem, group, draw, *others)

    monkeypatch.setattr(gibbs.Chain, "__init__", note)
    model.fit(X, y)
    assert_array_equal(starts[0], kept)


@pytest.mark.parametrize("before, after", [("plain", "weighted"), ("weighted", "plain")])
@each_model
def test_a_warm_start_keeps_the_kind(before, after, make_model):
    X, y, fields = make(make_model)
    model = model_for(make_model, before, fields, warm_start=True).fit(X, y)
    expected = decide(model, X)
    model.set_params(field_interactions=after)
    with pytest.raises(ValueError, match=f"from '{before}' to '{after}'.*warm_start=False"):
        model.fit(X, y)
    assert_array_equal(decide(model, X), expected)


@each_kind
def test_a_warm_start_keeps_the_fields(kind):
    X, y, fields = make(BayesianFMRegressor)
    model = model_for(BayesianFMRegressor, kind, fields, warm_start=True).fit(X, y)
    model.set_params(feature_fields=np.repeat(["a", "b", "d"], 4))
    with pytest.raises(ValueError, match=r"\['a', 'b', 'd'\].*\['a', 'b', 'c'\]"):
        model.fit(X, y)


@each_model
def test_matrices_are_refused(make_model):
    X, y, fields = make(make_model)
    model = model_for(make_model, "matrixed", fields)
    with pytest.raises(ValueError, match=rf"{make_model.__name__} cannot fit .*'matrixed'.*FM"):
        model.fit(X, y)
    assert not hasattr(model, "n_iter_")
    assert not hasattr(model, "fields_")


@each_model
def test_plain_models_have_no_fields(make_model):
    X, y, fields = make(make_model)
    model = model_for(make_model, "weighted", fields).fit(X, y)
    assert hasattr(model, "fields_")
    assert not hasattr(model.set_params(field_interactions="plain").fit(X, y), "fields_")


@each_model
@each_kind
def test_samples_take_the_memory_that_is_counted(kind, make_model):
    X, y, fields = make(make_model)
    options = {"max_iter": 30, "n_burn_in": 6}
    full = model_for(make_model, kind, fields, **options).fit(X, y)
    samples = full._samples
    taken = sum(getattr(samples, name)[0].nbytes for name in posterior.ARRAYS)
    assert taken == samples.bytes_a_draw
    limit = 5 * samples.bytes_a_draw / 2**20
    few = clone(full).set_params(max_memory=limit).fit(X, y)
    assert few.n_draws_ <= 5
    stride = few._samples.stride
    assert_array_equal(few._samples.field_pairs, samples.field_pairs[::stride])


@each_kind
def test_outputs_that_overflow_are_computed_in_float64(kind):
    X, y, fields = make(BayesianFMRegressor)
    model = model_for(BayesianFMRegressor, kind, fields).fit(X, y)
    large = X[:3] * 1e20
    assert_allclose(model.predict(large), twin(model, large), rtol=1e-4)


@each_kind
def test_new_levels_have_the_prior_of_their_group(kind):
    X, y, fields = make(BayesianFMRegressor)
    X = sparse.hstack([X, sparse.csr_matrix((X.shape[0], 2))]).tocsr()
    options = {"feature_groups": np.append(np.repeat([0, 1, 2], 4), [0, 1])}
    model = model_for(BayesianFMRegressor, kind, np.append(fields, ["a", "b"]), **options)
    model.fit(X, y)
    row = np.zeros((2, 14))
    row[:, [4, 8]] = 1
    row[0, 0] = row[1, 12] = 1
    (_, new), (_, spread) = model.predict(row, return_std=True)
    assert spread > 0
    assert new != model.predict(row - np.eye(2, 14, 12 - 1))[1]


@each_model
@each_kind
def test_centered_columns(kind, make_model):
    """Columns far from zero: predictions are those of the same columns near zero."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(size(150, 30), 3))
    y = X[:, 0] * X[:, 1] - X[:, 1] * X[:, 2]
    y = y > 0 if make_model is BayesianFMClassifier else y
    options = {"fields": ["a", "b", "c"], "max_iter": size(60, 9)}
    near, far = (
        quietly(model_for(make_model, kind, **options).fit, X + shift, y) for shift in (0, 1000)
    )
    assert far._chain_state.scaling.center.all()
    if size(True, False):
        correlation = np.corrcoef(decide(near, X), decide(far, X + 1000))[0, 1]
        assert correlation > 0.97
