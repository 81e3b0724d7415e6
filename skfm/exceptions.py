"""Warnings and errors about estimators pickled by another version of skfm."""

from sklearn import exceptions

__all__ = ["InconsistentVersionError", "InconsistentVersionWarning"]


class InconsistentVersionWarning(exceptions.InconsistentVersionWarning):
    """An estimator is unpickled that another version of skfm has pickled.

    It is a kind of scikit-learn's warning of the same name, so what is said about that one in
    ``warnings.filterwarnings`` holds for both.

    Parameters
    ----------
    estimator_name : str
        Name of the estimator's class.
    current_skfm_version : str
        Version that unpickles it.
    original_skfm_version : str
        Version that has pickled it.

    Examples
    --------
    Refuse such pickles:

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
            f"{self.estimator_name} was pickled by skfm {self.original_skfm_version} and is "
            f"unpickled by skfm {self.current_skfm_version}. It may fail, or predict something "
            "else; fit it again with this version, or use it with the version it comes from."
        )


class InconsistentVersionError(ValueError, AttributeError):
    """An unpickled object lacks what this version needs, as another version has pickled it.

    It is a ValueError and an AttributeError, as :class:`sklearn.exceptions.NotFittedError` is:
    for whoever asks with ``hasattr``, the attribute is not there.
    """
