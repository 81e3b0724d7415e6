"""The encoder of logs: against a dictionary, on every form of input, and on bad input."""

import pickle
import sys
from datetime import date, datetime, timedelta, timezone
from itertools import permutations

import numpy as np
import pytest
from helpers import size
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from skfm._utils.column_roles import ROLES
from skfm.preprocessing import UserItemEncoder

EXAMPLES = settings(max_examples=size(100, 25), deadline=None)
LOG = [
    ("bob", 30, 4.0, 3),
    ("ann", 10, 2.0, 9),
    ("bob", 20, 1.0, 1),
    ("ann", 10, 5.0, 2),
    ("cat", 30, 0.0, 5),
]
SUMS = [[7, 0, 0], [0, 1, 4], [0, 0, 0]]
HOW = ["sum", "last", "mean"]
LAST = [[5, 0, 0], [0, 1, 4], [0, 0, 0]]


def summing(**options):
    return UserItemEncoder(duplicates="sum", **options)


def slow_entries(log, duplicates):
    """Value of each pair of user and item, event by event."""
    entries, times = {}, {}
    for event in log:
        pair, value = event[:2], event[2] if len(event) > 2 else 1
        if pair not in entries:
            entries[pair] = value
        elif duplicates in ("sum", "mean"):
            entries[pair] += value
        elif len(event) < 4 or event[3] >= times[pair]:
            entries[pair] = value
        if len(event) == 4:
            times[pair] = max(event[3], times.get(pair, event[3]))
    if duplicates == "mean":
        pairs = [event[:2] for event in log]
        entries = {pair: total / pairs.count(pair) for pair, total in entries.items()}
    return entries, times


def entries_of(matrix, users, items):
    """The stored entries as a dictionary; the matrix is canonical and as small as it can be."""
    assert matrix.format == "csr" and matrix.shape == (len(users), len(items))
    fresh = sparse.csr_matrix((matrix.data, matrix.indices, matrix.indptr), matrix.shape)
    assert fresh.has_canonical_format
    assert matrix.indices.dtype == matrix.indptr.dtype == np.int32
    rows, columns = fresh.tocoo().row, fresh.tocoo().col
    pairs = zip(users[rows].tolist(), items[columns].tolist(), strict=True)
    return dict(zip(pairs, matrix.data.tolist(), strict=True))


def as_objects(log):
    return np.array(log, dtype=object)


def as_frame(log, names=("who", "what", "stars", "seconds")):
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame(log, columns=list(names)[: len(log[0])])


def assert_same(left, right):
    assert left.dtype == right.dtype and left.indices.dtype == right.indices.dtype
    assert_array_equal(left.indptr, right.indptr)
    assert_array_equal(left.indices, right.indices)
    assert_array_equal(left.data, right.data)


FORMS = [list, as_objects, as_frame]

# Against the dictionary

NAMES = st.text("abü", max_size=2)
IDS = {
    "integers": st.integers(-3, 3),
    "huge": st.integers(2**53 - 1, 2**53 + 2) | st.integers(2**64, 2**64 + 2),
    "floats": st.sampled_from([-0.0, 0.0, 0.5, 1.0, -np.inf, 2.0**53]),
    "strings": NAMES,
    "mixed": st.integers(0, 2) | NAMES | st.booleans() | st.sampled_from([0.5, 1.0, (1, 2)]),
}


@st.composite
def logs(draw, n_logs=1):
    """Logs of one kind, with whole numbers as values so that sums are exact."""
    users, items = (IDS[draw(st.sampled_from(sorted(IDS)))] for _ in range(2))
    columns = [users, items, st.integers(-2, 2), st.integers(0, 3)]
    events = st.tuples(*columns[: draw(st.integers(2, 4))])
    return [draw(st.lists(events, min_size=1, max_size=12)) for _ in range(n_logs)]


def plain_rows(log):
    """A tuple as an id would make a third axis in an array of objects."""
    rows = np.empty((len(log), len(log[0])), dtype=object)
    for place in np.ndindex(rows.shape):
        rows[place] = log[place[0]][place[1]]
    return rows


@EXAMPLES
@given(logs(), st.sampled_from(HOW), st.sampled_from([np.float64, np.float32]))
def test_fit_matches_the_dictionary(drawn, duplicates, dtype):
    (log,) = drawn
    encoder = UserItemEncoder(duplicates=duplicates, dtype=dtype)
    X = encoder.fit_transform(plain_rows(log))
    entries, times = slow_entries(log, duplicates)
    users, items = encoder.user_ids_, encoder.item_ids_
    assert len(set(users.tolist())) == len(users) and len(set(items.tolist())) == len(items)
    assert set(users.tolist()) == {event[0] for event in log}
    assert set(items.tolist()) == {event[1] for event in log}
    entries = {pair: float(dtype(value)) for pair, value in entries.items()}  # means are rounded
    assert X.dtype == dtype and entries_of(X, users, items) == entries
    assert_same(X, clone(encoder).fit(plain_rows(log)).transform(plain_rows(log)))
    if times:
        T = encoder.transform_time(plain_rows(log))
        assert T.dtype == np.float64 and entries_of(T, users, items) == times
    assert_array_equal(encoder.encode_users(users), np.arange(len(users)))
    assert_array_equal(encoder.encode_items(list(items)), np.arange(len(items)))


@EXAMPLES
@given(logs(n_logs=2), st.sampled_from(HOW))
def test_other_logs_match_the_dictionary(drawn, duplicates):
    log, other = drawn
    encoder = UserItemEncoder(duplicates=duplicates, handle_unknown="ignore")
    encoder.fit(plain_rows(log))
    users, items = encoder.user_ids_, encoder.item_ids_
    known_users, known_items = ({event[i] for event in log} for i in range(2))
    known = [e for e in other if e[0] in known_users and e[1] in known_items]
    entries, times = slow_entries(known, duplicates)
    assert entries_of(encoder.transform(plain_rows(other)), users, items) == entries
    if len(log[0]) == 4:
        assert entries_of(encoder.transform_time(plain_rows(other)), users, items) == times

    X_new, new_users = encoder.transform_new_users(plain_rows(other))
    assert new_users.tolist() == list(dict.fromkeys(event[0] for event in other))
    entries, _ = slow_entries([e for e in other if e[1] in known_items], duplicates)
    assert entries_of(X_new, new_users, items) == entries

    encoder.set_params(handle_unknown="error")
    if len(known) == len(other):
        encoder.transform(plain_rows(other))
    else:
        with pytest.raises(ValueError, match="are not in the training log"):
            encoder.transform(plain_rows(other))


