"""The labels of classes: those of a fit, which a warm start must not change."""

import numpy as np


def check_classes(estimator, classes):
    """Refuse sorted labels of a fit that are fewer than two, or not those of the fit before."""
    if classes.size < 2:
        raise ValueError(
            f"{type(estimator).__name__} requires samples of at least two classes in y (with "
            f"positive weight); got one class: {classes.tolist()[0]!r}."
        )
    before = getattr(estimator, "classes_", None)
    if estimator.warm_start and before is not None and not np.array_equal(before, classes):
        raise ValueError(
            f"warm_start requires the same classes as before: got {classes.tolist()}, but the "
            f"fitted model has {before.tolist()}. Set warm_start=False to start again."
        )
