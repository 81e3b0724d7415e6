"""Named tuples of arrays that are passed to kernels."""

from typing import NamedTuple

import numpy as np


class State(NamedTuple):
    """Parameters of a factorization machine, for the used features, and the optimizer's state.

    Slot 0 holds the parameter, and further slots the state of its update rule (see
    update_rules.py). All slots are adjacent in memory, since they are read together.
    """

    intercept: np.ndarray  # (n_outputs, n_linear_slots), always float64
    linear: np.ndarray  # (n_outputs, n_features, n_linear_slots)
    factors: np.ndarray  # (n_outputs, n_features, n_factor_slots, n_components)
    field_pairs: np.ndarray  # (n_outputs, n_linear_slots, n_pairs, n), see field_interactions.py


class Rule(NamedTuple):
    """The loss, and how parameters are updated."""

    loss: NamedTuple  # a class of losses.py
    update: NamedTuple  # a class of update_rules.py; both types determine what is compiled
    fit_intercept: bool
    fit_linear: bool


class ScaledRows(NamedTuple):
    """Rows in CSR form, the positions of columns among the used features, and the scaling."""

    indptr: np.ndarray  # (n_rows + 1,)
    indices: np.ndarray  # (n_entries,)
    data: np.ndarray  # (n_entries,)
    position: np.ndarray  # (n_columns,), the position of a column among the used features
    center: np.ndarray  # (n_features,), subtracted from a feature's values
    inverse_scale: np.ndarray  # (n_features,), multiplied with the result


class PlanScratch(NamedTuple):
    """Work space of `batches.plan_batches`."""

    first_seen: np.ndarray  # (n_features,), int32, all -1 at first
    entry_feature: np.ndarray  # (n,), an integer for each entry of the longest batch
    count: np.ndarray  # (n,), the same


class WindowRows(NamedTuple):
    """The rows of consecutive mini-batches, planned by `batches.plan_batches`."""

    start: np.ndarray  # (n_batches + 1,), the first row of each batch
    ptr: np.ndarray  # (n_rows + 1,), where a row's entries begin
    local: np.ndarray  # (n_entries,), the number of an entry's feature within the batch
    value: np.ndarray  # (n_entries,), or empty if every value is 1
    target: np.ndarray  # (n_rows,)
    weight: np.ndarray  # (n_rows,), or empty if every weight is 1


class WindowColumns(NamedTuple):
    """The same entries by feature: the distinct features of each batch, and their rows."""

    start: np.ndarray  # (n_batches + 1,), the first of each batch's features
    feature: np.ndarray  # (n_pairs,), one for each pair of a batch and one of its features
    ptr: np.ndarray  # (n_pairs + 1,), where a feature's entries begin, modulo the type's range
    row: np.ndarray  # (n_entries,), the number of an entry's row within the batch
    value: np.ndarray  # (n_entries,), or empty


class Window(NamedTuple):
    """Consecutive mini-batches, planned."""

    rows: WindowRows
    columns: WindowColumns


class Local(NamedTuple):
    """Local copies of the parameters of a batch's features, for one output.

    ``width`` is n_components, rounded up to whole SIMD vectors.
    """

    linear: np.ndarray  # (n_pairs, n_linear_slots)
    factors: np.ndarray  # (n_pairs, n_factor_slots, width)
    penalty: np.ndarray  # (n_pairs, 2 or 4), see update_rules.py
    self_product: np.ndarray  # (n_pairs,), v . v, or 0 without interactions within a group
    layer: np.ndarray  # (n_pairs,), where the sums of a feature's interaction group begin


class RowScratch(NamedTuple):
    """Results for a batch's rows."""

    sums: np.ndarray  # (n_outputs, n_rows, n_layers * width), the rows' layers
    output: np.ndarray  # (n_outputs, n_rows)
    gradient: np.ndarray  # (n_outputs, n_rows)
    losses: np.ndarray  # (n_rows,)
    # (n * n_layers, width), sums by interaction group: those of each thread's row, or of all rows.
    group_sums: np.ndarray
    pair_slopes: np.ndarray  # (n_pairs, n), for gradients of the parameters of pairs of fields


