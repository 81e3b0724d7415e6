"""What ``verbose`` shows of a training run."""

import os
import sys
import time
from contextlib import contextmanager

from skfm._kernels._compile_notice import compiling_time

REDRAW = 0.1  # seconds after which a terminal's line is replaced
INTERVAL = 10.0  # seconds after which a file or a notebook gets another line
BAR = 30  # characters, where there is room for them


class Progress:
    """Epochs, loss and rows (or ratings) per second on stderr, and at last how training ended.

    A terminal shows one line, which is replaced. What cannot replace a line, such as a log file or
    a notebook, gets one per interval.
    """

    def __init__(self, settings, n_rows, name):
        self.n_epochs = settings.max_iter
        self.n_rows = n_rows
        self.name = name
        self.stream = sys.stderr if settings.verbose else None
        isatty = getattr(self.stream, "isatty", None)
        self.is_terminal = isatty is not None and isatty()
        self.number = self.n_before = 0
        self.started = _training_clock()
        self.shown = time.perf_counter()

    def continue_after(self, n_epochs):
        """Take note that so many epochs were trained before, by an interrupted fit."""
        self.n_before = n_epochs

    def epoch(self, number, loss):
        if self.stream is None:
            return
        self.number, self.loss = number, loss
        now = time.perf_counter()
        if now - self.shown >= (REDRAW if self.is_terminal else INTERVAL):
            self.shown = now
            self._write()

    @contextmanager
    def until_end(self, history):
        """Training happens inside; says at the end why there are no further epochs."""
        ending = "interrupted"  # by an error or by the user
        try:
            yield
            ending = "stopped early" if history.stopped else "max_iter reached"
            ending = "converged" if history.converged else ending
        finally:
            if self.number:
                self._write(ending)

    def _write(self, ending=None):
        epoch = f"Epoch {self.number}/{self.n_epochs}"
        speed = (
            (self.number - self.n_before)
            * self.n_rows
            / max(_training_clock() - self.started, 1e-9)
        )
        figures = f"loss {self.loss:.6g}, {speed:,.0f} {self.name}/s"
        if ending is not None:
            figures += f", {ending}"
        line = f"{epoch}: {figures}"
        if self.is_terminal:
            room = _columns(self.stream) - 1  # a wrapped line cannot be replaced
            length = min(BAR, room - len(epoch) - len(figures) - 4)
            if length > 0:
                done = length * self.number // self.n_epochs
                line = f"{epoch} [{'#' * done}{'.' * (length - done)}] {figures}"
            line = f"\r{line if ending else line[:room]:<{room}}"
        self.stream.write(f"{line}\n" if ending or not self.is_terminal else line)
        self.stream.flush()


def _training_clock():
    """Seconds, of which those spent on compiling or loading kernels do not count."""
    return time.perf_counter() - compiling_time()


def _columns(stream):
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):  # a terminal that is no file, or of unknown size
        return 80
