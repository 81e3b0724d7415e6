"""scikit-learn's own checks, nothing excused."""

import pytest
from helpers import run_code
from sklearn.utils.estimator_checks import parametrize_with_checks

import skfm
from skfm import (
    BayesianFMClassifier,
    BayesianFMRegressor,
    FMClassifier,
    FMRegressor,
    MFRecommender,
)
from skfm.preprocessing import EventEncoder

SOLVERS = ["adagrad", "adam", "als", "ftrl", "sgd"]
REGRESSION = ["squared_error", "absolute_error", "huber", "quantile", "poisson"]
CLASSIFICATION = ["log_loss", "squared_hinge"]
MODELS = [
    FMRegressor(n_jobs=2),
    FMClassifier(n_jobs=2),
    *(FMRegressor(solver=solver, loss=loss) for solver in SOLVERS for loss in REGRESSION),
    *(FMClassifier(solver=solver, loss=loss) for solver in SOLVERS for loss in CLASSIFICATION),
    FMRegressor(degree=3),
    FMRegressor(degree=3, solver="als"),
    FMClassifier(degree=3, fit_lower=False),
    FMClassifier(degree=3, solver="als"),
    BayesianFMRegressor(),
    BayesianFMRegressor(n_jobs=2),
    BayesianFMClassifier(),
    BayesianFMClassifier(n_jobs=2),
    BayesianFMRegressor(degree=3),
    BayesianFMClassifier(degree=3),
    MFRecommender(),
    MFRecommender(n_jobs=2),
    MFRecommender(fit_bias=False),
    MFRecommender(solver="sgd"),
    MFRecommender(solver="sgd", n_jobs=2),
    MFRecommender(solver="sgd", fit_bias=False),
    MFRecommender(feedback="implicit"),
    MFRecommender(feedback="implicit", n_jobs=2),
    EventEncoder(),
]


@parametrize_with_checks(MODELS)
def test_scikit_learn_check(estimator, check):
    check(estimator)


CODE = """
from sklearn.utils.estimator_checks import check_estimator
from {module} import {name}
for model in {models}:
    results = check_estimator(model, on_skip=None, on_fail=None)
    print(len(results))
    for result in results:
        if result["status"] != "passed":
            print(model, result["check_name"], result["status"], repr(result["exception"]))
"""


@pytest.mark.parametrize("kind", sorted({type(model) for model in MODELS}, key=str))
def test_nothing_is_skipped_with_the_array_api(kind):
    models = [model for model in MODELS if type(model) is kind]
    module = "skfm" if kind.__name__ in skfm.__all__ else "skfm.preprocessing"
    code = CODE.format(models=models, module=module, name=kind.__name__)
    lines = run_code(code, SCIPY_ARRAY_API=1).splitlines()
    assert len(lines) == len(models), lines
    assert all(int(number) > 40 for number in lines)
