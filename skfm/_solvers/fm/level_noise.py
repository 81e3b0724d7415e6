"""Heteroscedastic noise: some users and items are harder to predict than others.

The levels of a one-hot group, such as users, have noise precisions ``lambda``. The noise precision
of a row of weight c is ``c a`` times the product of the precisions of its levels, one of each
group. The prior is ``lambda ~ Gamma(nu / 2, nu / 2)``, with mean 1; the degrees of freedom ``nu``
of a group have a uniform prior over FREEDOMS.
"""

from dataclasses import dataclass

import numpy as np

from skfm._solvers.fm.priors import GammaMultipliers

# Below 4, hardly anything would be known of the noise of a new level; at 4096, all levels have
# nearly the same noise.
FREEDOMS = 2.0 ** np.arange(2, 13)
LEAST_LEVELS = 30  # of a group, for its noise to differ between levels


@dataclass
class _Levels:
    """The levels of a one-hot group."""

    group: int
    of_row: np.ndarray  # (n_rows,), the column of each row, or n_used without one
    columns: np.ndarray  # of the group
    multipliers: GammaMultipliers  # the precisions


def find_level_noise(problem, group, weight, draw):
    """The `LevelNoise` of all groups of at least LEAST_LEVELS features of which no row has two.

    It starts as in ``draw``, and is None if there is no such group.
    """
    row = np.repeat(np.arange(problem.n_rows), np.diff(problem.indptr))
    column = problem.position[problem.indices]
    found = []
    for number in np.flatnonzero(np.bincount(group) >= LEAST_LEVELS):
        chosen = group[column] == number
        rows = row[chosen]
        if (np.diff(rows) == 0).any():
            continue
        of_row = np.full(problem.n_rows, problem.n_used)
        of_row[rows] = column[chosen]
        columns = np.flatnonzero(group == number)
        counts = np.bincount(of_row, weight, problem.n_used + 1)[columns]
        found.append(_Levels(number, of_row, columns, GammaMultipliers(FREEDOMS, counts / 2)))
    return LevelNoise(found, problem.n_used, draw) if found else None


class LevelNoise:
    """The noise precisions of all levels, and the degrees of freedom of each group."""

    def __init__(self, fields, n_used, draw):
        self.fields = fields
        self.precision = np.ones(n_used + 1)  # the last is that of rows without a level
        self.freedom = np.full(len(draw.group_mean), np.inf)
        if draw.level_precision.size:
            for levels in fields:
                self.precision[levels.columns] = draw.level_precision[levels.columns]
                self.freedom[levels.group] = draw.freedom[levels.group]

    def state(self):
        """Copies of the precisions and the degrees of freedom, as a `Draw` has them."""
        return self.precision[:-1].copy(), self.freedom.copy()

    def restore(self, state):
        self.precision[:-1], self.freedom[:] = state

    def of_rows(self):
        """The product of the precisions of each row's levels."""
        product = self.precision[self.fields[0].of_row]
        for levels in self.fields[1:]:
            product *= self.precision[levels.of_row]
        return product

    def draw(self, squares, rng):
        """Draw the precisions of each group given the others; returns `of_rows` afterwards.

        ``squares`` (n_rows,) are the rows' squared errors times their weights and the common
        precision.
        """
        product = self.of_rows()
        for levels in self.fields:
            product /= self.precision[levels.of_row]
            total = np.bincount(levels.of_row, squares * product, self.precision.size)[
                levels.columns
            ]
            self.precision[levels.columns], self.freedom[levels.group] = levels.multipliers.draw(
                total / 2, rng
            )
            product *= self.precision[levels.of_row]
        return product
