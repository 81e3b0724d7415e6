"""A new film's first day: whom to show films that nobody has rated yet.

    python examples/new_film.py

Of MovieLens-100k the newest films are kept from training altogether, with all their ratings. On
their first day all that is known of them are genres and decade. Downloads the data once.
"""

import warnings

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder

from skfm import FMRecommender
from skfm.datasets import fetch_movielens_100k
from skfm.metrics import ndcg_at_k


def describe(films):
    """Genres and decades as flags, a row for each film."""
    genres = films["genres"].explode()
    flags = pd.get_dummies(genres, dtype=float).groupby(level=0).max()
    decades = pd.get_dummies((films["year"] // 10 * 10).fillna(1990).astype(int), dtype=float)
    return flags.join(decades).set_axis(films["item_id"]).rename(columns=str)


def main():
    data = fetch_movielens_100k()
    films, users = data["items"], data["users"].set_index("user_id")
    features = describe(films)
    newest = films.loc[films["year"] == films["year"].max(), "item_id"]

    likes = data["frame"][data["frame"]["rating"] >= 4]
    is_new = likes["item_id"].isin(newest)
    known, later = likes[~is_new], likes[is_new]
    context = ["age", "gender", "occupation"]
    events = users.loc[known["user_id"], context].assign(user=known["user_id"].to_numpy())

    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["user", "gender", "occupation"]),
        (KBinsDiscretizer(6, quantile_method="averaged_inverted_cdf"), ["age"]),
    )
    old = features.drop(index=newest)
    recommender = FMRecommender(
        loss="logistic", item_features=old, max_iter=20, tol=0, random_state=0
    )
    warnings.filterwarnings("ignore", "max_iter=")  # as many epochs as asked for are meant
    make_pipeline(encode, recommender).fit(events, known["item_id"])

    # The first day: their features arrive, and nothing is trained again.
    recommender.add_items(features.loc[newest])
    audience = users[context].assign(user=users.index)
    shown, _ = recommender.recommend(encode.transform(audience), 10, candidates=newest)
    title = films.set_index("item_id")["title"]
    for film in newest.iloc[:3]:
        to = users[(shown[:, :3] == film).any(axis=1)]
        print(
            f"{title[film]}: {', '.join(films.set_index('item_id')['genres'][film])}. "
            f"Among the first three new films for {len(to)} users of {len(users)}"
            + (f", median age {to['age'].median():.0f}." if len(to) else ".")
        )

    places = np.searchsorted(users.index, later["user_id"]), later["item_id"]
    hidden = sparse.csr_matrix((np.ones(len(later)), places), (len(users), len(films) + 1))
    rng = np.random.default_rng(0)
    random = np.array([rng.permutation(newest)[:10] for _ in range(len(users))])
    print(f"{len(newest)} new films, {len(later)} likes to come; NDCG of the first ten:")
    print(f"by what is known of them {ndcg_at_k(hidden, shown, 10):.3f}")
    print(f"in random order          {ndcg_at_k(hidden, random, 10):.3f}")


if __name__ == "__main__":
    main()
