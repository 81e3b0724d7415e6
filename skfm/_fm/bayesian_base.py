"""What the Bayesian factorization machines share: parameters, fit, averages over samples."""

import numbers
import os
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import is_regressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skfm._fm.feature_groups import check_or_derive_groups
from skfm._fm.features import EstimatorOfFeatures
from skfm._fm.interactions import DEGREE, NO_MATRICES
from skfm._fm.rows import Rows, without_ones
from skfm._fm.sampling import ChainHistory, ChainState, run_chain, start_chain
from skfm._solvers.fm.diagnostics import (
    LEAST_LENGTH,
    effective_sample_size,
    is_falling,
    split_r_hat,
)
from skfm._solvers.fm.gibbs import Chain, Settings
from skfm._solvers.fm.penalties import Penalties
from skfm._solvers.fm.problem import make_problem
from skfm._utils import validation
from skfm._utils.callbacks import FitTasks, managing_callbacks
from skfm._utils.checkpoint import open_checkpoint, using_checkpoint
from skfm._utils.equal_rows import merge_rows
from skfm._utils.estimator import all_or_nothing
from skfm._utils.parameters import (
    BOOLEAN,
    N_JOBS,
    NON_NEGATIVE,
    POSITIVE,
    POSITIVE_INTEGER,
    RANK,
    VERBOSE,
    Interval,
    Options,
)
from skfm._utils.threads import n_threads
from skfm._utils.typing import ColumnLike, Float, Int, MatrixLike, Seed
from skfm._utils.warnings import warn


