"""Columns of tables, whatever their container: as categories, numbers, times, lists and hashes."""

from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from itertools import chain
from typing import NamedTuple

import numpy as np

from skfm._kernels.table_encoding import hash_strings
from skfm._utils.ids import is_missing
from skfm._utils.memory import read_only
from skfm.preprocessing._time_zones import to_utc

# What a column contains; the dtypes of containers differ, but these do not. "mixed" are strings
# next to numbers or booleans, "null" are missing values only.
STRING, BOOLEAN, NUMBER, DATETIME, LIST = "string", "boolean", "number", "datetime", "list"
MIXED, NULL = "mixed", "null"

FEW = 64  # rows, which are read faster as Python objects than by code for many

_TYPES_OF_OBJECTS = (  # in this order: for Python, a bool is an int and NaT a datetime
    ((str,), STRING),
    ((bool, np.bool_), BOOLEAN),
    ((np.datetime64, date), DATETIME),
    ((np.timedelta64,), None),
    ((int, float, Decimal, np.integer, np.floating), NUMBER),
    ((list, tuple, set, frozenset, np.ndarray), LIST),
)
_TYPES_OF_ARRAYS = {"b": BOOLEAN, "i": NUMBER, "u": NUMBER, "f": NUMBER, "M": DATETIME}


class Categories(NamedTuple):
    """A column as codes: positions in a list of distinct values, -1 for missing ones.

    Each value occurs. Values are str, bool, int or float; whole floats are int.
    """

    codes: np.ndarray
    values: list


class Times(NamedTuple):
    """Times as datetime64[us]: in UTC if there is a time zone, else as on the clock."""

    times: np.ndarray
    zone: str | None


class Lists(NamedTuple):
    """Lists: row i has the elements from ``indptr[i]`` to ``indptr[i + 1]``."""

    indptr: np.ndarray
    missing: np.ndarray
    elements: "Column"


class Column:
    """One column of a table. What has been read is kept, as several fields may need it."""

    is_categorical = False  # its dtype says that its values are categories
    has_hours = True  # if it contains times, not only dates

    def __init__(self, name, kind):
        self.name = name
        self.type = kind
        self._kept = {}

    def keep(self, key, read):
        """What a function returns, kept for further calls with the same key."""
        if key not in self._kept:
            self._kept[key] = read()
        return self._kept[key]

    def check_values(self):
        """Raise an error if the column contains lists, not single values."""
        if self.type == LIST:
            raise TypeError(
                f"Column {self.name!r} contains lists; encode it as 'bag' or 'hashed_bag'."
            )

    @cached_property
    def categories(self):
        self.check_values()
        if self.type == DATETIME:
            codes, times = _categories_of_array(self.times.times)
            texts = np.datetime_as_string(np.array(times, dtype="datetime64[us]")).tolist()
            return Categories(codes, [text.removesuffix("T00:00:00.000000") for text in texts])
        return self._read_categories()

    @cached_property
    def numbers(self):
        """The column as float64, NaN where values are missing."""
        if self.type not in (NUMBER, BOOLEAN, NULL):
            raise ValueError(
                f"Column {self.name!r} contains {plural(self.type)}, but is encoded as numbers; "
                f"convert it to numbers, or set columns={{{self.name!r}: 'category'}}."
            )
        numbers = self._read_numbers()
        infinite = np.isinf(numbers)
        if infinite.any():
            raise ValueError(
                f"Column {self.name!r} contains {infinite.sum()} infinite value(s), the first in "
                f"row {infinite.argmax()}; replace them by missing or finite values."
            )
        return numbers

    @cached_property
    def times(self):
        if self.type == NULL:
            return Times(np.full(len(self), np.datetime64("NaT", "us")), None)
        if self.type != DATETIME:
            raise ValueError(
                f"Column {self.name!r} contains {plural(self.type)}, but is encoded as dates; "
                "convert it to datetimes."
            )
        return self._read_times()

    def lists(self, separator=None):
        """Lists, or strings split at a separator: without space around, without empty parts."""
        return self.keep(("lists", separator), lambda: self._split(separator))

    def _split(self, separator):
        if separator is None and self.type in (LIST, NULL):
            return self._read_lists()
        if self.type not in (STRING, NULL):
            remedy = "remove 'sep'" if self.type == LIST else "convert it"
            wanted = "lists" if separator is None else f"strings delimited by {separator!r}"
            raise ValueError(
                f"Column {self.name!r} contains {plural(self.type)}, but is encoded as a bag of "
                f"{wanted}; {remedy}."
            )
        if separator is None:
            raise ValueError(
                f"Column {self.name!r} contains strings. To encode them as bags, name their "
                f"delimiter: columns={{{self.name!r}: {{'kind': 'bag', 'sep': '|'}}}}."
            )
        codes, values = self.categories
        split = [[part.strip() for part in value.split(separator)] for value in values]
        lists = as_objects([[part for part in parts if part] for parts in split])
        return DictionaryColumn(self.name, codes, ArrayColumn(self.name, lists))._read_lists()

    @cached_property
    def missing(self):
        return self.categories.codes < 0

    def hashes(self, seed):
        """A number of 64 bits for each row, the same on every machine and for every container."""
        codes, values = self.categories
        return np.append(_hash_values(values, seed), np.uint64(0))[codes]


