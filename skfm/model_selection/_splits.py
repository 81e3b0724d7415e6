"""Train/test splits over user-item entries, for recommenders.

All results are CSR in canonical form, with the shape and data type of X. In sparse input, each
stored entry counts, including stored zeros, which may be ratings; in dense input, the nonzero
entries count.
"""

import numbers
from collections.abc import Iterator
from typing import ClassVar, Never

import numpy as np
from scipy import sparse
from sklearn.utils import check_array, check_random_state

from skfm._utils import sparse_entries
from skfm._utils.parameters import (
    BETWEEN_0_AND_1,
    BOOLEAN,
    POSITIVE_INTEGER,
    Interval,
    check_parameter,
    check_parameters,
)
from skfm._utils.public import public
from skfm._utils.sparse import check_sparse
from skfm._utils.typing import Float, Int, MatrixLike, Seed, SparseMatrix
from skfm._utils.warnings import warn


def split_entries(
    X: MatrixLike, test_size: Float = 0.2, *, per_row: bool = True, random_state: Seed = None
) -> tuple[SparseMatrix, SparseMatrix]:
    """Split the entries of a user-item matrix at random into training and test entries.

    Parameters
    ----------
    X : {array-like, sparse matrix, sparse array} of shape (n_rows, n_items)
        User-item matrix. In sparse input, each stored entry counts, including stored zeros; in
        dense input, each nonzero entry. Duplicate entries are summed first.
    test_size : float or int, default=0.2
        Size of the test set. A float between 0 and 1 is a fraction of all entries, rounded to a
        number of entries (half to even). An int is a number of entries; with `per_row`, of each
        row.
    per_row : bool, default=True
        Whether to hold out the same fraction of each row. The number of entries of a row is
        rounded up or down at random such that the total is right, and a row never loses its last
        entry. If False, entries are drawn regardless of their rows, which may become empty.
    random_state : int, RandomState instance or None, default=None
        Seed of the split. Pass an int for reproducible results.

    Returns
    -------
    X_train : CSR matrix or array of shape (n_rows, n_items)
        Training entries; a sparse array if X is one.
    X_test : CSR matrix or array of shape (n_rows, n_items)
        Held-out entries.

    Raises
    ------
    ValueError, TypeError
        If a parameter is invalid or X is not a matrix of finite numbers.

    Warns
    -----
    UserWarning
        If fewer entries than `test_size` are held out, because rows are too short.

    See Also
    --------
    leave_last_out : Hold out the latest entries of each row.
    split_users : Hold out rows, and some of their entries.
    EntryKFold : K-fold cross-validation over entries.

    Notes
    -----
    With `per_row`, no entry is held out of a row with a single entry. To compensate for this, more
    entries of the other rows are held out, but at most half of them. If this is not enough, only
    the fraction `test_size` of the entries of the other rows is held out, and a warning is issued.
    If most users in a log have a single entry, drop these users before splitting: their entries
    cannot be predicted from other entries, and contain no information about which items go
    together.

    (:meth:`MFRecommender.score <skfm.MFRecommender.score>` splits the entries differently. It
    holds out at least one entry of each row with two or more entries, so that these rows are
    evaluated. Which entries are held out depends only on the row, so that all models are evaluated
    on the same entries.)

    A random split is appropriate if the entries have no order in time, or if the task is to fill
    gaps. Otherwise, the training entries include some that are later than the held-out ones, which
    makes the task easier than in practice: see :func:`leave_last_out`.

    To search for hyperparameters, split the entries first, and let scikit-learn split the rows::

        X_visible, Y_hidden = split_entries(X, random_state=0)
        search = GridSearchCV(model, grid, scoring=make_ranking_scorer("ndcg"))
        search.fit(X_visible, Y_hidden)

    Each candidate is fitted on the visible entries of some users. For the other users, it makes
    recommendations from their visible entries, and is scored on their held-out entries. For
    :func:`~sklearn.model_selection.cross_val_score`, see :func:`skfm.metrics.make_ranking_scorer`.

    Examples
    --------
    >>> import numpy as np
    >>> from skfm.model_selection import split_entries
    >>> X = np.array([[5, 3, 0, 4], [0, 2, 0, 0], [1, 1, 4, 5]])
    >>> X_train, X_test = split_entries(X, test_size=1, random_state=0)
    >>> X_test.toarray()
    array([[5, 0, 0, 0],
           [0, 0, 0, 0],
           [1, 0, 0, 0]])
    >>> bool(((X_train + X_test).toarray() == X).all())
    True
    """
    csr = _as_csr(X, "X")
    _check_size(test_size, "test_size")
    check_parameter(per_row, "per_row", BOOLEAN)
    return _split(csr, test_size, per_row, check_random_state(random_state))


