"""Damaged sparse matrices: refused wherever they come in, before compiled code reads them."""

import io

import numpy as np
import pytest
from builders import quietly
from numpy.testing import assert_array_equal
from scipy import sparse

from skfm import BayesianFMRegressor, FMClassifier, FMRecommender, FMRegressor, MFRecommender
from skfm._utils.sparse import check_sparse
from skfm.datasets import dump_libffm
from skfm.metrics import ndcg_at_k
from skfm.model_selection import EntryKFold, leave_last_out, split_entries, split_users
from skfm.preprocessing import UserItemEncoder

N_ROWS, N_COLUMNS = 12, 6


def make(format="csr", kind="matrix"):
    X = sparse.random(N_ROWS, N_COLUMNS, 0.4, format="csr", random_state=0)
    if format == "bsr":
        X = sparse.bsr_matrix(X, blocksize=(4, 3))
    X = X.asformat(format)
    return X if kind == "matrix" else getattr(sparse, f"{format}_array")(X)


def set_one(name, place, value):
    def damage(X):
        getattr(X, name)[place] = value

    return damage


def convert(name, change):
    def damage(X):
        setattr(X, name, change(getattr(X, name)))

    return damage


DAMAGES = {
    "beyond the end": set_one("indptr", 2, 10**6),
    "decreasing": convert("indptr", lambda indptr: indptr[[0, *range(-2, -indptr.size, -1), -1]]),
    "negative": set_one("indptr", 2, -3),
    "no zero": set_one("indptr", 0, 1),
    "too many": set_one("indptr", -1, 10**6),
    "short": convert("indptr", lambda indptr: indptr[:-1]),
    "floats": convert("indptr", lambda indptr: indptr.astype(float)),
    "index": set_one("indices", 3, 100),
    "negative index": set_one("indices", 3, -1),
    "float indices": convert("indices", lambda indices: indices.astype(float)),
    "fewer indices": convert("indices", lambda indices: indices[:-1]),
    "fewer values": convert("data", lambda data: data[:-1]),
}
SPARE = {  # as good as any other, but not as kernels need it
    "unsigned": (np.uint64, np.uint64),
    "small": (np.uint8, np.int16),
    "mixed": (np.int64, np.int32),
    "large": (np.int64, np.int64),
    "other order of bytes": (np.dtype(">i4"), np.dtype(">i4")),
}


