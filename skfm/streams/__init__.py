"""Training and prediction with rows that need not fit into memory."""

from skfm.preprocessing._index_encoder import IndexEncoder
from skfm.streams._predictions import predict_stream
from skfm.streams._rows import Rows
from skfm.streams._user_items import read_user_item_matrix

__all__ = ["IndexEncoder", "Rows", "predict_stream", "read_user_item_matrix"]
