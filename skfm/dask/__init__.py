"""Training and scoring on Dask clusters: data that outgrow one machine."""
