"""BayesianFMClassifier: probabilities of two classes, averaged over posterior samples."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from skfm._fm import target_transform as targets
from skfm._fm.bayesian_base import BaseBayesianFM
from skfm._fm.labels import check_classes
from skfm._utils.public import public
from skfm._utils.typing import FloatArray, MatrixLike


@public("skfm")
class BayesianFMClassifier(ClassifierMixin, BaseBayesianFM):
    """Bayesian factorization machine for binary classification, fitted by Gibbs sampling.

    The model is that of :class:`BayesianFMRegressor` with a probit likelihood: the probability of
    the second class is ``Phi(f(x))``, where ``Phi`` is the standard normal distribution function.
    Predicted probabilities are averages over the posterior samples. They are therefore less
    extreme where the training data contain little information. Read more in the :doc:`user guide
    </uncertainty>`.

    Parameters
    ----------
    n_components : int, default=8
        Number of factors, the length of the vectors ``v_j``. 0 gives a linear model.
    max_iter : int, default=200
        Number of iterations. Each iteration draws all parameters once.
    n_burn_in : int, default=20
        Number of initial iterations that are discarded. Must be less than `max_iter`.
    init_scale : float, default=0.1
        Scale of the initial random factors. Their standard deviation is `init_scale`, divided by
        the square root of the mean number of nonzero entries per row, for features scaled to a
        root mean square of 1.
    degree : int, default=2
        Maximum degree of the interactions, from 2 to 10. A degree of 3 adds the interactions of
        three features, a degree of 4 also those of four, and so on. Each degree has `n_components`
        factors of its own. The training time is proportional to the degree.
    fit_lower : bool, default=True
        Whether to also fit the interactions of fewer than `degree` features. For the intercept and
        the linear weights, see `fit_intercept` and `fit_linear`.
    interactions : list of pairs of fields, default=None
        Pairs of fields whose features interact, in either order. ``("user", "user")`` stands for
        the interactions within a field. None means all pairs. Only for ``degree=2``.
    field_interactions : {"plain", "weighted", "aware"}, default="plain"
        How the features of two fields interact. "plain" multiplies their vectors. The other values
        are made for tables of categories, where each column is a field: "weighted" draws a weight
        for each pair of fields (FwFM), and "aware" a vector of each feature for each partner field
        (FFM), which takes ``n_fields`` times the memory. See Notes of
        :class:`BayesianFMRegressor`. Features of the same field always interact by the product of
        their vectors. Only for ``degree=2``.
    feature_fields : array-like of shape (n_features,), default=None
        Field of each feature, as a label, for `interactions`, `field_interactions` and
        `fit_linear`. None uses the fields that the encoders of :mod:`skfm.preprocessing` attach to
        their output, if X has them. If it has none, `field_interactions` takes each column as a
        field of its own, if there are at most 100.
    feature_groups : array-like of shape (n_features,) or "single", default=None
        Group of each feature, as a label. The features of a group share a prior. Use one group for
        each kind of feature (users, items, genres); `skfm.preprocessing.feature_groups` derives
        groups from a fitted transformer. None uses the groups that
        :class:`~skfm.preprocessing.EventEncoder` attaches to its output, if X has them, and
        otherwise derives groups from X (see the Notes of :class:`BayesianFMRegressor`). "single"
        puts all features into one group.
    fit_intercept : bool, default=True
        Whether to fit the intercept ``w_0``. If False, it is 0.
    fit_linear : bool or list of fields, default=True
        Whether to fit the linear weights ``w_j``. If False, they are 0. A list contains the fields
        whose features have linear weights.
    max_memory : float, default=256
        Memory for the posterior samples that are stored for predictions, in megabytes. When this
        limit is reached, every second sample is dropped.
    warm_start : bool, default=False
        Whether `fit` continues the chain of the previous fit for `max_iter` more iterations. On
        the same rows, the new samples are added to the previous ones, without burn-in. On other
        rows, they replace the previous ones, and only the starting point of the chain is kept.
    random_state : int, RandomState instance or None, default=None
        Seed of all draws. Pass an int for reproducible results, which do not depend on `n_jobs`.
    n_jobs : int, default=None
        Number of threads. None means 1 unless in a `joblib.parallel_config` context, and -1 means
        all processors.
    verbose : int, default=0
        If 1, progress is written to stderr: the iteration, the loss, and the rows per second,
        without compilation. A terminal shows a single line that is updated; a file or a notebook
        gets a line every ten seconds.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
        Class labels.
    n_iter_ : int
        Number of iterations on the current rows, including those before a warm start.
    n_draws_ : int
        Number of posterior samples that are used for predictions.
    loss_curve_ : list of float
        Mean negative log-likelihood of the training rows, just before each iteration. It decreases
        until the chain has converged, and then fluctuates.
    r_hat_ : dict
        Split R-hat [2]_ of the iterations after the burn-in, for a few quantities: the training
        loss, the intercept, the root mean squares of the linear weights ("coef"), of the
        factors ("components") and of the weights of pairs of fields ("field_weights"). R-hat is
        about 1 if the first half of the iterations agrees with the second half. Empty if there are
        fewer than 4 iterations.
    effective_sample_size_ : dict
        For the same quantities, the number of independent samples that would estimate their means
        as precisely as the iterations do. Empty if there are fewer than 4 iterations.
    fields_ : ndarray of shape (n_fields,)
        Labels of the fields, unless `field_interactions` is "plain".
    feature_groups_ : ndarray of shape (n_features,)
        Group of each feature, as a label.
    n_features_in_ : int
        Number of features seen during `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features seen during `fit`. Defined only if all names are strings.

    See Also
    --------
    FMClassifier : Stochastic gradients or coordinate descent, for binary and multiclass problems.
    sklearn.multiclass.OneVsRestClassifier : Extends this estimator to multiclass problems.

    Notes
    -----
    Each row has a latent variable, which is drawn in every iteration [1]_. A row of weight c, such
    as the merged row of c equal ones, has the mean of c such variables. The draw of this mean is
    exact if c is an integer up to 16; otherwise, it is a draw with the same mean and variance.

    References
    ----------
    .. [1] J. Albert, S. Chib, "Bayesian Analysis of Binary and Polychotomous Response Data",
       Journal of the American Statistical Association 88, 1993.
    .. [2] A. Vehtari, A. Gelman, D. Simpson, B. Carpenter, P.-C. Bürkner, "Rank-Normalization,
       Folding, and Localization: An Improved R-hat for Assessing Convergence of MCMC", Bayesian
       Analysis 16, 2021.

    Examples
    --------
    Exclusive or:

    >>> from skfm import BayesianFMClassifier
    >>> X = [[0, 0], [0, 1], [1, 0], [1, 1]] * 50
    >>> y = ["no", "yes", "yes", "no"] * 50
    >>> model = BayesianFMClassifier(2, random_state=0).fit(X, y)
    >>> model.predict([[0, 1], [1, 1]])
    array(['yes', 'no'], dtype='<U3')
    """

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def _to_numbers(self, y):
        check_classification_targets(y)
        kind = type_of_target(y, input_name="y", raise_unknown=True)
        if kind != "binary":
            raise ValueError(
                f"Only binary classification is supported. The type of the target is {kind}. For "
                "more classes wrap the estimator in sklearn.multiclass.OneVsRestClassifier."
            )
        classes, labels = np.unique(y, return_inverse=True)
        check_classes(self, classes)
        self.classes_ = classes
        return labels

    def _make_target(self, labels, weight):
        self._rate = np.average(labels, weights=weight)
        known = targets.Targets.in_memory(labels, weight)
        self._target_transform = targets.of_classes(known, 2, "log_loss", self.fit_intercept)
        return labels.astype(np.float64), 2.0 * labels - 1

    def _first_intercept(self):
        return float(ndtri(self._rate))

    def predict(self, X: MatrixLike) -> NDArray[Any]:
        """Predict labels.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            The more probable label of each row.
        """
        second = self._second(X)
        return self.classes_[(second > 0.5).astype(np.intp)]

    def predict_proba(self, X: MatrixLike) -> FloatArray:
        """Predict class probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, 2)
            Columns in the order of ``classes_``; rows sum to 1.
        """
        second = self._second(X)
        return self._as_fitted(np.stack([1 - second, second], axis=1))

    def _second(self, X):
        return self._summarize(self._rows(X), lambda outputs: ndtr(outputs).mean(axis=1))