class BaseBayesianFM(EstimatorOfFeatures):
    """What both share: parameters, fit, and means over the draws.

    Subclasses have ``_to_numbers(y)``, which checks targets and turns them into numbers,
    ``_make_target(numbers, weight)``, which returns the target in the units of the chain and the
    signs of labels, and ``_first_intercept()``, where the chain starts.
    """

    alpha_fields = None  # the weights of pairs of fields have a prior instead
    _constraints: ClassVar[dict] = {
        "n_components": [RANK],
        "max_iter": [POSITIVE_INTEGER],
        "n_burn_in": [Interval(numbers.Integral, 0)],
        "init_scale": [NON_NEGATIVE],
        "degree": [DEGREE],
        "fit_lower": [BOOLEAN],
        "field_interactions": [Options("plain", "weighted", "aware")],
        "fit_intercept": [BOOLEAN],
        "max_memory": [POSITIVE],
        "warm_start": [BOOLEAN],
        "n_jobs": N_JOBS,
        "verbose": VERBOSE,
    }

    def __init__(
        self,
        n_components: Int = 8,
        *,
        max_iter: Int = 200,
        n_burn_in: Int = 20,
        init_scale: Float = 0.1,
        degree: Int = 2,
        fit_lower: bool = True,
        interactions: Sequence[Sequence[Any]] | None = None,
        field_interactions: Literal["plain", "weighted", "aware"] = "plain",
        feature_fields: ColumnLike | None = None,
        feature_groups: ColumnLike | None = None,
        fit_intercept: bool = True,
        fit_linear: bool | Sequence[Any] = True,
        max_memory: Float = 256,
        warm_start: bool = False,
        random_state: Seed = None,
        n_jobs: Int | None = None,
        verbose: Int = 0,
    ) -> None:
        self.n_components = n_components
        self.max_iter = max_iter
        self.n_burn_in = n_burn_in
        self.init_scale = init_scale
        self.degree = degree
        self.fit_lower = fit_lower
        self.interactions = interactions
        self.field_interactions = field_interactions
        self.feature_fields = feature_fields
        self.feature_groups = feature_groups
        self.fit_intercept = fit_intercept
        self.fit_linear = fit_linear
        self.max_memory = max_memory
        self.warm_start = warm_start
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _check_parameters(self):
        if validation.is_option(self.field_interactions, "matrixed"):
            remedy = NO_MATRICES.format("FMRegressor or FMClassifier, or")
            raise ValueError(f"{type(self).__name__} {remedy}")
        super()._check_parameters()

    def fit(
        self,
        X: MatrixLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        checkpoint: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Draw samples from the posterior distribution.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_samples, n_features)
            Training rows. float32 input is processed in float32, all other types in float64.
        y : array-like of shape (n_samples,)
            Targets: numbers for the regressor, labels of two classes for the classifier.
        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights. The likelihood of a row is raised to the power of its weight, so a row
            of weight 2 counts as two rows, and a row of weight 0 is ignored.
        checkpoint : path, default=None
            A file for the state of the chain. It is written after each iteration, or less often if
            that would take too much time. If the file exists, the chain continues from it; a fit
            that was interrupted ends with the same samples, bit for bit, as one that was not. The
            file remains after the fit: delete it when the model is saved. See the
            :doc:`user guide </solvers>`.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter or the data is invalid (NaN or infinity, inconsistent lengths, negative
            weights, not two classes), if values are too large for the computations, or if
            `checkpoint` is a damaged file or belongs to a fit with other data or parameters.
        OSError
            If `checkpoint` cannot be read or written, or another fit is using it.

        Warns
        -----
        sklearn.exceptions.ConvergenceWarning
            If the training loss is still decreasing at the end, that is, if its mean over the last
            quarter of the iterations after the burn-in is clearly lower, by more than 2 %, than
            over the quarter before. This is only checked with at least 20 such iterations.
        """
        with all_or_nothing(self), using_checkpoint(checkpoint, self.random_state):
            return self._fit(X, y, sample_weight, checkpoint)

    @managing_callbacks
    def _fit(self, X, y, sample_weight, checkpoint):
        self._check_parameters()
        tasks = FitTasks(self, X, y, sample_weight, max_epochs=self.max_iter, name="iteration")
        before = getattr(self, "_chain_state", None) if self.warm_start else None
        fields, groups = self._labels_of_features(X)
        rows, signs = self._check_rows(X, y, sample_weight)
        n_features = rows.X.shape[1]
        interactions = self._check_interactions(fields, n_features)
        if groups is None and before is not None and before.group.size == n_features:
            groups = self.feature_groups_
        labels, group = check_or_derive_groups(groups, rows.X, rows.weight)
        if before is not None:
            before.check(n_features, interactions, labels.size)
        data = {"X": rows.X, "y": (rows.y, signs), "sample_weight": rows.weight}
        data |= {"fields": fields, "groups": group, "warm_start": before}
        checkpoint = open_checkpoint(checkpoint, self, data)
        digest = self._digest(rows, interactions, group)
        problem = make_problem(
            rows.X,
            rows.y,
            without_ones(rows.weight),
            self._target_transform.loss,
            Penalties(linear=0.0, factors=0.0),
            interactions,
            may_center=self.fit_intercept,
        )
        if before is not None and before.digest == digest:
            start, n_burn_in, history = before.start(), 0, self._history()
        else:
            rng = checkpoint.random_state(check_random_state(self.random_state))
            start = self._start_chain(before, problem, group, labels.size, rng)
            n_burn_in, history = int(self.n_burn_in), ChainHistory([], {})
        settings = self._settings(interactions)
        chain = Chain(
            problem,
            group[problem.used],
            start.draw,
            start.iteration,
            settings,
            start.key,
            signs,
        )
        self._group_labels = labels

        def store_chain():
            rest = problem.scaling(), interactions, group, digest
            self._chain_state = ChainState(chain.draw(), chain.iteration, start.key, *rest)

        def store():
            store_chain()
            self._samples = history.samples.extended(self._max_bytes(), 0)

        options = {"max_bytes": self._max_bytes(), "unit": self._target_transform.unit}
        options |= {"tasks": tasks, "store": store, "checkpoint": checkpoint.stage("fit")}
        run_chain(chain, history, settings, n_burn_in=n_burn_in, **options)
        store_chain()
        self._keep(history)
        tasks.end()
        return self

    def _check_rows(self, X, y, sample_weight):
        """Rows with targets in the units of the chain, equal ones merged; and signs of labels."""
        X, y, weight = validation.validate_rows(
            self, X, y, sample_weight, numeric_target=is_regressor(self)
        )
        X, y, weight = merge_rows(X, self._to_numbers(y), weight)
        target, signs = self._make_target(y, weight)
        self._target_transform.check_size(X.dtype)
        return Rows(X, target, weight), signs

    def _digest(self, rows, interactions, group):
        """What tells rows, and the model's terms for them, from others."""
        flags = np.array([self.fit_intercept, self._noise_by_level()])
        kind = np.frombuffer(interactions.kind.encode(), np.uint8)
        # Without the labels: as objects, they differ between processes.
        names = "degrees", "interaction_group", "partners", "has_linear", "field"
        parts = [getattr(interactions, name) for name in names]
        return validation.digest(rows.X, rows.y, rows.weight, group, flags, kind, *parts)

    def _settings(self, interactions):
        return Settings(
            max_iter=int(self.max_iter),
            fit_intercept=bool(self.fit_intercept),
            fit_linear=interactions.fit_linear,
            noise_by_level=self._noise_by_level(),
            n_threads=n_threads(self.n_jobs),
            verbose=bool(self.verbose),
        )

    def _start_chain(self, before, problem, group, n_groups, rng):
        if self.n_burn_in >= self.max_iter:
            raise ValueError(
                f"n_burn_in={self.n_burn_in} must be less than max_iter={self.max_iter}: "
                "predictions only use the samples after the burn-in."
            )
        intercept = self._first_intercept() if self.fit_intercept else 0.0
        init_scale = float(self.init_scale)
        return start_chain(before, problem, group, n_groups, init_scale, intercept, rng)

    def _history(self):
        """Copies of what was kept of the chain, to be continued."""
        trace = {name: [*values] for name, values in self._trace.items()}
        samples = self._samples.extended(self._max_bytes(), int(self.max_iter))
        return ChainHistory(list(self.loss_curve_), trace, samples)

    def _keep(self, history):
        self._samples, self._trace = history.samples, history.trace
        self.loss_curve_ = history.loss_curve
        self.n_iter_ = len(history.loss_curve)
        self.n_draws_ = history.samples.n_kept
        losses = history.trace["loss"]
        judged = history.trace if len(losses) >= LEAST_LENGTH else {}
        self.r_hat_ = {name: split_r_hat(values) for name, values in judged.items()}
        self.effective_sample_size_ = {
            name: effective_sample_size(values) for name, values in judged.items()
        }
        if is_falling(losses):
            warn(
                f"max_iter={self.max_iter} iterations were not enough: the training loss was "
                "still decreasing, so the chain has not reached the posterior distribution. "
                "Raise max_iter and n_burn_in, or set warm_start=True and fit again.",
                ConvergenceWarning,
            )

    @property
    def feature_groups_(self):
        check_is_fitted(self, "_chain_state")
        return self._group_labels[self._chain_state.group]  # in pickles, strings would be large

    @property
    def fields_(self):
        check_is_fitted(self, "_chain_state")
        if self._chain_state.interactions.kind == "plain":
            raise AttributeError(
                "fields_ exists only if field_interactions is 'weighted' or 'aware'."
            )
        return self._chain_state.interactions.labels

    def _noise_by_level(self):
        return False

    def _max_bytes(self):
        return min(float(self.max_memory), 2.0**30) * 2**20

    def _rows(self, X):
        """Checked rows in the units of the chain."""
        check_is_fitted(self)
        return self._chain_state.scaling.apply(validation.validate_X(self, X))

    def _summarize(self, rows, summarize):
        """What ``summarize`` makes of the outputs of these rows, (n_samples, n_draws)."""
        state = self._chain_state
        return self._samples.predict(
            rows,
            state.group,
            state.interactions,
            state.key,
            summarize,
            n_threads(self.n_jobs),
        )

    def _as_fitted(self, values):
        with np.errstate(over="ignore"):
            values = values.astype(self._chain_state.draw.theta.dtype, copy=False)
        return validation.check_predictions(values)
