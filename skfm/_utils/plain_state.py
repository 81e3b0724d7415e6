"""Private objects as plain values, and back: what files of models contain.

A fitted estimator keeps objects of private classes. In its state, which pickle, joblib, skops and
`skfm.io` store, dictionaries such as ``{"__kind__": "Scaling", "state": {...}}`` take their place.
So no file depends on where a private class is, and none can name a class that is not in the table
below.
"""

from typing import NamedTuple

import numpy as np
from scipy import sparse

from skfm._utils.packing import Columns, Runs, packed
from skfm.exceptions import InconsistentVersionError

KIND = "__kind__"
BIT_GENERATORS = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")


class _Kind(NamedTuple):
    name: str
    take_apart: object  # a function from an object to a plain value
    put_together: object  # its inverse


_by_class: dict[type, _Kind] = {}
_by_name: dict[str, _Kind] = {}


def register(cls, take_apart, put_together, name=None):
    """Store objects of a class, and of no subclass, as plain values under a name of their own.

    The name, by default that of the class, is part of all files: it must stay when the class is
    renamed.
    """
    kind = _Kind(name or cls.__name__, take_apart, put_together)
    if kind.name in _by_name:
        raise TypeError(f"There is another stored class named {kind.name}; pass kind='...'.")
    _by_class[cls] = _by_name[kind.name] = kind


def register_tuple(cls):
    """Store a named tuple as the dictionary of its fields; a decorator."""
    register(
        cls, lambda record: to_plain(record._asdict()), lambda state: cls(**from_plain(state))
    )
    return cls


def to_plain(value):
    """A value without private objects; arrays that have many zeros or long runs are packed."""
    value = packed(value)
    kind = _by_class.get(np.dtype if isinstance(value, np.dtype) else type(value))
    if kind is not None:
        return {KIND: kind.name, "state": kind.take_apart(value)}
    return _rebuilt(value, to_plain)


def from_plain(value):
    """The inverse of `to_plain`."""
    if isinstance(value, (Columns, Runs)):  # pickles once contained these themselves
        return value.unpacked()
    if type(value) is dict and KIND in value:
        kind = _by_name.get(value[KIND])
        if kind is None:
            raise InconsistentVersionError(
                f"The model contains a part of an unknown kind, {value[KIND]!r}. It was probably "
                "saved by a newer version of skfm; load it with that version."
            )
        return kind.put_together(value["state"])
    return _rebuilt(value, from_plain)


def _rebuilt(value, convert):
    """A list, tuple or dictionary of converted values; the same object if none has changed."""
    if type(value) is dict:
        parts = {key: convert(part) for key, part in value.items()}
        is_same = all(parts[key] is part for key, part in value.items())
    elif type(value) in (list, tuple):
        parts = type(value)(map(convert, value))
        is_same = all(map(lambda one, other: one is other, parts, value))
    else:
        return value
    return value if is_same else parts


# Objects of NumPy and SciPy. The arrays of sparse matrices are set as they are: the constructor
# might convert their indices.


def _sparse_state(X):
    names = "data", "indices", "indptr"
    return {"shape": X.shape} | {name: to_plain(getattr(X, name)) for name in names}


def _sparse_from(cls):
    def put_together(state):
        arrays = {name: from_plain(state[name]) for name in ("data", "indices", "indptr")}
        X = cls(tuple(state["shape"]), dtype=arrays["data"].dtype)
        X.data, X.indices, X.indptr = arrays["data"], arrays["indices"], arrays["indptr"]
        return X

    return put_together


def _random_state(state):
    name = state["bit_generator"]
    if name not in BIT_GENERATORS:
        raise ValueError(f"Unknown bit generator {name!r}.")
    rng = np.random.RandomState(getattr(np.random, name)())
    rng.set_state(state)
    return rng


for _cls in (sparse.csr_matrix, sparse.csr_array, sparse.csc_matrix, sparse.csc_array):
    register(_cls, _sparse_state, _sparse_from(_cls))
register(np.random.RandomState, lambda rng: rng.get_state(legacy=False), _random_state)
register(np.dtype, np.lib.format.dtype_to_descr, np.lib.format.descr_to_dtype, "dtype")
for _cls in (Columns, Runs):
    register(
        _cls, lambda record: record._asdict(), lambda state, cls=_cls: cls(**state).unpacked()
    )
