"""Callbacks of scikit-learn 1.9: `set_callbacks`, and the tasks of a fit."""

import io
import pickle
import sys
import warnings

import numpy as np
import pytest
from builders import quietly
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, OneHotEncoder

from skfm import (
    BayesianFMClassifier,
    BayesianFMRegressor,
    FMClassifier,
    FMRecommender,
    FMRegressor,
    MFRecommender,
)
from skfm._fm.early_stopping import Listener
from skfm._utils import callbacks
from skfm.io import load_model, save_model

N_EPOCHS = 4
OPTIONS = {"max_iter": N_EPOCHS, "random_state": 0}
MODELS = {
    "regressor": FMRegressor(2, **OPTIONS),
    "als": FMRegressor(2, solver="als", tol=0, **OPTIONS),
    "classifier": FMClassifier(2, **OPTIONS),
    "bayesian regressor": BayesianFMRegressor(2, n_burn_in=1, **OPTIONS),
    "bayesian classifier": BayesianFMClassifier(2, n_burn_in=1, **OPTIONS),
    "recommender": FMRecommender(2, **OPTIONS),
    "explicit": MFRecommender(2, tol=0, **OPTIONS),
    "implicit": MFRecommender(2, feedback="implicit", tol=0, **OPTIONS),
    "sgd": MFRecommender(2, solver="sgd", **OPTIONS),
}


def data_for(model):
    rng = np.random.default_rng(0)
    if isinstance(model, MFRecommender):
        return np.abs(sparse.random(30, 8, density=0.5, random_state=0, format="csr")), None
    X = rng.normal(size=(60, 5))
    y = X[:, 0] + X[:, 1] * X[:, 2]
    if isinstance(model, FMRecommender):
        return X, np.digitize(y, [-1, 0, 1])
    return X, y > 0 if hasattr(model, "predict_proba") else y


class Recorder:
    """Notes what is called, and what the fitted estimators in the making predict."""

    def __init__(self, stop_after=None):
        self.calls, self.predicted, self.stop_after = [], [], stop_after

    def setup(self, estimator, context):
        self.calls.append("setup")

    def teardown(self, estimator, context):
        self.calls.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.calls.append(("begin", context.task_name, context.task_id, context.max_subtasks))

    def on_fit_task_end(self, estimator, context, *, X=None, fitted_estimator=None):
        self.calls.append(("end", context.task_name, context.task_id, context.max_subtasks))
        if fitted_estimator is not None:
            self.predicted.append(answer(fitted_estimator, X))
        return context.task_id + 1 == self.stop_after


class Counter(Recorder):
    """Counts the fits of all copies."""

    n_setups = 0

    def setup(self, estimator, context):
        Counter.n_setups += 1


def answer(model, X):
    if isinstance(model, (MFRecommender, FMRecommender)):
        return model.recommend(X, 3)[1]
    if hasattr(model, "predict_proba"):
        return model.predict_proba(X)
    return model.predict(X)


@pytest.fixture
def callback_module():
    return pytest.importorskip("sklearn.callback", reason="scikit-learn is older than 1.9")


@pytest.mark.parametrize("name", MODELS)
def test_each_epoch_is_a_task(name, callback_module):
    model, recorder = clone(MODELS[name]), Recorder()
    X, y = data_for(model)
    quietly(model.set_callbacks(recorder).fit, X, y)
    bayesian_or_mf = isinstance(model, (BayesianFMRegressor, BayesianFMClassifier, MFRecommender))
    task = "iteration" if bayesian_or_mf else "epoch"
    epochs = [(which, task, n, 0) for n in range(model.n_iter_) for which in ("begin", "end")]
    assert recorder.calls == [
        "setup",
        ("begin", "fit", 0, N_EPOCHS),
        *epochs,
        ("end", "fit", 0, N_EPOCHS),
        "teardown",
    ]


