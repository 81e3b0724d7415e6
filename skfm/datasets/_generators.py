"""Data generated from a known factorization machine."""

import numbers
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from scipy.special import expit, softmax
from sklearn.utils import Bunch, check_random_state

from skfm._utils import validation
from skfm._utils.messages import shown
from skfm._utils.sparse import in_configured_interface, index_type
from skfm._utils.typing import Float, FloatDType, Int, Seed

LARGEST_SCALE = 1e100  # so that its square is finite


def make_fm_regression(
    n_samples: Int = 1000,
    *,
    n_fields: Int = 4,
    n_levels: Int = 50,
    n_components: Int = 4,
    kind: Literal["one_hot", "dense"] = "one_hot",
    skew: Float = 1.0,
    linear_scale: Float = 1.0,
    interaction_scale: Float = 1.0,
    mean: Float = 0.0,
    noise: Float = 0.1,
    return_params: bool = False,
    dtype: FloatDType = np.float64,
    random_state: Seed = None,
) -> tuple[Any, ...]:
    """Generate a regression problem from a factorization machine.

    The targets are the output of a random factorization machine, scaled to standard deviation 1
    over the generated rows, with the given mean, plus normal noise. To get training and test rows
    from the same model, generate them together and split them.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of rows.
    n_fields : int, default=4
        Number of categorical fields, or of columns if ``kind="dense"``.
    n_levels : int, default=50
        Number of categories of each field. Ignored if ``kind="dense"``.
    n_components : int, default=4
        Number of factors of the true model; 0 gives a linear model.
    kind : {"one_hot", "dense"}, default="one_hot"
        Rows of `n_fields` one-hot encoded categories in a sparse matrix, or of `n_fields`
        standard normal numbers in an array.
    skew : float, default=1.0
        Skew of the category frequencies: the k-th most frequent category of a field has a
        probability proportional to ``1 / k ** skew``. (The order of the categories differs
        between fields.) With 0, all categories are equally frequent.
    linear_scale : float, default=1.0
        Standard deviation of the linear part, before scaling the sum of both parts.
    interaction_scale : float, default=1.0
        Standard deviation of the interactions, before scaling the sum of both parts.
    mean : float, default=0.0
        Mean of the targets before noise.
    noise : float, default=0.1
        Standard deviation of the noise.
    return_params : bool, default=False
        Whether to also return the parameters of the true model.
    dtype : {np.float64, np.float32}, default=np.float64
        Type of X and y.
    random_state : int, RandomState instance or None, default=None
        Seed of the data. Pass an int for reproducible results.

    Returns
    -------
    X : CSR matrix of shape (n_samples, n_fields * n_levels) or ndarray of shape \
            (n_samples, n_fields)
        Rows.
    y : ndarray of shape (n_samples,)
        Targets.
    params : :class:`~sklearn.utils.Bunch`
        Only with ``return_params=True``: ``intercept``, ``coef`` and ``components``, named and
        shaped as the fitted attributes of :class:`~skfm.FMRegressor`.

    See Also
    --------
    make_fm_classification : Generate a classification problem.

    Examples
    --------
    >>> from skfm.datasets import make_fm_regression
    >>> X, y, params = make_fm_regression(
    ...     n_fields=3, n_levels=10, n_components=2, return_params=True, random_state=0
    ... )
    >>> X.shape, y.shape
    ((1000, 30), (1000,))
    >>> params.components.shape
    (2, 30)
    """
    mean = validation.check_number(mean, "mean", numbers.Real)
    noise = validation.check_number(noise, "noise", numbers.Real, low=0)
    rng = check_random_state(random_state)
    X = _draw_rows(rng, n_samples, n_fields, n_levels, kind, skew, dtype)
    planted = _plant(rng, X, n_fields, n_components, linear_scale, interaction_scale)
    with np.errstate(over="ignore", invalid="ignore"):
        y = mean + planted.output + noise * rng.standard_normal(X.shape[0])
        y = y.astype(dtype, copy=False)
    if not np.isfinite(y).all():
        raise ValueError(f"mean={mean} or noise={noise} is too large for {np.dtype(dtype)}.")
    if not return_params:
        return in_configured_interface(X), y
    params = Bunch(
        intercept=float(mean + planted.intercept),
        coef=planted.coef,
        components=planted.components,
    )
    return in_configured_interface(X), y, params


