"""Training and recommendations on Dask clusters, for data that outgrow one machine."""

from skfm.dask._events import fit_transform
from skfm.dask._fit import fit
from skfm.dask._recommend import recommend

__all__ = ["fit", "fit_transform", "recommend"]
