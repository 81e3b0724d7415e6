"""How the defaults of FMRegressor and FMClassifier were chosen, and what they give.

    python benchmarks/defaults.py --part neighbours

One line for the defaults and one for each change of a single parameter. Columns:

- ratings: mean test RMSE on u3, u4 and u5 of MovieLens-100k from (user, item), clipped to 1..5;
  u1 and u2 were not looked at.
- + attributes: the same on u3 with what is known about users and films (examples/movielens.py).
- clicks: log loss on held-out rows of two generated one-hot data sets, and in brackets how far
  above the best epoch of the same run it is. Bayes is the loss of the true probabilities.
- cancer, digits, wine: accuracy, five-fold cross-validation after StandardScaler.
- 300 rows: R2 on new rows of a planted dense model, and in brackets with ten times the epochs.

"exponent" is that of a feature's count in the penalty of its factors; it is fixed at 1/2, and
for the other lines alpha is chosen anew from a few values.
"""

import sys
import warnings
from pathlib import Path

import numpy as np
from scipy.special import expit
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, root_mean_squared_error
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skfm._base
from skfm import FMClassifier, FMRegressor
from skfm.datasets import fetch_movielens_100k, make_fm_classification, make_fm_regression

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
import movielens as example

warnings.simplefilter("ignore", ConvergenceWarning)
EPOCHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
make_problem = skfm._base.make_problem


def set_exponent(exponent):
    """Let the factors' penalty grow with another power of the features' counts."""

    def changed(*arguments, **options):
        problem = make_problem(*arguments, **options)
        count = problem.linear_penalty / problem.penalty_share[:, 0]
        factor = count ** (exponent - 0.5)
        problem.factor_penalty = problem.factor_penalty * factor
        problem.penalty_share[:, 1] *= factor
        return problem

    skfm._base.make_problem = changed


def load_ratings():
    data = fetch_movielens_100k()
    table = data.frame.merge(data.users, on="user_id", how="left")
    return table.merge(data.items, on="item_id", how="left")


def rate(table, encoder, columns, folds, parameters):
    errors = []
    for fold in folds:
        is_test = np.zeros(len(table), dtype=bool)
        is_test[20_000 * (fold - 1) : 20_000 * fold] = True
        train, test = table[~is_test], table[is_test]
        model = make_pipeline(encoder(), FMRegressor(random_state=0, **parameters))
        predicted = model.fit(train[columns], train["rating"]).predict(test[columns])
        errors.append(root_mean_squared_error(test["rating"], predicted.clip(1, 5)))
    return f"{np.mean(errors):.4f}"


def make_clicks(n_fields, n_levels, n_rows, seed):
    X, y, planted = make_fm_classification(
        n_rows, n_fields=n_fields, n_levels=n_levels, random_state=seed, return_params=True
    )
    cut = n_rows * 4 // 5
    truth = FMClassifier(max_iter=1).fit(X[:100], y[:100])
    truth.intercept_, truth.coef_, truth.components_ = (
        np.atleast_1d(planted.intercept),
        np.atleast_2d(planted.coef),
        planted.components,
    )
    bayes = log_loss(y[cut:], expit(truth.decision_function(X[cut:])))
    return (X[:cut], y[:cut], X[cut:], y[cut:]), bayes


def click(data, parameters):
    X, y, X_new, y_new = data

    def fit(**more):
        model = FMClassifier(random_state=0, **{**parameters, **more}).fit(X, y)
        return log_loss(y_new, model.predict_proba(X_new)), model.n_iter_

    final, n_epochs = fit()
    best = min([final] + [fit(max_iter=n, tol=0)[0] for n in EPOCHS if n < n_epochs])
    return f"{final:.4f} ({100 * (final / best - 1):+.1f} %)"


def classify(loader, estimator):
    X, y = loader(return_X_y=True)
    model = make_pipeline(StandardScaler(), estimator)
    return f"{cross_val_score(model, X, y, cv=5).mean():.4f}"


def regress(parameters):
    scores = []
    for seed in range(4):
        X, y = make_fm_regression(2300, n_fields=10, kind="dense", noise=0.3, random_state=seed)
        model = FMRegressor(random_state=0, **parameters).fit(X[:300], y[:300])
        longer = FMRegressor(
            random_state=0, **{**parameters, "tol": 0, "max_iter": 10 * model.n_iter_}
        ).fit(X[:300], y[:300])
        scores.append([model.score(X[300:], y[300:]), longer.score(X[300:], y[300:])])
    short, long = np.mean(scores, axis=0)
    return f"{short:.3f} ({long:.3f})"


def main():
    table = load_ratings()
    clicks = [make_clicks(5, 300, 30_000, seed=1), make_clicks(10, 1000, 120_000, seed=2)]
    print("Bayes, clicks:", *(f"{bayes:.4f}" for _, bayes in clicks))
    logistic = LogisticRegression(max_iter=1000)
    loaders = (load_breast_cancer, load_digits, load_wine)
    print("LogisticRegression:", *(classify(loader, logistic) for loader in loaders))
    ids = ["user_id", "item_id"]
    print(
        f"{'':<34}ratings  + attr.  clicks 30,000      clicks 120,000     cancer  digits  wine"
        "    300 rows"
    )

    def line(name, regressor=None, classifier=None):
        regressor, classifier = regressor or {}, classifier or {}
        print(
            f"{name:<34}"
            + "  ".join(
                [
                    rate(table, example.one_hot, ids, (3, 4, 5), regressor),
                    " "
                    + rate(
                        table,
                        lambda: example.encode_all(*ids),
                        ids + example.ATTRIBUTES,
                        (3,),
                        regressor,
                    ),
                    " " + "  ".join(click(data, classifier) for data, _ in clicks),
                    *(
                        classify(loader, FMClassifier(random_state=0, **classifier))
                        for loader in loaders
                    ),
                    " " + regress(regressor),
                ]
            ),
            flush=True,
        )

    line("defaults")
    for factor in (0.5, 2):
        alphas = (FMRegressor().alpha * factor, FMClassifier().alpha * factor)
        line("alpha = {:g}, {:g}".format(*alphas), {"alpha": alphas[0]}, {"alpha": alphas[1]})
    for name, values in {
        "alpha_linear": (1.0, 10.0),
        "learning_rate": (0.05, 0.2),
        "initial_accumulator": (0.1, 10.0),
        "init_scale": (0.02, 0.2),
        "tol": (1e-5, 1e-3),
    }.items():
        for value in values:
            line(f"{name} = {value:g}", {name: value}, {name: value})
    for solver, values in {
        "adam": (0.01, 0.02, 0.03),
        "ftrl": (0.1, 0.2, 0.5),
        "sgd": (0.03, 0.05, 0.1),
    }.items():
        for value in values:
            changed = {"solver": solver, "learning_rate": value}
            line(f"{solver}, learning_rate = {value:g}", changed, changed)
    for exponent, alphas in {
        1.0: ((0.1, 0.1), (0.12, 0.3)),
        0.75: ((0.3, 0.5), (0.4, 0.6)),
        0.25: ((4.0, 8.0), (5.0, 12.0)),
    }.items():
        for one, two in alphas:
            set_exponent(exponent)
            line(
                f"exponent {exponent:g}: alpha = {one:g}, {two:g}", {"alpha": one}, {"alpha": two}
            )


if __name__ == "__main__":
    main()
