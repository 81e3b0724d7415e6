"""Ranking metrics against slow loops and against ranx; the scorers within scikit-learn."""

import math
import pickle

import numpy as np
import pytest
from helpers import size
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn import config_context
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler

from skfm import FMRecommender, MFRecommender
from skfm.metrics import (
    average_precision_at_k,
    hit_rate,
    make_ranking_scorer,
    mrr,
    ndcg_at_k,
    precision_at_k,
    recall_at_k,
)

# The slow twins: one row, its gains by item, its ranking.


def slow_ndcg(gains, ranking, k):
    dcg = sum(gains.get(item, 0) / math.log2(i + 2) for i, item in enumerate(ranking[:k]))
    best = sorted(gains.values(), reverse=True)
    return dcg / sum(gain / math.log2(i + 2) for i, gain in enumerate(best[:k]))


def slow_recall(gains, ranking, k):
    return sum(item in gains for item in ranking[:k]) / len(gains)


def slow_precision(gains, ranking, k):
    return sum(item in gains for item in ranking[:k]) / k


def slow_average_precision(gains, ranking, k):
    total = 0
    for i, item in enumerate(ranking[:k]):
        if item in gains:
            total += slow_precision(gains, ranking, i + 1)
    return total / len(gains)


def slow_mrr(gains, ranking, k):
    for i, item in enumerate(ranking[:k]):
        if item in gains:
            return 1 / (i + 1)
    return 0


def slow_hit_rate(gains, ranking, k):
    return float(any(item in gains for item in ranking[:k]))


METRICS = [
    (ndcg_at_k, slow_ndcg, "ndcg"),
    (recall_at_k, slow_recall, "recall"),
    (precision_at_k, slow_precision, "precision"),
    (average_precision_at_k, slow_average_precision, "average_precision"),
    (mrr, slow_mrr, "mrr"),
    (hit_rate, slow_hit_rate, "hit_rate"),
]
each_metric = pytest.mark.parametrize("metric", [metric for metric, _, _ in METRICS])
Y = np.array([[0, 2, 0, 1], [0, 0, 0, 0], [1, 0, 3, 0]])
ITEMS = np.array([[1, 0], [2, 3], [0, 2]])


