"""MovieLens-100k: fetched, checked, never passed on."""

import hashlib
import io
import os
import re
import subprocess
import sys
import tempfile
import uuid
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from sklearn.utils import Bunch

from skfm._utils.warnings import warn

if TYPE_CHECKING:
    import pandas as pd

FOLDER = "skfm_movielens_100k"
OFFICIAL = "ml-100k.zip"
WHEEL = "recbole==1.2.1"
WHEEL_SHA256 = "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"
WHEEL_FOLDER = "recbole/dataset_example/ml-100k"
DOWNLOAD_SECONDS = 300
SHA256 = {
    "ml-100k.inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
    "ml-100k.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
    "ml-100k.user": "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972",
}
ARCHIVE_SHA256 = {  # with the ends of lines that they have in the archive
    "data": "06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490",
    "user": "f120e114da2e8cf314fd28f99417c94ae9ddf1cb6db8ce0e4b5995d40e90e62c",
}
N_RATINGS, N_USERS, N_FILMS = 100_000, 943, 1682
# Nothing larger is read: the largest file has 2 million bytes, the archive 5 million.
MAX_FILE_BYTES, MAX_ARCHIVE_BYTES = 8_000_000, 32_000_000
# What zipfile raises; RuntimeError if a file is encrypted, or compressed in an unknown way.
DAMAGED = (OSError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error)

FRAME_TYPES = {
    "user_id": np.int64,
    "item_id": np.int64,
    "rating": np.float64,
    "timestamp": np.int64,
}
USER_TYPES = {
    "user_id": np.int64,
    "age": np.int64,
    "gender": str,
    "occupation": str,
    "zip_code": str,
}
# A year in brackets ends a title; one film has the note "(V)", for video, behind it.
TITLE = re.compile(r"(.*?)\s*\((\d{4})\)\s*(?:\([A-Z]+\))?\s*")

TERMS = """\
MovieLens-100k was collected by GroupLens Research at the University of Minnesota. Its terms:
use it for research; ask GroupLens before passing it on or using it commercially; do not suggest
that they endorse your results; and acknowledge it in publications by citing
  F. M. Harper and J. A. Konstan, "The MovieLens Datasets: History and Context",
  ACM Transactions on Interactive Intelligent Systems 5(4), 2015, doi 10.1145/2827872."""

DESCR = f"""\
MovieLens-100k
--------------

100,000 ratings (1 to 5) which 943 users of the MovieLens site gave to 1682 films between
September 1997 and April 1998; every user rated 20 films or more.

frame : user_id, item_id, rating, timestamp (seconds since 1970), in the original order
users : user_id, age, gender, occupation, zip_code
items : item_id, title, year (NaN for one film), genres (a tuple of names)

Fold u{{i}} of the five classic folds, i = 1 to 5, tests on the rows 20000 * (i - 1) to
20000 * i of frame and trains on the others.

{TERMS}
"""


