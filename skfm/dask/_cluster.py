"""Partitions on a Dask cluster: the client, and rounds of tasks that survive dead workers.

A task is a pure function of a partition, its state and what the driver sends. Partitions are
futures of tasks that can read them again, so the scheduler replaces those that die with a worker.
What the driver sends to the workers and the states of partitions may be lost with a worker. A
round that misses them starts again: the driver still has what it sent, and makes lost states
again from a snapshot and all that has happened to them since.
"""

import logging
import platform
import time
from concurrent.futures import CancelledError
from contextlib import contextmanager
from importlib.metadata import version
from uuid import uuid4

from skfm._solvers import partitions
from skfm._solvers.partitions import fold
from skfm._version import __version__

MAX_ATTEMPTS = 20  # for a round, each after the death of a worker
PAUSE = 0.05  # seconds before the second attempt, and that more before each further one
WORKER_SECONDS = 120  # until a worker must have started in place of those that died
RESTART_SECONDS = 600  # in which a `LocalCluster` may replace a worker before it gives up
HISTORY_BYTES = 1 << 24  # of what made the states from their snapshot, however small they are
PACKAGES = "numpy", "scipy", "scikit-learn", "numba", "llvmlite"  # which rounding may depend on

logger = logging.getLogger(__name__)


def import_dask():
    """The module `distributed`, or an error that says how to install it."""
    try:
        import dask  # noqa: F401
        import distributed
    except ImportError as error:
        raise ImportError(
            f"skfm.dask requires Dask ({error}); install it with pip install 'skfm[dask]'."
        ) from error
    return distributed


@contextmanager
def open_cluster(client=None):
    """A `Cluster` on the given client, on Dask's default client, or on a `LocalCluster`.

    The latter has a process for each processor, and is closed afterwards.
    """
    distributed = import_dask()
    import dask

    if client is None:
        try:
            client = distributed.default_client()
        except ValueError:  # there is none
            with (
                dask.config.set({"distributed.deploy.lost-worker-timeout": RESTART_SECONDS}),
                distributed.LocalCluster(threads_per_worker=1, dashboard_address=":0") as cluster,
                distributed.Client(cluster, set_as_default=False) as client,
            ):
                yield Cluster(client)
            return
    if not isinstance(client, distributed.Client):
        raise TypeError(f"client must be a distributed.Client or None; got {client!r}.")
    if client.asynchronous:
        raise ValueError("client must not be asynchronous; use Client(..., asynchronous=False).")
    if client.status != "running":
        raise ValueError(
            f"client is not connected to a scheduler (its status is {client.status!r}); create a "
            "new one."
        )
    yield Cluster(client)


