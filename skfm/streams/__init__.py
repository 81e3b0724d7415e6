"""Training and prediction with rows that need not fit into memory."""

from skfm.preprocessing._index_encoder import IndexEncoder
from skfm.streams._predictions import predict_stream
from skfm.streams._rows import Rows

__all__ = ["IndexEncoder", "Rows", "predict_stream"]
