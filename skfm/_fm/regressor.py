"""FMRegressor: targets as numbers, and predictions from raw outputs."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin

from skfm._fm import target_transform as targets
from skfm._fm.base import BaseFM
from skfm._fm.partial_fit import takes_steps
from skfm._utils import validation
from skfm._utils.estimator import all_or_nothing
from skfm._utils.parameters import BETWEEN_0_AND_1, POSITIVE, Options
from skfm._utils.public import public
from skfm._utils.typing import (
    ColumnLike,
    Float,
    Int,
    MatrixLike,
    Penalty,
    Seed,
    available_if,
)


@public("skfm")
class FMRegressor(RegressorMixin, BaseFM):
    """Factorization machine for regression.

    A factorization machine is a linear model with all pairwise interactions of the features. The
    weight of an interaction is the inner product of two learned vectors, one for each feature
    [1]_:

    ``f(x) = w_0 + sum_j w_j x_j + sum_{i<j} <v_i, v_j> x_i x_j``

    The model can therefore learn interactions between features that occur together rarely or
    never, as in sparse, categorical data such as one-hot encoded ids. For targets standardized to
    mean 0 and variance 1, the objective is

    ``sum_i c_i (f(x_i) - y_i)^2 / 2 + sum_j (alpha_linear w_j^2 + alpha sqrt(n_j) ||v_j||^2) / 2``

    where ``c_i`` are the sample weights. Read more in the :doc:`user guide </model>`.

    Parameters
    ----------
    n_components : int, default=8
        Number of factors, the length of the vectors ``v_j``. 0 gives a linear model.
    loss : {"squared_error", "absolute_error", "huber", "quantile", "poisson"}, \
            default="squared_error"
        Loss to minimize. "absolute_error" estimates the median, and "quantile" the quantile given
        by `quantile`. "huber" is quadratic for small errors and linear for large ones. "poisson",
        for counts, is half the Poisson deviance with a log link: `predict` returns the mean, and y
        is not standardized.
    epsilon : float, default=1.0
        Error at which "huber" changes from quadratic to linear, in standard deviations of y. Must
        be positive.
    quantile : float, default=0.5
        Quantile that ``loss="quantile"`` estimates, between 0 and 1.
    solver : {"adagrad", "adam", "als", "ftrl", "sgd"}, default="adagrad"
        Algorithm that minimizes the objective. "als" is block coordinate descent: it sets the
        parameters of one feature after the other to their optimum, given all others [5]_. It has
        no learning rate and needs few passes, but stores a copy of X in column format. The other
        solvers take gradient steps on mini-batches. "adagrad" [2]_ needs the least tuning. "adam"
        [3]_ updates its moments lazily, only for the features that occur in the mini-batch. "ftrl"
        [4]_ can set parameters to exactly 0. "sgd" takes plain gradient steps, divided by the
        square root of the number of rows in the mini-batch with the feature. For "adam" and "sgd",
        the learning rate decays as ``1 / sqrt(1 + epoch / 10)``.
    alpha : float, "auto", dict or list of float, default="auto"
        L2 regularization strength of the factors, non-negative. The penalty of feature j is
        ``alpha / 2 * sqrt(n_j) * ||v_j||^2``, for y scaled to variance 1, where ``n_j`` is the
        weighted number of rows in which the feature is nonzero. Tune this parameter first. "auto"
        estimates a strength for each feature during the fit by empirical Bayes [7]_, based on the
        size of the factors. A feature is penalized more if the features it interacts with have
        uncertain parameters. The initial value is about 1; with `partial_fit` alone, it does not
        change.
    alpha_linear : float, "auto", dict or list of float, default="auto"
        L2 regularization strength of the linear weights, non-negative. As in ridge regression, the
        penalty of feature j is ``alpha_linear / 2 * w_j^2``, and the intercept is not penalized.
        "auto" estimates a strength for each feature, as for `alpha`.
    alpha_l1 : float, dict or list of float, default=0.0
        L1 regularization strength of the linear weights, non-negative, for "ftrl":
        ``alpha_l1 * |w_j|``. It sets unimportant weights to 0.
    alpha_l21 : float, dict or list of float, default=0.0
        Group lasso regularization strength of the factors, non-negative, for "ftrl":
        ``alpha_l21 * sqrt(n_j) * ||v_j||``. It sets all factors of unimportant features to 0.
    alpha_fields : float, default=1e-3
        L2 regularization strength of the weights or matrices of pairs of fields, non-negative. The
        penalty is `alpha_fields`, times half the total sample weight, times the squared distance
        from the plain model (see Notes). It also keeps weights from growing and vectors from
        shrinking, which would evade `alpha`. Tune it if `field_interactions` is "weighted" or
        "matrixed": from 1e-4, if fields interact very differently, to 1e-2.
    degree : int, default=2
        Maximum degree of the interactions, from 2 to 10. A degree of 3 adds the interactions of
        three features, a degree of 4 also those of four, and so on [6]_. Each degree has
        `n_components` factors of its own. The training time is proportional to the degree.
    fit_lower : bool, default=True
        Whether to also fit the interactions of fewer than `degree` features. For the intercept and
        the linear weights, see `fit_intercept` and `fit_linear`.
    interactions : list of pairs of fields, default=None
        Pairs of fields whose features interact, in either order. ``("user", "user")`` stands for
        the interactions within a field. None means all pairs. Only for ``degree=2``.
    field_interactions : {"plain", "weighted", "matrixed", "aware"}, default="plain"
        How the features of two fields interact. "plain" multiplies their vectors. The other values
        have parameters of their own for each pair of fields. They are made for tables of
        categories, where each column is a field: "weighted" learns a weight for each pair of
        fields (FwFM), "matrixed" a matrix (FmFM), and "aware" a vector of each feature for each
        partner field (FFM). See Notes. Features of the same field always interact by the product
        of their vectors. Only for ``degree=2``; "als" cannot fit "matrixed".
    feature_fields : array-like of shape (n_features,), default=None
        Field of each feature, as a label, for `interactions`, `field_interactions` and
        `fit_linear`. None uses the fields that the encoders of :mod:`skfm.preprocessing` attach to
        their output, if X has them. If it has none, `field_interactions` takes each column as a
        field of its own, if there are at most 100.
    feature_groups : array-like of shape (n_features,), default=None
        Group of each feature, as a label, for different regularization strengths. Each of the four
        penalties may then be a number for all groups, a dict that maps labels to numbers, or a
        list of numbers in the order of the sorted labels.
    learning_rate : float or "auto", default="auto"
        Initial learning rate, positive; "als" has none. Features are scaled internally to a root
        mean square of 1 over their nonzero entries, so the learning rate does not depend on their
        units. "auto" is 0.1 for "adagrad", 0.02 for "adam", 0.2 for "ftrl" and 0.05 for "sgd".
    initial_accumulator : float, default=0.1
        Initial value of the accumulated squared gradients of "adagrad" and "ftrl", positive. With
        a small value, the first steps are long even if the gradients are small.
    batch_size : int or "auto", default="auto"
        Mini-batch size. "auto" uses all rows if there are at most 1024. In this case, their order
        does not matter, and sample weights are equivalent to repeated rows. For larger data,
        "auto" is 1024 to 4096, or 128 for "sgd". In `partial_fit`, "sgd" counts all rows seen so
        far. With `field_interactions` and many fields, "auto" is less, down to 64, because each
        row needs memory for each field, or for each pair of fields if they are "aware".
    max_iter : int, default=300
        Maximum number of epochs: passes over the rows or, for "als", over the columns.
    tol : float, default=1e-4
        Tolerance of the stopping criterion. Training stops when the objective, divided by the
        total sample weight, has not improved on its best value by at least `tol` for
        `n_iter_no_change` consecutive epochs. If the objective is below 0.1, the tolerance is
        smaller, down to ``10 * tol`` times the objective.
    n_iter_no_change : int, default=5
        Number of epochs without improvement after which training stops; see `tol`. Training also
        restarts with a smaller learning rate after this number of consecutive epochs that diverge.
    early_stopping : bool or "auto", default="auto"
        Whether to also stop training when the score on validation data has not improved on its
        best value by at least `tol` for `n_iter_no_change` consecutive epochs. The model keeps the
        parameters of the best epoch, unless it is refitted (see `refit`). "auto" uses early
        stopping if `fit` gets validation data.
    validation_fraction : float or int, default=0.1
        Fraction or number of the rows that are held out for `early_stopping` if `fit` gets no
        validation data. They are drawn at random. If the rows are ordered in time, a random split
        is too optimistic: pass the latest rows as `X_val` and `y_val` instead.
    scoring : str, callable or None, default="loss"
        Score for `early_stopping`: "loss" for the negative mean loss, the name of a scikit-learn
        scorer, a callable with the signature ``scoring(estimator, X, y)``, or None for the method
        `score`.
    refit : bool, default=True
        Whether to refit the model on all rows, for the best number of epochs, if
        ``early_stopping=True`` has held out rows. If False, the model keeps the parameters of the
        best epoch. There is no refit in three cases: if `fit` gets validation data, because these
        are never used for training; with ``warm_start=True``, because the next `fit` would be
        validated on rows that its initial parameters were trained on; and if training left a
        saddle point before the best epoch.
    callback : callable, default=None
        ``callback(estimator, epoch, loss)`` is called after each epoch, with the number of the
        epoch, starting at 1, and the objective. The estimator has the current parameters and can
        be used for predictions. Training stops if the callback returns True. It is not called for
        epochs that diverged. The epochs of a refit continue the numbering; if the callback stops a
        refit, the model keeps its parameters from before the refit.
    init_scale : float, default=0.05
        Scale of the initial random factors. Their standard deviation is `init_scale`, divided by
        the square root of the mean number of nonzero entries per row, for features scaled to a
        root mean square of 1.
    fit_intercept : bool, default=True
        Whether to fit the intercept ``w_0``. If False, it is 0.
    fit_linear : bool or list of fields, default=True
        Whether to fit the linear weights ``w_j``. If False, they are 0. A list contains the fields
        whose features have linear weights.
    warm_start : bool, default=False
        Whether `fit` starts from the parameters of the previous fit instead of random factors. The
        shapes of the parameters must be the same.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial factors and of the order of rows and mini-batches. Pass an int for
        reproducible results, which do not depend on `n_jobs`.
    n_jobs : int, default=None
        Number of threads. None means 1 unless in a `joblib.parallel_config` context, and -1 means
        all processors.
    verbose : int, default=0
        If 1, progress is written to stderr: the epoch, the objective, and the rows per second,
        without compilation. A terminal shows a single line that is updated; a file or a notebook
        gets a line every ten seconds. The last line states whether training converged, stopped
        early or reached `max_iter`.

    Attributes
    ----------
    intercept_ : float
        Intercept ``w_0``. `intercept_`, `coef_` and `components_` are in the units of X and y and
        define `predict`. They are read-only if a column of X is far from zero: predictions then
        use the parameters of the centered column.
    coef_ : ndarray of shape (n_features,)
        Linear weights ``w_j``; 0 for features that do not occur in training.
    components_ : ndarray of shape (n_components, n_features)
        Vectors ``v_j``, as columns; 0 for features that do not occur in training. With a higher
        `degree`, the vectors of each degree are stacked along the first axis.
        With ``field_interactions="aware"``, the shape is (n_fields, n_components, n_features):
        ``components_[b]`` are the vectors for the partner field ``fields_[b]``.
    fields_ : ndarray of shape (n_fields,)
        Labels of the fields, unless `field_interactions` is "plain".
    field_weights_ : ndarray of shape (n_fields, n_fields)
        Weights ``r_ab``, a symmetric matrix. It is 0 for pairs that do not interact, and 1 within
        a field. Only with ``field_interactions="weighted"``.
    field_matrices_ : ndarray of shape (n_fields, n_fields, n_components, n_components)
        Matrices ``M_ab``, where ``M_ba`` is the transpose. It is 0 for pairs that do not interact,
        and the identity matrix within a field. Only with ``field_interactions="matrixed"``.
    alpha_, alpha_linear_ : float or ndarray of shape (n_features,)
        Regularization strengths that were used: `alpha` and `alpha_linear` or, for "auto", the
        estimates for each feature. The estimates are 0 for features that do not occur in training.
    n_iter_ : int
        Number of epochs, or of calls of `partial_fit`. The epochs of a refit do not count.
    loss_curve_ : list of float
        Objective of each epoch, divided by the total sample weight, for the standardized targets.
        The loss of a row is computed just before the step that uses it; for "als", the objective
        is computed after the epoch. The list includes epochs that diverged, but not those of a
        refit.
    validation_scores_ : list of float
        Score of each epoch on the validation data. Only with early stopping.
    n_features_in_ : int
        Number of features seen during `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features seen during `fit`. Defined only if all names are strings.

    See Also
    --------
    BayesianFMRegressor : Averages over posterior samples; predictive standard deviations.
    FMClassifier : Factorization machine for classification.
    sklearn.linear_model.Ridge : Linear model without interactions.

    Notes
    -----
    With `field_interactions`, feature i belongs to field ``a``, feature j to field ``b``, and the
    inner product ``<v_i, v_j>`` is replaced by:

    - "weighted": ``r_ab <v_i, v_j>``, with a weight ``r_ab`` [8]_;
    - "matrixed": ``v_i' M_ab v_j``, with a matrix ``M_ab`` [9]_;
    - "aware": ``<v_i[b], v_j[a]>``, where each feature has a vector for each partner field [10]_.

    Weights and matrices start at 1 and at the identity matrix, and are penalized by their
    squared distance from there; see `alpha_fields`.

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
    .. [8] J. Pan et al., "Field-weighted Factorization Machines for Click-Through Rate Prediction
       in Display Advertising", WWW 2018.
    .. [9] Y. Sun, J. Pan, A. Zhang, A. Flores, "FM^2: Field-matrixed Factorization Machines for
       Recommender Systems", WWW 2021.
    .. [10] Y. Juan, Y. Zhuang, W.-S. Chin, C.-J. Lin, "Field-aware Factorization Machines for CTR
       Prediction", RecSys 2016.

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

    _constraints: ClassVar[dict] = BaseFM._constraints | {
        "loss": [Options(*targets.REGRESSION)],
        "epsilon": [POSITIVE],
        "quantile": [BETWEEN_0_AND_1],
    }
    _loss_parameters = "epsilon", "quantile"

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
        alpha_fields: Float = 1e-3,
        degree: Int = 2,
        fit_lower: bool = True,
        interactions: Sequence[Sequence[Any]] | None = None,
        field_interactions: Literal["plain", "weighted", "matrixed", "aware"] = "plain",
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
            alpha_fields=alpha_fields,
            degree=degree,
            fit_lower=fit_lower,
            interactions=interactions,
            field_interactions=field_interactions,
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

    @available_if(takes_steps)
    def partial_fit(
        self, X: MatrixLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Train for one epoch on a chunk of rows.

        The first call determines the scale of y. The scale of a column is determined by the first
        chunk in which the column occurs. The state of the optimizer is kept between calls; after
        `fit`, only a summary of it is available. The penalties depend on the number of rows seen
        so far. A chunk of at least ten rows that is passed again unchanged is not counted twice. A
        loop over the same chunks is therefore equivalent to several epochs on the same data.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_samples, n_features)
            Rows, with the same columns in every call. A call costs what its rows and their columns
            cost, whatever the number of features, except for the first call after `fit`, and if
            columns are far from zero in all rows. Chunks of thousands of rows are quicker for
            each row.
        y : array-like of shape (n_samples,)
            Targets. The first call should contain targets of a typical scale.
        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights.

        Returns
        -------
        self : object
            The estimator.

        Raises
        ------
        ValueError
            As for `fit`, and if `loss` (or its `epsilon` or `quantile`), `solver`, `n_components`,
            `fit_intercept` or `fit_linear` have changed. The model is left unchanged.
        """
        with all_or_nothing(self):
            return self._partial_fit(X, y, sample_weight)

    def _to_numbers(self, y, name):
        y = np.asarray(y, dtype=np.float64)
        if self.loss == "poisson" and y.min() < 0:
            raise ValueError(
                f"{name} must contain counts for loss='poisson', which are at least 0."
            )
        if self.loss == "poisson" and y.max() > targets.LARGEST_COUNT:
            raise ValueError(
                f"{name} must contain counts of at most {targets.LARGEST_COUNT:g} for "
                f"loss='poisson'; got {y.max():g}; divide y by a constant."
            )
        return y

    def _make_target_transform(self, known, more_will_come=False):
        needs_counts = self.loss == "poisson" and not more_will_come
        if needs_counts and not any(known.each(lambda y, _: y.any())):
            raise ValueError("For loss='poisson', y must contain at least one positive count.")
        parameter = self.quantile if self.loss == "quantile" else self.epsilon
        return targets.of_numbers(
            known, self.loss, float(parameter), self.fit_intercept, more_will_come
        )

    def _shown(self, intercept, coef, components):
        return {
            "intercept_": float(intercept[0]),
            "coef_": coef[0],
            "components_": components[0],
        }

    def predict(self, X: MatrixLike) -> NDArray[Any]:
        """Predict targets.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_samples, n_features)
            Rows. Features that do not occur in training contribute nothing.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Predictions in the unit of the training targets. They are float32 if the model was
            fitted on float32.

        Raises
        ------
        ValueError
            If X has values so large that a prediction is not finite.
        """
        output = self._raw_output(X)[:, 0]
        if self._loss_of_outputs != "poisson":
            return output
        with np.errstate(over="ignore"):
            return validation.check_predictions(np.exp(output))
