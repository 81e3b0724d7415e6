"""FMRegressor and FMClassifier on partitions: synchronous mini-batches."""

from skfm._fm import partitioned_rows


def fit_fm(cluster, estimator, source, X, checkpoint=None):
    """Fit the estimator to a `Source`, the partitions of ``X``, and return it."""

    def load():
        parts = cluster.load(source.tasks)
        if source.rows is not None:
            parts = parts.convert(_as_given, source.rows.labels, source.rows.target_dtype)
        return partitioned_rows.Partitions(parts, estimator, given=X)

    return estimator._fit_partitions(load, checkpoint)


def _as_given(part, labels, dtype):
    """A piece of a stream with the targets as they were in the files."""
    y = part.y.astype(dtype, copy=False) if labels is None else labels[part.y]
    return part._replace(y=y)
