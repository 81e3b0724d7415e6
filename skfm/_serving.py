"""What recommenders serve: the best items of each row, by position or by name."""

import numbers

import numpy as np
from scipy import sparse

from skfm import _validation as door
from skfm._logs import Ids, as_object_array, as_objects, read_ids
from skfm._solvers import top
from skfm._solvers.pickling import Kept
from skfm._sparse import check_sparse

GROUP = 4  # columns of tables come in groups of so many
PAIRS = 1 << 18  # multiplied together
N_NAMED = 5  # an error names this many unknown items


class Catalogue(Kept):
    """The items of a fitted model, known by position and, if it has them, by name."""

    called = "the columns of X in fit"

    def __init__(self, n_items, names=None):
        self.n_items = n_items
        self.names = names

    def positions(self, ids, argument):
        """Positions of items that are given by name, or by position if they have no names."""
        ids = one_dimensional(ids, argument)
        if ids.dtype == bool and ids.size == self.n_items:
            return np.flatnonzero(ids)
        if self.names is not None and ids.size and ids.dtype.kind not in "iu":
            return self._by_name(ids, argument)
        return check_positions(ids, self.n_items, argument)

    def _by_name(self, ids, argument):
        place = {name: position for position, name in enumerate(self.names)}
        ids = ids.tolist()
        unknown = [name for name in ids if not isinstance(name, str) or name not in place]
        if unknown:
            raise ValueError(
                f"{argument} names items that X did not have in fit: {unknown[:5]}."
            )
        return np.array([place[name] for name in ids], dtype=np.int64)

    def show(self, items):
        """Items as they are given back: names if there are any; None where nothing is."""
        if self.names is None:
            return items
        shown = self.names.astype(object)[items]
        shown[items < 0] = None
        return shown


class LabelledCatalogue(Catalogue):
    """The items of a model that knows them by their labels alone, of whatever kind."""

    called = "item_ids_"

    def __init__(self, labels):
        super().__init__(len(labels), labels)
        self._ids, places = Ids.learn(labels, "item")  # in an order of their own
        self._position = np.argsort(places)

    def positions(self, ids, argument):
        column = read_ids(ids, "item")
        if _are_booleans(column) and not _are_booleans(self.names):
            if column.size != self.n_items:
                raise ValueError(
                    f"{argument} is a mask of {column.size} items; the model has {self.n_items}."
                )
            return np.flatnonzero(column)
        positions = self.find(ids)
        if (positions < 0).any():
            unknown = list(dict.fromkeys(as_objects(column[positions < 0])))
            raise ValueError(
                f"{argument} has items that the model does not know: {unknown[:N_NAMED]}."
            )
        return positions

    def find(self, ids):
        """Positions of items, -1 for unknown ones."""
        places = self._ids.find(read_ids(ids, "item"), "item")
        return np.where(places < 0, -1, self._position[places])

    def show(self, items):
        missing = items < 0
        if not missing.any():
            return self.names[items]
        shown = np.empty(items.shape, object)
        shown[~missing] = as_object_array(self.names[items[~missing]])
        return shown


def _are_booleans(column):
    if column.dtype.kind == "O":
        return column.size > 0 and all(isinstance(value, (bool, np.bool_)) for value in column)
    return column.dtype.kind == "b"


def most_similar(vectors, asked, n_items, n_threads):
    """Of items, given by their positions, the others with the largest cosines, and these."""
    if vectors.shape[1] == 0:
        raise ValueError("The model has n_components=0: its items have no vectors to compare.")
    length = np.sqrt(np.einsum("if,if->i", vectors, vectors))
    table = padded(vectors / np.where(length > 0, length, 1)[:, None])
    itself = sparse.csr_matrix(
        (np.ones(asked.size, bool), asked, np.arange(asked.size + 1)),
        shape=(asked.size, len(vectors)),
    )
    return best_items(table[asked], table, n_items, np.arange(len(table)), itself, n_threads)


