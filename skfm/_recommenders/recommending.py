"""What all recommenders do: recommend, score pairs, rank held-out items, find similar items."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skfm._recommenders.candidates import find_candidates, unless_relevant
from skfm._recommenders.catalogue import read_pairs
from skfm._recommenders.output import check_output, index_of, long_frame, name_rows
from skfm._utils import validation


class RecommendingMixin:
    """Recommendations of estimators that score all items for the rows of X.

    An estimator has these hooks:

    - ``_check_rows(X)`` returns checked rows, ``_find_seen(rows)`` the items that their users have
      seen, and ``_find_catalogue(item_ids)`` how items are called.
    - ``_find_best(rows, n_items, candidates)`` returns the positions of the best `Candidates` of
      each row, -1 where there are too few, and their scores.
    - ``_scores_of_pairs(rows, row, item)`` returns the scores of pairs of a row and the position
      of an item; -1 is a row without entries, or an item of which nothing is known.
    - ``_find_similar_items(asked, n_items)`` returns the positions of the items most similar to
      others, and their similarities. Only ``_similar_items`` needs it.
    """

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
        items, scores = self._find_best(rows, n_items, chosen)
        if output == "default":
            return catalogue.show(items), scores
        users = name_rows(index_of(X) if user_ids is None else user_ids, len(items))
        names = "user", "item", "score", "rank"
        return long_frame(output, names, users, items, scores, catalogue.show)

    def _predict_pairs(self, X, rows, items):
        X = self._check_rows(X)
        rows, items = read_pairs(rows, items, X.shape[0], self._find_catalogue())
        return self._scores_of_pairs(X, rows, items)

    def _similar_items(self, items, n_items, output, item_ids=None):
        check_is_fitted(self)
        check_output(output)
        catalogue = self._find_catalogue(item_ids)
        asked = catalogue.positions(items, "items")
        found, similarities = self._find_similar_items(asked, n_items)
        return show_similar("item", catalogue, asked, found, similarities, output)

    def _rank(self, rows, k, relevant, *, exclude_seen=True, candidates=None, exclude=None):
        """Positions of the ``k`` best items of each row, to be judged by the ``relevant`` ones.

        Seen items are left out unless they are relevant. -1 where too few items are left, also if
        there are fewer than ``k`` to choose from.
        """
        seen = unless_relevant(self._find_seen(rows), relevant) if exclude_seen else None
        catalogue = self._find_catalogue()
        chosen = find_candidates(
            catalogue, seen, rows.shape[0], candidates=candidates, exclude=exclude
        )
        best = np.full((rows.shape[0], k), -1)
        n_best = min(k, chosen.count(catalogue.n_items))
        if n_best:
            best[:, :n_best], _ = self._find_best(rows, n_best, chosen)
        return best


def show_similar(kind, catalogue, asked, found, similarities, output):
    """Similar items, or users, of a catalogue: two arrays, or a DataFrame."""
    if output == "default":
        return catalogue.show(found), similarities
    names = kind, f"similar_{kind}", "similarity", "rank"
    return long_frame(output, names, catalogue.show(asked), found, similarities, catalogue.show)
