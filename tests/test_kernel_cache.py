"""The cache of compiled kernels: never stale, and never in the way.

Most tests run a small package of the same make: the modules that compile and cache, copied, and
three kernels that compile at once.
"""

import ast
import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from helpers import JIT, run_code, run_python

import skfm
from skfm import _compile_all
from skfm._kernels import _cache

PACKAGE = Path(skfm.__file__).parent
KERNELS = PACKAGE / "_kernels"

pytestmark = pytest.mark.skipif(not JIT, reason="without the JIT there is nothing to cache")

MODULES = {
    "constants": "FACTOR = 2.0\n",
    "loss": """
from skfm._kernels._jit import jit
from skfm._kernels.constants import FACTOR

@jit
def loss(x):
    return FACTOR * x
""",
    "batch": """
from skfm._kernels._jit import jit
from skfm._kernels.loss import loss

@jit
def total(x):
    result = 0.0
    for i in range(x.size):
        result += loss(x[i])
    return result
""",
    "other": """
from skfm._kernels._jit import jit

@jit
def third(x):
    return x[3]
""",
}

USE = """
import json
import numpy as np
from skfm._kernels.batch import total
from skfm._kernels.loss import loss
from skfm._kernels.other import third

def use(dtype=np.float64):
    return [float(total(np.ones(5, dtype))), float(third(np.arange(4, dtype=dtype)))]

def sums():
    kernels = {"loss": loss, "total": total, "third": third}
    return {
        name: [sum(kernel.stats.cache_hits.values()), sum(kernel.stats.cache_misses.values())]
        for name, kernel in kernels.items()
    }
"""
REPORT = "print(json.dumps([use(), sums()]))\n"
COMPILED = {"loss": [0, 1], "total": [0, 1], "third": [0, 1]}
LOADED = {"loss": [0, 0], "total": [1, 0], "third": [1, 0]}  # total's binary contains loss


def make_package(root):
    kernels = root / "skfm" / "_kernels"
    kernels.mkdir(parents=True)
    (root / "skfm" / "__init__.py").touch()
    (kernels / "__init__.py").touch()
    for name in ("_jit", "_cache", "_compiler", "_stacklevel", "_compile_notice", "_atomic"):
        shutil.copy(KERNELS / f"{name}.py", kernels)
    for name, source in MODULES.items():
        (kernels / f"{name}.py").write_text(source)
    return kernels


def start(root, code, **environment):
    settings = {
        **os.environ,
        "PYTHONPATH": str(root),
        "PYTHONSAFEPATH": "1",
        "NUMBA_CACHE_DIR": str(root / "cache"),
        "PYTHONDONTWRITEBYTECODE": "1",  # Python's own cache looks at times of whole seconds
        **environment,
    }
    settings = {name: str(value) for name, value in settings.items() if value is not None}
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", USE + code]
    return subprocess.Popen(command, env=settings, stdout=pipe, stderr=pipe, text=True)


def finish(process):
    out, errors = process.communicate(timeout=100)
    assert process.returncode == 0, out + errors
    return *json.loads(out), errors


def run(root, code=REPORT, **environment):
    """Results, hits and misses by kernel, and what was said to the user."""
    return finish(start(root, code, **environment))


def binaries(folder):
    return sorted(folder.rglob("*.nbc"))


def registered(tree):
    """Names of what a module registers implementations for."""
    return {
        decorator.func.value.id
        for function in tree.body
        if isinstance(function, ast.FunctionDef)
        for decorator in function.decorator_list
        if isinstance(decorator, ast.Call) and getattr(decorator.func, "attr", "") == "register"
    }


