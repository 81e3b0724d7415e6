"""Directions of descent from a saddle point: where factors, and so their gradients, are near zero.

If all factors are near zero, products of features may still lower the objective. Gradients do not
show it, since that of each factor is a sum of other factors, but second derivatives do. With one
more component ``u``, the objective changes by ``u' H u / 2`` for small ``u``, where ::

    H = A' diag(g) A (pairs that interact only) + diag(s)

with rows ``A``, derivatives ``g`` of the loss by their outputs and penalties ``s``. If the least
eigenvalue of ``H`` is negative, its eigenvector is a direction of descent. Otherwise there is
none: a component of zeros is at its optimum (and for pairs of features and a convex loss, so is
the whole model: Bach, Mairal, Ponce 2008).
"""

import numpy as np
from scipy.sparse.linalg import ArpackError, ArpackNoConvergence, LinearOperator, eigsh

WEAK = 0.5  # see `strength`: training may rest at a saddle point
NOTHING = 0.01  # the model is linear
N_ROWS = 100_000  # sampled rows: enough to find a direction
ACCURACY = 0.1  # of the eigenvalue, relative
FIRST = 0.1  # standard deviation of what the first, shortest step adds to the outputs
N_STEPS = 6  # each adds four times as much to the outputs as the one before


def strength(problem, factors):
    """The size of the factors' part of an output, roughly: targets are of size 1.

    ``|v_j|^2``, for the feature where it is largest, times the number of features in a row.
    """
    square = np.einsum("cjf,cjf->cj", factors, factors, dtype=np.float64).max(initial=0)
    return square * max(problem.mean_row_length, 1.0)


def ways_down(problem, slope):
    """Directions in which a component of pairs lowers the objective most, one for each output.

    ``slope`` (n_outputs, n_rows) are the derivatives of the weighted losses. Yields steps ``t u``
    (n_used,) of increasing length for each output, unless there is no direction of descent.
    """
    if problem.n_used < 2 or 2 not in problem.interactions.degrees:
        return
    chosen = slice(None, None, -(-problem.n_rows // N_ROWS))
    rows = problem.scaled_rows(chosen)
    for output, own in enumerate(slope[:, chosen] * (problem.n_rows / rows.shape[0])):
        direction = _steepest(_curvature(problem, chosen, own))
        if direction is not None:
            nothing = np.zeros(problem.n_used)
            bent, _, _ = problem.interactions.parts(
                rows, problem.used, nothing, direction[:, None]
            )
            weight = problem.weight[chosen] if problem.weight.size else None
            size = np.sqrt(np.cov(bent.ravel(), aweights=weight, ddof=0))
            unit = FIRST / max(size, np.finfo(float).tiny * 4**N_STEPS)  # no step overflows
            yield output, [np.sqrt(unit * 4**n) * direction for n in range(N_STEPS)]


def _curvature(problem, chosen, slope):
    """H as an operator, from some of the rows."""
    interactions = problem.interactions
    own_group = interactions.interaction_group[problem.used]
    partners = interactions.partners.astype(np.float64)
    rows = problem.scaled_rows(chosen)
    parts = problem.scaled_rows(chosen, own_group, len(partners))
    columns = parts.T.tocsr()
    itself = rows.multiply(rows).T @ slope * partners.diagonal()[own_group]
    diagonal = problem.factor_penalty - itself

    def multiply(u):
        u = u.ravel()
        sums = (parts @ u).reshape(-1, len(partners))
        layers = sums @ partners * slope[:, None]
        return diagonal * u + columns @ layers.ravel()

    return LinearOperator((problem.n_used, problem.n_used), matvec=multiply, dtype=np.float64)


def _steepest(operator):
    """The eigenvector of the least eigenvalue, or None if no eigenvalue is negative."""
    n = operator.shape[0]
    start = np.random.RandomState(0).standard_normal(n)
    try:
        values, vectors = eigsh(
            operator, k=1, which="SA", v0=start, ncv=min(n, 20), tol=ACCURACY, maxiter=10
        )
    except ArpackNoConvergence as found:
        values, vectors = found.eigenvalues, found.eigenvectors
    except ArpackError:  # the operator is zero: no penalty, and no slope
        return None
    return vectors[:, 0] if values.size and values[0] < 0 else None
