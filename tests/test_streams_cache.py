"""Encoded rows on disk: written by chunks, read in pieces; damage, full disks, shared folders."""

import errno
import gc
import json
import pickle
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import sparse

from skfm.preprocessing import TableEncoder
from skfm.streams import Rows, _cache
from skfm.streams._cache import CacheWriter, EncodedRows

N_FEATURES = 50


def make_chunk(n_rows, seed, *, ones=False, dtype=np.float32):
    X = sparse.random(n_rows, N_FEATURES, 0.1, "csr", dtype, random_state=seed)
    if ones:
        X.data[:] = 1
    X.sort_indices()
    return X, np.random.default_rng(seed).normal(size=n_rows)


def write(folder, chunks, weights=None, *, dtype=np.float32, is_shuffled=True, **known):
    folder.mkdir()
    weights = weights or [None] * len(chunks)
    kind = chunks[0][1].dtype
    with CacheWriter(folder, dtype=dtype, target_dtype=kind, is_shuffled=is_shuffled) as writer:
        for (X, y), weight in zip(chunks, weights, strict=True):
            writer.add(X, y, weight)
        known = {
            "target_dtype": np.float64,
            "labels": None,
            "feature_labels": {},
            "settings": {},
        } | known
        writer.finish(n_features=N_FEATURES, **known)
    return EncodedRows(folder)


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(_cache, "PIECE_ROWS", 8)


def assert_same(X, expected):
    assert X.has_canonical_format
    assert X.dtype == expected.dtype
    assert X.indices.dtype == X.indptr.dtype == np.int32
    assert X.shape == expected.shape
    for name in ("indptr", "indices", "data"):
        assert_array_equal(getattr(X, name), getattr(expected, name))