def leave_last_out(
    X: MatrixLike, time: MatrixLike, n_entries: Int = 1
) -> tuple[SparseMatrix, SparseMatrix]:
    """Hold out the latest entries of each row.

    Parameters
    ----------
    X : {array-like, sparse matrix, sparse array} of shape (n_rows, n_items)
        User-item matrix. In sparse input, each stored entry counts, including stored zeros; in
        dense input, each nonzero entry. Duplicate entries are summed first.
    time : {array-like, sparse matrix, sparse array} of shape (n_rows, n_items)
        Time of each entry of X: numbers, greater for later entries. A time of 0 must be stored.
        Among entries of a row with equal times, those further right count as later.
    n_entries : int, default=1
        Number of entries to hold out of each row. A row never loses its last entry: if it has at
        most `n_entries` entries, it keeps the earliest one.

    Returns
    -------
    X_train : CSR matrix or array of shape (n_rows, n_items)
        Training entries; a sparse array if X is one.
    X_test : CSR matrix or array of shape (n_rows, n_items)
        Latest entries of each row.

    Raises
    ------
    ValueError, TypeError
        If the entries of `time` are not those of X, if it has duplicate entries, or if an argument
        is invalid.

    See Also
    --------
    split_entries : Hold out entries at random.

    Notes
    -----
    The past of a user is never predicted from the same user's future. However, the held-out
    entries of a user may be older than training entries of other users, so the model may know
    items or trends that did not exist yet. If this matters, split all rows at the same date
    instead.

    Examples
    --------
    >>> import numpy as np
    >>> from skfm.model_selection import leave_last_out
    >>> X = np.array([[5, 3, 0], [0, 2, 0], [1, 1, 4]])
    >>> time = np.array([[2012, 2010, 0], [0, 2011, 0], [2013, 2014, 2014]])
    >>> X_train, X_test = leave_last_out(X, time)
    >>> X_test.toarray()
    array([[5, 0, 0],
           [0, 0, 0],
           [0, 0, 4]])
    """
    csr = _as_csr(X, "X")
    when = _as_csr(time, "time")
    check_parameter(n_entries, "n_entries", POSITIVE_INTEGER)
    n_entries = _bounded(int(n_entries))
    if _n_entries(time) not in (None, when.nnz):
        raise ValueError(
            "time has duplicate entries, and times cannot be summed; keep one for each entry of X."
        )
    if csr.shape != when.shape:
        raise ValueError(f"time must have the same shape as X, {csr.shape}; got {when.shape}.")
    if not (np.array_equal(csr.indptr, when.indptr) and np.array_equal(csr.indices, when.indices)):
        raise ValueError(
            f"time must have the same entries as X: X has {csr.nnz} entries, time has "
            f"{when.nnz}, and their positions differ. Zeros count if they are stored in a sparse "
            "matrix, but not in dense input."
        )
    n = sparse_entries.n_entries_by_row(csr)
    n_visible = np.repeat(n - np.minimum(n_entries, n - 1), n)
    return sparse_entries.divide_entries(
        csr, sparse_entries.ranks_within_rows(csr, when.data) >= n_visible
    )


