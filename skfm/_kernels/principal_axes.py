"""Gram matrices, rotations and Cholesky decompositions, without BLAS.

BLAS starts threads of its own, whose number affects rounding, and which wait for each other while
other processes are busy.
"""

import math

import numpy as np

from skfm._kernels._jit import jit


@jit
def add_products(first, last, table, total):
    """Add ``table[first:last].T @ table[first:last]`` to the symmetric matrix ``total``.

    The upper triangle is computed for four rows and two columns of the table at a time, so that
    each number loaded is used several times, and then copied to the lower triangle.
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
def cholesky(matrix, lower, inverse):
    """Compute the Cholesky factor of a positive definite matrix, and the inverse of this factor.

    ``lower`` and ``inverse`` are outputs, which must hold zeros.
    """
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
def rotate_rows(first, last, table, rotation):
    """``table[first:last] = table[first:last] @ rotation``, for four rows and four columns at a
    time. The number of columns must be a multiple of four."""
    width = np.uintp(table.shape[1])
    rows = np.zeros((4, table.shape[1]), table.dtype)
    rotated = np.empty((4, table.shape[1]), table.dtype)
    r, end = np.uintp(first), np.uintp(last)
    while r < end:
        n_rows = min(np.uintp(4), end - r)  # the remaining rows of ``rows`` are ignored
        for k in range(n_rows):
            for j in range(width):
                rows[k, j] = table[r + k, j]
        for k in range(np.uintp(4)):
            for j in range(width):
                rotated[k, j] = 0
        for quarter in range(width // np.uintp(4)):
            f = np.uintp(4) * quarter
            g, h, i = f + np.uintp(1), f + np.uintp(2), f + np.uintp(3)
            a0, b0, c0, d0 = rows[0, f], rows[0, g], rows[0, h], rows[0, i]
            a1, b1, c1, d1 = rows[1, f], rows[1, g], rows[1, h], rows[1, i]
            a2, b2, c2, d2 = rows[2, f], rows[2, g], rows[2, h], rows[2, i]
            a3, b3, c3, d3 = rows[3, f], rows[3, g], rows[3, h], rows[3, i]
            for j in range(width):
                w, x, y, z = rotation[f, j], rotation[g, j], rotation[h, j], rotation[i, j]
                rotated[0, j] += a0 * w + b0 * x + c0 * y + d0 * z
                rotated[1, j] += a1 * w + b1 * x + c1 * y + d1 * z
                rotated[2, j] += a2 * w + b2 * x + c2 * y + d2 * z
                rotated[3, j] += a3 * w + b3 * x + c3 * y + d3 * z
        for k in range(n_rows):
            for j in range(width):
                table[r + k, j] = rotated[k, j]
        r += n_rows
