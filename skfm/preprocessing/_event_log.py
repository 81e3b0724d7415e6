"""Logs of events as numbers: pairs of users and items, baskets."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from skfm._utils.pickling import Versioned
from skfm.preprocessing._log_table import Table
from skfm.preprocessing._pairs import Entries, as_csr, as_dtype, combine


@dataclass
class Log:
    """A log as numbers: arrays of shape (n_rows,); positions of unknown ids are -1."""

    table: Table
    user_ids: np.ndarray
    item_ids: np.ndarray
    users: np.ndarray
    items: np.ndarray
    times: np.ndarray | None = None
    targets: np.ndarray | None = None

    @cached_property
    def pairs(self):
        """Users by items: the number of events of each pair."""
        return self._sum(np.ones(self.users.size))

    @cached_property
    def means(self):
        """Users by items: the mean target of each pair."""
        means = self._sum(self.targets)
        means.data /= self.pairs.data
        return means

    @cached_property
    def baskets(self):
        return Baskets(self)

    def _sum(self, values):
        # Sorted by value, sums do not depend on the order of rows, not even in their last bit.
        order = np.argsort(values, kind="stable")
        events = Events(self.users[order], self.items[order], values[order], None)
        return events.to_csr((len(self.user_ids), len(self.item_ids)), "sum", np.float64)


class Baskets(Versioned):
    """The events of a user at one time are a basket. Baskets are sorted by user and time."""

    def __init__(self, log):
        self.times, ranks = np.unique(log.times, return_inverse=True)
        self.keys, rows = np.unique(self._key(log.users, ranks), return_inverse=True)
        events = Events(rows, log.items, np.ones(rows.size), None)
        self.items = events.to_csr((self.keys.size, len(log.item_ids)), "sum", np.float64)

    def before(self, log):
        """For each row, the latest basket of its user before its time, -1 if there is none."""
        key = self._key(log.users, np.searchsorted(self.times, log.times))
        baskets = np.searchsorted(self.keys, key) - 1
        baskets[self._user(self.keys[baskets]) != log.users] = -1
        return baskets

    def latest_items(self, n_last):
        """For each basket, the items of the last events of its user up to its time."""
        stops = self.items.indptr[1:].astype(np.int64)
        first = np.searchsorted(self.keys, self._key(self._user(self.keys), 0))
        starts = np.maximum(self.items.indptr[first], stops - min(n_last, self.items.nnz))
        indptr = np.append(0, np.cumsum(stops - starts))
        events = np.arange(indptr[-1]) + np.repeat(starts - indptr[:-1], stops - starts)
        indices = self.items.indices[events]
        items = sparse.csr_matrix((np.ones(events.size), indices, indptr), self.items.shape)
        items.sum_duplicates()
        return items

    def _key(self, users, ranks):
        return users * (self.times.size + 1) + ranks

    def _user(self, keys):
        return keys // (self.times.size + 1)


@dataclass
class Events:
    """A log as numbers: all arrays of shape (n_events,)."""

    rows: np.ndarray
    columns: np.ndarray
    values: np.ndarray
    times: np.ndarray | None

    def known(self):
        """Without the events of unknown users or items, whose rows or columns are negative."""
        known = (self.rows >= 0) & (self.columns >= 0)
        if known.all():
            return self
        times = None if self.times is None else self.times[known]
        return Events(self.rows[known], self.columns[known], self.values[known], times)

    def n_repeated(self, n_columns):
        """Number of pairs of row and column that have several events."""
        _, counts = np.unique(self._pairs(n_columns), return_counts=True)
        return np.count_nonzero(counts > 1)

    def to_csr(self, shape, duplicates, dtype):
        """Matrix with one entry for each pair of row and column."""
        n_columns = shape[1]
        times = self.times if duplicates == "last" else None
        events = Entries(self._pairs(n_columns), self.values, times)
        entries = combine([events], "last" if duplicates == "last" else "sum")
        values = entries.values
        if duplicates == "mean":
            values = values / entries.count()
        rows, columns = np.divmod(entries.keys, n_columns)
        return as_csr(rows, columns, as_dtype(values, dtype), shape)

    def _pairs(self, n_columns):
        """Each pair of row and column as one number."""
        return self.rows.astype(np.int64) * n_columns + self.columns
