"""Blocks of features made of a log: what each kind learns, and what each row gets."""

import numbers
from itertools import chain

import numpy as np
from scipy import sparse

from skfm._cells import parts, rows_of
from skfm._gathering import as_bags, one_hot
from skfm._logs import (
    NO_NUMBERS,
    Events,
    Ids,
    as_objects,
    as_seconds,
    find_missing,
    refuse_rows,
    simplify,
    to_float,
)

NOT_REAL = (bool, np.bool_, *NO_NUMBERS)
COLLECTIONS = (list, tuple, set, frozenset, np.ndarray)
DAMPING_OF_ITEMS, DAMPING_OF_USERS = 25, 10  # as in Koren (2010)
ROWS_AT_A_TIME = 8192  # of ratings, to bound the memory


def write(levels):
    """A text for each level, no two of them the same."""
    objects = as_objects(levels)
    for write_one in (str, repr):  # 1 and "1" need the second
        texts = [write_one(level) for level in objects]
        if len(set(texts)) == len(texts):
            return texts
    return [f"{text}#{place}" for place, text in enumerate(texts)]


class Block:
    """Some features of a log: each of its rows gets one row of a table."""

    needs = ()  # what else than users and items: times, targets
    options = ()  # parameters of the encoder

    def __init__(self, field, **options):
        self.field = field
        vars(self).update(options)

    def learn(self, log):
        """Learn ``levels``, one for each feature, and whatever `look_up` takes."""
        raise NotImplementedError

    def look_up(self, log):
        """A table and, for each row of a log, the place of its row in there, -1 for none."""
        raise NotImplementedError

    def names(self):
        return [f"{self.field}={text}" for text in write(self.levels)]


# One feature for each row


class OneHot(Block):
    def look_up(self, log):
        n = len(self.levels)
        return one_hot(np.arange(n), n), self.find(log)


class Users(OneHot):
    def learn(self, log):
        self.levels = log.user_ids

    def find(self, log):
        return log.users


class Items(OneHot):
    def learn(self, log):
        self.levels = log.item_ids

    def find(self, log):
        return log.items


class Bins(OneHot):
    """Bins of time, equally wide."""

    needs = ("times",)
    options = ("n_bins",)

    def learn(self, log):
        seconds = as_seconds(log.times)
        with np.errstate(over="ignore", invalid="ignore"):
            self.edges = np.linspace(seconds.min(), seconds.max(), self.n_bins + 1)[1:-1]
        if not np.isfinite(self.edges).all():
            raise ValueError("The times are too far apart for float64; scale them.")
        self.levels = np.arange(self.n_bins)

    def find(self, log):
        return np.searchsorted(self.edges, as_seconds(log.times), side="right")


class UserBins(Bins):
    """Pairs of a user and a bin of time."""

    def learn(self, log):
        super().learn(log)
        self.user_ids = log.user_ids
        self.levels = np.unique(self._pairs(log))

    def find(self, log):
        pairs = self._pairs(log)
        places = np.searchsorted(self.levels, pairs)
        places[places == self.levels.size] = 0
        places[self.levels[places] != pairs] = -1
        return places

    def names(self):
        users = write(self.user_ids)
        pairs = map(divmod, self.levels.tolist(), [self.n_bins] * self.levels.size)
        return [f"{self.field}={users[user]}/{place}" for user, place in pairs]

    def _pairs(self, log):
        return log.users * self.n_bins + super().find(log)


# Bags: several features of equal values for each row


class Bag(Block):
    def look_up(self, log):
        return self.table, self.find(log)


class History(Bag):
    """The items of the user."""

    def learn(self, log):
        self.levels, self.table = log.item_ids, as_bags(log.pairs)

    def find(self, log):
        return log.users


class Raters(Bag):
    """The users of the item."""

    def learn(self, log):
        self.levels, self.table = log.user_ids, as_bags(log.pairs.T.tocsr())

    def find(self, log):
        return log.items


class Previous(Bag):
    """The items of the user's previous basket."""

    needs = ("times",)

    def learn(self, log):
        self.levels, self.baskets = log.item_ids, log.baskets
        self.table = as_bags(self.baskets.items, power=1)

    def find(self, log):
        return self.baskets.before(log)


class Last(Previous):
    """The items of the user's last events."""

    options = ("n_last",)

    def learn(self, log):
        super().learn(log)
        self.table = as_bags(self.baskets.latest_items(self.n_last))


# Ratings


