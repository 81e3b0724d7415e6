"""FMRecommender beside LightFM and implicit on MovieLens-100k: ranking, new films, time.

    python benchmarks/ranking.py [--parts ranking cold directors time large defaults]
        [--cold-splits 3]

Ratings of 4 and 5 are likes. One thread each; a peer that is not installed is skipped.

ranking: a fifth of each user's likes is hidden, seeded; NDCG@10 and Recall@20 among all films but
the visible likes. Each tool has 36 settings: 32 or 64 components, three penalties, two learning
rates, three numbers of epochs (GRIDS; each in the tool's own units). A fifth of each user's
visible likes is hidden once more for the choice, NDCG@10 decides, and the tool is fitted once on
all visible likes. "edge": the choice lies at an edge of the penalties or epochs.

cold: a fifth of the films, seeded, is withheld from training altogether; NDCG@10 among these films
for all users who like some. Features: genres, the decade, and in training one of each film's own.
LightFM predicts withheld films without that, for it would be an untrained one. Chosen by a fifth
of the training films, withheld in the same way, from 12 settings each. "with noise": the same
settings, ten more columns of standard normal noise.

directors: the same on generated data, 1000 users, 40 likes each, of 600 films that have a director
each, one-hot; a director has 3, 5 or 15 films and 70 % of what makes up their tastes. The noise is
as many columns of the same kind that say nothing.

time: seconds an epoch at 32 components, median of alternating repeats: fits of 22 epochs less fits
of 2, divided by 20; and whole fits of 20 epochs.

large: the same on generated data, 50,000 users, 20 likes each, of 20,000 films with a genre each;
fits of 6 epochs less fits of 2.

defaults: how those of the penalties were found. NDCG@10 of a fifth of each user's training likes
on MovieLens (likes, a third of them, all ratings) and two sets of generated data, and of films
withheld from training films (sum of three splits); each as a share of the best of a loss, and the
mean of these shares.
"""

import argparse
import sys
import time
import warnings
from importlib.util import find_spec
from itertools import product

import numpy as np
import pandas as pd
from scipy import sparse

from skfm import FMRecommender
from skfm.datasets import fetch_movielens_100k
from skfm.metrics import ndcg_at_k, recall_at_k
from skfm.model_selection import split_entries

warnings.filterwarnings("ignore")
N_USERS, N_FILMS = 943, 1682  # of MovieLens
COMPONENTS = (32, 64)


class Skfm:
    package = "skfm"

    def __init__(self, loss, n_components, penalty, rate, films=None):
        self.options = {"n_components": n_components, "loss": loss, "alpha": penalty}
        self.options |= {"learning_rate": rate, "item_features": films, "tol": 0}

    def scores(self, likes, epochs):
        """Scores of all users and films after each number of epochs."""
        users = sparse.eye(likes.shape[0], format="csr", dtype=np.float32)
        for n in epochs:
            model = self.fit(likes, n)
            yield n, model.user_vectors(users) @ model.item_vectors().T

    def fit(self, likes, n_epochs):
        entries = likes.tocoo()
        users = sparse.eye(likes.shape[0], format="csr", dtype=np.float32)
        ids = np.arange(likes.shape[1]) if self.options["item_features"] is None else None
        model = FMRecommender(**self.options, max_iter=n_epochs, random_state=0, item_ids=ids)
        return model.fit(users[entries.row], entries.col)


class LightFM:
    package = "lightfm"

    def __init__(self, loss, n_components, penalty, rate, films=None):
        import lightfm

        self.films = films
        self.model = lightfm.LightFM(
            n_components,
            loss=loss,
            learning_rate=rate,
            item_alpha=penalty,
            user_alpha=penalty,
            random_state=0,
        )

    def scores(self, likes, epochs):
        known = None
        if self.films is not None:
            given = sparse.csr_matrix(self.films.to_numpy(np.float32))
            trained = np.asarray(likes.sum(axis=0)).ravel() > 0
            known = sparse.hstack([sparse.diags(trained.astype(np.float32)), given], format="csr")
        done = 0
        for n in epochs:
            self.fit(likes, n - done)
            done = n
            _, users = self.model.get_user_representations()
            bias, items = self.model.get_item_representations(known)
            yield n, users @ items.T + bias

    def fit(self, likes, n_epochs):
        features = None
        if self.films is not None:
            given = sparse.csr_matrix(self.films.to_numpy(np.float32))
            own = sparse.eye(likes.shape[1], format="csr", dtype=np.float32)
            features = sparse.hstack([own, given], format="csr")
        return self.model.fit_partial(likes.tocoo(), item_features=features, epochs=n_epochs)