@st.composite
def problems(draw):
    n_rows, n_items = draw(st.integers(1, 6)), draw(st.integers(1, 7))
    n_ranked = draw(st.integers(0, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    Y = rng.choice([0, 0, 0, -1, 1, 2.5], size=(n_rows, n_items))
    Y[rng.integers(n_rows), rng.integers(n_items)] = draw(st.sampled_from([0.5, 1e-300, 1e300]))
    items = np.full((n_rows, n_ranked), -1)
    for row in items:  # some items, each once, and places without one anywhere between them
        n = min(rng.integers(n_ranked + 1), n_items)
        row[rng.permutation(n_ranked)[:n]] = rng.permutation(n_items)[:n]
    return Y, items, draw(st.integers(1, 11))


@settings(max_examples=size(200, 100), deadline=None)
@given(problems())
def test_against_slow_loops(problem):
    Y, items, k = problem
    rows = [{j: gain for j, gain in enumerate(row) if gain > 0} for row in Y.tolist()]
    stored = sparse.csr_array(Y)
    stored.data[stored.data < 0] = 0
    for metric, slow, _ in METRICS:
        expected = [
            slow(gains, ranking, k)
            for gains, ranking in zip(rows, items.tolist(), strict=True)
            if gains
        ]
        values = metric(Y, items, k, average=False)
        np.testing.assert_allclose(values, expected, rtol=1e-12, atol=1e-15)
        assert values.dtype == np.float64 and (values >= 0).all() and (values <= 1).all()
        np.testing.assert_array_equal(metric(stored, items, k, average=False), values)
        mean = metric(Y, items.tolist(), k)
        assert type(mean) is float and mean == values.mean()


def test_against_ranx():
    ranx = pytest.importorskip("ranx")
    rng = np.random.default_rng(0)
    Y = rng.choice([0, 0, 0, 0, 1, 2, 3], size=(40, 30))
    items = rng.permuted(np.tile(np.arange(30), (40, 1)), axis=1)[:, :12]
    qrels = ranx.Qrels(
        {str(i): {str(j): int(row[j]) for j in np.flatnonzero(row)} for i, row in enumerate(Y)}
    )
    run = ranx.Run(
        {str(i): {str(j): 1 / (r + 1) for r, j in enumerate(row)} for i, row in enumerate(items)}
    )
    names = ["ndcg", "recall", "precision", "map", "mrr", "hit_rate"]
    for k in (1, 5, 12, 20):
        expected = ranx.evaluate(qrels, run, [f"{name}@{k}" for name in names])
        for name, (metric, _, _) in zip(names, METRICS, strict=True):
            assert metric(Y, items, k) == pytest.approx(expected[f"{name}@{k}"], rel=1e-9)


def test_values_worked_out_by_hand():
    Y = np.array([[0, 3, 1, 0, 2]])
    items = np.array([[1, 0, 4]])
    assert ndcg_at_k(Y, items, 3) == pytest.approx((3 + 2 / 2) / (3 + 2 / math.log2(3) + 1 / 2))
    assert recall_at_k(Y, items, 3) == pytest.approx(2 / 3)
    assert precision_at_k(Y, items, 4) == pytest.approx(2 / 4)
    assert average_precision_at_k(Y, items, 3) == pytest.approx((1 + 2 / 3) / 3)
    assert mrr(Y, [[0, 3, 4]], 3) == pytest.approx(1 / 3)
    assert mrr(Y, [[0, 3, 4]], 2) == hit_rate(Y, [[0, 3, 4]], 2) == 0


@each_metric
def test_a_perfect_ranking_gets_exactly_1(metric):
    rng = np.random.default_rng(0)
    Y = rng.uniform(0.1, 1e3, size=(300, 8))
    items = np.argsort(-Y, axis=1)
    np.testing.assert_array_equal(metric(Y, items, 8, average=False), 1)
    if metric is ndcg_at_k:  # also where there are more relevant items than places
        np.testing.assert_array_equal(metric(Y, items, 3, average=False), 1)


def test_ndcg_knows_no_unit():
    expected = ndcg_at_k(Y, ITEMS, 2)
    for unit in (1e-300, 1e-3, 5e307):
        assert ndcg_at_k(Y * unit, ITEMS, 2) == pytest.approx(expected, rel=1e-12)


@each_metric
def test_containers_and_types(metric):
    expected = metric(Y, ITEMS, 2)
    for kind in (sparse.csr_matrix, sparse.csr_array, sparse.csc_matrix, sparse.coo_array):
        for dtype in (np.int8, np.float32, np.float64):
            assert metric(kind(Y.astype(dtype)), ITEMS, 2) == expected
    assert metric((Y > 0).tolist(), ITEMS, 2) == metric(sparse.csr_matrix(Y > 0), ITEMS, 2)
    for dtype in (np.int8, np.uint16, np.uint64):
        assert metric(Y, ITEMS.astype(dtype), 2) == expected
    pd = pytest.importorskip("pandas")
    assert metric(pd.DataFrame(Y), pd.DataFrame(ITEMS), 2) == expected


@each_metric
def test_duplicates_are_summed_and_nothing_is_changed(metric):
    data, indices = np.array([1.0, 1, 1, 3, -3, 1]), np.array([3, 1, 1, 2, 0, 0])
    duplicated = sparse.csr_matrix((data, indices, [0, 3, 3, 6]), shape=(3, 4))
    expected = sparse.csr_matrix([[0, 2, 0, 1], [0, 0, 0, 0], [0, 0, 3, 0]])
    before = duplicated.copy()
    items = ITEMS.copy()
    for value in (data, indices, items):
        value.flags.writeable = False
    np.testing.assert_array_equal(
        metric(duplicated, items, 2, average=False), metric(expected, items, 2, average=False)
    )
    np.testing.assert_array_equal(duplicated.indices, before.indices)
    np.testing.assert_array_equal(duplicated.data, before.data)


def test_rows_without_a_relevant_item_are_not_judged():
    assert recall_at_k(Y, ITEMS, 2) == 0.75
    np.testing.assert_array_equal(recall_at_k(Y, ITEMS, 2, average=False), [0.5, 1])


@each_metric
def test_missing_places_are_misses(metric):
    expected = metric(Y, ITEMS, 4)
    assert metric(Y, np.c_[ITEMS, np.full((3, 2), -1)], 4) == expected
    assert metric(Y, np.full((3, 2), -1), 4) == 0
    assert metric(Y, np.empty((3, 0), dtype=int), 4) == 0
    assert metric(Y, ITEMS, 10**9) == pytest.approx(
        expected * 4e-9 if metric is precision_at_k else expected
    )


@each_metric
def test_only_the_first_places_are_read(metric):
    rest = np.array([[1, 99], [2, 2], [0, -7]])
    assert metric(Y, np.c_[ITEMS, rest], 2) == metric(Y, ITEMS, 2)


def test_many_rows_take_little_memory():
    """A dense matrix of this shape would need 8 TB."""
    rng = np.random.default_rng(0)
    rows, columns = np.arange(10_000) * 100, rng.integers(10**6, size=10_000)
    Y = sparse.coo_matrix((np.ones(10_000), (rows, columns)), shape=(10**6, 10**6))
    items = np.zeros((10**6, 2), dtype=np.int32)
    items[rows[:5000], 0], items[rows[5000:], 1] = columns[:5000], columns[5000:]
    items[rows[:5000], 1] = items[rows[5000:], 0] = -1
    assert mrr(Y, np.where(items.any(axis=1, keepdims=True), items, -1), 2) == 0.75


@each_metric
@pytest.mark.parametrize(
    ("Y_hidden", "items", "message"),
    [
        (Y, [[0, 1], [2, 2], [0, 1]], "items must not repeat .* row 1 has item 2 more"),
        (Y, [[0, 4], [0, 1], [0, 1]], "items must be in the range from -1 to 3"),
        (Y, [[0, -2], [0, 1], [0, 1]], "items must be in the range"),
        (Y, [[0, 1]], "items must have one row for each of the 3 rows"),
        (Y, [0, 1, 2], "items must have one row"),
        (Y, [[0.0], [1.0], [2.0]], "items must contain integers"),
        (Y, [["a"], ["b"], ["c"]], "items must contain integers"),
        (Y, [[True], [True], [True]], "items must contain integers"),
        (Y * 0, ITEMS, "Y_hidden has no positive value"),
        (-Y, ITEMS, "Y_hidden has no positive value"),
        (sparse.csr_matrix((0, 4)), np.empty((0, 2), int), "Y_hidden has no positive value"),
        (Y[0], ITEMS, "Y_hidden must be a matrix"),
        (np.where(Y, Y, np.nan), ITEMS, "Y_hidden contains NaN"),
        (sparse.csr_matrix(np.where(Y, np.inf, 0)), ITEMS, "Y_hidden contains infinity"),
    ],
)
def test_bad_input(metric, Y_hidden, items, message):
    with pytest.raises(ValueError, match=message):
        metric(Y_hidden, items, 2)


@each_metric
def test_bad_arguments(metric):
    for k, error in [(0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError)]:
        with pytest.raises(error, match=r"\bk\b"):
            metric(Y, ITEMS, k)
    with pytest.raises(TypeError, match="average"):
        metric(Y, ITEMS, average=1)
    with pytest.raises(TypeError, match="items must be a dense array"):
        metric(Y, sparse.csr_matrix(ITEMS))
    damaged = sparse.csr_matrix(Y)
    damaged.indices[0] = 4
    with pytest.raises(ValueError, match="Y_hidden is a damaged sparse matrix"):
        metric(damaged, ITEMS)


# Scorers


class Popular(BaseEstimator):
    """Ranks the columns by their sums; columns that a row has are not recommended again."""

    def __init__(self, sign=1):
        self.sign = sign

    def fit(self, X, y=None):
        if hasattr(X, "columns"):
            self.feature_names_in_ = np.asarray(X.columns, dtype=object)
        self.scores_ = self.sign * np.asarray(X.sum(axis=0), dtype=float).ravel()
        return self

    def recommend(self, X, n_items=10, *, exclude_seen=True, candidates=None, exclude=None):
        assert n_items <= X.shape[1]
        names = getattr(self, "feature_names_in_", None)
        X = X.toarray() if sparse.issparse(X) else np.asarray(X)
        scores = np.tile(self.scores_, (X.shape[0], 1))
        if candidates is not None:
            if names is not None and np.asarray(candidates).dtype != bool:
                candidates = np.flatnonzero(np.isin(names, candidates))
            scores[
                :, np.setdiff1d(np.arange(X.shape[1]), np.arange(X.shape[1])[candidates])
            ] = -np.inf
        if exclude_seen:
            scores[X != 0] = -np.inf
        items = np.argsort(-scores, axis=1, kind="stable")[:, :n_items]
        scores = np.take_along_axis(scores, items, axis=1)
        if names is None:
            return np.where(scores == -np.inf, -1, items), scores
        return np.where(scores == -np.inf, None, names[items]), scores


class Recorder(BaseEstimator):
    """Remembers how it was called, and recommends what it was given."""

    def __init__(self, items):
        self.items = items

    def fit(self, X, y=None):
        return self

    def recommend(self, X, **options):
        self.options = options
        return np.asarray(self.items), np.zeros(np.shape(self.items))


def visible_and_hidden(n_rows=60, n_items=12):
    rng = np.random.default_rng(0)
    X = rng.poisson(np.linspace(0.1, 1.2, n_items), size=(n_rows, n_items))
    hidden = rng.random(X.shape) < 0.3
    return sparse.csr_matrix(X * ~hidden), sparse.csr_matrix(X * hidden)


@pytest.mark.parametrize(("metric", "slow", "name"), METRICS)
def test_scorer_is_the_metric_of_the_recommendations(metric, slow, name):
    X, Y_hidden = visible_and_hidden()
    model = Popular().fit(X)
    items, _ = model.recommend(X, 5)
    for function_or_name in (metric, name):
        score = make_ranking_scorer(function_or_name, k=5)(model, X, Y_hidden)
        assert type(score) is float and score == metric(Y_hidden, items, 5)
    items, _ = model.recommend(X, 5, exclude_seen=False)
    scorer = make_ranking_scorer(name, 5, exclude_seen=False)
    assert scorer(model, X, Y_hidden) == metric(Y_hidden, items, 5)


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csr_array, sparse.coo_matrix])
def test_cross_validation(kind):
    X, Y_hidden = visible_and_hidden()
    scorer = make_ranking_scorer("ndcg", 5)
    with config_context(skip_parameter_validation=True):  # it would refuse a sparse y
        scores = cross_val_score(Popular(), kind(X), kind(Y_hidden), scoring=scorer, cv=3)
    search = GridSearchCV(Popular(), {}, scoring=scorer, cv=3).fit(kind(X), kind(Y_hidden))
    assert [search.cv_results_[f"split{i}_test_score"][0] for i in range(3)] == scores.tolist()
    expected = []
    for start in (0, 20, 40):
        test = np.arange(start, start + 20)
        model = Popular().fit(X[np.setdiff1d(np.arange(60), test)])
        expected.append(ndcg_at_k(Y_hidden[test], model.recommend(X[test], 5)[0], 5))
    np.testing.assert_array_equal(scores, expected)
    dense = cross_val_score(Popular(), X.toarray(), Y_hidden.toarray(), scoring=scorer, cv=3)
    np.testing.assert_array_equal(scores, dense)


