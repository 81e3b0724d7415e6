"""Arguments as the kernels like them: where arrays start, what is written to, tuples, sizes."""

import math

import numpy as np

LINE = 64  # bytes


def aligned_zeros(shape, dtype):
    """Zeros that start at a cache line, so that a feature's factors cover as few as can be."""
    size = math.prod(shape)
    itemsize = np.dtype(dtype).itemsize
    raw = np.zeros(size + LINE // itemsize, dtype=dtype)
    offset = -raw.ctypes.data % LINE // itemsize
    return raw[offset : offset + size].reshape(shape)


def largest_squared(dtype):
    """A size whose square is a number, and also the sum of some thousand of them."""
    return float(np.sqrt(np.finfo(dtype).max)) / 64


def read_only(array):
    """A view that cannot be written to: how kernels get what they only read of the user's.

    Numba compiles a kernel for arrays that can be written and for others separately. Arrays that
    joblib shares between processes, or maps from a file, cannot.
    """
    view = array.view()
    view.flags.writeable = False
    return view


def plain(record):
    """A record, and the records in it, as plain tuples.

    Numba looks up the types of the arguments at each call, which takes several times as long for
    a record as for a tuple of the same arrays. A kernel that is called for each batch gets tuples
    and turns them into records itself.
    """
    return tuple(plain(part) if isinstance(part, tuple) else part for part in record)
