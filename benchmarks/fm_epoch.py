"""How fast FMClassifier trains and predicts on one-hot clicks, beside modern-fm if installed.

    python benchmarks/fm_epoch.py [--rows 1000000] [--epochs 10] [--repeats 3] [--no-peer]

Generated data, seeded: rows x 10 one-hot fields, 100,000 features, frequencies by Zipf's law,
labels from a planted factorization machine; general CSR input of float32 with its values. Every
figure comes from the same run, repeats of both sides alternate, medians are shown.

- "epoch, all in": seconds of a whole fit divided by its epochs: checks, planning and all.
- "epoch": what one more epoch adds. "set-up": what a fit takes besides its epochs.
- "given": with given penalties, as modern-fm has. The default also estimates them from the data,
  which takes up most of the time of the first epochs.
- log loss: on 100,000 rows held out, after the same number of epochs. Nothing is tuned on
  them: skfm runs its defaults or, where they are given, the penalties that were its defaults for
  classes before it estimated them; modern-fm runs the best of a few on an inner split.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss

from skfm import FMClassifier
from skfm.datasets import make_fm_classification

warnings.simplefilter("ignore", ConvergenceWarning)

HELD_OUT = 100_000
COMPONENTS = 16
PENALTIES = (1e-5, 1e-3, 1e-2, 1e-1)
GIVEN = {"alpha": 2.0, "alpha_linear": 5.0}


def make_data(n_rows):
    X, y = make_fm_classification(
        n_rows + HELD_OUT,
        n_fields=10,
        n_levels=10_000,
        n_components=8,
        skew=1.0,
        random_state=0,
        dtype=np.float32,
    )
    return X[:n_rows], y[:n_rows], X[n_rows:], y[n_rows:]


class Skfm:
    def __init__(self, n_jobs, dtype=np.float32, penalties=None):
        self.name = f"skfm, {np.dtype(dtype).name}{', given' if penalties else ''}"
        self.n_jobs = n_jobs
        self.dtype = dtype
        self.penalties = penalties or {}

    def fit(self, X, y, n_epochs):
        return FMClassifier(
            COMPONENTS,
            max_iter=n_epochs,
            tol=0,
            n_jobs=self.n_jobs,
            random_state=0,
            **self.penalties,
        ).fit(X.astype(self.dtype, copy=False), y)


class ModernFM:
    def __init__(self, n_jobs, batch_size, l2):
        self.name = f"modern-fm, batch size {batch_size}"
        self.n_jobs = n_jobs
        self.batch_size = batch_size
        self.l2 = l2

    def fit(self, X, y, n_epochs):
        from modern_fm import FMClassifier as Peer

        return Peer(
            n_factors=COMPONENTS,
            optimizer="adagrad",
            max_iter=n_epochs,
            batch_size=self.batch_size,
            l2_linear=self.l2,
            l2_factors=self.l2,
            n_jobs=self.n_jobs,
            random_state=0,
        ).fit(X, y)


def seconds(function, *arguments):
    start = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - start, result


def tune_peer(X, y, n_epochs):
    """The peer's penalty, chosen on a fifth of 200,000 training rows."""
    X, y = X[:200_000], y[:200_000]
    cut = 160_000
    losses = []
    for l2 in PENALTIES:
        model = ModernFM(1, 256, l2).fit(X[:cut], y[:cut], n_epochs)
        losses.append(log_loss(y[cut:], model.predict_proba(X[cut:])))
    return PENALTIES[int(np.argmin(losses))]


def time_epochs(tools, data, n_epochs, repeats):
    X, y, X_new, y_new = data
    rows = {index: [] for index in range(len(tools))}
    predictions = {index: [] for index in range(len(tools))}
    losses = {}
    for tool in tools:
        tool.fit(X[:20_000], y[:20_000], 1).predict_proba(X_new[:10])  # compile, warm up
    for _ in range(repeats):
        for index, tool in enumerate(tools):
            once, _ = seconds(tool.fit, X, y, 1)
            total, model = seconds(tool.fit, X, y, n_epochs)
            epoch = (total - once) / (n_epochs - 1)
            rows[index].append((total / n_epochs, epoch, once - epoch))
            X_used = X_new.astype(getattr(tool, "dtype", X_new.dtype), copy=False)
            for _ in range(5):
                duration, probability = seconds(model.predict_proba, X_used)
                predictions[index].append(HELD_OUT / duration)
            losses[index] = log_loss(y_new, probability)
    print(
        f"{'':<29}{'threads':>8}{'epoch, all in':>15}{'epoch':>8}{'set-up':>8}"
        f"{'log loss':>10}{'predicted rows/s':>18}"
    )
    result = []
    for index, tool in enumerate(tools):
        all_in, epoch, setup = np.median(rows[index], axis=0)
        speed = np.median(predictions[index])
        result.append((tool, all_in, epoch, losses[index], speed))
        print(
            f"{tool.name:<29}{tool.n_jobs:>8}{all_in:>15.3f}{epoch:>8.3f}{setup:>8.2f}"
            f"{losses[index]:>10.4f}{speed:>18,.0f}",
            flush=True,
        )
    return result


def is_comparable(tool):
    """Whether it does the same work as the peer: penalties are given."""
    return isinstance(tool, Skfm) and bool(tool.penalties)


