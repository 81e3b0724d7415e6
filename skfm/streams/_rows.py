"""Rows: a source of rows, the encoder of its features, and the encoded rows on disk."""

import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing
from itertools import chain
from pathlib import Path
from pickle import PicklingError
from typing import Any, ClassVar, Literal, NamedTuple

import joblib
import numpy as np
from sklearn.base import clone

from skfm._utils.ahead import one_ahead
from skfm._utils.messages import shown
from skfm._utils.parameters import FLOAT_TYPE, POSITIVE_INTEGER, check_parameters
from skfm._utils.public import public
from skfm._utils.typing import FloatDType, Int, SparseMatrix
from skfm._utils.validation import largest_sum
from skfm.io import load_model, save_model
from skfm.io._models import CLASSES
from skfm.preprocessing._table_kinds import closest
from skfm.streams import _encoding
from skfm.streams._cache import CacheWriter, EncodedRows
from skfm.streams._folder import drafting, explaining_full_disks, open_cache, publish
from skfm.streams._sources import open_source
from skfm.streams._targets import Targets, check_shape, read_weight

ENCODER = "encoder.npz"


class RowChunk(NamedTuple):
    """Consecutive rows of a source, encoded."""

    X: SparseMatrix
    y: Any  # ndarray, or None without a target
    sample_weight: Any  # ndarray or None
    origin: Any  # `origin.of_row(i)` is the file of row i and its place in it


