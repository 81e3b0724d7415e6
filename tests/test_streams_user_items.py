"""Logs in files: the matrix and the ids are those of the same log in memory, bit for bit."""

import gzip
import warnings
from datetime import date, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from skfm import MFRecommender
from skfm._utils.growing_ids import GrowingIds
from skfm.io import load_model, save_model
from skfm.preprocessing import UserItemEncoder, _entry_table
from skfm.streams import read_user_item_matrix

pa = pytest.importorskip("pyarrow")
pd = pytest.importorskip("pandas")
csv = pytest.importorskip("pyarrow.csv")
dataset = pytest.importorskip("pyarrow.dataset")
parquet = pytest.importorskip("pyarrow.parquet")

BORDERS = [0, 70, 70, 75, 300]  # of the files


def make_log(n_events=300, seed=0):
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "page": pa.array(["a page"] * n_events),
            "user": pa.array([f"u{user}" for user in rng.integers(0, 40, n_events)]),
            "item": rng.integers(-5, 5, n_events),
            "rating": rng.normal(size=n_events),
            "time": rng.integers(0, 50, n_events),
        }
    )


LOG = make_log()


@pytest.fixture(autouse=True)
def combined_often(monkeypatch):
    monkeypatch.setattr(_entry_table, "LEAST", 20)


@pytest.fixture
def folder(tmp_path):
    write_files(LOG, tmp_path)
    return tmp_path


def write_files(table, folder):
    for number, (start, stop) in enumerate(pairwise(BORDERS)):
        part = table.slice(start, stop - start)
        parquet.write_table(part, folder / f"{number}.parquet", row_group_size=9)
        csv.write_csv(part, folder / f"{number}.csv")


def assert_same(found, expected):
    """Matrices and encoders of one log."""
    (X, encoder), (expected_X, expected_encoder) = found, expected
    assert X.dtype == expected_X.dtype and X.shape == expected_X.shape
    assert type(X) is type(expected_X) and X.has_canonical_format
    for name in ("indptr", "indices", "data"):
        array, expected_array = getattr(X, name), getattr(expected_X, name)
        assert array.dtype == expected_array.dtype
        assert array.tobytes() == expected_array.tobytes()
    for name in ("user_ids_", "item_ids_"):
        ids, expected_ids = getattr(encoder, name), getattr(expected_encoder, name)
        assert ids.dtype == expected_ids.dtype
        assert_array_equal(ids, expected_ids)
    for name in ("columns_", "n_columns_", "column_names_"):
        assert getattr(encoder, name) == getattr(expected_encoder, name)
    assert encoder._are_counts == expected_encoder._are_counts


def in_memory(encoder, table):
    encoder = clone(encoder)
    return encoder.fit_transform(table.to_pandas()), encoder


def read(source, encoder, chunk_rows=50):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_user_item_matrix(source, encoder, chunk_rows=chunk_rows)


