"""Files for reading and for writing: paths, perhaps of compressed files, or file objects."""

import bz2
import gzip
import io
import lzma
import os
import zlib
from contextlib import contextmanager
from pathlib import Path

from skfm._kernels._atomic import replacing

OF_DECOMPRESSORS = (EOFError, OSError, gzip.BadGzipFile, zlib.error, lzma.LZMAError)
OPENERS = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}  # by the end of the name


@contextmanager
def opening(file):
    """A stream of bytes and its name for messages."""
    if isinstance(file, (str, os.PathLike)):
        path = Path(file)
        opener = OPENERS.get(path.suffix.lower(), open)
        with _naming(path), opener(path, "rb") as stream:
            yield stream, str(path)
    elif hasattr(file, "read") and hasattr(file, "readline"):
        with _naming("file"):
            yield file, "file"
    else:
        raise TypeError(f"file must be a path or a binary file object; got {file!r}.")


@contextmanager
def _naming(file):
    """What a decompressor says of damaged data, with the name of the file."""
    try:
        yield
    except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        if type(error) not in OF_DECOMPRESSORS or getattr(error, "errno", None) is not None:
            raise  # the system's, or the file object's own
        raise ValueError(
            f"{file} cannot be decompressed ({error}): it is truncated, damaged or compressed in "
            "another format. Download or compress it again."
        ) from error


@contextmanager
def creating(file):
    """A stream for bytes. A path changes only when all of it is written."""
    if isinstance(file, (str, os.PathLike)):
        path = Path(os.path.realpath(file))  # a link stays a link
        if path.exists() and not path.is_file():  # a device or a pipe cannot be replaced
            with path.open("wb") as stream, _compressed(stream, path) as packed:
                yield packed
            return
        with replacing(path) as draft:
            with draft.open("wb") as stream, _compressed(stream, path) as packed:
                yield packed
    elif hasattr(file, "write") and not isinstance(file, io.TextIOBase):
        yield file
    else:
        raise TypeError(f"file must be a path or a binary file object; got {file!r}.")


def _compressed(stream, path):
    """The stream, compressed if the path says so; without name and time, so always alike."""
    if path.suffix.lower() == ".gz":
        return gzip.GzipFile("", "wb", fileobj=stream, mtime=0)
    if path.suffix.lower() == ".bz2":
        return bz2.BZ2File(stream, "wb")
    if path.suffix.lower() == ".xz":
        return lzma.LZMAFile(stream, "wb")
    return stream
