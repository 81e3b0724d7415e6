"""Logs of users and items to matrices, and back."""

from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
from scipy import sparse
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from skfm._utils.column_roles import ROLES, label
from skfm._utils.estimator import PrintableEstimator, VersionedEstimator, all_or_nothing
from skfm._utils.ids import Ids, as_objects, distinct, join_ids, read_ids
from skfm._utils.parameters import FLOAT_TYPE, Options
from skfm._utils.public import public
from skfm._utils.sparse import check_sparse, in_configured_interface, sum_duplicates
from skfm._utils.typing import (
    ColumnKey,
    ColumnLike,
    FloatDType,
    IdArray,
    IntArray,
    LogLike,
    MatrixLike,
    SparseMatrix,
)
from skfm._utils.warnings import warn
from skfm.preprocessing._event_log import Events
from skfm.preprocessing._log_reader import open_log, read_log
from skfm.preprocessing._log_table import as_seconds

N_NAMED = 5  # an error names this many unknown ids


@public("skfm.preprocessing")
class UserItemEncoder(VersionedEstimator, PrintableEstimator):
    """Convert a log of users and items to a user-item matrix.

    A log has one row per event, with the user, the item and, optionally, a value and a time. The
    matrix is the input of :class:`~skfm.MFRecommender`. It has one row per user, one column per
    item, and a stored entry for each user-item pair in the log. Ids may be integers, strings or
    any other objects that can be hashed and compared. ``user_ids_[rows]`` and
    ``item_ids_[columns]`` are the ids of given rows and columns.

    The columns of a log are

    1. user,
    2. item,
    3. value (optional): a rating, a count or an amount. Without values, each event counts as 1.
    4. time (optional): numbers or datetimes.

    In a DataFrame, the order does not matter if the columns have common names, such as "user_id",
    "movie", "Rating" or "timestamp". Other columns, and the columns of lists and arrays, must be
    in the order above. Read more in the :doc:`user guide </matrix_factorization>`.

    Parameters
    ----------
    user, item : str or int, default="auto"
        Columns of the users and of the items: names in a DataFrame, or positions, starting at 0.
        "auto" finds them as described above, and raises an error if they are ambiguous.
    value, time : str, int or None, default="auto"
        Columns of the values and of the times, in the same way. Pass None if there is no such
        column, or to ignore it.
    duplicates : {"auto", "sum", "last", "mean"}, default="auto"
        How to combine several events of a user-item pair: by the sum or the mean of their values,
        or by the value of the last event. The last event is the one with the latest time. Without
        times, or for equal times, it is the one that comes last in the log. Use sums for counts
        and amounts, and the last value or the mean for ratings.

        "auto" counts the events, as "sum" does, if the training log has no values or if all of
        them are 1. Otherwise it uses the last event, and issues a warning with the number of
        repeated pairs.
    handle_unknown : {"error", "ignore"}, default="error"
        Whether to raise an error for users and items that are not in the training log, or to
        ignore their events. :meth:`encode_users` and :meth:`encode_items` return -1 for ignored
        ids.
    dtype : {np.float64, np.float32}, default=np.float64
        Data type of the matrix. Sums are computed in float64.

    Attributes
    ----------
    user_ids_ : ndarray of shape (n_users,)
        Id of the user of each row of the matrix. Ids are sorted or, if they cannot be sorted, in
        order of first appearance. Numbers keep their type; all other ids are in an array of
        objects.
    item_ids_ : ndarray of shape (n_items,)
        Id of the item of each column of the matrix, in the same way.
    columns_ : dict of {str: str or int}
        Columns of the training log that were used as "user", "item", "value" and "time": the names
        in a DataFrame if they are unique, and otherwise the positions. `transform` finds the
        columns of another DataFrame by these names, and those of other logs by their positions.
    n_columns_ : int
        Number of columns of the training log.
    column_names_ : list or None
        Names of the columns of the training log; None if it was not a DataFrame.

    See Also
    --------
    skfm.streams.read_user_item_matrix : The same for logs in files that do not fit into memory.

    Notes
    -----
    The matrix has a different number of rows than the log. The encoder can therefore not be a step
    of a scikit-learn ``Pipeline``: use it before the pipeline.

    Values and sums of 0 are stored, because a rating of 0 is a rating.

    Numbers match if they are equal: the user 7 matches 7.0 but not "7". If all ids in a log are
    unknown for this reason, the error or, with ``handle_unknown="ignore"``, a warning names both
    types.

    With ``value="auto"``, an error is raised if the values look like times, such as seconds since
    1970.

    Times may be integers, floats, ``datetime64`` or ``datetime`` objects. Times without a time
    zone are in UTC.

    NumPy converts a list of strings and numbers to strings. Pass the list itself, a DataFrame, or
    an array with ``dtype=object``.

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

    A new user gets a new row, with the same columns:

    >>> X_new, users = encoder.transform_new_users([("eve", "brazil", 1), ("eve", "alien", 4)])
    >>> X_new.toarray()
    array([[4., 1., 0.]])
    >>> users.tolist()
    ['eve']
    """

    # Columns are checked together with X.
    _constraints: ClassVar[dict] = {
        "duplicates": [Options("auto", "sum", "last", "mean")],
        "handle_unknown": [Options("error", "ignore")],
        "dtype": [FLOAT_TYPE],
    }

    def __init__(
        self,
        *,
        user: ColumnKey = "auto",
        item: ColumnKey = "auto",
        value: ColumnKey | None = "auto",
        time: ColumnKey | None = "auto",
        duplicates: Literal["auto", "sum", "last", "mean"] = "auto",
        handle_unknown: Literal["error", "ignore"] = "error",
        dtype: FloatDType = np.float64,
    ) -> None:
        self.user = user
        self.item = item
        self.value = value
        self.time = time
        self.duplicates = duplicates
        self.handle_unknown = handle_unknown
        self.dtype = dtype

    def fit(self, X: LogLike, y: None = None) -> Self:
        """Learn the users and the items of a log.

        Parameters
        ----------
        X : DataFrame, array-like or list of rows, of shape (n_events, n_columns)
            Log with the columns user, item and, optionally, value and time.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The fitted encoder.

        Raises
        ------
        ValueError
            If a parameter is invalid, or if X is not a valid log: no rows, ambiguous columns,
            missing ids, values or times that are missing, infinite or not numerical, or values
            that look like times.
        TypeError
            If ids cannot be hashed (lists, for instance).
        """
        with all_or_nothing(self):
            self._check_parameters()
            log = read_log(open_log(X), self._columns_wanted())
            users, _ = Ids.learn(log.users, "user")
            items, _ = Ids.learn(log.items, "item")
            self._keep(log.table, log.places, users, items, are_counts=_are_counts(log))
        return self

    def fit_transform(self, X: LogLike, y: None = None) -> SparseMatrix:
        """Learn the users and the items of a log and transform it to a matrix.

        Parameters
        ----------
        X : DataFrame, array-like or list of rows, of shape (n_events, n_columns)
            Log with the columns user, item and, optionally, value and time.
        y : None
            Ignored.

        Returns
        -------
        matrix : CSR matrix of shape (n_users, n_items)
            The same result as ``fit(X).transform(X)``, in less time.

        Raises
        ------
        ValueError
            If a parameter is invalid or X is not a log, as for :meth:`fit`, or if a sum is too
            large for `dtype`.
        TypeError
            If ids cannot be hashed (lists, for instance).

        Warns
        -----
        UserWarning
            If pairs with values are repeated and `duplicates` is "auto".
        """
        with all_or_nothing(self):
            self._check_parameters()
            log = read_log(open_log(X), self._columns_wanted())
            users, rows = Ids.learn(log.users, "user")
            items, columns = Ids.learn(log.items, "item")
            events = Events(rows, columns, log.values, log.times)
            shape = len(users.ids), len(items.ids)
            are_counts = _are_counts(log)
            matrix = self._to_csr(events, shape, are_counts=are_counts)
            self._keep(log.table, log.places, users, items, are_counts=are_counts)
            return in_configured_interface(matrix)

    def transform(self, X: LogLike) -> SparseMatrix:
        """Transform a log to a matrix, with the rows and columns of the training log.

        Parameters
        ----------
        X : DataFrame, array-like or list of rows, of shape (n_events, n_columns)
            Log. It needs values if the training log has values; times are optional. If both logs
            have column names, the columns are found by name (`columns_`), in any order.

        Returns
        -------
        matrix : CSR matrix of shape (n_users, n_items)
            Matrix in canonical format (sorted, no duplicates), with int32 indices if possible.

        Raises
        ------
        ValueError
            If X is not such a log, if a user or an item is unknown and
            ``handle_unknown="error"``, or if a sum is too large for `dtype`.

        Warns
        -----
        UserWarning
            If pairs with values are repeated and `duplicates` is "auto"; or if no user or no item
            is known because the ids are of another type, and ``handle_unknown="ignore"``.
        """
        log = self._read(X)
        return in_configured_interface(self._to_csr(self._known_events(log), self._shape()))

    def transform_new_users(self, X: LogLike) -> tuple[SparseMatrix, IdArray]:
        """Transform a log of new users to a matrix, and return these users.

        Use this for users that appear after the fit: :class:`~skfm.MFRecommender` computes their
        vectors from these rows by fold-in. A user from the training log also gets a new row.

        Parameters
        ----------
        X : DataFrame, array-like or list of rows, of shape (n_events, n_columns)
            Log as for :meth:`transform`.

        Returns
        -------
        matrix : CSR matrix of shape (n_new_users, n_items)
            One row for each distinct user in `X`, in order of first appearance, with the columns
            of the training log. The row of a user whose items are all unknown is empty.
        user_ids : ndarray of shape (n_new_users,)
            User of each row.

        Raises
        ------
        ValueError
            If X is not such a log, if an item is unknown and ``handle_unknown="error"``, or if a
            sum is too large for `dtype`.
        TypeError
            If ids cannot be hashed (lists, for instance).
        """
        log = self._read(X)
        users, rows = distinct(log.users, "user", by_appearance=True)
        columns = self._find(self._items, log.items, "item")
        events = Events(rows, columns, log.values, log.times).known()
        shape = (len(users), len(self.item_ids_))
        return in_configured_interface(self._to_csr(events, shape)), users

    def transform_time(self, X: LogLike) -> SparseMatrix:
        """Return the time of the last event of each user-item pair.

        The stored entries are those of ``transform(X)``, as
        :func:`~skfm.model_selection.leave_last_out` requires.

        Parameters
        ----------
        X : DataFrame, array-like or list of rows, of shape (n_events, n_columns)
            Log as for :meth:`transform`, with times.

        Returns
        -------
        times : CSR matrix of shape (n_users, n_items)
            Times in float64, regardless of `dtype`: numbers unchanged, and datetimes as seconds
            since 1970-01-01 (UTC). A time of 0 is stored.

        Raises
        ------
        ValueError
            If X is not such a log or has no times, or if a user or an item is unknown and
            ``handle_unknown="error"``.
        """
        log = self._read(X)
        if log.times is None:
            raise ValueError(
                "X has no times: transform_time requires a column of times, either the fourth "
                f"column or the one given by the parameter time; X has {log.table.shape[1]} "
                "columns."
            )
        events = self._known_events(log)
        events.values = as_seconds(events.times)
        return in_configured_interface(events.to_csr(self._shape(), "last", np.float64))

    def encode_users(self, ids: ColumnLike) -> IntArray:
        """Return the row indices of users.

        Parameters
        ----------
        ids : array-like of shape (n,)
            Ids of users.

        Returns
        -------
        rows : ndarray of shape (n,)
            Positions in ``user_ids_``; -1 for unknown users if ``handle_unknown="ignore"``.

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
        return self._find(self._users, read_ids(ids, "user"), "user", "to get -1 for them")

    def encode_items(self, ids: ColumnLike) -> IntArray:
        """Return the column indices of items.

        Parameters
        ----------
        ids : array-like of shape (n,)
            Ids of items.

        Returns
        -------
        columns : ndarray of shape (n,)
            Positions in ``item_ids_``; -1 for unknown items if ``handle_unknown="ignore"``.

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
        return self._find(self._items, read_ids(ids, "item"), "item", "to get -1 for them")

    def inverse_transform(self, matrix: MatrixLike) -> Any:
        """Transform a matrix to a log of users, items and values.

        Parameters
        ----------
        matrix : {sparse matrix, sparse array, array-like} of shape (n_users, n_items)
            Matrix with the rows and columns of the training log. Each stored entry is an event
            or, in a dense matrix, each nonzero entry.

        Returns
        -------
        log : DataFrame of shape (n_events, 3) or tuple of three ndarrays of shape (n_events,)
            Users, items and values, by row and column of the matrix. If the encoder was fitted on
            a pandas DataFrame, a DataFrame with the same column names. If the training log has no
            values, their column is named "value".

        Raises
        ------
        ValueError
            If the matrix has a different shape or is not numerical.

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
        matrix = check_array(
            check_sparse(matrix, "The matrix"),
            accept_sparse="csr",
            ensure_all_finite=False,
            ensure_min_samples=0,
            ensure_min_features=0,
            input_name="matrix",
        )
        matrix = sparse.csr_matrix(matrix)
        if matrix.shape != self._shape():
            raise ValueError(
                f"The matrix has the shape {matrix.shape}; expected {self._shape()}, the numbers "
                "of users and items in the training log."
            )
        matrix = sum_duplicates(matrix)
        rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
        log = self.user_ids_[rows], self.item_ids_[matrix.indices], matrix.data.copy()
        if not self._from_pandas:
            return log
        import pandas as pd

        frame = pd.DataFrame(dict(enumerate(log)))
        places = self._positions
        frame.columns = [
            self.column_names_[places[role]] if role in places else role for role in ROLES[:3]
        ]
        return frame

    def _check_parameters(self):
        super()._check_parameters()
        for role in ("user", "item"):
            if getattr(self, role) is None:
                raise TypeError(
                    f"{role} must be the name or the position of a column of X; got None."
                )

    def _keep(self, table, places, users, items, *, are_counts):
        self._users, self._items = users, items
        self._are_counts = are_counts
        self._from_pandas = table.from_pandas
        self._wanted = self._columns_wanted()
        self._positions = places
        self.user_ids_, self.item_ids_ = users.ids, items.ids
        self.n_columns_, self.column_names_ = table.shape[1], table.names
        self.columns_ = {role: label(table, place) for role, place in places.items()}

    def _shape(self):
        return len(self.user_ids_), len(self.item_ids_)

    def _columns_wanted(self):
        return {role: getattr(self, role) for role in ROLES}

    def _read(self, X):
        """The log, checked against the training log."""
        check_is_fitted(self)
        self._check_parameters()
        table = open_log(X)
        log = read_log(table, self._wanted_as_in_fit(table))
        self._check_values_as_in_fit(table, log.places)
        return log

    def _check_values_as_in_fit(self, table, places):
        if ("value" in places) != ("value" in self.columns_):
            raise ValueError(
                f"X has {table.shape[1]} columns, but the encoder was fitted on "
                f"{self.n_columns_} ({', '.join(self.columns_)}): both logs must have values, or "
                "neither."
            )

    def _wanted_as_in_fit(self, table):
        """The columns of the fit: by name if both logs have names, by position if only the
        training log has."""
        if not _are_names(self.column_names_):
            return self._wanted
        if _are_names(table.names):
            # Times are optional in either log.
            was = self.columns_
            found = {role: name for role, name in was.items() if name in table.names}
            missing = [name for role, name in was.items() if role not in (*found, "time")]
            if missing:
                raise ValueError(
                    f"X has no column {', '.join(map(repr, missing))}, which the training log "
                    f"had; its columns are {table.names[:10]}. Add or rename columns, so that X "
                    f"has {', '.join(map(repr, was.values()))}."
                )
        else:
            was = self._positions
            found = {r: place for r, place in was.items() if place < table.shape[1]}
        return {**self._wanted, **dict.fromkeys(was), **found}

    def _events(self, X):
        """The known events of a part of the training log; None if it has no rows."""
        return self._known_events(self._read(X)) if len(X) else None

    def _known_events(self, log):
        rows = self._find(self._users, log.users, "user")
        columns = self._find(self._items, log.items, "item")
        return Events(rows, columns, log.values, log.times).known()

    def _to_csr(self, events, shape, *, are_counts=None):
        """The matrix; with a warning if "auto" drops values that may be amounts."""
        if self.duplicates != "auto":
            return events.to_csr(shape, self.duplicates, self.dtype)
        if self._are_counts if are_counts is None else are_counts:
            return events.to_csr(shape, "sum", self.dtype)
        matrix = events.to_csr(shape, "last", self.dtype)
        if matrix.nnz < events.rows.size:
            warn_of_repeated(events.n_repeated(shape[1]), matrix.nnz)
        return matrix

    def _find(self, known, column, name, ignored="to drop their events"):
        """Positions of the ids in a column; unknown ones are -1 or an error."""
        if self.handle_unknown == "ignore":
            return known.find_expected(column, name)
        positions = known.find(column, name)
        if (positions < 0).any():
            unknown, _ = distinct(column[positions < 0], name, by_appearance=True)
            named = ", ".join(map(repr, as_objects(unknown[:N_NAMED])))
            remedy = (
                f"Either fit on a log that contains them, or set handle_unknown='ignore' {ignored}"
            )
            if name == "user":
                remedy += "; for users that are new, call transform_new_users"
            if difference := known.difference(column):
                remedy = f"Their types differ: {difference}"
            raise ValueError(
                f"{len(unknown)} {name}(s) are not in the training log: "
                f"{named}{', ...' if len(unknown) > N_NAMED else ''}. {remedy}."
            )
        return positions


class Lesson(NamedTuple):
    """What an encoder learns from a part of a log, to be joined in the order of the parts."""

    table: Any  # `Table` of the first row
    places: dict
    are_counts: bool
    users: np.ndarray  # distinct ids, in order of first appearance
    items: np.ndarray

    @classmethod
    def of(cls, encoder, X):
        """The lesson of a part of a log; None if it has no rows."""
        if len(X) == 0:
            return None
        log = read_log(open_log(X), encoder._columns_wanted())
        users, _ = distinct(log.users, "user", by_appearance=True)
        items, _ = distinct(log.items, "item", by_appearance=True)
        return cls(open_log(X[:1]), log.places, _are_counts(log), users, items)

    def join(self, other):
        users, _ = distinct(join_ids(self.users, other.users), "user", by_appearance=True)
        items, _ = distinct(join_ids(self.items, other.items), "item", by_appearance=True)
        are_counts = self.are_counts and other.are_counts
        return Lesson(self.table, self.places, are_counts, users, items)

    def teach(self, encoder):
        """Fit an encoder."""
        users, _ = Ids.learn(self.users, "user")
        items, _ = Ids.learn(self.items, "item")
        encoder._keep(self.table, self.places, users, items, are_counts=self.are_counts)


def _are_counts(log):
    """Whether each event of a log counts 1: it has no values, or only ones."""
    return "value" not in log.places or bool((log.values == 1).all())


def warn_of_repeated(n_repeated, n_pairs):
    warn(
        f"{n_repeated} of {n_pairs} user-item pairs occur more than once, and the last value of "
        "each pair is kept, as is usual for ratings. Set duplicates='last' or 'mean' for ratings, "
        "or duplicates='sum' for counts and amounts.",
        UserWarning,
    )


def _are_names(names):
    """Whether names identify the columns. DataFrames without names have 0, 1, 2, ... instead."""
    return (
        names is not None
        and all(isinstance(name, str) for name in names)
        and len(set(names)) == len(names)
    )
