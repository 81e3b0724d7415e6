"""Factorization machines on partitions: held-out loss, bytes sent, and time on a Dask cluster.

    python benchmarks/dask_fm.py                # a simulation in this process: loss and bytes
    python benchmarks/dask_fm.py --workers 1 2  # seconds per epoch on clusters of this machine

Clicks on one-hot fields with planted interactions. The simulation runs the code of a cluster on a
list of partitions, so that its losses are those of a cluster with these partitions, bit for bit.
The bytes are those of the parameters that each partition gets in a step and of the gradients that
it returns, without compression and without what Dask adds.
"""

import argparse
import time
import warnings
from itertools import pairwise

import numpy as np
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss

from skfm import FMClassifier
from skfm._fm import partitioned_rows
from skfm._solvers.partitions import Partitions, States

N_FIELDS = 10
N_HELD_OUT = 50_000
EPOCHS = 4


def make_clicks(n_rows, seed, n_levels):
    """One-hot rows whose levels have a skewed distribution, and labels of a planted model."""
    rng = np.random.default_rng(seed)
    levels = (n_levels * rng.random((n_rows, N_FIELDS)) ** 3).astype(np.int32)
    columns = levels + n_levels * np.arange(N_FIELDS, dtype=np.int32)
    indptr = np.arange(0, columns.size + 1, N_FIELDS, dtype=np.int32)
    shape = n_rows, N_FIELDS * n_levels
    X = sparse.csr_matrix((np.ones(columns.size, np.float32), columns.ravel(), indptr), shape)
    planted = np.random.default_rng(1)
    factors = planted.normal(0, 0.35, (shape[1], 4))
    raw = X @ planted.normal(0, 0.4, shape[1]) - 1
    raw += ((X @ factors) ** 2 - X @ factors**2).sum(axis=1) / 2
    return X, (rng.random(n_rows) < 1 / (1 + np.exp(-raw))).astype(np.int8)


class CountingPartitions(Partitions):
    """Partitions that count the bytes of steps."""

    def convert(self, function, *shared):
        return CountingPartitions(super().convert(function, *shared).parts)

    def states(self):
        return CountingStates(self.parts)


class CountingStates(States):
    sent = returned = steps = 0

    def sum(self, function, *shared, **options):
        total = super().sum(function, *shared, **options)
        if function.__name__ == "_take_step":
            CountingStates.sent += n_bytes(shared)
            CountingStates.returned += n_bytes(total)
            CountingStates.steps += 1
        return total


def n_bytes(value):
    if isinstance(value, tuple):
        return sum(map(n_bytes, value))
    return getattr(value, "nbytes", 8)


def model_for(batch_size):
    return FMClassifier(
        16, alpha=2.0, batch_size=batch_size, max_iter=EPOCHS, tol=0, random_state=0
    )


def simulate(n_rows, n_levels, batch_sizes):
    X, y = make_clicks(n_rows, 0, n_levels)
    X_test, y_test = make_clicks(N_HELD_OUT, 2, n_levels)
    print(f"{n_rows} rows, {X.shape[1]} features, 16 components, {EPOCHS} epochs")
    print("batch_size  steps/epoch  partitions  held-out log loss  change  MB/step down  up")
    for batch_size in batch_sizes:
        one = model_for(batch_size).fit(X, y)
        base = log_loss(y_test, one.predict_proba(X_test))
        n_steps = -(-n_rows // batch_size)
        print(f"{batch_size:10} {n_steps:12}  one machine {base:18.5f}")
        for n_parts in (1, 4, 16, 100):
            bounds = np.linspace(0, n_rows, n_parts + 1).astype(int)
            parts = CountingPartitions([(X[a:b], y[a:b], None) for a, b in pairwise(bounds)])
            CountingStates.sent = CountingStates.returned = CountingStates.steps = 0
            model = model_for(batch_size)
            model._fit_partitions(lambda p=parts, m=model: partitioned_rows.Partitions(p, m), None)
            loss = log_loss(y_test, model.predict_proba(X_test))
            down, up = (
                1e-6 * total / CountingStates.steps
                for total in (CountingStates.sent, CountingStates.returned)
            )
            print(
                f"{batch_size:10} {n_steps:12} {n_parts:11} {loss:18.5f} {loss / base - 1:+7.2%} "
                f"{down:13.2f} {up:5.2f}",
                flush=True,
            )


def read_part(column, n_rows, seed, n_levels):
    return make_clicks(n_rows, seed, n_levels)[column]


def measure(n_workers, n_rows, n_levels, batch_size, n_parts=4):
    """Seconds of an epoch on a cluster of single-threaded worker processes."""
    import dask.array as da
    from dask import delayed
    from distributed import Client, LocalCluster

    import skfm.dask

    size = n_rows // n_parts
    blocks = [
        [delayed(read_part)(column, size, seed, n_levels) for seed in range(n_parts)]
        for column in (0, 1)
    ]
    shape = size, N_FIELDS * n_levels
    X = da.concatenate([da.from_delayed(block, shape, np.float32) for block in blocks[0]])
    y = da.concatenate([da.from_delayed(block, (size,), np.int8) for block in blocks[1]])
    ends = []
    model = model_for(batch_size)
    model.set_params(callback=lambda *_: ends.append(time.perf_counter()))
    with (
        LocalCluster(n_workers=n_workers, threads_per_worker=1, dashboard_address=None) as local,
        Client(local) as client,
    ):
        skfm.dask.fit(model, X, y, client=client)
    seconds = np.diff(ends)
    print(
        f"{n_workers} workers, {n_rows} rows, batch_size={batch_size}: {seconds.min():.2f} s per "
        f"epoch (of {', '.join(f'{s:.2f}' for s in seconds)})",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--workers", type=int, nargs="+")
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--levels", type=int, default=1000)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1024, 8192, 32_768])
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    if not arguments.workers:
        simulate(arguments.rows, arguments.levels, arguments.batch_sizes)
    for batch_size in arguments.batch_sizes:
        for n_workers in arguments.workers or ():
            measure(n_workers, arguments.rows, arguments.levels, batch_size)


if __name__ == "__main__":
    main()
