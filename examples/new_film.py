"""
A new film's first day
======================

Whom to show films that nobody has rated yet::

    python examples/new_film.py

Of MovieLens-100k the films of 1997 and later are kept from training altogether, with all their
ratings. On their first day all that is known of them are genres and decade. Downloads the data
once.
"""

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
# What is known of films
# ----------------------
# A row for each film, named by the index: genres and decades as flags.

genres = pd.get_dummies(films["genres"].explode(), dtype=float).groupby(level=0).max()
decades = pd.get_dummies((films["year"] // 10 * 10).fillna(1990).astype(int), dtype=float)
features = genres.join(decades).rename(columns=str)

new = films.index[films["year"] >= 1997]
is_new = likes["item_id"].isin(new)
known, later = likes[~is_new], likes[is_new]

# %%
# Training
# --------
# An event is who liked (X) what (y). Of users, age, gender and occupation are known; so a new user
# would not be a stranger either. The table of films is a parameter of the recommender.

context = ["age", "gender", "occupation"]
people = users[context].assign(user=users.index)
encode = make_column_transformer(
    (OneHotEncoder(handle_unknown="ignore"), ["user", "gender", "occupation"]),
    (KBinsDiscretizer(6, quantile_method="averaged_inverted_cdf"), ["age"]),
)
recommender = FMRecommender(item_features=features.drop(index=new), random_state=0)
model = make_pipeline(encode, recommender)
model.fit(people.loc[known["user_id"]], known["item_id"])

# %%
# The first day
# -------------
# The features of the new films arrive, and nothing is trained again. The function `recommend`
# encodes people by the first step of the pipeline, and lets the last one recommend.

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
# Was it right?
# -------------
# The likes that came later tell. The best possible ranking has the NDCG 1.

places = np.searchsorted(users.index, later["user_id"]), later["item_id"]
hidden = sparse.csr_matrix((np.ones(len(later)), places), (len(users), films.index.max() + 1))
rng = np.random.default_rng(0)
random = np.array([rng.permutation(new)[:10] for _ in range(len(users))])
print(f"{len(new)} new films, {len(later)} likes to come; NDCG of the first ten:")
print(f"by what is known of them {ndcg_at_k(hidden, shown, 10):.3f}")
print(f"in random order          {ndcg_at_k(hidden, random, 10):.3f}")
