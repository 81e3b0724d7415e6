"""Relation blocks: parts that many rows share, such as a user's history, computed once.

Besides entries of its own, a row may have blocks, each shared with other rows (Rendle 2013). Since
a block's values are the same in all its rows, the sums of these rows' layers and errors, and of
the products of the two, suffice to update its columns. The sums follow each update, and all
updates of a field are then passed on to the rows at once. All columns of a field are in one
interaction group; see interactions.py.
"""

import numpy as np

from skfm._kernels._jit import jit, jit_inner
from skfm._kernels.coordinate_descent import BLOCK_SIZE, CHUNK, add_up
from skfm._kernels.normal_equations import DAMPING, pose, solve


@jit
def count_entries(indices, kind, counts):
    """Count the entries of each kind of columns."""
    for e in range(indices.size):
        counts[kind[np.uintp(indices[e])]] += 1


@jit
def split_rows(indptr, indices, data, chosen, rows, out_ptr, out_indices, out_data):
    """Of some rows, the entries in the chosen columns. Called with empty ``out_data``, it only
    counts them, in ``out_ptr[1:]``."""
    place = np.uintp(0)
    for k in range(rows.size):
        i = np.uintp(rows[k])
        for e in range(np.uintp(indptr[i]), np.uintp(indptr[i + np.uintp(1)])):
            if chosen[np.uintp(indices[e])]:
                if out_data.size > 0:
                    out_indices[place] = indices[e]
                    out_data[place] = data[e]
                place += np.uintp(1)
        out_ptr[k + 1] = place


@jit
def sum_blocks(blocks, model):
    """What each block adds to its rows: sums of ``x v``, and the output of its linear weights.

    Less half its products with itself, if these count: the rows' sums bring them in.
    """
    for b in range(blocks.own.size):
        square = model.linear.dtype.type(0)
        z = square
        blocks.sums[b] = 0
        for e in range(blocks.indptr[b], blocks.indptr[b + 1]):
            j, x = np.uintp(blocks.column[e]), blocks.value[e]
            z += x * model.linear[j]
            for f in range(model.factors.shape[1]):
                xv = x * model.factors[j, f]
                blocks.sums[b, f] += xv
                square += xv * xv
        blocks.constant[b] = z - square / 2 if blocks.own[b] else z


@jit(allocates=True)
def gather_blocks(first, last, members, rows, layer, start, stop, totals):
    """Sums over the rows of blocks ``first:last`` of products of the coordinates ``start:stop`` of
    the layer that begins at ``layer``, of 1, and of the error: in this order in ``totals``
    (n_blocks, n + 1, n + 1), symmetric."""
    nothing = np.zeros(rows.sums.shape[1], rows.sums.dtype)
    size = min(BLOCK_SIZE, stop - start) + 1
    near = np.zeros((size + 5, CHUNK), rows.sums.dtype)
    gram = np.zeros((size + 1, size + 5))
    touched = rows.error.dtype.type(0)
    span = start, stop, True
    n = stop - start + 1
    for b in range(first, last):
        block = np.uintp(b)
        found = add_up(members, rows, nothing, np.uintp(layer), None, block, span, near, gram)
        touched = max(touched, found)
        for c in range(n + 1):
            for a in range(min(c + 1, n)):
                totals[b, a, c] = totals[b, c, a] = gram[a, c]
    return touched


