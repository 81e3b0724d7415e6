"""Compilation time, and a log message while kernels are compiled for the first time."""

import logging
import threading
import time

from numba.core import event

from skfm._kernels._cache import KernelCache, place_to_write

PATIENCE = 2.0  # seconds of compilation before the message


class Notice(event.Listener):
    """Measures the time in which this package's kernels are compiled, and logs a message once.

    Numba calls all methods except `say` while it holds its compiler lock.
    """

    def __init__(self):
        self.said = False
        self.depth = 0  # nested compilations
        self.spent = 0.0
        self.timer = None

    def on_start(self, event):
        if not _is_ours(event):
            return
        self.depth += 1
        if self.depth > 1:
            return
        self.since = time.perf_counter()
        if not self.said:
            self.timer = threading.Timer(max(0.0, PATIENCE - self.spent), self.say)
            self.timer.daemon = True
            try:
                self.timer.start()
            except RuntimeError:  # no more threads can be started: log nothing
                self.said = True

    def on_end(self, event):
        if not _is_ours(event):
            return
        self.depth -= 1
        if self.depth == 0:
            self.timer.cancel()
            self.spent += time.perf_counter() - self.since

    def say(self):
        if self.said:
            return
        self.said = True
        place = place_to_write()
        then = f"later runs load them from {place}" if place else "they cannot be cached"
        logging.getLogger("skfm").warning("Compiling kernels, which takes a while; %s.", then)


def _is_ours(event):
    dispatcher = (event.data or {}).get("dispatcher")
    return isinstance(getattr(dispatcher, "_cache", None), KernelCache)


_notice = Notice()


def watch():
    """Listen to all compilations of Numba in this process."""
    event.register("numba:compile", _notice)


def compiling_time():
    """Seconds for compiling or loading this package's kernels in this process."""
    return _notice.spent + KernelCache.loading_time
