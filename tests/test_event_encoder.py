"""The encoder of events: against plain loops, on a log by hand, and on bad input."""

import pickle
import re
import warnings
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction

import numpy as np
import pytest
from helpers import in_full
from numpy.testing import assert_allclose, assert_array_equal
from reference import slow_fold, slow_ratings
from scipy import sparse
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils import get_tags

from skfm.preprocessing import UserItemEncoder, _stacking
from skfm.preprocessing._event_encoder import EventEncoder

KINDS = ["user", "item", "history", "raters", "ratings", "previous", "last", "time", "user_time"]
PAST = ["previous", "last", "time", "user_time"]  # what needs times


# Against plain loops


def slow_block(kind, log, targets, row, n_last, n_bins):
    """Level and value of each feature that the block has for a row (user, item, time)."""
    user, item, time = row
    mine = [event for event in log if event[0] == user]
    earlier = [event for event in mine if event[2] < time]
    times = [event[2] for event in log]

    def find_bin(time):
        edges = [
            min(times) + Fraction(max(times) - min(times)) * i / n_bins for i in range(1, n_bins)
        ]
        return sum(time >= edge for edge in edges)

    def bag(levels, power=0.5):
        return {level: len(set(levels)) ** -power for level in levels}

    if kind == "user":
        return bag([event[0] for event in mine])
    if kind == "item":
        return bag([event[1] for event in log if event[1] == item])
    if kind == "history":
        return bag([event[1] for event in mine])
    if kind == "raters":
        return bag([event[0] for event in log if event[1] == item])
    if kind == "previous":
        latest = max((event[2] for event in earlier), default=None)
        return bag([event[1] for event in earlier if event[2] == latest], power=1)
    if kind == "last":
        events = sorted({(event[2], event[1]) for event in earlier})
        return bag([item for _, item in events[-n_last:]])
    if kind == "time":
        return {find_bin(time): 1}
    if kind == "user_time":
        pairs = {(event[0], find_bin(event[2])) for event in log}
        return {f"{user}/{find_bin(time)}": 1} if (user, find_bin(time)) in pairs else {}
    if kind == "ratings":
        return slow_ratings(log, targets, user, item)
    raise AssertionError(kind)


def as_dicts(X, names):
    """The stored values of each row, by the names of their columns."""
    fresh = sparse.csr_matrix((X.data, X.indices, X.indptr), X.shape)
    assert X.format == "csr" and fresh.has_canonical_format and X.data.all()
    assert X.indices.dtype == X.indptr.dtype == np.int32
    assert len(set(names)) == len(names) == X.shape[1]
    rows = np.split(np.arange(X.nnz), X.indptr[1:-1])
    return [dict(zip(names[X.indices[r]], X.data[r].tolist(), strict=True)) for r in rows]


def random_log(rng, n_users=4, n_items=5, n_times=6):
    """Few of everything, so that pairs, times and baskets repeat."""
    n = rng.integers(1, 25)
    columns = [rng.integers(0, size, n) for size in (n_users, n_items, n_times)]
    users, items, times = (column.tolist() for column in columns)
    log = [("abcdef"[u], 10 * i, t) for u, i, t in zip(users, items, times, strict=True)]
    return log, rng.integers(1, 6, n).astype(float)


def assert_rows(X, names, expected):
    for found, wanted in zip(as_dicts(X, names), expected, strict=True):
        # A residual of 0 may be a very small one, and the other way round.
        found, wanted = ({k: v for k, v in d.items() if abs(v) > 1e-14} for d in (found, wanted))
        assert found.keys() == wanted.keys()
        assert_allclose([found[k] for k in wanted], list(wanted.values()), atol=1e-13)


def slow_rows(blocks, log, targets, rows, n_last, n_bins):
    return [
        {
            f"{block}={level}": value
            for block in blocks
            for level, value in slow_block(block, log, targets, row, n_last, n_bins).items()
        }
        for row in rows
    ]


@pytest.mark.parametrize("seed", [*range(20), *in_full(*range(20, 60))])
def test_blocks_match_plain_loops(seed):
    rng = np.random.default_rng(seed)
    log, targets = random_log(rng)
    others, _ = random_log(rng, 6, 7, 9)
    others = [(user, item, time - 1) for user, item, time in others]
    blocks = [KINDS[i] for i in rng.permutation(len(KINDS))]
    settings = {"n_last": int(rng.integers(1, 5)), "n_bins": int(rng.integers(1, 6))}
    encoder = EventEncoder(blocks, time=2, **settings)
    X = encoder.fit_transform(log, targets)
    names = encoder.get_feature_names_out()
    assert [name.split("=")[0] for name in names] == encoder.feature_fields_.tolist()
    assert list(dict.fromkeys(encoder.feature_fields_)) == blocks
    assert_rows(X, names, slow_rows(blocks, log, targets, log, **settings))
    others = others + log[::-1]
    expected = slow_rows(blocks, log, targets, others, **settings)
    assert_rows(encoder.transform(others), names, expected)


