"""What FMRegressor and FMClassifier share: parameters, training, the raw output."""

import copy
import numbers
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skfm._fm.early_stopping import Listener, check_scoring, make_score, split
from skfm._fm.feature_groups import check_groups, check_penalty
from skfm._fm.interactions import carried, check_interactions
from skfm._fm.target_transform import Link
from skfm._solvers.fm import coordinate_descent, minibatch, streams
from skfm._solvers.fm.interactions import compute_outputs
from skfm._solvers.fm.optimizer_state import OptimizerMemory, get_parameters
from skfm._solvers.fm.parameters import Parameters
from skfm._solvers.fm.problem import Penalties, Scaling, make_problem
from skfm._solvers.fm.saddle_points import NOTHING, strength
from skfm._utils import validation as door
from skfm._utils.equal_rows import first_columns
from skfm._utils.estimator import KeptEstimator, PrintableEstimator, all_or_nothing
from skfm._utils.memory import aligned_zeros
from skfm._utils.pickling import ORIGIN, Kept
from skfm._utils.threads import n_threads, run_together
from skfm._utils.warnings import warn

ROWS_PER_THREAD = 10_000  # below this a second thread costs more than it brings
PENALTIES = "alpha", "alpha_linear"  # that may be found
LEAST_CHUNK = 10  # rows of a chunk that is not the same as another by chance


@dataclass
class _Stream(Kept):
    """What `partial_fit` needs to go on where `fit` or the last call has stopped.

    After `fit`, the optimizer's memory is a short summary: most models are done then, and need
    not bear twice their size.
    """

    settled: dict  # the estimator's parameters that cannot change
    link: Link
    scaling: Scaling
    memory: OptimizerMemory | None  # "als" has none
    rng: np.random.RandomState
    seen: set  # digests of the chunks


