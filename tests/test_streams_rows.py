"""Rows: what is encoded is what encoders give in memory; what is wrong is named with its row."""

import pickle
from decimal import Decimal

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, OneHotEncoder, StandardScaler

from skfm.preprocessing import TableEncoder
from skfm.streams import Rows

pa = pytest.importorskip("pyarrow")
pd = pytest.importorskip("pandas")


def make_table(n_rows=200, seed=0):
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "user": rng.integers(0, 30, n_rows).astype(str),
            "page": pa.array(rng.choice(["news", "shop", None], n_rows).tolist()),
            "price": rng.gamma(2, 10, n_rows),
            "click": rng.integers(0, 2, n_rows).astype(bool),
            "weight": rng.integers(0, 4, n_rows),
        }
    )


TABLE = make_table()
FEATURES = TABLE.drop_columns(["click", "weight"])


class Counted:
    """A function with chunks that counts how many of them were taken."""

    def __init__(self, *chunks):
        self.chunks, self.n_taken = chunks, 0

    def __call__(self):
        for chunk in self.chunks:
            self.n_taken += 1
            yield chunk


def in_chunks(table, n_rows, y="click"):
    parts = [table.slice(start, n_rows) for start in range(0, table.num_rows, n_rows)]
    return Counted(*((part.drop_columns([y]), part[y].to_numpy()) for part in parts))


def assert_same_matrix(X, expected):
    assert X.dtype == expected.dtype
    assert X.shape == expected.shape
    for name in ("indptr", "indices", "data"):
        assert_array_equal(getattr(X, name), getattr(expected, name))


# Encoders

ENCODERS = {
    "default": None,
    "learned": TableEncoder(numbers="log_bins"),
    "standardized": TableEncoder(numbers="number", min_frequency=5),
    "hashed": TableEncoder(strings="hashed", numbers="hashed", n_features=64),
    "fitted": TableEncoder(crossed=[("user", "page")]).fit(FEATURES),
    "pipeline": make_pipeline(TableEncoder(), MaxAbsScaler()).fit(FEATURES),
}


