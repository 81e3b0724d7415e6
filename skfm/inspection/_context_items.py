"""Rows that join the features of a context and of an item, for FMRecommender.

Where a column was centered, scores are computed from its difference from the center; so are
explanations. What a ranking loss does not learn, as it is the same for all items, is no term.
"""

import numpy as np
from scipy import sparse

from skfm._recommenders.fm import CONTEXT
from skfm._recommenders.fm_vectors import blank_features
from skfm._recommenders.item_features import read_items, to_dtype
from skfm._recommenders.vectors import with_empty_row
from skfm._solvers.fm.column_scaling import subtract
from skfm.inspection._polynomials import Polynomial
from skfm.inspection._products import Products


class ContextItems:
    """The features of contexts and items of a fitted FMRecommender: those of contexts first."""

    def __init__(self, model):
        self._model = model
        n_known = len(model.item_ids_) - model._added_features.shape[0]
        self._items = read_items(
            model.item_ids_[:n_known],
            model.item_features,
            model.item_ids,
            model.item_fields,
            model.item_identity,
        )
        n_columns = model._n_identities + model._added_features.shape[1]
        if (len(self._items.names), self._items.fields.size) != (n_known, n_columns):
            raise ValueError(_CHANGED)

    @property
    def n_features(self):
        return self._model.coef_.size + self._model.item_coef_.size

    def names(self, of_contexts):
        """Names of all features: of indicators the field and the item, as ``item=alien``."""
        columns = self._model._item_columns
        if columns is None:
            columns = [f"item_features{number}" for number in range(self._items.given.shape[1])]
        indicators = [
            f"{field}={name}"
            for field in self._items.identity
            for name in self._items.names.tolist()
        ]
        return np.array([*of_contexts, *indicators, *columns], dtype=object)

    def fields(self, of_contexts):
        """Fields of all features, as labels; ``of_contexts`` is None if those are not known."""
        if of_contexts is None:
            of_contexts = [CONTEXT] * self._model.coef_.size
        return np.array([*of_contexts, *self._items.fields], dtype=object)

    def polynomial(self):
        model, interactions = self._model, self._model._interactions
        centered, n_contexts = model._centered, model.coef_.size
        coef, intercept = np.concatenate([model.coef_, model.item_coef_]), model.intercept_
        if centered is not None:
            coef, intercept = centered.coef, centered.intercept
        is_item = np.arange(coef.size) >= n_contexts
        # Groups of contexts, then of items: pairs within a context may have to be left out.
        n_groups, is_learned = len(interactions.partners), model._fitted_loss == "logistic"
        partners = np.tile(interactions.partners, (2, 2))
        partners[:n_groups, :n_groups] &= is_learned
        return Polynomial(
            np.array([intercept], np.float64),
            coef[None],
            interactions.has_linear & (is_item | is_learned),
            Products(
                np.concatenate([model.components_.T, model.item_components_.T])[None],
                interactions.degrees,
                interactions.interaction_group + n_groups * is_item,
                partners,
            ),
        )

    def rows(self, contexts, pairs):
        """A row for each pair of a row of contexts and an item, of which -1 is unknown."""
        row, item = pairs.row, pairs.item
        n_contexts, is_known = self._model.coef_.size, item >= 0
        contexts = self._centered(with_empty_row(contexts), slice(0, n_contexts))
        features = self._centered(self._features(item[is_known]), slice(n_contexts, None))
        place = np.where(is_known, np.cumsum(is_known) - 1, -1)
        rows = [contexts[row], with_empty_row(features)[place]]
        rows = sparse.hstack(rows, format="csr").astype(np.float64)
        rows.eliminate_zeros()
        return rows

    def _centered(self, rows, side):
        dtype, centered = self._model.item_coef_.dtype, self._model._centered
        rows = rows.astype(dtype)
        return rows if centered is None else subtract(rows, centered.center[side].astype(dtype))

    def _features(self, items):
        """The features of items, by position: those of the fit, then those added later."""
        model, dtype = self._model, self._model.item_coef_.dtype
        added = blank_features(to_dtype(model._added_features, dtype), model._n_identities)
        features = sparse.vstack([self._items.features(dtype), added], format="csr")[items]
        if items.size:
            expected = model._coordinates_of_items(features)
            if not np.allclose(expected, model._items[items], rtol=1e-4, atol=1e-5):
                raise ValueError(_CHANGED)
        return features


_CHANGED = (
    "item_features, item_ids or item_identity are not those of the fit, so the features of the "
    "items are not known; set them as they were, or fit the model again."
)
