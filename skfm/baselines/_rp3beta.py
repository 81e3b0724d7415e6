"""RP3beta: recommendations by random walks, with a discount for popular items."""

from typing import ClassVar

from skfm._solvers.item_item.random_walk import rp3beta
from skfm._utils.parameters import N_JOBS, NON_NEGATIVE, POSITIVE_INTEGER
from skfm._utils.public import public
from skfm._utils.threads import n_threads
from skfm._utils.typing import Float, Int
from skfm.baselines._item_item import ItemItemRecommender


@public("skfm.baselines")
class RP3betaRecommender(ItemItemRecommender):
    """Random walks of three steps, from a user over items and users to items.

    Each step goes to an item or a user with a probability that is proportional to the entry. The
    transition probabilities are raised to the power `alpha`, and the scores of items are divided
    by their popularity to the power `beta` [1]_. Read more in the :doc:`user guide </baselines>`.

    Parameters
    ----------
    n_neighbors : int, default=200
        Number of items from which walks may lead to an item: of the weights in the score of each
        item, only the largest are kept.
    alpha : float, default=0.6
        Exponent of the transition probabilities, non-negative.
    beta : float, default=0.4
        Exponent of the popularity by which scores are divided, non-negative. With 0, the model is
        P3alpha; greater values favor rare items. Tune this parameter first.
    n_jobs : int, default=None
        Number of threads. None means 1 unless in a `joblib.parallel_config` context, and -1 means
        all processors. Results do not depend on it.

    Attributes
    ----------
    item_weights_ : CSR matrix of shape (n_features, n_features)
        Element ``[i, j]`` is the weight of item i in the score of item j.
    n_features_in_ : int
        Number of items seen during `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the items seen during `fit`. Defined only if all names are strings.

    See Also
    --------
    ItemKNNRecommender : Neighborhoods of items.

    References
    ----------
    .. [1] B. Paudel, F. Christoffel, C. Newell, A. Bernstein, "Updatable, Accurate, Diverse, and
       Scalable Recommendations for Interactive Applications", ACM TiiS 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from skfm.baselines import RP3betaRecommender
    >>> X = np.kron(np.eye(2), np.ones((3, 3)))  # two groups of users and items
    >>> X[0, 2] = 0
    >>> model = RP3betaRecommender().fit(X)
    >>> model.recommend(X[:1], n_items=1)[0]
    array([[2]])
    """

    _constraints: ClassVar[dict] = {
        "n_neighbors": [POSITIVE_INTEGER],
        "alpha": [NON_NEGATIVE],
        "beta": [NON_NEGATIVE],
        "n_jobs": N_JOBS,
    }

    def __init__(
        self,
        n_neighbors: Int = 200,
        *,
        alpha: Float = 0.6,
        beta: Float = 0.4,
        n_jobs: Int | None = None,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.alpha = alpha
        self.beta = beta
        self.n_jobs = n_jobs

    def _learn(self, X):
        self.item_weights_ = rp3beta(
            X, float(self.alpha), float(self.beta), int(self.n_neighbors), n_threads(self.n_jobs)
        )
