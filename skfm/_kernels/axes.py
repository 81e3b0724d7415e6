"""Products of the columns of a tall table, and tables in other coordinates.

BLAS would do it with threads of its own, whose number is not ours: they wait for each other where
the machine is busy, and round as their number wants.
"""

import math

import numpy as np

from skfm._kernels._jit import jit


@jit
def add_products(first, last, table, total):
    """Add ``table[first:last].T @ table[first:last]`` to ``total``."""
    width = table.shape[1]
    r, end = np.uintp(first), np.uintp(last)
    while r < end:
        if r + np.uintp(4) <= end:
            s, t, u = r + np.uintp(1), r + np.uintp(2), r + np.uintp(3)
            for i in range(np.uintp(width)):
                a, b, c, d = table[r, i], table[s, i], table[t, i], table[u, i]
                for j in range(np.uintp(width)):
                    total[i, j] += (
                        a * table[r, j] + b * table[s, j] + c * table[t, j] + d * table[u, j]
                    )
            r += np.uintp(4)
        else:
            for i in range(np.uintp(width)):
                a = table[r, i]
                for j in range(np.uintp(width)):
                    total[i, j] += a * table[r, j]
            r += np.uintp(1)


@jit
def multiply(table, matrix, result):
    """``result = table @ matrix``."""
    for r in range(np.uintp(table.shape[0])):
        for j in range(np.uintp(matrix.shape[1])):
            result[r, j] = 0
        for f in range(np.uintp(table.shape[1])):
            a = table[r, f]
            for j in range(np.uintp(matrix.shape[1])):
                result[r, j] += a * matrix[f, j]


@jit
def find_root(matrix, lower, inverse):
    """The Cholesky factor of a positive definite matrix, and its inverse; both come as zeros."""
    n = matrix.shape[0]
    for i in range(n):
        for j in range(i + 1):
            rest = matrix[i, j]
            for k in range(j):
                rest -= lower[i, k] * lower[j, k]
            lower[i, j] = math.sqrt(rest) if i == j else rest / lower[j, j]
    for j in range(n):
        inverse[j, j] = 1 / lower[j, j]
        for i in range(j + 1, n):
            rest = 0.0
            for k in range(j, i):
                rest -= lower[i, k] * inverse[k, j]
            inverse[i, j] = rest / lower[i, i]


@jit(allocates=True)
def turn_rows(first, last, table, axes):
    """``table[first:last] = table[first:last] @ axes``, four columns at a time: their number is a
    multiple of that."""
    width = table.shape[1]
    turned = np.empty(width, table.dtype)
    for r in range(np.uintp(first), np.uintp(last)):
        for j in range(np.uintp(width)):
            turned[j] = 0
        for quarter in range(np.uintp(width // 4)):
            f = np.uintp(4) * quarter
            g, h, i = f + np.uintp(1), f + np.uintp(2), f + np.uintp(3)
            a, b, c, d = table[r, f], table[r, g], table[r, h], table[r, i]
            for j in range(np.uintp(width)):
                turned[j] += a * axes[f, j] + b * axes[g, j] + c * axes[h, j] + d * axes[i, j]
        for j in range(np.uintp(width)):
            table[r, j] = turned[j]
