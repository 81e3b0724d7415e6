"""Work space for the kernels of mini-batches."""

import numpy as np

from skfm._kernels.field_interactions import BLOCK_ROWS
from skfm._kernels.minibatch import FEATURE_CHUNK
from skfm._kernels.structs import FeatureSums, Local, RowScratch, Scratch
from skfm._utils.memory import aligned_zeros


def make_scratch(state, n_layers, n_penalties, *, n_rows, n_pairs, n_threads, keeps_sums=False):
    """Work space for batches of at most ``n_rows`` rows with ``n_pairs`` distinct features.

    ``keeps_sums`` says whether to keep the sums by interaction group of all rows of a batch.
    """
    n_outputs, _, n_slots, width = state.factors.shape
    dtype = state.factors.dtype
    n_together = n_threads * FEATURE_CHUNK
    _, _, n_field_pairs, n = state.field_pairs.shape
    n_whole = -(-n_rows // BLOCK_ROWS) * BLOCK_ROWS
    n_kept = n_outputs * n_whole if keeps_sums else n_threads
    return Scratch(
        Local(
            linear=np.zeros((n_pairs, state.linear.shape[2]), dtype),
            factors=aligned_zeros((n_pairs, n_slots, width), dtype),
            penalty=np.zeros((n_pairs, n_penalties), dtype),
            self_product=np.zeros(n_pairs, dtype),
            layer=np.zeros(n_pairs, np.uint32),
        ),
        RowScratch(
            sums=aligned_zeros((n_outputs, n_rows, n_layers * width), dtype),
            output=np.zeros((n_outputs, n_rows), dtype),
            gradient=np.zeros((n_outputs, n_rows), dtype),
            losses=np.zeros(n_rows),
            group_sums=aligned_zeros((n_kept * n_layers, width), dtype),
            pair_slopes=np.zeros((n_field_pairs, n), dtype),
        ),
        FeatureSums(
            slope=np.zeros(n_together, dtype),
            curve=np.zeros(n_together, dtype),
            weight=np.zeros(n_together, dtype),
            total=aligned_zeros((n_together, width), dtype),
        ),
    )