def assert_same(left, right):
    assert left.dtype == right.dtype and left.shape == right.shape
    assert_array_equal(left.indptr, right.indptr)
    assert_array_equal(left.indices, right.indices)
    assert_array_equal(left.data, right.data)


@pytest.fixture
def larger():
    """A log of as many events as a small data set has."""
    rng = np.random.default_rng(0)
    n = 20_000
    log = np.column_stack([rng.integers(0, size, n) for size in (400, 60, 1000)])
    return log, rng.normal(size=n)


def test_fit_transform_is_fit_and_transform(larger):
    log, targets = larger
    encoder = EventEncoder(KINDS, time=2)
    X = encoder.fit_transform(log, targets)
    Z = clone(encoder).fit(log, targets).transform(log)
    assert_same(X, Z)
    some = np.arange(3, len(log), 7)
    assert_same(X[some], encoder.transform(log[some]))


def test_the_order_of_rows_does_not_matter(larger):
    log, targets = larger
    X = EventEncoder(KINDS, time=2).fit_transform(log, targets)
    order = np.random.default_rng(1).permutation(len(log))
    Z = EventEncoder(KINDS, time=2).fit_transform(log[order], targets[order])
    assert_same(X[order], Z)


@pytest.mark.parametrize("seed", range(20))
def test_no_row_knows_its_own_rating(seed):
    rng = np.random.default_rng(seed)
    log, targets = random_log(rng)
    blocks = ["item", "ratings"]
    X = EventEncoder(blocks).fit_transform(log, targets).toarray()
    row = rng.integers(len(log))
    own = np.array([event[:2] == log[row][:2] for event in log])
    targets[own] = rng.normal(size=own.sum()) * 100
    Z = EventEncoder(blocks).fit_transform(log, targets).toarray()
    assert_allclose(X[own], Z[own], atol=1e-12)
    # Rows of other folds that have ratings know of it: by the rating, or by the mean of all.
    fold = slow_fold(log, *log[row][:2])
    elsewhere = np.array([slow_fold(log, *event[:2]) != fold for event in log])
    knows = elsewhere & ((X != 0).sum(axis=1) > 1)
    assert not np.isclose(X, Z).all(axis=1)[knows].any()


# By hand

LOG = [
    ("bob", "brazil", 5),
    ("ann", "alien", 1),
    ("ann", "brazil", 1),
    ("ann", "casablanca", 3),
    ("ann", "alien", 4),
]
NEW = [("ann", "alien", 2), ("ann", "dune", 9), ("eve", "casablanca", 0), ("bob", "alien", 5)]
HALF, THIRD = 2**-0.5, 3**-0.5


@pytest.mark.parametrize(
    ("kind", "expected", "expected_new"),
    [
        (
            "history",
            [[0, 1, 0]] + [[THIRD] * 3] * 4,
            [[THIRD] * 3, [THIRD] * 3, [0, 0, 0], [0, 1, 0]],
        ),
        (
            "raters",
            [[HALF, HALF], [1, 0], [HALF, HALF], [1, 0], [1, 0]],
            [[1, 0], [0, 0], [1, 0], [1, 0]],
        ),
        (
            "previous",
            [[0, 0, 0], [0, 0, 0], [0, 0, 0], [0.5, 0.5, 0], [0, 0, 1]],
            [[0.5, 0.5, 0], [1, 0, 0], [0, 0, 0], [0, 0, 0]],
        ),
        (
            "last",  # two of them: of ann's first basket Brazil alone is left at 4
            [[0, 0, 0], [0, 0, 0], [0, 0, 0], [HALF, HALF, 0], [0, HALF, HALF]],
            [[HALF, HALF, 0], [HALF, 0, HALF], [0, 0, 0], [0, 0, 0]],
        ),
        (
            "time",  # from 1 to 3, and from 3 to 5
            [[0, 1], [1, 0], [1, 0], [0, 1], [0, 1]],
            [[1, 0], [0, 1], [1, 0], [0, 1]],
        ),
        (
            "user_time",
            [[0, 0, 1], [1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0]],
            [[1, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 1]],
        ),
    ],
)
def test_by_hand(kind, expected, expected_new):
    encoder = EventEncoder([kind], time=2, n_last=2, n_bins=2)
    assert_allclose(encoder.fit_transform(LOG).toarray(), expected)
    assert_allclose(encoder.transform(NEW).toarray(), expected_new)


def test_ratings_by_hand():
    log = [("ann", "alien"), ("ann", "brazil"), ("bob", "alien"), ("ann", "brazil")]
    encoder = EventEncoder(["ratings"])
    X = encoder.fit_transform(log, [5, 1, 4, 3]).toarray()
    folds = [slow_fold(log, *pair) for pair in log]
    assert folds[0] != folds[1] == folds[3]  # ann's two items are in different folds
    assert_allclose(X[2], [0, 0])  # bob has no other rating
    mean = (5 + 2 + 4) / 3
    rest = np.array([5 - mean - (9 - 2 * mean) / 27, 2 - mean - (2 - mean) / 26])
    Z = encoder.transform([("ann", "casablanca"), ("eve", "alien")]).toarray()
    assert_allclose(Z, [(rest - rest.sum() / 12) / 2**0.5, [0, 0]])
    # Of the other fold: Brazil's (1 + 3) / 2, and bob's 4 if that is in there as well.
    others = [2.0] + [4.0] * (folds[2] != folds[0])
    mean = np.mean(others)
    rest = 2 - mean - (2 - mean) / 26
    assert_allclose(X[0], [0, rest - rest / 11])


