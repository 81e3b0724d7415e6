"""Logs of users and items: their columns read and checked, ids as positions, cells of events."""

import numbers
from dataclasses import dataclass
from datetime import UTC, date, timedelta
from itertools import chain, repeat

import numpy as np
from scipy import sparse

from skfm._roles import ROLES
from skfm._solvers.caller import warn
from skfm._solvers.pickling import Kept

# What float() or NumPy would make a number of, one way or another.
NO_NUMBERS = (str, bytes, date, np.datetime64, np.timedelta64, complex, np.complexfloating)
# Types whose values may be equal; those of two families never are. For NumPy, durations are
# integers, so these come first.
FAMILIES = (
    (timedelta, np.timedelta64),
    (numbers.Number, np.bool_),
    str,
    bytes,
    (date, np.datetime64),
)


@dataclass
class Events:
    """A log as numbers: all arrays of shape (n_events,)."""

    rows: np.ndarray
    columns: np.ndarray
    values: np.ndarray
    times: np.ndarray | None

    def known(self):
        """Without the events of unknown users or items, whose rows or columns are negative."""
        known = (self.rows >= 0) & (self.columns >= 0)
        if known.all():
            return self
        times = None if self.times is None else self.times[known]
        return Events(self.rows[known], self.columns[known], self.values[known], times)

    def n_repeated(self, n_columns):
        """Number of pairs of row and column that have several events."""
        _, counts = np.unique(self._cells(n_columns), return_counts=True)
        return np.count_nonzero(counts > 1)

    def to_csr(self, shape, duplicates, dtype):
        """Matrix with one stored cell for each pair of row and column."""
        n_rows, n_columns = shape
        cell = self._cells(n_columns)
        # Both sorts are stable: of events at the same time the one further down stays behind.
        if duplicates == "last" and self.times is not None:
            order = np.lexsort((self.times, cell))
        else:
            order = np.argsort(cell, kind="stable")
        cell, values = cell[order], self.values[order]
        new = np.ones(cell.size, dtype=bool)
        new[1:] = cell[1:] != cell[:-1]
        first = np.flatnonzero(new)
        counts = np.diff(np.append(first, cell.size))
        with np.errstate(over="ignore", invalid="ignore"):
            if duplicates == "last":
                values = values[first + counts - 1]
            else:
                values = np.add.reduceat(values, first)
            if duplicates == "mean":
                values /= counts
            values = values.astype(dtype, copy=False)
        if not np.isfinite(values).all():
            raise ValueError(
                f"A value, or the sum of a user's values for an item, is too large for "
                f"{np.dtype(dtype).name}; scale the values"
                f"{', or set dtype=np.float64' if dtype == np.float32 else ''}."
            )
        rows, columns = np.divmod(cell[first], n_columns)
        indptr = np.append(0, np.cumsum(np.bincount(rows, minlength=n_rows)))
        small = max(first.size, n_columns) <= np.iinfo(np.int32).max
        index = np.int32 if small else np.int64
        return sparse.csr_matrix((values, columns.astype(index), indptr.astype(index)), shape)

    def _cells(self, n_columns):
        return self.rows.astype(np.int64) * n_columns + self.columns


class Ids(Kept):
    """Distinct ids and where each of them is. Numbers are searched, objects looked up."""

    def __init__(self, ids):
        self.ids = ids
        self._places = None

    def __getstate__(self):
        return super().__getstate__() | {"_places": None}  # which is quickly made again

    @classmethod
    def learn(cls, column, name):
        """The ids of a column and, for each of its rows, the position of its id."""
        ids, positions = distinct(column, name)
        return cls(ids), positions

    def find(self, column, name):
        """Positions of the ids in a column, -1 for unknown ones."""
        kind, known_kind = column.dtype.kind, self.ids.dtype.kind
        if "O" not in (kind, known_kind) and kind != known_kind and {kind, known_kind} & {*"mM"}:
            _refuse_missing(column, name)
            return np.full(column.size, -1)  # a datetime is no number
        if kind == known_kind != "O" and self.ids.size:
            _refuse_missing(column, name)
            positions = np.searchsorted(self.ids, column)
            positions[positions == self.ids.size] = 0
            positions[self.ids[positions] != column] = -1
            return positions
        # Also for numbers of two kinds: Python compares 2**53 + 1 with a float exactly.
        if self._places is None:
            objects = as_objects(self.ids)
            self._places = dict(zip(objects, range(len(objects)), strict=True))
        try:
            found = map(self._places.get, as_objects(column), repeat(-1))
            positions = np.fromiter(found, dtype=np.intp, count=column.size)
        except TypeError as error:
            raise _not_hashable(name, error) from error
        unknown = positions < 0
        if unknown.any():
            _refuse_missing(column, name, unknown)
        return positions

    def find_expected(self, column, name):
        """The same positions, with a warning if no id can be known because of its type."""
        positions = self.find(column, name)
        if (positions < 0).all() and (difference := self.difference(column)):
            warn(f"None of the {column.size} {_of(name)} is known: {difference}.", UserWarning)
        return positions

    def difference(self, column):
        """How the types of a column's ids differ from those of the known ones; empty if they may
        be equal."""
        types, known_types = _types(column), _types(self.ids)
        families, known_families = set(map(_family, types)), set(map(_family, known_types))
        if not families or not known_families or families & known_families:
            return ""
        cure = ""
        if known_families == {str}:
            cure = ", for example with astype(str)"
        elif self.ids.dtype.kind in "iuf":
            cure = f", for example with astype({self.ids.dtype.name!r})"
        return (
            f"they are {_name_types(column, types)}, those of the fit "
            f"{_name_types(self.ids, known_types)}; convert them{cure}"
        )


