"""The one way this package compiles: flags, and a disk cache that is never stale."""

import numba

from skfm._kernels._cache import cached
from skfm._kernels._notice import watch

watch()

# NaN and infinity keep their meaning (no "nnan", no "ninf"): divergence must be seen.
FLAGS = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "arcp", "nsz"},
}


def jit(function, **options):
    """Compile at the first call; keep the binary on disk if any folder can be written."""
    return cached(numba.njit(**FLAGS, **options)(function))


def jit_inline(function):
    """The same for what is called in the innermost loops with records: always inlined.

    A call hands a record over array by array, each with a count of its references that goes up
    and down again, which takes longer than drawing an item, or a product of vectors. LLVM inlines
    what is small or has one caller, and cannot know this of the rest. Inlined, most counts cancel;
    not always in a loop with many branches, so look at the profile.
    """
    return jit(function, forceinline=True)
