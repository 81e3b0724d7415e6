"""Passes over the columns of a problem: their order, and how threads share them."""

import numpy as np
from scipy import sparse

from skfm._kernels.classes import COLORS, block_columns, color_columns
from skfm._kernels.columns import sum_rows, update_columns
from skfm._kernels.records import Columns, Machine, Rows
from skfm._solvers.memory import aligned_zeros
from skfm._solvers.team import run_together

PADDING = 4  # rows of factors have a multiple of this length
COLUMN_COST = 8  # of a column besides its entries, in entries
THREAD_WORK = 4_000  # entries of a class for each thread; below, waiting takes longer than working


class Sweeper:
    """A problem column by column, in classes that share no row.

    A sweep goes through the classes one after the other. Within a class the order does not
    matter, so that threads can share it and the result stays the same, bit for bit.
    """

    def __init__(self, problem, n_threads):
        self.problem = problem
        dtype = problem.data.dtype
        place = problem.position[problem.indices]
        unit = problem.unit_values
        if unit:
            values = np.ones(place.size, dtype=np.int8)
        else:
            values = (problem.data - problem.center[place]) / problem.scale[place]
        shape = problem.n_rows, problem.n_used
        csc = sparse.csr_matrix((values, place.astype(np.int32), problem.indptr), shape).tocsc()
        self.columns = Columns(
            np.arange(problem.n_used, dtype=np.uint32),
            csc.indptr.astype(np.int64),
            csc.indices.astype(np.uint32 if problem.n_rows < 2**32 else np.uint64),
            np.empty(0, dtype) if unit else csc.data.astype(dtype, copy=False),
        )
        classes = find_classes(problem, self.columns)
        order = np.argsort(classes, kind="stable").astype(np.uint32)
        self.columns = self.columns._replace(order=order)
        self.n_classes = int(classes.max(initial=-1)) + 1
        self._share(classes[order], n_threads)
        self.row_source = (
            problem.indptr,
            problem.indices,
            problem.data,
            problem.position,
            problem.center,
            1 / problem.scale,
        )

    def _share(self, classes, n_threads):
        """Cut the order into stretches for all threads, and those for one alone."""
        work = np.append(0, np.cumsum(np.diff(self.columns.ptr)[self.columns.order] + COLUMN_COST))
        starts = np.flatnonzero(np.diff(classes, prepend=-1))
        stops = np.append(starts, classes.size)[1:]
        self.stretches = []  # of bounds, one part each
        self.n_threads = 1
        for first, last in zip(starts, stops, strict=True):
            total = work[last] - work[first]
            n_parts = max(1, min(n_threads, last - first, int(total // THREAD_WORK)))
            if n_parts == 1 and self.stretches and len(self.stretches[-1]) == 2:
                self.stretches[-1] = [self.stretches[-1][0], last]
                continue
            goals = work[first] + total * np.arange(n_parts + 1) / n_parts
            bounds = np.searchsorted(work, goals)
            bounds[0], bounds[-1] = first, last
            self.stretches.append(bounds.tolist())
            self.n_threads = max(self.n_threads, n_parts)

    def machine(self, linear, factors):
        """Parameters of one output as the kernels take them: copies."""
        n, n_components = factors.shape
        table = aligned_zeros((n, -(-n_components // PADDING) * PADDING), factors.dtype)
        table[:, :n_components] = factors
        return Machine(linear.copy(), table, n_components)

    def rows(self, machine, has_weights):
        """Room for what is known of the rows."""
        n, dtype = self.problem.n_rows, self.problem.data.dtype
        return Rows(
            aligned_zeros((n, machine.factors.shape[1]), dtype),
            np.zeros(n, dtype),
            np.zeros(n if has_weights else 0, dtype),
        )

    def sum_rows(self, machine, intercept, sums, raw):
        """Compute the rows' sums and raw outputs anew."""
        n = self.problem.n_rows
        intercept = raw.dtype.type(intercept)

        def work(part, wait):
            first, last = n * part // self.n_threads, n * (part + 1) // self.n_threads
            sum_rows(first, last, self.row_source, machine, intercept, sums, raw)

        run_together(work, self.n_threads)

    def sweep(self, rows, machine, prior, precision, noise, fit_linear):
        """Update every column once; see `update_columns`."""
        arguments = self.columns, rows, machine, prior, precision, noise, fit_linear
        if self.n_threads == 1:
            update_columns(0, self.problem.n_used, *arguments)
            return

        def work(part, wait):
            for bounds in self.stretches:
                if part < len(bounds) - 1:
                    update_columns(bounds[part], bounds[part + 1], *arguments)
                wait()

        run_together(work, self.n_threads)


def find_classes(problem, columns):
    """A class for each column.

    Blocks of one-hot columns are found from what stands before each column in its rows. If that
    takes more classes than a row has entries, which no cut into classes can do without, the
    columns are colored.
    """
    n = problem.n_used
    blocks = np.empty(n, dtype=np.int64)
    source = problem.indptr, problem.indices, problem.position
    n_blocks = block_columns(*source, np.zeros(n, dtype=np.int64), blocks)
    if n_blocks <= np.diff(problem.indptr).max(initial=1):
        return blocks
    colors = np.full(n, -1, dtype=np.int64)
    n_left, first = n, 0
    while n_left:
        mask = np.zeros(problem.n_rows, dtype=np.uint64)
        n_left = color_columns(columns.ptr, columns.row, first, mask, colors)
        first += COLORS
    names, colors = np.unique(colors, return_inverse=True)
    return colors if names.size < n_blocks else blocks
