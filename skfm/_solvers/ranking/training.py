"""Learning to rank: epochs of pairs of a chosen and a sampled item, on planned mini-batches."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from skfm._kernels import ranking as kernels
from skfm._kernels.losses import LOG_LOSS, make_loss
from skfm._kernels.ranking import BPR, LOGISTIC, WARP
from skfm._kernels.structs import (
    BatchItems,
    Comparison,
    ItemBatch,
    Items,
    PairScratch,
    PlanScratch,
    Positives,
    ScaledRows,
    Window,
    WindowColumns,
    WindowRows,
)
from skfm._solvers.fm.batches import make_planner
from skfm._solvers.fm.optimizer import Optimizer
from skfm._solvers.fm.problem import Problem, make_problem
from skfm._solvers.fm.scratch import make_scratch
from skfm._solvers.fm.trainer import Trainer, count_threads
from skfm._solvers.ranking.item_regression import ItemRegression
from skfm._solvers.ranking.negative_sampling import cumulative_shares, index_seen
from skfm._solvers.training import run_epochs
from skfm._utils.checkpoint import NO_CHECKPOINT
from skfm._utils.memory import aligned_zeros, plain, read_only
from skfm._utils.progress import Progress

LOSSES = {"bpr": BPR, "warp": WARP, "logistic": LOGISTIC}
# Mean loss if all parameters are 0.
BASELINES = {"bpr": np.log(2), "warp": 1.0, "logistic": 2 * np.log(2)}
HUGE = 1e100  # parameters that are larger, or NaN, are not regressed


@dataclass
class Choices:
    """Which user chose which item. Each item has been chosen at least once."""

    item: np.ndarray  # (n_rows,)
    user: np.ndarray  # (n_rows,)
    features: sparse.csr_matrix  # (n_items, n_item_features), first the items' one-hot ones
    n_one_hot: int  # of each item
    exponent: float  # negatives are sampled in proportion to weight ** exponent
    seen: sparse.csr_matrix  # (n_users, n_items), canonical: no negatives for the user


@dataclass
class Sides:
    """The training problem, whose features are those of contexts followed by those of items."""

    problem: Problem
    contexts: Problem  # of the contexts alone
    items: Problem
    regression: ItemRegression


def make_ranking_problem(X, choices, weight, loss, penalties, interactions):
    """State the training problem for events in the contexts ``X``."""
    n_contexts = X.shape[1]
    every = weight if weight.size else np.ones(X.shape[0], X.dtype)
    popularity = np.bincount(choices.item, every, choices.features.shape[0]).astype(X.dtype)

    def state_problem(rows, weight):
        target = np.zeros(rows.shape[0])
        return make_problem(rows, target, weight, loss, penalties, interactions, may_center=True)

    contexts, items = state_problem(X, weight), state_problem(choices.features, popularity)

    def both(of_contexts, of_items):
        return np.concatenate([of_contexts, of_items])

    regression = ItemRegression(items, n_contexts, choices.n_one_hot, interactions)
    per_item = np.diff(regression.trained.indptr)
    joint = replace(
        contexts,
        interactions=interactions,
        used=np.append(contexts.used, n_contexts + items.used),
        position=np.append(contexts.position, contexts.n_used + items.position),
        mean_row_length=contexts.mean_row_length + np.average(per_item, weights=popularity),
        count=both(contexts.count, items.count),
        count_before=both(contexts.count_before, items.count_before),
        center=both(contexts.center, items.center),
        scale=both(contexts.scale, items.scale),
        linear_penalty=both(contexts.linear_penalty, items.linear_penalty),
        factor_penalty=both(contexts.factor_penalty, items.factor_penalty),
        linear_lasso=both(contexts.linear_lasso, items.linear_lasso),
        factor_lasso=both(contexts.factor_lasso, items.factor_lasso),
        penalty_share=both(contexts.penalty_share, items.penalty_share),
    )
    places = contexts.n_used + np.flatnonzero(regression.mask)
    joint.linear_penalty[places] = joint.factor_penalty[places] = 0
    return Sides(joint, contexts, items, regression)


class PairSteps:
    """Batches of pairs of a chosen and a sampled item: the `trainer.BatchSteps` of ranking.

    After each epoch, items' parameters are regressed on their given features.
    """

    has_row_losses = False  # the curvature of comparisons differs from that of single rows
    n_steps = kernels.N_STEPS
    n_forward_steps = kernels.N_FORWARD_STEPS
    remedy = (
        "Scale the columns of X and item_features (for example with "
        "sklearn.preprocessing.MaxAbsScaler), or lower learning_rate or init_scale."
    )
    # The kernels need a loss but do not use it; this one is probably compiled already.
    loss = make_loss(LOG_LOSS, 0.0, 1)

    def __init__(self, sides, choices, optimizer, planner, settings, rng):
        self.optimizer = optimizer
        self.planner = planner
        self.choices = choices
        self.pair_loss = sides.problem.loss
        self.max_draws = settings.max_draws
        self.regression = sides.regression if sides.regression.groups else None
        self.of_items = slice(sides.contexts.n_used, None)
        begin = cumulative_shares(sides.items.weight, choices.exponent)
        self.items = self._make_items(sides, begin)
        self.seen = index_seen(choices.seen, begin)
        self.fixed_seed, self.seed = _draw_seed(rng), _draw_seed(rng)
        n_threads = count_threads(settings.n_threads, planner.batch_size)
        self.pairs = self._make_pairs(sides.problem)
        self.item_batch = self._make_item_batch(sides.problem, n_threads)

    def _make_items(self, sides, begin):
        trained, state = sides.regression.trained, self.optimizer.state
        n_items, n_layers = trained.shape[0], sides.problem.interactions.n_layers
        n_regressed = 0 if self.regression is None else n_items
        dtype, ids = state.factors.dtype, sides.problem.indices.dtype
        return Items(
            # The index types of the contexts, so that the same compiled code plans both.
            indptr=read_only(trained.indptr.astype(sides.problem.indptr.dtype)),
            feature=read_only((trained.indices + sides.contexts.n_used).astype(ids)),
            value=read_only(trained.data.astype(dtype)),
            output=np.zeros(n_regressed, dtype),
            layers=aligned_zeros((n_regressed, n_layers, state.factors.shape[3]), dtype),
            begin=begin,
        )

    def _make_pairs(self, problem):
        n_rows, factors = self.planner.batch_size, self.optimizer.state.factors
        shape = n_rows, problem.interactions.n_layers * factors.shape[3]
        layers = aligned_zeros(shape, factors.dtype)
        has_one_layer = problem.interactions.record(problem.used) is None
        return PairScratch(
            context=layers if has_one_layer else aligned_zeros(shape, factors.dtype),
            layers=layers,
            negative=np.empty(n_rows, np.int64),
            slope=np.empty((2, n_rows), factors.dtype),
        )

    def _make_item_batch(self, problem, n_threads):
        state, planner, items = self.optimizer.state, self.planner, self.items
        dtype = state.factors.dtype
        n_rows, n_items, n_used = planner.batch_size, items.indptr.size - 1, problem.n_used
        n_distinct = min(2 * n_rows, n_items)
        length = np.sort(np.diff(items.indptr))[::-1]
        n_entries = int(length[:n_distinct].sum())
        n_pairs = max(1, min(n_entries, n_used))
        # The types of the contexts' windows if possible, so that both use the same compiled code.
        fits = max(n_distinct, n_pairs) <= np.iinfo(planner.local_ids).max + 1
        local_ids = planner.local_ids if fits else np.uint32
        pointers = planner.pointers if n_entries <= np.iinfo(planner.pointers).max else np.uint32
        return ItemBatch(
            items=BatchItems(
                batch=np.zeros(1, np.int64),
                place=np.full(n_items, -1, np.int64),
                item=np.empty(n_distinct, planner.row_ids),
                ptr=np.empty(n_distinct + 1, np.int64),
                row=np.empty(2 * n_rows, np.int64),
                slope=np.empty(2 * n_rows, dtype),
            ),
            window=_empty_window(n_distinct, n_entries, local_ids, pointers, dtype),
            scratch=make_scratch(
                state,
                problem.interactions.n_layers,
                problem.penalty_share.shape[1],
                n_rows=n_distinct,
                n_pairs=n_pairs,
                n_threads=n_threads,
            ),
            features=ScaledRows(
                indptr=items.indptr,
                indices=items.feature,
                data=items.value,
                position=np.arange(n_used, dtype=np.uint32),
                center=np.zeros(n_used, dtype),
                inverse_scale=np.ones(n_used, dtype),
            ),
            plan=PlanScratch(
                first_seen=np.full(n_used, -1, np.int32),
                entry_feature=np.empty(n_entries, np.uint32),
                count=np.empty(max(n_entries, n_distinct), np.int64),
            ),
        )

    def begin_epoch(self, rng):
        self.seed = _draw_seed(rng)
        self._add_contributions()

    def end_epoch(self, loss):
        if self.regression is not None and np.isfinite(loss):
            self._regress()

    def snapshot(self):
        return None if self.regression is None else self.regression.snapshot()

    def restore(self, snapshot):
        if self.regression is not None:
            self.regression.restore(snapshot)

    def begin_measurement(self):
        """Use a fixed seed, so that all measurements sample the same negatives."""
        self.seed = self.fixed_seed
        self._add_contributions()

    def adapt_penalty(self, penalty):
        """The penalty, but 0 for WARP, whose steps do not minimize the sum of loss and penalty.

        They treat the weights of the loss as constants. The product with 0 keeps NaN, which shows
        that training diverged.
        """
        return 0 * penalty if self.pair_loss == WARP else penalty

    def arguments(self, number):
        rows, first = self.planner.rows(number)
        positives = Positives(first, self.choices.item[rows], self.choices.user[rows])
        return (
            plain(Comparison(self.pair_loss, self.max_draws, self.seed)),
            plain(positives),
            plain(self.items),
            plain(self.seen),
            plain(self.pairs),
            plain(self.item_batch),
        )

    def run(self, *arguments):
        return kernels.run_steps(*arguments)

    def _add_contributions(self):
        """Compute what the regressed features contribute to each item's output and layers."""
        if self.regression is None:
            return
        output, layers = self.regression.contributions(*self._item_parameters())
        n = self.optimizer.n_components
        self.items.output[:] = output
        self.items.layers[:, :, :n] = layers.reshape(*self.items.layers.shape[:2], n)

    def _regress(self):
        linear, factors = self._item_parameters()
        if not all(np.abs(part).max(initial=0) < HUGE for part in (linear, factors)):
            return  # training diverged, as the next epoch will find
        self.regression.estimate(linear, factors)
        state = self.optimizer.state
        state.linear[0, self.of_items, 0] = linear
        state.factors[0, self.of_items, 0, : self.optimizer.n_components] = factors

    def _item_parameters(self):
        """Linear weights and factors of the items' features, in float64."""
        parameters = self.optimizer.parameters()
        linear, factors = parameters.linear, parameters.factors
        return (
            linear[0, self.of_items].astype(np.float64),
            factors[0, self.of_items].astype(np.float64),
        )


