"""Splits of entries: what they promise, on random matrices of every kind."""

import warnings

import numpy as np
import pytest
from helpers import size
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn import config_context
from sklearn.base import BaseEstimator
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import Ridge
from sklearn.model_selection import (
    GridSearchCV,
    HalvingRandomSearchCV,
    ParameterSampler,
    RandomizedSearchCV,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skfm import (
    BayesianFMClassifier,
    BayesianFMRegressor,
    FMClassifier,
    FMRecommender,
    FMRegressor,
    MFRecommender,
)
from skfm.metrics import make_ranking_scorer
from skfm.model_selection import (
    EntryKFold,
    leave_last_out,
    search_space,
    split_entries,
    split_users,
)

FORMATS = [
    getattr(sparse, f"{name}_{kind}")
    for name in ("csr", "csc", "coo")
    for kind in ("matrix", "array")
]


def random_entries(n_rows, n_columns, seed, dtype=np.float64):
    """COO matrix with empty rows, full rows and stored zeros, in no order."""
    rng = np.random.default_rng(seed)
    share = rng.choice([0, 0.2, 0.6, 1], size=(n_rows, 1))
    rows, columns = np.nonzero(rng.random((n_rows, n_columns)) < share)
    order = rng.permutation(rows.size)
    values = rng.integers(0, 4, size=rows.size).astype(dtype)
    return sparse.coo_matrix((values, (rows[order], columns[order])), shape=(n_rows, n_columns))


@st.composite
def matrices(draw):
    X = random_entries(
        draw(st.integers(0, 8)),
        draw(st.integers(1, 9)),
        draw(st.integers(0, 2**32)),
        draw(st.sampled_from([np.float64, np.float32, np.int8, np.bool_])),
    )
    return draw(st.sampled_from(FORMATS))(X)


sizes = st.floats(0, 1, exclude_min=True, exclude_max=True) | st.integers(1, 5)
seeds = st.integers(0, 2**32 - 1)
examples = settings(max_examples=size(100, 100), deadline=None)


def by_place(X):
    """Values by (row, column), including stored zeros."""
    X = X.tocoo()
    places = zip(X.row.tolist(), X.col.tolist(), strict=True)
    return dict(zip(places, X.data.tolist(), strict=True))


def counts(X):
    return np.diff(X.tocsr().indptr)


def n_of(test_size, n):
    return test_size if isinstance(test_size, int) else round(test_size * n)


def check_kind(part, X):
    assert sparse.issparse(part) and part.format == "csr" and part.has_canonical_format
    assert part.dtype == X.dtype
    assert type(part) is type(X.tocsr())


def check_parts(X, X_train, X_test):
    for part in (X_train, X_test):
        check_kind(part, X)
        assert part.shape == X.shape
    train, test = by_place(X_train), by_place(X_test)
    assert not train.keys() & test.keys()
    assert {**train, **test} == by_place(X)


def assert_same(parts, others):
    for one, other in zip(parts, others, strict=True):
        np.testing.assert_array_equal(one.indptr, other.indptr)
        np.testing.assert_array_equal(one.indices, other.indices)
        np.testing.assert_array_equal(one.data, other.data)


def all_splits(X, seed=0, time=None):
    """What each split makes of X, in one list."""
    time = X if time is None else time
    parts = [
        *split_entries(X, 0.4, random_state=seed),
        *split_entries(X, 0.4, per_row=False, random_state=seed),
        *leave_last_out(X, time),
        *split_users(X, 0.4, hidden_size=2, random_state=seed),
    ]
    for per_row in (True, False):
        for pair in EntryKFold(3, per_row=per_row, random_state=seed).split(X):
            parts.extend(pair)
    return parts


each_split = pytest.mark.parametrize(
    "split",
    [
        split_entries,
        lambda X: leave_last_out(X, X),
        lambda X: EntryKFold(2).split(X),
        split_users,
    ],
    ids=["split_entries", "leave_last_out", "EntryKFold", "split_users"],
)


# Entries at random


@examples
@given(matrices(), sizes, seeds)
def test_entries_of_each_row(X, test_size, seed):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        X_train, X_test = split_entries(X, test_size, random_state=seed)
    check_parts(X, X_train, X_test)
    check_rows(counts(X), counts(X_test), test_size, caught)


def check_rows(n, n_test, test_size, caught, name="test_size"):
    """Whether rows of so many entries lose so many, and whether it is said if that is too few."""
    last = np.maximum(n - 1, 0)
    if isinstance(test_size, int):
        np.testing.assert_array_equal(n_test, np.minimum(test_size, last))
        wanted = 1
    else:
        n_able = n[n > 1].sum()
        wanted = max(1, round(test_size * n.sum()))
        total = wanted if 2 * wanted <= n_able else max(1, round(test_size * n_able))
        assert n_test.sum() == min(total, last.sum())
        assert (n_test <= last).all()
        # The same share of each row, up to rounding, but of those that are down to one entry.
        some = n > 0
        at_least, at_most = (n_test[some] - 1) / n[some], (n_test + 1)[n_test < last]
        assert at_least.max(initial=0) < (at_most / n[n_test < last]).min(initial=np.inf)
    said = (
        f"{n_test.sum()} of {n.sum()} entries are held out, fewer than {name}={test_size} requires"
    )
    is_short = bool(n.any() and n_test.sum() < wanted)
    assert [str(warning.message).split(":")[0] for warning in caught] == [said] * is_short
    assert all(warning.filename == __file__ for warning in caught)


@examples
@given(matrices(), sizes, seeds)
def test_entries_of_the_whole_matrix(X, test_size, seed):
    if isinstance(test_size, int) and test_size >= X.nnz:
        with pytest.raises(ValueError, match=f"test_size={test_size} must be less than"):
            split_entries(X, test_size, per_row=False)
        return
    X_train, X_test = split_entries(X, test_size, per_row=False, random_state=seed)
    check_parts(X, X_train, X_test)
    assert X_test.nnz == max(0, min(n_of(test_size, X.nnz), X.nnz - 1))


@pytest.mark.parametrize("per_row", [True, False])
def test_each_entry_is_hidden_equally_often(per_row):
    X = sparse.csr_matrix(np.ones((3, 4)))
    total = sum(
        split_entries(X, 0.25, per_row=per_row, random_state=seed)[1].toarray()
        for seed in range(2000)
    )
    np.testing.assert_allclose(total / 2000, 0.25, atol=0.05)


def rows_of_lengths(n):
    indices = np.concatenate([np.arange(k) for k in n])
    return sparse.csr_matrix((np.ones(indices.size), indices, np.append(0, np.cumsum(n))))


@pytest.mark.parametrize("n", [[2, 1, 3, 7, 0, 2, 40, 5, 1, 3], [2, 3]])
def test_entries_of_short_and_of_long_rows_have_the_same_chance(n):
    n = np.array(n)
    X, hidden = rows_of_lengths(n), np.zeros(n.size)
    for seed in range(1000):
        hidden += counts(split_entries(X, 0.2, random_state=seed)[1])
    expected = round(0.2 * n.sum()) / n[n > 1].sum()  # long rows make up for single entries
    np.testing.assert_allclose(hidden[n > 1] / 1000 / n[n > 1], expected, atol=0.03)


@pytest.mark.parametrize(
    ("n", "n_hidden", "is_enough"),
    [
        ([2] * 100, 40, True),
        ([3] * 100, 60, True),
        ([1] * 60 + [2] * 60, 36, True),
        ([1] * 100 + [2] * 50, 40, True),
        ([1] * 160 + [2] * 50, 20, False),  # half of what can be hidden, and a fifth of that
        ([1] * 10, 0, False),
        ([2], 1, True),
    ],
)
def test_short_rows(n, n_hidden, is_enough):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        X_train, X_test = split_entries(rows_of_lengths(n), random_state=0)
    assert X_test.nnz == n_hidden and (counts(X_train) > 0).all()
    assert [warning.category for warning in caught] == [UserWarning] * (not is_enough)


def test_the_default_hides_a_fifth_of_each_row():
    X_train, X_test = split_entries(np.ones((4, 50)))
    assert counts(X_test).tolist() == [10] * 4 and counts(X_train).tolist() == [40] * 4


# The last entries


@examples
@given(matrices(), st.integers(1, 4), seeds)
def test_last_entries(X, n_entries, seed):
    rng = np.random.default_rng(seed)
    time = X.tocsr().astype(np.int64)
    time.data = rng.integers(-2, 3, size=time.nnz)  # zeros and ties among them
    X_train, X_test = leave_last_out(X, type(X)(time), n_entries)
    check_parts(X, X_train, X_test)
    when = by_place(time)
    for i in range(X.shape[0]):
        row = sorted((moment, j) for (row, j), moment in when.items() if row == i)
        last = row[max(1, len(row) - n_entries) :]
        assert {j for row, j in by_place(X_test) if row == i} == {j for _, j in last}


def test_large_times_are_exact():
    """Nanoseconds need more than the 53 bits of a float."""
    start = 2**62
    time = sparse.csr_matrix(np.array([[start + 1, start + 2, start]]))
    _, X_test = leave_last_out(np.array([[7, 8, 9]]), time)
    assert by_place(X_test) == {(0, 1): 8}


def test_times_in_other_places():
    X = sparse.csr_matrix([[1, 2, 0], [0, 3, 4]])
    other = sparse.csr_matrix([[1, 0, 2], [0, 3, 4]])
    fewer = sparse.csr_matrix([[1, 2, 0], [0, 3, 0]])
    for time in (other, fewer, fewer.toarray()):
        with pytest.raises(ValueError, match="time must have the same entries as X"):
            leave_last_out(X, time)
    with pytest.raises(ValueError, match="time must have the same shape as X"):
        leave_last_out(X, X[:1])
    stored = X.copy()
    stored.data[-1] = 0
    assert by_place(leave_last_out(X, stored)[1]) == {(0, 1): 2, (1, 1): 3}


@pytest.mark.parametrize("kind", FORMATS)
def test_times_are_not_summed(kind):
    twice = sparse.coo_matrix(([1, 2, 3], ([0, 0, 0], [0, 0, 1])), shape=(1, 2))
    if kind(twice).nnz == 3:
        with pytest.raises(ValueError, match="time has duplicate entries"):
            leave_last_out(kind(twice), kind(twice))
    X_train, X_test = leave_last_out(kind(twice), np.array([[5, 4]]))
    assert by_place(X_train) == {(0, 1): 3} and by_place(X_test) == {(0, 0): 3}


# Folds


@examples
@given(matrices(), st.integers(2, 5), st.booleans(), seeds)
def test_folds(X, n_splits, per_row, seed):
    folds = EntryKFold(n_splits, per_row=per_row, random_state=seed)
    if X.nnz < n_splits:
        with pytest.raises(ValueError, match=f"n_splits={n_splits} must be at most"):
            folds.split(X)
        return
    pairs = list(folds.split(X))
    assert len(pairs) == folds.get_n_splits() == n_splits
    union = {}
    for X_train, X_test in pairs:
        check_parts(X, X_train, X_test)
        assert not union.keys() & by_place(X_test).keys()
        union.update(by_place(X_test))
    assert union == by_place(X)
    assert np.ptp([X_test.nnz for _, X_test in pairs]) <= 1
    if per_row:
        assert (np.ptp([counts(X_test) for _, X_test in pairs], axis=0) <= 1).all()


def test_folds_are_random():
    X = np.ones((2, 2))
    tests = [
        next(EntryKFold(4, random_state=seed).split(X))[1].toarray().ravel()
        for seed in range(1000)
    ]
    np.testing.assert_allclose(np.mean(tests, axis=0), 0.25, atol=0.05)


@pytest.mark.parametrize("routing", [False, True])
def test_folds_of_entries_cannot_split_rows(routing):
    X = np.random.default_rng(0).poisson(1.0, size=(30, 5))
    folds = EntryKFold(3)
    with config_context(enable_metadata_routing=routing):
        for y in (None, X, np.arange(30)):
            with pytest.raises(TypeError, match=r"cannot be the cv .* Loop over split\(X\)"):
                cross_val_score(Popular(), X, y, cv=folds, scoring=make_ranking_scorer("ndcg"))
        with pytest.raises(TypeError, match=r"split_entries\(X\), .* cv=KFold\(\)"):
            GridSearchCV(Popular(), {}, cv=folds, scoring=make_ranking_scorer("ndcg")).fit(X, X)
    with pytest.raises(TypeError, match="takes only X"):
        folds.split(X, groups=np.arange(30))
    assert len(list(folds.split(X))) == 3


def test_folds_as_an_object():
    folds = EntryKFold(3, per_row=False, random_state=7)
    assert repr(folds) == "EntryKFold(n_splits=3, per_row=False, random_state=7)"
    assert EntryKFold().get_n_splits() == 5 and folds.get_n_splits(1, 2, 3) == 3


# Users


@examples
@given(matrices(), sizes, sizes, seeds)
def test_users(X, test_size, hidden_size, seed):
    n_rows = X.shape[0]
    if n_rows < 2 or (isinstance(test_size, int) and test_size >= n_rows):
        with pytest.raises(ValueError, match=r"\bX\b"):
            split_users(X, test_size)
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        parts = split_users(X, test_size, hidden_size=hidden_size, random_state=seed)
    X_train, X_visible, X_hidden = parts
    for part in parts:
        check_kind(part, X)
        assert part.shape[1] == X.shape[1]
    assert X_train.shape[0] + X_visible.shape[0] == n_rows
    assert X_visible.shape[0] == max(1, min(n_of(test_size, n_rows), n_rows - 1))
    held_out = by_place(X_visible) | by_place(X_hidden)
    assert len(held_out) == X_visible.nnz + X_hidden.nnz
    assert len(held_out) + X_train.nnz == len(by_place(X))
    n_hidden = counts(X_hidden)
    check_rows(counts(X_visible) + n_hidden, n_hidden, hidden_size, caught, "hidden_size")


def test_users_keep_their_order():
    X = np.arange(1, 61).reshape(20, 3)
    X_train, X_visible, X_hidden = split_users(X, 0.3, hidden_size=1, random_state=0)
    train = X_train.toarray()
    held_out = (X_visible + X_hidden).toarray()
    assert train.shape == (14, 3) and held_out.shape == (6, 3)
    np.testing.assert_array_equal(np.sort(train[:, 0]), train[:, 0])
    np.testing.assert_array_equal(np.sort(held_out[:, 0]), held_out[:, 0])
    np.testing.assert_array_equal(np.sort(np.r_[train, held_out], axis=0), X)


# What all splits promise


@pytest.mark.parametrize("kind", FORMATS)
def test_the_format_does_not_matter(kind):
    X = random_entries(30, 8, seed=1)
    assert_same(all_splits(kind(X)), all_splits(X.tocsr()))


def test_dense_input():
    X = random_entries(30, 8, seed=1).toarray()
    assert_same(all_splits(X), all_splits(sparse.csr_matrix(X)))
    assert_same(all_splits(X.tolist()), all_splits(X))
    assert all(isinstance(part, sparse.csr_matrix) for part in all_splits(X))
    pd = pytest.importorskip("pandas")
    assert_same(all_splits(pd.DataFrame(X)), all_splits(X))
    frame = pd.DataFrame.sparse.from_spmatrix(sparse.csr_matrix(X))
    assert_same(all_splits(frame), all_splits(X))


def test_reproducible():
    X = random_entries(30, 8, seed=1)
    assert_same(all_splits(X, seed=3), all_splits(X, seed=3))
    states = [np.random.RandomState(3) for _ in range(2)]
    assert_same(all_splits(X, states[0]), all_splits(X, states[1]))
    for splits in (split_entries, split_users):
        one, other = (splits(X, random_state=seed)[1] for seed in (0, 1))
        assert by_place(one) != by_place(other)
    folds = EntryKFold(2, random_state=np.random.RandomState(0))
    one, other = (next(folds.split(X))[1] for _ in range(2))
    assert by_place(one) != by_place(other)


@pytest.mark.parametrize("kind", FORMATS)
def test_duplicates_are_summed_and_nothing_is_changed(kind):
    X = random_entries(10, 6, seed=2)
    twice = sparse.coo_matrix(
        (np.r_[X.data, X.data[::-1]], (np.r_[X.row, X.row[::-1]], np.r_[X.col, X.col[::-1]])),
        shape=X.shape,
    )
    X, doubled = kind(twice), 2 * X.tocsr()
    names = ["row", "col", "data"] if X.format == "coo" else ["indptr", "indices", "data"]
    arrays = [getattr(X, name) for name in names]
    before = [array.copy() for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    assert_same(all_splits(X, time=doubled), all_splits(doubled))
    for name, array, copy in zip(names, arrays, before, strict=True):
        np.testing.assert_array_equal(getattr(X, name), copy)
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("kind", [np.array, *FORMATS])
def test_results_share_no_memory(kind):
    X = kind([[1, 2, 3], [4, 5, 0]])
    for split in (split_entries, split_users, lambda X: leave_last_out(X, X)):
        for part in split(X):
            part.data[:] = -1
    np.testing.assert_array_equal(X.toarray() if sparse.issparse(X) else X, [[1, 2, 3], [4, 5, 0]])


def test_nothing_to_hide():
    X = sparse.csr_matrix((3, 4))
    for parts in (
        split_entries(X),
        split_entries(X, per_row=False),
        leave_last_out(X, X),
        split_users(X),
    ):
        assert all(part.nnz == 0 for part in parts)
    one_each = np.eye(3)
    with pytest.warns(UserWarning, match="0 of 3 entries are held out, .* 3 have only one"):
        assert split_entries(one_each, 0.9)[1].nnz == 0
    with pytest.warns(UserWarning, match="fewer than test_size=2 requires"):
        assert split_entries(one_each, 2)[1].nnz == 0
    assert leave_last_out(one_each, one_each, 5)[1].nnz == 0


@each_split
@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.ones(3), "X must be a matrix"),
        (np.ones((2, 2, 2)), "X must be a matrix"),
        ([[1, np.nan], [1, 1]], "X contains NaN"),
        (sparse.csr_matrix([[1, np.inf], [1, 1]]), "X contains infinity"),
    ],
)
def test_bad_matrices(split, X, message):
    with pytest.raises(ValueError, match=message):
        split(X)


