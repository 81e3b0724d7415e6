"""Recommenders at the end of pipelines, and within searches."""

from skfm._recommenders.output import index_of
from skfm._utils.pipelines import last_step


def recommend(estimator, X, n_items=10, *, output="default", user_ids=None, **options):
    """Recommend items with a pipeline or a search whose final estimator is a recommender.

    A :class:`~sklearn.pipeline.Pipeline` delegates `predict` and `transform` to its last step, but
    not `recommend`. This function transforms X with the preceding steps and calls `recommend` of
    the recommender. For a search such as :class:`~sklearn.model_selection.GridSearchCV`, it uses
    the best estimator.

    Parameters
    ----------
    estimator : estimator
        Fitted pipeline whose last step is a :class:`~skfm.MFRecommender`, a
        :class:`~skfm.FMRecommender` or another estimator with a method `recommend`; a fitted
        search over such a pipeline; or the recommender itself.
    X : array-like of shape (n_rows, n_features)
        Users or contexts, in the format that the pipeline was fitted on, such as a log.
    n_items : int, default=10
        Number of items to recommend for each row.
    output : {"default", "pandas", "polars"}, default="default"
        What to return: two arrays ("default"), or a DataFrame with one row per recommendation.
    user_ids : array-like of shape (n_rows,), default=None
        Names of the rows of X in the DataFrame, such as a column of X. None uses the index of X
        before the pipeline if X is a pandas DataFrame, and otherwise the row numbers.
    **options : dict
        Further arguments of the recommender's `recommend`, such as `candidates`.

    Returns
    -------
    items : ndarray of shape (n_rows, n_items)
        Recommended items, best first, as returned by the recommender.
    scores : ndarray of shape (n_rows, n_items)
        Scores of these items.
    frame : DataFrame of shape (n_recommendations, 4)
        Instead of the two arrays, depending on `output`; with the columns "user", "item", "score"
        and "rank".

    Raises
    ------
    TypeError
        If the final estimator is not a recommender.

    See Also
    --------
    MFRecommender.recommend : Recommend items from the entries of users.
    FMRecommender.recommend : Recommend items from the features of contexts.

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
    >>> best[["user", "item", "rank"]]  # ann has chosen both
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
