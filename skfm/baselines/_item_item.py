"""What models of weights between items share: scores are sums of the weights of a user's items."""

from typing import Any, Literal

import numpy as np
from scipy import sparse

from skfm._recommenders.best_items import find_best_scored
from skfm._recommenders.candidates import Candidates
from skfm._solvers.item_item.scores import score_blocks
from skfm._utils.threads import n_threads
from skfm._utils.typing import ColumnLike, Int
from skfm.baselines._base import BaselineRecommender


class ItemItemRecommender(BaselineRecommender):
    """Base of recommenders that learn ``item_weights_``, an array or CSR of items by items.

    Row i has the weights of item i in the scores of all items.
    """

    @property
    def _table(self):
        return self.item_weights_

    def similar_items(
        self,
        items: ColumnLike,
        n_items: Int = 10,
        *,
        output: Literal["default", "pandas", "polars"] = "default",
        item_ids: ColumnLike | None = None,
    ) -> Any:
        """Find the items with the largest weights of given items.

        These are the recommendations for a user who has chosen that item alone.

        Parameters
        ----------
        items : array-like of shape (n_queries,)
            Columns of X, or names.
        n_items : int, default=10
            Number of similar items, at most the number of all items. For all items, the last place
            is empty, as in `recommend`, because an item is not similar to itself.
        output : {"default", "pandas", "polars"}, default="default"
            What to return, as in `recommend`.
        item_ids : array-like of shape (n_features,), default=None
            Names of the columns of X, as in `recommend`.

        Returns
        -------
        similar : ndarray of shape (n_queries, n_items)
            Columns of X, or names, those with the largest weights first.
        similarities : ndarray of shape (n_queries, n_items)
            Their weights in `item_weights_`.
        frame : DataFrame of shape (n_similar, 4)
            Returned instead of the two arrays if `output` is "pandas" or "polars". The columns are
            "item", "similar_item", "similarity" and "rank".
        """
        return self._similar_items(items, n_items, output, item_ids)

    def _find_similar_items(self, asked, n_items):
        ones = np.ones(asked.size, self._dtype)
        shape = asked.size, self.n_features_in_
        alone = sparse.csr_matrix((ones, asked, np.arange(asked.size + 1)), shape=shape)
        score = score_blocks(alone, self.item_weights_)
        itself = Candidates(None, alone)
        return find_best_scored(score, shape, n_items, itself, n_threads(self.n_jobs))