@each_split
def test_damaged_matrix(split):
    X = sparse.csr_matrix(np.eye(3))
    X.indices[0] = 3
    with pytest.raises(ValueError, match="X is a damaged sparse matrix"):
        split(X)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (0, ValueError),
        (-1, ValueError),
        (0.0, ValueError),
        (1.0, ValueError),
        (1.5, ValueError),
        (np.nan, ValueError),
        (True, TypeError),
        ("0.2", TypeError),
        (None, TypeError),
    ],
)
def test_bad_sizes(value, error):
    X = np.ones((3, 4))
    for per_row in (True, False):
        with pytest.raises(error, match="test_size"):
            split_entries(X, value, per_row=per_row)
    with pytest.raises(error, match="test_size"):
        split_users(X, value)
    with pytest.raises(error, match="hidden_size"):
        split_users(X, hidden_size=value)


def test_bad_arguments():
    X = np.ones((3, 4))
    with pytest.raises(TypeError, match="per_row"):
        split_entries(X, per_row=1)
    with pytest.raises(TypeError, match="per_row"):
        EntryKFold(per_row="yes")
    for split in (split_entries, split_users, lambda X, **options: EntryKFold(**options)):
        with pytest.raises(ValueError, match="seed"):
            split(X, random_state="seed")
    for value, error in [(1, ValueError), (2.0, TypeError), (True, TypeError)]:
        with pytest.raises(error, match="n_splits"):
            EntryKFold(value)
    for value, error in [(0, ValueError), (1.0, TypeError), (True, TypeError)]:
        with pytest.raises(error, match="n_entries"):
            leave_last_out(X, X, value)
    with pytest.raises(ValueError, match="time must be a matrix"):
        leave_last_out(X, np.ones(3))
    with pytest.raises(ValueError, match="time contains NaN"):
        leave_last_out(X, X * np.nan)
    with pytest.raises(ValueError, match="X must have at least 2 rows"):
        split_users(X[:1])
    with pytest.raises(ValueError, match="test_size=3 must be less than the 3 rows"):
        split_users(X, 3)


