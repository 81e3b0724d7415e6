"""Random inputs, and what must hold for each of them: see `fuzzing.py` for what is drawn.

`pytest tests/test_fuzz.py --fuzz 1000` tries inputs 0 to 999 of each estimator, `--fuzz 500:600`
those from 500 on. A test is called by its estimator and input, so ``-k "[FMRegressor-512]"`` with
the second runs that one again.
"""

import pickle
import traceback
import warnings
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from fuzzing import FAMILIES, draw, make
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.pipeline import Pipeline

from skfm._fm import outputs
from skfm._solvers import top_k
from skfm._solvers.fm import sweeps, trainer
from skfm._solvers.mf import als, principal_axes, sgd

SCORED_BY_SKLEARN = (ClassifierMixin, RegressorMixin, Pipeline)
ERRORS = (ValueError, TypeError, AttributeError)  # these and no others are documented


def pytest_generate_tests(metafunc):
    numbers = metafunc.config.getoption("fuzz")
    metafunc.parametrize(("family", "seed"), [(f, s) for s in numbers for f in FAMILIES])


@pytest.fixture(autouse=True)
def threads_for_little_work(monkeypatch):
    for module in (als, principal_axes, sweeps, top_k):
        monkeypatch.setattr(module, "THREAD_WORK", 1)
    monkeypatch.setattr(trainer, "ROWS_A_THREAD", 1)
    monkeypatch.setattr(sgd, "SMALL", 1)
    monkeypatch.setattr(outputs, "ROWS_PER_THREAD", 1)


def test_fuzz(family, seed):
    drawn = draw(family, seed)
    first = outcomes(drawn)
    assert outcomes(drawn, pickled=True) == first, "a pickled estimator is another"
    for n_jobs in (2, 3):
        assert outcomes(drawn, n_jobs=n_jobs) == first, f"n_jobs={n_jobs} is another"
    plain = outcomes(drawn, plain=True)
    assert without_messages(plain) == without_messages(first), "other forms are other data"


def without_messages(outcomes):
    """What does not depend on the form of data, if scikit-learn's scores are left out."""
    return [
        method if method == "score" else kind if kind == "error" else (kind, method, *answer)
        for kind, method, *answer in outcomes
    ]


def outcomes(drawn, *, n_jobs=None, pickled=False, plain=False):
    """What comes of each call, as something that can be compared."""
    try:
        estimator = drawn.make()
    except ERRORS as error:
        check_error(error)
        return [("error", "make", str(error))]
    found = []
    for call in drawn.calls:
        use_threads(estimator, n_jobs)
        arguments = {name: make(value, plain) for name, value in call.arguments.items()}
        found.append(outcome(estimator, call, arguments))
        if pickled:
            estimator = pickle.loads(pickle.dumps(estimator))
    return found


def use_threads(estimator, n_jobs):
    for name, value in estimator.get_params().items():
        is_sound = value is None or (isinstance(value, int) and value == -1)
        if n_jobs is not None and name.split("__")[-1] == "n_jobs" and is_sound:
            estimator.set_params(**{name: n_jobs})


def outcome(estimator, call, arguments):
    """The answer to a call or its error, after which everything is as it was before."""
    before, given = state(estimator), fingerprint(arguments)
    is_ours = not (call.method == "score" and isinstance(estimator, SCORED_BY_SKLEARN))
    error = None
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            answer = getattr(estimator, call.method)(**arguments)
        except Exception as problem:
            error = problem
    assert fingerprint(arguments) == given, f"{call.method} changes its arguments"
    if error is not None or not call.learns:
        assert state(estimator) == before, f"{call.method} changes the estimator"
    if is_ours:
        check_warnings(said)
    if error is not None:
        if is_ours:
            check_error(error)
        return "error", call.method, type(error).__name__, str(error)
    answer = flat(learned(answer) if isinstance(answer, BaseEstimator) else answer)
    if call.method != "score":  # R2 of one row is NaN, as scikit-learn's
        may_be_empty = call.method in ("recommend", "similar_items", "similar_users")
        for numbers in leaves(answer):  # -inf is the score of no item
            is_sound = np.isfinite(numbers) | (may_be_empty & (numbers == -np.inf))
            assert is_sound.all(), f"{call.method} does not give numbers"
    return "value", call.method, answer


def check_error(error):
    """Somebody meant it: not what NumPy or Python make of a value that nobody has looked at."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    is_meant = {"skfm", "sklearn"} & set(Path(place.filename).parts) and "raise" in place.line
    if not (is_meant and isinstance(error, ERRORS) and len(str(error).split()) > 3):
        raise AssertionError(f"{type(error).__name__} is not meant: {error}") from error


def check_warnings(said):
    """Ours point at the line of the call."""
    for warning in said:
        is_meant = warning.filename == __file__ or issubclass(warning.category, UserWarning)
        assert is_meant, f"{warning.category.__name__} at {warning.filename}: {warning.message}"


def state(estimator):
    """A digest of everything that an estimator keeps. A pipeline keeps the steps that did fit."""
    return None if isinstance(estimator, Pipeline) else fingerprint(vars(estimator))


def fingerprint(values):
    """A digest of the numbers in things, but not of what SciPy notes about them."""

    def bare(value):
        if sparse.issparse(value):
            return [part for part in vars(value).values() if isinstance(part, (np.ndarray, dict))]
        return None if hasattr(value, "__next__") else value

    return joblib.hash({name: bare(value) for name, value in values.items()})


def learned(estimator):
    """Fitted attributes, but for names, which depend on the form of X."""
    steps = [step for _, step in estimator.steps] if isinstance(estimator, Pipeline) else []
    own = {
        name: value
        for name, value in vars(estimator).items()
        if name.endswith("_") and "names" not in name and name != "columns_"
    }
    if "loss_curve_" in own:  # NaN for epochs that diverged
        own["loss_curve_"] = list(map(str, own["loss_curve_"]))
    return [own, *map(learned, steps)]


def flat(value):
    """Something with the same bits exactly if the values have."""
    if isinstance(value, pd.DataFrame):
        return [flat(value[name].to_numpy()) for name in value]
    if sparse.issparse(value):
        X = sparse.csr_array(value)
        return [flat(part) for part in (X.data, X.indices.astype(int), X.indptr.astype(int))]
    if isinstance(value, (np.ndarray, np.generic)):
        value = np.asarray(value)
        if value.dtype.kind in "fiub":
            return value.dtype.str, value.shape, value.tobytes()
        return value.shape, value.tolist()
    if isinstance(value, dict):
        return [(name, flat(value[name])) for name in sorted(value, key=str)]
    if isinstance(value, (list, tuple)):
        return [flat(part) for part in value]
    if isinstance(value, float):
        return flat(np.float64(value))
    return value


def leaves(value):
    """Arrays of floats in what `flat` has made."""
    if isinstance(value, tuple) and len(value) == 3 and isinstance(value[2], bytes):
        if value[0][1] == "f":
            yield np.frombuffer(value[2], value[0])
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from leaves(part)