class ArrayColumn(Column):
    """A column in a NumPy array of numbers, booleans, datetimes or objects."""

    def __init__(self, name, array, zone=None, is_categorical=False):
        self.array, self._zone, self.is_categorical = array, zone, is_categorical
        if array.dtype.kind in "UST":
            self.array = array.astype(object)
        if self.array.dtype.kind == "O":
            super().__init__(name, self._type_of_objects(name))
        else:
            super().__init__(name, _TYPES_OF_ARRAYS.get(array.dtype.kind))
            self.has_hours = array.dtype.str[1:] != "M8[D]"
        if self.type is None:
            raise TypeError(f"Column {name!r} has the type {array.dtype}; convert it to numbers.")

    def __len__(self):
        return self.array.size

    def take(self, rows):
        return ArrayColumn(self.name, self.array[rows], self._zone, self.is_categorical)

    def _type_of_objects(self, name):
        found = {}
        for kind in set(map(type, self.array)):
            found.setdefault(_type_of_object(kind, name), kind)
        found.pop(NULL, None)
        if NUMBER in found and len(found) > 1:  # perhaps only as NaN
            floats = [value for value in self.array if isinstance(value, (float, np.floating))]
            others = set(map(type, self.array)) - set(map(type, floats))
            if all(map(is_missing, floats)) and not any(
                _type_of_object(kind, name) == NUMBER for kind in others
            ):
                del found[NUMBER]
        elif found.get(NUMBER) in (float, np.float64) and all(map(is_missing, self.array)):
            return NULL
        if len(found) == 1:
            kind = next(iter(found))
            if kind == DATETIME:
                self.has_hours = any(
                    isinstance(t, (datetime, np.datetime64)) and not is_missing(t)
                    for t in self.array
                )
                self.array, self._zone = to_utc(self.array, name)
            return kind
        if found.keys() <= {STRING, NUMBER, BOOLEAN}:
            return MIXED if found else NULL
        raise TypeError(
            f"Column {name!r} mixes {' and '.join(map(plural, sorted(found)))}; convert it to one "
            "type."
        )

    def _read_categories(self):
        if self.array.dtype.kind == "O":
            return _categories_of_objects(self.array.tolist())
        return _categories_of_array(self.array)

    def _read_numbers(self):
        if self.array.dtype.kind != "O":
            return self.array.astype(np.float64)
        values = (np.nan if is_missing(value) else float(value) for value in self.array)
        try:
            return np.fromiter(values, np.float64, self.array.size)
        except OverflowError as error:
            raise ValueError(
                f"Column {self.name!r} contains integers that are too large for a float; scale "
                f"them, or set columns={{{self.name!r}: 'category'}}."
            ) from error

    def _read_times(self):
        with np.errstate(over="ignore"):
            return Times(self.array.astype("datetime64[us]"), self._zone)

    def _read_lists(self):
        missing = find_missing_rows(self.array)
        rows = [() if absent else row for row, absent in zip(self.array, missing, strict=True)]
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        elements = as_objects(list(chain.from_iterable(rows)))
        indptr = np.append(0, np.cumsum(lengths))
        return Lists(indptr, missing, ArrayColumn(self.name, elements))


class DictionaryColumn(Column):
    """A categorical column: codes, -1 for missing values, and a column with the categories."""

    def __init__(self, name, codes, categories, is_categorical=True):
        self.is_categorical = is_categorical
        used, codes = _renumber(codes, len(categories))
        self._codes = codes
        self._inner = categories if used is None else categories.take(used)
        self.has_hours = self._inner.has_hours
        super().__init__(name, self._inner.type)

    def __len__(self):
        return self._codes.size

    def take(self, rows):
        return DictionaryColumn(self.name, self._codes[rows], self._inner, self.is_categorical)

    def _read_categories(self):
        inner = self._inner.categories
        return Categories(np.append(inner.codes, np.int32(-1))[self._codes], inner.values)

    def _read_numbers(self):
        return np.append(self._inner.numbers, np.nan)[self._codes]

    def _read_times(self):
        times, zone = self._inner.times
        return Times(np.append(times, np.datetime64("NaT", "us"))[self._codes], zone)

    def _read_lists(self):
        indptr, missing, elements = self._inner.lists()
        lengths = np.append(np.diff(indptr), 0)[self._codes]
        starts = np.append(indptr[:-1], 0)[self._codes]
        indptr = np.append(0, np.cumsum(lengths))
        places = np.repeat(starts - indptr[:-1], lengths) + np.arange(indptr[-1])
        missing = np.append(missing, True)[self._codes]
        return Lists(indptr, missing, elements.take(places))


