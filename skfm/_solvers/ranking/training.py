"""Epochs of pairs of a chosen item and one drawn, on planned mini-batches."""

from dataclasses import dataclass, replace

import numpy as np

from skfm._kernels import ranking as kernels
from skfm._kernels.losses import LOG_LOSS, make_loss
from skfm._kernels.ranking import BPR, LOGISTIC, WARP
from skfm._kernels.structs import (
    Events,
    Items,
    Meetings,
    Pairs,
    Window,
    WindowColumns,
    WindowRows,
)
from skfm._solvers.fm.minibatch import Trainer
from skfm._solvers.fm.problem import make_problem
from skfm._solvers.ranking.item_regression import Explained
from skfm._solvers.ranking.negative_sampling import index_seen, share_out
from skfm._solvers.training import run_epochs
from skfm._utils.memory import aligned_zeros, plain, read_only
from skfm._utils.progress import Progress

LOSSES = {"bpr": BPR, "warp": WARP, "logistic": LOGISTIC}
# Mean loss of parameters that are 0.
BASELINES = {"bpr": np.log(2), "warp": 1.0, "logistic": 2 * np.log(2)}
JOINED = (  # what a problem knows of its features
    "count",
    "count_before",
    "center",
    "scale",
    "linear_penalty",
    "factor_penalty",
    "linear_lasso",
    "factor_lasso",
    "penalty_share",
)
HUGE = 1e100  # larger numbers, and NaN, are not looked into


@dataclass
class Choices:
    """Who chose what. Items are numbered from 0 without gaps: all of them have been chosen."""

    item: np.ndarray  # (n_rows,)
    owner: np.ndarray  # (n_rows,)
    features: object  # (n_items, n_item_features), CSR; first the items' one-hot ones
    n_own: int  # how many one-hot features each item has
    exponent: float  # items are drawn by their weight to the power of it
    seen: object  # (n_owners, n_items), CSR, canonical: no negatives for the owner


@dataclass
class Sides:
    """The features of contexts and those of items, one after the other in one problem."""

    problem: object
    contexts: object  # the problem of the contexts alone
    items: object
    explained: object


def make_ranking_problem(X, choices, weight, loss, penalties, interactions):
    """State the problem: contexts with their features, then items with theirs."""
    n_contexts = X.shape[1]
    every = weight if weight.size else np.ones(X.shape[0], X.dtype)
    popularity = np.bincount(choices.item, every, choices.features.shape[0]).astype(X.dtype)

    def state_problem(rows, weight):
        target = np.zeros(rows.shape[0])
        return make_problem(rows, target, weight, loss, penalties, interactions, may_center=True)

    contexts, items = state_problem(X, weight), state_problem(choices.features, popularity)

    def both(name):
        return np.concatenate([getattr(contexts, name), getattr(items, name)])

    explained = Explained(items, n_contexts, choices.n_own, interactions)
    per_item = np.diff(explained.trained.indptr)
    joint = replace(
        contexts,
        interactions=interactions,
        used=np.append(contexts.used, n_contexts + items.used),
        position=np.append(contexts.position, contexts.n_used + items.position),
        mean_row_length=contexts.mean_row_length + np.average(per_item, weights=popularity),
        **{name: both(name) for name in JOINED},
    )
    places = contexts.n_used + np.flatnonzero(explained.mask)
    joint.linear_penalty[places] = joint.factor_penalty[places] = 0
    return Sides(joint, contexts, items, explained)


