"""Files in the text format of libffm: a label and field:feature:value entries in each line."""

import numbers
import os
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_array

from skfm._utils import validation
from skfm._utils.parameters import (
    AUTO,
    BOOLEAN,
    FLOAT_TYPE,
    FLOAT_TYPES,
    NONE,
    Interval,
    Options,
    check_parameter,
)
from skfm._utils.sparse import check_sparse
from skfm._utils.typing import FloatArray, FloatDType, Int, IntArray, MatrixLike, SparseMatrix
from skfm.datasets._files import creating, opening
from skfm.datasets._libffm_reader import Reader, chunks
from skfm.datasets._libffm_writer import check_fields, check_labels, require_finite, write_rows


def load_libffm(
    file: str | os.PathLike[str] | BinaryIO,
    *,
    n_features: Int | None = None,
    dtype: FloatDType = np.float64,
    zero_based: bool | Literal["auto"] = True,
    on_shared: Literal["raise", "split"] = "raise",
) -> tuple[SparseMatrix, FloatArray, IntArray]:
    r"""Read a file in the format of libffm.

    Each line is a row: ``label field:feature:value field:feature:value ...``, separated by white
    space. The format is that of svmlight with a field in front of each feature. Field and
    feature are integers of at least 0. Lines that are blank are skipped; a line with a label
    only is an empty row.

    Parameters
    ----------
    file : str, path-like or binary file object
        Where to read. Paths that end in ``.gz`` or ``.bz2`` are decompressed. A file object is
        read to its end and not closed.
    n_features : int, default=None
        Number of features. By default as many as the largest one in the file needs. Give that of
        the training file to load a test file into the same columns.
    dtype : {np.float64, np.float32}, default=np.float64
        Type of X.
    zero_based : bool or "auto", default=True
        Whether features are counted from 0, as in most files of this format, or from 1. "auto"
        takes 1 if there is no feature 0, as in scikit-learn. That depends on the data: do not
        use it for files which may lack feature 0 by chance, such as parts of one file. Fields
        are kept as they are.
    on_shared : {"raise", "split"}, default="raise"
        What to do with a feature that occurs under several fields, as hashed features do: raise
        an error, or give every pair of field and feature a column of its own. The smallest field
        of the feature keeps the feature's column; the other pairs get new columns behind all
        features, ordered by field, then by feature.

    Returns
    -------
    X : CSR matrix of shape (n_rows, n_features)
        Values, with sorted indices. An entry that occurs several times in a row is summed;
        zeros in the file stay stored zeros. With ``on_shared="split"`` there may be more
        columns.
    y : ndarray of shape (n_rows,), dtype float64
        Labels.
    fields : ndarray of shape (n_features,), dtype int64
        Field of each column of X; -1 for columns that do not occur in the file.

    Raises
    ------
    ValueError
        If the file has no rows, or something in it is malformed, not finite, negative or out of
        range; the message says in which line. If a feature occurs under several fields and
        `on_shared` is "raise". If a compressed file is cut off or damaged.
    TypeError
        If `file` is neither a path nor a binary file object, or an option has the wrong type.

    See Also
    --------
    dump_libffm : The reverse.

    Notes
    -----
    A table with a number for each feature is kept, so that huge ids need memory even if few of
    them occur; renumber or hash them first.

    The new columns of ``on_shared="split"`` depend on the file. To get the same ones for a
    training and a test file, load both together, as one file (see the example), and cut the rows
    apart.

    Examples
    --------
    >>> import io
    >>> from skfm.datasets import load_libffm
    >>> train = b"1 0:0:1 1:3:0.5\n0 0:1:1 1:3:2\n"
    >>> X, y, fields = load_libffm(io.BytesIO(train))
    >>> X.toarray()
    array([[1. , 0. , 0. , 0.5],
           [0. , 1. , 0. , 2. ]])
    >>> y
    array([1., 0.])
    >>> fields
    array([ 0,  0, -1,  1])

    Feature 3 also occurs under field 0 in another file. Both files as one:

    >>> test = b"1 0:3:1 1:3:1\n"
    >>> X, y, fields = load_libffm(io.BytesIO(train + test), on_shared="split")
    >>> X_train, X_test = X[:2], X[2:]
    >>> X_test.toarray()
    array([[0., 0., 0., 1., 1.]])
    >>> fields
    array([ 0,  0, -1,  0,  1])
    """
    check_parameter(n_features, "n_features", NONE, Interval(numbers.Integral, 0))
    check_parameter(dtype, "dtype", FLOAT_TYPE)
    check_parameter(zero_based, "zero_based", BOOLEAN, AUTO)
    check_parameter(on_shared, "on_shared", Options("raise", "split"))
    with opening(file) as (stream, name):
        reader = Reader(name, n_features, np.dtype(dtype), zero_based, on_shared == "split")
        for chunk in chunks(stream):
            reader.add(chunk)
    return reader.finish()


def dump_libffm(
    X: MatrixLike,
    y: ArrayLike,
    file: str | os.PathLike[str] | BinaryIO,
    *,
    fields: ArrayLike,
    zero_based: bool = True,
) -> None:
    r"""Write rows in the format of libffm.

    Each row becomes a line ``label field:feature:value field:feature:value ...`` with the shortest
    numbers that read back as the same ones in their type. Of a dense X, zeros are not written; of
    a sparse one, stored zeros are.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_rows, n_features)
        Values. float32 stays float32, everything else becomes float64.
    y : array-like of shape (n_rows,)
        Labels: numbers.
    file : str, path-like or binary file object
        Where to write. Paths that end in ``.gz`` or ``.bz2`` are compressed. A path is written
        completely or not at all: after an error it is what it was before. A file object is not
        closed.
    fields : array-like of shape (n_features,)
        Field of each column of X: an integer of at least 0 where the column is used. What it is
        for columns without entries does not matter.
    zero_based : bool, default=True
        Whether to count features from 0 or from 1.

    Raises
    ------
    ValueError
        If shapes do not fit, X or y are not finite numbers, or the field of a used column is no
        integer of at least 0.
    TypeError
        If `file` is neither a path nor a binary file object, or `zero_based` not a bool.

    See Also
    --------
    load_libffm : The reverse.

    Examples
    --------
    >>> import io
    >>> from skfm.datasets import dump_libffm
    >>> file = io.BytesIO()
    >>> dump_libffm([[1, 0, 0.5], [0, 2, 0]], [1, 0], file, fields=[0, 0, 1])
    >>> print(file.getvalue().decode())
    1 0:0:1 1:2:0.5
    0 0:1:2
    <BLANKLINE>
    """
    check_parameter(zero_based, "zero_based", BOOLEAN)
    X = check_array(
        check_sparse(X),
        accept_sparse="csr",
        dtype=FLOAT_TYPES,
        ensure_all_finite=False,  # our message names the remedy
        ensure_min_features=0,
        input_name="X",
    )
    X = validation.as_csr(X, keep_zeros=True)
    require_finite(X.data, "X")
    labels = check_labels(y, X.shape[0])
    fields = check_fields(fields, X)
    with creating(file) as stream:
        for text in write_rows(X, labels, fields, 0 if zero_based else 1):
            stream.write(text)
