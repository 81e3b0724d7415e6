"""Warnings about matrices of users by items that are valid but probably a mistake."""

import numpy as np
from scipy import sparse

from skfm._utils.column_roles import usual_role
from skfm._utils.warnings import warn

N_LOOKED_AT = 1000  # rows
N_NAMED = 20  # columns: of more names, two may well be those of users and items by chance
N_TELLING = 40  # rows: ratings from 1 to 5 make 25 pairs, so these cannot all be different


def warn_of_misuse(given, csr, names, *, is_explicit):
    """Warn about a matrix, as it was given and as canonical CSR, and name the remedy."""
    is_named = names is not None and len(names) <= N_NAMED
    roles = set(map(usual_role, names)) if is_named else set()
    if _is_log(csr) or {"user", "item"} <= roles:
        warn(
            f"X, of shape {csr.shape}, looks like a log with a row for each event, but is used "
            "as a matrix with a row for each user and a column for each item. If it is a log, "
            "convert it with skfm.preprocessing.UserItemEncoder.",
            UserWarning,
        )
    if not is_explicit:
        return
    low, high = csr.data.min(), csr.data.max()
    if low == high and csr.nnz > 1:
        warn(
            f"All {csr.nnz} ratings in X are equal ({low:g}), so there are no preferences to "
            "learn. If they mark the items that users have chosen, set feedback='implicit'.",
            UserWarning,
        )
    if sparse.issparse(given) and given.format in ("coo", "csr", "csc") and given.nnz > csr.nnz:
        warn(
            f"{given.nnz - csr.nnz} of the {given.nnz} values in X are duplicate entries, which "
            "are summed, as in SciPy. To use the last rating or the mean instead, make the "
            "matrix with skfm.preprocessing.UserItemEncoder.",
            UserWarning,
        )


def _is_log(csr):
    """Whether the first two columns look like ids: whole numbers, whose pairs hardly repeat."""
    n_rows, n_columns = csr.shape
    if not 2 <= n_columns <= 4 or n_rows <= n_columns:
        return False
    ids = csr[:N_LOOKED_AT, :2].toarray()
    if (ids < 0).any() or (ids != np.floor(ids)).any():
        return False
    # Of few rows it is hard to tell; but who factorizes a full matrix of three columns?
    is_telling = len(ids) > N_TELLING or (n_columns == 3 and csr.nnz == 3 * n_rows)
    return is_telling and len(np.unique(ids, axis=0)) >= 0.9 * len(ids)
