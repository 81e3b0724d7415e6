"""Directions of descent from the saddle point at zero factors.

If all factors are near zero, their gradients are as well, since the gradient of a factor is a sum
over other factors. Interactions may still lower the objective; the second derivatives tell. For a
small additional component ``u``, the objective changes by ``u' H u / 2``, where ::

    H = A' diag(g) A (pairs that interact only) + diag(s)

for rows ``A``, derivatives ``g`` of the loss by their outputs, and penalties ``s``. If the
smallest eigenvalue of ``H`` is negative, its eigenvector is a direction of descent. Otherwise, a
component of zeros is optimal (and for pairs of features and a convex loss, the whole model is at
its global minimum: Bach, Mairal, Ponce 2008).
"""

import numpy as np
from scipy.sparse.linalg import ArpackError, ArpackNoConvergence, LinearOperator, eigsh

MAX_FACTOR_SIZE = 0.5  # see `factor_size`: with larger ones, there is no such saddle point
NEGLIGIBLE = 0.01  # with smaller factors, the model is linear
N_ROWS = 100_000  # sampled rows: enough to find a direction
ACCURACY = 0.1  # relative, of the eigenvalue
FIRST_STEP = 0.1  # standard deviation of the change of the outputs by the first, shortest step
N_STEPS = 6  # each changes the outputs four times as much as the one before


def factor_size(problem, factors):
    """The approximate size of the factors' contribution to an output; targets are of size 1.

    It is the largest ``|v_j|^2`` of all features, times the number of features in a row.
    """
    square = np.einsum("cjf,cjf->cj", factors, factors, dtype=np.float64).max(initial=0)
    return square * max(problem.mean_row_length, 1.0)


def descent_directions(problem, slope):
    """For each output, the direction in which a new component lowers the objective most.

    ``slope`` (n_outputs, n_rows) are the derivatives of the weighted losses. Yields the output and
    steps ``t u`` (n_used,) of increasing length, unless there is no direction of descent.
    """
    if problem.n_used < 2 or 2 not in problem.interactions.degrees:
        return
    chosen = slice(None, None, -(-problem.n_rows // N_ROWS))
    rows = problem.scaled_rows(chosen)
    represented = problem.n_rows * problem.represented / rows.shape[0]
    for output, output_slope in enumerate(slope[:, chosen] * represented):
        direction = _least_eigenvector(_curvature(problem, chosen, output_slope))
        if direction is not None:
            zeros = np.zeros(problem.n_used)
            interaction_outputs, _, _ = problem.interactions.parts(
                rows, problem.used, zeros, direction[:, None]
            )
            weight = problem.weight[chosen] if problem.weight.size else None
            size = np.sqrt(np.cov(interaction_outputs.ravel(), aweights=weight, ddof=0))
            unit = FIRST_STEP / max(size, np.finfo(float).tiny * 4**N_STEPS)  # no step overflows
            yield output, [np.sqrt(unit * 4**n) * direction for n in range(N_STEPS)]


def _curvature(problem, chosen, slope):
    """H as a linear operator, computed from the chosen rows."""
    interactions = problem.interactions
    interaction_group = interactions.interaction_group[problem.used]
    partners = interactions.partners.astype(np.float64)
    rows = problem.scaled_rows(chosen)
    parts = problem.scaled_rows(chosen, interaction_group, len(partners))
    columns = parts.T.tocsr()
    self_terms = rows.multiply(rows).T @ slope * partners.diagonal()[interaction_group]
    diagonal = problem.factor_penalty - self_terms

    def multiply(u):
        u = u.ravel()
        sums = (parts @ u).reshape(-1, len(partners))
        layers = sums @ partners * slope[:, None]
        return diagonal * u + columns @ layers.ravel()

    return LinearOperator((problem.n_used, problem.n_used), matvec=multiply, dtype=np.float64)


def _least_eigenvector(operator):
    """The eigenvector of the smallest eigenvalue, or None if no eigenvalue is negative."""
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
