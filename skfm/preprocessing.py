"""From a log of who did what to a matrix of users by items, and back."""

from dataclasses import dataclass
from datetime import UTC, date
from itertools import repeat

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from skfm import _validation as door

COLUMNS = ("user", "item", "value", "time")
N_NAMED = 5  # an error names this many unknown ids
# What float() or NumPy would make a number of, one way or another.
NO_NUMBERS = (str, bytes, date, np.datetime64, np.timedelta64, complex, np.complexfloating)


class UserItemEncoder(BaseEstimator):
    """Turn a log of users and items into a matrix of users by items.

    A log has a row for each event: who, what, and if wanted how much and when. The matrix has a
    row for each user, a column for each item and a stored cell for each pair that occurs in the
    log. It is what :class:`~skfm.MFRecommender` fits. Ids may be integers, strings or any other
    objects that can be hashed and compared; ``user_ids_[rows]`` and ``item_ids_[columns]`` give
    them back.

    The columns of a log are taken by position, whatever they are called:

    1. user,
    2. item,
    3. value (optional): a rating, a count, a price. Without it each event counts 1.
    4. time (optional): numbers or datetimes.

    A log with times but no values needs a column of ones before the times.

    Parameters
    ----------
    duplicates : {"sum", "last"}, default="sum"
        What to store if a pair of user and item has several events: the sum of their values, or
        the value of the last event. The last one is the latest by time, and of several at the
        same time, or in a log without times, the one furthest down.
    handle_unknown : {"error", "ignore"}, default="error"
        What to do with users or items that were not in the log of the fit: raise an error, or
        drop their events. :meth:`encode_users` and :meth:`encode_items` mark ignored ones by -1.
    dtype : {np.float64, np.float32}, default=np.float64
        Type of the values in the matrix. Sums are computed in float64.

    Attributes
    ----------
    user_ids_ : ndarray of shape (n_users,)
        The user of each row of the matrix: sorted, or in order of first appearance if the ids
        cannot be sorted. Numbers keep their type, everything else is in an array of objects.
    item_ids_ : ndarray of shape (n_items,)
        The item of each column of the matrix, in the same way.
    n_columns_ : int
        Number of columns of the log of the fit: 2, 3 or 4.
    column_names_ : list or None
        Names of the columns of the log of the fit; None if it was not a DataFrame.

    Notes
    -----
    The encoder turns the rows of a log into cells of a matrix. So the number of rows changes, and
    it cannot be a step of a scikit-learn ``Pipeline``: use it before.

    A value of 0 is stored, as is a sum of 0: a rating of 0 is a rating.

    Numbers match if they are equal, so a user 7 is known as 7.0, too, but not as "7".

    Times may be integers, floats, ``datetime64`` or ``datetime`` objects; those without a time
    zone count as UTC.

    NumPy makes strings of everything when it gets a list of strings and numbers. Pass the list
    itself, a DataFrame, or an array with ``dtype=object``.

    Examples
    --------
    >>> from skfm.preprocessing import UserItemEncoder
    >>> log = [
    ...     ("ann", "alien", 2),
    ...     ("bob", "brazil", 4),
    ...     ("ann", "casablanca", 3),
    ...     ("ann", "alien", 5),
    ... ]
    >>> encoder = UserItemEncoder(duplicates="last")
    >>> X = encoder.fit_transform(log)
    >>> X.toarray()
    array([[5., 0., 3.],
           [0., 4., 0.]])
    >>> encoder.user_ids_.tolist()
    ['ann', 'bob']
    >>> encoder.item_ids_[[2, 0]].tolist()
    ['casablanca', 'alien']
    >>> encoder.encode_items(["brazil"]).tolist()
    [1]

    A new user has a row of their own, with the columns of the fit:

    >>> X_new, users = encoder.transform_new_users([("eve", "brazil", 1), ("eve", "alien", 4)])
    >>> X_new.toarray()
    array([[4., 1., 0.]])
    >>> users.tolist()
    ['eve']
    """

    def __init__(self, *, duplicates="sum", handle_unknown="error", dtype=np.float64):
        self.duplicates = duplicates
        self.handle_unknown = handle_unknown
        self.dtype = dtype

    def fit(self, X, y=None):
        """Learn the users and the items of a log.

        Parameters
        ----------
        X : DataFrame, array-like or list of rows, of shape (n_events, 2 to 4)
            Log: user, item and, if wanted, value and time.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The fitted encoder.

        Raises
        ------
        ValueError
            If a parameter is not usable or X is not a log: no rows, a wrong number of columns,
            missing ids, values or times that are missing, infinite or no numbers.
        TypeError
            If ids cannot be hashed (lists, for instance).
        """
        self._check_parameters()
        log = _read_log(X)
        users, _ = _Ids.learn(log.users, "user")
        items, _ = _Ids.learn(log.items, "item")
        self._keep(log, users, items)
        return self

    def fit_transform(self, X, y=None):
        """Learn the users and the items of a log and return its matrix.

        Parameters
        ----------
        X : DataFrame, array-like or list of rows, of shape (n_events, 2 to 4)
            Log: user, item and, if wanted, value and time.
        y : None
            Ignored.

        Returns
        -------
        matrix : CSR matrix of shape (n_users, n_items)
            The same as ``fit(X).transform(X)``, in less time.

        Raises
        ------
        ValueError
            If a parameter is not usable or X is not a log, as for :meth:`fit`, or if a sum is too
            large for `dtype`.
        TypeError
            If ids cannot be hashed (lists, for instance).
        """
        self._check_parameters()
        log = _read_log(X)
        users, rows = _Ids.learn(log.users, "user")
        items, columns = _Ids.learn(log.items, "item")
        events = _Events(rows, columns, log.values, log.times)
        # The matrix first: if it cannot be made, the encoder stays as it was.
        matrix = events.to_csr((len(users.ids), len(items.ids)), self.duplicates, self.dtype)
        self._keep(log, users, items)
        return matrix

    def transform(self, X):
        """Return the matrix of a log, with the rows and columns of the fit.

        Parameters
        ----------
        X : DataFrame, array-like or list of rows, of shape (n_events, 2 to 4)
            Log. It has values if the log of the fit had; times may be there or not. Names of
            columns, if both logs have them, are the same as in the fit.

        Returns
        -------
        matrix : CSR matrix of shape (n_users, n_items)
            Canonical (sorted, no duplicates), with int32 indices where they suffice.

        Raises
        ------
        ValueError
            If X is not such a log, if a user or an item is unknown and
            ``handle_unknown="error"``, or if a sum is too large for `dtype`.
        """
        log = self._read(X)
        events = self._known_events(log)
        return events.to_csr(self._shape(), self.duplicates, self.dtype)

    def transform_new_users(self, X):
        """Return the matrix of a log whose users need not be known, and these users.

        This is for users that came after the fit: :class:`~skfm.MFRecommender` folds them in
        from their rows alone. A user who is known from the fit gets a new row all the same.

        Parameters
        ----------
        X : DataFrame, array-like or list of rows, of shape (n_events, 2 to 4)
            Log as for :meth:`transform`.

        Returns
        -------
        matrix : CSR matrix of shape (n_new_users, n_items)
            One row for each distinct user in `X`, in order of first appearance; columns as in
            the fit. The row of a user whose items are all unknown is empty.
        user_ids : ndarray of shape (n_new_users,)
            The user of each row.

        Raises
        ------
        ValueError
            If X is not such a log, if an item is unknown and ``handle_unknown="error"``, or if a
            sum is too large for `dtype`.
        TypeError
            If ids cannot be hashed (lists, for instance).
        """
        log = self._read(X)
        users, rows = _distinct(log.users, "user", by_appearance=True)
        columns = self._find(self._items, log.items, "item")
        events = _Events(rows, columns, log.values, log.times).known()
        shape = (len(users), len(self.item_ids_))
        return events.to_csr(shape, self.duplicates, self.dtype), users

    def transform_time(self, X):
        """Return when the last event of each pair of user and item was.

        The stored cells are those of ``transform(X)``, which is what
        :func:`~skfm.model_selection.leave_last_out` asks for.

        Parameters
        ----------
        X : DataFrame, array-like or list of rows, of shape (n_events, 4)
            Log as for :meth:`transform`, with times.

        Returns
        -------
        times : CSR matrix of shape (n_users, n_items)
            In float64, whatever `dtype` is: numbers as they are, datetimes as seconds since the
            beginning of 1970 (UTC). A time of 0 is stored.

        Raises
        ------
        ValueError
            If X is not such a log or has no times, or if a user or an item is unknown and
            ``handle_unknown="error"``.
        """
        log = self._read(X)
        if log.times is None:
            raise ValueError(
                f"X has no times: transform_time needs the four columns {', '.join(COLUMNS)}; got "
                f"{log.n_columns}."
            )
        events = self._known_events(log)
        events.values = _as_seconds(events.times)
        return events.to_csr(self._shape(), "last", np.float64)

    def encode_users(self, ids):
        """Return the rows of users.

        Parameters
        ----------
        ids : array-like of shape (n,)
            Ids of users.

        Returns
        -------
        rows : ndarray of shape (n,)
            Positions in ``user_ids_``, -1 for unknown users if ``handle_unknown="ignore"``.

        Raises
        ------
        ValueError
            If ids are missing or not one-dimensional, or if a user is unknown and
            ``handle_unknown="error"``.

        Examples
        --------
        >>> from skfm.preprocessing import UserItemEncoder
        >>> encoder = UserItemEncoder(handle_unknown="ignore").fit([[30, 1], [10, 1], [20, 2]])
        >>> encoder.encode_users([30, 10, 40]).tolist()
        [2, 0, -1]
        """
        check_is_fitted(self)
        self._check_parameters()
        return self._find(self._users, _read_ids(ids, "user"), "user", "to get -1 for them")

    def encode_items(self, ids):
        """Return the columns of items.

        Parameters
        ----------
        ids : array-like of shape (n,)
            Ids of items.

        Returns
        -------
        columns : ndarray of shape (n,)
            Positions in ``item_ids_``, -1 for unknown items if ``handle_unknown="ignore"``.

        Raises
        ------
        ValueError
            If ids are missing or not one-dimensional, or if an item is unknown and
            ``handle_unknown="error"``.

        Examples
        --------
        >>> from skfm.preprocessing import UserItemEncoder
        >>> encoder = UserItemEncoder().fit([["ann", "tea"], ["bob", "milk"]])
        >>> encoder.encode_items(["tea", "milk", "tea"]).tolist()
        [1, 0, 1]
        """
        check_is_fitted(self)
        self._check_parameters()
        return self._find(self._items, _read_ids(ids, "item"), "item", "to get -1 for them")

    def inverse_transform(self, matrix):
        """Return a matrix as a log of users, items and values.

        Parameters
        ----------
        matrix : {sparse matrix, sparse array, array-like} of shape (n_users, n_items)
            Matrix with the rows and columns of the fit. Each stored cell is an event, each
            nonzero one if the matrix is dense.

        Returns
        -------
        log : DataFrame of shape (n_events, 3) or tuple of three ndarrays of shape (n_events,)
            Users, items and values, by row and column of the matrix. A DataFrame, its columns
            named as in the fit, if the encoder was fitted on a DataFrame of pandas. A column of
            values which the fit did not have is called "value".

        Raises
        ------
        ValueError
            If the matrix has another shape.

        Examples
        --------
        >>> from skfm.preprocessing import UserItemEncoder
        >>> encoder = UserItemEncoder()
        >>> X = encoder.fit_transform([("bob", "tea"), ("ann", "tea"), ("bob", "tea")])
        >>> users, items, values = encoder.inverse_transform(X)
        >>> users.tolist(), items.tolist(), values.tolist()
        (['ann', 'bob'], ['tea', 'tea'], [1.0, 2.0])
        """
        check_is_fitted(self)
        matrix = sparse.csr_matrix(matrix)
        if matrix.shape != self._shape():
            raise ValueError(
                f"The matrix has the shape {matrix.shape}, expected {self._shape()}: users and "
                "items of the fit."
            )
        if not matrix.has_canonical_format:
            matrix = matrix.copy()  # its arrays may be the caller's
            matrix.sum_duplicates()
        rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
        log = self.user_ids_[rows], self.item_ids_[matrix.indices], matrix.data.copy()
        if not self._from_pandas:
            return log
        import pandas as pd

        frame = pd.DataFrame(dict(enumerate(log)))
        frame.columns = [*self.column_names_, "value"][:3]
        return frame

    def _check_parameters(self):
        door.check_option(self.duplicates, "duplicates", ("sum", "last"))
        door.check_option(self.handle_unknown, "handle_unknown", ("error", "ignore"))
        if self.dtype not in (np.float64, np.float32):
            raise ValueError(f"dtype must be np.float64 or np.float32; got {self.dtype!r}.")

    def _keep(self, log, users, items):
        self._users, self._items = users, items
        self._from_pandas = log.from_pandas
        self.user_ids_, self.item_ids_ = users.ids, items.ids
        self.n_columns_, self.column_names_ = log.n_columns, log.names

    def _shape(self):
        return len(self.user_ids_), len(self.item_ids_)

    def _read(self, X):
        """The log, if it is like the one of the fit."""
        check_is_fitted(self)
        self._check_parameters()
        log = _read_log(X)
        if (log.n_columns == 2) != (self.n_columns_ == 2):
            raise ValueError(
                f"X has {log.n_columns} columns, but the encoder was fitted on {self.n_columns_} "
                f"({', '.join(COLUMNS[: self.n_columns_])}): either both logs have values or none."
            )
        names, fitted = log.names or [], self.column_names_ or []
        n = min(len(names), len(fitted))
        # Unnamed columns of a DataFrame are called 0, 1, 2: no names to compare.
        named = all(isinstance(name, str) for name in [*names[:n], *fitted[:n]])
        if named and names[:n] != fitted[:n]:
            raise ValueError(
                f"X has the columns {names}, but the encoder was fitted on {fitted}; columns are "
                "taken by position, so bring them into the same order or rename them."
            )
        return log

    def _known_events(self, log):
        rows = self._find(self._users, log.users, "user")
        columns = self._find(self._items, log.items, "item")
        return _Events(rows, columns, log.values, log.times).known()

    def _find(self, known, column, name, ignored="to drop their events"):
        """Positions of the ids in a column; unknown ones are -1 or an error."""
        positions = known.find(column, name)
        if self.handle_unknown == "error" and (positions < 0).any():
            unknown, _ = _distinct(column[positions < 0], name, by_appearance=True)
            named = ", ".join(map(repr, _as_objects(unknown[:N_NAMED])))
            cure = f"fit on a log that has them, or set handle_unknown='ignore' {ignored}"
            if name == "user":
                cure += "; transform_new_users takes users who came later"
            raise ValueError(
                f"{len(unknown)} {name}(s) were not in the log of the fit: {named}"
                f"{', ...' if len(unknown) > N_NAMED else ''}. Either {cure}."
            )
        return positions


