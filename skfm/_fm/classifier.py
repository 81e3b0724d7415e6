"""FMClassifier: labels as numbers, class weights, and probabilities from raw outputs."""

import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_expit, log_softmax, softmax
from sklearn.base import ClassifierMixin
from sklearn.utils import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets

from skfm._fm import target_transform as targets
from skfm._fm.base import BaseFM
from skfm._fm.labels import check_classes
from skfm._fm.partial_fit import takes_steps
from skfm._utils import validation
from skfm._utils.estimator import all_or_nothing
from skfm._utils.parameters import Options
from skfm._utils.public import public
from skfm._utils.sorted_search import find_sorted
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


def _has_probabilities(model):
    loss = model._loss_of_outputs
    if not validation.is_option(loss, "log_loss"):
        raise AttributeError(
            f"predict_proba is not available for loss={loss!r}; use loss='log_loss'."
        )
    return True


@public("skfm")
class FMClassifier(ClassifierMixin, BaseFM):
    """Factorization machine for binary and multiclass classification.

    A factorization machine is a linear model with all pairwise interactions of the features. The
    weight of an interaction is the inner product of two learned vectors, one for each feature
    [1]_:

    ``f(x) = w_0 + sum_j w_j x_j + sum_{i<j} <v_i, v_j> x_i x_j``

    The model can therefore learn interactions between features that occur together rarely or
    never, as in sparse, categorical data such as clicks. For binary problems, ``f`` is the
    log-odds of the second class. For multiclass problems, each class has its own ``f``. All of
    them are fitted jointly, and their softmax gives the predicted probabilities. The objective is

    ``sum_i c_i log_loss(y_i, f(x_i))
    + sum_j (alpha_linear w_j^2 + alpha sqrt(n_j) ||v_j||^2) / 2``

    where ``c_i`` are the sample weights. Read more in the :doc:`user guide </model>`.

    Parameters
    ----------
    n_components : int, default=8
        Number of factors, the length of the vectors ``v_j``. 0 gives a linear model.
    loss : {"log_loss", "squared_hinge"}, default="log_loss"
        Loss to minimize. "squared_hinge" does not support `predict_proba`, and multiclass problems
        are then fitted one-vs-rest.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes, by label. The sample weights are multiplied by them. "balanced"
        weights each class by ``h / n_rows_of_class``, where ``h`` is the harmonic mean of the
        numbers of rows of all classes. The total weight is then the effective number of rows, so
        that the strength of the regularization relative to the loss is preserved.
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
        ``alpha / 2 * sqrt(n_j) * ||v_j||^2``, where ``n_j`` is the weighted number of rows in
        which the feature is nonzero. Tune this parameter first. "auto" estimates a strength for
        each feature during the fit by empirical Bayes [7]_, based on the size of the factors. A
        feature is penalized more if the features it interacts with have uncertain parameters. The
        initial value is about 0.4; with `partial_fit` alone, it does not change.
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
        units. "auto" is 0.15 for "adagrad", 0.02 for "adam", 0.2 for "ftrl" and 0.05 for "sgd".
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
        validation data. They are drawn at random, stratified by class. If the rows are ordered in
        time, a random split is too optimistic: pass the latest rows as `X_val` and `y_val`
        instead.
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
        shapes of the parameters and the classes must be the same.
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
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercept ``w_0``. `intercept_`, `coef_` and `components_` are in the units of X and define
        `decision_function`. They are read-only if a column of X is far from zero: outputs are then
        computed from the parameters of the centered column.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Linear weights ``w_j``; 0 for features that do not occur in training.
    components_ : ndarray of shape ([n_classes,] n_components, n_features)
        Vectors ``v_j``, as columns; 0 for features that do not occur in training. There is no
        first axis for binary problems.
        With ``field_interactions="aware"``, the shape is ([n_classes,] n_fields, n_components,
        n_features): ``components_[..., b, :, :]`` are the vectors for the partner field
        ``fields_[b]``.
    fields_ : ndarray of shape (n_fields,)
        Labels of the fields, unless `field_interactions` is "plain".
    field_weights_ : ndarray of shape ([n_classes,] n_fields, n_fields)
        Weights ``r_ab``, a symmetric matrix. It is 0 for pairs that do not interact, and 1 within
        a field. Only with ``field_interactions="weighted"``.
    field_matrices_ : ndarray of shape ([n_classes,] n_fields, n_fields, n_components, \
            n_components)
        Matrices ``M_ab``, where ``M_ba`` is the transpose. It is 0 for pairs that do not interact,
        and the identity matrix within a field. Only with ``field_interactions="matrixed"``.
    alpha_, alpha_linear_ : float or ndarray of shape (n_features,)
        Regularization strengths that were used: `alpha` and `alpha_linear` or, for "auto", the
        estimates for each feature. The estimates are 0 for features that do not occur in training.
    n_iter_ : int
        Number of epochs, or of calls of `partial_fit`. The epochs of a refit do not count.
    loss_curve_ : list of float
        Objective of each epoch, divided by the total sample weight. The loss of a row is computed
        just before the step that uses it; for "als", the objective is computed after the epoch.
        The list includes epochs that diverged, but not those of a refit.
    validation_scores_ : list of float
        Score of each epoch on the validation data. Only with early stopping.
    n_features_in_ : int
        Number of features seen during `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features seen during `fit`. Defined only if all names are strings.

    See Also
    --------
    BayesianFMClassifier : Averages over posterior samples, for binary problems.
    FMRegressor : Factorization machine for regression.
    sklearn.linear_model.LogisticRegression : Linear model without interactions.

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
    Exclusive or, which no linear model can learn:

    >>> from skfm import FMClassifier
    >>> X = [[0, 0], [0, 1], [1, 0], [1, 1]] * 50
    >>> y = ["no", "yes", "yes", "no"] * 50
    >>> model = FMClassifier(alpha=0.1, random_state=0).fit(X, y)
    >>> model.predict([[0, 1], [1, 1]])
    array(['yes', 'no'], dtype='<U3')
    >>> model.predict_proba([[0, 1], [1, 1]]).shape
    (2, 2)
    """

    _constraints: ClassVar[dict] = BaseFM._constraints | {
        "loss": [Options(*targets.CLASSIFICATION)]
    }
    _loss_parameters = ()

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
        self.class_weight = class_weight

    @available_if(takes_steps)
    def partial_fit(
        self,
        X: MatrixLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Train for one epoch on a chunk of rows.

        The first call determines the classes. The scale of a column is determined by the first
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
            Labels.
        classes : array-like of shape (n_classes,), default=None
            All labels that may occur; required in the first call.
        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights.

        Returns
        -------
        self : object
            The estimator.

        Raises
        ------
        ValueError
            As for `fit`; for labels that are not among the classes; with
            ``class_weight="balanced"``, which needs all rows at once; and if `loss`, `solver`,
            `n_components`, `fit_intercept` or `fit_linear` have changed. The model is
            left unchanged.
        """
        with all_or_nothing(self):
            self._check_classes(classes)
            return self._partial_fit(X, y, sample_weight)

    def _check_classes(self, classes):
        if isinstance(self.class_weight, str):
            raise ValueError(
                f"class_weight={self.class_weight!r} requires all rows at once; for partial_fit, "
                "pass the weights as a dict."
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
                "classes must be a list of labels of the same type, either strings or numbers "
                f"({error})."
            ) from error
        if classes.size < 2:
            raise ValueError(f"classes must contain at least two labels; got {classes.tolist()}.")
        if before is not None and not np.array_equal(before, classes):
            raise ValueError(
                f"classes must be the same as before, {before.tolist()}; got {classes.tolist()}. "
                "Call fit, or partial_fit of a clone, to start again."
            )
        self.classes_ = classes

    def _set_classes(self, y):
        check_classification_targets(y)
        classes = np.unique(y)
        check_classes(self, classes)
        self.classes_ = classes

    def _to_numbers(self, y, name):
        if y.dtype.kind not in "biu":  # integers always are labels
            check_classification_targets(y)
        # Much quicker than return_inverse of unique().
        try:
            labels = find_sorted(self.classes_, y)
        except TypeError as error:
            raise ValueError(
                f"{name} has labels of another type than the classes, {self.classes_.tolist()} "
                f"({error})."
            ) from error
        unknown = labels < 0
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
        factors = self._class_factors(np.bincount(labels, weight, self.classes_.size))
        return self._weigh(labels, weight, factors)

    @staticmethod
    def _weigh(labels, weight, factors):
        """Weights of rows multiplied by the factors of their classes."""
        weight = weight * factors[labels].astype(weight.dtype)
        total = weight.sum(dtype=np.float64)
        if not (weight > 0).all() or total > validation.largest_sum(weight.dtype):
            raise ValueError(
                f"class_weight gives weights that are too small or too large for {weight.dtype}."
            )
        return weight

    def _class_factors(self, count):
        """What the weights of the rows of each class are multiplied by.

        ``count`` is the weight of the rows of each class.
        """
        if validation.is_option(self.class_weight, "balanced"):
            factors = _balanced(count)
        else:
            _check_numbers(self.class_weight)
            classes = self.classes_
            factors = compute_class_weight(self.class_weight, classes=classes, y=classes)
        if not (np.isfinite(factors) & (factors > 0)).all():
            raise ValueError("class_weight must give each class a positive, finite weight.")
        return factors

    def _make_target_transform(self, known, more_will_come=False):
        return targets.of_classes(known, self.classes_.size, self.loss, self.fit_intercept)

    def _shown(self, intercept, coef, components):
        return {
            "intercept_": intercept,
            "coef_": coef,
            "components_": components[0] if intercept.size == 1 else components,
        }

    def decision_function(self, X: MatrixLike) -> FloatArray:
        """Compute the log-odds of the second class or, for multiclass problems, one score per
        class.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_samples, n_features)
            Rows. Features that do not occur in training contribute nothing.

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
            Rows. Features that do not occur in training contribute nothing.

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
        """Predict class probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_samples, n_features)
            Rows. Features that do not occur in training contribute nothing.

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
        """Predict logarithms of probabilities, which are accurate even if the probabilities round
        to 0.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_samples, n_features)
            Rows. Features that do not occur in training contribute nothing.

        Returns
        -------
        log_probabilities : ndarray of shape (n_samples, n_classes)
            Columns in the order of ``classes_``.
        """
        output = self._raw_output(X)
        if output.shape[1] == 1:
            return log_expit(output * np.array([-1, 1], dtype=output.dtype))
        return log_softmax(output, axis=1)


def _check_numbers(class_weight):
    if isinstance(class_weight, Mapping):  # scikit-learn refuses what is none
        for label, weight in class_weight.items():
            if not isinstance(weight, numbers.Real):
                raise ValueError(
                    "class_weight must give each class a positive, finite weight; got "
                    f"{weight!r} for the class {label!r}."
                )


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
