"""How fast FMClassifier trains field-aware models, beside modern-fm if installed.

    python benchmarks/field_models.py [--rows 1000000] [--epochs 5] [--repeats 1] [--no-peer]

Generated clicks, seeded: rows x 10 one-hot fields, 100,000 features, frequencies by Zipf's law,
labels from a planted field-weighted factorization machine; CSR input of float32. Field-aware
models (FFM) have 4 components, field-weighted (FwFM) and field-matrixed (FmFM) ones have 8. Every
figure comes from the same run, repeats of both sides alternate, medians are shown.

- "epoch, all in": seconds of a whole fit divided by its epochs: checks, planning and all.
- "epoch": what one more epoch adds.
- log loss: on 100,000 rows held out, after the same number of epochs; nothing is tuned on them.
  The penalties of "given" and of modern-fm are the best of four on an inner split; the default
  estimates them during the fit.
- memory: what a fit adds to a process that holds the input, beside the parameters, the optimizer's
  state and the CSR input.
"""

import argparse
import json
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
from fm_epoch import child_status, load_rows, run_child, save_rows, seconds
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss

from skfm import FMClassifier
from skfm.datasets import make_fm_classification

warnings.simplefilter("ignore", ConvergenceWarning)

HELD_OUT = 100_000
N_FIELDS, N_LEVELS = 10, 10_000
TUNED_ON = 200_000  # rows, a fifth of which is held out
COMPONENTS = {"plain": 8, "weighted": 8, "matrixed": 8, "aware": 4}
OURS = (0.5, 1.0, 2.0, 5.0)  # alpha; alpha_linear is 5
THEIRS = (1e-6, 1e-5, 1e-4, 1e-3)  # l2_linear and l2_factors
PEERS = {"aware": "FFMClassifier", "weighted": "FwFMClassifier"}


def make_data(n_rows):
    """Rows of skewed categories, and clicks whose log odds are those of a planted FwFM."""
    X, _ = make_fm_classification(
        n_rows + HELD_OUT,
        n_fields=N_FIELDS,
        n_levels=N_LEVELS,
        skew=1.0,
        random_state=0,
        dtype=np.float32,
    )
    rng = np.random.default_rng(0)
    columns = X.indices.reshape(-1, N_FIELDS)
    factors = rng.standard_normal((X.shape[1], 4)).astype(np.float32)
    log_odds = rng.standard_normal(X.shape[1])[columns].sum(axis=1)
    for c in range(N_FIELDS):
        for d in range(c + 1, N_FIELDS):
            product = np.einsum("nf,nf->n", factors[columns[:, c]], factors[columns[:, d]])
            log_odds += rng.standard_normal() * product
    log_odds *= 2 / log_odds.std()
    y = (rng.random(len(log_odds)) < 1 / (1 + np.exp(-log_odds))).astype(np.int64)
    return X[:n_rows], y[:n_rows], X[n_rows:], y[n_rows:]


FIELDS = np.repeat(np.arange(N_FIELDS), N_LEVELS)


class Skfm:
    def __init__(self, kind, n_jobs=1, alpha=None):
        self.kind, self.n_jobs = kind, n_jobs
        self.name = f"skfm {kind}{'' if alpha is None else ', given'}"
        self.penalties = {} if alpha is None else {"alpha": alpha, "alpha_linear": 5.0}

    def fit(self, X, y, n_epochs):
        return FMClassifier(
            COMPONENTS[self.kind],
            field_interactions=self.kind,
            feature_fields=FIELDS,
            max_iter=n_epochs,
            tol=0,
            n_jobs=self.n_jobs,
            random_state=0,
            **self.penalties,
        ).fit(X, y)


class ModernFM:
    def __init__(self, kind, n_jobs=1, l2=1e-5, batch_size=1):
        self.kind, self.n_jobs, self.l2, self.batch_size = kind, n_jobs, l2, batch_size
        self.name = f"modern-fm {kind}, batch size {batch_size}"

    def fit(self, X, y, n_epochs):
        import modern_fm

        return getattr(modern_fm, PEERS[self.kind])(
            n_factors=COMPONENTS[self.kind],
            optimizer="adagrad",
            max_iter=n_epochs,
            batch_size=self.batch_size,
            l2_linear=self.l2,
            l2_factors=self.l2,
            n_jobs=self.n_jobs,
            random_state=0,
        ).fit(X, y, field_ids=FIELDS)