class Implicit:
    package = "implicit"

    def __init__(self, loss, n_components, penalty, rate):
        self.options = {"factors": n_components, "regularization": penalty}
        self.options |= {"learning_rate": rate, "random_state": 0, "num_threads": 1}

    def scores(self, likes, epochs):
        from implicit.cpu.bpr import BayesianPersonalizedRanking

        for n in epochs:
            model = BayesianPersonalizedRanking(iterations=n, **self.options)
            model.fit(likes.tocsr(), show_progress=False)
            yield n, model.user_factors @ model.item_factors.T


# Tool, loss, penalties, rates, epochs.
GRIDS = {
    "skfm warp": (Skfm, "warp", (0.5, 1.0, 2.0), (0.05, 0.1), (10, 20, 40)),
    "skfm bpr": (Skfm, "bpr", (0.1, 0.2, 0.4), (0.05, 0.1), (20, 40, 80)),
    "skfm logistic": (Skfm, "logistic", (0.3, 0.6, 1.0), (0.05, 0.1), (10, 20, 40)),
    "LightFM warp": (LightFM, "warp", (0.0, 1e-5, 1e-4), (0.02, 0.05), (10, 20, 40)),
    "LightFM bpr": (LightFM, "bpr", (0.0, 1e-5, 1e-4), (0.02, 0.05), (20, 40, 80)),
    "implicit bpr": (Implicit, "bpr", (0.01, 0.03, 0.1), (0.02, 0.05), (40, 100, 200)),
}
COLD = {
    "skfm warp": (Skfm, "warp", (0.1, 0.3, 1.0), (0.1,), (10, 30)),
    "skfm bpr": (Skfm, "bpr", (0.03, 0.1, 0.3), (0.1,), (10, 30)),
    "skfm logistic": (Skfm, "logistic", (0.1, 0.3, 1.0), (0.1,), (10, 30)),
    "LightFM warp": (LightFM, "warp", (0.0, 1e-5, 1e-4), (0.05,), (10, 30)),
    "LightFM bpr": (LightFM, "bpr", (0.0, 1e-5, 1e-4), (0.05,), (10, 30)),
}


DEFAULTS = {
    "warp": (0.3, 0.5, 1.0, 2.0),
    "bpr": (0.1, 0.2, 0.3, 0.5),
    "logistic": (0.2, 0.3, 0.5, 0.7),
}


def installed(tools):
    missing = {make.package for make, *_ in tools.values() if not find_spec(make.package)}
    for package in sorted(missing):
        print(f"{package} is not installed, skipped", file=sys.stderr)
    return {name: tool for name, tool in tools.items() if tool[0].package not in missing}


def load(lowest=4):
    data = fetch_movielens_100k()
    liked = data.frame[data.frame["rating"] >= lowest]
    places = liked["user_id"] - 1, liked["item_id"] - 1
    values = np.ones(len(liked), np.float32)
    return sparse.csr_matrix((values, places), (N_USERS, N_FILMS)), data["items"]


def best(scores, n, allowed):
    """The first items. Equal scores are in an order drawn once: films of the same genres and
    decade would else come by their number, which tells something of their popularity."""
    order = np.random.default_rng(0).permutation(scores.shape[1])
    scores = np.where(allowed, scores, -np.inf)[:, order]
    return order[np.argsort(-scores, axis=1, kind="stable")[:, :n]]


def choose(tool, components, judge, likes, **options):
    """The best setting, its number of epochs last."""
    make, loss, penalties, rates, epochs = tool
    tried = {}
    for setting in product(components, penalties, rates):
        for n, scores in make(loss, *setting, **options).scores(likes, epochs):
            tried[*setting, n] = judge(scores)
    chosen = max(tried, key=tried.get)
    edge = chosen[1] in (penalties[0], penalties[-1]) or chosen[-1] in (epochs[0], epochs[-1])
    return chosen, " edge" if edge else ""


