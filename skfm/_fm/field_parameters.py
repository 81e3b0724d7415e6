"""Parameters of pairs of fields, as public attributes and as the solver has them."""

import numpy as np

OF_PAIRS = "field_weights_", "field_matrices_"
ATTRIBUTES = "fields_", *OF_PAIRS


def show_components(factors, interactions):
    """Factors (n_outputs, n_features, n) as public components, with the features last.

    Field-aware factors are split into those for each partner field: the shape is (n_outputs,
    n_fields, n_components, n_features). All is a view.
    """
    if interactions.kind != "aware":
        return np.swapaxes(factors, 1, 2)
    n_outputs, n_features, _ = factors.shape
    shape = n_outputs, n_features, len(interactions.partners), interactions.n_components_per_field
    return np.moveaxis(factors.reshape(shape), 1, -1)


def factors(components, interactions):
    """The inverse; the axis of the outputs may be missing if there is one."""
    is_aware = interactions.kind == "aware"
    if components.ndim == 2 + is_aware:
        components = components[None]
    if not is_aware:
        return np.swapaxes(components, 1, 2)
    by_feature = np.moveaxis(components, -1, 1)
    return by_feature.reshape(*by_feature.shape[:2], -1)


def show(field_pairs, interactions):
    """The public attributes, by name."""
    kind = interactions.kind
    if kind == "plain":
        return {}
    shown = {"fields_": interactions.labels}
    if kind == "aware":
        return shown
    whole = between_fields(field_pairs, interactions)
    whole = whole[0] if len(whole) == 1 else whole
    if kind == "weighted":
        return shown | {"field_weights_": whole[..., 0, 0]}
    return shown | {"field_matrices_": whole}


def between_fields(field_pairs, interactions):
    """The parameters of pairs as matrices (n_outputs, n_fields, n_fields, n, n) of all fields.

    They are 0 for fields that are not partners, and the identity matrix for one field.
    """
    n_outputs, n_fields = len(field_pairs), len(interactions.partners)
    first, second = np.triu_indices(n_fields, 1)
    are_partners = interactions.partners[first, second][:, None]
    n = 1 if interactions.kind == "weighted" else interactions.n_components
    whole = np.zeros((n_outputs, n_fields, n_fields, n, n), field_pairs.dtype)
    kept = (field_pairs * are_partners).reshape(n_outputs, first.size, n, n)
    whole[:, first, second] = kept
    whole[:, second, first] = np.swapaxes(kept, 2, 3)
    own = np.flatnonzero(interactions.partners.diagonal())
    whole[:, own, own] = np.eye(n)
    return whole


def shapes(interactions, n_features):
    """The shapes of the public attributes of one output, by name."""
    n_fields, n = len(interactions.partners), interactions.n_components_per_field
    of_kind = {
        "aware": {"components_": (n_fields, n, n_features)},
        "weighted": {"field_weights_": (n_fields, n_fields)},
        "matrixed": {"field_matrices_": (n_fields, n_fields, n, n)},
    }
    return {"components_": (n, n_features)} | of_kind.get(interactions.kind, {})


def read(model, n_outputs, interactions, dtype):
    """The solver's parameters of pairs (n_outputs, n_pairs, n), from the public attribute.

    Those of fields that do not interact are those of the plain model, as during training.
    """
    if not interactions.has_field_pairs:
        return interactions.first_field_pairs(n_outputs).astype(dtype)
    name = "field_weights_" if interactions.kind == "weighted" else "field_matrices_"
    n_fields = len(interactions.partners)
    n = 1 if interactions.kind == "weighted" else interactions.n_components
    given = np.asarray(getattr(model, name), dtype)
    whole = given.reshape(n_outputs, n_fields, n_fields, n, n)
    first, second = np.triu_indices(n_fields, 1)
    are_partners = interactions.partners[first, second][:, None]
    pairs = whole[:, first, second].reshape(n_outputs, first.size, n * n)
    pairs = np.where(are_partners, pairs, interactions.first_field_pairs(n_outputs).astype(dtype))
    if not np.array_equal(between_fields(pairs, interactions), whole, equal_nan=True):
        raise ValueError(
            f"{name} is not that of a model: [a, b] and [b, a] must hold the same weight or the "
            "transposed matrix, [a, a] must hold 1 or the identity matrix, and pairs of fields "
            "that do not interact must hold 0; change both entries of a pair, or fit the model "
            "again."
        )
    return np.ascontiguousarray(pairs)
