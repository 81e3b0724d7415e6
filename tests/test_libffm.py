"""Files of libffm against a slow and obvious parser, and there and back again."""

import bz2
import gzip
import io
import lzma
import os
import stat
import threading
import tracemalloc
from unittest import mock

import numpy as np
import pytest
from helpers import size
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy import sparse
from sklearn.datasets import load_svmlight_file

from skfm._utils import sparse_text
from skfm.datasets import _libffm, _libffm_reader, _libffm_writer, dump_libffm, load_libffm

pytestmark = pytest.mark.filterwarnings("error")

SMALL = b"1 0:0:1 1:3:0.5\n0 0:1:1 1:3:2\n"
POSIX = pytest.mark.skipif(os.name != "posix", reason="needs POSIX")


def load(text, **options):
    return load_libffm(io.BytesIO(text), **options)


def dump(X, y, **options):
    file = io.BytesIO()
    dump_libffm(X, y, file, **options)
    return file.getvalue()


def read_slowly(text):
    """Labels, and for each row the sums by field and feature."""
    labels, rows = [], []
    for line in text.split(b"\n"):
        label, *words = line.split() or [None]
        if label is None:
            continue
        row = {}
        for word in words:
            field, feature, value = word.split(b":")
            pair = int(field), int(feature)
            row[pair] = row.get(pair, 0.0) + float(value)
        labels.append(float(label))
        rows.append(row)
    return labels, rows


def expect(text, shift=0, n_features=None):
    """What load_libffm should give with on_shared="split": a dense X, y and fields."""
    labels, rows = read_slowly(text)
    pairs = sorted({(field, feature - shift) for row in rows for field, feature in row})
    if n_features is None:
        n_features = max((feature + 1 for _, feature in pairs), default=0)
    columns, fields = {}, [-1] * n_features
    for field, feature in pairs:  # by field, so the smallest comes first
        if fields[feature] < 0:
            columns[field, feature] = feature
            fields[feature] = field
    for field, feature in pairs:
        if (field, feature) not in columns:
            columns[field, feature] = len(fields)
            fields.append(field)
    X = np.zeros((len(rows), len(fields)))
    for i, row in enumerate(rows):
        for (field, feature), value in row.items():
            X[i, columns[field, feature - shift]] = value
    return X, np.array(labels), np.array(fields, dtype=np.int64)


def same(loaded, expected):
    (X, y, fields), (X0, y0, fields0) = loaded, expected
    assert sparse.isspmatrix_csr(X) and X.has_canonical_format and X.has_sorted_indices
    X.check_format(full_check=True)
    assert X.shape == X0.shape
    assert_array_equal(X.toarray(), X0)
    assert y.dtype == np.float64 and fields.dtype == np.int64
    assert_array_equal(y, y0)
    assert_array_equal(fields, fields0)


def chunks_of(n_bytes):
    return mock.patch.object(sparse_text, "CHUNK_BYTES", n_bytes)


# Eighths, whose sums are exact in any order.
NUMBERS = "0 1 7 64 007 +3 -1 -0 0.5 -2.125 1e2 25E-2 .5 3.".split()
SPACES = st.sampled_from([" ", " ", " ", "\t", "  ", " \t", "\v", "\f"])


@st.composite
def texts(draw, shared):
    """Text of a file with at least one row, in all the ways that white space allows."""
    lines = []
    for _ in range(draw(st.integers(1, 6))):
        words = [draw(st.sampled_from(NUMBERS))]
        for _ in range(draw(st.integers(0, 4))):
            feature = draw(st.sampled_from([1, 2, 3, 9, 10, 11, 123]))
            field = draw(st.integers(0, 12)) if shared else feature % 4
            value = draw(st.sampled_from(NUMBERS))
            zeros = draw(st.sampled_from(["", "", "", "00"]))
            words.append(f"{zeros}{field}:{zeros}{feature}:{value}")
        line = words[0] + "".join(draw(SPACES) + word for word in words[1:])
        lines.append(draw(st.sampled_from(["", "", " "])) + line)
        lines += draw(st.sampled_from([[], [], [""], [" \t", ""]]))
    text = draw(st.sampled_from(["\n", "\n", "\r\n"])).join(lines)
    return (text + draw(st.sampled_from(["", "\n", "\r\n", "\n\n"]))).encode()


