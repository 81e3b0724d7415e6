"""Tables with a binary target, as data frames: for tools that encode them each in their own way.

======================  ==========================================================================
access                  which employees got access to what: 9 categories of many levels
criteo                  2000 impressions of advertisements: 13 numbers, 26 categories; three folds
ipinyou                 bids for advertisements, very few clicks; the test rows are of another day
likes                   MovieLens, small: user, film, genres; is the rating at least 4?
hotels                  reviews of hotels: user, hotel, places, kind of trip; is the rating 5?
apps                    uses of apps in contexts, Frappe: is it used there more than once?
clicks                  drawn from a planted factorization machine: user, advertisement, place
======================  ==========================================================================

The files are those of `real_data.py`, and for hotels and apps two archives of irecsys/CARSKit
(``context-aware_data_sets/Travel_TripAdvisor_v2.zip`` and ``Mobile_Frappe.zip``), not unpacked.
Their terms are those of their owners: for research.

A column of strings is a category, of numbers a number, where NaN is missing, and of lists a bag of
categories. Of larger tables, MAX_ROWS are drawn. Nothing may be chosen on test rows.
"""

import zipfile
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import real_data
from scipy import sparse
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.preprocessing import KBinsDiscretizer, MultiLabelBinarizer, OneHotEncoder, normalize
from target_statistics import target_statistics

MAX_ROWS = 20_000
CONTEXTS = "CARSKit/context-aware_data_sets"


@dataclass
class Split:
    """Training and test rows of a table, and how they look to different tools."""

    name: str
    train: pd.DataFrame
    y: np.ndarray
    test: pd.DataFrame
    y_test: np.ndarray

    @cached_property
    def inner(self):
        """A split of the training rows, to choose settings on."""
        return split_rows(self.name, self.train, self.y)

    @cached_property
    def one_hot(self):
        """CSR matrices of the training and test rows, and the field of each column."""
        parts = [encode_column(self.train[name], self.test[name]) for name in self.train]
        X, X_test = (sparse.hstack([part[i] for part in parts], format="csr") for i in (0, 1))
        sizes = [part[0].shape[1] for part in parts]
        return X, X_test, np.repeat(np.array(self.train.columns, dtype=str), sizes)

    def with_target_statistics(self, smooth):
        """The same with target statistics of the categories and their pairs as further fields."""
        *matrices, fields = self.one_hot
        numbers = target_statistics(self.train, self.y, self.test, self.categories, smooth)
        X, X_test = (
            sparse.hstack(pair, format="csr") for pair in zip(matrices, numbers, strict=True)
        )
        names = [f"statistic {number}" for number in range(numbers[0].shape[1])]
        return X, X_test, np.append(fields, names)

    @cached_property
    def flat(self):
        """Frames in which each genre is a column of its own, for trees."""
        train, test = self.train.copy(), self.test.copy()
        for name in self.train.columns:
            if is_bag(self.train[name]):
                binarizer = MultiLabelBinarizer().fit(train[name])
                for frame in (train, test):
                    bags = binarizer.transform(frame.pop(name))
                    frame[[f"{name} {label}" for label in binarizer.classes_]] = bags
        return train, test

    @property
    def categories(self):
        return [name for name in self.train if is_category(self.train[name])]


def is_category(column):
    return isinstance(column.iloc[0], str)


def is_bag(column):
    return isinstance(column.iloc[0], list)


def encode_column(train, test):
    """One column for each level, bin or genre; missing numbers have a bin of their own."""
    if is_bag(train):
        binarizer = MultiLabelBinarizer(sparse_output=True).fit(train)
        known = set(binarizer.classes_)
        bags = ([[label for label in bag if label in known] for bag in x] for x in (train, test))
        return [normalize(binarizer.transform(bag).astype(float)) for bag in bags]
    if is_category(train):
        train, test = train.to_frame(), test.to_frame()
    else:
        train, test = bins_of_numbers(train, test)
    encoder = OneHotEncoder(handle_unknown="ignore").fit(train)
    return [encoder.transform(frame).tocsr() for frame in (train, test)]


