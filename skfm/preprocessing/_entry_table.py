"""Tables of user-item pairs that grow chunk by chunk, and become a matrix."""

import numpy as np
from scipy import sparse

from skfm._utils.sparse import index_type
from skfm.preprocessing._pairs import Entries, as_dtype, combine

N_PARTS = 64  # of a table; only one at a time is copied
LEAST = 2_000_000  # events that are worth the work of combining them
_BITS = 32  # the lower bits of a key are the column, the others the row


class EntryTable:
    """The combined entries of events. Rows with the same remainder by `N_PARTS` are one part.

    Parameters
    ----------
    how : {"sum", "last"}
        As for `combine`.
    counted : bool
        Whether the numbers of events are needed.
    """

    def __init__(self, how, *, counted):
        self._how, self._counted = how, counted
        self._parts = [_empty() for _ in range(N_PARTS)]
        self._waiting = [[] for _ in range(N_PARTS)]
        self._n_waiting = 0

    def __len__(self):
        return sum(part.keys.size for part in self._parts)

    def add(self, rows, columns, values, times):
        part = (rows % N_PARTS).astype(np.uint8)
        order = np.argsort(part, kind="stable")
        stops = np.cumsum(np.bincount(part, minlength=N_PARTS))
        keys = ((rows << _BITS) | columns)[order]
        values, times = (None if a is None else a[order] for a in (values, times))
        for waiting, start, stop in zip(self._waiting, [0, *stops], stops, strict=False):
            here = slice(start, stop)
            found = (None if array is None else array[here] for array in (values, times))
            waiting.append(Entries(keys[here], *found))
        self._n_waiting += rows.size
        # Each time, all entries are sorted again. The rarer this is, the more memory it takes.
        if self._n_waiting >= max(LEAST, len(self) // 4):
            self.combine()

    def combine(self):
        """Combine the events that have been added so far."""
        for place, waiting in enumerate(self._waiting):
            events = [part for part in (self._parts[place], *waiting) if part.keys.size]
            if waiting and events:
                self._parts[place] = None
                self._parts[place] = combine(events, self._how)
                if not self._counted:
                    self._parts[place].counts = None
            waiting.clear()
        self._n_waiting = 0

    def n_repeated(self):
        """The number of pairs with several events."""
        return sum(np.count_nonzero(part.count() > 1) for part in self._parts)

    def take_csr(self, row_places, column_places, evaluate, dtype):
        """The matrix, with rows and columns at their places; nothing remains in the table.

        Parameters
        ----------
        row_places, column_places : ndarray of int64
        evaluate : callable
            Returns the values of entries.
        dtype : dtype
        """
        lengths = np.zeros(row_places.size, np.int64)
        for number, part in enumerate(self._parts):
            places = row_places[number::N_PARTS]
            rows = (part.keys >> _BITS) // N_PARTS
            lengths[places] = np.bincount(rows, minlength=places.size)
        indptr = np.append(0, np.cumsum(lengths))
        index = index_type(indptr[-1], column_places.size)
        for part in self._parts:
            part.times = None
        indices, data = np.empty(indptr[-1], index), np.empty(indptr[-1], dtype)
        for number, part in enumerate(self._parts):
            self._parts[number] = _empty()
            rows = row_places[part.keys >> _BITS]
            columns = column_places[part.keys & (2**_BITS - 1)]
            order = np.argsort((rows << _BITS) | columns)
            rows = rows[order]
            first = np.flatnonzero(np.append(True, rows[1:] != rows[:-1])[: rows.size])
            shifts = indptr[rows[first]] - first
            to = np.arange(rows.size) + np.repeat(shifts, np.diff(first, append=rows.size))
            indices[to] = columns[order]
            data[to] = as_dtype(evaluate(part), dtype)[order]
        shape = row_places.size, column_places.size
        return sparse.csr_matrix((data, indices, indptr.astype(index)), shape)


def _empty():
    return Entries(np.empty(0, np.int64))
