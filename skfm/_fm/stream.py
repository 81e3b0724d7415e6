"""What `partial_fit` keeps from call to call, and what must not change between calls."""

import copy
from dataclasses import dataclass

import numpy as np

from skfm._fm.target_transform import TargetTransform
from skfm._kernels.features import hash_words
from skfm._solvers.fm.column_scaling import Scaling
from skfm._solvers.fm.optimizer_state import OptimizerMemory
from skfm._solvers.fm.penalties import Terms
from skfm._utils.memory import read_only
from skfm._utils.messages import shown
from skfm._utils.pickling import Versioned

SMALLEST_KNOWN_CHUNK = 10  # rows: fewer may be the same as others by chance


@dataclass
class Stream(Versioned):
    """What `partial_fit` needs to continue from where `fit` or the last call stopped.

    Further calls turn it into an `OpenStream`; pickles contain a `Stream` in any case.
    After `fit`, the optimizer's memory is a short summary: most models are done then, and need
    not bear twice their size.
    """

    settled: dict  # the estimator's parameters that cannot change
    target_transform: TargetTransform
    scaling: Scaling
    memory: OptimizerMemory | None  # "als" has none
    rng: np.random.RandomState
    seen: set  # digests of the chunks
    terms: Terms | None = None  # see `OpenStream`

    def copy(self):
        """The same with chunks of its own: `partial_fit` adds them in place."""
        other = copy.copy(self)
        if "seen" in vars(other):  # another version may have kept something else
            other.seen = set(self.seen)
        return other

    @property
    def can_open(self):
        """Whether an `OpenStream` can hold it."""
        has_state = self.memory is not None and self.memory.state is not None
        return has_state and not self.scaling.center.any()

    def check_settled(self, now):
        check_settled(self.settled, now)

    def places(self, problem):
        """Where the problem has the features that were used before."""
        return problem.position[self.scaling.used]


def check_settled(settled, now):
    """Raise an error if the estimator's parameters that cannot change are others ``now``."""
    changed = [
        f"{name}={shown(value)} (now {shown(now[name])})"
        for name, value in settled.items()
        if now[name] != value
    ]
    if changed:
        raise ValueError(
            "partial_fit cannot change parameters of the previous calls: "
            f"{', '.join(changed)}. Call fit, or partial_fit of a clone, to start again."
        )


def settled_values(values):
    """Values of parameters that can be compared and kept: arrays as lists."""
    return {n: v.tolist() if isinstance(v, np.ndarray) else v for n, v in values.items()}


def digest_of_chunk(rows):
    """What tells a chunk from others; None for one so small that it may occur twice by chance."""
    if rows.X.shape[0] < SMALLEST_KNOWN_CHUNK:
        return None
    X = rows.X
    state = np.uint64(0)
    with np.errstate(over="ignore"):  # of plain Python, where kernels are not compiled
        for array in (X.indptr, X.indices, X.data, rows.y, rows.weight):
            data = np.ascontiguousarray(array).view(np.uint8)
            n_whole = data.size // 8 * 8
            rest = np.zeros(16, np.uint8)  # what is left of the last word, and the size
            rest[: data.size - n_whole] = data[n_whole:]
            rest[8:] = np.array([data.size], np.uint64).view(np.uint8)
            for part in (data[:n_whole], rest):
                words = np.require(part.view(np.uint64), requirements="A")
                state = np.uint64(hash_words(read_only(words), state))
    return state.tobytes()
