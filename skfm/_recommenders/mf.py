"""Matrix factorization of users x items: ratings and implicit feedback."""

import numbers
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted

from skfm._recommenders.defaults import EXPLICIT, implicit_defaults
from skfm._recommenders.input_warnings import warn_of_misuse
from skfm._recommenders.item_features import check_names
from skfm._recommenders.output import check_output
from skfm._recommenders.recommend import (
    Catalogue,
    LabelledCatalogue,
    best_items,
    choose_from,
    products,
    rank_hidden,
    read_pairs,
    recommended,
    similar,
    similar_rows,
    with_empty_row,
)
from skfm._solvers.mf import als, problem, sgd
from skfm._solvers.mf.principal_axes import principal_axes, turn
from skfm._solvers.mf.problem import ITEM, USER
from skfm._utils import sparse_entries as _cells
from skfm._utils import validation as door
from skfm._utils.estimator import PrintableEstimator, VersionedEstimator, all_or_nothing
from skfm._utils.memory import largest_squared
from skfm._utils.progress import Progress
from skfm._utils.threads import n_threads
from skfm._utils.warnings import warn
from skfm.metrics import ndcg_at_k

HIDDEN_SHARE = 0.2  # of each row's cells, for `score`
RANKED = 10  # items, for the `score` of implicit feedback


@dataclass
class _Settings:
    learning_rate: float
    max_iter: int
    tol: float
    n_threads: int
    verbose: bool
    n_iter_no_change: int = 5


