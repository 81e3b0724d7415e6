"""Detection of one-hot fields: adjacent columns of which no row has two."""

import numpy as np

from skfm._kernels.coloring import color_consecutive_columns
from skfm._utils.memory import read_only

LEAST_SHARE = 0.5  # of the rows


def find_fields(X, count, total):
    """Runs of adjacent columns of which no row has two and most rows have one.

    ``count`` are the weights of the rows with each column of the CSR matrix, ``total`` is the
    weight of all rows. Returns an array of columns for each run. Runs are maximal, and where they
    overlap, the run with more rows takes precedence. So if every row has one column of a field,
    the field is found exactly.
    """
    n_features = X.shape[1]
    before = np.zeros(n_features, dtype=np.int64)
    position, blocks = np.arange(n_features, dtype=np.uint32), np.empty(n_features, np.int64)
    color_consecutive_columns(
        X.indptr.astype(np.int64), read_only(X.indices), position, before, blocks
    )
    start = np.maximum.accumulate(before)  # of the longest run that ends with each column
    last = np.flatnonzero(np.diff(start, append=n_features))
    first = start[last]
    sums = np.append(0, np.cumsum(count))
    share = (sums[last + 1] - sums[first]) / total
    is_free, found = np.ones(n_features, dtype=bool), []
    for number in np.argsort(-share, kind="stable"):
        if share[number] <= LEAST_SHARE:
            break
        columns = np.arange(first[number], last[number] + 1)
        columns = columns[is_free[columns]]
        if count[columns].sum() > LEAST_SHARE * total:
            is_free[columns] = False
            found.append(columns)
    return found