@pytest.mark.parametrize("n_folds", [2, 3, 5])
def test_folds_are_equally_many_of_each_users(n_folds):
    rng = np.random.default_rng(0)
    log = [(f"u{u}", f"i{i}") for u in range(3) for i in rng.permutation(20)[: 6 + 5 * u]]
    encoder = EventEncoder(["ratings"], n_folds=n_folds)
    X = encoder.fit_transform(log, rng.normal(size=len(log)))
    for u in range(3):
        rows = [row for row, event in enumerate(log) if event[0] == f"u{u}"]
        seen = X[rows].getnnz(axis=1)
        fold_sizes = len(rows) - seen
        assert set(fold_sizes) <= {len(rows) // n_folds, -(-len(rows) // n_folds)}
        own = [X[row, list(encoder.item_ids_).index(log[row][1])] for row in rows]
        assert not np.any(own)


def test_names_fields_and_groups():
    blocks = ["user", "item", "history", "time", "user_time", ("basket", "item")]
    encoder = EventEncoder(blocks, time=2, n_bins=2)
    X = encoder.fit_transform(LOG)
    names = encoder.get_feature_names_out()
    assert names.dtype == object and names.tolist() == [
        *("user=ann", "user=bob", "item=alien", "item=brazil", "item=casablanca"),
        *("history=alien", "history=brazil", "history=casablanca", "time=0", "time=1"),
        *("user_time=ann/0", "user_time=ann/1", "user_time=bob/1"),
        *("basket=alien", "basket=brazil", "basket=casablanca"),
    ]
    assert X.feature_fields is encoder.feature_fields_
    assert X.feature_groups is encoder.feature_groups_
    assert encoder.transform(NEW).feature_fields is encoder.feature_fields_
    fields = ["user"] * 2 + ["item"] * 3 + ["history"] * 3 + ["time"] * 2 + ["user_time"] * 3
    for labels in (encoder.feature_fields_, encoder.feature_groups_):
        assert labels.dtype.kind == "U" and labels.tolist() == fields + ["basket"] * 3
    assert_array_equal(X[:, 2:5].toarray(), X[:, -3:].toarray())
    assert encoder.user_ids_.tolist() == ["ann", "bob"]
    assert encoder.item_ids_.tolist() == ["alien", "brazil", "casablanca"]


def test_names_differ_even_if_values_are_written_alike():
    class Quiet:
        def __repr__(self):
            return "quiet"

    log = [(1, "x"), ("1", "x"), (Quiet(), "y"), (Quiet(), "y")]
    encoder = EventEncoder(["user"]).fit(log[:2])
    assert encoder.get_feature_names_out().tolist() == ["user=1", "user='1'"]
    names = encoder.fit(log).get_feature_names_out().tolist()
    assert names == ["user=1#0", "user='1'#1", "user=quiet#2", "user=quiet#3"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_types_of_values(dtype):
    log, targets = random_log(np.random.default_rng(3))
    encoder = EventEncoder(KINDS, time=2, dtype=dtype)
    X = encoder.fit_transform(log, targets)
    assert X.dtype == encoder.transform(log).dtype == dtype
    exact = encoder.set_params(dtype=np.float64).fit_transform(log, targets)
    assert_allclose(X.toarray(), exact.toarray(), rtol=1e-6, atol=1e-7)


def test_more_cells_than_32_bits_can_count(monkeypatch):
    table, rows = sparse.eye(3, format="csr"), np.array([[1, 2, 6]])
    assert _stacking.stack([table, table], rows).indptr.dtype == np.int32
    monkeypatch.setattr("skfm._utils.sparse.LARGEST_INT32", 5)
    stacked = _stacking.stack([table, table], rows)
    assert stacked.indices.dtype == stacked.indptr.dtype == np.int64
    assert stacked[rows.ravel()].indices.tolist() == [0, 1, 5]


# Columns of their own


def test_context_and_attributes():
    pandas = pytest.importorskip("pandas")
    log = pandas.DataFrame(
        {
            "age": [3.0, np.nan, 4.0, 0.0],
            "who": ["ann", "bob", "ann", "ann"],
            "mood": [7, 8, 7, 8],
            "what": ["alien", "alien", "brazil", "alien"],
            "stars": pandas.array([6, None, 8, 0], dtype="Int64"),
            "genres": [["horror", "space", "space"], None, {"comedy"}, "horror"],
            "job": pandas.Categorical([2, 1, 2, None]),
            "new": [True, False, True, True],
        }
    )
    encoder = EventEncoder(
        ["attributes", "context"],
        user="who",
        item="what",
        context=["mood", "job"],
        attributes=["age", "stars", "genres", "new"],
    )
    X = encoder.fit_transform(log)
    names = encoder.get_feature_names_out()
    size = (25 / 3) ** 0.5
    expected = [
        {"age": 3 / size, "stars": 3 / size, "genres=horror": HALF, "genres=space": HALF},
        {},
        {"age": 4 / size, "stars": 4 / size, "genres=comedy": 1},
        {"genres=horror": 1},
    ]
    for row, (mood, job, new) in enumerate([(7, 2, 1), (8, 1, 0), (7, 2, 1), (8, None, 1)]):
        expected[row] |= {f"mood={mood}": 1, f"new={bool(new)}": 1}
        expected[row] |= {f"job={job}": 1} if job else {}
    assert_rows(X, names, expected)
    assert names.tolist() == [
        *("age", "stars", "genres=comedy", "genres=horror", "genres=space"),
        *("new=False", "new=True", "mood=7", "mood=8", "job=1", "job=2"),
    ]
    assert dict.fromkeys(encoder.feature_fields_) == dict.fromkeys(
        ["age", "stars", "genres", "new", "mood", "job"]
    )
    later = log.iloc[:1].assign(age=-5, mood=9, genres=[("satire", "space", None)], new=None)
    X = encoder.transform(later.assign(job=pandas.Categorical([3])))
    wanted = {"age": -5 / size, "stars": 3 / size, "genres=space": 1}
    assert_rows(X, names, [wanted])
    encoder.set_params(attributes=["job"], context=["age"]).fit(log)
    assert encoder.get_feature_names_out().tolist() == [
        *("job=1", "job=2", "age=0.0", "age=3.0", "age=4.0")
    ]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("column", "names", "lengths"),
    [
        ([1, 2.5, None], ["x2"], [1, 1, 0]),
        ([np.int8(1), np.float32(2), 3], ["x2"], [1, 1, 1]),
        ([Fraction(1, 2), 1, 2], ["x2"], [1, 1, 1]),
        ([0, 0, 0], ["x2"], [0, 0, 0]),
        ([np.nan, np.nan, 1.0], ["x2"], [0, 0, 1]),
        (["1", "2", 3], ["x2=1", "x2=2", "x2=3"], [1, 1, 1]),
        ([True, 2, 3], ["x2=True", "x2=2", "x2=3"], [1, 1, 1]),
        ([None, None, "a"], ["x2=a"], [0, 0, 1]),
        ([None, None, None], [], [0, 0, 0]),
        ([date(2020, 1, 2), None, date(2020, 1, 2)], ["x2=2020-01-02"], [1, 0, 1]),
        ([(), frozenset("a"), np.array(["b", "a"])], ["x2=a", "x2=b"], [0, 1, 2]),
        ([[], None, ()], [], [0, 0, 0]),
        ([[1], 2, [None]], ["x2=1", "x2=2"], [1, 1, 0]),
    ],
)
def test_kinds_of_attributes(column, names, lengths):
    log = [("ann", "alien", value) for value in column]
    encoder = EventEncoder(["attributes"], attributes=[2])
    X = encoder.fit_transform(log)
    found = encoder.get_feature_names_out().tolist()
    assert sorted(found) == sorted(names) and X.shape == (3, len(names))
    assert_same(X, encoder.transform(log))
    n = np.diff(X.indptr)
    if names != ["x2"]:
        assert_allclose(X.data, np.repeat(np.maximum(n, 1) ** -0.5, n))
    assert n.tolist() == lengths


@pytest.mark.parametrize("size", [1e-200, 1e-3, 1e200])
def test_numbers_have_unit_mean_square(size):
    values = size * np.array([3.0, 0.0, -1.0, np.nan])
    log = [("ann", "alien", value) for value in values.tolist()]
    X = EventEncoder(["attributes"], attributes=[2]).fit_transform(log)
    assert X.nnz == 2  # neither the 0 nor what is missing
    assert_allclose(X.toarray()[:, 0] * (10 / 3) ** 0.5, [3, 0, -1, 0])


def test_columns_without_values():
    log = np.array([[1, 1, np.nan], [1, 2, np.nan]])
    blocks = ["attributes", ("again", "context")]
    encoder = EventEncoder(blocks, context=[2], attributes=[2])
    X = encoder.fit_transform(log)
    assert encoder.get_feature_names_out().tolist() == ["x2"] and X.nnz == 0
    log[1, 2] = 5
    assert encoder.transform(log).toarray().tolist() == [[0], [5]]


def test_blocks_of_columns_with_another_name():
    """One column takes the block's name, several are told apart."""
    log = [("ann", "alien", "good", 3)]
    blocks = ["context", "attributes", ("again", "context"), ("more", "attributes")]
    encoder = EventEncoder(blocks[:1] + blocks[2:], context=[2], attributes=[3, 2]).fit(log)
    assert encoder.feature_fields_.tolist() == ["x2", "again", "more__x3", "more__x2"]
    names = encoder.get_feature_names_out().tolist()
    assert names == ["x2=good", "again=good", "more__x3", "more__x2=good"]
    with pytest.raises(ValueError, match="'x2'"):
        EventEncoder(blocks, context=[2], attributes=[3, 2]).fit(log)


# Forms of input

FORMS = {
    "lists": list,
    "array": lambda log: np.array(log, dtype=object),
    "frame": lambda log: pytest.importorskip("pandas").DataFrame(log),
}
START = datetime(2020, 1, 1)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "clock",
    [
        float,
        lambda time: START + timedelta(days=time),
        lambda time: (START + timedelta(days=time)).replace(tzinfo=UTC),
        lambda time: START.date() + timedelta(days=time),
        lambda time: np.datetime64("2020-01-01") + time,
        lambda time: 1_700_000_000_000_000_000 + time,  # one number in float64
    ],
)
def test_forms_of_input_and_kinds_of_times(form, clock):
    blocks = ["previous", "last"] if type(clock(0)) is int else PAST
    plain = EventEncoder(blocks, time=2)
    X, Z = plain.fit_transform(LOG), plain.transform(NEW)
    log, new = ([(u, i, clock(t)) for u, i, t in rows] for rows in (LOG, NEW))
    encoder = EventEncoder(blocks, time=2)
    assert_same(encoder.fit_transform(FORMS[form](log)), X)
    assert_same(encoder.transform(FORMS[form](new)), Z)


