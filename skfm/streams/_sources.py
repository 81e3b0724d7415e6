"""Sources of rows: Parquet and CSV files, tables, datasets of Arrow, and functions."""

import glob
import os
from bisect import bisect_right
from typing import Any, NamedTuple

import numpy as np

from skfm._utils.lazy import refuse_lazy
from skfm._utils.messages import shown
from skfm.preprocessing._table_kinds import closest

EXTENSIONS = ".parquet", ".csv", ".csv.gz"
_INSTALL = "pip install 'skfm[tables]'"


class Origin(NamedTuple):
    """Where the rows of a chunk come from: parts, one after the other."""

    starts: list  # the first row of each part within the chunk
    names: list
    offsets: list  # the row of the file with which a part begins

    def of_row(self, row):
        part = bisect_right(self.starts, row) - 1
        return f"{self.names[part]}, row {self.offsets[part] + row - self.starts[part]}"


class Chunk(NamedTuple):
    """Consecutive rows as they are in the source."""

    X: Any
    y: Any
    sample_weight: Any
    origin: Origin
    fields: Any = None


def open_source(source, *, columns=None):
    """A source that can be read as often as needed.

    Parameters
    ----------
    source : path, glob pattern, list of these, table, dataset or callable
    columns : list of str, default=None
        Names of the columns of tables to read. None are all.
    """
    refuse_lazy(source, "source")
    if callable(source) and not hasattr(source, "__arrow_c_stream__"):
        return _Calls(source)
    if isinstance(source, (str, os.PathLike)):
        return _Files([source], columns)
    if isinstance(source, (list, tuple)):
        if not all(isinstance(path, (str, os.PathLike)) for path in source):
            raise TypeError("A list as a source must contain paths; pass rows as a table.")
        return _Files(source, columns)
    if hasattr(source, "to_batches") and hasattr(source, "get_fragments"):
        return _Dataset(source, columns)
    if hasattr(source, "__arrow_c_stream__"):
        return _Table(source, columns)
    raise TypeError(
        "source must be a path, a glob pattern, a list of these, a table, a Dataset of pyarrow or "
        f"a function that returns an iterator of chunks; got {shown(source)}."
    )


class _Calls:
    """A function that returns an iterator of chunks, which stay as they are."""

    def __init__(self, function):
        self._function = function
        self._n_chunks = None  # of the first pass

    def fingerprint(self):
        return None

    def chunks(self, n_rows):
        number = -1
        for number, chunk in enumerate(self._function()):
            if not isinstance(chunk, tuple) or len(chunk) not in (2, 3):
                raise TypeError(
                    "A function as a source must return an iterator of pairs (X, y) or triples "
                    f"(X, y, sample_weight); chunk {number} is {shown(type(chunk).__name__)}."
                )
            X, *others = chunk
            y, weight = (
                None if other is None else np.asarray(other) for other in (*others, None)[:2]
            )
            yield Chunk(X, y, weight, Origin([0], [f"chunk {number}"], [0]))
        self._check_number(number + 1)

    def _check_number(self, n_chunks):
        if self._n_chunks is None:
            self._n_chunks = n_chunks
        elif n_chunks != self._n_chunks:
            raise ValueError(
                f"The function that was passed as a source returned {self._n_chunks} chunks the "
                f"first time, and now {n_chunks}. It must return a fresh iterator over the same "
                "rows each time it is called."
            )


class _Tables:
    """Record batches, joined and cut to chunks of a given number of rows."""

    def __init__(self, columns):
        self._columns = columns

    def _batches(self, n_rows):
        """Batches of at most about ``n_rows`` rows, each with the name of where it is from.

        All have the same columns and types.
        """
        raise NotImplementedError

    def _check_columns(self, names, where):
        missing = [name for name in self._columns or () if name not in names]
        if missing:
            raise ValueError(f"{where} has no column {missing[0]!r}. {closest(missing[0], names)}")

    def chunks(self, n_rows):
        pa = _pyarrow()
        parts, n_waiting, read = [], 0, {}
        for name, batch in self._batches(n_rows):
            start = 0
            while start < batch.num_rows:
                stop = min(batch.num_rows, start + n_rows - n_waiting)
                parts.append(
                    (n_waiting, name, read.get(name, 0), batch.slice(start, stop - start))
                )
                n_waiting += stop - start
                read[name] = read.get(name, 0) + stop - start
                start = stop
                if n_waiting == n_rows:
                    yield _joined(pa, parts)
                    parts, n_waiting = [], 0
        if parts:
            yield _joined(pa, parts)


def _joined(pa, parts):
    starts, names, offsets, batches = map(list, zip(*parts, strict=True))
    table = pa.Table.from_batches(batches)
    return Chunk(table, None, None, Origin(starts, names, offsets))


