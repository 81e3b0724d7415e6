"""Threads that meet within kernels."""

import threading
import time

import numba
import numpy as np
import pytest
from helpers import size
from numpy.testing import assert_array_equal

from skfm._kernels import barrier
from skfm._kernels.barrier import meet
from skfm._utils import threads
from skfm._utils.threads import Barrier, run_together


@numba.njit(nogil=True)
def add_neighbors(part, n_parts, words, table, delay):
    """Row after row: each part adds what its neighbor wrote to the row before."""
    for row in range(1, table.shape[0]):
        for _ in range(delay[part] * (row % 7)):
            barrier.pause()
        neighbor = (part + 1) % n_parts
        table[row, part] = (table[row - 1, part] + 3 * table[row - 1, neighbor] + row) % 1009
        if not meet(words, part, n_parts):
            return row
    return table.shape[0]


def expected(n_rows, n_parts):
    table = np.zeros((n_rows, n_parts), np.int64)
    for row in range(1, n_rows):
        table[row] = (table[row - 1] + 3 * np.roll(table[row - 1], -1) + row) % 1009
    return table


@pytest.fixture(params=[0, 50, threads.LOOKS])
def looks(request, monkeypatch):
    """How often a thread looks at the others before it sleeps."""
    monkeypatch.setattr(threads, "LOOKS", request.param)
    monkeypatch.setattr(threads, "_n_processors", lambda: 64)


@pytest.mark.usefixtures("looks")
@pytest.mark.parametrize("slow", [0, size(1000, 2)])
@pytest.mark.parametrize("n_parts", [1, 2, 3, 7])
def test_nobody_goes_on_before_all_have_come(n_parts, slow):
    n_rows = size(300, 30)
    table = np.zeros((n_rows, n_parts), np.int64)
    delay = np.arange(n_parts) * slow
    rows = [0] * n_parts

    def work(part, words):
        rows[part] = add_neighbors(part, n_parts, words, table, delay)

    run_together(work, n_parts, Barrier)
    assert rows == [n_rows] * n_parts
    assert_array_equal(table, expected(n_rows, n_parts))


@pytest.mark.usefixtures("looks")
def test_a_barrier_serves_again():
    meeting = Barrier(2)
    for n_rows in (5, 9):
        table, delay = np.zeros((n_rows, 2), np.int64), np.zeros(2, np.int64)

        def work(part, words, table=table, delay=delay):
            add_neighbors(part, 2, words, table, delay)

        run_together(work, 2, lambda size: meeting)
        assert_array_equal(table, expected(n_rows, 2))


class Failure(BaseException):
    """Stands for KeyboardInterrupt."""


@pytest.mark.usefixtures("looks")
@pytest.mark.parametrize("pause", [0, 0.05])
@pytest.mark.parametrize("failing", [0, 1, 2])
def test_nobody_waits_for_a_part_that_failed(failing, pause):
    n_rows = 100
    table, delay = np.zeros((n_rows, 3), np.int64), np.zeros(3, np.int64)
    rows = {}

    def work(part, words):
        if part == failing:
            time.sleep(pause)
            raise Failure
        rows[part] = add_neighbors(part, 3, words, table, delay)

    with pytest.raises(Failure):
        run_together(work, 3, Barrier)
    assert list(rows.values()) == [1, 1]  # they did not go on as if all had come


def test_threads_that_never_started_are_not_waited_for(monkeypatch):
    start, started = threading.Thread.start, []

    def fail_at_second(self):
        if started:
            raise RuntimeError("can't start new thread")
        started.append(self)
        start(self)

    monkeypatch.setattr(threading.Thread, "start", fail_at_second)
    table, delay = np.zeros((9, 3), np.int64), np.zeros(3, np.int64)

    def work(part, words):
        add_neighbors(part, 3, words, table, delay)

    with pytest.raises(RuntimeError, match="start new thread"):
        run_together(work, 3, Barrier)
    started[0].join(timeout=10)
    assert not started[0].is_alive()


def test_more_threads_than_processors_sleep_at_once(monkeypatch):
    monkeypatch.setattr(threads, "_n_processors", lambda: 2)
    assert Barrier(2).place(0)[barrier.SPINS] == threads.LOOKS
    assert Barrier(3).place(0)[barrier.SPINS] == 0


def test_parts_do_not_share_a_cache_line():
    words = Barrier(3).place(0)
    assert words.ctypes.data % 64 == 0
    assert {barrier.ARRIVED // 8, barrier.FAILED // 8, barrier.ASLEEP // 8} == {0, 1, 2}
