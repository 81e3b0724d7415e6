"""MFRecommender and other tools behind one interface, for mf_*.py. Not a command of its own.

Implicit feedback: all tools minimize, up to a factor and the scale of the scores s = p_u . q_i,

    sum of (1 - s)^2 over stored entries + unobserved * sum of s^2 over all
        + sum of penalty_u |p_u|^2 + sum of penalty_i |q_i|^2,

where stored values are 1. In irspack and skfm, penalty_u = alpha * (n_u + unobserved * n_items) **
nu and penalty_i likewise; implicit and cmfrec have one penalty for all users and items, as with nu
= 0. What the benchmarks search is nu, where a tool has it, "unobserved" and "penalty": the latter
is what alpha would be for nu = 1, and is brought to the same mean size for other powers. So it
means about the same for each tool, each nu and data of each size.

How good a fit is, is judged by its item factors: `solve_users` finds the best user factors for
them by the tool's own objective, in the same way for each tool.
"""

import json
import os
import subprocess
import sys
import time
import warnings
from importlib.util import find_spec

import numpy as np
from scipy import sparse

# As many iterations as asked for are meant; where BLAS's threads matter, they are set.
warnings.filterwarnings("ignore", "max_iter=")
warnings.filterwarnings("ignore", "OpenBLAS is configured")

# --- implicit feedback ----------------------------------------------------------------------


class Enough(Exception):
    """Raised by who listens to a fit, to end it."""


class Watch:
    """A stop watch: counts while it runs."""

    def __init__(self):
        self.seconds = 0.0
        self.start()

    def start(self):
        self.began = time.perf_counter()

    def stop(self):
        self.seconds += time.perf_counter() - self.began
        return self.seconds


class ImplicitTool:
    """One tool with its settings.

    ``curve(X, stops, listen)`` trains and calls ``listen(n_iter, seconds)`` when as many
    iterations as each stop are done. ``seconds`` are those of training so far: from the CSR
    matrix on, without what listeners take. Meanwhile ``item_factors()`` and ``user_factors(rows,
    X_rows)`` are those of the tool itself.
    """

    package = ""
    powers = (0.0,)  # of nu, which only some tools have
    one_blas_thread = False
    goes_on = False  # whether one fit serves all stops

    def __init__(self, n_factors, unobserved, penalty, nu, n_threads):
        self.n_factors = n_factors
        self.unobserved = unobserved
        self.penalty = penalty
        self.nu = nu
        self.n_threads = n_threads
        self.model = None

    def curve(self, X, stops, listen):
        """For tools which cannot go on where they stopped: a whole fit for each stop."""
        try:
            for n_iter in stops:
                self.model = None
                watch = Watch()
                self.fit(X, n_iter)
                listen(n_iter, watch.stop())
        except Enough:
            pass

    def fit(self, X, n_iter):
        self.curve(X, [n_iter], lambda *_: None)

    def system(self, n_stored, n_items):
        """The normal equations of users: weight of all items, weight and target of the stored
        ones, penalty by user."""
        raise NotImplementedError

    def solve_users(self, X):
        return solve_users(X, self.item_factors(), *self.system(np.diff(X.indptr), X.shape[1]))


class ScaledPenalty(ImplicitTool):
    """A user's penalty is ``alpha * (n_u + unobserved * n_items) ** nu``, an item's likewise."""

    powers = (0.0, 0.5, 1.0)

    def alpha(self, X):
        return float(self.penalty * typical_size(X, self.unobserved) ** (1 - self.nu))

    def system(self, n_stored, n_items):
        size = n_stored + self.unobserved * n_items
        return self.unobserved, 1.0, 1.0, self.fitted_alpha * size**self.nu


class PlainPenalty(ImplicitTool):
    """All is divided by ``unobserved``: each item weighs 1, a stored entry that much more."""

    def plain_penalty(self, X):
        self.plain = float(self.penalty * typical_size(X, self.unobserved) / self.unobserved)
        return self.plain

    def system(self, n_stored, n_items):
        extra = 1 / self.unobserved
        return 1.0, extra, 1 + extra, np.full(n_stored.size, self.plain)


def typical_size(X, unobserved):
    """A mean of what the penalties of users and of items are scaled by where nu is 1."""
    n_users, n_items = X.shape
    by_user = X.nnz / n_users + unobserved * n_items
    by_item = X.nnz / n_items + unobserved * n_users
    return np.sqrt(by_user * by_item)


class Skfm(ScaledPenalty):
    package = "skfm"

    def fit(self, X, n_iter):
        from skfm import MFRecommender

        self.fitted_alpha = self.alpha(X)
        self.model = MFRecommender(
            self.n_factors,
            feedback="implicit",
            alpha=self.fitted_alpha,
            nu=self.nu,
            unobserved_weight=self.unobserved,
            max_iter=n_iter,
            tol=0,
            random_state=0,
            n_jobs=self.n_threads,
        ).fit(X)

    def item_factors(self):
        return self.model.components_.T

    def user_factors(self, rows, X_rows):
        return self.model.transform(X_rows)


