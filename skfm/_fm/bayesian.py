"""Bayesian factorization machines, by Gibbs sampling."""

import numbers
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted

from skfm._fm import target_transform as targets
from skfm._fm.feature_groups import check_or_derive_groups
from skfm._fm.features import EstimatorOfFeatures
from skfm._fm.rows import Rows, without_ones
from skfm._fm.sampling import ChainHistory, ChainState, run_chain, start_chain
from skfm._solvers.fm.diagnostics import (
    LEAST_LENGTH,
    effective_sample_size,
    is_falling,
    split_r_hat,
)
from skfm._solvers.fm.gibbs import Chain, Settings
from skfm._solvers.fm.penalties import Penalties
from skfm._solvers.fm.problem import make_problem
from skfm._utils import validation
from skfm._utils.equal_rows import merge_rows
from skfm._utils.estimator import all_or_nothing
from skfm._utils.threads import n_threads
from skfm._utils.typing import ColumnLike, Float, FloatArray, Int, MatrixLike, Seed
from skfm._utils.warnings import warn

LARGEST_UNIT = 1e152  # of y: squared errors are numbers


class _BaseBayesianFM(EstimatorOfFeatures):
    """What both share: parameters, fit, and means over the draws.

    Subclasses have ``_to_numbers(y)``, which checks targets and turns them into numbers,
    ``_make_target(numbers, weight)``, which returns the target in the units of the chain and the
    signs of labels, and ``_first_intercept()``, where the chain starts.
    """

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
        feature_fields: ColumnLike | None = None,
        feature_groups: ColumnLike | None = None,
        fit_intercept: bool = True,
        fit_linear: bool | Sequence[Any] = True,
        max_memory: Float = 256,
        warm_start: bool = False,
        random_state: Seed = None,
        n_jobs: Int | None = None,
        verbose: Int = 0,
    ) -> None:
        self.n_components = n_components
        self.max_iter = max_iter
        self.n_burn_in = n_burn_in
        self.init_scale = init_scale
        self.degree = degree
        self.fit_lower = fit_lower
        self.interactions = interactions
        self.feature_fields = feature_fields
        self.feature_groups = feature_groups
        self.fit_intercept = fit_intercept
        self.fit_linear = fit_linear
        self.max_memory = max_memory
        self.warm_start = warm_start
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _check_parameters(self):
        integer, real = numbers.Integral, numbers.Real
        validation.check_n_components(self.n_components)
        validation.check_number(self.max_iter, "max_iter", integer, low=1)
        validation.check_number(self.n_burn_in, "n_burn_in", integer, low=0)
        validation.check_number(self.init_scale, "init_scale", real, low=0)
        validation.check_number(self.max_memory, "max_memory", real, low=0, boundaries="neither")
        for name in ("fit_intercept", "warm_start"):
            validation.check_flag(getattr(self, name), name)
        validation.check_n_jobs_and_verbose(self.n_jobs, self.verbose)

    def fit(self, X: MatrixLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Draw from the posterior distribution.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_samples, n_features)
            Training rows. float32 is sampled in float32, everything else in float64.
        y : array-like of shape (n_samples,)
            Targets: numbers for the regressor, labels of two classes for the classifier.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows: powers of their likelihoods. A row of weight 2 counts as two
            rows, one of weight 0 as none.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter or the data is not usable (NaN or infinity, lengths that do not fit,
            negative weights, not two classes), or if values are too large to compute with.

        Warns
        -----
        sklearn.exceptions.ConvergenceWarning
            If the training loss is still falling at the end: in the last quarter of the iterations
            after the burn-in, of which there must be 20 at least, its mean is clearly lower, by
            more than 2 %, than in the quarter before.
        """
        with all_or_nothing(self):
            return self._fit(X, y, sample_weight)

    def _fit(self, X, y, sample_weight):
        self._check_parameters()
        before = getattr(self, "_chain_state", None) if self.warm_start else None
        fields, groups = self._labels_of_features(X)
        rows, signs = self._check_rows(X, y, sample_weight)
        n_features = rows.X.shape[1]
        interactions = self._check_interactions(fields, n_features)
        if groups is None and before is not None and before.group.size == n_features:
            groups = self.feature_groups_
        labels, group = check_or_derive_groups(groups, rows.X, rows.weight)
        if before is not None:
            before.check(n_features, interactions.n_components, labels.size)
        digest = self._digest(rows, interactions, group)
        problem = make_problem(
            rows.X,
            rows.y,
            without_ones(rows.weight),
            self._target_transform.loss,
            Penalties(linear=0.0, factors=0.0),
            interactions,
            may_center=self.fit_intercept,
        )
        if before is not None and before.digest == digest:
            start, n_burn_in, history = before.start(), 0, self._history()
        else:
            start = self._start_chain(before, problem, group, labels.size)
            n_burn_in, history = int(self.n_burn_in), ChainHistory([], {})
        settings = self._settings(interactions)
        chain = Chain(
            problem,
            group[problem.used],
            start.draw,
            start.iteration,
            settings,
            start.key,
            signs,
        )
        options = {"max_bytes": self._max_bytes(), "unit": self._target_transform.unit}
        run_chain(chain, history, settings, n_burn_in=n_burn_in, **options)
        self._keep(history)
        self._chain_state = ChainState(
            chain.draw(),
            chain.iteration,
            start.key,
            problem.scaling(),
            interactions,
            group,
            digest,
        )
        self._group_labels = labels
        return self

    def _check_rows(self, X, y, sample_weight):
        """Rows with targets in the units of the chain, equal ones merged; and signs of labels."""
        is_regressor = isinstance(self, RegressorMixin)
        X, y, weight = validation.validate_rows(
            self, X, y, sample_weight, numeric_target=is_regressor
        )
        X, y, weight = merge_rows(X, self._to_numbers(y), weight)
        target, signs = self._make_target(y, weight)
        return Rows(X, target, weight), signs

    def _digest(self, rows, interactions, group):
        """What tells rows, and the model's terms for them, from others."""
        flags = np.array([self.fit_intercept, self._noise_by_level()])
        terms = group, flags, *vars(interactions).values()
        return validation.digest(rows.X, rows.y, rows.weight, *terms)

    def _settings(self, interactions):
        return Settings(
            max_iter=int(self.max_iter),
            fit_intercept=bool(self.fit_intercept),
            fit_linear=interactions.fit_linear,
            noise_by_level=self._noise_by_level(),
            n_threads=n_threads(self.n_jobs),
            verbose=bool(self.verbose),
        )

    def _start_chain(self, before, problem, group, n_groups):
        if self.n_burn_in >= self.max_iter:
            raise ValueError(
                f"n_burn_in={self.n_burn_in} must be below max_iter={self.max_iter}: the draws "
                "after it make the predictions."
            )
        rng = check_random_state(self.random_state)
        intercept = self._first_intercept() if self.fit_intercept else 0.0
        init_scale = float(self.init_scale)
        return start_chain(before, problem, group, n_groups, init_scale, intercept, rng)

    def _history(self):
        """Copies of what was kept of the chain, to be continued."""
        trace = {name: [*values] for name, values in self._trace.items()}
        samples = self._samples.extended(self._max_bytes(), int(self.max_iter))
        return ChainHistory(list(self.loss_curve_), trace, samples)

    def _keep(self, history):
        self._samples, self._trace = history.samples, history.trace
        self.loss_curve_ = history.loss_curve
        self.n_iter_ = len(history.loss_curve)
        self.n_draws_ = history.samples.n_kept
        losses = history.trace["loss"]
        judged = history.trace if len(losses) >= LEAST_LENGTH else {}
        self.r_hat_ = {name: split_r_hat(values) for name, values in judged.items()}
        self.effective_sample_size_ = {
            name: effective_sample_size(values) for name, values in judged.items()
        }
        if is_falling(losses):
            warn(
                f"max_iter={self.max_iter} iterations ended while the training loss was still "
                "falling: the chain has not arrived where its draws should come from. Raise "
                "max_iter and n_burn_in, or set warm_start=True and fit again.",
                ConvergenceWarning,
            )

    @property
    def feature_groups_(self):
        check_is_fitted(self, "_chain_state")
        return self._group_labels[self._chain_state.group]  # in pickles, strings would be large

    def _noise_by_level(self):
        return False

    def _max_bytes(self):
        return min(float(self.max_memory), 2.0**30) * 2**20

    def _rows(self, X):
        """Checked rows in the units of the chain."""
        check_is_fitted(self)
        return self._chain_state.scaling.apply(validation.validate_X(self, X))

    def _summarise(self, rows, summarise):
        """What ``summarise`` makes of the outputs of these rows, (n_samples, n_draws)."""
        state = self._chain_state
        return self._samples.predict(
            rows,
            state.group,
            state.interactions,
            state.key,
            summarise,
            n_threads(self.n_jobs),
        )

    def _as_fitted(self, values):
        with np.errstate(over="ignore"):
            values = values.astype(self._chain_state.draw.theta.dtype, copy=False)
        return validation.check_predictions(values)


