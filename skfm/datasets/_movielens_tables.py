"""Tables of MovieLens-100k, out of the official archive or out of the files of the wheel."""

import io
import re
import zipfile

import numpy as np

from skfm.datasets._movielens_files import DAMAGED, opened, read_member, wrong_files

ARCHIVE_SHA256 = {  # with the ends of lines that they have in the archive
    "data": "06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490",
    "user": "f120e114da2e8cf314fd28f99417c94ae9ddf1cb6db8ce0e4b5995d40e90e62c",
}
N_RATINGS, N_USERS, N_FILMS = 100_000, 943, 1682
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


def read_archive(archive):
    """Ratings, users and films from the official zip."""
    try:
        with opened(archive) as members:
            return _read_members(members)
    except (*DAMAGED, IndexError, OverflowError, ValueError) as error:
        raise OSError(
            f"{archive} is not a complete copy of the official MovieLens-100k archive: {error} "
            "Replace it, or remove it to have the data downloaded."
        ) from error


def read_content(content):
    """The same from the content of the zip, which is known to be right."""
    with zipfile.ZipFile(io.BytesIO(content)) as members:
        return _read_members(members)


def _read_members(members):
    data, user, item, genre = (
        read_member(members, f"ml-100k/u.{name}") for name in ("data", "user", "item", "genre")
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
    if wrong := wrong_files(as_archived, ARCHIVE_SHA256):
        raise ValueError(f"checksums differ: {', '.join(f'u.{name}' for name in wrong)}.")
    return tables


def read_wheel_files(files):
    """Ratings, users and films from the three files of the wheel."""
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


def _split_lines(text, separator):
    """Fields of the lines that are not empty."""
    lines = text.replace("\r\n", "\n").split("\n")
    return [line.split(separator) for line in lines if line]


def _flagged(names, flags):
    return tuple(name for name, flag in zip(names, flags, strict=True) if flag == "1")


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
