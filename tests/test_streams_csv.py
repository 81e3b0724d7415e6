"""CSV and Parquet files: types that fit all files, and errors that name file, row and column."""

import bz2
import gzip
import lzma

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from skfm.preprocessing import TableEncoder
from skfm.streams import Rows, _csv, predict_stream
from skfm.streams._sources import open_source

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

PACKERS = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


@pytest.fixture
def write(tmp_path):
    """Writes texts as CSV files and dicts as Parquet files; returns their paths."""

    def write(*contents, suffix=""):
        paths = []
        for number, content in enumerate(contents):
            is_table = isinstance(content, dict)
            path = tmp_path / f"{number}{'.parquet' if is_table else '.csv' + suffix}"
            if is_table:
                parquet.write_table(pa.table(content), path)
            else:
                content = content if isinstance(content, bytes) else content.encode()
                path.write_bytes(PACKERS[suffix](content))
            paths.append(path)
        return paths

    return write


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(_csv, "BLOCK_BYTES", 100)


def read(paths, **options):
    """The types and the values of all rows."""
    chunks = list(open_source(paths, **options).chunks(7))
    table = pa.concat_tables([chunk.X for chunk in chunks])
    pairs = zip(table.column_names, table.schema.types, strict=True)
    return {name: str(kind) for name, kind in pairs}, table


@pytest.mark.parametrize("suffix", PACKERS)
def test_compressed_files(write, suffix):
    text = "a,y\n" + "".join(f"{row},{row % 2}\n" for row in range(5000))
    _, table = read(write(text, text, suffix=suffix))
    assert_array_equal(table["a"], np.tile(np.arange(5000), 2))


# Types

WIDER = {
    "numbers": (["1", "2.5"], "double", [1.0, 2.5]),
    "ids": (["007", "A12"], "string", ["007", "A12"]),
    "empty": (["", "x"], "string", [None, "x"]),
    "empty numbers": (["", "2"], "int64", [None, 2]),
    "booleans and strings": (["true", "maybe"], "string", ["true", "maybe"]),
    "booleans and numbers": (["true", "2"], "string", ["true", "2"]),
}


@pytest.mark.parametrize("which", WIDER)
@pytest.mark.parametrize("order", [1, -1])
def test_types_fit_the_first_lines_of_all_files(write, which, order):
    values, kind, expected = WIDER[which]
    types, table = read(write(*[f"a,y\n{value},1\n" for value in values[::order]]))
    assert types == {"a": kind, "y": "int64"}
    assert table["a"].to_pylist() == expected[::order]


@pytest.mark.parametrize("order", [1, -1])
def test_dates_and_times(write, order):
    texts = ["a\n2020-01-01\n", "a\n2020-01-02 10:00:00\n"]
    types, table = read(write(*texts[::order]))
    assert types == {"a": "timestamp[s]"}
    assert [value.day for value in table["a"].to_pylist()] == [1, 2][::order]


