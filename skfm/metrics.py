"""Ranking metrics, and scorers for scikit-learn's model selection.

All metrics compare the items that a recommender ranks first with held-out entries. Greater is
better, and the maximum is 1.
"""

import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.utils import check_array
from sklearn.utils.metadata_routing import MetadataRequest

from skfm._utils import validation
from skfm._utils.messages import shown
from skfm._utils.pipelines import last_step
from skfm._utils.sorted_search import find_sorted
from skfm._utils.sparse import check_sparse, sum_duplicates
from skfm._utils.typing import Estimator, FloatArray, Int, MatrixLike

__all__ = [
    "average_precision_at_k",
    "hit_rate",
    "make_ranking_scorer",
    "mrr",
    "ndcg_at_k",
    "precision_at_k",
    "recall_at_k",
]


class _Metric(Protocol):
    """A metric returns a number, or with ``average=False`` an array."""

    @overload
    def __call__(
        self,
        Y_hidden: MatrixLike,
        items: ArrayLike,
        k: Int = ...,
        *,
        average: Literal[True] = ...,
    ) -> float: ...
    @overload
    def __call__(
        self, Y_hidden: MatrixLike, items: ArrayLike, k: Int = ..., *, average: Literal[False]
    ) -> FloatArray: ...
    @overload
    def __call__(
        self, Y_hidden: MatrixLike, items: ArrayLike, k: Int = ..., *, average: bool
    ) -> float | FloatArray: ...


def _typed_by_average(metric: Any) -> _Metric:
    """Return the same function, with a type that depends on ``average``."""
    return metric


@_typed_by_average
def ndcg_at_k(
    Y_hidden: MatrixLike, items: ArrayLike, k: Int = 10, *, average: bool = True
) -> float | FloatArray:
    """Normalized discounted cumulative gain (NDCG) of the first `k` places.

    A relevant item contributes its value in `Y_hidden`, divided by ``log2(rank + 1)``. The sum
    over the first `k` places is divided by that of the best possible ranking of the row, also cut
    at `k`.

    Parameters
    ----------
    Y_hidden : {array-like, sparse matrix, sparse array} of shape (n_rows, n_items)
        Held-out entries. The relevant items are those with positive values, which are their gains.
        Zeros and negative values, stored or not, are not relevant. Duplicate entries are summed.
    items : array-like of int, shape (n_rows, n_ranked)
        Column indices of the ranked items, best first. -1 marks a place without an item. Only the
        first `k` columns are used; missing places count as misses.
    k : int, default=10
        Number of places to evaluate.
    average : bool, default=True
        Whether to return the mean over the rows or the value of each row.

    Returns
    -------
    ndcg : float or ndarray of shape (n_evaluated,)
        Mean over the rows, or one value per row, in the order of the rows. Rows without a
        relevant item are left out.

    Raises
    ------
    ValueError
        If no row has a relevant item, if the shapes of `items` and `Y_hidden` do not match, or if
        an item occurs twice in the first `k` places of a row.

    Examples
    --------
    >>> from skfm.metrics import ndcg_at_k
    >>> ndcg_at_k([[0, 3, 1], [1, 0, 0]], [[1, 0, 2], [0, 1, 2]], k=2, average=False).round(3)
    array([0.826, 1.   ])
    """
    judged = _judge(Y_hidden, items, k, average)
    n_rows, n_ranked = judged.hits.shape
    rows = np.repeat(np.arange(n_rows), judged.n_relevant)
    starts = np.cumsum(judged.n_relevant) - judged.n_relevant
    # NDCG does not depend on the scale of the gains. Divided by the largest, sums cannot overflow.
    gains = judged.gains / np.maximum.reduceat(judged.gains, starts)[rows]
    ranks = np.arange(rows.size) - starts[rows]
    in_ideal = ranks < k
    # Both rankings are summed in the same shape, so that a perfect one gets exactly 1.
    actual = np.zeros((n_rows, max(n_ranked, min(k, judged.n_relevant.max()))))
    ideal = np.zeros_like(actual)
    actual[:, :n_ranked][judged.hits] = gains[judged.found[judged.hits]]
    ideal[rows[in_ideal], ranks[in_ideal]] = gains[np.lexsort((-gains, rows))][in_ideal]
    discount = 1 / np.log2(np.arange(2, actual.shape[1] + 2))
    ratio = (actual * discount).sum(axis=1) / (ideal * discount).sum(axis=1)
    # Gains that are nearly equal, in the wrong order, may round to more than 1.
    return _summary(np.minimum(ratio, 1), average)


