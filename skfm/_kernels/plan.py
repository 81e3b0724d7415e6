"""Planning: cut shuffled rows into mini-batches and index each batch by row and by feature."""

import numpy as np

from skfm._kernels._jit import jit


@jit
def plan_batches(
    indptr,
    indices,
    data,
    position,
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

    In: the CSR arrays; ``position``, the rank of each feature among the used ones;
    ``inverse_scale`` by rank. Scratch: ``first_seen`` (one integer a used feature, all -1),
    ``entry_feature`` and ``count`` (one integer an entry of the longest batch).

    Out, over all batches, one after another: ``features``, the distinct features of a batch,
    batch b's from ``feature_ptr[b]``; ``column_ptr``, where a feature's entries start in
    ``entry_row`` (the row within the batch) and ``column_values``; ``row_ptr``, where a row's
    entries start in ``local`` (the feature's number within the batch) and ``row_values``.
    Values are left out when the value arrays are empty.
    """
    n_rows = rows.size
    with_values = row_values.size > 0
    tick = 0
    f0 = 0
    e0 = 0
    batch = 0
    feature_ptr[0] = 0
    row_ptr[0] = 0
    for start in range(0, n_rows, batch_size):
        stop = min(n_rows, start + batch_size)
        # A plain copy first: its cache misses overlap, those of the branchy loop below would not.
        e = e0
        for i in range(start, stop):
            r = rows[i]
            for a in range(indptr[r], indptr[r + 1]):
                j = position[indices[a]]
                entry_feature[e - e0] = j
                if with_values:
                    row_values[e] = data[a] * inverse_scale[j]
                e += 1
            row_ptr[i + 1] = e
        n_entries = e - e0
        n_features = 0
        for e in range(n_entries):
            j = np.uintp(entry_feature[e])
            number = first_seen[j] - tick
            if number < 0:
                number = n_features
                first_seen[j] = tick + number
                features[f0 + number] = j
                count[number] = 0
                n_features += 1
            count[number] += 1
            local[e0 + e] = number
        # From here on, count[number] is where the feature's next entry goes.
        total = e0
        for number in range(n_features):
            column_ptr[f0 + number] = total
            total += count[number]
            count[number] = column_ptr[f0 + number]
        for i in range(start, stop):
            for e in range(row_ptr[i], row_ptr[i + 1]):
                number = np.uintp(local[e])
                place = count[number]
                entry_row[place] = i - start
                if with_values:
                    column_values[place] = row_values[e]
                count[number] = place + 1
        tick += n_features
        f0 += n_features
        e0 += n_entries
        batch += 1
        feature_ptr[batch] = f0
    column_ptr[f0] = e0
    return f0