def make_fm_classification(
    n_samples: Int = 1000,
    *,
    n_classes: Int = 2,
    n_fields: Int = 4,
    n_levels: Int = 50,
    n_components: Int = 4,
    kind: Literal["one_hot", "dense"] = "one_hot",
    skew: Float = 1.0,
    linear_scale: Float = 1.0,
    interaction_scale: Float = 1.0,
    signal: Float = 2.0,
    base_rate: ArrayLike | None = None,
    return_params: bool = False,
    dtype: FloatDType = np.float64,
    random_state: Seed = None,
) -> tuple[Any, ...]:
    """Generate a classification problem from factorization machines.

    For two classes, the log-odds are the output of a random factorization machine. For more
    classes, each class has its own factorization machine, and the probabilities are their
    softmax. To get training and test rows from the same model, generate them together and split
    them.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of rows.
    n_classes : int, default=2
        Number of classes.
    n_fields : int, default=4
        Number of categorical fields, or of columns if ``kind="dense"``.
    n_levels : int, default=50
        Number of categories of each field. Ignored if ``kind="dense"``.
    n_components : int, default=4
        Number of factors of the true model; 0 gives a linear model.
    kind : {"one_hot", "dense"}, default="one_hot"
        Rows of `n_fields` one-hot encoded categories in a sparse matrix, or of `n_fields`
        standard normal numbers in an array.
    skew : float, default=1.0
        Skew of the category frequencies: the k-th most frequent category of a field has a
        probability proportional to ``1 / k ** skew``. (The order of the categories differs
        between fields.) With 0, all categories are equally frequent.
    linear_scale : float, default=1.0
        Standard deviation of the linear part, before scaling the sum of both parts.
    interaction_scale : float, default=1.0
        Standard deviation of the interactions, before scaling the sum of both parts.
    signal : float, default=2.0
        Standard deviation of the log-odds or, for more than two classes, of the score of each
        class. With 0, the classes do not depend on X.
    base_rate : float or array-like of shape (n_classes,), default=None
        Expected fraction of class 1, or of each class. By default, all are equally frequent.
    return_params : bool, default=False
        Whether to also return the parameters of the true model.
    dtype : {np.float64, np.float32}, default=np.float64
        Type of X.
    random_state : int, RandomState instance or None, default=None
        Seed of the data. Pass an int for reproducible results.

    Returns
    -------
    X : CSR matrix of shape (n_samples, n_fields * n_levels) or ndarray of shape \
            (n_samples, n_fields)
        Rows.
    y : ndarray of shape (n_samples,)
        Classes, from 0 to ``n_classes - 1``.
    params : :class:`~sklearn.utils.Bunch`
        Only with ``return_params=True``: ``intercept``, ``coef`` and ``components``, named and
        shaped as the fitted attributes of :class:`~skfm.FMClassifier`.

    See Also
    --------
    make_fm_regression : Generate a regression problem.

    Examples
    --------
    >>> from skfm.datasets import make_fm_classification
    >>> X, y = make_fm_classification(20_000, base_rate=0.1, random_state=0)
    >>> X.shape
    (20000, 200)
    >>> print(f"{y.mean():.2f}")
    0.10
    """
    n_classes = validation.check_number(n_classes, "n_classes", numbers.Integral, low=2)
    signal = validation.check_number(signal, "signal", numbers.Real, low=0, high=LARGEST_SCALE)
    rates = _check_rates(base_rate, n_classes)
    rng = check_random_state(random_state)
    X = _draw_rows(rng, n_samples, n_fields, n_levels, kind, skew, dtype)
    planted = [
        _plant(rng, X, n_fields, n_components, linear_scale, interaction_scale)
        for _ in range(1 if n_classes == 2 else n_classes)
    ]
    scores = signal * np.column_stack([one.output for one in planted])
    offset = _base_offset(scores, rates)
    chance = rng.random_sample((X.shape[0], 1))
    y = (chance > _cumulated(scores + offset)).sum(axis=1)
    if not return_params:
        return in_configured_interface(X), y
    components = np.sqrt(signal) * np.stack([one.components for one in planted])
    params = Bunch(
        intercept=offset + signal * np.array([one.intercept for one in planted]),
        coef=signal * np.stack([one.coef for one in planted]),
        components=components[0] if n_classes == 2 else components,
    )
    return in_configured_interface(X), y, params


def _check_rates(base_rate, n_classes):
    """Expected fractions of all classes."""
    if base_rate is None:
        return np.full(n_classes, 1 / n_classes)
    try:
        rates = np.asarray(base_rate, dtype=np.float64)
    except (OverflowError, TypeError, ValueError) as error:
        raise TypeError(f"base_rate must contain numbers; got {shown(base_rate)}.") from error
    if rates.ndim == 0 and n_classes == 2:
        rates = np.array([1 - rates, rates])
    if rates.shape != (n_classes,) or not (rates > 0).all() or abs(rates.sum() - 1) > 1e-6:
        raise ValueError(
            "base_rate must be the fraction of class 1, between 0 and 1 (only for two classes), "
            f"or {n_classes} positive fractions that sum to 1; got {shown(base_rate)}."
        )
    return rates / rates.sum()


