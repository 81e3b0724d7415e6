"""BayesianFMRegressor: means and standard deviations over posterior samples."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted

from skfm._fm import target_transform as targets
from skfm._fm.bayesian_base import BaseBayesianFM
from skfm._utils import validation
from skfm._utils.parameters import BOOLEAN
from skfm._utils.public import public
from skfm._utils.threads import n_threads
from skfm._utils.typing import ColumnLike, Float, Int, MatrixLike, Seed

LARGEST_UNIT = 1e152  # of y: squared errors are numbers


@public("skfm")
class BayesianFMRegressor(RegressorMixin, BaseBayesianFM):
    """Bayesian factorization machine for regression, fitted by Gibbs sampling.

    The model is that of :class:`FMRegressor`, but there is no regularization to tune. Instead of a
    single set of parameters, Gibbs sampling draws many samples from the posterior distribution of
    the parameters, the noise and the priors [1]_ [2]_. Predictions are averages over these
    samples, and `predict` optionally returns standard deviations. Use this model for ratings and
    other noisy targets, on data of moderate size. It takes longer to train and needs more memory
    than :class:`FMRegressor`.

    For targets standardized to mean 0 and variance 1, the model is

    ``y ~ N(f(x), 1 / a)``, ``f(x) = w_0 + sum_j w_j x_j + sum_{i<j} <v_i, v_j> x_i x_j``.

    The linear weight ``w_j`` and each coordinate of ``v_j`` have normal priors, with a mean and a
    precision for each group of features. The means and precisions, and ``a``, have wide
    Normal-Gamma priors. For one-hot data, the noise precision differs between levels, such as
    users (see `noise_by_level`).

    Read more in the :doc:`user guide </uncertainty>`.

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
        (FFM), which takes ``n_fields`` times the memory. See Notes. Features of the same field
        always interact by the product of their vectors. Only for ``degree=2``.
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
        otherwise derives groups from X (see Notes). "single" puts all features into one group.
    fit_intercept : bool, default=True
        Whether to fit the intercept ``w_0``. If False, it is 0.
    fit_linear : bool or list of fields, default=True
        Whether to fit the linear weights ``w_j``. If False, they are 0. A list contains the fields
        whose features have linear weights.
    noise_by_level : bool, default=True
        Whether the noise differs between the levels of one-hot groups, such as users or items.
        This applies to groups of at least 30 features, of which each row has at most one. If
        False, all rows have the same noise.
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
    alpha_ : float
        Posterior mean of the noise precision ``a``. Its inverse is in the unit of y squared. If
        the noise differs between levels, it is the precision for average levels. For very small y,
        it is limited to the largest float.
    n_iter_ : int
        Number of iterations on the current rows, including those before a warm start.
    n_draws_ : int
        Number of posterior samples that are used for predictions.
    loss_curve_ : list of float
        Mean squared error of the training rows, just before each iteration. It decreases until the
        chain has converged, and then fluctuates.
    r_hat_ : dict
        Split R-hat [4]_ of the iterations after the burn-in, for a few quantities: the training
        loss, the intercept, the root mean squares of the linear weights ("coef") and of the
        factors ("components") and of the weights of pairs of fields ("field_weights"), and the
        noise precision. R-hat is about 1 if the first half of the iterations agrees with the
        second half. Empty if there are fewer than 4 iterations.
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
    FMRegressor : The same model, fitted by stochastic gradients or coordinate descent.
    sklearn.linear_model.BayesianRidge : Linear model without interactions.

    Notes
    -----
    The linear weight and the factors of a feature are drawn jointly. The draws are overrelaxed
    [3]_, so that fewer iterations are needed for the same precision.

    **Groups.** Without `feature_groups`, each one-hot field is a group ("field 0", "field 1",
    ...). A one-hot field is a sequence of adjacent columns. No row has more than one nonzero entry
    in these columns, and most rows have one. Single columns that are nonzero in most rows, such as
    numerical features, form the group "dense". All other columns form the group "others".

    **Priors.** A priori, all groups are expected to contribute equally to the variance of the
    outputs. A block with hundreds of entries per row, such as the rated items of a user, is
    expected to contribute as much as an id, so its parameters are expected to be smaller. The
    precision of each coordinate in a group is its expected value, multiplied by two factors. One
    is common to all groups and has a Gamma(1, 1) prior. The other belongs to the group and has a
    Gamma(nu / 2, nu / 2) prior. ``nu`` is drawn from the powers of two from 4 to 256, separately
    for the linear weights and for the factors of each degree. Small groups, and groups with little
    information, are therefore shrunk toward the others.

    **Start of the chain.** In the first five iterations, the means and precisions of the groups
    are fixed at their expected values. After that, each iteration ends with Metropolis steps that
    multiply all factors, or all linear weights, by a number, and their precisions by its inverse
    square, so that the chain quickly forgets its starting point.

    **Noise.** With `noise_by_level`, the noise precision of a row is ``a`` times a product of
    factors ``lambda``, one for each level of the row. These are drawn as well, with a
    Gamma(nu / 2, nu / 2) prior; ``nu`` is drawn for each group from the powers of two from 4 to
    4096. Rows with noisy levels get less weight, and their predictions have larger standard
    deviations. For a level that does not occur in training, the noise variance is its mean under
    this prior.

    **Field interactions.** Let feature i belong to field ``a`` and feature j to field ``b``.
    ``field_interactions="weighted"`` replaces ``<v_i, v_j>`` by ``r_ab <v_i, v_j>``. The weights
    ``r_ab`` have the prior N(1, 1) and are drawn from the sixth iteration on. "aware" replaces it
    by ``<v_i[b], v_j[a]>``, where each feature has a vector for each partner field, and the prior
    of each group has a mean and a precision for each coordinate of all of these vectors. For the
    sources, see :class:`FMRegressor`. The matrices of field-matrixed models are not sampled.

    **New features.** A feature that does not occur in training has the prior of its group: it
    shifts predictions to the mean of the group and increases their standard deviation.

    References
    ----------
    .. [1] C. Freudenthaler, L. Schmidt-Thieme, S. Rendle, "Bayesian Factorization Machines", NIPS
       Workshop on Sparse Representation and Low-rank Approximation, 2011.
    .. [2] R. Salakhutdinov, A. Mnih, "Bayesian Probabilistic Matrix Factorization using Markov
       Chain Monte Carlo", ICML 2008.
    .. [3] S. Adler, "Over-relaxation method for the Monte Carlo evaluation of the partition
       function for multiquadratic actions", Physical Review D 23, 1981.
    .. [4] A. Vehtari, A. Gelman, D. Simpson, B. Carpenter, P.-C. Bürkner, "Rank-Normalization,
       Folding, and Localization: An Improved R-hat for Assessing Convergence of MCMC", Bayesian
       Analysis 16, 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from skfm import BayesianFMRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 3))
    >>> y = X[:, 0] * X[:, 1] + rng.normal(size=300) / 2
    >>> model = BayesianFMRegressor(2, random_state=0).fit(X, y)
    >>> mean, std = model.predict([[1, 1, 0], [2, -2, 0]], return_std=True)
    >>> mean.round()
    array([ 1., -4.])
    >>> bool(std[1] > std[0] > 0.4)
    True
    """

    _constraints: ClassVar[dict] = BaseBayesianFM._constraints | {"noise_by_level": [BOOLEAN]}

    def __init__(
        self,
        n_components: Int = 8,
        *,
        max_iter: Int = 200,
        n_burn_in: Int = 20,
        init_scale: Float = 0.1,
        degree: Int = 2,
        fit_lower: bool = True,
        interactions: Sequence[Sequence[Any]] | None = None,
        field_interactions: Literal["plain", "weighted", "aware"] = "plain",
        feature_fields: ColumnLike | None = None,
        feature_groups: ColumnLike | None = None,
        fit_intercept: bool = True,
        fit_linear: bool | Sequence[Any] = True,
        noise_by_level: bool = True,
        max_memory: Float = 256,
        warm_start: bool = False,
        random_state: Seed = None,
        n_jobs: Int | None = None,
        verbose: Int = 0,
    ) -> None:
        super().__init__(
            n_components,
            max_iter=max_iter,
            n_burn_in=n_burn_in,
            init_scale=init_scale,
            degree=degree,
            fit_lower=fit_lower,
            interactions=interactions,
            field_interactions=field_interactions,
            feature_fields=feature_fields,
            feature_groups=feature_groups,
            fit_intercept=fit_intercept,
            fit_linear=fit_linear,
            max_memory=max_memory,
            warm_start=warm_start,
            random_state=random_state,
            n_jobs=n_jobs,
            verbose=verbose,
        )
        self.noise_by_level = noise_by_level

    def _noise_by_level(self):
        return bool(self.noise_by_level)

    def _to_numbers(self, y):
        return np.asarray(y, dtype=np.float64)

    def _make_target(self, y, weight):
        known = targets.Targets.in_memory(y, weight)
        transform = targets.of_numbers(known, "squared_error", 0.0, self.fit_intercept, False)
        largest = min(float(np.finfo(weight.dtype).max) / 4, LARGEST_UNIT)
        if max(transform.unit, abs(transform.shift)) > largest:
            other = "" if weight.dtype == np.float64 else ", or pass X in float64"
            raise ValueError(
                f"y is too large for predictions in {weight.dtype} or their squared errors: "
                f"its mean is {transform.shift:.3g} and its standard deviation "
                f"{transform.unit:.3g}. Scale y{other}."
            )
        self._target_transform = transform
        return transform.apply(y), None

    def _first_intercept(self):
        return 0.0

    def _fit(self, X, y, sample_weight, checkpoint):
        super()._fit(X, y, sample_weight, checkpoint)
        precision = self._samples.noise_precision.mean()
        with np.errstate(over="ignore"):  # where y is tiny
            precision = precision / self._target_transform.unit / self._target_transform.unit
        self.alpha_ = float(min(precision, np.finfo(np.float64).max))
        return self

    def predict(self, X: MatrixLike, return_std: bool = False) -> Any:
        """Predict targets.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_samples, n_features)
            Rows.
        return_std : bool, default=False
            Whether to also return the predictive standard deviations.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Means of the posterior predictive distribution.
        y_std : ndarray of shape (n_samples,)
            Standard deviations of the posterior predictive distribution, which include the noise.
            Only with ``return_std=True``.
        """
        check_is_fitted(self)
        validation.check_flag(return_std, "return_std")
        transform = self._target_transform
        if not return_std:
            mean = self._summarize(self._rows(X), lambda outputs: outputs.mean(axis=1))
            with np.errstate(over="ignore"):
                return self._as_fitted(mean * transform.unit + transform.shift)

        def moments(outputs):
            with np.errstate(over="ignore", invalid="ignore"):  # the result is checked instead
                return np.stack([outputs.mean(axis=1), outputs.var(axis=1)], axis=1)

        rows = self._rows(X)
        mean, variance = self._summarize(rows, moments).T
        variance = variance + self._samples.noise_variance(
            rows, self._chain_state.group, n_threads(self.n_jobs)
        )
        with np.errstate(over="ignore"):
            mean, std = mean * transform.unit + transform.shift, np.sqrt(variance) * transform.unit
        return self._as_fitted(mean), self._as_fitted(std)
