"""Adaptive shrinkage of many estimates: empirical Bayes with a prior fitted to all of them."""

import numpy as np

N_EM = 20  # iterations of expectation maximization
FINE = 10.0  # the ratio of the smallest noise variance to the smallest prior variance
N_NULL = 10.0  # pseudo-observations of features without an effect


def shrinkage_factors(square, noise, is_informative, n_outputs):
    """The factors by which to multiply estimated slopes to get their posterior means.

    Adaptive shrinkage (Stephens 2017): the estimates of a feature, one for each output, are normal
    around its slopes, which are normal around 0. The prior of the slopes' variance is a
    distribution over a grid, fitted to all features by expectation maximization. So where most
    features have no effect, only strong evidence keeps a slope, and where most have one, slopes
    estimated from two or three rows are hardly shrunk. As in the paper, pseudo-observations of
    features without an effect make the fit conservative.

    Parameters
    ----------
    square : ndarray of shape (n_features,)
        Mean square of a feature's estimates over the outputs.
    noise : ndarray of shape (n_features,)
        Variance of the estimates around the true slopes, in each output.
    is_informative : ndarray of bool of shape (n_features,)
        Whether to fit the prior to a feature's estimates, and to update the feature's own variance
        by them.
    n_outputs : int

    Returns
    -------
    factor : ndarray of shape (n_features,)
        Between 0 and 1.

    References
    ----------
    M. Stephens, "False discovery rates: a new deal", Biostatistics 18(2), 2017.
    """
    if not noise.any():
        return np.ones(noise.size)
    if not is_informative.any():
        return np.zeros(noise.size)
    largest, smallest = square[is_informative].max(), noise[is_informative].min() / FINE
    n_doublings = int(np.clip(np.ceil(np.log2(max(largest / smallest, 1))), 0, 60))
    grid = np.append(0, smallest * 2.0 ** np.arange(n_doublings + 1))
    variance = grid + noise[:, None]
    fit = -n_outputs / 2 * (np.log(variance) + square[:, None] / variance)
    likelihood = np.exp(fit - fit.max(axis=1, keepdims=True))
    likelihood[~is_informative] = 1
    weight = np.full(grid.size, 1 / grid.size)
    informative = likelihood[is_informative]
    for _ in range(N_EM):
        total = np.einsum("jk,k->j", informative, weight)
        weight *= np.einsum("jk,j->k", informative, 1 / total)
        weight[0] += N_NULL
        weight /= weight.sum()
    posterior = likelihood * weight
    return (posterior * grid / variance).sum(axis=1) / posterior.sum(axis=1)
