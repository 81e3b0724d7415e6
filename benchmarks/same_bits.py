"""Whether a change of the code has changed any fitted parameter or prediction, bit for bit.

    python benchmarks/same_bits.py --save before.npz     # before the change
    python benchmarks/same_bits.py --compare before.npz  # after it

Every estimator is fitted on small generated data with each solver, loss, dtype and option that
takes another way through the code. Each fitted attribute that is a number or an array counts, and
what the model predicts. The second command prints what differs, with the largest difference
relative to the largest value, and exits with 1 if anything does.
"""

import argparse
import sys
import warnings

import numpy as np
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

import skfm
from skfm import (
    BayesianFMClassifier,
    BayesianFMRegressor,
    FMClassifier,
    FMRecommender,
    FMRegressor,
    MFRecommender,
    baselines,
)
from skfm.datasets import make_fm_classification, make_fm_regression
from skfm.preprocessing import EventEncoder, UserItemEncoder

SOLVERS = ("adagrad", "adam", "als", "ftrl", "sgd")
LOSSES = ("absolute_error", "huber", "quantile", "poisson")
FIELDS = np.repeat(["a", "b", "c", "d"], 30)


def make_table(kind, dtype, n_rows=3000, **options):
    make = make_fm_classification if kind is FMClassifier else make_fm_regression
    X, y = make(n_rows, n_fields=4, n_levels=30, random_state=0, dtype=dtype, **options)
    return sparse.csr_matrix(X), y


def variants_of_machines():
    """Names, estimators and data of FMRegressor and FMClassifier."""
    for dtype in (np.float64, np.float32):
        for kind in (FMRegressor, FMClassifier):
            X, y = make_table(kind, dtype)
            for solver in SOLVERS:
                name = f"{kind.__name__} {solver} {np.dtype(dtype)}"
                yield name, kind(solver=solver, max_iter=30, random_state=0), X, y
    X, y = make_table(FMRegressor, np.float64)
    rng = np.random.default_rng(0)
    counts = rng.poisson(np.exp(np.clip(y, -2, 2)))
    three = np.digitize(y, np.quantile(y, [0.3, 0.6]))
    dense = rng.normal(size=(600, 6)) + np.array([0, 0, 0, 5, 100, 2000])
    for solver in ("adagrad", "als"):
        for loss in LOSSES:
            target = counts if loss == "poisson" else y
            model = FMRegressor(loss=loss, solver=solver, max_iter=15, random_state=0)
            yield f"FMRegressor {loss} {solver}", model, X, target
        for loss in ("log_loss", "squared_hinge"):
            model = FMClassifier(loss=loss, solver=solver, max_iter=15, random_state=0)
            yield f"FMClassifier three classes {loss} {solver}", model, X, three
        for name, options in {
            "degree 3": {"degree": 3},
            "degree 3 alone": {"degree": 3, "fit_lower": False},
            "pairs": {"interactions": [("a", "b"), ("c", "c")], "feature_fields": FIELDS},
            "some linear": {"fit_linear": ["a"], "feature_fields": FIELDS},
            "no linear": {"fit_linear": False, "fit_intercept": False},
            "linear": {"n_components": 0},
            "given penalties": {"alpha": 2.0, "alpha_linear": 0.5},
            "groups": {"feature_groups": FIELDS, "alpha": [0.5, 1, 2, 3]},
            "early stopping": {"early_stopping": True},
        }.items():
            model = FMRegressor(solver=solver, max_iter=15, random_state=0).set_params(**options)
            yield f"FMRegressor {name} {solver}", model, X, y
        model = FMRegressor(solver=solver, max_iter=50, random_state=0)
        yield f"FMRegressor dense {solver}", model, dense, dense[:, 0] * dense[:, 1] + dense[:, 5]
    for kind in ("weighted", "matrixed", "aware"):
        fields = {"field_interactions": kind, "feature_fields": FIELDS}
        for solver in ("adagrad", "adam", "als", "ftrl", "sgd"):
            if (kind, solver) != ("matrixed", "als"):
                model = FMRegressor(4, solver=solver, max_iter=15, random_state=0, **fields)
                yield f"FMRegressor field-{kind} {solver}", model, X, y
        model = FMClassifier(4, max_iter=15, random_state=0, **fields)
        yield f"FMClassifier three classes field-{kind}", model, X, three
    model = FMRegressor(solver="ftrl", alpha_l1=2.0, alpha_l21=0.5, max_iter=15, random_state=0)
    yield "FMRegressor lasso", model, X, y
    for kind in (BayesianFMRegressor, BayesianFMClassifier):
        for dtype in (np.float64, np.float32):
            X, y = make_table(FMClassifier if kind is BayesianFMClassifier else FMRegressor, dtype)
            model = kind(4, max_iter=20, n_burn_in=5, random_state=0)
            yield f"{kind.__name__} {np.dtype(dtype)}", model, X, y
        for name, options in {
            "pairs": {"interactions": [("a", "b")], "feature_fields": FIELDS},
            "degree 3": {"degree": 3},
            "groups": {"feature_groups": FIELDS},
            "field-weighted": {"field_interactions": "weighted", "feature_fields": FIELDS},
            "field-aware": {"field_interactions": "aware", "feature_fields": FIELDS},
        }.items():
            model = kind(4, max_iter=20, n_burn_in=5, random_state=0).set_params(**options)
            yield f"{kind.__name__} {name}", model, X, y


