"""Models converted to ONNX: what onnxruntime predicts, beside what skfm does."""

import re
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from builders import make_dense
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder, StandardScaler

import skfm.onnx
from skfm import (
    BayesianFMClassifier,
    BayesianFMRegressor,
    FMClassifier,
    FMRecommender,
    FMRegressor,
    MFRecommender,
)
from skfm.onnx import _register
from skfm.preprocessing import EventEncoder

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")
skl2onnx = pytest.importorskip("skl2onnx")

TOLERANCE = {np.float32: 1e-5, np.float64: 1e-13}
FIELDS = {"feature_fields": list("aabbcd"), "interactions": [("a", "b"), ("b", "b"), ("c", "a")]}
KINDS = [
    {"field_interactions": kind, "feature_fields": list(fields), "interactions": interactions}
    for kind in ("weighted", "matrixed", "aware")
    for fields, interactions in (("abacbd", None), ("aabbcd", FIELDS["interactions"]))
]
NO_ZIPMAP = {"zipmap": False}


@pytest.fixture(autouse=True)
def registered():
    skfm.onnx.register_converters()


def convert(model, X, **options):
    """The converted model, by what runs it on rows of the type of X."""
    converted = skl2onnx.to_onnx(model, X[:1], **options)
    session = runtime.InferenceSession(converted.SerializeToString())
    return lambda rows: session.run(None, {"X": rows})


def assert_same(got, expected, tolerance):
    """Equal, relative to the largest of all values."""
    assert_allclose(got, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"n_components": 0},
        {"fit_intercept": False, "fit_linear": False},
        FIELDS,
        FIELDS | {"fit_linear": ["a", "d"]},
        FIELDS | {"interactions": []},
        FIELDS | {"interactions": [("a", "a")]},
        {"degree": 3},
        {"degree": 3, "fit_lower": False},
        {"degree": 6},
        *KINDS,
    ],
)
def test_regressor(dtype, parameters):
    X, y = make_dense("squared_error", 0)
    X, y = X.astype(dtype), y + X[:, 0] * X[:, 1] * X[:, 2]
    model = FMRegressor(random_state=0, max_iter=10, **parameters).fit(X, y)
    run = convert(model, X)
    (got,) = run(X)
    assert got.dtype == dtype
    assert got.shape == (len(X), 1)
    assert_same(got[:, 0], model.predict(X), TOLERANCE[dtype])
    for rows in (X[:1], np.zeros((3, 6), dtype)):
        assert_allclose(run(rows)[0][:, 0], model.predict(rows), rtol=TOLERANCE[dtype])
    assert run(X[:0])[0].shape == (0, 1)


@pytest.mark.parametrize("parameters", [{}, *KINDS[::2]])
def test_columns_far_from_zero(parameters):
    X, y = make_dense("squared_error", 0)
    X = (X + 1e4).astype(np.float32)
    model = FMRegressor(random_state=0, max_iter=10, **parameters).fit(X, y)
    assert_same(convert(model, X)(X)[0][:, 0], model.predict(X), 1e-5)
    model = FMClassifier(random_state=0, max_iter=10, **parameters).fit(X, y > 0)
    assert_same(convert(model, X, options=NO_ZIPMAP)(X)[1], model.predict_proba(X), 1e-5)


