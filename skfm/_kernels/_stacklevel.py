"""Where a warning points: at the line of the user's that led here."""

import sys

# Code that stands between a user and this package, as pipelines and searches do.
BETWEEN = frozenset(["skfm", "numba", "sklearn", "joblib"])


def level_of_user():
    """The ``stacklevel`` at which a function that calls this one has to warn."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and _package(frame) in BETWEEN:
        level, frame = level + 1, frame.f_back
    return level


def _package(frame):
    return str(frame.f_globals.get("__name__")).partition(".")[0]
