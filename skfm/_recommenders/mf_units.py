"""Ratings in the solver's units, with mean 0 and variance 1, and penalties that fit its dtype."""

import numpy as np
from scipy import sparse


def find_units(values, has_bias):
    """Mean and standard deviation of the ratings, which are standardized inside."""
    dtype = values.dtype
    values = values.astype(np.float64)
    largest = np.abs(values).max() or 1.0  # divided out first, so that no square overflows
    values /= largest
    mean = values.mean() if has_bias else 0.0
    return units_of(largest, mean, np.mean((values - mean) ** 2), dtype)


def units_of(largest, mean, variance, dtype):
    """The same for ratings of which mean and variance are known, after division by the largest."""
    scale = np.sqrt(variance)
    if scale <= 10 * np.finfo(np.float64).eps:  # all equal: what is left is rounding
        scale = 1.0
    limits = np.finfo(dtype)
    if not limits.tiny < scale * largest or largest > limits.max / 4:
        raise ValueError(f"The ratings in X are too large or too small for {dtype}; scale them.")
    return float(mean * largest), float(scale * largest)


def standardise(csr, mean, scale):
    """Ratings in the solver's units."""
    if mean == 0 and scale == 1:
        return csr
    values = ((csr.data - mean) / scale).astype(csr.dtype)
    return sparse.csr_matrix((values, csr.indices, csr.indptr), shape=csr.shape)


def largest_counts(csr):
    """The numbers of entries of the user and of the item with the most of them."""
    return np.diff(csr.indptr).max(), np.bincount(csr.indices, minlength=csr.shape[1]).max()


def check_penalties(model, shape, counts, dtype):
    """Refuse penalties that overflow for users and items with these numbers of entries."""
    n_users, n_items = shape
    with np.errstate(over="ignore"):
        largest = [
            model.strength(np.float64(count), n_others)
            for count, n_others in zip(counts, (n_items, n_users), strict=True)
        ]
        largest = np.asarray([*largest, model.unobserved_weight], dtype)
    if not np.isfinite(largest).all():
        raise ValueError(
            f"alpha={model.alpha}, nu={model.nu} or unobserved_weight={model.unobserved_weight} "
            f"is too large: the penalties overflow in {dtype}. Lower them."
        )
