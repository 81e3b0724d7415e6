"""Penalties that differ between groups of features."""

import numbers
from collections.abc import Mapping

import numpy as np

from skfm import _validation as door


def check_groups(groups, n_features):
    """Group labels, sorted, and each feature's place among them; None if there are no groups."""
    if groups is None:
        return None
    labels = np.asarray(groups)
    if labels.shape != (n_features,):
        raise ValueError(
            f"feature_groups must hold one label a feature, shape ({n_features},); got shape "
            f"{labels.shape}."
        )
    if labels.dtype.kind == "f" and np.isnan(labels).any():
        raise ValueError("feature_groups contains NaN; give every feature a group.")
    try:
        return np.unique(labels, return_inverse=True)
    except TypeError as error:
        raise TypeError(
            f"feature_groups must hold labels of one kind, strings or numbers ({error})."
        ) from error


def check_penalty(value, name, groups):
    """A penalty as a number, or as an array with one for each feature.

    ``value`` is a number, a mapping from group labels to numbers, or a sequence with a number for
    each group, in sorted order of their labels.
    """
    if isinstance(value, numbers.Number):
        door.check_number(value, name, numbers.Real, low=0)
        return float(value)
    if isinstance(value, str) or not (isinstance(value, Mapping) or np.ndim(value) == 1):
        raise TypeError(
            f"{name} must be a number of at least 0, or one for each group of feature_groups; "
            f"got {value!r}."
        )
    if groups is None:
        raise ValueError(
            f"{name} has several values, {value!r}; say in feature_groups which features they "
            "are for."
        )
    labels, places = groups
    if isinstance(value, Mapping):
        missing = [label for label in labels.tolist() if label not in value]
        if missing:
            raise ValueError(f"{name} has no value for group {missing[0]!r} of feature_groups.")
        unknown = [label for label in value if label not in labels.tolist()]
        if unknown:
            raise ValueError(f"{name} has a value for {unknown[0]!r}, no group of feature_groups.")
        value = [value[label] for label in labels.tolist()]
    if len(value) != labels.size:
        raise ValueError(
            f"{name} has {len(value)} values, feature_groups has {labels.size} groups: "
            f"{', '.join(map(repr, labels.tolist()[:10]))}."
        )
    for number in value:
        door.check_number(number, f"each value of {name}", numbers.Real, low=0)
    return np.asarray(value, dtype=np.float64)[places]
