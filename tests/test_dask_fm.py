"""FMRegressor and FMClassifier on Dask clusters of two and three worker processes."""

import itertools
import pickle
import threading

import numpy as np
import pytest
from builders import quietly
from dask_clusters import kill_worker, local_cluster
from numpy.testing import assert_array_equal
from test_fit_stream import labels_of, make_clicks
from test_synchronous import assert_same, cut, fit_parts

from skfm import FMClassifier, FMRegressor
from skfm._solvers.partitions import Partitions
from skfm.streams import Rows
from skfm.streams import _cache as cache_files

dask = pytest.importorskip("dask")
pytest.importorskip("distributed")
da = pytest.importorskip("dask.array")

from skfm import dask as on_dask  # noqa: E402
from skfm.dask import _partitions  # noqa: E402
from skfm.dask._predict import predict  # noqa: E402

pytestmark = pytest.mark.full

N = 900
BOUNDS = [0, 100, 100, 350, 900]  # uneven, and one partition is empty
OPTIONS = {"max_iter": 3, "random_state": 0, "batch_size": 256, "tol": 0}


@pytest.fixture(scope="module", params=[2, 3])
def client(request):
    with local_cluster(request.param) as client:
        yield client


@pytest.fixture(scope="module")
def two():
    with local_cluster(2) as client:
        yield client


def rows():
    X, raw = make_clicks(N)
    return X, labels_of(raw, np.random.default_rng(0)), np.random.default_rng(1).random(N) + 0.5


# What workers read, again if need be.


def read_X(start, stop):
    return rows()[0][start:stop]


def read_column(number, start, stop):
    return rows()[number][start:stop]


def read_nan(start, stop):
    X = read_X(start, stop)
    X.data[0] = np.nan
    return X


def read_nothing(start, stop):
    raise OSError("the disk is gone")


def as_dask(read=read_X, bad=None):
    """X, y and the weights as Dask arrays; ``bad`` reads the third partition instead."""
    blocks = [[], [], []]
    for number, (a, b) in enumerate(itertools.pairwise(BOUNDS)):
        n_rows = b - a or np.nan  # Dask would drop blocks that it knows to be empty
        task = dask.delayed(bad if bad and number == 2 else read)(a, b)
        blocks[0].append(da.from_delayed(task, (n_rows, 200), dtype=np.float32))
        for place in (1, 2):
            task = dask.delayed(read_column)(place, a, b)
            blocks[place].append(da.from_delayed(task, (n_rows,), dtype=float))
    return tuple(map(da.concatenate, blocks))


def fit(model, *data, **options):
    return quietly(on_dask.fit, model, *data, **options)


def here(model):
    return fit_parts(model, Partitions(cut(BOUNDS, *rows())))


@pytest.mark.parametrize("solver", ["adagrad", "adam"])
def test_the_bits_do_not_depend_on_the_workers(client, solver):
    expected = here(FMClassifier(4, solver=solver, **OPTIONS))
    model = FMClassifier(4, solver=solver, **OPTIONS)
    assert fit(model, *as_dask(), client=client) is model
    assert_same(expected, model)
    X = rows()[0]
    assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X))
    model.partial_fit(*rows()[:2])


def test_a_table_of_unknown_divisions(two):
    dd = pytest.importorskip("dask.dataframe")
    import pandas as pd

    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.random((60, 3)), columns=["a", "b", "c"])
    table["y"] = table["a"] * table["b"]
    parts = dd.from_pandas(table, npartitions=3).clear_divisions()
    parts = parts[parts["a"] < 0.7]  # of unknown lengths
    model = fit(FMRegressor(2, **OPTIONS), parts[["a", "b", "c"]], parts["y"], client=two)
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    kept = table[table["a"] < 0.7]
    assert model.score(kept[["a", "b", "c"]], kept["y"]) > -1


def test_streams_are_partitions(two, monkeypatch, tmp_path):
    monkeypatch.setattr(cache_files, "PIECE_ROWS", 20)
    X, y, weight = rows()
    labels = np.where(y == 1, "yes", "no")
    stream = Rows(lambda: iter([(X, labels, weight)]), cache=tmp_path)
    model = fit(FMClassifier(4, **OPTIONS), stream, client=two)
    assert model.classes_.tolist() == ["no", "yes"]
    size = 20 * _partitions.ROWS_PIECES
    encoded = stream.encoded()
    X, y, weight = encoded.read(np.arange(encoded.piece_rows.size))
    parts = cut([*range(0, N, size), N], X, encoded.labels[y], weight)
    assert_same(fit_parts(FMClassifier(4, **OPTIONS), Partitions(parts)), model)
    assert len(parts) > 2


