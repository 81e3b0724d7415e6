"""Validation of arguments: data become canonical CSR and arrays, other values are checked.

"Canonical" CSR has sorted column indices without duplicates, and no explicit zeros unless they are
kept. float32 stays float32, all other types become float64. No input is changed.
"""

import hashlib
import math
import numbers
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from sklearn.utils import column_or_1d
from sklearn.utils.validation import check_non_negative, validate_data

from skfm._utils.lazy import refuse_lazy
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
class _Advice:
    """What error messages advise, depending on what the rows of X are."""

    no_numbers: str
    missing: str


_ADVICE_FOR_SAMPLES = _Advice(
    "Encode categories first, for example with OneHotEncoder as the first step of a pipeline, or "
    "a log of users and items with skfm.preprocessing.EventEncoder.",
    "Impute missing numbers first, for example with SimpleImputer. OneHotEncoder encodes missing "
    "categories as a category of their own.",
)
_ADVICE_FOR_USERS = _Advice(
    "X must be a matrix of users by items: skfm.preprocessing.UserItemEncoder makes one from a "
    "log. (For other categories, use OneHotEncoder with FMRegressor or FMClassifier.)",
    "A missing rating is an entry that is not stored, or a 0 in dense input: fill a pivoted table "
    "with fillna(0), or encode the log with skfm.preprocessing.UserItemEncoder.",
)


def validate_X(estimator, X):
    """Validate the X of a prediction; return it as canonical CSR."""
    return as_csr(_validate(estimator, X, reset=False))


def validate_X_y(estimator, X, y, *, numeric_target, reset=True):
    """Validate the X and y of a fit; return canonical CSR and a one-dimensional array."""
    if y is None:
        raise ValueError(
            f"{type(estimator).__name__} requires y to be passed, but the target y is None."
        )
    refuse_lazy(y, "y")
    if numeric_target:
        y = _require_numbers(y)
    X, y = _validate(estimator, X, y=y, y_numeric=numeric_target, reset=reset)
    return as_csr(X), y


def validate_rows(estimator, X, y, sample_weight, *, numeric_target, reset=True):
    """Validate X, y and sample weights; leave out the rows of weight 0."""
    X, y = validate_X_y(estimator, X, y, numeric_target=numeric_target, reset=reset)
    weight = check_sample_weight(sample_weight, X.shape[0], X.dtype)
    if not weight.all():
        X, y, weight = X[weight > 0], y[weight > 0], weight[weight > 0]
    return X, y, weight


def _validate(estimator, X, *, advice=_ADVICE_FOR_SAMPLES, **options):
    X = check_sparse(X)
    if _is_valid(estimator, X, **options):
        return (X, options["y"]) if "y" in options else X
    _refuse_dates(X, advice)
    try:
        return validate_data(estimator, X, accept_sparse="csr", dtype=FLOAT_TYPES, **options)
    except (OverflowError, TypeError, ValueError) as error:
        # scikit-learn and NumPy do not know what X is, so they give no advice, or suggest other
        # estimators.
        kind = TypeError if isinstance(error, TypeError) else ValueError
        message = str(error)
        if any(text in message for text in ("to float", "real number", "promoted")):
            raise kind(
                f"X has values that are not numbers ({message}). {advice.no_numbers}"
            ) from error
        if "inhomogeneous" in message:
            raise ValueError(
                "X must be a table whose rows have equal lengths, and y, if given, must contain "
                f"one value for each row ({message})."
            ) from error
        if "at least one array" in message:
            raise ValueError("X has no columns; a minimum of 1 is required.") from error
        if "X contains NaN" in message:
            raise kind(f"Input X contains NaN. {advice.missing}") from error
        raise


def _is_valid(estimator, X, *, reset, y=None, y_numeric=False):
    """Whether X, and y if given, need no conversion and no error message.

    scikit-learn's checks take longer than to learn from a row, or to predict one.
    """
    known = vars(estimator)
    if reset or "feature_names_in_" in known or not sparse.issparse(X):
        return False
    if X.format != "csr" or X.dtype not in FLOAT_TYPES or X.ndim != 2:
        return False
    if X.shape[0] == 0 or X.shape[1] != known.get("n_features_in_"):
        return False
    if y is not None and not (
        type(y) is np.ndarray and y.shape == X.shape[:1] and y.dtype.kind in "biuf"
    ):
        return False
    arrays = [X.data] if y is None or y.dtype.kind != "f" else [X.data, y]
    return all(np.isfinite(array).all() for array in arrays)


def _refuse_dates(X, advice):
    """Refuse tables of dates or durations, which NumPy would count in nanoseconds."""
    types = getattr(X, "dtypes", None)  # of the columns of a DataFrame
    for dtype in [getattr(X, "dtype", None)] if types is None else types:
        if getattr(dtype, "kind", "") in ("M", "m"):
            raise TypeError(f"X has values that are not numbers ({dtype}). {advice.no_numbers}")