class Implicit(PlainPenalty):
    package = "implicit"
    one_blas_thread = True  # as its README asks for
    goes_on = True
    use_cg = True

    def curve(self, X, stops, listen):
        from implicit.cpu.als import AlternatingLeastSquares

        watch = Watch()
        self.model = AlternatingLeastSquares(
            self.n_factors,
            regularization=self.plain_penalty(X),
            alpha=1 + 1 / self.unobserved,
            use_cg=self.use_cg,
            iterations=stops[-1],
            num_threads=self.n_threads,
            random_state=0,
        )

        def after_iteration(iteration, *_):
            if iteration + 1 in stops:
                listen(iteration + 1, watch.stop())
                watch.start()

        try:
            self.model.fit(X, show_progress=False, callback=after_iteration)
        except Enough:
            pass

    def item_factors(self):
        return self.model.item_factors

    def user_factors(self, rows, X_rows):
        return self.model.user_factors[rows]


class ImplicitCholesky(Implicit):
    use_cg = False


class Irspack(ScaledPenalty):
    package = "irspack"
    goes_on = True
    solver_type = "CG"

    def curve(self, X, stops, listen):
        from irspack import IALSRecommender

        watch = Watch()
        self.fitted_alpha = self.alpha(X)
        self.model = IALSRecommender(
            X,
            n_components=self.n_factors,
            alpha0=self.unobserved,
            reg=self.fitted_alpha,
            nu=self.nu,
            solver_type=self.solver_type,
            ialspp_subspace_dimension=16,
            n_threads=self.n_threads,
        )
        self.model.start_learning()  # as learn() does, without its progress bar
        try:
            for n_iter in range(1, stops[-1] + 1):
                self.model.run_epoch()
                if n_iter in stops:
                    listen(n_iter, watch.stop())
                    watch.start()
        except Enough:
            pass

    def item_factors(self):
        return self.model.get_item_embedding()

    def user_factors(self, rows, X_rows):
        return self.model.get_user_embedding()[rows]


class IrspackCholesky(Irspack):
    solver_type = "CHOLESKY"


class IrspackSubspaces(Irspack):
    solver_type = "IALSPP"


class Cmfrec(PlainPenalty):
    package = "cmfrec"
    use_cg = True

    def fit(self, X, n_iter):
        from cmfrec import CMF_implicit

        # The options that its documentation names for speed.
        self.model = CMF_implicit(
            self.n_factors,
            lambda_=self.plain_penalty(X),
            alpha=1 / self.unobserved,
            use_cg=self.use_cg,
            finalize_chol=False,
            precompute_for_predictions=False,
            niter=n_iter,
            random_state=0,
            nthreads=self.n_threads,
        ).fit(X)

    def item_factors(self):
        return self.model.B_

    def user_factors(self, rows, X_rows):
        return self.model.A_[rows]


class CmfrecCholesky(Cmfrec):
    use_cg = False


IMPLICIT_TOOLS = {
    "skfm": Skfm,
    "implicit, CG": Implicit,
    "implicit, Cholesky": ImplicitCholesky,
    "irspack, CG": Irspack,
    "irspack, Cholesky": IrspackCholesky,
    "irspack, iALS++": IrspackSubspaces,
    "cmfrec, CG": Cmfrec,
    "cmfrec, Cholesky": CmfrecCholesky,
}


def solve_users(X, items, all_weight, stored_weight, target, penalties):
    """Best factors of the users in X for given factors of the items, one user after another."""
    items = np.asarray(items, dtype=np.float64)
    gram = all_weight * (items.T @ items)
    users = np.zeros((X.shape[0], items.shape[1]), dtype=np.float32)
    for row, penalty in enumerate(penalties):
        chosen = items[X.indices[X.indptr[row] : X.indptr[row + 1]]]
        matrix = gram + stored_weight * (chosen.T @ chosen)
        matrix[np.diag_indices_from(matrix)] += penalty
        users[row] = np.linalg.solve(matrix, target * chosen.sum(axis=0))
    return users


def rank_items(users, items, seen, n_items, block=500):
    """The items of the greatest scores for each user, best first, without the seen ones."""
    items = np.ascontiguousarray(np.asarray(items, dtype=np.float32).T)
    ranked = np.empty((users.shape[0], n_items), dtype=np.int64)
    for start in range(0, users.shape[0], block):
        scores = users[start : start + block].astype(np.float32) @ items
        scores[seen[start : start + block].nonzero()] = -np.inf
        best = np.argpartition(scores, -n_items, axis=1)[:, -n_items:]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
        ranked[start : start + block] = np.take_along_axis(best, order, axis=1)
    return ranked


# --- explicit feedback ----------------------------------------------------------------------


class ExplicitTool:
    """One tool with its settings. ``fit(X, n_epochs)`` returns ``predict(users, items)``.

    ``settings`` are parameters of the tool itself.
    """

    package = ""

    def __init__(self, n_factors, n_threads, **settings):
        self.n_factors = n_factors
        self.n_threads = n_threads
        self.settings = settings


