"""Fitted attributes of models with parameters of pairs of fields, and fields from files."""

import io
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skfm import FMClassifier, FMRegressor
from skfm.datasets import load_libffm

FIELDS = ["a", "a", "b", "c"]
NAMES = {"weighted": "field_weights_", "matrixed": "field_matrices_"}


def fitted(kind, *, is_centered):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4)) + np.array([0, 0, 0, 100 * is_centered])
    y = X[:, 0] * X[:, 2] + rng.normal(size=60)
    options = {"feature_fields": FIELDS, "max_iter": 3, "random_state": 0}
    return FMRegressor(2, field_interactions=kind, **options).fit(X, y), X


@pytest.mark.parametrize("kind", NAMES)
def test_parameters_of_pairs_are_read_only_if_columns_are_centered(kind):
    """Predictions use linear weights and an intercept that were made with them."""
    model, X = fitted(kind, is_centered=True)
    expected, name = model.predict(X), NAMES[kind]
    for again in (model, pickle.loads(pickle.dumps(model))):
        table = getattr(again, name)
        with pytest.raises(AttributeError, match=f"{name} of a fitted FMRegressor is read-only"):
            setattr(again, name, table)
        with pytest.raises(ValueError, match="read-only"):
            table[0, 1] = 0
        assert_array_equal(again.predict(X), expected)
    assert name in vars(model.fit(X[:30], X[:30, 0]))  # another fit may replace them
    plain = model.set_params(field_interactions="plain").fit(X, X[:, 0])
    assert name not in vars(plain)


@pytest.mark.parametrize("kind", NAMES)
def test_parameters_of_pairs_can_be_changed(kind):
    model, X = fitted(kind, is_centered=False)
    before, name = model.predict(X), NAMES[kind]
    table, v = getattr(model, name), model.components_
    weights = [v[:, j] @ (np.eye(2) * table[0, 2]) @ v[:, 3] for j in (0, 1)]
    if kind == "matrixed":
        weights = [v[:, j] @ table[0, 2] @ v[:, 3] for j in (0, 1)]
    table[0, 2] = table[2, 0] = 0  # a and c no longer interact
    lost = (X[:, :2] @ weights) * X[:, 3]
    assert_allclose(model.predict(X), before - lost)
    assert np.abs(lost).max() > 1e-3
    for wrong in (table[:2], table[..., None], np.stack([table, table])):
        setattr(model, name, wrong)
        with pytest.raises(ValueError, match=rf"shapes of the fitted attributes .*{name}"):
            model.predict(X)


def test_fields_of_a_file_need_no_second_call():
    rng = np.random.default_rng(0)
    table = rng.integers(4, size=(80, 3)) + np.array([0, 4, 9])
    lines = [
        f"{int(rng.random() < 0.5)} " + " ".join(f"{c + 2}:{j}:1" for c, j in enumerate(row))
        for row in table
    ]
    X, y, fields = load_libffm(io.BytesIO("\n".join(lines).encode()))
    assert fields[8] == -1 and X.feature_fields[8] == 4
    assert_array_equal(np.delete(X.feature_fields, 8), np.delete(fields, 8))
    options = {"field_interactions": "aware", "max_iter": 3, "random_state": 0}
    model = FMClassifier(2, **options).fit(X, y)
    assert model.fields_.tolist() == [2, 3, 4]
    assert model.components_.shape == (3, 2, 13)
    given = FMClassifier(2, feature_fields=X.feature_fields, **options).fit(X.copy(), y)
    assert_array_equal(given.predict_proba(X), model.predict_proba(X))


def test_a_file_without_entries_has_one_field():
    X, _, fields = load_libffm(io.BytesIO(b"1\n0\n"), n_features=3)
    assert_array_equal(fields, [-1, -1, -1])
    assert_array_equal(X.feature_fields, [0, 0, 0])
