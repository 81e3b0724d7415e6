"""Statistics of the target for categories and pairs of categories, as numerical features.

For each column of categories, and for each pair of columns, one number: the log-odds of the mean
target of the rows with the same value, smoothed toward the mean of all rows, minus the log-odds of
the latter. scikit-learn's TargetEncoder computes the means: for the training rows, those of other
folds, and for new rows, those of all training rows. Values that are not known get 0.

The smoothing must be a number of rows. With ``smooth="auto"``, a value whose rows all have the
same target has no variance and is not smoothed at all, be it a single row.
"""

from itertools import chain, combinations

import numpy as np
import pandas as pd
from scipy.special import logit
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler, TargetEncoder

N_FOLDS = 10
MOST_PAIRS = 45  # of more columns, there are no pairs


def target_statistics(train, y, test, columns, smooth):
    """Numbers of the training and the test rows, standardized."""
    pairs = list(combinations(columns, 2))
    keys = chain(((name,) for name in columns), pairs if len(pairs) <= MOST_PAIRS else ())
    both = pd.concat([train, test])
    values = np.column_stack([both.groupby(list(key), sort=False).ngroup() for key in keys])
    known, new, y = values[: len(train)], values[len(train) :], np.asarray(y)
    encoder = TargetEncoder(target_type="binary", smooth=smooth)
    # Not fit_transform: how it takes the folds differs between versions of scikit-learn.
    cross_fitted = np.empty(known.shape)
    for others, rows in StratifiedKFold(N_FOLDS, shuffle=True, random_state=0).split(known, y):
        cross_fitted[rows] = encoder.fit(known[others], y[others]).transform(known[rows])
    means = cross_fitted, encoder.fit(known, y).transform(new)
    odds = [logit(mean.clip(1e-4, 1 - 1e-4)) - logit(np.mean(y)) for mean in means]
    scaler = StandardScaler().fit(odds[0])
    return [scaler.transform(part) for part in odds]
