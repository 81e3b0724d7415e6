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
        _refuse_to_guess(table, places)
    if "time" in places:
        times = as_times(table.column(places["time"]), _called(table, places["time"], "times"))
    return _Log(users, items, values, times, places, table)


def _called(table, position, name):
    """How errors call a column of values or times."""
    column = position + 1 if table.names is None else repr(table.names[position])
    return f"Column {column} of the log, the {name},"


def _read_values(table, position, *, guessed):
    subject = _called(table, position, "values")
    values = as_numbers(table.column(position), "values", subject)
    unit = _unit_of_times(values) if guessed else None
    if unit is not None:
        column = label(table, position)
        note = "" if isinstance(column, str) else " (positions start at 0)"
        raise ValueError(
            f"{subject} looks like times ({unit}), from {values.min():.0f} to "
            f"{values.max():.0f}. Set time={column!r}{note} if it contains times, or "
            f"value={column!r} to use it as values."
        )
    return values


def _refuse_to_guess(table, places):
    """Raise an error for unused columns: ratings that are overlooked would count as ones."""
    others = [p for p in range(table.shape[1]) if p not in places.values()]
    if others:
        raise ValueError(
            "The log has further columns, which may contain values (ratings, counts): "
            f"{', '.join(repr(label(table, p)) for p in others[:10])}. Set value to one of them, "
            "or to None if each event counts 1."
        )


def _unit_of_times(values):
    """The unit, if all values can be times between 1973 and 2103; else None."""
    low, high = values.min(), values.max()
    for power, unit in enumerate(("seconds", "milliseconds", "microseconds", "nanoseconds")):
        if 1e8 <= low / 1000.0**power and high / 1000.0**power <= 4.2e9:
            return f"{unit} since 1970"
    if 19730101 <= low and high <= 21031231:
        months, days = np.divmod(values % 10000, 100)
        if ((months >= 1) & (months <= 12) & (days >= 1) & (days <= 31)).all():
            return "YYYYMMDD"
    return None