def split_users(
    X: MatrixLike, test_size: Float = 0.2, *, hidden_size: Float = 0.2, random_state: Seed = None
) -> tuple[SparseMatrix, SparseMatrix, SparseMatrix]:
    """Hold out whole rows, and split their entries.

    Parameters
    ----------
    X : {array-like, sparse matrix, sparse array} of shape (n_rows, n_items)
        User-item matrix. In sparse input, each stored entry counts, including stored zeros; in
        dense input, each nonzero entry. Duplicate entries are summed first.
    test_size : float or int, default=0.2
        Number of rows to hold out, or their fraction between 0 and 1, which is rounded to a number
        of rows. At least one row is held out, and at least one is not.
    hidden_size : float or int, default=0.2
        Size of the hidden part of the held-out rows: a fraction of their entries, or a number of
        entries of each row, as for `test_size` of :func:`split_entries`. A row never loses its
        last entry.
    random_state : int, RandomState instance or None, default=None
        Seed of the split. Pass an int for reproducible results.

    Returns
    -------
    X_train : CSR matrix or array of shape (n_train, n_items)
        Training rows, in the order of X; a sparse array if X is one.
    X_visible : CSR matrix or array of shape (n_test, n_items)
        Visible entries of the held-out rows, in the order of X.
    X_hidden : CSR matrix or array of shape (n_test, n_items)
        Hidden entries of the same rows, which a model has to predict.

    Raises
    ------
    ValueError, TypeError
        If a parameter is invalid, or if X is not a matrix of finite numbers or has only one row.

    Warns
    -----
    UserWarning
        If fewer entries than `hidden_size` are hidden, because rows are too short.

    See Also
    --------
    split_entries : Hold out entries of all rows.

    Notes
    -----
    This split evaluates *strong generalization*: the model is fitted without any entries of the
    users for whom it is evaluated. Predictions for such users are harder. Models that only make
    predictions for users from the training data cannot be evaluated in this way.

    The hidden entries are drawn at random; for the consequences, see :func:`split_entries`.

    Examples
    --------
    >>> import numpy as np
    >>> from skfm.model_selection import split_users
    >>> X = np.array([[5, 3, 0, 4], [0, 2, 0, 0], [1, 1, 4, 5]])
    >>> X_train, X_visible, X_hidden = split_users(X, 1, hidden_size=2, random_state=0)
    >>> X_train.toarray()
    array([[5, 3, 0, 4],
           [0, 2, 0, 0]])
    >>> X_visible.toarray()
    array([[1, 1, 0, 0]])
    >>> X_hidden.toarray()
    array([[0, 0, 4, 5]])
    """
    csr = _as_csr(X, "X")
    _check_size(test_size, "test_size")
    _check_size(hidden_size, "hidden_size")
    n_rows = csr.shape[0]
    if n_rows < 2:
        raise ValueError(f"X must have at least 2 rows, to hold one out; got {n_rows}.")
    if isinstance(test_size, numbers.Integral) and test_size >= n_rows:
        raise ValueError(f"test_size={test_size} must be less than the {n_rows} rows of X.")
    rng = check_random_state(random_state)
    held_out = np.zeros(n_rows, dtype=bool)
    n_held_out = np.clip(_n_of(test_size, n_rows), 1, n_rows - 1)
    held_out[rng.permutation(n_rows)[:n_held_out]] = True
    tested = csr[np.flatnonzero(held_out)]
    X_visible, X_hidden = _split(tested, hidden_size, True, rng, "hidden_size")
    return csr[np.flatnonzero(~held_out)], X_visible, X_hidden