@EXAMPLES
@given(logs())
def test_round_trip(drawn):
    (log,) = drawn
    encoder = summing()
    X = encoder.fit_transform(plain_rows(log))
    users, items, values = encoder.inverse_transform(X)
    assert {(u, i): v for u, i, v in zip(users, items, values, strict=True)} == slow_entries(
        log, "sum"
    )[0]
    if len(log[0]) > 2:
        again = np.empty((len(users), 3), dtype=object)
        again[:, 0], again[:, 1], again[:, 2] = users, items, values
        assert_same(encoder.transform(again), X)


def test_sums_are_computed_from_left_to_right():
    values = np.random.default_rng(0).normal(size=1000)
    log = [(0, int(place % 3), value) for place, value in enumerate(values)]
    X = summing().fit_transform(log)
    entries, _ = slow_entries(log, "sum")
    assert [X[pair] for pair in entries] == list(entries.values())


# Forms of input


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n_columns", [2, 3, 4])
def test_forms_of_input(form, n_columns):
    log = [event[:n_columns] for event in LOG]
    encoder = summing()
    X = encoder.fit_transform(form(log))
    expected = [[2, 0, 0], [0, 1, 1], [0, 0, 1]] if n_columns == 2 else SUMS
    assert_array_equal(X.toarray(), expected)
    assert X.nnz == 4 and encoder.n_columns_ == n_columns
    assert encoder.user_ids_.dtype == object
    assert encoder.user_ids_.tolist() == ["ann", "bob", "cat"]
    assert encoder.item_ids_.dtype == np.int64 and encoder.item_ids_.tolist() == [10, 20, 30]
    for other in FORMS:
        assert_same(encoder.transform(other(log)), X)
        assert_array_equal(encoder.transform_new_users(other(log))[1], ["bob", "ann", "cat"])
        if n_columns == 4:
            assert_array_equal(encoder.transform_time(other(log)).data, [9, 1, 3, 5])


class SmallFrame:
    """What a DataFrame that is not of pandas has in common with one."""

    def __init__(self, log, names):
        self.columns, self.dtypes = names, [object] * len(names)
        self._rows = as_objects(log)

    def __len__(self):
        return len(self._rows)

    def __getitem__(self, name):
        return self._rows[:, self.columns.index(name)]


def test_other_frames():
    log = SmallFrame(LOG, ["who", "what", "stars", "seconds"])
    encoder = summing()
    X = encoder.fit_transform(log)
    assert_array_equal(X.toarray(), SUMS)
    assert encoder.column_names_ == log.columns
    assert isinstance(encoder.inverse_transform(X), tuple)


