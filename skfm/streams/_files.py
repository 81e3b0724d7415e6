"""Files of a source: found by patterns, of one kind, and unchanged."""

import glob
import os

from skfm._utils.files import OPENERS

TABLES, SVMLIGHT, LIBFFM = "tables", "svmlight", "libffm"
_KINDS = {
    ".parquet": TABLES,
    ".csv": TABLES,
    ".svm": SVMLIGHT,
    ".svmlight": SVMLIGHT,
    ".libsvm": SVMLIGHT,
    ".ffm": LIBFFM,
    ".libffm": LIBFFM,
}


def find_files(paths):
    """The files of paths and patterns, and what kind of files they are."""
    found = [name for path in paths for name in _find(os.fspath(path))]
    if not found:
        raise ValueError("The list of files is empty.")
    if len(set(found)) < len(found):
        twin = next(path for path in found if found.count(path) > 1)
        raise ValueError(f"{twin} is among the files twice.")
    kinds = list(map(_kind, found))
    for path, kind in zip(found, kinds, strict=True):
        if kind != kinds[0]:
            raise ValueError(
                f"{found[0]!r} has the format of {kinds[0]}, but {path!r} that of {kind}; make "
                "separate Rows of them, or convert one of them."
            )
    return found, kinds[0]


def _find(path):
    found = [path] if os.path.exists(path) else sorted(glob.glob(path, recursive=True))
    if not found:
        raise FileNotFoundError(f"There is no file {path!r}.")
    return found


def _kind(path):
    name, extension = os.path.splitext(path.lower())
    if extension in OPENERS:
        extension = os.path.splitext(name)[1]
        if extension == ".parquet":  # is compressed by itself
            extension = ""
    if extension not in _KINDS:
        raise ValueError(
            f"{path!r} is not a file that can be read; known extensions: {', '.join(_KINDS)}, all "
            f"but .parquet also followed by {', '.join(OPENERS)}."
        )
    return _KINDS[extension]


class FileStatus:
    """Sizes and times of files, which must not change between passes."""

    def __init__(self, paths):
        self._paths, self._first = paths, None

    def fingerprint(self):
        status = ((path, os.stat(path)) for path in self._paths)
        return "; ".join(f"{path}: {s.st_size} bytes, {s.st_mtime_ns} ns" for path, s in status)

    def check_unchanged(self):
        status = self.fingerprint()
        if self._first is None:
            self._first = status
        elif status != self._first:
            raise ValueError(
                f"The files have changed since they were first read, from {self._first} to "
                f"{status}. Make new Rows of them."
            )
