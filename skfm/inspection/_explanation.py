"""Explanations: predictions as sums of contributions."""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from skfm._utils import validation
from skfm._utils.ids import distinct
from skfm._utils.parameters import POSITIVE_INTEGER, check_parameter
from skfm._utils.typing import FloatArray, IdArray, Int, IntArray
from skfm.inspection import _report
from skfm.inspection._collect import Terms, split_largest


@dataclass(frozen=True, repr=False, eq=False)
class Explanation:
    """Raw outputs of a model as sums of contributions of features and of their interactions.

    For each sample, ``output = intercept + contributions + remainder``, up to rounding. The terms
    are in long format: one element for each sample and term. :func:`explain` returns this object.

    Parameters
    ----------
    output : ndarray of shape (n_samples,) or (n_samples, n_classes)
        Raw outputs, as the model computes them.
    intercept : ndarray of shape (n_outputs,)
        Intercept of each output, which all samples share.
    sample : ndarray of int of shape (n_terms,)
        Sample of each term, ascending.
    features : ndarray of int of shape (n_terms, max_degree)
        Features that interact in a term, as positions in `feature_names`; -1 as filler. A linear
        term has one feature.
    contribution : ndarray of shape (n_terms,) or (n_terms, n_classes)
        Contribution of each term to the output.
    remainder : ndarray of shape (n_samples,) or (n_samples, n_classes)
        Sum of the terms that are not listed; 0 if all are.
    feature_names : ndarray of shape (n_features,)
        Names of the features.
    feature_fields : ndarray of shape (n_features,), default=None
        Field of each feature, as a label, if the fields are known.
    classes : ndarray of shape (n_classes,), default=None
        Labels of the classes, for several outputs.
    row : ndarray of int of shape (n_samples,), default=None
        For recommenders, the row of X of each sample.
    item : ndarray of shape (n_samples,), default=None
        For recommenders, the item of each sample.

    See Also
    --------
    explain : Computes explanations.

    Examples
    --------
    >>> from skfm import FMRegressor
    >>> from skfm.inspection import explain
    >>> X = [[1, 0, 1], [1, 0, 2], [0, 1, 1], [0, 1, 2]] * 20
    >>> y = [1, 2, -1, -2] * 20
    >>> model = FMRegressor(2, solver="als", alpha=0.1, random_state=0).fit(X, y)
    >>> explanation = explain(model, X[:2], feature_names=["red", "blue", "size"])
    >>> explanation.features.tolist()
    [[0, -1], [2, -1], [0, 2], [0, -1], [2, -1], [0, 2]]
    >>> explanation.by_feature().to_frame().columns.tolist()
    ['sample', 'feature', 'contribution']
    """

    output: FloatArray
    intercept: FloatArray
    sample: IntArray
    features: IntArray
    contribution: FloatArray
    remainder: FloatArray
    feature_names: IdArray
    feature_fields: NDArray[Any] | None = None
    classes: NDArray[Any] | None = None
    row: IntArray | None = None
    item: IdArray | None = None

    def __repr__(self) -> str:
        return _report.text_of(self)

    def top(self, n: Int = 10) -> Self:
        """Keep the largest terms of each sample.

        Parameters
        ----------
        n : int, default=10
            Number of terms to keep of each sample: those with the largest absolute contribution
            or, for several classes, with the largest one to any class.

        Returns
        -------
        explanation : Explanation
            The largest terms, largest first. The sum of all others is in its `remainder`.
        """
        check_parameter(n, "n", POSITIVE_INTEGER)
        kept, others = split_largest(self._terms(), int(n))
        remainder = self.remainder.astype(np.float64)  # a copy
        np.add.at(remainder, self.sample[others], self.contribution[others])
        top = self._with_terms(self._terms().select(kept))
        return replace(top, remainder=remainder.astype(self.remainder.dtype))

    def by_feature(self) -> Self:
        """Attribute all contributions to single features.

        An interaction is divided equally among its features. Since it is 0 if one of them is
        absent, the results are the Shapley values [1]_ of the features, relative to a sample
        whose features are all 0.

        Returns
        -------
        explanation : Explanation
            One term for each sample and feature.

        References
        ----------
        .. [1] L. S. Shapley, "A Value for n-Person Games", Contributions to the Theory of Games
           II, 1953.
        """
        terms = self._terms()
        is_there = terms.features >= 0
        place, _ = np.nonzero(is_there)
        share = terms.contribution / is_there.sum(axis=1, keepdims=True)
        single = terms.sample[place], terms.features[is_there][:, None], share[place]
        return self._with_terms(_merge(Terms(*single)))

    def by_field(self) -> Self:
        """Sum the contributions of the features of each field, and of each set of fields.

        Returns
        -------
        explanation : Explanation
            The features are the fields. An interaction of two features of the same field is an
            interaction of the field with itself.

        Raises
        ------
        ValueError
            If the fields of the features are not known.
        """
        if self.feature_fields is None:
            raise ValueError(
                "The fields of the features are not known; pass feature_fields to explain."
            )
        fields, field = distinct(self.feature_fields, "feature_fields")
        terms = self._terms()
        there = np.sort(np.where(terms.features < 0, fields.size, field[terms.features]), axis=1)
        merged = _merge(terms._replace(features=np.where(there == fields.size, -1, there)))
        return replace(self._with_terms(merged), feature_names=fields, feature_fields=fields)

    def to_frame(self) -> Any:
        """Convert the terms to a DataFrame.

        Returns
        -------
        frame : pandas.DataFrame of shape (n_terms, n_columns)
            A row for each term, with the columns "sample", "feature", "feature_2" and so on (None
            in terms of fewer features), and "contribution". For recommenders, there are "row" and
            "item" after "sample". For several classes, there is a row for each term and class,
            and a column "class" before "contribution".

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        return _report.frame_of(self)

    def _first(self, n_samples):
        """The explanation of the first samples."""
        stop = np.searchsorted(self.sample, n_samples)
        terms = {
            name: getattr(self, name)[:stop] for name in ("sample", "features", "contribution")
        }
        samples = {name: getattr(self, name)[:n_samples] for name in ("output", "remainder")}
        return replace(self, **terms, **samples)

    def _terms(self):
        return Terms(
            self.sample, self.features, self.contribution.reshape(-1, self.intercept.size)
        )

    def _with_terms(self, terms):
        contribution = terms.contribution.astype(self.contribution.dtype, copy=False)
        if self.contribution.ndim == 1:
            contribution = contribution[:, 0]
        return replace(
            self, sample=terms.sample, features=terms.features, contribution=contribution
        )


def _merge(terms):
    """Terms of the same sample and features as one, their sum."""
    degree = (terms.features >= 0).sum(axis=1)
    keys = np.column_stack([terms.sample, degree, terms.features])
    order = np.lexsort(keys.T[::-1])  # much quicker than unique
    keys = keys[order]
    is_first = np.append(True, (np.diff(keys, axis=0) != 0).any(axis=1))[: len(keys)]
    merged = np.zeros((np.count_nonzero(is_first), terms.contribution.shape[1]))
    np.add.at(merged, np.cumsum(is_first) - 1, terms.contribution[order])
    return Terms(keys[is_first, 0], keys[is_first, 2:], merged)


def make_explanation(output, intercept, collector, **labels):
    """The `Explanation` of outputs (n_samples, n_outputs) with the terms that were collected."""
    terms, dtype = collector.result(), output.dtype
    parts = output, terms.contribution, collector.remainder
    with np.errstate(over="ignore"):
        parts = [validation.check_predictions(part.astype(dtype, copy=False)) for part in parts]
        intercept = intercept.astype(dtype, copy=False)
    if intercept.size == 1:
        parts = [part[:, 0] for part in parts]
    output, contribution, remainder = parts
    return Explanation(
        output, intercept, terms.sample, terms.features, contribution, remainder, **labels
    )
