"""From a table of categories, numbers, dates and lists to rows of features."""

import numbers
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import TransformerMixin
from sklearn.utils import assert_all_finite, check_consistent_length, column_or_1d
from sklearn.utils.validation import check_is_fitted

from skfm._utils.estimator import PrintableEstimator, VersionedEstimator, all_or_nothing
from skfm._utils.ids import find_missing, refuse_rows
from skfm._utils.messages import shown
from skfm._utils.parameters import (
    BOOLEAN,
    FLOAT_TYPE,
    NONE,
    Interval,
    Members,
    Options,
)
from skfm._utils.public import public
from skfm._utils.sparse import in_configured_interface
from skfm._utils.typing import (
    Float,
    FloatDType,
    Int,
    Seed,
    SparseMatrix,
    TableLike,
    available_if,
)
from skfm.preprocessing import _table_kinds as kinds
from skfm.preprocessing._columns import BOOLEAN as BOOLEANS
from skfm.preprocessing._columns import MIXED, NULL, NUMBER, STRING, plural
from skfm.preprocessing._field_blocks import Cross, Hashed, HashedCross
from skfm.preprocessing._table_checks import check_columns
from skfm.preprocessing._table_html import as_html_table
from skfm.preprocessing._table_matrix import side_by_side
from skfm.preprocessing._tables import InputTable
from skfm.preprocessing._vocabulary import UNKNOWN


def _learns_in_chunks(encoder):
    if kinds.need_target(encoder.columns, encoder.crossed):
        raise AttributeError(
            "partial_fit is not available, since target statistics need all rows at once; use fit "
            "or fit_transform."
        )
    return True


