"""How much of their estimates many features are worth, from what all of them look like."""

import numpy as np

N_EM = 20
FINE = 10.0  # the smallest variance is so much smaller than the smallest noise
N_USELESS = 10.0  # features that are said to be useless besides those that there are


def share_kept(square, noise, tells, n_outputs):
    """What share of each feature's estimates to expect of its true slopes.

    Adaptive shrinkage (Stephens 2017): a feature's estimates, in each of ``n_outputs``, are normal
    around slopes that are normal themselves, around 0. Their variances are drawn from a
    distribution over a grid, which is fitted to all features at once: so where most are
    worthless, a single one has to be striking, and where most are good, what two or three rows say
    is taken for what it is. As in the paper, a few worthless ones are added for caution.

    Parameters
    ----------
    square : ndarray of shape (n_features,)
        Mean square of a feature's estimates over the outputs.
    noise : ndarray of shape (n_features,)
        Their variance around the true ones, in each output.
    tells : ndarray of bool of shape (n_features,)
        Whether a feature has a say in the distribution, and in its own variance.
    n_outputs : int

    Returns
    -------
    kept : ndarray of shape (n_features,)
        Between 0 and 1.

    References
    ----------
    M. Stephens, "False discovery rates: a new deal", Biostatistics 18(2), 2017.
    """
    if not noise.any():
        return np.ones(noise.size)
    if not tells.any():
        return np.zeros(noise.size)
    largest, lowest = square[tells].max(), noise[tells].min() / FINE
    n_doublings = int(np.clip(np.ceil(np.log2(max(largest / lowest, 1))), 0, 60))
    grid = np.append(0, lowest * 2.0 ** np.arange(n_doublings + 1))
    variance = grid + noise[:, None]
    fit = -n_outputs / 2 * (np.log(variance) + square[:, None] / variance)
    likelihood = np.exp(fit - fit.max(axis=1, keepdims=True))
    likelihood[~tells] = 1
    weight = np.full(grid.size, 1 / grid.size)
    telling = likelihood[tells]
    for _ in range(N_EM):
        total = np.einsum("jk,k->j", telling, weight)
        weight *= np.einsum("jk,j->k", telling, 1 / total)
        weight[0] += N_USELESS
        weight /= weight.sum()
    chance = likelihood * weight
    return (chance * grid / variance).sum(axis=1) / chance.sum(axis=1)
