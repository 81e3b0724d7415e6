"""A few threads that go through the same steps together.

Plain Python threads around kernels that release the GIL: no threading layer of Numba's, so
nothing spins while it waits, a fork after a fit is safe and two fits may run at once.
"""

import os
import threading


def n_threads(n_jobs):
    """scikit-learn's ``n_jobs``: None is 1, -1 all processors, -2 all but one."""
    if n_jobs is None:
        return 1
    if n_jobs > 0:
        return int(n_jobs)
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return max(1, (available or os.cpu_count() or 1) + 1 + int(n_jobs))


def run_together(work, size):
    """Call ``work(part, wait)`` in ``size`` threads, this one being part 0.

    ``wait()`` returns when all of them have called it. If one fails, the others stop at their
    next wait, and its exception is raised here.
    """
    barrier = threading.Barrier(size)
    failures = []

    def member(part):
        try:
            work(part, barrier.wait)
        except threading.BrokenBarrierError:
            pass
        except BaseException as failure:
            failures.append(failure)
            barrier.abort()

    others = [threading.Thread(target=member, args=(part,)) for part in range(1, size)]
    for thread in others:
        thread.start()
    try:
        member(0)
    finally:
        barrier.abort() if failures else None
        for thread in others:
            thread.join()
    if failures:
        raise failures[0]
