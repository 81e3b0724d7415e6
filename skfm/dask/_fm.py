"""Fits of FMRegressor and FMClassifier to Dask collections: synchronous mini-batches."""

from skfm._fm import partitioned_rows
from skfm.dask._partitions import read_source
from skfm.streams import Rows


def fit_fm(estimator, X, y, sample_weight, cluster, checkpoint):
    """Fit a factorization machine to rows in partitions."""
    if y is None and not isinstance(X, Rows):
        raise TypeError(
            f"{type(estimator).__name__} requires y: a Dask array or Series with the partitions "
            "of X."
        )

    def load():
        source = read_source(X, y, sample_weight)
        parts = cluster.load(source.tasks)
        if source.rows is not None:
            parts = parts.convert(_as_given, source.rows.labels, source.rows.target_dtype)
        return partitioned_rows.Partitions(parts, estimator)

    return estimator._fit_partitions(load, checkpoint)


def _as_given(part, labels, dtype):
    """A piece of a stream with the targets as they were in the files."""
    y = part.y.astype(dtype, copy=False) if labels is None else labels[part.y]
    return part._replace(y=y)
