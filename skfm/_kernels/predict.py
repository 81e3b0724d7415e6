"""Raw output of fitted factorization machines, row by row, straight from a CSR matrix."""

import numpy as np

from skfm._kernels._jit import jit

LINE = 64  # bytes of a cache line
ROWS_TOGETHER = 64  # rows whose factors are prefetched together: they fit into the L1 cache


@jit(allocates=True)
def predict(indptr, indices, data, intercept, linear, factors, start, stop, output):
    """Write the raw outputs of rows ``start:stop`` into ``output`` (n_rows, n_outputs).

    ``linear`` has shape (n_outputs, n_features), ``factors`` (n_outputs, n_features,
    n_components). A row's result does not depend on the other rows. The pairs are summed as
    ``1/2 sum_f ((sum_j x_j v_jf)^2 - sum_j (x_j v_jf)^2)``, four entries at a time.

    The factors of some rows are prefetched before their outputs are computed, in a loop so short
    that many cache misses overlap: this is nearly twice as fast. The return value has no meaning,
    but keeps the compiler from removing that loop.
    """
    n_outputs, _, n_components = factors.shape
    zero, half = factors.dtype.type(0), factors.dtype.type(0.5)
    total = np.empty(n_components, factors.dtype)
    square = np.empty(n_components, factors.dtype)
    prefetched = zero
    for output_number in range(n_outputs):
        w, v = linear[output_number], factors[output_number]
        for first in range(start, stop, ROWS_TOGETHER):
            last = min(stop, first + ROWS_TOGETHER)
            if n_components > 0:
                for e in range(np.uintp(indptr[first]), np.uintp(indptr[last])):
                    prefetched = max(prefetched, v[np.uintp(indices[e]), 0])
            if n_components * factors.itemsize > LINE:
                for e in range(np.uintp(indptr[first]), np.uintp(indptr[last])):
                    prefetched = max(prefetched, v[np.uintp(indices[e]), n_components - 1])
            for r in range(first, last):
                e, end = np.uintp(indptr[r]), np.uintp(indptr[r + 1])
                z = zero
                for f in range(n_components):
                    total[f] = zero
                    square[f] = zero
                while e < end:
                    a, xa = np.uintp(indices[e]), data[e]
                    z += xa * w[a]
                    if e + np.uintp(4) <= end:
                        b, xb = np.uintp(indices[e + np.uintp(1)]), data[e + np.uintp(1)]
                        c, xc = np.uintp(indices[e + np.uintp(2)]), data[e + np.uintp(2)]
                        d, xd = np.uintp(indices[e + np.uintp(3)]), data[e + np.uintp(3)]
                        z += xb * w[b] + xc * w[c] + xd * w[d]
                        for f in range(n_components):
                            pa, pb, pc, pd = xa * v[a, f], xb * v[b, f], xc * v[c, f], xd * v[d, f]
                            total[f] += pa + pb + pc + pd
                            square[f] += pa * pa + pb * pb + pc * pc + pd * pd
                        e += np.uintp(4)
                    else:
                        for f in range(n_components):
                            pa = xa * v[a, f]
                            total[f] += pa
                            square[f] += pa * pa
                        e += np.uintp(1)
                pairs = zero
                for f in range(n_components):
                    pairs += total[f] * total[f] - square[f]
                output[r, output_number] = intercept[output_number] + z + half * pairs
    return prefetched