@pytest.mark.parametrize("loss", ["absolute_error", "huber", "quantile", "poisson"])
def test_losses(loss):
    X, y = make_dense(loss, 0)
    X = X.astype(np.float32)
    model = FMRegressor(loss=loss, random_state=0, max_iter=10).fit(X, y)
    assert_same(convert(model, X)(X)[0][:, 0], model.predict(X), 1e-5)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("parameters", [{}, {"degree": 3}, FIELDS, *KINDS[1::2]])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_classifier(dtype, parameters, n_classes):
    X, y = make_dense("log_loss", n_classes)
    X = X.astype(dtype)
    names = np.array(["no", "Ja", "peut-être"])[:n_classes]
    model = FMClassifier(3, random_state=0, max_iter=10, **parameters).fit(X, names[y])
    run = convert(model, X, options=NO_ZIPMAP)
    labels, probabilities = run(X)
    assert probabilities.dtype == dtype
    assert_array_equal(labels, model.predict(X))
    assert_same(probabilities, model.predict_proba(X), TOLERANCE[dtype])
    assert_same(run(X[:1])[1], model.predict_proba(X[:1]), TOLERANCE[dtype])

    _, scores = convert(model, X, options=NO_ZIPMAP | {"raw_scores": True})(X)
    decision = model.decision_function(X)
    expected = decision if n_classes > 2 else np.stack([-decision, decision], axis=1)
    assert_same(scores, expected, TOLERANCE[dtype])


@pytest.mark.parametrize("n_classes", [2, 3])
def test_squared_hinge(n_classes):
    """Without probabilities, there are scores."""
    X, y = make_dense("squared_hinge", n_classes)
    X = X.astype(np.float32)
    model = FMClassifier(loss="squared_hinge", random_state=0, max_iter=10).fit(X, y)
    labels, scores = convert(model, X, options=NO_ZIPMAP)(X)
    decision = model.decision_function(X)
    expected = decision if n_classes > 2 else np.stack([-decision, decision], axis=1)
    assert_array_equal(labels, model.predict(X))
    assert_same(scores, expected, 1e-5)


@pytest.mark.parametrize("classifier", [FMClassifier, BayesianFMClassifier])
@pytest.mark.parametrize("labels", [["no", "yes"], [3, 2**40], [False, True], [0.0, 7.0]])
def test_options_of_classifiers(classifier, labels):
    X, y = make_dense("log_loss", 2)
    X, labels = X.astype(np.float32), np.array(labels)
    model = classifier(2, random_state=0, max_iter=25).fit(X, labels[y])
    expected, probabilities = model.predict(X), model.predict_proba(X)

    got, maps = convert(model, X)(X)
    assert_array_equal(got, expected)
    assert_same([[row[label] for label in labels] for row in maps], probabilities, 1e-5)

    got, *columns = convert(model, X, options={"zipmap": "columns"})(X)
    assert_array_equal(got, expected)
    assert_same(np.stack(columns, axis=1), probabilities, 1e-5)

    got, _ = convert(model, X, options=NO_ZIPMAP | {"nocl": True})(X)
    assert_array_equal(labels[got], expected)

    if labels.dtype.kind in "iU":  # skl2onnx has an error for others
        *_, classes = convert(model, X, options=NO_ZIPMAP | {"output_class_labels": True})(X)
        assert_array_equal(classes, labels)


def make_rows(n_rows=120):
    """Levels of two fields and a year, far from zero, as one matrix; there is a third user in
    the first half only, and a column without entries."""
    rng = np.random.default_rng(0)
    users, items = rng.integers(3, size=n_rows), rng.integers(4, size=n_rows)
    X = np.zeros((n_rows, 9), np.float32)
    X[np.arange(n_rows), users] = 1
    X[np.arange(n_rows), 3 + items] = 1
    X[:, 8] = 2000 + rng.normal(size=n_rows) * 5
    y = np.sin(users * 2 + items) + (X[:, 8] - 2000) / 10
    return X[np.argsort(users)[::-1]], 100 + 5 * y[np.argsort(users)[::-1]]


BAYESIAN = {
    "interactions": FIELDS | {"feature_fields": list("aaabbbbcd")},
    "pairs": {},
    "degree 3": {"degree": 3},
    "linear": {"n_components": 0},
    "factors alone": {"fit_linear": False},
    **{
        f"field-{kind}": FIELDS | {"feature_fields": list("aaabbbbcd"), "field_interactions": kind}
        for kind in ("weighted", "aware")
    },
}


