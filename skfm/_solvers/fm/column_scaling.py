"""Scaling and centering of the columns of X."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import sparse

from skfm._kernels.features import measure_features
from skfm._solvers.fm.penalties import of_used
from skfm._utils.memory import read_only
from skfm._utils.pickling import Versioned

STIFF = 4.0  # upper bound of the smaller penalty of a scaled feature, for each of its rows
RARE = 10  # entries, below which a feature is rare
TINY = np.finfo(np.float64).tiny
LARGEST = 1e30  # upper bound of penalties where they determine the scale of features
FAR = 3.0  # standard deviations between zero and the mean of a column that is centered


class RowsInUnits(NamedTuple):
    """Scaled rows, whose columns are the used ones followed by others that occur in the rows."""

    X: sparse.csr_matrix
    used: np.ndarray
    others: np.ndarray


@dataclass
class Scaling(Versioned):
    """The scaling of the columns that occur in earlier rows."""

    used: np.ndarray
    count: np.ndarray
    center: np.ndarray
    scale: np.ndarray
    seen_weight: float

    @property
    def centered(self):
        """The columns from which a center is subtracted."""
        return self.used[self.center != 0]

    def centers(self, n_features):
        """The centers of all columns, 0 for most."""
        centers = np.zeros(n_features)
        centers[self.used] = self.center
        return centers

    def apply(self, X):
        """Scale new rows. Columns that were not used before keep their units."""
        X = fill(X, self.centered)
        occurs = np.zeros(X.shape[1], dtype=bool)
        occurs[X.indices] = True
        occurs[self.used] = False
        others = np.flatnonzero(occurs)
        columns = np.append(self.used, others)
        place = np.zeros(X.shape[1], dtype=np.int64)
        place[columns] = np.arange(columns.size)
        places = place[X.indices]
        center = np.append(self.center, np.zeros(others.size))
        scale = np.append(self.scale, np.ones(others.size))
        data = (X.data - center[places]) / scale[places]
        shape = X.shape[0], columns.size
        X = sparse.csr_matrix((data, places, X.indptr), shape)
        return RowsInUnits(X, self.used, others)


class ColumnSums(NamedTuple):
    """Sums over the rows with an entry in a column: of weights, weighted values and squares."""

    count: np.ndarray
    total: np.ndarray
    square: np.ndarray  # of centered values


def measure_columns(X, weight, center, sums=None):
    """Sums over the rows of each column; ``weight`` is empty where every row weighs 1.

    They are added to ``sums``, if given.
    """
    if sums is None:
        if not weight.size and not center.any() and (X.data == 1).all():
            count = np.bincount(X.indices, minlength=X.shape[1]).astype(np.float64)
            return ColumnSums(count, count.copy(), count.copy())
        sums = ColumnSums(*np.zeros((3, X.shape[1])))
    indptr = X.indptr.astype(np.int64)
    measure_features(indptr, read_only(X.indices), read_only(X.data), weight, center, *sums)
    if not np.isfinite(sums.square).all():
        raise ValueError(
            f"Column {np.flatnonzero(~np.isfinite(sums.square))[0]} of X (counted from 0) has "
            "values that are too large to be squared; scale X, for example with "
            "sklearn.preprocessing.MaxAbsScaler, or sample_weight if that is what is large."
        )
    return sums


class UsedColumns(NamedTuple):
    """The columns that a problem uses, and what was measured."""

    used: np.ndarray
    count: np.ndarray  # as in `ColumnSums`, of these columns
    square: np.ndarray
    center: np.ndarray
    mean_row_length: float
    n_features: int  # in all


def choose_columns(X, weight, total_weight, *, may_center, earlier):
    """Choose the columns that are used, and their centers; ``earlier`` is a `Scaling` or None.

    Returns the rows with the entries of these columns alone, and the `UsedColumns`.
    """
    center = np.zeros(X.shape[1])
    if earlier is not None:
        X, center = fill(X, earlier.centered), earlier.centers(X.shape[1])
    sums = measure_columns(X, weight, center)
    if earlier is None and may_center:
        center, sums = center_columns(X, weight, sums, total_weight)
    is_used = that_matter(sums, X.dtype)
    mean_row_length = float(sums.count[is_used].sum() / total_weight)
    if earlier is not None:
        is_used[earlier.used] = True
    if ((sums.count > 0) & ~is_used).any():
        X = only_columns(X, is_used)
    return X, used_columns(is_used, sums, center, mean_row_length)


def that_matter(sums, dtype):
    """Which columns matter: not those whose squares underflow, which count as unused."""
    return sums.square > 1e6 * np.finfo(dtype).tiny * sums.count


def used_columns(is_used, sums, center, mean_row_length):
    used = np.flatnonzero(is_used)
    return UsedColumns(
        used, sums.count[used], sums.square[used], center[used], mean_row_length, is_used.size
    )


def center_columns(X, weight, sums, total_weight):
    """The centers of columns that are far from zero in every row, and the sums after centering."""
    full = full_columns(sums.count, total_weight)
    if full.size:  # including rows of negligible weight
        full = full[np.bincount(X.indices, minlength=X.shape[1])[full] == X.shape[0]]
    center = far_centers(sums, full, X.dtype)
    if not center.any():
        return center, sums
    return without_constants(center, sums, measure_columns(X, weight, center).square)


def full_columns(count, total_weight):
    """The columns with entries in all rows, but perhaps some of negligible weight."""
    return np.flatnonzero(count > (1 - 1e-9) * total_weight)


def far_centers(sums, full, dtype):
    """Centers of the columns that are far from zero, among those with entries in all rows."""
    center = np.zeros(sums.count.size)
    mean = sums.total[full] / sums.count[full]
    spread = np.maximum(sums.square[full] / sums.count[full] - mean**2, 0)
    is_far = mean**2 > FAR**2 * spread
    center[full[is_far]] = mean[is_far].astype(dtype)
    return center


def without_constants(center, sums, centered):
    """The centers but those of constant columns, and the sums with the ``centered`` squares.

    A constant column would be zero if it were centered.
    """
    center = np.where(centered <= 1e-24 * sums.square, 0.0, center)
    return center, sums._replace(square=np.where(center != 0, centered, sums.square))


def least_sizes(given, interactions, count, square, used):
    """Lower bounds of the scales of used features.

    With given penalties, they limit the smaller penalty of a scaled feature to STIFF for each row.
    Penalties that are found during training refer to scaled features already. There, the bound of
    rare features is their common root mean square, since their few entries may be small by chance.
    """
    if not given.are_given:
        is_rare = count < RARE
        mean = square[is_rare].sum() / max(count[is_rare].sum(), TINY)
        return np.where(is_rare, np.sqrt(mean), 0.0)
    linear = of_used(given.linear, used) if interactions.fit_linear else np.inf
    factors = np.inf
    if interactions.n_components:
        with np.errstate(over="ignore"):  # LARGEST is taken instead
            factors = of_used(given.factors, used) * np.minimum(np.sqrt(count), LARGEST)
    least = np.minimum(np.minimum(linear, factors), LARGEST)
    if np.isinf(least).any():
        return np.zeros(count.size)
    return np.sqrt(least / (STIFF * np.maximum(count, LARGEST * TINY)))


def only_columns(X, is_used):
    """The rows with the entries of these columns alone."""
    data = X.data * is_used[X.indices]
    X = sparse.csr_matrix((data, X.indices, X.indptr), shape=X.shape, copy=True)
    X.eliminate_zeros()
    return X


def subtract(X, center):
    """CSR rows with a number subtracted from each column."""
    X = fill(X, np.flatnonzero(center))
    return sparse.csr_matrix((X.data - center[X.indices], X.indices, X.indptr), X.shape)


def fill(X, columns):
    """Add explicit zeros, so that every row has entries in these columns: centering needs them."""
    if not columns.size:
        return X
    is_wanted = np.zeros(X.shape[1], dtype=bool)
    is_wanted[columns] = True
    entries = np.flatnonzero(is_wanted[X.indices])
    if entries.size == X.shape[0] * columns.size:
        return X
    present = np.zeros((X.shape[0], columns.size), dtype=bool)
    rows = np.searchsorted(X.indptr, entries, side="right") - 1
    present[rows, np.searchsorted(columns, X.indices[entries])] = True
    rows, places = np.nonzero(~present)
    whole = X.tocoo()
    filled = sparse.coo_matrix(
        (
            np.append(whole.data, np.zeros(rows.size, X.dtype)),
            (np.append(whole.row, rows), np.append(whole.col, columns[places])),
        ),
        shape=X.shape,
    ).tocsr()
    filled.sort_indices()
    return filled