def make_matrix(dtype, implicit):
    rng = np.random.default_rng(1)
    taste = rng.normal(size=(200, 3)) @ rng.normal(size=(3, 80)) + rng.normal(size=80)
    chosen = rng.random(taste.shape) < (taste > 1) * 0.5 + 0.05
    values = np.ones(taste.shape) if implicit else np.rint(np.clip(taste + 3, 1, 5))
    return sparse.csr_matrix(np.where(chosen, values, 0).astype(dtype))


def variants_of_recommenders():
    for dtype in (np.float64, np.float32):
        for name, options in {
            "als": {},
            "sgd": {"solver": "sgd"},
            "als without biases": {"fit_bias": False},
            "implicit": {"feedback": "implicit"},
        }.items():
            X = make_matrix(dtype, name == "implicit")
            model = MFRecommender(8, max_iter=10, random_state=0).set_params(**options)
            yield f"MFRecommender {name} {np.dtype(dtype)}", model, X, None
            if name == "implicit":
                for kind in baselines.__all__:
                    yield f"{kind} {np.dtype(dtype)}", getattr(baselines, kind)(), X, None
    X = make_matrix(np.float64, implicit=True).tocoo()
    users = sparse.csr_matrix(np.eye(200)[X.row])
    features = np.random.default_rng(2).integers(2, size=(80, 12)).astype(float)
    for loss in ("warp", "bpr", "logistic"):
        for dtype in (np.float64, np.float32):
            model = FMRecommender(8, loss=loss, max_iter=8, random_state=0)
            yield f"FMRecommender {loss} {np.dtype(dtype)}", model, users.astype(dtype), X.col
        model = FMRecommender(8, loss=loss, item_features=features, max_iter=8, random_state=0)
        yield f"FMRecommender {loss} item features", model, users, X.col


