"""Explanations of predictions and recommendations."""

from functools import singledispatch
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from skfm import (
    BayesianFMClassifier,
    BayesianFMRegressor,
    FMClassifier,
    FMRecommender,
    FMRegressor,
    MFRecommender,
)
from skfm._utils.parameters import NONE, POSITIVE_INTEGER, check_parameter
from skfm._utils.pipelines import split_steps
from skfm._utils.typing import ColumnLike, Estimator, Int, MatrixLike
from skfm.inspection import _fold_in
from skfm.inspection._collect import Collector, Terms, refuse_too_many
from skfm.inspection._context_items import ContextItems
from skfm.inspection._explanation import Explanation, make_explanation
from skfm.inspection._names import fields_of_features, names_of_features
from skfm.inspection._pairs import pairs_to_explain
from skfm.inspection._polynomials import Explained, of_point_estimate, of_posterior
from skfm.inspection._terms import count_terms, find_terms, row_blocks

TERMS_TOGETHER = 1 << 19  # terms of the samples that are explained together


def explain(
    estimator: Estimator,
    X: MatrixLike,
    *,
    items: ArrayLike | ColumnLike | None = None,
    rows: ArrayLike | None = None,
    max_terms: Int | None = None,
    feature_names: ColumnLike | None = None,
    feature_fields: ColumnLike | None = None,
) -> Explanation:
    """Decompose predictions or scores into contributions of features and interactions.

    The decomposition is exact: intercept and contributions sum to the raw output of the model, up
    to rounding. Features that are absent, that is 0, contribute nothing and are not listed.

    - :class:`~skfm.FMRegressor` and :class:`~skfm.FMClassifier`: each linear term ``w_j x_j`` and
      each interaction ``<v_i, v_j> x_i x_j`` is a contribution to the prediction or, for
      classifiers, to the values of `decision_function`. For the Poisson loss, the output is the
      logarithm of the prediction. With parameters of pairs of fields (`field_interactions`), they
      are part of the weights of the interactions.
    - :class:`~skfm.BayesianFMRegressor` and :class:`~skfm.BayesianFMClassifier`: contributions are
      means over the posterior samples. Those of the regressor sum to the prediction. For the
      classifier, the output is the posterior mean of ``f(x)``. The predicted probability is the
      mean of ``Phi(f(x))``, which is less extreme than ``Phi`` of that output.
    - :class:`~skfm.FMRecommender`: each pair of a row and an item is a sample, whose features are
      those of the context and those of the item. A ranking loss learns nothing that is the same
      for all items, so only "logistic" has terms of the context alone. Columns that are far from
      0 in all rows enter as the difference from their mean.
    - :class:`~skfm.MFRecommender`: each pair of a user and an item is a sample, whose features are
      the items that the user has rated or chosen. The vector of the user is linear in these
      entries, so each contributes a part of the score. With biases, another term is the bias of
      the item; the bias of the user is part of the contributions of the user's entries.

    A sample with m features has m linear terms and, if all pairs interact, m (m - 1) / 2
    interactions, and with a higher `degree` many more.

    Parameters
    ----------
    estimator : estimator
        A fitted estimator of :mod:`skfm`; or a pipeline, or a fitted search, that ends in one.
    X : {array-like, sparse matrix, sparse array} of shape (n_rows, n_features)
        Rows to explain or, for recommenders, users or contexts.
    items : array-like of shape (n_pairs,) or (n_rows, n_items), default=None
        Items whose scores to explain, for recommenders only: one for each row of X or, with
        `rows`, one for each pair; or several for each row, as `recommend` returns them. Places
        without an item are left out.
    rows : array-like of int of shape (n_pairs,), default=None
        Row of X of each item, as in `predict_pairs`. None means that there is an element of
        `items` for each row.
    max_terms : int, default=None
        Number of terms to list for each sample: those with the largest absolute contributions. The
        sum of all others is in the `remainder` of the explanation. None lists all terms.
    feature_names : array-like of shape (n_features,), default=None
        Names of the columns that the estimator gets. None uses the names that transformers of the
        pipeline return or that X had in `fit`, and otherwise "x0", "x1" and so on. For
        `MFRecommender`, they are the names of the items, and `items` must contain names as well.
    feature_fields : array-like of shape (n_features,), default=None
        Fields of the columns that the estimator gets, as labels, for
        :meth:`Explanation.by_field`. None uses the fields of the estimator or those that X
        carries, and otherwise the groups that :func:`~skfm.preprocessing.feature_groups` finds in
        the pipeline.

    Returns
    -------
    explanation : Explanation
        The terms of all samples, in long format.

    Raises
    ------
    TypeError
        If `estimator` does not end in an estimator of skfm.
    ValueError
        If there are more than 10 million contributions to list; or if `items` is missing for a
        recommender, or passed for another estimator.

    See Also
    --------
    top_interactions : Interactions of the model with the largest weights.
    sklearn.inspection.permutation_importance : Importance of features for a score.

    Notes
    -----
    Contributions are computed in float64, pair by pair, and returned in the dtype of the model.
    The models themselves sum pairs as half the difference between the square of a sum and a sum of
    squares [1]_, the Bayesian ones in float32. Where the interactions are much smaller than these
    squares, the `output` of the explanation has the larger rounding error.

    References
    ----------
    .. [1] S. Rendle, "Factorization Machines", ICDM 2010.

    Examples
    --------
    Which features speak for a prediction?

    >>> import numpy as np
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skfm import FMRegressor
    >>> from skfm.inspection import explain
    >>> X = [["ann", "tea"], ["ann", "milk"], ["bob", "tea"], ["bob", "milk"]] * 25
    >>> y = [5, 1, 1, 3] * 25
    >>> model = make_pipeline(
    ...     OneHotEncoder(), FMRegressor(1, solver="als", alpha=0.1, random_state=0)
    ... )
    >>> explanation = explain(model.fit(X, y), X[:1])
    >>> explanation.by_field().feature_names.tolist()
    ['x0', 'x1']
    >>> total = explanation.intercept + explanation.contribution.sum()
    >>> bool(np.allclose(total, model.predict(X[:1])))
    True

    Which of the user's items speak for a recommendation?

    >>> from skfm import MFRecommender
    >>> bought = np.kron(np.eye(2), np.ones((3, 3)))  # two groups of three users
    >>> bought[0, 2] = 0
    >>> model = MFRecommender(2, feedback="implicit", random_state=0).fit(bought)
    >>> items, scores = model.recommend(bought[:1], n_items=1)
    >>> explanation = explain(model, bought[:1], items=items)
    >>> explanation.to_frame()["feature"].tolist()
    ['x0', 'x1']
    """
    check_parameter(max_terms, "max_terms", NONE, POSITIVE_INTEGER)
    max_terms = None if max_terms is None else int(max_terms)
    steps, model = split_steps(estimator)
    for step in steps:
        X = step.transform(X)
    request = _Request(X, items, rows, max_terms, feature_names, feature_fields, steps)
    return _explain(model, request)


