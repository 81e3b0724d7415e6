"""Which cases of a test the quick run has: see "Tests" in CONTRIBUTING.md.

``@pytest.mark.full`` leaves a test, or a ``pytest.param``, to the full run. Two other marks choose
among the cases that the parameters of a test have, and mark the rest ``full``:

- ``@pytest.mark.around(solver="adagrad", dtype=np.float64)`` keeps the cases of which at most one
  of these parameters is another: each solver with the usual type, each type with the usual solver.
- ``@pytest.mark.pairwise`` keeps, of these, some in which any two values of two parameters meet.
"""

import signal
import threading
from collections import defaultdict
from itertools import combinations_with_replacement

import pytest

pytest.register_assert_rewrite("builders")


def pytest_addoption(parser):
    parser.addoption(
        "--fuzz",
        type=numbers,
        default="6",
        metavar="N",
        help="number of random inputs of each estimator in test_fuzz.py, or first:last of them",
    )


def numbers(text):
    """A range from "N" or "first:last"."""
    return range(*map(int, text.split(":")))


@pytest.hookimpl(tryfirst=True)  # before pytest itself deselects by marks
def pytest_collection_modifyitems(items):
    tests = defaultdict(list)
    for item in items:
        if hasattr(item, "callspec") and not item.get_closest_marker("full"):
            tests[item.parent.nodeid, item.originalname].append(item)
    for cases in tests.values():
        quick = cases
        if mark := cases[0].get_closest_marker("around"):
            quick = [case for case in quick if departures(case, mark.kwargs) <= 1]
        if cases[0].get_closest_marker("pairwise"):
            quick = pairwise(quick)
        for case in set(cases).difference(quick):
            case.add_marker("full")


def departures(case, usual):
    """How many of a case's parameters are not the usual ones."""
    return sum(case.callspec.params[name] != value for name, value in usual.items())


def pairwise(cases):
    """Few of the cases, with all pairs of values of two parameters that there are."""
    pairs = [set(combinations_with_replacement(choices(case), 2)) for case in cases]
    missing, chosen = set().union(*pairs), []
    while missing:
        best = max(range(len(cases)), key=lambda i: len(pairs[i] & missing))
        chosen.append(cases[best])
        missing -= pairs[best]
    return chosen


def choices(case):
    """What each ``parametrize`` has chosen for a case; names that go together are one choice."""
    for mark in case.iter_markers("parametrize"):
        names = mark.args[0].split(",") if isinstance(mark.args[0], str) else mark.args[0]
        yield tuple((name, id(case.callspec.params[name.strip()])) for name in names)


@pytest.fixture
def can_interrupt():
    """Control-C has its usual effect, also if pytest runs in the background of a shell."""
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("only the main thread is interrupted")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