def _base_offset(scores, rates, tol=1e-6, max_iter=1000):
    """Offsets of the scores for which the mean probabilities are the given rates.

    Iterative proportional fitting: each step adds the log-ratio of target and mean probability.
    """
    if scores.shape[1] == 1:
        target = np.log(rates[1] / rates[0])
    else:
        target = np.log(rates)
    offset = np.broadcast_to(target, scores.shape[1:]).copy()
    for _ in range(max_iter):
        if scores.shape[1] == 1:
            mean = np.clip(expit(scores + offset).mean(), 1e-300, 1 - 1e-16)
            short = target - np.log(mean / (1 - mean))
        else:
            short = target - np.log(softmax(scores + offset, axis=1).mean(axis=0))
        offset += short
        if np.abs(short).max() < tol:
            break
    return offset


def _cumulated(scores):
    """Cumulative probabilities of all classes but the last, for which it is 1."""
    if scores.shape[1] == 1:
        return expit(-scores)
    return np.cumsum(softmax(scores, axis=1), axis=1)[:, :-1]


def _draw_rows(rng, n_samples, n_fields, n_levels, kind, skew, dtype):
    n_samples, n_fields, n_levels = (
        validation.check_number(number, name, numbers.Integral, low=1)
        for number, name in (
            (n_samples, "n_samples"),
            (n_fields, "n_fields"),
            (n_levels, "n_levels"),
        )
    )
    validation.check_option(kind, "kind", ("one_hot", "dense"))
    skew = validation.check_number(skew, "skew", numbers.Real, low=0)
    validation.check_dtype(dtype)
    if kind == "dense":
        return rng.standard_normal((n_samples, n_fields)).astype(dtype, copy=False)
    if n_fields * n_levels > np.iinfo(np.int32).max:
        raise ValueError("n_fields * n_levels must be less than 2 ** 31.")
    share = np.arange(1, n_levels + 1) ** -skew
    bounds = np.cumsum(share / share.sum())[:-1]
    levels = np.empty((n_samples, n_fields), dtype=np.int32)
    for field in range(n_fields):
        # As in real data, the index of a category is unrelated to its frequency.
        names = rng.permutation(n_levels).astype(np.int32) + np.int32(field * n_levels)
        levels[:, field] = names[np.searchsorted(bounds, rng.random_sample(n_samples))]
    size = n_samples * n_fields
    indptr = np.arange(0, size + 1, n_fields, dtype=index_type(size))
    return sparse.csr_matrix(
        (np.ones(size, dtype=dtype), levels.ravel(), indptr),
        shape=(n_samples, n_fields * n_levels),
    )


def _plant(rng, X, n_fields, n_components, linear_scale, interaction_scale):
    """A random factorization machine whose output over X has mean 0 and standard deviation 1."""
    n_fields, n_components = int(n_fields), validation.check_n_components(n_components)
    linear_scale, interaction_scale = (
        validation.check_number(number, name, numbers.Real, low=0, high=LARGEST_SCALE)
        for number, name in (
            (linear_scale, "linear_scale"),
            (interaction_scale, "interaction_scale"),
        )
    )
    coef = rng.standard_normal(X.shape[1])
    components = rng.standard_normal((n_components, X.shape[1]))
    linear, pairs = _outputs(X, n_fields, coef, components)
    by_coef = linear_scale / _deviation(linear)
    by_pairs = interaction_scale / _deviation(pairs)
    output = by_coef * linear + by_pairs * pairs
    unit = _deviation(output)
    output /= unit
    mean = output.mean()
    return Bunch(
        output=output - mean,
        intercept=-mean,
        coef=coef * (by_coef / unit),
        components=components * np.sqrt(by_pairs / unit),
    )


def _deviation(values):
    """Standard deviation to divide by; 1 if it is only a rounding error."""
    deviation = values.std()
    return deviation if deviation > 1e-9 * np.abs(values).max() else 1.0


def _outputs(X, n_fields, coef, components):
    """Linear part and interactions of every row, a few rows at a time to save memory."""
    n_components = components.shape[0]
    table = np.ascontiguousarray(components.T)
    linear, pairs = np.zeros(X.shape[0]), np.zeros(X.shape[0])
    step = max(1, 2**20 // (n_fields * max(n_components, 1)))
    for start in range(0, X.shape[0], step):
        rows = slice(start, start + step)
        if sparse.issparse(X):
            levels = X.indices[start * n_fields : (start + step) * n_fields]
            levels = levels.reshape(-1, n_fields)
            linear[rows] = coef[levels].sum(axis=1)
            factors = table[levels]
            total, own = factors.sum(axis=1), np.einsum("rfk,rfk->r", factors, factors)
        else:
            values = X[rows].astype(np.float64)
            linear[rows] = values @ coef
            total, own = values @ table, (values**2 @ table**2).sum(axis=1)
        if n_fields > 1:  # else there is no pair, only rounding errors
            pairs[rows] = (np.einsum("rk,rk->r", total, total) - own) / 2
    return linear, pairs