@public("skfm.streams")
class Rows:
    """Rows of files, tables or functions that need not fit into memory.

    The rows are read in chunks, and an encoder converts them to sparse features. For training,
    one pass over the source writes the encoded rows to files on disk, which all epochs then read.

    Parameters
    ----------
    source : str, path, list of these, table or callable
        Where the rows come from:

        - a path, a glob pattern such as ``"clicks/*.parquet"``, or a list of these, of files of
          tables: Parquet (``.parquet``) or CSV (``.csv``);
        - the same for files of labels and numbered features: svmlight (``.svm``, ``.svmlight``,
          ``.libsvm``) or libffm (``.ffm``, ``.libffm``);
        - a Dataset of pyarrow;
        - a table of pandas, polars or Arrow, a LazyFrame of polars, or another object with an
          Arrow C stream that can be read repeatedly, such as a relation of DuckDB;
        - a function without arguments that returns a fresh iterator of chunks: pairs ``(X, y)`` or
          triples ``(X, y, sample_weight)``, where X is an array, a sparse matrix or a table. Long
          chunks are cut to `chunk_rows`, and short ones are joined if they have the same types.

        Text files may be compressed: ``.gz``, ``.bz2`` or ``.xz`` follows the extension. Tables
        and Parquet and CSV files need the extra ``streams``.
    target : str, default=None
        Name of the column with the target: numbers, booleans or strings. None for sources that
        have targets by themselves, such as functions and svmlight files, and for prediction.
    sample_weight : str, default=None
        Name of the column with the sample weights. None for weights of 1, or those of a function.
    encoder : transformer or "passthrough", default=None
        Converts the columns to features; it sees neither the target nor the weights. A fitted
        transformer is used as it is and sees the columns that it was fitted on. An unfitted one
        is cloned, and learns in a pass over the rows by its `partial_fit`, as
        :class:`~skfm.preprocessing.TableEncoder` does; if it encodes all columns as "hashed",
        there is nothing to learn, and this pass ends after the first chunk. None is a
        ``TableEncoder()`` for tables, and an :class:`IndexEncoder` for svmlight and libffm files.
        Arrays and sparse matrices, which None does not encode, and tables with "passthrough" must
        contain numbers.
    column_types : dict, default=None
        Types of columns of Parquet and CSV files, by the names of the columns: types of pyarrow,
        or their names, such as ``{"postcode": "string", "price": "float64"}``. The types of other
        columns of CSV files are inferred; see the notes.
    chunk_rows : int, default=100_000
        Number of rows that are read and encoded at once. A few chunks are in memory at the same
        time.
    cache : str or path, default=None
        Folder for the encoded rows, which is created if necessary. It is used again, without a
        pass over the source, if the source and all other parameters are the same. Files of others
        in this folder are left alone. None is a temporary folder, which is removed as soon as it
        is no longer needed.
    dtype : {np.float32, np.float64}, default=np.float32
        Data type of the encoded rows.

    Attributes
    ----------
    encoder_ : transformer or None
        The fitted encoder, or None if there is none. It is fitted when it is first needed.
    n_features : int or None
        Number of features, or None as long as it is unknown.
    n_rows : int or None
        Number of rows with positive weight, or None as long as it is unknown.

    See Also
    --------
    predict_stream : Predictions for all rows of a source.
    IndexEncoder : From numbered features in files to columns.
    skfm.preprocessing.TableEncoder : From columns to features.

    Notes
    -----
    **Disk space.** An encoded row takes 12 bytes (16 with a sample weight), plus 4 for each
    feature that is not 0, or 8 if not all of them are 1; more with ``dtype=np.float64``.

    **Rows of weight 0** are not stored. The others are shuffled within each chunk, so that a
    training run can read them a few thousand at a time.

    **CSV files** have the names of the columns in their first line. Empty fields, and NA, NaN and
    null, are missing values, as for pandas. Types are inferred from the first megabyte of each
    file: a column with different kinds of values there becomes strings, and a later value of
    another type raises an error that names the row. A column of digits, such as ids and postcodes
    with leading zeros, becomes numbers, unless `column_types` says "string". Columns have the
    types that a fitted TableEncoder has seen in training.

    **Caches.** The rows are the same if the files have the same names, sizes and times of
    modification. Sources that are not files cannot be compared: their cache is used again only by
    the same `Rows`, and by its copies in other processes. Files have checksums, and damaged ones
    raise an error. Only complete rows get into the cache, in the folder ``encoded-rows``; folders
    whose names end with ``.tmp`` are those of running processes, or of killed ones.

    Examples
    --------
    >>> import pandas as pd
    >>> from skfm.preprocessing import TableEncoder
    >>> from skfm.streams import Rows
    >>> clicks = pd.DataFrame({
    ...     "page": ["news", "shop", "news", "mail"],
    ...     "user": ["ann", "bob", "eve", "ann"],
    ...     "click": [True, False, False, True],
    ... })
    >>> rows = Rows(clicks, target="click", encoder=TableEncoder(strings="hashed", n_features=8))
    >>> rows.encoder_.feature_names_in_.tolist()
    ['page', 'user']
    >>> [chunk.X.shape for chunk in rows.chunks()]
    [(4, 16)]

    A function that returns an iterator, here over chunks of arrays:

    >>> import numpy as np
    >>> def chunks():
    ...     for seed in range(3):
    ...         X = np.random.default_rng(seed).random((100, 5))
    ...         yield X, X.sum(axis=1)
    >>> rows = Rows(chunks)
    >>> rows.encoded().n_rows
    300
    >>> rows
    <Rows of a function: 300 rows, 5 features>
    """

    _constraints: ClassVar[dict] = {"chunk_rows": [POSITIVE_INTEGER], "dtype": [FLOAT_TYPE]}

    def __init__(
        self,
        source: Any,
        *,
        target: str | None = None,
        sample_weight: str | None = None,
        encoder: Any | Literal["passthrough"] = None,
        column_types: Mapping[str, Any] | None = None,
        chunk_rows: Int = 100_000,
        cache: str | os.PathLike[str] | None = None,
        dtype: FloatDType = np.float32,
    ) -> None:
        self.source = source
        self.target = target
        self.sample_weight = sample_weight
        self.encoder = encoder
        self.column_types = column_types
        self.chunk_rows = chunk_rows
        self.cache = cache
        self.dtype = dtype
        self._check_parameters()
        self._token = uuid.uuid4().hex  # identifies what cannot be compared
        self._learned: tuple[Any, ...] = ()  # of the encoder, once it is known
        self._encoded: EncodedRows | None = None
        self._opened = self._open()

    def __repr__(self):
        known = [
            f"{number:,} {what}"
            for number, what in ((self.n_rows, "rows"), (self.n_features, "features"))
            if number is not None
        ]
        return f"<Rows of {_called(self.source)}{': ' * bool(known)}{', '.join(known)}>"

    def __getstate__(self):
        return vars(self) | {"_encoded": None, "_opened": None}

    def __setstate__(self, state):
        vars(self).update(state)
        self._opened = self._open()

    @property
    def encoder_(self) -> Any:
        if not self._learned:
            self._start().close()
        return self._learned[0]

    @property
    def n_features(self) -> int | None:
        if self._encoded is not None:
            return self._encoded.n_features
        return _encoding.n_features_of(self._known_encoder())

    @property
    def n_rows(self) -> int | None:
        return None if self._encoded is None else self._encoded.n_rows

    def encoded(self) -> EncodedRows:
        """Return the encoded rows on disk; write them first if there are none.

        Returns
        -------
        rows : EncodedRows
            Rows that can be read in pieces, in any order.

        Raises
        ------
        ValueError
            If there is no target, or no row of positive weight; if a value is missing, infinite
            or otherwise invalid (the message names the file and the row); if the encoder cannot
            encode a chunk; or if the cache has other rows or is damaged.
        TypeError
            If the encoder is not fitted and cannot learn chunk by chunk, or if a column has an
            unsuitable type.
        OSError
            If a file cannot be read, or the disk is full.

        Examples
        --------
        >>> import numpy as np
        >>> from skfm.streams import Rows
        >>> rows = Rows(lambda: iter([(np.eye(3), [1, 2, 3]), (np.eye(3), [4, 5, 6])]))
        >>> X, y, sample_weight = rows.encoded().read_all()
        >>> X.shape, y.tolist(), sample_weight
        ((6, 3), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], None)
        """
        if self._encoded is None:
            self._encoded = self._open_or_write()
            self._encoded.name_features = self._name_features
        return self._encoded

    def chunks(self) -> Iterator[RowChunk]:
        """Encode the rows on the fly, in the order of the source.

        Yields
        ------
        chunk : tuple of (X, y, sample_weight, origin)
            X is a CSR matrix of at most `chunk_rows` rows, including those of weight 0; y and
            sample_weight are arrays or None; and ``origin.of_row(i)`` says where row i of the
            chunk comes from.

        Raises
        ------
        ValueError
            As by :meth:`encoded`.
        TypeError
            As by :meth:`encoded`.
        OSError
            If a file cannot be read.

        Examples
        --------
        >>> import pandas as pd
        >>> from skfm.streams import Rows
        >>> table = pd.DataFrame({"color": ["red", "blue", "red"], "size": [3, 5, 1]})
        >>> rows = Rows(table, target="size", chunk_rows=2)
        >>> for X, y, sample_weight, origin in rows.chunks():
        ...     print(X.toarray().tolist(), y)
        [[0.0, 1.0], [1.0, 0.0]] [3 5]
        [[0.0, 1.0]] [1]
        """
        targets = Targets(self._target_name())
        for X, y, weight, origin in self._encode(self._start(), targets, drop=False):
            if y is not None:
                labels = targets.labels
                y = y.astype(targets.dtype) if labels is None else np.array(labels)[y]
            yield RowChunk(X, y, weight, origin)

    # Reading

    def _check_parameters(self):
        check_parameters(vars(self), self._constraints)
        for name in ("target", "sample_weight"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise TypeError(
                    f"{name} must be the name of a column or None; got {shown(value)}. A function "
                    "returns its targets and weights together with X."
                )
        if self.target is not None and self.target == self.sample_weight:
            raise ValueError(f"target and sample_weight are the same column, {self.target!r}.")
        if not (self.column_types is None or isinstance(self.column_types, Mapping)):
            raise TypeError(
                "column_types must be a dict from names of columns to types, or None; got "
                f"{shown(self.column_types)}."
            )
        if self.cache is not None and not isinstance(self.cache, (str, os.PathLike)):
            raise TypeError(f"cache must be a path or None; got {shown(self.cache)}.")
        _encoding.check_encoder(self.encoder)

    def _open(self, model=None):
        """The source, of which only the columns that are needed are read.

        The encoder needs them, or else a model that has its own.
        """
        encoder = self.encoder if model is None else model
        wanted = _encoding.needed_columns(encoder)
        own = [name for name in (self.target, self.sample_weight) if name is not None]
        columns = None if wanted is None else list(dict.fromkeys([*wanted, *own]))
        return open_source(
            self.source,
            columns=columns,
            column_types=self.column_types,
            column_kinds=_encoding.column_kinds(encoder),
        )

    def _start(self, *, may_learn=True):
        """A pass over all chunks, with an encoder that has learned what it needs."""
        chunks = self._read()
        if self._learned:
            return chunks
        dtype = np.dtype(self.dtype)
        encoder, seen = _encoding.learned(self.encoder, chunks, dtype, may_learn=may_learn)
        self._learned = (encoder,)
        if seen is None:
            chunks.close()
            return self._read()
        return _continued(seen, chunks)

    def _read(self):
        return one_ahead(map(self._split, self._opened.chunks(int(self.chunk_rows))))

    def _known_encoder(self):
        return self._learned[0] if self._learned else None

    def _split(self, chunk, wanted=None):
        """The chunk with its target and weight apart from the columns for the encoder."""
        own = {"y": self.target, "sample_weight": self.sample_weight}
        own = {name: column for name, column in own.items() if column is not None}
        if not _encoding.is_arrow(chunk.X):
            for name, column in own.items():
                raise ValueError(
                    f"{'target' if name == 'y' else name}={column!r} is the name of a column, but "
                    "this source has targets and weights by itself, or no columns with names; "
                    "leave it None."
                )
            return chunk
        table, labels = chunk.X, chunk.X.column_names
        for column in own.values():
            if column not in labels:
                raise ValueError(f"The source has no column {column!r}. {closest(column, labels)}")
        wanted = wanted or _encoding.needed_columns(self._known_encoder())
        if wanted is None:
            wanted = [label for label in labels if label not in own.values()]
        missing = [label for label in wanted if label not in labels]
        if missing:
            raise ValueError(
                f"The source has no column {missing[0]!r}, which the encoder was fitted on. "
                f"{closest(missing[0], labels)}"
            )
        columns = {name: table.column(column) for name, column in own.items()}
        return chunk._replace(X=table.select(wanted), **columns)

    def _encode(self, chunks, targets, *, drop):
        """Encoded chunks; with ``drop``, without rows of weight 0. ``targets`` may be None."""
        encoder, dtype = self.encoder_, np.dtype(self.dtype)
        for chunk in chunks:
            X = _encoding.encode(encoder, chunk, dtype)
            weight = y = None
            kept = np.ones(X.shape[0], dtype=bool)
            if chunk.sample_weight is not None:
                name = repr(self.sample_weight or "sample_weight")
                weight = read_weight(chunk.sample_weight, name, dtype, chunk.origin)
                check_shape(weight, X.shape[0], name, chunk.origin.of_row(0))
                kept = weight > 0 if drop else kept
            if chunk.y is not None and targets is not None:
                check_shape(chunk.y, X.shape[0], self._target_name(), chunk.origin.of_row(0))
                y = targets.read(chunk.y, kept, chunk.origin)
            if not kept.all():
                X, weight = _selected(X, kept), weight[kept]
            yield RowChunk(X, y, weight, chunk.origin)

    def _target_name(self):
        return "The target" if self.target is None else f"The target {self.target!r}"

    # Writing

    def _open_or_write(self):
        cache = None if self.cache is None else Path(self.cache).absolute()
        if cache is not None and cache.exists() and not cache.is_dir():
            raise NotADirectoryError(f"cache must be a folder; {cache} is a file.")
        settings = self._settings()
        rows = open_cache(cache, settings)
        if rows is None:
            with drafting(cache) as draft:
                self._write(draft, settings)
                rows = publish(draft, cache, settings)
        if not self._learned and (rows.folder / ENCODER).exists():
            self._learned = (load_model(rows.folder / ENCODER),)
        return rows

    def _settings(self):
        """What the encoded rows depend on."""
        return {
            "source": self._opened.fingerprint() or self._token,
            "encoder": self._encoder_fingerprint(),
            "target": self.target,
            "sample_weight": self.sample_weight,
            "column_types": {name: str(kind) for name, kind in (self.column_types or {}).items()},
            "chunk_rows": int(self.chunk_rows),
            "dtype": np.dtype(self.dtype).name,
        }

    def _encoder_fingerprint(self):
        encoder = self.encoder
        if encoder is None or isinstance(encoder, str):
            return encoder
        if not _encoding.is_fitted(encoder):
            encoder = clone(encoder)
        try:
            return f"{type(encoder).__name__} {joblib.hash(encoder)}"
        except (AttributeError, TypeError, PicklingError):  # a lambda, perhaps
            return self._token

    def _write(self, draft, settings):
        targets = Targets(self._target_name())
        chunks = one_ahead(self._encode(self._start(), targets, drop=True))
        first, second = next(chunks, None), next(chunks, None)
        if first is None:
            raise ValueError(_encoding.NO_ROWS)
        if first.y is None:
            raise ValueError("The source has no target. Pass the name of its column as target.")
        n_features, total = first.X.shape[1], 0.0
        labels = {
            name: getattr(first.X, name)
            for name in _encoding.LABELS_OF_FEATURES
            if hasattr(first.X, name)
        }
        writer = CacheWriter(
            draft,
            dtype=self.dtype,
            target_dtype=targets.stored_dtype,
            is_shuffled=second is not None,
        )
        with closing(chunks), writer, explaining_full_disks(draft, lambda: writer.n_bytes):
            for chunk in chain([first] + [second] * (second is not None), chunks):
                if chunk.X.shape[1] != n_features:
                    raise ValueError(
                        f"X has {chunk.X.shape[1]} features in the chunk that starts at "
                        f"{chunk.origin.of_row(0)}, but {n_features} in the first one."
                    )
                writer.add(chunk.X, chunk.y, chunk.sample_weight)
                if chunk.sample_weight is not None:
                    total += chunk.sample_weight.sum(dtype=np.float64)
            self._check_total(writer.n_rows, total)
            if (self._opened.fingerprint() or self._token) != settings["source"]:
                raise ValueError("The files of the source have changed while they were read.")
            if self.encoder_ is not self.encoder and type(self.encoder_) in CLASSES.values():
                save_model(self.encoder_, draft / ENCODER)
            writer.finish(
                n_features=n_features,
                target_dtype=targets.dtype if targets.labels is None else np.str_,
                labels=targets.labels,
                feature_labels=labels,
                settings=settings,
            )

    def _check_total(self, n_rows, total):
        if n_rows == 0:
            raise ValueError(
                "sample_weight is zero for every row; at least one weight must be positive."
            )
        largest = largest_sum(self.dtype)
        if total > largest:
            raise ValueError(
                f"sample_weight is too large: the sum of the weights is {total:.3g} and must be "
                f"at most {largest:.3g} in {np.dtype(self.dtype)}."
            )

    def _name_features(self):
        """Names of the features, as far as the encoder knows them."""
        return _encoding.names_of(self.encoder_)


def inputs_for(model, rows):
    """What a fitted model predicts from, chunk by chunk: pairs of X and the origin of its rows.

    Tables without an encoder remain tables, with the columns that the model was fitted on.
    """
    rows._start(may_learn=False).close()
    if rows.encoder_ is not None:
        chunks = rows._encode(rows._start(), None, drop=False)
        yield from ((chunk.X, chunk.origin) for chunk in chunks)
        return
    wanted = _encoding.needed_columns(model)
    for chunk in one_ahead(rows._open(model).chunks(int(rows.chunk_rows))):
        chunk = rows._split(chunk, wanted)
        is_table = _encoding.is_table(chunk.X)
        X = chunk.X if is_table else _encoding.encode(None, chunk, np.dtype(rows.dtype))
        yield X, chunk.origin


def _selected(X, kept):
    """Some rows of a matrix, with the labels of its features."""
    labels = {name: getattr(X, name) for name in _encoding.LABELS_OF_FEATURES if hasattr(X, name)}
    X = X[kept]
    vars(X).update(labels)
    return X


def _continued(seen, chunks):
    """A pass of which some chunks have been taken already."""
    with closing(chunks):
        yield from seen
        yield from chunks


def _called(source):
    """A source in a few words."""
    if isinstance(source, (str, os.PathLike)):
        return repr(os.fspath(source))
    if isinstance(source, (list, tuple)):
        return f"{len(source)} paths" if len(source) != 1 else repr(str(source[0]))
    is_function = callable(source) and not hasattr(source, "__arrow_c_stream__")
    return "a function" if is_function else f"a {type(source).__name__}"
