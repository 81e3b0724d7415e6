"""Fields whose part of a row is that of many other rows: found, and set aside."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from skfm._kernels import relation_blocks as kernels
from skfm._kernels.structs import Blocks, Columns
from skfm._utils.equal_rows import row_hashes
from skfm._utils.memory import aligned_zeros, read_only

LEAST_LENGTH = 4  # entries that rows have of a field, on average
LEAST_GAIN = 4  # entries that there are for each that is left, or row


@dataclass
class Relation:
    """One field's blocks; see kernels/relations.py."""

    feature_class: int
    of_row: np.ndarray  # (n_rows,), the block of each row
    matrix: sparse.csr_matrix  # (n_blocks, n_used), values scaled
    columns: Columns  # the same by column, of the columns that occur
    members: Columns  # the rows of each block, as its column

    @property
    def n_blocks(self):
        return self.matrix.shape[0]


def find_relations(problem):
    """Relations, and the rows (indptr, indices, data) without their entries."""
    rows = problem.indptr, problem.indices, problem.data
    field = problem.interactions.field
    if not problem.interactions.are_pairs or not field.any():
        return [], rows
    n_rows, found = problem.n_rows, []
    sizes = np.zeros(field.max() + 1, np.int64)
    kernels.count_entries(problem.indices, field, sizes)
    for number in np.flatnonzero(sizes > LEAST_LENGTH * n_rows):
        chosen = field == number
        _, first, of_row = _distinct(rows, chosen)
        n_entries, blocks = _split(rows, chosen, first)
        if sizes[number] >= LEAST_GAIN * (n_rows + n_entries):
            found.append(_make_relation(problem, blocks, of_row))
            field = np.where(chosen, -1, field)
    if found:
        _, rows = _split(rows, field >= 0, np.arange(n_rows))
    return found, rows


def _distinct(rows, chosen):
    return np.unique(row_hashes(*rows, chosen), return_index=True, return_inverse=True)


def _split(rows, chosen, places):
    """The number of entries in the chosen columns of some rows, and these."""
    indptr = np.zeros(places.size + 1, np.int64)

    def room(n_entries):
        return np.empty(n_entries, rows[1].dtype), np.empty(n_entries, rows[2].dtype)

    kernels.split_rows(*rows, chosen, places, indptr, *room(0))
    n_entries = int(indptr[-1])
    indices, data = room(n_entries)
    kernels.split_rows(*rows, chosen, places, indptr, indices, data)
    return n_entries, (indptr, read_only(indices), read_only(data))


def _make_relation(problem, blocks, of_row):
    indptr, indices, data = blocks
    place = problem.position[indices]
    data = (data - problem.center[place]) / problem.scale[place]
    n_blocks = indptr.size - 1
    matrix = sparse.csr_matrix((data, place.astype(np.int64), indptr), (n_blocks, problem.n_used))
    csc = matrix.tocsc()
    order = np.flatnonzero(np.diff(csc.indptr)).astype(np.uint32)
    members = np.argsort(of_row, kind="stable")
    ptr = np.append(0, np.cumsum(np.bincount(of_row, minlength=n_blocks)))
    return Relation(
        int(problem.interactions.feature_class[indices[0]]),
        of_row,
        matrix,
        Columns(order, csc.indptr.astype(np.int64), csc.indices.astype(np.uint32), csc.data),
        Columns(
            np.arange(n_blocks, dtype=np.uint32),
            ptr.astype(np.int64),
            members.astype(np.uint32 if members.size < 2**32 else np.uint64),
            np.empty(0, data.dtype),
        ),
    )


def stack_blocks(relations, partners, width, n_rows, dtype):
    """All relations' blocks as the kernels sum them."""
    sizes = [relation.n_blocks for relation in relations]
    firsts = np.append(0, np.cumsum(sizes)).astype(np.int64)
    matrices = [relation.matrix for relation in relations]
    whole = sparse.vstack(matrices, format="csr") if relations else sparse.csr_matrix((0, 1))
    of_row = np.empty((len(relations), n_rows), np.uint32)
    for row, relation, first in zip(of_row, relations, firsts, strict=False):
        row[:] = relation.of_row + first
    own = [partners[relation.feature_class, relation.feature_class] for relation in relations]
    return Blocks(
        whole.indptr.astype(np.int64),
        whole.indices.astype(np.uint32),
        whole.data.astype(dtype),
        np.repeat(np.array(own, dtype=bool), sizes),
        of_row,
        np.array([relation.feature_class * width for relation in relations], np.int64),
        aligned_zeros((int(firsts[-1]), width), dtype),
        np.zeros(int(firsts[-1]), dtype),
    )
