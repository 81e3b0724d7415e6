"""Encoded rows in the files of a folder: written once, chunk by chunk, and read in pieces.

The files contain the numbers of all rows, one after the other, without a header: `lengths`
(entries of each row), `indices`, `data`, `target` and `weight`. Files whose numbers would all be 1
are left out. The manifest, written last, says where the pieces begin and has a checksum of each.
"""

import json
import os
import zlib
from itertools import pairwise

import numpy as np
from scipy import sparse

from skfm._kernels._atomic import replacing
from skfm._utils.sparse import index_type

FORMAT = "skfm encoded rows"
FORMAT_VERSION = 1
MANIFEST = "manifest.json"
FEATURES = "features.npz"
PIECE_ROWS = 4096
OF_ENTRIES = "indices", "data"  # the other files have a number for each row


def shuffled(n_rows, chunk):
    """The order in which the rows of a chunk are stored; the same for every version of NumPy."""
    return np.random.RandomState(chunk % 2**32).permutation(n_rows)


class CacheWriter:
    """Writes the rows of chunks into the files of a folder.

    Parameters
    ----------
    folder : Path
        An empty folder.
    dtype : dtype
        Of data and weights.
    target_dtype : dtype
        Of the targets as they are stored: float64, or int32 for codes of labels.
    is_shuffled : bool
        Whether the rows of each chunk are stored in random order.
    """

    def __init__(self, folder, *, dtype, target_dtype, is_shuffled):
        self.folder, self.is_shuffled = folder, is_shuffled
        self.dtype = np.dtype(dtype)
        self._files = {
            "lengths": _Appended(folder / "lengths", np.int32),
            "indices": _Appended(folder / "indices", np.int32),
            "data": _Appended(folder / "data", dtype, omit_ones=True),
            "target": _Appended(folder / "target", target_dtype),
            "weight": _Appended(folder / "weight", dtype, omit_ones=True),
        }
        self._chunk_rows, self._piece_rows, self._piece_entries = [], [], []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for file in self._files.values():
            file.close()

    @property
    def n_rows(self):
        return sum(self._chunk_rows)

    @property
    def n_bytes(self):
        return sum(file.n_bytes for file in self._files.values())

    def add(self, X, y, weight):
        """Append a chunk: a canonical CSR matrix, targets, and weights or None."""
        if self.is_shuffled:
            order = shuffled(X.shape[0], len(self._chunk_rows))
            X, y = X[order], y[order]
            weight = None if weight is None else weight[order]
        if weight is None:
            weight = np.ones(X.shape[0], self.dtype)
        rows = np.append(np.arange(0, X.shape[0], PIECE_ROWS), X.shape[0])
        entries = X.indptr[rows].astype(np.int64)
        values = {
            "lengths": np.diff(X.indptr),
            "indices": X.indices,
            "data": X.data,
            "target": y,
            "weight": weight,
        }
        for name, file in self._files.items():
            file.append(values[name], entries if name in OF_ENTRIES else rows)
        self._chunk_rows.append(X.shape[0])
        self._piece_rows += np.diff(rows).tolist()
        self._piece_entries += np.diff(entries).tolist()

    def finish(self, *, n_features, target_dtype, labels, feature_labels, settings):
        """Write what else is known, last of all the manifest.

        Parameters
        ----------
        n_features : int
        target_dtype : dtype
            That of the targets as given.
        labels : list of str or None
            The labels that the codes stand for.
        feature_labels : dict of ndarray
            The arrays `feature_fields` and `feature_groups`, as far as there are any.
        settings : dict
            What the rows were made from, to be compared when the folder is used again.
        """
        for file in self._files.values():
            file.close()
        np.savez_compressed(self.folder / FEATURES, **feature_labels)
        manifest = {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "settings": settings,
            "n_features": int(n_features),
            "dtype": self.dtype.str,
            "target_dtype": np.dtype(target_dtype).str,
            "labels": labels,
            "is_shuffled": self.is_shuffled,
            "chunk_rows": self._chunk_rows,
            "piece_rows": self._piece_rows,
            "piece_entries": self._piece_entries,
            "files": {
                name: {"dtype": file.dtype.str, "checksums": file.checksums}
                for name, file in self._files.items()
                if file.is_needed
            },
        }
        with replacing(self.folder / MANIFEST) as draft:
            draft.write_text(json.dumps(manifest), encoding="utf-8")