def test_cells_of_lists_stay_whole():
    log = [((1, 2), ("a", "b"), [3, 4]), ((5, 6), ("a", "b"), [4, 7])]
    encoder = EventEncoder(["user", "attributes"], attributes=[2])
    X = encoder.fit_transform(log).toarray()
    assert_allclose(X, [[1, 0, HALF, HALF, 0], [0, 1, 0, HALF, HALF]])
    assert encoder.user_ids_.tolist() == [(1, 2), (5, 6)]
    log = [event[:2] for event in log]
    assert UserItemEncoder().fit(log).item_ids_.tolist() == [("a", "b")]


def test_columns_by_name():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(LOG, columns=["who", "what", "when"])[["when", "what", "who"]]
    frame["when"] = pandas.to_datetime(frame["when"], unit="s", utc=True)
    encoder = EventEncoder(["user", "last"], user="who", item="what", time="when")
    X = encoder.fit_transform(frame)
    assert_same(X, EventEncoder(["user", "last"], time=2).fit_transform(LOG))
    assert encoder.feature_names_in_.tolist() == ["when", "what", "who"]
    frame.index = [4, 4, 1, 0, -1]
    assert_same(X, encoder.transform(frame))
    with pytest.raises(ValueError, match="feature names should match"):
        encoder.transform(frame.rename(columns={"what": "item"}))
    with pytest.raises(ValueError, match="same order"):
        encoder.transform(frame[["who", "what", "when"]])
    with pytest.raises(ValueError, match="Feature names seen at fit time, yet now missing"):
        encoder.transform(frame[["who", "what"]])
    message = "time names the column 'day', but no column of X has this name: "
    with pytest.raises(ValueError, match=message):
        encoder.set_params(time="day").fit(frame)
    frame.columns = ["when", "what", "what"]  # newer scikit-learn refuses that itself
    with pytest.raises(ValueError, match=r"several columns of X have|unique column names"):
        encoder.set_params(user=2, time="when").fit(frame)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["item", "user", "rating"],
            r"0 of X, 'item', is used as the user column, .*set user='user'",
        ),
        (
            ["Rating", "User ID", "Item ID"],
            r"'Rating', is used as the user column, .*user='User ID'",
        ),
        (
            ["who", "timestamp", "movieId"],
            r"1 of X, 'timestamp', is used as the item column.*item='movieId'",
        ),
        (["user", "item", "rating"], None),
        (["who", "what", "user"], None),
        (["user_id", "user", "item"], r"1 of X, 'user', is used as the item column.*item='item'"),
        (["item", "what", "who"], None),
    ],
)
def test_columns_that_were_mixed_up_are_warned_of(names, message):
    frame = pytest.importorskip("pandas").DataFrame([(1, 2, 3), (4, 5, 6)], columns=names)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        EventEncoder().fit(frame)
    said = [str(warning.message) for warning in caught]
    assert bool(said) == (message is not None)
    if message is not None:
        assert re.search(message, said[0]) and caught[0].filename == __file__


