"""How fast TableEncoder, OneHotEncoder and FeatureHasher encode a table of strings, and in how
much memory.

    python benchmarks/encode.py [--rows 1000000] [--columns 10] [--values 10000] [--repeats 3]
                                [--part categories] [--part hashed] [--part kinds] [--part single]

Each column has --values distinct strings, such as "value-00042", drawn uniformly, in tables of
pandas (as str, object and category), polars and Arrow. Each measurement is made in a process of
its own, which first encodes 1000 rows, so that compiling does not count; repeats of the tools
alternate, and medians are shown. "CPU" are the CPU seconds of fit_transform, which depend less on
what else the machine does. Output is float64.

- "categories": TableEncoder and scikit-learn's OneHotEncoder(handle_unknown="ignore"). The latter
  cannot read Arrow tables; the time for to_pandas() is included there.
- "hashed": TableEncoder(strings="hashed") and FeatureHasher(input_type="string",
  alternate_sign=False), both with --columns times --values features. FeatureHasher needs lists of
  strings; they are made beforehand, which does not count.
- "kinds": TableEncoder on a million rows of one column of each type.
- "single": milliseconds for one row of --columns columns at a time, for an encoder fitted on
  100,000 rows.

"peak" is the largest memory during fit_transform, less what the process had before, table
included; "/ CSR" divides it by the size of the resulting CSR matrix.
"""

import argparse
import ctypes
import gc
import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

CONTAINERS = "pandas str", "pandas object", "pandas category", "polars", "Arrow"


def make_table(container, n_rows, n_columns, n_values):
    import pyarrow as pa

    rng = np.random.default_rng(0)
    names = pa.array([f"value-{number:05d}" for number in range(n_values)])
    columns = {
        f"c{number}": names.take(pa.array(rng.integers(n_values, size=n_rows)))
        for number in range(n_columns)
    }
    table = pa.table(columns)
    if container == "Arrow":
        return table
    if container == "polars":
        import polars

        return polars.from_arrow(table)
    if container == "lists":
        return list(
            map(list, zip(*(column.to_pylist() for column in columns.values()), strict=True))
        )
    frame = table.to_pandas()
    kind = container.removeprefix("pandas ")
    return frame if kind == "str" else frame.astype(kind)


