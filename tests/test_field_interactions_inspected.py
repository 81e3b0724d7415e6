"""Explanations, interactions and maps of models with parameters of pairs of fields.

All of them are compared with the weights of all pairs of features, from the fitted attributes.
"""

from functools import cache

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skfm import BayesianFMRegressor, FMClassifier, FMRegressor
from skfm.inspection import (
    FactorMapDisplay,
    InteractionDisplay,
    _strengths,
    _strengths_in_rows,
    _terms,
    explain,
    similar_features,
    top_interactions,
)

FIELDS = np.array(["b", "b", "a", "a", "c", "c", "a"])
ORDER = ["a", "b", "c"]  # of fields_
KINDS = ["weighted", "matrixed", "aware"]
MASK = [("b", "a"), ("c", "b"), ("b", "b")]


def make_rows(n_rows=70):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, 7)) * (rng.random((n_rows, 7)) < 0.8)
    X[:, 5] = 30 + rng.normal(size=n_rows)  # is centered
    return X, X[:, 0] * X[:, 2] - X[:, 1] * X[:, 4] + X[:, 3] + 0.1 * X[:, 5]


@cache
def fitted(kind, n_outputs=1, is_masked=False, dtype=np.float64):
    X, y = make_rows()
    options = {"feature_fields": FIELDS, "interactions": MASK if is_masked else None}
    options |= {"field_interactions": kind, "random_state": 0, "max_iter": 30, "init_scale": 0.5}
    if n_outputs == 1:
        return FMRegressor(2, **options).fit(X.astype(dtype), y)
    labels = np.digitize(y, np.quantile(y, [0.3, 0.6]))
    return FMClassifier(2, **options).fit(X.astype(dtype), labels)


def weights_of_pairs(model):
    """Weights (n_features, n_features, n_outputs), feature by feature; 0 on the diagonal."""
    field = [ORDER.index(label) for label in FIELDS]
    n_outputs = np.size(model.intercept_)
    kind, components = model.field_interactions, model.components_
    components = components if n_outputs > 1 else components[None]
    weights = np.zeros((7, 7, n_outputs))
    partners = model.interactions or [(a, b) for a in ORDER for b in ORDER]
    for o, v in enumerate(components):
        for i in range(7):
            for j in range(7):
                c, d = field[i], field[j]
                names = ORDER[c], ORDER[d]
                if i == j or (names not in partners and names[::-1] not in partners):
                    continue
                if kind == "aware":
                    weights[i, j, o] = v[d, :, i] @ v[c, :, j]
                elif kind == "weighted":
                    table = np.reshape(model.field_weights_, (n_outputs, 3, 3))[o]
                    weights[i, j, o] = table[c, d] * (v[:, i] @ v[:, j])
                else:
                    table = np.reshape(model.field_matrices_, (n_outputs, 3, 3, 2, 2))[o]
                    weights[i, j, o] = v[:, i] @ table[c, d] @ v[:, j]
    return weights


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("is_masked", [False, True])
def test_explanations_are_the_terms_of_the_formula(monkeypatch, kind, n_outputs, is_masked):
    monkeypatch.setattr(_terms, "BLOCK_NUMBERS", 100)
    model, (X, _) = fitted(kind, n_outputs, is_masked), make_rows()
    X = X[:9]
    explanation = explain(model, X)
    output = model.predict(X) if n_outputs == 1 else model.decision_function(X)
    assert_array_equal(explanation.output, output)
    weights, coef = weights_of_pairs(model), np.reshape(model.coef_, (n_outputs, 7))
    assert len(np.unique(np.round(weights[weights != 0], 9))) > 4 * n_outputs
    sums = np.tile(explanation.intercept, (9, 1)).astype(float)
    expected_n = 0
    for sample, (i, j), contribution in zip(
        explanation.sample,
        explanation.features,
        explanation.contribution.reshape(-1, n_outputs),
        strict=True,
    ):
        x = X[sample]
        expected = coef[:, i] * x[i] if j < 0 else weights[i, j] * x[i] * x[j]
        assert_allclose(contribution, expected, rtol=1e-9, atol=1e-12)
        sums[sample] += contribution
    is_pair = np.triu(weights.any(axis=2))
    for x in X:
        there = np.flatnonzero(x)
        expected_n += there.size + is_pair[np.ix_(there, there)].sum()
    assert len(explanation.sample) == expected_n
    assert_allclose(sums, output.reshape(9, -1), rtol=1e-8, atol=1e-8 * np.abs(sums).max())


@pytest.mark.parametrize("kind", KINDS)
def test_explanations_in_float32(kind):
    model, (X, _) = fitted(kind, 3, dtype=np.float32), make_rows()
    explanation = explain(model, X[:9].astype(np.float32))
    assert explanation.contribution.dtype == np.float32
    sums = np.zeros((9, 3)) + explanation.intercept
    np.add.at(sums, explanation.sample, explanation.contribution)
    assert_allclose(sums, explanation.output, atol=1e-4 * np.abs(explanation.contribution).max())


