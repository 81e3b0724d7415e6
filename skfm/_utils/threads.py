"""A few threads that go through the same steps together.

Plain Python threads around kernels that release the GIL: no threading layer of Numba's, so a fork
after a fit is safe and two fits may run at once. They wait for each other in Python (`Meeting`)
or, where that would take longer than the work in between, within a kernel (`Barrier`).
"""

import ctypes
import itertools
import multiprocessing
import numbers
import threading
from functools import cache
from queue import SimpleQueue

import joblib
import numpy as np

from skfm._kernels import barrier

LOOKS = 3000  # at the others before a thread sleeps: some 100 microseconds


def n_threads(n_jobs):
    """How many threads scikit-learn's ``n_jobs`` asks for.

    joblib says: it knows `joblib.parallel_config`, how many processors this process or its
    container may use, and whether this is one of several jobs already.
    """
    if n_jobs is not None and (not isinstance(n_jobs, numbers.Integral) or n_jobs == 0):
        raise ValueError(f"n_jobs must be None, a positive number or -1; got {n_jobs!r}.")
    if multiprocessing.current_process().daemon:  # where joblib advises against processes
        with joblib.parallel_config(backend="threading"):
            return int(joblib.effective_n_jobs(n_jobs))
    return int(joblib.effective_n_jobs(n_jobs))


@cache
def _n_processors():
    return joblib.cpu_count()


class _Stopped(Exception):
    """Another member failed."""


class Meeting:
    """Where members wait in Python: part 0 hears from each other one, then lets them go.

    Queues written in C: several times quicker than ``threading.Barrier``.
    """

    def __init__(self, size):
        self._arrivals = SimpleQueue()
        self._departures = [SimpleQueue() for _ in range(1, size)]

    def place(self, part):
        """What a member calls to wait."""
        return lambda: self._wait(part)

    def _wait(self, part):
        if part == 0:
            for _ in self._departures:
                self._check(self._arrivals.get())
            self._release(None)
        else:
            self._arrivals.put(None)
            self._check(self._departures[part - 1].get())

    def leave(self, part, failure):
        """Nobody waits for a member that failed."""
        if part == 0:
            self._release(failure)
        else:
            self._arrivals.put(failure)

    def _release(self, message):
        for departure in self._departures:
            departure.put(message)

    @staticmethod
    def _check(message):
        if message is not None:
            raise _Stopped


class Barrier:
    """Where members wait within kernels; see `skfm._kernels.barrier`."""

    def __init__(self, size):
        self._size = size
        self._locks = [_locks.PyThread_allocate_lock() for _ in range(size)]
        n_words = barrier.ASLEEP + size * barrier.LINE
        room = np.zeros(n_words + barrier.LINE, dtype=np.int64)
        begin = -room.ctypes.data // room.itemsize % barrier.LINE
        self._words = room[begin : begin + n_words]
        self._words[barrier.SPINS] = LOOKS if size <= _n_processors() else 0
        for part, lock in enumerate(self._locks):
            # Held from the beginning: who acquires it sleeps until somebody releases it.
            _locks.PyThread_acquire_lock(lock, 1)
            self._words[barrier.LOCK + part * barrier.LINE] = lock

    def place(self, part):
        """What a kernel needs to wait."""
        return self._words

    def leave(self, part, failure):
        """Nobody waits for a member that failed."""
        barrier.fail(self._words, self._size)

    def __del__(self):
        for lock in self._locks:
            _locks.PyThread_free_lock(lock)


_locks = ctypes.pythonapi
_locks.PyThread_allocate_lock.restype = ctypes.c_void_p
_locks.PyThread_acquire_lock.argtypes = [ctypes.c_void_p, ctypes.c_int]
_locks.PyThread_free_lock.argtypes = [ctypes.c_void_p]


def run_together(work, size, place=Meeting):
    """Call ``work(part, wait)`` in ``size`` threads, this one being part 0.

    ``wait()`` returns when all of them have called it. If one fails, the others stop at their
    next wait, and its exception is raised here. At a `Barrier`, kernels take ``wait`` instead.
    """
    meeting = place(size)
    failures = []

    def member(part):
        try:
            work(part, meeting.place(part))
        except _Stopped as stopped:
            meeting.leave(part, stopped)
        except BaseException as failure:
            failures.append(failure)
            meeting.leave(part, failure)

    others = [
        threading.Thread(target=member, args=(part,), daemon=True) for part in range(1, size)
    ]
    try:
        for thread in others:
            thread.start()
    except BaseException as failure:  # no more threads to be had, or an interrupt
        meeting.leave(0, failure)
        raise
    member(0)
    for thread in others:
        thread.join()
    if failures:
        raise failures[0]


def share(work, n_chunks, n_threads):
    """Call ``work(number)`` for every chunk; a thread takes the next one when it is free."""
    turn = itertools.count()

    def member(part, wait):
        for number in turn:
            if number >= n_chunks:
                break
            work(number)

    run_together(member, max(1, min(n_threads, n_chunks)))
