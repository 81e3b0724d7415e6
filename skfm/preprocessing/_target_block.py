"""Fields of target statistics: cross-fitted for the training rows."""

import numpy as np
from scipy import sparse
from sklearn.utils.multiclass import type_of_target

from skfm.preprocessing._field_blocks import Block
from skfm.preprocessing._vocabulary import Vocabulary


class Target(Block):
    """The smoothed mean of the target for each value of a column, as TargetEncoder computes it.

    If the target has more than two classes, there is one column for each class.
    """

    needs_target = True

    def __init__(self, field, kind, smooth, cv, target_type):
        super().__init__(field, kind, smooth=smooth, cv=cv, target_type=target_type)
        self._vocabulary = Vocabulary()

    def read(self, column):
        return column.categories

    def learn(self, column):
        self._vocabulary.learn(column.categories, len(column))

    def fit_encode(self, column, y, random_state):
        """Learn the statistics of all rows; return those of each row from the other folds."""
        from sklearn.model_selection import KFold, StratifiedKFold  # takes a while to import

        ids = self._vocabulary.ids(column.categories)
        targets, is_class = self._read_target(y)
        self.n_columns = targets.shape[1]
        self._means = self._means_by_id(ids, targets)
        folds = (StratifiedKFold if is_class else KFold)(
            int(self.cv), shuffle=True, random_state=random_state
        )
        encoded = np.empty(targets.shape)
        for train, test in folds.split(ids, y):
            encoded[test] = self._means_by_id(ids[train], targets[train])[ids[test]]
        return sparse.csr_matrix(encoded)

    def encode(self, column):
        return sparse.csr_matrix(self._means[self._vocabulary.ids(column.categories)])

    def _read_target(self, y):
        """Numbers, with a column of zeros and ones for each class; and whether there are classes.

        Of two classes, the second one has the only column.
        """
        kind = type_of_target(y) if self.target_type == "auto" else self.target_type
        self._classes = None
        if kind not in ("binary", "multiclass"):
            return np.asarray(y, dtype=np.float64)[:, None], False
        classes, codes = np.unique(y, return_inverse=True)
        if kind == "binary":
            return codes[:, None].astype(np.float64), True
        self._classes = list(map(str, classes))
        return np.eye(len(self._classes))[codes], True

    def _means_by_id(self, ids, targets):
        """Smoothed means by id, with one more row, of the overall mean, for unknown values."""
        n = np.bincount(ids, minlength=len(self._vocabulary.values) + 2)
        columns = [self._smoothed_mean(ids, n, target) for target in targets.T]
        return np.column_stack(columns)

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
