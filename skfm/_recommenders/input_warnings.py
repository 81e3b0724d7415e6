"""Matrices of users by items that are valid, but were probably meant otherwise."""

import numpy as np
from scipy import sparse

from skfm._utils.column_roles import usual_role
from skfm._utils.warnings import warn

N_LOOKED_AT = 1000  # rows
N_NAMED = 20  # columns: of more names, two may well be those of users and items by chance
N_TELLING = 40  # rows: ratings from 1 to 5 make 25 pairs, so these cannot all be different


def warn_of_misuse(given, cells, names, *, is_explicit):
    """Warn of a matrix, as it was given and as canonical cells, and say what to do."""
    is_named = names is not None and len(names) <= N_NAMED
    roles = set(map(usual_role, names)) if is_named else set()
    if _is_log(cells) or {"user", "item"} <= roles:
        warn(
            f"X, of shape {cells.shape}, looks like a log with a row for each event but is taken "
            "for a matrix with a row for each user and a column for each item. If it is a log, "
            "make the matrix with skfm.preprocessing.UserItemEncoder.",
            UserWarning,
        )
    if not is_explicit:
        return
    low, high = cells.data.min(), cells.data.max()
    if low == high and cells.nnz > 1:
        warn(
            f"All {cells.nnz} ratings in X are equal ({low:g}), so there are no preferences to "
            "learn. If they mark what users have chosen, set feedback='implicit'.",
            UserWarning,
        )
    if sparse.issparse(given) and given.format in ("coo", "csr", "csc") and given.nnz > cells.nnz:
        warn(
            f"{given.nnz - cells.nnz} of the {given.nnz} values in X belong to cells that occur "
            "before, and are added to theirs, as by SciPy. To keep the last rating or the mean, "
            "make the matrix with skfm.preprocessing.UserItemEncoder.",
            UserWarning,
        )


def _is_log(cells):
    """Whether the first two columns look like ids: whole numbers, whose pairs hardly repeat."""
    n_rows, n_columns = cells.shape
    if not 2 <= n_columns <= 4 or n_rows <= n_columns:
        return False
    ids = cells[:N_LOOKED_AT, :2].toarray()
    if (ids < 0).any() or (ids != np.floor(ids)).any():
        return False
    # Of few rows it is hard to tell; but who factorizes a full matrix of three columns?
    is_telling = len(ids) > N_TELLING or (n_columns == 3 and cells.nnz == 3 * n_rows)
    return is_telling and len(np.unique(ids, axis=0)) >= 0.9 * len(ids)