def test_nothing_needs_pandas(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    encoder = summing()
    X = encoder.fit_transform(LOG)
    users, items, values = encoder.inverse_transform(X)
    assert users.tolist() == ["ann", "bob", "bob", "cat"]
    assert items.tolist() == [10, 20, 30, 30] and values.tolist() == [7, 1, 4, 0]
    assert encoder.column_names_ is None


@pytest.mark.parametrize(
    ("given", "dtype"),
    [
        (np.array([3, 1, 3], dtype=np.int32), np.int32),
        (np.array([3, 1, 3], dtype=np.uint8), np.uint8),
        (np.array([3, 1, 3], dtype=">i8"), np.int64),
        (np.array([0.5, -1, 0.5]), np.float64),
        (np.array([True, False, True]), np.bool_),
        (np.array(["b", "a", "b"]), object),
        (np.array([b"b", b"a", b"b"]), object),
        (np.array(["2020-02", "2020-01", "2020-02"], dtype="M8[s]"), "M8[s]"),
        (np.array([3, 1, 3], dtype=object), np.int64),
        (np.array([3.0, 1.0, 3.0], dtype=object), np.float64),
        (np.array([np.int8(3), 1, 3], dtype=object), np.int64),
        (np.array([2**80, 1, 2**80], dtype=object), object),
        (np.array([3, 1.0, 3], dtype=object), object),
        (np.array([True, False, True], dtype=object), object),
        (np.array([2, 1, 2], dtype="m8[s]").astype(object), object),
        (np.array([2, 1, 2], dtype="m8[s]"), "m8[s]"),
    ],
)
def test_types_of_ids(given, dtype):
    log = np.column_stack([given, given])
    encoder = summing().fit(log)
    assert encoder.user_ids_.dtype == dtype == encoder.item_ids_.dtype
    assert_array_equal(encoder.user_ids_, np.sort(given)[:2])
    assert encoder.encode_users(given).tolist() == [1, 0, 1]
    assert encoder.transform_new_users(log)[1].tolist() == encoder.user_ids_[::-1].tolist()


def test_strings_come_back_as_strings():
    encoder = summing().fit(np.array([["ann", "tea"], ["bob", "milk"]]))
    assert [type(user) for user in encoder.user_ids_] == [str, str]


@pytest.mark.parametrize(
    "users",
    [
        [2, "b", None.__class__, "a", 2.0],
        ["b", 2, (1, 2), "a"],
        [1j, "b", 2, b"b"],
        [date(2020, 1, 1), datetime(2020, 1, 1), 3],
    ],
)
def test_ids_that_cannot_be_sorted(users):
    log = plain_rows([(user, "tea") for user in users])
    encoder = summing().fit(log)
    assert encoder.user_ids_.tolist() == list(dict.fromkeys(users))
    assert_array_equal(
        encoder.encode_users(users), [encoder.user_ids_.tolist().index(user) for user in users]
    )


def test_numbers_of_several_types_match_if_they_are_equal():
    ids = [2**53, 2**53 + 1, 7, 2**63 - 1]
    encoder = summing(handle_unknown="ignore").fit([(i, 0) for i in ids])
    assert encoder.user_ids_.dtype == np.int64
    wanted = [7.0, 2.0**53, 2.0**63, 7.5, -1, np.inf]
    for asked in (wanted, np.array(wanted), np.array(wanted, dtype=object)):
        assert encoder.encode_users(asked).tolist() == [0, 1, -1, -1, -1, -1]
    unsigned = np.array([2**53 + 1, 2**64 - 1, 7], dtype=np.uint64)
    assert encoder.encode_users(unsigned).tolist() == [2, -1, 0]
    assert encoder.encode_users(np.array([7], dtype=np.int8)).tolist() == [0]
    with pytest.warns(
        UserWarning, match="they are bytes and str and tuple, but were int64 in fit"
    ):
        assert encoder.encode_users(["7", b"7", (7,)]).tolist() == [-1, -1, -1]
    encoder.fit([(2.0**53, 0), (0.5, 0)])
    assert encoder.encode_users([2**53, 2**53 + 1, 0]).tolist() == [1, -1, -1]
    assert encoder.encode_users(np.array([2**53, 2**53 + 1])).tolist() == [1, -1]


def test_datetimes_as_ids_are_no_numbers():
    days = np.array([1, 2], dtype="M8[ns]")
    encoder = summing(handle_unknown="ignore").fit(np.column_stack([days, days]))
    with pytest.warns(UserWarning, match=r"they are int64, but were datetime64\[ns\] in fit"):
        assert encoder.encode_users([1, 2]).tolist() == [-1, -1]
    assert encoder.encode_users(days[::-1]).tolist() == [1, 0]
    encoder.fit([(1, 1), (2, 2)])
    with pytest.warns(UserWarning, match=r"they are datetime64\[ns\], but were int64 in fit"):
        assert encoder.encode_users(days).tolist() == [-1, -1]


@pytest.mark.parametrize("kind", ["category", "Int64", "string", "int16"])
def test_types_of_pandas(kind):
    pandas = pytest.importorskip("pandas")
    users = pandas.Series([3, 1, 3])
    users = users.astype(str).astype(kind) if kind == "string" else users.astype(kind)
    log = pandas.DataFrame({"user": users, "item": ["b", "a", "b"], "value": [1, 2, 4]})
    log["value"] = log["value"].astype("Int64")
    encoder = summing()
    assert_array_equal(encoder.fit_transform(log).toarray(), [[2, 0], [0, 5]])
    expected = ["1", "3"] if kind == "string" else [1, 3]
    assert encoder.user_ids_.tolist() == expected
    assert encoder.encode_users(users).tolist() == [1, 0, 1]
    log.loc[1, "user"] = pandas.NA
    with pytest.raises(ValueError, match=r"1 user ids are missing .* in row 1"):
        encoder.fit(log)
    log["user"] = users
    log.loc[2, "value"] = pandas.NA
    with pytest.raises(ValueError, match="values"):
        encoder.fit(log)


def test_the_index_of_a_frame_does_not_matter():
    log = as_frame(LOG)
    log.index = [7, 7, 0, -1, 3]
    assert_array_equal(summing().fit_transform(log).toarray(), SUMS)


def test_input_is_not_changed():
    log = np.array([[2, 10, 0.5, 3], [1, 10, 1, 2], [2, 10, 4, 1]])
    copy = log.copy()
    encoder = summing()
    X = encoder.fit_transform(log)
    T = encoder.transform_time(log)
    X.data[:] = T.data[:] = encoder.user_ids_[:] = -1
    assert_array_equal(log, copy)


# Which column is what

FRAME = {"user": [1, 1, 2, 3], "item": [10, 11, 10, 12], "rating": [1.0, 0, 1, 0]}
USUAL = [
    ("user", "item", "rating", "timestamp"),
    ("user_id", "movie_id", "score", "date"),
    ("User ID", "Product", "Stars", "Time"),
    ("userId", "ItemId", "playCount", "unix_time"),
    ("customer", "ASIN", "QUANTITY", "datetime"),
]


def rows_in(order, names=("user", "item", "value", "time")):
    """A frame of `LOG` with the columns in another order, and how they are called."""
    frame = as_frame(LOG, ["user", "item", "value", "time"])
    return frame[list(order)].set_axis([names[ROLES.index(role)] for role in order], axis=1)


@pytest.mark.parametrize("names", USUAL)
@pytest.mark.parametrize("n_columns", [2, 3, 4])
def test_usual_names_are_found_in_any_order(names, n_columns):
    for order in permutations(ROLES, n_columns):
        if not {"user", "item"} <= set(order):
            continue
        encoder = summing()
        X = encoder.fit_transform(rows_in(order, names))
        assert encoder.user_ids_.tolist() == ["ann", "bob", "cat"]
        assert encoder.item_ids_.tolist() == [10, 20, 30]
        expected = SUMS if "value" in order else [[2, 0, 0], [0, 1, 1], [0, 0, 1]]
        assert_array_equal(X.toarray(), expected)
        assert encoder.columns_ == {role: names[ROLES.index(role)] for role in order}
        back = encoder.inverse_transform(X)
        assert list(back.columns) == [encoder.columns_.get(role, role) for role in ROLES[:3]]
        if "time" in order:
            assert_array_equal(encoder.transform_time(rows_in(order, names)).data, [9, 1, 3, 5])
        # By name in any other order and among others, by position in an array.
        other = rows_in(order[::-1], names).assign(what="x", which=7)
        if "value" in order:
            assert_same(encoder.transform(other), X)
        assert_same(encoder.transform(rows_in(order, names).to_numpy(object)), X)


@pytest.mark.parametrize(
    ("names", "columns"),
    [
        (["who", "what", "stars", "seconds"], [0, 1, 2, 3]),  # one of them is usual
        (["item", "what", "value", "user"], [3, 0, 2]),
        (["user_id", "user", "item", "score"], [0, 2, 3]),  # the user in the usual place
        (["user", "artist", "track", "plays"], [0, 1, 3]),
        (["who", "what", "when"], [0, 1, 2]),
        (["user", "item", "date"], [0, 1, None, 2]),
        (["date", "user", "item", "rating", "title", "genre"], [1, 2, 3, 0]),
        ([0, 1, 2, 3], [0, 1, 2, 3]),
        (["id", "id", "id"], [0, 1, 2]),
        ([7, 8, 9], [0, 1, 2]),
    ],
)
def test_names_that_are_not_all_usual(names, columns):
    pandas = pytest.importorskip("pandas")
    log = pandas.DataFrame([range(1, len(names) + 1)] * 2, columns=names)
    is_clear = len(set(names)) == len(names) and isinstance(names[0], str)
    expected = {
        role: names[position] if is_clear else position
        for role, position in zip(ROLES, columns, strict=False)
        if position is not None
    }
    assert summing().fit(log).columns_ == expected


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["title", "user", "rating"], r"\(2, 3\) and the columns .*2 to 4 columns.*set item"),
        (["rating", "who", "what"], "set user to the name or the position of the user column"),
        (["who", "what", "stars", "seconds", "x"], "set user to"),
        (["item", 1, 2], "set user to"),
        (["x", "item", "user", "userid"], "'user', 'userid' may all be the user column: set"),
        (["user", "item", "price", "x", "y"], r"'price', 'x', 'y'\. Set value to one of them, or"),
        (["user", "title", "item"], r"further columns, .*: 'title'\. Set value"),
    ],
)
def test_columns_that_cannot_be_told_apart(names, message):
    pandas = pytest.importorskip("pandas")
    log = pandas.DataFrame([range(len(names))] * 2, columns=names)
    encoder = UserItemEncoder().fit(LOG[:3])
    before = dict(vars(encoder))
    for fit in (encoder.fit, encoder.fit_transform):
        with pytest.raises(ValueError, match=message):
            fit(log)
    assert vars(encoder) == before


