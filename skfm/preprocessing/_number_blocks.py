"""Fields of numbers: standardized, or in bins."""

from itertools import pairwise

import numpy as np

from skfm._kernels.splitmix64 import GAMMA, mix
from skfm._utils.pickling import Versioned
from skfm.preprocessing._field_blocks import Block, Entries
from skfm.preprocessing._time_zones import check_zone, on_the_clock

N_SAMPLED = 20_000  # rows, from which quantiles are estimated
# The bins of the winners of Criteo's contest in 2014 (Juan, Zhuang and Chin): numbers up to 2, and
# floor(log(x)^2) beyond, which we mirror for negative numbers. The last bin begins at 5e13.
_POSITIVE = np.append([1.0, 2.0], np.exp(np.sqrt(np.arange(1, 1001))))
_LOG_EDGES = np.concatenate([-_POSITIVE[::-1], [0.0], _POSITIVE])


class Plain(Versioned, kind="TableEncoder.Plain"):
    """Numbers as they are in the column."""

    def read(self, column):
        return column.numbers

    def learn(self, column):
        pass

    def write(self, numbers):
        """Distinct texts for numbers."""
        texts = [f"{number:g}" for number in numbers]
        return texts if len(set(texts)) == len(texts) else list(map(repr, numbers))


class Days(Versioned, kind="TableEncoder.Days"):
    """Times as days since 1970, with fractions.

    As features, they are equivalent to the age on any date: the bins are the same, and the
    standardized values have the other sign.
    """

    def __init__(self, clock):
        self._clock = clock

    def read(self, column):
        times = self._clock.read(column)
        days = (times - np.datetime64(0, "us")) / np.timedelta64(1, "D")
        return np.where(np.isnat(times), np.nan, days)

    def learn(self, column):
        self._clock.learn(column)

    def write(self, days):
        times = np.array(days) * np.timedelta64(86_400_000_000, "us") + np.datetime64(0, "us")
        texts = np.datetime_as_string(times.astype("datetime64[D]")).tolist()
        return texts if len(set(texts)) == len(texts) else np.datetime_as_string(times).tolist()


class Clock(Versioned, kind="TableEncoder.Clock"):
    """The time zone in which times are read: a given one, or that of the training data."""

    def __init__(self, zone=None):
        self._zone = zone
        self._is_aware = None  # whether the times of the training data have a time zone

    def read(self, column):
        times, zone = column.times
        if self._zone is not None:
            check_zone(self._zone, column.name)
        if column.type != "datetime" or np.isnat(times).all():
            return times
        if self._is_aware is not None and self._is_aware != (zone is not None):
            before, now = ("with", "without") if self._is_aware else ("without", "with")
            raise ValueError(
                f"Column {column.name!r} had times {before} a time zone in fit, and has times "
                f"{now} one here; convert them."
            )
        if zone is None:
            return times
        zone = self._zone or zone
        return column.keep(("clock", zone), lambda: on_the_clock(times, zone, column.name))

    def learn(self, column):
        times, zone = column.times
        if self._is_aware is None and not np.isnat(times).all():
            self._is_aware = zone is not None
            if self._zone is None:
                self._zone = zone


class NumberBlock(Block):
    """What blocks of numbers share: their source, and a column if some are missing."""

    def __init__(self, field, kind, source=None, **options):
        super().__init__(field, kind, source=source or Plain(), **options)
        self._has_missing = False

    def read(self, column):
        return self.source.read(column)

    def learn(self, column):
        self.source.learn(column)
        numbers = self.source.read(column)
        missing = np.isnan(numbers)
        self._has_missing |= bool(missing.any())
        self._learn_known(numbers[~missing] if missing.any() else numbers, missing)

    def _missing_column(self, n_columns):
        return n_columns if self._has_missing else -1


class Standardized(NumberBlock):
    """One column with mean 0 and variance 1, where 0 takes the place of missing values."""

    def __init__(self, field, kind, source=None):
        super().__init__(field, kind, source)
        self._n, self._mean, self._squares = 0, 0.0, 0.0

    def _learn_known(self, numbers, missing):
        """Means and sums of squares of two sets in one (Chan, Golub and LeVeque 1983)."""
        if not numbers.size:
            return
        with np.errstate(over="ignore", invalid="ignore"):
            mean = numbers.mean()
            squares = np.square(numbers - mean).sum()
            n, difference = self._n + numbers.size, mean - self._mean
            self._squares += squares + difference**2 * self._n * numbers.size / n
            self._mean += difference * numbers.size / n
        self._n = n

    def finish(self):
        scale = np.sqrt(self._squares / max(self._n, 1))
        if not np.isfinite([self._mean, scale]).all():
            raise ValueError(
                f"The numbers of the field {self.field!r} are too large to be standardized; "
                "scale them, or encode them as 'log_bins'."
            )
        # Differences as small as the rounding errors of the mean are none.
        eps = np.finfo(np.float64).eps
        rounding = 10 * eps * abs(self._mean)
        self._constant_range = rounding if scale <= rounding else 0.0
        self._scale = 1.0 if scale <= rounding else float(scale)
        self.n_columns = 1 + self._has_missing

    def encode(self, column):
        numbers = self.source.read(column)
        missing = np.isnan(numbers)
        values = numbers - self._mean
        if self._constant_range:
            values[np.abs(values) <= self._constant_range] = 0
        values /= self._scale
        columns = np.where(values == 0, np.int32(-1), np.int32(0))
        columns[missing] = self._missing_column(1)
        values[missing] = 1
        return Entries(columns, values)

    def names(self):
        return [self.field, f"{self.field}=(missing)"][: self.n_columns]

    def describe(self):
        return f"mean {self._mean:.6g}, standard deviation {self._scale:.6g}"