class _Appended:
    """A file to which numbers are appended; it may be left out while all of them are 1."""

    def __init__(self, path, dtype, *, omit_ones=False):
        self.path, self.dtype = path, np.dtype(dtype)
        self.checksums, self.n_bytes, self.is_needed = [], 0, False
        self._omitted, self._stream = [], None  # sizes of pieces of ones
        if not omit_ones:
            self._create()

    def append(self, values, bounds):
        values = np.ascontiguousarray(values, dtype=self.dtype)
        if not self.is_needed and not (values == 1).all():
            self._create()
        if not self.is_needed:
            self._omitted += np.diff(bounds).tolist()
            return
        self.checksums += [zlib.crc32(values[start:stop]) for start, stop in pairwise(bounds)]
        self._write(values)

    def close(self):
        if self._stream is not None:
            self._stream.close()

    def _create(self):
        # Unbuffered: what is written is large, and nothing is left to fail when it is closed.
        self._stream = open(self.path, "xb", buffering=0)
        self.is_needed = True
        for size in self._omitted:
            ones = np.ones(size, self.dtype)
            self.checksums.append(zlib.crc32(ones))
            self._write(ones)

    def _write(self, values):
        rest = memoryview(values).cast("B") if values.size else b""
        while rest:
            n_written = self._stream.write(rest)
            self.n_bytes += n_written
            rest = rest[n_written:]


