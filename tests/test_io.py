"""Files of models: what pickle, joblib, skops and skfm.io keep, and what is wrong with a file."""

import copy
import io
import json
import pickle
import warnings
import zipfile
from datetime import date, datetime, timedelta, timezone
from functools import cache, partial

import joblib
import numpy as np
import pytest
from builders import assert_same_values
from make_reference_models import ANSWER, FOLDER, NAMES, make, stem_of
from numpy.testing import assert_allclose, assert_array_equal
from saved_models import FEATURES, LABELS, LOG, MODELS, RATINGS, X, Y
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline

from skfm import BayesianFMRegressor, FMRecommender, FMRegressor
from skfm._utils.archive import reading, write
from skfm._utils.values import Decoder, Encoder
from skfm.exceptions import InconsistentVersionError, InconsistentVersionWarning
from skfm.inspection import explain, top_interactions
from skfm.io import load_model, save_model
from skfm.io._models import CLASSES
from skfm.preprocessing import UserItemEncoder
from skfm.recipes import make_recipe


def by_skops(model, path):
    sio = pytest.importorskip("skops.io")
    sio.dump(model, path)
    untrusted = sio.get_untrusted_types(file=path)
    ours = {name for name in untrusted if name.startswith("skfm")}
    steps = [step for _, step in model.steps] if isinstance(model, Pipeline) else [model]
    assert ours == {f"{type(step).__module__}.{type(step).__name__}" for step in steps}
    assert ours <= set(CLASSES)  # public names
    users = {"scipy.sparse._csr.csr_matrix", "datetime.date"}  # a parameter, and ids
    assert users.issuperset(set(untrusted).difference(ours))
    return sio.load(path, trusted=untrusted)


def by_joblib(model, path, mmap_mode=None):
    joblib.dump(model, path)
    return joblib.load(path, mmap_mode=mmap_mode)


def by_skfm(model, path, mmap_mode=None):
    save_model(model, path)
    return load_model(path, mmap_mode)


# Each saves a model and loads it again.
WAYS = {
    "pickle": lambda model, path: pickle.loads(pickle.dumps(model)),
    "joblib": by_joblib,
    "joblib, mapped": lambda model, path: by_joblib(model, path, "r"),
    "skops": by_skops,
    "skfm.io": by_skfm,
    "skfm.io, mapped": lambda model, path: by_skfm(model, path, "r"),
    "skfm.io, mapped copies": lambda model, path: by_skfm(model, path, "c"),
}


