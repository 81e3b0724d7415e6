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
    n_best = _count_best(n_items, candidates, item_table.n_items)
    n_left_out = item_table.n_items - candidates.count(item_table.n_items)
    if n_left_out and n_left_out * len(rows) < item_table.n_items - n_left_out:
        candidates = hide_others(candidates, len(rows), item_table.n_items)
    tiles = item_table.select(candidates.positions)
    pattern = _hidden_pattern(candidates, len(rows), tiles.n_columns)
    found, values = top_k.best(rows, tiles, n_best, pattern, n_threads)
    return _among_all(found, candidates), values


def find_best_scored(score, shape, n_items, candidates, n_threads):
    """The same for rows whose scores come in blocks.

    ``score(first, last)`` returns the scores of all items for some of the rows, a new array;
    ``shape`` is that of the scores of all rows.
    """
    n_rows, n_columns = shape
    n_best = _count_best(n_items, candidates, n_columns)
    positions = candidates.positions
    pattern = _hidden_pattern(candidates, n_rows, candidates.count(n_columns))

    def chosen(first, last):
        scores = score(first, last)
        return scores if positions is None else np.ascontiguousarray(scores[:, positions])

    found, scores = top_k.best_scored(chosen, shape, n_best, pattern, n_threads)
    return _among_all(found, candidates), scores


def _count_best(n_items, candidates, n_all):
    """How many items to find for each row."""
    validation.check_number(n_items, "n_items", numbers.Integral, low=1)
    n_candidates = candidates.count(n_all)
    if n_candidates == 0:
        raise ValueError(
            "No items are left to choose from: pass other candidates, or exclude fewer items."
        )
    return min(int(n_items), n_candidates)


def _hidden_pattern(candidates, n_rows, n_candidates):
    """The pair (indptr, indices) of candidates that a row may not get, sorted."""
    positions, hidden = candidates
    if hidden is None:
        hidden = sparse.csr_matrix((n_rows, n_candidates), dtype=bool)
    elif positions is not None:
        hidden = pattern_of(hidden)[:, positions]
    if not hidden.has_sorted_indices:
        hidden = hidden.sorted_indices()
    return hidden.indptr, hidden.indices


def _among_all(found, candidates):
    """Positions among all items of what was found among the candidates."""
    positions = candidates.positions
    return found if positions is None else np.where(found < 0, -1, positions[found])


def find_similar(vectors, asked, n, argument, n_threads):
    """For some of the `UnitVectors`, the others with the largest cosines, and these.

    ``argument`` is what errors call their number ``n``.
    """
    validation.check_number(n, argument, numbers.Integral, low=1)
    n_best = min(int(n), len(vectors.table))
    itself = np.arange(asked.size + 1), asked
    return top_k.best(vectors.table[asked], vectors.tiles, n_best, itself, n_threads)
