"""Priors of the groups of features: precisions that learn from each other.

The precision of a group's coordinate is what is expected of it, times a number that is common to
all groups, times one of the group's own. ``common ~ Gamma(c / 2, c / 2)`` for each coordinate, and
``own ~ Gamma(nu / 2, nu / 2)``; both have the mean 1. The degrees of freedom ``nu`` are drawn as
well, for the linear weights and for the factors of each degree; from 4, so that variances of new
features have a mean. If groups turn out to be alike,
``nu`` is large, and groups of few features, or that say little, have the precision of all others;
if not, each has its own.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from scipy.special import gammaln


@dataclass
class Hyperprior:
    """``noise precision ~ Gamma(shape / 2, rate / 2)``; ``c`` and the values that ``nu`` may have,
    which are equally likely; and ``mean ~ N(0, 1 / (pull * precision))`` for each group and
    coordinate.
    """

    shape: float = 1.0
    rate: float = 1.0
    pull: float = 1.0
    common: float = 2.0
    freedoms: np.ndarray = field(default_factory=lambda: 2.0 ** np.arange(2, 9))


class Scales:
    """Numbers ~ Gamma(nu / 2, nu / 2), of which the data knows by a Gamma likelihood of shape
    ``shape``: it has the form ``number**shape * exp(-number * rate)``.
    """

    def __init__(self, freedoms, shape):
        self.half, self.shape = freedoms / 2, shape
        half = self.half[:, None]
        constant = half * np.log(half) - gammaln(half) + gammaln(half + shape)
        self.constant = constant.sum(axis=1)

    def draw(self, rate, rng):
        """Numbers, and ``nu``.

        ``nu`` is drawn first, whatever the numbers are, and then these: so both move freely.
        """
        half = self.half[:, None]
        log_p = self.constant - ((half + self.shape) * np.log(half + rate)).sum(axis=1)
        p = np.cumsum(np.exp(log_p - log_p.max()))
        place = np.searchsorted(p, rng.random() * p[-1])
        half = self.half[min(place, self.half.size - 1)]  # where errors are no numbers
        return rng.standard_gamma(half + self.shape) / (half + rate), 2 * half


class GroupPrecisions:
    """Draws the precisions of groups, ``size`` (n_groups, n_coordinates) being how many parameters
    each has; ``kinds`` are the coordinates of the factors of each degree, and of the weights."""

    def __init__(self, size, expected, kinds, hyperprior):
        self.expected = expected
        self.hyperprior = hyperprior
        self.is_absent = size == 0
        # Of a group, and the one of its mean.
        self.shape = np.where(self.is_absent, 0, (size + 1) / 2)
        self.kinds = [(kind, self._scales(kind)) for kind in kinds]

    def _scales(self, kind):
        return Scales(np.asarray(self.hyperprior.freedoms), self.shape[:, kind].ravel())

    def draw(self, squares, common, precision, rng):
        """The common numbers and the precisions, where both were these. ``squares`` are sums of
        squared distances from the groups' means, and those of the means."""
        rate = np.where(self.is_absent, 0, squares * self.expected / 2)
        own = np.where(self.is_absent, 1, precision / (self.expected * common))
        half = self.hyperprior.common / 2
        gamma = rng.standard_gamma(half + self.shape.sum(axis=0))
        common = gamma / (half + (own * rate).sum(axis=0))
        for kind, scales in self.kinds:
            drawn, _ = scales.draw((common * rate)[:, kind].ravel(), rng)
            own[:, kind] = drawn.reshape(-1, kind.size)
        return common, np.where(self.is_absent, np.inf, self.expected * common * own)

    def log_prior(self, common, log_scale):
        """The log density of a scale, if with it all parameters and means of some coordinates are
        multiplied, and by its inverse square these common numbers, and so the precisions.

        The rest of the prior does not change then, nor does the volume. Less a constant.
        """
        scaled = common * np.exp(-2 * log_scale)
        return self.hyperprior.common / 2 * (-2 * log_scale * common.size - scaled.sum())


def expected_precision(problem, group, n_groups):
    """The precision (n_groups, n_components + 1) that is expected of each group's parameters.

    With it, outputs have a variance of about 1 from the products of each degree, and from the
    linear weights. All groups have the same share in it, be it by one feature of a row or by
    hundreds.
    """
    entries = np.bincount(group, problem.count, n_groups) / problem.total_weight
    crowd = np.maximum(entries, 1)
    is_used = entries > 0
    length = max(crowd[is_used].sum(), 1.0)
    degrees = np.append(problem.interactions.degrees, 1)
    n_terms = np.array(
        [math.prod(max(length - i, 1.0) / (i + 1) for i in range(degree)) for degree in degrees]
    )
    n_terms[:-1] *= [np.count_nonzero(degrees[:-1] == degree) for degree in degrees[:-1]]
    return crowd[:, None] * (max(is_used.sum(), 1) / length) * n_terms ** (1 / degrees)
