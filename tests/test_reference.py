"""The slow twins against each other and against finite differences."""

import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose

KINDS = [("squared_error", 1), ("log_loss", 1), ("softmax", 3)]


def make(kind, n_outputs, n_components=2, n_rows=15, n_features=5, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, n_features)) * (rng.random((n_rows, n_features)) < 0.7)
    classes = {"log_loss": 2, "softmax": n_outputs}
    y = rng.integers(classes[kind], size=n_rows) if kind in classes else rng.normal(size=n_rows)
    parameters = (
        rng.normal(size=n_outputs),
        rng.normal(size=(n_outputs, n_features)),
        rng.normal(size=(n_outputs, n_components, n_features)),
    )
    return parameters, X, y, rng.uniform(0.1, 2, size=n_rows)


def central_differences(function, vector, step=1e-6):
    result = np.empty_like(vector)
    for i in range(vector.size):
        change = np.zeros_like(vector)
        change[i] = step
        result[i] = (function(vector + change) - function(vector - change)) / (2 * step)
    return result


def test_predict_by_hand():
    components = np.array([[1.0, 2.0, 3.0], [0.0, 1.0, -1.0]])
    X = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0], [0.0, 5.0, 0.0]])
    # v0.v1 = 2, v0.v2 = 3, v1.v2 = 5
    expected = [0.5 + 6 + 2 * 2 + 3 * 3 + 5 * 6, 0.5, 0.5 + 5]
    assert_allclose(reference.predict(0.5, np.ones(3), components, X), expected)


@pytest.mark.parametrize("n_components", [0, 1, 4])
@pytest.mark.parametrize("n_outputs", [1, 3])
def test_predict_matches_the_matrix_formula(n_outputs, n_components):
    parameters, X, _, _ = make("softmax", n_outputs, n_components)
    by_pairs = [reference.predict(*one, X) for one in zip(*parameters, strict=True)]
    assert_allclose(reference.raw_output(parameters, X), np.transpose(by_pairs), rtol=1e-12)


