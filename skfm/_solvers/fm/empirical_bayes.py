"""Penalties chosen by empirical Bayes during training.

L2 penalties are normal priors on the scaled parameters. Training finds the posterior mode for
given precisions of the priors. Every few epochs, expectation maximization updates the precisions
toward the maximum of the marginal likelihood: the variance of a prior becomes the mean of
``mode^2 + posterior variance`` over its parameters.

*Posterior variances* come from a diagonal Laplace approximation. Let ``c_i`` be the weight of row
i times the second derivative of its loss by the output, ``h_ijf`` the derivative of the output by
``v_jf``, and ``d`` the dispersion of the loss (1 if its scale is known). Then the variances are ::

    s_jf = 1 / ((sum_i c_i h_ijf^2 + E_jf) / d + precision)
    E_jf = sum_i c_i x_ij^2 (sum of x_il^2 s_lf over the partners l of j)

The first sum is the Fisher information of ``v_jf``. ``E_jf`` is the second derivative of what the
variances of a feature's partners add to the expected loss, as in variational Bayes. It acts as an
L2 penalty on ``v_jf``, which shrinks the factors of features with uncertain partners. So the
penalty of ``v_j`` is ``d * precision + mean_f E_jf``, and that of ``w_j`` is ``d * precision``.
The linear weights of dense columns have a joint information matrix (dense_columns.py), since the
diagonal approximation understates the variances of nearly collinear columns.

*Dispersion.* Training residuals understate the noise. Let ``p`` be the number of parameters that
the data determine (MacKay 1992), ``sum of (1 - s_jf precision)``, for each row. The dispersion of
a loss of unknown scale is the mean square of the residuals divided by ``1 - p``. The scale of
classification losses is known. But if the classes are separable, only the penalties keep
probabilities away from 0 and 1, and penalties for a dispersion of 1 would be too large. So there
the dispersion is the mean square of leave-one-out residuals, which are about ``1 / (1 - p)`` times
the training residuals, relative to the variance of labels under the predicted probabilities, if
this ratio is less than 1. It is fixed after the second update, because it depends on the
penalties: both would decrease together.

*Hyperprior.* A Gamma prior on each precision has the weight of PRIOR times the number of
parameters. It is centered where linear terms and pairs together have about the variance of the
target. Without it, the precisions drift to too much shrinkage if interactions matter.
"""

from typing import NamedTuple

import numpy as np

from skfm._kernels import losses
from skfm._solvers.fm.dense_columns import DenseColumns
from skfm._solvers.fm.penalties import Penalties
from skfm._utils.plain_state import register_tuple

N_UPDATES = 8
PRIOR = 0.03  # weight of the hyperprior, relative to the number of parameters
LEAST_STEPS = 60  # mini-batches before the first update: parameters start near zero
CHUNK = 1 << 14  # rows processed together
LEAST_CHUNK = 256
MOST_ENTRIES = 500_000  # of the rows; if there are more, a sample is used
# Overrelaxation of expectation maximization for the logarithm of the factors' precision.
RELAXATION = {True: 1.0, False: 1.8}  # whether targets are standardized
# Initial precisions of factors and of linear weights, divided by the mean row length.
FACTORS = {True: 2.2, False: 0.5}
LINEAR = {True: 0.7, False: 0.1}
LEAST_LINEAR = 0.5
MAX_START_FACTOR = 10.0
# The first update comes after WARM epochs, or after ENOUGH_STEPS mini-batches if these are fewer
# epochs, but not before LEAST_WARM epochs.
WARM = {True: 20, False: 10}
ENOUGH_STEPS = {True: 1600, False: 600}
LEAST_WARM = 2
EVERY = 2  # epochs between updates
COMPONENTS = 4  # processed together, so that memory does not grow with their number
# The factors' penalty until the first update, divided by sqrt(n_j).
STARTING = {True: 1.0, False: 0.4}
LEAST_LEFT = 0.05  # lower bound of 1 - p above
LEAST_OF_CLASSES = 0.1  # lower bound of the dispersion of classes
HUGE = 1e100  # total weights for which penalties do not matter, and squares overflow
LEAST = 1e-8  # lower bound of means of residuals; the variance of targets is about 1
STANDARDIZED = (losses.SQUARED_ERROR, losses.ABSOLUTE_ERROR, losses.HUBER, losses.QUANTILE)
CLASSES = (losses.LOG_LOSS, losses.SOFTMAX)


