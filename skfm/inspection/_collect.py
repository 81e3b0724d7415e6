"""Terms of samples, collected: all, or the largest of each sample and the sum of the others."""

from typing import NamedTuple

import numpy as np

LARGEST_NUMBER = 10_000_000  # of contributions: about a gigabyte while they are collected


class Terms(NamedTuple):
    """Terms of samples, in long format."""

    sample: np.ndarray  # (n_terms,)
    features: np.ndarray  # (n_terms, degree), -1 as filler
    contribution: np.ndarray  # (n_terms, n_outputs)

    def select(self, chosen):
        return Terms(*(part[chosen] for part in self))


def join(terms):
    """Several `Terms`, of different degrees, in one."""
    width = max(part.features.shape[1] for part in terms)
    features = [
        np.pad(part.features, ((0, 0), (0, width - part.features.shape[1])), constant_values=-1)
        for part in terms
    ]
    samples, contributions = (
        [part.sample for part in terms],
        [part.contribution for part in terms],
    )
    return Terms(*map(np.concatenate, (samples, features, contributions)))


def by_sample(terms):
    """The same terms, those of a sample side by side and in the order in which they came."""
    return terms.select(np.argsort(terms.sample, kind="stable"))


def split_largest(terms, n):
    """Positions of the ``n`` largest terms of each sample, the largest first, and of the others.

    The size of a term is its largest absolute contribution to an output.
    """
    size = np.abs(terms.contribution).max(axis=1, initial=0)
    order = np.lexsort((-size, terms.sample))
    sample = terms.sample[order]
    is_kept = np.arange(order.size) - np.searchsorted(sample, sample) < n
    return order[is_kept], order[~is_kept]


class Collector:
    """Collects the terms of samples, of each only the ``max_terms`` largest if that is given."""

    def __init__(self, n_samples, n_outputs, max_terms):
        self.remainder = np.zeros((n_samples, n_outputs))
        self._max_terms = max_terms
        none = np.zeros(0, np.intp), np.zeros((0, 1), np.intp), np.zeros((0, n_outputs))
        self._complete = [Terms(*none)]

    def take(self, blocks):
        """Take all terms of some samples, block by block."""
        parts = []
        for block in blocks:
            parts.append(block)
            if self._max_terms is not None:
                terms = join(parts)
                kept, others = split_largest(terms, self._max_terms)
                np.add.at(self.remainder, terms.sample[others], terms.contribution[others])
                parts = [terms.select(kept)]
        self._complete += parts

    def result(self):
        """All terms that were kept."""
        return by_sample(join(self._complete))


def refuse_too_many(n_terms, n_outputs, max_terms):
    """Refuse to return more contributions than fit into memory comfortably."""
    total = np.sum(n_terms if max_terms is None else np.minimum(n_terms, max_terms))
    if total * n_outputs > LARGEST_NUMBER:
        outputs = "" if n_outputs == 1 else f" for each of {n_outputs} classes"
        raise ValueError(
            f"The explanation of {n_terms.size} samples has {total:.0f} terms{outputs}, and "
            f"{LARGEST_NUMBER} contributions are the limit; pass fewer rows, or a smaller "
            "max_terms to keep the largest terms of each sample only."
        )
