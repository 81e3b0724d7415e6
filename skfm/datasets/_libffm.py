"""Files in the text format of libffm: a label and field:feature:value entries in each line."""

import numbers
import os
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_array

from skfm._utils import validation
from skfm._utils.files import creating, opening
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
from skfm._utils.sparse import check_sparse, in_configured_interface
from skfm._utils.sparse_text import chunks
from skfm._utils.typing import FloatArray, FloatDType, Int, IntArray, MatrixLike, SparseMatrix
from skfm.datasets._libffm_reader import Reader
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

    Each line is a row, ``label field:feature:value field:feature:value ...``, separated by
    whitespace. The format is the svmlight format with a field in front of each feature. Fields and
    features are integers of at least 0. Blank lines are skipped, and a line that contains only a
    label is an empty row.

    Parameters
    ----------
    file : str, path-like or binary file object
        File to read. Paths that end in ``.gz``, ``.bz2`` or ``.xz`` are decompressed. A file
        object is read to its end, but not closed.
    n_features : int, default=None
        Number of features. By default, it is inferred from the largest feature in the file. To
        load a test file with the same columns as a training file, pass the number of features of
        the training file.
    dtype : {np.float64, np.float32}, default=np.float64
        Data type of X.
    zero_based : bool or "auto", default=True
        Whether feature indices start at 0, as in most files of this format, or at 1. With "auto",
        they start at 1 if there is no feature 0, as in
        :func:`~sklearn.datasets.load_svmlight_file`. Do not use "auto" for files that may lack
        feature 0 by chance, such as parts of a file. Fields are never shifted.
    on_shared : {"raise", "split"}, default="raise"
        How to handle features that occur in several fields, such as hashed features: raise an
        error, or use a separate column for each pair of field and feature. With "split", the
        smallest field of a feature keeps the column of the feature. The other pairs get new
        columns after all features, ordered by field and then by feature.

    Returns
    -------
    X : CSR matrix of shape (n_rows, n_features)
        Values, with sorted indices. Duplicate entries of a row are summed, and zeros in the file
        are stored. With ``on_shared="split"``, there may be more columns. The attribute
        ``X.feature_fields`` contains the fields of the columns, which the estimators of this
        package use; columns without entries count to the last field there. Operations of SciPy,
        such as slicing, return matrices without this attribute: pass `fields` as `feature_fields`
        to the estimator then.
    y : ndarray of shape (n_rows,), dtype float64
        Labels.
    fields : ndarray of shape (n_features,), dtype int64
        Field of each column of X; -1 for columns without entries.

    Raises
    ------
    ValueError
        If the file has no rows; if a line is malformed, or contains numbers that are not finite,
        negative or out of range (the message contains the line number); if a feature occurs in
        several fields and `on_shared` is "raise"; or if a compressed file is truncated or damaged.
    TypeError
        If `file` is neither a path nor a binary file object, or an option has the wrong type.

    See Also
    --------
    dump_libffm : Write a file in this format.

    Notes
    -----
    Memory grows with the largest feature index, even if few features occur. If indices are very
    large, renumber or hash the features first.

    With ``on_shared="split"``, the new columns depend on the file. To get the same columns for a
    training and a test file, load both as a single file and split the rows, as in the example.

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

    In another file, feature 3 also occurs in field 0. Load both files as one:

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
    X, y, fields = reader.finish()
    X = in_configured_interface(X)
    X.feature_fields = np.where(fields < 0, fields.max(initial=0), fields)
    return X, y, fields


def dump_libffm(
    X: MatrixLike,
    y: ArrayLike,
    file: str | os.PathLike[str] | BinaryIO,
    *,
    fields: ArrayLike,
    zero_based: bool = True,
) -> None:
    r"""Write rows in the format of libffm.

    Each row becomes a line ``label field:feature:value field:feature:value ...``. Numbers are
    written with as few digits as needed to read back the same values in their data type. Zeros are
    only written if they are stored in a sparse X.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_rows, n_features)
        Values. float32 is kept, all other types are converted to float64.
    y : array-like of shape (n_rows,)
        Labels, which must be numbers.
    file : str, path-like or binary file object
        File to write. Paths that end in ``.gz``, ``.bz2`` or ``.xz`` are compressed. If an error
        occurs, the file at a path remains unchanged. A file object is not closed.
    fields : array-like of shape (n_features,)
        Field of each column of X, an integer of at least 0. The fields of columns without entries
        are ignored.
    zero_based : bool, default=True
        Whether feature indices start at 0 or at 1.

    Raises
    ------
    ValueError
        If the shapes do not match, if X or y contains values that are not finite numbers, or if
        the field of a column with entries is not an integer of at least 0.
    TypeError
        If `file` is neither a path nor a binary file object, or if `zero_based` is not a bool.

    See Also
    --------
    load_libffm : Read a file in this format.

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
