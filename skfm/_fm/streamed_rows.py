"""Encoded rows in files, as an estimator sees them: their targets as numbers, and its weights."""

import numpy as np

from skfm._fm.rows import Rows, without_ones
from skfm._fm.target_transform import Targets
from skfm._solvers.fm.streamed import Block, InOrder, blocks_of
from skfm._utils.ahead import one_ahead
from skfm._utils.sorted_search import find_sorted

SAMPLED = 1_000_000  # targets from which quantiles are estimated


class StreamedRows:
    """Rows of numbers in pieces, which are read when they are needed.

    Parameters
    ----------
    encoded : skfm.streams.EncodedRows
    to_numbers : callable
        Turns labels or numbers as given into those of the estimator.
    weigh : callable, optional
        ``weigh(labels, weight)`` returns weights that also depend on the classes of the rows.
    """

    def __init__(self, encoded, to_numbers, weigh=None):
        self.encoded = encoded
        self.n_features, self.dtype = encoded.n_features, np.dtype(encoded.dtype)
        self.piece_rows, self.piece_entries = encoded.piece_rows, encoded.piece_entries
        self._to_numbers = to_numbers
        self._weigh = weigh

    def read(self, pieces):
        X, y, weight = self.encoded.read(pieces)
        return Rows(X, *self._as_numbers(y, weight))

    def blocks(self):
        """All rows, a block at a time, read one thread ahead."""
        blocks = blocks_of(np.arange(self.piece_rows.size), self.piece_entries)
        return one_ahead(self.read(pieces) for pieces in blocks)

    def _as_numbers(self, y, weight):
        y = self._to_numbers(as_given(self.encoded, y))
        if weight is None:
            weight = np.ones(y.size, self.dtype)
        if self._weigh is not None:
            weight = self._weigh(y, weight)
        return y, weight

    @property
    def targets(self):
        """The targets and weights of all rows."""

        def parts():
            for y, weight in targets_in_parts(self.encoded):
                yield self._as_numbers(y, weight)

        def sample():
            share = min(1.0, SAMPLED / self.encoded.n_rows)
            rng, chosen = np.random.default_rng(0), []
            for y, weight in parts():
                kept = rng.random(y.size) < share
                chosen.append((y[kept], weight[kept]))
            return tuple(np.concatenate(column) for column in zip(*chosen, strict=True))

        return Targets(parts, sample)

    def for_solver(self, transform):
        """The same rows in the solver's units."""
        return _SolverRows(self, transform)


class RowsInFiles:
    """Encoded rows as `StreamFitting` sees them: what is known, and how they become numbers."""

    remedy_for_early_stopping = (
        "requires rows_val if the rows do not fit into memory; pass validation rows,"
    )
    feature_names = None  # encoders return matrices without names, to `fit` and to `predict`

    def __init__(self, encoded):
        self.encoded = encoded
        self.n_features, self.checksums = encoded.n_features, encoded.checksums
        self.feature_fields, self.feature_groups = encoded.feature_fields, encoded.feature_groups
        self.has_strings = encoded.labels is not None

    def count_labels(self, check):
        """See the function of this name."""
        return count_labels(self.encoded, check)

    def as_numbers(self, estimator, weigh, name="y"):
        """The rows with targets as numbers; ``weigh`` and ``name`` as in `StreamFitting`."""
        return StreamedRows(self.encoded, lambda y: estimator._to_numbers(y, name), weigh)


class _SolverRows(InOrder):
    """See `skfm._solvers.fm.streamed.RowsInPieces`."""

    def __init__(self, rows, transform):
        self._rows, self._transform = rows, transform
        self.n_features, self.dtype = rows.n_features, rows.dtype
        self.piece_rows, self.piece_entries = rows.piece_rows, rows.piece_entries

    def read(self, pieces):
        X, y, weight = self._rows.read(pieces)
        with np.errstate(over="ignore"):  # an infinite loss raises an error later
            target = self._transform.apply(y).astype(self.dtype)
        return Block(X, target, without_ones(weight))


def as_given(encoded, y):
    """Labels or numbers as they were in the files, from what `EncodedRows` returns."""
    if encoded.labels is not None:
        return encoded.labels[y]
    return y.astype(encoded.target_dtype, copy=False)


def targets_in_parts(encoded):
    """What `EncodedRows` returns for the targets and weights of all rows, part by part."""
    blocks = blocks_of(np.arange(encoded.piece_rows.size), encoded.piece_rows)
    return one_ahead(encoded.read_targets(pieces) for pieces in blocks)


def count_labels(encoded, check):
    """The distinct labels of all rows, sorted, and the weight of the rows of each.

    ``check(labels)`` is called with the labels of the first rows, before there are too many.
    """
    known, total = None, np.zeros(0)
    for y, weight in targets_in_parts(encoded):
        if known is None:
            known = np.unique(y)
            check(as_given(encoded, known))
            total = np.zeros(known.size)
        places = find_sorted(known, y)
        if (places < 0).any():
            larger = np.union1d(known, y)
            moved = np.zeros(larger.size)
            moved[np.searchsorted(larger, known)] = total
            known, total = larger, moved
            places = find_sorted(known, y)
        total += np.bincount(places, weight, known.size)
    return as_given(encoded, known), total
