"""All or nothing: a fit that fails leaves the estimator as it was."""

from contextlib import contextmanager

from skfm._solvers.pickling import ORIGIN


@contextmanager
def all_or_nothing(estimator):
    """Whoever interrupts a fit, or passes what cannot be learned, keeps the model from before."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise
    vars(estimator).pop(ORIGIN, None)  # what it is now, this version has made
