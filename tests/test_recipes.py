"""Recipes: what their models predict is what the originals' own formulas say."""

import pickle
import re

import numpy as np
import pytest
from helpers import size
from numpy.testing import assert_allclose, assert_array_equal
from reference import slow_ratings
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score

from skfm import BayesianFMClassifier, BayesianFMRegressor, FMClassifier, FMRegressor
from skfm.preprocessing import EventEncoder
from skfm.recipes import _RECIPES, make_recipe

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
COLUMNS = {"time": 2, "context": [3], "attributes": [4]}
ESTIMATORS = [FMRegressor(3, max_iter=4), FMRegressor(3, solver="als", max_iter=4)]
NAMES = list(_RECIPES)


def make_log(seed=0, n_rows=None):
    """Users, items, times, tags and genres; every pair at most once, but for the last row."""
    rng = np.random.default_rng(seed)
    pairs = rng.permutation(80)[: n_rows or size(50, 30)]
    tags, genres = np.array(["x", "y", "z"]), [["a"], ["a", "b"], []]
    rows = [
        (f"u{pair // 10}", f"i{pair % 10}", float(time), tags[tag], genres[genre])
        for pair, time, tag, genre in zip(
            pairs, rng.permutation(pairs.size), *rng.integers(3, size=(2, pairs.size)), strict=True
        )
    ]
    return [*rows, rows[0]], rng.normal(size=len(rows) + 1)


class Fitted:
    """The parameters of a fitted recipe by the names of features; 0 of those there are not."""

    def __init__(self, pipeline):
        estimator = pipeline[-1]
        names = pipeline[0].get_feature_names_out()
        self.intercept = estimator.intercept_
        self.weights = dict(zip(names, estimator.coef_, strict=True))
        self.vectors = dict(zip(names, estimator.components_.T, strict=True))
        self.zero = np.zeros(estimator.components_.shape[0])

    def w(self, name):
        return self.weights.get(name, 0.0)

    def v(self, name):
        return self.vectors.get(name, self.zero)


def seen_by(log, user):
    return sorted({row[1] for row in log if row[0] == user})


def biased_mf(p, log, y, row):
    u, i = row[:2]
    return p.intercept + p.w(f"user={u}") + p.w(f"item={i}") + p.v(f"user={u}") @ p.v(f"item={i}")


def svd_plus_plus(p, log, y, row):
    """Koren 2008: mu + b_u + b_i + q_i (p_u + |N|^-1/2 sum of y_j)."""
    u, i = row[:2]
    profile = p.v(f"user={u}").copy()
    seen = seen_by(log, u)
    for j in seen:
        profile += p.v(f"history={j}") / len(seen) ** 0.5
    return p.intercept + p.w(f"user={u}") + p.w(f"item={i}") + p.v(f"item={i}") @ profile


def ratings_of_others(log, y, row):
    """The user's ratings above a baseline, of the folds that the row's pair is not in."""
    u, i = row[:2]
    events = [(*r[:2], 0.0) for r in log]
    found = slow_ratings(events, y, u, i)
    return {j: value * len(found) ** 0.5 for j, value in found.items()}


def knn(p, log, y, row):
    """Koren 2010, factorized: b_ui + q_i |R|^-1/2 sum of (r_uj - b_uj) x_j, but of other folds."""
    u, i = row[:2]
    others = ratings_of_others(log, y, row)
    profile = p.zero.copy()
    for j, rest in others.items():
        profile += rest * p.v(f"ratings={j}") / len(others) ** 0.5
    return p.intercept + p.w(f"user={u}") + p.w(f"item={i}") + p.v(f"item={i}") @ profile


def knn_plus_plus(p, log, y, row):
    u, i = row[:2]
    return (
        knn(p, log, y, row)
        + svd_plus_plus(p, log, y, row)
        - p.intercept - p.w(f"user={u}") - p.w(f"item={i}")
    )  # fmt: skip


def pitf(p, log, y, row):
    """Rendle, Schmidt-Thieme 2010: u t^U + i t^I."""
    u, i, _, tag = row[:4]
    by_user = p.v(f"user={u}") @ p.v(f"for the user={tag}")
    return by_user + p.v(f"item={i}") @ p.v(f"for the item={tag}")


def fpmc(p, log, y, row):
    """Rendle et al. 2010: u i + the mean, over the basket before, of l i'."""
    u, i, time = row[:3]
    before = [r[2] for r in log if r[0] == u and r[2] < time]
    basket = {r[1] for r in log if r[0] == u and r[2] == max(before)} if before else ()
    moves = [p.v(f"previous={j}") @ p.v(f"next={i}") for j in basket]
    return p.v(f"user={u}") @ p.v(f"item={i}") + (np.mean(moves) if moves else 0)


def parafac(p, log, y, row):
    u, i, _, tag = row[:4]
    return (p.v(f"user={u}") * p.v(f"item={i}") * p.v(f"x3={tag}")).sum()


ORIGINALS = {
    "mf": biased_mf,
    "svd++": svd_plus_plus,
    "knn": knn,
    "knn++": knn_plus_plus,
    "pitf": pitf,
    "fpmc": fpmc,
    "parafac": parafac,
}
# Of unknown users and items, and users of whom nothing is known before.
NEW = [
    ("u0", "i1", 100.0, "x", ["a"]),
    ("u9", "i1", 3.0, "y", []),
    ("u1", "i99", -5.0, "z", ["b", "c"]),
    ("u9", "i99", 0.0, "w", []),
]


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("name", ORIGINALS)
def test_predictions_are_those_of_the_original(name, estimator):
    log, y = make_log()
    estimator = clone(estimator).set_params(init_scale=0.5, alpha=0.01, random_state=0)
    model = make_recipe(name, estimator, **COLUMNS).fit(log, y)
    parameters = Fitted(model)
    assert any(np.abs(vector).min() > 1e-3 for vector in parameters.vectors.values())
    rows = [*log, *NEW]
    expected = [ORIGINALS[name](parameters, log, y, row) for row in rows]
    assert_allclose(model.predict(rows), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ORIGINALS)
