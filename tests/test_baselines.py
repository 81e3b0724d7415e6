"""Recommenders without a factor model: what they learn, by slow twins, and what they serve."""

import inspect
import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from helpers import size
from numpy.testing import assert_allclose, assert_array_equal
from reference import (
    ease_weights,
    item_neighbors,
    rp3beta_weights,
    slim_objectives,
    slim_weights,
    user_neighbor_scores,
)
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skfm import MFRecommender, baselines, recommend
from skfm._solvers import top_k
from skfm._solvers.item_item import gram, neighbors, slim
from skfm._solvers.item_item.ease import ease
from skfm.baselines import (
    EASERecommender,
    ItemKNNRecommender,
    PopularityRecommender,
    RP3betaRecommender,
    SLIMRecommender,
    UserKNNRecommender,
)
from skfm.metrics import make_ranking_scorer, ndcg_at_k
from skfm.model_selection import search_space, split_entries
from skfm.preprocessing import UserItemEncoder

ALL = [getattr(baselines, name) for name in baselines.__all__]
ITEM_ITEM = [kind for kind in ALL if hasattr(kind, "similar_items")]
METRICS = "cosine", "tfidf", "bm25", "jaccard", "overlap"
FLOATS = np.float64, np.float32


def make_matrix(n_users=40, n_items=13, seed=0):
    """Counts; the last two items are nobody's, and the first user has no item."""
    rng = np.random.default_rng(seed)
    taste = rng.normal(size=(n_users, 2)) @ rng.normal(size=(2, n_items))
    chosen = rng.random(taste.shape) < 1 / (1 + np.exp(1 - 2 * taste))
    X = np.where(chosen, rng.integers(1, 4, size=taste.shape), 0).astype(float)
    X[0], X[:, -2:] = 0, 0
    return X


X = make_matrix()
ROWS = np.vstack([make_matrix(6, seed=1), X[3:5]])  # new users, and two of those of X


def scores_of(model, rows=ROWS):
    n_rows, n_items = rows.shape
    pairs = np.repeat(np.arange(n_rows), n_items), np.tile(np.arange(n_items), n_rows)
    return model.predict_pairs(rows, *pairs).reshape(rows.shape)


def weights_of(model):
    weights = model.item_weights_
    return weights.toarray() if sparse.issparse(weights) else weights


def tolerance(dtype):
    return {"rtol": 1e-4, "atol": 1e-4} if dtype == np.float32 else {"rtol": 1e-9, "atol": 1e-10}


# What is learned


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("statistic", ["count", "sum"])
def test_popularity(statistic, dtype):
    model = PopularityRecommender(statistic).fit(X.astype(dtype))
    expected = (X > 0).sum(axis=0) if statistic == "count" else X.sum(axis=0)
    assert model.popularity_.dtype == dtype
    assert_array_equal(model.popularity_, expected)
    assert_array_equal(scores_of(model), np.tile(expected, (len(ROWS), 1)))


def test_popularity_of_decayed_events():
    log = [("ann", "tea", 0), ("bob", "tea", 10), ("eve", "tea", 12), ("ann", "mate", 100)]
    encoder = UserItemEncoder(time=2)
    events = encoder.fit_transform(log)
    events.data = 0.5 ** ((100 - encoder.transform_time(log).data) / 30)
    best = {
        statistic: PopularityRecommender(statistic)
        .fit(events)
        .recommend(events[:1], 1, exclude_seen=False, item_ids=encoder.item_ids_)[0][0, 0]
        for statistic in ("count", "sum")
    }
    assert best == {"count": "tea", "sum": "mate"}


