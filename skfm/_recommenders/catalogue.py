"""The items of a fitted recommender, by position and by name."""

import numpy as np

from skfm._utils.ids import Ids, as_object_array, as_objects, find_missing, read_ids, simplify
from skfm._utils.pickling import Versioned

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
        if ids.dtype == bool:
            return self._by_mask(ids, argument)
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

    def _by_mask(self, mask, argument):
        if mask.size != self.n_items:
            raise TypeError(
                f"{argument} must contain integers, or be a mask of the {self.n_items} items; "
                f"got a mask of {mask.size}."
            )
        return np.flatnonzero(mask)

    def _by_name(self, ids, argument):
        place = {name: position for position, name in enumerate(self.names)}
        ids = ids.tolist()
        unknown = [name for name in ids if not isinstance(name, str) or name not in place]
        if unknown:
            raise ValueError(
                f"{argument} contains items that X did not have in fit: {unknown[:5]}."
            )
        return np.array([place[name] for name in ids], dtype=np.int64)

    def show(self, items):
        """Items as users see them: names if there are any; None where there is no item."""
        if self.names is None:
            return items
        there = items >= 0
        if there.all():
            return self.names[items]
        shown = np.empty(items.shape, object)
        shown[there] = as_object_array(self.names[items[there]])
        return shown


class LabelledCatalogue(Catalogue):
    """The items of a model that knows them only by their labels, of any type."""

    takes_positions = False  # -1 is a label like any other

    def __init__(self, labels, called="item_ids_"):
        super().__init__(len(labels), labels)
        self.called = called
        self._ids = self._position = None  # made where labels are looked up

    def __getstate__(self):
        return super().__getstate__() | {"_ids": None, "_position": None}

    def _learn(self):
        """Ids in an order of their own, and their positions among the items."""
        if self._position is None:
            self._ids, places = Ids.learn(self.names, "item")
            self._position = np.argsort(places)
        return self._ids, self._position

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
                f"{argument} contains items that the model does not know: "
                f"{unknown[:N_NAMED]}{difference and '; '}{difference}."
            )
        return positions

    def find(self, ids, *, expected=False):
        """Positions of items, -1 for unknown ones; ``expected`` warns of ids of other types."""
        known, position = self._learn()
        find = known.find_expected if expected else known.find
        places = find(read_ids(ids, "item"), "item")
        return np.where(places < 0, -1, position[places])

    def difference(self, ids):
        """How the types of ids differ from those that the model knows, as `Ids.difference`."""
        known, _ = self._learn()
        return known.difference(read_ids(ids, "item"))


def _are_booleans(column):
    if column.dtype.kind == "O":
        return column.size > 0 and all(isinstance(value, (bool, np.bool_)) for value in column)
    return column.dtype.kind == "b"


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
        raise TypeError(
            f"{argument} must contain integers, got {positions.dtype}. Encode names first, with "
            "encode_users or encode_items of skfm.preprocessing.UserItemEncoder."
        )
    low, high = positions.min(), positions.max()
    if low < -int(or_unknown) or high >= n:
        remedy = " Leave out -1, which stands for unknown rows and items." if low == -1 else ""
        raise ValueError(
            f"{argument} must be between 0 and {n - 1}; got values from {low} to {high}.{remedy}"
        )
    return positions.astype(np.int64)


def read_pairs(rows, items, n_rows, catalogue):
    """Positions of the rows and items of pairs, -1 for those that are unknown."""
    rows = check_positions(rows, n_rows, "rows", or_unknown=True)
    items = catalogue.positions_or_unknown(items, "items")
    if rows.shape != items.shape:
        raise ValueError(
            f"rows and items must have the same length; got {rows.size} and {items.size}."
        )
    return rows, items
