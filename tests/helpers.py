"""What several test files need: how much is run, how large it is, and fresh processes."""

import os
import subprocess
import sys
from pathlib import Path

import numba
import pytest

import skfm
from skfm._kernels._jit import jit

JIT = not numba.config.DISABLE_JIT


needs_jit = pytest.mark.skipif(not JIT, reason="takes minutes without the JIT")


def size(with_jit, without):
    """Number of rows, epochs, examples: with the JIT, and the smaller one without it."""
    return with_jit if JIT else without


def in_full(*values):
    """Parameters of a test that the quick run leaves out."""
    return [pytest.param(value, marks=pytest.mark.full) for value in values]


def from_python(kernel):
    """What only other kernels call, compiled so that Python can call it, too."""
    return jit(kernel.py_func, allocates=True) if JIT else kernel


def run_python(*arguments, timeout=300, **environment):
    """Run this Python with the package importable; returns the completed process.

    ``environment`` changes the variables of the child; None removes one.
    """
    child = dict(os.environ)
    child["PYTHONPATH"] = str(Path(skfm.__file__).parents[1])
    for name, value in environment.items():
        if value is None:
            child.pop(name, None)
        else:
            child[name] = str(value)
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=child,
        timeout=timeout,
        capture_output=True,
        text=True,
        check=False,
    )


def run_code(code, **options):
    """Run a script in a fresh process, which must succeed; returns what it printed."""
    done = run_python("-c", code, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
