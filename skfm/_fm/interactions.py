"""Fields of features: which of them interact, and which have linear weights."""

import numbers

import numpy as np

from skfm._fm.feature_groups import check_labels
from skfm._solvers.fm.interactions import Interactions
from skfm._utils import validation
from skfm._utils.ids import distinct
from skfm._utils.messages import shown
from skfm._utils.parameters import Interval

DEGREE = Interval(numbers.Integral, 2, 10)


def given_or_carried(labels, X, name):
    """The labels of features that are given, else those that X carries, else None.

    Encoders of `skfm.preprocessing` attach them to what they return.
    """
    return getattr(X, name, None) if labels is None else labels


def check_interactions(
    fields, n_features, *, n_components, degree, fit_lower, interactions, fit_linear
):
    """What the parameters of these names ask for, given the features' labels or None."""
    degree = int(degree)
    degrees = np.arange(2, degree + 1) if fit_lower else np.array([degree])
    if interactions is not None and degree > 2:
        raise ValueError(
            f"interactions selects pairs of fields, but degree={degree} requires products of "
            "more features; set degree=2 or interactions=None."
        )
    if fields is not None:
        fields = check_labels(fields, n_features, "feature_fields")
        fields = distinct(fields, "feature_fields")
    interaction_group, partners = np.zeros(n_features, np.uint8), np.ones((1, 1), bool)
    if interactions is not None:
        interaction_group, partners = _find_interaction_groups(interactions, fields)
    if isinstance(fit_linear, (bool, np.bool_)):
        has_linear = np.full(n_features, bool(fit_linear))
    else:
        what = "True, False or a list of fields"
        fit_linear = validation.check_list(fit_linear, "fit_linear", what)
        known, places = _require(fields, "fit_linear")
        chosen = [_find(field, known, "fit_linear") for field in fit_linear]
        has_linear = np.isin(places, chosen)
    field = np.zeros(n_features, np.intp) if fields is None else fields[1]
    degrees = np.repeat(degrees, int(n_components))
    return Interactions(degrees, interaction_group, partners, has_linear, field)


def _find_interaction_groups(interactions, fields):
    """A class for each feature, so that those of a class have the same partners; and a table."""
    known, places = _require(fields, "interactions")
    what = "a list of pairs of fields"
    interactions = validation.check_list(interactions, "interactions", what, ndim=2)
    partners = np.zeros((known.size, known.size), bool)
    for pair in interactions:
        if isinstance(pair, str) or not np.iterable(pair) or len(pair) != 2:
            raise ValueError(f"interactions must contain pairs of fields; got {shown(pair)}.")
        a, b = (_find(field, known, "interactions") for field in pair)
        partners[a, b] = partners[b, a] = True
    _, first, classes = np.unique(partners, axis=0, return_index=True, return_inverse=True)
    classes = classes.ravel()
    small = np.uint8 if first.size < 256 else np.uint32
    return classes[places].astype(small), partners[np.ix_(first, first)]


def _require(fields, name):
    if fields is None:
        raise ValueError(
            f"{name} refers to fields; assign the features to fields with feature_fields."
        )
    return fields


def _find(field, known, name):
    for place, label in enumerate(known.tolist()):
        if label == field:
            return place
    names = ", ".join(map(repr, known.tolist()[:10]))
    raise ValueError(f"Unknown field {shown(field)} in {name}; known fields: {names}.")
