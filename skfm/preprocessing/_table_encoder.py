"""From a table of categories, numbers, dates and lists to rows of features."""

import numbers
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import TransformerMixin
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.validation import check_is_fitted

from skfm._utils.estimator import PrintableEstimator, VersionedEstimator, all_or_nothing
from skfm._utils.messages import shown
from skfm._utils.parameters import (
    BOOLEAN,
    FLOAT_TYPE,
    NONE,
    Interval,
    Members,
    Options,
)
from skfm._utils.public import public
from skfm._utils.sparse import in_configured_interface
from skfm._utils.typing import (
    Float,
    FloatDType,
    Int,
    Seed,
    SparseMatrix,
    TableLike,
    available_if,
)
from skfm.preprocessing import _table_kinds as kinds
from skfm.preprocessing._columns import BOOLEAN as BOOLEANS
from skfm.preprocessing._columns import MIXED, NULL, NUMBER, STRING, plural
from skfm.preprocessing._field_blocks import Cross, Hashed, HashedCross
from skfm.preprocessing._table_checks import check_columns
from skfm.preprocessing._table_html import as_html_table
from skfm.preprocessing._table_matrix import side_by_side
from skfm.preprocessing._tables import InputTable


def _learns_in_chunks(encoder):
    if kinds.need_target(encoder.columns):
        raise AttributeError(
            "partial_fit is not available, since target statistics need all rows at once; use fit "
            "or fit_transform."
        )
    return True


