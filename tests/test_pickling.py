"""Pickles: of another version of skfm, and no larger than what a model uses."""

import io
import json
import pickle
import warnings
from importlib import import_module

import joblib
import numpy as np
import pytest
from builders import quietly
from numpy.testing import assert_array_equal
from scipy import sparse
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import InconsistentVersionWarning as OfScikitLearn
from sklearn.feature_extraction import FeatureHasher
from sklearn.pipeline import make_pipeline

import skfm
from skfm import (
    BayesianFMClassifier,
    BayesianFMRegressor,
    FMClassifier,
    FMRecommender,
    FMRegressor,
    MFRecommender,
    baselines,
)
from skfm._solvers.fm.interactions import Interactions, all_pairs
from skfm._utils.packing import Columns, Runs, packed, unpacked
from skfm._utils.pickling import Versioned
from skfm._utils.plain_state import KIND, from_plain, to_plain
from skfm.exceptions import InconsistentVersionError, InconsistentVersionWarning
from skfm.preprocessing import EventEncoder, TableEncoder, UserItemEncoder

OPTIONS = {"max_iter": 3, "random_state": 0}
LOG = [[row % 5, row % 7] for row in range(40)]


def make_data(n_rows=40):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, 4))
    X[:, 3] += 50  # is centered
    return X, rng.normal(size=n_rows), rng.integers(2, size=n_rows)


ENCODERS = UserItemEncoder, EventEncoder, TableEncoder
BASELINES = tuple(getattr(baselines, name) for name in baselines.__all__)


def make_models():
    """Each public estimator, fitted, with what it can be asked."""
    X, y, labels = make_data()
    ratings = np.abs(np.round(3 * X))
    bayes = {**OPTIONS, "n_burn_in": 1}
    features = np.arange(8.0).reshape(2, 4) % 3
    blocks = ["user", "item", "history", "raters"]
    return {
        FMRegressor: (FMRegressor(2, **OPTIONS).fit(X, y), "predict", X),
        FMClassifier: (FMClassifier(2).partial_fit(X, labels, classes=[0, 1]), "predict_proba", X),
        BayesianFMRegressor: (BayesianFMRegressor(2, **bayes).fit(X, y), "predict", X),
        BayesianFMClassifier: (BayesianFMClassifier(2, **bayes).fit(X, labels), "predict", X),
        MFRecommender: (MFRecommender(2, **OPTIONS).fit(ratings), "transform", ratings),
        FMRecommender: (
            FMRecommender(2, item_features=features, **OPTIONS).fit(X, labels),
            "predict",
            X,
        ),
        UserItemEncoder: (UserItemEncoder().fit(LOG), "transform", LOG),
        EventEncoder: (EventEncoder(blocks).fit(LOG), "transform", LOG),
        **{kind: (kind().fit(ratings), "recommend", ratings) for kind in BASELINES},
        TableEncoder: (TableEncoder(crossed=[("x0", "x1")]).fit(LOG), "transform", LOG),
    }


@pytest.fixture(scope="module", name="models")
def fitted_models():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make_models()


def public_estimators():
    modules = [
        skfm,
        *(import_module(f"skfm.{name}") for name in ("preprocessing", "recipes", "baselines")),
    ]
    names = {getattr(module, name) for module in modules for name in module.__all__}
    return [c for c in names if isinstance(c, type) and issubclass(c, BaseEstimator)]


def answers(estimator, method, data):
    answer = getattr(estimator, method)(data)
    parts = answer if isinstance(answer, tuple) else (answer,)
    return [part.toarray() if hasattr(part, "toarray") else part for part in parts]


def of_another_version(model, version="0.0.1", drop=()):
    """A pickle as another version would have written it."""
    changed = pickle.loads(pickle.dumps(model))
    for part in parts_of(changed):
        vars(part)["_pickled_by"] = version
    for name in drop:
        del vars(changed)[name]
    return pickle.dumps(changed)


