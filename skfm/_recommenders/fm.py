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
from skfm._fm.interactions import check_interactions, given_or_carried
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
from skfm._solvers.fm.column_scaling import subtract
from skfm._solvers.fm.minibatch import Settings
from skfm._solvers.fm.optimizer_state import UPDATES
from skfm._solvers.fm.parameters import Parameters
from skfm._solvers.fm.penalties import Penalties
from skfm._solvers.ranking import training as ranking
from skfm._utils import validation as door
from skfm._utils.equal_rows import merge_rows
from skfm._utils.estimator import PrintableEstimator, VersionedEstimator, all_or_nothing
from skfm._utils.ids import join_ids
from skfm._utils.pickling import Versioned
from skfm._utils.threads import n_threads
from skfm._utils.warnings import warn
from skfm.metrics import ndcg_at_k

SOLVER = "adagrad"
RATE = 0.1  # of "auto"
ALPHAS = {"warp": (1.0, 30.0), "bpr": (0.2, 10.0), "logistic": (0.35, 10.0)}  # and alpha_linear
RANKED = 10  # items, for `score`
CONTEXT = "context"  # the field of the features of X if nothing else is said


@dataclass
class _Centered(Versioned):
    """Parameters of features less their centers, of contexts and items."""

    center: np.ndarray  # (n_features + n_all_item_features,)
    coef: np.ndarray
    intercept: float