def _types(column):
    if column.dtype.kind == "O":
        return set(map(type, column))
    return {column.dtype.type} if column.size else set()


def _family(kind):
    return next((family for family in FAMILIES if issubclass(kind, family)), kind)


def _name_types(column, types):
    if column.dtype.kind != "O":
        return column.dtype.name
    return " and ".join(sorted({kind.__name__.rstrip("_") for kind in types}))  # str_ is NumPy's


def distinct(column, name, *, by_appearance=False):
    """Distinct ids, sorted if they can and shall be, and for each row the position of its id."""
    if column.dtype.kind != "O":
        _refuse_missing(column, name)
        if not by_appearance:
            return np.unique(column, return_inverse=True)
        ids, first, positions = np.unique(column, return_index=True, return_inverse=True)
        order = np.argsort(first)
        rank = np.empty_like(order)
        rank[order] = np.arange(order.size)
        return ids[order], rank[positions]
    try:
        distinct = list(dict.fromkeys(column))
    except TypeError as error:
        raise _not_hashable(name, error) from error
    if any(map(_is_missing, distinct)):
        _refuse_missing(column, name)
    if not by_appearance:
        try:
            distinct = sorted(distinct)
        except TypeError:
            pass  # an integer and a string, for instance: they stay in order of appearance
    places = dict(zip(distinct, range(len(distinct)), strict=True))
    positions = np.fromiter(map(places.__getitem__, column), dtype=np.intp, count=column.size)
    return np.fromiter(distinct, dtype=object, count=len(distinct)), positions


def _of(name):
    """How errors call a column: ids of users, or of items; values of anything else."""
    return f"ids of {name}s" if name in ROLES else f"values of {name}"


def _not_hashable(name, error):
    return TypeError(
        f"The {_of(name)} must be hashable ({error}): each argument must be a string, a number or "
        "something else that a dictionary takes as a key."
    )


def _is_missing(value):
    """None, NaN, NaT, and what refuses to be compared with itself (pandas.NA)."""
    try:
        return value is None or not bool(value == value)
    except (TypeError, ValueError):
        return True


def find_missing(column, suspects=None):
    """Which rows of a column have no value; of objects, only ``suspects`` are looked at."""
    kind = column.dtype.kind
    if kind in "fc":
        return np.isnan(column)
    if kind in "mM":
        return np.isnat(column)
    missing = np.zeros(column.size, dtype=bool)
    if kind == "O":
        places = np.arange(column.size) if suspects is None else np.flatnonzero(suspects)
        missing[places] = [_is_missing(value) for value in column[places]]
    return missing


def _refuse_missing(column, name, suspects=None):
    refuse_rows(find_missing(column, suspects), f"{_of(name)} are missing (None or NaN)")


def refuse_rows(wrong, what):
    if np.any(wrong):
        raise ValueError(
            f"{np.sum(wrong)} {what}, the first in row {np.argmax(wrong)}; drop these rows."
        )


class Table:
    """A DataFrame, an array or a list of rows, whose columns are taken one by one."""

    def __init__(self, X):
        self.names, self.from_pandas = None, False
        if hasattr(X, "columns") and hasattr(X, "dtypes"):
            self.names, self.from_pandas = list(X.columns), hasattr(X, "iloc")
            self.shape = (len(X), len(self.names))
        else:
            if sparse.issparse(X):
                raise ValueError("X must be a log with a row for each event, not a sparse matrix.")
            X = np.asarray(X) if hasattr(X, "__array__") else _rows_as_array(X)
            self.shape = X.shape
        if self.shape and self.shape[0] == 0:
            raise ValueError("X is an empty log: it has no rows.")
        self.data = X

    def column(self, position):
        column = self._take(position)
        if getattr(column.dtype, "tz", None) is not None:
            column = column.dt.tz_convert(None)  # UTC; left alone it would become slow objects
        if self.has_categories(position):  # integers would become floats if some are missing
            return np.fromiter(column.to_list(), dtype=object, count=len(column))
        return np.asarray(column)

    def has_categories(self, position):
        """Whether a column of a DataFrame says of itself that it holds categories."""
        return getattr(self._take(position).dtype, "categories", None) is not None

    def _take(self, position):
        if self.names is None:
            return self.data[:, position]
        # pandas allows a name twice, others do not.
        return self.data.iloc[:, position] if self.from_pandas else self.data[self.names[position]]


