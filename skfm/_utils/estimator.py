"""What all estimators share: fits that leave no half-fitted model, short reprs, pickles."""

import inspect
import math
import sys
from contextlib import contextmanager
from typing import Any, ClassVar

from sklearn.base import BaseEstimator

from skfm import _version
from skfm._utils.parameters import check_parameters
from skfm._utils.pickling import ORIGIN, Versioned
from skfm._utils.warnings import warn
from skfm._version import __version__
from skfm.exceptions import InconsistentVersionWarning

LONGEST = 30  # values that are printed, as many as scikit-learn shows of a list


@contextmanager
def unchanged_by_errors(estimator):
    """Restore the attributes of the estimator if an error is raised or the user interrupts."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


@contextmanager
def all_or_nothing(estimator):
    """The same for a fit."""
    with unchanged_by_errors(estimator):
        yield
    vars(estimator).pop(ORIGIN, None)  # the fit was made by this version


class VersionedEstimator(Versioned):
    """Base of all estimators, before scikit-learn's."""

    _is_part = False

    def __setstate__(self, state):
        super().__setstate__(state)
        if ORIGIN not in vars(self):
            return
        # Parameters that the other version lacked get their defaults, so that repr, clone and fit
        # work.
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
        return super()._packed(name, value) if is_fitted(name) else value  # the user's, as it is

    def _unpacked(self, name, value):
        return super()._unpacked(name, value) if is_fitted(name) else value


def is_fitted(name):
    """Whether an attribute comes from a fit; the others are parameters."""
    return name.startswith("_") or name.endswith("_")


class PrintableEstimator(BaseEstimator):
    """A `BaseEstimator` whose repr has the shape of large parameters instead of their values.

    Pipelines and searches print their steps by `get_params` of these. So `get_params` returns
    summaries when it is called from a repr, and the values otherwise.

    Subclasses declare what values their parameters may have in ``_constraints``.
    """

    _constraints: ClassVar[dict] = {}  # lists of constraints by the names of parameters

    # For scikit-learn, which shows a link to the documentation in the HTML representation of
    # estimators of this module.
    @property
    def _doc_link_module(self):
        return "skfm" if _version.DOCUMENTATION else ""

    @property
    def _doc_link_template(self):
        page = "generated/{estimator_module}.{estimator_name}.html"
        return f"{_version.DOCUMENTATION}/{page}"

    def _check_parameters(self):
        check_parameters(vars(self), self._constraints)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Get the parameters of this estimator.

        Parameters
        ----------
        deep : bool, default=True
            Whether to add the parameters of estimators among the parameters.

        Returns
        -------
        params : dict
            Names of parameters and their values.
        """
        params = super().get_params(deep)
        if _is_printing():
            params = {name: abridged(value) for name, value in params.items()}
        return params


class _Summary:
    def __init__(self, text):
        self.text = text

    def __repr__(self):
        return self.text


def _is_printing():
    """Whether an estimator's repr asks, this one's or that of what contains it."""
    printing, frame = BaseEstimator.__repr__.__code__, sys._getframe(2)
    while frame is not None and frame.f_code is not printing:
        frame = frame.f_back
    return frame is not None


def abridged(value):
    """The value, or something that prints as a summary if it is a table or holds many values."""
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and (len(shape) > 1 or math.prod(shape) > LONGEST):
        return _Summary(f"<{type(value).__name__} of shape {shape}>")
    if isinstance(value, (list, tuple, set, frozenset, dict)) and _count(value) > LONGEST:
        return _Summary(f"<{type(value).__name__} of length {len(value)}>")
    return value


def _count(value):
    """How many values there are in a container and those inside; more than enough is enough."""
    if isinstance(getattr(value, "shape", None), tuple):
        return math.prod(value.shape)
    if not isinstance(value, (list, tuple, set, frozenset, dict)):
        return 1
    count = len(value)
    if count <= LONGEST:
        count = sum(map(_count, value.values() if isinstance(value, dict) else value))
    return count
