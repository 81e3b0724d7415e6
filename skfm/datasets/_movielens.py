"""MovieLens-100k: downloaded, verified by checksums, and not redistributed."""

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

100,000 ratings (1 to 5) by 943 users of the MovieLens site of 1682 films, from September 1997
to April 1998. Every user rated at least 20 films.

frame : user_id, item_id, rating, timestamp (seconds since 1970), in the original order
users : user_id, age, gender, occupation, zip_code
items : item_id, title, year (NaN for one film), genres (a tuple of names)

In fold u{{i}} of the five published folds, i = 1 to 5, the rows 20000 * (i - 1) to 20000 * i of
frame are the test set, and the others are the training set.

{TERMS}
"""


def fetch_movielens_100k(
    data_home: str | os.PathLike[str] | None = None, *, download_if_missing: bool = True
) -> "MovieLens":
    """Load the ratings, users and films of MovieLens-100k.

    The first call downloads the official archive ``ml-100k.zip`` from GroupLens and saves it in
    `data_home`. Later calls read it from there. You can also put the archive there, or into the
    default folder, yourself. If GroupLens cannot be reached, pip downloads the wheel
    ``recbole==1.2.1``, which contains the same data, and three of its files are saved instead. The
    wheel is not installed, and none of its code is run. All downloads are verified by checksums,
    and so are the ratings and users in an existing archive. Files that are larger than the data
    can be are not read.

    The data set has terms of use, which each call prints: use it for research, do not redistribute
    it or use it commercially without permission of GroupLens, and cite it in publications [1]_.

    Parameters
    ----------
    data_home : str or path-like, default=None
        Folder that contains ``ml-100k.zip``, or in which to save the downloaded files. By default
        ``skfm_movielens_100k`` in the data folder of scikit-learn (``SCIKIT_LEARN_DATA`` or
        ``~/scikit_learn_data``).
    download_if_missing : bool, default=True
        Whether to download the data if they are not in `data_home`. If False, raise an error
        instead.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the following attributes.

        frame : DataFrame of shape (100000, 4)
            ``user_id``, ``item_id``, ``rating`` (1.0 to 5.0) and ``timestamp``, in the original
            order. In fold u{i} of the five published folds, the rows ``20000 * (i - 1)`` to
            ``20000 * i`` are the test set, and the others are the training set.
        users : DataFrame of shape (943, 5)
            ``user_id``, ``age``, ``gender``, ``occupation`` and ``zip_code`` (strings, because
            some contain letters).
        items : DataFrame of shape (1682, 4)
            ``item_id``, ``title``, ``year`` (floats, NaN for one film) and ``genres`` (a tuple of
            strings for each film).
        DESCR : str
            Description of the data.

    Raises
    ------
    ImportError
        If pandas is not installed.
    OSError
        If ``ml-100k.zip`` in `data_home` is damaged, if the data cannot be downloaded, or if they
        are missing and `download_if_missing` is False.

    Warns
    -----
    RuntimeWarning
        If the downloaded files cannot be saved in `data_home`. The data are still returned.

    Notes
    -----
    Titles do not contain the year, and articles follow the title ("Usual Suspects, The"). Both
    sources give the same tables: two errors in the wheel are corrected, namely the title "unknown"
    of film 267 and the missing year 1995 of film 1412. The genre of the films 267 and 1373 is
    "unknown". Release dates, video release dates and web addresses are not included.

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
    """A Bunch whose attribute ``items`` is the table of films, and not the method of ``dict``."""

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
    """Like sklearn.datasets.get_data_home, but does not create the folder."""
    home = os.environ.get("SCIKIT_LEARN_DATA") or "~/scikit_learn_data"
    return Path(home).expanduser() / FOLDER


def _read_or_download(folder, download_if_missing):
    """Tables from the files in ``folder``, or else from GroupLens, or else from the wheel."""
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
    """Files of the wheel; ``before`` is the reason why the official archive is not available."""
    try:
        return download_wheel_files()
    except (*DAMAGED, subprocess.SubprocessError) as error:
        raise OSError(
            f"MovieLens-100k could not be downloaded: {_reason(error)} ({before}) {ways}"
        ) from error


def _reason(error):
    """One sentence about an error; of pip's output, the last line is the most informative."""
    if isinstance(error, subprocess.TimeoutExpired):
        return f"pip took longer than {error.timeout} seconds."
    if isinstance(error, subprocess.CalledProcessError):
        lines = (error.stderr or "").strip().splitlines()
        return f"pip failed ({lines[-1] if lines else f'exit code {error.returncode}'})."
    return str(error)
