"""Latency of examples/serve.py under load, with one worker process and with two.

    python benchmarks/serve_latency.py [--users 5000] [--items 10000] [--entries 500000]
                                       [--clients 1 8] [--workers 1 2] [--seconds 10]

The service runs on the loopback interface, with a model of 16 components fitted on generated
ratings. Each client is a process that sends one request after the other over one connection. Half
of the requests name a user of the training data, the others send 20 events; all ask for ten items.
Shown are requests per second of all clients together, and the median and the 99th percentile of
the milliseconds that a request takes. On a machine with few cores, the clients take time from the
service.
"""

import argparse
import http.client
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

EXAMPLES = Path(__file__).parents[1] / "examples"
sys.path.insert(0, str(EXAMPLES))
HEADERS = {"Content-Type": "application/json"}
N_BODIES = 200  # different requests of each client
PATIENCE = 120  # seconds until the service has to answer


def make_log(n_users, n_items, n_entries):
    rng = np.random.default_rng(0)
    users, items = rng.integers(n_users, size=n_entries), rng.integers(n_items, size=n_entries)
    tastes, kinds = rng.normal(size=(n_users, 4)), rng.normal(size=(n_items, 4))
    ratings = 3 + (tastes[users] * kinds[items]).sum(axis=1) / 2
    return [
        (f"user {u}", f"item {i}", r)
        for u, i, r in zip(users, items, ratings.tolist(), strict=True)
    ]


def make_bodies(rng, fitted):
    users, items = fitted["encoder"].user_ids_, fitted["encoder"].item_ids_
    bodies = []
    for number in range(N_BODIES):
        if number % 2:
            chosen = rng.choice(items.size, size=20, replace=False)
            events = [{"item": items[i], "value": float(rng.integers(1, 6))} for i in chosen]
            question = {"events": events}
        else:
            question = {"user": users[rng.integers(users.size)]}
        bodies.append(json.dumps(question))
    return bodies


def send(port, bodies, start, end, results):
    """A client: the times of its requests between ``start`` and ``end``."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    times, number = [], 0
    while (now := time.monotonic()) < end:
        connection.request("POST", "/recommend", bodies[number % len(bodies)], HEADERS)
        response = connection.getresponse()
        answer = json.loads(response.read())
        if response.status != 200 or len(answer) != 10:
            raise RuntimeError(f"status {response.status}: {answer}")
        if now >= start:
            times.append(time.monotonic() - now)
        number += 1
    results.put(times)


def wait_until_ready(service, port):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and service.poll() is None:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("the service did not start")


def measure(port, fitted, n_clients, seconds):
    """The times of all requests within so many seconds, after a second that does not count."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    start = time.monotonic() + 2 + n_clients  # the processes take a while to start
    clients = []
    for seed in range(n_clients):
        bodies = make_bodies(np.random.default_rng(seed), fitted)
        arguments = port, bodies, start, start + seconds, results
        clients.append(context.Process(target=send, args=arguments))
    for client in clients:
        client.start()
    times = np.concatenate([results.get(timeout=PATIENCE) for _ in clients])
    for client in clients:
        client.join()
    return times


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main():
    import serve

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (("users", 5000), ("items", 10_000), ("entries", 500_000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()

    fitted = serve.fit(make_log(options.users, options.items, options.entries))
    print(f"{os.cpu_count()} cores\nworkers  clients  requests/s  p50, ms  p99, ms")
    with tempfile.TemporaryDirectory() as folder:
        serve.save(fitted, folder)
        for n_workers in options.workers:
            port = free_port()
            command = [sys.executable, str(EXAMPLES / "serve.py"), "serve", folder]
            command += ["--port", str(port), "--workers", str(n_workers)]
            service = subprocess.Popen(command)
            try:
                wait_until_ready(service, port)
                for n_clients in options.clients:
                    times = measure(port, fitted, n_clients, options.seconds)
                    p50, p99 = 1e3 * np.percentile(times, [50, 99])
                    rate = times.size / options.seconds
                    print(
                        f"{n_workers:7}  {n_clients:7}  {rate:10.0f}  {p50:7.1f}  {p99:7.1f}",
                        flush=True,
                    )
            finally:
                service.terminate()
                service.wait()


if __name__ == "__main__":
    main()
