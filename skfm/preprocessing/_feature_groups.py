"""Groups of the output columns of fitted transformers."""

import copy

import numpy as np
from numpy.typing import NDArray
from sklearn.base import OneToOneFeatureMixin
from sklearn.utils.validation import check_is_fitted

from skfm._utils.typing import Estimator


def feature_groups(transformer: Estimator) -> NDArray[np.str_]:
    """Return a group for each output column of a fitted transformer.

    Pass the result as the parameter `feature_groups` of an estimator, so that each kind of feature
    has its own regularization strength or prior.

    Parameters
    ----------
    transformer : object
        Fitted `ColumnTransformer`, `FeatureUnion`, `Pipeline`, `OneHotEncoder` or other
        transformer. Each part of a `ColumnTransformer` or a `FeatureUnion` is a group with the
        name of the part. A `TableEncoder` or an `EventEncoder` has a group for each field, and a
        `OneHotEncoder` or a one-hot `KBinsDiscretizer` has a group for each input column; within
        another transformer, their names are appended to the name of the part after two
        underscores. The groups of a `Pipeline` are those of its last step that does more than
        scale columns. Any other transformer is a single group.

    Returns
    -------
    groups : ndarray of shape (n_output_features,)
        Labels of the groups, as strings.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the transformer is not fitted.
    TypeError
        If the number of output columns is unknown. It is known for all transformers within a
        `ColumnTransformer`.

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
    """The last step that changes the columns, or else the last step."""
    steps = [step for _, step in pipeline.steps if step not in (None, "passthrough")]
    others = [step for step in steps if not isinstance(step, OneToOneFeatureMixin)]
    return (others or steps or ["passthrough"])[-1]


def _count_columns(transformer):
    try:
        return len(transformer.get_feature_names_out())
    except (AttributeError, ValueError) as error:
        raise TypeError(
            f"The number of output columns of {transformer!r} is unknown; put it into a "
            "ColumnTransformer, which records this number."
        ) from error
