"""Blocks of features from a log: what each kind learns, and the features of each row."""

import numbers
from itertools import chain

import numpy as np
from scipy import sparse

from skfm._kernels.splitmix64 import mix
from skfm._utils.ids import Ids, as_objects, find_missing, refuse_rows, simplify
from skfm._utils.pickling import Versioned
from skfm._utils.sorted_search import find_sorted
from skfm._utils.sparse_entries import (
    divide_entries,
    n_entries_by_row,
    ranks_within_rows,
    rows_of,
)
from skfm.preprocessing._event_log import Events
from skfm.preprocessing._log_table import NO_NUMBERS, as_seconds, to_float
from skfm.preprocessing._stacking import as_bags, one_hot

NOT_REAL = (bool, np.bool_, *NO_NUMBERS)
COLLECTIONS = (list, tuple, set, frozenset, np.ndarray)
DAMPING_OF_ITEMS, DAMPING_OF_USERS = 25, 10  # as in Koren (2010)


def write(levels):
    """A distinct text for each level."""
    objects = as_objects(levels)
    for write_one in (str, repr):  # 1 and "1" need the second
        texts = [write_one(level) for level in objects]
        if len(set(texts)) == len(texts):
            return texts
    return [f"{text}#{place}" for place, text in enumerate(texts)]


class Block(Versioned):
    """A group of features: each row of a log gets one row of a table."""

    needs: tuple[str, ...] = ()  # besides users and items: times, targets
    options: tuple[str, ...] = ()  # parameters of the encoder

    def __init__(self, field, **options):
        self.field = field
        vars(self).update(options)

    def learn(self, log):
        """Learn ``levels``, one for each feature, and what `look_up` requires."""
        raise NotImplementedError

    def look_up(self, log):
        """A table and, for each row of a log, the position of its row in the table, or -1."""
        raise NotImplementedError

    def names(self):
        return [f"{self.field}={text}" for text in write(self.levels)]


# One feature for each row


class OneHot(Block):
    def look_up(self, log):
        n = len(self.levels)
        return one_hot(np.arange(n), n), self.find(log)


class Users(OneHot, kind="UserBlock"):
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
    """Bins of time, of equal width."""

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
        return find_sorted(self.levels, self._pairs(log))

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


class Ratings(Bag):
    """Ratings of the user relative to a baseline, in the other folds than that of the row.

    The baseline of user u and item i is ``m + d_i + d_u``: the mean and damped deviations of the
    item from the mean, and of the user from mean and item, all computed from the same folds.
    """

    needs = ("targets",)
    options = ("n_folds",)

    def learn(self, log):
        self.levels = log.item_ids
        ratings = log.means
        self.folds = ratings.copy()
        # Folds by a hash of the items: of equal size for each user, up to one, in any order of
        # the rows. More folds than the largest number of ratings of a user are not needed.
        self.n_folds = min(self.n_folds, int(n_entries_by_row(ratings).max()))
        key = mix(ratings.indices.astype(np.uint64) + np.uint64(1))
        self.folds.data = ranks_within_rows(ratings, key) % self.n_folds
        kept = [
            divide_entries(ratings, self.folds.data == fold)[0] for fold in range(self.n_folds)
        ]
        self.table = sparse.vstack([_profiles(part) for part in (*kept, ratings)], format="csr")

    def find(self, log):
        n_users, n_items = self.folds.shape
        rated = rows_of(self.folds) * n_items + self.folds.indices
        pairs = log.users * n_items + log.items
        places = find_sorted(rated, pairs)
        is_known = (places >= 0) & (log.users >= 0) & (log.items >= 0)
        fold = np.where(is_known, self.folds.data[places], self.n_folds)
        return np.where(log.users < 0, -1, fold * n_users + log.users)


def _profiles(ratings):
    """Ratings less the baseline, divided by the square root of the number of the user's."""
    row, item, values = rows_of(ratings), ratings.indices, ratings.data
    n_users, n_items = ratings.shape
    with np.errstate(over="ignore", invalid="ignore"):
        rest = values - values.sum() / max(values.size, 1)
        of_item = np.bincount(item, rest, n_items)
        rest = rest - (of_item / (DAMPING_OF_ITEMS + np.bincount(item, minlength=n_items)))[item]
        n = np.bincount(row, minlength=n_users)
        rest = rest - (np.bincount(row, rest, n_users) / (DAMPING_OF_USERS + n))[row]
    if not np.isfinite(rest).all():
        raise ValueError("The sum of y is too large for float64; scale y.")
    return sparse.csr_matrix((rest / np.sqrt(n)[row], item, ratings.indptr), ratings.shape)


# Columns of their own


class Column(Block):
    options = ("position",)

    def _read(self, log):
        """The values that are not missing, and which rows have one."""
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
        places[present] = self.ids.find_expected(values, repr(self.field))
        return places


class Lists(Column):
    """Bags of the elements of lists. Other values count as lists of one; missing ones as empty."""

    def learn(self, log):
        self.ids, _ = Ids.learn(self._read(log)[0], repr(self.field))
        self.levels = self.ids.ids

    def look_up(self, log):
        members, rows = self._read(log)
        places = self.ids.find_expected(members, repr(self.field))
        events = Events(rows, places, np.ones(rows.size), None).known()
        shape = log.table.shape[0], len(self.levels)
        return as_bags(events.to_csr(shape, "sum", np.float64)), np.arange(shape[0])

    def _read(self, log):
        """The elements of all lists, and the row of each."""
        column = log.table.column(self.position).astype(object)
        lists = [value if isinstance(value, COLLECTIONS) else (value,) for value in column]
        lengths = list(map(len, lists))
        members = np.fromiter(chain.from_iterable(lists), dtype=object, count=sum(lengths))
        present = ~find_missing(members)
        return simplify(members[present]), np.repeat(np.arange(len(lists)), lengths)[present]


class Numbers(Column):
    """One feature, divided by its root mean square."""

    def learn(self, log):
        self.levels = [self.field]
        values = self._read(log)[0]
        largest = np.abs(values).max(initial=0) or 1.0  # its square may overflow
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
    if column.dtype.kind == "O" and any(isinstance(value, COLLECTIONS) for value in column):
        return Lists(field, position=position)
    present = column[~find_missing(column)]
    types = set(map(type, present)) if column.dtype.kind == "O" else {column.dtype.type}
    numeric = all(issubclass(t, numbers.Real) and not issubclass(t, NOT_REAL) for t in types)
    if numeric and types and not table.has_categories(position):
        return Numbers(field, position=position)
    return Levels(field, position=position)


def context(field, position, table):
    return Levels(field, position=position)


# By their names in the parameter `blocks` of the encoder.
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
