"""A matrix to factorize: its entries by row and by column, penalties and tables of parameters.

A table holds one row of parameters for each user (row of the matrix), another for each item
(column), so that a score, less the mean, is the product of their rows. With biases, coordinate 0
is the item's bias beside the user's 1, and coordinate 1 the user's bias beside the item's 1; the
factors follow. Tables are padded with zeros to whole vectors.
"""

from dataclasses import dataclass

import numpy as np

from skfm._kernels.structs import Entries, Ridge
from skfm._utils.memory import aligned_zeros, read_only
from skfm._utils.pickling import Versioned

VECTOR_BYTES = 32  # rows of tables are padded with zeros to whole vectors of this size
USER, ITEM = 0, 1


@dataclass
class Model(Versioned):
    """The objective; the matrix has been standardized."""

    n_components: int
    is_implicit: bool
    has_bias: bool
    alpha: float
    alpha_bias: float
    nu: float
    unobserved_weight: float

    @property
    def n_held(self):
        """The number of coordinates before the factors."""
        return 2 if self.has_bias else 0

    @property
    def factor_columns(self):
        return slice(self.n_held, self.n_held + self.n_components)

    def width(self, dtype):
        vector = VECTOR_BYTES // np.dtype(dtype).itemsize
        return max(1, -(-(self.n_held + self.n_components) // vector)) * vector

    def table(self, n, side, dtype):
        """A table of zeros, with ones in the coordinate that multiplies the other side's bias."""
        table = aligned_zeros((n, self.width(dtype)), dtype)
        if self.has_bias:
            table[:, side] = 1
        return table

    def factors(self, table):
        return table[:, self.factor_columns]

    def bias(self, table, side):
        return table[:, 1 - side]

    def ridge(self, side, gram_diagonal, dtype):
        """Penalties of one side's coordinates; ``gram_diagonal`` is that of the other side."""
        fixed = np.ones(
            self.width(dtype), dtype
        )  # 1 for the padding, where any positive number would do
        scaled = np.zeros(self.width(dtype), dtype)
        free = np.zeros(self.width(dtype), dtype)
        factors = self.factor_columns
        fixed[factors] = self.unobserved_weight * gram_diagonal if self.is_implicit else 0
        scaled[factors] = free[factors] = 1
        if self.has_bias:
            fixed[1 - side], free[1 - side] = self.alpha_bias, 1
        return Ridge(fixed, scaled, free)

    def strength(self, count, n_others):
        """Penalties of the factors of rows with ``count`` of ``n_others`` possible entries."""
        if self.is_implicit:
            count = count + self.unobserved_weight * n_others
        return self.alpha * np.maximum(count, 1) ** self.nu

    def penalty(self, table, side, strength):
        """The penalty of a table: half its weighted sum of squares."""
        squares = np.einsum("uf,uf->u", self.factors(table), self.factors(table))
        total = squares @ strength
        if self.has_bias:
            bias = self.bias(table, side).astype(np.float64)
            total += self.alpha_bias * (bias @ bias)
        return total / 2


def entries_of(matrix, is_confidence):
    """The entries of a CSR or CSC matrix, by row or by column, as the kernels take them."""
    indptr = matrix.indptr.astype(np.int64, copy=False)
    return Entries(*map(read_only, (indptr, matrix.indices, matrix.data)), is_confidence)


def check_finite(values):
    if not np.isfinite(values).all():
        raise ValueError(
            "Training diverged: the parameters are no longer finite. Scale X, lower init_scale, "
            "raise alpha, or pass X in float64."
        )
