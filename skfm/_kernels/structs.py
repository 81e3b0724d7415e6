"""What the kernels pass around: plain records of arrays, so that a call names its parts."""

from typing import NamedTuple

import numpy as np


class State(NamedTuple):
    """A factorization machine over the used features, with its optimizer's memory.

    Slot 0 holds the parameter, the further slots what the update rule remembers of it: side by
    side, because whoever needs one needs the other, and each far place in memory costs a wait.
    """

    intercept: np.ndarray  # (n_outputs, n_linear_slots), always float64
    linear: np.ndarray  # (n_outputs, n_features, n_linear_slots)
    factors: np.ndarray  # (n_outputs, n_features, n_factor_slots, n_components)


class Rule(NamedTuple):
    """What is minimised and how."""

    loss: NamedTuple  # a record of losses.py
    update: NamedTuple  # a record of updates.py; the types of both choose what is compiled
    fit_intercept: bool
    fit_linear: bool


class WindowRows(NamedTuple):
    """The rows of consecutive mini-batches; made by plan.py, which says what the arrays hold."""

    start: np.ndarray  # (n_batches + 1,), the first row of each batch
    ptr: np.ndarray  # (n_rows + 1,)
    local: np.ndarray  # (n_entries,)
    value: np.ndarray  # (n_entries,), or empty where every value is 1
    target: np.ndarray  # (n_rows,)
    weight: np.ndarray  # (n_rows,), or empty where every weight is 1


class WindowColumns(NamedTuple):
    """The same entries by feature: the distinct features of each batch, and their rows."""

    start: np.ndarray  # (n_batches + 1,), the first of each batch's features
    feature: np.ndarray  # (n_pairs,)
    ptr: np.ndarray  # (n_pairs + 1,)
    row: np.ndarray  # (n_entries,), within the batch
    value: np.ndarray  # (n_entries,), or empty


class Window(NamedTuple):
    """Consecutive mini-batches, planned."""

    rows: WindowRows
    columns: WindowColumns


class Local(NamedTuple):
    """A batch's parameters of one output, gathered side by side.

    ``width`` is n_components rounded up to whole vectors.
    """

    linear: np.ndarray  # (n_pairs, n_linear_slots)
    factors: np.ndarray  # (n_pairs, n_factor_slots, width)
    penalty: np.ndarray  # (n_pairs, 2 or 4), see updates.py
    self_product: np.ndarray  # (n_pairs,), v . v, or 0 where a feature's class has no pairs
    layer: np.ndarray  # (n_pairs,), where the sums of a feature's class begin


class RowScratch(NamedTuple):
    """What is computed of a batch's rows."""

    sums: np.ndarray  # (n_outputs, n_rows, n_layers * width), the rows' layers
    output: np.ndarray  # (n_outputs, n_rows)
    gradient: np.ndarray  # (n_outputs, n_rows)
    losses: np.ndarray  # (n_rows,)
    room: np.ndarray  # (n_threads * n_layers, width), to compute with


class Block(NamedTuple):
    """Gradients of the loss of some features, summed over a batch; BLOCK features a thread."""

    slope: np.ndarray  # (n,), of the linear weights: sum of g x
    curve: np.ndarray  # (n,), sum of g x^2: a factor's gradient is its total less curve times it
    weight: np.ndarray  # (n,), of the rows with the feature
    total: np.ndarray  # (n, width)


class Scratch(NamedTuple):
    """Work space of one batch."""

    local: Local
    rows: RowScratch
    block: Block


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
    record: np.ndarray  # (n, N_RECORD), the columns named in sgd.py


class Columns(NamedTuple):
    """The features of a problem, scaled, column by column; see classes.py for their order."""

    order: np.ndarray  # (n_columns,), columns that share no row one after the other
    ptr: np.ndarray  # (n_columns + 1,)
    row: np.ndarray  # (n_entries,)
    value: np.ndarray  # (n_entries,), or empty where every value is 1


class Machine(NamedTuple):
    """A factorization machine of one output; ``width`` is n_components and padding, which is 0."""

    linear: np.ndarray  # (n_columns,)
    factors: np.ndarray  # (n_columns, width)
    n_components: int


