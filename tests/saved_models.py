"""Fitted estimators in all states that a file may have to keep, and how they go on from there."""

from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from scipy import sparse

from skfm import (
    BayesianFMClassifier,
    BayesianFMRegressor,
    FMClassifier,
    FMRecommender,
    FMRegressor,
    MFRecommender,
)
from skfm.baselines import (
    EASERecommender,
    ItemKNNRecommender,
    PopularityRecommender,
    RP3betaRecommender,
    SLIMRecommender,
    UserKNNRecommender,
)
from skfm.preprocessing import EventEncoder, TableEncoder, UserItemEncoder
from skfm.streams import Rows

N_ROWS = 60
FEW = {"max_iter": 3, "random_state": 0}
BAYES = {**FEW, "n_burn_in": 1}


def make_data(seed=0):
    """Rows of two one-hot fields and two numbers, ratings, labels of two and of three classes."""
    rng = np.random.default_rng(seed)
    X = np.zeros((N_ROWS, 12))
    for start in (0, 5):
        X[np.arange(N_ROWS), start + rng.integers(5, size=N_ROWS)] = 1
    X[:, 10], X[:, 11] = rng.normal(size=N_ROWS), rng.normal(50, size=N_ROWS)  # is centered
    y = X[:, :5] @ np.arange(5) + rng.normal(size=N_ROWS)
    return X, y, np.array(["no", "yes"])[(y > 2).astype(int)], np.digitize(y, [1, 3])