class _Ranker(Trainer):
    kernels = kernels
    cure = (
        "Scale the columns of X and item_features (for example with "
        "sklearn.preprocessing.MaxAbsScaler), or lower learning_rate or init_scale."
    )
    n_steps = kernels.N_STEPS
    n_forward_steps = kernels.N_FORWARD_STEPS

    def __init__(self, sides, choices, start, settings, rng):
        super().__init__(sides.problem, start, settings, rng)
        dtype = self.state.factors.dtype
        ids = sides.problem.indices.dtype  # as in the contexts: planned by the same code
        problem, explained = sides.problem, sides.explained
        begin = share_out(sides.items.weight, choices.exponent)
        self.choices = choices
        self.max_draws = int(settings.loss_shape)
        self.explained = explained if explained.groups else None
        self.of_items = slice(sides.contexts.n_used, None)
        trained = explained.trained
        n_items, n_layers = trained.shape[0], problem.interactions.n_layers
        width = self.state.factors.shape[3]
        shape = (n_items if explained.groups else 0), n_layers, width
        self.items = Items(
            indptr=trained.indptr.astype(np.int64),
            feature=read_only((trained.indices + sides.contexts.n_used).astype(ids)),
            value=read_only(trained.data.astype(dtype)),
            output=np.zeros(shape[0], dtype),
            layers=aligned_zeros(shape, dtype),
            begin=begin,
        )
        self.seen = index_seen(choices.seen, begin)
        self.fixed_seed, self.seed = (self._draw_seed() for _ in range(2))
        self._make_room(dtype)

    def _make_room(self, dtype):
        n_rows, n_items = self.planner.batch_size, self.items.indptr.size - 1
        n_used = self.problem.n_used
        n_distinct = min(2 * n_rows, n_items)
        length = np.sort(np.diff(self.items.indptr))[::-1]
        n_entries = int(length[:n_distinct].sum())
        n_pairs = max(1, min(n_entries, n_used))
        self.item_scratch = self._make_scratch(n_distinct, n_pairs)
        n_sums = self.scratch.rows.sums.shape[2]
        layers = aligned_zeros((n_rows, n_sums), dtype)
        is_usual = self.interactions is None
        self.pairs = Pairs(
            context=layers if is_usual else aligned_zeros((n_rows, n_sums), dtype),
            layers=layers,
            negative=np.empty(n_rows, np.int64),
            slope=np.empty((2, n_rows), dtype),
        )
        self.meetings = Meetings(
            batch=np.zeros(1, np.int64),
            place=np.full(n_items, -1, np.int64),
            item=np.empty(n_distinct, self.planner.row_ids),
            ptr=np.empty(n_distinct + 1, np.int64),
            row=np.empty(2 * n_rows, np.int64),
            slope=np.empty(2 * n_rows, dtype),
            count=np.empty(max(n_entries, n_distinct), np.int64),
            number=np.full(n_used, -1, np.int32),
            entry=np.empty(n_entries, np.uint32),
            feature_place=np.arange(n_used, dtype=np.uint32),
            center=np.zeros(n_used, dtype),
            inverse_scale=np.ones(n_used, dtype),
        )
        # The same types as in the contexts' windows, where they do, so that code is shared.
        fits = max(n_distinct, n_pairs) <= np.iinfo(self.planner.local_ids).max + 1
        local_ids = self.planner.local_ids if fits else np.uint32
        self.item_window = Window(
            WindowRows(
                start=np.zeros(2, np.int64),
                ptr=np.empty(n_distinct + 1, np.uint32),
                local=np.empty(n_entries, local_ids),
                value=np.empty(n_entries, dtype),
                target=np.empty(0, dtype),
                weight=np.empty(n_distinct, dtype),
            ),
            WindowColumns(
                start=np.zeros(2, np.int64),
                feature=np.empty(n_entries + 1, np.uint32),
                ptr=np.zeros(n_entries + 1, np.uint32),
                row=np.empty(n_entries, local_ids),
                value=np.empty(n_entries, dtype),
            ),
        )

    def _loss_record(self):
        """Of the logistic loss: never used, but binaries of classifiers can be."""
        return make_loss(LOG_LOSS, 0.0, 1)

    def _bring(self):
        """Tell the kernels what explained features bring, of the present parameters."""
        if self.explained is None:
            return
        output, layers = self.explained.bring(*self._of_items())
        n = self.n_components
        self.items.output[:] = output
        self.items.layers[:, :, :n] = layers.reshape(*self.items.layers.shape[:2], n)

    def _of_items(self):
        """Linear weights and factors of items' features."""
        _, linear, factors = self.parameters()
        return tuple(part[0, self.of_items].astype(np.float64) for part in (linear, factors))

    def _explain(self):
        linear, factors = self._of_items()
        if not all(np.abs(part).max(initial=0) < HUGE for part in (linear, factors)):
            return  # the next epoch finds out
        self.explained.estimate(linear, factors)
        self.state.linear[0, self.of_items, 0] = linear
        self.state.factors[0, self.of_items, 0, : self.n_components] = factors

    def _draw_seed(self):
        return np.uint64(self.rng.randint(2**31 - 1))

    def penalty(self):
        """WARP's is left out: its steps are not those of its loss, whose weights they take for
        constant; so a sum of both says nothing. Yet it says whether all parameters are finite."""
        penalty = super().penalty()
        return 0 * penalty if self.problem.loss == WARP else penalty

    def epoch(self):
        self.seed = self._draw_seed()
        self._bring()
        loss = super().epoch()
        if self.explained is not None and np.isfinite(loss):
            self._explain()
        return loss

    def measure(self):
        """With the same items drawn each time."""
        self._bring()
        seed, self.seed = self.seed, self.fixed_seed
        measured = super().measure()
        self.seed = seed
        return measured

    def take_newton_step(self):
        """Comparisons have another curvature than losses of single rows."""
        return np.inf

    def leave_saddle(self):
        """As `take_newton_step`: not looked for."""
        return False

    def _window(self, number):
        row_start, (window, *arguments) = super()._window(number)
        rows, first = self.planner.rows(number)
        events = Events(first, self.choices.item[rows], self.choices.owner[rows])
        return row_start, (window, plain(events), *arguments)

    def _arguments(self):
        state, penalties, interactions, rule, scratch = super()._arguments()
        return (
            self.seed,
            plain(self.items),
            plain(self.seen),
            state,
            penalties,
            interactions,
            rule,
            self.problem.loss,
            self.max_draws,
            scratch,
            plain(self.item_window),
            plain(self.item_scratch),
            plain(self.pairs),
            plain(self.meetings),
        )


def train(sides, choices, start, settings, rng, baseline):
    """Minimise the objective from ``start``; returns parameters and history."""
    trainer = _Ranker(sides, choices, start, settings, rng)
    progress = Progress(settings, sides.problem.n_rows, "rows")
    return run_epochs(trainer, baseline, settings, progress)
