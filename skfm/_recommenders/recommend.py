"""What recommenders serve: scores of pairs, and the best of each row, by position or name."""

import numbers

import numpy as np
from scipy import sparse

from skfm._recommenders.output import index_of, long_frame, name_rows
from skfm._solvers import top_k
from skfm._utils import validation as door
from skfm._utils.ids import Ids, as_object_array, as_objects, find_missing, read_ids, simplify
from skfm._utils.pickling import Versioned
from skfm._utils.sparse import check_sparse

GROUP = 4  # columns of tables come in groups of so many
PAIRS = 1 << 18  # multiplied together
N_NAMED = 5  # an error names this many unknown items


class Catalogue(Versioned):
    """The items of a fitted model, known by position and, if it has them, by name."""

    called = "the columns of X in fit"
    takes_positions = True

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

    def positions_or_unknown(self, ids, argument):
        """The same, and -1 for unknown items: those that are None or NaN, or -1 as a position."""
        if self.takes_positions:
            one_dimensional(ids, argument)
        column = read_ids(ids, "item")  # a list of names and NaN is no array of strings
        known = np.flatnonzero(~find_missing(column))
        given = simplify(column[known])
        if self.takes_positions and given.dtype.kind == "i":
            known, given = known[given != -1], given[given != -1]
        if known.size == column.size:
            return self.positions(ids, argument)
        positions = np.full(column.size, -1)
        positions[known] = self.positions(given, argument)
        return positions

    def _by_name(self, ids, argument):
        place = {name: position for position, name in enumerate(self.names)}
        ids = ids.tolist()
        unknown = [name for name in ids if not isinstance(name, str) or name not in place]
        if unknown:
            raise ValueError(f"{argument} names items that X did not have in fit: {unknown[:5]}.")
        return np.array([place[name] for name in ids], dtype=np.int64)

    def show(self, items):
        """Items as they are given back: names if there are any; None where nothing is."""
        if self.names is None:
            return items
        there = items >= 0
        if there.all():
            return self.names[items]
        shown = np.empty(items.shape, object)
        shown[there] = as_object_array(self.names[items[there]])
        return shown


class LabelledCatalogue(Catalogue):
    """The items of a model that knows them by their labels alone, of whatever kind."""

    takes_positions = False  # -1 is a label like any other

    def __init__(self, labels, called="item_ids_"):
        super().__init__(len(labels), labels)
        self.called = called
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
            difference = self.difference(column)
            raise ValueError(
                f"{argument} has items that the model does not know: {unknown[:N_NAMED]}"
                f"{difference and '; '}{difference}."
            )
        return positions

    def find(self, ids, *, expected=False):
        """Positions of items, -1 for unknown ones; if ids of its types are expected, others are
        warned of."""
        find = self._ids.find_expected if expected else self._ids.find
        places = find(read_ids(ids, "item"), "item")
        return np.where(places < 0, -1, self._position[places])

    def difference(self, ids):
        """How the types of ids differ from those that the model knows, as `Ids.difference`."""
        return self._ids.difference(read_ids(ids, "item"))


def _are_booleans(column):
    if column.dtype.kind == "O":
        return column.size > 0 and all(isinstance(value, (bool, np.bool_)) for value in column)
    return column.dtype.kind == "b"


def most_similar(vectors, asked, n, argument, n_threads):
    """For the rows of a table that are asked for, the others with the largest cosines, and these.

    ``argument`` is what errors call their number ``n``.
    """
    if vectors.shape[1] == 0:
        raise ValueError("The model has n_components=0: there are no vectors to compare.")
    length = np.sqrt(np.einsum("if,if->i", vectors, vectors))
    table = padded(vectors / np.where(length > 0, length, 1)[:, None])
    itself = sparse.csr_matrix(
        (np.ones(asked.size, bool), asked, np.arange(asked.size + 1)),
        shape=(asked.size, len(vectors)),
    )
    door.check_number(n, argument, numbers.Integral, low=1)
    return best_items(table[asked], table, n, np.arange(len(table)), itself, n_threads)


def similar(kind, catalogue, vectors, asked, n, output, n_threads):
    """The answer of `similar_items`, or `similar_users`: the most similar by vectors."""
    found, cosines = most_similar(vectors, asked, n, f"n_{kind}s", n_threads)
    if output == "default":
        return catalogue.show(found), cosines
    names = kind, f"similar_{kind}", "similarity", "rank"
    return long_frame(output, names, catalogue.show(asked), found, cosines, catalogue.show)


