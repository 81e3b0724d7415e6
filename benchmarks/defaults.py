"""What the defaults give on test data, beside the best of a wide search: a table of regrets.

    python benchmarks/defaults.py --part fm bayes mf ranking neighbours --data-home FOLDER

The folder is that of `real_data.py`; what it lacks is skipped. Each line is one data set. A part
of its training data is set aside, and `--candidates` random settings of `search_space` are judged
on it. The best one, and the defaults, are then fitted on all training data and measured on the
test data, once: see `regret.py`. Nothing was chosen on test data.

- fm: `FMClassifier`, log loss, and `FMRegressor`, RMSE. `penalties.py` also has linear models.
- bayes: the same of `BayesianFMClassifier` and `BayesianFMRegressor`, which have one parameter to
  tune, n_components.
- mf: `MFRecommender`. Of choices, Recall@20 and NDCG@10, of the search for Recall@20; candidates
  have ten iterations at most. Of ratings, RMSE, clipped to the range of the training ratings.
- ranking: `FMRecommender` with each of its losses, judged as `MFRecommender` is. The number of
  epochs is searched, too.
- neighbours: changes of single parameters of `FMClassifier` and `FMRegressor`, on inner splits:
  see `default_neighbours.py`.

Three sets of choices (lastfm, toys, music) have a single hidden item a user. On toys and music,
some ninety are found, so that a difference of a tenth may be chance.
"""

import argparse
import warnings

import default_neighbours
import numpy as np
import penalties
from real_data import CHOICES, CLASSES, RATINGS, Matrix, load_all, load_fold, load_magazine_ratings
from regret import print_table
from scipy import sparse
from scipy.stats import loguniform
from sklearn.base import clone, is_classifier
from sklearn.metrics import root_mean_squared_error
from sklearn.model_selection import train_test_split

from skfm import (
    BayesianFMClassifier,
    BayesianFMRegressor,
    FMClassifier,
    FMRecommender,
    FMRegressor,
    MFRecommender,
)
from skfm.metrics import ndcg_at_k, recall_at_k
from skfm.model_selection import search_space, split_entries

MOST_JUDGED = 3000  # users
LARGE = 80_000  # choices: FMRecommender, which takes steps, is not measured on as many


class Rows:
    """Rows of features: log loss of classes, RMSE of ratings."""

    sign = -1

    def __init__(self, name, model, train, test):
        self.name, self.model, self.train, self.test = name, model, train, test
        self.metrics = ("log loss",) if is_classifier(model) else ("RMSE",)

    def inner(self):
        labels = self.train[1] if is_classifier(self.model) else None
        parts = train_test_split(*self.train, test_size=0.2, random_state=0, stratify=labels)
        return Rows(self.name, self.model, parts[::2], parts[1::2])

    def space(self, model):
        return search_space(model)

    def measure(self, model):
        return penalties.measure(model, self.train, self.test)[:1]


class Ratings:
    """RMSE of the ratings of pairs."""

    metrics = ("RMSE",)
    sign = -1

    def __init__(self, name, train, test, shape):
        self.name, self.train, self.test, self.shape = name, train, test, shape
        self.model = MFRecommender(random_state=0)

    @classmethod
    def of_table(cls, table):
        """Rows with a one-hot user and item, in which what is new has no feature."""
        is_user = table.fields == table.fields[0]

        def pairs(X, y):
            places = [
                np.where(part.getnnz(axis=1) > 0, np.asarray(part.argmax(axis=1)).ravel(), -1)
                for part in (X[:, is_user], X[:, ~is_user])
            ]
            return *places, y

        shape = np.count_nonzero(is_user), np.count_nonzero(~is_user)
        train, test = pairs(table.X, table.y), pairs(table.X_test, table.y_test)
        return cls(table.name, train, test, shape)

    def inner(self):
        is_test = np.random.default_rng(0).random(self.train[0].size) < 0.2
        parts = (tuple(column[part] for column in self.train) for part in (~is_test, is_test))
        return Ratings(self.name, *parts, self.shape)

    def space(self, model):
        return search_space(model)

    def measure(self, model):
        users, items, ratings = self.train
        X = sparse.csr_matrix((ratings.astype(np.float32), (users, items)), self.shape)
        users, items, truth = self.test
        predicted = model.fit(X).predict_pairs(X, users, items)
        return (root_mean_squared_error(truth, predicted.clip(ratings.min(), ratings.max())),)


