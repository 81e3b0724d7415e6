"""Functions as sources of rows: their chunks, cut or joined to the wanted number of rows."""

import sys

import numpy as np
from scipy import sparse

from skfm._utils.messages import shown
from skfm.streams._chunks import CountedRows, Piece, recut
from skfm.streams._tables import pyarrow
from skfm.streams._targets import check_shape

LABELS = "feature_fields", "feature_groups"  # attributes of matrices


class Functions:
    """A function that returns an iterator of chunks."""

    def __init__(self, function):
        self._function = function
        self._counted = CountedRows(
            "The function that was passed as a source",
            "It must return a fresh iterator over the same rows each time it is called.",
        )

    def fingerprint(self):
        return None

    def chunks(self, n_rows):
        return recut(self._pieces(), n_rows, cut=_cut, join=_join, fit_together=_fit_together)

    def _pieces(self):
        total = 0
        for number, chunk in enumerate(self._function()):
            if not isinstance(chunk, tuple) or len(chunk) not in (2, 3):
                raise TypeError(
                    "A function as a source must return an iterator of pairs (X, y) or triples "
                    f"(X, y, sample_weight); chunk {number} is {shown(type(chunk).__name__)}."
                )
            name = f"chunk {number}"
            X, *others = chunk
            X, n_rows = _readable(X, name)
            y, weight = (
                None if other is None else _column(other) for other in (*others, None)[:2]
            )
            for values, what in ((y, "The target"), (weight, "'sample_weight'")):
                if values is not None:
                    check_shape(values, n_rows, what, f"{name}, row 0")
            total += n_rows
            yield Piece(name, n_rows, (X, y, weight))
        self._counted.check(total)


def _readable(X, name):
    """X in a container that can be cut, and its number of rows."""
    if sparse.issparse(X) and X.format != "csr":
        labels = vars(X)
        X = X.tocsr()
        vars(X).update({label: labels[label] for label in LABELS if label in labels})
    elif hasattr(X, "__arrow_c_stream__") or hasattr(X, "__arrow_c_array__"):
        if _library(X) not in ("pandas", "polars"):
            X = pyarrow().table(X)
    elif not (hasattr(X, "shape") or isinstance(X, (list, tuple))):
        X = np.asarray(X)
    shape = (len(X),) if isinstance(X, (list, tuple)) else X.shape
    if not shape:
        raise ValueError(f"X must be a table with a row for each sample; {name} is a scalar.")
    return X, shape[0]


def _column(values):
    """Targets or weights as an array; those of a single column have one dimension."""
    values = np.asarray(values)
    return values.ravel() if values.ndim == 2 and values.shape[1] == 1 else values


def _library(X):
    return type(X).__module__.split(".")[0]


def _cut(rows, start, stop):
    return tuple(None if part is None else _part(part, start, stop) for part in rows)


def _part(values, start, stop):
    if hasattr(values, "iloc"):
        return values.iloc[start:stop]
    if hasattr(values, "slice"):  # tables of Arrow and of polars
        return values.slice(start, stop - start)
    part = values[start:stop]
    return _labelled(part, values) if sparse.issparse(values) else part


def _labelled(matrix, other):
    vars(matrix).update({name: getattr(other, name) for name in LABELS if hasattr(other, name)})
    return matrix


def _join(parts):
    if len(parts) == 1:
        return parts[0]
    X, y, weight = zip(*parts, strict=True)
    y, weight = (None if v[0] is None else np.concatenate(v) for v in (y, weight))
    if sparse.issparse(X[0]):
        return _labelled(sparse.vstack(X, format="csr"), X[0]), y, weight
    if isinstance(X[0], np.ndarray):
        return np.concatenate(X), y, weight
    return _concatenate_tables(list(X)), y, weight


def _concatenate_tables(tables):
    library = _library(tables[0])
    module = sys.modules[library]
    if library == "pandas":
        return module.concat(tables, ignore_index=True)
    return module.concat(tables) if library == "polars" else module.concat_tables(tables)


def _fit_together(rows, others):
    """Whether joining changes no value, no type and no name."""
    X, other = rows[0], others[0]
    if type(X) is not type(other):
        return False
    for values, next_values in zip(rows[1:], others[1:], strict=True):
        if (values is None) != (next_values is None):
            return False
        if values is not None and values.dtype != next_values.dtype:
            return False
    if sparse.issparse(X) or isinstance(X, np.ndarray):
        return (
            X.dtype == other.dtype
            and X.shape[1:] == other.shape[1:]
            and all(_same_labels(X, other, name) for name in LABELS)
        )
    library = _library(X)
    if library == "pandas":
        return X.columns.equals(other.columns) and X.dtypes.equals(other.dtypes)
    return library in ("polars", "pyarrow") and X.schema == other.schema


def _same_labels(X, other, name):
    mine, others = getattr(X, name, None), getattr(other, name, None)
    return mine is others or np.array_equal(mine, others)
