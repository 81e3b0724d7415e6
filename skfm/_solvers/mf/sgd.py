"""Stochastic gradient descent on a grid of blocks of the matrix.

Rows and columns are shuffled and cut into the same number of parts. Threads may train blocks that
share neither rows nor columns at the same time, so an epoch trains one diagonal of the grid after
the other (DSGD: Gemulla, Nijkamp, Haas, Sismanis 2011). The grid depends on the data alone, so the
number of threads does not change the result.
"""

from typing import NamedTuple

import numpy as np

from skfm._kernels import mf_sgd as kernels
from skfm._kernels.mf_sgd import BIAS, BIAS_SHARE, BIAS_SQUARES, N_SCALARS, SHARE, SQUARES
from skfm._kernels.structs import Grid, Side
from skfm._solvers.mf.problem import ITEM, USER
from skfm._solvers.training import run_epochs
from skfm._utils.checkpoint import NO_CHECKPOINT
from skfm._utils.memory import aligned_zeros, read_only
from skfm._utils.threads import share

BLOCK_BYTES = 1 << 21  # factors of a block: about what fits into a core's own cache
VECTOR = 8  # factors are padded with zeros to a multiple of this
SMALL = 400_000  # entries below which more threads cost more time than they save
N_PARTS = 4  # at least, where several threads share the data


class _Parameters(NamedTuple):
    """Pairs of factors and biases."""

    users: tuple
    items: tuple