def similar_rows(X, vectors, rows, n_users, user_ids, output, n_threads):
    """The answer of `similar_users`: of the rows of X, those most similar to some of them."""
    n_rows = len(vectors)
    if rows is None:
        rows = np.arange(n_rows)
    rows = check_positions(rows, n_rows, "rows")
    if user_ids is None and output != "default":
        user_ids = index_of(X)
    users = Catalogue(n_rows, None if user_ids is None else name_rows(user_ids, n_rows))
    return similar("user", users, vectors, rows, n_users, output, n_threads)


def recommended(X, catalogue, items, scores, user_ids, output):
    """The answer of `recommend`: positions of the best items of each row of X, and scores."""
    if output == "default":
        if user_ids is not None:
            raise ValueError(
                "user_ids name the users in a frame; set output='pandas' or 'polars' as well."
            )
        return catalogue.show(items), scores
    users = name_rows(index_of(X) if user_ids is None else user_ids, len(items))
    names = "user", "item", "score", "rank"
    return long_frame(output, names, users, items, scores, catalogue.show)


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


def check_positions(positions, n, argument, *, or_unknown=False):
    """Positions below ``n``, and -1 where these may be unknown."""
    positions = one_dimensional(positions, argument)
    if positions.size == 0:
        return positions.astype(np.int64)
    if positions.dtype.kind not in "iu":
        raise TypeError(f"{argument} must hold integers, got {positions.dtype}.")
    low, high = positions.min(), positions.max()
    if low < -int(or_unknown) or high >= n:
        cure = " Leave out -1, which stands for what is unknown." if low == -1 else ""
        raise ValueError(
            f"{argument} must be between 0 and {n - 1}; they run from {low} to {high}.{cure}"
        )
    return positions.astype(np.int64)


def read_pairs(rows, items, n_rows, catalogue):
    """Positions of pairs of a row and an item, -1 for those that are unknown."""
    rows = check_positions(rows, n_rows, "rows", or_unknown=True)
    items = catalogue.positions_or_unknown(items, "items")
    if rows.shape != items.shape:
        raise ValueError(f"rows and items must be equally long; got {rows.size} and {items.size}.")
    return rows, items


def with_empty_row(X):
    """CSR with one row more, the one that -1 finds: what is unknown has no entries."""
    indptr = np.append(X.indptr, X.indptr[-1:])
    return sparse.csr_matrix((X.data, X.indices, indptr), shape=(X.shape[0] + 1, X.shape[1]))


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
    """The ``n_items`` best of the items at ``columns`` for each row of ``users``, all of them if
    they are fewer, and their products; -1 where ``hidden``, CSR or None, leaves too few."""
    door.check_number(n_items, "n_items", numbers.Integral, low=1)
    if columns.size == 0:
        raise ValueError(
            "There are 0 items to choose from: pass other candidates, or exclude fewer items."
        )
    n_items = min(int(n_items), columns.size)
    if columns.size < items.shape[0]:
        items = items[columns]
        hidden = None if hidden is None else _pattern(hidden)[:, columns]
    if hidden is None:
        hidden = sparse.csr_matrix((users.shape[0], columns.size), dtype=bool)
    if not hidden.has_sorted_indices:
        hidden = hidden.sorted_indices()
    found, scores = top_k.best(users, items, n_items, (hidden.indptr, hidden.indices), n_threads)
    return np.where(found < 0, -1, columns[found]), scores


def rank_hidden(
    users, items, k, relevant, catalogue, seen, n_threads, *, candidates=None, exclude=None
):
    """Positions of the ``k`` best items of each row, to be judged by the ``relevant`` ones.

    Cells of ``seen`` are left out, unless they are relevant: somebody chose that item once more.
    -1 where too few items are left, also if there are fewer than ``k`` to choose from.
    """
    if seen is not None:
        seen = _pattern(seen)
        seen = (seen > seen.multiply(relevant != 0)).tocsr()
    columns, hidden = choose_from(
        catalogue, seen, users.shape[0], candidates=candidates, exclude=exclude
    )
    ranked = np.full((users.shape[0], k), -1)
    if columns.size:
        n = min(k, columns.size)
        ranked[:, :n], _ = best_items(users, items, n, columns, hidden, n_threads)
    return ranked


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
