"""skfm.show_versions: what a report of a bug needs to say about the installation."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

import llvmlite.binding
import numba

from skfm._kernels._cache import place_to_write
from skfm._version import __version__

DEPENDENCIES = "numpy", "scipy", "scikit-learn", "numba", "llvmlite", "joblib"
OPTIONAL = (
    "pandas",
    "polars",
    "pyarrow",
    "dask",
    "distributed",
    "matplotlib",
    "skops",
    "onnx",
    "skl2onnx",
    "onnxruntime",
    "faiss-cpu",
    "threadpoolctl",
)
# Extensions of the instruction set that change the compiled kernels most.
CPU_FEATURES = "sse4.2", "avx", "avx2", "fma", "avx512f", "neon", "sve"
THREAD_VARIABLES = (
    "NUMBA_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
)


def show_versions() -> None:
    """Print information for bug reports: versions, processor, threads and the kernel cache.

    The output contains the versions of skfm, of its dependencies and of optional packages that are
    installed; the Python version and the platform; the processor as Numba sees it; the number of
    threads; and the folder of the cache of compiled kernels.

    See Also
    --------
    sklearn.show_versions : The same for scikit-learn, without Numba.

    Notes
    -----
    No package is imported except those that skfm requires. With threadpoolctl, which scikit-learn
    requires, the output includes the thread pools of the libraries that are loaded.

    Examples
    --------
    >>> from skfm import show_versions
    >>> show_versions()  # doctest: +SKIP
    """
    sections = {
        "System": _system(),
        "Dependencies": {name: _version(name) or "not installed" for name in DEPENDENCIES},
        "Optional packages": {name: _version(name) for name in OPTIONAL if _version(name)},
        "Processor": _processor(),
        "Threads": _threads(),
        "Compiled kernels": _kernels(),
    }
    print("\n\n".join(_section(title, lines) for title, lines in sections.items()))


def _section(title, lines):
    width = max(map(len, lines), default=0)
    return "\n".join([f"{title}:", *(f"{name:>{width}}: {text}" for name, text in lines.items())])


def _version(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _system():
    return {
        "skfm": __version__,
        "python": sys.version.replace("\n", " "),
        "executable": sys.executable,
        "platform": platform.platform(),
    }


def _processor():
    features = llvmlite.binding.get_host_cpu_features()
    return {
        "name": llvmlite.binding.get_host_cpu_name(),
        "features": ", ".join(name for name in CPU_FEATURES if features.get(name)) or "none",
        "count": os.cpu_count(),
    }


def _kernels():
    return {
        "just-in-time compilation": "off" if numba.config.DISABLE_JIT else "on",
        "cache": place_to_write() or "no folder is writable",
    }


def _threads():
    lines = {"numba": numba.config.NUMBA_NUM_THREADS}
    if hasattr(os, "sched_getaffinity"):
        lines["processors available"] = len(os.sched_getaffinity(0))
    lines |= {name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ}
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return lines
    for pool in threadpool_info():
        name = f"{pool['internal_api']} ({pool['prefix']})"
        lines[name] = f"{pool['num_threads']} threads, version {pool['version']}"
    return lines
