"""Training and predictions on Dask clusters, for data that outgrow one machine."""

from skfm.dask._fit import fit
from skfm.dask._predict import predict

__all__ = ["fit", "predict"]
