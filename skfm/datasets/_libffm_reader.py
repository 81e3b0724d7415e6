"""Text in the format of libffm, read chunk by chunk.

A chunk is parsed by NumPy, all rows at once. If anything in it is not as it should be, it is read
again word by word, which finds the word that is wrong, or numbers that are only unusual.
"""

import re
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from skfm._utils.sparse import LARGEST_INT32, index_type

CHUNK_BYTES = 2**21  # read and parsed at once
LONGEST_ID = 18  # digits which fit into int64 whatever they are
LARGEST_INT64 = np.iinfo(np.int64).max
NEWLINE, ZERO, COLON = b"\n0:"
# True for the bytes between numbers: colons, and what bytes.split() takes for white space.
GAPS = bytes(byte in b": \t\n\r\v\f" for byte in range(256))
ENTRY = re.compile(rb"([0-9]+):([0-9]+):([^:]+)")


def chunks(stream):
    """Whole lines, about CHUNK_BYTES at once."""
    while chunk := stream.read(CHUNK_BYTES):
        if not isinstance(chunk, bytes):
            raise TypeError("file must be a binary file object; open it in mode 'rb'.")
        chunk += stream.readline()
        yield chunk if chunk.endswith(b"\n") else chunk + b"\n"


@dataclass
class Rows:
    """What is in a chunk: arrays of shape (n_rows,), then arrays of shape (n_entries,)."""

    counts: np.ndarray  # of entries
    labels: np.ndarray
    fields: np.ndarray
    features: np.ndarray
    values: np.ndarray


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
        rows = parse(chunk)
        if rows is None or not self._take(rows):
            self._take(self._parse_by_word(chunk))
        self.n_lines += chunk.count(b"\n")

    def finish(self):
        """X, y and fields."""
        y = _joined(self.labels, np.float64)
        if not y.size:
            raise ValueError(f"{self.name} is empty: it has no row.")
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
                f"{self.name}: row {row} of X (counted from 0) has a feature several times, with "
                f"values whose sum is too large for {self.dtype.name}; scale the values."
            )
        return X, y, table

    def _take(self, rows):
        """Keep some rows, if they are as they should be; returns whether they are."""
        with np.errstate(over="ignore"):
            values = rows.values.astype(self.dtype, copy=False)
        if not (np.isfinite(rows.labels).all() and np.isfinite(values).all()):
            return False
        lowest = min(self.lowest, int(rows.features.min(initial=LARGEST_INT64)))
        highest = max(self.highest, int(rows.features.max(initial=-1)))
        if not (self._fits(lowest, highest) and self._makes_room(highest)):
            return False
        new = self.table[rows.features] < 0
        # Backwards: what is assigned last stays, and that is the first one in the file.
        self.table[rows.features[new][::-1]] = rows.fields[new][::-1]
        if (self.table[rows.features] != rows.fields).any():
            self.shared = True
            if not self.split:
                return False
        self.lowest, self.highest = lowest, highest
        self.labels.append(rows.labels)
        self.counts.append(rows.counts)
        self.features.append(_shrunk(rows.features, np.int32))
        self.values.append(values)
        if self.split:
            self.fields.append(_shrunk(rows.fields, np.uint8, np.int32))
        return True

    def _fits(self, lowest, highest):
        """Whether features in that range are allowed."""
        n = LARGEST_INT64 if self.n_features is None else self.n_features
        from_zero, from_one = highest < n, lowest > 0 and highest <= n
        if self.zero_based == "auto":
            return from_zero or from_one
        return from_zero if self.zero_based else from_one

    def _makes_room(self, highest):
        """Whether there is memory for so many features."""
        if highest < self.table.size:
            return True
        # Half as much again, so that few chunks make the table grow.
        try:
            table = np.full(max(highest + 1, self.table.size * 3 // 2), -1, dtype=np.int64)
        except (MemoryError, ValueError):
            return False
        table[: self.table.size] = self.table
        self.table = table
        return True

    def _parse_by_word(self, chunk):
        """The rows of a chunk, or an error that names the first word in it that is wrong."""
        counts, labels, entries = [], [], []
        for number, line in enumerate(chunk.split(b"\n"), start=self.n_lines + 1):
            words = line.split()
            for k, word in enumerate(words):
                try:
                    if k == 0:
                        labels.append(_read_label(word))
                    else:
                        entries.append(self._read_entry(word))
                except ValueError as error:
                    text = word.decode("ascii", "backslashreplace")
                    text = f"{text[:60]}..." if len(text) > 60 else text
                    message = f"{self.name}, line {number}, '{text}': {error}."
                    raise ValueError(message) from None
            if words:
                counts.append(len(words) - 1)
        fields, features, values = zip(*entries, strict=True) if entries else ((), (), ())
        ids = (np.array(column, dtype=np.int64) for column in (counts, fields, features))
        counts, fields, features = ids
        return Rows(counts, np.array(labels), fields, features, np.array(values, np.float64))

    def _read_entry(self, word):
        """Field, feature and value; adds the feature to the table."""
        entry = ENTRY.fullmatch(word)
        if entry is None:
            raise ValueError(
                "must be field:feature:value with integers of at least 0 for field and feature"
            )
        field, feature = _to_id(entry[1]), _to_id(entry[2])
        if max(field, feature) >= LARGEST_INT64:
            raise ValueError("field or feature is too large for 64 bits")
        value = _to_float(entry[3], "the value must be a number")
        if not np.isfinite(value):
            raise ValueError("the value must be a finite number")
        with np.errstate(over="ignore"):
            if not np.isfinite(self.dtype.type(value)):
                raise ValueError("the value is too large for float32; use dtype=np.float64")
        self.lowest, self.highest = min(self.lowest, feature), max(self.highest, feature)
        if not self._fits(self.lowest, self.highest):
            if not self.zero_based and feature == 0:
                raise ValueError("feature 0, but zero_based=False says that features start at 1")
            raise ValueError(
                f"features from {self.lowest} to {self.highest} do not fit into "
                f"n_features={self.n_features} columns with zero_based={self.zero_based!r}"
            )
        if not self._makes_room(feature):
            raise ValueError(
                "there is not enough memory for so many features; renumber or hash them"
            )
        first = self.table[feature]
        if first < 0:
            self.table[feature] = field
        elif first != field and not self.split:
            raise ValueError(
                f"feature {feature} occurs under the fields {first} and {field}; number the "
                "features of different fields differently, or use on_shared='split' to give each "
                "pair of field and feature its own column"
            )
        return field, feature, value


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


def parse(chunk):
    """The rows of a chunk, all at once; None if anything in it is not as it should be."""
    padded = b"\n" + chunk  # so that there is a gap before the first number as after the last
    text = np.frombuffer(padded, dtype=np.uint8)
    gap = np.frombuffer(padded.translate(GAPS), dtype=np.bool_)
    edges = np.flatnonzero(gap[1:] != gap[:-1]) + 1
    starts, stops = edges[::2], edges[1::2]
    past = np.searchsorted(starts, np.flatnonzero(text == NEWLINE))
    counts = np.diff(past)  # of numbers in each line
    is_label = np.zeros(starts.size, dtype=bool)
    is_label[past[:-1][counts > 0]] = True
    counts = counts[counts > 0]
    if (counts % 3 != 1).any():
        return None
    first, last = starts[~is_label].reshape(-1, 3).T, stops[~is_label].reshape(-1, 3).T
    # Two colons for each entry, and no others.
    joined = (text[last[:2]] == COLON) & (first[1:] - last[:2] == 1)
    if not joined.all() or np.count_nonzero(text == COLON) != joined.size:
        return None
    rows = Rows(
        counts // 3,
        _floats(text, starts[is_label], stops[is_label]),
        _ids(text, first[0], last[0]),
        _ids(text, first[1], last[1]),
        _floats(text, first[2], last[2]),
    )
    return None if any(array is None for array in vars(rows).values()) else rows


def _ids(text, starts, stops):
    """Numbers made of digits only, else None."""
    lengths = stops - starts
    longest = lengths.max(initial=0)
    if longest > LONGEST_ID:
        return None
    total = np.zeros(starts.size, dtype=np.int64)
    for k in range(longest):
        digit = text[stops - (k + 1)] - np.uint8(ZERO)  # below "0" wraps around to large ones
        digit[lengths <= k] = 0
        if (digit > 9).any():
            return None
        total += np.multiply(digit, 10**k, dtype=np.int64)
    return total


def _floats(text, starts, stops):
    """Any numbers, else None. Single digits are so frequent that they have a way of their own."""
    digit = text[starts] - np.uint8(ZERO)
    parsed = digit.astype(np.float64)
    rest = np.flatnonzero((stops - starts > 1) | (digit > 9))
    starts, sizes = starts[rest], stops[rest] - starts[rest] + 1  # with the gap behind
    ends = np.cumsum(sizes)
    places = np.arange(sizes.sum()) + np.repeat(starts - (ends - sizes), sizes)
    words = text[places].tobytes()
    if b"_" in words:  # which float would take
        return None
    try:
        parsed[rest] = np.fromiter(map(float, words.split()), np.float64, count=rest.size)
    except ValueError:
        return None
    return parsed


def _read_label(word):
    label = _to_float(word, "the first word of a line must be a label: a number")
    if not np.isfinite(label):
        raise ValueError("the label must be a finite number")
    return label


def _to_float(word, complaint):
    try:
        if b"_" not in word:  # which float would take
            return float(word)
    except ValueError:
        pass
    raise ValueError(complaint)


def _to_id(digits):
    """Python refuses to convert thousands of digits; so many are too many anyway."""
    digits = digits.lstrip(b"0")
    return int(digits or b"0") if len(digits) <= LONGEST_ID + 1 else LARGEST_INT64


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
