"""Which columns of a log hold the users, the items, the values and the times."""

import numbers

import numpy as np

from skfm._utils.messages import shown
from skfm._utils.warnings import warn

# What columns are often called, in small letters and without anything else: "User ID" is "userid".
USUAL = {
    "user": "user userid uid username customer customerid reviewer reviewerid visitorid",
    "item": "item itemid iid movie movieid film filmid product productid asin song songid track "
    "trackid artist artistid book bookid isbn article articleid",
    "value": "value rating score stars count plays playcount clicks purchases quantity confidence",
    "time": "time timestamp ts date datetime unixtime",
}
ROLES = tuple(USUAL)  # each at its place in a log without names


def find_column(column, table, argument):
    """Position of a column that is given by name or position."""
    n_columns = table.shape[1]
    if isinstance(column, str):
        if table.names is None:
            raise ValueError(
                f"{argument} names the column {column!r}, but X has no column names; pass its "
                "position, or pass a DataFrame."
            )
        found = [position for position, name in enumerate(table.names) if name == column]
        if len(found) != 1:
            problem = "several columns of X have" if found else "no column of X has"
            raise ValueError(
                f"{argument} names the column {column!r}, but {problem} this name: "
                f"{', '.join(map(repr, table.names[:10]))}."
            )
        return found[0]
    if isinstance(column, numbers.Integral) and not isinstance(column, (bool, np.bool_)):
        if not 0 <= column < n_columns:
            raise ValueError(
                f"X has {n_columns} feature(s) (shape={table.shape}) while a minimum of "
                f"{max(column, 0) + 1} is required. {argument} is the position {column}; "
                "positions start at 0."
            )
        return int(column)
    raise TypeError(
        f"{argument} must be the name or the position of a column of X; got {shown(column)}."
    )


def is_auto(column):
    return isinstance(column, str) and column == "auto"


def assign(table, wanted):
    """Positions of the columns by role.

    ``wanted`` has for each role the name or position of its column, None if there is none, or
    "auto": the column with a usual name, of several the one in the role's own place. A small log
    without such a name has it there, if that column is for no other role.
    """
    places = {
        role: find_column(column, table, role)
        for role, column in wanted.items()
        if column is not None and not is_auto(column)
    }
    called = _called_usually(table)
    taken = {*places.values()}.union(*called.values())
    is_small = table.shape[1] <= len(ROLES)
    for role in filter(lambda role: is_auto(wanted[role]), wanted):
        home = ROLES.index(role)
        found = [position for position in called[role] if position not in places.values()]
        if len(found) == 1:
            places[role] = found[0]
        elif found and home not in found:
            names = ", ".join(repr(table.names[position]) for position in found)
            raise ValueError(f"{names} may all be the {role} column: set {role} to one of them.")
        elif found or (is_small and home < table.shape[1] and home not in taken):
            places[role] = home
    for role in ("user", "item"):
        if role not in places:
            names = "" if table.names is None else f" and the columns {table.names[:10]}"
            raise ValueError(
                f"X has the shape {table.shape}{names}; expected a log with 2 to 4 columns: "
                f"user, item and, optionally, value and time. For other logs, set {role} to the "
                f"name or the position of the {role} column."
            )
    return {role: places[role] for role in wanted if role in places}


def label(table, position):
    """What to call a column in a parameter: its name if it has one of its own, or its position."""
    name = None if table.names is None else table.names[position]
    is_clear = isinstance(name, str) and table.names.count(name) == 1
    return name if is_clear else position


def warn_of_other_roles(table, places):
    """Say so if a column is read in one role, but its name and that of another column tell that
    they have been mixed up."""
    called = _called_usually(table)
    for role, position in places.items():
        other = next((r for r in ROLES if r != role and position in called[r]), None)
        if other and called[role] and position not in called[role]:
            name = table.names[called[role][0]]
            warn(
                f"Column {position} of X, {table.names[position]!r}, is used as the {role} "
                f"column, but there is also a column {name!r}. If that is the {role} column, set "
                f"{role}={name!r}.",
                UserWarning,
            )


def _called_usually(table):
    """By role, the positions of the columns with a usual name."""
    roles = list(map(usual_role, table.names or []))
    return {
        role: [position for position, found in enumerate(roles) if found == role] for role in ROLES
    }


def usual_role(name):
    """What a column of this name usually is, None for other names."""
    short = "".join(filter(str.isalnum, str(name).lower()))
    return next((role for role, usual in USUAL.items() if short in usual.split()), None)
