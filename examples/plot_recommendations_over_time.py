"""
Recommendations evaluated over time
===================================

A recommender is used tomorrow, so it should be evaluated on tomorrow's events. This example trains
on the likes of MovieLens-100k up to a month, and evaluates the rankings on those of the next one.
"""

# %%
# Data
# ----
# Likes are ratings of four or five stars. A user of the next month counts if the training data has
# likes of theirs.

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy import sparse

from skfm import MFRecommender
from skfm.datasets import fetch_movielens_100k
from skfm.metrics import ndcg_at_k

data = fetch_movielens_100k()
likes = data.frame[data.frame["rating"] >= 4]
month = pd.to_datetime(likes["timestamp"], unit="s").dt.to_period("M")
months = sorted(month.unique())
shape = data.users["user_id"].max() + 1, data.items["item_id"].max() + 1


def matrix(events):
    ones = np.ones(len(events))
    return sparse.csr_matrix((ones, (events["user_id"], events["item_id"])), shape)


# %%
# Month by month
# --------------
# Three rankings of the films that a user has not liked yet: by popularity, by matrix
# factorization as of the month before, and by the factors of the first month, which fold in the
# new likes of each user without retraining.


def by_popularity(X):
    popular = np.asarray(X.sum(axis=0)).ravel()
    score = np.where(X.toarray() > 0, -np.inf, popular)
    return np.argsort(-score, axis=1, kind="stable")[:, :10]


first = MFRecommender(feedback="implicit", random_state=0).fit(matrix(likes[month <= months[1]]))
rows = []
for now, following in pairwise(months[1:]):
    X, X_next = matrix(likes[month <= now]), matrix(likes[month == following])
    active = np.flatnonzero((np.diff(X.indptr) > 0) & (np.diff(X_next.indptr) > 0))
    X_active, relevant = X[active], X_next[active]
    model = MFRecommender(feedback="implicit", random_state=0).fit(X)
    rankings = {
        "popularity": by_popularity(X)[active],
        "trained once, users folded in": first.recommend(X_active, 10)[0],
        "trained every month": model.recommend(X_active, 10)[0],
    }
    scores = {name: ndcg_at_k(relevant, items, 10) for name, items in rankings.items()}
    rows.append({"month": str(following), "users": active.size, **scores})
table = pd.DataFrame(rows).set_index("month")
print(table.round(3))

# %%
# In the first two months, there is little data, and popular films are the better recommendation.
# After that, the model that is trained every month is ahead. The factors that were trained once
# go out of date, since they do not know films that became available later. Each month has fewer
# than a hundred users, so single points vary by a few hundredths.

figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
table.drop(columns="users").plot(ax=ax, marker="o")
ax.set(xlabel="", ylabel="NDCG of ten films in the next month", ylim=(0, None))
plt.show()
