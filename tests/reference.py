"""The models the slow, obvious way: what the kernels are tested against.

Parameters of a factorization machine are ``(intercept, coef, components)`` of shapes (n_outputs,),
(n_outputs, n_features) and (n_outputs, n_components, n_features). Those of a matrix factorization
are ``(users, items, user_bias, item_bias)`` of shapes (n_users, n_components), (n_items,
n_components), (n_users,) and (n_items,). ``X`` is a dense array throughout.
"""

from itertools import combinations

import numpy as np
from scipy.optimize import minimize
from scipy.stats import norm

from skfm._utils.sparse_entries import mix


def predict(intercept, coef, components, X):
    """Raw output of one model: a loop over rows and over pairs ``i < j`` of features."""
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


HUBER_EPSILON, QUANTILE = 0.8, 0.3  # what the losses of these names are tested with


def loss(kind, z, y):
    """Loss of one row; ``z`` is a number, or the vector of the classes' outputs."""
    if kind == "squared_error":
        return (z - y) ** 2 / 2
    if kind == "absolute_error":
        return abs(z - y)
    if kind == "huber":
        r = abs(z - y)
        return r**2 / 2 if r <= HUBER_EPSILON else HUBER_EPSILON * (r - HUBER_EPSILON / 2)
    if kind == "quantile":
        return QUANTILE * (y - z) if y > z else (1 - QUANTILE) * (z - y)
    if kind == "poisson":
        mean = np.exp(min(z, 30)) * (1 + max(z - 30, 0))  # a line beyond 30
        return mean - y - (y * (z - np.log(y)) if y > 0 else 0)
    if kind == "log_loss":
        return np.logaddexp(0, z) - y * z
    if kind == "softmax":
        return np.logaddexp.reduce(z) - z[int(y)]
    if kind == "squared_hinge":
        signs = 2 * _is_class(z, y) - 1
        return (np.maximum(1 - signs * z, 0) ** 2).sum()
    raise ValueError(kind)


def _is_class(z, y):
    """1 for the output of the row's class, else 0; of two classes there is one output."""
    return np.arange(np.size(z)) == y if np.size(z) > 1 else np.asarray(y)


def losses(kind, Z, y):
    """Loss of each row for raw outputs of shape (n_rows, n_outputs)."""
    if Z.shape[1] == 1:
        Z = Z[:, 0]
    return np.array([loss(kind, z, target) for z, target in zip(Z, y, strict=True)])


def loss_gradient(kind, Z, y):
    """Derivatives of each row's loss, (n_rows, n_outputs)."""
    residual = Z - np.asarray(y)[:, None]
    if kind == "squared_error":
        return residual
    if kind == "absolute_error":
        return np.sign(residual)
    if kind == "huber":
        return np.clip(residual, -HUBER_EPSILON, HUBER_EPSILON)
    if kind == "quantile":
        return np.where(residual > 0, 1 - QUANTILE, np.where(residual < 0, -QUANTILE, 0))
    if kind == "poisson":
        return np.exp(np.minimum(Z, 30)) - np.asarray(y)[:, None]
    if kind == "log_loss":
        return np.exp(-np.logaddexp(0, -Z)) - np.asarray(y)[:, None]
    if kind == "softmax":
        probability = np.exp(Z - np.logaddexp.reduce(Z, axis=1)[:, None])
        probability[np.arange(len(y)), np.asarray(y, dtype=int)] -= 1
        return probability
    if kind == "squared_hinge":
        signs = 2 * np.array([_is_class(z, t) for z, t in zip(Z, y, strict=True)]) - 1
        signs = signs.reshape(Z.shape)
        return -2 * signs * np.maximum(1 - signs * Z, 0)
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


def epoch(
    rule,
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
    lasso=(0.0, 0.0),
):
    """One epoch on summed gradients, batch after batch of row numbers, by an update rule.

    Each feature is divided by its scale; ``parameters`` and ``memory`` belong to these scaled
    features. A batch bears the share of a feature's penalty that its rows have in the feature's
    weight. ``memory`` is what the last epoch returned, or None. ``lasso`` has the penalties of
    ``|w_j|`` and of ``sqrt(n_j) ||v_j||``, for FTRL. Returns the parameters, the memory, and the
    sum of the losses before each update.
    """
    weight = ones_if_none(weight, X)
    scale = feature_scale(X, weight)
    n = np.maximum(feature_weight(X, weight), 1e-300)
    linear, factor = alpha_linear / scale**2, factor_penalties(X, weight, alpha) / scale**2
    linear_lasso, factor_lasso = lasso[0] / scale, lasso[1] * np.sqrt(n) / scale
    ridges, lassos = [0.0, linear, factor], [0.0, linear_lasso, factor_lasso]
    Z = X / scale
    parameters = [array.astype(float) for array in parameters]
    if memory is None:
        memory = [{} for _ in parameters]
    fitted = fit_intercept, fit_linear, True
    total = 0.0
    for rows in batches:
        x, c = Z[rows], weight[rows]
        total += c @ losses(kind, raw_output(parameters, x), y[rows])
        d = _row_gradients(parameters, x, y[rows], c, kind)
        slopes = _sum_gradients(parameters, x, d)
        here = feature_weight(x, c)
        for i, amount, all_weight in (0, c.sum(), 1.0), (1, here, n), (2, here, n):
            if fitted[i]:
                parameters[i] = _MOVES[rule](
                    parameters[i],
                    slopes[i],
                    np.broadcast_to(amount, parameters[i].shape),
                    np.broadcast_to(ridges[i] / all_weight, parameters[i].shape),
                    np.broadcast_to(lassos[i] / all_weight, parameters[i].shape),
                    memory[i],
                    learning_rate,
                    floor,
                )
    return parameters, memory, total


