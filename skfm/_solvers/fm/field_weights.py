"""Updates of the weights of pairs of fields, in block coordinate descent and Gibbs sampling."""

from functools import cached_property

import numpy as np
from scipy import sparse

from skfm._kernels.field_weights import add_step, gather_products, solve_step
from skfm._utils.threads import share

# Weights that are solved for together. The costs of the products grow with their square, and a
# block takes another pass over the rows.
BLOCK_SIZE = 64
LEAST_ROWS, MOST_CHUNKS = 1 << 12, 64  # whose sums are added in order: threads change no bit
NO_NOISE = np.empty((0, 0))


class FieldWeights:
    """The pairs of fields that have a weight to be updated, in blocks.

    There are none unless the model is field-weighted. ``sweeper`` has the rows and the threads.
    """

    def __init__(self, sweeper):
        interactions = sweeper.problem.interactions
        self.sweeper = sweeper
        self.penalty = interactions.pair_penalty(sweeper.problem.total_weight)
        self.fields = np.stack(np.triu_indices(len(interactions.partners), 1), axis=1)
        is_updated = interactions.partners[tuple(self.fields.T)]
        has_weights = interactions.kind == "weighted" and interactions.n_components > 0
        self.places = np.flatnonzero(is_updated & has_weights)
        self.n_weights = self.places.size
        starts = range(0, self.n_weights, BLOCK_SIZE)
        self.blocks = [self.places[start : start + BLOCK_SIZE] for start in starts]

    @cached_property
    def has_within(self):
        """Whether a row has several entries of a field, which interact without a weight."""
        problem = self.sweeper.problem
        field = problem.interactions.interaction_group[problem.indices].astype(np.int64)
        rows = np.ones(field.size, np.int64), field, problem.indptr
        shape = problem.n_rows, len(problem.interactions.partners)
        counts = sparse.csr_matrix(rows, shape=shape, copy=True)
        counts.sum_duplicates()
        return bool(counts.data.max(initial=0) > 1)

    def update(self, model, rows, precision=1.0, noise=NO_NOISE):
        """Move the weights to their optimum given all other parameters, or sample them.

        ``precision`` and ``noise`` (1, n_weights) are those of `update_columns`. This updates the
        errors of the rows, but not their sums.
        """
        for number, places in enumerate(self.blocks):
            weights = model.field_pairs[:, 0]
            before = weights[places].astype(np.float64)
            own_noise = noise[:, number * BLOCK_SIZE : (number + 1) * BLOCK_SIZE]
            gram, step = self._gather(model, rows, places), np.empty(places.size)
            solve_step(gram, precision, self.penalty, before - 1, own_noise, step)
            weights[places] = before + step
            self._add_step(model, rows, places, weights[places] - before)

    def log_prior(self, model, log_scale):
        """The log prior density if all weights are multiplied by a number, up to a constant, plus
        the logarithm of the Jacobian."""
        distance = np.exp(log_scale) * model.field_pairs[self.places].astype(np.float64) - 1
        return self.n_weights * log_scale - self.penalty / 2 * np.square(distance).sum()

    def multiply(self, model, scale):
        """Multiply all weights by a number."""
        model.field_pairs[self.places] *= model.field_pairs.dtype.type(scale)

    def _bounds(self):
        """Where chunks of the rows begin, the same for any number of threads."""
        n_rows = self.sweeper.problem.n_rows
        n_chunks = max(1, min(MOST_CHUNKS, n_rows // LEAST_ROWS))
        return [n_rows * number // n_chunks for number in range(n_chunks + 1)]

    def _gather(self, model, rows, places):
        """The Gram matrix of the weights at these places."""
        sweeper, bounds, n = self.sweeper, self._bounds(), places.size
        grams = np.empty((len(bounds) - 1, n, n + 1))

        def work(number):
            first, last = bounds[number], bounds[number + 1]
            terms = sweeper.source, model, sweeper.interactions, rows, self.fields[places]
            gather_products(first, last, *terms, grams[number])

        share(work, len(grams), sweeper.n_threads)
        return np.add.reduce(grams)

    def _add_step(self, model, rows, places, step):
        """Add the step of the weights at these places to the errors of the rows."""
        sweeper, bounds = self.sweeper, self._bounds()

        def work(number):
            first, last = bounds[number], bounds[number + 1]
            terms = sweeper.source, model, sweeper.interactions, rows, self.fields[places]
            add_step(first, last, *terms, step)

        share(work, len(bounds) - 1, sweeper.n_threads)
