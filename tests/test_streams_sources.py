"""Sources: chunks of given numbers of rows, and where each row comes from."""

import sys
from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import sparse

from skfm.streams._functions import _part
from skfm.streams._sources import open_source

pa = pytest.importorskip("pyarrow")
csv = pytest.importorskip("pyarrow.csv")
dataset = pytest.importorskip("pyarrow.dataset")
parquet = pytest.importorskip("pyarrow.parquet")

TABLE = pa.table({"row": np.arange(100), "name": [f"n{i}" for i in range(100)]})
BORDERS = [0, 30, 30, 37, 100]  # of the files


@pytest.fixture
def folder(tmp_path):
    for number, (start, stop) in enumerate(pairwise(BORDERS)):
        part = TABLE.slice(start, stop - start)
        parquet.write_table(part, tmp_path / f"{number}.parquet", row_group_size=9)
        csv.write_csv(part, tmp_path / f"{number}.csv")
    return tmp_path


SOURCES = {
    "pattern": lambda folder: str(folder / "*.parquet"),
    "csv": lambda folder: folder / "*.csv",
    "paths": lambda folder: [folder / f"{number}.parquet" for number in range(4)],
    "dataset": lambda folder: dataset.dataset(
        folder, exclude_invalid_files=True, format="parquet"
    ),
    "table": lambda folder: TABLE,
    "frame": lambda folder: pytest.importorskip("pandas") and TABLE.to_pandas(),
    "polars": lambda folder: pytest.importorskip("polars").from_arrow(TABLE),
    "lazy": lambda folder: pytest.importorskip("polars").scan_parquet(folder / "*.parquet"),
    "duckdb": lambda folder: pytest.importorskip("duckdb").sql(
        f"select * from read_parquet('{folder}/*.parquet')"
    ),
}


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("n_rows", [1, 7, 30, 100, 1000])
@pytest.mark.parametrize("columns", [None, ["name", "row"], ["row"]])
@pytest.mark.pairwise
def test_chunks_cross_the_borders_of_files(folder, kind, n_rows, columns):
    source = open_source(SOURCES[kind](folder), columns=columns)
    for _ in range(2):
        chunks = list(source.chunks(n_rows))
        assert {chunk.X.num_rows for chunk in chunks[:-1]} <= {n_rows}
        assert_array_equal(np.concatenate([chunk.X["row"] for chunk in chunks]), np.arange(100))
        assert chunks[0].X.column_names == (columns or TABLE.column_names)
    if kind not in ("pattern", "csv", "paths", "dataset"):
        assert chunks[-1].origin.of_row(0).endswith(f"row {n_rows * (len(chunks) - 1)}")
        return
    places = [chunk.origin.of_row(i) for chunk in chunks for i in range(chunk.X.num_rows)]
    for row in (0, 29, 30, 36, 37, 99):
        file = np.searchsorted(BORDERS, row, side="right") - 1
        name = f"{file}.{'csv' if kind == 'csv' else 'parquet'}, row {row - BORDERS[file]}"
        assert places[row] == str(folder / name)


def test_the_index_of_a_dataframe_is_not_a_column():
    pytest.importorskip("pandas")
    frame = TABLE.to_pandas()
    chunk = next(open_source(frame[frame["row"] % 2 == 1]).chunks(1000))
    assert chunk.X.column_names == ["row", "name"]
    assert_array_equal(chunk.X["row"], np.arange(1, 100, 2))


def test_fingerprints_of_files(folder):
    before = open_source(folder / "*.parquet").fingerprint()
    assert open_source(str(folder / "*.parquet")).fingerprint() == before
    (folder / "3.parquet").unlink()
    assert open_source(folder / "*.parquet").fingerprint() != before


def test_streams_are_read_once():
    source = open_source(TABLE.to_reader())
    assert sum(chunk.X.num_rows for chunk in source.chunks(10)) == 100
    with pytest.raises(ValueError, match=r"read only once.*Pass a table"):
        next(source.chunks(10))


class Streams:
    """An object with an Arrow C stream for each pass, or fewer."""

    def __init__(self, *tables):
        self.tables = list(tables)

    def __arrow_c_stream__(self, requested_schema=None):
        if not self.tables:
            raise RuntimeError("released")
        return self.tables.pop(0).__arrow_c_stream__(requested_schema)