@pytest.mark.pairwise
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("k", [1, 3, 100])
@pytest.mark.parametrize("shrinkage", [0.0, 2.5])
@pytest.mark.parametrize("metric", METRICS)
def test_neighbors_of_items(metric, shrinkage, k, dtype):
    model = ItemKNNRecommender(k, metric=metric, shrinkage=shrinkage, k1=1.5, b=0.4)
    model.fit(X.astype(dtype))
    expected = item_neighbors(X, metric, shrinkage, 1.5, 0.4, k)
    assert model.item_weights_.dtype == dtype and model.item_weights_.has_sorted_indices
    assert ((model.item_weights_ != 0).sum(axis=0) <= k).all()
    if dtype == np.float64 or k == 100:  # rounded, other items may be the nearest
        assert_allclose(weights_of(model), expected, **tolerance(dtype))
        assert_allclose(scores_of(model), ROWS @ expected, **tolerance(dtype))


@pytest.mark.pairwise
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("k", [1, 4, 100])
@pytest.mark.parametrize("shrinkage", [0.0, 2.5])
@pytest.mark.parametrize("metric", METRICS)
def test_neighbors_of_users(metric, shrinkage, k, dtype):
    model = UserKNNRecommender(k, metric=metric, shrinkage=shrinkage, k1=1.5, b=0.4)
    model.fit(sparse.csr_matrix(X.astype(dtype)))
    scores = scores_of(model)
    assert scores.dtype == dtype
    if dtype == np.float64 or k == 100:
        expected = user_neighbor_scores(X, ROWS, metric, shrinkage, 1.5, 0.4, k)
        assert_allclose(scores, expected, **tolerance(dtype))


def test_of_equal_neighbors_the_first_are_kept():
    equal = np.ones((5, 300))
    model = ItemKNNRecommender(3, metric="jaccard").fit(equal)
    expected = np.zeros((300, 300))
    expected[:3] = 1
    for j in range(3):
        expected[[j, 3], j] = 0, 1
    assert_array_equal(weights_of(model), expected)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("alpha", [0.5, 30.0])
def test_ease(alpha, dtype):
    model = EASERecommender(alpha).fit(X.astype(dtype))
    expected = ease_weights(X, alpha)
    assert model.item_weights_.dtype == dtype
    assert_allclose(model.item_weights_, expected, **tolerance(dtype))
    assert (np.diag(model.item_weights_) == 0).all()
    assert_allclose(scores_of(model), ROWS @ expected, **tolerance(dtype))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.6), (0.6, 0.0), (0.0, 0.3), (1.4, 1.2)])
@pytest.mark.parametrize("k", [2, 100])
def test_rp3beta(k, alpha, beta, dtype):
    model = RP3betaRecommender(k, alpha=alpha, beta=beta).fit(X.astype(dtype))
    assert model.item_weights_.dtype == dtype
    if dtype == np.float64 or k == 100:
        expected = rp3beta_weights(X, alpha, beta, k)
        assert_allclose(weights_of(model), expected, **tolerance(dtype))
        assert_allclose(scores_of(model), ROWS @ expected, **tolerance(dtype))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize(("alpha", "alpha_l1"), [(1.0, 2.0), (20.0, 0.1), (0.0, 5.0), (3.0, 0.0)])
def test_slim(alpha, alpha_l1, positive, dtype):
    tol = 1e-4 if dtype == np.float32 else 1e-11
    options = {"alpha_l1": alpha_l1, "positive": positive, "tol": tol, "max_iter": 10_000}
    model = SLIMRecommender(alpha, **options).fit(X.astype(dtype))
    weights = weights_of(model)
    assert weights.dtype == dtype and (np.diag(weights) == 0).all()
    assert not positive or (weights >= 0).all()
    expected = slim_weights(X, alpha, alpha_l1, positive)
    found, best = (slim_objectives(X, W, alpha, alpha_l1) for W in (weights, expected))
    assert_allclose(found, best, rtol=1e-4 if dtype == np.float32 else 1e-9)
    if dtype == np.float64:
        assert_allclose(weights, expected, atol=1e-6)


def test_slim_without_l1_and_signs_is_ease():
    model = SLIMRecommender(30.0, alpha_l1=0.0, positive=False, tol=1e-10, max_iter=10_000).fit(X)
    assert_allclose(weights_of(model), EASERecommender(30.0).fit(X).item_weights_, atol=1e-7)


