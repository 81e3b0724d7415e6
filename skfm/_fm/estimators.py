"""Factorization machines for regression and classification."""

import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_expit, log_softmax, softmax
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets

from skfm._fm import target_transform as targets
from skfm._fm.base import BaseFM
from skfm._utils import validation
from skfm._utils.estimator import all_or_nothing
from skfm._utils.typing import (
    ColumnLike,
    Float,
    FloatArray,
    Int,
    MatrixLike,
    Penalty,
    Seed,
    available_if,
)


def _takes_steps(model):
    if validation.is_option(model.solver, "als"):
        raise AttributeError(
            "solver='als' needs all rows at once; for partial_fit take a solver of gradient "
            "steps, such as 'adagrad'."
        )
    return True


class FMRegressor(RegressorMixin, BaseFM):
    """Factorization machine for regression.

    A linear model plus all pairwise interactions, whose weights are inner products of learned
    vectors, one a feature [1]_:

    ``f(x) = w_0 + sum_j w_j x_j + sum_{i<j} <v_i, v_j> x_i x_j``

    It learns interactions also between features that rarely or never meet in training, which
    makes it the model for sparse, categorical data such as one-hot encoded ids. Of the targets,
    standardised to mean 0 and variance 1, it minimises

    ``sum_i c_i (f(x_i) - y_i)^2 / 2 + sum_j (alpha_linear w_j^2 + alpha sqrt(n_j) ||v_j||^2) / 2``

    with ``c_i`` the sample weights.

    Parameters
    ----------
    n_components : int, default=8
        Length of the vectors ``v_j``; 0 gives a linear model.
    loss : {"squared_error", "absolute_error", "huber", "quantile", "poisson"}, \
            default="squared_error"
        Loss to minimise. "absolute_error" goes for the median, "quantile" for another quantile,
        "huber" is squared for small errors and absolute for large ones. "poisson" is for counts:
        half the deviance, with the logarithm of the mean as the raw output, and `predict` gives
        the mean; y is not standardised then.
    epsilon : float, default=1.0
        Where "huber" turns from squared to absolute, above 0, in standard deviations of y.
    quantile : float, default=0.5
        Which one "quantile" goes for, between 0 and 1.
    solver : {"adagrad", "adam", "als", "ftrl", "sgd"}, default="adagrad"
        How the objective is minimised. "als" sets the parameters of one feature after the other
        to their best values, given all others [5]_: it needs no step size, and few passes over
        the rows, which it keeps in memory as columns. The others take steps on mini-batches:
        "adagrad" [2]_; "adam" [3]_, with moments that rest when a feature does not occur; "ftrl"
        [4]_, which can set weights to exactly 0; "sgd", plain gradient steps, divided by the
        root of the number of the batch's rows with the feature. The steps of "adam" and "sgd" get
        shorter like the root of the number of epochs.
    alpha : float, "auto", dict or list of float, default="auto"
        L2 penalty of the factors, at least 0. Feature j pays
        ``alpha / 2 * sqrt(n_j) * ||v_j||^2``, with ``n_j`` the weighted number of rows in which
        it is not zero, and y scaled to variance 1. The parameter to tune first. "auto" finds a
        penalty for each feature during the fit, by empirical Bayes [7]_: how large factors are
        follows from the data, and features whose partners are little known have smaller ones.
        Until then, and in streams that begin with `partial_fit`, it is about 1.
    alpha_linear : float, "auto", dict or list of float, default="auto"
        L2 penalty of the linear weights, at least 0, as in ridge regression: feature j pays
        ``alpha_linear / 2 * w_j^2``. The intercept is not penalised. "auto" as for `alpha`.
    alpha_l1 : float, dict or list of float, default=0.0
        L1 penalty of the linear weights, at least 0, for "ftrl": ``alpha_l1 * |w_j|``. It sets
        those that matter little to 0.
    alpha_l21 : float, dict or list of float, default=0.0
        Penalty of the length of factors, at least 0, for "ftrl":
        ``alpha_l21 * sqrt(n_j) * ||v_j||``. It sets the factors of some features to 0 altogether.
    degree : int, default=2
        Largest number of features that are multiplied, from 2 to 10. Above 2, each degree has
        `n_components` factors of its own, and ``sum <v_i, v_j> x_i x_j`` is followed by sums of
        products over all sets of three and more features [6]_. That takes longer.
    fit_lower : bool, default=True
        Whether products of fewer than `degree` features count, too. (The intercept and the
        linear weights have parameters of their own.)
    interactions : list of pairs of fields, default=None
        Which pairs of features are multiplied: those whose fields are a pair of the list, in
        either order; ``("user", "user")`` is within a field. None is all pairs. For degree 2.
    feature_fields : array-like of shape (n_features,), default=None
        A label for each feature, for `interactions` and `fit_linear`. None takes those that X
        carries from :class:`~skfm.preprocessing.EventEncoder`.
    feature_groups : array-like of shape (n_features,), default=None
        A label for each feature, for penalties that differ. With groups, each of the four
        penalties may be a number for all, a dict from labels to numbers, or a list with a number
        for each group in sorted order of the labels.
    learning_rate : float or "auto", default="auto"
        Length of the first steps, above 0; "als" takes none. Features are scaled inside to a root
        mean square of 1 over their entries, so it needs no adjustment to their units. "auto" is
        0.1 for "adagrad", 0.02 for "adam", 0.2 for "ftrl", 0.05 for "sgd".
    initial_accumulator : float, default=0.1
        What the sums of squared gradients of "adagrad" and "ftrl" start at, above 0. A small
        value lets the first steps be long however small the gradient.
    batch_size : int or "auto", default="auto"
        Rows a step. "auto" takes all rows of data with at most 1024, so that row order does not
        matter and weights equal repetition, and 1024 to 4096 of larger data, 128 for "sgd", for
        which chunks of `partial_fit` are as large as the stream so far.
    max_iter : int, default=300
        Largest number of epochs: passes over the rows, or for "als" over the columns.
    tol : float, default=1e-4
        Training stops when the objective, for each unit of sample weight, has not fallen by
        `tol` below the best so far in `n_iter_no_change` epochs in a row: by less where the
        objective is below 0.1, down to `tol` times ten times the objective.
    n_iter_no_change : int, default=5
        See `tol`. Also the number of bad epochs after which training starts again with smaller
        steps.
    early_stopping : bool or "auto", default="auto"
        Whether training also stops when the score on validation rows has not risen by `tol` above
        the best so far in `n_iter_no_change` epochs in a row. The parameters of the best epoch
        are kept, or see `refit`. "auto": if `fit` gets validation rows.
    validation_fraction : float or int, default=0.1
        Share, or number, of the rows that are set aside for `early_stopping` if `fit` gets no
        validation rows: random ones. Where rows have a time order, that is too easy a test; pass
        the latest rows as `X_val` and `y_val` instead.
    scoring : str, callable or None, default="loss"
        The score for `early_stopping`: minus the mean loss, or a scorer of scikit-learn's, by name
        or as a function of (estimator, X, y). None is the method `score`.
    refit : bool, default=True
        Whether rows set aside by ``early_stopping=True`` are trained on in the end: the model is
        fitted again on all rows, with the number of the best epoch as `max_iter`. If False, the
        parameters of the best epoch are kept. There is no refit with ``warm_start=True``, as the
        next `fit` would be validated on rows that its start has learned from, nor with validation
        rows that `fit` gets, which are never trained on, nor where training left a saddle point
        on the way to the best epoch.
    callback : callable, default=None
        ``callback(estimator, epoch, loss)`` is called after each epoch, with the number of the
        epoch, from 1 on, and the objective; the estimator has the parameters so far and can
        predict. If it returns True, training stops. Epochs that diverged are left out. Epochs of
        a refit are counted on; if it stops there, the model from before the refit is kept.
    init_scale : float, default=0.05
        Standard deviation of the initial random factors of a feature of size 1, in rows with
        one entry; for longer rows divided by the root of their mean number of entries.
    fit_intercept : bool, default=True
        Whether to fit the intercept ``w_0``; else it is 0.
    fit_linear : bool or list of fields, default=True
        Whether to fit the linear weights ``w_j``; else they are 0. A list names the fields whose
        features have them.
    warm_start : bool, default=False
        Whether `fit` starts from the parameters of the last one, given equal shapes, instead of
        from random factors.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial factors and of the order of rows and batches. Pass an int for
        reproducible results; they do not depend on `n_jobs`.
    n_jobs : int, default=None
        Threads; None is 1, -1 all processors.
    verbose : int, default=0
        1 shows progress on stderr: epochs, objective, and rows per second, compilation excluded.
        A terminal has one line, which is replaced; a file or a notebook gets a line every ten
        seconds. The last line says whether training converged, stopped early or reached
        `max_iter`.

    Attributes
    ----------
    intercept_ : float
        ``w_0``. This and the next two are in the units of X and y: they give `predict`.
    coef_ : ndarray of shape (n_features,)
        Linear weights ``w_j``; 0 for features that never occurred.
    components_ : ndarray of shape (n_components, n_features)
        The vectors ``v_j``, as columns; 0 for features that never occurred. With higher degrees
        those of each degree, one below the other.
    alpha_, alpha_linear_ : float or ndarray of shape (n_features,)
        `alpha` and `alpha_linear`; of "auto", what was found for each feature, 0 for features that
        never occurred.
    n_iter_ : int
        Number of epochs, or of calls of `partial_fit`. A refit is not counted.
    loss_curve_ : list of float, one an epoch
        Objective, for each unit of sample weight, of the standardised targets. A row's loss is
        taken just before the step that uses it; of "als", the objective after the epoch. Epochs
        that diverged count, too; those of a refit do not.
    validation_scores_ : list of float, one an epoch
        Scores on the validation rows. Only with early stopping.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X had names that are all strings.

    See Also
    --------
    BayesianFMRegressor : Many machines in one, with standard deviations and nothing to tune.
    FMClassifier : The same for labels.
    sklearn.linear_model.Ridge : A linear model, without interactions.

    References
    ----------
    .. [1] S. Rendle, "Factorization Machines", ICDM 2010.
    .. [2] J. Duchi, E. Hazan, Y. Singer, "Adaptive Subgradient Methods for Online Learning and
       Stochastic Optimization", JMLR 12, 2011.
    .. [3] D. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015.
    .. [4] H. B. McMahan et al., "Ad Click Prediction: a View from the Trenches", KDD 2013.
    .. [5] S. Rendle, Z. Gantner, C. Freudenthaler, L. Schmidt-Thieme, "Fast Context-aware
       Recommendations with Factorization Machines", SIGIR 2011.
    .. [6] M. Blondel, A. Fujino, N. Ueda, M. Ishihata, "Higher-Order Factorization Machines",
       NIPS 2016.
    .. [7] D. J. C. MacKay, "Bayesian Interpolation", Neural Computation 4, 1992.

    Examples
    --------
    Ratings of (user, film) pairs:

    >>> import numpy as np
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skfm import FMRegressor
    >>> rng = np.random.default_rng(0)
    >>> pairs = rng.integers(10, size=(500, 2))
    >>> likes = rng.normal(size=(10, 2)) @ rng.normal(size=(2, 10))
    >>> ratings = 3 + likes[pairs[:, 0], pairs[:, 1]]
    >>> model = make_pipeline(
    ...     OneHotEncoder(handle_unknown="ignore"), FMRegressor(random_state=0)
    ... )
    >>> bool(model.fit(pairs, ratings).score(pairs, ratings) > 0.9)
    True
    """

    _losses = tuple(targets.REGRESSION)
    _loss_parameters = "epsilon", "quantile"
    _numeric_target = True

    def __init__(
        self,
        n_components: Int = 8,
        *,
        loss: Literal[
            "squared_error", "absolute_error", "huber", "quantile", "poisson"
        ] = "squared_error",
        epsilon: Float = 1.0,
        quantile: Float = 0.5,
        solver: Literal["adagrad", "adam", "als", "ftrl", "sgd"] = "adagrad",
        alpha: Penalty = "auto",
        alpha_linear: Penalty = "auto",
        alpha_l1: Penalty = 0.0,
        alpha_l21: Penalty = 0.0,
        degree: Int = 2,
        fit_lower: bool = True,
        interactions: Sequence[Sequence[Any]] | None = None,
        feature_fields: ColumnLike | None = None,
        feature_groups: ColumnLike | None = None,
        learning_rate: Float | Literal["auto"] = "auto",
        initial_accumulator: Float = 0.1,
        batch_size: Int | Literal["auto"] = "auto",
        max_iter: Int = 300,
        tol: Float = 1e-4,
        n_iter_no_change: Int = 5,
        early_stopping: bool | Literal["auto"] = "auto",
        validation_fraction: Float = 0.1,
        scoring: str | Callable[..., float] | None = "loss",
        refit: bool = True,
        callback: Callable[..., Any] | None = None,
        init_scale: Float = 0.05,
        fit_intercept: bool = True,
        fit_linear: bool | Sequence[Any] = True,
        warm_start: bool = False,
        random_state: Seed = None,
        n_jobs: Int | None = None,
        verbose: Int = 0,
    ) -> None:
        super().__init__(
            n_components,
            loss=loss,
            solver=solver,
            alpha=alpha,
            alpha_linear=alpha_linear,
            alpha_l1=alpha_l1,
            alpha_l21=alpha_l21,
            degree=degree,
            fit_lower=fit_lower,
            interactions=interactions,
            feature_fields=feature_fields,
            feature_groups=feature_groups,
            learning_rate=learning_rate,
            initial_accumulator=initial_accumulator,
            batch_size=batch_size,
            max_iter=max_iter,
            tol=tol,
            n_iter_no_change=n_iter_no_change,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            scoring=scoring,
            refit=refit,
            callback=callback,
            init_scale=init_scale,
            fit_intercept=fit_intercept,
            fit_linear=fit_linear,
            warm_start=warm_start,
            random_state=random_state,
            n_jobs=n_jobs,
            verbose=verbose,
        )
        self.epsilon = epsilon
        self.quantile = quantile

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = validation.is_option(self.loss, "poisson")
        return tags

    def _check_parameters(self):
        super()._check_parameters()
        validation.check_number(self.epsilon, "epsilon", numbers.Real, low=0, boundaries="neither")
        validation.check_number(
            self.quantile, "quantile", numbers.Real, low=0, high=1, boundaries="neither"
        )

    @available_if(_takes_steps)
    def partial_fit(
        self, X: MatrixLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Learn from a chunk of rows, as one epoch of `fit` would.

        The first call settles the unit of y and those of the columns that occur; columns that
        come later settle theirs then. The optimizer's memory is kept from call to call; `fit`
        leaves a summary of it. The penalty counts the rows seen so far, without those of a chunk
        of ten rows or more that is passed again just as it was: passes over the same chunks are
        epochs.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_samples, n_features)
            Rows, with all columns in every call. Chunks of some thousand rows or more are
            quickest: each call also takes a few passes over the parameters.
        y : array-like of shape (n_samples,)
            Targets; those of the first call should be of the usual size.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : object
            The estimator.

        Raises
        ------
        ValueError
            As for `fit`, and if `loss` (or its `epsilon` or `quantile`), `solver`, `n_components`,
            `fit_intercept` or `fit_linear` have changed. The model stays as it was.
        """
        with all_or_nothing(self):
            return self._partial_fit(X, y, sample_weight)

    def _to_numbers(self, y, name):
        y = np.asarray(y, dtype=np.float64)
        if self.loss == "poisson" and y.min() < 0:
            raise ValueError(f"{name} must hold counts for loss='poisson': values of at least 0.")
        if self.loss == "poisson" and y.max() > targets.LARGEST_COUNT:
            raise ValueError(
                f"{name} must hold counts of at most {targets.LARGEST_COUNT:g} for "
                f"loss='poisson', not {y.max():g}; divide y by a constant."
            )
        return y

    def _make_target_transform(self, target, weight, more_will_come=False):
        if self.loss == "poisson" and not (target.any() or more_will_come):
            raise ValueError("y must hold counts for loss='poisson', not all of them 0.")
        parameter = self.quantile if self.loss == "quantile" else self.epsilon
        return targets.of_numbers(
            target, weight, self.loss, float(parameter), self.fit_intercept, more_will_come
        )

    def _show(self, intercept, coef, components):
        self.intercept_ = float(intercept[0])
        self.coef_ = coef[0]
        self.components_ = components[0]

    def predict(self, X: MatrixLike) -> NDArray[Any]:
        """Predict targets.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_samples, n_features)
            Rows; features never seen in training contribute nothing.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Predictions in the unit of the training targets, float32 for a model fitted on
            float32.

        Raises
        ------
        ValueError
            If X has values so large that a prediction is no finite number.
        """
        output = self._raw_output(X)[:, 0]
        if self.loss != "poisson":
            return output
        with np.errstate(over="ignore"):
            return validation.check_predictions(np.exp(output))


def _has_probabilities(model):
    if not validation.is_option(model.loss, "log_loss"):
        raise AttributeError(f"loss={model.loss!r} gives no probabilities; use loss='log_loss'.")
    return True


class FMClassifier(ClassifierMixin, BaseFM):
    """Factorization machine for classification, of two classes or more.

    A linear model plus all pairwise interactions, whose weights are inner products of learned
    vectors, one a feature [1]_:

    ``f(x) = w_0 + sum_j w_j x_j + sum_{i<j} <v_i, v_j> x_i x_j``

    It learns interactions also between features that rarely or never meet in training, which
    makes it the model for sparse, categorical data such as clicks. ``f`` is the log-odds of the
    second class; of more classes, each has its own ``f``, and their softmax gives the
    probabilities. All are fitted together; with ``c_i`` the sample weights they minimise

    ``sum_i c_i log_loss(y_i, f(x_i))
    + sum_j (alpha_linear w_j^2 + alpha sqrt(n_j) ||v_j||^2) / 2``

    Parameters
    ----------
    n_components : int, default=8
        Length of the vectors ``v_j``; 0 gives a linear model.
    loss : {"log_loss", "squared_hinge"}, default="log_loss"
        Loss to minimise. "squared_hinge" has no probabilities; with it each of more than two
        classes is learned against the rest.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes, by label, multiplied with the sample weights. "balanced": inverse
        to the number of rows of the class, ``h / n_rows_of_class``, with ``h`` the harmonic mean
        of these numbers: all weights together are then the effective number of rows, so that the
        penalties stay as strong beside what the rows say.
    solver : {"adagrad", "adam", "als", "ftrl", "sgd"}, default="adagrad"
        How the objective is minimised. "als" sets the parameters of one feature after the other
        to their best values, given all others [5]_: it needs no step size, and few passes over
        the rows, which it keeps in memory as columns. The others take steps on mini-batches:
        "adagrad" [2]_; "adam" [3]_, with moments that rest when a feature does not occur; "ftrl"
        [4]_, which can set weights to exactly 0; "sgd", plain gradient steps, divided by the
        root of the number of the batch's rows with the feature. The steps of "adam" and "sgd" get
        shorter like the root of the number of epochs.
    alpha : float, "auto", dict or list of float, default="auto"
        L2 penalty of the factors, at least 0. Feature j pays
        ``alpha / 2 * sqrt(n_j) * ||v_j||^2``, with ``n_j`` the weighted number of rows in which
        it is not zero. The parameter to tune first. "auto" finds a penalty for each feature
        during the fit, by empirical Bayes [7]_: how large factors are follows from the data, and
        features whose partners are little known have smaller ones. Until then, and in streams
        that begin with `partial_fit`, it is about 0.4.
    alpha_linear : float, "auto", dict or list of float, default="auto"
        L2 penalty of the linear weights, at least 0, as in ridge regression: feature j pays
        ``alpha_linear / 2 * w_j^2``. The intercept is not penalised. "auto" as for `alpha`.
    alpha_l1 : float, dict or list of float, default=0.0
        L1 penalty of the linear weights, at least 0, for "ftrl": ``alpha_l1 * |w_j|``. It sets
        those that matter little to 0.
    alpha_l21 : float, dict or list of float, default=0.0
        Penalty of the length of factors, at least 0, for "ftrl":
        ``alpha_l21 * sqrt(n_j) * ||v_j||``. It sets the factors of some features to 0 altogether.
    degree : int, default=2
        Largest number of features that are multiplied, from 2 to 10. Above 2, each degree has
        `n_components` factors of its own, and ``sum <v_i, v_j> x_i x_j`` is followed by sums of
        products over all sets of three and more features [6]_. That takes longer.
    fit_lower : bool, default=True
        Whether products of fewer than `degree` features count, too. (The intercept and the
        linear weights have parameters of their own.)
    interactions : list of pairs of fields, default=None
        Which pairs of features are multiplied: those whose fields are a pair of the list, in
        either order; ``("user", "user")`` is within a field. None is all pairs. For degree 2.
    feature_fields : array-like of shape (n_features,), default=None
        A label for each feature, for `interactions` and `fit_linear`. None takes those that X
        carries from :class:`~skfm.preprocessing.EventEncoder`.
    feature_groups : array-like of shape (n_features,), default=None
        A label for each feature, for penalties that differ. With groups, each of the four
        penalties may be a number for all, a dict from labels to numbers, or a list with a number
        for each group in sorted order of the labels.
    learning_rate : float or "auto", default="auto"
        Length of the first steps, above 0; "als" takes none. Features are scaled inside to a root
        mean square of 1 over their entries, so it needs no adjustment to their units. "auto" is
        0.15 for "adagrad", 0.02 for "adam", 0.2 for "ftrl", 0.05 for "sgd".
    initial_accumulator : float, default=0.1
        What the sums of squared gradients of "adagrad" and "ftrl" start at, above 0. A small
        value lets the first steps be long however small the gradient.
    batch_size : int or "auto", default="auto"
        Rows a step. "auto" takes all rows of data with at most 1024, so that row order does not
        matter and weights equal repetition, and 1024 to 4096 of larger data, 128 for "sgd", for
        which chunks of `partial_fit` are as large as the stream so far.
    max_iter : int, default=300
        Largest number of epochs: passes over the rows, or for "als" over the columns.
    tol : float, default=1e-4
        Training stops when the objective, for each unit of sample weight, has not fallen by
        `tol` below the best so far in `n_iter_no_change` epochs in a row: by less where the
        objective is below 0.1, down to `tol` times ten times the objective.
    n_iter_no_change : int, default=5
        See `tol`. Also the number of bad epochs after which training starts again with smaller
        steps.
    early_stopping : bool or "auto", default="auto"
        Whether training also stops when the score on validation rows has not risen by `tol` above
        the best so far in `n_iter_no_change` epochs in a row. The parameters of the best epoch
        are kept, or see `refit`. "auto": if `fit` gets validation rows.
    validation_fraction : float or int, default=0.1
        Share, or number, of the rows that are set aside for `early_stopping` if `fit` gets no
        validation rows: random ones, of each class its share. Where rows have a time
        order, that is too easy a test; pass the latest rows as `X_val` and `y_val` instead.
    scoring : str, callable or None, default="loss"
        The score for `early_stopping`: minus the mean loss, or a scorer of scikit-learn's, by name
        or as a function of (estimator, X, y). None is the method `score`.
    refit : bool, default=True
        Whether rows set aside by ``early_stopping=True`` are trained on in the end: the model is
        fitted again on all rows, with the number of the best epoch as `max_iter`. If False, the
        parameters of the best epoch are kept. There is no refit with ``warm_start=True``, as the
        next `fit` would be validated on rows that its start has learned from, nor with validation
        rows that `fit` gets, which are never trained on, nor where training left a saddle point
        on the way to the best epoch.
    callback : callable, default=None
        ``callback(estimator, epoch, loss)`` is called after each epoch, with the number of the
        epoch, from 1 on, and the objective; the estimator has the parameters so far and can
        predict. If it returns True, training stops. Epochs that diverged are left out. Epochs of
        a refit are counted on; if it stops there, the model from before the refit is kept.
    init_scale : float, default=0.05
        Standard deviation of the initial random factors of a feature of size 1, in rows with
        one entry; for longer rows divided by the root of their mean number of entries.
    fit_intercept : bool, default=True
        Whether to fit the intercept ``w_0``; else it is 0.
    fit_linear : bool or list of fields, default=True
        Whether to fit the linear weights ``w_j``; else they are 0. A list names the fields whose
        features have them.
    warm_start : bool, default=False
        Whether `fit` starts from the parameters of the last one, given equal shapes and
        classes, instead of from random factors.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial factors and of the order of rows and batches. Pass an int for
        reproducible results; they do not depend on `n_jobs`.
    n_jobs : int, default=None
        Threads; None is 1, -1 all processors.
    verbose : int, default=0
        1 shows progress on stderr: epochs, objective, and rows per second, compilation excluded.
        A terminal has one line, which is replaced; a file or a notebook gets a line every ten
        seconds. The last line says whether training converged, stopped early or reached
        `max_iter`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        ``w_0``. This and the next two are in the units of X: they give `decision_function`.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Linear weights ``w_j``; 0 for features that never occurred.
    components_ : ndarray of shape ([n_classes,] n_components, n_features)
        The vectors ``v_j``, as columns; 0 for features that never occurred. Of two classes
        without the first axis.
    alpha_, alpha_linear_ : float or ndarray of shape (n_features,)
        `alpha` and `alpha_linear`; of "auto", what was found for each feature, 0 for features that
        never occurred.
    n_iter_ : int
        Number of epochs, or of calls of `partial_fit`. A refit is not counted.
    loss_curve_ : list of float, one an epoch
        Objective, for each unit of sample weight. A row's loss is taken just before the step
        that uses it; of "als", the objective is that after the epoch. Epochs that diverged count,
        too; those of a refit do not.
    validation_scores_ : list of float, one an epoch
        Scores on the validation rows. Only with early stopping.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X had names that are all strings.

    See Also
    --------
    BayesianFMClassifier : Many machines in one, for two classes, with nothing to tune.
    FMRegressor : The same for numbers.
    sklearn.linear_model.LogisticRegression : A linear model, without interactions.

    References
    ----------
    .. [1] S. Rendle, "Factorization Machines", ICDM 2010.
    .. [2] J. Duchi, E. Hazan, Y. Singer, "Adaptive Subgradient Methods for Online Learning and
       Stochastic Optimization", JMLR 12, 2011.
    .. [3] D. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015.
    .. [4] H. B. McMahan et al., "Ad Click Prediction: a View from the Trenches", KDD 2013.
    .. [5] S. Rendle, Z. Gantner, C. Freudenthaler, L. Schmidt-Thieme, "Fast Context-aware
       Recommendations with Factorization Machines", SIGIR 2011.
    .. [6] M. Blondel, A. Fujino, N. Ueda, M. Ishihata, "Higher-Order Factorization Machines",
       NIPS 2016.
    .. [7] D. J. C. MacKay, "Bayesian Interpolation", Neural Computation 4, 1992.

    Examples
    --------
    Exclusive or: no linear model can learn it.

    >>> from skfm import FMClassifier
    >>> X = [[0, 0], [0, 1], [1, 0], [1, 1]] * 50
    >>> y = ["no", "yes", "yes", "no"] * 50
    >>> model = FMClassifier(alpha=0.1, random_state=0).fit(X, y)
    >>> model.predict([[0, 1], [1, 1]])
    array(['yes', 'no'], dtype='<U3')
    >>> model.predict_proba([[0, 1], [1, 1]]).shape
    (2, 2)
    """

    _losses = tuple(targets.CLASSIFICATION)
    _loss_parameters = ()
    _numeric_target = False

    def __init__(
        self,
        n_components: Int = 8,
        *,
        loss: Literal["log_loss", "squared_hinge"] = "log_loss",
        class_weight: Mapping[Any, Float] | Literal["balanced"] | None = None,
        solver: Literal["adagrad", "adam", "als", "ftrl", "sgd"] = "adagrad",
        alpha: Penalty = "auto",
        alpha_linear: Penalty = "auto",
        alpha_l1: Penalty = 0.0,
        alpha_l21: Penalty = 0.0,
        degree: Int = 2,
        fit_lower: bool = True,
        interactions: Sequence[Sequence[Any]] | None = None,
        feature_fields: ColumnLike | None = None,
        feature_groups: ColumnLike | None = None,
        learning_rate: Float | Literal["auto"] = "auto",
        initial_accumulator: Float = 0.1,
        batch_size: Int | Literal["auto"] = "auto",
        max_iter: Int = 300,
        tol: Float = 1e-4,
        n_iter_no_change: Int = 5,
        early_stopping: bool | Literal["auto"] = "auto",
        validation_fraction: Float = 0.1,
        scoring: str | Callable[..., float] | None = "loss",
        refit: bool = True,
        callback: Callable[..., Any] | None = None,
        init_scale: Float = 0.05,
        fit_intercept: bool = True,
        fit_linear: bool | Sequence[Any] = True,
        warm_start: bool = False,
        random_state: Seed = None,
        n_jobs: Int | None = None,
        verbose: Int = 0,
    ) -> None:
        super().__init__(
            n_components,
            loss=loss,
            solver=solver,
            alpha=alpha,
            alpha_linear=alpha_linear,
            alpha_l1=alpha_l1,
            alpha_l21=alpha_l21,
            degree=degree,
            fit_lower=fit_lower,
            interactions=interactions,
            feature_fields=feature_fields,
            feature_groups=feature_groups,
            learning_rate=learning_rate,
            initial_accumulator=initial_accumulator,
            batch_size=batch_size,
            max_iter=max_iter,
            tol=tol,
            n_iter_no_change=n_iter_no_change,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            scoring=scoring,
            refit=refit,
            callback=callback,
            init_scale=init_scale,
            fit_intercept=fit_intercept,
            fit_linear=fit_linear,
            warm_start=warm_start,
            random_state=random_state,
            n_jobs=n_jobs,
            verbose=verbose,
        )
        self.class_weight = class_weight

    @available_if(_takes_steps)
    def partial_fit(
        self,
        X: MatrixLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Learn from a chunk of rows, as one epoch of `fit` would.

        The first call settles the classes and the units of the columns that occur; columns that
        come later settle theirs then. The optimizer's memory is kept from call to call; `fit`
        leaves a summary of it. The penalty counts the rows seen so far, without those of a chunk
        of ten rows or more that is passed again just as it was: passes over the same chunks are
        epochs.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_samples, n_features)
            Rows, with all columns in every call. Chunks of some thousand rows or more are
            quickest: each call also takes a few passes over the parameters.
        y : array-like of shape (n_samples,)
            Labels.
        classes : array-like of shape (n_classes,), default=None
            All labels that may occur; needed in the first call.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : object
            The estimator.

        Raises
        ------
        ValueError
            As for `fit`; for labels that are not among the classes; with
            ``class_weight="balanced"``, which needs all rows at once; and if `loss`, `solver`,
            `n_components`, `fit_intercept` or `fit_linear` have changed. The model stays as it
            was.
        """
        with all_or_nothing(self):
            self._check_classes(classes)
            return self._partial_fit(X, y, sample_weight)

    def _check_classes(self, classes):
        if isinstance(self.class_weight, str):
            raise ValueError(
                f"class_weight={self.class_weight!r} needs all rows at once; for partial_fit pass "
                "the weights as a dict."
            )
        before = getattr(self, "classes_", None)
        if classes is None:
            if before is None:
                raise ValueError("classes must be passed on the first call to partial_fit.")
            return
        try:
            classes = np.unique(classes)
        except (TypeError, ValueError) as error:
            raise type(error)(
                f"classes must be a list of labels of one kind, strings or numbers ({error})."
            ) from error
        if classes.size < 2:
            raise ValueError(f"classes must hold at least two labels; got {classes}.")
        if before is not None and not np.array_equal(before, classes):
            raise ValueError(
                f"classes must be the same as before, {before}; got {classes}. Call fit, or "
                "partial_fit of a clone, to start again."
            )
        self.classes_ = classes

    def _set_classes(self, y):
        check_classification_targets(y)
        before = getattr(self, "classes_", None)
        classes = np.unique(y)
        if classes.size < 2:
            raise ValueError(
                "FMClassifier needs samples of at least two classes in y (with positive "
                f"weight); got one class: {classes.tolist()[0]!r}."
            )
        if self.warm_start and before is not None and not np.array_equal(before, classes):
            raise ValueError(
                f"warm_start needs the same classes as before: got {classes}, the fitted model "
                f"has {before}. Set warm_start=False to start again."
            )
        self.classes_ = classes

    def _to_numbers(self, y, name):
        check_classification_targets(y)
        # Much quicker than return_inverse of unique().
        try:
            labels = np.minimum(np.searchsorted(self.classes_, y), self.classes_.size - 1)
        except TypeError as error:
            raise ValueError(
                f"{name} has labels of another kind than the classes, {self.classes_.tolist()} "
                f"({error})."
            ) from error
        # An array also where labels are of another kind, which old NumPy answers by one bool.
        unknown = np.broadcast_to(self.classes_[labels] != y, np.shape(y))
        if unknown.any():
            raise ValueError(
                f"{name} has the label {y[unknown].tolist()[0]!r}, which is not among the "
                f"classes, {self.classes_.tolist()}."
            )
        return labels

    def _make_weight(self, y, weight):
        if self.class_weight is None:
            return weight
        labels = self._to_numbers(y, "y")
        if validation.is_option(self.class_weight, "balanced"):
            factors = _balanced(np.bincount(labels, weight, self.classes_.size))
        else:
            factors = compute_class_weight(self.class_weight, classes=self.classes_, y=y)
        if not (np.isfinite(factors) & (factors > 0)).all():
            raise ValueError("class_weight must give each class a positive, finite weight.")
        weight = weight * factors[labels].astype(weight.dtype)
        total = weight.sum(dtype=np.float64)
        if not (weight > 0).all() or total > validation.largest_sum(weight.dtype):
            raise ValueError(
                f"class_weight gives weights that are too small or large for {weight.dtype}."
            )
        return weight

    def _make_target_transform(self, target, weight, more_will_come=False):
        n_classes = self.classes_.size
        return targets.of_classes(target, weight, n_classes, self.loss, self.fit_intercept)

    def _show(self, intercept, coef, components):
        self.intercept_ = intercept
        self.coef_ = coef
        self.components_ = components[0] if intercept.size == 1 else components

    def decision_function(self, X: MatrixLike) -> FloatArray:
        """Raw outputs: log-odds of the second class, or one score a class before softmax.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_samples, n_features)
            Rows; features never seen in training contribute nothing.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Scores.
        """
        output = self._raw_output(X)
        return output[:, 0] if output.shape[1] == 1 else output

    def predict(self, X: MatrixLike) -> NDArray[Any]:
        """Predict labels.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_samples, n_features)
            Rows; features never seen in training contribute nothing.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            The most probable label of each row.
        """
        output = self._raw_output(X)
        if output.shape[1] == 1:
            return self.classes_[(output[:, 0] > 0).astype(np.intp)]
        return self.classes_[output.argmax(axis=1)]

    @available_if(_has_probabilities)
    def predict_proba(self, X: MatrixLike) -> FloatArray:
        """Probabilities of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_samples, n_features)
            Rows; features never seen in training contribute nothing.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            Columns in the order of ``classes_``; rows sum to 1.
        """
        output = self._raw_output(X)
        if output.shape[1] == 1:
            return _two_probabilities(output[:, 0])
        return softmax(output, axis=1)

    @available_if(_has_probabilities)
    def predict_log_proba(self, X: MatrixLike) -> FloatArray:
        """Logarithms of the probabilities, exact also where those round to 0.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_samples, n_features)
            Rows; features never seen in training contribute nothing.

        Returns
        -------
        log_probabilities : ndarray of shape (n_samples, n_classes)
            Columns in the order of ``classes_``.
        """
        output = self._raw_output(X)
        if output.shape[1] == 1:
            return log_expit(output * np.array([-1, 1], dtype=output.dtype))
        return log_softmax(output, axis=1)


def _balanced(count):
    """Weights of classes of so many rows that give each class the same sum.

    They are scaled to sum up to the effective number of rows, ``sum(w)^2 / sum(w^2)``. Whatever
    their scale, rows say the same of the parameters, with the same noise, and only beside the
    penalties does it matter: with a mean of 1, one row in a hundred would count as half of the
    evidence, and the model would learn the noise of these rows.
    """
    occurs = count > 0  # all do, but of validation rows
    count = np.where(occurs, count, 1)
    return 1 / (count * np.mean(1 / count, where=occurs))


def _two_probabilities(z):
    """Probabilities of both classes from log-odds: one exponential, exact in both tails."""
    rest = np.exp(-np.abs(z))
    large = 1 / (1 + rest)
    small = rest * large
    first = np.where(z > 0, small, large)
    return np.stack([first, np.where(z > 0, large, small)]).T  # two columns, each contiguous
