"""Makes files of tests/reference_models: models of this release, which all later ones must read.

    python tests/make_reference_models.py

There is one file for each estimator, as `skfm.io.save_model` writes it, with one more array: the
model's answer to the question in `saved_models.MODELS`. Files that exist are kept, since they say
what a release has written. While a release is being prepared, delete its folder to make it again.
"""

import io
import warnings
import zipfile
from pathlib import Path

import numpy as np
from saved_models import MODELS

from skfm import __version__
from skfm.io import save_model

FOLDER = Path(__file__).parent / "reference_models"
ANSWER = "answer.npy"
NAMES = [
    "FMRegressor",
    "FMRegressor, field-weighted",
    "FMClassifier, stream of three classes",
    "FMClassifier, field-aware, three classes",
    "BayesianFMRegressor",
    "BayesianFMRegressor, field-weighted",
    "BayesianFMClassifier",
    "MFRecommender",
    "FMRecommender, features",
    "PopularityRecommender",
    "ItemKNNRecommender",
    "EASERecommender",
    "SLIMRecommender",
    "RP3betaRecommender",
    "UserKNNRecommender",
    "UserItemEncoder, objects",
    "EventEncoder",
    "IndexEncoder",
    "TableEncoder",
]


def stem_of(name):
    return name.replace(", ", "-").replace(" ", "_")


def make(name, path):
    """Fit and save a model, with its answer in the same file."""
    fit, ask, _ = MODELS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few epochs
        model = fit()
    answer = io.BytesIO()
    np.save(answer, ask(model), allow_pickle=False)
    save_model(model, path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(zipfile.ZipInfo(ANSWER), answer.getvalue())


if __name__ == "__main__":
    folder = FOLDER / __version__.partition(".dev")[0]
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        path = folder / f"{stem_of(name)}.npz"
        if not path.exists():
            make(name, path)
            print(f"{path.relative_to(FOLDER.parent)}: {path.stat().st_size} bytes")