def _move_adagrad(theta, slope, weight, ridge, lasso, memory, rate, floor):
    slope = slope + weight * ridge * theta
    memory["squares"] = memory.get("squares", 0) + slope**2
    return theta - rate * slope / np.sqrt(floor + memory["squares"])


def _move_sgd(theta, slope, weight, ridge, lasso, memory, rate, floor):
    rate = rate / np.sqrt(np.maximum(weight, 1))
    return (theta - rate * slope) / (1 + rate * weight * ridge)


def _move_adam(theta, slope, weight, ridge, lasso, memory, rate, floor):
    slope = slope + weight * ridge * theta
    seen = weight > 0
    zeros = np.zeros(theta.shape)
    steps = memory["steps"] = memory.get("steps", zeros) + seen
    mean, squares = memory.get("mean", zeros), memory.get("squares", zeros)
    mean = memory["mean"] = np.where(seen, 0.9 * mean + 0.1 * slope, mean)
    squares = memory["squares"] = np.where(seen, 0.999 * squares + 0.001 * slope**2, squares)
    factor = np.sqrt(1 - 0.999**steps) / np.where(steps > 0, 1 - 0.9**steps, 1)
    return np.where(seen, theta - rate * factor * mean / (np.sqrt(squares) + 1e-8), theta)


def _move_ftrl(theta, slope, weight, ridge, lasso, memory, rate, floor):
    """As published, with z; factors, of three axes, share a sum of squares and shrink as one."""
    if not memory:
        squares = np.zeros(theta.shape)
        memory.update(z=-theta * np.sqrt(floor) / rate, squares=squares, weight=0 * theta)
    seen = weight > 0
    square = slope**2
    if theta.ndim == 3 and theta.shape[1] > 0:
        square = np.broadcast_to(square.mean(axis=1, keepdims=True), theta.shape)
    before = np.sqrt(floor + memory["squares"])
    memory["squares"] = memory["squares"] + square
    after = np.sqrt(floor + memory["squares"])
    memory["z"] = memory["z"] + slope - (after - before) / rate * theta
    memory["weight"] = memory["weight"] + weight
    z, bound = memory["z"], memory["weight"] * lasso
    length = np.abs(z)
    if theta.ndim == 3:
        length = np.sqrt((z**2).sum(axis=1, keepdims=True)) + 0 * z
    share = np.maximum(length - bound, 0) / np.where(length > 0, length, 1)
    return np.where(seen, -z * share / (after / rate + memory["weight"] * ridge), theta)


_MOVES = {"adagrad": _move_adagrad, "sgd": _move_sgd, "adam": _move_adam, "ftrl": _move_ftrl}


# Matrix factorization. ``stored`` marks the entries of X.


def ridge_objective(x, design, target, weight, penalty, free):
    """``1/2 sum_e w_e (t_e - h_e . x)^2 + 1/2 sum_f d_f x_f^2``, f over the free coordinates."""
    total = 0.0
    for h, t, w in zip(design, target, weight, strict=True):
        total += w * (t - h @ x) ** 2 / 2
    for f in range(len(x)):
        if free[f]:
            total += penalty[f] * x[f] ** 2 / 2
    return total


def ridge_solution(start, design, target, weight, penalty, free):
    """Where that is least; coordinates that are not free stay where they start."""
    free = np.asarray(free, dtype=bool)
    x = np.array(start, dtype=np.float64)
    h = design[:, free]
    rest = target - design[:, ~free] @ x[~free]
    x[free] = np.linalg.solve(
        h.T @ (weight[:, None] * h) + np.diag(penalty[free]), h.T @ (weight * rest)
    )
    return x


def mf_strength(stored, alpha, nu, unobserved_weight=0.0):
    """What multiplies ``1/2 |p_u|^2`` of each row; for the columns pass ``stored.T``.

    A row without entries counts as one with a single entry: its vector is 0 in either case.
    """
    n = stored.sum(axis=1) + unobserved_weight * stored.shape[1]
    return alpha * np.maximum(n, 1) ** nu


def mf_score(parameters, u, i):
    users, items, user_bias, item_bias = parameters
    return user_bias[u] + item_bias[i] + users[u] @ items[i]


def mf_loss(parameters, X, stored, unobserved_weight=None):
    """The sum over the entries: of explicit feedback without a weight, of implicit with one.

    Of explicit feedback X holds ratings less their mean, of implicit feedback confidences.
    """
    total = 0.0
    for u in range(X.shape[0]):
        for i in range(X.shape[1]):
            score = mf_score(parameters, u, i)
            if unobserved_weight is None:
                if stored[u, i]:
                    total += (score - X[u, i]) ** 2 / 2
            else:
                total += unobserved_weight * score**2 / 2
                if stored[u, i]:
                    total += X[u, i] * (score - 1) ** 2 / 2
    return total


