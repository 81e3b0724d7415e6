"""MovieLens-100k: fetched, checked, never passed on."""

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from sklearn.utils import Bunch

from skfm.datasets._movielens_files import (
    DAMAGED,
    OFFICIAL,
    OFFICIAL_URL,
    download_archive,
    download_wheel_files,
    keep,
    read_kept,
)
from skfm.datasets._movielens_tables import read_archive, read_content, read_wheel_files

if TYPE_CHECKING:
    import pandas as pd

FOLDER = "skfm_movielens_100k"

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

    The official archive ``ml-100k.zip`` is downloaded from GroupLens and kept in `data_home`, so
    that later calls need no network. You can also put it there (or into the default folder)
    yourself. Where GroupLens cannot be reached, the same data is taken from the wheel
    ``recbole==1.2.1``, which carries a copy: pip downloads the wheel, and three files are taken
    out of it and kept. The wheel itself is neither installed nor kept, and none of its code is
    run. Checksums are compared, of all downloads and of the ratings and users in an archive, and
    no file larger than these can be is read.

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
        If no source can be read, or a file in `data_home` has other content than it should have.

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
        frame, users, films = read_archive(archive)
    else:
        frame, users, films = _read_or_download(folder, download_if_missing)
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


def _read_or_download(folder, download_if_missing):
    """Tables from the files kept in ``folder``, else from GroupLens, else from a wheel."""
    files, wrong = read_kept(folder)
    if not wrong:
        return read_wheel_files(files)
    ways = (
        f"Either put the official {OFFICIAL} into {folder}, or let fetch_movielens_100k "
        "download the data, which needs network access (and download_if_missing=True)."
    )
    if not download_if_missing:
        raise OSError(
            f"MovieLens-100k is not in {folder} (missing, unreadable or damaged: "
            f"{', '.join(wrong)}). {ways}"
        )
    try:
        content = download_archive()
    except OSError as error:
        files = _download_elsewhere(f"{OFFICIAL_URL}: {error}", ways)
        keep(files, folder)
        return read_wheel_files(files)
    keep({OFFICIAL: content}, folder)
    return read_content(content)


def _download_elsewhere(before, ways):
    """The wheel's files; ``before`` is what went wrong with the official archive."""
    try:
        return download_wheel_files()
    except (*DAMAGED, subprocess.SubprocessError) as error:
        raise OSError(
            f"MovieLens-100k could not be downloaded: {_reason(error)} ({before}) {ways}"
        ) from error


def _reason(error):
    """One sentence on what went wrong; of pip's own output the last line says it best."""
    if isinstance(error, subprocess.TimeoutExpired):
        return f"pip took longer than {error.timeout} seconds."
    if isinstance(error, subprocess.CalledProcessError):
        lines = (error.stderr or "").strip().splitlines()
        return f"pip failed ({lines[-1] if lines else f'exit code {error.returncode}'})."
    return str(error)
