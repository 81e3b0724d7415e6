"""Real data sets that several benchmarks read, from clones of the repositories that hold them.

A folder, ``--data-home`` of the benchmarks, has the clones under the names of their repositories:

=====================================  ==========================================================
pyduan/amazonaccess                    access: which employees got access to what
ycjuan/kaggle-2014-criteo              criteo: 2000 rows of an advertiser's log
wnzhang/deep-ctr                       ipinyou: bids for advertisements, very few clicks
lenskit/lkpy                           small: the small MovieLens set, ratings and likes
noveens/infinite_ae_cf                 ml-1m, magazine: choices and ratings (needs h5py)
js05212/citeulike-a                    citeulike: who keeps which article
familyld/DeepCF                        lastfm, toys, music: choices, leave one out
mhahsler/recommenderlab                msweb: visits of areas of a site
Coder-Yu/QRec                          filmtrust: ratings of half a star to four
=====================================  ==========================================================

Their terms are those of their owners. What a folder lacks is skipped. `clicks`, a set drawn from a
planted machine, and MovieLens-100k, which skfm fetches, are always there.

Every table and matrix comes as training and test data. Nothing may be chosen on the test data.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.datasets import load_svmlight_file
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import OneHotEncoder

from skfm.datasets import fetch_movielens_100k


@dataclass
class Table:
    """Rows of features and their targets. ``fields`` are labels of the columns' fields."""

    name: str
    X: sparse.csr_matrix
    y: np.ndarray
    X_test: sparse.csr_matrix
    y_test: np.ndarray
    fields: np.ndarray


@dataclass
class Matrix:
    """Users x items: what is known, and what is hidden of the same users."""

    name: str
    known: sparse.csr_matrix
    hidden: sparse.csr_matrix


def _encode(train, test, y, y_test, name):
    """One-hot features of frames of categories."""
    encoder = OneHotEncoder(handle_unknown="ignore").fit(train)
    sizes = [len(levels) for levels in encoder.categories_]
    fields = np.repeat(np.asarray(train.columns, dtype=object), sizes)
    return Table(*(name, encoder.transform(train), y, encoder.transform(test), y_test), fields)


def _split_table(frame, y, name, stratify=None):
    parts = train_test_split(frame, y, test_size=0.2, random_state=0, stratify=stratify)
    train, test, y_train, y_test = parts
    return _encode(train, test, np.asarray(y_train), np.asarray(y_test), name)


def read_access(home):
    frame = pd.read_csv(home / "amazonaccess/data/train.csv")
    return frame, frame.pop("ACTION")


def load_access(home):
    frame, y = read_access(home)
    return _split_table(frame, y, "access", stratify=y)


def read_criteo(home):
    frame = pd.read_csv(home / "kaggle-2014-criteo/train.tiny.csv").drop(columns="Id")
    return frame, frame.pop("Label")


def load_criteo(home):
    frame, y = read_criteo(home)
    for name in [column for column in frame if column.startswith("I")]:
        frame[name] = pd.qcut(frame[name], 8, labels=False, duplicates="drop")
    return _split_table(frame.fillna("none").astype(str), y, "criteo", stratify=y)


def read_ipinyou(home):
    """X, y, X_test, y_test."""
    files = [home / f"deep-ctr/data/{part}.fm.txt" for part in ("train", "test")]
    return [part for file in files for part in load_svmlight_file(str(file))]


def load_ipinyou(home):
    X, y, X_test, y_test = read_ipinyou(home)
    n = max(X.shape[1], X_test.shape[1])
    X.resize(X.shape[0], n)
    X_test.resize(X_test.shape[0], n)
    used = np.flatnonzero(X.getnnz(axis=0))
    position = np.full(n, -1)  # the rank among a row's entries is the field
    position[X.indices] = np.arange(X.nnz) - np.repeat(X.indptr[:-1], np.diff(X.indptr))
    return Table(
        *("ipinyou", X[:, used], y.astype(int), X_test[:, used], y_test.astype(int)),
        position[used],
    )


def _read_small(home):
    frame = pd.read_csv(home / "lkpy/data/ml-latest-small/ratings.csv")
    return frame[["userId", "movieId"]], frame["rating"]


def load_small(home):
    return _split_table(*_read_small(home), "small")


def load_likes(home):
    pairs, ratings = _read_small(home)
    return _split_table(pairs, (ratings >= 4).astype(int), "likes")


def draw_clicks():
    """Of 400 users and 120 advertisements in five places, drawn from a planted machine."""
    rng = np.random.default_rng(0)
    sizes = {"user": 400, "ad": 120, "place": 5}
    frame = pd.DataFrame({name: rng.integers(n, size=37_500) for name, n in sizes.items()})
    raw = np.full(len(frame), -1.2)
    total, squares = 0.0, 0.0
    for name, n in sizes.items():
        raw += rng.normal(scale=0.5, size=n)[frame[name]]
        factors = rng.normal(scale=0.75, size=(n, 4))[frame[name]]
        total, squares = total + factors, squares + factors**2
    raw += (total**2 - squares).sum(axis=1) / 2
    return frame, (rng.random(len(frame)) < 1 / (1 + np.exp(-raw))).astype(int)


def load_clicks(home=None):
    return _split_table(*draw_clicks(), "clicks")


