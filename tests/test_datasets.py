"""Data sets: generators against the model they claim to plant, MovieLens without a network."""

import hashlib
import http.client
import io
import os
import pickle
import subprocess
import sys
import tracemalloc
import urllib.error
import urllib.request
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import sparse
from scipy.special import expit, softmax
from sklearn.utils import Bunch

from skfm import FMClassifier, FMRegressor
from skfm._kernels._atomic import replacing
from skfm.datasets import (
    _generators,
    _movielens,
    _movielens_files,
    _movielens_tables,
    fetch_movielens_100k,
    make_fm_classification,
    make_fm_regression,
)

MAKERS = [make_fm_regression, make_fm_classification]
GENRES = ["unknown", "Action", "Children's", "Film-Noir", "Sci-Fi"]


def raw_output(X, intercept, coef, components):
    """Formula of the factorization machine, pair by pair."""
    X = X.toarray() if sparse.issparse(X) else X.astype(np.float64)
    output = intercept + X @ coef
    for i in range(X.shape[1]):
        for j in range(i + 1, X.shape[1]):
            output = output + components[:, i] @ components[:, j] * X[:, i] * X[:, j]
    return output


def digest(content):
    return hashlib.sha256(content).hexdigest()


# Generators


@pytest.mark.parametrize("make", MAKERS)
def test_one_hot_rows(make):
    X, y = make(200, n_fields=3, n_levels=7, random_state=0)
    assert sparse.issparse(X) and X.format == "csr"
    assert X.shape == (200, 21) and y.shape == (200,)
    assert X.indices.dtype == np.int32 and X.has_canonical_format
    np.testing.assert_array_equal(X.data, 1)
    for field in range(3):
        np.testing.assert_array_equal(X[:, 7 * field : 7 * field + 7].sum(axis=1), 1)


@pytest.mark.parametrize("make", MAKERS)
def test_dense_rows(make):
    X, y = make(5000, n_fields=3, kind="dense", random_state=0)
    assert isinstance(X, np.ndarray) and X.shape == (5000, 3) and y.shape == (5000,)
    np.testing.assert_allclose(X.mean(axis=0), 0, atol=0.1)
    np.testing.assert_allclose(X.std(axis=0), 1, atol=0.1)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("kind", ["one_hot", "dense"])
def test_seed(make, kind):
    def dense(X):
        return X.toarray() if sparse.issparse(X) else X

    X1, y1 = make(kind=kind, random_state=3)
    X2, y2 = make(kind=kind, random_state=np.random.RandomState(3))
    X3, y3 = make(kind=kind, random_state=4)
    np.testing.assert_array_equal(dense(X1), dense(X2))
    np.testing.assert_array_equal(y1, y2)
    assert (dense(X1) != dense(X3)).any() and (y1 != y3).any()


@pytest.mark.parametrize("make", MAKERS)
def test_params_do_not_change_the_data(make):
    (_, y), (_, same, _) = (make(return_params=flag, random_state=0) for flag in (False, True))
    np.testing.assert_array_equal(y, same)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["one_hot", "dense"])
def test_dtype(make, dtype, kind):
    X, y = make(dtype=dtype, kind=kind, random_state=0)
    assert X.dtype == dtype
    assert y.dtype == dtype or make is make_fm_classification


@pytest.mark.parametrize("kind", ["one_hot", "dense"])
@pytest.mark.parametrize("n_components", [0, 1, 5])
@pytest.mark.parametrize("n_fields", [1, 4])
def test_planted_params_give_the_noiseless_targets(kind, n_components, n_fields):
    X, y, params = make_fm_regression(
        300,
        n_fields=n_fields,
        n_levels=6,
        n_components=n_components,
        kind=kind,
        mean=3.5,
        noise=0,
        return_params=True,
        random_state=0,
    )
    assert isinstance(params, Bunch) and isinstance(params.intercept, float)
    assert params.components.shape == (n_components, X.shape[1])
    np.testing.assert_allclose(y, raw_output(X, **params), rtol=1e-9)
    assert y.mean() == pytest.approx(3.5)
    assert y.std() == pytest.approx(1)


