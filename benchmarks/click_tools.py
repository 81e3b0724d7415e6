"""Tools that predict clicks, with the settings that `tables.py` tries for each of them.

``run(split, setting, n_iter)`` fits a tool on the training rows of a split and returns the
probabilities of its test rows, and the number of iterations. If ``n_iter`` is None, tools that
need it choose the number of iterations with the least loss on these test rows: only inner splits
may be used so. All linear models and factorization machines get the same one-hot features; trees
get the table itself.

The settings of a tool are its defaults and, with a fixed seed, random draws from SPACES. What a
draw does not name is as by default.
"""

import math
import os
import warnings
from importlib import import_module

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import ParameterSampler

from skfm import BayesianFMClassifier, FMClassifier

os.environ["TQDM_DISABLE"] = "1"  # myFM's progress
THREADS = 1

SPACES = {
    "Linear": {"C": [0.03, 0.1, 0.2, 0.5, 2, 5, 20]},
    "Skfm": {
        "n_components": [4, 8, 16, 32],
        "alpha": ["auto", 0.5, 1, 2, 4, 8],
        "alpha_linear": ["auto", 1, 3, 10],
    },
    "SkfmWeighted": {
        "n_components": [4, 8, 16, 32],
        "alpha": ["auto", 0.5, 1, 2, 4, 8],
        "alpha_linear": ["auto", 1, 3, 10],
        "alpha_fields": [3e-4, 1e-3, 3e-3, 1e-2],
    },
    "SkfmBayesian": {"n_components": [2, 3, 4, 6, 10, 12, 16]},
    "SkfmStatistics": {"smooth": [1, 3, 10, 30], "n_components": [4, 8, 16]},
    "ModernFM": {
        "n_factors": [4, 8, 16],
        "learning_rate": [0.02, 0.05, 0.1, 0.2],
        "l2_factors": [1e-5, 1e-4, 1e-3, 1e-2],
        "l2_linear": [1e-5, 1e-4, 1e-3],
        "batch_size": [1, 16, 256],
    },
    "MyFM": {"rank": [2, 3, 4, 6, 10, 12, 16]},
    "LightGBM": {
        "num_leaves": [7, 15, 31, 63],
        "learning_rate": [0.03, 0.1],
        "min_child_samples": [5, 20, 50],
        "cat_smooth": [1, 10, 30],
        "cat_l2": [1, 10, 30],
        "colsample_bytree": [0.5, 1.0],
    },
    "CatBoost": {
        "depth": [4, 6, 8],
        "learning_rate": [0.05, 0.1, 0.2],
        "l2_leaf_reg": [1, 3, 10],
        "random_strength": [0.5, 1, 3],
        "max_ctr_complexity": [1, 2, 4],
    },
}


class Linear:
    package = "sklearn"

    def run(self, split, setting, n_iter):
        X, X_test, _ = split.one_hot
        model = LogisticRegression(max_iter=2000, **setting).fit(X, split.y)
        return model.predict_proba(X_test)[:, 1], None


class Skfm:
    package = "skfm"

    def __init__(self, **fixed):
        self.fixed = fixed

    def run(self, split, setting, n_iter):
        X, X_test, fields = split.one_hot
        model = FMClassifier(random_state=0, n_jobs=THREADS, feature_fields=fields)
        model.set_params(**self.fixed, **setting).fit(X, split.y)
        return model.predict_proba(X_test)[:, 1], None


class SkfmWeighted(Skfm):
    """The same model with one more parameter to tune."""


class SkfmBayesian:
    package = "skfm"

    def __init__(self, by_field, **fixed):
        self.by_field, self.fixed = by_field, fixed

    def run(self, split, setting, n_iter):
        X, X_test, fields = split.one_hot
        groups = fields if self.by_field else "single"
        model = BayesianFMClassifier(feature_groups=groups, random_state=0, n_jobs=THREADS)
        model.set_params(feature_fields=fields, **self.fixed, **setting).fit(X, split.y)
        return model.predict_proba(X_test)[:, 1], None


class SkfmStatistics:
    """On one-hot features and target statistics."""

    package = "skfm"

    def __init__(self, model, by_field=False):
        self.model, self.by_field = model, by_field

    def run(self, split, setting, n_iter):
        setting = {"smooth": 3} | setting
        X, X_test, fields = split.with_target_statistics(setting.pop("smooth"))
        model = clone(self.model).set_params(random_state=0, n_jobs=THREADS, **setting)
        if self.by_field:
            model.set_params(feature_groups=fields, feature_fields=fields)
        return model.fit(X, split.y).predict_proba(X_test)[:, 1], None


