"""What is kept of a fit, and how it is pickled: with the version, and without many zeros."""

from skfm._utils.packing import packed, unpacked
from skfm._version import __version__
from skfm.exceptions import InconsistentVersionError

STAMP = "_skfm_version"  # in the pickle
ORIGIN = "_pickled_by"  # in the object, if that was another version
UNSTAMPED = "0.1.0.dev0 or older (its pickle does not say which)"


class Versioned:
    """A part of a fitted estimator, or one itself.

    Its state carries the version. Whatever another version has pickled remembers that, and says
    so when it lacks an attribute.
    """

    def __getstate__(self):
        state = dict(super().__getstate__() or {})
        origin = state.pop(ORIGIN, __version__)
        return {name: self._packed(name, value) for name, value in state.items()} | {STAMP: origin}

    def __setstate__(self, state):
        state = {name: unpacked(value) for name, value in state.items()}
        origin = state.pop(STAMP, UNSTAMPED)
        if origin != __version__:
            state[ORIGIN] = origin
        vars(self).update(state)

    def __getattr__(self, name):
        """Only called for what is not there, or raises an AttributeError itself."""
        origin = vars(self).get(ORIGIN)
        if origin is None or name.startswith("__") or hasattr(type(self), name):
            return object.__getattribute__(self, name)  # the usual error
        raise InconsistentVersionError(
            f"{type(self).__name__} has no attribute {name!r}: it was pickled by skfm {origin}, "
            f"and skfm {__version__} has other attributes. Fit the model again, or use the "
            "version that pickled it."
        )

    def _packed(self, name, value):
        return packed(value)
