"""Rows as text in the format of libffm, and the checks of what is written."""

import numpy as np

BLOCK_ENTRIES = 2**16  # written at once


def require_finite(values, name):
    if not np.isfinite(values).all():
        raise ValueError(f"{name} contains NaN or infinity; replace them or drop those rows.")


def check_labels(y, n_rows):
    """float32, float64 or integers."""
    labels = np.asarray(y)
    if labels.shape != (n_rows,):
        raise ValueError(
            f"y.shape == {labels.shape}, expected ({n_rows},): one label for each row of X."
        )
    if labels.dtype.kind == "b":
        labels = labels.astype(np.int64)
    if labels.dtype.kind in "iu":
        return labels
    try:
        if labels.dtype.kind not in "fO":
            raise ValueError(f"got {labels.dtype}")
        if labels.dtype != np.float32:
            labels = labels.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"y must contain numbers ({error}); number the classes, for example with LabelEncoder."
        ) from error
    require_finite(labels, "y")
    return labels


def check_fields(fields, X):
    """Integers, at least where columns are used."""
    fields = np.asarray(fields)
    if fields.shape != (X.shape[1],):
        raise ValueError(
            f"fields.shape == {fields.shape}, expected ({X.shape[1]},): one field for each column "
            "of X."
        )
    if fields.size and fields.dtype.kind not in "iuf":
        raise ValueError(f"fields must contain integers, got {fields.dtype}; number the fields.")
    used = np.zeros(fields.size, dtype=bool)
    used[X.indices] = True
    with np.errstate(invalid="ignore"):
        whole = fields.astype(np.int64)
    wrong = used & ((whole < 0) | (whole != fields))
    if wrong.any():
        column = np.argmax(wrong)
        raise ValueError(
            f"fields[{column}] == {fields[column]}, but the field of a column of X with entries "
            "must be an integer of at least 0; number the fields, or remove the column's entries."
        )
    return whole


def write_rows(X, labels, fields, shift):
    """The text of some rows after the other."""
    start = 0
    while start < X.shape[0]:
        limit = int(X.indptr[start]) + BLOCK_ENTRIES
        full = np.searchsorted(X.indptr, limit, side="right") - 1
        stop = min(max(full, start + 1), start + BLOCK_ENTRIES, X.shape[0])
        bounds = X.indptr[start : stop + 1]
        columns = X.indices[bounds[0] : bounds[-1]]
        entries = [
            f"{field}:{feature}:{value}"
            for field, feature, value in zip(
                fields[columns].tolist(),
                (columns.astype(np.int64) + shift).tolist(),
                _shortest(X.data[bounds[0] : bounds[-1]]),
                strict=True,
            )
        ]
        bounds = (bounds - bounds[0]).tolist()
        lines = [
            " ".join([label, *entries[bounds[row] : bounds[row + 1]]])
            for row, label in enumerate(_shortest(labels[start:stop]))
        ]
        yield ("\n".join(lines) + "\n").encode("ascii")
        start = stop


def _shortest(values):
    """The shortest texts that are these numbers in their type; 1, not 1.0."""
    if values.dtype.kind in "iu":
        return map(str, values.tolist())
    if values.dtype == np.float32:
        # The float64 with the same shortest text. Few values differ, so each is done once.
        bits, places = np.unique(values.view(np.int32), return_inverse=True)
        single = bits.view(np.float32)
        double = np.array([float(np.format_float_scientific(v)) for v in single], dtype=np.float64)
        # Readers may go through float64. Rounded twice, 7.038531e-26 would become its neighbor.
        double = np.where(double.astype(np.float32) == single, double, single)
        values = double[places]
    return (repr(value).removesuffix(".0") for value in values.tolist())
