"""Records of arrays that are passed to kernels: so a call names its parts."""

from typing import NamedTuple

import numpy as np


class State(NamedTuple):
    """Parameters of a factorization machine, for the used features, and the optimizer's state.

    Slot 0 holds the parameter, and further slots what the update rule keeps for it. They are side
    by side because they are read together, and each distant place in memory costs a cache miss.
    """

    intercept: np.ndarray  # (n_outputs, n_linear_slots), always float64
    linear: np.ndarray  # (n_outputs, n_features, n_linear_slots)
    factors: np.ndarray  # (n_outputs, n_features, n_factor_slots, n_components)


class Rule(NamedTuple):
    """What is minimised, and how."""

    loss: NamedTuple  # a record of losses.py
    update: NamedTuple  # a record of update_rules.py; the types of both choose what is compiled
    fit_intercept: bool
    fit_linear: bool


class ScaledRows(NamedTuple):
    """Rows in CSR form, and what maps their columns to used features and scales their values."""

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
    ptr: np.ndarray  # (n_pairs + 1,), where a feature's entries begin
    row: np.ndarray  # (n_entries,), the number of an entry's row within the batch
    value: np.ndarray  # (n_entries,), or empty


class Window(NamedTuple):
    """Consecutive mini-batches, planned."""

    rows: WindowRows
    columns: WindowColumns


class Local(NamedTuple):
    """A batch's parameters of one output, copied side by side.

    ``width`` is n_components, rounded up to whole SIMD vectors.
    """

    linear: np.ndarray  # (n_pairs, n_linear_slots)
    factors: np.ndarray  # (n_pairs, n_factor_slots, width)
    penalty: np.ndarray  # (n_pairs, 2 or 4), see update_rules.py
    self_product: np.ndarray  # (n_pairs,), v . v, or 0 if a feature's group has no pairs within
    layer: np.ndarray  # (n_pairs,), where the sums of a feature's interaction group begin


class RowScratch(NamedTuple):
    """What is computed for a batch's rows."""

    sums: np.ndarray  # (n_outputs, n_rows, n_layers * width), the rows' layers
    output: np.ndarray  # (n_outputs, n_rows)
    gradient: np.ndarray  # (n_outputs, n_rows)
    losses: np.ndarray  # (n_rows,)
    group_sums: np.ndarray  # (n_threads * n_layers, width), sums of a row, scratch space


class FeatureSums(NamedTuple):
    """Gradients of the loss by some features, summed over a batch.

    There is space for ``minibatch.FEATURE_CHUNK`` features of each thread.
    """

    slope: np.ndarray  # (n,), of the linear weights: sum of g x
    curve: np.ndarray  # (n,), sum of g x^2: the gradient of a factor v is total - curve * v
    weight: np.ndarray  # (n,), of the rows with the feature
    total: np.ndarray  # (n, width)


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
    free: np.ndarray  # (width,), 0 where a coordinate is held, else 1


class Grid(NamedTuple):
    """The entries of a matrix, block by block."""

    rows: np.ndarray  # (n_entries,), positions in the shuffled rows
    columns: np.ndarray  # (n_entries,)
    targets: np.ndarray  # (n_entries,)


class Side(NamedTuple):
    """What is learned of the rows, or of the columns, of a matrix by gradient steps."""

    factors: np.ndarray  # (n, width)
    record: np.ndarray  # (n, N_RECORD), the columns named in mf_sgd.py


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


class RowState(NamedTuple):
    """Sums and errors of the rows under the present parameters."""

    sums: np.ndarray  # (n_rows, n_layers * width), their layers; a single one is sum_j x_j v_j
    error: np.ndarray  # (n_rows,), raw output less the target
    root: np.ndarray  # (n_rows,), square roots of the weights, or empty if every weight is 1


class RelationBlocks(NamedTuple):
    """Parts that many rows share, field after field; see relation_blocks.py."""

    indptr: np.ndarray  # (n_blocks + 1,)
    column: np.ndarray  # (n_entries,)
    value: np.ndarray  # (n_entries,)
    own: np.ndarray  # (n_blocks,), whether a block's columns interact with each other
    of_row: np.ndarray  # (n_fields, n_rows), the block of each row
    layer: np.ndarray  # (n_fields,), where the sums of the field's interaction group begin
    sums: np.ndarray  # (n_blocks, width)
    constant: np.ndarray  # (n_blocks,)


class Prior(NamedTuple):
    """Precision and mean of each parameter, by its column's group; the linear weights' are last.

    The precision of a column's factors is ``factor_scale`` times that of its group.
    """

    group: np.ndarray  # (n_columns,)
    linear_scale: np.ndarray  # (n_columns,)
    factor_scale: np.ndarray  # (n_columns,)
    precision: np.ndarray  # (n_groups, n_components + 1)
    mean: np.ndarray  # (n_groups, n_components + 1)


class Interactions(NamedTuple):
    """Which products of features a model has; see interactions.py.

    Kernels get None instead if all pairs count, and if all features have linear weights or none
    does. Numba leaves out the branches that this rules out: the usual model compiles without them.
    """

    n_layers: int
    interaction_group: np.ndarray  # (n_features,)
    partners: np.ndarray  # (n_groups, n_groups), booleans; empty for higher degrees
    begin: np.ndarray  # (n_layers + 1,), where components of degree 2, 3, ... begin
    has_linear: np.ndarray  # (n_features,), booleans


class Items(NamedTuple):
    """The items that are ranked: their scaled, trained features, and how negatives are sampled."""

    indptr: np.ndarray  # (n_items + 1,)
    feature: np.ndarray  # (n_entries,)
    value: np.ndarray  # (n_entries,)
    output: np.ndarray  # (n_items,), what the regressed features add, or empty
    layers: np.ndarray  # (n_items, n_layers, width), the same
    begin: np.ndarray  # (n_items + 1,), int64; item i has begin[i]:begin[i + 1] of all shares


class Seen(NamedTuple):
    """What each user has chosen: no negatives for them."""

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
    """What is computed of a batch's rows and the items sampled for them."""

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
