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
    memory = [np.zeros_like(array) for array in scaled]
    rate, floor = 1e-3, 1e8  # floor so large that the step is rate / 1e4 times the gradient
    batch = [np.arange(len(y))]
    moved, _, total = reference.adagrad_epoch(
        scaled, memory, batch, *data, learning_rate=rate, floor=floor
    )
    after = reference.objective((moved[0], moved[1] / scale, moved[2] / scale), *data)
    intercept, coef, components = reference.gradient(parameters, *data)
    square = sum((g**2).sum() for g in (intercept, coef / scale, components / scale))
    assert_allclose((after - before) / (-rate / 1e4 * square), 1, rtol=1e-3)
    assert_allclose(
        total, weight @ reference.losses(kind, reference.raw_output(parameters, X), y)
    )
