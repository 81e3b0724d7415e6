"""Nearest neighbors: of items, and of users."""

import numbers
from typing import ClassVar, Literal

from skfm._solvers.item_item.neighbors import find_neighbors, similarity_of
from skfm._solvers.item_item.weighting import KINDS, Weighting
from skfm._utils.parameters import (
    N_JOBS,
    NON_NEGATIVE,
    POSITIVE_INTEGER,
    Interval,
    Options,
)
from skfm._utils.public import public
from skfm._utils.threads import n_threads
from skfm._utils.typing import Float, Int
from skfm.baselines._base import BaselineRecommender
from skfm.baselines._item_item import ItemItemRecommender


class _Neighbors:
    """The parameters of both kinds of neighborhoods."""

    _constraints: ClassVar[dict] = {
        "n_neighbors": [POSITIVE_INTEGER],
        "metric": [Options(*KINDS)],
        "shrinkage": [NON_NEGATIVE],
        "k1": [NON_NEGATIVE],
        "b": [Interval(numbers.Real, 0, 1)],
        "n_jobs": N_JOBS,
    }

    def __init__(
        self,
        n_neighbors: Int = 100,
        *,
        metric: Literal["cosine", "tfidf", "bm25", "jaccard", "overlap"] = "tfidf",
        shrinkage: Float = 0.0,
        k1: Float = 1.2,
        b: Float = 0.75,
        n_jobs: Int | None = None,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.metric = metric
        self.shrinkage = shrinkage
        self.k1 = k1
        self.b = b
        self.n_jobs = n_jobs


@public("skfm.baselines")
class ItemKNNRecommender(_Neighbors, ItemItemRecommender):
    """Nearest neighbors of items: recommend what is similar to what a user has chosen.

    The score of item j for a user with the row x is ``sum_i x_i s_ij``. Here, ``s_ij`` is the
    similarity of items i and j if i is one of the `n_neighbors` nearest neighbors of j, and
    otherwise 0 [1]_ [2]_. Read more in the :doc:`user guide </baselines>`.

    Parameters
    ----------
    n_neighbors : int, default=100
        Number of neighbors of each item: the items with the largest positive similarities.
    metric : {"cosine", "tfidf", "bm25", "jaccard", "overlap"}, default="tfidf"
        Similarity of two items, from their columns of X.

        "cosine"
            Cosine similarity of the columns.
        "tfidf"
            The same of entries that are multiplied by ``1 + log((1 + n) / (1 + n_c))``, as in
            :class:`~sklearn.feature_extraction.text.TfidfTransformer`. Here,
            n is the number of items, and n_c the number of items with an entry for user c.
        "bm25"
            Inner product of the BM25 weights ``idf x (k1 + 1) / (x + k1 (1 - b + b l))``, where l
            is the sum of the column divided by the mean sum, and idf is
            ``log(1 + (n - n_c + 1/2) / (n_c + 1/2))``.
        "jaccard"
            Number of users that both have in common, divided by the number of users that
            one of them has. Values of X are ignored.
        "overlap"
            The same, divided by the smaller of the two numbers of users.
    shrinkage : float, default=0.0
        Number that is added to the denominators of similarities, non-negative: similarities that
        rest on few entries become smaller. "bm25" has no denominator.
    k1, b : float, default=1.2 and 0.75
        Parameters of "bm25": with larger values of `k1`, it grows longer with the values of X, and
        `b`, between 0 and 1, is the effect of the sums of columns.
    n_jobs : int, default=None
        Number of threads. None means 1 unless in a `joblib.parallel_config` context, and -1 means
        all processors. Results do not depend on it.

    Attributes
    ----------
    item_weights_ : CSR matrix of shape (n_features, n_features)
        The similarities. Column j has those of item j and its neighbors.
    n_features_in_ : int
        Number of items seen during `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the items seen during `fit`. Defined only if all names are strings.

    See Also
    --------
    UserKNNRecommender : Nearest neighbors of users.
    EASERecommender : Weights between items that are learned.

    References
    ----------
    .. [1] B. Sarwar, G. Karypis, J. Konstan, J. Riedl, "Item-Based Collaborative Filtering
       Recommendation Algorithms", WWW 2001.
    .. [2] M. Deshpande, G. Karypis, "Item-Based Top-N Recommendation Algorithms", ACM TOIS 2004.

    Examples
    --------
    >>> import numpy as np
    >>> from skfm.baselines import ItemKNNRecommender
    >>> X = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 1, 1, 1], [0, 0, 1, 1]])
    >>> model = ItemKNNRecommender(n_neighbors=1, metric="cosine").fit(X)
    >>> model.item_weights_.toarray().round(2)
    array([[0.  , 0.82, 0.  , 0.  ],
           [0.82, 0.  , 0.  , 0.  ],
           [0.  , 0.  , 0.  , 1.  ],
           [0.  , 0.  , 1.  , 0.  ]])
    >>> model.recommend([[1, 0, 0, 0]], n_items=1)[0]
    array([[1]])
    """

    def _learn(self, X):
        columns = X.T.tocsr()
        weighting = Weighting.learn(columns, self.metric, self.k1, self.b)
        weighted, sizes = weighting.weigh(columns)
        similarity = similarity_of(
            weighting.kind, sizes, sizes, shrinkage=self.shrinkage, exclude_same=True
        )
        found = find_neighbors(
            weighted,
            weighted.T.tocsr(),
            similarity,
            int(self.n_neighbors),
            n_threads(self.n_jobs),
        )
        self.item_weights_ = found.T.tocsr()  # the neighbors of an item are its column


@public("skfm.baselines")
class UserKNNRecommender(_Neighbors, BaselineRecommender):
    """Nearest neighbors of users: recommend what similar users have chosen.

    The score of item j for a user is ``sum_v s_v x_vj``, a sum over the `n_neighbors` users of the
    training data whose rows x_v are most similar, with the similarities s_v. A user who is in the
    training data is one of their own neighbors [1]_. Unlike the other recommenders, the fitted
    model contains the training data. Read more in the :doc:`user guide </baselines>`.

    Parameters
    ----------
    n_neighbors : int, default=100
        Number of neighbors of each user: the users with the largest positive similarities.
    metric : {"cosine", "tfidf", "bm25", "jaccard", "overlap"}, default="tfidf"
        Similarity of two users, from their rows of X.

        "cosine"
            Cosine similarity of the rows.
        "tfidf"
            The same of entries that are multiplied by ``1 + log((1 + n) / (1 + n_c))``, as in
            :class:`~sklearn.feature_extraction.text.TfidfTransformer`. Here,
            n is the number of users, and n_c the number of users with an entry for item c.
        "bm25"
            Inner product of the BM25 weights ``idf x (k1 + 1) / (x + k1 (1 - b + b l))``, where l
            is the sum of the row divided by the mean sum, and idf is
            ``log(1 + (n - n_c + 1/2) / (n_c + 1/2))``.
        "jaccard"
            Number of items that both have in common, divided by the number of items that
            one of them has. Values of X are ignored.
        "overlap"
            The same, divided by the smaller of the two numbers of items.
    shrinkage : float, default=0.0
        Number that is added to the denominators of similarities, non-negative: similarities that
        rest on few entries become smaller. "bm25" has no denominator.
    k1, b : float, default=1.2 and 0.75
        Parameters of "bm25": with larger values of `k1`, it grows longer with the values of X, and
        `b`, between 0 and 1, is the effect of the sums of rows.
    n_jobs : int, default=None
        Number of threads. None means 1 unless in a `joblib.parallel_config` context, and -1 means
        all processors. Results do not depend on it.

    Attributes
    ----------
    n_features_in_ : int
        Number of items seen during `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the items seen during `fit`. Defined only if all names are strings.

    See Also
    --------
    ItemKNNRecommender : Nearest neighbors of items, which are found once, by `fit`.

    References
    ----------
    .. [1] P. Resnick, N. Iacovou, M. Suchak, P. Bergstrom, J. Riedl, "GroupLens: An Open
       Architecture for Collaborative Filtering of Netnews", CSCW 1994.

    Examples
    --------
    >>> import numpy as np
    >>> from skfm.baselines import UserKNNRecommender
    >>> X = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 1, 1, 1], [0, 0, 1, 1]])
    >>> model = UserKNNRecommender(n_neighbors=2, metric="cosine").fit(X)
    >>> items, scores = model.recommend([[1, 0, 0, 0]], n_items=1)
    >>> items, scores.round(2)
    (array([[1]]), array([[1.41]]))
    """

    def _learn(self, X):
        self._training = X
        self._weighting = Weighting.learn(X, self.metric, self.k1, self.b)
        weighted, self._sizes = self._weighting.weigh(X)
        self._transposed = weighted.T.tocsr()

    @property
    def _table(self):
        return self._training

    def _weights(self, rows):
        weighting = self._weighting
        weighted, sizes = weighting.weigh(rows)
        similarity = similarity_of(weighting.kind, sizes, self._sizes, shrinkage=self.shrinkage)
        threads = n_threads(self.n_jobs)
        return find_neighbors(
            weighted, self._transposed, similarity, int(self.n_neighbors), threads
        )
