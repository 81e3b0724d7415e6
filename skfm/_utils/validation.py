"""Validation of arguments: data becomes canonical CSR and arrays, anything else is checked."""

import hashlib
import math
import numbers
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from sklearn.utils import column_or_1d
from sklearn.utils.validation import check_non_negative, validate_data

from skfm._utils.memory import largest_squared
from skfm._utils.parameters import (
    BOOLEAN,
    FLOAT_TYPE,
    FLOAT_TYPES,
    RANK,
    Interval,
    Members,
    Options,
    check_parameter,
)
from skfm._utils.sparse import check_sparse, index_type, sum_duplicates


@dataclass(frozen=True)
class _Remedies:
    """What errors advise, depending on what the rows of X are."""

    no_numbers: str
    missing: str


_OF_ROWS = _Remedies(
    "Encode categories before, for example with OneHotEncoder as the first step of a pipeline, or "
    "a log of users and items with skfm.preprocessing.EventEncoder.",
    "Impute missing numbers before, for example with SimpleImputer; of categories, OneHotEncoder "
    "encodes a missing value as one of its own.",
)
_OF_USERS = _Remedies(
    "X must be a matrix of users by items: skfm.preprocessing.UserItemEncoder makes one from a "
    "log. (Other categories, encoded with OneHotEncoder, are for FMRegressor or FMClassifier.)",
    "A missing rating is a cell that is not stored, or a 0 in dense input: fill a pivoted table "
    "with fillna(0), or encode the log with skfm.preprocessing.UserItemEncoder.",
)


def validate_X(estimator, X):
    """Check the ``X`` of a prediction and return it as canonical CSR."""
    return as_csr(_validate(estimator, X, reset=False))


def validate_X_y(estimator, X, y, *, numeric_target, reset=True):
    """Check what a fit gets; returns canonical CSR without zeros and a one-dimensional array.

    float32 stays float32, everything else becomes float64. The caller's arrays are not changed.
    """
    if y is None:
        raise ValueError(
            f"{type(estimator).__name__} requires y to be passed, but the target y is None."
        )
    if numeric_target:
        _require_numbers(y)
    X, y = _validate(estimator, X, y=y, y_numeric=numeric_target, reset=reset)
    return as_csr(X), y


def validate_rows(estimator, X, y, sample_weight, *, numeric_target, reset=True):
    """Rows in canonical form with their weights, those of weight 0 left out."""
    X, y = validate_X_y(estimator, X, y, numeric_target=numeric_target, reset=reset)
    weight = check_sample_weight(sample_weight, X.shape[0], X.dtype)
    if not weight.all():
        X, y, weight = X[weight > 0], y[weight > 0], weight[weight > 0]
    return X, y, weight


def _validate(estimator, X, *, remedies=_OF_ROWS, **options):
    X = check_sparse(X)
    try:
        return validate_data(estimator, X, accept_sparse="csr", dtype=FLOAT_TYPES, **options)
    except (TypeError, ValueError) as error:
        # scikit-learn and NumPy do not know what X is, and so advise nothing, or other estimators.
        kind = TypeError if isinstance(error, TypeError) else ValueError
        message = str(error)
        if any(text in message for text in ("to float", "real number", "promoted")):
            raise kind(
                f"X has values that are not numbers ({message}). {remedies.no_numbers}"
            ) from error
        if "inhomogeneous" in message:
            raise ValueError(
                "X must be a table whose rows are equally long, and y, if there is one, must have "
                f"one value for each row ({message})."
            ) from error
        if "at least one array" in message:
            raise ValueError("X has no columns; a minimum of 1 is required.") from error
        if "X contains NaN" in message:
            raise kind(f"Input X contains NaN. {remedies.missing}") from error
        raise


def _require_numbers(y):
    try:
        values = np.asarray(y)
    except ValueError as error:  # lists that are not equally long
        raise ValueError(f"y must hold one number for each row of X ({error}).") from error
    _refuse_complex(values, "y")
    try:
        if values.dtype.kind in "US" or any(isinstance(v, str) for v in _objects(values)):
            raise ValueError("got strings")
        np.asarray(y, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"y must hold numbers for a regression ({error}); convert it with astype(float), or "
            "use a classifier if these are labels."
        ) from error


def _refuse_complex(values, name):
    """NumPy would drop the imaginary parts, with a warning."""
    if values.dtype.kind == "c":
        raise ValueError(
            f"Complex data not supported: {name} has the type {values.dtype}; pass real numbers, "
            f"such as {name}.real."
        )


def _objects(values):
    return values.ravel() if values.dtype == object else ()


def validate_cells(estimator, X, is_confidence, *, reset):
    """A users x items matrix as canonical CSR of cells; a stored zero is a cell.

    Of confidences, zeros are none and negative values an error.
    """
    X = _validate(estimator, X, remedies=_OF_USERS, reset=reset)
    if is_confidence:
        check_non_negative(X, f"{type(estimator).__name__} with feedback='implicit'")
    return as_csr(X, keep_zeros=not is_confidence)


