"""Names and fields of the features of fitted estimators, also behind the steps of pipelines."""

import numpy as np

from skfm._fm.feature_groups import check_labels
from skfm._fm.interactions import given_or_carried
from skfm._utils.ids import read_ids
from skfm.preprocessing import feature_groups


def names_of_features(given, steps, estimator, n_features):
    """The names of the columns that an estimator gets: those given, else those that are known.

    ``steps`` are the pipelines of transformers before the estimator.
    """
    if given is not None:
        names = read_ids(given, "feature")
        if names.size != n_features:
            raise ValueError(
                f"feature_names must name the {n_features} features of the model; it has "
                f"{names.size} names."
            )
        return names.astype(object)
    names = _names_out(steps)
    if names is None:
        names = getattr(estimator, "feature_names_in_", None)
    if names is None or len(names) != n_features:
        names = [f"x{number}" for number in range(n_features)]  # as scikit-learn calls them
    return np.asarray(names, dtype=object)


def _names_out(steps):
    """What the transformers call their output; None where one of them does not say."""
    names = None
    for step in steps:
        try:
            names = step.get_feature_names_out(names)
        except (AttributeError, TypeError, ValueError):
            names = getattr(step[-1], "item_ids_", None)  # of a UserItemEncoder
    return names


def fields_of_features(given, steps, estimator, X, fitted):
    """The field of each feature, as a label: those given, else those that are known, else None.

    ``X`` is what the estimator gets. ``fitted`` are numbers of fields, which is what a fit keeps.
    """
    n_features = fitted.size
    labels = given
    if labels is None:
        labels = given_or_carried(getattr(estimator, "feature_fields", None), X, "feature_fields")
    if labels is None and steps:
        labels = _fields_out(steps[-1])
    if labels is None and np.ptp(fitted) > 0:
        labels = [f"field {number}" for number in fitted]
    if labels is None:
        return None
    return check_labels(labels, n_features, "feature_fields")


def _fields_out(step):
    try:
        return feature_groups(step)
    except TypeError:  # the transformer does not say how many columns it makes
        return None
