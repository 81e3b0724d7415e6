"""Text in the formats of svmlight and libffm: lines of a label and numbered features.

NumPy parses all rows of a chunk at once. If a chunk is refused, the same parser tries halves of it
until one word is left, which the error then names together with its line.
"""

import re
from typing import NamedTuple

import numpy as np

CHUNK_BYTES = 2**21  # read and parsed at once
N_DIGITS = 19  # of the largest int64
LARGEST_INT64 = np.iinfo(np.int64).max
NEWLINE, ZERO, COLON = b"\n0:"
# True for the bytes between numbers: colons, and what bytes.split() takes for white space.
GAPS = bytes(byte in b": \t\n\r\v\f" for byte in range(256))
NO_LABEL = "the first word of a line must be a label: a finite number"
COMMENT = re.compile(rb"#[^\n]*")
QUERY = re.compile(rb"^([ \t]*[^\s:]+[ \t]+)qid:\S*", re.MULTILINE)


def chunks(stream):
    """Whole lines, about CHUNK_BYTES at once."""
    while chunk := stream.read(CHUNK_BYTES):
        if not isinstance(chunk, bytes):
            raise TypeError("file must be a binary file object; open it in mode 'rb'.")
        yield chunk + stream.readline()


def without_comments(text):
    """Text in the format of svmlight without comments and ids of queries."""
    if b"#" in text:
        text = COMMENT.sub(b"", text)
    return QUERY.sub(rb"\1", text) if b"qid:" in text else text


class Rows(NamedTuple):
    """What is in a text: arrays of shape (n_rows,), then arrays of shape (n_entries,)."""

    counts: np.ndarray  # of entries
    labels: np.ndarray
    fields: np.ndarray | None
    features: np.ndarray
    values: np.ndarray


def check_finite(rows):
    if not (np.isfinite(rows.labels).all() and np.isfinite(rows.values).all()):
        raise ValueError("the value must be a finite number")


def first_mistake(text, refusal, name, n_lines):
    """The error message for a text that is refused: the first such word, its line, and why.

    Parameters
    ----------
    text : bytes
    refusal : callable
        Returns the reason why it refuses a text; None for other texts.
    name : str
        Of the file.
    n_lines : int
        Number of lines of the file before the text.
    """
    number, line, _ = _first_refused(text.split(b"\n"), b"\n".join, refusal)
    word, *entries = line.split()
    reason = NO_LABEL
    if not refusal(word):
        _, word, reason = _first_refused(entries, lambda some: b" ".join([b"0", *some]), refusal)
    shown = word.decode("ascii", "backslashreplace")
    shown = f"{shown[:60]}..." if len(shown) > 60 else shown
    return f"{name}, line {n_lines + 1 + number}, '{shown}': {reason}."


def _first_refused(pieces, join, refusal):
    """The first piece of a refused text: its number, itself, and why it is refused."""
    number = 0
    while len(pieces) > 1:
        half = len(pieces) // 2
        if refusal(join(pieces[:half])):
            pieces = pieces[:half]
        else:
            number, pieces = number + half, pieces[half:]
    return number, pieces[0], refusal(join(pieces))


def parse(text, *, has_fields=True):
    """The rows in a text, all at once; a ValueError says what some word in it should be."""
    n_parts = 3 if has_fields else 2
    no_entry = _NO_ENTRY[has_fields]
    padded = b"\n%b\n" % text  # so that there are gaps before the first number and after the last
    text = np.frombuffer(padded, dtype=np.uint8)
    gap = np.frombuffer(padded.translate(GAPS), dtype=np.bool_)
    edges = np.flatnonzero(gap[1:] != gap[:-1]) + 1
    starts, stops = edges[::2], edges[1::2]
    past = np.searchsorted(starts, np.flatnonzero(text == NEWLINE))
    counts = np.diff(past)  # of numbers in each line
    is_label = np.zeros(starts.size, dtype=bool)
    is_label[past[:-1][counts > 0]] = True
    counts = counts[counts > 0]
    if (counts % n_parts != 1).any():
        raise ValueError(no_entry)
    first, last = (a[~is_label].reshape(-1, n_parts).T for a in (starts, stops))
    # A colon between the parts of each entry, and no others.
    joined = (text[last[:-1]] == COLON) & (first[1:] - last[:-1] == 1)
    if not joined.all() or np.count_nonzero(text == COLON) != joined.size:
        raise ValueError(no_entry)
    ids = [_ids(text, *part, no_entry) for part in zip(first[:-1], last[:-1], strict=True)]
    return Rows(
        counts // n_parts,
        _floats(text, starts[is_label], stops[is_label]),
        ids[0] if has_fields else None,
        ids[-1],
        _floats(text, first[-1], last[-1]),
    )


_NO_ENTRY = {
    True: "must be field:feature:value with integers of at least 0 for field and feature",
    False: "must be feature:value with an integer of at least 0 for the feature",
}


def _ids(text, starts, stops, no_entry):
    """Numbers made of digits only."""
    lengths = stops - starts
    total = np.zeros(starts.size, dtype=np.int64)
    for k in range(lengths.max(initial=0)):
        digit = text[stops - (k + 1)] - np.uint8(ZERO)  # below "0" wraps around to large ones
        digit[lengths <= k] = 0
        if (digit > 9).any():
            raise ValueError(no_entry)
        if k < N_DIGITS:
            total += np.multiply(digit, 10**k, dtype=np.int64)
        elif digit.any():
            total[digit > 0] = -1
    if ((total < 0) | (total == LARGEST_INT64)).any():  # numbers of 19 digits may have wrapped
        raise ValueError("field or feature is too large for 64 bits")
    return total


def _floats(text, starts, stops):
    """Any numbers. Single digits are so frequent that they have a way of their own."""
    digit = text[starts] - np.uint8(ZERO)
    parsed = digit.astype(np.float64)
    rest = np.flatnonzero((stops - starts > 1) | (digit > 9))
    starts, sizes = starts[rest], stops[rest] - starts[rest] + 1  # with the gap behind
    ends = np.cumsum(sizes)
    places = np.arange(sizes.sum()) + np.repeat(starts - (ends - sizes), sizes)
    words = text[places].tobytes()
    try:
        if b"_" in words:  # which float would take
            raise ValueError
        parsed[rest] = np.fromiter(map(float, words.split()), np.float64, count=rest.size)
    except ValueError:
        raise ValueError("the value must be a number") from None
    return parsed
