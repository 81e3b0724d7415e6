"""Fields of features: which of them interact and how, and which have linear weights."""

import numbers

import numpy as np

from skfm._fm.feature_groups import check_labels
from skfm._solvers.fm.interactions import Interactions
from skfm._utils import validation
from skfm._utils.ids import distinct
from skfm._utils.messages import shown
from skfm._utils.parameters import Interval, Options

DEGREE = Interval(numbers.Integral, 2, 10)
KIND = Options("plain", "weighted", "matrixed", "aware")
# Why solvers that fit all rows at once refuse matrices, after what they are.
NO_MATRICES = (
    "cannot fit field_interactions='matrixed': each matrix has n_components**2 entries that all "
    "rows share, for which it would have to solve a system of equations of all of them together; "
    "use {} field_interactions='weighted' or 'aware'."
)
MOST_OWN_FIELDS = 100  # columns that are fields of their own, where users name no fields


def given_or_carried(labels, X, name):
    """The labels of features that are given, else those that X carries, else None.

    Encoders of `skfm.preprocessing` attach them to what they return.
    """
    return getattr(X, name, None) if labels is None else labels


def check_interactions(
    fields,
    n_features,
    *,
    n_components,
    degree,
    fit_lower,
    interactions,
    fit_linear,
    field_interactions="plain",
    alpha_fields=None,
):
    """What the parameters of these names ask for, given the features' labels or None."""
    degree = int(degree)
    degrees = np.arange(2, degree + 1) if fit_lower else np.array([degree])
    if interactions is not None and degree > 2:
        raise ValueError(
            f"interactions selects pairs of fields, but degree={degree} requires products of "
            "more features; set degree=2 or interactions=None."
        )
    is_plain = field_interactions == "plain"
    if not is_plain and degree > 2:
        raise ValueError(
            f"field_interactions={field_interactions!r} describes pairs of fields, but "
            f"degree={degree} requires products of more features; set degree=2 or "
            "field_interactions='plain'."
        )
    if not is_plain and fields is None:
        fields = _own_fields(n_features, field_interactions)
    if fields is not None:
        fields = check_labels(fields, n_features, "feature_fields")
        fields = distinct(fields, "feature_fields")
    interaction_group, partners = np.zeros(n_features, np.uint8), np.ones((1, 1), bool)
    labels = None
    if not is_plain:
        labels, interaction_group = fields
        partners = np.ones((labels.size, labels.size), bool)
    if interactions is not None:
        partners = _find_partners(interactions, fields)
        if is_plain:
            interaction_group, partners = _merge_fields(partners, fields[1])
    if isinstance(fit_linear, (bool, np.bool_)):
        has_linear = np.full(n_features, bool(fit_linear))
    else:
        what = "True, False or a list of fields"
        fit_linear = validation.check_list(fit_linear, "fit_linear", what)
        known, places = _require(fields, "fit_linear")
        chosen = [_find(field, known, "fit_linear") for field in fit_linear]
        has_linear = np.isin(places, chosen)
    field = np.zeros(n_features, np.intp) if fields is None else fields[1]
    n_copies = labels.size if field_interactions == "aware" else 1
    degrees = np.repeat(degrees, int(n_components) * n_copies)
    interaction_group = interaction_group.astype(_smallest_type(len(partners)), copy=False)
    return Interactions(
        degrees,
        interaction_group,
        partners,
        has_linear,
        field,
        field_interactions,
        labels,
        None if alpha_fields is None else float(alpha_fields),
    )


def _own_fields(n_features, field_interactions):
    """Each column as a field, if there are so few that this is likely to be meant."""
    if n_features > MOST_OWN_FIELDS:
        raise ValueError(
            f"field_interactions={field_interactions!r} needs the field of each feature; assign "
            f"the {n_features} features to fields with feature_fields, or encode a table with an "
            "encoder of skfm.preprocessing, which does that."
        )
    return np.arange(n_features)


def _smallest_type(n):
    return np.uint8 if n <= 256 else np.uint32


def _find_partners(interactions, fields):
    """Which fields interact, as a table."""
    known, _ = _require(fields, "interactions")
    what = "a list of pairs of fields"
    interactions = validation.check_list(interactions, "interactions", what, ndim=2)
    partners = np.zeros((known.size, known.size), bool)
    for pair in interactions:
        if isinstance(pair, str) or not np.iterable(pair) or len(pair) != 2:
            raise ValueError(f"interactions must contain pairs of fields; got {shown(pair)}.")
        a, b = (_find(field, known, "interactions") for field in pair)
        partners[a, b] = partners[b, a] = True
    return partners


def _merge_fields(partners, places):
    """A class for each feature, so that those of a class have the same partners; and a table."""
    _, first, classes = np.unique(partners, axis=0, return_index=True, return_inverse=True)
    return classes.ravel()[places], partners[np.ix_(first, first)]


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
