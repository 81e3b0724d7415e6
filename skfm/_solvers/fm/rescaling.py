"""Steps that change the size of all parameters of a kind, and of their priors, together.

While parameters are small, their priors draw them to small values, and the priors become narrow;
likewise while they are large. Drawn in turn, both need hundreds of iterations from one size to
another. Here, all factors of a degree, or all linear weights, are multiplied by a number; so are
their groups' means, and the precisions by its inverse square. The outputs change in a known way.
"""

import numpy as np
from scipy.special import log_ndtr

from skfm._utils.threads import share

WIDTHS = (1.0, 0.1)  # of proposals, about; far ones get a chain going, near ones are accepted
CHUNK = 1 << 16  # rows


def draw_log_scale(log_density, rng):
    """Metropolis steps (Metropolis et al. 1953) from 0."""
    log_scale, before = 0.0, log_density(0.0)
    for width in WIDTHS:
        width = width * np.exp(rng.standard_normal())
        proposed = log_scale + width * rng.standard_normal()
        after = log_density(proposed)
        if np.log1p(-rng.random()) < after - before:  # not if they are no numbers
            log_scale, before = proposed, after
    return log_scale


def normal_likelihood(error, part, precision):
    """The log likelihood of rows if a part of their outputs were ``1 + change`` times what it is,
    as a function of the change; ``precision`` is that of each row. Less a constant."""
    weighted = precision * part
    slope, curvature = (weighted * error).sum(), (weighted * part).sum()
    return lambda change: -change * (slope + change * curvature / 2)


def probit_likelihood(output, part, signs, weight, n_threads):
    """The same for labels, whatever their hidden numbers are."""
    n_chunks = -(-output.size // CHUNK)

    def log_likelihood(change):
        sums = np.zeros(n_chunks)

        def work(number):
            rows = slice(number * CHUNK, (number + 1) * CHUNK)
            log_p = log_ndtr(signs[rows] * (output[rows] + change * part[rows]))
            sums[number] = (weight[rows] * log_p).sum()

        share(work, n_chunks, n_threads)
        return sums.sum()

    return log_likelihood
