"""FMRecommender: what it learns, serves and refuses."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from builders import quietly
from helpers import needs_jit, size
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import DataConversionWarning
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from skfm import FMRecommender, MFRecommender, recommend
from skfm.metrics import make_ranking_scorer, ndcg_at_k
from skfm.preprocessing import EventEncoder
from skfm.recipes import make_recipe

LOSSES = ("warp", "bpr", "logistic")
DATES = pd.DatetimeIndex(np.datetime64("2020-01-01", "ns") + np.arange(30) * 86_400_000_000_000)
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def make_log(n_users=40, n_items=30, n_events=None, seed=0):
    """Contexts (one-hot users), items chosen by planted taste, and the scores they follow."""
    n_events = n_events or size(2000, 400)
    rng = np.random.default_rng(seed)
    scores = 2 * rng.normal(size=(n_users, 3)) @ rng.normal(size=(3, n_items))
    users = rng.integers(n_users, size=n_events)
    noise = rng.gumbel(size=(n_events, n_items))
    items = (scores[users] + noise).argmax(axis=1)
    X = sparse.csr_matrix((np.ones(n_events), (np.arange(n_events), users)), (n_events, n_users))
    return X, items, scores


def make_features(n_items=30, seed=1):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n_items, 4)) * (rng.random((n_items, 4)) < 0.6)
    return pd.DataFrame(values, columns=list("abcd"))


def small(**options):
    return FMRecommender(**{"n_components": 4, "max_iter": 5, "random_state": 0, **options})


def joined_scores(model, X, features):
    """Scores of all pairs by the FM on joined rows, one pair of features after the other."""
    weights = np.append(model.coef_, model.item_coef_)
    vectors = np.concatenate([model.components_, model.item_components_], axis=1).T
    interactions = model._interactions
    classes = interactions.interaction_group
    scores = np.empty((X.shape[0], features.shape[0]))
    for r in range(X.shape[0]):
        for i in range(features.shape[0]):
            x = np.append(X[r].toarray().ravel(), features[i].toarray().ravel())
            total = model.intercept_ + x @ weights
            places = np.flatnonzero(x)
            for a in places:
                for b in places[places > a]:
                    if interactions.partners[classes[a], classes[b]]:
                        total += x[a] * x[b] * (vectors[a] @ vectors[b])
            scores[r, i] = total
    return scores


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
def test_scores_are_those_of_the_model(loss, masked):
    X, items, _ = make_log(12, 8, 300)
    X = sparse.hstack([X, sparse.csr_matrix(np.arange(300)[:, None] % 3)], format="csr")
    given = make_features(8)
    options = {}
    if masked:
        options = {
            "feature_fields": ["user"] * 12 + ["day"],
            "interactions": [("user", "item"), ("day", "item_features"), ("user", "day")],
            "fit_linear": ["item", "day"],
        }
    model = small(loss=loss, item_features=given, **options).fit(X, items)
    features = sparse.hstack([sparse.eye(8), sparse.csr_matrix(given)], format="csr")
    rows = X[:6]
    expected = joined_scores(model, rows, features)
    r, i = map(np.ravel, np.indices((6, 8)))
    got = model.predict_pairs(rows, r, i).reshape(6, 8)
    if loss != "logistic":  # the part of the context alone is left out
        expected = expected - expected[:, :1] + got[:, :1]
    assert_allclose(got, expected, rtol=1e-9, atol=1e-12)
    assert_allclose(model.user_vectors(rows) @ model.item_vectors().T, got, rtol=1e-9, atol=1e-12)
    ranked, scores = model.recommend(rows, 8, exclude_seen=False)
    assert_allclose(scores, -np.sort(-got, axis=1), rtol=1e-9, atol=1e-12)
    assert_array_equal(ranked[:, 0], model.predict(rows))


@needs_jit
@pytest.mark.parametrize("scale", [1, 1e4])
@pytest.mark.parametrize("loss", LOSSES)
def test_beats_popularity(loss, scale):
    X, items, scores = make_log(n_events=6000)
    X, n_train = X * scale, 5000
    features = make_features() / scale
    model = FMRecommender(
        8, loss=loss, item_features=features, alpha=0.1, max_iter=40, random_state=0
    )
    model.fit(X[:n_train], items[:n_train])
    relevant, ranked = model.rank_held_out(X[n_train:], items[n_train:], 10, exclude_seen=False)
    popular = np.argsort(-np.bincount(items[:n_train], minlength=30))[:10]
    popular = np.tile(popular, (len(ranked), 1))
    users = list(dict.fromkeys(X[n_train:].indices))
    by_truth = ndcg_at_k(relevant, np.argsort(-scores[users], axis=1)[:, :10], 10)
    assert ndcg_at_k(relevant, ranked, 10) > 0.85 * by_truth
    assert ndcg_at_k(relevant, popular, 10) < 0.8 * by_truth


def test_recommend_leaves_out():
    X, items, _ = make_log(n_events=300)
    model = small(item_ids=np.arange(30)).fit(X, items)
    users = sparse.eye(40, format="csr")
    seen = np.zeros((40, 30), bool)
    seen[X.indices, items] = True
    scores = model.user_vectors(users) @ model.item_vectors().T
    candidates, exclude = np.arange(0, 30, 2), [4, 8]
    allowed = np.isin(np.arange(30), candidates) & ~np.isin(np.arange(30), exclude)
    ranked, _ = model.recommend(users, 5, candidates=candidates, exclude=exclude)
    left = np.where(allowed & ~seen, scores, -np.inf)
    assert_array_equal(ranked, np.argsort(-left, axis=1)[:, :5])
    ranked, _ = model.recommend(users, 5, exclude_seen=False)
    assert_array_equal(ranked, np.argsort(-scores, axis=1)[:, :5])


def test_user_fields_say_what_was_seen():
    users = np.repeat([0, 1], 4)
    items = np.array(list("abcdaabb"))
    X = np.column_stack([np.eye(2)[users], np.arange(8) + 1.0])
    labels = ["user", "user", "day"]
    model = small(feature_fields=labels, user_fields=["user"]).fit(X, items)
    later = np.array([[1.0, 0, 50], [0, 1.0, 50], [0, 0, 3.0]])
    ranked, _ = model.recommend(later, 2)
    assert ranked[0].tolist() == [None, None]  # has everything
    assert set(ranked[1]) == {"c", "d"}
    assert None not in ranked[2]  # nobody
    ranked, _ = small().fit(X, items).recommend(later, 4)  # other rows are other users
    assert set(ranked[0]) == set("abcd")


@pytest.mark.parametrize("loss", LOSSES)
def test_who_has_everything(loss):
    X = np.eye(2)[[0, 0, 0, 1]]
    model = small(loss=loss).fit(X, ["a", "b", "c", "a"])
    assert np.isfinite(model.item_vectors()).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_n_jobs_changes_no_bit(loss):
    X, items, _ = make_log(n_events=size(3000, 300))
    labels = ["user"] * 40
    options = {"loss": loss, "item_features": make_features(), "feature_fields": labels}
    options["interactions"] = [("user", "item"), ("user", "item_features")]
    models = [small(n_jobs=n, **options).fit(X, items) for n in (None, 2, 3)]
    for model in models[1:]:
        assert_array_equal(model.components_, models[0].components_)
        assert_array_equal(model.item_components_, models[0].item_components_)
        assert model.loss_curve_ == models[0].loss_curve_


@pytest.mark.parametrize("loss", LOSSES)
def test_weights_are_repetitions(loss):
    X, items, _ = make_log(n_events=200)
    weight = np.arange(200) % 3
    order = np.random.default_rng(0).permutation(weight.sum())
    repeated = np.repeat(np.arange(200), weight)[order]
    a = small(loss=loss).fit(X, items, sample_weight=weight)
    b = small(loss=loss).fit(X[repeated], items[repeated])
    assert_array_equal(a.components_, b.components_)
    assert_array_equal(a.item_coef_, b.item_coef_)


def test_forms_of_item_features():
    X, items, _ = make_log(n_events=300)
    names = np.array([f"film {i:02d}" for i in range(30)])
    frame = make_features().set_axis(names)
    a = small(item_features=frame).fit(X, names[items])
    for values in (frame.to_numpy(), sparse.csr_matrix(frame)):
        b = small(item_features=values, item_ids=names).fit(X, names[items])
        assert_array_equal(a.item_components_, b.item_components_)
    c = small(item_features=frame.to_numpy()).fit(X, items)
    assert_array_equal(a.item_components_, c.item_components_)
    ranked, _ = a.recommend(X[:3], 2)
    numbers, _ = c.recommend(X[:3], 2)
    assert_array_equal(ranked, names[numbers])


@pytest.mark.parametrize("kind", [int, float, str])
def test_items_in_any_order(kind):
    X, items, _ = make_log(n_events=300)
    names = np.random.default_rng(0).permutation(30).astype(kind)
    model = small(item_features=make_features().set_axis(names)).fit(X, names[items])
    plain = small(item_features=make_features()).fit(X, items)
    assert_array_equal(model.item_ids_, names)
    assert_array_equal(model.item_components_, plain.item_components_)
    ranked, _ = plain.recommend(X[:5], 3, candidates=[8, 2, 9, 4], exclude_seen=False)
    named, _ = model.recommend(X[:5], 3, candidates=names[[8, 2, 9, 4]], exclude_seen=False)
    assert_array_equal(named, names[ranked])


def test_float32_stays():
    X, items, _ = make_log(n_events=300)
    model = small(item_features=make_features()).fit(X.astype(np.float32), items)
    assert model.components_.dtype == np.float32
    assert model.recommend(X[:2], 2)[1].dtype == np.float32


def test_copies_agree():
    X, items, _ = make_log(n_events=300)
    model = small(item_features=make_features()).fit(X, items)
    expected = model.recommend(X[:5], 3)
    for copy in (pickle.loads(pickle.dumps(model)), clone(model).fit(X, items)):
        for a, b in zip(copy.recommend(X[:5], 3), expected, strict=True):
            assert_array_equal(a, b)


def test_tables_of_items_are_prepared_once(monkeypatch):
    """By fit, add_items and unpickling, not by predictions; pickles do not hold them."""
    X, items, _ = make_log(n_events=300)
    model = small(item_features=make_features()).fit(X, items)
    model.add_items(make_features(2, seed=5), ["new", "newer"])
    again = pickle.loads(pickle.dumps(model))
    assert "_item_table" not in model.__getstate__()
    expected = [model.recommend(X[:5], 4), model.recommend(X[:1], 4)]
    monkeypatch.setattr("skfm._recommenders.vectors.make_tiles", None)
    for answering in (model, again):
        for rows, found in zip((X[:5], X[:1]), expected, strict=True):
            for a, b in zip(answering.recommend(rows, 4), found, strict=True):
                assert_array_equal(a, b)


def test_added_items_are_similar_to_the_others():
    X, items, _ = make_log(n_events=300)
    features = make_features()
    model = small(item_features=features, item_identity=()).fit(X, items)
    model.similar_items(model.item_ids_[:1], 3)
    model.add_items(features[:1], ["new"])
    found, similarities = model.similar_items(["new"], 3)
    assert model.item_ids_[0] in found
    assert_allclose(similarities[0, 0], 1)


def test_similar_items():
    X, items, _ = make_log(n_events=500)
    model = small(item_ids=np.arange(30)).fit(X, items)
    cosines = cosine_similarity(model.item_vectors()[:, :-1])
    np.fill_diagonal(cosines, -2)
    found, similarities = model.similar_items([3, 7], 4)
    assert_array_equal(found, np.argsort(-cosines[[3, 7]], axis=1)[:, :4])
    assert_allclose(similarities, -np.sort(-cosines[[3, 7]], axis=1)[:, :4])


@pytest.mark.parametrize("masked", [False, True])
def test_similar_users_want_the_same_items(masked):
    X, items, _ = make_log(n_events=500)
    days = np.arange(500) % 3 + 1
    X = sparse.hstack([X, sparse.csr_matrix(days[:, None])], format="csr")
    pairs = [("user", "item"), ("day", "user"), ("day", "day")]  # days meet no item
    options = {"feature_fields": ["user"] * 40 + ["day"], "interactions": pairs}
    model = small(**options if masked else {}, loss="logistic").fit(X, items)
    rows = sparse.hstack([sparse.eye(40), np.ones((40, 1))], format="csr")
    vectors = model.user_vectors(rows)[:, :-2]  # without what takes the items' and contexts' part
    cosines = cosine_similarity(vectors[:, model.item_vectors()[:, :-2].any(axis=0)])
    np.fill_diagonal(cosines, -2)
    found, similarities = model.similar_users(rows, [3, 7], 4)
    assert_array_equal(found, np.argsort(-cosines[[3, 7]], axis=1)[:, :4])
    assert_allclose(similarities, -np.sort(-cosines[[3, 7]], axis=1)[:, :4])
    ids = np.arange(40) + 100
    frame = model.similar_users(rows, [3, 7], 4, output="pandas", user_ids=ids)
    assert list(frame) == ["user", "similar_user", "similarity", "rank"]
    assert_array_equal(frame["similar_user"], found.ravel() + 100)


@pytest.mark.parametrize("loss", LOSSES)
def test_what_is_not_known_contributes_nothing(loss):
    X, y, _ = make_log()
    X = sparse.hstack([X, np.full((X.shape[0], 1), 1000.0)], format="csr")  # to be centered
    given = make_features().add([0, 0, 0, 50])
    names = np.array([f"item {i}" for i in range(30)], object)
    model = small(loss=loss, item_features=given, item_ids=names).fit(X, names[y])
    rows, items = np.array([0, 0, -1, 3]), [names[4], None, names[4], names[29]]
    both = sparse.vstack([X[:4], sparse.csr_matrix((1, 41))], format="csr")
    scores = model.predict_pairs(X[:4], rows, items)
    assert_array_equal(scores[[0, 3]], model.predict_pairs(X[:4], [0, 3], [names[4], names[29]]))
    assert_array_equal(scores[2], model.predict_pairs(both, [4], [names[4]])[0])
    own = model.user_vectors(X[:1])[0, -1] if loss == "logistic" else 0  # of the context alone
    assert_allclose(scores[1], own)
    assert_array_equal(model.predict_pairs(X[:1], [0], pd.Series([None])), scores[1:2])
    assert model.predict_pairs(X[:1], [], []).shape == (0,)
    ranked, _ = model.recommend(X[:1], 30)  # None where too few are left
    assert None in ranked[0]
    assert np.isfinite(model.predict_pairs(X[:1], np.zeros(30, int), ranked[0])).all()


def test_labels_may_be_minus_one():
    X, y, _ = make_log(n_events=300)
    model = small(item_ids=np.arange(30) - 1).fit(X, y - 1)
    plain = small(item_ids=np.arange(30)).fit(X, y)
    assert model.predict_pairs(X, [0], [-1]) == plain.predict_pairs(X, [0], [0])
    with pytest.raises(ValueError, match="does not know"):
        plain.predict_pairs(X, [0], [-1])


def test_recommend_as_a_frame():
    users, items = np.repeat([0, 1], 4), np.array(list("abcdaabb"))
    table = pd.DataFrame(np.eye(2)[users], columns=["ann", "bob"])
    model = small().fit(table, items)
    rows = pd.DataFrame(np.eye(2), columns=["ann", "bob"], index=["Ann", "Bob"])
    ranked, scores = model.recommend(rows, 10)
    assert ranked.shape == (2, 4)  # all that there are
    frame = model.recommend(rows, 10, output="pandas")
    assert list(frame) == ["user", "item", "score", "rank"]
    assert frame["user"].tolist() == ["Bob", "Bob"]  # Ann has everything
    assert frame["item"].tolist() == ranked[1, :2].tolist()
    assert_array_equal(frame["score"], scores[1, :2])
    assert frame["rank"].tolist() == [1, 2]
    frame = model.recommend(rows, 1, exclude_seen=False, output="pandas", user_ids=[7, 7])
    assert frame["user"].tolist() == [7, 7]
    frame = model.similar_items(["c", "a"], 4, output="pandas")
    assert frame["item"].tolist() == list("cccaaa") and frame["rank"].tolist() == [1, 2, 3] * 2
    assert_array_equal(frame["similar_item"], model.similar_items(["c", "a"], 3)[0].ravel())


def test_new_items_are_known_by_their_features():
    X, items, _ = make_log()
    features = make_features()
    model = small(item_features=features).fit(X, items)
    new = features.iloc[[2, 5]].set_axis([100, 101])
    cold = FMRecommender(**model.get_params())
    cold.set_params(item_features=pd.concat([features, new])).fit(X, items)
    vectors = model.item_vectors()
    model.add_items(new)
    assert_array_equal(model.item_vectors()[:30], vectors)
    assert_allclose(model.item_vectors()[30:], cold.item_vectors()[30:])
    ranked, _ = model.recommend(X[:4], 2, candidates=[100, 101])
    assert set(ranked.ravel()) == {100, 101}
    with pytest.raises(ValueError, match="that the model already has"):
        model.add_items(new)
    with pytest.raises(ValueError, match="4 columns"):
        model.add_items(new[["a"]].set_axis([7, 8]))


def make_new_items(n_noise, seed=0):
    """Events of old items, features of all, and the scores of new items."""
    rng = np.random.default_rng(seed)
    genres = np.eye(4)[rng.integers(4, size=120)]
    taste = 3 * rng.normal(size=(60, 4))
    scores = taste @ genres.T + rng.normal(size=120)
    users = rng.integers(60, size=6000)
    items = (scores[users, :80] + rng.gumbel(size=(6000, 80))).argmax(axis=1)
    X = sparse.csr_matrix((np.ones(6000), (np.arange(6000), users)), (6000, 60))
    features = np.column_stack([genres, rng.normal(size=(120, n_noise))])
    return X, items, features, taste @ genres[80:].T


@pytest.mark.parametrize("loss", LOSSES)
def test_useless_item_features_cost_little(loss):
    found = []
    for n_noise in (0, 10):
        X, items, features, truth = make_new_items(n_noise)
        model = FMRecommender(8, loss=loss, item_features=features, random_state=0, max_iter=20)
        contexts = sparse.eye(60, format="csr")
        best, _ = model.fit(X, items).recommend(contexts, 5, candidates=np.arange(80, 120))
        found.append(np.take_along_axis(truth, best.astype(int) - 80, axis=1).mean())
        given = np.linalg.norm(model.item_components_[:, -4 - n_noise :], axis=0)
        if n_noise:
            assert given[4:].max() < 0.1 * given[:4].min()
    ideal = np.sort(truth, axis=1)[:, -5:].mean()
    assert found[0] > truth.mean() + 0.8 * (ideal - truth.mean())
    assert found[1] > 0.98 * found[0]


def test_item_features_that_items_do_not_share_are_trained():
    """Without features of their own, or with other partners, items say nothing of features."""
    X, items, features, _ = make_new_items(0)
    for options in (
        {"item_identity": ()},
        {"fit_linear": ["item_features"]},
        {"fit_linear": False},
        {"interactions": [("context", "item_features")]},
    ):
        model = small(item_features=features, **options).fit(X, items)
        assert np.linalg.norm(model.item_components_[:, -4:], axis=0).min() > 0.1


def test_score_counts_unknown_items_as_misses():
    X, items, _ = make_log(n_events=300)
    model = small().fit(X, items)
    users = sparse.eye(2, 40, format="csr")
    ranked, _ = model.recommend(users, 1)
    assert model.score(users, ranked[:, 0]) == 1
    assert model.score(users, [ranked[0, 0], -5]) == 0.5
    assert model.score(users, [ranked[0, 0], -5], sample_weight=[1, 0]) == 1


def score_by_loop(model, X, items, users):
    """NDCG of users that are new, in each of their contexts, one after the other; their mean."""
    rankings, values = {}, []
    for n, user in enumerate(users):
        rankings.setdefault((user, X[n].toarray().tobytes()), []).append(n)
    for events in rankings.values():
        ranked, _ = model.recommend(X[events[0]], 10)
        gains = (ranked[0] == items[events][:, None]).sum(axis=0)
        missed = np.setdiff1d(items[events], ranked[0])
        others = [np.count_nonzero(items[events] == item) for item in missed]
        values.append(ndcg_at_k([[*gains, *others]], [np.arange(10)], 10))
    return np.mean(values)


def log_with_new_users(n_attributes):
    """Contexts, choices and users; of those from 8 on, no more than attributes are known."""
    X, items, _ = make_log(12, 30, 300)
    users = X.indices.copy()
    attributes = np.eye(3)[users % 3, :n_attributes]
    return sparse.hstack([X[:, :8], attributes], format="csr"), items, users


@pytest.mark.parametrize("user_fields", [None, ["user"]])
@pytest.mark.parametrize("n_attributes", [0, 3])
def test_score_goes_by_users_not_by_equal_rows(n_attributes, user_fields):
    X, items, users = log_with_new_users(n_attributes)
    fields = ["user"] * 8 + ["attribute"] * n_attributes
    model = small(feature_fields=fields, user_fields=user_fields)
    model.fit(X[:200][users[:200] < 8], items[:200][users[:200] < 8])
    X, items, users = X[200:], items[200:], users[200:]
    is_new = users >= 8
    new, who = (X[is_new], items[is_new]), users[is_new]
    assert who.size > 2 * np.unique(who).size
    assert_allclose(model.score(*new, groups=who), score_by_loop(model, *new, who))
    # What is known by no id is judged alone, whatever else is known.
    assert_allclose(model.score(*new), score_by_loop(model, *new, np.arange(who.size)))
    relevant, _ = model.rank_held_out(X, items)
    assert relevant.shape[0] == np.unique(users[~is_new]).size + who.size
    # An id that is missing is none.
    some = np.where(is_new, np.nan, users)
    assert model.score(X, items, groups=some) == model.score(X, items)


def test_users_are_judged_in_each_of_their_contexts():
    rng = np.random.default_rng(0)
    log = pd.DataFrame(rng.integers([6, 2], size=(300, 2)), columns=["user", "device"])
    items = rng.integers(20, size=300)
    encode = EventEncoder(["user", "context"], user="user", context=["device"]).fit(log)
    model = small(user_fields=["user"]).fit(encode.transform(log[:200]), items[:200])
    test, chosen = log[200:], items[200:]
    X = encode.transform(test)
    relevant, _ = model.rank_held_out(X, chosen)
    assert relevant.shape[0] == len(test.drop_duplicates())
    # Sessions cut what equal rows have together; contexts cut sessions.
    session = test["user"] * 10 + np.arange(100) // 20
    relevant, _ = model.rank_held_out(X, chosen, groups=session)
    assert relevant.shape[0] == len(test.assign(session=session).drop_duplicates())
    # On a device that fit has not seen, the user is known all the same.
    other = encode.transform(test.assign(device=7))
    assert model.rank_held_out(other, chosen)[0].shape[0] == test["user"].nunique()


def test_order_and_names_of_users_do_not_matter():
    X, items, users = log_with_new_users(3)
    model = small().fit(X[users < 8], items[users < 8])
    expected = model.score(X, items, groups=users)
    order = np.random.default_rng(0).permutation(300)
    assert_allclose(model.score(X[order], items[order], groups=users[order]), expected)
    whole = model.score(X, items)
    assert_allclose(model.score(X[order], items[order]), whole)
    assert abs(whole - expected) > 0.01
    names = [f"u{user}" for user in users]
    for groups in (
        names,
        pd.Series(names, index=np.arange(300) + 7),
        pd.Categorical(names),
        users / 10,
        list(zip(names, users, strict=True)),
        np.datetime64("2020-01-01") + users,
    ):
        assert model.score(X, items, groups=groups) == expected
    some = np.where(users < 8, users, -1)
    alone = model.score(X, items, groups=np.where(users < 8, users, np.nan))
    for groups in (
        pd.Series(some, dtype="Int64").mask(some < 0),
        [user if user < 8 else None for user in users],
    ):
        assert model.score(X, items, groups=groups) == alone


def test_groups_that_do_not_fit_are_refused():
    X, items, _ = make_log(n_events=300)
    model = small().fit(X, items)
    for groups, match in (
        (np.arange(299), "groups must contain the user of each of the 300 rows of X; got 299"),
        (np.ones((300, 1)), "one-dimensional array of group ids"),
        ("user", "one-dimensional array of group ids"),
    ):
        with pytest.raises(ValueError, match=match):
            model.score(X, items, groups=groups)


def test_users_that_precision_hides_are_asked_for():
    X, items, _ = make_log(n_events=300)
    model = small().fit(X / 10, items)
    rounded, scorer = (X / 10).astype(np.float32), make_ranking_scorer("ndcg", exclude_seen=False)
    with pytest.raises(ValueError, match=r"X has the type float32.*pass the user ids as groups"):
        scorer(model, rounded, items)
    expected = scorer(model, X / 10, items)
    assert_allclose(scorer(model, rounded, items, groups=X.indices), expected)


def test_users_are_routed_to_score_and_scorers():
    rng = np.random.default_rng(0)
    users = rng.integers(12, size=240)
    items = users % 3 * 4 + rng.integers(6, size=240)
    log, folds = users[:, None], GroupKFold(3)
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), small(max_iter=2))
    expected, alone = [], []
    for train, test in folds.split(log, items, users):
        fitted = clone(model).fit(log[train], items[train])
        X = fitted[:-1].transform(log[test])
        expected.append(fitted[-1].score(X, items[test], groups=users[test]))
        alone.append(fitted[-1].score(X, items[test]))
    assert np.min(np.subtract(expected, alone)) > 0.05
    found = cross_val_score(model, log, items, groups=users, cv=folds)
    assert_array_equal(found, alone)  # without routing, groups are for the folds
    scorer = make_ranking_scorer("ndcg")
    with config_context(enable_metadata_routing=True):
        options = {"cv": folds, "params": {"groups": users}}
        for scoring in (None, scorer):
            found = cross_val_score(model, log, items, scoring=scoring, **options)
            assert_array_equal(found, expected)
        whole = fitted.score(log, items, groups=users)
        search = GridSearchCV(model, {}, scoring={"a": scorer}, refit="a", cv=folds)
        found = search.fit(log, items, groups=users).cv_results_
        assert_allclose(found["mean_test_a"], np.mean(expected))
        declined = clone(scorer.set_score_request(groups=False), safe=False)
        declined = pickle.loads(pickle.dumps(declined))
        found = cross_val_score(model, log, items, scoring=declined, **options)
        assert_array_equal(found, alone)
        options["params"]["who"] = users
        scorer.set_score_request(groups="who")
        found = cross_val_score(model, log, items, scoring=scorer, **options)
        assert_array_equal(found, expected)
    assert scorer(fitted, log, items, groups=users) == whole


def test_searches_slice_events():
    X, items, _ = make_log()
    model = small(item_features=make_features())
    assert cross_val_score(model, X, items, cv=3).shape == (3,)
    scorer = make_ranking_scorer("recall", k=5)
    search = GridSearchCV(model, {"alpha": [0.1, 1.0]}, scoring=scorer, cv=3).fit(X, items)
    assert 0 < search.best_score_ <= 1
    scorer = make_ranking_scorer("ndcg", k=5, candidates=[1, 2, 3])
    assert 0 <= scorer(search, X, items) <= 1


def test_pipelines():
    rng = np.random.default_rng(0)
    log = rng.integers(20, size=(500, 2))
    items = (log.sum(axis=1) + rng.integers(3, size=500)) % 15
    encoded = make_pipeline(OneHotEncoder(handle_unknown="ignore"), small()).fit(log, items)
    assert encoded.predict(log[:4]).shape == (4,)
    model = small(interactions=[("user", "item")])
    model = make_pipeline(EventEncoder(blocks=["user"]), model).fit(log, items)
    assert model.predict(log[:4]).shape == (4,)


def test_pipelines_recommend():
    X, items, _ = make_log(n_events=300)
    log = pd.DataFrame({"user": X.indices, "device": items % 2}, index=np.arange(300) + 1000)
    encode = OneHotEncoder()
    recommender = small(item_ids=np.arange(30))
    pipe = make_pipeline(encode, recommender).fit(log, items)
    expected = pipe[-1].recommend(pipe[0].transform(log), 3, exclude_seen=False)
    search = GridSearchCV(pipe, {"fmrecommender__alpha": [1.0]}, cv=2).fit(log, items)
    within = make_pipeline(encode, GridSearchCV(recommender, {}, cv=2)).fit(log, items)
    for model in (pipe, search, within, make_pipeline("passthrough", pipe).fit(log, items)):
        found = recommend(model, log, 3, exclude_seen=False)
        for one, other in zip(found, expected, strict=True):
            assert_array_equal(one, other)
        frame = recommend(model, log, 3, exclude_seen=False, output="pandas")
        assert_array_equal(frame["user"], np.repeat(log.index, 3))
        assert_array_equal(frame["item"], expected[0].ravel())
    frame = recommend(pipe, log, 1, output="pandas", user_ids=log["user"], candidates=[3, 4])
    assert set(frame["user"]) <= set(log["user"]) and set(frame["item"]) <= {3, 4}
    for wrong in (encode, make_pipeline(encode), GridSearchCV(pipe, {})):
        with pytest.raises(TypeError, match="has no method recommend: pass a recommender"):
            recommend(wrong, log)


def test_pipelines_of_matrix_factorization_recommend():
    rng = np.random.default_rng(0)
    counts = pd.DataFrame(rng.poisson(0.5, (9, 8)), list("abcdefghi"), list("ABCDEFGH"))
    model = MFRecommender(2, feedback="implicit", random_state=0)
    pipe = make_pipeline(FunctionTransformer(np.log1p), model).fit(counts)
    frame = recommend(pipe, counts, 2, output="pandas")
    items, _ = recommend(pipe, counts, 2)
    assert frame["user"].tolist() == [user for user in counts.index for _ in range(2)]
    assert_array_equal(frame["item"], items.ravel())


@pytest.mark.parametrize("negatives", ["popularity", 0.5])
def test_popular_items_may_be_drawn_more_often(negatives):
    X, items, _ = make_log()
    uniform = small(loss="bpr").fit(X, items)
    model = small(loss="bpr", negatives=negatives).fit(X, items)
    count = np.bincount(items, minlength=30)[model.item_ids_]

    def slant(model):
        return np.corrcoef(np.log(count), model.item_coef_)[0, 1] * model.item_coef_.std()

    assert slant(model) < slant(uniform)  # popularity is corrected for


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"y": [0, 1, 99]}, "item_features"),
        ({"y": [1, 1, 1]}, "only one item"),
        ({"y": [0, 1, np.nan]}, "NaN"),
        ({"X": [[1.0], [np.nan], [2.0]]}, "NaN"),
        ({"item_features": [[1.0], [np.nan]]}, "item_features"),
        ({"item_features": [["a"], ["b"]]}, "OneHotEncoder"),
        ({"item_ids": ["a", "a"]}, "items occur more than once in item_ids"),
        ({"item_ids": [0]}, "item_ids"),
        ({"item_fields": ["a", "b"]}, "item_fields"),
        ({"item_identity": "item"}, "item_identity"),
        ({"item_identity": ("a", "a")}, "item_identity contains a field more than once"),
        ({"user_fields": ["who"]}, "user_fields"),
        ({"feature_fields": ["a", "b"]}, "feature_fields"),
        ({"negatives": 2.0}, "negatives"),
        ({"max_draws": 0}, "max_draws"),
        ({"interactions": [("who", "item")]}, "who"),
        ({"y": ["a", None, "b"]}, "items in y are missing"),
        ({"item_features": [[1e200], [2.0]]}, "Column 0 of item_features"),
        ({"item_features": pd.DataFrame([[1, 2], [3, 4]], columns=["a", "a"])}, "same name.*a"),
        ({"item_identity": ([1],)}, "item_identity must contain names"),
        ({"feature_fields": 3}, "feature_fields must contain one label for each column of X"),
        ({"feature_fields": ["item"], "fit_linear": ["item"]}, "field of both X and the items"),
    ],
)
def test_what_is_wrong_is_said(change, match):
    X, y = [[1.0], [0.0], [2.0]], [0, 1, 1]
    model = small(item_features=[[1.0], [2.0]]).fit(X, y)
    before = model.item_components_.copy()
    X, y = change.pop("X", X), change.pop("y", y)
    model.set_params(**change)
    with pytest.raises((ValueError, TypeError), match=match):
        model.fit(X, y)
    assert_array_equal(model.item_components_, before)  # the model from before


def test_sets_of_items():
    X, y = np.eye(4)[[0, 1, 2, 3, 0, 1]], [*"abcdef"]
    model = quietly(FMRecommender(2, max_iter=2, random_state=0).fit, X, y)
    for argument in ("candidates", "exclude"):
        expected, _ = model.recommend(X, 2, **{argument: [*"eba"]})
        found, _ = model.recommend(X, 2, **{argument: {*"abe"}})
        assert_array_equal(found, expected)
        with pytest.raises(TypeError, match=rf"{argument} must be .*Pass list\({argument}\)"):
            model.recommend(X, 2, **{argument: iter("abe")})


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
def test_items_are_added_completely_or_not_at_all(error, monkeypatch):
    features = np.random.default_rng(0).normal(size=(6, 3))
    X, y = np.eye(4)[[0, 1, 2, 3, 0, 1]], range(6)
    model = FMRecommender(2, item_features=features, max_iter=2, random_state=0)
    before = dict(vars(quietly(model.fit, X, y)))

    def fail(self):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(FMRecommender, "_prepare_items", fail)
        with pytest.raises(error):
            model.add_items(features[:1], item_ids=[6])
    assert vars(model) == before
    assert 6 in model.add_items(features[:1], item_ids=[6]).item_ids_


def test_unknown_candidates():
    model = small().fit(np.eye(3), ["a", "b", "c"])
    with pytest.raises(ValueError, match=r"candidates contains items.*'z'"):
        model.recommend(np.eye(3), 1, candidates=["a", "z"])


def test_rows_without_entries_get_the_same():
    model = small().fit(np.vstack([np.eye(3), np.zeros((3, 3))]), list("abcabb"))
    ranked, _ = model.recommend(np.zeros((2, 3)), 3)
    assert_array_equal(ranked[0], ranked[1])
    assert set(ranked[0]) == set("abc")


def test_one_user():
    model = small(item_ids=list("abcd")).fit(np.ones((3, 1)), list("aab"))
    ranked, _ = model.recommend([[1.0]], 2)
    assert set(ranked[0]) == {"c", "d"}


def test_pitf_finds_planted_tags():
    rng = np.random.default_rng(0)
    users, items, tags = (rng.normal(size=(n, 3)) for n in (40, 40, 30))
    others = rng.normal(size=(30, 3))
    log = rng.integers(40, size=(6000, 2))
    scores = 1.5 * (users[log[:, 0]] @ tags.T + items[log[:, 1]] @ others.T)
    chosen = (scores + rng.gumbel(size=scores.shape)).argmax(axis=1)
    estimator = FMRecommender(6, loss="bpr", alpha=0.03, max_iter=60, random_state=0)
    model = make_recipe("pitf", estimator).fit(log[:5000], chosen[:5000])
    right = model.predict(log[5000:]) == scores[5000:].argmax(axis=1)
    assert right.mean() > 0.7


def test_fpmc_finds_planted_chains():
    rng = np.random.default_rng(0)
    follows, taste = (rng.normal(size=(n, 3)) @ rng.normal(size=(3, 40)) for n in (40, 60))
    rows, best = [], []
    for user in range(60):
        last = rng.integers(40)
        for time in range(51):
            scores = taste[user] + 2 * follows[last]
            last = (scores + rng.gumbel(size=40)).argmax()
            rows.append((user, last, time))
            best.append(scores.argmax())
    rows, best = np.array(rows), np.array(best)
    is_train = rows[:, 2] < 50
    estimator = FMRecommender(6, loss="bpr", alpha=0.1, max_iter=60, random_state=0)
    chain = make_recipe("fpmc", estimator, time=2).fit(rows[is_train], rows[is_train, 1])
    plain = make_recipe("mf", estimator).fit(rows[is_train, :2], rows[is_train, 1])
    right = (chain.predict(rows[~is_train]) == best[~is_train]).mean()
    assert right > 0.5
    assert right > 1.5 * (plain.predict(rows[~is_train, :2]) == best[~is_train]).mean()


def test_recipes_that_cannot_rank():
    with pytest.raises(ValueError, match="cannot be used for ranking"):
        make_recipe("svd++", FMRecommender())


# ---------------------------------------------------------------------------------------------
# Numbers far from 0


@pytest.mark.parametrize("loss", LOSSES)
def test_item_features_far_from_zero_serve_new_items(loss):
    rng = np.random.default_rng(0)
    years = rng.integers(1960, 2001, size=200).astype(float)
    taste = rng.normal(size=100)
    wanted = np.outer(taste, (years[:150] - 1980) / 12) + rng.gumbel(size=(100, 150)) * 0.7
    items = np.argsort(-wanted, axis=1)[:, :20].ravel()
    everybody = np.eye(100)
    model = FMRecommender(
        8, loss=loss, item_features=years[:, None], max_iter=40, tol=0, random_state=0
    )
    model.fit(everybody[np.repeat(np.arange(100), 20)], items)
    best, scores = model.recommend(everybody, 5, candidates=np.arange(150, 200))
    modern = (years[best] - 1980).mean(axis=1)
    sure = np.abs(taste) > 0.5
    assert (modern * taste > 0)[sure].all()
    everything = model.user_vectors(everybody) @ model.item_vectors().T
    assert_allclose(np.take_along_axis(everything, best, 1), scores, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_contexts_far_from_zero_are_learned(loss):
    rng = np.random.default_rng(0)
    age = rng.normal(40, 10, size=600)
    items = 10 * (age > 40) + rng.integers(10, size=600)
    model = FMRecommender(4, loss=loss, random_state=0).fit(age[:, None], items)
    best, _ = model.recommend([[25.0], [55.0]], 5, exclude_seen=False)
    assert (best[0] < 10).all()
    assert (best[1] >= 10).all()


def test_masks_of_items_of_every_kind():
    X, y = np.eye(5), np.arange(5) + 10
    model = FMRecommender(2, max_iter=2, random_state=0).fit(X, y)
    mask = np.array([True, False, True, True, False])
    expected = model.recommend(X, 2, candidates=[10, 12, 13], exclude_seen=False)[0]
    for given in (mask, mask.tolist(), pd.Series(mask, index=list("abcde"))):
        found, _ = model.recommend(X, 2, candidates=given, exclude_seen=False)
        assert_array_equal(found, expected)
        found, _ = model.recommend(X, 2, exclude=~np.asarray(given), exclude_seen=False)
        assert_array_equal(found, expected)
    with pytest.raises(ValueError, match="candidates is a mask of 3 items; the model has 5"):
        model.recommend(X, 2, candidates=mask[:3])


def test_added_items_have_the_columns_of_fit():
    films = pd.DataFrame({"space": [1, 0, 1], "west": [0, 1, 1]}, index=list("abc"))
    model = FMRecommender(2, item_features=films, max_iter=2, random_state=0)
    model.fit(np.eye(3), list("abc"))
    later = pd.DataFrame({"space": [1], "west": [0]}, index=["d"])
    with pytest.raises(ValueError, match="the same columns as in fit, in the same order"):
        model.add_items(later[["west", "space"]])
    assert model.item_ids_.size == 3
    assert model.add_items(later).item_ids_.size == 4


@pytest.mark.parametrize("loss", LOSSES)
def test_few_events_in_one_batch_are_learned(loss):
    """The loss falls from the start, long before scores differ by the margin of "warp"."""
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(40), 10)
    items = 2 * rng.integers(15, size=400) + users % 2
    model = FMRecommender(4, loss=loss, alpha=0.1, random_state=0).fit(np.eye(40)[users], items)
    assert model.loss_curve_[-1] < 0.8 * model.loss_curve_[0]
    best, _ = model.recommend(np.eye(40), 5)
    assert np.mean(best % 2 == np.arange(40)[:, None] % 2) > 0.9


@pytest.mark.parametrize(
    "names",
    [
        pd.Series([2**53 + k for k in range(4)], dtype="Int64"),
        [("a", 1), ("a", 2), ("b", 1), ("b", 2)],
        pd.MultiIndex.from_product([["a", "b"], [1, 2]]),
    ],
    ids=["nullable integers", "tuples", "MultiIndex"],
)
def test_names_stay_what_they_are(names):
    X = sparse.eye(4, format="csr")
    model = small().fit(X, names)
    assert set(model.item_ids_.tolist()) == set(names)
    assert set(model.predict(X).tolist()) <= set(names)
    assert 0 < model.score(X, names) <= 1
    some = [names[0], names[1]]
    assert set(model.recommend(X, 2, exclude_seen=False, candidates=some)[0].ravel()) == set(some)
    left, _ = model.recommend(X, 2, exclude_seen=False, exclude=some)
    assert set(left.ravel()) == set(names) - set(some)


def test_users_are_known_in_other_precision_or_it_is_said():
    X, items, _ = make_log()
    single = small().fit(X.astype(np.float32), items)
    both = [single.recommend(X.astype(dtype), 5)[0] for dtype in (np.float32, np.float64)]
    assert_array_equal(*both)
    model = small().fit(X, items)  # ones, the same in both
    both = [model.recommend(X.astype(dtype), 5)[0] for dtype in (np.float32, np.float64)]
    assert_array_equal(*both)
    model = small().fit(X / 10, items)
    with pytest.raises(ValueError, match=r"X has the type float32.*float64"):
        model.recommend((X / 10).astype(np.float32), 5)
    _, scores = model.recommend((X / 10).astype(np.float32), 5, exclude_seen=False)
    assert np.isfinite(scores).all()


def test_scores_are_finite_or_refused():
    X, items, _ = make_log()
    X = X.astype(np.float32)
    features = make_features() * 1e20
    with pytest.raises(ValueError, match=r"Column 0 of item_features.*float32"):
        small(item_features=features).fit(X, items)
    model = small(item_features=features).fit(X.astype(float), items)
    assert np.isfinite(model.predict_pairs(X, np.arange(30), np.arange(30))).all()
    model = small(item_features=make_features()).fit(X, items)
    with pytest.raises(ValueError, match="item_features"):
        model.add_items(features, np.arange(100, 130))
    with pytest.raises(ValueError, match="X has values that are too large"):
        model.recommend(X * np.float32(1e38))


def test_fields_of_contexts_may_be_numbers():
    X, items, _ = make_log()
    fields = np.arange(X.shape[1]) % 2
    named = small(feature_fields=fields.astype(str), interactions=[("0", "item")], alpha=0.01)
    numbered = small(feature_fields=fields, interactions=[(0, "item")], alpha=0.01)
    expected, scores = named.fit(X, items).recommend(X[:20], 3)
    found, same = numbered.fit(X, items).recommend(X[:20], 3)
    assert_array_equal(found, expected)
    assert_array_equal(same, scores)


def test_rank_held_out_leave_out_what_they_are_told_to():
    X, items, _ = make_log(n_events=300)
    model = small().fit(X, items)
    test, chosen = X[:50], items[:50]
    known = model.item_ids_
    relevant, found = model.rank_held_out(test, chosen, 4, exclude=known[:-2])
    assert set(found[:, :2].ravel()) <= {known.size - 2, known.size - 1, -1}
    assert (found[:, 0] >= 0).any()
    assert (found[:, 2:] == -1).all() and found.shape == (relevant.shape[0], 4)
    _, none = model.rank_held_out(test, chosen, 4, exclude=known)
    assert (none == -1).all()
    # The first event of each context forbids the items of even numbers, the others those of odd.
    _, first, context = np.unique(test.indices, return_index=True, return_inverse=True)
    is_first = np.isin(np.arange(50), first)
    is_even = np.arange(known.size) % 2 == 0
    entries = sparse.csr_matrix(is_first[:, None] == is_even)
    _, found = model.rank_held_out(test, chosen, 4, exclude=entries, exclude_seen=False)
    order = np.argsort(np.argsort(first))
    several = np.bincount(context) > 1
    assert several.any() and not several.all()
    for place, user in zip(order, range(order.size), strict=True):
        assert (found[place] == -1).all() if several[user] else (found[place] % 2 == 1).all()
    with pytest.raises(TypeError, match="k must be an integer in"):
        model.rank_held_out(test, chosen, "3")
    with pytest.raises(ValueError, match="exclude must be a list of items"):
        model.rank_held_out(test, chosen, exclude=entries[:3])
    table = pd.DataFrame(np.zeros((50, known.size)), columns=known[::-1])
    with pytest.raises(ValueError, match="columns of exclude must be item_ids_"):
        model.recommend(test, 1, exclude=table)


def test_what_has_no_vectors_is_not_similar():
    model = small(n_components=0).fit(np.eye(3), ["a", "b", "c"])
    with pytest.raises(ValueError, match="n_components=0"):
        model.similar_items(["a"], 1)


def test_without_item_features_nothing_is_known_of_new_items():
    model = small().fit(np.eye(3), ["a", "b", "c"])
    with pytest.raises(ValueError, match="without item_features"):
        model.add_items([[1.0]], ["d"])


def test_warp_is_judged_by_its_loss_alone():
    X, items, _ = make_log()
    model = small(alpha=100.0, init_scale=1.0, max_iter=1).fit(X, items)
    assert model.loss_curve_[0] <= 1  # the penalty at the start is far above


@pytest.mark.parametrize("loss", LOSSES)
def test_default_penalties(loss):
    X, items, _ = make_log()
    alpha, linear = {"warp": (1.0, 30), "bpr": (0.2, 10), "logistic": (0.35, 10)}[loss]
    expected = small(loss=loss, alpha=alpha, alpha_linear=linear).fit(X, items)
    assert_array_equal(small(loss=loss).fit(X, items).components_, expected.components_)


@pytest.mark.parametrize("loss", LOSSES)
def test_divergence_with_item_features_is_said(loss):
    X, items, _ = make_log()
    model = small(loss=loss, item_features=make_features(), learning_rate=1e30, init_scale=1e30)
    with warnings.catch_warnings(), pytest.raises(ValueError, match="lower learning_rate"):
        warnings.simplefilter("ignore", RuntimeWarning)
        model.fit(X.astype(np.float32), items)


def make_dated_log():
    """Odd users like new items, the others old ones; users of all ages."""
    rng = np.random.default_rng(0)
    year = pd.DataFrame({"year": rng.integers(1960, 2021, size=60).astype(float)})
    user = rng.integers(40, size=2000)
    wanted = np.outer(2 * (user % 2) - 1, (year["year"] - 1990) / 10)
    items = (wanted + rng.gumbel(size=wanted.shape)).argmax(axis=1)
    age = 40 + np.arange(40.0) % 7
    return np.column_stack([np.eye(40), age])[user], items, year


@pytest.mark.parametrize("loss", LOSSES)
def test_offsets_of_columns_change_nothing_that_is_served(loss):
    X, items, year = make_dated_log()
    farther = X.copy()
    farther[:, -1] += 1000
    model = small(loss=loss, item_features=year, max_iter=20).fit(X, items)
    other = small(loss=loss, item_features=year + 1000, max_iter=20).fit(farther, items)
    mine, yours = (model.similar_items([0, 1], 59)[1] for model in (model, other))
    assert mine.min() < 0
    assert_allclose(mine, yours, atol=1e-6)
    single = small(loss=loss, item_features=year + 1e5, max_iter=20)
    single.fit(X.astype(np.float32), items)
    assert abs(single.score(X, items) - model.score(X, items)) < 0.05
    fresh = pd.DataFrame({"year": [1960.0, 2020.0]}, index=["old", "new"]) + 1e5
    best, _ = single.add_items(fresh).recommend(X[:100], 1, candidates=["old", "new"])
    is_odd = X[:100, :40].argmax(axis=1) % 2 == 1
    assert_array_equal(best[:, 0] == "new", is_odd)


def test_centered_columns_make_the_same_model():
    X, items, year = make_dated_log()
    model = small(loss="logistic", item_features=year).fit(X, items)
    assert model._centered is not None
    features = sparse.hstack([sparse.eye(60), year.to_numpy()]).tocsr()
    expected = joined_scores(model, sparse.csr_matrix(X[:5]), features)
    assert_allclose(model.user_vectors(X[:5]) @ model.item_vectors().T, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("known", "added"),
    [
        (np.arange(30) + 2**60, np.array([5], np.uint64)),
        (np.arange(30) + 2**60, [0.5]),
        (DATES, ["new"]),
        (np.arange(30), pd.to_timedelta([3], unit="D")),
        (np.array(list("abcdefghijklmnopqrstuvwxyz1234")), [17]),
    ],
)
def test_names_of_added_items_leave_the_others_as_they_are(known, added):
    X, items, _ = make_log()
    model = small(item_features=make_features(), item_ids=known).fit(X, known[items])
    before, _ = model.recommend(X[:5], 3, exclude_seen=False, candidates=known)
    score = model.score(X, known[items])
    model.add_items(make_features()[:1], added)
    after, _ = model.recommend(X[:5], 3, exclude_seen=False, candidates=known)
    assert list(map(list, after)) == list(map(list, before))
    assert len(set(model.item_ids_.tolist())) == 31
    assert_allclose(model.score(X, known[items]), score, atol=0.2)
    assert model.recommend(X[:1], 1, candidates=added)[0][0, 0] == added[0]


def test_names_are_the_same_where_items_are_missing():
    X, items, _ = make_log()
    model = small(item_features=make_features(), item_ids=DATES).fit(X, DATES[items])
    few, _ = model.recommend(X[:2], 1)
    many, _ = model.recommend(X[:2], 30)
    assert many[0, -1] is None
    assert_array_equal(few[:, 0], many[:, 0].astype(few.dtype))
    assert model.recommend(X[:1], 1, candidates=list(many[0, :3]))[0].shape == (1, 1)


def test_names_do_not_change_with_the_callers_array():
    ids = np.arange(30) * 10
    X, items, _ = make_log()
    model = small(item_features=make_features(), item_ids=ids).fit(X, items * 10)
    ids += 1
    assert_array_equal(model.item_ids_, np.arange(30) * 10)


def test_choices_as_a_column_are_scored_as_they_are_fitted():
    X, items, _ = make_log()
    with pytest.warns(DataConversionWarning):
        scores = cross_val_score(small(), X, pd.DataFrame({"item": items}), cv=2)
    assert_array_equal(scores, cross_val_score(small(), X, items, cv=2))


def test_items_of_another_type_are_named():
    X, items, _ = make_log(n_events=300)
    model = small(item_ids=np.arange(30)).fit(X, items)
    types = r"they are str, but were int64 in fit; convert them"
    for call in (
        lambda: model.recommend(X[:2], 1, candidates=["1", "2"]),
        lambda: model.similar_items(["1"], 1),
        lambda: clone(model).fit(X, items.astype(str)),
    ):
        with pytest.raises(ValueError, match=types):
            call()
    with pytest.warns(UserWarning, match=f"item ids is known: {types}") as caught:
        assert model.score(X, items.astype(str)) == 0
    assert caught[0].filename == __file__


def test_scorers_take_names_that_are_tuples():
    X, items, _ = make_log()
    names = [("item", i) for i in items]
    scorer = make_ranking_scorer("ndcg")
    found = scorer(small().fit(X, names), X, names)
    assert found == scorer(small().fit(X, items), X, items)


def test_features_that_would_say_nothing_are_refused():
    log = [(f"u{n % 7}", f"i{n % 5}", n) for n in range(60)]
    items = pd.DataFrame({"genre": np.arange(5) % 2}, index=[f"i{n}" for n in range(5)])
    model = make_recipe("fpmc", FMRecommender(item_features=items), time=2)
    with pytest.raises(ValueError, match="The item field 'item_features' is in no pair"):
        model.fit(log, [item for _, item, _ in log])


@pytest.mark.parametrize("exclude", [[[1], [2], []], np.array([["a"], ["b"], ["c"]])])
def test_what_cannot_be_excluded_is_said(exclude):
    X, items, _ = make_log()
    with pytest.raises(ValueError, match="exclude must be a list of items"):
        small().fit(X, items).recommend(X[:3], 2, exclude=exclude)
