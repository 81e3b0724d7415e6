"""Rows in partitions, which may be in other processes, as an estimator sees them.

The functions that begin with an underscore are the tasks on single partitions.
"""

from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, clone, is_classifier, is_regressor
from sklearn.utils.multiclass import check_classification_targets

from skfm._fm.rows import Rows, without_ones
from skfm._fm.streamed_rows import SAMPLED
from skfm._fm.target_transform import Targets
from skfm._solvers.fm import synchronous
from skfm._solvers.fm.streamed import Block
from skfm._solvers.fm.synchronous import seed_of
from skfm._utils import validation
from skfm._utils.fingerprint import digest


class Checked(NamedTuple):
    """A partition after validation."""

    rows: Rows
    feature_names: Any  # ndarray or None
    feature_fields: Any
    feature_groups: Any
    digest: Any  # of X, y and the weights


class Facts(NamedTuple):
    """What is known of a partition here."""

    n_rows: int
    n_entries: int
    n_features: int
    dtype: np.dtype
    has_strings: bool
    feature_names: Any
    feature_fields: Any
    feature_groups: Any
    digest: Any


class Partitions:
    """Partitions of validated rows; see `streamed_rows.RowsInFiles`.

    Parameters
    ----------
    parts : skfm._solvers.partitions.Partitions
        Triples X, y, and weights or None.
    estimator : FMRegressor or FMClassifier
    """

    remedy_for_early_stopping = "is not possible on partitions; validate after the fit,"

    def __init__(self, parts, estimator):
        self.parts = parts.convert(_check, bool(is_regressor(estimator)))
        facts = self.parts.map(_facts)
        self.piece_rows = np.array([known.n_rows for known in facts], dtype=np.int64)
        self.piece_entries = np.array([known.n_entries for known in facts], dtype=np.int64)
        if not self.piece_rows.sum():
            raise ValueError(
                "There is no row of positive weight in any partition; at least one is required."
            )
        first = facts[int(np.argmax(self.piece_rows > 0))]
        for number, known in enumerate(facts):
            _check_agreement(first, known, number)
        self.n_features = first.n_features
        self.dtype = np.result_type(*(known.dtype for known in facts if known.n_rows))
        self.has_strings = first.has_strings
        self.feature_names = first.feature_names
        self.feature_fields, self.feature_groups = first.feature_fields, first.feature_groups
        self.checksums = {"partitions": np.array([known.digest for known in facts])}

    def count_labels(self, check):
        """The distinct labels of all rows, sorted, and the weight of the rows of each."""
        counted = self.parts.map(_count_labels)
        counted = [(labels, weight) for labels, weight in counted if labels.size]
        labels = np.unique(np.concatenate([labels for labels, _ in counted]))
        check(labels)
        total = np.zeros(labels.size)
        for of_part, weight in counted:
            total[np.searchsorted(labels, of_part)] += weight
        return labels, total

    def as_numbers(self, estimator, weigh):
        """The rows with targets as numbers; ``weigh`` as in `StreamFitting`."""
        # Only what labels and numbers depend on: a callback may be impossible to send.
        unneeded = dict.fromkeys(("callback", "random_state", "feature_fields", "feature_groups"))
        converter = clone(estimator).set_params(**unneeded)
        if is_classifier(estimator):
            converter.classes_ = estimator.classes_
        parts = self.parts.convert(_to_numbers, converter, weigh, self.dtype)
        return PartitionedRows(
            parts, self.n_features, self.dtype, self.piece_rows, self.piece_entries
        )


def _check_agreement(first, known, number):
    """Raise an error if a partition does not agree with the first one."""
    if known.n_features != first.n_features:
        raise ValueError(
            f"Partition {number} has {known.n_features} features, but others have "
            f"{first.n_features}; all partitions of X must have the same columns."
        )
    if not known.n_rows:
        return
    for name in ("feature_names", "feature_fields", "feature_groups"):
        if not np.array_equal(getattr(known, name), getattr(first, name)):
            raise ValueError(
                f"Partition {number} has other {name.replace('_', ' ')} than the others; all "
                "partitions of X must have the same columns."
            )


class PartitionedRows(NamedTuple):
    """Rows of numbers in partitions, with the interface of `StreamedRows`."""

    parts: Any
    n_features: int
    dtype: np.dtype
    piece_rows: np.ndarray
    piece_entries: np.ndarray

    @property
    def targets(self):
        """The targets and weights of all rows."""
        return _PartitionedTargets(self.parts, int(self.piece_rows.sum()))

    def for_solver(self, transform):
        """The same rows in the solver's units."""
        parts = self.parts.convert(_in_units, transform, self.dtype)
        return synchronous.PartitionedRows(parts, *self[1:])


class _PartitionedTargets(Targets):
    def __init__(self, parts, n_rows):
        self._parts, self._n_rows = parts, n_rows

    def each(self, function):
        return self._parts.map(_apply_to_targets, function)

    def sample(self):
        chosen = self._parts.map(_sample_targets, min(1.0, SAMPLED / self._n_rows))
        return tuple(np.concatenate(column) for column in zip(*chosen, strict=True))


# Tasks


class _Checker(BaseEstimator):
    """Stands for the estimator where partitions are validated."""


def _check(part, numeric_target):
    X, y, weight = part
    fields, groups = (getattr(X, name, None) for name in ("feature_fields", "feature_groups"))
    checker = _Checker()
    if X.shape[0] == 0:
        return _without_rows(X, y, fields, groups)
    if weight is not None and not np.any(weight):  # no error: other partitions have weights
        validation.validate_X_y(checker, X, y, numeric_target=numeric_target)
        return _without_rows(X[:0], y[:0], fields, groups)
    rows = Rows(*validation.validate_rows(checker, X, y, weight, numeric_target=numeric_target))
    names = getattr(checker, "feature_names_in_", None)
    return Checked(rows, names, fields, groups, digest(rows))


def _without_rows(X, y, fields, groups):
    empty = validation.as_csr(np.zeros((0, X.shape[1])))
    rows = Rows(empty, np.asarray(y), np.zeros(0))
    return Checked(rows, None, fields, groups, digest(rows))


def _facts(checked):
    X, y, _ = checked.rows
    sizes = X.shape[0], X.nnz, X.shape[1], X.dtype
    return Facts(*sizes, y.dtype.kind in "US", *checked[1:])


def _count_labels(checked):
    _, y, weight = checked.rows
    if not y.size:
        return y, weight
    check_classification_targets(y)
    labels, place = np.unique(y, return_inverse=True)
    return labels, np.bincount(place, weight, labels.size)


def _to_numbers(checked, converter, weigh, dtype):
    X, y, weight = checked.rows
    X, weight = X.astype(dtype, copy=False), weight.astype(dtype, copy=False)
    if not y.size:
        kind = np.intp if is_classifier(converter) else np.float64
        return Rows(X, np.zeros(0, kind), weight)
    y = converter._to_numbers(y, "y")
    if weigh is not None:
        weight = weigh(y, weight)
    return Rows(X, y, weight)


def _apply_to_targets(rows, function):
    return function(rows.y, rows.weight)


def _sample_targets(rows, share):
    kept = np.random.default_rng([0, seed_of(rows.y)]).random(rows.y.size) < share
    return rows.y[kept], rows.weight[kept]


def _in_units(rows, transform, dtype):
    with np.errstate(over="ignore"):  # an infinite loss raises an error later
        target = transform.apply(rows.y).astype(dtype)
    return Block(rows.X, target, without_ones(rows.weight))