@jit(allocates=True)
def update_blocks(
    columns, model, own, has_linear, prior, precision, noise, start, stop, totals, moved
):
    """Solve a field's columns one after the other, as `coordinate_descent.update_columns` does.

    ``moved`` (n_blocks, n) becomes what the rows of each block have to add to their layers and, in
    the last column, to their errors. ``own`` says whether the columns interact with each other.
    """
    nf = stop - start
    n = nf + 1
    gram = np.zeros((n + 1, n + 4))
    step = np.zeros(n + 3)
    rounding = 0.0 if noise.size > 0 else DAMPING * np.finfo(model.linear.dtype).eps
    shifted = np.zeros(n)
    moved[:] = 0
    for k in range(columns.order.size):
        j = np.uintp(columns.order[k])
        with_linear = has_linear[j]
        v = model.factors[j]
        begin, end = columns.ptr[j], columns.ptr[j + np.uintp(1)]
        gram[:] = 0
        for e in range(begin, end):
            x = np.float64(columns.value[e])
            _add_block(totals[columns.row[e]], v, x, own, start, nf, shifted, gram)
        if not with_linear:
            for a in range(nf):
                gram[a, nf] = gram[a, n]
        pose(model, prior, precision, rounding, j, start, stop, with_linear, gram, step)
        solve(gram, step, nf + with_linear, noise, j, start, with_linear)
        linear_step = step[nf] if with_linear else 0.0
        for e in range(begin, end):
            b, x = columns.row[e], np.float64(columns.value[e])
            constant = linear_step
            if own:
                for a in range(nf):
                    constant += (moved[b, a] - x * v[start + a]) * step[a]
            _move_block(totals[b], step, x, linear_step, v, own, start, nf, moved[b])
            moved[b, nf] += x * constant
            for a in range(nf):
                moved[b, a] += x * step[a]
        for a in range(nf):
            v[start + a] += step[a]
        model.linear[j] += linear_step


@jit_inner
def _add_block(total, v, x, own, start, nf, shifted, gram):
    """Add what a block's rows say of a column that has the value ``x`` there."""
    n = nf + 1
    square = x * x
    for a in range(nf):
        for c in range(a, nf):
            gram[a, c] += square * total[a, c]
        gram[a, nf] += square * total[a, nf]
        gram[a, n] += x * total[a, n]
    if own:  # what the column has with itself does not count
        for a in range(nf):
            shifted[a] = x * v[start + a]
        for a in range(nf):
            for c in range(a, nf):
                gram[a, c] += square * (
                    shifted[a] * shifted[c] * total[nf, nf]
                    - shifted[a] * total[c, nf]
                    - shifted[c] * total[a, nf]
                )
            gram[a, nf] -= square * shifted[a] * total[nf, nf]
            gram[a, n] -= x * shifted[a] * total[nf, n]
    gram[nf, nf] += square * total[nf, nf]
    gram[nf, n] += x * total[nf, n]


@jit_inner
def _move_block(total, step, x, linear_step, v, own, start, nf, moved):
    """Bring a block's sums up to date with a column's step."""
    n = nf + 1
    constant = linear_step
    if own:
        for a in range(nf):
            constant -= x * v[start + a] * step[a]
    for a in range(n):
        change = total[a, nf] * constant
        for c in range(nf):
            change += total[a, c] * step[c]
        total[a, n] += x * change
    if own:  # the layers move, too
        for a in range(nf):
            total[a, n] += x * step[a] * total[nf, n]
        for a in range(nf):
            for c in range(nf):
                total[a, c] += x * (total[a, nf] * step[c] + step[a] * total[c, nf])
                total[a, c] += x * x * step[a] * step[c] * total[nf, nf]
        for a in range(nf):
            total[a, nf] += x * step[a] * total[nf, nf]
            total[nf, a] = total[a, nf]


@jit
def spread_blocks(first, last, block, moved, rows, layer, partners, start, stop):
    """Pass the updates of their blocks' columns on to rows ``first:last``."""
    sums, error = rows.sums, rows.error
    width = sums.shape[1] // partners.size
    for i in range(first, last):
        b = block[i]
        change = moved[b, stop - start]
        for f in range(start, stop):
            change += sums[i, layer + f] * moved[b, f - start]
        error[i] += change
        for d in range(partners.size):
            if partners[d]:
                for f in range(start, stop):
                    sums[i, d * width + f] += moved[b, f - start]