class Popular(BaseEstimator):
    def __init__(self, sign=1):
        self.sign = sign

    def fit(self, X, y=None):
        self.scores_ = self.sign * np.asarray(X.sum(axis=0)).ravel()
        return self

    def recommend(self, X, n_items):
        scores = np.where(X.toarray() != 0, -np.inf, self.scores_)
        items = np.argsort(-scores, axis=1, kind="stable")[:, :n_items]
        return items, np.take_along_axis(scores, items, axis=1)


@pytest.mark.parametrize("kind", FORMATS)
def test_search_as_in_the_docstring(kind):
    rng = np.random.default_rng(0)
    X = kind((rng.random((60, 12)) < np.linspace(0.1, 0.9, 12)).astype(float))
    X_visible, Y_hidden = split_entries(X, random_state=0)
    search = GridSearchCV(
        Popular(), {"sign": [-1, 1]}, scoring=make_ranking_scorer("ndcg"), error_score="raise"
    )
    assert search.fit(X_visible, Y_hidden).best_params_ == {"sign": 1}


TUNED = [
    FMRegressor(),
    FMRegressor(solver="als"),
    FMRegressor(solver="ftrl"),
    FMClassifier(),
    BayesianFMRegressor(),
    BayesianFMClassifier(),
    MFRecommender(),
    MFRecommender(solver="sgd"),
    MFRecommender(feedback="implicit"),
    FMRecommender(),
]


