"""
Film ratings with side features
===============================

A rating has a user and a film, but there is more to know: the age and the occupation of the user,
the genres and the year of the film, what else the user has rated, and who else has rated the film.
This example adds these features one after the other, on the first fold of MovieLens-100k.
"""

# %%
# Data
# ----
# Fold u1 tests on the first 20,000 ratings and trains on the others.

import matplotlib.pyplot as plt
from sklearn.metrics import root_mean_squared_error

from skfm import BayesianFMRegressor, FMRegressor
from skfm.datasets import fetch_movielens_100k
from skfm.recipes import make_recipe

data = fetch_movielens_100k()
log = data.frame.merge(data.users, on="user_id").merge(data.items, on="item_id")
log = data.frame[["user_id", "item_id"]].merge(log, how="left")
log["age"], log["year"] = (log["age"] // 10).astype(str), (log["year"] // 5).astype(str)
test, train = log[:20_000], log[20_000:]

# %%
# Models
# ------
# Each recipe is a pipeline of an encoder and a factorization machine. With ``n_components=0``, the
# machine is a linear model of user and film.

names = {"user": "user_id", "item": "item_id", "time": "timestamp"}
attributes = {"attributes": ["age", "gender", "occupation", "year", "genres"]}
bayesian = BayesianFMRegressor(n_components=8, max_iter=100, random_state=0)
als = FMRegressor(solver="als", random_state=0)
models = {
    "user and film biases": make_recipe("mf", FMRegressor(0, random_state=0), **names),
    "mf": make_recipe("mf", FMRegressor(random_state=0), **names),
    "mf, Bayesian": make_recipe("mf", bayesian, **names),
    "attributes, Bayesian": make_recipe("attributes", bayesian, **names, **attributes),
    "timesvd++ flipped, ALS": make_recipe("timesvd++ flipped", als, **names),
}

errors = {}
for name, model in models.items():
    model.fit(train, train["rating"])
    predicted = model.predict(test).clip(1, 5)
    errors[name] = root_mean_squared_error(test["rating"], predicted)

# %%
# Each kind of knowledge lowers the error. The Bayesian estimator, which averages over many models,
# gains as much as the attributes do; the history of the user, the raters of the film and the time
# of the rating gain most.

figure, ax = plt.subplots(figsize=(7, 3.2), layout="constrained")
bars = ax.barh(list(errors), list(errors.values()), color=["gray", "C0", "C0", "C0", "C0"])
ax.bar_label(bars, fmt="%.3f", padding=4)
ax.set(xlim=(0.86, 0.97), xlabel="test RMSE (fold u1)", title="MovieLens-100k")
ax.invert_yaxis()
plt.show()