class BayesianFMRegressor(RegressorMixin, _BaseBayesianFM):
    """Bayesian factorization machine for regression, by Gibbs sampling.

    The model of :class:`FMRegressor`, with nothing to tune: instead of one machine with penalties
    that someone must choose, it draws many, with noise and priors, from what the data leaves
    possible [1]_ [2]_. Predictions are means over the draws, and come with a standard deviation
    if asked for. It is the model for ratings and other noisy targets of moderate size; it takes
    longer, and the draws need more memory, than one machine.

    For targets standardised to mean 0 and variance 1,

    ``y ~ N(f(x), 1 / a)``, ``f(x) = w_0 + sum_j w_j x_j + sum_{i<j} <v_i, v_j> x_i x_j``,

    where each coordinate of ``(v_j, w_j)`` is normal, with a mean and a precision of its own for
    each group of features, and ``a`` and these have wide Normal-Gamma priors. In one-hot data,
    ``a`` differs between levels, such as users (see `noise_by_level`).

    Parameters
    ----------
    n_components : int, default=8
        Length of the vectors ``v_j``; 0 gives a linear model.
    max_iter : int, default=200
        Number of iterations; each draws all parameters once.
    n_burn_in : int, default=20
        Number of the first iterations that predictions do not use, less than `max_iter`.
    init_scale : float, default=0.1
        Standard deviation of the initial random factors of a feature of size 1, in rows with one
        entry; for longer rows divided by the root of their mean number of entries.
    degree : int, default=2
        Largest number of features that are multiplied, from 2 to 10. Above 2, each degree has
        `n_components` factors of its own, and ``sum <v_i, v_j> x_i x_j`` is followed by sums of
        products over all sets of three and more features. That takes longer.
    fit_lower : bool, default=True
        Whether products of fewer than `degree` features count, too. (The intercept and the
        linear weights have parameters of their own.)
    interactions : list of pairs of fields, default=None
        Which pairs of features are multiplied: those whose fields are a pair of the list, in
        either order; ``("user", "user")`` is within a field. None is all pairs. For degree 2.
    feature_fields : array-like of shape (n_features,), default=None
        A label for each feature, for `interactions` and `fit_linear`. None takes those that X
        carries from :class:`~skfm.preprocessing.EventEncoder`.
    feature_groups : array-like of shape (n_features,) or "single", default=None
        A label for each feature: features of a group share a prior. Give each kind (users, items,
        genres) a group of its own; `skfm.preprocessing.feature_groups` derives them from a fitted
        transformer. None takes those that X carries from an encoder of `skfm.preprocessing`, else
        derives groups from X (see the Notes). "single" makes all features one group.
    fit_intercept : bool, default=True
        Whether to fit the intercept ``w_0``; else it is 0.
    fit_linear : bool or list of fields, default=True
        Whether to fit the linear weights ``w_j``; else they are 0. A list names the fields whose
        features have them.
    noise_by_level : bool, default=True
        Whether the noise differs between the levels of one-hot groups: between users, and between
        items. It does so for the groups of at least 30 features of which no row has more than one.
        False gives all rows the same noise.
    max_memory : float, default=256
        Megabytes that the draws kept for predictions may take. When they are full, every second
        draw is dropped.
    warm_start : bool, default=False
        Whether `fit` goes on with the chain of the last one for `max_iter` more iterations. On
        the same rows the new draws are added to the old ones, without burn-in; on other rows they
        replace them, and the chain only starts where it was.
    random_state : int, RandomState instance or None, default=None
        Seed of all draws. Pass an int for reproducible results; they do not depend on `n_jobs`.
    n_jobs : int, default=None
        Threads; None is 1, -1 all processors.
    verbose : int, default=0
        1 shows progress on stderr: iterations, loss, and rows per second, compilation excluded.
        A terminal has one line, which is replaced; a file or a notebook gets a line every ten
        seconds.

    Attributes
    ----------
    alpha_ : float
        Precision ``a`` of the noise, the mean of the draws; its inverse is in the unit of y
        squared. Where the noise differs between levels, it is that of average levels. Of tiny y,
        the largest float if it is larger than that.
    n_iter_ : int
        Number of iterations on these rows, those before warm starts included.
    n_draws_ : int
        Number of draws that predictions are made of.
    loss_curve_ : list of float, one an iteration
        Mean squared error of the training rows just before it. It falls until the chain has
        arrived, and then fluctuates.
    r_hat_ : dict
        Split R-hat of a few numbers over the iterations after the burn-in [4]_: of the training
        loss, the intercept, the root mean squares of the linear weights ("coef") and of the
        factors ("components"), and the noise precision. It is about 1 if the first half of the
        iterations agrees with the second half.
        Empty if there are fewer than 4 iterations.
    effective_sample_size_ : dict
        Of the same numbers, how many independent draws would tell their means as precisely as
        these iterations do. Empty if there are fewer than 4 iterations.
    feature_groups_ : ndarray of shape (n_features,)
        The label of each feature's group.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X had names that are all strings.

    See Also
    --------
    FMRegressor : One machine, by gradient steps or coordinate descent.
    sklearn.linear_model.BayesianRidge : A linear model, without interactions.

    Notes
    -----
    The linear weight and the factors of a feature are drawn together. Draws are overrelaxed
    [3]_, so that fewer of them say as much.

    Without `feature_groups`, each one-hot field is a group ("field 0", "field 1", ...): a run of
    neighbouring columns of which no row has more than one and most rows have one. Single columns
    that most rows have, such as numbers, are the group "dense". All other columns are the group
    "others".

    All groups are expected to move outputs by the same amount. So the more features of a group a
    row has, the smaller their parameters are expected to be: a bag of hundreds, such as what a
    user has rated, moves outputs as much as an id. The precision of a group's coordinate is the
    expected one, times a number that is common to all groups, with the distribution Gamma(1, 1),
    times one of its own, with the distribution Gamma(nu / 2, nu / 2). A power of two from 4 to 256
    is drawn for ``nu``, one for the linear weights and one for the factors of each degree. So
    small groups, and those that say little, learn from the others.

    In the first five iterations, the means and precisions of the groups are held at what is
    expected. From then on, each iteration ends with Metropolis steps that multiply all factors, or
    all linear weights, by a number, and their precisions by its inverse square: the chain soon
    forgets where it started.

    With `noise_by_level`, the precision of a row's noise is ``a`` times a product of numbers
    ``lambda``, one for each group of levels. They are drawn as well, with the distribution
    Gamma(nu / 2, nu / 2), where a power of two from 4 to 4096 is drawn for each group's ``nu``.
    Rows of levels that are noisy count for less, and predictions of such levels have larger
    standard deviations. For a level that did not occur in training, the mean of the variance
    under that distribution is taken.

    A feature that did not occur in training has the prior of its group: it moves predictions to
    the group's mean and widens their standard deviation.

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

    def _check_parameters(self):
        super()._check_parameters()
        validation.check_flag(self.noise_by_level, "noise_by_level")

    def _noise_by_level(self):
        return bool(self.noise_by_level)

    def _to_numbers(self, y):
        return np.asarray(y, dtype=np.float64)

    def _make_target(self, y, weight):
        transform = targets.of_numbers(y, weight, "squared_error", 0.0, self.fit_intercept, False)
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

    def _fit(self, X, y, sample_weight):
        super()._fit(X, y, sample_weight)
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
            Whether to return standard deviations, too.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Means of the posterior predictive distribution.
        y_std : ndarray of shape (n_samples,)
            Its standard deviations, only with ``return_std=True``: of the draws, and of the noise.
        """
        check_is_fitted(self)
        validation.check_flag(return_std, "return_std")
        transform = self._target_transform
        if not return_std:
            mean = self._summarise(self._rows(X), lambda outputs: outputs.mean(axis=1))
            with np.errstate(over="ignore"):
                return self._as_fitted(mean * transform.unit + transform.shift)

        def moments(outputs):
            with np.errstate(over="ignore", invalid="ignore"):  # the result is checked instead
                return np.stack([outputs.mean(axis=1), outputs.var(axis=1)], axis=1)

        rows = self._rows(X)
        mean, variance = self._summarise(rows, moments).T
        variance = variance + self._samples.noise_variance(
            rows, self._chain_state.group, n_threads(self.n_jobs)
        )
        with np.errstate(over="ignore"):
            mean, std = mean * transform.unit + transform.shift, np.sqrt(variance) * transform.unit
        return self._as_fitted(mean), self._as_fitted(std)


