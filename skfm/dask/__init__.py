"""Training, predictions and recommendations on Dask clusters: data that outgrow one machine."""

from skfm.dask._events import fit_transform
from skfm.dask._fit import fit
from skfm.dask._predict import predict
from skfm.dask._recommend import recommend

__all__ = ["fit", "fit_transform", "predict", "recommend"]