@pytest.fixture
def package(tmp_path):
    make_package(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def filled_package(tmp_path_factory):
    root = tmp_path_factory.mktemp("filled")
    make_package(root)
    assert run(root) == ([10.0, 3.0], COMPILED, "")
    return root


@pytest.fixture
def filled(filled_package, tmp_path):
    """A package whose kernels are in the cache, to be damaged."""
    shutil.copytree(filled_package, tmp_path, dirs_exist_ok=True)
    return tmp_path


# What is kept, and when it is used.


def test_a_second_process_compiles_nothing(filled):
    assert run(filled) == ([10.0, 3.0], LOADED, "")


def test_an_edit_recompiles_what_uses_it_and_nothing_else(filled):
    kernels = filled / "skfm" / "_kernels"
    (kernels / "loss.py").write_text(MODULES["loss"].replace("FACTOR *", "3 * FACTOR *"))
    users = {**COMPILED, "third": [1, 0]}
    assert run(filled) == ([30.0, 3.0], users, "")
    (kernels / "constants.py").write_text("FACTOR = 4.0\n")  # frozen into two modules' binaries
    assert run(filled) == ([60.0, 3.0], users, "")
    (kernels / "other.py").write_text(MODULES["other"].replace("x[3]", "x[2]"))
    assert run(filled) == ([60.0, 2.0], {**LOADED, "third": [0, 1]}, "")


def test_modules_that_are_loaded_again_after_an_edit_are_not_kept(filled):
    """Other modules may still have what was loaded first."""
    code = """
import importlib
from pathlib import Path
from skfm._kernels import constants, loss as module
path = Path(constants.__file__)
before = path.read_text()
path.write_text("FACTOR = 7.0\\n")
importlib.reload(constants)
importlib.reload(module)
found = float(module.loss(1.0))
path.write_text(before)
print(json.dumps([[found], sums()]))
"""
    assert run(filled, code)[0] == [7.0]
    later = REPORT.replace("use()", "[float(loss(1.0)), *use()]")
    assert run(filled, later)[0] == [2.0, 10.0, 3.0]


@pytest.mark.full
def test_versions_that_share_a_folder(filled, tmp_path):
    """The same sources share binaries wherever they are; other sources have their own."""
    copy = tmp_path / "copy"
    kernels = make_package(copy)
    cache = {"NUMBA_CACHE_DIR": filled / "cache"}
    assert run(copy, **cache) == ([10.0, 3.0], LOADED, "")
    (kernels / "constants.py").write_text("FACTOR = 5.0\n")
    assert run(copy, **cache)[0] == [25.0, 3.0]
    assert run(filled) == ([10.0, 3.0], LOADED, "")
    assert run(copy, **cache) == ([25.0, 3.0], LOADED, "")


RECORD = """
from typing import NamedTuple

class Pair(NamedTuple):
    one: float
    other: float
"""
USE_RECORD = """
from skfm._kernels.record import Pair
from skfm._kernels.taker import take
found = take(Pair(one=1.0, other=2.0))
print(json.dumps([found, {"take": sum(take.stats.cache_misses.values())}]))
"""
TAKER = """
from skfm._kernels._jit import jit

@jit
def take(pair):
    return pair.one
"""


def test_records_that_a_kernel_is_handed(package):
    """Their fields' places are in its binary, though it does not import them."""
    kernels = package / "skfm" / "_kernels"
    (kernels / "taker.py").write_text(TAKER)
    (kernels / "record.py").write_text(RECORD)
    assert run(package, USE_RECORD) == (1.0, {"take": 1}, "")
    assert run(package, USE_RECORD) == (1.0, {"take": 0}, "")
    fields = ["    one: float\n", "    other: float\n"]
    (kernels / "record.py").write_text(RECORD.replace("".join(fields), "".join(fields[::-1])))
    assert run(package, USE_RECORD) == (1.0, {"take": 1}, "")


def test_settings_that_binaries_depend_on(filled):
    """A binary without checks of bounds does not serve who asks for checks."""
    code = "try:\n    third(np.ones(3))\nexcept IndexError:\n    print(json.dumps([1, sums()]))\n"
    assert run(filled, code, NUMBA_BOUNDSCHECK="1")[1]["third"] == [0, 1]


def test_all_modules_count_if_an_import_is_in_doubt(package):
    kernels = package / "skfm" / "_kernels"
    doubtful = ["from skfm._kernels import (", "import skfm", "    from .loss import loss"]
    for number, line in enumerate(doubtful):
        (kernels / f"doubtful{number}.py").write_text(f"if True:\n    pass\n{line}\n")
    code = """
from skfm._kernels import _cache
for number in range(3):
    assert {"loss", "batch", "_jit"} <= _cache._imports(f"doubtful{number}")
"""
    run_code(code, PYTHONPATH=package, PYTHONSAFEPATH=1)


def test_what_kernels_import():
    """Of skfm only other kernels, in the form that the cache reads; so no edit escapes it."""
    names = {path.stem for path in KERNELS.glob("*.py")}
    outside = {*sys.stdlib_module_names, "numpy", "numba", "llvmlite"}
    for path in KERNELS.glob("*.py"):
        tree, found = ast.parse(path.read_text()), set()
        # Who calls a function has imported its module, and thereby all its implementations.
        own = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert registered(tree) <= own
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                assert {alias.name.partition(".")[0] for alias in node.names} <= outside
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0
                if node.module == "skfm._kernels":
                    assert len(node.names) == 1
                    found.add(node.names[0].name)
                elif node.module.startswith("skfm"):
                    found.add(node.module.removeprefix("skfm._kernels."))
                else:
                    assert node.module.partition(".")[0] in outside
        assert found <= names
        assert _cache._imports(path.stem) == found


def test_importing_makes_and_reads_no_file(package):
    run(package, "print('[0, 0]')")
    assert not (package / "cache").exists()


def user_wide(root):
    """Settings under which all places are below ``root``."""
    home = root / "home"
    cache = home / "cache"
    homes = {"HOME": home, "USERPROFILE": home, "LOCALAPPDATA": cache, "XDG_CACHE_HOME": cache}
    return {"NUMBA_CACHE_DIR": None, **homes}


@pytest.mark.full
def test_a_place_within_the_package(package):
    assert run(package, **user_wide(package))[1:] == (COMPILED, "")
    assert len(binaries(package / "skfm" / "_kernels" / "__pycache__")) == 3
    assert run(package, **user_wide(package))[1:] == (LOADED, "")
    assert not (package / "home").exists()


def test_the_user_wide_place(package):
    (package / "skfm" / "_kernels" / "__pycache__").write_text("in the way")
    assert run(package, **user_wide(package))[1:] == (COMPILED, "")
    assert len(binaries(package / "home")) == 3
    assert run(package, **user_wide(package))[1:] == (LOADED, "")


def test_no_place(package):
    """A plain file stands wherever a folder would have to be: that stops root as well."""
    in_the_way = [package / "skfm" / "_kernels" / "__pycache__", package / "home"]
    for path in in_the_way:
        path.write_text("in the way")
    results, found, said = run(package, **user_wide(package))
    assert (results, found) == ([10.0, 3.0], COMPILED)
    assert said.count("RuntimeWarning") == 1 and str(in_the_way[0]) in said
    assert sorted(path.name for path in package.iterdir()) == ["home", "skfm"]


# What goes wrong.


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "truncated": truncate,
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(b"garbage" * 1000),
    "one bit": flip,
    "missing": Path.unlink,
}