def test_slim_with_more_items_than_join_at_once():
    """The working set grows, and its matrix with it."""
    many = make_matrix(300, size(90, 50), seed=2)
    model = SLIMRecommender(20.0, alpha_l1=0.5, positive=False, tol=1e-9, max_iter=10_000)
    weights = weights_of(model.fit(many))
    assert (weights != 0).sum(axis=0).max() > size(64, 32)
    gradient = many.T @ (many - many @ weights) - 20 * weights
    np.fill_diagonal(gradient, 0)
    assert_allclose(gradient[weights != 0], 0.5 * np.sign(weights[weights != 0]), atol=1e-5)
    assert np.abs(gradient).max() <= 0.5 + 1e-5


def test_slim_that_does_not_converge():
    with pytest.warns(ConvergenceWarning, match="max_iter=1 sweeps were not enough"):
        model = SLIMRecommender(0.1, alpha_l1=0.1, max_iter=1, tol=1e-9).fit(X)
    assert model.n_iter_ == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert 1 < SLIMRecommender().fit(X).n_iter_ < 300


@pytest.mark.parametrize("kind", [ItemKNNRecommender, RP3betaRecommender, EASERecommender])
def test_scale_free_models_find_the_groups(kind):
    groups = np.kron(np.eye(2), np.ones((30, 6)))
    groups[np.arange(60), np.arange(60) % 6 + 6 * (np.arange(60) >= 30)] = 0
    items, _ = kind().fit(groups).recommend(groups, 1)
    assert_array_equal(items[:, 0] // 6, np.arange(60) // 30)


# What is served


def expected_recommendations(scores, hidden, n):
    scores = np.where(hidden, -np.inf, scores)
    items = np.argsort(-scores, axis=1, kind="stable")[:, :n]
    best = np.take_along_axis(scores, items, axis=1)
    return np.where(np.isneginf(best), -1, items), best


@pytest.mark.parametrize("kind", ALL)
def test_recommendations_are_the_items_of_the_best_scores(kind):
    model = kind().fit(X)
    scores = scores_of(model)
    for n in (1, 4, 13):
        items, values = model.recommend(ROWS, n)
        expected, best = expected_recommendations(scores, ROWS > 0, n)
        assert_array_equal(items, expected)
        assert_array_equal(values, best)
    items, values = model.recommend(ROWS, 50, exclude_seen=False)
    assert_array_equal(items, expected_recommendations(scores, False, 13)[0])


@pytest.mark.parametrize("kind", ALL)
def test_candidates_and_exclusions(kind):
    model = kind().fit(X)
    scores, no = scores_of(model), np.ones(ROWS.shape, bool)
    some = [9, 2, 4, 11]
    no[:, some] = False
    items, values = model.recommend(ROWS, 3, candidates=some)
    expected, best = expected_recommendations(scores, no | (ROWS > 0), 3)
    assert_array_equal(items, expected)
    assert_array_equal(values, best)
    items, _ = model.recommend(ROWS, 5, exclude=[0, 1], exclude_seen=False)
    assert_array_equal(items, expected_recommendations(scores, np.arange(13)[None] < 2, 5)[0])
    each = np.random.default_rng(3).random(ROWS.shape) < 0.4
    items, _ = model.recommend(ROWS, 5, exclude=sparse.csr_matrix(each), candidates=some)
    hidden = each | (ROWS > 0) | no
    assert_array_equal(items[:, :4], expected_recommendations(scores, hidden, 5)[0][:, :4])
    with pytest.raises(ValueError, match="No items are left"):
        model.recommend(ROWS, candidates=[])


@pytest.mark.parametrize("kind", ALL)
def test_pairs(kind):
    model = kind().fit(X)
    whole = scores_of(model)
    rows, items = np.array([3, -1, 0, 3, 7]), np.array([2, 1, -1, 0, 12])
    found = model.predict_pairs(ROWS, rows, items)
    unknown = scores_of(model, np.zeros((1, 13)))[0]
    assert_array_equal(found, [whole[3, 2], unknown[1], 0, whole[3, 0], whole[7, 12]])
    assert model.predict_pairs(ROWS, [], []).shape == (0,)
    by_name = kind().fit(pd.DataFrame(X, columns=[f"i{n}" for n in range(13)]))
    frame = pd.DataFrame(ROWS, columns=[f"i{n}" for n in range(13)])
    assert_array_equal(by_name.predict_pairs(frame, [3], ["i2"]), whole[3, 2])


@pytest.mark.parametrize("kind", ALL)
def test_users_without_items_get_something(kind):
    items, scores = kind().fit(X).recommend(np.zeros((2, 13)), 3)
    popular = kind is PopularityRecommender
    assert_array_equal(items[0], items[1])
    assert (items >= 0).all() and ((scores > 0) == popular).all()


@pytest.mark.parametrize("kind", ITEM_ITEM)
def test_similar_items(kind):
    model = kind().fit(X)
    weights = weights_of(model)
    found, values = model.similar_items([4, 12, 0], 13)
    alone = np.eye(13)[[4, 12, 0]]
    expected, best = expected_recommendations(weights[[4, 12, 0]], alone > 0, 13)
    assert_array_equal(found, expected)
    assert_allclose(values, best)
    frame = model.similar_items(["c"], 2, output="pandas", item_ids=list("abcdefghijklm"))
    assert frame["item"].tolist() == ["c", "c"] and frame["rank"].tolist() == [1, 2]
    with pytest.raises(ValueError, match="items must be between 0 and 12"):
        model.similar_items([13])
    with pytest.raises(TypeError, match="n_items must be an integer"):
        model.similar_items([1], 0.5)


@pytest.mark.parametrize("kind", ALL)
def test_frames_and_names(kind):
    log = [("ann", "tea"), ("ann", "milk"), ("bob", "tea"), ("bob", "mate"), ("eve", "milk")]
    encoder = UserItemEncoder()
    matrix = encoder.fit_transform(log)
    model = kind().fit(matrix)
    names = {"user_ids": encoder.user_ids_, "item_ids": encoder.item_ids_}
    frame = model.recommend(matrix, 2, output="pandas", **names)
    assert list(frame) == ["user", "item", "score", "rank"]
    assert set(zip(frame["user"], frame["item"], strict=True)).isdisjoint(log)
    assert set(frame["user"]) == {"ann", "bob", "eve"}
    polar = model.recommend(matrix, 2, output="polars", **names)
    assert isinstance(polar, pl.DataFrame) and polar["item"].to_list() == frame["item"].tolist()
    chosen = model.recommend(matrix, candidates=["mate"], item_ids=encoder.item_ids_)[0]
    assert set(chosen.ravel()) == {"mate", None}


@pytest.mark.parametrize("kind", ALL)
def test_scorers_searches_and_pipelines(kind):
    visible, hidden = split_entries(make_matrix(80, 13, seed=5), random_state=0)
    scorer = make_ranking_scorer("ndcg", k=3)
    model = kind().fit(visible)
    ranked = model.recommend(visible, 3)[0]
    assert scorer(model, visible, hidden) == ndcg_at_k(hidden, ranked, 3)
    pipe = make_pipeline(FunctionTransformer(np.log1p), kind())
    step = kind.__name__.lower()
    name = next(iter(inspect.signature(kind).parameters))
    values = {"statistic": ["count", "sum"], "n_neighbors": [2, 5]}.get(name, [1.0, 10.0])
    search = GridSearchCV(pipe, {f"{step}__{name}": values}, scoring=scorer, cv=2)
    assert 0 < search.fit(visible, hidden).best_score_ < 1
    items, _ = recommend(search, visible, 2)
    assert items.shape == (80, 2)
    assert 0 < GridSearchCV(kind(), {name: values}, cv=2).fit(visible).best_score_ < 1


@pytest.mark.parametrize("kind", ALL)
def test_the_score_is_that_of_held_out_entries(kind):
    likes = make_matrix(80, 13, seed=5)
    model = kind().fit(likes)
    visible, hidden = model._hold_out(likes)
    assert model.score(likes) == ndcg_at_k(hidden, model.recommend(visible, 10)[0], 10)
    assert_array_equal(visible.indices, MFRecommender().fit(likes)._hold_out(likes)[0].indices)
    with pytest.raises(ValueError, match="needs a row with at least two entries"):
        model.score(np.eye(13))


# In all forms, with all numbers of threads


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(top_k, "SCORES", 40)
    monkeypatch.setattr(neighbors, "BLOCK", 3)
    monkeypatch.setattr(slim, "BLOCK", 2)


def answers(model, rows=ROWS):
    kept = {name: value for name, value in vars(model).items() if name.endswith("_")}
    kept = {n: v.toarray() if sparse.issparse(v) else v for n, v in kept.items()}
    kept["items"], kept["scores"] = model.recommend(rows, 5)
    kept["pairs"] = scores_of(model, rows)
    return kept


def assert_same(one, other):
    assert set(one) == set(other)
    for name in one:
        assert_array_equal(one[name], other[name], err_msg=name)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", ALL)
def test_results_do_not_depend_on_threads_and_blocks(kind, dtype, request):
    once = answers(kind().fit(X.astype(dtype)))
    request.getfixturevalue("small_blocks")
    for n_jobs in (1, 2, 3):
        assert_same(once, answers(kind(n_jobs=n_jobs).fit(X.astype(dtype))))


@pytest.mark.parametrize("kind", ALL)
def test_forms_of_X(kind):
    once = answers(kind().fit(X))
    wide = sparse.csr_matrix(X)
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    shared = sparse.csr_matrix(X)
    for array in (shared.data, shared.indices, shared.indptr):
        array.flags.writeable = False
    for form in (
        sparse.csc_array(X),
        sparse.coo_matrix(X),
        wide,
        shared,
        X.astype(int),
        X.tolist(),
    ):
        assert_same(once, answers(kind().fit(form)))
    stored = sparse.csr_matrix(X + 1)
    stored.data -= 1  # zeros are stored, and mean nothing
    assert_same(once, answers(kind().fit(stored)))


@pytest.mark.parametrize("kind", ALL)
def test_copies(kind):
    model = kind().fit(X)
    assert_same(answers(model), answers(pickle.loads(pickle.dumps(model))))
    assert_same(answers(model), answers(clone(model).fit(X)))
    single = model.recommend(ROWS.astype(np.float32), 3)
    assert single[1].dtype == np.float64
    assert_array_equal(single[0], model.recommend(ROWS, 3)[0])


def test_scores_of_many_items_are_never_stored_together(monkeypatch):
    """What a thread holds is bounded: few rows at a time if there are many items."""
    sizes = []
    monkeypatch.setattr(top_k, "SCORES", 2000)
    original = top_k.best_scores
    monkeypatch.setattr(
        top_k,
        "best_scores",
        lambda table, *rest: (sizes.append(table.size), original(table, *rest)),
    )
    wide = sparse.random_array((50, 700), density=0.01, rng=np.random.default_rng(0)).tocsr()
    RP3betaRecommender().fit(wide).recommend(wide, 3)
    assert len(sizes) == 25 and max(sizes) <= 2000


def test_the_gram_matrix_is_computed_in_blocks(small_blocks):
    matrix = sparse.csr_matrix(X)
    assert_allclose(gram.dense_gram(matrix, 2), X.T @ X)
    assert_allclose(ease(matrix, 3.0, 1), ease_weights(X, 3.0))


def test_long_rankings():
    """More places than the kernel keeps by insertion."""
    many = make_matrix(30, 700, seed=3)
    model = PopularityRecommender("sum").fit(many)
    items, _ = model.recommend(many, 600)
    scores = scores_of(model, many)
    assert_array_equal(items, expected_recommendations(scores, many > 0, 600)[0])


@pytest.mark.parametrize("kind", ALL)
def test_defaults_are_within_the_search_space(kind):
    model = kind()
    for name, values in search_space(model).items():
        default = getattr(model, name)
        if isinstance(values, list):
            assert default in values
        else:
            low, high = values.support()
            assert low < default < high


# What is refused


@pytest.mark.parametrize("kind", ALL)
def test_matrices_that_cannot_be_fitted(kind):
    for wrong, message in (
        (np.zeros((3, 2)), "X has no stored entries"),
        (-X, f"Negative values in data passed to X in {kind.__name__}|Negative values"),
        (np.where(X > 2, np.nan, X), "Input X contains NaN"),
        (np.where(X > 2, "a", "b"), "UserItemEncoder makes one from a log"),
    ):
        model = kind().fit(X)
        before = answers(model)
        with pytest.raises(ValueError, match=message) as caught:
            model.fit(wrong)
        assert "feedback" not in str(caught.value)
        assert_same(before, answers(model))
    with pytest.raises(NotFittedError):
        kind().recommend(X)
    with pytest.raises(ValueError, match=r"12 features, but .* expecting 13"):
        kind().fit(X).recommend(X[:, 1:])
    with pytest.warns(UserWarning, match="looks like a log"):
        kind().fit(np.stack([np.arange(60), np.arange(60) % 7], axis=1))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", ALL)
def test_huge_values(kind, dtype):
    """They are either of no effect, or refused with a remedy."""
    huge = (X / 3).astype(dtype) * (np.finfo(dtype).max / 4)
    try:
        scores = kind().fit(huge).recommend(huge, 2)[1]
    except ValueError as error:
        assert "scale" in str(error)
    else:
        assert np.isfinite(scores).all() or np.isneginf(scores).any()
        assert not np.isnan(scores).any()


BAD = [
    (PopularityRecommender, "statistic", "mean", ValueError),
    (ItemKNNRecommender, "n_neighbors", 0, ValueError),
    (ItemKNNRecommender, "metric", "euclidean", ValueError),
    (UserKNNRecommender, "shrinkage", -1, ValueError),
    (UserKNNRecommender, "k1", "x", TypeError),
    (ItemKNNRecommender, "b", 1.5, ValueError),
    (EASERecommender, "alpha", 0, ValueError),
    (EASERecommender, "max_items", 2.5, TypeError),
    (RP3betaRecommender, "alpha", -0.1, ValueError),
    (RP3betaRecommender, "beta", None, TypeError),
    (SLIMRecommender, "alpha_l1", -1, ValueError),
    (SLIMRecommender, "positive", "yes", TypeError),
    (SLIMRecommender, "tol", 0, ValueError),
    (SLIMRecommender, "max_iter", 0, ValueError),
    *((kind, "n_jobs", 0, ValueError) for kind in ALL),
]


@pytest.mark.parametrize(("kind", "name", "value", "error"), BAD)
def test_bad_parameters(kind, name, value, error):
    with pytest.raises(error, match=f"{name} must be"):
        kind(**{name: value}).fit(X)


def test_ease_of_too_many_items():
    many = sparse.csr_matrix((np.ones(3), ([0, 1, 1], [0, 1, 29_999])))
    with pytest.raises(ValueError, match=r"30000 items.* 7\.2 GB .*max_items=20000.*float32"):
        EASERecommender().fit(many)
    with pytest.raises(ValueError, match=r"30000 items.* 3\.6 GB in float32"):
        EASERecommender().fit(many.astype(np.float32))
    with pytest.raises(ValueError, match="max_items=12"):
        EASERecommender(max_items=12).fit(X)
    EASERecommender(max_items=13).fit(X)


def test_ease_without_enough_regularization():
    """More items than users: without a penalty, there are many solutions."""
    twice = np.tile(X, 3)
    with pytest.raises(ValueError, match=r"alpha=1e-300 is too small .* Raise alpha"):
        EASERecommender(1e-300).fit(twice)