class BinBlock(NumberBlock):
    """One column for each bin, from one edge up to the next; subclasses find the edges."""

    can_be_crossed = True

    def finish(self):
        self._edges = self._find_edges()
        self.n_columns = self._edges.size + 1 + self._has_missing

    def encode(self, column):
        numbers = self.source.read(column)
        columns = np.searchsorted(self._edges, numbers, side="right").astype(np.int32)
        columns[np.isnan(numbers)] = self._missing_column(self._edges.size + 1)
        return Entries(columns)

    def labels(self):
        edges = ["-inf", *self.source.write(self._edges.tolist()), "inf"]
        bins = [f"[{low}, {high})" for low, high in pairwise(edges)]
        return [*bins, *["(missing)"] * self._has_missing]

    def describe(self):
        return f"{self._edges.size + 1} bins"


class QuantileBins(BinBlock):
    """Bins with about equally many training rows each; or one for each value, if these are few.

    Quantiles are those of all rows, or of a sample, which depends on the number of each row only:
    it is the same whether the rows come at once or in chunks.
    """

    changes_ids = True

    def __init__(self, field, kind, n_bins, source=None):
        super().__init__(field, kind, source, n_bins=n_bins)
        self._n_rows = 0
        self._sample, self._order = np.empty(0), np.empty(0, np.uint64)

    def _learn_known(self, numbers, missing):
        rows = np.arange(self._n_rows, self._n_rows + missing.size, dtype=np.uint64)
        self._n_rows += missing.size
        order = np.append(self._order, mix((rows + np.uint64(1)) * GAMMA)[~missing])
        sample = np.append(self._sample, numbers)
        if sample.size > N_SAMPLED:
            chosen = np.argpartition(order, N_SAMPLED)[:N_SAMPLED]
            order, sample = order[chosen], sample[chosen]
        self._sample, self._order = sample, order

    def _find_edges(self):
        distinct, counts = np.unique(self._sample, return_counts=True)
        if distinct.size <= self.n_bins:
            return distinct[1:]
        shares = np.arange(1, self.n_bins) / self.n_bins
        reached = np.searchsorted(np.cumsum(counts), shares * self._sample.size)
        return np.unique(distinct[np.clip(reached, 1, distinct.size - 1)])


class LogBins(BinBlock):
    """Bins whose width grows with the size of the numbers, as far as the training data reach."""

    def __init__(self, field, kind, source=None):
        super().__init__(field, kind, source)
        self._lowest = self._highest = None

    def _learn_known(self, numbers, missing):
        if numbers.size:
            ends = np.array([numbers.min(), numbers.max()])
            low, high = np.searchsorted(_LOG_EDGES, ends, side="right").tolist()
            self._lowest = low if self._lowest is None else min(low, self._lowest)
            self._highest = high if self._highest is None else max(high, self._highest)

    def _find_edges(self):
        return _LOG_EDGES[:0] if self._lowest is None else _LOG_EDGES[self._lowest : self._highest]

    def ids(self, column):
        numbers = self.source.read(column)
        ids = np.searchsorted(_LOG_EDGES, numbers, side="right").astype(np.int32)
        ids = np.clip(ids, self._lowest or 0, self._highest or 0) + np.int32(1)
        ids[np.isnan(numbers)] = 0
        return ids

    def ranks(self):
        return np.arange(_LOG_EDGES.size + 2)

    def id_labels(self):
        return ["(missing)", *[""] * (self._lowest or 0), *self.labels()]


# Dates

_LABELS = {
    "hour": [str(hour) for hour in range(24)],
    "weekday": ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"],
    "month": ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"],
}


class DatePart(Block):
    """One column for each hour, weekday or month, and one for missing times, if there were any."""

    can_be_crossed = True

    def __init__(self, field, kind, part, clock):
        super().__init__(field, kind, part=part)
        self._clock, self._has_missing = clock, False

    def read(self, column):
        return self._clock.read(column)

    def learn(self, column):
        self._clock.learn(column)
        self._has_missing |= bool(np.isnat(column.times.times).any())

    def finish(self):
        self.n_columns = len(_LABELS[self.part]) + self._has_missing

    def encode(self, column):
        times = self._clock.read(column)
        missing = np.isnat(times)
        columns = _PARTS[self.part](np.where(missing, np.datetime64(0, "us"), times))
        columns = columns.astype(np.int32)
        columns[missing] = len(_LABELS[self.part]) if self._has_missing else -1
        return Entries(columns)

    def labels(self):
        return [*_LABELS[self.part], *["(missing)"] * self._has_missing]

    def ranks(self):
        return np.arange(len(_LABELS[self.part]) + 1)

    def id_labels(self):
        return [*_LABELS[self.part], "(missing)"]


def _hour(times):
    return (times - times.astype("datetime64[D]")) // np.timedelta64(1, "h")


def _weekday(times):
    return (times.astype("datetime64[D]").astype(np.int64) + 3) % 7  # 1970 began on a Thursday


def _month(times):
    return times.astype("datetime64[M]").astype(np.int64) % 12


_PARTS = {"hour": _hour, "weekday": _weekday, "month": _month}
