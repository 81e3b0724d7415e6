"""Sources of rows: files, tables and functions."""

import os

from skfm._utils.lazy import refuse_lazy
from skfm._utils.messages import shown
from skfm.streams._files import LIBFFM, TABLES, find_files
from skfm.streams._functions import Functions
from skfm.streams._table_files import TableFiles
from skfm.streams._tables import Dataset, LazyFrame, Table
from skfm.streams._text_files import TextFiles


def open_source(source, *, columns=None, column_types=None, column_kinds=None):
    """A source that can be read as often as needed.

    Parameters
    ----------
    source : path, glob pattern, list of these, table, dataset or callable
    columns : list of str, default=None
        Names of the columns of tables to read. None are all.
    column_types : dict of str to str or DataType, default=None
        Types of columns of Parquet and CSV files.
    column_kinds : dict of str to str, default=None
        Kinds of values in columns of CSV files, as far as they are known.
    """
    refuse_lazy(source, "source")
    if isinstance(source, (str, os.PathLike)):
        source = [source]
    if isinstance(source, (list, tuple)):
        if not all(isinstance(path, (str, os.PathLike)) for path in source):
            raise TypeError("A list as a source must contain paths; pass rows as a table.")
        paths, kind = find_files(source)
        if kind == TABLES:
            return TableFiles(paths, columns, column_types or {}, column_kinds or {})
    if column_types:
        raise ValueError(
            "column_types are for Parquet and CSV files; other sources have types by themselves."
        )
    if isinstance(source, (list, tuple)):
        return TextFiles(paths, has_fields=kind == LIBFFM)
    if hasattr(source, "to_batches") and hasattr(source, "get_fragments"):
        return Dataset(source, columns)
    if hasattr(source, "__arrow_c_stream__"):
        return Table(source, columns)
    if type(source).__module__.startswith("polars.") and type(source).__name__ == "LazyFrame":
        return LazyFrame(source, columns)
    if callable(source):
        return Functions(source)
    raise TypeError(
        "source must be a path, a glob pattern, a list of these, a table, a Dataset of pyarrow or "
        f"a function that returns an iterator of chunks; got {shown(source)}."
    )
