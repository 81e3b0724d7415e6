"""How long the first fit takes, in an empty cache of compiled kernels and in a filled one.

    python benchmarks/cold_start.py [--repeats 3] [--functions] [part ...]

A part is a kind of model, fitted to a few rows so that little but compiling takes time; "all" is
every part in float64, one after the other in one process. Each part runs in a new process with a
new, empty folder for the cache ("empty"), then in another process with what the first has left
there ("filled"). Shown are medians of CPU and wall seconds; those of the import are apart.

--functions shows instead for which functions Numba compiles how long, in CPU seconds: without
those that a function has compiled on its way, with the number of times.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter

import numpy as np
from scipy import sparse

N_ROWS, N_FEATURES, N_ITEMS = 200, 20, 10


def parts():
    """Named steps of each part, to be called in order."""
    from skfm import (
        BayesianFMClassifier,
        BayesianFMRegressor,
        FMClassifier,
        FMRecommender,
        FMRegressor,
        MFRecommender,
    )

    rng = np.random.default_rng(0)
    X = sparse.random(N_ROWS, N_FEATURES, 0.3, format="csr", random_state=0)
    y, items = rng.normal(size=N_ROWS), rng.integers(N_ITEMS, size=N_ROWS)
    few = {"max_iter": 3, "random_state": 0}
    chain = {"max_iter": 3, "n_burn_in": 1, "random_state": 0}
    known = {
        "FMRegressor": {
            "float64": lambda: FMRegressor(**few).fit(X, y),
            "then float32": lambda: FMRegressor(**few).fit(X.astype(np.float32), y),
        },
        "als": {"": lambda: FMRegressor(solver="als", **few).fit(X, y)},
        "FMClassifier": {"": lambda: FMClassifier(**few).fit(X, y > 0)},
        "MFRecommender": {"": lambda: MFRecommender(**few).fit(X)},
        "implicit": {"": lambda: MFRecommender(feedback="implicit", **few).fit(X)},
        "MF-sgd": {"": lambda: MFRecommender(solver="sgd", **few).fit(X)},
        "FMRecommender": {"": lambda: FMRecommender(**few).fit(X, items).recommend(X, 3)},
        "BayesianFMRegressor": {"": lambda: BayesianFMRegressor(**chain).fit(X, y)},
        "BayesianFMClassifier": {"": lambda: BayesianFMClassifier(**chain).fit(X, y > 0)},
    }
    first = [next(iter(steps.values())) for steps in known.values()]
    known["all"] = {"float64": lambda: [step() for step in first]}
    return known


NAMES = [
    "FMRegressor",
    "als",
    "FMClassifier",
    "MFRecommender",
    "implicit",
    "MF-sgd",
    "FMRecommender",
    "BayesianFMRegressor",
    "BayesianFMClassifier",
    "all",
]


def seconds(function):
    cpu, wall = time.process_time(), time.perf_counter()
    function()
    return time.process_time() - cpu, time.perf_counter() - wall


def measure(name, by_function):
    """In a process of its own: print the seconds of the import and of each step."""

    def import_package():
        import skfm  # noqa: F401

    found = {"(its import)": seconds(import_package)}
    compiled = watch_compiler() if by_function else {}
    warnings.simplefilter("ignore")
    for label, step in parts()[name].items():
        found[f"{name}, {label}" if label else name] = seconds(step)
    print(json.dumps([found, compiled]))


def watch_compiler():
    """Own CPU seconds and the number of compilations by function, filled as Numba compiles."""
    from numba.core import event

    compiled, under_way = {}, []

    class Watch(event.Listener):
        def on_start(self, event):
            under_way.append([time.process_time(), 0.0])

        def on_end(self, event):
            start, of_others = under_way.pop()
            total = time.process_time() - start
            if under_way:
                under_way[-1][1] += total
            function = event.data["dispatcher"].py_func
            name = f"{function.__module__}.{function.__qualname__}".removeprefix("skfm._kernels.")
            before = compiled.get(name, (0.0, 0))
            compiled[name] = before[0] + total - of_others, before[1] + 1

    event.register("numba:compile", Watch())
    return compiled


def run(name, folder, by_function=False):
    command = [sys.executable, __file__, "--measure", name, *["--functions"] * by_function]
    environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout)


def show_times(name, repeats):
    runs = {"empty": [], "filled": []}
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            for cache in runs.values():
                cache.append(run(name, folder)[0])
    for step in sorted(runs["empty"][0], key=lambda step: step.startswith("(")):
        medians = [np.median([found[step] for found in cache], axis=0) for cache in runs.values()]
        figures = "  ".join(f"{cpu:7.2f} {wall:7.2f}" for cpu, wall in medians)
        print(f"{step:28}  {figures}", flush=True)


def show_functions(name, repeats):
    found = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            found.append(run(name, folder, True)[1])
    own = {key: np.median([times[key][0] for times in found]) for key in found[0]}
    print(f"{name}: {sum(own.values()):.2f} s")
    for key, spent in Counter(own).most_common():
        if spent >= 0.05:
            print(f"  {spent:6.2f}  {found[0][key][1]:2} x  {key}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="part", help=", ".join(NAMES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--functions", action="store_true")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - set(NAMES)
    if unknown:
        parser.error(f"unknown parts: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    if arguments.measure:
        measure(arguments.measure, arguments.functions)
        return
    if not arguments.functions:
        print(f"{'seconds, the cache being':28}  {'empty':>15}  {'filled':>15}")
        print(f"{'':28}  {'CPU':>7} {'wall':>7}  {'CPU':>7} {'wall':>7}")
    for name in arguments.parts or NAMES:
        (show_functions if arguments.functions else show_times)(name, arguments.repeats)


if __name__ == "__main__":
    main()
