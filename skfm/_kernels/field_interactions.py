"""How the features of two fields interact, as the kinds of `structs.Interactions.kind`.

Each interaction group is a field here. Let ``S_c`` be the sum of ``p = x v`` over the features of
field c. A row's output contains the interactions of all pairs of fields that are partners, and
layer c of a row is the gradient of these by ``S_c``:

=============  ======================================  ========================================
kind           interactions of fields c < d            layer c
=============  ======================================  ========================================
Plain          ``<S_c, S_d>``                          sum of ``S_d``
FieldWeighted  ``r_cd <S_c, S_d>``                     sum of ``r_cd S_d``
FieldMatrixed  ``S_c' M_cd S_d``                       sum of ``M_cd S_d``
FieldAware     ``<S_c[d], S_d[c]>``                    ``S_d[c]`` in place of each ``S_c[d]``
=============  ======================================  ========================================

For the last kind, v consists of a vector for each partner field d, ``v[d]``, one after the other.
The sources are Pan et al. 2018 for field-weighted, Sun et al. 2021 for field-matrixed and Juan et
al. 2016 for field-aware factorization machines. In addition, two features of the same field c
interact as in the plain model, by the products of ``v`` or of ``v[c]``, if c is its own partner.

``r`` and ``M`` are parameters of pairs of fields. They are kept as ``pairs`` (n_pairs, n), in the
order of ``np.triu_indices(n_fields, 1)``. They start where the model is the plain one, at 1 and at
the identity matrix, and their penalty is the distance from there.
"""

import numpy as np

from skfm._kernels._jit import jit, jit_dispatch, jit_inner
from skfm._kernels.structs import FieldAware, FieldMatrixed, FieldWeighted, Plain
from skfm._kernels.update_rules import move_intercept


@jit_dispatch
def make_layers(kind, partners, pairs, layers, sums):
    """Replace a row's sums by interaction group by its layers, in place.

    Returns twice the sum of all interactions, those of features with themselves included.
    ``sums`` is space for a copy of the sums by interaction group.
    """
    raise NotImplementedError


@make_layers.register(Plain)
def _plain_layers(kind, partners, pairs, layers, sums):
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
def _within_fields(partners, layers, sums):
    """Copy ``layers`` to ``sums``, and keep what features of the same field add to a layer."""
    n_layers, width = layers.shape
    for c in range(n_layers):
        for f in range(width):
            sums[c, f] = layers[c, f]
        if not partners[c, c]:
            for f in range(width):
                layers[c, f] = 0


@jit_inner
def _products(sums, layers):
    """The sum of the products of sums and layers, which has each pair of fields twice."""
    total = layers.dtype.type(0)
    for c in range(layers.shape[0]):
        for f in range(layers.shape[1]):
            total += sums[c, f] * layers[c, f]
    return total


@make_layers.register(FieldWeighted)
def _weighted_layers(kind, partners, pairs, layers, sums):
    n_layers, width = np.uintp(layers.shape[0]), np.uintp(layers.shape[1])
    _within_fields(partners, layers, sums)
    p = np.uintp(0)
    for c in range(n_layers):
        for d in range(c + np.uintp(1), n_layers):
            if partners[c, d]:
                weight = pairs[p, 0]
                for f in range(width):
                    layers[c, f] += weight * sums[d, f]
                    layers[d, f] += weight * sums[c, f]
            p += np.uintp(1)
    return _products(sums, layers)


@make_layers.register(FieldMatrixed)
def _matrixed_layers(kind, partners, pairs, layers, sums):
    n_layers, n = np.uintp(layers.shape[0]), np.uintp(kind.n_components)
    _within_fields(partners, layers, sums)
    p = np.uintp(0)
    for c in range(n_layers):
        for d in range(c + np.uintp(1), n_layers):
            if partners[c, d]:
                for f in range(n):
                    value, product = sums[c, f], layers.dtype.type(0)
                    for g in range(n):
                        entry = pairs[p, f * n + g]
                        product += entry * sums[d, g]
                        layers[d, g] += entry * value
                    layers[c, f] += product
            p += np.uintp(1)
    return _products(sums, layers)


