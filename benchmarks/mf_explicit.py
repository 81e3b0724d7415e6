"""Seconds per epoch and held-out RMSE of explicit matrix factorization, skfm and others.

    python benchmarks/mf_explicit.py [--users 100000] [--items 20000] [--ratings 10000000]
                                     [--factors 32] [--epochs 20] [--threads 1 2] [--repeats 3]
                                     [--tools "skfm sgd" "cornac MF"] [--tune]

Generated ratings, seeded: users and items by power laws; a mean of 3.5, planted biases of users
and items, a planted product of 16 factors and noise of standard deviation 0.8, rounded to half
stars from 0.5 to 5; float32 CSR. A twentieth as many again are held out.

Each tool runs in processes of its own, after a fit of tiny data. Repeats of the tools alternate,
medians are shown; Surprise is slow and measured once.

- "epoch, all in": seconds of a whole fit, from the CSR matrix on, divided by its epochs.
- "epoch": what one more epoch adds: the fit of all epochs less that of one, by epochs - 1.
- "set-up": what a fit takes besides its epochs.
- RMSE: held out, after the same number of epochs. An epoch of SGD sees each rating once, one of
  ALS solves all users and all items. "to beat" is the RMSE of the planted machine.
- "vs skfm sgd": its epoch in those of skfm sgd on as many threads.

Surprise and cornac learn from the ratings in the order of the CSR matrix. cornac's threads write
to the same factors without locks, so its result varies on two.

Each tool runs with the parameters that --tune finds best (CHOSEN): on other generated ratings of
another seed, with a tenth of the users, items and ratings, for the same number of epochs.
"""

import argparse
import tempfile
from itertools import product

import numpy as np
from mf_peers import (
    Cornac,
    ExplicitCmfrec,
    ExplicitSkfm,
    Surprise,
    installed,
    is_child,
    run_child,
    seconds,
    tiny_data,
)
from scipy import sparse

RANK = 16
NOISE = 0.8

TOOLS = {
    "skfm sgd": ExplicitSkfm,
    "skfm als": ExplicitSkfm,
    "Surprise SVD": Surprise,
    "cornac MF": Cornac,
    "cmfrec, CG": ExplicitCmfrec,
    "cmfrec, Cholesky": ExplicitCmfrec,
}
FIXED = {
    "skfm sgd": {"solver": "sgd"},
    "skfm als": {"solver": "als"},
    "Surprise SVD": {},
    "cornac MF": {},
    "cmfrec, CG": {"use_cg": True, "finalize_chol": False},
    "cmfrec, Cholesky": {"use_cg": False},
}
GRID = {
    "skfm sgd": {"alpha": (0.5, 1.0, 1.5, 2.0), "learning_rate": (0.05, 0.1, 0.2)},
    "skfm als": {"alpha": (0.5, 1.0, 1.5, 2.0, 3.0)},
    "Surprise SVD": {"reg_all": (0.02, 0.05, 0.1), "lr_all": (0.01, 0.02)},
    "cornac MF": {"lambda_reg": (0.02, 0.05, 0.1), "learning_rate": (0.01, 0.02)},
    "cmfrec, CG": {"lambda_": (10.0, 30.0, 100.0)},
    "cmfrec, Cholesky": {"lambda_": (10.0, 30.0, 100.0)},
}
CHOSEN = {
    "skfm sgd": {"alpha": 1.0, "learning_rate": 0.05},
    "skfm als": {"alpha": 1.5},
    "Surprise SVD": {"reg_all": 0.05, "lr_all": 0.02},
    "cornac MF": {"lambda_reg": 0.05, "learning_rate": 0.02},
    "cmfrec, CG": {"lambda_": 30.0},
    "cmfrec, Cholesky": {"lambda_": 30.0},
}


# --- data -----------------------------------------------------------------------------------


def draw_pairs(rng, n_users, n_items, n_pairs):
    """Distinct pairs of users and items, both by power laws, in random order."""

    def cumulated(n, exponent, offset):
        weights = (np.arange(n) + offset) ** -exponent
        return np.cumsum(rng.permutation(weights / weights.sum()))

    users, items = cumulated(n_users, 0.8, n_users / 100), cumulated(n_items, 0.9, 20)
    pairs = np.empty(0, dtype=np.int64)
    while pairs.size < n_pairs:
        n_more = int(1.2 * (n_pairs - pairs.size)) + 1000
        more = np.searchsorted(users, rng.random(n_more)).clip(max=n_users - 1) * n_items
        more += np.searchsorted(items, rng.random(n_more)).clip(max=n_items - 1)
        pairs = np.unique(np.concatenate([pairs, more]))
    return np.divmod(rng.permutation(pairs)[:n_pairs], n_items)


