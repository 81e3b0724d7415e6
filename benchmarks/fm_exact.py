"""Coordinate descent and Gibbs sampling: how good, and how long, beside AdaGrad and myFM.

    python benchmarks/fm_exact.py [--part accuracy time clicks overrelaxation] [--repeats 3]

accuracy: MovieLens-100k, the five classic folds, 8 components, predictions clipped to 1..5. Every
user and film has a column, also those that do not occur in a fold's training rows. For "adagrad"
and "als", alpha (PENALTIES) and alpha_linear (LINEAR_PENALTIES) are those with the least mean RMSE
on eight blocks of the training rows of u1, each held out in turn, and are used for all folds; with
attributes only alpha is chosen anew.
AdaGrad's learning rate and stopping are the defaults, "als" stops at tol=1e-5. Gibbs sampling has
nothing to tune: 200 iterations; users, films and each kind of attribute are groups, as in
myFM (group_shapes, else its defaults). "90 %": share of test ratings within 1.645 predicted
standard deviations of the prediction. "attributes": age by ten years, gender, occupation, genres
and film year by five, as examples/movielens.py encodes them (which leaves out films that are new).

time: what one more sweep or iteration takes, in milliseconds, median of the repeats, tools in
turn: fold u1 with (user, film), 8 and 32 components, and with attributes, 8; and a million rows of
ten one-hot fields, 100,000 features (fm_epoch.py), 16 components. skfm in float64 on the ratings,
float32 on the million rows; myFM has float64 only, and one thread.

clicks: log loss on 100,000 rows held out of those data, labels 0 and 1; "als" and "adagrad" with
the alpha of CLICK_PENALTIES that is best on a fifth of 200,000 training rows, Gibbs as it is.

overrelaxation: Gibbs sampling on (user, film) as in "accuracy", with other values of the constant
in skfm/_kernels/coordinate_descent.py, by which draws are mirrored; 0 is plain Gibbs sampling.
Not run unless asked for.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import warnings
from importlib.util import find_spec
from pathlib import Path

import fm_epoch
import numpy as np
from sklearn.metrics import log_loss
from sklearn.model_selection import KFold, ShuffleSplit, cross_val_score
from sklearn.preprocessing import OneHotEncoder

from skfm import BayesianFMClassifier, BayesianFMRegressor, FMClassifier, FMRegressor
from skfm.datasets import fetch_movielens_100k
from skfm.preprocessing import feature_groups

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
import movielens as example

os.environ["TQDM_DISABLE"] = "1"  # myFM's progress
warnings.simplefilter("ignore")

PENALTIES = (0.9, 1.0, 1.1, 1.2, 1.3, 1.5)
LINEAR_PENALTIES = (1.0, 2.0, 3.0, 4.0, 5.0, 7.0)
SOLVERS = {"adagrad": {}, "als": {"tol": 1e-5}}
CLICK_PENALTIES = (0.5, 1.0, 2.0, 4.0)
ITERATIONS = 200
IDS = ["user_id", "item_id"]


def clipped_rmse(y, predicted):
    return float(np.sqrt(np.mean((np.clip(predicted, 1, 5) - y) ** 2)))


def negative_rmse(model, X, y):
    return -clipped_rmse(y, model.predict(X))


class Ratings:
    """The folds, encoded; each fold's encoder sees its training rows only."""

    def __init__(self, with_attributes):
        data = fetch_movielens_100k()
        table = data.frame.merge(data.users, on="user_id", how="left")
        self.table = table.merge(data.items, on="item_id", how="left")
        self.ids = [data.users["user_id"], data.items["item_id"]]
        self.with_attributes = with_attributes

    def fold(self, number):
        """X, y of training and test rows, and the groups of features."""
        if self.with_attributes:
            encoder, columns = example.encode_all(*IDS), IDS + example.ATTRIBUTES
        else:
            encoder, columns = OneHotEncoder(categories=self.ids), IDS
        is_test = np.zeros(len(self.table), dtype=bool)
        is_test[20_000 * (number - 1) : 20_000 * number] = True
        train, test = self.table[~is_test], self.table[is_test]
        X = encoder.fit_transform(train[columns])
        ratings = train["rating"].to_numpy(), test["rating"].to_numpy()
        return X, ratings[0], encoder.transform(test[columns]), ratings[1], feature_groups(encoder)


