"""Fits of MFRecommender whose rows are in partitions, perhaps on several machines."""

import operator
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from sklearn.base import clone
from sklearn.utils import check_random_state

from skfm._recommenders.defaults import Extent
from skfm._recommenders.input_warnings import (
    looks_like_log,
    warn_of_duplicates,
    warn_of_equal_ratings,
    warn_of_log,
)
from skfm._recommenders.mf_units import check_penalties, standardise, units_of
from skfm._solvers.mf import partitioned
from skfm._utils import validation
from skfm._utils.callbacks import FitTasks, managing_callbacks, without_callbacks
from skfm._utils.checkpoint import open_checkpoint, using_checkpoint
from skfm._utils.estimator import all_or_nothing
from skfm._utils.progress import Progress


def fit_partitions(estimator, parts, n_items, checkpoint=None):
    """Fit an estimator by ALS to partitions of X; the result is that of `fit` up to rounding.

    ``parts`` are `Partitions` of records with the rows of some users as ``X``.
    """
    with all_or_nothing(estimator), using_checkpoint(checkpoint, estimator.random_state):
        _fit(estimator, parts, n_items, checkpoint)
    return estimator


@managing_callbacks
def _fit(estimator, parts, n_items, checkpoint):
    estimator._check_parameters()
    if estimator.solver == "sgd":
        raise ValueError("solver='sgd' needs all rows on one machine; use solver='als'.")
    tasks = FitTasks(estimator, None, max_epochs=estimator.max_iter, name="iteration")
    is_implicit = estimator.feedback == "implicit"
    matrices = parts.convert(_read, clone(without_callbacks(estimator)), n_items)
    found = matrices.sum(_summarize)
    estimator._check_n_entries(found.n_entries)
    dtype, shape = np.dtype(found.dtype), (found.n_users, n_items)
    largest = max(abs(found.low), abs(found.high)) or 1.0
    mean = matrices.sum(_total, largest) / found.n_entries
    model = estimator._make_model(_extent(found, shape, largest * mean))
    _warn_of_misuse(found, shape, is_explicit=not is_implicit)
    counts = found.largest_count.value, found.counts.max()
    check_penalties(model, shape, counts, dtype)
    data = {"X": [] if checkpoint is None else matrices.map(_digest)}
    checkpoint = open_checkpoint(checkpoint, estimator, data)
    rng = checkpoint.random_state(check_random_state(estimator.random_state))
    mean, scale = (0.0, 1.0) if is_implicit else _units(matrices, model, largest, mean, found)
    blocks = matrices.convert(_make_block, model, mean, scale, dtype)
    del matrices
    estimator._publish(mean_=mean, scale_=scale)
    vars(estimator).pop("feature_names_in_", None)
    estimator.n_features_in_ = n_items
    settings = estimator._settings()

    def store(number, items):
        estimator._store(model, items.copy())
        estimator.n_iter_ = number

    items, history = partitioned.train(
        model,
        blocks,
        estimator._initial_items(model, n_items, dtype, rng),
        found.counts,
        found.n_users,
        settings,
        Progress(settings, found.n_entries, "entries"),
        listener=tasks.listener(store),
        checkpoint=checkpoint.stage("fit"),
    )
    estimator._finish(model, items.copy(), history, tasks)


@dataclass
class _Largest:
    """A number of which sums are the maximum."""

    value: float

    def __add__(self, other):
        return _Largest(max(self.value, other.value))


@dataclass
class _Summary:
    """What a fit has to know about some rows, to be added up."""

    dtype: np.dtype | None  # None without rows
    n_users: int
    n_used_users: int
    n_given: int  # stored entries, before duplicates are summed
    counts: np.ndarray  # entries of each item
    largest_count: _Largest  # of the entries of a user
    low: float
    high: float
    is_log: bool | None  # None without rows

    @property
    def n_entries(self):
        return int(self.counts.sum())

    def __add__(self, other):
        return _Summary(
            _common(self.dtype, other.dtype, np.promote_types),
            self.n_users + other.n_users,
            self.n_used_users + other.n_used_users,
            self.n_given + other.n_given,
            self.counts + other.counts,
            self.largest_count + other.largest_count,
            min(self.low, other.low),
            max(self.high, other.high),
            _common(self.is_log, other.is_log, operator.and_),
        )


def _common(first, second, combine):
    """Two values combined, either of which may be None."""
    if first is None or second is None:
        return second if first is None else first
    return combine(first, second)


def _extent(found, shape, mean):
    return Extent(
        shape=shape,
        n_entries=found.n_entries,
        n_rows=found.n_used_users,
        n_columns=int(np.count_nonzero(found.counts)),
        mean=mean,
    )


def _warn_of_misuse(found, shape, *, is_explicit):
    warn_of_log(shape, is_log=bool(found.is_log))
    if is_explicit:
        warn_of_equal_ratings(found.low, found.high, found.n_entries)
        warn_of_duplicates(found.n_given - found.n_entries, found.n_given)


def _units(matrices, model, largest, mean, found):
    mean = float(mean) if model.has_bias else 0.0
    variance = matrices.sum(_squares, largest, mean) / found.n_entries
    return units_of(largest, mean, variance, np.dtype(found.dtype))


# Functions of a partition, and of what is shared


@dataclass
class _Matrix:
    """The rows of a partition, in canonical CSR."""

    csr: sparse.csr_matrix
    n_given: int


def _read(part, estimator, n_items):
    X = part.X
    if X.shape[1] != n_items:
        raise ValueError(f"{X.shape[1]} columns, but the other partitions have {n_items}.")
    if X.shape[0] == 0:  # where scikit-learn raises an error
        return _Matrix(sparse.csr_matrix((0, n_items)), 0)
    csr = validation.validate_entries(estimator, X, estimator.feedback == "implicit", reset=True)
    is_exact = sparse.issparse(X) and X.format in ("coo", "csr", "csc")
    return _Matrix(csr, X.nnz if is_exact else csr.nnz)


def _summarize(matrix):
    csr = matrix.csr
    lengths = np.diff(csr.indptr)
    n_users, n_items = csr.shape
    return _Summary(
        csr.dtype if n_users else None,
        n_users,
        int(np.count_nonzero(lengths)),
        matrix.n_given,
        np.bincount(csr.indices, minlength=n_items),
        _Largest(lengths.max(initial=0)),
        float(csr.data.min(initial=np.inf)),
        float(csr.data.max(initial=-np.inf)),
        looks_like_log(csr) if n_users else None,
    )


def _total(matrix, largest):
    return float((matrix.csr.data.astype(np.float64) / largest).sum())


def _squares(matrix, largest, mean):
    return float(((matrix.csr.data.astype(np.float64) / largest - mean) ** 2).sum())


def _digest(matrix):
    return validation.digest(matrix.csr)


def _make_block(matrix, model, mean, scale, dtype):
    csr = matrix.csr.astype(dtype, copy=False)
    return partitioned.make_block(model, standardise(csr, mean, scale))
