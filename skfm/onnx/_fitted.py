"""Fitted estimators as factorization machines: their parameters, in the units of X and y."""

import dataclasses

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skfm._solvers.fm.parameters import Parameters
from skfm.onnx._graph import check_size


def fitted_model(estimator, dtype):
    """The centers of the columns of X; the `Parameters` of X less these; the `Interactions`."""
    check_is_fitted(estimator)
    center, parameters = estimator._centered_parameters()
    check_size(estimator, parameters.factors.size, dtype)
    center = np.zeros(estimator.n_features_in_) if center is None else center
    return center, parameters, estimator._interactions


def posterior_samples(estimator, dtype):
    """The centers of the columns of X; `Parameters` of samples, one output each; `Interactions`.

    The parameters are those of X less the centers. Features that did not occur in training have
    the parameters that predictions draw for them from the prior.
    """
    check_is_fitted(estimator)
    samples, state = estimator._samples, estimator._chain_state
    n_features, used = estimator.n_features_in_, state.scaling.used
    n_samples, _, n_components = samples.factors.shape
    check_size(estimator, n_samples * n_features * max(n_components, 1), dtype)
    linear = np.empty((n_samples, n_features), np.float32)
    factors = np.empty((n_samples, n_features, n_components), np.float32)
    with np.errstate(over="ignore"):  # the graph refuses what is not finite
        linear[:, used] = samples.linear / state.scaling.scale
        factors[:, used] = samples.factors / state.scaling.scale[:, None]
    new = np.setdiff1d(np.arange(n_features), used)
    linear[:, new], factors[:, new] = samples.of_new_features(
        new, state.group, state.interactions, state.key
    )
    center = state.scaling.centers(n_features)
    parameters = Parameters(samples.intercept, linear, factors, samples.field_pairs)
    return center, parameters, state.interactions


def posterior_mean(estimator, dtype):
    """The same for the mean of the samples' outputs, in the units of y.

    It is the output of a single plain factorization machine that has the components of all
    samples. Of pairs, only the inner products count: there, as many components as features are
    enough.
    """
    center, samples, interactions = posterior_samples(estimator, dtype)
    intercept, linear, factors, _ = samples
    transform = estimator._target_transform
    n_samples, n_features, _ = factors.shape
    size = (transform.unit / n_samples) ** (1 / interactions.degrees)
    factors = np.swapaxes(factors * size, 0, 1).reshape(n_features, -1)
    degrees = np.tile(interactions.degrees, n_samples)
    if interactions.are_pairs and degrees.size > n_features:
        factors = np.linalg.qr(factors.T, mode="r").T
        degrees = np.full(n_features, 2)
    parameters = Parameters(
        np.array([intercept.mean() * transform.unit + transform.shift]),
        linear.mean(axis=0, keepdims=True, dtype=np.float64) * transform.unit,
        factors[None],
    )
    return center, parameters, dataclasses.replace(interactions, degrees=degrees)
