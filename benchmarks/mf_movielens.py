"""Accuracy of matrix factorization on MovieLens-100k: RMSE of ratings, ranking of likes.

    python benchmarks/mf_movielens.py [--parts explicit implicit] [--splits 1] [--tune]

explicit: mean test RMSE on the five classic folds u1 to u5, predictions clipped to 1..5. skfm
runs with what --tune finds best (CHOSEN) on inner splits of u1's training rows only: blocks of an
eighth in the original order, as the folds themselves are. So u1 is clean; the training rows of u1
are test rows of the other folds. The others run with parameters known to be good on this data:
Surprise's SVD with 50 factors, 60 epochs, rate 0.01 and penalty 0.1, and with its defaults;
cornac's MF with the same; cmfrec's CMF with 30 factors and penalty 15, by Cholesky.

implicit: ratings of 4 and 5 are likes, all else is unobserved. A fifth of each user's likes is
hidden; NDCG@10 and Recall@20 of the rest of the catalogue. For each tool, factors, weight of the
unobserved, penalty and, where it has it, the power nu are searched on a grid (what they mean:
mf_peers.py). A fifth of each
user's visible likes is hidden once more for that, NDCG@10 decides, and the tool is fitted once on
all visible likes. Each fit runs 20 iterations, the peers by their exact solvers. One code ranks
for all: user factors solved for the item factors, products, visible likes left out. "to skfm" is
the mean difference in NDCG@10 and its standard error over users. The search picks among settings
that are about as good, by chance: take means of several --splits for fine differences.
"""

import argparse
from itertools import product

import numpy as np
from mf_peers import (
    IMPLICIT_TOOLS,
    Cornac,
    ExplicitCmfrec,
    ExplicitSkfm,
    Surprise,
    installed,
    rank_items,
    seconds,
)
from scipy import sparse
from sklearn.metrics import root_mean_squared_error
from sklearn.model_selection import KFold

from skfm.datasets import fetch_movielens_100k
from skfm.metrics import ndcg_at_k, recall_at_k
from skfm.model_selection import split_entries

# By solver of MFRecommender, found with --tune.
CHOSEN = {
    "sgd": {
        "n_components": 64,
        "alpha": 0.8,
        "learning_rate": 0.05,
        "init_scale": 0.05,
        "max_iter": 14,
    },
    "als": {"n_components": 128, "alpha": 1.0, "init_scale": 0.03, "max_iter": 4},
}
EXPLICIT_GRID = {  # narrowed down by wider ones on the same inner splits
    "sgd": {
        "n_components": (32, 64),
        "alpha": (0.8, 1.0),
        "learning_rate": (0.05,),
        "init_scale": (0.05,),
        "max_iter": (10, 14, 18),
    },
    "als": {
        "n_components": (64, 128),
        "alpha": (1.0, 1.1, 1.2),
        "init_scale": (0.03,),
        "max_iter": (4, 6, 8),
    },
}

N_ITERATIONS = 20
UNOBSERVED = (0.05, 0.1, 0.2, 0.4)
PENALTIES = (0.01, 0.02, 0.04)
FACTORS = (32, 64, 128)
IMPLICIT = ("skfm", "implicit, Cholesky", "irspack, Cholesky", "cmfrec, Cholesky")


def to_matrix(frame):
    """Ratings as users x items; all of both have their place, seen or not."""
    places = frame["user_id"] - 1, frame["item_id"] - 1
    return sparse.csr_matrix((frame["rating"].to_numpy(), places), shape=(943, 1682))


def clipped_rmse(predict, frame):
    users, items = (frame[name].to_numpy() - 1 for name in ("user_id", "item_id"))
    return root_mean_squared_error(frame["rating"], np.clip(predict(users, items), 1, 5))


# --- ratings --------------------------------------------------------------------------------


def make_skfm(solver, n_components, max_iter, **settings):
    """A tool and its number of epochs."""
    return ExplicitSkfm(n_components, None, solver=solver, **settings), max_iter


def explicit_tools():
    tools = {f"skfm {solver}": make_skfm(solver, **CHOSEN[solver]) for solver in CHOSEN}
    tools |= {
        "Surprise SVD, defaults": (Surprise(100, 1), 20),
        "Surprise SVD, tuned": (Surprise(50, 1, lr_all=0.01, reg_all=0.1), 60),
        "cornac MF": (Cornac(50, 1, learning_rate=0.01, lambda_reg=0.1), 60),
        "cmfrec CMF": (ExplicitCmfrec(30, 1, lambda_=15.0, use_cg=False), 10),
    }
    available = installed({name: tool for name, (tool, _) in tools.items()})
    return {name: tools[name] for name in available}