@dataclass
class _Log:
    """The columns of a log, checked, each in its simplest type."""

    users: np.ndarray
    items: np.ndarray
    values: np.ndarray  # ones if the log has none
    times: np.ndarray | None  # numbers or datetime64
    n_columns: int
    names: list | None
    from_pandas: bool


@dataclass
class _Events:
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
        return _Events(self.rows[known], self.columns[known], self.values[known], times)

    def to_csr(self, shape, duplicates, dtype):
        """Matrix with one stored cell for each pair of row and column."""
        n_rows, n_columns = shape
        cell = self.rows.astype(np.int64) * n_columns + self.columns
        # Both sorts are stable: of events at the same time the one further down stays behind.
        if duplicates == "last" and self.times is not None:
            order = np.lexsort((self.times, cell))
        else:
            order = np.argsort(cell, kind="stable")
        cell, values = cell[order], self.values[order]
        new = np.ones(cell.size, dtype=bool)
        new[1:] = cell[1:] != cell[:-1]
        first = np.flatnonzero(new)
        with np.errstate(over="ignore", invalid="ignore"):
            if duplicates == "sum":
                values = np.add.reduceat(values, first)
            else:
                values = values[np.append(first, cell.size)[1:] - 1]
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


class _Ids:
    """Distinct ids and where each of them is. Numbers are searched, objects looked up."""

    def __init__(self, ids):
        self.ids = ids
        self._places = None

    def __getstate__(self):
        return {"ids": self.ids, "_places": None}  # the dictionary is quickly made again

    @classmethod
    def learn(cls, column, name):
        """The ids of a column and, for each of its rows, the position of its id."""
        ids, positions = _distinct(column, name)
        return cls(ids), positions

    def find(self, column, name):
        """Positions of the ids in a column, -1 for unknown ones."""
        kind, known_kind = column.dtype.kind, self.ids.dtype.kind
        if "O" not in (kind, known_kind) and kind != known_kind and {kind, known_kind} & {*"mM"}:
            _refuse_missing(column, name)
            return np.full(column.size, -1)  # a datetime is no number
        if kind == known_kind != "O":
            _refuse_missing(column, name)
            positions = np.searchsorted(self.ids, column)
            positions[positions == self.ids.size] = 0
            positions[self.ids[positions] != column] = -1
            return positions
        # Also for numbers of two kinds: Python compares 2**53 + 1 with a float exactly.
        if self._places is None:
            objects = _as_objects(self.ids)
            self._places = dict(zip(objects, range(len(objects)), strict=True))
        try:
            found = map(self._places.get, _as_objects(column), repeat(-1))
            positions = np.fromiter(found, dtype=np.intp, count=column.size)
        except TypeError as error:
            raise _not_hashable(name, error) from error
        unknown = positions < 0
        if unknown.any():
            _refuse_missing(column, name, unknown)
        return positions


