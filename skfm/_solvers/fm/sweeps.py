"""Passes over the columns of a problem: their order, and how threads share them."""

import numpy as np
from scipy import sparse

from skfm._kernels.coloring import COLORS, color_columns, color_consecutive_columns
from skfm._kernels.coordinate_descent import BLOCK_SIZE, sum_rows, update_columns
from skfm._kernels.relation_blocks import gather_blocks, spread_blocks, sum_blocks, update_blocks
from skfm._kernels.structs import Model, RowState, SparseColumns
from skfm._solvers.fm.parameters import NO_PAIRS
from skfm._solvers.fm.relation_blocks import find_relation_blocks, stack_blocks
from skfm._utils.memory import aligned_zeros
from skfm._utils.threads import run_together

PADDING = 4  # rows of factors have a multiple of this length
COLUMN_COST = 8  # of a column besides its entries, in entries
THREAD_WORK = 4_000  # entries of a color for each thread: with fewer, waiting takes longer


class Sweeper:
    """Updates the columns of a problem one after the other, in the order of a graph coloring.

    Columns of one color share no row, so threads may update them in any order: the result is the
    same, bit for bit.
    """

    def __init__(self, problem, n_threads):
        self.problem = problem
        self.interactions = problem.interactions.record(problem.used)
        self.partners = problem.interactions.partners
        self.has_linear = problem.interactions.has_linear[problem.used]
        dtype = problem.data.dtype
        # Relation blocks, field by field, and the rows without these fields.
        self.relation_blocks, self.source = find_relation_blocks(problem)
        indptr, indices, data = self.source.indptr, self.source.indices, self.source.data
        place = problem.position[indices]
        unit = not problem.center.any() and bool((data == problem.scale[place]).all())
        if unit:
            values = np.ones(place.size, dtype=np.int8)
        else:
            values = (data - problem.center[place]) / problem.scale[place]
        shape = problem.n_rows, problem.n_used
        csc = sparse.csr_matrix((values, place.astype(np.int32), indptr), shape).tocsc()
        self.stacked_blocks = None
        self.columns = SparseColumns(
            np.arange(problem.n_used, dtype=np.uint32),
            csc.indptr.astype(np.int64),
            csc.indices.astype(np.uint32 if problem.n_rows < 2**32 else np.uint64),
            np.empty(0, dtype) if unit else csc.data.astype(dtype, copy=False),
        )
        colors = find_colors(indptr, indices, problem.position, self.columns)
        order = np.argsort(colors, kind="stable").astype(np.uint32)
        for blocks in self.relation_blocks:
            order = order[~np.isin(order, blocks.columns.order)]
        self.columns = self.columns._replace(order=order)
        self.n_colors = int(colors.max(initial=-1)) + 1
        self._share(colors[order], n_threads)

    def _share(self, colors, n_threads):
        """Divide the order into stretches: of one color for several threads, or for one thread."""
        work = np.append(0, np.cumsum(np.diff(self.columns.ptr)[self.columns.order] + COLUMN_COST))
        starts = np.flatnonzero(np.diff(colors, prepend=-1))
        stops = np.append(starts, colors.size)[1:]
        self.stretches = []  # each a list of bounds, between which are the parts
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

    def model(self, linear, factors, field_pairs=NO_PAIRS[0]):
        """The kernels' `Model` of one output, with copies of its parameters."""
        n, n_components = factors.shape
        table = aligned_zeros((n, -(-n_components // PADDING) * PADDING), factors.dtype)
        table[:, :n_components] = factors
        return Model(linear.copy(), table, n_components, field_pairs.astype(factors.dtype))

    def rows(self, model, has_weights):
        """Space for the state of the rows."""
        n, dtype = self.problem.n_rows, self.problem.data.dtype
        n_layers = self.problem.interactions.n_layers
        return RowState(
            aligned_zeros((n, n_layers * model.factors.shape[1]), dtype),
            np.zeros(n, dtype),
            np.zeros(n if has_weights else 0, dtype),
        )

    def sum_rows(self, model, intercept, sums, raw):
        """Compute the rows' sums and raw outputs from the parameters."""
        n = self.problem.n_rows
        intercept = raw.dtype.type(intercept)
        width = model.factors.shape[1]
        if self.stacked_blocks is None or self.stacked_blocks.sums.shape[1] != width:
            self.stacked_blocks = stack_blocks(
                self.relation_blocks, self.partners, width, n, raw.dtype
            )
        blocks = self.stacked_blocks
        sum_blocks(blocks, model)

        def work(part, wait):
            first, last = n * part // self.n_threads, n * (part + 1) // self.n_threads
            sum_rows(
                first, last, self.source, blocks, model, self.interactions, intercept, sums, raw
            )

        run_together(work, self.n_threads)

    def sweep(self, rows, model, prior, precision, noise, fit_linear):
        """Update every column once; see `update_columns`."""
        self._sweep_columns(rows, model, prior, precision, noise, fit_linear)
        for blocks in self.relation_blocks:
            has_linear = self.has_linear & fit_linear
            start, n_components = 0, model.n_components
            while start < n_components or has_linear.any():
                stop = min(start + BLOCK_SIZE, n_components)
                self._sweep_blocks(
                    blocks, rows, model, has_linear, start, stop, prior, precision, noise
                )
                start, has_linear = stop, np.zeros_like(has_linear)

    def _sweep_blocks(self, blocks, rows, model, has_linear, start, stop, prior, precision, noise):
        """Update some coordinates of a field's columns: sum over rows, solve, update the rows."""
        group, n_blocks, n_rows = blocks.interaction_group, blocks.n_blocks, self.problem.n_rows
        n, layer = stop - start + 1, group * model.factors.shape[1]
        partners, n_threads = self.partners[group], self.n_threads
        interacts = partners[group]
        totals, moved = np.empty((n_blocks, n + 1, n + 1)), np.empty((n_blocks, n))
        shares = np.searchsorted(blocks.members.ptr, n_rows * np.arange(n_threads + 1) / n_threads)

        def work(part, wait):
            first, last = shares[part], shares[part + 1]
            gather_blocks(first, last, blocks.members, rows, layer, start, stop, totals)
            wait()
            if part == 0:
                update_blocks(
                    blocks.columns,
                    model,
                    interacts,
                    has_linear,
                    prior,
                    precision,
                    noise,
                    start,
                    stop,
                    totals,
                    moved,
                )
            wait()
            first, last = n_rows * part // n_threads, n_rows * (part + 1) // n_threads
            spread_blocks(first, last, blocks.of_row, moved, rows, layer, partners, start, stop)

        run_together(work, n_threads)

    def _sweep_columns(self, rows, model, prior, precision, noise, fit_linear):
        def update(first, last):
            update_columns(
                first,
                last,
                self.columns,
                rows,
                model,
                self.interactions,
                prior,
                precision,
                noise,
                fit_linear,
            )

        if self.n_threads == 1:
            update(0, self.columns.order.size)
            return

        def work(part, wait):
            for bounds in self.stretches:
                if part < len(bounds) - 1:
                    update(bounds[part], bounds[part + 1])
                wait()

        run_together(work, self.n_threads)


def find_colors(indptr, indices, position, columns):
    """A color for each column, such that columns of one color share no row.

    Runs of consecutive columns are colored first, which suits one-hot fields. Any coloring needs
    at least as many colors as the longest row has entries. If the runs need more, a greedy
    coloring is tried as well, and the coloring with fewer colors is returned.
    """
    n, n_rows = columns.ptr.size - 1, indptr.size - 1
    runs = np.empty(n, dtype=np.int64)
    before = np.zeros(n, dtype=np.int64)
    n_runs = color_consecutive_columns(indptr, indices, position, before, runs)
    if n_runs <= np.diff(indptr).max(initial=1):
        return runs
    colors = np.full(n, -1, dtype=np.int64)
    n_left, first = n, 0
    while n_left:
        mask = np.zeros(n_rows, dtype=np.uint64)
        n_left = color_columns(columns.ptr, columns.row, first, mask, colors)
        first += COLORS
    names, colors = np.unique(colors, return_inverse=True)
    return colors if names.size < n_runs else runs
