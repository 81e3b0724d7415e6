"""Penalties that the data choose: empirical Bayes, while training goes on.

Penalties are normal priors on the scaled parameters. Training finds the mode, and every few epochs
the variances of the priors follow by expectation maximisation: the mean square of the parameters
that have a prior in common, their uncertainty included. With weights ``c_i`` times the second
derivative of the loss by the output, derivatives ``h_ijf`` of the output by ``v_jf`` and the
dispersion ``d`` of the loss (1 if its scale is known), the posterior variances are about ::

    s_jf = 1 / ((sum_i c_i h_ijf^2 + E_jf) / d + precision)
    E_jf = sum_i c_i x_ij^2 (sum of x_il^2 s_lf over the partners l of j)

``E_jf`` is what the uncertainty of a feature's partners adds to the expected loss, which is a
penalty on ``v_jf``: it shrinks the factors of features that meet others of which little is known.
So the penalty of ``v_j`` is ``d * precision + mean_f E_jf``; that of ``w_j`` is ``d * precision``.

The linear weights of dense columns are looked at together (`dense_columns`), since columns that
nearly say the same leave each weight more uncertain than its own second derivative says.

Residuals of a fit that hardly knows the rows it is asked about are larger than those of its own
rows. With ``p`` the share of parameters in the rows that the data determine, ``sum of (1 - s_jf
precision) / n_rows``, the dispersion of targets of unknown scale is their mean square, divided by
``1 - p``. Classes have a scale of their own, but where they can be told apart, shrinkage alone
makes probabilities doubtful, and penalties meant for doubtful classes would keep them so. There
the dispersion is the mean square of left-out residuals, about ``1 / (1 - p)`` times the others, in
units of the variance that the probabilities claim, if that is less than 1. It is measured near the
first penalties, since it would fall with penalties that fall with it.

A Gamma prior on each precision, at values for which linear terms and pairs together vary about as
much as the target may, counts as PRIOR times as many parameters as there are: without it, point
estimates drift towards too much shrinkage where products of features matter much.
"""

from typing import NamedTuple

import numpy as np

from skfm._kernels import losses
from skfm._solvers.fm.dense_columns import DenseColumns
from skfm._solvers.fm.penalties import Penalties

N_UPDATES = 8
PRIOR = 0.03
LEAST_STEPS = 60  # before the first update: weights have to grow before they say anything
CHUNK = 1 << 14  # rows looked at together
MOST_ENTRIES = 500_000  # of the rows that are looked at
# How far the logarithm of factors' precision moves, in the steps of expectation maximisation.
LEAP = {True: 1.0, False: 1.8}  # whether targets are standardised
# Precisions to begin with, for each entry of a row: of factors and of linear weights.
FACTORS = {True: 2.2, False: 0.5}
LINEAR = {True: 0.7, False: 0.1}
LEAST_LINEAR = 0.5
MOST_CAUTION = 10.0
WARM = {True: 20, False: 10}  # epochs before the first update, or this many mini-batches
ENOUGH_STEPS = {True: 1600, False: 600}
LEAST_WARM = 2
EVERY = 2  # epochs between updates
COMPONENTS = 4  # looked at together, so that memory does not grow with their number
STARTING = {True: 1.0, False: 0.4}  # the factors' penalty until then, times the root of n_j
LEAST_LEFT = 0.05  # of 1 - p above
LEAST_OF_CLASSES = 0.1  # their dispersion
HUGE = 1e100  # weights beside which penalties are nothing; their squares are no numbers
LEAST = 1e-8  # of other targets, whose variance is about 1
STANDARDISED = (losses.SQUARED_ERROR, losses.ABSOLUTE_ERROR, losses.HUBER, losses.QUANTILE)
CLASSES = (losses.LOG_LOSS, losses.SOFTMAX)


def starting_penalties(loss, mean_row_length, n_features, n_rows):
    """Penalties until the first update; those of factors for one row of a feature."""
    is_standardised, caution = loss in STANDARDISED, _caution(loss, n_features, n_rows)
    linear = max(LINEAR[is_standardised] * mean_row_length, LEAST_LINEAR)
    return Penalties(linear=caution * linear, factors=caution * STARTING[is_standardised])


def _caution(loss, n_features, n_rows):
    """How much larger first penalties are: rows that are fewer than features say nearly nothing of
    most, and classes of such rows can be told apart by chance."""
    if loss not in CLASSES:
        return 1.0
    ratio = min(n_features / n_rows, MOST_CAUTION)  # rows of hardly any weight: no overflow
    return np.clip(ratio**2, 1.0, MOST_CAUTION)


class Precisions(NamedTuple):
    """Precisions of the priors: one for all parameters of a kind, or one for each."""

    factors: float | np.ndarray
    linear: float | np.ndarray