@make_layers.register(FieldAware)
def _aware_layers(kind, partners, pairs, layers, sums):
    n_layers, n = np.uintp(layers.shape[0]), np.uintp(kind.n_components)
    zero = layers.dtype.type(0)
    total = zero
    for c in range(n_layers):
        for f in range(c * n, c * n + n):
            value = layers[c, f] if partners[c, c] else zero
            layers[c, f] = value
            total += value * value
        for d in range(c + np.uintp(1), n_layers):
            is_partner, product = partners[c, d], zero
            for f in range(n):
                a, b = layers[c, d * n + f], layers[d, c * n + f]
                if not is_partner:
                    a, b = zero, zero
                layers[c, d * n + f], layers[d, c * n + f] = b, a
                product += a * b
            total += 2 * product
    return total


@jit_dispatch
def self_square(kind, partners, c, v, whole):
    """The product of a feature of field ``c`` with itself, given its factors and ``<v, v>``."""
    raise NotImplementedError


@self_square.register(Plain)
@self_square.register(FieldWeighted)
@self_square.register(FieldMatrixed)
def _whole_square(kind, partners, c, v, whole):
    return whole if partners[c, c] else whole * 0


@self_square.register(FieldAware)
def _own_square(kind, partners, c, v, whole):
    square = whole * 0
    if partners[c, c]:
        n = np.uintp(kind.n_components)
        for f in range(np.uintp(c) * n, np.uintp(c) * n + n):
            square += v[f] * v[f]
    return square


@jit_dispatch
def subtract_self(kind, partners, c, curve, v, slopes):
    """Subtract from the gradient of the factors of a feature what it adds to its own layer.

    That is ``curve v``, where it interacts with itself. Returns the curve that remains for the
    update rule, if that is to subtract it from all components.
    """
    raise NotImplementedError


@subtract_self.register(Plain)
@subtract_self.register(FieldWeighted)
@subtract_self.register(FieldMatrixed)
def _leave_curve(kind, partners, c, curve, v, slopes):
    return curve if partners[c, c] else curve * 0


@subtract_self.register(FieldAware)
def _subtract_curve(kind, partners, c, curve, v, slopes):
    if partners[c, c]:
        n = np.uintp(kind.n_components)
        for f in range(np.uintp(c) * n, np.uintp(c) * n + n):
            slopes[f] -= curve * v[f]
    return curve * 0


@jit_dispatch
def contribution_to_layer(kind, partners, c, v, contribution):
    """Write what a feature of field ``c`` with these factors adds to its own layer."""
    raise NotImplementedError


@contribution_to_layer.register(Plain)
@contribution_to_layer.register(FieldWeighted)
def _whole_contribution(kind, partners, c, v, contribution):
    for f in range(v.size):
        contribution[f] = v[f] if partners[c, c] else v[f] * 0


@contribution_to_layer.register(FieldAware)
def _own_contribution(kind, partners, c, v, contribution):
    n = np.uintp(kind.n_components)
    first, last = np.uintp(c) * n, np.uintp(c) * n + n
    for f in range(np.uintp(v.size)):
        is_own = partners[c, c] and first <= f < last
        contribution[f] = v[f] if is_own else v[f] * 0


@jit_dispatch
def change_layers(kind, partners, c, j, columns, sums, model, start, stop, step):
    """Update the layers of the rows of a column ``j`` of field ``c``, of `structs.SparseColumns`.

    ``step`` is the change of its factors ``start:stop``. The parameters of pairs must not have
    changed since the layers were made.
    """
    raise NotImplementedError


@jit_inner
def _add_to_layer(columns, j, sums, base, factor, step, first, last):
    """Add ``factor x step[first:last]`` to the sums of each row of a column from ``base`` on."""
    for e in range(np.uintp(columns.ptr[j]), np.uintp(columns.ptr[j + np.uintp(1)])):
        i = np.uintp(columns.row[e])
        x = sums.dtype.type(1) if columns.value.size == 0 else columns.value[e]
        for f in range(last - first):
            sums[i, base + f] += x * factor * step[first + f]