def parts_of(model):
    """All of our objects that are reached from a model, itself first."""
    found, waiting = [], [model]
    while waiting:
        part = waiting.pop()
        if isinstance(part, (list, tuple)):
            waiting.extend(part)
        elif type(part).__module__.startswith("skfm") and part not in found:
            found.append(part)
            waiting.extend(vars(part).values())
    return [part for part in found if isinstance(part, Versioned)]


# Versions


def test_every_estimator_is_looked_at(models):
    assert set(models) == set(public_estimators())


def test_the_same_version_says_nothing(models):
    for model, method, data in models.values():
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            again = pickle.loads(pickle.dumps(model))
        for one, other in zip(
            answers(model, method, data), answers(again, method, data), strict=True
        ):
            assert_array_equal(one, other)
        assert "_pickled_by" not in vars(again)


def test_all_that_is_kept_carries_the_version(models):
    """A part without it would end in a bare AttributeError."""
    unstamped = set()

    class Recorder(pickle.Pickler):
        def reducer_override(self, thing):
            kind = type(thing)
            if kind.__module__.startswith("skfm") and not issubclass(kind, (Versioned, tuple)):
                unstamped.add(kind.__name__)
            return NotImplemented

    for model, *_ in models.values():
        Recorder(io.BytesIO()).dump(model)
    assert not unstamped


def test_pickles_contain_no_private_class(models):
    """All classes of skfm in them are public, under the names by which users import them."""
    for kind, (model, *_) in models.items():
        names = set()

        class Reader(pickle.Unpickler):
            def find_class(self, module, name, names=names):
                if module.startswith("skfm"):
                    names.add(f"{module}.{name}")
                return super().find_class(module, name)

        Reader(io.BytesIO(pickle.dumps(model))).load()
        package = "skfm.preprocessing" if kind in ENCODERS else "skfm"
        package = "skfm.baselines" if kind in BASELINES else package
        assert names == {f"{package}.{kind.__name__}"}
        assert getattr(import_module(package), kind.__name__) is kind


def test_private_objects_as_plain_values():
    rng = np.random.RandomState(3)
    rng.normal()  # leaves a second number for later
    X = sparse.csr_matrix(([1.0, 2.0], ([0, 1], [1, 0])))
    parts = [all_pairs(3, 2), rng, X, np.dtype("<M8[s]"), sparse.csc_array(X), np.zeros(5000)]
    kept = {"parts": (parts, 1), "rest": "text"}
    plain = to_plain(kept)
    json.dumps(plain, default=np.ndarray.tolist)  # nothing else than arrays and plain types
    again, rest = from_plain(plain), from_plain(to_plain(kept["rest"]))
    assert rest == "text" and type(again["parts"]) is tuple
    pairs, drawn, matrix, dtype, columns, zeros = again["parts"][0]
    assert_array_equal(pairs.degrees, parts[0].degrees)
    assert_array_equal(drawn.normal(size=3), rng.normal(size=3))
    assert type(matrix) is type(X) and (matrix != X).nnz == 0
    assert type(columns) is sparse.csc_array and dtype == "<M8[s]" and zeros.size == 5000
    assert to_plain(plain) is plain  # what is plain stays the same object
    with pytest.raises(ValueError, match="unknown kind, 'Later'"):
        from_plain({KIND: "Later", "state": {}})


def test_two_stored_classes_have_two_names():
    with pytest.raises(TypeError, match="named Scaling"):
        type("Scaling", (Versioned,), {})


def test_another_version_is_named(models):
    for model, *_ in models.values():
        name = type(model).__name__
        with pytest.warns(InconsistentVersionWarning) as caught:
            pickle.loads(of_another_version(model))
        assert len(caught) == 1 and caught[0].filename == __file__
        assert isinstance(caught[0].message, OfScikitLearn)
        text = str(caught[0].message)
        for part in (name, "skfm 0.0.1", f"skfm {skfm.__version__}", "Fit it again"):
            assert part in text