def plural(kind):
    """How messages call the values of a column of a type."""
    if kind == MIXED:
        return "strings and numbers"
    return "missing values only" if kind == NULL else f"{kind}s"


def find_missing_rows(objects):
    """Which objects are missing; lists never are, and cannot be compared with themselves."""
    lists = _TYPES_OF_OBJECTS[-1][0]
    values = (not isinstance(value, lists) and is_missing(value) for value in objects)
    return np.fromiter(values, bool, len(objects))


def _type_of_object(kind, name):
    if kind is type(None) or kind.__name__ in ("NAType", "NaTType"):
        return NULL
    for types, result in _TYPES_OF_OBJECTS:
        if issubclass(kind, types) and result is not None:
            return result
    raise TypeError(
        f"Column {name!r} contains values of type {kind.__name__}, but each argument must be a "
        "string, a number, a boolean, a date or a list; convert it, or drop the column."
    )


def as_objects(values):
    """An array of objects, of one dimension even if these are lists of the same length."""
    return np.fromiter(values, dtype=object, count=len(values))


def _renumber(codes, n):
    """The codes below ``n`` that occur, and codes among those; None if all of them occur."""
    missing = codes < 0
    if n > 4 * codes.size:
        used, inverse = np.unique(codes[~missing], return_inverse=True)
        result = np.full(codes.size, -1, np.int32)
        result[~missing] = inverse
        return used, result
    occurs = np.bincount(codes[~missing] if missing.any() else codes, minlength=n) > 0
    if occurs.all():
        return None, codes.astype(np.int32, copy=False)
    table = np.append(np.cumsum(occurs, dtype=np.int32) - np.int32(1), np.int32(-1))
    return np.flatnonzero(occurs), np.where(missing, np.int32(-1), table[codes])


def plain(value):
    """A value as str, bool, int or float; whole floats as int; None if it is missing."""
    if type(value) is str or type(value) is bool or type(value) is int:
        return value
    if is_missing(value):
        return None
    if isinstance(value, str):
        return str(value)
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, Decimal):
        value = int(value) if value == value.to_integral_value() else float(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def merge(values):
    """Codes of values that may be missing or equal after conversion, and the distinct values."""
    if set(map(type, values)) <= {str} and len(set(values)) == len(values):
        return np.arange(len(values), dtype=np.int32), values
    places, codes = {}, np.empty(len(values), np.int32)
    for i, value in enumerate(map(plain, values)):
        codes[i] = -1 if value is None else places.setdefault(value, len(places))
    return codes, list(places)


def _categories_of_objects(objects):
    distinct = dict.fromkeys(objects)
    codes, values = merge(list(distinct))
    if len(distinct) == len(objects):
        return Categories(codes, values)
    places = dict(zip(distinct, codes.tolist(), strict=True))
    return Categories(
        np.fromiter(map(places.__getitem__, objects), np.int32, len(objects)), values
    )


def _categories_of_array(array):
    distinct, inverse = np.unique(array, return_inverse=True)
    if array.dtype.kind == "M":
        n_known = distinct.size - np.isnat(distinct).sum()  # NaT comes last
        codes = np.append(np.arange(n_known, dtype=np.int32), np.int32(-1))
        return Categories(codes[np.minimum(inverse.ravel(), n_known)], list(distinct[:n_known]))
    codes, values = merge(distinct.tolist())
    return Categories(codes[inverse.ravel()], values)


def _hash_values(values, seed):
    """Hashes of distinct values; a string never has that of a number or boolean."""
    texts = [value if type(value) is str else f"\0{value!r}" for value in values]
    parts = [text.encode("utf-8", "surrogatepass") for text in texts]
    offsets = np.zeros(len(parts) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, parts), np.int64, len(parts)), out=offsets[1:])
    return hash_bytes(offsets, np.frombuffer(b"".join(parts), np.uint8), seed)


def hash_bytes(offsets, data, seed):
    result = np.empty(offsets.size - 1, np.uint64)
    hash_strings(read_only(offsets), read_only(data), np.uint64(seed), result)
    return result
