"""The training problem as the solvers see it: only used features, each scaled to size 1."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from skfm._kernels.features import measure_features
from skfm._kernels.structs import ScaledRows
from skfm._solvers.fm.empirical_bayes import starting_penalties
from skfm._solvers.fm.interactions import Interactions
from skfm._utils.memory import largest_squared, read_only
from skfm._utils.pickling import Kept

STIFF = 4.0  # of both penalties, for a row with the feature and scaled parameters
RARE = 10  # entries
TINY = np.finfo(np.float64).tiny
LARGEST = 1e30  # of a penalty, where it says how large features are taken to be
CHUNK = 1 << 20  # entries looked at together
HIGHER = 5.0  # times init_scale: for factors of products of three features and more,
LARGEST_HIGHER = 0.5  # but no larger than this, unless init_scale is
FAR = 3.0  # standard deviations between zero and the mean of a column that is centered


@dataclass
class Problem:
    """``sum_i c_i loss(y_i, f(x_i)) + 1/2 sum_j (r_j w_j^2 + s_j |v_j|^2)`` over rows ``x_i``.

    ``indptr``, ``indices`` and ``data`` are the rows in CSR form, ``position`` maps a column to
    its rank among the ``used`` ones. A used feature's values are divided by ``scale``, their
    root mean square where they are not zero: with it AdaGrad's step means the same whatever
    the feature's unit. Where penalties are so large, or values so small, that little is left of
    the feature, ``scale`` is larger: else any step would be too long for the penalties.

    From a feature that is far from zero in every row, its mean ``center`` is subtracted before:
    else it could hardly be told from the intercept. Parameters of what comes out are called
    scaled.
    """

    indptr: np.ndarray
    indices: np.ndarray
    data: np.ndarray
    target: np.ndarray
    weight: np.ndarray  # empty where every row weighs 1
    loss: int
    interactions: Interactions  # of all features
    used: np.ndarray
    position: np.ndarray
    count: np.ndarray  # weight of the rows with a feature, these and earlier ones
    count_before: np.ndarray  # of the earlier ones alone
    center: np.ndarray  # 0 for most
    scale: np.ndarray
    linear_penalty: np.ndarray  # r_j / scale_j^2, for scaled parameters
    factor_penalty: np.ndarray  # s_j / scale_j^2
    linear_lasso: np.ndarray  # of |w_j|, divided by scale_j
    factor_lasso: np.ndarray  # of ||v_j||
    penalty_share: np.ndarray  # (n_used, 2 or 4): these, for each unit of weight of a row with it
    mean_row_length: float  # weighted mean number of entries of a row
    seen_weight: float  # of these rows and earlier ones

    @property
    def n_rows(self):
        return self.indptr.size - 1

    @property
    def n_used(self):
        return self.used.size

    @property
    def total_weight(self):
        return float(self.weight.sum()) if self.weight.size else float(self.n_rows)

    @property
    def has_lasso(self):
        return self.penalty_share.shape[1] > 2

    @property
    def unit_values(self):
        """Whether every scaled value is 1, as in one-hot data."""
        if self.center.any():
            return False
        chunks = range(0, self.data.size, CHUNK)
        return all(
            (self.data[part] == self.scale[self.position[self.indices[part]]]).all()
            for part in (slice(first, first + CHUNK) for first in chunks)
        )

    def scaled_source(self):
        """The rows as the kernels take them."""
        return ScaledRows(
            self.indptr, self.indices, self.data, self.position, self.center, 1 / self.scale
        )

    def random_factors(self, n_outputs, n, scale, rng):
        """For some features. They are the smaller the longer rows are: so rows start alike.

        Those of higher degrees are larger: their products are up to HIGHER^2 times as large as
        those of pairs. From near zero, where products of three have no slope and no curvature,
        only the penalty would be felt.
        """
        degrees = self.interactions.degrees
        factors = rng.standard_normal((n_outputs, n, degrees.size))
        higher = max(scale, min(HIGHER * scale, LARGEST_HIGHER))
        scale = np.where(degrees > 2, higher, scale)
        factors *= scale ** (2 / degrees) / np.sqrt(max(self.mean_row_length, 1.0))
        return factors.astype(self.data.dtype)

    def chunk_count(self):
        """The weight of these rows alone with each used feature, be they new or not."""
        weight = self.weight if self.weight.size else np.ones(self.n_rows)
        per_entry = np.repeat(weight.astype(np.float64), np.diff(self.indptr))
        return np.bincount(self.position[self.indices], per_entry, self.n_used)

    def scaled_rows(self, chosen=slice(None), own_group=None, n_groups=1):
        """Some rows as the solvers see them, in float64.

        With interaction groups, each row is split into one row for each group, one after the
        other: all sums by group are then one matrix product.
        """
        rows = sparse.csr_array(
            (self.data, self.indices, self.indptr), (self.n_rows, self.position.size)
        )[chosen]
        places = self.position[rows.indices].astype(np.int64)
        data = (rows.data - self.center[places].astype(np.float64)) / self.scale[places]
        if n_groups == 1:
            return sparse.csr_array((data, places, rows.indptr), (rows.shape[0], self.n_used))
        row = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
        row = row * n_groups + own_group[places]
        shape = rows.shape[0] * n_groups, self.n_used
        return sparse.csr_array((data, (row, places)), shape=shape)

    def set_penalties(self, factors, linear):
        """Other penalties of scaled parameters, in place; None leaves them as they are."""
        largest = largest_squared(self.penalty_share.dtype)
        for column, penalty, given in (
            (0, self.linear_penalty, linear),
            (1, self.factor_penalty, factors),
        ):
            if given is not None:
                penalty[:] = np.minimum(given, largest)
                self.penalty_share[:, column] = penalty / self.count

    def scaling(self):
        """What to pass on to the problem of further rows."""
        return Scaling(self.used, self.count, self.center, self.scale, self.seen_weight)

    def to_centered(self, intercept, linear, factors):
        """Parameters of the used features as those of the features less their centers.

        ``(x_i - m_i) (x_j - m_j)`` differs from ``x_i x_j`` by linear terms and a constant.
        """
        if not self.center.any():
            return intercept, linear
        linear, constant = self._shift(linear, factors, 1)
        return intercept + linear @ self.center.astype(np.float64) - constant, linear

    def from_centered(self, intercept, linear, factors):
        """The other way round: intercept and linear weights of the features as they are."""
        if not self.center.any():
            return intercept, linear
        moved, constant = self._shift(linear, factors, -1)
        return intercept - linear @ self.center.astype(np.float64) + constant, moved

    def unscaled(self, linear, factors):
        """Parameters of the used features less their centers, in float64, of those of scaled
        ones."""
        scale = self.scale.astype(np.float64)
        return linear / scale, factors / scale[:, None]

    def _shift(self, linear, factors, sign):
        center = self.center.astype(np.float64)
        pull = self.interactions.pull(self.used, center, factors.astype(np.float64))
        return linear + sign * pull, pull @ center / 2


@dataclass
class Scaling(Kept):
    """What earlier rows said of the columns that they used."""

    used: np.ndarray
    count: np.ndarray
    center: np.ndarray
    scale: np.ndarray
    seen_weight: float

    def apply(self, X):
        """New rows as the solvers see them, in the used columns and then in others that occur,
        which keep their units. Returns also which others these are."""
        X = _fill(X, self.used[self.center != 0])
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
        return sparse.csr_matrix((data, places, X.indptr), (X.shape[0], columns.size)), others


@dataclass
class Penalties:
    """Numbers, or arrays with one for each feature: of squares, and of absolute values.

    None stands for squares' penalties that are to be found: see evidence.py.
    """

    factors: float | np.ndarray | None
    linear: float | np.ndarray | None
    factor_lasso: float = 0.0
    linear_lasso: float = 0.0

    @property
    def lasso(self):
        return bool(np.any(self.factor_lasso) or np.any(self.linear_lasso))

    @property
    def finds(self):
        return self.factors is None, self.linear is None


def _penalties(given, start, used, root, inverse_scale, dtype):
    """(n_used, 4): ridge of the linear weight and the factors, lasso of both; for scaled ones.

    ``start`` are those of factors and linear weights, scaled ones, that are not given.
    """
    penalty = np.zeros((used.size, 4))
    of_factors, of_linear = start
    for column, value, exponent in (
        (0, *((given.linear, 2) if given.linear is not None else (of_linear, 0))),
        (1, *((given.factors, 2) if given.factors is not None else (of_factors, 0))),
        (2, given.linear_lasso, 1),
        (3, given.factor_lasso, 1),
    ):
        penalty[:, column] = _of_used(value, used) * inverse_scale**exponent
    penalty[:, [1, 3]] *= root[:, None]
    # Larger ones do the same, as they leave nothing; but their squares are no numbers.
    return np.minimum(penalty, largest_squared(dtype))


def _of_used(value, used):
    """One value for all features, or those of the used ones."""
    return value if np.ndim(value) == 0 else np.asarray(value)[used]


def _least_size(given, interactions, count, square, used):
    """How large used features are taken to be at least.

    So that the lesser of their penalties is STIFF a row. Penalties that are found are those of
    scaled features, though. A feature's few entries may be small by chance: then it is as large as
    such features are.
    """
    if any(given.finds):
        is_rare = count < RARE
        mean = square[is_rare].sum() / max(count[is_rare].sum(), TINY)
        return np.where(is_rare, np.sqrt(mean), 0.0)
    linear = _of_used(given.linear, used) if interactions.fit_linear else np.inf
    factors = np.inf
    if interactions.n_components:
        factors = _of_used(given.factors, used) * np.minimum(np.sqrt(count), LARGEST)
    least = np.minimum(np.minimum(linear, factors), LARGEST)
    if np.isinf(least).any():
        return np.zeros(count.size)
    return np.sqrt(least / (STIFF * np.maximum(count, LARGEST * TINY)))


def make_problem(
    X,
    target,
    weight,
    loss,
    penalties,
    interactions,
    *,
    may_center=False,
    earlier=None,
    is_new=True,
    is_cumulative=False,
):
    """State the problem for a canonical CSR matrix without explicit zeros.

    ``r_j = alpha_linear`` as in ridge regression. ``s_j = alpha * sqrt(n_j)`` with ``n_j`` the
    weight of the rows in which feature j is not zero: the noise in what those rows say of
    ``v_j`` grows like that root, so that one alpha suits rare and frequent features, and little
    data and much.

    ``earlier`` is the scaling of a problem before, if these rows continue its: what it knows
    keeps its units, and the rows add to its counts, unless they are not new. ``is_cumulative``
    says that the solver charges at each step for all rows so far, not for those of the step.
    """
    n_features = X.shape[1]
    dtype = X.dtype
    if earlier is not None:
        X = _fill(X, earlier.used[earlier.center != 0])
    indptr = X.indptr.astype(np.int64)
    total_weight = weight.sum(dtype=np.float64) if weight.size else float(X.shape[0])
    center = np.zeros(n_features)
    if earlier is not None:
        center[earlier.used] = earlier.center
    count, total, square = _measure(X, weight, center)
    if not np.isfinite(square).all():
        raise ValueError(
            f"Column {np.flatnonzero(~np.isfinite(square))[0]} of X (counted from 0) has values "
            "that are too large to be squared; scale X, for example with "
            "sklearn.preprocessing.MaxAbsScaler, or sample_weight if that is what is large."
        )
    if may_center and interactions.may_center and earlier is None:
        center, square = _center_far_columns(X, weight, total_weight, count, total, square)
    # Columns whose values are too small to be squared count as never seen.
    occurs = count > 0
    is_used = square > 1e6 * np.finfo(dtype).tiny * count
    mean_row_length = float(count[is_used].sum() / total_weight)
    if earlier is not None:
        is_used[earlier.used] = True
    if (occurs & ~is_used).any():
        X = sparse.csr_matrix(
            (X.data * is_used[X.indices], X.indices, X.indptr), shape=X.shape, copy=True
        )
        X.eliminate_zeros()
        indptr = X.indptr.astype(np.int64)
    used = np.flatnonzero(is_used)
    position = np.zeros(n_features, dtype=np.uint32)
    position[used] = np.arange(used.size, dtype=np.uint32)
    count, before, seen_weight = count[used], np.zeros(used.size), total_weight
    size = np.maximum(
        np.sqrt(square[used]) / np.sqrt(np.maximum(count, TINY)),
        _least_size(penalties, interactions, count, square[used], used),
    )
    if earlier is not None:
        known = position[earlier.used]
        size[known], before[known] = earlier.scale, earlier.count
        count = count * is_new + before
        seen_weight = total_weight * is_new + earlier.seen_weight
    start = starting_penalties(loss, mean_row_length, used.size, seen_weight)
    penalty = _penalties(penalties, start, used, np.sqrt(count), 1 / size, dtype)
    share = penalty / count[:, None]
    if not is_cumulative:
        # Of what grows with a root, further rows bear the growth: in the end each row has borne
        # its share once. Else the first rows of a stream would press factors to 0 that its last
        # ones need.
        share[:, 1] /= 1 + np.sqrt(np.where(before < count, before, 0) / count)
    with np.errstate(over="ignore"):  # a loss that is infinite says so
        target = target.astype(dtype)
    return Problem(
        indptr=indptr,
        indices=read_only(X.indices),
        data=read_only(X.data),
        target=target,
        weight=weight,
        loss=loss,
        interactions=interactions,
        used=used,
        position=position,
        count=count,
        count_before=before,
        center=center[used].astype(dtype),
        scale=size.astype(dtype),
        linear_penalty=penalty[:, 0].copy(),
        factor_penalty=penalty[:, 1].copy(),
        linear_lasso=penalty[:, 2].copy(),
        factor_lasso=penalty[:, 3].copy(),
        penalty_share=np.ascontiguousarray(share[:, : 4 if penalties.lasso else 2], dtype),
        mean_row_length=mean_row_length,
        seen_weight=seen_weight,
    )


def _measure(X, weight, center):
    """For each column, sums over its entries: of weights, and of weighted differences from the
    center and their squares."""
    sums = np.zeros(X.shape[1]), np.zeros(X.shape[1]), np.zeros(X.shape[1])
    indptr = X.indptr.astype(np.int64)
    measure_features(indptr, read_only(X.indices), read_only(X.data), weight, center, *sums)
    return sums


def _center_far_columns(X, weight, total_weight, count, total, square):
    """Centers, 0 for most columns, and the sums of squares around them.

    Columns with an entry in each row are centered if their mean is far from 0, unless they are
    constant.
    """
    center = np.zeros(X.shape[1])
    full = np.flatnonzero(count > (1 - 1e-9) * total_weight)
    if full.size:  # also in rows of hardly any weight
        full = full[np.bincount(X.indices, minlength=center.size)[full] == X.shape[0]]
    mean = total[full] / count[full]
    spread = np.maximum(square[full] / count[full] - mean**2, 0)
    far = full[mean**2 > FAR**2 * spread]
    if not far.size:
        return center, square
    center[far] = mean[np.isin(full, far)]
    center = center.astype(X.dtype).astype(np.float64)
    _, _, centered = _measure(X, weight, center)
    constant = far[centered[far] <= 1e-24 * square[far]]
    center[constant] = 0  # nothing would be left of it
    return center, np.where(center != 0, centered, square)


def subtract(X, center):
    """CSR rows less a number for each column."""
    X = _fill(X, np.flatnonzero(center))
    return sparse.csr_matrix((X.data - center[X.indices], X.indices, X.indptr), X.shape)


def _fill(X, columns):
    """Give every row an entry of these columns, be it 0: to be centered, it has to be there."""
    present = np.zeros((X.shape[0], columns.size), dtype=bool)
    entries = np.flatnonzero(np.isin(X.indices, columns))
    rows = np.searchsorted(X.indptr, entries, side="right") - 1
    present[rows, np.searchsorted(columns, X.indices[entries])] = True
    if present.all():
        return X
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
