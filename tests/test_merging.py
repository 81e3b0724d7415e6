"""Equal rows become one of their weights, in an order that does not depend on theirs."""

import numpy as np
import pytest
from helpers import size
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from skfm._utils import equal_rows
from skfm._utils.equal_rows import merge_rows


def make(n_rows=400, seed=0, dtype=np.float64):
    """Short rows of few values, some of them empty, so that many are equal."""
    rng = np.random.default_rng(seed)
    X = rng.integers(-1, 3, size=(n_rows, 3)) * rng.integers(2, size=(n_rows, 3))
    X = sparse.csr_matrix(X.astype(dtype))
    return X, rng.integers(2, size=n_rows).astype(float), rng.integers(1, 4, n_rows).astype(dtype)


def rows_of(X):
    return [tuple(row) for row in X.toarray()]


def merge_slowly(X, y, weight):
    """The weight of each pair of a row and a target."""
    merged = {}
    for row, target, own in zip(rows_of(X), y.tolist(), weight.tolist(), strict=True):
        merged[row, target] = merged.get((row, target), 0) + own
    return merged


def assert_same(merged, other):
    (X, y, weight), (other_X, other_y, other_weight) = merged, other
    for name in ("indptr", "indices", "data"):
        assert_array_equal(getattr(X, name), getattr(other_X, name))
    assert_array_equal(y, other_y)
    assert_array_equal(weight, other_weight)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_rows", [1, 2, 30, 400])
def test_it_matches_the_twin(n_rows, dtype):
    X, y, weight = make(n_rows, dtype=dtype)
    merged, targets, weights = merge_rows(X, y, weight)
    twin = merge_slowly(X, y, weight)
    assert merged.shape == (len(twin), 3) and len(targets) == len(weights) == len(twin)
    assert merge_slowly(merged, targets, weights) == twin
    assert merged.dtype == weights.dtype == dtype and targets.dtype == y.dtype


def test_weights_add_up():
    X, y, weight = make()
    weight = np.random.default_rng(1).uniform(0.1, 3, size=y.size)
    merged, targets, weights = merge_rows(X, y, weight)
    twin = merge_slowly(X, y, weight)
    by_hand = [twin[key] for key in zip(rows_of(merged), targets.tolist(), strict=True)]
    assert_allclose(weights, by_hand)
    assert_allclose(weights.sum(), weight.sum())


def test_equal_rows_with_different_targets_stay_apart():
    X = sparse.csr_matrix(np.ones((4, 2)))
    merged, targets, weights = merge_rows(X, np.array([1.0, 2.0, 1.0, 1.5]), np.ones(4))
    assert merged.shape == (3, 2)
    assert dict(zip(targets, weights, strict=True)) == {1.0: 2, 1.5: 1, 2.0: 1}


def test_labels_stay_integers():
    X = sparse.csr_matrix(np.eye(3)[[0, 1, 0, 0]])
    merged, labels, weights = merge_rows(X, np.array([1, 0, 1, 0]), np.ones(4))
    assert labels.dtype.kind == "i"
    assert merge_slowly(merged, labels, weights) == {
        ((1, 0, 0), 1): 2, ((1, 0, 0), 0): 1, ((0, 1, 0), 0): 1
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_rows_in_another_order_give_the_same_bits(seed):
    X, y, weight = make()
    weight = np.random.default_rng(1).uniform(0.1, 3, size=y.size)  # sums depend on the order
    order = np.random.default_rng(seed).permutation(y.size)
    assert_same(merge_rows(X[order], y[order], weight[order]), merge_rows(X, y, weight))


def test_weights_are_repetitions():
    X, y, weight = make()
    again = np.repeat(np.arange(y.size), weight.astype(int))
    repeated = merge_rows(X[again], y[again], np.ones(again.size))
    assert_same(repeated, merge_rows(X, y, weight))


def test_what_is_merged_stays_as_it_is():
    once = merge_rows(*make())
    assert_same(merge_rows(*once), once)


def test_rows_come_by_their_first_column():
    X, _, _ = merge_rows(*make())
    first = [next((j for j, value in enumerate(row) if value), -1) for row in rows_of(X)]
    assert first[0] == -1 and first == sorted(first)


def test_empty_rows():
    X = sparse.csr_matrix((5, 4))
    merged, targets, weights = merge_rows(X, np.array([1.0, 0, 1, 1, 0]), np.arange(1.0, 6))
    assert merged.shape == (2, 4) and merged.nnz == 0
    assert dict(zip(targets, weights, strict=True)) == {0.0: 7, 1.0: 8}
    # At the end, too: there are no entries after them.
    X = sparse.csr_matrix([[0, 0], [0, 1.0], [0, 0]])
    merged, _, weights = merge_rows(X, np.zeros(3), np.ones(3))
    assert merge_slowly(merged, np.zeros(2), weights) == {((0, 0), 0): 2, ((0, 1), 0): 1}


def test_a_negative_zero_is_a_zero():
    X, y, weight = sparse.csr_matrix(np.ones((3, 1))), np.array([0.0, -0.0, 0.0]), np.ones(3)
    assert merge_rows(X, y, weight)[2].tolist() == [3]


def test_rows_that_nearly_agree_stay_apart():
    one = np.nextafter(1.0, 2)
    rows = [[1, 2, 0], [2, 1, 0], [0, 1, 2], [1, 0, 2], [1, 2, 2], [one, 2, 0], [-1, 2, 0]]
    X = sparse.csr_matrix(np.array(rows, dtype=float))
    merged, _, _ = merge_rows(X, np.zeros(7), np.ones(7))
    assert sorted(rows_of(merged)) == sorted(map(tuple, X.toarray().tolist()))
    X = sparse.csr_matrix(np.ones((3, 1)))
    assert merge_rows(X, np.array([1, one, -1.0]), np.ones(3))[0].shape[0] == 3


def test_keys_tell_rows_apart():
    X = np.random.default_rng(0).integers(-3, 4, size=(size(20_000, 3000), 5)).astype(float)
    for dtype in (np.float64, np.float32):
        keys = equal_rows.keys_of(sparse.csr_matrix(X.astype(dtype)))
        assert np.unique(keys).size == len(np.unique(X, axis=0)) > X.shape[0] / 2


def test_colliding_keys_do_no_harm(monkeypatch):
    """Some equal rows may stay apart then, but no others may come together."""
    X, y, weight = make()
    monkeypatch.setattr(equal_rows, "keys_of", lambda X: np.full(X.shape[0], 7, dtype=np.uint64))
    merged = merge_rows(X, y, weight)
    assert merge_slowly(*merged) == merge_slowly(X, y, weight)


def test_wide_indices_and_the_callers_arrays():
    X, y, weight = make()
    expected = merge_rows(X, y, weight)
    wide = X.copy()
    wide.indices, wide.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    for array in (wide.data, wide.indices, wide.indptr, y, weight):
        array.flags.writeable = False
    assert_same(merge_rows(wide, y, weight), expected)
