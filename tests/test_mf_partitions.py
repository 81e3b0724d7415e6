"""ALS on users in partitions, here all in one process: the fit is that of one machine."""

import operator
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import reference
from dask_tasks import CUTS, ratings
from numpy.testing import assert_allclose, assert_array_equal
from test_matrix_kernels import KINDS, as_csr, make_model, make_ratings, options, start_items

from skfm import MFRecommender
from skfm._kernels.ridge import add_gradients, add_squares
from skfm._recommenders import mf_partitions
from skfm._solvers.mf import als, partitioned
from skfm._solvers.mf.problem import entries_of
from skfm._solvers.partitions import Partitions, fold
from skfm._utils.progress import Progress

OPTIONS = {
    "biases": {},
    "no biases": {"fit_bias": False},
    "implicit": {"feedback": "implicit"},
    "stored only": {"feedback": "implicit", "unobserved_weight": 0.0},
}
PRECISION = {np.float64: 1e-13, np.float32: 2e-5}  # of the objective


def parts_of(X, cuts=CUTS):
    return Partitions(SimpleNamespace(X=X[start:stop]) for start, stop in pairwise(cuts))


def fit(model, X, cuts=CUTS, **changes):
    return mf_partitions.fit_partitions(model, parts_of(X, cuts), X.shape[1], **changes)


def recommender(kind, **changes):
    values = {"n_components": 5, "max_iter": 8, "tol": 0, "random_state": 0, "verbose": 0}
    return MFRecommender(**{**values, **OPTIONS[kind], **changes})


@pytest.mark.parametrize("n", range(1, 12))
def test_sums_are_a_tree_of_pairs(n):
    level = list(map(str, range(n)))
    while len(level) > 1:
        pairs = [f"({a}+{b})" for a, b in zip(level[::2], level[1::2], strict=False)]
        level = pairs + level[len(pairs) * 2 :]
    assert fold(str, lambda a, b: f"({a}+{b})", 0, n) == level[0]
    assert fold(str, operator.add, 0, n) == "".join(map(str, range(n)))


@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-12), (np.float32, 1e-4)])
@pytest.mark.parametrize("goal", [0, 1])
@pytest.mark.parametrize("kind", ["biases", "implicit"])
def test_partial_sums(kind, goal, dtype, tolerance):
    model = make_model(kind)
    X, stored = make_ratings(model)
    rng = np.random.default_rng(0)
    width = model.width(dtype)
    users = rng.normal(size=(len(X), width)).astype(dtype)
    points = rng.normal(size=(X.shape[1], width)).astype(dtype)
    entries = entries_of(as_csr(X, stored, dtype).T.tocsr(), model.is_implicit)
    diagonal, gradient = np.ones_like(points), np.ones_like(points)  # sums are added to
    squares = np.ones(len(points), dtype)
    add_squares(0, len(points), entries, users, diagonal)
    add_gradients(0, len(points), entries, users, dtype(goal), points, gradient, squares)
    expected = reference.mf_item_sums(users, points, X, stored, goal, model.is_implicit)
    for found, sums in zip((diagonal, gradient, squares), expected, strict=True):
        assert_allclose(found, 1 + sums, rtol=tolerance, atol=tolerance)