SOURCES = {
    "pattern": lambda folder: str(folder / "*.parquet"),
    "csv": lambda folder: folder / "*.csv",
    "paths": lambda folder: [folder / f"{number}.parquet" for number in range(4)],
    "dataset": lambda folder: dataset.dataset(
        folder, exclude_invalid_files=True, format="parquet"
    ),
    "table": lambda folder: LOG,
    "frame": lambda folder: LOG.to_pandas(),
    "reader": lambda folder: LOG.to_reader(max_chunksize=30),
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("chunk_rows", [1, 7, 70, 300, 1000])
@pytest.mark.parametrize("duplicates", ["sum", "last", "mean"])
@pytest.mark.parametrize("columns", [("rating", "time"), ("rating", None), (None, "time")])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.pairwise
def test_result_is_that_in_memory(folder, source, chunk_rows, duplicates, columns, dtype):
    value, time = columns
    encoder = UserItemEncoder(value=value, time=time, duplicates=duplicates, dtype=dtype)
    expected = in_memory(encoder, LOG)
    assert_same(read(SOURCES[source](folder), encoder, chunk_rows), expected)
    with pytest.raises(NotFittedError):
        check_is_fitted(encoder)  # the one given is cloned


@pytest.mark.parametrize("is_reversed", [False, True])
def test_of_equal_times_the_last_event_counts(is_reversed):
    n_events = 200
    times = np.arange(n_events) // 50
    table = pa.table(
        {
            "user": np.arange(n_events) % 3,
            "item": np.arange(n_events) % 2,
            "value": np.arange(n_events, dtype=float),
            "time": times[::-1] if is_reversed else times,
        }
    )
    encoder = UserItemEncoder(duplicates="last")
    assert_same(read(table, encoder, 17), in_memory(encoder, table))


@pytest.mark.parametrize("values", ["ones", "nearly ones", "ratings", "no duplicates", "none"])
@pytest.mark.parametrize("chunk_rows", [11, 1000])
def test_duplicates_are_counted_or_dropped_as_in_memory(values, chunk_rows):
    table = LOG.drop_columns(["page"])
    if values == "none":
        table = table.drop_columns(["rating", "time"])
    elif "ones" in values:
        ones = np.ones(300)
        ones[250:] = 2 if values == "nearly ones" else 1
        table = table.set_column(2, "rating", pa.array(ones))
    elif values == "no duplicates":
        table = table.set_column(0, "user", pa.array(np.arange(300)))
    encoder = UserItemEncoder()
    with warnings.catch_warnings(record=True) as expected_warnings:
        warnings.simplefilter("always")
        expected = in_memory(encoder, table)
    with warnings.catch_warnings(record=True) as found_warnings:
        warnings.simplefilter("always")
        found = read_user_item_matrix(table, encoder, chunk_rows=chunk_rows)
    assert_same(found, expected)
    assert [str(w.message) for w in found_warnings] == [str(w.message) for w in expected_warnings]
    assert len(found_warnings) == (values in ("nearly ones", "ratings"))
    assert all(warning.filename == __file__ for warning in found_warnings)


def test_float32_is_the_default():
    X, encoder = read_user_item_matrix(LOG.select(["user", "item"]))
    assert X.dtype == np.float32 and X.sum() == 300
    assert encoder.dtype == np.float32


# Ids

DAYS = [date(2020, 1, 1) + timedelta(days) for days in (5, 3, 9, 3, 5)]
IDS = {
    "strings": pa.array(["b", "ä", "a\0", "", "b"]),
    "large strings": pa.array(["b", "ä", "", "a", "b"], pa.large_string()),
    "categories": pa.DictionaryArray.from_arrays([2, 0, 2, 1, 0], ["x", "c", "b", "unused"]),
    "small integers": pa.array([3, -1, 3, 0, 127], pa.int8()),
    "large integers": pa.array([2**63 + 1, 0, 2**63, 2**64 - 1, 0], pa.uint64()),
    "floats": pa.array([0.5, 0.0, -np.inf, 3.0, 0.5], pa.float32()),
    "booleans": pa.array([True, False, True, True, False]),
    "bytes": pa.array([b"b", b"a", b"\xff", b"", b"a"]),
    "times": pa.array([datetime(day.year, day.month, day.day) for day in DAYS]),
    "dates": pa.array(DAYS),
}


@pytest.mark.parametrize("kind", IDS)
@pytest.mark.parametrize("chunk_rows", [2, 5])
def test_types_of_ids(tmp_path, kind, chunk_rows):
    table = pa.table({"user": IDS[kind], "item": IDS[kind][::-1]})
    expected = in_memory(UserItemEncoder(), table)
    for source in (table, tmp_path / "log.parquet"):
        if source is not table:
            parquet.write_table(table, source)
        X, encoder = read(source, UserItemEncoder(), chunk_rows)
        assert_array_equal(X.toarray(), expected[0].toarray())
        assert_array_equal(encoder.user_ids_, expected[1].user_ids_)
        assert encoder.user_ids_.dtype.kind == expected[1].user_ids_.dtype.kind
        assert_array_equal(encoder.encode_users(expected[1].user_ids_), np.arange(X.shape[0]))


def test_equal_floats_are_one_id():
    table = pa.table({"user": [0.0, -0.0, 0.0, -0.0], "item": [1, 1, 1, 1]})
    X, encoder = read(table, UserItemEncoder(), 3)
    assert X.toarray().tolist() == [[4.0]] and encoder.user_ids_.tolist() == [0.0]


def test_time_zones_and_other_types(tmp_path):
    times = pa.array([3, 1, 2], pa.timestamp("ms", "Europe/Berlin"))
    values = pa.array([1, 2, 3], pa.int8()).dictionary_encode()
    table = pa.table({"user": [1, 1, 1], "item": [1, 1, 1], "value": values, "time": times})
    X, _ = read(table, UserItemEncoder(duplicates="last"), 2)
    assert X.toarray().tolist() == [[1.0]]
    table = table.set_column(2, "value", pa.array([True, False, True]))
    assert read(table, UserItemEncoder(duplicates="sum"))[0].toarray().tolist() == [[2.0]]


@pytest.mark.parametrize("kind", [str, int])
def test_growing_ids(kind):
    rng, ids, codes = np.random.default_rng(0), GrowingIds(), {}
    for _ in range(20):
        distinct = rng.permutation(100)[: rng.integers(0, 30)]
        distinct = distinct.astype(str).astype(object) if kind is str else distinct
        for value, code in zip(distinct.tolist(), ids.learn(distinct).tolist(), strict=True):
            assert codes.setdefault(value, code) == code
    assert sorted(codes.values()) == list(range(len(codes)))
    known, places = ids.finish()
    assert known.ids.tolist() == sorted(codes)
    assert all(known.ids[places[code]] == value for value, code in codes.items())


# Fitted encoders and models


def test_a_fitted_encoder_is_used_as_it_is(folder):
    table = LOG.drop_columns(["page"])
    encoder = UserItemEncoder(duplicates="mean").fit(table.to_pandas())
    assert_same(
        read(folder / "*.parquet", encoder, 60), (encoder.transform(table.to_pandas()), encoder)
    )
    X, same = read(table.slice(0, 3), encoder)
    assert same is encoder
    assert (X != encoder.transform(table.slice(0, 3).to_pandas())).nnz == 0


@pytest.mark.parametrize("are_counts", [True, False])
def test_a_fitted_encoder_counts_if_its_log_had_counts(are_counts):
    values = np.ones(300) if are_counts else np.arange(300.0)
    first = LOG.drop_columns(["page"]).set_column(2, "rating", pa.array(values))
    encoder = UserItemEncoder()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        encoder.fit(first.to_pandas())
        expected = encoder.transform(LOG.drop_columns(["page"]).to_pandas())
        X, _ = read_user_item_matrix(LOG.drop_columns(["page"]), encoder, chunk_rows=40)
    assert_same((X, encoder), (expected, encoder))


def test_unknown_ids(folder):
    known = LOG.slice(0, 20).drop_columns(["page"])
    encoder = UserItemEncoder(duplicates="sum").fit(known.to_pandas())
    with pytest.raises(ValueError, match=r"not in the training log: .*0\.parquet, row 0"):
        read(folder / "*.parquet", encoder)
    encoder.set_params(handle_unknown="ignore")
    expected = encoder.transform(LOG.drop_columns(["page"]).to_pandas())
    assert_same((read(folder / "*.parquet", encoder)[0], encoder), (expected, encoder))
    others = pa.table({"user": ["x"], "item": [99], "rating": [1.0]})
    assert read(others, encoder)[0].nnz == 0


def test_the_encoder_is_complete(folder, tmp_path):
    X, encoder = read(folder / "*.csv", UserItemEncoder(duplicates="sum", value="rating"))
    model = MFRecommender(2, random_state=0).fit(X)
    ids = {"user_ids": encoder.user_ids_, "item_ids": encoder.item_ids_}
    best = model.recommend(X, n_items=1, output="pandas", **ids)
    assert set(best["user"]) <= set(LOG["user"].to_pylist())
    frame = LOG.to_pandas()
    assert_same((encoder.transform(frame), encoder), (X, encoder))
    save_model(encoder, tmp_path / "encoder.npz")
    assert_same((load_model(tmp_path / "encoder.npz").transform(frame), encoder), (X, encoder))
    users, items, values = encoder.inverse_transform(X)
    assert len(users) == len(items) == len(values) == X.nnz


# Faults


def changed(column, row, value, kind=None):
    values = LOG[column].to_pylist()
    values[row] = value
    place = LOG.column_names.index(column)
    return LOG.set_column(place, column, pa.array(values, kind or LOG.schema.field(column).type))


@pytest.mark.parametrize("chunk_rows", [6, 1000])
@pytest.mark.parametrize(
    ("column", "value", "what"),
    [
        ("user", None, "user ids are missing"),
        ("item", None, "item ids are missing"),
        ("rating", None, "values are missing"),
        ("rating", np.nan, "values are missing or infinite"),
        ("rating", np.inf, "values are missing or infinite"),
        ("time", None, "times are missing"),
    ],
)
def test_missing_values_are_named_with_file_and_row(tmp_path, chunk_rows, column, value, what):
    write_files(changed(column, 73, value), tmp_path)
    encoder = UserItemEncoder(value="rating", duplicates="sum")
    with pytest.raises(ValueError, match=rf"^1 {what}.*2\.parquet, row 3; drop these rows"):
        read(tmp_path / "*.parquet", encoder, chunk_rows)


def test_missing_floats_as_ids():
    table = pa.table({"user": [1.5, np.nan, 2.5], "item": [1, 2, 3]})
    with pytest.raises(ValueError, match=r"1 user ids are missing.*the table, row 1"):
        read(table, UserItemEncoder())


def test_empty_cells_in_text_are_missing(tmp_path):
    write_files(changed("user", 73, ""), tmp_path)
    encoder = UserItemEncoder(value=None)
    with pytest.raises(ValueError, match=r"1 user ids are missing.*2\.csv, row 3"):
        read(tmp_path / "*.csv", encoder)
    assert "" in read(tmp_path / "*.parquet", encoder)[1].user_ids_


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (UserItemEncoder(user="who"), "no column of X has this name: 'page', 'user'"),
        (UserItemEncoder(user=9, value=None), "X has 5 feature.*user is the position 9"),
        (
            UserItemEncoder(value="page"),
            "must contain numbers .got string.; convert it, or",
        ),
        (UserItemEncoder(value="rating", time="page"), "numbers or datetimes .got string"),
        (UserItemEncoder(duplicates="most"), "duplicates"),
    ],
)
def test_wrong_columns(folder, encoder, message):
    with pytest.raises(ValueError, match=message):
        read(folder / "*.parquet", encoder)