def test_no_stamp_is_an_older_version():
    state = FMRegressor().__getstate__()
    del state["_skfm_version"]
    with pytest.warns(InconsistentVersionWarning, match="or older"):
        FMRegressor().__setstate__(state)


def test_what_is_missing_is_said(models):
    """In the estimator, or in any part that it keeps."""
    for kind, name in (
        (FMRegressor, "_interactions"),
        (FMRegressor, "components_"),
        (BayesianFMRegressor, "_chain_state"),
        (MFRecommender, "_squares"),
        (FMRecommender, "_centered"),
        (UserItemEncoder, "_users"),
        (EventEncoder, "_blocks"),
        (TableEncoder, "_blocks"),
        (baselines.EASERecommender, "item_weights_"),
        (baselines.UserKNNRecommender, "_transposed"),
    ):
        model, method, data = models[kind]
        again = quietly(pickle.loads, of_another_version(model, drop=[name]))
        with pytest.raises(InconsistentVersionError) as caught:
            getattr(again, method)(data)
        for part in (name, kind.__name__, "skfm 0.0.1", f"skfm {skfm.__version__}", "Fit the"):
            assert part in str(caught.value)
        assert not hasattr(again, name)
    model, method, data = models[FMRegressor]
    again = quietly(pickle.loads, of_another_version(model))
    del again._interactions.partners
    with pytest.raises(InconsistentVersionError, match=r"Interactions has no .*'partners'"):
        again.predict(data)


def test_a_stream_that_another_version_did_not_keep(models):
    X, _, labels = make_data()
    old = of_another_version(models[FMClassifier][0], drop=["_stream"])
    again = quietly(pickle.loads, old)
    with pytest.raises(InconsistentVersionError, match="_stream"):
        again.partial_fit(X, labels)
    unfitted = quietly(pickle.loads, of_another_version(FMClassifier(2)))
    unfitted.partial_fit(X, labels, classes=[0, 1])


def test_new_parameters_have_their_defaults(models):
    for kind, (model, *_) in models.items():
        required = {"blocks": model.blocks} if kind is EventEncoder else {}
        names = [name for name in model.get_params() if name not in required]
        again = quietly(pickle.loads, of_another_version(model, drop=names))
        assert repr(again) == repr(clone(again)) == repr(kind(**required))


def test_the_origin_stays_until_the_next_fit(models):
    X, y, _ = make_data()
    again = quietly(pickle.loads, of_another_version(models[FMRegressor][0]))
    with pytest.warns(InconsistentVersionWarning, match=r"0\.0\.1"):
        again = pickle.loads(pickle.dumps(again))
    quietly(again.fit, X, y)
    encoder = quietly(pickle.loads, of_another_version(models[UserItemEncoder][0])).fit(LOG)
    pipeline = make_pipeline(clone(encoder), clone(again))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for model in (again, encoder, pipeline, clone(again)):
            pickle.loads(pickle.dumps(model))


def test_other_errors_stay_as_they_are():
    model = quietly(pickle.loads, of_another_version(FMClassifier(loss="squared_hinge")))
    with pytest.raises(AttributeError, match=r"loss='squared_hinge'|predict_proba") as caught:
        model.predict_proba  # noqa: B018
    assert not isinstance(caught.value, InconsistentVersionError)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        FMRegressor().nothing  # noqa: B018


def test_interactions_before_there_were_stamps():
    kept = all_pairs(30, 2)
    state = vars(kept) | {"has_linear": (np.True_, 30), "field": (np.uint8(0), 30)}
    again = Interactions.__new__(Interactions)
    again.__setstate__(state)
    for name, array in vars(kept).items():
        assert_array_equal(getattr(again, name), array)


# Size


