"""Explanations of predictions: each term is the one of the model's formula, and they add up."""

from itertools import combinations, permutations

import numpy as np
import pandas as pd
import pytest
from helpers import size
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.compose import make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.inspection import permutation_importance
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skfm import (
    BayesianFMClassifier,
    BayesianFMRegressor,
    FMClassifier,
    FMRecommender,
    FMRegressor,
    MFRecommender,
)
from skfm.inspection import _collect, _explain, _terms, explain
from skfm.preprocessing import EventEncoder, UserItemEncoder

FIELDS = ["a", "a", "b", "b", "c"]
MODELS = {
    "pairs": {},
    "linear": {"n_components": 0},
    "degree 3": {"degree": 3},
    "only degree 3": {"degree": 3, "fit_lower": False, "fit_linear": False},
    "fields": {
        "feature_fields": FIELDS,
        "interactions": [("a", "b"), ("a", "a")],
        "fit_linear": ["a", "c"],
    },
    "Poisson": {"loss": "poisson"},
}
RECOMMENDERS = {
    "logistic": {"loss": "logistic"},
    "warp": {"loss": "warp"},
    "features alone": {"loss": "bpr", "item_identity": ()},
    "fields": {
        "loss": "logistic",
        "feature_fields": ["user"] * 4 + ["time"],
        "interactions": [("user", "item"), ("user", "item_features"), ("user", "time")],
        "fit_linear": ["item", "time"],
    },
}


def total(explanation):
    """What the terms add up to."""
    intercept = explanation.intercept if explanation.output.ndim == 2 else explanation.intercept[0]
    sums = np.zeros(explanation.output.shape) + intercept + explanation.remainder
    np.add.at(sums, explanation.sample, explanation.contribution)
    return sums


def assert_adds_up(explanation, rtol=1e-10):
    """Up to rounding of the largest terms."""
    largest = np.abs(explanation.contribution).max(initial=1)
    assert_allclose(total(explanation), explanation.output, rtol=rtol, atol=rtol * largest)


def by_terms(explanation):
    """Contributions by sample and features."""
    return {
        (sample, *features[features >= 0].tolist()): contribution
        for sample, features, contribution in zip(
            explanation.sample.tolist(),
            explanation.features,
            explanation.contribution,
            strict=True,
        )
    }