@pytest.mark.parametrize("case", BAYESIAN)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bayesian_regressor(case, dtype):
    """Means over all samples, also of features that training has not seen."""
    X, y = make_rows()
    X, seen = X.astype(dtype), slice(60, None)
    model = BayesianFMRegressor(random_state=0, max_iter=30, n_burn_in=10)
    model.set_params(**BAYESIAN[case]).fit(X[seen], y[seen])
    assert model._chain_state.scaling.center.any() == model._chain_state.interactions.may_center
    assert model._chain_state.scaling.used.size < 8
    expected = model.predict(X)
    assert_same(convert(model, X)(X)[0][:, 0], expected, 1e-5)


@pytest.mark.parametrize("case", BAYESIAN)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bayesian_classifier(case, dtype):
    X, y = make_rows()
    X, seen = X.astype(dtype), slice(60, None)
    model = BayesianFMClassifier(random_state=0, max_iter=30, n_burn_in=10)
    model.set_params(**BAYESIAN[case]).fit(X[seen], np.where(y > 100, "good", "bad")[seen])
    labels, probabilities = convert(model, X, options=NO_ZIPMAP)(X)
    assert_same(probabilities, model.predict_proba(X), 1e-5)
    assert_array_equal(labels, model.predict(X))


def test_higher_degrees_cancel_nothing():
    """Products of all of ten features: their power sums are a thousand times as large."""
    rng = np.random.default_rng(0)
    X = rng.uniform(0.5, 1.5, size=(50, 10)).astype(np.float32)
    model = FMRegressor(2, degree=10, fit_lower=False, random_state=0, max_iter=2).fit(X, X[:, 0])
    model.components_[...] = rng.uniform(0.8, 1.2, size=model.components_.shape)
    model.coef_[...] = 0
    assert_same(convert(model, X)(X)[0][:, 0], model.predict(X), 1e-5)


def test_pipeline_of_columns():
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    log = pd.DataFrame(
        {
            "user": rng.choice(list("abcde"), 100),
            "item": rng.integers(7, size=100),
            "age": rng.normal(40, 9, size=100).astype(np.float32),
        }
    )
    y = (log["user"] == "a") * log["item"] + log["age"] / 10
    encoder = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["user", "item"]), (StandardScaler(), ["age"])
    )
    model = make_pipeline(encoder, FMRegressor(random_state=0, max_iter=10)).fit(log[10:], y[10:])
    log.loc[:2, "user"] = "new"
    converted = skl2onnx.to_onnx(model, log[:1])
    session = runtime.InferenceSession(converted.SerializeToString())
    (got,) = session.run(None, {name: log[[name]].to_numpy() for name in log})
    assert_same(got[:, 0], model.predict(log), 1e-5)


def test_calibration_and_bins_in_a_pipeline():
    """As the guide says: dense bins, and the calibration within the pipeline."""
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    log = pd.DataFrame({"page": rng.choice(list("abc"), 200), "hour": rng.integers(24, size=200)})
    y = (log["page"] == "a") ^ (log["hour"] > 11) ^ (rng.random(200) < 0.2)
    bins = KBinsDiscretizer(4, encode="onehot-dense", quantile_method="averaged_inverted_cdf")
    model = make_pipeline(
        make_column_transformer((OneHotEncoder(), ["page"]), (bins, ["hour"])),
        CalibratedClassifierCV(FMClassifier(random_state=0, max_iter=10), cv=2),
    ).fit(log, y)
    converted = skl2onnx.to_onnx(model, log[:1], options=NO_ZIPMAP)
    session = runtime.InferenceSession(converted.SerializeToString())
    _, probabilities = session.run(None, {name: log[[name]].to_numpy() for name in log})
    assert_same(probabilities, model.predict_proba(log), 1e-5)


