"""Learning to rank: the items that a context wants first, by their features."""

import numbers
import os
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skfm._fm.feature_groups import check_labels
from skfm._fm.features import EstimatorOfFeatures
from skfm._fm.interactions import given_or_carried
from skfm._recommenders.candidates import is_matrix, read_excluded
from skfm._recommenders.catalogue import LabelledCatalogue
from skfm._recommenders.defaults import unless_auto
from skfm._recommenders.fm_problem import (
    check_fields,
    find_chosen,
    initial_parameters,
    make_choices,
)
from skfm._recommenders.fm_vectors import (
    Side,
    blank_features,
    find_centers,
    in_units,
    item_coordinates,
    parts_of,
    require_finite,
    with_unknown,
)
from skfm._recommenders.held_out import combine_rows, held_out_rankings, users_of_events
from skfm._recommenders.item_features import (
    check_columns,
    column_names,
    read_choices,
    read_features,
    read_items,
    to_dtype,
)
from skfm._recommenders.mixin import RecommenderMixin
from skfm._recommenders.users import Users, user_columns
from skfm._recommenders.vectors import ItemTable, RowVectors, padded
from skfm._solvers.fm.batches import auto_batch_size
from skfm._solvers.fm.minibatch import Settings
from skfm._solvers.fm.optimizer_state import UPDATES
from skfm._solvers.fm.penalties import Penalties
from skfm._solvers.ranking import training as ranking
from skfm._utils import validation
from skfm._utils.callbacks import FitTasks, managing_callbacks
from skfm._utils.checkpoint import open_checkpoint, using_checkpoint
from skfm._utils.equal_rows import merge_rows
from skfm._utils.estimator import all_or_nothing, unchanged_by_errors
from skfm._utils.ids import join_ids
from skfm._utils.parameters import (
    AUTO,
    N_JOBS,
    NON_NEGATIVE,
    POSITIVE,
    POSITIVE_INTEGER,
    RANK,
    VERBOSE,
    Interval,
    Options,
)
from skfm._utils.public import public
from skfm._utils.sparse import in_configured_interface
from skfm._utils.threads import n_threads
from skfm._utils.typing import (
    ColumnLike,
    Float,
    FloatArray,
    Int,
    IntArray,
    ItemsLike,
    MatrixLike,
    Seed,
    SparseMatrix,
    SupportsSparse,
)
from skfm._utils.warnings import warn_not_converged
from skfm.metrics import ndcg_at_k

SOLVER = "adagrad"
RATE = 0.1  # of "auto"
ALPHAS = {"warp": (1.0, 30.0), "bpr": (0.2, 10.0), "logistic": (0.35, 10.0)}  # and alpha_linear
RANKED = 10  # items, for `score`
CONTEXT = "context"  # the field of the features of X if nothing else is said


