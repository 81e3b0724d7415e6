"""Alternating least squares: one side is solved while the other is fixed."""

from dataclasses import dataclass

import numpy as np

from skfm._kernels.ridge import solve_rows
from skfm._kernels.structs import Entries
from skfm._solvers.mf import problem
from skfm._solvers.mf.principal_axes import principal_axes, rotate
from skfm._solvers.mf.problem import ITEM, USER
from skfm._solvers.training import run_sweeps
from skfm._utils.checkpoint import NO_CHECKPOINT
from skfm._utils.threads import share

N_STEPS = 2  # of conjugate gradients in each half-step
CHUNK_WORK = 20_000  # entries plus rows that a thread takes at a time
THREAD_WORK = 40_000  # below this a second thread costs more than it brings


@dataclass
class Rows:
    """The entries of one side, the penalties of its rows, and how threads share these."""

    entries: Entries
    strength: np.ndarray
    bounds: np.ndarray
    n_threads: int


def rows_of(model, csr, n_threads):
    count = np.diff(csr.indptr)
    work = np.append(0, np.cumsum(count + 1))
    n_chunks = max(1, int(work[-1] // CHUNK_WORK))
    bounds = np.searchsorted(work, np.linspace(0, work[-1], n_chunks + 1))
    bounds[0], bounds[-1] = 0, count.size
    return Rows(
        problem.entries_of(csr, model.is_implicit),
        model.strength(count, csr.shape[1]).astype(csr.dtype),
        np.unique(bounds),
        max(1, min(n_threads, int(work[-1] // THREAD_WORK))),
    )


def solve(model, rows, side, design, gram_diagonal, solution, n_steps, precision):
    """Solve the rows of one side in place; returns the sum of their objectives."""
    objective = np.zeros(solution.shape[0])
    ridge = model.ridge(side, gram_diagonal, solution.dtype)
    precision = solution.dtype.type(precision)

    def work(number):
        solve_rows(
            rows.bounds[number],
            rows.bounds[number + 1],
            rows.entries,
            design,
            ridge,
            rows.strength,
            n_steps,
            precision,
            solution,
            objective,
        )

    share(work, rows.bounds.size - 1, rows.n_threads)
    return objective.sum()


def fold_in(model, csr, items, squares, n_threads):
    """Fold-in: the users' table for some rows, given the items' table, to full precision.

    For implicit feedback, the columns of the items' factors must be orthogonal, with the squared
    lengths ``squares``.
    """
    users = model.table(csr.shape[0], USER, items.dtype)
    precision = np.finfo(items.dtype).eps ** 2 * 10
    n_steps = 10 * items.shape[1]  # for ill-conditioned rows; most need as many as 20
    rows = rows_of(model, csr, n_threads)
    objective = solve(model, rows, USER, items, squares, users, n_steps, precision)
    if not np.isfinite(objective):
        raise ValueError(f"X has values that are too large for {items.dtype}; scale them.")
    return users


class _Tables(list):
    """The tables of the users and of the items, which sweeps change in place."""

    def snapshot(self):
        return {"users": self[USER], "items": self[ITEM]}

    def restore(self, snapshot):
        self[USER][...] = snapshot["users"]
        self[ITEM][...] = snapshot["items"]


def train(model, csr, items, settings, progress, listener=None, checkpoint=NO_CHECKPOINT):
    """Factorize by alternating between users and items; returns the items and the history.

    ``listener``, if given, gets the items' table after each sweep, as `run_sweeps` says,
    and ``checkpoint`` is that of `run_sweeps`.
    ``items`` is their table to start from. For implicit feedback, both tables are rotated before
    each half-step, so that the columns of the fixed factors are orthogonal: the loss of all
    unobserved entries is then a separate L2 penalty of each coordinate.
    """
    by_column = csr.T.tocsr()
    sides = [
        rows_of(model, csr, settings.n_threads),
        rows_of(model, by_column, settings.n_threads),
    ]
    tables = _Tables([model.table(csr.shape[0], USER, csr.dtype), items])

    def sweep():
        for side in (USER, ITEM):
            objective = _half_step(model, sides, tables, side)
        return objective / csr.nnz

    history = run_sweeps(
        sweep,
        settings,
        progress,
        problem.check_finite,
        parameters=lambda: tables[ITEM],
        listen=listener,
        checkpoint=checkpoint,
        parts={"tables": tables},
    )
    return tables[ITEM], history


def _half_step(model, sides, tables, side):
    """Solve one side; returns the objective after it."""
    other = 1 - side
    squares = 0
    if model.is_implicit:
        n_threads = sides[side].n_threads
        squares, rotation = principal_axes(model, tables[other], n_threads)
        for table in tables:
            rotate(table, rotation, n_threads)
    objective = solve(model, sides[side], side, tables[other], squares, tables[side], N_STEPS, 0)
    return objective + model.penalty(tables[other], other, sides[other].strength)
