"""Principal axes of the factors in a table, in several threads and without BLAS."""

import numpy as np

from skfm._kernels.principal_axes import add_products, rotate_rows
from skfm._solvers.mf.problem import check_finite
from skfm._utils.threads import share

CHUNK = 4096  # rows of one partial sum, however many threads there are: rounding depends on it
THREAD_WORK = 10_000_000  # products below which a second thread costs more than it brings


def principal_axes(model, table, n_threads):
    """Squared lengths of the factors along their principal axes, longest first, and the rotation.

    A table times the rotation holds the factors along the axes; its other columns do not change.
    """
    return axes_of(model, gram_matrix(table, n_threads), table.dtype)


def gram_matrix(table, n_threads):
    """The products of all columns of a table, summed in float64 over parts of fixed size."""
    width = table.shape[1]
    bounds = _bounds(table)
    parts = np.zeros((bounds.size - 1, width, width), table.dtype)

    def work(number):
        add_products(bounds[number], bounds[number + 1], table, parts[number])

    share(work, len(parts), _n_threads(table, n_threads))
    total = np.zeros((width, width))
    for part in parts:
        total += part
    return total


def axes_of(model, total, dtype):
    """What `principal_axes` returns for a table with this Gram matrix."""
    held, stop = model.n_held, model.n_held + model.n_components
    products = total[held:stop, held:stop]
    check_finite(products)
    squares, axes = np.linalg.eigh(products)
    squares, axes = np.maximum(squares[::-1], 0), axes[:, ::-1]
    largest = np.abs(axes).argmax(axis=0)
    axes = axes * np.where(axes[largest, np.arange(len(axes))] < 0, -1, 1)
    rotation = np.eye(len(total), dtype=dtype)
    rotation[held:stop, held:stop] = axes
    return squares, rotation


def rotate(table, rotation, n_threads):
    """Multiply a table by a rotation, in place."""
    bounds = _bounds(table)

    def work(number):
        rotate_rows(bounds[number], bounds[number + 1], table, rotation)

    share(work, bounds.size - 1, _n_threads(table, n_threads))


def _bounds(table):
    return np.append(np.arange(0, table.shape[0], CHUNK), table.shape[0])


def _n_threads(table, n_threads):
    return max(1, min(n_threads, table.size * table.shape[1] // THREAD_WORK))
