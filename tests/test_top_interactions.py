"""The strongest interactions, against tables of all pairs; and the most similar features."""

import re

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skfm import (
    BayesianFMRegressor,
    FMClassifier,
    FMRecommender,
    FMRegressor,
    MFRecommender,
)
from skfm.inspection import (
    _strengths,
    _strengths_in_rows,
    explain,
    similar_features,
    top_interactions,
)
from skfm.inspection._products import Products

FIELDS = ["a", "a", "b", "b", "c", "c"]


def make_rows(n_rows=80, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 6)) * (rng.random((n_rows, 6)) < 0.7) * [1, 5, 1, 0.2, 1, 1]
    return X, X[:, 0] * X[:, 2] - X[:, 1] * X[:, 4] + X[:, 5]


def fitted(kind, **options):
    X, y = make_rows()
    options = options | {"random_state": 0}
    if kind == "classes":
        labels = np.digitize(y, np.quantile(y, [0.3, 0.6]))
        return FMClassifier(2, solver="als", max_iter=5, **options).fit(X, labels)
    if kind.endswith("posterior"):
        X[:, 3] = 0  # does not occur in training
        return BayesianFMRegressor(2, max_iter=20, n_burn_in=10, **options).fit(X, y)
    return FMRegressor(2, solver="als", max_iter=5, **options).fit(X, y)


def weights_of_all_pairs(model):
    """Weights (n_features, n_features, n_outputs), read off explanations of two features each."""
    pairs = np.array([(i, j) for i in range(6) for j in range(i)])
    rows = np.zeros((len(pairs), 6))
    rows[np.arange(len(pairs))[:, None], pairs] = 1
    explanation = explain(model, rows)
    weights = np.zeros((6, 6, explanation.intercept.size))
    chosen = explanation.features[:, 1] >= 0
    i, j = explanation.features[chosen].T
    weights[i, j] = explanation.contribution[chosen].reshape(len(i), -1)
    return weights + weights.transpose(1, 0, 2)


@pytest.mark.parametrize("block", [2, 512])
@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize(
    "kind",
    [
        "fields",
        "pairs",
        "degree 3",
        "classes",
        "posterior",
        "weighted posterior",
        "aware posterior",
    ],
)
def test_finds_the_largest_of_all_weights(monkeypatch, kind, is_weighted, block):
    monkeypatch.setattr(_strengths, "BLOCK", block)
    monkeypatch.setattr(_strengths_in_rows, "FEATURES_TOGETHER", block)
    monkeypatch.setattr(_strengths_in_rows, "NUMBERS_TOGETHER", block)
    options = {
        "fields": {"feature_fields": FIELDS, "interactions": [("a", "b"), ("c", "c")]},
        "degree 3": {"degree": 3},
        **{
            f"{kind} posterior": {"feature_fields": FIELDS, "field_interactions": kind}
            for kind in ("weighted", "aware")
        },
    }
    model, (X, _) = fitted(kind, **options.get(kind, {})), make_rows()
    weights = weights_of_all_pairs(model)
    if kind.endswith("posterior"):
        weights[3] = weights[:, 3] = 0  # its prior says nothing of it
    if is_weighted:
        weights *= np.sqrt(np.einsum("ni,nj->ij", X**2, X**2) / len(X))[:, :, None]
    strengths = np.triu(np.sqrt((weights**2).sum(axis=2)), 1)
    for n in (1, 4, 20):
        pairs, found = top_interactions(model, n, X=X if is_weighted else None)
        order = np.argsort(-strengths, axis=None)[:n]
        order = order[strengths.ravel()[order] > 0]
        rows, columns = np.unravel_index(order, strengths.shape)
        assert [[int(name[1:]) for name in pair] for pair in pairs] == [
            list(pair) for pair in zip(rows, columns, strict=True)
        ]
        assert_allclose(found.reshape(len(pairs), -1), weights[rows, columns], rtol=1e-5)


