"""Which interactions of features a model has, for all features of X or for some of them."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import sparse

from skfm._kernels import structs
from skfm._kernels.field_interactions import predict_fields
from skfm._kernels.interactions import predict_general
from skfm._kernels.predict import predict
from skfm._solvers.fm.parameters import NO_PAIRS
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

    There are several interaction groups only if all components are of degree 2. They are fields
    for all kinds but "plain". Of the kind "aware", a feature has factors for each partner field,
    one field after the other, and each of them counts as a component.
    """

    degrees: np.ndarray  # (n_components,), ascending
    interaction_group: np.ndarray  # (n_features,)
    partners: np.ndarray  # (n_groups, n_groups), symmetric, booleans
    has_linear: np.ndarray  # (n_features,), booleans
    field: np.ndarray  # (n_features,), numbers
    kind: str = "plain"  # or "weighted", "matrixed" or "aware"; see _kernels/field_interactions.py
    labels: np.ndarray | None = None  # (n_fields,), of the fields, for these kinds
    # L2 penalty of the parameters of pairs of fields, for each unit of weight of the rows; None
    # for Gibbs sampling, where it is 1 for all rows together: a prior of variance 1.
    alpha_fields: float | None = None

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

    def of(self, columns):
        """The interactions of some of the features, as of a problem that has only these."""
        return InteractionsOfSome(
            self.degrees,
            self.interaction_group[columns],
            self.partners,
            self.has_linear[columns],
            self.field[columns],
            self.kind,
            self.labels,
            self.alpha_fields,
            whole=self,
        )

    @property
    def needs_record(self):
        """Whether kernels need to know more than that all pairs interact, with linear weights of
        all features or of none."""
        alike = self.has_linear.all() or not self.fit_linear
        all_interact = self.partners.size == 1 and bool(self.partners.all())
        return not (self.kind == "plain" and self.are_pairs and all_interact and alike)

    def record(self, features=slice(None), total_weight=np.inf):
        """The kernels' named tuple for these features, in this order.

        None if they need none. ``total_weight`` is that of the rows among which the penalty of
        parameters of pairs of fields is shared.
        """
        if not self.needs_record:
            return None
        interaction_group, has_linear = self.interaction_group[features], self.has_linear[features]
        if self.are_pairs:
            return structs.Interactions(
                self.n_layers,
                interaction_group,
                self.partners,
                np.zeros(len(self.partners) + 1, np.int64),
                has_linear,
                self._kind_for_kernels(total_weight),
            )
        degrees = np.arange(2, self.degrees.max() + 2)
        begin = np.searchsorted(self.degrees, degrees)
        no_partners = np.zeros((0, 0), bool)
        return structs.Interactions(
            self.n_layers, interaction_group, no_partners, begin, has_linear
        )

    def _kind_for_kernels(self, total_weight):
        if self.kind == "plain":
            return structs.Plain()
        if self.kind == "aware":
            return structs.FieldAware(self.n_components_per_field)
        make = structs.FieldWeighted if self.kind == "weighted" else structs.FieldMatrixed
        return make(self.n_components, self.pair_penalty(total_weight) / total_weight)

    @property
    def n_vectors(self):
        """The number of vectors of factors that a feature has."""
        return len(self.partners) if self.kind == "aware" else 1

    @property
    def n_components_per_field(self):
        """The number of components of the vector that a feature has for one partner field."""
        return self.n_components // self.n_vectors

    @property
    def expected_square(self):
        """The prior expectation of the square of what multiplies the products of pairs."""
        return 1 + 1 / self.pair_penalty(1.0) if self.kind == "weighted" else 1.0

    @property
    def has_field_pairs(self):
        """Whether pairs of fields have parameters of their own."""
        return self.kind in ("weighted", "matrixed")

    def first_field_pairs(self, n_outputs):
        """The parameters of pairs of fields that make the model the plain one."""
        n_fields, n = len(self.partners), self.n_components
        n_pairs = n_fields * (n_fields - 1) // 2
        if self.kind == "weighted":
            return np.ones((n_outputs, n_pairs, 1))
        if self.kind == "matrixed":
            return np.tile(np.eye(n).ravel(), (n_outputs, n_pairs, 1))
        return np.zeros((n_outputs, 0, 0))

    def pair_penalty(self, total_weight):
        """The L2 penalty of the parameters of pairs of fields, for rows of that total weight."""
        return 1.0 if self.alpha_fields is None else self.alpha_fields * total_weight

    def penalty(self, field_pairs, total_weight):
        """The penalty term of the parameters of pairs of fields, by their distance from the plain
        model."""
        if not self.has_field_pairs:
            return 0.0
        distance = field_pairs - self.first_field_pairs(len(field_pairs))
        squares = float(np.square(distance, dtype=np.float64).sum())
        return self.pair_penalty(total_weight) / 2 * squares

    def components_of_pairs(self):
        """The components of degree 2: each row has those that form one, a single one unless each
        field has a copy of its own."""
        components = np.flatnonzero(self.degrees == 2)
        n = self.n_components_per_field if self.kind == "aware" else components.size
        return components.reshape(-1, n).T if n else components[:, None]

    def layers(self, sums, field_pairs):
        """The layers of rows, from their sums by interaction group (n_rows, n_groups, n).

        ``field_pairs`` (n_pairs, n) are those of one output. With their squares, and with
        variances in place of the sums, this gives the variances of layers.
        """
        partners = self.partners.astype(sums.dtype)
        if self.kind == "plain":
            return np.einsum("de,nef->ndf", partners, sums)
        within = partners.diagonal()[:, None] * sums
        n_fields = len(partners)
        first, second = np.triu_indices(n_fields, 1)
        if self.kind == "weighted":
            weights = np.zeros((n_fields, n_fields), sums.dtype)
            weights[first, second] = weights[second, first] = field_pairs[:, 0]
            np.fill_diagonal(weights, 1)
            return np.einsum("de,nef->ndf", partners * weights, sums)
        if self.kind == "matrixed":
            n = self.n_components
            layers = within
            for c, d, matrix in zip(first, second, field_pairs.reshape(-1, n, n), strict=True):
                if partners[c, d]:
                    layers[:, c] += sums[:, d] @ matrix.T
                    layers[:, d] += sums[:, c] @ matrix
            return layers
        by_partner = sums.reshape(len(sums), n_fields, n_fields, -1)
        masked = np.swapaxes(by_partner, 1, 2) * partners[:, :, None]
        return masked.reshape(sums.shape)

    def self_interactions(self, features):
        """1 for the factors (n_features, 1 or n_components) that features of a field share with
        each other, so that a layer contains a feature's own contribution; else 0."""
        field = self.interaction_group[features]
        is_partner = self.partners.diagonal()[field].astype(np.float64)[:, None]
        if self.kind != "aware":
            return is_partner
        of_component = np.arange(self.n_components) // max(self.n_components_per_field, 1)
        return is_partner * (field[:, None] == of_component)

    @property
    def n_layers(self):
        return len(self.partners) if self.are_pairs else int(self.degrees.max()) - 1

    def linear_shift(self, features, center, factors, field_pairs=NO_PAIRS):
        """The change of linear weights by adding ``center`` to the features of a model of pairs.

        For each output and feature j, it is the sum of ``<v_j, v_k> center_k`` over the partners
        k.
        """
        group = self.interaction_group[features]
        sums = np.zeros((factors.shape[0], len(self.partners), factors.shape[2]))
        np.add.at(sums, (slice(None), group), center[:, None] * factors)
        pairs = np.broadcast_to(field_pairs, (len(factors), *field_pairs.shape[1:]))
        layers = np.concatenate(
            [self.layers(s[None], of_output) for s, of_output in zip(sums, pairs, strict=True)]
        )
        with_self = self.self_interactions(features) * factors
        self_terms = np.einsum("cjf,cjf->cj", factors, with_self) * center
        return np.einsum("cjf,cjf->cj", factors, layers[:, group]) - self_terms

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


@dataclass
class InteractionsOfSome(Interactions):
    """Those of some features, computed by the same kernels as those of the ``whole``."""

    whole: Interactions | None = None

    @property
    def fit_linear(self):
        return self.whole.fit_linear

    @property
    def may_center(self):
        return self.whole.may_center

    @property
    def needs_record(self):
        return self.whole.needs_record


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

    ``parameters`` are `Parameters`, ``interactions`` the kernels' record.
    """
    rows, parameters = tuple(map(read_only, rows)), tuple(map(read_only, parameters))
    if interactions is None:
        predict(*rows, *parameters[:3], start, stop, output)
    elif isinstance(interactions.kind, structs.Plain):
        predict_general(*rows, parameters[:3], interactions, start, stop, output)
    else:
        predict_fields(*rows, parameters, interactions, start, stop, output)
