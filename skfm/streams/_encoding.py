"""Encoders of chunks: fitted ones, ones that learn in a pass of their own, or none."""

import importlib.util
import sys

import numpy as np
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from skfm._utils.messages import shown
from skfm._utils.sparse import LARGEST_INT32, check_sparse
from skfm._utils.validation import as_csr
from skfm.preprocessing import TableEncoder
from skfm.preprocessing._index_encoder import IndexedRows, IndexEncoder, RowError

NO_ROWS = "The source has no rows."
PASSTHROUGH = "passthrough"  # as scikit-learn calls a step that does nothing
LABELS_OF_FEATURES = "feature_fields", "feature_groups"  # that encoders attach to their output


def check_encoder(encoder):
    is_name = isinstance(encoder, str)
    if encoder is None or (is_name and encoder == PASSTHROUGH):
        return
    if is_name or isinstance(encoder, type) or not hasattr(encoder, "transform"):
        raise TypeError(
            "encoder must be a transformer, such as skfm.preprocessing.TableEncoder(), None or "
            f"'passthrough'; got {shown(encoder)}."
        )


def is_fitted(encoder):
    if not hasattr(encoder, "fit"):
        return True
    try:
        check_is_fitted(encoder)
    except NotFittedError:
        return False
    return True


def needed_columns(encoder):
    """Names of the columns that a transformer or an estimator was fitted on; None if unknown."""
    if encoder is None or isinstance(encoder, str) or not is_fitted(encoder):
        return None
    names = getattr(encoder, "feature_names_in_", None)
    return None if names is None else list(names)


def column_kinds(encoder):
    """What the columns contained when a TableEncoder was fitted: their names, and kinds."""
    encoder = _first_step(encoder)
    if not (isinstance(encoder, TableEncoder) and needed_columns(encoder)):
        return {}
    return dict(zip(encoder.feature_names_in_, encoder._types, strict=True))


def n_features_of(encoder):
    """The number of features of a fitted encoder of ours; None if it is unknown."""
    if isinstance(encoder, IndexEncoder):
        return encoder.n_features_
    fields = getattr(encoder, "feature_fields_", None)
    return None if fields is None else len(fields)


def names_of(encoder):
    """Names of the features of an encoder, or their numbers in the files; None if unknown."""
    if isinstance(encoder, IndexEncoder):
        return encoder._feature_numbers
    get_names = getattr(encoder, "get_feature_names_out", None)
    return None if get_names is None else get_names()


def is_table(X):
    """Whether X has named columns."""
    return hasattr(X, "columns") or hasattr(X, "__arrow_c_stream__")


def learned(encoder, chunks, dtype, *, may_learn=True):
    """The fitted encoder of chunks, or None if they need none; and the only chunk it has seen.

    Parameters
    ----------
    encoder : transformer, "passthrough" or None
    chunks : iterator of Chunk
        A pass over the source. It is left as soon as there is nothing more to learn.
    dtype : dtype
        Of the output of a default encoder.
    may_learn : bool
        Whether an encoder that is not fitted may learn from these rows: not if a model that was
        trained on others is to predict for them.

    Returns
    -------
    encoder : transformer or None
    seen : list of Chunk or None
        The chunks that were taken from the pass, at most one; None if there were more.
    """
    if isinstance(encoder, str):
        return None, []
    if encoder is not None and is_fitted(encoder):
        return encoder, []
    first = next(chunks, None)
    if first is None:
        raise ValueError(NO_ROWS)
    if encoder is None and not (is_table(first.X) or isinstance(first.X, IndexedRows)):
        return None, [first]
    if not may_learn:
        raise ValueError(
            "The encoder of the rows is not fitted, but the model needs features as in training. "
            "Pass the fitted encoder to these Rows: encoder=training_rows.encoder_."
        )
    if encoder is None:
        is_indexed = isinstance(first.X, IndexedRows)
        encoder = IndexEncoder() if is_indexed else TableEncoder(dtype=dtype)
    else:
        encoder = clone(encoder)
    if not hasattr(encoder, "partial_fit"):
        raise TypeError(
            f"encoder, a {type(encoder).__name__}, must be fitted, since it cannot learn chunk by "
            "chunk (it has no partial_fit, or not with these parameters). Fit it on a sample of "
            "the rows and pass it fitted."
        )
    _learn(encoder, first)
    if getattr(encoder, "_has_learned_all", False):
        return encoder, [first]
    for chunk in chunks:
        _learn(encoder, chunk)
        if getattr(encoder, "_has_learned_all", False):
            break
    return encoder, None


