"""Files that one process at a time uses: who is kept out, and what becomes of the lock."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

import skfm
from skfm._utils import lock
from skfm._utils.lock import exclusive

HOLDER = """
import sys, time
from skfm._utils.lock import exclusive

with exclusive(sys.argv[1], "in use"):
    print("locked", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file"


def is_free(path):
    try:
        with exclusive(path, "in use"):
            return True
    except BlockingIOError as error:
        assert "in use" in str(error) and str(path) in str(error)
        return False


def test_it_keeps_out_others_until_its_end(path):
    with exclusive(path, "in use"):
        assert not is_free(path)
        assert is_free(path.with_name("another file"))
    assert is_free(path)
    with pytest.raises(ZeroDivisionError), exclusive(path, "in use"):
        assert not is_free(path)
        1 / 0  # noqa: B018
    assert is_free(path)
    assert os.listdir(path.parent) == []


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL")
def test_a_killed_process_keeps_nobody_out(path):
    environment = os.environ | {"PYTHONPATH": str(Path(skfm.__file__).parents[1])}
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout.readline() == b"locked\n"
        assert not is_free(path)
        process.kill()
    assert os.listdir(path.parent) == ["file.skfm-lock"]
    assert is_free(path)
    assert os.listdir(path.parent) == []


def test_one_of_many_at_a_time(path):
    """Also while others remove the file that is locked."""
    inside, most, n_entered, end = 0, 0, 0, time.monotonic() + 0.5

    def work():
        nonlocal inside, most, n_entered
        while time.monotonic() < end:
            try:
                with exclusive(path, "in use"):
                    inside += 1
                    most = max(most, inside)
                    n_entered += 1
                    time.sleep(0)
                    inside -= 1
            except BlockingIOError:
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1 and n_entered > 1
    # Windows removes no file that another thread has just opened.
    assert sys.platform == "win32" or os.listdir(path.parent) == []


def test_a_link_is_the_file_that_it_refers_to(path, tmp_path):
    (tmp_path / "below").mkdir()
    link = tmp_path / "below" / "link"
    try:
        link.symlink_to(path)
    except OSError:
        pytest.skip("no links")
    with exclusive(link, "in use"):
        assert not is_free(path)


@pytest.mark.parametrize("reason", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_nobody_is_kept_out_where_nothing_can_be_locked(reason, path, monkeypatch):
    def fail(stream):
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(lock, "_lock", fail)
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(exclusive(path, "in use"))
            stack.enter_context(exclusive(path.with_name("n" * 300), "in use"))
            stack.enter_context(exclusive(path / "no folder" / "file", "in use"))
