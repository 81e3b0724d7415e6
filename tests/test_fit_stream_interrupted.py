"""Interrupted fits on rows in files: they continue from a checkpoint with the same bits."""

import _thread
import copy
import gc
import os
import random
import signal
import threading

import numpy as np
import pytest
from builders import assert_same_fit
from helpers import needs_jit, run_python, size
from scipy import sparse

from skfm import FMClassifier
from skfm._solvers.fm import streamed
from skfm._utils import checkpoint as checkpoints
from skfm.io import load_model
from skfm.streams import Rows, _cache

N_ROWS = size(1500, 300)


@pytest.fixture
def small(monkeypatch):
    """Blocks of a few hundred rows, and checkpoints after each epoch."""
    monkeypatch.setattr(_cache, "PIECE_ROWS", 50)
    monkeypatch.setattr(streamed, "BLOCK_ENTRIES", N_ROWS)  # a quarter of the entries
    monkeypatch.setattr(streamed, "SAMPLE_ENTRIES", 2 * N_ROWS)
    monkeypatch.setattr(checkpoints, "TRAINING_PER_WRITING", 0)


def rows(first=0):
    """Rows with four one-hot fields."""

    def chunks():
        rng = np.random.default_rng(first)
        for _ in range(3):
            level = rng.integers(20, size=(N_ROWS // 3, 4))
            X = np.hstack([np.eye(20, dtype=np.float32)[column] for column in level.T])
            yield sparse.csr_matrix(X), (level[:, 0] + level[:, 1]) % 3

    return Rows(chunks)


SETTINGS = {"n_components": 3, "max_iter": size(12, 4), "random_state": 0}


class Interruption:
    """Calls a function that is interrupted once: the one with this number."""

    def __init__(self, function, number, interrupt):
        self.function, self.n_left, self.interrupt = function, number, interrupt

    def __call__(self, *arguments, **options):
        self.n_left -= 1
        if self.n_left == 0:
            self.interrupt()
        return self.function(*arguments, **options)


def raise_it():
    raise KeyboardInterrupt


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("place", ["encoding", "first pass", "reading", "writing", "epoch"])
def test_control_c(place, small, can_interrupt, tmp_path, monkeypatch):
    """The model is as it was, no thread goes on, and the checkpoint continues."""
    if place in ("encoding", "first pass", "reading"):
        interrupt = _thread.interrupt_main  # while another thread works
    else:
        interrupt = raise_it
    path, n_threads = tmp_path / "fit.ckpt", threading.active_count()
    model = FMClassifier(**SETTINGS)
    whole = copy.copy(model).fit_stream(rows(), rows_val=rows(1))
    owner, name, number = {
        "encoding": (_cache.CacheWriter, "add", 2),
        "first pass": (_cache.EncodedRows, "read", 2),
        "reading": (_cache.EncodedRows, "read", 17),
        "writing": (checkpoints, "write", 4),
        "epoch": (model, "callback", 3),
    }[place]
    model.callback = lambda estimator, epoch, loss: None
    model.fit(np.eye(3), [0, 1, 0])
    with monkeypatch.context() as patch:
        spoiled = Interruption(getattr(owner, name), number, interrupt)
        if isinstance(owner, type):
            patch.setattr(owner, name, lambda *arguments: spoiled(*arguments))
        else:
            patch.setattr(owner, name, spoiled)
        before = dict(vars(model))
        with pytest.raises(KeyboardInterrupt):
            model.fit_stream(rows(), rows_val=rows(1), checkpoint=path)
        assert vars(model) == before
    gc.collect()  # the traceback, whose frames refer to readers
    assert threading.active_count() == n_threads
    assert path.exists() == (place not in ("encoding", "first pass"))
    epochs = []
    model.callback = lambda estimator, epoch, loss: epochs.append(epoch)
    model.fit_stream(rows(), rows_val=rows(1), checkpoint=path)
    model.callback = None
    assert_same_fit(model, whole)
    if place in ("writing", "epoch"):
        assert epochs[0] == {"writing": 3, "epoch": 3}[place]
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.filterwarnings("ignore")
def test_one_fit_at_a_time(small, tmp_path):
    path = tmp_path / "fit.ckpt"

    def callback(estimator, epoch, loss):
        with pytest.raises(BlockingIOError, match="Another fit is using the file checkpoint"):
            FMClassifier().fit_stream(rows(), checkpoint=path)

    FMClassifier(callback=callback, **SETTINGS).fit_stream(rows(), checkpoint=path)


@pytest.mark.filterwarnings("ignore")
def test_the_random_numbers_are_those_of_the_first_fit(small, tmp_path):
    path, model = tmp_path / "fit.ckpt", FMClassifier(**SETTINGS | {"random_state": None})
    np.random.seed(3)
    whole = copy.copy(model).fit_stream(rows())
    np.random.seed(3)
    interrupted = copy.copy(model)
    interrupted.callback = Interruption(lambda *_: None, 3, raise_it)
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit_stream(rows(), checkpoint=path)
    np.random.seed(4)
    assert_same_fit(model.fit_stream(rows(), checkpoint=path), whole)


KILLED = """
import os, signal, sys, threading, warnings
import numpy as np

folder, solver, moment, number, path, result = sys.argv[1:]
sys.path.insert(0, folder)
from test_fit_stream_interrupted import SETTINGS, Interruption, rows
from skfm import FMClassifier
from skfm._solvers.fm import streamed
from skfm._utils import checkpoint as checkpoints
from skfm.io import save_model
from skfm.streams import _cache

warnings.simplefilter("ignore")
_cache.PIECE_ROWS, checkpoints.TRAINING_PER_WRITING = 50, 0
streamed.BLOCK_ENTRIES, streamed.SAMPLE_ENTRIES = 1500, 3000


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


number = int(number)
if moment == "reading":
    read = Interruption(_cache.EncodedRows.read, number, kill)
    _cache.EncodedRows.read = lambda *arguments: read(*arguments)
elif moment == "writing":  # one of about fifty arrays for each checkpoint
    np.lib.format.write_array = Interruption(np.lib.format.write_array, number, kill)
elif moment == "replacing":
    os.replace = Interruption(os.replace, number, kill)
elif moment == "time":
    threading.Timer(number / 1000, kill).start()
np.random.seed(os.path.exists(path))  # the seed is 0 until the checkpoint keeps the random state
model = FMClassifier(
    **SETTINGS | {"random_state": None, "solver": solver, "max_iter": 30, "tol": 0},
    n_jobs=1 + number % 2,
)
model.fit_stream(rows(), rows_val=rows(1), checkpoint=path or None)
save_model(model.set_params(n_jobs=None), result)
os._exit(0)  # before the timer
"""


@needs_jit
@pytest.mark.full
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL")
@pytest.mark.parametrize("solver", ["adagrad", "ftrl"])
def test_killed_processes(solver, tmp_path):
    """At random moments: while rows are encoded, in the first pass, while a checkpoint is
    written or replaces the last one, and at any other time."""
    (tmp_path / "temporary").mkdir()
    (tmp_path / "checkpoint").mkdir()
    path, whole, parts = (
        tmp_path / name for name in ("checkpoint/fit.ckpt", "whole.npz", "parts.npz")
    )

    def run(moment, number, path, result):
        arguments = os.path.dirname(__file__), solver, moment, number, path, result
        done = run_python("-c", KILLED, *arguments, TMPDIR=tmp_path / "temporary")
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        return done.returncode

    assert run("never", 0, "", whole) == 0
    rng = random.Random(solver)
    moments = [
        ("reading", rng.randint(1, 4)),  # the first pass over the rows
        ("writing", rng.randint(1, 30)),
        ("writing", rng.randint(31, 120)),
        ("reading", rng.randint(9, 40)),
        ("time", rng.randint(0, 300)),
        ("replacing", rng.randint(3, 6)),
        ("time", rng.randint(100, 600)),
        ("reading", rng.randint(9, 40)),
    ]
    codes = [run(*moment, path, parts) for moment in moments]
    killed = [code == -signal.SIGKILL for code in codes]
    assert killed[:3] == [True] * 3
    assert run("never", 1, path, parts) == 0
    assert_same_fit(*map(load_model, (parts, whole)))
    assert "fit.ckpt.skfm-lock" not in os.listdir(path.parent)
