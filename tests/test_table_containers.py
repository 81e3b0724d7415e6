"""TableEncoder: the same data in any container give the same matrix."""

import datetime as dt
import decimal
import zoneinfo

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from skfm.preprocessing import TableEncoder, _tables

pd = pytest.importorskip("pandas")

N = 90  # more than what is read as Python objects
rng = np.random.default_rng(0)


def some(values, missing=True):
    """A column of N values, in which all occur, with some missing."""
    places = np.append(np.arange(len(values)), rng.integers(len(values), size=N - len(values)))
    column = [values[place] for place in rng.permutation(places)]
    return [None if missing and i % 7 == 3 else value for i, value in enumerate(column)]


BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
TIMES = [dt.datetime(2021, 1 + i, 3 * i + 1, 5 * i, 59, 1, 7) for i in range(5)]
DATA = {
    "string": some(["b", "a", "ß", "", "3", "zz zz", "日本"]),
    "boolean": some([True, False]),
    "integer": some([3, -7, 0, 2**40, 11]),
    "float": some([0.5, -3.0, 1e10, 4.0]),
    "datetime": some(TIMES),
    "zoned": some([time.replace(tzinfo=BERLIN) for time in TIMES]),
    "date": some([time.date() for time in TIMES]),
    "list": some([["u", "v"], [], ["v"], ["w", "w", "u"]]),
}
# Of each type, the ways to encode it.
KINDS = {
    "string": [
        "category",
        "hashed",
        {"kind": "bag", "sep": " "},
        {"kind": "hashed_bag", "sep": " "},
    ],
    "boolean": ["category", "hashed", "number"],
    "integer": ["category", "hashed", "number", "quantile_bins", "log_bins", "bins_and_value"],
    "float": ["category", "hashed", "number", "quantile_bins", "log_bins", "bins_and_value"],
    "datetime": ["date", "category"],
    "zoned": ["date", {"kind": "date", "timezone": "America/New_York"}, "category"],
    "date": ["date", "category"],
    "list": ["bag", "hashed_bag"],
}


def as_rows(name, values):
    return [[value] for value in values]


def as_object_array(name, values):
    array = np.empty((N, 1), dtype=object)
    array[:, 0] = values
    return array


def as_pandas(name, values):
    return pd.DataFrame({name: values})


def as_objects(name, values):
    return pd.DataFrame({name: pd.Series(values, dtype=object)})


def as_nan_objects(name, values):
    values = [np.nan if value is None else value for value in values]
    return pd.DataFrame({name: pd.Series(values, dtype=object)})


def as_na_objects(name, values):
    values = [pd.NA if value is None else value for value in values]
    return pd.DataFrame({name: pd.Series(values, dtype=object)})


def as_nullable(name, values):
    return as_objects(name, values).convert_dtypes()


def as_categorical(name, values):
    """With the categories in another order, one of which does not occur."""
    categories = sorted({value for value in values if value is not None}, reverse=True)
    unused = categories[0] + (
        dt.timedelta(1) if name in ("datetime", "zoned", "date") else categories[0]
    )
    categories = [*categories[1:], unused, categories[0]]
    if name == "boolean":
        categories = [True, False]
    return pd.DataFrame({name: pd.Categorical(values, categories)})


def as_arrow(name, values, kind=None):
    pa = pytest.importorskip("pyarrow")
    return pa.table({name: pa.array(values, kind)})


def as_arrow_dtype(name, values):
    return as_arrow(name, values).to_pandas(types_mapper=pd.ArrowDtype)


def as_dictionary(name, values):
    return as_arrow(name, _encode(as_arrow(name, values)[name]))


def _encode(array):
    return array.dictionary_encode().combine_chunks()


def as_chunks(name, values):
    """In chunks, some of them empty, which begin within longer arrays."""
    pa = pytest.importorskip("pyarrow")
    array = as_arrow(name, [values[-1], *values])[name].combine_chunks()
    parts = [array[1:1], array[1:3], array[3:3], array[3:]]
    return pa.table({name: pa.chunked_array(parts)})


def as_chunks_of_dictionaries(name, values):
    """With a dictionary of its own for each chunk."""
    pa = pytest.importorskip("pyarrow")
    array = as_arrow(name, values)[name].combine_chunks()
    parts = [array[:50].dictionary_encode(), array[50:].dictionary_encode()]
    return pa.table({name: pa.chunked_array(parts)})


def as_reader(name, values):
    return as_chunks(name, values).to_reader()


class Stream:
    """Nothing but an Arrow C stream, as other libraries return it."""

    def __init__(self, table):
        self._table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self._table.__arrow_c_stream__(requested_schema)


def as_stream(name, values):
    return Stream(as_chunks(name, values))


def as_polars(name, values):
    pl = pytest.importorskip("polars")
    return pl.DataFrame({name: values}, strict=False)


def as_polars_slice(name, values):
    pl = pytest.importorskip("polars")
    table = as_polars(name, values)
    return pl.concat([table[-2:], table[:2], table[2:]], rechunk=False)[2:]


def as_polars_categorical(name, values):
    pl = pytest.importorskip("polars")
    return as_polars(name, values).cast(pl.Categorical)


def as_polars_enum(name, values):
    pl = pytest.importorskip("polars")
    return as_polars(name, values).cast(pl.Enum(["unused", *sorted(set(values) - {None})[::-1]]))


def of_type(kind):
    def as_type(name, values):
        pa = pytest.importorskip("pyarrow")
        table = as_arrow(name, values)
        return table.cast(pa.schema([(name, kind(pa))]))

    return as_type