def mf_objective(parameters, X, stored, alpha, alpha_bias, nu, unobserved_weight=None):
    """What `MFRecommender` minimizes, of standardized ratings or of confidences."""
    users, items, user_bias, item_bias = parameters
    total = mf_loss(parameters, X, stored, unobserved_weight)
    of_users = mf_strength(stored, alpha, nu, unobserved_weight or 0)
    of_items = mf_strength(stored.T, alpha, nu, unobserved_weight or 0)
    for p, bias, strength in zip(users, user_bias, of_users, strict=True):
        total += (strength * (p @ p) + alpha_bias * bias**2) / 2
    for q, bias, strength in zip(items, item_bias, of_items, strict=True):
        total += (strength * (q @ q) + alpha_bias * bias**2) / 2
    return total


def mf_slopes(parameters, X, stored, alpha, alpha_bias, nu, unobserved_weight=None):
    """The objective by matrix products, and its gradient in the shapes of the parameters."""
    users, items, user_bias, item_bias = parameters
    scores = users @ items.T + user_bias[:, None] + item_bias
    if unobserved_weight is None:
        slope = stored * (scores - X)
        total = (slope**2).sum() / 2
    else:
        confidence = stored * X
        slope = confidence * (scores - 1) + unobserved_weight * scores
        total = (confidence * (scores - 1) ** 2 + unobserved_weight * scores**2).sum() / 2
    of_users = mf_strength(stored, alpha, nu, unobserved_weight or 0)[:, None]
    of_items = mf_strength(stored.T, alpha, nu, unobserved_weight or 0)[:, None]
    total += ((of_users * users**2).sum() + (of_items * items**2).sum()) / 2
    total += alpha_bias * ((user_bias**2).sum() + (item_bias**2).sum()) / 2
    return total, (
        slope @ items + of_users * users,
        slope.T @ users + of_items * items,
        slope.sum(axis=1) + alpha_bias * user_bias,
        slope.sum(axis=0) + alpha_bias * item_bias,
    )


def mf_item_sums(users, points, X, stored, goal, is_confidence):
    """What users contribute to the normal equations of the items, each at its own point.

    For each item, the diagonal, the descent direction, and the weighted squared residuals.
    """
    diagonal, gradient = np.zeros(points.shape), np.zeros(points.shape)
    squares = np.zeros(len(points))
    for u, i in np.argwhere(stored):
        weight, target = (X[u, i], 1.0) if is_confidence else (1.0, X[u, i])
        residual = goal * target - users[u] @ points[i]
        diagonal[i] += weight * users[u] ** 2
        gradient[i] += weight * residual * users[u]
        squares[i] += weight * residual**2
    return diagonal, gradient, squares


def mf_sgd_epoch(
    parameters,
    memory,
    entries,
    stored,
    alpha,
    alpha_bias,
    nu,
    learning_rate,
    n_coordinates,
    fit_bias=True,
):
    """One step for each (user, item, target) of ``entries``, in this order.

    AdaGrad: each step is divided by the root of a sum of squared slopes, which ``memory`` holds
    in the order of the parameters, one number for a vector: the sum over its coordinates, divided
    by ``n_coordinates``. A bias's sum has this step's slope, a vector's has not. A step bears its
    share of the penalty: that of the user or item, divided by its number of entries. Returns the
    parameters, the memory, and the sum of the squared errors, each before its step.
    """
    users, items, user_bias, item_bias = (array.copy() for array in parameters)
    memory = [array.copy() for array in memory]
    n_user, n_item = stored.sum(axis=1), stored.sum(axis=0)
    of_users = mf_strength(stored, alpha, nu)
    of_items = mf_strength(stored.T, alpha, nu)
    total = 0.0
    for u, i, target in entries:
        error = target - mf_score((users, items, user_bias, item_bias), u, i)
        total += error**2
        slope_user = of_users[u] / n_user[u] * users[u] - error * items[i]
        slope_item = of_items[i] / n_item[i] * items[i] - error * users[u]
        users[u] -= learning_rate * slope_user / np.sqrt(memory[0][u])
        items[i] -= learning_rate * slope_item / np.sqrt(memory[1][i])
        memory[0][u] += slope_user @ slope_user / n_coordinates
        memory[1][i] += slope_item @ slope_item / n_coordinates
        if fit_bias:
            slope_user = alpha_bias / n_user[u] * user_bias[u] - error
            slope_item = alpha_bias / n_item[i] * item_bias[i] - error
            memory[2][u] += slope_user**2
            memory[3][i] += slope_item**2
            user_bias[u] -= learning_rate * slope_user / np.sqrt(memory[2][u])
            item_bias[i] -= learning_rate * slope_item / np.sqrt(memory[3][i])
    return (users, items, user_bias, item_bias), memory, total


def best_columns(table, columns, n_best, hidden):
    """The columns with the largest products for each row, best first, and these products.

    ``hidden`` is True where a column is left out; what is missing is -1 with -inf.
    """
    scores = table @ columns.T
    scores[hidden] = -np.inf
    missing = max(0, n_best - scores.shape[1])
    scores = np.pad(scores, ((0, 0), (0, missing)), constant_values=-np.inf)
    items = np.argsort(-scores, axis=1, kind="stable")[:, :n_best]
    scores = np.take_along_axis(scores, items, axis=1)
    return np.where(scores > -np.inf, items, -1), scores


