"""What all recommenders do: recommend, score pairs, find similar items and users."""

from contextlib import suppress

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skfm._recommenders.best_items import (
    find_best,
    find_best_or_none,
    find_similar,
)
from skfm._recommenders.candidates import find_candidates, unless_relevant
from skfm._recommenders.catalogue import Catalogue, check_positions, read_pairs
from skfm._recommenders.output import check_output, index_of, long_frame, name_rows
from skfm._recommenders.vectors import unit_vectors, with_empty_row
from skfm._utils import validation
from skfm._utils.read_only import ReadOnlyAttributes
from skfm._utils.threads import n_threads
from skfm.exceptions import InconsistentVersionError


class RecommenderMixin(ReadOnlyAttributes):
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

    def _recommend(
        self, X, n_items, exclude_seen, candidates, exclude, output, user_ids, item_ids=None
    ):
        validation.check_flag(exclude_seen, "exclude_seen")
        check_output(output)
        rows = self._check_rows(X)
        catalogue = self._find_catalogue(item_ids)
        if output == "default" and user_ids is not None:
            raise ValueError(
                "user_ids requires a DataFrame as output; set output='pandas' or output='polars'."
            )
        chosen = find_candidates(
            catalogue,
            self._find_seen(rows) if exclude_seen else None,
            rows.shape[0],
            candidates=candidates,
            exclude=exclude,
        )
        vectors, threads = self._row_vectors(rows), n_threads(self.n_jobs)
        items, values = find_best(vectors.table, self._item_table, n_items, chosen, threads)
        scores = vectors.scores(values)
        if output == "default":
            return catalogue.show(items), scores
        users = name_rows(index_of(X) if user_ids is None else user_ids, len(items))
        names = "user", "item", "score", "rank"
        return long_frame(output, names, users, items, scores, catalogue.show)

    def _predict_pairs(self, X, rows, items):
        X = self._check_rows(X)
        rows, items = read_pairs(rows, items, X.shape[0], self._find_catalogue())
        return self._scores_of_pairs(X, rows, items)

    def _scores_of_pairs(self, X, rows, items):
        """Scores of pairs of a checked row and the position of an item, -1 for unknown ones."""
        used, rows = np.unique(rows, return_inverse=True)
        vectors = self._row_vectors(with_empty_row(X)[used])
        return vectors.scores_of_pairs(self._item_table, rows, items)

    def _similar_items(self, items, n_items, output, item_ids=None):
        check_is_fitted(self)
        check_output(output)
        catalogue = self._find_catalogue(item_ids)
        asked = catalogue.positions(items, "items")
        vectors = self._item_table.unit_vectors
        return self._similar("item", catalogue, vectors, asked, n_items, output)

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
        return self._similar("user", users, vectors, asked, n_users, output)

    def _similar(self, kind, catalogue, vectors, asked, n, output):
        """The most similar of the items, or users, in a catalogue."""
        found, cosines = find_similar(vectors, asked, n, f"n_{kind}s", n_threads(self.n_jobs))
        if output == "default":
            return catalogue.show(found), cosines
        names = kind, f"similar_{kind}", "similarity", "rank"
        return long_frame(output, names, catalogue.show(asked), found, cosines, catalogue.show)

    def _rank(self, rows, k, relevant, *, exclude_seen=True, candidates=None, exclude=None):
        """Positions of the ``k`` best items of each row, to be judged by the ``relevant`` ones.

        Seen items are left out unless they are relevant. -1 where too few items are left, also if
        there are fewer than ``k`` to choose from.
        """
        seen = unless_relevant(self._find_seen(rows), relevant) if exclude_seen else None
        chosen = find_candidates(
            self._find_catalogue(), seen, rows.shape[0], candidates=candidates, exclude=exclude
        )
        vectors, threads = self._row_vectors(rows), n_threads(self.n_jobs)
        return find_best_or_none(vectors.table, self._item_table, k, chosen, threads)
