"""Checkpoints: interrupted fits continue with the same bits, and no file is taken for another."""

import copy
import os
import signal
import sys
from functools import cache
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import sklearn
from builders import SOLVERS, assert_same_fit, settings_for
from helpers import in_full, needs_jit, run_python, size
from scipy import sparse
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MaxAbsScaler

from skfm import (
    BayesianFMClassifier,
    BayesianFMRegressor,
    FMClassifier,
    FMRecommender,
    FMRegressor,
    MFRecommender,
)
from skfm._kernels.losses import SQUARED_ERROR
from skfm._solvers.fm.coordinate_descent import _Descent
from skfm._solvers.fm.interactions import all_pairs
from skfm._solvers.fm.parameters import Parameters
from skfm._solvers.fm.penalties import Penalties
from skfm._solvers.fm.problem import make_problem
from skfm._solvers.training import run_epochs
from skfm._utils import checkpoint as checkpoints
from skfm._utils.fingerprint import digest
from skfm._utils.progress import Progress
from skfm.datasets import make_fm_regression
from skfm.io import load_model, save_model

EPOCHS = size(14, 8)
N_ROWS = size(600, 60)
SETTINGS = {"n_components": 3, "max_iter": EPOCHS, "random_state": 0, "batch_size": 64}


@cache
def rows():
    X, y = make_fm_regression(N_ROWS, n_fields=3, n_levels=size(12, 4), random_state=0)
    numeric = np.random.default_rng(0).normal(size=(N_ROWS, 2))
    return sparse.hstack([X, numeric], format="csr"), y


def fields():
    X, _ = rows()
    return np.arange(X.shape[1]) * 3 // X.shape[1]


def regression(dtype=np.float64):
    X, y = rows()
    return X.astype(dtype), y


def classes(n):
    X, y = rows()
    return X, np.searchsorted(np.quantile(y, np.arange(1, n) / n), y)


def counts():
    X, y = rows()
    return X, np.random.default_rng(0).poisson(np.exp(y - y.mean()))


# The class, its parameters, the data.
CASES = {
    "squared error": (FMRegressor, {}, regression),
    "float32": (FMRegressor, {}, lambda: regression(np.float32)),
    "log loss": (FMClassifier, {}, lambda: classes(2)),
    "softmax": (FMClassifier, {"class_weight": "balanced"}, lambda: classes(3)),
    "given penalties": (FMRegressor, {"alpha": 1.0, "alpha_linear": 2.0}, regression),
    "poisson": (FMRegressor, {"loss": "poisson"}, counts),
    "early stopping": (FMRegressor, {"early_stopping": True, "n_iter_no_change": 2}, regression),
    "best epoch": (FMClassifier, {"early_stopping": True, "refit": False}, lambda: classes(2)),
    "weighted": (
        FMRegressor,
        {"field_interactions": "weighted", "feature_fields": fields()},
        regression,
    ),
    "matrixed": (
        FMRegressor,
        {"field_interactions": "matrixed", "feature_fields": fields(), "alpha": 1.0},
        regression,
    ),
    "aware": (
        FMClassifier,
        {"field_interactions": "aware", "feature_fields": fields()},
        lambda: classes(2),
    ),
    "degree 3": (FMRegressor, {"degree": 3}, regression),
    "until convergence": (FMRegressor, {"max_iter": 300, "tol": 1e-2}, regression),
    "random state": (FMRegressor, {"random_state": np.random.RandomState(5)}, regression),
    "no random state": (FMRegressor, {"random_state": None}, regression),
    "divergence": (FMRegressor, {"learning_rate": 30.0, "alpha": 1.0}, regression),
}


class Stop(Exception):
    pass


class StopAfter:
    """A callback that raises an error after so many epochs."""

    def __init__(self, n_epochs, error=Stop):
        self.n_left = n_epochs
        self.error = error

    def __call__(self, estimator, epoch, loss):
        self.n_left -= 1
        if self.n_left < 0:
            raise self.error


@pytest.fixture(autouse=True)
def each_epoch(monkeypatch):
    """Small fits write after each epoch, too."""
    monkeypatch.setattr(checkpoints, "TRAINING_PER_WRITING", 0)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "fit.ckpt"


