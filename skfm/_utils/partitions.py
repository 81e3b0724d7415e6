"""Tasks on the partitions of data that one process need not hold.

A task is a pure function of a partition and further arguments, in an importable module: so it can
run in any process, and again if that process dies.
"""

from typing import Any, Protocol


class Cluster(Protocol):
    """Where partitions are, and where tasks on them run.

    The arguments of a task are the partition, those that ``each`` has for it (a tuple for each
    partition, by default none), and those that are ``common`` to all partitions.
    """

    def run(self, task, parts, *common, each=None) -> list[Any]:
        """The results of a task for all partitions, in their order."""

    def transform(self, task, parts, *common, each=None) -> list[Any]:
        """Partitions that are the results of a task, which stay where they are."""


class ThisProcess:
    """The `Cluster` that is this process: its partitions are plain objects."""

    def run(self, task, parts, *common, each=None):
        each = [()] * len(parts) if each is None else each
        return [task(part, *own, *common) for part, own in zip(parts, each, strict=True)]

    transform = run
