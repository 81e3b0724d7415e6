"""Files of MovieLens-100k: kept ones and downloads, of which checksums are compared."""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path

from skfm._kernels._atomic import replacing
from skfm._utils.warnings import warn

OFFICIAL = "ml-100k.zip"
OFFICIAL_URL = f"https://files.grouplens.org/datasets/movielens/{OFFICIAL}"
OFFICIAL_SHA256 = "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229"
OFFICIAL_SECONDS = 20  # without a byte, before GroupLens counts as not reachable
WHEEL = "recbole==1.2.1"
WHEEL_SHA256 = "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"
WHEEL_FOLDER = "recbole/dataset_example/ml-100k"
WHEEL_SECONDS = 300
SHA256 = {
    "ml-100k.inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
    "ml-100k.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
    "ml-100k.user": "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972",
}
# Nothing larger is read: the largest file has 2 million bytes, the archive 5 million.
MAX_FILE_BYTES, MAX_ARCHIVE_BYTES = 8_000_000, 32_000_000
# What zipfile raises; RuntimeError if a file is encrypted, or compressed in an unknown way.
DAMAGED = (OSError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error)


def download_archive():
    """The official archive, from GroupLens."""
    from http.client import HTTPException
    from urllib.request import urlopen

    try:
        with urlopen(OFFICIAL_URL, timeout=OFFICIAL_SECONDS) as response:
            content = response.read(MAX_ARCHIVE_BYTES)
    except HTTPException as error:
        raise OSError(f"the download was interrupted ({error!r}).") from error
    if hashlib.sha256(content).hexdigest() != OFFICIAL_SHA256:
        raise OSError("the download is damaged, its checksum differs.")
    return content


def download_wheel_files():
    """Contents of three files by name, out of a wheel which is thrown away again.

    pip runs in the temporary folder, and with -P, so that Python imports nothing from the folder
    of whoever calls. It refuses a wheel that does not have the checksum.
    """
    if not sys.executable:
        raise OSError("sys.executable is empty, so pip cannot be run.")
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder, "requirements.txt")
        wanted.write_text(f"{WHEEL} --hash=sha256:{WHEEL_SHA256}\n", encoding="ascii")
        command = [sys.executable, "-P", "-m", "pip", "download", "--quiet", "--no-input"]
        command += ["--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]
        command += ["--require-hashes", "--requirement", str(wanted), "--dest", folder]
        subprocess.run(
            command,
            cwd=folder,
            check=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=WHEEL_SECONDS,
        )
        wheels = list(Path(folder).glob("*.whl"))
        if not wheels:
            raise OSError("pip did not download a wheel.")
        with opened(wheels[0]) as wheel:
            files = {name: read_member(wheel, f"{WHEEL_FOLDER}/{name}") for name in SHA256}
    if wrong := wrong_files(files, SHA256):
        raise OSError(f"the download is damaged, its checksums differ: {', '.join(wrong)}.")
    return files


def read_kept(folder):
    """Contents of the wheel's files in a folder by name, and the names of those to download."""
    files = {}
    for name in SHA256:
        try:
            with open(folder / name, "rb") as stream:
                files[name] = _read_limited(stream, name)
        except OSError:
            pass  # it is downloaded again
    return files, wrong_files(files, SHA256)


def keep(files, folder):
    """Write files, given by name, into a folder, or warn that this is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            with replacing(folder / name) as draft:
                draft.write_bytes(content)
    except OSError as error:
        warn(
            f"MovieLens-100k could not be saved in {folder} ({error}), so the next call will "
            "download it again; pass a writable folder as data_home.",
            RuntimeWarning,
        )


def wrong_files(files, digests):
    """Names of the files that are missing or do not have the content they should."""
    return [
        name
        for name, digest in digests.items()
        if hashlib.sha256(files.get(name, b"")).hexdigest() != digest
    ]


def opened(archive):
    """A zip file, unless it is far too large."""
    if os.path.getsize(archive) > MAX_ARCHIVE_BYTES:
        raise OSError(f"it has more than {MAX_ARCHIVE_BYTES:,} bytes.")
    return zipfile.ZipFile(archive)


def read_member(archive, name):
    """A file in an archive, of which a few bytes may stand for any number of them."""
    with archive.open(name) as stream:
        return _read_limited(stream, name)


def _read_limited(stream, name):
    content = stream.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise OSError(f"{name} has more than {MAX_FILE_BYTES:,} bytes.")
    return content
