"""What all baselines share: fit on a user-item matrix, and recommend by rows of it."""

from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from skfm._recommenders.best_items import find_best_scored
from skfm._recommenders.input_warnings import warn_of_misuse
from skfm._recommenders.matrix_rows import RANKED, MatrixRowsMixin
from skfm._recommenders.recommending import RecommendingMixin
from skfm._recommenders.vectors import with_empty_row
from skfm._solvers.item_item.scores import score_blocks, scores_of_pairs
from skfm._solvers.top_k import rows_at_a_time
from skfm._utils import validation
from skfm._utils.estimator import PrintableEstimator, VersionedEstimator, all_or_nothing
from skfm._utils.parameters import N_JOBS
from skfm._utils.threads import n_threads
from skfm._utils.typing import (
    ColumnLike,
    FloatArray,
    Int,
    ItemsLike,
    MatrixLike,
    SupportsSparse,
)
from skfm.metrics import ndcg_at_k


class BaselineRecommender(
    MatrixRowsMixin, RecommendingMixin, VersionedEstimator, PrintableEstimator
):
    """Base of recommenders whose scores are products of rows and a table, both sparse or not.

    An estimator has the parameter `n_jobs`, and three hooks:

    - ``_learn(X)`` sets what a fit has learned from X, canonical CSR of positive values.
    - ``_table`` is an array, or CSR, with a column for each item.
    - ``_weights(rows)`` returns the weights with which the rows of this table are added up for
      each row of a user, CSR; by default the user's entries.
    """

    _is_implicit = True
    _constraints: ClassVar[dict] = {"n_jobs": N_JOBS}

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.positive_only = True
        return tags

    @property
    def _dtype(self):
        return self._table.dtype

    def fit(self, X: MatrixLike, y: Any = None) -> Self:
        """Fit to a user-item matrix.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_users, n_items)
            Non-negative values: ones, counts, ratings or other weights of what users have chosen.
            float32 input is processed in float32, all other types in float64. Zeros are ignored,
            and duplicate entries of sparse input are summed.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter or X is invalid (NaN or infinity, negative values, no entries), or if
            values of X are too large.

        Warns
        -----
        UserWarning
            If X looks like a log of ids.
        """
        with all_or_nothing(self):
            self._check_parameters()
            csr = validation.validate_entries(self, X, True, reset=True)
            if csr.nnz == 0:
                raise ValueError(
                    "X has no stored entries to learn from; it must have at least one positive "
                    "value."
                )
            names = getattr(self, "feature_names_in_", None)
            warn_of_misuse(X, csr, names, is_explicit=False)
            with np.errstate(over="ignore", invalid="ignore"):
                self._learn(csr)
            table = self._table
            if not np.isfinite(table.data if sparse.issparse(table) else table).all():
                raise ValueError(
                    f"The values of X are too large for {csr.dtype}; scale them, for example with "
                    "sklearn.preprocessing.MaxAbsScaler."
                )
        return self

    def _weights(self, rows):
        return rows

    def _find_best(self, rows, n_items, candidates):
        with np.errstate(over="ignore", invalid="ignore"):
            score, shape = score_blocks(self._weights(rows), self._table), rows.shape
            items, scores = find_best_scored(
                score, shape, n_items, candidates, n_threads(self.n_jobs)
            )
        validation.check_predictions(scores[items >= 0])
        return items, scores

    def _scores_of_pairs(self, rows, row, item):
        used, row = np.unique(row, return_inverse=True)
        with np.errstate(over="ignore", invalid="ignore"):
            weights = self._weights(with_empty_row(rows)[used])
            block = rows_at_a_time(rows.shape[1])
            scores = scores_of_pairs(weights, self._table, row, item, block)
        return validation.check_predictions(scores)

    def recommend(
        self,
        X: MatrixLike,
        n_items: Int = 10,
        *,
        exclude_seen: bool = True,
        candidates: ItemsLike | None = None,
        exclude: ItemsLike | SupportsSparse | None = None,
        output: Literal["default", "pandas", "polars"] = "default",
        user_ids: ColumnLike | None = None,
        item_ids: ColumnLike | None = None,
    ) -> Any:
        """Recommend the items with the highest scores to each user.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_users, n_items)
            Rows of the users, as in `fit`. The users need not occur in the training data.
        n_items : int, default=10
            Number of items to recommend. If there are fewer items, all of them are ranked.
        exclude_seen : bool, default=True
            Whether to leave out the items for which a user has an entry in X.
        candidates : array-like or set of shape (n_candidates,), default=None
            Items to choose from: columns of X, a mask of the columns, or names. None means all
            items.
        exclude : array-like or set of items, or sparse matrix of shape (n_users, n_items), \
                default=None
            Items that are not recommended to any user, or a matrix whose stored entries, including
            zeros, mark the items that are not recommended to each user.
        output : {"default", "pandas", "polars"}, default="default"
            "default" returns two arrays with one row per user. "pandas" and "polars" return a
            DataFrame with one row per recommendation.
        user_ids : array-like of shape (n_users,), default=None
            Names of the users, for the DataFrame. None uses the index of X if X is a pandas
            DataFrame, and otherwise the row numbers.
        item_ids : array-like of shape (n_features,), default=None
            Names of the columns of X, such as `item_ids_` of a
            :class:`~skfm.preprocessing.UserItemEncoder`. `candidates`, `exclude` and the result
            then contain these names. None uses the column names of X in `fit`, if any.

        Returns
        -------
        items : ndarray of shape (n_users, n_items)
            Columns of X, or names if there are any, in the order of decreasing scores. If there
            are too few items for a user, the last entries are -1, or None if there are names.
        scores : ndarray of shape (n_users, n_items)
            Scores of these items; -inf where there is no item. Items with equal scores are in the
            order of the columns.
        frame : DataFrame of shape (n_recommendations, 4)
            Returned instead of the two arrays if `output` is "pandas" or "polars". The columns are
            "user", "item", "score" and "rank", which is 1 for the best item. Users are in the
            order of X, and have fewer rows if there are too few items for them.

        Raises
        ------
        ValueError
            If there are no items to choose from, or if an item is unknown.
        ImportError
            If the package in `output` is not installed.
        """
        return self._recommend(
            X, n_items, exclude_seen, candidates, exclude, output, user_ids, item_ids
        )

    def predict_pairs(self, X: MatrixLike, rows: ArrayLike, items: ColumnLike) -> FloatArray:
        """Compute the scores of pairs of a user and an item.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_users, n_items)
            Rows of the users, as in `fit`.
        rows : array-like of int of shape (n_pairs,)
            Users, as rows of X; -1 for an unknown user, who has chosen nothing.
        items : array-like of shape (n_pairs,)
            Items, as columns of X or names; -1 or None for an unknown item, whose score is 0.

        Returns
        -------
        scores : ndarray of shape (n_pairs,)
            The scores by which `recommend` ranks.
        """
        return self._predict_pairs(X, rows, items)

    def score(self, X: MatrixLike, y: Any = None) -> float:
        """Score the ranking of held-out entries.

        As in :meth:`MFRecommender.score <skfm.MFRecommender.score>` with implicit feedback, one
        fifth of the entries of each row are held out, and the items are ranked by the others.
        Which entries are held out depends only on the row.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_users, n_items)
            Rows of users. For an unbiased score, pass users who were not in `fit`.
        y : None
            Ignored.

        Returns
        -------
        score : float
            NDCG of the ten recommended items.

        Raises
        ------
        ValueError
            If no row has at least two entries.
        """
        visible, hidden = self._hold_out(X)
        return float(ndcg_at_k(hidden, self._rank(visible, RANKED, hidden), RANKED))