class ExplicitSkfm(ExplicitTool):
    package = "skfm"

    def fit(self, X, n_epochs):
        from skfm import MFRecommender

        model = MFRecommender(
            self.n_factors,
            feedback="explicit",
            max_iter=n_epochs,
            tol=0,
            random_state=0,
            n_jobs=self.n_threads,
            **self.settings,
        ).fit(X)
        return lambda users, items: model.predict_pairs(X, users, items)


class Surprise(ExplicitTool):
    """Its data set is made by its documented way, from a DataFrame. It has no threads."""

    package = "surprise"

    def fit(self, X, n_epochs):
        import pandas as pd
        from surprise import SVD, Dataset, Reader

        entries = X.tocoo()
        frame = pd.DataFrame({"user": entries.row, "item": entries.col, "rating": entries.data})
        scale = Reader(rating_scale=(float(X.data.min()), float(X.data.max())))
        train = Dataset.load_from_df(frame, scale).build_full_trainset()
        del entries, frame
        model = SVD(self.n_factors, n_epochs, random_state=0, **self.settings).fit(train)

        def by_position(raw_ids, inner, values):
            result = np.zeros((len(raw_ids), *values.shape[1:]))
            known = [raw for raw in raw_ids if raw in inner]
            result[known] = values[[inner[raw] for raw in known]]
            return result

        users, items = (range(n) for n in X.shape)
        inner_users, inner_items = train._raw2inner_id_users, train._raw2inner_id_items
        return biased_product(
            train.global_mean,
            by_position(users, inner_users, model.bu),
            by_position(items, inner_items, model.bi),
            by_position(users, inner_users, model.pu),
            by_position(items, inner_items, model.qi),
        )


class Cornac(ExplicitTool):
    """Its data set is made from arrays, which is its quickest way."""

    package = "cornac"

    def fit(self, X, n_epochs):
        from cornac.data import Dataset
        from cornac.models import MF

        entries = X.tocoo()
        train = Dataset(
            *X.shape,
            dict(zip(range(X.shape[0]), range(X.shape[0]), strict=True)),
            dict(zip(range(X.shape[1]), range(X.shape[1]), strict=True)),
            (
                entries.row.astype(np.int64),
                entries.col.astype(np.int64),
                entries.data.astype(float),
            ),
            seed=0,
        )
        # A seed would mean one thread.
        seed = 0 if self.n_threads == 1 else None
        model = MF(
            k=self.n_factors,
            max_iter=n_epochs,
            num_threads=self.n_threads,
            seed=seed,
            **self.settings,
        ).fit(train)
        return biased_product(
            model.global_mean, model.u_biases, model.i_biases, model.u_factors, model.i_factors
        )


class ExplicitCmfrec(ExplicitTool):
    package = "cmfrec"

    def fit(self, X, n_epochs):
        from cmfrec import CMF

        model = CMF(
            self.n_factors,
            niter=n_epochs,
            random_state=0,
            nthreads=self.n_threads,
            precompute_for_predictions=False,
            **self.settings,
        ).fit(X)
        return biased_product(
            model.glob_mean_, model.user_bias_, model.item_bias_, model.A_, model.B_
        )


def biased_product(mean, user_bias, item_bias, users, items):
    def predict(rows, columns, block=1_000_000):
        result = np.empty(len(rows))
        for start in range(0, len(rows), block):
            part = slice(start, start + block)
            u, i = rows[part], columns[part]
            result[part] = mean + user_bias[u] + item_bias[i]
            result[part] += np.einsum("ij,ij->i", users[u], items[i])
        return result

    return predict


# --- both -----------------------------------------------------------------------------------


def installed(tools):
    """The tools that can be run; a line for each package that is missing."""
    missing = {tool.package for tool in tools.values() if find_spec(tool.package) is None}
    for package in sorted(missing):
        print(f"{package} is not installed: skipped")
    return {name: tool for name, tool in tools.items() if tool.package not in missing}


def tiny_data():
    """A few entries to compile, to load libraries and to start threads with."""
    X = sparse.random(60, 50, 0.2, format="csr", dtype=np.float32, random_state=0)
    return sparse.csr_matrix((1 + X.data, X.indices, X.indptr), shape=X.shape)


def run_child(script, task, one_blas_thread=False, **arguments):
    """What a task of a script returns, in a process of its own."""
    environment = dict(os.environ)
    if one_blas_thread:
        environment |= {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [sys.executable, script, "--child", task, json.dumps(arguments)]
    child = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(child.stdout.splitlines()[-1])


def is_child(tasks):
    """Whether this process was started by run_child; then the task is done."""
    if sys.argv[1:2] != ["--child"]:
        return False
    task, arguments = sys.argv[2:]
    print("\n" + json.dumps(tasks[task](**json.loads(arguments))))
    return True


def seconds(function, *arguments):
    start = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - start, result