@pytest.mark.parametrize("block", [1, 1 << 20])
@pytest.mark.parametrize(
    "kind", ["fields", "pairs", "classes", "posterior", "weighted posterior", "aware posterior"]
)
def test_strengths_of_fields(monkeypatch, kind, block):
    monkeypatch.setattr(_strengths_in_rows, "NUMBERS_TOGETHER", block)
    options = {"feature_fields": FIELDS}
    if kind == "fields":
        options |= {"interactions": [("a", "b"), ("c", "c"), ("b", "c")]}
    if kind in ("weighted posterior", "aware posterior"):
        options |= {"field_interactions": kind.split()[0]}
    model, (X, _) = fitted(kind, **options), make_rows()
    if kind.endswith("posterior"):
        X[:, 3] = 0
    squares = (weights_of_all_pairs(model) ** 2).sum(axis=2)
    if kind.endswith("posterior"):
        squares[3] = squares[:, 3] = 0
    i, j = np.triu_indices(6, 1)
    fields = np.sort(np.array(FIELDS)[np.column_stack([i, j])], axis=1)
    plain = {
        pair: np.sqrt(squares[i, j][(fields == pair).all(axis=1)].mean())
        for pair in {tuple(pair) for pair in fields}
    }
    explanation = explain(model, X, feature_fields=FIELDS).by_field()
    contributions = {}
    for features, contribution in zip(explanation.features, explanation.contribution, strict=True):
        pair = tuple(explanation.feature_names[features])
        if features[1] >= 0:
            contributions.setdefault(pair, []).append(np.sum(contribution**2))
    in_rows = {pair: np.sqrt(np.sum(sizes) / len(X)) for pair, sizes in contributions.items()}
    for rows, expected in ((None, plain), (X, in_rows)):
        pairs, strengths = top_interactions(model, 99, by="field", X=rows)
        assert set(map(tuple, pairs)) == {pair for pair, value in expected.items() if value > 0}
        assert_allclose(strengths, [expected[tuple(pair)] for pair in pairs], rtol=1e-5)
        assert_array_equal(strengths, np.sort(strengths)[::-1])


@pytest.mark.parametrize("shape", [(5, 7, 3), (50, 40, 3), (5, 7, 30)])
def test_sums_of_squares_of_all_products(shape):
    n, m, width = shape
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(n, width)), rng.normal(size=(m, width))
    expected = ((first @ second.T) ** 2).sum()
    assert_allclose(_strengths._sum_of_squares(first, second), expected)


def test_pairs_that_never_occur_together_are_left_out():
    rng = np.random.default_rng(0)
    table = np.column_stack([rng.integers(3, size=60), rng.integers(4, size=60)])
    model = make_pipeline(
        OneHotEncoder(), FMRegressor(2, solver="als", max_iter=5, random_state=0)
    )
    model.fit(table, rng.normal(size=60))
    pairs, _ = top_interactions(model, 99)
    assert ["x0_0", "x0_1"] in np.sort(pairs, axis=1).tolist()
    pairs, weights = top_interactions(model, 99, X=table)
    assert {(first[:2], second[:2]) for first, second in pairs} == {("x0", "x1")}
    explanation = explain(model, table)
    for pair, weight in zip(pairs, weights, strict=True):
        places = [explanation.feature_names.tolist().index(name) for name in pair]
        own = explanation.contribution[(explanation.features == places).all(axis=1)]
        assert_allclose(abs(weight), np.sqrt((own**2).sum() / 60))
    fields, _ = top_interactions(model, X=table, by="field")
    assert fields.tolist() == [["x0", "x1"]]


def test_most_pairs_are_never_looked_at(monkeypatch):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(1, 1000, 4)) * np.geomspace(1, 1e-3, 1000)[:, None]
    looked_at, pairs_above = [], _strengths._pairs_above
    monkeypatch.setattr(_strengths, "BLOCK", 50)
    monkeypatch.setattr(
        _strengths,
        "_pairs_above",
        lambda *arguments: looked_at.append(1) or pairs_above(*arguments),
    )

    whole = np.full(4, 2), np.zeros(1000, int), np.ones((1, 1), bool)
    pairs = _strengths.strongest_pairs(Products(vectors, *whole), 10)
    products = np.abs(np.triu(vectors[0] @ vectors[0].T, 1))
    order = np.argsort(-products, axis=None)[:10]
    assert_array_equal(pairs, np.column_stack(np.unravel_index(order, products.shape)))
    assert len(looked_at) < 40  # of 210


@pytest.mark.parametrize("kind", ["pairs", "degree 3", "classes", "posterior"])
def test_similar_features_have_the_largest_cosines(kind):
    model = fitted(kind, **({"degree": 3} if kind == "degree 3" else {}))
    if kind == "posterior":
        samples = model._samples.factors / model._chain_state.scaling.scale[:, None]
        vectors = np.zeros((6, samples.shape[0] * 2))
        vectors[[0, 1, 2, 4, 5]] = samples.transpose(1, 0, 2).reshape(5, -1)
    else:
        vectors = np.moveaxis(model.components_, -1, 0).reshape(6, -1)
    lengths = np.linalg.norm(vectors, axis=1)
    cosines = vectors @ vectors[1] / np.maximum(lengths * lengths[1], 1e-12)
    there = [j for j in np.argsort(-cosines) if j != 1 and lengths[j]]
    similar, similarities = similar_features(model, "x1", 9)
    assert similar.tolist() == [f"x{j}" for j in there]
    assert_allclose(similarities, cosines[there], rtol=1e-5, atol=1e-6)
    similar, found = similar_features(model, 1, 9, feature_fields=["a", "a", "a", "b", "a", "b"])
    assert similar.tolist() == [f"x{j}" for j in there if j in (0, 2, 4)]
    assert found[0] == similarities[there.index(int(similar[0][1:]))]
    if kind == "posterior":
        with pytest.raises(ValueError, match="'x3' has a vector of zeros"):
            similar_features(model, "x3")