def compare_ranking(likes):
    visible, hidden = split_entries(likes, 0.2, random_state=0)
    inner, inner_hidden = split_entries(visible, 0.2, random_state=0)

    def judge(scores):
        return ndcg_at_k(inner_hidden, best(scores, 10, inner.toarray() == 0), 10)

    heads = f"{'NDCG@10':>9}{'Recall@20':>11}{'to the first':>20}{'s/fit':>8}"
    print(f"{'ranking':<16}{heads}  chosen")
    ours = None
    for name, tool in installed(GRIDS).items():
        make, loss = tool[:2]
        chosen, edge = choose(tool, COMPONENTS, judge, inner)
        began = time.perf_counter()
        ((_, scores),) = make(loss, *chosen[:-1]).scores(visible, [chosen[-1]])
        seconds = time.perf_counter() - began
        ranked = best(scores, 20, visible.toarray() == 0)
        ndcg = ndcg_at_k(hidden, ranked, 10, average=False)
        ours = ndcg if ours is None else ours
        difference, error = (ndcg - ours).mean(), (ndcg - ours).std() / np.sqrt(ndcg.size)
        print(
            f"{name:<16}{ndcg.mean():>9.4f}{recall_at_k(hidden, ranked, 20):>11.4f}"
            f"{difference:>+11.4f} ± {error:.4f}{seconds:>8.2f}  {chosen}{edge}",
            flush=True,
        )