@_typed_by_average
def recall_at_k(
    Y_hidden: MatrixLike, items: ArrayLike, k: Int = 10, *, average: bool = True
) -> float | FloatArray:
    """Fraction of the relevant items of a row that are in the first `k` places.

    The divisor is the number of relevant items even if it exceeds `k`. A row with more than `k`
    relevant items cannot reach 1.

    Parameters
    ----------
    Y_hidden : {array-like, sparse matrix, sparse array} of shape (n_rows, n_items)
        Held-out entries. The relevant items are those with positive values. Zeros and negative
        values, stored or not, are not relevant. Duplicate entries are summed.
    items : array-like of int, shape (n_rows, n_ranked)
        Column indices of the ranked items, best first. -1 marks a place without an item. Only the
        first `k` columns are used; missing places count as misses.
    k : int, default=10
        Number of places to evaluate.
    average : bool, default=True
        Whether to return the mean over the rows or the value of each row.

    Returns
    -------
    recall : float or ndarray of shape (n_evaluated,)
        Mean over the rows, or one value per row, in the order of the rows. Rows without a
        relevant item are left out.

    Raises
    ------
    ValueError
        If no row has a relevant item, if the shapes of `items` and `Y_hidden` do not match, or if
        an item occurs twice in the first `k` places of a row.

    Examples
    --------
    >>> from skfm.metrics import recall_at_k
    >>> recall_at_k([[0, 3, 1], [1, 0, 0]], [[1, 0, 2], [0, 1, 2]], k=2, average=False)
    array([0.5, 1. ])
    """
    judged = _judge(Y_hidden, items, k, average)
    return _summary(judged.hits.sum(axis=1) / judged.n_relevant, average)


@_typed_by_average
def precision_at_k(
    Y_hidden: MatrixLike, items: ArrayLike, k: Int = 10, *, average: bool = True
) -> float | FloatArray:
    """Fraction of the first `k` places that hold relevant items.

    The divisor is `k`, even if a row has fewer relevant or fewer ranked items.

    Parameters
    ----------
    Y_hidden : {array-like, sparse matrix, sparse array} of shape (n_rows, n_items)
        Held-out entries. The relevant items are those with positive values. Zeros and negative
        values, stored or not, are not relevant. Duplicate entries are summed.
    items : array-like of int, shape (n_rows, n_ranked)
        Column indices of the ranked items, best first. -1 marks a place without an item. Only the
        first `k` columns are used; missing places count as misses.
    k : int, default=10
        Number of places to evaluate.
    average : bool, default=True
        Whether to return the mean over the rows or the value of each row.

    Returns
    -------
    precision : float or ndarray of shape (n_evaluated,)
        Mean over the rows, or one value per row, in the order of the rows. Rows without a
        relevant item are left out.

    Raises
    ------
    ValueError
        If no row has a relevant item, if the shapes of `items` and `Y_hidden` do not match, or if
        an item occurs twice in the first `k` places of a row.

    Examples
    --------
    >>> from skfm.metrics import precision_at_k
    >>> precision_at_k([[0, 3, 1], [1, 0, 0]], [[1, 2, 0], [0, 1, 2]], k=2, average=False)
    array([1. , 0.5])
    """
    judged = _judge(Y_hidden, items, k, average)
    return _summary(judged.hits.sum(axis=1) / k, average)