def test_features_of_recommenders():
    films = pd.DataFrame({"long": [1.0, 2, 3, 4]}, index=list("abcd"))
    users = np.eye(3)[[0, 1, 2, 0, 1, 2]]
    options = {"item_features": films, "max_iter": 10, "random_state": 0}
    model = FMRecommender(2, loss="bpr", **options).fit(users, list("abcdab"))
    pairs, weights = top_interactions(model, 99)
    assert not any(set(pair) <= {"x0", "x1", "x2"} for pair in pairs)  # not learned
    assert ["x0", "item=a"] in pairs.tolist()
    vectors = model.components_[:, 0], model.item_components_[:, 0]
    place = pairs.tolist().index(["x0", "item=a"])
    assert_allclose(weights[place], vectors[0] @ vectors[1])
    similar, _ = similar_features(model, "item=a")
    assert set(similar) <= {"item=b", "item=c", "item=d"}
    with pytest.raises(ValueError, match="leave X out for a recommender"):
        top_interactions(model, X=users)


@pytest.mark.parametrize("output", ["pandas", "polars"])
def test_frames(output):
    pytest.importorskip(output)
    model = fitted("classes", feature_fields=FIELDS)
    pairs, weights = top_interactions(model, 3)
    frame = top_interactions(model, 3, output=output)
    assert list(frame.columns) == [
        "feature",
        "feature_2",
        *("weight_0", "weight_1", "weight_2"),
    ]
    assert_array_equal(np.asarray(frame["feature_2"]), pairs[:, 1])
    assert_array_equal(np.asarray(frame["weight_2"]), weights[:, 2])
    frame = top_interactions(model, 3, by="field", output=output)
    assert list(frame.columns) == ["field", "field_2", "weight"]
    frame = similar_features(model, 0, output=output)
    assert list(frame.columns) == ["feature", "similarity"]


def test_errors_say_what_to_do():
    X, y = make_rows()
    model = fitted("pairs")
    with pytest.raises(TypeError, match="factorization machines of skfm"):
        top_interactions(Ridge().fit(X, y))
    with pytest.raises(TypeError, match="factorization machines of skfm"):
        similar_features(MFRecommender(1).fit(np.abs(X)), 0)
    with pytest.raises(ValueError, match="pass them in feature_fields"):
        top_interactions(model, by="field")
    with pytest.raises(ValueError, match="by must be"):
        top_interactions(model, by="group")
    with pytest.raises(ValueError, match="n must be"):
        top_interactions(model, 0)
    for options in ({"degree": 3, "fit_lower": False}, {"n_components": 0}):
        lacking = FMRegressor(**options, solver="als", max_iter=2, random_state=0).fit(X, y)
        with pytest.raises(ValueError, match="no interactions of pairs"):
            top_interactions(lacking)
    message = r"'size' in feature is not a feature of the model.*numbers from 0 to 5"
    with pytest.raises(ValueError, match=message):
        similar_features(model, "size")
    message = r"'x' in feature is not a feature of the model.*'x0', 'x1', 'x2', 'x3', 'x4';"
    with pytest.raises(ValueError, match=message):
        similar_features(model, "x")


def test_unknown_features_are_told_similar_names():
    films = pd.DataFrame({"user": list("abcd"), "film": ["alien", "brazil", "alien", "cube"]})
    model = make_pipeline(OneHotEncoder(), FMRegressor(2, max_iter=5, tol=1, random_state=0))
    model.fit(films, [1, 2, 3, 4])
    with pytest.raises(ValueError, match=r"Its features include 'film_brazil'; numbers"):
        similar_features(model, "brazil")


@pytest.mark.parametrize("feature", ["a", True, np.True_, ["b"], None, 1.5, -1])
def test_features_that_no_name_or_position_identifies(feature):
    """Such as a name that two features have."""
    X = np.random.default_rng(0).normal(size=(20, 3))
    model = FMRegressor(1, max_iter=1, random_state=0).fit(X, X[:, 0])
    reason = "^feature names 'a', which is the name of several features; pass the position"
    if feature != "a":
        reason = f"^{re.escape(repr(feature))} in feature is not a feature of the model.*0 to 2"
    with pytest.raises(ValueError, match=reason):
        similar_features(model, feature, feature_names=["a", "b", "a"])
    assert similar_features(model, 0, feature_names=["a", "b", "a"])[0].size == 2
