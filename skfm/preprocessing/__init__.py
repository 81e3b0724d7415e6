"""Encoders that convert tables and logs to features and user-item matrices; feature groups."""

from skfm.preprocessing._event_encoder import EventEncoder
from skfm.preprocessing._feature_groups import feature_groups
from skfm.preprocessing._table_encoder import TableEncoder
from skfm.preprocessing._user_item_encoder import UserItemEncoder

__all__ = ["EventEncoder", "TableEncoder", "UserItemEncoder", "feature_groups"]