class SmallFrame:
    """What a DataFrame that scikit-learn does not know has in common with one."""

    def __init__(self, log, names):
        self._rows = np.array(log, dtype=object)
        self.shape, self.columns, self.dtypes = self._rows.shape, names, [object] * len(names)

    def __len__(self):
        return len(self._rows)

    def __getitem__(self, name):
        return self._rows[:, self.columns.index(name)]


def test_other_frames():
    encoder = EventEncoder(["user", "last"], user="who", item="what", time="when")
    X = encoder.fit_transform(SmallFrame(LOG, ["who", "what", "when"]))
    assert_same(X, EventEncoder(["user", "last"], time=2).fit_transform(LOG))
    assert_same(X, encoder.transform(LOG))
    with pytest.raises(ValueError, match=r"X has the columns \['who', 'when', .* but fit had"):
        encoder.transform(SmallFrame(LOG, ["who", "when", "what"]))


def test_input_is_not_changed(larger):
    log, targets = larger
    copies = log.copy(), targets.copy()
    encoder = EventEncoder([*KINDS, "attributes"], time=2, attributes=[2])
    X = encoder.fit_transform(log, targets)
    Z = X.copy()
    X.data[:], X.indices[:] = -1, 0
    assert_array_equal(log, copies[0])
    assert_array_equal(targets, copies[1])
    assert_same(encoder.transform(log), Z)