class FeatureSums(NamedTuple):
    """Gradients of the loss by the parameters of some features, summed over a batch.

    There is space for ``minibatch.FEATURE_CHUNK`` features of each thread.
    """

    slope: np.ndarray  # (n,), sum of g x: the gradients of linear weights
    curve: np.ndarray  # (n,), sum of g x^2: the gradients of factors v are total - curve * v
    weight: np.ndarray  # (n,), of the rows with the feature
    total: np.ndarray  # (n, width), sum of g x times the rows' layers


class Scratch(NamedTuple):
    """Work space of one batch."""

    local: Local
    rows: RowScratch
    feature_sums: FeatureSums


class Entries(NamedTuple):
    """The stored entries of a matrix in CSR form, as observations."""

    indptr: np.ndarray  # (n_rows + 1,)
    indices: np.ndarray  # (n_entries,)
    values: np.ndarray  # (n_entries,), targets of weight 1, or confidences: weights of target 1
    is_confidence: bool


class Ridge(NamedTuple):
    """L2 penalties of a row's solution: ``fixed + strength * scaled`` for each coordinate."""

    fixed: np.ndarray  # (width,)
    scaled: np.ndarray  # (width,)
    free: np.ndarray  # (width,), 0 where a coordinate is fixed, else 1


class Grid(NamedTuple):
    """The entries of a matrix, block by block."""

    rows: np.ndarray  # (n_entries,), positions in the shuffled rows
    columns: np.ndarray  # (n_entries,)
    targets: np.ndarray  # (n_entries,)


class Side(NamedTuple):
    """The parameters of a matrix's rows, or of its columns, and their AdaGrad state."""

    factors: np.ndarray  # (n, width)
    scalars: np.ndarray  # (n, N_SCALARS), the columns named in mf_sgd.py


class SparseColumns(NamedTuple):
    """Columns of scaled values (CSC), and the order in which they are updated; see coloring.py."""

    order: np.ndarray  # (n_columns,), columns of one color after the other
    ptr: np.ndarray  # (n_columns + 1,)
    row: np.ndarray  # (n_entries,)
    value: np.ndarray  # (n_entries,), or empty if every value is 1


class Model(NamedTuple):
    """A factorization machine of one output; ``width`` is n_components and padding, which is 0."""

    linear: np.ndarray  # (n_columns,)
    factors: np.ndarray  # (n_columns, width)
    n_components: int
    field_pairs: np.ndarray  # (n_pairs, n), see field_interactions.py


class RowState(NamedTuple):
    """Layers and errors of the rows, as computed from the present parameters."""

    sums: np.ndarray  # (n_rows, n_layers * width), layers; if all pairs interact, sum_j x_j v_j
    error: np.ndarray  # (n_rows,), raw output less the target
    root: np.ndarray  # (n_rows,), square roots of the weights, or empty if every weight is 1


class RelationBlocks(NamedTuple):
    """Blocks of entries that many rows share, of all fields; see relation_blocks.py."""

    indptr: np.ndarray  # (n_blocks + 1,)
    column: np.ndarray  # (n_entries,)
    value: np.ndarray  # (n_entries,)
    interacts: np.ndarray  # (n_blocks,), whether a block's columns interact with each other
    of_row: np.ndarray  # (n_fields, n_rows), the block of each row
    layer: np.ndarray  # (n_fields,), where the sums of the field's interaction group begin
    sums: np.ndarray  # (n_blocks, width)
    constant: np.ndarray  # (n_blocks,)


class Prior(NamedTuple):
    """Normal priors of the parameters, by group of columns; those of linear weights come last.

    A column's precisions are those of its group times ``factor_scale`` and ``linear_scale``.
    """

    group: np.ndarray  # (n_columns,)
    linear_scale: np.ndarray  # (n_columns,)
    factor_scale: np.ndarray  # (n_columns,)
    precision: np.ndarray  # (n_groups, n_components + 1)
    mean: np.ndarray  # (n_groups, n_components + 1)