def test_params_fit_the_regressor():
    X, y, params = make_fm_regression(noise=0, return_params=True, random_state=0)
    model = FMRegressor(n_components=4).fit(X, y)
    model.intercept_, model.coef_, model.components_ = params.values()
    np.testing.assert_allclose(model.predict(X), y, atol=1e-9)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_params_fit_the_classifier(n_classes):
    X, y, params = make_fm_classification(
        50_000, n_classes=n_classes, n_levels=5, return_params=True, random_state=0
    )
    model = FMClassifier(n_components=4, max_iter=200, tol=0.1).fit(X, y)
    for name, value in params.items():
        assert getattr(model, f"{name}_").shape == value.shape
        setattr(model, f"{name}_", value)
    probability = model.predict_proba(X)
    for label in range(n_classes):  # calibrated: classes are as frequent as they should be
        for low, high in [(0, 0.2), (0.2, 0.5), (0.5, 1)]:
            inside = (probability[:, label] >= low) & (probability[:, label] < high)
            expected = probability[inside, label].mean()
            assert (y[inside] == label).mean() == pytest.approx(expected, abs=0.02)


def test_chunks_of_rows_agree():
    """Outputs are computed some rows at a time; one row at a time must say the same."""
    rng = np.random.RandomState(0)
    for X in [
        make_fm_regression(700, n_levels=3, random_state=0)[0],
        rng.standard_normal((700, 4)),
    ]:
        coef, components = rng.standard_normal(X.shape[1]), rng.standard_normal((600, X.shape[1]))
        linear, pairs = _generators._outputs(X, 4, coef, components)
        for row in (0, 435, 436, 437, 699):
            one = _generators._outputs(X[row : row + 1], 4, coef, components)
            np.testing.assert_allclose((linear[row], pairs[row]), np.ravel(one))


def test_noise_and_scales():
    _, clean = make_fm_regression(20_000, noise=0, random_state=0)
    _, noisy = make_fm_regression(20_000, noise=0.5, random_state=0)
    assert (noisy - clean).std() == pytest.approx(0.5, rel=0.05)
    options = {"kind": "dense", "n_fields": 3, "noise": 0, "random_state": 0}
    X, y = make_fm_regression(interaction_scale=0, **options)
    residual = y - y.mean() - X @ np.linalg.lstsq(X, y - y.mean(), rcond=None)[0]
    assert np.abs(residual).max() < 0.2  # linear up to the mean of X
    *_, params = make_fm_regression(linear_scale=0, return_params=True, **options)
    np.testing.assert_array_equal(params.coef, 0)
    _, y = make_fm_regression(linear_scale=0, interaction_scale=0, **options)
    np.testing.assert_array_equal(y, 0)


def test_skew():
    def share_of_most_frequent(skew):
        X, _ = make_fm_regression(20_000, n_fields=2, n_levels=20, skew=skew, random_state=0)
        counts = np.asarray(X.sum(axis=0)).reshape(2, 20)
        return np.sort(counts, axis=1)[:, ::-1][:, :2] / 20_000

    np.testing.assert_allclose(share_of_most_frequent(0), 0.05, atol=0.01)
    harmonic = (1 / np.arange(1, 21)).sum()
    expected = np.tile([1 / harmonic, 0.5 / harmonic], (2, 1))
    np.testing.assert_allclose(share_of_most_frequent(1), expected, atol=0.015)