class Searched(NamedTuple):
    """What a search knows at the end of a fit, for the next one that goes on."""

    n_epochs: int = 0
    precisions: Precisions | None = None
    class_dispersion: float | None = None


class _OfFactors(NamedTuple):
    """What an update learns of all factors together."""

    n_determined: float  # how many of them the rows determine
    squares: float  # sum of their expected squares
    of_partners: np.ndarray  # (n_used,), E above, mean over components


class PenaltySearch:
    """When to update the penalties of a problem, and to what.

    ``finds`` (`PenaltiesToFind`) says which of them are to be found. The arrays of
    the problem are changed in place. ``earlier`` is what a fit before has left, to go on from.
    """

    def __init__(self, problem, settings, finds, n_batches, earlier=None, by_sweeps=False):
        self.problem = problem
        self.loss_parameter = settings.loss_parameter
        self.pairs = np.flatnonzero(problem.interactions.degrees == 2)
        self.finds = finds._replace(factors=finds.factors and self.pairs.size > 0)
        is_standardised = problem.loss in STANDARDISED
        length = max(problem.mean_row_length, 1.0)
        shape = problem.n_used, problem.total_weight
        of_factors = _caution(problem.loss, *shape) * FACTORS[is_standardised] * length
        of_weights = starting_penalties(problem.loss, length, *shape).linear
        self.start = Precisions(of_factors, of_weights)
        earlier = earlier or Searched()
        self.n_epochs_before = earlier.n_epochs
        self.precisions = earlier.precisions
        self.class_dispersion = earlier.class_dispersion
        self.variances = None
        self.correction = 1.0  # of the dispersion, for what the rows themselves determine
        if by_sweeps:  # each of which goes as far as several epochs
            warm, every = 4, 1
        else:
            enough = max(-(-ENOUGH_STEPS[is_standardised] // n_batches), LEAST_WARM)
            warm = min(WARM[is_standardised], enough)
            warm = max(warm, -(-LEAST_STEPS // n_batches))
            every = max(EVERY, -(-LEAST_STEPS // (6 * n_batches)))
        due = [warm + every * number + 1 - earlier.n_epochs for number in range(N_UPDATES)]
        self.due = due if any(self.finds) and problem.total_weight < HUGE else []
        self.dense = DenseColumns(problem, settings) if self.due else None
        self.sample = _sample_rows(problem) if self.due else None
        self.known = None if self.sample is None else self._count_in_sample()

    def is_open(self, epoch):
        """Whether an update follows after this epoch."""
        return epoch < max(self.due, default=0)

    def searched(self, n_epochs):
        """After so many epochs of this fit."""
        return Searched(self.n_epochs_before + n_epochs, self.precisions, self.class_dispersion)

    def before(self, epoch, trainer):
        """Update before the epochs that are due; returns whether the penalties have changed."""
        if epoch not in self.due:
            return False
        self._update(trainer.parameters(), trainer.outputs())
        return True

    def _update(self, parameters, raw):
        problem = self.problem
        linear = parameters.linear.astype(np.float64)
        curvature, measured = weighted_curvatures(problem, self.loss_parameter, raw)
        dispersion = self._dispersion(measured)
        free = _free_share(problem, len(raw))
        curvature = curvature / free
        is_first = self.precisions is None
        precisions = Precisions(
            problem.factor_penalty[:, None] / dispersion, problem.linear_penalty / dispersion
        )
        if not is_first:  # penalties that are given stay as they are
            if self.finds.factors:
                precisions = precisions._replace(factors=self.precisions.factors)
            if self.finds.linear:
                precisions = precisions._replace(linear=self.precisions.linear)
        of_factors = self._measure_factors(
            parameters.factors, curvature, dispersion, precisions.factors, free
        )
        of_linear = 1 / (self._told_linear(curvature) / dispersion + precisions.linear)
        dense = self.dense.columns
        if dense.size:
            priors = np.broadcast_to(precisions.linear, problem.n_used)[dense]
            for output, information in enumerate(self.dense.information(curvature, self.sample)):
                of_linear[output, dense] = self.dense.variances(information / dispersion, priors)
        has_linear = problem.interactions.has_linear[problem.used]
        used = of_factors.n_determined + (1 - precisions.linear * of_linear)[:, has_linear].sum()
        self.correction = 1 / max(1 - free * used / (problem.total_weight * len(raw)), LEAST_LEFT)
        dispersion = self._dispersion(measured)
        if problem.loss in CLASSES and not is_first:
            self.class_dispersion = dispersion
        start = Precisions(*(value / dispersion for value in self.start))
        if is_first:
            self.precisions = start
        else:
            squares = (np.square(linear) / free + of_linear)[:, has_linear]
            goal = _goal(self.variances.size, of_factors.squares, start.factors)
            leap = LEAP[problem.loss in STANDARDISED]
            self.precisions = Precisions(
                precisions.factors * (goal / precisions.factors) ** leap,
                _goal(squares.size, squares.sum(), start.linear),
            )
        penalty = None
        if self.finds.factors:
            penalty = dispersion * self.precisions.factors + of_factors.of_partners
        of_weights = dispersion * self.precisions.linear if self.finds.linear else None
        problem.set_penalties(linear=of_weights, factors=penalty)

    def _measure_factors(self, factors, curvature, dispersion, precision, free):
        """Update the posterior variances of factors, some components at a time."""
        n_outputs, n_used, _ = factors.shape
        knows_variances = self.variances is not None
        if not knows_variances:
            self.variances = np.zeros((n_outputs, n_used, self.pairs.size), factors.dtype)
        n_determined, squares, of_partners = 0.0, 0.0, np.zeros(n_used)
        rows = self._rows()
        for first in range(0, self.pairs.size, COMPONENTS):
            chosen = self.pairs[first : first + COMPONENTS]
            values = factors[:, :, chosen].astype(np.float64)
            kept = self.variances[:, :, first : first + COMPONENTS]
            told, partners = self._information(rows, values, curvature, kept.astype(np.float64))
            variances = 1 / ((told + partners) / dispersion + precision)
            if not knows_variances:
                _, partners = self._information(rows, values, curvature, variances)
                variances = 1 / ((told + partners) / dispersion + precision)
            kept[...] = variances
            n_determined += (1 - precision * variances).sum()
            squares += np.square(values).sum() / free + variances.sum()
            of_partners += partners.sum(axis=(0, 2))
        n_averaged = max(n_outputs * self.pairs.size, 1)
        return _OfFactors(n_determined, squares, of_partners / n_averaged)

    def _dispersion(self, measured):
        if self.problem.loss in STANDARDISED:
            return measured * self.correction
        if self.problem.loss not in CLASSES:
            return measured
        if self.class_dispersion is not None:
            return self.class_dispersion
        return np.clip(measured * self.correction**2, LEAST_OF_CLASSES, 1.0)

    def _rows(self):
        """The rows that are looked at, some at a time: their numbers, and the first four powers of
        their values, each row cut into one for each group of features."""
        problem, interactions = self.problem, self.problem.interactions
        own_group = interactions.interaction_group[problem.used]
        n_groups = len(interactions.partners)
        return [
            (chosen, _powers(problem.scaled_rows(chosen, own_group, n_groups)))
            for chosen in self._chunks()
        ]

    def _information(self, rows, factors, curvature, variances):
        """What the rows tell of factors, and E: see the docstring above; both (n_outputs, n_used,
        n_pairs)."""
        problem = self.problem
        told, of_partners = np.zeros(factors.shape), np.zeros(factors.shape)
        interactions = problem.interactions
        partners = interactions.partners.astype(np.float64)
        own = partners.diagonal()[interactions.interaction_group[problem.used]]
        n_groups = len(partners)
        n_pairs = factors.shape[2]
        for chosen, (by_group, squared, cubed, fourth) in rows:
            for output, values in enumerate(factors):
                weight = np.repeat(curvature[output, chosen], n_groups)[:, None]
                layers = _by_partners(by_group @ values, partners)
                unsure = _by_partners(squared @ variances[output], partners)
                of_squares = squared.T @ np.hstack([weight * np.square(layers), weight * unsure])
                itself = own[:, None] * (fourth.T @ weight)
                cross = own[:, None] * (cubed.T @ (weight * layers))
                told[output] += of_squares[:, :n_pairs] - 2 * values * cross
                told[output] += np.square(values) * itself
                of_partners[output] += of_squares[:, n_pairs:] - variances[output] * itself
        if self.sample is not None:
            told, of_partners = (
                _of_all_rows(values, self.known[:, None], problem.count[:, None])
                for values in (told, of_partners)
            )
        return told, np.maximum(of_partners, 0)

    def _told_linear(self, curvature):
        """What the rows tell of linear weights (n_outputs, n_used)."""
        told = np.zeros((len(curvature), self.problem.n_used))
        for chosen in self._chunks():
            _, squared, _, _ = _powers(self.problem.scaled_rows(chosen))
            told += (squared.T @ curvature[:, chosen].T).T
        if self.sample is None:
            return told
        return _of_all_rows(told, self.known, self.problem.count)

    def _chunks(self):
        """The rows that are looked at, some at a time."""
        n_rows = self.problem.n_rows if self.sample is None else self.sample.size
        for first in range(0, n_rows, CHUNK):
            chosen = slice(first, min(first + CHUNK, n_rows))
            yield chosen if self.sample is None else self.sample[chosen]

    def _count_in_sample(self):
        problem = self.problem
        rows = problem.scaled_rows(self.sample)
        weight = problem.weight[self.sample] if problem.weight.size else np.ones(rows.shape[0])
        per_entry = np.repeat(weight.astype(np.float64), np.diff(rows.indptr))
        return np.bincount(rows.indices, per_entry, problem.n_used)


def _goal(size, squares, start):
    """The precision to expect of parameters with this sum of squares, for a prior at ``start``."""
    return size * (1 + PRIOR) / (squares + PRIOR * size / start) if size else start


def _sample_rows(problem):
    """Some rows of those with very many entries, always the same ones; None is all."""
    share = MOST_ENTRIES / max(problem.indices.size, 1)
    if share >= 1:
        return None
    order = np.random.default_rng(0).permutation(problem.n_rows)
    return np.sort(order[: max(int(share * problem.n_rows), 1)])


def _of_all_rows(values, known, count):
    """Sums over rows with a feature, from those over the ``known`` weight of them in a sample.

    What is known of a feature counts as one row more, of the mean of all.
    """
    mean = values.sum(axis=1, keepdims=True) / known.sum()
    return (values + mean) * (count / (known + 1))


def _powers(rows):
    """Their first four powers, which are the same for values of 0 and 1."""
    if (rows.data == 1).all():
        return rows, rows, rows, rows
    powers = [rows]
    for power in (2, 3, 4):
        powers.append(rows.copy())
        powers[-1].data **= power
    return tuple(powers)


def _by_partners(sums, partners):
    """From sums by class, those over each class's partners; both (n_rows * n_groups, n)."""
    if len(partners) == 1:
        return sums * partners[0, 0]
    shaped = sums.reshape(-1, len(partners), sums.shape[1])
    return np.einsum("de,nef->ndf", partners, shaped).reshape(sums.shape)


def weighted_curvatures(problem, parameter, raw):
    """Those of `curvatures` times the rows' weights, and the dispersion."""
    curvature, dispersion = curvatures(problem, parameter, raw)
    return curvature * problem.weight if problem.weight.size else curvature, dispersion


def curvatures(problem, parameter, raw):
    """Second derivatives of the loss by the outputs, or what is expected of them, (n_outputs,
    n_rows), and the dispersion of these rows: what a loss of unknown scale is divided by."""
    loss, target = problem.loss, problem.target
    weight = problem.weight if problem.weight.size else None
    raw = raw.astype(np.float64)
    if loss in CLASSES:
        if loss == losses.LOG_LOSS:
            chance = 1 / (1 + np.exp(-np.abs(raw)))
            error = np.where((raw > 0) == (target > 0), 1 - chance, chance)
        else:
            chance = np.exp(raw - raw.max(axis=0))
            chance /= chance.sum(axis=0)
            error = chance - (target == np.arange(len(raw))[:, None])
        variance = chance * (1 - chance)
        claimed = max(np.average(variance, axis=1, weights=weight).sum(), LEAST)
        dispersion = np.average(np.square(error), axis=1, weights=weight).sum() / claimed
        return variance, dispersion
    if loss == losses.SQUARED_HINGE:
        is_class = target == (1 if len(raw) == 1 else np.arange(len(raw))[:, None])
        return 2.0 * (np.where(is_class, raw, -raw) < 1), 1.0
    if loss == losses.POISSON:
        return np.exp(np.minimum(raw, losses.LARGEST_LOG)), 1.0
    residual = raw - target

    def mean(values):
        return max(np.average(values, axis=1, weights=weight)[0], LEAST)

    if loss == losses.SQUARED_ERROR:
        return np.ones_like(raw), mean(np.square(residual))
    if loss == losses.HUBER:
        inside = mean((np.abs(residual) <= parameter).astype(np.float64))
        return np.full_like(raw, inside), mean(
            np.minimum(np.abs(residual), parameter) ** 2
        ) / inside
    if loss == losses.ABSOLUTE_ERROR:
        size = mean(np.abs(residual))
        return np.full_like(raw, 1 / size), size
    size = mean(np.where(residual > 0, (1 - parameter) * residual, -parameter * residual))
    return np.full_like(raw, parameter * (1 - parameter) / size), size


def _free_share(problem, n_outputs):
    """Of the parameters: outputs of softmax may move together, which changes nothing.

    Seen from one output, the others then give way, so that its own derivatives say too little.
    """
    return (n_outputs - 1) / n_outputs if problem.loss == losses.SOFTMAX else 1.0