class Cluster:
    """Rounds of tasks on the workers of a client."""

    def __init__(self, client):
        self.client = client
        self._checked = set()  # addresses of workers
        self.check_workers()

    def check_workers(self):
        """Refuse workers with other versions than those of this process."""
        self.client.wait_for_workers(1, timeout=WORKER_SECONDS)
        new = set(self.client.scheduler_info()["workers"]) - self._checked
        if not new:
            return
        expected = _expected()
        found = self.client.run(_versions, workers=sorted(new), on_error="return")
        for address, versions in found.items():
            if isinstance(versions, OSError):  # it has died since
                continue
            if isinstance(versions, Exception):
                raise RuntimeError(
                    f"The worker {address} cannot import skfm ({versions}); install version "
                    f"{__version__} on all workers."
                ) from versions
            differing = [
                f"{name} {versions.get(name)} instead of {own}"
                for name, own in expected.items()
                if versions.get(name) != own
            ]
            if differing:
                raise RuntimeError(
                    f"The worker {address} has {', '.join(differing)}. Install the same versions "
                    "on all workers and where you call skfm."
                )
            self._checked.add(address)

    def load(self, tasks):
        """`DaskPartitions` from `Delayed` objects, each of which is a partition."""
        return DaskPartitions(self, self.client.compute(list(tasks)))

    def run(self, launch, shared, *, parts=(), repair=None):
        """Run a round, again if a worker died; returns the results of ``launch(shared)``.

        ``launch`` gets a future of what is shared, and returns a list of futures and whether to
        fetch their results. ``repair()`` is called before the next attempt. ``parts`` are the
        futures of the partitions.
        """
        for attempt in range(MAX_ATTEMPTS):
            time.sleep(PAUSE * attempt)
            try:
                self.check_workers()
                if attempt > 0 and repair is not None:
                    repair()
                with self.client.as_current():
                    return launch(self.send(shared))
            except Exception as error:
                self._check_connection(error)
                _raise_if_final(error, parts)
                logger.info("A worker was lost (%s); the round is repeated.", error)
        raise RuntimeError(
            f"Workers died in {MAX_ATTEMPTS} attempts to finish one round of tasks. See their "
            "logs; smaller partitions or more memory may help."
        )

    def send(self, value):
        """A future of a value, on one of the workers; others fetch it from there."""
        # In a list, since the elements of tuples would be scattered one by one. Without a hash,
        # since the name of a copy that was lost cannot be used again.
        (future,) = self.client.scatter(
            [value], broadcast=False, hash=False, timeout=WORKER_SECONDS
        )
        return future

    def _check_connection(self, error):
        if self.client.status != "running":
            raise ConnectionError(
                "The connection to Dask's scheduler is lost. Start a cluster again; a fit with "
                "checkpoint= then continues where it was."
            ) from error

    def submit(self, function, number, *arguments):
        """A future of a task for the partition of this number."""
        key = f"{function.__name__}-{uuid4().hex}-partition-{number}"
        return self.client.submit(_call, function, number, *arguments, key=key, pure=False)


class DaskPartitions:
    """`Partitions` on the workers of a cluster."""

    def __init__(self, cluster, futures):
        self.cluster = cluster
        self.futures = futures

    def __len__(self):
        return len(self.futures)

    def map(self, function, *shared):
        return self._run(lambda box: self._fetch(self._launch(function, box)), shared)

    def sum(self, function, *shared, add=partitions.add):
        return self._run(lambda box: self._add_up(self._leaf(function, box), add), shared)

    def convert(self, function, *shared):
        """As in `partitions.Partitions`; ``shared`` must be small, as it is part of the tasks."""
        submit = self.cluster.submit
        made = [submit(function, i, part, shared) for i, part in enumerate(self.futures)]
        return DaskPartitions(self.cluster, made)

    def states(self):
        return DaskStates(self)

    def _run(self, launch, shared, repair=None):
        return self.cluster.run(launch, shared, parts=self.futures, repair=repair)

    def _leaf(self, function, box):
        return lambda i: self.cluster.submit(function, i, self.futures[i], box)

    def _launch(self, function, box):
        return list(map(self._leaf(function, box), range(len(self))))

    def _fetch(self, futures):
        return self.cluster.client.gather(futures)

    def _add_up(self, leaf, add):
        """Add what the tasks return where they ran; only the sum comes back."""
        client = self.cluster.client

        def add_futures(first, second):
            return client.submit(add, first, second, pure=False)

        return fold(leaf, add_futures, 0, len(self)).result()


