"""TableEncoder: each kind against plain loops or scikit-learn, chunks, and bad input."""

import datetime as dt
import pickle
import re

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.special import logit
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler, TargetEncoder

from skfm import FMClassifier, FMRegressor
from skfm.preprocessing import TableEncoder, _number_blocks, feature_groups
from skfm.preprocessing._field_blocks import Entries
from skfm.preprocessing._table_matrix import side_by_side

pd = pytest.importorskip("pandas")
rng = np.random.default_rng(0)


def column(values, name="x"):
    return pd.DataFrame({name: pd.Series(values)})


def encode(values, kind, **parameters):
    encoder = TableEncoder({"x": kind}, **parameters)
    return encoder.fit_transform(column(values)).toarray(), encoder


def names(encoder):
    return encoder.get_feature_names_out().tolist()


# Categories


@pytest.mark.parametrize("max_categories", [None, 1, 3, 7])
@pytest.mark.parametrize("min_frequency", [None, 4, 0.05])
def test_categories_are_those_of_one_hot_encoder(min_frequency, max_categories):
    values = rng.choice([*"abcdefghij"], size=200, p=rng.dirichlet(np.full(10, 0.5))).tolist()
    limits = {"min_frequency": min_frequency, "max_categories": max_categories}
    X, encoder = encode(values, "category", **limits)
    other = OneHotEncoder(handle_unknown="infrequent_if_exist", **limits).fit(column(values))
    assert_array_equal(X, other.transform(column(values)).toarray())
    new = column(["a", "unknown", "j"])
    assert_array_equal(encoder.transform(new).toarray(), other.transform(new).toarray())
    X, _ = encode(values, {"kind": "category", **limits})
    assert_array_equal(X, encoder.transform(column(values)).toarray())


def test_infrequent_is_not_a_column_for_nothing():
    X, encoder = encode([*"aabbcc"], "category", max_categories=3)
    assert names(encoder) == ["x=a", "x=b", "x=c"]
    X, encoder = encode([*"aabbbcc"], "category", max_categories=2)
    assert names(encoder) == ["x=b", "x=(infrequent)"]
    assert X.sum(axis=0).tolist() == [3, 4]


