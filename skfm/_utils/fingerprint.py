"""What identifies a fit: digests of its data, and its parameters."""

import hashlib
import re
from dataclasses import fields, is_dataclass
from typing import NamedTuple

import numpy as np
from scipy import sparse

from skfm._utils.estimator import abridged
from skfm._utils.messages import shown
from skfm._utils.plain_state import to_plain
from skfm._version import __version__

WITHOUT_EFFECT = ("callback", "n_jobs", "verbose")  # on the fitted parameters
LONGEST = 60  # characters of values in messages


class Trait(NamedTuple):
    """One of the things that identify a fit, such as a parameter or the targets."""

    digest: str
    text: str | None  # what messages show, if that is short


def fingerprint(estimator, data):
    """The traits of a fit by name; ``data`` are arrays and other values by name."""
    parameters = estimator.get_params(deep=False)
    if parameters.get("random_state") is np.random:
        parameters["random_state"] = None
    values = {"version of skfm": __version__, "class": type(estimator).__name__}
    values |= {name: v for name, v in parameters.items() if name not in WITHOUT_EFFECT}
    traits = {name: Trait(digest(value), _text(value)) for name, value in values.items()}
    return traits | {name: Trait(digest(value), None) for name, value in data.items()}


def differences(before, now):
    """How the traits of a fit differ from those of an earlier one, as a list of phrases."""
    phrases = []
    for name in now | before:
        was, is_now = before.get(name), now.get(name)
        if was is not None and is_now is not None and was.digest == is_now.digest:
            continue
        texts = [getattr(trait, "text", None) for trait in (was, is_now)]
        is_short = all(text is not None for text in texts) and texts[0] != texts[1]
        phrases.append(f"{name} was {texts[0]}, now {texts[1]}" if is_short else f"{name} differs")
    return phrases


def digest(value):
    """A hash of a value; equal arrays have the same one wherever they are in memory."""
    state = hashlib.blake2b(digest_size=16)
    _add(state, value)
    return state.hexdigest()


def _add(state, value):
    if sparse.issparse(value):
        X = value.tocsr()
        value = ["csr", X.shape, X.indptr, X.indices, X.data]
    if isinstance(value, np.ndarray) and value.dtype.kind != "O":
        state.update(f"{value.dtype.str}{value.shape}".encode())
        state.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8))
    elif isinstance(value, np.ndarray):
        _add(state, ["objects", *value.shape, *value.ravel().tolist()])
    elif isinstance(value, dict):
        _add(state, ["dict", sorted(value.items(), key=lambda item: repr(item[0]))])
    elif isinstance(value, (set, frozenset)):
        _add(state, ["set", sorted(value, key=repr)])
    elif isinstance(value, (list, tuple)):
        state.update(f"{len(value)} values:".encode())
        for part in value:
            _add(state, part)
    elif is_dataclass(value) and not isinstance(value, type):
        _add(state, {field.name: getattr(value, field.name) for field in fields(value)})
    elif isinstance(value, np.random.RandomState):
        _add(state, to_plain(value))
    elif hasattr(value, "__array__") and not isinstance(value, np.generic):  # tables, columns
        _add(state, np.asarray(value))
    else:
        state.update(f"{_repr(value)};".encode("utf-8", "surrogatepass"))


def _repr(value):
    """The repr of a value, without the address of an object."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", shown(value))


def _text(value):
    if abridged(value) is not value or hasattr(value, "__array__"):
        return None
    text = _repr(value)
    return text if len(text) <= LONGEST else None
