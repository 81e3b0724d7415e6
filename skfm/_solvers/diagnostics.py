"""Whether a chain has arrived, and how much its draws say.

Split R-hat and effective sample size of one chain, cut into two halves (Vehtari, Gelman, Simpson,
Carpenter, Buerkner 2021, without their ranks).
"""

import numpy as np

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
    """The standard deviation of all values beside that within halves; about 1 if they agree."""
    halves = _halve(values)
    n = halves.shape[1]
    if n < 2:
        return np.nan
    within, total = _variances(halves)
    return float(np.sqrt(total / within)) if within > 0 else 1.0 if total == 0 else np.inf


def effective_sample_size(values):
    """How many independent draws would estimate the mean as precisely.

    Autocorrelations are summed in pairs as long as these are positive, and do not grow (Geyer).
    Draws that alternate may be worth more than independent ones.
    """
    halves = _halve(values)
    n = halves.shape[1]
    if n < 2:
        return np.nan
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
    """In units in which no square overflows."""
    n = len(values) // 2
    values = np.asarray(values, dtype=np.float64)[len(values) - 2 * n :]
    largest = np.abs(values).max(initial=0.0)
    return (values / (largest or 1.0)).reshape(2, n)


def _variances(halves):
    """Within halves, and of everything."""
    n = halves.shape[1]
    within = halves.var(axis=1, ddof=1).mean()
    return within, within * (n - 1) / n + halves.mean(axis=1).var(ddof=1)