class DaskStates:
    """`States` on the workers of a cluster."""

    def __init__(self, parts):
        self.parts = parts
        self.restore([None] * len(parts))

    def advance(self, function, *shared):
        def launch(box):
            made = list(map(self._leaf(function, box), range(len(self.parts))))
            self._wait(made)
            return made

        self.futures = self._run(launch, shared)
        self._history.append((function, shared))
        self._history_bytes += _n_bytes(shared)
        if self._history_bytes > HISTORY_BYTES:
            # Then a snapshot costs no more than what has been sent since the last one.
            if self._state_bytes is None:
                self._state_bytes = sum(self.map(_state_bytes))
            if self._history_bytes > self._state_bytes:
                self._keep(self.snapshot())

    def map(self, function, *shared):
        def launch(box):
            tasks = map(self._leaf(function, box), range(len(self.parts)))
            return self.parts._fetch(list(tasks))

        return self._run(launch, shared)

    def sum(self, function, *shared, add=partitions.add):
        return self._run(lambda box: self.parts._add_up(self._leaf(function, box), add), shared)

    def snapshot(self):
        return self.map(_state_itself)

    def restore(self, values):
        self._state_bytes = None
        self._keep(values)
        self.futures = list(values)
        self._make_again()

    def _keep(self, values):
        self._snapshot = list(values)
        self._history = []
        self._history_bytes = 0

    def _leaf(self, function, box):
        submit = self.parts.cluster.submit
        return lambda i: submit(function, i, self.parts.futures[i], box, self.futures[i])

    def _run(self, launch, shared):
        return self.parts._run(launch, shared, repair=self._make_again)

    def _wait(self, futures):
        distributed = import_dask()
        client = self.parts.cluster.client
        while futures:
            # Not all at once: the first error is enough.
            done, waiting = distributed.wait(futures, return_when="FIRST_COMPLETED")
            for future in done:
                if future.status == "error":
                    client.gather(future)
            futures = list(waiting)

    def _make_again(self):
        """Replace the states that are lost."""
        cluster = self.parts.cluster
        lost = [
            i
            for i, future in enumerate(self.futures)
            if getattr(future, "status", "lost") in ("cancelled", "lost", "error")
        ]
        if not self._history and all(self._snapshot[i] is None for i in lost):
            for i in lost:
                self.futures[i] = None
            return
        history = cluster.send((self._history,))
        for i in lost:
            part, snapshot = self.parts.futures[i], cluster.send(self._snapshot[i])
            self.futures[i] = cluster.submit(_replay, i, part, history, snapshot)


def _call(function, number, part, shared, *state):
    """Call a function; its error names the partition."""
    try:
        return function(part, *state, *shared)
    except Exception as error:
        text, kind = str(error), type(error)
        if kind not in (TypeError, ValueError):
            text, kind = f"{kind.__name__}: {error}", RuntimeError
        raise kind(f"Partition {number} of X: {text}") from error


def _replay(part, state, history):
    for function, shared in history:
        state = function(part, state, *shared)
    return state


def _state_itself(part, state):
    return state


def _state_bytes(part, state):
    return _n_bytes(state)


def _n_bytes(value):
    if isinstance(value, (tuple, list)):
        return sum(map(_n_bytes, value))
    if isinstance(value, dict):
        return _n_bytes(list(value.values()))
    return getattr(value, "nbytes", 0)


def _raise_if_final(error, parts):
    """Raise an error of a round, unless it only says that a worker is lost."""
    distributed = import_dask()
    for number, part in enumerate(parts):
        if part.status == "error":
            _raise_reading(number, part.exception())
        if part.status == "cancelled":  # while one that is "lost" is computed again
            raise RuntimeError(
                f"Partition {number} of X was lost with its worker and cannot be made again. "
                "Make partitions by tasks that read files, not from scattered data."
            ) from error
    if isinstance(error, distributed.KilledWorker):
        _raise_killed(error, error.task)
    if isinstance(error, TimeoutError):
        raise TimeoutError(f"The cluster has no running worker ({error}).") from error
    # Tasks raise no OSError (see `_call`), so it is about the connection to a worker.
    if not isinstance(error, (CancelledError, OSError)):
        raise error


def _raise_killed(error, task):
    raise RuntimeError(
        f"The task {task} has stopped several workers, probably for lack of memory: make "
        "partitions smaller, or give the workers more memory."
    ) from error


def _raise_reading(number, error):
    if isinstance(error, import_dask().KilledWorker):
        _raise_killed(error, f"that makes partition {number} of X")
    if str(error).startswith("Partition "):
        raise error
    raise RuntimeError(
        f"Partition {number} of X cannot be computed: {type(error).__name__}: {error}"
    ) from error


def _expected():
    return _versions()


def _versions():
    return {
        "skfm": __version__,
        "Python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }
