"""Matrix factorization of users x items: ratings and implicit feedback."""

import numbers
import os
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted

from skfm._recommenders.defaults import EXPLICIT, extent_of, implicit_defaults, unless_auto
from skfm._recommenders.input_warnings import warn_of_misuse
from skfm._recommenders.matrix_rows import RANKED, MatrixRowsMixin
from skfm._recommenders.mf_units import check_penalties, find_units, largest_counts, standardise
from skfm._recommenders.mixin import RecommenderMixin
from skfm._recommenders.vectors import ItemTable, RowVectors, products
from skfm._solvers.mf import als, problem, sgd
from skfm._solvers.mf.principal_axes import principal_axes, rotate
from skfm._solvers.mf.problem import ITEM, USER
from skfm._utils import sparse_entries, validation
from skfm._utils.callbacks import CallbackSupport, FitTasks, managing_callbacks
from skfm._utils.checkpoint import open_checkpoint, using_checkpoint
from skfm._utils.estimator import PrintableEstimator, VersionedEstimator, all_or_nothing
from skfm._utils.memory import largest_squared
from skfm._utils.parameters import (
    AUTO,
    BOOLEAN,
    FLOAT_TYPES,
    LARGEST_RANK,
    N_JOBS,
    NON_NEGATIVE,
    POSITIVE,
    POSITIVE_INTEGER,
    VERBOSE,
    Interval,
    Options,
)
from skfm._utils.progress import Progress
from skfm._utils.public import public
from skfm._utils.threads import n_threads
from skfm._utils.typing import (
    ColumnLike,
    Float,
    FloatArray,
    Int,
    ItemsLike,
    MatrixLike,
    Seed,
    SupportsSparse,
)
from skfm._utils.warnings import warn_not_converged
from skfm.metrics import ndcg_at_k


@dataclass
class _Settings:
    learning_rate: float
    max_iter: int
    tol: float
    n_threads: int
    verbose: bool
    n_iter_no_change: int = 5


