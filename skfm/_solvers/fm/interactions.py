"""Which interactions of features a model has, for all features of X or for some of them."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import sparse

from skfm._kernels import structs
from skfm._kernels.interactions import predict_general
from skfm._kernels.predict import predict
from skfm._utils.memory import read_only
from skfm._utils.pickling import Versioned


class Parts(NamedTuple):
    """Contributions of some features to the outputs of rows that have other features as well."""

    output: np.ndarray  # (n_rows,), their outputs alone, without the intercept
    sums: np.ndarray  # (n_rows, n_groups * n_components), by interaction group
    layers: np.ndarray  # (n_rows, n_groups * n_components)


@dataclass
class Interactions(Versioned):
    """Which interactions of features a model has; see _kernels/interactions.py.

    There are several interaction groups only if all components are of degree 2.
    """

    degrees: np.ndarray  # (n_components,), ascending
    interaction_group: np.ndarray  # (n_features,)
    partners: np.ndarray  # (n_groups, n_groups), symmetric, booleans
    has_linear: np.ndarray  # (n_features,), booleans
    field: np.ndarray  # (n_features,), numbers

    def __setstate__(self, state):
        # Before pickles had a stamp, what is the same for all features was kept as such pairs.
        is_pair = {name: type(kept) is tuple for name, kept in state.items()}
        super().__setstate__(
            {n: np.full(*reversed(kept)) if is_pair[n] else kept for n, kept in state.items()}
        )

    @property
    def n_components(self):
        return self.degrees.size

    @property
    def fit_linear(self):
        return bool(self.has_linear.any())

    @property
    def may_center(self):
        """Whether a model of centered features is a model of the features themselves."""
        return self.are_pairs and bool(self.has_linear.all())

    @property
    def are_pairs(self):
        return self.degrees.max(initial=2) == 2

    def record(self, features=slice(None)):
        """The kernels' named tuple for these features, in this order.

        None for all pairs, with linear weights of all features or of none.
        """
        alike = self.has_linear.all() or not self.fit_linear
        if self.are_pairs and self.partners.size == 1 and self.partners.all() and alike:
            return None
        interaction_group, has_linear = self.interaction_group[features], self.has_linear[features]
        if self.are_pairs:
            return structs.Interactions(
                self.n_layers,
                interaction_group,
                self.partners,
                np.zeros(len(self.partners) + 1, np.int64),
                has_linear,
            )
        degrees = np.arange(2, self.degrees.max() + 2)
        begin = np.searchsorted(self.degrees, degrees)
        no_partners = np.zeros((0, 0), bool)
        return structs.Interactions(
            self.n_layers, interaction_group, no_partners, begin, has_linear
        )

    @property
    def n_layers(self):
        return len(self.partners) if self.are_pairs else int(self.degrees.max()) - 1

    def linear_shift(self, features, center, factors):
        """The change of linear weights by adding ``center`` to the features of a model of pairs.

        For each output and feature j, it is the sum of ``<v_j, v_k> center_k`` over the partners
        k.
        """
        group = self.interaction_group[features]
        sums = np.zeros((factors.shape[0], len(self.partners), factors.shape[2]))
        np.add.at(sums, (slice(None), group), center[:, None] * factors)
        sums = np.einsum("de,cef->cdf", self.partners.astype(np.float64), sums)
        interacts_with_self = self.partners.diagonal()[group]
        self_terms = np.einsum("cjf,cjf->cj", factors, factors) * (center * interacts_with_self)
        return np.einsum("cjf,cjf->cj", factors, sums[:, group]) - self_terms

    def parts(self, rows, features, linear, factors):
        """The `Parts` of rows of some of the features, for pairs only.

        The output of a row joined from two parts is the sum of their outputs and the product of
        the sums of one and the layers of the other.
        """
        rows, used = _without_empty_columns(rows)
        linear, factors = linear[used], factors[used]
        group = self.interaction_group[features][used]
        n_groups = len(self.partners)
        if n_groups == 1:
            sums = (rows @ factors)[:, None]
        else:
            masks = group == np.arange(n_groups)[:, None, None]
            sums = np.stack([rows @ (factors * mask.T) for mask in masks], axis=1)
        layers = np.einsum("de,nef->ndf", self.partners.astype(factors.dtype), sums)
        self_products = np.einsum("jf,jf->j", factors, factors) * self.partners.diagonal()[group]
        squared = rows.data * rows.data, rows.indices, rows.indptr
        squares = sparse.csr_matrix(squared, shape=rows.shape) @ self_products
        output = rows @ linear + (np.einsum("nef,nef->n", sums, layers) - squares) / 2
        flat = len(sums), n_groups * factors.shape[1]  # -1 cannot stand for it without rows
        return Parts(output.astype(factors.dtype), sums.reshape(flat), layers.reshape(flat))


def _without_empty_columns(rows):
    """Rows with the columns alone that have an entry, and which these are.

    So a single row costs no more where there are many features.
    """
    n_columns = rows.shape[1]
    has_entry = np.zeros(n_columns, bool)
    has_entry[rows.indices] = True
    used = np.flatnonzero(has_entry)
    place = np.empty(n_columns, rows.indices.dtype)
    place[used] = np.arange(used.size)
    compact = rows.data, place[rows.indices], rows.indptr
    return sparse.csr_matrix(compact, shape=(rows.shape[0], used.size)), used


def all_pairs(n_features, n_components):
    """All pairs of features, with linear weights of all features."""
    return Interactions(
        np.full(n_components, 2),
        np.zeros(n_features, np.uint8),
        np.ones((1, 1), bool),
        np.ones(n_features, bool),
        np.zeros(n_features, np.uint8),
    )


def compute_outputs(rows, parameters, interactions, start, stop, output):
    """Raw outputs of rows ``start:stop`` of ``rows`` (indptr, indices, data), into ``output``.

    ``parameters`` are the intercept (n_outputs,), linear weights (n_outputs, n_features) and
    factors (n_outputs, n_features, n_components), ``interactions`` the kernels' record.
    """
    rows, parameters = tuple(map(read_only, rows)), tuple(map(read_only, parameters))
    if interactions is None:
        predict(*rows, *parameters, start, stop, output)
    else:
        predict_general(*rows, parameters, interactions, start, stop, output)
