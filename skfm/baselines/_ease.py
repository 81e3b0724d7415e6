"""EASE: linear regressions of each item on all others, in closed form."""

from typing import ClassVar

import numpy as np

from skfm._solvers.item_item.ease import ease
from skfm._utils.parameters import N_JOBS, POSITIVE, POSITIVE_INTEGER
from skfm._utils.public import public
from skfm._utils.threads import n_threads
from skfm._utils.typing import Float, Int
from skfm.baselines._item_item import ItemItemRecommender


@public("skfm.baselines")
class EASERecommender(ItemItemRecommender):
    """Embarrassingly shallow autoencoder: a ridge regression of each item on all others.

    The weights B minimize ``||X - X B||^2 + alpha ||B||^2``, where the diagonal of B is 0 [1]_.
    With ``P = (X.T X + alpha I)^-1``, the solution is ``B = I - P diag(1 / diag(P))``. It is a
    dense matrix of items by items: `fit` takes memory for that one matrix, and time that grows
    with the cube of the number of items. Read more in the :doc:`user guide </baselines>`.

    Parameters
    ----------
    alpha : float, default=500.0
        L2 regularization strength, positive. It is the only parameter to tune, on a logarithmic
        scale.
    max_items : int, default=20000
        Largest number of items. 20,000 items need 3.2 GB in float64, and half of that in float32.
    n_jobs : int, default=None
        Number of threads for the products of items, and of `recommend`. None means 1 unless in a
        `joblib.parallel_config` context, and -1 means all processors. Results do not depend on it.
        The inverse is computed by LAPACK, whose threads are controlled by
        `threadpoolctl.threadpool_limits`.

    Attributes
    ----------
    item_weights_ : ndarray of shape (n_features, n_features)
        The matrix B. Element ``[i, j]`` is the weight of item i in the score of item j.
    n_features_in_ : int
        Number of items seen during `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the items seen during `fit`. Defined only if all names are strings.

    See Also
    --------
    SLIMRecommender : The same with L1 regularization, whose weights are sparse.
    skfm.MFRecommender : Matrix factorization.

    References
    ----------
    .. [1] H. Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from skfm.baselines import EASERecommender
    >>> X = np.kron(np.eye(2), np.ones((3, 3)))  # two groups of users and items
    >>> X[0, 2] = 0
    >>> model = EASERecommender(alpha=1.0).fit(X)
    >>> model.recommend(X[:1], n_items=1)[0]
    array([[2]])
    """

    _constraints: ClassVar[dict] = {
        "alpha": [POSITIVE],
        "max_items": [POSITIVE_INTEGER],
        "n_jobs": N_JOBS,
    }

    def __init__(
        self, alpha: Float = 500.0, *, max_items: Int = 20_000, n_jobs: Int | None = None
    ) -> None:
        self.alpha = alpha
        self.max_items = max_items
        self.n_jobs = n_jobs

    def _learn(self, X):
        n_items = X.shape[1]
        if n_items > self.max_items:
            gigabytes = n_items**2 * X.dtype.itemsize / 1e9
            half = "; X in float32 needs half of it" if X.dtype == np.float64 else ""
            raise ValueError(
                f"X has {n_items} items, for which EASERecommender needs a dense matrix of "
                f"{gigabytes:.2g} GB in {X.dtype}, but max_items={self.max_items}. Raise "
                f"max_items if there is enough memory{half}. Otherwise, leave out rare items, or "
                "use SLIMRecommender or ItemKNNRecommender, whose matrices are sparse."
            )
        weights = ease(X, float(self.alpha), n_threads(self.n_jobs))
        if weights is None:
            raise ValueError(
                f"alpha={self.alpha} is too small for the values of X in {X.dtype}: the matrix "
                "X.T @ X + alpha * I is not positive definite. Raise alpha."
            )
        self.item_weights_ = weights
