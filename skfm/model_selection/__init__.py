"""Search spaces, and train/test splits over user-item entries for recommenders."""

from skfm.model_selection._search_space import search_space
from skfm.model_selection._splits import EntryKFold, leave_last_out, split_entries, split_users

__all__ = ["EntryKFold", "leave_last_out", "search_space", "split_entries", "split_users"]