@pytest.mark.parametrize("form", [list, as_objects, as_frame, SmallFrame])
def test_columns_that_are_given(form):
    log = [("x", time, item, value, user) for user, item, value, time in LOG]
    names = ["a", "b", "c", "d", "e"]
    is_frame = form in (as_frame, SmallFrame)
    log = form(log, names) if is_frame else form(log)
    given = {"user": 4, "item": 2, "value": 3, "time": 1}
    ways = [given, {r: names[p] for r, p in given.items()}] if is_frame else [given]
    for way in ways:
        encoder = summing(**way)
        assert_array_equal(encoder.fit_transform(log).toarray(), SUMS)
        assert_array_equal(encoder.transform_time(log).data, [9, 1, 3, 5])
        assert encoder.columns_ == ({r: names[p] for r, p in given.items()} if is_frame else given)
        encoder = summing(**{**way, "value": None, "time": None})
        assert_array_equal(encoder.fit_transform(log).data, [2, 1, 1, 1])
        assert set(encoder.columns_) == {"user", "item"}
        encoder.set_params(user=0, item=1)  # what a fit learned stays until the next
        assert_array_equal(encoder.transform(log).data, [2, 1, 1, 1])


@pytest.mark.parametrize("form", [list, as_objects])
def test_some_columns_are_given(form):
    swapped = form([(item, user, value) for user, item, value, _ in LOG])
    assert_array_equal(summing(user=1, item=0).fit_transform(swapped).toarray(), SUMS)
    timed = form([(user, item, time) for user, item, _, time in LOG])
    encoder = summing(time=2)
    assert_array_equal(encoder.fit_transform(timed).data, [2, 1, 1, 1])
    assert_array_equal(encoder.transform_time(timed).data, [9, 1, 3, 5])
    with pytest.raises(ValueError, match=r"further columns.*: 3\. Set value to one of them"):
        summing(time=2).fit(form([(user, item, time, v) for user, item, v, time in LOG]))
    with pytest.raises(ValueError, match="set item to the name or the position"):
        summing(user=1).fit(swapped)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"user": None}, TypeError, "user must be the name or the position of a column"),
        ({"item": None}, TypeError, "item must be the name or the position of a column"),
        ({"user": 1.0}, TypeError, "user must be the name or the position of a column"),
        ({"value": True}, TypeError, "value must be the name or the position of a column"),
        (
            {"value": 7},
            ValueError,
            r"X has 4 feature\(s\).*value is the position 7; positions start at 0",
        ),
        ({"time": -1}, ValueError, "time is the position -1"),
        (
            {"value": "stars"},
            ValueError,
            "value names the column 'stars', but X has no column names; pass its position",
        ),
    ],
)
def test_columns_that_there_are_not(given, error, message):
    with pytest.raises(error, match=message):
        UserItemEncoder(**given).fit(LOG)


TIMES = {
    "seconds": 874965758,
    "milliseconds": 1_700_000_000_123,
    "microseconds": 1_700_000_000_123_456,
    "nanoseconds": 1_700_000_000_123_456_789,
    "fractions": 1_700_000_000.25,
    "YYYYMMDD": 20240131,
}


@pytest.mark.parametrize("unit", TIMES)
@pytest.mark.parametrize("form", [list, np.array, as_objects, as_frame])
def test_values_that_look_like_times(form, unit):
    log = [(1, 10, TIMES[unit]), (2, 10, TIMES[unit] - 1), (2, 20, TIMES[unit] - 3)]
    word = "seconds" if unit == "fractions" else unit
    column = "'stars'" if form is as_frame else "2"
    encoder = UserItemEncoder()
    for fit in (encoder.fit, encoder.fit_transform):
        with pytest.raises(ValueError, match=rf"like times \({word}.* time={column}.* if it"):
            fit(form(log))
    column = "stars" if form is as_frame else 2
    assert_array_equal(UserItemEncoder(time=column, value=None).fit_transform(form(log)).data, 1)
    X = UserItemEncoder(value=column).fit_transform(form(log))
    assert_array_equal(X.data, np.array([event[2] for event in log], dtype=float))
    encoder = UserItemEncoder().fit([(1, 10, 5.0), (2, 20, 3.0)])
    with pytest.raises(ValueError, match="looks like times"):
        encoder.transform(log)


@pytest.mark.parametrize(
    "values",
    [[5, 1e9], [1e8 - 1, 2e8], [4.3e9, 5e9], [-1e9, -2e9], [20241301, 20240101], [1e30] * 2],
)
def test_large_values_that_are_no_times(values):
    assert UserItemEncoder().fit_transform([(1, 1, values[0]), (2, 1, values[1])]).nnz == 2


# Duplicates and times


