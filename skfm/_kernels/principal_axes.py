"""Products of the columns of a tall table, and tables in other coordinates.

BLAS would use threads of its own, whose number we do not set: they wait for each other while other
processes are busy, and rounding depends on their number.
"""

import math

import numpy as np

from skfm._kernels._jit import jit


@jit
def add_products(first, last, table, total):
    """Add ``table[first:last].T @ table[first:last]`` to ``total``, which is symmetric.

    Four rows and two columns meet all columns from these on: so each number that is loaded counts
    several times. The other triangle is a copy.
    """
    width = np.uintp(table.shape[1])
    r, end = np.uintp(first), np.uintp(last)
    while r + np.uintp(4) <= end:
        s, t, u = r + np.uintp(1), r + np.uintp(2), r + np.uintp(3)
        for pair in range(width // np.uintp(2)):
            i = np.uintp(2) * pair
            k = i + np.uintp(1)
            a, b, c, d = table[r, i], table[s, i], table[t, i], table[u, i]
            e, f, g, h = table[r, k], table[s, k], table[t, k], table[u, k]
            for j in range(i, width):
                v, w, x, y = table[r, j], table[s, j], table[t, j], table[u, j]
                total[i, j] += a * v + b * w + c * x + d * y
                total[k, j] += e * v + f * w + g * x + h * y
        if width % np.uintp(2):
            i = width - np.uintp(1)
            a, b, c, d = table[r, i], table[s, i], table[t, i], table[u, i]
            total[i, i] += a * a + b * b + c * c + d * d
        r += np.uintp(4)
    while r < end:
        for i in range(width):
            a = table[r, i]
            for j in range(i, width):
                total[i, j] += a * table[r, j]
        r += np.uintp(1)
    for i in range(width):
        for j in range(i):
            total[i, j] = total[j, i]


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
    """``table[first:last] = table[first:last] @ axes``, four rows and four columns at a time: the
    number of columns is a multiple of that."""
    width = np.uintp(table.shape[1])
    rows = np.zeros((4, table.shape[1]), table.dtype)
    turned = np.empty((4, table.shape[1]), table.dtype)
    r, end = np.uintp(first), np.uintp(last)
    while r < end:
        n_rows = min(np.uintp(4), end - r)  # what is in the others is turned, but not kept
        for k in range(n_rows):
            for j in range(width):
                rows[k, j] = table[r + k, j]
        for k in range(np.uintp(4)):
            for j in range(width):
                turned[k, j] = 0
        for quarter in range(width // np.uintp(4)):
            f = np.uintp(4) * quarter
            g, h, i = f + np.uintp(1), f + np.uintp(2), f + np.uintp(3)
            a0, b0, c0, d0 = rows[0, f], rows[0, g], rows[0, h], rows[0, i]
            a1, b1, c1, d1 = rows[1, f], rows[1, g], rows[1, h], rows[1, i]
            a2, b2, c2, d2 = rows[2, f], rows[2, g], rows[2, h], rows[2, i]
            a3, b3, c3, d3 = rows[3, f], rows[3, g], rows[3, h], rows[3, i]
            for j in range(width):
                w, x, y, z = axes[f, j], axes[g, j], axes[h, j], axes[i, j]
                turned[0, j] += a0 * w + b0 * x + c0 * y + d0 * z
                turned[1, j] += a1 * w + b1 * x + c1 * y + d1 * z
                turned[2, j] += a2 * w + b2 * x + c2 * y + d2 * z
                turned[3, j] += a3 * w + b3 * x + c3 * y + d3 * z
        for k in range(n_rows):
            for j in range(width):
                table[r + k, j] = turned[k, j]
        r += n_rows
