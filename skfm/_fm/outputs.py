"""Raw outputs of fitted factorization machines."""

import numpy as np
from scipy import sparse

from skfm._solvers.fm.column_scaling import subtract
from skfm._solvers.fm.interactions import compute_outputs
from skfm._solvers.fm.parameters import Parameters
from skfm._utils.threads import run_together

ROWS_PER_THREAD = 10_000  # below this a second thread costs more than it brings


def raw_outputs(X, parameters, interactions, n_threads, features=slice(None)):
    """Raw outputs of checked rows, of shape (n_samples, n_outputs); some may overflow.

    The columns of X and the parameters are those of the ``features`` of the model, in this order.
    """
    factors = parameters.factors
    output = np.empty((X.shape[0], parameters.intercept.size), dtype=factors.dtype)
    indptr = X.indptr.astype(np.int64, copy=False)
    with np.errstate(over="ignore"):
        rows = indptr, X.indices, X.data.astype(factors.dtype, copy=False)
    record = interactions.record(features)
    n_threads = min(n_threads, X.shape[0] // ROWS_PER_THREAD + 1)
    bounds = [X.shape[0] * part // n_threads for part in range(n_threads + 1)]

    def work(part, wait):
        compute_outputs(rows, parameters, record, bounds[part], bounds[part + 1], output)

    run_together(work, n_threads)
    return output


def centered_outputs(X, center, parameters, interactions, n_threads):
    """The same for parameters of the columns of X minus ``center``, which may be None."""
    return raw_outputs(_minus(X, center), parameters, interactions, n_threads)


def finite_outputs(X, center, parameters, interactions, n_threads):
    """The same; where float32 overflows on the way, in a square or in X itself, in float64.

    What overflows in float64 as well is left infinite or NaN.
    """
    output = centered_outputs(X, center, parameters, interactions, n_threads)
    overflown = np.flatnonzero(~np.isfinite(output).all(axis=1))
    if overflown.size and output.dtype != np.float64:
        rows = _minus(X[overflown].astype(np.float64), center)
        columns, rows.indices[:] = np.unique(rows.indices, return_inverse=True)
        shape = overflown.size, columns.size
        rows = sparse.csr_matrix((rows.data, rows.indices, rows.indptr), shape)
        exact = Parameters(
            parameters.intercept,
            parameters.linear[:, columns].astype(np.float64),
            parameters.factors[:, columns].astype(np.float64),
            parameters.field_pairs.astype(np.float64),
        )
        with np.errstate(over="ignore"):
            output[overflown] = raw_outputs(rows, exact, interactions, n_threads, columns)
    return output


def _minus(X, center):
    if center is None:
        return X
    with np.errstate(over="ignore"):
        return subtract(X, center)
