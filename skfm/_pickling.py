"""Estimators that another version pickled: a warning, and the parameters they did not have."""

import inspect

from skfm._solvers.caller import warn
from skfm._solvers.pickling import ORIGIN, Kept
from skfm._version import __version__
from skfm.exceptions import InconsistentVersionWarning


class KeptEstimator(Kept):
    """Base of all estimators, before scikit-learn's."""

    def __setstate__(self, state):
        super().__setstate__(state)
        if ORIGIN not in vars(self):
            return
        # Parameters that are new have the values at which nothing changes: their defaults. So
        # what needs no fit works: repr, clone, fit.
        for name, parameter in inspect.signature(type(self).__init__).parameters.items():
            if parameter.default is not parameter.empty:
                vars(self).setdefault(name, parameter.default)
        message = InconsistentVersionWarning(
            estimator_name=type(self).__name__,
            current_skfm_version=__version__,
            original_skfm_version=vars(self)[ORIGIN],
        )
        warn(message, InconsistentVersionWarning)

    def _packed(self, name, value):
        is_fitted = name.startswith("_") or name.endswith("_")
        return super()._packed(name, value) if is_fitted else value  # the user's, as it is
