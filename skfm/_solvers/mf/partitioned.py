"""Alternating least squares with the users in partitions, which never move.

The users' half-step is that of one machine, partition by partition. The conjugate gradients of
the items' half-step need sums over all users: each partition sums over its own entries, and the
partial sums are added in a fixed order. All else happens here. For given partitions, the result is
the same bit for bit wherever these are; other partitions change the rounding only.
"""

from dataclasses import dataclass

import numpy as np

from skfm._kernels.ridge import add_gradients, add_squares
from skfm._kernels.structs import Entries
from skfm._solvers.mf import als, problem
from skfm._solvers.mf.principal_axes import axes_of, gram_matrix, principal_axes, rotate
from skfm._solvers.mf.problem import ITEM, USER
from skfm._solvers.training import run_sweeps
from skfm._utils.checkpoint import NO_CHECKPOINT


@dataclass
class Block:
    """A partition: its entries by user and by item."""

    users: als.Rows
    by_item: Entries


def make_block(model, csr):
    """A `Block` of the rows of some users."""
    return Block(als.rows_of(model, csr, 1), problem.entries_of(csr.T.tocsr(), model.is_implicit))


class _Tables:
    """The table of the items, and those of the users in their partitions."""

    def __init__(self, users, items):
        self.users = users  # States
        self.items = items  # replaced and not changed: users may still need it to be made again

    def snapshot(self):
        return {"users": self.users.snapshot(), "items": self.items}

    def restore(self, snapshot):
        self.users.restore(snapshot["users"])
        self.items = snapshot["items"]

    def turn(self, rotation):
        self.items = self.items.copy()
        rotate(self.items, rotation, 1)


def train(
    model,
    blocks,
    items,
    counts,
    n_users,
    settings,
    progress,
    listener=None,
    checkpoint=NO_CHECKPOINT,
):
    """Factorize as `als.train` does; returns the items and the history.

    Parameters
    ----------
    blocks : Partitions
        Of what `make_block` returns.
    items : ndarray
        The items' table to start from.
    counts : ndarray of int of shape (n_items,)
        The number of entries of each item.
    n_users : int
    """
    tables = _Tables(blocks.states(), items)
    strength = model.strength(counts, n_users).astype(items.dtype)
    n_entries = int(counts.sum())

    def sweep():
        _solve_users(model, tables)
        return _solve_items(model, tables, strength, counts > 0) / n_entries

    history = run_sweeps(
        sweep,
        settings,
        progress,
        problem.check_finite,
        parameters=lambda: tables.items,
        listen=listener,
        checkpoint=checkpoint,
        parts={"tables": tables},
    )
    return tables.items, history


def _solve_users(model, tables):
    squares, rotation = 0, None
    if model.is_implicit:
        squares, rotation = principal_axes(model, tables.items, 1)
        tables.turn(rotation)
    tables.users.advance(_improved_users, model, tables.items, squares, rotation)


def _solve_items(model, tables, strength, has_entries):
    """Improve the items by conjugate gradients, as `solve_rows` does; returns the objective."""
    dtype, squares = tables.items.dtype, 0
    if model.is_implicit:
        squares, rotation = axes_of(model, tables.users.sum(_gram_of_users), dtype)
        tables.turn(rotation)
        tables.users.advance(_turned_users, rotation)
    ridge = model.ridge(ITEM, squares, dtype)
    penalty = ridge.fixed + strength[:, None] * ridge.scaled
    point = tables.items.copy()
    penalty_of_users, diagonal, residual, loss = tables.users.sum(_first_sums, model, point)
    inverse = ridge.free / (diagonal + penalty)
    residual = residual - penalty * point
    value = (loss + _row_sums(ridge.free * penalty * point, point)) / 2
    direction = inverse * residual
    product = _row_sums(residual, direction)
    value += 0 * product  # an overflow makes it NaN
    limits = np.finfo(dtype)
    is_active = has_entries & (product > limits.tiny / limits.eps)
    for step in range(als.N_STEPS):
        if not is_active.any():
            break
        direction[~is_active] = 0
        change = tables.users.sum(_products, direction) - penalty * direction
        curvature = -_row_sums(direction, change)
        value += 0 * curvature
        is_active &= curvature > 0  # otherwise, the residual is a rounding error
        length = _ratio(product, curvature, is_active)
        value -= length * product / 2
        point += length[:, None] * direction
        residual += length[:, None] * change
        if step + 1 < als.N_STEPS:
            last, product = product, _row_sums(inverse * residual, residual)
            is_active &= product > limits.tiny / limits.eps
            direction = inverse * residual + _ratio(product, last, is_active)[:, None] * direction
    point[~has_entries] *= 1 - ridge.free
    tables.items = point
    return value[has_entries].sum(dtype=np.float64) + penalty_of_users


def _row_sums(first, second):
    return np.einsum("uf,uf->u", first, second)


def _ratio(numerator, denominator, where):
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=where)


# Functions of a block, of its users' table, and of what is shared


def _improved_users(block, users, model, items, squares, rotation):
    if users is None:
        users = model.table(block.users.strength.size, USER, items.dtype)
    else:
        users = users.copy()
        if rotation is not None:
            rotate(users, rotation, 1)
    als.solve(model, block.users, USER, _usable(items), squares, users, als.N_STEPS, 0)
    return users


def _turned_users(block, users, rotation):
    users = users.copy()
    rotate(users, rotation, 1)
    return users


def _gram_of_users(block, users):
    return gram_matrix(_usable(users), 1)


def _first_sums(block, users, model, items):
    """The users' penalty, and for each item the diagonal, the gradient and the squared loss."""
    users, items = _usable(users), _usable(items)
    diagonal, loss = np.zeros_like(items), np.zeros(len(items), items.dtype)
    add_squares(0, len(items), block.by_item, users, diagonal)
    gradient = _gradients(block, users, items, 1, loss)
    return model.penalty(users, USER, block.users.strength), diagonal, gradient, loss


def _products(block, users, direction):
    loss = np.zeros(len(direction), direction.dtype)
    return _gradients(block, _usable(users), _usable(direction), 0, loss)


def _gradients(block, users, items, goal, loss):
    gradient = np.zeros_like(items)
    kind = items.dtype.type
    add_gradients(0, len(items), block.by_item, users, kind(goal), items, gradient, loss)
    return gradient


def _usable(table):
    """A table that can be written to, as for one machine: kernels are compiled for such tables."""
    return table if table.flags.writeable and table.flags.aligned else table.copy()