def _require_numbers(y):
    """The y of a regression; objects become floats, so that None and pd.NA are missing values."""
    try:
        values = np.asarray(y)
    except ValueError as error:  # lists of different lengths
        raise ValueError(f"y must contain one number for each row of X ({error}).") from error
    _refuse_complex(values, "y")
    try:
        if values.dtype.kind in "US" or any(isinstance(v, str) for v in _objects(values)):
            raise ValueError("got strings")
        if values.dtype.kind in "mM":
            raise ValueError(f"got {values.dtype}")
        return values.astype(np.float64) if values.dtype == object else y
    except (OverflowError, TypeError, ValueError) as error:
        raise ValueError(
            f"y must contain numbers for a regression ({error}); convert it with astype(float), "
            "or use a classifier if these are labels."
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


def validate_entries(estimator, X, is_confidence, *, reset):
    """Validate a matrix of users by items; return it as canonical CSR.

    A stored zero is a rating. Among confidences zeros are dropped, and negative values are an
    error.
    """
    X = _validate(estimator, X, advice=_ADVICE_FOR_USERS, reset=reset)
    if is_confidence:
        is_chosen = hasattr(estimator, "feedback")  # others have no explicit feedback
        option = " with feedback='implicit'" if is_chosen else ""
        check_non_negative(X, f"{type(estimator).__name__}{option}")
    return as_csr(X, keep_zeros=not is_confidence)


def as_csr(X, *, keep_zeros=False):
    """Convert X, which `check_sparse` has validated, to canonical CSR. Copy it where needed."""
    if not sparse.issparse(X):
        filled = X != 0
        indptr = np.append(0, np.cumsum(np.count_nonzero(filled, axis=1)))
        columns = np.empty(indptr[-1], dtype=np.int32)
        for start in range(0, X.shape[0], 4096):  # nonzero() takes 16 bytes for each entry
            stop = min(X.shape[0], start + 4096)
            columns[indptr[start] : indptr[stop]] = np.nonzero(filled[start:stop])[1]
        return sparse.csr_matrix((X[filled], columns, indptr), shape=X.shape)
    given, X = X, sum_duplicates(X)
    if not keep_zeros and not X.data.all():
        X = X.copy() if X is given else X
        X.eliminate_zeros()
    if X.indices.dtype != np.int32 and index_type(*X.shape, X.nnz) == np.int32:
        # Kernels would have to be compiled for int64 as well.
        ids = X.indices.astype(np.int32), X.indptr.astype(np.int32)
        X = type(X)((X.data, *ids), shape=X.shape)
        X.has_canonical_format = True
    return X


def check_sample_weight(sample_weight, n_rows, dtype):
    """Validate sample weights; return them as a new array, ones if there are none."""
    refuse_lazy(sample_weight, "sample_weight")
    if sample_weight is None:
        return np.ones(n_rows, dtype=dtype)
    if isinstance(sample_weight, numbers.Number):
        sample_weight = np.full(n_rows, sample_weight)
    try:
        _refuse_complex(np.asarray(sample_weight), "sample_weight")
        weight = np.asarray(sample_weight, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"sample_weight must contain one number for each row of X ({error})."
        ) from error
    if weight.ndim != 1:
        raise ValueError("Sample weights must be 1D array or scalar (argument sample_weight).")
    if weight.size != n_rows:
        raise ValueError(
            f"sample_weight.shape == {weight.shape}, expected ({n_rows},): one weight for each "
            "row of X."
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
    # A writeable copy: kernels would have to be compiled for read-only arrays as well.
    weight = np.array(weight, dtype=dtype)
    if not weight.any():
        raise ValueError(
            "sample_weight is zero for every row; at least one weight must be positive."
        )
    return weight


def largest_sum(dtype):
    """The largest sum of weights whose products do not overflow."""
    return float(np.finfo(dtype).max) / 100


def check_weight_of_steps(weight):
    """Check that squares of gradients do not overflow: steps are divided by their square roots."""
    total = weight.sum(dtype=np.float64)
    largest = largest_squared(weight.dtype)
    if total > largest:
        raise ValueError(
            f"sample_weight is too large for training by gradient steps in {weight.dtype}: the "
            f"sum of the weights, with class weights, is {total:.3g} and must be at most "
            f"{largest:.3g}. Divide the weights by their mean."
        )


def check_column(values, name):
    """Validate a one-dimensional array with one value for each row; return it."""
    try:
        return column_or_1d(values, warn=True)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name} must contain one value for each row ({error})") from error


def check_predictions(values):
    """Check that all predicted values are finite; return them."""
    if not np.isfinite(values).all():
        other = ", or fit on X in float64" if values.dtype == np.float32 else ""
        raise ValueError(
            f"X has values that are too large for predictions in {values.dtype}; scale them, for "
            f"example with sklearn.preprocessing.MaxAbsScaler{other}."
        )
    return values


def digest(X, *arrays):
    """A hash of rows and their targets, which identifies them."""
    state = hashlib.blake2b(digest_size=8)
    for array in (X.indptr, X.indices, X.data, *arrays):
        state.update(np.ascontiguousarray(array))
    return state.digest()


def check_number(value, name, kind, *, low=-math.inf, high=math.inf):
    """Check a number; return it as an int or a float of Python."""
    interval = Interval(kind, low, high)
    check_parameter(value, name, interval)
    return interval.convert(value)


def check_n_components(value):
    check_parameter(value, "n_components", RANK)
    return RANK.convert(value)


def check_option(value, name, options):
    check_parameter(value, name, Options(*options))


def is_option(value, option):
    """Whether the value is this string. ``==`` would compare arrays and tables by element."""
    return isinstance(value, str) and value == option


def check_list(value, name, what, *, ndim=1):
    """Check a list-like, or an array of at most ``ndim`` dimensions; return its elements."""
    check_parameter(value, name, Members(what, ndim))
    return list(value)


def check_dtype(dtype):
    check_parameter(dtype, "dtype", FLOAT_TYPE)


def check_flag(value, name):
    check_parameter(value, name, BOOLEAN)
