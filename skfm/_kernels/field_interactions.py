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

# Rows of a batch whose layers are made together. Loops over the components of all of them are long
# enough for SIMD, and their sums are few enough for the processor's first cache.
BLOCK_ROWS = 32


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
def rows_together(kind):
    """The number of rows of a batch whose layers mini-batches make together."""
    raise NotImplementedError


@rows_together.register(Plain)
@rows_together.register(FieldMatrixed)
@rows_together.register(FieldAware)
def _one_row(kind):
    return 1


@rows_together.register(FieldWeighted)
def _block_of_rows(kind):
    return BLOCK_ROWS


@jit_inner
def whole_blocks(kind, bound, start, stop):
    """A bound of a share of the rows ``start:stop``, moved to where a block of rows begins."""
    return bound if bound == stop else bound - (bound - start) % rows_together(kind)


@jit_dispatch
def make_layers_of_block(kind, partners, pairs, layers, sums, raw):
    """Do for a block of rows what `make_layers` does for a row.

    ``layers`` (n_rows, n_layers * width) are replaced in place, and the interactions are added to
    the outputs ``raw``. ``sums`` (BLOCK_ROWS * n_layers, width) is space for `sum_slopes`.
    """
    raise NotImplementedError


@make_layers_of_block.register(Plain)
@make_layers_of_block.register(FieldMatrixed)
@make_layers_of_block.register(FieldAware)
def _has_no_blocks(kind, partners, pairs, layers, sums, raw):
    pass


@make_layers_of_block.register(FieldWeighted)
def _weighted_layers_of_block(kind, partners, pairs, layers, sums, raw):
    _weighted_layers_field_by_field(
        partners, pairs, layers, sums.reshape(partners.shape[0], -1), raw
    )


@jit_inner(allocates=True)
def _weighted_layers_field_by_field(partners, pairs, layers, sums, raw):
    """The sums of a block are kept field by field: row c has those of field c of all rows.

    Loops are over a whole block, also if it has fewer rows, so that a row's bits do not depend on
    its place in it.
    """
    n_rows, n_layers = np.uintp(layers.shape[0]), np.uintp(sums.shape[0])
    size = np.uintp(sums.shape[1])
    width = size // np.uintp(BLOCK_ROWS)
    zero, half = raw.dtype.type(0), raw.dtype.type(0.5)
    weights = np.empty((partners.shape[0], partners.shape[0]), raw.dtype)
    layer, products = np.empty(sums.shape[1], raw.dtype), np.empty(sums.shape[1], raw.dtype)
    p = np.uintp(0)
    for c in range(n_layers):
        weights[c, c] = raw.dtype.type(1) if partners[c, c] else zero
        for d in range(c + np.uintp(1), n_layers):
            weight = pairs[p, 0] if partners[c, d] else zero
            weights[c, d] = weights[d, c] = weight
            p += np.uintp(1)
        for r in range(n_rows):
            for f in range(width):
                sums[c, r * width + f] = layers[r, c * width + f]
        for i in range(n_rows * width, size):
            sums[c, i] = zero
    for i in range(size):
        products[i] = zero
    for c in range(n_layers):
        _weighted_sum(weights[c], sums, layer)
        for i in range(size):
            products[i] += layer[i] * sums[c, i]
        for r in range(n_rows):
            for f in range(width):
                layers[r, c * width + f] = layer[r * width + f]
    for r in range(n_rows):
        total = zero
        for f in range(width):
            total += products[r * width + f]
        raw[r] += half * total


@jit_inner
def _weighted_sum(weights, sums, total):
    """Write the sum of the rows of ``sums``, each multiplied by its weight, four at a time."""
    n_layers, size = np.uintp(sums.shape[0]), np.uintp(sums.shape[1])
    one, two, three, four = np.uintp(1), np.uintp(2), np.uintp(3), np.uintp(4)
    for i in range(size):
        total[i] = 0
    d = np.uintp(0)
    while d < n_layers:
        a = weights[d]
        if d + four <= n_layers:
            a2, a3, a4 = weights[d + one], weights[d + two], weights[d + three]
            for i in range(size):
                total[i] += (
                    a * sums[d, i]
                    + a2 * sums[d + one, i]
                    + a3 * sums[d + two, i]
                    + a4 * sums[d + three, i]
                )
            d += four
        else:
            for i in range(size):
                total[i] += a * sums[d, i]
            d += one


@jit_dispatch
def sum_slopes(kind, first, last, n_layers, sums, gradient, slopes):
    """Add the gradients of a batch by the parameters of the pairs ``first:last`` to ``slopes``.

    ``sums`` are those that the rows' layers were made from, and ``gradient`` (n_rows,) the
    derivatives of the rows' losses by the output.
    """
    raise NotImplementedError


@sum_slopes.register(FieldWeighted)
def _sum_weight_slopes(kind, first, last, n_layers, sums, gradient, slopes):
    block = np.uintp(BLOCK_ROWS * n_layers)
    for b in range(np.uintp((gradient.size + BLOCK_ROWS - 1) // BLOCK_ROWS)):
        of_block = sums[b * block : (b + np.uintp(1)) * block].reshape(n_layers, -1)
        of_rows = gradient[b * np.uintp(BLOCK_ROWS) : (b + np.uintp(1)) * np.uintp(BLOCK_ROWS)]
        _add_weight_slopes(first, last, of_block, of_rows, slopes)


@jit_inner(allocates=True)
def _add_weight_slopes(first, last, sums, gradient, slopes):
    n_layers, size = np.uintp(sums.shape[0]), np.uintp(sums.shape[1])
    width = size // np.uintp(BLOCK_ROWS)
    multiplied = np.zeros(sums.shape[1], sums.dtype)
    p = np.uintp(0)
    for c in range(n_layers):
        n_partners = n_layers - c - np.uintp(1)
        if p < last and first < p + n_partners:
            for r in range(np.uintp(gradient.size)):
                for f in range(width):
                    multiplied[r * width + f] = gradient[r] * sums[c, r * width + f]
            for d in range(c + np.uintp(1), n_layers):
                if first <= p < last:
                    total = sums.dtype.type(0)
                    for i in range(size):
                        total += multiplied[i] * sums[d, i]
                    slopes[p, 0] += total
                p += np.uintp(1)
        else:
            p += n_partners


@sum_slopes.register(FieldMatrixed)
def _sum_matrix_slopes(kind, first, last, n_layers, sums, gradient, slopes):
    for r in range(gradient.size):
        of_row = sums[r * n_layers : (r + 1) * n_layers]
        _add_matrix_slopes(kind, first, last, of_row, gradient[r], slopes)


@jit_inner
def _add_matrix_slopes(kind, first, last, sums, slope, slopes):
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

    ``sums`` (n * n_layers, width) are those of all rows by interaction group, ``gradient``
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
    sum_slopes(kind, first, last, n_layers, sums, gradient, slopes)
    p = np.uintp(0)
    for c in range(n_layers):
        for d in range(c + 1, n_layers):
            if first <= p < last and partners[c, d]:
                for number in range(slots.shape[2]):
                    distance = slots[0, p, number] - start_of_pair(kind, number)
                    slope = slopes[p, number] + kind.penalty * weight * distance
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