class BayesianFMClassifier(ClassifierMixin, _BaseBayesianFM):
    """Bayesian factorization machine for two classes, by Gibbs sampling.

    As :class:`BayesianFMRegressor`, with a probit likelihood: the probability of the second class
    is ``Phi(f(x))``, the standard normal distribution function of the machine's output. The
    predicted probability is the mean of that over the draws, so that it is cautious where little
    is known.

    Parameters
    ----------
    n_components : int, default=8
        Length of the vectors ``v_j``; 0 gives a linear model.
    max_iter : int, default=200
        Number of iterations; each draws all parameters once.
    n_burn_in : int, default=20
        Number of the first iterations that predictions do not use, less than `max_iter`.
    init_scale : float, default=0.1
        Standard deviation of the initial random factors of a feature of size 1, in rows with one
        entry; for longer rows divided by the root of their mean number of entries.
    degree : int, default=2
        Largest number of features that are multiplied, from 2 to 10. Above 2, each degree has
        `n_components` factors of its own, and ``sum <v_i, v_j> x_i x_j`` is followed by sums of
        products over all sets of three and more features. That takes longer.
    fit_lower : bool, default=True
        Whether products of fewer than `degree` features count, too. (The intercept and the
        linear weights have parameters of their own.)
    interactions : list of pairs of fields, default=None
        Which pairs of features are multiplied: those whose fields are a pair of the list, in
        either order; ``("user", "user")`` is within a field. None is all pairs. For degree 2.
    feature_fields : array-like of shape (n_features,), default=None
        A label for each feature, for `interactions` and `fit_linear`. None takes those that X
        carries from :class:`~skfm.preprocessing.EventEncoder`.
    feature_groups : array-like of shape (n_features,) or "single", default=None
        A label for each feature: features of a group share a prior. Give each kind (users, items,
        genres) a group of its own; `skfm.preprocessing.feature_groups` derives them from a fitted
        transformer. None takes those that X carries from an encoder of `skfm.preprocessing`, else
        derives groups from X (see the Notes). "single" makes all features one group.
    fit_intercept : bool, default=True
        Whether to fit the intercept ``w_0``; else it is 0.
    fit_linear : bool or list of fields, default=True
        Whether to fit the linear weights ``w_j``; else they are 0. A list names the fields whose
        features have them.
    max_memory : float, default=256
        Megabytes that the draws kept for predictions may take. When they are full, every second
        draw is dropped.
    warm_start : bool, default=False
        Whether `fit` goes on with the chain of the last one for `max_iter` more iterations. On
        the same rows the new draws are added to the old ones, without burn-in; on other rows they
        replace them, and the chain only starts where it was.
    random_state : int, RandomState instance or None, default=None
        Seed of all draws. Pass an int for reproducible results; they do not depend on `n_jobs`.
    n_jobs : int, default=None
        Threads; None is 1, -1 all processors.
    verbose : int, default=0
        1 shows progress on stderr: iterations, loss, and rows per second, compilation excluded.
        A terminal has one line, which is replaced; a file or a notebook gets a line every ten
        seconds.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
        The labels.
    n_iter_ : int
        Number of iterations on these rows, those before warm starts included.
    n_draws_ : int
        Number of draws that predictions are made of.
    loss_curve_ : list of float, one an iteration
        Mean negative log-likelihood of the training rows just before it. It falls until the chain
        has arrived, and then fluctuates.
    r_hat_ : dict
        Split R-hat of a few numbers over the iterations after the burn-in [2]_: of the training
        loss, the intercept, the root mean squares of the linear weights ("coef") and of the
        factors ("components"). It is about 1 if the first half of the iterations
        agrees with the second half.
        Empty if there are fewer than 4 iterations.
    effective_sample_size_ : dict
        Of the same numbers, how many independent draws would tell their means as precisely as
        these iterations do. Empty if there are fewer than 4 iterations.
    feature_groups_ : ndarray of shape (n_features,)
        The label of each feature's group.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X had names that are all strings.

    See Also
    --------
    FMClassifier : One machine, of two classes or more, by gradient steps or coordinate descent.
    sklearn.multiclass.OneVsRestClassifier : Makes one of these for each of several classes.

    Notes
    -----
    Each row has a hidden number, drawn anew in each iteration [1]_. A row of weight c, as equal
    rows together are, has the mean of c such numbers: exactly, if c is a whole number up to 16,
    else one of the same mean and variance.

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
        if classes.size < 2:
            raise ValueError(
                "BayesianFMClassifier needs samples of two classes in y (with positive weight); "
                f"got one class: {classes.tolist()[0]!r}."
            )
        before = getattr(self, "classes_", None)
        if self.warm_start and before is not None and not np.array_equal(before, classes):
            raise ValueError(
                f"warm_start needs the same classes as before: got {classes}, the fitted model "
                f"has {before}. Set warm_start=False to start again."
            )
        self.classes_ = classes
        return labels

    def _make_target(self, labels, weight):
        self._rate = np.average(labels, weights=weight)
        self._target_transform = targets.of_classes(
            labels, weight, 2, "log_loss", self.fit_intercept
        )
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
        """Probabilities of the classes.

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
        return self._summarise(self._rows(X), lambda outputs: ndtr(outputs).mean(axis=1))
