"""Scale moves: Metropolis steps that rescale all parameters of a kind together with their priors.

Parameters and the precisions of their priors are strongly correlated: small parameters make the
priors narrow, and narrow priors keep the parameters small. A Gibbs sampler that draws one given
the other needs hundreds of iterations to move from one scale to another. A scale move multiplies
all factors of a degree, or all linear weights, and their groups' means by a number, and the
precisions by its inverse square. This is a generalized Gibbs step (Liu, Sabatti 2000) with the
same purpose as parameter expansion (Liu, Wu 1999). The change of the outputs is known in closed
form.

In field-weighted models, another move multiplies the weights of pairs of fields by a number and
the factors by its inverse square root: outputs hardly change.
"""

import numpy as np
from scipy.special import log_ndtr

from skfm._utils.threads import share

WIDTHS = (1.0, 0.1)  # of proposals, about: wide ones shorten the burn-in, narrow ones are accepted
CHUNK = 1 << 16  # rows


def draw_log_scale(log_density, rng):
    """Take Metropolis steps (Metropolis et al. 1953) from 0; returns where they end."""
    log_scale, before = 0.0, log_density(0.0)
    for width in WIDTHS:
        width = width * np.exp(rng.standard_normal())
        proposed = log_scale + width * rng.standard_normal()
        after = log_density(proposed)
        if np.log1p(-rng.random()) < after - before:  # false for NaN
            log_scale, before = proposed, after
    return log_scale


def normal_likelihood(error, part, precision):
    """The log likelihood if a part of the outputs is multiplied by ``1 + change``.

    Returns it as a function of the change, up to a constant; ``precision`` is that of each row.
    """
    weighted = precision * part
    slope, curvature = (weighted * error).sum(), (weighted * part).sum()
    return lambda change: -change * (slope + change * curvature / 2)


def probit_likelihood(output, part, signs, weight, n_threads):
    """The same for labels, with the latent targets integrated out."""
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
