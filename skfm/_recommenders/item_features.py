"""The items of a recommender: their names and their features."""

from collections.abc import Hashable

import numpy as np
from scipy import sparse
from sklearn.utils import check_array

from skfm._fm.feature_groups import check_labels
from skfm._utils import validation
from skfm._utils.ids import Ids, find_missing, read_ids, refuse_rows
from skfm._utils.lazy import refuse_lazy
from skfm._utils.messages import shown
from skfm._utils.parameters import FLOAT_TYPES
from skfm._utils.sparse import check_sparse

FIELD = "item_features"  # of features of which nothing else is said


class Items:
    """Names of items and their features: one-hot ones of their own, then those given."""

    def __init__(self, names, identity, given, fields):
        self.names = names
        self.identity = identity  # a field for each one-hot feature of an item
        self.given = given  # (n_items, n_given), CSR
        self.fields = np.array(
            [field for field in identity for _ in range(len(names))] + np.asarray(fields).tolist(),
            dtype=object,
        )

    def features(self, dtype):
        blocks = [sparse.eye(len(self.names), format="csr")] * len(self.identity)
        return sparse.hstack([*blocks, to_dtype(self.given, dtype)], format="csr", dtype=dtype)


def read_items(y, features, ids, fields, identity):
    """The items of the parameters `item_features`, `item_ids`, `item_fields` and `item_identity`.

    If these name none, the items are those in ``y``.
    """
    identity = _check_identity(identity)
    if features is None:
        if not identity:
            raise ValueError("item_identity is empty, so items need features; pass item_features.")
        if fields is not None:
            raise ValueError(
                "item_fields contains labels for the columns of item_features, but item_features "
                "is None."
            )
        names = Ids.learn(read_ids(y, "item"), "item")[0].ids if ids is None else check_names(ids)
        return Items(names, identity, sparse.csr_matrix((len(names), 0)), [])
    names, given = read_features(features, ids)
    if fields is None:
        fields = getattr(features, "feature_fields", None)
    if fields is None:
        fields = [FIELD] * given.shape[1]
    fields = check_labels(fields, given.shape[1], "item_fields", "column of item_features")
    return Items(names, identity, given, fields)


def read_features(features, ids, n_columns=None):
    """Names of items and canonical CSR of their features."""
    if ids is None:
        ids = getattr(features, "index", None)
    columns = column_names(features)
    if columns is not None and len(set(columns)) < len(columns):
        twice = [name for name in dict.fromkeys(columns) if columns.count(name) > 1]
        raise ValueError(f"item_features has several columns with the same name: {twice[:5]}.")
    features = check_sparse(features, "item_features")
    try:
        X = check_array(
            features,
            accept_sparse="csr",
            dtype=FLOAT_TYPES,
            input_name="item_features",
        )
    except (TypeError, ValueError) as error:
        remedy = ""
        if "convert" in str(error):
            remedy = " Encode strings first, for example with OneHotEncoder or pandas.get_dummies."
        raise ValueError(
            "item_features must contain finite numbers, with a row for each item "
            f"({error}).{remedy}"
        ) from error
    X = validation.as_csr(X)
    if n_columns is not None and X.shape[1] != n_columns:
        raise ValueError(
            f"item_features must have {n_columns} columns, as in fit; got {X.shape[1]}."
        )
    names = np.arange(X.shape[0]) if ids is None or callable(ids) else check_names(ids)
    if len(names) != X.shape[0]:
        raise ValueError(
            f"item_ids must contain one id for each of the {X.shape[0]} rows of item_features; "
            f"got {len(names)}."
        )
    return names, X


def to_dtype(features, dtype):
    """Features in another dtype, if their squares are numbers there."""
    with np.errstate(over="ignore"):
        features = features.astype(dtype)
        square = np.asarray(features.multiply(features).sum(axis=0)).ravel()
    if not np.isfinite(square).all():
        raise ValueError(
            f"Column {np.flatnonzero(~np.isfinite(square))[0]} of item_features (counted from 0) "
            f"has values that are too large to be squared in {np.dtype(dtype)}; scale it, for "
            "example with sklearn.preprocessing.MaxAbsScaler."
        )
    return features


def read_choices(y):
    """Items that were chosen, as an array of the kind of their names.

    scikit-learn would make floats of nullable integers, and a table of tuples. What is no list
    of names is left to it to refuse.
    """
    if isinstance(y, (list, tuple)):
        is_list = not any(isinstance(name, (list, np.ndarray)) for name in y)
    else:
        refuse_lazy(y, "y")
        is_list = hasattr(y, "__array__") and np.asarray(y).ndim == 1
    if not is_list:
        return y
    names = read_ids(y, "item")
    if names.dtype.kind == "O":
        refuse_rows(find_missing(names), "items in y are missing (None or NaN)")
    return names


def check_names(ids):
    names = read_ids(ids, "item").copy()  # the caller's array may change
    if not names.size:
        raise ValueError("item_ids is empty; pass the ids of the items, or None.")
    if set(map(type, names)) == {str} and len(set(names)) == names.size:
        return names  # found quickly, as item_ids may come with each call
    _, places = Ids.learn(names, "item")
    order = np.argsort(places, kind="stable")
    twice = np.zeros(names.size, bool)
    twice[order[1:]] = places[order[1:]] == places[order[:-1]]
    refuse_rows(twice, "items occur more than once in item_ids, or in the index of item_features")
    return names


def _check_identity(identity):
    what = "a list of fields, such as ('item',), or empty"
    identity = validation.check_list(identity, "item_identity", what)
    if not all(isinstance(field, Hashable) for field in identity):
        raise TypeError(f"item_identity must contain names of fields; got {shown(identity)}.")
    if len(set(identity)) < len(identity):
        raise ValueError(f"item_identity contains a field more than once: {shown(identity)}.")
    return identity


def column_names(features):
    """Names of the columns of a DataFrame, else None."""
    columns = getattr(features, "columns", None)
    return None if columns is None else list(columns)


def check_columns(features, expected):
    """Refuse a DataFrame whose columns are others than those in fit, or in another order."""
    columns = column_names(features)
    if columns is not None and expected is not None and columns != expected:
        raise ValueError(
            "item_features must have the same columns as in fit, in the same order: "
            f"{expected[:10]}; got {columns[:10]}."
        )
