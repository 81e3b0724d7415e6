"""The training problem as the solvers see it: only used features, each scaled to size 1."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from skfm._kernels import structs
from skfm._solvers.fm.column_scaling import TINY, Scaling, choose_columns, least_sizes
from skfm._solvers.fm.empirical_bayes import starting_penalties
from skfm._solvers.fm.interactions import Interactions
from skfm._solvers.fm.parameters import NO_PAIRS
from skfm._solvers.fm.penalties import NOWHERE, scaled_penalties
from skfm._utils.memory import largest_squared, read_only

CHUNK = 1 << 20  # entries processed together
# The initial scale of factors of degrees above 2 is HIGHER times init_scale, but at most the
# larger of LARGEST_HIGHER and init_scale.
HIGHER = 5.0
LARGEST_HIGHER = 0.5

ROWS_TOGETHER = 1 << 17  # rows counted at a time


@dataclass
class Problem:
    """``sum_i c_i loss(y_i, f(x_i)) + 1/2 sum_j (r_j w_j^2 + s_j |v_j|^2)`` over rows ``x_i``.

    ``indptr``, ``indices`` and ``data`` are the rows in CSR form, ``position`` maps a column to
    its rank among the ``used`` ones. The values of a used feature are divided by ``scale``, the
    root mean square of its nonzero values, so that the step sizes of AdaGrad do not depend on the
    feature's unit. If penalties are so large, or values so small, that the feature hardly matters,
    ``scale`` is larger: otherwise, any step would be too long for the penalties.

    If a feature is far from zero in every row, its mean ``center`` is subtracted first, since the
    feature would be nearly collinear with the intercept. Parameters of the resulting features are
    called scaled.
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
    count: np.ndarray  # weight of the rows with a feature, including earlier rows
    count_before: np.ndarray  # the same, for earlier rows only
    center: np.ndarray  # 0 for most
    scale: np.ndarray
    linear_penalty: np.ndarray  # r_j / scale_j^2, for scaled parameters
    factor_penalty: np.ndarray  # s_j / scale_j^2
    linear_lasso: np.ndarray  # of |w_j|, divided by scale_j
    factor_lasso: np.ndarray  # of ||v_j||
    penalty_share: np.ndarray  # (n_used, 2 or 4): these, for each unit of weight of a row with it
    mean_row_length: float  # weighted mean number of entries of a row
    seen_weight: float  # total weight, including earlier rows
    penalty_elsewhere: float = 0.0  # of features of a stream that these rows do not have

    @property
    def n_features(self):
        """The number of columns, used or not."""
        return self.position.size

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
    def represented(self):
        """How many rows each row stands for: more than one in a sample."""
        return self.seen_weight / self.total_weight

    @property
    def has_lasso(self):
        return self.penalty_share.shape[1] > 2

    @property
    def unit_values(self):
        """Whether every scaled value is 1, as in one-hot data."""
        if self.center.any():
            return False
        if self.n_used and self.scale.min() == self.scale.max():  # without looking them up
            return bool((self.data == self.scale[0]).all())
        chunks = range(0, self.data.size, CHUNK)
        return all(
            (self.data[part] == self.scale[self.position[self.indices[part]]]).all()
            for part in (slice(first, first + CHUNK) for first in chunks)
        )

    def scaled_source(self):
        """The rows as the kernels' `ScaledRows`."""
        return structs.ScaledRows(
            self.indptr, self.indices, self.data, self.position, self.center, 1 / self.scale
        )

    def random_factors(self, n_outputs, n, scale, rng):
        """Initial factors (n_outputs, n, n_components) of ``n`` features.

        They are divided by the square root of the mean row length, so that outputs start with the
        same size for all lengths. Those of degrees above 2 are larger: near zero, the products of
        three factors have neither slope nor curvature, and the penalty would outweigh the loss.
        """
        degrees = self.interactions.degrees
        factors = rng.standard_normal((n_outputs, n, degrees.size))
        higher = max(scale, min(HIGHER * scale, LARGEST_HIGHER))
        scale = np.where(degrees > 2, higher, scale)
        factors *= scale ** (2 / degrees) / np.sqrt(max(self.mean_row_length, 1.0))
        return factors.astype(self.data.dtype)

    def chunk_count(self):
        """The weight of the problem's rows with each used feature, without earlier rows."""
        total = np.zeros(self.n_used)
        for first in range(0, self.n_rows, ROWS_TOGETHER):
            indptr = self.indptr[first : first + ROWS_TOGETHER + 1]
            length = np.diff(indptr)
            weight = self.weight[first : first + ROWS_TOGETHER] if self.weight.size else 1.0
            per_entry = np.repeat(np.broadcast_to(np.float64(weight), length.shape), length)
            places = self.position[self.indices[indptr[0] : indptr[-1]]]
            total += np.bincount(places, per_entry, self.n_used)
        return total

    def scaled_rows(self, chosen=slice(None), interaction_group=None, n_groups=1):
        """Scaled rows as a sparse array in float64.

        With several interaction groups, each row is split into consecutive rows, one for each
        group, so that one matrix product computes all sums by group.
        """
        indptr, entries = self._entries_of(chosen)
        n_rows = indptr.size - 1
        places = self.position[self.indices[entries]].astype(np.int64)
        data = (self.data[entries] - self.center[places].astype(np.float64)) / self.scale[places]
        if n_groups == 1:
            return sparse.csr_array((data, places, indptr), (n_rows, self.n_used))
        row = np.repeat(np.arange(n_rows), np.diff(indptr))
        row = row * n_groups + interaction_group[places]
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
        """Change the penalties of scaled parameters in place, except those that are None."""
        largest = largest_squared(self.penalty_share.dtype)
        for column, penalty, given in (
            (0, self.linear_penalty, linear),
            (1, self.factor_penalty, factors),
        ):
            if given is not None:
                penalty[:] = np.minimum(given, largest)
                self.penalty_share[:, column] = penalty / self.count

    def scaling(self):
        """The scaling, for the problem of further rows."""
        return Scaling(self.used, self.count, self.center, self.scale, self.seen_weight)

    def to_centered(self, intercept, linear, factors, field_pairs=NO_PAIRS):
        """Convert parameters of the used features to parameters of the centered features.

        ``(x_i - m_i) (x_j - m_j)`` differs from ``x_i x_j`` by linear terms and a constant.
        """
        if not self.center.any():
            return intercept, linear
        linear, constant = self._shift(linear, factors, field_pairs, 1)
        return intercept + linear @ self.center.astype(np.float64) - constant, linear

    def from_centered(self, intercept, linear, factors, field_pairs=NO_PAIRS):
        """The inverse of `to_centered`."""
        if not self.center.any():
            return intercept, linear
        moved, constant = self._shift(linear, factors, field_pairs, -1)
        return intercept - linear @ self.center.astype(np.float64) + constant, moved

    def unscaled(self, linear, factors):
        """Convert scaled parameters to parameters of the centered features, in float64."""
        scale = self.scale.astype(np.float64)
        return linear / scale, factors / scale[:, None]

    def _shift(self, linear, factors, field_pairs, sign):
        center = self.center.astype(np.float64)
        change = self.interactions.linear_shift(
            self.used, center, factors.astype(np.float64), field_pairs
        )
        return linear + sign * change, change @ center / 2


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
    elsewhere=NOWHERE,
):
    """State the problem for a canonical CSR matrix without explicit zeros.

    ``r_j = alpha_linear`` as in ridge regression. ``s_j = alpha * sqrt(n_j)``, where ``n_j`` is
    the weight of the rows in which feature j is not zero: the noise in the gradient of ``v_j``
    grows with the same square root, so that one alpha suits rare and frequent features, and small
    and large data.

    ``earlier`` is the scaling of the problem of earlier rows, if these rows continue a stream. Its
    features keep their units, and these rows add to its counts if ``is_new``. ``is_cumulative``
    says that each step of the solver applies the penalties of all rows so far (FTRL) instead of
    those of the step's rows. ``elsewhere`` are features of the stream that X leaves out.
    """
    total_weight = weight.sum(dtype=np.float64) if weight.size else float(X.shape[0])
    may_center = may_center and interactions.may_center
    X, columns = choose_columns(X, weight, total_weight, may_center=may_center, earlier=earlier)
    with np.errstate(over="ignore"):  # an infinite loss raises an error later
        target = target.astype(X.dtype)
    return Problem(
        indptr=read_only(X.indptr),
        indices=read_only(X.indices),
        data=read_only(X.data),
        target=target,
        weight=weight,
        **state_columns(
            columns,
            X.dtype,
            total_weight,
            loss,
            penalties,
            interactions,
            earlier=earlier,
            is_new=is_new,
            is_cumulative=is_cumulative,
            elsewhere=elsewhere,
        ),
    )