def tune(solver, X, y, linear_penalties):
    """The penalties that are best on inner splits."""
    found = {}
    for alpha in PENALTIES:
        for alpha_linear in linear_penalties:
            settings = {"alpha": alpha, "alpha_linear": alpha_linear, **SOLVERS[solver]}
            model = FMRegressor(8, solver=solver, random_state=0, **settings)
            scores = cross_val_score(model, X, y, cv=KFold(8), scoring=negative_rmse)
            found[scores.mean()] = settings
    return found[max(found)]


def my_fm(X, y, X_new, groups, n_iter=ITERATIONS, rank=8):
    from myfm import MyFMRegressor

    _, sizes = np.unique(run_numbers(groups), return_counts=True)
    model = MyFMRegressor(rank, random_seed=0)
    model.fit(X, y, n_iter=n_iter, group_shapes=sizes.tolist())
    return model.predict(X_new)


def run_numbers(groups):
    """The number of the run of equal labels that each feature is in: groups are contiguous."""
    return np.append(0, np.cumsum(groups[1:] != groups[:-1]))


def print_fold_means(name, errors, seconds, inside=None):
    line = f"{name:<30}{np.mean(errors):.4f}  " + " ".join(f"{e:.4f}" for e in errors)
    line += f"  {np.mean(seconds):6.1f} s a fit"
    if inside:
        line += f"  90 %: {100 * np.mean(inside):.1f}"
    print(line, flush=True)


def accuracy():
    linear = dict.fromkeys(SOLVERS, LINEAR_PENALTIES)
    for with_attributes in (False, True):
        ratings = Ratings(with_attributes)
        print("\nuser, film" + (", attributes" if with_attributes else ""))
        for solver in SOLVERS:
            X, y, *_ = ratings.fold(1)
            settings = tune(solver, X, y, linear[solver])
            linear[solver] = (settings["alpha_linear"],)
            errors, seconds = [], []
            for number in range(1, 6):
                X, y, X_new, y_new, _ = ratings.fold(number)
                start = time.perf_counter()
                model = FMRegressor(8, solver=solver, random_state=0, **settings).fit(X, y)
                seconds.append(time.perf_counter() - start)
                errors.append(clipped_rmse(y_new, model.predict(X_new)))
            label = f"{solver} {settings['alpha']:g}, {settings['alpha_linear']:g}"
            print_fold_means(label, errors, seconds)
        for seed in (0, 1, 2):
            errors, seconds, inside = [], [], []
            for number in range(1, 6):
                X, y, X_new, y_new, groups = ratings.fold(number)
                start = time.perf_counter()
                model = BayesianFMRegressor(
                    8, max_iter=ITERATIONS, feature_groups=groups, random_state=seed
                ).fit(X, y)
                seconds.append(time.perf_counter() - start)
                mean, std = model.predict(X_new, return_std=True)
                errors.append(clipped_rmse(y_new, mean))
                inside.append(np.mean(np.abs(y_new - mean) < 1.645 * std))
            print_fold_means(f"Gibbs, seed {seed}", errors, seconds, inside)
        if find_spec("myfm"):
            errors, seconds = [], []
            for number in range(1, 6):
                X, y, X_new, y_new, groups = ratings.fold(number)
                start = time.perf_counter()
                predicted = my_fm(X, y, X_new, groups)
                seconds.append(time.perf_counter() - start)
                errors.append(clipped_rmse(y_new, predicted))
            print_fold_means("myFM", errors, seconds)


def make_runs(X, y, groups, rank):
    """For each tool a function of the number of iterations."""

    def als(n_jobs):
        def run(n):
            model = FMRegressor(rank, solver="als", max_iter=n, tol=0, n_jobs=n_jobs)
            model.set_params(random_state=0).fit(X, y)

        return run

    def gibbs(n_jobs):
        def run(n):
            model = BayesianFMRegressor(rank, max_iter=n, n_burn_in=n - 1, feature_groups=groups)
            model.set_params(random_state=0, n_jobs=n_jobs).fit(X, y)

        return run

    def peer(n):
        from myfm import MyFMRegressor

        _, sizes = np.unique(run_numbers(groups), return_counts=True)
        model = MyFMRegressor(rank, random_seed=0)
        model.fit(X, y, n_iter=n, n_kept_samples=1, group_shapes=sizes.tolist())

    runs = {
        "als, 1 thread": als(1),
        "als, 2 threads": als(2),
        "Gibbs, 1 thread": gibbs(1),
        "Gibbs, 2 threads": gibbs(2),
    }
    if find_spec("myfm"):
        X = X.astype(np.float64) if X.dtype != np.float64 else X
        runs["myFM"] = peer
    return runs


