"""skfm.dask.fit: which function fits which estimator."""

import os
from typing import Any, TypeVar

from skfm import FMClassifier, FMRegressor, MFRecommender
from skfm.dask._cluster import open_cluster
from skfm.dask._fm import fit_fm
from skfm.dask._mf import fit_mf

FITS = {MFRecommender: fit_mf, FMRegressor: fit_fm, FMClassifier: fit_fm}

Estimator = TypeVar("Estimator")


def fit(
    estimator: Estimator,
    X: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    client: Any = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> Estimator:
    """Fit an estimator to data on a Dask cluster.

    The estimator is fitted in place, as by its method `fit`. The result is an ordinary fitted
    estimator: it is pickled, saved and used without a cluster.

    For given partitions, the fitted parameters do not depend on the number of workers, nor on
    which of them die during the fit, bit for bit. With other partitions, or on one machine, sums
    are rounded differently. Read more in the :doc:`user guide </dask>`.

    Parameters
    ----------
    estimator : MFRecommender, FMRegressor or FMClassifier
        The estimator to fit. A recommender needs ``solver="als"`` or "auto", the others any solver
        but "als". `n_jobs` has no effect: each task uses one thread.
    X : dask.array.Array, dask.dataframe.DataFrame or skfm.streams.Rows
        For a recommender, a matrix of users by items; for a log of events, see
        :func:`fit_transform`. For the others, rows of features. Arrays are divided by rows only,
        into CSR matrices or arrays, whose numbers of rows may be unknown, differ or be 0. All
        workers must see the folder of the encoded rows of `Rows`.
    y : dask.array.Array or dask.dataframe.Series, default=None
        Targets, divided like X. None for `Rows`, and ignored for a recommender.
    sample_weight : dask.array.Array or dask.dataframe.Series, default=None
        Sample weights, divided like X. None for `Rows` and for a recommender.
    client : distributed.Client, default=None
        The client of the cluster. None is Dask's default client or, if there is none, a
        ``LocalCluster`` with a process for each processor, which is closed after the fit.
    checkpoint : path, default=None
        A file for the state of training, in a folder of the process that calls this function. If
        the file exists, training continues from it, perhaps on another cluster, and ends with the
        same parameters, bit for bit. X must have the same partitions. The file contains the
        vectors of all users.

    Returns
    -------
    estimator : object
        The fitted estimator, which is the one that was given.

    Raises
    ------
    ImportError
        If Dask is not installed.
    TypeError
        If the estimator or X has another type.
    ValueError
        If a parameter or X is invalid, as by `fit` of the estimator; the message names the
        partition. The estimator is then unchanged.
    RuntimeError
        If a worker has other versions of Python, skfm or its dependencies than this process, if
        a partition cannot be computed, or if workers die again and again.
    ConnectionError
        If the connection to the scheduler is lost. A fit with a checkpoint then continues with
        another cluster.

    Examples
    --------
    >>> import dask.array as da
    >>> from skfm import MFRecommender
    >>> from skfm.dask import fit
    >>> X = da.random.default_rng(0).poisson(0.1, size=(1000, 50), chunks=(250, 50))
    >>> model = MFRecommender(8, feedback="implicit", random_state=0)
    >>> fit(model, X)  # doctest: +SKIP
    MFRecommender(feedback='implicit', n_components=8, random_state=0)
    """
    function = next((f for kind, f in FITS.items() if isinstance(estimator, kind)), None)
    if function is None:
        known = ", ".join(kind.__name__ for kind in FITS)
        raise TypeError(
            f"skfm.dask.fit supports {known}; got {type(estimator).__name__}. Fit this estimator "
            "on one machine."
        )
    with open_cluster(client) as cluster:
        return function(estimator, X, y, sample_weight, cluster, checkpoint)