class BaseFM(KeptEstimator, PrintableEstimator):
    """Subclasses say what targets mean and how parameters are shown.

    They have ``_to_numbers(y, name)``, which checks targets and turns them into numbers,
    ``_make_link(target, weight, more_will_come)``, how those relate to the solver's, and
    ``_show(intercept, coef, components)``.
    """

    def __init__(
        self,
        n_components,
        *,
        loss,
        solver,
        alpha,
        alpha_linear,
        alpha_l1,
        alpha_l21,
        degree,
        fit_lower,
        interactions,
        feature_fields,
        feature_groups,
        learning_rate,
        initial_accumulator,
        batch_size,
        max_iter,
        tol,
        n_iter_no_change,
        early_stopping,
        validation_fraction,
        scoring,
        refit,
        callback,
        init_scale,
        fit_intercept,
        fit_linear,
        warm_start,
        random_state,
        n_jobs,
        verbose,
    ):
        self.n_components = n_components
        self.loss = loss
        self.solver = solver
        self.alpha = alpha
        self.alpha_linear = alpha_linear
        self.alpha_l1 = alpha_l1
        self.alpha_l21 = alpha_l21
        self.degree = degree
        self.fit_lower = fit_lower
        self.interactions = interactions
        self.feature_fields = feature_fields
        self.feature_groups = feature_groups
        self.learning_rate = learning_rate
        self.initial_accumulator = initial_accumulator
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.scoring = scoring
        self.refit = refit
        self.callback = callback
        self.init_scale = init_scale
        self.fit_intercept = fit_intercept
        self.fit_linear = fit_linear
        self.warm_start = warm_start
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def __setstate__(self, state):
        super().__setstate__(state)
        components = getattr(self, "components_", None)
        if components is not None and not isinstance(components, np.memmap):
            # Pickle keeps neither the order of three axes in memory nor where arrays start.
            table = aligned_zeros(np.swapaxes(components, -1, -2).shape, components.dtype)
            table[...] = np.swapaxes(components, -1, -2)
            self.components_ = np.swapaxes(table, -1, -2)

    def _check_parameters(self):
        integer, real = numbers.Integral, numbers.Real
        door.check_n_components(self.n_components)
        door.check_option(self.loss, "loss", self._losses)
        door.check_option(self.solver, "solver", (*minibatch.UPDATES, "als"))
        door.check_auto_or_number(self.learning_rate, "learning_rate", low=0, boundaries="neither")
        door.check_number(
            self.initial_accumulator, "initial_accumulator", real, low=0, boundaries="neither"
        )
        if not door.is_option(self.batch_size, "auto"):
            if isinstance(self.batch_size, str):
                raise ValueError(
                    f"batch_size must be 'auto' or a positive integer; got {self.batch_size!r}."
                )
            door.check_number(self.batch_size, "batch_size", integer, low=1)
        door.check_number(self.max_iter, "max_iter", integer, low=1)
        door.check_number(self.tol, "tol", real, low=0)
        door.check_number(self.n_iter_no_change, "n_iter_no_change", integer, low=1)
        door.check_number(self.init_scale, "init_scale", real, low=0)
        if not door.is_option(self.early_stopping, "auto"):
            door.check_flag(self.early_stopping, "early_stopping")
        if isinstance(self.validation_fraction, integer):
            door.check_number(self.validation_fraction, "validation_fraction", integer, low=1)
        else:
            door.check_number(
                *(self.validation_fraction, "validation_fraction", real),
                low=0,
                high=1,
                boundaries="neither",
            )
        check_scoring(self)
        if self.callback is not None and not callable(self.callback):
            raise TypeError(
                "callback must be a function of (estimator, epoch, loss), or None; got "
                f"{self.callback!r}."
            )
        for name in ("refit", "fit_intercept", "warm_start"):
            door.check_flag(getattr(self, name), name)
        door.check_n_jobs_and_verbose(self.n_jobs, self.verbose)

    def _make_penalties(self, labels, n_features, found):
        """Those that are given; of others, those ``found`` before."""
        groups = check_groups(labels, n_features)

        def given(name):
            value = getattr(self, name)
            if not door.is_option(value, "auto"):
                return check_penalty(value, name, groups)
            return found[name]

        penalties = Penalties(
            given("alpha"),
            given("alpha_linear"),
            check_penalty(self.alpha_l21, "alpha_l21", groups),
            check_penalty(self.alpha_l1, "alpha_l1", groups),
        )
        if penalties.lasso and self.solver != "ftrl":
            name = "alpha_l1" if np.any(penalties.linear_lasso) else "alpha_l21"
            raise ValueError(
                f"{name} needs solver='ftrl'; the others cannot set weights to exactly 0."
            )
        return penalties

    def fit(self, X, y, sample_weight=None, *, X_val=None, y_val=None, sample_weight_val=None):
        """Fit the model.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_samples, n_features)
            Training rows: one-hot encoded ids, attributes, numbers. float32 is trained in
            float32, everything else in float64.
        y : array-like of shape (n_samples,)
            Targets: numbers for a regressor, labels of any type for a classifier.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows; a row of weight 2 counts as two rows, one of weight 0 as none.
        X_val : array-like or sparse, of shape (n_val, n_features), default=None
            Rows for early stopping. The user guide shows how a `Pipeline` transforms them.
        y_val : array-like of shape (n_val,), default=None
            Their targets.
        sample_weight_val : array-like of shape (n_val,), default=None
            Their weights.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter or the data is not usable (NaN or infinity, lengths that do not fit,
            negative weights, one class only), or if training diverges for every step size tried.
        """
        with all_or_nothing(self):
            return self._fit(X, y, sample_weight, (X_val, y_val, sample_weight_val))

    def _fit(self, X, y, sample_weight, validation):
        self._check_parameters()
        previous = self._parameters() if self.warm_start and hasattr(self, "coef_") else None
        fields, groups = self._labels(X)
        X, y, weight = self._check_rows(X, y, sample_weight, reset=True)
        interactions = check_interactions(self, fields, X.shape[1])
        rng = check_random_state(self.random_state)
        rng_of_refit = copy.deepcopy(rng)
        self._set_classes(y)
        all_rows = rows = X, y, weight
        sets_aside = validation[0] is None
        if self._stops_early(*validation):
            rows, validation = self._hold_out(*rows, validation, rng)
        else:
            sets_aside, validation = False, None
        shapes = interactions, groups
        history = self._fit_rows(*rows, *shapes, rng, self.max_iter, previous, validation)
        self.n_iter_ = len(history.loss_curve)
        self.loss_curve_ = history.loss_curve
        if self._refits(sets_aside, history):
            self._fit_again(*all_rows, *shapes, rng_of_refit, history.best_epoch)
        if not (history.converged or history.stopped):
            warn(
                f"max_iter={self.max_iter} epochs ended before the objective stopped improving "
                f"by tol={self.tol}; raise max_iter or tol.",
                ConvergenceWarning,
            )
        return self

    def _fit_rows(
        self, X, y, weight, interactions, groups, rng, max_iter, previous, validation, n_before=0
    ):
        """Train on rows that are checked, and keep the result; returns the history."""
        weight = self._make_weight(y, weight)
        target = self._to_numbers(y, "y")
        link = self._make_link(target, weight)
        score = None if validation is None else make_score(self, link, *validation)
        if previous is not None:
            self._check_previous(previous, X.shape[1], interactions, link)
        return self._train(
            *(X, target, weight, link, interactions, groups, rng, max_iter),
            previous=previous,
            score=score,
            keeps_state=False,
            n_before=n_before,
            shows=n_before == 0,  # a second fit on all rows is no news
        )

    def _refits(self, sets_aside, history):
        """Whether to fit again on all rows, with as many epochs as were best.

        Not if the next fit starts from this one: it would be validated on rows of which its start
        has learned. Not if no epoch was best, as all diverged, or if the callback has said stop.
        Nor where training rested at a saddle point on the way: as many epochs may not be enough to
        rest there again, which is when the way down is looked for.
        """
        is_wanted = self.refit and sets_aside and not self.warm_start
        ended_well = history.best_epoch > 0 and not history.cancelled
        return is_wanted and ended_well and history.best_epoch <= history.n_before_saddle

    def _fit_again(self, X, y, weight, interactions, groups, rng, max_iter):
        """Replace the model by one of all rows, unless the callback stops that."""
        first = dict(vars(self))
        rows = X, y, weight
        history = self._fit_rows(
            *rows, interactions, groups, rng, max_iter, None, None, n_before=self.n_iter_
        )
        if history.cancelled:
            vars(self).update(first)
        else:
            self.validation_scores_ = first["validation_scores_"]

    def _partial_fit(self, X, y, sample_weight):
        """One epoch on a chunk of rows, from where `fit` or the last call has stopped."""
        self._check_parameters()
        if self.early_stopping is True:
            raise ValueError(
                "partial_fit cannot stop early, as it passes each chunk once; set "
                "early_stopping=False."
            )
        stream = getattr(self, "_stream", None)
        if stream is None and ORIGIN in vars(self) and hasattr(self, "coef_"):
            self._stream  # noqa: B018 -- the error says that another version did not keep it
        fields, groups = self._labels(X)
        X, y, weight = self._check_rows(X, y, sample_weight, reset=stream is None)
        weight = self._make_weight(y, weight)
        target = self._to_numbers(y, "y")
        previous = None
        if stream is None:
            rng = check_random_state(self.random_state)
            link = self._make_link(target, weight, more_will_come=True)
            interactions = check_interactions(self, fields, X.shape[1])
        else:
            self._check_stream(stream)
            interactions = self._interactions
            previous = self._parameters()
            # A copy, so that a call that fails has drawn nothing.
            rng, link = copy.deepcopy(stream.rng), stream.link
            if link.is_constant and stream.memory.state is None:
                link = self._make_link(target, weight, more_will_come=True)
        digest = door.digest(X, target, weight) if X.shape[0] >= LEAST_CHUNK else None
        history = self._train(
            *(X, target, weight, link, interactions, groups, rng, 1),
            previous=previous,
            stream=stream,
            digest=digest,
            n_before=0 if stream is None else self.n_iter_,
        )
        self.loss_curve_ = ([] if stream is None else self.loss_curve_) + history.loss_curve
        self.n_iter_ = len(self.loss_curve_)
        # Last, and in place: copies would take longer and longer.
        if digest is not None:
            self._stream.seen.add(digest)
        return self

    def _set_classes(self, y):
        """Note the labels that occur, if targets are labels."""

    def _make_weight(self, y, weight):
        """The rows' weights, given the users'."""
        return weight

    def _labels(self, X):
        """Fields and groups of the features."""
        return carried(self, X, "feature_fields"), carried(self, X, "feature_groups")

    def _check_rows(self, X, y, sample_weight, *, reset):
        return door.validate_rows(
            self, X, y, sample_weight, numeric_target=self._numeric_target, reset=reset
        )

    def _stops_early(self, X_val, y_val, sample_weight_val):
        if (X_val is None) != (y_val is None):
            given, missing = ("X_val", "y_val") if y_val is None else ("y_val", "X_val")
            raise ValueError(f"{given} was passed without {missing}; pass both.")
        if X_val is None and sample_weight_val is not None:
            raise ValueError("sample_weight_val was passed without X_val and y_val.")
        if X_val is not None and self.early_stopping is False:
            raise ValueError(
                "X_val and y_val are for early stopping; set early_stopping=True or 'auto'."
            )
        return self.early_stopping is True or X_val is not None

    def _hold_out(self, X, y, weight, validation, rng):
        """Rows to train on, and rows to validate with."""
        if validation[0] is not None:
            try:
                return (X, y, weight), self._check_rows(*validation, reset=False)
            except (TypeError, ValueError) as error:
                raise type(error)(f"X_val, y_val or sample_weight_val: {error}") from error
        seed = rng.randint(2**31 - 1)
        is_stratified = not self._numeric_target
        fraction = self.validation_fraction
        fraction = int(fraction) if isinstance(fraction, numbers.Integral) else float(fraction)
        return split(X, y, weight, fraction, is_stratified, seed)

    def _settled(self):
        """Parameters that cannot change between calls of `partial_fit`."""
        names = ("loss", "solver", "n_components", "degree", "fit_lower", "interactions")
        names = (*names, "fit_intercept", "fit_linear", *self._shapes)
        values = {name: getattr(self, name) for name in names}
        # Arrays, as fields may be given, cannot simply be compared.
        return {n: v.tolist() if isinstance(v, np.ndarray) else v for n, v in values.items()}

    def _check_stream(self, stream):
        now = self._settled()
        changed = [
            f"{name}={value!r} (now {now[name]!r})"
            for name, value in stream.settled.items()
            if now[name] != value
        ]
        if changed:
            raise ValueError(
                f"partial_fit goes on with {', '.join(changed)} of the call before. Call fit, or "
                "partial_fit of a clone, to start anew."
            )

    def _train(
        self,
        X,
        target,
        weight,
        link,
        interactions,
        groups,
        rng,
        max_iter,
        *,
        previous=None,
        stream=None,
        digest=None,
        score=None,
        keeps_state=True,
        shows=True,
        n_before=0,
    ):
        """Train from ``stream``, from ``previous`` parameters or from nothing; keep the result.

        ``n_before`` epochs are behind the estimator, for the callback.
        """
        n_features = X.shape[1]
        if stream is not None:
            X = X.astype(self.components_.dtype, copy=False)
        if self.solver == "als":  # which looks up rows by column: what is needed together, near
            first = first_columns(X)
            if (first[1:] < first[:-1]).any():
                order = np.argsort(first, kind="stable")
                X, target, weight = X[order], target[order], weight[order]
        if self.solver != "als":
            door.check_weight_of_steps(weight)
        if (weight == 1).all():
            weight = weight[:0]
        goes_on = stream is not None or previous is not None
        found = self._found_penalties() if goes_on else dict.fromkeys(PENALTIES)
        penalties = self._make_penalties(groups, n_features, found)
        are_auto = [door.is_option(getattr(self, name), "auto") for name in PENALTIES]
        # A chunk of a stream is too little to find them with.
        finds = (False, False) if keeps_state else tuple(are_auto)
        searched = self._searched if goes_on and hasattr(self, "_searched") else None
        problem = make_problem(
            X,
            link.target(target),
            weight.astype(X.dtype, copy=False),
            link.loss,
            penalties,
            interactions,
            may_center=self.fit_intercept,
            earlier=None if stream is None else stream.scaling,
            is_new=stream is None or digest not in stream.seen,
            is_cumulative=self.solver == "ftrl",
        )
        rate = self.learning_rate
        rates = minibatch.CLASSIFIER_RATES if is_classifier(self) else minibatch.RATES
        settings = minibatch.Settings(
            solver=self.solver,
            loss_parameter=link.shape,
            learning_rate=rates.get(self.solver) if rate == "auto" else float(rate),
            initial_accumulator=float(self.initial_accumulator),
            batch_size=self.batch_size if self.batch_size == "auto" else int(self.batch_size),
            max_iter=int(max_iter),
            tol=float(self.tol),
            n_iter_no_change=int(self.n_iter_no_change),
            fit_intercept=bool(self.fit_intercept),
            fit_linear=interactions.fit_linear,
            n_threads=n_threads(self.n_jobs),
            verbose=bool(self.verbose) and shows,
            finds_rate=rate == "auto",
        )
        listener = None
        if score is not None or self.callback is not None:
            listener = Listener(
                self,
                lambda parameters: self._store(parameters, problem, link),
                score,
                n_before,
            )
        course = (settings, rng, link.baseline)
        if stream is None:
            if previous is None:
                start = self._initial(problem, link, rng)
            else:
                start = self._scaled(previous, problem, link, rng)
            if self.solver == "als":
                parameters, history = coordinate_descent.train(
                    *(problem, start, settings, link.baseline),
                    is_fitted=previous is not None,
                    listener=listener,
                    finds=finds,
                    searched=searched,
                )
                memory = None
            else:
                parameters, history, memory = minibatch.train(
                    *(problem, start, *course),
                    is_fitted=previous is not None,
                    keeps_state=keeps_state,
                    memory=None if previous is None else self._memory(),
                    listener=listener,
                    finds=finds,
                    searched=searched,
                )
        else:
            places = problem.position[stream.scaling.used]
            memory = stream.memory.spread(places, problem.n_used)
            if memory.state is None:
                start = self._scaled(previous, problem, link, rng, places)
            else:
                start = self._continued(memory.state, places, problem, rng)
            parameters, history, memory = streams.train_chunk(
                problem, start, *course, memory, listener
            )
        if history.converged or (history.stopped and score is not None):
            self._warn_if_linear(problem, parameters[2], link)
        self._store(parameters, problem, link)
        self._store_penalties(penalties, problem, are_auto)
        if stream is None:
            self._found = [n for n, is_found in zip(PENALTIES, finds, strict=True) if is_found]
            self._searched = history.searched
        self._stream = _Stream(
            *(self._settled(), link, problem.scaling(), memory),
            rng=copy.deepcopy(rng),  # others may draw from the user's
            seen=set() if stream is None else stream.seen,
        )
        if listener is not None:
            history.best_epoch, history.cancelled = listener.best_epoch, listener.cancelled
        if score is not None:
            self.validation_scores_ = listener.scores
        elif hasattr(self, "validation_scores_"):
            del self.validation_scores_
        return history

    def _found_penalties(self):
        """What a fit has found, None where it has found nothing; of new features the median."""
        found = dict.fromkeys(PENALTIES)
        for name in self._found if hasattr(self, "_found") else ():
            values = getattr(self, f"{name}_")
            known = values[values > 0]
            found[name] = np.where(values > 0, values, np.median(known) if known.size else 0.0)
        return found

    def _store_penalties(self, penalties, problem, are_auto):
        """Those given as they are; of others, one for each feature, in the units of X."""
        scale = np.square(problem.scale, dtype=np.float64)
        own = problem.factor_penalty / np.sqrt(problem.count), problem.linear_penalty
        given = penalties.factors, penalties.linear
        for name, value, values, is_auto in zip(PENALTIES, given, own, are_auto, strict=True):
            if is_auto:
                value = np.zeros(self.n_features_in_)
                value[problem.used] = values * scale
            setattr(self, f"{name}_", value)

    def _warn_if_linear(self, problem, factors, link):
        """Say so if penalties have left nothing of the factors, when training has come to rest.

        Before, factors are small because they start so. Without penalties, without rows of two
        features, or where the intercept explains the target, no penalty is to blame.
        """
        penalties = {"alpha": problem.factor_penalty, "alpha_l21": problem.factor_lasso}
        to_blame = [
            name
            for name, penalty in penalties.items()
            if penalty.any() and not door.is_option(getattr(self, name), "auto")
        ]
        has_products = np.diff(problem.indptr).max() > 1 and problem.interactions.n_components
        if not (to_blame and has_products and link.baseline):
            return
        if strength(problem, factors) < NOTHING:
            values = (getattr(self, name) for name in to_blame)
            given = " and ".join(
                f"{name} (now {value!r})" if isinstance(value, numbers.Number) else name
                for name, value in zip(to_blame, values, strict=True)
            )
            warn(
                "The factors are nearly zero, so products of features count for nothing and the "
                f"model is linear. Lower {given} if they should count; n_components=0 trains a "
                "linear model faster.",
                UserWarning,
            )

    def _memory(self):
        """What the optimizer knew at the end of the last fit, if it was the same one."""
        stream = getattr(self, "_stream", None)
        if stream is None or stream.settled["solver"] != self.solver:
            return None
        return stream.memory

    def _initial(self, problem, link, rng):
        """The intercept alone, and random factors."""
        n_outputs, dtype = link.intercept.size, problem.data.dtype
        linear = np.zeros((n_outputs, problem.n_used), dtype=dtype)
        factors = problem.random_factors(n_outputs, problem.n_used, float(self.init_scale), rng)
        return Parameters(link.intercept, linear, factors)

    def _scaled(self, fitted, problem, link, rng, known=()):
        """Fitted parameters in the units of the solver, for a warm start.

        Features without factors yet get random ones, as they could not leave zero by themselves;
        but not those at the places ``known``, whose factors are 0 because they were fitted so.
        """
        start, _, random_factors = self._initial(problem, link, rng)
        dtype = problem.data.dtype
        intercept, linear, factors = fitted
        scale = problem.scale.astype(np.float64)
        factors = factors[:, problem.used]
        intercept, linear = problem.to_centered(intercept, linear[:, problem.used], factors)
        intercept = (intercept - link.shift) / link.unit if self.fit_intercept else 0 * start
        linear = linear * (scale / link.unit) * problem.interactions.has_linear[problem.used]
        factors = factors * scale[:, None] / link.unit ** (1 / problem.interactions.degrees)
        is_new = ~factors.any(axis=2, keepdims=True)
        is_new[:, np.asarray(known, dtype=int)] = False
        factors = np.where(is_new, random_factors, factors)
        return Parameters(intercept, linear.astype(dtype), factors.astype(dtype))

    def _continued(self, state, places, problem, rng):
        """A stream's parameters; features other than at these places get random factors."""
        n_components = problem.interactions.n_components
        intercept, linear, factors = get_parameters(state, n_components)
        is_new = np.ones(problem.n_used, dtype=bool)
        is_new[places] = False
        n_new = np.count_nonzero(is_new)
        factors[:, is_new] = problem.random_factors(
            intercept.size, n_new, float(self.init_scale), rng
        )
        return Parameters(intercept, linear, factors)

    def _store(self, parameters, problem, link):
        """Solver's parameters in the units of X and y; features never seen get zeros."""
        intercept, linear, factors = parameters
        n_outputs, _, n_components = factors.shape
        dtype = factors.dtype
        linear = linear * (link.unit / problem.scale)
        factors = factors * link.unit ** (1 / problem.interactions.degrees)
        factors = factors / problem.scale[:, None]
        intercept = intercept * link.unit + link.shift
        intercept, linear = problem.from_centered(intercept, linear, factors)
        with np.errstate(over="ignore"):  # the result is checked instead
            linear, factors = linear.astype(dtype), factors.astype(dtype)
            parts = linear, factors, intercept.astype(dtype)
        if not all(np.isfinite(part).all() for part in parts):
            raise ValueError(
                f"y is too large, or a column of X too small, for parameters in {dtype}; scale "
                "them, or pass X in float64."
            )
        n_features = problem.position.size
        coef = np.zeros((n_outputs, n_features), dtype=dtype)
        coef[:, problem.used] = linear
        # Feature by feature in memory, as prediction reads them; shown transposed.
        table = aligned_zeros((n_outputs, n_features, n_components), dtype)
        table[:, problem.used] = factors
        self._interactions = problem.interactions
        self._show(intercept, coef, np.swapaxes(table, 1, 2))

    def _parameters(self):
        """Fitted parameters as the kernels read them, without copies if they were fitted here."""
        components = self.components_
        if components.ndim == 2:
            components = components[None]
        return Parameters(
            np.atleast_1d(np.asarray(self.intercept_, dtype=np.float64)),
            np.ascontiguousarray(np.atleast_2d(self.coef_)),
            np.ascontiguousarray(np.swapaxes(components, 1, 2)),
        )

    def _check_previous(self, previous, n_features, interactions, link):
        shape = (link.intercept.size, n_features, interactions.n_components)
        if previous.factors.shape != shape:
            raise ValueError(
                "warm_start needs the same (n_outputs, n_features, n_components) as before: "
                f"got {shape}, the fitted model has {previous.factors.shape}. Set "
                "warm_start=False to start again."
            )
        before = self._stream.settled["loss"] if hasattr(self, "_stream") else self.loss
        if (self.loss == "poisson") != (before == "poisson"):
            raise ValueError(
                f"warm_start cannot go from loss={before!r} to loss={self.loss!r}: one predicts "
                "logarithms. Set warm_start=False to start anew."
            )

    def _raw_output(self, X):
        """Raw outputs of shape (n_samples, n_outputs), all of them numbers.

        Where float32 overflows on the way, in a square or in X itself, float64 may not.
        """
        check_is_fitted(self)
        X = door.validate_X(self, X)
        parameters = self._parameters()
        output = self._outputs(X, parameters)
        overflown = np.flatnonzero(~np.isfinite(output).all(axis=1))
        if overflown.size and output.dtype != np.float64:
            rows = X[overflown].astype(np.float64)
            columns, rows.indices[:] = np.unique(rows.indices, return_inverse=True)
            rows = sparse.csr_matrix(
                (rows.data, rows.indices, rows.indptr), (overflown.size, columns.size)
            )
            intercept, linear, factors = parameters
            tables = (table[:, columns].astype(np.float64) for table in (linear, factors))
            with np.errstate(over="ignore"):
                output[overflown] = self._outputs(rows, (intercept, *tables), columns)
        return door.check_predictions(output)

    def _outputs(self, X, parameters, features=slice(None)):
        """Raw outputs of checked rows of these features, not all of them numbers."""
        intercept, _, factors = parameters
        output = np.empty((X.shape[0], intercept.size), dtype=factors.dtype)
        indptr = X.indptr.astype(np.int64, copy=False)
        with np.errstate(over="ignore"):
            rows = indptr, X.indices, X.data.astype(factors.dtype, copy=False)
        arguments = rows, parameters, self._interactions.record(features)
        threads = min(n_threads(self.n_jobs), X.shape[0] // ROWS_PER_THREAD + 1)
        bounds = [X.shape[0] * part // threads for part in range(threads + 1)]

        def work(part, wait):
            compute_outputs(*arguments, bounds[part], bounds[part + 1], output)

        run_together(work, threads)
        return output
