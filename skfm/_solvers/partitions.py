"""Rows in partitions, perhaps on several machines: rounds of pure functions, sums in fixed order.

Solvers see partitions through the methods of `Partitions` and `States`. Those here call the
functions in this process, one after the other; `skfm.dask._cluster` has others with the same
results, bit for bit.
"""


def fold(leaf, add, start, stop):
    """``leaf(start), ..., leaf(stop - 1)`` in a binary tree, which depends on their number only.

    Each subtree is complete before the next one starts, so few results wait to be added.
    """
    n = stop - start
    if n == 1:
        return leaf(start)
    middle = start + (1 << (n - 1).bit_length() - 1)
    return add(fold(leaf, add, start, middle), fold(leaf, add, middle, stop))


def add(first, second):
    """The sum of two arrays or numbers, or of two tuples of them."""
    if isinstance(first, tuple):
        return tuple(add(a, b) for a, b in zip(first, second, strict=True))
    return first + second


class Partitions:
    """Partitions of rows; functions get one of them and what is ``shared`` by all.

    Functions must be pure: a partition may be processed more than once.
    """

    def __init__(self, parts):
        self.parts = list(parts)

    def __len__(self):
        return len(self.parts)

    def map(self, function, *shared):
        """``function(part, *shared)`` of each partition, as a list."""
        return [function(part, *shared) for part in self.parts]

    def sum(self, function, *shared, add=add):
        """The sum of ``function(part, *shared)`` over all partitions, by a fixed tree."""
        return fold(lambda i: function(self.parts[i], *shared), add, 0, len(self))

    def convert(self, function, *shared):
        """`Partitions` of what the function returns, which stays where the partition is."""
        return Partitions(self.map(function, *shared))

    def states(self):
        """A state for each partition, at first None."""
        return States(self.parts)


class States:
    """States of partitions, which stay where the partitions are.

    Functions get a partition, its state, and what is shared.
    """

    def __init__(self, parts):
        self.parts = parts
        self.values = [None] * len(parts)

    def advance(self, function, *shared):
        """Replace each state by ``function(part, state, *shared)``, which must not change it."""
        self.values = self.map(function, *shared)

    def map(self, function, *shared):
        pairs = zip(self.parts, self.values, strict=True)
        return [function(part, state, *shared) for part, state in pairs]

    def sum(self, function, *shared, add=add):
        def leaf(i):
            return function(self.parts[i], self.values[i], *shared)

        return fold(leaf, add, 0, len(self.parts))

    def snapshot(self):
        """All states, as a list."""
        return list(self.values)

    def restore(self, values):
        self.values = list(values)
