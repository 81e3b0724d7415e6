"""What the columns of a table become: kinds of fields, their options, and the defaults by type."""

import difflib
import numbers
from typing import NamedTuple

from skfm._utils import validation
from skfm._utils.messages import shown
from skfm._utils.parameters import (
    BETWEEN_0_AND_1,
    NON_NEGATIVE,
    NONE,
    POSITIVE_INTEGER,
    Interval,
    Options,
    check_parameter,
)
from skfm.preprocessing import _columns
from skfm.preprocessing._field_blocks import Bag, Category, Cross, Hashed, HashedBag, HashedCross
from skfm.preprocessing._number_blocks import (
    Clock,
    DatePart,
    Days,
    LogBins,
    QuantileBins,
    Standardized,
)
from skfm.preprocessing._target_block import Target, TargetCross

LARGEST_N_FEATURES = 2**30
MIN_FREQUENCY = [NONE, POSITIVE_INTEGER, BETWEEN_0_AND_1]
MAX_CATEGORIES = [NONE, POSITIVE_INTEGER]
N_BINS = [Interval(numbers.Integral, 2, 10_000)]
N_FEATURES = [Interval(numbers.Integral, 2, LARGEST_N_FEATURES)]
DATE_PARTS = "hour", "weekday", "month", "age"


class _Text:
    def suits(self, value):
        return isinstance(value, str)

    def contains(self, value):
        return bool(value)

    def __str__(self):
        return "a string that is not empty"


class _Parts:
    def suits(self, value):
        return isinstance(value, (list, tuple))

    def contains(self, value):
        return bool(value) and set(value) <= set(DATE_PARTS) and len(set(value)) == len(value)

    def __str__(self):
        return f"a list of some of {', '.join(map(repr, DATE_PARTS))}"


_SEP = [NONE, _Text()]
_BY_FREQUENCY = {"min_frequency": MIN_FREQUENCY, "max_categories": MAX_CATEGORIES}
# The options of each kind, with the values that they may have.
KINDS = {
    "category": _BY_FREQUENCY,
    "hashed": {"n_features": N_FEATURES},
    "number": {},
    "quantile_bins": {"n_bins": N_BINS},
    "log_bins": {},
    "bins_and_value": {"n_bins": N_BINS},
    "date": {"parts": [_Parts()], "timezone": [NONE, _Text()]},
    "bag": {"sep": _SEP, **_BY_FREQUENCY},
    "hashed_bag": {"sep": _SEP, "n_features": N_FEATURES},
    "target": {
        "smooth": [Options("auto"), NON_NEGATIVE],
        "cv": [Interval(numbers.Integral, 2)],
        "target_type": [Options("auto", "binary", "multiclass", "continuous")],
    },
    "drop": {},
}
STRINGS = "category", "hashed"
NUMBERS = "number", "quantile_bins", "log_bins", "bins_and_value", "category", "hashed"
CROSSES = "category", "hashed", "target"


class Spec(NamedTuple):
    """A kind and the options that are given for it."""

    kind: str
    options: dict


def read_specs(value, name):
    """The kinds of a column: from a string, a dict, or a list of these."""
    entries = value if isinstance(value, (list, tuple)) else [value]
    if not entries:
        raise ValueError(f"{name} is an empty list; use 'drop' to leave the column out.")
    specs = [_read_spec(entry, name) for entry in entries]
    kinds = [spec.kind for spec in specs]
    if len(set(kinds)) < len(kinds):
        raise ValueError(f"{name}={shown(value)} contains a kind twice; remove one.")
    return specs


def _read_spec(entry, name):
    if isinstance(entry, str):
        entry = {"kind": entry}
    if not isinstance(entry, dict) or not isinstance(entry.get("kind"), str):
        raise TypeError(
            f"{name} must be a kind, such as 'category', a dict, such as {{'kind': "
            f"'quantile_bins', 'n_bins': 20}}, or a list of these; got {shown(entry)}."
        )
    kind, options = entry["kind"], {key: entry[key] for key in entry if key != "kind"}
    if kind not in KINDS:
        raise ValueError(
            f"Unknown kind {kind!r} in {name}; known kinds: {', '.join(map(repr, KINDS))}."
        )
    for option, value in options.items():
        if option not in KINDS[kind]:
            known = ", ".join(map(repr, KINDS[kind])) or "none"
            raise ValueError(
                f"Unknown option {shown(option)} of {kind!r} in {name}; known options: {known}."
            )
        check_parameter(value, f"{option!r} of {kind!r} in {name}", *KINDS[kind][option])
    return Spec(kind, options)