@pytest.mark.parametrize(
    "change",
    [
        lambda log: [tuple(map(str, event)) for event in log],
        lambda log: np.array(log).astype(str),
        lambda log: np.array(log).astype(bytes),
        lambda log: pytest.importorskip("pandas").DataFrame(log).astype("string"),
        lambda log: pytest.importorskip("pandas").DataFrame(log).astype(str).astype("category"),
    ],
)
def test_ids_of_another_type_are_warned_of(change):
    log = [(1, 10, 5), (1, 11, 6), (2, 10, 5), (2, 12, 6)]
    encoder = EventEncoder(["user", "item", "context"], context=[2])
    for first, second in ((log, change(log)), (change(log), log)):
        encoder.fit(first)
        with pytest.warns(UserWarning, match="None of the 4") as caught:
            assert encoder.transform(second).nnz == 0
        said = [str(warning.message) for warning in caught if "None of" in str(warning.message)]
        assert [message.split(" is known: ")[0] for message in said] == [
            *("None of the 4 user ids", "None of the 4 item ids"),
            f"None of the 4 values of {str(encoder.feature_fields_[-1])!r}",
        ]
        for message in said:
            types = re.search(r"they are (.*), but were (.*) in fit; convert them", message)
            assert types and ("int64" in types[1]) != ("int64" in types[2])


def test_members_of_lists_of_another_type_are_warned_of():
    encoder = EventEncoder(["attributes"], attributes=[2]).fit([(1, 1, [3, 4]), (1, 2, [])])
    types = "they are str, but were int64 in fit; convert them"
    with pytest.warns(UserWarning, match=f"values of 'x2' is known: {types}"):
        encoder.transform([(1, 1, ["3"]), (1, 2, [])])


@pytest.mark.filterwarnings("error")
def test_types_that_match_and_strangers_are_no_reason_to_warn():
    encoder = EventEncoder(["user", "item", "attributes"], attributes=[2])
    X = encoder.fit_transform([(1, 10, ["a"]), (2, 11, [])])
    for number in (float, np.int8, np.float32, Fraction):
        log = [(number(1), number(10), ["a"]), (number(2), number(11), None)]
        assert_same(encoder.transform(log), X)
    assert encoder.transform([(3, 12, ["b"])]).nnz == 0
    assert encoder.transform([(3, 12, []), (4, 13, [])]).nnz == 0


# A transformer


class Spy(BaseEstimator):
    def fit(self, X, y=None):
        self.fields_ = X.feature_fields
        return self


def test_a_step_of_a_pipeline():
    log = [event[:2] for event in LOG] * 4
    y = np.arange(20.0)
    pipeline = make_pipeline(EventEncoder(["user", "ratings"]), Ridge()).fit(log, y)
    assert np.isfinite(pipeline.predict([*log, ("eve", "dune")])).all()
    assert np.isfinite(cross_val_score(pipeline, np.array(log), y, cv=3)).all()
    spy = make_pipeline(EventEncoder(), Spy()).fit(log)
    assert spy[-1].fields_.tolist() == ["user"] * 2 + ["item"] * 3


def test_tags():
    assert get_tags(EventEncoder(["user", ("mine", "ratings")])).target_tags.required
    assert not get_tags(EventEncoder(["user", ("ratings", "item")])).target_tags.required
    assert not get_tags(EventEncoder(blocks=None)).target_tags.required  # an error in fit


def test_clone_and_pickle():
    encoder = EventEncoder(KINDS, time=2, n_last=3)
    X = encoder.fit_transform(LOG, range(5))
    copy = pickle.loads(pickle.dumps(encoder))
    assert_same(copy.transform(LOG), X)
    assert copy.get_params() == clone(encoder).get_params() == encoder.get_params()
    with pytest.raises(NotFittedError):
        clone(encoder).transform(LOG)
    with pytest.raises(NotFittedError):
        clone(encoder).get_feature_names_out()


def test_what_a_fit_learned_stays_until_the_next():
    encoder = EventEncoder(["user", "last"], time=2).fit(LOG)
    X = encoder.transform(LOG)
    encoder.set_params(blocks=["item"], user=1, time=0, n_last=1)
    assert_same(encoder.transform(LOG), X)


