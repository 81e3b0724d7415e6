"""Files in the text format of libffm: a label and field:feature:value entries in each line."""

import bz2
import gzip
import io
import numbers
import os
import re
import shutil
import uuid
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.utils import check_array

from skfm._utils import validation as door
from skfm._utils.sparse import check_sparse
from skfm._utils.typing import FloatArray, FloatDType, Int, IntArray, MatrixLike, SparseMatrix

CHUNK_BYTES = 2**21  # read and parsed at once
BLOCK_ENTRIES = 2**16  # written at once
LONGEST_ID = 18  # digits which fit into int64 whatever they are
INT32, INT64 = np.iinfo(np.int32), np.iinfo(np.int64)
OF_DECOMPRESSORS = (EOFError, OSError, gzip.BadGzipFile, zlib.error)
NEWLINE, ZERO, COLON = b"\n0:"
# True for the bytes between numbers: colons, and what bytes.split() takes for white space.
GAPS = bytes(byte in b": \t\n\r\v\f" for byte in range(256))
ENTRY = re.compile(rb"([0-9]+):([0-9]+):([^:]+)")


def load_libffm(
    file: str | os.PathLike[str] | BinaryIO,
    *,
    n_features: Int | None = None,
    dtype: FloatDType = np.float64,
    zero_based: bool | Literal["auto"] = True,
    on_shared: Literal["raise", "split"] = "raise",
) -> tuple[SparseMatrix, FloatArray, IntArray]:
    r"""Read a file in the format of libffm.

    Each line is a row: ``label field:feature:value field:feature:value ...``, separated by white
    space. The format is that of svmlight with a field in front of each feature. Field and
    feature are integers of at least 0. Lines that are blank are skipped; a line with a label
    only is an empty row.

    Parameters
    ----------
    file : str, path-like or binary file object
        Where to read. Paths that end in ``.gz`` or ``.bz2`` are decompressed. A file object is
        read to its end and not closed.
    n_features : int, default=None
        Number of features. By default as many as the largest one in the file needs. Give that of
        the training file to load a test file into the same columns.
    dtype : {np.float64, np.float32}, default=np.float64
        Type of X.
    zero_based : bool or "auto", default=True
        Whether features are counted from 0, as in most files of this format, or from 1. "auto"
        takes 1 if there is no feature 0, as in scikit-learn. That depends on the data: do not
        use it for files which may lack feature 0 by chance, such as parts of one file. Fields
        are kept as they are.
    on_shared : {"raise", "split"}, default="raise"
        What to do with a feature that occurs under several fields, as hashed features do: raise
        an error, or give every pair of field and feature a column of its own. The smallest field
        of the feature keeps the feature's column; the other pairs get new columns behind all
        features, ordered by field, then by feature.

    Returns
    -------
    X : CSR matrix of shape (n_rows, n_features)
        Values, with sorted indices. An entry that occurs several times in a row is summed;
        zeros in the file stay stored zeros. With ``on_shared="split"`` there may be more
        columns.
    y : ndarray of shape (n_rows,), dtype float64
        Labels.
    fields : ndarray of shape (n_features,), dtype int64
        Field of each column of X; -1 for columns that do not occur in the file.

    Raises
    ------
    ValueError
        If the file has no rows, or something in it is malformed, not finite, negative or out of
        range; the message says in which line. If a feature occurs under several fields and
        `on_shared` is "raise". If a compressed file is cut off or damaged.
    TypeError
        If `file` is neither a path nor a binary file object.

    See Also
    --------
    dump_libffm : The reverse.

    Notes
    -----
    A table with a number for each feature is kept, so that huge ids need memory even if few of
    them occur; renumber or hash them first.

    The new columns of ``on_shared="split"`` depend on the file. To get the same ones for a
    training and a test file, load both together, as one file (see the example), and cut the rows
    apart.

    Examples
    --------
    >>> import io
    >>> from skfm.datasets import load_libffm
    >>> train = b"1 0:0:1 1:3:0.5\n0 0:1:1 1:3:2\n"
    >>> X, y, fields = load_libffm(io.BytesIO(train))
    >>> X.toarray()
    array([[1. , 0. , 0. , 0.5],
           [0. , 1. , 0. , 2. ]])
    >>> y
    array([1., 0.])
    >>> fields
    array([ 0,  0, -1,  1])

    Feature 3 also occurs under field 0 in another file. Both files as one:

    >>> test = b"1 0:3:1 1:3:1\n"
    >>> X, y, fields = load_libffm(io.BytesIO(train + test), on_shared="split")
    >>> X_train, X_test = X[:2], X[2:]
    >>> X_test.toarray()
    array([[0., 0., 0., 1., 1.]])
    >>> fields
    array([ 0,  0, -1,  0,  1])
    """
    if n_features is not None:
        door.check_number(n_features, "n_features", numbers.Integral, low=0)
    door.check_dtype(dtype)
    if not isinstance(zero_based, (bool, np.bool_)) and zero_based != "auto":
        raise ValueError(f"zero_based must be True, False or 'auto'; got {zero_based!r}.")
    door.check_option(on_shared, "on_shared", ("raise", "split"))
    with _opened(file) as (stream, name):
        loader = _Loader(name, n_features, np.dtype(dtype), zero_based, on_shared == "split")
        for chunk in _chunks(stream):
            loader.add(chunk)
    return loader.finish()