class ModernFM:
    package = "modern_fm"
    max_iter, patience = 60, 5

    def __init__(self, name):
        self.name = name

    def run(self, split, setting, n_iter):
        import modern_fm

        X, X_test, fields = split.one_hot
        model = getattr(modern_fm, self.name)(random_state=0, n_jobs=THREADS)
        model.set_params(max_iter=n_iter or self.max_iter, patience=self.patience, **setting)
        options = {} if self.name == "FMClassifier" else {"field_ids": _positions(fields)}
        if n_iter is None:
            options["eval_set"] = X_test, split.y_test
        model.fit(X, split.y, **options)
        n_done = model.n_iter_ if model.n_iter_ == self.max_iter else model.n_iter_ - self.patience
        return model.predict_proba(X_test)[:, 1], n_iter or n_done


class MyFM:
    package = "myfm"

    def __init__(self, by_field):
        self.by_field = by_field

    def run(self, split, setting, n_iter):
        from myfm import MyFMGibbsClassifier

        X, X_test, fields = split.one_hot
        grouping = _positions(fields).tolist() if self.by_field else None
        model = MyFMGibbsClassifier(setting.get("rank", 8), random_seed=0)
        X, X_test = X.astype(np.float64), X_test.astype(np.float64)
        model.fit(X, split.y, n_iter=200, n_kept_samples=180, grouping=grouping)
        return model.predict_proba(X_test), None


class LightGBM:
    package = "lightgbm"

    def run(self, split, setting, n_iter):
        from lightgbm import LGBMClassifier, early_stopping

        types = {
            name: pd.CategoricalDtype(split.train[name].unique()) for name in split.categories
        }
        train, test = (frame.astype(types) for frame in split.flat)  # unknown levels are missing
        model = LGBMClassifier(n_estimators=n_iter or 1000, random_state=0, n_jobs=THREADS)
        options = {}
        if n_iter is None:
            options["eval_set"] = [(test, split.y_test)]
            options["callbacks"] = [early_stopping(30, verbose=False)]
        model.set_params(verbose=-1, **setting).fit(train, split.y, **options)
        return model.predict_proba(test)[:, 1], n_iter or max(model.best_iteration_, 1)


class CatBoost:
    package = "catboost"

    def run(self, split, setting, n_iter):
        from catboost import CatBoostClassifier

        train, test = split.flat
        model = CatBoostClassifier(
            n_iter or 1000,
            **{"learning_rate": 0.1} | setting,  # its own choice would depend on n_iter
            cat_features=split.categories,
            random_seed=0,
            thread_count=THREADS,
            allow_writing_files=False,
            verbose=False,
        )
        options = {}
        if n_iter is None:
            options = {"eval_set": (test, split.y_test), "early_stopping_rounds": 30}
        model.fit(train, split.y, **options)
        return model.predict_proba(test)[:, 1], n_iter or model.tree_count_


def _positions(labels):
    return np.unique(labels, return_inverse=True)[1]


def settings_of(tool, n_settings):
    """The defaults and random draws, without repeats."""
    space = SPACES[type(tool).__name__]
    size = math.prod(len(values) for values in space.values())
    return [{}, *ParameterSampler(space, min(n_settings - 1, size), random_state=0)]


def available(tools):
    """Those tools whose packages are installed, and a note of the others."""
    found = {}
    for name, tool in tools.items():
        try:
            import_module(tool.package)
            found[name] = tool
        except ModuleNotFoundError:
            warnings.warn(f"{name} is left out: {tool.package} is not installed.", stacklevel=2)
    return found


TOOLS = {
    "logistic regression": Linear(),
    "skfm FM": Skfm(),
    "skfm FwFM": SkfmWeighted(field_interactions="weighted"),
    "skfm FFM": Skfm(field_interactions="aware"),
    "skfm Bayesian FM": SkfmBayesian(by_field=False),
    "skfm Bayesian FM, groups": SkfmBayesian(by_field=True),
    "skfm Bayesian FwFM, groups": SkfmBayesian(by_field=True, field_interactions="weighted"),
    "skfm FM, target statistics": SkfmStatistics(FMClassifier()),
    "skfm Bayesian FM, target statistics": SkfmStatistics(BayesianFMClassifier()),
    "skfm Bayesian FwFM, groups, target statistics": SkfmStatistics(
        BayesianFMClassifier(field_interactions="weighted"), by_field=True
    ),
    "modern-fm FM": ModernFM("FMClassifier"),
    "modern-fm FwFM": ModernFM("FwFMClassifier"),
    "modern-fm FFM": ModernFM("FFMClassifier"),
    "myFM": MyFM(by_field=False),
    "myFM, groups": MyFM(by_field=True),
    "LightGBM": LightGBM(),
    "CatBoost": CatBoost(),
}
