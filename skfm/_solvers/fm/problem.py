"""The training problem as the solvers see it: only used features, each scaled to size 1."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from skfm._kernels import structs
from skfm._solvers.fm.column_scaling import TINY, Scaling, choose_columns, least_sizes
from skfm._solvers.fm.empirical_bayes import starting_penalties
from skfm._solvers.fm.interactions import Interactions
from skfm._solvers.fm.penalties import scaled_penalties
from skfm._utils.memory import largest_squared, read_only

CHUNK = 1 << 20  # entries looked at together
HIGHER = 5.0  # times init_scale: for factors of products of three features and more,
LARGEST_HIGHER = 0.5  # but no larger than this, unless init_scale is

ROWS_TOGETHER = 1 << 17  # that are counted


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
        return structs.ScaledRows(
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
        total = np.zeros(self.n_used)
        for first in range(0, self.n_rows, ROWS_TOGETHER):
            indptr = self.indptr[first : first + ROWS_TOGETHER + 1]
            length = np.diff(indptr)
            weight = self.weight[first : first + ROWS_TOGETHER] if self.weight.size else 1.0
            per_entry = np.repeat(np.broadcast_to(np.float64(weight), length.shape), length)
            places = self.position[self.indices[indptr[0] : indptr[-1]]]
            total += np.bincount(places, per_entry, self.n_used)
        return total

    def scaled_rows(self, chosen=slice(None), own_group=None, n_groups=1):
        """Some rows as the solvers see them, in float64.

        With interaction groups, each row is split into one row for each group, one after the
        other: all sums by group are then one matrix product.
        """
        indptr, entries = self._entries_of(chosen)
        n_rows = indptr.size - 1
        places = self.position[self.indices[entries]].astype(np.int64)
        data = (self.data[entries] - self.center[places].astype(np.float64)) / self.scale[places]
        if n_groups == 1:
            return sparse.csr_array((data, places, indptr), (n_rows, self.n_used))
        row = np.repeat(np.arange(n_rows), np.diff(indptr))
        row = row * n_groups + own_group[places]
        shape = n_rows * n_groups, self.n_used
        return sparse.csr_array((data, (row, places)), shape=shape)

    def _entries_of(self, chosen):
        """Row pointers and entries of some rows: a slice, or an array of numbers."""
        if isinstance(chosen, slice):
            first, last, _ = chosen.indices(self.n_rows)
            indptr = self.indptr[first : last + 1]
            return indptr - indptr[0], slice(indptr[0], indptr[-1])
        start = self.indptr[chosen]
        length = self.indptr[chosen + 1] - start
        indptr = np.append(0, np.cumsum(length))
        return indptr, np.repeat(start - indptr[:-1], length) + np.arange(indptr[-1])

    def set_penalties(self, *, linear, factors):
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
    total_weight = weight.sum(dtype=np.float64) if weight.size else float(X.shape[0])
    may_center = may_center and interactions.may_center
    columns = choose_columns(X, weight, total_weight, may_center=may_center, earlier=earlier)
    X, used, count, square, center, mean_row_length = columns
    dtype = X.dtype
    position = np.zeros(X.shape[1], dtype=np.uint32)
    position[used] = np.arange(used.size)
    size = np.maximum(
        np.sqrt(square) / np.sqrt(np.maximum(count, TINY)),
        least_sizes(penalties, interactions, count, square, used),
    )
    count_before, seen_weight = np.zeros(used.size), total_weight
    if earlier is not None:
        known = position[earlier.used]
        size[known], count_before[known] = earlier.scale, earlier.count
        count = count * is_new + count_before
        seen_weight = total_weight * is_new + earlier.seen_weight
    start = starting_penalties(loss, mean_row_length, used.size, seen_weight)
    penalty = scaled_penalties(penalties, start, used, np.sqrt(count), 1 / size, dtype)
    share = _share_of_rows(penalty, count, count_before, is_cumulative)
    with np.errstate(over="ignore"):  # a loss that is infinite says so
        target = target.astype(dtype)
    return Problem(
        indptr=X.indptr.astype(np.int64),
        indices=read_only(X.indices),
        data=read_only(X.data),
        target=target,
        weight=weight,
        loss=loss,
        interactions=interactions,
        used=used,
        position=position,
        count=count,
        count_before=count_before,
        center=center.astype(dtype),
        scale=size.astype(dtype),
        linear_penalty=penalty[:, 0].copy(),
        factor_penalty=penalty[:, 1].copy(),
        linear_lasso=penalty[:, 2].copy(),
        factor_lasso=penalty[:, 3].copy(),
        penalty_share=np.ascontiguousarray(share[:, : 4 if penalties.has_lasso else 2], dtype),
        mean_row_length=mean_row_length,
        seen_weight=seen_weight,
    )


def _share_of_rows(penalty, count, count_before, is_cumulative):
    """What a row with a feature bears of its penalties, for each unit of its weight."""
    share = penalty / count[:, None]
    if not is_cumulative:
        # Of what grows with a root, further rows bear the growth: in the end each row has borne
        # its share once. Else the first rows of a stream would press factors to 0 that its last
        # ones need.
        before = np.where(count_before < count, count_before, 0)
        share[:, 1] /= 1 + np.sqrt(before / count)
    return share
