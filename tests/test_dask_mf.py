"""MFRecommender on clusters of Dask: partitions, failures, logs of events, recommendations."""

import pickle
import threading
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from pandas.testing import assert_frame_equal
from scipy import sparse

dask = pytest.importorskip("dask")
pytest.importorskip("distributed")

import dask.array as da  # noqa: E402
import dask.dataframe as dd  # noqa: E402
import dask_tasks as tasks  # noqa: E402
from dask_clusters import kill_worker, local_cluster  # noqa: E402
from test_mf_partitions import fit as fit_here  # noqa: E402
from test_mf_partitions import recommender  # noqa: E402

from skfm import MFRecommender  # noqa: E402
from skfm.dask import _cluster, fit, fit_transform, recommend  # noqa: E402
from skfm.preprocessing import UserItemEncoder  # noqa: E402

CUTS, N_ITEMS = tasks.CUTS, tasks.SHAPE[1]


def blocks(read, cuts=CUTS, *, n_items=N_ITEMS, is_known=False, **options):
    """A Dask array of CSR blocks, of numbers of rows that Dask may or may not know."""
    meta, parts = sparse.csr_matrix((0, n_items)), []
    for start, stop in pairwise(cuts):
        n_rows = stop - start if is_known else np.nan
        block = dask.delayed(read)(start, stop, **options)
        parts.append(da.from_delayed(block, (n_rows, n_items), meta=meta))
    return da.concatenate(parts, allow_unknown_chunksizes=True)


@pytest.fixture(scope="module", params=[2, 3])
def client(request):
    with local_cluster(request.param) as client:
        yield client


@pytest.fixture
def one_client():
    """In this process: for what does not depend on processes."""
    with local_cluster(1, processes=False) as client:
        yield client


# Fits


def test_a_fit_and_its_recommendations(one_client, tmp_path):
    X = blocks(tasks.read_ratings)
    model = fit(recommender("implicit"), X, client=one_client)
    here = fit_here(recommender("implicit"), tasks.ratings())
    assert_array_equal(model.components_, here.components_)
    X = X.compute_chunk_sizes()
    names = {"user_ids": [f"u{i}" for i in range(X.shape[0])], "item_ids": range(N_ITEMS)}
    expected = model.recommend(tasks.ratings(), 3, output="pandas", **names)
    frame = recommend(model, X, 3, **names)
    assert frame.npartitions == len(CUTS) - 1
    frame.to_parquet(tmp_path)
    found = pd.read_parquet(tmp_path).reset_index(drop=True)
    assert_frame_equal(found, expected, check_dtype=False)


@pytest.mark.full
@pytest.mark.parametrize(
    "kind, dtype",
    [
        ("biases", np.float64),
        ("no biases", np.float32),
        ("implicit", np.float32),
        ("stored only", np.float64),
    ],
)
def test_bits_do_not_depend_on_workers(client, kind, dtype):
    X = blocks(tasks.read_ratings, dtype=dtype)
    model = fit(recommender(kind), X, client=client)
    here = fit_here(recommender(kind), tasks.ratings(dtype))
    assert_array_equal(model.components_, here.components_)
    assert_array_equal(model.item_bias_, here.item_bias_)
    assert model.loss_curve_ == here.loss_curve_
    again = pickle.loads(pickle.dumps(model))
    assert_array_equal(again.transform(tasks.ratings()), here.transform(tasks.ratings()))


@pytest.mark.full
def test_a_fit_without_a_client(monkeypatch):
    model = fit(recommender("biases", max_iter=2), blocks(tasks.read_ratings))
    here = fit_here(recommender("biases", max_iter=2), tasks.ratings())
    assert_array_equal(model.components_, here.components_)


@pytest.mark.full
def test_a_callback_sees_each_iteration(one_client):
    pytest.importorskip("sklearn.callback")
    from sklearn.callback import ScoringMonitor

    model = recommender("biases", max_iter=3)
    try:
        model.set_callbacks(ScoringMonitor(scoring="r2"))
    except (ImportError, TypeError, ValueError) as error:
        pytest.skip(str(error))
    assert fit(model, blocks(tasks.read_ratings), client=one_client).n_iter_ == 3


# Failures


def before_step(monkeypatch, number, function):
    """Call a function when the states of the partitions advance for this time."""
    advance, calls = _cluster.DaskStates.advance, []

    def counted(states, *arguments):
        calls.append(1)
        if len(calls) == number:
            function()
        advance(states, *arguments)

    monkeypatch.setattr(_cluster.DaskStates, "advance", counted)


@pytest.mark.full
@pytest.mark.parametrize("kind, delay", [("biases", 0), ("implicit", 0.05), ("implicit", 0.2)])
def test_a_killed_worker_does_not_change_bits(client, kind, delay, monkeypatch):
    def kill():
        if delay == 0:
            kill_worker(client)
        else:
            threading.Timer(delay, kill_worker, (client,)).start()

    before_step(monkeypatch, 4, kill)
    model = fit(recommender(kind), blocks(tasks.read_ratings), client=client)
    assert_array_equal(model.components_, fit_here(recommender(kind), tasks.ratings()).components_)


