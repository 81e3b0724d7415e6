"""Regression of the items' parameters on their given features.

An item's parameters are the sum of those of its one-hot features and of its given features. For
items that have been chosen, only the sum matters; for new ones, only the given features do. If
events trained both, a feature's vector would follow the few items with most of the events, and a
useless feature would learn noise. So events train the one-hot features alone. After each epoch,
the items' sums are regressed on the given features. Each item counts once, and each feature is
shrunk (see adaptive_shrinkage.py). The items' one-hot features keep the residuals, so that the
sums do not change.
"""

import numpy as np
from scipy import sparse

from skfm._kernels.item_regression import regress, regress_doubting
from skfm._kernels.principal_axes import add_products, find_root, multiply
from skfm._solvers.ranking.adaptive_shrinkage import share_kept

N_SWEEPS = 2  # for linear weights, after each epoch; they start from those of the last epoch


class ItemRegression:
    """Regresses items' parameters on their given features.

    On those that are in the same interaction group as one-hot features, if both have linear
    weights. ``mask`` says which of the items' features these are.

    ``items`` is the problem of the items, and ``n_own`` the number of one-hot features of each:
    the first entries of its row.
    """

    def __init__(self, items, n_contexts, n_own, interactions):
        self.interactions = interactions
        self.features = n_contexts + items.used
        place = items.position[items.indices]
        value = (items.data - items.center[place].astype(np.float64)) / items.scale[place]
        shape = items.indptr.size - 1, items.n_used
        self.rows = sparse.csr_matrix((value, place, items.indptr), shape)
        own_group = interactions.interaction_group[self.features]
        has_linear = interactions.has_linear[self.features]
        own = place[items.indptr[:-1, None] + np.arange(n_own)].T
        is_own = np.zeros(items.n_used, bool)
        is_own[own] = True
        self.mask = np.zeros(items.n_used, bool)
        self.groups = []
        for places in own:
            alike = own_group == own_group[places[0]]
            columns = np.flatnonzero(alike & has_linear & ~is_own & ~self.mask)
            if has_linear[places[0]] and columns.size:
                self.mask[columns] = True
                self.groups.append(_Group(self.rows, places, columns))
        self.given, self.trained = _only(self.rows, self.mask), _only(self.rows, ~self.mask)
        self.without_own = _only(self.rows, ~is_own)

    def contributions(self, linear, factors):
        """Outputs and layers of the regressed features alone, for each item."""
        parts = self.interactions.parts(self.given, self.features, linear, factors)
        return parts.output, parts.layers

    def estimate(self, linear, factors):
        """Fit the regression; changes both arrays, which are of all items' features."""
        before = self._outputs(self.rows, linear, factors)
        for group in self.groups:
            group.divide(factors)
        # The features' contribution to a new item's output includes their products.
        left = before - self._outputs(self.without_own, linear, factors)
        for group in self.groups:
            group.fit_linear(linear, left)
        linear[self.groups[0].own] += before - self._outputs(self.rows, linear, factors)

    def _outputs(self, rows, linear, factors):
        return self.interactions.parts(rows, self.features, linear, factors).output


def _only(rows, chosen):
    kept = (rows @ sparse.diags(chosen.astype(np.float64))).tocsr()
    kept.eliminate_zeros()
    return kept


class _Group:
    """One-hot features ``own`` of the items, and the features they are regressed on."""

    def __init__(self, rows, own, columns):
        self.own, self.columns = own, columns
        self.values = rows[:, columns].tocsc()
        squares = self.values.multiply(self.values)
        self.size = np.asarray(squares.sum(axis=0)).ravel()
        fourth = np.asarray(squares.multiply(squares).sum(axis=0)).ravel()
        # The feature of a single item cannot be told from the item itself.
        self.tells = self.size**2 > (1 + 1e-9) * fourth
        self.kept, self.linear_kept = np.zeros(columns.size), np.zeros(columns.size)

    def divide(self, factors):
        """The items' own factors become the residuals of a regression on features.

        In coordinates that are uncorrelated and have variance 1: otherwise popular items, which
        have much in common, would look alike in each coordinate.
        """
        n_rows, n_outputs = len(self.own), factors.shape[1]
        if n_outputs == 0:
            return
        there, back = _whiten(factors[self.own])
        residual, slopes = (_product(factors[of], there) for of in (self.own, self.columns))
        variance = np.square(residual).sum() / n_outputs / max(n_rows - self.kept.sum(), 1.0)
        found = slopes + self.values.T @ residual / self.size[:, None]
        square = np.square(found).mean(axis=1)
        self.kept = share_kept(square, variance / self.size, self.tells, n_outputs)
        regress(*self._csc(), self.size, self.kept, residual, slopes)
        factors[self.own], factors[self.columns] = _product(residual, back), _product(slopes, back)

    def fit_linear(self, linear, left):
        """Fit linear weights of features; ``left`` becomes the residuals of the items' outputs."""
        slopes = linear[self.columns, None]
        regress_doubting(*self._csc(), left[:, None], slopes, self.linear_kept, N_SWEEPS)
        linear[self.columns] = slopes[:, 0]

    def _csc(self):
        return self.values.indptr, self.values.indices, self.values.data


def _product(rows, matrix):
    result = np.empty((len(rows), matrix.shape[1]))
    multiply(rows, matrix, result)
    return result


def _whiten(rows):
    """Matrices to uncorrelated coordinates of variance 1 (approximately), and back.

    The covariance of few rows is shrunk towards one without correlations.
    """
    scale = np.sqrt(np.square(rows).mean(axis=0))
    scale[scale == 0] = 1
    n_rows, n = rows.shape
    products, root, inverse = np.zeros((3, n, n))
    add_products(0, n_rows, rows / scale, products)
    find_root(products / n_rows + np.eye(n) * (n / n_rows), root, inverse)
    return inverse.T / scale[:, None], root.T * scale
