"""Chunks of rows: cut from pieces of any size, and where each row comes from."""

from bisect import bisect_right
from typing import Any, NamedTuple


class Origin(NamedTuple):
    """Where the rows of a chunk come from: parts, one after the other."""

    starts: list  # the first row of each part within the chunk
    names: list
    offsets: list  # the row of the file with which a part begins

    def of_row(self, row):
        part = bisect_right(self.starts, row) - 1
        return f"{self.names[part]}, row {self.offsets[part] + row - self.starts[part]}"


class Chunk(NamedTuple):
    """Consecutive rows as they are in the source."""

    X: Any
    y: Any
    sample_weight: Any
    origin: Origin


class Piece(NamedTuple):
    """Rows as they are read, perhaps of another number than wanted."""

    name: str  # where they are from
    n_rows: int
    rows: Any


def recut(pieces, n_rows, *, cut, join, fit_together=lambda rows, others: True):
    """Chunks of a given number of rows, from pieces that are longer or shorter.

    Parameters
    ----------
    pieces : iterable of Piece
        Consecutive pieces of the same name continue each other.
    n_rows : int
        Number of rows of each chunk. Fewer are in the last one, and before a piece that does not
        fit to those before.
    cut : callable
        ``cut(rows, start, stop)`` are some of the rows.
    join : callable
        ``join(list_of_rows)`` are X, y and sample_weight of a chunk.
    fit_together : callable
        ``fit_together(rows, others)`` says whether rows can be joined with those after them.

    Yields
    ------
    Chunk
    """
    parts, n_waiting, name, offset = [], 0, None, 0
    for piece in pieces:
        if parts and not fit_together(parts[-1][3], piece.rows):
            yield _joined(parts, join)
            parts, n_waiting = [], 0
        if piece.name != name:
            name, offset = piece.name, 0
        start = 0
        while start < piece.n_rows:
            stop = min(piece.n_rows, start + n_rows - n_waiting)
            is_whole = start == 0 and stop == piece.n_rows
            rows = piece.rows if is_whole else cut(piece.rows, start, stop)
            parts.append((n_waiting, name, offset + start, rows))
            n_waiting += stop - start
            start = stop
            if n_waiting == n_rows:
                yield _joined(parts, join)
                parts, n_waiting = [], 0
        offset += piece.n_rows
    if parts:
        yield _joined(parts, join)


def _joined(parts, join):
    starts, names, offsets, rows = map(list, zip(*parts, strict=True))
    return Chunk(*join(rows), Origin(starts, names, offsets))


class CountedRows:
    """The number of rows of a source that cannot be compared otherwise, the same in each pass.

    Parameters
    ----------
    source : str
        How messages call it.
    remedy : str
    """

    def __init__(self, source, remedy):
        self._source, self._remedy = source, remedy
        self._n_rows = None  # of the first pass

    def check(self, n_rows):
        if self._n_rows is None:
            self._n_rows = n_rows
        elif n_rows != self._n_rows:
            raise ValueError(
                f"{self._source} returned {self._n_rows} rows the first time, and now {n_rows}. "
                f"{self._remedy}"
            )
