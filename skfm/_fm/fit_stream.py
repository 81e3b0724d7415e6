"""Fits on rows in files, or in other processes, which need not fit into memory."""

import os
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, Self

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets

from skfm._fm.early_stopping import check_scoring, stops_early
from skfm._fm.features import Features
from skfm._fm.streamed_rows import RowsInFiles, as_given
from skfm._solvers.fm.streamed import fit_in_memory
from skfm._utils.callbacks import FitTasks, managing_callbacks
from skfm._utils.checkpoint import open_checkpoint, using_checkpoint
from skfm._utils.estimator import all_or_nothing
from skfm._utils.validation import is_option

NO_ROWS = (None, None, None)


class RowsOfFiles(Protocol):
    """A `skfm.streams.Rows`."""

    def encoded(self) -> Any:
        """The `EncodedRows`."""


class StreamFitting:
    """The method `fit_stream` of `FMRegressor` and `FMClassifier`."""

    # What it needs of `BaseFM`.
    random_state: Any
    _check_parameters: Callable[[], None]
    _fit: Callable[..., Any]

    def fit_stream(
        self,
        rows: RowsOfFiles,
        *,
        rows_val: RowsOfFiles | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Fit the model to rows in files or another source, which need not fit into memory.

        The objective is that of `fit`. A first pass over the encoded rows measures the columns and
        the targets; then each epoch reads all rows in a new random order, about eight million
        entries of X at a time. Fewer entries are read at once and passed to `fit`.

        Newton steps of columns with entries in most rows, the estimates for ``alpha="auto"``, and
        the start of losses of quantiles use a random sample of two million entries. The memory
        needed does not depend on the number of rows. Read more in the
        :doc:`user guide </larger_than_memory>`.

        Parameters
        ----------
        rows : skfm.streams.Rows
            Training rows.
        rows_val : skfm.streams.Rows, default=None
            Validation rows for early stopping, encoded in the same way. If `scoring` is not
            "loss", they must fit into memory.
        checkpoint : path, default=None
            File from which to continue training that was killed or interrupted, as for `fit`.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        TypeError
            If `rows` or `rows_val` is not a `skfm.streams.Rows`.
        ValueError
            As for `fit`. For rows that do not fit into memory, also if ``solver="als"``, which
            needs all rows at once, or if ``early_stopping=True`` without `rows_val`.
        OSError
            If a file of rows or `checkpoint` cannot be read or written, or another fit is using
            `checkpoint`.
        """
        self._check_parameters()
        with all_or_nothing(self), using_checkpoint(checkpoint, self.random_state):
            encoded, held_out = _encoded(rows, "rows"), None
            if rows_val is not None:
                held_out = _encoded(rows_val, "rows_val")
                _check_columns(encoded, held_out)
            if fit_in_memory(encoded.piece_entries):
                validation = NO_ROWS if held_out is None else _in_memory(held_out)
                return self._fit(*_in_memory(encoded), validation, checkpoint)
            return self._fit_pieces(RowsInFiles(encoded), held_out, checkpoint)

    def _fit_partitions(self, load, checkpoint):
        """Fit the model to rows that are in other processes: the `Partitions` that are loaded."""
        self._check_parameters()
        self._refuse_als()
        with all_or_nothing(self), using_checkpoint(checkpoint, self.random_state):
            return self._fit_pieces(load(), None, checkpoint)

    def _refuse_als(self):
        if is_option(self.solver, "als"):
            raise ValueError(
                "solver='als' requires all rows at once, and rows are too many for that; use a "
                "gradient-based solver, such as 'adagrad'."
            )

    @managing_callbacks
    def _fit_pieces(self, source, held_out, checkpoint):
        self._refuse_als()
        given = NO_ROWS if held_out is None else (held_out, held_out, None)
        if stops_early(self.early_stopping, *given) and held_out is None:
            raise ValueError(
                f"early_stopping=True {source.remedy_for_early_stopping} "
                "or set early_stopping=False."
            )
        tasks = FitTasks(self, None, max_epochs=self.max_iter)  # no rows that callbacks could see
        warm_start = self._warm_start() if self.warm_start else None
        fields, groups = self._labels_of_features(source)
        self.n_features_in_ = source.n_features
        vars(self).pop("feature_names_in_", None)
        if source.feature_names is not None:
            self.feature_names_in_ = source.feature_names
        features = Features(self._check_interactions(fields, source.n_features), groups)
        data = {"warm_start": warm_start, "fields": fields, "groups": groups}
        data |= {"rows": source.checksums}
        data |= {"rows_val": None if held_out is None else held_out.checksums}
        checkpoint = open_checkpoint(checkpoint, self, data)
        rng = checkpoint.random_state(check_random_state(self.random_state))
        weigh = None
        if is_classifier(self):
            labels, count = source.count_labels(check_classification_targets)
            self._set_classes(labels)
            weigh = self._class_weigher(labels, count, "y")
        elif source.has_strings:
            raise ValueError(
                "y must contain numbers for a regression (got strings); convert it, or use a "
                "classifier if these are labels."
            )
        numbers = source.as_numbers(self, weigh)
        options = {"warm_start": warm_start, "tasks": tasks}
        options["checkpoint"] = checkpoint.stage("fit")
        if held_out is not None:
            options["held_out"] = self._validation_rows(held_out)
        history = self._fit_rows(numbers, features, rng, self.max_iter, **options)
        self._keep_history(history)
        tasks.end()
        self._warn_if_not_converged(history)
        return self

    def _class_weigher(self, labels, weight, name):
        """What makes class weights part of the weights of rows, or None.

        ``weight`` is that of all rows with each of the ``labels`` of the argument ``name``.
        """
        if self.class_weight is None:
            return None
        count = np.zeros(self.classes_.size)
        count[self._to_numbers(labels, name)] = weight
        return partial(self._weigh, factors=self._class_factors(count))

    def _validation_rows(self, encoded):
        if check_scoring(self) is not None or fit_in_memory(encoded.piece_entries):
            return self._check_rows(*_in_memory(encoded), reset=False)
        source, weigh = RowsInFiles(encoded), None
        if is_classifier(self):
            counted = source.count_labels(check_classification_targets)
            weigh = self._class_weigher(*counted, "y_val")
        return source.as_numbers(self, weigh, "y_val")


def _encoded(rows, name):
    if not hasattr(rows, "encoded"):
        raise TypeError(f"{name} must be a skfm.streams.Rows; got a {type(rows).__name__}.")
    return rows.encoded()


def _in_memory(encoded):
    """X with the labels of its columns, y and the weights."""
    X, y, weight = encoded.read_all()
    return X, as_given(encoded, y), weight


def _check_columns(encoded, held_out):
    n, n_val = encoded.n_features, held_out.n_features
    names, names_val = encoded.feature_names, held_out.feature_names
    if n != n_val:
        difference = f"rows_val have {n_val} features, but rows have {n}"
    elif names is not None and names_val is not None and not np.array_equal(names, names_val):
        difference = "rows_val have other features than rows"
    else:
        return
    raise ValueError(
        f"{difference}; encode both in the same way: pass the fitted encoder of rows, "
        "rows.encoder_, to rows_val."
    )
