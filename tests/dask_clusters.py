"""Clusters of processes on this machine, and what may happen to them."""

import os
import signal
from contextlib import contextmanager

from dask_tasks import process_id


@contextmanager
def local_cluster(n_workers, **options):
    """A client of a cluster of processes with one thread each."""
    import dask
    from distributed import Client, LocalCluster

    # With other work on the machine, a process that replaces a dead one may take long to start.
    values = {"threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": 50, **options}
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": 600}),
        LocalCluster(n_workers=n_workers, **values) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def kill_worker(client, which=0):
    """Kill the process of a worker."""
    processes = sorted(client.run(process_id).items())
    os.kill(processes[which % len(processes)][1], signal.SIGKILL)
