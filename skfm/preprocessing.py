"""From logs of who did what to rows of features, and to matrices of users by items and back;
groups of features."""

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from skfm import _validation as door
from skfm._event_encoder import EventEncoder
from skfm._fitting import all_or_nothing
from skfm._groups import feature_groups
from skfm._logs import (
    COLUMNS,
    Events,
    Ids,
    as_objects,
    as_seconds,
    distinct,
    read_ids,
    read_log,
)
from skfm._pickling import KeptEstimator
from skfm._sparse import check_sparse

__all__ = ["EventEncoder", "UserItemEncoder", "feature_groups"]

N_NAMED = 5  # an error names this many unknown ids


class UserItemEncoder(KeptEstimator, BaseEstimator):
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
        with all_or_nothing(self):
            self._check_parameters()
            log = read_log(X)
            users, _ = Ids.learn(log.users, "user")
            items, _ = Ids.learn(log.items, "item")
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
        with all_or_nothing(self):
            self._check_parameters()
            log = read_log(X)
            users, rows = Ids.learn(log.users, "user")
            items, columns = Ids.learn(log.items, "item")
            self._keep(log, users, items)
            events = Events(rows, columns, log.values, log.times)
            return events.to_csr((len(users.ids), len(items.ids)), self.duplicates, self.dtype)

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
        users, rows = distinct(log.users, "user", by_appearance=True)
        columns = self._find(self._items, log.items, "item")
        events = Events(rows, columns, log.values, log.times).known()
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
        events.values = as_seconds(events.times)
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
        return self._find(self._users, read_ids(ids, "user"), "user", "to get -1 for them")

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
        return self._find(self._items, read_ids(ids, "item"), "item", "to get -1 for them")

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
        matrix = sparse.csr_matrix(check_sparse(matrix, "The matrix"))
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
        log = read_log(X)
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
        return Events(rows, columns, log.values, log.times).known()

    def _find(self, known, column, name, ignored="to drop their events"):
        """Positions of the ids in a column; unknown ones are -1 or an error."""
        positions = known.find(column, name)
        if self.handle_unknown == "error" and (positions < 0).any():
            unknown, _ = distinct(column[positions < 0], name, by_appearance=True)
            named = ", ".join(map(repr, as_objects(unknown[:N_NAMED])))
            cure = f"fit on a log that has them, or set handle_unknown='ignore' {ignored}"
            if name == "user":
                cure += "; transform_new_users takes users who came later"
            raise ValueError(
                f"{len(unknown)} {name}(s) were not in the log of the fit: {named}"
                f"{', ...' if len(unknown) > N_NAMED else ''}. Either {cure}."
            )
        return positions
