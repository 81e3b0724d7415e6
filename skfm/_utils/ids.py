"""Ids of users and items: read and checked, and as positions."""

import numbers
from datetime import date, timedelta
from itertools import repeat

import numpy as np
from scipy import sparse

from skfm._utils.column_roles import ROLES
from skfm._utils.pickling import Versioned
from skfm._utils.sorted_search import find_sorted
from skfm._utils.warnings import warn

# Types whose values may be equal; those of two families never are. For NumPy, durations are
# integers, so these come first.
FAMILIES = (
    (timedelta, np.timedelta64),
    (numbers.Number, np.bool_),
    str,
    bytes,
    (date, np.datetime64),
)


class Ids(Versioned):
    """Distinct ids and where each of them is. Numbers are searched, objects looked up."""

    def __init__(self, ids):
        self.ids = ids
        self._places = None

    def __getstate__(self):
        return super().__getstate__() | {"_places": None}  # which is quickly made again

    @classmethod
    def learn(cls, column, name):
        """The ids of a column and, for each of its rows, the position of its id."""
        ids, positions = distinct(column, name)
        return cls(ids), positions

    def find(self, column, name):
        """Positions of the ids in a column, -1 for unknown ones."""
        kind, known_kind = column.dtype.kind, self.ids.dtype.kind
        if "O" not in (kind, known_kind) and kind != known_kind and {kind, known_kind} & {*"mM"}:
            _refuse_missing(column, name)
            return np.full(column.size, -1)  # a datetime is no number
        if kind == known_kind != "O" and self.ids.size:
            _refuse_missing(column, name)
            return find_sorted(self.ids, column)
        # Also for numbers of two kinds: Python compares 2**53 + 1 with a float exactly.
        if self._places is None:
            objects = as_objects(self.ids)
            self._places = dict(zip(objects, range(len(objects)), strict=True))
        try:
            found = map(self._places.get, as_objects(column), repeat(-1))
            positions = np.fromiter(found, dtype=np.intp, count=column.size)
        except TypeError as error:
            raise _not_hashable(name, error) from error
        unknown = positions < 0
        if unknown.any():
            _refuse_missing(column, name, unknown)
        return positions

    def find_expected(self, column, name):
        """The same positions, with a warning if no id can be known because of its type."""
        positions = self.find(column, name)
        if (positions < 0).all() and (difference := self.difference(column)):
            warn(f"None of the {column.size} {_of(name)} is known: {difference}.", UserWarning)
        return positions

    def difference(self, column):
        """How the types of a column's ids differ from those of the known ones; empty if they may
        be equal."""
        types, known_types = _types(column), _types(self.ids)
        families, known_families = set(map(_family, types)), set(map(_family, known_types))
        if not families or not known_families or families & known_families:
            return ""
        remedy = ""
        if known_families == {str}:
            remedy = ", for example with astype(str)"
        elif self.ids.dtype.kind in "iuf":
            remedy = f", for example with astype({self.ids.dtype.name!r})"
        return (
            f"they are {_name_types(column, types)}, but were "
            f"{_name_types(self.ids, known_types)} in fit; convert them{remedy}"
        )


def _types(column):
    if column.dtype.kind == "O":
        return set(map(type, column))
    return {column.dtype.type} if column.size else set()


def _family(kind):
    return next((family for family in FAMILIES if issubclass(kind, family)), kind)


def _name_types(column, types):
    if column.dtype.kind != "O":
        return column.dtype.name
    return " and ".join(sorted({kind.__name__.rstrip("_") for kind in types}))  # str_ is NumPy's