def compare(result):
    """Ratios of times; those to the peer are for given penalties."""
    for n_jobs in (1, 2):
        ours = next(r for r in result if r[0].n_jobs == n_jobs and is_comparable(r[0]))
        theirs = [r for r in result if r[0].n_jobs == n_jobs and isinstance(r[0], ModernFM)]
        if theirs:
            print(
                f"{n_jobs} thread(s): epoch, all in, {min(r[1] for r in theirs) / ours[1]:.1f} "
                f"times as fast as modern-fm's faster batch size, epoch "
                f"{min(r[2] for r in theirs) / ours[2]:.1f} times, predict "
                f"{ours[4] / max(r[4] for r in theirs):.1f} times."
            )
    serial, parallel = (
        next(r for r in result if r[0].n_jobs == n_jobs and is_comparable(r[0]))
        for n_jobs in (1, 2)
    )
    print(f"skfm, two threads against one: epoch {serial[2] / parallel[2]:.2f} times as fast.")


def busy_core(data, n_epochs):
    """Two threads while another process keeps one of two cores busy, against one thread."""
    X, y, *_ = data
    spin = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        times = {1: [], 2: []}
        for _ in range(3):
            for n_jobs, durations in times.items():
                durations.append(seconds(Skfm(n_jobs, penalties=GIVEN).fit, X, y, n_epochs)[0])
    finally:
        spin.kill()
        spin.wait()
    ratio = np.median(times[2]) / np.median(times[1])
    print(f"With the other core busy, two threads take {ratio:.2f} times as long as one.")


# --- measured in processes of their own -----------------------------------------------------


def run_child(task, folder, cache=None, script=__file__):
    environment = dict(os.environ)
    if cache is not None:
        environment["NUMBA_CACHE_DIR"] = str(cache)
    command = [sys.executable, script, "--child", task, "--folder", str(folder)]
    output = subprocess.run(
        command, env=environment, check=True, capture_output=True, text=True
    ).stdout
    return json.loads(output)


def save_rows(X, y, folder):
    for part in ("data", "indices", "indptr"):
        np.save(folder / f"{part}.npy", getattr(X, part))
    np.save(folder / "y.npy", y)


def load_rows(folder):
    X = sparse.csr_matrix(
        tuple(np.load(folder / f"{name}.npy") for name in ("data", "indices", "indptr"))
    )
    return X, np.load(folder / "y.npy")


def child_status(key):
    """A number of bytes that Linux tells of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1]) * 1024


def child_memory(folder):
    """Peak memory that a fit adds to an idle process, its input included."""
    tiny = sparse.eye_array(50, format="csr", dtype=np.float32)
    FMClassifier(COMPONENTS, max_iter=1).fit(tiny, np.arange(50) % 2)

    before = child_status("VmRSS")
    X, y = load_rows(folder)
    # Peaks from here on: the reset needs Linux.
    Path("/proc/self/clear_refs").write_text("5")
    model = FMClassifier(COMPONENTS, max_iter=2).fit(X, y)
    peak = child_status("VmHWM") - before
    csr = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes
    parameters = model.components_.nbytes + model.coef_.nbytes
    return {"peak": peak, "input": csr, "state": 2 * parameters}


def child_first_fit(folder):
    rng = np.random.default_rng(0)
    X = sparse.csr_matrix(np.eye(20, dtype=np.float32)[rng.integers(20, size=300)])
    y = rng.integers(2, size=300)
    return seconds(FMClassifier(max_iter=20).fit, X, y)[0]


def child_import(folder):
    """Seconds of ``import skfm`` once scikit-learn and numba are there (this file imports all)."""
    code = (
        "import time, numba, scipy.sparse, scipy.special, sklearn.base, sklearn.utils.multiclass\n"
        "start = time.perf_counter()\nimport skfm\nprint(time.perf_counter() - start)"
    )
    times = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout)
        for _ in range(5)
    ]
    return float(np.median(times))


CHILDREN = {
    "memory": child_memory,
    "first fit": child_first_fit,
    "import": child_import,
}


def measure_processes(data):
    X, y, *_ = data
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_rows(X, y, folder)
        if sys.platform == "linux":
            memory = run_child("memory", folder)
            base = memory["input"] + memory["state"]
            print(
                f"Peak memory of fit {memory['peak'] / 1e6:.0f} MB, input included: "
                f"{memory['peak'] / base:.2f} times the CSR input "
                f"({memory['input'] / 1e6:.0f} MB) and the parameters with AdaGrad's memory "
                f"({memory['state'] / 1e6:.0f} MB)."
            )
        cold = run_child("first fit", folder, folder / "cache")
        warm = run_child("first fit", folder, folder / "cache")
        print(f"First fit of a process: {cold:.1f} s with an empty cache, then {warm:.2f} s.")
        print(f"import skfm, after scikit-learn and numba: {run_child('import', folder):.2f} s.")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--child", choices=CHILDREN, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(CHILDREN[arguments.child](arguments.folder)))
        return
    data = make_data(arguments.rows)
    rate = data[1].mean()
    base = log_loss(data[3], np.full(HELD_OUT, rate))
    print(
        f"{arguments.rows:,} rows x 10 one-hot fields, 100,000 features, {COMPONENTS} components, "
        f"{arguments.epochs} epochs; log loss of the base rate {base:.4f}"
    )
    tools = [
        Skfm(n_jobs, dtype, penalties)
        for dtype in (np.float32, np.float64)
        for penalties in (None, GIVEN)
        for n_jobs in (1, 2)
    ]
    try:
        if not arguments.no_peer:
            l2 = tune_peer(data[0], data[1], arguments.epochs)
            print(f"modern-fm: l2_linear = l2_factors = {l2:g}, chosen on an inner split")
            tools += [ModernFM(n_jobs, size, l2) for n_jobs in (1, 2) for size in (1, 256)]
    except ImportError:
        print("modern-fm is not installed: skipped")
    compare(time_epochs(tools, data, arguments.epochs, arguments.repeats))
    busy_core(data, arguments.epochs)
    measure_processes(data)


if __name__ == "__main__":
    main()
