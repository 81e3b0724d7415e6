"""What is kept of a fit, and how it is pickled: with the version, as plain values."""

from skfm._utils.plain_state import from_plain, register, to_plain
from skfm._version import __version__
from skfm.exceptions import InconsistentVersionError

STAMP = "_skfm_version"  # in the pickle
ORIGIN = "_pickled_by"  # in the object, if that was another version
UNSTAMPED = "0.1.0.dev0 or older (its pickle does not say which)"


class Versioned:
    """A part of a fitted estimator, or one itself.

    Its state carries the version. Whatever another version has saved remembers that, and says
    so when it lacks an attribute. In the state of an estimator, its parts are plain values under
    the name of their class, or another ``kind`` if two classes have the same name.
    """

    _is_part = True

    def __init_subclass__(cls, kind=None, **options):
        super().__init_subclass__(**options)
        if cls._is_part:
            register(cls, cls.__getstate__, cls._from_state, kind)

    @classmethod
    def _from_state(cls, state):
        part = cls.__new__(cls)
        part.__setstate__(state)
        return part

    def __getstate__(self):
        state = dict(super().__getstate__() or {})
        origin = state.pop(ORIGIN, __version__)
        return {name: self._packed(name, value) for name, value in state.items()} | {STAMP: origin}

    def __setstate__(self, state):
        state = {name: self._unpacked(name, value) for name, value in state.items()}
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
            f"{type(self).__name__} has no attribute {name!r}: it was saved by skfm {origin}, "
            f"and skfm {__version__} has other attributes. Fit the model again, or use the "
            "version that saved it."
        )

    def _packed(self, name, value):
        return to_plain(value)

    def _unpacked(self, name, value):
        return from_plain(value)
