"""Compiled kernels on disk: never stale, and never in the way of a fit.

Each binary is one file, in a folder for each module of kernels, whose name has a hash of all
sources that the module's binaries may contain. Numba's own cache looks at the file of a function
alone, has an index that processes write over each other, and fails on a file that is damaged.
"""

import hashlib
import os
import pickle
import re
import sys
import tempfile
import time
import warnings
from functools import cache
from pathlib import Path

import llvmlite
import numba
import numpy as np

from skfm._kernels._atomic import replacing
from skfm._kernels._stacklevel import level_of_user

_HERE = Path(__file__).parent
_PACKAGE = __package__

# What binaries depend on besides sources and the processor: versions, and settings of Numba's.
_VERSIONS = (
    numba.__version__,
    llvmlite.__version__,
    np.__version__,
    sys.implementation.cache_tag,
    getattr(sys, "abiflags", ""),
)
_SETTINGS = (
    "OPT",
    "LOOP_VECTORIZE",
    "SLP_VECTORIZE",
    "BOUNDSCHECK",
    "DEBUGINFO_DEFAULT",
    "USING_SVML",
)


def cached(kernel):
    """Let a kernel load its binaries from disk, and save them there."""
    if hasattr(kernel, "py_func"):  # not with NUMBA_DISABLE_JIT
        try:
            if not _has_changed(_module_of(kernel.py_func)):
                kernel._cache = KernelCache(kernel.py_func)
        except Exception as error:  # no sources, or another Numba: then without
            _warn(f"Compiled kernels cannot be cached ({error!r}).")
    return kernel


# Sources.


def _module_of(function):
    return function.__module__.rpartition(".")[2]


def _read_source(module):
    return __spec__.loader.get_data(str(_HERE / f"{module}.py"))


@cache
def _source(module):
    """The source of a module of kernels: as it was at the first look, like the loaded module."""
    return _read_source(module)


_IMPORT = re.compile(r"^[ \t]*(?:from|import)\b.*$", re.MULTILINE)


@cache
def _imports(module):
    """The modules of kernels that a module imports: those it names, or all in case of doubt."""
    name = re.escape(_PACKAGE)
    ours = re.compile(rf"\b{_PACKAGE.partition('.')[0]}\b|^\s*from\s*\.")
    from_module = re.compile(rf"\s*from {name}\.(\w+) import\b")
    module_itself = re.compile(rf"\s*from {name} import (\w+)(?: as \w+)?\s*$")
    found = set()
    for line in _IMPORT.findall(_source(module).decode()):
        named = from_module.match(line) or module_itself.match(line)
        if named:
            found.add(named[1])
        elif ours.search(line):
            found.update(path.stem for path in _HERE.glob("*.py"))
    return found


@cache
def _parts(module):
    """A module of kernels and all that its binaries may contain code of."""
    found, waiting = set(), {module}
    while waiting:
        name = waiting.pop()
        found.add(name)
        waiting |= _imports(name) - found
    return sorted(found)


def _has_changed(module):
    """Whether sources differ from the first look: after an edit, modules may be loaded again."""
    return any(_read_source(name) != _source(name) for name in _parts(module))


@cache
def _digest(module):
    """A hash of all that the binaries of a module may contain."""
    digest = hashlib.sha256(repr(_VERSIONS).encode())
    for name in _parts(module):
        digest.update(f"{name} {len(_source(name))} ".encode() + _source(name))
    return digest.hexdigest()[:16]


# Places.


@cache
def places():
    """Where binaries may be, in order."""
    if numba.config.CACHE_DIR:
        return [Path(numba.config.CACHE_DIR)]
    from numba.misc.appdirs import AppDirs

    user_wide = AppDirs(appname="numba", appauthor=False).user_cache_dir
    return [_HERE / "__pycache__", Path(user_wide)]


@cache
def place_to_write():
    """The first place in which files can be made, or None."""
    for place in places():
        try:
            place.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=place).close()
        except OSError:
            continue
        return place
    return None


_warned = False


