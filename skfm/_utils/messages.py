"""Values in messages: scalars of NumPy print as plain numbers and strings."""

import numpy as np


def shown(value):
    """The repr of a value, with scalars of NumPy as Python's: 2.5 instead of np.float64(2.5)."""
    return repr(_plain(value))


def _plain(value):
    if isinstance(value, (np.number, np.bool_, np.str_)):
        return value if isinstance(value, np.timedelta64) else value.item()
    if type(value) in (list, tuple):
        return type(value)(map(_plain, value))
    if type(value) is dict:
        return {_plain(key): _plain(item) for key, item in value.items()}
    return value
