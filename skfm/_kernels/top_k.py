"""The best columns of each row of a matrix product, which is computed tile by tile."""

import numpy as np

from skfm._kernels._jit import jit, jit_inner

TILE = 256  # columns that are scored together: their factors stay in the cache
GROUP = 4  # rows that are scored together
CHUNK = 32  # scores that are compared together
FEW = 128  # at most this many best columns are kept by insertion sort


@jit(allocates=True)
def best_columns(first, last, table, tiles, n_columns, hidden_ptr, hidden, items, scores):
    """Write the best columns of rows ``first:last``, best first, and their scores.

    A score is the product of a row of ``table`` (n_rows, width), width a multiple of 4, and a
    column of ``tiles`` (n_tiles, width, TILE), of which the first ``n_columns`` count. Columns in
    ``hidden[hidden_ptr[r] : hidden_ptr[r + 1]]`` (sorted) are excluded. Ties are broken in favor
    of the first column. If there are too few columns, the remaining ones are -1 with score -inf. A
    row's result depends on no other row.
    """
    n_tiles, width, tile_size = tiles.shape
    n_best = items.shape[1]
    block = np.zeros((GROUP, tile_size), tiles.dtype)
    row = np.zeros((GROUP, width), tiles.dtype)
    place = np.zeros(last - first, np.int64)  # the next hidden column of each row
    better = np.zeros(tile_size, np.int64)
    for r in range(first, last):
        place[r - first] = hidden_ptr[r]
        for k in range(n_best):
            items[r, k] = -1
            scores[r, k] = -np.inf
    for t in range(n_tiles):
        start = t * tile_size
        size = min(tile_size, n_columns - start)
        for group in range(first, last, GROUP):
            n_members = min(GROUP, last - group)
            for member in range(n_members):
                for f in range(width):
                    row[member, f] = table[group + member, f]
            _multiply(row, tiles, t, block)
            for member in range(n_members):
                r = group + member
                h = place[r - first]
                while h < hidden_ptr[r + 1] and hidden[h] < start + size:
                    block[member, hidden[h] - start] = -np.inf
                    h += 1
                place[r - first] = h
                if n_best <= FEW:
                    _keep_best(block, member, start, size, items, scores, r)
                else:
                    _merge_best(block, member, start, size, items, scores, r, better)


@jit(allocates=True)
def best_scores(table, hidden_ptr, hidden, items, scores):
    """Write the best columns of each row of a table of scores, as `best_columns` does."""
    n_rows, n_columns = table.shape
    n_best = items.shape[1]
    block = np.zeros((1, TILE), table.dtype)
    better = np.zeros(TILE, np.int64)
    for r in range(n_rows):
        for k in range(n_best):
            items[r, k] = -1
            scores[r, k] = -np.inf
        h = hidden_ptr[r]
        for start in range(0, n_columns, TILE):
            size = min(TILE, n_columns - start)
            for j in range(size):
                block[0, j] = table[r, start + j]
            while h < hidden_ptr[r + 1] and hidden[h] < start + size:
                block[0, hidden[h] - start] = -np.inf
                h += 1
            if n_best <= FEW:
                _keep_best(block, 0, start, size, items, scores, r)
            else:
                _merge_best(block, 0, start, size, items, scores, r, better)


@jit_inner
def _multiply(row, tiles, t, block):
    """``block = row @ tiles[t]`` for four rows, four factors at a time."""
    _, width, tile_size = tiles.shape
    t = np.uintp(t)
    i0, i1, i2, i3 = np.uintp(0), np.uintp(1), np.uintp(2), np.uintp(3)
    for j in range(np.uintp(tile_size)):
        block[i0, j] = block[i1, j] = block[i2, j] = block[i3, j] = 0
    for quarter in range(np.uintp(width // 4)):
        f = np.uintp(4) * quarter
        g, h, i = f + i1, f + i2, f + i3
        a0, a1, a2, a3 = row[i0, f], row[i0, g], row[i0, h], row[i0, i]
        b0, b1, b2, b3 = row[i1, f], row[i1, g], row[i1, h], row[i1, i]
        c0, c1, c2, c3 = row[i2, f], row[i2, g], row[i2, h], row[i2, i]
        d0, d1, d2, d3 = row[i3, f], row[i3, g], row[i3, h], row[i3, i]
        for j in range(np.uintp(tile_size)):
            x0, x1, x2, x3 = tiles[t, f, j], tiles[t, g, j], tiles[t, h, j], tiles[t, i, j]
            block[i0, j] += a0 * x0 + a1 * x1 + a2 * x2 + a3 * x3
            block[i1, j] += b0 * x0 + b1 * x1 + b2 * x2 + b3 * x3
            block[i2, j] += c0 * x0 + c1 * x1 + c2 * x2 + c3 * x3
            block[i3, j] += d0 * x0 + d1 * x1 + d2 * x2 + d3 * x3


@jit_inner
def _keep_best(block, member, start, size, items, scores, r):
    """Insert a tile's scores into the best ones."""
    m = np.uintp(member)
    zero, one = block.dtype.type(0), block.dtype.type(1)
    last = items.shape[1] - 1
    for chunk in range(0, size, CHUNK):
        stop = min(chunk + CHUNK, size)
        bound = scores[r, last]
        n_better = zero  # a float: what the compiler can count in whole vectors
        for j in range(np.uintp(chunk), np.uintp(stop)):
            n_better += one if block[m, j] > bound else zero
        if n_better == zero:
            continue
        for j in range(np.uintp(chunk), np.uintp(stop)):
            score = block[m, j]
            if score > scores[r, last]:
                k = last
                while k > 0 and scores[r, k - 1] < score:
                    scores[r, k] = scores[r, k - 1]
                    items[r, k] = items[r, k - 1]
                    k -= 1
                scores[r, k] = score
                items[r, k] = start + j


@jit_inner
def _merge_best(block, member, start, size, items, scores, r, better):
    """Merge a tile's sorted scores with the best ones; ``better`` is scratch space."""
    n_best, n = items.shape[1], 0
    for j in range(size):
        score = block[member, j]
        if score > scores[r, n_best - 1]:
            k = n
            while k > 0 and block[member, better[k - 1]] < score:
                better[k] = better[k - 1]
                k -= 1
            better[k] = j
            n += 1
    old, new = 0, 0  # how many of the old and of the new ones are among the best
    while n > 0 and old + new < n_best:
        if new < n and block[member, better[new]] > scores[r, old]:
            new += 1
        else:
            old += 1
    for k in range(n_best - 1, -1, -1):
        if new == 0:
            break
        j = better[new - 1]
        if old > 0 and scores[r, old - 1] < block[member, j]:
            old -= 1
            scores[r, k], items[r, k] = scores[r, old], items[r, old]
        else:
            new -= 1
            scores[r, k], items[r, k] = block[member, j], start + j
