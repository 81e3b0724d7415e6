"""Text in the format of libffm, read chunk by chunk.

NumPy parses all rows of a chunk at once. If a chunk is refused, the same parser tries halves of it
until one word is left, which the error then names together with its line.
"""

from typing import NamedTuple

import numpy as np
from scipy import sparse

from skfm._utils.sparse import LARGEST_INT32, index_type

CHUNK_BYTES = 2**21  # read and parsed at once
N_DIGITS = 19  # of the largest int64
LARGEST_INT64 = np.iinfo(np.int64).max
NEWLINE, ZERO, COLON = b"\n0:"
# True for the bytes between numbers: colons, and what bytes.split() takes for white space.
GAPS = bytes(byte in b": \t\n\r\v\f" for byte in range(256))
NO_LABEL = "the first word of a line must be a label: a finite number"
NO_ENTRY = "must be field:feature:value with integers of at least 0 for field and feature"


def chunks(stream):
    """Whole lines, about CHUNK_BYTES at once."""
    while chunk := stream.read(CHUNK_BYTES):
        if not isinstance(chunk, bytes):
            raise TypeError("file must be a binary file object; open it in mode 'rb'.")
        yield chunk + stream.readline()


class Rows(NamedTuple):
    """What is in a text: arrays of shape (n_rows,), then arrays of shape (n_entries,)."""

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
        if self._refusal(chunk):
            raise ValueError(self._first_mistake(chunk))
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

    def _first_mistake(self, chunk):
        """The first word of a chunk that is refused, where it is, and why."""
        number, line, _ = self._first_refused(chunk.split(b"\n"), b"\n".join)
        word, *entries = line.split()
        reason = NO_LABEL
        if not self._refusal(word):
            _, word, reason = self._first_refused(entries, lambda some: b" ".join([b"0", *some]))
        text = word.decode("ascii", "backslashreplace")
        text = f"{text[:60]}..." if len(text) > 60 else text
        return f"{self.name}, line {self.n_lines + 1 + number}, '{text}': {reason}."

    def _first_refused(self, pieces, join):
        """The first piece of a refused text: its number, itself, and why it is refused."""
        number = 0
        while len(pieces) > 1:
            half = len(pieces) // 2
            if self._refusal(join(pieces[:half])):
                pieces = pieces[:half]
            else:
                number, pieces = number + half, pieces[half:]
        return number, pieces[0], self._refusal(join(pieces))

    def _refusal(self, text):
        """Keep the rows in a text; returns the reason if this is not possible, else None."""
        try:
            self._take(parse(text))
        except ValueError as error:
            return str(error)
        return None

    def _take(self, rows):
        if not (np.isfinite(rows.labels).all() and np.isfinite(rows.values).all()):
            raise ValueError("the value must be a finite number")
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


def parse(text):
    """The rows in a text, all at once; a ValueError says what some word in it should be."""
    padded = b"\n%b\n" % text  # so that there are gaps before the first number and after the last
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
        raise ValueError(NO_ENTRY)
    first, last = starts[~is_label].reshape(-1, 3).T, stops[~is_label].reshape(-1, 3).T
    # Two colons for each entry, and no others.
    joined = (text[last[:2]] == COLON) & (first[1:] - last[:2] == 1)
    if not joined.all() or np.count_nonzero(text == COLON) != joined.size:
        raise ValueError(NO_ENTRY)
    return Rows(
        counts // 3,
        _floats(text, starts[is_label], stops[is_label]),
        _ids(text, first[0], last[0]),
        _ids(text, first[1], last[1]),
        _floats(text, first[2], last[2]),
    )


def _ids(text, starts, stops):
    """Numbers made of digits only."""
    lengths = stops - starts
    total = np.zeros(starts.size, dtype=np.int64)
    for k in range(lengths.max(initial=0)):
        digit = text[stops - (k + 1)] - np.uint8(ZERO)  # below "0" wraps around to large ones
        digit[lengths <= k] = 0
        if (digit > 9).any():
            raise ValueError(NO_ENTRY)
        if k < N_DIGITS:
            total += np.multiply(digit, 10**k, dtype=np.int64)
        elif digit.any():
            total[digit > 0] = -1
    if ((total < 0) | (total == LARGEST_INT64)).any():  # numbers of 19 digits may have wrapped
        raise ValueError("field or feature is too large for 64 bits")
    return total


def _floats(text, starts, stops):
    """Any numbers. Single digits are so frequent that they have a way of their own."""
    digit = text[starts] - np.uint8(ZERO)
    parsed = digit.astype(np.float64)
    rest = np.flatnonzero((stops - starts > 1) | (digit > 9))
    starts, sizes = starts[rest], stops[rest] - starts[rest] + 1  # with the gap behind
    ends = np.cumsum(sizes)
    places = np.arange(sizes.sum()) + np.repeat(starts - (ends - sizes), sizes)
    words = text[places].tobytes()
    try:
        if b"_" in words:  # which float would take
            raise ValueError
        parsed[rest] = np.fromiter(map(float, words.split()), np.float64, count=rest.size)
    except ValueError:
        raise ValueError("the value must be a number") from None
    return parsed


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