@public("skfm.preprocessing")
class TableEncoder(VersionedEstimator, TransformerMixin, PrintableEstimator):
    """Encode a table as sparse features for factorization machines.

    The encoder converts a table with columns of strings, categories, booleans, numbers, dates and
    lists to a sparse matrix. The type of a column determines its encoding, unless `columns` says
    otherwise:

    =========================================== ===============================================
    type of the column                          kind of encoding
    =========================================== ===============================================
    strings, categories, booleans               `strings`: "category" by default
    numbers                                     `numbers`: "quantile_bins" by default
    datetimes, dates                            "date"
    lists                                       "bag", or "hashed_bag" if `strings` is "hashed"
    =========================================== ===============================================

    Tables of pandas, polars and Arrow, and all others that export an Arrow C stream, give the same
    features for the same data. Each encoded column is a field. The output carries the fields, so
    that the estimators of this package know them, also within a pipeline. Read more in the
    :doc:`user guide </encoding>`.

    Parameters
    ----------
    columns : dict, default=None
        Encodings of columns, by their names or positions; all other columns are encoded by their
        types. An encoding is a kind, such as ``"number"``; a dict of a kind and its options, such
        as ``{"kind": "quantile_bins", "n_bins": 50}``; or a list of these, which encodes a column
        in several ways. Options that are not given have the values of the parameters with the same
        names. The kinds are:

        "category"
            One column for each value. Options: `min_frequency`, `max_categories`.
        "hashed"
            A fixed number of columns, among which a hash function distributes the values. Option:
            `n_features`.
        "number"
            A single column with mean 0 and variance 1.
        "quantile_bins"
            One column for each bin. The bins contain about equally many training rows; if there
            are at most `n_bins` distinct numbers, each has a bin. Option: `n_bins`.
        "log_bins"
            One column for each bin, where the bins are wider for larger numbers: 0, 1 and 2 have
            a bin each, and numbers x > 2 share a bin if they have the same ``floor(log(x)**2)``
            [1]_. Negative numbers are binned symmetrically.
        "bins_and_value"
            Two fields: "quantile_bins" and "number".
        "date"
            One field for each part of the time: the hour, the weekday, the month, and the age,
            which is a number of days and encoded as `numbers`. Options: `parts`, a list of some of
            "hour", "weekday", "month" and "age" (default: all, but no hour for dates); and
            `timezone`, the time zone in which times with a time zone are read (default: that of
            the training data).
        "bag"
            One column for each element of lists or of delimited strings. The n distinct known
            elements of a row have the value ``1 / sqrt(n)``. Options: `sep`, the delimiter of
            strings (default: None, for lists); `min_frequency`, `max_categories`.
        "hashed_bag"
            The same with hashed elements. Options: `sep`, `n_features`.
        "target"
            The smoothed mean of the target for each value, standardized to mean 0 and variance 1;
            for classes, the log-odds of this mean (see Notes). With more than two classes, there
            is one column for each class. Options: `smooth` (default: 10), the number of rows with
            the overall mean that are added to each value, or "auto", as in scikit-learn's
            `TargetEncoder`; `cv` (default: 10), the number of folds; and `target_type`
            (default: "auto").
        "drop"
            No columns.
    strings : {"category", "hashed"}, default="category"
        Kind of encoding for strings, categorical dtypes and booleans.
    numbers : {"number", "quantile_bins", "log_bins", "bins_and_value", "category", "hashed"}, \
            default="quantile_bins"
        Kind of encoding for numbers.
    min_frequency : int or float, default=None
        Values that occur less often are infrequent: they share one column of the field. An int is
        a number of rows, and a float between 0 and 1 is a share of the rows.
    max_categories : int, default=None
        Largest number of columns of a field of categories, including that of the infrequent
        values, but not that of missing ones. The most frequent values have columns of their own.
    n_features : int, default=4096
        Number of columns of each hashed field, including one for missing values. At least 2.
    total_n_features : int, default=None
        Number of columns of all hashed fields together. It is divided equally among the fields for
        which no `n_features` is given in `columns` or `crossed`, and takes precedence over the
        parameter `n_features`.
    n_bins : int, default=20
        Largest number of quantile bins, without that of missing values. At least 2.
    crossed : list of tuples or dicts, default=()
        Crossed fields: combinations of the values of two or more fields, such as
        ``("user", "when__hour")``. There is one column for each combination in the training data,
        or a fixed number of columns if `strings` is "hashed". To choose for each crossed field,
        pass a dict, such as ``{"fields": ("user", "page"), "kind": "hashed", "n_features":
        65536}``. The kind "target" gives the statistics of each combination. Fields of
        categories, hashes, bins and dates can be crossed.
    hash_seed : int, default=0
        Seed of the hash function. Its results are the same on every machine.
    random_state : int, RandomState instance or None, default=None
        Determines the folds for target statistics.
    sparse_output : bool, default=True
        Whether to return a CSR matrix. A dense array is needed for `set_output`; it does not carry
        fields.
    dtype : {np.float64, np.float32}, default=np.float64
        Data type of the output.

    Attributes
    ----------
    encoding_ : list of dict
        What each column became: for each field, the column, the type of the column, the kind of
        the encoding, the name of the field, its number of features, and details. Dropped columns
        come last. ``pd.DataFrame(encoder.encoding_)`` shows it as a table, as does the HTML
        representation of the encoder.
    feature_fields_ : ndarray of str of shape (n_output_features,)
        Field of each output column: the name of the input column; ``column__part`` for parts of
        dates; ``column__kind`` for the second and further encodings of a column (``column__value``
        for "bins_and_value"); and ``field*field`` for crossed fields, or ``field*field__kind`` if
        the same fields have been crossed as another kind. Columns of an array are named x0, x1,
        ...
    feature_groups_ : ndarray of str of shape (n_output_features,)
        Group of each output column, for penalties or priors; the same as `feature_fields_`.
    n_features_in_ : int
        Number of columns of the training table.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of these columns. Defined only if all of them are strings.

    See Also
    --------
    EventEncoder : Features that depend on the history of users and items.
    feature_groups : Groups of features from transformers of scikit-learn.
    sklearn.preprocessing.OneHotEncoder : Encodes categories only.
    sklearn.preprocessing.TargetEncoder : Encodes categories by statistics of the target.

    Notes
    -----
    The output X has the attributes ``X.feature_fields`` and ``X.feature_groups``, which are equal
    to `feature_fields_` and `feature_groups_`. The estimators of this package use them. Operations
    on X, such as slicing, do not preserve them.

    **Types.** A column has the same type in every container: strings, booleans, numbers,
    datetimes or lists. Categorical columns have the type of their categories. The order of the
    categories and categories that do not occur have no effect. Whole numbers of any dtype are the
    same category: 3 is equal to 3.0, but not to "3". Columns of objects that mix strings, numbers
    and booleans are categories.

    **Order of the columns.** Fields follow the order of the input columns; crossed fields come
    last. Within a field, values are sorted, followed by one column for infrequent values if there
    are any, and one for missing values.

    **Unknown and missing values.** A value that is not in the training data belongs to the
    infrequent values of its field. If the field has none, the value has no features. Missing
    values (None, NaN, NaT, null) have a column of their own if the training data contain some;
    otherwise, they are treated as unknown values. In hashed fields, the last column is always that
    of missing values. Standardized, a missing number is 0, the mean. Numbers outside of the range
    of the training data belong to the nearest bin. Infinite numbers raise an error, unless they
    are categories.

    **Chunks.** After calls of :meth:`partial_fit` on all chunks, the encoder is the same as after
    :meth:`fit` on the whole table, up to rounding errors in the means of numbers. Quantiles are
    those of a sample of 20,000 rows, which depends only on the number of each row. A call may add
    values and thereby move columns; the columns of earlier calls are therefore no longer valid.
    Hashed fields and "date" without "age" always keep their columns. If all fields are hashed, a
    DataFrame without rows is enough for :meth:`fit`.

    **Target statistics** of training rows are cross-fitted by :meth:`fit_transform`: those of a
    row are computed from the other folds. :meth:`transform` uses the statistics of all training
    rows, so ``fit_transform(X, y)`` differs from ``fit(X, y).transform(X)``. The means, smoothed
    toward the overall mean, are those of scikit-learn's `TargetEncoder`. For two classes, the
    statistic is ``logit(mean) - logit(overall mean)``, where the mean is that of the second class
    in sorted order; for more classes, it is the same for each class against the others; for
    numbers, it is ``mean - overall mean``. A missing value, a value that is not in the training
    data, and a combination with such a value have the overall mean. Then, the statistics are
    standardized by the mean and the standard deviation of those of the training rows.

    **Arrow.** With the extra ``tables``, that is with pyarrow, columns of Arrow, polars and
    pandas are read without a Python object for each row.

    References
    ----------
    .. [1] Y. Juan, Y. Zhuang, W.-S. Chin, "3 Idiots' Approach for Display Advertising Challenge",
       2014. https://www.csie.ntu.edu.tw/~r01922136/kaggle-2014-criteo.pdf

    Examples
    --------
    >>> import pandas as pd
    >>> from skfm.preprocessing import TableEncoder
    >>> clicks = pd.DataFrame({
    ...     "page": ["news", "shop", "news", None],
    ...     "price": [9.5, 2.0, 4.0, 4.0],
    ...     "tags": [["new", "red"], ["red"], [], ["blue"]],
    ... })
    >>> encoder = TableEncoder()
    >>> encoder.fit_transform(clicks).toarray().round(2)
    array([[1.  , 0.  , 0.  , 0.  , 0.  , 1.  , 0.  , 0.71, 0.71],
           [0.  , 1.  , 0.  , 1.  , 0.  , 0.  , 0.  , 0.  , 1.  ],
           [1.  , 0.  , 0.  , 0.  , 1.  , 0.  , 0.  , 0.  , 0.  ],
           [0.  , 0.  , 1.  , 0.  , 1.  , 0.  , 1.  , 0.  , 0.  ]])
    >>> encoder.get_feature_names_out()[:6].tolist()
    ['page=news', 'page=shop', 'page=(missing)', 'price=[-inf, 4)', 'price=[4, 9.5)', \
'price=[9.5, inf)']
    >>> pd.DataFrame(encoder.encoding_)
      column    type           kind  field  n_features   details
    0   page  string       category   page           3  2 values
    1  price  number  quantile_bins  price           3    3 bins
    2   tags    list            bag   tags           3  3 values

    Other encodings, by name:

    >>> encoder = TableEncoder({"price": "number", "tags": "drop"}, crossed=[("page", "price")])
    >>> encoder.set_params(columns={"price": "log_bins", "tags": "drop"})
    TableEncoder(columns={'price': 'log_bins', 'tags': 'drop'},
                 crossed=[('page', 'price')])
    >>> encoder.fit(clicks).get_feature_names_out()[-2:].tolist()
    ['page*price=shop*[-inf, 2.71828)', 'page*price=(missing)*[2.71828, 4.11325)']
    """

    _constraints: ClassVar[dict] = {
        "strings": [Options(*kinds.STRINGS)],
        "numbers": [Options(*kinds.NUMBERS)],
        "min_frequency": kinds.MIN_FREQUENCY,
        "max_categories": kinds.MAX_CATEGORIES,
        "n_features": kinds.N_FEATURES,
        "total_n_features": [NONE, *kinds.N_FEATURES],
        "n_bins": kinds.N_BINS,
        "crossed": [Members("a list of pairs of fields")],
        "hash_seed": [Interval(numbers.Integral, 0, 2**63 - 1)],
        "sparse_output": [BOOLEAN],
        "dtype": [FLOAT_TYPE],
    }

    def __init__(
        self,
        columns: Mapping[Any, Any] | None = None,
        *,
        strings: Literal["category", "hashed"] = "category",
        numbers: Literal[
            "number", "quantile_bins", "log_bins", "bins_and_value", "category", "hashed"
        ] = "quantile_bins",
        min_frequency: Float | None = None,
        max_categories: Int | None = None,
        n_features: Int = 4096,
        total_n_features: Int | None = None,
        n_bins: Int = 20,
        crossed: Sequence[Any] = (),
        hash_seed: Int = 0,
        random_state: Seed = None,
        sparse_output: bool = True,
        dtype: FloatDType = np.float64,
    ) -> None:
        self.columns = columns
        self.strings = strings
        self.numbers = numbers
        self.min_frequency = min_frequency
        self.max_categories = max_categories
        self.n_features = n_features
        self.total_n_features = total_n_features
        self.n_bins = n_bins
        self.crossed = crossed
        self.hash_seed = hash_seed
        self.random_state = random_state
        self.sparse_output = sparse_output
        self.dtype = dtype

    def fit(self, X: TableLike, y: ArrayLike | None = None) -> Self:
        """Learn the values, bins and other statistics of a table.

        Parameters
        ----------
        X : DataFrame, Arrow table, array-like or list of rows, of shape (n_samples, n_columns)
            Table of pandas, polars or Arrow, any other object with an Arrow C stream
            (``__arrow_c_stream__``), or a two-dimensional array.
        y : array-like of shape (n_samples,), default=None
            Target, for fields encoded as "target". Otherwise ignored.

        Returns
        -------
        self : object
            The fitted encoder.

        Raises
        ------
        ValueError
            If a parameter is invalid or names a column or a field that does not exist; if X has no
            rows; if values of a column do not suit its encoding, such as infinite numbers; if two
            columns or fields have the same name; or if `y` is needed but missing.
        TypeError
            If X is sparse, if a parameter has the wrong type, or if a column contains values that
            cannot be encoded, such as dictionaries.
        ImportError
            If X can only be read by pyarrow, which is not installed.

        Warns
        -----
        UserWarning
            If there are fewer rows of some class than folds for target statistics.
        """
        with all_or_nothing(self):
            self._learn(InputTable(X), y, reset=True)
        return self

    def fit_transform(self, X: TableLike, y: ArrayLike | None = None) -> SparseMatrix:
        """Learn from a table and transform it.

        Parameters
        ----------
        X : DataFrame, Arrow table, array-like or list of rows, of shape (n_samples, n_columns)
            Table, as for :meth:`fit`.
        y : array-like of shape (n_samples,), default=None
            Target, for fields encoded as "target". Otherwise ignored.

        Returns
        -------
        X_out : CSR matrix of shape (n_samples, n_output_features)
            The same result as ``fit(X, y).transform(X)``, in less time, except for target
            statistics, which are cross-fitted.

        Raises
        ------
        ValueError
            As by :meth:`fit`.
        TypeError
            As by :meth:`fit`.
        ImportError
            As by :meth:`fit`.

        Warns
        -----
        UserWarning
            As by :meth:`fit`.
        """
        with all_or_nothing(self):
            table = InputTable(X)
            return self._encode(table, self._learn(table, y, reset=True))

    @available_if(_learns_in_chunks)
    def partial_fit(self, X: TableLike, y: ArrayLike | None = None) -> Self:
        """Learn from one chunk of a table, in addition to earlier chunks.

        Not available for target statistics, which need all rows at once.

        Parameters
        ----------
        X : DataFrame, Arrow table, array-like or list of rows, of shape (n_samples, n_columns)
            Chunk with the same columns as earlier ones. The parameters and the first chunk
            determine the encodings. Later chunks may be empty.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The fitted encoder.

        Raises
        ------
        ValueError
            As by :meth:`fit` and :meth:`transform`; if a column had only missing values in the
            first chunk and `columns` does not say what it becomes; or if quantile bins, which
            change from chunk to chunk, are crossed without hashing.
        TypeError
            As by :meth:`fit`.
        ImportError
            As by :meth:`fit`.
        """
        with all_or_nothing(self):
            self._learn(InputTable(X), y, reset=not hasattr(self, "_blocks"), in_chunks=True)
        return self

    def transform(self, X: TableLike) -> SparseMatrix:
        """Transform a table.

        Parameters
        ----------
        X : DataFrame, Arrow table, array-like or list of rows, of shape (n_samples, n_columns)
            Table with the same columns as the training table, in the same order. It may have no
            rows, and need not be in the same container.

        Returns
        -------
        X_out : CSR matrix of shape (n_samples, n_output_features)
            Matrix in canonical format (sorted, no duplicates, no stored zeros), with int32 indices
            if possible. It has the attributes ``feature_fields`` and ``feature_groups``. A dense
            array if `sparse_output` is False.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the encoder is not fitted.
        ValueError
            If columns are unknown, missing or in another order; if a column has another type than
            in the training table; or if it contains infinite numbers.
        TypeError
            If X is sparse, or if a column contains values that cannot be encoded.
        ImportError
            If X can only be read by pyarrow, which is not installed.

        Warns
        -----
        UserWarning
            If only one of X and the training table has names of columns.
        """
        check_is_fitted(self)
        return self._encode(self._open(InputTable(X)), {})

    def get_feature_names_out(
        self, input_features: ArrayLike | None = None
    ) -> NDArray[np.object_]:
        """Return the names of the output columns.

        Parameters
        ----------
        input_features : None
            Ignored.

        Returns
        -------
        names : ndarray of str objects of shape (n_output_features,)
            ``field=value``, such as "page=news", "price=[4, 9.5)" or "when__weekday=Mon";
            ``field=(infrequent)`` and ``field=(missing)``; ``field=#7`` in hashed fields; and
            only the field for numbers and target statistics. Values are converted by `str`, or by
            `repr` if the results of `str` are not unique.
        """
        check_is_fitted(self)
        return np.array([name for block in self._blocks for name in block.names()], dtype=object)

    def hash_collisions(self, X: TableLike) -> dict[str, float]:
        """Return how many distinct values share a column of a hashed field.

        Parameters
        ----------
        X : DataFrame, Arrow table, array-like or list of rows, of shape (n_samples, n_columns)
            Table with the same columns as the training table.

        Returns
        -------
        collisions : dict of float by str
            For each hashed field, without crossed ones, the share of the distinct values in X that
            have the same column as another value. To lower it, raise `n_features`.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the encoder is not fitted.
        ValueError
            As by :meth:`transform`.
        TypeError
            As by :meth:`transform`.
        ImportError
            As by :meth:`transform`.

        Examples
        --------
        >>> from skfm.preprocessing import TableEncoder
        >>> table = [[f"user {number}"] for number in range(1000)]
        >>> encoder = TableEncoder(strings="hashed", n_features=2**14).fit(table)
        >>> round(encoder.hash_collisions(table)["x0"], 2)
        0.06
        """
        check_is_fitted(self)
        table = self._open(InputTable(X))
        return {
            block.field: block.collisions(table.column(self._sources[block.field][0]))
            for block in self._blocks
            if isinstance(block, Hashed)
        }

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.target_tags.required = kinds.need_target(self.columns, self.crossed)
        return tags

    # Learning

    def _learn(self, table, y, *, reset, in_chunks=False):
        """Learn from a table; return the cross-fitted entries of the training rows by field."""
        if reset:
            self._check_parameters()
            check_columns(self, table, reset=True)
            self._start(table)
        else:
            self._open(table, learning=True)
        own = [block for block in self._blocks if not hasattr(block, "members")]
        crosses = [block for block in self._blocks if hasattr(block, "members")]
        self._check_rows(table)
        if in_chunks:
            self._refuse_chunks(crosses)
        if any(block.needs_target for block in self._blocks):
            y = self._check_target(y, table)
        for block in own:  # errors come before anything is learned
            block.read(self._input(table, block))
        cross_fitted = {}
        for block in [*own, *crosses]:  # crosses need what their members have learned
            if not (block.is_stateless and block in crosses):
                read = self._input(table, block)
                block.learn(read)
                if block.needs_target:
                    cross_fitted[block.field] = block.fit_encode(read, y, self.random_state)
            if block in crosses:
                block.finish([self._by_field()[member] for member in block.members])
            else:
                block.finish()
        self._publish()
        return cross_fitted

    def _start(self, table):
        """Decide what each column becomes."""
        given = self._read_columns(table)
        specs, self._types = [], []
        for position in range(len(table.labels)):
            found = given.get(position)
            if found is not None and [spec.kind for spec in found] == ["drop"]:
                self._types.append(None)
                specs.append(found)
                continue
            column = table.column(position)
            self._types.append(column.type)
            specs.append(found or kinds.default_specs(column, self.strings, self.numbers))
        self._is_given = [position in given for position in range(len(specs))]
        crosses = kinds.read_crosses(self.crossed, self.strings)
        make = kinds.BlockMaker(
            numbers=self.numbers,
            defaults=self._defaults(
                [s for found in specs for s in found] + [s for _, s in crosses]
            ),
            seed=int(self.hash_seed),
        )
        self._blocks, self._sources = (
            [],
            {},
        )  # positions of the columns that each field is read from
        for position, found in enumerate(specs):
            if self._types[position] is None:
                continue
            for block in make.of_column(table.column(position), found):
                self._add(block, [position])
        fields = self._by_field()
        for members, spec in crosses:
            for member in members:
                if member not in fields:
                    raise ValueError(
                        f"Unknown field {member!r} in crossed. "
                        f"{kinds.closest(member, list(fields))}"
                    )
                if not fields[member].can_be_crossed:
                    raise ValueError(
                        f"The field {member!r}, of the kind {fields[member].kind!r}, cannot be "
                        "crossed; fields of categories, hashes, bins and dates can."
                    )
            positions = [self._sources[member][0] for member in members]
            field = "*".join(members)
            if field in self._sources and self._by_field()[field].kind != spec.kind:
                field += f"__{spec.kind}"
            self._add(make.of_cross(field, spec, list(members)), positions)

    def _add(self, block, positions):
        if block.field in self._sources:
            raise ValueError(
                f"Two fields would have the same name, {block.field!r}; rename the column or drop "
                "one of the fields."
            )
        self._blocks.append(block)
        self._sources[block.field] = positions

    def _read_columns(self, table):
        """The kinds that are given, by the positions of the columns."""
        if self.columns is None:
            return {}
        if not isinstance(self.columns, Mapping):
            raise TypeError(
                "columns must be a dict of kinds by the names of columns, such as "
                f"{{'age': 'number'}}, or None; got {shown(self.columns)}."
            )
        given = {}
        for name, value in self.columns.items():
            position = name
            if isinstance(name, str):
                if name not in table.labels:
                    raise ValueError(
                        f"Unknown column {name!r} in columns. {kinds.closest(name, table.labels)}"
                    )
                position = table.labels.index(name)
            is_position = isinstance(position, numbers.Integral) and not isinstance(name, bool)
            if not is_position or not 0 <= position < len(table.labels):
                raise ValueError(
                    f"Unknown column {shown(name)} in columns; pass the name of a column, or a "
                    f"position from 0 to {len(table.labels) - 1}."
                )
            given[int(position)] = kinds.read_specs(value, f"columns[{shown(name)}]")
        return given

    def _defaults(self, specs):
        """The options of all kinds for which none are given."""
        n_features = int(self.n_features)
        if self.total_n_features is not None:
            n_fields = sum(
                "n_features" in kinds.KINDS[spec.kind] or spec.kind == "hashed"
                for spec in specs
                if "n_features" not in spec.options
            )
            n_features = int(self.total_n_features) // max(n_fields, 1)
            if n_features < 2:
                raise ValueError(
                    f"total_n_features={self.total_n_features} is too small for {n_fields} hashed "
                    "fields, which need at least 2 columns each; raise it."
                )
        return {
            "min_frequency": self.min_frequency,
            "max_categories": self.max_categories,
            "n_features": n_features,
            "n_bins": int(self.n_bins),
            "smooth": 10,
            "cv": 10,
            "target_type": "auto",
        }

    @property
    def _has_learned_all(self):
        """Whether further rows would change nothing: all is hashed, and all types are known."""
        return NULL not in self._types and all(block.is_stateless for block in self._blocks)

    def _check_rows(self, table):
        is_enough = table.names is not None and all(block.is_stateless for block in self._blocks)
        if table.n_rows == 0 and not is_enough and not hasattr(self, "feature_fields_"):
            raise ValueError(
                f"Found array with 0 sample(s) (shape=(0, {len(table.labels)})) while a minimum "
                "of 1 is required."
            )

    def _refuse_chunks(self, crosses):
        fields = self._by_field()
        for block in crosses:
            changing = [m for m in block.members if fields[m].changes_ids]
            if isinstance(block, Cross) and changing:
                raise ValueError(
                    f"The quantile bins of {changing[0]!r} change from chunk to chunk, so that "
                    f"{block.field!r} cannot be learned by partial_fit; use fit, encode "
                    f"{changing[0]!r} as 'log_bins', or hash the crossed field: "
                    f"{{'fields': {tuple(block.members)}, 'kind': 'hashed'}}."
                )

    def _check_target(self, y, table):
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} requires y to be passed, but the target y is None: "
                "fields encoded as 'target' need it."
            )
        y = column_or_1d(y)
        check_consistent_length(y, np.empty((table.n_rows, 1)))
        refuse_rows(find_missing(y), "targets in y are missing (None or NaN)")
        if y.dtype.kind in "fc":
            assert_all_finite(y, input_name="y")
        return y

    def _publish(self):
        widths = [block.n_columns for block in self._blocks]
        fields = np.array([block.field for block in self._blocks], dtype=str)
        self.feature_fields_ = np.repeat(fields, widths)
        self.feature_groups_ = self.feature_fields_.copy()
        # Without "=" in a field, names are distinct: fields are, and so are the labels of a field.
        if any("=" in block.field for block in self._blocks):
            names = self.get_feature_names_out().tolist()
            if len(set(names)) < len(names):
                twin = next(name for name in names if names.count(name) > 1)
                raise ValueError(
                    f"Two features would have the same name, {twin!r}; rename the columns whose "
                    "names contain '='."
                )
        self.encoding_ = [self._describe(block) for block in self._blocks]
        dropped = [p for p, found in enumerate(self._types) if found is None]
        for position in dropped:
            self.encoding_.append(
                {
                    "column": self._labels[position],
                    "type": "",
                    "kind": "drop",
                    "field": "",
                    "n_features": 0,
                    "details": "",
                }
            )

    def _describe(self, block):
        positions = self._sources[block.field]
        return {
            "column": "*".join(self._labels[position] for position in positions),
            "type": "*".join(self._types[position] for position in positions),
            "kind": block.kind,
            "field": block.field,
            "n_features": int(block.n_columns),
            "details": block.describe(),
        }

    # Encoding

    def _by_field(self):
        return {block.field: block for block in self._blocks}

    def _input(self, table, block):
        """What a block reads: a column, or the ids or columns of the fields that it crosses."""
        columns = [table.column(position) for position in self._sources[block.field]]
        if not hasattr(block, "members"):
            return columns[0]
        fields = self._by_field()
        members = [fields[member] for member in block.members]
        pairs = zip(members, columns, strict=True)
        if isinstance(block, HashedCross):
            return [member.encode(column).columns for member, column in pairs]
        if block.needs_target:
            return [
                np.where(column.missing, UNKNOWN, member.ids(column)) for member, column in pairs
            ]
        return [member.ids(column) for member, column in pairs]

    def _open(self, table, *, learning=False):
        """Check that the columns of a table are those of the training table."""
        check_columns(self, table, reset=False)
        for position, expected in enumerate(self._types):
            if expected is None:
                continue
            column = table.column(position)
            if learning and expected == NULL and column.type != NULL:
                if not self._is_given[position]:
                    raise ValueError(
                        f"Column {column.name!r} had missing values only in the first call, and "
                        f"has {plural(column.type)} now. Say what it becomes, for example "
                        f"columns={{{column.name!r}: 'category'}}."
                    )
                self._types[position] = column.type
            if not _agree(expected, column.type):
                raise ValueError(
                    f"Column {column.name!r} contained {plural(expected)} in fit, and contains "
                    f"{plural(column.type)} here; convert it."
                )
        return table

    def _encode(self, table, cross_fitted):
        last_use = {}
        for number, block in enumerate(self._blocks):
            last_use.update(dict.fromkeys(self._sources[block.field], number))
        parts = []
        for number, block in enumerate(self._blocks):
            known = cross_fitted.get(block.field)
            parts.append(block.encode(self._input(table, block)) if known is None else known)
            for position in self._sources[block.field]:
                if last_use[position] == number:
                    table.forget(position)  # the copies of a large table would add up
        table.release_memory()
        widths = [block.n_columns for block in self._blocks]
        X = side_by_side(parts, widths, table.n_rows, np.dtype(self.dtype))
        if not self.sparse_output:
            return X.toarray()
        X = in_configured_interface(X)
        X.feature_fields, X.feature_groups = self.feature_fields_, self.feature_groups_
        return X

    # Representation

    @property
    def _repr_html_(self):
        diagram = super()._repr_html_
        return lambda: diagram() + self._encoding_as_html()

    def _repr_mimebundle_(self, **options):
        bundle = super()._repr_mimebundle_(**options)
        if "text/html" in bundle:
            bundle["text/html"] += self._encoding_as_html()
        return bundle

    def _encoding_as_html(self):
        return as_html_table(self.encoding_) if hasattr(self, "encoding_") else ""


def _agree(expected, found):
    """Whether a column of the training table and one of another table have the same type."""
    if found == expected or NULL in (expected, found):
        return True
    return expected == MIXED and found in (STRING, NUMBER, BOOLEANS)
