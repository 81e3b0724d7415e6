"""Where threads within kernels wait for each other, without the interpreter.

A waiting thread looks for some microseconds whether the others have arrived, and then sleeps on a
lock of Python's C API, which works on every system and without the interpreter's lock. A barrier
is an array of whole numbers, in cache lines of their own:

- 0: how often any part has arrived;
- LINE: whether a part has failed, and how often a part looks before it sleeps;
- (2 + part) * LINE: whether the part sleeps, its lock's address, and which number of arrivals ends
  the meeting that it goes to next.
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

LINE = 8  # whole numbers in a cache line
ARRIVED, FAILED, SPINS = 0, LINE, LINE + 1
ASLEEP, LOCK, GOAL = 2 * LINE, 2 * LINE + 1, 2 * LINE + 2  # of part 0
MANY = 1 << 40  # more arrivals than any training has

NOBODY = np.zeros(0, dtype=np.int64)  # the barrier of a thread that works alone


def _of_words(result, *parameters):
    """An intrinsic on a place of an array of int64: ``generate`` makes it from the pointer."""

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
def add(typing_context, words, place, value):
    """``words[place] += value`` in one go; returns what was there."""
    return _of_words(types.int64, types.int64)(
        lambda builder, pointer, value: builder.atomic_rmw("add", pointer, value, "seq_cst")
    )(typing_context, words, place, value)


@intrinsic
def swap(typing_context, words, place, value):
    """``words[place] = value`` in one go; returns what was there."""
    return _of_words(types.int64, types.int64)(
        lambda builder, pointer, value: builder.atomic_rmw("xchg", pointer, value, "seq_cst")
    )(typing_context, words, place, value)


@intrinsic
def look(typing_context, words, place):
    """What other threads have written to ``words[place]``, and all that they wrote before it."""
    return _of_words(types.int64)(
        lambda builder, pointer: builder.load_atomic(pointer, "seq_cst", 8)
    )(typing_context, words, place)


IS_X86 = binding.get_process_triple().startswith(("x86", "i686", "i386", "amd64"))


@intrinsic
def rest(typing_context):
    """Tell the processor that this thread only waits."""

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
        if swap(words, ASLEEP + line, 0) == 1:
            release(pointer(words[LOCK + line]))


@jit_inner
def meet(words, part, n_parts):
    """Wait for the other parts; returns False if one of them has failed."""
    line = part * LINE
    goal = words[GOAL + line] + n_parts
    words[GOAL + line] = goal
    if add(words, ARRIVED, 1) + 1 == goal:
        wake(words, n_parts)
        return True
    for _ in range(words[SPINS]):
        if look(words, ARRIVED) >= goal:
            return look(words, FAILED) == 0
        rest()
    # The part that ended the last meeting may wake this one only now: look after each sleep.
    while look(words, ARRIVED) < goal:
        swap(words, ASLEEP + line, 1)
        if look(words, ARRIVED) >= goal and swap(words, ASLEEP + line, 0) == 1:
            break  # no other part will wake this one
        acquire(pointer(words[LOCK + line]), 1)
    return look(words, FAILED) == 0


@jit
def fail(words, n_parts):
    """Let all parts go on, now and at all meetings to come, and know of the failure."""
    swap(words, FAILED, 1)
    add(words, ARRIVED, MANY)
    wake(words, n_parts)


if numba.config.DISABLE_JIT:  # then kernels run in the interpreter, which takes turns
    _lock = threading.Lock()

    def rest():
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
