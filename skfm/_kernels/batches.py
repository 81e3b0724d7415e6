"""Planning: cut shuffled rows into mini-batches and index each batch by row and by feature."""

import numpy as np

from skfm._kernels._jit import jit


@jit
def plan_batches(
    indptr,
    indices,
    data,
    position,
    center,
    inverse_scale,
    rows,
    batch_size,
    first_seen,
    entry_feature,
    count,
    feature_ptr,
    features,
    column_ptr,
    row_ptr,
    local,
    row_values,
    entry_row,
    column_values,
):
    """Plan the rows ``rows`` of a CSR matrix; returns the number of (batch, feature) pairs.

    In: the CSR arrays; ``position``, the rank of each feature among the used ones; by rank,
    ``center`` and ``inverse_scale``. Scratch: ``first_seen`` (int32, a used feature each, all
    -1), ``entry_feature`` and ``count`` (one integer an entry of the longest batch).

    Out, over all batches, one after another: ``features``, the distinct features of a batch,
    batch b's from ``feature_ptr[b]``; ``column_ptr``, where a feature's entries start in
    ``entry_row`` (the row within the batch) and ``column_values``; ``row_ptr``, where a row's
    entries start in ``local`` (the feature's number within the batch) and ``row_values``.
    Values are left out when the value arrays are empty.
    """
    n_rows = rows.size
    with_values = row_values.size > 0
    tick = np.int32(0)
    f0, e0 = np.uintp(0), np.uintp(0)
    feature_ptr[0] = 0
    row_ptr[0] = 0
    one = np.uintp(1)
    for batch, start in enumerate(range(0, n_rows, batch_size)):
        stop = min(n_rows, start + batch_size)
        # Loops of one purpose each: the copy's cache misses overlap, the rest stays in cache.
        e = e0
        for i in range(start, stop):
            r = np.uintp(rows[i])
            first = np.uintp(indptr[r])
            length = np.uintp(indptr[r + one]) - first
            for a in range(length):
                entry_feature[e - e0 + a] = indices[first + a]
            if with_values:
                for a in range(length):
                    row_values[e + a] = data[first + a]
            e += length
            row_ptr[i + 1] = e
        n_entries = e - e0
        for a in range(n_entries):
            entry_feature[a] = position[np.uintp(entry_feature[a])]
        if with_values:
            for a in range(n_entries):
                j = np.uintp(entry_feature[a])
                row_values[e0 + a] = (row_values[e0 + a] - center[j]) * inverse_scale[j]
        # Number the features as they come; without a branch, which could not be predicted.
        n_features = np.int32(0)
        for a in range(n_entries):
            j = np.uintp(entry_feature[a])
            number = first_seen[j] - tick
            new = number < 0
            number = n_features if new else number
            first_seen[j] = tick + number
            features[f0 + np.uintp(n_features)] = j
            n_features += np.int32(new)
            local[e0 + a] = number
        for number in range(n_features):
            count[number] = 0
        for a in range(n_entries):
            count[np.uintp(local[e0 + a])] += 1
        # From here on, count[number] is where the feature's next entry goes.
        total = np.int64(e0)
        for number in range(n_features):
            column_ptr[f0 + np.uintp(number)] = total
            total += count[number]
            count[number] = total - count[number]
        for i in range(start, stop):
            for e in range(np.uintp(row_ptr[i]), np.uintp(row_ptr[i + 1])):
                number = np.uintp(local[e])
                place = np.uintp(count[number])
                entry_row[place] = i - start
                if with_values:
                    column_values[place] = row_values[e]
                count[number] += 1
        tick += n_features
        f0 += np.uintp(n_features)
        e0 += n_entries
        feature_ptr[batch + 1] = f0
    column_ptr[f0] = e0
    return np.int64(f0)
