"""From a log of who did what, and when, to rows of features for factorization machines."""

import numbers
from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from skfm._utils import validation
from skfm._utils.column_roles import find_column, warn_of_other_roles
from skfm._utils.estimator import PrintableEstimator, VersionedEstimator, all_or_nothing
from skfm._utils.ids import Ids, refuse_rows, simplify
from skfm._utils.messages import shown
from skfm._utils.parameters import FLOAT_TYPE, POSITIVE_INTEGER, Interval, Members
from skfm._utils.public import public
from skfm._utils.sparse import in_configured_interface
from skfm._utils.typing import ColumnKey, FloatDType, Int, LogLike, SparseMatrix
from skfm.preprocessing._event_blocks import OF_A_COLUMN, OF_A_LOG
from skfm.preprocessing._event_log import Log
from skfm.preprocessing._log_table import Table, as_numbers, as_times
from skfm.preprocessing._stacking import side_by_side

LARGEST_N_BINS = 1_000_000  # each is a feature


@public("skfm.preprocessing")
class EventEncoder(VersionedEstimator, TransformerMixin, PrintableEstimator):
    """Encode a log of events as features for factorization machines.

    A log has one row per event, with the user, the item and, optionally, the time, the context and
    attributes. The encoder converts each event to a sparse row of features, which consists of
    blocks. With the right blocks, a factorization machine is equivalent to a published model [1]_:

    =========================================== ========================================
    blocks                                      model
    =========================================== ========================================
    "user", "item"                              biased matrix factorization
    "user", "item", "history"                   SVD++ [2]_
    "item", "ratings"                           factorized nearest neighbors [3]_
    "user", "item", "previous"                  FPMC, for the next basket [4]_
    "user", "item", "time", "user_time"         similar to timeSVD
    "user", "item", "history", "raters", "time" similar to timeSVD++, "flipped" [5]_
    "user", "item", "context", "attributes"     factorization with context or attributes
    =========================================== ========================================

    All pairs of blocks interact, unless the parameter `interactions` of the estimator restricts
    them. :func:`skfm.recipes.make_recipe` does so for the models above. Read more in the
    :doc:`user guide </recipes>`.

    Parameters
    ----------
    blocks : list of str or of pairs of str, default=("user", "item")
        Blocks of features, in the order of the output columns. A block is given as its kind, or as
        a pair of its name and its kind. For example, ``"item"`` and ``("item again", "item")`` are
        two sets of features of the items, which may have different interactions. The kinds are:

        "user", "item"
            One-hot encoded user or item.
        "history"
            All items of the user in the training log. Each of the n distinct items has the value
            ``1 / sqrt(n)``.
        "raters"
            All users of the item in the training log, in the same way.
        "ratings"
            The ratings `y` of the user in the training log, relative to a baseline. Each of the n
            items l has the value ``(y_l - b_l) / sqrt(n)``, where ``b_l`` is the baseline.
            User-item pairs are divided into `n_folds` folds, and a row does not use the ratings of
            its own fold (see Notes).
        "previous"
            The previous basket of the user: the user's items at the latest time in the training
            log that is earlier than the row. Each of the n items has the value ``1 / n``.
        "last"
            The items of the last `n_last` events of the user before the row in the training log.
            Each of the n distinct items has the value ``1 / sqrt(n)``.
        "time"
            One-hot encoded bin of the time. The `n_bins` bins have equal width and range from the
            first to the last time in the training log. Times outside of this range belong to the
            nearest bin.
        "user_time"
            One-hot encoded pair of user and time bin, for the pairs in the training log.
        "context"
            One block for each column of `context`, with the one-hot encoded value. Numbers are
            categories, too.
        "attributes"
            One block for each column of `attributes`. A column of numbers (except for categorical
            dtypes) is a single feature, divided by its root mean square in the training log. If
            the values are lists, tuples, sets or arrays, each of the n distinct elements has the
            value ``1 / sqrt(n)``. All other values are one-hot encoded.
    user : str or int, default=0
        Column of the users: its name in a DataFrame, or its position.
    item : str or int, default=1
        Column of the items.
    time : str or int, default=None
        Column of the times, which are numbers or datetimes. It is only used if a block needs it.
    context : list of str or int, default=()
        Columns for the block "context", which must then be in `blocks`.
    attributes : list of str or int, default=()
        Columns for the block "attributes": attributes of users, items or events. The block must
        then be in `blocks`.
    n_last : int, default=5
        Number of events for "last", at least 1.
    n_bins : int, default=30
        Number of bins for "time" and "user_time", at least 1.
    n_folds : int, default=2
        Number of folds for "ratings", at least 2.
    dtype : {np.float64, np.float32}, default=np.float64
        Data type of the output.

    Attributes
    ----------
    feature_fields_ : ndarray of str of shape (n_output_features,)
        Field of each output column: the name of its block or, for context and attributes, of its
        input column. If a named block has several columns, the field is ``name__column``. Columns
        of an array are named x0, x1, ...
    feature_groups_ : ndarray of str of shape (n_output_features,)
        Group of each output column, for penalties or priors; the same as `feature_fields_`.
    user_ids_ : ndarray of shape (n_users,)
        Ids of the users, sorted or, if they cannot be sorted, in order of first appearance.
        Numbers keep their type; all other ids are in an array of objects.
    item_ids_ : ndarray of shape (n_items,)
        Ids of the items, in the same way.
    n_features_in_ : int
        Number of columns of the training log.
    feature_names_in_ : ndarray of shape (n_columns,)
        Names of these columns. Defined only if all of them are strings.

    See Also
    --------
    UserItemEncoder : Converts a log to a user-item matrix, for :class:`~skfm.MFRecommender`.
    feature_groups : Groups of features from transformers of scikit-learn.

    Notes
    -----
    The output X has the attributes ``X.feature_fields`` and ``X.feature_groups``, which are equal
    to `feature_fields_` and `feature_groups_`. The estimators of this package use them. Operations
    on X, such as slicing, do not preserve them.

    **Training and new rows.** The features of a row depend on the training log and on the row
    itself, but not on the other rows that are transformed, nor on whether the row belongs to the
    training log. Therefore, ``fit_transform(X, y)`` equals ``fit(X, y).transform(X)``. "previous"
    and "last" only use events at earlier times. "history" and "raters" use all events of the
    training log, as in SVD++. For rows of the training log, they therefore include the row itself
    and later events. They do not contain ratings.

    **Ratings** are cross-fitted, as in scikit-learn's `TargetEncoder`. The user-item pairs of the
    training log are divided into folds by a hash of the items, with equally many pairs of each
    user. If the pair of a row is in the training log, its features are the user's ratings in the
    other folds, relative to a baseline computed from these folds. Otherwise, its features are all
    ratings of the user. The features of a row therefore do not depend on its own target.
    (Leave-one-out would leak targets: the features of each row would lack one rating of the same
    sum, and a model with parameters for each user could reconstruct this rating.) The baseline of
    user u and item l is ``m + d_l + d_u``, where m is the mean of the ratings,
    ``d_l = sum(y_vl - m) / (25 + n_l)`` over the ``n_l`` users v of the item, and
    ``d_u = sum(y_ul - m - d_l) / (10 + n_u)`` over the ``n_u`` items l of the user [3]_.

    **Unknown and missing values** have no features. Blocks are empty for users, items and other
    values that are not in the training log, for users without earlier events, and for missing
    context and attributes (None, NaN). Missing ids and times raise an error. Numbers match if they
    are equal: the user 7 matches 7.0 but not "7". If no id in a log has a type that occurs in the
    training log, a warning names both types.

    **Duplicates.** A user-item pair with several events counts once in "history" and "raters", and
    with the mean of its ratings in "ratings". An item counts once in a basket. If "last" includes
    only some of the events at the same time, it uses those whose items come later in `item_ids_`.

    References
    ----------
    .. [1] S. Rendle, "Factorization Machines with libFM", ACM Transactions on Intelligent Systems
       and Technology 3(3), 2012.
    .. [2] Y. Koren, "Factorization Meets the Neighborhood: a Multifaceted Collaborative Filtering
       Model", KDD 2008.
    .. [3] Y. Koren, "Factor in the Neighbors: Scalable and Accurate Collaborative Filtering", ACM
       Transactions on Knowledge Discovery from Data 4(1), 2010.
    .. [4] S. Rendle, C. Freudenthaler, L. Schmidt-Thieme, "Factorizing Personalized Markov Chains
       for Next-Basket Recommendation", WWW 2010.
    .. [5] S. Rendle, L. Zhang, Y. Koren, "On the Difficulty of Evaluating Baselines: A Study on
       Recommender Systems", arXiv:1905.01395, 2019.

    Examples
    --------
    >>> from skfm.preprocessing import EventEncoder
    >>> log = [
    ...     ("ann", "alien", ["horror", "space"]),
    ...     ("ann", "brazil", ["comedy"]),
    ...     ("bob", "alien", ["horror", "space"]),
    ... ]
    >>> encoder = EventEncoder(blocks=["user", "item", "history", "attributes"], attributes=[2])
    >>> X = encoder.fit_transform(log)
    >>> X.toarray().round(2)
    array([[1.  , 0.  , 1.  , 0.  , 0.71, 0.71, 0.  , 0.71, 0.71],
           [1.  , 0.  , 0.  , 1.  , 0.71, 0.71, 1.  , 0.  , 0.  ],
           [0.  , 1.  , 1.  , 0.  , 1.  , 0.  , 0.  , 0.71, 0.71]])
    >>> encoder.get_feature_names_out()[:5].tolist()
    ['user=ann', 'user=bob', 'item=alien', 'item=brazil', 'history=alien']
    >>> encoder.feature_fields_[4:].tolist()
    ['history', 'history', 'x2', 'x2', 'x2']

    An unknown user has no history:

    >>> encoder.transform([("eve", "alien", ["space", "satire"])]).toarray()
    array([[0., 0., 1., 0., 0., 0., 0., 0., 1.]])
    """

    # Blocks and columns are checked together with X.
    _constraints: ClassVar[dict] = {
        "n_last": [POSITIVE_INTEGER],
        "n_bins": [Interval(numbers.Integral, 1, LARGEST_N_BINS)],
        "n_folds": [Interval(numbers.Integral, 2)],
        "context": [Members("a list of columns of X")],
        "attributes": [Members("a list of columns of X")],
        "dtype": [FLOAT_TYPE],
    }

    def __init__(
        self,
        blocks: Sequence[str | tuple[str, str]] = ("user", "item"),
        *,
        user: ColumnKey = 0,
        item: ColumnKey = 1,
        time: ColumnKey | None = None,
        context: Sequence[ColumnKey] = (),
        attributes: Sequence[ColumnKey] = (),
        n_last: Int = 5,
        n_bins: Int = 30,
        n_folds: Int = 2,
        dtype: FloatDType = np.float64,
    ) -> None:
        self.blocks = blocks
        self.user = user
        self.item = item
        self.time = time
        self.context = context
        self.attributes = attributes
        self.n_last = n_last
        self.n_bins = n_bins
        self.n_folds = n_folds
        self.dtype = dtype

    def fit(self, X: LogLike, y: ArrayLike | None = None) -> Self:
        """Learn the features and the histories of a log.

        Parameters
        ----------
        X : DataFrame, array-like or list of rows, of shape (n_events, n_columns)
            Log.
        y : array-like of shape (n_events,), default=None
            Ratings, for the block "ratings". The other blocks ignore them.

        Returns
        -------
        self : object
            The fitted encoder.

        Raises
        ------
        ValueError
            If a parameter is invalid or names a column that X does not have; if `context` or
            `attributes` names columns, but no block has them; if two blocks have the same name;
            if X is not a log: no rows, missing ids, missing times; or if `y` is needed but is not
            a finite number for each row.
        TypeError
            If ids or other values cannot be hashed, or if a parameter has the wrong type.

        Warns
        -----
        UserWarning
            If the column names suggest that the users or the items are in another column.
        """
        with all_or_nothing(self):
            self._learn(X, y)
        return self

    def fit_transform(self, X: LogLike, y: ArrayLike | None = None) -> SparseMatrix:
        """Learn the features of a log and transform it.

        Parameters
        ----------
        X : DataFrame, array-like or list of rows, of shape (n_events, n_columns)
            Log.
        y : array-like of shape (n_events,), default=None
            Ratings, for the block "ratings". The other blocks ignore them.

        Returns
        -------
        X_out : CSR matrix of shape (n_events, n_output_features)
            The same result as ``fit(X, y).transform(X)``, in less time.

        Raises
        ------
        ValueError
            As by :meth:`fit` and :meth:`transform`.
        TypeError
            As by :meth:`fit`.
        """
        with all_or_nothing(self):
            return self._encode(self._learn(X, y))

    def transform(self, X: LogLike) -> SparseMatrix:
        """Transform a log, with the features and histories of the training log.

        Parameters
        ----------
        X : DataFrame, array-like or list of rows, of shape (n_events, n_columns)
            Log with the same columns as the training log.

        Returns
        -------
        X_out : CSR matrix of shape (n_events, n_output_features)
            Matrix in canonical format (sorted, no duplicates, no stored zeros), with int32 indices
            if possible. It has the attributes ``feature_fields`` and ``feature_groups``.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the encoder is not fitted.
        ValueError
            If X is not a log like the training log: other columns, missing ids, missing times,
            times of another type, or values that are not numbers in a numerical column; or if a
            value is too large for `dtype`.
        TypeError
            If ids or other values cannot be hashed.

        Warns
        -----
        UserWarning
            If no id or value of a column is known because they are of another type.
        """
        check_is_fitted(self)
        return self._encode(self._read(self._open(X, reset=False)))

    def get_feature_names_out(self, input_features: None = None) -> NDArray[np.object_]:
        """Return the names of the output columns.

        Parameters
        ----------
        input_features : None
            Ignored.

        Returns
        -------
        names : ndarray of str objects of shape (n_output_features,)
            ``field=value``, such as "user=ann" or "time=3". Pairs of a user and a time bin are
            named like "user_time=ann/3", and numerical features by the field only. Values are
            converted by `str`, or by `repr` if the results of `str` are not unique.
        """
        check_is_fitted(self)
        return np.array([name for block in self._blocks for name in block.names()], dtype=object)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        try:
            tags.target_tags.required = any(kind == "ratings" for _, kind in _entries(self.blocks))
        except (TypeError, ValueError):
            pass  # fit will say so
        return tags

    def _learn(self, X, y):
        """Learn from a log; return the log as numbers."""
        self._check_parameters()
        table = self._open(X, reset=True)
        blocks = self._make_blocks(table)
        needs = {need for block in blocks for need in block.needs}
        columns = {"user": self.user, "item": self.item}
        if "times" in needs:
            columns["time"] = self.time
        places = {name: find_column(column, table, name) for name, column in columns.items()}
        warn_of_other_roles(table, places)
        self._positions = places
        self._users, users = Ids.learn(self._read_ids(table, "user"), "user")
        self._items, items = Ids.learn(self._read_ids(table, "item"), "item")
        self.user_ids_, self.item_ids_ = self._users.ids, self._items.ids
        times = self._read_times(table)
        self._has_dates = times is not None and times.dtype.kind == "M"
        targets = _read_targets(y, table.shape[0]) if "targets" in needs else None
        log = Log(table, self.user_ids_, self.item_ids_, users, items, times, targets)
        for block in blocks:
            block.learn(log)
        self._blocks = blocks
        fields = np.array([block.field for block in blocks], dtype=str)
        self.feature_fields_ = np.repeat(fields, [len(block.levels) for block in blocks])
        self.feature_groups_ = self.feature_fields_.copy()
        # Without "=" in a field, names are distinct: fields are, and so are the values of a field.
        if any("=" in field for field in fields):
            _refuse_twins(self.get_feature_names_out().tolist(), "features")
        return log

    def _read(self, table):
        """A log as numbers, with -1 for unknown ids."""
        users = self._users.find_expected(self._read_ids(table, "user"), "user")
        items = self._items.find_expected(self._read_ids(table, "item"), "item")
        times = self._read_times(table)
        if times is not None and (times.dtype.kind == "M") != self._has_dates:
            before, now = ("datetimes", "numbers")[:: 1 if self._has_dates else -1]
            raise ValueError(f"The times were {before} in fit and are {now} now; convert them.")
        return Log(table, self.user_ids_, self.item_ids_, users, items, times)

    def _encode(self, log):
        validation.check_dtype(self.dtype)
        X = in_configured_interface(side_by_side(self._blocks, log, self.dtype))
        X.feature_fields, X.feature_groups = self.feature_fields_, self.feature_groups_
        return X

    def _open(self, X, *, reset):
        table = Table(X)
        if len(table.shape) != 2:
            raise ValueError(
                f"X has the shape {table.shape}; expected a log with a row for each event. "
                "Reshape your data to a list of rows, even for a single event."
            )
        if table.names is None and table.data.dtype.kind == "c":
            raise ValueError("Complex data not supported: ids are numbers, strings or objects.")
        validate_data(self, table.data, reset=reset, skip_check_array=True)
        if reset:
            self._names = table.names
        elif table.names and self._names and table.names != self._names:
            # For DataFrames whose column names scikit-learn does not check.
            raise ValueError(f"X has the columns {table.names}, but fit had {self._names}.")
        return table

    def _read_ids(self, table, name):
        ids = simplify(table.column(self._positions[name]))
        if ids.dtype.kind == "f":
            refuse_rows(np.isinf(ids), f"{name} ids are infinite")
        return ids

    def _read_times(self, table):
        if "time" not in self._positions:
            return None
        return as_times(table.column(self._positions["time"]), "The column of times")

    def _make_blocks(self, table):
        blocks, entries = [], _entries(self.blocks)
        for name, kind in entries:
            if kind in OF_A_LOG:
                make = OF_A_LOG[kind]
                if "times" in make.needs and self.time is None:
                    raise ValueError(
                        f"The block {kind!r} requires times: set time to the column of times."
                    )
                options = {option: int(getattr(self, option)) for option in make.options}
                blocks.append(make(name, **options))
                continue
            columns = list(getattr(self, kind))
            if not columns:
                raise ValueError(f"The block {kind!r} requires columns: list them in {kind}.")
            for position in (find_column(column, table, kind) for column in columns):
                column = f"x{position}" if table.names is None else str(table.names[position])
                if name != kind:
                    column = name if len(columns) == 1 else f"{name}__{column}"
                blocks.append(OF_A_COLUMN[kind](column, position, table))
        _refuse_twins([block.field for block in blocks], "blocks")
        for kind in OF_A_COLUMN:
            if list(getattr(self, kind)) and all(entry[1] != kind for entry in entries):
                raise ValueError(
                    f"{kind}={shown(getattr(self, kind))} has no effect without the block "
                    f"{kind!r}; add {kind!r} to blocks, or leave {kind} empty."
                )
        return blocks


