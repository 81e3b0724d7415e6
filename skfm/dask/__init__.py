"""Training and recommendations on Dask clusters, for data that outgrow one machine."""

from skfm.dask._fit import fit

__all__ = ["fit"]
