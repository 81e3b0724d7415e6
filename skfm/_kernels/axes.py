"""Products of the columns of a tall table, and its turning, four rows or columns at a time."""

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
def turn_rows(first, last, table, axes):
    """``table[first:last] = table[first:last] @ axes``; the columns' number is a multiple of 4."""
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