@pytest.mark.parametrize("estimator", TUNED, ids=str)
def test_drawn_settings_are_accepted(estimator):
    space = search_space(estimator)
    assert set(space) <= set(estimator.get_params())
    for setting in ParameterSampler(space, 6, random_state=0):
        estimator.set_params(**setting)._check_parameters()


@pytest.mark.parametrize("estimator", TUNED, ids=str)
def test_defaults_are_within_the_search_space(estimator):
    for name, values in search_space(type(estimator)()).items():
        default = type(estimator)().get_params()[name]
        if isinstance(default, str):
            continue
        if isinstance(values, list):
            assert default in values
        else:
            low, high = values.support()
            assert low < default < high


def test_only_parameters_that_matter_are_searched():
    def names(estimator):
        return list(search_space(estimator))

    rates = {s: search_space(FMRegressor(solver=s)).get("learning_rate") for s in ("adam", "als")}
    assert rates["als"] is None
    assert rates["adam"].support()[1] < 0.1  # around its own default, 0.02
    assert names(FMClassifier(solver="ftrl"))[-2:] == ["alpha_l1", "alpha_l21"]
    assert "unobserved_weight" in names(MFRecommender(feedback="implicit"))
    assert "unobserved_weight" not in names(MFRecommender())
    assert "alpha_bias" not in names(MFRecommender(fit_bias=False))
    assert names(BayesianFMRegressor()) == ["n_components"]


