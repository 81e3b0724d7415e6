"""Training on a stream of chunks: `partial_fit`, and a fitted model between its calls."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sklearn.utils import check_random_state

from skfm._fm import field_parameters, training
from skfm._fm.features import Features
from skfm._fm.fitted import PARAMETERS
from skfm._fm.open_stream import OpenStream
from skfm._fm.penalties import FoundPenalties, with_unseen
from skfm._fm.scaling import check_in_units, random_start, start_new_features, to_solver
from skfm._fm.stream import digest_of_chunk, settled_values
from skfm._solvers.fm.optimizer_state import OptimizerMemory, parameters_in, set_parameters
from skfm._solvers.fm.penalties import FIND_NONE
from skfm._solvers.training import History
from skfm._utils.callbacks import NO_TASKS
from skfm._utils.pickling import ORIGIN
from skfm._utils.sparse import compact
from skfm._utils.validation import is_option

# Computed from an open stream when they are read.
SHOWN = *PARAMETERS, *field_parameters.ATTRIBUTES, "loss_curve_", "alpha_", "alpha_linear_"


def takes_steps(model):
    if is_option(model.solver, "als"):
        raise AttributeError(
            "solver='als' requires all rows at once; for partial_fit, use a gradient-based "
            "solver, such as 'adagrad'."
        )
    return True


class ChunkFitting:
    """The method `_partial_fit` of `FMRegressor` and `FMClassifier`.

    After two calls, the estimator has an `OpenStream`. Public attributes that depend on all
    features are then computed when they are read, and predictions of a few rows use the stream.
    """

    # What it needs of `BaseFM`.
    _plan: Callable[..., Any]
    _keep: Callable[..., None]

    def __setstate__(self, state):
        super().__setstate__(state)
        stream = vars(self).get("_stream")
        if stream is not None:  # that of the original, if this is a shallow copy
            self._stream = stream.copy()

    def __getstate__(self):
        state = super().__getstate__()
        stream = self._open_stream()
        if stream is None:
            return state
        public = stream.public or self._make_public(stream)
        shown = {name: vars(self).get(name, value) for name, value in public.items()}
        for name in shown:  # always in the same order
            state.pop(name, None)
        return state | {name: self._packed(name, value) for name, value in shown.items()}

    def _packed(self, name, value):
        return super()._packed(name, value.at_rest() if type(value) is OpenStream else value)

    def __getattr__(self, name):
        stream = self._open_stream() if name in SHOWN else None
        if stream is not None:
            with stream.table.lock:
                if stream.public is None:
                    stream.public = self._make_public(stream)
            if name in stream.public:
                return stream.public[name]
        return super().__getattr__(name)

    def _open_stream(self):
        stream = vars(self).get("_stream")
        return stream if type(stream) is OpenStream else None

    def _make_public(self, stream):
        interactions = self._interactions
        public = self._public_parameters(stream.fitted(interactions), interactions)
        linear, factors = stream.penalties()
        public |= {"loss_curve_": stream.loss_curve()}
        return public | {"alpha_": factors, "alpha_linear_": linear}

    def _model_of(self, X):
        stream = self._open_stream()
        if stream is None or stream.public is not None or X.nnz >= X.shape[1]:
            return super()._model_of(X)
        if any(name in vars(self) for name in SHOWN[:-2]):  # a user has set it
            return super()._model_of(X)
        columns, X = compact(X)
        interactions = self._interactions.of(columns)
        return X, None, stream.fitted_of(columns, interactions), interactions

    def _partial_fit(self, X, y, sample_weight):
        """One epoch on a chunk of rows, from where `fit` or the last call has stopped."""
        self._check_parameters()
        if self.early_stopping is True:
            raise ValueError(
                "partial_fit does not support early stopping, because it passes over each chunk "
                "only once; set early_stopping=False."
            )
        stream = getattr(self, "_stream", None)
        if stream is None and ORIGIN in vars(self) and hasattr(self, "coef_"):
            self._stream  # noqa: B018 -- the error says that another version did not keep it
        fields, groups = self._labels_of_features(X)
        rows = self._check_rows(X, y, sample_weight, reset=stream is None)
        rows = self._as_numbers(rows)
        digest = digest_of_chunk(rows)
        if stream is None:
            interactions = self._check_interactions(fields, rows.X.shape[1])
            history = self._start_stream(rows, Features(interactions, groups))
            self.loss_curve_ = history.loss_curve
        else:
            stream.check_settled(self._settled())
            if not isinstance(stream, OpenStream) and stream.can_open:
                known = self.n_features_in_, self.loss_curve_, self._found_penalties()
                stream = OpenStream.of(stream, *known)
            if isinstance(stream, OpenStream):
                self._continue_open_stream(stream, rows, groups, digest)
                return self
            history = self._continue_stream(stream, rows, groups, digest not in stream.seen)
            self.loss_curve_ = self.loss_curve_ + history.loss_curve
        self.n_iter_ = len(self.loss_curve_)
        # Last, and in place: copies would take longer and longer.
        if digest is not None:
            self._stream.seen.add(digest)
        return self

    def _start_stream(self, rows, features):
        """Train on the first chunk of a stream; returns the history."""
        rng = check_random_state(self.random_state)
        transform = self._make_target_transform(rows.targets, more_will_come=True)
        run = self._plan(rows, transform, features, FoundPenalties(), rng, max_iter=1)
        run.listener = self._make_listener(run, NO_TASKS)
        run.start = random_start(run.problem, transform, float(self.init_scale), rng)
        # A chunk of a stream is too little to find penalties with.
        result = training.train(run, FIND_NONE, keeps_state=True)
        self._keep(run, result, seen=set())
        self._found, self._searched = FIND_NONE, result.history.searched
        return result.history

    def _continue_stream(self, stream, rows, groups, is_new):
        """Train on a further chunk after a fit, or if columns are centered; returns the history.

        All features take part: the first chunk after a fit starts the optimizer's state of each,
        and centers change the linear weights of each. ``is_new`` says whether the chunk was not
        seen before.
        """
        rng = copy.deepcopy(stream.rng)  # so that a call that fails has drawn nothing
        transform, (center, fitted) = stream.target_transform, self._centered_parameters()
        if transform.is_constant and stream.memory.state is None:
            transform = self._make_target_transform(rows.targets, more_will_come=True)
        rows = rows._replace(X=rows.X.astype(fitted.factors.dtype, copy=False))
        features = Features(self._interactions_now(), groups)
        found = self._found_penalties()
        earlier = {"earlier": stream.scaling, "is_new": is_new}
        run = self._plan(rows, transform, features, found, rng, 1, **earlier)
        run.listener = self._make_listener(run, NO_TASKS, n_before=self.n_iter_)
        problem, init_scale = run.problem, float(self.init_scale)
        places = stream.places(problem)
        memory, start = stream.memory.spread(places, problem.n_used), None
        if memory.state is None:
            random = random_start(problem, transform, init_scale, rng)
            fit_intercept = self.fit_intercept
            start = to_solver(center, fitted, random, problem, transform, fit_intercept, places)
        else:
            parameters = parameters_in(memory.state, problem.interactions.n_components)
            start_new_features(parameters, places, problem, init_scale, rng)
        result = training.train_on_chunk(run, start, memory)
        self._keep(run, result, seen=stream.seen)
        return result.history

    def _continue_open_stream(self, stream, rows, groups, digest):
        """Train on a further chunk, at the cost of the columns that it has."""
        stream.settle()
        table, rng = stream.table, stream.rng()
        columns, X = compact(rows.X.astype(table.dtype, copy=False))
        known = table.known(columns)
        whole = self._interactions_now()
        penalties = self._check_penalties(groups, table.n_features, stream.found)
        elsewhere = stream.elsewhere(columns[known], penalties)
        transform, interactions = stream.target_transform, whole.of(columns)
        settings = self._settings(transform, interactions, max_iter=1)
        problem = training.state_problem(
            rows._replace(X=X),
            transform,
            penalties.of(columns),
            interactions,
            settings,
            earlier=table.scaling(columns, known, stream.seen_weight),
            is_new=digest is None or digest not in stream.seen,
            elsewhere=elsewhere,
        )
        run = training.Run(problem, penalties, transform, settings, rng)
        known, columns = problem.position[known], columns[problem.used]
        state = stream.state_of(columns)
        parameters = parameters_in(state, interactions.n_components)
        start_new_features(parameters, known, problem, float(self.init_scale), rng)

        def after(result):
            return stream.after(problem, columns, result, digest, elsewhere, penalties)

        def show(parameters):  # at the end, when the state before is no longer needed
            set_parameters(state, parameters, forget=False)
            shown = training.Result(parameters, History([0.0]), memory)
            self._store(after(shown).fitted(whole), None, whole)

        memory = OptimizerMemory(state, stream.n_epochs, stream.rate_factor)
        run.listener = self._make_listener(run, NO_TASKS, n_before=self.n_iter_, show=show)
        result = training.train_on_chunk(run, None, memory)
        check_in_units(result.parameters, problem, transform)
        for name in SHOWN:
            vars(self).pop(name, None)
        vars(self).pop("validation_scores_", None)
        self._interactions, self._centered, self._fitted_loss = whole, None, self.loss
        if not is_option(self.alpha, "auto"):
            self.alpha_ = penalties.factors
        if not is_option(self.alpha_linear, "auto"):
            self.alpha_linear_ = penalties.linear
        self.n_iter_ += 1
        self._stream = after(result)

    def _interactions_now(self):
        """Those of the model; their penalty may change, as other penalties may."""
        return replace(self._interactions, alpha_fields=float(self.alpha_fields))

    def _found_penalties(self):
        """Penalties that the last fit has found."""
        found = getattr(self, "_found", FIND_NONE)
        return FoundPenalties(
            linear=with_unseen(self.alpha_linear_) if found.linear else None,
            factors=with_unseen(self.alpha_) if found.factors else None,
        )

    def _settled(self):
        """Parameters that cannot change between calls of `partial_fit`."""
        names = ("loss", "solver", "n_components", "degree", "fit_lower", "interactions")
        names = (*names, "field_interactions", "fit_intercept", "fit_linear")
        names = (*names, *self._loss_parameters)
        return settled_values({name: getattr(self, name) for name in names})