@_typed_by_average
def average_precision_at_k(
    Y_hidden: MatrixLike, items: ArrayLike, k: Int = 10, *, average: bool = True
) -> float | FloatArray:
    """Average precision of the first `k` places; its mean over rows is known as MAP.

    The precision is computed at each place that holds a relevant item. The sum is divided by the
    number of relevant items of the row, even if it exceeds `k`; such a row cannot reach 1. (Some
    packages divide by `k` instead; ranx divides as here.)

    Parameters
    ----------
    Y_hidden : {array-like, sparse matrix, sparse array} of shape (n_rows, n_items)
        Held-out entries. The relevant items are those with positive values. Zeros and negative
        values, stored or not, are not relevant. Duplicate entries are summed.
    items : array-like of int, shape (n_rows, n_ranked)
        Column indices of the ranked items, best first. -1 marks a place without an item. Only the
        first `k` columns are used; missing places count as misses.
    k : int, default=10
        Number of places to evaluate.
    average : bool, default=True
        Whether to return the mean over the rows or the value of each row.

    Returns
    -------
    average_precision : float or ndarray of shape (n_evaluated,)
        Mean over the rows, or one value per row, in the order of the rows. Rows without a
        relevant item are left out.

    Raises
    ------
    ValueError
        If no row has a relevant item, if the shapes of `items` and `Y_hidden` do not match, or if
        an item occurs twice in the first `k` places of a row.

    Examples
    --------
    >>> from skfm.metrics import average_precision_at_k
    >>> average_precision_at_k([[0, 3, 1], [1, 0, 0]], [[1, 0, 2], [1, 0, 2]], average=False)
    array([0.83333333, 0.5       ])
    """
    judged = _judge(Y_hidden, items, k, average)
    precisions = judged.hits.cumsum(axis=1) / np.arange(1, judged.hits.shape[1] + 1)
    return _summary((precisions * judged.hits).sum(axis=1) / judged.n_relevant, average)


@_typed_by_average
def mrr(
    Y_hidden: MatrixLike, items: ArrayLike, k: Int = 10, *, average: bool = True
) -> float | FloatArray:
    """Mean reciprocal rank (MRR) of the first relevant item.

    A row without a relevant item in the first `k` places gets 0.

    Parameters
    ----------
    Y_hidden : {array-like, sparse matrix, sparse array} of shape (n_rows, n_items)
        Held-out entries. The relevant items are those with positive values. Zeros and negative
        values, stored or not, are not relevant. Duplicate entries are summed.
    items : array-like of int, shape (n_rows, n_ranked)
        Column indices of the ranked items, best first. -1 marks a place without an item. Only the
        first `k` columns are used; missing places count as misses.
    k : int, default=10
        Number of places to evaluate.
    average : bool, default=True
        Whether to return the mean over the rows or the value of each row.

    Returns
    -------
    reciprocal_rank : float or ndarray of shape (n_evaluated,)
        Mean over the rows, or one value per row, in the order of the rows. Rows without a
        relevant item are left out.

    Raises
    ------
    ValueError
        If no row has a relevant item, if the shapes of `items` and `Y_hidden` do not match, or if
        an item occurs twice in the first `k` places of a row.

    Examples
    --------
    >>> from skfm.metrics import mrr
    >>> mrr([[0, 3, 1], [1, 0, 0]], [[1, 0, 2], [1, 0, 2]])
    0.75
    """
    judged = _judge(Y_hidden, items, k, average)
    reciprocal = judged.hits / np.arange(1, judged.hits.shape[1] + 1)
    return _summary(reciprocal.max(axis=1, initial=0), average)


@_typed_by_average
def hit_rate(
    Y_hidden: MatrixLike, items: ArrayLike, k: Int = 10, *, average: bool = True
) -> float | FloatArray:
    """Fraction of the rows that have a relevant item in the first `k` places.

    Parameters
    ----------
    Y_hidden : {array-like, sparse matrix, sparse array} of shape (n_rows, n_items)
        Held-out entries. The relevant items are those with positive values. Zeros and negative
        values, stored or not, are not relevant. Duplicate entries are summed.
    items : array-like of int, shape (n_rows, n_ranked)
        Column indices of the ranked items, best first. -1 marks a place without an item. Only the
        first `k` columns are used; missing places count as misses.
    k : int, default=10
        Number of places to evaluate.
    average : bool, default=True
        Whether to return the mean over the rows or the value of each row, 0 or 1.

    Returns
    -------
    rate : float or ndarray of shape (n_evaluated,)
        Mean over the rows, or one value per row, in the order of the rows. Rows without a
        relevant item are left out.

    Raises
    ------
    ValueError
        If no row has a relevant item, if the shapes of `items` and `Y_hidden` do not match, or if
        an item occurs twice in the first `k` places of a row.

    Examples
    --------
    >>> from skfm.metrics import hit_rate
    >>> hit_rate([[0, 3, 1], [1, 0, 0]], [[1, 0, 2], [1, 0, 2]], k=1)
    0.5
    """
    judged = _judge(Y_hidden, items, k, average)
    return _summary(judged.hits.any(axis=1).astype(np.float64), average)


