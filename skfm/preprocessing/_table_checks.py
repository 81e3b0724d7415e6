"""Whether tables have the columns of the training table, with the messages of scikit-learn."""

import numpy as np

from skfm._utils.warnings import warn


def check_columns(encoder, table, *, reset):
    """Set the attributes for the columns of the training table, or compare those of another."""
    n_columns = len(table.labels)
    if n_columns == 0:
        raise ValueError(
            f"Found array with 0 feature(s) (shape=({table.n_rows}, 0)) while a minimum of 1 is "
            "required."
        )
    if reset:
        encoder.n_features_in_ = n_columns
        encoder._labels = table.labels
        vars(encoder).pop("feature_names_in_", None)
        if table.names is not None:
            encoder.feature_names_in_ = np.array(table.names, dtype=object)
        return
    name = type(encoder).__name__
    known = getattr(encoder, "feature_names_in_", None)
    if known is not None and table.names is not None:
        _compare_names(known.tolist(), table.names)
    elif known is not None:
        warn(
            f"X does not have valid feature names, but {name} was fitted with feature names",
            UserWarning,
        )
    elif table.names is not None:
        warn(f"X has feature names, but {name} was fitted without feature names", UserWarning)
    if n_columns != encoder.n_features_in_:
        raise ValueError(
            f"X has {n_columns} features, but {name} is expecting {encoder.n_features_in_} "
            "features as input."
        )


def _compare_names(known, names):
    if names == known:
        return
    lines = ["The feature names should match those that were passed during fit."]
    unseen, missing = sorted(set(names) - set(known)), sorted(set(known) - set(names))
    for problem, found in (
        ("unseen at fit time", unseen),
        ("seen at fit time, yet now missing", missing),
    ):
        if found:
            shown = ", ".join(map(repr, found[:5])) + (", ..." if len(found) > 5 else "")
            lines.append(f"Feature names {problem}: {shown}.")
    if not unseen and not missing:
        place = next(i for i, name in enumerate(known) if names[i] != name)
        lines.append(
            "Feature names must be in the same order as they were in fit: column "
            f"{place} is {names[place]!r} instead of {known[place]!r}."
        )
    lines.append("Select the columns of fit, for example with X[encoder.feature_names_in_].")
    raise ValueError("\n".join(lines))