class _Request(NamedTuple):
    """What to explain and how; ``X`` is what the last step gets."""

    X: Any
    items: Any
    rows: Any
    max_terms: int | None
    feature_names: Any
    feature_fields: Any
    steps: list

    def names(self, model):
        return names_of_features(self.feature_names, self.steps, model, model.n_features_in_)

    def fields(self, model, fitted):
        return fields_of_features(self.feature_fields, self.steps, model, self.X, fitted)

    def refuse_items(self, model):
        for name in ("items", "rows"):
            if getattr(self, name) is not None:
                raise ValueError(
                    f"{name} is for recommenders only, and {type(model).__name__} predicts a "
                    f"value for each row of X; leave {name} out."
                )


@singledispatch
def _explain(model, request):
    raise TypeError(
        f"explain needs a fitted estimator of skfm, or a pipeline or a search that ends in one; "
        f"got {model!r}."
    )


@_explain.register(FMRegressor)
@_explain.register(FMClassifier)
def _explain_point_estimate(model, request):
    request.refuse_items(model)
    explained = of_point_estimate(model, request.X)
    several = len(getattr(model, "classes_", ())) > 2
    return _explanation_of(
        explained,
        request.max_terms,
        feature_names=request.names(model),
        feature_fields=request.fields(model, model._interactions.field),
        classes=model.classes_ if several else None,
    )


@_explain.register(BayesianFMRegressor)
@_explain.register(BayesianFMClassifier)
def _explain_posterior(model, request):
    request.refuse_items(model)
    explained = of_posterior(model, request.X)
    return _explanation_of(
        explained,
        request.max_terms,
        feature_names=request.names(model),
        feature_fields=request.fields(model, model._chain_state.interactions.field),
    )


@_explain.register(FMRecommender)
def _explain_ranking(model, request):
    contexts = model._check_rows(request.X)
    pairs = pairs_to_explain(request, contexts.shape[0], model._find_catalogue())
    both = ContextItems(model)
    explained = Explained(
        both.rows(contexts, pairs),
        both.polynomial(),
        np.arange(both.n_features),
        model._scores_of_pairs(contexts, pairs.row, pairs.item)[:, None],
    )
    fields = request.fields(model, model._interactions.field[: model.n_features_in_])
    return _explanation_of(
        explained,
        request.max_terms,
        feature_names=both.names(request.names(model)),
        feature_fields=both.fields(fields),
        row=pairs.row,
        item=pairs.shown,
    )


@_explain.register(MFRecommender)
def _explain_fold_in(model, request):
    rows = model._check_rows(request.X)
    names = request.names(model)
    catalogue = model._find_catalogue(request.feature_names)
    pairs = pairs_to_explain(request, rows.shape[0], catalogue)
    collector = _fold_in.collect(model, rows, pairs, request.max_terms)
    return make_explanation(
        model._scores_of_pairs(rows, pairs.row, pairs.item)[:, None],
        np.array([model.mean_]),
        collector,
        feature_names=np.append(names, _fold_in.BIAS),
        row=pairs.row,
        item=pairs.shown,
    )


def _explanation_of(explained, max_terms, **labels):
    """The explanation of rows by a polynomial."""
    rows, polynomial, features, output = explained
    n_terms = count_terms(rows, polynomial)
    refuse_too_many(n_terms, polynomial.n_outputs, max_terms)
    collector = Collector(rows.shape[0], polynomial.n_outputs, max_terms)
    bounds = row_blocks(n_terms, TERMS_TOGETHER)
    for first, last in pairwise(bounds):
        collector.take(
            Terms(sample + first, features[columns], contribution.T)
            for sample, columns, contribution in find_terms(rows[first:last], polynomial)
        )
    return make_explanation(output, polynomial.intercept, collector, **labels)
