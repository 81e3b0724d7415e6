"""The terms of rows: which features, and what they contribute, a bounded number at a time."""

from itertools import pairwise

import numpy as np
from scipy.special import comb

from skfm._utils.sparse_entries import n_entries_by_row, rows_of

BLOCK_NUMBERS = 1 << 21  # factors that are multiplied at a time


def count_terms(rows, polynomial):
    """How many terms each row has, as floats: there may be very many."""
    count, products = np.zeros(rows.shape[0]), polynomial.products
    np.add.at(count, rows_of(rows), polynomial.has_linear[rows.indices])
    n_entries = n_entries_by_row(rows)
    for degree in np.unique(products.degrees):
        count += _count_pairs(rows, products) if degree == 2 else comb(n_entries, degree)
    return count


def _count_pairs(rows, products):
    partners = products.partners.astype(np.float64)
    sizes = np.zeros((rows.shape[0], len(partners)))
    np.add.at(sizes, (rows_of(rows), products.group[rows.indices]), 1)
    return ((sizes @ partners) * sizes - sizes * partners.diagonal()).sum(axis=1) / 2


def row_blocks(n_terms, largest):
    """Bounds of blocks of rows with at most so many terms each, or with a single row."""
    total, start, bounds = np.append(0, np.cumsum(n_terms)), 0, [0]
    while start < n_terms.size:
        stop = np.searchsorted(total, total[start] + largest, side="right") - 1
        start = max(start + 1, int(stop))
        bounds.append(start)
    return bounds


def find_terms(rows, polynomial):
    """The terms of CSR rows, block by block.

    Yields the row of each term (n_terms,), its features (n_terms, degree), and its contribution
    (n_outputs, n_terms). The linear terms come first, then the products, by degree.
    """
    of_entry = rows_of(rows)
    linear = np.flatnonzero(polynomial.has_linear[rows.indices])
    columns, values = rows.indices[linear], rows.data[linear].astype(np.float64)
    yield of_entry[linear], columns[:, None], polynomial.linear_terms(columns, values)
    sets_at_a_time = BLOCK_NUMBERS // polynomial.products.n_numbers
    for degree in np.unique(polynomial.products.degrees):
        for sets in _sets_of_entries(rows, of_entry, int(degree), sets_at_a_time):
            columns = rows.indices[sets]
            if degree == 2:
                chosen = polynomial.products.interact(*columns.T)
                sets, columns = sets[chosen], columns[chosen]
            values = rows.data[sets].astype(np.float64)
            yield of_entry[sets[:, 0]], columns, polynomial.product_terms(columns, values)


def _sets_of_entries(rows, of_entry, size, largest):
    """Positions of all sets of so many entries of the same row, (n_sets, size), block by block.

    A block holds all sets that begin with one entry, or with several if these are few.
    """
    n_later = rows.indptr[1:][of_entry] - np.arange(rows.nnz) - 1
    bounds = row_blocks(comb(n_later, size - 1), largest)
    for first, last in pairwise(bounds):
        sets = np.arange(first, last)[:, None]
        for _ in range(size - 1):
            sets = _extend(sets, n_later)
        if len(sets):
            yield sets


def _extend(sets, n_later):
    """Each set with each of the entries that follow its last one in the row."""
    n_more = n_later[sets[:, -1]]
    begin = np.cumsum(n_more) - n_more
    step = np.arange(n_more.sum()) - np.repeat(begin, n_more)
    longer = np.repeat(sets, n_more, axis=0)
    return np.column_stack([longer, longer[:, -1] + 1 + step])