def fit_in_parts(model, X, y, path, lengths=(1, 2, 4), **options):
    """Fit with interruptions after so many epochs, each fit by a copy of the model.

    Returns the model and the number of interruptions.
    """
    for number in range(100):
        part = copy.copy(model)  # not of the `RandomState`: fits that fail leave it as it was
        part.callback = StopAfter(lengths[number % len(lengths)])
        try:
            part.fit(X, y, checkpoint=path, **options)
        except Stop:
            continue
        part.callback = None
        return part, number
    raise AssertionError("training does not get on")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("solver", ["adagrad", *in_full(*SOLVERS[1:])])
@pytest.mark.parametrize("case", CASES)
def test_a_fit_in_parts_has_the_same_bits(case, solver, path):
    if case == "matrixed" and solver == "als":
        pytest.skip("als has no matrices")
    make, parameters, data = CASES[case]
    model = make(solver=solver, **(SETTINGS | parameters))
    X, y = data()
    np.random.seed(7)
    whole = copy.deepcopy(model).fit(X, y)
    np.random.seed(7)
    parts, n_interruptions = fit_in_parts(model, X, y, path)
    assert n_interruptions >= min(2, whole.n_iter_ - 1)
    assert_same_fit(parts, whole)
    assert os.listdir(path.parent) == [path.name]


def matrix(dtype):
    X = np.random.default_rng(0).integers(6, size=(60, 20)).astype(dtype)
    X[:, 0] = np.maximum(X[:, 0], 1)
    return (X,)


def events(dtype):
    """Contexts and chosen items."""
    rng = np.random.default_rng(0)
    contexts = np.eye(30, dtype=dtype)[rng.integers(30, size=300)]
    return contexts, rng.integers(10, size=300)


def telling_events(dtype):
    """The kind of the chosen item depends on the context."""
    rng = np.random.default_rng(0)
    context = rng.integers(30, size=600)
    return np.eye(30, dtype=dtype)[context], context % 3 * 10 + rng.integers(10, size=600)


ITEM_FEATURES = np.random.default_rng(1).integers(2, size=(10, 4)).astype(float)


def levels(dtype):
    """A field whose levels differ in their noise."""
    level = np.random.default_rng(0).integers(40, size=300)
    return np.eye(40, dtype=dtype)[level], np.random.default_rng(1).normal(size=300) * level