def load_filmtrust(home):
    columns = ["user", "item", "rating"]
    folder = home / "QRec/dataset/FilmTrust"
    train, test = (
        pd.read_csv(folder / f"{part}set.txt", sep=r"\s+", names=columns)
        for part in ("train", "test")
    )
    return _encode(
        *(train[columns[:2]], test[columns[:2]]),
        *(train["rating"].to_numpy(), test["rating"].to_numpy(), "filmtrust"),
    )


def load_fold(fold):
    """One of the five folds of MovieLens-100k, from (user, film)."""
    frame = fetch_movielens_100k().frame
    is_test = np.zeros(len(frame), dtype=bool)
    is_test[20_000 * (fold - 1) : 20_000 * fold] = True
    ids, y = frame[["user_id", "item_id"]], frame["rating"].to_numpy(dtype=float)
    return _encode(ids[~is_test], ids[is_test], y[~is_test], y[is_test], f"100k u{fold}")


def _positions(ids):
    return np.unique(ids, return_inverse=True)[1]


def _ones(users, items, shape=None):
    """A matrix of ones; of users and items by position."""
    X = sparse.csr_matrix((np.ones(len(users)), (users, items)), shape=shape)
    X.data[:] = 1  # where a pair comes several times, too
    return X


def split_matrix(name, users, items, random_state=0):
    """A fifth of each user's items, one at least of two, are hidden."""
    X = _ones(_positions(users), _positions(items))
    rng = np.random.default_rng(random_state)
    hidden = np.zeros(X.nnz, dtype=bool)
    for first, last in zip(X.indptr[:-1], X.indptr[1:], strict=True):
        if last - first > 1:
            n = max(1, round((last - first) / 5))
            hidden[first + rng.choice(last - first, n, replace=False)] = True
    rows = np.repeat(np.arange(X.shape[0]), np.diff(X.indptr))
    parts = (_ones(rows[part], X.indices[part], X.shape) for part in (~hidden, hidden))
    return Matrix(name, *parts)


def load_likes_100k(home=None):
    frame = fetch_movielens_100k().frame
    liked = frame[frame["rating"] >= 4]
    return split_matrix("100k likes", liked["user_id"], liked["item_id"])


def load_small_likes(home):
    pairs, ratings = _read_small(home)
    liked = pairs[ratings >= 4]
    return split_matrix("small likes", liked["userId"], liked["movieId"])


def load_citeulike(home):
    lists = (home / "citeulike-a/users.dat").read_text().splitlines()
    items = [np.array(line.split()[1:], dtype=int) for line in lists]
    users = np.repeat(np.arange(len(items)), [part.size for part in items])
    return split_matrix("citeulike", users, np.concatenate(items))


def load_msweb(home):
    users, items, user = [], [], -1
    file = home / "recommenderlab/Work/data/MSWeb/anonymous-msweb.data"
    for line in file.read_text(encoding="latin-1").splitlines():
        kind, number, *_ = line.split(",")
        if kind == "C":
            user += 1
        elif kind == "V":
            users.append(user)
            items.append(int(number))
    return split_matrix("msweb", users, items)


def _load_left_one_out(home, file, name):
    folder = home / "DeepCF/Data"
    parts = [
        pd.read_csv(folder / f"{file}.{part}.rating", sep="\t", header=None)
        for part in ("train", "test")
    ]
    shape = tuple(max(part[column].max() for part in parts) + 1 for column in (0, 1))
    return Matrix(name, *(_ones(part[0], part[1], shape) for part in parts))


def load_lastfm(home):
    return _load_left_one_out(home, "lastfm", "lastfm")


def load_toys(home):
    return _load_left_one_out(home, "AToy", "toys")


def load_music(home):
    return _load_left_one_out(home, "AMusic", "music")


def _read_events(home, file):
    """Users, items and ratings as a frame, of training and of test data."""
    import h5py

    folder = home / "infinite_ae_cf/data" / file
    with h5py.File(folder / "total_data.hdf5") as data:
        users, items = _positions(data["user"][:]), _positions(data["item"][:])
        frame = pd.DataFrame({"user": users, "item": items, "rating": data["rating"][:]})
    part = np.load(folder / "index.npz")["data"]
    return frame, frame[(part == 0) | (part == 1)], frame[part == 2]


def _load_events(home, file, name):
    frame, *parts = _read_events(home, file)
    shape = frame["user"].max() + 1, frame["item"].max() + 1
    return Matrix(name, *(_ones(part["user"], part["item"], shape) for part in parts))


def load_million(home):
    return _load_events(home, "ml-1m", "ml-1m")


def load_magazine(home):
    return _load_events(home, "magazine", "magazine")


def load_magazine_ratings(home):
    ids = ["user", "item"]
    _, *parts = _read_events(home, "magazine")
    parts = [part.drop_duplicates(ids, keep="last") for part in parts]
    targets = (part["rating"].to_numpy(dtype=float) for part in parts)
    return _encode(*(part[ids] for part in parts), *targets, "magazine")


CLASSES = (load_clicks, load_access, load_criteo, load_ipinyou, load_likes)
RATINGS = (load_small, load_filmtrust)
CHOICES = (
    *(load_likes_100k, load_small_likes, load_million, load_citeulike, load_msweb),
    *(load_lastfm, load_toys, load_music, load_magazine),
)


def load_all(loaders, home):
    """Those sets of these whose files are in the folder ``home``, one after the other."""
    for load in loaders:
        try:
            yield load(Path(home))
        except (FileNotFoundError, ModuleNotFoundError) as missing:
            print(f"{load.__name__[5:]} is skipped: {missing}")
