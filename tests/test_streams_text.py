"""svmlight and libffm files as sources of rows: the same matrices as load_svmlight_file's."""

import bz2
import gzip
import lzma
import pickle
import tracemalloc

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.datasets import dump_svmlight_file, load_svmlight_file, load_svmlight_files
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler

from skfm import FMClassifier, FMRegressor
from skfm._utils import sparse_text
from skfm.datasets import dump_libffm, load_libffm, make_fm_classification
from skfm.io import load_model, save_model
from skfm.preprocessing import TableEncoder
from skfm.streams import IndexEncoder, Rows, predict_stream

X, Y = make_fm_classification(300, n_fields=4, n_levels=8, random_state=0)
FIELDS = np.repeat(np.arange(4), 8)
PACKERS = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
SMALL_FFM = b"1 0:0:1 1:2:0.5\n0 0:1:1 1:3:2\n"


@pytest.fixture
def write(tmp_path):
    """Writes texts to files; returns the path, or the list of paths."""

    def write(*texts, name="rows.svm"):
        paths = []
        for number, text in enumerate(texts):
            path = tmp_path / (name if len(texts) == 1 else f"{number}-{name}")
            pack = PACKERS.get(path.suffix, bytes)
            path.write_bytes(pack(text if isinstance(text, bytes) else text.encode()))
            paths.append(str(path))
        return paths[0] if len(texts) == 1 else paths

    return write


@pytest.fixture
def svmlight(tmp_path):
    """Three files with the rows of X."""
    for number in range(3):
        part = slice(100 * number, 100 * number + 100)
        dump_svmlight_file(X[part], Y[part], str(tmp_path / f"{number}.svm"), zero_based=False)
    return tmp_path


@pytest.fixture
def libffm(tmp_path):
    for number in range(3):
        part = slice(100 * number, 100 * number + 100)
        dump_libffm(X[part], Y[part], tmp_path / f"{number}.ffm", fields=FIELDS)
    return tmp_path


def assert_same_matrix(one, other):
    other = other.sorted_indices()
    assert one.shape == other.shape
    for name in ("indptr", "indices", "data"):
        assert_array_equal(getattr(one, name), getattr(other, name))


# The same rows


@pytest.mark.parametrize("chunk_rows", [1, 70, 100, 1000])
@pytest.mark.parametrize("n_bytes", [100, 2**21])
def test_rows_are_those_of_load_svmlight_file(svmlight, monkeypatch, chunk_rows, n_bytes):
    monkeypatch.setattr(sparse_text, "CHUNK_BYTES", n_bytes)
    rows = Rows(svmlight / "*.svm", chunk_rows=chunk_rows, dtype=np.float64)
    found, y, weight = rows.encoded().read_all()
    parts = load_svmlight_files([str(svmlight / f"{number}.svm") for number in range(3)])
    assert weight is None
    assert_same_matrix(found, X)
    assert_array_equal(found.toarray(), np.vstack([part.toarray() for part in parts[::2]]))
    assert_array_equal(y, np.concatenate(parts[1::2]))
    assert (rows.n_rows, rows.n_features) == X.shape
    assert rows.encoded().feature_fields is rows.encoder_.feature_fields_ is None


@pytest.mark.parametrize("chunk_rows", [1, 70, 1000])
def test_rows_are_those_of_load_libffm(libffm, chunk_rows):
    rows = Rows(str(libffm / "*.ffm"), chunk_rows=chunk_rows, dtype=np.float64)
    found, y, _ = rows.encoded().read_all()
    (libffm / "all.txt").write_bytes(
        b"".join((libffm / f"{number}.ffm").read_bytes() for number in range(3))
    )
    expected, expected_y, _ = load_libffm(libffm / "all.txt")
    assert_same_matrix(found, expected)
    assert_array_equal(y, expected_y)
    for fields in (found.feature_fields, rows.encoded().feature_fields):
        assert_array_equal(fields, expected.feature_fields)


def test_a_fit_is_that_on_the_matrix(svmlight, libffm, write):
    whole = b"".join((svmlight / f"{number}.svm").read_bytes() for number in range(3))
    matrix, y = load_svmlight_file(write(whole))
    model = FMClassifier(3, max_iter=5, random_state=0)
    streamed = model.fit_stream(Rows(svmlight / "[0-2].svm", dtype=np.float64))
    assert_array_equal(
        streamed.predict_proba(matrix),
        FMClassifier(3, max_iter=5, random_state=0).fit(matrix, y).predict_proba(matrix),
    )
    text = b"".join((libffm / f"{number}.ffm").read_bytes() for number in range(3))
    matrix, y, _ = load_libffm(write(text, name="all.ffm"))
    options = {"max_iter": 5, "random_state": 0, "field_interactions": "aware"}
    model = FMClassifier(3, **options).fit_stream(Rows(libffm / "[0-2].ffm", dtype=np.float64))
    expected = FMClassifier(3, **options).fit(matrix, y)
    assert_array_equal(model.predict_proba(matrix), expected.predict_proba(matrix))
    assert_array_equal(model.fields_, expected.fields_)