@pytest.mark.around(kind="biases", dtype=np.float64, cuts=CUTS)
@pytest.mark.parametrize("cuts", [(0, 500), CUTS, tuple(range(0, 501, 5))], ids=len)
@pytest.mark.parametrize("dtype", PRECISION)
@pytest.mark.parametrize("kind", OPTIONS)
def test_the_fit_is_that_of_one_machine(kind, dtype, cuts):
    X = ratings(dtype)
    one = recommender(kind).fit(X)
    many = fit(recommender(kind), X, cuts)
    assert many.components_.dtype == dtype
    assert_allclose(many.loss_curve_, one.loss_curve_, rtol=PRECISION[dtype])
    for name in ("mean_", "scale_", "alpha_", "unobserved_weight_"):
        rtol = 1e-14 if dtype == np.float64 else 1e-6
        assert_allclose(getattr(many, name), getattr(one, name), rtol=rtol)
    assert many.n_features_in_ == one.n_features_in_
    rtol = 1e-6 if dtype == np.float64 else 0.05
    assert_allclose(
        many.inverse_transform(many.transform(X)),
        one.inverse_transform(one.transform(X)),
        rtol=rtol,
        atol=rtol,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_half_steps_stop_where_those_of_one_machine_stop(kind, monkeypatch):
    """With many steps, conjugate gradients end before the last one."""
    monkeypatch.setattr(als, "N_STEPS", 40)
    model = make_model(kind)
    X, stored = make_ratings(model)
    csr = as_csr(X, stored)
    chosen, items = options(max_iter=3), start_items(model, X.shape[1])
    progress = Progress(chosen, csr.nnz, "entries")
    one, history = als.train(model, csr, items.copy(), chosen, progress)
    blocks = Partitions(partitioned.make_block(model, csr[a:b]) for a, b in [(0, 3), (3, 20)])
    counts = stored.sum(axis=0)
    many, other = partitioned.train(model, blocks, items, counts, len(X), chosen, progress)
    assert_allclose(other.loss_curve, history.loss_curve, rtol=1e-12)
    assert_allclose(many, one, rtol=1e-6, atol=1e-8)
    assert_array_equal(many[~stored.any(axis=0)], one[~stored.any(axis=0)])


def test_a_type_is_that_of_all_rows():
    X = ratings(np.float32)
    parts = Partitions([SimpleNamespace(X=X[:100]), SimpleNamespace(X=X[100:].astype(float))])
    model = mf_partitions.fit_partitions(recommender("biases"), parts, X.shape[1])
    assert model.components_.dtype == np.float64
    empty = SimpleNamespace(X=X[:0].astype(float))
    parts = Partitions([empty, SimpleNamespace(X=X), empty])
    model = mf_partitions.fit_partitions(recommender("biases"), parts, X.shape[1])
    assert model.components_.dtype == np.float32


def test_dense_partitions():
    X = ratings()
    dense = fit(recommender("implicit"), X.toarray())
    assert_array_equal(dense.components_, fit(recommender("implicit"), X).components_)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"solver": "sgd"}, "use solver='als'"),
        ({"alpha": -1.0}, "alpha"),
        ({"alpha": 1e300, "nu": 9.0}, "Lower them"),
    ],
)
def test_parameters_are_checked(change, message):
    model = recommender("biases", **change)
    before = dict(vars(model))
    with pytest.raises(ValueError, match=message):
        fit(model, ratings())
    assert vars(model) == before


def test_rows_are_checked():
    model, X = recommender("implicit"), ratings()
    before = dict(vars(model))
    with pytest.raises(ValueError, match="at least one positive value"):
        fit(model, X * 0)
    with pytest.raises(ValueError, match="Negative values"):
        fit(model, -X)
    assert vars(model) == before


def test_warnings():
    X = ratings()
    X.data[:] = 1
    with pytest.warns(UserWarning, match="All .* ratings in X are equal"):
        fit(recommender("biases"), X)
    log = np.random.default_rng(0).integers(1, 1000, (100, 2)).astype(float)
    with pytest.warns(UserWarning, match="looks like a log"):
        fit(recommender("biases", n_components=1), log, (0, 50, 50, 100))
    twice = ratings()
    twice = type(twice)((np.repeat(twice.data, 2), np.repeat(twice.indices, 2), twice.indptr * 2))
    with pytest.warns(UserWarning, match="duplicate entries"):
        fit(recommender("biases"), twice)


@pytest.mark.parametrize("kind", ["biases", "implicit"])
def test_a_checkpoint_continues_a_fit(kind, tmp_path, monkeypatch):
    X, path = ratings(), tmp_path / "fit.npz"
    expected = fit(recommender(kind, max_iter=6), X)
    improve, calls = partitioned._improved_users, []

    def interrupt(*arguments):
        calls.append(1)
        if len(calls) > 3 * (len(CUTS) - 1):
            raise KeyboardInterrupt
        return improve(*arguments)

    monkeypatch.setattr(partitioned, "_improved_users", interrupt)
    model = recommender(kind, max_iter=6)
    with pytest.raises(KeyboardInterrupt):
        fit(model, X, checkpoint=path)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="another fit: X differs"):
        fit(model, X, (0, 500), checkpoint=path)
    fit(model, X, checkpoint=path)
    assert_array_equal(model.components_, expected.components_)
    assert model.loss_curve_ == expected.loss_curve_
