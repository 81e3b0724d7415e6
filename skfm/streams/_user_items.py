"""read_user_item_matrix: from logs in files to a user-item matrix and its encoder."""

from contextlib import closing
from typing import Any

import numpy as np
from sklearn.base import clone

from skfm._utils.ahead import one_ahead
from skfm._utils.messages import shown
from skfm._utils.parameters import POSITIVE_INTEGER, check_parameter
from skfm._utils.typing import Int, SparseMatrix
from skfm.preprocessing import UserItemEncoder
from skfm.preprocessing._log_stream import LogStream
from skfm.streams._encoding import is_fitted, naming_chunk
from skfm.streams._sources import open_source


def read_user_item_matrix(
    source: Any,
    encoder: UserItemEncoder | None = None,
    *,
    chunk_rows: Int = 1_000_000,
    column_types: dict[str, Any] | None = None,
) -> tuple[SparseMatrix, UserItemEncoder]:
    """Read a log of events in files, which need not fit into memory, into a user-item matrix.

    The result is that of :class:`~skfm.preprocessing.UserItemEncoder` for the same log in memory:
    the same matrix, bit for bit, and the same ids in the same order, whatever `chunk_rows` is. The
    log is read once. In memory are a few chunks of it, the distinct ids, and one entry for each
    user-item pair.

    Parameters
    ----------
    source : str, path, list of these, or table
        Where the events come from, one in each row:

        - a path, a glob pattern such as ``"plays/*.parquet"``, or a list of these, of Parquet or
          CSV files, whose extension is ``.parquet`` or ``.csv``, which may be followed by ``.gz``,
          ``.bz2`` or ``.xz``; files come in the order of their names;
        - a Dataset of pyarrow;
        - a table of pandas, polars or Arrow, or another object with an Arrow C stream. A generator
          of record batches becomes one by ``pyarrow.RecordBatchReader.from_batches``.
    encoder : UserItemEncoder, default=None
        It determines the columns, how several events of a pair are combined, and the data type of
        the matrix. An unfitted encoder is cloned, and learns the users and items. A fitted one is
        used as it is: the matrix has the rows and columns of its training log. None is a
        ``UserItemEncoder(dtype=np.float32)``.
    chunk_rows : int, default=1_000_000
        Number of events that are read at once.
    column_types : dict of str to str or DataType, default=None
        Types of columns of Parquet and CSV files, such as ``{"user": "string"}`` for ids that
        consist of digits. None are those of Parquet files, and those inferred from the first lines
        of CSV files.

    Returns
    -------
    matrix : CSR matrix of shape (n_users, n_items)
        Matrix in canonical format, the input of :class:`~skfm.MFRecommender`.
    encoder : UserItemEncoder
        The fitted encoder, whose attributes ``user_ids_`` and ``item_ids_`` are the ids of the
        rows and columns.

    Raises
    ------
    ValueError
        If the files are not a log: no rows, columns that are missing or ambiguous, values or times
        that are not numerical; if an id, a value or a time is missing (the message names the file
        and the row); if a file is damaged, or has other columns than the first one; if a user or
        an item is unknown and ``handle_unknown="error"``; or if a sum is too large for the data
        type of the matrix.
    TypeError
        If `encoder` is no UserItemEncoder, or the source or a column has an unsuitable type.
    ImportError
        If pyarrow is not installed: it is part of the extra ``streams``.
    OSError
        If a file cannot be read.

    Warns
    -----
    UserWarning
        If pairs with values are repeated and the parameter `duplicates` of the encoder is "auto".

    See Also
    --------
    skfm.preprocessing.UserItemEncoder : The same for logs in memory.

    Notes
    -----
    Only the columns that are needed are read from files. In CSV files, an empty cell is a missing
    id. Strings remain in Arrow's memory: only distinct ids become Python objects.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from skfm import MFRecommender
    >>> from skfm.preprocessing import UserItemEncoder
    >>> from skfm.streams import read_user_item_matrix
    >>> plays = pa.table({"user": ["eve", "ann", "eve", "bob"], "song": [70, 30, 70, 50]})
    >>> X, encoder = read_user_item_matrix(plays)  # or "plays/*.parquet"
    >>> X.toarray()
    array([[1., 0., 0.],
           [0., 1., 0.],
           [0., 0., 2.]], dtype=float32)
    >>> encoder.user_ids_.tolist(), encoder.item_ids_.tolist()
    (['ann', 'bob', 'eve'], [30, 50, 70])
    >>> model = MFRecommender(2, feedback="implicit", random_state=0).fit(X)
    >>> songs, scores = model.recommend(X, n_items=1, item_ids=encoder.item_ids_)
    >>> songs.shape
    (3, 1)

    A later log of the same users and items:

    >>> X_new, _ = read_user_item_matrix(plays[2:], encoder)
    >>> X_new.nnz
    2
    """
    check_parameter(chunk_rows, "chunk_rows", POSITIVE_INTEGER)
    if encoder is None:
        encoder = UserItemEncoder(dtype=np.float32)
    if not isinstance(encoder, UserItemEncoder):
        raise TypeError(f"encoder must be a UserItemEncoder or None; got {shown(encoder)}.")
    encoder._check_parameters()
    is_known = is_fitted(encoder)
    encoder = encoder if is_known else clone(encoder)
    source = _readable_once(source)
    opened = open_source(source, column_types=column_types)
    if not hasattr(opened, "column_names"):
        raise TypeError("Files in the formats of svmlight and libffm have numbers instead of ids.")
    names = opened.column_names()
    log = LogStream(encoder, names, is_fitted=is_known)
    columns = list(dict.fromkeys(names[place] for place in log.places.values()))
    twin = next((name for name in columns if names.count(name) > 1), None)
    if twin is not None:
        raise ValueError(f"Several columns of the log have the name {twin!r}; rename all but one.")
    column_types = {name: kind for name, kind in (column_types or {}).items() if name in columns}
    opened = open_source(source, columns=columns, column_types=column_types)

    from skfm.streams._log_columns import EventReader

    reader = EventReader(log.header, log.places)
    chunks = ((reader.read(c), c.origin) for c in opened.chunks(int(chunk_rows)))
    with closing(one_ahead(chunks)) as chunks:
        for events, origin in chunks:
            with naming_chunk(origin):
                log.add(events)
    return log.finish(), encoder


def _readable_once(source):
    """The source of a log, which is read in a single pass."""
    is_stream = hasattr(source, "__arrow_c_stream__")
    if callable(source) and not is_stream:
        raise TypeError(
            "A function cannot be the source of a log. Pass the record batches that it makes as a "
            "pyarrow.RecordBatchReader."
        )
    if not is_stream or hasattr(source, "iloc"):
        return source
    import pyarrow as pa

    if not hasattr(pa.RecordBatchReader, "from_stream"):  # before pyarrow 15
        return pa.table(source).to_reader()
    return pa.RecordBatchReader.from_stream(source)  # not all of it at once
