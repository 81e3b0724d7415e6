"""Parameters of pairs of fields, as public attributes and as the solver has them."""

import numpy as np

from skfm._solvers.fm.parameters import NO_PAIRS

ATTRIBUTES = "fields_", "field_weights_", "field_matrices_"


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
    kind, n_fields = interactions.kind, len(interactions.partners)
    if kind == "plain":
        return {}
    shown = {"fields_": interactions.labels}
    if kind == "aware":
        return shown
    n_outputs = len(field_pairs)
    first, second = np.triu_indices(n_fields, 1)
    are_partners = interactions.partners[first, second][:, None]
    n = 1 if kind == "weighted" else interactions.n_components
    whole = np.zeros((n_outputs, n_fields, n_fields, n, n), field_pairs.dtype)
    kept = (field_pairs * are_partners).reshape(n_outputs, -1, n, n)
    whole[:, first, second] = kept
    whole[:, second, first] = np.swapaxes(kept, 2, 3)
    own = np.flatnonzero(interactions.partners.diagonal())
    whole[:, own, own] = np.eye(n)
    whole = whole[0] if n_outputs == 1 else whole
    if kind == "weighted":
        return shown | {"field_weights_": whole[..., 0, 0]}
    return shown | {"field_matrices_": whole}


def read(attributes, interactions, dtype):
    """The solver's parameters of pairs (n_outputs, n_pairs, n), from the public attributes."""
    if not interactions.has_field_pairs:
        return NO_PAIRS
    first, second = np.triu_indices(len(interactions.partners), 1)
    if interactions.kind == "weighted":
        whole = np.asarray(attributes["field_weights_"])[..., None, None]
    else:
        whole = np.asarray(attributes["field_matrices_"])
    if whole.ndim == 4:
        whole = whole[None]
    pairs = whole[:, first, second]
    return np.ascontiguousarray(pairs.reshape(*pairs.shape[:2], -1), dtype)
