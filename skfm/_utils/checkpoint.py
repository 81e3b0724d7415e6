"""Checkpoints: the state of training in a file, from which an interrupted fit continues.

A fit that continues does everything before its loop again, from the same random numbers, and then
restores the objects that its loop changes: those have ``snapshot()``, which returns plain values
and arrays, and ``restore(snapshot)``. What comes after the loop is done again as well. So a file
contains nothing but what the epochs have changed, and that of a finished fit gives the same model.

A fit may have several stages, each with a loop, such as a second fit on all rows after early
stopping. The file keeps the last snapshots of each.
"""

import copy
import errno
import os
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from skfm._utils.archive import reading, write
from skfm._utils.fingerprint import Trait, differences, digest, fingerprint
from skfm._utils.lock import exclusive
from skfm._utils.plain_state import from_plain, to_plain
from skfm._utils.values import Decoder, Encoder
from skfm.exceptions import InconsistentVersionError

FORMAT = "skfm checkpoint"
FORMAT_VERSION = 1
TRAINING_PER_WRITING = 20  # seconds of training between two writes, for each that a write takes
REMEDY = "Delete it to start again, or choose another path for checkpoint."
IN_USE = (
    "Another fit is using the file checkpoint; wait until it has ended, or choose another path"
)


class _NoCheckpoint:
    """The checkpoint of fits that have none."""

    def random_state(self, rng):
        return rng

    def stage(self, name):
        return self

    def restore(self, parts):
        """Restore the parts of a training loop from the file if there is one.

        ``parts`` are objects with ``snapshot`` and ``restore`` by name.
        """

    def save(self, parts, *, has_ended):
        """Save the parts after an epoch, unless that would take too much time."""


NO_CHECKPOINT = _NoCheckpoint()


def open_checkpoint(path, estimator, data):
    """The checkpoint of a fit, or `NO_CHECKPOINT` if there is no path.

    ``data`` are the values that the fit depends on besides the estimator's parameters, by name.
    """
    if path is None:
        return NO_CHECKPOINT
    path = _checked_path(path)
    return Checkpoint(path, fingerprint(estimator, data))


def _checked_path(path):
    if not isinstance(path, (str, os.PathLike)) or isinstance(os.fspath(path), bytes):
        raise TypeError(f"checkpoint must be a path or None; got {path!r}.")
    # Absolute, since a callback may change the working directory.
    absolute = Path(os.path.abspath(path))
    if not absolute.parent.is_dir():
        raise FileNotFoundError(
            errno.ENOENT, "The folder of checkpoint does not exist; create it", str(path)
        )
    if absolute.is_dir():
        raise IsADirectoryError(errno.EISDIR, "checkpoint must be a file", str(path))
    return absolute


@contextmanager
def using_checkpoint(path, random_state):
    """Reserve the file of a fit, or None, for the time of the fit.

    A fit that fails leaves the user's `RandomState` as it was. So the same call continues the fit
    instead of starting another one.
    """
    if path is None:
        yield
        return
    is_ours_to_restore = isinstance(random_state, np.random.RandomState)
    before = random_state.get_state(legacy=False) if is_ours_to_restore else None
    with exclusive(_checked_path(path), IN_USE):
        try:
            yield
        except BaseException:
            if before is not None:
                random_state.set_state(before)
            raise


class Checkpoint:
    """The file of a fit with the given traits (see `fingerprint`).

    Raises an error if the file belongs to another fit.
    """

    def __init__(self, path, traits):
        self.path = path
        self.traits = traits
        self.last_write = -np.inf  # when it ended
        self.seconds = 0.0  # that it took
        self._random_state = None
        if path.exists():
            with self._reading() as (metadata, decoder):
                before = {name: Trait(*trait) for name, trait in metadata["fit"].items()}
                self._random_state = decoder.decode(metadata["random_state"])
            found = differences(before, traits)
            if found:
                raise ValueError(
                    f"{path} is the checkpoint of another fit: {'; '.join(found)}. {REMEDY}"
                )

    @contextmanager
    def _reading(self):
        """The metadata, and a decoder of its values."""
        try:
            with reading(self.path, writer="a fit with a checkpoint") as reader:
                metadata = reader.metadata()
                if metadata["format"] != FORMAT:
                    raise ValueError(f"its format is {metadata['format']!r}")
                if metadata["format_version"] != FORMAT_VERSION:
                    raise ValueError("it was written by another version of skfm")
                yield metadata, Decoder(reader.array)
        except (ValueError, InconsistentVersionError) as error:
            raise ValueError(f"{error} {REMEDY}") from error

    def random_state(self, rng):
        """The random numbers of the fit: ``rng``, or those with which the saved fit started."""
        present = to_plain(rng)
        if self._random_state is None:
            self._random_state = copy.deepcopy(present)
        if digest(present) == digest(self._random_state):
            return rng
        return from_plain(self._random_state)

    def stage(self, name):
        return _Stage(self, name)

    def snapshots(self):
        """Those in the file, by the names of stages."""
        if not self.path.exists():
            return {}
        with self._reading() as (metadata, decoder):
            return decoder.decode(metadata["stages"])

    def write(self, snapshots):
        start = time.perf_counter()
        encoder = Encoder()
        metadata = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "fit": {name: list(trait) for name, trait in self.traits.items()},
            "random_state": encoder.encode(self._random_state, ("random_state",)),
            "stages": encoder.encode(snapshots, ("stages",)),
        }
        try:
            write(self.path, metadata, encoder.arrays, sync=True)
        except OSError as error:
            reason = f"The checkpoint cannot be written ({error.strerror or error})"
            raise type(error)(error.errno, reason, str(self.path)) from error
        self.last_write = time.perf_counter()
        self.seconds = self.last_write - start


class _Stage:
    """One training loop of a fit. `_NoCheckpoint` describes its methods."""

    def __init__(self, checkpoint, name):
        self.checkpoint = checkpoint
        self.name = name
        self.others = {}  # the snapshots of earlier stages

    def restore(self, parts):
        snapshots = self.checkpoint.snapshots()
        snapshot = snapshots.pop(self.name, None)
        self.others = snapshots
        if snapshot is None:
            self._write(parts)  # before training starts: a path may be read-only
            return
        for name, part in parts.items():
            if name in snapshot:  # a callback, which needs a listener, may be new
                part.restore(snapshot[name])

    def save(self, parts, *, has_ended):
        trained = time.perf_counter() - self.checkpoint.last_write
        if has_ended or trained >= TRAINING_PER_WRITING * self.checkpoint.seconds:
            self._write(parts)

    def _write(self, parts):
        own = {name: part.snapshot() for name, part in parts.items()}
        self.checkpoint.write(self.others | {self.name: own})