def _warn(message):
    """Warn once in a process."""
    global _warned
    if _warned:
        return
    _warned = True
    warnings.warn(message, RuntimeWarning, stacklevel=level_of_user())


# Files: a checksum and what was pickled. A damaged binary is never unpickled, let alone run.


def _read(path):
    content = path.read_bytes()
    checksum, data = content[:32], content[32:]
    if hashlib.sha256(data).digest() != checksum:
        raise ValueError("damaged file")
    return pickle.loads(data)


def _write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as draft:
        draft.write_bytes(hashlib.sha256(data).digest() + data)


def _describe(argument):
    """A type's name; of a record the fields as well: a kernel that is handed one need not import
    its class, and has the fields' places in its binary."""
    parts = getattr(argument, "types", None)
    if parts is None:
        return str(argument)
    kind = getattr(argument, "instance_class", None)
    fields = getattr(kind, "_fields", ())
    return str(argument), str(kind), fields, tuple(map(_describe, parts))


class KernelCache:
    """The cache of one kernel, in the shape that Numba's dispatchers expect.

    Whatever goes wrong with files, or with Numba's internals: the kernel is compiled, and a
    warning says so once.
    """

    loading_time = 0.0  # seconds, of all kernels in this process

    def __init__(self, function):
        module = _module_of(function)
        self._folder = f"skfm-{module}-{_digest(module)}"
        self._function = function

    @property
    def cache_path(self):
        return str((place_to_write() or places()[0]) / self._folder)

    def enable(self):
        pass

    def disable(self):
        pass

    def flush(self):
        pass

    def _key(self, sig, codegen):
        """What a binary is compiled for and from, and the name of its file."""
        from numba.core import serialize, sigutils

        types, _ = sigutils.normalize_signature(sig)
        cells = self._function.__closure__ or ()
        code = self._function.__code__
        key = (
            tuple(types),
            tuple(map(_describe, types)),
            codegen.magic_tuple(),
            tuple(str(getattr(numba.config, name, None)) for name in _SETTINGS),
            (self._function.__qualname__, code.co_firstlineno, code.co_code),
            serialize.dumps(tuple(cell.cell_contents for cell in cells)),
        )
        digest = hashlib.sha256(repr(key).encode()).hexdigest()[:32]
        name = re.sub(r"\W", "", self._function.__name__)
        return key, f"{name}-{digest}.nbc"

    def load_overload(self, sig, target_context):
        started = time.perf_counter()
        try:
            return self._load(sig, target_context)
        finally:
            KernelCache.loading_time += time.perf_counter() - started

    def _load(self, sig, target_context):
        try:
            target_context.refresh()
            key, name = self._key(sig, target_context.codegen())
        except Exception as error:
            _warn(f"Compiled kernels cannot be loaded ({error!r}).")
            return None
        for place in places():
            path = place / self._folder / name
            try:
                found, payload = _read(path)
                if found == key:
                    return _rebuild(target_context, payload)
            except (FileNotFoundError, NotADirectoryError):
                pass
            except Exception as error:
                _warn(
                    f"A kernel in {path.parent} cannot be loaded ({error!r}) and is compiled "
                    "again. If this warning is repeated, delete that folder."
                )
        return None

    def save_overload(self, sig, result):
        if result.library.has_dynamic_globals or result.lifted:
            name = self._function.__qualname__
            warnings.warn(f"Cannot cache compiled function {name}", RuntimeWarning, stacklevel=2)
            return
        place = place_to_write()
        try:
            if place is None:
                raise OSError("no file can be created there")
            from numba.core import serialize

            key, name = self._key(sig, result.codegen)
            path = place / self._folder / name
            _write(path, serialize.dumps((key, result._reduce())))
        except Exception as error:
            if place is not None and os.name == "nt" and isinstance(error, PermissionError):
                return  # another process has just written the same, or reads it
            _warn(
                f"Compiled kernels cannot be cached in {place or places()[0]} ({error}), so each "
                "process compiles them. Set NUMBA_CACHE_DIR to another folder."
            )


def _rebuild(target_context, payload):
    from numba.core.compiler import CompileResult

    return CompileResult._rebuild(target_context, *payload)