@change_layers.register(Plain)
def _change_plain_layers(kind, partners, c, j, columns, sums, model, start, stop, step):
    width, n = np.uintp(model.factors.shape[1]), np.uintp(stop - start)
    one = sums.dtype.type(1)
    for d in range(np.uintp(partners.shape[0])):
        if partners[c, d]:
            base = d * width + np.uintp(start)
            _add_to_layer(columns, j, sums, base, one, step, np.uintp(0), n)


@change_layers.register(FieldWeighted)
def _change_weighted_layers(kind, partners, c, j, columns, sums, model, start, stop, step):
    width, n = np.uintp(model.factors.shape[1]), np.uintp(stop - start)
    n_fields = np.uintp(partners.shape[0])
    weight = sums.dtype.type(1)
    for d in range(n_fields):
        if partners[c, d]:
            weight = sums.dtype.type(1)
            if c != d:
                weight = model.field_pairs[_number_of_pair(n_fields, min(c, d), max(c, d)), 0]
            base = d * width + np.uintp(start)
            _add_to_layer(columns, j, sums, base, weight, step, np.uintp(0), n)


@change_layers.register(FieldAware)
def _change_aware_layers(kind, partners, c, j, columns, sums, model, start, stop, step):
    width, n = np.uintp(model.factors.shape[1]), np.uintp(kind.n_components)
    start, stop, one = np.uintp(start), np.uintp(stop), sums.dtype.type(1)
    for d in range(start // n, (stop + n - np.uintp(1)) // n):
        if partners[c, d]:
            first, last = max(start, d * n), min(stop, d * n + n)
            base = d * width + c * n + first - d * n
            _add_to_layer(columns, j, sums, base, one, step, first - start, last - start)


@jit_inner
def _number_of_pair(n_fields, c, d):
    """Where ``np.triu_indices(n_fields, 1)`` has the pair ``c < d``."""
    return c * (np.uintp(2) * n_fields - c - np.uintp(1)) // np.uintp(2) + d - c - np.uintp(1)


@jit_dispatch
def multiplies_layers(kind):
    """Whether mini-batches multiply a row's layers by the derivative of its loss beforehand.

    That pays where a row has fewer layers than entries.
    """
    raise NotImplementedError


@multiplies_layers.register(Plain)
def _multiplies(kind):
    return True


@multiplies_layers.register(FieldWeighted)
@multiplies_layers.register(FieldMatrixed)
@multiplies_layers.register(FieldAware)
def _does_not_multiply(kind):
    return False


@jit_dispatch
def place_of_sums(kind, part, row):
    """Which of the copies of sums by interaction group are those of a row.

    If there are parameters of pairs, their gradients need the sums of all rows. Otherwise, each
    thread uses the same place for all its rows.
    """
    raise NotImplementedError


@place_of_sums.register(Plain)
@place_of_sums.register(FieldAware)
def _place_of_thread(kind, part, row):
    return np.int64(part)


@place_of_sums.register(FieldWeighted)
@place_of_sums.register(FieldMatrixed)
def _place_of_row(kind, part, row):
    return np.int64(row)


@jit_dispatch
def add_slopes(kind, partners, first, last, sums, slope, slopes):
    """Add the gradients of a row by the parameters of the pairs ``first:last``.

    ``slope`` is the derivative of its loss by the output. Several numbers that are to be added may
    stand for one gradient, component by component; see `total_slope`.
    """
    raise NotImplementedError


@add_slopes.register(FieldWeighted)
def _add_weight_slopes(kind, partners, first, last, sums, slope, slopes):
    n_layers, width = np.uintp(sums.shape[0]), np.uintp(sums.shape[1])
    p = np.uintp(0)
    for c in range(n_layers):
        for d in range(c + np.uintp(1), n_layers):
            if first <= p < last:
                for f in range(width):
                    slopes[p, f] += slope * sums[c, f] * sums[d, f]
            p += np.uintp(1)


@add_slopes.register(FieldMatrixed)
def _add_matrix_slopes(kind, partners, first, last, sums, slope, slopes):
    n_layers, n = np.uintp(sums.shape[0]), np.uintp(kind.n_components)
    p = np.uintp(0)
    for c in range(n_layers):
        for d in range(c + np.uintp(1), n_layers):
            if first <= p < last:
                for f in range(n):
                    value = slope * sums[c, f]
                    for g in range(n):
                        slopes[p, f * n + g] += value * sums[d, g]
            p += np.uintp(1)


@jit_dispatch
def total_slope(kind, slopes, number):
    """The gradient by the parameter ``number`` of a pair, from what `add_slopes` has written."""
    raise NotImplementedError


@total_slope.register(FieldWeighted)
def _sum_slopes(kind, slopes, number):
    total = slopes[0] * 0
    for f in range(slopes.size):
        total += slopes[f]
    return total


@total_slope.register(FieldMatrixed)
def _single_slope(kind, slopes, number):
    return slopes[number]


@jit_dispatch
def start_of_pair(kind, number):
    """The start of one of the parameters of a pair, which makes the model the plain one."""
    raise NotImplementedError


@start_of_pair.register(FieldWeighted)
def _one(kind, number):
    return 1


@start_of_pair.register(FieldMatrixed)
def _identity(kind, number):
    return 1 if number % (kind.n_components + 1) == 0 else 0


@jit_dispatch
def move_pairs(kind, update, partners, part, n_parts, sums, gradient, weight, slopes, slots):
    """Update part ``part`` of ``n_parts`` of the parameters of pairs after a batch.

    ``sums`` (n_rows * n_layers, width) are those of all rows by interaction group, ``gradient``
    (n_rows,) the derivatives of their losses, and ``weight`` is the total weight of the rows.
    ``slopes`` is work space with a row for each pair, ``slots`` (n_slots, n_pairs, n) are the
    parameters and their state.
    """
    raise NotImplementedError


@move_pairs.register(Plain)
@move_pairs.register(FieldAware)
def _move_nothing(kind, update, partners, part, n_parts, sums, gradient, weight, slopes, slots):
    pass


@move_pairs.register(FieldWeighted)
@move_pairs.register(FieldMatrixed)
def _move_all_pairs(kind, update, partners, part, n_parts, sums, gradient, weight, slopes, slots):
    n_pairs, n_layers = slopes.shape[0], partners.shape[0]
    first = np.uintp(n_pairs * part // n_parts)
    last = np.uintp(n_pairs * (part + 1) // n_parts)
    for p in range(first, last):
        for number in range(slopes.shape[1]):
            slopes[p, number] = 0
    for r in range(gradient.size):
        of_row = sums[r * n_layers : (r + 1) * n_layers]
        add_slopes(kind, partners, first, last, of_row, gradient[r], slopes)
    p = np.uintp(0)
    for c in range(n_layers):
        for d in range(c + 1, n_layers):
            if first <= p < last and partners[c, d]:
                for number in range(slots.shape[2]):
                    distance = slots[0, p, number] - start_of_pair(kind, number)
                    slope = total_slope(kind, slopes[p], number)
                    slope += kind.penalty * weight * distance
                    move_intercept(update, slots[:, p, number], slope, weight)
            p += np.uintp(1)


@jit(allocates=True)
def predict_fields(indptr, indices, data, parameters, interactions, start, stop, output):
    """Write the raw outputs of rows ``start:stop``, as `predict.predict` does for all pairs."""
    intercept, linear, factors, field_pairs = parameters
    n_outputs, _, width = factors.shape
    partners, kind = interactions.partners, interactions.kind
    layers = np.empty((interactions.n_layers, width), factors.dtype)
    sums = np.empty((interactions.n_layers, width), factors.dtype)
    half = factors.dtype.type(0.5)
    for c in range(n_outputs):
        for r in range(start, stop):
            layers[:] = 0
            z = factors.dtype.type(intercept[c])
            for e in range(np.uintp(indptr[r]), np.uintp(indptr[r + 1])):
                j, x = np.uintp(indices[e]), data[e]
                v, field = factors[c, j], np.uintp(interactions.interaction_group[j])
                square = z * 0
                for f in range(width):
                    layers[field, f] += x * v[f]
                    square += v[f] * v[f]
                square = self_square(kind, partners, field, v, square)
                z += x * (linear[c, j] - half * x * square)
            output[r, c] = z + half * make_layers(kind, partners, field_pairs[c], layers, sums)
