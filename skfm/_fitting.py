"""All or nothing: a fit that fails leaves the estimator as it was."""

from contextlib import contextmanager


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
