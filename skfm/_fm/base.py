"""What FMRegressor and FMClassifier share: parameters and fit."""

import copy
import os
from functools import partial
from typing import ClassVar, Self

from numpy.typing import ArrayLike
from sklearn.base import is_classifier, is_regressor
from sklearn.utils import check_random_state

from skfm._fm import training
from skfm._fm.early_stopping import Listener, check_scoring, make_score, split, stops_early
from skfm._fm.feature_groups import check_groups
from skfm._fm.features import Features
from skfm._fm.fit_stream import StreamFitting
from skfm._fm.fitted import FittedFM
from skfm._fm.interactions import DEGREE, KIND, NO_MATRICES
from skfm._fm.partial_fit import ChunkFitting
from skfm._fm.penalties import (
    FoundPenalties,
    check_penalties,
    factor_penalties,
    linear_penalties,
    warn_if_linear,
)
from skfm._fm.rows import Rows, data_of_fit
from skfm._fm.scaling import from_solver, random_start, to_solver
from skfm._fm.stream import Stream
from skfm._fm.warm_start import WarmStart
from skfm._solvers.fm import minibatch
from skfm._solvers.fm.optimizer_state import UPDATES
from skfm._solvers.fm.penalties import PenaltiesToFind
from skfm._utils import validation
from skfm._utils.callbacks import FitTasks, managing_callbacks
from skfm._utils.checkpoint import open_checkpoint, using_checkpoint
from skfm._utils.estimator import all_or_nothing
from skfm._utils.parameters import (
    AUTO,
    BETWEEN_0_AND_1,
    BOOLEAN,
    N_JOBS,
    NON_NEGATIVE,
    NONE,
    POSITIVE,
    POSITIVE_INTEGER,
    RANK,
    VERBOSE,
    Function,
    Options,
)
from skfm._utils.threads import n_threads
from skfm._utils.typing import MatrixLike
from skfm._utils.validation import is_option
from skfm._utils.warnings import warn_not_converged


