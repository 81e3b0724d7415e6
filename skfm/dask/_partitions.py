"""What `skfm.dask` takes as X: its partitions as tasks, which can be repeated.

A task reads a partition: a `RowPart` of consecutive rows, with targets and weights as far as there
are any. What they may contain is checked where they are used.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from skfm.streams import Rows

ROWS_PIECES = 16  # of a stream in one partition
TAKES = (
    "a Dask array whose blocks are arrays or CSR matrices, a Dask DataFrame, or skfm.streams.Rows"
)


class RowPart(NamedTuple):
    """A partition: consecutive rows of X, and what belongs to them."""

    X: Any  # array, sparse matrix or DataFrame
    y: Any = None
    sample_weight: Any = None


@dataclass
class Source:
    """Partitions that have not been read."""

    tasks: list  # Delayed objects, which return a RowPart
    n_features: int | None  # None if the tasks must be run to know
    feature_names: np.ndarray | None = None
    rows: Any = None  # EncodedRows, of a stream


def read_source(X, y=None, sample_weight=None):
    """The partitions of X, and of y and the weights, which must be divided in the same way."""
    from dask.delayed import delayed

    if isinstance(X, Rows):
        for name, value in (("y", y), ("sample_weight", sample_weight)):
            if value is not None:
                raise ValueError(f"{name} must be None: Rows have targets and weights themselves.")
        return _of_stream(X, delayed)
    parts = _parts_of(X, "X", TAKES)
    columns = [_column_parts(y, "y", X, len(parts))]
    columns.append(_column_parts(sample_weight, "sample_weight", X, len(parts)))
    tasks = [delayed(_join)(*row) for row in zip(parts, *columns, strict=True)]
    names = getattr(X, "columns", None)
    n_features = len(names) if names is not None else int(X.shape[1])
    return Source(tasks, n_features, _names(names))


def is_table(X):
    """Whether X is a Dask DataFrame."""
    return _is_collection(X) and hasattr(X, "columns")


def is_array(X):
    """Whether X is a Dask array."""
    return _is_collection(X) and hasattr(X, "chunks")


def _is_collection(X):
    return callable(getattr(X, "__dask_graph__", None))


def _parts_of(X, name, takes):
    """The partitions of a collection as Delayed objects."""
    if is_array(X):
        if X.ndim == 2:
            if X.numblocks[1] != 1:
                raise ValueError(
                    f"{name} must be divided by rows only, but has {X.numblocks[1]} blocks of "
                    f"columns; use {name}.rechunk({{1: -1}})."
                )
            if math.isnan(X.shape[1]):
                raise ValueError(f"{name} must have a known number of columns.")
        elif name == "X" or X.ndim != 1:
            raise ValueError(f"{name} has {X.ndim} dimensions; expected {2 - (name != 'X')}.")
        # Blocks may be computed one by one, so no task may wait for all of them.
        return X.to_delayed().ravel().tolist()
    if is_table(X) or (_is_collection(X) and hasattr(X, "to_delayed") and name != "X"):
        return list(X.to_delayed())
    raise TypeError(f"{name} must be {takes}; got {type(X).__name__}.")


def _column_parts(values, name, X, n_parts):
    if values is None:
        return [None] * n_parts
    parts = _parts_of(values, name, "a Dask array or a Dask Series")
    if len(parts) != n_parts:
        raise ValueError(
            f"{name} has {len(parts)} partitions, but X has {n_parts}: they must be divided in "
            "the same way."
        )
    chunks, own = getattr(X, "chunks", [None])[0], getattr(values, "chunks", [None])[0]
    if chunks is not None and own is not None:
        for number, (size, expected) in enumerate(zip(own, chunks, strict=True)):
            if size != expected and not (math.isnan(size) or math.isnan(expected)):
                raise ValueError(
                    f"{name} has {size} rows in partition {number}, but X has {expected}: "
                    f"use {name}.rechunk(X.chunks[0])."
                )
    return parts


def _names(columns):
    """Names of features as scikit-learn sees them: if all of them are strings."""
    if columns is None or not all(isinstance(name, str) for name in columns):
        return None
    return np.asarray(columns, dtype=object)


def _join(X, y, sample_weight):
    for name, values in (("y", y), ("sample_weight", sample_weight)):
        if values is not None and len(values) != X.shape[0]:
            raise ValueError(f"{name} has {len(values)} values for {X.shape[0]} rows of X.")
    return RowPart(X, *(None if v is None else np.asarray(v) for v in (y, sample_weight)))


def _of_stream(rows, delayed):
    encoded = rows.encoded()
    n_pieces = encoded.piece_rows.size
    starts = range(0, n_pieces, ROWS_PIECES)
    tasks = [
        delayed(_read_pieces)(str(encoded.folder), start, min(start + ROWS_PIECES, n_pieces))
        for start in starts
    ]
    return Source(tasks, encoded.n_features, encoded.feature_names, encoded)


def _read_pieces(folder, start, stop):
    """Pieces of a stream, from a folder that all workers can read."""
    from pathlib import Path

    from skfm.streams._cache import EncodedRows

    return RowPart(*EncodedRows(Path(folder)).read(np.arange(start, stop)))