@pytest.mark.full
def test_grid_search_in_two_processes():
    X, Y_hidden = visible_and_hidden()
    scoring = {"ndcg": make_ranking_scorer("ndcg", 5), "recall": make_ranking_scorer("recall", 5)}
    search = GridSearchCV(
        Popular(),
        {"sign": [-1, 1]},
        scoring=scoring,
        refit="ndcg",
        cv=3,
        n_jobs=2,
        error_score="raise",
    )
    search.fit(X, Y_hidden)
    assert search.best_params_ == {"sign": 1}
    assert search.score(X, Y_hidden) == scoring["ndcg"](search.best_estimator_, X, Y_hidden)
    # As the inner search of a nested one: the scorer is given the search itself.
    assert scoring["ndcg"](search, X, Y_hidden) == search.score(X, Y_hidden)
    Y_hidden = Y_hidden.toarray()
    scores = cross_val_score(search, X, Y_hidden, scoring=scoring["recall"], cv=2)
    assert np.isfinite(scores).all()


def test_pipeline():
    X, Y_hidden = visible_and_hidden()
    X = X.astype(float)
    scorer = make_ranking_scorer("ndcg", 5)
    pipeline = make_pipeline(MaxAbsScaler(), Popular()).fit(X)
    scaled = MaxAbsScaler().fit_transform(X)
    expected = scorer(Popular().fit(scaled), scaled, Y_hidden)
    assert scorer(pipeline, X, Y_hidden) == expected
    assert expected != scorer(Popular().fit(X), X, Y_hidden)
    assert scorer(make_pipeline("passthrough", pipeline).fit(X), X, Y_hidden) == expected
    alone = make_pipeline(Popular()).fit(X)
    assert scorer(alone, X, Y_hidden) == scorer(Popular().fit(X), X, Y_hidden)
    search = GridSearchCV(pipeline, {"popular__sign": [-1, 1]}, scoring=scorer, cv=2)
    assert search.fit(X, Y_hidden).best_params_ == {"popular__sign": 1}