class Ratings(Block):
    """What the user's ratings of other items have above a baseline.

    The baseline of user u and item i is ``m + d_i + d_u``: the mean and two damped deviations,
    the user's being of what the item's leaves over. A row's own pair is left out of all sums.
    """

    needs = ("targets",)

    def learn(self, log):
        self.levels = log.item_ids
        ratings = log.means
        n = np.bincount(ratings.indices, minlength=len(log.item_ids))
        with np.errstate(over="ignore", invalid="ignore"):
            totals = np.bincount(ratings.indices, ratings.data, minlength=n.size)
            self.total, self.n_ratings = ratings.data.sum(), ratings.nnz
        if not np.isfinite([self.total, *totals]).all():
            raise ValueError("The sum of y is too large for float64; scale y.")
        # m + d_i, as a function of m. A row's own rating is of no other item.
        self.offset, self.slope = totals / (DAMPING_OF_ITEMS + n), 1 - n / (DAMPING_OF_ITEMS + n)
        self.table = ratings.copy()
        self.table.data -= self.offset[ratings.indices]

    def look_up(self, log):
        known = np.flatnonzero(log.users >= 0)
        starts = range(0, max(known.size, 1), ROWS_AT_A_TIME)
        chunks = [known[start : start + ROWS_AT_A_TIME] for start in starts]
        tables = [self._rows(log.users[chunk], log.items[chunk]) for chunk in chunks]
        places = np.full(log.users.size, -1)
        places[known] = np.arange(known.size)
        return sparse.vstack(tables, format="csr"), places

    def _rows(self, users, items):
        rows = self.table[users]
        others, own = parts(rows, rows.indices == items[rows_of(rows)])
        left_out = np.zeros(users.size)
        left_out[rows_of(own)] = own.data + self.offset[own.indices]
        n_left = self.n_ratings - np.diff(own.indptr)
        mean = (self.total - left_out) / np.maximum(n_left, 1)
        row, n = rows_of(others), np.diff(others.indptr)
        rest = others.data - mean[row] * self.slope[others.indices]
        deviation = np.bincount(row, rest, minlength=n.size) / (DAMPING_OF_USERS + n)
        others.data = (rest - deviation[row]) / np.sqrt(n)[row]
        return others


# Columns of their own


class Column(Block):
    options = ("position",)

    def _read(self, log):
        """The values that are there, and which rows have one."""
        column = log.table.column(self.position)
        present = ~find_missing(column)
        return simplify(column[present]), present


class Levels(OneHot, Column):
    def learn(self, log):
        self.ids, _ = Ids.learn(self._read(log)[0], repr(self.field))
        self.levels = self.ids.ids

    def find(self, log):
        values, present = self._read(log)
        places = np.full(present.size, -1)
        places[present] = self.ids.find(values, repr(self.field))
        return places


class Lists(Column):
    """Bags of the members of lists. What is no list is a list of one, or of none if missing."""

    def learn(self, log):
        self.ids, _ = Ids.learn(self._read(log)[0], repr(self.field))
        self.levels = self.ids.ids

    def look_up(self, log):
        members, rows = self._read(log)
        places = self.ids.find(members, repr(self.field))
        events = Events(rows, places, np.ones(rows.size), None).known()
        shape = log.table.shape[0], len(self.levels)
        return as_bags(events.to_csr(shape, "sum", np.float64)), np.arange(shape[0])

    def _read(self, log):
        """The members of all lists, and the row of each."""
        column = log.table.column(self.position).astype(object)
        cells = [cell if isinstance(cell, COLLECTIONS) else (cell,) for cell in column]
        lengths = list(map(len, cells))
        members = np.fromiter(chain.from_iterable(cells), dtype=object, count=sum(lengths))
        present = ~find_missing(members)
        return simplify(members[present]), np.repeat(np.arange(len(cells)), lengths)[present]


class Numbers(Column):
    """One feature, divided by the root of its mean square."""

    def learn(self, log):
        self.levels = [self.field]
        values = self._read(log)[0]
        largest = np.abs(values).max(initial=0) or 1.0  # its square may be too large
        self.scale = largest * np.sqrt(np.mean((values / largest) ** 2)) if values.any() else 1.0

    def look_up(self, log):
        values, present = self._read(log)
        table = one_hot(np.zeros(values.size, dtype=int), 1)
        with np.errstate(over="ignore"):
            table.data = values / self.scale
        places = np.where(present, np.cumsum(present) - 1, -1)
        return table, places

    def names(self):
        return [self.field]

    def _read(self, log):
        column = log.table.column(self.position)
        present = ~find_missing(column)
        subject = f"Column {self.field!r}, where fit found numbers,"
        values = np.full(column.size, np.nan)
        values[present] = to_float(column[present], "numbers", subject)
        refuse_rows(np.isinf(values), f"numbers of {self.field!r} are infinite")
        return values[present], present


def attribute(field, position, table):
    """The block for a column of attributes, by what the column holds."""
    column = table.column(position)
    if column.dtype.kind == "O" and any(isinstance(cell, COLLECTIONS) for cell in column):
        return Lists(field, position=position)
    present = column[~find_missing(column)]
    types = set(map(type, present)) if column.dtype.kind == "O" else {column.dtype.type}
    numeric = all(issubclass(t, numbers.Real) and not issubclass(t, NOT_REAL) for t in types)
    if numeric and types and not table.has_categories(position):
        return Numbers(field, position=position)
    return Levels(field, position=position)


def context(field, position, table):
    return Levels(field, position=position)


# By what the encoder's `blocks` calls them.
OF_A_LOG = {
    "user": Users,
    "item": Items,
    "history": History,
    "ratings": Ratings,
    "previous": Previous,
    "last": Last,
    "raters": Raters,
    "time": Bins,
    "user_time": UserBins,
}
OF_A_COLUMN = {"context": context, "attributes": attribute}