@pytest.mark.full
def test_states_are_made_again_from_snapshots(client, monkeypatch):
    monkeypatch.setattr(_cluster, "HISTORY_BYTES", 1)
    snapshots, keep = [], _cluster.DaskStates._keep

    def counted(states, values):
        snapshots.append(values)
        keep(states, values)

    monkeypatch.setattr(_cluster.DaskStates, "_keep", counted)
    before_step(monkeypatch, 12, lambda: kill_worker(client))
    options = {"n_components": 1, "max_iter": 24}
    model = fit(recommender("biases", **options), blocks(tasks.read_ratings), client=client)
    assert len(snapshots) > 2
    here = fit_here(recommender("biases", **options), tasks.ratings())
    assert_array_equal(model.components_, here.components_)


@pytest.mark.full
def test_a_lost_scheduler(tmp_path, monkeypatch):
    model, X = recommender("implicit"), blocks(tasks.read_ratings)
    before = dict(vars(model))
    with local_cluster(2) as lost:
        before_step(monkeypatch, 6, lambda: lost.cluster.close())
        with pytest.raises(ConnectionError, match="fit with checkpoint="):
            fit(model, X, client=lost, checkpoint=tmp_path / "fit.npz")
    assert vars(model) == before
    monkeypatch.undo()
    with local_cluster(2) as client:
        fit(model, X, client=client, checkpoint=tmp_path / "fit.npz")
    here = fit_here(recommender("implicit"), tasks.ratings())
    assert_array_equal(model.components_, here.components_)


@pytest.mark.parametrize(
    "read, message",
    [
        (tasks.read_with_nan, "Partition 2 of X: Input X contains NaN"),
        (tasks.read_missing, "Partition . of X cannot be computed: FileNotFoundError"),
    ],
)
def test_a_failing_task(one_client, read, message):
    model = recommender("biases")
    before = dict(vars(model))
    with pytest.raises((RuntimeError, ValueError), match=message):
        fit(model, blocks(read), client=one_client)
    assert vars(model) == before


@pytest.mark.full
def test_a_task_that_stops_its_worker(client):
    with pytest.raises(RuntimeError, match=r"makes partition . of X has stopped several workers"):
        fit(recommender("biases"), blocks(tasks.stop_process), client=client)


def test_other_versions_are_refused(one_client, monkeypatch):
    versions = _cluster._versions() | {"numba": "0.1"}
    monkeypatch.setattr(_cluster, "_expected", lambda: versions)
    with pytest.raises(RuntimeError, match=r"has numba .* instead of 0\.1\. Install the same"):
        fit(recommender("biases"), blocks(tasks.read_ratings), client=one_client)


@pytest.mark.full
def test_more_data_than_memory():
    """Each partition takes 48 MB in memory, and all together more than the worker may use."""
    cuts = range(0, 48_001, 4000)
    X = blocks(tasks.read_many, cuts, n_items=1000)
    options = {"n_components": 2, "max_iter": 2}
    with local_cluster(1, memory_limit="600MB") as client:
        model = fit(recommender("implicit", **options), X, client=client)
    assert np.isfinite(model.components_).all()


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ((MFRecommender(), np.eye(3)), TypeError, "X must be a Dask array"),
        ((UserItemEncoder(), np.eye(3)), TypeError, "supports MFRecommender"),
        ((MFRecommender(), da.ones((4, 4), chunks=2)), ValueError, r"rechunk\(\{1: -1\}\)"),
        ((MFRecommender(), da.ones((4, 4, 4))), ValueError, "3 dimensions"),
        ((MFRecommender(), da.ones((4, 4)), None, [1] * 4), TypeError, "no sample_weight"),
    ],
)
def test_arguments_of_fit(one_client, arguments, error, message):
    with pytest.raises(error, match=message):
        fit(*arguments, client=one_client)


def test_clients_are_checked(one_client):
    with pytest.raises(TypeError, match=r"client must be a distributed\.Client"):
        fit(MFRecommender(), da.ones((4, 4)), client="tcp://nowhere")
    one_client.close()
    with pytest.raises(ValueError, match="not connected"):
        fit(MFRecommender(), da.ones((4, 4)), client=one_client)


# Logs of events


def make_log(kind, n=3000):
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 90, n), rng.integers(0, 40, n)
    if kind == "strings":
        users, items = users.astype(str), items.astype(str)
    if kind == "mixed":
        users, items = (
            np.fromiter((f"{i}" if i % 3 else int(i) for i in ids), dtype=object, count=n)
            for ids in (users, items)
        )
    values = {"user": users, "item": items, "rating": rng.integers(1, 6, n) * 1.0}
    return pd.DataFrame(values | {"time": rng.integers(0, 50, n)})