def _learn(encoder, chunk):
    with naming_chunk(chunk.origin):
        y = chunk.y if get_tags(encoder).target_tags.required else None
        encoder.partial_fit(as_input(encoder, chunk.X), y)


class naming_chunk:
    """Adds to errors about a chunk where it starts, or where the row is that is wrong."""

    def __init__(self, origin):
        self.origin = origin

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if isinstance(error, RowError):
            raise ValueError(f"{error} (In {self.origin.of_row(error.row)}.)") from error
        if isinstance(error, (TypeError, ValueError)):
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(
                f"{error} (In the chunk of rows that starts at {self.origin.of_row(0)}.)"
            ) from error


def as_input(estimator, X):
    """X in a container that an estimator reads: only our encoders read Arrow tables."""
    estimator = _first_step(estimator)
    if isinstance(X, IndexedRows) and not isinstance(estimator, IndexEncoder):
        raise TypeError(
            f"The rows of svmlight and libffm files cannot be encoded by a "
            f"{type(estimator).__name__}. Leave encoder=None for training; for other files, pass "
            "encoder=training_rows.encoder_."
        )
    is_ours = type(estimator).__module__.startswith("skfm.preprocessing")
    if is_ours or not is_arrow(X):
        return X
    if importlib.util.find_spec("pandas") is None:
        raise ImportError(
            f"To pass rows of an Arrow table to a {type(estimator).__name__}, install pandas: pip "
            "install pandas."
        )
    return X.to_pandas()


def _first_step(estimator):
    estimator = getattr(estimator, "best_estimator_", estimator)
    while isinstance(estimator, Pipeline) and estimator.steps:
        estimator = estimator.steps[0][1]
    return estimator


def is_arrow(X):
    return "pyarrow" in sys.modules and isinstance(X, sys.modules["pyarrow"].Table)


def encode(encoder, chunk, dtype):
    """The rows of a chunk as a canonical CSR matrix with int32 indices.

    The labels of its features, as far as there are any, are its attributes.
    """
    X = chunk.X
    if encoder is not None:
        with naming_chunk(chunk.origin):
            X = encoder.transform(as_input(encoder, X))
    elif isinstance(X, IndexedRows):
        raise ValueError(
            "The columns of svmlight and libffm files depend on how their features are numbered. "
            "Leave encoder=None for training; for other files, also for predictions, pass "
            "Rows(..., encoder=training_rows.encoder_)."
        )
    labels = {name: getattr(X, name, None) for name in LABELS_OF_FEATURES}
    X = _as_matrix(X, dtype, chunk.origin, encoder)
    for name, values in labels.items():
        if values is not None:
            setattr(X, name, np.asarray(values))
    return X


def _as_matrix(X, dtype, origin, encoder):
    with naming_chunk(origin):
        if sparse.issparse(X):
            X = sparse.csr_matrix(check_sparse(X).tocsr())
        else:
            X = _as_array(X, encoder)
        if X.ndim != 2:
            raise ValueError(f"X must be a table with a row for each sample; got {X.ndim}-d data.")
        if X.dtype.kind not in "biuf":
            raise ValueError(f"X has values that are not numbers ({X.dtype}). {_ENCODE}")
    with np.errstate(over="ignore"):
        X = X.astype(dtype)
    matrix = as_csr(X)
    if matrix.shape[1] > LARGEST_INT32:
        raise ValueError(f"X has {matrix.shape[1]} columns; at most {LARGEST_INT32} are possible.")
    if not np.isfinite(matrix.data).all():
        entry = int(np.flatnonzero(~np.isfinite(matrix.data))[0])
        row = int(np.searchsorted(matrix.indptr, entry, side="right")) - 1
        raise ValueError(
            f"X is NaN, infinite or too large for {np.dtype(dtype)} in {origin.of_row(row)}, "
            f"column {matrix.indices[entry]}; replace missing numbers, for example by a "
            "TableEncoder as the encoder, and scale large ones."
        )
    return matrix


_ENCODE = "Pass an encoder, such as skfm.preprocessing.TableEncoder()."


def _as_array(X, encoder):
    if is_arrow(X):
        columns = [column.cast("float64").to_numpy() for column in _numbers_of(X)]
        return np.column_stack(columns) if columns else np.empty((X.num_rows, 0))
    X = np.asarray(X)
    if X.dtype == object:
        try:
            return X.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"X has values that are not numbers ({error}). {_ENCODE}") from error
    return X


def _numbers_of(table):
    import pyarrow as pa

    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = column.type
        is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
        if not (is_number or pa.types.is_boolean(kind) or pa.types.is_decimal(kind)):
            raise ValueError(f"Column {name!r} has the type {kind}, not numbers. {_ENCODE}")
        yield column
