"""Learning to rank: the items that a context wants first, by their features."""

import numbers
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skfm._fm.feature_groups import check_labels
from skfm._fm.interactions import carried, check_interactions
from skfm._recommenders.item_features import (
    check_columns,
    column_names,
    in_units,
    read_choices,
    read_features,
    read_items,
)
from skfm._recommenders.output import check_output
from skfm._recommenders.recommend import (
    LabelledCatalogue,
    are_cells,
    best_items,
    choose_from,
    padded,
    products,
    rank_hidden,
    read_cells,
    read_pairs,
    recommended,
    similar,
    similar_rows,
    with_empty_row,
)
from skfm._recommenders.users import Owners, chosen_columns, hide_chosen, unite, users_of
from skfm._solvers.fm.batches import auto_batch_size
from skfm._solvers.fm.minibatch import Settings
from skfm._solvers.fm.optimizer_state import UPDATES
from skfm._solvers.fm.problem import Penalties, subtract
from skfm._solvers.ranking import training as ranking
from skfm._utils import validation as door
from skfm._utils.equal_rows import merge_rows
from skfm._utils.estimator import KeptEstimator, PrintableEstimator, all_or_nothing
from skfm._utils.ids import join_ids
from skfm._utils.pickling import Kept
from skfm._utils.threads import n_threads
from skfm._utils.warnings import warn
from skfm.metrics import ndcg_at_k

SOLVER = "adagrad"
RATE = 0.1  # of "auto"
ALPHAS = {"warp": (1.0, 30.0), "bpr": (0.2, 10.0), "logistic": (0.35, 10.0)}  # and alpha_linear
RANKED = 10  # items, for `score`
CONTEXT = "context"  # the field of the features of X if nothing else is said


@dataclass
class _Centered(Kept):
    """Parameters of features less their centers, of contexts and items."""

    center: np.ndarray  # (n_features + n_all_item_features,)
    coef: np.ndarray
    intercept: float


