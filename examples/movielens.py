"""
Film ratings with factorization machines: MovieLens-100k
========================================================

Predicts film ratings from the user and the film, then with attributes of users and films, and
finally for cold-start films without ratings in the training set. Run it with::

    python examples/movielens.py

The first run downloads the data (see skfm.datasets.fetch_movielens_100k) and compiles the
kernels. Everything together takes well under two minutes.
"""

import time

import numpy as np
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.metrics import root_mean_squared_error
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer, OneHotEncoder

from skfm import FMRegressor
from skfm.datasets import fetch_movielens_100k

ATTRIBUTES = ["gender", "occupation", "age", "year", "genres"]


def one_hot():
    """What was not in the training set gets no column, so the model says nothing about it."""
    return OneHotEncoder(handle_unknown="ignore")


def bucket(values, width):
    return values // width


def buckets(width):
    """Numbers as categories: ages by ten years, film years by five."""
    return make_pipeline(FunctionTransformer(bucket, kw_args={"width": width}), one_hot())


def genres():
    """One column a genre. Normalizer divides by sqrt(number of genres), so that a film of five
    genres does not weigh more than a film of one."""
    return make_pipeline(CountVectorizer(analyzer=tuple), Normalizer())


def encode_all(*ids):
    """Ids and attributes as features, most of them zero: what factorization machines are for."""
    return make_column_transformer(
        (one_hot(), [*ids, "gender", "occupation"]),
        (buckets(10), ["age"]),
        (buckets(5), ["year"]),
        (genres(), "genres"),
    )


def evaluate(name, model, columns, train, test):
    """Fit, predict, print one line of the table."""
    start = time.perf_counter()
    model.fit(train[columns], train["rating"])
    predicted = model.predict(test[columns]).clip(1, 5)
    seconds = time.perf_counter() - start
    print_line(name, root_mean_squared_error(test["rating"], predicted), seconds)


def evaluate_mean(train, test):
    """What any model has to beat."""
    predicted = np.full(len(test), train["rating"].mean())
    print_line("mean rating", root_mean_squared_error(test["rating"], predicted), 0)


def print_header(title, train, test):
    print(f"\n{title}: {len(train):,} ratings to train on, {len(test):,} to test on")
    print(f"{'model':<34}{'test RMSE':>10}{'seconds':>9}")


def print_line(name, error, seconds):
    print(f"{name:<34}{error:>10.4f}{seconds:>9.1f}")


def main():
    movielens = fetch_movielens_100k()
    table = movielens.frame.merge(movielens.users, on="user_id", how="left")
    table = table.merge(movielens.items, on="item_id", how="left")

    # Kernels are compiled on first use and cached for later runs; this is not timed below.
    FMRegressor().fit(np.eye(4), np.arange(4)).predict(np.eye(4))

    # Fold u1, one of the five folds of the data: the first 20,000 ratings are the test set.
    train, test = table[20_000:], table[:20_000]
    print_header("Known films (fold u1)", train, test)
    evaluate_mean(train, test)
    ids = ["user_id", "item_id"]
    model = make_pipeline(one_hot(), FMRegressor(n_components=0, random_state=0))
    evaluate("user + film, biases only", model, ids, train, test)
    model = make_pipeline(one_hot(), FMRegressor(random_state=0))
    evaluate("user + film", model, ids, train, test)
    model = make_pipeline(encode_all(*ids), FMRegressor(random_state=0))
    evaluate("user + film + attributes", model, ids + ATTRIBUTES, train, test)

    # Cold start: one fifth of the films is held out. The model does not know their ids, so it is
    # trained without film ids and predicts from the attributes alone.
    films = movielens.items["item_id"]
    is_new = table["item_id"].isin(films.sample(frac=0.2, random_state=0))
    train, test = table[~is_new], table[is_new]
    print_header("New films (20 % of all)", train, test)
    evaluate_mean(train, test)
    ids = ["user_id"]
    model = make_pipeline(one_hot(), FMRegressor(n_components=0, random_state=0))
    evaluate("user, bias only", model, ids, train, test)
    model = make_pipeline(encode_all(*ids), FMRegressor(n_components=0, random_state=0))
    evaluate("user + attributes, biases only", model, ids + ATTRIBUTES, train, test)
    model = make_pipeline(encode_all(*ids), FMRegressor(random_state=0))
    evaluate("user + attributes", model, ids + ATTRIBUTES, train, test)


if __name__ == "__main__":
    main()
