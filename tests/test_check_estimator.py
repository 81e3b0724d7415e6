"""scikit-learn's own checks, nothing excused."""

import pytest
from helpers import run_code
from sklearn.utils.estimator_checks import parametrize_with_checks

from skfm import FMClassifier, FMRegressor


@parametrize_with_checks(
    [FMRegressor(), FMRegressor(n_jobs=2), FMClassifier(), FMClassifier(n_jobs=2)]
)
def test_scikit_learn_check(estimator, check):
    check(estimator)


CODE = """
from sklearn.utils.estimator_checks import check_estimator
from skfm import FMClassifier, FMRegressor
results = check_estimator({model}, on_skip=None, on_fail=None)
print(len(results))
for result in results:
    if result["status"] != "passed":
        print(result["check_name"], result["status"], repr(result["exception"]))
"""


@pytest.mark.parametrize(
    "model",
    ["FMRegressor()", "FMRegressor(n_jobs=2)", "FMClassifier()", "FMClassifier(n_jobs=2)"],
)
def test_nothing_is_skipped_with_the_array_api(model):
    first, *others = run_code(CODE.format(model=model), SCIPY_ARRAY_API=1).splitlines()
    assert int(first) > 50
    assert others == []
