"""Problems whose rows are not in memory: they are read from files, piece by piece.

A pass over all rows measures the columns, so that the objective is that of a problem in memory.
Each epoch then deals the pieces in random order into blocks, which are read, shuffled and planned
one thread ahead of the training. A random sample of the rows stays in memory: Newton steps, the
search for penalties and the search for directions of descent need the outputs of the same rows
several times, and a sample determines them well enough.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np
from scipy import sparse

from skfm._solvers.fm.batches import Planner, batch_size_for
from skfm._solvers.fm.column_scaling import (
    ColumnSums,
    far_centers,
    full_columns,
    measure_columns,
    only_columns,
    that_matter,
    used_columns,
    without_constants,
)
from skfm._solvers.fm.problem import Problem, state_columns
from skfm._utils.ahead import one_ahead
from skfm._utils.memory import read_only

BLOCK_ENTRIES = 1 << 23  # of the rows that are shuffled together
SAMPLE_ENTRIES = 1 << 21


class Block(NamedTuple):
    X: sparse.csr_matrix  # canonical
    target: np.ndarray
    weight: np.ndarray  # empty where every row weighs 1


class RowsInPieces(Protocol):
    """Rows as the solver sees them, in pieces of consecutive rows."""

    n_features: int
    dtype: np.dtype
    piece_rows: np.ndarray  # (n_pieces,), numbers of rows
    piece_entries: np.ndarray  # (n_pieces,), numbers of their entries

    def read(self, pieces):
        """The rows of some pieces, as a `Block`; may be called in any thread."""

    def measure(self):
        """Sums over the rows of each column, the weight of all rows, and a sample of them."""

    def measure_centered(self, center):
        """Sums of the columns less their centers, and the number of entries of each column."""


class InOrder:
    """How `RowsInPieces` are measured by reading them."""

    def measure(self):
        sums = ColumnSums(*np.zeros((3, self.n_features)))
        center, total_weight = np.zeros(self.n_features), 0.0
        share = min(1.0, SAMPLE_ENTRIES / max(int(self.piece_entries.sum()), 1))
        rng, samples = np.random.default_rng(0), []
        for block in read_in_order(self):
            X, _, weight = block
            measure_columns(X, weight, center, sums)
            total_weight += weight.sum(dtype=np.float64) if weight.size else X.shape[0]
            samples.append(sample_of_block(block, rng, share))
        return sums, total_weight, join_sample(samples, self.dtype)

    def measure_centered(self, center):
        centered = ColumnSums(*np.zeros((3, center.size)))
        n_entries = np.zeros(center.size, np.intp)
        for X, _, weight in read_in_order(self):
            measure_columns(X, weight, center, centered)
            n_entries += np.bincount(X.indices, minlength=center.size)
        return centered, n_entries


def sample_of_block(block, rng, share):
    """Each row of a block with the probability ``share``, as a `Block`."""
    X, target, weight = block
    chosen = np.flatnonzero(rng.random(X.shape[0]) < share)
    return Block(X[chosen], target[chosen], weight[chosen] if weight.size else weight)


def join_sample(samples, dtype):
    """The rows of several samples as one, without those that are empty."""
    X, targets, weights = zip(*(s for s in samples if s.X.shape[0]), strict=True)
    weight = [
        w if w.size else np.ones(t.size, dtype) for w, t in zip(weights, targets, strict=True)
    ]
    weight = np.concatenate(weight)
    weight = weight[:0] if (weight == 1).all() else weight
    return Block(sparse.vstack(X, format="csr"), np.concatenate(targets), weight)


def fit_in_memory(piece_entries):
    """Whether the rows of all pieces together are a single block."""
    return piece_entries.sum() <= BLOCK_ENTRIES


def blocks_of(pieces, piece_entries):
    """Cut a sequence of pieces into blocks of about BLOCK_ENTRIES entries."""
    end = np.cumsum(piece_entries[pieces])
    n_blocks = max(1, -(-int(end[-1]) // BLOCK_ENTRIES))
    bounds = np.searchsorted(end, end[-1] * np.arange(1, n_blocks) / n_blocks, side="left") + 1
    return [block for block in np.split(pieces, bounds) if block.size]


def read_in_order(rows):
    """All rows, a `Block` at a time, read one thread ahead."""
    blocks = blocks_of(np.arange(rows.piece_rows.size), rows.piece_entries)
    return one_ahead(rows.read(pieces) for pieces in blocks)


@dataclass
class StreamedProblem(Problem):
    """A `Problem` that has no rows in memory but those of a sample."""

    rows: RowsInPieces | None = None
    total: float = 0.0  # weight of all rows
    has_others: bool = False  # whether the rows have entries in columns that are not used

    @property
    def n_rows(self):
        return int(self.rows.piece_rows.sum())

    @property
    def total_weight(self):
        return self.total

    def without_rows(self):
        """The same problem without what reads its rows: what others need for `with_rows`."""
        return replace(self, rows=None)

    def with_rows(self, block):
        """The problem of some of the rows, with these columns and penalties."""
        X = block.X  # which has entries of centered columns in all rows
        if self.has_others:
            is_used = np.zeros(X.shape[1], dtype=bool)
            is_used[self.used] = True
            X = only_columns(X, is_used)
        return Problem(
            indptr=read_only(X.indptr),
            indices=read_only(X.indices),
            data=read_only(X.data),
            target=block.target,
            weight=block.weight,
            **{name: getattr(self, name) for name in _OF_COLUMNS},
        )


_OF_ROWS = ("indptr", "indices", "data", "target", "weight")
_OF_COLUMNS = [name for name in Problem.__dataclass_fields__ if name not in _OF_ROWS]


def make_streamed_problem(
    rows, loss, penalties, interactions, *, may_center=False, is_cumulative=False
):
    """State the problem for rows in pieces, as `make_problem` does for rows in memory.

    Returns the `StreamedProblem`, and the `Problem` of a sample of the rows.
    """
    sums, total_weight, sample = rows.measure()
    center = np.zeros(rows.n_features)
    if may_center and interactions.may_center:
        center, sums = _center(rows, sums, total_weight)
    is_used = that_matter(sums, rows.dtype)
    mean_row_length = float(sums.count[is_used].sum() / total_weight)
    columns = used_columns(is_used, sums, center, mean_row_length)
    stated = state_columns(
        columns,
        rows.dtype,
        total_weight,
        loss,
        penalties,
        interactions,
        is_cumulative=is_cumulative,
    )
    problem = StreamedProblem(
        indptr=np.zeros(1, np.int32),
        indices=np.zeros(0, np.int32),
        data=np.zeros(0, rows.dtype),
        target=np.zeros(0, rows.dtype),
        weight=np.zeros(0, rows.dtype),
        rows=rows,
        total=total_weight,
        has_others=bool(((sums.count > 0) & ~is_used).any()),
        **stated,
    )
    return problem, problem.with_rows(sample)


def _center(rows, sums, total_weight):
    """The same as `column_scaling.center_columns`, in a second pass if any column is centered."""
    center = far_centers(sums, full_columns(sums.count, total_weight), rows.dtype)
    if not center.any():
        return center, sums
    centered, n_entries = rows.measure_centered(center)
    center[n_entries < rows.piece_rows.sum()] = 0  # rows of negligible weight lack an entry
    return without_constants(center, sums, centered.square)


class StreamedBatches:
    """Plans the mini-batches of a `StreamedProblem`; has the interface of `batches.Planner`."""

    def __init__(self, problem, batch_size):
        self.problem = problem
        self.batch_size = min(batch_size, problem.n_rows)
        n_entries = self.batch_size * int(problem.mean_row_length + 1)
        self.max_pairs = max(1, min(n_entries, problem.n_used))  # trainers make room for more

    @property
    def n_batches(self):
        return -(-self.problem.n_rows // self.batch_size)

    def epoch(self, rng):
        """All windows in random order, as `Planned`; the order of rows and batches is new."""
        # Drawn here and not in the other thread, which would draw at the same time as this one.
        order = rng.permutation(self.problem.rows.piece_rows.size)
        return one_ahead(self._windows(order, rng.randint(2**31 - 1)))

    def in_order(self):
        """All windows as `Planned`, for a computation without training."""
        return one_ahead(self._windows(np.arange(self.problem.rows.piece_rows.size), 0))

    def _windows(self, order, seed):
        problem, rng = self.problem, np.random.RandomState(seed)
        for pieces in blocks_of(order, problem.rows.piece_entries):
            block = problem.with_rows(problem.rows.read(np.sort(pieces)))
            yield from Planner(block, self.batch_size, rng, kept_bytes=0).epoch(rng)


def make_streamed_batches(problem, settings):
    """The batches of a `StreamedProblem`, with the mini-batch size of the settings."""
    batch_size = settings.batch_size
    if batch_size == "auto":
        batch_size = batch_size_for(problem, settings, problem.n_rows)
    return StreamedBatches(problem, batch_size)
