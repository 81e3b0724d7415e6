"""Whether a chain has converged, and its effective sample size.

Split R-hat and effective sample size of one chain, cut into two halves (Vehtari, Gelman, Simpson,
Carpenter, Buerkner 2021, without their ranks).
"""

import numpy as np

LEAST_LENGTH = 4  # iterations: each half then has a variance
LEAST_QUARTER = 5  # iterations: fewer show no trend
LEAST_DROP = 0.02  # of the loss from one quarter to the next, relative to it
LEAST_ERRORS = 3.0  # standard errors


def is_falling(curve):
    """Whether losses in the last quarter are clearly below those in the quarter before it."""
    quarter = len(curve) // 4
    if quarter < LEAST_QUARTER:
        return False
    before, last = np.reshape(curve[-2 * quarter :], (2, quarter))
    drop = before.mean() - last.mean()
    error = np.sqrt((before.var() + last.var()) / quarter)
    return bool(drop > max(LEAST_DROP * abs(last.mean()), LEAST_ERRORS * error))


def split_r_hat(values):
    """Split R-hat: the ratio of the total to the within-half standard deviation, 1 at convergence.

    Needs at least LEAST_LENGTH values, as `effective_sample_size` does.
    """
    within, total = _variances(_halve(values))
    if total == 0:
        return 1.0
    return float(np.sqrt(total / max(within, np.finfo(np.float64).eps * total)))


def effective_sample_size(values):
    """The number of independent draws that would estimate the mean as precisely.

    Sums of adjacent pairs of autocorrelations are added while they are positive, and made monotone
    (Geyer 1992). The result exceeds the number of draws if these are negatively correlated.
    """
    halves = _halve(values)
    n = halves.shape[1]
    within, total = _variances(halves)
    if total == 0:
        return float(2 * n)
    centered = halves - halves.mean(axis=1, keepdims=True)
    spectrum = np.fft.rfft(centered, 2 * n, axis=1)
    covariance = np.fft.irfft(np.abs(spectrum) ** 2, 2 * n, axis=1)[:, :n].mean(axis=0) / n
    correlation = 1 - (within - covariance * n / (n - 1)) / total
    correlation[0] = 1
    pairs = correlation[: n // 2 * 2].reshape(-1, 2).sum(axis=1)
    n_pairs = np.flatnonzero(np.append(pairs, -1) < 0)[0]
    time = 2 * np.minimum.accumulate(pairs[: max(n_pairs, 1)]).sum() - 1
    return float(2 * n / max(time, 1 / np.log10(max(2 * n, 10))))


def _halve(values):
    """The two halves of the values, scaled to the range from -1 to 1: squares are finite."""
    values = np.asarray(values, dtype=np.float64)
    values = values - values[-1]
    values /= max(np.abs(values).max(), np.finfo(np.float64).tiny)
    n = values.size // 2
    return values[values.size - 2 * n :].reshape(2, n)


def _variances(halves):
    """The variance within halves, and the total variance."""
    n = halves.shape[1]
    within = halves.var(axis=1, ddof=1).mean()
    return within, within * (n - 1) / n + halves.mean(axis=1).var(ddof=1)
