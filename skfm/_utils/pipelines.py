"""The last step of pipelines and searches."""


def split_steps(estimator):
    """The pipelines of transformers before the last step, outermost first, and the last step.

    Of searches, the best estimator counts.
    """
    from sklearn.pipeline import Pipeline  # here: slow to import

    steps = []
    while True:
        if isinstance(estimator, Pipeline):
            if len(estimator) > 1:
                steps.append(estimator[:-1])
            estimator = estimator[-1]
        elif hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        else:
            return steps, estimator


def last_step(estimator, X):
    """Return the recommender at the end of searches and pipelines, and the X that it gets."""
    steps, recommender = split_steps(estimator)
    if not hasattr(recommender, "recommend"):
        raise TypeError(
            f"{recommender!r} has no method recommend: pass a recommender, or a pipeline or "
            "fitted search whose last step is one."
        )
    for step in steps:
        X = step.transform(X)
    return recommender, X