@pytest.mark.parametrize(
    "columns, kind",
    [
        (([1, 2], [0.5, 2.5]), "double"),
        (([None, None], ["x", "y"]), "string"),
        ((pa.array([1, 2], pa.int8()), [2**40, 3]), "int64"),
        ((pa.array(["x", "y"]), pa.array(["x", "z"], pa.large_string())), "large_string"),
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_types_fit_all_parquet_files(write, columns, kind, order):
    paths = write(*({"a": column, "y": [0, 1]} for column in columns[::order]))
    types, table = read(paths)
    assert types == {"a": kind, "y": "int64"}
    assert table["a"].to_pylist() == [
        value for column in columns[::order] for value in pa.array(column).to_pylist()
    ]


def test_integers_that_are_no_floats(write):
    paths = write({"a": [2**53 + 1]}, {"a": [0.5]})
    with pytest.raises(ValueError, match=r"Column 'a' of .*0.parquet has the type int64, which"):
        read(paths)


LATER = {
    "float": ("7", "2.5", "int64", r"CSV|conversion error to int64: invalid value '2.5'"),
    "string": ("7", "x", "int64", "conversion error to int64: invalid value 'x'"),
    "empty": ("", "x", "null", "conversion error to null: invalid value 'x'"),
    "date": ("2020-01-01", "soon", "date32", r"conversion error to date32\[day\]: .*'soon'"),
}


@pytest.mark.parametrize("kind", LATER)
@pytest.mark.parametrize("chunk_rows", [3, 1000])
@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.pairwise
def test_later_values_of_another_type(write, small_blocks, kind, chunk_rows, suffix):
    usual, bad, _, message = LATER[kind]
    good = "id,a,y\n" + f"1,{usual},0\n1,{usual},1\n" * 30
    text = good + f"1,{bad},1\n" + f"1,{usual},0\n" * 30
    paths = write(good, text, suffix=suffix)
    rows = Rows(paths, target="y", chunk_rows=chunk_rows)
    with pytest.raises(ValueError, match=message) as error:
        rows.encoded()
    assert f"1.csv{suffix} cannot be read: in row 60, column 'a': " in str(error.value)
    assert "column_types={'a': 'string'}" in str(error.value)
    rows = Rows(paths, target="y", column_types={"a": "string"}, encoder=TableEncoder())
    assert rows.encoded().n_rows == 151


def test_types_that_are_given(write):
    paths = write("a,b,y\n007,1,1\n008,2,0\n")
    types, table = read(paths, column_types={"a": "string", "b": pa.float32()})
    assert types == {"a": "string", "b": "float", "y": "int64"}
    assert table["a"].to_pylist() == ["007", "008"]
    types, table = read(write({"a": [1, 2]}, {"a": [3, 4]}), column_types={"a": "string"})
    assert types == {"a": "string"}
    assert table["a"].to_pylist() == ["1", "2", "3", "4"]
    with pytest.raises(ValueError, match=r"0.csv cannot be read: in row 0, column 'a': .*'x'"):
        read(write("a\nx\n"), column_types={"a": "int64"})


@pytest.mark.parametrize(
    "types, error, message",
    [
        ({"a": "text"}, ValueError, r"column_types\['a'\] must be a DataType of pyarrow .*'text'"),
        ({"a": 3}, ValueError, r"column_types\['a'\] must be a DataType of pyarrow .* got 3"),
        ({"aa": "string"}, ValueError, "column_types names 'aa', which is no .* mean 'a'"),
        (["a"], TypeError, "column_types must be a dict"),
    ],
)
def test_invalid_types(write, types, error, message):
    with pytest.raises(error, match=message):
        Rows(write("a,y\n1,2\n"), target="y", column_types=types).encoded()


def test_types_are_for_files_of_tables():
    for source in (pa.table({"a": [1]}), lambda: iter([])):
        with pytest.raises(ValueError, match="column_types are for Parquet and CSV files"):
            Rows(source, column_types={"a": "string"})


def test_a_cache_of_other_types_is_refused(write, tmp_path):
    paths = write("a,y\n007,1\n7,0\n")
    cache = tmp_path / "cache"
    Rows(paths, target="y", cache=cache, column_types={"a": "string"}).encoded()
    with pytest.raises(ValueError, match="column_types="):
        Rows(paths, target="y", cache=cache).encoded()


@pytest.mark.parametrize("wrap", [lambda encoder: encoder, make_pipeline])
def test_columns_that_were_strings_in_training_stay_strings(write, wrap):
    """By chance, all of the new values are numbers."""
    train, test = write("a,y\nA12,1\n007,0\n", "a,y\n007,1\n7,0\n")
    rows = Rows(train, target="y")
    encoder = wrap(rows.encoder_)
    found = Rows(test, target="y", encoder=encoder).encoded().read_all()[0]
    names = rows.encoder_.get_feature_names_out().tolist()
    assert found.toarray()[0].tolist() == [float(name.endswith("007")) for name in names]
    model = make_pipeline(TableEncoder(), LogisticRegression())
    model.fit(pa.table({"a": ["A12", "007"]}), [1, 0])
    (found,) = predict_stream(model, test)
    assert_array_equal(found, model.predict_proba(pa.table({"a": ["007", "7"]})))


def test_missing_values(write):
    _, table = read(write('a,b\n,x\n1,\nNA,NA\n2,""\n'))
    assert table["a"].to_pylist() == [None, 1, None, 2]
    assert table["b"].to_pylist() == ["x", None, None, None]


def test_strings_where_numbers_were_in_training(write):
    encoder = TableEncoder().fit(pa.table({"a": [1, 2, 3]}))
    with pytest.raises(ValueError, match=r"1.csv cannot .* in row 1, column 'a': .*value 'two'"):
        Rows(write("a,y\n1,0\n", "a,y\n1,0\ntwo,1\n"), target="y", encoder=encoder).encoded()


# UTF-8


@pytest.mark.parametrize("later", [False, True])
def test_text_that_is_not_utf8(write, small_blocks, later):
    good = "a,y\n" + "caf\u00e9,1\nbar,0\n" * 30
    bad = ("a,y\n" + "bar,1\n" * (30 if later else 2)).encode() + "caf\u00e9,0\n".encode("latin1")
    paths = write(good, bad + b"bar,1\n")
    with pytest.raises(ValueError, match=r"UTF8 data\. Convert the file .* iconv") as error:
        Rows(paths, target="y").encoded()
    row = 30 if later else 2
    assert f"1.csv cannot be read: in row {row}, column 'a': " in str(error.value)


def test_columns_that_are_not_needed_may_be_anything(write):
    paths = write(b"a,b,y\n1,\xe9,1\n2,x,0\n", "a,b,y\n1,2,1\n")
    encoder = TableEncoder().fit(pa.table({"a": [1, 2]}))
    assert Rows(paths, target="y", encoder=encoder).encoded().n_rows == 3


def test_names_of_columns_that_are_not_utf8(write):
    with pytest.raises(ValueError, match=r"0.csv cannot be read: its first line, .*Convert the"):
        Rows(write(b"a,\xe9\n1,2\n")).encoded()


# Files that are damaged or do not fit together


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "0.csv cannot be read: it is empty"),
        ("a,y\n1,2\n" * 1 + "3\n", r"0.csv cannot be read: in row 1: Expected 2 columns, got 1"),
        ("a,y\n1,2\n1,2,3\n", r"0.csv cannot be read: in row 1: Expected 2 columns, got 3"),
        ("a,a\n1,2\n", r"0.csv has two columns 'a'"),
        ("a,y\n" + "x" * 300 + ",1\n", "a row is longer than 100 bytes"),
    ],
)
def test_files_that_are_no_tables(write, small_blocks, text, message):
    with pytest.raises(ValueError, match=message):
        Rows(write(text)).encoded()


