"""
Learning from a stream
======================

Clicks arrive one chunk after the other, and tastes change while they do. ``partial_fit`` learns
from each chunk once, without a pass over old data. Each chunk is predicted before the model
learns from it, so the loss shown is that of unseen clicks.
"""

# %%
# A stream of clicks
# ------------------
# Halfway through, a third of the users change their taste. Categories are hashed, because a stream
# has no list of all its users in advance.

import copy

import matplotlib.pyplot as plt
import numpy as np
from sklearn.feature_extraction import FeatureHasher
from sklearn.metrics import log_loss

from skfm import FMClassifier

N_CHUNKS, N_ROWS, N_USERS, N_ADS = 60, 5000, 300, 200


def draw_chunks():
    """Yield rows of categories, whether they were clicked, and the true probabilities."""
    rng = np.random.default_rng(0)
    tastes, ads = rng.normal(size=(N_USERS, 3)), 0.8 * rng.normal(size=(N_ADS, 3))
    for number in range(N_CHUNKS):
        if number == N_CHUNKS // 2:
            tastes[: N_USERS // 3] = rng.normal(size=(N_USERS // 3, 3))
        user, ad = rng.integers(N_USERS, size=N_ROWS), rng.integers(N_ADS, size=N_ROWS)
        probability = 1 / (1 + np.exp(1 - (tastes[user] * ads[ad]).sum(axis=1)))
        rows = [(f"user={u}", f"ad={a}") for u, a in zip(user, ad, strict=True)]
        yield rows, rng.random(N_ROWS) < probability, probability


# %%
# Predict, then learn
# -------------------
# The second model stops learning after half of the stream.

hasher = FeatureHasher(2**16, input_type="string", alternate_sign=False)
learning = FMClassifier(random_state=0)
stopped = None
losses = []
for number, (rows, clicks, truth) in enumerate(draw_chunks()):
    X = hasher.transform(rows)
    if number > 0:
        models = [learning, learning if stopped is None else stopped]
        predictions = [model.predict_proba(X) for model in models]
        losses.append([log_loss(clicks, p) for p in (*predictions, truth)])
    learning.partial_fit(X, clicks, classes=[False, True])
    if number == N_CHUNKS // 2 - 1:
        stopped = copy.deepcopy(learning)

# %%
# The loss approaches that of the true probabilities. After the change, both models are wrong about
# the same users; the one that goes on learning recovers.

learned, kept, best = np.transpose(losses)
clicks_seen = N_ROWS * np.arange(1, N_CHUNKS)
figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
ax.plot(clicks_seen, learned, label="learns from every chunk")
half = N_CHUNKS // 2 - 1
ax.plot(clicks_seen[half:], kept[half:], label="stopped learning")
ax.plot(clicks_seen, best, color="gray", linestyle=":", label="true probabilities")
ax.axvline(clicks_seen[half], color="gray", linewidth=0.8)
ax.annotate(
    "tastes change", (clicks_seen[half], ax.get_ylim()[1]), (4, -12), textcoords="offset points"
)
ax.set(xlabel="clicks seen", ylabel="log loss of the next chunk")
ax.legend()
plt.show()
