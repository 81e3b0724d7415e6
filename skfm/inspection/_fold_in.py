"""Scores of matrix factorization as sums over what a user has rated or chosen.

The vector of a user minimizes a ridge regression on the vectors of the user's items, so it is
linear in what the user has said of each: ``p_u = A^-1 sum_j c_j t_j q_j``, with ``A`` of the
regression's normal equations. A score ``<p_u, q_i>`` then is a sum of ``c_j t_j q_i' A^-1 q_j``.
"""

import numpy as np

from skfm._recommenders.mf_units import standardise
from skfm._recommenders.vectors import with_empty_row
from skfm._solvers.mf.problem import USER
from skfm._utils.sparse_entries import n_entries_by_row
from skfm.inspection._collect import Collector, Terms, refuse_too_many

BIAS = "item bias"  # the name of this feature


def collect(model, rows, pairs, max_terms):
    """The terms of pairs of a row of X and an item, whose features are the columns of X.

    One more feature, the last, is the item itself, with its bias.
    """
    row, item, rows = pairs.row, pairs.item, with_empty_row(rows)
    has_bias = model._model.has_bias
    n_terms = n_entries_by_row(rows)[row] + float(has_bias)
    refuse_too_many(n_terms, 1, max_terms)
    users, user = np.unique(row, return_inverse=True)
    values = standardise(rows[users], model.mean_, model.scale_)
    values = values.astype(np.float64)
    regression = _Regression(model, n_entries_by_row(values))
    order = np.argsort(user, kind="stable")
    first = np.searchsorted(user[order], np.arange(users.size + 1))
    collector = Collector(row.size, 1, max_terms)
    for number in range(users.size):
        own = order[first[number] : first[number + 1]]
        entries = slice(values.indptr[number], values.indptr[number + 1])
        columns = values.indices[entries]
        shares = regression.shares(number, columns, values.data[entries], item[own])
        blocks = [_block(own, columns, shares * model.scale_)]
        if has_bias:
            bias = regression.bias(item[own]) * model.scale_
            blocks.insert(0, _block(own, np.array([rows.shape[1]]), bias[None]))
        collector.take(blocks)
    return collector


def _block(samples, features, contribution):
    """Terms of each feature and each sample, ``contribution`` being (n_features, n_samples)."""
    sample, feature = np.meshgrid(samples, features, indexing="ij")
    return Terms(sample.ravel(), feature.reshape(-1, 1), contribution.T.reshape(-1, 1))


class _Regression:
    """The regressions that find users' vectors, in the solver's units and in float64."""

    def __init__(self, model, n_entries):
        problem, table = model._model, model._item_table.table
        self._table = table.astype(np.float64)
        self._is_implicit = problem.is_implicit
        self._ridge = problem.ridge(USER, model._squares, table.dtype)
        self._strength = problem.strength(n_entries, model.n_features_in_)
        self._free = self._ridge.free > 0
        # What users' vectors are before the fit: a coordinate that is held meets items' biases.
        self._held = problem.table(1, USER, table.dtype)[0]

    def bias(self, items):
        return self._table[items] @ self._held

    def shares(self, user, columns, values, items):
        """What each entry of a user contributes to the scores of some items."""
        design = self._table[columns][:, self._free]
        weight, target = np.ones_like(values), values
        if self._is_implicit:
            weight, target = values, np.ones_like(values)
        penalty = self._ridge.fixed + self._strength[user] * self._ridge.scaled
        normal = (design.T * weight) @ design + np.diag(penalty[self._free])
        solved = np.linalg.solve(normal, self._table[items][:, self._free].T)
        return (weight * (target - self.bias(columns)))[:, None] * (design @ solved)