@pytest.mark.parametrize(
    "damages", [("truncated", "empty", "one bit"), ("missing", "truncated", "garbage")]
)
def test_damaged_files_are_replaced(damages, filled):
    files = binaries(filled / "cache")
    for damage, path in zip(damages, files, strict=True):
        DAMAGES[damage](path)
    results, found, said = run(filled)
    assert (results, found) == ([10.0, 3.0], COMPILED)
    assert said.count("RuntimeWarning") == 1 and str(filled / "cache") in said
    assert run(filled) == ([10.0, 3.0], LOADED, "")
    assert binaries(filled / "cache") == files


def test_a_folder_in_the_place_of_a_file(filled):
    for path in binaries(filled / "cache"):
        path.unlink()
        path.mkdir()
    results, found, said = run(filled)
    assert (results, found) == ([10.0, 3.0], COMPILED)
    assert said.count("RuntimeWarning") == 1 and str(filled / "cache") in said


FULL = """
import errno, pathlib

def write_bytes(path, data):
    path.touch()
    raise OSError(errno.ENOSPC, "No space left on device")

pathlib.Path.write_bytes = write_bytes
"""
UNREADABLE = """
import pathlib

def read_bytes(path):
    raise PermissionError(13, "Permission denied")

pathlib.Path.read_bytes = read_bytes
"""
READ_ONLY = """
import tempfile

def TemporaryFile(dir):
    raise OSError(30, "Read-only file system")

tempfile.TemporaryFile = TemporaryFile
"""


def test_a_full_disk(package):
    results, found, said = run(package, FULL + REPORT)
    assert (results, found) == ([10.0, 3.0], COMPILED)
    assert said.count("RuntimeWarning") == 1 and "No space left" in said
    assert str(package / "cache") in said
    assert not [path for path in (package / "cache").rglob("*") if path.is_file()]


def test_files_that_cannot_be_read(filled):
    results, found, said = run(filled, UNREADABLE + REPORT)
    assert (results, found) == ([10.0, 3.0], COMPILED)
    assert said.count("RuntimeWarning") == 1 and str(filled / "cache") in said


@pytest.mark.full
def test_a_filled_folder_that_cannot_be_written(filled):
    """As in a container's image: it is read, and nobody is bothered."""
    assert run(filled, READ_ONLY + REPORT) == ([10.0, 3.0], LOADED, "")
    other = REPORT.replace("use()", "use(np.float32)")
    results, found, said = run(filled, READ_ONLY + other)
    assert (results, found) == ([10.0, 3.0], COMPILED)
    assert said.count("RuntimeWarning") == 1 and str(filled / "cache") in said


