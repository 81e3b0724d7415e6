"""Shuffled rows, cut into mini-batches, which are planned window by window."""

from typing import NamedTuple

import numpy as np

from skfm._kernels.batches import plan_batches
from skfm._kernels.structs import PlanScratch, Window, WindowColumns, WindowRows
from skfm._kernels.update_rules import SGD
from skfm._solvers.fm.optimizer_state import UPDATES

WINDOW_ENTRIES = 1 << 21
KEPT_BYTES = 512 << 20
POINTER = 8  # bytes of a row pointer in CSR, at most
BATCH_BYTES = 2 << 20  # of the layers of a batch's rows
LEAST_SIZE = 64  # rows of a batch, however many bytes they have


def auto_batch_size(n_rows, update, interactions=None, itemsize=8):
    """The mini-batch size for ``batch_size="auto"``.

    Small data is one batch, so that a weight of 2 equals a repeated row and the order of rows does
    not matter. Larger batches still fit into the processor's cache, also if each row has a layer
    for each field. SGD needs small ones.
    """
    size = 1024 if n_rows < 400_000 else 2048 if n_rows < 800_000 else 4096
    if update is SGD and n_rows > 1024:
        size = 128
    if interactions is None or interactions.kind == "plain":
        return size
    row_bytes = interactions.n_layers * interactions.n_components * itemsize
    return min(size, max(BATCH_BYTES // max(row_bytes, 1), LEAST_SIZE))


def batch_size_for(problem, settings, n_rows):
    """`auto_batch_size` for the first ``n_rows`` rows of the problem's stream."""
    update, interactions = UPDATES[settings.solver], problem.interactions
    return auto_batch_size(n_rows, update, interactions, problem.data.itemsize)


def make_planner(problem, settings, rng):
    """The planner for a problem, with the mini-batch size of the settings."""
    batch_size = settings.batch_size
    if batch_size == "auto":
        batch_size = batch_size_for(problem, settings, problem.n_rows)
    return Planner(problem, batch_size, rng)


class Planned(NamedTuple):
    """A planned window."""

    number: int
    window: Window
    rows: np.ndarray  # their numbers

    @property
    def n_batches(self):
        return self.window.rows.start.size - 1

    @property
    def max_pairs(self):
        """The most distinct features of a batch."""
        return int(np.diff(self.window.columns.start).max())


class Planner:
    """Plans the mini-batches of a problem, in windows of consecutive batches.

    Planned windows are kept within a budget, twice the bytes of the CSR input but at most 512 MB;
    the others are planned again each time. The budget does not change what a window holds.
    """

    def __init__(self, problem, batch_size, rng, kept_bytes=KEPT_BYTES):
        self.problem = problem
        self.batch_size = min(batch_size, problem.n_rows)
        n_rows = problem.n_rows
        self.row_ids = np.int32 if n_rows < 2**31 else np.int64
        self._rows = np.arange(n_rows, dtype=self.row_ids)
        if self.batch_size < n_rows:
            rng.shuffle(self._rows)
        self._unit = problem.unit_values
        length = np.diff(problem.indptr)[self._rows]
        batch_start = np.append(np.arange(0, n_rows, self.batch_size), n_rows)
        entry_start = np.append(0, np.cumsum(length))[batch_start]
        self._longest = int(np.diff(entry_start).max())
        narrow = max(self.batch_size, min(self._longest, problem.n_used)) <= 1 << 16
        self.local_ids = np.uint16 if narrow else np.uint32
        # Pairs of a batch and a feature are most in field models, whose batches are small. All
        # others have one type, which saves a compilation.
        has_many_pairs = problem.interactions.kind != "plain" and self._longest < 1 << 16
        self.pointers = np.uint16 if has_many_pairs else np.uint32
        self._bounds = [0]  # in batches
        for batch in range(1, batch_start.size):
            first = self._bounds[-1]
            if (
                batch == batch_start.size - 1
                or entry_start[batch + 1] - entry_start[first] > WINDOW_ENTRIES
            ):
                self._bounds.append(batch)
        csr_bytes = POINTER * problem.indptr.size + problem.indices.nbytes + problem.data.nbytes
        self._budget = min(2 * csr_bytes, kept_bytes)
        self._kept = {}
        self.nbytes = 0

    @property
    def n_windows(self):
        return len(self._bounds) - 1

    @property
    def n_batches(self):
        return self._bounds[-1]

    def n_batches_of(self, number):
        """How many batches a window has."""
        return self._bounds[number + 1] - self._bounds[number]

    @property
    def max_pairs(self):
        """Upper bound of the distinct features of a batch."""
        return max(1, min(self._longest, self.problem.n_used))

    def epoch(self, rng):
        """Yields all windows in random order, as `Planned`."""
        for number in rng.permutation(self.n_windows):
            yield self._planned(number)

    def in_order(self):
        """Yields all windows as `Planned`, for a computation without training."""
        for number in range(self.n_windows):
            yield self._planned(number)

    def _planned(self, number):
        rows, _ = self.rows(number)
        return Planned(number, self.window(number), rows)

    def window(self, number):
        if number in self._kept:
            return self._kept[number]
        window = self._plan(number)
        nbytes = sum(array.nbytes for part in window for array in part)
        if self.nbytes + nbytes <= self._budget:
            self._kept[number] = window
            self.nbytes += nbytes
        return window

    def rows(self, number):
        """The rows of a window, and the number of the first one among all."""
        first, last = (bound * self.batch_size for bound in self._bounds[number : number + 2])
        return self._rows[first:last], first

    def _plan(self, number):
        problem = self.problem
        first, last = self._bounds[number], self._bounds[number + 1]
        rows, _ = self.rows(number)
        n_entries = int((problem.indptr[rows + 1] - problem.indptr[rows]).sum())
        n_values = 0 if self._unit else n_entries
        dtype = problem.data.dtype
        weight = problem.weight[rows] if problem.weight.size else np.empty(0, dtype)
        window_rows = WindowRows(
            start=np.minimum(np.arange(last - first + 1) * self.batch_size, rows.size),
            ptr=np.empty(rows.size + 1, np.uint32),
            local=np.empty(n_entries, self.local_ids),
            value=np.empty(n_values, dtype),
            target=problem.target[rows],
            weight=weight,
        )
        columns = WindowColumns(
            start=np.empty(last - first + 1, np.int64),
            feature=np.empty(n_entries + 1, np.uint32),  # with a spare place to write to
            ptr=np.empty(n_entries + 1, self.pointers),
            row=np.empty(n_entries, self.local_ids),
            value=np.empty(n_values, dtype),
        )
        scratch = PlanScratch(
            first_seen=np.full(problem.n_used, -1, np.int32),
            entry_feature=np.empty(self._longest, np.uint32),
            count=np.empty(self._longest, np.int64),
        )
        n_pairs = plan_batches(
            problem.scaled_source(), rows, self.batch_size, scratch, window_rows, columns
        )
        # In place: copies would leave holes of the first size between the windows that are kept.
        columns.feature.resize(n_pairs, refcheck=False)
        columns.ptr.resize(n_pairs + 1, refcheck=False)
        return Window(window_rows, columns)


def single_batch(window, batch):
    """A batch of a window as a window of its own, with its features numbered from 0."""
    rows, columns = window
    r0, r1 = rows.start[batch : batch + 2]
    f0, f1 = columns.start[batch : batch + 2]
    entries = slice(rows.ptr[r0], rows.ptr[r1])
    return Window(
        WindowRows(
            start=np.array([0, r1 - r0]),
            ptr=rows.ptr[r0 : r1 + 1] - rows.ptr[r0],
            local=rows.local[entries],
            value=rows.value[entries],
            target=rows.target[r0:r1],
            weight=rows.weight[r0:r1],
        ),
        WindowColumns(
            start=np.array([0, f1 - f0]),
            feature=np.arange(f1 - f0, dtype=columns.feature.dtype),
            ptr=columns.ptr[f0 : f1 + 1] - columns.ptr[f0],
            row=columns.row[entries],
            value=columns.value[entries],
        ),
    )
