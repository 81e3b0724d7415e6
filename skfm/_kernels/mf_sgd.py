"""Stochastic gradient descent for matrix factorization, on blocks of the matrix."""

import math

import numpy as np

from skfm._kernels._jit import jit, jit_inner

# Scalars of a row or column: its bias, sums of squared gradients (AdaGrad), and the penalties of
# the bias and of the factors for one entry.
BIAS, BIAS_SQUARES, SQUARES, BIAS_SHARE, SHARE = range(5)
N_SCALARS = 5


@jit
def count_blocks(indptr, indices, row_block, column_block, n_blocks, count):
    """Add up the entries of each block; block (a, b) has number ``a * n_blocks + b``."""
    for r in range(np.uintp(indptr.size - 1)):
        a = np.uintp(row_block[r]) * np.uintp(n_blocks)
        for e in range(np.uintp(indptr[r]), np.uintp(indptr[r + np.uintp(1)])):
            count[a + np.uintp(column_block[np.uintp(indices[e])])] += 1


@jit
def fill_blocks(
    indptr, indices, values, row_block, column_block, row_place, column_place, n_blocks, slot, grid
):
    """Write the entries block by block into ``grid``, with shuffled numbers of rows and columns.

    ``slot`` holds where each block starts, and afterwards where it stops.
    """
    rows, columns, targets = grid
    for r in range(np.uintp(indptr.size - 1)):
        a = np.uintp(row_block[r]) * np.uintp(n_blocks)
        for e in range(np.uintp(indptr[r]), np.uintp(indptr[r + np.uintp(1)])):
            column = np.uintp(indices[e])
            block = a + np.uintp(column_block[column])
            s = np.uintp(slot[block])
            slot[block] += 1
            rows[s] = row_place[r]
            columns[s] = column_place[column]
            targets[s] = values[e]


@jit
def shuffle_blocks(block_start, seeds, grid):
    """Shuffle the entries of each block (Fisher and Yates, by xorshift from the block's seed)."""
    rows, columns, targets = grid
    for block in range(block_start.size - 1):
        state = seeds[block] | np.uint64(1)
        start = np.uintp(block_start[block])
        for k in range(np.uintp(block_start[block + 1]) - start):
            state ^= state << np.uint64(13)
            state ^= state >> np.uint64(7)
            state ^= state << np.uint64(17)
            i = start + np.uintp(k)
            j = start + np.uintp(state % np.uint64(k + np.uintp(1)))
            rows[i], rows[j] = rows[j], rows[i]
            columns[i], columns[j] = columns[j], columns[i]
            targets[i], targets[j] = targets[j], targets[i]


@jit
def run_blocks(first, last, grid, row_side, column_side, n_components, rate, fit_bias):
    """Take an AdaGrad step for each entry ``first:last``; returns the sum of squared errors.

    Each entry's error is the one before its step. ``row_side`` and ``column_side`` are
    `structs.Side`, whose ``width`` is ``n_components`` plus padding. The factors of a row share
    one sum of squared gradients, the mean over the components. Each step includes the penalties
    for one entry.
    """
    rows, columns, targets = grid
    P, row_scalars = row_side
    Q, column_scalars = column_side
    width = P.shape[1]
    zero = P.dtype.type(0)
    rate = P.dtype.type(rate)
    mean = P.dtype.type(1) / P.dtype.type(n_components)
    total = 0.0
    for e in range(np.uintp(first), np.uintp(last)):
        r, c = np.uintp(rows[e]), np.uintp(columns[e])
        error = _error(targets[e], P, row_scalars, r, Q, column_scalars, c)
        total += error * error
        if fit_bias:
            _step_bias(row_scalars, r, error, rate)
            _step_bias(column_scalars, c, error, rate)
        row_rate = rate / math.sqrt(row_scalars[r, SQUARES])
        column_rate = rate / math.sqrt(column_scalars[c, SQUARES])
        row_share, column_share = row_scalars[r, SHARE], column_scalars[c, SHARE]
        row_squares, column_squares = zero, zero
        for f in range(width):
            p, q = P[r, f], Q[c, f]
            dp = error * q - row_share * p
            dq = error * p - column_share * q
            row_squares += dp * dp
            column_squares += dq * dq
            P[r, f] = p + row_rate * dp
            Q[c, f] = q + column_rate * dq
        row_scalars[r, SQUARES] += mean * row_squares
        column_scalars[c, SQUARES] += mean * column_squares
    return total


@jit
def squared_error(first, last, grid, row_side, column_side):
    """The sum of the squared errors of entries ``first:last``."""
    rows, columns, targets = grid
    P, row_scalars = row_side
    Q, column_scalars = column_side
    total = 0.0
    for e in range(np.uintp(first), np.uintp(last)):
        r, c = np.uintp(rows[e]), np.uintp(columns[e])
        error = _error(targets[e], P, row_scalars, r, Q, column_scalars, c)
        total += error * error
    return total


@jit
def penalty(side, strength, alpha_bias):
    """``1/2 sum_u (strength_u |p_u|^2 + alpha_bias b_u^2)``."""
    factors, scalars = side
    total = 0.0
    for r in range(np.uintp(strength.size)):
        square = factors.dtype.type(0)
        for f in range(factors.shape[1]):
            square += factors[r, f] * factors[r, f]
        bias = scalars[r, BIAS]
        total += strength[r] * square + alpha_bias * bias * bias
    return total / 2


@jit_inner
def _error(target, P, row_scalars, r, Q, column_scalars, c):
    product = P.dtype.type(0)
    for f in range(P.shape[1]):
        product += P[r, f] * Q[c, f]
    return target - row_scalars[r, BIAS] - column_scalars[c, BIAS] - product


@jit_inner
def _step_bias(scalars, r, error, rate):
    bias = scalars[r, BIAS]
    step = error - scalars[r, BIAS_SHARE] * bias
    squares = scalars[r, BIAS_SQUARES] + step * step
    scalars[r, BIAS_SQUARES] = squares
    scalars[r, BIAS] = bias + rate * step / math.sqrt(squares)
