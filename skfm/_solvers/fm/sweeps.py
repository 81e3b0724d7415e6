"""Passes over the columns of a problem: their order, and how threads share them."""

import numpy as np
from scipy import sparse

from skfm._kernels.coloring import COLORS, block_columns, color_columns
from skfm._kernels.coordinate_descent import BLOCK, sum_rows, update_columns
from skfm._kernels.relation_blocks import gather_blocks, spread_blocks, sum_blocks, update_blocks
from skfm._kernels.structs import Columns, Machine, Rows
from skfm._solvers.fm.relation_blocks import find_relations, stack_blocks
from skfm._utils.memory import aligned_zeros
from skfm._utils.threads import run_together

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
        self.interactions = problem.interactions.record(problem.used)
        self.partners = problem.interactions.partners
        self.has_linear = problem.interactions.has_linear[problem.used]
        dtype = problem.data.dtype
        self.relations, rows = find_relations(problem)
        indptr, indices, data = rows
        place = problem.position[indices]
        unit = not problem.center.any() and bool((data == problem.scale[place]).all())
        if unit:
            values = np.ones(place.size, dtype=np.int8)
        else:
            values = (data - problem.center[place]) / problem.scale[place]
        shape = problem.n_rows, problem.n_used
        csc = sparse.csr_matrix((values, place.astype(np.int32), indptr), shape).tocsc()
        self.blocks = None
        self.columns = Columns(
            np.arange(problem.n_used, dtype=np.uint32),
            csc.indptr.astype(np.int64),
            csc.indices.astype(np.uint32 if problem.n_rows < 2**32 else np.uint64),
            np.empty(0, dtype) if unit else csc.data.astype(dtype, copy=False),
        )
        classes = find_classes(indptr, indices, problem.position, self.columns)
        order = np.argsort(classes, kind="stable").astype(np.uint32)
        for relation in self.relations:
            order = order[~np.isin(order, relation.columns.order)]
        self.columns = self.columns._replace(order=order)
        self.n_classes = int(classes.max(initial=-1)) + 1
        self._share(classes[order], n_threads)
        self.row_source = (
            indptr,
            indices,
            data,
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
        n_layers = self.problem.interactions.n_layers
        return Rows(
            aligned_zeros((n, n_layers * machine.factors.shape[1]), dtype),
            np.zeros(n, dtype),
            np.zeros(n if has_weights else 0, dtype),
        )

    def sum_rows(self, machine, intercept, sums, raw):
        """Compute the rows' sums and raw outputs anew."""
        n = self.problem.n_rows
        intercept = raw.dtype.type(intercept)
        width = machine.factors.shape[1]
        if self.blocks is None or self.blocks.sums.shape[1] != width:
            blocks = stack_blocks(self.relations, self.partners, width, n, raw.dtype)
            self.blocks = blocks
        sum_blocks(self.blocks, machine)

        def work(part, wait):
            first, last = n * part // self.n_threads, n * (part + 1) // self.n_threads
            arguments = machine, self.interactions, intercept, sums, raw
            sum_rows(first, last, self.row_source, self.blocks, *arguments)

        run_together(work, self.n_threads)

    def sweep(self, rows, machine, prior, precision, noise, fit_linear):
        """Update every column once; see `update_columns`."""
        self._sweep_columns(rows, machine, prior, precision, noise, fit_linear)
        for relation in self.relations:
            has_linear = self.has_linear & fit_linear
            start, n_components = 0, machine.n_components
            while start < n_components or has_linear.any():
                stop = min(start + BLOCK, n_components)
                arguments = relation, rows, machine, has_linear, start, stop
                self._sweep_relation(*arguments, prior, precision, noise)
                start, has_linear = stop, np.zeros_like(has_linear)

    def _sweep_relation(
        self, relation, rows, machine, has_linear, start, stop, prior, precision, noise
    ):
        """Update some coordinates of a relation's columns: sum, solve, and pass on."""
        c, n_blocks, n_rows = relation.feature_class, relation.n_blocks, self.problem.n_rows
        n, layer = stop - start + 1, c * machine.factors.shape[1]
        partners, n_threads = self.partners[c], self.n_threads
        totals, moved = np.empty((n_blocks, n + 1, n + 1)), np.empty((n_blocks, n))
        shares = np.searchsorted(
            relation.members.ptr, n_rows * np.arange(n_threads + 1) / n_threads
        )

        def work(part, wait):
            first, last = shares[part], shares[part + 1]
            gather_blocks(first, last, relation.members, rows, layer, start, stop, totals)
            wait()
            if part == 0:
                terms = partners[c], has_linear, prior, precision, noise, start, stop
                update_blocks(relation.columns, machine, *terms, totals, moved)
            wait()
            first, last = n_rows * part // n_threads, n_rows * (part + 1) // n_threads
            spread_blocks(
                *(first, last, relation.of_row, moved, rows, layer, partners, start, stop)
            )

        run_together(work, n_threads)

    def _sweep_columns(self, rows, machine, prior, precision, noise, fit_linear):
        arguments = (
            *(self.columns, rows, machine, self.interactions, prior, precision, noise),
            fit_linear,
        )
        if self.n_threads == 1:
            update_columns(0, self.columns.order.size, *arguments)
            return

        def work(part, wait):
            for bounds in self.stretches:
                if part < len(bounds) - 1:
                    update_columns(bounds[part], bounds[part + 1], *arguments)
                wait()

        run_together(work, self.n_threads)


def find_classes(indptr, indices, position, columns):
    """A class for each column.

    Blocks of one-hot columns are found from what stands before each column in its rows. If that
    takes more classes than a row has entries, which no cut into classes can do without, the
    columns are colored.
    """
    n, n_rows = columns.ptr.size - 1, indptr.size - 1
    blocks = np.empty(n, dtype=np.int64)
    before = np.zeros(n, dtype=np.int64)
    n_blocks = block_columns(indptr, indices, position, before, blocks)
    if n_blocks <= np.diff(indptr).max(initial=1):
        return blocks
    colors = np.full(n, -1, dtype=np.int64)
    n_left, first = n, 0
    while n_left:
        mask = np.zeros(n_rows, dtype=np.uint64)
        n_left = color_columns(columns.ptr, columns.row, first, mask, colors)
        first += COLORS
    names, colors = np.unique(colors, return_inverse=True)
    return colors if names.size < n_blocks else blocks