@pytest.mark.parametrize("suffix", PACKERS)
@pytest.mark.parametrize("name", ["a.svm", "a.svmlight", "A.LIBSVM", "a.ffm", "a.libffm"])
@pytest.mark.pairwise
def test_names_and_compression(write, name, suffix):
    text = SMALL_FFM if "ffm" in name else b"1 0:1 2:0.5\n0 1:1 3:2\n"
    found, y, _ = Rows(write(text, name=name + suffix)).encoded().read_all()
    assert found.toarray().tolist() == [[1, 0, 0.5, 0], [0, 1, 0, 2]]
    assert y.tolist() == [1, 0]


def test_comments_queries_and_blank_lines(write):
    text = "# made by a: b\n+1 qid:3 1:0.5 3:2 # a comment 4:1\n\n \n-1.5\n2 qid:4 2:1e-1\n"
    found, y, _ = Rows(write(text), dtype=np.float64).encoded().read_all()
    expected, expected_y = load_svmlight_file(write(text))
    assert_array_equal(found.toarray(), expected.toarray())
    assert_array_equal(y, expected_y)
    assert y.tolist() == [1, -1.5, 2]


# Numbers of features


@pytest.mark.parametrize(
    "texts, options, n_features, zero_based",
    [
        (("1 1:1\n", "1 3:1\n"), {}, 3, False),
        (("1 1:1\n", "1 0:1\n"), {}, 2, True),
        (("1 1:1\n", "1 3:1\n"), {"zero_based": True}, 4, True),
        (("1 1:1\n", "1 3:1\n"), {"zero_based": "auto", "n_features": 7}, 7, False),
        (("1 1:1\n", "1 3:1\n"), {"n_features": 7, "zero_based": True}, 7, True),
        (("1\n", "1\n"), {}, 1, True),
    ],
)
def test_all_training_files_say_how_features_are_numbered(
    write, texts, options, n_features, zero_based
):
    rows = Rows(write(*texts), encoder=IndexEncoder(**options), chunk_rows=1)
    found = rows.encoded().read_all()[0]
    assert found.shape[1] == rows.n_features == rows.encoder_.n_features_ == n_features
    assert rows.encoder_.zero_based_ is zero_based
    expected = np.vstack(
        [
            part.toarray()
            for part in load_svmlight_files(
                write(*texts), n_features=n_features, zero_based=zero_based
            )[::2]
        ]
    )
    assert_array_equal(found.toarray(), expected)


def test_libffm_is_zero_based_by_default(write):
    path = write("1 0:1:1 1:2:1\n", name="rows.ffm")
    assert Rows(path).encoded().read_all()[0].toarray().tolist() == [[0, 1, 1]]
    for zero_based in (False, "auto"):
        rows = Rows(path, encoder=IndexEncoder(zero_based=zero_based))
        assert rows.encoded().read_all()[0].toarray().tolist() == [[1, 1]]
        assert rows.encoded().feature_fields.tolist() == [0, 1]


@pytest.mark.parametrize(
    "n_taken, options", [(1, {"n_features": 4, "zero_based": False}), (2, {})]
)
def test_known_numbers_need_no_pass(write, monkeypatch, n_taken, options):
    rows = Rows(write("1 1:1\n0 2:1\n"), encoder=IndexEncoder(**options))
    taken, read = [], rows._opened._pieces
    monkeypatch.setattr(rows._opened, "_pieces", lambda: taken.append(1) or read())
    rows.encoded()
    assert len(taken) == n_taken


def test_other_files_are_numbered_as_in_training(write):
    """The first and the last feature may be missing by chance."""
    train, test = write("1 0:1 1:1\n0 2:3 4:1\n", "1 1:1\n0 2:2\n")
    rows = Rows(train)
    model = FMRegressor(2, max_iter=3, random_state=0).fit_stream(
        rows, rows_val=Rows(test, encoder=rows.encoder_)
    )
    expected = [[0, 1, 0, 0, 0], [0, 0, 2, 0, 0]]
    new = Rows(test, encoder=rows.encoder_)
    assert new.encoded().read_all()[0].toarray().tolist() == expected
    (found,) = predict_stream(model, new)
    assert_array_equal(found, model.predict(np.array(expected, dtype=np.float32)))
    with pytest.raises(ValueError, match=r"rows_val have 2 features, but rows have 5; .*encoder_"):
        model.fit_stream(rows, rows_val=Rows(test))
    guessed = Rows(test, encoder=IndexEncoder(n_features=5))
    with pytest.raises(ValueError, match=r"rows_val have other features .* pass the .*encoder_"):
        model.fit_stream(rows, rows_val=guessed)


