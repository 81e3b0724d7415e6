"""Recommenders without a factor model, to compare others with."""

from skfm.baselines._ease import EASERecommender
from skfm.baselines._knn import ItemKNNRecommender, UserKNNRecommender
from skfm.baselines._popularity import PopularityRecommender
from skfm.baselines._rp3beta import RP3betaRecommender
from skfm.baselines._slim import SLIMRecommender

__all__ = [
    "EASERecommender",
    "ItemKNNRecommender",
    "PopularityRecommender",
    "RP3betaRecommender",
    "SLIMRecommender",
    "UserKNNRecommender",
]