def make_rows(n_rows=60, seed=0):
    """Sparse rows whose last column is far from zero."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 5)) * (rng.random((n_rows, 5)) < 0.7)
    X[:, 4] = 20 + rng.normal(size=n_rows)
    return X, np.abs(X[:, 0] * X[:, 2] + X[:, 3] + 0.1 * X[:, 4])


def expected_terms(model, X):
    """Linear terms and products, straight from the formula, for one output."""
    degrees = np.repeat(
        np.arange(2 if model.fit_lower else model.degree, model.degree + 1), model.n_components
    )
    fields, linear = model.feature_fields, model.fit_linear
    terms = {}
    for i, row in enumerate(X):
        there = np.flatnonzero(row)
        for j in there:
            if linear is True or (isinstance(linear, list) and fields[j] in linear):
                terms[i, j] = model.coef_[j] * row[j]
        for degree in set(degrees):
            for some in combinations(there, degree):
                pair = {fields[j] for j in some} if model.interactions else None
                if pair is not None and pair not in [set(p) for p in model.interactions]:
                    continue
                factors = model.components_[degrees == degree][:, some]
                terms[i, *some] = (factors * row[list(some)]).prod(axis=1).sum()
    return terms


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.around(dtype=np.float64)
def test_terms_are_those_of_the_formula(name, dtype):
    X, y = make_rows()
    options = {"n_components": 3, "solver": "als", "max_iter": 5, "random_state": 0}
    model = FMRegressor(**options | MODELS[name]).fit(X.astype(dtype), y)
    X = X[:7].astype(dtype)
    explanation = explain(model, sparse.csr_matrix(X))
    terms, expected = by_terms(explanation), expected_terms(model, X)
    assert terms.keys() == expected.keys()
    rtol = 1e-10 if dtype == np.float64 else 1e-4
    assert_allclose(
        list(terms.values()), [expected[key] for key in terms], rtol=rtol, atol=rtol / 10
    )
    assert_adds_up(explanation, rtol)
    output = np.log(model.predict(X)) if name == "Poisson" else model.predict(X)
    assert_allclose(explanation.output, output, rtol=1e-5)
    assert explanation.contribution.dtype == explanation.output.dtype == dtype
    assert_array_equal(explanation.sample, np.sort(explanation.sample))
    assert not explanation.remainder.any()


@pytest.mark.parametrize("n_classes", [2, 3])
def test_explains_the_decision_function(n_classes):
    X, y = make_rows()
    labels = np.array(["no", "yes", "maybe"])[np.digitize(y, np.quantile(y, [0.4, 0.7]))]
    labels[labels == "maybe"] = "maybe" if n_classes == 3 else "no"
    model = FMClassifier(2, solver="als", max_iter=5, random_state=0).fit(X, labels)
    explanation = explain(model, X)
    assert_array_equal(explanation.output, model.decision_function(X))
    assert_adds_up(explanation)
    frame = explanation.to_frame()
    if n_classes == 2:
        assert explanation.contribution.ndim == 1 and "class" not in frame
        return
    assert explanation.contribution.shape == (explanation.sample.size, 3)
    assert_array_equal(frame["class"][:3], model.classes_)
    by_class = frame.groupby(["sample", "class"])["contribution"].sum().unstack()
    assert_allclose(by_class[model.classes_] + explanation.intercept, explanation.output)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"degree": 3},
        {"feature_fields": FIELDS, "interactions": [("a", "c"), ("c", "c")]},
        {"feature_fields": FIELDS, "field_interactions": "weighted"},
        {"feature_fields": FIELDS, "field_interactions": "aware"},
    ],
    ids=["pairs", "degree 3", "fields", "weighted", "aware"],
)
def test_explains_the_posterior_mean(options):
    X, y = make_rows(size(60, 20))
    options = options | {"n_components": 2, "max_iter": 30, "n_burn_in": 10, "random_state": 0}
    X[:, 1] = 0  # was not seen in training, and is drawn from its group's prior
    model = BayesianFMRegressor(**options, feature_groups="single").fit(X, y)
    X[0, 1] = 2
    explanation = explain(model, X[:9])
    assert_array_equal(explanation.output, model.predict(X[:9]))
    assert_adds_up(explanation, 1e-5)  # posterior samples are kept, and summed, in float32
    assert by_terms(explanation)[0, 1] != 0
    classifier = BayesianFMClassifier(**options).fit(X, y > np.median(y))
    assert_adds_up(explain(classifier, X[:9]), 1e-5)


def test_terms_of_the_posterior_are_means_over_draws():
    """Terms of two rows that differ by a feature tell apart what each term is."""
    X, y = make_rows()
    options = {"max_iter": 30, "n_burn_in": 10, "random_state": 0, "noise_by_level": False}
    model = BayesianFMRegressor(2, **options).fit(X, y)
    full = np.array([[1.5, 0.0, -2.0, 0.0, 21.0]])
    without = [np.where(np.isin(np.arange(5), gone), 0, full) for gone in ([0], [2], [0, 2])]
    both, first, second, none = model.predict(np.concatenate([full, *without]))
    terms = by_terms(explain(model, full))
    assert_allclose(terms[0, 0, 2], both - first - second + none, rtol=1e-3)


@pytest.mark.parametrize("name", RECOMMENDERS)
def test_explains_recommendations_by_features(name):
    rng = np.random.default_rng(0)
    contexts = np.column_stack([np.eye(4)[rng.integers(4, size=80)], 9 + rng.random(80)])
    films = pd.DataFrame(rng.random((8, 2)), columns=["length", "year"])
    films["year"] += 50  # is centered
    films.index = [f"film {number}" for number in range(8)]
    chosen = films.index.to_numpy()[rng.integers(6, size=80)]
    options = {"item_features": films, "max_iter": 5, "random_state": 0}
    model = FMRecommender(3, **options, **RECOMMENDERS[name]).fit(contexts, chosen)
    model.add_items(films.iloc[:1].set_index(pd.Index(["new film"])))
    items, scores = model.recommend(contexts[:3], 9, exclude_seen=False)
    explanation = explain(model, contexts[:3], items=items)
    assert_allclose(explanation.output, scores.ravel(), rtol=1e-6, atol=1e-9)
    assert_adds_up(explanation, 1e-9)
    assert_array_equal(explanation.item, items.ravel())
    assert_array_equal(explanation.row, np.repeat(range(3), 9))
    alone = (explanation.features < 5).all(axis=1)  # terms of the context alone
    assert alone.any() == (RECOMMENDERS[name]["loss"] == "logistic")
    frame = explanation.to_frame()
    of_new = frame[frame["item"] == "new film"]
    assert set(of_new["feature"]) | set(of_new["feature_2"].dropna()) >= {"length"}
    assert not of_new["feature"].str.startswith("item=").any()
    rows, pairs = [0, -1, 2, -1], ["film 1", "new film", None, None]
    explanation = explain(model, contexts[:3], rows=rows, items=pairs)
    assert_adds_up(explanation, 1e-9)
    expected = model.predict_pairs(contexts[:3], rows, pairs)
    assert_allclose(explanation.output, expected, rtol=1e-6, atol=1e-9)


def test_refuses_item_features_that_are_not_those_of_the_fit():
    films = pd.DataFrame({"length": [1.0, 2, 3]}, index=["a", "b", "c"])
    options = {"item_features": films, "max_iter": 5, "item_identity": (), "random_state": 0}
    model = FMRecommender(2, **options).fit(np.eye(2)[[0, 1, 0, 1]], ["a", "b", "a", "c"])
    for other in (films.iloc[:2], films[["length", "length"]].set_axis([0, 1], axis=1), films * 2):
        model.set_params(item_features=other)
        with pytest.raises(ValueError, match="item_features"):
            explain(model, np.eye(2), items=["a", "b"])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"fit_bias": False, "nu": 0.0},
        {"solver": "sgd", "nu": 1.0},
        {"feedback": "implicit"},
        {"feedback": "implicit", "unobserved_weight": 0.5, "nu": 0.5},
    ],
    ids=["explicit", "no biases", "sgd", "implicit", "weights"],
)
def test_explains_recommendations_by_items(options, dtype):
    rng = np.random.default_rng(0)
    X = (rng.integers(1, 6, size=(20, 8)) * (rng.random((20, 8)) < 0.5)).astype(dtype)
    X[4] = 0
    names = [f"film {number}" for number in range(8)]
    model = MFRecommender(3, random_state=0, max_iter=10, **options).fit(
        pd.DataFrame(X[:15], columns=names)
    )
    X = pd.DataFrame(X, columns=names)  # with users who were not in the fit
    items, scores = model.recommend(X, 3)
    explanation = explain(model, X, items=items)
    listed = np.nonzero(items != None)  # noqa: E711
    assert_array_equal(explanation.row, listed[0])
    assert_array_equal(explanation.item, items[listed])
    assert_allclose(explanation.output, scores[listed], rtol=1e-5, atol=1e-6)
    assert_adds_up(explanation, 1e-9 if dtype == np.float64 else 1e-4)
    for row in np.unique(explanation.row):
        first = np.flatnonzero(explanation.row == row)[0]
        features = explanation.features[explanation.sample == first, 0]
        there = set(np.flatnonzero(X.iloc[row]))
        assert set(features) - {8} == there  # 8 is the bias of the item
    rows, pairs = [0, -1, 2, 4], ["film 1", "film 2", None, "film 3"]
    expected = model.predict_pairs(X, rows, pairs)
    explanation = explain(model, X, rows=rows, items=pairs)
    assert_allclose(explanation.output, expected, rtol=1e-5)
    assert_adds_up(explanation, 1e-9 if dtype == np.float64 else 1e-4)


def test_no_pairs():
    X = np.array([[5.0, 1, 0], [4, 2, 1], [1, 0, 5]])
    explanation = explain(MFRecommender(1, random_state=0).fit(X), X, rows=[], items=[])
    assert explanation.output.shape == explanation.contribution.shape == (0,)
    assert repr(explanation) == "no samples"
    model = FMRecommender(1, max_iter=3, random_state=0).fit(np.eye(2)[[0, 1, 0]], [1, 2, 3])
    assert explain(model, np.eye(2), rows=[], items=[]).features.shape[0] == 0


def test_rows_without_features():
    X, y = make_rows()
    y[:2] = X[:2] = 0
    for model in (
        FMRegressor(2, solver="als", max_iter=3, random_state=0),
        BayesianFMRegressor(2, max_iter=5, n_burn_in=2, random_state=0),
        FMClassifier(2, solver="als", max_iter=3, random_state=0),
    ):
        model.fit(X, y.astype(int) if isinstance(model, FMClassifier) else y)
        explanation = explain(model, np.zeros((2, 5)))
        assert explanation.sample.size == 0
        assert_adds_up(explanation, 1e-5)
        for other in (explanation.top(), explanation.by_feature()):
            assert_array_equal(other.output, explanation.output)
        assert len(explanation.to_frame()) == 0 and "sample 1" in repr(explanation)


def test_an_item_contributes_what_the_score_loses_without_its_rating():
    """Of a rating that equals the item's bias plus the mean, nothing is left but its place in the
    regression: so a change of the rating changes the score by the same factor."""
    rng = np.random.default_rng(0)
    X = sparse.csr_matrix(rng.integers(1, 6, size=(20, 6)) * (rng.random((20, 6)) < 0.7))
    model = MFRecommender(2, random_state=0).fit(X)
    one = sparse.csr_matrix(([2.0, 5.0], ([0, 0], [1, 3])), shape=(1, 6))
    neutral = one.copy()
    neutral.data[0] = model.mean_ + model.item_bias_[1]
    terms = by_terms(explain(model, one, items=[4]))
    lost = model.predict_pairs(one, [0], [4]) - model.predict_pairs(neutral, [0], [4])
    assert_allclose(terms[0, 1], lost[0], rtol=1e-6)
    assert_allclose(terms[0, 6], model.item_bias_[4])


def test_pipelines_and_searches():
    table = pd.DataFrame(
        {"user": ["ann", "bob", "eve"] * 20, "item": ["tea", "milk"] * 30, "age": range(60)}
    )
    y = np.arange(60) % 7
    encode = make_column_transformer(
        (OneHotEncoder(), ["user", "item"]),
        (StandardScaler(), ["age"]),
        verbose_feature_names_out=False,
    )
    pipeline = make_pipeline(encode, FMRegressor(2, solver="als", max_iter=3, random_state=0))
    search = GridSearchCV(pipeline, {"fmregressor__alpha": [1.0]}, cv=2).fit(table, y)
    explanation = explain(search, table[:4])
    assert_allclose(explanation.output, search.predict(table[:4]))
    assert_adds_up(explanation)
    assert explanation.feature_names.tolist() == [
        *("user_ann", "user_bob", "user_eve", "item_milk", "item_tea"),
        "age",
    ]
    fields = explanation.by_field()
    assert fields.feature_names.tolist() == [
        "onehotencoder__item",
        "onehotencoder__user",
        "standardscaler",
    ]
    assert_adds_up(fields)
    assert (np.bincount(fields.sample) == 6).all()  # three fields and their three pairs


def test_names_and_fields_of_encoders():
    log = [("ann", "tea", 5), ("bob", "tea", 3), ("ann", "milk", 1), ("eve", "milk", 4)] * 5
    ratings = np.array([row[2] for row in log], float)
    encoder = EventEncoder(user=0, item=1)
    pairs = encoder.fit_transform([row[:2] for row in log])
    model = FMRegressor(2, solver="als", max_iter=3, random_state=0).fit(pairs, ratings)
    explanation = explain(model, pairs)
    assert set(explanation.by_field().feature_names) == {"user", "item"}
    # A slice carries no labels, but the fit has kept which features are of the same field.
    assert set(explain(model, pairs[:3]).by_field().feature_names) == {"field 0", "field 1"}
    pipeline = make_pipeline(UserItemEncoder(value=2), MFRecommender(1, random_state=0))
    pipeline.fit(log[:4])
    explanation = explain(pipeline, log[:4], rows=[0], items=[0])
    assert explanation.feature_names.tolist() == ["milk", "tea", "item bias"]
    names = {"feature_names": ["milk", "tea"]}
    other = explain(pipeline, log[:4], rows=[0], items=["milk"], **names)
    assert other.item.tolist() == ["milk"]
    assert_array_equal(other.contribution, explanation.contribution)


@pytest.mark.parametrize("block", [1, 10, 1000])
def test_blocks_and_max_terms_change_nothing_else(monkeypatch, block):
    X, y = make_rows()
    model = FMRegressor(2, solver="als", degree=3, max_iter=3, random_state=0).fit(X, y)
    whole = explain(model, X)
    monkeypatch.setattr(_terms, "BLOCK_NUMBERS", block)
    monkeypatch.setattr(_explain, "TERMS_TOGETHER", block)
    explanation = explain(model, X)
    assert_array_equal(explanation.features, whole.features)
    assert_allclose(explanation.contribution, whole.contribution)
    largest, top = explain(model, X, max_terms=4), whole.top(4)
    assert by_terms(largest).keys() == by_terms(top).keys()
    assert_adds_up(largest)
    assert_adds_up(top)
    for sample in range(len(X)):
        sizes = np.sort(np.abs(whole.contribution[whole.sample == sample]))[::-1]
        kept = np.abs(largest.contribution[largest.sample == sample])
        assert_allclose(kept, sizes[:4])


def test_refuses_too_many_terms(monkeypatch):
    X, y = make_rows()
    model = FMRegressor(2, solver="als", max_iter=3, random_state=0).fit(X, y)
    n_terms = explain(model, X).sample.size
    monkeypatch.setattr(_collect, "LARGEST_NUMBER", n_terms - 1)
    with pytest.raises(ValueError, match=rf"has {n_terms} terms.* max_terms"):
        explain(model, X)
    assert_adds_up(explain(model, X, max_terms=3))
    fields = {"feature_fields": FIELDS, "interactions": [("a", "b"), ("a", "a")]}
    model.set_params(**fields).fit(X, y)
    n_terms = explain(model, X).sample.size
    monkeypatch.setattr(_collect, "LARGEST_NUMBER", n_terms - 1)
    with pytest.raises(ValueError, match=rf"has {n_terms} terms"):
        explain(model, X)


def test_a_long_row_is_explained_in_little_memory():
    X = sparse.csr_matrix(np.ones((2, size(700, 100))))
    X.data[:] = np.linspace(-1, 1, X.nnz)
    model = FMRegressor(2, solver="als", max_iter=1, random_state=0).fit(X, [0, 1])
    explanation = explain(model, X, max_terms=5)
    assert_allclose(total(explanation), model.predict(X), rtol=1e-6, atol=1e-6)
    assert (np.bincount(explanation.sample) == 5).all()


def test_attributes_to_features_and_fields():
    X, y = make_rows()
    model = FMRegressor(2, solver="als", degree=3, max_iter=3, random_state=0).fit(X, y)
    explanation = explain(model, X[:5], feature_fields=FIELDS)
    for other in (
        explanation.by_feature(),
        explanation.by_field(),
        explanation.by_field().by_feature(),
        explanation.top(3).by_feature(),
        explanation.by_feature().top(2).by_field(),
    ):
        assert_adds_up(other)
        assert len(by_terms(other)) == other.sample.size
    expected = {}
    for (sample, *features), contribution in by_terms(explanation).items():
        for feature in features:
            key = sample, feature
            expected[key] = expected.get(key, 0) + contribution / len(features)
    single = by_terms(explanation.by_feature())
    assert single.keys() == expected.keys()
    assert_allclose(list(single.values()), [expected[key] for key in single])
    field = [0, 0, 1, 1, 2]
    expected = {}
    for (sample, *features), contribution in by_terms(explanation).items():
        key = sample, *sorted(field[j] for j in features)
        expected[key] = expected.get(key, 0) + contribution
    fields = by_terms(explanation.by_field())
    assert fields.keys() == expected.keys()
    assert_allclose(list(fields.values()), [expected[key] for key in fields])


def test_text_lists_the_largest_terms():
    X, y = make_rows()
    model = FMRegressor(2, solver="als", max_iter=3, random_state=0).fit(X, y)
    names = ["red", "blue", "old", "new", "size"]
    explanation = explain(model, X, feature_names=names, max_terms=2)
    text = repr(explanation)
    blocks = text.split("\n\n")
    assert blocks[-1] == "... and 57 more samples"
    lines = blocks[0].splitlines()
    assert lines[0].endswith("output of sample 0") and lines[1].endswith("intercept")
    shown = [float(line.split()[0]) for line in lines]
    assert_allclose(shown[0], sum(shown[1:]), atol=0.1)
    largest = explanation.features[0]
    assert lines[2].endswith(" × ".join(names[j] for j in largest if j >= 0))  # noqa: RUF001
    assert lines[-1].endswith("other terms")


def test_errors_say_what_to_do():
    X, y = make_rows()
    model = FMRegressor(2, solver="als", max_iter=3, random_state=0).fit(X, y)
    with pytest.raises(NotFittedError):
        explain(FMRegressor(), X)
    with pytest.raises(TypeError, match=r"estimator of skfm.*Ridge"):
        explain(Ridge().fit(X, y), X)
    with pytest.raises(ValueError, match="items is for recommenders only"):
        explain(model, X, items=[1])
    with pytest.raises(ValueError, match="feature_names must name the 5 features"):
        explain(model, X, feature_names=["a"])
    with pytest.raises(ValueError, match=r"feature_fields must .* one label for each"):
        explain(model, X, feature_fields=["a"])
    with pytest.raises(ValueError, match="max_terms must be"):
        explain(model, X, max_terms=0)
    with pytest.raises(ValueError, match="pass feature_fields to explain"):
        explain(model, X).by_field()
    with pytest.raises(ValueError, match="n must be"):
        explain(model, X).top(0)
    ratings = np.abs(X).round()
    recommender = MFRecommender(1, random_state=0).fit(ratings)
    with pytest.raises(ValueError, match="pass the items to explain"):
        explain(recommender, ratings)
    for items in ("tea", 3):
        with pytest.raises(TypeError, match="items must be a list"):
            explain(recommender, ratings, items=items)
    with pytest.raises(ValueError, match=r"for each of the 60 rows.*it has 2"):
        explain(recommender, ratings, items=[1, 2])
    with pytest.raises(ValueError, match="leave rows out"):
        explain(recommender, ratings, items=np.zeros((60, 1), int), rows=[0])
    with pytest.raises(ValueError, match="rows must be between 0 and 59"):
        explain(recommender, ratings, items=[0], rows=[60])


class Sum(BaseEstimator):
    """Predicts the sum of the columns."""

    def fit(self, X, y):
        return self

    def predict(self, X):
        return X.sum(axis=1)


def test_permutation_importance_sees_the_same_contributions():
    """Of a model without interactions, columns of contributions are what is permuted."""
    X, y = make_rows()
    model = FMRegressor(0, solver="als", random_state=0).fit(X, y)
    explanation = explain(model, X)
    contributions = contributions_by_feature(explanation, 5)
    options = {"scoring": "neg_mean_squared_error", "n_repeats": 3, "random_state": 0}
    found = permutation_importance(model, X, model.predict(X), **options)
    target = contributions.sum(axis=1)
    expected = permutation_importance(Sum(), contributions, target, **options)
    assert_allclose(found.importances, expected.importances, atol=1e-10)
    assert (expected.importances_mean > 0).sum() > 2


def shapley_values(predict, x):
    """By the definition: the mean gain of each feature over all orders of features."""
    values, orders = np.zeros(x.size), list(permutations(range(x.size)))
    for order in orders:
        steps = np.zeros((x.size + 1, x.size))
        for place, j in enumerate(order):
            steps[place + 1 :, j] = x[j]
        values[list(order)] += np.diff(predict(steps))
    return values / len(orders)


def contributions_by_feature(explanation, n_features):
    single = explanation.by_feature()
    contributions = np.zeros((len(single.output), n_features))
    contributions[single.sample, single.features[:, 0]] = single.contribution
    return contributions


def test_contributions_by_feature_are_shapley_values():
    X, y = make_rows()
    model = FMRegressor(2, solver="als", degree=3, max_iter=5, random_state=0).fit(X, y)
    found = contributions_by_feature(explain(model, X[:2]), 5)
    assert_allclose(found, [shapley_values(model.predict, x) for x in X[:2]], atol=1e-10)


@pytest.mark.full  # importing shap takes seconds
def test_shap_finds_the_contributions_by_feature():
    """Relative to a background of zeros, an interaction is divided equally among its features."""
    shap = pytest.importorskip("shap")
    X, y = make_rows()
    model = FMRegressor(2, solver="als", degree=3, max_iter=5, random_state=0).fit(X, y)
    explainer = shap.KernelExplainer(model.predict, np.zeros((1, 5)))
    values = explainer.shap_values(X[:3], silent=True)
    explanation = explain(model, X[:3])
    found = contributions_by_feature(explanation, 5)
    assert_allclose(found, values, rtol=1e-6, atol=1e-8)
    assert_allclose(explainer.expected_value, explanation.intercept[0])
