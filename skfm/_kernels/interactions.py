"""Which interactions of features a model has, and the sums of a row that they are computed from.

A feature with value x and factors v enters a row as the vector ``p = x v``. Each row has layers,
which are sums of these vectors or of their elementwise products.

*Pairs.* Each feature belongs to an interaction group, and the table ``partners`` says which groups
interact. Layer c is the sum of ``p`` over the features of all groups that interact with group c.
If all pairs interact, there is one group, whose layer is the sum over all features; faster kernels
exist for this case. Where groups are fields whose pairs have parameters of their own, layers are
those of field_interactions.py.

*Higher degrees.* A component of degree d contributes the sum of the products of all sets of d
features, the elementary symmetric polynomial of degree d (or ANOVA kernel: Blondel, Fujino, Ueda,
Ishihata 2016). Layer t, counted from 0, holds the elementary symmetric polynomials of degree
t + 1. Only components of a degree above t + 1 need it: the last ones, since they are sorted
by degree.

The output is linear in each feature's ``p``, the other features being fixed.
`differentiate_output` computes its gradient.
"""

import numpy as np

from skfm._kernels._jit import jit, jit_inner


@jit_inner
def add_feature(interactions, j, p, layers):
    """Add feature ``j`` to a row; returns its interactions with the features added before."""
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
def differentiate_output(interactions, j, p, unit, layers, first, last, slope):
    """Write the gradient of a row's output by ``p[first:last]`` into ``slope[first:last]``.

    ``unit`` is 1, or the number by which the layers have been multiplied: the gradient is then
    multiplied by the same number.
    """
    partners, begin = interactions.partners, interactions.begin
    if partners.size > 0:
        c = interactions.interaction_group[j]
        self_term = unit if partners[c, c] else unit * 0
        for f in range(first, last):
            slope[f] = layers[c, f] - self_term * p[f]
        return
    for f in range(first, last):
        slope[f] = unit
    for t in range(layers.shape[0]):
        for f in range(max(first, begin[t]), last):
            slope[f] = layers[t, f] - p[f] * slope[f]


@jit_inner
def update_layers(interactions, j, p, step, layers, first, last, slope):
    """Update a row's layers for a change of ``p[first:last]`` by ``step[first:last]``.

    ``p`` holds the values before the change; ``slope`` is scratch space.
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
                z += x * linear[c, j] + add_feature(interactions, j, p, layers)
            output[r, c] = z
