"""Predictions for all rows of a source, chunk by chunk."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.utils.validation import check_is_fitted

from skfm._kernels._atomic import replacing
from skfm._utils.ahead import one_ahead
from skfm._utils.messages import shown
from skfm._utils.parameters import Options, check_parameter
from skfm.streams._encoding import NO_ROWS, as_input, naming_chunk
from skfm.streams._rows import Rows, inputs_for

METHODS = "predict_proba", "decision_function", "predict"
COLUMNS = {
    "predict": "prediction",
    "predict_proba": "probability",
    "decision_function": "decision",
}


@overload
def predict_stream(
    model: Any,
    rows: Any,
    *,
    method: Literal["auto", "predict", "predict_proba", "decision_function"] = ...,
    output: None = ...,
) -> Iterator[NDArray[Any]]: ...


@overload
def predict_stream(
    model: Any,
    rows: Any,
    *,
    method: Literal["auto", "predict", "predict_proba", "decision_function"] = ...,
    output: str | os.PathLike[str],
) -> int: ...


def predict_stream(
    model: Any,
    rows: Any,
    *,
    method: Literal["auto", "predict", "predict_proba", "decision_function"] = "auto",
    output: str | os.PathLike[str] | None = None,
) -> Iterator[NDArray[Any]] | int:
    """Predict for all rows of a source, in bounded memory.

    The predictions are those of the same rows in memory, in the order of the source. The rows are
    encoded on the fly, while predictions are made for the chunk before; nothing is cached.

    Parameters
    ----------
    model : estimator
        Fitted estimator or pipeline.
    rows : Rows or source
        Rows, encoded as the model needs them: ``Rows(source, encoder=training_rows.encoder_)``.
        If the model is a pipeline with its own encoder, pass the source itself, such as a path,
        or ``Rows(source, encoder="passthrough")``; the pipeline gets the columns that it was
        fitted on. A target is not needed, and not read.
    method : {"auto", "predict", "predict_proba", "decision_function"}, default="auto"
        Method of the model to call. "auto" is `predict_proba` for classifiers that have it, and
        `predict` for all other models.
    output : str or path, default=None
        File to write to, whose name ends with ``.parquet`` or ``.csv``. Its columns are
        ``prediction``; ``probability_<class>`` for each class; or ``decision``, or
        ``decision_<class>`` for more than two classes. A file that exists is replaced when the new
        one is complete; an error leaves it as it was. Needs the extra ``streams``.

    Returns
    -------
    predictions : iterator of ndarray, or int
        Without `output`, the predictions for each chunk of rows, as arrays of shape (n_rows,) or
        (n_rows, n_classes). Otherwise, the number of rows.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the model is not fitted.
    ValueError
        If a chunk cannot be encoded (the message says where it starts), if the source has no
        rows, or if the name of the file has another extension.
    TypeError
        If the model does not have the method, or a column has an unsuitable type.
    ImportError
        If `output` is given and pyarrow is not installed.
    OSError
        If a file cannot be read or written.

    Examples
    --------
    >>> import numpy as np
    >>> from skfm import FMRegressor
    >>> from skfm.datasets import make_fm_regression
    >>> from skfm.streams import Rows, predict_stream
    >>> X, y = make_fm_regression(1000, random_state=0)
    >>> model = FMRegressor(random_state=0).fit(X, y)
    >>> def chunks():
    ...     for start in range(0, 1000, 250):
    ...         yield X[start : start + 250], y[start : start + 250]
    >>> rows = Rows(chunks, dtype=np.float64, chunk_rows=250)
    >>> predictions = list(predict_stream(model, rows))
    >>> len(predictions)
    4
    >>> np.array_equal(np.concatenate(predictions), model.predict(X))
    True
    """
    check_parameter(method, "method", Options("auto", *METHODS))
    check_is_fitted(model)
    name = _choose(model) if method == "auto" else method
    if not hasattr(model, name):
        raise TypeError(f"{type(model).__name__} has no method {name!r}; choose another method.")
    if not isinstance(rows, Rows):
        rows = Rows(rows, encoder="passthrough")
    predictions = _predictions(model, rows, name)
    if output is None:
        return predictions
    with _writing(output) as write:
        labels = None if name == "predict" else getattr(model, "classes_", None)
        return sum(write(by_column(values, COLUMNS[name], labels)) for values in predictions)


def _choose(model):
    return "predict_proba" if is_classifier(model) and hasattr(model, METHODS[0]) else "predict"


def _predictions(model, rows, method):
    predict, is_empty = getattr(model, method), True
    for X, origin in one_ahead(inputs_for(model, rows)):
        is_empty = False
        with naming_chunk(origin):
            values = predict(as_input(model, X))
        yield values
    if is_empty:
        raise ValueError(NO_ROWS)


def by_column(values, name, labels):
    """Predictions as columns with names."""
    values = np.asarray(values)
    if values.ndim == 1:
        return {name: values}
    labels = range(values.shape[1]) if labels is None else labels
    return {f"{name}_{label}": values[:, i] for i, label in enumerate(labels)}


@contextmanager
def _writing(output):
    """A function that appends columns to a file and returns the number of rows."""
    if not isinstance(output, (str, os.PathLike)):
        raise TypeError(f"output must be a path or None; got {shown(output)}.")
    path = Path(os.path.realpath(output))  # a link stays a link
    suffix = path.suffix.lower()
    if suffix not in (".parquet", ".csv"):
        raise ValueError(
            "output must be a file whose name ends with '.parquet' or '.csv'; got "
            f"{str(output)!r}."
        )
    try:
        import pyarrow as pa
        from pyarrow import csv, parquet
    except ImportError as error:
        raise ImportError(
            "To write predictions to a file, install pyarrow: pip install 'skfm[streams]'."
        ) from error
    open_writer = {".parquet": parquet.ParquetWriter, ".csv": csv.CSVWriter}[suffix]
    writer = None

    def write(columns):
        nonlocal writer
        table = pa.table({name: _as_arrow(values) for name, values in columns.items()})
        if writer is None:
            writer = open_writer(draft, table.schema)
        writer.write_table(table)
        return table.num_rows

    with replacing(path) as draft:
        try:
            yield write
        finally:
            if writer is not None:
                writer.close()


def _as_arrow(values):
    import pyarrow as pa

    return pa.array(np.ascontiguousarray(values) if values.dtype != object else values.tolist())
