"""A stream between calls of `partial_fit`, in a form in which a chunk costs what it contains."""

import copy
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from skfm._fm.penalties import FoundPenalties
from skfm._fm.scaling import Columns, from_solver
from skfm._fm.stream import Stream, check_settled
from skfm._fm.target_transform import TargetTransform
from skfm._solvers.fm.empirical_bayes import starting_penalties
from skfm._solvers.fm.feature_table import Entries, FeatureTable
from skfm._solvers.fm.optimizer_state import OptimizerMemory, parameters_in
from skfm._solvers.fm.penalties import NOWHERE, Elsewhere, Terms, penalty_terms


class Changes(NamedTuple):
    """What a call has learned, until it is written into what all calls share."""

    entries: Entries
    digest: bytes | None  # of the chunk
    n_before: int  # epochs
    loss: float


@dataclass
class OpenStream:
    """What `Stream` holds, with the values of features in a table that all calls write into.

    A call of `partial_fit` makes a new object that shares the table, the set of digests and the
    list of losses with the one before, and holds its `Changes` of these. They are written at the
    beginning of the next call, or when somebody reads the table (`settle`). Writing them twice
    changes nothing. So a call that fails or is interrupted at any point leaves no trace: its
    estimator still has the object from before.
    """

    settled: dict  # as in `Stream`
    target_transform: TargetTransform
    random_state: dict  # that of the generator
    generator: np.random.RandomState  # shared; a call sets its state first
    seen: set
    terms: Terms | None
    table: FeatureTable
    losses: list
    found: FoundPenalties  # of all features
    n_epochs: float  # as in `OptimizerMemory`
    rate_factor: float
    intercept: np.ndarray  # with the slots of the optimizer, as in `structs.State`
    field_pairs: np.ndarray
    seen_weight: float
    n_used: int
    mean_row_length: float = 0.0  # of the last chunk
    changes: Changes | None = None
    public: dict | None = None  # attributes once they were read: users may change their arrays

    @classmethod
    def of(cls, stream, n_features, losses, found):
        """Open a `Stream` that has the optimizer's state, and centers no column."""
        memory, scaling = stream.memory, stream.scaling
        return cls(
            settled=stream.settled,
            target_transform=stream.target_transform,
            random_state=stream.rng.get_state(legacy=False),
            generator=copy.deepcopy(stream.rng),
            seen=set(stream.seen),
            terms=stream.terms,
            table=FeatureTable(scaling, memory.state, n_features),
            losses=list(losses),
            found=found,
            n_epochs=memory.n_epochs,
            rate_factor=memory.rate_factor,
            intercept=memory.state.intercept,
            field_pairs=memory.state.field_pairs,
            seen_weight=scaling.seen_weight,
            n_used=scaling.used.size,
        )

    def settle(self):
        """Write the changes, if there are any, into what all calls share."""
        with self.table.lock:
            if self.changes is None:
                return
            entries, digest, n_before, loss = self.changes
            self.table.put(entries)
            if digest is not None:
                self.seen.add(digest)
            self.losses[n_before:] = [loss]
            self.changes = None

    def rng(self):
        """The shared generator, in the state that it has here."""
        self.generator.set_state(self.random_state)
        return self.generator

    def after(self, problem, columns, result, digest, elsewhere, penalties):
        """The stream after a chunk, whose ``problem`` has these columns of X."""
        state = result.memory.state
        entries = Entries(columns, problem.count, problem.scale, state.linear, state.factors)
        terms = elsewhere.terms + penalty_terms(
            np.arange(problem.n_used),
            state.linear,
            state.factors,
            np.sqrt(problem.count),
            1 / problem.scale.astype(np.float64),
            penalties.of(columns),
        )
        return replace(
            self,
            random_state=self.generator.get_state(legacy=False),
            terms=Terms(self._kinds(penalties), terms),
            n_epochs=result.memory.n_epochs,
            rate_factor=result.memory.rate_factor,
            intercept=state.intercept,
            field_pairs=state.field_pairs,
            seen_weight=problem.seen_weight,
            n_used=problem.n_used + elsewhere.n_features,
            mean_row_length=problem.mean_row_length,
            changes=Changes(entries, digest, len(self.losses), result.history.loss_curve[0]),
            public=None,
        )

    def elsewhere(self, known, penalties):
        """The features of the stream but the ``known`` columns."""
        n_features = self.n_used - known.size
        if not n_features:
            return NOWHERE
        terms, kinds = self.terms, self._kinds(penalties)
        if terms is None or terms.kinds != kinds or "groups" in kinds:
            used = np.flatnonzero(self.table.is_used)
            terms = Terms(kinds, self._terms_of(used, penalties))
        rest = terms.total - self._terms_of(known, penalties)
        return Elsewhere(n_features, np.maximum(rest, 0))

    def _terms_of(self, columns, penalties):
        table = self.table
        return penalty_terms(
            columns,
            table.linear,
            table.factors,
            np.sqrt(table.count[columns]),
            1 / table.scale[columns].astype(np.float64),
            penalties.of(columns),
        )

    def _kinds(self, penalties):
        """How penalties enter the terms. Those of groups may be others in each call."""
        found = self.found.linear, self.found.factors, None, None
        return tuple(
            "start"
            if value is None
            else "given"
            if np.ndim(value) == 0
            else "found"
            if value is kept
            else "groups"
            for value, kept in zip(penalties.by_name, found, strict=True)
        )

    def state_of(self, columns):
        """The optimizer's state of some columns, in arrays of its own."""
        return self.table.state(columns, self.intercept, self.field_pairs)

    def fitted_of(self, columns, interactions):
        """The parameters of some columns in the units of X and y."""
        with self.table.lock:
            self.settle()
            state, scale = self.state_of(columns), self.table.scale[columns]
        return self._in_units(columns.size, np.arange(columns.size), state, scale, interactions)

    def fitted(self, interactions):
        """The parameters of all columns in the units of X and y; writes nothing."""
        table = self.table
        with table.lock:
            used = np.flatnonzero(table.is_used)
            if self.changes is not None:
                used = np.union1d(used, self.changes.entries.columns)
            state, scale = self.state_of(used), table.scale[used]
            if self.changes is not None:
                columns, _, changed_scale, linear, factors = self.changes.entries
                places = np.searchsorted(used, columns)
                state.linear[:, places], state.factors[:, places] = linear, factors
                scale[places] = changed_scale
        return self._in_units(table.n_features, used, state, scale, interactions)

    def _in_units(self, n_features, used, state, scale, interactions):
        columns = Columns(used, scale, np.zeros_like(scale), n_features, interactions)
        parameters = parameters_in(state, interactions.n_components)
        fitted, _ = from_solver(parameters, columns, self.target_transform)
        return fitted

    def loss_curve(self):
        with self.table.lock:
            self.settle()
            return list(self.losses)

    def penalties(self):
        """Those that were found or are estimated: of linear weights and of factors, in the units
        of X, and 0 for columns that were not used."""
        with self.table.lock:
            self.settle()
            used, squares = self.table.is_used, np.square(self.table.scale, dtype=np.float64)
        start = starting_penalties(
            self.target_transform.loss, self.mean_row_length, self.n_used, self.seen_weight
        )
        pairs = (self.found.linear, start.linear), (self.found.factors, start.factors)
        return [
            np.where(used, first * squares if found is None else found, 0.0)
            for found, first in pairs
        ]

    def at_rest(self):
        """The `Stream` that goes on in the same way."""
        with self.table.lock:
            self.settle()
            used = np.flatnonzero(self.table.is_used)
            scaling = self.table.scaling(used, np.arange(used.size), self.seen_weight)
            state, seen, rng = self.state_of(used), set(self.seen), copy.deepcopy(self.generator)
        rng.set_state(self.random_state)
        memory = OptimizerMemory(state, self.n_epochs, self.rate_factor)
        scaling = replace(scaling, used=used)
        transform = self.target_transform
        return Stream(self.settled, transform, scaling, memory, rng, seen, self.terms)

    def __reduce__(self):
        """For hashes of an estimator's attributes; its pickles contain a `Stream` anyway."""
        return itself, (self.at_rest(),)

    @property
    def memory(self):
        return self.at_rest().memory

    @property
    def scaling(self):
        return self.at_rest().scaling

    def check_settled(self, now):
        check_settled(self.settled, now)


def itself(value):
    return value
