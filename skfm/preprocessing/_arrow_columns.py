"""Columns of Arrow tables, read without a Python object for each row."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from skfm.preprocessing._columns import (
    BOOLEAN,
    DATETIME,
    FEW,
    LIST,
    NULL,
    NUMBER,
    STRING,
    ArrayColumn,
    Categories,
    Column,
    DictionaryColumn,
    Lists,
    Times,
    hash_bytes,
    merge,
)

_NOT_A_TIME = np.iinfo(np.int64).min
is_view = getattr(pa.types, "is_string_view", lambda kind: False)


def object_column(name, array):
    """The column of an array of objects, if all of them are strings or missing; else None.

    It refers to a dictionary, so that the strings are not stored twice.
    """
    try:
        strings = pa.array(array, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return None  # of several types, or what UTF-8 cannot encode
    if not pa.types.is_string(strings.type):
        return None
    return _dictionary_column(name, _chunked(strings).dictionary_encode(), False)


def arrow_column(name, array):
    """The column of a chunked array."""
    array = without_runs(array)
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _dictionary_column(name, array, True)
    if _is_string(kind) and len(array) <= FEW:
        return ArrayColumn(name, np.array(array.to_pylist(), dtype=object))
    return ArrowColumn(name, array)


def _dictionary_column(name, array, is_categorical):
    joined = combine(array.unify_dictionaries())
    indices = joined.indices
    if not pa.types.is_int32(indices.type):
        indices = indices.cast(pa.int64())
    codes = indices.fill_null(-1).to_numpy(zero_copy_only=False)
    inner = arrow_column(name, _chunked(joined.dictionary))
    return DictionaryColumn(name, codes, inner, is_categorical)


class ArrowColumn(Column):
    """A column in a chunked array without a dictionary."""

    def __init__(self, name, array):
        self.array = array
        super().__init__(name, _find_type(array.type, name))
        self.has_hours = not pa.types.is_date(array.type)

    def __len__(self):
        return len(self.array)

    def take(self, rows):
        return ArrowColumn(self.name, self.array.take(pa.array(rows)))

    def _read_categories(self):
        array = self.array
        if self.type == NULL:
            return Categories(np.full(len(array), -1, np.int32), [])
        if is_view(array.type):
            array = array.cast(pa.large_string())
        elif pa.types.is_decimal(array.type):
            array = array.cast(pa.float64())
        encoded = combine(array.dictionary_encode())
        codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        converted, values = merge(encoded.dictionary.to_pylist())
        if self.type == STRING and len(values) == converted.size:  # nothing was merged
            return Categories(codes, values)
        return Categories(np.append(converted, np.int32(-1))[codes], values)

    def _read_numbers(self):
        array = self.array
        if pa.types.is_boolean(array.type):
            array = array.cast(pa.uint8())
        return np.array(array.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)

    def _read_times(self):
        zone = getattr(self.array.type, "tz", None)
        times = self.array.cast(pa.timestamp("us", zone), safe=False).cast(pa.int64())
        times = times.fill_null(_NOT_A_TIME).to_numpy()
        return Times(times.view("datetime64[us]"), zone)

    def _read_lists(self):
        if self.type == NULL:
            empty = ArrayColumn(self.name, np.empty(0, dtype=object))
            return Lists(np.zeros(len(self) + 1, np.int64), np.ones(len(self), bool), empty)
        array = combine(self.array)
        lengths = pc.list_value_length(array).fill_null(0).to_numpy(zero_copy_only=False)
        missing = array.is_null().to_numpy(zero_copy_only=False)
        elements = arrow_column(self.name, _chunked(pc.list_flatten(array)))
        return Lists(np.append(0, np.cumsum(lengths, dtype=np.int64)), missing, elements)

    @property
    def missing(self):
        if self.type == STRING:
            return self.array.is_null().to_numpy()
        return self.categories.codes < 0

    def hashes(self, seed):
        if self.type != STRING:
            return super().hashes(seed)
        parts = [_hash_strings(chunk, seed) for chunk in self.array.chunks]
        return np.concatenate([np.empty(0, np.uint64), *parts])


def without_runs(array):
    if not pa.types.is_run_end_encoded(array.type):
        return array
    return pa.chunked_array([pc.run_end_decode(chunk) for chunk in array.chunks])


def _find_type(kind, name):
    types = pa.types
    if _is_string(kind):
        return STRING
    if types.is_boolean(kind):
        return BOOLEAN
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return NUMBER
    if types.is_timestamp(kind) or types.is_date(kind):
        return DATETIME
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return LIST
    if types.is_null(kind):
        return NULL
    raise TypeError(
        f"Column {name!r} has the Arrow type {kind}; convert it to strings, numbers, booleans, "
        "dates or lists, or drop the column."
    )


def _is_string(kind):
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or is_view(kind)


def _chunked(array):
    return array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])


def combine(array):
    """A chunked array as one array."""
    if array.num_chunks == 1:
        return array.chunk(0)
    joined = array.combine_chunks()
    return joined if isinstance(joined, pa.Array) else pa.concat_arrays(joined.chunks)


def _hash_strings(array, seed):
    array = array.cast(pa.large_string())
    _, offsets, data = array.buffers()
    offsets = np.frombuffer(offsets, np.int64) if offsets else np.zeros(1, np.int64)
    offsets = offsets[array.offset : array.offset + len(array) + 1]
    data = np.frombuffer(data or b"", np.uint8)
    return hash_bytes(offsets, data, seed)