def need_target(columns, crossed):
    """Whether some field is encoded by statistics of the target."""
    given = {} if columns is None else columns
    try:
        specs = [spec for value in given.values() for spec in read_specs(value, "columns")]
        specs += [spec for _, spec in read_crosses(crossed, "category")]
    except (AttributeError, TypeError, ValueError):
        return False  # fit will say what is wrong
    return any(spec.kind == "target" for spec in specs)


def default_specs(column, strings, numbers):
    """What a column becomes by its type."""
    if column.type == _columns.LIST:
        return [Spec("hashed_bag" if strings == "hashed" else "bag", {})]
    if column.type == _columns.DATETIME and not column.is_categorical:
        return [Spec("date", {})]
    if column.type == _columns.NUMBER and not column.is_categorical:
        return [Spec(numbers, {})]
    return [Spec(strings, {})]


class BlockMaker:
    """Makes the blocks of columns and of crossed fields, with the defaults of an encoder."""

    def __init__(self, *, numbers, defaults, seed):
        self._numbers, self._defaults, self._seed = numbers, defaults, seed

    def of_column(self, column, specs):
        fields = {}
        for spec in specs:
            for suffix, block in self._of_spec(column, spec):
                is_first = not fields and spec.kind != "date"
                name = column.name if is_first else f"{column.name}__{suffix or spec.kind}"
                fields[name] = block(name)
        return list(fields.values())

    def _of_spec(self, column, spec):
        """Suffixes of the names of fields, and functions that make the blocks from these names."""
        kind = spec.kind
        options = {
            option: spec.options.get(option, self._defaults.get(option)) for option in KINDS[kind]
        }
        if kind == "drop":
            return
        if kind == "bins_and_value":
            yield None, lambda name: QuantileBins(name, kind, **options)
            yield "value", lambda name: Standardized(name, kind)
        elif kind == "date":
            yield from self._of_dates(column, **options)
        else:
            if "n_features" in options:
                options["seed"] = self._seed
            yield None, lambda name: _BLOCKS[kind](name, kind, **options)

    def _of_dates(self, column, parts, timezone):
        clock = Clock(timezone)
        for part in parts or DATE_PARTS:
            if part == "age":
                yield from self._of_age(clock)
            elif part != "hour" or parts or column.has_hours:
                yield part, lambda name, part=part: DatePart(name, "date", part, clock)

    def _of_age(self, clock):
        days = Days(clock)
        if self._numbers != "number":
            n_bins = self._defaults["n_bins"]
            yield "age", lambda name: QuantileBins(name, "date", n_bins, days)
        if self._numbers in ("number", "bins_and_value"):
            suffix = "age" if self._numbers == "number" else "age_value"
            yield suffix, lambda name: Standardized(name, "date", days)

    def of_cross(self, field, spec, members):
        options = {
            option: spec.options.get(option, self._defaults.get(option))
            for option in KINDS[spec.kind]
        }
        if spec.kind == "hashed":
            return HashedCross(field, spec.kind, members, seed=self._seed, **options)
        make = TargetCross if spec.kind == "target" else Cross
        return make(field, spec.kind, members, **options)


_BLOCKS = {
    "category": Category,
    "hashed": Hashed,
    "number": Standardized,
    "quantile_bins": QuantileBins,
    "log_bins": LogBins,
    "bag": Bag,
    "hashed_bag": HashedBag,
    "target": Target,
}


def read_crosses(crossed, default):
    """Pairs of a list of fields and a spec."""
    crossed = validation.check_list(crossed, "crossed", "a list of pairs of fields")
    return [_read_cross(entry, default) for entry in crossed]


def _read_cross(entry, default):
    options = dict(entry) if isinstance(entry, dict) else {"fields": entry}
    members = options.pop("fields", None)
    is_list = isinstance(members, (list, tuple)) and all(isinstance(m, str) for m in members)
    if not is_list or not 1 < len(members) == len(set(members)):
        raise ValueError(
            "crossed must contain pairs of different fields, such as ('user', 'hour'), or dicts, "
            "such as {'fields': ('user', 'hour'), 'kind': 'hashed', 'n_features': 4096}; got "
            f"{shown(entry)}."
        )
    spec = _read_spec({"kind": default, **options}, f"crossed for {shown(tuple(members))}")
    if spec.kind not in CROSSES:
        raise ValueError(
            f"Crossed fields may be {', '.join(map(repr, CROSSES))}; got {spec.kind!r} for "
            f"{shown(tuple(members))}."
        )
    return tuple(members), spec


def closest(name, known):
    """The end of a message about an unknown name."""
    similar = difflib.get_close_matches(str(name), known, 1)
    names = ", ".join(map(repr, known[:10])) + (", ..." if len(known) > 10 else "")
    return f"Did you mean {similar[0]!r}?" if similar else f"Known: {names}."
