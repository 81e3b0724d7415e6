"""Latency of models converted to ONNX in onnxruntime, beside ``predict``.

    python benchmarks/onnx_serving.py [--rows 10000] [--batch 1000] [--threads 1] [--repeats 5]

Three kinds of data, generated: 50 dense columns; ratings of 943 users for 1682 items, as in
MovieLens-100k; clicks of ten fields with 1000 levels each. The models of the last two are
pipelines with a OneHotEncoder, which both sides run: their inputs are numbers of levels.

"one row" is the median time of 200 calls with one row, "rows" the median time of --repeats calls
with all rows, which onnxruntime gets in batches of --batch, as its one-hot rows are dense. The
last columns are the size of the ONNX file and the largest difference of the predictions, relative
to the largest of them.
"""

import argparse
import time
import warnings

import numpy as np
import onnxruntime
import skl2onnx
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skfm import BayesianFMRegressor, FMClassifier, FMRegressor
from skfm.onnx import register_converters

N_TRAINING = 50_000


def dense(rng):
    X = rng.normal(size=(N_TRAINING, 50)).astype(np.float32)
    return X, X[:, 0] * X[:, 1] + X[:, 2]


def ratings(rng):
    X = np.stack([rng.integers(n, size=N_TRAINING) for n in (943, 1682)], axis=1)
    tastes, kinds = rng.normal(size=(943, 2)), rng.normal(size=(1682, 2))
    return X, 3.5 + (tastes[X[:, 0]] * kinds[X[:, 1]]).sum(axis=1) / 2


def clicks(rng):
    X = rng.integers(1000, size=(N_TRAINING, 10))
    effect = rng.normal(size=(10, 1000))
    odds = effect[np.arange(10), X]
    return X, odds[:, 0] * odds[:, 1] + odds[:, 2] > rng.logistic(size=N_TRAINING)


def one_hot(model):
    return make_pipeline(OneHotEncoder(handle_unknown="ignore", dtype=np.float32), model)


CASES = {
    "dense, FMRegressor": (dense, lambda n_jobs: FMRegressor(16, random_state=0, n_jobs=n_jobs)),
    "ratings, FMRegressor": (
        ratings,
        lambda n_jobs: one_hot(FMRegressor(16, random_state=0, n_jobs=n_jobs)),
    ),
    "ratings, BayesianFMRegressor": (
        ratings,
        lambda n_jobs: one_hot(BayesianFMRegressor(random_state=0, n_jobs=n_jobs)),
    ),
    "clicks, FMClassifier": (
        clicks,
        lambda n_jobs: one_hot(FMClassifier(16, random_state=0, n_jobs=n_jobs)),
    ),
    "clicks, field-weighted": (
        clicks,
        lambda n_jobs: one_hot(
            FMClassifier(
                16,
                field_interactions="weighted",
                feature_fields=np.repeat(np.arange(10), 1000),
                random_state=0,
                n_jobs=n_jobs,
            )
        ),
    ),
    "clicks, field-aware": (
        clicks,
        lambda n_jobs: one_hot(
            FMClassifier(
                4,
                field_interactions="aware",
                feature_fields=np.repeat(np.arange(10), 1000),
                random_state=0,
                n_jobs=n_jobs,
            )
        ),
    ),
}


def median_time(function, batches, n_calls):
    function(batches[0])
    times = []
    for _ in range(n_calls):
        start = time.perf_counter()
        for batch in batches:
            function(batch)
        times.append(time.perf_counter() - start)
    return np.median(times)


def convert(model, X, threads):
    """The file, and a function that predicts with it."""
    is_classifier = hasattr(model, "classes_")
    options = {"zipmap": False} if is_classifier else None
    file = skl2onnx.to_onnx(model, X[:1], options=options).SerializeToString()
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(file, settings)

    def predict(rows):
        output = session.run(None, {"X": rows})[-1]
        return output if is_classifier else output[:, 0]

    return file, predict


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (("rows", 10_000), ("batch", 1000), ("threads", 1), ("repeats", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    register_converters()
    warnings.simplefilter("ignore", ConvergenceWarning)
    print(f"{'':29} one row, ms      {options.rows} rows, ms")
    print(f"{'':29} {'skfm':>7} {'ONNX':>7}  {'skfm':>8} {'ONNX':>8}  {'MB':>6} {'error':>8}")
    for name, (make_data, make_model) in CASES.items():
        X, y = make_data(np.random.default_rng(0))
        model = make_model(options.threads).fit(X, y)
        rows = X[: options.rows]
        predict = getattr(model, "predict_proba", model.predict)
        file, converted = convert(model, rows, options.threads)
        batches = [rows[i : i + options.batch] for i in range(0, len(rows), options.batch)]
        expected = predict(rows)
        got = np.concatenate([converted(batch) for batch in batches])
        error = np.abs(got - expected).max() / np.abs(expected).max()
        one = [median_time(f, [rows[:1]], 200) for f in (predict, converted)]
        many = [
            median_time(predict, [rows], options.repeats),
            median_time(converted, batches, options.repeats),
        ]
        times = " ".join(f"{1e3 * t:7.2f}" for t in one) + "  "
        times += " ".join(f"{1e3 * t:8.1f}" for t in many)
        print(f"{name:29} {times}  {len(file) / 1e6:6.2f} {error:8.1e}", flush=True)


if __name__ == "__main__":
    main()