@pytest.mark.parametrize("which", ENCODERS)
@pytest.mark.parametrize("chunk_rows", [1, 60, 200, 1000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.pairwise
def test_encoded_rows_are_those_of_the_encoder_in_memory(which, chunk_rows, dtype):
    encoder = ENCODERS[which]
    table = TABLE.drop_columns(["weight"])
    rows = Rows(table, target="click", encoder=encoder, chunk_rows=chunk_rows, dtype=dtype)
    expected = TableEncoder(dtype=dtype) if encoder is None else encoder
    if which not in ("fitted", "pipeline"):
        expected = clone(expected).fit(FEATURES)
    X, y, weight = rows.encoded().read_all()
    expected_X = expected.transform(FEATURES).astype(dtype)
    if which == "standardized":  # means of chunks differ by rounding
        assert_array_equal(X.indices, expected_X.indices)
        np.testing.assert_allclose(X.data, expected_X.data, rtol=1e-5, atol=1e-6)
    else:
        assert_same_matrix(X, expected_X)
    assert_array_equal(y, TABLE["click"].to_numpy())
    assert weight is None
    assert rows.encoded().target_dtype == np.bool_
    assert (rows.n_rows, rows.n_features) == X.shape
    if which != "pipeline":
        for name in ("feature_fields", "feature_groups"):
            labels = getattr(expected, f"{name}_")
            assert_array_equal(getattr(rows.encoded(), name), labels)
            assert_array_equal(getattr(X, name), labels)
    names = expected.get_feature_names_out()
    assert_array_equal(rows.encoded().feature_names, names)


@pytest.mark.parametrize("which", ENCODERS)
def test_chunks_are_the_same_rows_in_their_order(which):
    encoder = ENCODERS[which]
    rows = Rows(TABLE.drop_columns(["weight"]), target="click", encoder=encoder, chunk_rows=60)
    chunks = list(rows.chunks())
    assert [chunk.X.shape[0] for chunk in chunks] == [60, 60, 60, 20]
    X = sparse.vstack([chunk.X for chunk in chunks], format="csr")
    assert_same_matrix(X, rows.encoded().read_all()[0])
    y = np.concatenate([chunk.y for chunk in chunks])
    assert y.dtype == bool
    assert_array_equal(y, TABLE["click"])
    assert "row 61" in chunks[1].origin.of_row(1)


def test_the_encoder_given_is_not_changed():
    encoder = TableEncoder()
    rows = Rows(TABLE, target="click", encoder=encoder)
    assert rows.encoder_ is not encoder
    assert not hasattr(encoder, "encoding_")
    fitted = TableEncoder().fit(FEATURES)
    assert Rows(TABLE, target="click", encoder=fitted).encoder_ is fitted


HASHED = TableEncoder({"price": "hashed"}, strings="hashed", n_features=32)


@pytest.mark.parametrize("encoder, n_taken", [(HASHED, 4), (TableEncoder(), 8)])
def test_hashed_columns_need_no_pass_of_their_own(encoder, n_taken):
    source = in_chunks(TABLE.drop_columns(["weight"]), 50)
    Rows(source, encoder=encoder, chunk_rows=50).encoded()
    assert source.n_taken == n_taken


def test_the_encoder_alone_takes_as_few_chunks_as_possible():
    source = in_chunks(TABLE.drop_columns(["weight"]), 10)
    assert Rows(source, encoder=HASHED, chunk_rows=10).encoder_.n_features_in_ == 3
    assert source.n_taken <= 2  # one more in advance


def test_columns_without_values_in_the_first_chunks():
    """Their type is learned later; it is an error if it would have been encoded otherwise."""
    first = pd.DataFrame({"a": ["x", "y"], "b": [None, None]})
    chunks = [(first, [0, 1]), (pd.DataFrame({"a": ["x"], "b": ["u"]}), [1])]
    encoder = TableEncoder({"a": "hashed", "b": "hashed"})
    assert Rows(Counted(*chunks), encoder=encoder, chunk_rows=2).encoded().n_rows == 3
    rows = Rows(Counted(*chunks), encoder=TableEncoder(strings="hashed"), chunk_rows=2)
    with pytest.raises(ValueError, match="'b' had missing values only in the first call"):
        rows.encoded()


def test_a_fitted_encoder_sees_its_columns_in_its_order():
    encoder = TableEncoder().fit(TABLE.select(["price", "user"]))
    rows = Rows(TABLE, target="click", encoder=encoder)
    expected = encoder.transform(TABLE.select(["price", "user"])).astype(np.float32)
    assert_same_matrix(rows.encoded().read_all()[0], expected)
    rows = Rows(FEATURES.drop_columns(["user"]), encoder=encoder)
    with pytest.raises(ValueError, match="no column 'user'"):
        next(rows.chunks())


def test_encoders_of_scikit_learn_see_a_dataframe():
    encoder = make_column_transformer((OneHotEncoder(), ["page"]), (StandardScaler(), ["price"]))
    encoder.fit(FEATURES.to_pandas())
    X, _, _ = Rows(TABLE, target="click", encoder=encoder, chunk_rows=70).encoded().read_all()
    expected = encoder.transform(FEATURES.to_pandas())
    assert_array_equal(X.toarray(), expected.astype(np.float32))


def test_an_encoder_that_scikit_learn_fits_chunk_by_chunk():
    X = np.random.default_rng(0).normal(size=(90, 4))
    source = Counted(*((X[a : a + 30], X[a : a + 30, 0]) for a in (0, 30, 60)))
    rows = Rows(source, encoder=MaxAbsScaler(), dtype=np.float64, chunk_rows=30)
    expected = MaxAbsScaler().fit_transform(X)
    assert_array_equal(rows.encoded().read_all()[0].toarray(), expected)


def test_encoders_without_state_need_not_be_fitted():
    class Square(TransformerMixin, BaseEstimator):
        def fit(self, X, y=None):
            return self

        def transform(self, X):
            return X**2

        def __sklearn_tags__(self):
            tags = super().__sklearn_tags__()
            tags.requires_fit = False
            return tags

    source = Counted((np.full((3, 2), 2.0), [1, 2, 3]))
    assert Rows(source, encoder=Square()).encoded().read_all()[0].max() == 4


@pytest.mark.parametrize(
    "encoder", [OneHotEncoder(), make_pipeline(TableEncoder()), TableEncoder({"page": "target"})]
)
def test_encoders_that_cannot_learn_in_chunks(encoder):
    rows = Rows(TABLE, target="click", encoder=encoder)
    with pytest.raises(TypeError, match=r"encoder, a \w+, must be fitted.*Fit it on a sample"):
        rows.encoded()


# Sources without encoders


@pytest.mark.parametrize(
    "convert",
    [np.asarray, sparse.csr_matrix, sparse.csc_array, sparse.coo_matrix, np.ndarray.tolist],
)
def test_numbers_are_not_encoded(convert):
    X = np.random.default_rng(0).integers(0, 3, (20, 4)).astype(float)
    source = Counted((convert(X[:15]), np.arange(15)), (convert(X[15:]), np.arange(15, 20)))
    rows = Rows(source, chunk_rows=15)
    encoded, y, _ = rows.encoded().read_all()
    assert rows.encoder_ is None
    assert_array_equal(encoded.toarray(), X)
    assert encoded.nnz == np.count_nonzero(X)
    assert_array_equal(y, np.arange(20))
    assert rows.encoded().feature_fields is rows.encoded().feature_names is None


@pytest.mark.parametrize("fields", [np.array(["a", "a", "b"]), np.array([0, 0, 1])])
@pytest.mark.parametrize("chunk_rows", [2, 100])
def test_fields_of_a_source_without_an_encoder(fields, chunk_rows):
    """Matrices may carry fields, also if they are cut or joined."""
    X = sparse.csr_matrix(np.eye(3, dtype=np.float32))
    X.feature_fields = fields
    rows = Rows(Counted(*[(X, [1, 2, 3], [1.0, 0.0, 1.0])] * 2), chunk_rows=chunk_rows)
    assert_array_equal(rows.encoded().feature_fields, fields)
    assert rows.encoded().feature_fields.dtype == fields.dtype
    assert rows.encoded().feature_groups is None
    assert_array_equal(rows.encoded().read_all()[0].feature_fields, fields)


def test_tables_of_numbers_with_passthrough():
    table = TABLE.select(["price", "click", "weight"])
    rows = Rows(table, target="click", encoder="passthrough", dtype=np.float64)
    assert rows.encoder_ is None
    expected = table.select(["price", "weight"]).to_pandas().to_numpy()
    assert_array_equal(rows.encoded().read_all()[0].toarray(), expected)
    with pytest.raises(ValueError, match=r"Column 'user' has the type string, not numbers. Pass"):
        Rows(TABLE, target="click", encoder="passthrough").encoded()


# Targets

TARGETS = {
    "bool": (pa.array([True, False, True]), bool, None),
    "int8": (pa.array([1, -2, 3], pa.int8()), np.int8, None),
    "int64": (pa.array([2**53, -(2**53), 0]), np.int64, None),
    "uint64": (pa.array([2**53, 1, 0], pa.uint64()), np.uint64, None),
    "float32": (pa.array([0.5, 1.5, -2], pa.float32()), np.float32, None),
    "float64": (pa.array([0.1, 1.5, -2]), np.float64, None),
    "decimal": (pa.array([Decimal("0.5"), Decimal("2.25"), Decimal("1.75")]), np.float64, None),
    "string": (pa.array(["b", "a", "b"]), None, ["a", "b"]),
    "large_string": (pa.array(["b", "a", "b"], pa.large_string()), None, ["a", "b"]),
    "dictionary": (pa.array(["b", "a", "b"]).dictionary_encode(), None, ["a", "b"]),
    "numbers in a dictionary": (pa.array([5, 2, 5]).dictionary_encode(), np.int64, None),
    "unused": (
        pa.DictionaryArray.from_arrays([1, 0, 1], ["a", "b", "unused"]),
        None,
        ["a", "b"],
    ),
}


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("chunk_rows", [1, 2, 3])
def test_targets_of_tables(kind, chunk_rows):
    values, dtype, labels = TARGETS[kind]
    table = pa.table({"x": ["u", "v", "u"], "y": values})
    rows = Rows(table, target="y", chunk_rows=chunk_rows)
    _, y, _ = rows.encoded().read_all()
    chunks = np.concatenate([chunk.y for chunk in rows.chunks()])
    if labels is None:
        assert rows.encoded().labels is None
        assert rows.encoded().target_dtype == chunks.dtype == dtype
        assert y.dtype == np.float64
        assert y.tolist() == chunks.tolist() == [float(value) for value in values.to_pylist()]
    else:
        assert rows.encoded().labels.tolist() == labels
        assert y.dtype == np.int32
        assert rows.encoded().labels[y].tolist() == chunks.tolist() == values.to_pylist()


@pytest.mark.parametrize(
    "values, dtype",
    [
        (np.array([True, False]), bool),
        (np.array([1, 2], np.int16), np.int16),
        (np.array([0.5, 2], np.float32), np.float32),
        (np.array([1, 2], object), np.int64),
        (np.array([True, False], object), bool),
        (np.array([1.5, 2], object), np.float64),
        (np.array(["a", "b"]), None),
        (np.array(["a", "b"], object), None),
    ],
)
def test_targets_of_arrays(values, dtype):
    rows = Rows(Counted((np.eye(2), values))).encoded()
    _, y, _ = rows.read_all()
    assert (rows.labels is None) == (dtype is not None)
    assert dtype is None or rows.target_dtype == dtype
    assert_array_equal(y if dtype else rows.labels[y], values)


def test_dtypes_of_several_chunks_are_promoted():
    source = Counted((np.eye(2), np.array([1, 2], np.int32)), (np.eye(2), np.array([0.5, 1])))
    assert Rows(source, chunk_rows=2).encoded().target_dtype == np.float64


# Weights


def test_rows_of_weight_0_are_left_out():
    rows = Rows(TABLE, target="click", sample_weight="weight", chunk_rows=30)
    kept = TABLE["weight"].to_numpy() > 0
    X, y, weight = rows.encoded().read_all()
    expected = TableEncoder(dtype=np.float32).fit(FEATURES).transform(FEATURES)
    assert_same_matrix(X, expected[kept])
    assert_array_equal(y, TABLE["click"].to_numpy()[kept])
    assert_array_equal(weight, TABLE["weight"].to_numpy()[kept])
    assert rows.n_rows == kept.sum()
    chunks = list(rows.chunks())
    assert sum(chunk.X.shape[0] for chunk in chunks) == 200
    assert_array_equal(np.concatenate([c.sample_weight for c in chunks]), TABLE["weight"])


def test_labels_of_rows_of_weight_0_do_not_count():
    table = pa.table({"x": ["u", "v", "u"], "y": ["a", "b", "c"], "w": [1.0, 0.0, 2.0]})
    for chunk_rows in (1, 3):
        rows = Rows(table, target="y", sample_weight="w", chunk_rows=chunk_rows).encoded()
        assert rows.labels.tolist() == ["a", "c"]
        assert rows.read_all()[1].tolist() == [0, 1]


def test_weights_that_round_to_0_are_0():
    source = Counted((np.eye(2), [1, 2], [1e-60, 1.0]))
    assert Rows(source).encoded().n_rows == 1
    assert Rows(source, dtype=np.float64).encoded().n_rows == 2


# Errors


def with_bad_row(name, value, row=57):
    """The table, where one value is another; its target and weights as objects of Python."""
    columns = {key: TABLE[key].to_pylist() for key in TABLE.column_names}
    columns["click"] = [float(value) for value in columns["click"]]
    columns["weight"] = [float(value) for value in columns["weight"]]
    columns[name][row] = value
    return pa.table(columns)


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("click", None, "'click' has 1 missing value"),
        ("click", np.nan, "'click' has 1 missing value"),
        ("click", -np.inf, "'click' is infinite"),
        ("weight", None, r"'weight' is missing \(NaN\)"),
        ("weight", np.nan, r"'weight' is missing \(NaN\)"),
        ("weight", np.inf, "'weight' is infinite or too large"),
        ("weight", 1e38, "'weight' is infinite or too large"),
        ("weight", -0.5, "'weight' is negative"),
    ],
)
def test_bad_values_are_named_with_their_row(name, value, message):
    table = with_bad_row(name, value)
    rows = Rows(table, target="click", sample_weight="weight", chunk_rows=20)
    with pytest.raises(ValueError, match=rf"{message}.*row 57\b"):
        rows.encoded()


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_matrix])
def test_bad_numbers_in_x_are_named_with_their_row(convert, value):
    X = np.ones((30, 3))
    X[17, 2] = value
    source = Counted(*((convert(X[a : a + 10]), np.arange(10)) for a in (0, 10, 20)))
    with pytest.raises(ValueError, match=r"X is NaN, inf.*chunk 1, row 7\b.*column 2"):
        Rows(source, chunk_rows=10).encoded()


