"""Encoding of tables: hashes of strings, and columns of entries written into CSR matrices."""

import numpy as np

from skfm._kernels._jit import jit
from skfm._kernels.splitmix64 import splitmix64

# FNV-1a with 64 bits (Fowler, Noll and Vo; RFC 9923).
FNV_OFFSET, FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)


@jit
def hash_strings(offsets, data, seed, result):
    """Hash strings, of which the i-th consists of the bytes ``data[offsets[i]:offsets[i + 1]]``.

    FNV-1a is fast for short strings, but its low bits are weak; the finalizer of SplitMix64 mixes
    them, also with the ``seed``.
    """
    start = FNV_OFFSET ^ splitmix64(np.uint64(seed))
    for i in range(result.size):
        h = start
        for k in range(np.uintp(offsets[i]), np.uintp(offsets[i + 1])):
            h = (h ^ np.uint64(data[k])) * FNV_PRIME
        result[i] = splitmix64(h)


@jit
def place_entries(columns, values, first, position, indices, data):
    """Append at most one entry to each row of a CSR matrix.

    Row i gets an entry in column ``first + columns[i]``, unless ``columns[i]`` is negative.
    ``position`` is where the next entry of each row belongs, and is advanced. All entries are 1 if
    ``values`` is empty.
    """
    is_one_hot = values.size == 0
    for i in range(columns.size):
        column = columns[i]
        if column >= 0:
            p = np.uintp(position[i])
            indices[p] = first + column
            data[p] = 1 if is_one_hot else values[i]
            position[i] += 1
