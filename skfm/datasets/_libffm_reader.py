"""Text in the format of libffm, read chunk by chunk."""

import numpy as np
from scipy import sparse

from skfm._utils.sparse import LARGEST_INT32, index_type
from skfm._utils.sparse_text import LARGEST_INT64, check_finite, first_mistake, parse


class Reader:
    """Checks chunk after chunk and keeps what is in them, in arrays as small as they can be."""

    def __init__(self, name, n_features, dtype, zero_based, split):
        self.name = name
        self.n_features = n_features
        self.dtype = dtype
        self.zero_based = zero_based
        self.split = split
        self.n_lines = 0
        self.lowest, self.highest = LARGEST_INT64, -1  # features so far
        size = 0 if n_features is None else n_features + 1
        self.table = np.full(size, -1, dtype=np.int64)  # the first field of each feature so far
        self.shared = False
        self.labels, self.counts, self.fields, self.features, self.values = ([] for _ in range(5))

    def add(self, chunk):
        if self._refusal(chunk):
            raise ValueError(first_mistake(chunk, self._refusal, self.name, self.n_lines))
        self.n_lines += chunk.count(b"\n")

    def finish(self):
        """X, y and fields."""
        y = _joined(self.labels, np.float64)
        if not y.size:
            raise ValueError(f"{self.name} is empty: it has no rows.")
        features = _joined(self.features, np.int32)
        one_based = not self.zero_based or (self.zero_based == "auto" and self.lowest > 0)
        shift = int(one_based)
        n_columns = self.highest + 1 - shift if self.n_features is None else self.n_features
        features -= shift
        table = self.table[shift : shift + n_columns].copy()
        if self.shared:
            features, table = _split_features(features, _joined(self.fields, np.uint8), table)
        index = index_type(table.size, features.size)
        indptr = np.zeros(y.size + 1, dtype=index)
        np.cumsum(_joined(self.counts, np.int64), out=indptr[1:])
        X = sparse.csr_matrix(
            (_joined(self.values, self.dtype), features.astype(index, copy=False), indptr),
            shape=(y.size, table.size),
        )
        with np.errstate(over="ignore", invalid="ignore"):
            X.sum_duplicates()
        if not np.isfinite(X.data).all():  # single values are, so this is a sum
            row = np.searchsorted(X.indptr, np.argmin(np.isfinite(X.data)), side="right") - 1
            raise ValueError(
                f"{self.name}: row {row} of X (counted from 0) contains a feature several times, "
                f"with values whose sum is too large for {self.dtype.name}; scale the values."
            )
        return X, y, table

    def _refusal(self, text):
        """Keep the rows in a text; returns the reason if this is not possible, else None."""
        try:
            self._take(parse(text))
        except ValueError as error:
            return str(error)
        return None

    def _take(self, rows):
        check_finite(rows)
        with np.errstate(over="ignore"):
            values = rows.values.astype(self.dtype, copy=False)
        if not np.isfinite(values).all():
            raise ValueError("the value is too large for float32; use dtype=np.float64")
        lowest = min(self.lowest, int(rows.features.min(initial=LARGEST_INT64)))
        highest = max(self.highest, int(rows.features.max(initial=-1)))
        self._check_range(lowest, highest)
        self._make_room(highest)
        # A text that is refused below leaves its first fields in the table: in each part of it
        # they come first as well.
        new = self.table[rows.features] < 0
        # Backwards: what is assigned last stays, and that is the first one in the file.
        self.table[rows.features[new][::-1]] = rows.fields[new][::-1]
        first = self.table[rows.features]
        differ = first != rows.fields
        if differ.any():
            self.shared = True
            if not self.split:
                k = np.argmax(differ)
                raise ValueError(
                    f"feature {rows.features[k]} occurs in the fields {first[k]} and "
                    f"{rows.fields[k]}; number the features of different fields differently, or "
                    "use on_shared='split' to give each pair of field and feature its own column"
                )
        self.lowest, self.highest = lowest, highest
        self.labels.append(rows.labels)
        self.counts.append(rows.counts)
        self.features.append(_shrunk(rows.features, np.int32))
        self.values.append(values)
        if self.split:
            self.fields.append(_shrunk(rows.fields, np.uint8, np.int32))

    def _check_range(self, lowest, highest):
        n = LARGEST_INT64 if self.n_features is None else self.n_features
        if self.zero_based is not False and highest < n:
            return
        if self.zero_based is not True and lowest > 0 and highest <= n:
            return
        if not self.zero_based and lowest == 0:
            raise ValueError("feature 0, but with zero_based=False features start at 1")
        raise ValueError(
            f"features from {lowest} to {highest} do not fit into n_features={self.n_features} "
            f"columns with zero_based={self.zero_based!r}"
        )

    def _make_room(self, highest):
        if highest < self.table.size:
            return
        # Half as much again, so that few chunks make the table grow.
        try:
            table = np.full(max(highest + 1, self.table.size * 3 // 2), -1, dtype=np.int64)
        except (MemoryError, ValueError):
            raise ValueError(
                "there is not enough memory for so many features; renumber or hash them"
            ) from None
        table[: self.table.size] = self.table
        self.table = table


def _split_features(features, fields, table):
    """Give the entries whose field is not the smallest of their feature columns of their own.

    Returns the column of each entry and the field of each column.
    """
    lower = fields < table[features]
    np.minimum.at(table, features[lower], fields[lower])
    others = np.flatnonzero(fields != table[features])
    order = np.lexsort((features[others], fields[others]))
    others = others[order]
    of_feature, of_field = features[others], fields[others]
    new = np.ones(others.size, dtype=bool)
    new[1:] = (of_feature[1:] != of_feature[:-1]) | (of_field[1:] != of_field[:-1])
    columns = table.size - 1 + np.cumsum(new)
    if columns[-1] > LARGEST_INT32:
        features = features.astype(np.int64, copy=False)
    features[others] = columns
    return features, np.concatenate([table, of_field[new]])


def _shrunk(ids, *types):
    """In the first of these types that is large enough."""
    highest = ids.max(initial=0)
    small = (kind for kind in types if highest <= np.iinfo(kind).max)
    return ids.astype(next(small, np.int64), copy=False)


def _joined(parts, dtype):
    """One array, never a caller's; its parts are let go."""
    array = np.concatenate(parts) if parts else np.empty(0, dtype=dtype)
    parts.clear()
    return array
