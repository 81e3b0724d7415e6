"""Draws that are kept for predictions: which, in how much memory, and what they predict."""

import copy

import numpy as np

from skfm._solvers.fm.interactions import compute_outputs
from skfm._solvers.fm.parameters import Parameters
from skfm._utils.memory import aligned_zeros
from skfm._utils.pickling import Versioned
from skfm._utils.threads import share

BLOCK_BYTES = 2 << 20  # of outputs at a time
# The arrays of samples, each with the draws along its first axis.
ARRAYS = {
    "intercept": np.float64,
    "linear": np.float32,
    "factors": np.float32,
    "field_pairs": np.float32,
    "noise_precision": np.float64,
    "group_mean": np.float64,
    "group_precision": np.float64,
    "level_precision": np.float32,
    "freedom": np.float64,
}


class Samples(Versioned):
    """Draws of a chain in float32, evenly spaced, in a bounded number of bytes.

    Draws are kept until there is no more room. Then every second one is dropped, and from then on
    only every second one is taken.
    """

    def __init__(self, draw, n_bytes, n_draws):
        """Room for draws like this one; ``n_draws`` of them are to come."""
        n_used, n_coordinates = draw.theta.shape
        n_numbers = draw.theta.size + draw.field_pairs.size + draw.level_precision.size
        # The rest is in float64.
        self.bytes_a_draw = 4 * n_numbers + 16 * draw.group_mean.size + 8 * draw.freedom.size + 16
        self.stride = 1
        self.n_seen = 0
        self.n_kept = 0
        shapes = {
            "linear": (n_used,),
            "factors": (n_used, n_coordinates - 1),
            "field_pairs": draw.field_pairs.shape,
            "group_mean": draw.group_mean.shape,
            "group_precision": draw.group_precision.shape,
            "level_precision": draw.level_precision.shape,
            "freedom": draw.freedom.shape,
        }
        self._allocate(min(self._limit(n_bytes), n_draws), shapes)

    def _limit(self, n_bytes):
        return max(2, int(n_bytes // self.bytes_a_draw))

    def _allocate(self, capacity, shapes):
        """Make space for so many draws, given the shape of each array of a draw."""
        for name, kind in ARRAYS.items():
            setattr(self, name, aligned_zeros((capacity, *shapes.get(name, ())), kind))

    def _arrays(self):
        return [getattr(self, name) for name in ARRAYS]

    def extended(self, n_bytes, n_draws):
        """A copy with room for further draws, in so many bytes."""
        longer = copy.copy(self)
        limit = self._limit(n_bytes)
        old = self._arrays()
        while longer.n_kept > limit:
            old = [array[: longer.n_kept : 2] for array in old]
            longer.n_kept = old[0].shape[0]
            longer.stride *= 2
        capacity = min(limit, longer.n_kept + n_draws)
        shapes = {name: getattr(self, name).shape[1:] for name in ARRAYS}
        longer._allocate(capacity, shapes)
        for new, kept in zip(longer._arrays(), old, strict=True):
            new[: longer.n_kept] = kept[: longer.n_kept]
        return longer

    def snapshot(self):
        """The draws without the room for others."""
        arrays = {name: getattr(self, name)[: self.n_kept] for name in ARRAYS}
        rest = {name: value for name, value in vars(self).items() if name not in ARRAYS}
        return {"capacity": self.intercept.size, "arrays": arrays, "rest": rest}

    @classmethod
    def restored(cls, snapshot):
        samples, arrays = cls.__new__(cls), snapshot["arrays"]
        vars(samples).update(snapshot["rest"])
        shapes = {name: array.shape[1:] for name, array in arrays.items()}
        samples._allocate(snapshot["capacity"], shapes)
        for name, array in arrays.items():
            getattr(samples, name)[: samples.n_kept] = array
        return samples

    def take(self, draw):
        """Keep a draw if it is its turn; returns whether it has only numbers in float32."""
        self.n_seen += 1
        if (self.n_seen - 1) % self.stride:
            return True
        if self.n_kept == self.intercept.size:
            self.n_kept = -(-self.n_kept // 2)
            for array in self._arrays():
                array[: self.n_kept] = array[::2].copy()
            self.stride *= 2
            if (self.n_seen - 1) % self.stride:
                return True
        k = self.n_kept
        self.intercept[k] = draw.intercept
        with np.errstate(over="ignore"):
            self.linear[k] = draw.linear
            self.factors[k] = draw.factors
            self.field_pairs[k] = draw.field_pairs
        self.noise_precision[k] = draw.noise_precision
        self.group_mean[k], self.group_precision[k] = draw.group_mean, draw.group_precision
        self.level_precision[k], self.freedom[k] = draw.level_precision, draw.freedom
        self.n_kept += 1
        of_model = self.linear[k], self.factors[k], self.field_pairs[k]
        return all(bool(np.isfinite(values).all()) for values in of_model)

    def trim(self):
        """Give back room that was not needed."""
        for name, array in list(vars(self).items()):
            if isinstance(array, np.ndarray):
                setattr(self, name, array[: self.n_kept])

    def predict(self, rows, group, interactions, key, summarize, n_threads):
        """``summarize(outputs)`` (n_rows, n_draws) for blocks of `RowsInUnits`, joined."""
        X = rows.X
        parameters, features, columns = self.parameters_for(rows, group, interactions, key)
        n_draws, n_rows = self.n_kept, X.shape[0]
        record = interactions.record(features)
        indptr = X.indptr.astype(np.int64)
        height = max(1, BLOCK_BYTES // (4 * n_draws))
        parts = [None] * -(-n_rows // height)
        with np.errstate(over="ignore"):
            short_values = X.data.astype(np.float32)

        def work(number):
            first, last = number * height, min(n_rows, (number + 1) * height)
            pointers = indptr[first : last + 1]
            outputs = self._outputs(pointers, columns, X.data, short_values, parameters, record)
            parts[number] = summarize(outputs)

        share(work, len(parts), n_threads)
        return np.concatenate(parts)

    def parameters_for(self, rows, group, interactions, key):
        """Parameters for some `RowsInUnits`, an output for each draw.

        Returns the parameters, the features that they belong to, and for each entry of the rows
        the position of its feature among these.
        """
        linear, factors = self.linear, self.factors
        columns, features = rows.X.indices, rows.used
        if rows.others.size:
            present, columns = np.unique(columns, return_inverse=True)
            n_used = linear.shape[1]
            is_other = present >= n_used
            new = rows.others[present[is_other] - n_used]
            new_linear, new_factors = self.of_new_features(new, group, interactions, key)
            known = present[~is_other]
            features = np.append(rows.used[known], new)
            linear = np.concatenate([linear[:, known], new_linear], axis=1)
            factors = np.concatenate([factors[:, known], new_factors], axis=1)
        factors = np.ascontiguousarray(factors)
        parameters = Parameters(self.intercept, linear, factors, self.field_pairs)
        return parameters, features, columns

    def noise_variance(self, rows, group, n_threads):
        """The mean variance (n_rows,) of the noise of `RowsInUnits`.

        Of levels that are new, it is the mean of what their group's distribution says.
        """
        common = 1 / self.noise_precision
        variance = np.full(rows.X.shape[0], common.mean())
        if not self.level_precision.shape[1]:
            return variance
        new = 1 - 2 / self.freedom[:, group[rows.others]]
        log_variance = -np.log(np.hstack([self.level_precision, new]))
        varies = np.flatnonzero(log_variance.any(axis=0))
        log_variance = log_variance[:, varies].T + 0.0
        has_level = rows.X[:, varies]
        has_level.data = np.ones_like(has_level.data, dtype=np.float64)
        height = max(1, BLOCK_BYTES // (8 * self.n_kept))

        def work(number):
            part = slice(number * height, (number + 1) * height)
            variance[part] = (np.exp(has_level[part] @ log_variance) * common).mean(axis=1)

        share(work, -(-variance.size // height), n_threads)
        return variance

    def _outputs(self, indptr, columns, values, short_values, parameters, interactions):
        """Computed in float32; rows for which that overflows, in float64."""
        n_rows = indptr.size - 1

        def compute(first, last, values, parameters):
            outputs = np.empty((last - first, self.n_kept), values.dtype)
            own = indptr[first : last + 1], columns, values
            compute_outputs(own, parameters, interactions, 0, last - first, outputs)
            return outputs.astype(np.float64, copy=False)

        outputs = compute(0, n_rows, short_values, parameters)
        overflown = np.flatnonzero(~np.isfinite(outputs).all(axis=1))
        if overflown.size:
            values = values.astype(np.float64)
            exact = Parameters(*(part.astype(np.float64) for part in parameters))
            for row in overflown:
                outputs[row] = compute(row, row + 1, values, exact)
        if not np.isfinite(outputs).all():
            raise ValueError("X has values that are too large for predictions; scale them.")
        return outputs

    def of_new_features(self, features, group, interactions, key):
        """Linear weights and factors of features that did not occur in training.

        They are drawn from the prior of the feature's group, and always the same.
        """
        theta = self._from_prior(features, group[features], key)
        return theta[:, :, -1] * interactions.has_linear[features], theta[:, :, :-1]

    def _from_prior(self, columns, groups, key):
        """(n_draws, n_columns, n_components + 1)"""
        theta = np.empty((self.n_kept, columns.size, self.group_mean.shape[2]), np.float32)
        for place, (column, group) in enumerate(zip(columns, groups, strict=True)):
            counter = [0, 0, 1, int(column)]  # the chain has 0 in the third place
            rng = np.random.Generator(np.random.Philox(counter=counter, key=key))
            spread = 1 / np.sqrt(self.group_precision[:, group])
            noise = rng.standard_normal(spread.shape)
            theta[:, place] = self.group_mean[:, group] + spread * noise
        return theta
