"""What features explain of items: the regression and its shrinkage."""

import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from skfm._kernels import principal_axes
from skfm._kernels.item_regression import regress, regress_marginal_likelihood
from skfm._solvers.ranking.adaptive_shrinkage import shrinkage_factors
from skfm._solvers.ranking.item_regression import _Group, _whiten


@pytest.mark.parametrize("n_outputs", [1, 5])
def test_regression_against_its_twin(n_outputs):
    rng = np.random.default_rng(n_outputs)
    X = sparse.random(30, 6, 0.5, "csc", random_state=0)
    residual = X @ rng.normal(size=(6, n_outputs)) * 3 + rng.normal(size=(30, n_outputs))
    slopes, shrinkage = rng.normal(size=(6, n_outputs)), rng.random(6)
    expected = reference.shrunk_regression(X.toarray(), shrinkage, residual, slopes)
    size = np.square(X.toarray()).sum(axis=0)
    regress(X.indptr, X.indices, X.data, size, shrinkage, residual, slopes)
    for got, wanted in zip((residual, slopes), expected, strict=True):
        assert_allclose(got, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("n_outputs", [1, 5])
def test_marginal_likelihood_regression_against_its_twin(n_outputs):
    rng = np.random.default_rng(n_outputs)
    X = sparse.random(30, 6, 0.5, "csc", random_state=0)
    X = sparse.csc_matrix(X.toarray() * [1, 1, 1, 1, 0, 1])
    residual = X @ rng.normal(size=(6, n_outputs)) * 3 + rng.normal(size=(30, n_outputs))
    slopes, shrinkage = rng.normal(size=(6, n_outputs)), rng.random(6)
    expected = reference.marginal_likelihood_regression(
        X.toarray(), residual, slopes, shrinkage, 3
    )
    regress_marginal_likelihood(X.indptr, X.indices, X.data, residual, slopes, shrinkage, 3)
    for got, wanted in zip((residual, slopes, shrinkage), expected, strict=True):
        assert_allclose(got, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("n_outputs", [1, 4])
def test_shares_against_their_twin(n_outputs):
    rng = np.random.default_rng(0)
    noise = rng.uniform(0.1, 2, size=15)
    square = noise + rng.uniform(0, 3, size=15) * (np.arange(15) % 2)
    is_informative = np.arange(15) % 5 > 0
    expected = reference.shrinkage_factors(square, noise, is_informative, n_outputs)
    assert 0 < expected.min() < expected.max() < 1
    assert_allclose(
        shrinkage_factors(square, noise, is_informative, n_outputs), expected, rtol=1e-9
    )
    for unit in (1e-20, 1e20):
        shrinkage = shrinkage_factors(square * unit, noise * unit, is_informative, n_outputs)
        assert_allclose(shrinkage, expected, rtol=1e-6)


def test_shares_at_the_ends():
    some, none = np.array([1.0, 2.0]), np.zeros(2)
    is_informative = np.array([True, True])
    assert_array_equal(
        shrinkage_factors(some, none, is_informative, 3), 1
    )  # estimates without noise
    assert shrinkage_factors(none, some, is_informative, 3).max() < 1e-9
    assert_array_equal(shrinkage_factors(some, some, ~is_informative, 3), 0)
    shrinkage = shrinkage_factors(np.array([1e30, 1e-30]), np.array([1.0, 1.0]), is_informative, 3)
    assert shrinkage[0] > 0.999
    assert shrinkage[1] < 0.1


def explain(X, Y, n_times=30):
    """Slopes and shares that a group finds for items with these sums."""
    X = sparse.csr_matrix(X)
    n_items, n_given = X.shape
    rows = sparse.hstack([sparse.eye(n_items), X], format="csr")
    group = _Group(rows, np.arange(n_items), n_items + np.arange(n_given))
    factors = np.vstack([Y, np.zeros((n_given, Y.shape[1]))])
    for _ in range(n_times):
        group.fit_factors(factors)
    assert_allclose(rows @ factors, Y, atol=1e-9)
    return factors[n_items:], group.shrinkage


@pytest.mark.parametrize("n_useless", [20, 300])  # 300: more features than rows
def test_useful_features_are_found_among_useless_ones(n_useless):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3 + n_useless))
    truth = rng.normal(size=(3, 16))
    slopes, shrinkage = explain(X, X[:, :3] @ truth + rng.normal(size=(200, 16)))
    assert shrinkage[:3].min() > 0.9
    assert_allclose(slopes[:3], truth, atol=0.4)
    assert np.square(slopes[3:]).sum() < 0.05 * np.square(truth).sum()


