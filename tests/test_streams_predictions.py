"""predict_stream: the predictions of a model in memory, chunk by chunk, and in files."""

import errno

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import sparse
from sklearn.compose import make_column_transformer
from sklearn.dummy import DummyRegressor
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skfm import FMClassifier, FMRegressor
from skfm.datasets import make_fm_regression
from skfm.preprocessing import TableEncoder
from skfm.streams import Rows, predict_stream

pa = pytest.importorskip("pyarrow")
pd = pytest.importorskip("pandas")
csv = pytest.importorskip("pyarrow.csv")
parquet = pytest.importorskip("pyarrow.parquet")

rng = np.random.default_rng(0)
TABLE = pa.table(
    {
        "id": np.arange(130),
        "user": rng.integers(0, 9, 130).astype(str),
        "price": rng.gamma(2, 10, 130),
        "label": rng.choice(["no", "yes", "maybe"], 130),
        "rating": rng.normal(size=130),
    }
)
FEATURES = TABLE.select(["user", "price"])


def fit(model, target="label"):
    y = TABLE[target].to_numpy(zero_copy_only=False)
    encoder = TableEncoder(dtype=np.float32)
    return make_pipeline(encoder, model).fit(FEATURES, y)


CLASSIFIER = fit(FMClassifier(n_components=2, max_iter=5, random_state=0))
REGRESSOR = fit(FMRegressor(n_components=2, max_iter=5, random_state=0), "rating")


@pytest.fixture
def path(tmp_path):
    parquet.write_table(TABLE, tmp_path / "rows.parquet")
    return tmp_path / "rows.parquet"


@pytest.mark.parametrize("chunk_rows", [1, 50, 1000])
@pytest.mark.parametrize(
    "pipeline, method",
    [
        (CLASSIFIER, "auto"),
        (CLASSIFIER, "predict"),
        (CLASSIFIER, "predict_proba"),
        (CLASSIFIER, "decision_function"),
        (REGRESSOR, "auto"),
        (REGRESSOR, "predict"),
    ],
)
def test_predictions_are_those_in_memory(path, pipeline, method, chunk_rows):
    name = method
    if method == "auto":
        name = "predict_proba" if pipeline is CLASSIFIER else "predict"
    expected = getattr(pipeline, name)(FEATURES)
    encoded = Rows(path, encoder=pipeline[0], chunk_rows=chunk_rows)
    as_they_are = Rows(path, encoder="passthrough", chunk_rows=chunk_rows)
    for model, rows in ((pipeline[-1], encoded), (pipeline, as_they_are)):
        chunks = list(predict_stream(model, rows, method=method))
        assert [len(chunk) for chunk in chunks[:-1]] == [chunk_rows] * (len(chunks) - 1)
        assert_array_equal(np.concatenate(chunks), expected)
        assert chunks[0].dtype == expected.dtype


def test_a_source_instead_of_rows(path):
    for source in (path, TABLE, FEATURES):
        predictions = np.concatenate(list(predict_stream(REGRESSOR, source)))
        assert_array_equal(predictions, REGRESSOR.predict(FEATURES))


def test_models_of_scikit_learn(path):
    encode = make_column_transformer((OneHotEncoder(), ["user"]), (StandardScaler(), ["price"]))
    frame = FEATURES.to_pandas()
    model = make_pipeline(encode, Ridge()).fit(frame, TABLE["rating"].to_numpy())
    assert_array_equal(np.concatenate(list(predict_stream(model, path))), model.predict(frame))
    price = frame[["price"]]
    model = Ridge().fit(price, TABLE["rating"].to_numpy())
    assert_array_equal(np.concatenate(list(predict_stream(model, path))), model.predict(price))


def test_sparse_rows_without_an_encoder():
    X, y = make_fm_regression(200, random_state=0)
    model = FMRegressor(max_iter=3, random_state=0).fit(X, y)
    rows = Rows(lambda: iter([(X[:150], y[:150]), (X[150:], y[150:])]), dtype=np.float64,
                chunk_rows=150)  # fmt: skip
    assert_array_equal(np.concatenate(list(predict_stream(model, rows))), model.predict(X))


def test_rows_of_weight_0_are_predicted():
    X = np.arange(4.0).reshape(-1, 1)
    model = Ridge().fit(X, X[:, 0])
    rows = Rows(lambda: iter([(X, X[:, 0], np.array([1.0, 0, 1, 0]))]), dtype=np.float64)
    assert_array_equal(np.concatenate(list(predict_stream(model, rows))), model.predict(X))


def test_a_target_is_not_needed(path):
    """Rows to predict may have a target, with missing values or without any."""
    table = TABLE.set_column(4, "rating", pa.nulls(130, pa.float64()))
    for source in (table, table.drop_columns(["rating", "label"])):
        predictions = np.concatenate(list(predict_stream(REGRESSOR, source)))
        assert_array_equal(predictions, REGRESSOR.predict(FEATURES))
        rows = Rows(source, encoder=REGRESSOR[0])
        predictions = np.concatenate(list(predict_stream(REGRESSOR[-1], rows)))
        assert_array_equal(predictions, REGRESSOR.predict(FEATURES))


def test_classifiers_without_probabilities(path):
    model = fit(FMClassifier(loss="squared_hinge", max_iter=3, random_state=0))
    assert not hasattr(model, "predict_proba")
    predictions = np.concatenate(list(predict_stream(model, path)))
    assert_array_equal(predictions, model.predict(FEATURES))