def make_data(n_users, n_items, n_ratings, seed):
    rng = np.random.default_rng(seed)
    u, i = draw_pairs(rng, n_users, n_items, n_ratings + n_ratings // 20)
    scale = 0.7 / RANK**0.25  # the product has a standard deviation of 0.5
    users, items = (rng.normal(0, scale, (n, RANK)) for n in (n_users, n_items))
    planted = 3.5 + rng.normal(0, 0.35, n_users)[u] + rng.normal(0, 0.35, n_items)[i]
    for factor in range(RANK):
        planted += users[u, factor] * items[i, factor]
    noisy = planted + rng.normal(0, NOISE, u.size)
    ratings = np.clip(np.rint(2 * noisy) / 2, 0.5, 5).astype(np.float32)
    errors = np.clip(planted, 0.5, 5)[n_ratings:] - ratings[n_ratings:]
    X = sparse.csr_matrix(
        (ratings[:n_ratings], (u[:n_ratings], i[:n_ratings])), shape=(n_users, n_items)
    )
    X.sort_indices()
    held_out = u[n_ratings:], i[n_ratings:], ratings[n_ratings:]
    return X, held_out, float(np.sqrt(np.mean(errors**2)))


def child_data(path, seed=0, **sizes):
    X, (users, items, ratings), floor = make_data(seed=seed, **sizes)
    sparse.save_npz(f"{path}/train.npz", X, compressed=False)
    np.savez(f"{path}/held-out.npz", users=users, items=items, ratings=ratings)
    return floor


def rmse(predict, held_out):
    users, items, ratings = held_out
    return float(np.sqrt(np.mean((predict(users, items) - ratings) ** 2)))


# --- in processes of their own --------------------------------------------------------------


def make_tool(name, n_factors, n_threads, **settings):
    return TOOLS[name](n_factors, n_threads, **FIXED[name], **settings)


def child_fit(path, name, n_factors, n_threads, n_epochs):
    tool = make_tool(name, n_factors, n_threads, **CHOSEN[name])
    tiny = tiny_data()
    tool.fit(tiny, 1)(*tiny.nonzero())
    X = sparse.load_npz(f"{path}/train.npz")
    with np.load(f"{path}/held-out.npz") as archive:
        held_out = archive["users"], archive["items"], archive["ratings"]
    once, _ = seconds(tool.fit, X, 1)
    total, predict = seconds(tool.fit, X, n_epochs)
    return {"once": once, "total": total, "rmse": rmse(predict, held_out)}


TASKS = {"data": child_data, "fit": child_fit}


# --- tables ---------------------------------------------------------------------------------


def measure(folder, runs, options):
    results = {run: [] for run in runs}
    for repeat in range(options.repeats):
        for name, n_threads in runs:
            if repeat and TOOLS[name] is Surprise:
                continue
            result = run_child(
                __file__,
                "fit",
                path=folder,
                name=name,
                n_factors=options.factors,
                n_threads=n_threads,
                n_epochs=options.epochs,
            )
            results[name, n_threads].append(result)
    print(
        f"{'':<20}{'threads':>8}{'epoch, all in':>15}{'epoch':>9}{'set-up':>8}{'RMSE':>9}"
        f"{'vs skfm sgd':>13}"
    )
    epochs = {}
    for (name, n_threads), repeats in results.items():
        once, total = (np.median([result[key] for result in repeats]) for key in ("once", "total"))
        epochs[name, n_threads] = (total - once) / (options.epochs - 1)
    for (name, n_threads), repeats in results.items():
        once, total, error = (
            np.median([result[key] for result in repeats]) for key in ("once", "total", "rmse")
        )
        epoch = epochs[name, n_threads]
        ours = epochs.get(("skfm sgd", n_threads))
        print(
            f"{name:<20}{n_threads:>8}{total / options.epochs:>15.3f}{epoch:>9.3f}"
            f"{once - epoch:>8.2f}{error:>9.4f}" + (f"{epoch / ours:>13.2f}" if ours else ""),
            flush=True,
        )


def tune(names, options):
    sizes = options.users // 10, options.items // 10, options.ratings // 10
    X, held_out, floor = make_data(*sizes, seed=1)
    print(f"{X.nnz:,} ratings, {options.epochs} epochs; RMSE to beat {floor:.4f}")
    for name in names:
        errors = []
        grid = GRID[name]
        candidates = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
        for settings in candidates:
            tool = make_tool(name, options.factors, 1, **settings)
            errors.append(rmse(tool.fit(X, options.epochs), held_out))
            print(f"{name}: {settings}: {errors[-1]:.4f}", flush=True)
        print(f'    "{name}": {candidates[int(np.nanargmin(errors))]},', flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--ratings", type=int, default=10_000_000)
    parser.add_argument("--factors", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=[*TOOLS])
    parser.add_argument("--tune", action="store_true", help="search CHOSEN and stop")
    options = parser.parse_args()
    names = [*installed({name: TOOLS[name] for name in options.tools})]
    if options.tune:
        tune(names, options)
        return
    runs = [
        (name, n_threads)
        for name in names
        for n_threads in ([1] if TOOLS[name] is Surprise else options.threads)
    ]
    with tempfile.TemporaryDirectory() as folder:
        floor = run_child(
            __file__,
            "data",
            path=folder,
            n_users=options.users,
            n_items=options.items,
            n_ratings=options.ratings,
        )
        print(
            f"{options.users:,} users x {options.items:,} items, {options.ratings:,} ratings, "
            f"{options.factors} factors, {options.epochs} epochs; RMSE to beat {floor:.4f}",
            flush=True,
        )
        measure(folder, runs, options)


if __name__ == "__main__":
    if not is_child(TASKS):
        main()