def test_missing_numbers_with_passthrough():
    table = pa.table({"a": [1.0, None, 2.0], "y": [1, 2, 3]})
    with pytest.raises(ValueError, match=r"X is NaN.*row 1\b"):
        Rows(table, target="y", encoder="passthrough").encoded()


def test_errors_of_encoders_say_where_the_chunk_starts():
    table = with_bad_row("price", np.inf)
    with pytest.raises(ValueError, match=r"'price' contains 1 infinite.*starts at .*row 40\b"):
        Rows(table, target="click", chunk_rows=20).encoded()


def test_labels_and_numbers():
    chunks = [(np.eye(2), np.array(["a", "b"])), (np.eye(2), np.array([1, 2]))]
    message = r"The target has {} from chunk 0, row 0 on, but {} from chunk 1, row 0 on"
    with pytest.raises(ValueError, match=message.format("strings", "numbers")):
        Rows(Counted(*chunks), chunk_rows=2).encoded()
    with pytest.raises(ValueError, match=message.format("numbers", "strings")):
        Rows(Counted(*chunks[::-1]), chunk_rows=2).encoded()


@pytest.mark.parametrize(
    "values, found",
    [
        (["a", 1], "strings and numbers"),
        (np.array(["2020-01-01", "2020-01-02"], "M8[D]"), "datetimes"),
    ],
)
def test_targets_that_are_neither_labels_nor_numbers(values, found):
    values = np.array(values, object) if isinstance(values, list) else values
    with pytest.raises(TypeError, match=f"The target has {found} in the chunk"):
        Rows(Counted((np.eye(2), values))).encoded()