@pytest.mark.parametrize("name", MODELS)
def test_callbacks_get_the_model_of_each_epoch_and_change_nothing(name, callback_module):
    model, recorder = clone(MODELS[name]), Recorder()
    X, y = data_for(model)
    quietly(model.set_callbacks(recorder).fit, X, y)
    plain = quietly(clone(MODELS[name]).fit, X, y)
    *during, last = recorder.predicted
    n_expected = model.n_iter_ - getattr(model, "n_burn_in", 0)
    assert len(during) == n_expected
    assert_array_equal(answer(model, X), answer(plain, X))
    assert_array_equal(last, answer(plain, X))
    assert not np.array_equal(during[0], during[-1])
    shorter = clone(MODELS[name]).set_params(max_iter=2)
    if name in ("als", "explicit", "implicit", "bayesian regressor", "bayesian classifier"):
        assert_allclose(during[1 - (n_expected < N_EPOCHS)], answer(quietly(shorter.fit, X, y), X))


@pytest.mark.parametrize("name", MODELS)
def test_a_callback_stops_training(name, callback_module):
    model = clone(MODELS[name]).set_callbacks(Recorder(stop_after=2))
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)  # stopped on purpose
        model.fit(*data_for(model))
    assert model.n_iter_ == 2


def test_callbacks_are_torn_down_after_an_error(callback_module):
    class Failing(Recorder):
        def on_fit_task_end(self, estimator, context):
            raise RuntimeError("no more")

    model, recorder = FMRegressor(2, **OPTIONS), Failing()
    X, y = data_for(model)
    model.set_callbacks(recorder)
    before = dict(vars(model))
    with pytest.raises(RuntimeError, match="no more"):
        model.fit(X, y)
    assert recorder.calls[-1] == "teardown"
    assert vars(model) == before
    with pytest.raises(ValueError, match="max_iter"):
        model.set_params(max_iter=0).fit(X, y)
    assert len(recorder.calls) == 4  # parameters are checked before anything begins


def test_the_second_fit_on_all_rows_has_epochs_too(callback_module):
    model = FMRegressor(2, early_stopping=True, validation_fraction=0.2, **OPTIONS)
    X, y = data_for(model)
    recorder = Recorder()
    quietly(model.set_callbacks(recorder).fit, X, y)
    ids = [call[2] for call in recorder.calls if call[:2] == ("end", "epoch")]
    assert ids == list(range(len(ids))) and len(ids) > model.n_iter_
    assert recorder.calls[1][3] == 2 * N_EPOCHS
    assert_allclose(recorder.predicted[-1], model.predict(X))


def test_epochs_that_diverge_are_tasks_without_a_model():
    class Tasks:
        def end_epoch(self, store):
            return store is None

    def refuse(*_):
        raise AssertionError

    parameters = [np.zeros(2)]
    plain = callbacks.EpochListener(Tasks(), refuse)
    options = {"callback": None, "n_before": 0, "tol": 0.0, "n_iter_no_change": 5}
    of_fm = Listener(show=refuse, score=None, tasks=Tasks(), **options)
    for listener in (plain, of_fm):
        assert listener(1, 0.5, parameters) is False
        assert listener(2, np.nan, parameters) is True
    of_fm = Listener(show=refuse, score=None, tasks=Tasks(), **options)
    assert of_fm(1, 0.5, [np.array([np.inf])]) is True


def test_clones_and_pickles_keep_callbacks_until_they_are_removed(callback_module):
    model = FMRegressor(2, **OPTIONS).set_callbacks(Counter())
    X, y = data_for(model)
    before = Counter.n_setups
    for copy in (clone(model), pickle.loads(pickle.dumps(model))):
        quietly(copy.fit, X, y)
    assert Counter.n_setups == before + 2
    for copy in (clone(model.set_callbacks()), model):
        quietly(copy.fit, X, y)
    assert Counter.n_setups == before + 2
    with pytest.raises(TypeError):
        model.set_callbacks("verbose")