# Bad input


def put(value, row, column):
    log = [list(event) for event in LOG]
    log[row][column] = value
    return log


BAD = [
    ({}, [], "empty log"),
    ({}, np.empty((0, 3)), "empty log"),
    ({}, sparse.eye(3, format="csr"), "sparse"),
    ({}, ["ann", "bob"], "Reshape your data"),
    ({}, np.ones((2, 2, 2)), "Reshape your data"),
    ({}, None, "Reshape your data"),
    ({}, [["ann"], ["bob"]], r"1 feature\(s\) .*minimum of 2 .*item is the position 1;"),
    ({"user": -1}, LOG, "user is the position -1; positions start at 0"),
    ({"user": "who"}, LOG, "user names the column 'who', but X has no column names"),
    ({"user": None}, LOG, "user must be the name or the position of a column"),
    ({"item": True}, LOG, "item must be the name or the position of a column"),
    ({}, put(None, 3, 0), "1 user ids are missing .* row 3"),
    ({}, put(np.nan, 2, 1), "1 item ids are missing .* row 2"),
    ({}, np.array([[1, np.inf]]), "1 item ids are infinite"),
    ({}, put([1], 2, 1), "item ids must be hashable"),
    ({"blocks": []}, LOG, "blocks is empty"),
    ({"blocks": "user"}, LOG, "blocks must be a list"),
    ({"blocks": None}, LOG, "blocks must be a list"),
    ({"blocks": ["user", 3]}, LOG, "blocks must contain kinds of blocks.*got 3"),
    ({"blocks": [("a", "b", "item")]}, LOG, "blocks must contain kinds of blocks.*got"),
    ({"blocks": [("", "item")]}, LOG, "blocks must contain kinds of blocks.*got"),
    ({"blocks": ["users"]}, LOG, "Unknown kind of block 'users' in blocks; known kinds: 'user', "),
    ({"blocks": [("item", "basket")]}, LOG, "Unknown kind of block 'basket' in blocks"),
    ({"blocks": ["user", "user"]}, LOG, "Two blocks would have the same name, 'user'"),
    ({"blocks": ["user", ("user", "item")]}, LOG, "Two blocks would have the same name, 'user'"),
    ({"blocks": ["context"]}, LOG, "'context' requires columns: list them in context"),
    ({"blocks": ["attributes"]}, LOG, "'attributes' requires columns"),
    ({"context": [2]}, LOG, r"context=\[2\] has no effect without the block 'context'; add"),
    ({"attributes": (2,)}, LOG, r"attributes=\(2,\) has no effect without the block 'attri"),
    ({"blocks": ["context"], "context": [2], "attributes": [1]}, LOG, "the block 'attributes'"),
    ({"blocks": [("context", "item")], "context": ["d"]}, LOG, "the block 'context'"),
    ({"context": "mood"}, LOG, "context must be a list of columns"),
    ({"attributes": 2}, LOG, "attributes must be a list of columns"),
    ({"blocks": ["context"], "context": [5]}, LOG, "context is the position 5"),
    ({"blocks": ["context"], "context": [2, 2]}, LOG, "Two blocks would have the same name, 'x2'"),
    ({"blocks": ["context"], "context": [2]}, put([1], 2, 2), "values of 'x2' must be hashable"),
    ({"blocks": ["attributes"], "attributes": [2]}, put([[1]], 2, 2), "values of 'x2' must be"),
    ({"blocks": ["attributes"], "attributes": [2]}, put(np.inf, 2, 2), "numbers of 'x2' are inf"),
    *[({"blocks": [kind]}, LOG, f"'{kind}' requires times: set time") for kind in PAST],
    *[
        ({"blocks": ["last"], "time": 2}, put(value, 1, 2), message)
        for value, message in [
            (None, "times are missing or infinite, the first in row 1"),
            (np.nan, "times are missing or infinite, the first in row 1"),
            (np.inf, "times are missing or infinite"),
            ("noon", r"column of times must contain numbers or datetimes \(got str\)"),
        ]
    ],
    ({"blocks": ["time"], "time": 1}, [(1, -1e308), (1, 1e308)], "too far apart"),
    ({"n_last": 0}, LOG, "n_last"),
    ({"n_last": 1.5}, LOG, "n_last"),
    ({"n_bins": 0}, LOG, "n_bins"),
    ({"n_bins": True}, LOG, "n_bins"),
    ({"dtype": np.int64}, LOG, "dtype"),
    ({"dtype": "float64"}, LOG, "dtype"),
]


