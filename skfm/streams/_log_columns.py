"""Events in Arrow tables, read and checked: errors name the file and the row."""

import numpy as np
import pyarrow as pa

from skfm._utils.ids import refuse_rows
from skfm.preprocessing._arrow_columns import combine, is_view, without_runs
from skfm.preprocessing._log_reader import called
from skfm.preprocessing._log_stream import CodedIds, Events

_MISSING = "are missing (None or NaN)"


class EventReader:
    """Reads the events of chunks.

    Parameters
    ----------
    header : Header
    places : dict of {str: int}
        Positions of the columns by role.
    """

    def __init__(self, header, places):
        self._header, self._places = header, places

    def read(self, chunk):
        columns = {
            role: _Column(
                chunk.X.column(self._header.names[place]),
                chunk.origin,
                role,
                called(self._header, place, f"{role}s"),
            )
            for role, place in self._places.items()
        }
        values, times = columns.get("value"), columns.get("time")
        return Events(
            columns["user"].ids(),
            columns["item"].ids(),
            None if values is None else values.numbers(),
            None if times is None else times.times(),
        )


class _Column:
    """A column of a chunk; ``subject`` is what errors call it."""

    def __init__(self, array, origin, role, subject):
        array = without_runs(array)
        if pa.types.is_dictionary(array.type):
            array = array.cast(array.type.value_type)
        if is_view(array.type):
            array = array.cast(pa.large_string())
        self._array, self._kind = array, array.type
        self._origin, self._role, self._subject = origin, role, subject

    def ids(self):
        """Only distinct ids become Python objects, and numbers do not."""
        array, kind = self._array, self._kind
        if pa.types.is_nested(kind) or isinstance(kind, pa.BaseExtensionType):
            raise TypeError(f"{self._subject} must contain strings, numbers or dates; got {kind}.")
        self._refuse_null()
        if pa.types.is_floating(kind):
            numbers = array.to_numpy()
            self._refuse(np.isnan(numbers), _MISSING)
            array = pa.chunked_array([numbers + 0.0])  # -0.0 becomes 0.0, which is equal to it
        encoded = combine(array.dictionary_encode())
        codes, distinct = encoded.indices.to_numpy(), _as_ids(encoded.dictionary)
        return CodedIds(codes, distinct)

    def numbers(self):
        """Finite float64."""
        self._refuse_null()
        array, kind, types = self._array, self._kind, pa.types
        if types.is_boolean(kind):
            array = array.cast(pa.uint8())
        elif not (types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)):
            wanted = "numbers or datetimes" if self._role == "time" else "numbers"
            raise ValueError(
                f"{self._subject} must contain {wanted} (got {kind}); convert it, or set "
                f"{self._role} to another column or None."
            )
        numbers = array.cast(pa.float64(), safe=False).to_numpy()
        self._refuse(~np.isfinite(numbers), "are missing or infinite")
        return numbers

    def times(self):
        """Integers, finite float64 or datetime64, in the order of the times."""
        kind, types = self._kind, pa.types
        if types.is_timestamp(kind) or types.is_date(kind) or types.is_integer(kind):
            self._refuse_null()
            return self._array.to_numpy()
        return self.numbers()

    def _refuse_null(self):
        if self._array.null_count:
            self._refuse(self._array.is_null().to_numpy(), _MISSING)

    def _refuse(self, wrong, what):
        name = f"{self._role} ids" if self._role in ("user", "item") else f"{self._role}s"
        refuse_rows(wrong, f"{name} {what}", self._origin.of_row)


def _as_ids(values):
    """Distinct values of a column, in the types that they would have in memory."""
    kind, types = values.type, pa.types
    is_number = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
    if is_number or types.is_timestamp(kind) or types.is_duration(kind):
        return values.to_numpy(zero_copy_only=False)
    objects = values.to_pylist()
    return np.fromiter(objects, dtype=object, count=len(objects))