@pytest.mark.parametrize("is_useful", [True, False])
def test_many_small_groups_say_what_one_is_worth(is_useful):
    """Three items each: of one such group nobody could tell, of a hundred one can."""
    rng = np.random.default_rng(0)
    X = np.repeat(np.eye(100), 3, axis=0)
    truth = rng.normal(size=(100, 16)) * is_useful
    slopes, shrinkage = explain(X, X @ truth + rng.normal(size=(300, 16)))
    if is_useful:  # of variance 1 beside noise of 1/3
        assert_allclose(np.median(shrinkage), 0.75, atol=0.05)
        assert np.square(slopes - truth).mean() < 0.3
    else:
        assert shrinkage.max() < 0.2
        assert np.square(slopes).mean() < 0.01


def test_what_a_single_item_has_is_judged_by_other_features():
    rng = np.random.default_rng(0)
    Y = 10 * rng.normal(size=(12, 4))
    assert_array_equal(explain(np.eye(12), Y)[1], 0)
    pairs = np.repeat(np.eye(40), 2, axis=0)
    X = sparse.block_diag([pairs, np.ones((1, 1))]).toarray()
    Y = X @ rng.normal(size=(41, 8)) * 3 + rng.normal(size=(81, 8))
    shrinkage = explain(X, Y)[1]
    assert shrinkage[:40].mean() > 0.8
    assert 0.6 < shrinkage[40] < shrinkage[:40].mean()


def test_items_that_share_one_direction_are_not_alike_in_all():
    """Popular items have long vectors in the direction of most users: so no chance pair of them
    makes a genre."""
    rng = np.random.default_rng(0)
    Y = rng.normal(size=(300, 16))
    Y[:, 0] += np.where(np.arange(300) < 30, 10.0, 0.0)
    X = np.zeros((300, 100))
    X[rng.permutation(np.arange(30, 300))[:200], np.repeat(np.arange(100), 2)] = 1
    X[[3, 4], 0] = X[[5, 6], 1] = 1
    slopes, shrinkage = explain(X, Y)
    assert shrinkage.max() < 0.25
    assert np.abs(slopes).max() < 2.5


@pytest.mark.parametrize("n_rows", [3, 500])
def test_coordinates_there_and_back(n_rows):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(n_rows, 5)) * [1, 0.01, 100, 1, 0]
    rows[:, 0] += rows[:, 3]
    there, back = _whiten(rows)
    assert_allclose(there @ back, np.eye(5), atol=1e-9)
    if n_rows == 500:
        inner = rows @ there
        assert_allclose(np.linalg.eigvalsh(inner.T @ inner / n_rows), [0, 1, 1, 1, 1], atol=0.05)


def test_tables_in_other_coordinates():
    rng = np.random.default_rng(0)
    table, matrix, result = rng.normal(size=(7, 5)), rng.normal(size=(5, 3)), np.empty((7, 3))
    principal_axes.multiply(table, matrix, result)
    assert_allclose(result, table @ matrix, atol=1e-12)
    products = table.T @ table
    root, inverse = np.zeros((2, 5, 5))
    principal_axes.cholesky(products, root, inverse)
    assert_allclose(root, np.linalg.cholesky(products), atol=1e-12)
    assert_allclose(inverse, np.linalg.inv(root), atol=1e-9)