def _entries(blocks):
    """Pairs of a name and a kind."""
    blocks = validation.check_list(blocks, "blocks", "a list, such as ['user', 'item']")
    entries = [(entry, entry) if isinstance(entry, str) else entry for entry in blocks]
    if not entries:
        raise ValueError(
            "blocks is empty; it must contain at least one kind of block, such as 'user'."
        )
    for entry in entries:
        is_pair = isinstance(entry, (tuple, list)) and len(entry) == 2
        if not is_pair or not all(part and isinstance(part, str) for part in entry):
            raise TypeError(
                "blocks must contain kinds of blocks, such as 'item', or pairs of a name and a "
                f"kind, such as ('item again', 'item'); got {shown(entry)}."
            )
        kinds = [*OF_A_LOG, *OF_A_COLUMN]
        if entry[1] not in kinds:
            raise ValueError(
                f"Unknown kind of block {entry[1]!r} in blocks; known kinds: "
                f"{', '.join(map(repr, kinds))}."
            )
    return entries


def _refuse_twins(names, what):
    if len(set(names)) < len(names):
        twin = next(name for name in names if names.count(name) > 1)
        raise ValueError(
            f"Two {what} would have the same name, {twin!r}; give one block another name, as in "
            "blocks=[('another name', 'item')], or rename the column."
        )


def _read_targets(y, n_rows):
    if y is None:
        raise ValueError(
            "This EventEncoder requires y to be passed, but the target y is None: the block "
            "'ratings' uses it as ratings."
        )
    y = validation.check_column(y, "y")
    if y.size != n_rows:
        raise ValueError(
            f"y has {y.size} values, but X has {n_rows} rows; pass one value for each row."
        )
    return as_numbers(y, "values of y", "y, the ratings for the block 'ratings',")