@pytest.mark.parametrize("at_start", [True, False])
@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz"])
def test_truncated_csv_files(write, suffix, at_start):
    rng = np.random.default_rng(0)  # what cannot be compressed
    text = "a,y\n" + "".join(f"{value},1\n" for value in rng.integers(0, 2**60, 10_000))
    good, path = write("a,y\n1,2\n", text, suffix=suffix)
    content = path.read_bytes()
    path.write_bytes(content[: 10 if at_start else -100])
    with pytest.raises(ValueError, match=rf"1.csv{suffix} cannot be decompressed .*truncated"):
        Rows([good, path], target="y").encoded()


@pytest.mark.parametrize("damage", ["truncated", "changed"])
def test_damaged_parquet_files(write, damage):
    values = np.random.default_rng(0).random(100_000)
    good, path = write({"a": values, "y": values}, {"a": values[::-1], "y": values})
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        del content[-1000:]
    else:
        content[4:3000] = bytes(2996)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"1.parquet cannot be read: it is empty, truncated"):
        Rows([good, path], target="y").encoded()


def test_another_schema_in_a_later_csv_file(write):
    first, *others = write("a,y\n1,2\n", "y,a\n3,4\n", "a,b,y\n1,2,3\n", "a\n1\n")
    _, table = read([first, others[0]])
    assert table.to_pydict() == {"a": [1, 4], "y": [2, 3]}
    with pytest.raises(ValueError, match=r"2.csv has a column 'b', which .*0.csv does not have"):
        Rows([first, others[1]], target="y").encoded()
    with pytest.raises(ValueError, match=r"3.csv has no column 'y', but .*0.csv has it"):
        Rows([first, others[2]], target="y").encoded()
    encoder = TableEncoder().fit(pa.table({"a": [1, 2]}))
    assert Rows([first, others[1]], target="y", encoder=encoder).encoded().n_rows == 2
    with pytest.raises(ValueError, match=r"3.csv has no column 'y'"):
        Rows([first, others[2]], target="y", encoder=encoder).encoded()


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("where", ["y", "w", "x"])
def test_a_missing_number_in_chunk_17(write, tmp_path, kind, where):
    """It is named with its file and row, and what was there before stays."""
    columns = {name: np.arange(100.0) for name in ("x", "y", "w")}
    bad = {**columns, where: columns[where].copy()}
    bad[where][75] = np.nan
    tables = columns, bad
    if kind == "csv":
        lines = [zip(*(table[name] for name in table), strict=True) for table in tables]
        texts = ["\n".join(",".join(map(str, line)) for line in table) for table in lines]
        tables = ["x,y,w\n" + text.replace("nan", "") + "\n" for text in texts]
    good, path = write(*tables)
    options = {"target": "y", "sample_weight": "w", "encoder": "passthrough", "chunk_rows": 10}
    rows = Rows([good, path], cache=tmp_path / "cache", **options)
    with pytest.raises(ValueError, match=rf"(missing|NaN).*1.{kind}, row 75\b"):
        rows.encoded()
    assert list((tmp_path / "cache").iterdir()) == []
    assert Rows([good], cache=tmp_path / "cache", **options).encoded().n_rows == 99
