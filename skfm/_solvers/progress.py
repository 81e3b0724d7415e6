"""A progress bar for ``verbose``."""

import sys
import time


class Progress:
    """One line on stderr, drawn again after each epoch: loss and rows (or ratings) a second."""

    def __init__(self, settings, n_rows, name):
        self.n_epochs = settings.max_iter
        self.n_rows = n_rows
        self.name = name
        self.enabled = settings.verbose
        self.started = time.perf_counter()

    def epoch(self, number, loss):
        if not self.enabled:
            return
        speed = number * self.n_rows / max(time.perf_counter() - self.started, 1e-9)
        done = 30 * number // self.n_epochs
        bar = "#" * done + "." * (30 - done)
        sys.stderr.write(
            f"\rEpoch {number}/{self.n_epochs} [{bar}] loss {loss:.6g}, "
            f"{speed:,.0f} {self.name}/s "
        )
        sys.stderr.flush()

    def close(self):
        if self.enabled:
            sys.stderr.write("\n")
