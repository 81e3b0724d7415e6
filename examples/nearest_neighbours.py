"""
Recommendations from a nearest neighbor index
=============================================

For catalogs that are too large to score all items::

    python -m pip install faiss-cpu && python examples/nearest_neighbours.py

The scores of MFRecommender are inner products of user and item vectors, so any index for maximum
inner product search can be used. Here, a FAISS index searches a part of 20,000 items, and its
results are compared with those of `recommend`, which scores all of them.
"""

import faiss
import numpy as np
from scipy import sparse

from skfm import MFRecommender

N_USERS, N_ITEMS, N_RATINGS = 2000, 20_000, 200_000


def make_ratings():
    """Ratings that depend on tastes of six kinds."""
    rng = np.random.default_rng(0)
    users = rng.integers(N_USERS, size=N_RATINGS)
    items = rng.integers(N_ITEMS, size=N_RATINGS)
    tastes, kinds = rng.normal(size=(N_USERS, 6)), rng.normal(size=(N_ITEMS, 6))
    ratings = 3 + np.einsum("nk,nk->n", tastes[users], kinds[items]) / 3
    return sparse.coo_matrix((ratings.astype(np.float32), (users, items))).tocsr()


def main():
    X = make_ratings()
    model = MFRecommender(16, random_state=0).fit(X)

    vectors = model.item_vectors()
    index = faiss.IndexHNSWFlat(vectors.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    index.add(vectors)
    index.hnsw.efSearch = 200

    scores, items = index.search(model.user_vectors(X), 10)
    exact_items, exact_scores = model.recommend(X, 10, exclude_seen=False)

    found = np.mean([np.isin(a, b).mean() for a, b in zip(exact_items, items, strict=True)])
    best = np.abs(scores[:, 0] - exact_scores[:, 0]) < 1e-3
    print(f"The index finds {found:.1%} of the ten best items")
    print(f"and the best one of {best.mean():.1%} of the users, with its score.")


if __name__ == "__main__":
    main()