def best_objective(parameters, data, n_starts=4):
    """The lowest objective that L-BFGS finds, from the given parameters and from random ones."""
    shape = parameters[2].shape
    rng = np.random.default_rng(0)

    def value_and_slope(vector):
        model = unflatten(vector, *shape)
        slope = flatten(gradient(model, *data))
        return objective(model, *data), slope

    start = flatten(parameters)
    starts = [start] + [rng.normal(size=start.size) / 2 for _ in range(n_starts)]
    options = {"jac": True, "method": "L-BFGS-B", "options": {"maxiter": 3000}}
    return min(minimize(value_and_slope, start, **options).fun for start in starts)


# A model column by column. ``precision`` and ``mean`` of the priors have shape (n_features, 1 +
# n_components), as ``noise`` has: factors first, the linear weight last.


def column_sweep(
    parameters,
    X,
    target,
    weight,
    order,
    noise_precision,
    prior_precision,
    prior_mean,
    block,
    noise=None,
    overrelaxation=0.0,
    fit_linear=True,
    damping=0.0,
):
    """A model (intercept, coef, components) of one output after a sweep over its columns.

    For each column in ``order`` and each ``block`` of its factors, the linear weight being with
    the first, a ridge regression of what the others leave of the target. With noise the result is
    a draw around the solution, on the other side of it than the present parameters. The diagonal
    is raised by ``damping`` times what the rows add to it.
    """
    intercept, coef, components = parameters
    coef, components = coef.astype(np.float64), components.astype(np.float64)
    weight = ones_if_none(weight, X)
    n_components = components.shape[0]
    for j in order:
        for start in range(0, max(n_components, 1), block):
            numbers = list(range(start, min(start + block, n_components)))
            x = X[:, j]
            H = [x * (X @ components[f] - x * components[f, j]) for f in numbers]
            present = [components[f, j] for f in numbers]
            if start == 0 and fit_linear:
                H.append(x)
                present.append(coef[j])
                numbers.append(n_components)
            if not numbers:
                continue
            H, present = np.transpose(H), np.array(present)
            own = H @ present
            rest = target - (raw_output_of(intercept, coef, components, X) - own)
            squares = noise_precision * weight @ H**2
            Q = np.diag(prior_precision[j, numbers])
            A = noise_precision * H.T @ (weight[:, None] * H) + Q
            b = noise_precision * H.T @ (weight * rest) + Q @ prior_mean[j, numbers]
            slope = b - A @ present
            A[np.diag_indices(len(numbers))] += damping * squares
            solution = present + np.linalg.solve(A, slope)
            if noise is not None:
                lower = np.linalg.cholesky(A)
                spread = np.linalg.solve(lower.T, noise[j, numbers])
                solution = (
                    present
                    + (1 + overrelaxation) * (solution - present)
                    + np.sqrt(1 - overrelaxation**2) * spread
                )
            for number, value in zip(numbers, solution, strict=True):
                if number < n_components:
                    components[number, j] = value
                else:
                    coef[j] = value
    return intercept, coef, components


def raw_output_of(intercept, coef, components, X):
    """Raw outputs (n_rows,) of a model of one output."""
    return raw_output(([intercept], [coef], [components]), X)[:, 0]


LEAST_ERROR = 1e-3  # of the robust losses; nearer to 0 their parabolas get no steeper


def curvature(kind, z, y):
    """Second derivative of the parabola in the place of a loss of one output."""
    if kind == "squared_error":
        return 1.0
    if kind == "log_loss":
        return 0.25 if z == 0 else np.tanh(z / 2) / (2 * z)
    if kind == "squared_hinge":
        return 2.0
    if kind == "huber":
        return min(1.0, HUBER_EPSILON / max(abs(z - y), 1e-300))
    if kind == "absolute_error":
        return 1 / max(abs(z - y), LEAST_ERROR)
    if kind == "quantile":
        return 1 / (2 * max(abs(z - y), LEAST_ERROR))
    if kind == "poisson":
        mean = np.exp(min(z, 30))
        if z >= 30 or y == 0 or abs(mean - y) <= 1e-3 * y:
            return mean
        return (mean - y) / (z - np.log(y))  # the slope falls to 0 at the loss's minimum
    raise ValueError(kind)


def parabolas(kind, Z, y, output):
    """Slope and curvature of each row's loss in one of its outputs, the others being held."""
    slopes = loss_gradient(kind, Z, y)[:, output]
    n_outputs = Z.shape[1]
    curvatures = []
    for z, target in zip(Z, y, strict=True):
        own, label = z[output], target if n_outputs == 1 else float(target == output)
        if kind == "softmax":
            rest = np.logaddexp.reduce(np.delete(z, output))
            curvatures.append(curvature("log_loss", own - rest, label))
        else:
            curvatures.append(curvature(kind, own, label))
    return slopes, np.array(curvatures)


