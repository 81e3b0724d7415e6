"""Noise that differs between levels: some users and items are harder to predict than others.

The noise precision of a row of weight c is ``c a`` times the product of the precisions ``lambda``
of its levels, one of each one-hot group of features. ``lambda ~ Gamma(nu / 2, nu / 2)``, which has
the mean 1, and the degrees of freedom ``nu`` of a group are equally likely to be any of FREEDOMS.
"""

from dataclasses import dataclass

import numpy as np

from skfm._solvers.fm.priors import Scales

# Below 4, the noise of a new level would have a variance that is next to unknown; at 4096, all
# levels have the same.
FREEDOMS = 2.0 ** np.arange(2, 13)
LEAST_LEVELS = 30


@dataclass
class _Levels:
    """A one-hot group: the column of each row, or one more than there are if it has none."""

    group: int
    of_row: np.ndarray  # (n_rows,)
    columns: np.ndarray  # of the group
    scales: Scales  # of their precisions


def find_level_noise(problem, group, weight, draw):
    """The noise of groups of at least LEAST_LEVELS features of which no row has two; None if there
    are none. It starts as in ``draw``."""
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
        own = np.bincount(of_row, weight, problem.n_used + 1)[columns]
        found.append(_Levels(number, of_row, columns, Scales(FREEDOMS, own / 2)))
    return LevelNoise(found, problem.n_used, draw) if found else None


class LevelNoise:
    """The precisions of all levels, and each group's degrees of freedom, drawn in turn."""

    def __init__(self, levels, n_used, draw):
        self.levels = levels
        self.precision = np.ones(n_used + 1)  # the last is that of rows without a level
        self.freedom = np.full(len(draw.group_mean), np.inf)
        if draw.level_precision.size:
            for own in levels:
                self.precision[own.columns] = draw.level_precision[own.columns]
                self.freedom[own.group] = draw.freedom[own.group]

    def state(self):
        """What a draw has of it."""
        return self.precision[:-1].copy(), self.freedom.copy()

    def of_rows(self):
        """The product of the precisions of each row's levels."""
        product = self.precision[self.levels[0].of_row]
        for own in self.levels[1:]:
            product *= self.precision[own.of_row]
        return product

    def draw(self, squares, rng):
        """Draw everything; ``squares`` (n_rows,) are the rows' squared errors times their weights
        and the common precision. Returns the rows' products."""
        product = self.of_rows()
        for own in self.levels:
            product /= self.precision[own.of_row]
            total = np.bincount(own.of_row, squares * product, self.precision.size)[own.columns]
            self.precision[own.columns], self.freedom[own.group] = own.scales.draw(total / 2, rng)
            product *= self.precision[own.of_row]
        return product