def dump_libffm(
    X: MatrixLike,
    y: ArrayLike,
    file: str | os.PathLike[str] | BinaryIO,
    *,
    fields: ArrayLike,
    zero_based: bool = True,
) -> None:
    r"""Write rows in the format of libffm.

    Each row becomes a line ``label field:feature:value field:feature:value ...`` with the shortest
    numbers that read back as the same ones in their type. Of a dense X, zeros are not written; of
    a sparse one, stored zeros are.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_rows, n_features)
        Values. float32 stays float32, everything else becomes float64.
    y : array-like of shape (n_rows,)
        Labels: numbers.
    file : str, path-like or binary file object
        Where to write. Paths that end in ``.gz`` or ``.bz2`` are compressed. A path is written
        completely or not at all: after an error it is what it was before. A file object is not
        closed.
    fields : array-like of shape (n_features,)
        Field of each column of X: an integer of at least 0 where the column is used. What it is
        for columns without entries does not matter.
    zero_based : bool, default=True
        Whether to count features from 0 or from 1.

    Raises
    ------
    ValueError
        If shapes do not fit, X or y are not finite numbers, or the field of a used column is no
        integer of at least 0.
    TypeError
        If `file` is neither a path nor a binary file object, or `zero_based` not a bool.

    See Also
    --------
    load_libffm : The reverse.

    Examples
    --------
    >>> import io
    >>> from skfm.datasets import dump_libffm
    >>> file = io.BytesIO()
    >>> dump_libffm([[1, 0, 0.5], [0, 2, 0]], [1, 0], file, fields=[0, 0, 1])
    >>> print(file.getvalue().decode())
    1 0:0:1 1:2:0.5
    0 0:1:2
    <BLANKLINE>
    """
    door.check_flag(zero_based, "zero_based")
    X = check_array(
        check_sparse(X),
        accept_sparse="csr",
        dtype=[np.float64, np.float32],
        ensure_all_finite=False,  # our message names the cure
        ensure_min_features=0,
        input_name="X",
    )
    X = door.as_csr(X, keep_zeros=True)
    _require_finite(X.data, "X")
    labels = _check_labels(y, X.shape[0])
    fields = _check_fields(fields, X)
    with _created(file) as stream:
        for text in _write_rows(X, labels, fields, 0 if zero_based else 1):
            stream.write(text)


# Reading


@contextmanager
def _opened(file):
    """A stream of bytes and its name for messages."""
    if isinstance(file, (str, os.PathLike)):
        path = Path(file)
        opener = {".gz": gzip.open, ".bz2": bz2.open}.get(path.suffix.lower(), open)
        with _naming(path), opener(path, "rb") as stream:
            yield stream, str(path)
    elif hasattr(file, "read") and hasattr(file, "readline"):
        with _naming("file"):
            yield file, "file"
    else:
        raise TypeError(f"file must be a path or a binary file object; got {file!r}.")


@contextmanager
def _naming(file):
    """What a decompressor says of damaged data, with the name of the file."""
    try:
        yield
    except (EOFError, OSError, zlib.error) as error:
        if type(error) not in OF_DECOMPRESSORS or getattr(error, "errno", None) is not None:
            raise  # the system's, or the file object's own
        raise ValueError(
            f"{file} cannot be decompressed ({error}): it is cut off, damaged or compressed in "
            "another way. Download or compress it again."
        ) from error


def _chunks(stream):
    """Whole lines, about CHUNK_BYTES at once."""
    while chunk := stream.read(CHUNK_BYTES):
        if not isinstance(chunk, bytes):
            raise TypeError("file must be a binary file object; open it in mode 'rb'.")
        chunk += stream.readline()
        yield chunk if chunk.endswith(b"\n") else chunk + b"\n"


