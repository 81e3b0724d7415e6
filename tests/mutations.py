"""Plants faults, one at a time, and tells which tests notice them.

    python tests/mutations.py [--only TEXT] [--full] [--every-test] [--cache FOLDER]

Each fault is one small change of a copy of the package, as a slip of the pen would make it. The
quick run should notice nine in ten of them. By default, the files of tests named in `NEAR` come
first, and pytest stops at the first test that fails; with ``--every-test`` the whole run is made
and all tests that fail are listed. ``--full`` goes on with the tests that the quick run leaves
out where it notices nothing. Compiled kernels are kept between faults (in ``--cache``), so only
what a fault touches is compiled again.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
KERNELS, SOLVERS = "skfm/_kernels/", "skfm/_solvers/"

FAULTS = [  # file, what stands there, what stands there instead
    (KERNELS + "minibatch.py", "row_weight = weight[i] if weighted else one", "row_weight = one"),
    (
        KERNELS + "minibatch.py",
        "row_scratch.sums[c, r, f] *= g",
        "row_scratch.sums[c, r, f] *= one",
    ),
    (KERNELS + "minibatch.py", "half * x2 * self_product[n2]", "half * x2 * self_product[n]"),
    (KERNELS + "minibatch.py", "+ x3 * g3 + x4 * g4\n", "+ x3 * g3\n"),
    (KERNELS + "minibatch.py", "weight += row_weight[r]", "weight += 1.0"),
    (KERNELS + "minibatch.py", "first = low\n", "first = low + 1\n"),
    (
        KERNELS + "minibatch.py",
        "occurrences += weight[np.uintp(r0) + np.uintp(entry_row[t])]",
        "occurrences += weight[np.uintp(entry_row[t])]",
    ),
    (
        KERNELS + "field_interactions.py",
        "return whole if partners[c, c] else whole * 0",
        "return whole",
    ),
    (
        KERNELS + "field_interactions.py",
        "layers[d, f] += weight * sums[c, f]",
        "layers[d, f] += sums[c, f]",
    ),
    (KERNELS + "field_interactions.py", "slopes[f] -= curve * v[f]", "pass"),
    (KERNELS + "field_interactions.py", "layers[d, g] += entry * value", "layers[d, g] += value"),
    (KERNELS + "field_interactions.py", "kind.penalty * weight * distance", "0 * distance"),
    (KERNELS + "minibatch.py", "slope = slope if interactions.has_linear[j] else zero", "pass"),
    (KERNELS + "update_rules.py", "- feature_sums.curve[b]", "+ feature_sums.curve[b]"),
    (KERNELS + "update_rules.py", "(kind(1) + rate * weight * penalty[i, 0])", "kind(1)"),
    (KERNELS + "update_rules.py", "n_steps = local_linear[i, 3] + kind(1)", "n_steps = kind(1)"),
    (KERNELS + "update_rules.py", "weight * penalty[i, 3]", "weight * penalty[i, 2]"),
    (
        KERNELS + "update_rules.py",
        "_soft_threshold(abs(target), lasso)",
        "_soft_threshold(abs(target), lasso * 2)",
    ),
    (KERNELS + "losses.py", "(abs(residual) - parameter / 2)", "abs(residual)"),
    (KERNELS + "losses.py", "(1 - parameter) * (residual > 0)", "parameter * (residual > 0)"),
    (KERNELS + "losses.py", "value -= target * (z - math.log(target))", "value -= target * z"),
    (KERNELS + "losses.py", "gradient[label, row] -= 1", "gradient[label, row] -= 0.9"),
    (KERNELS + "losses.py", "-2 * sign * gap", "-sign * gap"),
    (KERNELS + "losses.py", "t = math.exp(-abs(z))", "t = math.exp(-z)"),
    (KERNELS + "predict.py", "pa * pa + pb * pb + pc * pc + pd * pd", "pa * pa + pb * pb"),
    (KERNELS + "neighbors.py", "neighbor < other_neighbor", "neighbor > other_neighbor"),
    (KERNELS + "neighbors.py", "is_touched[other] = False", "pass"),
    (KERNELS + "elastic_net.py", "place[working[a]] = -1", "pass"),
    (KERNELS + "elastic_net.py", "between[a, b] = between[b, a] =", "between[a, b] ="),
    (KERNELS + "features.py", "total[j] += w * x\n", "total[j] += x\n"),
    (KERNELS + "features.py", "return total / 2", "return total"),
    (KERNELS + "batches.py", "(row_values[e0 + a] - center[j])", "row_values[e0 + a]"),
    (KERNELS + "normal_equations.py", "(prior.mean[g, c] - theta)", "-theta"),
    (KERNELS + "normal_equations.py", "(1 + OVERRELAXATION) * value", "value"),
    (KERNELS + "coordinate_descent.py", "error[i] += x * change", "error[i] += change"),
    (KERNELS + "coloring.py", "mask[np.uintp(row[e])] |= bit", "mask[np.uintp(row[e])] = bit"),
    (KERNELS + "relation_blocks.py", "total[a, n] += x * step[a] * total[n_factors, n]", "pass"),
    (KERNELS + "quadratic_bounds.py", "code = LOG_LOSS\n", "pass\n"),
    (KERNELS + "interactions.py", "layers[t, f] += p[f] * layers[t - 1, f]", "pass"),
    (KERNELS + "ranking.py", "dtype.type(max(n_free // n_tried, 1))", "dtype.type(n_free)"),
    (KERNELS + "negative_sampling.py", "begin[np.int64(seen.item[m - 1]) + 1]", "begin[m]"),
    (KERNELS + "ranking.py", "sums[number, f] += total * flat[f]", "pass"),
    (KERNELS + "item_regression.py", "residual[r, f] -= value[e] * step[f]", "pass"),
    (KERNELS + "ridge.py", "step = product / curvature", "step = product / (2 * curvature)"),
    (KERNELS + "ridge.py", "ra *= va\n", "pass\n"),
    (KERNELS + "mf_sgd.py", "+= mean * column_squares", "+= mean * row_squares"),
    (KERNELS + "top_k.py", "scores[r, k - 1] < score:", "scores[r, k - 1] <= score:"),
    (KERNELS + "principal_axes.py", "a * v + b * w + c * x + d * y", "a * v + b * w + c * x"),
    (KERNELS + "principal_axes.py", "total[i, j] = total[j, i]", "pass"),
    (
        KERNELS + "principal_axes.py",
        "a1 * w + b1 * x + c1 * y + d1 * z",
        "a1 * w + b1 * x + c1 * y",
    ),
    (SOLVERS + "training.py", "< self.best - least_progress", "< self.best + 1 - least_progress"),
    (SOLVERS + "training.py", "if self.best_epoch == 0:", "if False:"),
    (SOLVERS + "fm/saddle_points.py", "aweights=weight", "aweights=None"),
    (SOLVERS + "training.py", "if objective < self.best and not self.n_above_limit:", "if False:"),
    (SOLVERS + "training.py", "self.best and not self.n_above_limit:", "self.best:"),
    (
        SOLVERS + "fm/optimizer.py",
        "_rate /= np.sqrt(1 + self.n_epochs / DECAY_EPOCHS)",
        "_rate /= 1",
    ),
    (SOLVERS + "fm/problem.py", "share[:, 1] /= 1 + np.sqrt(", "share[:, 1] /= 1 + 0 * np.sqrt("),
    (SOLVERS + "fm/sweeps.py", "- problem.center[place]) / problem", ") / problem"),
    (SOLVERS + "fm/priors.py", "(size + 1) / 2", "(size + 1) / 4"),
    (SOLVERS + "fm/priors.py", "(multiplier * rate).sum", "(1 * rate).sum"),
    (SOLVERS + "fm/rescaling.py", "change * curvature / 2", "change * curvature"),
    (SOLVERS + "fm/gibbs.py", "if self.iteration > N_HELD:", "if True:"),
    (SOLVERS + "fm/level_noise.py", "product /= self.precision[levels.of_row]", "pass"),
    (SOLVERS + "fm/one_hot_fields.py", "columns = columns[is_free[columns]]", "pass"),
    (SOLVERS + "fm/diagnostics.py", "before.mean() - last.mean()", "last.mean()"),
    (SOLVERS + "mf/als.py", "csr.shape[1]).astype", "csr.shape[0]).astype"),
    (SOLVERS + "mf/problem.py", "np.maximum(count, 1) ** self.nu", "np.maximum(count, 1)"),
    ("skfm/_fm/target_transform.py", "- self.shift) / self.unit\n", ") / self.unit\n"),
    (
        "skfm/_fm/early_stopping.py",
        "estimator._make_weight(rows.y, rows.weight)",
        "np.ones_like(rows.weight)",
    ),
    ("skfm/_fm/posterior.py", "self.group_mean[:, group] + spread * noise", "spread * noise"),
    (
        "skfm/_recommenders/candidates.py",
        "hidden = excluded if seen is None else",
        "hidden = excluded if True else",
    ),
    ("skfm/_recommenders/catalogue.py", "known[given != -1], given[given != -1]", "known, given"),
    ("skfm/_recommenders/output.py", "places + 1", "places"),
    ("skfm/_recommenders/pipelines.py", "index_of(X) if", "index_of(rows) if"),
    ("skfm/_utils/progress.py", "time.perf_counter() - compiling_time()", "time.perf_counter()"),
    ("skfm/_utils/checkpoint.py", "if has_ended or", "if"),
    ("skfm/_utils/checkpoint.py", "return from_plain(self._random_state)", "return rng"),
    ("skfm/_utils/checkpoint.py", "self.others | {", "{"),
    ("skfm/_utils/checkpoint.py", "random_state.set_state(before)", "pass"),
    ("skfm/_utils/lock.py", "fcntl.LOCK_EX | ", "fcntl.LOCK_SH | "),
    ("skfm/_utils/lock.py", "if os.path.samestat(", "if True or os.path.samestat("),
    ("skfm/_utils/ahead.py", "if is_used.acquire(blocking=False):", "if is_used.acquire():"),
    (
        SOLVERS + "ranking/item_regression.py",
        "group.shrinkage = shrinkage.copy()",
        "pass",
    ),
    (
        SOLVERS + "ranking/item_regression.py",
        "group.linear_shrinkage = linear_shrinkage.copy()",
        "pass",
    ),
    (SOLVERS + "fm/streamed.py", "order = rng.permutation(", "order = np.arange("),
    (SOLVERS + "fm/streamed.py", "if weight.size else X.shape[0]\n", "if False else X.shape[0]\n"),
    (SOLVERS + "fm/streamed.py", "X = only_columns(X, is_used)", "pass"),
    (SOLVERS + "fm/streamed.py", "center[n_entries < rows.piece_rows.sum()] = 0", "pass"),
    (SOLVERS + "fm/streamed.py", "rng.random(X.shape[0]) < share", "np.arange(X.shape[0]) < 9"),
    ("skfm/_fm/streamed_rows.py", "weight = self._weigh(y, weight)", "pass"),
    ("skfm/_fm/streamed_rows.py", "moved[np.searchsorted(larger, known)] = total", "pass"),
    ("skfm/_fm/streamed_rows.py", "rng.random(y.size) < share", "np.arange(y.size) < 9"),
    ("skfm/_fm/fit_stream.py", 'data |= {"rows": encoded.checksums}', "pass"),
    (
        "skfm/_fm/fit_stream.py",
        '{"rows_val": None if held_out is None',
        '{"rows_val": None if True',
    ),
    ("skfm/_fm/fit_stream.py", "                _check_columns(encoded, held_out)\n", ""),
    ("skfm/_fm/fit_stream.py", 'vars(self).pop("feature_names_in_", None)', "pass"),
    ("skfm/streams/_cache.py", "if zlib.crc32(into[start:stop]) !=", "if None and"),
    ("skfm/streams/_cache.py", "order[shuffled(n_rows, chunk)] = np.arange(n_rows)", "pass"),
    ("skfm/streams/_cache.py", "y = self._codes[y]", "pass"),
    ("skfm/streams/_cache.py", "if found != expected:", "if False:"),
    ("skfm/streams/_cache.py", "for size in self._omitted:", "for size in []:"),
    ("skfm/streams/_folder.py", "if found != settings:", "if False:"),
    ("skfm/streams/_folder.py", "if os.getpid() == process:", "if True:"),
    ("skfm/streams/_rows.py", "kept = weight > 0 if drop else kept", "pass"),
    ("skfm/streams/_rows.py", '!= settings["source"]:', "is None:"),
    ("skfm/streams/_rows.py", "may_learn=False).close()", "may_learn=True).close()"),
    (
        "skfm/streams/_predictions.py",
        "path = Path(os.path.realpath(output))",
        "path = Path(output)",
    ),
    ("skfm/_utils/fingerprint.py", "{value.dtype.str}{value.shape}", ""),
    ("skfm/_recommenders/mf.py", "kind(self.scale_)", "kind(1)"),
    ("skfm/_utils/validation.py", "if (weight < 0).any():", "if False:"),
    ("skfm/_utils/ids.py", "families & known_families:", "True:"),
    ("skfm/_utils/column_roles.py", "home not in taken", "True"),
    (
        "skfm/preprocessing/_log_reader.py",
        "elif is_auto(wanted[",
        "elif False and is_auto(wanted[",
    ),
    ("skfm/preprocessing/_user_item_encoder.py", "if matrix.nnz < events.rows.size:", "if False:"),
    (
        "skfm/_recommenders/input_warnings.py",
        "is_telling = len(ids) > N_TELLING or",
        "is_telling =",
    ),
    ("skfm/_utils/sparse.py", " or (indptr[1:] < indptr[:-1]).any()", ""),
    ("skfm/_utils/sparse.py", "unsigned.max() >= n:", "unsigned.max() > n:"),
    ("skfm/_fm/outputs.py", "if overflown.size and", "if False and"),
    ("skfm/_utils/packing.py", "array[..., self.columns] = self.v", "array[..., -1:] = self.v"),
    ("skfm/_utils/pickling.py", "if origin != __version__:", "if False:"),
    ("skfm/datasets/_movielens_files.py", "cwd=folder,", ""),
    ("skfm/metrics.py", "hits.sum(axis=1) / k, average", "hits.sum(axis=1) / 10, average"),
    (
        "skfm/model_selection/_splits.py",
        "np.minimum(n_entries, n - 1), n)",
        "np.minimum(n_entries, n), n)",
    ),
    ("skfm/model_selection/_splits.py", " + rng.randint(n_rest, dtype=np.int64)", ""),
    ("skfm/_recommenders/held_out.py", "alone = users < 0", "alone = users < -1"),
    (
        "skfm/_recommenders/vectors.py",
        "    @cached_property\n    def unit",
        "    @property\n    def unit",
    ),
    ("skfm/_utils/sparse_text.py", "number + half, pieces[half:]", "number, pieces[half:]"),
    ("skfm/_utils/sparse_text.py", "if k < N_DIGITS:", "if k < N_DIGITS - 1:"),
    (
        "skfm/_recommenders/candidates.py",
        "seen.multiply(relevant != 0)",
        "seen.multiply(relevant < 0)",
    ),
]

NEAR = {  # which tests are likely to notice a fault in a file
    "_kernels/minibatch.py": "kernels interactions",
    "_kernels/update_rules.py": "kernels",
    "_kernels/losses.py": "kernels",
    "_kernels/predict.py": "kernels",
    "_kernels/features.py": "kernels",
    "_kernels/batches.py": "kernels fm",
    "_kernels/coordinate_descent.py": "columns gibbs",
    "_kernels/normal_equations.py": "columns gibbs",
    "_kernels/coloring.py": "columns",
    "_kernels/relation_blocks.py": "relations",
    "_kernels/quadratic_bounds.py": "columns",
    "_kernels/interactions.py": "interactions",
    "_kernels/field_interactions.py": "field_kernels interactions",
    "_kernels/ranking.py": "ranking_kernels",
    "_kernels/negative_sampling.py": "ranking_kernels",
    "_kernels/item_regression.py": "shrinkage ranking_kernels",
    "_kernels/ridge.py": "matrix_kernels",
    "_kernels/mf_sgd.py": "matrix_kernels",
    "_kernels/top_k.py": "matrix_kernels",
    "_kernels/neighbors.py": "baselines",
    "_kernels/elastic_net.py": "baselines",
    "_kernels/principal_axes.py": "matrix_kernels",
    "_solvers/training.py": "training stopping",
    "_solvers/fm/optimizer.py": "solvers partial_fit",
    "_solvers/fm/problem.py": "partial_fit",
    "_solvers/fm/sweeps.py": "als interactions",
    "_solvers/fm/gibbs.py": "gibbs",
    "_solvers/fm/level_noise.py": "gibbs bayes",
    "_solvers/fm/priors.py": "gibbs",
    "_solvers/fm/rescaling.py": "gibbs",
    "_solvers/fm/saddle_points.py": "saddle",
    "_solvers/fm/one_hot_fields.py": "feature_groups",
    "_solvers/fm/diagnostics.py": "gibbs bayes",
    "_solvers/mf/als.py": "mf matrix_kernels",
    "_solvers/mf/problem.py": "matrix_kernels",
    "_fm/target_transform.py": "fm solvers",
    "_fm/early_stopping.py": "stopping",
    "_fm/posterior.py": "bayes",
    "_utils/checkpoint.py": "checkpoints",
    "_utils/lock.py": "lock",
    "_utils/ahead.py": "ahead fit_stream_interrupted",
    "_solvers/ranking/item_regression.py": "checkpoints",
    "_solvers/fm/streamed.py": "fit_stream",
    "_fm/streamed_rows.py": "fit_stream",
    "_fm/fit_stream.py": "fit_stream fit_stream_interrupted",
    "streams/_cache.py": "streams_cache streams",
    "streams/_folder.py": "streams_cache streams",
    "streams/_rows.py": "streams_rows streams_cache",
    "streams/_predictions.py": "streams_predictions",
    "_utils/fingerprint.py": "checkpoints",
    "_utils/progress.py": "training",
    "_recommenders/candidates.py": "mf ranking metrics",
    "_recommenders/catalogue.py": "mf ranking",
    "_recommenders/held_out.py": "ranking",
    "_recommenders/output.py": "mf ranking",
    "_recommenders/pipelines.py": "ranking",
    "_recommenders/mf.py": "mf",
    "_recommenders/vectors.py": "mf ranking",
    "_utils/validation.py": "fm",
    "_utils/ids.py": "preprocessing event_encoder",
    "_utils/column_roles.py": "preprocessing event_encoder",
    "preprocessing/_log_reader.py": "preprocessing",
    "preprocessing/_user_item_encoder.py": "preprocessing",
    "_recommenders/input_warnings.py": "mf",
    "_utils/sparse.py": "sparse",
    "_fm/outputs.py": "overflow fm",
    "_utils/packing.py": "pickling",
    "_utils/pickling.py": "pickling",
    "_utils/sparse_text.py": "libffm",
    "datasets/_movielens_files.py": "datasets",
    "metrics.py": "metrics",
    "model_selection/_splits.py": "model_selection",
}
MISSED = "missed"


def plant(folder, fault):
    """Change one place in a copy of the package."""
    file, before, after = fault
    path = folder / file
    path.write_text(path.read_text().replace(before, after, 1))


def run_tests(folder, cache, options):
    """Whether all tests pass, and those that fail."""
    environment = dict(os.environ, NUMBA_CACHE_DIR=str(cache), PYTHONPATH=str(folder))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--no-header", *options],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+?)(?:\[.*)?(?: - .*)?$", done.stdout, re.MULTILINE)
    if done.returncode not in (0, 1, 2):  # 2: stopped at the first failure, or at an import
        raise SystemExit(done.stdout[-3000:] + done.stderr[-3000:])
    return done.returncode == 0, list(dict.fromkeys(failed))


def judge(folder, cache, file, arguments):
    """Which tests notice the fault that is in a file."""
    for name, options in runs(file, arguments):
        passed, failed = run_tests(folder, cache, options)
        if not passed:
            return f"{name}: {', '.join(failed) or 'an error'}"
    return MISSED


def runs(file, arguments):
    """Names and options of the runs to try, until one has a test that fails."""
    if arguments.every_test:
        yield "quick", []
    else:
        near = NEAR[file.removeprefix("skfm/")].split()
        yield "quick", ["-x", *(f"tests/test_{name}.py" for name in near)]
        yield "quick", ["-x"]
    if arguments.full:
        yield "full", ["-x", "-m", "full"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="faults whose file or text has this")
    parser.add_argument("--full", action="store_true", help="all tests for what is missed")
    parser.add_argument("--every-test", action="store_true", help="do not stop at the first")
    parser.add_argument("--cache", type=Path, help="folder for compiled kernels")
    arguments = parser.parse_args()
    chosen = [fault for fault in FAULTS if arguments.only in " ".join(fault)]
    missed = []
    with tempfile.TemporaryDirectory() as temporary:
        clean, cache = Path(temporary, "clean"), arguments.cache or Path(temporary, "cache")
        ignored = shutil.ignore_patterns(".git", "__pycache__", "_build", "*.egg-info", ".nox")
        shutil.copytree(ROOT, clean, ignore=ignored)
        for file, before, _ in chosen:
            if before not in (clean / file).read_text():
                raise SystemExit(f"{file} lacks {before!r}: the list of faults is out of date.")
        passed, failed = run_tests(clean, cache, [])
        if not passed:
            raise SystemExit(f"Tests fail without a fault: {failed}")
        for number, fault in enumerate(chosen, 1):
            start = time.perf_counter()
            folder = Path(temporary, "faulty")
            shutil.copytree(clean, folder)
            plant(folder, fault)
            verdict = judge(folder, cache, fault[0], arguments)
            missed += [fault] if verdict == MISSED else []
            shutil.rmtree(folder)
            file, before, _ = fault
            seconds = time.perf_counter() - start
            print(f"{number:3} {file}: {before.strip()!r} ({seconds:.0f} s) {verdict}", flush=True)
    print(f"{len(chosen) - len(missed)} of {len(chosen)} faults noticed.")
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
