"""Regression of the items' parameters on their given features.

An item's parameters are the sum of those of its one-hot features and of its given features. For
items that have been chosen, only the sum matters; for cold-start items, only the given features
do. If events trained both, a feature's vector would follow the few items with the most events, and
a useless feature would learn noise. So events train the one-hot features alone. After each epoch,
the items' sums are regressed on the given features: each item counts once, and the slopes of each
feature are shrunk (see adaptive_shrinkage.py). The residuals become the parameters of the one-hot
features, so the sums do not change.
"""

import numpy as np
from scipy import sparse

from skfm._kernels.item_regression import regress, regress_marginal_likelihood
from skfm._kernels.principal_axes import add_products, cholesky, multiply
from skfm._solvers.ranking.adaptive_shrinkage import shrinkage_factors

N_SWEEPS = 2  # over the linear weights after each epoch, starting from those of the last epoch


class ItemRegression:
    """Regresses items' parameters on their given features.

    The regression uses the given features that belong to the interaction group of one-hot
    features, if both have linear weights; ``mask`` marks them among the items' features.

    ``items`` is the problem of the items, and ``n_one_hot`` the number of one-hot features of each
    item, which are the first entries of its row.
    """

    def __init__(self, items, n_contexts, n_one_hot, interactions):
        self.interactions = interactions
        self.features = n_contexts + items.used
        place = items.position[items.indices]
        value = (items.data - items.center[place].astype(np.float64)) / items.scale[place]
        shape = items.indptr.size - 1, items.n_used
        self.rows = sparse.csr_matrix((value, place, items.indptr), shape)
        interaction_group = interactions.interaction_group[self.features]
        has_linear = interactions.has_linear[self.features]
        one_hot = place[items.indptr[:-1, None] + np.arange(n_one_hot)].T
        is_one_hot = np.zeros(items.n_used, bool)
        is_one_hot[one_hot] = True
        self.mask = np.zeros(items.n_used, bool)
        self.groups = []
        for places in one_hot:
            alike = interaction_group == interaction_group[places[0]]
            columns = np.flatnonzero(alike & has_linear & ~is_one_hot & ~self.mask)
            if has_linear[places[0]] and columns.size:
                self.mask[columns] = True
                self.groups.append(_Group(self.rows, places, columns))
        self.given, self.trained = _only(self.rows, self.mask), _only(self.rows, ~self.mask)
        self.without_one_hot = _only(self.rows, ~is_one_hot)

    def snapshot(self):
        """What estimates start from."""
        return [(group.shrinkage, group.linear_shrinkage) for group in self.groups]

    def restore(self, snapshot):
        for group, (shrinkage, linear_shrinkage) in zip(self.groups, snapshot, strict=True):
            group.shrinkage = shrinkage.copy()
            group.linear_shrinkage = linear_shrinkage.copy()

    def contributions(self, linear, factors):
        """Outputs and layers of the regressed features alone, for each item."""
        parts = self.interactions.parts(self.given, self.features, linear, factors)
        return parts.output, parts.layers

    def estimate(self, linear, factors):
        """Fit the regression, and update both arrays: the parameters of the items' features."""
        before = self._outputs(self.rows, linear, factors)
        for group in self.groups:
            group.fit_factors(factors)
        # The features of a cold-start item also contribute their interactions to its output.
        residual = before - self._outputs(self.without_one_hot, linear, factors)
        for group in self.groups:
            group.fit_linear(linear, residual)
        linear[self.groups[0].one_hot] += before - self._outputs(self.rows, linear, factors)

    def _outputs(self, rows, linear, factors):
        return self.interactions.parts(rows, self.features, linear, factors).output


def _only(rows, chosen):
    """The rows with the entries of the chosen columns alone."""
    masked = (rows @ sparse.diags(chosen.astype(np.float64))).tocsr()
    masked.eliminate_zeros()
    return masked


class _Group:
    """The items' one-hot features of one kind, and the features they are regressed on."""

    def __init__(self, rows, one_hot, columns):
        self.one_hot, self.columns = one_hot, columns
        self.values = rows[:, columns].tocsc()
        squares = self.values.multiply(self.values)
        self.size = np.asarray(squares.sum(axis=0)).ravel()
        fourth = np.asarray(squares.multiply(squares).sum(axis=0)).ravel()
        # A feature of a single item cannot be distinguished from the item itself.
        self.is_informative = self.size**2 > (1 + 1e-9) * fourth
        self.shrinkage, self.linear_shrinkage = np.zeros(columns.size), np.zeros(columns.size)

    def fit_factors(self, factors):
        """Replace the factors of one-hot features by the residuals of a regression on features.

        The factors are whitened first: popular items have much in common, and would be similar in
        every coordinate otherwise.
        """
        n_rows, n_outputs = len(self.one_hot), factors.shape[1]
        if n_outputs == 0:
            return
        whiten, unwhiten = _whiten(factors[self.one_hot])
        residual, slopes = (_product(factors[of], whiten) for of in (self.one_hot, self.columns))
        variance = np.square(residual).sum() / n_outputs / max(n_rows - self.shrinkage.sum(), 1.0)
        found = slopes + self.values.T @ residual / self.size[:, None]
        square = np.square(found).mean(axis=1)
        self.shrinkage = shrinkage_factors(
            square, variance / self.size, self.is_informative, n_outputs
        )
        regress(*self._csc(), self.size, self.shrinkage, residual, slopes)
        factors[self.one_hot], factors[self.columns] = (
            _product(residual, unwhiten),
            _product(slopes, unwhiten),
        )

    def fit_linear(self, linear, residual):
        """Fit the linear weights of features; the items' outputs become their residuals."""
        slopes = linear[self.columns, None]
        regress_marginal_likelihood(
            *self._csc(), residual[:, None], slopes, self.linear_shrinkage, N_SWEEPS
        )
        linear[self.columns] = slopes[:, 0]

    def _csc(self):
        return self.values.indptr, self.values.indices, self.values.data


def _product(rows, matrix):
    result = np.empty((len(rows), matrix.shape[1]))
    multiply(rows, matrix, result)
    return result


def _whiten(rows):
    """The matrix that whitens some rows, and its inverse.

    The covariance is shrunk toward a diagonal one, and the more so the fewer rows there are.
    """
    scale = np.sqrt(np.square(rows).mean(axis=0))
    scale[scale == 0] = 1
    n_rows, n = rows.shape
    products, lower, inverse = np.zeros((3, n, n))
    add_products(0, n_rows, rows / scale, products)
    cholesky(products / n_rows + np.eye(n) * (n / n_rows), lower, inverse)
    return inverse.T / scale[:, None], lower.T * scale