@dataclass
class _Rows:
    """What is in a chunk: arrays of shape (n_rows,), then arrays of shape (n_entries,)."""

    lines: np.ndarray  # within the chunk, from 0; blank ones are no rows
    counts: np.ndarray  # of entries
    labels: np.ndarray
    fields: np.ndarray
    features: np.ndarray
    values: np.ndarray


class _Loader:
    """Checks chunk after chunk and keeps what is in them, in arrays as small as they can be."""

    def __init__(self, name, n_features, dtype, zero_based, split):
        self.name = name
        self.n_features = n_features
        self.dtype = dtype
        self.zero_based = zero_based
        self.split = split
        self.n_lines = 0
        self.lowest, self.highest = INT64.max, -1  # features so far
        size = 0 if n_features is None else n_features + 1
        self.table = np.full(size, -1, dtype=np.int64)  # the first field of each feature so far
        self.shared = False
        self.labels, self.counts, self.fields, self.features, self.values = ([] for _ in range(5))

    def add(self, chunk):
        rows = _parse(chunk)
        if rows is None:
            rows = self._parse_by_line(chunk)
        values = self._check_numbers(chunk, rows)
        self._check_features(chunk, rows)
        self._note_fields(chunk, rows)
        self.labels.append(rows.labels)
        self.counts.append(rows.counts)
        self.features.append(_shrunk(rows.features, np.int32))
        self.values.append(values)
        if self.split:
            self.fields.append(_shrunk(rows.fields, np.uint8, np.int32))
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
        index = np.int32 if max(table.size, features.size) <= INT32.max else np.int64
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

    def _parse_by_line(self, chunk):
        """Slow twin of ``_parse`` that names what is wrong."""
        lines, counts, labels, fields, features, values = ([] for _ in range(6))
        for line, text in enumerate(chunk.split(b"\n")):
            words = text.split()
            if not words:
                continue
            try:
                labels.append(_to_float(words[0]))
            except ValueError:
                self._fail(chunk, line, 0, "the first word of a line must be a label: a number")
            for k, word in enumerate(words[1:], start=1):
                entry = ENTRY.fullmatch(word)
                if entry is None:
                    self._fail(
                        chunk,
                        line,
                        k,
                        "must be field:feature:value with integers of at least 0 for field and "
                        "feature",
                    )
                pair = [_to_id(entry[1]), _to_id(entry[2])]
                if max(pair) >= INT64.max:
                    self._fail(chunk, line, k, "field or feature is too large for 64 bits")
                try:
                    values.append(_to_float(entry[3]))
                except ValueError:
                    self._fail(chunk, line, k, "the value must be a number")
                fields.append(pair[0])
                features.append(pair[1])
            lines.append(line)
            counts.append(len(words) - 1)
        return _Rows(
            np.array(lines, dtype=np.int64),
            np.array(counts, dtype=np.int64),
            np.array(labels, dtype=np.float64),
            np.array(fields, dtype=np.int64),
            np.array(features, dtype=np.int64),
            np.array(values, dtype=np.float64),
        )

    def _check_numbers(self, chunk, rows):
        """Values in their final type."""
        finite = np.isfinite(rows.labels)
        if not finite.all():
            line = rows.lines[np.argmin(finite)]
            self._fail(chunk, line, 0, "the label must be a finite number")
        with np.errstate(over="ignore"):
            values = rows.values.astype(self.dtype, copy=False)
        finite = np.isfinite(values)
        if not finite.all():
            entry = np.argmin(finite)
            if np.isfinite(rows.values[entry]):
                reason = "the value is too large for float32; use dtype=np.float64"
            else:
                reason = "the value must be a finite number"
            self._fail_at(chunk, rows, entry, reason)
        return values

    def _check_features(self, chunk, rows):
        """Remember the smallest and the largest feature, and check that both can be columns."""
        if not rows.features.size:
            return
        lowest = min(self.lowest, int(rows.features.min()))
        highest = max(self.highest, int(rows.features.max()))
        if not self._fits(lowest, highest):
            lowest = np.minimum(self.lowest, np.minimum.accumulate(rows.features))
            highest = np.maximum(self.highest, np.maximum.accumulate(rows.features))
            entry = np.argmin(self._fits(lowest, highest))
            if not self.zero_based and not lowest[entry]:
                reason = "feature 0, but zero_based=False says that features start at 1"
            else:
                reason = (
                    f"features from {lowest[entry]} to {highest[entry]} do not fit into "
                    f"n_features={self.n_features} columns with zero_based={self.zero_based!r}"
                )
            self._fail_at(chunk, rows, entry, reason)
        if highest >= self.table.size:
            # Half as much again, so that few chunks make the table grow.
            size = max(highest + 1, self.table.size * 3 // 2)
            try:
                table = np.full(size, -1, dtype=np.int64)
            except (MemoryError, ValueError):
                self._fail_at(
                    chunk,
                    rows,
                    np.argmax(rows.features),
                    "there is not enough memory for so many features; renumber or hash them",
                )
            table[: self.table.size] = self.table
            self.table = table
        self.lowest, self.highest = lowest, highest

    def _fits(self, lowest, highest):
        """Whether features in that range are allowed; numbers or arrays."""
        n = INT64.max if self.n_features is None else self.n_features
        from_zero, from_one = highest < n, (lowest > 0) & (highest <= n)
        if self.zero_based == "auto":
            return from_zero | from_one
        return from_zero if self.zero_based else from_one

    def _note_fields(self, chunk, rows):
        """Remember the first field of each feature; is there any other?"""
        new = self.table[rows.features] < 0
        if new.any():
            # Backwards: what is assigned last stays, and that is the first one in the file.
            self.table[rows.features[new][::-1]] = rows.fields[new][::-1]
        first = self.table[rows.features]
        others = first != rows.fields
        if not others.any():
            return
        self.shared = True
        if not self.split:
            entry = np.argmax(others)
            self._fail_at(
                chunk,
                rows,
                entry,
                f"feature {rows.features[entry]} occurs under the fields {first[entry]} and "
                f"{rows.fields[entry]}; number the features of different fields differently, or "
                "use on_shared='split' to give each pair of field and feature its own column",
            )

    def _fail_at(self, chunk, rows, entry, reason):
        ends = np.cumsum(rows.counts)
        row = np.searchsorted(ends, entry, side="right")
        self._fail(chunk, rows.lines[row], entry - ends[row] + rows.counts[row] + 1, reason)

    def _fail(self, chunk, line, word, reason):
        text = chunk.split(b"\n")[line].split()[word].decode("ascii", "backslashreplace")
        if len(text) > 60:
            text = f"{text[:60]}..."
        raise ValueError(f"{self.name}, line {self.n_lines + line + 1}, '{text}': {reason}.")


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
    if columns[-1] > INT32.max:
        features = features.astype(np.int64, copy=False)
    features[others] = columns
    return features, np.concatenate([table, of_field[new]])


def _parse(chunk):
    """The rows of a chunk, all at once; None if anything in it is not as it should be."""
    padded = b"\n" + chunk  # so that there is a gap before the first number as after the last
    text = np.frombuffer(padded, dtype=np.uint8)
    gap = np.frombuffer(padded.translate(GAPS), dtype=np.bool_)
    edges = np.flatnonzero(gap[1:] != gap[:-1]) + 1
    starts, stops = edges[::2], edges[1::2]
    past = np.searchsorted(starts, np.flatnonzero(text == NEWLINE))
    counts = np.diff(past)  # of numbers in each line
    lines = np.flatnonzero(counts)
    counts = counts[lines]
    if (counts % 3 != 1).any():
        return None
    is_label = np.zeros(starts.size, dtype=bool)
    is_label[past[lines]] = True
    first, last = starts[~is_label].reshape(-1, 3).T, stops[~is_label].reshape(-1, 3).T
    # Two colons for each entry, and no others.
    joined = (text[last[:2]] == COLON) & (first[1:] - last[:2] == 1)
    if not joined.all() or np.count_nonzero(text == COLON) != joined.size:
        return None
    rows = _Rows(
        lines,
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
    if not rest.size:
        return parsed
    starts, sizes = starts[rest], stops[rest] - starts[rest] + 1  # with the gap behind
    ends = np.cumsum(sizes)
    places = np.arange(ends[-1]) + np.repeat(starts - (ends - sizes), sizes)
    words = text[places].tobytes()
    if b"_" in words:  # which float would take
        return None
    try:
        parsed[rest] = np.fromiter(map(float, words.split()), np.float64, count=rest.size)
    except ValueError:
        return None
    return parsed


def _to_float(word):
    if b"_" in word:
        raise ValueError
    return float(word)


def _to_id(digits):
    """Python refuses to convert thousands of digits; so many are too many anyway."""
    digits = digits.lstrip(b"0")
    return int(digits or b"0") if len(digits) <= LONGEST_ID + 1 else INT64.max


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


# Writing


def _require_finite(values, name):
    if not np.isfinite(values).all():
        raise ValueError(f"{name} contains NaN or infinity; replace them or drop those rows.")


def _check_labels(y, n_rows):
    """float32, float64 or integers."""
    labels = np.asarray(y)
    if labels.shape != (n_rows,):
        raise ValueError(f"y.shape == {labels.shape}, expected ({n_rows},): one label a row of X.")
    if labels.dtype.kind == "b":
        labels = labels.astype(np.int64)
    if labels.dtype.kind in "iu":
        return labels
    try:
        if labels.dtype.kind not in "fO":
            raise ValueError(f"got {labels.dtype}")
        if labels.dtype != np.float32:
            labels = labels.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"y must hold numbers ({error}); number the classes, for example with LabelEncoder."
        ) from error
    _require_finite(labels, "y")
    return labels


def _check_fields(fields, X):
    """Integers, at least where columns are used."""
    fields = np.asarray(fields)
    if fields.shape != (X.shape[1],):
        raise ValueError(
            f"fields.shape == {fields.shape}, expected ({X.shape[1]},): one field a column of X."
        )
    if fields.size and fields.dtype.kind not in "iuf":
        raise ValueError(f"fields must hold integers, got {fields.dtype}; number the fields.")
    used = np.zeros(fields.size, dtype=bool)
    used[X.indices] = True
    with np.errstate(invalid="ignore"):
        whole = fields.astype(np.int64)
    wrong = used & ((whole < 0) | (whole != fields))
    if wrong.any():
        column = np.argmax(wrong)
        raise ValueError(
            f"fields[{column}] == {fields[column]}, but the field of a column of X with entries "
            "must be an integer of at least 0; number the fields, or remove the column's entries."
        )
    return whole


@contextmanager
def _created(file):
    """A stream for bytes. A path changes only when all of it is written."""
    if isinstance(file, (str, os.PathLike)):
        path = Path(os.path.realpath(file))  # a link stays a link
        if path.exists() and not path.is_file():  # a device or a pipe cannot be replaced
            with path.open("wb") as stream, _compressed(stream, path) as packed:
                yield packed
            return
        draft = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
        try:
            with draft.open("wb") as stream, _compressed(stream, path) as packed:
                yield packed
            if path.exists():
                shutil.copymode(path, draft)
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)
    elif hasattr(file, "write") and not isinstance(file, io.TextIOBase):
        yield file
    else:
        raise TypeError(f"file must be a path or a binary file object; got {file!r}.")


