"""Sources: chunks of given numbers of rows, and where each row comes from."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_array_equal

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
