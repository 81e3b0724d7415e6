"""What MFRecommender takes where its parameters are "auto": rules in the shape of the matrix.

The constants were chosen together on inner splits of nine data sets with densities from 0.07 to
4 %; `python benchmarks/defaults.py --part mf` compares with a search.
"""

import math
from dataclasses import dataclass

import numpy as np

LARGE_CATALOGUE = 5000  # items, beyond which more components are worth their time
UNOBSERVED_PULL = 4.0  # of all unobserved cells together, relative to that of those stored
PENALTY, POWER = 2.9, 0.4
LARGEST_PENALTY, LARGEST_SHRINKAGE = 0.16, 0.5


@dataclass(frozen=True)
class Defaults:
    n_components: int
    alpha: float
    nu: float
    unobserved_weight: float


EXPLICIT = Defaults(n_components=32, alpha=1.2, nu=0.5, unobserved_weight=0.0)


def implicit_defaults(csr, unobserved_weight="auto"):
    """What suits a matrix of confidences.

    A row or a column without cells has a vector of 0, so its cells pull at nothing and do not
    count.

    The penalty is what a singular value must exceed to be more than noise. Those of a matrix of
    noise grow with the roots of the mean number of cells of a row and of a column; ``noise`` is
    the sum of these, for each cell. Many items fall into many kinds, each of which is a weak
    signal, so the penalty is smaller for large catalogues. It has an upper bound, for at a
    ``shrinkage`` of 1 all vectors are 0. Unobserved cells shrink vectors, too, so the penalty for
    each cell that counts is smaller where they weigh more.
    """
    tiny = float(np.finfo(np.float64).tiny)
    n_rows = int(np.count_nonzero(np.diff(csr.indptr)))
    n_columns = np.unique(csr.indices).size
    density = csr.nnz / (n_rows * n_columns)
    largest = float(csr.data.max())  # divided out first, so that no sum overflows
    mean = max(largest * float(np.mean(csr.data / largest, dtype=np.float64)), tiny)
    weight = unobserved_weight
    if weight == "auto":
        weight = max(UNOBSERVED_PULL * density * mean, tiny)
    weight = float(weight)
    pull = weight / density / mean  # of unobserved cells together, relative to those stored
    noise = math.sqrt(n_rows / csr.nnz) + math.sqrt(n_columns / csr.nnz)
    shrinkage = noise * min(LARGEST_PENALTY, PENALTY / n_columns**POWER)
    shrinkage *= UNOBSERVED_PULL - (UNOBSERVED_PULL - 1) / (1 + pull / UNOBSERVED_PULL)
    return Defaults(
        n_components=min(256 if n_columns > LARGE_CATALOGUE else 128, *csr.shape),
        alpha=max(min(LARGEST_SHRINKAGE, shrinkage) * mean / (1 + pull * mean), tiny),
        nu=1.0,
        unobserved_weight=weight,
    )