@pytest.mark.parametrize("delay", [0, 0.1])
def test_a_killed_worker_changes_nothing(two, delay):
    options = OPTIONS | {"max_iter": 4}

    def callback(model, epoch, loss):
        if epoch == 2:
            threading.Timer(delay, kill_worker, [two]).start()

    model = fit(FMClassifier(4, callback=callback, **options), *as_dask(), client=two)
    assert_same(here(FMClassifier(4, **options)), model)
    two.wait_for_workers(2)


@pytest.mark.parametrize(
    "bad, kind, message",
    [
        (read_nan, ValueError, "Partition 2 of X: Input X contains NaN"),
        (read_nothing, RuntimeError, "Partition 2 of X cannot be computed.*the disk is gone"),
    ],
)
def test_a_failing_task_names_the_partition(two, bad, kind, message):
    model = FMClassifier(4, **OPTIONS)
    before = dict(vars(model))
    with pytest.raises(kind, match=message):
        fit(model, *as_dask(bad=bad), client=two)
    assert vars(model) == before


def test_a_fit_continues_after_the_scheduler_was_lost(tmp_path):
    model = FMClassifier(4, **OPTIONS)
    path = tmp_path / "checkpoint"
    with local_cluster(2) as client:

        def callback(model, epoch, loss):
            if epoch == 2:
                client.close()

        model.set_params(callback=callback)
        with pytest.raises(ConnectionError, match="checkpoint= then continues"):
            fit(model, *as_dask(), client=client, checkpoint=path)
    assert not hasattr(model, "coef_")
    model.set_params(callback=None)
    with local_cluster(3) as client:
        fit(model, *as_dask(), client=client, checkpoint=path)
    assert_same(here(FMClassifier(4, **OPTIONS)), model)


@pytest.mark.parametrize("solver, message", [("als", "all rows at once"), ("adagrad", "no row")])
def test_bad_parameters_and_empty_data(two, solver, message):
    model = FMRegressor(2, solver=solver)
    X = da.from_delayed(dask.delayed(np.zeros)((0, 3)), (np.nan, 3), dtype=float)
    with pytest.raises(ValueError, match=message):
        fit(model, X, da.from_delayed(dask.delayed(np.zeros)(0), (np.nan,), float), client=two)
    with pytest.raises(TypeError, match="requires y"):
        fit(FMRegressor(2), X, client=two)
    assert not hasattr(model, "coef_")


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_predictions_of_arrays_are_lazy(method, n_classes):
    X, _, _ = rows()
    y = np.array(["a", "b", "c"])[np.arange(N) % n_classes]
    model = quietly(FMClassifier(2, max_iter=2).fit, X, y)
    blocks, _, _ = as_dask()
    predictions = predict(model, blocks, method=method)
    expected = getattr(model, method)(X)
    assert predictions.ndim == expected.ndim
    assert predictions.dtype == expected.dtype
    assert_array_equal(predictions.compute(scheduler="threads"), expected)


def test_predictions_of_tables_keep_their_partitions_and_index(tmp_path):
    dd = pytest.importorskip("dask.dataframe")
    import pandas as pd

    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.random((60, 2)), columns=["a", "b"], index=np.arange(60) * 2)
    y = np.where(table["a"] > 0.5, "yes", "no")
    model = quietly(FMClassifier(2, max_iter=2).fit, table, y)
    parts = dd.from_pandas(table.assign(part=np.arange(60) // 20), npartitions=3)
    parts = parts[parts["part"] != 1][["a", "b"]]  # one is empty
    table = table.drop(table.index[20:40])
    for method in ("predict", "predict_proba", "decision_function"):
        found = predict(model, parts, method=method).compute()
        assert_array_equal(found.to_numpy().squeeze(), getattr(model, method)(table))
        assert found.index.equals(table.index)
    predict(model, parts, method="predict_proba").to_parquet(tmp_path)
    written = pd.read_parquet(tmp_path)
    assert list(written.columns) == ["probability_no", "probability_yes"]
    assert_array_equal(written.to_numpy(), model.predict_proba(table))


def test_predict_refuses_what_it_cannot_do():
    X, y, _ = rows()
    model = quietly(FMRegressor(2, max_iter=2).fit, X, y)
    with pytest.raises(TypeError, match="no method 'predict_proba'"):
        predict(model, as_dask()[0], method="predict_proba")
    with pytest.raises(TypeError, match=r"X must be a Dask array.*; got csr_matrix"):
        predict(model, X)
    with pytest.raises(ValueError, match="X has 3 features, but FMRegressor is expecting 200"):
        predict(model, da.zeros((4, 3)))


def test_without_a_client_a_cluster_is_started():
    model = fit(FMClassifier(4, **OPTIONS), *as_dask())
    assert_same(here(FMClassifier(4, **OPTIONS)), model)
