"""The one way this package compiles: flags, and a disk cache that is never stale."""

import hashlib
from pathlib import Path

import numba

# NaN and infinity keep their meaning (no "nnan", no "ninf"): divergence must be seen.
FLAGS = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "arcp", "nsz"},
}


def _cache_folder():
    """A folder named after the kernels' sources.

    Numba looks only at the file of the function itself: after an edit elsewhere it would run
    an old binary, and it fails on an index that names a class that is gone. With the sources
    in the name, an upgraded or edited package simply starts a new folder.
    """
    here = Path(__file__).parent
    digest = hashlib.sha256(numba.__version__.encode())
    for source in sorted(here.glob("*.py")):
        digest.update(source.read_bytes())
    base = numba.config.CACHE_DIR or here / "__pycache__"
    return str(Path(base, f"skfm-{digest.hexdigest()[:16]}"))


_FOLDER = _cache_folder()


def jit(function, **options):
    """Compile at the first call; keep the binary on disk if any folder can be written."""
    configured = numba.config.CACHE_DIR
    for folder in (_FOLDER, configured):
        numba.config.CACHE_DIR = folder
        try:
            return numba.njit(cache=True, **FLAGS, **options)(function)
        except (RuntimeError, OSError):  # cannot be written: the next place
            pass
        finally:
            numba.config.CACHE_DIR = configured
    return numba.njit(**FLAGS, **options)(function)


def jit_inline(function):
    """The same for what is called in the innermost loops with records: always inlined.

    A call hands a record over array by array, each with a count of its references that goes up
    and down again, which takes longer than drawing an item, or a product of vectors. LLVM inlines
    what is small or has one caller, and cannot know this of the rest. Inlined, most counts cancel;
    not always in a loop with many branches, so look at the profile.
    """
    return jit(function, forceinline=True)
