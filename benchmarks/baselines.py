"""Recommenders without a factor model beside MFRecommender, on real data.

    python benchmarks/baselines.py --data-home FOLDER [--sets likes_100k million] [--candidates 8]

The folder is that of `real_data.py`; what it lacks is skipped. For each data set and recommender,
a line has NDCG@10 and Recall@20 of hidden choices, with the defaults and with the best of
`--candidates` random settings of `search_space`, the same number for each recommender. A fifth of
the known choices is set aside for the search, and decides by NDCG@10. Then both are fitted on all
known choices and measured on the hidden ones, once: see `regret.py`. Candidates of MFRecommender
have ten iterations at most. A second line has the CPU time of a fit and of ten recommendations for
each user; with `--candidates 0`, only that is measured.
"""

import argparse
import time
import warnings

import real_data
from defaults import Choices
from regret import compare
from sklearn.base import clone

from skfm import MFRecommender
from skfm.baselines import (
    EASERecommender,
    ItemKNNRecommender,
    PopularityRecommender,
    RP3betaRecommender,
    SLIMRecommender,
    UserKNNRecommender,
)
from skfm.model_selection import search_space

MODELS = (
    *(PopularityRecommender(), ItemKNNRecommender(), UserKNNRecommender(), RP3betaRecommender()),
    *(EASERecommender(), SLIMRecommender()),
    MFRecommender(feedback="implicit", random_state=0),
)


class Baseline(Choices):
    """Choices for a recommender without further options; NDCG@10 comes first and decides."""

    metrics = ("NDCG@10", "Recall@20")

    def space(self, model):
        if isinstance(model, MFRecommender):
            return super().space(model) | {"max_iter": [10]}
        return search_space(model)

    def measure(self, model):
        return super().measure(model)[::-1]


def print_seconds(task):
    """CPU time, which hardly depends on what else the machine does."""
    model = clone(task.model)
    began = time.process_time()
    model.fit(task.known)
    fitted = time.process_time()
    model.recommend(task.known, 10)
    ended = time.process_time()
    times = f"fit {fitted - began:.1f} s, recommend {ended - fitted:.1f} s"
    print(f"{task.name:<22}   CPU time: {times}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-home", default=".", help="folder with clones: see real_data.py")
    sets = [load.__name__[5:] for load in real_data.CHOICES]
    parser.add_argument("--sets", nargs="+", choices=sets, default=["likes_100k", "million"])
    parser.add_argument("--candidates", type=int, default=8)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    loaders = [getattr(real_data, f"load_{name}") for name in options.sets]
    for matrix in real_data.load_all(loaders, options.data_home):
        names = "".join(f"{metric:>27}" for metric in Baseline.metrics)
        heads = f"{'default':>9}{'tuned':>9}{'regret':>9}" * len(Baseline.metrics)
        print(f"\n{matrix.name:<22}{names}\n{'':<22}{heads}{'s':>8}", flush=True)
        for model in MODELS:
            task = Baseline(matrix, model)
            task.name = f"{type(model).__name__:<22}"
            if options.candidates:
                compare(task, options.candidates)
            print_seconds(task)


if __name__ == "__main__":
    main()