def padded(*parts):
    """Columns side by side, with columns of zeros to whole vectors, as `top.best` takes tables."""
    width = sum(part.shape[1] for part in parts)
    table = np.zeros((len(parts[0]), -(-width // GROUP) * GROUP), parts[0].dtype)
    np.concatenate(parts, axis=1, out=table[:, :width])
    return table


def one_dimensional(values, argument):
    values = np.asarray(values)
    if values.ndim != 1:
        raise ValueError(f"{argument} must be one-dimensional; it has {values.ndim} dimensions.")
    return values


def check_positions(positions, n, argument):
    positions = one_dimensional(positions, argument)
    if positions.size == 0:
        return positions.astype(np.int64)
    if positions.dtype.kind not in "iu":
        raise TypeError(f"{argument} must hold integers, got {positions.dtype}.")
    if positions.min() < 0 or positions.max() >= n:
        raise ValueError(
            f"{argument} must be between 0 and {n - 1}; they run from {positions.min()} to "
            f"{positions.max()}."
        )
    return positions.astype(np.int64)


def choose_from(catalogue, seen, n_rows, *, candidates=None, exclude=None):
    """Positions of the items that any row may get, and cells that are left out besides, or None.

    ``seen`` is CSR whose cells are left out, or None; ``candidates`` and ``exclude`` are what the
    user of the estimator passed, see ``MFRecommender.recommend``.
    """
    allowed = np.ones(catalogue.n_items, bool)
    if candidates is not None:
        allowed[:] = False
        allowed[catalogue.positions(candidates, "candidates")] = True
    hidden = seen
    if are_cells(exclude):
        cells = read_cells(exclude, n_rows, catalogue)
        hidden = cells if seen is None else _pattern(seen) + cells
    elif exclude is not None:
        allowed[catalogue.positions(exclude, "exclude")] = False
    return np.flatnonzero(allowed), hidden


def best_items(users, items, n_items, columns, hidden, n_threads):
    """The ``n_items`` best of the items at ``columns`` for each row of ``users``, and their
    products; -1 where ``hidden``, CSR or None, leaves too few."""
    door.check_number(n_items, "n_items", numbers.Integral, low=1)
    if n_items > columns.size:
        raise ValueError(
            f"n_items={n_items} is more than the {columns.size} items to choose from; lower it, "
            "or pass more candidates."
        )
    if columns.size < items.shape[0]:
        items = items[columns]
        hidden = None if hidden is None else _pattern(hidden)[:, columns]
    if hidden is None:
        hidden = sparse.csr_matrix((users.shape[0], columns.size), dtype=bool)
    if not hidden.has_sorted_indices:
        hidden = hidden.sorted_indices()
    found, scores = top.best(
        users, items, int(n_items), (hidden.indptr, hidden.indices), n_threads
    )
    return np.where(found < 0, -1, columns[found]), scores


def _pattern(cells):
    return sparse.csr_matrix(
        (np.ones(cells.nnz, bool), cells.indices, cells.indptr), shape=cells.shape
    )


def are_cells(exclude):
    """Whether it is a matrix, not a list of items; these may be tuples."""
    if isinstance(exclude, list):
        return bool(exclude) and isinstance(exclude[0], list)
    return sparse.issparse(exclude) or getattr(exclude, "ndim", 0) == 2


def read_cells(exclude, n_rows, catalogue):
    """Cells to leave out, as a pattern."""
    shape = n_rows, catalogue.n_items
    columns, names = getattr(exclude, "columns", None), catalogue.names
    if columns is not None and names is not None and list(columns) != list(names):
        raise ValueError(f"The columns of exclude must be {catalogue.called}, in that order.")
    exclude = check_sparse(exclude, "exclude")
    try:
        cells = sparse.csr_matrix(exclude)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "exclude must be a list of items, or a matrix of numbers with a row for each of X and "
            f"a column for each item ({error})."
        ) from error
    cells = door.as_csr(cells, keep_zeros=True)
    if cells.shape != shape:
        raise ValueError(
            "exclude must be a list of items, or have a row for each of X and a column for each "
            f"item, {shape}; its shape is {cells.shape}."
        )
    return _pattern(cells)


def products(users, items, rows, columns):
    """Products of pairs of rows of two tables, some at a time."""
    products = np.empty(rows.size, users.dtype)
    for start in range(0, rows.size, PAIRS):
        block = slice(start, start + PAIRS)
        np.einsum("pf,pf->p", users[rows[block]], items[columns[block]], out=products[block])
    return products
