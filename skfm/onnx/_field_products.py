"""Products of fields as nodes of an ONNX graph, for models with parameters of pairs of fields.

All fields are multiplied in a few nodes, whatever their number: rows are few in a request, so the
number of nodes is what takes time. See _kernels/field_interactions.py for the kinds.
"""

import numpy as np

from skfm._fm import field_parameters


def twice_field_products(graph, X, factors, field_pairs, interactions):
    """Sums (n_rows, n_outputs) of the products of all ordered pairs of fields that are partners,
    a field with itself included."""
    n_fields = len(interactions.partners)
    sums = graph("Concat", *_sums(graph, X, factors, interactions, n_fields), axis=1)
    if interactions.kind == "aware":
        return _aware(graph, sums, len(factors), interactions)
    return _with_matrices(graph, sums, factors, field_pairs, interactions)


def _sums(graph, X, factors, interactions, n_fields):
    """For each field the sums (n_rows, n_outputs * n_components) over its features."""
    for c in range(n_fields):
        columns = np.flatnonzero(interactions.interaction_group == c)
        x = graph.columns(X, columns, factors.shape[1])
        yield graph("MatMul", x, np.concatenate(list(factors[:, columns]), axis=1))


def _aware(graph, sums, n_outputs, interactions):
    """What field c has for field d, times what d has for c."""
    n_fields, partners = len(interactions.partners), interactions.partners
    # 0: as many rows as there are
    shape = np.array([0, n_fields, n_outputs, n_fields, interactions.n_components_per_field])
    by_fields = graph("Reshape", sums, shape)
    products = graph("Mul", by_fields, graph("Transpose", by_fields, perm=[0, 3, 2, 1, 4]))
    if not partners.all():
        products = graph("Mul", products, partners[:, None, :, None].astype(np.float64))
    return graph("ReduceSum", products, np.array([1, 3, 4]), keepdims=0)


def _with_matrices(graph, sums, factors, field_pairs, interactions):
    """The matrices of all pairs of fields are the blocks of one matrix for each output."""
    n_outputs, n_fields, n = len(factors), len(interactions.partners), factors.shape[2]
    blocks = field_parameters.between_fields(field_pairs, interactions)
    if interactions.kind == "weighted":
        blocks = blocks * np.eye(n)
    matrix = blocks.transpose(0, 1, 3, 2, 4).reshape(n_outputs, n_fields * n, -1)
    by_fields = graph("Reshape", sums, np.array([0, n_fields, n_outputs, n]))
    by_output = graph("Transpose", by_fields, perm=[2, 0, 1, 3])
    rows = graph("Reshape", by_output, np.array([n_outputs, -1, n_fields * n]))
    products = graph("Mul", rows, graph("MatMul", rows, matrix))
    totals = graph("ReduceSum", products, np.array([2]), keepdims=0)
    return graph("Transpose", totals, perm=[1, 0])