@pytest.mark.parametrize("value", [2**53 + 1, -(2**53) - 1, 2**63, 2**80])
def test_integers_that_are_not_exact(value):
    values = np.array([1, value], dtype=object if abs(value) >= 2**63 else None)
    with pytest.raises(ValueError, match=rf"is {value} in .*row 1\b.* convert them to strings"):
        Rows(Counted((np.eye(2), values))).encoded()


def test_missing_columns():
    with pytest.raises(ValueError, match=r"no column 'clik'. Did you mean 'click'\?"):
        Rows(TABLE, target="clik").encoded()
    with pytest.raises(ValueError, match="no column 'w'"):
        Rows(TABLE, target="click", sample_weight="w").encoded()


def test_no_target():
    rows = Rows(TABLE)
    assert next(rows.chunks()).y is None
    with pytest.raises(ValueError, match="The source has no target"):
        rows.encoded()


def test_names_of_columns_for_a_source_without_columns():
    with pytest.raises(ValueError, match="target='y' is the name of a column, but this source"):
        Rows(Counted((np.eye(2), [1, 2])), target="y").encoded()


@pytest.mark.parametrize("source", [Counted(), TABLE.slice(0, 0)])
@pytest.mark.parametrize("encoder", [None, "passthrough"])
def test_no_rows(source, encoder):
    target = None if isinstance(source, Counted) else "click"
    with pytest.raises(ValueError, match="The source has no rows"):
        Rows(source, target=target, encoder=encoder).encoded()


