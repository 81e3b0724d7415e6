"""What the items' given features explain of their parameters.

An item's parameters are the sum of its own, those of its one-hot features, and of what its other
features bring. How it is divided makes no difference to items that have been chosen, but all to
new ones. Were both trained by events, a feature's vector would follow the few items that most
events are of, and a useless feature would learn what chance suggests. So events train the items'
own parameters alone. After each epoch those of the features are estimated by a regression of the
items' sums, in which each item counts once and each feature is shrunk by what it is worth (see
kernels/regression.py), and the items' own parameters are what that leaves. The sums stay.
"""

import numpy as np
from scipy import sparse

from skfm._kernels.regression import regress

N_SWEEPS = 2  # after each epoch; they go on where the last ones ended


class Explained:
    """The explained features of items: those in a class with one-hot ones.

    ``items`` is the problem of the items, ``n_own`` how many one-hot features each has: the first
    entries of its row. They need linear weights, which take up what the new division does to
    the products of an item's features.
    """

    def __init__(self, items, n_contexts, n_own, interactions):
        self.interactions = interactions
        self.features = n_contexts + items.used
        place = items.position[items.indices]
        value = items.data.astype(np.float64) / items.scale[place]
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
            columns = np.flatnonzero(alike & ~is_own & ~self.mask)
            if has_linear[places[0]] and columns.size:
                self.mask[columns] = True
                self.groups.append(_Group(self.rows, places, columns, has_linear[columns]))
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

    def __init__(self, rows, own, columns, has_linear):
        self.own, self.columns, self.linear_columns = own, columns, columns[has_linear]
        self.values = rows[:, columns].tocsc()
        self.linear_values = rows[:, self.linear_columns].tocsc()
        self.kept, self.linear_kept = np.zeros(columns.size), np.zeros(int(has_linear.sum()))

    def divide(self, factors):
        """The items' own factors become what those of features leave, of the same sums."""
        left, slopes = factors[self.own], factors[self.columns]
        _improve(self.values, left, slopes, self.kept)
        factors[self.own], factors[self.columns] = left, slopes

    def fit_linear(self, linear, left):
        """Linear weights of features; changes ``left``, what others leave of items' outputs."""
        slopes = linear[self.linear_columns, None]
        _improve(self.linear_values, left[:, None], slopes, self.linear_kept)
        linear[self.linear_columns] = slopes[:, 0]


def _improve(values, left, slopes, kept):
    regress(values.indptr, values.indices, values.data, left, slopes, kept, N_SWEEPS)