@pytest.mark.parametrize("is_shuffled", [True, False])
@pytest.mark.parametrize("ones", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.pairwise
def test_read_all_returns_the_rows_in_their_order(
    tmp_path, small_pieces, is_shuffled, ones, dtype
):
    chunks = [make_chunk(n, n, ones=ones, dtype=dtype) for n in (20, 0, 8, 3)]
    rows = write(tmp_path / "rows", chunks, dtype=dtype, is_shuffled=is_shuffled)
    X, y, weight = rows.read_all()
    assert_same(X, sparse.vstack([X for X, _ in chunks], format="csr"))
    assert_array_equal(y, np.concatenate([y for _, y in chunks]))
    assert weight is None
    assert not rows.has_weight
    assert (tmp_path / "rows" / "data").exists() is not ones
    assert (rows.n_rows, rows.n_features, rows.n_entries) == (31, N_FEATURES, X.nnz)
    assert rows.dtype == dtype
    assert rows.piece_rows.tolist() == [8, 8, 4, 8, 3]
    assert rows.piece_entries.sum() == X.nnz


@pytest.mark.parametrize(
    "pieces", [[0], [3, 1], [0, 1, 2, 3], [2, 3, 0, 1], [1, 1, 2], [4], [], range(5)]
)
def test_read_returns_pieces_in_the_given_order(tmp_path, small_pieces, pieces):
    chunks = [make_chunk(20, 0), make_chunk(11, 1)]
    weights = [np.arange(20, dtype=np.float32), None]
    rows = write(tmp_path / "rows", chunks, weights, is_shuffled=False)
    starts = np.array([0, 8, 16, 20, 28])
    order = [row for p in pieces for row in range(starts[p], starts[p] + rows.piece_rows[p])]
    X, y, weight = rows.read(pieces)
    assert_same(X, sparse.vstack([X for X, _ in chunks], format="csr")[order])
    assert_array_equal(y, np.concatenate([y for _, y in chunks])[order])
    assert_array_equal(weight, np.append(weights[0], np.ones(11))[order])
    assert weight.dtype == np.float32
    for one, other in zip(rows.read_targets(pieces), (y, weight), strict=True):
        assert_array_equal(one, other)


@pytest.mark.parametrize("pieces", [[5], [-1]])
def test_pieces_that_do_not_exist(tmp_path, small_pieces, pieces):
    rows = write(tmp_path / "rows", [make_chunk(40, 0)])
    with pytest.raises(IndexError, match="There are 5 pieces"):
        rows.read(pieces)


def test_rows_are_shuffled_within_their_chunk_always_alike(tmp_path):
    chunks = [make_chunk(100, 0), make_chunk(100, 1)]
    rows = write(tmp_path / "rows", chunks)
    for piece, (_, targets) in enumerate(chunks):
        y, _ = rows.read_targets([piece])
        assert sorted(y) == sorted(targets)
        assert (y != targets).sum() > 90
    assert_array_equal(_cache.shuffled(6, 3), [3, 5, 4, 1, 0, 2])  # files outlive this version
    assert not np.array_equal(_cache.shuffled(100, 0), _cache.shuffled(100, 1))


def test_weights_begin_with_the_first_that_is_not_1(tmp_path, small_pieces):
    chunks = [make_chunk(10, 0), make_chunk(10, 1), make_chunk(10, 2)]
    weights = [None, np.full(10, 2, np.float32), np.ones(10, np.float32)]
    rows = write(tmp_path / "rows", chunks, weights)
    assert rows.has_weight
    assert_array_equal(rows.read_all()[2], np.repeat([1, 2, 1], 10))


def test_labels_are_sorted(tmp_path):
    chunk = make_chunk(4, 0)[0], np.array([0, 1, 2, 0], np.int32)
    rows = write(tmp_path / "rows", [chunk], labels=["b", "c", "a"], is_shuffled=False)
    assert rows.labels.tolist() == ["a", "b", "c"]
    assert rows.read([0])[1].tolist() == [1, 2, 0, 1]


def test_labels_of_features_are_attached(tmp_path):
    labels = {
        "feature_fields": np.repeat(["a", "b"], 25),
        "feature_groups": np.arange(N_FEATURES),
    }
    rows = write(tmp_path / "rows", [make_chunk(9, 0), make_chunk(9, 1)], feature_labels=labels)
    for X in (rows.read([1, 0])[0], rows.read_all()[0], rows):
        assert_array_equal(X.feature_fields, labels["feature_fields"])
        assert_array_equal(X.feature_groups, labels["feature_groups"])


def test_threads_read_at_the_same_time(tmp_path, small_pieces):
    rows = write(tmp_path / "rows", [make_chunk(200, seed) for seed in range(5)])
    expected = [rows.read([piece])[0] for piece in range(rows.piece_rows.size)]
    with ThreadPoolExecutor(4) as pool:
        for X, other in zip(
            pool.map(lambda piece: rows.read([piece])[0], range(len(expected))),
            expected,
            strict=True,
        ):
            assert_same(X, other)


# Damage


@pytest.fixture
def damaged(tmp_path, small_pieces):
    write(
        tmp_path / "rows",
        [make_chunk(20, 0), make_chunk(20, 1)],
        [np.full(20, 2, np.float32)] * 2,
        feature_labels={"feature_fields": np.arange(N_FEATURES)},
    )
    return tmp_path / "rows"


@pytest.mark.parametrize("name", ["lengths", "indices", "data", "target", "weight"])
def test_a_flipped_bit_is_found(damaged, name):
    content = bytearray((damaged / name).read_bytes())
    content[len(content) // 2] ^= 1
    (damaged / name).write_bytes(content)
    with pytest.raises(
        ValueError, match=rf"file .*{name} .* damaged: .*of piece 3 is.*Delete the"
    ):
        EncodedRows(damaged).read(range(6))


FILES = "lengths", "indices", "data", "target", "weight", "features.npz", "manifest.json"


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["truncated", "longer", "missing", "empty"])
def test_files_of_another_size_are_found(damaged, name, damage):
    path = damaged / name
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        size = {"truncated": len(content) // 2, "longer": len(content), "empty": 0}[damage]
        path.write_bytes(content[:size] + b"x" * (damage == "longer"))
    if (name, damage) == ("features.npz", "longer"):  # which zip archives may be
        assert EncodedRows(damaged).feature_fields.size == N_FEATURES
        return
    with pytest.raises(ValueError, match=rf"file .*{name} of encoded rows is damaged.*Delete"):
        EncodedRows(damaged)


def test_manifests_of_other_versions_and_of_others(damaged):
    path = damaged / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"version": 2}))
    with pytest.raises(ValueError, match="another version of skfm"):
        EncodedRows(damaged)
    path.write_text(json.dumps({"name": "of a web page"}))
    with pytest.raises(ValueError, match="not a manifest of encoded rows"):
        EncodedRows(damaged)


