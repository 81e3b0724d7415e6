"""The Bayesian estimators with nothing tuned: groups, noise by level, short chains and long ones.

    python benchmarks/bayes.py [--part ratings sets] [--data-home FOLDER] [--iterations 200 1000]
        [--features pipeline ids attributes] [--noise levels equal]

ratings: MovieLens-100k, the five classic folds, test RMSE of predictions clipped to 1..5, and the
share of the test ratings that lie within 1.645 predicted standard deviations of the prediction,
which should be .9 ("inside"). "pipeline" is an encoder and an estimator,
``make_pipeline(OneHotEncoder(handle_unknown="ignore"), BayesianFMRegressor())``, on (user, film):
it derives the groups, and leaves out ids that are new. "ids" and "attributes" are those of
fm_exact.py, where every user and film has a column and groups are given.

sets: the clicks and ratings of real_data.py, those that are in the folder: log loss or RMSE on
their test rows, with one group for all features, derived groups, and the fields as groups. "equal
noise" is ``noise_by_level=False``.
"""

import argparse
import sys
import warnings
from pathlib import Path

import numpy as np
from fm_exact import Ratings, clipped_rmse
from real_data import CLASSES, RATINGS, load_all, load_fold
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss

from skfm import BayesianFMClassifier, BayesianFMRegressor

warnings.simplefilter("ignore", ConvergenceWarning)

FEATURES = ("pipeline", "ids", "attributes")
NOISES = ("levels", "equal")


def folds(name):
    """(X, y, X_test, y_test, groups) of each of the five folds."""
    if name == "pipeline":
        tables = (load_fold(number) for number in range(1, 6))
        return ((t.X, t.y, t.X_test, t.y_test, None) for t in tables)
    ratings = Ratings(name == "attributes")
    return (ratings.fold(number) for number in range(1, 6))


def compare_ratings(features, noises, iterations):
    for name in features:
        for noise in noises:
            options = {"noise_by_level": noise == "levels"}
            errors, inside = [], []
            for X, y, X_test, y_test, groups in folds(name):
                model = BayesianFMRegressor(feature_groups=groups, random_state=0, **options)
                model.set_params(warm_start=True)
                row, done = [], 0
                for n in iterations:  # goes on with the same chain
                    model.set_params(max_iter=n - done).fit(X, y)
                    done = n
                    mean, std = model.predict(X_test, return_std=True)
                    row.append(clipped_rmse(y_test, mean))
                errors.append(row)
                print(*(f"{error:.4f}" for error in row), file=sys.stderr, flush=True)
                inside.append(np.mean(np.abs(y_test - mean) < 1.645 * std))
            for n, row in zip(iterations, np.transpose(errors), strict=True):
                line = " ".join(f"{error:.4f}" for error in row)
                print(
                    f"{name:12} noise: {noise:8} {n:5}  mean {np.mean(row):.4f}  {line}",
                    flush=True,
                )
            print(f"{'':35}inside {np.mean(inside):.3f}", flush=True)


def compare_sets(home):
    for table in load_all((*CLASSES, *RATINGS), home):
        fields = np.asarray(table.fields).astype(str)
        cases = {"single": {"feature_groups": "single"}, "derived": {}}
        cases["fields"] = {"feature_groups": fields}
        kind = BayesianFMClassifier
        if np.unique(table.y).size > 2:
            kind = BayesianFMRegressor
            cases["derived, equal noise"] = {"noise_by_level": False}
        losses = {}
        for name, options in cases.items():
            model = kind(random_state=0, **options).fit(table.X, table.y)
            if kind is BayesianFMClassifier:
                losses[name] = log_loss(table.y_test, model.predict_proba(table.X_test))
            else:
                predicted = np.clip(model.predict(table.X_test), table.y.min(), table.y.max())
                losses[name] = np.sqrt(np.mean((table.y_test - predicted) ** 2))
        line = "  ".join(f"{name} {loss:.4f}" for name, loss in losses.items())
        print(f"{table.name:10} {line}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--part", nargs="+", default=["ratings", "sets"])
    parser.add_argument("--data-home", type=Path, default=Path("data"))
    parser.add_argument("--iterations", nargs="+", type=int, default=[200, 1000])
    parser.add_argument("--features", nargs="+", default=FEATURES, choices=FEATURES)
    parser.add_argument("--noise", nargs="+", default=NOISES, choices=NOISES)
    arguments = parser.parse_args()
    if "ratings" in arguments.part:
        compare_ratings(arguments.features, arguments.noise, arguments.iterations)
    if "sets" in arguments.part:
        compare_sets(arguments.data_home)


if __name__ == "__main__":
    main()
