"""A barrier at which threads wait for each other within kernels, without the GIL.

A waiting thread spins for some microseconds, and then sleeps on a lock of Python's C API, which is
available on every platform and can be acquired without the GIL. A barrier is an array of integers
(words), some in each of several cache lines:

- 0: the number of arrivals of all parts so far;
- LINE: whether a part has failed, and how often a waiting part checks before it sleeps;
- (2 + part) * LINE: whether the part sleeps, the address of its lock, and the number of arrivals
  that it waits for.
"""

import threading
import time

import numba
import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from skfm._kernels._jit import jit, jit_inner

LINE = 8  # words in a cache line
ARRIVED, FAILED, SPINS = 0, LINE, LINE + 1
ASLEEP, LOCK, GOAL = 2 * LINE, 2 * LINE + 1, 2 * LINE + 2  # of part 0
MANY = 1 << 40  # more arrivals than any training run has

NOBODY = np.zeros(0, dtype=np.int64)  # the barrier of a single thread


def _of_words(result, *parameters):
    """An intrinsic on an element of an int64 array, which ``generate`` makes from its pointer."""

    def make(generate):
        def codegen(context, builder, signature, arguments):
            kind, array = signature.args[0], arguments[0]
            made = context.make_array(kind)(context, builder, array)
            place = cgutils.get_item_pointer(
                context, builder, kind, made, [arguments[1]], wraparound=False
            )
            return generate(builder, place, *arguments[2:])

        def typed(typing_context, *kinds):
            return result(kinds[0], types.intp, *parameters), codegen

        return typed

    return make


@intrinsic
def fetch_add(typing_context, words, place, value):
    """Atomic ``words[place] += value``; returns the previous value."""
    return _of_words(types.int64, types.int64)(
        lambda builder, pointer, value: builder.atomic_rmw("add", pointer, value, "seq_cst")
    )(typing_context, words, place, value)


@intrinsic
def exchange(typing_context, words, place, value):
    """Atomic ``words[place] = value``; returns the previous value."""
    return _of_words(types.int64, types.int64)(
        lambda builder, pointer, value: builder.atomic_rmw("xchg", pointer, value, "seq_cst")
    )(typing_context, words, place, value)


@intrinsic
def load(typing_context, words, place):
    """Atomic load of ``words[place]``; makes earlier writes of the storing thread visible."""
    return _of_words(types.int64)(
        lambda builder, pointer: builder.load_atomic(pointer, "seq_cst", 8)
    )(typing_context, words, place)


IS_X86 = binding.get_process_triple().startswith(("x86", "i686", "i386", "amd64"))


@intrinsic
def pause(typing_context):
    """Tell the processor that this thread is spinning."""

    def codegen(context, builder, signature, arguments):
        if IS_X86:
            kind = ir.FunctionType(ir.VoidType(), [])
            name = "llvm.x86.sse2.pause"
            builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def pointer(typing_context, address):
    def codegen(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), codegen


acquire = types.ExternalFunction("PyThread_acquire_lock", types.intc(types.voidptr, types.intc))
release = types.ExternalFunction("PyThread_release_lock", types.void(types.voidptr))


@jit_inner
def wake(words, n_parts):
    for part in range(n_parts):
        line = part * LINE
        if exchange(words, ASLEEP + line, 0) == 1:
            release(pointer(words[LOCK + line]))


@jit_inner
def meet(words, part, n_parts):
    """Wait for the other parts; returns False if one of them has failed."""
    line = part * LINE
    goal = words[GOAL + line] + n_parts
    words[GOAL + line] = goal
    if fetch_add(words, ARRIVED, 1) + 1 == goal:
        wake(words, n_parts)
        return True
    for _ in range(words[SPINS]):
        if load(words, ARRIVED) >= goal:
            return load(words, FAILED) == 0
        pause()
    # A part that arrived last at an earlier barrier may wake this one only now: check after sleep.
    while load(words, ARRIVED) < goal:
        exchange(words, ASLEEP + line, 1)
        if load(words, ARRIVED) >= goal and exchange(words, ASLEEP + line, 0) == 1:
            break  # no other part will wake this one
        acquire(pointer(words[LOCK + line]), 1)
    return load(words, FAILED) == 0


@jit
def fail(words, n_parts):
    """Release all parts, now and at all later barriers, and let them know of the failure."""
    exchange(words, FAILED, 1)
    fetch_add(words, ARRIVED, MANY)
    wake(words, n_parts)


if numba.config.DISABLE_JIT:  # kernels then run in the interpreter, with the GIL
    _lock = threading.Lock()

    def pause():
        time.sleep(0)

    def meet(words, part, n_parts):
        line = part * LINE
        words[GOAL + line] += n_parts
        with _lock:
            words[ARRIVED] += 1
        while words[ARRIVED] < words[GOAL + line]:
            time.sleep(0)
        return words[FAILED] == 0

    def fail(words, n_parts):
        words[FAILED] = 1
        with _lock:
            words[ARRIVED] += MANY
