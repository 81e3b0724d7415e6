"""Logs of users, items, values and times, read into checked columns."""

from dataclasses import dataclass

import numpy as np

from skfm._utils.column_roles import assign, is_auto, label
from skfm._utils.ids import simplify
from skfm.preprocessing._log_table import Table, as_numbers, as_times


@dataclass
class _Log:
    """The columns of a log, checked, each in its simplest type."""

    users: np.ndarray
    items: np.ndarray
    values: np.ndarray  # ones if the log has none
    times: np.ndarray | None  # numbers or datetime64
    places: dict  # positions of these columns by role
    table: Table


def open_log(X):
    """A log as a two-dimensional table."""
    table = Table(X)
    if len(table.shape) != 2:
        raise ValueError(
            f"X has the shape {table.shape}; expected a log with 2 to 4 columns: user, item and, "
            "optionally, value and time."
        )
    return table


def read_log(table, wanted):
    """Read and check the columns of a log; ``wanted`` is as for `assign`."""
    places = assign(table, wanted)
    users, items = (simplify(table.column(places[role])) for role in ("user", "item"))
    values, times = np.ones(table.shape[0]), None
    if "value" in places:
        values = _read_values(table, places["value"], guessed=is_auto(wanted["value"]))
    elif is_auto(wanted["value"]):
        refuse_to_guess(table, places)
    if "time" in places:
        times = as_times(table.column(places["time"]), called(table, places["time"], "times"))
    return _Log(users, items, values, times, places, table)


def called(table, position, name):
    """How errors call a column of values or times."""
    column = position + 1 if table.names is None else repr(table.names[position])
    return f"Column {column} of the log, the {name},"


def _read_values(table, position, *, guessed):
    subject = called(table, position, "values")
    values = as_numbers(table.column(position), "values", subject)
    if guessed:
        check = ValuesCheck(table, position)
        check.add(values)
        check.finish()
    return values


class ValuesCheck:
    """Refuses values that all look like times, if nobody has said that they are the values."""

    def __init__(self, table, position):
        self._table, self._position = table, position
        self._low, self._high, self._units = np.inf, -np.inf, None

    def add(self, values):
        """Take some of the values into account."""
        units = _units_of_times(values)
        self._units = [unit for unit in units if self._units is None or unit in self._units]
        self._low, self._high = min(self._low, values.min()), max(self._high, values.max())

    def finish(self):
        if not self._units:
            return
        subject = called(self._table, self._position, "values")
        column = label(self._table, self._position)
        note = "" if isinstance(column, str) else " (positions start at 0)"
        raise ValueError(
            f"{subject} looks like times ({self._units[0]}), from {self._low:.0f} to "
            f"{self._high:.0f}. Set time={column!r}{note} if it contains times, or "
            f"value={column!r} to use it as values."
        )


def refuse_to_guess(table, places):
    """Raise an error for unused columns: ratings that are overlooked would count as ones."""
    others = [p for p in range(table.shape[1]) if p not in places.values()]
    if others:
        raise ValueError(
            "The log has further columns, which may contain values (ratings, counts): "
            f"{', '.join(repr(label(table, p)) for p in others[:10])}. Set value to one of them, "
            "or to None if each event counts 1."
        )


def _units_of_times(values):
    """The units in which all values can be times between 1973 and 2103."""
    low, high = values.min(), values.max()
    units = [
        f"{unit} since 1970"
        for power, unit in enumerate(("seconds", "milliseconds", "microseconds", "nanoseconds"))
        if 1e8 <= low / 1000.0**power and high / 1000.0**power <= 4.2e9
    ]
    if 19730101 <= low and high <= 21031231:
        months, days = np.divmod(values % 10000, 100)
        if ((months >= 1) & (months <= 12) & (days >= 1) & (days <= 31)).all():
            units.append("YYYYMMDD")
    return units
