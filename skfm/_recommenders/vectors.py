"""Vectors of users and items whose products are the scores."""

from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy import sparse

from skfm._solvers.top_k import Tiles, make_tiles
from skfm._utils.memory import aligned_zeros

GROUP = 4  # the kernels take coordinates in groups of so many
PAIRS = 1 << 18  # multiplied together


class RowVectors(NamedTuple):
    """Vectors of rows of X.

    The score of an item is its product with a row's vector, times ``scale``, plus the row's
    ``offset``.
    """

    table: np.ndarray  # (n_rows, width)
    scale: np.floating
    offset: np.ndarray  # (n_rows,)

    def scores_of_pairs(self, item_table, rows, items):
        """Scores of pairs of a row and an item; -1 is an item of which nothing is known."""
        return products(self.table, item_table.table, rows, items) * self.scale + self.offset[rows]

    def scores(self, products):
        """Scores, the products of each row with some items being given."""
        return products * self.scale + self.offset[:, None]


class UnitVectors(NamedTuple):
    """Vectors divided by their lengths, so that their products are cosines."""

    table: np.ndarray  # (n, width)
    tiles: Tiles  # the same for the kernel that ranks them


def unit_vectors(vectors):
    """Vectors divided by their lengths; zeros stay zeros."""
    if vectors.shape[1] == 0:
        raise ValueError("The model has n_components=0, so there are no vectors to compare.")
    length = np.sqrt(np.einsum("if,if->i", vectors, vectors))
    table = padded(vectors / np.where(length > 0, length, 1)[:, None])
    return UnitVectors(table, make_tiles(table))


class ItemTable:
    """Vectors of all items, laid out for the kernels that multiply and rank them.

    A fit prepares both layouts once, and the first question for similar items or users prepares
    the rest; pickles leave all of them out.

    Parameters
    ----------
    coordinates : ndarray of shape (n_items + 1, n_coordinates)
        The last row, where -1 finds it, is an item of which nothing is known.
    factors : slice
        The coordinates that are factors, neither biases nor constants.
    """

    def __init__(self, coordinates, factors):
        self.table = padded(coordinates)  # (n_items + 1, width)
        self.coordinates = self.table[:, : coordinates.shape[1]]  # without the padding
        self.factors = factors
        self.tiles = make_tiles(self.table[:-1])

    def __getstate__(self):
        """Without what questions have prepared: a model that was asked is still the same model."""
        prepared = "unit_vectors", "used_factors"
        return {name: value for name, value in vars(self).items() if name not in prepared}

    @property
    def n_items(self):
        return len(self.table) - 1

    @cached_property
    def unit_vectors(self):
        """The items' factors alone, to be compared with each other."""
        return unit_vectors(self.table[:-1, self.factors])

    @cached_property
    def used_factors(self):
        """Whether any item has a factor; what none has tells nothing about users."""
        return self.table[:-1, self.factors].any(axis=0)

    def select(self, positions):
        """Tiles of some of the items; of all of them if ``positions`` is None."""
        return self.tiles if positions is None else make_tiles(self.table[positions])


def padded(*parts):
    """Columns side by side, with columns of zeros up to a multiple of `GROUP`."""
    width = sum(part.shape[1] for part in parts)
    table = aligned_zeros((len(parts[0]), -(-width // GROUP) * GROUP), parts[0].dtype)
    np.concatenate(parts, axis=1, out=table[:, :width])
    return table


def products(rows, columns, row, column):
    """Products of pairs of rows of two tables, some pairs at a time."""
    products = np.empty(row.size, rows.dtype)
    for start in range(0, row.size, PAIRS):
        block = slice(start, start + PAIRS)
        np.einsum("pf,pf->p", rows[row[block]], columns[column[block]], out=products[block])
    return products


def with_empty_row(X):
    """CSR with one more row, where -1 finds it: an unknown row has no entries."""
    indptr = np.append(X.indptr, X.indptr[-1:])
    return sparse.csr_matrix((X.data, X.indices, indptr), shape=(X.shape[0] + 1, X.shape[1]))
