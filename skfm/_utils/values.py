"""Plain values as JSON and arrays, and back, with their exact types.

JSON has no tuples, sets, bytes or numbers of NumPy. These, and dictionaries, are objects with one
key that says what they are, such as ``{"tuple": [1, 2]}`` or ``{"array": "coef_"}``.
"""

import math
from datetime import date, datetime, timedelta, timezone

import numpy as np

from skfm._utils.estimator import abridged
from skfm._utils.messages import shown

SUPPORTED = (
    "None, booleans, numbers, strings, bytes, dates, times and durations; lists, tuples, sets and "
    "dictionaries of these; numeric, string and datetime arrays, object arrays of these values, "
    "and sparse matrices in CSR or CSC format"
)
# Values as text or lists for JSON, and back.
LEAVES = {
    "float": (float, repr, float),  # those that JSON lacks
    "bytes": (bytes, bytes.hex, bytes.fromhex),
    "date": (date, date.isoformat, date.fromisoformat),
    "datetime": (datetime, datetime.isoformat, datetime.fromisoformat),
    "timedelta": (
        timedelta,
        lambda value: [value.days, value.seconds, value.microseconds],
        lambda parts: timedelta(*parts),
    ),
}
TAGS_OF_LEAVES = {kind: tag for tag, (kind, *_) in LEAVES.items()}
COLLECTIONS = {kind.__name__: kind for kind in (tuple, set, frozenset)}
# Classes that are values themselves, such as the parameter dtype=np.float32.
TYPES = {kind.__name__: kind for kind in (bool, int, float, str, bytes, object)} | {
    f"numpy.{np.dtype(kind).name}": kind
    for kind in (
        *(np.bool_, np.int8, np.int16, np.int32, np.int64),
        *(np.uint8, np.uint16, np.uint32, np.uint64, np.float16, np.float32, np.float64),
    )
}
NAMES_OF_TYPES = {kind: name for name, kind in TYPES.items()}
KINDS_OF_ARRAYS = "biufcmMSU"


class Encoder:
    """Turns values into JSON, and collects their ``arrays`` by name.

    An array that occurs in several places is stored once.
    """

    def __init__(self):
        self.arrays = {}
        self._nodes = {}  # by the ids of arrays
        self._alive = []  # these arrays, so that their ids stay theirs

    def encode(self, value, path):
        """The JSON of a value; ``path`` says where it is, as strings."""
        kind = type(value)
        if value is None or kind in (bool, int, str) or (kind is float and math.isfinite(value)):
            return value
        if kind is list:
            return self._all(value, path)
        if kind in COLLECTIONS.values():
            parts = self._all(value, path)
            return {kind.__name__: parts if kind is tuple else sorted(parts, key=repr)}
        if kind is dict:
            if all(type(key) is str for key in value):
                return {"dict": {k: self.encode(v, (*path, k)) for k, v in value.items()}}
            return {"items": [self._all(item, path) for item in value.items()]}
        if kind in (np.ndarray, np.memmap):
            return self._array(value, path)
        if isinstance(value, np.generic) and value.dtype.kind in KINDS_OF_ARRAYS:
            return self._scalar(value, path)
        if isinstance(value, type) and value in NAMES_OF_TYPES:
            return {"type": NAMES_OF_TYPES[value]}
        is_elsewhere = type(getattr(value, "tzinfo", None)) not in (type(None), timezone)
        if kind in TAGS_OF_LEAVES and not is_elsewhere:
            tag = TAGS_OF_LEAVES[kind]
            return {tag: LEAVES[tag][1](value)}
        remedy = ""
        if path[0] == "parameters":
            remedy = (
                " If only another fit needs the parameter, replace it before saving, for example "
                f"by set_params({path[1]}=None)."
            )
        raise TypeError(
            f"save_model cannot store {'.'.join(path)}={shown(abridged(value))}, which is of type "
            f"{kind.__module__}.{kind.__qualname__}. It stores {SUPPORTED}.{remedy}"
        )

    def _all(self, values, path):
        return [self.encode(value, (*path, str(place))) for place, value in enumerate(values)]

    def _scalar(self, value, path):
        if value.dtype.itemsize > 8 and value.dtype.kind == "f":
            raise TypeError(f"save_model cannot store {'.'.join(path)}: it is a long double.")
        plain = value.astype(np.int64) if value.dtype.kind in "mM" else value
        return {"scalar": [value.dtype.str, self.encode(plain.item(), path)]}

    def _array(self, array, path):
        if id(array) not in self._nodes:
            self._alive.append(array)
            self._nodes[id(array)] = self._new_array(np.asarray(array), path)
        return self._nodes[id(array)]

    def _new_array(self, array, path):
        if array.dtype.kind == "O":
            return self._objects(array, path)
        if array.dtype.kind not in KINDS_OF_ARRAYS:
            raise TypeError(
                f"save_model cannot store {'.'.join(path)}, an array of {array.dtype}. It stores "
                f"{SUPPORTED}."
            )
        # In the order of its memory, so that a mapped array needs no copy.
        axes = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
        node = {"array": self._add(array.transpose(axes), path)}
        return node | ({"axes": axes} if axes != sorted(axes) else {})

    def _objects(self, array, path):
        values = array.ravel().tolist()
        if not all(type(value) is str for value in values):
            return {"objects": self._all(values, path), "shape": array.shape}
        texts = [value.encode("utf-8", "surrogatepass") for value in values]
        ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
        return {
            "strings": self._add(np.frombuffer(b"".join(texts), np.uint8), (*path, "text")),
            "ends": self._add(ends, (*path, "ends")),
            "shape": array.shape,
        }

    def _add(self, array, path):
        """The name under which an array is stored: where it is, and a number if that is taken."""
        parts = [part for part in path if part != "state"]
        is_plain = all(part and part.isascii() and f"_{part}".isidentifier() for part in parts)
        name = base = "/".join(parts) if is_plain and parts else "array"
        while name in self.arrays:
            name = f"{base}-{len(self.arrays)}"
        self.arrays[name] = array
        return name