METRICS = {
    "ndcg": ndcg_at_k,
    "recall": recall_at_k,
    "precision": precision_at_k,
    "average_precision": average_precision_at_k,
    "mrr": mrr,
    "hit_rate": hit_rate,
}


_MetricName: TypeAlias = Literal[
    "ndcg", "recall", "precision", "average_precision", "mrr", "hit_rate"
]


def make_ranking_scorer(
    metric: _MetricName | Callable[[Any, Any, int], float],
    k: Int = 10,
    **recommend_options: Any,
) -> "_RankingScorer":
    """Make a scorer that compares recommendations with held-out entries.

    The scorer can be used as ``scoring`` of :class:`~sklearn.model_selection.GridSearchCV` and
    :func:`~sklearn.model_selection.cross_val_score`. Pass the visible entries as ``X`` and the
    hidden entries as ``y``: see :func:`skfm.model_selection.split_entries`.

    Parameters
    ----------
    metric : {"ndcg", "recall", "precision", "average_precision", "mrr", "hit_rate"} or callable
        One of the metrics of this module, or a function with the signature
        ``metric(Y_hidden, items, k)`` for which greater is better.
    k : int, default=10
        Number of places to evaluate.
    **recommend_options : dict
        Arguments of ``recommend``, such as ``exclude_seen=False``, for all rows and all folds.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, Y_hidden, groups=None)`` calls ``estimator.recommend(X, ...)`` and
        returns the metric, a float. It can be pickled. For :class:`~skfm.FMRecommender`,
        `Y_hidden` is an array with the chosen item of each row of X, and `groups` may contain the
        user of each row; see Notes.

        The estimator may be a :class:`~sklearn.pipeline.Pipeline` whose last step is a
        recommender. The other steps transform X and must keep its columns. It may also be a fitted
        search, such as :class:`~sklearn.model_selection.GridSearchCV`, whose best estimator is
        then evaluated. If an estimator was fitted on a DataFrame and recommends items by name, the
        names are converted to positions.

    Raises
    ------
    ValueError, TypeError
        If a parameter is invalid. The scorer itself raises them if X, `Y_hidden` and the estimator
        do not match.

    Notes
    -----
    By default, the visible items of a user are excluded from the ranking, except for those that
    are also hidden: the user chose these again, so they count as hits. (This applies to the
    recommenders of this package; for others, ``recommend`` decides.) If users often choose the
    same items again, pass ``exclude_seen=False``, so that all visible items are ranked.

    In a user-item matrix, each row is a user, and `groups` is ignored. For
    :class:`~skfm.FMRecommender`, the events of the same user in the same context are evaluated as
    one ranking: see :meth:`FMRecommender.rank_held_out <skfm.FMRecommender.rank_held_out>`. If
    scikit-learn's metadata routing is enabled, the scorer requests `groups`, so that
    ``cross_val_score(..., params={"groups": users})`` passes them to the scorer. Call
    ``scorer.set_score_request(groups=False)`` to prevent this.

    :class:`~sklearn.model_selection.GridSearchCV` accepts a sparse ``y``, but
    :func:`~sklearn.model_selection.cross_val_score` does not. Either call it within
    ``sklearn.config_context(skip_parameter_validation=True)``, pass ``Y_hidden.toarray()`` if it
    fits into memory, or use a grid with a single candidate, ``GridSearchCV(model, {}, ...)``.

    Examples
    --------
    A recommender that ranks items by popularity is evaluated on other rows than those of fit:

    >>> import numpy as np
    >>> from sklearn.base import BaseEstimator
    >>> from sklearn.model_selection import cross_val_score
    >>> from skfm.metrics import make_ranking_scorer
    >>> class Popular(BaseEstimator):
    ...     def fit(self, X, y=None):
    ...         self.counts_ = np.asarray((X != 0).sum(axis=0)).ravel()
    ...         return self
    ...     def recommend(self, X, n_items=10):
    ...         best = np.argsort(-self.counts_, kind="stable")[:n_items]
    ...         items = np.tile(best, (X.shape[0], 1))
    ...         return items, self.counts_[items]
    >>> X_visible = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0]])
    >>> Y_hidden = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0], [1, 0, 0]])
    >>> scorer = make_ranking_scorer("recall", k=2)
    >>> scorer
    make_ranking_scorer(recall_at_k, k=2)
    >>> cross_val_score(Popular(), X_visible, Y_hidden, scoring=scorer, cv=2)
    array([0.5, 1. ])
    """
    if not callable(metric):
        validation.check_option(metric, "metric", METRICS)
        metric = METRICS[metric]
    validation.check_number(k, "k", numbers.Integral, low=1)
    if "n_items" in recommend_options:
        raise TypeError(
            "n_items cannot be passed to a scorer, because k sets the number of items."
        )
    return _RankingScorer(metric, k, recommend_options)