def starting_penalties(loss, mean_row_length, n_features, n_rows):
    """Penalties until the first update; those of factors are to be multiplied by sqrt(n_j)."""
    is_standardized, factor = loss in STANDARDIZED, _start_factor(loss, n_features, n_rows)
    linear = max(LINEAR[is_standardized] * mean_row_length, LEAST_LINEAR)
    return Penalties(linear=factor * linear, factors=factor * STARTING[is_standardized])


def _start_factor(loss, n_features, n_rows):
    """The factor of the initial penalties for classes with fewer rows than features: such rows
    hardly determine the parameters, and their classes are separable by chance."""
    if loss not in CLASSES:
        return 1.0
    ratio = min(n_features / n_rows, MAX_START_FACTOR)  # rows of hardly any weight: no overflow
    return np.clip(ratio**2, 1.0, MAX_START_FACTOR)


@register_tuple
class Precisions(NamedTuple):
    """Precisions of the priors: one for all parameters of a kind, or one for each."""

    factors: float | np.ndarray
    linear: float | np.ndarray


@register_tuple
class Searched(NamedTuple):
    """The state of a search at the end of a fit, from which the next fit continues."""

    n_epochs: int = 0
    precisions: Precisions | None = None
    class_dispersion: float | None = None


class _FactorStatistics(NamedTuple):
    """Sums over all factors that an update needs."""

    n_determined: float  # effective number of factors that the rows determine
    squares: float  # sum of the posterior expectations of squares
    of_partners: np.ndarray  # (n_used,), E of the docstring above, mean over components