@pytest.mark.parametrize("options", [{"interactions": []}, {"n_components": 0}])
def test_bayesian_models_may_have_no_interactions(options):
    X, y = make_rows()
    options = {"feature_fields": FIELDS, "field_interactions": "aware"} | options
    model = BayesianFMRegressor(max_iter=3, n_burn_in=1, random_state=0).set_params(**options)
    explanation = explain(model.fit(X, y), X[:5])
    assert (explanation.features[:, 1:] < 0).all()
    sums = np.zeros(5) + explanation.intercept
    np.add.at(sums, explanation.sample, explanation.contribution)
    assert_allclose(sums, explanation.output, rtol=1e-4)


@pytest.mark.parametrize("block", [2, 512])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("in_rows", [False, True])
@pytest.mark.parametrize("is_masked", [False, True])
@pytest.mark.pairwise
def test_finds_the_largest_of_all_weights(monkeypatch, kind, n_outputs, in_rows, is_masked, block):
    monkeypatch.setattr(_strengths, "BLOCK", block)
    monkeypatch.setattr(_strengths_in_rows, "FEATURES_TOGETHER", block)
    monkeypatch.setattr(_strengths_in_rows, "NUMBERS_TOGETHER", block)
    model, (X, _) = fitted(kind, n_outputs, is_masked), make_rows()
    weights = weights_of_pairs(model)
    if in_rows:
        weights *= np.sqrt(np.einsum("ni,nj->ij", X**2, X**2) / len(X))[:, :, None]
    strengths = np.triu(np.linalg.norm(weights, axis=2))
    for n in (1, 4, 30):
        pairs, found = top_interactions(model, n, X=X if in_rows else None)
        order = np.argsort(-strengths, axis=None)[:n]
        order = order[strengths.ravel()[order] > 0]
        places = np.column_stack(np.unravel_index(order, strengths.shape))
        assert [[int(name[1:]) for name in pair] for pair in pairs] == places.tolist()
        assert_allclose(found.reshape(len(pairs), -1), weights[*places.T], rtol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("labels", [FIELDS, list("xxyyyxx")], ids=["own", "others"])
def test_strengths_of_fields(monkeypatch, kind, n_outputs, labels):
    monkeypatch.setattr(_strengths_in_rows, "NUMBERS_TOGETHER", 100)
    model, (X, _) = fitted(kind, n_outputs, is_masked=True), make_rows()
    weights, names = weights_of_pairs(model), sorted(set(labels))
    plain, in_rows = np.zeros((2, len(names), len(names)))
    for a, first in enumerate(names):
        for b, second in enumerate(names):
            pairs = [
                (i, j)
                for i in range(7)
                for j in range(7)
                if i != j and labels[i] == first and labels[j] == second
            ]
            pairs = [(i, j) for i, j in pairs if first != second or i < j]
            i, j = np.transpose(pairs)
            plain[a, b] = np.sqrt((weights[i, j] ** 2).sum() / len(pairs))
            outputs = np.einsum("np,po->no", X[:, i] * X[:, j], weights[i, j])
            in_rows[a, b] = np.sqrt((outputs**2).sum() / len(X))
    for rows, expected in ((None, plain), (X, in_rows)):
        pairs, strengths = top_interactions(model, 99, by="field", X=rows, feature_fields=labels)
        assert len(pairs) == np.count_nonzero(np.triu(expected) > 1e-9)
        for (first, second), strength in zip(pairs, strengths, strict=True):
            known = expected[names.index(first), names.index(second)]
            assert_allclose(strength, known, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_similar_features_interact_alike(kind):
    model = fitted(kind, is_masked=True)
    v = model.components_
    if kind == "aware":  # field a only interacts with b, and so do its features
        vectors = v[1].T
    elif kind == "weighted":
        vectors = v.T
    else:
        vectors = v.T @ model.field_matrices_[0, 1]
    cosines = {
        f"x{j}": vectors[2] @ vectors[j] / np.linalg.norm(vectors[2]) / np.linalg.norm(vectors[j])
        for j in (3, 6)
    }
    similar, similarities = similar_features(model, "x2")
    assert similar.tolist() == sorted(cosines, key=cosines.get, reverse=True)
    assert_allclose(similarities, sorted(cosines.values(), reverse=True))
    if kind == "aware":
        with pytest.raises(ValueError, match="leave same_field=True"):
            similar_features(model, "x2", same_field=False)
        coarse, _ = similar_features(model, "x2", feature_fields=["all"] * 7)
        assert set(coarse) == {"x3", "x6"}
    else:
        assert len(similar_features(model, "x2", same_field=False)[0]) == 6


@pytest.mark.parametrize("kind", KINDS)
def test_displays(kind):
    plt = pytest.importorskip("matplotlib.pyplot")
    model = fitted(kind, is_masked=True)
    features = InteractionDisplay.from_estimator(model, features=["x0", "x1", "x2", "x4"])
    weights = weights_of_pairs(model)[..., 0][np.ix_([0, 1, 2, 4], [0, 1, 2, 4])]
    assert_allclose(np.nan_to_num(features.weights), weights, rtol=1e-9)
    fields = InteractionDisplay.from_estimator(model)
    assert fields.labels.tolist() == ORDER and fields.weights[0, 2] == 0
    points = FactorMapDisplay.from_estimator(model, field="a")
    assert np.shape(points.positions) == (3, 2)
    if kind == "aware":
        with pytest.raises(ValueError, match="pass the label of one field as field"):
            FactorMapDisplay.from_estimator(model)
    else:
        assert len(FactorMapDisplay.from_estimator(model).positions) == 7
    plt.close("all")
