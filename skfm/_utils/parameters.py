"""Constraints on the values of parameters: declared in a table for each class, checked here.

A table maps the name of a parameter to a list of constraints, of which the value must meet one.
What concerns two parameters at once, or a parameter and the data, is checked where it is used.
"""

import math
import numbers
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from skfm._utils.messages import shown

FLOAT_TYPES = [np.float64, np.float32]  # in which this package computes; others become the first
LARGEST_RANK = 1_000_000  # a bound for what would never fit into memory


@dataclass(frozen=True)
class Interval:
    """Finite numbers of a kind; ``closed`` names the bounds that are included."""

    kind: type  # numbers.Integral or numbers.Real
    low: float = -math.inf
    high: float = math.inf
    closed: str = "both"

    def suits(self, value):
        return isinstance(value, self.kind) and not isinstance(value, (bool, np.bool_))

    def contains(self, value):
        number = self.convert(value)
        above = number >= self.low if self._includes_low else number > self.low
        below = number <= self.high if self._includes_high else number < self.high
        return above and below

    def convert(self, value):
        """Python's int or float: arithmetic with a small type of NumPy's overflows."""
        return int(value) if self.kind is numbers.Integral else float(value)

    @property
    def _includes_low(self):
        return self.closed in ("left", "both") and math.isfinite(self.low)

    @property
    def _includes_high(self):
        return self.closed in ("right", "both") and math.isfinite(self.high)

    def __str__(self):
        kind = "an integer" if self.kind is numbers.Integral else "a number"
        left, right = "(["[self._includes_low], ")]"[self._includes_high]
        return f"{kind} in {left}{self.low}, {self.high}{right}"


class Options:
    """Some strings."""

    def __init__(self, *options):
        self.options = options

    def suits(self, value):
        return isinstance(value, str)

    def contains(self, value):
        return value in self.options

    def __str__(self):
        names = ", ".join(map(repr, self.options))
        return names if len(self.options) == 1 else f"one of {names}"


class Boolean:
    """True or False, of Python or of NumPy."""

    def suits(self, value):
        return isinstance(value, (bool, np.bool_))

    def contains(self, value):
        return True

    def __str__(self):
        return "True or False"


class Missing:
    """None."""

    def suits(self, value):
        return value is None

    def contains(self, value):
        return True

    def __str__(self):
        return "None"


@dataclass(frozen=True)
class Function:
    """Anything that can be called; the arguments are named for the message."""

    arguments: str

    def suits(self, value):
        return callable(value)

    def contains(self, value):
        return True

    def __str__(self):
        return f"a function of ({self.arguments})"


@dataclass(frozen=True)
class Members:
    """A list or the like, or an array of at most ``ndim`` dimensions."""

    what: str
    ndim: int = 1

    def suits(self, value):
        is_list = np.iterable(value) and not isinstance(value, (str, bytes, dict))
        return is_list and not sparse.issparse(value) and getattr(value, "ndim", 1) <= self.ndim

    def contains(self, value):
        return True

    def __str__(self):
        return self.what


class FloatType:
    """One of the types in which this package computes."""

    def suits(self, value):
        return True

    def contains(self, value):
        return isinstance(value, (type, np.dtype)) and value in FLOAT_TYPES

    def __str__(self):
        return "np.float64 or np.float32"


AUTO = Options("auto")
BOOLEAN = Boolean()
FLOAT_TYPE = FloatType()
NONE = Missing()
RANK = Interval(numbers.Integral, 0, LARGEST_RANK)
POSITIVE_INTEGER = Interval(numbers.Integral, 1)
NON_NEGATIVE = Interval(numbers.Real, 0)
POSITIVE = Interval(numbers.Real, 0, closed="neither")
BETWEEN_0_AND_1 = Interval(numbers.Real, 0, 1, closed="neither")

# Parameters that most estimators have.
N_JOBS = [NONE, POSITIVE_INTEGER, Interval(numbers.Integral, high=-1)]
VERBOSE = [BOOLEAN, Interval(numbers.Integral, 0)]


def check_parameters(values, constraints):
    """Check the values of parameters, which are given by name, against a table."""
    for name, allowed in constraints.items():
        check_parameter(values[name], name, *allowed)


def check_parameter(value, name, *allowed):
    """Check that a value meets one of some constraints.

    Raises
    ------
    ValueError
        If the value has an allowed type, such as str, but is not one of the allowed values, or if
        only strings are allowed.
    TypeError
        If the value has another type.
    """
    suitable = [constraint for constraint in allowed if constraint.suits(value)]
    try:
        if any(constraint.contains(value) for constraint in suitable):
            return
    except OverflowError as error:  # integers may be as large as they like
        raise ValueError(f"{name} is too large for a float; lower it.") from error
    only_names = all(isinstance(constraint, Options) for constraint in allowed)
    error = ValueError if suitable or only_names else TypeError
    raise error(f"{name} must be {' or '.join(map(str, allowed))}; got {shown(value)}.")
