"""Data and tasks of the tests with Dask, in a module that workers can import."""

import os
import signal

import numpy as np
from scipy import sparse

CUTS = 0, 0, 40, 200, 200, 203, 500  # partitions of different lengths, some of them empty
SHAPE = CUTS[-1], 60


def ratings(dtype=np.float64, shape=SHAPE, density=0.15):
    """Ratings from 1 to 5 of all users, also of a user and for an item without any."""
    X = sparse.random(*shape, density, "csr", random_state=0, dtype=dtype)
    X.data[:] = np.random.default_rng(0).integers(1, 6, X.nnz)
    keep = np.ones(shape)
    keep[shape[0] // 2], keep[:, shape[1] // 2] = 0, 0
    return sparse.csr_matrix(X.multiply(keep), dtype=dtype)


def read_ratings(start, stop, dtype=np.float64):
    return ratings(dtype)[start:stop]


def read_with_nan(start, stop):
    X = read_ratings(start, stop)
    if start == CUTS[2]:
        X.data[:1] = np.nan
    return X


def read_missing(start, stop):
    raise FileNotFoundError("no such block")


def read_many(start, stop):
    """Rows of more memory than the tests give a worker, in several partitions."""
    rng = np.random.default_rng(start)
    indices = np.tile(np.arange(0, 1000, 2, dtype=np.int32), stop - start)
    indptr = np.arange(0, indices.size + 1, 500, dtype=np.int32)
    return sparse.csr_matrix((rng.random(indices.size) + 1, indices, indptr), (stop - start, 1000))


def stop_process(start, stop):
    os.kill(os.getpid(), signal.SIGKILL)


def process_id():
    return os.getpid()