def _compressed(stream, path):
    """The stream, compressed if the path says so; without name and time, so always alike."""
    if path.suffix.lower() == ".gz":
        return gzip.GzipFile("", "wb", fileobj=stream, mtime=0)
    if path.suffix.lower() == ".bz2":
        return bz2.BZ2File(stream, "wb")
    return stream


def _write_rows(X, labels, fields, shift):
    """The text of some rows after the other."""
    start = 0
    while start < X.shape[0]:
        limit = int(X.indptr[start]) + BLOCK_ENTRIES
        full = np.searchsorted(X.indptr, limit, side="right") - 1
        stop = min(max(full, start + 1), start + BLOCK_ENTRIES, X.shape[0])
        bounds = X.indptr[start : stop + 1]
        columns = X.indices[bounds[0] : bounds[-1]]
        entries = [
            f"{field}:{feature}:{value}"
            for field, feature, value in zip(
                fields[columns].tolist(),
                (columns.astype(np.int64) + shift).tolist(),
                _shortest(X.data[bounds[0] : bounds[-1]]),
                strict=True,
            )
        ]
        bounds = (bounds - bounds[0]).tolist()
        lines = [
            " ".join([label, *entries[bounds[row] : bounds[row + 1]]])
            for row, label in enumerate(_shortest(labels[start:stop]))
        ]
        yield ("\n".join(lines) + "\n").encode("ascii")
        start = stop


def _shortest(values):
    """The shortest texts that are these numbers in their type; 1, not 1.0."""
    if values.dtype.kind in "iu":
        return map(str, values.tolist())
    if values.dtype == np.float32:
        # The float64 with the same shortest text. Few values differ, so each is done once.
        bits, places = np.unique(values.view(np.int32), return_inverse=True)
        single = bits.view(np.float32)
        double = np.array([float(np.format_float_scientific(v)) for v in single], dtype=np.float64)
        # Readers may go through float64. Rounded twice, 7.038531e-26 would become its neighbour.
        double = np.where(double.astype(np.float32) == single, double, single)
        values = double[places]
    return (repr(value).removesuffix(".0") for value in values.tolist())