def test_saved_models_have_no_callbacks(callback_module):
    recorder = Recorder()
    model = clone(MODELS["regressor"]).set_callbacks(recorder)
    X, y = data_for(model)
    quietly(model.fit, X, y)
    file = io.BytesIO()
    with pytest.warns(UserWarning, match="does not save callbacks; set them again"):
        save_model(model, file)
    loaded = load_model(file)
    assert_array_equal(loaded.predict(X), model.predict(X))
    assert vars(loaded).keys() == vars(quietly(clone(MODELS["regressor"]).fit, X, y)).keys()
    n_calls = len(recorder.calls)
    quietly(model.fit, X, y)
    assert len(recorder.calls) > n_calls, "the model itself has lost its callbacks"


def test_the_score_of_each_epoch(callback_module):
    pd = pytest.importorskip("pandas")
    X, y = data_for(FMRegressor())
    frame = pd.DataFrame({"a": (X[:, 0] > 0).astype(str), "b": (X[:, 1] > 0).astype(str)})
    onehot = OneHotEncoder(sparse_output=False).set_output(transform="pandas")
    frame = onehot.fit_transform(frame)
    weight = np.arange(1.0, 61)
    monitor = callback_module.ScoringMonitor(scoring="r2")
    model = FMRegressor(2, **OPTIONS).set_callbacks(monitor)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", message=".*feature names")
        model.fit(frame, y, sample_weight=weight)
    log = monitor.get_logs().data_as_pandas
    scores = log[log.task_name == "epoch"]["r2"].to_numpy()
    assert scores.size == N_EPOCHS
    assert scores[-1] > scores[0]
    last = log[log.task_name == "fit"]["r2"].to_numpy()
    assert_allclose(last, model.score(frame, y, weight))


def test_progress_bar(callback_module, capsys):
    pytest.importorskip("rich")
    model = FMRegressor(2, **OPTIONS).set_callbacks(callback_module.ProgressBar())
    quietly(model.fit, *data_for(model))
    assert "FMRegressor - fit" in capsys.readouterr().out


def test_searches_and_pipelines_pass_callbacks_on(callback_module):
    X, y = data_for(FMRegressor())
    monitor = callback_module.ScoringMonitor(scoring="r2")
    model = FMRegressor(2, **OPTIONS).set_callbacks(monitor)
    pipeline = make_pipeline(MaxAbsScaler(), model)
    quietly(GridSearchCV(pipeline, {"fmregressor__alpha": [0.1, 1.0]}, cv=2).fit, X, y)
    log = monitor.get_logs(select="all")
    epochs = [row for run in log for row in run.data if row["task_name"] == "epoch"]
    assert len(epochs) == N_EPOCHS * (2 * 2 + 1)

    class Propagated(Recorder):
        max_propagation_depth = None

    recorder = Propagated()
    search = GridSearchCV(FMRegressor(2, **OPTIONS), {"alpha": [0.1, 1.0]}, cv=2)
    quietly(search.set_callbacks(recorder).fit, X, y)
    assert recorder.calls.count(("end", "epoch", 0, 0)) == 5
    assert recorder.calls.count("setup") == recorder.calls.count("teardown") == 1
    quietly(search.best_estimator_.fit, X, y)
    assert recorder.calls.count("setup") == 1  # removed from it after the search


def test_without_callbacks_nothing_is_created(callback_module, monkeypatch):
    def refuse(*_):
        raise AssertionError

    monkeypatch.setattr(callback_module.CallbackSupportMixin, "_init_callback_context", refuse)
    for model in map(clone, MODELS.values()):
        quietly(model.fit, *data_for(model))


@pytest.fixture
def older_version(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.callback", None)
    callbacks._are_supported.cache_clear()
    yield
    callbacks._are_supported.cache_clear()


def test_older_versions_have_no_callbacks(older_version):
    model = FMRegressor(2, **OPTIONS)
    assert not hasattr(model, "set_callbacks")
    with pytest.raises(AttributeError, match="set_callbacks"):
        model.set_callbacks()
    vars(model)[callbacks.HAS_CALLBACKS] = True  # from a pickle of a newer version
    quietly(clone(model).fit, *data_for(model))
    quietly(model.fit, *data_for(model))