@pytest.mark.skipif(not hasattr(pa.RecordBatchReader, "from_stream"), reason="an older pyarrow")
@pytest.mark.parametrize(
    "tables, message",
    [
        ([TABLE], r"A Streams can be read only once, .*\(released\)\. Pass a table"),
        (
            [TABLE, TABLE[:0]],
            r"a Streams, returned 100 rows the first time, and now 0\..*only once",
        ),
    ],
)
def test_streams_that_other_objects_give_once(tables, message):
    source = open_source(Streams(*tables))
    assert sum(chunk.X.num_rows for chunk in source.chunks(10)) == 100
    with pytest.raises(ValueError, match=message):
        list(source.chunks(10))
    source = open_source(Streams(TABLE, TABLE))
    for _ in range(2):
        assert sum(chunk.X.num_rows for chunk in source.chunks(10)) == 100


def test_streams_are_read_batch_by_batch():
    """A query whose result does not fit into memory is never a table as a whole."""
    taken = []

    def batches():
        for batch in TABLE.to_batches(max_chunksize=10):
            taken.append(batch.num_rows)
            yield batch

    class Query:
        def __arrow_c_stream__(self, requested_schema=None):
            reader = pa.RecordBatchReader.from_batches(TABLE.schema, batches())
            return reader.__arrow_c_stream__(requested_schema)

    next(open_source(Query()).chunks(10))
    assert len(taken) <= 2


def test_a_relation_of_duckdb_left_early():
    """Its connection has one result at a time: a pass that is left must free it."""
    duckdb = pytest.importorskip("duckdb")
    from skfm.preprocessing import TableEncoder
    from skfm.streams import Rows

    connection = duckdb.connect()
    relation = connection.sql("select i % 7 as a, i % 2 as y from range(500000) t(i)")
    rows = Rows(relation, target="y", encoder=TableEncoder(numbers="hashed", n_features=16))
    assert rows.encoder_.n_features_in_ == 1
    assert rows.encoded().n_rows == 500_000


def test_lazy_queries_of_polars_without_batches():
    LazyFrame = type("LazyFrame", (), {"__module__": "polars.lazyframe.frame"})
    with pytest.raises(TypeError, match=r"Update polars, or .* source.sink_parquet\(path\)"):
        open_source(LazyFrame())


