"""Seconds until implicit-feedback tools rank equally well, and their memory.

    python benchmarks/mf_implicit.py [--factors 64 128] [--users 138000] [--items 27000]
                                     [--entries 10000000] [--threads 2] [--repeats 3]
                                     [--tools "skfm" "irspack, CG"] [--seconds 600] [--tune]

Generated data, seeded: popularity of items and activity of users by power laws; a user's items
are drawn without replacement by popularity times exp(taste), taste being a planted product of 32
factors. All values are 1, float32 CSR. A fifth of each user's draws is hidden; for 5000 users it
is kept, for NDCG@10 without seen items.

Each tool runs in processes of its own, after a fit of tiny data (so nothing is compiled or loaded
on the clock). Repeats of the tools alternate, seconds are medians. Fits begin with the CSR
matrix: what a tool converts is on its clock.

- NDCG@10 after 1, 2, 3, 4, ... iterations. implicit and irspack are measured as they go on, the
  others are fitted anew for each number; a tool stops when --seconds are used up, and is then
  measured once. All are judged by their item factors: the same code solves the user factors of
  the 5000 users for them, by the tool's own objective. "own" is the last NDCG@10 with the tool's
  own user factors, as a check; those of skfm are what transform gives. irspack's iALS++ takes
  subspaces of 16.
- "to target": seconds until NDCG@10 is at the common target, linear between the measured points.
  A tool is good if its best NDCG@10 is at least 0.95 times the best of all; the target is 0.995
  times the best NDCG@10 of the worst good tool, so that every good tool gets there. inf: never.
- memory: the most that a process had (getrusage), for a fit of two iterations; "loaded" is what
  it has before the fit, with libraries and data. "ratio" is the peak, less what the process had
  before it loaded the data, to CSR + CSC + factors.

All tools minimize the same, with one penalty, weight of the unobserved and power nu (CHOSEN; what
they mean: mf_peers.py): what is best for most tools in --tune, 64 factors, 12 iterations, a tenth
of the users, a fifth of their visible entries hidden once more. skfm and irspack can have another
nu; there, that changed less than choosing by chance among equals.
"""

import argparse
import resource
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

import numpy as np
from mf_peers import (
    IMPLICIT_TOOLS,
    Enough,
    installed,
    is_child,
    rank_items,
    run_child,
    tiny_data,
)
from scipy import sparse

N_JUDGED = 5000
GOOD = 0.95
TARGET = 0.995

# By package: (unobserved, penalty, nu).
CHOSEN = {
    "skfm": (0.1, 0.008, 0.0),
    "implicit": (0.1, 0.008, 0.0),
    "irspack": (0.1, 0.008, 0.0),
    "cmfrec": (0.1, 0.008, 0.0),
}
UNOBSERVED = (0.03, 0.1, 0.3)
PENALTIES = (0.003, 0.005, 0.008, 0.012, 0.02)


# --- data -----------------------------------------------------------------------------------


