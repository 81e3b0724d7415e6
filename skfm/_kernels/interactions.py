"""Which products of features a model has, and what is kept of each row to compute them.

For each row, layers are kept: sums of its features' vectors ``p = x v``, or of products of them.

*Pairs.* Features are in interaction groups, and a table says which groups interact. Layer c is the
sum of ``p`` over the features with which group c interacts. A single group that interacts with
itself is the model with all pairs, which has faster kernels; its layer is the sum over all
features.

*Higher degrees.* Each component has a degree d: of its products of d features, the sum over all
sets of d. Layer t, counted from 0, is that sum for sets of t + 1, of the components of degrees
above t + 1, which come after those of lower ones (Blondel et al. 2016).

A row's output is linear in ``p`` of each feature, with what `derive` finds as slope.
"""

import numpy as np

from skfm._kernels._jit import jit, jit_inner


@jit_inner
def enter(interactions, j, p, layers):
    """Add feature ``j`` to a row; returns its products with the features entered before."""
    partners, begin = interactions.partners, interactions.begin
    n_layers, width = layers.shape
    total = layers.dtype.type(0)
    if partners.size > 0:
        c = interactions.interaction_group[j]
        for f in range(width):
            total += p[f] * layers[c, f]
        for d in range(n_layers):
            if partners[c, d]:
                for f in range(width):
                    layers[d, f] += p[f]
        return total
    for t in range(n_layers):
        for f in range(begin[t], begin[t + 1]):
            total += p[f] * layers[t, f]
    for t in range(n_layers - 1, 0, -1):
        for f in range(begin[t], width):
            layers[t, f] += p[f] * layers[t - 1, f]
    for f in range(width):
        layers[0, f] += p[f]
    return total


@jit_inner
def join(partners, layers, sums):
    """Turn a row's sums by interaction group into its layers.

    Returns twice the sum of all products, including those of features with themselves. ``sums`` is
    scratch space for a copy.
    """
    n_layers, width = layers.shape
    for c in range(n_layers):
        for f in range(width):
            sums[c, f] = layers[c, f]
    total = layers.dtype.type(0)
    for c in range(n_layers):
        layers[c] = 0
        for d in range(n_layers):
            if partners[c, d]:
                for f in range(width):
                    layers[c, f] += sums[d, f]
        for f in range(width):
            total += sums[c, f] * layers[c, f]
    return total


@jit_inner
def derive(interactions, j, p, unit, layers, first, last, slope):
    """Write derivatives of a row's output by ``p[first:last]`` into ``slope[first:last]``.

    If the layers have been multiplied by a number, ``unit`` is that number, else 1.
    """
    partners, begin = interactions.partners, interactions.begin
    if partners.size > 0:
        c = interactions.interaction_group[j]
        own = unit if partners[c, c] else unit * 0
        for f in range(first, last):
            slope[f] = layers[c, f] - own * p[f]
        return
    for f in range(first, last):
        slope[f] = unit
    for t in range(layers.shape[0]):
        for f in range(max(first, begin[t]), last):
            slope[f] = layers[t, f] - p[f] * slope[f]


@jit_inner
def move_layers(interactions, j, p, step, layers, first, last, slope):
    """Bring a row's layers up to date when ``p[first:last]`` moves by ``step[first:last]``.

    ``p`` are the values before; ``slope`` is scratch space.
    """
    partners, begin = interactions.partners, interactions.begin
    if partners.size > 0:
        c = interactions.interaction_group[j]
        for d in range(layers.shape[0]):
            if partners[c, d]:
                for f in range(first, last):
                    layers[d, f] += step[f]
        return
    for f in range(first, last):
        slope[f] = 1
    for t in range(layers.shape[0]):
        for f in range(max(first, begin[t]), last):
            without = layers[t, f] - p[f] * slope[f]
            layers[t, f] += step[f] * slope[f]
            slope[f] = without


@jit(allocates=True)
def predict_general(indptr, indices, data, parameters, interactions, start, stop, output):
    """Write the raw outputs of rows ``start:stop``, as `predict.predict` does for all pairs."""
    intercept, linear, factors = parameters
    n_outputs, _, width = factors.shape
    layers = np.empty((interactions.n_layers, width), factors.dtype)
    p = np.empty(width, factors.dtype)
    for c in range(n_outputs):
        for r in range(start, stop):
            layers[:] = 0
            z = factors.dtype.type(intercept[c])
            for e in range(np.uintp(indptr[r]), np.uintp(indptr[r + 1])):
                j = np.uintp(indices[e])
                x = data[e]
                for f in range(width):
                    p[f] = x * factors[c, j, f]
                z += x * linear[c, j] + enter(interactions, j, p, layers)
            output[r, c] = z
