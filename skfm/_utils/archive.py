"""Arrays and metadata in one file: an uncompressed .npz with a JSON member.

Each array is a member in the format of .npy. Its numbers start at a multiple of 64 bytes in the
file, so that they can be mapped into memory.
"""

import errno
import io
import json
import os
import struct
import tokenize
import zipfile
import zlib
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np

from skfm._kernels._atomic import replacing
from skfm.exceptions import InconsistentVersionError

METADATA = "model.json"
ALIGNMENT = 64  # bytes, also that of the numbers within a member
CHUNK = 1 << 20  # bytes that are read at a time
LONGEST_HEADER = 10_000  # bytes of a member, before its numbers
LOCAL_HEADER, ZIP64_EXTRA = 30, 20  # bytes before the data of a member, besides its name
PADDING = 0xD935  # the tag for padding that zipalign uses as well
OF_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    NotImplementedError,
    RecursionError,
    SyntaxError,  # of headers, which NumPy reads as Python literals
    TypeError,
    ValueError,
    tokenize.TokenError,
)


def write(file, metadata, arrays, *, sync=False):
    """Write metadata and named arrays; a path changes only when all of it is written.

    With ``sync``, this is true even if the system crashes.
    """
    with _creating(file, sync) as stream, zipfile.ZipFile(stream, "w") as archive:
        text = json.dumps(metadata, allow_nan=False, separators=(",", ":"))
        with _new_member(archive, stream, METADATA) as member:
            member.write(text.encode())
        for name, array in arrays.items():
            with _new_member(archive, stream, f"{name}.npy") as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


@contextmanager
def _creating(file, sync):
    """A seekable stream for the bytes of a new file."""
    if isinstance(file, (str, os.PathLike)):
        path = Path(os.path.realpath(file))  # a link stays a link
        with replacing(path) as draft, draft.open("wb") as stream:
            yield stream
            if sync:
                stream.flush()
                os.fsync(stream.fileno())
    elif hasattr(file, "write") and not isinstance(file, io.TextIOBase):
        stream = io.BytesIO()
        yield stream
        _write_all(file, stream.getbuffer())
    else:
        raise TypeError(f"file must be a path or a binary file object; got {file!r}.")


def _write_all(file, data):
    """Write all bytes; streams without a buffer may write fewer than they are given."""
    while len(data):
        n_written = file.write(data)
        data = data[n_written or 0 :] if isinstance(file, io.RawIOBase) else data[len(data) :]


def _new_member(archive, stream, name):
    """A stream for a member that starts at a multiple of `ALIGNMENT` bytes.

    All members have the same date, so that a model is always written as the same bytes.
    """
    info = zipfile.ZipInfo(name)
    start = stream.tell() + LOCAL_HEADER + len(name) + ZIP64_EXTRA + 4
    padding = bytes(-start % ALIGNMENT)
    info.extra = struct.pack("<HH", PADDING, len(padding)) + padding
    return archive.open(info, "w", force_zip64=True)


class Reader:
    """The metadata and the arrays of an open archive.

    Arrays are read, and their checksums compared; or else they are parts of ``mapped``, the bytes
    of the whole file.
    """

    def __init__(self, archive, size, mapped=None):
        self._archive, self._size, self._mapped = archive, size, mapped

    def metadata(self):
        return json.loads(self._read(METADATA).tobytes())

    def array(self, name):
        name = f"{name}.npy"
        data = self._read(name) if self._mapped is None else self._map(name)
        header = io.BytesIO(data[:LONGEST_HEADER].tobytes())
        version = np.lib.format.read_magic(header)
        if version != (1, 0):
            raise ValueError(f"{name} has an unknown header")
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(header)
        if dtype.kind not in "biufcmMSU":
            raise ValueError(f"{name} has the type {dtype}")
        numbers = data[header.tell() :]
        size = dtype.itemsize
        for length in shape:
            size *= length
        if size != numbers.size:
            raise ValueError(f"{name} has {numbers.size} bytes instead of {size}")
        order = "F" if is_fortran else "C"
        if size == 0:
            return np.empty(shape, dtype, order)
        return numbers.view(dtype).reshape(shape, order=order)

    def _info(self, name):
        info = self._archive.getinfo(name)
        is_plain = info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1
        if not is_plain or info.file_size != info.compress_size or info.file_size > self._size:
            raise ValueError(f"{name} is compressed, encrypted or too long")
        return info

    def _read(self, name):
        info = self._info(name)
        data = np.empty(info.file_size, np.uint8)
        with self._archive.open(info) as member:
            for start in range(0, data.size + 1, CHUNK):  # the end, where checksums are compared
                part = member.read(CHUNK)
                data[start : start + len(part)] = np.frombuffer(part, np.uint8)
            if member.read(1) or start + len(part) != data.size:
                raise ValueError(f"{name} has another length")
        return data

    def _map(self, name):
        info = self._info(name)
        header = self._mapped[info.header_offset :][:LOCAL_HEADER].tobytes()
        signature, *_, n_name, n_extra = struct.unpack("<4s22xHH", header)
        start = info.header_offset + LOCAL_HEADER + n_name + n_extra
        if signature != b"PK\x03\x04" or start + info.file_size > self._size:
            raise ValueError(f"{name} is not where the directory says")
        return self._mapped[start : start + info.file_size]


@contextmanager
def reading(file, mmap_mode=None, writer="skfm.io.save_model"):
    """A `Reader`; errors about what it reads become a ValueError with the name of the file.

    ``writer`` is what should have written the file.
    """
    is_path = isinstance(file, (str, os.PathLike))
    if not is_path and not _is_seekable(file):
        raise TypeError(f"file must be a path or a seekable binary file object; got {file!r}.")
    if not is_path and mmap_mode is not None:
        raise ValueError(
            f"mmap_mode={mmap_mode!r} requires the path of a file; got a file object."
        )
    with open(file, "rb") if is_path else nullcontext(file) as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                size = stream.seek(0, os.SEEK_END)
                # Of the same file, not of another one that has replaced it at this path since.
                mapped = None if mmap_mode is None else np.memmap(stream, np.uint8, mmap_mode)
                yield Reader(archive, size, mapped)
        except InconsistentVersionError:
            raise
        except (*OF_DAMAGE, OSError) as error:
            if isinstance(error, OSError) and error.errno != errno.EINVAL:
                raise  # the system's; EINVAL is a directory that refers to before the start
            name = os.fspath(file) if is_path else "The file"
            raise ValueError(
                f"{name} was not written by {writer}, or is truncated or damaged "
                f"({type(error).__name__}: {error})."
            ) from error


def _is_seekable(file):
    """Whether a file object has bytes that can be read in any order."""
    if not (hasattr(file, "read") and hasattr(file, "seek")) or isinstance(file, io.TextIOBase):
        return False
    return not hasattr(file, "seekable") or file.seekable()