def tune(make, values, data, n_epochs):
    """The value for which the inner split's log loss is least."""
    X, y = data[0][:TUNED_ON], data[1][:TUNED_ON]
    cut = len(y) * 4 // 5
    losses = []
    for value in values:
        tool = make(value)
        model = tool.fit(X[:cut], y[:cut], n_epochs)
        losses.append(log_loss(y[cut:], model.predict_proba(X[cut:])))
    return values[int(np.argmin(losses))]


def measure(tools, data, n_epochs, repeats):
    X, y, X_new, y_new = data
    times, losses = {tool: [] for tool in tools}, {}
    for tool in tools:
        tool.fit(X[:20_000], y[:20_000], 1)  # compile, warm up
    for _ in range(repeats):
        for tool in tools:
            once, _ = seconds(tool.fit, X, y, 1)
            total, model = seconds(tool.fit, X, y, n_epochs)
            times[tool].append((total / n_epochs, (total - once) / (n_epochs - 1)))
            losses[tool] = log_loss(y_new, model.predict_proba(X_new))
    print(f"{'':<36}{'threads':>8}{'epoch, all in':>15}{'epoch':>8}{'log loss':>10}")
    medians = {}
    for tool in tools:
        all_in, epoch = medians[tool] = np.median(times[tool], axis=0)
        print(
            f"{tool.name:<36}{tool.n_jobs:>8}{all_in:>15.3f}{epoch:>8.3f}{losses[tool]:>10.4f}",
            flush=True,
        )
    return medians


def compare(medians):
    """Ratios of the times with given penalties to the peer's, on one thread."""
    for kind in PEERS:
        ours = [
            time
            for tool, time in medians.items()
            if isinstance(tool, Skfm) and tool.kind == kind and tool.penalties and tool.n_jobs == 1
        ]
        theirs = [
            time
            for tool, time in medians.items()
            if isinstance(tool, ModernFM) and tool.kind == kind
        ]
        if ours and theirs:
            ratio = np.min(theirs, axis=0) / np.min(ours, axis=0)
            print(
                f"{kind}, one thread: epoch, all in, {ratio[0]:.1f} times as fast as modern-fm's "
                f"faster batch size, epoch {ratio[1]:.1f} times."
            )


def child_memory(folder, kind):
    """Peak memory that a fit adds to a process that holds the input, in bytes."""
    small = sparse.eye_array(50, N_FIELDS * N_LEVELS, format="csr", dtype=np.float32)
    Skfm(kind).fit(small, np.arange(50) % 2, 1)
    X, y = load_rows(folder)
    before = child_status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak from here on
    model = Skfm(kind).fit(X, y, 2)
    added = child_status("VmHWM") - before
    csr = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes
    parameters = model.components_.nbytes + model.coef_.nbytes
    return {"added": added, "input": csr, "state": 2 * parameters}


def measure_memory(data):
    X, y, *_ = data
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_rows(X, y, folder)
        for kind in COMPONENTS:
            found = run_child(kind, folder, script=__file__)
            ratio = (found["added"] - found["state"]) / found["input"]
            print(
                f"Memory of a fit, {kind}: {found['added'] / 1e6:.0f} MB, which is parameters and "
                f"optimizer state ({found['state'] / 1e6:.0f} MB) and {ratio:.2f} times the CSR "
                f"input ({found['input'] / 1e6:.0f} MB)."
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--child", choices=COMPONENTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(child_memory(arguments.folder, arguments.child)))
        return
    data = make_data(arguments.rows)
    base = log_loss(data[3], np.full(HELD_OUT, data[1].mean()))
    print(
        f"{arguments.rows:,} rows x {N_FIELDS} one-hot fields, {N_FIELDS * N_LEVELS:,} features, "
        f"{arguments.epochs} epochs; log loss of the base rate {base:.4f}"
    )
    tools = []
    for kind in COMPONENTS:
        alpha = tune(lambda a, k=kind: Skfm(k, alpha=a), OURS, data, arguments.epochs)
        print(f"skfm {kind}: alpha={alpha:g} for given penalties")
        tools += [Skfm(kind), Skfm(kind, 1, alpha), Skfm(kind, 2, alpha)]
    try:
        for kind in () if arguments.no_peer else PEERS:
            l2 = tune(lambda a, k=kind: ModernFM(k, l2=a), THEIRS, data, arguments.epochs)
            print(f"modern-fm {kind}: l2_linear = l2_factors = {l2:g}")
            tools += [ModernFM(kind, 1, l2, size) for size in (1, 256)]
    except ImportError:
        print("modern-fm is not installed: skipped")
    compare(measure(tools, data, arguments.epochs, arguments.repeats))
    if sys.platform == "linux":
        measure_memory(data)


if __name__ == "__main__":
    main()
