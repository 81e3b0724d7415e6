"""The interactions of a fitted model with the largest weights, and the most similar features."""

from importlib import import_module
from typing import Any, Literal

import numpy as np

from skfm._recommenders.output import check_output
from skfm._utils import validation
from skfm._utils.ids import distinct
from skfm._utils.parameters import POSITIVE_INTEGER, check_parameter
from skfm._utils.typing import ColumnLike, Estimator, Int, MatrixLike
from skfm.inspection._factors import factors_of, rows_for
from skfm.inspection._strengths import strengths_of_fields, strongest_pairs
from skfm.inspection._strengths_in_rows import strengths_of_fields_in, strongest_pairs_in

Output = Literal["default", "pandas", "polars"]


def top_interactions(
    estimator: Estimator,
    n: Int = 10,
    *,
    X: MatrixLike | None = None,
    by: Literal["feature", "field"] = "feature",
    feature_names: ColumnLike | None = None,
    feature_fields: ColumnLike | None = None,
    output: Output = "default",
) -> Any:
    """Find the pairs of features, or of fields, that interact most strongly.

    The weight of a pair of features is ``<v_i, v_j>``, for the Bayesian estimators its posterior
    mean, and it is 0 for pairs that do not interact in the model. With parameters of pairs of
    fields (`field_interactions`), it is ``r_cd <v_i, v_j>``, ``v_i' M_cd v_j`` or
    ``<v_i[d], v_j[c]>`` for features of the fields c and d.

    Pass X: a model also has weights for pairs that never occur together, such as two users. They
    follow from the vectors, but they have no effect and no meaning.

    Parameters
    ----------
    estimator : estimator
        A fitted :class:`~skfm.FMRegressor`, :class:`~skfm.FMClassifier`,
        :class:`~skfm.BayesianFMRegressor`, :class:`~skfm.BayesianFMClassifier` or
        :class:`~skfm.FMRecommender`; or a pipeline, or a fitted search, that ends in one.
    n : int, default=10
        Number of pairs. There are fewer if fewer pairs have a weight other than 0.
    X : {array-like, sparse matrix, sparse array} of shape (n_samples, n_columns), default=None
        Rows for whose predictions to measure the interactions; not for recommenders. Each weight
        is multiplied by the root mean square of ``x_i x_j`` over the rows. Its absolute value then
        is the root mean square of what the pair contributes. Pairs that do not occur together are
        left out. None compares the weights as they are, which favors rare features and those in
        small units.
    by : {"feature", "field"}, default="feature"
        Whether to find pairs of features or pairs of fields. The weight of two fields is the root
        mean square of the weights of all pairs of their features. With X, it is the root mean
        square of what these pairs contribute together, as in :meth:`Explanation.by_field`.
    feature_names : array-like of shape (n_features,), default=None
        Names of the columns that the estimator gets, as in :func:`explain`.
    feature_fields : array-like of shape (n_features,), default=None
        Fields of the columns that the estimator gets, as in :func:`explain`.
    output : {"default", "pandas", "polars"}, default="default"
        "default" returns two arrays. "pandas" and "polars" return a DataFrame of that package.

    Returns
    -------
    pairs : ndarray of shape (n_pairs, 2)
        Names of the features, or of the fields, strongest pair first.
    weights : ndarray of shape (n_pairs,) or (n_pairs, n_classes)
        Weights of the pairs. Pairs are in descending order of the absolute weight or, for several
        classes, of the Euclidean norm of their weights.
    frame : DataFrame of shape (n_pairs, n_columns)
        In place of the two arrays if `output` asks for it, with the columns "feature",
        "feature_2" and "weight", or "field", "field_2" and "weight". For several classes, there
        is a column for the weight of each, such as ``weight_yes`` for the class "yes".

    Raises
    ------
    TypeError
        If `estimator` does not end in a factorization machine of skfm.
    ValueError
        If the model has no interactions of pairs, or if fields are asked for and not known.

    See Also
    --------
    explain : Contributions of features and interactions to predictions.
    similar_features : Features with similar vectors.
    InteractionDisplay : Heat map of interactions.

    Notes
    -----
    Pairs are found without a table of all pairs. Without X, vectors are compared in the order of
    their lengths until the product of two lengths is smaller than the weights found. If vectors
    differ little in length, time grows with the square of the number of features. With X, it grows
    with the sum of the squared numbers of nonzero entries per row; a sample of the rows suffices.
    For the Bayesian estimators, it also grows with the number of posterior samples.

    Examples
    --------
    >>> import numpy as np
    >>> from skfm import FMRegressor
    >>> from skfm.inspection import top_interactions
    >>> X = np.random.default_rng(0).normal(size=(200, 4))
    >>> y = 3 * X[:, 0] * X[:, 2] - X[:, 1] * X[:, 3]
    >>> model = FMRegressor(2, solver="als", alpha=0.01, random_state=0).fit(X, y)
    >>> pairs, weights = top_interactions(model, 2, feature_names=["a", "b", "c", "d"])
    >>> pairs.tolist()
    [['a', 'c'], ['b', 'd']]
    >>> weights.round()
    array([ 3., -1.])
    """
    check_parameter(n, "n", POSITIVE_INTEGER)
    validation.check_option(by, "by", ("feature", "field"))
    check_output(output)
    factors = factors_of(estimator, feature_names, feature_fields)
    factors.require_pairs()
    rows = None if X is None else rows_for(estimator, X)
    find = _strongest_features if by == "feature" else _strongest_fields
    names, weights = find(factors, int(n), rows)
    if weights.shape[1] == 1:
        weights = weights[:, 0]
    if output == "default":
        return names, weights
    columns = {by: names[:, 0], f"{by}_2": names[:, 1]}
    if weights.ndim == 1:
        columns["weight"] = weights
    else:
        for label, weight in zip(factors.classes, weights.T, strict=True):
            columns[f"weight_{label}"] = weight
    return import_module(output).DataFrame(columns)