@pytest.mark.parametrize("kind, n_outputs", KINDS)
def test_loss_gradient_matches_finite_differences(kind, n_outputs):
    _, _, y, _ = make(kind, n_outputs)
    Z = np.random.default_rng(1).normal(size=(len(y), n_outputs)) * 3
    gradient = reference.loss_gradient(kind, Z, y)
    for r in range(len(y)):
        numeric = central_differences(
            lambda z, r=r: float(reference.losses(kind, z[None], y[r : r + 1])[0]), Z[r].copy()
        )
        assert_allclose(gradient[r], numeric, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_components", [0, 2])
@pytest.mark.parametrize("kind, n_outputs", KINDS)
def test_gradient_matches_finite_differences(kind, n_outputs, n_components, weighted):
    parameters, X, y, weight = make(kind, n_outputs, n_components)
    data = X, y, weight if weighted else None, kind, 0.3, 0.7
    shape = n_outputs, n_components, X.shape[1]
    numeric = central_differences(
        lambda vector: reference.objective(reference.unflatten(vector, *shape), *data),
        reference.flatten(parameters),
    )
    analytic = reference.flatten(reference.gradient(parameters, *data))
    assert_allclose(analytic, numeric, rtol=1e-6, atol=1e-6)


def test_flatten_round_trip():
    parameters, X, _, _ = make("softmax", 3, 2)
    again = reference.unflatten(reference.flatten(parameters), 3, 2, X.shape[1])
    for one, other in zip(parameters, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_weight_in_the_objective_is_repetition():
    parameters, X, y, _ = make("log_loss", 1)
    times = np.arange(len(y)) % 3
    twice = np.repeat(X, times, axis=0), np.repeat(y, times)
    one = reference.objective(parameters, X, y, times, "log_loss", 0.3, 0.7)
    other = reference.objective(parameters, *twice, None, "log_loss", 0.3, 0.7)
    assert_allclose(one, other)


@pytest.mark.parametrize("kind, n_outputs", KINDS)
def test_adagrad_twin_descends_the_objective(kind, n_outputs):
    """One full batch with tiny steps: the change of the objective is that of its gradient."""
    parameters, X, y, weight = make(kind, n_outputs)
    scale = reference.feature_scale(X, weight)
    data = X, y, weight, kind, 0.3, 0.7
    before = reference.objective(parameters, *data)
    scaled = parameters[0], parameters[1] * scale, parameters[2] * scale
    rate, floor = 1e-3, 1e8  # floor so large that the step is rate / 1e4 times the gradient
    batch = [np.arange(len(y))]
    moved, _, total = reference.epoch(
        "adagrad", scaled, None, batch, *data, learning_rate=rate, floor=floor
    )
    after = reference.objective((moved[0], moved[1] / scale, moved[2] / scale), *data)
    intercept, coef, components = reference.gradient(parameters, *data)
    square = sum((g**2).sum() for g in (intercept, coef / scale, components / scale))
    assert_allclose((after - before) / (-rate / 1e4 * square), 1, rtol=1e-3)
    assert_allclose(total, weight @ reference.losses(kind, reference.raw_output(parameters, X), y))


# Matrix factorization


def make_factorization(n_components=2, n_users=5, n_items=4, seed=0):
    rng = np.random.default_rng(seed)
    stored = rng.random((n_users, n_items)) < 0.6
    stored[1], stored[:, 2] = False, False
    parameters = (
        rng.normal(size=(n_users, n_components)),
        rng.normal(size=(n_items, n_components)),
        rng.normal(size=n_users),
        rng.normal(size=n_items),
    )
    return parameters, stored * rng.uniform(0.2, 3, size=stored.shape), stored


def with_one_array_changed(parameters, number, vector):
    changed = list(parameters)
    changed[number] = vector.reshape(parameters[number].shape)
    return changed


def test_ridge_solution_is_where_the_objective_is_flat():
    rng = np.random.default_rng(0)
    design, target, weight = rng.normal(size=(6, 4)), rng.normal(size=6), rng.uniform(0, 3, size=6)
    penalty, free, start = rng.uniform(0.1, 1, size=4), np.array([1, 0, 1, 1]), rng.normal(size=4)
    data = design, target, weight, penalty, free
    solution = reference.ridge_solution(start, *data)
    slopes = central_differences(lambda x: reference.ridge_objective(x, *data), solution)
    assert_allclose(slopes[free == 1], 0, atol=1e-8)
    assert solution[1] == start[1] and abs(slopes[1]) > 1e-3


def test_ridge_by_hand():
    # (1 - x)^2 + 2 (3 - x)^2 + x^2, halved: x = 7 / 4
    data = np.ones((2, 1)), np.array([1.0, 3.0]), np.array([1.0, 2.0]), np.ones(1), np.ones(1)
    assert_allclose(reference.ridge_solution(np.zeros(1), *data), 7 / 4)
    assert_allclose(reference.ridge_objective(np.full(1, 2.0), *data), (1 + 2 + 4) / 2)


def test_mf_objective_by_hand():
    parameters = np.array([[1.0]]), np.array([[2.0], [0.5]]), np.array([0.5]), np.array([0.0, 1.0])
    X, stored = np.array([[3.0, 0.0]]), np.array([[True, False]])
    # The scores are 2.5 and 2; n is 1 for the user, 1 and 0 for the items.
    penalty = 2 * (1 + 4 + 0.25) / 2 + 3 * (0.25 + 1) / 2
    assert_allclose(reference.mf_objective(parameters, X, stored, 2, 3, 0.5), 0.125 + penalty)
    # Now n is 3 for the user, 2 and 1 for the items, and the confidence is 3.
    penalty = 2 * (3 + 2 * 4 + 0.25) / 2 + 3 * (0.25 + 1) / 2
    loss = 3 * 1.5**2 / 2 + (2.5**2 + 2**2) / 2
    assert_allclose(reference.mf_objective(parameters, X, stored, 2, 3, 1, 1), loss + penalty)


@pytest.mark.parametrize("unobserved_weight", [None, 0.0, 0.3])
@pytest.mark.parametrize("nu", [0.0, 0.5, 1.0])
def test_mf_slopes_match_loops_and_finite_differences(nu, unobserved_weight):
    parameters, X, stored = make_factorization()
    data = X, stored, 0.3, 0.7, nu, unobserved_weight
    value, slopes = reference.mf_slopes(parameters, *data)
    assert_allclose(value, reference.mf_objective(parameters, *data), rtol=1e-12)
    for number, slope in enumerate(slopes):
        numeric = central_differences(
            lambda vector, number=number: reference.mf_objective(
                with_one_array_changed(parameters, number, vector), *data
            ),
            parameters[number].ravel(),
        )
        assert_allclose(np.ravel(slope), numeric, rtol=1e-6, atol=1e-7)


def test_mf_sgd_twin_descends_the_objective():
    """Tiny steps: an epoch changes the objective as a step along the gradient does."""
    parameters, X, stored = make_factorization()
    for array, axis in zip(parameters, (1, 0, 1, 0), strict=True):
        array[~stored.any(axis=axis)] = 0  # without entries, no steps
    data = X, stored, 0.3, 0.7, 0.5
    memory = [np.full(len(array), 1e8) for array in parameters]
    entries = [(u, i, X[u, i]) for u, i in np.argwhere(stored)]
    moved, _, total = reference.mf_sgd_epoch(
        parameters, memory, entries, *data[1:], learning_rate=1e-3, n_coordinates=2
    )
    before, slopes = reference.mf_slopes(parameters, *data)
    after = reference.mf_objective(moved, *data)
    square = sum((slope**2).sum() for slope in slopes)
    assert_allclose((after - before) / (-1e-7 * square), 1, rtol=1e-3)
    assert_allclose(total / 2, reference.mf_loss(parameters, X, stored), rtol=1e-5)


def test_mf_sgd_twin_by_hand():
    parameters = np.array([[1.0, 0.0]]), np.array([[2.0, 1.0]]), np.array([0.5]), np.array([0.5])
    memory = [np.full(1, 4.0), np.full(1, 1.0), np.full(1, 3.0), np.full(1, 3.0)]
    # The score is 3, the error 2; n is 1 for both, so the penalties are 1 and 2.
    (users, items, *biases), memory, total = reference.mf_sgd_epoch(
        parameters, memory, [(0, 0, 5.0)], np.ones((1, 1), bool), 1, 2, 0.5, 0.1, n_coordinates=2
    )
    assert total == 4
    assert_allclose(users, [[1 + 0.1 * (4 - 1) / 2, 0.1 * 2 / 2]])
    assert_allclose(items, [[2.0, 1 + 0.1 * -1]])
    assert_allclose(memory, [[4 + (9 + 4) / 2], [1 + (0 + 1) / 2], [4], [4]])
    assert_allclose(biases, [[0.5 + 0.1 * (2 - 1) / 2]] * 2)


def test_best_columns_by_hand():
    table, columns = np.array([[1.0], [-1.0]]), np.array([[1.0], [3.0], [3.0]])
    hidden = np.array([[False, False, False], [True, True, False]])
    items, scores = reference.best_columns(table, columns, 4, hidden)
    np.testing.assert_array_equal(items, [[1, 2, 0, -1], [2, -1, -1, -1]])
    np.testing.assert_array_equal(scores, [[3, 3, 1, -np.inf], [-3, *[-np.inf] * 3]])
