"""Warnings and errors about estimators saved by another version of skfm."""

from sklearn import exceptions

__all__ = ["InconsistentVersionError", "InconsistentVersionWarning"]


class InconsistentVersionWarning(exceptions.InconsistentVersionWarning):
    """Warning issued when an estimator is loaded that another version of skfm has saved.

    It is a subclass of scikit-learn's warning of the same name, so filters for that warning apply
    to both.

    Parameters
    ----------
    estimator_name : str
        Name of the estimator's class.
    current_skfm_version : str
        Version that loads the estimator.
    original_skfm_version : str
        Version that saved the estimator, as a pickle or in another format.

    Examples
    --------
    Raise an error for such files:

    >>> import warnings
    >>> from skfm.exceptions import InconsistentVersionWarning
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", InconsistentVersionWarning)
    ...     # model = joblib.load("model.joblib")
    """

    def __init__(
        self, *, estimator_name: str, current_skfm_version: str, original_skfm_version: str
    ) -> None:
        self.estimator_name = estimator_name
        self.current_skfm_version = current_skfm_version
        self.original_skfm_version = original_skfm_version

    def __str__(self) -> str:
        return (
            f"{self.estimator_name} was saved by skfm {self.original_skfm_version} and is "
            f"loaded by skfm {self.current_skfm_version}. It may fail or give other "
            "predictions. Fit it again with this version, or use the version that saved it."
        )


class InconsistentVersionError(ValueError, AttributeError):
    """Error raised when an estimator from another version lacks an attribute that is needed.

    It is also raised by :func:`skfm.io.load_model` if a file has a format or contents that only a
    newer version knows.

    It is a ValueError and an AttributeError, like :class:`sklearn.exceptions.NotFittedError`, so
    that ``hasattr`` returns False for the attribute.
    """