REPEATED = [
    *[("a", "x", 5, 2), ("a", "x", 1, 3), ("a", "y", 2, 1), ("a", "x", 3, 1)],
    ("b", "y", 4, 4),
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n_columns", [3, 4])
def test_of_repeated_ratings_the_last_is_kept_with_a_warning(form, n_columns):
    log = form([event[:n_columns] for event in [*REPEATED, ("b", "y", 5, 5), ("b", "x", 1, 1)]])
    last = 1.0 if n_columns == 4 else 3.0
    encoder = UserItemEncoder()
    for call in (encoder.fit_transform, encoder.transform, encoder.transform_new_users):
        with pytest.warns(
            UserWarning, match="^2 of 4 user-item pairs .* more than once.*'sum'"
        ) as caught:
            X = call(log)
        X = X[0] if isinstance(X, tuple) else X
        assert X.toarray().tolist() == [[last, 2], [1, 5]]
        assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.filterwarnings("error")
def test_when_nothing_is_said_of_repeated_pairs():
    with_ones = [(user, item, 1, time) for user, item, _, time in REPEATED]
    for log in ([event[:2] for event in REPEATED], with_ones, [e[:3] for e in with_ones]):
        assert UserItemEncoder().fit_transform(log).toarray().tolist() == [[3, 1], [0, 1]]
        encoder = UserItemEncoder().fit(log)
        assert encoder.transform(log).toarray().tolist() == [[3, 1], [0, 1]]
    for duplicates, kept in (("sum", 9), ("last", 1), ("mean", 3)):
        encoder = UserItemEncoder(duplicates=duplicates)
        assert encoder.fit_transform(REPEATED)[0, 0] == kept
        assert encoder.transform(REPEATED)[0, 0] == kept
    encoder = UserItemEncoder()
    assert encoder.fit_transform(REPEATED[1:3]).nnz == 2
    assert encoder.transform([("a", "x", 1.0)]).nnz == 1


def test_the_log_of_the_fit_says_whether_values_are_counts():
    ones = [("a", "x", 1), ("a", "y", 1), ("a", "x", 1)]
    encoder = UserItemEncoder().fit([("a", "x", 5), ("a", "y", 1)])
    with pytest.warns(UserWarning, match="1 of 2 user-item pairs"):
        assert encoder.transform(ones).data.tolist() == [1, 1]
    assert encoder.fit(ones).transform([("a", "x", 2), ("a", "x", 3)]).data.tolist() == [5]


@pytest.mark.parametrize("n_events", [30, 500, 5000])
def test_ratings_stay_within_their_scale(n_events):
    rng = np.random.default_rng(n_events)
    columns = [rng.integers(size, size=n_events) for size in (30, 20)]
    log = np.column_stack([*columns, rng.integers(1, 6, n_events)])
    pairs, counts = np.unique(log[:, :2], axis=0, return_counts=True)
    message = f"^{np.sum(counts > 1)} of {len(pairs)} user-item pairs"
    with pytest.warns(UserWarning, match=message):
        X = UserItemEncoder().fit_transform(log)
    assert X.min() >= 0 and X.data.min() >= 1 and X.max() <= 5


def test_last():
    encoder = UserItemEncoder(duplicates="last")
    assert encoder.fit_transform(LOG)[0, 0] == 2  # at 9, before the row with 5 at 2
    assert encoder.fit_transform([event[:3] for event in LOG])[0, 0] == 5
    assert encoder.fit_transform([(*event[:3], 1) for event in LOG])[0, 0] == 5
    assert encoder.fit_transform([event[:2] for event in LOG])[0, 0] == 1


@pytest.mark.parametrize("duplicates", HOW)
def test_zeros_stay(duplicates):
    log = [("a", "x", 2), ("a", "y", 0), ("a", "x", 0 if duplicates == "last" else -2)]
    X = UserItemEncoder(duplicates=duplicates).fit_transform(log)
    assert X.nnz == 2 and not X.data.any()


def test_float32_sums_are_exact_inside():
    values = [2.0**24, 1, 1, -(2.0**24)]
    log = [("a", "x", value) for value in values]
    X = summing(dtype=np.float32).fit_transform(log)
    assert X.dtype == np.float32 and X.data.tolist() == [2]


def test_time_goes_by_the_exact_order():
    """Nanoseconds since 1970 that are one number in float64."""
    start = 1_700_000_000_000_000_001
    log = [("a", "x", 5, start + 1), ("a", "x", 3, start)]
    assert float(start) == float(start + 1)
    encoder = UserItemEncoder(duplicates="last")
    assert encoder.fit_transform(log).data.tolist() == [5]
    stamps = np.array(log, dtype=object)
    stamps[:, 3] = list(np.array([start + 1, start], dtype="M8[ns]"))
    assert encoder.fit_transform(stamps).data.tolist() == [5]


EAST = timezone(timedelta(hours=-5))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (0, 86400.5),
        (datetime(1970, 1, 1), datetime(1970, 1, 2, 0, 0, 0, 500_000)),
        (date(1970, 1, 1), datetime(1970, 1, 2, 0, 0, 0, 500_000)),
        (datetime(1969, 12, 31, 19, tzinfo=EAST), datetime(1970, 1, 2, 0, 0, 0, 500_000)),
        (np.datetime64("1970-01"), np.datetime64("1970-01-02T00:00:00.500", "ns")),
    ],
)
def test_kinds_of_times(first, second):
    log = [("ann", "tea", 1, first), ("bob", "tea", 1, first), ("ann", "tea", 1, second)]
    encoder = summing(dtype=np.float32)
    encoder.fit(log)
    for form in FORMS:
        T = encoder.transform_time(form(log))
        assert T.dtype == np.float64 and T.nnz == 2
        assert_array_equal(T.toarray(), [[86400.5], [0]])


