"""Recommendations of the most popular items."""

from typing import ClassVar, Literal

import numpy as np
from scipy import sparse

from skfm._utils.parameters import N_JOBS, Options
from skfm._utils.public import public
from skfm._utils.typing import Int
from skfm.baselines._base import BaselineRecommender


@public("skfm.baselines")
class PopularityRecommender(BaselineRecommender):
    """Recommend the most popular items, the same to all users but for what they have seen.

    Any other recommender should do better. Read more in the :doc:`user guide </baselines>`.

    Parameters
    ----------
    statistic : {"count", "sum"}, default="count"
        Popularity of an item: "count" is the number of users with an entry, and "sum" the sum of
        their values. With values that decay with time, "sum" favors items that are popular now;
        see the example.
    n_jobs : int, default=None
        Number of threads of `recommend`. None means 1 unless in a `joblib.parallel_config`
        context, and -1 means all processors. Results do not depend on it.

    Attributes
    ----------
    popularity_ : ndarray of shape (n_features,)
        Popularity of each item, which is its score for all users.
    n_features_in_ : int
        Number of items seen during `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the items seen during `fit`. Defined only if all names are strings.

    See Also
    --------
    ItemKNNRecommender : Neighborhoods of items.
    skfm.MFRecommender : Matrix factorization.

    Examples
    --------
    >>> import numpy as np
    >>> from skfm.baselines import PopularityRecommender
    >>> X = np.array([[1, 1, 0], [0, 1, 0], [0, 1, 1], [1, 0, 0]])
    >>> model = PopularityRecommender().fit(X)
    >>> model.popularity_
    array([2., 3., 1.])
    >>> items, _ = model.recommend(X, n_items=1)
    >>> items[:, 0]
    array([2, 0, 0, 1])

    Events that lose half of their weight in 30 days:

    >>> from skfm.preprocessing import UserItemEncoder
    >>> log = [("ann", "tea", 0), ("bob", "tea", 10), ("bob", "mate", 95), ("eve", "mate", 99)]
    >>> encoder = UserItemEncoder(time=2)
    >>> X = encoder.fit_transform(log)
    >>> X.data = 0.5 ** ((100 - encoder.transform_time(log).data) / 30)
    >>> PopularityRecommender(statistic="sum").fit(X).recommend(X[:1], 2, exclude_seen=False,
    ...     item_ids=encoder.item_ids_)[0]
    array([['mate', 'tea']], dtype=object)
    """

    _constraints: ClassVar[dict] = {"statistic": [Options("count", "sum")], "n_jobs": N_JOBS}

    def __init__(
        self, statistic: Literal["count", "sum"] = "count", *, n_jobs: Int | None = None
    ) -> None:
        self.statistic = statistic
        self.n_jobs = n_jobs

    def _learn(self, X):
        weights = X.data if self.statistic == "sum" else None
        popularity = np.bincount(X.indices, weights, minlength=X.shape[1])
        self.popularity_ = popularity.astype(X.dtype)

    @property
    def _table(self):
        return self.popularity_[np.newaxis]

    def _weights(self, rows):
        n_rows = rows.shape[0]
        ones, zeros = np.ones(n_rows, self._dtype), np.zeros(n_rows, np.int32)
        return sparse.csr_matrix((ones, zeros, np.arange(n_rows + 1)), shape=(n_rows, 1))