def test_other_columns_are_not_overlooked():
    with pytest.raises(ValueError, match=r"further columns, which may contain values.*'page'"):
        read(LOG.drop_columns(["rating"]), UserItemEncoder())


@pytest.mark.parametrize("chunk_rows", [20, 1000])
def test_values_that_look_like_times(chunk_rows):
    seconds = np.arange(300) + 10**9
    table = pa.table({"who": LOG["user"], "what": LOG["item"], "x": seconds})
    with pytest.raises(ValueError, match=r"from 1000000000 to 1000000299\. Set time='x'"):
        read(table, UserItemEncoder(duplicates="sum"), chunk_rows)
    mixed = table.set_column(2, "x", pa.array(np.where(seconds == 10**9 + 200, 5, seconds)))
    encoder = UserItemEncoder(duplicates="sum")
    assert_same(read(mixed, encoder, chunk_rows), in_memory(encoder, mixed))


def test_nested_ids():
    table = pa.table({"user": [[1], [2]], "item": [1, 2]})
    with pytest.raises(TypeError, match=r"'user'.*must contain strings, numbers or dates"):
        read(table, UserItemEncoder())


def test_damaged_files(folder):
    whole = (folder / "3.parquet").read_bytes()
    for content, message in (
        (b"", "3.parquet cannot be read: it is empty, truncated"),
        (whole[:-50], "3.parquet cannot be read: it is empty, truncated"),
    ):
        (folder / "3.parquet").write_bytes(content)
        with pytest.raises(ValueError, match=message):
            read(folder / "*.parquet", UserItemEncoder(value=None))