def test_nested_estimators_have_prefixed_names():
    plain = list(search_space(FMRegressor()))
    pipe = make_pipeline(StandardScaler(), FMRegressor())
    assert list(search_space(pipe)) == [f"fmregressor__{name}" for name in plain]
    search = GridSearchCV(make_pipeline(pipe), {})
    expected = [f"estimator__pipeline__fmregressor__{name}" for name in plain]
    assert list(search_space(search)) == expected


@pytest.mark.parametrize("estimator", [Ridge(), make_pipeline(Ridge()), FMRegressor, None, {}])
def test_search_space_is_of_estimators_of_skfm(estimator):
    with pytest.raises(TypeError, match=r"estimator of skfm, such as FMRegressor\(\)"):
        search_space(estimator)


def test_random_searches_take_the_search_space():
    rng = np.random.default_rng(0)
    pairs = rng.integers(8, size=(120, 2))
    y = pairs[:, 0] * 1.0 - pairs[:, 1]
    model = make_pipeline(
        OneHotEncoder(handle_unknown="ignore"), FMRegressor(max_iter=5, tol=10.0, random_state=0)
    )
    space = search_space(model)
    searches = [
        RandomizedSearchCV(model, space, n_iter=2, cv=2, random_state=0),
        HalvingRandomSearchCV(
            model,
            space,
            n_candidates=2,
            resource="fmregressor__max_iter",
            min_resources=2,
            max_resources=4,
            cv=2,
            random_state=0,
        ),
    ]
    for search in searches:
        assert set(space) <= set(search.fit(pairs, y).best_params_)


def test_a_ranking_is_searched():
    likes = (np.random.default_rng(0).random((30, 12)) < 0.4).astype(float)
    visible, hidden = split_entries(likes, random_state=0)
    model = MFRecommender(feedback="implicit", random_state=0)
    space = search_space(model) | {"n_components": [1, 2]}
    search = RandomizedSearchCV(
        model, space, n_iter=2, scoring=make_ranking_scorer("ndcg"), cv=2, random_state=0
    )
    assert set(search.fit(visible, hidden).best_params_) == set(space)
