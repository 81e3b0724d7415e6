"""Callbacks of scikit-learn 1.9 or later: how they are set, and when fits call them.

Nothing is imported before a callback is set, and fits without callbacks only look whether there
are any.
"""

import copy
import functools
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any, Self

import numpy as np

from skfm._utils.typing import available_if

HAS_CALLBACKS = "_has_callbacks"  # attribute of estimators; scikit-learn's own is private


@cache
def _are_supported():
    return find_spec("sklearn.callback") is not None


def _can_set(estimator):
    if not _are_supported():
        raise AttributeError("set_callbacks requires scikit-learn 1.9 or later.")
    return True


class CallbackSupport:
    """Base of iterative estimators.

    It does what `sklearn.callback.CallbackSupportMixin` does, but imports this only if a callback
    is set.
    """

    @available_if(_can_set)
    def set_callbacks(self, *callbacks: Any) -> Self:
        """Set callbacks of scikit-learn, which are called before and after each epoch of `fit`.

        Requires scikit-learn 1.9 or later.

        Parameters
        ----------
        *callbacks : callback instances
            Callbacks such as `sklearn.callback.ProgressBar`. They replace those set before; pass
            none to remove all.

        Returns
        -------
        self : object
            The estimator.

        Raises
        ------
        TypeError
            If an argument is not a callback.
        """
        from sklearn.callback import CallbackSupportMixin

        CallbackSupportMixin.set_callbacks(self, *callbacks)
        setattr(self, HAS_CALLBACKS, bool(callbacks))
        return self

    def __sklearn_clone__(self):
        clone = super().__sklearn_clone__()
        if _has_callbacks(self):  # scikit-learn has copied the callbacks
            setattr(clone, HAS_CALLBACKS, True)
        return clone


def _has_callbacks(estimator):
    return vars(estimator).get(HAS_CALLBACKS, False) and _are_supported()


def without_callbacks(estimator):
    """A shallow copy of the estimator without scikit-learn's callbacks; itself if it has none."""
    if not _has_callbacks(estimator):
        return estimator
    copied = copy.copy(estimator).set_callbacks()
    delattr(copied, HAS_CALLBACKS)
    return copied


def managing_callbacks(fit: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate the part of a fit that creates `FitTasks`: callbacks are closed when it ends.

    An error may end it as well, so this belongs inside of `all_or_nothing`, which restores the
    estimator after that.
    """

    @functools.wraps(fit)
    def managed(estimator, *arguments):
        if not _has_callbacks(estimator):
            return fit(estimator, *arguments)
        from sklearn.callback import with_callbacks

        return with_callbacks(fit)(estimator, *arguments)

    return managed


class FitTasks:
    """A fit and its epochs as tasks, for callbacks; without callbacks, methods do nothing.

    Callbacks see X, y and the weights as the user has given them.
    """

    def __init__(self, estimator, X, y=None, sample_weight=None, *, max_epochs, name="epoch"):
        self.name = name
        self.root = self.epoch = None
        if estimator is None or not _has_callbacks(estimator):
            return
        from sklearn.callback import CallbackSupportMixin

        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self.data = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        # Public by scikit-learn's developer guide, in spite of its name.
        self.root = CallbackSupportMixin._init_callback_context(
            estimator, max_subtasks=int(max_epochs)
        )
        self.root.call_on_fit_task_begin(**self.data)

    @property
    def are_watched(self):
        return self.root is not None

    def begin_epoch(self):
        if self.are_watched:
            self.epoch = self.root.subcontext(self.name).call_on_fit_task_begin(**self.data)

    def end_epoch(self, store):
        """End an epoch; returns whether a callback says to stop.

        ``store()`` makes the estimator one that has stopped here, for callbacks that want such a
        one; None if that is impossible.
        """
        return self.are_watched and _end(self.epoch, self.data, store)

    def end(self):
        """End the fit, which has stored its result in the estimator."""
        if self.are_watched:
            _end(self.root, self.data, lambda: None)

    def listener(self, store):
        """The listener of a training run; ``store(number, parameters)`` as for `end_epoch`."""
        return EpochListener(self, store) if self.are_watched else None


NO_TASKS = FitTasks(None, None, max_epochs=0)  # of `partial_fit`, which callbacks do not see


def _end(task, data, store):
    attributes = None if store is None else lambda: store() or {}
    return task.call_on_fit_task_end(**data, reconstruction_attributes=attributes)


class EpochListener:
    """Listener of a training run that only has callbacks; see `run_epochs`."""

    def __init__(self, tasks, store):
        self.tasks = tasks
        self.store = store

    def converting(self, convert):
        """The same for parameters that have to be converted before they are stored."""
        return EpochListener(self.tasks, lambda number, found: self.store(number, convert(found)))

    def begin(self):
        self.tasks.begin_epoch()

    def snapshot(self):
        return {}

    def restore(self, snapshot):
        """There is nothing to restore: callbacks keep their state themselves."""

    def __call__(self, number, objective, parameters):
        is_finite = np.isfinite(objective)  # else training starts again with smaller steps
        return self.tasks.end_epoch(
            (lambda: self.store(number, parameters)) if is_finite else None
        )
