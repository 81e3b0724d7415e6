"""Factorization machines as the polynomials that they are: each product of features is a term."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import sparse
from sklearn.utils.validation import check_is_fitted

from skfm._fm.fitted import without_checks_of
from skfm._utils import validation
from skfm.inspection._products import Products, products_of


@dataclass(frozen=True)
class Polynomial:
    """Intercept, linear weights, and products of features."""

    intercept: np.ndarray  # (n_outputs,)
    linear: np.ndarray  # (n_outputs, n_features)
    has_linear: np.ndarray  # (n_features,), booleans
    products: Products

    @property
    def n_outputs(self):
        return self.intercept.size

    def linear_terms(self, features, values):
        """Linear contributions of some entries, (n_outputs, n_entries)."""
        return self.linear[:, features].astype(np.float64) * values

    def product_terms(self, features, values):
        """Contributions of some sets of features, both (n_sets, degree); (n_outputs, n_sets)."""
        return self.products.weights(features) * values.prod(axis=1)


class Explained(NamedTuple):
    """Rows, the polynomial of their entries, and what it gives for them."""

    rows: sparse.csr_matrix
    polynomial: Polynomial
    features: np.ndarray  # what the columns of the rows are, among the features of the model
    output: np.ndarray  # (n_rows, n_outputs), as the model computes it


def of_point_estimate(model, X):
    """FMRegressor and FMClassifier."""
    check_is_fitted(model)
    rows = validation.validate_X(model, X)
    parameters, interactions = model._parameters(), model._interactions
    polynomial = Polynomial(
        parameters.intercept,
        parameters.linear,
        interactions.has_linear,
        products_of(parameters.factors, parameters.field_pairs, interactions),
    )
    with without_checks_of(rows, model):
        output = model._raw_output(rows)
    return Explained(rows, polynomial, np.arange(rows.shape[1]), output)


def of_posterior(model, X):
    """BayesianFMRegressor and BayesianFMClassifier: the mean over the posterior samples."""
    check_is_fitted(model)
    rows = validation.validate_X(model, X)
    state, transform = model._chain_state, model._target_transform
    in_units = state.scaling.apply(rows)
    parameters, features, _ = model._samples.parameters_for(
        in_units, state.group, state.interactions, state.key
    )
    polynomial = _mean_of_draws(parameters, features, state, rows.shape[1], transform)
    mean = model._summarize(in_units, lambda outputs: outputs.mean(axis=1))
    with np.errstate(over="ignore"):
        output = model._as_fitted(mean * transform.unit + transform.shift)
    position = np.zeros(rows.shape[1], rows.indices.dtype)
    position[features] = np.arange(features.size)
    compact = rows.data, position[rows.indices], rows.indptr
    rows = sparse.csr_matrix(compact, shape=(rows.shape[0], features.size))
    return Explained(rows, polynomial, features, output[:, None])


def _mean_of_draws(parameters, features, state, n_features, transform):
    """The mean of posterior samples, as a polynomial of features in the units of X."""
    interactions = state.interactions
    scale = np.ones(n_features)
    scale[state.scaling.used] = state.scaling.scale
    scale = scale[features]
    intercept = parameters.intercept.mean()
    linear = parameters.linear.mean(axis=0, dtype=np.float64)
    center = state.scaling.centers(n_features)[features] / scale
    if center.any():
        shift = np.zeros(features.size)
        for of_draw in zip(parameters.factors, parameters.field_pairs, strict=True):
            factors, field_pairs = (part[None].astype(np.float64) for part in of_draw)
            shift += interactions.linear_shift(features, center, factors, field_pairs)[0]
        shift /= len(parameters.factors)
        intercept += shift @ center / 2 - linear @ center
        linear = linear - shift
    return Polynomial(
        np.array([intercept * transform.unit + transform.shift]),
        (linear * transform.unit / scale)[None],
        interactions.has_linear[features],
        products_of(
            parameters.factors,
            parameters.field_pairs,
            interactions,
            features,
            scale=scale,
            unit=transform.unit,
            is_mean=True,
        ),
    )
