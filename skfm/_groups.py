"""Groups of features: where they come from, and penalties that differ between them."""

import copy
import numbers
from collections.abc import Mapping

import numpy as np
from sklearn.base import OneToOneFeatureMixin
from sklearn.utils.validation import check_is_fitted

from skfm import _validation as door
from skfm._logs import find_missing
from skfm._solvers.fields import find_fields

SINGLE = "single"  # group, of all features


def feature_groups(transformer):
    """Name a group for each output column of a fitted transformer.

    For the parameter `feature_groups` of the estimators: each kind of feature gets penalties, or a
    prior, of its own.

    Parameters
    ----------
    transformer : object
        A fitted `ColumnTransformer`, `FeatureUnion`, `Pipeline`, `OneHotEncoder` or other
        transformer. Each part of a `ColumnTransformer` or a `FeatureUnion` is a group, with the
        part's name. An `EventEncoder` has a group for each field, a `OneHotEncoder` or a one-hot
        `KBinsDiscretizer` for each input column; as a part of others, their names follow that of
        the part after two underscores. Of a `Pipeline` the last step that does more than scale
        columns counts. Anything else is one group.

    Returns
    -------
    groups : ndarray of shape (n_output_features,)
        Labels, strings.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the transformer is not fitted.
    TypeError
        If nothing says how many columns come out. As a part of a `ColumnTransformer` that is
        known of every transformer.

    Examples
    --------
    >>> from sklearn.compose import make_column_transformer
    >>> from sklearn.preprocessing import OneHotEncoder, StandardScaler
    >>> from skfm.preprocessing import feature_groups
    >>> encode = make_column_transformer((OneHotEncoder(), [0, 1]), (StandardScaler(), [2]))
    >>> encode = encode.fit([["ann", "alien", 3.5], ["bob", "alien", 1.0]])
    >>> feature_groups(encode).tolist()
    ['onehotencoder__x0', 'onehotencoder__x0', 'onehotencoder__x1', 'standardscaler']
    """
    check_is_fitted(transformer)
    labels = _label_columns(transformer, None)
    return np.array([label.removeprefix("__") or "all" for label in labels], dtype=str)


def _label_columns(transformer, n_columns):
    """A label for each output column: "", or what follows the transformer's own name.

    ``n_columns`` is their number, if it is known.
    """
    from sklearn.compose import ColumnTransformer  # takes a while to import
    from sklearn.pipeline import FeatureUnion, Pipeline
    from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder

    if isinstance(transformer, Pipeline):
        return _label_columns(_last_that_counts(transformer), n_columns)
    if isinstance(transformer, ColumnTransformer):
        labels = {}
        for name, part, _ in transformer.transformers_:
            own = transformer.output_indices_[name]
            columns = range(own.start, own.stop)
            if columns:  # else it may not even be fitted
                within = _label_columns(part, len(columns))
                labels.update(zip(columns, (f"__{name}{label}" for label in within), strict=True))
        return [labels[column] for column in sorted(labels)]
    if isinstance(transformer, FeatureUnion):
        parts = [(name, part) for name, part in transformer.transformer_list if part != "drop"]
        n_inputs = transformer.n_features_in_ if "passthrough" in dict(parts).values() else None
        return [
            f"__{name}{label}"
            for name, part in parts
            for label in _label_columns(part, n_inputs if part == "passthrough" else None)
        ]
    if hasattr(transformer, "feature_groups_"):
        return [f"__{label}" for label in transformer.feature_groups_]
    if isinstance(transformer, OneHotEncoder):
        namer = copy.copy(transformer)
        namer.set_params(feature_name_combiner=lambda feature, category: f"__{feature}")
        return namer.get_feature_names_out().tolist()
    if isinstance(transformer, KBinsDiscretizer) and transformer.encode.startswith("onehot"):
        names = getattr(transformer, "feature_names_in_", None)
        if names is None:
            names = [f"x{number}" for number in range(transformer.n_features_in_)]
        counts = zip(names, transformer.n_bins_, strict=True)
        return [f"__{name}" for name, n_bins in counts for _ in range(n_bins)]
    return [""] * (_count_columns(transformer) if n_columns is None else n_columns)


def _last_that_counts(pipeline):
    """Its last step that makes other columns of those it gets, else its last step."""
    steps = [step for _, step in pipeline.steps if step not in (None, "passthrough")]
    others = [step for step in steps if not isinstance(step, OneToOneFeatureMixin)]
    return (others or steps or ["passthrough"])[-1]


def _count_columns(transformer):
    try:
        return len(transformer.get_feature_names_out())
    except (AttributeError, ValueError) as error:
        raise TypeError(
            f"{transformer!r} does not say how many columns it makes; make it a part of a "
            "ColumnTransformer, which knows."
        ) from error


def check_labels(labels, n_features, name, of="a feature"):
    """An array with a label for each feature."""
    labels = np.asarray(labels)
    if labels.shape != (n_features,):
        raise ValueError(
            f"{name} must hold one label {of}, shape ({n_features},); got shape {labels.shape}."
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
            f"feature_groups must hold labels of one kind, strings or numbers ({error})."
        ) from error


def check_or_derive_groups(groups, X, weight):
    """The same, but ``"single"`` is one group for all features, and None those that X suggests."""
    if isinstance(groups, str) and groups == SINGLE:
        groups = np.full(X.shape[1], SINGLE)
    elif groups is None:
        groups = derive_groups(X, weight)
    elif isinstance(groups, str):
        raise ValueError(
            f'feature_groups must hold one label a feature, or be None or "{SINGLE}"; '
            f"got {groups!r}."
        )
    return check_groups(groups, X.shape[1])


def derive_groups(X, weight):
    """A label for each column of CSR rows: "field 0", "field 1", ..., "others" or "dense".

    A one-hot field is a run of neighbouring columns of which no row has two and most rows have
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
