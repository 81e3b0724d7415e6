"""Users per second for whom skfm, implicit and irspack find the ten best items they have not seen.

    python benchmarks/mf_recommend.py [--users 138000] [--items 27000] [--entries 10000000]
                                      [--factors 64] [--iterations 3] [--threads 2] [--repeats 5]
                                      [--events 1000000]

Data as in mf_implicit.py. Each tool is fitted for a few iterations, then recommends to all users,
seen items excluded. Repeats of the tools alternate, medians are shown; a first call of each does
not count.

- skfm: ``recommend(X)``, which first folds the users in: it keeps no factors of users. How long
  that takes is shown apart (``transform(X)``), and the speed without it.
- implicit: ``recommend`` in batches of 1000 users and for all at once, on --threads threads and
  on all cores (num_threads=0), with one BLAS thread, as it asks for, and with BLAS's own number.
- irspack: ``get_score_remove_seen_block`` and its ``retrieve_recommend_from_score``, in blocks of
  100, 300 and 1000 users.

The factors of users that implicit and irspack use are from their fits. Both run in their fastest
way, found on 10,000 users. "as planned" is the share of recommended items which are the same as
by the tool's own factors, multiplied and ranked in NumPy, for 1000 users.

At the end, the milliseconds that one user takes, asked for alone: of MFRecommender and implicit
with the fold-in of the user's row, of implicit also with the factors of its fit, and of
FMRecommender, which is fitted for one epoch on --events of the entries, users being one-hot.
"""

import argparse
import os
import tempfile
from contextlib import nullcontext
from itertools import product

import numpy as np
from mf_implicit import data_file, ensure_data, load_training, make_tool
from mf_peers import IMPLICIT_TOOLS, installed, rank_items, seconds
from scipy import sparse

N_ITEMS = 10
N_TRIED = 10_000
N_COMPARED = 1000
N_SINGLE = 500


class Skfm:
    tool = "skfm"

    def ways(self, n_threads):
        return {"recommend(X)": self.recommend}

    def recommend(self, model, X, n_users):
        return model.recommend(X[:n_users] if n_users < X.shape[0] else X, N_ITEMS)[0]


class Implicit:
    tool = "implicit, CG"

    def ways(self, n_threads):
        """On all cores only if they are as many as asked for."""
        threads = [n_threads] + [0] * (n_threads == os.cpu_count())
        return {
            f"num_threads={n}, {f'batches of {batch}' if batch else 'all at once'}, "
            f"{'one BLAS thread' if limited else 'BLAS as it is'}": self.way(n, batch, limited)
            for n, batch, limited in product(threads, (1000, None), (True, False))
        }

    def way(self, n_threads, batch, limited):
        def recommend(model, X, n_users):
            model.num_threads = n_threads
            found = []
            with one_blas_thread() if limited else nullcontext():
                for start in range(0, n_users, batch or n_users):
                    users = np.arange(start, min(n_users, start + (batch or n_users)))
                    seen = X[users[0] : users[-1] + 1]
                    found.append(model.recommend(users, seen, N=N_ITEMS)[0])
            return np.concatenate(found)

        return recommend


class Irspack:
    tool = "irspack, CG"

    def ways(self, n_threads):
        return {f"blocks of {n} users": self.way(n_threads, n) for n in (100, 300, 1000)}

    def way(self, n_threads, block):
        from irspack.utils.id_mapping import retrieve_recommend_from_score

        def recommend(model, X, n_users):
            found = []
            for start in range(0, n_users, block):
                scores = model.get_score_remove_seen_block(start, min(n_users, start + block))
                found += retrieve_recommend_from_score(scores, [], N_ITEMS, n_threads)
            return found

        return recommend


def positions(found):
    """Of irspack's lists of (item, score), the items."""
    if isinstance(found, list):
        found = [[item for item, _ in row] for row in found]
    return np.asarray(found)


def share_as_planned(tool, found, X):
    X = X[:N_COMPARED]
    users = tool.user_factors(np.arange(X.shape[0]), X)
    planned = rank_items(users, tool.item_factors(), X, N_ITEMS)
    found = positions(found[:N_COMPARED])
    return np.mean([np.isin(*both).mean() for both in zip(found, planned, strict=True)])


def fit_ranker(X, n_factors, n_events, n_threads):
    """FMRecommender on some of the entries, and its contexts: the users, one-hot."""
    from skfm import FMRecommender

    contexts = sparse.eye(X.shape[0], format="csr", dtype=np.float32)
    entries = X.tocoo()
    chosen = np.random.default_rng(0).permutation(X.nnz)[:n_events]
    model = FMRecommender(n_factors, max_iter=1, random_state=0, n_jobs=n_threads)
    return model.fit(contexts[entries.row[chosen]], entries.col[chosen]), contexts