class _Part:
    """The rows (or columns) in random order, cut into parts, and their parameters."""

    def __init__(self, model, side, table, count, n_others, n_parts, rng):
        n = count.size
        self.order = rng.permutation(n)
        self.place = np.empty(n, np.uint32)
        self.place[self.order] = np.arange(n)
        self.part = (self.place * np.uint64(n_parts) // np.uint64(n)).astype(np.uint32)
        self.model, self.side = model, side
        self.count = count[self.order]
        self.strength = model.strength(self.count, n_others)
        factors = model.factors(table)
        width = -(-factors.shape[1] // VECTOR) * VECTOR
        self.state = Side(
            aligned_zeros((n, width), table.dtype), np.zeros((n, N_SCALARS), table.dtype)
        )
        scalars = self.state.scalars
        times = np.maximum(self.count, 1)
        scalars[:, SHARE] = self.strength / times
        scalars[:, BIAS_SHARE] = model.alpha_bias / times
        # Rows without entries keep parameters of 0.
        self.set((factors[self.order] * (self.count > 0)[:, None], 0), forget=True)

    def get(self):
        factors = self.state.factors[:, : self.model.n_components]
        return factors.copy(), self.state.scalars[:, BIAS].copy()

    def set(self, parameters, *, forget):
        factors, bias = parameters
        self.state.factors[:, : self.model.n_components] = factors
        self.state.factors[:, self.model.n_components :] = 0  # after an overflow NaN
        self.state.scalars[:, BIAS] = bias
        if forget:
            self.state.scalars[:, [BIAS_SQUARES, SQUARES]] = 1

    def snapshot(self):
        return tuple(self.state)

    def restore(self, snapshot):
        for array, values in zip(self.state, snapshot, strict=True):
            array[...] = values

    def penalty(self):
        return kernels.penalty(self.state, self.strength, float(self.model.alpha_bias))

    def fill(self, table, parameters):
        """Write parameters into a table, back in the order of the matrix."""
        factors, bias = parameters
        self.model.factors(table)[self.order] = factors
        if self.model.has_bias:
            self.model.bias(table, self.side)[self.order] = bias


class _Trainer:
    """One training run: the grid, and the state of its rows and columns."""

    finds_rate = False
    remedy = "Lower learning_rate or alpha, or use solver='als', which takes no such steps."

    def __init__(self, model, csr, tables, settings, rng):
        self.model = model
        self.rng = rng
        self.learning_rate = settings.learning_rate
        self.n_entries = csr.nnz
        n_bytes = sum(model.factors(table).nbytes for table in tables)
        n_parts = -(-n_bytes // BLOCK_BYTES)
        self.n_threads = 1
        if csr.nnz >= SMALL:
            n_parts = max(N_PARTS, n_parts)
            self.n_threads = settings.n_threads
        self.n_parts = n_parts = int(max(1, min(n_parts, *csr.shape)))
        counts = np.diff(csr.indptr), np.bincount(csr.indices, minlength=csr.shape[1])
        self.sides = [
            _Part(model, side, tables[side], counts[side], csr.shape[1 - side], n_parts, rng)
            for side in (USER, ITEM)
        ]
        self._plan(csr)

    @property
    def n_batches(self):
        return self.n_entries

    def take_newton_step(self):
        """Not needed: an epoch takes a step for each entry."""
        return np.inf

    def leave_saddle(self):
        """Not needed: the noise of single entries leaves saddle points."""
        return False

    def _plan(self, csr):
        """Sort the entries into blocks, shuffled within each."""
        rows, columns = self.sides
        count = np.zeros(self.n_parts**2, np.int64)
        indptr, indices, data = map(read_only, (csr.indptr, csr.indices, csr.data))
        kernels.count_blocks(indptr, indices, rows.part, columns.part, self.n_parts, count)
        self.block_start = np.append(0, np.cumsum(count))
        self.grid = Grid(
            np.empty(csr.nnz, np.uint32), np.empty(csr.nnz, np.uint32), np.empty_like(csr.data)
        )
        kernels.fill_blocks(
            indptr,
            indices,
            data,
            rows.part,
            columns.part,
            rows.place,
            columns.place,
            self.n_parts,
            self.block_start[:-1].copy(),
            self.grid,
        )
        seeds = self.rng.randint(1, 2**63 - 1, size=count.size, dtype=np.int64)
        kernels.shuffle_blocks(self.block_start, seeds.astype(np.uint64), self.grid)

    def snapshot(self):
        """What epochs change."""
        return {
            "sides": [part.snapshot() for part in self.sides],
            "learning_rate": self.learning_rate,
            "random_state": self.rng.get_state(legacy=False),
        }

    def restore(self, snapshot):
        for part, values in zip(self.sides, snapshot["sides"], strict=True):
            part.restore(values)
        self.learning_rate = snapshot["learning_rate"]
        self.rng.set_state(snapshot["random_state"])

    def parameters(self):
        return _Parameters(*(part.get() for part in self.sides))

    def set_parameters(self, parameters, *, forget):
        for part, values in zip(self.sides, parameters, strict=True):
            part.set(values, forget=forget)

    def measure_at(self, parameters):
        """`measure` for other parameters; the state stays."""
        kept = self.parameters()
        self.set_parameters(parameters, forget=False)
        measured = self.measure()
        self.set_parameters(kept, forget=False)
        return measured

    def slow_down(self):
        self.learning_rate /= 4

    def penalty(self):
        """The penalty term of the objective, for each entry."""
        return sum(part.penalty() for part in self.sides) / self.n_entries

    def epoch(self):
        """A step for each entry; returns the mean loss, each entry's before its step."""
        states = [part.state for part in self.sides]
        model = self.model
        arguments = self.grid, *states, model.n_components, self.learning_rate, model.has_bias
        losses = np.zeros(self.n_parts**2)
        for shift in self.rng.permutation(self.n_parts):

            def work(row, shift=shift):
                block = row * self.n_parts + (row + shift) % self.n_parts
                first, last = self.block_start[block : block + 2]
                losses[block] = kernels.run_blocks(first, last, *arguments)

            share(work, self.n_parts, self.n_threads)
        return losses.sum() / (2 * self.n_entries)

    def measure(self):
        """Mean loss and objective of the present parameters; changes nothing."""
        states = [part.state for part in self.sides]
        loss = kernels.squared_error(0, self.n_entries, self.grid, *states) / (2 * self.n_entries)
        return loss, loss + self.penalty()


def train(model, csr, items, settings, rng, progress, listener=None, checkpoint=NO_CHECKPOINT):
    """Factorize from the items' table and random users; returns the items and the history.

    ``listener``, if given, gets the items' table after each epoch, as `run_epochs` says,
    and ``checkpoint`` is that of `run_epochs`.
    """
    users = model.table(csr.shape[0], USER, csr.dtype)
    spread = model.factors(items).std()
    model.factors(users)[...] = rng.standard_normal(model.factors(users).shape) * spread
    trainer = _Trainer(model, csr, (users, items), settings, rng)
    baseline = np.square(csr.data).sum(dtype=np.float64) / (2 * csr.nnz)

    def table_of_items(parameters):
        items = model.table(csr.shape[1], ITEM, csr.dtype)
        trainer.sides[ITEM].fill(items, parameters[ITEM])
        return items

    listener = None if listener is None else listener.converting(table_of_items)
    parameters, history = run_epochs(
        trainer, baseline, settings, progress, listener, checkpoint=checkpoint
    )
    return table_of_items(parameters), history
