"""
Learning from a stream of clicks
================================

Out-of-core learning with ``partial_fit``::

    python examples/stream.py [--chunks 100] [--rows 10000]

A generator draws chunks of clicks from a known factorization machine and hashes their features
into a fixed number of columns. Each chunk is predicted before the model learns from it. The
example prints the loss on these unseen clicks, together with the loss of the mean click rate so
far.
"""

import argparse

import numpy as np
from sklearn.feature_extraction import FeatureHasher
from sklearn.metrics import log_loss

from skfm import FMClassifier


def draw_chunks(n_chunks, n_rows, seed=0):
    """Yield (list of rows, clicks): who saw which advertisement where, and clicked or not."""
    rng = np.random.default_rng(seed)
    users, ads = rng.normal(size=(2, 500, 3))
    for _ in range(n_chunks):
        user = (500 * rng.random(n_rows) ** 2).astype(int)  # some users are often here
        ad = (500 * rng.random(n_rows) ** 2).astype(int)
        site = rng.integers(50, size=n_rows)
        odds = -1 + 0.7 * (users[user] * ads[ad]).sum(axis=1) + 0.02 * (site - 25)
        clicks = (rng.random(n_rows) < 1 / (1 + np.exp(-odds))).astype(int)
        rows = [
            (f"user={u}", f"ad={a}", f"site={s}") for u, a, s in zip(user, ad, site, strict=True)
        ]
        yield rows, clicks


def main(n_chunks, n_rows):
    hasher = FeatureHasher(2**18, input_type="string", alternate_sign=False)
    model = FMClassifier(n_components=8, random_state=0)
    seen = clicked = 0
    losses = []
    for number, (rows, clicks) in enumerate(draw_chunks(n_chunks, n_rows), start=1):
        X = hasher.transform(rows)
        if number > 1:
            rate = clicked / seen
            losses.append(
                [
                    log_loss(clicks, model.predict_proba(X)),
                    log_loss(clicks, np.full(n_rows, rate)),
                ]
            )
        model.partial_fit(X, clicks, classes=[0, 1])
        seen, clicked = seen + n_rows, clicked + clicks.sum()
        if number % 10 == 0:
            ours, constant = np.mean(losses[-9:], axis=0)
            print(f"{seen:>9,} clicks: log loss {ours:.4f}, of the mean rate {constant:.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Clicks from a stream.")
    parser.add_argument("--chunks", type=int, default=100)
    parser.add_argument("--rows", type=int, default=10_000)
    arguments = parser.parse_args()
    main(arguments.chunks, arguments.rows)
