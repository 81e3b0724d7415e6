"""Tables as sources of rows: in memory, as a stream, a dataset or a lazy query."""

from skfm.preprocessing._table_kinds import closest
from skfm.streams._chunks import CountedRows, Piece, recut

BATCH_ROWS = 65_536  # read at once at most
_INSTALL = "pip install 'skfm[streams]'"


def pyarrow():
    try:
        import pyarrow
    except ImportError as error:
        raise ImportError(f"To read tables, install pyarrow: {_INSTALL}.") from error
    return pyarrow


class Tables:
    """Record batches, joined and cut to chunks of a given number of rows."""

    def __init__(self, columns):
        self._columns = columns

    def fingerprint(self):
        return None

    def column_names(self):
        """Names of all columns of the source, found without reading rows."""
        raise NotImplementedError

    def chunks(self, n_rows):
        pa = pyarrow()
        return recut(
            (Piece(name, batch.num_rows, batch) for name, batch in self._batches(n_rows)),
            n_rows,
            cut=lambda batch, start, stop: batch.slice(start, stop - start),
            join=lambda batches: (pa.Table.from_batches(batches), None, None),
        )

    def _batches(self, n_rows):
        """Batches of at most about ``n_rows`` rows, each with the name of where it is from.

        All have the same columns and types.
        """
        raise NotImplementedError

    def _check_columns(self, names, where):
        missing = [name for name in self._columns or () if name not in names]
        if missing:
            raise ValueError(f"{where} has no column {missing[0]!r}. {closest(missing[0], names)}")

    def _selected(self, batch):
        return batch if self._columns is None else batch.select(self._columns)


class Dataset(Tables):
    """A Dataset of pyarrow."""

    def __init__(self, dataset, columns):
        super().__init__(columns)
        self._dataset = dataset

    def column_names(self):
        return self._dataset.schema.names

    def _batches(self, n_rows):
        self._check_columns(self._dataset.schema.names, "The dataset")
        for fragment in self._dataset.get_fragments():
            name = getattr(fragment, "path", None) or "the dataset"
            batches = fragment.to_batches(
                schema=self._dataset.schema,
                columns=self._columns,
                batch_size=min(n_rows, BATCH_ROWS),
            )
            for batch in naming(name, batches):
                yield name, batch


class Table(Tables):
    """A table in memory, or an object that exports a stream of Arrow each time it is read."""

    def __init__(self, table, columns):
        super().__init__(columns)
        self._table, self._n_passes = table, 0
        self._counted = CountedRows(
            f"The source, a {type(table).__name__},",
            "It can be read only once, but the rows are needed again. Pass a table, a Dataset, or "
            "a function that returns a fresh iterator.",
        )

    def column_names(self):
        pa = pyarrow()
        if hasattr(self._table, "iloc"):
            return pa.Schema.from_pandas(self._table, preserve_index=False).names
        return self._open(pa).schema.names

    def _batches(self, n_rows):
        pa, total = pyarrow(), 0
        self._n_passes += 1
        with self._open(pa) as reader:
            self._check_columns(reader.schema.names, "The table")
            for batch in reader:
                total += batch.num_rows
                yield "the table", self._selected(batch)
        self._counted.check(total)

    def _open(self, pa):
        is_stream = isinstance(self._table, pa.RecordBatchReader)
        if is_stream and self._n_passes > 1:
            raise self._read_once()
        if is_stream:
            return self._table
        if isinstance(self._table, pa.Table):
            return self._table.to_reader()
        if hasattr(self._table, "iloc"):  # the index of pandas is not a column
            return pa.Table.from_pandas(self._table, preserve_index=False).to_reader()
        if not hasattr(pa.RecordBatchReader, "from_stream"):  # pyarrow before version 15
            return pa.table(self._table).to_reader()
        try:
            return pa.RecordBatchReader.from_stream(self._table)
        except Exception as error:
            if self._n_passes > 1:
                raise self._read_once(f" ({error})") from error
            raise

    def _read_once(self, reason=""):
        return ValueError(
            f"A {type(self._table).__name__} can be read only once, but the rows are needed "
            f"again{reason}. Pass a table, a Dataset, or a function that returns a fresh iterator."
        )


class LazyFrame(Tables):
    """A lazy query of polars, which is run again for each pass."""

    def __init__(self, frame, columns):
        super().__init__(columns)
        self._frame = frame
        if not hasattr(frame, "collect_batches"):
            raise TypeError(
                "This version of polars cannot run a LazyFrame batch by batch. Update polars, or "
                "write the rows to a file with source.sink_parquet(path) and pass the path."
            )
        self._counted = CountedRows("The LazyFrame", "It must return the same rows each time.")

    def column_names(self):
        return self._frame.collect_schema().names()

    def _batches(self, n_rows):
        pa, total = pyarrow(), 0
        self._check_columns(self.column_names(), "The LazyFrame")
        frame = self._frame if self._columns is None else self._frame.select(self._columns)
        batches = frame.collect_batches(chunk_size=min(n_rows, BATCH_ROWS), maintain_order=True)
        schema = None
        for part in batches:
            table = part.to_arrow()
            schema = schema or table.schema
            total += table.num_rows
            for batch in pa.Table.cast(table, schema).to_batches():
                yield "the LazyFrame", batch
        self._counted.check(total)


def naming(name, batches):
    """The batches of a file, whose errors name it."""
    pa, batches = pyarrow(), iter(batches)
    while True:
        try:
            batch = next(batches, None)
        except (pa.ArrowException, EOFError, OSError) as error:
            if getattr(error, "errno", None) is not None:
                raise  # of the system
            raise ValueError(
                f"{name} cannot be read: it is empty, truncated, damaged or of another format "
                f"({error})."
            ) from error
        if batch is None:
            return
        yield batch