class Half(TransformerMixin, BaseEstimator):
    """A step that drops columns, so that positions mean something else behind it."""

    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        return X[:, ::2]


def test_pipeline_that_drops_columns():
    X, Y_hidden = visible_and_hidden()
    pipeline = make_pipeline(Half(), Popular()).fit(X)
    with pytest.raises(ValueError, match="column for each item"):
        make_ranking_scorer("ndcg")(pipeline, X, Y_hidden)


def test_names_become_positions():
    pd = pytest.importorskip("pandas")
    X, Y_hidden = visible_and_hidden()
    names = [f"item {(7 * j) % 12}" for j in range(12)]  # not in the order of the alphabet
    frame = pd.DataFrame(X.toarray(), columns=names)
    scorer = make_ranking_scorer("ndcg", 12)  # so many that there is padding
    assert (Popular().fit(frame).recommend(frame, 12)[0] == np.array(None)).any()
    hidden_frame = pd.DataFrame(Y_hidden.toarray(), columns=names)
    hidden_sparse_frame = pd.DataFrame.sparse.from_spmatrix(Y_hidden, columns=names)
    options = {"scoring": scorer, "cv": 3, "error_score": "raise"}
    expected = cross_val_score(Popular(), X, Y_hidden.toarray(), **options)
    for hidden in (Y_hidden.toarray(), hidden_frame, hidden_sparse_frame):
        scores = cross_val_score(Popular(), frame, hidden, **options)
        np.testing.assert_array_equal(scores, expected)
    scaler = MaxAbsScaler().set_output(transform="pandas")
    pipeline = make_pipeline(scaler, Popular()).fit(frame)
    assert pipeline[-1].feature_names_in_.tolist() == names
    scaled = MaxAbsScaler().fit_transform(X)
    assert scorer(pipeline, frame, Y_hidden) == scorer(Popular().fit(scaled), scaled, Y_hidden)
    with pytest.raises(ValueError, match="Y_hidden must have the same columns as X in fit"):
        scorer(Popular().fit(frame), frame, hidden_frame[sorted(names)])


