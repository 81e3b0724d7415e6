"""Fields of categories, hashes and combinations: what they learn, and the entries of each row."""

from typing import NamedTuple

import numpy as np
from scipy import sparse

from skfm._kernels.splitmix64 import GAMMA, mix
from skfm._utils.pickling import Versioned
from skfm.preprocessing._columns import Categories
from skfm.preprocessing._vocabulary import UNKNOWN, Vocabulary

NO_VALUES = np.empty(0)


class Entries(NamedTuple):
    """At most one entry in each row of a field."""

    columns: np.ndarray  # int32, -1 for none
    values: np.ndarray = NO_VALUES  # empty if all are 1


class Block(Versioned, kind="TableEncoder.Block"):
    """One field of the output.

    A block reads a column of the table, so that errors come before anything is learned; learns
    from it, perhaps several times; and finishes. Then it has ``n_columns``.
    """

    is_stateless = False
    needs_target = False
    can_be_crossed = False
    changes_ids = False  # when more is learned

    def __init_subclass__(cls):
        super().__init_subclass__(kind=f"TableEncoder.{cls.__name__}")  # its name in files

    def __init__(self, field, kind, **options):
        self.field, self.kind = field, kind
        vars(self).update(options)

    def read(self, column):
        """Raise an error if the column cannot be encoded."""

    def learn(self, column):
        """Learn from the column of a table."""

    def finish(self):
        """Assign the columns of the output."""

    def encode(self, column):
        """The entries of each row: `Entries`, or a CSR matrix."""
        raise NotImplementedError

    def labels(self):
        """A text for each column of the output."""
        raise NotImplementedError

    def names(self):
        return [f"{self.field}={label}" for label in self.labels()]

    def describe(self):
        """More about the block, in a few words."""
        return ""

    # For crossed fields

    def ids(self, column):
        """A number for each row, which stays the same when more is learned; -1 if unknown."""
        return self.encode(column).columns

    def ranks(self):
        """The order of the ids."""
        return np.arange(self.n_columns)

    def id_labels(self):
        return self.labels()


class Category(Block):
    """One column for each value."""

    can_be_crossed = True

    def __init__(self, field, kind, min_frequency, max_categories):
        super().__init__(field, kind)
        self._vocabulary = Vocabulary(min_frequency, max_categories)

    def read(self, column):
        return column.categories

    def learn(self, column):
        self._vocabulary.learn(column.categories, len(column))

    def finish(self):
        self._vocabulary.finish()
        self.n_columns = self._vocabulary.n_columns

    def encode(self, column):
        return Entries(self._vocabulary.columns(column.categories))

    def labels(self):
        return self._vocabulary.labels()

    def describe(self):
        return f"{len(self._vocabulary.values)} values"

    def ids(self, column):
        return self._vocabulary.ids(column.categories)

    def ranks(self):
        return self._vocabulary.ranks()

    def id_labels(self):
        return ["(missing)", *map(str, self._vocabulary.values)]


class Hashed(Block):
    """A given number of columns; the last one is for missing values."""

    can_be_crossed = True
    is_stateless = True

    def __init__(self, field, kind, n_features, seed):
        super().__init__(field, kind, n_columns=n_features, seed=seed)

    def read(self, column):
        column.check_values()

    def encode(self, column):
        return Entries(self._place(column.hashes(self.seed), column.missing))

    def _place(self, hashes, missing):
        columns = (hashes % np.uint64(self.n_columns - 1)).astype(np.int32)
        columns[missing] = self.n_columns - 1
        return columns

    def labels(self):
        return [*(f"#{number}" for number in range(self.n_columns - 1)), "(missing)"]

    def collisions(self, column):
        """The share of the distinct values of a column that share a column of the output."""
        hashes = np.unique(self._hashes_of_values(column))
        n_sharing = np.bincount((hashes % np.uint64(self.n_columns - 1)).astype(np.intp))
        return float(n_sharing[n_sharing > 1].sum() / max(hashes.size, 1))

    def _hashes_of_values(self, column):
        return column.hashes(self.seed)[~column.missing]


class Bag(Block):
    """Several values in a row, normalized: each of n distinct ones has the value 1/sqrt(n)."""

    def __init__(self, field, kind, sep, min_frequency, max_categories):
        super().__init__(field, kind, sep=sep)
        self._vocabulary = Vocabulary(min_frequency, max_categories)

    def read(self, column):
        return column.lists(self.sep).elements.categories

    def learn(self, column):
        _, missing, elements = column.lists(self.sep)
        codes, values = elements.categories
        known = Categories(codes[codes >= 0], values)
        self._vocabulary.learn(known, len(column), missing.sum())

    def finish(self):
        self._vocabulary.finish()
        self.n_columns = self._vocabulary.n_columns

    def encode(self, column):
        indptr, missing, elements = column.lists(self.sep)
        columns = np.where(elements.missing, -1, self._vocabulary.columns(elements.categories))
        return as_bags(indptr, columns, missing, self._vocabulary.missing_column, self.n_columns)

    def labels(self):
        return self._vocabulary.labels()

    def describe(self):
        return f"{len(self._vocabulary.values)} values"


