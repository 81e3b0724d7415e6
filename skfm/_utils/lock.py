"""A file that one process at a time uses, and one thread of it."""

import os
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

ATTEMPTS = 100  # to lock a file that others remove just then


@contextmanager
def exclusive(path, message):
    """Use a file alone, or raise a BlockingIOError with a message if somebody else does already.

    The system locks a file beside ``path``, as ``path`` itself may be replaced, and ends the lock
    when the process ends, however it ends. An unlocked file that a killed process has left is
    used again. Where nothing can be locked, such as in folders that cannot be written to and on
    some network file systems, nobody is kept out.
    """
    real = Path(os.path.realpath(path))  # a link and what it refers to are one file
    lock = real.with_name(f"{real.name}.skfm-lock")  # users may have a lock that ends with .lock
    try:
        stream = _locked(lock)
    except BlockingIOError as error:
        raise BlockingIOError(error.errno, message, str(path)) from error
    try:
        yield
    finally:
        if stream is not None:
            _release(stream, lock)


def _locked(path):
    """An open, locked file; None where this is not possible."""
    for _ in range(ATTEMPTS):
        try:
            stream = open(path, "ab")
        except OSError:
            return None
        try:
            _lock(stream)
            # Its owner may have removed it since it was opened: others would lock a new one.
            if os.path.samestat(os.fstat(stream.fileno()), os.stat(path)):
                return stream
        except FileNotFoundError:
            pass
        except BlockingIOError:
            stream.close()
            raise
        except OSError:
            stream.close()
            return None
        stream.close()
    return None


def _lock(stream):
    if sys.platform != "win32":
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    stream.seek(0)
    try:
        msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
    except PermissionError as error:
        raise BlockingIOError(error.errno, error.strerror) from error


def _release(stream, path):
    if sys.platform == "win32":  # which removes no open file, of whomever
        stream.close()
        with suppress(OSError):
            path.unlink()
    else:
        with suppress(OSError):
            path.unlink()  # while it is locked: after that, it may be somebody else's
        stream.close()
