"""Plots: what they show, on which axes, and what they say where they cannot."""

import sys

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import ndtri
from sklearn.calibration import CalibrationDisplay
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skfm import (
    BayesianFMClassifier,
    BayesianFMRegressor,
    FMClassifier,
    FMRecommender,
    FMRegressor,
    MFRecommender,
)
from skfm.inspection import (
    FactorMapDisplay,
    InteractionDisplay,
    IntervalDisplay,
    LossCurveDisplay,
    top_interactions,
)

pytest.importorskip("matplotlib")

FIELDS = ["a", "a", "b", "b", "c"]


@pytest.fixture
def plt(monkeypatch):
    import matplotlib

    before = matplotlib.get_backend()
    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    yield plt
    plt.close("all")
    matplotlib.use(before)


def make_rows(n_rows=60, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 5))
    return X, X[:, 0] * X[:, 2] + X[:, 3] + rng.normal(size=n_rows)


@pytest.mark.parametrize("scoring", [None, "loss", "neg_mean_absolute_error"])
def test_loss_curves(plt, scoring):
    X, y = make_rows()
    options = {"max_iter": 20, "solver": "als", "random_state": 0}
    if scoring is not None:
        options |= {"early_stopping": True, "scoring": scoring}
    model = make_pipeline(StandardScaler(), FMRegressor(2, **options)).fit(X, y)
    _, ax = plt.subplots()
    display = LossCurveDisplay.from_estimator(model, ax=ax, linewidth=3)
    fm = model[-1]
    assert display.ax_ is ax and display.figure_ is ax.figure
    epochs, losses = display.line_.get_data()
    assert_array_equal(epochs, np.arange(1, len(fm.loss_curve_) + 1))
    assert_array_equal(losses, fm.loss_curve_)
    assert display.line_.get_linewidth() == 3
    assert display.line_.get_label() == "FMRegressor, training"
    if scoring is None:
        assert display.validation_line_ is display.best_line_ is display.validation_ax_ is None
        return
    _, validated = display.validation_line_.get_data()
    sign = -1 if scoring == "loss" else 1
    assert_array_equal(validated, sign * np.array(fm.validation_scores_))
    assert (display.validation_ax_ is ax) == (scoring == "loss")
    assert display.best_line_.get_xdata()[0] == 1 + np.argmax(fm.validation_scores_)


@pytest.mark.parametrize(
    "model",
    [
        BayesianFMClassifier(1, max_iter=5, n_burn_in=2),
        MFRecommender(1, max_iter=3),
        FMRecommender(1, max_iter=3),
    ],
    ids=lambda model: type(model).__name__,
)
def test_loss_curves_of_all_estimators(plt, model):
    X, y = make_rows()
    model.fit(np.abs(X), y > 0)
    display = LossCurveDisplay.from_estimator(model, name="mine")
    assert_array_equal(display.line_.get_ydata(), model.loss_curve_)
    assert display.line_.get_label() == "mine, training"
    is_bayesian = isinstance(model, BayesianFMClassifier)
    assert display.ax_.get_ylabel() == ("training loss" if is_bayesian else "objective")


def test_loss_curves_need_a_fit():
    with pytest.raises(AttributeError, match="FMRegressor has no loss_curve_; fit it first"):
        LossCurveDisplay.from_estimator(FMRegressor())


def test_interactions_of_features(plt):
    X, y = make_rows()
    options = {"feature_fields": FIELDS, "interactions": [("a", "b"), ("b", "b")]}
    model = FMRegressor(2, solver="als", alpha=1.0, random_state=0, **options).fit(X, y)
    chosen = ["x2", "x0", "x1", "x3"]
    display = InteractionDisplay.from_estimator(model, features=chosen)
    vectors = model.components_[:, [2, 0, 1, 3]]
    expected = vectors.T @ vectors
    np.fill_diagonal(expected, np.nan)
    expected[1, 2] = expected[2, 1] = np.nan  # both of field a, which has no interactions within
    assert_allclose(display.weights, expected)
    assert_allclose(display.im_.get_array().filled(np.nan), expected)
    low, high = display.im_.get_clim()
    assert -low == high == np.nanmax(np.abs(expected))
    assert [label.get_text() for label in display.ax_.get_xticklabels()] == chosen
    assert [label.get_text() for label in display.ax_.get_yticklabels()] == chosen
    assert display.text_[0, 0].get_text() == display.text_[1, 2].get_text() == ""
    assert abs(float(display.text_[0, 1].get_text()) - expected[0, 1]) < 0.06 * high
    squares = X[:, [2, 0, 1, 3]] ** 2
    weighted = InteractionDisplay.from_estimator(model, features=chosen, X=X)
    assert_allclose(weighted.weights, expected * np.sqrt(squares.T @ squares / len(X)))


