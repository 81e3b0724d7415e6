"""Planning: cut shuffled rows into mini-batches and index each batch by row and by feature."""

import numpy as np

from skfm._kernels._jit import jit


@jit
def plan_batches(source, rows, batch_size, scratch, window_rows, window_columns):
    """Plan the batches of the rows ``rows``; returns the number of (batch, feature) pairs.

    ``source`` is a `ScaledRows`, ``scratch`` a `PlanScratch`. The outputs are ``window_columns``
    and ``window_rows``, except for its starts of batches, targets and weights. Values are not
    written if the arrays of values are empty.
    """
    indptr, indices, data, position, center, inverse_scale = source
    first_seen, entry_feature, count = scratch
    row_ptr, local, row_values = window_rows.ptr, window_rows.local, window_rows.value
    feature_ptr, features = window_columns.start, window_columns.feature
    column_ptr, entry_row = window_columns.ptr, window_columns.row
    column_values = window_columns.value
    n_rows = rows.size
    with_values = row_values.size > 0
    tick = np.int32(0)
    f0, e0 = np.uintp(0), np.uintp(0)
    feature_ptr[0] = 0
    row_ptr[0] = 0
    one = np.uintp(1)
    for batch, start in enumerate(range(0, n_rows, batch_size)):
        stop = min(n_rows, start + batch_size)
        # Separate loops: the cache misses of the copy overlap, and the other loops work in the
        # cache.
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
        # Number the features in order of appearance, without an unpredictable branch.
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
        # From here on, count[number] is the position of the feature's next entry.
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