class Rows(NamedTuple):
    """What is known of the rows under the present parameters."""

    sums: np.ndarray  # (n_rows, n_layers * width), their layers; of one, sum_j x_j v_j
    error: np.ndarray  # (n_rows,), raw output less what it should be
    root: np.ndarray  # (n_rows,), of the rows' weights, or empty where every weight is 1


class Blocks(NamedTuple):
    """Parts of rows that many rows have, one relation's after the other's; see relations.py."""

    indptr: np.ndarray  # (n_blocks + 1,)
    column: np.ndarray  # (n_entries,)
    value: np.ndarray  # (n_entries,)
    own: np.ndarray  # (n_blocks,), whether a block's columns interact with each other
    of_row: np.ndarray  # (n_relations, n_rows)
    layer: np.ndarray  # (n_relations,), where the sums of the relation's class begin
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
    """Which products of features count; see interactions.py.

    Of the usual machine, with all pairs and with linear weights of all features or none, kernels
    get None instead. Numba leaves out the branches that this rules out, so that what most need is
    compiled without the rest.
    """

    n_layers: int
    feature_class: np.ndarray  # (n_features,)
    partners: np.ndarray  # (n_classes, n_classes), booleans; empty for higher degrees
    begin: np.ndarray  # (n_layers + 1,), where components of degree 2, 3, ... begin
    has_linear: np.ndarray  # (n_features,), booleans


class Items(NamedTuple):
    """The items that are ranked: their scaled, trained features, and how negatives are drawn."""

    indptr: np.ndarray  # (n_items + 1,)
    feature: np.ndarray  # (n_entries,)
    value: np.ndarray  # (n_entries,)
    output: np.ndarray  # (n_items,), what other features than these bring, or empty
    layers: np.ndarray  # (n_items, n_layers, width), the same
    begin: np.ndarray  # (n_items + 1,), int64; item i has begin[i]:begin[i + 1] of all shares


class Seen(NamedTuple):
    """What each owner of rows has chosen: no negatives for them."""

    ptr: np.ndarray  # (n_owners + 1,)
    item: np.ndarray  # (n_seen,), sorted for each owner
    free: np.ndarray  # (n_seen,), int64; shares of the items before it that are not seen
    total: np.ndarray  # (n_owners,), int64; shares of all items that are not seen
    bit_ptr: np.ndarray  # (n_owners + 1,), int64; each owner has a power of two of the words
    bits: np.ndarray  # uint64: where a bit is 0, no item that falls on it has been seen


class Events(NamedTuple):
    """Of the rows of a window: what was chosen, and by whom."""

    first: int  # the number of the window's first row among all
    item: np.ndarray  # (n_rows,)
    owner: np.ndarray  # (n_rows,), whose rows know of each other what was chosen


class Pairs(NamedTuple):
    """What a batch's rows and the items drawn for them come to: work space."""

    context: np.ndarray  # (n_rows, n_layers * width), sums of the contexts' features by class
    layers: np.ndarray  # (n_rows, n_layers * width), their layers; for one class the same
    negative: np.ndarray  # (n_rows,), the item drawn, or -1
    slope: np.ndarray  # (2, n_rows), of the loss by the scores of both items


class Meetings(NamedTuple):
    """The distinct items that a batch's rows meet, and who meets them: work space.

    The last six arrays are what plan.py needs.
    """

    batch: np.ndarray  # (1,), 0: as rows, they are one batch
    place: np.ndarray  # (n_items,), the number of an item in the batch, or -1
    item: np.ndarray  # (n_distinct,), the distinct items
    ptr: np.ndarray  # (n_distinct + 1,), where the meetings of each begin
    row: np.ndarray  # (2 * n_rows,), who meets it
    slope: np.ndarray  # (2 * n_rows,)
    count: np.ndarray  # (max(n_entries, n_distinct),)
    number: np.ndarray  # (n_used,), the number of a feature in the batch, or -1
    entry: np.ndarray  # (n_entries,)
    feature_place: np.ndarray  # (n_used,), a feature's own number: these three say
    center: np.ndarray  # (n_used,), 0               that features are known by their places,
    inverse_scale: np.ndarray  # (n_used,), 1        and values scaled
