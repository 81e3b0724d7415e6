"""Encoders that convert logs to features and to user-item matrices, and groups of features."""

from skfm.preprocessing._event_encoder import EventEncoder
from skfm.preprocessing._feature_groups import feature_groups
from skfm.preprocessing._user_item_encoder import UserItemEncoder

__all__ = ["EventEncoder", "UserItemEncoder", "feature_groups"]
