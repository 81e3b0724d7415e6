"""Classes of columns that share no row: those of one class may be updated at the same time."""

import numpy as np

from skfm._kernels._jit import jit

COLORS = 64  # bits of a row's mask


@jit
def block_columns(indptr, indices, position, before, classes):
    """Cut the columns into blocks, as they stand, as long as no row has two of a block.

    ``before`` (n_columns,) starts with zeros: there goes the last column before each one in any
    of its rows, counted from 1. Rows are sorted. Returns the number of blocks.
    """
    for i in range(indptr.size - 1):
        last = 0
        for e in range(np.uintp(indptr[i]), np.uintp(indptr[i + 1])):
            j = np.int64(position[np.uintp(indices[e])])
            before[j] = max(before[j], last)
            last = j + 1
    start, number = 0, 0
    for j in range(classes.size):
        if before[j] > start:
            start, number = j, number + 1
        classes[j] = number
    return number + 1 if classes.size else 0


@jit
def color_columns(ptr, row, first_color, mask, color):
    """Give as many columns as can be one of 64 colors, none twice in a row: greedily, in order.

    Columns whose ``color`` is not -1 are left out. ``mask`` (n_rows,) holds the colors of each
    row, one a bit, and starts with zeros. Returns how many columns are left.
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