def time_runs(name, runs, few, many, repeats):
    """What one more iteration takes, tools in turn."""
    taken = {tool: [] for tool in runs}
    for run in runs.values():
        run(1)
    for _ in range(repeats):
        for tool, run in runs.items():
            seconds = []
            for n in (few, many[tool] if isinstance(many, dict) else many):
                start = time.perf_counter()
                run(n)
                seconds.append(time.perf_counter() - start)
            n_more = (many[tool] if isinstance(many, dict) else many) - few
            taken[tool].append(1000 * (seconds[1] - seconds[0]) / n_more)
    print(f"\n{name}: milliseconds an iteration")
    for tool, values in taken.items():
        line = f"{tool:<20}{np.median(values):9.1f}  ({min(values):.1f} to {max(values):.1f})"
        if "myFM" in taken:
            line += f"  {np.median(values) / np.median(taken['myFM']):.2f} of myFM's"
        print(line, flush=True)


def speed(repeats):
    for with_attributes, rank in ((False, 8), (False, 32), (True, 8)):
        X, y, _, _, groups = Ratings(with_attributes).fold(1)
        name = f"u1, {rank} components" + (", attributes" if with_attributes else "")
        time_runs(name, make_runs(X, y, groups, rank), 10, 60, repeats)
    X, y, _, _ = fm_epoch.make_data(1_000_000)
    groups = np.arange(X.shape[1]) // (X.shape[1] // 10)
    runs = make_runs(X, y.astype(np.float64), groups, fm_epoch.COMPONENTS)
    time_runs("1,000,000 rows, 16 components", runs, 1, 4, 1)


def clicks():
    X, y, X_new, y_new = fm_epoch.make_data(1_000_000)
    print("\n1,000,000 clicks, 16 components: log loss on 100,000 new rows")
    part = slice(0, 200_000)

    def report(name, model):
        start = time.perf_counter()
        model.fit(X, y)
        seconds = time.perf_counter() - start
        loss = log_loss(y_new, model.predict_proba(X_new))
        print(f"{name:<30}{loss:.4f}  {seconds:6.1f} s, {model.n_iter_} iterations", flush=True)

    for solver in ("adagrad", "als"):
        split = ShuffleSplit(1, test_size=0.2, random_state=0)
        found = {}
        for alpha in CLICK_PENALTIES:
            model = FMClassifier(16, solver=solver, alpha=alpha, random_state=0)
            options = {"cv": split, "scoring": "neg_log_loss"}
            found[cross_val_score(model, X[part], y[part], **options).mean()] = alpha
        alpha = found[max(found)]
        model = FMClassifier(16, solver=solver, alpha=alpha, n_jobs=2, random_state=0)
        report(f"{solver}, alpha {alpha:g}", model)
    groups = np.arange(X.shape[1]) // (X.shape[1] // 10)
    model = BayesianFMClassifier(16, max_iter=100, feature_groups=groups, n_jobs=2)
    report("Gibbs, 100 iterations", model.set_params(random_state=0))


def overrelax(value):
    """Mean RMSE of the folds for two seeds, in a process that compiles another constant."""
    from skfm._kernels import normal_equations

    normal_equations.OVERRELAXATION = value
    ratings = Ratings(False)
    for n_iter in (ITERATIONS, 2 * ITERATIONS):
        for seed in (0, 1):
            errors = []
            for number in range(1, 6):
                X, y, X_new, y_new, groups = ratings.fold(number)
                model = BayesianFMRegressor(
                    8, max_iter=n_iter, feature_groups=groups, random_state=seed
                ).fit(X, y)
                errors.append(clipped_rmse(y_new, model.predict(X_new)))
            mean = np.mean(errors)
            print(f"{value:g}, {n_iter} iterations, seed {seed}: {mean:.4f}", flush=True)


def overrelaxation():
    for value in (0.0, 0.3, 0.5, 0.7):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, "--overrelax", str(value)]
            subprocess.run(command, env={**os.environ, "NUMBA_CACHE_DIR": folder}, check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", nargs="+", default=["accuracy", "time", "clicks"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--overrelax", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.overrelax is not None:
        overrelax(options.overrelax)
        return
    if "accuracy" in options.part:
        accuracy()
    if "time" in options.part:
        speed(options.repeats)
    if "clicks" in options.part:
        clicks()
    if "overrelaxation" in options.part:
        overrelaxation()


if __name__ == "__main__":
    main()
