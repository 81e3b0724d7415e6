"""
Explaining a prediction
=======================

A prediction of a factorization machine is a sum of terms: the intercept, one term per feature, and
one per pair of features. This example shows which terms decide a single prediction, and which
fields interact in the whole model.
"""

# %%
# Data
# ----
# Clicks on advertisements. Young users click on games at night, older users click on gardens in
# the morning, and banners at the top are clicked a little more often.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skfm import FMClassifier
from skfm.inspection import InteractionDisplay, explain

rng = np.random.default_rng(0)
n = 20_000
table = pd.DataFrame(
    {
        "age": rng.choice(["18-29", "30-49", "50+"], n),
        "ad": rng.choice(["games", "garden", "travel"], n),
        "hour": rng.choice(["morning", "noon", "night"], n),
        "place": rng.choice(["top", "side"], n),
    }
)
logit = -2 + 0.3 * (table["place"] == "top")
logit += 1.5 * ((table["age"] == "18-29") & (table["ad"] == "games"))
logit += 1.2 * ((table["age"] == "50+") & (table["ad"] == "garden"))
logit += 0.8 * ((table["ad"] == "games") & (table["hour"] == "night"))
logit -= 0.8 * ((table["ad"] == "games") & (table["age"] == "50+"))
clicks = rng.random(n) < 1 / (1 + np.exp(-logit))
model = make_pipeline(OneHotEncoder(), FMClassifier(random_state=0)).fit(table, clicks)

# %%
# One prediction
# --------------
# :func:`~skfm.inspection.explain` decomposes the log-odds of a click, exactly.

row = pd.DataFrame({"age": ["18-29"], "ad": ["games"], "hour": ["night"], "place": ["side"]})
explanation = explain(model, row)
terms = explanation.to_frame().fillna({"feature_2": ""})
terms["name"] = (terms["feature"] + " x " + terms["feature_2"]).str.removesuffix(" x ")
terms = terms.reindex(terms["contribution"].abs().sort_values().index)
print(f"probability of a click: {model.predict_proba(row)[0, 1]:.2f}")

figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
colors = np.where(terms["contribution"] > 0, "C0", "C3")
ax.barh(terms["name"], terms["contribution"], color=colors)
ax.axvline(0, color="black", linewidth=0.8)
ax.set(xlabel="contribution to the log-odds", title="A young user, a game, at night")
plt.show()

# %%
# The whole model
# ---------------
# The heat map shows how much the pairs of two fields contribute to the predictions: the age and
# the advertisement matter together, the place hardly interacts with anything.

figure, ax = plt.subplots(figsize=(5, 4), layout="constrained")
InteractionDisplay.from_estimator(model, X=table, ax=ax)
ax.set_title("Interactions between fields")
plt.show()