def test_interactions_of_fields(plt):
    X, y = make_rows()
    model = FMRegressor(2, solver="als", alpha=1.0, random_state=0).fit(X, y)
    display = InteractionDisplay.from_estimator(
        model, X=X, feature_fields=FIELDS, colorbar=False, values_format=".3f", cmap="viridis"
    )
    pairs, strengths = top_interactions(model, by="field", X=X, feature_fields=FIELDS)
    place = {label: number for number, label in enumerate(display.labels)}
    for (a, b), strength in zip(pairs, strengths, strict=True):
        assert display.weights[place[a], place[b]] == display.weights[place[b], place[a]]
        assert display.weights[place[a], place[b]] == strength
    assert display.im_.get_cmap().name == "viridis"
    assert display.im_.get_clim()[0] == 0
    assert len(display.figure_.axes) == 1
    assert display.text_[0, 1].get_text() == f"{display.weights[0, 1]:.3f}"
    again = InteractionDisplay(weights=np.eye(20), labels=range(20)).plot()
    assert again.text_ is None  # too many
    assert InteractionDisplay(weights=[[np.nan]], labels=["x"]).plot().text_[0, 0].get_text() == ""


def test_interactions_of_classes_are_norms(plt):
    X, y = make_rows()
    labels = np.digitize(y, [-1, 1])
    model = FMClassifier(2, solver="als", alpha=1.0, random_state=0).fit(X, labels)
    display = InteractionDisplay.from_estimator(model, features=[0, 2])
    weights = np.einsum("cf,cf->c", *model.components_[:, :, [0, 2]].transpose(2, 0, 1))
    assert_allclose(display.weights[0, 1], np.linalg.norm(weights))
    assert display.im_.get_clim()[0] == 0


def test_interactions_need_fields_or_features():
    X, y = make_rows()
    model = FMRegressor(2, solver="als", max_iter=2, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="pass them in feature_fields, or name"):
        InteractionDisplay.from_estimator(model)
    with pytest.raises(ValueError, match="'size' in features is not a feature of the model"):
        InteractionDisplay.from_estimator(model, features=["size"])


def test_map_of_features(plt):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"user": rng.integers(5, size=99), "film": rng.integers(7, size=99)})
    model = make_pipeline(OneHotEncoder(), FMRegressor(3, solver="als", alpha=0.1, random_state=0))
    model.fit(table, rng.normal(size=99) + table["user"] * table["film"])
    display = FactorMapDisplay.from_estimator(model, field="film", c=np.arange(7))
    vectors = model[-1].components_[:, 5:].T
    assert_allclose(display.positions, PCA(2).fit_transform(vectors), atol=1e-8)
    assert display.labels.tolist() == [f"film_{number}" for number in range(7)]
    assert_allclose(display.points_.get_offsets(), display.positions)
    shares = PCA(2).fit(vectors).explained_variance_ratio_
    assert display.ax_.get_ylabel() == f"component 2 ({shares[1]:.0%} of variance)"
    some = FactorMapDisplay.from_estimator(model, features=["film_2", "user_1", 3])
    assert some.labels.tolist() == ["film_2", "user_1", "user_3"]
    every = FactorMapDisplay.from_estimator(model)
    assert len(every.labels) == 12
    with pytest.raises(ValueError, match=r"field='genre' is not among.*'user', 'film'"):
        FactorMapDisplay.from_estimator(model, field="genre")


def test_map_of_items(plt):
    rng = np.random.default_rng(0)
    names = list("abcdef")
    X = rng.integers(1, 6, size=(30, 6)) * (rng.random((30, 6)) < 0.6) * [1, 1, 1, 1, 1, 0]
    model = MFRecommender(2, alpha=0.1, random_state=0).fit(pd.DataFrame(X, columns=names))
    display = FactorMapDisplay.from_estimator(model)
    assert display.labels.tolist() == names[:5]  # the last one was never rated
    expected = PCA(2).fit_transform(model.components_.T[:5])
    assert_allclose(display.positions, expected, atol=1e-8)
    some = FactorMapDisplay.from_estimator(model, features=["b", "a"])
    assert some.labels.tolist() == ["b", "a"]
    films = pd.DataFrame({"long": rng.random(6)}, index=names)
    ranking = FMRecommender(2, loss="bpr", item_features=films, max_iter=5, random_state=0)
    ranking.fit(np.eye(3)[rng.integers(3, size=40)], rng.choice(names, 40))
    display = FactorMapDisplay.from_estimator(ranking, features=["c", "d", "a"])
    assert display.labels.tolist() == ["c", "d", "a"]
    with pytest.raises(ValueError, match="items, which have no fields"):
        FactorMapDisplay.from_estimator(model, field="item")