def test_a_file_that_shrinks_while_it_is_read(damaged):
    rows = EncodedRows(damaged)
    (damaged / "target").write_bytes(b"")
    with pytest.raises(ValueError, match=r"target .*damaged: it ends too early"):
        rows.read_targets([0])


def test_a_file_that_disappears(damaged):
    rows = EncodedRows(damaged)
    (damaged / "indices").unlink()
    with pytest.raises(ValueError, match=r"indices .*damaged: it is missing"):
        rows.read([0])


# Folders


class Numbers:
    """A source of chunks of numbers, which counts how often it is read."""

    def __init__(self, n_chunks=3, fail_at=None):
        self.n_chunks, self.fail_at, self.n_passes = n_chunks, fail_at, 0

    def __call__(self):
        self.n_passes += 1
        for seed in range(self.n_chunks):
            if seed == self.fail_at:
                raise RuntimeError("the source has failed")
            yield make_chunk(10, seed)


def files_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder for temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def test_temporary_files_are_removed_with_the_rows(temporary):
    rows = Rows(Numbers(), chunk_rows=10)
    encoded = rows.encoded()
    assert rows.encoded() is encoded
    assert len(list(temporary.iterdir())) == 1
    del rows
    gc.collect()
    assert encoded.read_all()[0].shape == (30, N_FEATURES)
    del encoded
    gc.collect()
    assert files_in(temporary) == []


def test_temporary_files_are_removed_at_the_end_of_the_process(tmp_path):
    code = """
        import os, sys, tempfile
        import numpy as np
        from skfm.streams import Rows

        tempfile.tempdir = sys.argv[1]
        rows = Rows(lambda: iter([(np.eye(3), np.arange(3))]))
        rows.encoded()
        if hasattr(os, "fork"):
            if os.fork() == 0:
                sys.exit()  # with all that a process does at its end
            os.wait()
            assert len(os.listdir(sys.argv[1])) == 1
    """
    run_python(code, tmp_path)
    assert files_in(tmp_path) == []


def run_python(code, *arguments):
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("has_cache", [True, False])
def test_a_failed_pass_leaves_nothing(tmp_path, temporary, has_cache):
    cache = tmp_path / "cache" if has_cache else None
    rows = Rows(Numbers(fail_at=2), chunk_rows=10, cache=cache)
    with pytest.raises(RuntimeError, match="the source has failed"):
        rows.encoded()
    assert files_in(temporary) == []
    assert not has_cache or files_in(cache) == []
    rows.source.fail_at = None
    assert rows.encoded().n_rows == 30


def table():
    return {"user": ["ann", "bob", "eve", "bob"], "n": [1.5, 2.5, 3.5, 0.5], "y": [1, 2, 3, 4]}