@pytest.mark.parametrize(("parameters", "log", "message"), BAD)
def test_a_bad_fit_changes_nothing(parameters, log, message):
    encoder = EventEncoder(["user", "item", "last"], time=2).fit(LOG)
    X = encoder.transform(NEW)
    encoder.set_params(**{"blocks": ["user", "item"], "time": None, **parameters})
    before = dict(vars(encoder))
    for fit in (encoder.fit, encoder.fit_transform):
        with pytest.raises((ValueError, TypeError), match=message):
            fit(log)
    assert vars(encoder) == before
    encoder.set_params(dtype=np.float64)
    assert_same(encoder.transform(NEW), X)


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ([], "empty log"),
        (sparse.eye(3, format="csr"), "sparse"),
        (LOG[0], "Reshape your data"),
        ([event[:2] for event in LOG], "X has 2 features, but EventEncoder is expecting 3"),
        (put(None, 3, 0), "1 user ids are missing .* row 3"),
        (put(None, 3, 1), "1 item ids are missing .* row 3"),
        (put({}, 3, 1), "item ids must be hashable"),
        (put(None, 2, 2), "times are missing"),
        ([("ann", "alien", START)], "were numbers in fit and are datetimes now"),
    ],
)
def test_bad_logs_to_transform(log, message):
    encoder = EventEncoder(["user", "last"], time=2).fit(LOG)
    with pytest.raises((ValueError, TypeError), match=message):
        encoder.transform(log)
    with pytest.raises(ValueError, match="were datetimes in fit and are numbers now"):
        encoder.fit([("ann", "alien", START)]).transform(LOG)


def test_the_type_of_values_is_checked_by_transform_too():
    encoder = EventEncoder().fit(LOG).set_params(dtype=np.int64)
    with pytest.raises(ValueError, match="dtype must be"):
        encoder.transform(LOG)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "requires y to be passed"),
        ([1, 2, 3, 4], "y has 4 values, but X has 5 rows"),
        ([1, 2, 3, 4, np.nan], "1 values of y are missing or infinite, the first in row 4"),
        ([1, 2, None, 4, 5], "1 values of y are missing or infinite, the first in row 2"),
        (["1", "2", "3", "4", "5"], r"y, the ratings .* must contain numbers \(got str"),
        (np.ones((5, 2)), "1d array"),
        ([1e308, 0, 1e308, 1e308, 0], "The sum of y is too large"),
        ([0, 1e308, 0, 0, 1e308], "too large for float64; scale the values"),
    ],
)
def test_bad_ratings(y, message):
    encoder = EventEncoder(["ratings"]).fit(LOG, np.arange(5))
    before = dict(vars(encoder))
    for fit in (encoder.fit, encoder.fit_transform):
        with pytest.raises(ValueError, match=message):
            fit(LOG, y)
    assert vars(encoder) == before
    EventEncoder().fit(LOG, y)  # which needs no ratings


def test_values_that_are_too_large():
    encoder = EventEncoder(["ratings"], dtype=np.float32)
    with pytest.raises(ValueError, match=r"too large for float32; .*dtype=np\.float64"):
        encoder.fit_transform([(1, 1), (1, 2), (2, 1)], [1e300, -1e300, 0])
    assert not hasattr(encoder, "user_ids_")
    encoder = EventEncoder(["attributes"], attributes=[2]).fit([(1, 1, 1e-200)])
    with pytest.raises(ValueError, match="too large for float64; scale the values"):
        encoder.transform([(1, 1, 1e200)])


def test_numbers_stay_numbers_and_lists_lists():
    encoder = EventEncoder(["attributes"], attributes=[2]).fit(LOG)
    with pytest.raises(ValueError, match="'x2', where fit found numbers, must contain numbers"):
        encoder.transform(put("three", 0, 2))
    with pytest.raises(ValueError, match="numbers of 'x2' are infinite, the first in row 4"):
        encoder.transform(put(-np.inf, 4, 2))
    encoder.fit(put("three", 0, 2))
    with pytest.raises(TypeError, match="values of 'x2' must be hashable"):
        encoder.transform(put(["three"], 0, 2))
    encoder.fit(put(["three", 1], 0, 2))
    found = encoder.transform([["ann", "alien", "three"]])
    assert encoder.get_feature_names_out()[found.indices].tolist() == ["x2=three"]


def test_names_of_columns_that_look_like_features():
    pandas = pytest.importorskip("pandas")
    log = pandas.DataFrame(LOG, columns=["user", "item", "item=alien"])
    encoder = EventEncoder(["attributes"], attributes=["item=alien"]).fit(log)
    assert encoder.get_feature_names_out().tolist() == ["item=alien"]
    with pytest.raises(ValueError, match="Two features would have the same name, 'item=alien'"):
        encoder.set_params(blocks=["item", "attributes"]).fit(log)
    with pytest.raises(ValueError, match="Two blocks would have the same name, 'user'"):
        encoder.set_params(blocks=["user", "context"], context=["user"]).fit(log)


@pytest.mark.filterwarnings("error")
def test_one_event():
    encoder = EventEncoder(KINDS, time=2, n_bins=3)
    X = encoder.fit_transform([("ann", "alien", 7)], [3.0])
    assert encoder.get_feature_names_out()[X.indices].tolist() == [
        *("user=ann", "item=alien", "history=alien", "raters=ann", "time=2", "user_time=ann/2")
    ]
