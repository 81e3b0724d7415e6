"""Predictions for the rows of Dask collections, computed when and where they are needed."""

import copy
from typing import Any, Literal

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skfm._utils.parameters import Options, check_parameter
from skfm.dask._cluster import import_dask
from skfm.dask._partitions import TAKES, is_array, is_table
from skfm.streams._predictions import COLUMNS, METHODS, by_column


def predict(
    estimator: Any,
    X: Any,
    *,
    method: Literal["predict", "predict_proba", "decision_function"] = "predict",
) -> Any:
    """Predict for the rows of a Dask collection, lazily.

    Nothing is computed before the result is: write it with ``to_parquet`` or ``to_zarr``, which
    never need all of it in memory.

    Parameters
    ----------
    estimator : estimator
        A fitted estimator, such as an FMRegressor or FMClassifier, or a pipeline.
    X : dask.array.Array or dask.dataframe.DataFrame of shape (n_samples, n_features)
        Rows, in blocks of rows. The blocks of an array are CSR matrices or arrays.
    method : {"predict", "predict_proba", "decision_function"}, default="predict"
        Method of the estimator to call.

    Returns
    -------
    predictions : dask.array.Array or dask.dataframe.DataFrame
        An array for an array, of the same blocks of rows. A table for a table, of the same
        partitions and index, with the columns that :func:`skfm.streams.predict_stream` writes:
        ``prediction``; ``probability_<class>`` for each class; or ``decision``, or
        ``decision_<class>`` for more than two classes.

    Raises
    ------
    ImportError
        If Dask is not installed.
    NotFittedError
        If the estimator is not fitted.
    TypeError
        If the estimator does not have the method, or X has another type.
    ValueError
        If X has other columns than in `fit`.

    Examples
    --------
    >>> import dask.array as da
    >>> from skfm import FMRegressor
    >>> from skfm.dask import predict
    >>> from skfm.datasets import make_fm_regression
    >>> X, y = make_fm_regression(1000, random_state=0)
    >>> model = FMRegressor(random_state=0).fit(X, y)
    >>> blocks = da.from_array(X.toarray(), chunks=(250, -1))
    >>> predictions = predict(model, blocks)
    >>> predictions.shape, predictions.chunksize
    ((1000,), (250,))
    >>> bool((predictions == model.predict(X)).all().compute())
    True
    """
    import_dask()
    from dask.delayed import delayed

    check_parameter(method, "method", Options(*METHODS))
    check_is_fitted(estimator)
    if not hasattr(estimator, method):
        raise TypeError(
            f"{type(estimator).__name__} has no method {method!r}; choose another method."
        )
    if not (is_array(X) or is_table(X)):
        raise TypeError(f"X must be {TAKES.rsplit(', or', 1)[0]}; got {type(X).__name__}.")
    _check_columns(estimator, X)
    estimator = _single_threaded(estimator)
    sample = _predict_block(_sample_of(X), estimator=estimator, method=method)
    known = {"estimator": delayed(estimator), "method": method}
    if is_table(X):
        labels = None if method == "predict" else getattr(estimator, "classes_", None)
        known |= {"name": COLUMNS[method], "labels": labels}
        meta = _as_table(sample, X._meta.index[:0], COLUMNS[method], labels)
        return X.map_partitions(_predict_part, meta=meta, enforce_metadata=False, **known)
    if sample.ndim == 1:
        shape = {"drop_axis": 1}
    else:
        shape = {"chunks": (X.chunks[0], (sample.shape[1],))}
    return X.map_blocks(_predict_block, dtype=sample.dtype, meta=sample[:0], **shape, **known)


def _check_columns(estimator, X):
    """Raise an error now, and not in a task, if X has another number of columns."""
    expected = getattr(estimator, "n_features_in_", None)
    if is_array(X) and X.ndim == 2 and expected is not None and X.shape[1] != expected:
        raise ValueError(
            f"X has {X.shape[1]} features, but {type(estimator).__name__} is expecting {expected} "
            "features as input."
        )


def _single_threaded(estimator):
    """The estimator without threads of its own: Dask has some already."""
    if "n_jobs" not in estimator.get_params(deep=False):
        return estimator
    return copy.copy(estimator).set_params(n_jobs=1)


def _sample_of(X):
    """A row like those of X, to see which type the predictions have."""
    if is_table(X):
        return X._meta_nonempty.iloc[:1]
    return np.zeros((1, X.shape[1]), X.dtype)


def _predict_block(X, *, estimator, method):
    if X.shape[0] > 0:
        return getattr(estimator, method)(X)
    sample = np.zeros((1, *X.shape[1:]), X.dtype)
    return getattr(estimator, method)(sample)[:0]


def _predict_part(X, *, estimator, method, name, labels):
    if len(X):
        values = getattr(estimator, method)(X)
        return _as_table(values, X.index, name, labels)
    return _predict_nothing(X, estimator, method, name, labels)


def _predict_nothing(X, estimator, method, name, labels):
    """A table without rows whose columns have the types of predictions."""
    from dask.dataframe.utils import meta_nonempty

    values = getattr(estimator, method)(meta_nonempty(X).iloc[:1])
    return _as_table(values, X.index[:0], name, labels)


def _as_table(values, index, name, labels):
    import pandas as pd

    columns = by_column(values[: len(index)], name, labels)
    return pd.DataFrame(columns, index=index)
