"""Times in UTC, and on the clocks of a time zone."""

import re
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from skfm._utils.ids import is_missing

_FIXED = re.compile(r"(?:UTC)?([+-])(\d\d):?(\d\d)")
_QUARTER = np.timedelta64(15, "m")


def to_utc(objects, name):
    """Datetimes and dates in an array of objects as datetime64, and their time zone or None."""
    zones, times = set(), []
    for value in objects:
        if is_missing(value):
            times.append(np.datetime64("NaT", "us"))
            continue
        zone = getattr(value, "tzinfo", None)
        zones.add(None if zone is None else str(getattr(value, "tz", zone)))
        if zone is not None:
            with _as_value_error(name):
                value = value.astimezone(UTC).replace(tzinfo=None)
        elif isinstance(value, date) and not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day)
        times.append(np.datetime64(value, "us"))
    if None in zones and len(zones) > 1:
        raise ValueError(
            f"Column {name!r} mixes times with and without a time zone; convert them to one zone."
        )
    zone = next(iter(zones), None) if len(zones) == 1 else "UTC"
    return np.array(times, dtype="datetime64[us]"), zone


def check_zone(zone, name):
    """Raise an error unless the time zone of a column is known."""
    _find_zone(zone, name)


def on_the_clock(times, zone, name):
    """Times in UTC as the clocks of a time zone show them.

    Their distance from UTC is looked up once for each quarter of an hour: since 1972, it only
    changes at multiples of 15 minutes.
    """
    found = _find_zone(zone, name)
    if found is UTC:
        return times
    known = ~np.isnat(times)
    quarters, inverse = np.unique(
        (times[known] - np.datetime64(0, "us")) // _QUARTER, return_inverse=True
    )
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    with _as_value_error(name):
        offsets = [
            (epoch + timedelta(minutes=15 * quarter)).astimezone(found).utcoffset()
            for quarter in quarters.tolist()
        ]
    result = times.copy()
    result[known] += np.array(offsets, dtype="timedelta64[us]")[inverse]
    return result


@contextmanager
def _as_value_error(name):
    try:
        yield
    except OverflowError as error:
        raise ValueError(
            f"Column {name!r} contains a time with a time zone that is not within the years 1 to "
            "9999 in UTC; replace it."
        ) from error


def _find_zone(zone, name):
    if zone in ("UTC", "utc", "Z"):
        return UTC
    fixed = _FIXED.fullmatch(zone)
    if fixed:
        sign, hours, minutes = fixed.groups()
        return timezone(int(f"{sign}1") * timedelta(hours=int(hours), minutes=int(minutes)))
    try:
        return ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(
            f"Unknown time zone {zone!r} of column {name!r}; pass a name such as 'Europe/Berlin'."
        ) from error
