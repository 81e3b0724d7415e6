"""Whether a chain has converged, and its effective sample size.

Split R-hat and effective sample size of one chain, cut into two halves (Vehtari, Gelman, Simpson,
Carpenter, Buerkner 2021, without their ranks).
"""

import numpy as np

LEAST_LENGTH = 4  # iterations, of which halves have a variance
LEAST_QUARTER = 5  # iterations: fewer say nothing of a trend
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
    """The standard deviation of all values beside that within halves; about 1 if they agree.

    At least LEAST_LENGTH values, as below.
    """
    within, total = _variances(_halve(values))
    if total == 0:
        return 1.0
    return float(np.sqrt(total / max(within, np.finfo(np.float64).eps * total)))


def effective_sample_size(values):
    """How many independent draws would estimate the mean as precisely.

    Autocorrelations are summed in pairs as long as these are positive, and do not grow (Geyer).
    Draws that alternate may be worth more than independent ones.
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
    """Two halves of values that are brought into the range from -1 to 1, whose squares are
    numbers."""
    values = np.asarray(values, dtype=np.float64)
    values = values - values[-1]
    values /= max(np.abs(values).max(), np.finfo(np.float64).tiny)
    n = values.size // 2
    return values[values.size - 2 * n :].reshape(2, n)


def _variances(halves):
    """Within halves, and of everything."""
    n = halves.shape[1]
    within = halves.var(axis=1, ddof=1).mean()
    return within, within * (n - 1) / n + halves.mean(axis=1).var(ddof=1)
