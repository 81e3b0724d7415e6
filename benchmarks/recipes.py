"""The classic factorization models from their features: accuracy and time on MovieLens-100k.

    python benchmarks/recipes.py [--models mf svd++ ...] [--solvers adagrad als gibbs surprise]

Test RMSE on the five classic folds, predictions clipped to 1..5, and seconds a fold: from a frame
of events (user, film, time, attributes) to a fitted model, encoding included, one thread. Models
are recipes of skfm.recipes; "everything" is the blocks of "timesvd++ flipped" and "attributes"
together, all pairs. Age (by ten years), gender, occupation, genres and year (by five) are
attributes.

Surprise gets the same ratings: SVD with its defaults, SVD with 50 factors, 60 epochs, rate 0.01
and penalty 0.1, which are known to be good on these folds, and SVD++ with its defaults. Other
penalties and rates (PLUS_PLUS) replace these where they are better on the last two of eight blocks
of the training rows of u1, each held out in turn.

Nothing of skfm is tuned: 8 components, penalties are found in the fit, Gibbs sampling has 200
iterations.
"""

import argparse
import sys
import time
import warnings
from importlib.util import find_spec
from itertools import islice, product

import numpy as np
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline

from skfm import BayesianFMRegressor, FMRegressor
from skfm.datasets import fetch_movielens_100k
from skfm.preprocessing import EventEncoder
from skfm.recipes import make_recipe

warnings.simplefilter("ignore")

MODELS = ("mf", "svd++", "knn++", "timesvd", "timesvd++ flipped", "attributes", "everything")
EVERYTHING = ("user", "item", "time", "user_time", "history", "raters", "attributes")
COLUMNS = {
    "user": "user_id",
    "item": "item_id",
    "time": "timestamp",
    "attributes": ("gender", "occupation", "age", "year", "genres"),
}
SOLVERS = {
    "adagrad": FMRegressor(8, random_state=0),
    "als": FMRegressor(8, solver="als", random_state=0),
    "gibbs": BayesianFMRegressor(8, max_iter=200, random_state=0),
}
TUNED_SVD = {"n_factors": 50, "n_epochs": 60, "lr_all": 0.01, "reg_all": 0.1}
PLUS_PLUS = {"reg_all": (0.02, 0.05, 0.1), "lr_all": (0.007, 0.01)}


def load():
    """Events as users have them, in the order of the folds, and their ratings."""
    data = fetch_movielens_100k()
    log = data.frame.merge(data.users, on="user_id", how="left")
    log = log.merge(data.items, on="item_id", how="left")
    log["age"] = (log["age"] // 10).astype(str)
    log["year"] = (log["year"] // 5).astype(str)
    columns = ["user_id", "item_id", "timestamp", *COLUMNS["attributes"]]
    return log[columns], log["rating"].to_numpy(float)


def fold(number):
    """Which rows are for training and which for testing."""
    rows = np.arange(100_000)
    is_test = rows // 20_000 == number - 1
    return rows[~is_test], rows[is_test]


def inner_splits():
    rows, _ = fold(1)
    for train, test in islice(KFold(8).split(rows), 6, 8):
        yield rows[train], rows[test]


def make_model(name, machine):
    if name == "everything":
        return make_pipeline(EventEncoder(EVERYTHING, **COLUMNS), machine)
    return make_recipe(name, machine, **COLUMNS)


def fit_skfm(model, log, y, train, test):
    start = time.perf_counter()
    model.fit(log.iloc[train], y[train])
    seconds = time.perf_counter() - start
    return model.predict(log.iloc[test]), seconds


def fit_surprise(algorithm, log, y, train, test):
    from surprise import Dataset, Reader

    start = time.perf_counter()
    frame = log.iloc[train][["user_id", "item_id"]].assign(rating=y[train])
    data = Dataset.load_from_df(frame, Reader(rating_scale=(1, 5)))
    algorithm.fit(data.build_full_trainset())
    seconds = time.perf_counter() - start
    pairs = log.iloc[test][["user_id", "item_id"]].itertuples(index=False)
    return np.array([algorithm.predict(*pair).est for pair in pairs]), seconds


def evaluate(fit, model, log, y, splits):
    """RMSE and seconds on each split."""
    errors, seconds = [], []
    for train, test in splits:
        predicted, taken = fit(model, log, y, train, test)
        errors.append(np.sqrt(np.mean((np.clip(predicted, 1, 5) - y[test]) ** 2)))
        seconds.append(taken)
    return errors, seconds


def best(candidates, fit, log, y):
    """The candidate (a label and a model) with the least mean error on the inner splits."""
    errors = [np.mean(evaluate(fit, model, log, y, inner_splits())[0]) for _, model in candidates]
    return candidates[int(np.argmin(errors))]


def report(name, label, errors, seconds):
    folds = " ".join(f"{error:.4f}" for error in errors)
    taken = f"{np.median(seconds):7.2f} s a fold"
    print(f"{name:<20}{label:<22}{np.mean(errors):.4f}   {folds} {taken}", flush=True)


def run_skfm(name, solver, log, y):
    model = make_model(name, SOLVERS[solver])
    folds = [fold(number) for number in range(1, 6)]
    fit_skfm(model, log, y, folds[0][0][::50], folds[0][1][:10])  # compile
    report(name, solver, *evaluate(fit_skfm, model, log, y, folds))


def run_surprise(log, y):
    from surprise import SVD, SVDpp

    folds = [fold(number) for number in range(1, 6)]
    grid = [dict(zip(PLUS_PLUS, values, strict=True)) for values in product(*PLUS_PLUS.values())]
    candidates = [(", ".join(map(str, s.values())), SVDpp(random_state=0, **s)) for s in grid]
    tools = [
        ("SVD", "defaults", SVD(random_state=0)),
        ("SVD", "tuned", SVD(random_state=0, **TUNED_SVD)),
        ("SVD++", "defaults", SVDpp(random_state=0)),
        ("SVD++", *best(candidates, fit_surprise, log, y)),
    ]
    for name, label, algorithm in tools:
        results = evaluate(fit_surprise, algorithm, log, y, folds)
        report(f"Surprise {name}", label, *results)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--solvers", nargs="+", default=[*SOLVERS, "surprise"])
    options = parser.parse_args()
    log, y = load()
    for name, solver in product(options.models, [s for s in options.solvers if s in SOLVERS]):
        run_skfm(name, solver, log, y)
    if "surprise" in options.solvers:
        if find_spec("surprise") is None:
            print("scikit-surprise is not installed", file=sys.stderr)
        else:
            run_surprise(log, y)


if __name__ == "__main__":
    main()