def test_names_that_cannot_be_found():
    X = np.eye(2)
    model = Recorder(np.array([["a", None], ["b", "c"]], dtype=object))
    scorer = make_ranking_scorer("ndcg")
    with pytest.raises(ValueError, match="no feature_names_in_"):
        scorer(model, X, X)
    model.feature_names_in_ = np.array(["b", "a"], dtype=object)
    with pytest.raises(ValueError, match="returned 'c', which is not in feature_names_in_"):
        scorer(model, X, X)
    model.feature_names_in_ = np.array(["a", "a"], dtype=object)
    with pytest.raises(ValueError, match="feature_names_in_ contains duplicate names"):
        scorer(model, X, X)


@pytest.mark.parametrize(
    ("k", "options", "n_items"),
    [
        (2, {}, 2),
        (9, {}, 3),
        (9, {"candidates": [2, 0]}, 2),
        (9, {"candidates": np.array(["a", "b"])}, 2),
        (9, {"candidates": np.array([True, False, False])}, 1),
        (1, {"candidates": None, "exclude_seen": False}, 1),
    ],
)
def test_no_more_items_are_asked_for_than_there_are(k, options, n_items):
    model = Recorder([[0], [1], [2]])
    assert make_ranking_scorer("mrr", k, **options)(model, np.eye(3), np.eye(3)) == 1
    assert model.options == {"n_items": n_items, **options}


