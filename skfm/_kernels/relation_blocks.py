"""Relation blocks: parts that many rows share, such as a user's history, computed once.

A row consists of entries and of blocks, and shares each block with other rows (Rendle 2013,
"Scaling factorization machines to relational data"). A block has the same values in all its rows.
So the update of its columns only needs the sums of the rows' layers and errors, and of products of
these. Each update of a column changes these sums; the rows are updated once, after all columns of
a field. All columns of a field belong to one interaction group; see interactions.py.
"""

import numpy as np

from skfm._kernels._jit import jit, jit_inner
from skfm._kernels.coordinate_descent import BLOCK_SIZE, CHUNK, compute_gram
from skfm._kernels.normal_equations import DAMPING, assemble, solve


@jit
def count_entries(indices, kind, counts):
    """Add the number of entries in the columns of each kind to ``counts``."""
    for e in range(indices.size):
        counts[kind[np.uintp(indices[e])]] += 1


@jit
def split_rows(indptr, indices, data, chosen, rows, out_ptr, out_indices, out_data):
    """Copy the entries of some rows in the chosen columns. With empty ``out_data``, only count
    them, in ``out_ptr[1:]``."""
    position = np.uintp(0)
    for k in range(rows.size):
        i = np.uintp(rows[k])
        for e in range(np.uintp(indptr[i]), np.uintp(indptr[i + np.uintp(1)])):
            if chosen[np.uintp(indices[e])]:
                if out_data.size > 0:
                    out_indices[position] = indices[e]
                    out_data[position] = data[e]
                position += np.uintp(1)
        out_ptr[k + 1] = position


@jit
def sum_blocks(blocks, model):
    """Compute what each block adds to its rows: sums of ``x v``, and a constant of the output.

    The constant is the output of the linear weights. If the columns interact with each other, half
    the squares of ``x v`` are subtracted, which half the square of the sums contains.
    """
    for b in range(blocks.interacts.size):
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
        blocks.constant[b] = z - square / 2 if blocks.interacts[b] else z


@jit(allocates=True)
def gather_blocks(first, last, members, rows, layer, start, stop, totals):
    """Compute symmetric matrices ``totals`` (n_blocks, n + 1, n + 1) of blocks ``first:last``.

    They are the Gram matrices, over the rows of a block, of the coordinates ``start:stop`` of the
    layer that begins at ``layer``, of 1, and of the error, in this order.
    """
    zeros = np.zeros(rows.sums.shape[1], rows.sums.dtype)
    size = min(BLOCK_SIZE, stop - start) + 1
    design = np.zeros((size + 5, CHUNK), rows.sums.dtype)
    gram = np.zeros((size + 1, size + 5))
    prefetched = rows.error.dtype.type(0)
    span = start, stop, True
    n = stop - start + 1
    for b in range(first, last):
        block = np.uintp(b)
        found = compute_gram(
            members, rows, zeros, np.uintp(layer), None, block, span, design, gram
        )
        prefetched = max(prefetched, found)
        for c in range(n + 1):
            for a in range(min(c + 1, n)):
                totals[b, a, c] = totals[b, c, a] = gram[a, c]
    return prefetched