def _strongest_features(factors, n, rows):
    """Pairs of features (n_pairs, 2), and their weights (n_pairs, n_outputs)."""
    products = factors.products
    if rows is None:
        pairs = strongest_pairs(products, n)
        return factors.names[pairs], products.weights(pairs).T
    pairs, sizes = strongest_pairs_in(rows, products, n)
    return factors.names[pairs], products.weights(pairs).T * sizes[:, None]


def _strongest_fields(factors, n, rows):
    """Pairs of fields (n_pairs, 2), and their strengths (n_pairs, 1)."""
    if factors.fields is None:
        raise ValueError(
            "by='field' needs the fields of the features, which are not known; pass them in "
            "feature_fields."
        )
    fields, places = distinct(factors.fields, "feature_fields")
    if rows is None:
        strengths = strengths_of_fields(factors.products, places, fields.size)
    else:
        strengths = strengths_of_fields_in(rows, factors.products, places, fields.size)
    first, second = np.triu_indices(fields.size)
    strength = strengths[first, second]
    order = np.argsort(-strength, kind="stable")[:n]
    order = order[strength[order] > 0]
    return fields[np.column_stack([first[order], second[order]])], strength[order, None]


def similar_features(
    estimator: Estimator,
    feature: Any,
    n: Int = 10,
    *,
    same_field: bool = True,
    feature_names: ColumnLike | None = None,
    feature_fields: ColumnLike | None = None,
    output: Output = "default",
) -> Any:
    """Find the features whose vectors are most similar to that of a feature.

    Features with similar vectors interact alike with all others: users of similar taste, say, or
    words of similar meaning.

    Parameters
    ----------
    estimator : estimator
        A fitted factorization machine, or a pipeline or search that ends in one, as for
        :func:`top_interactions`.
    feature : str or int
        Name or position of the feature.
    n : int, default=10
        Number of similar features. There are fewer if fewer have a vector other than 0.
    same_field : bool, default=True
        Whether to look among the features of the same field only, if the fields are known. Those
        of different fields cannot be compared if ``field_interactions="aware"``.
    feature_names : array-like of shape (n_features,), default=None
        Names of the columns that the estimator gets, as in :func:`explain`.
    feature_fields : array-like of shape (n_features,), default=None
        Fields of the columns that the estimator gets, as in :func:`explain`.
    output : {"default", "pandas", "polars"}, default="default"
        "default" returns two arrays. "pandas" and "polars" return a DataFrame of that package.

    Returns
    -------
    similar : ndarray of shape (n_similar,)
        Names of the features, most similar first. A feature is never similar to itself.
    similarities : ndarray of shape (n_similar,)
        Cosine similarities of their vectors. For several classes, the vectors of all classes are
        compared together. For the Bayesian estimators, products and squared lengths are posterior
        means. With parameters of pairs of fields (`field_interactions`), a feature has a vector
        for each field with which it interacts, multiplied by the weight or the matrix of both
        fields, and all of these are compared together.
    frame : DataFrame of shape (n_similar, 2)
        In place of the two arrays if `output` asks for it, with the columns "feature" and
        "similarity".

    Raises
    ------
    TypeError
        If `estimator` does not end in a factorization machine of skfm.
    ValueError
        If the model has no such feature, if its vector is 0 because it did not occur in training,
        or if `same_field` is False for a field-aware model.

    See Also
    --------
    FMRecommender.similar_items : Items with similar vectors, features included.
    FactorMapDisplay : Map of features in two dimensions.

    Examples
    --------
    >>> import numpy as np
    >>> from skfm import FMRegressor
    >>> from skfm.inspection import similar_features
    >>> X = np.random.default_rng(0).normal(size=(200, 4))
    >>> y = (X[:, 0] + X[:, 1] - X[:, 2]) * X[:, 3]
    >>> fields = {"feature_fields": ["a", "a", "a", "b"], "interactions": [("a", "b")]}
    >>> model = FMRegressor(1, solver="als", alpha=0.01, random_state=0, **fields).fit(X, y)
    >>> similar, similarities = similar_features(model, "x0")
    >>> similar.tolist()
    ['x1', 'x2']
    >>> similarities.round(1)
    array([ 1., -1.])
    """
    check_parameter(n, "n", POSITIVE_INTEGER)
    validation.check_flag(same_field, "same_field")
    check_output(output)
    factors = factors_of(estimator, feature_names, feature_fields)
    (place,) = factors.positions([feature], "feature")
    products = factors.products
    among = np.ones(factors.n_features, bool)
    if same_field and factors.fields is not None:
        among &= factors.fields == factors.fields[place]
    if not products.are_comparable:
        if not same_field:
            raise ValueError(
                "same_field=False compares features of different fields, and a field-aware model "
                "multiplies their vectors with different ones; leave same_field=True."
            )
        among &= products.group == products.group[place]
    among[place] = False
    among = np.flatnonzero(among)
    length, lengths, inner = _compare(products, place, among)
    if not length:
        raise ValueError(
            f"The feature {feature!r} has a vector of zeros: it did not occur in training, or its "
            "interactions were shrunk to 0. Nothing can be said of its similarity."
        )
    among, lengths, inner = (part[lengths > 0] for part in (among, lengths, inner))
    cosines = np.clip(inner / (lengths * length), -1, 1)
    order = np.argsort(-cosines, kind="stable")[: int(n)]
    names, cosines = factors.names[among[order]], cosines[order]
    if output == "default":
        return names, cosines
    return import_module(output).DataFrame({"feature": names, "similarity": cosines})


def _compare(products, place, among):
    """The length of the vector of a feature, those of others, and their products with it."""
    square, squares, inner = 0.0, np.zeros(among.size), np.zeros(among.size)
    both = products.all_vectors(np.array([place])), products.all_vectors(among)
    for one, others in zip(*both, strict=True):
        square += np.square(one, dtype=np.float64).sum()
        squares += np.einsum("opf,opf->p", others, others, dtype=np.float64)
        inner += np.einsum("of,opf->p", one[:, 0], others, dtype=np.float64)
    return np.sqrt(square), np.sqrt(squares), inner
