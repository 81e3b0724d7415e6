"""Graph coloring of columns: columns of one color share no row, so threads may share them."""

import numpy as np

from skfm._kernels._jit import jit

COLORS = 64  # bits of a row's mask


@jit
def color_consecutive_columns(indptr, indices, position, before, colors):
    """Give one color to each maximal run of consecutive columns of which no row has two.

    ``before`` (n_columns,) must hold zeros. For each column, it becomes the last column, counted
    from 1, that precedes it in any of its rows. Rows must be sorted. Returns the number of colors.
    """
    for i in range(indptr.size - 1):
        last = 0
        for e in range(np.uintp(indptr[i]), np.uintp(indptr[i + 1])):
            j = np.int64(position[np.uintp(indices[e])])
            before[j] = max(before[j], last)
            last = j + 1
    start, number = 0, 0
    for j in range(colors.size):
        if before[j] > start:
            start, number = j, number + 1
        colors[j] = number
    return number + 1 if colors.size else 0


@jit
def color_columns(ptr, row, first_color, mask, color):
    """Color as many columns as possible with 64 colors, by a greedy algorithm.

    Columns whose ``color`` is not -1 are colored already. ``mask`` (n_rows,) holds the colors of
    each row as bits, and must start with zeros. Returns the number of columns without a color.
    """
    everything = ~np.uint64(0)
    one = np.uint64(1)
    n_left = 0
    for j in range(color.size):
        if color[j] >= 0:
            continue
        taken = np.uint64(0)
        for e in range(np.uintp(ptr[j]), np.uintp(ptr[j + 1])):
            taken |= mask[np.uintp(row[e])]
            if taken == everything:
                break
        if taken == everything:
            n_left += 1
            continue
        free = 0
        while (taken >> np.uint64(free)) & one:
            free += 1
        color[j] = first_color + free
        bit = one << np.uint64(free)
        for e in range(np.uintp(ptr[j]), np.uintp(ptr[j + 1])):
            mask[np.uintp(row[e])] |= bit
    return n_left