def test_nothing_else_has_weights(name):
    """But what the formulas of the originals have."""
    log, y = make_log()
    model = make_recipe(name, FMRegressor(3, max_iter=3, random_state=0), **COLUMNS).fit(log, y)
    fields = model[0].feature_fields_
    has_weight = np.isin(fields, ["user", "item"]) & (name not in ("pitf", "fpmc", "parafac"))
    assert not model[-1].coef_[~has_weight].any()
    assert model[-1].coef_[has_weight].all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "estimator",
    [
        *ESTIMATORS,
        FMClassifier(3, max_iter=3),
        BayesianFMRegressor(3, max_iter=6, n_burn_in=2),
        BayesianFMClassifier(3, max_iter=6, n_burn_in=2),
    ],
)
def test_every_recipe_with_every_estimator(name, estimator):
    log, y = make_log()
    if hasattr(estimator, "predict_proba"):
        y = (y > 0).astype(int) if "knn" in name else np.where(y > 0, "good", "bad")
    estimator = clone(estimator).set_params(random_state=0)
    model = make_recipe(name, estimator, **COLUMNS)
    assert estimator.get_params() == clone(estimator).get_params()  # a copy has been made
    one = model.fit(log, y).predict([*log, *NEW])
    assert one.shape == (len(log) + len(NEW),)
    again = clone(model).set_params(estimate__n_jobs=2).fit(log, y)
    assert_array_equal(again.predict([*log, *NEW]), one)
    assert_array_equal(pickle.loads(pickle.dumps(again)).predict([*log, *NEW]), one)


@pytest.mark.parametrize("name", NAMES)
def test_a_rows_own_target_does_not_reach_its_features(name):
    log, y = make_log()
    model = make_recipe(name, FMRegressor(2, max_iter=2, random_state=0), **COLUMNS)
    X = model[0].fit_transform(log, y).toarray()
    changed = y.copy()
    changed[3] = 100
    X_changed = model[0].fit_transform(log, changed).toarray()
    assert_allclose(X_changed[3], X[3], rtol=0, atol=1e-12)


def test_in_company():
    """Of cross-validation and a grid, sliced by events."""
    log, y = make_log(n_rows=60)
    log = np.array([row[:3] for row in log], dtype=object)
    model = make_recipe("svd++", FMRegressor(2, max_iter=3, random_state=0))
    assert np.isfinite(cross_val_score(model, log, y, cv=3)).all()
    grid = {"estimate__alpha": [0.5, 2.0], "encode__dtype": [np.float32, np.float64]}
    search = GridSearchCV(model, grid, cv=2).fit(log, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize("name", ["mf", "svd++", "knn"])
def test_ids_of_another_type_are_warned_of(name):
    log, y = [(1, 10), (1, 11), (2, 10), (2, 12)], [5.0, 1.0, 4.0, 2.0]
    model = make_recipe(name, FMRegressor(2, max_iter=3, random_state=0)).fit(log, y)
    with pytest.warns(UserWarning, match="user ids is known: they are str, but were int64 in fit"):
        model.predict([("1", "10"), ("2", "12")])


def test_groups_and_fields_are_those_of_the_encoder():
    log, y = make_log()
    estimator = BayesianFMRegressor(2, max_iter=5, n_burn_in=1, random_state=0)
    model = make_recipe("timesvd++", estimator, time=2).fit(log, y)
    labels = model[0].feature_groups_
    X = EventEncoder(model[0].blocks, time=2).fit_transform(log)
    assert_array_equal(labels, X.feature_groups)
    explicit = clone(estimator).set_params(feature_groups=labels, feature_fields=labels)
    assert_array_equal(explicit.fit(X.copy(), y).predict(X), model.predict(log))


def test_columns_of_other_recipes_are_left_out():
    for name in NAMES:
        encoder = make_recipe(name, FMRegressor(), **COLUMNS)[0]
        for kind in ("context", "attributes"):
            used = any(kind in block for block in encoder.blocks)  # a kind, or a name and a kind
            assert getattr(encoder, kind) == (COLUMNS[kind] if used else ())


@pytest.mark.parametrize(
    "arguments, match",
    [
        (("svd",), "'svd\\+\\+'.*'svd'"),
        ((None,), "name must be one of"),
        (("timesvd",), "requires time"),
        (("pitf",), "requires context"),
        (("attributes",), "requires attributes"),
    ],
)
def test_models_that_there_are_not(arguments, match):
    with pytest.raises(ValueError, match=match):
        make_recipe(*arguments, FMRegressor())


def test_bad_columns():
    for context in ("tag", [], ["a", "b"]):
        with pytest.raises(ValueError, match="context"):
            make_recipe("parafac", FMRegressor(), context=context)
    with pytest.raises(ValueError, match="EventEncoder"):
        make_recipe("mf", FMRegressor(), blocks=["user"])
    with pytest.raises(TypeError, match="users"):
        make_recipe("mf", FMRegressor(), users=0)
    with pytest.raises(ValueError, match=re.escape("'interactions'")):
        make_recipe("svd++", Ridge())