@pytest.mark.parametrize("chunk_rows", [1, 100])
@pytest.mark.parametrize(
    "text, feature, row", [("1 1:1\n0 2:2 4:1\n", 4, 1), ("0 3:1\n1 0:1 2:1\n", 0, 1)]
)
def test_features_outside_of_those_in_training(write, text, feature, row, chunk_rows):
    train, test = write("1 1:1 2:1\n0 3:3\n", text)
    encoder = Rows(train).encoder_
    message = rf"Feature {feature} is not among the features 1 to 3 .*1-rows.svm, row 1\."
    with pytest.raises(ValueError, match=message):
        Rows(test, encoder=encoder, chunk_rows=chunk_rows).encoded()
    with pytest.raises(ValueError, match=message):
        list(Rows(test, encoder=encoder, chunk_rows=chunk_rows).chunks())


def test_given_numbers_that_do_not_suit(write):
    path = write("1 1:1 5:1\n0 0:3\n")
    with pytest.raises(ValueError, match=r"Feature 5 is not .* 0 to 3 .*rows.svm, row 0\b"):
        Rows(path, encoder=IndexEncoder(n_features=4)).encoded()
    with pytest.raises(ValueError, match=r"Feature 0 is not .* 1 to 5 .*rows.svm, row 1\b"):
        Rows(path, encoder=IndexEncoder(zero_based=False)).encoded()
    with pytest.raises(ValueError, match=r"Feature 3000000000 is too large.*row 0\b"):
        Rows(write("1 3000000000:1\n")).encoded()


@pytest.mark.parametrize("chunk_rows", [1, 2, 100])
def test_features_in_several_fields(write, chunk_rows):
    texts = SMALL_FFM.decode(), "1 0:0:1\n0 1:1:3\n"
    message = r"Feature 1 occurs in the fields 0 and 1; number .*1-rows.ffm, row 1\b"
    with pytest.raises(ValueError, match=message):
        Rows(write(*texts, name="rows.ffm"), chunk_rows=chunk_rows).encoded()
    train, test = write(*texts, name="rows.ffm")
    with pytest.raises(ValueError, match=message):
        Rows(test, encoder=Rows(train).encoder_, chunk_rows=chunk_rows).encoded()


@pytest.mark.parametrize("options", [{"n_features": 0}, {"n_features": 1.5}, {"zero_based": "no"}])
def test_invalid_parameters_of_the_encoder(write, options):
    with pytest.raises((ValueError, TypeError), match=f"{next(iter(options))} must be"):
        Rows(write("1 1:1\n"), encoder=IndexEncoder(**options)).encoded()


def test_the_encoder_is_kept(write, tmp_path):
    train, test = write(SMALL_FFM, "1 1:3:1\n", name="rows.ffm")
    encoder = Rows(train, cache=tmp_path / "cache").encoder_
    Rows(train, cache=tmp_path / "cache").encoded()
    save_model(encoder, tmp_path / "encoder")
    again = Rows(train, cache=tmp_path / "cache")
    again.encoded()
    again._opened = None  # not read again
    for copy in (
        pickle.loads(pickle.dumps(encoder)),
        load_model(tmp_path / "encoder"),
        again.encoder_,
    ):
        assert type(copy) is IndexEncoder
        found = Rows(test, encoder=copy).encoded().read_all()[0]
        assert found.toarray().tolist() == [[0, 0, 0, 1]]
        assert found.feature_fields.tolist() == [0, 0, 1, 1]


# Other encoders


def test_predictions_need_the_encoder(write):
    path = write("1 1:1 3:1\n0 2:1\n")
    rows = Rows(path)
    model = FMRegressor(2, max_iter=3, random_state=0).fit_stream(rows)
    for source in (path, Rows(path, encoder="passthrough"), Rows(path)):
        with pytest.raises(ValueError, match=r"encoder=training_rows.encoder_"):
            list(predict_stream(model, source))
    scaled = make_pipeline(MaxAbsScaler(), model).fit(*rows.encoded().read_all()[:2])
    (found,) = predict_stream(scaled, Rows(path, encoder=rows.encoder_))
    assert_array_equal(found, scaled.predict(rows.encoded().read_all()[0]))