def as_csr(X, *, keep_zeros=False):
    """Canonical CSR: sorted, no duplicates, no explicit zeros unless kept.

    Copies rather than change X, which `check_sparse` has seen.
    """
    if not sparse.issparse(X):
        filled = X != 0
        indptr = np.append(0, np.cumsum(np.count_nonzero(filled, axis=1)))
        columns = np.empty(indptr[-1], dtype=np.int32)
        for start in range(0, X.shape[0], 4096):  # nonzero() takes 16 bytes an entry
            stop = min(X.shape[0], start + 4096)
            columns[indptr[start] : indptr[stop]] = np.nonzero(filled[start:stop])[1]
        return sparse.csr_matrix((X[filled], columns, indptr), shape=X.shape)
    given, X = X, sum_duplicates(X)
    if not keep_zeros and not X.data.all():
        X = X.copy() if X is given else X
        X.eliminate_zeros()
    if X.indices.dtype != np.int32 and index_type(*X.shape, X.nnz) == np.int32:
        # Kernels would have to be compiled for both.
        ids = X.indices.astype(np.int32), X.indptr.astype(np.int32)
        X = type(X)((X.data, *ids), shape=X.shape)
        X.has_canonical_format = True
    return X


def check_sample_weight(sample_weight, n_rows, dtype):
    """Weights as one array of the given dtype, or ones."""
    if sample_weight is None:
        return np.ones(n_rows, dtype=dtype)
    if isinstance(sample_weight, numbers.Number):
        sample_weight = np.full(n_rows, sample_weight)
    try:
        _refuse_complex(np.asarray(sample_weight), "sample_weight")
        weight = np.asarray(sample_weight, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"sample_weight must hold numbers, one a row of X ({error}).") from error
    if weight.ndim != 1:
        raise ValueError("Sample weights must be 1D array or scalar (argument sample_weight).")
    if weight.size != n_rows:
        raise ValueError(
            f"sample_weight.shape == {weight.shape}, expected ({n_rows},): one weight a row of X."
        )
    if not np.isfinite(weight).all():
        raise ValueError("sample_weight contains NaN or infinity; replace or drop those rows.")
    if (weight < 0).any():
        raise ValueError("sample_weight contains negative values; weights must be at least 0.")
    with np.errstate(over="ignore"):
        total = weight.sum()
    largest = largest_sum(dtype)
    if not total <= largest:
        raise ValueError(
            f"sample_weight is too large: the sum of the weights is {total:.3g} and must be at "
            f"most {largest:.3g} in {np.dtype(dtype)}."
        )
    # A copy, that can be written: for others, kernels would have to be compiled as well.
    weight = np.array(weight, dtype=dtype)
    if not weight.any():
        raise ValueError(
            "sample_weight is zero for every row: all weights are zero, nothing is left to fit."
        )
    return weight


def largest_sum(dtype):
    """Of weights, so that it can be multiplied with something."""
    return float(np.finfo(dtype).max) / 100


def check_weight_of_steps(weight):
    """Weights with which squares of gradients are numbers, as steps are divided by their roots."""
    total = weight.sum(dtype=np.float64)
    largest = largest_squared(weight.dtype)
    if total > largest:
        raise ValueError(
            f"sample_weight is too large for training by gradient steps in {weight.dtype}: the "
            f"sum of the weights, with class weights, is {total:.3g} and must be at most "
            f"{largest:.3g}. Divide the weights by their mean."
        )


def check_column(values, name):
    """A value for each row, in one dimension, else an error that names the argument."""
    try:
        return column_or_1d(values, warn=True)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name} must hold one value for each row ({error})") from error


def check_predictions(values):
    """Values that are predicted, if all of them are numbers."""
    if not np.isfinite(values).all():
        other = ", or fit on X in float64" if values.dtype == np.float32 else ""
        raise ValueError(
            f"X has values that are too large for predictions in {values.dtype}; scale them, for "
            f"example with sklearn.preprocessing.MaxAbsScaler{other}."
        )
    return values


def digest(X, *arrays):
    """What tells rows and their targets from others."""
    state = hashlib.blake2b(digest_size=8)
    for array in (X.indptr, X.indices, X.data, *arrays):
        state.update(np.ascontiguousarray(array))
    return state.digest()


def check_number(value, name, kind, *, low=-math.inf, high=math.inf):
    """A finite number of the right kind within bounds, as Python's int or float."""
    interval = Interval(kind, low, high)
    check_parameter(value, name, interval)
    return interval.convert(value)


def check_n_components(value):
    check_parameter(value, "n_components", RANK)
    return RANK.convert(value)


def check_option(value, name, options):
    check_parameter(value, name, Options(*options))


def is_option(value, option):
    """Whether it is this string: of arrays and tables, ``==`` says something else."""
    return isinstance(value, str) and value == option


def check_list(value, name, what, *, ndim=1):
    """The members of a list or the like, or of an array of at most so many dimensions."""
    check_parameter(value, name, Members(what, ndim))
    return list(value)


def check_dtype(dtype):
    check_parameter(dtype, "dtype", FLOAT_TYPE)


def check_flag(value, name):
    check_parameter(value, name, BOOLEAN)