X, Y, LABELS, CLASSES = make_data()
X_NEW, Y_NEW, LABELS_NEW, CLASSES_NEW = make_data(1)
FIELDS = ["user"] * 5 + ["item"] * 5 + ["age", "year"]
RATINGS = np.abs(np.round(X * 3))
ITEMS = np.array([f"item {place}" for place in CLASSES])
FEATURES = sparse.csr_matrix(np.arange(12.0).reshape(3, 4) % 5)
LOG = [(f"ü{row % 7}", row % 5, 1.0 + row % 3, row // 4) for row in range(N_ROWS)]
OBJECTS = [((row % 3, "a"), [1, "1", b"x", date(2020, 1, 2), 2.5][row % 5]) for row in range(30)]
BLOCKS = ["user", "item", "history", "ratings", "previous", "last", "raters", "time", "user_time"]


def warmly(model, y):
    """Continue with a warm start."""
    return model.set_params(warm_start=True).fit(X_NEW, y)


def add_items(model):
    return model.add_items(FEATURES[:1] * 2, item_ids=["new"])


def event_encoder():
    columns = {"user": 0, "item": 1, "time": 3}
    return EventEncoder(BLOCKS, **columns).fit(LOG, [row[2] for row in LOG])


TABLE = [
    [
        f"ü{row % 7}" if row % 5 else None,
        row % 11,
        2.5 * row,
        date(2020, 1 + row % 12, 2),
        ["a", "b"][: row % 3],
    ]
    for row in range(N_ROWS)
]


def read_text(text, encoder=None):
    """Rows of a file in the format of libffm, which is read before it is removed."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "rows.ffm")
        path.write_text(text)
        rows = Rows(path, encoder=encoder)
        rows.encoded()
        return rows


def table_encoder():
    kinds = {0: ["category", "hashed"], 1: "category", 2: ["quantile_bins", "number", "log_bins"]}
    crossed = [("x0", "x1"), {"fields": ("x1", "x3__month"), "kind": "hashed", "n_features": 9}]
    encoder = TableEncoder(kinds, n_features=8, n_bins=4, crossed=crossed, min_frequency=7)
    return encoder.fit(as_objects(TABLE))


def stream(**options):
    model = FMClassifier(2, random_state=np.random.RandomState(0), **options)
    return model.partial_fit(X, CLASSES, classes=[0, 1, 2])


# By name: a function that fits, one that asks, and one that trains further, or None.
MODELS = {
    "FMRegressor": (
        lambda: FMRegressor(2, **FEW).fit(X, Y),
        lambda model: model.predict(X_NEW),
        lambda model: model.partial_fit(X_NEW, Y_NEW),
    ),
    "FMRegressor, interactions": (
        lambda: FMRegressor(
            2, feature_fields=FIELDS, interactions=[("user", "item"), ("user", "age")], **FEW
        ).fit(X.astype(np.float32), Y),
        lambda model: model.predict(X_NEW),
        lambda model: warmly(model, Y_NEW),
    ),
    "FMRegressor, field-weighted": (
        lambda: FMRegressor(2, feature_fields=FIELDS, field_interactions="weighted", **FEW).fit(
            X, Y
        ),
        lambda model: model.predict(X_NEW),
        lambda model: warmly(model, Y_NEW),
    ),
    "FMRegressor, field-matrixed": (
        lambda: FMRegressor(
            2, feature_fields=FIELDS, field_interactions="matrixed", solver="adam", **FEW
        ).fit(X.astype(np.float32), Y),
        lambda model: model.predict(X_NEW),
        lambda model: model.partial_fit(X_NEW, Y_NEW),
    ),
    "FMRegressor, degree 3, als": (
        lambda: FMRegressor(2, degree=3, solver="als", **FEW).fit(X, Y),
        lambda model: model.predict(X_NEW),
        lambda model: warmly(model, Y_NEW),
    ),
    "FMClassifier": (
        lambda: FMClassifier(2, **FEW).fit(X, LABELS),
        lambda model: model.predict_proba(X_NEW),
        lambda model: warmly(model, LABELS_NEW),
    ),
    "FMClassifier, stream of three classes": (
        stream,
        lambda model: model.predict_proba(X_NEW),
        lambda model: model.partial_fit(X_NEW, CLASSES_NEW),
    ),
    "FMClassifier, field-aware, three classes": (
        lambda: stream(feature_fields=FIELDS, field_interactions="aware"),
        lambda model: model.predict_proba(X_NEW),
        lambda model: model.partial_fit(X_NEW, CLASSES_NEW),
    ),
    "FMClassifier, adam, a chunk again": (
        lambda: stream(solver="adam"),
        lambda model: model.predict(X_NEW),
        lambda model: model.partial_fit(X, CLASSES),
    ),
    "FMClassifier, early stopping": (
        lambda: FMClassifier(2, early_stopping=True, **FEW).fit(X, LABELS),
        lambda model: model.predict_proba(X_NEW),
        lambda model: warmly(model.set_params(early_stopping=False), LABELS_NEW),
    ),
    "BayesianFMRegressor": (
        lambda: BayesianFMRegressor(2, feature_groups=FIELDS, **BAYES).fit(X, Y),
        lambda model: np.stack(model.predict(X_NEW, return_std=True)),
        lambda model: warmly(model, Y_NEW),
    ),
    "BayesianFMRegressor, field-weighted": (
        lambda: BayesianFMRegressor(
            2, feature_fields=FIELDS, field_interactions="weighted", **BAYES
        ).fit(X, Y),
        lambda model: np.stack(model.predict(X_NEW, return_std=True)),
        lambda model: warmly(model, Y_NEW),
    ),
    "BayesianFMClassifier": (
        lambda: BayesianFMClassifier(2, **BAYES).fit(X, LABELS),
        lambda model: model.predict_proba(X_NEW),
        lambda model: model.set_params(warm_start=True).fit(X, LABELS),
    ),
    "MFRecommender": (
        lambda: MFRecommender(2, **FEW).fit(RATINGS),
        lambda model: np.stack(model.recommend(RATINGS[:10], exclude_seen=False)),
        None,
    ),
    "MFRecommender, implicit": (
        lambda: MFRecommender(2, feedback="implicit", **FEW).fit(sparse.csr_matrix(RATINGS)),
        lambda model: model.transform(RATINGS[::-1]),
        None,
    ),
    "FMRecommender": (
        lambda: FMRecommender(2, **FEW).fit(X, ITEMS),
        lambda model: model.recommend(X, 2)[0],
        None,
    ),
    "FMRecommender, features": (
        lambda: add_items(
            FMRecommender(
                2, item_features=FEATURES, item_ids=["item 0", "item 1", "item 2"], **FEW
            ).fit(X, ITEMS)
        ),
        lambda model: model.recommend(X, 2, exclude_seen=False)[1],
        lambda model: model.add_items(FEATURES[:1] * 3, item_ids=["newer"]),
    ),
    **{
        kind.__name__: (
            lambda kind=kind: kind().fit(RATINGS),
            lambda model: np.stack(model.recommend(RATINGS[:10], 3)),
            None,
        )
        for kind in (
            *(PopularityRecommender, ItemKNNRecommender, UserKNNRecommender),
            *(EASERecommender, SLIMRecommender, RP3betaRecommender),
        )
    },
    "UserItemEncoder": (
        lambda: UserItemEncoder(dtype=np.float32).fit([row[:2] for row in LOG]),
        lambda model: model.transform([row[:2] for row in LOG[5:]]).toarray(),
        None,
    ),
    "UserItemEncoder, objects": (
        lambda: UserItemEncoder().fit(as_objects(OBJECTS)),
        lambda model: model.transform(as_objects(OBJECTS[5:])).toarray(),
        None,
    ),
    "EventEncoder": (
        event_encoder,
        lambda model: model.transform(LOG[5:15]).toarray(),
        None,
    ),
    "IndexEncoder": (
        lambda: read_text("1 0:3:1 1:1:1\n0 0:2:1\n").encoder_,
        lambda model: read_text("1 1:1:1\n", model).encoded().read_all()[0].toarray(),
        None,
    ),
    "TableEncoder": (
        table_encoder,
        lambda model: model.transform(as_objects(TABLE[5:15])).toarray(),
        None,
    ),
    "TableEncoder, target statistics": (
        lambda: TableEncoder(
            {0: ["category", {"kind": "target", "cv": 2}], 1: "log_bins"},
            crossed=[{"fields": ("x0", "x1"), "kind": "target", "cv": 2}],
            random_state=0,
        ).fit(as_objects(TABLE), LABELS),
        lambda model: model.transform(as_objects(TABLE[5:15])).toarray(),
        None,
    ),
}


def as_objects(rows):
    """An array of objects, of which NumPy makes no more than two dimensions."""
    table = np.empty((len(rows), len(rows[0])), object)
    for row, values in zip(table, rows, strict=True):
        for place, value in enumerate(values):
            row[place] = value
    return table
