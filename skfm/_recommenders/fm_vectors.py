"""Contexts and items of a factorization machine as vectors whose products are the scores.

The score of an item in a context is the output of a row that joins the features of both. It falls
into what depends on the context alone, what depends on the item alone, and a product: of the
context's layers and the item's sums, see `Interactions.parts`.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import sparse

from skfm._solvers.fm.column_scaling import subtract
from skfm._solvers.fm.interactions import Interactions
from skfm._utils.pickling import Versioned


@dataclass
class Centered(Versioned):
    """Linear weights of features less their centers, those of contexts first, then of items.

    With columns that are far from 0, the sums of vectors of all items would be nearly the same,
    and differences between items would be rounded away. So these are computed from features less
    their centers.
    """

    center: np.ndarray  # (n_features + n_all_item_features,)
    coef: np.ndarray
    intercept: float


class Side(NamedTuple):
    """The features of contexts, or of items, among those of both."""

    features: slice
    coef: np.ndarray  # (n_side_features,)
    factors: np.ndarray  # (n_side_features, n_components)


class Parts(NamedTuple):
    """What rows of one side bring into scores."""

    output: np.ndarray  # (n_rows,), alone
    sums: np.ndarray  # (n_rows, n_vector), as items
    layers: np.ndarray  # (n_rows, n_vector), as contexts


def parts_of(rows, side: Side, interactions: Interactions, centered: Centered | None):
    """What rows with the features of one side bring into scores."""
    dtype, coef = side.coef.dtype, side.coef
    with np.errstate(over="ignore", invalid="ignore"):
        rows = rows.astype(dtype, copy=False)
        if centered is not None:
            rows = subtract(rows, centered.center[side.features].astype(dtype))
            coef = centered.coef[side.features].astype(dtype)
        return Parts(*interactions.parts(rows, side.features, coef, side.factors))


def require_finite(output, vectors, name):
    if not (np.isfinite(output).all() and np.isfinite(vectors).all()):
        raise ValueError(
            f"{name} has values that are too large for scores in {output.dtype}; scale them, or "
            "lower learning_rate."
        )


def item_coordinates(parts: Parts):
    """Sums, and outputs, which meet a 1 in the vectors of contexts."""
    return np.column_stack([parts.sums, parts.output])


def with_unknown(coordinates):
    """Coordinates of items, and of one of which nothing is known: zeros."""
    return np.concatenate([coordinates, np.zeros_like(coordinates[:1])])


def find_centers(problem, intercept, linear, n_context_features, *, may_differ_by_context):
    """Weights of features less their centers, None if no column is centered.

    Unless ``may_differ_by_context``, what is the same for all items was not learned and is 0.
    """
    if not problem.center.any():
        return None
    center, coef = np.zeros((2, problem.position.size), linear.dtype)
    center[problem.used], coef[problem.used] = problem.center, linear[0]
    if not may_differ_by_context:
        coef[:n_context_features] = 0
    return Centered(center, coef, float(intercept[0]) if may_differ_by_context else 0.0)


def in_units(problem, linear, factors, name):
    """Linear weights and factors of all features of one side; zeros for those never seen."""
    dtype, n_features = problem.data.dtype, problem.position.size
    coef = np.zeros(n_features, dtype)
    table = np.zeros((n_features, factors.shape[1]), dtype)
    with np.errstate(over="ignore"):  # the result is checked instead
        coef[problem.used] = linear
        table[problem.used] = factors
    if not (np.isfinite(coef).all() and np.isfinite(table).all()):
        raise ValueError(
            f"A column of {name} is too small for parameters in {dtype}; scale it, or pass X in "
            "float64."
        )
    return coef, table


def blank_features(given, n_identities):
    """Features of new items: none of their own, then those given."""
    blank = sparse.csr_matrix((given.shape[0], n_identities), dtype=given.dtype)
    return sparse.hstack([blank, given], format="csr")