def descent_sweep(
    parameters, X, y, weight, kind, order, linear_penalty, factor_penalty, block, **options
):
    """Intercepts, then columns, of one output after the other: parameters and objective.

    ``linear_penalty`` and ``factor_penalty`` (n_features,) are those of ``1/2 w_j^2`` and ``1/2
    |v_j|^2``. Options are ``fit_intercept``, ``fit_linear`` and ``damping``.
    """
    intercept, coef, components = (np.array(part, dtype=np.float64) for part in parameters)
    weight = ones_if_none(weight, X)
    n_components = components.shape[1]
    prior = np.column_stack([factor_penalty] * n_components + [linear_penalty])
    for c in range(len(intercept)):
        Z = raw_output((intercept, coef, components), X)
        slopes, curvatures = parabolas(kind, Z, y, c)
        goal = Z[:, c] - slopes / curvatures
        share = weight * curvatures
        if options.get("fit_intercept", True):
            intercept[c] += share @ (goal - Z[:, c]) / share.sum()
        model = intercept[c], coef[c], components[c]
        _, coef[c], components[c] = column_sweep(
            *(model, X, goal, share, order, 1.0, prior, 0 * prior, block),
            fit_linear=options.get("fit_linear", True),
            damping=options.get("damping", 0.0),
        )
    parameters = intercept, coef, components
    total = weight @ losses(kind, raw_output(parameters, X), y)
    total += (linear_penalty * coef**2).sum() / 2
    total += (factor_penalty * (components**2).sum(axis=1)).sum() / 2
    return parameters, total


def column_blocks(X):
    """A number for each column: the next one as soon as a row has two of a block."""
    blocks, start = [], 0
    for j in range(X.shape[1]):
        if ((X[:, start:j] != 0).any(axis=1) & (X[:, j] != 0)).any():
            start = j
            blocks.append(blocks[-1] + 1)
        else:
            blocks.append(blocks[-1] if blocks else 0)
    return np.array(blocks, dtype=int)


def column_colors(X):
    """For each column the least number that no column before it in any of its rows has."""
    colors = []
    for j in range(X.shape[1]):
        rows = X[:, j] != 0
        taken = {color for k, color in enumerate(colors) if (X[rows, k] != 0).any()}
        colors.append(min(set(range(len(colors) + 1)) - taken))
    return np.array(colors, dtype=int)


# Machines of other products than all pairs. A component of degree d multiplies sets of d features.
# ``degrees`` (n_components,) has that of each, and ``allowed`` (n_features, n_features), symmetric
# and boolean, the pairs that may be in one set. ``has_linear`` (n_features,) says which
# features have linear weights.


def product_output(intercept, coef, components, X, allowed, degrees):
    """Raw output of one model: a loop over rows, over components and over sets of features."""
    X = np.asarray(X, dtype=np.float64)
    output = np.empty(X.shape[0])
    for r, x in enumerate(X):
        z = float(intercept)
        for j in range(x.size):
            z += coef[j] * x[j]
        for v, degree in zip(components, degrees, strict=True):
            for chosen in combinations(np.flatnonzero(x), degree):
                product = 1.0
                for j in chosen:
                    product *= x[j] * v[j]
                for i, j in combinations(chosen, 2):
                    product *= allowed[i, j]
                z += product
        output[r] = z
    return output


def product_sets(degree, allowed):
    """The sets of so many features that count, (n_sets, degree)."""
    sets = [
        chosen
        for chosen in combinations(range(len(allowed)), degree)
        if all(allowed[i, j] for i, j in combinations(chosen, 2))
    ]
    return np.array(sets, dtype=int).reshape(-1, degree)


def product_objective(
    parameters, X, y, weight, kind, alpha, alpha_linear, allowed, degrees, has_linear
):
    """The same as `objective` of such models, and its gradient.

    A model is linear in the products of its sets, whose weights are sums over components.
    """
    intercept, coef, components = parameters
    weight = ones_if_none(weight, X)
    Z = intercept + X @ (coef * has_linear).T
    parts = []
    for degree in np.unique(degrees):
        sets, own = product_sets(degree, allowed), degrees == degree
        products = X[:, sets].prod(axis=2)
        Z = Z + products @ components[:, own][:, :, sets].prod(axis=3).sum(axis=1).T
        parts.append((sets, own, products))
    penalties = factor_penalties(X, weight, alpha)
    total = weight @ losses(kind, Z, y)
    total += alpha_linear / 2 * (coef**2 * has_linear).sum()
    total += (penalties * (components**2).sum(axis=(0, 1))).sum() / 2
    d = weight[:, None] * loss_gradient(kind, Z, y)
    of_coef = (d.T @ X + alpha_linear * coef) * has_linear
    of_components = penalties * components
    for sets, own, products in parts:
        slope = np.zeros(components[:, own].shape)
        for place in range(sets.shape[1]):
            others = np.delete(sets, place, axis=1)
            slopes = (d.T @ products)[:, None] * components[:, own][:, :, others].prod(axis=3)
            np.add.at(slope, (slice(None), slice(None), sets[:, place]), slopes)
        of_components[:, own] += slope
    return total, (d.sum(axis=0), of_coef, of_components)


def best_product_objective(parameters, data, n_starts=4):
    """The lowest objective that L-BFGS finds, from the given parameters and from random ones."""
    rng = np.random.default_rng(0)

    def value_and_slope(vector):
        total, slope = product_objective(unflatten(vector, *parameters[2].shape), *data)
        return total, flatten(slope)

    start = flatten(parameters)
    starts = [start] + [rng.normal(size=start.size) / 2 for _ in range(n_starts)]
    options = {"jac": True, "method": "L-BFGS-B", "options": {"maxiter": 3000}}
    return min(minimize(value_and_slope, start, **options).fun for start in starts)