def test_without_pyarrow(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for source in (TABLE, TABLE.to_pandas()):
        with pytest.raises(ImportError, match=r"install pyarrow: pip install 'skfm\[streams\]'"):
            list(open_source(source).chunks(3))


# Functions


def cut(values, sizes):
    starts = np.append(0, np.cumsum(sizes))
    return [_part(values, start, stop) for start, stop in pairwise(starts)]


def as_frame(library):
    return lambda: (
        pytest.importorskip(library)
        and {
            "pandas": TABLE.to_pandas,
            "polars": lambda: pytest.importorskip("polars").from_arrow(TABLE),
        }[library]()
    )


CONTAINERS = {
    "array": lambda: np.arange(300.0).reshape(100, 3),
    "csr": lambda: sparse.random(100, 5, 0.3, format="csr", random_state=0),
    "csc": lambda: sparse.random(100, 5, 0.3, format="csc", random_state=0),
    "csr_array": lambda: sparse.csr_array(np.arange(300.0).reshape(100, 3)),
    "arrow": lambda: TABLE,
    "batch": lambda: TABLE,
    "pandas": as_frame("pandas"),
    "polars": as_frame("polars"),
}


def as_batch(table):
    return pa.RecordBatch.from_arrays(
        [column.combine_chunks() for column in table.columns], names=table.column_names
    )


SIZES = {"long": [60, 40], "short": [1] * 100, "mixed": [0, 3, 50, 1, 46, 0], "one": [100]}


def contents(X):
    if sparse.issparse(X):
        return X.toarray().tolist()
    if isinstance(X, np.ndarray):
        return X.tolist()
    return pa.table(X).to_pydict()


@pytest.mark.parametrize("has_weight", [True, False])
@pytest.mark.parametrize("n_rows", [1, 7, 100, 1000])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("kind", CONTAINERS)
@pytest.mark.pairwise
def test_chunks_of_functions_are_cut_and_joined(kind, sizes, n_rows, has_weight):
    X = CONTAINERS[kind]()
    y, weight = np.arange(100), np.linspace(0, 1, 100)
    whole = X.tocsr() if sparse.issparse(X) else X
    columns = [cut(values, SIZES[sizes]) for values in (whole, y, weight)]
    convert = {"csc": lambda part: part.tocsc(), "batch": as_batch}.get(kind, lambda part: part)
    columns[0] = list(map(convert, columns[0]))
    pieces = list(zip(*columns[: 3 if has_weight else 2], strict=True))
    source = open_source(lambda: iter(pieces))
    chunks = list(source.chunks(n_rows))
    assert [chunk.X.shape[0] for chunk in chunks[:-1]] == [n_rows] * (len(chunks) - 1)
    assert sum(chunk.X.shape[0] for chunk in chunks) == 100
    assert_array_equal(np.concatenate([chunk.y for chunk in chunks]), y)
    for number, chunk in enumerate(chunks):
        rows = slice(number * n_rows, (number + 1) * n_rows)
        assert contents(chunk.X) == contents(_part(whole, rows.start, min(rows.stop, 100)))
        if has_weight:
            assert_array_equal(chunk.sample_weight, weight[rows])
        else:
            assert chunk.sample_weight is None
    starts = np.append(0, np.cumsum(SIZES[sizes]))
    places = [chunk.origin.of_row(i) for chunk in chunks for i in range(chunk.X.shape[0])]
    for row in (0, 1, 59, 60, 99):
        number = np.searchsorted(starts, row, side="right") - 1
        assert places[row] == f"chunk {number}, row {row - starts[number]}"


FITTING = {
    "dtype of X": (np.ones((2, 2)), np.ones((2, 2), np.float32)),
    "width": (np.ones((2, 2)), np.ones((2, 3))),
    "container": (np.ones((2, 2)), sparse.csr_matrix(np.ones((2, 2)))),
    "lists": ([[1, 2], [3, 4]], [[1, 2], [3, 4]]),
    "names": (pa.table({"a": [1, 2]}), pa.table({"b": [1, 2]})),
    "types": (pa.table({"a": [1, 2]}), pa.table({"a": [1.5, 2]})),
}


@pytest.mark.parametrize("which", [*FITTING, "dtype of y", "weight", "fields"])
def test_chunks_that_differ_are_not_joined(which):
    """Nothing is converted: what is wrong with them is found as for long ones."""
    X, other = FITTING.get(which, (sparse.eye(2, format="csr"), sparse.eye(2, format="csr")))
    chunks = [[X, [1, 2]], [other, [1, 2]]]
    if which == "dtype of y":
        chunks[1][1] = [2**53 + 1, 0.5]
    if which == "weight":
        chunks[1].append([1.0, 2.0])
    if which == "fields":
        other.feature_fields = np.array([0, 1])
    found = list(open_source(lambda: map(tuple, chunks)).chunks(10))
    assert len(found) == 2
    assert [chunk.origin.of_row(1) for chunk in found] == ["chunk 0, row 1", "chunk 1, row 1"]


@pytest.mark.parametrize(
    "y, message",
    [
        ([1, 2, 3], "has 3 values for 2 rows of X, in"),
        ([[1, 1], [2, 2]], r"must have one value for each row; got an array of shape \(2, 2\)"),
        (np.int64(1), r"must have one value for each row; got an array of shape \(\)"),
    ],
)
def test_targets_of_another_shape(y, message):
    with pytest.raises(ValueError, match=rf"The target {message} .*chunk 0, row 0"):
        list(open_source(lambda: iter([(np.eye(2), y)])).chunks(10))


def test_tiny_chunks_cost_little():
    X, y = np.ones((1, 4)), np.ones(1)
    chunks = list(open_source(lambda: ((X, y) for _ in range(5000))).chunks(5000))
    assert len(chunks) == 1
    assert len(chunks[0].origin.starts) == 5000


def test_errors(folder):
    with pytest.raises(FileNotFoundError, match="no file 'nothing/\\*\\.parquet'"):
        open_source("nothing/*.parquet")
    (folder / "a.txt").write_text("a")
    with pytest.raises(ValueError, match=r"a.txt' is not a file that can be read"):
        open_source(folder / "*")
    for path in ("*.parquet", "*.csv"):
        with pytest.raises(ValueError, match=r"0\.\w+ has no column 'rou'. Did you mean 'row'"):
            next(open_source(folder / path, columns=["rou"]).chunks(3))
    with pytest.raises(TypeError, match="must contain paths"):
        open_source([[1, 2]])
    with pytest.raises(TypeError, match="source must be a path"):
        open_source(3)
    with pytest.raises(TypeError, match="pairs"):
        next(open_source(lambda: iter([np.eye(3)])).chunks(3))


def test_a_file_is_never_in_memory_as_a_whole(tmp_path):
    table = pa.table({"x": np.random.default_rng(0).normal(size=1_000_000)})
    parquet.write_table(table, tmp_path / "x.parquet", row_group_size=20_000)
    before, most = pa.total_allocated_bytes(), 0
    for _ in open_source(tmp_path / "x.parquet").chunks(10_000):
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < table.nbytes / 4