class HashedBag(Hashed):
    """The same with hashed values."""

    can_be_crossed = False

    def __init__(self, field, kind, sep, n_features, seed):
        super().__init__(field, kind, n_features, seed)
        self.sep = sep

    def read(self, column):
        column.lists(self.sep).elements.check_values()

    def encode(self, column):
        indptr, missing, elements = column.lists(self.sep)
        columns = self._place(elements.hashes(self.seed), elements.missing)
        columns[elements.missing] = -1
        return as_bags(indptr, columns, missing, self.n_columns - 1, self.n_columns)

    def _hashes_of_values(self, column):
        elements = column.lists(self.sep).elements
        return elements.hashes(self.seed)[~elements.missing]


def as_bags(indptr, columns, missing, missing_column, n_columns):
    """A CSR matrix with rows of length 1; columns of -1 are left out."""
    rows = np.repeat(np.arange(indptr.size - 1), np.diff(indptr))
    known = columns >= 0
    rows, columns = rows[known], columns[known]
    if missing_column >= 0:
        absent = np.flatnonzero(missing)
        rows = np.append(rows, absent)
        columns = np.append(columns, np.full(absent.size, missing_column))
    shape = indptr.size - 1, n_columns
    bags = sparse.csr_matrix((np.ones(rows.size), (rows, columns)), shape)
    bags.sum_duplicates()
    n = np.diff(bags.indptr)
    bags.data = np.repeat(1 / np.sqrt(np.maximum(n, 1)), n)
    return bags


class Cross(Block):
    """One column for each combination of the ids of several fields."""

    def __init__(self, field, kind, members, min_frequency, max_categories):
        super().__init__(field, kind, members=members)
        self._vocabulary = Vocabulary(min_frequency, max_categories)
        self._labels = None

    def learn(self, ids):
        self._vocabulary.learn(_combine(ids), ids[0].size)

    def finish(self, blocks):
        ranks = [block.ranks() for block in blocks]
        texts = [block.id_labels() for block in blocks]
        self._vocabulary.finish(
            lambda ids: tuple(rank[i] for rank, i in zip(ranks, ids, strict=True))
        )
        self.n_columns = self._vocabulary.n_columns
        self._labels = self._vocabulary.labels(
            lambda ids: "*".join(text[i] for text, i in zip(texts, ids, strict=True))
        )

    def encode(self, ids):
        return Entries(self._vocabulary.columns(_combine(ids)))

    def labels(self):
        return self._labels

    def describe(self):
        return f"{len(self._vocabulary.values)} combinations"


class HashedCross(Block):
    """A given number of columns for the combinations of the columns of several fields."""

    is_stateless = True

    def __init__(self, field, kind, members, n_features, seed):
        super().__init__(field, kind, members=members, n_columns=n_features, seed=seed)

    def finish(self, blocks):
        pass

    def encode(self, columns):
        hashes = mix(np.full(columns[0].size, self.seed, np.uint64))
        known = np.ones(columns[0].size, bool)
        for part in columns:
            hashes = mix((hashes + GAMMA) ^ part.astype(np.uint64))
            known &= part >= 0
        places = (hashes % np.uint64(self.n_columns)).astype(np.int32)
        return Entries(np.where(known, places, np.int32(-1)))

    def labels(self):
        return [f"#{number}" for number in range(self.n_columns)]


def _combine(ids):
    """Combinations of ids as categories; a combination with an unknown id is an unknown one."""
    codes, values = combine(ids)
    if codes.min(initial=0) >= 0:
        return Categories(codes, values)
    return Categories(np.where(codes < 0, len(values), codes), [*values, (UNKNOWN,) * len(ids)])


def combine(ids):
    """Combinations of ids as categories; a combination with an unknown id is a missing one."""
    known = np.logical_and.reduce([part >= 0 for part in ids])
    code = np.zeros(known.sum(), np.int64)
    first = np.zeros(min(code.size, 1), np.intp)
    for part in ids:
        part = part[known].astype(np.int64)
        if part.size:
            pairs = code * (part.max() + 1) + part
            _, first, code = np.unique(pairs, return_index=True, return_inverse=True)
    columns = [part[known][first].tolist() for part in ids]
    codes = np.full(known.size, -1, np.int32)
    codes[known] = code
    return Categories(codes, list(zip(*columns, strict=True)))
