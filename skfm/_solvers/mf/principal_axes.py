"""Principal axes of the factors in a table, in several threads and without BLAS's own."""

import numpy as np

from skfm._kernels.principal_axes import add_products, turn_rows
from skfm._solvers.mf.problem import check_finite
from skfm._utils.threads import share

CHUNK = 4096  # rows that are summed together, whoever does it
THREAD_WORK = 10_000_000  # products below which a second thread costs more than it brings


def principal_axes(model, table, n_threads):
    """The squared lengths of the factors along their principal axes, longest first, and a turning.

    Multiplied with the turning, the factors of a table are those along the axes; what else is in
    its rows stays as it is.
    """
    width = table.shape[1]
    bounds = _bounds(table)
    parts = np.zeros((bounds.size - 1, width, width), table.dtype)

    def work(number):
        add_products(bounds[number], bounds[number + 1], table, parts[number])

    share(work, len(parts), _n_threads(table, n_threads))
    total = np.zeros((width, width))
    for part in parts:
        total += part
    held, stop = model.n_held, model.n_held + model.n_components
    products = total[held:stop, held:stop]
    check_finite(products)
    squares, axes = np.linalg.eigh(products)
    squares, axes = np.maximum(squares[::-1], 0), axes[:, ::-1]
    largest = np.abs(axes).argmax(axis=0)
    axes = axes * np.where(axes[largest, np.arange(len(axes))] < 0, -1, 1)
    turning = np.eye(width, dtype=table.dtype)
    turning[held:stop, held:stop] = axes
    return squares, turning


def turn(table, turning, n_threads):
    """Multiply a table with a turning, in place."""
    bounds = _bounds(table)

    def work(number):
        turn_rows(bounds[number], bounds[number + 1], table, turning)

    share(work, bounds.size - 1, _n_threads(table, n_threads))


def _bounds(table):
    return np.append(np.arange(0, table.shape[0], CHUNK), table.shape[0])


def _n_threads(table, n_threads):
    return max(1, min(n_threads, table.size * table.shape[1] // THREAD_WORK))
