"""Fits of MFRecommender to Dask arrays."""

from skfm._recommenders.mf_partitions import fit_partitions
from skfm.dask._partitions import is_table, read_source


def fit_mf(estimator, X, y, sample_weight, cluster, checkpoint):
    """Fit a recommender to the rows of users in the blocks of a Dask array; y is ignored."""
    if sample_weight is not None:
        raise TypeError("MFRecommender has no sample_weight; multiply confidences instead.")
    if is_table(X):
        raise TypeError(
            "X is a Dask DataFrame, but MFRecommender is fitted to a matrix of users by items. If "
            "it is a log of events, convert it with skfm.dask.fit_transform(UserItemEncoder(), X)."
        )
    source = read_source(X)
    if source.n_features == 0:
        raise ValueError("X has no columns; a minimum of 1 is required.")
    return fit_partitions(estimator, cluster.load(source.tasks), source.n_features, checkpoint)
