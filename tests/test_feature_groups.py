"""Groups of features, named after the transformer that makes them."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from scipy import sparse
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.decomposition import TruncatedSVD
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    Normalizer,
    OneHotEncoder,
    StandardScaler,
)

from skfm import BayesianFMClassifier, BayesianFMRegressor, FMClassifier, FMRegressor
from skfm.preprocessing import EventEncoder, feature_groups

N = 60


def table():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "user": rng.choice(["ann", "bob", "cem"], size=N),
            "item": rng.choice([10, 20, 30, 40], size=N),
            "age": rng.normal(40, 10, size=N),
            "price": rng.normal(3, 1, size=N),
            "text": rng.choice(["red hat", "blue hat", "red coat"], size=N),
        }
    )


def count(groups):
    """Each label and how often it comes, in the order of the columns."""
    starts = np.flatnonzero(np.append(True, groups[1:] != groups[:-1]))
    lengths = np.diff(np.append(starts, len(groups)))
    return [(str(groups[start]), int(n)) for start, n in zip(starts, lengths, strict=True)]


def groups_of(transformer, data):
    """Of the transformer when it is fitted; one for each column that comes out."""
    output = transformer.fit_transform(data)
    groups = feature_groups(transformer)
    assert groups.shape == (output.shape[1],) and groups.dtype.kind == "U"
    return count(groups)


def test_each_column_of_an_encoder_is_a_group():
    data = table()[["user", "item"]]
    assert groups_of(OneHotEncoder(), data) == [("user", 3), ("item", 4)]
    assert groups_of(OneHotEncoder(), data.to_numpy()) == [("x0", 3), ("x1", 4)]


def test_each_part_of_a_column_transformer_is_a_group():
    parts = [
        ("ids", OneHotEncoder(), ["user", "item"]),
        ("numbers", StandardScaler(), ["age", "price"]),
        ("words", CountVectorizer(), "text"),
    ]
    expected = [("ids__user", 3), ("ids__item", 4), ("numbers", 2), ("words", 4)]
    assert groups_of(ColumnTransformer(parts), table()) == expected
    short = ColumnTransformer(parts, verbose_feature_names_out=False, sparse_threshold=0)
    assert groups_of(short, table()) == expected
    named = ColumnTransformer(
        [("ids", OneHotEncoder(sparse_output=False), ["item", "user"]), parts[1]]
    ).set_output(transform="pandas")
    assert groups_of(named, table()) == [("ids__item", 4), ("ids__user", 3), ("numbers", 2)]


def test_a_column_transformer_of_an_array():
    parts = make_column_transformer((StandardScaler(), [2, 3]), (OneHotEncoder(), [1, 0]))
    expected = [("standardscaler", 2), ("onehotencoder__x0", 4), ("onehotencoder__x1", 3)]
    assert groups_of(parts, table().iloc[:, :4].to_numpy()) == expected


@pytest.mark.parametrize("part", [None, "within"])
@pytest.mark.parametrize(
    "options, expected",
    [
        ({"drop": "first"}, [("user", 2), ("item", 3)]),
        ({"drop": "if_binary"}, [("user", 3), ("item", 4)]),
        ({"drop": ["bob", 10]}, [("user", 2), ("item", 3)]),
        ({"max_categories": 2}, [("user", 2), ("item", 2)]),
        ({"max_categories": 3, "drop": "first"}, [("user", 2), ("item", 2)]),
        ({"categories": [["ann", "eve"], [10]], "handle_unknown": "ignore"},
         [("user", 2), ("item", 1)]),
        ({"feature_name_combiner": lambda feature, category: f"{category}!"},
         [("user", 3), ("item", 4)]),
    ],
)  # fmt: skip
def test_options_of_encoders(options, expected, part):
    encoder, data = OneHotEncoder(**options), table()[["user", "item"]]
    if part is None:
        assert groups_of(encoder, data) == expected
        names = encoder.get_feature_names_out()  # the transformer itself has not changed
        assert len(set(names)) == len(names)
    else:
        encoder = ColumnTransformer([(part, encoder, ["user", "item"])])
        assert groups_of(encoder, data) == [(f"within__{name}", n) for name, n in expected]


@pytest.mark.parametrize("min_frequency", [10, 0.2])
def test_infrequent_categories_are_one_column(min_frequency):
    users = 20 * ["a"] + 15 * ["b"] + 3 * ["c"] + 2 * ["d"]
    data = pd.DataFrame({"user": users, "item": 40 * [1]})
    encoder = OneHotEncoder(min_frequency=min_frequency, handle_unknown="infrequent_if_exist")
    assert groups_of(encoder, data) == [("user", 3), ("item", 1)]


def test_a_column_of_which_nothing_is_left():
    data = pd.DataFrame({"same": N * ["a"], "user": table()["user"]})
    assert groups_of(OneHotEncoder(drop="first"), data) == [("user", 2)]
    parts = ColumnTransformer(
        [("one", OneHotEncoder(drop="first"), ["same"]), ("two", OneHotEncoder(), ["user"])]
    )
    assert groups_of(parts, data) == [("two__user", 3)]


@pytest.mark.parametrize(
    "remainder, more",
    [
        ("drop", []),
        ("passthrough", [("remainder", 2)]),
        (StandardScaler(), [("remainder", 2)]),
        (OneHotEncoder(), [("remainder__age", N), ("remainder__price", N)]),
    ],
)
def test_the_remainder(remainder, more):
    data = table()[["age", "user", "price"]]
    parts = ColumnTransformer([("ids", OneHotEncoder(), ["user"])], remainder=remainder)
    assert groups_of(parts, data) == [("ids__user", 3), *more]


def test_parts_that_let_through_or_drop():
    parts = ColumnTransformer(
        [
            ("as_is", "passthrough", ["age"]),
            ("none", "drop", ["text"]),
            ("ids", OneHotEncoder(), ["user"]),
        ]
    )
    assert groups_of(parts, table()) == [("as_is", 1), ("ids__user", 3)]


def test_parts_without_columns():
    """scikit-learn does not fit them."""
    parts = ColumnTransformer(
        [
            ("none", OneHotEncoder(), []),
            ("numbers", StandardScaler(), []),
            ("ids", OneHotEncoder(), ["user"]),
        ]
    )
    assert groups_of(parts, table()) == [("ids__user", 3)]


def test_the_last_step_of_a_pipeline_counts():
    data = table()[["user", "item"]]
    impute = SimpleImputer(strategy="most_frequent")
    encode = make_pipeline(impute, OneHotEncoder())
    nested = Pipeline([("outer", make_pipeline(impute, OneHotEncoder()))])
    for pipeline in (encode, nested):
        assert [n for _, n in groups_of(pipeline, data)] == [3, 4]
        parts = [("ids", pipeline, ["item"]), ("age", StandardScaler(), ["age"])]
        labels = [label for label, _ in groups_of(ColumnTransformer(parts), table())]
        assert labels[0].startswith("ids__") and labels[1:] == ["age"]
    kept = make_pipeline(impute.set_output(transform="pandas"), OneHotEncoder())
    assert groups_of(kept, data) == [("user", 3), ("item", 4)]


def test_what_follows_an_encoder():
    data = table()[["user", "item"]]
    scaled = make_pipeline(OneHotEncoder(), MaxAbsScaler(), "passthrough")
    assert groups_of(scaled, data) == [("user", 3), ("item", 4)]
    mixed = make_pipeline(OneHotEncoder(), TruncatedSVD(2))
    assert groups_of(mixed, data) == [("all", 2)]
    assert groups_of(make_pipeline(MaxAbsScaler()), table()[["age", "price"]]) == [("all", 2)]


def test_parts_within_parts():
    parts = [("ids", OneHotEncoder(), ["user"]), ("numbers", "passthrough", ["age"])]
    whole = make_pipeline(ColumnTransformer(parts), MaxAbsScaler())
    assert groups_of(whole, table()) == [("ids__user", 3), ("numbers", 1)]
    outer = ColumnTransformer([("a", whole, ["user", "age"]), ("b", "passthrough", ["price"])])
    assert groups_of(outer, table()) == [("a__ids__user", 3), ("a__numbers", 1), ("b", 1)]


def test_a_union():
    union = FeatureUnion(
        [
            ("bins", KBinsDiscretizer(3, quantile_method="averaged_inverted_cdf")),
            ("none", "drop"),
            ("as_is", "passthrough"),
            ("scaled", StandardScaler()),
        ]
    )
    expected = [("bins__age", 3), ("bins__price", 3), ("as_is", 2), ("scaled", 2)]
    assert groups_of(union, table()[["age", "price"]]) == expected


def test_an_encoder_of_events():
    encoder = EventEncoder(["user", "history"], user="user", item="item")
    assert groups_of(encoder, table()) == [("user", 3), ("history", 4)]
    parts = [("log", encoder, ["user", "item"]), ("age", "passthrough", ["age"])]
    parts = ColumnTransformer(parts)
    assert groups_of(parts, table()) == [("log__user", 3), ("log__history", 4), ("age", 1)]


def test_transformers_that_do_not_count_their_columns():
    halve = FunctionTransformer(lambda X: X / 2)
    words = HashingVectorizer(n_features=5)
    data = table()
    halve.fit(data[["age"]])
    for transformer in (halve, words, make_pipeline(words)):
        with pytest.raises(TypeError, match="put it into a ColumnTransformer"):
            feature_groups(transformer)
    parts = ColumnTransformer([("half", halve, ["age"]), ("words", words, "text")])
    assert groups_of(parts, data) == [("half", 1), ("words", 5)]


@pytest.mark.parametrize("encode", ["onehot", "onehot-dense"])
def test_bins(encode):
    options = {"encode": encode, "quantile_method": "averaged_inverted_cdf"}
    data = table()[["age", "price"]]
    bins = KBinsDiscretizer([3, 5], **options)
    assert groups_of(bins, data) == [("age", 3), ("price", 5)]
    assert groups_of(bins, data.to_numpy()) == [("x0", 3), ("x1", 5)]
    parts = ColumnTransformer([("bins", bins, ["price", "age"])])
    assert groups_of(parts, data) == [("bins__price", 3), ("bins__age", 5)]
    few = data.assign(price=np.arange(N) % 2)
    with pytest.warns(UserWarning, match="Bins whose width"):
        assert groups_of(bins, few)[0] == ("age", 3)


def test_ordinal_bins_are_one_group():
    options = {"encode": "ordinal", "quantile_method": "averaged_inverted_cdf"}
    assert groups_of(KBinsDiscretizer(3, **options), table()[["age", "price"]]) == [("all", 2)]


def test_words_are_one_group():
    words = make_pipeline(CountVectorizer(), Normalizer())
    assert groups_of(words, table()["text"]) == [("all", 4)]
    assert groups_of(ColumnTransformer([("words", words, "text")]), table()) == [("words", 4)]


def test_anything_else_is_one_group():
    assert groups_of(StandardScaler(), table()[["age", "price"]]) == [("all", 2)]
    assert groups_of(StandardScaler(), table()[["age", "price"]].to_numpy()) == [("all", 2)]


@pytest.mark.parametrize(
    "transformer",
    [
        OneHotEncoder(),
        StandardScaler(),
        KBinsDiscretizer(),
        CountVectorizer(),
        make_pipeline(StandardScaler(), OneHotEncoder()),
        ColumnTransformer([("ids", OneHotEncoder(), ["user"])]),
    ],
)
def test_not_fitted(transformer):
    with pytest.raises(NotFittedError):
        feature_groups(transformer)


@pytest.mark.parametrize(
    "model",
    [
        FMRegressor(alpha={"ids__user": 1.0, "ids__item": 3.0, "numbers": 0.1}, max_iter=3),
        FMClassifier(alpha={"ids__user": 1.0, "ids__item": 3.0, "numbers": 0.1}, max_iter=3),
        BayesianFMRegressor(max_iter=5, n_burn_in=1),
        BayesianFMClassifier(max_iter=5, n_burn_in=1),
    ],
)
def test_groups_are_what_the_estimators_take(model):
    encode = ColumnTransformer(
        [
            ("ids", OneHotEncoder(), ["user", "item"]),
            ("numbers", StandardScaler(), ["age", "price"]),
        ]
    )
    data = table()
    X, y = encode.fit_transform(data), (data["age"] > 40).astype(float)
    labels = feature_groups(encode)
    model.set_params(feature_groups=labels, random_state=0).fit(X, y)
    predicted = model.predict(X)
    assert predicted.shape == (N,)
    # The labels are names: others do the same, as long as they sort alike.
    places = np.unique(labels, return_inverse=True)[1]
    if hasattr(model, "alpha"):
        model.set_params(alpha=[3.0, 1.0, 0.1])
    again = model.set_params(feature_groups=places).fit(X, y).predict(X)
    np.testing.assert_array_equal(again, predicted)


# Groups that the Bayesian estimators derive

QUICK = {"n_components": 1, "max_iter": 2, "n_burn_in": 0, "random_state": 0}
BAYESIAN = [BayesianFMRegressor, BayesianFMClassifier]


def one_hot(rng, n_rows, n_levels):
    """Every level occurs."""
    return np.eye(n_levels)[rng.permutation(np.resize(np.arange(n_levels), n_rows))]


def derived(X, weight=None, kind=BayesianFMRegressor, **options):
    y = np.arange(X.shape[0]) % 2
    return kind(**QUICK, **options).fit(sparse.csr_matrix(X), y, weight).feature_groups_


@pytest.mark.parametrize("kind", BAYESIAN)
def test_groups_are_derived_from_fields_and_numbers(kind):
    rng = np.random.default_rng(0)
    parts = {
        "field 0": one_hot(rng, 200, 40),
        "others": (rng.random((200, 36)) < 0.1).astype(float),
        "field 1": one_hot(rng, 200, 2),
        "dense": rng.normal(size=(200, 2)),
    }
    whole, labels = np.hstack([*parts.values()]), np.repeat([*parts], [40, 36, 2, 2])
    assert_array_equal(derived(whole, kind=kind), labels)
    # Groups of whatever order, and rows of whatever order, number and weight.
    order = np.argsort(labels, kind="stable")
    assert count(derived(whole[:, order])) == [
        ("dense", 2), ("field 0", 40), ("field 1", 2), ("others", 36)
    ]  # fmt: skip
    for rows in (rng.permutation(200), np.repeat(np.arange(200), 2)):
        assert_array_equal(derived(whole[rows]), labels)
    assert_array_equal(derived(whole, rng.uniform(1, 2, size=200)), labels)


def test_groups_need_levels_and_rows():
    rng = np.random.default_rng(0)
    field, tags = one_hot(rng, 300, 60), (rng.random((300, 50)) < 0.1).astype(float)
    some = np.where(np.arange(300)[:, None] < 100, field, 0)  # most rows have no level
    empty = np.zeros((300, 3))
    assert count(derived(np.hstack([tags, field]))) == [("others", 50), ("field 0", 60)]
    assert set(derived(np.hstack([tags, some]))) == {"others"}
    assert set(derived(some)) == {"others"}
    # Of a field that most rows have, no level is taken from one that all rows have.
    ids, often = np.eye(300), np.where(np.arange(300)[:, None] < 240, field, 0)
    assert count(derived(np.hstack([ids, often]))) == [("field 0", 300), ("field 1", 60)]
    assert count(derived(np.hstack([often, ids]))) == [("field 0", 60), ("field 1", 300)]
    # Columns that do not occur are where they stand.
    assert set(derived(np.hstack([field[:, :30], empty, field[:, 30:], empty]))) == {"field 0"}
    assert count(derived(np.hstack([tags, empty, np.ones((300, 1)), empty]))) == [
        ("others", 50), ("dense", 7)
    ]  # fmt: skip
    assert set(derived(empty[:2])) == {"others"}


@pytest.mark.parametrize("kind", BAYESIAN)
def test_single_is_one_group_and_labels_win(kind):
    X = one_hot(np.random.default_rng(0), 200, 40)
    assert set(derived(X, kind=kind, feature_groups="single")) == {"single"}
    labels = np.arange(40) % 3
    assert_array_equal(derived(X, kind=kind, feature_groups=labels), labels)
    y = np.arange(200) % 2
    one, other = (
        kind(**QUICK, feature_groups=groups).fit(X, y) for groups in ("single", np.zeros(40))
    )
    assert_array_equal(one.predict(X), other.predict(X))
    with pytest.raises(ValueError, match=r"feature_groups.*'all'"):
        kind(**QUICK, feature_groups="all").fit(X, y)


def test_warm_starts_keep_the_groups():
    """Other rows might suggest others; and the draws before belong to the old ones."""
    rng = np.random.default_rng(0)
    X, y = one_hot(rng, 200, 40), rng.normal(size=200)
    model = BayesianFMRegressor(**QUICK, warm_start=True).fit(X, y)
    before = model.feature_groups_
    assert set(before) == {"field 0"}
    X[:5] = 0  # most rows have no level
    assert_array_equal(model.fit(X[:9], y[:9]).feature_groups_, before)
    assert set(model.set_params(warm_start=False).fit(X[:9], y[:9]).feature_groups_) == {"others"}
