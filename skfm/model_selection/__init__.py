"""Search spaces, and train/test splits over user-item entries for recommenders."""

from skfm.model_selection._search_space import search_space
from skfm.model_selection._splits import CellKFold, leave_last_out, split_cells, split_users

__all__ = ["CellKFold", "leave_last_out", "search_space", "split_cells", "split_users"]
