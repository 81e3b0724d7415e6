"""Fits on rows in files: `fit_stream` on encoded rows that are read piece by piece."""

import threading

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.metrics import log_loss, mean_absolute_error, mean_squared_error

from skfm import FMClassifier, FMRegressor
from skfm._fm import fit_stream, streamed_rows
from skfm._fm.interactions import check_interactions
from skfm._fm.streamed_rows import StreamedRows, count_labels
from skfm._fm.target_transform import Targets, of_numbers
from skfm._solvers.fm import streamed
from skfm._solvers.fm.penalties import Penalties
from skfm._solvers.fm.problem import make_problem

N_FIELDS, N_LEVELS = 5, 40
FIELDS = np.repeat(np.arange(N_FIELDS), N_LEVELS)


class Encoded:
    """Encoded rows in memory, with the interface of those in files."""

    def __init__(self, X, y, weight=None, n_piece=100, **known):
        self.X, self.y, self.weight = sparse.csr_matrix(X), np.asarray(y), weight
        self.n_rows, self.n_features = X.shape
        bounds = np.append(np.arange(0, self.n_rows, n_piece), self.n_rows)
        self.bounds = bounds
        self.piece_rows = np.diff(bounds)
        self.piece_entries = np.diff(self.X.indptr[bounds]).astype(np.int64)
        self.dtype, self.n_entries = self.X.dtype, self.X.nnz
        self.has_weight = weight is not None
        self.labels = None
        self.target_dtype = self.y.dtype
        if self.y.dtype.kind in "US":
            self.labels, self.codes = np.unique(self.y, return_inverse=True)
        else:
            self.codes = self.y.astype(np.float64)
        self.feature_fields = self.feature_groups = self.feature_names = None
        vars(self).update(known)

    def read(self, pieces):
        rows = np.concatenate([np.arange(*self.bounds[p : p + 2]) for p in pieces])
        return self.X[rows], self.codes[rows], self.weight[rows] if self.has_weight else None

    @property
    def checksums(self):
        return {"X": self.X, "y": self.codes, "weight": self.weight}

    def read_targets(self, pieces):
        return self.read(pieces)[1:]

    def read_all(self):
        X = self.X.copy()
        vars(X).update({n: v for n, v in vars(self).items() if n.startswith("feature_")})
        return X, self.codes, self.weight

    def encoded(self):
        return self


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of a few hundred rows, so that small data is many blocks; the sample is smaller."""
    monkeypatch.setattr(streamed, "BLOCK_ENTRIES", 2000)
    monkeypatch.setattr(streamed, "SAMPLE_ENTRIES", 20_000)


def make_clicks(n_rows, seed=0, dtype=np.float32, n_dense=0):
    """One-hot fields, perhaps with dense columns far from zero, and raw outputs."""
    rng = np.random.default_rng(seed)
    columns = rng.integers(N_LEVELS, size=(n_rows, N_FIELDS)) + N_LEVELS * np.arange(N_FIELDS)
    indptr = np.arange(0, n_rows * N_FIELDS + 1, N_FIELDS)
    values = np.ones(columns.size, dtype)
    shape = n_rows, N_FIELDS * N_LEVELS
    X = sparse.csr_matrix((values, columns.ravel().astype(np.int32), indptr), shape)
    planted = np.random.default_rng(1)
    factors = planted.normal(0, 0.6, (shape[1], 3))
    sums = X @ factors
    raw = X @ planted.normal(0, 0.5, shape[1]) + (sums**2 - X @ factors**2).sum(axis=1) / 2
    if n_dense:
        dense = rng.normal(size=(n_rows, n_dense)) + 10 * np.arange(n_dense)
        raw += dense @ planted.normal(0, 0.3, n_dense)
        raw -= raw.mean()
        X = sparse.hstack([X, dense.astype(dtype)], format="csr", dtype=dtype)
    return X, raw


def labels_of(raw, rng):
    return (rng.random(raw.size) < 1 / (1 + np.exp(-raw))).astype(int)


def assert_same(a, b):
    for name, value in vars(a).items():
        if isinstance(value, (np.ndarray, float, list, int)) and name.endswith("_"):
            assert_array_equal(value, getattr(b, name), err_msg=name)


# --- what fits into a block is a fit in memory ----------------------------------------------


@pytest.mark.parametrize("solver", ["adagrad", "adam", "ftrl", "sgd", "als"])
@pytest.mark.parametrize("weighted", [False, True])
def test_few_rows_give_the_bits_of_fit(solver, weighted):
    X, raw = make_clicks(900)
    rng = np.random.default_rng(0)
    weight = rng.integers(1, 4, 900).astype(X.dtype) if weighted else None
    model = FMClassifier(4, solver=solver, max_iter=6, random_state=0)
    y = np.where(labels_of(raw, rng), "yes", "no")
    fitted = model.fit(X, y, weight)
    streamed_ = FMClassifier(4, solver=solver, max_iter=6, random_state=0)
    assert_same(fitted, streamed_.fit_stream(Encoded(X, y, weight)))


def test_few_rows_with_fields_and_validation_rows():
    X, raw = make_clicks(900)
    y, model = raw, FMRegressor(4, max_iter=8, random_state=0, field_interactions="weighted")
    train, val = slice(0, 700), slice(700, None)
    fitted = FMRegressor(
        4, max_iter=8, random_state=0, field_interactions="weighted", feature_fields=FIELDS
    ).fit(X[train], y[train], X_val=X[val], y_val=y[val])
    rows = Encoded(X[train], y[train], feature_fields=FIELDS)
    assert_same(fitted, model.fit_stream(rows, rows_val=Encoded(X[val], y[val])))


# --- the objective is that of a fit in memory -----------------------------------------------


@pytest.mark.parametrize("n_dense", [0, 3])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("given", [False, True])
def test_the_problem_is_that_of_rows_in_memory(small_blocks, n_dense, weighted, given):
    X, raw = make_clicks(3000, dtype=np.float64, n_dense=n_dense)
    X = X.tolil()
    X[:, 7] = 0  # a column that does not occur
    X[5, 8] = 1e-170  # and one that cannot matter
    X[6:, 8] = 0
    X[:5, 8] = 0
    rng = np.random.default_rng(0)
    weight = np.ones(3000)
    if weighted:
        weight = rng.random(3000) + 0.5
        weight[17], X[17, -1] = 1e-12, 0  # a full column but for a row of negligible weight
    X = X.tocsr()
    X.eliminate_zeros()
    transform = of_numbers(Targets.in_memory(raw, weight), "squared_error", 0.0, True, False)
    penalty = 2.0 if given else None
    penalties = Penalties(linear=penalty, factors=penalty, linear_lasso=0.0, factor_lasso=0.0)
    interactions = check_interactions(
        None,
        X.shape[1],
        n_components=4,
        degree=2,
        fit_lower=True,
        interactions=None,
        fit_linear=True,
    )
    known = transform.loss, penalties, interactions
    whole = make_problem(
        X, transform.apply(raw), weight if weighted else weight[:0], *known, may_center=True
    )
    encoded = Encoded(X, raw, weight if weighted else None)
    rows = StreamedRows(encoded, lambda y: y).for_solver(transform)
    problem, sample = streamed.make_streamed_problem(rows, *known, may_center=True)
    assert problem.n_rows == 3000
    assert_allclose(problem.total_weight, whole.total_weight)
    assert_array_equal(problem.used, whole.used)
    for name in ("count", "center", "scale", "linear_penalty", "factor_penalty", "penalty_share"):
        assert_allclose(getattr(problem, name), getattr(whole, name), rtol=1e-10, err_msg=name)
    assert np.any(whole.center) == (n_dense > 0)
    assert_allclose(problem.mean_row_length, whole.mean_row_length)
    block = problem.with_rows(rows.read(np.array([0, 5])))  # with the entry that cannot matter
    chosen = np.r_[0:100, 500:600]
    found, expected = block.scaled_rows(), whole.scaled_rows(chosen)
    assert found.nnz == expected.nnz
    assert_allclose(found.toarray(), expected.toarray(), rtol=1e-9, atol=1e-12)
    assert_allclose(block.target, whole.target[chosen])
    assert sample.n_rows == 3000 or 500 < sample.n_rows < 2900
    assert_allclose(sample.represented * sample.total_weight, whole.total_weight)


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber", "quantile"])
def test_targets_in_parts_are_transformed_alike(loss):
    rng = np.random.default_rng(0)
    y, weight = rng.normal(5, 2, 1000), rng.random(1000) + 0.1
    whole = of_numbers(Targets.in_memory(y, weight), loss, 0.7, True, False)
    parts = [(y[start : start + 300], weight[start : start + 300]) for start in (0, 300, 600, 900)]
    in_parts = of_numbers(
        Targets(lambda: iter(parts), lambda: (y, weight)), loss, 0.7, True, False
    )
    for name in ("unit", "shift", "baseline", "intercept"):
        assert_allclose(getattr(in_parts, name), getattr(whole, name), rtol=1e-12, err_msg=name)


CASES = {
    "auto": {},
    "given": {"alpha": 1.0, "alpha_linear": 1.0},
    "adam": {"alpha": 1.0, "alpha_linear": 1.0, "solver": "adam"},
    "ftrl": {"alpha": 1.0, "alpha_linear": 1.0, "solver": "ftrl"},
    "sgd": {"alpha": 1.0, "alpha_linear": 1.0, "solver": "sgd"},
    "lasso": {"alpha": 1.0, "alpha_linear": 1.0, "solver": "ftrl", "alpha_l1": 2.0},
    "hinge": {"alpha": 1.0, "alpha_linear": 1.0, "loss": "squared_hinge"},
    "balanced": {"class_weight": "balanced"},
    "dict": {"class_weight": {0: 1.0, 1: 3.0}},
    "weighted": {"field_interactions": "weighted"},
    "aware": {"field_interactions": "aware", "alpha": 1.0},
}


@pytest.mark.parametrize("class_weight", ["balanced", {"no": 1.0, "yes": 3.0, "perhaps": 0.5}])
def test_class_weights_are_those_of_rows(small_blocks, class_weight):
    X, raw = make_clicks(3000)
    y = np.array(["no", "yes", "perhaps"])[np.digitize(np.sort(raw), [0, 1])]
    given = np.random.default_rng(0).integers(1, 4, 3000).astype(X.dtype)
    labels, codes = np.unique(y, return_inverse=True)
    count = np.bincount(codes, given)
    if class_weight == "balanced":
        factors = 1 / (count * np.mean(1 / count))
    else:
        factors = np.array([class_weight[label] for label in labels])
    model = FMClassifier(4, class_weight=class_weight, max_iter=4, random_state=0)
    model.fit_stream(Encoded(X, y, given))
    weight = given * factors[codes].astype(X.dtype)
    expected = FMClassifier(4, max_iter=4, random_state=0).fit_stream(Encoded(X, y, weight))
    assert_same(model, expected)


def test_class_weights_without_effect_are_an_error(small_blocks):
    X, raw = make_clicks(3000)
    rows = Encoded(X, (raw > 0).astype(int))
    model = FMClassifier(2, max_iter=2, class_weight={0: 1e-60, 1: 1.0})
    fails("class_weight gives weights that are too small", rows, model)


@pytest.mark.parametrize("strings", [False, True])
def test_labels_that_come_late_are_counted(small_blocks, strings):
    """The rows are sorted: the first part has a single label."""
    y = np.repeat([3, 7, 5, 1], [2500, 1500, 1000, 40])
    y = y.astype(str) if strings else y
    weight = np.random.default_rng(0).random(y.size)
    encoded = Encoded(sparse.csr_matrix((y.size, 4)), y, weight)
    seen = []
    labels, count = count_labels(encoded, seen.append)
    expected, codes = np.unique(y, return_inverse=True)
    assert_array_equal(labels, expected)
    assert_allclose(count, np.bincount(codes, weight))
    assert_array_equal(*seen, y[:1])


def test_the_sample_of_targets_is_random(small_blocks, monkeypatch):
    monkeypatch.setattr(streamed_rows, "SAMPLED", 500)
    y = np.sort(np.random.default_rng(0).normal(size=3000))
    rows = StreamedRows(Encoded(sparse.csr_matrix((3000, 4)), y), lambda y: y)
    sample, weight = rows.targets.sample()
    assert 400 < sample.size == weight.size < 600
    assert abs(np.median(sample)) < 0.2 and 0.8 < sample.std() < 1.2


def scores_of(make, X, y, n_train, score, **known):
    """Median scores of three random starts, on held-out rows: streamed, and in memory."""
    X_test, y_test = X[n_train:], y[n_train:]
    rows = Encoded(X[:n_train], y[:n_train], **known)
    found = []
    for seed in range(3):
        streamed_ = make(seed).fit_stream(rows)
        whole = make(seed).set_params(feature_fields=known.get("feature_fields"))
        whole.fit(X[:n_train], y[:n_train])
        found.append([score(y_test, model, X_test) for model in (streamed_, whole)])
    return np.median(found, axis=0)


def loss_of(y, model, X):
    return log_loss(y, model.predict_proba(X))


def errors_of(y, model, X):
    return np.mean(model.predict(X) != y)


@pytest.mark.parametrize("case", CASES)
def test_classifiers_are_as_good_as_in_memory(small_blocks, case):
    X, raw = make_clicks(12_000)
    y = labels_of(raw, np.random.default_rng(2))
    options = {"max_iter": 60} | CASES[case]

    def make(seed):
        return FMClassifier(4, random_state=seed, **options)

    score = errors_of if options.get("loss") == "squared_hinge" else loss_of
    found, expected = scores_of(make, X, y, 9000, score, feature_fields=FIELDS)
    room = 0.02 if score is errors_of else 0.02 * expected
    assert found < expected + room


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "quantile", "poisson"])
@pytest.mark.parametrize("n_dense", [0, 3])
def test_regressors_are_as_good_as_in_memory(small_blocks, loss, n_dense):
    X, raw = make_clicks(12_000, n_dense=n_dense)
    rng = np.random.default_rng(2)
    y = raw + rng.normal(0, 0.5, raw.size)
    if loss == "poisson":
        y = rng.poisson(np.exp(raw / 5)).astype(float)

    def make(seed):
        return FMRegressor(4, loss=loss, random_state=seed, max_iter=80)

    of_squares = loss in ("squared_error", "poisson")
    metric = mean_squared_error if of_squares else mean_absolute_error
    found, expected = scores_of(make, X, y, 9000, lambda y, m, X: metric(y, m.predict(X)))
    assert found < 1.02 * expected


def test_softmax_and_strings(small_blocks):
    X, raw = make_clicks(12_000)
    raw = raw + np.random.default_rng(2).normal(0, 1, raw.size)
    y = np.array(["low", "medium", "high"])[np.digitize(raw, [-0.7, 0.7])]

    def make(seed):
        return FMClassifier(4, random_state=seed)

    found, expected = scores_of(make, X, y, 9000, loss_of)
    assert found < 1.02 * expected


@pytest.mark.parametrize("order", ["by_target", "by_feature"])
def test_sorted_rows(small_blocks, order):
    X, raw = make_clicks(12_000)
    y = labels_of(raw, np.random.default_rng(2))
    train, test = np.arange(9000), slice(9000, None)
    key = y[train] if order == "by_target" else X[train].indices.reshape(9000, -1)[:, 0]
    whole = FMClassifier(4, random_state=0).fit(X[train], y[train])
    chosen = train[np.argsort(key, kind="stable")]
    model = FMClassifier(4, random_state=0).fit_stream(Encoded(X[chosen], y[chosen], n_piece=20))
    losses = [log_loss(y[test], m.predict_proba(X[test])) for m in (model, whole)]
    assert losses[0] < 1.01 * losses[1]


# --- the same bits, whatever computes them --------------------------------------------------


@pytest.mark.parametrize("n_jobs", [2, 3])
def test_results_do_not_depend_on_n_jobs(small_blocks, n_jobs):
    X, raw = make_clicks(3000)
    rows = Encoded(X, labels_of(raw, np.random.default_rng(2)))
    models = [
        FMClassifier(4, batch_size=256, max_iter=30, random_state=0, n_jobs=n).fit_stream(rows)
        for n in (1, n_jobs)
    ]
    assert_same(*models)


def test_a_random_state_makes_it_reproducible(small_blocks):
    X, raw = make_clicks(3000)
    rows = Encoded(X, raw)
    a, b, c = (FMRegressor(4, max_iter=5, random_state=s).fit_stream(rows) for s in (0, 0, 1))
    assert_same(a, b)
    assert not np.array_equal(a.components_, c.components_)


# --- early stopping, warm starts, further training ------------------------------------------


@pytest.mark.parametrize("n_val", [200, 2000])
@pytest.mark.parametrize("scoring", ["loss", "roc_auc"])
def test_early_stopping(small_blocks, n_val, scoring):
    X, raw = make_clicks(3000 + n_val)
    y = labels_of(raw, np.random.default_rng(2))
    rows, val = Encoded(X[:3000], y[:3000]), Encoded(X[3000:], y[3000:])
    model = FMClassifier(8, alpha=0.01, alpha_linear=0.01, scoring=scoring, random_state=0)
    model.fit_stream(rows, rows_val=val)
    assert model.n_iter_ < 100
    best = max(model.validation_scores_)
    if scoring == "loss":
        assert_allclose(best, -log_loss(y[3000:], model.predict_proba(X[3000:])), rtol=1e-5)
    else:
        assert best > 0.6


@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 1.0, 1: 3.0}])
def test_the_loss_of_validation_rows_is_that_in_memory(small_blocks, class_weight, monkeypatch):
    """In several blocks, whose classes have other shares than those of the training rows."""
    X, raw = make_clicks(4000)
    y, weight = labels_of(raw, np.random.default_rng(2)), np.linspace(0.5, 2, 4000)
    chosen = np.append(np.flatnonzero(y == 1)[:800], np.flatnonzero(y == 0)[:300])
    val = Encoded(X[chosen], y[chosen], weight[chosen].astype(X.dtype))
    model = FMClassifier(4, class_weight=class_weight, random_state=0, max_iter=5)
    in_blocks = model.fit_stream(Encoded(X, y), rows_val=val).validation_scores_
    monkeypatch.setattr(fit_stream, "fit_in_memory", lambda entries: entries is val.piece_entries)
    in_memory = model.fit_stream(Encoded(X, y), rows_val=val).validation_scores_
    assert_allclose(in_blocks, in_memory, rtol=1e-6)


def test_wrong_validation_rows_are_an_error_before_training(small_blocks):
    X, raw = make_clicks(3000)
    y, epochs = (raw > 0).astype(int), []

    def callback(model, epoch, loss):
        epochs.append(epoch)

    val = Encoded(X, np.append(y[:-1], 2))
    fails("y_val has the label 2", Encoded(X, y), FMClassifier(callback=callback), rows_val=val)
    rows, val = Encoded(X, raw / 1000), Encoded(X, np.append(raw[:-1], 1e308))
    fails("y_val are far too large", rows, FMRegressor(callback=callback), rows_val=val)
    assert not epochs


def test_a_warm_start_continues(small_blocks):
    X, raw = make_clicks(3000)
    rows = Encoded(X, raw)
    model = FMRegressor(4, max_iter=10, random_state=0, warm_start=True).fit_stream(rows)
    first = model.loss_curve_[-1]
    assert model.fit_stream(rows).loss_curve_[0] < 1.1 * first


def test_a_checkpoint_continues(small_blocks, tmp_path):
    X, raw = make_clicks(3000)
    y, path = labels_of(raw, np.random.default_rng(2)), tmp_path / "checkpoint"
    rows, val = Encoded(X[:2500], y[:2500]), Encoded(X[2500:], y[2500:])

    def fit(checkpoint, stop=None):
        def callback(model, epoch, loss):
            if epoch == stop:
                raise InterruptedError

        model = FMClassifier(4, max_iter=25, random_state=0, callback=callback)
        return model.fit_stream(rows, rows_val=val, checkpoint=checkpoint)

    for stop in (3, 12, 20):
        with pytest.raises(InterruptedError):
            fit(path, stop)
    assert_same(fit(None), fit(path))
    other = Encoded(X[:2500], 1 - y[:2500])
    with pytest.raises(ValueError, match=r"rows differs"):
        FMClassifier(4, max_iter=25, random_state=0).fit_stream(
            other, rows_val=val, checkpoint=path
        )


def test_callbacks_of_scikit_learn_see_no_rows(small_blocks):
    pytest.importorskip("sklearn.callback")
    from sklearn.callback import ScoringMonitor

    X, raw = make_clicks(3000)
    model, monitor = FMRegressor(4, max_iter=3, random_state=0), ScoringMonitor(scoring="r2")
    whole = FMRegressor(4, max_iter=3, random_state=0).fit_stream(Encoded(X, raw))
    model.set_callbacks(monitor).fit_stream(Encoded(X, raw))
    assert_same(model, whole)
    log = monitor.get_logs().data_as_pandas
    assert len(log) == 4 and "r2" not in log


def test_partial_fit_continues(small_blocks):
    X, raw = make_clicks(3500)
    model = FMRegressor(4, max_iter=30, random_state=0).fit_stream(Encoded(X[:3000], raw[:3000]))
    before = mean_squared_error(raw[3000:], model.predict(X[3000:]))
    for _ in range(3):
        model.partial_fit(X[3000:], raw[3000:])
    assert mean_squared_error(raw[3000:], model.predict(X[3000:])) < before


# --- from files -----------------------------------------------------------------------------


def test_from_files_to_probabilities(small_blocks, tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    from skfm.preprocessing import TableEncoder
    from skfm.streams import Rows, predict_stream

    X, raw = make_clicks(4000)
    levels = X.indices.reshape(4000, N_FIELDS)
    columns = {f"field {f}": [f"level {level}" for level in levels[:, f]] for f in range(N_FIELDS)}
    table = pa.table(columns | {"click": labels_of(raw, np.random.default_rng(2))})
    for number in range(4):
        parquet.write_table(table.slice(1000 * number, 1000), tmp_path / f"{number}.parquet")
    rows = Rows(f"{tmp_path}/[0-2].parquet", target="click", chunk_rows=700)
    model = FMClassifier(4, random_state=0, max_iter=60).fit_stream(rows)
    encoder = TableEncoder(dtype=np.float32)
    features = table.drop_columns(["click"])
    train = encoder.fit_transform(features.slice(0, 3000))
    whole = FMClassifier(4, random_state=0, max_iter=60).fit(train, table["click"][:3000])
    new = Rows(f"{tmp_path}/3.parquet", target="click", encoder=rows.encoder_)
    found = np.concatenate(list(predict_stream(model, new)))
    y = table["click"][3000:].to_numpy()
    expected = log_loss(y, whole.predict_proba(encoder.transform(features.slice(3000))))
    assert log_loss(y, found) < 1.03 * expected


# --- errors ---------------------------------------------------------------------------------


def fails(message, rows, model=None, error=ValueError, **options):
    model = model or FMClassifier(2, max_iter=2, random_state=0)
    before = dict(vars(model))
    with pytest.raises(error, match=message):
        model.fit_stream(rows, **options)
    assert vars(model) == before


def test_errors(small_blocks):
    X, raw = make_clicks(3000)
    y = labels_of(raw, np.random.default_rng(2))
    rows = Encoded(X, y)
    fails("rows must be a skfm.streams.Rows; got a csr_matrix", X, error=TypeError)
    fails("rows_val must be a skfm.streams.Rows", rows, error=TypeError, rows_val=X)
    fails("rows_val have 100 features", rows, rows_val=Encoded(X[:, :100], y))
    named = [Encoded(X, y, feature_names=np.arange(200) + start) for start in (0, 1)]
    fails("rows_val have other features", named[0], rows_val=named[1])
    fails("solver='als' requires all rows at once", rows, FMClassifier(solver="als"))
    fails("early_stopping=True requires rows_val", rows, FMClassifier(early_stopping=True))
    fails("at least two classes", Encoded(X, np.ones(3000, int)))
    fails("Unknown label type", Encoded(X, raw))
    fails("numbers for a regression", Encoded(X, np.where(y, "a", "b")), FMRegressor())
    fails("n_components", rows, FMClassifier(n_components=-1))
    fails("must contain counts", Encoded(X, raw), FMRegressor(loss="poisson"))


def test_an_error_while_reading_leaves_the_model_as_it_was(small_blocks):
    X, raw = make_clicks(3000)

    class Broken(Encoded):
        n_reads = 0

        def read(self, pieces):
            self.n_reads += 1
            if self.n_reads > 20:
                raise OSError("the disk is gone")
            return super().read(pieces)

    model = FMRegressor(2, max_iter=5, random_state=0).fit_stream(Encoded(X, raw))
    n_threads = threading.active_count()
    for rows in (Broken(X, raw), Broken(X, raw)):
        fails("the disk is gone", rows, model, error=OSError)
    assert threading.active_count() == n_threads
