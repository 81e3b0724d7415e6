"""CSV files, read batch by batch; errors name the row and the column."""

import re
from contextlib import contextmanager

from skfm._utils.files import opening
from skfm.preprocessing._columns import NUMBER, STRING
from skfm.streams._tables import pyarrow

BLOCK_BYTES = 2**20  # read at once; types are inferred from the first block
_IN_COLUMN = re.compile(r"In CSV column #(\d+): Row #(\d+): (?:CSV )?(.*)", re.DOTALL)
_IN_ROW = re.compile(r"CSV parse error: Row #(\d+): (.*)", re.DOTALL)


def sample_schema(path, types, kinds, columns):
    """Names of all columns, and their types: as given, as their kinds demand, or inferred.

    Columns that are not among ``columns`` may have any type.
    """
    pa = pyarrow()
    with _opened(path) as reader:
        found = list(zip(reader.schema.names, reader.schema.types, strict=True))
    known = {}
    for name, kind in found:
        if columns is not None and name not in columns:
            continue
        # Bytes that are not UTF-8, and strings instead of numbers, are errors below.
        if name in types:
            known[name] = types[name]
        elif kinds.get(name) == STRING or pa.types.is_binary(kind):
            known[name] = pa.string()
        elif kinds.get(name) == NUMBER and pa.types.is_string(kind):
            known[name] = pa.float64()
    if known:
        with _opened(path, known, list(known)):
            pass
    return pa.schema([(name, known.get(name, kind)) for name, kind in found])


def batches(path, schema, columns):
    types = dict(zip(schema.names, schema.types, strict=True))
    with _opened(path, types, columns) as reader:
        yield from reader


@contextmanager
def _opened(path, types=None, columns=None):
    """A reader of record batches; its errors are explained."""
    from pyarrow import csv

    with opening(path) as (file, _), _explaining(path):
        reader = csv.open_csv(
            file,
            # In one thread, errors name rows. Batches are not read in several anyway.
            read_options=csv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False),
            convert_options=csv.ConvertOptions(
                column_types=types or {},
                include_columns=columns or [],
                strings_can_be_null=True,  # as for numbers, and as by pandas
            ),
        )
        with reader:
            yield reader


@contextmanager
def _explaining(path):
    try:
        yield
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} cannot be read: its first line, the names of the columns, is not UTF-8 "
            f"({error}). {_CONVERT}"
        ) from error
    except pyarrow().ArrowInvalid as error:
        message = str(error)
        if found := _IN_COLUMN.search(message):
            column, line, reason = found.groups()
            with _opened(path) as reader:
                name = reader.schema.names[int(column)]
            raise ValueError(
                f"{path} cannot be read: in row {int(line) - 2}, column {name!r}: {reason}. "
                f"{_CONVERT if 'UTF8' in reason else _say_type(name)}"
            ) from error
        if found := _IN_ROW.search(message):
            line, reason = found.groups()
            raise ValueError(
                f"{path} cannot be read: in row {int(line) - 2}: {reason}. Correct the line."
            ) from error
        if "straddling" in message:
            raise ValueError(
                f"{path} cannot be read: a row is longer than {BLOCK_BYTES:,} bytes. Perhaps a "
                "quotation mark is missing; otherwise, convert the file to Parquet."
            ) from error
        raise


_CONVERT = "Convert the file to UTF-8, for example with iconv -f latin1 -t utf-8."


def _say_type(name):
    return (
        "Types are inferred from the first lines of all files. Correct the value, or pass the "
        f"type, for example column_types={{{name!r}: 'string'}}."
    )
