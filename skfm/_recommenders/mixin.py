"""What recommenders with vectors of users and items do: rank by products, compare by cosines."""

from contextlib import suppress

import numpy as np

from skfm._recommenders.best_items import find_best, find_similar
from skfm._recommenders.catalogue import Catalogue, check_positions
from skfm._recommenders.output import check_output, index_of, name_rows
from skfm._recommenders.recommending import RecommendingMixin, show_similar
from skfm._recommenders.vectors import unit_vectors, with_empty_row
from skfm._utils.read_only import ReadOnlyAttributes
from skfm._utils.threads import n_threads
from skfm.exceptions import InconsistentVersionError


class RecommenderMixin(RecommendingMixin, ReadOnlyAttributes):
    """Recommendations of estimators whose scores are products of two vectors.

    An estimator has the parameter `n_jobs`, and two hooks:

    - ``_row_vectors(rows)`` returns the `RowVectors` of rows that have been checked,
    - ``_prepare_items()`` sets ``_item_table``, an `ItemTable`, from what a fit has stored.

    ``_read_only`` are the names of the public attributes from which these are computed.

    Its methods ``_check_rows(X)``, ``_find_seen(rows)`` and ``_find_catalogue(item_ids)`` say what
    rows are, which items their users have seen, and how items are called.
    """

    _why_read_only = "recommendations come from tables that fit has computed from it"

    def __getstate__(self):
        state = super().__getstate__()
        state.pop("_item_table", None)
        return state

    def __setstate__(self, state):
        super().__setstate__(state)
        if hasattr(self, "n_iter_"):
            # What another version did not keep is reported when it is needed.
            with suppress(InconsistentVersionError):
                self._prepare_items()

    def _find_best(self, rows, n_items, candidates):
        vectors, threads = self._row_vectors(rows), n_threads(self.n_jobs)
        items, values = find_best(vectors.table, self._item_table, n_items, candidates, threads)
        return items, vectors.scores(values)

    def _scores_of_pairs(self, X, rows, items):
        """Scores of pairs of a checked row and the position of an item, -1 for unknown ones."""
        used, rows = np.unique(rows, return_inverse=True)
        vectors = self._row_vectors(with_empty_row(X)[used])
        return vectors.scores_of_pairs(self._item_table, rows, items)

    def _find_similar_items(self, asked, n_items):
        vectors = self._item_table.unit_vectors
        return find_similar(vectors, asked, n_items, "n_items", n_threads(self.n_jobs))

    def _similar_users(self, X, rows, n_users, output, user_ids):
        check_output(output)
        row_vectors = self._row_vectors(self._check_rows(X))
        item_table = self._item_table
        factors = row_vectors.table[:, item_table.factors]
        n_rows = len(factors)
        asked = np.arange(n_rows) if rows is None else check_positions(rows, n_rows, "rows")
        if user_ids is None and output != "default":
            user_ids = index_of(X)
        users = Catalogue(n_rows, None if user_ids is None else name_rows(user_ids, n_rows))
        vectors = unit_vectors(factors * item_table.used_factors)
        found, cosines = find_similar(vectors, asked, n_users, "n_users", n_threads(self.n_jobs))
        return show_similar("user", users, asked, found, cosines, output)
