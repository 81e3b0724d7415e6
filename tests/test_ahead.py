"""one_ahead: a thread computes the next element while the caller uses this one."""

import _thread
import gc
import threading
import time

import pytest
import sklearn

from skfm._utils.ahead import one_ahead


def wait_for(event):
    assert event.wait(timeout=60)


def test_elements_come_in_their_order():
    assert list(one_ahead(range(50))) == list(range(50))
    assert list(one_ahead([])) == []


def test_exactly_one_element_is_computed_in_advance():
    started = [threading.Event() for _ in range(4)]

    def elements():
        for number in range(3):
            started[number].set()
            yield number

    stream = one_ahead(elements())
    assert not started[0].is_set()
    assert next(stream) == 0
    wait_for(started[1])  # without asking for it
    assert not started[2].is_set()
    assert list(stream) == [1, 2]


def test_errors_are_those_of_the_iterator():
    def elements():
        yield 1
        raise KeyError("the second")

    stream = one_ahead(elements())
    assert next(stream) == 1
    with pytest.raises(KeyError, match="the second"):
        next(stream)
    assert list(stream) == []


def test_what_is_left_is_closed():
    closed = threading.Event()

    def elements():
        try:
            yield from range(10)
        finally:
            closed.set()

    stream = one_ahead(elements())
    next(stream)
    before = threading.active_count()
    stream.close()
    assert closed.is_set()
    assert threading.active_count() < before


def test_the_thread_has_the_configuration_of_scikit_learn():
    def elements():
        yield sklearn.get_config()["assume_finite"]

    with sklearn.config_context(assume_finite=True):
        assert list(one_ahead(elements())) == [True]
    assert list(one_ahead(elements())) == [False]


def test_control_c_while_an_element_is_computed(can_interrupt):
    """It is not hidden by an error, and what is left is closed."""
    started, closed = threading.Event(), threading.Event()

    def elements():
        try:
            started.set()
            for _ in range(2):  # ends the wait for the element, then that for the thread
                time.sleep(0.2)
                _thread.interrupt_main()
            time.sleep(0.2)
            yield 1
        finally:
            closed.set()

    with pytest.raises(KeyboardInterrupt):
        next(one_ahead(elements()))
    gc.collect()  # the traceback, which refers to the iterator
    wait_for(closed)
