"""
What the factors mean: a map of films
=====================================

Matrix factorization knows nothing about films but who rated them. Still, its factors order the
films in a way that people recognize. This example draws a map of the hundred films of
MovieLens-100k with the most ratings.
"""

# %%
# Fit the ratings
# ---------------

import matplotlib.pyplot as plt

from skfm import MFRecommender
from skfm.datasets import fetch_movielens_100k
from skfm.inspection import FactorMapDisplay
from skfm.preprocessing import UserItemEncoder

data = fetch_movielens_100k()
log = data.frame.merge(data.items, on="item_id")
encoder = UserItemEncoder(
    user="user_id",
    item="title",
    value="rating",
    duplicates="mean",  # some films are listed twice
)
X = encoder.fit_transform(log[["user_id", "title", "rating"]])
model = MFRecommender(random_state=0).fit(X)

# %%
# Draw the map
# ------------
# The map shows the first two principal components of the vectors. Nearby films are liked by the
# same users. Violent films and films for families, and blockbusters and films for critics, end up
# on opposite sides, without any information about genres.

popular = log["title"].value_counts().index[:100]
figure, ax = plt.subplots(figsize=(9, 7), layout="constrained")
FactorMapDisplay.from_estimator(
    model, features=list(popular), feature_names=encoder.item_ids_, ax=ax
)
ax.set(title="The hundred most rated films", xlabel="first component", ylabel="second component")
plt.show()

# %%
# The same vectors answer which films are similar:

film = encoder.encode_items(["Star Wars"])
similar, cosines = model.similar_items(film, n_items=5)
for title, cosine in zip(encoder.item_ids_[similar[0]], cosines[0], strict=True):
    print(f"{cosine:.2f}  {title}")