class FMRecommender(VersionedEstimator, PrintableEstimator):
    """Factorization machine that learns which items a context wants first.

    Each row of X describes an event by its context: who, with which attributes, after what, when.
    y says which item was chosen. Items have features, too: one of their own each, and those of
    `item_features`. The score of an item ``i`` in a context ``x`` is a factorization machine on
    the features of both [1]_. It falls into parts: what depends on the context alone, which
    changes no ranking, what depends on the item alone, and a product of vectors:

    ``score(x, i) = a(x) + b(i) + <s(x), s(i)>``

    with ``s`` the sum of the vectors of all features, times their values. It is learned from
    comparisons of the chosen item with others, drawn at random; summed over events, with ``c``
    their weights, and with the penalties of features, those of items included:

    ``sum c loss(score(x, chosen) - score(x, drawn))
    + sum_j (alpha_linear w_j^2 + alpha sqrt(n_j) ||v_j||^2) / 2``

    With a one-hot user as context and no `item_features`, it is matrix factorization for ranking;
    with them, new items are ranked by what is known of them, as new users are by other features
    than their own. Parameters of `item_features` are not learned from the events, but from items:
    after each epoch a regression says what of the items' vectors and weights they explain, and
    those of the items' own features are the rest. Each item counts once, and each column is shrunk
    by what it is worth [4]_, [5]_, judged beside the others and without a parameter: so useless
    columns do little harm, and what only a few items have, such as a director, counts where most
    such columns do. Columns far from 0 in every row, as years are, are centered. (With
    `item_identity` empty, with items that have no linear weights, or where `interactions` or
    `fit_linear` treat a column unlike the items' own features, its parameters are learned from
    events with the others.)

    Parameters
    ----------
    n_components : int, default=64
        Length of the vectors; 0 ranks by items alone.
    loss : {"warp", "bpr", "logistic"}, default="warp"
        "bpr": Bayesian personalised ranking [2]_, the log loss of the difference of both scores.
        "warp" [3]_: items are drawn until one comes within 1 of the chosen one's score, at most
        `max_draws` times; the earlier that happens, the lower the chosen item must rank and
        the more it weighs: ``log(1 + rank) / log(1 + n_others)``, with ``rank`` the number of
        others divided by the number of draws, rounded down, and at least 1. It cares most for
        the top of the list.
        "logistic": log loss of chosen items against drawn ones, each for itself; it also fits an
        intercept and the context's own part.
    item_features : DataFrame, array-like or sparse matrix of shape (n_items, n_item_features), \
            default=None
        Numbers that describe the items, such as genres as 0 and 1; the index of a DataFrame names
        the items. Items that are never chosen may be among them, and can be recommended. None:
        the items are those in y, without other features than their own.
    item_ids : array-like of shape (n_items,), default=None
        Names of the rows of `item_features`. None takes the index of a DataFrame, else row
        numbers.
    item_fields : array-like of shape (n_item_features,), default=None
        A label for each column of `item_features`, for `interactions` and `fit_linear`. None takes
        ``item_features.feature_fields`` if there are any, else "item_features" for all.
    item_identity : sequence of fields, default=("item",)
        Each item has a one-hot feature of its own in each of these fields; empty: none. Items
        that are not chosen in `fit` have 0 there, so that only other features speak for them.
    feature_fields : array-like of shape (n_features,), default=None
        A label for each column of X. None takes those that X carries from
        :class:`~skfm.preprocessing.EventEncoder`, else "context" for all.
    user_fields : sequence of fields, default=None
        The fields of X that together say who chooses. What somebody chose in any event is not
        drawn against their other choices, `recommend` leaves it out, and `score` judges it
        together. None: all of the row, so that rows are of the same user if they are equal; a row
        of zeros is nobody's.
    interactions : list of pairs of fields, default=None
        Which pairs of features are multiplied; None is all pairs.
    fit_linear : bool or list of fields, default=True
        Whether features have linear weights.
    negatives : {"uniform", "popularity"} or float, default="uniform"
        Others are drawn from the items that occur in y, each as likely, or in proportion to the
        weight of its events; a number between 0 and 1 is a power of that.
    max_draws : int, default=10
        Largest number of draws for an event and epoch, for "warp"; at most a million.
    alpha : float or "auto", default="auto"
        L2 penalty of the vectors, at least 0: feature j pays ``alpha / 2 * sqrt(n_j) * ||v_j||^2``
        with ``n_j`` the weighted number of events with it. The parameter to tune first.
        Where it is too large, all vectors become 0 and popularity is left. "auto" is 1 for
        "warp", 0.2 for "bpr", 0.35 for "logistic".
    alpha_linear : float or "auto", default="auto"
        L2 penalty of the linear weights, at least 0. "auto" is 30 for "warp", else 10.
    learning_rate : float or "auto", default="auto"
        Length of the first steps, by AdaGrad, above 0. "auto" is 0.1.
    initial_accumulator : float, default=1.0
        What AdaGrad's sums of squared gradients start at, above 0.
    batch_size : int or "auto", default="auto"
        Events a step. "auto": all of at most 1024, so that their order does not matter and
        weights equal repetition; else 1024 to 4096.
    max_iter : int, default=100
        Largest number of epochs. Fewer often rank better: tune it, or `alpha`.
    tol : float, default=1e-4
        Training stops when what `loss_curve_` shows has not fallen by `tol` below
        the best so far in `n_iter_no_change` epochs in a row; by less where it is below 0.1.
    n_iter_no_change : int, default=5
        See `tol`.
    init_scale : float, default=0.05
        Size of the initial random vectors.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial vectors, of the order of events and of the items drawn. Pass an int
        for reproducible results; they do not depend on `n_jobs`.
    n_jobs : int, default=None
        Threads; None is 1, -1 all processors.
    verbose : int, default=0
        1 shows progress on stderr: epochs, objective, and rows per second, compilation excluded.
        A terminal has one line, which is replaced; a file or a notebook gets a line every ten
        seconds. The last line says whether training converged or reached `max_iter`.

    Attributes
    ----------
    item_ids_ : ndarray of shape (n_items,)
        Names of the items, in the order of rows of `item_features`, or sorted; those of
        `add_items` at the end.
    coef_, item_coef_ : ndarray of shape (n_features,), (n_all_item_features,)
        Linear weights of the features of contexts and of items; of items first those of their
        own, then those of `item_features`.
    components_, item_components_ : ndarray of shape (n_components, n_features), \
            (n_components, n_all_item_features)
        The vectors, as columns; 0 for features that never occurred.
    intercept_ : float
        Intercept of "logistic", else 0.
    n_iter_ : int
        Number of epochs.
    loss_curve_ : list of float, one an epoch
        Objective for each unit of weight, with the items drawn in that epoch. Of "warp" without
        the penalty: its steps take the weights of comparisons for constant, so a sum of its loss
        and the penalty would say nothing.
    n_features_in_ : int
        Number of features of contexts.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, if X had names that are all strings.

    See Also
    --------
    MFRecommender : For a matrix of users by items, without features.
    FMClassifier : Predicts whether, not which.

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
    Two groups of people and two genres of eleven films; the last of each is new, and known by its
    genre alone:

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
        """Learn from events.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_events, n_features)
            The context of each event. float32 is trained in float32, everything else in float64.
        y : array-like of shape (n_events,)
            The item chosen: its name in `item_features` or `item_ids`, if there are any.
        sample_weight : array-like of shape (n_events,), default=None
            Weights of the events.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter or the data is not usable (NaN or infinity, items in y without
            features, one item only, names given twice), or if training diverges.
        """
        with all_or_nothing(self):
            return self._fit(X, y, sample_weight)

    def _fit(self, X, y, sample_weight):
        self._check_parameters()
        fields = given_or_carried(self.feature_fields, X, "feature_fields")
        X, y, weight = door.validate_rows(
            self, X, read_choices(y), sample_weight, numeric_target=False, reset=True
        )
        items = read_items(self, y)
        catalogue = LabelledCatalogue(items.names)
        chosen = self._positions(catalogue, y)
        features = items.features(X.dtype)
        fields = [CONTEXT] * X.shape[1] if fields is None else fields
        fields = check_labels(fields, X.shape[1], "feature_fields", "column of X")
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
            loss_parameter=0.0,
            max_draws=int(self.max_draws),
            learning_rate=rate,
            initial_accumulator=float(self.initial_accumulator),
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
        interactions = check_interactions(
            both,
            both.size,
            n_components=self.n_components,
            degree=self.degree,
            fit_lower=self.fit_lower,
            interactions=self.interactions,
            fit_linear=self.fit_linear,
        )
        names = set(of_items)
        shared = [name for name in dict.fromkeys(of_contexts) if name in names]
        if shared and not (self.interactions is None and isinstance(self.fit_linear, bool)):
            raise ValueError(
                f"{shared[0]!r} is a field of X and one of items, so interactions and fit_linear "
                "cannot tell them apart; call it otherwise in feature_fields, item_fields or "
                "item_identity."
            )
        of_items = slice(of_contexts.size, None)
        has_partners = interactions.partners.any(axis=0)[interactions.interaction_group[of_items]]
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
            user=self._owners.of_row,
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
            Penalties(factors=alphas[0], linear=alphas[1]),
            interactions,
        )
        return sides, choices

    def _initial(self, sides, rng):
        problem = sides.problem
        factors = problem.random_factors(1, problem.n_used, float(self.init_scale), rng)
        factors[:, sides.contexts.n_used + np.flatnonzero(sides.regression.mask)] = 0
        return Parameters(np.zeros(1), np.zeros((1, problem.n_used), factors.dtype), factors)

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
        """Contexts as query vectors, for an index of nearest neighbours by inner product.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_rows, n_features)
            Contexts.

        Returns
        -------
        vectors : ndarray of shape (n_rows, n_vector)
            Their products with `item_vectors` are the scores.
        """
        _, own, layers = self._contexts(X)
        one = np.ones_like(own)
        extra = (one, own) if self._fitted_loss == "logistic" else (one,)
        return np.column_stack([layers, *extra])

    def item_vectors(self):
        """Items as vectors, for an index of nearest neighbours by inner product.

        Returns
        -------
        vectors : ndarray of shape (n_items, n_vector)
            See `user_vectors`; in the order of `item_ids_`.
        """
        check_is_fitted(self)
        output, sums = self._item_parts
        extra = (output, np.ones_like(output))
        return np.column_stack([sums, *extra[: 1 + (self._fitted_loss == "logistic")]])

    def predict_pairs(self, X, rows, items):
        """Scores of pairs of a context and an item.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_rows, n_features)
            Contexts.
        rows : array-like of int of shape (n_pairs,)
            Rows of X; -1 for a context of which nothing is known.
        items : array-like of shape (n_pairs,)
            Names of items; None for an item of which nothing is known.

        Returns
        -------
        scores : ndarray of shape (n_pairs,)
            For "logistic" log-odds that an item was chosen rather than drawn. Else only their
            differences within a row mean something. What is not known contributes nothing, as
            rows of zeros and features that were not seen in `fit`.
        """
        X, own, layers = self._contexts(X, and_unknown=True)
        rows, items = read_pairs(rows, items, X.shape[0] - 1, self._catalogue)
        contexts, table = self._tables(layers)
        table = np.concatenate([table, np.zeros_like(table[:1])])  # last, where -1 finds it
        return products(contexts, table, rows, items) + own[rows]

    def predict(self, X):
        """The item with the highest score for each context, seen or not.

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
        """The items with the highest scores for each context.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_rows, n_features)
            Contexts.
        n_items : int, default=10
            How many items. If there are fewer to choose from, all of them are ranked.
        exclude_seen : bool, default=True
            Whether to leave out what the same user, see `user_fields`, chose in `fit`.
        candidates : array-like of shape (n_candidates,), default=None
            Recommend among these items only: names, or a mask of all items.
        exclude : array-like of items, or sparse matrix of shape (n_rows, n_items), default=None
            Items never to recommend, or cells, stored zeros included: those items for those rows.
        output : {"default", "pandas", "polars"}, default="default"
            "default" returns two arrays with a row for each context. "pandas" and "polars" return
            a DataFrame of that package with a row for each recommended item.
        user_ids : array-like of shape (n_rows,), default=None
            Names of the contexts in a DataFrame, such as the users; a name may come several times.
            None takes the index of X if X is a DataFrame of pandas, else the numbers of rows.

        Returns
        -------
        items : ndarray of shape (n_rows, n_items)
            Names of items, best first. None where too few are left for a row.
        scores : ndarray of shape (n_rows, n_items)
            Their scores; -inf where there is no item.
        frame : DataFrame of shape (n_recommendations, 4)
            In place of the two arrays if `output` asks for it, with the columns "user", "item",
            "score" and "rank", which is 1 for the best item. Contexts follow each other as in X.
            Those for which too few items are left have fewer rows.

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
        """The items most similar to given ones.

        Parameters
        ----------
        items : array-like of shape (n_queries,)
            Names of items.
        n_items : int, default=10
            How many, at most the number of all items. Then the last place is empty, as in
            `recommend`.
        output : {"default", "pandas", "polars"}, default="default"
            What to return, as in `recommend`.

        Returns
        -------
        similar : ndarray of shape (n_queries, n_items)
            Names, most similar first; never the item itself.
        similarities : ndarray of shape (n_queries, n_items)
            Cosines of the angles between their vectors.
        frame : DataFrame of shape (n_similar, 4)
            In place of the two arrays if `output` asks for it, with the columns "item",
            "similar_item", "similarity" and "rank".
        """
        check_is_fitted(self)
        check_output(output)
        asked = self._catalogue.positions(items, "items")
        vectors, threads = self._item_parts[1], n_threads(self.n_jobs)
        return similar("item", self._catalogue, vectors, asked, n_items, output, threads)

    def similar_users(self, X, rows=None, n_users=10, *, output="default", user_ids=None):
        """The contexts most similar to given ones: those that want the same items.

        Pass one row for each user to find similar users: several rows of one user would be found
        similar to each other.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_users, n_features)
            Contexts to compare.
        rows : array-like of int of shape (n_queries,), default=None
            The rows of X to which similar ones are wanted. None is all of them.
        n_users : int, default=10
            How many, at most the number of rows. Then the last place is empty, as in `recommend`.
        output : {"default", "pandas", "polars"}, default="default"
            What to return, as in `recommend`.
        user_ids : array-like of shape (n_users,), default=None
            Names of the rows of X, by which they are returned. None: their numbers, or, in a
            DataFrame, the index of X if X is one of pandas.

        Returns
        -------
        similar : ndarray of shape (n_queries, n_users)
            Rows of X, most similar first, or names; never the row itself.
        similarities : ndarray of shape (n_queries, n_users)
            Cosines of the angles between their vectors.
        frame : DataFrame of shape (n_similar, 4)
            In place of the two arrays if `output` asks for it, with the columns "user",
            "similar_user", "similarity" and "rank".
        """
        check_output(output)
        _, _, layers = self._contexts(X)
        vectors = layers * self._item_parts[1].any(axis=0)  # what no item meets does not count
        threads = n_threads(self.n_jobs)
        return similar_rows(X, vectors, rows, n_users, user_ids, output, threads)

    def add_items(self, item_features, item_ids=None):
        """Make items known that appeared after `fit`. They are ranked by their features alone.

        Parameters
        ----------
        item_features : DataFrame, array-like or sparse matrix of shape (n_new, n_item_features)
            Their features: the columns that `item_features` had in `fit`.
        item_ids : array-like of shape (n_new,), default=None
            Their names; None takes the index of a DataFrame, else row numbers.

        Returns
        -------
        self : object
            The estimator.

        Raises
        ------
        ValueError
            If an item is known already, or the columns are others.
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
        """Held-out events, and what the model ranks first where they happened.

        There is one ranking for each user and context: events of the same user in equal rows of X
        are judged together. Who the user is say `groups`, or if there are none, `user_fields`.
        A user that `fit` has not seen has no id there, so without `groups` each of their events
        is judged alone: equal rows may be those of many people.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_events, n_features)
            Contexts of the events.
        y : array-like of shape (n_events,)
            Items chosen. Those that the model does not know are misses.
        k : int, default=10
            How many items to rank, at least 1.
        groups : array-like of shape (n_events,), default=None
            Who chose: an id of the user of each event. Events whose id is missing (None or NaN)
            are judged alone. None takes the users of `fit`, see `user_fields`.
        sample_weight : array-like of shape (n_events,), default=None
            Weights of the events: their gains.
        exclude_seen : bool, default=True
            Whether to leave out what the same user chose in `fit`, unless it is in y once more.
        candidates, exclude : default=None
            As for `recommend`; of cells to exclude, a row for each event.

        Returns
        -------
        relevant : CSR matrix of shape (n_rankings, n_items or more)
            Weight of each item in each ranking; items that are not known follow those that are.
            Rankings are in the order of their first events.
        items : ndarray of shape (n_rankings, k)
            Positions of items, best first, as the functions of :mod:`skfm.metrics` take them: -1
            where too few are left for a row.

        Raises
        ------
        ValueError
            If `y`, `sample_weight` or `groups` does not hold a value for each row of X.
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
        """NDCG of the first ten items, mean over rankings, one for each user and context.

        See `ranked_events` for which events are judged together.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_events, n_features)
            Contexts of held-out events.
        y : array-like of shape (n_events,)
            Items chosen.
        sample_weight : array-like of shape (n_events,), default=None
            Weights of the events: their gains.
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
            If `y`, `sample_weight` or `groups` does not hold a value for each row of X.

        Notes
        -----
        With scikit-learn's metadata routing enabled, `groups` is requested by default: searches,
        cross-validation and pipelines hand it on to here, as they do to
        :class:`~sklearn.model_selection.GroupKFold`.
        """
        relevant, items = self.ranked_events(X, y, sample_weight=sample_weight, groups=groups)
        return float(ndcg_at_k(relevant, items, RANKED))
