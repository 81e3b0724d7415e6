"""What transformers return: DataFrames by `set_output`, sparse matrices or sparse arrays."""

import io

import numpy as np
import pytest
import sklearn
from builders import quietly
from numpy.testing import assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import make_column_transformer

from skfm import (
    BayesianFMClassifier,
    BayesianFMRegressor,
    FMClassifier,
    FMRecommender,
    FMRegressor,
    MFRecommender,
)
from skfm.datasets import load_libffm, make_fm_classification, make_fm_regression
from skfm.preprocessing import EventEncoder, UserItemEncoder

LOG = [("ann", "tea", 5, 1), ("bob", "milk", 3, 2), ("ann", "milk", 4, 3)]
RATINGS = sparse.random(20, 8, density=0.5, random_state=0, format="csr")
SHORT = {"max_iter": 2, "random_state": 0}


def factorization(fit_bias=True):
    return MFRecommender(2, fit_bias=fit_bias, random_state=0)


# DataFrames


@pytest.fixture(params=["pandas", "polars"])
def library(request):
    return pytest.importorskip(request.param)


@pytest.mark.parametrize("fit_bias", [True, False])
def test_vectors_of_users_as_a_frame(library, fit_bias):
    expected = factorization(fit_bias).fit_transform(RATINGS)
    names = [f"mfrecommender{number}" for number in range(2 + fit_bias)]
    model = factorization(fit_bias).set_output(transform=library.__name__)
    for frame in (model.fit_transform(RATINGS), model.transform(RATINGS)):
        assert isinstance(frame, library.DataFrame)
        assert list(frame.columns) == model.get_feature_names_out().tolist() == names
        assert_array_equal(frame.to_numpy(), expected)
    assert_array_equal(model.inverse_transform(frame), model.inverse_transform(expected))
    assert isinstance(model.user_vectors(RATINGS), np.ndarray)  # set_output is for transform
    with sklearn.config_context(transform_output=library.__name__):
        frame = factorization(fit_bias).fit(RATINGS).transform(RATINGS)
        assert isinstance(frame, library.DataFrame)
        assert_array_equal(frame.to_numpy(), expected)


def test_the_index_of_a_frame_is_kept():
    pd = pytest.importorskip("pandas")
    users = [f"user {number}" for number in range(20)]
    ratings = pd.DataFrame(RATINGS.toarray(), index=users)
    frame = factorization().set_output(transform="pandas").fit_transform(ratings)
    assert frame.index.tolist() == users


def test_sparse_output_as_a_frame_is_refused_as_by_scikit_learn(library):
    encoder = EventEncoder().set_output(transform=library.__name__)
    for use in (encoder.fit_transform, lambda log: encoder.fit(log).transform(log)):
        with pytest.raises(ValueError, match=r"sparse .*set_output"):
            use(LOG)


def test_frames_among_other_columns():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(RATINGS.toarray(), columns=[*"abcdefgh"])
    columns = make_column_transformer(
        (factorization(), [*"abcdef"]), ("passthrough", ["h"]), verbose_feature_names_out=False
    )
    found = columns.set_output(transform="pandas").fit_transform(frame)
    assert found.columns.tolist() == [*(f"mfrecommender{n}" for n in range(3)), "h"]


# Sparse matrices and sparse arrays


@pytest.fixture(params=["spmatrix", "sparray"])
def interface(request):
    if "sparse_interface" not in sklearn.get_config():
        pytest.skip("scikit-learn is older than 1.9")
    with sklearn.config_context(sparse_interface=request.param):
        yield {"spmatrix": sparse.csr_matrix, "sparray": sparse.csr_array}[request.param]


def results():
    encoder, matrix = EventEncoder(["user", "item", "history"]), UserItemEncoder()
    yield encoder.fit_transform(LOG)
    yield encoder.transform(LOG)
    columns = UserItemEncoder(value=2, time=3)
    yield matrix.fit_transform([row[:2] for row in LOG])
    yield columns.fit_transform(LOG)
    yield columns.transform(LOG)
    yield columns.transform_new_users([("eve", "tea", 1, 9)])[0]
    yield columns.transform_time(LOG)
    yield make_fm_regression(20, random_state=0)[0]
    yield make_fm_classification(20, return_params=True, random_state=0)[0]
    yield load_libffm(io.BytesIO(b"1 0:1:1 1:3:1\n0 0:2:1\n"))[0]
    model = FMRecommender(2, **SHORT)
    yield quietly(model.fit, np.eye(4), [*"abca"]).rank_held_out(np.eye(4), [*"abca"])[0]


def test_results_have_the_configured_interface(interface):
    with sklearn.config_context(sparse_interface="spmatrix"):
        expected = [X.toarray() for X in results()]
    for X, dense in zip(results(), expected, strict=True):
        assert type(X) is interface
        assert X.has_canonical_format
        assert_array_equal(X.toarray(), dense)
    X = EventEncoder().fit_transform(LOG)
    assert X.feature_fields.tolist() == ["user", "user", "item", "item"]


@pytest.mark.parametrize(
    "model",
    [
        FMRegressor(2, **SHORT),
        FMRegressor(2, solver="als", early_stopping=True, validation_fraction=0.2, **SHORT),
        FMClassifier(2, **SHORT),
        BayesianFMRegressor(2, n_burn_in=1, **SHORT),
        BayesianFMClassifier(2, n_burn_in=1, **SHORT),
        FMRecommender(2, **SHORT),
        MFRecommender(2, **SHORT),
        MFRecommender(2, feedback="implicit", **SHORT),
    ],
    ids=lambda model: type(model).__name__,
)
def test_both_are_accepted(model, interface):
    """Whatever is configured, and also where a column has to be centered."""
    X = sparse.csr_matrix(RATINGS.multiply(RATINGS.toarray().any(axis=1)[:, None]))
    X = sparse.hstack([X, np.full((20, 1), 50.0) + np.arange(20)[:, None] % 3]).tocsr()
    y = np.arange(20) % 2
    answers = []
    for kind in (sparse.csr_matrix, sparse.csr_array, sparse.csc_array, sparse.coo_array):
        fitted = quietly(clone(model).fit, kind(X), y)
        use = fitted.transform if hasattr(fitted, "transform") else fitted.predict
        answers.append(use(kind(X)))
    for answer in answers[1:]:
        assert_array_equal(answer, answers[0])