def free_shares(begin, seen):
    """The items to draw from, each as often as it has shares and is not seen."""
    n_items = len(begin) - 1
    return [i for i in range(n_items) if i not in seen for _ in range(begin[i + 1] - begin[i])]


def ranking_loss(kind, score, other, n_free=None, n_tried=None):
    """Loss of a chosen item's score against that of one drawn, None if there is none.

    Of "warp" what is lowered: the hinge times its weight.
    """
    if kind == "logistic":
        return np.logaddexp(0, -score) + (0 if other is None else np.logaddexp(0, other))
    if other is None:
        return 0.0
    if kind == "bpr":
        return np.logaddexp(0, other - score)
    return np.log1p(max(n_free // n_tried, 1)) / np.log1p(n_free) * (1 - score + other)


def shrunk_regression(X, shrinkage, residual, slopes):
    """What `item_regression.regress` makes of its arrays, with a residual for each feature."""
    Y = residual + X @ slopes
    slopes = slopes.copy()
    for j in range(X.shape[1]):
        x = X[:, j]
        alone = Y - X @ slopes + np.outer(x, slopes[j])
        slopes[j] = shrinkage[j] * (x @ alone) / (x @ x)
    return Y - X @ slopes, slopes


def shrinkage_factors(square, noise, is_informative, n_outputs, n_steps=20, n_null=10):
    """`adaptive_shrinkage.shrinkage_factors`, feature by feature."""
    speakers = np.flatnonzero(is_informative)
    grid = [0.0, min(noise[j] for j in speakers) / 10]
    while grid[-1] < max(square[j] for j in speakers):
        grid.append(2 * grid[-1])

    def density(j, g):
        """Of estimates of this mean square, all of them alike."""
        if not is_informative[j]:
            return 1.0
        scale = np.sqrt(grid[g] + noise[j])
        return np.exp(n_outputs * norm.logpdf(np.sqrt(square[j]), scale=scale))

    weight = [1 / len(grid)] * len(grid)
    for _ in range(n_steps):
        counts = [0.0] * len(grid)
        counts[0] = n_null
        for j in speakers:
            chances = [w * density(j, g) for g, w in enumerate(weight)]
            for g, chance in enumerate(chances):
                counts[g] += chance / sum(chances)
        weight = [count / sum(counts) for count in counts]
    shrinkage = []
    for j in range(len(square)):
        chances = [w * density(j, g) for g, w in enumerate(weight)]
        shares = [grid[g] / (grid[g] + noise[j]) for g in range(len(grid))]
        shrinkage.append(np.dot(chances, shares) / sum(chances))
    return np.array(shrinkage)


def marginal_likelihood_regression(X, residual, slopes, shrinkage, n_sweeps):
    """What `item_regression.regress_marginal_likelihood` makes of its arrays."""
    Y = residual + X @ slopes
    slopes, shrinkage = slopes.copy(), shrinkage.copy()
    n_rows, n_outputs = Y.shape
    for _ in range(n_sweeps):
        for j in range(X.shape[1]):
            x = X[:, j]
            if not x.any():
                continue
            fitted = Y - X @ slopes
            alone = fitted + np.outer(x, slopes[j])
            q = x @ alone / (x @ x)
            n_free = max(n_rows - (shrinkage.sum() - shrinkage[j]), 1)
            overall = (fitted**2).sum() / n_free / (x @ x)
            of_rows = (x**2 @ (alone**2).sum(axis=1)) / (x @ x) ** 2
            noise = (1 + 4 * np.sqrt(2 / n_outputs)) * max(overall, of_rows)
            shrinkage[j] = max(1 - noise / (q @ q), 0)
            slopes[j] = shrinkage[j] * q
    return Y - X @ slopes, slopes, shrinkage


# Ratings that a row of a log gets as features


def slow_fold(log, user, item, n_folds=2):
    """The fold of a pair of the log: its rank by a hash among the user's, modulo their number."""
    items = sorted({event[1] for event in log})
    hashes = mix(np.arange(len(items), dtype=np.uint64) + np.uint64(1))
    hashes = dict(zip(items, hashes, strict=True))
    own = sorted({event[1] for event in log if event[0] == user}, key=lambda i: hashes[i])
    return own.index(item) % n_folds if item in own else None


def slow_ratings(log, targets, user, item, n_folds=2):
    fold = slow_fold(log, user, item, n_folds)
    by_pair = {}
    for event, target in zip(log, targets, strict=True):
        if fold is None or slow_fold(log, *event[:2], n_folds) != fold:
            by_pair.setdefault(event[:2], []).append(target)
    ratings = {pair: np.mean(values) for pair, values in by_pair.items()}
    mean = np.mean(list(ratings.values())) if ratings else 0

    def deviation(i):
        of_item = [rating - mean for pair, rating in ratings.items() if pair[1] == i]
        return sum(of_item) / (25 + len(of_item))

    rest = {i: r - mean - deviation(i) for (u, i), r in ratings.items() if u == user}
    of_user = sum(rest.values()) / (10 + len(rest))
    return {i: (value - of_user) / len(rest) ** 0.5 for i, value in rest.items()}


# Factorization machines with parameters of pairs of fields. ``fields`` (n_features,) numbers the
# field of each feature, and ``allowed`` (n_fields, n_fields) says which fields interact. The
# components of "aware" models have the shape (n_outputs, n_fields, n_components, n_features).


def field_output(kind, intercept, coef, components, between, X, fields, allowed):
    """Raw output of one model: a loop over rows and over pairs ``i < j`` of entries.

    ``between[a, b]`` is the weight or the matrix of two fields; other kinds have None.
    """
    output = np.empty(len(X))
    for r, x in enumerate(np.asarray(X, dtype=np.float64)):
        z = float(intercept)
        for j in range(x.size):
            z += coef[j] * x[j]
        for i, j in combinations(np.flatnonzero(x), 2):
            a, b = fields[i], fields[j]
            if not allowed[a, b]:
                continue
            if kind == "aware":
                product = components[b, :, i] @ components[a, :, j]
            elif kind == "matrixed":
                product = components[:, i] @ between[a, b] @ components[:, j]
            else:
                weight = between[a, b] if kind == "weighted" else 1.0
                product = weight * (components[:, i] @ components[:, j])
            z += product * x[i] * x[j]
        output[r] = z
    return output


def plain_pairs(kind, n_outputs, n_fields, n_components):
    """The parameters of pairs (n_outputs, n_pairs, n) with which fields interact as in the plain
    model."""
    n_pairs = n_fields * (n_fields - 1) // 2
    if kind == "matrixed":
        return np.tile(np.eye(n_components).ravel(), (n_outputs, n_pairs, 1))
    return np.ones((n_outputs, n_pairs, int(kind == "weighted")))


def between_fields(kind, pairs, n_fields, n_components):
    """A matrix (n_fields, n_fields, n_components, n_components) for all fields of one output."""
    between = np.tile(np.eye(n_components), (n_fields, n_fields, 1, 1))
    for parameters, (a, b) in zip(pairs, combinations(range(n_fields), 2), strict=True):
        if kind == "matrixed":
            between[a, b] = parameters.reshape(n_components, n_components)
            between[b, a] = between[a, b].T
        elif kind == "weighted":
            between[a, b] *= parameters[0]
            between[b, a] *= parameters[0]
    return between


def field_objective(
    parameters,
    X,
    y,
    weight,
    loss_kind,
    alpha,
    alpha_linear,
    kind,
    fields,
    allowed,
    alpha_fields=1e-3,
):
    """The same as `objective` of such models, and its gradient.

    The parameters of pairs are the fourth part of ``parameters``; their squared distance from
    `plain_pairs` is added, times ``alpha_fields`` and half the total weight. With a vector
    ``v_ij`` of feature i for the field of feature j, the product of two features is
    ``v_ij' M_ij v_ji`` for all kinds.
    """
    intercept, coef, components, pairs = parameters
    weight = ones_if_none(weight, X)
    n_outputs, n_fields, n = len(intercept), len(allowed), components.shape[-2]
    mask = allowed[np.ix_(fields, fields)] & ~np.eye(fields.size, dtype=bool)
    vectors, right, Z = [], [], np.empty((len(X), n_outputs))
    for c in range(n_outputs):
        of_fields = components[c] if kind == "aware" else [components[c]] * n_fields
        vectors.append(np.moveaxis(np.array(of_fields)[fields], 2, 0))
        matrices = between_fields(kind, pairs[c], n_fields, n)[np.ix_(fields, fields)]
        right.append(np.einsum("ijfg,jig->ijf", matrices, vectors[c]))
        products = np.einsum("ijf,ijf->ij", vectors[c], right[c]) * mask
        Z[:, c] = intercept[c] + X @ coef[c] + ((X @ products) * X).sum(axis=1) / 2
    penalties = factor_penalties(X, weight, alpha)
    distance = pairs - plain_pairs(kind, n_outputs, n_fields, n)
    counts = np.array([allowed[a, b] for a, b in combinations(range(n_fields), 2)], dtype=float)
    distance = distance * counts[:, None]
    total = weight @ losses(loss_kind, Z, y) + alpha_linear / 2 * (coef**2).sum()
    of_distance = alpha_fields * weight.sum()
    total += (penalties * components**2).sum() / 2 + of_distance * (distance**2).sum() / 2
    d = weight[:, None] * loss_gradient(loss_kind, Z, y)
    of_components, of_pairs = penalties * components, of_distance * distance
    for c in range(n_outputs):
        slopes = (X.T @ (d[:, c, None] * X)) * mask
        steps = slopes[:, :, None] * right[c]
        for b in range(n_fields):
            of_partner = steps[:, fields == b].sum(axis=1).T
            of_components[(c, b) if kind == "aware" else c] += of_partner
        for p, (a, b) in enumerate(combinations(range(n_fields), 2)):
            own = slopes[np.ix_(fields == a, fields == b)]
            one = vectors[c][np.ix_(fields == a, fields == b)]
            other = vectors[c][np.ix_(fields == b, fields == a)]
            if kind == "matrixed":
                of_pairs[c, p] += np.einsum("ij,ijf,jig->fg", own, one, other).ravel()
            elif kind == "weighted":
                of_pairs[c, p] += np.einsum("ij,ijf,jif->", own, one, other)
    return total, (d.sum(axis=0), d.T @ X + alpha_linear * coef, of_components, of_pairs)


def unflatten_like(vector, parameters):
    """The parts of a vector in the shapes of these parameters."""
    ends = np.cumsum([np.size(part) for part in parameters])
    parts = np.split(vector, ends[:-1])
    return tuple(p.reshape(np.shape(q)) for p, q in zip(parts, parameters, strict=True))


def best_field_objective(parameters, data, n_starts=2):
    """The lowest objective that L-BFGS finds, from the given parameters and from random ones."""
    rng = np.random.default_rng(0)

    def value_and_slope(vector):
        total, slope = field_objective(unflatten_like(vector, parameters), *data)
        return total, flatten(slope)

    start = flatten(parameters)
    starts = [start] + [start + rng.normal(size=start.size) / 2 for _ in range(n_starts)]
    options = {"jac": True, "method": "L-BFGS-B", "options": {"maxiter": 500}}
    return min(minimize(value_and_slope, start, **options).fun for start in starts)


# --- neighbors and weights between items


def document_weights(X, metric, k1, b, learned_from=None):
    """Rows as documents, weighted for a similarity; statistics are those of ``learned_from``."""
    learned_from = X if learned_from is None else learned_from
    n, with_term = len(learned_from), (learned_from > 0).sum(axis=0)
    if metric in ("jaccard", "overlap"):
        return (X > 0).astype(float)
    if metric == "tfidf":
        return X * (1 + np.log((1 + n) / (1 + with_term)))
    if metric == "bm25":
        length = X.sum(axis=1, keepdims=True) / learned_from.sum(axis=1).mean()
        idf = np.log(1 + (n - with_term + 0.5) / (with_term + 0.5))
        return np.where(X > 0, X * (k1 + 1) / (X + k1 * (1 - b + b * length)), 0) * idf
    return X


def similarities(A, B, metric, shrinkage):
    """Of all rows of A and all rows of B, as weighted by `document_weights`."""
    products = A @ B.T
    if metric == "bm25":
        return products
    if metric in ("jaccard", "overlap"):
        n_a, n_b = A.sum(axis=1)[:, None], B.sum(axis=1)[None]
        below = n_a + n_b - products if metric == "jaccard" else np.minimum(n_a, n_b)
    else:
        below = np.linalg.norm(A, axis=1)[:, None] * np.linalg.norm(B, axis=1)[None]
    below = below + shrinkage
    return np.divide(products, below, out=np.zeros_like(products), where=products > 0)


def keep_largest(S, k):
    """The ``k`` largest values of each row, the first of equal ones; zeros elsewhere."""
    kept = np.zeros_like(S)
    for row, values in zip(kept, S, strict=True):
        best = np.argsort(-values, kind="stable")[:k]
        row[best] = np.maximum(values[best], 0)
    return kept


def item_neighbors(X, metric, shrinkage, k1, b, k):
    """Item weights: column j has the neighbors of item j."""
    W = document_weights(X.T, metric, k1, b)
    S = similarities(W, W, metric, shrinkage)
    np.fill_diagonal(S, 0)
    return keep_largest(S, k).T


def user_neighbor_scores(X, rows, metric, shrinkage, k1, b, k):
    """Scores of all items for some rows, by their neighbors among the rows of X."""
    W, Q = document_weights(X, metric, k1, b), document_weights(rows, metric, k1, b, X)
    return keep_largest(similarities(Q, W, metric, shrinkage), k) @ X


def ease_weights(X, alpha):
    """Each item's ridge regression on the others, one after the other."""
    n = X.shape[1]
    B = np.zeros((n, n))
    for j in range(n):
        others = np.flatnonzero(np.arange(n) != j)
        A = X[:, others]
        B[others, j] = np.linalg.solve(A.T @ A + alpha * np.eye(n - 1), A.T @ X[:, j])
    return B


def rp3beta_weights(X, alpha, beta, k):
    """Walks from item to user to item, one sum over users for each pair of items."""
    with np.errstate(divide="ignore", invalid="ignore"):
        to_user = np.nan_to_num((X / X.sum(axis=0)).T) ** alpha * (X.T > 0)
        to_item = np.nan_to_num(X / X.sum(axis=1, keepdims=True)) ** alpha * (X > 0)
        W = np.nan_to_num(to_user @ to_item / X.sum(axis=0) ** beta)
    np.fill_diagonal(W, 0)
    return keep_largest(W.T, k).T


def slim_objectives(X, W, alpha, alpha_l1):
    """The objective of each item."""
    errors = ((X - X @ W) ** 2).sum(axis=0)
    return (errors + alpha * (W**2).sum(axis=0)) / 2 + alpha_l1 * np.abs(W).sum(axis=0)


def slim_weights(X, alpha, alpha_l1, positive, n_sweeps=3000):
    """Coordinate descent over all weights in turn, with residuals."""
    n = X.shape[1]
    W = np.zeros((n, n))
    for j in range(n):
        residual = X[:, j].astype(float)
        for _ in range(n_sweeps):
            before = W[:, j].copy()
            for i in np.flatnonzero((np.arange(n) != j) & X.any(axis=0)):
                target = X[:, i] @ residual + X[:, i] @ X[:, i] * W[i, j]
                w = np.sign(target) * max(abs(target) - alpha_l1, 0) / (X[:, i] @ X[:, i] + alpha)
                w = max(w, 0) if positive else w
                residual -= (w - W[i, j]) * X[:, i]
                W[i, j] = w
            if np.abs(W[:, j] - before).max() < 1e-12:
                break
    return W
