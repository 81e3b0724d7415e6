"""Arrays that start where the processor's cache lines do."""

import numpy as np

LINE = 64  # bytes


def aligned_zeros(shape, dtype):
    """Zeros that start at a cache line, so that a feature's factors cover as few as can be."""
    size = int(np.prod(shape))
    itemsize = np.dtype(dtype).itemsize
    raw = np.zeros(size + LINE // itemsize, dtype=dtype)
    offset = -raw.ctypes.data % LINE // itemsize
    return raw[offset : offset + size].reshape(shape)
