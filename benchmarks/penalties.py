"""Penalties of FMRegressor and FMClassifier: the defaults, those found in the fit, tuned ones.

    python benchmarks/penalties.py [--data-home FOLDER]

For each data set of `real_data.py` a line with the test error: of a linear model with
scikit-learn's defaults (LogisticRegression, Ridge), of the defaults of skfm, whose penalties are
found in the fit, of fixed ones (alpha 1.2 for ratings and 2 for classes, alpha_linear 5), and of
both tuned (15 settings, on a fifth of the training rows held out, then fitted on all of them). Log
loss for classes, RMSE for ratings, clipped to their range. "time" is that of the fit with the
defaults, in fits with fixed penalties. The constants of _solvers/evidence.py were chosen on what
default_neighbours.py measures, inner splits of the training rows of these sets and of others, all
together.
"""

import argparse
import time
import warnings
from itertools import product

import numpy as np
import real_data
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss, root_mean_squared_error
from sklearn.model_selection import train_test_split

from skfm import FMClassifier, FMRegressor

GRID = [
    {"alpha": alpha, "alpha_linear": linear}
    for alpha, linear in product((0.1, 0.3, 1, 3, 8), (0.3, 1, 3))
]


def measure(model, train, test):
    """The test error, and the seconds of the fit."""
    began = time.perf_counter()
    model.fit(*train)
    seconds = time.perf_counter() - began
    X, y = test
    if hasattr(model, "predict_proba"):
        return log_loss(y, model.predict_proba(X)), seconds
    predicted = np.clip(model.predict(X), train[1].min(), train[1].max())
    return root_mean_squared_error(y, predicted), seconds


def compare(data, is_classes):
    kind = FMClassifier if is_classes else FMRegressor
    train, test = (data.X, data.y), (data.X_test, data.y_test)
    labels = data.y if is_classes else None
    parts = train_test_split(*train, test_size=0.2, random_state=0, stratify=labels)
    inner, held_out = (parts[0], parts[2]), (parts[1], parts[3])
    linear = LogisticRegression(max_iter=1000) if is_classes else Ridge()
    errors = [measure(kind(random_state=0, **setting), inner, held_out)[0] for setting in GRID]
    best = GRID[int(np.argmin(errors))]
    measure(kind(random_state=0, max_iter=1), train, test)  # compiles
    given = {"alpha": 2.0 if is_classes else 1.2, "alpha_linear": 5.0}
    fixed, usual = measure(kind(random_state=0, **given), train, test)
    found, seconds = measure(kind(random_state=0), train, test)
    tuned = measure(kind(random_state=0, **best), train, test)[0]
    print(
        f"{data.name:10} linear {measure(linear, train, test)[0]:.4f}  fixed {fixed:.4f}  "
        f"default {found:.4f}  tuned {tuned:.4f} {tuple(best.values())}  "
        f"time {seconds / usual:.1f}",
        flush=True,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-home", default=".", help="folder with clones: see real_data.py")
    folder = parser.parse_args().data_home
    warnings.simplefilter("ignore", ConvergenceWarning)
    warnings.filterwarnings("ignore", message="The factors are nearly zero")
    for data in real_data.load_all(real_data.CLASSES, folder):
        compare(data, True)
    for data in real_data.load_all(real_data.RATINGS, folder):
        compare(data, False)
    for fold in range(1, 6):
        compare(real_data.load_fold(fold), False)
