"""Types of the public signatures.

SciPy, scikit-learn and pandas need not come with types: what they return is `Any`, and what is
expected of them is stated here as a protocol.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import metaestimators

__all__ = [
    "ColumnKey",
    "ColumnLike",
    "Estimator",
    "Float",
    "FloatArray",
    "FloatDType",
    "IdArray",
    "Int",
    "IntArray",
    "ItemsLike",
    "LogLike",
    "MatrixLike",
    "Penalty",
    "Seed",
    "SparseMatrix",
    "SupportsArray",
    "SupportsArrow",
    "SupportsSparse",
    "TableLike",
    "available_if",
]


class SupportsArray(Protocol):
    """What NumPy makes an array of: arrays, and Series and DataFrames of pandas or polars."""

    def __array__(self) -> NDArray[Any]: ...


class SupportsArrow(Protocol):
    """A table that can be read as a stream of Arrow record batches."""

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any: ...


class SupportsSparse(Protocol):
    """A sparse matrix or a sparse array of SciPy."""

    @property
    def format(self) -> str: ...

    def tocsr(self) -> Any: ...


class Estimator(Protocol):
    """An estimator of scikit-learn or of skfm."""

    def get_params(self, deep: bool = True) -> dict[str, Any]: ...


Int: TypeAlias = int | np.integer[Any]
Float: TypeAlias = float | np.floating[Any] | np.integer[Any]
FloatDType: TypeAlias = (
    Literal["float64", "float32"] | type[float] | type[np.floating[Any]] | np.dtype[Any]
)
Penalty: TypeAlias = Float | Literal["auto"] | Mapping[Any, Float] | Sequence[Float]
Seed: TypeAlias = int | np.random.RandomState | None

MatrixLike: TypeAlias = ArrayLike | SupportsSparse
SparseMatrix: TypeAlias = Any  # a CSR matrix or CSR array of SciPy, as a result
ColumnLike: TypeAlias = Sequence[Any] | SupportsArray
ItemsLike: TypeAlias = Collection[Any] | SupportsArray  # where the order does not matter
ColumnKey: TypeAlias = str | Int  # its name, or its position
LogLike: TypeAlias = Sequence[Sequence[Any]] | SupportsArray
TableLike: TypeAlias = Sequence[Sequence[Any]] | SupportsArray | SupportsArrow

FloatArray: TypeAlias = NDArray[np.floating[Any]]
IntArray: TypeAlias = NDArray[np.integer[Any]]
IdArray: TypeAlias = NDArray[Any]  # integers, strings or objects

Method = TypeVar("Method", bound=Callable[..., Any])


def available_if(check: Callable[[Any], bool]) -> Callable[[Method], Method]:
    """That of scikit-learn, which has no types; the method keeps those of its signature."""
    return metaestimators.available_if(check)
