"""IndexEncoder: columns for features that are numbered in text files."""

import numbers
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
from scipy import sparse
from sklearn.utils.validation import check_is_fitted

from skfm._utils.estimator import PrintableEstimator, VersionedEstimator, all_or_nothing
from skfm._utils.parameters import AUTO, BOOLEAN, NONE, Interval, check_parameters
from skfm._utils.public import public
from skfm._utils.sparse import LARGEST_INT32, index_type
from skfm._utils.sparse_text import LARGEST_INT64
from skfm._utils.typing import Int, SparseMatrix


class IndexedRows(NamedTuple):
    """Rows of numbered features: an array of shape (n_rows,), then those of shape (n_entries,)."""

    counts: np.ndarray  # of entries
    fields: np.ndarray | None
    features: np.ndarray
    values: np.ndarray

    def part(self, start, stop):
        first, last = int(self.counts[:start].sum()), int(self.counts[:stop].sum())
        others = (None if a is None else a[first:last] for a in self[1:])
        return IndexedRows(self.counts[start:stop], *others)

    @classmethod
    def joined(cls, parts):
        if len(parts) == 1:
            return parts[0]
        columns = zip(*parts, strict=True)
        return cls(*(None if c[0] is None else np.concatenate(c) for c in columns))

    def row_of(self, entry):
        return int(np.searchsorted(np.cumsum(self.counts), entry, side="right"))


class RowError(ValueError):
    """An error about a row, counted from the start of the rows that were passed."""

    def __init__(self, message, row):
        super().__init__(message)
        self.row = row


