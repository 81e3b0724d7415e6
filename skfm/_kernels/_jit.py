"""Decorators with which this package compiles all its kernels, through the cache on disk."""

from functools import partial, singledispatch

import numba
from numba.extending import overload

from skfm._kernels._cache import cached
from skfm._kernels._compile_notice import watch
from skfm._kernels._compiler import PrivateCompiler

watch()

# NaN and infinity keep their meaning (no "nnan", no "ninf"): divergence must be seen.
FLAGS = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "arcp", "nsz"},
}


def jit(function=None, *, allocates=False, **options):
    """Compile at the first call; keep the binary on disk if any folder can be written.

    ``allocates`` says that the function creates arrays. All others are compiled without reference
    counting, which takes a sixth of the compile time and slows down inner loops. No kernel may
    return an array: callers without reference counting would never free it.
    """
    if function is None:
        return partial(jit, allocates=allocates, **options)
    options = {"pipeline_class": PrivateCompiler, **options}
    return cached(numba.njit(**_flags(allocates, options))(function))


def jit_inner(function=None, *, allocates=False, **options):
    """Compile a function that only other kernels call: it needs no wrapper for Python and no file
    in the cache, since the binaries of its callers contain it."""
    if function is None:
        return partial(jit_inner, allocates=allocates, **options)
    return numba.njit(no_cpython_wrapper=True, **_flags(allocates, options))(function)


def jit_inline(function):
    """The same for what is called in the innermost loops: always inlined by LLVM, which by itself
    inlines what is small or has one caller."""
    return jit_inner(function, forceinline=True)


def jit_dispatch(function=None, **options):
    """A function with several implementations, chosen by the type of the first argument.

    This argument is a named tuple. Without the JIT, it is a `functools.singledispatch`. With the
    JIT, the choice is made at compile time, and only the chosen implementation is compiled.
    """
    if function is None:
        return partial(jit_dispatch, **options)
    generic = singledispatch(function)
    if not numba.config.DISABLE_JIT:
        options = {"no_cpython_wrapper": True, **_flags(False, options)}

        @overload(generic, jit_options=options, strict=False)
        def choose(*types):
            return generic.dispatch(types[0].instance_class)

    return generic


def _flags(allocates, options):
    return {"_nrt": allocates, "no_cfunc_wrapper": True, **FLAGS, **options}
