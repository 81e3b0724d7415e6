"""Test RMSE of FMRegressor on the five classic folds of MovieLens-100k, from (user, item).

    python benchmarks/movielens.py

Two lines: the defaults, and 32 components with penalty and number of epochs chosen by
GridSearchCV on each fold's own training rows, then fitted once on all of them. The inner splits
hold out blocks of an eighth in the original order, as the folds themselves do: their users and
films are not spread evenly over the file. No test row is seen before the last step.
Predictions are clipped to 1..5. The defaults were chosen on u3, u4 and u5; u1 and u2 are clean
for both lines.
"""

import time
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import make_scorer, root_mean_squared_error
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skfm import FMRegressor
from skfm.datasets import fetch_movielens_100k

# Found on inner splits of u1's training rows; the grid is searched for each fold.
FIXED = {"n_components": 32, "alpha_linear": 3.0, "learning_rate": 0.1, "init_scale": 0.002}
GRID = {
    "fmregressor__alpha": [0.6, 0.7, 0.8, 0.9, 1.0],
    "fmregressor__max_iter": [8, 10, 11, 12, 13, 14, 16, 20],
}


def clipped_rmse(y, predicted):
    return root_mean_squared_error(y, np.clip(predicted, 1, 5))


def pipeline(**parameters):
    return make_pipeline(
        OneHotEncoder(handle_unknown="ignore"), FMRegressor(random_state=0, **parameters)
    )


def tuned():
    """The number of epochs is searched, so nothing else may stop training."""
    return GridSearchCV(
        pipeline(tol=0, **FIXED),
        GRID,
        scoring=make_scorer(clipped_rmse, greater_is_better=False),
        cv=KFold(8),
    )


def main():
    warnings.simplefilter("ignore", ConvergenceWarning)
    ids = ["user_id", "item_id"]
    frame = fetch_movielens_100k().frame
    pipeline(max_iter=1).fit(frame[ids][:100], frame["rating"][:100])  # compile
    for name, make in (("defaults", pipeline), ("32 components, tuned", tuned)):
        errors = []
        for fold in range(1, 6):
            is_test = frame.index.to_series().between(20_000 * (fold - 1), 20_000 * fold - 1)
            train, test = frame[~is_test], frame[is_test]
            start = time.perf_counter()
            model = make().fit(train[ids], train["rating"])
            seconds = time.perf_counter() - start
            errors.append(clipped_rmse(test["rating"], model.predict(test[ids])))
            chosen = getattr(model, "best_params_", "")
            print(f"{name}, u{fold}: {errors[-1]:.4f} in {seconds:.1f} s {chosen}", flush=True)
        print(f"{name}: mean {np.mean(errors):.4f}, u1 {errors[0]:.4f}\n", flush=True)


if __name__ == "__main__":
    main()