class FMRecommender(KeptEstimator, PrintableEstimator):
    """Factorization machine that learns to rank the items for a context.

    Each row of X is the context of an event (the user, their attributes, the time, previous
    items), and y is the item that was chosen. Each item has an indicator feature of its own and
    the features in `item_features`. The score of an item ``i`` in a context ``x`` is a
    factorization machine on the features of both [1]_:

    ``score(x, i) = a(x) + b(i) + <s(x), s(i)>``

    where ``s`` is the sum of the vectors of all features, multiplied by their values. ``a(x)`` is
    the same for all items and does not change the ranking. The model is trained by comparing the
    chosen item with randomly sampled negative items. With weights ``c`` of the events, and with
    the penalties of all features, the objective is

    ``sum c loss(score(x, chosen) - score(x, sampled))
    + sum_j (alpha_linear w_j^2 + alpha sqrt(n_j) ||v_j||^2) / 2``

    If the context is a one-hot encoded user and there are no `item_features`, the model is a
    matrix factorization for ranking. With `item_features`, cold-start items are ranked by their
    features, in the same way as cold-start users are by features of the context.

    The parameters of `item_features` are not trained on the events but on the items: after each
    epoch, a regression estimates how much of the items' vectors and weights they explain, and the
    indicator features keep the remainder. Each item counts once in this regression. Its
    coefficients are shrunk by empirical Bayes [4]_ [5]_, without a parameter to tune:
    uninformative columns do little harm, and columns of few items, such as a director, count if
    most columns of this kind are informative. Columns far from 0 in all rows, such as years, are
    centered. (The parameters of `item_features` are trained on the events if `item_identity` is
    empty, if items have no linear weights, or if `interactions` or `fit_linear` treat a column
    unlike the indicator features.)

    Read more in the :doc:`user guide </ranking>`.

    Parameters
    ----------
    n_components : int, default=64
        Length of the vectors. With 0, the ranking does not depend on the context.
    loss : {"warp", "bpr", "logistic"}, default="warp"
        "bpr" is Bayesian personalized ranking [2]_, the log loss of the difference of the two
        scores.

        "warp" [3]_ samples items until the score of one of them comes within a margin of 1 of the
        score of the chosen item, at most `max_draws` times. The fewer draws this takes, the
        further down the chosen item is estimated to be ranked, and the larger is the weight of the
        event, ``log(1 + rank) / log(1 + n_others)``. Here, ``rank`` is the number of other items
        divided by the number of draws, rounded down, and at least 1. This loss emphasizes the top
        of the ranking.

        "logistic" is the log loss of chosen items as positives and sampled items as negatives. It
        also fits an intercept and the context's part ``a(x)``.
    item_features : DataFrame, array-like or sparse matrix of shape (n_items, n_item_features), \
            default=None
        Numerical features of the items, such as genres as 0 and 1. The index of a DataFrame
        contains the names of the items. Items that are never chosen may be included and can be
        recommended. With None, the items are those in y, and their indicator features are their
        only features.
    item_ids : array-like of shape (n_items,), default=None
        Names of the rows of `item_features`. None uses the index of a DataFrame, and otherwise the
        row numbers.
    item_fields : array-like of shape (n_item_features,), default=None
        Field of each column of `item_features`, as a label, for `interactions` and `fit_linear`.
        None uses ``item_features.feature_fields`` if it exists, and otherwise "item_features" for
        all columns.
    item_identity : sequence of fields, default=("item",)
        Fields of the indicator features. Each item has one indicator in each of these fields; if
        empty, items have no indicators. The indicators of items that are not chosen in `fit` are
        0, so these items are scored by their other features only.
    feature_fields : array-like of shape (n_features,), default=None
        Field of each column of X, as a label. None uses the fields that X carries, if it comes
        from :class:`~skfm.preprocessing.EventEncoder`, and otherwise "context" for all columns.
    user_fields : sequence of fields, default=None
        Fields of X that together identify the user. The items that a user has chosen in any event
        are not sampled as negatives for the user's other events, `recommend` leaves them out, and
        `score` evaluates them together. None uses all columns: rows belong to the same user if
        they are equal. A row of zeros belongs to no user.
    interactions : list of pairs of fields, default=None
        Pairs of fields whose features interact. None means all pairs.
    fit_linear : bool or list of fields, default=True
        Whether features have linear weights. A list contains the fields whose features have them.
    negatives : {"uniform", "popularity"} or float, default="uniform"
        Distribution of the sampled items, among the items in y. "uniform" samples all items with
        the same probability, and "popularity" in proportion to the weight of their events. A
        number between 0 and 1 is the exponent of this weight.
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
        Maximum number of epochs. Fewer epochs often rank better: tune this parameter or `alpha`.
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
        Number of threads. None means 1, and -1 means all processors.
    verbose : int, default=0
        If 1, progress is written to stderr: the epoch, the objective, and the rows per second,
        without compilation. A terminal shows a single line that is updated; a file or a notebook
        gets a line every ten seconds. The last line states whether training converged or reached
        `max_iter`.

    Attributes
    ----------
    item_ids_ : ndarray of shape (n_items,)
        Names of the items, in the order of the rows of `item_features`, or sorted. The items of
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
        this epoch. For "warp", the penalty is not included: since the steps treat the weights of
        the comparisons as constants, the sum of loss and penalty is not what they minimize.
    n_features_in_ : int
        Number of features of the contexts seen during `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of these features. Defined only if all names are strings.

    See Also
    --------
    MFRecommender : Matrix factorization of a user-item matrix, without features.
    FMClassifier : Predicts whether an item is chosen, rather than which.

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

    degree, fit_lower = 2, True  # what is ranked by products of more features does not split
    # Ids of users that come with the events are meant for `score`: it need not ask for them.
    __metadata_request__score: ClassVar = {"groups": True}

    def __init__(
        self,
        n_components=64,
        *,
        loss="warp",
        item_features=None,
        item_ids=None,
        item_fields=None,
        item_identity=("item",),
        feature_fields=None,
        user_fields=None,
        interactions=None,
        fit_linear=True,
        negatives="uniform",
        max_draws=10,
        alpha="auto",
        alpha_linear="auto",
        learning_rate="auto",
        initial_accumulator=1.0,
        batch_size="auto",
        max_iter=100,
        tol=1e-4,
        n_iter_no_change=5,
        init_scale=0.05,
        random_state=None,
        n_jobs=None,
        verbose=0,
    ):
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
        tags.input_tags.sparse = True
        tags.target_tags.required = True
        return tags

    def _check_parameters(self):
        integer, real = numbers.Integral, numbers.Real
        door.check_n_components(self.n_components)
        door.check_option(self.loss, "loss", ranking.LOSSES)
        if isinstance(self.negatives, str):
            door.check_option(self.negatives, "negatives", ("uniform", "popularity"))
        else:
            door.check_number(self.negatives, "negatives", real, low=0, high=1)
        door.check_number(self.max_draws, "max_draws", integer, low=1, high=1_000_000)
        door.check_auto_or_number(self.alpha, "alpha", low=0)
        door.check_auto_or_number(self.alpha_linear, "alpha_linear", low=0)
        door.check_auto_or_number(self.learning_rate, "learning_rate", low=0, boundaries="neither")
        door.check_number(
            self.initial_accumulator, "initial_accumulator", real, low=0, boundaries="neither"
        )
        if isinstance(self.batch_size, str):
            door.check_option(self.batch_size, "batch_size", ("auto",))
        else:
            door.check_number(self.batch_size, "batch_size", integer, low=1)
        door.check_number(self.max_iter, "max_iter", integer, low=1)
        door.check_number(self.tol, "tol", real, low=0)
        door.check_number(self.n_iter_no_change, "n_iter_no_change", integer, low=1)
        door.check_number(self.init_scale, "init_scale", real, low=0)
        door.check_n_jobs_and_verbose(self.n_jobs, self.verbose)

    def fit(self, X, y, sample_weight=None):
        """Fit the model to events.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_events, n_features)
            Context of each event. float32 is trained in float32, everything else in float64.
        y : array-like of shape (n_events,)
            Items that were chosen: their names in `item_features` or `item_ids`, if given.
        sample_weight : array-like of shape (n_events,), default=None
            Weights of the events.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter or the data is invalid (NaN or infinity, items in y without features,
            a single item, duplicate names), or if training diverges.
        """
        with all_or_nothing(self):
            return self._fit(X, y, sample_weight)

    def _fit(self, X, y, sample_weight):
        self._check_parameters()
        fields = carried(self, X, "feature_fields")
        X, y, weight = door.validate_rows(
            self, X, read_choices(y), sample_weight, numeric_target=False, reset=True
        )
        items = read_items(self, y)
        catalogue = LabelledCatalogue(items.names)
        chosen = self._positions(catalogue, y)
        features = items.features(X.dtype)
        fields = [CONTEXT] * X.shape[1] if fields is None else fields
        fields = check_labels(fields, X.shape[1], "feature_fields", "a column of X")
        interactions = self._check_interactions(fields.astype(object), items.fields)
        door.check_weight_of_steps(weight)
        rng = check_random_state(self.random_state)
        rate = RATE if self.learning_rate == "auto" else float(self.learning_rate)
        batch_size = self.batch_size
        if batch_size == "auto":
            batch_size = auto_batch_size(X.shape[0], UPDATES[SOLVER])
        batch_size = int(batch_size)
        if X.shape[0] <= batch_size:  # a row of weight 2 and two rows draw the same then
            X, chosen, weight = merge_rows(X, chosen, weight)
        self._owners = Owners(X, chosen, features.shape[0], chosen_columns(self, fields))
        sides, choices = self._state(X, chosen, weight, features, interactions)
        start = self._initial(sides, rng)
        settings = Settings(
            solver=SOLVER,
            loss_shape=float(self.max_draws),
            learning_rate=rate,
            floor=float(self.initial_accumulator),
            batch_size=batch_size,
            max_iter=int(self.max_iter),
            tol=float(self.tol),
            n_iter_no_change=int(self.n_iter_no_change),
            fit_intercept=self.loss == "logistic",
            fit_linear=interactions.fit_linear,
            n_threads=n_threads(self.n_jobs),
            verbose=bool(self.verbose),
        )
        parameters, history = ranking.train(
            sides, choices, start, settings, rng, ranking.BASELINES[self.loss]
        )
        self._interactions = interactions
        self._store(sides, parameters)
        self.item_ids_ = items.names
        self._catalogue = catalogue
        self._item_columns = column_names(self.item_features)
        self._n_identities = features.shape[1] - items.given.shape[1]
        self._fitted_loss = self.loss
        self._item_parts = self._parts_of_items(features)
        self.n_iter_ = len(history.loss_curve)
        self.loss_curve_ = history.loss_curve
        if not history.converged:
            warn(
                f"max_iter={self.max_iter} epochs ended before the objective stopped improving "
                f"by tol={self.tol}; raise max_iter or tol.",
                ConvergenceWarning,
            )
        return self

    def _check_interactions(self, of_contexts, of_items):
        both = np.concatenate([of_contexts, of_items])
        interactions = check_interactions(self, both, both.size)
        names = set(of_items)
        shared = [name for name in dict.fromkeys(of_contexts) if name in names]
        if shared and not (self.interactions is None and isinstance(self.fit_linear, bool)):
            raise ValueError(
                f"{shared[0]!r} is a field of X and one of items, so interactions and fit_linear "
                "cannot tell them apart; call it otherwise in feature_fields, item_fields or "
                "item_identity."
            )
        of_items = slice(of_contexts.size, None)
        has_partners = interactions.partners.any(axis=0)[interactions.feature_class[of_items]]
        is_idle = ~has_partners & ~interactions.has_linear[of_items]
        if is_idle.any():
            raise ValueError(
                f"The field {both[of_items][is_idle][0]!r} of items is in no pair of interactions "
                "and has no linear weights (fit_linear), so it would say nothing; name it there, "
                "or leave it out."
            )
        return interactions

    def _positions(self, catalogue, y):
        positions = catalogue.find(y)
        unknown = positions < 0
        if unknown.any():
            names = list(dict.fromkeys(np.asarray(y)[unknown].tolist()))
            difference = catalogue.difference(y)
            raise ValueError(
                f"y has {len(names)} items without a row in item_features (or item_ids), such as "
                f"{names[:5]}{difference and '; '}{difference}; add their rows, or drop these "
                "events."
            )
        if positions.min() == positions.max():
            raise ValueError(
                f"y has one item only (n_samples = {positions.size}): there is nothing to rank."
            )
        return positions

    def _state(self, X, chosen, weight, features, interactions):
        used, chosen = np.unique(chosen, return_inverse=True)
        exponent = {"uniform": 0.0, "popularity": 1.0}.get(self.negatives, self.negatives)
        choices = ranking.Choices(
            item=chosen.astype(np.int64),
            owner=self._owners.of_row,
            features=door.as_csr(features[used]),
            n_own=len(self.item_identity),
            exponent=float(exponent),
            seen=self._owners.seen[:, used].sorted_indices(),
        )
        if (weight == 1).all():
            weight = weight[:0]
        given = self.alpha, self.alpha_linear
        alphas = [
            auto if alpha == "auto" else float(alpha)
            for alpha, auto in zip(given, ALPHAS[self.loss], strict=True)
        ]
        sides = ranking.make_ranking_problem(
            X,
            choices,
            weight,
            ranking.LOSSES[self.loss],
            Penalties(*alphas),
            interactions,
        )
        return sides, choices

    def _initial(self, sides, rng):
        problem = sides.problem
        factors = problem.random_factors(1, problem.n_used, float(self.init_scale), rng)
        factors[:, sides.contexts.n_used + np.flatnonzero(sides.explained.mask)] = 0
        return np.zeros(1), np.zeros((1, problem.n_used), factors.dtype), factors

    def _store(self, sides, parameters):
        """Parameters in the units of X and item_features; features never seen get zeros."""
        dtype, problem = parameters[2].dtype, sides.problem
        linear, factors = problem.unscaled(*parameters[1:])
        self._centered = self._centers(problem, parameters[0], linear)
        intercept, linear = problem.from_centered(parameters[0], linear, factors)
        self.intercept_ = float(intercept[0]) if self.loss == "logistic" else 0.0
        if self.loss != "logistic":  # what is the same for all items was not learned
            linear[:, : sides.contexts.n_used] = 0
        for prefix, problem, part in (
            ("", sides.contexts, slice(0, sides.contexts.n_used)),
            ("item_", sides.items, slice(sides.contexts.n_used, None)),
        ):
            n_features = problem.position.size
            coef = np.zeros(n_features, dtype)
            table = np.zeros((n_features, factors.shape[2]), dtype)
            with np.errstate(over="ignore"):  # the result is checked instead
                coef[problem.used] = linear[0, part]
                table[problem.used] = factors[0, part]
            if not (np.isfinite(coef).all() and np.isfinite(table).all()):
                raise ValueError(
                    f"A column of {'item_features' if prefix else 'X'} is too small for "
                    f"parameters in {dtype}; scale it, or pass X in float64."
                )
            setattr(self, f"{prefix}coef_", coef)
            setattr(self, f"{prefix}components_", table.T)

    def _centers(self, problem, intercept, linear):
        """What is served if columns are centered: with what is the same for all items, sums of
        vectors would be all alike, and rounded as that is."""
        if not problem.center.any():
            return None
        center, coef = np.zeros((2, problem.position.size), linear.dtype)
        center[problem.used], coef[problem.used] = problem.center, linear[0]
        if self.loss != "logistic":
            coef[: self.n_features_in_] = intercept = 0
        return _Centered(center, coef, float(np.ravel(intercept)[0]))

    # --- what is served -------------------------------------------------------------------

    def _parts_of_items(self, features):
        """Outputs of items alone, and their sums by class."""
        side = slice(self.coef_.size, None)
        output, sums, _ = self._parts(features, side, self.item_coef_, self.item_components_)
        self._require_finite(output, sums, "item_features")
        return output, sums

    def _parts(self, rows, side, coef, components):
        dtype = coef.dtype
        with np.errstate(over="ignore", invalid="ignore"):
            rows = rows.astype(dtype, copy=False)
            if self._centered is not None:
                rows = subtract(rows, self._centered.center[side].astype(dtype))
                coef = self._centered.coef[side].astype(dtype)
            return self._interactions.parts(rows, side, coef, components.T)

    def _require_finite(self, output, table, name):
        if not (np.isfinite(output).all() and np.isfinite(table).all()):
            raise ValueError(
                f"{name} has values that are too large for scores in {self.coef_.dtype}; scale "
                "them, or lower learning_rate."
            )

    def _contexts(self, X, *, and_unknown=False):
        """Checked rows, what they bring to every score, and their layers; if wanted, of an empty
        row as well, at the end."""
        check_is_fitted(self)
        X = door.validate_X(self, X)
        if and_unknown:
            X = with_empty_row(X)
        side = slice(0, self.coef_.size)
        output, _, layers = self._parts(X, side, self.coef_, self.components_)
        self._require_finite(output, layers, "X")
        if self._fitted_loss == "logistic":
            centered = self._centered
            intercept = self.intercept_ if centered is None else centered.intercept
            return X, output + output.dtype.type(intercept), layers
        return X, np.zeros_like(output), layers  # the same for all items: it was not learned

    def _tables(self, layers):
        """Tables of contexts and items, whose rows' products are the scores, less the contexts'
        own part."""
        output, sums = self._item_parts
        ones = np.ones((len(layers), 1), layers.dtype)
        return padded(layers, ones), padded(sums, output[:, None])

    def user_vectors(self, X):
        """Return vectors of contexts, as queries for an index for maximum inner product search.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_rows, n_features)
            Contexts.

        Returns
        -------
        vectors : ndarray of shape (n_rows, n_vector)
            The inner products with `item_vectors` are the scores.
        """
        _, own, layers = self._contexts(X)
        one = np.ones_like(own)
        extra = (one, own) if self._fitted_loss == "logistic" else (one,)
        return np.column_stack([layers, *extra])

    def item_vectors(self):
        """Return vectors of items, for an index for maximum inner product search.

        Returns
        -------
        vectors : ndarray of shape (n_items, n_vector)
            See `user_vectors`. In the order of `item_ids_`.
        """
        check_is_fitted(self)
        output, sums = self._item_parts
        extra = (output, np.ones_like(output))
        return np.column_stack([sums, *extra[: 1 + (self._fitted_loss == "logistic")]])

    def predict_pairs(self, X, rows, items):
        """Predict the scores of pairs of a context and an item.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_rows, n_features)
            Contexts.
        rows : array-like of int of shape (n_pairs,)
            Contexts, as rows of X; -1 for an unknown context.
        items : array-like of shape (n_pairs,)
            Names of items; None for an unknown item.

        Returns
        -------
        scores : ndarray of shape (n_pairs,)
            For "logistic", the log-odds that an item was chosen rather than sampled. For the other
            losses, only the differences between the scores of a row are meaningful. Unknown
            contexts and items contribute nothing, like rows of zeros and features that do not
            occur in training.
        """
        X, own, layers = self._contexts(X, and_unknown=True)
        rows, items = read_pairs(rows, items, X.shape[0] - 1, self._catalogue)
        contexts, table = self._tables(layers)
        table = np.concatenate([table, np.zeros_like(table[:1])])  # last, where -1 finds it
        return products(contexts, table, rows, items) + own[rows]

    def predict(self, X):
        """Predict the item with the highest score for each context, whether seen or not.

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
        X,
        n_items=10,
        *,
        exclude_seen=True,
        candidates=None,
        exclude=None,
        output="default",
        user_ids=None,
    ):
        """Recommend the items with the highest scores for each context.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_rows, n_features)
            Contexts.
        n_items : int, default=10
            Number of items to recommend. If there are fewer candidates, all of them are ranked.
        exclude_seen : bool, default=True
            Whether to leave out the items that the same user chose in `fit` (see `user_fields`).
        candidates : array-like of shape (n_candidates,), default=None
            Recommend only these items: names, or a mask of all items.
        exclude : array-like of items, or sparse matrix of shape (n_rows, n_items), default=None
            Items that are never recommended or, as a sparse matrix, entries (including stored
            zeros) that mark items not to recommend for single rows.
        output : {"default", "pandas", "polars"}, default="default"
            "default" returns two arrays with one row per context. "pandas" and "polars" return a
            DataFrame of that package with one row per recommendation.
        user_ids : array-like of shape (n_rows,), default=None
            Names of the contexts in the DataFrame, such as the users; names may be repeated. None
            uses the index of X if X is a pandas DataFrame, and otherwise the row numbers.

        Returns
        -------
        items : ndarray of shape (n_rows, n_items)
            Names of items, best first. If a row has too few items, the remaining places are None.
        scores : ndarray of shape (n_rows, n_items)
            Scores of the items; -inf for places without an item.
        frame : DataFrame of shape (n_recommendations, 4)
            Instead of the two arrays, depending on `output`; with the columns "user", "item",
            "score" and "rank", which is 1 for the best item. Contexts are in the order of X. Those
            with too few items have fewer rows.

        Raises
        ------
        ValueError
            If there is no item to choose from, or an item is unknown.
        ImportError
            If `output` names a package that is not installed.
        """
        door.check_flag(exclude_seen, "exclude_seen")
        check_output(output)
        rows, own, layers = self._contexts(X)
        seen = self._seen(rows) if exclude_seen else None
        options = {"candidates": candidates, "exclude": exclude}
        left = choose_from(self._catalogue, seen, rows.shape[0], **options)
        items, scores = self._best(layers, n_items, *left)
        return recommended(X, self._catalogue, items, scores + own[:, None], user_ids, output)

    def _best(self, layers, n_items, columns, hidden):
        tables, threads = self._tables(layers), n_threads(self.n_jobs)
        return best_items(*tables, n_items, columns, hidden, threads)

    def _seen(self, X):
        return self._owners.seen_by(X, self._catalogue.n_items)

    def similar_items(self, items, n_items=10, *, output="default"):
        """Find the items that are most similar to given items.

        Parameters
        ----------
        items : array-like of shape (n_queries,)
            Names of items.
        n_items : int, default=10
            Number of similar items, at most the number of all items. In that case, the last place
            is empty, as in `recommend`.
        output : {"default", "pandas", "polars"}, default="default"
            Type of the result, as in `recommend`.

        Returns
        -------
        similar : ndarray of shape (n_queries, n_items)
            Names of items, most similar first. The item itself is not included.
        similarities : ndarray of shape (n_queries, n_items)
            Cosine similarities of the vectors.
        frame : DataFrame of shape (n_similar, 4)
            Instead of the two arrays, depending on `output`; with the columns "item",
            "similar_item", "similarity" and "rank".
        """
        check_is_fitted(self)
        check_output(output)
        asked = self._catalogue.positions(items, "items")
        vectors, threads = self._item_parts[1], n_threads(self.n_jobs)
        return similar("item", self._catalogue, vectors, asked, n_items, output, threads)

    def similar_users(self, X, rows=None, n_users=10, *, output="default", user_ids=None):
        """Find the contexts that are most similar to given contexts, and prefer the same items.

        To find similar users, pass one row per user: several rows of a user would be similar to
        each other.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_users, n_features)
            Contexts to compare.
        rows : array-like of int of shape (n_queries,), default=None
            Rows of X for which to find similar ones. None means all of them.
        n_users : int, default=10
            Number of similar rows, at most the number of rows. In that case, the last place is
            empty, as in `recommend`.
        output : {"default", "pandas", "polars"}, default="default"
            Type of the result, as in `recommend`.
        user_ids : array-like of shape (n_users,), default=None
            Names of the rows of X, which are returned instead of their numbers. None returns the
            numbers or, if both X and the output are DataFrames, and X is a pandas one, its index.

        Returns
        -------
        similar : ndarray of shape (n_queries, n_users)
            Rows of X, most similar first, or names. The row itself is not included.
        similarities : ndarray of shape (n_queries, n_users)
            Cosine similarities of the vectors.
        frame : DataFrame of shape (n_similar, 4)
            Instead of the two arrays, depending on `output`; with the columns "user",
            "similar_user", "similarity" and "rank".
        """
        check_output(output)
        _, _, layers = self._contexts(X)
        vectors = layers * self._item_parts[1].any(axis=0)  # what no item meets does not count
        threads = n_threads(self.n_jobs)
        return similar_rows(X, vectors, rows, n_users, user_ids, output, threads)

    def add_items(self, item_features, item_ids=None):
        """Add items that appear after `fit`, which are ranked by their features alone.

        Parameters
        ----------
        item_features : DataFrame, array-like or sparse matrix of shape (n_new, n_item_features)
            Features of the new items, with the same columns as `item_features`.
        item_ids : array-like of shape (n_new,), default=None
            Names of the new items. None uses the index of a DataFrame, or the row numbers.

        Returns
        -------
        self : object
            The estimator.

        Raises
        ------
        ValueError
            If an item is already known, or the columns are not those of `item_features`.
        """
        check_is_fitted(self)
        n_given = self.item_coef_.size - self._n_identities
        if n_given == 0:
            raise ValueError(
                "The model was fitted without item_features, so it can say nothing of new items; "
                "pass item_features to the constructor and fit again."
            )
        names, given = read_features(item_features, item_ids, n_given)
        check_columns(item_features, self._item_columns)
        known = self._catalogue.find(names) >= 0
        if known.any():
            raise ValueError(
                f"item_features has {known.sum()} items that the model knows already, such as "
                f"{np.asarray(names)[known][:5].tolist()}."
            )
        dtype = self.item_coef_.dtype
        blank = sparse.csr_matrix((len(names), self._n_identities), dtype=dtype)
        rows = sparse.hstack([blank, in_units(given, dtype)], format="csr")
        parts = self._parts_of_items(rows)
        both = zip(self._item_parts, parts, strict=True)
        joined = join_ids(self.item_ids_, names)
        self._item_parts = tuple(np.concatenate(pair) for pair in both)
        self.item_ids_, self._catalogue = joined, LabelledCatalogue(joined)
        return self

    def ranked_events(
        self,
        X,
        y,
        k=RANKED,
        *,
        groups=None,
        sample_weight=None,
        exclude_seen=True,
        candidates=None,
        exclude=None,
    ):
        """Rank the items for held-out events, for the functions in :mod:`skfm.metrics`.

        There is one ranking for each user and context: events of the same user in equal rows of X
        are evaluated together. Users are identified by `groups` or, without `groups`, by
        `user_fields`. New users cannot be identified by `user_fields`, because equal rows may
        belong to many users, so without `groups` each of their events is evaluated alone.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_events, n_features)
            Contexts of the events.
        y : array-like of shape (n_events,)
            Chosen items. Items that the model does not know are misses.
        k : int, default=10
            Number of items to rank, at least 1.
        groups : array-like of shape (n_events,), default=None
            User id of each event. Events with a missing id (None or NaN) are evaluated alone. None
            uses the users of `fit` (see `user_fields`).
        sample_weight : array-like of shape (n_events,), default=None
            Weights of the events, used as gains.
        exclude_seen : bool, default=True
            Whether to leave out the items that the same user chose in `fit`, unless they are also
            in y.
        candidates, exclude : default=None
            As for `recommend`. If `exclude` is a matrix, it has one row per event.

        Returns
        -------
        relevant : CSR matrix of shape (n_rankings, n_items or more)
            Weight of each item in each ranking. Unknown items follow the known ones. Rankings are
            in the order of their first events.
        items : ndarray of shape (n_rankings, k)
            Indices of the items, best first, as in :mod:`skfm.metrics`. -1 for places without an
            item.

        Raises
        ------
        ValueError
            If `y`, `sample_weight` or `groups` does not have one value per row of X.
        """
        k = door.check_number(k, "k", numbers.Integral, low=1, high=np.iinfo(np.int32).max)
        door.check_flag(exclude_seen, "exclude_seen")
        X, _, layers = self._contexts(X)
        users = users_of(self._owners, X, groups)
        relevant, ranking, first = hide_chosen(X, self._catalogue, y, sample_weight, users)
        if are_cells(exclude):
            exclude = unite(read_cells(exclude, X.shape[0], self._catalogue), ranking, first.size)
        items = rank_hidden(
            *self._tables(layers[first]),
            k,
            relevant[:, : self._catalogue.n_items],
            self._catalogue,
            self._seen(X[first]) if exclude_seen else None,
            n_threads(self.n_jobs),
            candidates=candidates,
            exclude=exclude,
        )
        return relevant, items

    def score(self, X, y, sample_weight=None, groups=None):
        """Return the mean NDCG of the first ten items, with one ranking per user and context.

        See `ranked_events` for which events are judged together.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_events, n_features)
            Contexts of held-out events.
        y : array-like of shape (n_events,)
            Chosen items.
        sample_weight : array-like of shape (n_events,), default=None
            Weights of the events, used as gains.
        groups : array-like of shape (n_events,), default=None
            Who chose: an id of the user of each event, as in `ranked_events`. None goes by
            `user_fields`.

        Returns
        -------
        score : float
            Between 0 and 1, greater is better.

        Raises
        ------
        ValueError
            If `y`, `sample_weight` or `groups` does not have one value per row of X.

        Notes
        -----
        If scikit-learn's metadata routing is enabled, `groups` is requested by default: searches,
        cross-validation and pipelines pass it to this method, as they do to
        :class:`~sklearn.model_selection.GroupKFold`.
        """
        relevant, items = self.ranked_events(X, y, sample_weight=sample_weight, groups=groups)
        return float(ndcg_at_k(relevant, items, RANKED))