class BaseFM(ChunkFitting, StreamFitting, FittedFM):
    """Subclasses say what targets mean and how parameters are shown.

    They have ``_to_numbers(y, name)``, which checks targets and turns them into numbers,
    ``_make_target_transform(targets, more_will_come)``, which brings `Targets` into the solver's
    units, and ``_shown(intercept, coef, components)``.
    """

    # Those of penalties, labels and interactions are checked together with what they depend on.
    _constraints: ClassVar[dict] = {
        "n_components": [RANK],
        "solver": [Options(*UPDATES, "als")],
        "degree": [DEGREE],
        "fit_lower": [BOOLEAN],
        "field_interactions": [KIND],
        "alpha_fields": [NON_NEGATIVE],
        "learning_rate": [AUTO, POSITIVE],
        "initial_accumulator": [POSITIVE],
        "batch_size": [AUTO, POSITIVE_INTEGER],
        "max_iter": [POSITIVE_INTEGER],
        "tol": [NON_NEGATIVE],
        "n_iter_no_change": [POSITIVE_INTEGER],
        "early_stopping": [AUTO, BOOLEAN],
        "validation_fraction": [POSITIVE_INTEGER, BETWEEN_0_AND_1],
        "refit": [BOOLEAN],
        "callback": [Function("estimator, epoch, loss"), NONE],
        "init_scale": [NON_NEGATIVE],
        "fit_intercept": [BOOLEAN],
        "warm_start": [BOOLEAN],
        "n_jobs": N_JOBS,
        "verbose": VERBOSE,
    }

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
        alpha_fields,
        degree,
        fit_lower,
        interactions,
        field_interactions,
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
        self.alpha_fields = alpha_fields
        self.degree = degree
        self.fit_lower = fit_lower
        self.interactions = interactions
        self.field_interactions = field_interactions
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

    def _check_parameters(self):
        super()._check_parameters()
        check_scoring(self)
        if is_option(self.solver, "als") and is_option(self.field_interactions, "matrixed"):
            remedy = NO_MATRICES.format("another solver, such as 'adagrad', or")
            raise ValueError(f"solver='als' {remedy}")

    def fit(
        self,
        X: MatrixLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: MatrixLike | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_samples, n_features)
            Training rows. float32 input is processed in float32, all other types in float64.
        y : array-like of shape (n_samples,)
            Targets: numbers for a regressor, labels of any type for a classifier.
        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights. A row of weight 2 counts as two rows, and a row of weight 0 is ignored.
        X_val : array-like or sparse, of shape (n_val, n_features), default=None
            Validation rows for early stopping. See the :doc:`user guide </solvers>` for their
            transformation in a `Pipeline`.
        y_val : array-like of shape (n_val,), default=None
            Targets of the validation rows.
        sample_weight_val : array-like of shape (n_val,), default=None
            Sample weights of the validation rows.
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
            If a parameter or the data is invalid (NaN or infinity, inconsistent lengths, negative
            weights, a single class), if training diverges even with smaller learning rates, or if
            `checkpoint` is a damaged file or belongs to a fit with other data or parameters.
        OSError
            If `checkpoint` cannot be read or written, or another fit is using it.
        """
        with all_or_nothing(self), using_checkpoint(checkpoint, self.random_state):
            held_out = X_val, y_val, sample_weight_val
            return self._fit(X, y, sample_weight, held_out, checkpoint)

    @managing_callbacks
    def _fit(self, X, y, sample_weight, held_out, checkpoint):
        self._check_parameters()
        has_score = stops_early(self.early_stopping, *held_out)
        sets_aside = has_score and held_out[0] is None
        max_epochs = self.max_iter * (2 if sets_aside and self.refit else 1)
        tasks = FitTasks(self, X, y, sample_weight, max_epochs=max_epochs)
        warm_start = self._warm_start() if self.warm_start else None
        fields, groups = self._labels_of_features(X)
        all_rows = rows = self._check_rows(X, y, sample_weight, reset=True)
        interactions = self._check_interactions(fields, rows.X.shape[1])
        features = Features(interactions, groups)
        self._set_classes(rows.y)
        held_out = self._check_held_out(held_out) if has_score else None
        data = {"warm_start": warm_start, "fields": fields, "groups": groups}
        checkpoint = open_checkpoint(checkpoint, self, data_of_fit(all_rows, held_out) | data)
        rng = checkpoint.random_state(check_random_state(self.random_state))
        rng_of_refit = copy.deepcopy(rng)
        if sets_aside:
            rows, held_out = self._set_aside(rows, rng)
        # Without **: until such a call returns, Python keeps all its arguments.
        history = self._fit_rows(
            self._as_numbers(rows),
            features,
            rng,
            self.max_iter,
            tasks=tasks,
            checkpoint=checkpoint.stage("fit"),
            warm_start=warm_start,
            held_out=held_out,
        )
        self._keep_history(history)
        if sets_aside and self._refits(history):
            stage, n_epochs = checkpoint.stage("refit"), history.best_epoch
            self._fit_again(all_rows, features, rng_of_refit, n_epochs, tasks, stage)
        tasks.end()
        self._warn_if_not_converged(history)
        return self

    def _keep_history(self, history):
        self.n_iter_ = len(history.loss_curve)
        self.loss_curve_ = history.loss_curve

    def _warn_if_not_converged(self, history):
        if not (history.converged or history.stopped):
            warn_not_converged(self.max_iter, self.tol, "epochs")

    def _check_held_out(self, held_out):
        """The given rows to validate with, None if they are to be set aside."""
        if held_out[0] is None:
            return None
        try:
            return self._check_rows(*held_out, reset=False)
        except (TypeError, ValueError) as error:
            raise type(error)(f"X_val, y_val or sample_weight_val: {error}") from error

    def _set_aside(self, rows, rng):
        """Rows to train on, and rows to validate with."""
        seed = rng.randint(2**31 - 1)
        return split(rows, self.validation_fraction, stratify=is_classifier(self), seed=seed)

    def _refits(self, history):
        """Whether to fit again on all rows, with as many epochs as were best.

        Not with warm starts: the next fit would be validated on rows from which its start has
        learned. Not if all epochs diverged, so that none was best, or if the callback has stopped
        training. Nor if training left a saddle point on the way: it looks for a way down only
        after it has converged there, for which the same number of epochs may be too small.
        """
        ended_well = history.best_epoch > 0 and not history.cancelled
        return (
            self.refit
            and not self.warm_start
            and ended_well
            and history.best_epoch <= history.n_before_saddle
        )

    def _fit_again(self, rows, features, rng, max_iter, tasks, checkpoint):
        """Replace the model by one of all rows, unless a callback stops that."""
        first = dict(vars(self))
        history = self._fit_rows(
            self._as_numbers(rows),
            features,
            rng,
            max_iter,
            tasks=tasks,
            checkpoint=checkpoint,
            n_before=self.n_iter_,
        )
        if history.cancelled:
            vars(self).update(first)
        else:
            self.validation_scores_ = first["validation_scores_"]

    def _fit_rows(
        self,
        rows,
        features,
        rng,
        max_iter,
        *,
        tasks,
        checkpoint,
        warm_start=None,
        held_out=None,
        n_before=0,
    ):
        """Train on rows of numbers, and keep the result; returns the history.

        ``rows`` are `Rows`, `StreamedRows` or `PartitionedRows`, ``held_out`` those to validate
        with, ``tasks`` the `FitTasks`, ``checkpoint`` that of `run_epochs`, and ``n_before`` the
        number of epochs of the fit before, if this is the second one.
        """
        transform = self._make_target_transform(rows.targets)
        score = None if held_out is None else make_score(self, transform, held_out)
        found = FoundPenalties()
        if warm_start is not None:
            shape = transform.intercept.size, rows.n_features
            warm_start.check(shape, self.loss, features.interactions)
            found = warm_start.found
        run = self._plan(rows, transform, features, found, rng, max_iter)
        del rows  # the problem has the targets and the weights that the solver needs
        run.settings.verbose &= n_before == 0  # a second fit on all rows is no news
        run.listener = self._make_listener(run, tasks, score, n_before)
        run.start = random_start(run.problem, transform, float(self.init_scale), rng)
        if warm_start is not None:
            fitted = warm_start.center, warm_start.parameters
            run.start = to_solver(*fitted, run.start, run.problem, transform, self.fit_intercept)
        to_find = PenaltiesToFind(
            linear=is_option(self.alpha_linear, "auto"), factors=is_option(self.alpha, "auto")
        )
        result = training.train(run, to_find, warm_start, checkpoint=checkpoint)
        self._keep(run, result, seen=set())
        self._found, self._searched = to_find, result.history.searched
        return result.history

    def _warm_start(self):
        """What the fit before has left, None if there was none."""
        if not hasattr(self, "coef_"):
            return None
        stream = getattr(self, "_stream", None)
        settled = {"loss": self.loss, "solver": None} if stream is None else stream.settled
        return WarmStart(
            *self._centered_parameters(),
            settled["loss"],
            self._found_penalties(),
            getattr(self, "_searched", None),
            stream.memory if settled["solver"] == self.solver else None,
            self._interactions,
        )

    def _plan(self, rows, transform, features, found, rng, max_iter, **of_stream):
        """State the training problem for rows of numbers, and how to solve it.

        ``found`` penalties take the place of "auto" ones. ``of_stream`` are the arguments of
        `make_problem` for a further chunk of a stream.
        """
        penalties = self._check_penalties(features.groups, rows.n_features, found)
        settings = self._settings(transform, features.interactions, max_iter)
        known = rows, transform, penalties, features.interactions, settings
        if isinstance(rows, Rows):
            problem, sample = training.state_problem(*known, **of_stream), None
        else:
            problem, sample = training.state_streamed_problem(*known)
        return training.Run(problem, penalties, transform, settings, rng, sample=sample)

    def _check_penalties(self, groups, n_features, found):
        return check_penalties(
            self.alpha,
            self.alpha_linear,
            self.alpha_l1,
            self.alpha_l21,
            groups=check_groups(groups, n_features),
            found=found,
            solver=self.solver,
        )

    def _settings(self, transform, interactions, max_iter):
        finds_rate = is_option(self.learning_rate, "auto")
        rates = minibatch.CLASSIFIER_RATES if is_classifier(self) else minibatch.RATES
        is_auto = is_option(self.batch_size, "auto")
        return minibatch.Settings(
            solver=self.solver,
            loss_parameter=transform.loss_parameter,
            learning_rate=rates.get(self.solver) if finds_rate else float(self.learning_rate),
            initial_accumulator=float(self.initial_accumulator),
            batch_size="auto" if is_auto else int(self.batch_size),
            max_iter=int(max_iter),
            tol=float(self.tol),
            n_iter_no_change=int(self.n_iter_no_change),
            fit_intercept=bool(self.fit_intercept),
            fit_linear=interactions.fit_linear,
            n_threads=n_threads(self.n_jobs),
            verbose=bool(self.verbose),
            finds_rate=finds_rate,
        )

    def _make_listener(self, run, tasks, score=None, n_before=0, show=None):
        """The listener of a run, or None if there is neither a score nor a callback.

        ``n_before`` is the number of epochs trained before, which callbacks count as well, and
        ``show`` replaces that of a run on all features.
        """
        if score is None and self.callback is None and not tasks.are_watched:
            return None
        return Listener(
            show=show or (lambda parameters: self._store_solution(parameters, run)),
            score=score,
            callback=None if self.callback is None else partial(self.callback, self),
            tasks=tasks,
            n_before=n_before,
            tol=float(self.tol),
            n_iter_no_change=int(self.n_iter_no_change),
        )

    def _keep(self, run, result, seen):
        """Keep the result of a run: fitted attributes, and what the next run starts from."""
        problem, listener, history = run.problem, run.listener, result.history
        has_score = listener is not None and listener.score is not None
        if history.converged or (history.stopped and has_score):
            baseline, factors = run.transform.baseline, result.parameters.factors
            warn_if_linear(run.observed, factors, baseline, self.alpha, self.alpha_l21)
        self._store_solution(result.parameters, run)
        is_auto = is_option(self.alpha, "auto")
        self.alpha_ = factor_penalties(problem) if is_auto else run.penalties.factors
        is_auto = is_option(self.alpha_linear, "auto")
        self.alpha_linear_ = linear_penalties(problem) if is_auto else run.penalties.linear
        self._stream = Stream(
            self._settled(),
            run.transform,
            problem.scaling(),
            result.memory,
            rng=copy.deepcopy(run.rng),  # others may draw from the user's
            seen=seen,
        )
        if listener is not None:
            history.best_epoch, history.cancelled = listener.best_epoch, listener.cancelled
        if has_score:
            self.validation_scores_ = listener.scores
        elif hasattr(self, "validation_scores_"):
            del self.validation_scores_

    def _store_solution(self, parameters, run):
        """Keep the solver's parameters in the units of X and y."""
        fitted = from_solver(parameters, run.problem, run.transform)
        self._store(*fitted, run.problem.interactions)
        self._fitted_loss = self.loss

    @property
    def _loss_of_outputs(self):
        """The loss that gives raw outputs their meaning: that of the fit, if there was one.

        The parameter may have changed since.
        """
        return vars(self).get("_fitted_loss", self.loss)

    def _check_rows(self, X, y, sample_weight, *, reset):
        checked = validation.validate_rows(
            self, X, y, sample_weight, numeric_target=is_regressor(self), reset=reset
        )
        return Rows(*checked)

    def _as_numbers(self, rows):
        """Rows with targets as numbers and with the weights that the estimator gives them."""
        weight = self._make_weight(rows.y, rows.weight)
        return Rows(rows.X, self._to_numbers(rows.y, "y"), weight)

    def _set_classes(self, y):
        """Note the labels that occur, if targets are labels."""

    def _make_weight(self, y, weight):
        """The rows' weights, given the users'."""
        return weight
