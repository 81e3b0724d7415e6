"""Recommenders whose rows are rows of a user-item matrix."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skfm._recommenders.catalogue import Catalogue, LabelledCatalogue
from skfm._recommenders.item_features import check_names
from skfm._utils import sparse_entries, validation

HIDDEN_SHARE = 0.2  # of each row's entries, for `score`
RANKED = 10  # items, for the `score` of implicit feedback


class MatrixRowsMixin:
    """What rows and items are where X is a user-item matrix: a hook of `RecommendingMixin` each.

    An estimator has the properties ``_is_implicit``, whether entries are confidences, and
    ``_dtype``, in which it computes.
    """

    def _find_catalogue(self, item_ids=None):
        if item_ids is None:
            return Catalogue(self.n_features_in_, getattr(self, "feature_names_in_", None))
        labels = check_names(item_ids)
        if labels.size != self.n_features_in_:
            raise ValueError(
                f"item_ids must contain one id for each of the {self.n_features_in_} items of "
                f"fit; got {labels.size}."
            )
        return LabelledCatalogue(labels, "item_ids")

    def _check_rows(self, X):
        """Rows of users in the dtype of the fit, in canonical CSR."""
        check_is_fitted(self)
        csr = validation.validate_entries(self, X, self._is_implicit, reset=False)
        if csr.dtype != self._dtype:
            with np.errstate(over="ignore"):
                csr = csr.astype(self._dtype)
            validation.check_predictions(csr.data)
        return csr

    def _find_seen(self, rows):
        return rows

    def _rank_held_out(self, X, relevant, k, *, exclude_seen=True, candidates=None, exclude=None):
        """Positions of the ``k`` best items of each row, to be judged by relevant entries, CSR."""
        validation.check_flag(exclude_seen, "exclude_seen")
        return self._rank(
            self._check_rows(X),
            k,
            relevant,
            exclude_seen=exclude_seen,
            candidates=candidates,
            exclude=exclude,
        )

    def _hold_out(self, X):
        """Visible and hidden entries of the rows of which some can be hidden, for `score`."""
        visible, hidden = sparse_entries.hide_by_hash(self._check_rows(X), HIDDEN_SHARE)
        judged = np.diff(hidden.indptr) > 0
        if not judged.any():
            raise ValueError(
                "score holds out some entries of each row and predicts them from the others, so "
                "X needs a row with at least two entries."
            )
        return visible[judged], hidden[judged]
