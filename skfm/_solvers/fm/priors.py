"""Hierarchical priors of the groups of features, whose precisions are partially pooled.

The precision of a group's coordinate is an expected value, times a number ``common`` to all
groups, times a ``multiplier`` of the group: ``common ~ Gamma(c / 2, c / 2)`` for each coordinate,
and ``multiplier ~ Gamma(nu / 2, nu / 2)``. Both have the mean 1. The degrees of freedom ``nu`` are
sampled as well, for the linear weights and for the factors of each degree. They are at least 4, so
that the variances of new features have a mean. If the precisions of groups are similar, ``nu`` is
large, and the precision of a group with few features is close to that of the others; if not, each
group has its own precision.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from scipy.special import gammaln


@dataclass
class Hyperprior:
    """Parameters of the priors of the noise, and of the groups' means and precisions.

    ``noise precision ~ Gamma(shape / 2, rate / 2)``, and ``mean ~ N(0, 1 / (mean_count *
    precision))`` for each group and coordinate.
    """

    shape: float = 1.0
    rate: float = 1.0
    mean_count: float = 1.0  # the prior of a mean counts as this many parameters of value 0
    common: float = 2.0  # c of the docstring above
    degrees_of_freedom: np.ndarray = field(default_factory=lambda: 2.0 ** np.arange(2, 9))


class GammaMultipliers:
    """Multipliers ~ Gamma(nu / 2, nu / 2), whose likelihood is conjugate.

    The likelihood of a multiplier has the form ``multiplier**shape * exp(-multiplier * rate)``.
    """

    def __init__(self, degrees_of_freedom, shape):
        self.half, self.shape = degrees_of_freedom / 2, shape
        half = self.half[:, None]
        constant = half * np.log(half) - gammaln(half) + gammaln(half + shape)
        self.constant = constant.sum(axis=1)

    def draw(self, rate, rng):
        """Draw the multipliers and ``nu``, jointly.

        ``nu`` is drawn from its marginal distribution, the multipliers being integrated out, and
        then the multipliers given ``nu`` (collapsed Gibbs sampling): the chain mixes faster than
        if each were drawn given the other.
        """
        half = self.half[:, None]
        log_p = self.constant - ((half + self.shape) * np.log(half + rate)).sum(axis=1)
        p = np.cumsum(np.exp(log_p - log_p.max()))
        place = np.searchsorted(p, rng.random() * p[-1])
        half = self.half[min(place, self.half.size - 1)]  # if errors are NaN
        return rng.standard_gamma(half + self.shape) / (half + rate), 2 * half


class GroupPrecisions:
    """Draws the precisions of groups of ``size`` (n_groups, n_coordinates) parameters.

    ``kinds`` are the coordinates that share their degrees of freedom: those of the factors of each
    degree, and that of the linear weights.
    """

    def __init__(self, size, expected, kinds, hyperprior):
        self.expected = expected
        self.hyperprior = hyperprior
        self.is_absent = size == 0
        # Half the number of squares: one for each parameter of a group, and one for its mean.
        self.shape = np.where(self.is_absent, 0, (size + 1) / 2)
        self.kinds = [(kind, self._multipliers(kind)) for kind in kinds]

    def _multipliers(self, kind):
        return GammaMultipliers(
            np.asarray(self.hyperprior.degrees_of_freedom), self.shape[:, kind].ravel()
        )

    def draw(self, squares, common, precision, rng):
        """Draw the common factors and the precisions, given their present values.

        ``squares`` are the sums of squared distances from the groups' means, plus those of the
        means from 0.
        """
        rate = np.where(self.is_absent, 0, squares * self.expected / 2)
        multiplier = np.where(self.is_absent, 1, precision / (self.expected * common))
        half = self.hyperprior.common / 2
        gamma = rng.standard_gamma(half + self.shape.sum(axis=0))
        common = gamma / (half + (multiplier * rate).sum(axis=0))
        for kind, scales in self.kinds:
            drawn, _ = scales.draw((common * rate)[:, kind].ravel(), rng)
            multiplier[:, kind] = drawn.reshape(-1, kind.size)
        return common, np.where(self.is_absent, np.inf, self.expected * common * multiplier)

    def log_prior(self, common, log_scale):
        """The log prior of a change of scale, up to a constant.

        The change multiplies all parameters and means of some coordinates by the scale, and the
        common factors, and thus the precisions, by its inverse square. All other terms of the
        prior and the Jacobian cancel.
        """
        scaled = common * np.exp(-2 * log_scale)
        return self.hyperprior.common / 2 * (-2 * log_scale * common.size - scaled.sum())


def expected_precision(problem, group, n_groups):
    """The precision (n_groups, n_components + 1) that is expected of each group's parameters.

    It makes the variance of the outputs about 1 for the interactions of each degree, and for the
    linear weights. All groups have the same share in this variance, whether one feature of a group
    or hundreds occur in a row.
    """
    entries = np.bincount(group, problem.count, n_groups) / problem.total_weight
    n_entries = np.maximum(entries, 1)
    is_used = entries > 0
    row_length = max(n_entries[is_used].sum(), 1.0)
    interactions = problem.interactions
    degrees = np.append(interactions.degrees, 1)
    n_terms = np.array(
        [
            math.prod(max(row_length - i, 1.0) / (i + 1) for i in range(degree))
            for degree in degrees
        ]
    )
    n_terms[:-1] *= [np.count_nonzero(degrees[:-1] == degree) for degree in degrees[:-1]]
    n_terms[:-1] *= interactions.expected_square / interactions.n_vectors
    return n_entries[:, None] * (max(is_used.sum(), 1) / row_length) * n_terms ** (1 / degrees)