def as_decimal(name, values):
    return as_arrow(name, [None if v is None else decimal.Decimal(str(v)) for v in values])


EVERY = [
    *(as_rows, as_object_array, as_objects, as_nan_objects, as_na_objects, as_pandas),
    *(as_arrow, as_chunks, as_reader, as_stream, as_polars, as_polars_slice),
]
MORE = [as_nullable, as_arrow_dtype, as_categorical, as_dictionary, as_chunks_of_dictionaries]
CONTAINERS = {
    "string": [
        *(*EVERY, *MORE, as_polars_categorical, as_polars_enum),
        of_type(lambda pa: pa.large_string()),
        of_type(lambda pa: pa.string_view()),
    ],
    "boolean": [*EVERY, as_nullable, as_arrow_dtype, as_categorical],
    "integer": [*EVERY, *MORE, as_decimal],
    "float": [*EVERY, *MORE, as_decimal],
    "datetime": [*EVERY, *MORE, of_type(lambda pa: pa.timestamp("ns"))],
    "zoned": [*EVERY, as_categorical, as_dictionary],
    "date": [
        as_rows,
        *EVERY[1:],
        of_type(lambda pa: pa.date64()),
    ],
    "list": [
        *EVERY,
        of_type(lambda pa: pa.large_list(pa.large_string())),
        of_type(lambda pa: pa.list_(pa.dictionary(pa.int32(), pa.string()))),
    ],
}
CASES = [
    (name, kind, container)
    for name in DATA
    for kind in KINDS[name]
    for container in CONTAINERS[name]
]


def identify(value):
    return getattr(value, "__name__", None) or str(value)


def reference(name, kind):
    """From the container in which most errors would be visible: rows of Python objects."""
    encoder = TableEncoder(columns={0: kind}, n_features=16, n_bins=3)
    return encoder.fit_transform(as_rows(name, DATA[name])).toarray(), encoder


@pytest.mark.filterwarnings("ignore:X has feature names")
@pytest.mark.parametrize("name, kind, container", CASES, ids=identify)
def test_matrix_is_the_same(name, kind, container):
    expected, encoder = reference(name, kind)
    assert expected.shape[1] > 1 and expected.any()
    mine = TableEncoder(columns={0: kind}, n_features=16, n_bins=3)
    X = mine.fit_transform(container(name, DATA[name]))
    assert X.has_canonical_format and X.data.all()
    assert_array_equal(X.toarray(), expected)
    names = [name.partition("=")[2] for name in encoder.get_feature_names_out()]
    assert [name.partition("=")[2] for name in mine.get_feature_names_out()] == names
    # Fitted on one container, used on another.
    rows = np.flatnonzero([value is not None for value in DATA[name]])[:3]
    few = [DATA[name][row] for row in rows]
    for table in (container(name, DATA[name]), small(container, name, few)):
        X = encoder.transform(table).toarray()
        assert_array_equal(X, expected if len(X) == N else expected[rows])


def small(container, name, values):
    """The same container with few rows, where it can be made."""
    if container in (as_chunks_of_dictionaries, as_object_array):
        return as_rows(name, values)
    if container is as_categorical:
        return pd.DataFrame({name: pd.Categorical(values)})
    return container(name, values)


@pytest.mark.filterwarnings("ignore:X has feature names")
@pytest.mark.parametrize(
    "name, container",
    [
        *((name, as_polars) for name in DATA),
        ("string", as_polars_categorical),
        *((name, as_objects) for name in DATA),
    ],
    ids=identify,
)
def test_without_pyarrow(name, container, monkeypatch):
    pytest.importorskip("polars")
    expected, encoder = reference(name, KINDS[name][0])
    monkeypatch.setattr(_tables, "has_arrow", lambda: False)
    mine = TableEncoder(columns={0: KINDS[name][0]}, n_features=16, n_bins=3)
    assert_array_equal(mine.fit_transform(container(name, DATA[name])).toarray(), expected)
    if name in ("string", "integer"):
        with pytest.raises(ImportError, match=r"install pyarrow.*skfm\[tables\]"):
            encoder.transform(Stream(as_arrow(name, DATA[name])))


def test_hashes_are_the_same_on_every_machine():
    """FNV-1a and the finalizer of SplitMix64, in Python's integers."""
    words = 2**64

    def mix(h):
        h = (h ^ h >> 30) * 0xBF58476D1CE4E5B9 % words
        h = (h ^ h >> 27) * 0x94D049BB133111EB % words
        return h ^ h >> 31

    def hash_one(text, seed):
        h = 0xCBF29CE484222325 ^ mix(seed)
        for byte in text.encode():
            h = (h ^ byte) * 0x100000001B3 % words
        return mix(h)

    texts = ["", "a", "user=7", "日本", "x" * 100]
    for seed in (0, 12345678901):
        encoder = TableEncoder(strings="hashed", n_features=1001, hash_seed=seed)
        X = encoder.fit_transform([[text] for text in texts])
        assert X.indices.tolist() == [hash_one(text, seed) % 1000 for text in texts]
    # These stay as they are: models are stored with the columns that they have.
    assert X.indices.tolist() == [756, 720, 541, 947, 499]
    numbers = TableEncoder({0: "hashed"}, n_features=1001).fit_transform([[3], [4.5], [True]])
    expected = [hash_one("\0" + text, 0) % 1000 for text in ("3", "4.5", "True")]
    assert numbers.indices.tolist() == expected