class _Files(_Tables):
    """Files of tables, in the order of their names."""

    def __init__(self, paths, columns):
        super().__init__(columns)
        self._paths = [found for path in paths for found in _find(os.fspath(path))]
        if not self._paths:
            raise ValueError("The list of files is empty.")
        twins = [path for path in self._paths if self._paths.count(path) > 1]
        if twins:
            raise ValueError(f"{twins[0]} is among the files twice.")
        self._schema = None  # of the first file; all others must have it
        self._status = None  # of all files at the first pass

    def fingerprint(self):
        status = ((path, os.stat(path)) for path in self._paths)
        return "; ".join(f"{path}: {s.st_size} bytes, {s.st_mtime_ns} ns" for path, s in status)

    def _batches(self, n_rows):
        pa = _pyarrow()
        self._check_unchanged()
        for path in self._paths:
            read = self._read_parquet if path.lower().endswith(".parquet") else self._read_csv
            batches = read(path, n_rows)
            while True:
                try:
                    batch = next(batches, None)
                except (pa.ArrowException, EOFError) as error:
                    raise ValueError(
                        f"{path} cannot be read: it is empty, truncated, damaged or of another "
                        f"format ({error})."
                    ) from error
                if batch is None:
                    break
                yield path, self._conforming(batch, path, pa)

    def _check_unchanged(self):
        status = self.fingerprint()
        if self._status is None:
            self._status = status
        elif status != self._status:
            raise ValueError(
                f"The files have changed since they were first read, from {self._status} to "
                f"{status}. Make new Rows of them."
            )

    def _conforming(self, batch, path, pa):
        """The batch with the types of the first file."""
        if self._schema is None:
            self._schema = batch.schema.remove_metadata()
        self._check_same_columns(batch.schema.names, path)
        columns = []
        for name, kind in zip(self._schema.names, self._schema.types, strict=True):
            column = batch.column(name)
            if column.type != kind:
                try:
                    if _family(pa, column.type) != _family(pa, kind):
                        raise pa.ArrowInvalid("these are different kinds of values")
                    column = column.cast(kind)
                except pa.ArrowException as error:
                    raise ValueError(
                        f"Column {name!r} of {path} has the type {column.type}, but that of "
                        f"{self._paths[0]} has {kind} ({error}). Convert one of them."
                    ) from error
            columns.append(column)
        return pa.RecordBatch.from_arrays(columns, schema=self._schema)

    def _check_same_columns(self, names, path):
        if self._schema is None:
            return
        for name in self._schema.names:
            if name not in names:
                raise ValueError(f"{path} has no column {name!r}, but {self._paths[0]} has it.")
        for name in names:
            if name not in self._schema.names:
                raise ValueError(
                    f"{path} has a column {name!r}, which {self._paths[0]} does not have."
                )

    def _read_parquet(self, path, n_rows):
        from pyarrow import parquet

        with parquet.ParquetFile(path) as file:
            self._check_columns(file.schema_arrow.names, path)
            if self._columns is None:
                self._check_same_columns(file.schema_arrow.names, path)
            yield from file.iter_batches(min(n_rows, 65_536), columns=self._columns)

    def _read_csv(self, path, n_rows):
        from pyarrow import csv

        # Types are inferred from the first file; a value of another type is an error.
        types = (
            {}
            if self._schema is None
            else dict(zip(self._schema.names, self._schema.types, strict=True))
        )
        options = csv.ConvertOptions(column_types=types)
        with csv.open_csv(path, convert_options=options) as reader:
            self._check_columns(reader.schema.names, path)
            for batch in reader:
                yield batch if self._columns is None else batch.select(self._columns)


def _family(pa, kind):
    """What the types have in common that may be cast to each other."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return "numbers"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "strings"
    return "times" if pa.types.is_timestamp(kind) else str(kind)


class _Dataset(_Tables):
    def __init__(self, dataset, columns):
        super().__init__(columns)
        self._dataset = dataset

    def fingerprint(self):
        return None

    def _batches(self, n_rows):
        self._check_columns(self._dataset.schema.names, "The dataset")
        for fragment in self._dataset.get_fragments():
            for batch in fragment.to_batches(
                schema=self._dataset.schema, columns=self._columns, batch_size=min(n_rows, 65_536)
            ):
                yield getattr(fragment, "path", None) or "the dataset", batch


class _Table(_Tables):
    """A table in memory."""

    def __init__(self, table, columns):
        super().__init__(columns)
        self._table, self._n_passes = table, 0

    def fingerprint(self):
        return None

    def _batches(self, n_rows):
        pa = _pyarrow()
        is_stream = isinstance(self._table, pa.RecordBatchReader)
        if is_stream and self._n_passes:
            raise ValueError(
                "A RecordBatchReader can be read only once, but the rows are needed again. Pass a "
                "table, a Dataset, or a function that returns a fresh iterator."
            )
        self._n_passes += 1
        reader = self._table if is_stream else self._as_arrow(pa).to_reader()
        self._check_columns(reader.schema.names, "The table")
        for batch in reader:
            yield "the table", batch if self._columns is None else batch.select(self._columns)

    def _as_arrow(self, pa):
        if hasattr(self._table, "iloc"):  # the index of pandas is not a column
            return pa.Table.from_pandas(self._table, preserve_index=False)
        return pa.table(self._table)


def _find(path):
    """The files that a path or a pattern stands for."""
    found = [path] if os.path.exists(path) else sorted(glob.glob(path, recursive=True))
    if not found:
        raise FileNotFoundError(f"There is no file {path!r}.")
    for name in found:
        if not name.lower().endswith(EXTENSIONS):
            raise ValueError(
                f"{name!r} is not a file that can be read; known extensions: "
                f"{', '.join(EXTENSIONS)}."
            )
    return found


def _pyarrow():
    try:
        import pyarrow
    except ImportError as error:
        raise ImportError(f"To read tables, install pyarrow: {_INSTALL}.") from error
    return pyarrow
