"""Raw outputs of factorization machines as nodes of an ONNX graph.

onnxruntime multiplies dense matrices only, so rows are dense. With ``s_f = sum_j x_j v_jf``, all
pairs sum up to ``1/2 sum_f (s_f^2 - sum_j (x_j v_jf)^2)``. If there are interaction groups, each
has such sums of its own, which are multiplied with those of its partners; _field_products.py does
that for models with parameters of pairs of fields.

The products of d features are elementary symmetric polynomials. Newton's identities compute them
from power sums: with ``p_i = (-1)^(i-1) sum_j (x_j v_jf)^i`` and ``e_0 = 1``, they are
``e_d = 1/d sum_{i<=d} e_{d-i} p_i``.
"""

import numpy as np

from skfm.onnx._field_products import twice_field_products


def raw_output(graph, X, parameters, interactions):
    """The name of the raw outputs, of shape (n_rows, n_outputs)."""
    intercept, linear, factors, field_pairs = parameters
    terms = [graph("Add", graph("MatMul", X, linear.T), intercept)]
    if factors.shape[2] and interactions.are_pairs and interactions.partners.any():
        terms.append(_pairs(graph, X, factors, field_pairs, interactions))
    elif factors.shape[2] and not interactions.are_pairs:
        terms.append(_higher_degrees(graph, X, factors, interactions.degrees))
    return graph.sum(terms)


def _pairs(graph, X, factors, field_pairs, interactions):
    """The sum of the products of all pairs of features whose interaction groups are partners."""
    if interactions.kind == "plain":
        twice = _twice_group_products(graph, X, factors, interactions)
    else:
        twice = twice_field_products(graph, X, factors, field_pairs, interactions)
    with_itself = interactions.self_interactions(slice(None))
    if with_itself.any():
        squares = (np.square(factors, dtype=np.float64) * with_itself).sum(axis=2)
        twice = graph("Sub", twice, graph("MatMul", graph("Mul", X, X), squares.T))
    return graph("Mul", twice, np.array(0.5))


def _twice_group_products(graph, X, factors, interactions):
    group, partners = interactions.interaction_group, interactions.partners
    n_outputs, _, n_components = factors.shape
    sums = {}
    for c in np.flatnonzero(partners.any(axis=1)):
        columns = np.flatnonzero(group == c)
        x = graph.columns(X, columns, group.size)
        sums[c] = graph("MatMul", x, as_table(factors[:, columns]))
    products = [
        graph("Mul", sums[c], graph.sum([sums[d] for d in np.flatnonzero(partners[c])]))
        for c in sums
    ]
    return graph.sum_components(graph.sum(products), n_outputs, n_components)


def _higher_degrees(graph, X, factors, degrees):
    """The sum of the products of as many features as the degree of each component.

    It is computed in float64, because the power sums nearly cancel out.
    """
    exact = graph.in_float64()
    x = graph.cast(X, np.float64)
    minus_x = exact("Neg", x)
    powers = [x]  # x, -x^2, x^3, ...
    for _ in range(2, degrees.max() + 1):
        powers.append(exact("Mul", powers[-1], minus_x))
    terms = []
    for degree in np.unique(degrees):
        own = factors[:, :, degrees == degree]
        v = graph.cast(as_table(own), np.float64)  # stored in the dtype of the graph
        terms.append(_products(exact, powers[:degree], v, own))
    return graph.cast(exact.sum(terms), graph.dtype)


def _products(graph, powers, v, factors):
    """The sum over the components of the products of as many features as there are powers."""
    n_outputs, _, n_components = factors.shape
    degree, power = len(powers), v
    power_sums, elementary = [], []
    for d in range(1, degree):
        power_sums.append(graph("MatMul", powers[d - 1], power))
        power = graph("Mul", power, v)
        terms = _convolve(graph, elementary, power_sums) + power_sums[-1:]
        elementary.append(graph("Mul", graph.sum(terms), np.array(1 / d)))
    products = graph.sum(_convolve(graph, elementary, power_sums))
    # The last power sum is multiplied with nothing: a vector is enough.
    last = np.power(factors, degree, dtype=np.float64).sum(axis=2)
    total = graph.sum(
        [
            graph.sum_components(products, n_outputs, n_components),
            graph("MatMul", powers[-1], last.T),
        ]
    )
    return graph("Mul", total, np.array(1 / degree))


def _convolve(graph, elementary, power_sums):
    """``e_{d-i} p_i`` for i below d, where ``e_{d-1}`` is the last that is known."""
    return [graph("Mul", e, p) for e, p in zip(reversed(elementary), power_sums, strict=False)]


def as_table(factors):
    """Factors as a matrix of shape (n_features, n_outputs * n_components)."""
    return np.swapaxes(factors, 0, 1).reshape(factors.shape[1], -1)