@pytest.mark.parametrize("signal", [0, 1, 5])
@pytest.mark.parametrize(
    "base_rate", [None, 0.03, [0.3, 0.7], [0.6, 0.3, 0.1], [0.97, 0.01, 0.01, 0.01]]
)
def test_base_rate(signal, base_rate):
    expected = [0.5, 0.5] if base_rate is None else base_rate
    expected = [1 - expected, expected] if np.ndim(expected) == 0 else expected
    _, y = make_fm_classification(
        50_000,
        n_classes=len(expected),
        base_rate=base_rate,
        signal=signal,
        random_state=0,
    )
    np.testing.assert_allclose(np.bincount(y) / y.size, expected, atol=0.01)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_signal_is_the_deviation_of_the_scores(n_classes):
    X, _, params = make_fm_classification(
        n_classes=n_classes,
        n_fields=2,
        n_levels=5,
        signal=3,
        base_rate=None,
        return_params=True,
        random_state=0,
    )
    components = params.components.reshape(-1, 4, 10)
    scores = np.column_stack(
        [
            raw_output(X, *one)
            for one in zip(params.intercept, params.coef, components, strict=True)
        ]
    )
    np.testing.assert_allclose(scores.std(axis=0), 3)
    rate = expit(scores).mean() if n_classes == 2 else softmax(scores, axis=1).mean(axis=0)
    np.testing.assert_allclose(rate, 1 / n_classes, rtol=1e-5)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("kind", ["one_hot", "dense"])
def test_smallest_problems(make, kind):
    for n_samples in (1, 2):
        X, y = make(n_samples, n_fields=1, n_levels=1, n_components=1, kind=kind, random_state=0)
        assert X.shape == (n_samples, 1) and np.isfinite(y).all()


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_samples", 0),
        ("n_fields", 0),
        ("n_levels", 0),
        ("n_levels", 2**31),
        ("n_components", -1),
        ("kind", "sparse"),
        ("skew", -1),
        ("skew", np.nan),
        ("linear_scale", -1),
        ("interaction_scale", np.inf),
        ("dtype", np.int64),
    ],
)
def test_bad_arguments(make, name, value):
    with pytest.raises(ValueError, match=name):
        make(**{name: value})


def test_bad_arguments_of_one_generator():
    for name, value in [("noise", -1), ("mean", np.inf)]:
        with pytest.raises(ValueError, match=name):
            make_fm_regression(**{name: value})
    for name, value in [("n_classes", 1), ("signal", -1)]:
        with pytest.raises(ValueError, match=name):
            make_fm_classification(**{name: value})
    for n_classes, rate in [(2, 0), (2, 1), (3, 0.5), (3, [0.5, 0.5]), (2, [0.5, 0.6])]:
        with pytest.raises(ValueError, match="base_rate"):
            make_fm_classification(n_classes=n_classes, base_rate=rate)