@pytest.mark.parametrize("chunk_rows", [2, 10])
def test_no_row_of_positive_weight(chunk_rows):
    table = pa.table({"x": list("uvw"), "y": [1, 2, 3], "w": [0, 0, 0]})
    with pytest.raises(ValueError, match="sample_weight is zero for every row"):
        Rows(table, target="y", sample_weight="w", chunk_rows=chunk_rows).encoded()


def test_weights_whose_sum_is_too_large():
    source = Counted((np.eye(4), np.arange(4), np.full(4, 3e36)))
    with pytest.raises(ValueError, match="sample_weight is too large: the sum"):
        Rows(source).encoded()


def test_chunks_of_another_width():
    source = Counted((np.eye(2), [1, 2]), (np.eye(2, 3), [1, 2]))
    with pytest.raises(ValueError, match=r"X has 3 features in .*chunk 1, row 0, but 2 in"):
        Rows(source, chunk_rows=2).encoded()


@pytest.mark.parametrize(
    "y, weight, message",
    [([1, 2, 3], [1, 1], "The target has 3"), ([1, 2], [1.0], "'sample_weight' has 1")],
)
def test_arrays_of_another_length(y, weight, message):
    with pytest.raises(ValueError, match=rf"{message} values for 2 rows of X.*chunk 0, row 0"):
        Rows(Counted((np.eye(2), y, weight))).encoded()