class Choices:
    """What is hidden of users' choices, for `MFRecommender`."""

    metrics = ("Recall@20", "NDCG@10")
    sign = 1

    def __init__(self, matrix, model):
        self.name, self.model = matrix.name, model
        has_entries = np.diff(matrix.known.indptr) > 0
        self.known = matrix.known[has_entries].astype(np.float32)
        self.hidden = matrix.hidden[has_entries]

    def inner(self):
        return type(self)(
            Matrix(self.name, *split_entries(self.known, random_state=0)), self.model
        )

    def space(self, model):
        density = self.known.nnz / (self.known.shape[0] * np.unique(self.known.indices).size)
        weights = loguniform(density / 2, max(0.5, 20 * density))
        return search_space(model) | {"unobserved_weight": weights}

    def recommended(self, model, users):
        return model.fit(self.known).recommend(self.known[users], 20)[0]

    def measure(self, model):
        users = np.flatnonzero(np.diff(self.hidden.indptr))
        users = np.random.default_rng(0).permutation(users)[:MOST_JUDGED]
        items, hidden = self.recommended(model, users), self.hidden[users]
        return recall_at_k(hidden, items, k=20), ndcg_at_k(hidden, items, k=10)


class Events(Choices):
    """The same as events of one-hot users, for `FMRecommender`."""

    def space(self, model):
        return search_space(model) | {"max_iter": [5, 10, 20, 40, 100]}

    def recommended(self, model, users):
        contexts = sparse.eye(self.known.shape[0], format="csr", dtype=np.float32)
        entries = self.known.tocoo()
        model.set_params(item_ids=np.arange(self.known.shape[1]))
        return model.fit(contexts[entries.row], entries.col).recommend(contexts[users], 20)[0]


def compare_rows(classifier, regressor, options):
    def task(table, model):
        return Rows(table.name, model, (table.X, table.y), (table.X_test, table.y_test))

    kind = type(classifier).__name__
    tables = load_all(CLASSES, options.data_home)
    print_table(kind, (task(table, classifier) for table in tables), options.candidates)
    tables = (*load_all(RATINGS, options.data_home), *map(load_fold, (1, 2)))
    kind = type(regressor).__name__
    print_table(kind, (task(table, regressor) for table in tables), options.candidates)


def compare_fm(options):
    compare_rows(FMClassifier(random_state=0), FMRegressor(random_state=0), options)


def compare_bayes(options):
    options = argparse.Namespace(**{**vars(options), "candidates": 6})  # the whole space
    models = (kind(random_state=0) for kind in (BayesianFMClassifier, BayesianFMRegressor))
    compare_rows(*models, options)


def compare_mf(options):
    model = MFRecommender(feedback="implicit", random_state=0)
    matrices = load_all(CHOICES, options.data_home)
    tasks = (Choices(matrix, model) for matrix in matrices)
    print_table("choices", tasks, options.candidates, max_iter=10)
    tables = (
        *load_all((*RATINGS, load_magazine_ratings), options.data_home),
        *map(load_fold, (1, 2)),
    )
    print_table("ratings", map(Ratings.of_table, tables), options.candidates)


def compare_ranking(options):
    matrices = [m for m in load_all(CHOICES, options.data_home) if m.known.nnz < LARGE]
    for loss in ("warp", "bpr", "logistic"):
        model = FMRecommender(loss=loss, random_state=0)
        tasks = (Events(matrix, clone(model)) for matrix in matrices)
        print_table(loss, tasks, options.candidates)


PARTS = {
    "fm": compare_fm,
    "bayes": compare_bayes,
    "mf": compare_mf,
    "ranking": compare_ranking,
    "neighbours": lambda options: default_neighbours.main(options.data_home),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--data-home", default=".", help="folder with clones: see real_data.py")
    parser.add_argument("--candidates", type=int, default=40)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    for part in options.part:
        PARTS[part](options)


if __name__ == "__main__":
    main()
