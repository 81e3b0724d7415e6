"""Chains of draws: where they start, what is kept of them, and how they are continued."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from skfm._fm.posterior import Samples
from skfm._solvers.fm.column_scaling import Scaling
from skfm._solvers.fm.gibbs import Draw, first_draw
from skfm._solvers.fm.interactions import Interactions
from skfm._solvers.training import History
from skfm._utils.messages import shown
from skfm._utils.pickling import Versioned
from skfm._utils.progress import Progress

DIVERGED = (
    "Sampling diverged: values are no longer finite. Scale the columns of X (for "
    "example with sklearn.preprocessing.MaxAbsScaler), look for numbers in y and sample_weight "
    "that are far too large or small, or lower init_scale."
)


class ChainStart(NamedTuple):
    draw: Draw
    iteration: int  # number of iterations before
    key: np.ndarray  # of the random numbers


@dataclass
class ChainState(Versioned):
    """Where a chain has stopped: what predictions and warm starts need of it."""

    draw: Draw
    iteration: int
    key: np.ndarray  # of the random numbers
    scaling: Scaling
    interactions: Interactions
    group: np.ndarray  # (n_features,)
    digest: bytes  # of the rows

    def check(self, n_features, interactions, n_groups):
        """Raise an error if a chain of such a model cannot continue from here."""
        kind, kind_before = interactions.kind, self.interactions.kind
        if kind != kind_before:
            raise ValueError(
                f"warm_start cannot change field_interactions from {kind_before!r} to {kind!r}. "
                "Set warm_start=False to start again."
            )
        if kind != "plain" and not np.array_equal(interactions.labels, self.interactions.labels):
            raise ValueError(
                f"warm_start with field_interactions={kind!r} requires the same fields as before: "
                f"got {shown(interactions.labels.tolist())}, but the fitted model has "
                f"{shown(self.interactions.labels.tolist())}. Set warm_start=False to start again."
            )
        shape = n_features, interactions.n_components, n_groups
        before = self.group.size, self.draw.factors.shape[1], self.draw.group_mean.shape[0]
        if shape != before:
            raise ValueError(
                "warm_start requires the same (n_features, n_components, number of groups) as "
                f"before: got {shape}, but the fitted model has {before}. Set warm_start=False "
                "to start again."
            )

    def start(self):
        """Where the chain continues on the same rows."""
        return ChainStart(self.draw, self.iteration, self.key)

    def start_on_other_rows(self, draw, problem):
        """Where it continues on other rows; parameters of new features are those of ``draw``."""
        before, n_features = self.draw, self.group.size
        draw.field_pairs = before.field_pairs
        whole = np.zeros((n_features, draw.theta.shape[1]), draw.theta.dtype)
        whole[problem.used] = draw.theta
        whole[self.scaling.used] = before.theta
        draw.theta = whole[problem.used]
        draw.linear[:] *= problem.interactions.has_linear[problem.used]
        if before.level_precision.size:
            whole = np.ones(n_features)
            whole[self.scaling.used] = before.level_precision
            draw.level_precision, draw.freedom = whole[problem.used], before.freedom
        return ChainStart(draw, self.iteration, self.key)


def start_chain(before, problem, group, n_groups, init_scale, intercept, rng):
    """Where a chain starts on new rows, from the `ChainState` ``before`` if that is not None."""
    draw = first_draw(problem, group[problem.used], n_groups, init_scale, intercept, rng)
    if before is not None:
        return before.start_on_other_rows(draw, problem)
    key = rng.randint(2**32, size=4, dtype=np.uint64)
    return ChainStart(draw, 0, key[:2])


@dataclass
class ChainHistory:
    """What is kept of a chain's iterations on the same rows."""

    loss_curve: list
    trace: dict  # lists of numbers, by what they are; without the burn-in
    samples: Samples | None = None  # for predictions; None before the first one

    def snapshot(self):
        return {
            "loss_curve": self.loss_curve,
            "trace": self.trace,
            "samples": None if self.samples is None else self.samples.snapshot(),
        }

    def restore(self, snapshot):
        self.loss_curve, self.trace = snapshot["loss_curve"], snapshot["trace"]
        samples = snapshot["samples"]
        self.samples = None if samples is None else Samples.restored(samples)


def run_chain(chain, history, settings, *, n_burn_in, max_bytes, unit, tasks, store, checkpoint):
    """Draw ``settings.max_iter`` times, and add to the history.

    ``unit`` is that of y, for losses; ``max_bytes`` is what the samples may take. ``tasks`` are
    `FitTasks`, whose ``store()`` is possible after the burn-in; only then, callbacks may stop.
    ``checkpoint`` is that of `run_epochs`.
    """
    progress = Progress(settings, chain.problem.n_rows, "rows")
    of_this_fit = History()
    parts = {"of_this_fit": of_this_fit, "chain": chain, "history": history}
    checkpoint.restore(parts)
    progress.continue_after(len(of_this_fit.loss_curve))
    with progress.until_end(of_this_fit):
        for number in of_this_fit.remaining(settings.max_iter):
            tasks.begin_epoch()
            with np.errstate(all="ignore"):  # the loss tells
                loss = chain.step()
            if not np.isfinite(loss):
                raise ValueError(DIVERGED)
            loss = loss * unit * unit
            history.loss_curve.append(float(loss))
            of_this_fit.loss_curve.append(float(loss))
            progress.epoch(number, loss)
            if number > n_burn_in:
                _keep_draw(chain, history, max_bytes, settings.max_iter - n_burn_in)
            may_stop = history.samples is not None
            if tasks.end_epoch(store if may_stop else None) and may_stop:
                of_this_fit.stopped = True
            checkpoint.save(parts, has_ended=of_this_fit.has_ended(settings.max_iter))
    history.samples.trim()


def _keep_draw(chain, history, max_bytes, n_draws):
    for name, value in {"loss": history.loss_curve[-1], **chain.scalars()}.items():
        history.trace.setdefault(name, []).append(value)
    draw = chain.draw()
    if history.samples is None:
        history.samples = Samples(draw, max_bytes, n_draws)
    if not history.samples.take(draw):
        raise ValueError(DIVERGED)