@public("skfm.model_selection")
class EntryKFold:
    """K-fold cross-validation over the entries of a user-item matrix.

    Unlike scikit-learn's splitters, it yields matrices rather than row indices, so it cannot be
    used as ``cv``. Loop over :meth:`split` instead, or see :func:`split_entries` for searches.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, at least 2.
    per_row : bool, default=True
        Whether to distribute the entries of each row evenly over the folds, so that the numbers of
        entries of a row in two folds differ by at most 1. The training part of a row with a single
        entry is empty if this entry is held out. If False, entries are distributed regardless of
        their rows. In both cases, the sizes of two folds differ by at most one entry.
    random_state : int, RandomState instance or None, default=None
        Seed of the folds. With an int, each call of :meth:`split` yields the same folds.

    Raises
    ------
    ValueError, TypeError
        If a parameter is invalid.

    See Also
    --------
    split_entries : A single split.

    Notes
    -----
    Each entry is held out once, so this class provides cross-validation and out-of-fold
    predictions of ratings. Folds are drawn at random, regardless of time: see
    :func:`split_entries` for when this is appropriate, and for searches over hyperparameters.

    Examples
    --------
    >>> import numpy as np
    >>> from skfm.model_selection import EntryKFold
    >>> X = np.array([[5, 3, 0, 4], [0, 2, 1, 0], [1, 1, 4, 5]])
    >>> for X_train, X_test in EntryKFold(n_splits=3, random_state=0).split(X):
    ...     print(X_train.nnz, X_test.nnz)
    6 3
    6 3
    6 3
    """

    _constraints: ClassVar[dict] = {
        "n_splits": [Interval(numbers.Integral, 2)],
        "per_row": [BOOLEAN],
    }

    def __init__(
        self, n_splits: Int = 5, *, per_row: bool = True, random_state: Seed = None
    ) -> None:
        check_parameters({"n_splits": n_splits, "per_row": per_row}, self._constraints)
        check_random_state(random_state)
        self.n_splits = n_splits
        self.per_row = per_row
        self.random_state = random_state

    def __repr__(self):
        return (
            f"EntryKFold(n_splits={self.n_splits}, per_row={self.per_row}, "
            f"random_state={self.random_state})"
        )

    def get_n_splits(self, X: object = None, y: object = None, groups: object = None) -> Int:
        """Return the number of folds.

        Parameters
        ----------
        X, y, groups : object, default=None
            Ignored, as in scikit-learn's splitters.

        Returns
        -------
        n_splits : int
            Number of folds.
        """
        return self.n_splits

    def split(
        self, X: MatrixLike, *targets: Never, **metadata: Never
    ) -> Iterator[tuple[SparseMatrix, SparseMatrix]]:
        """Yield the training and test entries of each fold.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_rows, n_items)
            User-item matrix. In sparse input, each stored entry counts, including stored zeros; in
            dense input, each nonzero entry. Duplicate entries are summed first.
        *targets, **metadata
            Not accepted: scikit-learn passes these to a ``cv``.

        Yields
        ------
        X_train : CSR matrix or array of shape (n_rows, n_items)
            Entries of the other folds; a sparse array if X is one.
        X_test : CSR matrix or array of shape (n_rows, n_items)
            Entries of this fold.

        Raises
        ------
        ValueError
            If X is not a matrix of finite numbers, or has fewer entries than there are folds.
        TypeError
            If other arguments are given, as when the object is used as a ``cv``.
        """
        if targets or metadata:
            raise TypeError(
                "EntryKFold takes only X and cannot be the cv of cross_val_score or GridSearchCV: "
                "these split rows, whereas its folds hold out entries. Loop over split(X) "
                "instead; or hold out entries first, X_visible, Y_hidden = split_entries(X), pass "
                "both as X and y with a scorer from skfm.metrics.make_ranking_scorer, and let "
                "cv=KFold() split the rows."
            )
        csr = _as_csr(X, "X")
        if csr.nnz < self.n_splits:
            raise ValueError(
                f"n_splits={self.n_splits} must be at most the number of entries of X, {csr.nnz}."
            )
        rng = check_random_state(self.random_state)
        if self.per_row:
            # Entries are dealt to the folds in turn, row after row in random order, so that folds
            # are balanced within each row and in total.
            rows = rng.permutation(csr.shape[0])[sparse_entries.rows_of(csr)]
            dealt = np.lexsort((rng.random_sample(csr.nnz), rows))
        else:
            dealt = rng.permutation(csr.nnz)
        fold = np.empty(csr.nnz, dtype=np.int64)
        fold[dealt] = np.arange(csr.nnz) % self.n_splits
        # Not a generator function, so that invalid arguments raise here instead of in the loop.
        return (
            sparse_entries.divide_entries(csr, fold == number) for number in range(self.n_splits)
        )