@pytest.mark.parametrize("unit", ["s", "ms", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_times_of_pandas(unit, zone):
    pandas = pytest.importorskip("pandas")
    log = as_frame(LOG)
    times = pandas.Series((log["seconds"] + 0.0).to_numpy() * 10**9).astype("datetime64[ns]")
    times = times if unit == "ns" else times.to_numpy().astype(f"M8[{unit}]")
    log["seconds"] = times
    if zone is not None:
        log["seconds"] = log["seconds"].dt.tz_localize("UTC").dt.tz_convert(zone)
    T = summing().fit(log).transform_time(log)
    assert_array_equal(T.data, [9, 1, 3, 5])
    objects = log.astype(object)
    assert_array_equal(summing().fit(objects).transform_time(objects).data, [9, 1, 3, 5])
    log.loc[2, "seconds"] = pandas.NaT
    for form in (log, log.astype(object), log.to_numpy()):
        with pytest.raises(ValueError, match=r"1 times are missing.* in row 2"):
            summing().fit(form)


def test_a_time_of_each_entry():
    log = [*LOG, ("eve", 10, 1.0, 4), ("ann", 99, 1.0, 4)]
    encoder = summing(handle_unknown="ignore").fit(LOG)
    X, T = encoder.transform(log), encoder.transform_time(log)
    assert_array_equal(X.indptr, T.indptr)
    assert_array_equal(X.indices, T.indices)
    assert_array_equal(T.data, [9, 1, 3, 5])


# Unknown users and items


def test_unknown_ids():
    encoder = summing().fit(LOG)
    who = [(f"user{i % 7}", 10, 1.0, 0) for i in range(20)]
    with pytest.raises(ValueError) as caught:
        encoder.transform(who)
    message = str(caught.value)
    assert message.startswith("7 user(s)") and "'user0', 'user1'" in message
    assert "'user4', ..." in message and "user5" not in message
    assert "handle_unknown='ignore' to drop" in message and "transform_new_users" in message
    for call in (encoder.transform, encoder.transform_time, encoder.transform_new_users):
        with pytest.raises(ValueError, match=r"2 item\(s\) .*: 99, 98\. Either"):
            call([("ann", 99, 1.0, 0), ("ann", 10, 1.0, 0), ("bob", 98, 1.0, 0)])
    with pytest.raises(ValueError, match=r"1 user\(s\) .*: 'eve'\. .* to get -1"):
        encoder.encode_users(["ann", "eve"])
    with pytest.raises(ValueError, match=r"1 item\(s\) .*: '10'\."):
        encoder.encode_items(["10"])


def test_ignored_ids():
    encoder = summing(handle_unknown="ignore").fit(LOG)
    assert encoder.encode_users(["eve", "cat", "ann"]).tolist() == [-1, 2, 0]
    assert encoder.encode_items(np.array([10, 99, 5, 30])).tolist() == [0, -1, -1, 2]
    X = encoder.transform([("eve", 10, 1.0), ("ann", 30, 2.0), ("bob", 99, 3.0)])
    assert_array_equal(X.toarray(), [[0, 0, 2], [0, 0, 0], [0, 0, 0]])
    nothing = encoder.transform([("eve", 10, 1.0), ("bob", 99, 3.0)])
    assert nothing.shape == (3, 3) and nothing.nnz == 0 and nothing.indices.dtype == np.int32
    assert encoder.transform_time([("eve", 10, 1.0, 3)]).nnz == 0


OF_ANOTHER_TYPE = [  # ids of the fit, ids that are equal to the eye, names of both types
    ([1, 2, 3], ["3", "1"], "str", "int64"),
    (["1", "2", "3"], [3, 1], "int64", "str"),
    (["1", "2", "3"], np.array([3.0, 1.0]), "float64", "str"),
    (["1", "2", "3"], [b"3", b"1"], "bytes", "str"),
    (np.array([0.5, 1.5]), np.array(["0.5", "1.5"]), "str", "float64"),
    ([date(2020, 1, 1)], ["2020-01-01"], "str", "date"),
    ([np.datetime64("2020")], [2020], "int64", "datetime64"),
    ([1, (2, 3)], ["1", "(2, 3)"], "str", "int and tuple"),
]


def assert_names_types(message, ids_of, type_now, type_of_fit):
    assert ids_of in message
    assert f"they are {type_now}, but were {type_of_fit} in fit; convert them" in message


@pytest.mark.parametrize(("known", "others", "now", "before"), OF_ANOTHER_TYPE)
@pytest.mark.parametrize("position", [0, 1])
def test_ids_of_another_type_are_warned_of(known, others, now, before, position):
    def log(ids):
        rows = plain_rows([("x", "x")] * len(ids))
        rows[:, position] = list(ids)
        return rows

    encoder = summing(handle_unknown="ignore").fit(log(known))
    ids_of, encode = (
        ("user ids", encoder.encode_users),
        ("item ids", encoder.encode_items),
    )[position]
    calls = [lambda: encode(others), lambda: encoder.transform(log(others))]
    if position == 1:
        calls.append(lambda: encoder.transform_new_users(log(others)))
    for call in calls:
        with pytest.warns(UserWarning, match="None of the") as caught:
            call()
        assert [warning.filename for warning in caught] == [__file__]
        assert_names_types(str(caught[0].message), ids_of, now, before)
    encoder.set_params(handle_unknown="error")
    for call in calls:
        with pytest.raises(ValueError, match="not in the training log") as caught:
            call()
        assert_names_types(str(caught.value), ids_of[7:-1], now, before)


@pytest.mark.filterwarnings("error")
def test_unknown_ids_of_the_same_type_are_no_reason_to_warn():
    encoder = summing(handle_unknown="ignore").fit([(1, "x"), (2, "y")])
    for users in ([7], [7.5], np.array([7], "u1"), [np.int8(7)], [True, 9], [], [7, "1"]):
        assert (encoder.encode_users(users)[-1:] == -1).all()
    assert encoder.transform([(9, "z")]).nnz == 0
    mixed = summing(handle_unknown="ignore").fit([(1, "x"), ("2", "y")])
    assert mixed.encode_users(["1"]).tolist() == mixed.encode_users([2]).tolist() == [-1]


@pytest.mark.parametrize("kind", ["category", "Int64", "string", "float64"])
def test_types_of_pandas_that_match_or_do_not(kind):
    pandas = pytest.importorskip("pandas")
    encoder = summing(handle_unknown="ignore").fit([(1, "x"), (2, "y")])
    if kind != "string":
        assert encoder.encode_users(pandas.Series([2, 1]).astype(kind)).tolist() == [1, 0]
        return
    with pytest.warns(UserWarning, match="they are str, but were int64 in fit"):
        encoder.encode_users(pandas.Series(["2", "1"], dtype=kind))


def test_new_users():
    encoder = summing(handle_unknown="ignore").fit(LOG)
    log = [("zoe", 99, 1.0), ("eve", 30, 2.0), ("bob", 10, 3.0), ("eve", 10, 1.0)]
    for form in FORMS:
        X, users = encoder.transform_new_users(form(log))
        assert users.tolist() == ["zoe", "eve", "bob"]
        assert_array_equal(X.toarray(), [[0, 0, 0], [1, 0, 2], [3, 0, 0]])
    assert encoder.user_ids_.tolist() == ["ann", "bob", "cat"]
    X, users = encoder.transform_new_users(np.array([[8, 30, 1.0], [2, 10, 4.0], [8, 20, 2.0]]))
    assert users.dtype == np.float64 and users.tolist() == [8, 2]
    assert_array_equal(X.toarray(), [[0, 2, 1], [4, 0, 0]])


def test_no_ids_to_encode():
    encoder = summing().fit(LOG)
    for ids in ([], np.array([]), ()):
        assert encoder.encode_users(ids).shape == encoder.encode_items(ids).shape == (0,)


# Back to a log


def test_frames_come_back():
    pandas = pytest.importorskip("pandas")
    log = as_frame(LOG)
    encoder = summing()
    back = encoder.inverse_transform(encoder.fit_transform(log))
    assert isinstance(back, pandas.DataFrame) and list(back.columns) == ["who", "what", "stars"]
    assert back["who"].tolist() == ["ann", "bob", "bob", "cat"]
    assert back["what"].dtype == np.int64 and back["stars"].tolist() == [7, 1, 4, 0]
    assert encoder.column_names_ == ["who", "what", "stars", "seconds"]
    assert_array_equal(encoder.transform(back).toarray(), SUMS)
    encoder = summing()
    back = encoder.inverse_transform(encoder.fit_transform(log[["who", "what"]]))
    assert list(back.columns) == ["who", "what", "value"]


def test_names_of_columns_may_be_anything():
    encoder = summing()
    for names in (["id", "id", "id"], [0, 1, 2], ["a", 1, ("b", "c")]):
        log = as_frame([event[:3] for event in LOG], names)
        back = encoder.inverse_transform(encoder.fit_transform(log))
        assert list(back.columns) == names == encoder.column_names_


def test_matrices_of_all_kinds_come_back():
    encoder = summing()
    X = encoder.fit_transform(LOG)
    expected = [column.tolist() for column in encoder.inverse_transform(X)]
    for other in (X.tocsc(), X.tocoo(), sparse.csr_array(X)):
        assert [column.tolist() for column in encoder.inverse_transform(other)] == expected
    users, _, values = encoder.inverse_transform(X.toarray())
    assert users.tolist() == ["ann", "bob", "bob"] and values.tolist() == [7, 1, 4]
    parts = sparse.csr_matrix(([1.0, 2.0, 3.0], [2, 0, 2], [0, 3, 3, 3]), shape=(3, 3))
    users, items, values = encoder.inverse_transform(parts)
    assert items.tolist() == [10, 30] and values.tolist() == [2, 4]
    assert parts.indices.tolist() == [2, 0, 2]  # the caller's matrix is left alone
    values[:] = 0
    assert encoder.inverse_transform(sparse.csr_matrix((3, 3)))[0].shape == (0,)
    with pytest.raises(ValueError, match=r"shape \(3, 2\); expected \(3, 3\)"):
        encoder.inverse_transform(X[:, :2])


# An estimator


def test_an_estimator_of_scikit_learn():
    encoder = UserItemEncoder(duplicates="last", handle_unknown="ignore", dtype=np.float32)
    assert clone(encoder).get_params() == {
        **dict.fromkeys(("user", "item", "value", "time"), "auto"),
        "duplicates": "last",
        "handle_unknown": "ignore",
        "dtype": np.float32,
    }
    assert encoder.fit(LOG) is encoder
    assert not hasattr(clone(encoder), "user_ids_")
    assert "last" in repr(encoder)


@pytest.mark.parametrize("form", FORMS)
def test_pickle(form):
    encoder = summing().fit(form(LOG))
    encoder.encode_users(["ann"])
    encoder.encode_items([10.0])
    copy = pickle.loads(pickle.dumps(encoder))
    X = copy.transform(form(LOG))
    assert_array_equal(X.toarray(), SUMS)
    assert copy.encode_items([10.0, 30]).tolist() == [0, 2]
    assert_array_equal(copy.user_ids_, encoder.user_ids_)
    assert type(copy.inverse_transform(X)) is type(encoder.inverse_transform(X))


def test_a_failed_fit_changes_nothing():
    encoder = summing().fit(LOG)
    before = dict(vars(encoder))
    for bad in ([("ann", 5, np.nan)], [("ann", None, 1)], [("ann", [], 1)], [("ann",)]):
        for fit in (encoder.fit, encoder.fit_transform):
            with pytest.raises((ValueError, TypeError)):
                fit(plain_rows(bad))
    with pytest.raises(ValueError, match="too large"):
        encoder.fit_transform([("eve", 5, 1e308), ("eve", 5, 1e308)])
    assert vars(encoder) == before
    assert_array_equal(encoder.transform(LOG).toarray(), SUMS)


def test_a_second_fit_replaces_the_first():
    encoder = summing().fit(as_frame(LOG))
    encoder.encode_users(["ann"])
    X = encoder.fit_transform([(7, "tea"), (5, "tea")])
    assert encoder.user_ids_.tolist() == [5, 7] and encoder.item_ids_.tolist() == ["tea"]
    assert encoder.n_columns_ == 2 and encoder.column_names_ is None
    assert isinstance(encoder.inverse_transform(X), tuple)
    with pytest.raises(ValueError, match="'ann'"):
        encoder.encode_users(["ann"])


@pytest.mark.parametrize(
    ("method", "argument"),
    [
        ("transform", LOG),
        ("transform_time", LOG),
        ("transform_new_users", LOG),
        ("encode_users", ["ann"]),
        ("encode_items", [10]),
        ("inverse_transform", sparse.csr_matrix((1, 1))),
    ],
)
def test_not_fitted(method, argument):
    with pytest.raises(NotFittedError):
        getattr(summing(), method)(argument)


# Bad input


@pytest.mark.parametrize(
    ("name", "value"),
    [("duplicates", "max"), ("handle_unknown", None), ("dtype", np.int64), ("dtype", "float")],
)
def test_bad_parameters(name, value):
    encoder = UserItemEncoder(**{name: value})
    for fit in (encoder.fit, encoder.fit_transform):
        with pytest.raises(ValueError, match=name):
            fit(LOG)
    fitted = UserItemEncoder().fit(LOG[:3]).set_params(**{name: value})
    with pytest.raises(ValueError, match=name):
        fitted.transform(LOG)


@pytest.mark.parametrize(
    "log",
    [
        [(1,), (2,)],
        [(1, 2, 3, 4, 5)],
        [1, 2, 3],
        [(1, 2), (1, 2, 3)],
        np.zeros((2, 2, 2)),
        "ab",
        None,
        7,
        ["ab", "cd"],
    ],
)
def test_what_is_no_log(log):
    with pytest.raises(
        ValueError, match="2 to 4 columns: user, item and, optionally, value and time"
    ):
        summing().fit(log)
    with pytest.raises(ValueError, match="2 to 4 columns"):
        summing().fit(LOG).transform(log)


def test_sparse_and_empty_logs():
    with pytest.raises(ValueError, match="not a sparse matrix"):
        summing().fit(sparse.csr_matrix(np.ones((2, 2))))
    encoder = summing().fit(LOG)
    for empty in ([], np.empty((0, 3))):
        for method in (encoder.fit, encoder.transform, encoder.transform_new_users):
            with pytest.raises(ValueError, match="empty log"):
                method(empty)
    with pytest.raises(ValueError, match="empty log"):
        encoder.fit(as_frame(LOG)[:0])


@pytest.mark.parametrize("missing", [None, np.nan, float("nan"), np.datetime64("NaT")])
@pytest.mark.parametrize("others", [["a", "b"], [1, 2], [1.0, 2.0], [1, "b"]])
def test_missing_ids(missing, others):
    complete = [(others[0], 1), (others[1], 1)]
    fitted = summing(handle_unknown="ignore").fit(complete)
    for position, name in enumerate(["user", "item"]):
        log = plain_rows([(others[0], 1), (others[0], 1), (others[0], 1)])
        log[1:, position] = missing
        for method in (fitted.fit, fitted.fit_transform, fitted.transform):
            with pytest.raises(ValueError, match=rf"2 {name} ids are missing .* in row 1;"):
                method(log)
        with pytest.raises(ValueError, match=f"{name} ids are missing"):
            fitted.transform_new_users(log)
    with pytest.raises(ValueError, match=r"1 user ids are missing .* in row 2;"):
        fitted.encode_users([*others, missing])


def test_missing_ids_in_numbers():
    with pytest.raises(ValueError, match="1 item ids are missing"):
        summing().fit(np.array([[1, np.nan], [2, 3]]))
    with pytest.raises(ValueError, match="1 user ids are missing"):
        summing().fit(np.array([["NaT", "2020"], ["2021", "2020"]], dtype="M8[Y]"))


def test_ids_that_cannot_be_hashed():
    log = plain_rows([("ann", ["tea"]), ("bob", ["milk"])])
    for method in ("fit", "fit_transform"):
        with pytest.raises(TypeError, match=r"item ids must be hashable.*list"):
            getattr(summing(), method)(log)
    encoder = summing(handle_unknown="ignore").fit([("ann", 1)])
    for ids in ([["ann"], ["bob"]], [{"ann"}]):
        with pytest.raises(TypeError, match="user ids must be hashable"):
            encoder.encode_users(ids)


@pytest.mark.parametrize("ids", ["ann", b"ann", 7, None, np.array([["ann"]]), np.array("ann")])
def test_what_is_no_list_of_ids(ids):
    with pytest.raises(ValueError, match="one-dimensional array of user ids"):
        summing().fit(LOG).encode_users(ids)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "1 values are missing or infinite, the first in row 1"),
        (-np.inf, "1 values are missing or infinite, the first in row 1"),
        (None, "1 values are missing or infinite, the first in row 1"),
        ("5", r"Column 3 of the log, the values, must contain numbers \(got str\); convert it"),
        (b"5", "must contain numbers"),
        (1j, "must contain numbers"),
        ([1], "must contain numbers"),
        (10**400, "must contain numbers"),
        (np.timedelta64(1, "s"), "must contain numbers"),
        (np.datetime64("2020"), "if they are times, set time to this"),
        (datetime(2020, 1, 1), "if they are times, set time to this"),
    ],
)
def test_bad_values(value, message):
    log = plain_rows([("ann", 1, 1.0), ("bob", 2, value)])
    for method in (summing().fit, summing().fit([("ann", 1, 1)]).transform):
        with pytest.raises(ValueError, match=message):
            method(log)


