"""Regression of many outputs at once on sparse features, one feature after the other."""

import math

import numpy as np

from skfm._kernels._jit import jit

DOUBT = 4.0  # standard deviations by which chance is given more than its mean


@jit(allocates=True)
def regress(ptr, row, value, size, kept, residual, slopes):
    """Improve ``slopes`` (n_features, n_outputs) in turn, in place; ``residual`` follows.

    ``ptr``, ``row`` and ``value`` are the features' columns (CSC), ``size`` their squared lengths.
    With the others fixed, a feature's slopes become ``kept`` times its least squares.
    """
    n_outputs = slopes.shape[1]
    step = np.empty(n_outputs)
    for j in range(slopes.shape[0]):
        step[:] = 0
        for e in range(np.uintp(ptr[j]), np.uintp(ptr[j + 1])):
            r = np.uintp(row[e])
            for f in range(n_outputs):
                step[f] += value[e] * residual[r, f]
        for f in range(n_outputs):
            step[f] = kept[j] * (slopes[j, f] + step[f] / size[j]) - slopes[j, f]
            slopes[j, f] += step[f]
        for e in range(np.uintp(ptr[j]), np.uintp(ptr[j + 1])):
            r = np.uintp(row[e])
            for f in range(n_outputs):
                residual[r, f] -= value[e] * step[f]


@jit(allocates=True)
def regress_doubting(ptr, row, value, residual, slopes, kept, n_sweeps):
    """The same for few outputs, which say too little of a feature to be compared with others.

    It finds out by itself what is ``kept``. With the others fixed, a feature's least squares ``q``
    have the variance ``s / h`` in each output, ``h`` being the sum of its squared values and ``s``
    the mean square of the residual. If its slopes come from a normal distribution, that makes the
    data likeliest with the variance ``|q|^2 / n_outputs - s / h``, or with 0 if this is negative
    (Tipping, Faul 2003), and the slopes to expect are ``kept`` times ``q``.

    The mean square counts what the features' slopes have fitted, so that more features than rows
    do no harm, and is at least that of the rows with the feature, before it is fitted: so what a
    single row has is not ascribed to its feature. And because there may be many useless features,
    and rows that followed them before follow them still, it is raised to what chance exceeds
    rarely: ``|q|^2 h / (n_outputs s)`` of a useless feature has the mean 1 and the standard
    deviation ``sqrt(2 / n_outputs)``.
    """
    n_rows, n_outputs = residual.shape
    pull = np.empty(n_outputs)
    n_free = n_rows - kept.sum()
    raised = 1 + DOUBT * math.sqrt(2 / max(n_outputs, 1))
    for _ in range(n_sweeps):
        total = 0.0
        for r in range(n_rows):
            for f in range(n_outputs):
                total += residual[r, f] * residual[r, f]
        for j in range(slopes.shape[0]):
            size, near = 0.0, 0.0
            pull[:] = 0
            for e in range(np.uintp(ptr[j]), np.uintp(ptr[j + 1])):
                x, r = value[e], np.uintp(row[e])
                size += x * x
                square = 0.0
                for f in range(n_outputs):
                    before = residual[r, f] + x * slopes[j, f]
                    square += before * before
                    pull[f] += x * residual[r, f]
                near += x * x * square
            if size == 0:
                continue
            square = 0.0
            for f in range(n_outputs):
                q = slopes[j, f] + pull[f] / size
                square += q * q
            noise = raised * max(max(total, 0.0) / max(n_free + kept[j], 1.0), near / size)
            share = 0.0
            if square * size > noise:
                share = 1 - noise / (square * size)
            n_free += kept[j] - share
            kept[j] = share
            for f in range(n_outputs):
                step = share * (slopes[j, f] + pull[f] / size) - slopes[j, f]
                total += step * (step * size - 2 * pull[f])
                slopes[j, f] += step
                pull[f] = step
            for e in range(np.uintp(ptr[j]), np.uintp(ptr[j + 1])):
                x, r = value[e], np.uintp(row[e])
                for f in range(n_outputs):
                    residual[r, f] -= x * pull[f]
