"""The last step of pipelines and searches."""


def last_step(estimator, X):
    """The estimator that recommends, out of searches and pipelines, and the X that it gets."""
    from sklearn.pipeline import Pipeline  # here: slow to import

    while not hasattr(estimator, "recommend"):
        if isinstance(estimator, Pipeline):
            if len(estimator) > 1:
                X = estimator[:-1].transform(X)
            estimator = estimator[-1]
        elif hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        else:
            raise TypeError(
                f"{estimator!r} has no method recommend: pass a recommender, or a pipeline or "
                "fitted search whose last step is one."
            )
    return estimator, X