def withhold(likes, seed, among):
    """Likes of a fifth of the films among these set aside, and which ones."""
    films = np.random.default_rng(seed).permutation(among)[: len(among) // 5]
    is_cold = np.isin(np.arange(likes.shape[1]), films)
    train, test = likes.tolil(copy=True), likes.tolil(copy=True)
    train[:, is_cold], test[:, ~is_cold] = 0, 0
    return train.tocsr(), test.tocsr(), is_cold


def describe(films):
    names = sorted({genre for genres in films["genres"] for genre in genres})
    flags = {name: [float(name in genres) for genres in films["genres"]] for name in names}
    decades = pd.get_dummies((films["year"] // 10).fillna(0), prefix="decade", dtype=float)
    table = pd.DataFrame(flags).join(decades.reset_index(drop=True))
    return table.set_axis(np.arange(N_FILMS))


def compare_cold(title, likes, features, noise, n_splits):
    noisy = features.join(pd.DataFrame(noise, features.index).add_prefix("noise "))
    tools = installed(COLD)
    results = {name: [] for name in ["random", *tools]}
    for split in range(n_splits):
        train, test, is_cold = withhold(likes, split, np.arange(likes.shape[1]))
        inner, inner_test, inner_cold = withhold(train, split, np.flatnonzero(~is_cold))
        rng = np.random.default_rng(split)
        random = [
            ndcg_at_k(test, best(rng.random(likes.shape), 10, is_cold), 10) for _ in range(20)
        ]
        results["random"].append((np.mean(random), np.mean(random)))

        def judge(scores, test=inner_test, allowed=inner_cold):
            return ndcg_at_k(test, best(scores, 10, allowed), 10)

        for name, tool in tools.items():
            make, loss = tool[:2]
            chosen, _ = choose(tool, (8, 32), judge, inner, films=features)
            both = []
            for table in (features, noisy):
                fitted = make(loss, *chosen[:-1], films=table)
                ((_, scores),) = fitted.scores(train, [chosen[-1]])
                both.append(judge(scores, test, is_cold))
            results[name].append(both)
            print(f"split {split}: {name}: {chosen}", file=sys.stderr, flush=True)
    print(f"{title:<16}{'NDCG@10':>9}{'with noise':>12}{'change':>9}")
    for name, values in results.items():
        plain, noisy = np.mean(values, axis=0)
        print(f"{name:<16}{plain:>9.4f}{noisy:>12.4f}{noisy / plain - 1:>9.1%}", flush=True)


def make_likes(n_users, n_films, n_each, n_kinds, share, seed):
    """Likes drawn by popularity and taste, and each film's kind.

    Of the variance of films' tastes, this share is their kind's.
    """
    rng = np.random.default_rng(seed)
    kind = np.arange(n_films) % n_kinds
    films = np.sqrt(share) * rng.normal(size=(n_kinds, 6))[kind]
    films += np.sqrt(1 - share) * rng.normal(size=(n_films, 6))
    popularity = rng.normal(size=n_films)
    liked = []
    for start in range(0, n_users, 1000):
        users = rng.normal(size=(min(1000, n_users - start), 6))
        scores = users @ films.T + popularity + rng.gumbel(size=(len(users), n_films))
        liked.append(np.argpartition(-scores, n_each, axis=1)[:, :n_each])
    places = np.repeat(np.arange(n_users), n_each), np.concatenate(liked).ravel()
    values = np.ones(places[0].size, np.float32)
    return sparse.csr_matrix((values, places), (n_users, n_films)), kind


def compare_directors(n_splits):
    for n_each in (3, 5, 15):
        likes, director = make_likes(1000, 600, 40, 600 // n_each, 0.7, seed=n_each)
        useless = np.random.default_rng(0).permutation(director)
        features, noise = (pd.get_dummies(kind, dtype=float) for kind in (director, useless))
        compare_cold(f"{n_each} a director", likes, features, noise, n_splits)


def compare_time(title, likes, n_long, n_repeats, features=None):
    times = {}
    tools = {name: tool for name, tool in installed(GRIDS).items() if "implicit" not in name}
    for _ in range(n_repeats + 1):  # the first one compiles
        for name, (make, loss, penalties, rates, _) in tools.items():
            took = []
            for n in (2, 2 + n_long, n_long):
                began = time.perf_counter()
                make(loss, 32, penalties[1], rates[0], features).fit(likes, n)
                took.append(time.perf_counter() - began)
            times.setdefault(name, []).append(((took[1] - took[0]) / n_long, took[2]))
    print(f"{title:<16}{'s an epoch':>12}{f'{n_long} epochs, s':>14}")
    for name, values in times.items():
        epoch, fit = np.median(values[1:], axis=0)
        print(f"{name:<16}{epoch:>12.4f}{fit:>14.3f}", flush=True)


def compare_large():
    likes, genre = make_likes(50_000, 20_000, 20, 20, 0.3, seed=0)
    compare_time("1,000,000 likes", likes, 4, 2)
    genres = pd.get_dummies(genre, dtype=float)
    compare_time("with genres", likes, 4, 2, genres)


def compare_defaults():
    (likes, films), (ratings, _) = load(), load(lowest=1)
    features = describe(films)
    sets = {
        "likes": likes,
        "a third": split_entries(likes, 2 / 3, random_state=0)[0],
        "ratings": ratings,
        "dense": make_likes(1000, 600, 40, 120, 0.7, seed=0)[0],
        "sparse": make_likes(3000, 2000, 12, 20, 0.3, seed=1)[0],
    }
    tasks = {}  # what to train on, what is hidden, among which films, and their features
    for name, matrix in sets.items():
        train, _ = split_entries(matrix, 0.2, random_state=0)
        inner, hidden = split_entries(train, 0.2, random_state=0)
        tasks[name] = [(inner, hidden, inner.toarray() == 0, None)]
    tasks["new films"] = []
    for split in range(3):
        train, _, is_cold = withhold(likes, split, np.arange(N_FILMS))
        tasks["new films"].append((*withhold(train, split, np.flatnonzero(~is_cold)), features))
    heads = "".join(f"{name:>10}" for name in tasks)
    print(f"{'loss, alpha, alpha_linear':<28}{'mean':>7}{heads}")
    for loss, penalties in DEFAULTS.items():
        settings = list(product(penalties, (5.0, 10.0, 30.0)))
        found = np.zeros((len(settings), len(tasks)))
        for row, (alpha, linear) in enumerate(settings):
            for column, several in enumerate(tasks.values()):
                for inner, hidden, allowed, table in several:
                    tool = Skfm(loss, 32, alpha, "auto", table)
                    tool.options |= {"alpha_linear": linear, "tol": 1e-4}
                    ((_, scores),) = tool.scores(inner, [100])
                    found[row, column] += ndcg_at_k(hidden, best(scores, 10, allowed), 10)
        found /= found.max(axis=0)
        for (alpha, linear), shares in zip(settings, found, strict=True):
            each = "".join(f"{share:>10.3f}" for share in shares)
            name = f"{loss}, {alpha}, {linear}"
            print(f"{name:<28}{shares.mean():>7.3f}{each}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = ("ranking", "cold", "directors", "time", "large", "defaults")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--cold-splits", type=int, default=3)
    options = parser.parse_args()
    likes, films = load()
    if "ranking" in options.parts:
        compare_ranking(likes)
    if "cold" in options.parts:
        noise = np.random.default_rng(0).normal(size=(N_FILMS, 10))
        compare_cold("new films", likes, describe(films), noise, options.cold_splits)
    if "directors" in options.parts:
        compare_directors(options.cold_splits)
    if "time" in options.parts:
        compare_time("time", likes, 20, 5)
    if "large" in options.parts:
        compare_large()
    if "defaults" in options.parts:
        compare_defaults()


if __name__ == "__main__":
    main()