def test_damage_in_the_middle_of_a_file(tmp_path):
    path = tmp_path / "log.csv.gz"
    path.write_bytes(gzip.compress(b"user,item\n" + bytes(str(make_log()), "ascii"))[:60])
    with pytest.raises(
        ValueError, match=r"log\.csv\.gz cannot be decompressed .*: it is truncated"
    ):
        read(path, UserItemEncoder())
    path = tmp_path / "log.parquet"
    parquet.write_table(LOG, path, compression="gzip")
    content = bytearray(path.read_bytes())
    content[4:400] = bytes(396)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"log\.parquet cannot be read: it is empty, truncated"):
        read(path, UserItemEncoder(value="rating", time="page"))


def test_two_columns_of_one_name():
    table = pa.Table.from_arrays([LOG["user"], LOG["user"]], ["user", "user"])
    with pytest.raises(ValueError, match="Several columns of the log have the name 'user'"):
        read(table, UserItemEncoder(user=0, item=1))


def test_only_the_needed_columns_are_read(folder):
    other = pa.array([[1]] * 10)  # of another type, in a column that is not needed
    parquet.write_table(LOG.slice(0, 10).set_column(0, "page", other), folder / "4.parquet")
    assert read(folder / "*.parquet", UserItemEncoder(value=None))[0].sum() == 310


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("user", pa.array(np.arange(10)), "'user' of .*4.parquet has the type int64, but that of"),
        ("other", pa.array(np.arange(10)), "4.parquet has no column 'user'"),
    ],
)
def test_files_of_another_schema(folder, column, values, message):
    other = LOG.slice(0, 10).drop_columns(["user"]).append_column(column, values)
    parquet.write_table(other, folder / "4.parquet")
    with pytest.raises(ValueError, match=message):
        read(folder / "*.parquet", UserItemEncoder(value=None))


