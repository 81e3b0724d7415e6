"""How fast and how good FMClassifier is on Parquet files with more rows than memory should hold.

    python benchmarks/stream.py [--sizes 5000000 20000000] [--epochs 4] [--repeats 1]
                                [--part speed] [--part losses] [--folder FOLDER]

The script writes the rows: 10 columns of strings with 10,000 values each, frequencies by Zipf's
law, and clicks drawn from a planted factorization machine; a file for each million rows. It needs
about 100 MB of disk for each million rows, cache included, in --folder or in a temporary one,
which is removed afterwards. Every measurement is made in a process of its own; with --repeats,
medians are shown.

- "reading and hashing": rows/s of reading the Parquet files and encoding them by
  TableEncoder(strings="hashed") with 2**14 features a column, chunk after chunk, and nothing else.
- "first pass": rows/s of Rows(...).encoded(), which reads, hashes and writes the cache.
- "epoch": rows/s of the second and all later epochs of `fit_stream` and, in memory, of `fit`, by
  the times at which `callback` is called; one thread unless --n-jobs says otherwise, 16
  components, given penalties, as those that are estimated take longer in the first epochs.
- "peak": the largest memory of the process, with Python and all libraries.
- "losses": log loss on 200,000 rows held out, for two million training rows of 8 columns in random
  order, sorted by the user (a column of 100,000 values), and sorted by time, over which all
  probabilities drift. Defaults, nothing is tuned; medians of three seeds of the model.
  "in memory" is `fit` on the same rows in the same order.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from fm_epoch import child_status
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss

from skfm import FMClassifier
from skfm.preprocessing import TableEncoder
from skfm.streams import Rows

warnings.simplefilter("ignore", ConvergenceWarning)

N_COLUMNS, N_VALUES = 10, 10_000
N_HASHED = 1 << 14  # features of a column
FILE_ROWS = 1_000_000
GIVEN = {"alpha": 2.0, "alpha_linear": 5.0}
N_USERS = 100_000
LOSS_ROWS, HELD_OUT = 2_000_000, 200_000
ORDERS = "random", "by-user", "by-time"


# Data


def zipf(n_values):
    share = 1 / np.arange(1, n_values + 1)
    return share / share.sum()


def planted(sizes):
    """Weights and vectors of the values of each column."""
    rng = np.random.default_rng(0)
    return [(0.3 * rng.standard_normal(n), 0.35 * rng.standard_normal((n, 8))) for n in sizes]


def draw(rng, n_rows, sizes, model, offset=0.0):
    """Numbers of values (n_rows, n_columns), and clicks."""
    values = np.stack([rng.choice(n, n_rows, p=zipf(n)) for n in sizes], axis=1)
    output, total, squares = -1.0 + offset, 0.0, 0.0
    for column, (weight, vectors) in zip(values.T, model, strict=True):
        output = output + weight[column]
        total = total + vectors[column]
        squares = squares + np.square(vectors[column]).sum(axis=1)
    output = output + (np.square(total).sum(axis=1) - squares) / 2
    return values, rng.random(n_rows) < 1 / (1 + np.exp(-output))


def as_table(values, clicks, sizes):
    import pyarrow as pa

    columns = {
        f"c{number}": pa.DictionaryArray.from_arrays(
            pa.array(column.astype(np.int32)), pa.array([f"value-{i:06d}" for i in range(n)])
        ).cast(pa.string())
        for number, (column, n) in enumerate(zip(values.T, sizes, strict=True))
    }
    return pa.table(columns | {"click": clicks})


def write_files(folder, n_rows):
    import pyarrow.parquet as pq

    sizes = [N_VALUES] * N_COLUMNS
    model = planted(sizes)
    for number in range(-(-n_rows // FILE_ROWS)):
        path = folder / f"part-{number:03d}.parquet"
        if not path.exists():
            rng = np.random.default_rng(number)
            rows = draw(rng, min(FILE_ROWS, n_rows - number * FILE_ROWS), sizes, model)
            pq.write_table(as_table(*rows, sizes), path)


def write_ordered(folder, order):
    """Training rows in this order, and rows held out, which are drawn from all times."""
    import pyarrow.parquet as pq

    sizes = [N_USERS] + [N_VALUES // 10] * 7
    rng = np.random.default_rng(0)
    n = LOSS_ROWS + HELD_OUT
    day = rng.random(n)  # as a share of the whole time
    drift = 1.5 * np.sin(2 * np.pi * day) if order == "by-time" else 0.0
    values, clicks = draw(rng, n, sizes, planted(sizes), drift)
    train = np.arange(LOSS_ROWS)
    if order == "by-user":
        train = train[np.argsort(values[train, 0], kind="stable")]
    elif order == "by-time":
        train = train[np.argsort(day[train], kind="stable")]
    for name, rows in (("train", train), ("test", np.arange(LOSS_ROWS, n))):
        table = as_table(values[rows], clicks[rows], sizes)
        pq.write_table(table, folder / f"{order}-{name}.parquet")


# Measurements, each in a process of its own


def open_rows(paths, cache=None):
    encoder = TableEncoder(strings="hashed", n_features=N_HASHED)
    return Rows([str(path) for path in paths], target="click", encoder=encoder, cache=cache)


def first_files(arguments):
    """The paths of files with so many rows."""
    return sorted(arguments.folder.glob("part-*.parquet"))[: -(-arguments.rows // FILE_ROWS)]


def cache_of(arguments):
    return arguments.folder / f"cache-{arguments.rows}"


def hashing(arguments):
    import pyarrow as pa
    import pyarrow.parquet as pq

    paths = first_files(arguments)
    encoder, start = open_rows(paths).encoder_, time.perf_counter()
    for path in paths:
        for batch in pq.ParquetFile(path).iter_batches(100_000):
            encoder.transform(pa.table(batch).drop_columns("click"))
    return {"seconds": time.perf_counter() - start}


def first_pass(arguments):
    rows = open_rows(first_files(arguments), cache_of(arguments))
    rows.encoder_  # noqa: B018 -- what compiling takes does not count
    start = time.perf_counter()
    rows.encoded()
    return {"seconds": time.perf_counter() - start}


def timed(fit, arguments):
    """Seconds of an epoch, from the end of the first one."""
    ends = []
    model = FMClassifier(
        16,
        max_iter=arguments.epochs,
        tol=0,
        n_jobs=arguments.n_jobs,
        random_state=0,
        callback=lambda *_: ends.append(time.perf_counter()),
        **GIVEN,
    )
    fit(model)
    return {"seconds": (ends[-1] - ends[0]) / (len(ends) - 1)}


def from_files(arguments):
    rows = open_rows(first_files(arguments), cache_of(arguments))
    return timed(lambda model: model.fit_stream(rows), arguments)


def in_memory(arguments):
    rows = open_rows(first_files(arguments), cache_of(arguments))
    X, y, _ = rows.encoded().read_all()
    return timed(lambda model: model.fit(X, y), arguments)


def losses(arguments):
    """Log losses of `fit_stream` and `fit` for a seed."""
    train, test = (
        open_rows([arguments.folder / f"{arguments.order}-{name}.parquet"])
        for name in ("train", "test")
    )
    X_test, y_test, _ = test.encoded().read_all()
    X, y, _ = train.encoded().read_all()
    model = FMClassifier(random_state=arguments.seed, n_jobs=arguments.n_jobs)
    from_files = log_loss(y_test, model.fit_stream(train).predict_proba(X_test))
    return {"files": from_files, "memory": log_loss(y_test, model.fit(X, y).predict_proba(X_test))}


TASKS = {f.__name__: f for f in (hashing, first_pass, from_files, in_memory, losses)}


def run_child(task, arguments, **options):
    """The result of a task and its peak memory, from a process of its own."""
    command = [sys.executable, __file__, "--child", task, "--folder", str(arguments.folder)]
    for name in ("epochs", "n_jobs"):
        options.setdefault(name, getattr(arguments, name))
    for name, value in options.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def report_speed(arguments):
    print(f"{'':<24}{'rows':>12}{'s':>9}{'rows/s':>12}{'peak, MB':>10}", flush=True)
    write_files(arguments.folder, max(arguments.sizes))
    for n_rows in arguments.sizes:
        tasks = ["hashing", "first_pass", "from_files"]
        if n_rows == min(arguments.sizes):
            tasks.append("in_memory")
        results = {task: [] for task in tasks}
        for _ in range(arguments.repeats):
            shutil.rmtree(arguments.folder / f"cache-{n_rows}", ignore_errors=True)
            for task in tasks:
                results[task].append(run_child(task, arguments, rows=n_rows))
        for task, measured in results.items():
            seconds = np.median([result["seconds"] for result in measured])
            peak = max(result["peak"] for result in measured) / 1e6
            print(
                f"{LABELS[task]:<24}{n_rows:>12,}{seconds:>9.2f}{n_rows / seconds:>12,.0f}"
                f"{peak:>10.0f}",
                flush=True,
            )


def report_losses(arguments):
    print(
        f"\n{'order of the rows':<24}{'from files':>12}{'in memory':>12}{'ratio':>8}", flush=True
    )
    for order in ORDERS:
        write_ordered(arguments.folder, order)
        results = [run_child("losses", arguments, order=order, seed=seed) for seed in range(3)]
        files, memory = (
            np.median([result[name] for result in results]) for name in ("files", "memory")
        )
        print(f"{order:<24}{files:>12.4f}{memory:>12.4f}{files / memory:>8.4f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[5_000_000, 20_000_000])
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--n-jobs", type=int, default=1)
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--folder", type=Path)
    for name, kind in (("child", str), ("rows", int), ("order", str), ("seed", int)):
        parser.add_argument(f"--{name}", type=kind, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        result = TASKS[arguments.child](arguments)
        result["peak"] = child_status("VmHWM")
        print(json.dumps(result))
        return
    with tempfile.TemporaryDirectory() as temporary:
        arguments.folder = arguments.folder or Path(temporary)
        arguments.folder.mkdir(parents=True, exist_ok=True)
        for part in arguments.part or PARTS:
            PARTS[part](arguments)


LABELS = {
    "hashing": "reading and hashing",
    "first_pass": "first pass",
    "from_files": "epoch, from files",
    "in_memory": "epoch, in memory",
}
PARTS = {"speed": report_speed, "losses": report_losses}

if __name__ == "__main__":
    main()
