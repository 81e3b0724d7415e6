"""
Prediction intervals
====================

:class:`~skfm.BayesianFMRegressor` returns a standard deviation for each prediction. This example
checks that intervals of nominal coverage 80 % contain 80 % of the targets, and shows where the
model is uncertain: for users with few ratings.
"""

# %%
# Data
# ----
# Ratings of 300 users for 200 items, in which some users have many ratings and others have few.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skfm import BayesianFMRegressor
from skfm.inspection import IntervalDisplay

rng = np.random.default_rng(0)
n_rows = 12_000
pairs = np.stack(
    [(300 * rng.random(n_rows) ** 3).astype(int), rng.integers(200, size=n_rows)], axis=1
)
taste, style = rng.normal(size=(300, 3)), 0.7 * rng.normal(size=(200, 3))
y = 3 + (taste[pairs[:, 0]] * style[pairs[:, 1]]).sum(axis=1) + 0.7 * rng.normal(size=n_rows)
X_train, X_test, y_train, y_test = train_test_split(pairs, y, test_size=0.4, random_state=0)

# %%
# Means and standard deviations
# -----------------------------

model = make_pipeline(
    OneHotEncoder(handle_unknown="ignore"), BayesianFMRegressor(4, random_state=0)
)
model.fit(X_train, y_train)
mean, std = model.predict(X_test, return_std=True)
n_ratings = np.bincount(X_train[:, 0], minlength=300)[X_test[:, 0]]

# %%
# The left plot compares nominal and observed coverage on test rows. In the right one, each point
# is a test row: the fewer ratings of the user the model has seen, the larger the standard
# deviation. With many ratings, it approaches that of the noise, 0.7.

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
IntervalDisplay.from_estimator(model, X_test, y_test, ax=left)
right.plot(n_ratings, std, ".", alpha=0.3)
right.axhline(0.7, color="gray", linestyle=":", label="noise")
right.set(xscale="log", xlabel="ratings of the user", ylabel="standard deviation")
right.legend()
plt.show()