def answers(name, model, X, y):
    """What a model learns and predicts, as arrays by name."""
    found = {}
    model = model.fit(X) if y is None else model.fit(X, y)
    for attribute, value in vars(model).items():
        if attribute.endswith("_") and not attribute.startswith("_"):
            array = value.toarray() if sparse.issparse(value) else np.asarray(value)
            if array.dtype.kind in "biuf":
                found[attribute] = array
    rows = X[:50]
    if hasattr(model, "recommend"):
        found["items"], found["scores"] = model.recommend(rows, 5)
        if hasattr(model, "similar_items"):
            found["similar"], found["cosines"] = model.similar_items([0, 3, 5], 4)
        found["pairs"] = model.predict_pairs(rows, np.arange(50), np.arange(50))
        found["score"] = np.float64(model.score(X, y) if y is not None else model.score(X))
    elif hasattr(model, "predict_proba"):
        found["predicted"] = model.predict_proba(rows)
    elif hasattr(model, "decision_function"):
        found["predicted"] = model.decision_function(rows)
    elif isinstance(model, BayesianFMRegressor):
        found["predicted"], found["std"] = model.predict(rows, return_std=True)
    else:
        found["predicted"] = model.predict(rows)
    return {f"{name} / {key}": np.asarray(value) for key, value in found.items()}


def streams():
    """Parameters after some chunks, and after a warm start."""
    found = {}
    for kind in (FMRegressor, FMClassifier):
        X, y = make_table(kind, np.float64)
        for solver in ("adagrad", "adam", "ftrl", "sgd"):
            model = kind(solver=solver, random_state=0)
            for start in range(0, 3000, 500):
                rows = slice(start, start + 500)
                options = {"classes": [0, 1]} if kind is FMClassifier else {}
                model.partial_fit(X[rows], y[rows], **options)
            name = f"{kind.__name__} stream {solver}"
            found |= {f"{name} / coef_": model.coef_, f"{name} / components_": model.components_}
        model = kind(warm_start=True, max_iter=5, random_state=0).fit(X, y).fit(X[:1500], y[:1500])
        name = f"{kind.__name__} warm start"
        found |= {f"{name} / coef_": model.coef_, f"{name} / components_": model.components_}
    return found


def encoders():
    """Matrices of encoded logs."""
    rng = np.random.default_rng(3)
    users, items, ratings = (rng.integers(n, size=600) for n in (40, 60, 5))
    events = enumerate(zip(users, items, ratings, strict=True))
    log = [[f"u{user}", f"i{item}", float(r), float(time)] for time, (user, item, r) in events]
    matrix = UserItemEncoder().fit_transform(log)
    encoder = EventEncoder(("user", "item", "history", "last"), time=3)
    rows = sparse.csr_matrix(encoder.fit_transform(log))
    found = {"UserItemEncoder": matrix, "EventEncoder": rows}
    return {
        f"{name} / {part}": getattr(table, part)
        for name, table in found.items()
        for part in ("indptr", "indices", "data")
    }


def measure():
    found = {}
    for variants in (variants_of_machines(), variants_of_recommenders()):
        for variant in variants:
            found |= answers(*variant)
    return found | streams() | encoders()


def compare(before, after):
    """Lines that say what differs."""
    for name in sorted(before.keys() | after.keys()):
        if name not in before or name not in after:
            yield f"{name}: only {'after' if name in after else 'before'}"
            continue
        old, new = before[name], after[name]
        if old.shape != new.shape or old.dtype != new.dtype:
            yield f"{name}: {old.dtype}{old.shape} before, {new.dtype}{new.shape} after"
        elif not np.array_equal(old, new, equal_nan=old.dtype.kind == "f"):
            size = np.abs(old.astype(float)).max(initial=0)
            far = np.abs(old.astype(float) - new.astype(float)).max(initial=0)
            yield f"{name}: differs by {far / size if size else far:.1e}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--save", metavar="FILE")
    group.add_argument("--compare", metavar="FILE")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    warnings.simplefilter("ignore", UserWarning)
    found = measure()
    print(f"{len(found)} arrays of skfm {skfm.__version__}")
    if arguments.save:
        np.savez_compressed(
            arguments.save, **{name.replace("/", "|"): found[name] for name in found}
        )
        return 0
    with np.load(arguments.compare) as saved:
        before = {name.replace("|", "/"): saved[name] for name in saved.files}
    lines = list(compare(before, found))
    print("\n".join(lines) or "Everything is the same, bit for bit.")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
