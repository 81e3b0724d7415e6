"""Shuffled rows, cut into mini-batches and planned window by window."""

import numpy as np

from skfm._kernels.batches import plan_batches
from skfm._kernels.structs import Window, WindowColumns, WindowRows
from skfm._kernels.update_rules import SGD

WINDOW_ENTRIES = 1 << 21
KEPT_BYTES = 512 << 20


def auto_batch_size(n_rows, update):
    """Small data at once; else enough rows for whole batches to stay in the processor's cache.

    Small data is full-batch, so that weights equal repetition and row order does not matter.
    Plain gradient steps lose much in large batches.
    """
    if update is SGD and n_rows > 1024:
        return 128
    return 1024 if n_rows < 400_000 else 2048 if n_rows < 800_000 else 4096


class Planner:
    """The windows of a problem: kept while they fit into a budget, else planned anew each time.

    The budget is twice the bytes of the CSR input, at most 512 MB, so that the plan never
    doubles the memory of a large input. What a window holds does not depend on it.
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
        self._bounds = [0]  # in batches
        for batch in range(1, batch_start.size):
            first = self._bounds[-1]
            if (
                batch == batch_start.size - 1
                or entry_start[batch + 1] - entry_start[first] > WINDOW_ENTRIES
            ):
                self._bounds.append(batch)
        csr_bytes = problem.indptr.nbytes + problem.indices.nbytes + problem.data.nbytes
        self._budget = min(2 * csr_bytes, kept_bytes)
        self._kept = {}
        self.nbytes = 0

    @property
    def n_windows(self):
        return len(self._bounds) - 1

    @property
    def n_batches(self):
        return self._bounds[-1]

    @property
    def max_pairs(self):
        """Upper bound of the distinct features of a batch."""
        return max(1, min(self._longest, self.problem.n_used))

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
        feature_start = np.empty(last - first + 1, dtype=np.int64)
        features = np.empty(n_entries + 1, dtype=np.uint32)  # one spare place to write to
        column_ptr = np.empty(n_entries + 1, dtype=np.uint32)
        row_ptr = np.empty(rows.size + 1, dtype=np.uint32)
        local = np.empty(n_entries, dtype=self.local_ids)
        entry_row = np.empty(n_entries, dtype=self.local_ids)
        row_values = np.empty(n_values, dtype=dtype)
        column_values = np.empty(n_values, dtype=dtype)
        n_pairs = plan_batches(
            problem.indptr,
            problem.indices,
            problem.data,
            problem.position,
            problem.center,
            1 / problem.scale,
            rows,
            self.batch_size,
            np.full(problem.n_used, -1, dtype=np.int32),
            np.empty(self._longest, dtype=np.uint32),
            np.empty(self._longest, dtype=np.int64),
            feature_start,
            features,
            column_ptr,
            row_ptr,
            local,
            row_values,
            entry_row,
            column_values,
        )
        weight = problem.weight
        return Window(
            WindowRows(
                start=np.minimum(np.arange(last - first + 1) * self.batch_size, rows.size),
                ptr=row_ptr,
                local=local,
                value=row_values,
                target=problem.target[rows],
                weight=weight[rows] if weight.size else weight,
            ),
            WindowColumns(
                start=feature_start,
                feature=features[:n_pairs].copy(),
                ptr=column_ptr[: n_pairs + 1].copy(),
                row=entry_row,
                value=column_values,
            ),
        )