def test_bad_values_in_arrays():
    with pytest.raises(ValueError, match="NumPy has converted all columns to strings"):
        summing().fit(np.array([("ann", "tea", 5), ("bob", "tea", 3)]))
    with pytest.raises(ValueError, match="values are missing or infinite"):
        summing().fit(np.array([[1, 2, np.inf]]))
    with pytest.raises(ValueError, match="must contain numbers"):
        summing().fit(np.array([[1, 2, 3j]]))


@pytest.mark.parametrize(
    ("time", "message"),
    [
        (np.nan, "1 times are missing or infinite, the first in row 1"),
        (np.inf, "1 times are missing or infinite"),
        (None, "1 times are missing"),
        ("2020-01-01", r"Column 4 .* the times, must contain numbers or datetimes \(got str\)"),
        (np.timedelta64(1, "s"), "numbers or datetimes"),
    ],
)
def test_bad_times(time, message):
    for other in (3, 3.5):
        with pytest.raises(ValueError, match=message):
            summing().fit([("ann", 1, 1.0, other), ("bob", 2, 1.0, time)])


def test_missing_datetimes():
    for missing in (None, np.datetime64("NaT")):
        log = [("ann", 1, 1.0, datetime(2020, 1, 1)), ("bob", 2, 1.0, missing)]
        with pytest.raises(ValueError, match="1 times are missing, the first in row 1"):
            summing().fit(log)
    days = np.array(["2020-01-01", "NaT"], dtype="M8[D]")
    log = as_objects([("ann", 1, 1.0, None), ("bob", 2, 1.0, None)])
    log[:, 3] = list(days)
    with pytest.raises(ValueError, match="1 times are missing, the first in row 1"):
        summing().fit(log)
    with pytest.raises(ValueError, match="1 times are missing, the first in row 1"):
        summing().fit(as_frame([(1, 2, 3)] * 2).assign(when=days))