class EncodedRows:
    """Encoded rows in a folder, read in pieces of some thousand rows.

    Parameters
    ----------
    folder : Path
        What a `CacheWriter` has written.

    Attributes
    ----------
    n_rows, n_features, n_entries : int
    dtype : dtype
        Of data and weights.
    piece_rows, piece_entries : ndarray of int64 of shape (n_pieces,)
    has_weight : bool
    labels : ndarray of str or None
        Sorted labels if the target is strings. Targets are then int32 codes, else float64.
    target_dtype : dtype
        That of the target as it was given, or that of `labels`.
    feature_fields, feature_groups : ndarray of shape (n_features,) or None
    feature_names : ndarray of str objects of shape (n_features,) or None
    """

    name_features = None  # a function that names them when they are needed

    def __init__(self, folder):
        self.folder = folder
        manifest = read_manifest(folder)
        self.settings = manifest["settings"]
        self.n_features = manifest["n_features"]
        self.dtype = np.dtype(manifest["dtype"])
        self.target_dtype = np.dtype(manifest["target_dtype"])
        self.piece_rows = np.array(manifest["piece_rows"], dtype=np.int64)
        self.piece_entries = np.array(manifest["piece_entries"], dtype=np.int64)
        self.n_rows, self.n_entries = int(self.piece_rows.sum()), int(self.piece_entries.sum())
        self._chunk_rows, self._is_shuffled = manifest["chunk_rows"], manifest["is_shuffled"]
        self._files = {
            name: _Pieces(
                folder / name,
                file["dtype"],
                self.piece_entries if name in OF_ENTRIES else self.piece_rows,
                file["checksums"],
            )
            for name, file in manifest["files"].items()
        }
        self.has_weight = "weight" in self._files
        self.labels = self._codes = None
        if manifest["labels"] is not None:  # stored in the order in which they occurred
            self.labels, self._codes = np.unique(manifest["labels"], return_inverse=True)
            self._codes = self._codes.astype(np.int32)
            self.target_dtype = self.labels.dtype
        features = _read_features(folder / FEATURES)
        self.feature_fields = features.get("feature_fields")
        self.feature_groups = features.get("feature_groups")

    @property
    def feature_names(self):
        return None if self.name_features is None else self.name_features()

    @property
    def checksums(self):
        """What identifies the rows: the checksums of all pieces of each file."""
        known = {name: np.array(file.checksums) for name, file in self._files.items()}
        return known | {"n_features": self.n_features}

    def read(self, pieces):
        """Rows of pieces, in the given order.

        Parameters
        ----------
        pieces : sequence of int

        Returns
        -------
        X : CSR matrix
            In canonical format.
        y : ndarray of float64, or of int32 for codes of labels
        weight : ndarray or None
        """
        y, weight = self.read_targets(pieces)
        pieces = self._check(pieces)
        n_entries = int(self.piece_entries[pieces].sum())
        index = index_type(n_entries, self.n_features)
        indptr = np.zeros(y.size + 1, dtype=index)
        np.cumsum(self._files["lengths"].read(pieces), out=indptr[1:])
        indices = self._files["indices"].read(pieces).astype(index, copy=False)
        if "data" in self._files:
            data = self._files["data"].read(pieces)
        else:
            data = np.ones(n_entries, self.dtype)
        return self._matrix(data, indices, indptr), y, weight

    def read_targets(self, pieces):
        """The same without X."""
        pieces = self._check(pieces)
        y = self._files["target"].read(pieces)
        if self._codes is not None:
            y = self._codes[y]
        return y, self._files["weight"].read(pieces) if self.has_weight else None

    def read_all(self):
        """All rows, in the order of the source; as by `read`."""
        index = index_type(self.n_entries, self.n_features)
        indptr = np.zeros(self.n_rows + 1, dtype=index)
        indices, data = np.empty(self.n_entries, index), np.empty(self.n_entries, self.dtype)
        y = np.empty(self.n_rows, self._files["target"].dtype)
        weight = np.empty(self.n_rows, self.dtype) if self.has_weight else None
        row = piece = 0
        for chunk, n_rows in enumerate(self._chunk_rows):
            n_pieces = -(-n_rows // PIECE_ROWS)
            part, targets, weights = self.read(np.arange(piece, piece + n_pieces))
            order = np.arange(n_rows)
            if self._is_shuffled:
                order[shuffled(n_rows, chunk)] = np.arange(n_rows)
                part = part[order]
            rows = slice(row, row + n_rows)
            start = indptr[row]
            indptr[row + 1 : row + n_rows + 1] = start + part.indptr[1:]
            indices[start : start + part.nnz] = part.indices
            data[start : start + part.nnz] = part.data
            y[rows] = targets[order]
            if weight is not None:
                weight[rows] = weights[order]
            row, piece = row + n_rows, piece + n_pieces
        return self._matrix(data, indices, indptr), y, weight

    def _check(self, pieces):
        pieces = np.asarray(pieces, dtype=np.int64)
        if pieces.size and not 0 <= pieces.min() <= pieces.max() < self.piece_rows.size:
            raise IndexError(f"There are {self.piece_rows.size} pieces; got {pieces.tolist()}.")
        return pieces

    def _matrix(self, data, indices, indptr):
        X = sparse.csr_matrix((data, indices, indptr), (indptr.size - 1, self.n_features))
        X.has_canonical_format = True
        if self.feature_fields is not None:
            X.feature_fields = self.feature_fields
        if self.feature_groups is not None:
            X.feature_groups = self.feature_groups
        return X


class _Pieces:
    """A file of numbers, read in pieces."""

    def __init__(self, path, dtype, sizes, checksums):
        self.path, self.dtype, self.checksums = path, np.dtype(dtype), checksums
        self.starts = np.append(0, np.cumsum(sizes))  # of pieces, in numbers
        expected = int(self.starts[-1]) * self.dtype.itemsize
        with self._opened() as stream:
            found = os.fstat(stream.fileno()).st_size
        if found != expected:
            raise _damaged(path, f"it has {found} bytes instead of {expected}")

    def read(self, pieces):
        """The numbers of pieces, one piece after the other."""
        sizes = self.starts[pieces + 1] - self.starts[pieces]
        places = np.append(0, np.cumsum(sizes))  # of pieces in the result
        values = np.empty(int(places[-1]), self.dtype)
        if not values.size:
            return values
        width = self.dtype.itemsize
        into = memoryview(values).cast("B")
        runs = np.append(0, np.flatnonzero(np.diff(pieces) != 1) + 1)
        ends = np.append(runs[1:], pieces.size)
        in_file = np.argsort(pieces[runs], kind="stable")
        with self._opened() as stream:
            for first, end in zip(runs[in_file].tolist(), ends[in_file].tolist(), strict=True):
                stream.seek(int(self.starts[pieces[first]]) * width)
                rest = into[int(places[first]) * width : int(places[end]) * width]
                while rest:
                    n_read = stream.readinto(rest)
                    if not n_read:
                        raise _damaged(self.path, "it ends too early")
                    rest = rest[n_read:]
        bounds = (places * width).tolist()
        for piece, (start, stop) in zip(pieces.tolist(), pairwise(bounds), strict=True):
            if zlib.crc32(into[start:stop]) != self.checksums[piece]:
                raise _damaged(self.path, f"the checksum of piece {piece} is wrong")
        return values

    def _opened(self):
        try:
            return open(self.path, "rb", buffering=0)
        except FileNotFoundError as error:
            raise _damaged(self.path, "it is missing") from error


def read_manifest(folder):
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise _damaged(path, "it is missing") from error
    except ValueError as error:
        raise _damaged(path, f"it is not JSON ({error})") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise _damaged(path, "it is not a manifest of encoded rows")
    if manifest["version"] != FORMAT_VERSION:
        raise ValueError(
            f"{path} was written by another version of skfm. Delete the folder {folder}, and the "
            "rows are encoded again."
        )
    return manifest


def _read_features(path):
    try:
        with np.load(path, allow_pickle=False) as archive:
            return dict(archive)
    except Exception as error:  # zipfile, zlib and NumPy have many words for damage
        raise _damaged(path, f"it cannot be read ({error})") from error


def _damaged(path, reason):
    return ValueError(
        f"The file {path} of encoded rows is damaged: {reason}. Delete the folder {path.parent}, "
        "and the rows are encoded again."
    )
