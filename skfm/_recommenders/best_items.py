"""The best items of rows, and the most similar of some vectors."""

import numbers

import numpy as np
from scipy import sparse

from skfm._recommenders.candidates import hide_others, pattern_of
from skfm._solvers import top_k
from skfm._utils import validation


def find_best(rows, item_table, n_items, candidates, n_threads):
    """The ``n_items`` best candidates of each row of a table, all of them if they are fewer.

    Returns their positions and products; -1 where too few are left.
    """
    validation.check_number(n_items, "n_items", numbers.Integral, low=1)
    n_candidates = candidates.count(item_table.n_items)
    if n_candidates == 0:
        raise ValueError(
            "No items are left to choose from: pass other candidates, or exclude fewer items."
        )
    n_left_out = item_table.n_items - n_candidates
    if n_left_out and n_left_out * len(rows) < n_candidates:
        candidates = hide_others(candidates, len(rows), item_table.n_items)
    positions, hidden = candidates
    tiles = item_table.select(positions)
    if hidden is None:
        hidden = sparse.csr_matrix((len(rows), tiles.n_columns), dtype=bool)
    elif positions is not None:
        hidden = pattern_of(hidden)[:, positions]
    if not hidden.has_sorted_indices:
        hidden = hidden.sorted_indices()
    n_best = min(int(n_items), n_candidates)
    pattern = hidden.indptr, hidden.indices
    found, values = top_k.best(rows, tiles, n_best, pattern, n_threads)
    if positions is not None:
        found = np.where(found < 0, -1, positions[found])
    return found, values


def find_best_or_none(rows, item_table, k, candidates, n_threads):
    """Positions of the ``k`` best candidates of each row; -1 where there are fewer, or none."""
    n_candidates = candidates.count(item_table.n_items)
    best = np.full((len(rows), k), -1)
    if n_candidates:
        n_best = min(k, n_candidates)
        best[:, :n_best], _ = find_best(rows, item_table, n_best, candidates, n_threads)
    return best


def find_similar(vectors, asked, n, argument, n_threads):
    """For some of the `UnitVectors`, the others with the largest cosines, and these.

    ``argument`` is what errors call their number ``n``.
    """
    validation.check_number(n, argument, numbers.Integral, low=1)
    n_best = min(int(n), len(vectors.table))
    itself = np.arange(asked.size + 1), asked
    return top_k.best(vectors.table[asked], vectors.tiles, n_best, itself, n_threads)
