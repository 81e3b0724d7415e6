"""Detection of relation blocks: fields whose entries are the same in many rows."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from skfm._kernels import relation_blocks as kernels
from skfm._kernels.structs import RelationBlocks, SparseColumns
from skfm._utils.equal_rows import row_hashes
from skfm._utils.memory import aligned_zeros, read_only

LEAST_LENGTH = 4  # mean number of a field's entries in a row
LEAST_GAIN = 4  # a field's entries in the rows, relative to those in its blocks and the rows


@dataclass
class FieldBlocks:
    """The relation blocks of one field; see _kernels/relation_blocks.py."""

    interaction_group: int
    of_row: np.ndarray  # (n_rows,), the block of each row
    matrix: sparse.csr_matrix  # (n_blocks, n_used), values scaled
    columns: SparseColumns  # of the matrix, those that are not empty
    members: SparseColumns  # the rows of each block, as its column

    @property
    def n_blocks(self):
        return self.matrix.shape[0]


def find_relation_blocks(problem):
    """The relation blocks of each field that has them, and the rows without these fields.

    There are none if other fields do not all interact in the same way with those of a block.
    """
    rows = problem.scaled_source()
    interactions = problem.interactions
    field = interactions.field
    if not interactions.are_pairs or interactions.kind != "plain" or not field.any():
        return [], rows
    n_rows, found = problem.n_rows, []
    sizes = np.zeros(field.max() + 1, np.int64)
    kernels.count_entries(problem.indices, field, sizes)
    for number in np.flatnonzero(sizes > LEAST_LENGTH * n_rows):
        chosen = field == number
        _, first, of_row = _distinct(rows, chosen)
        blocks = _only(rows, chosen, first)
        if sizes[number] >= LEAST_GAIN * (n_rows + blocks.indices.size):
            found.append(_make_blocks(problem, blocks, of_row))
            field = np.where(chosen, -1, field)
    if found:
        rows = _only(rows, field >= 0, np.arange(n_rows))
    return found, rows


def _distinct(rows, chosen):
    keys = row_hashes(rows.indptr, rows.indices, rows.data, chosen)
    return np.unique(keys, return_index=True, return_inverse=True)


def _only(rows, chosen, places):
    """The rows at ``places``, with the chosen columns alone."""
    indptr = np.zeros(places.size + 1, np.int64)

    def split(n_entries):
        indices, data = (
            np.empty(n_entries, rows.indices.dtype),
            np.empty(n_entries, rows.data.dtype),
        )
        kernels.split_rows(
            rows.indptr, rows.indices, rows.data, chosen, places, indptr, indices, data
        )
        return read_only(indices), read_only(data)

    split(0)  # counts them
    indices, data = split(int(indptr[-1]))
    return rows._replace(indptr=indptr, indices=indices, data=data)


def _make_blocks(problem, blocks, of_row):
    place = problem.position[blocks.indices]
    data = (blocks.data - problem.center[place]) / problem.scale[place]
    n_blocks = blocks.indptr.size - 1
    matrix = sparse.csr_matrix(
        (data, place.astype(np.int64), blocks.indptr), (n_blocks, problem.n_used)
    )
    csc = matrix.tocsc()
    order = np.flatnonzero(np.diff(csc.indptr)).astype(np.uint32)
    members = np.argsort(of_row, kind="stable")
    ptr = np.append(0, np.cumsum(np.bincount(of_row, minlength=n_blocks)))
    return FieldBlocks(
        int(problem.interactions.interaction_group[blocks.indices[0]]),
        of_row,
        matrix,
        SparseColumns(order, csc.indptr.astype(np.int64), csc.indices.astype(np.uint32), csc.data),
        SparseColumns(
            np.arange(n_blocks, dtype=np.uint32),
            ptr.astype(np.int64),
            members.astype(np.uint32 if members.size < 2**32 else np.uint64),
            np.empty(0, data.dtype),
        ),
    )


def stack_blocks(fields, partners, width, n_rows, dtype):
    """The relation blocks of all fields, one after the other, as the kernels sum them."""
    sizes = [blocks.n_blocks for blocks in fields]
    firsts = np.append(0, np.cumsum(sizes)).astype(np.int64)
    matrices = [blocks.matrix for blocks in fields]
    whole = sparse.vstack(matrices, format="csr") if fields else sparse.csr_matrix((0, 1))
    of_row = np.empty((len(fields), n_rows), np.uint32)
    for row, blocks, first in zip(of_row, fields, firsts, strict=False):
        row[:] = blocks.of_row + first
    groups = [blocks.interaction_group for blocks in fields]
    return RelationBlocks(
        whole.indptr.astype(np.int64),
        whole.indices.astype(np.uint32),
        whole.data.astype(dtype),
        np.repeat(np.array([partners[group, group] for group in groups], dtype=bool), sizes),
        of_row,
        np.array([group * width for group in groups], np.int64),
        aligned_zeros((int(firsts[-1]), width), dtype),
        np.zeros(int(firsts[-1]), dtype),
    )