def _distinct(column, name, *, by_appearance=False):
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


def _not_hashable(name, error):
    return TypeError(f"The ids of {name}s must be hashable, such as numbers or strings ({error}).")


def _is_missing(value):
    """None, NaN, NaT, and what refuses to be compared with itself (pandas.NA)."""
    try:
        return value is None or not bool(value == value)
    except (TypeError, ValueError):
        return True


def _refuse_missing(column, name, suspects=None):
    """Raise an error if ids are missing; of objects, only ``suspects`` are looked at."""
    kind = column.dtype.kind
    if kind == "O":
        missing = np.zeros(column.size, dtype=bool)
        places = np.arange(column.size) if suspects is None else np.flatnonzero(suspects)
        missing[places] = [_is_missing(value) for value in column[places]]
    elif kind in "fc":
        missing = np.isnan(column)
    elif kind in "mM":
        missing = np.isnat(column)
    else:
        return
    _refuse_rows(missing, f"ids of {name}s are missing (None or NaN)")


def _refuse_rows(wrong, what):
    if np.any(wrong):
        raise ValueError(
            f"{np.sum(wrong)} {what}, the first in row {np.argmax(wrong)}; drop these rows."
        )


def _read_log(X):
    """Take a log apart into its columns and check them."""
    names, from_pandas = None, False
    if hasattr(X, "columns") and hasattr(X, "dtypes"):
        names, from_pandas = list(X.columns), hasattr(X, "iloc")
        shape = (len(X), len(names))
    else:
        if sparse.issparse(X):
            raise ValueError("X must be a log with a row for each event, not a sparse matrix.")
        # Lists get no common type: with one, numbers beside strings would become strings.
        X = np.asarray(X) if hasattr(X, "__array__") else np.array(X, dtype=object)
        shape = X.shape
    if shape and shape[0] == 0:
        raise ValueError("X is an empty log: it has no rows.")
    if len(shape) != 2 or not 2 <= shape[1] <= 4:
        raise ValueError(
            f"X has the shape {shape}; expected a log with 2 to 4 columns: {', '.join(COLUMNS)}, "
            "the last two being optional. Leave other columns out."
        )
    columns = [_take_column(X, names, position) for position in range(shape[1])]
    users, items = map(_simplify, columns[:2])
    values = np.ones(shape[0]) if shape[1] == 2 else _as_numbers(columns[2], "values")
    times = _as_times(columns[3]) if shape[1] == 4 else None
    return _Log(users, items, values, times, shape[1], names, from_pandas)


