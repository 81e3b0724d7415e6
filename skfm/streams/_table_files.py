"""Parquet and CSV files as sources of rows: one schema for all of them."""

from skfm._utils.messages import shown
from skfm.preprocessing._table_kinds import closest
from skfm.streams import _csv
from skfm.streams._files import FileStatus
from skfm.streams._tables import BATCH_ROWS, Tables, naming, pyarrow


class TableFiles(Tables):
    """Files of tables, in the given order.

    The schema is that of the footers of Parquet files and of the first lines of CSV files. Types
    of one kind become the most general of them; a column of CSV files with several kinds of values
    in these lines becomes strings.

    Parameters
    ----------
    paths : list of str
    columns : list of str or None
    types : dict of str to str or DataType
        Types of some columns.
    kinds : dict of str to str
        Kinds of values in columns of CSV files, as far as they are known.
    """

    def __init__(self, paths, columns, types, kinds):
        super().__init__(columns)
        self._paths, self._status = paths, FileStatus(paths)
        self._types = {name: _read_type(name, kind) for name, kind in types.items()}
        self._kinds = kinds
        self._schema = None

    def fingerprint(self):
        return self._status.fingerprint()

    def column_names(self):
        path = self._paths[0]
        return next(naming(path, self._schemas(path))).names

    def _batches(self, n_rows):
        pa = pyarrow()
        self._status.check_unchanged()
        if self._schema is None:
            self._schema = self._find_schema()
        for path in self._paths:
            for batch in naming(path, self._read(path, n_rows)):
                yield path, self._conforming(batch, path, pa)

    # The schema

    def _find_schema(self):
        pa, schema = pyarrow(), None
        for path in self._paths:
            found = next(naming(path, self._schemas(path)))
            self._check_columns(found.names, path)
            if len(set(found.names)) < len(found.names):
                twin = next(name for name in found.names if found.names.count(name) > 1)
                raise ValueError(f"{path} has two columns {twin!r}; rename one of them.")
            if schema is None or self._columns is not None:
                names = self._columns or found.names
            else:
                _check_same_columns(schema.names, found.names, path, self._paths[0])
            types = {name: self._types.get(name) or found.field(name).type for name in names}
            if schema is not None:
                for name, kind in types.items():
                    types[name] = self._common(name, schema.field(name).type, kind, path)
            schema = pa.schema(types.items())
        unknown = [name for name in self._types if name not in found.names]
        if unknown:
            raise ValueError(
                f"column_types names {unknown[0]!r}, which is no column of {path}. "
                f"{closest(unknown[0], found.names)}"
            )
        return schema

    def _schemas(self, path):
        """The schema of a file."""
        if _is_parquet(path):
            from pyarrow import parquet

            yield parquet.read_schema(path)
        else:
            yield _csv.sample_schema(path, self._types, self._kinds, self._columns)

    def _common(self, name, kind, other, path):
        """The type of a column that has these two types."""
        pa = pyarrow()
        if kind == other or pa.types.is_null(other):
            return kind
        if pa.types.is_null(kind):
            return other
        if _family(pa, kind) == _family(pa, other):
            return _wider(pa, kind, other)
        if not any(map(_is_parquet, self._paths)):
            return pa.string()
        raise ValueError(
            f"Column {name!r} of {path} has the type {other}, but that of files before has "
            f"{kind} (these are different kinds of values). Convert one of them."
        )

    # The rows

    def _read(self, path, n_rows):
        if not _is_parquet(path):
            yield from _csv.batches(path, self._schema, self._columns)
            return
        from pyarrow import parquet

        # Buffers that are filled in advance are not freed until the end of the file.
        with parquet.ParquetFile(path, pre_buffer=False) as file:
            yield from file.iter_batches(min(n_rows, BATCH_ROWS), columns=self._columns)

    def _conforming(self, batch, path, pa):
        """The batch with the types of all files."""
        columns = []
        for name, kind in zip(self._schema.names, self._schema.types, strict=True):
            column = batch.column(name)
            if column.type != kind:
                try:
                    column = column.cast(kind)
                except pa.ArrowException as error:
                    raise ValueError(
                        f"Column {name!r} of {path} has the type {column.type}, which cannot be "
                        f"converted to {kind}, as for the other files or in column_types "
                        f"({error}). Convert the file."
                    ) from error
            columns.append(column)
        return pa.RecordBatch.from_arrays(columns, schema=self._schema)


def _is_parquet(path):
    return path.lower().endswith(".parquet")


def _check_same_columns(names, others, path, first):
    for name in names:
        if name not in others:
            raise ValueError(f"{path} has no column {name!r}, but {first} has it.")
    for name in others:
        if name not in names:
            raise ValueError(f"{path} has a column {name!r}, which {first} does not have.")


def _read_type(name, kind):
    pa = pyarrow()
    if isinstance(kind, pa.DataType):
        return kind
    try:
        return pa.type_for_alias(kind)
    except (AttributeError, TypeError, ValueError):
        raise ValueError(
            f"column_types[{name!r}] must be a DataType of pyarrow or its name, such as 'string', "
            f"'int64', 'float64', 'bool', 'date32' or 'timestamp[s]'; got {shown(kind)}."
        ) from None


def _family(pa, kind):
    """What the types have in common that may be cast to each other."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return "numbers"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "strings"
    return "times" if pa.types.is_timestamp(kind) or pa.types.is_date(kind) else str(kind)


def _wider(pa, kind, other):
    """The more general of two types of a family."""
    if pa.types.is_date(kind) and pa.types.is_timestamp(other):
        return other
    try:
        schemas = [pa.schema([("", one)]) for one in (kind, other)]
        return pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except pa.ArrowException:
        return kind
