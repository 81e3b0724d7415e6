"""What changes of single parameters of FMRegressor and FMClassifier do, on data of many kinds.

    python benchmarks/defaults.py --part neighbours --data-home FOLDER

One line for the defaults and one for each change, with the error on a fifth of the *training* rows
held out, mean of two splits: log loss, or RMSE of ratings clipped to their range. This is what the
defaults were chosen on, all columns together; the last column is the mean change of the error. To
the sets of `real_data.py` come measurements from scikit-learn and generated clicks:

- cancer, digits, wine, diabetes: dense columns, standardized.
- text: short generated texts, more words than texts; a few words say little about the class.
- weak, none: few rows for each user, and products of users and advertisements that matter little
  or not at all. There, strong penalties are right.
"""

import warnings

import numpy as np
from real_data import CLASSES, RATINGS, load_all, load_fold
from scipy import sparse
from scipy.special import expit
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.metrics import log_loss, root_mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skfm import FMClassifier, FMRegressor

SEEDS = (1, 3)
CHANGES = {
    "alpha": (0.3, 1.0, 3.0),
    "alpha_linear": (1.0, 5.0, 15.0),
    "n_components": (4, 16, 32),
    "learning_rate": (0.06, 0.15, 0.3),
    "initial_accumulator": (0.01, 1.0),
    "init_scale": (0.05, 0.3),
    "batch_size": (256, 4096),
    "tol": (1e-5, 1e-3),
    "solver": ("adam", "ftrl", "sgd", "als"),
}


def make_clicks(scale, n_rows=100_000, n_levels=(3000, 300), seed=0):
    """Of users and advertisements whose factors have that standard deviation."""
    rng = np.random.default_rng(seed)
    ids = np.column_stack([rng.integers(n, size=n_rows) for n in n_levels])
    raw = np.full(n_rows, -1.5)
    for field, n in enumerate(n_levels):
        raw += rng.normal(0, 0.3, n)[ids[:, field]]
    one, other = (rng.normal(0, scale, (n, 3))[ids[:, f]] for f, n in enumerate(n_levels))
    raw += (one * other).sum(axis=1)
    return OneHotEncoder().fit_transform(ids).tocsr(), (rng.random(n_rows) < expit(raw)).astype(
        int
    )


def make_texts(n_texts=1500, n_words=5000, seed=0):
    """Texts of Zipf's words, by TfidfTransformer, and classes that depend on single words."""
    rng = np.random.default_rng(seed)
    chance = 1 / np.arange(1, n_words + 1)
    words = rng.choice(n_words, size=(n_texts, 60), p=chance / chance.sum())
    first = np.arange(n_texts + 1) * 60
    counts = sparse.csr_matrix((np.ones(words.size), words.ravel(), first), (n_texts, n_words))
    X = TfidfTransformer().fit_transform(counts)
    raw = X @ rng.normal(size=n_words)
    return X, (rng.random(n_texts) < expit(2 * raw / raw.std())).astype(int)


def load_sets(home):
    """Names, X, y, and whether y are classes; training rows only."""
    for data in load_all(CLASSES, home):
        yield data.name, data.X, data.y, True
    for name, scale in (("weak", 0.4), ("none", 0.0)):
        yield name, *make_clicks(scale), True
    yield "text", *make_texts(), True
    for load in (load_breast_cancer, load_digits, load_wine, load_diabetes):
        X, y = load(return_X_y=True)
        yield load.__name__[5:12], StandardScaler().fit_transform(X), y, load is not load_diabetes
    for data in [*load_all(RATINGS, home), load_fold(1)]:
        yield data.name[-8:], data.X, data.y, False


def measure(sets, changed):
    errors = []
    for _, X, y, is_classes in sets:
        kind, of_set = FMClassifier if is_classes else FMRegressor, []
        for seed in SEEDS:
            X_train, X_test, y_train, y_test = train_test_split(
                X, y, test_size=0.2, random_state=seed, stratify=y if is_classes else None
            )
            model = kind(random_state=0, **changed).fit(X_train, y_train)
            if is_classes:
                of_set.append(log_loss(y_test, model.predict_proba(X_test)))
            else:
                predicted = np.clip(model.predict(X_test), y_train.min(), y_train.max())
                of_set.append(root_mean_squared_error(y_test, predicted))
        errors.append(np.mean(of_set))
    return np.array(errors)


def main(home):
    warnings.simplefilter("ignore", ConvergenceWarning)
    warnings.filterwarnings("ignore", message="The factors are nearly zero")
    sets = list(load_sets(home))
    print(" " * 28, *(f"{name:>8}" for name, *_ in sets))
    defaults = measure(sets, {})
    lines = [("defaults", {})]
    lines += [(f"{n} = {value}", {n: value}) for n, values in CHANGES.items() for value in values]
    for name, changed in lines:
        errors = measure(sets, changed) if changed else defaults
        change = 100 * (np.exp(np.log(errors / defaults).mean()) - 1)
        print(f"{name:28}", *(f"{e:8.4g}" for e in errors), f"{change:+6.1f} %", flush=True)
