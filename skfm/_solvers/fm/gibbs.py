"""Gibbs sampling: parameters, noise and priors are drawn in turn, each given all others.

The sampler of Rendle 2012 (libFM's MCMC), with blocks of coordinates drawn jointly, hierarchical
priors (priors.py), scale moves (rescaling.py) and heteroscedastic noise (level_noise.py).
"""

from dataclasses import dataclass, field

import numpy as np
from scipy.special import log_ndtr, ndtri_exp

from skfm._kernels.structs import Prior
from skfm._solvers.fm.coordinate_descent import shift
from skfm._solvers.fm.field_weights import FieldWeights
from skfm._solvers.fm.level_noise import find_level_noise
from skfm._solvers.fm.priors import GroupPrecisions, Hyperprior, expected_precision
from skfm._solvers.fm.rescaling import draw_log_scale, normal_likelihood, probit_likelihood
from skfm._solvers.fm.sweeps import Sweeper
from skfm._utils.pickling import Versioned
from skfm._utils.threads import share

N_HELD = 5  # first iterations, in which priors are fixed
REFRESH = 10  # iterations after which sums and outputs are recomputed, to limit rounding errors
PROBIT_CHUNK = 1 << 16  # rows
MAX_COPIES = 16  # latent targets of a row


@dataclass
class Settings:
    """What the estimators' parameters say about sampling."""

    max_iter: int
    fit_intercept: bool = True
    fit_linear: bool = True
    n_threads: int = 1
    noise_by_level: bool = True
    verbose: bool = False
    hyperprior: Hyperprior = field(default_factory=Hyperprior)


@dataclass
class Draw(Versioned):
    """One sample of all unknowns; ``theta`` has the factors first and the linear weight last."""

    intercept: float
    theta: np.ndarray  # (n_used, n_components + 1)
    noise_precision: float
    group_mean: np.ndarray  # (n_groups, n_components + 1)
    group_precision: np.ndarray
    common_precision: np.ndarray  # (n_components + 1,), of all groups; see priors.py
    # See level_noise.py; empty if the noise is homoscedastic.
    level_precision: np.ndarray = field(default_factory=lambda: np.empty(0))  # (n_used,)
    freedom: np.ndarray = field(default_factory=lambda: np.empty(0))  # (n_groups,)
    # Of pairs of fields, if the model is field-weighted.
    field_pairs: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))  # (n_pairs, 1)

    @property
    def factors(self):
        return self.theta[:, :-1]

    @property
    def linear(self):
        return self.theta[:, -1]


