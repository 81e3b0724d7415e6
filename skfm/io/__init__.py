"""Files of fitted models: arrays and JSON, from which nothing is executed."""

from skfm.io._models import load_model, save_model

__all__ = ["load_model", "save_model"]