class _RankingScorer:
    """The scorers of `make_ranking_scorer`: a class, because closures cannot be pickled."""

    # True by default: users that are passed with the events are meant for the scorer.
    groups_request: bool | str | None = True

    def __init__(self, metric, k, options):
        self.metric = metric
        self.k = k
        self.options = options

    def __repr__(self):
        metric = getattr(self.metric, "__name__", repr(self.metric))
        options = "".join(f", {name}={value!r}" for name, value in self.options.items())
        return f"make_ranking_scorer({metric}, k={self.k}{options})"

    def set_score_request(self, *, groups: bool | str | None) -> "_RankingScorer":
        """Set whether metadata routing passes `groups` to the scorer.

        Parameters
        ----------
        groups : bool, None or str
            With True, the default of new scorers, they are passed on if given; with False, they
            are not. With None, an error is raised if they are given. A string is the name under
            which they are given.

        Returns
        -------
        self : object
            The scorer.
        """
        self.groups_request = groups
        return self

    def get_metadata_routing(self) -> MetadataRequest:
        """Get the metadata that the scorer requests.

        Returns
        -------
        request : MetadataRequest
            Request in the format of scikit-learn's metadata routing.
        """
        request = MetadataRequest(owner=self)
        request.score.add_request(param="groups", alias=self.groups_request)
        return request

    def __call__(
        self,
        estimator: Estimator,
        X: Any,
        Y_hidden: MatrixLike,
        groups: ArrayLike | None = None,
    ) -> float:
        if Y_hidden is None:
            raise ValueError("Y_hidden is None; pass the hidden entries as y.")
        recommender, X = last_step(estimator, X)
        if hasattr(recommender, "rank_held_out"):
            relevant, items = recommender.rank_held_out(
                X, Y_hidden, self.k, groups=groups, **self.options
            )
        else:
            relevant, items = Y_hidden, self._rank_held_out(recommender, X, Y_hidden)
        return float(self.metric(relevant, items, self.k))

    def _rank_held_out(self, recommender, X, Y_hidden):
        """Positions of the items recommended to the rows of a matrix."""
        _require_matrix(Y_hidden)
        if np.shape(X) != np.shape(Y_hidden):
            raise ValueError(
                "Y_hidden must have a row for each row of X and a column for each item: its "
                f"shape is {np.shape(Y_hidden)}, but the X passed to recommend has the shape "
                f"{np.shape(X)}."
            )
        names = getattr(recommender, "feature_names_in_", None)
        columns = getattr(Y_hidden, "columns", None)
        if names is not None and columns is not None and not np.array_equal(names, columns):
            raise ValueError("Y_hidden must have the same columns as X in fit, in the same order.")
        if hasattr(recommender, "_rank_held_out"):
            relevant = _as_canonical(Y_hidden) > 0
            return recommender._rank_held_out(X, relevant, self.k, **self.options)
        n_items = min(self.k, _n_candidates(X, self.options.get("candidates")))
        items, _ = recommender.recommend(X, n_items=n_items, **self.options)
        return _as_positions(items, names)


def _n_candidates(X, candidates):
    if candidates is None:
        return np.shape(X)[1]
    candidates = np.asarray(candidates)
    if candidates.dtype == bool:
        return np.count_nonzero(candidates)
    return np.unique(candidates).size