def test_scorer_with_candidates():
    pd = pytest.importorskip("pandas")
    X, Y_hidden = visible_and_hidden()
    frame = pd.DataFrame(X.toarray(), columns=[f"item {j}" for j in range(12)])
    expected = make_ranking_scorer("recall", candidates=[1, 5])(Popular().fit(X), X, Y_hidden)
    scorer = make_ranking_scorer("recall", candidates=["item 1", "item 5"])
    assert 0 < scorer(Popular().fit(frame), frame, Y_hidden) == expected


def with_repeats(kind, seed=0):
    """A fitted MFRecommender, visible entries, and hidden entries, some of them also visible."""
    rng = np.random.default_rng(seed)
    X = (rng.random((20, 9)) < 0.4) * rng.integers(1, 6, size=(20, 9)).astype(float)
    Y_hidden = (rng.random((20, 9)) < 0.3) * rng.integers(-1, 4, size=(20, 9))
    assert ((X != 0) & (Y_hidden > 0)).sum() > 10
    return MFRecommender(2, feedback=kind, max_iter=3, random_state=0).fit(X), X, Y_hidden


@pytest.mark.parametrize("kind", ["explicit", "implicit"])
def test_what_is_chosen_once_more_is_no_miss(kind):
    model, X, Y_hidden = with_repeats(kind)
    scores = model.inverse_transform(model.transform(X))
    left = np.where((X != 0) & (Y_hidden <= 0), -np.inf, scores)
    items = np.argsort(-left, axis=1, kind="stable")[:, :4]
    items[np.take_along_axis(left, items, axis=1) == -np.inf] = -1
    scorer = make_ranking_scorer("ndcg", 4)
    for hidden in (Y_hidden, sparse.csr_matrix(Y_hidden)):
        assert scorer(model, X, hidden) == ndcg_at_k(Y_hidden, items, 4)
    every = make_ranking_scorer("ndcg", 4, exclude_seen=False)(model, X, Y_hidden)
    assert every == ndcg_at_k(Y_hidden, np.argsort(-scores, axis=1)[:, :4], 4)
    # Without repeats, the ranking is what recommend returns.
    apart = np.where(X != 0, 0, Y_hidden)
    assert scorer(model, X, apart) == ndcg_at_k(apart, model.recommend(X, 4)[0], 4)


def test_repeats_count_alike_for_matrices_and_events():
    """Of what users have, only what they choose once more competes, with what they do not have."""
    X = np.kron(np.eye(2), np.ones((3, 3)))
    users, items = np.nonzero(X)
    options = {"max_iter": 3, "random_state": 0}
    matrix = MFRecommender(2, feedback="implicit", **options).fit(X)
    events = FMRecommender(2, **options).fit(np.eye(6)[users], items)
    again = items % 3 > 0
    Y_hidden = sparse.csr_matrix((np.ones(12), (users[again], items[again])), X.shape)
    few = {"candidates": [0, 1, 2, 3]}  # half of the users have three of these, the others one
    for name, score in (("recall", 1 / 2), ("precision", 1 / 3), ("hit_rate", 1 / 2)):
        scorer = make_ranking_scorer(name, 3, **few)
        assert scorer(matrix, X, Y_hidden) == pytest.approx(score)
        assert scorer(events, np.eye(6)[users[again]], items[again]) == pytest.approx(score)
    scorer = make_ranking_scorer("hit_rate", 6)
    assert scorer(matrix, X, X) == scorer(events, np.eye(6)[users], items) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"candidates": ["i3", "i1", "i8", "i5"]},
        {"exclude": ["i0", "i7"]},
        {"candidates": np.arange(9) % 2 == 1, "exclude_seen": False},
        {},
    ],
)
def test_options_of_a_scorer_of_names(options):
    pd = pytest.importorskip("pandas")
    _, X, Y_hidden = with_repeats("implicit")
    frame = pd.DataFrame(X, columns=[f"i{j}" for j in range(9)])
    Y_hidden[X != 0] = 0
    named = MFRecommender(2, feedback="implicit", max_iter=3, random_state=0).fit(frame)
    n_items = 4 if options.get("candidates") is not None else 5
    names, _ = named.recommend(frame, n_items, **options)
    items = np.array([[-1 if name is None else int(name[1]) for name in row] for row in names])
    found = make_ranking_scorer("recall", 5, **options)(named, frame, Y_hidden)
    assert found == recall_at_k(Y_hidden, items, 5)