@pytest.mark.parametrize("shape", [(2, 2), ()])
def test_targets_and_weights_of_another_shape(shape):
    values, message = np.ones(shape), r"must have one value for each row; got an array of shape"
    with pytest.raises(ValueError, match=rf"The target {message} .*chunk 0, row 0"):
        Rows(Counted((np.eye(2), values))).encoded()
    with pytest.raises(ValueError, match=rf"sample_weight' {message} .*chunk 0, row 0"):
        Rows(Counted((np.eye(2), np.ones(2), values))).encoded()


def test_targets_and_weights_in_a_single_column():
    values = np.array([[3.0], [2.0]])
    _, y, weight = Rows(Counted((np.eye(2), values, values))).encoded().read_all()
    assert y.tolist() == weight.tolist() == [3, 2]


def test_strings_without_an_encoder():
    source = Counted((np.array([["a", "b"]], object), [1]))
    with pytest.raises(ValueError, match=r"not numbers .*Pass an encoder.*chunk 0, row 0"):
        Rows(source).encoded()


@pytest.mark.parametrize(
    "parameters, error, message",
    [
        ({"target": 3}, TypeError, "target must be the name of a column"),
        ({"sample_weight": np.ones(3)}, TypeError, "sample_weight must be the name of a column"),
        ({"target": "y", "sample_weight": "y"}, ValueError, "are the same column, 'y'"),
        ({"chunk_rows": 0}, ValueError, "chunk_rows must be"),
        ({"chunk_rows": 1.5}, TypeError, "chunk_rows must be"),
        ({"dtype": np.int32}, ValueError, "dtype must be"),
        ({"cache": 3}, TypeError, "cache must be a path"),
        ({"encoder": "hash"}, TypeError, "encoder must be a transformer"),
        ({"encoder": TableEncoder}, TypeError, "encoder must be a transformer"),
        ({"encoder": 7}, TypeError, "encoder must be a transformer"),
    ],
)
def test_invalid_parameters(parameters, error, message):
    with pytest.raises(error, match=message):
        Rows(TABLE, **parameters)


# The object itself


def test_repr(tmp_path):
    from pyarrow import parquet

    path = tmp_path / "a.parquet"
    parquet.write_table(TABLE, path)
    assert repr(Rows(path)) == f"<Rows of {str(path)!r}>"
    parquet.write_table(TABLE, tmp_path / "b.parquet")
    assert repr(Rows([path, tmp_path / "b.parquet"])) == "<Rows of 2 paths>"
    assert repr(Rows(Counted())) == "<Rows of a function>"
    rows = Rows(TABLE, target="click", encoder=TableEncoder().fit(FEATURES))
    assert repr(rows) == "<Rows of a Table>"
    n_features = len(rows.encoder_.feature_fields_)
    assert repr(rows) == f"<Rows of a Table: {n_features} features>"
    rows.encoded()
    assert repr(rows) == f"<Rows of a Table: 200 rows, {n_features} features>"