def test_encoders_of_other_rows(write):
    svm, ffm = write("1 1:1\n"), write("1 0:1:1\n", name="rows.ffm")
    for encoder in (MaxAbsScaler(), TableEncoder(strings="hashed")):
        with pytest.raises(TypeError, match=r"cannot be encoded by a \w+. Leave encoder=None"):
            Rows(svm, encoder=encoder).encoded()
    with pytest.raises(TypeError, match=r"IndexEncoder encodes rows of svmlight .* got ndarray"):
        Rows(lambda: iter([(np.eye(2), [1, 2])]), encoder=IndexEncoder()).encoded()
    for train, test in ((svm, ffm), (ffm, svm)):
        with pytest.raises(ValueError, match=r"was fitted to files \w+ fields .* one format"):
            Rows(test, encoder=Rows(train).encoder_).encoded()


# What is wrong


@pytest.mark.parametrize("n_bytes", [1, 2**21])
@pytest.mark.parametrize(
    "text, word, reason",
    [
        ("1 1:1\n\n0 2:x\n", "line 3, '2:x'", "the value must be a number"),
        ("1 1:1\n0 2:\n", "line 2, '2:'", "must be feature:value"),
        ("1 1:1\n0 2\n", "line 2, '2'", "must be feature:value"),
        ("1 1:1\n0 -2:1\n", "line 2, '-2:1'", "must be feature:value"),
        ("1 1:1\n0 0:2:1 # c\n", "line 2, '0:2:1'", "must be feature:value"),
        ("1 1:1\n0 2:nan\n", "line 2, '2:nan'", "must be a finite number"),
        ("1 1:1 # c\nnan 2:1\n", "line 2, 'nan'", "must be a label: a finite number"),
        ("1 1:1\n1,2 2:1\n", "line 2, '1,2'", "must be a label"),
        ("1 1:1\n\n1 3:1 2:1\n", "row 1", "feature 2 follows feature 3; .* sorted and unique"),
        ("1 3:1\n1 2:1 2:1\n", "row 1", "feature 2 follows feature 2"),
    ],
)
def test_mistakes_are_named_with_their_line(write, monkeypatch, text, word, reason, n_bytes):
    monkeypatch.setattr(sparse_text, "CHUNK_BYTES", n_bytes)
    good, bad = write("1 1:1\n", text)
    with pytest.raises(ValueError, match=rf"1-rows.svm, {word}: .*{reason}"):
        Rows([good, bad]).encoded()


@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2", ".xz"])
@pytest.mark.parametrize("name", ["rows.svm", "rows.ffm"])
@pytest.mark.pairwise
def test_truncated_files(write, name, suffix):
    entry = "0:{0}:0.25" if "ffm" in name else "{0}:0.25"
    text = "".join(f"{row % 2} {entry.format(row)}\n" for row in range(3000))
    path = write(text, name=name + suffix)
    with open(path, "rb") as file:
        content = file.read()
    end = -20 if suffix else -len("0.25\n")
    with open(path, "wb") as file:
        file.write(content[:end])
    with pytest.raises(ValueError, match=rf"{name}{suffix}(, line 3000| cannot be decompressed)"):
        Rows(path).encoded()


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n"])
def test_empty_files(write, text):
    paths = write("1 1:1\n", text)
    with pytest.raises(ValueError, match=r"1-rows.svm is empty: it has no rows"):
        Rows(paths).encoded()


def test_names_of_columns(write):
    for name in ("target", "sample_weight"):
        with pytest.raises(ValueError, match=f"{name}='y' is the name of a column, but this"):
            Rows(write("1 1:1\n"), **{name: "y"}).encoded()
    with pytest.raises(ValueError, match="column_types are for Parquet and CSV files"):
        Rows(write("1 1:1\n"), column_types={"a": "string"})


def test_files_of_several_formats(write):
    svm, ffm = write("1 1:1\n"), write("1 0:1:1\n", name="rows.ffm")
    with pytest.raises(ValueError, match=r"rows.svm' has the format of svmlight, but .*rows.ffm'"):
        Rows([svm, ffm])
    for name in ("a.txt", "a.gz", "a.parquet.gz", "svm"):
        with pytest.raises(ValueError, match=rf"{name}' is not a file that can be read; known"):
            Rows(write("1 1:1\n", name=name))


def test_memory_is_bounded(write, monkeypatch):
    """A pass holds a few chunks of rows, however many there are."""
    monkeypatch.setattr(sparse_text, "CHUNK_BYTES", 2**14)
    line = "1 " + " ".join(f"{j}:0.5" for j in range(1, 50)) + "\n"
    peaks = []
    for path in write(line * 200, line * 2000):
        rows = Rows(path, chunk_rows=20)
        rows.encoder_  # noqa: B018
        tracemalloc.start()
        for _ in rows.chunks():
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]
