"""Recommendations as long tables: one row for each item, or user, that was found."""

from importlib import import_module

import numpy as np

from skfm._utils import validation
from skfm._utils.ids import read_ids

OUTPUTS = ("default", "pandas", "polars")


def check_output(output):
    """Refuse an unknown output, or one whose package is missing, before anything is computed."""
    validation.check_option(output, "output", OUTPUTS)
    if output != "default":
        try:
            import_module(output)
        except ImportError as error:
            raise ImportError(
                f"output={output!r} requires the package {output} ({error}); install it, or use "
                "output='default'."
            ) from error


def long_frame(output, names, asked, found, values, show):
    """A DataFrame of the four columns ``names``: the query, a result, its value and its rank.

    ``asked`` names the rows of ``found``, which holds positions, best first, and -1 where there
    is none; ``show(positions)`` names them. ``values`` belong to ``found``.
    """
    rows, places = np.nonzero(found >= 0)
    columns = asked[rows], show(found[rows, places]), values[rows, places], places + 1
    make_frame = import_module(output).DataFrame
    try:
        return make_frame(dict(zip(names, columns, strict=True)))
    except TypeError as error:
        raise TypeError(
            f"output={output!r} needs names of one type in each column ({error}); convert the "
            "names to strings, or use output='pandas'."
        ) from error


def index_of(X):
    """The index of a DataFrame, else None."""
    index = getattr(X, "index", None)
    return None if callable(index) else index  # lists have a method of that name


def name_rows(user_ids, n_rows):
    """A name for each row of X; their numbers if ``user_ids`` is None."""
    if user_ids is None:
        return np.arange(n_rows)
    names = read_ids(user_ids, "user")
    if names.size != n_rows:
        raise ValueError(
            f"user_ids must contain one id for each of the {n_rows} rows of X; got {names.size}."
        )
    return names
