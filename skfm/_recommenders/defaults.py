"""Values of MFRecommender's parameters for "auto": rules in the shape of the matrix.

The constants were chosen together on inner splits of nine data sets with densities from 0.07 to
4 %; `python benchmarks/defaults.py --part mf` compares with a search.
"""

import math
from dataclasses import dataclass

import numpy as np

LARGE_CATALOGUE = 5000  # items; beyond, more components are worth their time
UNOBSERVED_PULL = 4.0  # of all unobserved entries together, relative to stored ones
PENALTY, POWER = 2.9, 0.4
LARGEST_PENALTY, LARGEST_SHRINKAGE = 0.16, 0.5


@dataclass(frozen=True)
class Defaults:
    n_components: int
    alpha: float
    nu: float
    unobserved_weight: float


@dataclass(frozen=True)
class Extent:
    """The size of a matrix, and how much of it is filled."""

    shape: tuple
    n_entries: int
    n_rows: int  # with entries
    n_columns: int
    mean: float  # of the entries


def extent_of(csr):
    largest = float(csr.data.max())  # divided out first, so that no sum overflows
    return Extent(
        shape=csr.shape,
        n_entries=csr.nnz,
        n_rows=int(np.count_nonzero(np.diff(csr.indptr))),
        n_columns=np.unique(csr.indices).size,
        mean=largest * float(np.mean(csr.data / largest, dtype=np.float64)),
    )


EXPLICIT = Defaults(n_components=32, alpha=1.2, nu=0.5, unobserved_weight=0.0)


def unless_auto(value, default):
    """The value of a parameter, or its default if it is "auto"."""
    return default if isinstance(value, str) else value


def implicit_defaults(extent, unobserved_weight="auto"):
    """Defaults for a matrix of confidences of this extent.

    Rows and columns without entries have vectors of 0, so their entries have no effect and do not
    count.

    The penalty is a threshold that singular values must exceed to be more than noise. The singular
    values of a noise matrix grow with the square roots of the mean numbers of entries of rows and
    of columns; ``noise`` is the sum of both, per entry. Many items fall into many groups, each of
    which is a weak signal, so the penalty is smaller for large catalogues. It has an upper bound,
    because at a ``shrinkage`` of 1 all vectors are 0. Unobserved entries shrink vectors as well,
    so the penalty per entry is smaller where they have more weight.
    """
    tiny = float(np.finfo(np.float64).tiny)
    n_rows, n_columns, nnz = extent.n_rows, extent.n_columns, extent.n_entries
    density = nnz / (n_rows * n_columns)
    mean = max(extent.mean, tiny)
    weight = float(unless_auto(unobserved_weight, max(UNOBSERVED_PULL * density * mean, tiny)))
    pull = weight / density / mean  # of unobserved entries together, relative to those stored
    noise = math.sqrt(n_rows / nnz) + math.sqrt(n_columns / nnz)
    shrinkage = noise * min(LARGEST_PENALTY, PENALTY / n_columns**POWER)
    shrinkage *= UNOBSERVED_PULL - (UNOBSERVED_PULL - 1) / (1 + pull / UNOBSERVED_PULL)
    return Defaults(
        n_components=min(256 if n_columns > LARGE_CATALOGUE else 128, *extent.shape),
        alpha=max(min(LARGEST_SHRINKAGE, shrinkage) * mean / (1 + pull * mean), tiny),
        nu=1.0,
        unobserved_weight=weight,
    )
