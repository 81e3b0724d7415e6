"""Groups of features: where they come from, and penalties that differ between them."""

import numbers
from collections.abc import Mapping

import numpy as np

from skfm._solvers.fm.one_hot_fields import find_fields
from skfm._utils import validation
from skfm._utils.ids import find_missing
from skfm._utils.messages import shown

SINGLE = "single"  # group, of all features


def check_labels(labels, n_features, name, of="feature"):
    """An array with a label for each feature."""
    labels = np.asarray(labels)
    if labels.shape != (n_features,):
        raise ValueError(
            f"{name} must contain one label for each {of}, shape ({n_features},); got shape "
            f"{labels.shape}."
        )
    if find_missing(labels).any():
        raise ValueError(f"{name} contains NaN or None; give every feature a label.")
    return labels


def check_groups(groups, n_features):
    """Labels, sorted, and each feature's place among them; None if there are none."""
    if groups is None:
        return None
    labels = check_labels(groups, n_features, "feature_groups")
    try:
        return np.unique(labels, return_inverse=True)
    except TypeError as error:
        raise TypeError(
            "feature_groups must contain labels of the same type, either strings or numbers "
            f"({error})."
        ) from error


def check_or_derive_groups(groups, X, weight):
    """The same, but ``"single"`` is one group for all features, and None those that X suggests."""
    if isinstance(groups, str) and groups == SINGLE:
        groups = np.full(X.shape[1], SINGLE)
    elif groups is None:
        groups = derive_groups(X, weight)
    elif isinstance(groups, str):
        raise ValueError(
            f'feature_groups must contain one label for each feature, or be None or "{SINGLE}"; '
            f"got {groups!r}."
        )
    return check_groups(groups, X.shape[1])


def derive_groups(X, weight):
    """A label for each column of CSR rows: "field 0", "field 1", ..., "others" or "dense".

    A one-hot field is a run of neighboring columns of which no row has two and most rows have
    one. Each is a group; but runs of one column, that most rows have, such as numbers, are
    together the group "dense". The columns of no field are the group "others".
    """
    weight = weight.astype(np.float64)
    count = np.bincount(X.indices, np.repeat(weight, np.diff(X.indptr)), X.shape[1])
    labels = np.full(X.shape[1], "others", dtype=object)
    n_fields = 0
    for columns in sorted(find_fields(X, count, weight.sum()), key=lambda columns: columns[0]):
        if np.count_nonzero(count[columns]) > 1:
            labels[columns] = f"field {n_fields}"
            n_fields += 1
        else:
            labels[columns] = "dense"
    return labels.astype(str)


def check_penalty(value, name, groups):
    """A penalty as a number, or as an array with one for each feature.

    ``value`` is a number, a mapping from group labels to numbers, or a sequence with a number for
    each group, in sorted order of their labels.
    """
    if isinstance(value, numbers.Number):
        validation.check_number(value, name, numbers.Real, low=0)
        return float(value)
    if isinstance(value, str) or not (isinstance(value, Mapping) or np.ndim(value) == 1):
        raise TypeError(
            f"{name} must be a number of at least 0, or one for each group of feature_groups; "
            f"got {shown(value)}."
        )
    if groups is None:
        raise ValueError(
            f"{name} has several values, {shown(value)}; assign the features to groups with "
            "feature_groups."
        )
    labels, places = groups
    if isinstance(value, Mapping):
        missing = [label for label in labels.tolist() if label not in value]
        if missing:
            raise ValueError(f"{name} has no value for group {missing[0]!r} of feature_groups.")
        unknown = [label for label in value if label not in labels.tolist()]
        if unknown:
            raise ValueError(
                f"{name} has a value for {shown(unknown[0])}, which is not a group of "
                "feature_groups."
            )
        value = [value[label] for label in labels.tolist()]
    if len(value) != labels.size:
        raise ValueError(
            f"{name} has {len(value)} values, but feature_groups has {labels.size} groups: "
            f"{', '.join(map(repr, labels.tolist()[:10]))}."
        )
    for number in value:
        validation.check_number(number, f"each value of {name}", numbers.Real, low=0)
    return np.asarray(value, dtype=np.float64)[places]
