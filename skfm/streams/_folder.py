"""Folders of encoded rows: temporary ones, and caches that several processes may share."""

import errno
import os
import shutil
import tempfile
import uuid
import weakref
from contextlib import contextmanager
from pathlib import Path

from skfm._utils.messages import shown
from skfm.streams._cache import MANIFEST, EncodedRows, read_manifest

PUBLISHED = "encoded-rows"  # the folder in that of the user, complete from its first moment on
_OF_FULL_DISKS = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


def open_cache(cache, settings):
    """The rows in a cache, or None if there are none yet.

    Parameters
    ----------
    cache : Path or None
    settings : dict
        What the rows must have been made from.

    Raises
    ------
    ValueError
        If they were made from something else.
    """
    if cache is None:
        return None
    folder = cache / PUBLISHED
    if not (folder / MANIFEST).exists():
        if folder.exists():
            raise ValueError(
                f"{folder} is not a folder of encoded rows, or not a complete one. Delete it, or "
                "choose another cache."
            )
        return None
    found = read_manifest(folder)["settings"]
    if found != settings:
        raise ValueError(
            f"The cache {str(cache)!r} has rows that were encoded with "
            f"{_differences(found, settings)}. Delete the folder {folder}, or choose another "
            "cache."
        )
    return EncodedRows(folder)


def _differences(found, settings):
    texts = []
    for name, value in settings.items():
        other = found.get(name)
        if other == value:
            continue
        if name in ("source", "encoder"):
            texts.append(f"another {name}" if name == "encoder" else "another or changed source")
        else:
            texts.append(f"{name}={shown(other)} instead of {shown(value)}")
    return " and ".join(texts) or "other settings"


@contextmanager
def drafting(cache):
    """A new folder to write to: in the cache, or a temporary one. An error removes it."""
    if cache is None:
        draft = Path(tempfile.mkdtemp(prefix="skfm-rows-"))
    else:
        draft = cache / f"skfm-{uuid.uuid4().hex}.tmp"
        draft.mkdir(parents=True)
    try:
        yield draft
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def publish(draft, cache, settings):
    """The complete rows of a draft, opened.

    In a cache, the draft is renamed. If another process was faster, its rows are used. Temporary
    rows are removed when nobody can read them any more, or when the process ends.
    """
    if cache is None:
        rows = EncodedRows(draft)
        weakref.finalize(rows, _remove, draft, os.getpid())
        return rows
    try:
        os.rename(draft, cache / PUBLISHED)
    except OSError:
        if not (cache / PUBLISHED).exists():
            raise
        shutil.rmtree(draft, ignore_errors=True)
    return open_cache(cache, settings)


def _remove(folder, process):
    if os.getpid() == process:  # not in a process that was forked
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def explaining_full_disks(folder, n_bytes):
    """Says of a full disk what was written where; ``n_bytes`` is a function."""
    try:
        yield
    except OSError as error:
        if error.errno not in _OF_FULL_DISKS:
            raise
        raise OSError(
            error.errno,
            f"There is no space for the encoded rows ({error.strerror}): {n_bytes():,} bytes were "
            f"written to {folder}, and more are needed. Pass a folder on a larger disk as cache",
        ) from error