# Files

READERS = {".parquet": parquet.read_table, ".csv": csv.read_csv}


@pytest.mark.parametrize("suffix", READERS)
@pytest.mark.parametrize(
    "pipeline, method, names",
    [
        (CLASSIFIER, "auto", ["probability_maybe", "probability_no", "probability_yes"]),
        (CLASSIFIER, "decision_function", ["decision_maybe", "decision_no", "decision_yes"]),
        (CLASSIFIER, "predict", ["prediction"]),
        (REGRESSOR, "auto", ["prediction"]),
    ],
)
def test_files_of_predictions(tmp_path, path, pipeline, method, names, suffix):
    output = tmp_path / f"predictions{suffix}"
    rows = Rows(path, encoder="passthrough", chunk_rows=50)
    assert predict_stream(pipeline, rows, method=method, output=output) == 130
    found = READERS[suffix](output)
    assert found.column_names == names
    expected = np.concatenate(list(predict_stream(pipeline, rows, method=method)))
    expected = expected.reshape(130, -1)
    for i, name in enumerate(names):
        values = found[name].to_numpy(zero_copy_only=False)
        assert_array_equal(values.astype(expected.dtype), expected[:, i])


@pytest.mark.parametrize("suffix", READERS)
@pytest.mark.parametrize("exists", [True, False])
def test_an_error_leaves_the_file_as_it_was(tmp_path, suffix, exists):
    output = tmp_path / f"predictions{suffix}"
    if exists:
        output.write_text("before")

    def chunks():
        yield np.ones((3, 2)), np.ones(3)
        yield np.full((3, 2), np.nan), np.ones(3)

    model = DummyRegressor().fit(np.ones((3, 2)), np.ones(3))
    with pytest.raises(ValueError, match="X is NaN"):
        predict_stream(model, Rows(chunks, chunk_rows=3), output=str(output))
    assert [path.name for path in tmp_path.iterdir()] == [output.name] * exists
    assert not exists or output.read_text() == "before"


@pytest.mark.parametrize("suffix", READERS)
def test_a_disk_that_is_full(tmp_path, path, monkeypatch, suffix):
    def fail(self, table):
        raise OSError(errno.ENOSPC, "No space left on device")

    module = {".parquet": parquet.ParquetWriter, ".csv": csv.CSVWriter}[suffix]
    if suffix == ".parquet":
        monkeypatch.setattr(module, "write_table", fail)
    else:

        class Full:
            def __init__(self, *_):
                self.write_table = lambda table: fail(self, table)

            def close(self):
                pass

        monkeypatch.setattr(csv, "CSVWriter", Full)
    with pytest.raises(OSError, match="No space left"):
        predict_stream(REGRESSOR, path, output=tmp_path / f"predictions{suffix}")
    assert [path.name for path in tmp_path.iterdir()] == ["rows.parquet"]


# Errors


def test_invalid_arguments(tmp_path):
    with pytest.raises(NotFittedError):
        predict_stream(FMRegressor(), TABLE)
    with pytest.raises(ValueError, match="method must be"):
        predict_stream(REGRESSOR, TABLE, method="transform")
    with pytest.raises(TypeError, match="Pipeline has no method 'predict_proba'"):
        predict_stream(REGRESSOR, TABLE, method="predict_proba")
    with pytest.raises(ValueError, match=r"name ends with '.parquet' or '.csv'; got 'a.txt'"):
        predict_stream(REGRESSOR, TABLE, output="a.txt")
    with pytest.raises(TypeError, match="output must be a path"):
        predict_stream(REGRESSOR, TABLE, output=3)


def test_no_rows(tmp_path):
    with pytest.raises(ValueError, match="The source has no rows"):
        list(predict_stream(REGRESSOR, TABLE.slice(0, 0)))
    with pytest.raises(ValueError, match="The source has no rows"):
        predict_stream(REGRESSOR, TABLE.slice(0, 0), output=tmp_path / "a.csv")
    assert list(tmp_path.iterdir()) == []


def test_errors_say_where_the_chunk_starts():
    rows = Rows(lambda: iter([(sparse.eye(3, 4), [1, 2, 3])]))
    model = LogisticRegression().fit(np.eye(3), [0, 1, 1])
    with pytest.raises(ValueError, match=r"4 features.*starts at chunk 0, row 0"):
        list(predict_stream(model, rows))


def test_missing_columns(path):
    with pytest.raises(ValueError, match="no column 'price'"):
        list(predict_stream(REGRESSOR, TABLE.drop_columns(["price"])))


@pytest.mark.parametrize("encoder", [None, TableEncoder(), TableEncoder(strings="hashed")])
def test_an_encoder_does_not_learn_from_new_rows(encoder):
    rows = Rows(TABLE, target="label", encoder=encoder)
    model = FMClassifier(2, max_iter=2, random_state=0).fit_stream(rows)
    expected = np.concatenate(list(predict_stream(model, rows)))
    found = np.concatenate(list(predict_stream(model, Rows(TABLE, encoder=rows.encoder_))))
    assert_array_equal(found, expected)
    with pytest.raises(ValueError, match=r"The encoder of the rows is not fitted, but the model"):
        list(predict_stream(model, Rows(TABLE, encoder=encoder)))
