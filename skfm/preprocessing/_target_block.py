"""Fields of target statistics: cross-fitted for the training rows."""

import numpy as np
from scipy import sparse
from scipy.special import logit
from sklearn.utils.multiclass import type_of_target

from skfm.preprocessing._field_blocks import Block, combine
from skfm.preprocessing._vocabulary import MISSING, UNKNOWN, Vocabulary


class Target(Block):
    """The smoothed mean of the target for each value of a column, relative to the overall mean.

    The means are those of TargetEncoder. Those of classes become log-odds. If the target has more
    than two classes, there is one column for each class.
    """

    needs_target = True

    def __init__(self, field, kind, smooth, cv, target_type):
        super().__init__(field, kind, smooth=smooth, cv=cv, target_type=target_type)
        self._vocabulary = Vocabulary()

    def read(self, column):
        return column.categories

    def learn(self, column):
        categories = self.read(column)
        self._vocabulary.learn(categories, categories.codes.size)

    def fit_encode(self, column, y, random_state):
        """Learn the statistics of all rows; return those of each row from the other folds."""
        from sklearn.model_selection import KFold, StratifiedKFold  # takes a while to import

        ids = self._vocabulary.ids(self.read(column))
        targets, is_class = self._read_target(y)
        self.n_columns = targets.shape[1]
        folds = (StratifiedKFold if is_class else KFold)(
            int(self.cv), shuffle=True, random_state=random_state
        )
        encoded = np.empty(targets.shape)
        for train, test in folds.split(ids, y):
            encoded[test] = self._effects(ids[train], targets[train], is_class)[ids[test]]
        center, scale = encoded.mean(axis=0), encoded.std(axis=0)
        unit = 1.0 if is_class else targets.std()
        scale[scale <= 1e-8 * unit] = 1.0  # constant up to rounding errors
        self._values = (self._effects(ids, targets, is_class) - center) / scale
        return sparse.csr_matrix((encoded - center) / scale)

    def encode(self, column):
        return sparse.csr_matrix(self._values[self._vocabulary.ids(self.read(column))])

    def _read_target(self, y):
        """Numbers, with a column of zeros and ones for each class; and whether there are classes.

        Of two classes, the second one has the only column.
        """
        kind = type_of_target(y) if self.target_type == "auto" else self.target_type
        self._classes = None
        if kind not in ("binary", "multiclass"):
            y = np.asarray(y, dtype=np.float64)
            return (y - y.mean())[:, None], False  # centered, for accuracy
        classes, codes = np.unique(y, return_inverse=True)
        if kind == "binary":
            return codes[:, None].astype(np.float64), True
        self._classes = list(map(str, classes))
        return np.eye(len(self._classes))[codes], True

    def _effects(self, ids, targets, is_class):
        """By id, what is added to the overall mean; the last row is that of unknown values."""
        n = np.bincount(ids, minlength=len(self._vocabulary.values) + 2)
        n[MISSING] = 0  # without rows of its own, it has the overall mean
        means = np.column_stack([self._smoothed_mean(ids, n, target) for target in targets.T])
        base = means[UNKNOWN]
        if not is_class:
            return means - base
        # Unsmoothed means may be 0 or 1, which count as half of one row among all rows.
        least = 0.5 / len(targets)
        return logit(means.clip(least, 1 - least)) - logit(base.clip(least, 1 - least))

    def _smoothed_mean(self, ids, n, y):
        """As TargetEncoder; "auto" is the empirical Bayes estimate of Micci-Barreca (2001)."""
        means = np.bincount(ids, y, n.size) / np.maximum(n, 1)
        if self.smooth == "auto":
            within = np.bincount(ids, (y - means[ids]) ** 2, n.size) / np.maximum(n, 1)
            weight, smooth = n * y.var(), within
        else:
            weight, smooth = n.astype(np.float64), float(self.smooth)
        total = weight + smooth
        share = np.divide(weight, total, out=np.zeros(n.size), where=total > 0)
        return share * means + (1 - share) * y.mean()

    def names(self):
        if self._classes is None:
            return [self.field]
        return [f"{self.field}={label}" for label in self._classes]

    def describe(self):
        return f"{len(self._vocabulary.values)} values"


class TargetCross(Target):
    """The same for each combination of the ids of several fields."""

    def __init__(self, field, kind, members, smooth, cv, target_type):
        super().__init__(field, kind, smooth, cv, target_type)
        self.members = members

    def read(self, ids):
        return combine(ids)

    def finish(self, blocks):
        pass

    def describe(self):
        return f"{len(self._vocabulary.values)} combinations"
