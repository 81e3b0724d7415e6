"""Logs of events: their columns, checked and converted."""

from datetime import UTC, date
from itertools import chain

import numpy as np
from scipy import sparse

from skfm._utils.ids import is_missing, refuse_rows, simplify
from skfm._utils.lazy import refuse_lazy

# Types that float() or NumPy would convert to numbers, although they are not.
NO_NUMBERS = (str, bytes, date, np.datetime64, np.timedelta64, complex, np.complexfloating)


class Table:
    """A DataFrame, an array or a list of rows, whose columns are taken one by one."""

    def __init__(self, X):
        refuse_lazy(X)
        self.names, self.from_pandas = None, False
        if hasattr(X, "columns") and hasattr(X, "dtypes"):
            self.names, self.from_pandas = list(X.columns), hasattr(X, "iloc")
            self.shape = (len(X), len(self.names))
        else:
            if sparse.issparse(X):
                raise ValueError("X must be a log with a row for each event, not a sparse matrix.")
            X = np.asarray(X) if hasattr(X, "__array__") else rows_as_array(X)
            self.shape = X.shape
        if self.shape and self.shape[0] == 0:
            raise ValueError("X is an empty log: it has no rows.")
        self.data = X

    def column(self, position):
        column = self._take(position)
        if getattr(column.dtype, "tz", None) is not None:
            column = column.dt.tz_convert(None)  # UTC; otherwise it would become slow objects
        if self.has_categories(position):  # integers would become floats if some are missing
            return np.fromiter(column.to_list(), dtype=object, count=len(column))
        return np.asarray(column)

    def has_categories(self, position):
        """Whether a column of a DataFrame has a categorical dtype."""
        return getattr(self._take(position).dtype, "categories", None) is not None

    def _take(self, position):
        if self.names is None:
            return self.data[:, position]
        # pandas allows a name twice, others do not.
        return self.data.iloc[:, position] if self.from_pandas else self.data[self.names[position]]


def rows_as_array(X):
    """An array of objects: with a common type, numbers next to strings would become strings."""
    listed = isinstance(X, (list, tuple)) and all(isinstance(row, (list, tuple)) for row in X)
    if not listed or len(lengths := set(map(len, X))) != 1:
        return np.array(X, dtype=object)
    # Elements that are lists or tuples themselves are kept.
    shape = len(X), *lengths
    return np.fromiter(chain.from_iterable(X), dtype=object, count=np.prod(shape)).reshape(shape)


def as_numbers(column, name, subject):
    """A column of values or times as finite float64; ``subject`` is what errors call it."""
    numbers = to_float(column, name, subject)
    refuse_rows(~np.isfinite(numbers), f"{name} are missing or infinite")
    return numbers


def to_float(column, name, subject):
    """A column as float64, None as NaN. Other types that NumPy would convert raise an error."""
    types = set(map(type, column)) if column.dtype.kind == "O" else {column.dtype.type}
    strange = [t for t in types if issubclass(t, NO_NUMBERS)]
    try:
        if strange:
            raise TypeError(f"got {strange[0].__name__}")
        return column.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        wanted = "numbers or datetimes" if name == "times" else "numbers"
        remedy = "convert it"
        if name in ("values", "times"):
            remedy += f", or set {name[:-1]} to another column or None"
        if name == "values" and strange and issubclass(strange[0], (date, np.datetime64)):
            remedy = "if they are times, set time to this column"
        if strange and issubclass(strange[0], str):
            remedy += (
                "; if NumPy has converted all columns to strings, pass a list of rows or a "
                "DataFrame instead"
            )
        raise ValueError(f"{subject} must contain {wanted} ({error}); {remedy}.") from error


def as_times(column, subject):
    """A column of times as integers, finite floats or datetime64, in the same order."""
    if column.dtype.kind == "O":
        types = set(map(type, column)) - {type(None)}
        if types and all(issubclass(t, (date, np.datetime64)) for t in types):
            refuse_rows([is_missing(time) for time in column], "times are missing")
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
