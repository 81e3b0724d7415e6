"""A script of a user: tests/test_typing.py checks that mypy finds exactly its mistakes."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from skfm import (
    BayesianFMClassifier,
    BayesianFMRegressor,
    FMClassifier,
    FMRecommender,
    FMRegressor,
    MFRecommender,
    compile_all,
    recommend,
)
from skfm.datasets import (
    dump_libffm,
    fetch_movielens_100k,
    load_libffm,
    make_fm_classification,
    make_fm_regression,
)
from skfm.metrics import hit_rate, make_ranking_scorer, ndcg_at_k
from skfm.model_selection import (
    EntryKFold,
    leave_last_out,
    search_space,
    split_entries,
    split_users,
)
from skfm.preprocessing import EventEncoder, TableEncoder, UserItemEncoder, feature_groups
from skfm.recipes import make_recipe

LOG = [("ann", "tea", 5), ("bob", "milk", 4)]
RANKED = np.array([[0, 1], [1, 0]])


def correct(frame: pd.DataFrame) -> None:
    """What users are told to write."""
    likes = sparse.csr_matrix([[1, 0], [0, 1]])
    for Y_hidden in (likes, sparse.csr_array(likes), likes.toarray(), [[1, 0], [0, 1]]):
        total = ndcg_at_k(Y_hidden, RANKED, k=np.int64(2)) + hit_rate(Y_hidden, [[0, 1], [1, 0]])
        print(round(total, 3), ndcg_at_k(Y_hidden, RANKED, average=False).shape)
    print(make_ranking_scorer("ndcg", 5, exclude_seen=False)(MFRecommender(), likes, likes))
    print(make_ranking_scorer(lambda Y_hidden, items, k: 0.0))

    X_train, X_test = split_entries(likes, 1, random_state=np.random.RandomState(0))
    X_train, X_visible, X_hidden = split_users(X_train, hidden_size=0.5)
    X_train, X_test = leave_last_out(likes, time=[[1, 0], [0, 2]])
    for X_train, X_test in EntryKFold(2).split(likes):
        print(X_train.nnz, X_test.nnz)
    print(list(search_space(FMRegressor())))

    encoder = UserItemEncoder(value=None, dtype=np.float32).fit(LOG)
    print(encoder.fit_transform(frame).shape, encoder.encode_users(["ann"]).tolist())
    events = EventEncoder(["user", ("again", "item")], time="when", attributes=["age", 3])
    table = TableEncoder({"rating": "number"}, min_frequency=2, dtype=np.float32)
    print(table.fit(frame).partial_fit(frame).transform(frame).nnz, table.hash_collisions(frame))
    print(events.fit(frame, frame["rating"]).transform(frame).nnz, feature_groups(events)[0])

    model = make_recipe("svd++", FMRegressor(), user="name").fit(frame, [1, 2])
    items, scores = recommend(model, frame, n_items=2)
    print(items[0], scores.mean(), recommend(model, frame, output="pandas").columns)

    X, y = make_fm_regression(100, kind="dense", dtype=np.float32)
    X, y, params = make_fm_classification(base_rate=[0.1, 0.9], return_params=True)
    dump_libffm(X, y, Path("rows.txt.gz"), fields=np.arange(3))
    X, y, fields = load_libffm(io.BytesIO(b"1 0:0:1"), zero_based="auto")
    print(fields.max(), fetch_movielens_100k("folder").items.shape)
    for regressor in (FMRegressor(alpha={"user": 2.0}, verbose=True), FMRegressor(4, n_jobs=-1)):
        print(regressor.fit(likes, [1, 2], X_val=likes, y_val=[0, 1]).predict(frame).sum())
    classifier = FMClassifier(early_stopping=True, feature_groups=["user", "item"])
    classifier.partial_fit(frame, frame["label"], classes=["no", "yes"])
    print(classifier.predict_proba(likes)[:, 1], classifier.decision_function(likes).ndim)
    chain = BayesianFMRegressor(max_iter=np.int64(50), feature_groups="single").fit(likes, [1, 2])
    means, deviations = chain.predict(likes, return_std=True)
    print(BayesianFMClassifier(interactions=[("user", "item")]).fit(likes, [0, 1]).predict(likes))
    factors = MFRecommender("auto", feedback="implicit", alpha=2).fit(likes)
    items, scores = factors.recommend(likes, 2, candidates=[0, 1], exclude=likes)
    print(factors.transform(likes).shape, factors.score(likes) + 1, factors.similar_items([0]))
    ranker = FMRecommender(loss="bpr", item_features=likes, item_ids=["tea", "milk"])
    ranker.fit(likes, ["tea", "milk"]).add_items([[1, 0]], item_ids=["cocoa"])
    print(ranker.recommend(likes, output="pandas").columns, ranker.predict(frame)[0])
    compile_all("float32")
    compile_all(["float32", np.float64])


def mistaken(frame: pd.DataFrame) -> None:
    """What they should be told not to."""
    ndcg_at_k([[0, 1]], RANKED, k="5")  # mistake
    ndcg_at_k([[0, 1]], RANKED, 5, False)  # mistake
    ndcg_at_k(None, RANKED)  # mistake
    hit_rate([[0, 1]], RANKED, at=3)  # mistake
    hit_rate([[0, 1]], RANKED).mean()  # mistake
    make_ranking_scorer("ndgc")  # mistake
    make_ranking_scorer("ndcg", k=2.5)  # mistake
    make_ranking_scorer("ndcg")(FMRegressor(), frame)  # mistake

    X_train, X_test, y = split_entries([[1, 2]])  # mistake
    split_entries([[1, 2]], test_size="0.2")  # mistake
    split_entries([[1, 2]], random_state=np.random.default_rng(0))  # mistake
    leave_last_out([[1, 2]])  # mistake
    split_users([[1, 2]], hidden=0.5)  # mistake
    EntryKFold(5, True)  # mistake
    EntryKFold().split([[1, 2]], [1])  # mistake
    search_space("FMRegressor")  # mistake
    search_space(FMRegressor()).alpha  # mistake

    UserItemEncoder(duplicates="first")  # mistake
    UserItemEncoder(users="name")  # mistake
    UserItemEncoder().encode_users(3)  # mistake
    UserItemEncoder().transform_new_users(LOG).shape  # mistake
    EventEncoder(n_last="all")  # mistake
    EventEncoder(dtype="int64")  # mistake
    EventEncoder().fit(3)  # mistake
    TableEncoder(numbers="bag")  # mistake
    TableEncoder().transform(3)  # mistake
    feature_groups([1, 2])  # mistake

    make_recipe("svd", FMRegressor())  # mistake
    make_recipe(FMRegressor(), "svd++")  # mistake
    recommend(frame.to_numpy(), FMRegressor(), n_items="3")  # mistake
    recommend(FMRegressor(), frame, output="numpy")  # mistake
    recommend(FMRegressor(), frame, 10, "pandas")  # mistake
    recommend(FMRegressor(), frame).columns  # mistake

    FMRegressor(n_components="auto")  # mistake
    FMRegressor(loss="squared")  # mistake
    FMRegressor(n_factors=8)  # mistake
    FMRegressor(solver="lbfgs")  # mistake
    FMRegressor(alpha="none")  # mistake
    FMRegressor().fit([[1]])  # mistake
    FMRegressor().fit([[1]], None)  # mistake
    FMRegressor().predict(None)  # mistake
    FMRegressor().fit([[1]], [1], weights=[1])  # mistake
    FMRegressor().fit([[1]], [1]).partial_fit([[1]])  # mistake
    FMRegressor().predict([[1]]).predict([[1]])  # mistake
    FMClassifier(class_weight="equal")  # mistake
    FMClassifier(random_state=np.random.default_rng(0))  # mistake
    FMClassifier().predict_proba([[1]], [1])  # mistake
    BayesianFMRegressor(solver="als")  # mistake
    BayesianFMRegressor().predict([[1]], return_std="yes")  # mistake
    BayesianFMClassifier(n_burn_in=None)  # mistake
    MFRecommender(feedback="clicks")  # mistake
    MFRecommender().fit([[1]]).recommend([[1]], n_items="ten")  # mistake
    MFRecommender().recommend([[1]], output="list")  # mistake
    MFRecommender().score([[1]]).mean()  # mistake
    MFRecommender().predict_pairs([[1]], [0])  # mistake
    FMRecommender(loss="warpe")  # mistake
    FMRecommender().fit([[1]])  # mistake
    FMRecommender().similar_users([[1]], n_items=3)  # mistake

    make_fm_regression(kind="sparse")  # mistake
    make_fm_regression(100, 4)  # mistake
    make_fm_classification(noise=0.1)  # mistake
    load_libffm("rows.txt", on_shared="sum")  # mistake
    load_libffm(3)  # mistake
    dump_libffm([[1]], [1], "rows.txt")  # mistake
    compile_all("float16")  # mistake
    compile_all(64)  # mistake