class PenaltySearch:
    """Decides when to update the penalties of a problem, and updates them.

    ``finds`` (`PenaltiesToFind`) says which penalties to find. Updates change the problem's arrays
    in place. A search continues from ``earlier``, if given: what an earlier fit has returned.
    """

    def __init__(self, problem, settings, finds, n_batches, earlier=None, by_sweeps=False):
        self.problem = problem
        self.loss_parameter = settings.loss_parameter
        self.pairs = np.flatnonzero(problem.interactions.degrees == 2)
        self.finds = finds._replace(factors=finds.factors and self.pairs.size > 0)
        is_standardized = problem.loss in STANDARDIZED
        length = max(problem.mean_row_length, 1.0)
        shape = problem.n_used, problem.seen_weight
        of_factors = _start_factor(problem.loss, *shape) * FACTORS[is_standardized] * length
        of_weights = starting_penalties(problem.loss, length, *shape).linear
        self.start = Precisions(of_factors, of_weights)
        earlier = earlier or Searched()
        self.n_epochs_before = earlier.n_epochs
        self.precisions = earlier.precisions
        self.class_dispersion = earlier.class_dispersion
        self.variances = None
        self.correction = 1.0  # 1 / (1 - p) of the docstring above
        if by_sweeps:  # a sweep makes as much progress as several epochs
            warm, every = 4, 1
        else:
            enough = max(-(-ENOUGH_STEPS[is_standardized] // n_batches), LEAST_WARM)
            warm = min(WARM[is_standardized], enough)
            warm = max(warm, -(-LEAST_STEPS // n_batches))
            every = max(EVERY, -(-LEAST_STEPS // (6 * n_batches)))
        due = [warm + every * number + 1 - earlier.n_epochs for number in range(N_UPDATES)]
        self.due = due if any(self.finds) and problem.seen_weight < HUGE else []
        self.dense = DenseColumns(problem, settings) if self.due else None
        self.sample = _sample_rows(problem) if self.due else None
        self.sample_count = None if self.sample is None else self._count_in_sample()

    def has_updates_after(self, epoch):
        """Whether an update will follow after this epoch."""
        return epoch < max(self.due, default=0)

    def searched(self, n_epochs):
        """The state after ``n_epochs`` epochs of this fit."""
        return Searched(self.n_epochs_before + n_epochs, self.precisions, self.class_dispersion)

    def snapshot(self):
        """What updates change, including the problem's penalties."""
        return {
            "precisions": None if self.precisions is None else tuple(self.precisions),
            "class_dispersion": self.class_dispersion,
            "variances": self.variances,
            "correction": self.correction,
            "penalties": self._found(),
        }

    def restore(self, snapshot):
        precisions, variances = snapshot["precisions"], snapshot["variances"]
        self.precisions = None if precisions is None else Precisions(*precisions)
        self.class_dispersion = snapshot["class_dispersion"]
        self.variances = None if variances is None else variances.copy()  # updates write to it
        self.correction = snapshot["correction"]
        self.problem.set_penalties(**snapshot["penalties"])

    def _found(self):
        """The problem's penalties that are to be found, as `Problem.set_penalties` takes them."""
        problem, finds = self.problem, self.finds
        return {
            "linear": problem.linear_penalty if finds.linear else None,
            "factors": problem.factor_penalty if finds.factors else None,
        }

    def update_before(self, epoch, trainer):
        """Update the penalties if they are due before this epoch; returns whether they were."""
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
        if not is_first:  # given penalties do not change
            if self.finds.factors:
                precisions = precisions._replace(factors=self.precisions.factors)
            if self.finds.linear:
                precisions = precisions._replace(linear=self.precisions.linear)
        of_factors = self._measure_factors(
            parameters, curvature, dispersion, precisions.factors, free
        )
        of_linear = 1 / (self._linear_information(curvature) / dispersion + precisions.linear)
        dense = self.dense.columns
        if dense.size:
            priors = np.broadcast_to(precisions.linear, problem.n_used)[dense]
            for output, information in enumerate(self.dense.information(curvature, self.sample)):
                of_linear[output, dense] = self.dense.variances(information / dispersion, priors)
        has_linear = problem.interactions.has_linear[problem.used]
        used = of_factors.n_determined + (1 - precisions.linear * of_linear)[:, has_linear].sum()
        self.correction = 1 / max(1 - free * used / (problem.seen_weight * len(raw)), LEAST_LEFT)
        dispersion = self._dispersion(measured)
        if problem.loss in CLASSES and not is_first:
            self.class_dispersion = dispersion
        start = Precisions(*(value / dispersion for value in self.start))
        if is_first:
            self.precisions = start
        else:
            squares = (np.square(linear) / free + of_linear)[:, has_linear]
            goal = _updated_precision(self.variances.size, of_factors.squares, start.factors)
            relaxation = RELAXATION[problem.loss in STANDARDIZED]
            self.precisions = Precisions(
                precisions.factors * (goal / precisions.factors) ** relaxation,
                _updated_precision(squares.size, squares.sum(), start.linear),
            )
        penalty = None
        if self.finds.factors:
            penalty = dispersion * self.precisions.factors + of_factors.of_partners
        of_weights = dispersion * self.precisions.linear if self.finds.linear else None
        problem.set_penalties(linear=of_weights, factors=penalty)

    def _measure_factors(self, parameters, curvature, dispersion, precision, free):
        """Update the posterior variances of factors, COMPONENTS at a time."""
        factors, field_pairs = parameters.factors, parameters.field_pairs.astype(np.float64)
        n_outputs, n_used, _ = factors.shape
        knows_variances = self.variances is not None
        if not knows_variances:
            self.variances = np.zeros((n_outputs, n_used, self.pairs.size), factors.dtype)
        n_determined, squares, of_partners = 0.0, 0.0, np.zeros(n_used)
        rows = self._rows()
        for chosen in self._components_together():
            values = factors[:, :, chosen].astype(np.float64)
            kept = self.variances[:, :, chosen - self.pairs[0]].astype(np.float64)
            terms = rows, values, field_pairs, chosen, curvature
            information, partners = self._factor_information(*terms, kept)
            variances = 1 / ((information + partners) / dispersion + precision)
            if not knows_variances:
                _, partners = self._factor_information(*terms, variances)
                variances = 1 / ((information + partners) / dispersion + precision)
            self.variances[:, :, chosen - self.pairs[0]] = variances
            n_determined += (1 - precision * variances).sum()
            squares += np.square(values).sum() / free + variances.sum()
            of_partners += partners.sum(axis=(0, 2))
        n_averaged = max(n_outputs * self.pairs.size, 1)
        return _FactorStatistics(n_determined, squares, of_partners / n_averaged)

    def _components_together(self):
        """The components of pairs, COMPONENTS at a time, unless layers mix all of them."""
        interactions = self.problem.interactions
        components = interactions.components_of_pairs()
        together = {"matrixed": len(components), "aware": 1}.get(interactions.kind, COMPONENTS)
        for first in range(0, len(components), max(together, 1)):
            yield components[first : first + together].T.ravel()

    def _dispersion(self, measured):
        if self.problem.loss in STANDARDIZED:
            return measured * self.correction
        if self.problem.loss not in CLASSES:
            return measured
        if self.class_dispersion is not None:
            return self.class_dispersion
        return np.clip(measured * self.correction**2, LEAST_OF_CLASSES, 1.0)

    def _rows(self):
        """Chunks of the rows: their numbers, and the first four powers of their values.

        Each row is split into one row for each interaction group.
        """
        problem, interactions = self.problem, self.problem.interactions
        interaction_group = interactions.interaction_group[problem.used]
        n_groups = len(interactions.partners)
        return [
            (chosen, _powers(problem.scaled_rows(chosen, interaction_group, n_groups)))
            for chosen in self._chunks()
        ]

    def _factor_information(self, rows, factors, field_pairs, chosen, curvature, variances):
        """Fisher information of the chosen factors, and E of the docstring above; both of shape
        (n_outputs, n_used, n_chosen)."""
        problem = self.problem
        information, of_partners = np.zeros(factors.shape), np.zeros(factors.shape)
        interactions = problem.interactions
        self_interacts = interactions.self_interactions(problem.used)
        if self_interacts.shape[1] > 1:
            self_interacts = self_interacts[:, chosen]
        n_groups = len(interactions.partners)
        n_chosen = factors.shape[2]
        pairs = np.broadcast_to(field_pairs, (len(factors), *field_pairs.shape[1:]))

        def layers_of(sums, of_output):
            if n_groups == 1:
                return sums * interactions.partners[0, 0]
            shaped = sums.reshape(-1, n_groups, n_chosen)
            return interactions.layers(shaped, of_output).reshape(sums.shape)

        for part, (by_group, squared, cubed, fourth) in rows:
            for output, values in enumerate(factors):
                weight = np.repeat(curvature[output, part], n_groups)[:, None]
                layers = layers_of(by_group @ values, pairs[output])
                layer_variances = layers_of(squared @ variances[output], np.square(pairs[output]))
                of_squares = squared.T @ np.hstack(
                    [weight * np.square(layers), weight * layer_variances]
                )
                self_terms = self_interacts * (fourth.T @ weight)
                cross = self_interacts * (cubed.T @ (weight * layers))
                information[output] += of_squares[:, :n_chosen] - 2 * values * cross
                information[output] += np.square(values) * self_terms
                of_partners[output] += of_squares[:, n_chosen:] - variances[output] * self_terms
        if self.sample is not None:
            information, of_partners = (
                _extrapolate(values, self.sample_count[:, None], problem.count[:, None])
                for values in (information, of_partners)
            )
        return information, np.maximum(of_partners, 0)

    def _linear_information(self, curvature):
        """Fisher information of linear weights (n_outputs, n_used)."""
        information = np.zeros((len(curvature), self.problem.n_used))
        for chosen in self._chunks():
            _, squared, _, _ = _powers(self.problem.scaled_rows(chosen))
            information += (squared.T @ curvature[:, chosen].T).T
        if self.sample is None:
            return information
        return _extrapolate(information, self.sample_count, self.problem.count)

    def _chunks(self):
        """Chunks of the rows, or of the sample, as slices or arrays of numbers."""
        n_rows = self.problem.n_rows if self.sample is None else self.sample.size
        interactions = self.problem.interactions
        length = CHUNK  # shorter where each row has a layer for each field
        if interactions.kind != "plain":
            length = max(CHUNK // interactions.n_layers, LEAST_CHUNK)
        for first in range(0, n_rows, length):
            chosen = slice(first, min(first + length, n_rows))
            yield chosen if self.sample is None else self.sample[chosen]

    def _count_in_sample(self):
        problem = self.problem
        rows = problem.scaled_rows(self.sample)
        weight = problem.weight[self.sample] if problem.weight.size else np.ones(rows.shape[0])
        per_entry = np.repeat(weight.astype(np.float64), np.diff(rows.indptr))
        return np.bincount(rows.indices, per_entry, problem.n_used)


def _updated_precision(size, squares, start):
    """The EM update of the precision of ``size`` parameters, with a hyperprior at ``start``."""
    return size * (1 + PRIOR) / (squares + PRIOR * size / start) if size else start


def _sample_rows(problem):
    """A fixed sample of rows if there are more than MOST_ENTRIES entries, else None.

    If the rows of the problem are a sample themselves, these are never None.
    """
    share = MOST_ENTRIES / max(problem.indices.size, 1)
    if share >= 1:
        return None if problem.represented == 1 else np.arange(problem.n_rows)
    order = np.random.default_rng(0).permutation(problem.n_rows)
    return np.sort(order[: max(int(share * problem.n_rows), 1)])


def _extrapolate(values, sample_count, count):
    """Extrapolate sums over a feature's rows from a sample to all rows.

    ``sample_count`` and ``count`` are the features' weights in the sample and in all rows. One
    pseudo-row with the mean of all features is added to each feature.
    """
    mean = values.sum(axis=1, keepdims=True) / sample_count.sum()
    return (values + mean) * (count / (sample_count + 1))


def _powers(rows):
    """The first four powers of values; all are the same matrix if every value is 1."""
    if (rows.data == 1).all():
        return rows, rows, rows, rows
    powers = [rows]
    for power in (2, 3, 4):
        powers.append(rows.copy())
        powers[-1].data **= power
    return tuple(powers)


def weighted_curvatures(problem, parameter, raw):
    """`curvatures` times the rows' weights, and the dispersion."""
    curvature, dispersion = curvatures(problem, parameter, raw)
    return curvature * problem.weight if problem.weight.size else curvature, dispersion


def curvatures(problem, parameter, raw):
    """Second derivatives of the loss by the outputs (n_outputs, n_rows), and the dispersion.

    Where the second derivative is 0 or does not exist, it is replaced by its expectation. The
    dispersion is the number by which to divide a loss of unknown scale.
    """
    loss, target = problem.loss, problem.target
    weight = problem.weight if problem.weight.size else None
    raw = raw.astype(np.float64)
    if loss in CLASSES:
        if loss == losses.LOG_LOSS:
            probability = 1 / (1 + np.exp(-np.abs(raw)))
            error = np.where((raw > 0) == (target > 0), 1 - probability, probability)
        else:
            probability = np.exp(raw - raw.max(axis=0))
            probability /= probability.sum(axis=0)
            error = probability - (target == np.arange(len(raw))[:, None])
        variance = probability * (1 - probability)
        mean_variance = max(np.average(variance, axis=1, weights=weight).sum(), LEAST)
        dispersion = np.average(np.square(error), axis=1, weights=weight).sum() / mean_variance
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
    """The share of parameters that matter to the loss.

    Adding the same number to all outputs of softmax changes nothing, so one in n_outputs
    parameters is redundant, and the second derivatives by single outputs are too small.
    """
    return (n_outputs - 1) / n_outputs if problem.loss == losses.SOFTMAX else 1.0
