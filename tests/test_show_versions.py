"""`show_versions`: what reports of bugs contain."""

import numba
import numpy as np
import pytest

import skfm
from skfm import _show_versions
from skfm._kernels import _cache


def shown(capsys):
    """The printed sections, by title: what stands behind each name."""
    skfm.show_versions()
    sections = [section.splitlines() for section in capsys.readouterr().out.split("\n\n")]
    return {
        title: dict(map(str.strip, line.split(":", 1)) for line in lines)
        for title, *lines in sections
    }


def test_it_shows_versions_processor_threads_and_cache(capsys):
    sections = shown(capsys)
    assert sections["System:"]["skfm"] == skfm.__version__
    assert sections["Dependencies:"]["numpy"] == np.__version__
    assert sections["Dependencies:"]["numba"] == numba.__version__
    assert sections["Processor:"]["name"]
    assert sections["Threads:"]["numba"] == str(numba.config.NUMBA_NUM_THREADS)
    assert sections["Compiled kernels:"]["cache"] == str(_cache.place_to_write())


def test_optional_packages_are_shown_if_they_are_installed(capsys, monkeypatch):
    monkeypatch.setattr(_show_versions, "OPTIONAL", ("no-such-package", "scikit-learn"))
    assert list(shown(capsys)["Optional packages:"]) == ["scikit-learn"]


def test_the_thread_pools_of_loaded_libraries_are_shown(capsys):
    threadpoolctl = pytest.importorskip("threadpoolctl")
    threads = shown(capsys)["Threads:"]
    for pool in threadpoolctl.threadpool_info():
        assert f"{pool['internal_api']} ({pool['prefix']})" in threads


def test_a_cache_that_cannot_be_written_is_said_to_be_so(capsys, monkeypatch):
    monkeypatch.setattr(_show_versions, "place_to_write", lambda: None)
    assert shown(capsys)["Compiled kernels:"]["cache"] == "no folder is writable"