def distinct(column, name, *, by_appearance=False):
    """Distinct ids, sorted if they can and shall be, and for each row the position of its id."""
    if column.dtype.kind != "O":
        _refuse_missing(column, name)
        if not by_appearance:
            return np.unique(column, return_inverse=True)
        ids, first, positions = np.unique(column, return_index=True, return_inverse=True)
        order = np.argsort(first)
        rank = np.empty_like(order)
        rank[order] = np.arange(order.size)
        return ids[order], rank[positions]
    try:
        distinct = list(dict.fromkeys(column))
    except TypeError as error:
        raise _not_hashable(name, error) from error
    if any(map(is_missing, distinct)):
        _refuse_missing(column, name)
    if not by_appearance:
        try:
            distinct = sorted(distinct)
        except TypeError:
            pass  # an integer and a string, for instance: they stay in order of appearance
    places = dict(zip(distinct, range(len(distinct)), strict=True))
    positions = np.fromiter(map(places.__getitem__, column), dtype=np.intp, count=column.size)
    return np.fromiter(distinct, dtype=object, count=len(distinct)), positions


def _of(name):
    """What errors call a column: user ids or item ids; of other columns, values."""
    return f"{name} ids" if name in ROLES else f"values of {name}"


def _not_hashable(name, error):
    return TypeError(
        f"The {_of(name)} must be hashable ({error}): each argument must be a string, a number "
        "or another value that can be a dictionary key."
    )


def is_missing(value):
    """None, NaN, NaT, and what refuses to be compared with itself (pandas.NA)."""
    try:
        return value is None or not bool(value == value)
    except (TypeError, ValueError):
        return True


def find_missing(column, suspects=None):
    """Which rows of a column have no value; of objects, only ``suspects`` are looked at."""
    kind = column.dtype.kind
    if kind in "fc":
        return np.isnan(column)
    if kind in "mM":
        return np.isnat(column)
    missing = np.zeros(column.size, dtype=bool)
    if kind == "O":
        places = np.arange(column.size) if suspects is None else np.flatnonzero(suspects)
        missing[places] = [is_missing(value) for value in column[places]]
    return missing


def _refuse_missing(column, name, suspects=None):
    refuse_rows(find_missing(column, suspects), f"{_of(name)} are missing (None or NaN)")


def refuse_rows(wrong, what, place="row {}".format):
    """Raise an error if rows are wrong; ``place`` says where a row is."""
    if np.any(wrong):
        first = place(int(np.argmax(wrong)))
        raise ValueError(f"{np.sum(wrong)} {what}, the first in {first}; drop these rows.")


def read_ids(ids, name):
    """A list of ids as one array."""
    if hasattr(ids, "__array__"):
        column = np.asarray(ids)
    elif sparse.issparse(ids) or isinstance(ids, (str, bytes)):
        column = None
    elif hasattr(ids, "__len__"):
        column = np.fromiter(ids, dtype=object, count=len(ids))
    else:
        column = None
    if column is None or column.ndim != 1:
        raise ValueError(f"Expected a list or one-dimensional array of {name} ids.")
    return simplify(column)


def simplify(column):
    """Objects that are all integers or all floats become numbers, strings become objects."""
    if column.dtype.kind not in "biufcmMO":
        return column.astype(object)
    if column.dtype.kind != "O":
        return column
    types = set(map(type, column))
    if all(issubclass(t, (float, np.floating)) for t in types):
        return column.astype(np.float64)
    # For NumPy a duration is an integer, for Python True and False are.
    if all(issubclass(t, (int, np.integer)) and t not in (bool, np.timedelta64) for t in types):
        try:
            return column.astype(np.int64)
        except OverflowError:
            return column  # objects, as large as they like
    return column  # what is mixed keeps its types: 2**53 + 1 is no float


def as_objects(column):
    """Elements of a column as a list of Python objects."""
    # tolist() would make numbers of some datetimes.
    return list(column) if column.dtype.kind in "mM" else column.tolist()


def as_object_array(column):
    """The same in an array."""
    return np.fromiter(as_objects(column), dtype=object, count=column.size)


def join_ids(first, second):
    """Two columns of ids in one, each id of the type that it has."""
    if first.dtype != second.dtype:
        first, second = as_object_array(first), as_object_array(second)
    return np.concatenate([first, second])