def test_sums_that_are_too_large():
    log = [("ann", 1, 1e308), ("ann", 1, 1e308)]
    with pytest.raises(ValueError, match="too large for float64; scale the values"):
        summing().fit(log).transform(log)
    with pytest.raises(ValueError, match=r"too large for float32; .* set dtype=np\.float64"):
        summing(dtype=np.float32).fit_transform(log[:1])


def test_columns_are_as_in_the_fit():
    two, three = [event[:2] for event in LOG], [event[:3] for event in LOG]
    encoder = summing().fit(two)
    with pytest.raises(ValueError, match=r"has 3 columns, .* fitted on 2 \(user, item\)"):
        encoder.transform(three)
    encoder.fit(three)
    with pytest.raises(ValueError, match="both logs must have values, or neither"):
        encoder.transform_new_users(two)
    with pytest.raises(ValueError, match="transform_time requires a column of times"):
        encoder.transform_time(three)
    assert_array_equal(encoder.transform(LOG).toarray(), SUMS)  # times may be added
    assert_array_equal(encoder.transform_time(LOG).data, [9, 1, 3, 5])
    assert_array_equal(encoder.fit(LOG).transform(three).toarray(), SUMS)  # or left out


def test_names_are_as_in_the_fit():
    log = as_frame(LOG)
    encoder = summing().fit(log)
    assert_array_equal(encoder.transform(log[["what", "stars", "who"]]).toarray(), SUMS)
    for name in ("who", "what", "stars"):  # the error does not speak of parameters: none was set
        message = f"^X has no column '{name}', which the training log had"
        for other in (log.rename(columns={name: "other"}), log.drop(columns=name)):
            with pytest.raises(ValueError, match=message):
                encoder.transform(other)
    assert_array_equal(encoder.transform(log[["who", "what", "stars"]]).toarray(), SUMS)
    log.columns = range(4)
    assert_array_equal(encoder.transform(log).toarray(), SUMS)
    assert_array_equal(encoder.fit(log).transform(as_frame(LOG)).toarray(), SUMS)


@pytest.mark.parametrize("matrix", [["ab"], [["a"]], 1.0], ids=repr)
def test_inverse_transform_of_no_matrix(matrix):
    with pytest.raises((TypeError, ValueError)) as caught:
        UserItemEncoder().fit([("ann", "tea")]).inverse_transform(matrix)
    assert "scipy" not in str(caught.value)


@pytest.mark.parametrize("ids", [sparse.csr_matrix(np.eye(2)), sparse.csr_array(np.eye(2))])
def test_ids_in_a_sparse_matrix(ids):
    encoder = UserItemEncoder().fit([("ann", "tea")])
    with pytest.raises(ValueError, match="Expected a list or one-dimensional array of user ids"):
        encoder.encode_users(ids)