def test_pickles():
    rows = Rows(TABLE, target="click", chunk_rows=50)
    fresh = pickle.loads(pickle.dumps(rows))
    expected = rows.encoded().read_all()
    copy = pickle.loads(pickle.dumps(rows))
    assert (copy.n_rows, copy.n_features) == (None, rows.n_features)
    for other in (fresh, copy):
        assert other.encoded().folder != rows.encoded().folder
        assert_same_matrix(other.encoded().read_all()[0], expected[0])
        assert_array_equal(other.encoded().read_all()[1], expected[1])


def test_files_that_change_while_they_are_read(tmp_path):
    from pyarrow import parquet

    path = tmp_path / "rows.parquet"
    parquet.write_table(TABLE, path)

    class Meddling(TableEncoder):
        def transform(self, X):
            parquet.write_table(TABLE.slice(0, 50), path)
            return super().transform(X)

    encoder = Meddling().fit(FEATURES)
    with pytest.raises(ValueError, match="have changed while they were read"):
        Rows(path, target="click", encoder=encoder).encoded()


# --- files that do not fit together -----------------------------------------------------------


@pytest.fixture
def files(tmp_path):
    """Writes small tables as Parquet files, or text as CSV files; returns their paths."""
    import pyarrow as pa
    from pyarrow import parquet

    def write(*contents):
        paths = []
        for number, content in enumerate(contents):
            kind = "parquet" if isinstance(content, (dict, bytes)) else "csv"
            path = tmp_path / f"{number}.{kind}"
            if isinstance(content, dict):
                parquet.write_table(pa.table(content), path)
            else:
                path.write_bytes(content if isinstance(content, bytes) else content.encode())
            paths.append(str(path))
        return paths

    return write


USUAL = {"a": ["x", "y", "z"], "click": [0, 1, 0]}


@pytest.mark.parametrize("chunk_rows", [2, 100])
@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ((USUAL, {"click": [0, 1, 0]}), r"1.parquet has no column 'a', but .*0.parquet has it"),
        ((USUAL, USUAL | {"b": [1, 2, 3]}), r"1.parquet has a column 'b', which .*0.parquet does"),
        ((USUAL, USUAL | {"a": [1, 2, 3]}), r"'a' of .*1.parquet has the type int64, but"),
        ((USUAL, b""), r"1.parquet cannot be read: it is empty, truncated"),
        ((USUAL, b"PAR1 and so on"), r"1.parquet cannot be read: it is empty, truncated"),
        (("a,b\n7,0\n", "a,click\n7,0\n"), r"1.csv has no column 'b', but .*0.csv has it"),
        (("a,click\n7,0\n8,1\n", "a,click\n7,0,1\n"), r"1.csv cannot be read: .*Expected 2"),
        (("a,click\n7,0\n8,1\n", ""), r"1.csv cannot be read: it is empty"),
    ],
)
def test_files_that_do_not_fit_together(files, contents, message, chunk_rows):
    rows = Rows(files(*contents), target="click", chunk_rows=chunk_rows)
    with pytest.raises(ValueError, match=message):
        rows.encoded()


def test_types_that_fit_are_those_of_the_first_file(files):
    numbers = USUAL | {"a": np.arange(3.0)}
    rows = Rows(files(numbers, USUAL | {"a": np.arange(3)}), target="click", chunk_rows=4)
    assert rows.encoded().n_rows == 6


def test_lists_of_files(files):
    (path,) = files(USUAL)
    with pytest.raises(ValueError, match=r"0.parquet is among the files twice"):
        Rows([path, path], target="click").encoded()
    with pytest.raises(ValueError, match="list of files is empty"):
        Rows([], target="click").encoded()


def test_files_that_change_between_passes(files):
    (path,) = files(USUAL)
    rows = Rows(path, target="click")
    assert sum(chunk[0].shape[0] for chunk in rows.chunks()) == 3
    files(USUAL | {"a": ["x", "y", "longer"]})
    with pytest.raises(ValueError, match="files have changed since they were first read"):
        rows.encoded()


def test_a_function_that_returns_the_same_iterator():
    chunks = iter([(np.eye(3), np.arange(3))] * 2)
    rows = Rows(lambda: chunks)
    assert rows.encoded().n_rows == 6
    with pytest.raises(ValueError, match=r"6 rows the first time, and now 0\. It must return"):
        list(rows.chunks())
