"""Tables with a binary target: factorization machines, trees and a linear model, all tuned alike.

    python benchmarks/tables.py --data-home FOLDER [--tables access criteo ...]
                                [--tools "skfm FM" CatBoost ...] [--settings 6]
                                [--keep FOLDER]

The tables are those of `click_data.py`, the tools and the settings that are tried those of
`click_tools.py`; what is not there, or not installed, is left out. For each table and each tool,
as many settings are judged by their log loss on a fifth of the training rows: the tool's defaults,
and random draws. Tools that need a number of iterations choose it there, too, by early stopping.
The best setting is fitted on all training rows and measured on the test rows, once. Criteo, which
is small, has three folds, each tuned for itself; their test rows are taken together.

- "to best": by how much the log loss is above that of the best tool, and an interval that holds
  95 % of the differences in 1000 bootstrap samples of the test rows, the same for both tools.
- "mean": mean of the predicted probabilities minus the share of positives, of the test rows.
- "decile": the same of the decile, by predicted probability, where it is farthest from 0, in
  percentage points; "+-": what chance alone would make of it, its 95 % quantile if the predicted
  probabilities were right.
- "s": seconds that tuning, fitting and predicting took, with one thread.

A folder `--keep` holds the predictions of each tool, which are not computed again: a run can be
interrupted, or divided among machines.

At the end, the log losses and AUCs of all as a table for the documentation.
"""

import argparse
import sys
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
from click_data import LOADERS
from click_tools import TOOLS, available, settings_of
from sklearn.metrics import log_loss, roc_auc_score

N_BOOTSTRAP = 1000


def evaluate(tool, split, n_settings):
    """Probabilities of the test rows, by the setting that is best on an inner split."""
    best = np.inf, None, None
    for setting in settings_of(tool, n_settings):
        p, n_iter = tool.run(split.inner, setting, None)
        loss = log_loss(split.inner.y_test, p)
        if loss < best[0]:
            best = loss, setting, n_iter
    _, setting, n_iter = best
    return tool.run(split, setting, n_iter)[0], setting | ({"n_iter": n_iter} if n_iter else {})


def losses_of_rows(y, p):
    return -np.log(np.where(y == 1, p, 1 - p).clip(1e-15))


def interval(difference):
    """Where 95 % of the means of bootstrap samples of these differences lie."""
    rng, n = np.random.default_rng(0), len(difference)
    means = [difference[rng.integers(n, size=n)].mean() for _ in range(N_BOOTSTRAP)]
    return np.quantile(means, [0.025, 0.975])


def worst_decile(y, p, deciles=None):
    """The gap of the decile that is farthest from its predicted probability."""
    if deciles is None:
        deciles = np.array_split(np.argsort(p, kind="stable"), 10)
    gaps = np.array([p[rows].mean() - y[rows].mean() for rows in deciles])
    return gaps[np.argmax(np.abs(gaps))]


def chance_decile(p):
    """The 95 % quantile of the worst decile if the probabilities are right."""
    rng = np.random.default_rng(0)
    deciles = np.array_split(np.argsort(p, kind="stable"), 10)
    drawn = (worst_decile(rng.random(p.size) < p, p, deciles) for _ in range(200))
    return np.quantile(np.abs(list(drawn)), 0.95)


def evaluate_all(tool, splits, n_settings):
    """The same of the test rows of all splits, and a note of the time and the first setting."""
    began = time.perf_counter()
    parts = [evaluate(tool, split, n_settings) for split in splits]
    chosen = ", ".join(f"{key} {value}" for key, value in parts[0][1].items())
    return np.concatenate([p for p, _ in parts]), f"{time.perf_counter() - began:>6.0f}  {chosen}"


def kept(file, compute):
    """Probabilities and a note, read from a file if there is one."""
    if file is None or not file.exists():
        p, note = compute()
        if file is None:
            return p, note
        np.savez(file, p=p, note=note)
    data = np.load(file)
    return data["p"], str(data["note"])


def compare(splits, tools, n_settings, keep):
    """Measure all tools on a table and print them, the best first; returns losses and AUCs."""
    y = np.concatenate([split.y_test for split in splits])
    print(f"\n{splits[0].name}: {splits[0].y.size} training rows, {y.size} test rows, ", end="")
    print(f"{y.mean():.1%} of them positive", flush=True)
    results, notes = {}, {}
    for name, tool in tools.items():
        results[name], notes[name] = kept(
            keep and keep / f"{splits[0].name}-{name}-{n_settings}.npz",
            partial(evaluate_all, tool, splits, n_settings),
        )
        loss = log_loss(y, results[name])
        print(f"{name}: {loss:.4f}", notes[name], file=sys.stderr, flush=True)
    losses = {name: losses_of_rows(y, p) for name, p in results.items()}
    order = sorted(losses, key=lambda name: losses[name].mean())
    heads = f"{'log loss':>9}{'to best':>9}{'':>19}{'AUC':>7}{'mean':>9}{'decile':>8}{'+-':>6}"
    print(f"{'':<34}{heads}{'s':>6}  setting")
    for name in order:
        line = line_of(y, results[name], losses[name], losses[order[0]])
        print(f"{name:<34}{line}{notes[name]}", flush=True)
    return {name: (losses[name].mean(), roc_auc_score(y, results[name])) for name in tools}


def line_of(y, p, losses, best):
    low, high = interval(losses - best)
    numbers = f"{losses.mean():>9.4f}{np.mean(losses - best):>9.4f} ({low:>7.4f}, {high:>7.4f})"
    numbers += f"{roc_auc_score(y, p):>7.4f}{p.mean() - y.mean():>9.4f}"
    return numbers + f"{100 * worst_decile(y, p):>8.1f}{100 * chance_decile(p):>6.1f}"


def print_for_docs(measured, tools):
    """Tables in reStructuredText: a line for each tool, a column for each data set."""
    for number, title in enumerate(("Log loss", "AUC")):
        rule = " ".join(["=" * 34, *["=" * 8] * len(measured)])
        print(f"\n{title}\n\n{rule}")
        print(" ".join([f"{'tool':<34}", *(f"{name:<8}" for name in measured)]) + f"\n{rule}")
        for tool in tools:
            values = (f"{result[tool][number]:.4f}".lstrip("0") for result in measured.values())
            print(" ".join([f"{tool:<34}", *(f"{value:<8}" for value in values)]))
        print(rule)


def main():
    names = [load.__name__[5:] for load in LOADERS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-home", type=Path, default=Path("data"))
    parser.add_argument("--tables", nargs="+", default=names, choices=names)
    parser.add_argument("--tools", nargs="+", default=list(TOOLS), choices=list(TOOLS))
    parser.add_argument("--settings", type=int, default=6)
    parser.add_argument("--keep", type=Path, help="folder of predictions, to resume a run")
    options = parser.parse_args()
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    tools = available({name: TOOLS[name] for name in options.tools})
    warnings.simplefilter("ignore")
    measured = {}
    for name, load in zip(names, LOADERS, strict=True):
        if name not in options.tables:
            continue
        try:
            splits = load(options.data_home)
        except FileNotFoundError as missing:
            print(f"{name} is left out: {missing}")
            continue
        measured[name] = compare(splits, tools, options.settings, options.keep)
    print_for_docs(measured, tools)


if __name__ == "__main__":
    main()