def bins_of_numbers(train, test):
    known = train.notna()
    binner = KBinsDiscretizer(8, encode="ordinal", quantile_method="averaged_inverted_cdf")
    binner.fit(train[known].to_frame())
    frames = []
    for part in (train, test):
        bins = pd.Series(-1.0, index=part.index, name=part.name)
        has_value = part.notna()
        if has_value.any():
            bins[has_value] = binner.transform(part[has_value].to_frame()).ravel()
        frames.append(bins.to_frame())
    return frames


# --- tables ---------------------------------------------------------------------------------


def split_rows(name, frame, y):
    rows = train_test_split(np.arange(len(y)), test_size=0.2, random_state=0, stratify=y)
    return take_rows(name, frame, y, *rows)


def take_rows(name, frame, y, train, test):
    frame = frame.reset_index(drop=True)
    return Split(name, frame.iloc[train], y[train], frame.iloc[test], y[test])


def draw_rows(frame, y):
    if len(y) > MAX_ROWS:
        chosen = np.random.default_rng(0).permutation(len(y))[:MAX_ROWS]
        frame, y = frame.iloc[chosen], y[chosen]
    return frame, y


def load_access(home):
    frame, y = real_data.read_access(home)
    return [split_rows("access", frame.astype(str), y.to_numpy())]


def load_criteo(home):
    frame, y = real_data.read_criteo(home)
    categories = [name for name in frame if name.startswith("C")]
    frame[categories] = frame[categories].fillna("none").astype(str)
    y = y.to_numpy()
    folds = StratifiedKFold(3, shuffle=True, random_state=0).split(frame, y)
    return [take_rows("criteo", frame, y, *fold) for fold in folds]


def load_ipinyou(home):
    X, y, X_test, y_test = real_data.read_ipinyou(home)
    parts = []
    for rows in (X, X_test):  # the rank among a row's entries is the field
        names = rows.indices.reshape(rows.shape[0], -1).astype(str)
        parts.append(pd.DataFrame(names).rename(columns=lambda number: f"field {number}"))
    varies = parts[0].nunique() > 1
    train, test = (frame.loc[:, varies] for frame in parts)
    return [Split("ipinyou", train, y.astype(int), test, y_test.astype(int))]


def load_likes(home):
    folder = home / "lkpy/data/ml-latest-small"
    ratings = pd.read_csv(folder / "ratings.csv")
    genres = pd.read_csv(folder / "movies.csv").set_index("movieId")["genres"].str.split("|")
    frame = ratings[["userId", "movieId"]].astype(str)
    frame["genres"] = ratings["movieId"].map(genres)
    frame, y = draw_rows(frame, (ratings["rating"] >= 4).to_numpy(dtype=int))
    return [split_rows("likes", frame, y)]


def read_archive(archive, file, **options):
    with zipfile.ZipFile(archive) as files, files.open(file) as stream:
        return pd.read_csv(stream, dtype=str, keep_default_na=False, **options)


def load_hotels(home):
    archive = home / CONTEXTS / "Travel_TripAdvisor_v2.zip"
    frame = read_archive(archive, "Travel_TripAdvisor_v2/Data_TripAdvisor_v2.csv")
    y = (frame.pop("Rating") == "5").to_numpy(dtype=int)
    return [split_rows("hotels", frame, y)]


def load_apps(home):
    archive = home / CONTEXTS / "Mobile_Frappe.zip"
    frame = read_archive(archive, "Mobile_Frappe/frappe/frappe.csv", sep="\t")
    y = (frame.pop("cnt") != "1").to_numpy(dtype=int)
    return [split_rows("apps", *draw_rows(frame, y))]


def load_clicks(home=None):
    frame, y = real_data.draw_clicks()
    return [split_rows("clicks", *draw_rows(frame.astype(str), y))]


LOADERS = (
    *(load_access, load_criteo, load_ipinyou, load_likes),
    *(load_hotels, load_apps, load_clicks),
)