@cache
def fitted(name):
    """A model as bytes, so that no test changes that of another."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pickle.dumps(MODELS[name][0]())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", MODELS)
def test_a_loaded_model_is_the_same_and_goes_on_alike(name, way, tmp_path):
    fit, ask, go_on = MODELS[name]
    model = fit()  # nothing that a pickle might already lack
    with warnings.catch_warnings():
        warnings.simplefilter("error", InconsistentVersionWarning)
        again = WAYS[way](model, tmp_path / "model")
    assert type(again) is type(model)
    assert_array_equal(ask(again), ask(model))
    assert_same_values(again.__getstate__(), model.__getstate__())
    if go_on is not None:
        again, model = go_on(again), go_on(model)
        assert_array_equal(ask(again), ask(model))
        assert_same_values(again.__getstate__(), model.__getstate__())


# Files of skfm.io


def saved(model):
    file = io.BytesIO()
    save_model(model, file)
    return file.getvalue()


def test_the_same_model_is_the_same_bytes(tmp_path):
    for name in MODELS:
        model = pickle.loads(fitted(name))
        data = saved(model)
        save_model(model, tmp_path / "model")
        assert (tmp_path / "model").read_bytes() == data
        assert saved(load_model(io.BytesIO(data))) == data


def test_parameters_stay_as_they_were(tmp_path):
    rng = np.random.RandomState(3)
    rng.normal()
    groups = ["a"] * 6 + ["b"] * 6
    model = FMRegressor(
        4,
        alpha={"a": 1.0, "b": np.float32(2)},
        feature_groups=np.array(groups),
        interactions=[("a", "b")],
        feature_fields=tuple(groups),
        random_state=rng,
        tol=float("-inf"),
    )
    again = by_skfm(model, tmp_path / "model")
    assert_same_values(again.get_params(), model.get_params())
    assert_array_equal(again.random_state.normal(size=3), rng.normal(size=3))
    model = FMRecommender(item_features=sparse.csc_array(FEATURES))
    again = by_skfm(model, tmp_path / "model")
    assert type(again.item_features) is sparse.csc_array
    assert (again.item_features != model.item_features).nnz == 0


def test_tables_among_parameters():
    """A DataFrame is refused: what remains to be done is said, and works."""
    pandas = pytest.importorskip("pandas")
    model = pickle.loads(fitted("FMRecommender, features"))
    model.set_params(item_features=pandas.DataFrame(FEATURES.toarray()))
    match = r"item_features=<DataFrame of shape \(3, 4\)>, .*set_params\(item_features=None\)"
    with pytest.raises(TypeError, match=match):
        save_model(model, io.BytesIO())
    again = load_model(io.BytesIO(saved(model.set_params(item_features=None))))
    assert_array_equal(again.recommend(X, 2)[1], model.recommend(X, 2)[1])


def test_functions_are_left_out_with_a_warning():
    model = FMRegressor(2, callback=print, max_iter=2, random_state=0).fit(X, Y)
    file = io.BytesIO()
    with pytest.warns(UserWarning, match=r"has callback=None instead of .*print") as caught:
        save_model(model, file)
    assert caught[0].filename == __file__ and model.callback is print
    again = load_model(file)
    assert again.callback is None
    assert_array_equal(again.predict(X), model.predict(X))


def test_what_cannot_be_saved_is_named():
    class Mine(FMRegressor):
        pass

    for model, match in (
        (make_pipeline(UserItemEncoder()), r"Pipeline\. .*pickle, joblib or skops"),
        (Ridge(), r"type sklearn.*Ridge"),
        (Mine(), r"Mine\. Save subclasses with pickle"),
        (FMRegressor, r"type builtins.*|type abc.*"),
        (FMRegressor(alpha={"a": 1j}), r"parameters\.alpha\.a=1j, .*complex"),
        (
            FMRegressor(feature_fields=np.ma.zeros(3)),
            r"(?s)parameters\.feature_fields=.*MaskedArray",
        ),
        (FMRegressor(alpha=[1, FMRegressor()]), r"parameters\.alpha\.1=.*FMRegressor"),
    ):
        with pytest.raises(TypeError, match=match):
            save_model(model, io.BytesIO())
    with pytest.raises(TypeError, match="binary file object"):
        save_model(FMRegressor(), io.StringIO())


def test_ids_that_cannot_be_saved_are_named():
    encoder = UserItemEncoder().fit([[1j, "a"], [2j, "b"]])
    with pytest.raises(TypeError, match=r"state\._users.* of type builtins.complex"):
        save_model(encoder, io.BytesIO())


def make_values():
    zone = timezone(timedelta(hours=2))
    mixed = np.empty((2, 3), object)
    mixed[0] = [(1, "a"), None, b"\xff"]
    mixed[1] = [datetime(2020, 1, 2, 3, 4, 5, 6, zone), 2**70, np.datetime64("2020-01-02", "ns")]
    texts = np.array([["ä", ""], ["\ud800", "\0x"]], object)
    stacked = np.moveaxis(np.arange(24.0).reshape(2, 3, 4), 0, 1)
    return [
        *(None, True, 2**100, -0.0, float("nan"), float("-inf"), "\ud800", b"", ()),
        {"a": [1, (2.5, {3})], "b": frozenset([b"x", b"y"])},
        {1: "one", (2, "b"): None, None: {}},
        *(date(1, 2, 3), datetime(2020, 1, 2, fold=0), timedelta(-1, 2, 3)),
        *(np.float32(0.1), np.float64("nan"), np.int8(-3), np.str_("é"), np.bytes_(b"q")),
        *(np.bool_(True), np.datetime64("NaT", "s"), np.timedelta64(3, "D")),
        *(float, np.float32, bool, np.int64),
        *(mixed, texts, stacked, stacked.T, np.zeros((0, 3)), np.zeros(3, "U0"), np.array(5.0)),
        *(np.arange(3).astype("M8[s]"), np.array([b"a", b"bc"]), np.array(["é", "zz"])),
        *(np.arange(12)[::-2], np.float16([1, 2]), np.zeros(0, object), np.array(None)),
    ]


@pytest.mark.parametrize("place", range(len(make_values())))
def test_values(place):
    value = make_values()[place]
    encoder = Encoder()
    node = json.loads(json.dumps(encoder.encode(value, ("state", "x")), allow_nan=False))
    again = Decoder(encoder.arrays.__getitem__).decode(node)
    assert_same_values(again, value)
    if isinstance(value, float):
        assert np.signbit(again) == np.signbit(value)
    if isinstance(value, np.ndarray) and value.dtype != object:
        assert np.argsort(again.strides).tolist() == np.argsort(np.abs(value.strides)).tolist()


def test_an_array_in_several_places_is_stored_once():
    array = np.arange(3.0)
    encoder = Encoder()
    node = encoder.encode({"a": array, "b": [array, np.arange(3.0)]}, ())
    assert len(encoder.arrays) == 2
    again = Decoder(encoder.arrays.__getitem__).decode(node)
    assert again["a"] is again["b"][0] and again["a"] is not again["b"][1]


def test_names_of_arrays(tmp_path):
    """Keys that are no names in a file do not become such names."""
    arrays = {key: np.arange(3.0) + place for place, key in enumerate(["a/b\0", "../é", "c", ""])}
    value = {"state": arrays, "c": [np.arange(5)]}
    encoder = Encoder()
    write(tmp_path / "file", encoder.encode(value, ("state",)), encoder.arrays)
    assert set(encoder.arrays) == {"array", "array-1", "c", "array-3", "c/0"}
    with reading(tmp_path / "file") as reader:
        assert_same_values(Decoder(reader.array).decode(reader.metadata()), value)


# Mapped files


def test_arrays_start_at_whole_lines_and_numpy_reads_them(tmp_path):
    model = pickle.loads(fitted("FMClassifier, stream of three classes"))
    save_model(model, tmp_path / "model.npz")
    with np.load(tmp_path / "model.npz", allow_pickle=False) as arrays:
        assert_array_equal(arrays["coef_"], model.coef_)
    again = load_model(tmp_path / "model.npz", mmap_mode="r")
    for array in (again.coef_, again.components_, again.alpha_):
        assert isinstance(array, np.memmap) and not array.flags.writeable
        assert array.ctypes.data % 64 == 0
    # The factors lie in memory as predictions read them, so these make no copy.
    assert np.shares_memory(again._parameters().factors, again.components_)
    copied = load_model(tmp_path / "model.npz", mmap_mode="c")
    copied.alpha_[:] = -1
    assert_array_equal(load_model(tmp_path / "model.npz").alpha_, model.alpha_)
    with pytest.raises(ValueError, match=r"mmap_mode='r' requires the path"):
        load_model(io.BytesIO(saved(model)), mmap_mode="r")
    with pytest.raises(ValueError, match="mmap_mode must be"):
        load_model(tmp_path / "model.npz", mmap_mode="r+")


# Files that are not what they should be


def test_foreign_files(tmp_path):
    model = pickle.loads(fitted("FMRegressor"))
    np.savez(tmp_path / "arrays", a=np.arange(3))
    (tmp_path / "pickle").write_bytes(pickle.dumps(model))
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("no model")
    for name in ("arrays.npz", "pickle", "empty", "text"):
        path = tmp_path / name
        for mmap_mode in (None, "r"):
            with pytest.raises(ValueError, match=f"{name} was not written by skfm.io.save_model"):
                load_model(path, mmap_mode)
    with pytest.raises(ValueError, match="The file was not written"):
        load_model(io.BytesIO(b"PK"))
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "nothing")
    with pytest.raises(TypeError, match="a path or a seekable"):
        load_model(None)


def test_truncated_files():
    data = saved(pickle.loads(fitted("FMRegressor")))
    for length in range(0, len(data), 97):
        with pytest.raises(ValueError, match="truncated or damaged"):
            load_model(io.BytesIO(data[:length]))


def test_a_directory_that_refers_to_before_the_start(tmp_path):
    data = bytearray(saved(FMRegressor(2)))
    data[data.rindex(b"PK\x05\x06") + 19] = 255  # the last byte of the directory's offset
    (tmp_path / "model").write_bytes(data)
    with pytest.raises(ValueError, match="was not written by"):
        load_model(tmp_path / "model")


def test_errors_of_the_system_stay_as_they_are(tmp_path):
    with pytest.raises((IsADirectoryError, PermissionError)):
        load_model(tmp_path)


@pytest.mark.parametrize("mmap_mode", [None, "r"])
def test_damaged_files(mmap_mode, tmp_path):
    """An error that names the file, or the same model; mapped, other numbers at most."""
    model = pickle.loads(fitted("FMRegressor"))
    data, expected = saved(model), model.__getstate__()
    rng = np.random.default_rng(0)
    path, n_errors = tmp_path / "model.npz", 0
    for place in rng.choice(len(data), size=60, replace=False):
        damaged = bytearray(data)
        damaged[place] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            again = load_model(path, mmap_mode)
        except ValueError as error:
            assert str(path) in str(error)
            n_errors += 1
        else:
            if mmap_mode is None:  # a byte that says nothing, such as padding or a date
                assert_same_values(again.__getstate__(), expected)
    assert n_errors > 10


def changed(data, **metadata):
    """A file with other metadata, and right checksums."""
    new = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(new, "w") as archive:
        for name in old.namelist():
            member = old.read(name)
            if name == "model.json":
                member = json.dumps(json.loads(member) | metadata)
            archive.writestr(name, member)
    new.seek(0)
    return new


def test_other_formats():
    data = saved(pickle.loads(fitted("FMRegressor")))
    later = {"format_version": 2, "versions": {"skfm": "9.0"}}
    with pytest.raises(InconsistentVersionError, match=r"version 2 of skfm 9\.0; .*Update skfm"):
        load_model(changed(data, **later))
    part = {"dict": {"__kind__": "Later", "state": {"dict": {}}}}
    with pytest.raises(InconsistentVersionError, match=r"'Later'.*newer version"):
        load_model(changed(data, state={"dict": {"_stream": part}}))
    for wrong in (
        {"format": "other"},
        {"format_version": None},
        {"class": "os.system"},
        {"class": "sklearn.linear_model.Ridge"},
        {"state": {"dict": {"coef_": {"array": "elsewhere"}}}},
        {"state": {"dict": {"coef_": {"call": "os.system"}}}},
        {"state": []},
    ):
        with pytest.raises(ValueError, match="was not written by"):
            load_model(changed(data, **wrong))


def test_another_version_is_named():
    data = saved(pickle.loads(fitted("FMRegressor")))
    metadata = json.loads(zipfile.ZipFile(io.BytesIO(data)).read("model.json"))
    metadata["state"]["dict"]["_skfm_version"] = "0.0.1"
    del metadata["parameters"]["dict"]["tol"]
    with pytest.warns(InconsistentVersionWarning, match=r"skfm 0\.0\.1") as caught:
        again = load_model(changed(data, **metadata))
    assert caught[0].filename == __file__
    assert again.tol == FMRegressor().tol


def test_arrays_that_would_be_dangerous():
    """No array of objects is unpickled, and none is as long as only its header says."""

    def with_member(content):
        new = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(new, "w") as archive:
            for name in old.namelist():
                archive.writestr(name, content if name == "coef_.npy" else old.read(name))
        new.seek(0)
        return new

    data = saved(pickle.loads(fitted("FMRegressor")))
    objects, long = io.BytesIO(), io.BytesIO()
    np.save(objects, np.array([print], object), allow_pickle=True)
    header = {"descr": "<f8", "fortran_order": False, "shape": (10**15,)}
    np.lib.format.write_array_header_1_0(long, header)
    for content in (objects.getvalue(), long.getvalue(), b"\x93NUMPY\x01\x00", b""):
        with pytest.raises(ValueError, match="was not written by"):
            load_model(with_member(content))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.json", bytes(10**6))
    with pytest.raises(ValueError, match="compressed"):
        load_model(packed)


def test_a_file_changes_when_all_is_written(tmp_path):
    path = tmp_path / "model.npz"
    save_model(FMRegressor(3), path)
    before = path.read_bytes()
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(TypeError):
        save_model(FMRegressor(alpha=[object()]), path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 2
    save_model(FMRegressor(4), tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and load_model(path).n_components == 4


def test_file_objects_that_cannot_seek():
    class Pipe:
        def __init__(self):
            self.parts = []

        def write(self, data):
            self.parts.append(bytes(data))

    pipe = Pipe()
    save_model(FMRegressor(3), pipe)
    assert load_model(io.BytesIO(b"".join(pipe.parts))).n_components == 3


def test_streams_that_write_less_than_they_are_given():
    class Raw(io.RawIOBase):
        content = b""

        def writable(self):
            return True

        def write(self, data):
            self.content += bytes(data[:100])
            return min(len(data), 100)

    raw = Raw()
    save_model(FMRegressor(3), raw)
    assert load_model(io.BytesIO(raw.content)).n_components == 3


def test_file_objects_that_cannot_be_loaded():
    class Pipe(io.BytesIO):
        def seekable(self):
            return False

    for file in (Pipe(saved(FMRegressor(3))), io.StringIO("{}")):
        with pytest.raises(TypeError, match="a path or a seekable binary file object"):
            load_model(file)


def test_a_mapped_file_may_be_replaced_while_it_is_loaded(tmp_path, monkeypatch):
    """Its directory and its arrays are those of one file, not of two of the same layout."""
    path = tmp_path / "model.npz"
    old, new = (FMRegressor(2, random_state=seed, max_iter=2).fit(X, Y) for seed in (0, 1))
    save_model(old, path)

    class AfterAnotherSave(np.memmap):
        def __new__(cls, *arguments):
            save_model(new, path)
            return super().__new__(cls, *arguments)

    monkeypatch.setattr("skfm._utils.archive.np.memmap", AfterAnotherSave)
    again = load_model(path, "r")
    monkeypatch.undo()
    assert_array_equal(again.predict(X), old.predict(X))
    assert_array_equal(load_model(path, "r").predict(X), new.predict(X))


def test_names_of_files(tmp_path):
    for name in ("a" * 255, "a:b", "é\u202e", " ", "-rf"):
        save_model(FMRegressor(3), tmp_path / name)
        assert load_model(tmp_path / name, "r").n_components == 3


# Files of earlier releases


def reference_files():
    return {f"{path.parent.name}/{path.stem}": path for path in sorted(FOLDER.glob("*/*.npz"))}


def test_there_is_a_reference_file_of_every_estimator():
    classes = set()
    for path in reference_files().values():
        with zipfile.ZipFile(path) as archive:
            classes.add(json.loads(archive.read("model.json"))["class"])
    assert classes == set(CLASSES)
    assert {path.stem for path in reference_files().values()} == set(map(stem_of, NAMES))


@pytest.mark.parametrize("name", reference_files())
@pytest.mark.filterwarnings("ignore::skfm.exceptions.InconsistentVersionWarning")
def test_reference_files(name):
    """What a release has written is read, and predicts the same but for rounding."""
    path = reference_files()[name]
    _, ask, go_on = MODELS[next(known for known in NAMES if stem_of(known) == path.stem)]
    with np.load(path, allow_pickle=False) as members:
        expected = members[ANSWER.removesuffix(".npy")]
    model = load_model(path)
    answer = ask(model)
    if expected.dtype.kind == "f":
        assert_allclose(answer, expected, rtol=1e-5, atol=1e-7)
    else:
        assert_array_equal(answer, expected)
    if go_on is not None:
        assert np.isfinite(ask(go_on(model))).all()


def test_the_script_makes_reference_files(tmp_path):
    make("UserItemEncoder, objects", tmp_path / "model.npz")
    assert load_model(tmp_path / "model.npz").item_ids_.size == 5


# Attributes from which recommendations are computed


@pytest.mark.parametrize("name", ["MFRecommender", "FMRecommender", "FMRecommender, features"])
def test_attributes_of_recommenders_are_read_only(name, tmp_path):
    """They would be ignored by `recommend`, but used by `item_vectors` or `add_items`."""
    fit, ask, _ = MODELS[name]
    model = fit()
    expected = ask(model)
    for again in (model, copy.copy(model), by_skfm(model, tmp_path / "model")):
        for attribute in type(model)._read_only:
            before = getattr(again, attribute)
            with pytest.raises(AttributeError, match=rf"^{attribute} of a fitted .* read-only"):
                setattr(again, attribute, before)
            with pytest.raises(AttributeError, match="read-only"):
                delattr(again, attribute)
            if isinstance(before, np.ndarray):
                with pytest.raises(ValueError, match="read-only"):
                    before[...] = 0
        assert_array_equal(ask(again), expected)
        own = sorted(attribute for attribute in vars(again) if attribute in again._read_only)
        assert own == sorted(type(model)._read_only)
    if name == "MFRecommender":  # another fit may replace them
        assert not np.array_equal(model.fit(RATINGS[:30]).mean_, again.mean_)
    clone(model).components_ = None  # as any attribute of an estimator that is not fitted


@pytest.mark.parametrize("name", ["FMRegressor", "FMClassifier"])
def test_attributes_are_read_only_where_predictions_use_those_of_centered_columns(name, tmp_path):
    fit, ask, _ = MODELS[name]
    model = fit()
    expected = ask(model)
    ways = by_skfm(model, tmp_path / "model"), by_skfm(model, tmp_path / "model", "c")
    for again in (model, copy.copy(model), copy.deepcopy(model), *ways):
        for attribute in ("intercept_", "coef_", "components_"):
            before = getattr(again, attribute)
            with pytest.raises(AttributeError, match=f"^{attribute} of a fitted .* read-only"):
                setattr(again, attribute, before)
            with pytest.raises(AttributeError, match="read-only"):
                delattr(again, attribute)
            if isinstance(before, np.ndarray):
                with pytest.raises(ValueError, match="read-only"):
                    before[...] = 0
        assert_array_equal(ask(again), expected)
    model.fit(X[:, :11], Y if name == "FMRegressor" else LABELS)  # without that column
    model.intercept_ = model.intercept_ + 1
    model.coef_[:] = 0
    model.components_ *= 0
    (output,) = np.unique(model._raw_output(X[:, :11]), axis=0)
    assert_allclose(output, np.ravel(model.intercept_))


@pytest.mark.parametrize("attribute", ["coef_", "components_", "intercept_"])
def test_attributes_of_another_shape_are_refused(attribute):
    """Kernels do not check bounds."""
    rows = X[:, :11]
    model = FMRegressor(2, max_iter=1, random_state=0).fit(rows, Y)
    value = getattr(model, attribute)
    setattr(model, attribute, [1.0, 2.0] if attribute == "intercept_" else value[..., :3])
    for ask in (model.predict, partial(explain, model), partial(top_interactions, model)):
        with pytest.raises(ValueError, match=f"shapes of the fitted attributes .*{attribute}"):
            ask(X=rows)


# Pipelines


@pytest.mark.parametrize("way", ["pickle", "joblib, mapped", "skops"])
def test_pipelines_of_recipes(way, tmp_path):
    log = np.array([row[:2] for row in LOG], object)
    model = make_recipe("svd++", BayesianFMRegressor(2, max_iter=3, n_burn_in=1, random_state=0))
    model.fit(log, Y)
    again = WAYS[way](model, tmp_path / "model")
    assert_array_equal(again.predict(log[::-1]), model.predict(log[::-1]))
    assert_same_values(again[-1].__getstate__(), model[-1].__getstate__())
    assert_same_values(again[0].__getstate__(), model[0].__getstate__())
