"""Dask collections, recognized without Dask: estimators do not compute them by accident."""


def is_lazy(value):
    """Whether a value is a Dask collection."""
    return callable(getattr(value, "__dask_graph__", None)) and not isinstance(value, type)


def refuse_lazy(value, name="X"):
    """Refuse a Dask collection, which NumPy would compute in this process."""
    if is_lazy(value):
        kind = f"{type(value).__module__.split('.')[0]} {type(value).__name__}"
        raise TypeError(
            f"{name} is a Dask collection ({kind}), which would be computed in this process. Use "
            "skfm.dask, such as skfm.dask.fit(estimator, X), or call compute() first if the "
            "result fits into memory."
        )
