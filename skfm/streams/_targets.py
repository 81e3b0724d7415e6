"""Targets and weights of chunks, checked: errors name the file and the row."""

import numpy as np

from skfm._utils.validation import largest_sum
from skfm.preprocessing._columns import BOOLEAN, NULL, NUMBER, STRING, plural
from skfm.preprocessing._tables import InputTable

LARGEST_EXACT = 2**53  # above it, not every integer is a float64


class Targets:
    """Targets of one chunk after the other: numbers, or strings that become codes.

    Parameters
    ----------
    name : str
        How messages call the target.

    Attributes
    ----------
    dtype : dtype or None
        That of the numbers as given; of several dtypes, the one that can represent all.
    labels : list of str or None
        The strings in the order in which they occurred; their positions are the codes.
    """

    def __init__(self, name):
        self.name = name
        self.dtype = self.labels = None
        self._codes, self._first = {}, None

    @property
    def stored_dtype(self):
        return np.float64 if self.labels is None else np.int32

    def read(self, values, kept, origin):
        """Targets of the rows of a chunk.

        Parameters
        ----------
        values : pyarrow.ChunkedArray or ndarray of shape (n_rows,)
        kept : ndarray of bool of shape (n_rows,)
            Rows whose targets are returned, and whose labels count.
        origin : Origin

        Returns
        -------
        y : ndarray of float64 or of int32
        """
        numbers = _plain_numbers(values)
        if numbers is None:
            column = _column(values, self.name)
            codes, distinct = column.categories
            self._check_missing(codes < 0, origin)
            if column.type == STRING:
                self._check_kind("strings", origin)
                return self._encode(codes[kept], distinct)
            if column.type not in (NUMBER, BOOLEAN):
                raise TypeError(
                    f"{self.name} has {plural(column.type)} in the chunk that starts at "
                    f"{origin.of_row(0)}; it must have only numbers or only strings."
                )
            numbers = self._numbers_of_objects(values, origin)
        self._check_kind("numbers", origin)
        self._check_numbers(numbers, origin)
        dtype = numbers.dtype
        self.dtype = dtype if self.dtype is None else np.result_type(self.dtype, dtype)
        return numbers[kept].astype(np.float64)

    def _numbers_of_objects(self, values, origin):
        objects = values.tolist() if isinstance(values, np.ndarray) else values.to_pylist()
        for row, value in enumerate(objects):  # as an array, they might be rounded already
            if isinstance(value, (int, np.integer)) and abs(value) > LARGEST_EXACT:
                raise self._inexact(value, row, origin)
        numbers = np.array(objects)
        return numbers if numbers.dtype.kind in "biuf" else numbers.astype(np.float64)

    def _encode(self, codes, distinct):
        if self.labels is None:
            self.labels = []
        table = np.empty(len(distinct), np.int32)
        used = np.bincount(codes, minlength=len(distinct)) > 0
        for place in np.flatnonzero(used).tolist():
            label = distinct[place]
            if label not in self._codes:
                self._codes[label] = len(self.labels)
                self.labels.append(label)
            table[place] = self._codes[label]
        return table[codes]

    def _check_kind(self, kind, origin):
        first = self._first or (kind, origin.of_row(0))
        if kind != first[0]:
            raise ValueError(
                f"{self.name} has {first[0]} from {first[1]} on, but {kind} from "
                f"{origin.of_row(0)} on; convert all of them to one type."
            )
        self._first = first

    def _check_missing(self, missing, origin):
        if missing.any():
            raise ValueError(
                f"{self.name} has {missing.sum()} missing value(s) in one chunk, the first in "
                f"{origin.of_row(int(missing.argmax()))}; drop these rows."
            )

    def _check_numbers(self, numbers, origin):
        if numbers.dtype.kind == "f":
            self._check_missing(np.isnan(numbers), origin)
            infinite = np.isinf(numbers)
            if infinite.any():
                raise ValueError(
                    f"{self.name} is infinite in {origin.of_row(int(infinite.argmax()))}; replace "
                    "it by a finite value, or drop the row."
                )
        if numbers.dtype.kind in "iu":
            large = (numbers > LARGEST_EXACT) | (numbers < -LARGEST_EXACT)
            if large.any():
                row = int(large.argmax())
                raise self._inexact(numbers[row], row, origin)

    def _inexact(self, value, row, origin):
        return ValueError(
            f"{self.name} is {value} in {origin.of_row(row)}, and integers above 2**53 are not "
            "exact in float64. If they are labels, convert them to strings; otherwise, convert "
            "them to floats."
        )


def read_weight(values, name, dtype, origin):
    """The weights of the rows of a chunk, as an array of this dtype.

    Parameters
    ----------
    values : pyarrow.ChunkedArray or ndarray of shape (n_rows,)
    name : str
        How messages call them.
    dtype : dtype
    origin : Origin
    """
    numbers = _plain_numbers(values)
    if numbers is None:
        column = _column(values, name)
        if column.type not in (NUMBER, BOOLEAN, NULL):
            raise TypeError(
                f"{name} has {plural(column.type)} in the chunk that starts at "
                f"{origin.of_row(0)}; it must have numbers."
            )
        numbers = column.numbers
    with np.errstate(over="ignore"):
        weight = np.asarray(numbers, np.float64).astype(dtype)
    for wrong, what in (
        (np.isnan(weight), "missing (NaN)"),
        (weight < 0, "negative"),
        (weight > largest_sum(dtype), "infinite or too large"),
    ):
        if wrong.any():
            raise ValueError(
                f"{name} is {what} in {origin.of_row(int(wrong.argmax()))}; weights must be "
                "finite numbers of at least 0."
            )
    return weight


def _plain_numbers(values):
    """An array of numbers or booleans without missing ones; None if it is something else."""
    if isinstance(values, np.ndarray):
        return values if values.dtype.kind in "biuf" else None
    import pyarrow as pa

    kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    is_number = (
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    )
    if pa.types.is_decimal(kind):
        is_number, kind = True, pa.float64()
    if is_number and values.null_count == 0:
        values = values.cast(kind)
    return values.to_numpy() if is_number and values.null_count == 0 else None


def _column(values, name):
    if isinstance(values, np.ndarray):
        return InputTable(values.reshape(-1, 1).astype(object, copy=False)).column(0)
    import pyarrow as pa

    return InputTable(pa.table([values], [name])).column(0)


def check_shape(values, n_rows, what, start):
    """Raise an error if targets or weights do not match the rows of a chunk."""
    if getattr(values, "ndim", 1) != 1:  # columns of Arrow always have one dimension
        raise ValueError(
            f"{what} must have one value for each row; got an array of shape {values.shape} in "
            f"the chunk that starts at {start}. Choose one of its columns."
        )
    if len(values) != n_rows:
        raise ValueError(
            f"{what} has {len(values)} values for {n_rows} rows of X, in the chunk that starts "
            f"at {start}."
        )
