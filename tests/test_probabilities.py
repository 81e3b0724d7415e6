"""Predicted probabilities are those of the data, also after negatives were dropped."""

from functools import cache

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import expit

from skfm import BayesianFMClassifier, FMClassifier
from skfm.datasets import make_fm_classification

RATE = 0.25  # of the negatives, the share that is kept

N_FIELDS, N_LEVELS = 3, 10
FIELDS = np.repeat(np.arange(N_FIELDS), N_LEVELS)

MODELS = {
    "adagrad": FMClassifier(random_state=0),
    "als": FMClassifier(solver="als", random_state=0),
    "weighted": FMClassifier(field_interactions="weighted", feature_fields=FIELDS, random_state=0),
    "aware": FMClassifier(2, field_interactions="aware", feature_fields=FIELDS, random_state=0),
    "Bayesian": BayesianFMClassifier(4, max_iter=60, random_state=0),
}


@cache
def click_log():
    """X, y and true probabilities of training rows; X and true probabilities of others."""
    X, y, true = make_fm_classification(
        90_000,
        n_fields=N_FIELDS,
        n_levels=N_LEVELS,
        n_components=2,
        signal=1.0,
        base_rate=0.08,
        return_params=True,
        random_state=1,
    )
    interactions = ((X @ true.components.T) ** 2 - X.power(2) @ true.components.T**2).sum(axis=1)
    p = expit(true.intercept + X @ true.coef.ravel() + interactions / 2)
    train, new = slice(80_000), slice(80_000, None)
    return X[train], y[train], X[new], p[new]


def assert_reliable(probabilities, truth):
    """The mean, and that of each tenth of the rows by what was predicted, within one percent."""
    assert abs(probabilities.mean() - truth.mean()) < 0.005
    tenths = np.array_split(np.argsort(probabilities), 10)
    means = [(probabilities[rows].mean(), truth[rows].mean()) for rows in tenths]
    assert means[-1][0] > means[0][0] + 0.1  # a constant would be reliable, too
    assert np.abs(np.diff(means)).max() < 0.01


@pytest.mark.parametrize(
    "name",
    [
        *("adagrad", "als", "Bayesian"),
        *(pytest.param(name, marks=pytest.mark.full) for name in ("weighted", "aware")),  # slow
    ],
)
def test_mean_and_deciles(name):
    X, y, X_new, p = click_log()
    model = MODELS[name].fit(X, y)
    probabilities = model.predict_proba(X_new)[:, 1]
    assert_reliable(probabilities, p)
    on_training_rows = model.predict_proba(X)[:, 1].mean()
    assert abs(on_training_rows - y.mean()) < 0.002


def drop_negatives(X, y):
    kept = (y == 1) | (np.random.default_rng(0).random(len(y)) < RATE)
    return X[kept], y[kept]


def fitted_on_sample(**options):
    X, y, _, _ = click_log()
    X, y = drop_negatives(X, y)
    weight = np.where(y == 1, 1, 1 / RATE) if options.pop("weighted", False) else None
    return FMClassifier(random_state=0, **options).fit(X, y, sample_weight=weight)


def test_intercept_after_negatives_were_dropped():
    _, _, X_new, p = click_log()
    model = fitted_on_sample()
    assert model.predict_proba(X_new)[:, 1].mean() > 2 * p.mean()
    model.intercept_ = model.intercept_ + np.log(RATE)
    assert_reliable(model.predict_proba(X_new)[:, 1], p)


def test_odds_after_negatives_were_dropped():
    X, y, X_new, p = click_log()
    model = BayesianFMClassifier(4, max_iter=60, random_state=0).fit(*drop_negatives(X, y))
    q = model.predict_proba(X_new)[:, 1]
    assert_reliable(q / (q + (1 - q) / RATE), p)


def test_both_corrections_are_the_same():
    _, _, X_new, _ = click_log()
    model = fitted_on_sample(max_iter=3)
    q = model.predict_proba(X_new)[:, 1]
    model.intercept_ = model.intercept_ + np.log(RATE)
    assert_allclose(model.predict_proba(X_new)[:, 1], q / (q + (1 - q) / RATE), rtol=1e-10)


def test_weights_of_the_negatives_that_were_kept():
    _, _, X_new, p = click_log()
    assert_reliable(fitted_on_sample(weighted=True).predict_proba(X_new)[:, 1], p)