class Decoder:
    """The inverse of `Encoder`; ``read`` returns the array of a name."""

    def __init__(self, read):
        self._read = read
        self._kept = {}  # arrays by name: each is read once

    def decode(self, node):
        if isinstance(node, list):
            return list(map(self.decode, node))
        if not isinstance(node, dict):
            return node
        kind = next(iter(node))
        content = node[kind]
        if kind in LEAVES:
            return LEAVES[kind][2](content)
        if kind in COLLECTIONS:
            return COLLECTIONS[kind](self.decode(content))
        if kind == "dict":
            return {key: self.decode(value) for key, value in content.items()}
        if kind == "items":
            return dict(map(self.decode, content))
        if kind == "scalar":
            return self._scalar(np.dtype(content[0]), self.decode(content[1]))
        if kind == "type":
            return TYPES[content]
        if kind == "objects":
            return _filled(self.decode(content), node["shape"])
        if kind not in ("array", "strings"):
            raise ValueError(f"a value of an unknown kind, {kind!r}")
        if content not in self._kept:
            self._kept[content] = self._array(node) if kind == "array" else self._strings(node)
        return self._kept[content]

    def _scalar(self, dtype, value):
        if dtype.kind in "mM":
            return np.array(value, np.int64).view(dtype)[()]
        return np.array(value, dtype)[()]

    def _array(self, node):
        array = self._read(node["array"])
        return array.transpose(np.argsort(node["axes"])) if "axes" in node else array

    def _strings(self, node):
        text, ends = self._read(node["strings"]).tobytes(), self._read(node["ends"]).tolist()
        starts = [0, *ends[:-1]]
        values = [
            text[start:end].decode("utf-8", "surrogatepass")
            for start, end in zip(starts, ends, strict=False)
        ]
        return _filled(values, node["shape"])


def _filled(values, shape):
    """An array of objects, which NumPy might take for nested sequences."""
    array = np.empty(len(values), object)
    for place, value in enumerate(values):
        array[place] = value
    return array.reshape(shape)
