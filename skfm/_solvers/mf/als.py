"""Alternating least squares: the rows of one side solved while the other side is held."""

from dataclasses import dataclass

import numpy as np

from skfm._kernels.ridge import solve_rows
from skfm._kernels.structs import Entries
from skfm._solvers.mf import problem
from skfm._solvers.mf.principal_axes import principal_axes, turn
from skfm._solvers.mf.problem import ITEM, USER
from skfm._solvers.training import run_sweeps
from skfm._utils.threads import share

N_STEPS = 2  # of conjugate gradients in a half-step
CHUNK_WORK = 20_000  # entries, a row counting as one more: what a thread takes at a time
THREAD_WORK = 40_000  # below this a second thread costs more than it brings


@dataclass
class _Rows:
    """One side's entries, what penalises its rows, and how threads share them."""

    entries: Entries
    strength: np.ndarray
    bounds: np.ndarray
    n_threads: int


def _rows(model, csr, n_threads):
    count = np.diff(csr.indptr)
    work = np.append(0, np.cumsum(count + 1))
    n_chunks = max(1, int(work[-1] // CHUNK_WORK))
    bounds = np.searchsorted(work, np.linspace(0, work[-1], n_chunks + 1))
    bounds[0], bounds[-1] = 0, count.size
    return _Rows(
        problem.entries_of(csr, model.is_implicit),
        model.strength(count, csr.shape[1]).astype(csr.dtype),
        np.unique(bounds),
        max(1, min(n_threads, int(work[-1] // THREAD_WORK))),
    )


def _solve(model, rows, side, design, gram_diagonal, solution, n_steps, precision):
    """Solve the rows of one side in place; returns what they minimise, summed."""
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
    """The users' table for some rows, the items' table being given; solved to full precision.

    Implicit feedback needs items whose factors are orthogonal to each other, ``squares`` being
    their squared lengths.
    """
    users = model.table(csr.shape[0], USER, items.dtype)
    precision = np.finfo(items.dtype).eps ** 2 * 10
    n_steps = 10 * items.shape[1]  # for ill-conditioned rows; most need as many as 20
    rows = _rows(model, csr, n_threads)
    objective = _solve(model, rows, USER, items, squares, users, n_steps, precision)
    if not np.isfinite(objective):
        raise ValueError(f"X has values that are too large for {items.dtype}; scale them.")
    return users


def train(model, csr, items, settings, progress):
    """Factorize by alternating between users and items; returns the items and the history.

    ``items`` is their table to start from. Of implicit feedback both tables are turned before
    each half-step so that the factors held are orthogonal: all their unobserved cells together
    then are penalties of single coordinates.
    """
    by_column = csr.T.tocsr()
    sides = [
        _rows(model, csr, settings.n_threads),
        _rows(model, by_column, settings.n_threads),
    ]
    tables = [model.table(csr.shape[0], USER, csr.dtype), items]

    def sweep():
        for side in (USER, ITEM):
            objective = _half_step(model, sides, tables, side)
        return objective / csr.nnz

    history = run_sweeps(sweep, settings, progress, problem.check_finite)
    return tables[ITEM], history


def _half_step(model, sides, tables, side):
    """Solve one side; returns the objective after it."""
    other = 1 - side
    squares = 0
    if model.is_implicit:
        n_threads = sides[side].n_threads
        squares, turning = principal_axes(model, tables[other], n_threads)
        for table in tables:
            turn(table, turning, n_threads)
    objective = _solve(model, sides[side], side, tables[other], squares, tables[side], N_STEPS, 0)
    return objective + model.penalty(tables[other], other, sides[other].strength)