@public("skfm")
class MFRecommender(
    MatrixRowsMixin,
    RecommenderMixin,
    CallbackSupport,
    VersionedEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    PrintableEstimator,
):
    """Matrix factorization of a user-item matrix, for ratings and for implicit feedback.

    The rows of X are users and the columns are items. Like :class:`~sklearn.decomposition.NMF`,
    this estimator is a transformer: `fit` learns the vectors of the items, and `transform`
    computes the vectors of users from their rows ("fold-in"). `recommend` ranks the items for
    these users, who need not occur in the training data. Read more in the :doc:`user guide
    </matrix_factorization>`.

    *Explicit feedback*: the stored entries are ratings, including stored zeros. In dense input,
    the nonzero values are ratings. The score is ``mu + b_u + b_i + <p_u, q_i>``, where ``mu`` is
    the mean rating. For ratings standardized to mean 0 and variance 1, the objective is

    ``sum_{stored} (score_ui - x_ui)^2 / 2 + sum_u (alpha n_u^nu ||p_u||^2 + alpha_bias b_u^2) / 2
    + sum_i (alpha n_i^nu ||q_i||^2 + alpha_bias b_i^2) / 2``

    where ``n_u`` and ``n_i`` are the numbers of ratings of a user and of an item, at least 1. With
    ``nu = 1/2``, :class:`FMRegressor` has the same objective on one-hot encoded users and items,
    except that it fits an intercept instead of using ``mu``.

    *Implicit feedback* [1]_ [2]_: the objective is a sum over all entries of the matrix. The
    stored entries have the target 1, and their values are weights, called confidences ``c_ui``. In
    addition, all entries have the target 0, with the weight `unobserved_weight`. The score is
    ``<p_u, q_i>``, without biases. The objective is

    ``sum_{stored} c_ui (score_ui - 1)^2 / 2 + unobserved_weight sum_{all} score_ui^2 / 2
    + alpha sum_u (n_u + unobserved_weight n_items)^nu ||p_u||^2 / 2
    + alpha sum_i (n_i + unobserved_weight n_users)^nu ||q_i||^2 / 2``

    Parameters
    ----------
    n_components : int or "auto", default="auto"
        Length of the vectors of users and items. "auto" is 32 for explicit feedback. For implicit
        feedback, it is 128, or 256 if there are more than 5000 items, but at most the number of
        users or of items.
    feedback : {"explicit", "implicit"}, default="explicit"
        Whether stored values are ratings, or confidences that a user wants an item (clicks,
        purchases, plays), which must not be negative.
    solver : {"auto", "als", "sgd"}, default="auto"
        "als" is alternating least squares: it updates items and users in turn, by a few conjugate
        gradient steps each [3]_, and needs no learning rate. "sgd" is stochastic gradient descent
        with an AdaGrad learning rate for each vector [4]_. It only supports explicit feedback.
        "auto" is "als".
    alpha : float or "auto", default="auto"
        L2 regularization strength of the vectors, positive. Tune this parameter first. "auto" is
        1.2 for explicit feedback. For implicit feedback, it depends on the matrix: it decreases
        with the numbers of entries per user and per item, and with the number of items (see
        Notes). In the package `implicit`, `alpha` multiplies the confidences; here, multiply X
        instead.
    alpha_bias : float, default=3.0
        L2 regularization strength of the biases, positive.
    nu : float or "auto", default="auto"
        Exponent with which the penalty grows with the number of entries of a user or an item: 0
        means a constant penalty, and 1 a proportional one. "auto" is 0.5 for explicit and 1 for
        implicit feedback.
    unobserved_weight : float or "auto", default="auto"
        Weight of an entry that is not stored, relative to a confidence of 1, non-negative. For
        implicit feedback only. "auto" is four times the density of the matrix, multiplied by the
        mean confidence; users and items without entries are not counted. Tune it together with
        `alpha`.
    fit_bias : bool, default=True
        Whether to fit the mean and the biases of users and items. If False, they are 0. For
        explicit feedback only; implicit feedback has no biases.
    learning_rate : float, default=0.1
        Initial learning rate of "sgd", positive.
    init_scale : float, default=0.1
        Root mean square length of the initial random vectors, positive.
    max_iter : int, default=100
        Maximum number of iterations. An iteration updates all users and all items ("als"), or
        visits all stored entries once ("sgd").
    tol : float, default=1e-4
        Tolerance of the stopping criterion. Training stops when the objective, divided by the
        number of stored entries, decreases by no more than `tol` in one iteration ("als") or in
        five ("sgd"). If the objective is below 0.1, the tolerance is smaller. With 0, training
        continues for `max_iter` iterations, or until "sgd" makes no progress.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial vectors and of the order of the entries. Pass an int for reproducible
        results, which do not depend on `n_jobs`.
    n_jobs : int, default=None
        Number of threads. None means 1 unless in a `joblib.parallel_config` context, and -1 means
        all processors.
    verbose : int, default=0
        If 1, progress is written to stderr: the iteration, the objective, and the entries per
        second, without compilation. A terminal shows a single line that is updated; a file or a
        notebook gets a line every ten seconds. The last line states whether training converged or
        reached `max_iter`.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        Vectors ``q_i`` of the items, as columns; 0 for items without entries. They are rotated
        such that the rows are orthogonal and sorted by decreasing length.
    item_bias_ : ndarray of shape (n_features,)
        Biases ``b_i`` of the items; 0 for items without entries, and for implicit feedback.
    mean_ : float
        Mean rating ``mu``; 0 without biases and for implicit feedback.
    scale_ : float
        Standard deviation by which the ratings are divided in the objective; 1 for implicit
        feedback.
    alpha_, unobserved_weight_ : float
        Values of `alpha` and `unobserved_weight` that were used, as given or as chosen by "auto".
        `unobserved_weight_` is 0 for explicit feedback.
    n_iter_ : int
        Number of iterations.
    loss_curve_ : list of float
        Objective of each iteration, divided by the number of stored entries. For "sgd", the loss
        of an entry is computed just before its step.
    n_features_in_ : int
        Number of items seen during `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the items seen during `fit`. Defined only if all names are strings. `recommend`
        and `similar_items` then return names instead of column indices.

    See Also
    --------
    FMRegressor : Factorization machine on user-item pairs with further features.
    FMRecommender : Learning to rank with features of contexts and items.
    skfm.preprocessing.UserItemEncoder : Converts a log to a user-item matrix.
    sklearn.decomposition.NMF : Non-negative factorization, in which missing entries are zeros.

    Notes
    -----
    With implicit feedback, ``alpha="auto"`` is ``min(0.5 / (1 + 4 f), 2 c / (1 + f))`` with
    ``c = (m_u ** -0.5 + m_i ** -0.5) * min(0.08, 1.45 / n_items ** 0.4)``. Here, ``m_u`` and
    ``m_i`` are the mean numbers of entries per user and per item, and `f` is the ratio of
    `unobserved_weight` to its "auto" value, which is 1 by default. Users and items without entries
    are not counted. If the confidences have a mean `m` other than 1, `alpha` is multiplied by
    ``m (1 + 4 f) / (1 + 4 f m)``, so that their unit hardly matters.

    References
    ----------
    .. [1] Y. Hu, Y. Koren, C. Volinsky, "Collaborative Filtering for Implicit Feedback Datasets",
       ICDM 2008.
    .. [2] S. Rendle, W. Krichene, L. Zhang, Y. Koren, "Revisiting the Performance of iALS on Item
       Recommendation Benchmarks", RecSys 2022.
    .. [3] G. Takacs, I. Pilaszy, D. Tikk, "Applications of the Conjugate Gradient Method for
       Implicit Feedback Collaborative Filtering", RecSys 2011.
    .. [4] W.-S. Chin, Y. Zhuang, Y.-C. Juan, C.-J. Lin, "A Learning-Rate Schedule for Stochastic
       Gradient Methods to Matrix Factorization", PAKDD 2015.

    Examples
    --------
    Two users, two items and three ratings. The prediction for the missing entry is lower than all
    ratings, because the second user gives lower ratings than the first, and the first item gets
    lower ratings than the second:

    >>> from scipy.sparse import csr_matrix
    >>> from skfm import MFRecommender
    >>> X = csr_matrix([[2.0, 4.0], [0.0, 1.0]])  # the zero is not stored
    >>> model = MFRecommender(1, alpha_bias=0.01, random_state=0).fit(X)
    >>> model.predict_pairs(X, rows=[0, 0, 1, 1], items=[0, 1, 1, 0]).round(1)
    array([ 2. ,  4. ,  1. , -0.9])

    Purchases of two groups of users, with one purchase held out:

    >>> import numpy as np
    >>> bought = np.kron(np.eye(2), np.ones((3, 3)))
    >>> bought[0, 2] = 0
    >>> model = MFRecommender(2, feedback="implicit", random_state=0).fit(bought)
    >>> items, scores = model.recommend(bought[:1], n_items=1)
    >>> items
    array([[2]])
    """

    _read_only = ("mean_", "scale_", "components_", "item_bias_")
    _constraints: ClassVar[dict] = {
        "n_components": [AUTO, Interval(numbers.Integral, 1, LARGEST_RANK)],
        "feedback": [Options("explicit", "implicit")],
        "solver": [Options("auto", "als", "sgd")],
        "alpha": [AUTO, POSITIVE],
        "alpha_bias": [POSITIVE],
        "nu": [AUTO, NON_NEGATIVE],
        "unobserved_weight": [AUTO, NON_NEGATIVE],
        "fit_bias": [BOOLEAN],
        "learning_rate": [POSITIVE],
        "init_scale": [POSITIVE],
        "max_iter": [POSITIVE_INTEGER],
        "tol": [NON_NEGATIVE],
        "n_jobs": N_JOBS,
        "verbose": VERBOSE,
    }

    def __init__(
        self,
        n_components: Int | Literal["auto"] = "auto",
        *,
        feedback: Literal["explicit", "implicit"] = "explicit",
        solver: Literal["auto", "als", "sgd"] = "auto",
        alpha: Float | Literal["auto"] = "auto",
        alpha_bias: Float = 3.0,
        nu: Float | Literal["auto"] = "auto",
        unobserved_weight: Float | Literal["auto"] = "auto",
        fit_bias: bool = True,
        learning_rate: Float | Literal["auto"] = 0.1,
        init_scale: Float = 0.1,
        max_iter: Int = 100,
        tol: Float = 1e-4,
        random_state: Seed = None,
        n_jobs: Int | None = None,
        verbose: Int = 0,
    ) -> None:
        self.n_components = n_components
        self.feedback = feedback
        self.solver = solver
        self.alpha = alpha
        self.alpha_bias = alpha_bias
        self.nu = nu
        self.unobserved_weight = unobserved_weight
        self.fit_bias = fit_bias
        self.learning_rate = learning_rate
        self.init_scale = init_scale
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.positive_only = validation.is_option(self.feedback, "implicit")
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _check_parameters(self):
        super()._check_parameters()
        if self.feedback == "implicit" and self.solver == "sgd":
            raise ValueError(
                "solver='sgd' uses only stored entries, but implicit feedback requires all "
                "entries of the matrix; use solver='als'."
            )

    def _make_model(self, extent):
        is_implicit = self.feedback == "implicit"
        auto = implicit_defaults(extent, self.unobserved_weight) if is_implicit else EXPLICIT
        return problem.Model(
            n_components=int(unless_auto(self.n_components, auto.n_components)),
            is_implicit=is_implicit,
            has_bias=bool(self.fit_bias) and not is_implicit,
            alpha=float(unless_auto(self.alpha, auto.alpha)),
            alpha_bias=float(self.alpha_bias),
            nu=float(unless_auto(self.nu, auto.nu)),
            unobserved_weight=auto.unobserved_weight,
        )

    def fit(
        self, X: MatrixLike, y: Any = None, *, checkpoint: str | os.PathLike[str] | None = None
    ) -> Self:
        """Learn the items' vectors.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_users, n_items)
            Ratings or confidences. float32 input is processed in float32, all other types in
            float64. Duplicate entries of sparse input are summed.
        y : None
            Ignored.
        checkpoint : path, default=None
            A file for the state of training. It is written after each iteration, or less often if
            that would take too much time. If the file exists, training continues from it; a fit
            that was interrupted ends with the same parameters, bit for bit, as one that was not.
            The file remains after the fit: delete it when the model is saved. See the
            :doc:`user guide </solvers>`.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter or X is invalid (NaN or infinity, negative confidences, no entries), if
            training diverges, or if `checkpoint` is a damaged file or belongs to a fit with other
            data or parameters.
        OSError
            If `checkpoint` cannot be read or written, or another fit is using it.

        Warns
        -----
        UserWarning
            If X looks like a log of ids. With explicit feedback, also if all ratings are equal, or
            if duplicate entries are summed.
        """
        with all_or_nothing(self), using_checkpoint(checkpoint, self.random_state):
            return self._fit(X, y, checkpoint)

    @managing_callbacks
    def _fit(self, X, y, checkpoint):
        self._check_parameters()
        tasks = FitTasks(self, X, y, max_epochs=self.max_iter, name="iteration")
        is_implicit = self.feedback == "implicit"
        csr = validation.validate_entries(self, X, is_implicit, reset=True)
        self._check_n_entries(csr.nnz)
        model = self._make_model(extent_of(csr))
        names = getattr(self, "feature_names_in_", None)
        warn_of_misuse(X, csr, names, is_explicit=not is_implicit)
        check_penalties(model, csr.shape, largest_counts(csr), csr.dtype)
        checkpoint = open_checkpoint(checkpoint, self, {"X": csr})
        rng = checkpoint.random_state(check_random_state(self.random_state))
        mean, scale = (0.0, 1.0) if is_implicit else find_units(csr.data, model.has_bias)
        self._publish(mean_=mean, scale_=scale)
        csr = standardise(csr, self.mean_, self.scale_)
        items = self._initial_items(model, csr.shape[1], csr.dtype, rng)
        settings = self._settings()
        progress = Progress(settings, csr.nnz, "entries")

        def store(number, items):
            self._store(model, items.copy())
            self.n_iter_ = number

        options = {"listener": tasks.listener(store), "checkpoint": checkpoint.stage("fit")}
        if self.solver == "sgd":
            items, history = sgd.train(model, csr, items, settings, rng, progress, **options)
        else:
            items, history = als.train(model, csr, items, settings, progress, **options)
        self._finish(model, items, history, tasks)
        return self

    def _check_n_entries(self, n_entries):
        if n_entries == 0:
            what = "positive value" if self.feedback == "implicit" else "rating"
            raise ValueError(
                f"X has no stored entries to learn from; it must have at least one {what}."
            )

    def _initial_items(self, model, n_items, dtype, rng):
        items = model.table(n_items, ITEM, dtype)
        factors = model.factors(items)
        factors[...] = rng.standard_normal(factors.shape) * (
            float(self.init_scale) / np.sqrt(model.n_components)
        )
        return items

    def _settings(self):
        return _Settings(
            learning_rate=float(self.learning_rate),
            max_iter=int(self.max_iter),
            tol=float(self.tol),
            n_threads=n_threads(self.n_jobs),
            verbose=bool(self.verbose),
        )

    def _finish(self, model, items, history, tasks):
        """Store what training has found."""
        self._store(model, items)
        self.alpha_, self.unobserved_weight_ = model.alpha, model.unobserved_weight
        self.n_iter_ = len(history.loss_curve)
        self.loss_curve_ = history.loss_curve
        tasks.end()
        if not (history.converged or history.stopped):
            warn_not_converged(self.max_iter, self.tol, "iterations")

    def _store(self, model, items):
        """The items' table in the units of X, its factors turned to their principal axes."""
        threads = n_threads(self.n_jobs)
        self._squares, rotation = principal_axes(model, items, threads)
        rotate(items, rotation, threads)
        dtype = items.dtype
        rows = model.factors(items) * np.sqrt(self.scale_)
        bias = model.bias(items, ITEM) * self.scale_ if model.has_bias else np.zeros(len(items))
        self._publish(
            components_=rows.astype(dtype, copy=False).T,  # item by item in memory
            item_bias_=bias.astype(dtype),
        )
        self._model = model
        self._prepare_items()
        if not (np.isfinite(self.components_).all() and np.isfinite(self.item_bias_).all()):
            raise ValueError(
                f"The ratings in X are too large for parameters in {dtype}; scale them, or pass X "
                "in float64."
            )

    @property
    def _is_implicit(self):
        return self._model.is_implicit

    @property
    def _dtype(self):
        return self.components_.dtype

    @property
    def _n_features_out(self):
        return self.components_.shape[0] + self._model.has_bias

    def _prepare_items(self):
        """The items' table in the solver's units, and an item without entries."""
        model, n_items = self._model, self.components_.shape[1]
        table = model.table(n_items + 1, ITEM, self.components_.dtype)
        items = table[:-1]
        model.factors(items)[...] = self.components_.T / np.sqrt(self.scale_)
        if model.has_bias:
            model.bias(items, ITEM)[...] = self.item_bias_ / self.scale_
        self._item_table = ItemTable(table, model.factor_columns)

    def _row_vectors(self, rows):
        users = self._fold_in(rows)
        kind = users.dtype.type
        mean = np.full(len(users), self.mean_, users.dtype)
        return RowVectors(users, kind(self.scale_), mean)

    def _fold_in(self, rows):
        """The users' table, in the solver's units."""
        return als.fold_in(
            self._model,
            standardise(rows, self.mean_, self.scale_),
            self._item_table.table,
            self._squares,
            n_threads(self.n_jobs),
        )

    def transform(self, X: MatrixLike) -> FloatArray:
        """Compute the vectors of users from their rows, with the items' vectors held fixed.

        Each vector is the solution of a small ridge regression, as in training. Users from the
        training data and new users are therefore treated alike.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_users, n_items)
            Ratings or confidences, as in `fit`.

        Returns
        -------
        users : ndarray of shape (n_users, n_components) or (n_users, n_components + 1)
            The vectors ``p_u``, followed by the biases ``b_u`` if there are any. Zeros for a row
            without entries.
        """
        return self._transform(X)

    def _transform(self, X):
        """What `transform` returns, always as an array."""
        users = self._fold_in(self._check_rows(X))
        model = self._model
        vectors = model.factors(users) * np.sqrt(self.scale_)
        if model.has_bias:
            bias = model.bias(users, USER)[:, None] * self.scale_
            vectors = np.concatenate([vectors, bias], axis=1)
        return vectors.astype(users.dtype, copy=False)

    def inverse_transform(self, X: ArrayLike) -> FloatArray:
        """Compute the scores of all items.

        Parameters
        ----------
        X : array-like of shape (n_users, n_components) or (n_users, n_components + 1)
            Vectors of the users, as returned by `transform`.

        Returns
        -------
        scores : ndarray of shape (n_users, n_items)
            A dense array. For many users and items, use `recommend` or `predict_pairs` instead.
        """
        check_is_fitted(self)
        try:
            X = check_array(X, dtype=FLOAT_TYPES, input_name="X")
        except (TypeError, ValueError) as error:
            raise type(error)(f"X must be an output of transform ({error})") from error
        if X.shape[1] != self._n_features_out:
            raise ValueError(
                f"X has {X.shape[1]} columns, but transform returns {self._n_features_out}."
            )
        n_components = self.components_.shape[0]
        with np.errstate(over="ignore", invalid="ignore"):
            scores = X[:, :n_components] @ self.components_
            if self._model.has_bias:
                scores += X[:, n_components:] + self.item_bias_ + self.mean_
        return validation.check_predictions(scores)

    def user_vectors(self, X: MatrixLike) -> FloatArray:
        """Return vectors of users, for an index for maximum inner product search.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_users, n_items)
            Ratings or confidences, as in `fit`.

        Returns
        -------
        vectors : ndarray of shape (n_users, n_components) or (n_users, n_components + 2)
            Their inner products with `item_vectors` are the scores. Two coordinates are appended
            for the biases, if there are any.
        """
        return self._with_constants(self._transform(X), is_user=True)

    def item_vectors(self) -> FloatArray:
        """Return vectors of items, for an index for maximum inner product search.

        Returns
        -------
        vectors : ndarray of shape (n_items, n_components) or (n_items, n_components + 2)
            See `user_vectors`.
        """
        check_is_fitted(self)
        bias = [self.item_bias_[:, None]] if self._model.has_bias else []
        vectors = np.concatenate([self.components_.T, *bias], axis=1)
        return self._with_constants(vectors, is_user=False)

    def _with_constants(self, vectors, *, is_user):
        """Vectors that end in a bias, with the coordinates that meet the other side's bias."""
        if not self._model.has_bias:
            return vectors
        one = np.ones((vectors.shape[0], 1), vectors.dtype)
        factors, bias = vectors[:, :-1], vectors[:, -1:]
        if is_user:
            return np.concatenate([factors, one, bias + vectors.dtype.type(self.mean_)], axis=1)
        return np.concatenate([factors, bias, one], axis=1)

    def predict_pairs(self, X: MatrixLike, rows: ArrayLike, items: ColumnLike) -> FloatArray:
        """Predict the scores of pairs of a user and an item.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_users, n_items)
            Ratings or confidences of the users, as in `fit`.
        rows : array-like of int of shape (n_pairs,)
            Users, as rows of X; -1 for an unknown user.
        items : array-like of shape (n_pairs,)
            Items, as columns of X or names; -1 or None for an unknown item.

        Returns
        -------
        scores : ndarray of shape (n_pairs,)
            Ratings or, for implicit feedback, scores that are mostly between 0 and 1. The vectors
            and biases of unknown users and items are 0, as for users and items without entries.
        """
        return self._predict_pairs(X, rows, items)

    def recommend(
        self,
        X: MatrixLike,
        n_items: Int = 10,
        *,
        exclude_seen: bool = True,
        candidates: ItemsLike | None = None,
        exclude: ItemsLike | SupportsSparse | None = None,
        output: Literal["default", "pandas", "polars"] = "default",
        user_ids: ColumnLike | None = None,
        item_ids: ColumnLike | None = None,
    ) -> Any:
        """Recommend the items with the highest scores to each user.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_users, n_items)
            Ratings or confidences of the users, as in `fit`.
        n_items : int, default=10
            Number of items to recommend. If there are fewer items, all of them are ranked.
        exclude_seen : bool, default=True
            Whether to leave out the items for which a user has an entry in X.
        candidates : array-like or set of shape (n_candidates,), default=None
            Items to choose from: columns of X, a mask of the columns, or names. None means all
            items.
        exclude : array-like or set of items, or sparse matrix of shape (n_users, n_items), \
                default=None
            Items that are not recommended to any user, or a matrix whose stored entries, including
            zeros, mark the items that are not recommended to each user.
        output : {"default", "pandas", "polars"}, default="default"
            "default" returns two arrays with one row per user. "pandas" and "polars" return a
            DataFrame with one row per recommendation.
        user_ids : array-like of shape (n_users,), default=None
            Names of the users, for the DataFrame. None uses the index of X if X is a pandas
            DataFrame, and otherwise the row numbers.
        item_ids : array-like of shape (n_features,), default=None
            Names of the columns of X, such as `item_ids_` of a
            :class:`~skfm.preprocessing.UserItemEncoder`. `candidates`, `exclude` and the result
            then contain these names. None uses the column names of X in `fit`, if any.

        Returns
        -------
        items : ndarray of shape (n_users, n_items)
            Columns of X, or names if there are any, in the order of decreasing scores. If there
            are too few items for a user, the last entries are -1, or None if there are names. Do
            not index names with this array, because the index -1 selects the last item: pass
            `item_ids` instead.
        scores : ndarray of shape (n_users, n_items)
            Scores of these items; -inf where there is no item. Items with equal scores are in the
            order of the columns.
        frame : DataFrame of shape (n_recommendations, 4)
            Returned instead of the two arrays if `output` is "pandas" or "polars". The columns are
            "user", "item", "score" and "rank", which is 1 for the best item. Users are in the
            order of X, and have fewer rows if there are too few items for them.

        Raises
        ------
        ValueError
            If there are no items to choose from, or if an item is unknown.
        ImportError
            If the package in `output` is not installed.

        Examples
        --------
        >>> from skfm import MFRecommender
        >>> from skfm.preprocessing import UserItemEncoder
        >>> log = [("ann", "tea"), ("ann", "milk"), ("bob", "tea"), ("eve", "milk")]
        >>> encoder = UserItemEncoder()
        >>> X = encoder.fit_transform(log)
        >>> model = MFRecommender(1, feedback="implicit", random_state=0).fit(X)
        >>> names = {"user_ids": encoder.user_ids_, "item_ids": encoder.item_ids_}
        >>> model.recommend(X, 1, output="pandas", **names)[["user", "item", "rank"]]
          user  item  rank
        0  bob  milk     1
        1  eve   tea     1
        """
        return self._recommend(
            X, n_items, exclude_seen, candidates, exclude, output, user_ids, item_ids
        )

    def similar_items(
        self,
        items: ColumnLike,
        n_items: Int = 10,
        *,
        output: Literal["default", "pandas", "polars"] = "default",
        item_ids: ColumnLike | None = None,
    ) -> Any:
        """Find the items most similar to given items.

        Parameters
        ----------
        items : array-like of shape (n_queries,)
            Columns of X, or names.
        n_items : int, default=10
            Number of similar items, at most the number of all items. For all items, the last place
            is empty, as in `recommend`, because an item is not similar to itself.
        output : {"default", "pandas", "polars"}, default="default"
            What to return, as in `recommend`.
        item_ids : array-like of shape (n_features,), default=None
            Names of the columns of X, as in `recommend`.

        Returns
        -------
        similar : ndarray of shape (n_queries, n_items)
            Columns of X, or names, most similar first. An item is never similar to itself.
        similarities : ndarray of shape (n_queries, n_items)
            Cosine similarities of their vectors; 0 for items without entries.
        frame : DataFrame of shape (n_similar, 4)
            Returned instead of the two arrays if `output` is "pandas" or "polars". The columns are
            "item", "similar_item", "similarity" and "rank".
        """
        return self._similar_items(items, n_items, output, item_ids)

    def similar_users(
        self,
        X: MatrixLike,
        rows: ArrayLike | None = None,
        n_users: Int = 10,
        *,
        output: Literal["default", "pandas", "polars"] = "default",
        user_ids: ColumnLike | None = None,
    ) -> Any:
        """Find the users most similar to given users.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_users, n_items)
            Ratings or confidences of the users to compare, as in `fit`. These users need not occur
            in the training data.
        rows : array-like of int of shape (n_queries,), default=None
            Rows of X for whose users to find similar users. None means all rows.
        n_users : int, default=10
            Number of similar users, at most the number of rows. For all rows, the last place is
            empty, as in `recommend`.
        output : {"default", "pandas", "polars"}, default="default"
            What to return, as in `recommend`.
        user_ids : array-like of shape (n_users,), default=None
            Names of the rows of X, which are then returned instead of row numbers. If None, a
            DataFrame contains the index of X if X is a pandas DataFrame.

        Returns
        -------
        similar : ndarray of shape (n_queries, n_users)
            Rows of X, or names, most similar first. A user is never similar to itself.
        similarities : ndarray of shape (n_queries, n_users)
            Cosine similarities of their vectors; 0 for users without entries.
        frame : DataFrame of shape (n_similar, 4)
            Returned instead of the two arrays if `output` is "pandas" or "polars". The columns are
            "user", "similar_user", "similarity" and "rank".

        Examples
        --------
        >>> import numpy as np
        >>> from skfm import MFRecommender
        >>> bought = np.kron(np.eye(2), np.ones((3, 3)))  # two groups of three users
        >>> model = MFRecommender(2, feedback="implicit", random_state=0).fit(bought)
        >>> similar, _ = model.similar_users(bought, rows=[0, 5], n_users=2)
        >>> similar
        array([[1, 2],
               [3, 4]])
        """
        return self._similar_users(X, rows, n_users, output, user_ids)

    def score(self, X: MatrixLike, y: Any = None) -> float:
        """Score the predictions of held-out entries.

        One fifth of the entries of each row are held out, and at least one if the row has two. The
        vector of the user is computed from the other entries. Which entries are held out depends
        only on the columns of the row, so all models are compared on the same entries, and a
        search over `n_components` does not always prefer the largest value.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_users, n_items)
            Ratings or confidences, as in `fit`. For an unbiased score, pass users who were not in
            `fit`.
        y : None
            Ignored.

        Returns
        -------
        score : float
            R2 of the held-out ratings or, for implicit feedback, NDCG of the ten recommended
            items. Higher is better.

        Raises
        ------
        ValueError
            If no row has at least two entries.
        """
        visible, hidden = self._hold_out(X)
        if self._model.is_implicit:
            return float(ndcg_at_k(hidden, self._rank(visible, RANKED, hidden), RANKED))
        from sklearn.metrics import r2_score  # here: slow to import

        users, rows = self._fold_in(visible), sparse_entries.rows_of(hidden)
        predicted = products(users, self._item_table.table, rows, hidden.indices)
        true = (hidden.data.astype(np.float64) - self.mean_) / self.scale_
        largest = np.abs(true).max()
        if largest > largest_squared(np.float64):
            true, predicted = true / largest, predicted / largest
        return float(r2_score(true, predicted))
