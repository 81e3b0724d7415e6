"""
Two users, two films: matrix factorization and factorization machines
=====================================================================

With nothing but a user and an item in each row, a factorization machine is matrix factorization
with biases. This example fits both to the smallest data set that shows it: two users, two films
and three ratings. The fourth rating is predicted.
"""

# %%
# Three ratings
# -------------
# Ann likes *Brazil* better than *Alien*. Bob likes *Brazil* much less than Ann does. What would
# Bob say about *Alien*?

import matplotlib.pyplot as plt
import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skfm import FMRegressor, MFRecommender
from skfm.preprocessing import UserItemEncoder

users, films = ["Ann", "Bob"], ["Alien", "Brazil"]
log = [["Ann", "Alien", 2.0], ["Ann", "Brazil", 4.0], ["Bob", "Brazil", 1.0]]

# %%
# Matrix factorization
# --------------------
# The ratings become a matrix of users and films. A stored entry is a rating; the others are
# unknown.

encoder = UserItemEncoder()
X = encoder.fit_transform(log)
mf = MFRecommender(1, alpha=0.1, alpha_bias=0.3, random_state=0).fit(X)
rows, columns = np.indices((2, 2))
by_mf = mf.predict_pairs(X, rows.ravel(), columns.ravel()).reshape(2, 2)

# %%
# Factorization machine
# ---------------------
# The ratings become a table with one row for each. Two columns of ones and zeros say who, and two
# say which film.

pairs = np.array([entry[:2] for entry in log], dtype=object)
ratings = [entry[2] for entry in log]
model = FMRegressor(1, solver="als", alpha=0.1, alpha_linear=0.3, random_state=0)
fm = make_pipeline(OneHotEncoder(), model).fit(pairs, ratings)
all_pairs = np.array([[user, film] for user in users for film in films], dtype=object)
by_fm = fm.predict(all_pairs).reshape(2, 2)

# %%
# The same predictions
# --------------------
# Both models minimize the same objective, and they predict almost the same. The small difference
# comes from the intercept: matrix factorization uses the mean rating, and the factorization
# machine fits it. Bob's opinion of *Brazil* is the opposite of Ann's, so both models expect that
# he likes *Alien* better than *Brazil*. With a large penalty, such as ``alpha=1``, the factors
# become zero and only the biases remain; both films are then rated lower by Bob than by Ann.

known = np.array([[2.0, 4.0], [np.nan, 1.0]])
figure, axes = plt.subplots(1, 3, figsize=(8, 3), layout="constrained")
titles = "Ratings", "Matrix factorization", "Factorization machine"
for ax, table, title in zip(axes, (known, by_mf, by_fm), titles, strict=True):
    ax.imshow(np.nan_to_num(table, nan=1), cmap="Blues", vmin=-3, vmax=6)
    for (row, column), value in np.ndenumerate(table):
        text = "?" if np.isnan(value) else f"{value:.1f}"
        ax.text(column, row, text, ha="center", va="center", fontsize=16)
    ax.set(title=title, xticks=[0, 1], xticklabels=films, yticks=[0, 1], yticklabels=users)
plt.show()