def test_integers_of_another_size_are_the_same_ids(folder):
    small = changed("item", 0, 3, pa.int8())
    parquet.write_table(small, folder / "4.parquet")
    X, encoder = read(folder / "*.parquet", UserItemEncoder(value=None))
    assert X.sum() == 600 and encoder.item_ids_.dtype == np.int64


def test_logs_without_rows(tmp_path):
    parquet.write_table(LOG.slice(0, 0), tmp_path / "0.parquet")
    for source in (tmp_path / "0.parquet", LOG.slice(0, 0)):
        with pytest.raises(ValueError, match="X is an empty log"):
            read(source, UserItemEncoder(value="rating"))


def test_wrong_arguments():
    for encoder in ("sum", UserItemEncoder, MFRecommender()):
        with pytest.raises(TypeError, match="encoder must be a UserItemEncoder or None"):
            read(LOG, encoder)
    with pytest.raises(ValueError, match="chunk_rows"):
        read(LOG, None, 0)
    with pytest.raises(TypeError, match="A function cannot be the source of a log"):
        read(lambda: iter([]), None)
    with pytest.raises(TypeError, match="source must be a path"):
        read(3, None)
    with pytest.raises(FileNotFoundError):
        read("nowhere.parquet", None)


def test_sums_that_are_too_large():
    table = pa.table({"user": [1] * 10, "item": [1] * 10, "value": [1e38] * 10})
    encoder = UserItemEncoder(duplicates="sum", dtype=np.float32)
    with pytest.raises(ValueError, match="too large for float32; scale the values"):
        read(table, encoder, 2)