def partitions(log):
    """Uneven partitions of unknown divisions, some of them empty."""
    cuts = 0, 0, 700, 705, 705, len(log)
    parts = [log[start:stop] for start, stop in pairwise(cuts)]
    return dd.from_map(lambda number: parts[number], range(len(parts)), meta=log[:0])


@pytest.mark.filterwarnings("ignore:.* user-item pairs occur more than once")
@pytest.mark.around(kind="numbers", duplicates="last")
@pytest.mark.parametrize("duplicates", ["auto", "sum", "last", "mean"])
@pytest.mark.parametrize("kind", ["numbers", "strings", "mixed"])
def test_logs_of_events(one_client, kind, duplicates):
    log = make_log(kind)
    one, many = UserItemEncoder(duplicates=duplicates), UserItemEncoder(duplicates=duplicates)
    expected = one.fit_transform(log)
    with dask.config.set({"dataframe.convert-string": False}):
        X = fit_transform(many, partitions(log), n_partitions=4, client=one_client)
        found = X.compute(scheduler="sync")
    assert X.numblocks == (4, 1) and X.shape == expected.shape
    for name in ("indptr", "indices", "data"):
        assert_array_equal(getattr(found, name), getattr(expected, name))
    for name in ("user_ids_", "item_ids_"):
        assert getattr(many, name).tolist() == getattr(one, name).tolist()
        assert getattr(many, name).dtype == getattr(one, name).dtype
    for name in ("columns_", "n_columns_", "column_names_"):
        assert getattr(many, name) == getattr(one, name)
    again = pickle.loads(pickle.dumps(many))
    assert (again.transform(log) != expected).nnz == 0


def test_without_values_events_are_counted(one_client):
    log = make_log("numbers")[["user", "item"]]
    expected = UserItemEncoder().fit_transform(log)
    X = fit_transform(UserItemEncoder(), partitions(log), n_partitions=1000, client=one_client)
    assert X.numblocks == (expected.shape[0], 1)  # not more than users
    assert (X.compute(scheduler="sync") != expected).nnz == 0


@pytest.mark.full
def test_from_events_to_recommendations(client, tmp_path):
    log = make_log("strings")
    encoder = UserItemEncoder(duplicates="last")
    X = fit_transform(encoder, partitions(log), n_partitions=3, client=client)
    model = fit(recommender("biases"), X, client=client)
    names = {"user_ids": encoder.user_ids_, "item_ids": encoder.item_ids_}
    with client.as_current():
        recommend(model, X, 5, **names).to_parquet(tmp_path)
    expected = model.recommend(encoder.transform(log), 5, output="pandas", **names)
    found = pd.read_parquet(tmp_path).reset_index(drop=True)
    assert_frame_equal(found, expected, check_dtype=False)


def test_invalid_logs(one_client):
    log, encoder = make_log("numbers"), UserItemEncoder()
    with pytest.raises(ValueError, match="empty log"):
        fit_transform(encoder, partitions(log[:0]), client=one_client)
    log["rating"] = log["rating"].where(log.index != 2000)
    with pytest.raises(ValueError, match="Partition 4 of X: 1 values are missing"):
        fit_transform(encoder, partitions(log), client=one_client)
    assert not hasattr(encoder, "user_ids_")
    with pytest.raises(TypeError, match="Dask DataFrame"):
        fit_transform(encoder, log, client=one_client)
    with pytest.raises(TypeError, match="supports UserItemEncoder"):
        fit_transform(MFRecommender(), partitions(log), client=one_client)
    with pytest.raises(TypeError, match=r"skfm\.dask\.fit_transform\(UserItemEncoder"):
        fit(MFRecommender(), partitions(log), client=one_client)


# Recommendations


def test_arguments_of_recommend():
    model = MFRecommender(2, max_iter=2, random_state=0).fit(tasks.ratings())
    X = blocks(tasks.read_ratings, is_known=True)
    with pytest.raises(ValueError, match="compute_chunk_sizes"):
        recommend(model, blocks(tasks.read_ratings))
    with pytest.raises(ValueError, match="one id for each of the 500 rows"):
        recommend(model, X, user_ids=[1, 2])
    with pytest.raises(ValueError, match="X has 5 columns"):
        recommend(model, da.ones((10, 5)))
    with pytest.raises(ValueError, match="n_items"):
        recommend(model, X, 0)
    with pytest.raises(TypeError, match="exclude must be"):
        recommend(model, X, exclude=tasks.ratings())
    with pytest.raises(TypeError, match="must be a Dask array"):
        recommend(model, tasks.ratings())
    frame = recommend(model, X, 2, exclude=[3], candidates=range(10))
    found = frame.compute(scheduler="sync")
    assert not (found["item"] == 3).any() and found["item"].max() < 10
    assert_array_equal(found["user"].unique(), np.arange(500))
