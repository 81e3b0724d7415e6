"""Distinct values of a field, their counts, and the column of each."""

import numbers

import numpy as np

from skfm._utils.pickling import Versioned

UNKNOWN, MISSING = -1, 0  # ids; the values have those from 1


class Vocabulary(Versioned, kind="TableEncoder.Vocabulary"):
    """The values seen so far, with ids in order of appearance, and the columns of a field.

    Frequent values have a column each, in sorted order; the infrequent ones share the next one.
    Missing values have the last one, if there were any.

    Parameters
    ----------
    min_frequency : int, float or None
        How often a value must occur to be frequent: a number, or a share of the rows.
    max_categories : int or None
        Largest number of columns, without that of missing values.
    """

    def __init__(self, min_frequency=None, max_categories=None):
        self._min_frequency, self._max_categories = min_frequency, max_categories
        self._ids = {}
        self._counts = np.zeros(1, np.int64)  # by id
        self._n_rows = 0

    def __getstate__(self):
        return super().__getstate__() | {"_ids": list(self._ids)}  # keys may be tuples

    def __setstate__(self, state):
        super().__setstate__(state)
        self._ids = {value: number for number, value in enumerate(self._ids, 1)}

    def learn(self, categories, n_rows, n_missing=0):
        codes, values = categories
        counts = np.bincount(codes + 1, minlength=len(values) + 1)
        for value in values:
            self._ids.setdefault(value, len(self._ids) + 1)
        n_new = len(self._ids) + 1 - self._counts.size
        self._counts = np.append(self._counts, np.zeros(n_new, np.int64))
        self._counts[self._find(values)[:-1]] += counts[1:]
        self._counts[MISSING] += counts[0] + n_missing
        self._n_rows += n_rows

    def finish(self, key=None):
        """Assign the columns; values are sorted by a key, or else by their type and size."""
        order = _sort(self.values, key)
        infrequent = self._find_infrequent(self._counts[1:][order])
        frequent = order[~infrequent]
        self._n_frequent, has_infrequent = frequent.size, bool(infrequent.any())
        self._has_missing = bool(self._counts[MISSING])
        unknown = self._n_frequent if has_infrequent else -1
        self.n_columns = self._n_frequent + has_infrequent + self._has_missing
        self._columns = np.full(order.size + 2, unknown, np.int32)  # by id, and for UNKNOWN
        self._columns[frequent + 1] = np.arange(frequent.size)
        if self._has_missing:
            self._columns[MISSING] = self.n_columns - 1

    def ids(self, categories):
        """The id of each row."""
        return self._find(categories.values)[categories.codes]

    def columns(self, categories):
        """The column of each row, -1 for none."""
        return self._columns[self._find(categories.values)][categories.codes]

    @property
    def missing_column(self):
        return self._columns[MISSING]

    @property
    def values(self):
        return list(self._ids)

    def ranks(self):
        """The position of each id in the sorted order of values; missing values come last."""
        order = _sort(self.values)
        ranks = np.empty(order.size + 1, np.intp)
        ranks[order + 1] = np.arange(order.size)
        ranks[MISSING] = order.size
        return ranks

    def labels(self, write=None):
        """A text for each column."""
        frequent = np.empty(self._n_frequent, dtype=object)
        columns = self._columns[1:-1]
        values = self.values
        for place in np.flatnonzero((columns >= 0) & (columns < self._n_frequent)):
            frequent[columns[place]] = values[place]
        texts = write_all(frequent.tolist()) if write is None else list(map(write, frequent))
        n_shared = self.n_columns - self._n_frequent - self._has_missing
        return [*texts, *["(infrequent)"] * n_shared, *["(missing)"] * self._has_missing]

    def _find(self, values):
        """Ids of values, and that of missing ones at the end, where the code -1 finds it."""
        ids = self._ids
        found = [ids.get(value, UNKNOWN) for value in values]
        return np.array([*found, MISSING], np.int32)

    def _find_infrequent(self, counts):
        """As OneHotEncoder: of equally frequent values, those that come later are kept."""
        minimum = self._min_frequency
        if minimum is not None and not isinstance(minimum, numbers.Integral):
            minimum = minimum * self._n_rows
        infrequent = counts < (minimum or 0)
        most = self._max_categories
        if most is not None and counts.size - infrequent.sum() + infrequent.any() > most:
            infrequent[np.argsort(counts, kind="stable")[: counts.size - (most - 1)]] = True
        return infrequent


def write_all(values):
    """A distinct text for each value."""
    texts = list(map(str, values))
    special = {"(infrequent)", "(missing)"} & set(texts)
    return list(map(repr, values)) if special or len(set(texts)) < len(texts) else texts


def _sort(values, key=None):
    """The order of values by a key, or else by their type (boolean, number, string) and size."""
    if key is None and len(set(map(type, values))) > 1:
        key = _by_type
    get = values.__getitem__ if key is None else lambda place: key(values[place])
    return np.array(sorted(range(len(values)), key=get), np.intp)


def _by_type(value):
    return (2 if isinstance(value, str) else 1 - isinstance(value, bool), value)
