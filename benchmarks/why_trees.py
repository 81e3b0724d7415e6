"""Why trees are better on some tables, and what of it a factorization machine can use.

    python benchmarks/why_trees.py --data-home FOLDER [--tables access apps]

On a fifth of the training rows of `click_data.py`, held out. Nothing is tuned, and no test rows
are used. Log loss and AUC of

- CatBoost, 300 trees, with statistics of the target for single categories only, for pairs, and for
  combinations of up to four; and with trees of a single split;
- FMClassifier on one-hot categories, with interactions of three features, and with a feature for
  each pair of categories that at least two rows have;
- the same with target statistics (`target_statistics.py`), smoothed by 10 rows and by "auto", and
  in ten bins each.

CatBoost is left out if it is not installed.
"""

import argparse
import warnings
from functools import partial
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path

import click_data
import numpy as np
import pandas as pd
from click_tools import THREADS
from scipy import sparse
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder

from skfm import FMClassifier


def run_catboost(split, **options):
    from catboost import CatBoostClassifier

    train, test = split.flat
    options = {"iterations": 300, "learning_rate": 0.1, "thread_count": THREADS} | options
    model = CatBoostClassifier(
        cat_features=split.categories,
        random_seed=0,
        allow_writing_files=False,
        verbose=False,
        **options,
    )
    return model.fit(train, split.y).predict_proba(test)[:, 1]


def run_fm(split, encode, **options):
    X, X_test = encode(split)
    model = FMClassifier(random_state=0, n_jobs=THREADS, **options).fit(X, split.y)
    return model.predict_proba(X_test)[:, 1]


def one_hot(split):
    return split.one_hot[:2]


def with_pairs(split):
    """A feature for each pair of categories, as long as two rows have it."""
    names = list(combinations(split.categories, 2))
    train, test = (
        pd.DataFrame({f"{a} {b}": frame[a] + " " + frame[b] for a, b in names})
        for frame in (split.train, split.test)
    )
    encoder = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=2).fit(train)
    return [
        sparse.hstack([singles, encoder.transform(frame)], format="csr")
        for singles, frame in zip(one_hot(split), (train, test), strict=True)
    ]


def with_statistics(split, smooth):
    return split.with_target_statistics(smooth)[:2]


def with_binned_statistics(split, smooth):
    """With a feature for each tenth of the rows by each statistic."""
    n_categories = one_hot(split)[0].shape[1]
    X, X_test = with_statistics(split, smooth)
    numbers, numbers_test = (part[:, n_categories:].toarray() for part in (X, X_test))
    binner = KBinsDiscretizer(10, quantile_method="averaged_inverted_cdf", subsample=None)
    binner.fit(numbers)
    return [
        sparse.hstack([singles, binner.transform(part)], format="csr")
        for singles, part in zip(one_hot(split), (numbers, numbers_test), strict=True)
    ]


TREES = {
    "CatBoost": run_catboost,
    "CatBoost, no combinations": partial(run_catboost, max_ctr_complexity=1),
    "CatBoost, pairs": partial(run_catboost, max_ctr_complexity=2),
    "CatBoost, single splits": partial(run_catboost, depth=1),
}
MACHINES = {
    "FM": partial(run_fm, encode=one_hot),
    "FM, degree 3": partial(run_fm, encode=one_hot, degree=3),
    "FM, a feature for each pair": partial(run_fm, encode=with_pairs),
    "FM, statistics": partial(run_fm, encode=partial(with_statistics, smooth=10)),
    "FM, statistics, smooth=auto": partial(run_fm, encode=partial(with_statistics, smooth="auto")),
    "FM, statistics in bins": partial(run_fm, encode=partial(with_binned_statistics, smooth=10)),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-home", type=Path, default=Path("data"))
    parser.add_argument("--tables", nargs="+", default=["access", "apps"])
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for table in options.tables:
        split = getattr(click_data, f"load_{table}")(options.data_home)[0].inner
        for name, run in ((TREES if find_spec("catboost") else {}) | MACHINES).items():
            p = np.asarray(run(split))
            loss, area = log_loss(split.y_test, p), roc_auc_score(split.y_test, p)
            print(f"{table:<10}{name:<32}{loss:.4f} {area:.4f}", flush=True)


if __name__ == "__main__":
    main()
