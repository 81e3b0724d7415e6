"""What MFRecommender takes where its parameters are "auto".

For implicit feedback this depends on the matrix. The constants were chosen together on inner
splits of nine data sets with densities from 0.07 to 4 %: see benchmarks/defaults_recommenders.py.
"""

from dataclasses import dataclass

import numpy as np

N_COMPONENTS = 128
UNOBSERVED_PULL = 4.0  # of all unobserved cells together, relative to that of those stored
PENALTY, LARGEST_PENALTY = 11.0, 0.1


@dataclass(frozen=True)
class Strengths:
    n_components: int
    alpha: float
    nu: float
    unobserved_weight: float


EXPLICIT = Strengths(n_components=32, alpha=1.2, nu=0.5, unobserved_weight=0.0)


def implicit_strengths(csr, unobserved_weight="auto"):
    """What suits a matrix of confidences.

    A row or a column without cells has a vector of 0, so its cells pull at nothing and do not
    count. The more cells there are, the smaller the penalty is, for each of them, since there is
    more to tell signal from noise by. It has an upper bound: from 0.2 on, all vectors would be 0.
    Unobserved cells shrink vectors, too, so the penalty is smaller where they weigh more.
    """
    n_rows = np.count_nonzero(np.diff(csr.indptr))
    n_columns = np.unique(csr.indices).size
    largest = float(csr.data.max())  # divided out first, so that no sum overflows
    mean = largest * float(np.mean(csr.data / largest, dtype=np.float64))
    balanced = UNOBSERVED_PULL * (csr.nnz / (n_rows * n_columns)) * mean
    balanced = float(max(balanced, np.finfo(np.float64).tiny))
    weight = balanced if unobserved_weight == "auto" else float(unobserved_weight)
    return Strengths(
        n_components=min(N_COMPONENTS, *csr.shape),
        alpha=float(min(LARGEST_PENALTY, PENALTY / np.sqrt(csr.nnz)) / (1 + weight / balanced)),
        nu=1.0,
        unobserved_weight=weight,
    )
