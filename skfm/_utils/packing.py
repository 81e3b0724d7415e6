"""Arrays that say little, in little room: tables of few columns among zeros, and long runs."""

from typing import NamedTuple

import numpy as np

LEAST = 1024  # elements: below, nothing is gained


class Columns(NamedTuple):
    """An array whose other columns, along the last axis, are 0."""

    shape: tuple
    order: str  # in which the array lies in memory, if it is "F"
    columns: np.ndarray
    values: np.ndarray

    def unpacked(self):
        array = np.zeros(self.shape, self.values.dtype, order=self.order)
        array[..., self.columns] = self.values
        return array


class Runs(NamedTuple):
    """A one-dimensional array of runs of equal numbers."""

    values: np.ndarray
    lengths: np.ndarray

    def unpacked(self):
        return np.repeat(self.values, self.lengths)


def packed(value):
    """An array in half its room or less, if that is possible; anything else as it is.

    Arrays mapped from files stay what they are, and so does every array of which most columns are
    used: joblib can map it.
    """
    if type(value) is not np.ndarray or value.size < LEAST or value.dtype.kind not in "biuf":
        return value
    if value.ndim == 1 and value.dtype.kind != "f":
        starts = np.append(0, np.flatnonzero(value[1:] != value[:-1]) + 1)
        if starts.size * (value.itemsize + 8) * 2 <= value.nbytes:
            return Runs(value[starts], np.diff(np.append(starts, value.size)))
    columns = np.flatnonzero(value.any(axis=tuple(range(value.ndim - 1))))
    if columns.size * 2 > value.shape[-1]:
        return value
    order = "F" if value.flags.f_contiguous and value.ndim > 1 else "C"
    return Columns(value.shape, order, columns, value[..., columns])


def unpacked(value):
    return value.unpacked() if isinstance(value, (Columns, Runs)) else value