def _empty_window(n_rows, n_entries, local_ids, pointers, dtype):
    """Space for one planned batch."""
    return Window(
        WindowRows(
            start=np.zeros(2, np.int64),
            ptr=np.empty(n_rows + 1, np.uint32),
            local=np.empty(n_entries, local_ids),
            value=np.empty(n_entries, dtype),
            target=np.empty(0, dtype),
            weight=np.empty(n_rows, dtype),
        ),
        WindowColumns(
            start=np.zeros(2, np.int64),
            feature=np.empty(n_entries + 1, np.uint32),
            ptr=np.zeros(n_entries + 1, pointers),
            row=np.empty(n_entries, local_ids),
            value=np.empty(n_entries, dtype),
        ),
    )


def _draw_seed(rng):
    return np.uint64(rng.randint(2**31 - 1))


def make_trainer(sides, choices, start, settings, rng):
    """A trainer for ranking, from the scaled `Parameters` ``start``."""
    optimizer = Optimizer(sides.problem, start, settings)
    planner = make_planner(sides.problem, settings, rng)
    steps = PairSteps(sides, choices, optimizer, planner, settings, rng)
    return Trainer(sides.problem, optimizer, planner, steps, settings, rng)


def train(sides, choices, start, settings, rng, baseline, listener=None, checkpoint=NO_CHECKPOINT):
    """Minimize the objective from ``start``; returns parameters and history.

    ``listener``, if given, is called as `run_epochs` says. ``checkpoint`` is that of `run_epochs`.
    """
    trainer = make_trainer(sides, choices, start, settings, rng)
    progress = Progress(settings, sides.problem.n_rows, "rows")
    return run_epochs(trainer, baseline, settings, progress, listener, checkpoint=checkpoint)
