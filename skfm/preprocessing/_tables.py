"""Tables in any container: their names, and their columns one by one."""

import importlib.util
import sys
from functools import cache

import numpy as np
from scipy import sparse

from skfm._utils.lazy import refuse_lazy
from skfm.preprocessing._columns import FEW, ArrayColumn, DictionaryColumn, as_objects
from skfm.preprocessing._log_table import rows_as_array

MANY = 100_000  # rows, whose columns take much memory
_INSTALL = "pip install 'skfm[tables]'"


class InputTable:
    """A table whose columns are read when they are needed.

    Parameters
    ----------
    X : DataFrame, Arrow table, object with an Arrow C stream, array or list of rows

    Attributes
    ----------
    names : list of str or None
        Names of the columns, if they are strings.
    labels : list of str
        The same, or else x0, x1, ...
    n_rows : int
    """

    def __init__(self, X):
        self._read, names, self.n_rows, n_columns = _open(X)
        self.names = _check_names(names)
        self.labels = self.names or [f"x{position}" for position in range(n_columns)]
        self._columns = {}

    def column(self, position):
        if position not in self._columns:
            self._columns[position] = self._read(position, self.labels[position])
        return self._columns[position]

    def forget(self, position):
        """Free what has been read of a column; it may be read again."""
        self._columns.pop(position, None)

    def release_memory(self):
        """Return to the system what Arrow has freed but kept, perhaps as much as a result."""
        if self.n_rows > MANY and "pyarrow" in sys.modules:
            sys.modules["pyarrow"].default_memory_pool().release_unused()


def _open(X):
    """A function that reads a column, the names of the columns, and the shape."""
    refuse_lazy(X)
    if sparse.issparse(X):
        raise TypeError(
            "Sparse data was passed for X, but dense data is required: X must be a table with a "
            "row for each sample."
        )
    if hasattr(X, "to_frame") and not hasattr(X, "columns"):
        raise ValueError(
            f"Expected a table with a row for each sample, but X is a {type(X).__name__}. Reshape "
            "your data to a table, for example with X.to_frame()."
        )
    if hasattr(X, "iloc") and hasattr(X, "columns"):
        return lambda i, name: _pandas_column(name, X.iloc[:, i]), list(X.columns), *X.shape
    if hasattr(X, "__arrow_c_stream__") or hasattr(X, "__arrow_c_array__"):
        if has_arrow():
            return _open_arrow(X)
        if not hasattr(X, "get_column"):
            raise ImportError(
                f"To read a {type(X).__name__} as an Arrow table, install pyarrow: {_INSTALL}."
            )
        columns = list(X.columns)
        return lambda i, name: _polars_column(name, X.get_column(columns[i])), columns, *X.shape
    return _open_array(np.asarray(X) if hasattr(X, "__array__") else rows_as_array(X))


@cache
def has_arrow():
    return importlib.util.find_spec("pyarrow") is not None


def _open_arrow(X):
    import pyarrow as pa

    from skfm.preprocessing._arrow_columns import arrow_column

    try:
        table = X if isinstance(X, pa.Table) else pa.table(X)
    except (pa.ArrowException, TypeError) as error:
        raise TypeError(
            f"X, a {type(X).__name__}, cannot be read as an Arrow table ({error}); convert its "
            "columns to strings, numbers, booleans, dates or lists."
        ) from error
    return lambda i, name: arrow_column(name, table.column(i)), table.column_names, *table.shape


def _open_array(X):
    if X.ndim != 2:
        raise ValueError(
            f"Expected a table with a row for each sample, but X has the shape {X.shape}. "
            "Reshape your data to a list of rows, even for a single sample."
        )
    if X.dtype.kind == "c":
        raise ValueError("Complex data not supported: values are numbers, strings or objects.")
    return lambda i, name: _array_column(name, X[:, i]), None, *X.shape


def _array_column(name, array):
    """A column of an array; with pyarrow, strings are read faster than as Python objects."""
    is_long = array.dtype.kind == "O" and array.size > FEW
    if is_long and has_arrow() and any(isinstance(value, str) for value in array[:FEW]):
        from skfm.preprocessing._arrow_columns import object_column

        column = object_column(name, array)
        if column is not None:
            return column
    return ArrayColumn(name, array)


def _pandas_column(name, series):
    dtype = series.dtype
    if getattr(dtype, "categories", None) is not None and hasattr(series, "cat"):
        codes, categories = series.array.codes, series.array.categories
        if type(categories).__name__ in ("IntervalIndex", "PeriodIndex"):
            categories = categories.astype(str)
        if len(series) <= FEW:
            values = [None if code < 0 else categories[code] for code in codes.tolist()]
            return ArrayColumn(name, as_objects(values), is_categorical=True)
        return DictionaryColumn(name, codes, _pandas_column(name, categories.to_series()))
    in_arrow = hasattr(dtype, "pyarrow_dtype") or "pyarrow" in str(getattr(dtype, "storage", ""))
    if in_arrow:
        import pyarrow as pa

        from skfm.preprocessing._arrow_columns import arrow_column

        array = series.array.__arrow_array__()
        return arrow_column(
            name, array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])
        )
    if getattr(dtype, "tz", None) is not None:
        times = series.dt.tz_convert("UTC").dt.tz_localize(None)
        return ArrayColumn(name, times.to_numpy(), str(dtype.tz))
    if hasattr(dtype, "numpy_dtype") and not isinstance(dtype, np.dtype):  # Int64 and the like
        return ArrayColumn(name, _read_masked(series))
    return _array_column(name, series.to_numpy())


def _read_masked(series):
    kind = np.dtype(series.dtype.numpy_dtype).kind
    if not series.isna().any():
        return series.to_numpy(dtype=series.dtype.numpy_dtype)
    if kind == "b" or (kind in "iu" and (series.abs() > 2**53).any()):  # inexact as floats
        return series.to_numpy(dtype=object, na_value=None)
    return series.to_numpy(dtype=np.float64, na_value=np.nan)


def _polars_column(name, series):
    return ArrayColumn(name, series.to_numpy(), getattr(series.dtype, "time_zone", None))


def _check_names(names):
    """Names of columns if all are strings, None if none is."""
    if names is None or not any(isinstance(name, str) for name in names):
        return None
    strange = next((name for name in names if not isinstance(name, str)), None)
    if strange is not None:
        raise TypeError(
            "Feature names are only supported if all input features have string names, but your "
            f"input has {type(strange).__name__} as a column name. Convert them, for example with "
            "X.columns = X.columns.astype(str)."
        )
    twin = next((name for name in names if names.count(name) > 1), None)
    if twin is not None:
        raise ValueError(f"Several columns of X have the name {twin!r}; rename all but one.")
    return [str(name) for name in names]