def test_search_in_a_pipeline():
    X, y = make_dense("log_loss", 2)
    X = X.astype(np.float32)
    search = GridSearchCV(FMClassifier(random_state=0, max_iter=5), {"n_components": [1, 2]}, cv=2)
    model = make_pipeline(StandardScaler(), search).fit(X, y)
    labels, probabilities = convert(model, X, options={id(search): NO_ZIPMAP})(X)
    assert_array_equal(labels, model.predict(X))
    assert_same(probabilities, model.predict_proba(X), 1e-5)


@pytest.mark.parametrize("dtype", [np.int64, bool])
def test_integers(dtype):
    X = (make_dense("squared_error", 0)[0] > 0).astype(dtype)
    y = (X[:, 0] * X[:, 1]).astype(float)
    model = FMRegressor(random_state=0, max_iter=10).fit(X, y)
    assert_same(convert(model, X)(X)[0][:, 0], model.predict(X), 1e-5)


@pytest.mark.parametrize("parameters", [{}, {"degree": 3}, FIELDS])
def test_factors_are_stored_once(parameters):
    X, y = make_dense("squared_error", 0)
    model = FMRegressor(500, random_state=0, max_iter=1, **parameters).fit(X, y)
    size = len(skl2onnx.to_onnx(model, X[:1].astype(np.float32)).SerializeToString())
    assert 0.5 * 4 * model.components_.size < size < 4 * model.components_.size + 4000


def test_samples_of_few_features_are_few_components():
    X, y = make_dense("squared_error", 0)
    model = BayesianFMRegressor(random_state=0, max_iter=60).fit(X, y)
    assert model.n_draws_ * model.n_components > X.shape[1]
    assert len(skl2onnx.to_onnx(model, X[:1].astype(np.float32)).SerializeToString()) < 2000


def test_what_is_not_converted_says_why(monkeypatch):
    X, y = make_dense("squared_error", 0)
    X = X.astype(np.float32)
    model = FMRegressor(random_state=0, max_iter=2).fit(X, y)
    bayesian = BayesianFMRegressor(random_state=0, max_iter=25).fit(X, y)
    with pytest.raises(NotFittedError, match="FMRegressor instance is not fitted"):
        convert(FMRegressor(), X)
    with pytest.raises(ValueError, match=r"target_opset=12 is too old.*at least 13"):
        convert(model, X, target_opset=12)
    monkeypatch.setattr("skfm.onnx._graph.LARGEST_FILE", 100)
    for estimator in (model, bayesian):
        with pytest.raises(ValueError, match=r"take .* GB in float32.*an ONNX file holds"):
            convert(estimator, X)
    monkeypatch.undo()
    ratings = sparse.random(20, 6, 0.5, format="csr", random_state=0)
    with pytest.raises(TypeError, match=r"MFRecommender cannot be converted.*item_vectors\(\)"):
        convert(MFRecommender(2).fit(ratings), X)
    with pytest.raises(TypeError, match=r"EventEncoder cannot be converted.*last step"):
        convert(make_pipeline(EventEncoder(), model), X)
    assert FMRecommender in _register.NOT_CONVERTED
    model.coef_ = model.coef_.astype(np.float64) * 1e45
    with pytest.raises(ValueError, match=r"too large for float32.*scale"):
        convert(model, X)


def test_missing_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    with pytest.raises(ImportError, match=r"skl2onnx.*pip install 'skfm\[onnx\]'"):
        skfm.onnx.register_converters()


def test_guide(tmp_path, monkeypatch):
    """The snippet runs; it is no doctest, which would fail where the extra is missing."""
    guide = Path(skfm.__file__).parents[1] / "docs" / "deployment.rst"
    (snippet,) = re.findall(r"::\n\n(    import numpy.*?\n)\n\S", guide.read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(textwrap.dedent(snippet), names)
    assert_array_equal(names["labels"], names["model"].predict(names["X"]))
    assert_same(names["probabilities"], names["model"].predict_proba(names["X"]), 1e-5)
