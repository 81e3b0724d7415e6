"""
Recommending cold-start films
=============================

Which users should see films that nobody has rated yet? The films of MovieLens-100k from 1997 and
later are excluded from training, with all their ratings. When they are recommended, only their
genres and their decade are known.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder

from skfm import FMRecommender, recommend
from skfm.datasets import fetch_movielens_100k
from skfm.metrics import ndcg_at_k

data = fetch_movielens_100k()
films, users = data["items"].set_index("item_id"), data["users"].set_index("user_id")
likes = data["frame"][data["frame"]["rating"] >= 4]

# %%
# Item features
# -------------
# One row per film, with genres and decades as indicators. The index contains the item ids.

genres = pd.get_dummies(films["genres"].explode(), dtype=float).groupby(level=0).max()
decades = pd.get_dummies((films["year"] // 10 * 10).fillna(1990).astype(int), dtype=float)
features = genres.join(decades).rename(columns=str)

new = films.index[films["year"] >= 1997]
is_new = likes["item_id"].isin(new)
known, later = likes[~is_new], likes[is_new]

# %%
# Training
# --------
# Each event is a user (X) who liked a film (y). The age, gender and occupation of the users are
# features as well, so the model can also serve new users. The table of films is a parameter of the
# recommender.

context = ["age", "gender", "occupation"]
people = users[context].assign(user=users.index)
encode = make_column_transformer(
    (OneHotEncoder(handle_unknown="ignore"), ["user", "gender", "occupation"]),
    (KBinsDiscretizer(6, quantile_method="averaged_inverted_cdf"), ["age"]),
)
recommender = FMRecommender(item_features=features.drop(index=new), tol=1e-3, random_state=0)
model = make_pipeline(encode, recommender)
model.fit(people.loc[known["user_id"]], known["item_id"])

# %%
# Recommendation
# --------------
# The new films are added with their features, without retraining. The function `recommend` encodes
# the users with the first step of the pipeline and calls `recommend` of the last one.

model[-1].add_items(features.loc[new])
shown, _ = recommend(model, people, n_items=10, candidates=new)

for film in pd.Series(shown[:, :3].ravel()).value_counts().index[:5]:
    audience = users[(shown[:, :3] == film).any(axis=1)]
    print(
        f"{films.loc[film, 'title']}: {', '.join(films.loc[film, 'genres'])}. Among the first "
        f"three new films for {len(audience)} users of {len(users)}, median age "
        f"{audience['age'].median():.0f}."
    )

# %%
# Evaluation
# ----------
# The likes of the new films are held-out data. The best possible ranking has an NDCG of 1.

places = np.searchsorted(users.index, later["user_id"]), later["item_id"]
hidden = sparse.csr_matrix((np.ones(len(later)), places), (len(users), films.index.max() + 1))
rng = np.random.default_rng(0)
random = np.array([rng.permutation(new)[:10] for _ in range(len(users))])
scores = {
    "genre and decade": ndcg_at_k(hidden, shown, 10),
    "random order": ndcg_at_k(hidden, random, 10),
}

# %%
# The model knows which genres an age group likes from films that are known. The heat map shows how
# often a genre is among the first three new films of a user, relative to how often it is there for
# all users.

first_three = pd.DataFrame({"film": shown[:, :3].ravel(), "age": np.repeat(users["age"], 3)})
first_three["age"] = pd.cut(first_three["age"], [0, 20, 30, 40, 50, 100])
share = genres.loc[first_three["film"]].groupby(first_three["age"].values, observed=True).mean()
common = share.columns[share.mean() > 0.05]
relative = (share / genres.loc[first_three["film"]].mean())[common]

figure, (left, right) = plt.subplots(
    1, 2, figsize=(9.5, 3.6), width_ratios=[1, 2], layout="constrained"
)
bars = left.bar(list(scores), list(scores.values()), color=["C0", "gray"])
left.bar_label(bars, fmt="%.3f")
left.set(title=f"{len(new)} films that nobody rated", ylabel="NDCG of the first ten")
image = right.imshow(relative, cmap="RdBu_r", vmin=0.5, vmax=1.5, aspect="auto")
right.set(title="Genres by the age of the user", yticks=range(len(share)))
right.set_yticklabels(["up to 20", "21 to 30", "31 to 40", "41 to 50", "over 50"])
right.set_xticks(range(len(common)), common, rotation=45, ha="right")
figure.colorbar(image, ax=right, label="relative frequency")
plt.show()
