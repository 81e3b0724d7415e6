"""Logs that arrive chunk by chunk, as one matrix of users and items."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from skfm._utils.column_roles import assign, is_auto
from skfm._utils.growing_ids import GrowingIds
from skfm._utils.sparse import in_configured_interface
from skfm.preprocessing._entry_table import EntryTable
from skfm.preprocessing._log_reader import ValuesCheck, refuse_to_guess
from skfm.preprocessing._user_item_encoder import warn_of_repeated


class CodedIds(NamedTuple):
    """A column of ids: its distinct ids, and for each event the position of its id."""

    codes: Any
    distinct: Any


@dataclass
class Events:
    """Consecutive events of a log; values and times may be missing."""

    users: CodedIds
    items: CodedIds
    values: Any  # float64
    times: Any


class Header:
    """What is known of a log before its rows are read, as a table."""

    from_pandas = False

    def __init__(self, names):
        self.names = names
        self.shape = ("n_events", len(names))


class LogStream:
    """Makes the matrix of a log in one pass over its events.

    Parameters
    ----------
    encoder : UserItemEncoder
        It is fitted by `finish`, if it is not fitted yet.
    names : list of str
        Names of the columns of the log.
    is_fitted : bool

    Attributes
    ----------
    header : Header
    places : dict of {str: int}
        Positions of the columns by role.
    """

    def __init__(self, encoder, names, *, is_fitted):
        self._encoder, self._is_fitted = encoder, is_fitted
        self.header = Header(names)
        wanted = encoder._columns_wanted()
        if is_fitted:
            wanted = encoder._wanted_as_in_fit(self.header)
        self.places = assign(self.header, wanted)
        has_values, is_guessed = "value" in self.places, is_auto(wanted["value"])
        if is_guessed and not has_values:
            refuse_to_guess(self.header, self.places)
        if is_fitted:
            encoder._check_values_as_in_fit(self.header, self.places)
        self._check = None
        if is_guessed and has_values:
            self._check = ValuesCheck(self.header, self.places["value"])
        self._ids = {"user": GrowingIds(), "item": GrowingIds()}
        self._are_counts, self._n_events = True, 0
        self._rule = encoder.duplicates
        if self._rule == "auto" and is_fitted:
            self._rule = "sum" if encoder._are_counts else "last"
        self._how = "sum" if self._rule in ("sum", "mean") else "last"
        counted = self._rule in ("auto", "mean") or encoder.duplicates == "auto" or not has_values
        self._table = EntryTable(self._how, counted=counted)

    def add(self, events):
        rows = self._positions("user", events.users)
        columns = self._positions("item", events.items)
        self._n_events += rows.size
        values, times = events.values, events.times
        if values is None or self._how == "sum":
            times = None
        if values is not None:
            self._are_counts = self._are_counts and bool((values == 1).all())
            if self._check is not None:
                self._check.add(values)
        known = (rows >= 0) & (columns >= 0)
        if not known.all():
            rows, columns = rows[known], columns[known]
            values, times = (None if array is None else array[known] for array in (values, times))
        self._table.add(rows, columns, values, times)

    def _positions(self, role, ids):
        if not self._is_fitted:
            return self._ids[role].learn(ids.distinct)[ids.codes]
        encoder = self._encoder
        known = encoder._users if role == "user" else encoder._items
        return encoder._find(known, ids.distinct, role)[ids.codes]

    def finish(self):
        """The matrix; the encoder is fitted from now on."""
        if self._n_events == 0:
            raise ValueError("X is an empty log: it has no rows.")
        if self._check is not None:
            self._check.finish()
        self._table.combine()
        self._warn_of_repeated()
        encoder = self._encoder
        if self._is_fitted:
            places = map(np.arange, encoder._shape())
            matrix = self._table.take_csr(*places, self._evaluate, encoder.dtype)
        else:
            ids, places = zip(
                *(self._ids[role].finish() for role in ("user", "item")), strict=True
            )
            matrix = self._table.take_csr(*places, self._evaluate, encoder.dtype)
            encoder._keep(self.header, self.places, *ids, are_counts=self._are_counts)
        return in_configured_interface(matrix)

    def _warn_of_repeated(self):
        takes_last = self._how == "last" and not (self._rule == "auto" and self._are_counts)
        if self._encoder.duplicates == "auto" and takes_last:
            n_repeated = self._table.n_repeated()
            if n_repeated:
                warn_of_repeated(n_repeated, len(self._table))

    def _evaluate(self, entries):
        """What the events of each pair amount to."""
        if entries.values is not None and not (self._rule == "auto" and self._are_counts):
            return entries.values / entries.count() if self._rule == "mean" else entries.values
        is_one = self._rule in ("last", "mean")
        return np.ones(entries.keys.size) if is_one else entries.count()