def state_columns(
    columns,
    dtype,
    total_weight,
    loss,
    penalties,
    interactions,
    *,
    earlier=None,
    is_new=True,
    is_cumulative=False,
    elsewhere=NOWHERE,
):
    """The part of a problem that is not rows, as a dict: `make_problem` explains it.

    ``columns`` are the `UsedColumns`, and ``total_weight`` is that of the rows.
    """
    used, count, square, center, mean_row_length, n_features = columns
    position = np.zeros(n_features, dtype=np.uint32)
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
    n_used = used.size + elsewhere.n_features
    start = starting_penalties(loss, mean_row_length, n_used, seen_weight)
    penalty = scaled_penalties(penalties, start, used, np.sqrt(count), 1 / size, dtype)
    share = _share_of_rows(penalty, count, count_before, is_cumulative)
    return dict(
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
        penalty_elsewhere=elsewhere.penalty(penalties, start),
    )


def _share_of_rows(penalty, count, count_before, is_cumulative):
    """The penalties for each unit of weight of a row with the feature."""
    share = penalty / count[:, None]
    if not is_cumulative:
        # The penalty of factors grows with sqrt(count), and further rows add the growth only. If
        # they added the whole penalty again, the stream would shrink factors too much.
        before = np.where(count_before < count, count_before, 0)
        share[:, 1] /= 1 + np.sqrt(before / count)
    return share