BAYES = {"n_burn_in": 4, "max_iter": 14}
WITHOUT_LISTENERS = {
    "chain": (BayesianFMRegressor, BAYES, regression),
    "chain with noise by level": (BayesianFMRegressor, BAYES | {"noise_by_level": True}, levels),
    "chain of classes": (BayesianFMClassifier, BAYES, lambda dtype: classes(2)),
    "chain of a field-weighted model": (
        BayesianFMRegressor,
        BAYES | {"field_interactions": "weighted", "feature_fields": fields()},
        regression,
    ),
    "chain of relation blocks": (
        BayesianFMRegressor,
        BAYES | {"interactions": [(0, 1), (1, 2)], "feature_fields": fields(), "fit_linear": [0]},
        regression,
    ),
    "chain with little memory": (BayesianFMRegressor, BAYES | {"max_memory": 0.003}, regression),
    "implicit": (MFRecommender, {"feedback": "implicit"}, matrix),
    "explicit": (MFRecommender, {"feedback": "explicit"}, matrix),
    "no biases": (MFRecommender, {"feedback": "explicit", "fit_bias": False}, matrix),
    "sgd": (MFRecommender, {"feedback": "explicit", "solver": "sgd"}, matrix),
    "sgd that diverges": (
        MFRecommender,
        {"feedback": "explicit", "solver": "sgd", "learning_rate": 0.5},
        matrix,
    ),
    "ranking": (FMRecommender, {"batch_size": 50}, events),
    "ranking of items with features": (
        FMRecommender,
        {"batch_size": 50, "item_features": ITEM_FEATURES, "item_ids": np.arange(10)},
        events,
    ),
    "ranking of items with telling features": (
        FMRecommender,
        {"batch_size": 50, "item_features": np.repeat(np.eye(3), 10, axis=0)},
        telling_events,
    ),
    "warp": (FMRecommender, {"batch_size": 50, "loss": "warp"}, events),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", [np.float64, *in_full(np.float32)])
@pytest.mark.parametrize("case", WITHOUT_LISTENERS)
def test_other_fits_in_parts(case, dtype, path, monkeypatch):
    make, parameters, data = WITHOUT_LISTENERS[case]
    X, *y = data(dtype)
    settings = {"n_components": 3, "random_state": None}
    if make in (MFRecommender, FMRecommender):
        settings |= {"max_iter": 8, "tol": 0}
    model = make(**(settings | parameters))
    np.random.seed(7)
    whole = copy.copy(model).fit(X, *y)
    np.random.seed(7)
    writes, write = [], checkpoints.Checkpoint.write

    def interrupted(checkpoint, snapshots):
        write(checkpoint, snapshots)
        writes.append(None)
        if len(writes) in (2, 3, 6):
            raise Stop

    monkeypatch.setattr(checkpoints.Checkpoint, "write", interrupted)
    for _ in range(3):
        with pytest.raises(Stop):
            copy.copy(model).fit(X, *y, checkpoint=path)
    parts = copy.copy(model).fit(X, *y, checkpoint=path)
    assert len(writes) == whole.n_iter_ + 1
    assert_same_fit(parts, whole)
    with pytest.raises(ValueError, match="another fit: X differs"):
        copy.copy(model).fit(2 * X, *y, checkpoint=path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("solver", ["als", *in_full("ftrl")])
def test_threads_may_change(solver, path):
    X, y = regression()
    model = FMRegressor(solver=solver, early_stopping=True, **SETTINGS)
    whole = copy.deepcopy(model).fit(X, y)
    with pytest.raises(Stop):
        copy.copy(model).set_params(n_jobs=2, callback=StopAfter(3)).fit(X, y, checkpoint=path)
    parts = copy.copy(model).fit(X, y, checkpoint=path)
    assert_same_fit(parts, whole)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("solver", ["ftrl", *in_full("adam", "als")])
def test_warm_start(solver, path):
    X, y = regression()
    first = FMRegressor(solver=solver, warm_start=True, **SETTINGS).fit(X[:400], y[:400])
    whole = copy.deepcopy(first).fit(X, y)
    parts, n_interruptions = fit_in_parts(first, X, y, path)
    assert n_interruptions
    assert_same_fit(parts, whole)
    with pytest.raises(ValueError, match="another fit: warm_start differs"):
        copy.copy(whole).fit(X, y, checkpoint=path)


@pytest.mark.filterwarnings("ignore")
def test_lasso_and_validation_rows(path):
    X, y = regression()
    options = {"X_val": X[:100], "y_val": y[:100], "sample_weight": np.linspace(1, 2, N_ROWS)}
    model = FMRegressor(solver="ftrl", alpha_l1=3.0, alpha_l21=1.0, scoring=None, **SETTINGS)
    whole = copy.deepcopy(model).fit(X, y, **options)
    parts, _ = fit_in_parts(model, X, y, path, **options)
    assert_same_fit(parts, whole)


@pytest.mark.filterwarnings("ignore")
def test_a_finished_fit_is_not_trained_again(path):
    X, y = regression()
    model = FMRegressor(early_stopping=True, **SETTINGS)
    whole = copy.copy(model).fit(X, y, checkpoint=path)
    content = path.read_bytes()
    again = copy.copy(model).set_params(callback=StopAfter(0)).fit(X, y, checkpoint=path)
    again.callback = None
    assert_same_fit(again, whole)
    assert path.read_bytes() == content


IN_USE = r"Another fit is using the file checkpoint; wait until .* another path.*fit\.ckpt"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", ["regression", "chain", "implicit", "ranking"])
def test_one_fit_at_a_time(case, path, monkeypatch):
    """The second one fails, also with other data, and changes nothing."""
    if case == "regression":
        make, parameters, data = FMRegressor, {}, regression
    else:
        make, parameters, of_dtype = WITHOUT_LISTENERS[case]
        data = lambda: of_dtype(np.float64)  # noqa: E731
    model = make(**({"n_components": 3, "max_iter": 8, "random_state": 0} | parameters))
    whole = copy.copy(model).fit(*data())
    write, errors = checkpoints.Checkpoint.write, []

    def write_during_another_fit(checkpoint, snapshots):
        write(checkpoint, snapshots)
        before = path.read_bytes()
        for n_components in (3, 4):
            other = copy.copy(model).set_params(n_components=n_components)
            with pytest.raises(BlockingIOError, match=IN_USE):
                other.fit(*data(), checkpoint=path)
            assert not hasattr(other, "n_features_in_")
        assert path.read_bytes() == before
        errors.append(None)

    monkeypatch.setattr(checkpoints.Checkpoint, "write", write_during_another_fit)
    assert_same_fit(copy.copy(model).fit(*data(), checkpoint=path), whole)
    assert len(errors) > 2
    assert os.listdir(path.parent) == [path.name]
    monkeypatch.undo()
    assert_same_fit(copy.copy(model).fit(*data(), checkpoint=path), whole)


@pytest.mark.filterwarnings("ignore")
def test_a_callback_ends_a_fit_for_good(path):
    X, y = regression()
    model = FMRegressor(callback=lambda estimator, epoch, loss: epoch == 3, **SETTINGS)
    model.fit(X, y, checkpoint=path)
    again = FMRegressor(**SETTINGS).fit(X, y, checkpoint=path)
    assert again.n_iter_ == model.n_iter_ == 3
    np.testing.assert_array_equal(again.components_, model.components_)


@pytest.mark.filterwarnings("ignore")
def test_random_numbers_of_others(path):
    """A fit that fails leaves the user's random numbers as they were, and one that ends has drawn
    what it would have drawn without interruption."""
    X, y = regression()
    one, other = np.random.RandomState(1), np.random.RandomState(1)
    model = FMRegressor(**(SETTINGS | {"random_state": one}))
    with pytest.raises(Stop):
        copy.copy(model).set_params(callback=StopAfter(5)).fit(X, y, checkpoint=path)
    assert digest(one) == digest(other)
    model.fit(X, y, checkpoint=path)
    copy.copy(model).set_params(random_state=other).fit(X, y)
    assert digest(one) == digest(other) != digest(np.random.RandomState(1))
    with pytest.raises(ValueError, match="another fit: random_state differs"):
        model.fit(X, y, checkpoint=path)
    # The numbers of NumPy's global generator are not turned back.
    path.unlink()
    model = FMRegressor(**(SETTINGS | {"random_state": np.random}))
    np.random.seed(3)
    with pytest.raises(Stop):
        copy.copy(model).set_params(callback=StopAfter(5)).fit(X, y, checkpoint=path)
    after = np.random.get_state()[1].copy(), np.random.get_state()[2]
    continued = copy.copy(model).fit(X, y, checkpoint=path)
    assert (np.random.get_state()[1] == after[0]).all() and np.random.get_state()[2] == after[1]
    np.random.seed(3)
    np.testing.assert_array_equal(continued.components_, model.fit(X, y).components_)


@pytest.mark.filterwarnings("ignore")
def test_interrupted_by_the_user(path):
    X, y = regression()
    model = FMClassifier(**SETTINGS, callback=StopAfter(4, KeyboardInterrupt))
    before = dict(vars(model))
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y > 0, checkpoint=path)
    assert vars(model) == before
    model.callback = None
    assert_same_fit(model.fit(X, y > 0, checkpoint=path), FMClassifier(**SETTINGS).fit(X, y > 0))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(sys.platform == "win32", reason="no limits of file sizes")
def test_no_space_left(path):
    import resource

    X, y = regression()
    whole = FMRegressor(**SETTINGS).fit(X, y)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill_disk(estimator, epoch, loss):
        if epoch == 4:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))

    model = FMRegressor(**SETTINGS, callback=fill_disk)
    before = dict(vars(model))
    try:
        with pytest.raises(OSError, match=r"checkpoint cannot be written.*fit\.ckpt"):
            model.fit(X, y, checkpoint=path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert vars(model) == before
    assert os.listdir(path.parent) == [path.name]
    epochs = []
    model.callback = lambda estimator, epoch, loss: epochs.append(epoch)
    model.fit(X, y, checkpoint=path)
    assert epochs[0] == 4  # the file of epoch 3 was intact
    model.callback = None
    assert_same_fit(model, whole)


def started(path, n_epochs=4, **changed):
    """A file of a fit that was interrupted."""
    X, y = regression()
    model = FMRegressor(**(SETTINGS | changed), callback=StopAfter(n_epochs))
    with pytest.raises(Stop):
        model.fit(X, y, checkpoint=path)


@pytest.mark.filterwarnings("ignore")
def test_damaged_files(path):
    started(path)
    X, y = regression()
    whole = FMRegressor(**SETTINGS).fit(X, y)
    content = path.read_bytes()
    n_errors, rng = 0, np.random.default_rng(0)
    places = rng.integers(len(content), size=size(60, 5))
    for damage in [*places, None]:
        if damage is None:
            path.write_bytes(content[: len(content) // 2])
        else:
            damaged = bytearray(content)
            damaged[damage] ^= 1 << rng.integers(8)
            path.write_bytes(damaged)
        model = FMRegressor(**SETTINGS)
        try:
            model.fit(X, y, checkpoint=path)
        except ValueError as error:
            n_errors += 1
            assert str(path) in str(error) and "Delete it" in str(error)
            assert not hasattr(model, "coef_")
        else:  # in what nobody reads, such as padding
            assert_same_fit(model, whole)
    assert n_errors > len(places) / 2


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("content", ["", "text", "model", "arrays", "newer"])
def test_foreign_files(content, path, monkeypatch):
    X, y = regression()
    if content == "model":
        save_model(FMRegressor(**SETTINGS).fit(X, y), path)
    elif content == "arrays":
        with path.open("wb") as file:
            np.savez(file, a=np.ones(3))
    elif content == "newer":
        with monkeypatch.context() as patch:
            patch.setattr(checkpoints, "FORMAT_VERSION", 2)
            started(path)
    else:
        path.write_text(content)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"fit\.ckpt was not written by a fit.*Delete it"):
        FMRegressor(**SETTINGS).fit(X, y, checkpoint=path)
    assert path.read_bytes() == before


def other_data(**changed):
    X, y = regression()
    return {"X": X, "y": y, "sample_weight": None} | changed


OTHER_FITS = {
    "X differs": {"X": regression(np.float32)[0]},
    "y differs": {"y": regression()[1] + 1},
    "sample_weight differs": {"sample_weight": np.linspace(1, 2, N_ROWS)},
    "alpha was 'auto', now 0.5": {"parameters": {"alpha": 0.5}},
    "alpha differs": {"parameters": {"alpha": np.ones(rows()[0].shape[1])}},
    "solver was 'adagrad', now 'adam'": {"parameters": {"solver": "adam"}},
    "random_state was 0, now 1": {"parameters": {"random_state": 1}},
    "max_iter was": {"parameters": {"max_iter": EPOCHS + 1}},
    "feature_fields": {"parameters": {"feature_fields": fields()}},
    "X_val differs": {"X_val": rows()[0][:50], "y_val": rows()[1][:50]},
}


@pytest.mark.parametrize("message", OTHER_FITS)
def test_other_fits(message, path):
    started(path)
    content = path.read_bytes()
    data = other_data(**OTHER_FITS[message])
    model = FMRegressor(**(SETTINGS | data.pop("parameters", {})))
    with pytest.raises(
        ValueError, match=f"fit.ckpt is the checkpoint of another fit: .*{message}"
    ):
        model.fit(**data, checkpoint=path)
    assert path.read_bytes() == content


def test_another_class_and_version(path, monkeypatch):
    X, y = regression()
    started(path)
    with pytest.raises(ValueError, match="class was 'FMRegressor', now 'FMClassifier'"):
        FMClassifier(**SETTINGS).fit(X, y > 0, checkpoint=path)
    monkeypatch.setattr("skfm._utils.fingerprint.__version__", "99.0")
    with pytest.raises(ValueError, match=r"version of skfm was .*, now '99\.0'"):
        FMRegressor(**SETTINGS).fit(X, y, checkpoint=path)


def test_traits_of_values():
    """Equal values have the same digest wherever they are in memory; others have another."""
    X, _ = rows()
    same = [
        (np.asfortranarray(X.toarray()), X.toarray()),
        ({"a": 1, "b": [2.0]}, {"b": [2.0], "a": 1}),
        ({"u", "v", "w"}, {"w", "v", "u"}),
        (np.float64(0.5), 0.5),
        (rows, rows),
        (np.random.RandomState(3), np.random.RandomState(3)),
        (sparse.coo_matrix(X), X),
    ]
    for one, other in same:
        assert digest(one) == digest(other)
    distinct = [
        *(None, 0, 1, 0.0, -0.0, "0", [], [0], [[0]], [0, 0], (), {}, {"a": 0}, {"a": None}),
        *(np.zeros(2), np.zeros((2, 1)), np.zeros(2, np.float32), np.array([0.0, -0.0])),
        *(np.array(["a", "b"]), np.array(["a", "b"], object), np.array(["ab"], object)),
        *(np.array([["a", "b"]], object), rows, fields, np.random.RandomState(3)),
        np.array("2020-01-01", "M8[D]"),
    ]
    assert len({digest(value) for value in distinct}) == len(distinct) - 1  # () is []


@pytest.mark.filterwarnings("ignore")
def test_paths(path, tmp_path, monkeypatch):
    X, y = regression()
    model = FMRegressor(**SETTINGS, callback=StopAfter(0))
    with pytest.raises(FileNotFoundError, match=r"folder of checkpoint does not exist.*none"):
        model.fit(X, y, checkpoint=tmp_path / "none" / "fit.ckpt")
    with pytest.raises(IsADirectoryError, match="checkpoint must be a file"):
        model.fit(X, y, checkpoint=tmp_path)
    for wrong in (b"fit.ckpt", 3, open):
        with pytest.raises(TypeError, match="checkpoint must be a path or None"):
            model.fit(X, y, checkpoint=wrong)
    if os.name == "posix" and os.geteuid():
        tmp_path.chmod(0o500)
        try:
            with pytest.raises(PermissionError, match=r"cannot be written.*fit\.ckpt"):
                model.fit(X, y, checkpoint=path)
        finally:
            tmp_path.chmod(0o700)
    assert not hasattr(model, "coef_") and model.callback.n_left == 0
    # A relative path stays what it was when the fit started.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "below").mkdir()
    model.callback = lambda estimator, epoch, loss: os.chdir(tmp_path / "below")
    model.fit(X, y, checkpoint="fit.ckpt")
    assert path.exists() and not os.listdir(tmp_path / "below")


@pytest.mark.filterwarnings("ignore")
def test_a_link_stays_a_link(path, tmp_path):
    (tmp_path / "there").mkdir()
    target = tmp_path / "there" / "real.ckpt"
    try:
        path.symlink_to(target)
    except OSError:
        pytest.skip("no links")
    X, y = regression()
    FMRegressor(**SETTINGS).fit(X, y, checkpoint=path)
    assert path.is_symlink() and target.stat().st_size


@pytest.mark.filterwarnings("ignore")
def test_writing_takes_a_small_part_of_the_time(path, monkeypatch):
    """Only the first and the last state are written where writing takes far longer than an epoch,
    and the bits are the same."""
    X, y = regression()
    writes, write = [], checkpoints.Checkpoint.write

    def counted(checkpoint, snapshots):
        writes.append(len(snapshots["fit"]["history"]["loss_curve"]))
        write(checkpoint, snapshots)

    monkeypatch.setattr(checkpoints.Checkpoint, "write", counted)
    monkeypatch.setattr(checkpoints, "TRAINING_PER_WRITING", 1e9)
    model = FMRegressor(**SETTINGS).fit(X, y, checkpoint=path)
    assert writes == [0, model.n_iter_]
    path.unlink()
    writes.clear()
    monkeypatch.setattr(checkpoints, "TRAINING_PER_WRITING", 0)
    again = FMRegressor(**SETTINGS).fit(X, y, checkpoint=path)
    assert writes == list(range(model.n_iter_ + 1))
    assert_same_fit(again, model)


@pytest.mark.filterwarnings("ignore")
def test_pipelines_pass_it_on(path):
    X, y = regression()
    pipeline = make_pipeline(MaxAbsScaler(), FMRegressor(**SETTINGS))
    pipeline.fit(X, y, fmregressor__checkpoint=path)
    assert path.exists()
    path.unlink()
    with sklearn.config_context(enable_metadata_routing=True):
        model = FMRegressor(**SETTINGS).set_fit_request(checkpoint=True)
        Pipeline([("scale", MaxAbsScaler()), ("fm", model)]).fit(X, y, checkpoint=path)
    assert path.exists()


def test_progress_says_the_speed_of_the_epochs_trained_now(path, capsys):
    started(path, n_epochs=EPOCHS - 1)
    X, y = regression()
    FMRegressor(**SETTINGS, verbose=1).fit(X, y, checkpoint=path)
    assert f"Epoch {EPOCHS}/{EPOCHS}" in capsys.readouterr().err


class Point(NamedTuple):
    n_epochs: int


class ScriptedTrainer:
    """Parameters are the number of epochs, and their loss is in a list."""

    LOSSES = (0.9, 0.5, 0.1, 0.4, 0.6, 0.8, 0.8)
    learning_rate, n_batches, finds_rate, remedy = 1.0, 100, False, ""

    def __init__(self, last):
        self.n_epochs, self.last = 0, last

    def snapshot(self):
        return self.n_epochs

    def restore(self, snapshot):
        self.n_epochs = snapshot

    def parameters(self):
        return Point(self.n_epochs)

    def penalty(self):
        return 0.0

    def epoch(self):
        if self.n_epochs == self.last:
            raise Stop
        self.n_epochs += 1
        return self.LOSSES[self.n_epochs - 1]

    def measure(self):
        return self.measure_at(self.parameters())

    def measure_at(self, parameters):
        return (self.LOSSES[parameters.n_epochs],) * 2


def test_the_best_epoch_may_have_been_before_the_interruption(path):
    settings = SimpleNamespace(max_iter=6, tol=0.0, n_iter_no_change=10, verbose=False)

    def run(last):
        shown = Progress(settings, 1, "rows")
        checkpoint = checkpoints.Checkpoint(path, {}).stage("fit")
        return run_epochs(ScriptedTrainer(last), 1.0, settings, shown, checkpoint=checkpoint)

    with pytest.raises(Stop):
        run(4)
    kept, history = run(None)
    assert kept == Point(2)
    assert history.loss_curve == list(ScriptedTrainer.LOSSES[:6])


def test_shorter_steps_of_coordinate_descent():
    X, y = rows()
    problem = make_problem(
        X,
        y,
        np.empty(0),
        SQUARED_ERROR,
        Penalties(linear=1.0, factors=1.0),
        all_pairs(X.shape[1], 3),
    )
    start = Parameters(
        np.zeros(1),
        np.zeros((1, problem.n_used)),
        problem.random_factors(1, problem.n_used, 0.1, np.random.RandomState(0)),
    )
    settings = settings_for("squared_error", 3)
    one, other = (_Descent(problem, start, settings) for _ in range(2))
    one.boost = 64.0
    one._weigh()
    one.sweep()
    other.restore(one.snapshot())
    assert other.boost == one.boost == 32.0
    assert other.rows.root.size
    for _ in range(3):
        assert one.sweep() == other.sweep()
    for values, expected in zip(other.parameters(), one.parameters(), strict=True):
        np.testing.assert_array_equal(values, expected)


KILLED = """
import os, random, signal, sys, threading, time, warnings
import numpy as np
from skfm import FMRegressor
from skfm._utils import checkpoint as checkpoints
from skfm.datasets import make_fm_regression
from skfm.io import save_model

warnings.simplefilter("ignore")
solver, path, result, number, kills = sys.argv[1:]
checkpoints.TRAINING_PER_WRITING = 0
X, y = make_fm_regression(600, n_fields=3, n_levels=12, random_state=0)
rng, n_left = random.Random(int(number)), 0


def kill_soon(estimator, epoch, loss):
    global n_left
    n_left -= 1
    if n_left == 0:  # at any time, perhaps while the file is written
        kill = lambda: os.kill(os.getpid(), signal.SIGKILL)
        threading.Timer(rng.uniform(0, 0.01), kill).start()
    time.sleep(0.002)


if kills == "killed":
    n_left = rng.randrange(1, 20)
np.random.seed(int(number))
model = FMRegressor(
    3, solver=solver, max_iter=30, tol=0, early_stopping=True, callback=kill_soon,
    n_jobs=1 + int(number) % 2,
)
model.fit(X, y, checkpoint=path or None)
save_model(model.set_params(callback=None, n_jobs=None), result)
"""


@needs_jit
@pytest.mark.full
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL")
@pytest.mark.parametrize("solver", SOLVERS)
def test_killed_processes(solver, tmp_path):
    """The random state is that of the first process."""
    path, *results = [tmp_path / name for name in ("fit.ckpt", "whole.npz", "parts.npz")]
    run = run_python("-c", KILLED, solver, "", results[0], 0, "alive")
    assert run.returncode == 0, run.stderr
    codes = []
    while 0 not in codes:
        number = len(codes)
        fate = "killed" if number < 3 else "alive"
        run = run_python("-c", KILLED, solver, path, results[1], number, fate)
        codes.append(run.returncode)
        assert run.returncode in (0, -signal.SIGKILL), run.stderr
    assert codes[:2] == [-signal.SIGKILL] * 2
    assert path.exists()
    assert_same_fit(*map(load_model, results))
