"""Stateless random numbers: each is a hash of a counter (SplitMix64)."""

import numpy as np

from skfm._kernels._jit import jit_inline

GAMMA = np.uint64(0x9E3779B97F4A7C15)  # 2^64 divided by the golden ratio


def mix(number):
    """64 random bits, computed from a number (Steele, Lea, Flood 2014); also of NumPy arrays."""
    h = number
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


splitmix64 = jit_inline(mix)
