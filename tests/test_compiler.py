"""The compiler of kernels: the same machine code in every process."""

import numba
import numpy as np
import pytest
from helpers import JIT

from skfm._kernels._compiler import PrivateCompiler


@numba.njit
def count_down(values, row):
    """Calls itself, so it is not inlined."""
    return values[row] + count_down(values, row - 1) if row > 0 else 0.0


def add_up(values):
    return count_down(values, values.size - 1)


@pytest.mark.skipif(not JIT, reason="compiles nothing")
@pytest.mark.parametrize(
    "options, linkage", [({}, "linkonce_odr"), ({"pipeline_class": PrivateCompiler}, "internal")]
)
def test_binaries_share_no_copies(options, linkage):
    """What a kernel calls is its own copy, so that no other binary decides which one runs."""
    kernel = numba.njit(**options)(add_up)
    assert kernel(np.arange(4.0)) == 6
    (compiled,) = kernel.overloads.values()
    copies = [f for f in compiled.library._final_module.functions if "count_down" in f.name]
    assert {copy.linkage.name for copy in copies if not copy.is_declaration} == {linkage}