def compare_explicit(frame):
    print(f"{'RMSE':<24}{'u1':>8}{'u2':>8}{'u3':>8}{'u4':>8}{'u5':>8}{'mean':>8}{'s/fit':>8}")
    for name, (tool, n_epochs) in explicit_tools().items():
        errors, durations = [], []
        for fold in range(5):
            is_test = np.arange(len(frame)) // 20_000 == fold
            duration, predict = seconds(tool.fit, to_matrix(frame[~is_test]), n_epochs)
            durations.append(duration)
            errors.append(clipped_rmse(predict, frame[is_test]))
        print(
            f"{name:<24}{''.join(f'{error:>8.4f}' for error in errors)}{np.mean(errors):>8.4f}"
            f"{np.median(durations):>8.2f}",
            flush=True,
        )


def tune_explicit(frame):
    """On u1's training rows, the last 80,000."""
    frame = frame[20_000:]
    for solver, grid in EXPLICIT_GRID.items():
        tried = []
        for values in product(*grid.values()):
            settings = dict(zip(grid, values, strict=True))
            tool, n_epochs = make_skfm(solver, **settings)
            errors = []
            for train, test in KFold(8).split(frame):
                predict = tool.fit(to_matrix(frame.iloc[train]), n_epochs)
                errors.append(clipped_rmse(predict, frame.iloc[test]))
            tried.append((np.mean(errors), settings))
            print(f"{solver}: {settings}: {tried[-1][0]:.4f}", flush=True)
        print(f'    "{solver}": {min(tried, key=lambda pair: pair[0])[1]},', flush=True)


# --- likes ----------------------------------------------------------------------------------


def rank(tool, X):
    return rank_items(tool.solve_users(X), tool.item_factors(), X, 20)


def search(make, X, split):
    """The best settings of the grid on hidden entries of X."""
    X, hidden = split_entries(X, 0.2, random_state=split)
    scores = {}
    for settings in product(FACTORS, UNOBSERVED, PENALTIES, make.powers):
        tool = make(*settings, n_threads=2)
        tool.fit(X, N_ITERATIONS)
        scores[settings] = ndcg_at_k(hidden, rank(tool, X), 10)
    return max(scores, key=scores.get)


def show_choice(split, name, chosen):
    axes = {"factors": FACTORS, "unobserved": UNOBSERVED, "penalty": PENALTIES}
    words = [f"nu {chosen[-1]}"]
    for (axis, values), value in zip(axes.items(), chosen[:-1], strict=True):
        at_edge = value in (values[0], values[-1])
        words.append(f"{axis} {value}{' (edge of the grid)' if at_edge else ''}")
    print(f"split {split}: {name}: {', '.join(words)}", flush=True)


def compare_implicit(frame, n_splits):
    likes = to_matrix(frame[frame["rating"] >= 4]).astype(np.float32)
    likes.data[:] = 1
    tools = installed({name: IMPLICIT_TOOLS[name] for name in IMPLICIT})
    results = {name: [] for name in [*tools, "popularity"]}

    def judge(name, hidden, ranked, duration=0.0):
        """By user: whoever has a hidden like in one split has one in each."""
        ndcg = ndcg_at_k(hidden, ranked, 10, average=False)
        results[name].append((ndcg, recall_at_k(hidden, ranked, 20), duration))

    for split in range(n_splits):
        X, hidden = split_entries(likes, 0.2, random_state=split)
        for name, make in tools.items():
            chosen = search(make, X, split)
            show_choice(split, name, chosen)
            tool = make(*chosen, n_threads=2)
            duration, _ = seconds(tool.fit, X, N_ITERATIONS)
            judge(name, hidden, rank(tool, X), duration)
        popularity = np.asarray(X.sum(axis=0)).T
        judge("popularity", hidden, rank_items(np.ones((X.shape[0], 1)), popularity, X, 20))
    print(f"{'likes':<20}{'NDCG@10':>9}{'Recall@20':>11}{'to skfm':>19}{'s/fit':>8}")
    ours = np.mean([ndcg for ndcg, _, _ in results["skfm"]], axis=0)
    for name, splits in results.items():
        ndcg, recall, duration = (np.mean(part, axis=0) for part in zip(*splits, strict=True))
        difference = ndcg - ours
        error = difference.std() / np.sqrt(difference.size)
        print(
            f"{name:<20}{ndcg.mean():>9.4f}{recall:>11.4f}"
            f"{difference.mean():>+10.4f} ± {error:.4f}{duration:>8.2f}"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = ("explicit", "implicit")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--splits", type=int, default=1, help="of the likes")
    parser.add_argument("--tune", action="store_true", help="search CHOSEN and stop")
    options = parser.parse_args()
    frame = fetch_movielens_100k().frame
    if options.tune:
        tune_explicit(frame)
        return
    if "explicit" in options.parts:
        compare_explicit(frame)
    if "implicit" in options.parts:
        compare_implicit(frame, options.splits)


if __name__ == "__main__":
    main()
