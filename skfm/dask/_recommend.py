"""Recommendations for the rows of Dask arrays, computed when and where they are needed."""

import copy
import math
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skfm import MFRecommender
from skfm._utils.ids import read_ids
from skfm._utils.lazy import is_lazy
from skfm._utils.typing import ColumnLike, Int, ItemsLike
from skfm.dask._cluster import import_dask
from skfm.dask._partitions import is_array, read_source


def recommend(
    estimator: MFRecommender,
    X: Any,
    n_items: Int = 10,
    *,
    exclude_seen: bool = True,
    candidates: ItemsLike | None = None,
    exclude: ItemsLike | None = None,
    user_ids: ColumnLike | None = None,
    item_ids: ColumnLike | None = None,
) -> Any:
    """Recommend items to the users in the partitions of a Dask array, lazily.

    Nothing is computed before the result is: write it with ``to_parquet``, which never needs all
    of it in memory.

    Parameters
    ----------
    estimator : MFRecommender
        The fitted estimator.
    X : dask.array.Array of shape (n_users, n_items)
        Ratings or confidences of the users, in blocks of rows, as in :func:`fit`.
    n_items : int, default=10
        Number of items to recommend.
    exclude_seen : bool, default=True
        Whether to leave out the items for which a user has an entry in X.
    candidates : array-like or set of shape (n_candidates,), default=None
        Items to choose from, as in `recommend` of the estimator. None means all items.
    exclude : array-like or set of items, default=None
        Items that are not recommended to any user.
    user_ids : array-like of shape (n_users,), default=None
        Names of the users, such as `user_ids_` of a
        :class:`~skfm.preprocessing.UserItemEncoder`. None uses the row numbers.
    item_ids : array-like of shape (n_features,), default=None
        Names of the items, such as `item_ids_` of the encoder. None uses the column numbers.

    Returns
    -------
    frame : dask.dataframe.DataFrame of shape (n_recommendations, 4)
        The columns are "user", "item", "score" and "rank". Its partitions are those of X, with
        the same values as those of `recommend` with ``output="pandas"``.

    Raises
    ------
    ImportError
        If Dask or pandas is not installed.
    NotFittedError
        If the estimator is not fitted.
    TypeError
        If the estimator or X has another type.
    ValueError
        If X has other columns than in `fit`, if `user_ids` has another length, or if the lengths
        of the partitions are unknown: call ``X.compute_chunk_sizes()`` first.

    Examples
    --------
    >>> import dask.array as da
    >>> from skfm import MFRecommender
    >>> from skfm.dask import recommend
    >>> X = da.random.default_rng(0).poisson(0.1, size=(1000, 50), chunks=(250, 50))
    >>> model = MFRecommender(8, feedback="implicit", random_state=0).fit(X.compute())
    >>> frame = recommend(model, X, n_items=3)
    >>> frame.npartitions, list(frame.columns)
    (4, ['user', 'item', 'score', 'rank'])
    >>> len(frame.partitions[0].compute())
    750
    """
    import_dask()
    import dask.dataframe as dd
    from dask.delayed import delayed

    if not isinstance(estimator, MFRecommender):
        raise TypeError(
            f"skfm.dask.recommend supports MFRecommender; got {type(estimator).__name__}."
        )
    check_is_fitted(estimator)
    if not is_array(X):
        raise TypeError(f"X must be a Dask array of users by items; got {type(X).__name__}.")
    source = read_source(X)
    if source.n_features != estimator.n_features_in_:
        raise ValueError(
            f"X has {source.n_features} columns, but {type(estimator).__name__} was fitted on "
            f"{estimator.n_features_in_}."
        )
    if is_lazy(exclude) or getattr(exclude, "ndim", 1) != 1:
        raise TypeError("exclude must be an array or a set of items, the same for all users.")
    starts = _starts(X)
    users = None if user_ids is None else _names(user_ids, int(starts[-1]))
    options = {
        "n_items": n_items,
        "exclude_seen": exclude_seen,
        "candidates": candidates,
        "exclude": exclude,
        "item_ids": None if item_ids is None else read_ids(item_ids, "item"),
    }
    # A row without entries shows what is wrong with them now, and which types the columns have.
    sample = np.zeros((1, source.n_features), estimator.components_.dtype)
    first = np.arange(1) if users is None else users[:1]
    empty = _recommend_rows(estimator, sample, first, options).iloc[:0]
    fitted = delayed(copy.copy(estimator).set_params(n_jobs=1))  # Dask has threads of its own
    options, make = delayed(options), delayed(_recommend_part)
    parts = []
    for task, start, stop in zip(source.tasks, starts[:-1], starts[1:], strict=True):
        names = np.arange(start, stop) if users is None else users[start:stop]
        parts.append(make(fitted, task, names, options, empty))
    return dd.from_delayed(parts, meta=empty, verify_meta=False)


def _starts(X):
    sizes = X.chunks[0]
    if any(math.isnan(size) for size in sizes):
        raise ValueError(
            "The numbers of rows of the partitions of X are unknown: call "
            "X.compute_chunk_sizes() first."
        )
    return np.append(0, np.cumsum(sizes)).astype(int)


def _names(user_ids, n_users):
    names = read_ids(user_ids, "user")
    if names.size != n_users:
        raise ValueError(
            f"user_ids must contain one id for each of the {n_users} rows of X; got {names.size}."
        )
    return names


def _recommend_part(estimator, part, users, options, empty):
    # scikit-learn refuses matrices without rows.
    return _recommend_rows(estimator, part.X, users, options) if part.X.shape[0] else empty


def _recommend_rows(estimator, X, users, options):
    return estimator.recommend(X, user_ids=users, output="pandas", **options)
