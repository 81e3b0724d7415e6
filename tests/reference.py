"""Factorization machines the slow, obvious way: what the kernels are tested against.

Parameters of a model are ``(intercept, coef, components)`` of shapes (n_outputs,), (n_outputs,
n_features) and (n_outputs, n_components, n_features). ``X`` is a dense array throughout.
"""

import numpy as np


def predict(intercept, coef, components, X):
    """Raw output of one machine: a loop over rows and over pairs ``i < j`` of features."""
    X = np.asarray(X, dtype=np.float64)
    n_features = X.shape[1]
    output = np.empty(X.shape[0])
    for r, x in enumerate(X):
        z = float(intercept)
        for j in range(n_features):
            z += coef[j] * x[j]
        for i in range(n_features):
            for j in range(i + 1, n_features):
                if x[i] != 0 and x[j] != 0:
                    z += np.dot(components[:, i], components[:, j]) * x[i] * x[j]
        output[r] = z
    return output


def raw_output(parameters, X):
    """Raw outputs (n_rows, n_outputs) from the matrix of products ``v_i . v_j`` with i != j."""
    columns = []
    for intercept, coef, components in zip(*parameters, strict=True):
        products = components.T @ components
        np.fill_diagonal(products, 0)
        columns.append(intercept + X @ coef + ((X @ products) * X).sum(axis=1) / 2)
    return np.stack(columns, axis=1)


def loss(kind, z, y):
    """Loss of one row; ``z`` is a number, or the vector of the classes' outputs for softmax."""
    if kind == "squared_error":
        return (z - y) ** 2 / 2
    if kind == "log_loss":
        return np.logaddexp(0, z) - y * z
    if kind == "softmax":
        return np.logaddexp.reduce(z) - z[int(y)]
    raise ValueError(kind)


def losses(kind, Z, y):
    """Loss of each row for raw outputs of shape (n_rows, n_outputs)."""
    if kind != "softmax":
        Z = Z[:, 0]
    return np.array([loss(kind, z, target) for z, target in zip(Z, y, strict=True)])


def loss_gradient(kind, Z, y):
    """Derivatives of each row's loss, (n_rows, n_outputs)."""
    if kind == "squared_error":
        return Z - np.asarray(y)[:, None]
    if kind == "log_loss":
        return np.exp(-np.logaddexp(0, -Z)) - np.asarray(y)[:, None]
    if kind == "softmax":
        probability = np.exp(Z - np.logaddexp.reduce(Z, axis=1)[:, None])
        probability[np.arange(len(y)), np.asarray(y, dtype=int)] -= 1
        return probability
    raise ValueError(kind)


def ones_if_none(weight, X):
    return np.ones(X.shape[0]) if weight is None else np.asarray(weight, dtype=np.float64)


def feature_weight(X, weight):
    """The weighted number of rows in which each feature is not zero."""
    return weight @ (X != 0)


def factor_penalties(X, weight, alpha):
    """What multiplies ``1/2 |v_j|^2`` in the objective."""
    return alpha * np.sqrt(feature_weight(X, weight))


def objective(parameters, X, y, weight, kind, alpha, alpha_linear):
    """``sum_i c_i loss_i + 1/2 sum_j (alpha_linear w_j^2 + s_j |v_j|^2)``."""
    weight = ones_if_none(weight, X)
    _, coef, components = parameters
    total = weight @ losses(kind, raw_output(parameters, X), y)
    total += alpha_linear / 2 * (coef**2).sum()
    total += (factor_penalties(X, weight, alpha) * (components**2).sum(axis=(0, 1))).sum() / 2
    return total


def gradient(parameters, X, y, weight, kind, alpha, alpha_linear):
    """Gradient of the objective, in the shapes of the parameters."""
    weight = ones_if_none(weight, X)
    _, coef, components = parameters
    d = _row_gradients(parameters, X, y, weight, kind)
    slopes = _sum_gradients(parameters, X, d)
    shrink = factor_penalties(X, weight, alpha) * components
    return slopes[0], slopes[1] + alpha_linear * coef, slopes[2] + shrink


def _row_gradients(parameters, X, y, weight, kind):
    return weight[:, None] * loss_gradient(kind, raw_output(parameters, X), y)


def _sum_gradients(parameters, X, d):
    """Chain rule from the rows' derivatives ``d`` (n_rows, n_outputs) to the parameters."""
    components = []
    for c, factors in enumerate(parameters[2]):
        pairs = X.T @ (d[:, c, None] * X)
        np.fill_diagonal(pairs, 0)
        components.append(factors @ pairs)
    return d.sum(axis=0), d.T @ X, np.array(components).reshape(parameters[2].shape)


def flatten(parameters):
    return np.concatenate([np.ravel(array) for array in parameters])


def unflatten(vector, n_outputs, n_components, n_features):
    shapes = (n_outputs,), (n_outputs, n_features), (n_outputs, n_components, n_features)
    ends = np.cumsum([np.prod(shape, dtype=int) for shape in shapes])
    return tuple(
        part.reshape(shape)
        for part, shape in zip(np.split(vector, ends[:-1]), shapes, strict=True)
    )


def feature_scale(X, weight=None):
    """Weighted root mean square of each feature where it is not zero; 1 if it is nowhere."""
    weight = ones_if_none(weight, X)
    n = feature_weight(X, weight)
    return np.where(n > 0, np.sqrt(weight @ X**2 / np.maximum(n, 1e-300)), 1.0)


def adagrad_epoch(
    parameters,
    memory,
    batches,
    X,
    y,
    weight,
    kind,
    alpha,
    alpha_linear,
    learning_rate,
    floor,
    fit_intercept=True,
    fit_linear=True,
):
    """One epoch of AdaGrad on summed gradients, batch after batch of row numbers.

    Each feature is divided by its scale; ``parameters`` and ``memory`` belong to these scaled
    features. A batch bears the share of a feature's penalty that its rows have in the feature's
    weight. Returns the parameters, the memory, and the sum of the losses before each update.
    """
    weight = ones_if_none(weight, X)
    scale = feature_scale(X, weight)
    n = np.maximum(feature_weight(X, weight), 1e-300)
    linear_penalty = alpha_linear / scale**2
    factor_penalty = factor_penalties(X, weight, alpha) / scale**2
    Z = X / scale
    parameters = [array.copy() for array in parameters]
    memory = [array.copy() for array in memory]
    fitted = fit_intercept, fit_linear, True
    total = 0.0
    for rows in batches:
        x, c = Z[rows], weight[rows]
        total += c @ losses(kind, raw_output(parameters, x), y[rows])
        d = _row_gradients(parameters, x, y[rows], c, kind)
        slopes = list(_sum_gradients(parameters, x, d))
        share = feature_weight(x, c) / n
        slopes[1] = slopes[1] + share * linear_penalty * parameters[1]
        slopes[2] = slopes[2] + share * factor_penalty * parameters[2]
        for i in range(3):
            if fitted[i]:
                memory[i] += slopes[i] ** 2
                parameters[i] -= learning_rate * slopes[i] / np.sqrt(floor + memory[i])
    return parameters, memory, total