class Plain(NamedTuple):
    """Features interact by the products of their factors."""


class FieldWeighted(NamedTuple):
    """A weight for each pair of fields."""

    n_components: int
    penalty: float  # for each unit of weight of a row


class FieldMatrixed(NamedTuple):
    """A matrix for each pair of fields."""

    n_components: int
    penalty: float


class FieldAware(NamedTuple):
    """Factors for each partner field."""

    n_components: int  # of one partner field


class Interactions(NamedTuple):
    """Which interactions of features a model has; see interactions.py.

    Kernels get None instead if all pairs interact and either all features have linear weights or
    none has: Numba then omits the branches for other models.
    """

    n_layers: int
    interaction_group: np.ndarray  # (n_features,)
    partners: np.ndarray  # (n_groups, n_groups), booleans; empty for higher degrees
    begin: np.ndarray  # (n_layers + 1,), where components of degree 2, 3, ... begin
    has_linear: np.ndarray  # (n_features,), booleans
    kind: NamedTuple = Plain()  # see field_interactions.py; its type determines what is compiled


class Items(NamedTuple):
    """The items that are ranked: their scaled, trained features, and how negatives are sampled."""

    indptr: np.ndarray  # (n_items + 1,)
    feature: np.ndarray  # (n_entries,)
    value: np.ndarray  # (n_entries,)
    output: np.ndarray  # (n_items,), what the regressed features add, or empty
    layers: np.ndarray  # (n_items, n_layers, width), the same
    begin: np.ndarray  # (n_items + 1,), int64, cumulative shares; see negative_sampling.py


class Seen(NamedTuple):
    """The items that each user has chosen, which are not sampled as negatives."""

    ptr: np.ndarray  # (n_users + 1,)
    item: np.ndarray  # (n_seen,), sorted for each user
    free: np.ndarray  # (n_seen,), int64; shares of unseen items before it
    total: np.ndarray  # (n_users,), int64; shares of all unseen items
    bit_ptr: np.ndarray  # (n_users + 1,), int64; a power of two of words for each user
    bits: np.ndarray  # uint64; if a bit is 0, no item that maps to it has been seen


class Positives(NamedTuple):
    """The items that the rows of a window chose."""

    first: int  # the number of the window's first row among all
    item: np.ndarray  # (n_rows,)
    user: np.ndarray  # (n_rows,), whose seen items are no negatives


class Comparison(NamedTuple):
    """The loss of a pair of items, and how its negative is sampled."""

    loss: int  # BPR, WARP or LOGISTIC
    max_draws: int  # at most so many negatives, for WARP
    seed: np.uint64


class PairScratch(NamedTuple):
    """Results for a batch's rows and the items sampled for them."""

    context: np.ndarray  # (n_rows, n_layers * width), sums of the contexts' features by group
    layers: np.ndarray  # (n_rows, n_layers * width), their layers; for one group the same
    negative: np.ndarray  # (n_rows,), the item sampled, or -1
    slope: np.ndarray  # (2, n_rows), of the loss by the scores of both items


class BatchItems(NamedTuple):
    """The distinct items of a batch, chosen or sampled, and the rows that have them."""

    batch: np.ndarray  # (1,), 0: as rows, the items are one batch
    place: np.ndarray  # (n_items,), the number of an item in the batch, or -1
    item: np.ndarray  # (n_distinct,)
    ptr: np.ndarray  # (n_distinct + 1,), where an item's rows begin
    row: np.ndarray  # (2 * n_rows,)
    slope: np.ndarray  # (2 * n_rows,)


class ItemBatch(NamedTuple):
    """The items of a batch as rows of a batch of their own: its plan and its work space."""

    items: BatchItems
    window: Window
    scratch: Scratch
    features: ScaledRows  # of all items; values are scaled, and features are their own positions
    plan: PlanScratch