def make_arrays():
    rng = np.random.default_rng(0)
    few = np.zeros((3, 4, 900))
    few[..., rng.choice(900, 40)] = rng.normal(size=(3, 4, 40))
    return {
        "zeros": np.zeros(5000),
        "few columns": few,
        "few columns in the order of features": np.ascontiguousarray(few[0].T).T,
        "float32": few.astype(np.float32),
        "runs": np.repeat(rng.integers(5, size=30), rng.integers(1, 400, size=30)),
        "runs of bools": np.arange(4000) > 17,
        "runs of bytes": np.repeat([0, 3, 1], 2000).astype(np.uint8),
    }


@pytest.mark.parametrize("name", make_arrays())
def test_packed_arrays(name):
    array = make_arrays()[name]
    kept = packed(array)
    assert isinstance(kept, (Columns, Runs))
    assert len(pickle.dumps(kept)) < len(pickle.dumps(array)) / 2
    again = unpacked(kept)
    assert again.dtype == array.dtype and again.flags.f_contiguous == array.flags.f_contiguous
    assert_array_equal(again, array)


def test_arrays_that_stay_as_they_are(tmp_path):
    rng = np.random.default_rng(0)
    half = np.zeros((2, 2000))
    half[:, :1001] = 1
    mapped = np.memmap(tmp_path / "zeros", mode="w+", shape=(5000,))
    arrays = rng.normal(size=5000), half, np.zeros(10), np.arange(3000), np.zeros((0, 5000))
    for array in (*arrays, mapped, np.full(2000, None)):
        assert packed(array) is array


@pytest.fixture(scope="module", name="hashed")
def hashed_rows():
    rng = np.random.default_rng(0)
    rows = [{f"user {u}": 1, f"item {i}": 1} for u, i in rng.integers(30, size=(200, 2))]
    return FeatureHasher(2**18).transform(rows), rng.normal(size=200), rng.integers(5, size=200)


@pytest.mark.parametrize(
    ("model", "method"),
    [
        (FMRegressor(4, **OPTIONS), "predict"),
        (FMRegressor(4, solver="als", **OPTIONS), "predict"),
        (FMClassifier(4, **OPTIONS), "predict_proba"),
        (BayesianFMRegressor(4, n_burn_in=0, **OPTIONS), "predict"),
        (MFRecommender(4, **OPTIONS), "transform"),
        (FMRecommender(4, **OPTIONS), "predict"),
    ],
    ids=repr,
)
def test_hashed_features(hashed, model, method):
    """Of 262144 columns 60 are used; a table of all of them would take 8 megabytes."""
    X, y, items = hashed
    y = y if isinstance(model, (FMRegressor, BayesianFMRegressor)) else items
    model = quietly(clone(model).fit, X, y)
    pickles = [pickle.dumps(model)]
    if hasattr(model, "_stream") and model.solver != "als":
        pickles.append(pickle.dumps(model.partial_fit(X, y)))
    assert max(map(len, pickles)) < 200_000
    again = pickle.loads(pickles[-1])
    for name, value in vars(model).items():
        if isinstance(value, np.ndarray):
            assert getattr(again, name).dtype == value.dtype
            assert_array_equal(getattr(again, name), value)
    for one, other in zip(answers(model, method, X), answers(again, method, X), strict=True):
        assert_array_equal(one, other)


def test_a_stream_goes_on_after_a_pickle(hashed):
    X, y, _ = hashed
    model = FMRegressor(4, random_state=0).partial_fit(X[:100], y[:100])
    again = pickle.loads(pickle.dumps(model)).partial_fit(X[100:], y[100:])
    model.partial_fit(X[100:], y[100:])
    assert_array_equal(model.components_, again.components_)
    assert_array_equal(model.coef_, again.coef_)


def test_a_model_is_mapped_from_its_file(tmp_path):
    """All columns are used, so none are left out of the file."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 400))
    model = quietly(FMRegressor(4, **OPTIONS).fit, X, X[:, 0])
    joblib.dump(model, tmp_path / "model")
    again = joblib.load(tmp_path / "model", mmap_mode="r")
    assert isinstance(again.components_, np.memmap) and isinstance(again.coef_, np.memmap)
    assert_array_equal(again.predict(X), model.predict(X))