def _rows_as_array(X):
    """Lists get no common type: with one, numbers beside strings would become strings."""
    listed = isinstance(X, (list, tuple)) and all(isinstance(row, (list, tuple)) for row in X)
    if not listed or len(lengths := set(map(len, X))) != 1:
        return np.array(X, dtype=object)
    # Cells that are lists or tuples themselves stay whole.
    shape = len(X), *lengths
    return np.fromiter(chain.from_iterable(X), dtype=object, count=np.prod(shape)).reshape(shape)


def read_ids(ids, name):
    """A list of ids as one array."""
    if hasattr(ids, "__array__"):
        column = np.asarray(ids)
    elif sparse.issparse(ids) or isinstance(ids, (str, bytes)):
        column = None
    elif hasattr(ids, "__len__"):
        column = np.fromiter(ids, dtype=object, count=len(ids))
    else:
        column = None
    if column is None or column.ndim != 1:
        raise ValueError(f"Expected a list or one-dimensional array of ids of {name}s.")
    return simplify(column)


def simplify(column):
    """Objects that are all integers or all floats become numbers, strings become objects."""
    if column.dtype.kind not in "biufcmMO":
        return column.astype(object)
    if column.dtype.kind != "O":
        return column
    types = set(map(type, column))
    if all(issubclass(t, (float, np.floating)) for t in types):
        return column.astype(np.float64)
    # For NumPy a duration is an integer, for Python True and False are.
    if all(issubclass(t, (int, np.integer)) and t not in (bool, np.timedelta64) for t in types):
        try:
            return column.astype(np.int64)
        except OverflowError:
            return column  # objects, as large as they like
    return column  # what is mixed keeps its types: 2**53 + 1 is no float


def as_objects(column):
    """Elements of a column as a list of Python objects."""
    # tolist() would make numbers of some datetimes.
    return list(column) if column.dtype.kind in "mM" else column.tolist()


def as_object_array(column):
    """The same in an array."""
    return np.fromiter(as_objects(column), dtype=object, count=column.size)


def join_ids(first, second):
    """Two columns of ids in one, each id of the type that it has."""
    if first.dtype != second.dtype:
        first, second = as_object_array(first), as_object_array(second)
    return np.concatenate([first, second])


def as_numbers(column, name, subject):
    """A column of values or times as finite float64; ``subject`` is what errors call it."""
    numbers = to_float(column, name, subject)
    refuse_rows(~np.isfinite(numbers), f"{name} are missing or infinite")
    return numbers


def to_float(column, name, subject):
    """A column as float64, None as NaN; what NumPy would only take for a number is refused."""
    types = set(map(type, column)) if column.dtype.kind == "O" else {column.dtype.type}
    strange = [t for t in types if issubclass(t, NO_NUMBERS)]
    try:
        if strange:
            raise TypeError(f"got {strange[0].__name__}")
        return column.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        wanted = "numbers or datetimes" if name == "times" else "numbers"
        cure = "convert it"
        if name in ("values", "times"):
            cure += f", or set {name[:-1]} to another column or None"
        if name == "values" and strange and issubclass(strange[0], (date, np.datetime64)):
            cure = "if they are times, set time to this column"
        if strange and issubclass(strange[0], str):
            cure += "; if NumPy made strings of all, pass a list of rows or a DataFrame instead"
        raise ValueError(f"{subject} must hold {wanted} ({error}); {cure}.") from error


def as_times(column, subject):
    """A column of times as integers, finite floats or datetime64; order and ties as given."""
    if column.dtype.kind == "O":
        types = set(map(type, column)) - {type(None)}
        if types and all(issubclass(t, (date, np.datetime64)) for t in types):
            refuse_rows([_is_missing(time) for time in column], "times are missing")
            return np.array([_without_zone(time) for time in column], dtype="datetime64")
        column = simplify(column)
    if column.dtype.kind == "M":
        refuse_rows(np.isnat(column), "times are missing")
        return column
    # Integers stay: nanoseconds since 1970 would be rounded as float64.
    return column if column.dtype.kind in "iu" else as_numbers(column, "times", subject)


def _without_zone(time):
    """The time in UTC; a time without a zone is in UTC already."""
    if getattr(time, "tzinfo", None) is None:
        return time
    return time.astimezone(UTC).replace(tzinfo=None)


def as_seconds(times):
    if times.dtype.kind != "M":
        return times.astype(np.float64)
    return (times - np.datetime64(0, "s")) / np.timedelta64(1, "s")