def test_labels_do_not_overlap(plt):
    vectors = np.random.default_rng(0).normal(size=(200, 4))
    names = [f"film number {number}" for number in range(200)]
    display = FactorMapDisplay.from_vectors(vectors, names, n_labels=30)
    display.figure_.canvas.draw()
    boxes = [text.get_window_extent() for text in display.text_]
    assert 10 < len(boxes) <= 30
    for number, box in enumerate(boxes):
        assert box.count_overlaps(boxes[:number]) == 0
    for text in display.text_:
        assert_array_equal(text.xy, display.positions[names.index(text.get_text())])
    assert len(display.ax_.texts) == len(boxes)  # those without a place are gone
    assert len(FactorMapDisplay.from_vectors(vectors, names, n_labels=0).text_) == 0


@pytest.mark.parametrize("shape", [(1, 3), (4, 1), (3, 2)])
def test_small_maps(plt, shape):
    display = FactorMapDisplay.from_vectors(np.ones(shape), range(shape[0]))
    assert_array_equal(display.positions, np.zeros((shape[0], 2)))


def test_maps_need_vectors():
    X, y = make_rows()
    linear = FMRegressor(2, alpha=1e6, solver="als", max_iter=2, init_scale=0.0).fit(X, y)
    with pytest.raises(ValueError, match="All vectors to show are 0"):
        FactorMapDisplay.from_estimator(linear)
    with pytest.raises(ValueError, match="labels must name the 2 vectors; it has 1"):
        FactorMapDisplay.from_vectors(np.eye(2), ["a"])


def test_intervals(plt):
    X, y = make_rows(90)
    weight = np.arange(30) + 1.0
    model = BayesianFMRegressor(2, max_iter=30, n_burn_in=10, random_state=0)
    search = GridSearchCV(make_pipeline(StandardScaler(), model), {}, cv=2).fit(X[:60], y[:60])
    display = IntervalDisplay.from_estimator(search, X[60:], y[60:], sample_weight=weight)
    mean, std = search.best_estimator_.predict(X[60:], return_std=True)
    level = 0.8
    z = ndtri(0.9)
    inside = (mean - z * std <= y[60:]) & (y[60:] <= mean + z * std)
    place = np.flatnonzero(np.isclose(display.nominal, level))
    assert_allclose(display.observed[place], np.average(inside, weights=weight))
    assert (np.diff(display.observed) >= 0).all()
    assert_array_equal(display.line_.get_data(), [display.nominal, display.observed])
    assert display.line_.get_label() == "BayesianFMRegressor"
    narrow = IntervalDisplay.from_predictions(y[60:], mean, std / 9, color="red")
    assert (narrow.observed <= 0.5).all() and narrow.line_.get_color() == "red"


@pytest.mark.parametrize("argument", ["y_true", "y_pred", "y_std", "sample_weight"])
def test_intervals_need_finite_numbers(argument):
    """A target that is NaN is in no interval."""
    arguments = dict.fromkeys(["y_true", "y_pred", "y_std", "sample_weight"], np.ones(3))
    with pytest.raises(ValueError, match=rf"(?i){argument}.* contain.* NaN"):
        IntervalDisplay.from_predictions(**arguments | {argument: [1, np.nan, 1]})
    with pytest.raises(ValueError, match="negative values"):
        IntervalDisplay.from_predictions(**arguments | {"sample_weight": [1, -1, 1]})


def test_intervals_need_standard_deviations():
    X, y = make_rows()
    with pytest.raises(TypeError, match="Ridge predicts no standard deviations"):
        IntervalDisplay.from_estimator(Ridge().fit(X, y), X, y)
    with pytest.raises(ValueError, match="y_std must contain positive"):
        IntervalDisplay.from_predictions(y, y, np.zeros_like(y))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        IntervalDisplay.from_predictions(y, y, np.ones(3))


@pytest.mark.parametrize("model", [FMClassifier(2), BayesianFMClassifier(2, max_iter=25)])
def test_calibration_display_of_scikit_learn(plt, model):
    X, y = make_rows()
    model.set_params(random_state=0).fit(X, y > 0)
    display = CalibrationDisplay.from_estimator(model, X, y > 0, n_bins=3)
    assert_array_equal(display.y_prob, model.predict_proba(X)[:, 1])
    assert display.line_.get_label() == type(model).__name__


def test_names_the_extra_where_matplotlib_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    display = LossCurveDisplay(loss_curve=[1, 2])
    with pytest.raises(ImportError, match=r"LossCurveDisplay.plot needs.*skfm\[plot\]"):
        display.plot()