def _take_column(X, names, position):
    if names is None:
        return X[:, position]
    # pandas allows a name twice, others do not.
    column = X.iloc[:, position] if hasattr(X, "iloc") else X[names[position]]
    if getattr(column.dtype, "tz", None) is not None:
        column = column.dt.tz_convert(None)  # UTC; left alone it would become slow objects
    return np.asarray(column)


def _read_ids(ids, name):
    """A list of ids as one array."""
    if hasattr(ids, "__array__"):
        column = np.asarray(ids)
    elif hasattr(ids, "__len__") and not isinstance(ids, (str, bytes)):
        column = np.fromiter(ids, dtype=object, count=len(ids))
    else:
        column = None
    if column is None or column.ndim != 1:
        raise ValueError(f"Expected a list or one-dimensional array of ids of {name}s.")
    return _simplify(column)


def _simplify(column):
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


def _as_objects(column):
    """Elements of a column as a list of Python objects."""
    # tolist() would make numbers of some datetimes.
    return list(column) if column.dtype.kind in "mM" else column.tolist()


def _as_numbers(column, name):
    """A column of values or times as finite float64."""
    types = set(map(type, column)) if column.dtype.kind == "O" else {column.dtype.type}
    strange = [t for t in types if issubclass(t, NO_NUMBERS)]
    try:
        if strange:
            raise TypeError(f"got {strange[0].__name__}")
        numbers = column.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        wanted, cure = "numbers", "convert it"
        if name == "times":
            wanted = "numbers or datetimes"
        elif strange and issubclass(strange[0], (date, np.datetime64)):
            cure = "a log with times but no values needs a column of ones before the times"
        if strange and issubclass(strange[0], str):
            cure += "; if NumPy made strings of all, pass a list of rows or a DataFrame instead"
        raise ValueError(
            f"Column {COLUMNS.index(name[:-1]) + 1} of the log, the {name}, must hold {wanted} "
            f"({error}); {cure}."
        ) from error
    _refuse_rows(~np.isfinite(numbers), f"{name} are missing or infinite")
    return numbers


def _as_times(column):
    """A column of times as integers, finite floats or datetime64; order and ties as given."""
    if column.dtype.kind == "O":
        types = set(map(type, column)) - {type(None)}
        if types and all(issubclass(t, (date, np.datetime64)) for t in types):
            _refuse_rows([_is_missing(time) for time in column], "times are missing")
            return np.array([_without_zone(time) for time in column], dtype="datetime64")
        column = _simplify(column)
    if column.dtype.kind == "M":
        _refuse_rows(np.isnat(column), "times are missing")
        return column
    # Integers stay: nanoseconds since 1970 would be rounded as float64.
    return column if column.dtype.kind in "iu" else _as_numbers(column, "times")


def _without_zone(time):
    """The time in UTC; a time without a zone is in UTC already."""
    if getattr(time, "tzinfo", None) is None:
        return time
    return time.astimezone(UTC).replace(tzinfo=None)


def _as_seconds(times):
    if times.dtype.kind != "M":
        return times.astype(np.float64)
    return (times - np.datetime64(0, "s")) / np.timedelta64(1, "s")
