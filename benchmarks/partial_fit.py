"""What partial_fit costs, beside an epoch of fit on the same rows in memory.

    python benchmarks/partial_fit.py [--rows 1000000] [--repeats 3]

The data of benchmarks/fm_epoch.py: rows x 10 one-hot fields, 100,000 features; 8 components, the
default solver, one thread. All figures are CPU time, the medians of repeats that alternate.

- "epoch": what one more epoch of fit adds, as fits of 1 and of 6 epochs differ, once with given
  penalties and once with the default, which also estimates them.
- "pass": all rows once, in chunks of 100,000 rows, all in.
- "row": a call with one row, after a first chunk of 100,000 rows; also where the same entries are
  among 1,000,000 features, and with a prediction before each call.
- log loss: on 100,000 rows held out, after a pass.
"""

import argparse
import time
import warnings

import numpy as np
from fm_epoch import GIVEN, HELD_OUT, make_data
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss

from skfm import FMClassifier

warnings.simplefilter("ignore", ConvergenceWarning)

COMPONENTS = 8
CHUNK = 100_000
N_CALLS = 300  # with one row each
MORE_FEATURES = 1_000_000


def seconds(function, *arguments):
    start = time.process_time()
    result = function(*arguments)
    return time.process_time() - start, result


def fit(X, y, n_epochs, **options):
    model = FMClassifier(COMPONENTS, max_iter=n_epochs, tol=0, random_state=0, **options)
    return model.fit(X, y)


def learn(X, y, n_rows=CHUNK):
    model = FMClassifier(COMPONENTS, random_state=0)
    for start in range(0, len(y), n_rows):
        model.partial_fit(X[start : start + n_rows], y[start : start + n_rows], [0, 1])
    return model


def learn_rows(model, rows, predicts=False):
    """Returns the mean seconds of a call."""
    start = time.process_time()
    for X, y in rows:
        if predicts:
            model.predict_proba(X)
        model.partial_fit(X, y)
    return (time.process_time() - start) / len(rows)


def time_row(X, y, X_new, y_new, predicts=False):
    model = learn(X[:CHUNK], y[:CHUNK])
    rows = [(X_new[i : i + 1], y_new[i : i + 1]) for i in range(2 * N_CALLS)]
    learn_rows(model, rows[:N_CALLS], predicts)  # the first call after the chunk opens the stream
    return learn_rows(model, rows[N_CALLS:], predicts)


def spread(X):
    """The same rows with more features, most of which never occur."""
    columns = X.indices * (MORE_FEATURES // X.shape[1])
    return sparse.csr_matrix((X.data, columns, X.indptr), (X.shape[0], MORE_FEATURES))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    X, y, X_new, y_new = make_data(arguments.rows)
    learn(X[:3000], y[:3000], 1000).predict_proba(X_new[:10])  # compile, warm up
    fit(X[:3000], y[:3000], 1)
    epochs, defaults, passes = [], [], []
    for _ in range(arguments.repeats):
        for times, options in ((epochs, GIVEN), (defaults, {})):
            once, _ = seconds(lambda options=options: fit(X, y, 1, **options))
            more, _ = seconds(lambda options=options: fit(X, y, 6, **options))
            times.append((more - once) / 5)
        duration, model = seconds(learn, X, y)
        passes.append(duration)
    epoch, default, one_pass = map(np.median, (epochs, defaults, passes))
    loss = log_loss(y_new[:HELD_OUT], model.predict_proba(X_new))
    print(f"epoch of fit: {epoch:.3f} s with given penalties, {default:.3f} s by default")
    print(
        f"pass in chunks of {CHUNK:,} rows: {one_pass:.3f} s, {one_pass / epoch:.2f} or "
        f"{one_pass / default:.2f} epochs; log loss {loss:.4f}"
    )
    wide, wide_new = spread(X[:CHUNK]), spread(X_new)
    for name, data, predicts in (
        ("100,000 features", (X, y, X_new, y_new), False),
        ("100,000 features, predicted before", (X, y, X_new, y_new), True),
        ("1,000,000 features", (wide, y, wide_new, y_new), False),
    ):
        times = [time_row(*data, predicts) for _ in range(arguments.repeats)]
        print(f"row, {name}: {1000 * np.median(times):.2f} ms")


if __name__ == "__main__":
    main()