def _as_positions(items, names):
    """Positions of items that are given as positions, or as names with None as padding."""
    items = np.asarray(items)
    if items.dtype.kind in "iu":
        return items
    if names is None:
        raise ValueError(
            f"recommend returned items of type {items.dtype}, but the estimator has no "
            "feature_names_in_ in which to look up their columns."
        )
    names = np.asarray(names, dtype=object)
    order = np.argsort(names)
    names = names[order]
    if (names[1:] == names[:-1]).any():
        raise ValueError(
            "feature_names_in_ contains duplicate names, so items cannot be identified by name."
        )
    items = items.astype(object)
    there = items != np.full_like(items, None)
    places = find_sorted(names, items[there])
    unknown = places < 0
    if unknown.any():
        raise ValueError(
            f"recommend returned {shown(items[there][unknown][0])}, which is not in "
            "feature_names_in_."
        )
    positions = np.full(items.shape, -1)
    positions[there] = order[places]
    return positions


@dataclass
class _Judged:
    """Rows with a relevant item: their relevant items, and where the ranking has these."""

    n_relevant: np.ndarray  # (n_judged,), number of relevant items of each row
    gains: np.ndarray  # (n_relevant.sum(),), row after row
    hits: np.ndarray  # (n_judged, places), whether the item is relevant
    found: np.ndarray  # (n_judged, places), position of a hit in gains; undefined elsewhere


def _judge(Y_hidden, items, k, average):
    """Check the arguments of a metric, and look up the ranked items among the relevant ones."""
    validation.check_number(k, "k", numbers.Integral, low=1)
    validation.check_flag(average, "average")
    Y = _as_canonical(Y_hidden)
    items = _check_items(items, k, Y.shape)
    relevant = Y.data > 0
    rows = np.repeat(np.arange(Y.shape[0], dtype=np.int64), np.diff(Y.indptr))[relevant]
    n_relevant = np.bincount(rows, minlength=Y.shape[0])
    judged = np.flatnonzero(n_relevant)
    if not judged.size:
        raise ValueError("Y_hidden has no positive value, so no row has a relevant item.")
    # One number for each entry. Those of the relevant entries are sorted already.
    keys = rows * Y.shape[1] + Y.indices[relevant]
    items = items[judged]
    ranked = judged[:, np.newaxis] * Y.shape[1] + items
    found = find_sorted(keys, ranked)
    return _Judged(
        n_relevant=n_relevant[judged],
        gains=Y.data[relevant],
        hits=(found >= 0) & (items >= 0),
        found=found,
    )


def _require_matrix(Y_hidden):
    if np.ndim(Y_hidden) != 2:
        raise ValueError(
            "Y_hidden must be a matrix with a row for each user and a column for each item; it "
            f"has {np.ndim(Y_hidden)} dimension(s)."
        )


def _as_canonical(Y_hidden):
    """Canonical CSR in float64. The input does not change."""
    _require_matrix(Y_hidden)
    Y = check_array(
        check_sparse(Y_hidden, "Y_hidden"),
        accept_sparse="csr",
        input_name="Y_hidden",
        ensure_min_samples=0,
        ensure_min_features=0,
    )
    return sum_duplicates(sparse.csr_matrix(Y, dtype=np.float64))


def _check_items(items, k, shape):
    """The first `k` places of each row as int64."""
    if sparse.issparse(items):
        raise TypeError("items must be a dense array of column positions, not a sparse matrix.")
    items = np.asarray(items)
    if items.ndim != 2 or items.shape[0] != shape[0]:
        raise ValueError(
            f"items must have one row for each of the {shape[0]} rows of Y_hidden, and the ranked "
            f"items as columns; its shape is {items.shape}."
        )
    items = items[:, :k]
    if items.size and items.dtype.kind not in "iu":
        raise ValueError(
            f"items must contain integers, the positions of columns; got {items.dtype}."
        )
    if items.size and not -1 <= items.min() <= items.max() < shape[1]:
        raise ValueError(
            f"items must be in the range from -1 to {shape[1] - 1}, as Y_hidden has {shape[1]} "
            f"columns; got values from {items.min()} to {items.max()}."
        )
    items = items.astype(np.int64)
    ordered = np.sort(items, axis=1)
    twice = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
    if twice.any():
        row = np.flatnonzero(twice.any(axis=1))[0]
        raise ValueError(
            f"items must not repeat within the first k={k} places of a row: row {row} has item "
            f"{ordered[row, 1:][twice[row]][0]} more than once."
        )
    return items


def _summary(values, average):
    return float(values.mean()) if average else values
