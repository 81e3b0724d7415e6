"""Values so large that what is computed with them is no number: an error, or the right result."""

import warnings

import numpy as np
import pytest
from builders import SOLVERS, model_for, quietly
from helpers import JIT, in_full
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from skfm import (
    BayesianFMClassifier,
    BayesianFMRegressor,
    FMClassifier,
    FMRecommender,
    FMRegressor,
    MFRecommender,
)
from skfm._utils.memory import largest_squared

SHORT = {"max_iter": 5, "random_state": 0}
# Without the JIT, the kernels compute with numbers of NumPy, which warn themselves.
pytestmark = pytest.mark.filterwarnings("error:overflow", "error:invalid value") if JIT else []


def make(n_rows=60):
    """Rows whose last column was never seen, numbers and three classes."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, 5))
    X[:, 4] = 0
    y = X[:, 0] + X[:, 1] * X[:, 2]
    return X, y, np.digitize(y, [-0.5, 0.5])


def models(dtype):
    X, y, labels = make()
    X = X.astype(dtype)
    fields = {"feature_fields": list("aabbb"), "interactions": [("a", "b")]}
    for estimator, target, options in (
        (FMRegressor, y, {}),
        (FMRegressor, y, {"degree": 3}),
        (FMRegressor, y, fields),
        (FMRegressor, np.abs(y), {"loss": "poisson"}),
        (FMClassifier, labels > 1, {}),
        (FMClassifier, labels, {}),
        (BayesianFMRegressor, y, {"n_burn_in": 1}),
        (BayesianFMClassifier, labels > 1, {"n_burn_in": 1}),
        (FMRecommender, labels, {}),
        (MFRecommender, None, {}),
        (MFRecommender, None, {"feedback": "implicit"}),
    ):
        rows = np.abs(X) if estimator is MFRecommender else X
        yield quietly(estimator(2, **SHORT, **options).fit, rows, target)


def answers(model, X):
    for name in ("predict", "decision_function", "predict_proba", "transform"):
        if hasattr(model, name):
            yield np.asarray(getattr(model, name)(X))
    if hasattr(model, "recommend"):
        yield model.recommend(X, 2, exclude_seen=False)[1]


def some_of(values):
    return [values[0], *in_full(*values[1:-1]), values[-1]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", some_of([1e19, 1e25, 1e39, 1e100, 1e155, 1e200]))
def test_huge_rows_are_predicted_or_refused(dtype, scale):
    X, *_ = make()
    X[0, 1] = scale
    for model in models(dtype):
        rows = np.abs(X) if isinstance(model, MFRecommender) else X
        try:
            for answer in answers(model, rows):
                assert answer.dtype.kind != "f" or np.isfinite(answer).all()
        except ValueError as error:
            assert "X has values that are too large" in str(error)


@pytest.mark.parametrize("options", [{}, {"degree": 3}, {"solver": "als"}], ids=str)
def test_what_overflows_float32_is_computed_in_float64(options):
    """A square on the way, or the row itself; the result is a number in both."""
    X, y, _ = make()
    model = quietly(FMRegressor(2, **SHORT, **options).fit, X.astype(np.float32), y)
    exact = quietly(FMRegressor(2, **SHORT, **options).fit, X, y)
    for name in ("intercept_", "coef_", "components_"):
        setattr(exact, name, np.asarray(getattr(model, name), dtype=np.float64))
    exact.components_[:, :2] = model.components_[:, :2] = 1
    rows = sparse.csr_matrix([[1e20, 1e15, 0, 0, 0], [0, 0, 0, 0, 1e300], [1, 2, 0, 3, 1e39]])
    predicted = model.predict(rows)
    assert predicted.dtype == np.float32
    assert_allclose(predicted, exact.predict(rows), rtol=1e-5)
    assert predicted[1] == np.float32(model.intercept_)  # never seen: exactly nothing
    one = model.predict(rows[2])
    assert_array_equal(one, predicted[2:])


def test_errors_say_what_to_do():
    X, y, labels = make()
    for model in (
        FMRegressor(2, **SHORT).fit(X.astype(np.float32), y),
        FMClassifier(2, **SHORT).fit(X.astype(np.float32), labels),
    ):
        with pytest.raises(ValueError, match=r"float32; scale them.*MaxAbsScaler.*float64"):
            model.predict(np.full((1, 5), 1e30))
    with pytest.raises(ValueError, match="float64; scale them"):
        FMRegressor(2, **SHORT).fit(X, y).predict(np.full((1, 5), 1e200))
    counts = quietly(FMRegressor(0, loss="poisson", **SHORT).fit, X, labels)
    with pytest.raises(ValueError, match="too large for predictions"):
        counts.predict(np.sign(counts.coef_)[None] * 1e6)


@pytest.mark.parametrize("estimator", [FMRegressor, BayesianFMRegressor])
@pytest.mark.parametrize("solver", ["adagrad", "als"])
def test_y_beyond_float32(estimator, solver):
    X, y, _ = make()
    options = {"solver": solver} if estimator is FMRegressor else {"n_burn_in": 1}
    model = estimator(2, **SHORT, **options)
    for target in (y * 1e200, y + 1e39, y * 1e39):
        with pytest.raises(ValueError, match=r"^y is too large.*float32.*X in float64"):
            model.fit(X.astype(np.float32), target)
        assert not hasattr(model, "n_features_in_")
        if np.abs(target).max() < 1e100:
            assert np.isfinite(quietly(model.fit, X, target).predict(X)).all()
            model = estimator(2, **SHORT, **options)


def test_noise_of_huge_and_tiny_y():
    X, y, _ = make()
    model = BayesianFMRegressor(2, n_burn_in=1, **SHORT)
    with pytest.raises(ValueError, match=r"y is too large for .* squared errors"):
        model.fit(X, y * 1e200)
    model.fit(X, y * 1e150)
    assert np.isfinite(model.loss_curve_).all() and np.isfinite(model.alpha_)
    model.fit(X, y * 1e-200)
    assert model.alpha_ == np.finfo(np.float64).max
    assert np.isfinite(np.stack(model.predict(X, return_std=True))).all()


@pytest.mark.around(solver="adagrad", dtype=np.float64, loss=("squared_error", 0))
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("loss", [("squared_error", 0), ("huber", 0), ("log_loss", 2)])
def test_huge_weights_are_learned_from_or_refused(solver, loss, dtype):
    X, y, labels = make(200)
    X, y = X.astype(dtype), y if loss[1] == 0 else labels > 1
    model = model_for(*loss, solver=solver, max_iter=60)
    plain = quietly(model.fit, X, y).score(X, y)
    limit = largest_squared(dtype)
    for size in (limit / 300, limit, float(np.finfo(dtype).max) / 30_000):
        weight = np.full(200, size)
        if solver == "als":
            assert quietly(model.fit, X, y, weight).score(X, y) > plain - 0.1
        elif size * 200 > limit:
            with pytest.raises(ValueError, match=r"^sample_weight is too large .*steps"):
                model.fit(X, y, weight)
        else:
            try:
                assert quietly(model.fit, X, y, weight).score(X, y) > plain - 0.1
            except ValueError as error:  # plain gradient steps are as long as weights are large
                assert solver == "sgd" and "diverged" in str(error)


def test_huge_weights_of_others():
    X, y, labels = make()
    with pytest.raises(ValueError, match="sample_weight is too large"):
        FMRecommender(2, **SHORT).fit(X, labels, np.full(60, 1e200))
    with pytest.raises(ValueError, match="class weights"):
        FMClassifier(2, class_weight={1: 1e200}, **SHORT).fit(X, labels)
    with pytest.raises(ValueError, match=r"the sum of the weights is 6e\+38 .* in float32"):
        BayesianFMRegressor(2).fit(X.astype(np.float32), y, np.full(60, 1e37))


@pytest.mark.around(solver="adagrad", dtype=np.float64, alpha=1e300)
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("alpha", [1e20, 1e155, 1e300, 1.7e308])
def test_huge_penalties_leave_nothing(solver, dtype, alpha):
    X, y, _ = make()
    model = FMRegressor(2, solver=solver, alpha=alpha, alpha_linear=alpha, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        model.set_params(max_iter=500, tol=0, n_iter_no_change=500)
        quietly(model.fit, X.astype(dtype), y)
    assert np.isfinite(model.loss_curve_).all()
    assert_allclose(model.predict(X), y.mean(), atol=0.05)


def test_initial_draws_beyond_float32():
    X, y, _ = make()
    with pytest.raises(ValueError, match=r"Sampling diverged.*init_scale"):
        BayesianFMRegressor(2, n_burn_in=0, init_scale=1e50, **SHORT).fit(X, y)


def test_scores_of_huge_ratings():
    """R2 does not depend on the unit, whatever its square."""
    X = np.abs(make()[0]) + 1
    model = quietly(MFRecommender(2, **SHORT).fit, X)
    scores = []
    for column in range(5):
        huge = X.copy()
        huge[0, column] = 1e200
        try:
            scores.append(model.score(huge))
        except ValueError as error:  # of what the fold-in is shown
            assert "too large" in str(error)
    assert 1 <= len(scores) < 5 and np.isfinite(scores).all()


@pytest.mark.parametrize("estimator", [FMRegressor, BayesianFMRegressor, FMRecommender])
def test_weights_beyond_float32(estimator):
    X, y, labels = make()
    weight = np.full(60, 1e200)
    with pytest.raises(ValueError, match=r"^sample_weight is too large: the sum .* float32"):
        target = labels if estimator is FMRecommender else y
        estimator(2, **SHORT).fit(X.astype(np.float32), target, weight)


def test_large_penalties_of_columns_that_do_not_occur():
    X, y, _ = make()
    model = FMRegressor(2, fit_linear=False, alpha=1e6, **SHORT)
    assert np.isfinite(quietly(model.fit, X, y).predict(X)).all()


def test_labels_by_draws_that_are_far_too_large():
    X, _, labels = make()
    model = BayesianFMClassifier(2, n_burn_in=1, init_scale=1e300, **SHORT)
    with np.errstate(divide="raise"), pytest.raises(ValueError, match="Sampling diverged"):
        model.fit(X, labels > 1)


def test_penalties_of_a_ranking_that_are_no_numbers_when_multiplied():
    X, _, labels = make()
    model = FMRecommender(2, alpha=1.7e308, alpha_linear=1.7e308, **SHORT)
    assert np.isfinite(quietly(model.fit, X, labels).recommend(X, 2)[1]).all()


def test_ways_down_where_products_are_constant():
    """The columns are as good as constant, so their products add nothing but rounding."""
    X, y, _ = make()
    model = FMRegressor(2, solver="ftrl", alpha=0.1, alpha_linear=0.1, max_iter=20, random_state=0)
    assert np.isfinite(quietly(model.fit, X + 1e30, y).predict(X + 1e30)).all()


@pytest.mark.parametrize("estimator", [FMRegressor, FMClassifier])
@pytest.mark.parametrize("shift", [10, 1e4])
def test_columns_far_from_zero_for_float32(estimator, shift):
    """Where terms of the parameters of X itself would cancel, predictions are as in float64."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    y = X[:, 0] + X[:, 1] * X[:, 2] + rng.logistic(size=200)
    y = y if estimator is FMRegressor else y > 0
    X = (X + np.array([0, shift, shift])).astype(np.float32)
    model = quietly(estimator(2, max_iter=30, random_state=0).fit, X, y)
    exact = quietly(estimator(2, max_iter=30, random_state=0).fit, X.astype(np.float64), y)
    name = "predict" if estimator is FMRegressor else "predict_proba"
    expected = getattr(exact, name)(X.astype(np.float64))
    for rows in (X, X.astype(np.float64), sparse.csr_matrix(X)):
        predicted = getattr(model, name)(rows)
        assert predicted.dtype == np.float32
        assert_allclose(predicted, expected, atol=1e-2)


@pytest.mark.parametrize("estimator", [FMRegressor, BayesianFMRegressor])
def test_y_below_float32(estimator):
    X, y, _ = make()
    options = {"n_burn_in": 1} if estimator is BayesianFMRegressor else {}
    model = estimator(2, **SHORT, **options)
    with pytest.raises(ValueError, match=r"y is too small .* in float32; scale y, or pass X in"):
        model.fit(X.astype(np.float32), y * 1e-46)
    assert quietly(model.fit, X, y * 1e-46).predict(X).any()
    assert quietly(model.fit, X.astype(np.float32), y * 1e-30).predict(X).any()
    assert_allclose(quietly(model.fit, X.astype(np.float32), y * 0).predict(X), 0, atol=1e-12)


def test_parameters_beyond_float64():
    X, y, _ = make()
    with pytest.raises(ValueError, match=r"y is too large, .* in float64; scale them\.$"):
        FMRegressor(2, **SHORT).fit(X * 1e-100, y * 1e300)