# MovieLens-100k


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty folder, and a default folder beside it that is empty, too; no network."""

    def urlopen(*args, **kwargs):
        raise urllib.error.URLError("offline")

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "scikit_learn_data"))
    return tmp_path / "home"


@pytest.fixture
def tiny(monkeypatch):
    """Three ratings of two users, of four films, pass for the complete data."""
    digests = {name: digest(ARCHIVE_FILES[f"u.{name}"].encode()) for name in ("data", "user")}
    monkeypatch.setattr(_movielens_tables, "ARCHIVE_SHA256", digests)
    monkeypatch.setattr(_movielens_tables, "N_RATINGS", 3)
    monkeypatch.setattr(_movielens_tables, "N_USERS", 2)
    monkeypatch.setattr(_movielens_tables, "N_FILMS", 4)


WHEEL_FILES = {
    "ml-100k.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    "2\t267\t3\t881250949\n1\t1\t5\t891717742\n1\t1412\t1\t878887116\n",
    "ml-100k.user": "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
    "1\t24\tM\tnone\t05711\n2\t53\tF\tother\tT8H1N\n",
    "ml-100k.item": "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    '1\tLost "Misérables", The (Les)\t1995\tChildren\'s Sci-Fi\n'
    "7\t1984\t1956\tFilm-Noir\n"
    "267\tunkonwn\tunkonwn\tunknown\n"
    "1412\tLand of Time (1995)\tV\tAction Children's\n",
}
ARCHIVE_FILES = {
    "u.data": "2\t267\t3\t881250949\n1\t1\t5\t891717742\n1\t1412\t1\t878887116\n",
    "u.user": "1|24|M|none|05711\n2|53|F|other|T8H1N\n",
    "u.item": '1|Lost "Misérables", The (Les) (1995)|01-Jan-1995||http://a|0|0|1|0|1\n'
    "7|1984 (1956)|01-Jan-1956||http://b|0|0|0|1|0\n"
    "267|unknown||||1|0|0|0|0\n"
    "1412|Land of Time (1995) (V)|01-Jan-1995||http://c|0|1|1|0|0\n",
    "u.genre": "".join(f"{name}|{number}\n" for number, name in enumerate(GENRES)) + "\n\n",
}


def write_archive(folder, **changed):
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / "ml-100k.zip", "w") as archive:
        for name, text in {**ARCHIVE_FILES, **changed}.items():
            if text is not None:
                archive.writestr(f"ml-100k/{name}", text.encode("latin-1"))


@pytest.fixture
def pip(monkeypatch):
    """Stand-in for pip: puts a wheel with a few lines where it is told to, and counts calls."""
    contents = {name: text.encode() for name, text in WHEEL_FILES.items()}
    monkeypatch.setattr(
        _movielens_files, "SHA256", {name: digest(content) for name, content in contents.items()}
    )
    calls = []

    def run(command, **options):
        calls.append(command)
        assert command[:5] == [sys.executable, "-P", "-m", "pip", "download"]
        assert {"--no-deps", "--only-binary=:all:", "--require-hashes"} < set(command)
        folder = command[command.index("--dest") + 1]
        with open(command[command.index("--requirement") + 1]) as wanted:
            assert wanted.read().startswith("recbole==1.2.1 --hash=sha256:9c9948")
        assert options["check"] and options["timeout"] and options["cwd"] == folder
        target = os.path.join(folder, "recbole-1.2.1.whl")
        with zipfile.ZipFile(target, "w") as wheel:
            for name, content in contents.items():
                wheel.writestr(f"recbole/dataset_example/ml-100k/{name}", content)

    monkeypatch.setattr(subprocess, "run", run)
    return SimpleNamespace(calls=calls, contents=contents)


@pytest.fixture
def no_pip(monkeypatch):
    def run(*args, **kwargs):
        raise AssertionError("the network is not to be used")

    monkeypatch.setattr(subprocess, "run", run)


@pytest.fixture
def grouplens(home, tiny, monkeypatch, tmp_path):
    """Stand-in for GroupLens: answers with an archive of a few lines, and keeps what was asked."""
    write_archive(tmp_path / "there")
    content = (tmp_path / "there" / "ml-100k.zip").read_bytes()
    monkeypatch.setattr(_movielens_files, "OFFICIAL_SHA256", digest(content))
    answer = SimpleNamespace(content=content, asked=[])

    def urlopen(url, timeout):
        answer.asked.append(url)
        if isinstance(answer.content, Exception):
            raise answer.content
        return io.BytesIO(answer.content)

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    return answer


def check_tiny(movielens):
    frame, users, films = movielens.frame, movielens.users, movielens.items
    assert list(frame.columns) == ["user_id", "item_id", "rating", "timestamp"]
    assert frame["item_id"].tolist() == [267, 1, 1412]
    assert frame["rating"].dtype == np.float64 and frame["rating"].tolist() == [3, 5, 1]
    assert frame["timestamp"].tolist() == [881250949, 891717742, 878887116]
    assert users["age"].tolist() == [24, 53]
    assert users["occupation"].tolist() == ["none", "other"]
    assert users["zip_code"].tolist() == ["05711", "T8H1N"]
    assert films["title"].tolist() == [
        'Lost "Misérables", The (Les)',
        "1984",
        "unknown",
        "Land of Time",
    ]
    np.testing.assert_array_equal(films["year"], [1995, 1956, np.nan, 1995])
    assert films["genres"].tolist() == [
        ("Children's", "Sci-Fi"),
        ("Film-Noir",),
        ("unknown",),
        ("Action", "Children's"),
    ]
    assert "2827872" in movielens.DESCR


def test_archive(home, tiny, no_pip, capsys):
    pytest.importorskip("pandas")
    write_archive(home)
    check_tiny(fetch_movielens_100k(home))
    printed = capsys.readouterr().out
    assert printed.count("10.1145/2827872") == 1 and "research" in printed
    assert [path.name for path in home.iterdir()] == ["ml-100k.zip"]


def test_archive_in_the_default_folder(home, tiny, no_pip):
    pytest.importorskip("pandas")
    write_archive(home.parent / "scikit_learn_data" / "skfm_movielens_100k")
    check_tiny(fetch_movielens_100k())
    check_tiny(fetch_movielens_100k(str(home), download_if_missing=False))


@pytest.mark.parametrize(
    "changed",
    [
        {"u.genre": None},
        {"u.data": ARCHIVE_FILES["u.data"][:-23]},
        {"u.data": "nonsense"},
        {"u.item": ARCHIVE_FILES["u.item"].replace("|0\n", "\n")},
        {"u.item": ARCHIVE_FILES["u.item"].replace("|", ";")},
        {"u.data": ARCHIVE_FILES["u.data"].replace("\t5\t", "\t4\t")},
        {"u.user": ARCHIVE_FILES["u.user"].replace("|24|", "|25|")},
        {"u.data": ARCHIVE_FILES["u.data"].replace("267", "9" * 30)},
    ],
)
def test_incomplete_archive(home, tiny, no_pip, changed):
    pytest.importorskip("pandas")
    write_archive(home, **changed)
    incomplete = r"ml-100k\.zip is not a complete copy.*Replace it"
    with pytest.raises(OSError, match=incomplete) as caught:
        fetch_movielens_100k(home)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("name", ["u.data", "u.item"])
def test_archive_that_unpacks_to_far_too_much(home, tiny, no_pip, name):
    """A few kilobytes may stand for gigabytes: they are not even unpacked."""
    pytest.importorskip("pandas")
    home.mkdir()
    with zipfile.ZipFile(home / "ml-100k.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for member, text in ARCHIVE_FILES.items():
            content = b"0" * 50_000_000 if member == name else text.encode("latin-1")
            archive.writestr(f"ml-100k/{member}", content)
    tracemalloc.start()
    with pytest.raises(OSError, match=r"ml-100k/u\..* has more than 8,000,000 bytes.*Replace it"):
        fetch_movielens_100k(home)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 30_000_000


def test_archive_that_is_far_too_large(home, no_pip, monkeypatch):
    pytest.importorskip("pandas")
    write_archive(home)
    monkeypatch.setattr(_movielens_files, "MAX_ARCHIVE_BYTES", 100)
    with pytest.raises(OSError, match="more than 100 bytes"):
        fetch_movielens_100k(home)


def test_archive_with_other_ends_of_lines(home, tiny, no_pip):
    pytest.importorskip("pandas")
    write_archive(home, **{n: text.replace("\n", "\r\n") for n, text in ARCHIVE_FILES.items()})
    check_tiny(fetch_movielens_100k(home))


def test_archive_that_is_no_zip(home, no_pip):
    pytest.importorskip("pandas")
    home.mkdir()
    (home / "ml-100k.zip").write_text("<html>not found</html>")
    with pytest.raises(OSError, match="is not a complete copy"):
        fetch_movielens_100k(home)


def test_the_official_archive_comes_first(home, grouplens, no_pip):
    pytest.importorskip("pandas")
    check_tiny(fetch_movielens_100k(home))
    check_tiny(fetch_movielens_100k(home, download_if_missing=False))
    assert grouplens.asked == ["https://files.grouplens.org/datasets/movielens/ml-100k.zip"]
    assert [path.name for path in home.iterdir()] == ["ml-100k.zip"]
    assert (home / "ml-100k.zip").read_bytes() == grouplens.content


def test_the_official_archive_cannot_be_kept(home, grouplens, no_pip):
    pytest.importorskip("pandas")
    home.write_text("a file where the folder should be")
    with pytest.warns(RuntimeWarning, match="could not be saved in .*data_home"):
        check_tiny(fetch_movielens_100k(home))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<html>moved</html>", "its checksum differs"),
        (urllib.error.URLError("no route"), "no route"),
        (TimeoutError("timed out"), "timed out"),
        (http.client.IncompleteRead(b"cut off"), "was interrupted"),
    ],
    ids=repr,
)
def test_where_grouplens_fails(home, grouplens, pip, content, reason):
    pytest.importorskip("pandas")
    grouplens.content = content
    check_tiny(fetch_movielens_100k(home))
    assert len(pip.calls) == 1
    assert sorted(path.name for path in home.iterdir()) == sorted(WHEEL_FILES)
    (home / "ml-100k.item").unlink()
    pip.contents["ml-100k.item"] = b"cut off"
    with pytest.raises(OSError, match=rf"checksums differ: .*ml-100k\.zip: .*{reason}"):
        fetch_movielens_100k(home)


def test_download_once(home, pip):
    pytest.importorskip("pandas")
    check_tiny(fetch_movielens_100k(home))
    check_tiny(fetch_movielens_100k(home, download_if_missing=False))
    assert len(pip.calls) == 1
    assert sorted(path.name for path in home.iterdir()) == sorted(WHEEL_FILES)


def test_download_to_the_default_folder(home, pip):
    pytest.importorskip("pandas")
    check_tiny(fetch_movielens_100k())
    folder = home.parent / "scikit_learn_data" / "skfm_movielens_100k"
    assert sorted(path.name for path in folder.iterdir()) == sorted(WHEEL_FILES)


@pytest.mark.parametrize("content", [None, b"", b"cut off", b"0" * 8_000_001])
def test_damaged_cache(home, pip, content):
    pytest.importorskip("pandas")
    fetch_movielens_100k(home)
    damaged = home / "ml-100k.user"
    damaged.unlink()
    if content is not None:
        damaged.write_bytes(content)
    with pytest.raises(OSError, match=r"unreadable or damaged: ml-100k\.user\)"):
        fetch_movielens_100k(home, download_if_missing=False)
    check_tiny(fetch_movielens_100k(home))
    assert len(pip.calls) == 2
    assert damaged.read_bytes() == pip.contents["ml-100k.user"]


def test_folder_that_cannot_be_written(home, pip):
    """What was downloaded is there, kept or not."""
    pytest.importorskip("pandas")
    home.write_text("a file where the folder should be")
    with pytest.warns(RuntimeWarning, match="could not be saved in .*data_home") as caught:
        check_tiny(fetch_movielens_100k(home))
    assert caught[0].filename == __file__


def test_kept_file_that_cannot_be_read(home, pip):
    pytest.importorskip("pandas")
    (home / "ml-100k.user").mkdir(parents=True)  # no permission stops root
    with pytest.raises(OSError, match="unreadable"):
        fetch_movielens_100k(home, download_if_missing=False)
    with pytest.warns(RuntimeWarning, match="could not be saved"):
        check_tiny(fetch_movielens_100k(home))


def test_nothing_in_the_working_directory_is_run(home, tmp_path, monkeypatch):
    """Python would take pip, or what pip imports, from there first."""
    pytest.importorskip("pandas")
    code = f"open({str(tmp_path / 'run')!r}, 'w').close(); raise SystemExit('hostile')"
    (tmp_path / "pip").mkdir()
    for name in ("pip/__init__.py", "pip/__main__.py", "zipfile.py"):
        (tmp_path / name).write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(OSError, match="could not be downloaded: pip failed"):
        fetch_movielens_100k(home)
    assert not (tmp_path / "run").exists()


def test_damaged_download(home, pip):
    pytest.importorskip("pandas")
    pip.contents["ml-100k.item"] = b"cut off"
    with pytest.raises(OSError, match=r"checksums differ: ml-100k\.item\."):
        fetch_movielens_100k(home)
    assert not home.exists()
    del pip.contents["ml-100k.item"]
    with pytest.raises(OSError, match="could not be downloaded"):
        fetch_movielens_100k(home)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (subprocess.CalledProcessError(1, "pip", stderr="retry\nERROR: no match\n"), "no match"),
        (subprocess.CalledProcessError(7, "pip", stderr=""), "exit code 7"),
        (subprocess.TimeoutExpired("pip", 300), "longer than 300 seconds"),
        (FileNotFoundError("no interpreter"), "no interpreter"),
    ],
)
def test_failing_download(home, monkeypatch, error, reason):
    pytest.importorskip("pandas")

    def run(*args, **kwargs):
        raise error

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(OSError, match=reason) as caught:
        fetch_movielens_100k(home)
    assert caught.value.__cause__ is error
    assert "ml-100k.zip" in str(caught.value) and "network" in str(caught.value)
    assert str(home) in str(caught.value)
    assert not home.exists()


def test_pip_that_brings_nothing(home, monkeypatch):
    pytest.importorskip("pandas")
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: None)
    with pytest.raises(OSError, match="did not download a wheel"):
        fetch_movielens_100k(home)


def test_nothing_there_and_no_download(home, no_pip):
    pytest.importorskip("pandas")
    with pytest.raises(OSError, match=r"ml-100k\.zip into .*download_if_missing=True"):
        fetch_movielens_100k(home, download_if_missing=False)


def test_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    def replace(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "file") as draft:
        draft.write_bytes(b"content")
    assert not list(tmp_path.iterdir())


def test_without_pandas(home, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r'pip install "skfm\[datasets\]"'):
        fetch_movielens_100k(home)


def test_real_data(tmp_path):
    """The real data, if it is here already or a download is asked for."""
    pytest.importorskip("pandas")
    wanted = os.environ.get("SKFM_TEST_DOWNLOAD") == "1"
    try:
        movielens = fetch_movielens_100k(tmp_path if wanted else None, download_if_missing=wanted)
    except OSError as error:
        pytest.skip(f"needs MovieLens-100k, or SKFM_TEST_DOWNLOAD=1 to download it: {error}")
    frame, users, films = movielens.frame, movielens.users, movielens.items
    assert frame.shape == (100_000, 4) and users.shape == (943, 5) and films.shape == (1682, 4)
    assert frame.iloc[0].tolist() == [196, 242, 3, 881250949]
    np.testing.assert_array_equal(np.unique(frame["rating"]), [1, 2, 3, 4, 5])
    assert frame["rating"].mean() == pytest.approx(3.52986)
    assert frame.groupby("user_id").size().min() == 20
    assert set(frame["user_id"]) == set(users["user_id"]) == set(range(1, 944))
    assert set(frame["item_id"]) == set(films["item_id"]) == set(range(1, 1683))
    assert len({genre for genres in films["genres"] for genre in genres}) == 19
    assert films["item_id"][films["year"].isna()].tolist() == [267]
    assert films["title"][0] == "Toy Story" and films["year"][0] == 1995
    assert films["genres"][0] == ("Animation", "Children's", "Comedy")
    assert films["title"][266] == "unknown" and films["year"][1411] == 1995
    assert users["zip_code"].str.len().eq(5).all()


def test_movielens_bunch_shows_its_items():
    data = _movielens.MovieLens(frame=1, users=2, items=3, DESCR="text")
    copy = pickle.loads(pickle.dumps(data))
    assert data.items == data["items"] == copy.items == 3
    assert sorted(copy) == sorted(data)