@public("skfm.streams")
class IndexEncoder(VersionedEstimator, PrintableEstimator):
    """Columns for the numbered features of svmlight and libffm files.

    :class:`~skfm.streams.Rows` of such files use this encoder by default. It learns from the
    training files how many features there are, whether they are numbered from 0 or from 1, and
    the fields of libffm. Pass it to the `Rows` of all other files, ``encoder=rows.encoder_``:
    validation and test files may lack the first or last features by chance.

    Parameters
    ----------
    n_features : int, default=None
        Number of features. None is inferred from the largest feature.
    zero_based : bool or "auto", default=None
        Whether features are numbered from 0 or from 1. With "auto", they are numbered from 1 if
        there is no feature 0 in any row of any training file. None is the default of the function
        that loads such a file: "auto" for svmlight
        (:func:`sklearn.datasets.load_svmlight_file`), and True for libffm
        (:func:`skfm.datasets.load_libffm`).

    Attributes
    ----------
    n_features_ : int
        Number of features.
    zero_based_ : bool
        Whether they are numbered from 0.
    feature_fields_ : ndarray of shape (n_features,) or None
        Fields of the features in libffm files. Features that did not occur count to the last one.

    See Also
    --------
    Rows : Rows of files.
    skfm.datasets.load_libffm : Read a libffm file into memory.

    Notes
    -----
    Features above `n_features_`, and a feature 0 if features are numbered from 1, raise an error
    that names the row, as do features that occur in several fields. With explicit `n_features` and
    `zero_based`, svmlight files need no pass to learn them.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from skfm.streams import IndexEncoder, Rows
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder, "rows.svm")
    ...     _ = file.write_text("1 1:0.5 3:2\\n0 2:1\\n")
    ...     X = Rows(file, encoder=IndexEncoder(n_features=4)).encoded().read_all()[0]
    >>> X.toarray().tolist()
    [[0.5, 0.0, 2.0, 0.0], [0.0, 1.0, 0.0, 0.0]]
    """

    _constraints: ClassVar[dict] = {
        "n_features": [NONE, Interval(numbers.Integral, 1, LARGEST_INT32)],
        "zero_based": [NONE, BOOLEAN, AUTO],
    }

    def __init__(
        self, *, n_features: Int | None = None, zero_based: bool | Literal["auto"] | None = None
    ) -> None:
        self.n_features = n_features
        self.zero_based = zero_based

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the features of rows.

        Parameters
        ----------
        X : rows of a file
            As :class:`~skfm.streams.Rows` passes them.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The fitted encoder.
        """
        with all_or_nothing(self):
            return self._learn(X, _START)

    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """Learn the features of more rows.

        Parameters
        ----------
        X : rows of a file
            As :class:`~skfm.streams.Rows` passes them.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The fitted encoder.
        """
        known = (self._lowest, self._highest, self._table) if self._is_started else _START
        with all_or_nothing(self):
            return self._learn(X, known)

    def transform(self, X: Any) -> SparseMatrix:
        """Return the rows as a matrix.

        Parameters
        ----------
        X : rows of a file
            As :class:`~skfm.streams.Rows` passes them.

        Returns
        -------
        X : CSR matrix of shape (n_rows, n_features)
            With the attribute `feature_fields` for libffm files.
        """
        check_is_fitted(self)
        _check_input(X)
        self._check_kind(X)
        first = int(not self.zero_based_)
        outside = (X.features < first) | (X.features >= self.n_features_ + first)
        if outside.any():
            entry = int(outside.argmax())
            raise RowError(
                f"Feature {X.features[entry]} is not among the features {first} to "
                f"{self.n_features_ + first - 1} that the encoder has learned or was given. Train "
                "with IndexEncoder(n_features=..., zero_based=...) that suit all files, or check "
                "that features are numbered in the same way in all of them.",
                X.row_of(entry),
            )
        if self.feature_fields_ is not None:
            self._check_fields(X, self._table)
        indptr = np.append(0, np.cumsum(X.counts))
        index = index_type(X.features.size, self.n_features_)
        matrix = sparse.csr_matrix(
            (X.values, (X.features - first).astype(index), indptr.astype(index)),
            shape=(X.counts.size, self.n_features_),
        )
        if self.feature_fields_ is not None:
            matrix.feature_fields = self.feature_fields_
        return matrix

    @property
    def _is_started(self):
        return hasattr(self, "n_features_")

    @property
    def _has_learned_all(self):
        """Whether further rows would change nothing."""
        is_given = self.n_features is not None and self.zero_based in (True, False)
        return is_given and self.feature_fields_ is None

    @property
    def _feature_numbers(self):
        """How the files number the features."""
        first = int(not self.zero_based_)
        return np.arange(first, first + self.n_features_)

    def _learn(self, X, known):
        check_parameters(vars(self), self._constraints)
        _check_input(X)
        if self._is_started and known is not _START:
            self._check_kind(X)
        lowest, highest, table = known
        lowest = min(lowest, int(X.features.min(initial=LARGEST_INT64)))
        highest = max(highest, int(X.features.max(initial=-1)))
        if highest > LARGEST_INT32:
            raise RowError(
                f"Feature {highest} is too large: at most {LARGEST_INT32} features are possible; "
                "renumber or hash them.",
                X.row_of(int(X.features.argmax())),
            )
        zero_based = self.zero_based
        if zero_based is None:
            zero_based = True if X.fields is not None else "auto"
        if zero_based == "auto":
            zero_based = lowest == 0 or highest < 0
        first = int(not zero_based)
        n_features = self.n_features or max(highest + 1 - first, 1)
        if X.fields is not None:
            table = self._with_fields(X, table, n_features + first)
        self._lowest, self._highest, self._table = lowest, highest, table
        self.zero_based_, self.n_features_ = bool(zero_based), int(n_features)
        self.feature_fields_ = None
        if table is not None:
            fields = np.full(n_features, -1)
            part = table[first : first + n_features]
            fields[: part.size] = part
            self.feature_fields_ = np.where(fields < 0, fields.max(initial=0), fields)
        return self

    def _with_fields(self, X, table, size):
        """The field of each feature: that of its first entry; -1 for features without entries."""
        known = np.empty(0, np.int64) if table is None else table
        try:
            table = np.full(max(size, int(X.features.max(initial=-1)) + 1, known.size), -1)
        except MemoryError:
            raise ValueError(
                "There is not enough memory for so many features; renumber or hash them."
            ) from None
        table[: known.size] = known
        new = table[X.features] < 0
        # Backwards: what is assigned last stays, and that is the first one in the file.
        table[X.features[new][::-1]] = X.fields[new][::-1]
        self._check_fields(X, table)
        return table

    def _check_fields(self, X, table):
        known = table[X.features]
        differ = (known != X.fields) & (known >= 0)
        if differ.any():
            entry = int(differ.argmax())
            raise RowError(
                f"Feature {X.features[entry]} occurs in the fields {known[entry]} and "
                f"{X.fields[entry]}; number the features of different fields differently.",
                X.row_of(entry),
            )

    def _check_kind(self, X):
        if (X.fields is None) != (self.feature_fields_ is None):
            kinds = ["with fields (libffm)", "without fields (svmlight)"]
            known, found = kinds if X.fields is None else kinds[::-1]
            raise ValueError(
                f"The encoder was fitted to files {known}, but these are files {found}; train "
                "and predict with files of one format."
            )


_START = (LARGEST_INT64, -1, None)


def _check_input(X):
    if not isinstance(X, IndexedRows):
        raise TypeError(
            f"IndexEncoder encodes rows of svmlight and libffm files; got {type(X).__name__}. Use "
            "a TableEncoder for tables, and no encoder for matrices."
        )