def draw_counts(rng, n_users, n_entries, most):
    """Numbers of visible entries of the users, by a power law; their sum is n_entries."""
    least = min(10, n_entries // n_users)
    share = (np.arange(n_users) + n_users / 100) ** -0.8
    extra = (n_entries - least * n_users) * share / share.sum()
    counts = np.minimum(least + extra, most).astype(np.int64)
    while (lacking := n_entries - counts.sum()) > 0:
        free = np.flatnonzero(counts < most)
        counts[rng.permutation(free)[:lacking]] += 1
    return rng.permutation(counts)


def make_data(n_users, n_items, n_entries, rank=32, block=256):
    rng = np.random.default_rng(0)
    counts = draw_counts(rng, n_users, n_entries, n_items // 8)
    popularity = rng.permutation(-0.9 * np.log(np.arange(n_items) + 20.0))
    scale = 1 / np.sqrt(1 + np.arange(rank))
    scale *= np.sqrt(2 / (scale**2).sum())
    # The last column adds the popularity to the taste, whose variance is 2.
    users = np.column_stack([scale * rng.standard_normal((n_users, rank)), np.ones(n_users)])
    items = np.column_stack([rng.standard_normal((n_items, rank)), popularity])
    users, items = users.astype(np.float32), items.astype(np.float32)
    judged = np.sort(rng.permutation(n_users)[:N_JUDGED])
    visible, hidden = [], []
    for start in range(0, n_users, block):
        # The first arrivals at rates exp(score) are draws without replacement.
        arrivals = np.exp(-(users[start : start + block] @ items.T))
        arrivals *= rng.standard_exponential(arrivals.shape, dtype=np.float32)
        for times, count in zip(arrivals, counts[start : start + block], strict=True):
            both = count + count // 4
            drawn = rng.permutation(np.argpartition(times, both)[:both].astype(np.int32))
            visible.append(np.sort(drawn[:count]))
            hidden.append(np.sort(drawn[count:]))
    hidden = [hidden[user] for user in judged]
    return {
        "indices": np.concatenate(visible),
        "indptr": np.append(0, np.cumsum(counts)).astype(np.int32),
        "judged": judged,
        "hidden_indices": np.concatenate(hidden),
        "hidden_indptr": np.append(0, np.cumsum([row.size for row in hidden])).astype(np.int32),
        "judged_users": users[judged],
        "planted_items": items,
    }


def data_file(folder, n_users, n_items, n_entries):
    return Path(folder) / f"implicit-{n_users}-{n_items}-{n_entries}.npz"


def ensure_data(path, n_users, n_items, n_entries):
    """Made in a process of its own: the memory of this one would count as its children's."""
    if not path.exists():
        start = time.perf_counter()
        path.parent.mkdir(parents=True, exist_ok=True)
        sizes = {"n_users": n_users, "n_items": n_items, "n_entries": n_entries}
        run_child(__file__, "data", path=str(path), **sizes)
        print(f"data generated in {time.perf_counter() - start:.0f} s", flush=True)


def child_data(path, **sizes):
    draft = Path(path).with_suffix(".draft.npz")
    np.savez(draft, **make_data(**sizes))
    draft.rename(path)


def ones(indices, indptr, n_items):
    data = np.ones(indices.size, dtype=np.float32)
    return sparse.csr_matrix((data, indices, indptr), shape=(indptr.size - 1, n_items))


def load_training(path):
    with np.load(path) as archive:
        return ones(archive["indices"], archive["indptr"], len(archive["planted_items"]))


def load_judged(path):
    """The users to judge, their hidden items, and the planted factors behind them."""
    with np.load(path) as archive:
        planted = archive["judged_users"], archive["planted_items"]
        hidden = ones(archive["hidden_indices"], archive["hidden_indptr"], len(planted[1]))
        return archive["judged"], hidden, planted


# --- in processes of their own --------------------------------------------------------------


def make_tool(name, n_factors, n_threads):
    tool = IMPLICIT_TOOLS[name]
    return tool(n_factors, *CHOSEN[tool.package], n_threads)


def judge(tool, seen, hidden):
    from skfm.metrics import ndcg_at_k  # here, so that others run without its imports

    return ndcg_at_k(hidden, rank_items(tool.solve_users(seen), tool.item_factors(), seen, 10))


def judge_own(tool, judged, seen, hidden):
    from skfm.metrics import ndcg_at_k

    users = tool.user_factors(judged, seen)
    return ndcg_at_k(hidden, rank_items(users, tool.item_factors(), seen, 10))


def child_curve(path, name, n_factors, n_threads, stops, seconds, is_judged):
    tool = make_tool(name, n_factors, n_threads)
    tool.fit(tiny_data(), 1)
    X = load_training(path)
    judged, hidden, _ = load_judged(path)
    seen = X[judged]
    iterations, times, ndcg = [], [], []

    def listen(n_iter, elapsed):
        iterations.append(n_iter)
        times.append(elapsed)
        if is_judged:
            ndcg.append(judge(tool, seen, hidden))
        if (times[-1] if tool.goes_on else sum(times)) > seconds:
            raise Enough

    tool.curve(X, stops, listen)
    own = judge_own(tool, judged, seen, hidden) if is_judged else None
    return {"iterations": iterations, "times": times, "ndcg": ndcg, "own": own}


def peak_memory():
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def memory_now():
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except FileNotFoundError:  # not Linux
        return peak_memory()
    return pages * resource.getpagesize()


def child_memory(path, name, n_factors, n_threads):
    tool = make_tool(name, n_factors, n_threads)
    tool.fit(tiny_data(), 1)
    tool.model = None
    before = memory_now()
    X = load_training(path)
    loaded = memory_now()
    tool.fit(X, 2)
    csr = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes
    csc = X.data.nbytes + X.indices.nbytes + 4 * (X.shape[1] + 1)
    base = csr + csc + 4 * n_factors * sum(X.shape)
    return {"before": before, "loaded": loaded, "peak": peak_memory(), "base": base}


def child_describe(path):
    from skfm.metrics import ndcg_at_k

    X = load_training(path)
    judged, hidden, (users, items) = load_judged(path)
    seen = X[judged]
    counts = X.getnnz(axis=0)
    popular = np.sort(counts)[::-1][: X.shape[1] // 100].sum() / X.nnz
    alike = np.ones((judged.size, 1))
    return (
        f"{X.shape[0]:,} users x {X.shape[1]:,} items, {X.nnz:,} entries, {popular:.0%} of them "
        f"in 1 % of the items. NDCG@10 by popularity "
        f"{ndcg_at_k(hidden, rank_items(alike, counts[:, None], seen, 10)):.4f}, "
        f"by the planted scores {ndcg_at_k(hidden, rank_items(users, items, seen, 10)):.4f}."
    )


TASKS = {
    "data": child_data,
    "curve": child_curve,
    "memory": child_memory,
    "describe": child_describe,
}


# --- the tables -----------------------------------------------------------------------------


def measure(path, tools, n_factors, options):
    """Curves of all tools, repeats alternating, and their memory."""
    common = {"path": str(path), "n_factors": n_factors, "n_threads": options.threads}
    curves = {}
    for repeat in range(options.repeats):
        for name, tool in tools.items():
            if repeat and len(curves[name]["iterations"]) < len(options.iterations):
                continue  # too slow to be measured again
            curve = run_child(
                __file__,
                "curve",
                tool.one_blas_thread,
                name=name,
                stops=options.iterations,
                seconds=options.seconds,
                is_judged=repeat == 0,
                **common,
            )
            if repeat == 0:
                curves[name] = {**curve, "times": []}
            curves[name]["times"].append(curve["times"])
    memory = {}
    for name, tool in tools.items():
        memory[name] = run_child(__file__, "memory", tool.one_blas_thread, name=name, **common)
        curve = curves[name]
        n_points = min(map(len, curve["times"]))
        curve["seconds"] = np.median([times[:n_points] for times in curve["times"]], axis=0)
        curve["ndcg"] = np.array(curve["ndcg"][:n_points])
        curve["iterations"] = np.array(curve["iterations"][:n_points])
    return curves, memory


def find_target(curves):
    best = {name: curve["ndcg"].max() for name, curve in curves.items()}
    good = [value for value in best.values() if value >= GOOD * max(best.values())]
    return TARGET * min(good)


def time_to(target, x, ndcg):
    """The x at which a curve first is at the target, linear between its points; inf if never."""
    reached = np.flatnonzero(ndcg >= target)
    if not reached.size:
        return np.inf
    point = reached[0]
    if point == 0:
        return x[0]
    return np.interp(target, ndcg[point - 1 : point + 1], x[point - 1 : point + 1])


def show(curves, memory, target, stops):
    print(f"{'':<20}{'s/iter':>8}{'set-up':>8}  NDCG@10 after {', '.join(map(str, stops))}; own")
    for name, curve in curves.items():
        seconds, iterations = curve["seconds"], curve["iterations"]
        if len(seconds) > 1:
            each = (seconds[-1] - seconds[0]) / (iterations[-1] - iterations[0])
            pace = f"{each:>8.3f}{seconds[0] - each * iterations[0]:>8.2f}"
        else:
            pace = f"{seconds[0] / iterations[0]:>8.3f}{'':>8}"
        values = " ".join(f"{value:.4f}" for value in curve["ndcg"])
        print(f"{name:<20}{pace}  {values}; {curve['own']:.4f}")
    print(f"Target: NDCG@10 of {target:.4f}.")
    to_target = {
        name: time_to(target, curve["seconds"], curve["ndcg"]) for name, curve in curves.items()
    }
    peers = [value for name, value in to_target.items() if name != "skfm"]
    print(
        f"{'':<20}{'to target':>10}{'iterations':>12}{'vs skfm':>9}"
        f"{'loaded':>10}{'peak':>10}{'ratio':>7}"
    )
    for name, curve in curves.items():
        iterations = time_to(target, curve["iterations"], curve["ndcg"])
        used = memory[name]
        print(
            f"{name:<20}{to_target[name]:>8.2f} s{iterations:>12.1f}"
            f"{to_target[name] / to_target.get('skfm', np.nan):>9.2f}"
            f"{used['loaded'] / 1e6:>7.0f} MB{used['peak'] / 1e6:>7.0f} MB"
            f"{(used['peak'] - used['before']) / used['base']:>7.2f}"
        )
    if "skfm" in curves:
        used = memory["skfm"]
        print(
            f"skfm's peak of {used['peak'] / 1e6:.0f} MB, less {used['before'] / 1e6:.0f} MB "
            f"before data, is {(used['peak'] - used['before']) / used['base']:.2f} times "
            f"CSR + CSC + factors ({used['base'] / 1e6:.0f} MB)."
        )
        if peers:
            print(f"The fastest peer takes {min(peers) / to_target['skfm']:.2f} times its time.")
    print(flush=True)


def tune(path, tools, share):
    """Each package's settings, judged on visible entries that are hidden once more."""
    from skfm.model_selection import split_entries

    X = load_training(path)
    rng = np.random.default_rng(1)
    X = X[np.sort(rng.permutation(X.shape[0])[: round(share * X.shape[0])])]
    X, hidden = split_entries(X, 0.2, random_state=0)
    judged = np.sort(rng.permutation(X.shape[0])[:2000])
    seen, hidden = X[judged], hidden[judged]
    # Tools of one package have one objective: the first one stands for it.
    packages = {tool.package: tool for tool in reversed(tools.values())}
    for package, make in packages.items():
        scores = {}
        for settings in product(UNOBSERVED, PENALTIES, make.powers):
            tool = make(64, *settings, n_threads=2)
            tool.fit(X, 12)
            score = judge(tool, seen, hidden)
            print(f"{package}: {settings}: {score:.4f}", flush=True)
            scores[settings] = score
        print(f'    "{package}": {max(scores, key=scores.get)},', flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--factors", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--users", type=int, default=138_000)
    parser.add_argument("--items", type=int, default=27_000)
    parser.add_argument("--entries", type=int, default=10_000_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tools", nargs="+", choices=IMPLICIT_TOOLS, default=[*IMPLICIT_TOOLS])
    parser.add_argument("--iterations", type=int, nargs="+", default=[1, 2, 3, 4, 6, 8, 12, 16])
    parser.add_argument("--seconds", type=float, default=600, help="of training, for a tool")
    parser.add_argument("--folder", help="keep the data there, for the next run")
    parser.add_argument("--tune", action="store_true", help="search CHOSEN and stop")
    parser.add_argument("--share", type=float, default=0.1, help="of the users, for --tune")
    options = parser.parse_args()
    tools = installed({name: IMPLICIT_TOOLS[name] for name in options.tools})
    with tempfile.TemporaryDirectory() as folder:
        sizes = options.users, options.items, options.entries
        path = data_file(options.folder or folder, *sizes)
        ensure_data(path, *sizes)
        if options.tune:
            tune(path, tools, options.share)
            return
        print(run_child(__file__, "describe", path=str(path)))
        for n_factors in options.factors:
            print(f"\n{n_factors} factors, {options.threads} thread(s)", flush=True)
            curves, memory = measure(path, tools, n_factors, options)
            show(curves, memory, find_target(curves), options.iterations)


if __name__ == "__main__":
    if not is_child(TASKS):
        main()