def test_a_file_in_the_place_of_the_folder(package):
    (package / "cache").write_text("in the way")
    folder = package / "cache" / "below"
    results, found, said = run(package, NUMBA_CACHE_DIR=folder)
    assert (results, found) == ([10.0, 3.0], COMPILED)
    assert said.count("RuntimeWarning") == 1 and str(folder) in said


@pytest.mark.full
def test_a_folder_that_is_deleted_meanwhile(filled):
    code = f"import shutil\nuse()\nshutil.rmtree({str(filled / 'cache')!r})\nuse(np.float32)\n"
    assert run(filled, code + REPORT)[2] == ""
    assert len(binaries(filled / "cache")) == 3
    assert run(filled, REPORT.replace("use()", "use(np.float32)"))[1] == LOADED


def test_processes_that_write_at_once(package):
    processes = [start(package, REPORT) for _ in range(2)]
    for process in processes:
        results, _, said = finish(process)
        assert (results, said) == ([10.0, 3.0], "")
    assert run(package) == ([10.0, 3.0], LOADED, "")
    assert {path.suffix for path in (package / "cache").rglob("*.*")} == {".nbc"}


@pytest.mark.parametrize("name", ["_reduce", "_rebuild"])
def test_another_numba(name, filled):
    """Kernels compile without the parts of Numba that the cache needs."""
    code = f"from numba.core.compiler import CompileResult\ndel CompileResult.{name}\n"
    code += REPORT.replace("use()", "use(np.float32)" if name == "_reduce" else "use()")
    results, found, said = run(filled, code)
    assert (results, found) == ([10.0, 3.0], COMPILED)
    assert said.count("RuntimeWarning") == 1


def test_without_the_jit(package):
    results, _, said = run(package, "print(json.dumps([use(), 0]))", NUMBA_DISABLE_JIT="1")
    assert (results, said) == ([10.0, 3.0], "")
    assert not (package / "cache").exists()


# What is said while kernels are compiled.

SOON = "from skfm._kernels import _compile_notice\n_compile_notice.PATIENCE = {}\n"


def test_notice(package):
    """Once, on one line, though warnings be errors; nothing when kernels are loaded."""
    code = "import warnings; warnings.simplefilter('error')\n" + SOON.format(0.0) + REPORT
    said = run(package, code)[2]
    assert said.count("\n") == 1
    assert said.startswith("Compiling kernels") and str(package / "cache") in said
    assert run(package, code)[2] == ""


def test_notice_comes_while_one_waits(package):
    code = """
import logging, time
moments = []

class Watch(logging.Handler):
    def emit(self, record):
        moments.append(time.perf_counter())

logging.getLogger("skfm").addHandler(Watch())
logging.getLogger("skfm").propagate = False
use()
after = time.perf_counter()
print(json.dumps([[], {"before": len(moments) == 1 and moments[0] < after}]))
"""
    assert run(package, SOON.format(0.01) + code)[1] == {"before": True}


def test_time_of_compiling(package):
    """All of it, also after the notice, and less where kernels are loaded."""
    code = (
        SOON.format(0.0)
        + """
times = [_compile_notice.compiling_time()]
for dtype in ("f8", "f4"):
    use(dtype)
    times.append(_compile_notice.compiling_time())
print(json.dumps([times, None]))
"""
    )
    start, once, twice = run(package, code)[0]
    assert start == 0 < once < twice
    start, again, _ = run(package, code)[0]
    assert start == 0 < again < once


@pytest.mark.full
def test_no_notice_of_what_is_quick_or_silenced_or_of_others(package):
    assert run(package, SOON.format(100.0) + REPORT)[2] == ""
    silent = "import logging; logging.getLogger('skfm').setLevel('ERROR')\n"
    assert run(package, silent + SOON.format(0.0) + REPORT.replace("use()", "use('f4')"))[2] == ""
    other = "import numba\nnumba.njit(lambda x: x)(1)\nprint('[0, 0]')\n"
    assert run(package, SOON.format(0.0) + other)[2] == ""


# The package itself.


def test_importing_compiles_nothing():
    code = """
import importlib, pkgutil
import skfm._kernels
from numba.core.dispatcher import Dispatcher
kernels = [
    value
    for module in pkgutil.iter_modules(skfm._kernels.__path__, "skfm._kernels.")
    for value in vars(importlib.import_module(module.name)).values()
    if isinstance(value, Dispatcher)
]
assert len(kernels) > 10
assert not any(kernel.signatures for kernel in kernels)
"""
    run_code("import skfm\n" + code)


