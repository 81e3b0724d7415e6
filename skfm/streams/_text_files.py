"""Files in the formats of svmlight and libffm as sources of rows."""

import numpy as np

from skfm._utils import sparse_text
from skfm._utils.files import opening
from skfm.preprocessing._index_encoder import IndexedRows
from skfm.streams._chunks import Piece, recut
from skfm.streams._files import FileStatus


class TextFiles:
    """Files of one of these formats, in the given order."""

    def __init__(self, paths, *, has_fields):
        self._paths, self._has_fields = paths, has_fields
        self._status = FileStatus(paths)

    def fingerprint(self):
        return self._status.fingerprint()

    def chunks(self, n_rows):
        return recut(self._pieces(), n_rows, cut=_cut, join=_join)

    def _pieces(self):
        self._status.check_unchanged()
        for path in self._paths:
            n_rows = n_lines = 0
            with opening(path) as (stream, _):
                for text in sparse_text.chunks(stream):
                    rows = self._parse(text, path, n_lines)
                    X = IndexedRows(rows.counts, rows.fields, rows.features, rows.values)
                    if not self._has_fields:
                        _check_increasing(X, path, n_rows)
                    yield Piece(path, rows.labels.size, (X, rows.labels))
                    n_lines += text.count(b"\n")
                    n_rows += rows.labels.size
            if n_rows == 0:
                raise ValueError(f"{path} is empty: it has no rows; leave it out.")

    def _parse(self, text, path, n_lines):
        if not self._has_fields:
            text = sparse_text.without_comments(text)
        try:
            return self._finite(text)
        except ValueError:
            message = sparse_text.first_mistake(text, self._refusal, path, n_lines)
            raise ValueError(message) from None

    def _refusal(self, text):
        try:
            self._finite(text)
        except ValueError as error:
            return str(error)
        return None

    def _finite(self, text):
        rows = sparse_text.parse(text, has_fields=self._has_fields)
        sparse_text.check_finite(rows)
        return rows


def _check_increasing(X, path, n_rows):
    """What `sklearn.datasets.load_svmlight_file` demands of each row."""
    is_first = np.zeros(X.features.size + 1, dtype=bool)
    is_first[np.append(0, np.cumsum(X.counts))] = True
    wrong = (np.diff(X.features) <= 0) & ~is_first[1:-1]
    if wrong.any():
        entry = int(wrong.argmax()) + 1
        raise ValueError(
            f"{path}, row {n_rows + X.row_of(entry)}: feature {X.features[entry]} follows feature "
            f"{X.features[entry - 1]}; the features of a row must be sorted and unique."
        )


def _cut(rows, start, stop):
    X, y = rows
    return X.part(start, stop), y[start:stop]


def _join(parts):
    X, y = zip(*parts, strict=True)
    return IndexedRows.joined(X), np.concatenate(y), None