def make_kinds(n_rows):
    """Columns of each type, and how they are encoded."""
    import pandas as pd

    rng = np.random.default_rng(0)
    numbers = rng.exponential(1000, n_rows)
    times = np.datetime64("2021-01-01") + rng.integers(10**7, size=n_rows) * np.timedelta64(1, "s")
    words = np.array([f"w{number}" for number in range(1000)], dtype=object)
    text = words[rng.integers(1000, size=(n_rows, 3))]
    return {
        "number": (pd.DataFrame({"x": numbers}), "number"),
        "quantile_bins": (pd.DataFrame({"x": numbers}), "quantile_bins"),
        "log_bins": (pd.DataFrame({"x": numbers}), "log_bins"),
        "integers as category": (pd.DataFrame({"x": rng.integers(1000, size=n_rows)}), "category"),
        "date": (pd.DataFrame({"x": times}), "date"),
        "date with time zone": (
            pd.DataFrame(
                {"x": pd.Series(times).dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo")}
            ),
            "date",
        ),
        "bag of 3 of 1000": (_as_lists(text), "bag"),
        "hashed_bag": (_as_lists(text), "hashed_bag"),
    }


def _as_lists(text):
    import pyarrow as pa

    offsets = np.arange(0, text.size + 1, text.shape[1], dtype=np.int32)
    return pa.table({"x": pa.ListArray.from_arrays(offsets, pa.array(text.ravel()))})


def make_tool(name, n_features):
    from sklearn.feature_extraction import FeatureHasher
    from sklearn.preprocessing import OneHotEncoder

    from skfm.preprocessing import TableEncoder

    n_columns = n_features["columns"]
    return {
        "TableEncoder": lambda: TableEncoder(),
        "OneHotEncoder": lambda: OneHotEncoder(handle_unknown="ignore"),
        "TableEncoder, hashed": lambda: TableEncoder(
            strings="hashed", n_features=n_features["total"] // n_columns
        ),
        "FeatureHasher": lambda: FeatureHasher(
            n_features["total"], input_type="string", alternate_sign=False
        ),
    }[name]()


def head(table, n):
    return (
        table.slice(0, n) if hasattr(table, "to_pandas") and hasattr(table, "slice") else table[:n]
    )


def readable(name, table):
    """The table as the tool can read it."""
    is_arrow = type(table).__module__.startswith("pyarrow")
    return table.to_pandas() if name == "OneHotEncoder" and is_arrow else table


def memory(field):
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * int(next(line.split()[1] for line in status if line.startswith(field)))


def release_memory():
    """Return to the system what is free: else, later allocations would not count."""
    import pyarrow as pa

    gc.collect()
    pa.default_memory_pool().release_unused()
    with suppress(OSError, AttributeError):  # where the C library is another
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def measure(name, container, shape):
    """In a process of its own: seconds, and memory where Linux says so."""
    table = make_table(container, *shape)
    tool = make_tool(name, {"columns": shape[1], "total": shape[1] * shape[2]})
    tool.fit_transform(readable(name, head(table, 1000)))
    tool.transform(readable(name, head(table, 1000)))
    on_linux = Path("/proc/self/clear_refs").exists()
    if on_linux:
        release_memory()
        before = memory("VmRSS")
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # peaks from here on
    start, cpu = time.perf_counter(), time.process_time()
    X = tool.fit_transform(readable(name, table))
    fitted, cpu = time.perf_counter(), time.process_time() - cpu
    size = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes
    peak = memory("VmHWM") - before if on_linux else None
    assert X.nnz == shape[0] * shape[1] or "Hasher" in name, X.nnz
    del X
    start_transform = time.perf_counter()
    tool.transform(readable(name, table))
    done = time.perf_counter()
    return {
        "fit_transform": fitted - start,
        "cpu": cpu,
        "transform": done - start_transform,
        "peak": peak,
        "ratio": peak and peak / size,
    }


def measure_single(name, container, shape):
    table = make_table(container, 100_000, *shape[1:])
    tool = make_tool(name, {"columns": shape[1], "total": shape[1] * shape[2]})
    tool.fit(readable(name, table))
    row = head(table, 1)
    tool.transform(readable(name, row))
    times = []
    for _ in range(300):
        start = time.perf_counter()
        tool.transform(readable(name, row))
        times.append(time.perf_counter() - start)
    return {"milliseconds": 1000 * float(np.median(times))}


def measure_kinds(n_rows):
    from skfm.preprocessing import TableEncoder

    found = {}
    for label, (table, kind) in make_kinds(n_rows).items():
        TableEncoder({"x": kind}).fit_transform(head(table, 1000))
        start = time.perf_counter()
        TableEncoder({"x": kind}).fit_transform(table)
        found[label] = time.perf_counter() - start
    return found


def run(*arguments):
    command = [sys.executable, __file__, "--measure", json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def medians(runs):
    return {
        key: None if runs[0][key] is None else float(np.median([one[key] for one in runs]))
        for key in runs[0]
    }


def compare(cases, shape, repeats):
    """Repeats of all cases, which alternate."""
    runs = {case: [] for case in cases}
    for _ in range(repeats):
        for case in cases:
            runs[case].append(run("compare", *case, shape))
    print(
        f"{'':24}{'':18}{'fit_transform':>14}{'CPU':>9}{'transform':>11}{'peak':>10}{'/ CSR':>7}"
    )
    for (name, container), found in runs.items():
        found = medians(found)
        print(
            f"{name:24}{container:18}{found['fit_transform']:>12.2f} s{found['cpu']:>7.2f} s"
            + f"{found['transform']:>9.2f} s"
            + (f"{found['peak'] / 1e6:>7.0f} MB{found['ratio']:>7.2f}" if found["peak"] else "")
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=10)
    parser.add_argument("--values", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    parts = ["categories", "hashed", "kinds", "single"]
    parser.add_argument("--part", action="append", choices=parts)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        what, *rest = json.loads(options.measure)
        functions = {"compare": measure, "single": measure_single, "kinds": measure_kinds}
        print(json.dumps(functions[what](*rest)))
        return
    shape = options.rows, options.columns, options.values
    chosen = options.part or parts
    print(f"{options.rows:,} rows, {options.columns} columns of {options.values:,} strings")
    if "categories" in chosen:
        tools = "TableEncoder", "OneHotEncoder"
        cases = [(tool, container) for container in CONTAINERS for tool in tools]
        compare(cases, shape, options.repeats)
    if "hashed" in chosen:
        hashed = [("TableEncoder, hashed", container) for container in CONTAINERS]
        compare([*hashed, ("FeatureHasher", "lists")], shape, options.repeats)
    if "kinds" in chosen:
        found = medians([run("kinds", options.rows) for _ in range(options.repeats)])
        print("\nfit_transform of one column")
        for label, seconds in found.items():
            print(f"{label:24}{seconds:>8.3f} s")
    if "single" in chosen:
        print("\none row at a time")
        for tool in ("TableEncoder", "TableEncoder, hashed", "OneHotEncoder"):
            for container in CONTAINERS:
                found = medians([run("single", tool, container, shape)])
                print(f"{tool:24}{container:18}{found['milliseconds']:>8.2f} ms")


if __name__ == "__main__":
    main()
