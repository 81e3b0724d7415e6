"""The Bayesian estimators with nothing tuned: groups, noise by level, short chains and long ones.

    python benchmarks/bayes.py [--part ratings sets kinds starts] [--data-home FOLDER]
        [--iterations 200 1000] [--features pipeline ids attributes] [--noise levels equal]
        [--seeds 3]

ratings: MovieLens-100k, the five classic folds, test RMSE of predictions clipped to 1..5, and the
share of the test ratings that lie within 1.645 predicted standard deviations of the prediction,
which should be .9 ("inside"). "pipeline" is an encoder and an estimator,
``make_pipeline(OneHotEncoder(handle_unknown="ignore"), BayesianFMRegressor())``, on (user, film):
it derives the groups, and leaves out ids that are new. "ids" and "attributes" are those of
fm_exact.py, where every user and film has a column and groups are given.

sets: the clicks and ratings of real_data.py, those that are in the folder: log loss or RMSE on
their test rows, means over the seeds, with derived groups, which is the default, one group for all
features, and the fields as groups. "equal noise" is ``noise_by_level=False``. Of the clicks,
beside it myFM with 200 iterations, of which the first 20 are not used, as is our default, with
ranks 10 and 16, one group and the fields as groups.

kinds: the log loss on the same clicks, by `field_interactions` and `n_components`, with the fields
as groups and the first of the iterations.

starts: the same sets with the defaults, where the precisions at the start are ten times larger and
smaller, and `init_scale` ten times smaller and larger.
"""

import argparse
import os
import sys
import warnings
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from unittest import mock

import numpy as np
from fm_exact import Ratings, clipped_rmse
from real_data import CLASSES, RATINGS, load_all, load_fold
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss

from skfm import BayesianFMClassifier, BayesianFMRegressor
from skfm._fm import sampling

os.environ["TQDM_DISABLE"] = "1"  # myFM's progress
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


def loss_of(table, seed, **options):
    """Log loss or RMSE on the test rows."""
    is_binary = np.unique(table.y).size == 2
    kind = BayesianFMClassifier if is_binary else BayesianFMRegressor
    model = kind(random_state=seed, **options).fit(table.X, table.y)
    if is_binary:
        return log_loss(table.y_test, model.predict_proba(table.X_test))
    predicted = np.clip(model.predict(table.X_test), table.y.min(), table.y.max())
    return np.sqrt(np.mean((table.y_test - predicted) ** 2))


def loss_of_my_fm(table, seed, rank, grouping):
    from myfm import MyFMGibbsClassifier

    model = MyFMGibbsClassifier(rank, random_seed=seed)
    X, X_test = table.X.astype(np.float64), table.X_test.astype(np.float64)
    model.fit(X, table.y, n_iter=200, n_kept_samples=180, grouping=grouping)
    return log_loss(table.y_test, model.predict_proba(X_test))


def compare_sets(home, seeds):
    for table in load_all((*CLASSES, *RATINGS), home):
        labels, numbers = np.unique(np.asarray(table.fields).astype(str), return_inverse=True)
        cases = {"derived": {}, "single": {"feature_groups": "single"}}
        cases["fields"] = {"feature_groups": labels[numbers]}
        is_binary = np.unique(table.y).size == 2
        if not is_binary:
            cases["equal noise"] = {"noise_by_level": False}
        runs = {name: partial(loss_of, table, **options) for name, options in cases.items()}
        if is_binary and find_spec("myfm"):
            for rank in (10, 16):
                for name, grouping in (("single", None), ("fields", numbers.tolist())):
                    settings = {"rank": rank, "grouping": grouping}
                    runs[f"myFM {rank} {name}"] = partial(loss_of_my_fm, table, **settings)
        for name, run in runs.items():
            print_losses(table.name, name, [run(seed=seed) for seed in range(seeds)])


KINDS = [("plain", 8), ("plain", 16), ("weighted", 4), ("weighted", 8), ("weighted", 16)]
KINDS += [("aware", 2), ("aware", 4)]


def compare_kinds(home, seeds, max_iter):
    for table in load_all(CLASSES, home):
        labels, numbers = np.unique(np.asarray(table.fields).astype(str), return_inverse=True)
        fields = {"feature_groups": labels[numbers], "feature_fields": labels[numbers]}
        for kind, n in KINDS:
            options = {"field_interactions": kind, "n_components": n, "max_iter": max_iter}
            losses = [loss_of(table, seed, **options, **fields) for seed in range(seeds)]
            print_losses(table.name, f"{kind} {n}", losses)


def print_losses(table, name, losses):
    line = " ".join(f"{loss:.4f}" for loss in losses)
    print(f"{table:10} {name:20} mean {np.mean(losses):.4f}  {line}", flush=True)


def compare_starts(home, seeds):
    """Holds the chain's first iterations at other precisions."""
    first_draw = sampling.first_draw
    for table in load_all((*CLASSES, *RATINGS), home):
        for factor, init_scale in ((1, 0.1), (10, 0.01), (0.1, 1.0)):

            def start(*arguments, factor=factor):
                draw = first_draw(*arguments)
                draw.group_precision *= factor
                draw.common_precision *= factor
                return draw

            with mock.patch.object(sampling, "first_draw", start):
                losses = [loss_of(table, seed, init_scale=init_scale) for seed in range(seeds)]
            print_losses(table.name, f"precisions x {factor:g}", losses)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--part", nargs="+", default=["ratings", "sets"])
    parser.add_argument("--data-home", type=Path, default=Path("data"))
    parser.add_argument("--iterations", nargs="+", type=int, default=[200, 1000])
    parser.add_argument("--features", nargs="+", default=FEATURES, choices=FEATURES)
    parser.add_argument("--noise", nargs="+", default=NOISES, choices=NOISES)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    if "ratings" in arguments.part:
        compare_ratings(arguments.features, arguments.noise, arguments.iterations)
    if "sets" in arguments.part:
        compare_sets(arguments.data_home, arguments.seeds)
    if "kinds" in arguments.part:
        compare_kinds(arguments.data_home, arguments.seeds, arguments.iterations[0])
    if "starts" in arguments.part:
        compare_starts(arguments.data_home, arguments.seeds)


if __name__ == "__main__":
    main()
