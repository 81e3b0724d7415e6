"""Logs of events in Dask DataFrames, converted to Dask arrays of users by items."""

from typing import Any

import numpy as np
from scipy import sparse

from skfm._utils.estimator import all_or_nothing
from skfm._utils.parameters import POSITIVE_INTEGER, check_parameter
from skfm.dask._cluster import open_cluster
from skfm.dask._partitions import is_table, read_source
from skfm.preprocessing import UserItemEncoder
from skfm.preprocessing._event_log import Events
from skfm.preprocessing._user_item_encoder import Lesson


def fit_transform(
    encoder: UserItemEncoder, X: Any, *, n_partitions: int | None = None, client: Any = None
) -> Any:
    """Learn the users and items of a log on a Dask cluster, and convert it to a matrix.

    The encoder is fitted in place, as by its method `fit_transform`: with the same ids, columns
    and rows. The ids of all users and items must fit into memory. The matrix is lazy: each block
    has the rows of consecutive users, and takes their events from all partitions of X when it is
    computed. Call ``persist()`` to use it several times.

    Parameters
    ----------
    encoder : UserItemEncoder
        The encoder to fit.
    X : dask.dataframe.DataFrame of shape (n_events, n_columns)
        Log with the columns user, item and, optionally, value and time. Its divisions do not
        matter, and partitions may be empty.
    n_partitions : int, default=None
        Number of blocks of the matrix. None is the number of partitions of X. There are at most as
        many as users.
    client : distributed.Client, default=None
        The client of the cluster, as in :func:`fit`.

    Returns
    -------
    matrix : dask.array.Array of shape (n_users, n_items)
        The matrix in blocks of rows, which are CSR matrices. If pairs are repeated and the
        encoder's `duplicates` is "auto", warnings are in the logs of the workers.

    Raises
    ------
    ImportError
        If Dask is not installed.
    TypeError
        If `encoder` or X has another type.
    ValueError
        If a parameter of the encoder is invalid, or if X is not a valid log; the message names
        the partition.

    Examples
    --------
    >>> import dask.dataframe as dd
    >>> import pandas as pd
    >>> from skfm.dask import fit_transform
    >>> from skfm.preprocessing import UserItemEncoder
    >>> log = pd.DataFrame({"user": ["eve", "bob", "ann", "bob"], "item": [20, 10, 10, 20]})
    >>> encoder = UserItemEncoder()
    >>> X = fit_transform(encoder, dd.from_pandas(log, npartitions=2))  # doctest: +SKIP
    >>> X.compute().toarray()  # doctest: +SKIP
    array([[1., 0.],
           [1., 1.],
           [0., 1.]])
    >>> encoder.user_ids_.tolist()  # doctest: +SKIP
    ['ann', 'bob', 'eve']
    """
    if not isinstance(encoder, UserItemEncoder):
        raise TypeError(
            f"skfm.dask.fit_transform supports UserItemEncoder; got {type(encoder).__name__}."
        )
    if not is_table(X):
        raise TypeError(f"X must be a Dask DataFrame of events; got {type(X).__name__}.")
    if n_partitions is not None:
        check_parameter(n_partitions, "n_partitions", POSITIVE_INTEGER)
    with open_cluster(client) as cluster, all_or_nothing(encoder):
        encoder._check_parameters()
        source = read_source(X)
        lesson = cluster.load(source.tasks).sum(_learn, encoder, add=_join)
        if lesson is None:
            raise ValueError("X is an empty log: it has no rows.")
        lesson.teach(encoder)
    return _matrix(encoder, source.tasks, n_partitions or len(source.tasks))


def _matrix(encoder, tasks, n_blocks):
    import dask.array as da
    from dask.delayed import delayed

    n_users, n_items = encoder._shape()
    bounds = np.unique(np.linspace(0, n_users, min(n_blocks, n_users) + 1).astype(int))
    fitted, split, make = delayed(encoder), delayed(_split), delayed(_make_block)
    pieces = [split(task, fitted, bounds) for task in tasks]
    meta = sparse.csr_matrix((0, n_items), dtype=encoder.dtype)
    blocks = []
    for number in range(bounds.size - 1):
        n_rows = int(bounds[number + 1] - bounds[number])
        block = make([piece[number] for piece in pieces], n_rows, fitted)
        blocks.append(da.from_delayed(block, (n_rows, n_items), meta=meta))
    return da.concatenate(blocks)


def _learn(part, encoder):
    return Lesson.of(encoder, part.X)


def _join(first, second):
    if first is None or second is None:
        return second if first is None else first
    return first.join(second)


def _split(part, encoder, bounds):
    """The events of a partition, by the ranges of users whose rows begin at ``bounds``."""
    events = encoder._events(part.X)
    if events is None:
        return [None] * (bounds.size - 1)
    owners = np.searchsorted(bounds, events.rows, side="right") - 1
    order = np.argsort(owners, kind="stable")
    starts = np.searchsorted(owners[order], np.arange(bounds.size))
    return [
        Events(
            events.rows[chosen] - bounds[number],
            events.columns[chosen],
            events.values[chosen],
            None if events.times is None else events.times[chosen],
        )
        for number in range(bounds.size - 1)
        for chosen in [order[starts[number] : starts[number + 1]]]
    ]


def _make_block(pieces, n_rows, encoder):
    """The rows of some users, from their events in the order of the log."""
    pieces = [piece for piece in pieces if piece is not None]
    times = [piece.times for piece in pieces]
    events = Events(
        np.concatenate([piece.rows for piece in pieces]),
        np.concatenate([piece.columns for piece in pieces]),
        np.concatenate([piece.values for piece in pieces]),
        None if times[0] is None else np.concatenate(times),
    )
    return encoder._to_csr(events, (n_rows, len(encoder.item_ids_)))
