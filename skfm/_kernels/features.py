"""Counts and squared sizes of features, their penalty, and hashes of rows."""

import numpy as np

from skfm._kernels._jit import jit
from skfm._kernels.splitmix64 import GAMMA


@jit
def measure_features(indptr, indices, data, weight, center, count, total, square):
    """Sum over the entries of each feature: the weight, weighted ``x - center`` and its square.

    ``weight`` is empty if every row has weight 1.
    """
    weighted = weight.size > 0
    for r in range(indptr.size - 1):
        w = weight[r] if weighted else 1.0
        for e in range(np.uintp(indptr[r]), np.uintp(indptr[r + 1])):
            j = np.uintp(indices[e])
            x = data[e] - center[j]
            count[j] += w
            total[j] += w * x
            square[j] += w * x * x


@jit
def penalty(linear, factors, linear_penalty, factor_penalty):
    """``1/2 sum_j (r_j w_j^2 + s_j |v_j|^2)`` of one output; slot 0 holds the parameters."""
    total = 0.0
    for j in range(linear.shape[0]):
        square = 0.0
        for f in range(factors.shape[2]):
            square += factors[j, 0, f] * factors[j, 0, f]
        total += linear_penalty[j] * linear[j, 0] * linear[j, 0] + factor_penalty[j] * square
    return total / 2


@jit
def weighted_squares(columns, linear, factors, linear_weight, factor_weight):
    """``1/2 sum_j a_j w_j^2`` and ``1/2 sum_j b_j |v_j|^2`` of one output, over some columns.

    Weights have a value for each of the columns.
    """
    of_linear = of_factors = 0.0
    for i in range(columns.size):
        j = np.uintp(columns[i])
        square = 0.0
        for f in range(factors.shape[2]):
            square += factors[j, 0, f] * factors[j, 0, f]
        of_linear += linear_weight[i] * linear[j, 0] * linear[j, 0]
        of_factors += factor_weight[i] * square
    return of_linear / 2, of_factors / 2


@jit
def mark_columns(indices, occurs):
    """Mark the columns of entries in ``occurs``."""
    for e in range(indices.size):
        occurs[np.uintp(indices[e])] = True


@jit
def look_up(numbers, table, result):
    """``result = table[numbers]``, for numbers that are in its range."""
    for e in range(numbers.size):
        result[e] = table[np.uintp(numbers[e])]


@jit
def hash_words(words, seed):
    """A hash of 64-bit words in their order, in four lanes that the processor can overlap."""
    a, b, c, d = seed, seed ^ GAMMA, seed + GAMMA, ~seed
    shift, n = np.uint64(29), np.uintp(words.size)
    whole = n - n % np.uintp(4)
    for i in range(np.uintp(0), whole, np.uintp(4)):
        a = (a ^ words[i]) * GAMMA
        b = (b ^ words[i + np.uintp(1)]) * GAMMA
        c = (c ^ words[i + np.uintp(2)]) * GAMMA
        d = (d ^ words[i + np.uintp(3)]) * GAMMA
        a, b, c, d = a ^ (a >> shift), b ^ (b >> shift), c ^ (c >> shift), d ^ (d >> shift)
    for i in range(whole, n):
        a = (a ^ words[i]) * GAMMA
        a ^= a >> shift
    for lane in (b, c, d):
        a = (a ^ lane) * GAMMA
        a ^= a >> shift
    return a


@jit
def hash_rows(indptr, indices, bits, chosen, result):
    """Hash the entries of each row in the chosen columns.

    Equal rows have equal hashes, and different rows almost never do. ``bits`` are the values,
    reinterpreted as integers.
    """
    for i in range(result.size):
        total = np.uint64(0)
        for e in range(np.uintp(indptr[i]), np.uintp(indptr[i + 1])):
            j = np.uintp(indices[e])
            if chosen[j]:
                h = (np.uint64(j) * GAMMA) ^ np.uint64(bits[e])
                h = (h ^ (h >> np.uint64(29))) * GAMMA
                h = (h ^ (h >> np.uint64(32))) * GAMMA
                total += h ^ (h >> np.uint64(29))
        result[i] = total