@settings(max_examples=size(150, 150), deadline=None)
@given(text=texts(shared=False), n_bytes=st.integers(1, 200), float32=st.booleans())
def test_against_a_slow_parser(text, n_bytes, float32):
    dtype = np.float32 if float32 else np.float64
    with chunks_of(n_bytes):
        loaded = load(text, dtype=dtype)
    assert loaded[0].dtype == dtype
    same(loaded, expect(text))
    with chunks_of(n_bytes):
        same(load(text, zero_based=False), expect(text, shift=1))
        same(load(text, zero_based="auto", n_features=200), expect(text, 1, 200))


@settings(max_examples=size(150, 150), deadline=None)
@given(text=texts(shared=True), n_bytes=st.integers(1, 200))
def test_split_against_a_slow_parser(text, n_bytes):
    with chunks_of(n_bytes):
        same(load(text, on_shared="split"), expect(text))
        same(load(text, on_shared="split", n_features=124), expect(text, 0, 124))
        same(load(text, on_shared="split", zero_based=False), expect(text, shift=1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_many_rows_in_several_chunks(dtype):
    rng = np.random.default_rng(0)
    words = [
        [f"{j % 7}:{j}:{rng.standard_normal() * 10.0 ** rng.integers(-9, 9)!s}" for j in row]
        for row in (rng.choice(1000, rng.integers(0, 9), replace=False) for _ in range(2000))
    ]
    text = "".join(f"{i} {' '.join(row)}\n" for i, row in enumerate(words)).encode()
    X0, y0, fields0 = expect(text)
    with chunks_of(5000):
        X, y, fields = load(text, dtype=dtype)
    same((X, y, fields), (X0.astype(dtype), y0, fields0))
    assert X.nnz == sum(map(len, words))


@settings(max_examples=size(300, 300), deadline=None)
@given(value=st.floats(allow_nan=False, allow_infinity=False), style=st.sampled_from("rgef"))
def test_numbers_are_what_python_reads(value, style):
    number = repr(value) if style == "r" else f"{value:{style}}"
    X, y, _ = load(f"{number} 0:0:{number}\n".encode())
    assert_array_equal([X.data[0], y[0]], float(number))
    assert_array_equal(np.signbit([X.data[0], y[0]]), np.signbit(value))


@pytest.mark.parametrize("n_features", [None, 60])
@pytest.mark.parametrize(
    "lowest, zero_based", [(0, True), (0, "auto"), (1, True), (1, False), (1, "auto")]
)
def test_agrees_with_scikit_learn(n_features, lowest, zero_based):
    rng = np.random.default_rng(0)
    plain, fielded = "", ""
    for label in range(-20, 20):
        features = np.sort(rng.choice(50, label % 6, replace=False)) + lowest
        words = [f"{feature}:{rng.random():.3g}" for feature in features]
        plain += f"{label} {' '.join(words)}\n"
        words = [f"{j % 4}:{word}" for j, word in zip(features, words, strict=True)]
        fielded += f"{label} {' '.join(words)}\n"
    options = {"n_features": n_features, "zero_based": zero_based}
    X0, y0 = load_svmlight_file(io.BytesIO(plain.encode()), **options)
    X, y, fields = load(fielded.encode(), **options)
    assert fields.shape == X.shape[1:]
    assert X.shape == X0.shape and X.nnz == X0.nnz
    assert_array_equal(X.toarray(), X0.toarray())
    assert_array_equal(y, y0)


def test_stored_zeros_and_empty_rows():
    X, y, fields = load(b"5\n1 0:1:0 2:2:1\n-5 \n\n", n_features=4)
    assert_array_equal(X.indptr, [0, 0, 2, 2])
    assert_array_equal(X.indices, [1, 2])
    assert_array_equal(X.data, [0, 1])
    assert_array_equal(y, [5, 1, -5])
    assert_array_equal(fields, [-1, 0, 2, -1])


@pytest.mark.parametrize("zero_based", [True, False, "auto"])
def test_labels_only(zero_based):
    X, y, fields = load(b"1\n2\n", zero_based=zero_based)
    assert X.shape == (2, 0) and fields.shape == (0,)
    X, y, fields = load(b"1\n2", zero_based=zero_based, n_features=3)
    assert X.shape == (2, 3)
    assert_array_equal(y, [1, 2])
    assert_array_equal(fields, [-1, -1, -1])


def test_repeated_entries_are_summed():
    X, _, _ = load(b"1 0:7:1 1:2:3 0:7:0.5 0:7:2\n0 0:7:1\n")
    assert X.nnz == 3
    assert_array_equal(X[:, [2, 7]].toarray(), [[3, 3.5], [0, 1]])


@pytest.mark.parametrize("field", [2**53 + 1, 10**18 - 1, 10**18, 2**63 - 2])
def test_huge_ids_are_exact(field):
    _, _, fields = load(f"1 {field}:1:1 {2**31}:2:1 000{field}:3:1".encode())
    assert_array_equal(fields, [-1, field, 2**31, field])
    _, _, fields = load(f"1 5:0:1 {field}:0:1 {2**31}:1:1".encode(), on_shared="split")
    assert_array_equal(fields, [5, 2**31, field])


def test_huge_features_are_exact():  # as columns they would need a lot of memory
    rows = sparse_text.parse(f"1 0:{2**31 + 1}:1 1:{2**53 + 1}:1\n".encode())
    assert_array_equal(rows.features, [2**31 + 1, 2**53 + 1])
    text = f"1 0:1:1\n1 1:{10**17}:1\n".encode()
    with pytest.raises(ValueError, match=rf"line 2, '1:{10**17}:1': .*memory.*renumber or hash"):
        load(text)
    load(f"1 0:{'0' * 5000}1:1".encode())


@pytest.mark.parametrize("on_shared", ["raise", "split"])
def test_peak_memory(on_shared):
    n = 50_000
    text = b"".join(b"1 0:%d:1 1:%d:0.5 2:%d:1\n" % (i % 9, i % 7 + 9, 16) for i in range(n))
    file = io.BytesIO(text)
    tracemalloc.start()
    try:
        with chunks_of(2**14):
            X, y, _ = load_libffm(file, on_shared=on_shared)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    result = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes + y.nbytes
    # The parts are let go one kind after the other.
    assert peak < 1.8 * result


# Where from


def test_paths(tmp_path):
    expected = expect(SMALL)
    contents = {
        "a.ffm": SMALL,
        "a.txt.gz": gzip.compress(SMALL),
        "b.GZ": gzip.compress(SMALL),
        "c.bz2": bz2.compress(SMALL),
        "d.xz": lzma.compress(SMALL),
    }
    for name, content in contents.items():
        path = tmp_path / name
        path.write_bytes(content)
        same(load_libffm(path), expected)
        same(load_libffm(str(path)), expected)
    with pytest.raises(FileNotFoundError):
        load_libffm(tmp_path / "nowhere")


@pytest.mark.parametrize("buffering", [0, -1])
def test_file_objects(tmp_path, buffering):
    path = tmp_path / "file"
    path.write_bytes(b"what goes before\n" + SMALL)
    with path.open("rb", buffering=buffering) as file:
        file.readline()
        same(load_libffm(file), expect(SMALL))
        assert not file.closed and file.read() == b""
    path.write_bytes(gzip.compress(SMALL))
    with gzip.open(path) as file:
        same(load_libffm(file), expect(SMALL))


@pytest.mark.parametrize("file", [3, None, b"path", [SMALL]])
def test_neither_path_nor_file(file):
    with pytest.raises(TypeError, match="file must be a path or a binary file object"):
        load_libffm(file)
    with pytest.raises(TypeError, match="file must be a path or a binary file object"):
        dump_libffm([[1]], [1], file, fields=[0])


def test_text_files_are_refused():
    with pytest.raises(TypeError, match="open it in mode 'rb'"):
        load_libffm(io.StringIO(SMALL.decode()))
    with pytest.raises(TypeError, match="binary"):
        dump_libffm([[1]], [1], io.StringIO(), fields=[0])


# What is wrong with a file

BAD_ENTRIES = [
    *["0:1", "0:1:2:3", "0::1", ":1:1", "0:1:", "::", ":", "0:", "2", "x", "#"],
    *["a:1:1", "-1:1:1", "+1:1:1", "1.0:1:1", "1e0:1:1", "1_0:1:1", "0x1:1:1", "/:1:1"],
    *["0:a:1", "0:-1:1", "0:+1:1", "0:1.0:1", "0:1e0:1", "0:1_0:1", "0:0x1:1", "0:;:1"],
    *["0:1:a", "0:1:1_0", "0:1:0x1", "0:1:1-2", "0:1:1.2.3", "0:1:--1", "0:1:1e", "0:1:,"],
    *["0:1:nan", "0:1:inf", "0:1:-Infinity", "0:1:1e999", "0:1:1j", "0:1:1,5", "0:1:-", "0:1:."],
    *["0:1:1\x001", "0:1:1\x1f", "\x00:1:1", "1\x00", "0:1:\x7f", "0:1:\u0661", "\u0661:1:1"],
    *[f"{2**63 - 1}:1:1", f"0:{2**63 - 1}:1", f"0:{10**19}:1", f"0:{10**40}:1", f"{10**19}:1:1"],
]
BAD_LABELS = ["a", "nan", "-inf", "1e999", "1_0", "0:1:1", "1:", ":1", "1:2", ":", "1,5", "\x00"]


def quoted(word):
    text = word.encode().decode("ascii", "backslashreplace")
    return f"'{text}'"


@pytest.mark.parametrize("n_bytes", [1, 2**21])
@pytest.mark.parametrize("word", BAD_ENTRIES)
def test_bad_entries(word, n_bytes):
    for line in ("1 {}", "1 {} 1:2:3", "1 1:2:3 {}", "1 1:2:3\t{} 1:3:3\r"):
        text = f"1 0:0:1\r\n\n{line.format(word)}\n0 0:0:1\n".encode()
        with chunks_of(n_bytes), pytest.raises(ValueError) as error:
            load(text)
        assert str(error.value).startswith(f"file, line 3, {quoted(word)}: ")


@pytest.mark.parametrize("n_bytes", [1, 2**21])
@pytest.mark.parametrize("word", BAD_LABELS)
def test_bad_labels(word, n_bytes):
    for line in ("{}", "{} 1:2:3", " {} 1:2:3 1:3:3\r"):
        text = f"1 0:0:1\r\n\n{line.format(word)}\n0 0:0:1\n".encode()
        with chunks_of(n_bytes), pytest.raises(ValueError) as error:
            load(text)
        assert str(error.value).startswith(f"file, line 3, {quoted(word)}: ")
        assert "label" in str(error.value)


@settings(max_examples=size(150, 150), deadline=None)
@given(
    text=texts(shared=False),
    place=st.integers(0, 1000),
    bad=st.sampled_from([*BAD_ENTRIES, "9:1:1", "0:300:1"]),
    n_bytes=st.integers(1, 200),
)
def test_the_first_bad_word_is_named(text, place, bad, n_bytes):
    """Wherever it is in a text, and if all that follows is bad as well."""
    lines = text.split(b"\n")
    full = [number for number, line in enumerate(lines) if line.split()]
    number = full[place % len(full)]
    words = lines[number].split()
    words.insert(1 + place % len(words), bad.encode())
    lines[number] = b" ".join(words)
    if place % 2:
        lines[number + 1 :] = [b"1 x"] * 3
    after = [b"1 0:0:1 1:1:1 2:2:1 3:3:1"] if bad == "9:1:1" else []
    text = b"\n".join([*after, *lines])
    with chunks_of(n_bytes), pytest.raises(ValueError) as error:
        load(text, n_features=200)
    start = f"file, line {number + 1 + len(after)}, {quoted(bad)}: "
    assert str(error.value).startswith(start)


def test_a_bad_word_among_many_is_found_quickly():
    lines = [b"1 " + b" ".join(b"0:%d:1" % j for j in range(1000)) for _ in range(100)]
    lines[70] = lines[70].replace(b"0:900:1", b"1:900:1")
    with (
        mock.patch.object(_libffm_reader, "parse", wraps=sparse_text.parse) as parse,
        pytest.raises(ValueError, match="line 71, '1:900:1': feature 900 occurs in"),
    ):
        load(b"\n".join(lines))
    assert parse.call_count < 30


def test_what_is_wrong_cannot_cancel_out():
    # The right numbers of numbers and of colons, in the wrong places.
    for text in (b"1 0:1:1 0: 1:1", b"1 0:1 :1", b"1 0::1 1", b"1:1 0:1 1", b"1 0:1:1:1 0:1 1"):
        with pytest.raises(ValueError, match="line 1"):
            load(text)
    for text in (b"1 0:1\n1:1\n", b"1 0:1:1 0\n1:1\n", b"1 0 5:1:\n", b"1 :0 5:1\n"):
        with pytest.raises(ValueError, match="line 1"):
            load(text)


def test_long_words_are_cut():
    with pytest.raises(ValueError) as error:
        load(b"1 0:1:1" + 1000 * b"x")
    assert "'0:1:1xxx" in str(error.value) and len(str(error.value)) < 200


def test_the_path_is_named(tmp_path):
    path = tmp_path / "bad.ffm"
    path.write_bytes(b"1 0:0:1\n1 0:x:1")
    with pytest.raises(ValueError) as error:
        load_libffm(path)
    assert str(error.value).startswith(f"{path}, line 2, '0:x:1': ")


@pytest.mark.parametrize("text", [b"", b"\n", b" \r\n\t\n"])
def test_no_rows(text):
    with pytest.raises(ValueError, match="file is empty"):
        load(text)


def test_too_large_for_float32():
    text = b"1 0:0:1\n\n2 0:0:3e38 0:1:3e39\n"
    load(text)
    with pytest.raises(ValueError, match=r"line 3, '0:1:3e39': .*; use dtype=np.float64"):
        load(text, dtype=np.float32)
    text = b"1 0:0:1\n2 0:1:3e38 1:0:1 0:1:3e38\n"
    load(text, on_shared="split")
    with pytest.raises(ValueError, match=r"row 1 of X .*sum is too large for float32"):
        load(text, dtype=np.float32, on_shared="split")


def test_labels_stay_float64():
    _, y, _ = load(b"1e300 0:0:1\n", dtype=np.float32)
    assert y[0] == 1e300


@pytest.mark.parametrize("n_bytes", [1, 2**21])
@pytest.mark.parametrize(
    "text, options, word",
    [
        (b"1 0:0:1\n1 0:3:1 0:4:1 0:5:1", {"n_features": 4}, "0:4:1"),
        (b"1 0:0:1\n1 0:3:1 0:4:1 0:5:1", {"n_features": 4, "zero_based": "auto"}, "0:4:1"),
        (b"1 0:4:1\n1 0:3:1 0:0:1 0:1:1", {"n_features": 4, "zero_based": "auto"}, "0:0:1"),
        (b"1 0:1:1\n1 0:4:1 0:5:1 0:6:1", {"n_features": 4, "zero_based": "auto"}, "0:5:1"),
        (b"1 0:1:1\n1 0:4:1 0:5:1 0:6:1", {"n_features": 4, "zero_based": False}, "0:5:1"),
        (b"1 0:1:1\n1 0:4:1 0:0:1", {"zero_based": False}, "0:0:1"),
        (b"1\n1 0:0:1", {"n_features": 0}, "0:0:1"),
    ],
)
def test_features_out_of_range(text, options, word, n_bytes):
    with chunks_of(n_bytes), pytest.raises(ValueError, match=f"line 2, '{word}': "):
        load(text, **options)


def test_features_in_range():
    for zero_based in (False, "auto"):
        X, _, fields = load(b"1 0:4:1\n1 0:1:1", n_features=4, zero_based=zero_based)
        assert_array_equal(X.toarray(), [[0, 0, 0, 1], [1, 0, 0, 0]])
        assert_array_equal(fields, [0, -1, -1, 0])
    X, _, _ = load(b"1 0:4:1\n1 0:1:1", n_features=5)
    assert_array_equal(X.indices, [4, 1])


@pytest.mark.parametrize(
    "options, error, name",
    [
        ({"n_features": -1}, ValueError, "n_features"),
        ({"n_features": 2.0}, TypeError, "n_features"),
        ({"dtype": np.float16}, ValueError, "dtype"),
        ({"dtype": np.int64}, ValueError, "dtype"),
        ({"zero_based": "yes"}, ValueError, "zero_based"),
        ({"zero_based": 1}, TypeError, "zero_based"),
        ({"on_shared": "drop"}, ValueError, "on_shared"),
    ],
)
def test_bad_options(options, error, name):
    with pytest.raises(error, match=name):
        load(SMALL, **options)


# Features under several fields


@pytest.mark.parametrize("n_bytes", [1, 2**21])
@pytest.mark.parametrize("zero_based", [True, False])
def test_shared_features_raise(n_bytes, zero_based):
    text = b"1 3:5:1 0:7:1\n\n1 0:7:2 3:5:1\n0 0:9:1 2:7:4 1:7:4\n1 3:7:1\n"
    with chunks_of(n_bytes), pytest.raises(ValueError) as error:
        load(text, zero_based=zero_based)
    message = str(error.value)
    assert message.startswith("file, line 4, '2:7:4': feature 7 occurs in the fields 0 and 2;")
    assert "on_shared='split'" in message


def test_shared_within_a_row_raises():
    with pytest.raises(ValueError, match=r"line 1, '0:7:1': feature 7 .* fields 4 and 0;"):
        load(b"1 4:7:1 0:7:1\n")


@pytest.mark.parametrize("n_bytes", [1, 2**21])
def test_split(n_bytes):
    text = b"1 2:0:1 3:1:2\n1 1:0:3 0:2:4\n1 300:0:5 1:0:6 1:0:1\n1 2:2:7 2:0:8 2:2:1\n"
    with chunks_of(n_bytes):
        X, _, fields = load(text, on_shared="split")
    # Columns 0 to 2: features 0 to 2 under the fields 1, 3, 0. Then (2, 0), (2, 2), (300, 0).
    assert_array_equal(fields, [1, 3, 0, 2, 2, 300])
    assert_array_equal(
        X.toarray(),
        [[0, 2, 0, 1, 0, 0], [3, 0, 4, 0, 0, 0], [7, 0, 0, 0, 0, 5], [0, 0, 0, 8, 8, 0]],
    )


def test_split_of_a_file_without_shared_features():
    same(load(SMALL, on_shared="split"), expect(SMALL))
    same(load(SMALL, on_shared="split", n_features=9), expect(SMALL, 0, 9))


# Writing


def test_text():
    X = [[1, 0, 0.5, -2], [0, 0, 0, 0], [1e20, 1e-7, 0.1, 123456789]]
    text = dump(X, [1, -1, 0.25], fields=[3, 0, 3, 2**40])
    assert text == (
        b"1 3:0:1 3:2:0.5 1099511627776:3:-2\n"
        b"-1\n"
        b"0.25 3:0:1e+20 0:1:1e-07 3:2:0.1 1099511627776:3:123456789\n"
    )
    assert dump([[0, 1]], [True], fields=[0, 5], zero_based=False) == b"1 5:2:1\n"
    X = np.array([[0.1, 1, 1e10]], dtype=np.float32)
    text = dump(X, np.array([0.2], dtype=np.float32), fields=[0, 0, 0])
    assert text == b"0.2 0:0:0.1 0:1:1 0:2:10000000000\n"


def test_labels_of_any_type():
    rows = [[1.0], [1.0]]
    for y in ([1, 0], [1.0, 0.0], [True, False], np.array([1, 0], dtype=object)):
        assert dump(rows, y, fields=[0]) == b"1 0:0:1\n0 0:0:1\n"
    assert dump(rows, [2**62 + 1, -1], fields=[0]).startswith(b"4611686018427387905 ")
    assert dump(rows, np.array([0.1, 1], dtype=np.float16), fields=[0]).startswith(b"0.0999755")


@st.composite
def tables(draw):
    """X, y, fields; values of all sizes in float32 or float64."""
    dtype, width = draw(st.sampled_from([(np.float32, 32), (np.float64, 64)]))
    shape = draw(st.integers(1, 6)), draw(st.integers(0, 6))
    number = st.floats(allow_nan=False, allow_infinity=False, width=width)
    number = st.one_of(st.just(0.0), st.integers(-3, 3).map(float), number)
    n = shape[0] * shape[1]
    X = np.array(draw(st.lists(number, min_size=n, max_size=n)), dtype=dtype).reshape(shape)
    y = np.array(draw(st.lists(number, min_size=shape[0], max_size=shape[0])), dtype=dtype)
    ids = st.integers(0, 5) | st.integers(0, 2**63 - 2)
    fields = np.array(draw(st.lists(ids, min_size=shape[1], max_size=shape[1])), dtype=np.int64)
    return X, y, fields


@settings(max_examples=size(200, 200), deadline=None)
@given(
    table=tables(),
    kind=st.sampled_from([np.asarray, sparse.csr_matrix, sparse.coo_matrix, sparse.csc_array]),
    zero_based=st.booleans(),
    block=st.integers(1, 10),
)
def test_round_trip(table, kind, zero_based, block):
    X, y, fields = table
    with mock.patch.object(_libffm_writer, "BLOCK_ENTRIES", block):
        text = dump(kind(X), y, fields=fields, zero_based=zero_based)
    assert text == dump(X, y, fields=fields, zero_based=zero_based)
    X2, y2, fields2 = load(text, n_features=X.shape[1], dtype=X.dtype.type, zero_based=zero_based)
    assert X2.dtype == X.dtype
    assert_array_equal(X2.toarray(), X)
    assert_array_equal(y2.astype(y.dtype), y)
    used = (X != 0).any(axis=0)
    assert_array_equal(fields2, np.where(used, fields, -1))
    if (fields2 >= 0).all():
        assert dump(X2, y2.astype(y.dtype), fields=fields2, zero_based=zero_based) == text


@pytest.mark.parametrize("sign", [1, -1])
def test_float32_that_double_rounding_would_change(sign):
    value = np.float32(sign) * np.uint32(0x15AE43FD).view(np.float32)
    # The shortest decimal of this one is so near the middle of two that float64 takes the middle.
    assert np.float32(float(np.format_float_scientific(value))) != value
    text = dump(np.array([[value]]), np.array([value]), fields=[0])
    X, y, _ = load(text, dtype=np.float32)
    assert X.data[0] == value and y.astype(np.float32)[0] == value


def test_negative_zero():
    X = sparse.csr_matrix(np.ones((1, 2)))
    for dtype in (np.float32, np.float64):
        X.data = np.array([-0.0, 0.0], dtype=dtype)
        text = dump(X, np.array([-0.0], dtype=dtype), fields=[0, 0])
        assert text == b"-0 0:0:-0 0:1:0\n"
        X2, y2, _ = load(text, dtype=dtype)
        assert_array_equal(np.signbit([*X2.data, *y2]), [True, False, True])


def test_damaged_order_is_put_right():
    X = sparse.csr_matrix(([1.0, 2.0, 4.0], [2, 0, 2], [0, 3]), shape=(1, 3))
    before = X.copy()
    assert dump(X, [1], fields=[0, 0, 1]) == b"1 0:0:2 1:2:5\n"
    assert_array_equal(X.indices, before.indices)
    assert_array_equal(X.data, before.data)


DAMAGES = {
    "cut off": lambda content: content[:-20],
    "cut off early": lambda content: content[:12],
    "other bytes": lambda content: content[:40] + bytes(20) + content[60:],
    "other checksum": lambda content: content[:-8] + bytes(8),
    "not compressed": lambda content: SMALL,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_damaged_compressed_files(tmp_path, kind, damage):
    packed = {"gz": gzip, "bz2": bz2, "xz": lzma}[kind]
    text = b"".join(b"%d 0:%d:1\n" % (row % 2, row * 7 % 1000) for row in range(2000))
    path = tmp_path / f"rows.{kind}"
    path.write_bytes(DAMAGES[damage](packed.compress(text)))
    with pytest.raises(ValueError, match=rf"rows\.{kind} cannot be decompressed .* again\."):
        load_libffm(path)
    with packed.open(path) as file, pytest.raises(ValueError, match=r"^file cannot be decompr"):
        load_libffm(file)


def test_errors_of_the_system_stay_as_they_are(tmp_path):
    for name in ("none.ffm", "none.gz", "none.bz2", "none.xz"):
        with pytest.raises(FileNotFoundError, match=name):
            load_libffm(tmp_path / name)
    with open(tmp_path / "rows", "wb") as file, pytest.raises(io.UnsupportedOperation):
        load_libffm(file)


@pytest.mark.parametrize("name", ["a.ffm", "a.ffm.gz", "a.bz2", "a.xz", "A.GZ"])
def test_written_paths(tmp_path, name):
    X, y, fields = load(SMALL)
    path = tmp_path / name
    for target in (path, str(path)):
        dump_libffm(X, y, target, fields=fields)
        content = path.read_bytes()
        packed = {".gz": gzip, ".bz2": bz2, ".xz": lzma}.get(path.suffix.lower())
        assert (packed.decompress(content) if packed else content) == SMALL
        assert packed is not gzip or content[3:8] == bytes(5)  # neither name nor time inside
        same(load_libffm(path), expect(SMALL))
    assert list(tmp_path.iterdir()) == [path]


def test_written_file_objects(tmp_path):
    X, y, fields = load(SMALL)
    with (tmp_path / "file").open("wb") as file:
        file.write(b"7\n")
        dump_libffm(X, y, file, fields=fields)
        assert not file.closed
        dump_libffm(X, y, file, fields=fields)
    assert (tmp_path / "file").read_bytes() == b"7\n" + SMALL + SMALL


@pytest.mark.parametrize("name", ["a.ffm", "a.gz"])
def test_all_or_nothing(tmp_path, name, monkeypatch):
    X, y, fields = load(SMALL)
    path = tmp_path / name

    def breaks_down(*_):
        yield b"1 0:0:1\n"
        raise OSError("disk full")

    monkeypatch.setattr(_libffm, "write_rows", breaks_down)
    with pytest.raises(OSError, match="disk full"):
        dump_libffm(X, y, path, fields=fields)
    assert not list(tmp_path.iterdir())
    path.write_bytes(b"before")
    with pytest.raises(OSError, match="disk full"):
        dump_libffm(X, y, path, fields=fields)
    with pytest.raises(ValueError):
        dump_libffm(X, [0, np.nan], path, fields=fields)
    assert list(tmp_path.iterdir()) == [path] and path.read_bytes() == b"before"


def test_file_objects_get_nothing_of_what_is_wrong():
    file = io.BytesIO()
    with pytest.raises(ValueError):
        dump_libffm([[1], [1]], [0, np.nan], file, fields=[0])
    assert file.getvalue() == b""


@POSIX
def test_links_and_modes_stay(tmp_path):
    X, y, fields = load(SMALL)
    target, link = tmp_path / "target", tmp_path / "link.gz"
    target.write_bytes(b"")
    target.chmod(0o600)
    link.symlink_to(target)
    dump_libffm(X, y, link, fields=fields)
    assert link.is_symlink() and target.read_bytes() == SMALL  # the target's name says how
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


@POSIX
def test_pipes_are_written_to(tmp_path):
    X, y, fields = load(SMALL)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()), daemon=True)
    reader.start()
    dump_libffm(X, y, pipe, fields=fields)
    reader.join(timeout=10)
    assert got == [SMALL] and pipe.is_fifo()


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"X": [[1.0, np.nan], [0, 1]]}, "X contains NaN or infinity; replace"),
        ({"X": [[1.0, np.inf], [0, 1]]}, "X contains NaN or infinity; replace"),
        ({"X": sparse.csr_matrix([[1.0, np.nan], [0, 1]])}, "X contains NaN or infinity"),
        ({"X": [1.0, 2.0]}, "Expected 2D array"),
        ({"X": [["a", "b"], ["c", "d"]]}, "could not convert"),
        ({"X": np.ones((0, 2))}, "0 sample"),
        ({"y": [1]}, r"y.shape == \(1,\), expected \(2,\)"),
        ({"y": [[1], [0]]}, r"y.shape == \(2, 1\), expected \(2,\)"),
        ({"y": [1, np.nan]}, "y contains NaN or infinity; replace"),
        ({"y": [1, -np.inf]}, "y contains NaN or infinity"),
        ({"y": [1, None]}, "y must contain numbers|y contains NaN"),
        ({"y": ["a", "b"]}, "y must contain numbers .*LabelEncoder"),
        ({"y": ["1", "0"]}, "y must contain numbers"),
        ({"y": np.array(["a", 1], dtype=object)}, "y must contain numbers"),
        ({"y": [1j, 1]}, "y must contain numbers"),
        ({"y": np.array([0, 1], dtype="M8[s]")}, "y must contain numbers"),
        ({"fields": [0]}, r"fields.shape == \(1,\), expected \(2,\)"),
        ({"fields": [0, 1, 2]}, r"fields.shape == \(3,\), expected \(2,\)"),
        ({"fields": [[0, 1]]}, r"fields.shape == \(1, 2\), expected \(2,\)"),
        ({"fields": [0, -1]}, r"fields\[1\] == -1, .*at least 0"),
        ({"fields": [0.5, 1]}, r"fields\[0\] == 0.5, "),
        ({"fields": [0, np.nan]}, r"fields\[1\] == nan, "),
        ({"fields": np.array([1, 2**63], dtype=np.uint64)}, r"fields\[1\] == 9223372036854775808"),
        ({"fields": ["a", "b"]}, "fields must contain integers"),
        ({"fields": [True, False]}, "fields must contain integers"),
        ({"fields": [None, 1]}, "fields must contain integers"),
    ],
)
def test_what_cannot_be_written(tmp_path, changed, message):
    arguments = {"X": [[1.0, 2.0], [0.0, 1.0]], "y": [1, 0], "fields": [0, 1]} | changed
    with pytest.raises(ValueError, match=message):
        dump_libffm(file=tmp_path / "file", **arguments)
    assert not list(tmp_path.iterdir())


def test_zero_based_is_a_flag():
    with pytest.raises(TypeError, match="zero_based"):
        dump([[1]], [1], fields=[0], zero_based="auto")


def test_fields_of_unused_columns_do_not_matter():
    X = [[1, 0, 2], [0, 0, 1]]
    for unused in (-1, 7, np.nan, 0.5, -np.inf):
        assert dump(X, [1, 0], fields=[4, unused, 0]) == b"1 4:0:1 0:2:2\n0 0:2:1\n"
    stored = sparse.csr_matrix(([1.0, 0.0], [0, 1], [0, 2]), shape=(1, 3))
    assert dump(stored, [1], fields=[0, 1, -1]) == b"1 0:0:1 1:1:0\n"
    with pytest.raises(ValueError, match=r"fields\[1\] == -1"):
        dump(stored, [1], fields=[0, -1, -1])
