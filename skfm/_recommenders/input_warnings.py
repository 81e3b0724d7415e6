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
    warn_of_log(csr.shape, is_log=looks_like_log(csr) or {"user", "item"} <= roles)
    if not is_explicit:
        return
    warn_of_equal_ratings(csr.data.min(), csr.data.max(), csr.nnz)
    if sparse.issparse(given) and given.format in ("coo", "csr", "csc"):
        warn_of_duplicates(given.nnz - csr.nnz, given.nnz)


def warn_of_log(shape, *, is_log):
    if is_log:
        warn(
            f"X, of shape {shape}, looks like a log with a row for each event, but is used "
            "as a matrix with a row for each user and a column for each item. If it is a log, "
            "convert it with skfm.preprocessing.UserItemEncoder.",
            UserWarning,
        )


def warn_of_equal_ratings(low, high, n):
    if low == high and n > 1:
        warn(
            f"All {n} ratings in X are equal ({low:g}), so there are no preferences to "
            "learn. If they mark the items that users have chosen, set feedback='implicit'.",
            UserWarning,
        )


def warn_of_duplicates(n_duplicates, n):
    if n_duplicates > 0:
        warn(
            f"{n_duplicates} of the {n} values in X are duplicate entries, which "
            "are summed, as in SciPy. To use the last rating or the mean instead, make the "
            "matrix with skfm.preprocessing.UserItemEncoder.",
            UserWarning,
        )


def looks_like_log(csr):
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