@public("skfm")
class FMRecommender(RecommenderMixin, EstimatorOfFeatures):
    """Factorization machine that learns to rank the items for a context.

    Each row of X describes the context of an event (the user, their attributes, the time, previous
    items), and y contains the item that was chosen. An item has an indicator feature of its own
    and the features in `item_features`. The score of an item ``i`` in a context ``x`` is a
    factorization machine on the features of both [1]_:

    ``score(x, i) = a(x) + b(i) + <s(x), s(i)>``

    where ``s`` is the sum of the vectors of all features, multiplied by their values. ``a(x)`` is
    the same for all items and does not change the ranking. The model is trained by comparing the
    chosen item with randomly sampled negative items. The objective is

    ``sum c loss(score(x, chosen) - score(x, sampled))
    + sum_j (alpha_linear w_j^2 + alpha sqrt(n_j) ||v_j||^2) / 2``

    where ``c`` are the weights of the events. If the context is a one-hot encoded user and there
    are no `item_features`, the model is a matrix factorization for ranking. With `item_features`,
    cold-start items are ranked by their features. Likewise, features of the context allow
    recommendations for cold-start users.

    The parameters of `item_features` are not trained on the events directly. Instead, after each
    epoch, a regression estimates how much of the items' vectors and linear weights they explain,
    and the indicator features keep the remainder. Each item counts once in this regression. The
    coefficients are shrunk by empirical Bayes [4]_ [5]_, without a parameter to tune.
    Uninformative columns therefore do little harm. Columns that are nonzero for few items, such as
    a director, are used if most columns of this kind are informative. Columns far from 0 in all
    rows, such as years, are centered. (The parameters of `item_features` are trained on the events
    if `item_identity` is empty, if items have no linear weights, or if `interactions` or
    `fit_linear` treat a column unlike the indicator features.)

    Read more in the :doc:`user guide </ranking>`.

    Parameters
    ----------
    n_components : int, default=64
        Length of the vectors. With 0, the ranking does not depend on the context.
    loss : {"warp", "bpr", "logistic"}, default="warp"
        "bpr" is Bayesian personalized ranking [2]_, the log loss of the difference of the two
        scores.

        "warp" [3]_ emphasizes the top of the ranking. It samples up to `max_draws` items, until
        the score of one of them exceeds the score of the chosen item minus 1. The rank of the
        chosen item is estimated by the number of other items divided by the number of draws,
        rounded down, and at least 1. The weight of the event is
        ``log(1 + rank) / log(1 + n_others)``.

        "logistic" is the log loss with chosen items as positives and sampled items as negatives.
        It also fits an intercept and the term ``a(x)``.
    item_features : DataFrame, array-like or sparse matrix of shape (n_items, n_item_features), \
            default=None
        Numerical features of the items, such as genres as 0 and 1. The index of a DataFrame
        contains the names of the items. It may contain items that are never chosen, which can be
        recommended, too. If None, the items are those in y, and they only have indicator features.
    item_ids : array-like of shape (n_items,), default=None
        Names of the rows of `item_features`. None uses the index of a DataFrame, and otherwise the
        row numbers.
    item_fields : array-like of shape (n_item_features,), default=None
        Field of each column of `item_features`, as a label, for `interactions` and `fit_linear`.
        None uses ``item_features.feature_fields`` if it exists, and otherwise "item_features" for
        all columns.
    item_identity : sequence of fields, default=("item",)
        Fields of the indicator features. Each item has one indicator in each of these fields. If
        empty, items have no indicators. The parameters of an indicator are 0 if the item is not
        chosen in `fit`, so such items are scored by their other features only.
    feature_fields : array-like of shape (n_features,), default=None
        Field of each column of X, as a label. None uses the fields that X carries, if it comes
        from :class:`~skfm.preprocessing.EventEncoder`, and otherwise "context" for all columns.
    user_fields : sequence of fields, default=None
        Fields of X that together identify the user. The items that a user has chosen in any event
        are not sampled as negatives for the user's other events, and `recommend` leaves them out.
        `score` evaluates the events of a user in the same context together. None uses all columns:
        rows belong to the same user if they are equal. A row of zeros belongs to no user.
    interactions : list of pairs of fields, default=None
        Pairs of fields whose features interact. None means all pairs.
    fit_linear : bool or list of fields, default=True
        Whether features have linear weights. A list contains the fields whose features have linear
        weights.
    negatives : {"uniform", "popularity"} or float, default="uniform"
        Distribution of the sampled items, among the items in y. "uniform" samples all items with
        the same probability, and "popularity" samples them in proportion to the weight of their
        events. A number between 0 and 1 is the exponent of this weight.
    max_draws : int, default=10
        Maximum number of draws per event and epoch for "warp", at most a million.
    alpha : float or "auto", default="auto"
        L2 regularization strength of the vectors, non-negative. The penalty of feature j is
        ``alpha / 2 * sqrt(n_j) * ||v_j||^2``, where ``n_j`` is the weighted number of events with
        the feature. Tune this parameter first. If it is too large, all vectors are 0, and items
        are ranked by popularity. "auto" is 1 for "warp", 0.2 for "bpr" and 0.35 for "logistic".
    alpha_linear : float or "auto", default="auto"
        L2 regularization strength of the linear weights, non-negative. "auto" is 30 for "warp" and
        otherwise 10.
    learning_rate : float or "auto", default="auto"
        Initial learning rate of AdaGrad, positive. "auto" is 0.1.
    initial_accumulator : float, default=1.0
        Initial value of the accumulated squared gradients of AdaGrad, positive.
    batch_size : int or "auto", default="auto"
        Mini-batch size. "auto" uses all events if there are at most 1024, so that their order does
        not matter and weights are equivalent to repetition, and otherwise 1024 to 4096.
    max_iter : int, default=100
        Maximum number of epochs. Models with fewer epochs often rank better: tune this parameter
        or `alpha`.
    tol : float, default=1e-4
        Tolerance of the stopping criterion. Training stops when the loss in `loss_curve_` has not
        decreased by at least `tol` below the best value so far for `n_iter_no_change` consecutive
        epochs. If the loss is below 0.1, the tolerance is smaller.
    n_iter_no_change : int, default=5
        Number of epochs without improvement after which training stops; see `tol`.
    init_scale : float, default=0.05
        Scale of the initial random vectors.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial vectors, of the order of the events and of the sampled items. Pass an
        int for reproducible results, which do not depend on `n_jobs`.
    n_jobs : int, default=None
        Number of threads. None means 1 unless in a `joblib.parallel_config` context, and -1 means
        all processors.
    verbose : int, default=0
        If 1, progress is written to stderr: the epoch, the objective, and the rows per second,
        without compilation. A terminal shows a single line that is updated; a file or a notebook
        gets a line every ten seconds. The last line states whether training converged or reached
        `max_iter`.

    Attributes
    ----------
    item_ids_ : ndarray of shape (n_items,)
        Names of the items, in the order of `item_features` or, without it, sorted. Items added by
        `add_items` come last.
    coef_, item_coef_ : ndarray of shape (n_features,), (n_all_item_features,)
        Linear weights of the features of contexts and of items. For items, the indicator features
        come first, then `item_features`.
    components_, item_components_ : ndarray of shape (n_components, n_features), \
            (n_components, n_all_item_features)
        Vectors of the features, as columns; 0 for features that do not occur in training.
    intercept_ : float
        Intercept of "logistic", otherwise 0.
    n_iter_ : int
        Number of epochs.
    loss_curve_ : list of float
        Objective of each epoch, divided by the total weight, with the negative items sampled in
        this epoch. For "warp", the penalty is not included: the gradient steps treat the weights
        of the events as constants, so they do not minimize the sum of loss and penalty.
    n_features_in_ : int
        Number of features of the contexts seen during `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of these features. Defined only if all names are strings.

    See Also
    --------
    MFRecommender : Matrix factorization of a user-item matrix, without features.
    FMClassifier : Predicts whether an item is chosen, rather than which item.

    References
    ----------
    .. [1] S. Rendle, "Factorization Machines", ICDM 2010.
    .. [2] S. Rendle, C. Freudenthaler, Z. Gantner, L. Schmidt-Thieme, "BPR: Bayesian Personalized
       Ranking from Implicit Feedback", UAI 2009.
    .. [3] J. Weston, S. Bengio, N. Usunier, "WSABIE: Scaling Up To Large Vocabulary Image
       Annotation", IJCAI 2011.
    .. [4] M. Tipping, A. Faul, "Fast Marginal Likelihood Maximisation for Sparse Bayesian Models",
       AISTATS 2003.
    .. [5] M. Stephens, "False discovery rates: a new deal", Biostatistics 18(2), 2017.

    Examples
    --------
    Two groups of users, and two genres of eleven films each. The last film of each genre does not
    occur in training and is ranked by its genre alone:

    >>> import numpy as np
    >>> import pandas as pd
    >>> from skfm import FMRecommender
    >>> films = pd.DataFrame({"space": np.repeat([1, 0], 11), "west": np.repeat([0, 1], 11)})
    >>> new = [10, 21]
    >>> chosen = films.index.drop(new)
    >>> groups = np.eye(2)[np.repeat([0, 1], 10)]
    >>> model = FMRecommender(loss="bpr", item_features=films, random_state=0)
    >>> items, scores = model.fit(groups, chosen).recommend(np.eye(2), 1, candidates=new)
    >>> items.tolist()
    [[10], [21]]
    """

    # Items' features, fields and interactions are checked together with what they depend on.
    _read_only = (
        *("intercept_", "coef_", "components_"),
        *("item_ids_", "item_coef_", "item_components_"),
    )
    _constraints: ClassVar[dict] = {
        "n_components": [RANK],
        "loss": [Options(*ranking.LOSSES)],
        "negatives": [Options("uniform", "popularity"), Interval(numbers.Real, 0, 1)],
        "max_draws": [Interval(numbers.Integral, 1, 1_000_000)],
        "alpha": [AUTO, NON_NEGATIVE],
        "alpha_linear": [AUTO, NON_NEGATIVE],
        "learning_rate": [AUTO, POSITIVE],
        "initial_accumulator": [POSITIVE],
        "batch_size": [AUTO, POSITIVE_INTEGER],
        "max_iter": [POSITIVE_INTEGER],
        "tol": [NON_NEGATIVE],
        "n_iter_no_change": [POSITIVE_INTEGER],
        "init_scale": [NON_NEGATIVE],
        "n_jobs": N_JOBS,
        "verbose": VERBOSE,
    }
    field_interactions, alpha_fields = "plain", None
    degree, fit_lower = 2, True  # what is ranked by products of more features does not split
    # Ids of users that come with the events are meant for `score`: it need not ask for them.
    __metadata_request__score: ClassVar = {"groups": True}

    def __init__(
        self,
        n_components: Int = 64,
        *,
        loss: Literal["warp", "bpr", "logistic"] = "warp",
        item_features: MatrixLike | None = None,
        item_ids: ColumnLike | None = None,
        item_fields: ColumnLike | None = None,
        item_identity: Sequence[Any] = ("item",),
        feature_fields: ColumnLike | None = None,
        user_fields: Sequence[Any] | None = None,
        interactions: Sequence[Sequence[Any]] | None = None,
        fit_linear: bool | Sequence[Any] = True,
        negatives: Literal["uniform", "popularity"] | Float = "uniform",
        max_draws: Int = 10,
        alpha: Float | Literal["auto"] = "auto",
        alpha_linear: Float | Literal["auto"] = "auto",
        learning_rate: Float | Literal["auto"] = "auto",
        initial_accumulator: Float = 1.0,
        batch_size: Int | Literal["auto"] = "auto",
        max_iter: Int = 100,
        tol: Float = 1e-4,
        n_iter_no_change: Int = 5,
        init_scale: Float = 0.05,
        random_state: Seed = None,
        n_jobs: Int | None = None,
        verbose: Int = 0,
    ) -> None:
        self.n_components = n_components
        self.loss = loss
        self.item_features = item_features
        self.item_ids = item_ids
        self.item_fields = item_fields
        self.item_identity = item_identity
        self.feature_fields = feature_fields
        self.user_fields = user_fields
        self.interactions = interactions
        self.fit_linear = fit_linear
        self.negatives = negatives
        self.max_draws = max_draws
        self.alpha = alpha
        self.alpha_linear = alpha_linear
        self.learning_rate = learning_rate
        self.initial_accumulator = initial_accumulator
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.init_scale = init_scale
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags

    def fit(
        self,
        X: MatrixLike,
        y: ColumnLike,
        sample_weight: ArrayLike | None = None,
        *,
        checkpoint: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Fit the model to events.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_events, n_features)
            Context of each event. float32 input is processed in float32, all other types in
            float64.
        y : array-like of shape (n_events,)
            Chosen item of each event: its name in `item_features` or `item_ids`, if there are any.
        sample_weight : array-like of shape (n_events,), default=None
            Weights of the events.
        checkpoint : path, default=None
            A file for the state of training. It is written after each epoch, or less often if
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
            If a parameter or the data is invalid (NaN or infinity, items in y without features, a
            single item, duplicate names), if training diverges, or if `checkpoint` is a damaged
            file or belongs to a fit with other data or parameters.
        OSError
            If `checkpoint` cannot be read or written, or another fit is using it.
        """
        with all_or_nothing(self), using_checkpoint(checkpoint, self.random_state):
            return self._fit(X, y, sample_weight, checkpoint)

    @managing_callbacks
    def _fit(self, X, y, sample_weight, checkpoint):
        self._check_parameters()
        tasks = FitTasks(self, X, y, sample_weight, max_epochs=self.max_iter)
        fields = given_or_carried(self.feature_fields, X, "feature_fields")
        X, y, weight = validation.validate_rows(
            self, X, read_choices(y), sample_weight, numeric_target=False, reset=True
        )
        items = read_items(
            y, self.item_features, self.item_ids, self.item_fields, self.item_identity
        )
        catalogue = LabelledCatalogue(items.names)
        chosen = find_chosen(catalogue, y)
        features = items.features(X.dtype)
        fields = [CONTEXT] * X.shape[1] if fields is None else fields
        fields = check_labels(fields, X.shape[1], "feature_fields", "column of X")
        interactions = self._check_both_fields(fields.astype(object), items.fields)
        validation.check_weight_of_steps(weight)
        data = {"X": X, "y": y, "sample_weight": weight, "fields": fields, "items": features}
        checkpoint = open_checkpoint(checkpoint, self, data)
        rng = checkpoint.random_state(check_random_state(self.random_state))
        settings = self._settings(X.shape[0], interactions.fit_linear)
        if X.shape[0] <= settings.batch_size:
            # A row of weight 2 and two rows draw the same then.
            X, chosen, weight = merge_rows(X, chosen, weight)
        users = Users(X, chosen, features.shape[0], user_columns(self.user_fields, fields))
        choices = make_choices(chosen, users, features, len(self.item_identity), self.negatives)
        sides = ranking.make_ranking_problem(
            X,
            choices,
            weight[:0] if (weight == 1).all() else weight,
            ranking.LOSSES[self.loss],
            self._penalties(),
            interactions,
        )
        start = initial_parameters(sides, float(self.init_scale), rng)
        self._users, self._interactions, self._fitted_loss = users, interactions, self.loss
        self._publish(item_ids_=items.names)
        self._catalogue = catalogue
        self._item_columns = column_names(self.item_features)
        self._n_identities = features.shape[1] - items.given.shape[1]
        self._added_features = items.given[:0]  # of items that `add_items` adds

        def store(number, parameters):
            self._store(sides, parameters)
            self._items = self._coordinates_of_items(features)
            self._prepare_items()
            self.n_iter_ = number

        baseline, listener = ranking.BASELINES[self.loss], tasks.listener(store)
        parameters, history = ranking.train(
            sides, choices, start, settings, rng, baseline, listener, checkpoint.stage("fit")
        )
        store(len(history.loss_curve), parameters)
        self.loss_curve_ = history.loss_curve
        tasks.end()
        if not (history.converged or history.stopped):
            warn_not_converged(self.max_iter, self.tol, "epochs")
        return self

    def _settings(self, n_rows, fit_linear):
        batch_size = unless_auto(self.batch_size, auto_batch_size(n_rows, UPDATES[SOLVER]))
        return Settings(
            solver=SOLVER,
            loss_parameter=0.0,
            max_draws=int(self.max_draws),
            learning_rate=float(unless_auto(self.learning_rate, RATE)),
            initial_accumulator=float(self.initial_accumulator),
            batch_size=int(batch_size),
            max_iter=int(self.max_iter),
            tol=float(self.tol),
            n_iter_no_change=int(self.n_iter_no_change),
            fit_intercept=self.loss == "logistic",
            fit_linear=fit_linear,
            n_threads=n_threads(self.n_jobs),
            verbose=bool(self.verbose),
        )

    def _penalties(self):
        alpha, alpha_linear = ALPHAS[self.loss]
        return Penalties(
            factors=float(unless_auto(self.alpha, alpha)),
            linear=float(unless_auto(self.alpha_linear, alpha_linear)),
        )

    def _check_both_fields(self, of_contexts, of_items):
        """Interactions of the features of contexts and items, given the fields of both."""
        both = np.concatenate([of_contexts, of_items])
        interactions = self._check_interactions(both, both.size)
        has_default = self.interactions is None and isinstance(self.fit_linear, bool)
        check_fields(of_contexts, of_items, interactions, may_share_names=has_default)
        return interactions

    def _store(self, sides, parameters):
        """Parameters in the units of X and item_features; features never seen get zeros."""
        problem, n_contexts = sides.problem, sides.contexts.n_used
        intercept, linear, factors, _ = parameters
        linear, factors = problem.unscaled(linear, factors)
        is_logistic = self.loss == "logistic"
        self._centered = find_centers(
            problem, intercept, linear, self.n_features_in_, may_differ_by_context=is_logistic
        )
        intercept, linear = problem.from_centered(intercept, linear, factors)
        if is_logistic:
            self._publish(intercept_=float(intercept[0]))
        else:  # what is the same for all items was not learned
            self._publish(intercept_=0.0)
            linear[:, :n_contexts] = 0
        linear, factors = linear[0], factors[0]
        coef, components = in_units(sides.contexts, linear[:n_contexts], factors[:n_contexts], "X")
        self._publish(coef_=coef, components_=components.T)
        coef, components = in_units(
            sides.items, linear[n_contexts:], factors[n_contexts:], "item_features"
        )
        self._publish(item_coef_=coef, item_components_=components.T)

    def _coordinates_of_items(self, features):
        """Coordinates of items with these features, as in `_item_table`."""
        side = Side(slice(self.coef_.size, None), self.item_coef_, self.item_components_.T)
        parts = parts_of(features, side, self._interactions, self._centered)
        require_finite(parts.output, parts.sums, "item_features")
        return item_coordinates(parts)

    def _prepare_items(self):
        self._item_table = ItemTable(with_unknown(self._items), self._factors)
        self._items = self._item_table.coordinates[:-1]  # the same memory

    @property
    def _factors(self):
        """Where vectors have their factors: before the constant."""
        return slice(0, self._interactions.n_layers * self._interactions.n_components)

    def _check_rows(self, X):
        check_is_fitted(self)
        return validation.validate_X(self, X)

    def _find_seen(self, rows):
        return self._users.seen_by(rows, self._catalogue.n_items)

    def _find_catalogue(self, item_ids=None):
        return self._catalogue

    def _row_vectors(self, rows):
        side = Side(slice(0, self.coef_.size), self.coef_, self.components_.T)
        parts = parts_of(rows, side, self._interactions, self._centered)
        require_finite(parts.output, parts.layers, "X")
        kind, centered = parts.output.dtype.type, self._centered
        offset = np.zeros_like(parts.output)  # the same for all items: it was not learned
        if self._fitted_loss == "logistic":
            intercept = self.intercept_ if centered is None else centered.intercept
            offset = parts.output + kind(intercept)
        table = padded(parts.layers, np.ones((len(offset), 1), kind))
        return RowVectors(table, kind(1), offset)

    def user_vectors(self, X: MatrixLike) -> FloatArray:
        """Return vectors of contexts, for an index for maximum inner product search.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_rows, n_features)
            Contexts.

        Returns
        -------
        vectors : ndarray of shape (n_rows, n_vector)
            Their inner products with `item_vectors` are the scores.
        """
        vectors = self._row_vectors(self._check_rows(X))
        layers, one = vectors.table[:, self._factors], np.ones_like(vectors.offset)
        extra = (one, vectors.offset) if self._fitted_loss == "logistic" else (one,)
        return np.column_stack([layers, *extra])

    def item_vectors(self) -> FloatArray:
        """Return vectors of items, for an index for maximum inner product search.

        Returns
        -------
        vectors : ndarray of shape (n_items, n_vector)
            See `user_vectors`; in the order of `item_ids_`.
        """
        check_is_fitted(self)
        if self._fitted_loss == "logistic":
            return np.column_stack([self._items, np.ones_like(self._items[:, 0])])
        return self._items.copy()

    def predict_pairs(self, X: MatrixLike, rows: ArrayLike, items: ColumnLike) -> FloatArray:
        """Predict the scores of pairs of a context and an item.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_rows, n_features)
            Contexts.
        rows : array-like of int of shape (n_pairs,)
            Rows of X; -1 for an unknown context.
        items : array-like of shape (n_pairs,)
            Names of items; None for an unknown item.

        Returns
        -------
        scores : ndarray of shape (n_pairs,)
            For "logistic", the log-odds that an item was chosen rather than sampled. Otherwise,
            only differences within a row are meaningful. Unknown contexts and items contribute 0,
            as do rows of zeros and features that do not occur in training.
        """
        return self._predict_pairs(X, rows, items)

    def predict(self, X: MatrixLike) -> NDArray[Any]:
        """Predict the item with the highest score for each context, including items seen before.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_rows, n_features)
            Contexts.

        Returns
        -------
        items : ndarray of shape (n_rows,)
            Names of items.
        """
        items, _ = self.recommend(X, 1, exclude_seen=False)
        return items[:, 0]

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
    ) -> Any:
        """Recommend the items with the highest scores in each context.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_rows, n_features)
            Contexts.
        n_items : int, default=10
            Number of items to recommend. If there are fewer items, all of them are ranked.
        exclude_seen : bool, default=True
            Whether to leave out the items that the same user (see `user_fields`) has chosen in
            `fit`.
        candidates : array-like or set of shape (n_candidates,), default=None
            Items to choose from: names, or a mask of all items. None means all items.
        exclude : array-like or set of items, or sparse matrix of shape (n_rows, n_items), \
                default=None
            Items that are not recommended in any row, or a matrix whose stored entries, including
            zeros, mark the items that are not recommended in each row.
        output : {"default", "pandas", "polars"}, default="default"
            "default" returns two arrays with one row per context. "pandas" and "polars" return a
            DataFrame with one row per recommendation.
        user_ids : array-like of shape (n_rows,), default=None
            Names of the contexts, such as the users, for the DataFrame. Names may occur several
            times. None uses the index of X if X is a pandas DataFrame, and otherwise the row
            numbers.

        Returns
        -------
        items : ndarray of shape (n_rows, n_items)
            Names of items, in the order of decreasing scores. If there are too few items for a
            row, the last entries are None.
        scores : ndarray of shape (n_rows, n_items)
            Scores of these items; -inf where there is no item.
        frame : DataFrame of shape (n_recommendations, 4)
            Returned instead of the two arrays if `output` is "pandas" or "polars". The columns are
            "user", "item", "score" and "rank", which is 1 for the best item. Contexts are in the
            order of X, and have fewer rows if there are too few items for them.

        Raises
        ------
        ValueError
            If there are no items to choose from, or if an item is unknown.
        ImportError
            If the package in `output` is not installed.
        """
        return self._recommend(X, n_items, exclude_seen, candidates, exclude, output, user_ids)

    def similar_items(
        self,
        items: ColumnLike,
        n_items: Int = 10,
        *,
        output: Literal["default", "pandas", "polars"] = "default",
    ) -> Any:
        """Find the items most similar to given items.

        Parameters
        ----------
        items : array-like of shape (n_queries,)
            Names of items.
        n_items : int, default=10
            Number of similar items, at most the number of all items. For all items, the last place
            is empty, as in `recommend`, because an item is not similar to itself.
        output : {"default", "pandas", "polars"}, default="default"
            What to return, as in `recommend`.

        Returns
        -------
        similar : ndarray of shape (n_queries, n_items)
            Names, most similar first. An item is never similar to itself.
        similarities : ndarray of shape (n_queries, n_items)
            Cosine similarities of their vectors.
        frame : DataFrame of shape (n_similar, 4)
            Returned instead of the two arrays if `output` is "pandas" or "polars". The columns are
            "item", "similar_item", "similarity" and "rank".
        """
        return self._similar_items(items, n_items, output)

    def similar_users(
        self,
        X: MatrixLike,
        rows: ArrayLike | None = None,
        n_users: Int = 10,
        *,
        output: Literal["default", "pandas", "polars"] = "default",
        user_ids: ColumnLike | None = None,
    ) -> Any:
        """Find the contexts whose preferences for items are most similar to those of given ones.

        To find similar users, pass one row per user, since rows of the same user are similar to
        each other.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_users, n_features)
            Contexts to compare.
        rows : array-like of int of shape (n_queries,), default=None
            Rows of X for which to find similar rows. None means all rows.
        n_users : int, default=10
            Number of similar rows, at most the number of rows. For all rows, the last place is
            empty, as in `recommend`.
        output : {"default", "pandas", "polars"}, default="default"
            What to return, as in `recommend`.
        user_ids : array-like of shape (n_users,), default=None
            Names of the rows of X, which are then returned instead of row numbers. If None, a
            DataFrame contains the index of X if X is a pandas DataFrame.

        Returns
        -------
        similar : ndarray of shape (n_queries, n_users)
            Rows of X, or names, most similar first. A row is never similar to itself.
        similarities : ndarray of shape (n_queries, n_users)
            Cosine similarities of their vectors.
        frame : DataFrame of shape (n_similar, 4)
            Returned instead of the two arrays if `output` is "pandas" or "polars". The columns are
            "user", "similar_user", "similarity" and "rank".
        """
        return self._similar_users(X, rows, n_users, output, user_ids)

    def add_items(self, item_features: MatrixLike, item_ids: ColumnLike | None = None) -> Self:
        """Add items that appeared after `fit`, which are ranked by their features only.

        Parameters
        ----------
        item_features : DataFrame, array-like or sparse matrix of shape (n_new, n_item_features)
            Features of the new items, with the same columns as `item_features` in `fit`.
        item_ids : array-like of shape (n_new,), default=None
            Names of the new items. None uses the index of a DataFrame, and otherwise the row
            numbers.

        Returns
        -------
        self : object
            The estimator.

        Raises
        ------
        ValueError
            If an item is already known, or if the columns differ from those in `fit`.
        """
        check_is_fitted(self)
        n_given = self.item_coef_.size - self._n_identities
        if n_given == 0:
            raise ValueError(
                "The model was fitted without item_features, so it cannot rank new items; "
                "pass item_features to the constructor and fit again."
            )
        names, given = read_features(item_features, item_ids, n_given)
        check_columns(item_features, self._item_columns)
        known = self._catalogue.find(names) >= 0
        if known.any():
            raise ValueError(
                f"item_features contains {known.sum()} items that the model already has, such as "
                f"{np.asarray(names)[known][:5].tolist()}."
            )
        given = to_dtype(given, self.item_coef_.dtype)
        added = self._coordinates_of_items(blank_features(given, self._n_identities))
        joined = join_ids(self.item_ids_, names)
        features = sparse.vstack([self._added_features, given], format="csr")
        with unchanged_by_errors(self):
            self._publish(item_ids_=joined)
            self._catalogue = LabelledCatalogue(joined)
            self._added_features = features
            self._items = np.concatenate([self._items, added])
            self._prepare_items()
        return self

    def rank_held_out(
        self,
        X: MatrixLike,
        y: ColumnLike,
        k: Int = RANKED,
        *,
        groups: ColumnLike | None = None,
        sample_weight: ArrayLike | None = None,
        exclude_seen: bool = True,
        candidates: ItemsLike | None = None,
        exclude: ItemsLike | SupportsSparse | None = None,
    ) -> tuple[SparseMatrix, IntArray]:
        """Rank items in the contexts of held-out events, for the evaluation of the rankings.

        There is one ranking for each user and context: the events of a user with equal rows in X
        are evaluated together. The users are identified by `groups` or, if None, by the fields in
        `user_fields`. These fields cannot identify users who do not occur in training, because
        different users may have equal rows. Without `groups`, each of their events is therefore
        evaluated alone.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_events, n_features)
            Contexts of the events.
        y : array-like of shape (n_events,)
            Chosen items. Items that the model does not know count as misses.
        k : int, default=10
            Number of items to rank, at least 1.
        groups : array-like of shape (n_events,), default=None
            Id of the user of each event. Events with a missing id (None or NaN) are evaluated
            alone. If None, the users are identified by `user_fields`.
        sample_weight : array-like of shape (n_events,), default=None
            Weights of the events, which are the gains of the relevant items.
        exclude_seen : bool, default=True
            Whether to leave out the items that the same user has chosen in `fit`, unless they are
            also in y.
        candidates, exclude : default=None
            See `recommend`. A matrix in `exclude` has one row per event.

        Returns
        -------
        relevant : CSR matrix of shape (n_rankings, n_items or more)
            Weight of each item in each ranking. Unknown items are in additional columns after the
            known ones. Rankings are in the order of their first events.
        items : ndarray of shape (n_rankings, k)
            Positions of the ranked items, best first, as input for the functions of
            :mod:`skfm.metrics`. -1 marks a place without an item.

        Raises
        ------
        ValueError
            If `y`, `sample_weight` or `groups` does not contain one value per row of X.
        """
        k = validation.check_number(k, "k", numbers.Integral, low=1, high=np.iinfo(np.int32).max)
        validation.check_flag(exclude_seen, "exclude_seen")
        X = self._check_rows(X)
        users = users_of_events(self._users, X, groups)
        held_out = held_out_rankings(X, self._catalogue, y, sample_weight, users)
        if is_matrix(exclude):
            exclude = read_excluded(exclude, X.shape[0], self._catalogue)
            exclude = combine_rows(exclude, held_out.ranking, held_out.first.size)
        items = self._rank(
            X[held_out.first],
            k,
            held_out.relevant[:, : self._catalogue.n_items],
            exclude_seen=exclude_seen,
            candidates=candidates,
            exclude=exclude,
        )
        return in_configured_interface(held_out.relevant), items

    def score(
        self,
        X: MatrixLike,
        y: ColumnLike,
        sample_weight: ArrayLike | None = None,
        groups: ColumnLike | None = None,
    ) -> float:
        """Compute the mean NDCG of the first ten items over the rankings of users and contexts.

        See `rank_held_out` for which events form a ranking.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_events, n_features)
            Contexts of held-out events.
        y : array-like of shape (n_events,)
            Items chosen.
        sample_weight : array-like of shape (n_events,), default=None
            Weights of the events, which are the gains of the relevant items.
        groups : array-like of shape (n_events,), default=None
            Id of the user of each event, as in `rank_held_out`. If None, the users are identified
            by `user_fields`.

        Returns
        -------
        score : float
            Mean NDCG, between 0 and 1. Higher is better.

        Raises
        ------
        ValueError
            If `y`, `sample_weight` or `groups` does not contain one value per row of X.

        Notes
        -----
        With scikit-learn's metadata routing, `groups` is requested by default. Searches,
        cross-validation and pipelines then pass it to this method, as they do to
        :class:`~sklearn.model_selection.GroupKFold`.
        """
        relevant, items = self.rank_held_out(X, y, sample_weight=sample_weight, groups=groups)
        return float(ndcg_at_k(relevant, items, RANKED))
