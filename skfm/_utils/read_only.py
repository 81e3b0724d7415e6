"""Fitted attributes that users can read but not change."""

from typing import Any

import numpy as np


class ReadOnlyAttributes:
    """Base of estimators that also keep something computed from their public attributes.

    A change of such an attribute would have no effect on some methods. ``_read_only`` are the
    names of these attributes, and ``_why_read_only`` completes the error message.
    """

    _read_only: Any = ()  # a tuple, or a property if it depends on the fit
    _why_read_only = ""

    def __setattr__(self, name, value):
        self._refuse_change(name)
        super().__setattr__(name, value)

    def __delattr__(self, name):
        self._refuse_change(name)
        super().__delattr__(name)

    def _refuse_change(self, name):
        if name in self._read_only and name in vars(self):
            raise AttributeError(
                f"{name} of a fitted {type(self).__name__} is read-only, since "
                f"{self._why_read_only}; fit the model again."
            )

    def __setstate__(self, state):
        super().__setstate__(state)
        self._protect()

    def _protect(self):
        """Make the arrays of read-only attributes such that they cannot be written to."""
        self._publish(**{name: vars(self)[name] for name in self._read_only if name in vars(self)})

    def _publish(self, **attributes):
        """Set read-only attributes; their arrays cannot be written to, either."""
        for value in attributes.values():
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
        vars(self).update(attributes)
