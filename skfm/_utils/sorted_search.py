"""Values looked up among sorted ones."""

import numpy as np


def find_sorted(known, values):
    """Positions of values in a sorted array of distinct ones, -1 where they are not in it.

    Raises
    ------
    TypeError
        If the values cannot be compared with those that are known.
    """
    positions = np.searchsorted(known, values)
    if known.size == 0:
        return np.full_like(positions, -1)
    np.minimum(positions, known.size - 1, out=positions)
    # Old NumPy answers by a single bool where types cannot be equal.
    positions[np.broadcast_to(known[positions] != values, positions.shape)] = -1
    return positions