def fetch_movielens_100k(
    data_home: str | os.PathLike[str] | None = None, *, download_if_missing: bool = True
) -> "MovieLens":
    """Load the MovieLens-100k ratings, users and films.

    The official archive ``ml-100k.zip`` is read if you have put it into `data_home` (or into the
    default folder). Otherwise the same data is taken from the wheel ``recbole==1.2.1``, which
    carries a copy: pip downloads the wheel, three files are taken out of it, checked and kept in
    `data_home`, so that later calls need no network. The wheel itself is neither installed nor
    kept, and none of its code is run. Checksums are compared, of the wheel, of the files and of
    the ratings and users in the archive, and no file larger than these can be is read.

    The data set has terms of use, which each call prints: it is for research, must not be
    passed on or used commercially without permission of GroupLens, and is to be cited in
    publications [1]_.

    Parameters
    ----------
    data_home : str or path-like, default=None
        Folder with ``ml-100k.zip``, or to keep the downloaded files in. By default
        ``skfm_movielens_100k`` in the data folder of scikit-learn (``SCIKIT_LEARN_DATA`` or
        ``~/scikit_learn_data``).
    download_if_missing : bool, default=True
        If False, raise an error rather than use the network.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes

        frame : DataFrame of shape (100000, 4)
            ``user_id``, ``item_id``, ``rating`` (1.0 to 5.0), ``timestamp`` in the original
            order. Fold u{i} of the five classic folds tests on the rows ``20000 * (i - 1)`` to
            ``20000 * i`` and trains on the others.
        users : DataFrame of shape (943, 5)
            ``user_id``, ``age``, ``gender``, ``occupation``, ``zip_code`` (strings, some not
            numbers).
        items : DataFrame of shape (1682, 4)
            ``item_id``, ``title``, ``year`` (floats, NaN for one film) and ``genres``, a tuple
            of strings for each film.
        DESCR : str
            Description of the data.

    Raises
    ------
    ImportError
        If pandas is not installed.
    OSError
        If neither source can be read, or one of them has other content than it should have.

    Warns
    -----
    RuntimeWarning
        If the downloaded files cannot be kept in `data_home`. The data is returned all the same.

    Notes
    -----
    Titles come without their year and keep their article behind ("Usual Suspects, The"). Both
    sources write them alike, but two entries of the wheel are put right: the nameless film 267
    is spelt "unknown" as in the archive, and film 1412 gets its year 1995 back. The genre
    "unknown" of the films 267 and 1373 is kept as it is. Release dates, video release dates and
    web addresses are in the archive only and left out.

    References
    ----------
    .. [1] F. M. Harper and J. A. Konstan, "The MovieLens Datasets: History and Context", ACM
       Transactions on Interactive Intelligent Systems 5(4), 2015. doi:10.1145/2827872

    Examples
    --------
    >>> from skfm.datasets import fetch_movielens_100k
    >>> movielens = fetch_movielens_100k()  # doctest: +SKIP
    >>> movielens.frame.shape  # doctest: +SKIP
    (100000, 4)
    """
    try:
        import pandas  # noqa: F401
    except ImportError as error:
        raise ImportError(
            'fetch_movielens_100k needs pandas: pip install "skfm[datasets]".'
        ) from error
    default = _default_folder()
    folder = default if data_home is None else Path(data_home).expanduser()
    archives = [place / OFFICIAL for place in (folder, default)]
    archive = next(filter(os.path.isfile, archives), None)
    if archive is not None:
        frame, users, films = _read_archive(archive)
    else:
        frame, users, films = _parse_files(_get_files(folder, download_if_missing))
    print(TERMS)
    return MovieLens(frame=frame, users=users, items=films, DESCR=DESCR)


class MovieLens(Bunch):
    """A Bunch whose attribute ``items`` is the table of the films, as its key says.

    In a plain Bunch, the method of dictionaries would hide it.
    """

    frame: "pd.DataFrame"
    users: "pd.DataFrame"
    DESCR: str

    @property
    def items(self) -> "pd.DataFrame":
        return self["items"]

    def __reduce__(self):  # pickle would call items()
        return _rebuild, (dict(zip(self.keys(), self.values(), strict=True)),)


def _rebuild(contents):
    return MovieLens(**contents)


def _default_folder():
    """Like sklearn.datasets.get_data_home, but creates nothing before there is data to keep."""
    home = os.environ.get("SCIKIT_LEARN_DATA") or "~/scikit_learn_data"
    return Path(home).expanduser() / FOLDER


def _read_archive(archive):
    """Tables from the official zip."""
    try:
        with _opened(archive) as opened:
            data, user, item, genre = (
                _read_member(opened, f"ml-100k/u.{name}")
                for name in ("data", "user", "item", "genre")
            )
        genres = [line[0] for line in _split_lines(genre.decode("ascii"), "|")]
        films = _split_lines(item.decode("latin-1"), "|")
        tables = (
            _read_table(data, "\t", FRAME_TYPES, header=None),
            _read_table(user, "|", USER_TYPES, header=None),
            _make_films((film[0], film[1], _flagged(genres, film[5:])) for film in films),
        )
        sizes = tuple(map(len, tables))
        if sizes != (N_RATINGS, N_USERS, N_FILMS):
            raise ValueError(f"it has {sizes} ratings, users and films.")
        as_archived = {
            name: content.replace(b"\r\n", b"\n").rstrip(b"\n") + b"\n"
            for name, content in (("data", data), ("user", user))
        }
        if wrong := _wrong_files(as_archived, ARCHIVE_SHA256):
            raise ValueError(f"checksums differ: {', '.join(f'u.{name}' for name in wrong)}.")
    except (*DAMAGED, IndexError, OverflowError, ValueError) as error:
        raise OSError(
            f"{archive} is not a complete copy of the official MovieLens-100k archive: {error} "
            "Replace it, or remove it to have the data downloaded."
        ) from error
    return tables


def _opened(archive):
    """A zip file, unless it is far too large."""
    if os.path.getsize(archive) > MAX_ARCHIVE_BYTES:
        raise OSError(f"it has more than {MAX_ARCHIVE_BYTES:,} bytes.")
    return zipfile.ZipFile(archive)


def _read_member(archive, name):
    """A file in an archive, of which a few bytes may stand for any number of them."""
    with archive.open(name) as stream:
        return _read_limited(stream, name)


