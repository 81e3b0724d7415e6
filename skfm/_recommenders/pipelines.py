"""Recommenders at the end of pipelines, and within searches."""

from typing import Any, Literal, overload

from skfm._recommenders.output import index_of
from skfm._utils.pipelines import last_step
from skfm._utils.typing import ColumnLike, Estimator, FloatArray, IdArray, Int


@overload
def recommend(
    estimator: Estimator,
    X: Any,
    n_items: Int = ...,
    *,
    output: Literal["default"] = ...,
    user_ids: ColumnLike | None = ...,
    **options: Any,
) -> tuple[IdArray, FloatArray]: ...
@overload
def recommend(
    estimator: Estimator,
    X: Any,
    n_items: Int = ...,
    *,
    output: Literal["pandas", "polars"],
    user_ids: ColumnLike | None = ...,
    **options: Any,
) -> Any: ...
def recommend(
    estimator: Estimator,
    X: Any,
    n_items: Int = 10,
    *,
    output: Literal["default", "pandas", "polars"] = "default",
    user_ids: ColumnLike | None = None,
    **options: Any,
) -> Any:
    """Recommend with a pipeline, or a search, that ends in a recommender.

    A :class:`~sklearn.pipeline.Pipeline` has `predict` and `transform`, but no `recommend`. This
    function transforms X by the steps before the recommender, and then calls `recommend` of the
    recommender. For a search such as :class:`~sklearn.model_selection.GridSearchCV`, it uses the
    best estimator.

    Parameters
    ----------
    estimator : estimator
        A fitted pipeline whose last step is a :class:`~skfm.MFRecommender`, a
        :class:`~skfm.FMRecommender` or another estimator with a method `recommend`; a fitted
        search over such a pipeline; or the recommender itself.
    X : array-like of shape (n_rows, n_features)
        Users or contexts, in the format on which the pipeline was fitted, such as a log.
    n_items : int, default=10
        Number of items to recommend for each row.
    output : {"default", "pandas", "polars"}, default="default"
        Whether to return two arrays, or a DataFrame with one row per recommendation.
    user_ids : array-like of shape (n_rows,), default=None
        Names of the rows of X, such as a column of X, for the DataFrame. None uses the index of X
        if X is a pandas DataFrame, and otherwise the row numbers.
    **options : dict
        Other arguments of `recommend` of the recommender, such as `candidates`.

    Returns
    -------
    items : ndarray of shape (n_rows, n_items)
        Items, in the order of decreasing scores, as returned by the recommender.
    scores : ndarray of shape (n_rows, n_items)
        Scores of these items.
    frame : DataFrame of shape (n_recommendations, 4)
        Returned instead of the two arrays if `output` is "pandas" or "polars". The columns are
        "user", "item", "score" and "rank".

    Raises
    ------
    TypeError
        If `estimator` does not end in a recommender.

    See Also
    --------
    MFRecommender.recommend : Recommends from a user-item matrix.
    FMRecommender.recommend : Recommends from features of contexts.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skfm import FMRecommender, recommend
    >>> log = pd.DataFrame({"user": ["ann", "ann", "bob"], "item": ["tea", "milk", "tea"]})
    >>> model = make_pipeline(OneHotEncoder(), FMRecommender(2, random_state=0))
    >>> model = model.fit(log[["user"]], log["item"])
    >>> users = log[["user"]].drop_duplicates()
    >>> best = recommend(model, users, n_items=1, output="pandas", user_ids=users["user"])
    >>> best[["user", "item", "rank"]]  # ann has had both
      user  item  rank
    0  bob  milk     1
    """
    recommender, rows = last_step(estimator, X)
    if output != "default":
        options["output"] = output
        user_ids = index_of(X) if user_ids is None else user_ids
    if user_ids is not None:
        options["user_ids"] = user_ids
    return recommender.recommend(rows, n_items, **options)