@pytest.fixture
def parquet(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    (tmp_path / "source").mkdir()
    path = tmp_path / "source" / "rows.parquet"
    parquet.write_table(pa.table(table()), path)
    return path


def test_a_cache_is_used_again(tmp_path, parquet, monkeypatch):
    first = Rows(parquet, target="y", cache=tmp_path / "cache", chunk_rows=2)
    X, y, _ = first.encoded().read_all()
    again = Rows(parquet, target="y", cache=str(tmp_path / "cache"), chunk_rows=2)
    monkeypatch.setattr(type(again._opened), "chunks", None)  # the source is not read again
    other, other_y, _ = again.encoded().read_all()
    assert_same(other, X)
    assert_array_equal(other_y, y)
    assert again.n_rows == 4
    names = first.encoder_.get_feature_names_out().tolist()
    assert again.encoder_.get_feature_names_out().tolist() == names
    assert again.encoded().feature_names.tolist() == names
    assert files_in(tmp_path / "cache")[0] == "encoded-rows"


ENCODERS = {
    "unfitted": lambda: TableEncoder(n_bins=5),
    "fitted": lambda: TableEncoder().fit({"user": ["ann", "x"], "n": [1.0, 2.0]}),
}


@pytest.mark.full
@pytest.mark.parametrize("which", ENCODERS)
def test_fingerprints_are_the_same_in_other_processes(tmp_path, parquet, which):
    code = """
        import sys
        import pandas as pd
        from skfm.preprocessing import TableEncoder
        from skfm.streams import Rows

        encoder = TableEncoder(n_bins=5)
        if sys.argv[3] == "fitted":
            encoder.fit(pd.DataFrame({"user": ["ann", "x"], "n": [1.0, 2.0]}))
        print(Rows(sys.argv[1], target="y", encoder=encoder, cache=sys.argv[2]).encoded().n_rows)
    """
    pytest.importorskip("pandas")
    for _ in range(2):
        assert run_python(code, parquet, tmp_path / "cache", which) == "4\n"


CHANGES = {
    "target": ({"target": "n"}, "target='y' instead of 'n'"),
    "weight": ({"sample_weight": "n"}, "sample_weight=None instead of 'n'"),
    "encoder": ({"encoder": TableEncoder(numbers="number")}, "another encoder"),
    "chunk_rows": ({"chunk_rows": 3}, "chunk_rows=2 instead of 3"),
    "dtype": ({"dtype": np.float64}, "dtype='float32' instead of 'float64'"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_cache_of_other_rows_is_refused(tmp_path, parquet, change):
    cache, (changed, message) = tmp_path / "cache", CHANGES[change]
    same = {"target": "y", "cache": cache, "chunk_rows": 2}
    Rows(parquet, **same).encoded()
    before = files_in(cache)
    with pytest.raises(ValueError, match=rf"{message}\. Delete the folder .*encoded-rows, or"):
        Rows(parquet, **same | changed).encoded()
    assert files_in(cache) == before


def test_a_cache_of_changed_files_is_refused(tmp_path, parquet):
    import pyarrow as pa
    from pyarrow import parquet as pq

    Rows(parquet, target="y", cache=tmp_path / "cache").encoded()
    pq.write_table(pa.table({name: values[:3] for name, values in table().items()}), parquet)
    rows = Rows(parquet, target="y", cache=tmp_path / "cache")
    with pytest.raises(ValueError, match="another or changed source"):
        rows.encoded()


def test_a_source_that_cannot_be_recognized(tmp_path):
    rows = Rows(Numbers(), chunk_rows=10, cache=tmp_path)
    rows.encoded()
    copy = pickle.loads(pickle.dumps(rows))
    assert copy.encoded().n_rows == 30
    assert copy.source.n_passes == rows.source.n_passes
    with pytest.raises(ValueError, match="another or changed source"):
        Rows(Numbers(), chunk_rows=10, cache=tmp_path).encoded()


def test_files_of_others_are_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("important")
    Rows(Numbers(), cache=tmp_path).encoded()
    assert (tmp_path / "thesis.txt").read_text() == "important"


def test_a_folder_of_others_with_our_name(tmp_path):
    (tmp_path / "encoded-rows").mkdir()
    (tmp_path / "encoded-rows" / "thesis.txt").write_text("important")
    with pytest.raises(ValueError, match="not a folder of encoded rows, or not a complete one"):
        Rows(Numbers(), cache=tmp_path).encoded()
    assert (tmp_path / "encoded-rows" / "thesis.txt").read_text() == "important"


def test_a_cache_that_is_a_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(NotADirectoryError, match="cache must be a folder"):
        Rows(Numbers(), cache=path).encoded()


@pytest.mark.full
@pytest.mark.skipif(sys.platform == "win32", reason="needs signals of POSIX")
def test_a_killed_process_leaves_nothing_that_would_be_read(tmp_path):
    code = """
        import os, signal, sys
        import numpy as np
        from skfm.streams import Rows

        def chunks():
            for number in range(5):
                if number == 4:
                    os.kill(os.getpid(), signal.SIGKILL)
                yield np.eye(3), np.arange(3)

        Rows(chunks, chunk_rows=3, cache=sys.argv[1]).encoded()
    """
    with pytest.raises(subprocess.CalledProcessError):
        run_python(code, tmp_path)
    assert all(path.suffix == ".tmp" for path in tmp_path.iterdir())
    assert Rows(Numbers(), chunk_rows=10, cache=tmp_path).encoded().n_rows == 30


def test_relative_paths_are_those_of_the_moment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = Rows(Numbers(), chunk_rows=10, cache="cache").encoded()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert rows.read_all()[0].shape == (30, N_FEATURES)


def test_another_process_was_faster(tmp_path):
    """Two passes write at the same time; the second finds the rows of the first."""
    rows = Rows(Numbers(), chunk_rows=10, cache=tmp_path)
    other = pickle.loads(pickle.dumps(rows))
    chunks = rows.source.__call__

    def with_other():
        yield from chunks()
        assert other.encoded().n_rows == 30

    rows.source = with_other
    rows._opened = rows._open()
    assert rows.encoded().n_rows == 30
    assert sorted(path.name for path in tmp_path.iterdir()) == ["encoded-rows"]


# Full disks


def test_a_full_disk(tmp_path, monkeypatch):
    write_one = _cache._Appended._write

    def fail(self, values):
        if self.path.name == "indices" and self.n_bytes:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_one(self, values)

    monkeypatch.setattr(_cache._Appended, "_write", fail)
    rows = Rows(Numbers(), chunk_rows=10, cache=tmp_path)
    message = r"no space for the encoded rows \(No space left on device\): [\d,]+ bytes .*cache"
    with pytest.raises(OSError, match=message) as caught:
        rows.encoded()
    assert caught.value.errno == errno.ENOSPC
    assert str(tmp_path) in str(caught.value)
    assert files_in(tmp_path) == []


def test_other_errors_of_the_system_are_not_full_disks(tmp_path, monkeypatch):
    def fail(self, values):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(_cache._Appended, "_write", fail)
    with pytest.raises(PermissionError, match=r"^\[Errno \d+\] Permission denied$"):
        Rows(Numbers(), cache=tmp_path).encoded()


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of POSIX")
def test_a_file_that_may_not_grow(tmp_path):
    code = """
        import resource, sys, tempfile
        import numpy as np
        from skfm.streams import Rows

        tempfile.tempdir = sys.argv[1]
        rows = Rows(lambda: ((np.eye(500), np.arange(500)) for _ in range(20)), chunk_rows=500)
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
        try:
            rows.encoded()
        except OSError as error:
            print(error)
    """
    message = run_python(code, tmp_path)
    assert "no space for the encoded rows" in message
    assert "larger disk as cache" in message
    assert files_in(tmp_path) == []


def test_paths_of_caches_may_be_created(tmp_path):
    cache = Path(tmp_path, "a", "b")
    assert Rows(Numbers(), cache=cache).encoded().folder == cache / "encoded-rows"