def _read_limited(stream, name):
    content = stream.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise OSError(f"{name} has more than {MAX_FILE_BYTES:,} bytes.")
    return content


def _split_lines(text, separator):
    """Fields of the lines that are not empty."""
    lines = text.replace("\r\n", "\n").split("\n")
    return [line.split(separator) for line in lines if line]


def _flagged(names, flags):
    return tuple(name for name, flag in zip(names, flags, strict=True) if flag == "1")


def _get_files(folder, download_if_missing):
    """Contents of the three files by name: those kept in ``folder``, else downloaded."""
    files = _read_kept(folder)
    wrong = _wrong_files(files, SHA256)
    if not wrong:
        return files
    ways = (
        f"Either put the official {OFFICIAL} into {folder}, or let fetch_movielens_100k "
        f"download the data with pip, which needs network access (and download_if_missing=True)."
    )
    if not download_if_missing:
        raise OSError(
            f"MovieLens-100k is not in {folder} (missing, unreadable or damaged: "
            f"{', '.join(wrong)}). {ways}"
        )
    try:
        files = _download_files()
    except (*DAMAGED, subprocess.SubprocessError) as error:
        raise OSError(
            f"MovieLens-100k could not be downloaded: {_reason(error)} {ways}"
        ) from error
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            _write(folder / name, content)
    except OSError as error:
        warn(
            f"MovieLens-100k could not be kept in {folder} ({error}) and will be downloaded "
            "again; pass a folder that can be written as data_home.",
            RuntimeWarning,
        )
    return files


def _read_kept(folder):
    """Contents of the files that are there and can be read, by name."""
    files = {}
    for name in SHA256:
        try:
            with open(folder / name, "rb") as stream:
                files[name] = _read_limited(stream, name)
        except OSError:
            pass  # it is downloaded again
    return files


def _wrong_files(files, digests):
    """Names of the files that are missing or do not have the content they should."""
    return [
        name
        for name, digest in digests.items()
        if hashlib.sha256(files.get(name, b"")).hexdigest() != digest
    ]


def _download_files():
    """Contents of the three files, out of a wheel which is thrown away again.

    pip runs in the temporary folder, and with -P, so that Python imports nothing from the folder
    of whoever calls. It refuses a wheel that does not have the checksum.
    """
    if not sys.executable:
        raise OSError("this Python does not know its own executable, so it cannot run pip.")
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
            timeout=DOWNLOAD_SECONDS,
        )
        wheels = list(Path(folder).glob("*.whl"))
        if not wheels:
            raise OSError("pip brought no wheel.")
        with _opened(wheels[0]) as wheel:
            files = {name: _read_member(wheel, f"{WHEEL_FOLDER}/{name}") for name in SHA256}
    if wrong := _wrong_files(files, SHA256):
        raise OSError(f"the download is damaged, its checksums differ: {', '.join(wrong)}.")
    return files


def _reason(error):
    """One sentence on what went wrong; of pip's own output the last line says it best."""
    if isinstance(error, subprocess.TimeoutExpired):
        return f"pip took longer than {error.timeout} seconds."
    if isinstance(error, subprocess.CalledProcessError):
        lines = (error.stderr or "").strip().splitlines()
        return f"pip failed ({lines[-1] if lines else f'exit code {error.returncode}'})."
    return str(error)


def _write(path, content):
    """All or nothing, also when two processes write the same file."""
    draft = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        draft.write_bytes(content)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _parse_files(files):
    """Tables from the three files of the wheel."""
    films = _split_lines(files["ml-100k.item"].decode("utf-8"), "\t")[1:]
    return (
        _read_table(files["ml-100k.inter"], "\t", FRAME_TYPES, header=0),
        _read_table(files["ml-100k.user"], "\t", USER_TYPES, header=0),
        # Title and year put together again are what the official archive has.
        _make_films(
            (item, f"{title} ({year})", tuple(genres.split(" ")))
            for item, title, year, genres in films
        ),
    )


def _read_table(content, separator, types, *, header):
    import pandas as pd

    return pd.read_csv(
        io.BytesIO(content),
        sep=separator,
        names=list(types),
        dtype=types,
        header=header,
        keep_default_na=False,
    )


def _make_films(films):
    """Table of the films from (item id, title with year, genres)."""
    import pandas as pd

    rows = [(int(item), *_split_title(text), genres) for item, text, genres in films]
    return pd.DataFrame(rows, columns=["item_id", "title", "year", "genres"])


def _split_title(text):
    match = TITLE.fullmatch(text)
    if match:
        return match[1], float(match[2])
    if text == "unkonwn (unkonwn)":  # film 267, misspelt in the wheel
        text = "unknown"
    return text.strip(), float("nan")