class Chain:
    """A Markov chain of draws.

    The random numbers of an iteration are a function of the key and the iteration's number, so
    neither threads nor interruptions between iterations change the chain.

    ``signs`` (n_rows,), if given, are labels -1 and 1 of a probit model. The target of a row is
    then a latent variable with this sign and unit variance around the output (Albert, Chib 1993).
    """

    SCALARS_AND_PRIORS = (
        *("iteration", "intercept", "noise_precision"),
        *("group_mean", "group_precision", "common_precision"),
    )

    def __init__(self, problem, group, draw, iteration, settings, key, signs=None):
        self.problem = problem
        self.settings = settings
        self.key = key
        self.iteration = iteration
        self.group = group.astype(np.uint32)
        # 1 for the parameters of the model: not all features have linear weights.
        self.exists = np.ones(draw.theta.shape)
        self.exists[:, -1] = problem.interactions.has_linear[problem.used]
        self.group_size = self._sum_groups(self.exists, draw.group_mean.shape[0])
        self.expected = expected_precision(problem, group, len(self.group_size))
        degrees = np.append(problem.interactions.degrees, 1)
        # Coordinates of the factors of each degree, and of the linear weights.
        self.kinds = {degree: np.flatnonzero(degrees == degree) for degree in np.unique(degrees)}
        self.precisions = GroupPrecisions(
            self.group_size, self.expected, self.kinds.values(), settings.hyperprior
        )
        self.sweeper = Sweeper(problem, settings.n_threads)
        dtype = problem.data.dtype
        linear, factors = draw.linear.astype(dtype), draw.factors.astype(dtype)
        self.model = self.sweeper.model(linear, factors, draw.field_pairs)
        self.field_weights = FieldWeights(self.sweeper)
        self.intercept = draw.intercept
        self.noise_precision = draw.noise_precision
        # Parameters that no feature has, or that are not fitted, are 0.
        self.is_absent = self.group_size == 0
        self.group_mean = np.where(self.is_absent, 0, draw.group_mean)
        self.group_precision = np.where(self.is_absent, np.inf, draw.group_precision)
        self.common_precision = draw.common_precision
        self.total_weight = problem.total_weight
        self.weight = problem.weight if problem.weight.size else np.ones(problem.n_rows)
        self.level_noise = None
        if signs is None and settings.noise_by_level:
            self.level_noise = find_level_noise(problem, self.group, self.weight, draw)
        has_weights = problem.weight.size > 0 or self.level_noise is not None
        self.rows = self.sweeper.rows(self.model, has_weights)
        self._weigh(1.0 if self.level_noise is None else self.level_noise.of_rows())
        self.signs = signs
        self.copies = np.ones(problem.n_rows, dtype=np.int64)
        few = (problem.weight == np.round(problem.weight)) & (problem.weight <= MAX_COPIES)
        self.copies[: few.size][few] = problem.weight[few]
        self.goal = problem.target.copy()
        self.raw = np.zeros(problem.n_rows, dtype)
        self._refresh()

    def _weigh(self, factor):
        """Set the weights that the kernels use: those of the rows, times a factor of each row."""
        if self.rows.root.size:
            self.rows.root[:] = np.sqrt(self.weight * factor)

    def draw(self):
        return Draw(
            self.intercept,
            self._theta(),
            self.noise_precision,
            self.group_mean,
            self.group_precision,
            self.common_precision,
            *(() if self.level_noise is None else self.level_noise.state()),
            field_pairs=self.model.field_pairs.copy(),
        )

    def snapshot(self):
        """The whole state: sums of the rows, too, since most steps only update them."""
        level_noise = self.level_noise
        return {name: getattr(self, name) for name in self.SCALARS_AND_PRIORS} | {
            "arrays": self._arrays(),
            "level_noise": () if level_noise is None else level_noise.state(),
        }

    def restore(self, snapshot):
        for name in self.SCALARS_AND_PRIORS:
            setattr(self, name, snapshot[name])
        for array, values in zip(self._arrays(), snapshot["arrays"], strict=True):
            array[...] = values
        if self.level_noise is not None:
            self.level_noise.restore(snapshot["level_noise"])

    def _arrays(self):
        """Those that steps write to."""
        model = self.model
        return model.linear, model.factors, model.field_pairs, *self.rows, self.goal, self.raw

    def scalars(self):
        """A few numbers by which to judge convergence; see diagnostics.py."""
        linear, factors = self._linear(), self._factors()
        found = {"intercept": self.intercept}
        if self.signs is None:
            found["noise_precision"] = self.noise_precision
        values_of = {"coef": linear, "components": factors}
        if self.field_weights.n_weights:
            values_of["field_weights"] = self.model.field_pairs
        for name, values in values_of.items():
            squares = np.square(values, dtype=np.float64)
            found[name] = float(np.sqrt(squares.mean())) if values.size else 0.0
        return found

    def _linear(self):
        return self.model.linear

    def _factors(self):
        return self.model.factors[:, : self.model.n_components]

    def _theta(self):
        return np.column_stack([self._factors(), self._linear()])

    def _refresh(self):
        self.sweeper.sum_rows(self.model, self.intercept, self.rows.sums, self.raw)
        np.subtract(self.raw, self.goal, out=self.rows.error)

    def step(self):
        """Run one iteration; returns the mean loss before it."""
        self.iteration += 1
        counter = [0, 0, 0, self.iteration]
        rng = np.random.Generator(np.random.Philox(counter=counter, key=self.key))
        if self.signs is None:
            loss = self._draw_noise_precision(rng)
        else:
            loss = self._draw_latent(rng)
        if self.iteration > N_HELD:
            self._draw_groups(rng)
        settings, n_columns = self.settings, self.problem.n_used
        if settings.fit_intercept:
            self.intercept += shift(self.rows, rng.standard_normal(), self.noise_precision)
        prior = Prior(
            self.group,
            np.ones(n_columns),
            np.ones(n_columns),
            self.group_precision,
            self.group_mean,
        )
        noise = rng.standard_normal((n_columns, self.model.n_components + 1))
        self.sweeper.sweep(
            self.rows, self.model, prior, self.noise_precision, noise, settings.fit_linear
        )
        # Errors relative to large latent targets are too inaccurate for small outputs.
        if self.iteration % REFRESH == 0 or self.signs is not None:
            self._refresh()
        if self.iteration > N_HELD:
            if self.field_weights.n_weights:
                self._draw_field_weights(rng)
            self._rescale(rng)
        return loss / self.total_weight

    def squared_errors(self):
        return np.square(self.rows.error, dtype=np.float64) * self.weight

    def _draw_noise_precision(self, rng):
        prior = self.settings.hyperprior
        squares = self.squared_errors()
        loss = squares.sum()
        if self.level_noise is not None:
            factor = self.level_noise.draw(squares * self.noise_precision, rng)
            self._weigh(factor)
            squares *= factor
        rate = (prior.rate + squares.sum()) / 2
        self.noise_precision = rng.standard_gamma((prior.shape + self.total_weight) / 2) / rate
        return loss

    def _draw_latent(self, rng):
        """Draw the latent targets from truncated normal distributions; returns the loss.

        A row of weight c stands for c rows, and its target is the mean of c latent variables. If c
        is a small integer, all of them are drawn; otherwise one, whose deviation from its
        expectation is rescaled to the variance of that mean.
        """
        output, signs, weight = self.raw, self.signs, self.problem.weight
        bounds = np.append(0, np.cumsum(self.copies))
        uniform = rng.random(bounds[-1])
        n_chunks = -(-output.size // PROBIT_CHUNK)
        losses = np.zeros(n_chunks)

        def work(number):
            part = slice(number * PROBIT_CHUNK, (number + 1) * PROBIT_CHUNK)
            chunk_bounds = bounds[part.start : part.stop + 1]
            first, last = chunk_bounds[0], chunk_bounds[-1]
            f = output[part].astype(np.float64) * signs[part]
            log_p = log_ndtr(f)
            log_u = np.log1p(-uniform[first:last])
            if not weight.size:
                z = f - ndtri_exp(log_p + log_u)
                losses[number] = -log_p.sum()
            else:
                copies = self.copies[part]
                z = -ndtri_exp(np.repeat(log_p, copies) + log_u)
                z = f + np.add.reduceat(z, chunk_bounds[: f.size] - first) / copies
                mean = f + np.exp(-f * f / 2 - log_p) / np.sqrt(2 * np.pi)
                z = mean + (z - mean) * np.sqrt(copies / weight[part])
                losses[number] = -(log_p * weight[part]).sum()
            self.goal[part] = z * signs[part]

        share(work, n_chunks, self.settings.n_threads)
        np.subtract(output, self.goal, out=self.rows.error)
        return losses.sum()

    def _draw_groups(self, rng):
        mean_count = self.settings.hyperprior.mean_count
        theta = self._theta().astype(np.float64)
        size = self.group_size
        distance = np.square(theta - self.group_mean[self.group]) * self.exists
        squares = self._sum_groups(distance) + mean_count * self.group_mean**2
        self.common_precision, self.group_precision = self.precisions.draw(
            squares, self.common_precision, self.group_precision, rng
        )
        mean = self._sum_groups(theta) / (size + mean_count)
        spread = 1 / np.sqrt((size + mean_count) * self.group_precision)
        self.group_mean = mean + spread * rng.standard_normal(mean.shape)
        self.group_mean[self.is_absent] = 0

    def _rescale(self, rng):
        """Take a scale move for each kind of parameters; see rescaling.py."""
        output = self.goal + self.rows.error.astype(np.float64)
        scales = np.ones(self.exists.shape[1])
        for degree, part in self._parts(output).items():
            if not part.any():
                continue
            log_likelihood = self._likelihood(output, part)
            common = self.common_precision[self.kinds[degree]]
            log_scale = draw_log_scale(
                lambda x, degree=degree, common=common, log_likelihood=log_likelihood: (
                    log_likelihood(np.expm1(degree * x)) + self.precisions.log_prior(common, x)
                ),
                rng,
            )
            output += np.expm1(degree * log_scale) * part
            scales[self.kinds[degree]] = np.exp(log_scale)
        if (scales != 1).any() or self.field_weights.n_weights:
            self._multiply(scales)
            self._refresh()

    def _multiply(self, scales):
        """Multiply each coordinate of the parameters, and change their priors accordingly."""
        linear, factors = self._linear(), self._factors()
        linear *= scales[-1]
        factors *= scales[:-1]
        self.group_mean = self.group_mean * scales
        self.group_precision = self.group_precision / scales**2
        self.common_precision = self.common_precision / scales**2

    def _draw_field_weights(self, rng):
        """Draw the weights of pairs of fields; updates the errors of the rows, not their sums."""
        noise = rng.standard_normal((1, self.field_weights.n_weights))
        self.field_weights.update(self.model, self.rows, self.noise_precision, noise)
        self._exchange_scale(rng)

    def _exchange_scale(self, rng):
        """Multiply the weights of pairs by a number, and the factors by its inverse square root.

        This only changes the interactions within fields. It is a step like those of `_rescale`
        along the direction in which the data say next to nothing.
        """
        factors, has_within = self.kinds[2], self.field_weights.has_within
        common = self.common_precision[factors]
        if has_within:
            output = self.goal + self.rows.error.astype(np.float64)
            within = self._contribution(2, field_pairs=np.zeros_like(self.model.field_pairs))
            log_likelihood = self._likelihood(output, within)

        def log_density(x):
            log_p = self.field_weights.log_prior(self.model, x)
            log_p += self.precisions.log_prior(common, -x / 2)
            return log_p + log_likelihood(np.expm1(-x)) if has_within else log_p

        log_scale = draw_log_scale(log_density, rng)
        self.field_weights.multiply(self.model, np.exp(log_scale))
        scales = np.ones(self.exists.shape[1])
        scales[factors] = np.exp(-log_scale / 2)
        self._multiply(scales)
        if has_within:
            self.rows.error[:] += np.expm1(-log_scale) * within

    def _parts(self, output):
        """The contributions of the parameters of each degree to the outputs."""
        *degrees, last = self.kinds
        parts, rest = {}, output - self.intercept
        for degree in degrees:
            parts[degree] = self._contribution(degree)
            rest = rest - parts[degree]
        return {**parts, last: rest}

    def _contribution(self, degree, **parameters):
        """The outputs of the parameters of a degree alone, with others in place of some."""
        linear, factors = self.model.linear, self.model.factors
        part_model = self.model._replace(
            linear=np.zeros_like(linear), factors=np.zeros_like(factors), **parameters
        )
        if degree == 1:
            part_model.linear[:] = linear
        else:
            part_model.factors[:, self.kinds[degree]] = factors[:, self.kinds[degree]]
        raw = np.empty_like(self.raw)
        self.sweeper.sum_rows(part_model, 0.0, np.empty_like(self.rows.sums), raw)
        return raw.astype(np.float64)

    def _likelihood(self, output, part):
        """The log likelihood if a part of the outputs changes."""
        if self.signs is not None:
            terms = self.signs, self.weight, self.settings.n_threads
            return probit_likelihood(output, part, *terms)
        precision = self.noise_precision * self.weight
        if self.level_noise is not None:
            precision *= self.level_noise.of_rows()
        return normal_likelihood(output - self.goal, part, precision)

    def _sum_groups(self, values, n_groups=None):
        n_groups = n_groups or len(self.group_mean)
        return np.stack(
            [np.bincount(self.group, weights=column, minlength=n_groups) for column in values.T],
            axis=1,
        )


def first_draw(problem, group, n_groups, init_scale, intercept, rng):
    """The start of a chain: random factors, and priors with the expected precisions.

    The priors are fixed in the first iterations. Otherwise they would adapt to the small random
    factors, and become so narrow that the chain needs hundreds of iterations to leave that state.
    """
    factors = problem.random_factors(1, problem.n_used, init_scale, rng)[0]
    theta = np.column_stack([factors, np.zeros(problem.n_used, factors.dtype)])
    precision = expected_precision(problem, group, n_groups)
    common = np.ones(precision.shape[1])
    return Draw(
        intercept,
        theta,
        1.0,
        np.zeros_like(precision),
        precision,
        common,
        field_pairs=problem.interactions.first_field_pairs(1)[0],
    )
