"""Columns with entries in most rows, whose linear weights are treated jointly.

Numeric columns may be nearly collinear. Steps of single weights then converge slowly, and the
second derivative by a single weight understates its posterior variance. One-hot columns have no
such problem, since few rows have entries in two of them.
"""

import numpy as np

from skfm._kernels.principal_axes import add_products, cholesky

LEAST_SHARE = 0.5  # of the rows' weight: dense columns have entries in more
MAX_COLUMNS = 100  # the Gram matrix of more columns would cost much more than an epoch
CHUNK = 1 << 14  # rows processed together
JITTER = 1e-10  # relative to the mean diagonal, added to keep a matrix invertible


class DenseColumns:
    """The dense columns of a problem; ``columns`` are their positions among its features."""

    def __init__(self, problem, settings):
        self.problem = problem
        self.fits_intercept = settings.fit_intercept
        self.columns = np.zeros(0, np.intp)
        if settings.fit_linear and not problem.has_lasso:
            is_dense = problem.chunk_count() > LEAST_SHARE * problem.total_weight
            self.columns = np.flatnonzero(is_dense & problem.interactions.has_linear[problem.used])
        if self.columns.size > MAX_COLUMNS:
            self.columns = self.columns[:0]

    def information(self, curvature, sample=None):
        """Fisher information matrices of the weights and, last, the intercept of each output.

        The shape is (n_outputs, n_columns + 1, n_columns + 1). ``curvature`` (n_outputs, n_rows)
        are the second derivatives of the losses. A ``sample`` of rows may represent all rows.
        """
        size = self.columns.size + 1
        total = np.zeros((len(curvature), size, size))
        for chosen, rows in self._chunks(sample):
            for output, weight in enumerate(curvature[:, chosen]):
                add_products(0, len(rows), np.sqrt(weight)[:, None] * rows, total[output])
        if not self.fits_intercept:
            total[:, -1, :] = total[:, :, -1] = 0
        n_rows = self.problem.n_rows if sample is None else sample.size
        return total * (self.problem.n_rows * self.problem.represented / n_rows)

    def variances(self, information, precision):
        """Posterior variances of the weights of one output, for priors of the given precisions."""
        if not self.columns.size:
            return np.zeros(0)
        inverse = _inverse_cholesky(information, precision)
        return np.square(inverse).sum(axis=0)[:-1]

    def newton_steps(self, curvature, slope, linear):
        """Newton steps of the intercepts (n_outputs,) and linear weights (n_outputs, n_used).

        ``slope`` and ``curvature`` (n_outputs, n_rows) are the first and second derivatives of the
        weighted losses by the outputs.
        """
        problem = self.problem
        penalty = problem.linear_penalty[self.columns].astype(np.float64)
        gradient = np.zeros((len(linear), self.columns.size + 1))
        for chosen, rows in self._chunks():
            gradient += np.einsum("or,rc->oc", slope[:, chosen], rows)
        gradient *= problem.represented
        gradient[:, :-1] += penalty * linear[:, self.columns]
        intercepts, steps = np.zeros(len(linear)), np.zeros(linear.shape)
        for output, information in enumerate(self.information(curvature)):
            inverse = _inverse_cholesky(information, penalty)
            step = np.einsum("jk,k->j", inverse, gradient[output])
            step = -np.einsum("jk,j->k", inverse, step)
            steps[output, self.columns] = step[:-1]
            intercepts[output] = step[-1] * self.fits_intercept
        return intercepts, steps

    def _chunks(self, sample=None):
        """Chunks of rows with their dense columns and a last column of ones."""
        n_rows = self.problem.n_rows if sample is None else sample.size
        for first in range(0, n_rows, CHUNK):
            chosen = slice(first, min(first + CHUNK, n_rows))
            chosen = chosen if sample is None else sample[chosen]
            rows = self.problem.scaled_rows(chosen)[:, self.columns].toarray()
            yield chosen, np.column_stack([rows, np.ones(len(rows))])


def _inverse_cholesky(information, precision):
    """The inverse of the Cholesky factor of the information plus the prior's precision."""
    matrix = information + np.diag(np.append(precision, 0.0))
    matrix[np.diag_indices_from(matrix)] += JITTER * matrix.diagonal().mean()
    lower, inverse = np.zeros_like(matrix), np.zeros_like(matrix)
    cholesky(matrix, lower, inverse)
    return inverse
