"""What the defaults of MFRecommender give on test cells, beside a random search.

    python benchmarks/defaults_recommenders.py --data-home FOLDER

The folder is that of `real_data.py`; without one, only MovieLens-100k is measured. For each set, a
fifth of the training cells is hidden again, and the parameters of `search_space` are searched on
this inner split: `--candidates` random settings, judged after ten iterations at most. The best one
and the defaults are then fitted on all training cells and measured once on the test cells. The
regret is how far the defaults are behind the search; it is negative where they are ahead.

- Choices: Recall@20 and NDCG@10, of the search for Recall@20.
- Ratings: RMSE, predictions clipped to the range of the training ratings.

Three sets (lastfm, toys, music) have a single hidden item a user, so that differences of a few
percent mean little there.
"""

import argparse
import time
import warnings

import numpy as np
from real_data import CHOICES, RATINGS, Matrix, load_all, load_fold, split_matrix
from scipy import sparse
from scipy.stats import loguniform
from sklearn.base import clone
from sklearn.metrics import root_mean_squared_error
from sklearn.model_selection import ParameterSampler

from skfm import MFRecommender
from skfm.datasets import fetch_movielens_100k
from skfm.metrics import ndcg_at_k, recall_at_k
from skfm.model_selection import search_space, split_cells

warnings.filterwarnings("ignore")
MOST_JUDGED = 3000  # users


def load_likes_100k(home=None):
    frame = fetch_movielens_100k().frame
    liked = frame[frame["rating"] >= 4]
    return split_matrix("100k likes", liked["user_id"], liked["item_id"])


class Choices:
    """Recall@20 of hidden cells, and NDCG@10; more is better."""

    model = MFRecommender(feedback="implicit", random_state=0)
    sign = 1

    def __init__(self, matrix):
        self.name = matrix.name
        has_cells = np.diff(matrix.known.indptr) > 0
        self.known = matrix.known[has_cells].astype(np.float32)
        self.hidden = matrix.hidden[has_cells]

    def inner(self):
        return Choices(Matrix(self.name, *split_cells(self.known, random_state=0)))

    def space(self, model):
        density = self.known.nnz / (self.known.shape[0] * np.unique(self.known.indices).size)
        weights = loguniform(density / 2, max(0.5, 20 * density))
        return search_space(model) | {"unobserved_weight": weights}

    def measure(self, model):
        model.fit(self.known)
        judged = np.flatnonzero(np.diff(self.hidden.indptr))
        judged = np.random.default_rng(0).permutation(judged)[:MOST_JUDGED]
        items, _ = model.recommend(self.known[judged], 20)
        hidden = self.hidden[judged]
        return recall_at_k(hidden, items, k=20), ndcg_at_k(hidden, items, k=10)


class Ratings:
    """RMSE of the ratings of pairs; less is better."""

    model = MFRecommender(random_state=0)
    sign = -1

    def __init__(self, name, train, test, shape):
        self.name, self.train, self.test, self.shape = name, train, test, shape

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


def search(task, n_candidates):
    """The setting that is best on the inner split."""
    inner = task.inner()
    model = clone(task.model).set_params(max_iter=10)
    settings = list(ParameterSampler(inner.space(model), n_candidates, random_state=0))
    found = [inner.measure(clone(model).set_params(**setting))[0] for setting in settings]
    return settings[int(np.argmax(task.sign * np.array(found)))]


def report(task, n_candidates):
    began = time.perf_counter()
    default = clone(task.model)
    measured = task.measure(default)
    seconds = time.perf_counter() - began
    setting = search(task, n_candidates)
    tuned = task.measure(clone(task.model).set_params(**setting))
    each = "".join(
        f"{one:>9.4f}{best:>9.4f}{task.sign * (1 - one / best):>9.1%}"
        for one, best in zip(measured, tuned, strict=True)
    )
    numbers = {name: float(f"{value:.3g}") for name, value in setting.items()}
    used = f"alpha {default.alpha_:.3g}, unobserved_weight {default.unobserved_weight_:.3g}"
    print(f"{task.name:<12}{each}{seconds:>8.1f}  {used}; tuned: {numbers}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-home", default=".")
    parser.add_argument("--candidates", type=int, default=40)
    options = parser.parse_args()
    heads = f"{'default':>9}{'tuned':>9}{'regret':>9}"
    print(f"{'choices':<12}{'Recall@20':>27}{'NDCG@10':>27}\n{'':<12}{heads * 2}{'s':>8}")
    for matrix in load_all((load_likes_100k, *CHOICES), options.data_home):
        report(Choices(matrix), options.candidates)
    print(f"{'ratings':<12}{'RMSE':>27}\n{'':<12}{heads}{'s':>8}")
    for table in load_all(RATINGS, options.data_home):
        report(Ratings.of_table(table), options.candidates)
    for fold in (1, 2):
        report(Ratings.of_table(load_fold(fold)), options.candidates)


if __name__ == "__main__":
    main()
