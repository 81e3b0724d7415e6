"""What the items' given features explain of their parameters.

An item's parameters are the sum of its own, those of its one-hot features, and of what its other
features bring. How it is divided makes no difference to items that have been chosen, but all to
new ones. Were both trained by events, a feature's vector would follow the few items that most
events are of, and a useless feature would learn what chance suggests. So events train the items'
own parameters alone. After each epoch those of the features are estimated by a regression of the
items' sums, in which each item counts once and each feature is shrunk by what it is worth (see
shrinkage.py), and the items' own parameters are what that leaves. The sums stay.
"""

import numpy as np
from scipy import sparse

from skfm._kernels.item_regression import regress, regress_doubting
from skfm._kernels.principal_axes import add_products, find_root, multiply
from skfm._solvers.ranking.adaptive_shrinkage import share_kept

N_SWEEPS = 2  # for linear weights, after each epoch; they go on where the last ones ended


class Explained:
    """The explained features of items: those in a class with one-hot ones, if both have linear
    weights.

    ``items`` is the problem of the items, ``n_own`` how many one-hot features each has: the first
    entries of its row.
    """

    def __init__(self, items, n_contexts, n_own, interactions):
        self.interactions = interactions
        self.features = n_contexts + items.used
        place = items.position[items.indices]
        value = (items.data - items.center[place].astype(np.float64)) / items.scale[place]
        shape = items.indptr.size - 1, items.n_used
        self.rows = sparse.csr_matrix((value, place, items.indptr), shape)
        own_class = interactions.feature_class[self.features]
        has_linear = interactions.has_linear[self.features]
        own = place[items.indptr[:-1, None] + np.arange(n_own)].T
        is_own = np.zeros(items.n_used, bool)
        is_own[own] = True
        self.mask = np.zeros(items.n_used, bool)
        self.groups = []
        for places in own:
            alike = own_class == own_class[places[0]]
            columns = np.flatnonzero(alike & has_linear & ~is_own & ~self.mask)
            if has_linear[places[0]] and columns.size:
                self.mask[columns] = True
                self.groups.append(_Group(self.rows, places, columns))
        self.given, self.trained = _only(self.rows, self.mask), _only(self.rows, ~self.mask)
        self.without_own = _only(self.rows, ~is_own)

    def bring(self, linear, factors):
        """Outputs and layers of the explained features alone, for each item."""
        output, _, layers = self.interactions.parts(self.given, self.features, linear, factors)
        return output, layers

    def estimate(self, linear, factors):
        """Divide items' parameters anew; changes both arrays, of all items' features."""
        before = self._outputs(self.rows, linear, factors)
        for group in self.groups:
            group.divide(factors)
        # What features say of a new item's output includes their products.
        left = before - self._outputs(self.without_own, linear, factors)
        for group in self.groups:
            group.fit_linear(linear, left)
        linear[self.groups[0].own] += before - self._outputs(self.rows, linear, factors)

    def _outputs(self, rows, linear, factors):
        return self.interactions.parts(rows, self.features, linear, factors)[0]


def _only(rows, chosen):
    kept = (rows @ sparse.diags(chosen.astype(np.float64))).tocsr()
    kept.eliminate_zeros()
    return kept


class _Group:
    """One-hot features ``own`` of the items, and those of others that explain them."""

    def __init__(self, rows, own, columns):
        self.own, self.columns = own, columns
        self.values = rows[:, columns].tocsc()
        squares = self.values.multiply(self.values)
        self.size = np.asarray(squares.sum(axis=0)).ravel()
        fourth = np.asarray(squares.multiply(squares).sum(axis=0)).ravel()
        # What a single item has may be all its own.
        self.tells = self.size**2 > (1 + 1e-9) * fourth
        self.kept, self.linear_kept = np.zeros(columns.size), np.zeros(columns.size)

    def divide(self, factors):
        """The items' own factors become what those of features leave, of the same sums.

        In coordinates in which all have variance 1 and none says what another one does: else
        popular items would look alike in each of them, for they share much.
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
        """Linear weights of features; changes ``left``, what others leave of items' outputs."""
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
    """Matrices to coordinates of (about) variance 1 without correlation, and back.

    A covariance of few rows is drawn towards one without correlation.
    """
    scale = np.sqrt(np.square(rows).mean(axis=0))
    scale[scale == 0] = 1
    n_rows, n = rows.shape
    products, root, inverse = np.zeros((3, n, n))
    add_products(0, n_rows, rows / scale, products)
    find_root(products / n_rows + np.eye(n) * (n / n_rows), root, inverse)
    return inverse.T / scale[:, None], root.T * scale