def _as_csr(X, name):
    """Copy X to canonical CSR. Stored zeros stay, and a sparse array stays an array."""
    if np.ndim(X) != 2:
        raise ValueError(
            f"{name} must be a matrix with users as rows and items as columns; it has "
            f"{np.ndim(X)} dimension(s)."
        )
    X = check_array(
        check_sparse(X, name),
        accept_sparse="csr",
        copy=sparse.issparse(X),
        input_name=name,
        ensure_min_samples=0,
        ensure_min_features=0,
    )
    if not sparse.issparse(X):
        return sparse.csr_matrix(X)
    X.sum_duplicates()
    return X


def _n_entries(X):
    """Number of entries of a sparse matrix, duplicates included, if its format can have them."""
    return X.nnz if sparse.issparse(X) and X.format in ("coo", "csr", "csc") else None


def _check_size(size, name):
    check_parameter(size, name, POSITIVE_INTEGER, BETWEEN_0_AND_1)


def _n_of(size, n):
    """Number of entries for a size, given as a fraction of `n` or as a number; may exceed `n`."""
    if isinstance(size, numbers.Integral):
        return _bounded(int(size))
    return np.rint(float(size) * n).astype(np.int64)


def _bounded(size):
    """Limit the size to int64, in which NumPy compares; no array is larger."""
    return min(size, np.iinfo(np.int64).max)


def _split(csr, size, per_row, rng, name="test_size"):
    if per_row:
        n = sparse_entries.n_entries_by_row(csr)
        n_hidden = _n_hidden(n, size, rng, name)
        ranks = sparse_entries.ranks_within_rows(csr, rng.random_sample(csr.nnz))
        hidden = ranks < np.repeat(n_hidden, n)
    else:
        if isinstance(size, numbers.Integral) and size >= csr.nnz:
            raise ValueError(f"test_size={size} must be less than the {csr.nnz} entries of X.")
        n_hidden = min(_n_of(size, csr.nnz), max(0, csr.nnz - 1))
        hidden = np.zeros(csr.nnz, dtype=bool)
        hidden[rng.permutation(csr.nnz)[:n_hidden]] = True
    return sparse_entries.divide_entries(csr, hidden)


def _n_hidden(n, size, rng, name):
    """Number of entries to hide in rows of ``n`` entries, never all of a row."""
    if isinstance(size, numbers.Integral):
        wanted, n_hidden = 1, np.minimum(_bounded(size), n - 1).clip(0)
    else:
        # Longer rows compensate for rows with a single entry, but keep half of their entries.
        n_all, n_able = n.sum(), n[n > 1].sum()
        wanted, fair = (max(1, _n_of(size, total)) for total in (n_all, n_able))
        n_hidden = _shared_out(wanted if 2 * wanted <= n_able else fair, n, rng)
    if n.any() and n_hidden.sum() < wanted:
        warn(
            f"{n_hidden.sum()} of {n.sum()} entries are held out, fewer than {name}={size} "
            f"requires: no row loses its last entry, and of {np.count_nonzero(n)} rows with "
            f"entries, {np.count_nonzero(n == 1)} have only one and {np.count_nonzero(n == 2)} "
            f"only two. Drop short rows before the split, or pass a smaller {name}.",
            UserWarning,
        )
    return n_hidden


def _shared_out(total, n, rng):
    """Divide a total among rows in proportion to their ``n`` entries; each row keeps one entry.

    Proportions are rounded up or down at random, so that entries of short and of long rows are
    equally likely to be hidden. Their sum is the total if the rows have enough entries.
    """
    shares = (n - 1).clip(0)
    has_more = n > 1
    while has_more.any():
        rest, n_rest = total - shares[~has_more].sum(), n[has_more].sum()
        is_short = has_more & (n * (n_rest - rest) < n_rest)  # the proportion exceeds n - 1
        has_more &= ~is_short
        if not is_short.any():
            # Systematic sampling: the proportions lie end to end in random order, and each row
            # gets as many entries as there are integers in its interval, from a random offset.
            # Multiplied by n_rest, all are integers, so that rounding loses no entry.
            rows = rng.permutation(np.flatnonzero(has_more))
            ends = np.cumsum(n[rows]) * rest + rng.randint(n_rest, dtype=np.int64)
            shares[rows] = np.diff(ends // n_rest, prepend=0)
            break
    return shares