def ask_one_by_one(recommend, rows):
    """Milliseconds of each call."""
    recommend(rows[0])
    return [1000 * seconds(recommend, row)[0] for row in rows]


def one_blas_thread():
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, "blas")


def print_latencies(tools, X, options):
    users = np.random.default_rng(0).permutation(X.shape[0])[:N_SINGLE]
    rows = [X[user] for user in users]
    ways = {}
    if "skfm" in tools:
        model = tools["skfm"].model
        ways["MFRecommender"] = (lambda row: model.recommend(row, N_ITEMS)), rows
        ranker, contexts = fit_ranker(X, options.factors, options.events, options.threads)
        ways["FMRecommender"] = (
            lambda row: ranker.recommend(row, N_ITEMS),
            [contexts[user] for user in users],
        )
    if Implicit.tool in tools:
        peer = tools[Implicit.tool].model
        peer.num_threads = 1
        ways["implicit, fold-in"] = (
            lambda row: peer.recommend(0, row, N=N_ITEMS, recalculate_user=True),
            rows,
        )
        ways["implicit, known user"] = (
            lambda user: peer.recommend(user, X[user], N=N_ITEMS),
            users,
        )
    print(f"{'one user at a time':<24}{'median ms':>10}{'90 % ms':>10}")
    for name, (recommend, asked) in ways.items():
        with one_blas_thread():  # as implicit asks for; skfm uses no BLAS here
            median, high = np.quantile(ask_one_by_one(recommend, asked), [0.5, 0.9])
        print(f"{name:<24}{median:>10.2f}{high:>10.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=138_000)
    parser.add_argument("--items", type=int, default=27_000)
    parser.add_argument("--entries", type=int, default=10_000_000)
    parser.add_argument("--factors", type=int, default=64)
    parser.add_argument("--iterations", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--folder", help="keep the data there, for the next run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sizes = options.users, options.items, options.entries
        path = data_file(options.folder or folder, *sizes)
        ensure_data(path, *sizes)
        X = load_training(path)
    n_users = X.shape[0]
    print(
        f"{n_users:,} users x {X.shape[1]:,} items, {X.nnz:,} entries, {options.factors} factors, "
        f"{options.threads} thread(s)",
        flush=True,
    )
    kinds = {kind.tool: kind() for kind in (Skfm, Implicit, Irspack)}
    available = installed({name: IMPLICIT_TOOLS[name] for name in kinds})
    tools, chosen = {}, {}
    for name in available:
        tools[name] = make_tool(name, options.factors, options.threads)
        tools[name].fit(X, options.iterations)
        ways = kinds[name].ways(options.threads)
        n_tried = min(N_TRIED, n_users)
        for way in ways.values():
            way(tools[name].model, X, min(N_COMPARED, n_users))  # a first call, not on the clock
        speeds = {
            label: n_tried / seconds(way, tools[name].model, X, n_tried)[0]
            for label, way in ways.items()
        }
        for label, speed in speeds.items():
            print(f"{name}: {label}: {speed:,.0f} users/s on {n_tried:,} users", flush=True)
        chosen[name] = ways[max(speeds, key=speeds.get)]
    durations = {name: [] for name in [*tools, "fold-in"]}
    shares = {}
    for repeat in range(options.repeats):
        for name, tool in tools.items():
            duration, found = seconds(chosen[name], tool.model, X, n_users)
            durations[name].append(duration)
            if repeat == 0:
                shares[name] = share_as_planned(tool, found, X)
            del found
        durations["fold-in"].append(seconds(tools["skfm"].model.transform, X)[0])
    median = {name: np.median(values) for name, values in durations.items()}
    print(f"{'':<20}{'seconds':>9}{'users/s':>10}{'vs skfm':>9}{'as planned':>12}")
    for name in tools:
        print(
            f"{name:<20}{median[name]:>9.2f}{n_users / median[name]:>10,.0f}"
            f"{median['skfm'] / median[name]:>9.2f}{shares[name]:>12.4f}"
        )
    rest = median["skfm"] - median["fold-in"]
    print(
        f"skfm's fold-in of all users takes {median['fold-in']:.2f} s; without it "
        f"{n_users / rest:,.0f} users/s."
    )
    print_latencies(tools, X, options)


if __name__ == "__main__":
    main()