def test_unknown_and_missing_categories():
    X, encoder = encode([*"aab", None], "category")
    assert names(encoder) == ["x=a", "x=b", "x=(missing)"]
    assert X.tolist() == [[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert not encoder.transform(column([*"cd"])).nnz
    _, encoder = encode([*"aab"], "category")
    assert not encoder.transform(column(["a", None]))[1].nnz
    _, encoder = encode([*"aab"], "category", min_frequency=2)
    assert encoder.transform(column(["a", None, "c"])).indices.tolist() == [0, 1, 1]
    _, encoder = encode([None, None, "a"], "category", min_frequency=2)
    assert names(encoder) == ["x=(infrequent)", "x=(missing)"]


def test_mixed_values_and_numbers_as_categories():
    values = [3, "3", 2.5, True, None, "b", 3.0]
    X, encoder = encode(np.array(values, dtype=object), "category")
    assert encoder.encoding_[0]["type"] == "mixed"
    # Since 3 and "3" have the same str, names have their repr.
    assert names(encoder) == ["x=True", "x=2.5", "x=3", "x='3'", "x='b'", "x=(missing)"]
    assert X.argmax(axis=1).tolist() == [2, 3, 1, 0, 5, 4, 2]
    assert encoder.transform(column(["3", "b"])).indices.tolist() == [3, 4]
    _, encoder = encode(["(missing)", None], "category")
    assert names(encoder) == ["x='(missing)'", "x=(missing)"]
    X, encoder = encode([10.0, 9.0, np.nan], "category")
    assert names(encoder) == ["x=9", "x=10", "x=(missing)"]
    assert encoder.transform(column([10, 9])).indices.tolist() == [1, 0]
    X, encoder = encode([2**60 + 1, 2**60], "category")
    assert X.tolist() == [[0, 1], [1, 0]]
    nullable = column(pd.array([2**60 + 1, None, 2**60], dtype="Int64"))
    assert encoder.transform(nullable).toarray().tolist() == [[0, 1], [0, 0], [1, 0]]


def test_large_dictionary_of_few_rows():
    categories = [f"v{number:05}" for number in range(5000)]
    values = pd.Categorical(["v00007", None, "v04000"] * 30, categories)
    X, encoder = encode(values, "category")
    assert names(encoder) == ["x=v00007", "x=v04000", "x=(missing)"]
    assert X[:3].argmax(axis=1).tolist() == [0, 2, 1]


def test_intervals_of_pandas_are_categories():
    table = column(pd.cut([1, 2, 9, np.nan], [0, 5, 10]))
    encoder = TableEncoder().fit(table)
    assert names(encoder) == ["x=(0, 5]", "x=(5, 10]", "x=(missing)"]
    long = pd.concat([table] * 30)
    assert_array_equal(encoder.transform(long)[:4].toarray(), encoder.transform(table).toarray())


# Hashes


def test_hashed_columns_and_collisions():
    values = [f"v{number}" for number in range(300)]
    X, encoder = encode([*values, None], "hashed", n_features=65)
    assert X.shape == (301, 65) and (X.sum(axis=1) == 1).all()
    assert X[-1].argmax() == 64 and not X[:-1, 64].any()
    groups = X[:-1].argmax(axis=1)
    colliding = sum((groups == group).sum() > 1 for group in groups) / 300
    assert encoder.hash_collisions(column(values * 2)) == {"x": colliding}
    assert encoder.hash_collisions(column([None, None])) == {"x": 0.0}
    other, _ = encode(values, "hashed", n_features=65, hash_seed=1)
    assert (other != X[:-1]).any()
    lists, encoder = encode([[value] for value in values], "hashed_bag", n_features=65)
    assert_array_equal(lists, X[:-1])
    assert encoder.hash_collisions(column([[value] for value in values])) == {"x": colliding}


def test_hashed_fields_need_no_rows():
    table = pd.DataFrame({"a": [*"xyz"], "b": [1, 2, 3]})
    encoder = TableEncoder({"b": "hashed"}, strings="hashed", n_features=9)
    expected = encoder.fit_transform(table)
    empty = clone(encoder).fit(table[:0])
    assert_array_equal(empty.transform(table).toarray(), expected.toarray())
    with pytest.raises(ValueError, match=r"0 sample\(s\)"):
        TableEncoder().fit(table[:0])
    with pytest.raises(ValueError, match=r"0 sample\(s\)"):
        TableEncoder(numbers="hashed").partial_fit(np.empty((0, 2)))  # a schema has names


def test_total_n_features():
    table = pd.DataFrame({"a": [*"xyz"], "b": [*"xyz"], "c": [*"xyz"]})
    encoder = TableEncoder(
        {"c": {"kind": "hashed", "n_features": 7}}, strings="hashed", total_n_features=20
    ).fit(table)
    assert [record["n_features"] for record in encoder.encoding_] == [10, 10, 7]
    with pytest.raises(ValueError, match="total_n_features=3 is too small for 2 hashed"):
        encoder.set_params(total_n_features=3).fit(table)


# Numbers


def test_standardized_numbers():
    values = [1.5, np.nan, -2.0, 7.25, np.nan]
    X, encoder = encode(values, "number")
    assert names(encoder) == ["x", "x=(missing)"]
    expected = StandardScaler().fit_transform(column(values)).ravel()
    assert_allclose(X[:, 0], np.where(np.isnan(expected), 0, expected), rtol=1e-14)
    assert X[:, 1].tolist() == [0, 1, 0, 0, 1]
    _, encoder = encode([1.0, 3.0], "number")
    assert encoder.transform(column([2.0, np.nan])).nnz == 0
    for constant in (5.0, 0.1, 1e150):
        X, encoder = encode([constant] * 30, "number")
        assert not X.any()
    with pytest.raises(ValueError, match="'x' are too large to be standardized"):
        encode([1e200, -1e200], "number")


def slow_quantile_bins(values, n_bins):
    """The value that each share of the known rows reaches, once; the lowest is no edge."""
    known = sorted(value for value in values if value == value)
    if len(set(known)) <= n_bins:
        return sorted(set(known))[1:]
    edges = {known[max(-(-len(known) * i // n_bins) - 1, 0)] for i in range(1, n_bins)}
    second = min(value for value in known if value > known[0])
    return sorted(max(edge, second) for edge in edges if edge > known[0]) or [second]


@pytest.mark.parametrize("n_bins", [2, 5, 8])
def test_quantile_bins(n_bins):
    values = np.round(rng.normal(size=200), 1).tolist() + [np.nan] * 3
    X, encoder = encode(values, "quantile_bins", n_bins=n_bins)
    edges = slow_quantile_bins(values, n_bins)
    assert X.shape[1] == len(edges) + 2
    for row, value in zip(X, values, strict=True):
        expected = len(edges) + 1 if value != value else sum(value >= edge for edge in edges)
        assert row.tolist() == [column == expected for column in range(X.shape[1])]
    assert max(X[:200].sum(axis=0)) < 2 * 200 / n_bins
    assert encoder.transform(column([-99.0, 99.0])).indices.tolist() == [0, len(edges)]


def test_quantile_bins_of_few_values():
    _, encoder = encode([1, 1, 1, 1, 5, 9], {"kind": "quantile_bins", "n_bins": 3})
    assert names(encoder) == ["x=[-inf, 5)", "x=[5, 9)", "x=[9, inf)"]
    _, encoder = encode([0] * 90 + list(range(1, 11)), {"kind": "quantile_bins", "n_bins": 4})
    assert names(encoder) == ["x=[-inf, 1)", "x=[1, inf)"]
    _, encoder = encode([np.nan, np.nan], "quantile_bins")
    assert names(encoder) == ["x=[-inf, inf)", "x=(missing)"]
    close = [1.0, 1 + 1e-12, 1 + 2e-12]
    assert len(set(names(encode(close, "quantile_bins")[1]))) == 3


def test_quantile_bins_of_a_sample(monkeypatch):
    values = rng.normal(size=3000)
    exact = encode(values, {"kind": "quantile_bins", "n_bins": 4})[0].mean(axis=0)
    assert_allclose(exact, 0.25, atol=1e-3)
    monkeypatch.setattr(_number_blocks, "N_SAMPLED", 1000)
    X, whole = encode(values, {"kind": "quantile_bins", "n_bins": 4})
    assert_allclose(X.mean(axis=0), 0.25, atol=0.05)
    chunked = clone(whole)
    for start in range(0, 3000, 700):
        chunked.partial_fit(column(values[start : start + 700]))
    assert names(chunked) == names(whole)


def test_log_bins_are_those_of_the_winners_of_criteo():
    values = [0, 1, 2, 3, 4, 5, 10, 100, 12345, 10**9, np.nan, -1, -50]
    X, encoder = encode(values, "log_bins")
    bins = X.argmax(axis=1)

    def winners(value):
        return ("SP", value) if value <= 2 else int(np.log(value) ** 2)

    for i, one in enumerate(values[:10]):
        for j, two in enumerate(values[:10]):
            assert (bins[i] == bins[j]) == (winners(one) == winners(two))
    assert bins[10] == X.shape[1] - 1
    assert (np.argsort(values[:10] + values[11:]) == np.argsort(np.delete(bins, 10))).all()
    low, high = encoder.transform(column([-(10.0**20), 10.0**20])).indices
    assert low == bins[12] and high == bins[9]  # the nearest bins


def test_bins_and_value_are_two_fields():
    table = column([1.0, 2.0, 4.0, np.nan])
    encoder = TableEncoder(numbers="bins_and_value", n_bins=2)
    X = encoder.fit_transform(table)
    bins, value = (TableEncoder(numbers=kind, n_bins=2) for kind in ("quantile_bins", "number"))
    both = sparse.hstack([bins.fit_transform(table), value.fit_transform(table)])
    assert_array_equal(X.toarray(), both.toarray())
    assert list(dict.fromkeys(encoder.feature_fields_)) == ["x", "x__value"]
    several = TableEncoder({"x": [{"kind": "quantile_bins", "n_bins": 2}, "number", "hashed"]})
    several.fit(table)
    assert list(dict.fromkeys(several.feature_fields_)) == ["x", "x__number", "x__hashed"]


@pytest.mark.parametrize("kind", ["number", "quantile_bins", "log_bins", "bins_and_value"])
def test_infinite_numbers_are_refused(kind):
    with pytest.raises(ValueError, match=r"Column 'x' contains 1 infinite.*row 1"):
        encode([1.0, np.inf, 2.0], kind)
    _, encoder = encode([1.0, 2.0], kind)
    with pytest.raises(ValueError, match="'x' contains 2 infinite"):
        encoder.transform(column([-np.inf, np.inf]))


# Dates


def test_dates_on_the_clock():
    zone = "Europe/Berlin"
    hours = pd.date_range("2021-03-27 20:00", periods=60, freq="h", tz="UTC")  # summer time begins
    hours = hours.append(pd.date_range("2021-10-30 20:00", periods=60, freq="h", tz="UTC"))
    table = column(hours.tz_convert(zone))
    encoder = TableEncoder(n_bins=4)
    X = encoder.fit_transform(table).toarray()
    found = encoder.get_feature_names_out()
    for row, time in zip(X, hours.tz_convert(zone), strict=True):
        expected = {
            f"x__hour={time.hour}",
            f"x__weekday={time.strftime('%a')}",
            f"x__month={time.strftime('%b')}",
        }
        assert expected < set(found[row > 0]) and (row > 0).sum() == 4
    # The zone of the training data is that of the features, whatever that of new rows is.
    assert_array_equal(encoder.transform(column(hours)).toarray(), X)
    given = TableEncoder({"x": {"kind": "date", "timezone": zone}}, n_bins=4)
    assert_array_equal(given.fit_transform(column(hours)).toarray(), X)
    with pytest.raises(ValueError, match=r"'x' had times with a time zone.*without"):
        encoder.transform(column(hours.tz_localize(None)))
    naive = TableEncoder(n_bins=4).fit(column(hours.tz_convert(zone).tz_localize(None)))
    assert_array_equal(
        naive.transform(column(hours.tz_convert(zone).tz_localize(None)))[:, :43].toarray(),
        X[:, :43],
    )
    with pytest.raises(ValueError, match=r"'x' had times without a time zone.*with"):
        naive.transform(table)


def test_parts_of_dates():
    times = [dt.datetime(1969, 12, 31, 23, 30), dt.datetime(1970, 1, 1), None]
    X, encoder = encode(times, {"kind": "date", "parts": ["weekday", "hour"]})
    found = encoder.get_feature_names_out()
    assert [found[row > 0].tolist() for row in X] == [
        ["x__weekday=Wed", "x__hour=23"],
        ["x__weekday=Thu", "x__hour=0"],
        ["x__weekday=(missing)", "x__hour=(missing)"],
    ]
    X, encoder = encode(times, {"kind": "date", "parts": ["age"]}, numbers="number")
    assert names(encoder) == ["x__age", "x__age=(missing)"]
    assert X[:2, 0].tolist() == [-1, 1]
    X, encoder = encode(times, {"kind": "date", "parts": ["age"]})
    assert names(encoder)[0] == "x__age=[-inf, 1970-01-01)"
    days = np.array(["2020-01-01", "2020-02-01"], dtype="datetime64[D]")[:, None]
    encoder = TableEncoder().fit(days)
    assert "x0__hour" not in encoder.feature_fields_  # dates have no hours
    for zone, hour in (("+05:30", 6), ("UTC", 1), ("UTC-02:00", 23)):
        X, encoder = encode(
            pd.to_datetime(["2021-01-05 01:00"]).tz_localize("UTC"),
            {"kind": "date", "parts": ["hour"], "timezone": zone},
        )
        assert X.argmax() == hour
    with pytest.raises(ValueError, match=r"Unknown time zone 'Mars' of column 'x'"):
        encode(pd.to_datetime(["2021-01-05"]), {"kind": "date", "timezone": "Mars"})
    mixed = np.array([times[0], times[1].replace(tzinfo=dt.UTC)], dtype=object)
    with pytest.raises(ValueError, match="'x' mixes times with and without a time zone"):
        encode(mixed, "date")


# Bags


def test_bags_have_length_one():
    values = [["a", "b"], [], None, ["c", "a", "a", None], ("b",)]
    X, encoder = encode(values, "bag")
    assert names(encoder) == ["x=a", "x=b", "x=c", "x=(missing)"]
    half = 0.5**0.5
    expected = [[half, half, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1], [half, 0, half, 0], [0, 1, 0, 0]]
    expected = np.array(expected)
    assert_allclose(X, expected)
    assert_allclose(encoder.transform(column([["a", "new"]])).toarray(), [[1, 0, 0, 0]])
    tuples = pd.Index([("a", "b"), ("b",)], tupleize_cols=False)
    again = pd.Categorical.from_codes([0, 1, -1, 0] * 20, tuples)
    found = encoder.transform(column(again)).toarray()
    assert_allclose(found, np.tile(expected[[0, 4, 2, 0]], (20, 1)))
    delimited = ["a|b", "", None, " c |a|a| ", "b"]
    text, _ = encode(delimited, {"kind": "bag", "sep": "|"})
    assert_array_equal(text, X)
    hashed, _ = encode(values, {"kind": "hashed_bag", "n_features": 1000})
    assert_allclose((hashed**2).sum(axis=1), [1, 0, 1, 1, 1])
    X, encoder = encode(values, {"kind": "bag", "min_frequency": 2})
    assert names(encoder) == ["x=a", "x=b", "x=(infrequent)", "x=(missing)"]
    with pytest.raises(TypeError, match="'x' contains lists; encode it as"):
        encode([[["a"], ["b"]], [["c"], ["d"]]], "bag")
    X, encoder = encode([[1, 2], [2.0], [3]], "bag")
    assert names(encoder) == ["x=1", "x=2", "x=3"]
    with pytest.raises(ValueError, match=r"'x' contains strings\. .* delimiter"):
        encode(delimited, "bag")
    with pytest.raises(TypeError, match=r"'x' contains lists; encode it as 'bag'"):
        encode(values, "category")


# Crossed fields


def cross_table():
    n = 150
    return pd.DataFrame(
        {
            "user": rng.choice([*"abcd", None], n),
            "page": pd.Categorical(rng.choice([*"xyz"], n), [*"zxy"]),
            "size": rng.exponential(10, n),
            "when": pd.Timestamp("2021-01-01") + pd.to_timedelta(rng.integers(5000, size=n), "h"),
        }
    )


def test_crossed_fields_have_a_column_for_each_combination():
    table = cross_table()
    encoder = TableEncoder(
        {"size": "log_bins"},
        crossed=[("user", "page"), ("page", "size"), ("user", "when__weekday", "page")],
    )
    X = encoder.fit_transform(table).toarray()
    found = encoder.get_feature_names_out()
    fields = encoder.feature_fields_
    for row in X:
        level = {}
        for name in found[row > 0]:
            field, _, text = name.partition("=")
            level[field] = text
        assert level["user*page"] == f"{level['user']}*{level['page']}"
        assert level["page*size"] == f"{level['page']}*{level['size']}"
        three = "user*when__weekday*page"
        assert level[three] == f"{level['user']}*{level['when__weekday']}*{level['page']}"
    assert (X[:, fields == "user*page"].sum(axis=0) > 0).all()
    both = [name.split("=")[1].split("*") for name in found[fields == "user*page"]]
    rank = {**{level: place for place, level in enumerate("abcd")}, "(missing)": 9}
    assert both == sorted(both, key=lambda pair: (rank[pair[0]], pair[1]))
    new = pd.DataFrame(
        {
            "user": ["new", "a"],
            "page": ["x", "new"],
            "size": [1.0, 1.0],
            "when": table["when"][:2].to_numpy(),
        }
    )
    assert not encoder.transform(new)[:, fields == "user*page"].nnz


def test_crossed_fields_can_be_hashed_or_limited():
    table = cross_table()
    crossed = {"fields": ("user", "page"), "kind": "hashed", "n_features": 5000}
    encoder = TableEncoder(crossed=[crossed], columns={"size": "drop", "when": "drop"})
    X = encoder.fit_transform(table)
    pairs = set(zip(table["user"].astype(object).fillna("?"), table["page"], strict=True))
    hashed = X[:, encoder.feature_fields_ == "user*page"]
    assert hashed.shape[1] == 5000 and np.unique(hashed.indices).size == len(pairs)
    limited = TableEncoder(crossed=[{"fields": ("user", "page"), "max_categories": 3}]).fit(table)
    assert sum(limited.feature_fields_ == "user*page") == 3
    shared = TableEncoder(strings="hashed", crossed=[("user", "page")]).fit(table)
    assert sum(shared.feature_fields_ == "user*page") == 4096


def test_faults_in_crossed():
    table = cross_table()
    for crossed, message in {
        (("user", "pgae"),): r"Unknown field 'pgae' in crossed. Did you mean 'page'",
        (("user",),): "pairs of different fields",
        (("user", "user"),): "pairs of different fields",
        ("user",): "pairs of different fields",
    }.items():
        with pytest.raises(ValueError, match=message):
            TableEncoder(crossed=crossed).fit(table)
    with pytest.raises(ValueError, match="'size', of the kind 'number', cannot be crossed"):
        TableEncoder(numbers="number", crossed=[("user", "size")]).fit(table)
    with pytest.raises(
        ValueError, match="Crossed fields may be 'category', 'hashed', 'target'; got 'bag'"
    ):
        TableEncoder(crossed=[{"fields": ["user", "page"], "kind": "bag"}]).fit(table)
    with pytest.raises(ValueError, match=r"quantile bins of 'size' change from chunk to chunk"):
        TableEncoder(crossed=[("user", "size")]).partial_fit(table)
    hashed = {"fields": ("user", "size"), "kind": "hashed"}
    TableEncoder(crossed=[hashed]).partial_fit(table)


# Target statistics


def slow_target_statistics(values, y, new, smooth, folds):
    """Of training rows, from other folds, and of new rows: log-odds or means by TargetEncoder.

    None, a missing value, has the overall mean.
    """
    is_class = not np.issubdtype(y.dtype, np.floating)
    classes = np.unique(y) if is_class else [None]
    values, new = np.array(values, object)[:, None], np.array(new, object)[:, None]
    columns = []
    for label in classes[1:] if len(classes) == 2 else classes:
        target = (y == label).astype(float) if is_class else y

        def statistics(train, rows, target=target):
            overall = target[train].mean()
            # TargetEncoder smooths toward the mean of its rows: those with missing values belong
            # to them, as a value of their own.
            filled = np.where(np.equal(values, None), "(missing)", values)
            encoder = TargetEncoder(smooth=smooth, target_type="continuous")
            encoder.fit(filled[train], target[train])
            means = encoder.transform(np.where(np.equal(rows, None), "(missing)", rows))[:, 0]
            seen = set(values[train, 0]) - {None}
            means = np.where([value in seen for value in rows[:, 0]], means, overall)
            if not is_class:
                return means - overall
            least = 0.5 / len(train)
            return logit(means.clip(least, 1 - least)) - logit(overall)

        cross_fitted = np.empty(len(y))
        for train, test in folds.split(values, y):
            cross_fitted[test] = statistics(train, values[test])
        scaler = StandardScaler().fit(cross_fitted[:, None])
        of_all = statistics(np.arange(len(y)), new)
        columns.append([scaler.transform(part[:, None]) for part in (cross_fitted, of_all)])
    return [np.hstack(parts) for parts in zip(*columns, strict=True)]


TARGETS = {
    "numbers": 1e3 + rng.normal(size=300),
    "two classes": rng.choice(["no", "yes"], 300),
    "three classes": rng.integers(3, size=300),
}


def folds_of(target, n):
    return (KFold if target == "numbers" else StratifiedKFold)(n, shuffle=True, random_state=3)


@pytest.mark.parametrize("smooth", ["auto", 0.0, 7.0])
@pytest.mark.parametrize("target", TARGETS)
def test_target_statistics_are_cross_fitted_and_standardized(target, smooth):
    values = [*rng.integers(30, size=280).astype(str), *[None] * 20]
    y, new = TARGETS[target], ["3", "unknown", None, "7"]
    kind = {"kind": "target", "smooth": smooth, "cv": 4}
    encoder = TableEncoder({"x": kind}, random_state=3)
    X = encoder.fit_transform(column(values), y).toarray()
    expected, of_new = slow_target_statistics(values, y, new, smooth, folds_of(target, 4))
    assert_allclose(X, expected, atol=1e-9)
    assert_allclose(encoder.transform(column(new)).toarray(), of_new, atol=1e-9)
    assert_allclose(X.mean(axis=0), 0, atol=1e-9)
    assert_allclose(X.std(axis=0), 1)
    assert len(names(encoder)) == X.shape[1] == (3 if target == "three classes" else 1)


@pytest.mark.parametrize("target", TARGETS)
def test_target_statistics_of_crossed_fields(target):
    table = pd.DataFrame(
        {"user": rng.choice([*"abcdef", None], 300), "size": rng.choice([1.0, 2.0, 9.0], 300)}
    )
    y = TARGETS[target]
    crossed = [("user", "size"), {"fields": ("user", "size"), "kind": "target"}]
    encoder = TableEncoder(crossed=crossed, random_state=3)
    X = encoder.fit_transform(table, y)
    is_statistic = encoder.feature_fields_ == "user*size__target"
    new = pd.DataFrame({"user": ["a", "new", None, "c"], "size": [9.0, 1.0, 2.0, 1.0]})

    def as_pairs(table):
        rows = table.astype(object).itertuples(index=False)
        return [None if pd.isna(user) else f"{user} {size}" for user, size in rows]

    # By default, ten rows and ten folds
    expected = slow_target_statistics(as_pairs(table), y, as_pairs(new), 10, folds_of(target, 10))
    assert_allclose(X[:, is_statistic].toarray(), expected[0], atol=1e-9)
    assert_allclose(encoder.transform(new)[:, is_statistic].toarray(), expected[1], atol=1e-9)
    assert encoder.encoding_[-1]["details"] == "18 combinations"
    again = pickle.loads(pickle.dumps(encoder))
    assert_array_equal(again.transform(new).toarray(), encoder.transform(new).toarray())


@pytest.mark.parametrize("y", [np.arange(60) % 2, 1e6 + np.arange(60.0) ** 1.1, np.zeros(60)])
@pytest.mark.parametrize("value", ["a", None])
def test_target_statistics_of_a_constant_column_are_zero(value, y):
    encoder = TableEncoder({"x": "target"}, random_state=0)
    X = encoder.fit_transform(column([value] * 60), y).toarray()
    assert_allclose(X, 0, atol=1e-9)
    assert_allclose(encoder.transform(column(["a", "b", None])).toarray(), 0, atol=1e-9)


def test_target_statistics_need_all_rows_and_a_target():
    table = column([*"aabb"])
    encoder = TableEncoder({"x": ["category", {"kind": "target", "cv": 2}]})
    assert encoder.__sklearn_tags__().target_tags.required and not hasattr(encoder, "partial_fit")
    assert hasattr(TableEncoder(), "partial_fit")
    with pytest.raises(ValueError, match="requires y to be passed, but the target y is None"):
        encoder.fit(table)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        encoder.fit(table, [0, 1])
    encoder.fit(table, [0, 1, 0, 1])
    assert encoder.feature_fields_.tolist() == ["x", "x", "x__target"]
    crossed = TableEncoder(crossed=[{"fields": ("x", "z"), "kind": "target"}])
    assert crossed.__sklearn_tags__().target_tags.required and not hasattr(crossed, "partial_fit")


@pytest.mark.parametrize(
    ("y", "options", "message"),
    [
        (
            [1.0, 2.5, 3.0, 4.0, 5.5, 6.0],
            {},
            "'x' .* cv=10, but y has 6 samples; pass cv=6 or less",
        ),
        ([*"uuuuvv"], {"cv": 5}, "'x' .* at most 4 samples of a class; pass cv=4 or less"),
        ([*"abcdef"], {"cv": 2}, "at most 1 sample of a class; encode it as 'category'"),
        ([1.0, None, 2.0, 3.0, np.nan, 1.0], {"cv": 2}, "2 targets in y are missing"),
        ([*"uv", None, *"uvu"], {"cv": 2}, "1 targets in y are missing .* the first in row 2"),
        ([1, 2, np.inf, 3, 4, 5], {"cv": 2}, "Input y contains infinity"),
        ([*"uvuvuv"], {"cv": 2, "target_type": "continuous"}, "'x' .* y must contain numbers"),
        ([*"uvwuvw"], {"cv": 2, "target_type": "binary"}, "'x' .* y has 3 classes; pass"),
        (np.array(["u", 1] * 3, object), {"cv": 2, "target_type": "binary"}, "different types"),
    ],
)
def test_targets_that_have_no_statistics(y, options, message):
    table = column([*"aabbcc"])
    encoder = TableEncoder({"x": {"kind": "target", **options}})
    with pytest.raises(ValueError, match=message):
        encoder.fit(table, y)
    assert not hasattr(encoder, "feature_fields_")


def test_target_statistics_of_rare_classes():
    table, y = column([*"aabbcc"] * 4), [*"uv"] * 11 + ["v", "w"]
    encoder = TableEncoder({"x": {"kind": "target", "cv": 4}})
    encoded = encoder.fit_transform(table, y)
    assert np.isfinite(encoded.toarray()).all() and encoded.shape == (24, 3)


# Chunks


def chunk_table():
    n = 400
    return pd.DataFrame(
        {
            "user": rng.choice([*"abcdefgh", None], n, p=[*[0.11] * 8, 0.12]),
            "age": np.where(rng.random(n) < 0.1, np.nan, rng.normal(40, 10, n).round()),
            "count": rng.integers(1000, size=n),
            "value": rng.normal(size=n),
            "tags": [[*"xyzw"[: number % 5]] for number in rng.integers(20, size=n)],
            "when": pd.Timestamp("2021-01-01") + pd.to_timedelta(rng.integers(9000, size=n), "h"),
            "word": rng.choice([*"pqr"], n),
        }
    )


KINDS_OF_CHUNKS = {
    "count": "log_bins",
    "value": "number",
    "word": "hashed",
    "user": {"kind": "category", "min_frequency": 40},
}


def test_chunks_are_equivalent_to_the_whole():
    table = chunk_table()
    encoder = TableEncoder(KINDS_OF_CHUNKS, n_features=8, crossed=[("user", "count")])
    whole = clone(encoder).fit(table)
    for start in (0, 10, 200, 200):  # an empty chunk among them
        encoder.partial_fit(table[start : {0: 10, 10: 200, 200: 200}[start]])
    encoder.partial_fit(table[200:])
    assert names(encoder) == names(whole)
    assert_array_equal(encoder.feature_fields_, whole.feature_fields_)
    expected = whole.transform(table)
    assert_allclose(encoder.transform(table).toarray(), expected.toarray(), atol=1e-12)
    parts = [encoder.transform(table[start : start + 150]) for start in range(0, 400, 150)]
    assert_allclose(sparse.vstack(parts).toarray(), expected.toarray(), atol=1e-12)
    again = pickle.loads(pickle.dumps(encoder)).partial_fit(table[:5])
    assert_array_equal(
        again.transform(table[:9]).toarray(),
        encoder.partial_fit(table[:5]).transform(table[:9]).toarray(),
    )


def test_a_failed_chunk_changes_nothing():
    table = chunk_table()
    encoder = TableEncoder(KINDS_OF_CHUNKS).partial_fit(table[:100])
    before = encoder.transform(table).toarray()
    bad = table.assign(value=np.inf)
    with pytest.raises(ValueError, match="'value' contains"):
        encoder.partial_fit(bad)
    assert_array_equal(encoder.transform(table).toarray(), before)
    encoder.partial_fit(table[100:])
    assert names(encoder) == names(TableEncoder(KINDS_OF_CHUNKS).fit(table))


def test_columns_without_values_in_the_first_chunk():
    nothing, words = column(np.array([None, None], dtype=object)), column([*"ab"])
    with pytest.raises(
        ValueError, match=r"'x' had missing values only.*columns={'x': 'category'}"
    ):
        TableEncoder().partial_fit(nothing).partial_fit(words)
    encoder = TableEncoder({"x": "category"}).partial_fit(nothing).partial_fit(words)
    assert names(encoder) == ["x=a", "x=b", "x=(missing)"]
    with pytest.raises(ValueError, match="'x' contained strings in fit, and contains numbers"):
        encoder.partial_fit(column([1, 2]))
    encoder = TableEncoder().fit(nothing)
    assert names(encoder) == ["x=(missing)"] and not encoder.transform(words).nnz


# Schema


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t: t.drop(columns="age"), r"yet now missing: 'age'"),
        (lambda t: t.assign(extra=1), r"unseen at fit time: 'extra'"),
        (lambda t: t.rename(columns={"age": "Age"}), r"unseen.*'Age'.\n.*missing: 'age'"),
        (lambda t: t[t.columns[::-1]], r"same order as they were in fit: column 0 is 'word'"),
        (lambda t: t.assign(user=1), r"'user' contained strings in fit, and contains numbers"),
        (lambda t: t.assign(age="x"), r"'age' contained numbers in fit, and contains strings"),
        (lambda t: t.assign(when=1), r"'when' contained datetimes in fit, and contains numbers"),
        (lambda t: t.assign(tags="x"), r"'tags' contained lists in fit, and contains strings"),
        (lambda t: t.to_numpy()[:, :3], r"X has 3 features, but TableEncoder is expecting 7"),
    ],
)
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_changed_columns_are_named(change, message):
    table = chunk_table()
    encoder = TableEncoder().fit(table)
    for use in (encoder.transform, encoder.partial_fit):
        with pytest.raises(ValueError, match=message):
            use(change(table))
    assert encoder.transform(table).shape[0] == 400


def test_names_and_positions():
    table = pd.DataFrame({"a": [*"xy"], "b": [1, 2]})
    encoder = TableEncoder().fit(table)
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        encoder.transform(table.to_numpy(dtype=object))
    assert encoder.feature_names_in_.tolist() == ["a", "b"] and encoder.n_features_in_ == 2
    encoder = TableEncoder({1: "category"}).fit(table.to_numpy(dtype=object))
    assert not hasattr(encoder, "feature_names_in_")
    assert names(encoder) == ["x0=x", "x0=y", "x1=1", "x1=2"]
    with pytest.warns(UserWarning, match="X has feature names, but"):
        encoder.transform(table)
    assert names(TableEncoder().fit(table.set_axis([0, 1], axis=1)))[0] == "x0=x"
    with pytest.raises(TypeError, match="Feature names are only supported if all"):
        TableEncoder().fit(table.set_axis(["a", 1], axis=1))
    with pytest.raises(ValueError, match="Several columns of X have the name 'a'"):
        TableEncoder().fit(table.set_axis(["a", "a"], axis=1))
    with pytest.raises(ValueError, match="Two features would have the same name, 'a=b=c'"):
        TableEncoder().fit(pd.DataFrame({"a": ["b=c"], "a=b": ["c"]}))
    clash = pd.DataFrame({"t__hour": [1, 2], "t": pd.to_datetime(["2021-01-01 01:00"] * 2)})
    with pytest.raises(ValueError, match="Two fields would have the same name, 't__hour'"):
        TableEncoder().fit(clash)


@pytest.mark.parametrize(
    "parameters, error, message",
    [
        ({"columns": {"B": "number"}}, ValueError, r"Unknown column 'B' in columns. .*Known: 'a'"),
        ({"columns": {2: "number"}}, ValueError, r"Unknown column 2 in columns.*from 0 to 1"),
        ({"columns": ["a"]}, TypeError, r"columns must be a dict of kinds"),
        ({"columns": {"a": "onehot"}}, ValueError, r"Unknown kind 'onehot' in columns\['a'\]"),
        ({"columns": {"a": 3}}, TypeError, r"columns\['a'\] must be a kind"),
        ({"columns": {"a": []}}, ValueError, r"columns\['a'\] is an empty list"),
        ({"columns": {"a": ["bag", "bag"]}}, ValueError, r"contains a kind twice"),
        (
            {"columns": {"a": {"kind": "hashed", "n_bins": 2}}},
            ValueError,
            r"Unknown option 'n_bins' of 'hashed' in columns\['a'\]; known options: 'n_features'",
        ),
        (
            {"columns": {"b": {"kind": "quantile_bins", "n_bins": 1}}},
            ValueError,
            r"'n_bins' of 'quantile_bins' in columns\['b'\] must be an integer in \[2",
        ),
        ({"columns": {"a": "number"}}, ValueError, r"'a' contains strings, but is encoded as num"),
        ({"columns": {"b": "date"}}, ValueError, r"'b' contains numbers, but is encoded as dates"),
        ({"numbers": "bag"}, ValueError, r"numbers must be one of 'number'"),
        ({"strings": "number"}, ValueError, r"strings must be one of"),
        ({"min_frequency": 0}, ValueError, r"min_frequency must be"),
        ({"n_bins": 1}, ValueError, r"n_bins must be"),
        ({"n_features": 1}, ValueError, r"n_features must be"),
        ({"dtype": int}, ValueError, r"dtype must be"),
    ],
)
def test_faults_in_parameters(parameters, error, message):
    with pytest.raises(error, match=message):
        TableEncoder(**parameters).fit(pd.DataFrame({"a": [*"xy"], "b": [1, 2]}))


def test_columns_that_cannot_be_encoded():
    for values, error, message in (
        ([{"a": 1}], TypeError, r"'x' contains values of type dict, but each argument must be"),
        ([1, dt.date(2021, 1, 1)], TypeError, r"'x' mixes datetimes and numbers"),
        ([["a"], "b"], TypeError, r"'x' mixes lists and strings"),
        ([dt.timedelta(1)], TypeError, r"'x' .*timedelta"),
        ([1 + 2j], TypeError, r"'x' has the type complex128"),
    ):
        with pytest.raises(error, match=message):
            TableEncoder().fit(column(values))
    for values, message in (
        ([10**400, 1], r"'x' contains integers that are too large for a float"),
        ([dt.datetime(9999, 12, 31, 23, tzinfo=dt.timezone(-dt.timedelta(hours=5)))], "'x' .*UTC"),
    ):
        with pytest.raises(ValueError, match=message):
            TableEncoder().fit(pd.DataFrame({"x": np.array(values, dtype=object)}))
    with pytest.raises(ValueError, match=r"X is a Series. Reshape your data.*to_frame"):
        TableEncoder().fit(column([1, 2])["x"])
    with pytest.raises(TypeError, match="Sparse data was passed"):
        TableEncoder().fit(sparse.eye(3))
    with pytest.raises(ValueError, match="Reshape your data"):
        TableEncoder().fit(np.arange(3))


# Fields, groups and what becomes of the columns


def test_one_row_and_no_rows():
    table = chunk_table()
    encoder = TableEncoder(KINDS_OF_CHUNKS, crossed=[("user", "word")]).fit(table)
    X = encoder.transform(table)
    for row in (0, 1, 399):
        one = table[row : row + 1]
        assert_array_equal(encoder.transform(one).toarray(), X[row].toarray())
    empty = encoder.transform(table[:0])
    assert empty.shape == (0, X.shape[1]) and empty.feature_fields is encoder.feature_fields_
    assert TableEncoder().fit_transform(table[:1]).shape[0] == 1


def test_what_became_of_the_columns():
    encoder = TableEncoder({"age": "drop"}, crossed=[("user", "word")]).fit(chunk_table())
    frame = pd.DataFrame(encoder.encoding_)
    assert frame["column"].tolist() == [
        *("user", "count", "value", "tags", "when", "when", "when", "when", "word"),
        *("user*word", "age"),
    ]
    assert frame["kind"].iloc[[0, 1, 3, 4, 10]].tolist() == [
        *("category", "quantile_bins", "bag", "date", "drop")
    ]
    assert frame["n_features"].sum() == encoder.transform(chunk_table()).shape[1]
    counts = dict(zip(*np.unique(encoder.feature_fields_, return_counts=True), strict=True))
    assert counts == {r["field"]: r["n_features"] for r in encoder.encoding_ if r["field"]}
    assert_array_equal(encoder.feature_groups_, encoder.feature_fields_)
    for html in (encoder._repr_html_(), encoder._repr_mimebundle_()["text/html"]):
        assert "<td>when__weekday</td>" in html and html.count("<tr>") >= len(frame)
    assert "<td>" not in re.sub(r"(?s)<div.*</div>", "", TableEncoder()._repr_html_())
    escaped = TableEncoder().fit(column([*"ab"], "<b>"))
    assert "<td>&lt;b&gt;</td>" in escaped._repr_html_()


def test_estimators_use_fields_and_groups():
    table = pd.DataFrame({"user": [*"aabbcc"] * 5, "page": [*"xyzxyz"] * 5, "n": range(30)})
    y = np.arange(30) % 2
    model = make_pipeline(
        TableEncoder(),
        FMRegressor(
            interactions=[("user", "page")],
            alpha={"user": 1, "page": 2, "n": 3},
            max_iter=2,
            tol=1,
        ),
    )
    assert model.fit(table, y).predict(table).shape == (30,)
    encoder = model[0]
    assert_array_equal(feature_groups(encoder), encoder.feature_fields_)
    within = make_column_transformer((encoder, ["user", "n"]), ("passthrough", ["n"]))
    within.fit_transform(table)
    assert set(feature_groups(within)) == {
        *("tableencoder__user", "tableencoder__n", "passthrough")
    }
    search = GridSearchCV(
        make_pipeline(TableEncoder(), FMClassifier(max_iter=2, tol=1, random_state=0)),
        {
            "tableencoder__columns": [
                {"n": "number"},
                {"n": {"kind": "quantile_bins", "n_bins": 3}},
            ],
            "tableencoder__min_frequency": [None, 2],
        },
        cv=2,
        error_score="raise",
    )
    assert search.fit(table, y).best_score_ >= 0


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_dense_output_as_a_frame(library):
    pytest.importorskip(library)
    table = pd.DataFrame({"a": [*"xyx"], "n": [1.0, 2.0, 3.0]}, index=[5, 6, 7])
    encoder = TableEncoder(numbers="number", sparse_output=False).set_output(transform=library)
    frame = encoder.fit_transform(table)
    assert list(frame.columns) == ["a=x", "a=y", "n"]
    assert_array_equal(
        frame.to_numpy(), TableEncoder(numbers="number").fit_transform(table).toarray()
    )
    with pytest.raises(ValueError, match="dense array"):
        encoder.set_params(sparse_output=True).fit_transform(table)


def test_dtype_and_pickles():
    table = chunk_table()
    encoder = TableEncoder(KINDS_OF_CHUNKS, dtype=np.float32)
    X = encoder.fit_transform(table)
    assert X.dtype == np.float32 and X.indices.dtype == np.int32 and X.has_canonical_format
    assert_array_equal(X.indices, X.copy().sorted_indices().indices)
    again = pickle.loads(pickle.dumps(encoder))
    assert_array_equal(again.transform(table).toarray(), X.toarray())
    assert names(again) == names(encoder) and again.encoding_ == encoder.encoding_


def test_fields_side_by_side():
    """Against dense matrices side by side."""
    for dtype in (np.float64, np.float32):
        widths, dense, parts = [3, 1, 4, 2], [], []
        for width in widths[:3]:
            columns = rng.integers(-1, width, 40).astype(np.int32)
            values = rng.normal(size=40).astype(np.float32) if width == 1 else np.empty(0)
            parts.append(Entries(columns, values.astype(np.float64)))
            part = np.zeros((40, width))
            for row, place in enumerate(columns):
                if place >= 0:
                    part[row, place] = values[row] if values.size else 1
            dense.append(part)
        bags = sparse.random(40, 2, 0.6, format="csr", random_state=0, dtype=np.float32)
        bags = sparse.csr_matrix(bags, dtype=np.float64)
        X = side_by_side([*parts, bags], widths, 40, dtype)
        assert X.dtype == dtype
        assert_array_equal(X.toarray(), np.hstack([*dense, bags.toarray()]))