# Fits with defaults, in a process of its own; prints what Numba compiles for them.
DEFAULTS = """
import json, sys, warnings
import numpy as np
from numba.core import event
from scipy import sparse
import skfm
from skfm import baselines
from skfm._compile_all import SOLVERS

compiled = []

class Watch(event.Listener):
    def on_start(self, event):
        compiled.append(event.data["dispatcher"].py_func.__qualname__)
    def on_end(self, event):
        pass

event.register("numba:compile", Watch())
warnings.simplefilter("ignore")
rng = np.random.default_rng(1)
y = rng.normal(size=100)
targets = {
    "FMRegressor": [y],
    "FMClassifier": [y > 0, np.digitize(y, [-1, 1])],
    "BayesianFMRegressor": [y],
    "BayesianFMClassifier": [y > 0],
    "MFRecommender": [None],
    "FMRecommender": [rng.integers(12, size=100)],
}
settings = {
    "FMRegressor": [{"solver": solver} for solver in SOLVERS],
    "MFRecommender": [{}, {"solver": "sgd"}, {"feedback": "implicit"}],
}
estimators = {name: getattr(skfm, name) for name in skfm.__all__}
estimators = {name: kind for name, kind in estimators.items() if isinstance(kind, type)}
assert set(estimators) == set(targets)
estimators |= {name: getattr(baselines, name) for name in baselines.__all__}
dense = np.abs(rng.normal(size=(100, 12)) * (rng.random((100, 12)) < 0.7))
one_hot = np.eye(12)[rng.integers(12, size=100)] + np.eye(12)[rng.integers(12, size=100)]
weight = np.ones(100, sys.argv[1])
shared, long = sparse.csr_matrix(dense, dtype=sys.argv[1]), sparse.csr_matrix(one_hot)
for array in (shared.data, shared.indices, shared.indptr, weight):
    array.flags.writeable = False
long.indices, long.indptr = long.indices.astype(np.int64), long.indptr.astype(np.int64)
for X in (dense, sparse.csr_matrix(dense), sparse.csr_matrix(one_hot), shared, long):
    X = X.astype(sys.argv[1], copy=False)
    for name in estimators:
        for parameters in settings.get(name, [{}]):
            for target in targets.get(name, [None]):
                for n_jobs in (None, 2):
                    model = estimators[name](**parameters)
                    options = {"n_jobs": n_jobs, "random_state": 0}
                    known = model.get_params()
                    model.set_params(**{key: options[key] for key in options if key in known})
                    model.fit(X, target)
                    if "Recommender" not in name:
                        model.fit(X, target, weight)
                    if hasattr(model, "recommend"):
                        model.recommend(X, 3)
                        if hasattr(model, "similar_items"):
                            model.similar_items([0], 2)
                    else:
                        model.predict(X)
print(json.dumps(compiled))
"""


def test_compile_all_takes_dtypes():
    for wrong in ("int64", ["float64", "float16"]):
        with pytest.raises(ValueError, match="dtypes must contain only 'float64' and 'float32'"):
            skfm.compile_all(wrong)


def test_compile_all_says_when_nothing_can_be_kept(monkeypatch):
    def use():
        warnings.warn("Compiled kernels cannot be cached", RuntimeWarning, stacklevel=1)

    monkeypatch.setattr(_compile_all, "_uses", lambda dtype: [use])
    with pytest.warns(RuntimeWarning, match="cannot be cached"):
        skfm.compile_all()


@pytest.mark.full  # compiles everything: a minute or two
def test_after_compile_all_default_fits_compile_nothing(tmp_path):
    cache = {"NUMBA_CACHE_DIR": tmp_path}
    said = run_python("-c", "import skfm; skfm.compile_all()", timeout=900, **cache)
    assert said.returncode == 0 and said.stdout == ""
    assert said.stderr.startswith("Compiling kernels") and said.stderr.count("\n") == 1
    for dtype in ("float64", "float32"):
        done = run_python("-c", DEFAULTS, dtype, **cache)
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout) == []


@pytest.mark.full  # compiles the kernels of a model twice
def test_a_model_with_a_damaged_cache(tmp_path):
    code = """
import numpy as np
import skfm

print(skfm.MFRecommender(2, random_state=0).fit(np.eye(5) + 1).components_.tolist())
"""
    expected = run_code(code, NUMBA_CACHE_DIR=tmp_path)
    for path in binaries(tmp_path):
        truncate(path)
    done = run_python("-c", code, NUMBA_CACHE_DIR=tmp_path)
    assert (done.returncode, done.stdout) == (0, expected)
    assert done.stderr.count("RuntimeWarning") == 1 and str(tmp_path) in done.stderr
    done = run_python("-c", code, NUMBA_CACHE_DIR=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, expected, "")