def test_rows_of_a_matrix_are_users_whatever_groups_say():
    model, X, Y_hidden = with_repeats("implicit")
    scorer = make_ranking_scorer("ndcg")
    expected = scorer(model, X, Y_hidden)
    assert scorer(model, X, Y_hidden, groups=np.arange(20) // 5) == expected
    popular = Popular().fit(X)
    assert scorer(popular, X, Y_hidden, groups=["a"] * 20) == scorer(popular, X, Y_hidden)


@pytest.mark.parametrize("metric", [name for _, _, name in METRICS] + [hit_rate])
def test_scorer_after_pickle(metric):
    X, Y_hidden = visible_and_hidden()
    model = Popular().fit(X)
    scorer = make_ranking_scorer(metric, 3, exclude_seen=False)
    copy = pickle.loads(pickle.dumps(scorer))
    assert copy(model, X, Y_hidden) == scorer(model, X, Y_hidden)
    assert repr(copy) == repr(scorer)


def test_repr_is_the_call():
    scorer = make_ranking_scorer("average_precision", np.int64(3), exclude_seen=False)
    assert repr(scorer) == "make_ranking_scorer(average_precision_at_k, k=3, exclude_seen=False)"
    assert "make_ranking_scorer(ndcg_at_k, k=10)" in repr(
        GridSearchCV(Popular(), {}, scoring=make_ranking_scorer(ndcg_at_k))
    )


def test_metric_of_ones_own():
    def places(Y_hidden, items, k):
        return np.float32(items.shape[1])

    X, Y_hidden = visible_and_hidden()
    score = make_ranking_scorer(places, 4)(Popular().fit(X), X, Y_hidden)
    assert score == 4 and type(score) is float


def test_bad_scorers():
    for metric in ("map", None, 3):
        with pytest.raises(ValueError, match="metric must be one of 'ndcg'"):
            make_ranking_scorer(metric)
    for k, error in [(0, ValueError), (2.0, TypeError)]:
        with pytest.raises(error, match=r"\bk\b"):
            make_ranking_scorer("ndcg", k)
    with pytest.raises(TypeError, match="n_items"):
        make_ranking_scorer("ndcg", n_items=3)


def test_bad_input_of_a_scorer():
    X, Y_hidden = visible_and_hidden()
    model, scorer = Popular().fit(X), make_ranking_scorer("ndcg")
    with pytest.raises(ValueError, match="Y_hidden is None"):
        scorer(model, X, None)
    with pytest.raises(ValueError, match="Y_hidden must be a matrix"):
        scorer(model, X, np.ones(60))
    with pytest.raises(ValueError, match="Y_hidden must have a row for each row of X"):
        scorer(model, X, Y_hidden[:-1])
    with pytest.raises(TypeError, match=r"MaxAbsScaler\(\) has no method recommend"):
        scorer(MaxAbsScaler(), X, Y_hidden)
    with pytest.raises(TypeError, match="has no method recommend"):
        scorer(make_pipeline(MaxAbsScaler(), MaxAbsScaler()).fit(X), X, Y_hidden)
