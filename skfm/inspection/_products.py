"""The products of features in a factorization machine, and the vectors that they are made of.

The weight of a pair of features, i of interaction group c and j of group d, is the product of two
vectors: one of i toward group d, with the parameters of this pair of groups, and the own one of j
for group c. See _kernels/field_interactions.py for the kinds.

============  =======================  ==============
kind          ``toward(i, d)``         ``own(j, c)``
============  =======================  ==============
``plain``     ``v_i``                  ``v_j``
``weighted``  ``r_cd v_i``             ``v_j``
``matrixed``  ``M_cd' v_i``            ``v_j``
``aware``     ``v_i[d]``               ``v_j[c]``
============  =======================  ==============
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from skfm._fm import field_parameters


@dataclass(frozen=True)
class Products:
    """The weights of products of features.

    The weight of some features is the sum over the components of their number's degree. If
    ``is_mean``, the factors are posterior samples, and it is the mean over these, times ``unit``.
    The vectors that the methods return then are those of all samples end to end, and scaled.
    """

    factors: np.ndarray  # (n_outputs or n_draws, n_features, n_components)
    degrees: np.ndarray  # (n_components,), ascending
    group: np.ndarray  # (n_features,), for pairs
    partners: np.ndarray  # (n_groups, n_groups), which groups form pairs, symmetric
    kind: str = "plain"
    between_fields: np.ndarray | None = None  # (n_outputs or n_draws, n_groups, n_groups, n, n)
    scale: np.ndarray | None = None  # (n_features,), by which values are divided in products
    unit: float = 1.0
    is_mean: bool = False

    @property
    def n_outputs(self):
        return 1 if self.is_mean else len(self.factors)

    @property
    def has_pairs(self):
        return bool((self.degrees == 2).any())

    @property
    def n_numbers(self):
        """The largest number of factors that the weight of a set of features is made of."""
        n_tables, _, width = self.factors.shape
        n_copies = len(self.partners) if self.kind == "aware" else 1
        return max(n_tables * width // n_copies, 1)

    @property
    def are_comparable(self):
        """Whether vectors of features of different groups are multiplied with the same ones."""
        return self.kind != "aware"

    @property
    def different_partners(self):
        """Groups for which features have vectors of their own; those for all others are equal."""
        return range(1 if self.kind == "plain" else len(self.partners))

    def interact(self, first, second):
        """Which pairs of features form products."""
        return self.partners[self.group[first], self.group[second]]

    def weights(self, features):
        """Weights (n_outputs, n_sets) of some sets of features (n_sets, degree)."""
        degree = features.shape[1]
        if degree == 2:
            (first, second), (c, d) = features.T, self.group[features].T
            vectors = self.toward(first, d, np.float64), self.own(second, c, np.float64)
        else:
            chosen = slice(*np.searchsorted(self.degrees, [degree, degree + 1]))
            vectors = (
                self._joined(self._gathered(one, chosen, np.float64), one, degree)
                for one in features.T
            )
        return np.einsum("osf->os", reduce(np.multiply, vectors))

    def toward(self, features, partner, dtype=None):
        """Vectors (n_outputs, n, width) of features for partners of some groups, or of one.

        With the parameters of the pairs of groups, so that their products with own vectors are
        the weights of pairs.
        """
        vectors = self._parts(features, partner, dtype)
        if self.between_fields is not None:
            c, d = np.broadcast_arrays(self.group[features], partner)
            table = self.between_fields.astype(vectors.dtype, copy=False)
            vectors = _TIMES_TABLE[self.kind](vectors, table, c, d)
        return self._joined(vectors, features)

    def own(self, features, partner, dtype=None):
        """The same without the parameters of pairs of groups."""
        return self._joined(self._parts(features, partner, dtype), features)

    def all_vectors(self, features):
        """All vectors (n_outputs, n, width) by which features interact, part by part.

        They are those for one group of partners after the other, unless these are all the same.
        """
        if self.kind == "plain":
            yield self._joined(self._gathered(features, slice(None)), features)
            return
        for d in range(len(self.partners)):
            are_partners = self.partners[self.group[features], d]
            yield self.toward(features, d) * are_partners[:, None]

    def _parts(self, features, partner, dtype):
        """The factors (n_tables, n, width) of features that are for partners of these groups."""
        if self.kind != "aware":
            chosen = slice(*np.searchsorted(self.degrees, [2, 3]))
            return self._gathered(features, chosen, dtype)
        n_tables, n_features, width = self.factors.shape
        n_fields = len(self.partners)
        by_partner = self.factors.reshape(n_tables, n_features, n_fields, width // n_fields)
        return by_partner[:, features, partner].astype(dtype or self.factors.dtype, copy=False)

    def _gathered(self, features, components, dtype=None):
        vectors = self.factors[:, features, components]
        return vectors.astype(dtype or self.factors.dtype, copy=False)

    def _joined(self, vectors, features, degree=2):
        """Vectors of outputs as they are, those of samples end to end."""
        if not self.is_mean:
            return vectors
        size = (self.unit / len(vectors)) ** (1 / degree) / self.scale[features]
        vectors = vectors * size[:, None].astype(vectors.dtype)
        n_draws, n, width = vectors.shape
        return np.swapaxes(vectors, 0, 1).reshape(1, n, n_draws * width)


def _times_weights(vectors, table, c, d):
    return vectors * table[:, c, d, 0]


def _times_matrices(vectors, table, c, d):
    """Vectors (n_tables, n, width) times the matrices of their pairs of fields, pair by pair."""
    pair = np.ravel_multi_index((c, d), table.shape[1:3])
    order = np.argsort(pair, kind="stable")
    result = np.empty_like(vectors)
    for chosen in np.split(order, np.flatnonzero(np.diff(pair[order])) + 1):
        if chosen.size:
            matrices = table[:, c[chosen[0]], d[chosen[0]]]
            result[:, chosen] = vectors[:, chosen] @ matrices
    return result


_TIMES_TABLE: dict[str, Callable[..., Any]] = {
    "weighted": _times_weights,
    "matrixed": _times_matrices,
}


def products_of(factors, field_pairs, interactions, features=slice(None), **of_samples):
    """The `Products` of some features, whose factors are given, of a model."""
    between_fields = None
    if interactions.has_field_pairs:
        between_fields = field_parameters.between_fields(field_pairs, interactions)
    return Products(
        factors,
        interactions.degrees,
        interactions.interaction_group[features],
        interactions.partners,
        interactions.kind,
        between_fields,
        **of_samples,
    )