@pytest.mark.parametrize("kind", ["matrix", "array"])
@pytest.mark.parametrize("format", ["csr", "csc", "bsr"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage(format, kind, damage):
    X = make(format, kind)
    DAMAGES[damage](X)
    with pytest.raises(ValueError, match=r"^Y is a damaged sparse matrix: .* again"):
        check_sparse(X, "Y")


@pytest.mark.parametrize("format", ["csr", "csc", "bsr"])
@pytest.mark.parametrize("types", SPARE)
def test_types_of_indices(format, types):
    X, good = make(format), make(format)
    X.indices, X.indptr = (
        array.astype(dtype)
        for array, dtype in zip((X.indices, X.indptr), SPARE[types], strict=True)
    )
    checked = check_sparse(X)
    assert checked.indices.dtype == checked.indptr.dtype
    assert checked.indices.dtype in (np.int32, np.int64)
    assert (X.indices.dtype, X.indptr.dtype) == SPARE[types]  # the caller's stay as they are
    assert_array_equal(checked.toarray(), good.toarray())


class Named(sparse.csr_matrix):
    """A user's class, which is made otherwise."""

    def __init__(self, X, names):
        super().__init__(X)
        self.names = names


def test_a_matrix_of_a_class_of_the_users():
    X = Named(make(), [*"abcdef"])
    X.indices = X.indices.astype(np.int64)
    checked = check_sparse(X)
    assert checked.names == X.names
    assert checked.indices.dtype == checked.indptr.dtype
    assert_array_equal(checked.toarray(), make().toarray())


def test_entries_behind_the_last_row():
    """They are none: not even if they are NaN."""
    X, good = make(), make()
    X.indices, X.data = np.append(X.indices, 99), np.append(X.data, np.nan)
    y = np.arange(N_ROWS)
    one, other = (FMRegressor(2, max_iter=3, random_state=0).fit(x, y) for x in (X, good))
    assert_array_equal(one.predict(X), other.predict(good))


@pytest.mark.parametrize("format", ["csr", "csc", "bsr", "coo", "lil", "dok", "dia"])
@pytest.mark.parametrize("kind", ["matrix", "array"])
def test_sound_matrices(format, kind):
    X = make(format, kind)
    checked = check_sparse(X)
    assert_array_equal(checked.toarray(), X.toarray())
    if format in ("csr", "csc", "coo"):
        assert checked is X


def test_zeros_that_fill_blocks_are_not_stored():
    X = make("bsr")
    assert X.data.size > np.count_nonzero(X.data)
    checked = check_sparse(X)
    assert checked.nnz == np.count_nonzero(X.data) and checked.format == "csr"
    entries = abs(make("csr"))
    blocks = sparse.bsr_array(entries, blocksize=(2, 1))
    one, other = (MFRecommender(2, max_iter=2, random_state=0).fit(x) for x in (entries, blocks))
    assert_array_equal(one.components_, other.components_)


@pytest.mark.parametrize(
    ("format", "name", "change"),
    [
        ("coo", "row", lambda row: np.append(row[1:], N_ROWS)),
        ("coo", "col", lambda column: np.append(column[1:], -1)),
        ("coo", "data", lambda data: data[1:]),
        ("lil", "rows", lambda rows: [[99] * len(row) for row in rows]),
        ("lil", "rows", lambda rows: [[-7] * len(row) for row in rows]),
        ("lil", "data", lambda data: [row[1:] for row in data]),
    ],
)
def test_damage_of_other_formats(format, name, change):
    X = make(format)
    setattr(X, name, change(getattr(X, name)))
    with pytest.raises(ValueError, match="X is a damaged sparse matrix"):
        check_sparse(X)


def entries():
    """Everything that takes a sparse matrix, by name."""
    good, y = make(), np.arange(N_ROWS) % 3
    options = {"max_iter": 2, "random_state": 0}
    fm = quietly(FMRegressor(2, **options).fit, good, y)
    bayes = BayesianFMRegressor(2, n_burn_in=0, **options).fit(good, y)
    mf = quietly(MFRecommender(2, **options).fit, good)
    ranker = FMRecommender(2, item_features=np.eye(3), **options)
    quietly(ranker.fit, good, y)
    encoder = UserItemEncoder().fit([[row, row % N_COLUMNS] for row in range(N_ROWS)])
    items = np.zeros((N_ROWS, 1), int)
    return {
        "FMRegressor.fit": lambda X: FMRegressor(2).fit(X, y),
        "FMRegressor.partial_fit": lambda X: FMRegressor(2).partial_fit(X, y),
        "FMRegressor.fit, X_val": lambda X: FMRegressor(2).fit(good, y, X_val=X, y_val=y),
        "FMRegressor.predict": fm.predict,
        "FMClassifier.fit": lambda X: FMClassifier(2).fit(X, y),
        "BayesianFMRegressor.fit": lambda X: BayesianFMRegressor(2).fit(X, y),
        "BayesianFMRegressor.predict": bayes.predict,
        "MFRecommender.fit": MFRecommender(2).fit,
        "MFRecommender.transform": mf.transform,
        "MFRecommender.recommend": mf.recommend,
        "MFRecommender.score": mf.score,
        "exclude": lambda X: mf.recommend(good, 1, exclude=X),
        "FMRecommender.fit": lambda X: FMRecommender(2).fit(X, y),
        "FMRecommender.recommend": ranker.recommend,
        "FMRecommender.rank_held_out": lambda X: ranker.rank_held_out(X, y),
        "item_features": lambda X: FMRecommender(2, item_features=X).fit(good, y),
        "add_items": ranker.add_items,
        "inverse_transform": encoder.inverse_transform,
        "ndcg_at_k": lambda X: ndcg_at_k(X, items, 1),
        "split_entries": split_entries,
        "split_users": split_users,
        "leave_last_out": lambda X: leave_last_out(X, good),
        "leave_last_out, time": lambda X: leave_last_out(good, X),
        "EntryKFold": lambda X: EntryKFold(2).split(X),
        "dump_libffm": lambda X: dump_libffm(X, y, io.BytesIO(), fields=y[:N_COLUMNS]),
    }


@pytest.fixture(scope="module", name="entries")
def fitted_entries():
    return entries()


@pytest.mark.parametrize("format", ["csr", "csc"])
def test_everywhere(entries, format):
    damaged = make(format)
    damaged.indptr[1] = damaged.indptr[-1] + 1  # more than there are, and then decreasing
    for name, call in entries.items():
        with pytest.raises(ValueError, match="is a damaged sparse matrix: indptr"):
            call(damaged)
            raise AssertionError(name)
