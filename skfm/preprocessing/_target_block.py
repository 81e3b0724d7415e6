"""Fields of target statistics: cross-fitted for the training rows."""

import warnings

import numpy as np
from scipy import sparse
from scipy.special import logit
from sklearn.utils import assert_all_finite
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
        ids = self._vocabulary.ids(self.read(column))
        targets, labels = self._read_target(y)
        is_class = labels is not None
        self.n_columns = targets.shape[1]
        encoded = np.empty(targets.shape)
        for train, test in self._folds(labels, ids.size, random_state):
            encoded[test] = self._effects(ids[train], targets[train], is_class)[ids[test]]
        center, scale = encoded.mean(axis=0), encoded.std(axis=0)
        unit = 1.0 if is_class else targets.std()
        scale[scale <= 1e-8 * unit] = 1.0  # constant up to rounding errors
        self._values = (self._effects(ids, targets, is_class) - center) / scale
        return sparse.csr_matrix((encoded - center) / scale)

    def encode(self, column):
        return sparse.csr_matrix(self._values[self._vocabulary.ids(self.read(column))])

    def _folds(self, labels, n_rows, random_state):
        """Training and test rows of each fold; ``labels`` are those of classes, or None."""
        from sklearn.model_selection import KFold, StratifiedKFold  # takes a while to import

        n_folds = int(self.cv)
        most = n_rows if labels is None else np.bincount(labels).max()
        if n_folds > most:
            found = f"{most} sample" if most == 1 else f"{most} samples"
            found = found if labels is None else f"at most {found} of a class"
            remedy = f"pass cv={most} or less" if most > 1 else "encode it as 'category'"
            raise ValueError(
                f"The field {self.field!r} of kind 'target' needs as many samples as it has "
                f"folds, cv={n_folds}, but y has {found}; {remedy}."
            )
        folds = (KFold if labels is None else StratifiedKFold)(
            n_folds, shuffle=True, random_state=random_state
        )
        with warnings.catch_warnings():  # in the folds without a class, its statistics are 0
            warnings.filterwarnings("ignore", "The least populated class", UserWarning)
            return list(folds.split(np.empty((n_rows, 1)), labels))

    def _read_target(self, y):
        """Numbers, with a column of zeros and ones for each class; and the labels as 0, 1, ...

        There are no labels, but None, if the target is a number. Of two classes, the second one
        has the only column.
        """
        is_auto = self.target_type == "auto"
        kind = type_of_target(y, input_name="y") if is_auto else self.target_type
        self._classes = None
        if kind not in ("binary", "multiclass"):
            y = self._as_numbers(y)
            return (y - y.mean())[:, None], None  # centered, for accuracy
        try:
            classes, codes = np.unique(y, return_inverse=True)
        except TypeError as error:
            raise ValueError(f"y has labels of different types ({error}).") from error
        if kind == "binary":
            if classes.size > 2:
                raise ValueError(
                    f"The field {self.field!r} has target_type='binary', but y has {classes.size} "
                    "classes; pass target_type='multiclass' or 'continuous'."
                )
            return codes[:, None].astype(np.float64), codes
        self._classes = list(map(str, classes))
        return np.eye(len(self._classes))[codes], codes

    def _as_numbers(self, y):
        try:
            numbers = np.asarray(y, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"The field {self.field!r} has target_type={self.target_type!r}, for which y must "
                f"contain numbers ({error}); for labels, pass 'binary' or 'multiclass'."
            ) from error
        assert_all_finite(numbers, input_name="y")
        return numbers

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