class MFRecommender(
    VersionedEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin, PrintableEstimator
):
    """Matrix factorization of users x items, for ratings and for implicit feedback.

    Rows are users, columns items. Like :class:`~sklearn.decomposition.NMF` it is a transformer:
    `fit` learns vectors of the items, `transform` finds those of users, whether they were there
    in `fit` or not, from their rows alone ("fold-in"). `recommend` ranks items for them.

    *Explicit feedback*: stored cells are ratings, also stored zeros; of dense input the values
    that are not zero. The score is ``mu + b_u + b_i + <p_u, q_i>``, with ``mu`` the mean rating.
    Of the ratings, standardised to mean 0 and variance 1, this is minimised, n being the number
    of ratings of a user or an item, at least 1:

    ``sum_{stored} (score_ui - x_ui)^2 / 2 + sum_u (alpha n_u^nu ||p_u||^2 + alpha_bias b_u^2) / 2
    + sum_i (alpha n_i^nu ||q_i||^2 + alpha_bias b_i^2) / 2``

    With ``nu = 1/2`` that is the objective of :class:`FMRegressor` on one-hot encoded users and
    items, but that its intercept is fitted and `mu` is not.

    *Implicit feedback* [1]_ [2]_: every cell counts. Those stored are positive, and their values
    are confidences ``c_ui``, that is weights; all cells also pull towards 0, with weight
    `unobserved_weight`. The score is ``<p_u, q_i>``, without biases:

    ``sum_{stored} c_ui (score_ui - 1)^2 / 2 + unobserved_weight sum_{all} score_ui^2 / 2
    + alpha sum_u (n_u + unobserved_weight n_items)^nu ||p_u||^2 / 2
    + alpha sum_i (n_i + unobserved_weight n_users)^nu ||q_i||^2 / 2``

    Parameters
    ----------
    n_components : int or "auto", default="auto"
        Length of the vectors of users and items. "auto": 32 for explicit feedback; for implicit
        128, or 256 if there are more than 5000 items; never more than users or items.
    feedback : {"explicit", "implicit"}, default="explicit"
        Whether stored values are ratings, or confidences that a user wants an item (clicks,
        purchases, times played); these must not be negative.
    solver : {"auto", "als", "sgd"}, default="auto"
        "als": alternating least squares, which needs no step size: items and users in turn, each
        by a few steps of conjugate gradients [3]_. "sgd": stochastic gradient descent, for
        explicit feedback only, with AdaGrad's step sizes, one a vector [4]_. "auto" is "als".
    alpha : float or "auto", default="auto"
        L2 penalty of the vectors, above 0. "auto": 1.2 for explicit feedback. For implicit
        feedback it depends on the matrix: it is smaller the more cells users and items have, and
        the more items there are (see Notes).
        The parameter to tune first. (Beware: the package `implicit` calls `alpha` what
        confidences are multiplied with. Here, multiply X.)
    alpha_bias : float, default=3.0
        L2 penalty of the biases, above 0.
    nu : float or "auto", default="auto"
        How the penalty grows with the number of cells of a user or an item: 0 not at all, 1 in
        proportion. "auto": 0.5 for explicit, 1 for implicit feedback.
    unobserved_weight : float or "auto", default="auto"
        Weight of a cell that is not stored, beside confidences of 1, at least 0. For implicit
        feedback only. "auto" is four times the sum of the confidences, divided by the number of
        all cells of users and items that have any: four times the density if they are all 1.
        Tune it together with `alpha`.
    fit_bias : bool, default=True
        Whether to fit the mean and the biases of users and items; else they are 0. For explicit
        feedback only, implicit feedback has none.
    learning_rate : float, default=0.1
        Length of the first steps of "sgd", above 0.
    init_scale : float, default=0.1
        Size of the initial random vectors, the root of their expected squared length, above 0.
    max_iter : int, default=100
        Largest number of iterations: of "als" both sides once, of "sgd" all cells once.
    tol : float, default=1e-4
        Training stops when the objective, for each stored cell, falls by no more than `tol` in
        an iteration ("als") or in five ("sgd"); by less where it is below 0.1. 0: never, or as
        soon as "sgd" stands still.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial vectors and of the order of the cells. Pass an int for reproducible
        results; they do not depend on `n_jobs`.
    n_jobs : int, default=None
        Threads; None is 1, -1 all processors.
    verbose : int, default=0
        1 shows progress on stderr: iterations, objective, and cells per second, compilation
        excluded. A terminal has one line, which is replaced; a file or a notebook gets a line
        every ten seconds. The last line says whether training converged or reached `max_iter`.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        The items' vectors ``q_i``, as columns, turned such that the rows are orthogonal, longest
        first. 0 for items without cells.
    item_bias_ : ndarray of shape (n_features,)
        The items' biases ``b_i``; 0 for items without cells, and for implicit feedback.
    mean_ : float
        The mean rating ``mu``; 0 without biases and for implicit feedback.
    scale_ : float
        Standard deviation of the ratings, inside the unit of the penalties; 1 for implicit
        feedback.
    alpha_, unobserved_weight_ : float
        The penalty and the weight of unobserved cells that were used, given or "auto"; the latter
        is 0 for explicit feedback.
    n_iter_ : int
        Number of iterations.
    loss_curve_ : list of float, one an iteration
        Objective for each stored cell. With "sgd" a cell's loss is taken just before its step.
    n_features_in_ : int
        Number of items seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the items, if X had names that are all strings. Then items are named, not
        numbered, in what `recommend` and `similar_items` return.

    See Also
    --------
    FMRegressor : Learns from (user, item) pairs with further features; with none, the same model.
    skfm.preprocessing.UserItemEncoder : Makes the matrix of a log of users and items.
    sklearn.decomposition.NMF : Factors that are not negative; a missing cell is a zero.

    Notes
    -----
    For implicit feedback, ``alpha="auto"`` is ``min(0.5 / (1 + 4 f), 2 c / (1 + f))`` with
    ``c = (m_u ** -0.5 + m_i ** -0.5) * min(0.08, 1.45 / n_items ** 0.4)``. Here ``m_u`` and
    ``m_i`` are the mean numbers of cells of a user and of an item, and `f` is `unobserved_weight`
    divided by what it is for "auto", so usually 1. Users and items without cells do not count.
    If the confidences have a mean `m` other than 1, `alpha` is multiplied by
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
    Two users, two items, three ratings. The fourth is lower still: the second user gives less,
    and the first item gets less:

    >>> from scipy.sparse import csr_matrix
    >>> from skfm import MFRecommender
    >>> X = csr_matrix([[2.0, 4.0], [0.0, 1.0]])  # the zero is not stored
    >>> model = MFRecommender(1, alpha_bias=0.01, random_state=0).fit(X)
    >>> model.predict_pairs(X, rows=[0, 0, 1, 1], items=[0, 1, 1, 0]).round(1)
    array([ 2. ,  4. ,  1. , -0.9])

    What each of two groups of people bought, one purchase withheld:

    >>> import numpy as np
    >>> bought = np.kron(np.eye(2), np.ones((3, 3)))
    >>> bought[0, 2] = 0
    >>> model = MFRecommender(2, feedback="implicit", random_state=0).fit(bought)
    >>> items, scores = model.recommend(bought[:1], n_items=1)
    >>> items
    array([[2]])
    """

    def __init__(
        self,
        n_components="auto",
        *,
        feedback="explicit",
        solver="auto",
        alpha="auto",
        alpha_bias=3.0,
        nu="auto",
        unobserved_weight="auto",
        fit_bias=True,
        learning_rate=0.1,
        init_scale=0.1,
        max_iter=100,
        tol=1e-4,
        random_state=None,
        n_jobs=None,
        verbose=0,
    ):
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
        tags.input_tags.positive_only = door.is_option(self.feedback, "implicit")
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _check_parameters(self):
        integer, real = numbers.Integral, numbers.Real
        if isinstance(self.n_components, str):
            door.check_option(self.n_components, "n_components", ("auto",))
        else:
            door.check_n_components(self.n_components, low=1)
        door.check_option(self.feedback, "feedback", ("explicit", "implicit"))
        door.check_option(self.solver, "solver", ("auto", "als", "sgd"))
        if self.feedback == "implicit" and self.solver == "sgd":
            raise ValueError(
                "solver='sgd' learns from stored cells only and knows no implicit feedback, which "
                "is about all cells; use solver='als'."
            )
        door.check_auto_or_number(self.alpha, "alpha", low=0, boundaries="neither")
        door.check_auto_or_number(self.nu, "nu", low=0)
        door.check_number(self.alpha_bias, "alpha_bias", real, low=0, boundaries="neither")
        door.check_auto_or_number(self.unobserved_weight, "unobserved_weight", low=0)
        door.check_flag(self.fit_bias, "fit_bias")
        door.check_number(self.learning_rate, "learning_rate", real, low=0, boundaries="neither")
        door.check_number(self.init_scale, "init_scale", real, low=0, boundaries="neither")
        door.check_number(self.max_iter, "max_iter", integer, low=1)
        door.check_number(self.tol, "tol", real, low=0)
        door.check_n_jobs_and_verbose(self.n_jobs, self.verbose)

    def _make_model(self, csr):
        is_implicit = self.feedback == "implicit"
        auto = implicit_defaults(csr, self.unobserved_weight) if is_implicit else EXPLICIT

        def chosen(name, kind):
            value = getattr(self, name)
            return kind(getattr(auto, name) if isinstance(value, str) else value)

        return problem.Model(
            n_components=chosen("n_components", int),
            is_implicit=is_implicit,
            has_bias=bool(self.fit_bias) and not is_implicit,
            alpha=chosen("alpha", float),
            alpha_bias=float(self.alpha_bias),
            nu=chosen("nu", float),
            unobserved_weight=auto.unobserved_weight,
        )

    def fit(self, X, y=None):
        """Learn the items' vectors.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_users, n_items)
            Ratings or confidences. float32 is trained in float32, everything else in float64.
            Duplicate entries of sparse input are summed.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter or X is not usable (NaN or infinity, negative confidences, no cells),
            or if training diverges.

        Warns
        -----
        UserWarning
            If X looks like a log of ids; or, with explicit feedback, if all ratings are equal, or
            if duplicate entries are summed.
        """
        with all_or_nothing(self):
            return self._fit(X)

    def _fit(self, X):
        self._check_parameters()
        is_implicit = self.feedback == "implicit"
        csr = door.validate_cells(self, X, is_implicit, reset=True)
        if csr.nnz == 0:
            raise ValueError(
                "X has no stored cells to learn from: it needs at least one "
                f"{'positive value' if is_implicit else 'rating'}."
            )
        model = self._make_model(csr)
        names = getattr(self, "feature_names_in_", None)
        warn_of_misuse(X, csr, names, is_explicit=not is_implicit)
        self._check_strengths(csr, model)
        self.mean_, self.scale_ = self._units(csr.data, model)
        csr = self._standardised(csr)
        rng = check_random_state(self.random_state)
        items = model.table(csr.shape[1], ITEM, csr.dtype)
        factors = model.factors(items)
        factors[...] = rng.standard_normal(factors.shape) * (
            float(self.init_scale) / np.sqrt(model.n_components)
        )
        settings = _Settings(
            learning_rate=float(self.learning_rate),
            max_iter=int(self.max_iter),
            tol=float(self.tol),
            n_threads=n_threads(self.n_jobs),
            verbose=bool(self.verbose),
        )
        progress = Progress(settings, csr.nnz, "cells")
        if self.solver == "sgd":
            items, history = sgd.train(model, csr, items, settings, rng, progress)
        else:
            items, history = als.train(model, csr, items, settings, progress)
        self._store(model, items)
        self.alpha_, self.unobserved_weight_ = model.alpha, model.unobserved_weight
        self.n_iter_ = len(history.loss_curve)
        self.loss_curve_ = history.loss_curve
        if not history.converged:
            warn(
                f"max_iter={self.max_iter} iterations ended before the objective stopped "
                f"improving by tol={self.tol}; raise max_iter or tol.",
                ConvergenceWarning,
            )
        return self

    def _check_strengths(self, csr, model):
        """Penalties of the users and items with the most cells are numbers."""
        n_users, n_items = csr.shape
        counts = np.diff(csr.indptr).max(), np.bincount(csr.indices, minlength=n_items).max()
        with np.errstate(over="ignore"):
            largest = [
                model.strength(np.float64(count), n_others)
                for count, n_others in zip(counts, (n_items, n_users), strict=True)
            ]
            largest = np.asarray([*largest, model.unobserved_weight], csr.dtype)
        if not np.isfinite(largest).all():
            raise ValueError(
                f"alpha={model.alpha}, nu={model.nu} or unobserved_weight="
                f"{model.unobserved_weight} is too large: the penalties of vectors are no numbers "
                f"in {csr.dtype}. Lower them."
            )

    def _units(self, values, model):
        """Mean and standard deviation of the ratings, which are standardised inside."""
        if model.is_implicit:
            return 0.0, 1.0
        dtype = values.dtype
        values = values.astype(np.float64)
        largest = np.abs(values).max() or 1.0  # divided out first, so that no square overflows
        values /= largest
        mean = values.mean() if model.has_bias else 0.0
        scale = np.sqrt(np.mean((values - mean) ** 2))
        if scale <= 10 * np.finfo(np.float64).eps:  # all equal: what is left is rounding
            scale = 1.0
        limits = np.finfo(dtype)
        if not limits.tiny < scale * largest or largest > limits.max / 4:
            raise ValueError(f"The ratings in X are too large or small for {dtype}; scale them.")
        return float(mean * largest), float(scale * largest)

    def _standardised(self, csr):
        if self.mean_ == 0 and self.scale_ == 1:
            return csr
        values = ((csr.data - self.mean_) / self.scale_).astype(csr.dtype)
        return sparse.csr_matrix((values, csr.indices, csr.indptr), shape=csr.shape)

    def _store(self, model, items):
        """The items' table in the units of X, its factors turned to their principal axes."""
        threads = n_threads(self.n_jobs)
        self._squares, turning = principal_axes(model, items, threads)
        turn(items, turning, threads)
        dtype = items.dtype
        rows = model.factors(items) * np.sqrt(self.scale_)
        self.components_ = rows.astype(dtype, copy=False).T  # item by item in memory
        bias = model.bias(items, ITEM) * self.scale_ if model.has_bias else np.zeros(len(items))
        self.item_bias_ = bias.astype(dtype)
        self._model = model
        if not (np.isfinite(self.components_).all() and np.isfinite(self.item_bias_).all()):
            raise ValueError(
                f"The ratings in X are too large for parameters in {dtype}; scale them, or pass X "
                "in float64."
            )

    @property
    def _n_features_out(self):
        return self.components_.shape[0] + self._model.has_bias

    def _items(self):
        """The items' table in the solver's units."""
        model = self._model
        items = model.table(self.components_.shape[1], ITEM, self.components_.dtype)
        model.factors(items)[...] = self.components_.T / np.sqrt(self.scale_)
        if model.has_bias:
            model.bias(items, ITEM)[...] = self.item_bias_ / self.scale_
        return items

    def _catalogue(self, item_ids=None):
        if item_ids is None:
            return Catalogue(self.n_features_in_, getattr(self, "feature_names_in_", None))
        labels = check_names(item_ids)
        if labels.size != self.n_features_in_:
            raise ValueError(
                f"item_ids must name the {self.n_features_in_} items of fit; got {labels.size}."
            )
        return LabelledCatalogue(labels, "item_ids")

    def _cells(self, X):
        """The cells of rows to serve."""
        check_is_fitted(self)
        csr = door.validate_cells(self, X, self._model.is_implicit, reset=False)
        dtype = self.components_.dtype
        if csr.dtype != dtype:
            with np.errstate(over="ignore"):
                csr = csr.astype(dtype)
            door.check_predictions(csr.data)
        return csr

    def _fold_in(self, csr):
        """Tables of the users and of the items, in the solver's units."""
        items = self._items()
        users = als.fold_in(
            self._model, self._standardised(csr), items, self._squares, n_threads(self.n_jobs)
        )
        return users, items

    def _in_units(self, scores):
        """Products of the tables' rows as scores in the units of X."""
        return scores * scores.dtype.type(self.scale_) + scores.dtype.type(self.mean_)

    def transform(self, X):
        """Find users' vectors from their cells, the items' vectors being given.

        Each row is a small ridge regression of its own, the one that training solves for a user,
        so rows that were in `fit` and new ones are treated alike.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_users, n_items)
            Cells as in `fit`.

        Returns
        -------
        users : ndarray of shape (n_users, n_components) or (n_users, n_components + 1)
            The vectors ``p_u``, then, if there are biases, ``b_u``. Zeros for a row without
            cells.
        """
        return self._known(X)

    def _known(self, X):
        """What `transform` returns, always as an array."""
        users, _ = self._fold_in(self._cells(X))
        model = self._model
        known = model.factors(users) * np.sqrt(self.scale_)
        if model.has_bias:
            bias = model.bias(users, USER)[:, None] * self.scale_
            known = np.concatenate([known, bias], axis=1)
        return known.astype(users.dtype, copy=False)

    def inverse_transform(self, X):
        """Scores of all items.

        Parameters
        ----------
        X : array-like of shape (n_users, n_components) or (n_users, n_components + 1)
            What `transform` returned.

        Returns
        -------
        scores : ndarray of shape (n_users, n_items)
            Dense: for many users and items rather use `recommend` or `predict_pairs`.
        """
        check_is_fitted(self)
        try:
            X = check_array(X, dtype=[np.float64, np.float32], input_name="X")
        except (TypeError, ValueError) as error:
            raise type(error)(f"X must hold what transform returned ({error})") from error
        if X.shape[1] != self._n_features_out:
            raise ValueError(
                f"X has {X.shape[1]} columns, but transform gives {self._n_features_out}."
            )
        n_components = self.components_.shape[0]
        with np.errstate(over="ignore", invalid="ignore"):
            scores = X[:, :n_components] @ self.components_
            if self._model.has_bias:
                scores += X[:, n_components:] + self.item_bias_ + self.mean_
        return door.check_predictions(scores)

    def user_vectors(self, X):
        """Users as query vectors, for an index of nearest neighbours by inner product.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_users, n_items)
            Cells as in `fit`.

        Returns
        -------
        vectors : ndarray of shape (n_users, n_components) or (n_users, n_components + 2)
            Their products with `item_vectors` are the scores; with biases two coordinates are
            appended to that end.
        """
        return self._vectors(self._known(X), is_user=True)

    def item_vectors(self):
        """Items as vectors, for an index of nearest neighbours by inner product.

        Returns
        -------
        vectors : ndarray of shape (n_items, n_components) or (n_items, n_components + 2)
            See `user_vectors`.
        """
        check_is_fitted(self)
        bias = [self.item_bias_[:, None]] if self._model.has_bias else []
        return self._vectors(np.concatenate([self.components_.T, *bias], axis=1), is_user=False)

    def _vectors(self, known, *, is_user):
        if not self._model.has_bias:
            return known
        one = np.ones((known.shape[0], 1), known.dtype)
        factors, bias = known[:, :-1], known[:, -1:]
        if is_user:
            return np.concatenate([factors, one, bias + known.dtype.type(self.mean_)], axis=1)
        return np.concatenate([factors, bias, one], axis=1)

    def predict_pairs(self, X, rows, items):
        """Scores of pairs of a user and an item.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_users, n_items)
            What is known of the users: cells as in `fit`.
        rows : array-like of int of shape (n_pairs,)
            The users: rows of X; -1 for a user who is not known.
        items : array-like of shape (n_pairs,)
            The items: columns of X, or their names; -1 or None for an item that is not known.

        Returns
        -------
        scores : ndarray of shape (n_pairs,)
            Ratings, or for implicit feedback scores that are mostly between 0 and 1. Users and
            items that are not known count as those without cells: their vectors and biases are 0.
        """
        csr = self._cells(X)
        rows, items = read_pairs(rows, items, csr.shape[0], self._catalogue())
        used, rows = np.unique(rows, return_inverse=True)
        users, table = self._fold_in(with_empty_row(csr)[used])
        unknown = self._model.table(1, ITEM, table.dtype)
        table = np.concatenate([table, unknown])  # last, where -1 finds it
        return self._in_units(products(users, table, rows, items))

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
        item_ids=None,
    ):
        """The items with the highest scores for each user.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_users, n_items)
            What is known of the users: cells as in `fit`.
        n_items : int, default=10
            How many items. If there are fewer to choose from, all of them are ranked.
        exclude_seen : bool, default=True
            Whether to leave out the items that a user has a cell for.
        candidates : array-like of shape (n_candidates,), default=None
            Recommend among these items only: columns of X, a mask of them, or names.
        exclude : array-like of items, or sparse matrix of shape (n_users, n_items), default=None
            Items never to recommend, or cells, stored zeros included: those items for those users.
        output : {"default", "pandas", "polars"}, default="default"
            "default" returns two arrays with a row for each user. "pandas" and "polars" return a
            DataFrame of that package with a row for each recommended item.
        user_ids : array-like of shape (n_users,), default=None
            Names of the users in a DataFrame. None takes the index of X if X is a DataFrame of
            pandas, else the numbers of rows.
        item_ids : array-like of shape (n_features,), default=None
            Names of the columns of X, such as `item_ids_` of a
            :class:`~skfm.preprocessing.UserItemEncoder`. With these, `candidates`, `exclude` and
            the result name items by them. None takes the names that X had in `fit`, if any.

        Returns
        -------
        items : ndarray of shape (n_users, n_items)
            Columns of X, best first, or names if there are any. Where too few are left for a
            user, -1, or None among names. Beware that NumPy takes the index -1 for the last item:
            rather than to look up names yourself, pass `item_ids`.
        scores : ndarray of shape (n_users, n_items)
            Their scores; of equal ones the first column comes first. -inf where there is no item.
        frame : DataFrame of shape (n_recommendations, 4)
            In place of the two arrays if `output` asks for it, with the columns "user", "item",
            "score" and "rank", which is 1 for the best item. Users follow each other as in X.
            Users for whom too few items are left have fewer rows.

        Raises
        ------
        ValueError
            If there is no item to choose from, or an item is unknown.
        ImportError
            If `output` names a package that is not installed.

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
        door.check_flag(exclude_seen, "exclude_seen")
        check_output(output)
        csr = self._cells(X)
        catalogue = self._catalogue(item_ids)
        seen = csr if exclude_seen else None
        options = {"candidates": candidates, "exclude": exclude}
        left = choose_from(catalogue, seen, csr.shape[0], **options)
        items, scores = best_items(*self._fold_in(csr), n_items, *left, n_threads(self.n_jobs))
        return recommended(X, catalogue, items, self._in_units(scores), user_ids, output)

    def _ranked_cells(self, X, relevant, k, *, exclude_seen=True, candidates=None, exclude=None):
        """Positions of the ``k`` best items of each row, to be judged by relevant cells, CSR."""
        door.check_flag(exclude_seen, "exclude_seen")
        csr = self._cells(X)
        return rank_hidden(
            *self._fold_in(csr),
            k,
            relevant,
            self._catalogue(),
            csr if exclude_seen else None,
            n_threads(self.n_jobs),
            candidates=candidates,
            exclude=exclude,
        )

    def similar_items(self, items, n_items=10, *, output="default", item_ids=None):
        """The items most similar to given ones.

        Parameters
        ----------
        items : array-like of shape (n_queries,)
            Columns of X, or names.
        n_items : int, default=10
            How many, at most the number of all items. Then the last place is empty, as in
            `recommend`.
        output : {"default", "pandas", "polars"}, default="default"
            What to return, as in `recommend`.
        item_ids : array-like of shape (n_features,), default=None
            Names of the columns of X, as in `recommend`.

        Returns
        -------
        similar : ndarray of shape (n_queries, n_items)
            Columns of X, most similar first, or names; never the item itself.
        similarities : ndarray of shape (n_queries, n_items)
            Cosines of the angles between their vectors; 0 with items without cells.
        frame : DataFrame of shape (n_similar, 4)
            In place of the two arrays if `output` asks for it, with the columns "item",
            "similar_item", "similarity" and "rank".
        """
        check_is_fitted(self)
        check_output(output)
        catalogue = self._catalogue(item_ids)
        asked = catalogue.positions(items, "items")
        factors = self._model.factors(self._items())
        threads = n_threads(self.n_jobs)
        return similar("item", catalogue, factors, asked, n_items, output, threads)

    def similar_users(self, X, rows=None, n_users=10, *, output="default", user_ids=None):
        """The users most similar to given ones.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_users, n_items)
            Users to compare: cells as in `fit`. They need not have been there in `fit`.
        rows : array-like of int of shape (n_queries,), default=None
            The users, as rows of X, to whom similar ones are wanted. None is all of them.
        n_users : int, default=10
            How many, at most the number of rows. Then the last place is empty, as in `recommend`.
        output : {"default", "pandas", "polars"}, default="default"
            What to return, as in `recommend`.
        user_ids : array-like of shape (n_users,), default=None
            Names of the rows of X, by which users are returned. None: their numbers, or, in a
            DataFrame, the index of X if X is one of pandas.

        Returns
        -------
        similar : ndarray of shape (n_queries, n_users)
            Rows of X, most similar first, or names; never the user itself.
        similarities : ndarray of shape (n_queries, n_users)
            Cosines of the angles between their vectors; 0 with users without cells.
        frame : DataFrame of shape (n_similar, 4)
            In place of the two arrays if `output` asks for it, with the columns "user",
            "similar_user", "similarity" and "rank".

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
        check_output(output)
        users, _ = self._fold_in(self._cells(X))
        factors, threads = self._model.factors(users), n_threads(self.n_jobs)
        return similar_rows(X, factors, rows, n_users, user_ids, output, threads)

    def score(self, X, y=None):
        """How well cells that are hidden from the fold-in are predicted.

        A fifth of each row's cells is hidden, at least one of two. Which ones depends on the
        row's own columns alone, so that models are always compared on the same cells, and a
        search over `n_components` finds the best rather than the largest.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_users, n_items)
            Cells as in `fit`; for an honest score, of users that were not in it.
        y : None
            Ignored.

        Returns
        -------
        score : float
            Explicit feedback: R2 of the hidden ratings. Implicit feedback: NDCG of the ten items
            recommended. Greater is better.

        Raises
        ------
        ValueError
            If no row has two cells.
        """
        visible, hidden = _cells.hide_by_hash(self._cells(X), HIDDEN_SHARE)
        judged = np.diff(hidden.indptr) > 0
        if not judged.any():
            raise ValueError(
                "score hides some cells of each row and judges how they are predicted from the "
                "others: it needs a row with at least two cells in X."
            )
        users, table = self._fold_in(visible[judged])
        hidden = hidden[judged]
        if self._model.is_implicit:
            seen, threads = visible[judged], n_threads(self.n_jobs)
            ranked = rank_hidden(users, table, RANKED, hidden, self._catalogue(), seen, threads)
            return float(ndcg_at_k(hidden, ranked, RANKED))
        from sklearn.metrics import r2_score  # here: slow to import

        predicted = products(users, table, _cells.rows_of(hidden), hidden.indices)
        true = (hidden.data.astype(np.float64) - self.mean_) / self.scale_
        largest = np.abs(true).max()
        if largest > largest_squared(np.float64):
            true, predicted = true / largest, predicted / largest
        return float(r2_score(true, predicted))