@public("skfm.preprocessing")
class TableEncoder(VersionedEstimator, TransformerMixin, PrintableEstimator):
    """DOC"""

    _constraints: ClassVar[dict] = {
        "strings": [Options(*kinds.STRINGS)],
        "numbers": [Options(*kinds.NUMBERS)],
        "min_frequency": kinds.MIN_FREQUENCY,
        "max_categories": kinds.MAX_CATEGORIES,
        "n_features": kinds.N_FEATURES,
        "total_n_features": [NONE, *kinds.N_FEATURES],
        "n_bins": kinds.N_BINS,
        "crossed": [Members("a list of pairs of fields")],
        "hash_seed": [Interval(numbers.Integral, 0, 2**63 - 1)],
        "sparse_output": [BOOLEAN],
        "dtype": [FLOAT_TYPE],
    }

    def __init__(
        self,
        columns: Mapping[Any, Any] | None = None,
        *,
        strings: Literal["category", "hashed"] = "category",
        numbers: Literal[
            "number", "quantile_bins", "log_bins", "bins_and_value", "category", "hashed"
        ] = "quantile_bins",
        min_frequency: Float | None = None,
        max_categories: Int | None = None,
        n_features: Int = 4096,
        total_n_features: Int | None = None,
        n_bins: Int = 20,
        crossed: Sequence[Any] = (),
        hash_seed: Int = 0,
        random_state: Seed = None,
        sparse_output: bool = True,
        dtype: FloatDType = np.float64,
    ) -> None:
        self.columns = columns
        self.strings = strings
        self.numbers = numbers
        self.min_frequency = min_frequency
        self.max_categories = max_categories
        self.n_features = n_features
        self.total_n_features = total_n_features
        self.n_bins = n_bins
        self.crossed = crossed
        self.hash_seed = hash_seed
        self.random_state = random_state
        self.sparse_output = sparse_output
        self.dtype = dtype

    def fit(self, X: TableLike, y: ArrayLike | None = None) -> Self:
        """FIT"""
        with all_or_nothing(self):
            self._learn(InputTable(X), y, reset=True)
        return self

    def fit_transform(self, X: TableLike, y: ArrayLike | None = None) -> SparseMatrix:
        """FIT_TRANSFORM"""
        with all_or_nothing(self):
            table = InputTable(X)
            return self._encode(table, self._learn(table, y, reset=True))

    @available_if(_learns_in_chunks)
    def partial_fit(self, X: TableLike, y: ArrayLike | None = None) -> Self:
        """PARTIAL_FIT"""
        with all_or_nothing(self):
            self._learn(InputTable(X), y, reset=not hasattr(self, "_blocks"), in_chunks=True)
        return self

    def transform(self, X: TableLike) -> SparseMatrix:
        """TRANSFORM"""
        check_is_fitted(self)
        return self._encode(self._open(InputTable(X)), {})

    def get_feature_names_out(
        self, input_features: ArrayLike | None = None
    ) -> NDArray[np.object_]:
        """NAMES"""
        check_is_fitted(self)
        return np.array([name for block in self._blocks for name in block.names()], dtype=object)

    def hash_collisions(self, X: TableLike) -> dict[str, float]:
        """COLLISIONS"""
        check_is_fitted(self)
        table = self._open(InputTable(X))
        return {
            block.field: block.collisions(table.column(self._sources[block.field][0]))
            for block in self._blocks
            if isinstance(block, Hashed)
        }

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.target_tags.required = kinds.need_target(self.columns)
        return tags

    # Learning

    def _learn(self, table, y, *, reset, in_chunks=False):
        """Learn from a table; return the cross-fitted entries of the training rows by field."""
        if reset:
            self._check_parameters()
            check_columns(self, table, reset=True)
            self._start(table)
        else:
            self._open(table, learning=True)
        own = [block for block in self._blocks if not hasattr(block, "members")]
        crosses = [block for block in self._blocks if hasattr(block, "members")]
        targets = [block for block in own if block.needs_target]
        self._check_rows(table)
        if in_chunks:
            self._refuse_chunks(crosses)
        y = self._check_target(y, table) if targets else None
        for block in own:  # errors come before anything is learned
            block.read(self._input(table, block))
        cross_fitted = {}
        for block in own:
            column = self._input(table, block)
            block.learn(column)
            if block.needs_target:
                entries = block.fit_encode(column, y, self.random_state)
                cross_fitted[block.field] = entries
            block.finish()
        for block in crosses:
            if isinstance(block, Cross):
                block.learn(self._input(table, block))
            block.finish([self._by_field()[member] for member in block.members])
        self._publish()
        return cross_fitted

    def _start(self, table):
        """Decide what each column becomes."""
        given = self._read_columns(table)
        specs, self._types = [], []
        for position in range(len(table.labels)):
            found = given.get(position)
            if found is not None and [spec.kind for spec in found] == ["drop"]:
                self._types.append(None)
                specs.append(found)
                continue
            column = table.column(position)
            self._types.append(column.type)
            specs.append(found or kinds.default_specs(column, self.strings, self.numbers))
        self._is_given = [position in given for position in range(len(specs))]
        crosses = kinds.read_crosses(self.crossed, self.strings)
        make = kinds.BlockMaker(
            numbers=self.numbers,
            defaults=self._defaults(
                [s for found in specs for s in found] + [s for _, s in crosses]
            ),
            seed=int(self.hash_seed),
        )
        self._blocks, self._sources = (
            [],
            {},
        )  # positions of the columns that each field is read from
        for position, found in enumerate(specs):
            if self._types[position] is None:
                continue
            for block in make.of_column(table.column(position), found):
                self._add(block, [position])
        fields = self._by_field()
        for members, spec in crosses:
            for member in members:
                if member not in fields:
                    raise ValueError(
                        f"Unknown field {member!r} in crossed. "
                        f"{kinds.closest(member, list(fields))}"
                    )
                if not fields[member].can_be_crossed:
                    raise ValueError(
                        f"The field {member!r}, of the kind {fields[member].kind!r}, cannot be "
                        "crossed; fields of categories, hashes, bins and dates can."
                    )
            positions = [self._sources[member][0] for member in members]
            self._add(make.of_cross("*".join(members), spec, list(members)), positions)

    def _add(self, block, positions):
        if block.field in self._sources:
            raise ValueError(
                f"Two fields would have the same name, {block.field!r}; rename the column or drop "
                "one of the fields."
            )
        self._blocks.append(block)
        self._sources[block.field] = positions

    def _read_columns(self, table):
        """The kinds that are given, by the positions of the columns."""
        if self.columns is None:
            return {}
        if not isinstance(self.columns, Mapping):
            raise TypeError(
                "columns must be a dict of kinds by the names of columns, such as "
                f"{{'age': 'number'}}, or None; got {shown(self.columns)}."
            )
        given = {}
        for name, value in self.columns.items():
            position = name
            if isinstance(name, str):
                if name not in table.labels:
                    raise ValueError(
                        f"Unknown column {name!r} in columns. {kinds.closest(name, table.labels)}"
                    )
                position = table.labels.index(name)
            is_position = isinstance(position, numbers.Integral) and not isinstance(name, bool)
            if not is_position or not 0 <= position < len(table.labels):
                raise ValueError(
                    f"Unknown column {shown(name)} in columns; pass the name of a column, or a "
                    f"position from 0 to {len(table.labels) - 1}."
                )
            given[int(position)] = kinds.read_specs(value, f"columns[{shown(name)}]")
        return given

    def _defaults(self, specs):
        """The options of all kinds for which none are given."""
        n_features = int(self.n_features)
        if self.total_n_features is not None:
            n_fields = sum(
                "n_features" in kinds.KINDS[spec.kind] or spec.kind == "hashed"
                for spec in specs
                if "n_features" not in spec.options
            )
            n_features = int(self.total_n_features) // max(n_fields, 1)
            if n_features < 2:
                raise ValueError(
                    f"total_n_features={self.total_n_features} is too small for {n_fields} hashed "
                    "fields, which need at least 2 columns each; raise it."
                )
        return {
            "min_frequency": self.min_frequency,
            "max_categories": self.max_categories,
            "n_features": n_features,
            "n_bins": int(self.n_bins),
            "smooth": "auto",
            "cv": 5,
            "target_type": "auto",
        }

    def _check_rows(self, table):
        is_enough = table.names is not None and all(block.is_stateless for block in self._blocks)
        if table.n_rows == 0 and not is_enough and not hasattr(self, "feature_fields_"):
            raise ValueError(
                f"Found array with 0 sample(s) (shape=(0, {len(table.labels)})) while a minimum "
                "of 1 is required."
            )

    def _refuse_chunks(self, crosses):
        fields = self._by_field()
        for block in crosses:
            changing = [m for m in block.members if fields[m].changes_ids]
            if isinstance(block, Cross) and changing:
                raise ValueError(
                    f"The quantile bins of {changing[0]!r} change from chunk to chunk, so that "
                    f"{block.field!r} cannot be learned by partial_fit; use fit, encode "
                    f"{changing[0]!r} as 'log_bins', or hash the crossed field: "
                    f"{{'fields': {tuple(block.members)}, 'kind': 'hashed'}}."
                )

    def _check_target(self, y, table):
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} requires y to be passed, but the target y is None: "
                "columns encoded as 'target' need it."
            )
        y = column_or_1d(y)
        check_consistent_length(y, np.empty((table.n_rows, 1)))
        return y

    def _publish(self):
        widths = [block.n_columns for block in self._blocks]
        fields = np.array([block.field for block in self._blocks], dtype=str)
        self.feature_fields_ = np.repeat(fields, widths)
        self.feature_groups_ = self.feature_fields_.copy()
        self.encoding_ = [self._describe(block) for block in self._blocks]
        dropped = [p for p, found in enumerate(self._types) if found is None]
        for position in dropped:
            self.encoding_.append(
                {
                    "column": self._labels[position],
                    "type": "",
                    "kind": "drop",
                    "field": "",
                    "n_features": 0,
                    "details": "",
                }
            )

    def _describe(self, block):
        positions = self._sources[block.field]
        return {
            "column": "*".join(self._labels[position] for position in positions),
            "type": "*".join(self._types[position] for position in positions),
            "kind": block.kind,
            "field": block.field,
            "n_features": int(block.n_columns),
            "details": block.describe(),
        }

    # Encoding

    def _by_field(self):
        return {block.field: block for block in self._blocks}

    def _input(self, table, block):
        """What a block reads: a column, or the ids or columns of the fields that it crosses."""
        columns = [table.column(position) for position in self._sources[block.field]]
        if not hasattr(block, "members"):
            return columns[0]
        fields = self._by_field()
        members = [fields[member] for member in block.members]
        pairs = zip(members, columns, strict=True)
        if isinstance(block, HashedCross):
            return [member.encode(column).columns for member, column in pairs]
        return [member.ids(column) for member, column in pairs]

    def _open(self, table, *, learning=False):
        """Check that the columns of a table are those of the training table."""
        check_columns(self, table, reset=False)
        for position, expected in enumerate(self._types):
            if expected is None:
                continue
            column = table.column(position)
            if learning and expected == NULL and column.type != NULL:
                if not self._is_given[position]:
                    raise ValueError(
                        f"Column {column.name!r} had missing values only in the first call, and "
                        f"has {plural(column.type)} now. Say what it becomes, for example "
                        f"columns={{{column.name!r}: 'category'}}."
                    )
                self._types[position] = column.type
            if not _agree(expected, column.type):
                raise ValueError(
                    f"Column {column.name!r} contained {plural(expected)} in fit, and contains "
                    f"{plural(column.type)} here; convert it."
                )
        return table

    def _encode(self, table, cross_fitted):
        last_use = {}
        for number, block in enumerate(self._blocks):
            last_use.update(dict.fromkeys(self._sources[block.field], number))
        parts = []
        for number, block in enumerate(self._blocks):
            known = cross_fitted.get(block.field)
            parts.append(block.encode(self._input(table, block)) if known is None else known)
            for position in self._sources[block.field]:
                if last_use[position] == number:
                    table.forget(position)  # the copies of a large table would add up
        widths = [block.n_columns for block in self._blocks]
        X = side_by_side(parts, widths, table.n_rows, np.dtype(self.dtype))
        if not self.sparse_output:
            return X.toarray()
        X = in_configured_interface(X)
        X.feature_fields, X.feature_groups = self.feature_fields_, self.feature_groups_
        return X

    # Representation

    @property
    def _repr_html_(self):
        diagram = super()._repr_html_
        return lambda: diagram() + self._encoding_as_html()

    def _repr_mimebundle_(self, **options):
        bundle = super()._repr_mimebundle_(**options)
        if "text/html" in bundle:
            bundle["text/html"] += self._encoding_as_html()
        return bundle

    def _encoding_as_html(self):
        return as_html_table(self.encoding_) if hasattr(self, "encoding_") else ""


def _agree(expected, found):
    """Whether a column of the training table and one of another table have the same type."""
    if found == expected or NULL in (expected, found):
        return True
    return expected == MIXED and found in (STRING, NUMBER, BOOLEANS)
