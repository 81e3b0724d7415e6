"""SLIM: sparse linear regressions of each item on all others."""

from typing import ClassVar

import numpy as np

from skfm._solvers.item_item.slim import slim
from skfm._utils.parameters import (
    BOOLEAN,
    N_JOBS,
    NON_NEGATIVE,
    POSITIVE,
    POSITIVE_INTEGER,
)
from skfm._utils.public import public
from skfm._utils.threads import n_threads
from skfm._utils.typing import Float, Int
from skfm._utils.warnings import warn_not_converged
from skfm.baselines._item_item import ItemItemRecommender


@public("skfm.baselines")
class SLIMRecommender(ItemItemRecommender):
    """Sparse linear method: each item is regressed on all others, by an elastic net.

    The weights W minimize ``|X - X W|^2 / 2 + alpha |W|^2 / 2 + alpha_l1 |W|_1``, where the
    diagonal of W is 0 and, with ``positive=True``, no weight is negative [1]_. The regressions are
    solved by coordinate descent on the Gram matrix ``X.T X``, which is stored sparse: `fit` takes
    memory for its entries. Read more in the :doc:`user guide </baselines>`.

    Parameters
    ----------
    alpha : float, default=100.0
        L2 regularization strength, non-negative.
    alpha_l1 : float, default=1.0
        L1 regularization strength, non-negative. The larger it is, the fewer weights differ from
        0, and the faster is `fit`.
    positive : bool, default=True
        Whether to allow only non-negative weights.
    max_iter : int, default=300
        Maximum number of sweeps of coordinate descent for each item.
    tol : float, default=1e-3
        Tolerance of the stopping criterion. The weights of an item are final when no further step
        would change the predictions by more than `tol` times the length of the column of the item.
    n_jobs : int, default=None
        Number of threads. None means 1 unless in a `joblib.parallel_config` context, and -1 means
        all processors. Results do not depend on it.

    Attributes
    ----------
    item_weights_ : CSR matrix of shape (n_features, n_features)
        The matrix W. Element ``[i, j]`` is the weight of item i in the score of item j.
    n_iter_ : int
        Largest number of sweeps that an item took.
    n_features_in_ : int
        Number of items seen during `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the items seen during `fit`. Defined only if all names are strings.

    See Also
    --------
    EASERecommender : The same without L1 regularization, in closed form.
    sklearn.linear_model.ElasticNet : Elastic net of a single target.

    References
    ----------
    .. [1] X. Ning, G. Karypis, "SLIM: Sparse Linear Methods for Top-N Recommender Systems", ICDM
       2011.

    Examples
    --------
    >>> import numpy as np
    >>> from skfm.baselines import SLIMRecommender
    >>> X = np.kron(np.eye(2), np.ones((3, 3)))  # two groups of users and items
    >>> X[0, 2] = 0
    >>> model = SLIMRecommender(alpha=0.1, alpha_l1=0.1).fit(X)
    >>> model.recommend(X[:1], n_items=1)[0]
    array([[2]])
    """

    _constraints: ClassVar[dict] = {
        "alpha": [NON_NEGATIVE],
        "alpha_l1": [NON_NEGATIVE],
        "positive": [BOOLEAN],
        "max_iter": [POSITIVE_INTEGER],
        "tol": [POSITIVE],
        "n_jobs": N_JOBS,
    }

    def __init__(
        self,
        alpha: Float = 100.0,
        *,
        alpha_l1: Float = 1.0,
        positive: bool = True,
        max_iter: Int = 300,
        tol: Float = 1e-3,
        n_jobs: Int | None = None,
    ) -> None:
        self.alpha = alpha
        self.alpha_l1 = alpha_l1
        self.positive = positive
        self.max_iter = max_iter
        self.tol = tol
        self.n_jobs = n_jobs

    def _learn(self, X):
        self.item_weights_, n_iter = slim(
            X,
            float(self.alpha),
            float(self.alpha_l1),
            bool(self.positive),
            int(self.max_iter),
            float(self.tol),
            n_threads(self.n_jobs),
        )
        self.n_iter_ = int(np.abs(n_iter).max())
        if (n_iter < 0).any():
            warn_not_converged(self.max_iter, self.tol, "sweeps")
