"""Factorization machines of several packages: how soon they are how good on held-out rows.

    python benchmarks/fm_peers.py [--data clicks ratings] [--rows 1000000] [--threads 1 2]
                                  [--tools "skfm adagrad" "modern-fm sgd"] [--epochs 15]
                                  [--repeats 3] [--output results.json]

Two data sets; 16 components, float32 CSR and one seed for all tools:

- clicks: those of fm_epoch.py, 10 one-hot fields, 100,000 features; log loss on 100,000 rows.
- ratings: MovieLens-100k, fold u1, one-hot user and film, training rows shuffled once; RMSE on
  the 20,000 test rows, predictions clipped to 1..5.

Tuning sees training rows only: for each tool its six settings (GRID) and the number of epochs
with the least loss on a tenth of them, on which it is not trained; on clicks, of the first
200,000. The grids lie where wider searches on the same split found good settings. Then the tool
is trained on all rows, and its loss on the held-out rows is taken after each epoch (after the
16th not after each) until it has not fallen five times in a row. Each run has a process of its
own and starts with a fit of tiny data; repeats of the tools alternate, medians are shown. The
machine should have nothing else to do; a line says so where a tool had to wait for a processor.

- "epoch": seconds that one more epoch adds. "set-up": seconds of a fit besides its epochs, such
  as checks, skfm's planning, Vowpal Wabbit's parsing. Not counted: evaluation, and the writing
  of Vowpal Wabbit's text file.
- "chosen": held-out loss after the number of epochs that tuning chose.
- "best", "at", "s to best": least held-out loss, after which epoch, and seconds from the CSR
  matrix on until then, set-up included. Each tool is flattered alike.
- "s to target": seconds until the held-out loss is at most the target, the least that stochastic
  gradients of another package than skfm come to.
- "rows/s": of predicting the held-out rows. "MB": peak memory beyond a process that has fitted
  tiny data; training and held-out rows included.

What is not alike: modern-fm trains in float64, one epoch a fit by its warm start, after a
partial_fit of one row (a first fit forgets its accumulators). Surprise cannot go on: it is
fitted anew for each number of epochs. myFM draws Gibbs samples, an "epoch" is one of all
parameters; predictions are means over all but the first five; it is not tuned, not stopped and
run once. Vowpal Wabbit reads files; on the ratings it has low-rank pairs (--lrq), on clicks it is
linear: 45 pairs of fields took it a minute an epoch. scikit-learn's is linear.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
import warnings
from importlib import import_module
from itertools import chain, product
from pathlib import Path

import fm_epoch
import numpy as np
from mf_peers import Watch, installed, is_child, run_child, seconds
from scipy import sparse
from scipy.special import ndtr
from sklearn.preprocessing import OneHotEncoder

os.environ["TQDM_DISABLE"] = "1"
warnings.simplefilter("ignore")

COMPONENTS = fm_epoch.COMPONENTS
LOSS = {"clicks": "log loss", "ratings": "RMSE"}
EPOCHS = {"clicks": 15, "ratings": 100}  # at most
SAMPLES = {"clicks": 30, "ratings": 200}  # of myFM
TUNING_ROWS = {"clicks": 200_000, "ratings": 80_000}
PATIENCE = 5


# --- data -----------------------------------------------------------------------------------


def load_ratings():
    from skfm.datasets import fetch_movielens_100k

    frame = fetch_movielens_100k().frame
    X = OneHotEncoder(dtype=np.float32).fit_transform(frame[["user_id", "item_id"]])
    y = frame["rating"].to_numpy().astype(np.float32)
    train = 20_000 + np.random.default_rng(0).permutation(80_000)
    return X[train], y[train], X[:20_000], y[:20_000]


def child_data(path, data, n_rows):
    X, y, X_new, y_new = fm_epoch.make_data(n_rows) if data == "clicks" else load_ratings()
    parts = {"train": (X, y), "tiny": (X[:3000], y[:3000]), "new": (X_new, y_new)}
    for name, (rows, target) in parts.items():
        sparse.save_npz(f"{path}/{name}.npz", rows, compressed=False)
        np.save(f"{path}/{name}-y.npy", target)


def load(path, name):
    return sparse.load_npz(f"{path}/{name}.npz"), np.load(f"{path}/{name}-y.npy")


def loss(data, y, predicted):
    if data == "clicks":
        value = -np.mean(np.log(np.where(y == 1, predicted, 1 - predicted).clip(1e-7)))
    else:
        value = np.sqrt(np.mean((np.clip(predicted, 1, 5) - y) ** 2))
    return float(value) if np.isfinite(value) else np.inf


# --- tools ----------------------------------------------------------------------------------


class Tool:
    """One tool with its settings, which are parameters of the tool itself.

    ``curve(X, y, X_new, stops, listen)`` trains and calls ``listen(n_epochs, seconds, predicted)``
    when as many epochs as each stop are done, with predictions for X_new; it returns whether
    that is enough. ``seconds`` are those of training so far. ``curve`` returns all of them.
    """

    package = ""

    def __init__(self, data, n_threads, **settings):
        self.is_classifier = data == "clicks"
        self.classes = {"classes": [0, 1]} if self.is_classifier else {}  # of partial_fit
        self.n_threads = n_threads
        self.settings = settings

    def curve(self, X, y, X_new, stops, listen):
        self.X_new, self.stops, self.listen = X_new, stops, listen
        self.watch = Watch()
        self.train(X, y)
        return self.watch.stop()

    def done(self, n_epochs):
        """To be called by ``train`` after each epoch; returns whether to stop."""
        if n_epochs not in self.stops:
            return False
        duration = self.watch.stop()
        enough = self.listen(n_epochs, duration, self.predict(self.X_new))
        self.watch.start()
        return enough

    def go_on(self, method, X, y, **more):
        """Train by a method that goes on for an epoch where it stopped."""
        for n_epochs in range(1, self.stops[-1] + 1):
            method(X, y, **more)
            if self.done(n_epochs):
                break

    def predict(self, X):
        return self.model.predict_proba(X)[:, 1] if self.is_classifier else self.model.predict(X)


class Skfm(Tool):
    package = "skfm"

    def train(self, X, y):
        from skfm import FMClassifier, FMRegressor

        self.model = (FMClassifier if self.is_classifier else FMRegressor)(
            COMPONENTS,
            max_iter=self.stops[-1],
            tol=0,
            early_stopping=False,
            callback=lambda model, epoch, loss: self.done(epoch),
            n_jobs=self.n_threads,
            random_state=0,
            **self.settings,
        )
        self.model.fit(X, y)


class ModernFM(Tool):
    package = "modern_fm"

    def train(self, X, y):
        from modern_fm import FMClassifier, FMRegressor

        os.environ["RAYON_NUM_THREADS"] = str(self.n_threads)  # it predicts with all it may
        settings = dict(self.settings)
        l2 = settings.pop("l2")
        self.model = (FMClassifier if self.is_classifier else FMRegressor)(
            n_factors=COMPONENTS,
            l2_linear=l2,
            l2_factors=l2,
            max_iter=1,
            warm_start=True,
            dtype="float64",  # what it trains in: nothing is rounded between epochs
            n_jobs=self.n_threads,
            random_state=np.random.default_rng(0),
            **settings,
        )
        X = X.astype(np.float64)
        self.model.partial_fit(X[:1], y[:1], **self.classes)
        self.go_on(self.model.fit, X, y)


class ScikitLearn(Tool):
    package = "sklearn"

    def train(self, X, y):
        from sklearn.linear_model import SGDClassifier, SGDRegressor

        self.model = (SGDClassifier if self.is_classifier else SGDRegressor)(
            loss="log_loss" if self.is_classifier else "squared_error",
            learning_rate="constant",
            random_state=np.random.RandomState(0),
            **self.settings,
        )
        self.go_on(self.model.partial_fit, X, y, **self.classes)


class MyFM(Tool):
    package = "myfm"

    def train(self, X, y):
        from myfm import MyFMGibbsClassifier, MyFMGibbsRegressor

        X_new = self.X_new.astype(np.float64)
        kind = MyFMGibbsClassifier if self.is_classifier else MyFMGibbsRegressor
        self.total = 0.0

        def callback(iteration, sample, *_):
            self.watch.stop()
            score = sample.predict_score(X_new, [])
            kept = self.total if iteration > 5 else 0.0
            self.total = kept + (ndtr(score) if self.is_classifier else score)
            self.mean = self.total / max(1, iteration - 4)
            self.watch.start()
            self.done(iteration + 1)
            return False, None

        self.model = kind(COMPONENTS, random_seed=0)
        self.model.fit(X.astype(np.float64), y, n_iter=self.stops[-1], callback=callback)
        self.mean = None

    def predict(self, X):
        if self.mean is not None:
            return self.mean
        X = X.astype(np.float64)
        return self.model.predict_proba(X) if self.is_classifier else self.model.predict(X)


class VowpalWabbit(Tool):
    """Trained from its cache; the models that it saves after each pass tell when that was."""

    package = "vowpalwabbit"

    def train(self, X, y):
        self.watch.stop()
        self.folder = tempfile.TemporaryDirectory()
        os.chdir(self.folder.name)  # this process has nothing else to do
        self.write("train", X, y)
        self.write("new", self.X_new, np.zeros(self.X_new.shape[0]))
        self.run("--noop --data new.txt --cache_file new.cache -k -b 20")
        self.watch.start()
        self.run("--noop --data train.txt --cache_file train.cache -k -b 20")
        parsing, started = self.watch.stop(), time.time()
        options = " ".join(f"{key} {value}" for key, value in self.settings.items())
        if self.is_classifier:
            options += " --loss_function logistic --link logistic"
        options += f" --holdout_off --passes {self.stops[-1]} --save_per_pass -f model -b 20"
        self.run(f"--cache_file train.cache {options}")
        for n_epochs in self.stops:
            self.model = f"model.{n_epochs}"
            self.watch.seconds = parsing + Path(self.model).stat().st_mtime - started
            self.watch.start()
            if self.done(n_epochs):
                break

    def run(self, arguments):
        from vowpalwabbit import Workspace

        Workspace(f"--quiet {arguments}").finish()

    def write(self, name, X, y):
        rows = X.indices.reshape(X.shape[0], -1)
        labels = 2 * y - 1 if self.is_classifier else y
        names = "ui" if "--lrq" in self.settings else " " * rows.shape[1]
        form = "%g" + "".join(f" |{name} %d" for name in names)
        np.savetxt(f"{name}.txt", np.column_stack([labels, rows]), form)

    def predict(self, X):
        """X are the new rows that ``train`` knows, from their cache."""
        self.run(f"-t -i {self.model} --cache_file new.cache --passes 1 -p predicted")
        return np.loadtxt("predicted")


class Surprise(Tool):
    """A matrix factorization that cannot go on: a whole fit for each stop."""

    package = "surprise"

    def train(self, X, y):
        import pandas as pd
        from surprise import SVD, Dataset, Reader

        for n_epochs in self.stops:
            self.watch = Watch()
            frame = pd.DataFrame(X.indices.reshape(-1, 2)).assign(rating=y)
            train = Dataset.load_from_df(frame, Reader(rating_scale=(1, 5))).build_full_trainset()
            self.model = SVD(COMPONENTS, n_epochs, random_state=0, **self.settings).fit(train)
            if self.done(n_epochs):
                break

    def predict(self, X):
        rows = [(user, item, None) for user, item in X.indices.reshape(-1, 2).tolist()]
        return np.array([prediction.est for prediction in self.model.test(rows)])


SOLVERS = ("adagrad", "adam", "ftrl", "sgd")
LRQ = {"--lrq": f"ui{COMPONENTS} --lrqdropout"}
# Class, settings that stay, and the parameters that GRID has values of.
TOOLS = {
    **{f"skfm {name}": (Skfm, {"solver": name}, ("alpha", "learning_rate")) for name in SOLVERS},
    **{
        f"modern-fm {name}": (ModernFM, {"optimizer": name}, ("l2", "learning_rate", "batch_size"))
        for name in SOLVERS
    },
    "Vowpal Wabbit, linear": (VowpalWabbit, {}, ("--l2", "-l")),
    "Vowpal Wabbit, --lrq": (VowpalWabbit, LRQ, ("--l2", "-l")),
    "Surprise SVD": (Surprise, {}, ("reg_all", "lr_all")),
    "scikit-learn SGD": (ScikitLearn, {}, ("alpha", "eta0")),
    "myFM Gibbs": (MyFM, {}, ()),
}
GRID = {
    "clicks": {
        "skfm adagrad": ((1, 2, 3), (0.1, 0.2)),
        "skfm adam": ((1, 2, 4), (0.005, 0.01)),
        "skfm ftrl": ((0.75, 1.5, 3), (0.1, 0.2)),
        "skfm sgd": ((1, 2, 3), (0.015, 0.03)),
        "modern-fm adagrad": ((1e-4, 3e-4, 1e-3), (0.05, 0.1), (256,)),
        "modern-fm adam": ((1e-3, 3e-3, 6e-3), (0.001, 0.002), (8,)),
        "modern-fm ftrl": ((0.1, 1, 10), (0.1, 0.2), (1,)),
        "modern-fm sgd": ((0.01, 0.02, 0.04), (0.01, 0.02), (1,)),
        "Vowpal Wabbit, linear": ((1e-7, 1e-6, 3e-6), (0.1, 0.2)),
        "scikit-learn SGD": ((1e-5, 3e-5, 1e-4), (0.01, 0.03)),
        "myFM Gibbs": (),
    },
    "ratings": {
        "skfm adagrad": ((0.7, 1, 1.4), (0.05, 0.1)),
        "skfm adam": ((0.7, 1, 1.4), (0.005, 0.01)),
        "skfm ftrl": ((0.5, 0.7, 1), (0.1, 0.2)),
        "skfm sgd": ((0.7, 1, 1.4), (0.02, 0.05)),
        "modern-fm adagrad": ((0.005, 0.01, 0.015), (0.02, 0.05), (8,)),
        "modern-fm adam": ((0.005, 0.01, 0.015), (0.001, 0.003), (8,)),
        "modern-fm ftrl": ((3, 10, 20), (0.1, 0.2), (1,)),
        "modern-fm sgd": ((0.06, 0.08, 0.1), (0.005, 0.01), (1,)),
        "Vowpal Wabbit, --lrq": ((1e-7, 1e-6, 3e-6), (0.05, 0.1)),
        "Surprise SVD": ((0.06, 0.08, 0.1), (0.005, 0.01)),
        "scikit-learn SGD": ((3e-6, 1e-5, 3e-5), (0.003, 0.01)),
        "myFM Gibbs": (),
    },
}
PARALLEL = ("skfm adagrad", "modern-fm adagrad")


# --- in processes of their own --------------------------------------------------------------


class Curve:
    """What listens to a training run: held-out losses, until they have stopped falling."""

    def __init__(self, data, y_new, at_least=0):
        self.data, self.y_new, self.at_least = data, y_new, at_least
        self.points = []  # epochs, seconds, loss

    def __call__(self, n_epochs, duration, predicted):
        self.points.append((n_epochs, duration, loss(self.data, self.y_new, predicted)))
        since_best = len(self.points) - 1 - self.points.index(self.best())
        return since_best >= PATIENCE and n_epochs >= self.at_least

    def best(self):
        return min(self.points, key=lambda point: point[2])


def stops(n_epochs):
    """Numbers of epochs to evaluate after: all up to 16, then in steps of an eighth."""
    result = [1]
    while result[-1] < n_epochs:
        result.append(min(n_epochs, result[-1] + max(1, result[-1] // 8)))
    return result


def make_tool(path, name, data, n_threads, settings):
    """The tool, after a fit of a few rows, which compiles and loads libraries."""
    kind, fixed, _ = TOOLS[name]
    tool = kind(data, n_threads, **fixed, **settings)
    X, y = load(path, "tiny")
    tool.curve(X, y, X, [1, 2], lambda *_: False)
    return tool


def child_tune(path, name, data, n_epochs):
    """Settings, number of epochs and loss on the inner split, the best first."""
    X, y = load(path, "train")
    n_rows = min(TUNING_ROWS[data], y.size)
    cut = n_rows - n_rows // 10
    trials = []
    for values in product(*GRID[data][name]):
        settings = dict(zip(TOOLS[name][2], values, strict=True))
        curve = Curve(data, y[cut:n_rows])
        try:
            tool = make_tool(path, name, data, 1, settings)
            tool.curve(X[:cut], y[:cut], X[cut:n_rows], stops(n_epochs), curve)
        except (ValueError, FloatingPointError) as error:
            print(f"{name} {settings}: {error}", file=sys.stderr)
        at, _, least = curve.best() if curve.points else (1, 0, np.inf)
        trials.append((settings, at, least))
    return sorted(trials, key=lambda trial: trial[2])


def memory(key):
    """In MB; only Linux tells."""
    if sys.platform != "linux":
        return np.nan
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1]) / 1000


def child_run(path, name, data, n_threads, settings, n_epochs, chosen):
    tool = make_tool(path, name, data, n_threads, settings)
    if sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5")  # peaks from here on
    before = memory("VmRSS")
    X, y = load(path, "train")
    X_new, y_new = load(path, "new")
    curve = Curve(data, y_new, chosen)
    began, used = time.perf_counter(), time.process_time()
    total = tool.curve(X, y, X_new, stops(n_epochs), curve)
    share = (time.process_time() - used) / (time.perf_counter() - began)
    added = memory("VmHWM") - before
    (first, start, _), (last, end, loss_at_end) = curve.points[0], curve.points[-1]
    epoch = (end - start) / (last - first) if last > first else np.nan
    # What is done after the last epoch is part of each fit.
    curve.points = [(n, duration + total - end, value) for n, duration, value in curve.points]
    at, to_best, best = curve.best()
    return {
        "epoch": epoch,
        "set-up": total - last * epoch,
        "chosen": next((value for n, _, value in curve.points if n >= chosen), loss_at_end),
        "best": best,
        "at": at,
        "s_to_best": to_best,
        "rows/s": y_new.size / np.median([seconds(tool.predict, X_new)[0] for _ in range(5)]),
        "MB": added,
        "curve": curve.points,
        "processor": share,
    }


TASKS = {"data": child_data, "tune": child_tune, "run": child_run}


# --- tables ---------------------------------------------------------------------------------

FORMATS = "epoch:.3f set-up:.2f chosen:.4f best:.4f at:.0f s_to_best:.2f s_to_target:.2f"
COLUMNS = dict(pair.split(":") for pair in f"{FORMATS} rows/s:,.0f MB:.0f".split())


def print_table(rows):
    titles = (f"{key:>11}".replace("_", " ") for key in COLUMNS)
    print(f"| {'':<21} | threads | {' | '.join(titles)} |")
    print("|:" + "-" * 22 + "|--------:" * (1 + len(COLUMNS)) + "|")
    for (name, n_threads), row in rows.items():
        cells = [format(row[key], form).replace("nan", "-") for key, form in COLUMNS.items()]
        print(f"| {name:<21} | {n_threads:>7} | {' | '.join(f'{c:>11}' for c in cells)} |")


def compare(data, names, options, folder):
    """Tune, run and show the tools on one data set; returns what --output writes."""

    def child(task, name, **more):
        most = SAMPLES if TOOLS[name][0] is MyFM else EPOCHS
        n_epochs = options.epochs or most[data]
        shared = {"path": folder, "name": name, "data": data, "n_epochs": n_epochs}
        return run_child(__file__, task, one_blas_thread=True, **shared, **more)

    run_child(__file__, "data", path=folder, data=data, n_rows=options.rows)
    trials = {}
    for name in names:
        is_tuned = bool(GRID[data][name])
        trials[name] = child("tune", name) if is_tuned else [({}, SAMPLES[data], np.nan)]
        settings, at, least = trials[name][0]
        text = ", ".join(f"{key}={value:g}" for key, value in settings.items())
        text += f", {at} epochs; inner split {least:.4f}" if is_tuned else "not tuned"
        print(f"- {name}: {text}", flush=True)
    results = {}
    for name in names:
        for n_threads in options.threads if name in PARALLEL else [1]:
            results[name, n_threads] = []
    for repeat in range(options.repeats):
        for (name, n_threads), repeats in results.items():
            if repeat == 0 or GRID[data][name]:
                settings, at, _ = trials[name][0]
                more = {"n_threads": n_threads, "settings": settings, "chosen": at}
                repeats.append(child("run", name, **more))
                share = repeats[-1]["processor"]
                if share < 0.9:
                    print(f"Others were at work: {name} had a processor {share:.0%} of its time.")
    peers = {
        name: repeats[0]["best"]
        for (name, _), repeats in results.items()
        if TOOLS[name][0] not in (Skfm, MyFM)
    }
    leader = min(peers, key=peers.get, default="")
    target = peers.get(leader, -np.inf)
    for result in chain(*results.values()):
        reached = (duration for _, duration, value in result["curve"] if value <= target)
        result["s_to_target"] = next(reached, np.nan)
    print(f"\nTarget: {target:.4f}, of {leader}.\n" if leader else "")
    print_table(
        {
            run: {key: float(np.median([result[key] for result in repeats])) for key in COLUMNS}
            for run, repeats in results.items()
        }
    )
    return {"tuning": trials, "runs": [(*run, repeats) for run, repeats in results.items()]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", choices=GRID, default=[*GRID])
    parser.add_argument("--rows", type=int, default=1_000_000, help="training rows of clicks")
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=[*TOOLS])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help=f"of {PARALLEL}")
    parser.add_argument("--epochs", type=int, help="at most; else 15 and 100, of myFM 30 and 200")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, help="JSON file for all figures and curves")
    options = parser.parse_args()
    tools = installed({name: TOOLS[name][0] for name in options.tools})
    written = {"date": time.strftime("%Y-%m-%d"), "rows": options.rows}
    packages = dict.fromkeys([*(tool.package for tool in tools.values()), "numba", "numpy"])
    written["versions"] = {name: import_module(name).__version__ for name in packages}
    used = ", ".join(f"{name} {number}" for name, number in written["versions"].items())
    python = platform.python_version()
    print(f"{written['date']}; {os.cpu_count()} processors; Python {python}, {used}")
    for data in options.data:
        size = f"{options.rows:,} rows" if data == "clicks" else "MovieLens-100k u1"
        print(f"\n**{data}**: {size}, {COMPONENTS} components, {LOSS[data]}\n", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            able = [name for name in tools if name in GRID[data]]
            written[data] = compare(data, able, options, folder)
    if options.output:
        options.output.write_text(json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    if not is_child(TASKS):
        main()