@jit(allocates=True)
def update_blocks(
    columns, model, interacts, has_linear, prior, precision, noise, start, stop, totals, row_change
):
    """Update a field's columns one after the other, as `coordinate_descent.update_columns` does.

    ``row_change`` (n_blocks, n) becomes the change of the layers and, in the last column, of the
    errors of each block's rows. ``interacts`` says whether the columns interact with each other.
    """
    n_factors = stop - start
    n = n_factors + 1
    gram = np.zeros((n + 1, n + 4))
    step = np.zeros(n + 3)
    rounding = 0.0 if noise.size > 0 else DAMPING * np.finfo(model.linear.dtype).eps
    shifted = np.zeros(n)
    row_change[:] = 0
    for k in range(columns.order.size):
        j = np.uintp(columns.order[k])
        with_linear = has_linear[j]
        v = model.factors[j]
        begin, end = columns.ptr[j], columns.ptr[j + np.uintp(1)]
        gram[:] = 0
        for e in range(begin, end):
            x = np.float64(columns.value[e])
            _add_to_gram(totals[columns.row[e]], v, x, interacts, start, n_factors, shifted, gram)
        if not with_linear:
            for a in range(n_factors):
                gram[a, n_factors] = gram[a, n]
        assemble(model, prior, precision, rounding, j, start, stop, with_linear, gram, step)
        solve(gram, step, n_factors + with_linear, noise, j, start, with_linear)
        linear_step = step[n_factors] if with_linear else 0.0
        for e in range(begin, end):
            b, x = columns.row[e], np.float64(columns.value[e])
            constant = linear_step
            if interacts:
                for a in range(n_factors):
                    constant += (row_change[b, a] - x * v[start + a]) * step[a]
            _update_totals(
                totals[b], step, x, linear_step, v, interacts, start, n_factors, row_change[b]
            )
            row_change[b, n_factors] += x * constant
            for a in range(n_factors):
                row_change[b, a] += x * step[a]
        for a in range(n_factors):
            v[start + a] += step[a]
        model.linear[j] += linear_step


@jit_inner
def _add_to_gram(total, v, x, interacts, start, n_factors, shifted, gram):
    """Add the part of one block, in which the column has the value ``x``, to its Gram matrix."""
    n = n_factors + 1
    square = x * x
    for a in range(n_factors):
        for c in range(a, n_factors):
            gram[a, c] += square * total[a, c]
        gram[a, n_factors] += square * total[a, n_factors]
        gram[a, n] += x * total[a, n]
    if interacts:  # subtract the column itself from the layers
        for a in range(n_factors):
            shifted[a] = x * v[start + a]
        for a in range(n_factors):
            for c in range(a, n_factors):
                gram[a, c] += square * (
                    shifted[a] * shifted[c] * total[n_factors, n_factors]
                    - shifted[a] * total[c, n_factors]
                    - shifted[c] * total[a, n_factors]
                )
            gram[a, n_factors] -= square * shifted[a] * total[n_factors, n_factors]
            gram[a, n] -= x * shifted[a] * total[n_factors, n]
    gram[n_factors, n_factors] += square * total[n_factors, n_factors]
    gram[n_factors, n] += x * total[n_factors, n]


@jit_inner
def _update_totals(total, step, x, linear_step, v, interacts, start, n_factors, row_change):
    """Update a block's Gram matrix for the step of a column."""
    n = n_factors + 1
    constant = linear_step
    if interacts:
        for a in range(n_factors):
            constant -= x * v[start + a] * step[a]
    for a in range(n):
        change = total[a, n_factors] * constant
        for c in range(n_factors):
            change += total[a, c] * step[c]
        total[a, n] += x * change
    if interacts:  # the layers change as well
        for a in range(n_factors):
            total[a, n] += x * step[a] * total[n_factors, n]
        for a in range(n_factors):
            for c in range(n_factors):
                total[a, c] += x * (total[a, n_factors] * step[c] + step[a] * total[c, n_factors])
                total[a, c] += x * x * step[a] * step[c] * total[n_factors, n_factors]
        for a in range(n_factors):
            total[a, n_factors] += x * step[a] * total[n_factors, n_factors]
            total[n_factors, a] = total[a, n_factors]


@jit
def spread_blocks(first, last, block, row_change, rows, layer, partners, start, stop):
    """Apply the changes of their blocks to the layers and errors of rows ``first:last``."""
    sums, error = rows.sums, rows.error
    width = sums.shape[1] // partners.size
    for i in range(first, last):
        b = block[i]
        change = row_change[b, stop - start]
        for f in range(start, stop):
            change += sums[i, layer + f] * row_change[b, f - start]
        error[i] += change
        for d in range(partners.size):
            if partners[d]:
                for f in range(start, stop):
                    sums[i, d * width + f] += row_change[b, f - start]
