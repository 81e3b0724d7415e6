"""Which items each row may get: candidates, less those that are excluded or seen."""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse

from skfm._utils import validation
from skfm._utils.sparse import check_sparse


class Candidates(NamedTuple):
    """The items that rows may get."""

    positions: np.ndarray | None  # of those that any row may get; None: all of them
    hidden: sparse.csr_matrix | None  # items that a row may not get, among all items; None: none

    def count(self, n_items):
        """How many items any row may get, of ``n_items``."""
        return n_items if self.positions is None else self.positions.size


def find_candidates(catalogue, seen, n_rows, *, candidates=None, exclude=None):
    """The items that rows may get.

    ``seen`` is CSR whose entries are left out, or None; ``candidates`` and ``exclude`` are those
    of ``MFRecommender.recommend``.
    """
    allowed = np.ones(catalogue.n_items, bool)
    if candidates is not None:
        allowed[:] = False
        allowed[catalogue.positions(_as_column(candidates, "candidates"), "candidates")] = True
    hidden = seen
    if is_matrix(exclude):
        excluded = read_excluded(exclude, n_rows, catalogue)
        hidden = excluded if seen is None else pattern_of(seen) + excluded
    elif exclude is not None:
        allowed[catalogue.positions(_as_column(exclude, "exclude"), "exclude")] = False
    return Candidates(None if allowed.all() else np.flatnonzero(allowed), hidden)


def _as_column(items, argument):
    """Sets and other collections as lists, since the order of these items does not matter."""
    if hasattr(items, "__array__") or isinstance(items, Sequence):
        return items
    if isinstance(items, Iterator):  # it would be empty at the next use
        raise TypeError(
            f"{argument} must be a list, a set or a one-dimensional array of items; got an "
            f"iterator. Pass list({argument})."
        )
    return list(items) if isinstance(items, Collection) else items


def hide_others(candidates, n_rows, n_items):
    """The same items where any row may get all but the hidden ones.

    Where few are left out, for few rows, this is quicker than a table of the others alone.
    """
    is_left_out = np.ones(n_items, bool)
    is_left_out[candidates.positions] = False
    left_out = np.flatnonzero(is_left_out)
    hidden = sparse.csr_matrix(
        (
            np.ones(n_rows * left_out.size, bool),
            np.tile(left_out, n_rows),
            np.arange(n_rows + 1) * left_out.size,
        ),
        shape=(n_rows, n_items),
    )
    if candidates.hidden is not None:
        hidden = hidden + pattern_of(candidates.hidden)
    return Candidates(None, hidden)


def unless_relevant(seen, relevant):
    """Entries of ``seen``, but for those that are relevant: the user chose that item again."""
    seen = pattern_of(seen)
    return (seen > seen.multiply(relevant != 0)).tocsr()


def pattern_of(matrix):
    """CSR with True for each entry, stored zeros included."""
    return sparse.csr_matrix(
        (np.ones(matrix.nnz, bool), matrix.indices, matrix.indptr), shape=matrix.shape
    )


def is_matrix(exclude):
    """Whether it is a matrix, not a list of items; these may be tuples."""
    if isinstance(exclude, list):
        return bool(exclude) and isinstance(exclude[0], list)
    return sparse.issparse(exclude) or getattr(exclude, "ndim", 0) == 2


def read_excluded(exclude, n_rows, catalogue):
    """The entries to leave out, as a pattern."""
    shape = n_rows, catalogue.n_items
    columns, names = getattr(exclude, "columns", None), catalogue.names
    if columns is not None and names is not None and list(columns) != list(names):
        raise ValueError(f"The columns of exclude must be {catalogue.called}, in the same order.")
    exclude = check_sparse(exclude, "exclude")
    try:
        excluded = sparse.csr_matrix(exclude)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "exclude must be a list of items, or a matrix of numbers with a row for each of X and "
            f"a column for each item ({error})."
        ) from error
    excluded = validation.as_csr(excluded, keep_zeros=True)
    if excluded.shape != shape:
        raise ValueError(
            "exclude must be a list of items, or have a row for each of X and a column for each "
            f"item, {shape}; its shape is {excluded.shape}."
        )
    return pattern_of(excluded)
