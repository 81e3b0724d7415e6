"""
Pairs of fields that interact more or less
==========================================

In a table of categories, some pairs of columns interact strongly and others not at all. This
example generates such data from known strengths, compares the four kinds of interactions that
``field_interactions`` offers, and draws the strengths that they have learned.
"""

# %%
# Data
# ----
# Each column is a field of 30 categories, each category has a vector, and two fields interact by
# the inner product of their vectors, times a strength. Five of the fifteen pairs of fields have a
# strength other than 0. The noise has a standard deviation of 1.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.metrics import root_mean_squared_error
from sklearn.preprocessing import OneHotEncoder

from skfm import FMRegressor
from skfm.inspection import InteractionDisplay

names = ["user", "ad", "page", "hour", "device", "city"]
known = {
    ("user", "ad"): 2.0,
    ("ad", "page"): -1.0,
    ("page", "hour"): 1.0,
    ("user", "hour"): -1.5,
    ("device", "city"): 1.0,
}
rng = np.random.default_rng(0)
n_rows, n_levels = 20_000, 30
table = rng.integers(n_levels, size=(n_rows, len(names)))
vectors = rng.normal(size=(len(names), n_levels, 4))
vectors /= np.sqrt(np.mean(np.sum(vectors**2, axis=2))) ** 0.5
of_row = {name: vectors[c, table[:, c]] for c, name in enumerate(names)}
signal = sum(
    strength * (of_row[first] * of_row[second]).sum(axis=1)
    for (first, second), strength in known.items()
)
y = signal + rng.normal(size=n_rows)
X = OneHotEncoder().fit_transform(pd.DataFrame(table, columns=names).astype("category"))
X = X.astype(np.float32)
fields = np.repeat(names, n_levels)
train, test = slice(0, 15_000), slice(15_000, None)

# %%
# Four models
# -----------
# The plain factorization machine has one vector for each category. To keep apart the fields that
# interact from those that do not, it needs more components than the data have. Weights for the
# pairs of fields do that with a single number for each pair. The table shows the errors of the
# predictions for held-out rows, compared with the signal, so that a perfect model has an error
# of 0.

models, errors = {}, {}
for kind, n_components in [
    ("plain", 4),
    ("plain", 16),
    ("weighted", 4),
    ("matrixed", 4),
    ("aware", 4),
]:
    model = FMRegressor(
        n_components, field_interactions=kind, feature_fields=fields, random_state=0
    )
    model.fit(X[train], y[train])
    models[kind, n_components] = model
    errors[kind, n_components] = {
        "RMSE": root_mean_squared_error(signal[test], model.predict(X[test])),
        "factors": model.components_.size,
    }
errors = pd.DataFrame.from_dict(errors, orient="index")
errors.index.names = ["field_interactions", "n_components"]
print(errors.round(3))

# %%
# Strengths
# ---------
# :class:`~skfm.inspection.InteractionDisplay` shows how much the pairs of two fields contribute to
# the predictions, as root mean squares over the held-out rows. The weights ``field_weights_``
# alone would not be comparable, because vectors may be longer where weights are smaller. The
# field-weighted model has found the five pairs. The plain model with as few components has also
# given strengths to pairs that do not interact.

by_name = sorted(names)  # as the display orders them
true = pd.DataFrame(0.0, by_name, by_name)
for (first, second), strength in known.items():
    contribution = strength * (of_row[first] * of_row[second]).sum(axis=1)[test]
    true.loc[first, second] = true.loc[second, first] = np.sqrt(np.mean(contribution**2))

figure, axes = plt.subplots(1, 3, figsize=(13, 4.2), layout="constrained")
options = {"values_format": ".1f", "colorbar": False, "im_kw": {"vmax": true.to_numpy().max()}}
display = InteractionDisplay(weights=true, labels=by_name, is_signed=False)
display.plot(axes[0], **options)
for ax, kind in zip(axes[1:], ["weighted", "plain"], strict=True):
    found = InteractionDisplay.from_estimator(models[kind, 4], X=X[test], ax=ax, **options)
    error = np.abs(found.weights - true).to_numpy().max()
    print(f"{kind}: largest error of a strength {error:.2f}")
for ax, title in zip(axes, ["truth", "field-weighted", "plain"], strict=True):
    ax.set_title(title)
figure.colorbar(display.im_, ax=axes, label="strength")
plt.show()
