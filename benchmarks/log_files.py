"""A log in a Parquet file to a user-item matrix: processor seconds and memory.

    python benchmarks/log_files.py [--events 20000000] [--users 200000] [--items 40000]

Generated events: users are strings, items integers, ratings float32, times integers; some users
and items are more frequent than others. Each tool runs in a process of its own. "memory" is the
most that the process had (getrusage), less what it had before, and "times CSR" is its ratio to the
size of the matrix in float32. pandas reads three columns, factorizes two, and SciPy makes a matrix
of them. "summed" reads the same columns, "last" also the times, "counted" only users and items.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

BATCH = 1_000_000


def write_log(path, args):
    import pyarrow as pa
    from pyarrow import parquet

    rng = np.random.default_rng(0)
    names = pa.array([f"user-{user:08x}" for user in rng.permutation(args.users)])
    writer = None
    for start in range(0, args.events, BATCH):
        n = min(BATCH, args.events - start)
        users = (rng.random(n) ** 2 * args.users).astype(np.int32)
        table = pa.table(
            {
                "user": names.take(pa.array(users)),
                "item": (rng.random(n) ** 3 * args.items).astype(np.int64),
                "rating": rng.integers(1, 11, n).astype(np.float32) / 2,
                "time": rng.integers(10**9, 2 * 10**9, n),
            }
        )
        writer = writer or parquet.ParquetWriter(path, table.schema)
        writer.write_table(table)
    writer.close()


def by_pandas(path):
    import pandas as pd
    from scipy import sparse

    log = pd.read_parquet(path, columns=["user", "item", "rating"])
    (rows, _), (columns, _) = (pd.factorize(log[name], sort=True) for name in ("user", "item"))
    return sparse.coo_matrix((log["rating"].to_numpy(), (rows, columns))).tocsr()


def by_skfm(**options):
    def read(path):
        from skfm.preprocessing import UserItemEncoder
        from skfm.streams import read_user_item_matrix

        return read_user_item_matrix(path, UserItemEncoder(dtype=np.float32, **options))[0]

    return read


TOOLS = {
    "pandas": by_pandas,
    "skfm, summed": by_skfm(duplicates="sum", time=None),
    "skfm, last": by_skfm(duplicates="last"),
    "skfm, counted": by_skfm(value=None, time=None),
}


def measure(name, path):
    import pandas  # noqa: F401
    import pyarrow.parquet  # noqa: F401

    import skfm.streams  # noqa: F401

    warnings.simplefilter("ignore")
    before, start = _megabytes(), time.process_time()
    X = TOOLS[name](path)
    seconds = time.process_time() - start
    size = (X.data.nbytes + X.indices.nbytes + X.indptr.nbytes) / 2**20
    memory = _megabytes() - before
    print(f"{name:14}{X.nnz:>12}{seconds:>10.1f}{memory:>13.0f}{memory / size:>12.1f}", flush=True)


def _megabytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=20_000_000)
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--items", type=int, default=40_000)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return measure(*args.child)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "log.parquet")
        write_log(path, args)
        print(
            f"{'':14}{'entries':>12}{'seconds':>10}{'memory (MB)':>13}{'times CSR':>12}",
            flush=True,
        )
        for name in TOOLS:
            subprocess.run([sys.executable, __file__, "--child", name, path], check=True)


if __name__ == "__main__":
    main()
